/* SPDX-License-Identifier: Apache-2.0
 * `xebec ROLE`: the table of roles; usage is printed from it. */
#include <stdio.h>
#include <string.h>
#include "roles/roles.h"
#include "xebec/base/cleanup.h"

static const struct role roles[] = {
#define ROLE(name, fn, args, text) {name, fn, args, text},
#include "roles/roles.def"
#undef ROLE
};

static void usage(FILE *out)
{
	fprintf(out, "usage: xebec ROLE [options]\n\n");
	for (size_t i = 0; i < ARRAY_LEN(roles); i++)
		fprintf(out, "  %-10s %s\n", roles[i].name, roles[i].text);
	fprintf(out, "\n`xebec ROLE --help` says more.\n");
}

static const struct role *role_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(roles); i++)
		if (strcmp(roles[i].name, name) == 0)
			return &roles[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/');
	base = base ? base + 1 : argv[0];
	/* The CNI plugin is called by its file name. */
	const struct role *r = role_find(
		strcmp(base, "xebec-cni") == 0 || strcmp(base, "loopback") == 0 ? "cni" : base);
	if (r)
		return r->fn(argc, argv);
	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
		usage(argc < 2 ? stderr : stdout);
		return argc < 2 ? 2 : 0;
	}
	r = role_find(argv[1]);
	if (!r) {
		fprintf(stderr, "xebec: no role '%s'\n\n", argv[1]);
		usage(stderr);
		return 2;
	}
	return r->fn(argc - 1, argv + 1);
}

/* SPDX-License-Identifier: Apache-2.0
 * Table-driven command-line options. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "roles/options.h"
#include "xebec/base/str.h"

static void usage(const char *role, const struct option_row *rows, size_t n)
{
	(void)printf("usage: xebec %s [options]\n\n", role);
	for (size_t i = 0; i < n; i++)
		(void)printf("  %-18s %-10s %s\n", rows[i].name, rows[i].arg, rows[i].text);
}

int options_parse(const char *role, const struct option_row *rows, size_t n, int argc, char **argv,
	void *into)
{
	for (int i = 1; i < argc; i++) {
		const char *eq = strchr(argv[i], '=');
		size_t len = eq ? (size_t)(eq - argv[i]) : strlen(argv[i]), row = 0;
		if (strcmp(argv[i], "--help") == 0) {
			usage(role, rows, n);
			return -1;
		}
		while (row < n && (strlen(rows[row].name) != len ||
					  strncmp(rows[row].name, argv[i], len) != 0))
			row++;
		bool flag = row < n && !rows[row].arg[0];
		if (row == n || (!eq && !flag && i + 1 >= argc)) {
			(void)fprintf(stderr, "xebec %s: %s '%s'; see --help\n", role,
				row == n ? "unknown option" : "no value for", argv[i]);
			return 2;
		}
		const char *value = eq ? eq + 1 : flag ? "true" : argv[++i];
		(void)memcpy((char *)into + rows[row].offset, &value, sizeof(value));
	}
	return 0;
}

bool options_nth_address(const char *cidr, unsigned n, char out[static 16])
{
	struct str all = str_of(cidr), s = str_cut(&all, ','), a = str_cut(&s, '/');
	struct in_addr in;
	uint64_t len;
	char z[16];
	if (str_copy(z, sizeof(z), a) < 0 || inet_pton(AF_INET, z, &in) != 1 ||
		str_u64(s, &len) < 0 || len == 0 || len > 32)
		return false;
	uint32_t mask = ~0U << (32 - len);
	/* the last address is no host's */
	if (len == 32 || n >= ~mask)
		return false;
	in.s_addr = htonl((ntohl(in.s_addr) & mask) + n);
	return inet_ntop(AF_INET, &in, out, 16) != NULL;
}

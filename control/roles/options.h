/* SPDX-License-Identifier: Apache-2.0
 * Command-line options of a role as a table: "--name VALUE" or "--name=VALUE" into a struct of
 * strings. */
#ifndef XEBEC_ROLES_OPTIONS_H
#define XEBEC_ROLES_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct option_row {
	const char *name;
	size_t offset;		/* of a const char * in the struct */
	const char *arg, *text; /* arg "": a flag, stored as "true" */
};
/* 0, 2 on bad usage (said on stderr), -1 when --help was printed. */
int options_parse(const char *role, const struct option_row *rows, size_t n, int argc, char **argv,
	void *into);
/* The n-th address of an IPv4 range, "10.96.0.0/16", 10 -> "10.96.0.10"; false when it has none. */
bool options_nth_address(const char *cidr, unsigned n, char out[static 16]);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Roles: composition only. A role's argv[0] is its name; the exit status is what fn returns (2 =
 * bad usage). */
#ifndef XEBEC_ROLES_H
#define XEBEC_ROLES_H

struct role {
	const char *name;
	int (*fn)(int argc, char **argv);
	const char *args; /* synopsis for --help */
	const char *text; /* one line */
};

#define ROLE(name, fn, args, text) int fn(int argc, char **argv);
#include "roles/roles.def"
#undef ROLE

#endif

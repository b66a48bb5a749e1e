/* SPDX-License-Identifier: Apache-2.0
 * `xebec store dump|check DIR`: looks into an embedded store's directory without changing it. */
#include <string.h>
#include "roles/roles.h"
#include "store/embedded.h"

static const char usage[] =
	"usage: xebec store dump DIR    print every snapshot and log record\n"
	"       xebec store check DIR   check that DIR can be recovered, and say what it holds\n"
	"DIR is <data-dir>/store of a server; both only read, so they may run beside it (the end "
	"of\n"
	"the log then moves while they look).\n";

int role_store(int argc, char **argv)
{
	struct err e = {0};
	int r;

	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		(void)fputs(usage, stdout);
		return 0;
	}
	if (argc != 3) {
		(void)fputs(usage, stderr);
		return 2;
	}
	if (strcmp(argv[1], "dump") == 0) {
		r = store_dump(argv[2], 200, stdout, &e);
	} else if (strcmp(argv[1], "check") == 0) {
		r = store_check(argv[2], stdout, &e);
	} else {
		(void)fputs(usage, stderr);
		return 2;
	}
	if (r < 0)
		(void)fprintf(stderr, "xebec store: %s\n", e.msg);
	return r < 0;
}

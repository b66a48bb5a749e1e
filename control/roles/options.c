/* SPDX-License-Identifier: Apache-2.0
 * Table-driven command-line options. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include "roles/options.h"

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

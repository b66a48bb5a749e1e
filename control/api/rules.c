/* SPDX-License-Identifier: Apache-2.0
 * Finds the rules of a kind. Versions of one kind share their rules. */
#include "api/rules/registry.h"

static const struct row {
	const char *group, *kind;
	const struct kind_rules *rules;
} rows[] = {
#define RULES(g, k, var) {g, k, &var},
#include "api/rules/rules.def"
#undef RULES
	{NULL, NULL, NULL},
};

static const struct kind_rules plain = {.name = fmt_dns1123_subdomain};

const struct kind_rules *kind_rules(const struct kind *k)
{
	if (k->rules)
		return k->rules;
	for (const struct row *r = rows; r->kind; r++)
		if (strcmp(r->kind, k->kind) == 0 && strcmp(r->group, k->group) == 0)
			return r->rules;
	return &plain;
}

/* SPDX-License-Identifier: Apache-2.0
 * Structural schemas: whatever schema the checks of a definition let through compiles, prunes,
 * completes and judges whatever object; doing it twice changes nothing. The input is a schema, an
 * object and a JSONPath, a newline between each. */
#include "api/custom.h"
#include "api/jsonpath.h"
#include "api/rules/extend.h"
#include "api/structural.h"

static void try_path(struct str text, const json_t *obj)
{
	AUTO_ARENA struct arena a = {0};
	AUTO_BUF struct buf b = {0}, plain = {0};
	const struct jsonpath *p;
	char *z = arena_strdup(&a, text);
	json_write(obj, &b);
	if (!z || jsonpath_new(&a, z, &p, NULL) < 0)
		return;
	(void)jsonpath_first(p, jv_of(buf_str(&b)));
	(void)jsonpath_plain(p, &plain);
}

static void try_object(const struct structural *s, json_t *obj, struct arena *a)
{
	struct causes c = {.arena = a};
	structural_prune(s, obj, NULL, NULL);
	structural_default(s, obj);
	AUTO_JSON json_t *again = json_deep_copy(obj);
	structural_prune(s, again, NULL, NULL);
	structural_default(s, again);
	if (!json_equal(obj, again))
		abort();
	structural_validate(s, obj, NULL, &c);
	(void)structural_type(a, s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_ARENA struct arena a = {0};
	AUTO_JSON json_t *schema = NULL, *obj = NULL;
	struct causes c = {.arena = &a};
	struct structural *s = NULL;
	struct str rest = {.p = (const char *)data, .n = size};
	struct str one = str_cut(&rest, '\n'), two = str_cut(&rest, '\n');
	if (json_parse(one, &schema, NULL) < 0 || json_parse(two, &obj, NULL) < 0 ||
		!json_is_object(schema) || !json_is_object(obj))
		return 0;
	try_path(rest, obj);
	extend_schema(&c, NULL, schema, false);
	if (c.n == 0 && structural_new(&a, schema, &s, NULL) == 0)
		try_object(s, obj, &a);
	return 0;
}

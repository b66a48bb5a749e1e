/* SPDX-License-Identifier: Apache-2.0
 * JSON patch, merge patch, strategic merge patch. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include "api/api.h"

enum how { JSON_PATCH, MERGE, STRATEGIC };
struct row {
	enum how how;
	const char *doc, *patch, *want; /* want NULL: refused */
	const char *reason;
};

static json_t *parse(const char *text)
{
	json_t *j = NULL;
	if (json_parse(str_of(text), &j, NULL) < 0)
		fail_msg("bad test text %s", text);
	return j;
}

static int apply(const struct row *r, const json_t *doc, json_t **ret, struct err *e)
{
	AUTO_JSON json_t *p = NULL;
	if (r->how == JSON_PATCH)
		return patch_json(doc, str_of(r->patch), ret, e);
	p = parse(r->patch);
	if (r->how == MERGE)
		return patch_merge(doc, p, ret, e);
	return patch_strategic(type_by_name("core.v1.PodSpec"), doc, p, ret, e);
}

static void run(const struct row *r)
{
	AUTO_JSON json_t *doc = parse(r->doc), *before = parse(r->doc), *got = NULL, *want = NULL;
	struct err e = {0};
	int rc = apply(r, doc, &got, &e);
	if (!json_equal(doc, before))
		fail_msg("%s: the input changed", r->patch);
	if (!r->want) {
		if (rc >= 0)
			fail_msg("%s: accepted", r->patch);
		if (r->reason)
			assert_string_equal(e.reason, r->reason);
		return;
	}
	if (rc < 0)
		fail_msg("%s: %s", r->patch, e.msg);
	want = parse(r->want);
	if (!json_equal(got, want)) {
		AUTO_BUF struct buf b = {0};
		json_write(got, &b);
		fail_msg("%s on %s:\n got  %s\n want %s", r->patch, r->doc, b.p, r->want);
	}
}

static void rfc6902(void **state)
{
	static const struct row rows[] = {
		{JSON_PATCH, "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":2}]",
			"{\"a\":1,\"b\":2}", NULL},
		{JSON_PATCH, "{\"a\":[1,2]}", "[{\"op\":\"add\",\"path\":\"/a/1\",\"value\":9}]",
			"{\"a\":[1,9,2]}", NULL},
		{JSON_PATCH, "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/-\",\"value\":9}]",
			"{\"a\":[1,9]}", NULL},
		{JSON_PATCH, "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/2\",\"value\":9}]",
			NULL, "Invalid"},
		{JSON_PATCH, "{\"a\":[1]}", "[{\"op\":\"add\",\"path\":\"/a/01\",\"value\":9}]",
			NULL, "Invalid"},
		{JSON_PATCH, "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b/c\",\"value\":1}]", NULL,
			"Invalid"},
		{JSON_PATCH, "{\"a/b\":1,\"m~n\":2}",
			"[{\"op\":\"remove\",\"path\":\"/a~1b\"},{\"op\":\"replace\",\"path\":\"/"
			"m~0n\",\"value\":3}]",
			"{\"m~n\":3}", NULL},
		{JSON_PATCH, "{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/z\"}]", NULL, "Invalid"},
		{JSON_PATCH, "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/z\",\"value\":1}]",
			NULL, "Invalid"},
		{JSON_PATCH, "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1}]",
			"{\"a\":1}", NULL},
		{JSON_PATCH, "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL,
			"Invalid"},
		{JSON_PATCH, "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/b\",\"value\":null}]",
			"{\"a\":1}", NULL},
		{JSON_PATCH, "{\"a\":{\"b\":1}}",
			"[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c\"}]",
			"{\"a\":{},\"c\":1}", NULL},
		{JSON_PATCH, "{\"a\":{\"b\":1}}",
			"[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b/c\"}]", NULL, "Invalid"},
		{JSON_PATCH, "{\"a\":{\"b\":1}}",
			"[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/a/c\"}]",
			"{\"a\":{\"b\":1,\"c\":{\"b\":1}}}", NULL},
		{JSON_PATCH, "{\"a\":1}",
			"[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"z\":1}}]", "{\"z\":1}",
			NULL},
		{JSON_PATCH, "{}", "{\"op\":\"add\"}", NULL, "BadRequest"},
		{JSON_PATCH, "{}", "[{\"op\":\"nope\",\"path\":\"/a\"}]", NULL, "BadRequest"},
		{JSON_PATCH, "{}", "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]", NULL,
			"BadRequest"},
		{JSON_PATCH, "{}", "[{\"op\":\"add\",\"path\":\"/a\"}]", NULL, "BadRequest"},
		{JSON_PATCH, "{}", "[1]", NULL, "BadRequest"},
		{JSON_PATCH, "{}", "nonsense", NULL, "BadRequest"},
		{JSON_PATCH, "{\"a\":[1,2,3]}", "[{\"op\":\"remove\",\"path\":\"/a/-1\"}]",
			"{\"a\":[1,2]}", NULL},
		{JSON_PATCH, "{\"a\":[1,2,3]}", "[{\"op\":\"remove\",\"path\":\"/a/-\"}]", NULL,
			"Invalid"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run(&rows[i]);
}

static void limits(void **state)
{
	AUTO_BUF struct buf big = {0}, copies = {0};
	AUTO_JSON json_t *doc = NULL, *out = NULL;
	struct err e = {0};
	(void)state;
	doc = json_pack("{s:s}", "a", "");
	buf_addc(&big, '[');
	for (int i = 0; i < 10001; i++)
		buf_addf(&big, "%s{\"op\":\"test\",\"path\":\"/a\",\"value\":\"\"}", i ? "," : "");
	buf_addc(&big, ']');
	assert_true(patch_json(doc, buf_str(&big), &out, &e) < 0);
	assert_string_equal(e.reason, "RequestEntityTooLarge");
	buf_adds(&copies, "[{\"op\":\"add\",\"path\":\"/l\",\"value\":[1,2,3,4,5,6,7,8]}");
	for (int i = 0; i < 40; i++) /* doubles each time */
		buf_adds(&copies, ",{\"op\":\"copy\",\"from\":\"/l\",\"path\":\"/l/-\"}");
	buf_addc(&copies, ']');
	assert_true(patch_json(doc, buf_str(&copies), &out, &e) < 0);
	assert_string_equal(e.reason, "RequestEntityTooLarge");
}

static void rfc7386(void **state)
{
	static const struct row rows[] = {
		{MERGE, "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}", NULL},
		{MERGE, "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}", NULL},
		{MERGE, "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}", NULL},
		{MERGE, "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}", NULL},
		{MERGE, "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}",
			"{\"a\":{\"b\":\"d\"}}", NULL},
		{MERGE, "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}", NULL},
		{MERGE, "{\"e\":1}", "{\"a\":{\"bb\":{\"ccc\":null}}}",
			"{\"e\":1,\"a\":{\"bb\":{}}}", NULL},
		{MERGE, "{}", "[1]", NULL, "BadRequest"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		run(&rows[i]);
}

#define CD "{\"containers\":[{\"name\":\"c\",\"image\":\"1\"},{\"name\":\"d\",\"image\":\"2\"}]}"

static const struct row strategic_rows[] = {
	{STRATEGIC, CD, "{\"containers\":[{\"name\":\"d\",\"image\":\"9\"}]}",
		"{\"containers\":[{\"name\":\"c\",\"image\":\"1\"},{\"name\":\"d\","
		"\"image\":\"9\"}]}",
		NULL},
	{STRATEGIC, CD, "{\"containers\":[{\"name\":\"e\",\"image\":\"3\"}]}",
		"{\"containers\":[{\"name\":\"c\",\"image\":\"1\"},{\"name\":\"d\","
		"\"image\":"
		"\"2\"},{\"name\":\"e\",\"image\":\"3\"}]}",
		NULL},
	{STRATEGIC, CD, "{\"containers\":[{\"name\":\"c\",\"$patch\":\"delete\"}]}",
		"{\"containers\":[{\"name\":\"d\",\"image\":\"2\"}]}", NULL},
	{STRATEGIC, CD,
		"{\"containers\":[{\"$patch\":\"replace\"},{\"name\":\"z\",\"image\":\"3\"}"
		"]}",
		"{\"containers\":[{\"name\":\"z\",\"image\":\"3\"}]}", NULL},
	{STRATEGIC, CD, "{\"containers\":[{\"image\":\"3\"}]}", NULL, "BadRequest"},
	{STRATEGIC, CD, "{\"containers\":[{\"name\":\"c\",\"$patch\":\"huh\"}]}", NULL,
		"BadRequest"},
	{STRATEGIC, CD, "{\"$setElementOrder/containers\":[{\"name\":\"d\"},{\"name\":\"c\"}]}",
		"{\"containers\":[{\"name\":\"d\",\"image\":\"2\"},{\"name\":\"c\","
		"\"image\":"
		"\"1\"}]}",
		NULL},
	/* only the server knows d: it keeps its place behind c */
	{STRATEGIC, CD,
		"{\"$setElementOrder/"
		"containers\":[{\"name\":\"c\"},{\"name\":\"x\"}],\"containers\":[{"
		"\"name\":"
		"\"x\",\"image\":\"7\"}]}",
		"{\"containers\":[{\"name\":\"c\",\"image\":\"1\"},{\"name\":\"x\","
		"\"image\":"
		"\"7\"},{\"name\":\"d\",\"image\":\"2\"}]}",
		NULL},
	{STRATEGIC, CD,
		"{\"$setElementOrder/"
		"containers\":[{\"name\":\"c\"}],\"containers\":[{\"name\":\"x\"}]}",
		NULL, "BadRequest"},
	/* kubectl apply removing d: order without it, delete directive with it */
	{STRATEGIC, CD,
		"{\"$setElementOrder/"
		"containers\":[{\"name\":\"c\"}],\"containers\":[{\"$patch\":\"delete\","
		"\"name\":\"d\"}]}",
		"{\"containers\":[{\"name\":\"c\",\"image\":\"1\"}]}", NULL},
	{STRATEGIC, "{\"nodeSelector\":{\"a\":\"b\"}}", "{\"nodeSelector\":{\"c\":\"d\"}}",
		"{\"nodeSelector\":{\"a\":\"b\",\"c\":\"d\"}}", NULL},
	{STRATEGIC, "{\"nodeSelector\":{\"a\":\"b\"}}",
		"{\"nodeSelector\":{\"$patch\":\"replace\",\"c\":\"d\"}}",
		"{\"nodeSelector\":{\"c\":\"d\"}}", NULL},
	{STRATEGIC, "{\"nodeSelector\":{\"a\":\"b\"}}",
		"{\"nodeSelector\":{\"$patch\":\"delete\"}}", "{\"nodeSelector\":{}}", NULL},
	{STRATEGIC, "{\"nodeSelector\":{\"a\":\"b\"}}", "{\"nodeSelector\":null}", "{}", NULL},
	{STRATEGIC, "{\"tolerations\":[{\"key\":\"a\"}]}", "{\"tolerations\":[{\"key\":\"b\"}]}",
		"{\"tolerations\":[{\"key\":\"b\"}]}", NULL},
	{STRATEGIC, "{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}",
		"{\"volumes\":[{\"name\":\"v\",\"$retainKeys\":[\"name\",\"hostPath\"],"
		"\"hostPath\":{\"path\":\"/x\"}}]}",
		"{\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/x\"}}]}", NULL},
	{STRATEGIC, "{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}",
		"{\"volumes\":[{\"name\":\"v\",\"$retainKeys\":[\"name\"],\"hostPath\":{}}]"
		"}",
		NULL, "BadRequest"},
	{STRATEGIC, "{}", "{\"affinity\":{\"$patch\":\"replace\",\"podAffinity\":{\"x\":null}}}",
		"{\"affinity\":{\"podAffinity\":{}}}", NULL},
	{STRATEGIC, "{\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":80}]}]}",
		"{\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":80,"
		"\"name\":"
		"\"w\"},{\"containerPort\":81}]}]}",
		"{\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":80,"
		"\"name\":"
		"\"w\"},{\"containerPort\":81}]}]}",
		NULL},
};

static void strategic(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(strategic_rows); i++)
		run(&strategic_rows[i]);
}

static void primitive_lists(void **state)
{
	AUTO_JSON json_t *doc = parse("{\"finalizers\":[\"a/a\",\"b/b\",\"c/c\"]}"), *out = NULL;
	AUTO_JSON json_t *patch = parse("{\"$deleteFromPrimitiveList/finalizers\":[\"b/b\"],"
					"\"$setElementOrder/finalizers\":[\"d/d\",\"a/a\"],"
					"\"finalizers\":[\"d/d\"]}");
	AUTO_JSON json_t *want = parse("{\"finalizers\":[\"d/d\",\"a/a\",\"c/c\"]}");
	(void)state;
	assert_int_equal(
		patch_strategic(type_by_name("meta.v1.ObjectMeta"), doc, patch, &out, NULL), 0);
	assert_true(json_equal(out, want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc6902),
		cmocka_unit_test(limits),
		cmocka_unit_test(rfc7386),
		cmocka_unit_test(strategic),
		cmocka_unit_test(primitive_lists),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

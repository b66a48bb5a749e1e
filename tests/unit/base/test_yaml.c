/* SPDX-License-Identifier: Apache-2.0
 * YAML and JSON trees: scalars as kubectl reads them, anchors, errors with places, printing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "xebec/base/yaml.h"

static const char *as_json(const char *text)
{
	static char out[2000];
	AUTO_JSON json_t *j = NULL;
	AUTO_BUF struct buf b = {0};
	struct err e = {0};
	if (yaml_parse(str_of(text), &j, NULL, &e) < 0) {
		(void)snprintf(out, sizeof(out), "error: %s", e.msg);
		assert_string_equal(e.reason, "BadRequest");
		return out;
	}
	json_write(j, &b);
	(void)snprintf(out, sizeof(out), "%s", b.p);
	return out;
}

static void test_read(void **state)
{
	(void)state;
	static const struct {
		const char *yaml, *json;
	} rows[] = {
		{"", "null"},
		{"a: 1\nb: [x, 'y', \"z\\n\"]\n", "{\"a\":1,\"b\":[\"x\",\"y\",\"z\\n\"]}"},
		{"[yes, No, on, y, true, \"true\", ~, null, '']",
			"[true,false,true,true,true,\"true\",null,null,\"\"]"},
		{"[0644, 0o644, 0x1F, 0b101, -5, +3, 1_000, 089]", "[420,420,31,5,-5,3,1000,89]"},
		{"[1.5, .5, 1e3, 1., 1.2.3, 10.0.0.1, 100m, 1e, '7']",
			"[1.5,0.5,1000,1,\"1.2.3\",\"10.0.0.1\",\"100m\",\"1e\",\"7\"]"},
		{"[9223372036854775807, -9223372036854775808]",
			"[9223372036854775807,-9223372036854775808]"},
		{"[2026-01-02, 2026-01-02T03:04:05Z, 1:20]",
			"[\"2026-01-02\",\"2026-01-02T03:04:05Z\",\"1:20\"]"},
		{"1: a\ntrue: b\n1.5: c\n", "{\"1\":\"a\",\"true\":\"b\",\"1.5\":\"c\"}"},
		{"a: &x {k: [1]}\nb: *x\nc: {<<: *x, k2: 3}\nd: {<<: [*x, {m: 1}], k: own}\n",
			"{\"a\":{\"k\":[1]},\"b\":{\"k\":[1]},\"c\":{\"k2\":3,\"k\":[1]},"
			"\"d\":{\"k\":\"own\",\"m\":1}}"},
		{"a: |\n  x\n  y\nb: >-\n  x\n  y\n", "{\"a\":\"x\\ny\\n\",\"b\":\"x y\"}"},
		{"a: !!str 5\nb: !!int '5'\nc: !!float 5\n", "{\"a\":\"5\",\"b\":5,\"c\":5}"},
		{"{\"json\": [1, {\"x\": null}]}", "{\"json\":[1,{\"x\":null}]}"},
		{"a: 1\nb: 2\na: 3\n",
			"error: invalid YAML at line 3: key \"a\" already set in map"},
		{"a:\n- b: 1\n  c: [\n", NULL},
		{"a: *none", NULL},
		{"a: 1\n---\nb: 2\n", NULL},
		{"? [a]\n: b\n", NULL},
		{"~: x\n", NULL},
		{"a: \"\\0\"", NULL},
		{"\t- x", NULL},
		{"a: !!int x", NULL},
		{"a: &a [*a]", NULL},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *got = as_json(rows[i].yaml);
		if (rows[i].json)
			assert_string_equal(got, rows[i].json);
		else if (strncmp(got, "error: ", 7) != 0)
			fail_msg("accepted: %s", rows[i].yaml);
	}
}

static void test_limits(void **state)
{
	(void)state;
	AUTO_BUF struct buf b = {0};
	buf_adds(&b, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
	for (int i = 1; i < 12; i++) {
		buf_addf(&b, "a%d: &a%d [", i, i);
		for (int k = 0; k < 9; k++)
			buf_addf(&b, "*a%d, ", i - 1);
		buf_addf(&b, "*a%d]\n", i - 1);
	}
	assert_non_null(strstr(as_json(b.p), "expand to too much"));
	buf_clear(&b);
	for (int i = 0; i < 3000; i++)
		buf_addc(&b, '[');
	assert_int_equal(strncmp(as_json(b.p), "error: ", 7), 0);
}

static void test_streams(void **state)
{
	(void)state;
	AUTO_JSON json_t *all = NULL, *one = NULL, *dups = json_array();
	AUTO_BUF struct buf b = {0};
	assert_int_equal(
		yaml_parse_all(STR("---\n# nothing\n---\na: 1\n---\n- 2\n...\n"), &all, NULL), 0);
	json_write(all, &b);
	assert_string_equal(b.p, "[{\"a\":1},[2]]");
	buf_clear(&b);
	assert_int_equal(
		yaml_parse(STR("s:\n  l:\n  - k: 1\n    k: 2\n  l: 3\n"), &one, dups, NULL), 0);
	json_write(dups, &b);
	assert_string_equal(b.p, "[\"line 4: key \\\"k\\\" already set in map\","
				 "\"line 5: key \\\"l\\\" already set in map\"]");
}

static void test_write(void **state)
{
	(void)state;
	AUTO_JSON json_t *j = NULL, *back = NULL;
	AUTO_BUF struct buf b = {0};
	assert_int_equal(
		json_parse(STR("{\"a\":{\"list\":[1,\"2\",{\"k\":\"v\",\"e\":[]}],\"none\":{}},"
			       "\"t\":\"true\","
			       "\"y\":\"yes\",\"m\":\"l1\\nl2\\n\",\"n\":null,\"q\":\"1:20\",\"s\":"
			       "\"plain text\","
			       "\"c\":\"a: "
			       "b\",\"h\":\"#x\",\"d\":1.5,\"empty\":\"\",\"u\":\"\xc3\xa9\"}"),
			&j, NULL),
		0);
	assert_int_equal(yaml_write(j, &b), 0);
	assert_string_equal(b.p,
		"a:\n  list:\n  - 1\n  - \"2\"\n  - k: v\n    e: []\n  none: {}\n"
		"t: \"true\"\n\"y\": \"yes\"\nm: |\n  l1\n  l2\n\"n\": null\nq: \"1:20\"\n"
		"s: plain text\nc: 'a: b'\nh: '#x'\nd: 1.5\nempty: \"\"\nu: \xc3\xa9\n");
	assert_int_equal(yaml_parse(buf_str(&b), &back, NULL, NULL), 0);
	assert_true(json_equal(j, back));
}

static void test_json(void **state)
{
	(void)state;
	AUTO_JSON json_t *j = NULL;
	AUTO_BUF struct buf b = {0};
	struct err e;
	assert_int_equal(json_parse(STR("{\"a\":\n  [1,]}"), &j, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "line 2 column"));
	assert_int_equal(json_parse(STR(""), &j, &e), -EINVAL);
	assert_int_equal(json_parse(STR("{} x"), &j, &e), -EINVAL);
	assert_int_equal(json_parse(STR("{}\0x"), &j, &e), -EINVAL);
	assert_int_equal(json_parse(STR("{\"a\":[{\"b\":9007199254740993}],\"f\":[0.1,1e21,1e-7,-2."
					"0,123456.789]}"),
				 &j, &e),
		0);
	assert_int_equal(json_i64(j, "a.0.b", 0), 9007199254740993);
	assert_int_equal(json_put(j, "x.y.z", json_true()), 0);
	assert_true(json_flag(j, "x.y.z", false));
	assert_int_equal(json_put(j, "f.q", json_true()), -EINVAL); /* an array has no members */
	assert_int_equal(json_put(j, "a", NULL), 0);
	assert_int_equal(json_put(j, "no.such", NULL), 0);
	json_write(j, &b);
	assert_string_equal(
		b.p, "{\"f\":[0.1,1e+21,1e-07,-2,123456.789],\"x\":{\"y\":{\"z\":true}}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

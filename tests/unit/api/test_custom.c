/* SPDX-License-Identifier: Apache-2.0
 * Structural schemas and JSONPath: each row is a schema, a value, and what is said of it. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "api/custom.h"
#include "api/jsonpath.h"
#include "api/structural.h"

static json_t *parse(const char *text)
{
	json_t *j = NULL;
	struct err e = {0};
	if (json_parse(str_of(text), &j, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	return j;
}

static struct structural *compile(struct arena *a, const json_t *schema)
{
	struct structural *s = NULL;
	struct err e = {0};
	if (structural_new(a, schema, &s, &e) < 0)
		fail_msg("%s", e.msg);
	return s;
}

/* "reason field; ..." of everything that is wrong; old may be NULL. */
static void check(const char *v_schema, const char *v, const char *old, const char *want)
{
	AUTO_ARENA struct arena a = {0};
	AUTO_JSON json_t *schema =
		json_pack("{s:s,s:{s:o}}", "type", "object", "properties", "v", parse(v_schema));
	AUTO_JSON json_t *obj = json_pack("{s:o}", "v", parse(v));
	AUTO_JSON json_t *was = old ? json_pack("{s:o}", "v", parse(old)) : NULL;
	AUTO_BUF struct buf got = {0};
	struct causes c = {.arena = &a};
	structural_validate(compile(&a, schema), obj, was, &c);
	for (size_t i = 0; i < c.n; i++)
		buf_addf(&got, "%s%s %s", i ? "; " : "", c.v[i].reason + 10, c.v[i].field);
	if (strcmp(got.p ? got.p : "", want) != 0)
		fail_msg(
			"%s of %s: got '%s', expected '%s'", v, v_schema, got.p ? got.p : "", want);
}

static void values(void **state)
{
	(void)state;
	check("{\"type\":\"integer\"}", "1", NULL, "");
	check("{\"type\":\"integer\"}", "1.0", NULL, "");
	check("{\"type\":\"integer\"}", "1.5", NULL, "TypeInvalid v");
	check("{\"type\":\"number\"}", "7", NULL, "");
	check("{\"type\":\"string\"}", "null", NULL, "TypeInvalid v");
	check("{\"type\":\"string\",\"nullable\":true}", "null", NULL, "");
	check("{\"type\":\"integer\",\"maximum\":5,\"exclusiveMaximum\":true}", "5", NULL,
		"Invalid v");
	check("{\"type\":\"integer\",\"minimum\":5}", "4", NULL, "Invalid v");
	check("{\"type\":\"number\",\"multipleOf\":0.1}", "0.3", NULL, "");
	check("{\"type\":\"integer\",\"multipleOf\":2}", "3", NULL, "Invalid v");
	check("{\"type\":\"string\",\"maxLength\":2}", "\"\xc3\xa4\xc3\xb6\"", NULL, "");
	check("{\"type\":\"string\",\"maxLength\":2}", "\"abc\"", NULL, "TooLong v");
	check("{\"type\":\"string\",\"pattern\":\"^a+$\"}", "\"ab\"", NULL, "Invalid v");
	check("{\"type\":\"string\",\"enum\":[\"a\",\"b\"]}", "\"c\"", NULL, "NotSupported v");
	check("{\"x-kubernetes-int-or-string\":true}", "true", NULL, "TypeInvalid v");
	check("{\"type\":\"array\",\"maxItems\":1,\"items\":{\"type\":\"string\"}}", "[\"a\",1]",
		NULL, "TypeInvalid v[1]; TooMany v");
	check("{\"type\":\"object\",\"additionalProperties\":{\"type\":\"integer\"}}",
		"{\"a\":\"x\"}", NULL, "TypeInvalid v.a");
	check("{\"type\":\"object\",\"maxProperties\":1,\"x-kubernetes-preserve-unknown-fields\":"
	      "true}",
		"{\"a\":1,\"b\":2}", NULL, "TooMany v");
	check("{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"type\":"
	      "\"string\"}}}",
		"{}", NULL, "Required v.a");
	check("{\"type\":\"array\",\"x-kubernetes-list-type\":\"set\",\"items\":{\"type\":"
	      "\"string\"}}",
		"[\"a\",\"b\",\"a\"]", NULL, "Duplicate v[2]");
	check("{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,"
	      "\"x-kubernetes-preserve-unknown-fields\":true}",
		"{\"kind\":\"Pod\"}", NULL, "Required v.apiVersion");
}

static void alternatives(void **state)
{
	const char *one = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":"
			  "{\"type\":\"string\"}},\"oneOf\":[{\"required\":[\"a\"]},{\"required\":"
			  "[\"b\"]}]}";
	(void)state;
	check(one, "{\"a\":\"x\"}", NULL, "");
	check(one, "{\"a\":\"x\",\"b\":\"y\"}", NULL, "Invalid <nil>");
	check(one, "{}", NULL, "Invalid <nil>; Required v.a");
	check("{\"type\":\"integer\",\"not\":{\"maximum\":3}}", "2", NULL, "Invalid <nil>");
	check("{\"type\":\"integer\",\"anyOf\":[{\"maximum\":3},{\"minimum\":9}]}", "5", NULL,
		"Invalid <nil>; Invalid v");
	check("{\"type\":\"integer\",\"allOf\":[{\"maximum\":3},{\"minimum\":1}]}", "2", NULL, "");
}

/* What an update does not touch may stay as it is. */
static void ratcheting(void **state)
{
	const char *s =
		"{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"maxLength\":"
		"1},\"b\":{\"type\":\"string\",\"maxLength\":1}}}";
	(void)state;
	check(s, "{\"a\":\"long\",\"b\":\"long\"}", "{\"a\":\"long\"}", "TooLong v.b");
	check(s, "{\"a\":\"longer\"}", "{\"a\":\"long\"}", "TooLong v.a");
}

static void formats(void **state)
{
	static const struct {
		const char *format, *good, *bad;
	} rows[] = {{"date-time", "2024-01-02T03:04:05Z", "2024-01-02"},
		{"date", "2024-02-29", "2023-02-30"}, {"ipv4", "10.0.0.1", "10.0.0"},
		{"ipv6", "::1", "1"}, {"cidr", "10.0.0.0/8", "10.0.0.0"},
		{"mac", "01:23:45:67:89:ab", "01:23"}, {"duration", "1h30m", "1x"},
		{"uuid", "123e4567-e89b-12d3-a456-426614174000", "123"},
		{"email", "a@b.example", "a"}, {"hostname", "a.b", "-a"}, {"byte", "YWI=", "Y-"},
		{"hexcolor", "#fff", "#ggg"}, {"uri", "http://a/b", "a b"},
		{"k8s-short-name", "abc", "A"}};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!structural_format(rows[i].format, str_of(rows[i].good)))
			fail_msg("%s refuses %s", rows[i].format, rows[i].good);
		if (structural_format(rows[i].format, str_of(rows[i].bad)))
			fail_msg("%s takes %s", rows[i].format, rows[i].bad);
	}
	assert_true(structural_format("whatever", STR("x")));
}

static void pruning(void **state)
{
	AUTO_ARENA struct arena a = {0};
	AUTO_JSON json_t *schema = parse("{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":"
					 "\"object\",\"properties\":{"
					 "\"a\":{\"type\":\"string\",\"default\":\"x\"},\"n\":{"
					 "\"type\":\"string\"},\"o\":{\"type\":"
					 "\"object\",\"x-kubernetes-preserve-unknown-fields\":true,"
					 "\"properties\":{\"k\":{\"type\":"
					 "\"object\",\"properties\":{\"z\":{\"type\":\"integer\"}}}"
					 "}},\"l\":{\"type\":\"array\","
					 "\"items\":{\"type\":\"object\",\"properties\":{\"q\":{"
					 "\"type\":\"integer\",\"default\":7}}}}"
					 "}}}}");
	AUTO_JSON json_t *obj =
		parse("{\"kind\":\"K\",\"metadata\":{\"name\":\"m\"},\"zz\":1,\"spec\":{"
		      "\"n\":null,\"b\":1,\"o\":{\"any\":{\"x\":1},\"k\":{\"z\":1,\"y\":2}},"
		      "\"l\":[{\"w\":1},{\"q\":8}]}}");
	AUTO_JSON json_t *want =
		parse("{\"kind\":\"K\",\"metadata\":{\"name\":\"m\"},\"spec\":{\"a\":\"x\","
		      "\"o\":{\"any\":{\"x\":1},\"k\":{\"z\":1}},\"l\":[{\"q\":7},"
		      "{\"q\":8}]}}");
	struct structural *s = compile(&a, schema);
	(void)state;
	structural_prune(s, obj, NULL, NULL);
	structural_default(s, obj);
	assert_true(json_equal(obj, want));
}

static void paths(void **state)
{
	static const struct {
		const char *path, *want; /* want NULL: not a path */
	} rows[] = {{".spec.n", "3"}, {"{.spec.n}", "3"}, {".spec.none", ""},
		{".list[0].k", "\"a\""}, {".list[-1].k", "\"b\""}, {".list[*].v", "1"},
		{".list[1:2].k", "\"b\""}, {".list[?(@.k==\"b\")].v", "2"},
		{".list[?(@.v>1)].k", "\"b\""}, {".list[?(@.w)].k", ""}, {".ann['a.b/c']", "\"d\""},
		{".ann.a\\.b/c", "\"d\""}, {"..v", "1"}, {".list[", NULL}, {"spec", NULL},
		{".a b", NULL}, {".x[?(@.y==]", NULL}};
	struct jv obj = jv_of(
		STR("{\"spec\":{\"n\":3},\"list\":[{\"k\":\"a\",\"v\":1},{\"k\":\"b\",\"v\":2}],"
		    "\"ann\":{\"a.b/c\":\"d\"}}"));
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_ARENA struct arena a = {0};
		const struct jsonpath *p;
		bool ok = jsonpath_new(&a, rows[i].path, &p, NULL) == 0;
		if (ok != (rows[i].want != NULL))
			fail_msg("%s", rows[i].path);
		if (ok && !str_eqz(jv_bytes(jsonpath_first(p, obj)), rows[i].want))
			fail_msg("%s", rows[i].path);
	}
}

static void version_names(void **state)
{
	static const char *const order[] = {
		"foo", "bar", "v1alpha1", "v1beta1", "v1beta2", "v2beta1", "v1", "v2", "v10"};
	(void)state;
	for (size_t i = 1; i < ARRAY_LEN(order); i++) {
		assert_true(version_order(order[i - 1], order[i]) < 0);
		assert_true(version_order(order[i], order[i - 1]) > 0);
	}
	assert_int_equal(version_order("v1", "v1"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(values), cmocka_unit_test(alternatives),
		cmocka_unit_test(ratcheting), cmocka_unit_test(formats), cmocka_unit_test(pruning),
		cmocka_unit_test(paths), cmocka_unit_test(version_names)};
	return cmocka_run_group_tests_name("structural schemas", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Label and field selectors. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include "api/api.h"
#include "xebec/base/jv.h"

/* 1 match, 0 no match, -1 refused */
static int try_labels(const char *selector, const char *labels)
{
	struct label_selector *s = NULL;
	struct err e = {0};
	int r;
	if (label_selector_parse(str_of(selector), &s, &e) < 0) {
		assert_string_equal(e.reason, "BadRequest");
		return -1;
	}
	r = label_selector_match(s, labels ? jv_of(str_of(labels)) : (struct jv){0});
	label_selector_free(s);
	return r;
}

static void labels(void **state)
{
	static const char l[] = "{\"a\":\"b\",\"n\":\"5\",\"x.io/y\":\"\"}";
	static const struct {
		const char *sel;
		int want;
	} rows[] = {
		{"", 1},
		{"a=b", 1},
		{"a==b", 1},
		{"a=c", 0},
		{"a!=b", 0},
		{"a!=c", 1},
		{"z!=c", 1},
		{"a", 1},
		{"!a", 0},
		{"!z", 1},
		{"z", 0},
		{"a in (b,c)", 1},
		{"a in (c)", 0},
		{"a notin (c, d)", 1},
		{"z notin (c)", 1},
		{"a notin (b)", 0},
		{"a=b,n", 1},
		{" a = b , n in ( 5 ) ", 1},
		{"x.io/y=", 1},
		{"x.io/y", 1},
		{"x.io/y in (,q)", 1},
		{"n>4", 1},
		{"n>5", 0},
		{"n<6", 1},
		{"a>1", 0},
		{"a in(b)", 1},
		{"a=b,", -1},
		{",a=b", -1},
		{"a=b=c", -1},
		{"a in b", -1},
		{"a in ()", -1},
		{"a in (b", -1},
		{"!a=b", -1},
		{"a b", -1},
		{"=b", -1},
		{"a/b/c=d", -1},
		{"a=b$", -1},
		{"n>x", -1},
		{"!", -1},
		{"a in (b),,c", -1},
		{"-a=b", -1},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = try_labels(rows[i].sel, l);
		if (r != rows[i].want)
			fail_msg("%s: %d, expected %d", rows[i].sel, r, rows[i].want);
	}
	assert_int_equal(try_labels("a", NULL), 0);
	assert_int_equal(try_labels("!a", NULL), 1);
}

static int try_json(const char *selector, const char *labels_text)
{
	struct label_selector *s = NULL;
	json_t *j = NULL;
	int r = -1;
	if (selector)
		assert_int_equal(json_parse(str_of(selector), &j, NULL), 0);
	if (label_selector_from_json(j, &s, NULL) == 0) {
		r = label_selector_match(s, jv_of(str_of(labels_text)));
		label_selector_free(s);
	}
	json_decref(j);
	return r;
}

static void from_json(void **state)
{
	(void)state;
	assert_int_equal(try_json(NULL, "{\"a\":\"b\"}"), 0);
	assert_int_equal(try_json("{}", "{\"a\":\"b\"}"), 1);
	assert_int_equal(try_json("{\"matchLabels\":{\"a\":\"b\"}}", "{\"a\":\"b\"}"), 1);
	assert_int_equal(try_json("{\"matchLabels\":{\"a\":\"c\"}}", "{\"a\":\"b\"}"), 0);
	assert_int_equal(try_json("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\","
				  "\"values\":[\"x\",\"b\"]}]}",
				 "{\"a\":\"b\"}"),
		1);
	assert_int_equal(
		try_json("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"DoesNotExist\"}]}",
			"{\"a\":\"b\"}"),
		0);
	assert_int_equal(
		try_json("{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Nope\"}]}", "{}"),
		-1);
}

static int try_field(const struct kind *k, const char *sel, const char *obj)
{
	struct field_selector *s = NULL;
	struct err e = {0};
	int r;
	if (field_selector_parse(k, str_of(sel), &s, &e) < 0) {
		assert_string_equal(e.reason, "BadRequest");
		return -1;
	}
	r = field_selector_match(s, jv_of(str_of(obj)));
	field_selector_free(s);
	return r;
}

static void fields(void **state)
{
	const struct kind *pod = kind_by_kind(STR(""), STR("v1"), STR("Pod"));
	const struct kind *node = kind_by_kind(STR(""), STR("v1"), STR("Node"));
	static const char o[] =
		"{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\"},\"spec\":{"
		"\"nodeName\":\"n1\"},\"status\":{\"phase\":\"Running\",\"podIPs\":[{"
		"\"ip\":\"10.0.0.1\"}]}}";
	struct field_selector *s = NULL;
	(void)state;
	assert_non_null(pod);
	assert_int_equal(try_field(pod, "metadata.name=p", o), 1);
	assert_int_equal(try_field(pod, "metadata.name!=p", o), 0);
	assert_int_equal(try_field(pod, "spec.nodeName==n1,status.phase!=Failed", o), 1);
	assert_int_equal(try_field(pod, "spec.nodeName=", o), 0);
	assert_int_equal(try_field(pod, "status.podIPs=10.0.0.1", o), 1);
	assert_int_equal(try_field(pod, "spec.hostNetwork=false", o), 1);
	assert_int_equal(try_field(pod, "", o), 1);
	assert_int_equal(try_field(pod, "spec.foo=x", o), -1);
	assert_int_equal(try_field(pod, "metadata.name", o), -1);
	assert_int_equal(try_field(pod, "metadata.name=a\\,b", o), 0);
	assert_int_equal(try_field(pod, "metadata.name=a\\b", o), -1);
	assert_int_equal(try_field(node, "spec.unschedulable=false", "{\"spec\":{}}"), 1);
	assert_int_equal(
		try_field(node, "spec.unschedulable=true", "{\"spec\":{\"unschedulable\":true}}"),
		1);
	assert_int_equal(field_selector_parse(pod, STR("metadata.name=q"), &s, NULL), 0);
	assert_true(str_eqz(field_selector_value(s, "metadata.name"), "q"));
	assert_null(field_selector_value(s, "metadata.namespace").p);
	field_selector_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels),
		cmocka_unit_test(from_json),
		cmocka_unit_test(fields),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * meta/v1 Status: messages, details and causes as Kubernetes writes them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include "api/rules.h"

static const struct kind *kind(const char *group, const char *name)
{
	const struct kind *k = kind_by_kind(str_of(group), STR("v1"), str_of(name));
	assert_non_null(k);
	return k;
}

static void expect(const struct err *e, const struct kind *k, const char *name,
	const struct causes *c, const char *want)
{
	AUTO_BUF struct buf b = {0};
	status_write(&b, e, k, name, c);
	assert_true(jv_valid(buf_str(&b), 16));
	assert_string_equal(b.p, want);
}

#define HEAD "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\","

static void plain(void **state)
{
	struct err e = {0};
	(void)state;
	err_set(&e, ENOENT, "NotFound", "pods \"x\" not found");
	expect(&e, kind("", "Pod"), "x", NULL,
		HEAD
		"\"message\":\"pods \\\"x\\\" not found\",\"reason\":\"NotFound\",\"details\":{"
		"\"name\":\"x\",\"kind\":\"pods\"},\"code\":404}");
	err_set(&e, EEXIST, "AlreadyExists", "m");
	expect(&e, kind("apps", "Deployment"), "d", NULL,
		HEAD "\"message\":\"m\",\"reason\":\"AlreadyExists\",\"details\":{\"name\":\"d\","
		     "\"group\":\"apps\",\"kind\":\"deployments\"},\"code\":409}");
	err_set(&e, EINVAL, "BadRequest", "tab\there");
	expect(&e, NULL, NULL, NULL,
		HEAD "\"message\":\"tab\\there\",\"reason\":\"BadRequest\",\"code\":400}");
	err_set(&e, EINVAL, "Invalid", "m");
	expect(&e, NULL, NULL, NULL,
		HEAD "\"message\":\"m\",\"reason\":\"Invalid\",\"details\":{},\"code\":422}");
}

static void with_causes(void **state)
{
	AUTO_ARENA struct arena a = {0};
	struct causes c = {.arena = &a};
	struct err e = {0};
	const struct fpath *p = P_INDEX(P_NAME(P_NAME(NULL, "spec"), "containers"), 0);
	AUTO_JSON json_t *v = json_string("X\"");
	static const char *const enums[] = {"b", "a", NULL};
	(void)state;
	err_set(&e, EINVAL, "Invalid", "ignored");
	v_required(&c, P_NAME(p, "image"), "");
	expect(&e, kind("", "Pod"), "x", &c,
		HEAD
		"\"message\":\"Pod \\\"x\\\" is invalid: spec.containers[0].image: Required "
		"value\",\"reason\":\"Invalid\",\"details\":{\"name\":\"x\",\"kind\":\"Pod\","
		"\"causes\":[{\"reason\":\"FieldValueRequired\",\"message\":\"Required value\","
		"\"field\":\"spec.containers[0].image\"}]},\"code\":422}");
	c.n = 0;
	v_not_supported(&c, P_KEY(P_NAME(NULL, "m"), "k"), v, enums);
	v_forbidden(&c, P_NAME(NULL, "f"), "why");
	v_forbidden(&c, P_NAME(NULL, "f"), "why"); /* said once in the message, twice in causes */
	expect(&e, kind("apps", "Deployment"), "", &c,
		HEAD
		"\"message\":\"Deployment.apps \\\"\\\" is invalid: [m[k]: Unsupported value: "
		"\\\"X\\\\\\\"\\\": supported values: \\\"a\\\", \\\"b\\\", f: Forbidden: why]\","
		"\"reason\":\"Invalid\",\"details\":{\"group\":\"apps\",\"kind\":\"Deployment\","
		"\"causes\":[{\"reason\":\"FieldValueNotSupported\",\"message\":\"Unsupported "
		"value: \\\"X\\\\\\\"\\\": supported values: \\\"a\\\", \\\"b\\\"\",\"field\":"
		"\"m[k]\"},{\"reason\":\"FieldValueForbidden\",\"message\":\"Forbidden: why\","
		"\"field\":\"f\"},{\"reason\":\"FieldValueForbidden\",\"message\":\"Forbidden: "
		"why\",\"field\":\"f\"}]},\"code\":422}");
}

/* A body wrong in a million places gives a bounded answer. */
static void bounded(void **state)
{
	AUTO_ARENA struct arena a = {0};
	AUTO_BUF struct buf b = {0};
	struct causes c = {.arena = &a};
	struct err e = {0};
	AUTO_JSON json_t *big = NULL;
	char *text = calloc(1, 100001);
	(void)state;
	assert_non_null(text);
	memset(text, 'x', 100000);
	big = json_string(text);
	free(text);
	err_set(&e, EINVAL, "Invalid", "x");
	for (size_t i = 0; i < 100000; i++)
		v_invalid(&c, P_INDEX(P_NAME(NULL, "l"), i), big, "no");
	status_write(&b, &e, kind("", "Pod"), "x", &c);
	assert_true(jv_valid(buf_str(&b), 16));
	assert_true(b.len < 2 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain),
		cmocka_unit_test(with_causes),
		cmocka_unit_test(bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * JSON and YAML bodies: types, strictness, limits, canonical output. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "api/api.h"
#include "xebec/base/json.h"

static const struct kind *pod(void)
{
	return kind_by_kind(STR(""), STR("v1"), STR("Pod"));
}

static int decode(const struct kind *k, enum media m, enum field_validation f, const char *body,
	json_t **ret, struct err *e)
{
	struct decode_opts o = {.media = m, .fields = f};
	*e = (struct err){0};
	return api_decode(k, str_of(body), &o, ret, e);
}

static void refused(const struct kind *k, const char *body, const char *what)
{
	struct err e;
	json_t *j = NULL;
	if (decode(k, MEDIA_JSON, FIELDS_STRICT, body, &j, &e) == 0)
		fail_msg("accepted: %s", body);
	assert_null(j);
	assert_string_equal(e.reason, "BadRequest");
	if (!strstr(e.msg, what))
		fail_msg("%s: '%s' lacks '%s'", body, e.msg, what);
}

static void canonical(const struct kind *k, const char *body, const char *want)
{
	struct err e;
	AUTO_JSON json_t *j = NULL;
	AUTO_BUF struct buf out = {0};
	if (decode(k, MEDIA_JSON, FIELDS_STRICT, body, &j, &e) != 0)
		fail_msg("%s: %s", body, e.msg);
	api_encode_json(k->type, j, &out);
	assert_string_equal(out.p, want);
}

static void types_are_checked(void **state)
{
	(void)state;
	refused(pod(), "{\"spec\":{\"hostNetwork\":\"yes\"}}",
		"cannot unmarshal string into Go struct field spec.hostNetwork of type bool");
	refused(pod(), "{\"spec\":{\"containers\":{}}}",
		"object into Go struct field spec.containers of type []v1.Container");
	refused(pod(), "{\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":\"80\"}]}]}}",
		"spec.containers[0].ports[0].containerPort of type int32");
	refused(pod(), "{\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":1.5}]}]}}",
		"number 1.5");
	refused(pod(), "{\"spec\":{\"priority\":2147483648}}", "number 2147483648");
	refused(pod(), "{\"metadata\":{\"labels\":{\"a\":1}}}",
		"cannot unmarshal number into Go struct field metadata.labels.a of type string");
	refused(pod(), "{\"metadata\":{\"labels\":[]}}", "of type map[string]string");
	refused(pod(), "{\"metadata\":[]}", "of type v1.ObjectMeta");
	refused(pod(),
		"{\"spec\":{\"containers\":[{\"resources\":{\"limits\":{\"cpu\":\"1x\"}}}]}}",
		"quantities must match");
	refused(pod(), "{\"metadata\":{\"deletionTimestamp\":\"yesterday\"}}", "parsing time");
	const struct kind *secret = kind_by_kind(STR(""), STR("v1"), STR("Secret"));
	refused(secret, "{\"data\":{\"a\":\"not base64\"}}", "illegal base64");
	refused(secret, "{\"data\":{\"a\":\"YQ\"}}", "illegal base64");
	refused(secret, "{\"data\":{\"a\":5}}", "of type []uint8");
}

static void syntax_is_checked(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "  ", "[]", "null", "1", "{", "{\"a\"",
		"{\"kind\":", "{\"kind\":\"Pod\"", "{\"kind\":\"Pod\",}", "{\"kind\":\"Pod\"}x",
		"{\"kind\":\"Po\\d\"}", "{\"kind\":\"Pod}", "{kind:1}",
		"{\"spec\":{\"priority\":01}}", "{\"spec\":{\"priority\":-}}", "{\"spec\":tru}",
		"{\"nope\":[1,2,}", "{\"kind\":\"a\tb\"}", "{\"nope\":\"\\u12g4\"}",
		"{\"metadata\":{\"name\":\"a\\u0000b\"}}"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refused(pod(), bad[i], "");
	AUTO_BUF struct buf deep = {0};
	buf_adds(&deep, "{\"nope\":");
	for (int i = 0; i < 100000; i++)
		buf_addc(&deep, '[');
	refused(pod(), deep.p, "max depth");
}

static void strict_names_every_field(void **state)
{
	(void)state;
	const char *body = "{\"spec\":{\"foo\":{\"x\":1},\"hostIPC\":true,\"containers\":[{"
			   "\"name\":\"a\",\"Image\":\"x\",\"name\":\"b\"}],"
			   "\"hostIPC\":true},\"metadata\":{\"labels\":{\"a\":\"1\",\"a\":\"2\"}}}";
	refused(pod(), body,
		"strict decoding error: unknown field \"spec.foo\", unknown field "
		"\"spec.containers[0].Image\", duplicate field \"spec.containers[0].name\"");
	struct err e;
	AUTO_JSON json_t *j = NULL;
	AUTO_ARENA struct arena a = {0};
	struct causes w = {.arena = &a};
	struct decode_opts o = {.media = MEDIA_JSON, .fields = FIELDS_WARN, .warnings = &w};
	assert_int_equal(api_decode(pod(), str_of(body), &o, &j, &e), 0);
	assert_int_equal(w.n, 5);
	assert_string_equal(w.v[4].message, "duplicate field \"metadata.labels.a\"");
	assert_string_equal(json_str(j, "metadata.labels.a", ""), "2");
	assert_null(json_at(j, "spec.foo"));
}

static void names_must_match(void **state)
{
	(void)state;
	refused(pod(), "{\"kind\":\"Service\",\"apiVersion\":\"v1\"}",
		"cannot be handled as a Pod");
	refused(pod(), "{\"kind\":\"Pod\",\"apiVersion\":\"v2\"}",
		"does not match the expected API version (v1)");
	canonical(pod(), "{}", "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}");
}

static void output_is_canonical(void **state)
{
	(void)state;
	canonical(pod(),
		"{\"spec\":{\"hostNetwork\":false,\"nodeSelector\":{\"b\":\"2\",\"a\":\"1\"},"
		"\"tolerations\":[],\"priority\":0,"
		"\"containers\":[{\"image\":\"i\\u00e9\\ud83d\\ude00\\ud800\",\"name\":\"c\","
		"\"env\":null,\"resources\":{\"limits\":"
		"{\"memory\":\"1024Ki\",\"cpu\":0.5}}}]},\"metadata\":{\"annotations\":{},\"name\":"
		"\"x\","
		"\"creationTimestamp\":\"2024-01-02T03:04:05.9+01:00\",\"generation\":0}}",
		"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\","
		"\"creationTimestamp\":\"2024-01-02T02:04:05Z\"},"
		"\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"ié😀\xef\xbf\xbd\","
		"\"resources\":{\"limits\":{\"cpu\":\"500m\","
		"\"memory\":\"1Mi\"}}}],\"nodeSelector\":{\"a\":\"1\",\"b\":\"2\"},\"priority\":0}"
		"}");
	const struct kind *rev = kind_by_kind(STR("apps"), STR("v1"), STR("ControllerRevision"));
	canonical(rev, "{\"data\":{\"b\":[1,{\"d\":null,\"c\":1.5}],\"a\":{}},\"revision\":1}",
		"{\"kind\":\"ControllerRevision\",\"apiVersion\":\"apps/"
		"v1\",\"data\":{\"a\":{},\"b\":[1,{\"c\":1.5,\"d\":null}]},\"revision\":1}");
}

static void yaml_is_the_same(void **state)
{
	(void)state;
	struct err e;
	AUTO_JSON json_t *a = NULL, *b = NULL;
	const char *yaml = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels: {a: "
			   "\"1\"}\nspec:\n  containers:\n"
			   "  - name: c\n    ports:\n    - containerPort: 80\n";
	assert_int_equal(decode(pod(), MEDIA_YAML, FIELDS_STRICT, yaml, &a, &e), 0);
	assert_int_equal(decode(pod(), MEDIA_JSON, FIELDS_STRICT,
				 "{\"metadata\":{\"name\":\"x\",\"labels\":{\"a\":\"1\"}},\"spec\":"
				 "{\"containers\":[{\"name\":\"c\","
				 "\"ports\":[{\"containerPort\":80}]}]}}",
				 &b, &e),
		0);
	assert_true(json_equal(a, b));
	json_t *none = NULL;
	assert_int_not_equal(decode(pod(), MEDIA_JSON, FIELDS_IGNORE,
				     "{\"metadata\":{\"name\":\"\xff\xfe\"}}", &none, &e),
		0);
	assert_non_null(strstr(e.msg, "invalid UTF-8"));
	assert_int_not_equal(decode(pod(), MEDIA_YAML, FIELDS_STRICT,
				     "metadata:\n  name: a\n  name: b\n", &none, &e),
		0);
	assert_non_null(strstr(
		e.msg, "yaml: unmarshal errors:\n  line 3: key \"name\" already set in map"));
	assert_int_not_equal(
		decode(pod(), MEDIA_YAML, FIELDS_STRICT, "spec: {x: 1}\n", &none, &e), 0);
	assert_non_null(strstr(e.msg, "unknown field \"spec.x\""));
}

static void other_types(void **state)
{
	(void)state;
	struct err e = {0};
	json_t *j = NULL;
	struct decode_opts o = {.media = MEDIA_JSON};
	const struct type *t = type_by_name("meta.v1.DeleteOptions");
	assert_int_equal(
		api_decode_type(t, "DeleteOptions", "v1",
			STR("{\"gracePeriodSeconds\":0,\"preconditions\":{\"uid\":\"u\"}}"), &o, &j,
			&e),
		0);
	assert_int_equal(json_i64(j, "gracePeriodSeconds", -1), 0);
	assert_string_equal(json_str(j, "kind", ""), "DeleteOptions");
	json_decref(j);
	assert_int_equal(media_of(STR("application/json; charset=utf-8")), MEDIA_JSON);
	assert_int_equal(media_of(STR("")), MEDIA_JSON);
	assert_int_equal(
		media_of(STR("application/vnd.kubernetes.protobuf;stream=watch")), MEDIA_PROTOBUF);
	assert_int_equal(media_of(STR("text/html")), MEDIA_UNSUPPORTED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_are_checked),
		cmocka_unit_test(syntax_is_checked),
		cmocka_unit_test(strict_names_every_field),
		cmocka_unit_test(names_must_match),
		cmocka_unit_test(output_is_canonical),
		cmocka_unit_test(yaml_is_the_same),
		cmocka_unit_test(other_types),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * The published schema: valid documents, no dangling reference, the PATCH parameters that kubectl
 * looks for, and a protobuf form that parses. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "api/api.h"

static json_t *group(const char *g, const char *v)
{
	AUTO_BUF struct buf b = {0};
	json_t *j = NULL;
	struct kinds ks;
	assert_int_equal(kinds_new(NULL, 0, &ks), 0);
	assert_int_equal(openapi_v3_group(&ks, str_of(g), str_of(v), &b), 0);
	kinds_free(&ks);
	assert_int_equal(json_parse(buf_str(&b), &j, NULL), 0);
	return j;
}

/* Every "$ref" names a definition. */
static void check_refs(const json_t *j, const json_t *defs, const char *prefix)
{
	const char *key;
	json_t *v;
	size_t i;
	if (json_is_object(j))
		json_object_foreach ((json_t *)j, key, v) {
			if (strcmp(key, "$ref") == 0 && json_is_string(v)) {
				const char *s = json_string_value(v);
				assert_int_equal(strncmp(s, prefix, strlen(prefix)), 0);
				if (!json_object_get(defs, s + strlen(prefix)))
					fail_msg("dangling %s", s);
			} else {
				check_refs(v, defs, prefix);
			}
		}
	json_array_foreach (j, i, v)
		check_refs(v, defs, prefix);
}

static bool has_param(const json_t *op, const char *name)
{
	size_t i;
	json_t *p;
	json_array_foreach (json_object_get(op, "parameters"), i, p)
		if (strcmp(json_str(p, "name", ""), name) == 0)
			return true;
	return false;
}

static void every_group(void **state)
{
	const struct kind *last = NULL;
	(void)state;
	for (size_t i = 0; i < kind_count(); i++) {
		const struct kind *k = kind_at(i);
		AUTO_JSON json_t *doc = NULL;
		if (last && strcmp(last->group, k->group) == 0 &&
			strcmp(last->version, k->version) == 0)
			continue;
		last = k;
		doc = group(k->group, k->version);
		check_refs(doc, json_at(doc, "components.schemas"), "#/components/schemas/");
	}
	AUTO_BUF struct buf b = {0};
	struct kinds ks;
	assert_int_equal(kinds_new(NULL, 0, &ks), 0);
	assert_true(openapi_v3_group(&ks, STR("no.such"), STR("v1"), &b) < 0);
	kinds_free(&ks);
	assert_int_equal(b.len, 0);
}

static void patch_operation(void **state)
{
	AUTO_JSON json_t *doc = group("apps", "v1");
	const json_t *path = json_object_get(json_object_get(doc, "paths"),
		"/apis/apps/v1/namespaces/{namespace}/deployments/{name}");
	const json_t *patch = json_object_get(path, "patch");
	const json_t *gvk = json_object_get(patch, "x-kubernetes-group-version-kind");
	(void)state;
	assert_non_null(patch);
	assert_true(has_param(patch, "fieldValidation"));
	assert_true(has_param(patch, "dryRun"));
	assert_string_equal(json_str(gvk, "kind", ""), "Deployment");
	assert_string_equal(json_str(gvk, "group", ""), "apps");
}

static void pod_schema(void **state)
{
	AUTO_JSON json_t *doc = group("", "v1");
	const json_t *defs = json_at(doc, "components.schemas");
	const json_t *pod = json_object_get(defs, "io.k8s.api.core.v1.Pod");
	const json_t *spec = json_object_get(defs, "io.k8s.api.core.v1.PodSpec");
	const json_t *list = json_at(spec, "properties.containers");
	(void)state;
	assert_non_null(json_at(pod, "properties.apiVersion"));
	assert_int_equal(
		json_array_size(json_object_get(pod, "x-kubernetes-group-version-kind")), 1);
	assert_string_equal(json_str(list, "x-kubernetes-patch-merge-key", ""), "name");
	assert_string_equal(json_str(list, "x-kubernetes-patch-strategy", ""), "merge");
	assert_string_equal(json_str(list, "x-kubernetes-list-type", ""), "map");
	assert_string_equal(json_str(list, "type", ""), "array");
}

/* Walks one protobuf message; counts the fields of a number. -1 when malformed. */
static long count_fields(const unsigned char *p, size_t n, unsigned number)
{
	size_t i = 0;
	long found = 0;
	while (i < n) {
		uint64_t v[2] = {0, 0};
		for (int k = 0; k < 2; k++) {
			unsigned shift = 0;
			do {
				if (i >= n || shift > 63)
					return -1;
				v[k] |= (uint64_t)(p[i] & 0x7f) << shift;
				shift += 7;
			} while (p[i++] & 0x80);
			if (k == 0 && (v[0] & 7) == 2)
				continue;
		}
		found += v[0] >> 3 == number;
		if ((v[0] & 7) == 2) {
			if (v[1] > n - i)
				return -1;
			i += v[1];
		} else if ((v[0] & 7) != 0) {
			return -1;
		}
	}
	return found;
}

static void version_two(void **state)
{
	AUTO_BUF struct buf json = {0}, pb = {0};
	AUTO_JSON json_t *doc = NULL;
	(void)state;
	struct kinds ks;
	assert_int_equal(kinds_new(NULL, 0, &ks), 0);
	assert_int_equal(openapi_v2_json(&ks, &json), 0);
	assert_int_equal(json_parse(buf_str(&json), &doc, NULL), 0);
	check_refs(doc, json_object_get(doc, "definitions"), "#/definitions/");
	assert_string_equal(json_str(doc, "swagger", ""), "2.0");
	assert_int_equal(openapi_v2_gnostic(&ks, &pb), 0);
	kinds_free(&ks);
	assert_int_equal(count_fields((const unsigned char *)pb.p, pb.len, 9), 1);
	assert_int_equal(count_fields((const unsigned char *)pb.p, pb.len, 8), 1);
	assert_int_equal(count_fields((const unsigned char *)pb.p, pb.len, 1), 1);
}

static void indexes(void **state)
{
	AUTO_BUF struct buf b = {0}, g = {0};
	AUTO_JSON json_t *doc = NULL, *groups = NULL;
	const json_t *paths;
	(void)state;
	struct kinds ks;
	assert_int_equal(kinds_new(NULL, 0, &ks), 0);
	openapi_v3_index(&ks, "H", &b);
	assert_int_equal(json_parse(buf_str(&b), &doc, NULL), 0);
	paths = json_object_get(doc, "paths");
	assert_string_equal(json_string_value(json_object_get(
				    json_object_get(paths, "apis/apps/v1"), "serverRelativeURL")),
		"/openapi/v3/apis/apps/v1?hash=H");
	assert_non_null(json_object_get(paths, "api/v1"));
	discovery_groups(&ks, &g);
	kinds_free(&ks);
	assert_int_equal(json_parse(buf_str(&g), &groups, NULL), 0);
	assert_true(json_array_size(json_object_get(groups, "groups")) > 10);
}

/* kubectl explain has something to say about everything. */
static void described(void **state)
{
	(void)state;
	for (size_t i = 0; i < api_schema.n_types; i++) {
		const struct type *t = &api_schema.types[i];
		if (strstr(t->name, "alpha")) /* not published */
			continue;
		assert_true(t->doc && *t->doc);
		for (size_t j = 0; j < t->n_fields; j++)
			if (!t->fields[j].doc && strcmp(t->fields[j].name, "apiVersion") != 0 &&
				strcmp(t->fields[j].name, "kind") != 0)
				fail_msg("%s.%s", t->name, t->fields[j].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_group),
		cmocka_unit_test(patch_operation),
		cmocka_unit_test(pod_schema),
		cmocka_unit_test(version_two),
		cmocka_unit_test(indexes),
		cmocka_unit_test(described),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Defaults and preparation: recorded answers of a real API server replayed offline where they are
 * present, and the rules that they do not reach. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "api/api.h"
#include "xebec/base/json.h"
#include "xebec/base/timefmt.h"

#define GOLDEN "../shared/reference/golden/defaults.json"

static json_t *parse(const char *text)
{
	json_t *j = NULL;
	struct err e = {0};
	if (json_parse(str_of(text), &j, &e) != 0)
		fail_msg("%s: %s", text, e.msg);
	return j;
}

static json_t *created(const struct kind *k, const char *body)
{
	struct err e = {0};
	struct decode_opts o = {.media = MEDIA_JSON, .fields = FIELDS_STRICT};
	json_t *obj = NULL;
	if (api_decode(k, str_of(body), &o, &obj, &e) != 0)
		fail_msg("%s: %s", body, e.msg);
	api_default(k, obj);
	api_prepare_create(k, obj, 1700000000 * NS_PER_SEC);
	return obj;
}

/* What admission and allocation add, and what the recording masks. */
static bool other_hand(const char *path)
{
	static const char *const skip[] = {".metadata.namespace", ".metadata.uid",
		".metadata.creationTimestamp", ".spec.clusterIP", ".spec.clusterIPs",
		".spec.ipFamilies", ".spec.ipFamilyPolicy", ".spec.tolerations",
		".spec.preemptionPolicy", ".spec.priority", ".spec.serviceAccount",
		".spec.serviceAccountName", ".spec.ports.0.nodePort"};
	for (size_t i = 0; i < ARRAY_LEN(skip); i++)
		if (strcmp(path, skip[i]) == 0)
			return true;
	return strstr(path, "controller-uid") != NULL;
}

static bool token_volume(const json_t *v)
{
	const char *name = json_string_value(json_object_get(v, "name"));
	return name && strncmp(name, "kube-api-access", 15) == 0;
}

static int differences(const json_t *got, const json_t *want, const char *path, bool both)
{
	const char *key;
	json_t *v;
	char sub[512];
	int n = 0;
	if (other_hand(path) || (got && want && json_equal(got, want)))
		return 0;
	if (json_is_object(want) && json_is_object(got)) {
		json_object_foreach ((json_t *)(uintptr_t)want, key, v) {
			(void)snprintf(sub, sizeof(sub), "%s.%s", path, key);
			n += differences(json_object_get(got, key), v, sub, true);
		}
		json_object_foreach ((json_t *)(uintptr_t)got, key, v) {
			(void)snprintf(sub, sizeof(sub), "%s.%s", path, key);
			if (!json_object_get(want, key))
				n += differences(v, NULL, sub, true);
		}
		return n;
	}
	if (json_is_array(want)) {
		size_t i;
		json_array_foreach ((json_t *)(uintptr_t)want, i, v) {
			(void)snprintf(sub, sizeof(sub), "%s.%zu", path, i);
			if (!token_volume(v))
				n += differences(json_array_get(got, i), v, sub, both);
		}
		return n + (json_array_size(got) > json_array_size(want));
	}
	char *a = got ? json_dumps(got, JSON_ENCODE_ANY) : NULL,
	     *b = want ? json_dumps(want, JSON_ENCODE_ANY) : NULL;
	print_message("  %s: got %s, want %s\n", path, a ? a : "nothing", b ? b : "nothing");
	free(a);
	free(b);
	return 1;
}

static int replay_step(const json_t *step, const char *name)
{
	const char *path = json_str(step, "p", ""), *slash;
	const json_t *body = json_object_get(step, "b"), *want = json_object_get(step, "want");
	if (strcmp(json_str(step, "m", ""), "POST") != 0 || json_flag(step, "skip", false))
		return 0;
	const char *av = json_str(body, "apiVersion", "");
	slash = strchr(av, '/');
	struct str group = slash ? (struct str){.p = av, .n = (size_t)(slash - av)} : STR("");
	const struct kind *k = kind_by_kind(
		group, str_of(slash ? slash + 1 : av), str_of(json_str(body, "kind", "")));
	assert_non_null(k);
	assert_non_null(strstr(path, k->plural));
	char *text = json_dumps(body, JSON_COMPACT);
	AUTO_JSON json_t *got = created(k, text);
	free(text);
	int n = differences(got, want, "", true);
	if (n)
		print_message("%s: %d differences\n", name, n);
	return n;
}

static void golden_replay(void **state)
{
	(void)state;
	AUTO_BUF struct buf text = {0};
	if (file_read(GOLDEN, 1 << 24, &text) != 0)
		skip();
	AUTO_JSON json_t *all = parse(text.p);
	size_t i, j;
	json_t *s, *step;
	int bad = 0;
	json_array_foreach (json_object_get(all, "scenarios"), i, s)
		json_array_foreach (json_object_get(s, "steps"), j, step)
			bad += replay_step(step, json_str(s, "name", ""));
	assert_int_equal(bad, 0);
}

static void defaults_are_stable(void **state)
{
	(void)state;
	const struct kind *k = kind_by_kind(STR("apps"), STR("v1"), STR("Deployment"));
	AUTO_JSON json_t *a = created(k,
		"{\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":0,\"template\":"
		"{\"spec\":{\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":80,"
		"\"protocol\":\"\"}]}]}}}}");
	AUTO_JSON json_t *b = json_deep_copy(a);
	api_default(k, b);
	assert_true(json_equal(a, b));
	assert_int_equal(json_i64(a, "spec.replicas", -1), 0);
	assert_string_equal(
		json_str(json_array_get(
				 json_at(json_array_get(
						 json_at(a, "spec.template.spec.containers"), 0),
					 "ports"),
				 0),
			"protocol", ""),
		"TCP");
}

static void host_network_ports(void **state)
{
	(void)state;
	const struct kind *k = kind_by_kind(STR(""), STR("v1"), STR("Pod"));
	AUTO_JSON json_t *p = created(k,
		"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"hostNetwork\":true,\"containers\":[{"
		"\"name\":\"c\",\"image\":\"r:5000/"
		"a@sha256:1\",\"ports\":[{\"containerPort\":80}]}]}}");
	json_t *c = json_array_get(json_at(p, "spec.containers"), 0);
	assert_int_equal(json_i64(json_array_get(json_at(c, "ports"), 0), "hostPort", 0), 80);
	assert_string_equal(json_str(c, "imagePullPolicy", ""), "IfNotPresent");
}

static void image_policies(void **state)
{
	(void)state;
	static const struct {
		const char *image, *policy;
	} rows[] = {{"a", "Always"}, {"a:latest", "Always"}, {"r:5000/a", "Always"},
		{"r:5000/a:1", "IfNotPresent"}, {"a@sha256:0", "IfNotPresent"},
		{"a:latest@sha256:0", "IfNotPresent"}};
	const struct kind *k = kind_by_kind(STR(""), STR("v1"), STR("Pod"));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char body[256];
		(void)snprintf(body, sizeof(body),
			"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}}",
			rows[i].image);
		AUTO_JSON json_t *p = created(k, body);
		assert_string_equal(json_str(json_array_get(json_at(p, "spec.containers"), 0),
					    "imagePullPolicy", ""),
			rows[i].policy);
	}
}

static json_t *updated(const struct kind *k, const json_t *old, const char *merge, const char *sub)
{
	struct err e = {0};
	json_t *obj = NULL;
	AUTO_JSON json_t *patch = parse(merge);
	assert_int_equal(patch_merge(old, patch, &obj, &e), 0);
	api_default(k, obj);
	api_prepare_update(k, obj, old, sub);
	return obj;
}

static void updates_keep_what_they_must(void **state)
{
	(void)state;
	const struct kind *k = kind_by_kind(STR("apps"), STR("v1"), STR("Deployment"));
	AUTO_JSON json_t *old = created(k, "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"template\":{"
					   "\"spec\":{\"containers\":[]}}},"
					   "\"status\":{\"replicas\":3}}");
	assert_int_equal(json_object_size(json_at(old, "status")), 0);
	AUTO_JSON json_t *a = updated(k, old,
		"{\"metadata\":{\"labels\":{\"x\":\"y\"},\"uid\":null,\"creationTimestamp\":null,"
		"\"generation\":77},\"status\":{\"replicas\":9}}",
		"");
	assert_int_equal(json_i64(a, "metadata.generation", 0), 1);
	assert_string_equal(json_str(a, "metadata.uid", ""), json_str(old, "metadata.uid", "?"));
	assert_string_equal(json_str(a, "metadata.creationTimestamp", ""), "2023-11-14T22:13:20Z");
	assert_int_equal(json_i64(a, "status.replicas", 0), 0);
	AUTO_JSON json_t *b = updated(
		k, old, "{\"spec\":{\"replicas\":4},\"status\":{\"replicas\":9}}", "status");
	assert_int_equal(json_i64(b, "spec.replicas", 0), 1);
	assert_int_equal(json_i64(b, "status.replicas", 0), 9);
	assert_int_equal(json_i64(b, "metadata.generation", 0), 1);
	AUTO_JSON json_t *c = updated(k, old, "{\"spec\":{\"replicas\":4}}", "");
	assert_int_equal(json_i64(c, "metadata.generation", 0), 2);
}

static void qos_classes(void **state)
{
	(void)state;
	static const struct {
		const char *resources, *qos;
	} rows[] = {{"{}", "BestEffort"}, {"{\"requests\":{\"cpu\":\"1\"}}", "Burstable"},
		{"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}", "Guaranteed"},
		{"{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"requests\":{\"cpu\":\"500m\"}}",
			"Burstable"},
		{"{\"limits\":{\"cpu\":\"1\"}}", "Burstable"}};
	const struct kind *k = kind_by_kind(STR(""), STR("v1"), STR("Pod"));
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char body[256];
		(void)snprintf(body, sizeof(body),
			"{\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":%s}]}}",
			rows[i].resources);
		AUTO_JSON json_t *p = created(k, body);
		assert_string_equal(json_str(p, "status.qosClass", ""), rows[i].qos);
	}
}

/* There, checked, and back again. */
static void converted(const char *from, const char *from_v, const char *to, const char *to_v,
	const char *name, const char *body, const char *path, const char *want)
{
	const struct kind *a = kind_by_kind(str_of(from), str_of(from_v), str_of(name));
	const struct kind *b = kind_by_kind(str_of(to), str_of(to_v), str_of(name));
	AUTO_JSON json_t *obj = created(a, body), *there = json_deep_copy(obj);
	assert_int_equal(api_convert(a, b, there), 0);
	assert_string_equal(json_str(there, path, "?"), want);
	assert_string_equal(json_str(there, "kind", ""), name);
	assert_int_equal(api_convert(b, a, there), 0);
	AUTO_BUF struct buf x = {0}, y = {0};
	api_encode_json(a->type, obj, &x);
	api_encode_json(a->type, there, &y);
	assert_string_equal(x.p, y.p);
}

static void versions_convert(void **state)
{
	(void)state;
	static const char event[] = "{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"name\":"
				    "\"p\"},\"message\":\"m\","
				    "\"count\":3,\"firstTimestamp\":\"2024-01-01T00:00:00Z\","
				    "\"source\":{\"component\":\"c\"}}";
	converted("", "v1", "events.k8s.io", "v1", "Event", event, "regarding.name", "p");
	converted("", "v1", "events.k8s.io", "v1", "Event", event, "note", "m");
	const char *name = "HorizontalPodAutoscaler";
	converted("autoscaling", "v1", "autoscaling", "v2", name,
		"{\"spec\":{\"maxReplicas\":3,\"targetCPUUtilizationPercentage\":70}}",
		"apiVersion", "autoscaling/v2");
	converted("autoscaling", "v2", "autoscaling", "v1", name,
		"{\"spec\":{\"maxReplicas\":3,\"behavior\":{\"scaleUp\":{}},\"metrics\":[{\"type\":"
		"\"Resource\","
		"\"resource\":{\"name\":\"memory\",\"target\":{\"type\":\"Value\",\"value\":"
		"\"1Gi\"}}}]}}",
		"apiVersion", "autoscaling/v1");
	const struct kind *pod = kind_by_kind(STR(""), STR("v1"), STR("Pod"));
	const struct kind *node = kind_by_kind(STR(""), STR("v1"), STR("Node"));
	assert_int_not_equal(api_convert(pod, node, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_replay),
		cmocka_unit_test(defaults_are_stable),
		cmocka_unit_test(host_network_ports),
		cmocka_unit_test(image_policies),
		cmocka_unit_test(updates_keep_what_they_must),
		cmocka_unit_test(qos_classes),
		cmocka_unit_test(versions_convert),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

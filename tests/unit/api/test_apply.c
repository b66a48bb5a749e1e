/* SPDX-License-Identifier: Apache-2.0
 * Server-side apply: ownership, conflicts, force, removal, list kinds; recorded answers of a real
 * API server replayed offline where they are present. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "api/api.h"
#include "api/apply.h"
#include "xebec/base/json.h"
#include "xebec/base/timefmt.h"

#define GOLDEN "../shared/reference/golden/apply.json"
#define NOW    (1700000000 * NS_PER_SEC)

static json_t *parse(const char *text)
{
	json_t *j = NULL;
	struct err e = {0};
	if (json_parse(str_of(text), &j, &e) != 0)
		fail_msg("%s: %s", text, e.msg);
	return j;
}

/* As the server does it: apply, then default and prepare. Replaces *live. */
static int apply(const struct kind *k, json_t **live, const char *body, const char *manager,
	bool force, struct causes *c, struct err *e)
{
	AUTO_JSON json_t *config = NULL;
	json_t *obj = NULL;
	struct apply_opts o = {.manager = manager, .sub = "", .force = force, .now_ns = NOW};
	int r = apply_decode(k, str_of(body), &config, e);
	if (r == 0)
		r = apply_config(k, *live, config, &o, c, &obj, e);
	if (r != 0)
		return r;
	api_default(k, obj);
	if (*live)
		api_prepare_update(k, obj, *live, "");
	else
		api_prepare_create(k, obj, NOW);
	json_decref(*live);
	*live = obj;
	return 0;
}

static void must_apply(
	const struct kind *k, json_t **live, const char *body, const char *manager, bool force)
{
	struct err e = {0};
	if (apply(k, live, body, manager, force, NULL, &e) != 0)
		fail_msg("%s: %s", body, e.msg);
}

static void merge_update(
	const struct kind *k, json_t **live, const char *patch, const char *manager)
{
	struct err e = {0};
	json_t *obj = NULL;
	AUTO_JSON json_t *p = parse(patch);
	struct apply_opts o = {.manager = manager, .sub = "", .now_ns = NOW + NS_PER_SEC};
	assert_int_equal(patch_merge(*live, p, &obj, &e), 0);
	api_default(k, obj);
	api_prepare_update(k, obj, *live, "");
	apply_track(k, *live, obj, &o);
	json_decref(*live);
	*live = obj;
}

static json_t *owned(const json_t *obj, const char *manager)
{
	size_t i;
	json_t *e;
	json_array_foreach (json_at(obj, "metadata.managedFields"), i, e)
		if (strcmp(json_str(e, "manager", ""), manager) == 0)
			return json_object_get(e, "fieldsV1");
	return NULL;
}

static void owns(const json_t *obj, const char *manager, const char *want)
{
	AUTO_JSON json_t *w = parse(want);
	json_t *got = owned(obj, manager);
	if (!got || !json_equal(got, w)) {
		char *text = got ? json_dumps(got, 0) : NULL;
		fail_msg("%s owns %s, want %s", manager, text ? text : "nothing", want);
	}
}

static const struct kind *kind(const char *group, const char *name)
{
	return kind_by_kind(str_of(group), STR("v1"), str_of(name));
}

static void conflict_force_removal(void **state)
{
	(void)state;
	const struct kind *cm = kind("", "ConfigMap");
	json_t *live = NULL;
	AUTO_ARENA struct arena a = {0};
	struct causes c = {.arena = &a};
	struct err e = {0};
	must_apply(cm, &live, "{\"metadata\":{\"name\":\"x\"},\"data\":{\"k\":\"1\",\"j\":\"2\"}}",
		"a", false);
	assert_int_equal(apply(cm, &live, "{\"metadata\":{\"name\":\"x\"},\"data\":{\"k\":\"9\"}}",
				 "b", false, &c, &e),
		-EEXIST);
	assert_string_equal(e.reason, "Conflict");
	assert_int_equal(c.n, 1);
	assert_string_equal(c.v[0].reason, "FieldManagerConflict");
	assert_string_equal(c.v[0].field, ".data.k");
	assert_non_null(strstr(e.msg, "conflict with \"a\" using v1: .data.k"));
	must_apply(cm, &live, "{\"metadata\":{\"name\":\"x\"},\"data\":{\"k\":\"9\"}}", "b", true);
	owns(live, "a", "{\"f:data\":{\"f:j\":{}}}");
	owns(live, "b", "{\"f:data\":{\"f:k\":{}}}");
	must_apply(cm, &live, "{\"metadata\":{\"name\":\"x\"}}", "a", false);
	assert_null(json_at(live, "data.j"));
	assert_string_equal(json_str(live, "data.k", ""), "9");
	json_decref(live);
}

static void lists_of_all_kinds(void **state)
{
	(void)state;
	const struct kind *pod = kind("", "Pod");
	json_t *live = NULL;
	must_apply(pod, &live,
		"metadata: {name: p, finalizers: [a.b/c]}\nspec:\n  containers:\n  - name: c\n    "
		"image: i\n"
		"    args: [x, z]\n    env: [{name: A, value: '1'}]\n",
		"a", false);
	owns(live, "a",
		"{\"f:metadata\":{\"f:finalizers\":{\"v:\\\"a.b/"
		"c\\\"\":{}}},\"f:spec\":{\"f:containers\":{"
		"\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:name\":{},\"f:image\":{},\"f:args\":{"
		"},\"f:env\":{"
		"\"k:{\\\"name\\\":\\\"A\\\"}\":{\".\":{},\"f:name\":{},\"f:value\":{}}}}}}}");
	must_apply(pod, &live,
		"metadata: {name: p, finalizers: [d.e/f]}\nspec:\n  containers:\n  - name: c\n"
		"    env: [{name: B, value: '2'}]\n  - name: d\n    image: j\n",
		"b", false);
	assert_int_equal(json_array_size(json_at(live, "metadata.finalizers")), 2);
	json_t *cs = json_at(live, "spec.containers");
	assert_int_equal(json_array_size(cs), 2);
	assert_int_equal(json_array_size(json_at(json_array_get(cs, 0), "env")), 2);
	/* b drops its container and its variable: a's stay */
	must_apply(pod, &live, "metadata: {name: p}\n", "b", false);
	cs = json_at(live, "spec.containers");
	assert_int_equal(json_array_size(cs), 1);
	assert_int_equal(json_array_size(json_at(json_array_get(cs, 0), "env")), 1);
	assert_int_equal(json_array_size(json_at(live, "metadata.finalizers")), 1);
	/* an atomic list is one field */
	struct err e = {0};
	assert_int_equal(
		apply(pod, &live,
			"metadata: {name: p}\nspec:\n  containers: [{name: c, args: [x]}]\n", "b",
			false, NULL, &e),
		-EEXIST);
	assert_non_null(strstr(e.msg, ".spec.containers[name=\"c\"].args"));
	json_decref(live);
}

static void bad_configurations(void **state)
{
	(void)state;
	const struct kind *pod = kind("", "Pod");
	json_t *live = NULL;
	struct err e = {0};
	assert_int_not_equal(apply(pod, &live, "spec: {nope: 1}\n", "a", false, NULL, &e), 0);
	assert_int_not_equal(apply(pod, &live, "spec:\n  containers: [{name: a}, {name: a}]\n", "a",
				     false, NULL, &e),
		0);
	assert_non_null(strstr(e.msg, "duplicate entries"));
	assert_int_not_equal(
		apply(pod, &live, "spec:\n  containers: [{image: a}]\n", "a", false, NULL, &e), 0);
	assert_int_not_equal(apply(pod, &live, "metadata: {managedFields: [{manager: x}]}\n", "a",
				     false, NULL, &e),
		0);
	assert_null(live);
}

static void updates_take_fields_over(void **state)
{
	(void)state;
	const struct kind *d = kind("apps", "Deployment");
	json_t *live = NULL;
	must_apply(d, &live,
		"metadata: {name: d, labels: {a: b}}\nspec:\n  replicas: 3\n  template: {spec: "
		"{containers: [{name: c, image: i}]}}\n",
		"a", false);
	merge_update(d, &live, "{\"spec\":{\"replicas\":5,\"paused\":true}}", "scaler");
	owns(live, "scaler", "{\"f:spec\":{\"f:replicas\":{},\"f:paused\":{}}}");
	assert_null(json_object_get(json_object_get(owned(live, "a"), "f:spec"), "f:replicas"));
	merge_update(d, &live,
		"{\"spec\":{\"paused\":null},\"metadata\":{\"labels\":{\"a\":null}}}", "scaler");
	owns(live, "scaler", "{\"f:spec\":{\"f:replicas\":{}}}");
	assert_null(json_object_get(owned(live, "a"), "f:metadata"));
	struct err e = {0};
	assert_int_equal(
		apply(d, &live, "metadata: {name: d}\nspec: {replicas: 3}\n", "a", false, NULL, &e),
		-EEXIST);
	assert_non_null(strstr(e.msg, "\"scaler\""));
	merge_update(d, &live, "{\"metadata\":{\"managedFields\":[{}]}}", "x");
	assert_null(json_at(live, "metadata.managedFields"));
	json_decref(live);
}

static void first_apply_meets_the_past(void **state)
{
	(void)state;
	const struct kind *cm = kind("", "ConfigMap");
	json_t *live = parse("{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":"
			     "\"x\"},\"data\":{\"k\":\"1\"}}");
	struct err e = {0};
	struct apply_opts o = {.manager = "m", .sub = "", .now_ns = NOW};
	AUTO_JSON json_t *copy = json_deep_copy(live);
	apply_track(cm, live, copy, &o);
	assert_null(json_at(copy, "metadata.managedFields"));
	assert_int_equal(apply(cm, &live, "data: {k: '2'}\n", "a", false, NULL, &e), -EEXIST);
	assert_non_null(strstr(e.msg, "before-first-apply"));
	must_apply(cm, &live, "data: {k: '1', j: '2'}\n", "a", false);
	owns(live, "before-first-apply", "{\"f:data\":{\".\":{},\"f:k\":{}}}");
	json_decref(live);
}

static void updaters_are_capped(void **state)
{
	(void)state;
	const struct kind *cm = kind("", "ConfigMap");
	json_t *live = NULL;
	must_apply(cm, &live, "metadata: {name: x, labels: {a: b}}\n", "a", false);
	for (int i = 0; i < 30; i++) {
		char patch[64], who[16];
		(void)snprintf(patch, sizeof(patch), "{\"data\":{\"k%d\":\"v\"}}", i);
		(void)snprintf(who, sizeof(who), "m%d", i);
		merge_update(cm, &live, patch, who);
	}
	assert_int_equal(json_array_size(json_at(live, "metadata.managedFields")), 11);
	assert_non_null(owned(live, "ancient-changes"));
	json_decref(live);
}

static json_t *created(const struct kind *k, const char *body)
{
	json_t *obj = NULL;
	struct err e = {0};
	struct decode_opts d = {.media = MEDIA_JSON};
	struct apply_opts o = {.manager = "kubectl-create", .sub = "", .now_ns = NOW};
	if (api_decode(k, str_of(body), &d, &obj, &e) != 0)
		fail_msg("%s", e.msg);
	api_default(k, obj);
	apply_track(k, NULL, obj, &o);
	api_prepare_create(k, obj, NOW);
	return obj;
}

/* A creation is an Update of everything that the client sent and the defaults added: what is
 * always there (spec, strategy, template) is no field of anybody, what appears is. */
static void creation_is_tracked(void **state)
{
	(void)state;
	AUTO_JSON json_t *d = created(kind("apps", "Deployment"),
		"{\"metadata\":{\"name\":\"web\",\"labels\":{\"app\":\"web\"}},\"spec\":{"
		"\"selector\":{"
		"\"matchLabels\":{\"app\":\"web\"}},\"template\":{\"metadata\":{\"labels\":{"
		"\"app\":"
		"\"web\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\",\"ports\":[{"
		"\"containerPort\":80}]}]}}}}");
	owns(d, "kubectl-create",
		"{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app\":{}}},\"f:spec\":{"
		"\"f:progressDeadlineSeconds\":{},\"f:replicas\":{},\"f:revisionHistoryLimit\":{},"
		"\"f:selector\":{},\"f:strategy\":{\"f:rollingUpdate\":{\".\":{},\"f:maxSurge\":{},"
		"\"f:maxUnavailable\":{}},\"f:type\":{}},\"f:template\":{\"f:metadata\":{"
		"\"f:labels\":{\".\":{},\"f:app\":{}}},\"f:spec\":{\"f:containers\":{"
		"\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:image\":{},\"f:imagePullPolicy\":{},"
		"\"f:name\":{},\"f:ports\":{\".\":{},\"k:{\\\"containerPort\\\":80,"
		"\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:containerPort\":{},\"f:protocol\":{}"
		"}}"
		",\"f:resources\":{},\"f:terminationMessagePath\":{},"
		"\"f:terminationMessagePolicy\":{}}},\"f:dnsPolicy\":{},\"f:restartPolicy\":{},"
		"\"f:schedulerName\":{},\"f:securityContext\":{},"
		"\"f:terminationGracePeriodSeconds\":{}}}}}");
	AUTO_JSON json_t *cm = created(
		kind("", "ConfigMap"), "{\"metadata\":{\"name\":\"x\"},\"data\":{\"k\":\"1\"}}");
	owns(cm, "kubectl-create", "{\"f:data\":{\".\":{},\"f:k\":{}}}");
	AUTO_JSON json_t *s = created(kind("", "Service"),
		"{\"metadata\":{\"name\":\"s\"},\"spec\":{\"selector\":{\"a\":\"b\"},\"ports\":[{"
		"\"port\":80}]}}");
	owns(s, "kubectl-create",
		"{\"f:spec\":{\"f:internalTrafficPolicy\":{},\"f:ports\":{\".\":{},"
		"\"k:{\\\"port\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:port\":{},"
		"\"f:protocol\":{},\"f:targetPort\":{}}},\"f:selector\":{},\"f:sessionAffinity\":{}"
		","
		"\"f:type\":{}}}");
}

/* Status writes are entries of their own, and do not own the spec. */
static void subresources_are_tracked(void **state)
{
	(void)state;
	const struct kind *pod = kind("", "Pod");
	json_t *live = created(pod,
		"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\","
		"\"image\":\"i\"}]}}");
	json_t *now = json_deep_copy(live);
	struct apply_opts o = {.manager = "kubelet", .sub = "status", .now_ns = NOW};
	(void)json_put(now, "status.conditions",
		json_pack("[{s:s,s:s}]", "type", "Ready", "status", "True"));
	(void)json_put(now, "spec.activeDeadlineSeconds", json_integer(9));
	apply_track(pod, live, now, &o);
	owns(now, "kubelet",
		"{\"f:status\":{\"f:conditions\":{\".\":{},\"k:{\\\"type\\\":\\\"Ready\\\"}\":{\"."
		"\":{"
		"},\"f:lastProbeTime\":{},\"f:lastTransitionTime\":{},\"f:status\":{},\"f:type\":{}"
		"}}"
		"}}");
	assert_string_equal(json_str(json_array_get(json_at(now, "metadata.managedFields"), 1),
				    "subresource", ""),
		"status");
	json_decref(live);
	json_decref(now);
}

/* What a request says about the entries is taken, as kubectl does when it takes over what it
 * applied on its own side before. */
static void requests_may_edit_the_entries(void **state)
{
	(void)state;
	const struct kind *cm = kind("", "ConfigMap");
	json_t *live = created(cm, "{\"metadata\":{\"name\":\"x\"},\"data\":{\"k\":\"1\"}}");
	json_t *now = json_deep_copy(live);
	json_t *entry = json_array_get(json_at(now, "metadata.managedFields"), 0);
	struct apply_opts o = {.manager = "kubectl", .sub = "", .now_ns = NOW};
	(void)json_object_set_new(entry, "operation", json_string("Apply"));
	(void)json_object_set_new(entry, "manager", json_string("kubectl"));
	apply_track(cm, live, now, &o);
	owns(now, "kubectl", "{\"f:data\":{\".\":{},\"f:k\":{}}}");
	assert_int_equal(json_array_size(json_at(now, "metadata.managedFields")), 1);
	json_decref(live);
	json_decref(now);
}

/* Applying the same again must not even move the times: the server then writes nothing. */
static void the_same_again_changes_nothing(void **state)
{
	(void)state;
	const struct kind *d = kind("apps", "Deployment");
	const char *body = "metadata: {name: d}\nspec:\n  replicas: 1\n  template: {spec: "
			   "{containers: [{name: c, "
			   "image: i, ports: [{containerPort: 80}]}]}}\n";
	struct apply_opts o = {.manager = "a", .sub = "", .now_ns = NOW + 5 * NS_PER_SEC};
	struct err e = {0};
	json_t *live = NULL, *again = NULL;
	AUTO_JSON json_t *config = NULL;
	must_apply(d, &live, body, "a", false);
	assert_int_equal(apply_decode(d, str_of(body), &config, &e), 0);
	assert_int_equal(apply_config(d, live, config, &o, NULL, &again, &e), 0);
	api_default(d, again);
	api_prepare_update(d, again, live, "");
	AUTO_BUF struct buf x = {0}, y = {0};
	api_encode_json(d->type, live, &x);
	api_encode_json(d->type, again, &y);
	assert_string_equal(x.p, y.p);
	json_decref(live);
	json_decref(again);
}

/* --- recorded sequences --- */
static json_t *normal(const json_t *list)
{
	json_t *out = json_array(), *e;
	size_t i;
	json_array_foreach ((json_t *)(uintptr_t)list, i, e) {
		json_t *c = json_copy(e);
		(void)json_object_del(c, "time");
		(void)json_array_append_new(out, c);
	}
	return out;
}

static bool same_owners(const json_t *got, const json_t *want)
{
	AUTO_JSON json_t *g = normal(got);
	size_t i, j, found = 0;
	json_t *a, *b;
	json_array_foreach ((json_t *)(uintptr_t)want, i, a)
		json_array_foreach (g, j, b)
			found += (size_t)json_equal(a, b);
	return found == json_array_size(want) && json_array_size(g) == found;
}

static int check_step(const json_t *live, const json_t *step, const char *name)
{
	const json_t *want = json_object_get(step, "want");
	const json_t *mf = json_object_get(want, "metadata.managedFields");
	int bad = 0;
	if (!mf)
		mf = json_at(want, "metadata.managedFields");
	if (mf && !same_owners(json_at(live, "metadata.managedFields"), mf)) {
		char *g = json_dumps(json_at(live, "metadata.managedFields"), 0),
		     *w = json_dumps(mf, 0);
		print_message("%s: got %s\nwant %s\n", name, g, w);
		free(g);
		free(w);
		bad++;
	}
	static const char *const parts[] = {"data", "spec.ports", "spec.template.spec.containers"};
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		const json_t *w = json_object_get(want, parts[i]), *g = json_at(live, parts[i]);
		if (w && !(g && json_equal(g, w))) {
			print_message("%s: %s differs\n", name, parts[i]);
			bad++;
		}
	}
	return bad;
}

static int run_step(const struct kind *k, json_t **live, const json_t *step, const char *name)
{
	const char *path = json_str(step, "p", ""), *who = strstr(path, "fieldManager=");
	const json_t *b = json_object_get(step, "b");
	char *body = json_is_string(b) ? strdup(json_string_value(b)) : json_dumps(b, 0);
	const char *type =
		json_string_value(json_object_get(json_object_get(step, "h"), "Content-Type"));
	struct err e = {0};
	int r = 0;
	if (type && strstr(type, "apply-patch"))
		r = apply(k, live, body, who ? who + 13 : "", strstr(path, "force=true") != NULL,
			NULL, &e);
	else
		merge_update(k, live, body, who ? who + 13 : "");
	free(body);
	int64_t code = json_i64(step, "code", 0);
	if ((r == -EEXIST) != (code == 409))
		return print_message("%s: %d %s, want %d\n", name, r, e.msg, (int)code), 1;
	return r ? 0 : check_step(*live, step, name);
}

static void golden_replay(void **state)
{
	(void)state;
	AUTO_BUF struct buf text = {0};
	size_t i, j;
	json_t *s, *step;
	int bad = 0, ran = 0;
	if (file_read(GOLDEN, 1 << 24, &text) != 0)
		skip();
	AUTO_JSON json_t *all = parse(text.p);
	json_array_foreach (json_object_get(all, "scenarios"), i, s) {
		json_t *live = NULL;
		if (strcmp(json_str(s, "name", ""), "uid") == 0)
			continue; /* the server's precondition */
		json_array_foreach (json_object_get(s, "steps"), j, step) {
			const char *p = json_str(step, "p", "");
			const struct kind *k = strstr(p, "deployments/")
						       ? kind("apps", "Deployment")
					       : strstr(p, "services/") ? kind("", "Service")
									: kind("", "ConfigMap");
			if (strcmp(json_str(step, "m", ""), "PATCH") != 0)
				continue;
			bad += run_step(k, &live, step, json_str(s, "name", ""));
			ran++;
		}
		json_decref(live);
	}
	assert_true(ran > 10);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conflict_force_removal),
		cmocka_unit_test(lists_of_all_kinds),
		cmocka_unit_test(bad_configurations),
		cmocka_unit_test(updates_take_fields_over),
		cmocka_unit_test(first_apply_meets_the_past),
		cmocka_unit_test(updaters_are_capped),
		cmocka_unit_test(creation_is_tracked),
		cmocka_unit_test(subresources_are_tracked),
		cmocka_unit_test(requests_may_edit_the_entries),
		cmocka_unit_test(the_same_again_changes_nothing),
		cmocka_unit_test(golden_replay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

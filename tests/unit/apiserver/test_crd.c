/* SPDX-License-Identifier: Apache-2.0
 * Custom resources over the in-memory store: a definition becomes a served kind, changes, is
 * restored at start, and goes with its objects. */
#include "fake.h"

#define CRDS  "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define FOOS  "/apis/t.example.com/v1/namespaces/default/foos"
#define FOO2  "/apis/t.example.com/v2/namespaces/default/foos"
#define MERGE "application/merge-patch+json"
#define SPEC(extra)                                                                                \
	"{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"required\":[\"n\"]," \
	"\"properties\":{\"n\":{\"type\":\"integer\",\"maximum\":9}," extra                        \
	"\"l\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","                            \
	"\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":\"object\","                   \
	"\"required\":[\"k\"],\"properties\":{\"k\":{\"type\":\"string\"},"                        \
	"\"v\":{\"type\":\"string\"}}}}}},\"status\":{\"type\":\"object\",\"properties\":"         \
	"{\"r\":{\"type\":\"integer\"}}}}}"
#define VERSION(name, storage, schema)                                                             \
	"{\"name\":\"" name "\",\"served\":true,\"storage\":" storage                              \
	",\"subresources\":{\"status\":{},\"scale\":{\"specReplicasPath\":\".spec.n\","            \
	"\"statusReplicasPath\":\".status.r\"}},\"schema\":{\"openAPIV3Schema\":" schema "}}"
#define CRD(plural, kind, shorts, versions)                                                        \
	"{\"metadata\":{\"name\":\"" plural ".t.example.com\"},\"spec\":{\"group\":"               \
	"\"t.example.com\",\"scope\":\"Namespaced\",\"names\":{\"plural\":\"" plural               \
	"\",\"kind\":\"" kind "\",\"shortNames\":[" shorts "]},\"versions\":[" versions "]}}"
#define FOO(name, spec)                                                                            \
	"{\"apiVersion\":\"t.example.com/v1\",\"kind\":\"Foo\",\"metadata\":{\"name\":\"" name     \
	"\"},\"spec\":" spec "}"

static struct world w;

static int up(void **state)
{
	(void)state;
	world_up(&w, "10.96.0.0/16");
	return 0;
}

static int down(void **state)
{
	(void)state;
	world_down(&w);
	return 0;
}

static int get(const char *url)
{
	return call(&w, "GET", url, NULL, NULL);
}

static bool condition(const char *crd, const char *type, const char *status)
{
	AUTO_JSON json_t *j = NULL;
	size_t i;
	json_t *c;
	if (call(&w, "GET", crd, NULL, &j) != 200)
		return false;
	json_array_foreach (json_at(j, "status.conditions"), i, c)
		if (strcmp(json_str(c, "type", ""), type) == 0)
			return strcmp(json_str(c, "status", ""), status) == 0;
	return false;
}

static void establish(const char *crd)
{
	assert_int_equal(call(&w, "POST", CRDS, crd, NULL), 201);
	UNTIL(&w, condition(CRDS "/foos.t.example.com", "Established", "True"));
	assert_int_equal(get(FOOS), 200);
}

static int64_t number_at(const char *url, const char *path)
{
	AUTO_JSON json_t *j = NULL;
	assert_int_equal(call(&w, "GET", url, NULL, &j), 200);
	return json_i64(j, path, -1);
}

static void test_life(void **state)
{
	AUTO_JSON json_t *j = NULL;
	(void)state;
	assert_int_equal(get(FOOS), 404);
	establish(CRD("foos", "Foo", "",
		VERSION("v1", "true", SPEC("\"d\":{\"type\":\"string\",\"default\":\"x\"},"))));
	assert_int_equal(call(&w, "POST", FOOS,
				 FOO("a", "{\"n\":1,\"gone\":true},\"status\":{\"r\":1}"), &j),
		201);
	assert_string_equal(json_str(j, "spec.d", ""), "x");
	assert_null(json_at(j, "spec.gone"));
	assert_null(json_at(j, "status"));
	assert_int_equal(json_i64(j, "metadata.generation", 0), 1);
	json_decref(j);
	assert_int_equal(call(&w, "POST", FOOS, FOO("b", "{\"n\":10}"), &j), 422);
	assert_string_equal(
		json_str(json_array_get(json_at(j, "details.causes"), 0), "field", ""), "spec.n");
	/* status and scale are paths of their own */
	assert_int_equal(call_type(&w, "PATCH", FOOS "/a/status",
				 "{\"spec\":{\"n\":5},\"status\":{\"r\":2}}", MERGE, NULL),
		200);
	assert_int_equal(number_at(FOOS "/a", "status.r"), 2);
	assert_int_equal(number_at(FOOS "/a", "spec.n"), 1);
	assert_int_equal(number_at(FOOS "/a", "metadata.generation"), 1);
	assert_int_equal(
		call_type(&w, "PATCH", FOOS "/a/scale", "{\"spec\":{\"replicas\":3}}", MERGE, NULL),
		200);
	assert_int_equal(number_at(FOOS "/a", "spec.n"), 3);
	assert_int_equal(number_at(FOOS "/a", "metadata.generation"), 2);
	assert_int_equal(number_at(FOOS "/a/scale", "status.replicas"), 2);
	assert_int_equal(call_type(&w, "PATCH", FOOS "/a", "{}",
				 "application/strategic-merge-patch+json", NULL),
		415);
	assert_int_equal(call(&w, "POST", FOOS "?fieldValidation=Strict",
				 FOO("c", "{\"n\":1,\"z\":1}"), NULL),
		400);
}

static void test_apply(void **state)
{
	AUTO_JSON json_t *j = NULL;
	const char *type = "application/apply-patch+yaml";
	(void)state;
	establish(CRD("foos", "Foo", "", VERSION("v1", "true", SPEC(""))));
	assert_int_equal(
		call_type(&w, "PATCH", FOOS "/a?fieldManager=one",
			FOO("a", "{\"n\":1,\"l\":[{\"k\":\"x\",\"v\":\"1\"}]}"), type, NULL),
		201);
	assert_int_equal(
		call_type(&w, "PATCH", FOOS "/a?fieldManager=two",
			FOO("a", "{\"n\":1,\"l\":[{\"k\":\"y\",\"v\":\"2\"}]}"), type, NULL),
		200);
	assert_int_equal(
		call_type(&w, "PATCH", FOOS "/a?fieldManager=two",
			FOO("a", "{\"n\":1,\"l\":[{\"k\":\"x\",\"v\":\"2\"}]}"), type, NULL),
		409);
	assert_int_equal(
		call_type(&w, "PATCH", FOOS "/a?fieldManager=one", FOO("a", "{\"n\":1}"), type, &j),
		200);
	assert_int_equal(json_array_size(json_at(j, "spec.l")), 1);
	assert_string_equal(json_str(json_array_get(json_at(j, "spec.l"), 0), "k", ""), "y");
}

/* Stored in v1, then the storage version and the schema change: old objects follow when read. */
static void test_versions(void **state)
{
	AUTO_JSON json_t *crd = NULL, *j = NULL, *v2 = NULL;
	(void)state;
	establish(CRD("foos", "Foo", "", VERSION("v1", "true", SPEC(""))));
	assert_int_equal(call(&w, "POST", FOOS, FOO("a", "{\"n\":1}"), NULL), 201);
	struct fake *watch = ask(&w, "GET", FOOS "?watch=1", NULL);
	UNTIL(&w, watch->out.len > 0);
	assert_int_equal(call(&w, "GET", CRDS "/foos.t.example.com", NULL, &crd), 200);
	json_t *list = json_at(crd, "spec.versions"), *v1 = json_array_get(list, 0);
	v2 = json_deep_copy(v1);
	(void)json_put(v1, "storage", json_false());
	(void)json_put(v2, "name", json_string("v2"));
	(void)json_put(v2, "schema.openAPIV3Schema.properties.spec.properties.late",
		json_pack("{s:s,s:s}", "type", "string", "default", "L"));
	(void)json_array_append(list, v2);
	AUTO_FREE char *text = json_dumps(crd, 0);
	assert_int_equal(call(&w, "PUT", CRDS "/foos.t.example.com", text, &j), 200);
	assert_int_equal(json_array_size(json_at(j, "status.storedVersions")), 2);
	UNTIL(&w, watch->ended); /* its schema is no longer the one */
	fake_free(watch);
	json_decref(j);
	j = NULL;
	assert_int_equal(call(&w, "GET", FOO2 "/a", NULL, &j), 200);
	assert_string_equal(json_str(j, "apiVersion", ""), "t.example.com/v2");
	assert_string_equal(json_str(j, "spec.late", ""), "L");
	json_decref(j);
	j = NULL;
	assert_int_equal(call(&w, "GET", FOOS "/a", NULL, &j), 200);
	assert_string_equal(json_str(j, "apiVersion", ""), "t.example.com/v1");
	assert_null(json_at(j, "spec.late"));
}

static void test_names(void **state)
{
	AUTO_JSON json_t *j = NULL;
	(void)state;
	establish(CRD("foos", "Foo", "\"f\"", VERSION("v1", "true", SPEC(""))));
	assert_int_equal(
		call(&w, "POST", CRDS, CRD("bars", "Foo", "\"f\"", VERSION("v1", "true", SPEC(""))),
			NULL),
		201);
	UNTIL(&w, condition(CRDS "/bars.t.example.com", "NamesAccepted", "False"));
	assert_true(condition(CRDS "/bars.t.example.com", "Established", "False"));
	assert_int_equal(get("/apis/t.example.com/v1/bars"), 404);
	/* the names are free when their holder goes */
	assert_int_equal(call(&w, "DELETE", CRDS "/foos.t.example.com", NULL, NULL), 200);
	UNTIL(&w, get(CRDS "/foos.t.example.com") == 404);
	assert_int_equal(call_type(&w, "PATCH", CRDS "/bars.t.example.com",
				 "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", MERGE, NULL),
		200);
	UNTIL(&w, condition(CRDS "/bars.t.example.com", "Established", "True"));
	assert_int_equal(call(&w, "GET", "/apis/t.example.com/v1", NULL, &j), 200);
	assert_int_equal(json_array_size(json_object_get(j, "resources")), 3);
}

static void test_end(void **state)
{
	(void)state;
	establish(CRD("foos", "Foo", "", VERSION("v1", "true", SPEC(""))));
	assert_int_equal(call(&w, "POST", FOOS, FOO("a", "{\"n\":1}"), NULL), 201);
	assert_int_equal(call(&w, "POST", FOOS, FOO("held", "{\"n\":1}"), NULL), 201);
	assert_int_equal(call_type(&w, "PATCH", FOOS "/held",
				 "{\"metadata\":{\"finalizers\":[\"x/y\"]}}", MERGE, NULL),
		200);
	struct fake *watch = ask(&w, "GET", FOOS "?watch=1", NULL);
	assert_int_equal(call(&w, "DELETE", CRDS "/foos.t.example.com", NULL, NULL), 200);
	UNTIL(&w, get(FOOS "/a") == 404);
	assert_int_equal(call(&w, "POST", FOOS, FOO("b", "{\"n\":1}"), NULL), 405);
	assert_true(condition(CRDS "/foos.t.example.com", "Terminating", "True"));
	assert_int_equal(call_type(&w, "PATCH", FOOS "/held",
				 "{\"metadata\":{\"finalizers\":null}}", MERGE, NULL),
		200);
	UNTIL(&w, get(CRDS "/foos.t.example.com") == 404);
	assert_int_equal(get(FOOS), 404);
	UNTIL(&w, watch->ended);
	fake_free(watch);
	/* and once more, from nothing */
	establish(CRD("foos", "Foo", "", VERSION("v1", "true", SPEC(""))));
	assert_int_equal(get(FOOS "/a"), 404);
}

/* A second server over the same store serves what the first one was told. */
static void test_restart(void **state)
{
	struct err e = {0};
	(void)state;
	establish(CRD("foos", "Foo", "", VERSION("v1", "true", SPEC(""))));
	assert_int_equal(call(&w, "POST", FOOS, FOO("a", "{\"n\":7}"), NULL), 201);
	apiserver_free(w.api);
	struct apiserver_config c = {.store = w.store,
		.loop = w.loop,
		.service_cidr = "10.96.0.0/16",
		.node_port_min = 30000,
		.node_port_max = 30003};
	assert_int_equal(apiserver_new(&c, &w.api, &e), 0);
	assert_int_equal(number_at(FOOS "/a", "spec.n"), 7);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, up, down)

int main(void)
{
	const struct CMUnitTest tests[] = {T(test_life), T(test_apply), T(test_versions),
		T(test_names), T(test_end), T(test_restart)};
	return cmocka_run_group_tests_name("custom resources", tests, NULL, NULL);
}

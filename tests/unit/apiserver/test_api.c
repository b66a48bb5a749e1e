/* SPDX-License-Identifier: Apache-2.0
 * Reads, writes, deletes, watches and allocation of the API server over the in-memory store. */
#include "fake.h"

#define CMS  "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define SVCS "/api/v1/namespaces/default/services"
#define POD(name, extra)                                                                           \
	"{\"metadata\":{\"name\":\"" name                                                          \
	"\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\"}]" extra "}}"

static struct world w;

static int up(void **state)
{
	(void)state;
	world_up(&w, "10.96.0.0/16");
	return 0;
}

static int up_small(void **state)
{
	(void)state;
	world_up(&w, "10.96.0.0/29");
	return 0;
}

static int down(void **state)
{
	(void)state;
	world_down(&w);
	return 0;
}

/* --- helpers --- */

/* Lines of a watch so far. */
static size_t n_events(const struct fake *f)
{
	size_t n = 0;
	for (size_t i = 0; i < f->out.len; i++)
		n += f->out.p[i] == '\n';
	return n;
}

/* "ADDED a, MODIFIED a, " ... of a watch so far. */
static char *events_text(const struct fake *f)
{
	struct buf b = {0};
	struct str s = buf_str(&f->out);
	while (s.n) {
		json_t *j = NULL;
		assert_int_equal(json_parse(str_cut(&s, '\n'), &j, NULL), 0);
		buf_addf(&b, "%s %s, ", json_str(j, "type", "?"),
			json_str(j, "object.metadata.name", json_str(j, "object.reason", "-")));
		json_decref(j);
	}
	return b.p ? buf_steal(&b) : strdup("");
}

static void make_cm(const char *name, const char *labels)
{
	char body[300];
	(void)snprintf(body, sizeof(body),
		"{\"metadata\":{\"name\":\"%s\",\"labels\":{%s}},\"data\":{\"n\":\"0\"}}", name,
		labels);
	assert_int_equal(call(&w, "POST", CMS, body, NULL), 201);
}

static char *text_at(const char *url, const char *path)
{
	AUTO_JSON json_t *j = NULL;
	assert_int_equal(call(&w, "GET", url, NULL, &j), 200);
	return strdup(json_str(j, path, ""));
}

static int merge(const char *url, const char *patch)
{
	return call_type(&w, "PATCH", url, patch, "application/merge-patch+json", NULL);
}

static void expect_events(struct fake *f, size_t n, const char *want)
{
	UNTIL(&w, n_events(f) >= n);
	AUTO_FREE char *got = events_text(f);
	assert_string_equal(got, want);
}

/* --- writes --- */

static void test_update(void **state)
{
	(void)state;
	AUTO_JSON json_t *j = NULL;
	make_cm("a", "");
	assert_int_equal(call(&w, "POST", CMS, "{\"metadata\":{\"name\":\"a\"}}", &j), 409);
	assert_string_equal(json_str(j, "reason", ""), "AlreadyExists");
	AUTO_FREE char *rv = text_at(CMS "/a", "metadata.resourceVersion");
	AUTO_FREE char *uid = text_at(CMS "/a", "metadata.uid");
	assert_int_equal(strlen(uid), 36);
	/* writing what is there stores nothing */
	assert_int_equal(merge(CMS "/a", "{\"data\":{\"n\":\"0\"}}"), 200);
	AUTO_FREE char *same = text_at(CMS "/a", "metadata.resourceVersion");
	assert_string_equal(rv, same);
	assert_int_equal(merge(CMS "/a", "{\"data\":{\"n\":\"1\"}}"), 200);
	char body[300];
	(void)snprintf(body, sizeof(body),
		"{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"%s\"},\"data\":{\"n\":\"2\"}}",
		rv);
	assert_int_equal(call(&w, "PUT", CMS "/a", body, NULL), 409); /* stale */
	assert_int_equal(call(&w, "PUT", CMS "/a",
				 "{\"metadata\":{\"name\":\"a\"},\"data\":{\"n\":\"3\"}}", NULL),
		200); /* unconditional */
	AUTO_FREE char *n = text_at(CMS "/a", "data.n");
	assert_string_equal(n, "3");
	AUTO_FREE char *kept = text_at(CMS "/a", "metadata.uid");
	assert_string_equal(kept, uid);
	assert_int_equal(
		call(&w, "PUT", CMS "/nope", "{\"metadata\":{\"name\":\"nope\"}}", NULL), 404);
	assert_int_equal(call(&w, "POST", "/api/v1/namespaces/none/configmaps",
				 "{\"metadata\":{\"name\":\"a\"}}", NULL),
		404);
}

/* Many writers of one object at once: every one of their changes is there in the end. */
static void test_concurrent_patches(void **state)
{
	(void)state;
	enum { N = 40 };
	struct fake *f[N];
	char body[64];
	unsigned ok = 0;
	make_cm("a", "");
	for (int i = 0; i < N; i++) {
		(void)snprintf(body, sizeof(body), "{\"data\":{\"k%d\":\"v\"}}", i);
		f[i] = ask_type(&w, "PATCH", CMS "/a", body, "application/merge-patch+json");
	}
	UNTIL(&w, w.open == 0);
	for (int i = 0; i < N; i++) {
		assert_true(f[i]->status == 200 || f[i]->status == 409);
		ok += f[i]->status == 200;
		fake_free(f[i]);
	}
	AUTO_JSON json_t *j = NULL;
	assert_int_equal(call(&w, "GET", CMS "/a", NULL, &j), 200);
	assert_int_equal(json_object_size(json_at(j, "data")), ok + 1);
	assert_true(ok >= 5); /* each gets five attempts */
}

static void test_dry_run(void **state)
{
	(void)state;
	assert_int_equal(
		call(&w, "POST", CMS "?dryRun=All", "{\"metadata\":{\"name\":\"a\"}}", NULL), 201);
	assert_int_equal(call(&w, "GET", CMS "/a", NULL, NULL), 404);
	make_cm("a", "");
	assert_int_equal(call(&w, "DELETE", CMS "/a?dryRun=All", NULL, NULL), 200);
	assert_int_equal(call(&w, "GET", CMS "/a", NULL, NULL), 200);
	assert_int_equal(call(&w, "DELETE", CMS "?dryRun=All", NULL, NULL), 200);
	assert_int_equal(call(&w, "GET", CMS "/a", NULL, NULL), 200);
}

/* The client leaves in the middle: the write is finished, nothing is touched after it is freed. */
/* Clients that leave at once. What the store was given is done; what still waited for the cache to
 * catch up with the store is forgotten. Either way the server goes on. */
static void test_hang_up(void **state)
{
	(void)state;
	AUTO_JSON json_t *j = NULL;
	assert_int_equal(call(&w, "POST", CMS, "{\"metadata\":{\"name\":\"first\"}}", NULL), 201);
	for (int i = 0; i < 20; i++) {
		char body[64];
		(void)snprintf(body, sizeof(body), "{\"metadata\":{\"name\":\"h%d\"}}", i);
		fake_free(ask(&w, "POST", CMS, body));
		fake_free(ask(&w, "GET", CMS "?watch=1&resourceVersion=0", NULL));
	}
	for (int i = 0; i < 20; i++) /* the store's answers that nobody waits for */
		(void)loop_poll(w.loop, 1);
	assert_int_equal(call(&w, "POST", CMS, "{\"metadata\":{\"name\":\"last\"}}", NULL), 201);
	assert_int_equal(call(&w, "GET", CMS, NULL, &j), 200);
	assert_in_range(json_array_size(json_at(j, "items")), 2, 22);
}

/* --- deletes --- */

static void test_pod_grace(void **state)
{
	(void)state;
	AUTO_JSON json_t *j = NULL;
	AUTO_JSON json_t *k = NULL;
	assert_int_equal(call(&w, "POST", PODS, POD("p", ",\"nodeName\":\"n\""), NULL), 201);
	assert_int_equal(call(&w, "DELETE", PODS "/p", NULL, &j), 200);
	assert_int_equal(json_i64(j, "metadata.deletionGracePeriodSeconds", -1), 30);
	assert_non_null(json_at(j, "metadata.deletionTimestamp"));
	/* a longer time does not count, a shorter does */
	assert_int_equal(call(&w, "DELETE", PODS "/p?gracePeriodSeconds=60", NULL, NULL), 200);
	assert_int_equal(call(&w, "DELETE", PODS "/p?gracePeriodSeconds=5", NULL, &k), 200);
	assert_int_equal(json_i64(k, "metadata.deletionGracePeriodSeconds", -1), 5);
	assert_int_equal(call(&w, "GET", PODS "/p", NULL, NULL), 200);
	assert_int_equal(call(&w, "DELETE", PODS "/p?gracePeriodSeconds=0", NULL, NULL), 200);
	assert_int_equal(call(&w, "GET", PODS "/p", NULL, NULL), 404);
	/* without a node nobody has to stop anything */
	assert_int_equal(call(&w, "POST", PODS, POD("q", ""), NULL), 201);
	assert_int_equal(call(&w, "DELETE", PODS "/q", NULL, NULL), 200);
	assert_int_equal(call(&w, "GET", PODS "/q", NULL, NULL), 404);
}

static void test_finalizers(void **state)
{
	(void)state;
	AUTO_JSON json_t *j = NULL;
	assert_int_equal(
		call(&w, "POST", CMS, "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x.y/z\"]}}",
			NULL),
		201);
	assert_int_equal(call(&w, "DELETE", CMS "/a",
				 "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\","
				 "\"preconditions\":{\"uid\":\"other\"}}",
				 NULL),
		409);
	assert_int_equal(call(&w, "DELETE", CMS "/a?propagationPolicy=Foreground", NULL, &j), 200);
	assert_int_equal(json_array_size(json_at(j, "metadata.finalizers")), 2);
	assert_int_equal(merge(CMS "/a", "{\"metadata\":{\"finalizers\":[\"new.one/x\"]}}"), 422);
	assert_int_equal(call(&w, "GET", CMS "/a", NULL, NULL), 200);
	assert_int_equal(merge(CMS "/a", "{\"metadata\":{\"finalizers\":null}}"), 200);
	assert_int_equal(call(&w, "GET", CMS "/a", NULL, NULL), 404);
}

/* --- watches --- */

static void test_watch_selector(void **state)
{
	(void)state;
	make_cm("a", "\"t\":\"x\"");
	make_cm("b", "");
	struct fake *all = ask(&w, "GET", CMS "?watch=1", NULL);
	struct fake *sel = ask(&w, "GET", CMS "?watch=1&labelSelector=t%3Dx", NULL);
	expect_events(all, 2, "ADDED a, ADDED b, ");
	expect_events(sel, 1, "ADDED a, ");
	assert_int_equal(merge(CMS "/b", "{\"metadata\":{\"labels\":{\"t\":\"x\"}}}"), 200);
	assert_int_equal(merge(CMS "/a", "{\"metadata\":{\"labels\":{\"t\":\"y\"}}}"), 200);
	assert_int_equal(merge(CMS "/a", "{\"data\":{\"n\":\"9\"}}"), 200);
	assert_int_equal(call(&w, "DELETE", CMS "/b", NULL, NULL), 200);
	expect_events(all, 6, "ADDED a, ADDED b, MODIFIED b, MODIFIED a, MODIFIED a, DELETED b, ");
	expect_events(sel, 4, "ADDED a, ADDED b, DELETED a, DELETED b, ");
	fake_free(all);
	fake_free(sel);
}

/* From a revision on: nothing twice, nothing missing, the same bytes for everybody. */
static void test_watch_resume(void **state)
{
	(void)state;
	AUTO_JSON json_t *j = NULL;
	char url[200];
	make_cm("a", "");
	assert_int_equal(call(&w, "GET", CMS, NULL, &j), 200);
	(void)snprintf(url, sizeof(url), CMS "?watch=1&resourceVersion=%s",
		json_str(j, "metadata.resourceVersion", ""));
	struct fake *one = ask(&w, "GET", url, NULL);
	for (int i = 0; i < 30; i++) {
		char patch[64];
		(void)snprintf(patch, sizeof(patch), "{\"data\":{\"n\":\"x%d\"}}", i);
		assert_int_equal(merge(CMS "/a", patch), 200);
	}
	struct fake *two = ask(&w, "GET", url, NULL);
	UNTIL(&w, n_events(one) >= 30 && n_events(two) >= 30);
	assert_int_equal(n_events(one), 30);
	assert_int_equal(one->out.len, two->out.len);
	assert_memory_equal(one->out.p, two->out.p, one->out.len);
	fake_free(one);
	fake_free(two);
}

static void test_watch_list(void **state)
{
	(void)state;
	make_cm("a", "");
	struct fake *f = ask(&w, "GET",
		CMS "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
		    "allowWatchBookmarks=true",
		NULL);
	UNTIL(&w, n_events(f) >= 2);
	assert_non_null(strstr(f->out.p, "\"k8s.io/initial-events-end\":\"true\""));
	fake_free(f);
	assert_int_equal(call(&w, "GET", CMS "?watch=1&sendInitialEvents=true", NULL, NULL), 422);
	f = ask(&w, "GET", CMS "?watch=1&timeoutSeconds=1", NULL);
	UNTIL(&w, f->ended); /* by the server's clock */
	fake_free(f);
}

/* A client that takes nothing is paused, catches up when it drains, and is cut off with 410 when
 * the ring has gone on without it. */
static void test_watch_slow(void **state)
{
	(void)state;
	enum { RING = 8192 };
	make_cm("a", "");
	struct fake *f = ask(&w, "GET", CMS "?watch=1", NULL);
	UNTIL(&w, n_events(f) == 1);
	f->pending = 1 << 20;
	assert_int_equal(merge(CMS "/a", "{\"data\":{\"n\":\"1\"}}"), 200);
	assert_int_equal(merge(CMS "/a", "{\"data\":{\"n\":\"2\"}}"), 200);
	assert_int_equal(n_events(f), 1);
	f->pending = 0;
	f->x.on_drain(&f->x);
	UNTIL(&w, n_events(f) == 3);
	f->pending = 1 << 20;
	for (int i = 0; i < RING + 10; i++) {
		char key[64], value[100];
		struct store_txn_result tr = {0};
		(void)snprintf(key, sizeof(key), "/registry/core/configmaps/default/z");
		(void)snprintf(value, sizeof(value),
			"{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"z%"
			"d\"}}",
			i);
		struct store_txn t = {.key = str_of(key), .value = str_of(value)};
		assert_int_equal(store_txn_sync(w.store, &t, &tr, NULL), 0);
		store_val_unref(tr.cur);
	}
	assert_int_equal(call(&w, "GET", CMS, NULL, NULL), 200); /* the cache has it all */
	(void)loop_poll(w.loop, 0);
	f->pending = 0;
	f->x.on_drain(&f->x);
	UNTIL(&w, f->ended);
	assert_non_null(strstr(f->out.p, "\"Expired\""));
	fake_free(f);
	AUTO_JSON json_t *late = NULL;
	assert_int_equal(call(&w, "GET", CMS "?watch=1&resourceVersion=1", NULL, &late), 200);
	assert_string_equal(json_string_value(json_object_get(late, "type")), "ERROR");
	json_t *told = json_object_get(late, "object");
	assert_int_equal(json_integer_value(json_object_get(told, "code")), 410);
}

/* --- lists --- */

static void compacted(void *arg, const struct err *e)
{
	(void)e;
	atomic_store((atomic_bool *)arg, true);
}

static void test_pages(void **state)
{
	(void)state;
	static atomic_bool done;
	AUTO_JSON json_t *p1 = NULL;
	AUTO_JSON json_t *p2 = NULL;
	AUTO_JSON json_t *gone = NULL;
	AUTO_JSON json_t *rest = NULL;
	char url[600], name[8];
	for (int i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof(name), "c%d", i);
		make_cm(name, "");
	}
	assert_int_equal(call(&w, "GET", CMS "?limit=2", NULL, &p1), 200);
	assert_int_equal(json_i64(p1, "metadata.remainingItemCount", 0), 3);
	const char *rv = json_str(p1, "metadata.resourceVersion", "");
	(void)snprintf(url, sizeof(url), CMS "?limit=2&continue=%s",
		json_str(p1, "metadata.continue", ""));
	/* the following pages show the state of the first */
	assert_int_equal(call(&w, "DELETE", CMS "/c3", NULL, NULL), 200);
	make_cm("c2a", "");
	assert_int_equal(call(&w, "GET", url, NULL, &p2), 200);
	assert_string_equal(json_str(p2, "metadata.resourceVersion", ""), rv);
	json_t *items = json_at(p2, "items");
	assert_string_equal(json_str(json_array_get(items, 0), "metadata.name", ""), "c2");
	assert_string_equal(json_str(json_array_get(items, 1), "metadata.name", ""), "c3");
	/* after compaction: 410, with a token that goes on in the state of now */
	w.store->ops->compact(w.store, w.store->ops->rev(w.store), compacted, &done);
	UNTIL(&w, atomic_load(&done));
	assert_int_equal(call(&w, "GET", url, NULL, &gone), 410);
	assert_string_equal(json_str(gone, "reason", ""), "Expired");
	(void)snprintf(
		url, sizeof(url), CMS "?continue=%s", json_str(gone, "metadata.continue", ""));
	assert_int_equal(call(&w, "GET", url, NULL, &rest), 200);
	assert_int_equal(json_array_size(json_at(rest, "items")), 3); /* c2 c2a c4 */
	assert_int_equal(call(&w, "GET", CMS "?limit=2&continue=bad", NULL, NULL), 400);
}

/* --- Services --- */

static void svc(const char *name, const char *spec, int status, char ip[64])
{
	AUTO_JSON json_t *j = NULL;
	char body[400];
	(void)snprintf(body, sizeof(body),
		"{\"metadata\":{\"name\":\"%s\"},\"spec\":{%s\"ports\":[{\"port\":80}]}}", name,
		spec);
	int got = call(&w, "POST", SVCS, body, &j);
	if (got != status)
		fail_msg("%s: %d, want %d: %s", name, got, status, json_str(j, "message", ""));
	if (ip)
		(void)snprintf(ip, 64, "%s", json_str(j, "spec.clusterIP", ""));
}

/* A /29 has six addresses; default/kubernetes has the first. */
static void test_cluster_ips(void **state)
{
	(void)state;
	char ip[6][64], name[8], spec[64];
	for (int i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof(name), "s%d", i);
		svc(name, "", 201, ip[i]);
		for (int k = 0; k < i; k++)
			assert_string_not_equal(ip[i], ip[k]);
	}
	svc("full", "", 500, NULL);
	svc("none", "\"clusterIP\":\"None\",", 201, ip[5]);
	assert_string_equal(ip[5], "None");
	(void)snprintf(spec, sizeof(spec), "\"clusterIP\":\"%s\",", ip[2]);
	svc("same", spec, 422, NULL);
	svc("outside", "\"clusterIP\":\"10.97.0.1\",", 422, NULL);
	assert_int_equal(call(&w, "DELETE", SVCS "/s2", NULL, NULL), 200);
	svc("again", spec, 201, ip[5]);
	assert_string_equal(ip[5], ip[2]);
	/* an invalid one takes nothing for good */
	assert_int_equal(call(&w, "DELETE", SVCS "/again", NULL, NULL), 200);
	svc("BAD", "", 422, NULL);
	svc("dry", "", 201, NULL);
	/* leaving the type gives the address back */
	assert_int_equal(merge(SVCS "/dry",
				 "{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"a.b\"}}"),
		200);
	svc("last", "", 201, NULL);
}

/* Four node ports are configured. */
static void test_node_ports(void **state)
{
	(void)state;
	svc("a", "\"type\":\"NodePort\",", 201, NULL);
	svc("b", "\"type\":\"NodePort\",", 201, NULL);
	svc("c", "\"type\":\"NodePort\",", 201, NULL);
	svc("d", "\"type\":\"NodePort\",", 201, NULL);
	svc("e", "\"type\":\"NodePort\",", 500, NULL);
	assert_int_equal(merge(SVCS "/a", "{\"spec\":{\"type\":\"ClusterIP\"}}"), 200);
	svc("e", "\"type\":\"NodePort\",", 201, NULL);
	assert_int_equal(merge(SVCS "/e", "{\"spec\":{\"selector\":{\"a\":\"b\"}}}"), 200);
	AUTO_FREE char *t = text_at(SVCS "/e", "spec.type");
	assert_string_equal(t, "NodePort");
}

/* --- access --- */

static void test_anonymous(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		int status;
	} rows[] = {
		{"/healthz", 200}, {"/version", 200}, {"/api", 403}, {CMS, 403}, {"/metrics", 403}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fake *f = calloc(1, sizeof(*f));
		f->w = &w;
		f->x = (struct http_exchange){.ops = &fake_ops,
			.loop = w.loop,
			.method = STR("GET"),
			.path = str_of(rows[i].path),
			.peer = {.tls = true}};
		w.open++;
		apiserver_handle(w.api, &f->x);
		UNTIL(&w, f->ended);
		assert_int_equal(f->status, rows[i].status);
		fake_free(f);
	}
}

static void test_binding(void **state)
{
	(void)state;
	static const char bind[] =
		"{\"apiVersion\":\"v1\",\"kind\":\"Binding\",\"metadata\":{"
		"\"name\":\"p\"},\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}";
	assert_int_equal(call(&w, "POST", PODS, POD("p", ""), NULL), 201);
	assert_int_equal(call(&w, "POST", PODS "/p/binding", bind, NULL), 201);
	assert_int_equal(call(&w, "POST", PODS "/p/binding", bind, NULL), 409);
	AUTO_FREE char *node = text_at(PODS "/p", "spec.nodeName");
	assert_string_equal(node, "n1");
	assert_int_equal(call(&w, "POST", PODS "/nope/binding", bind, NULL), 404);
	assert_int_equal(call(&w, "GET", PODS "/p/log", NULL, NULL), 500); /* no such node */
}

#define T(fn)	    cmocka_unit_test_setup_teardown(fn, up, down)
#define T_SMALL(fn) cmocka_unit_test_setup_teardown(fn, up_small, down)

int main(void)
{
	const struct CMUnitTest tests[] = {T(test_update), T(test_concurrent_patches),
		T(test_dry_run), T(test_hang_up), T(test_pod_grace), T(test_finalizers),
		T(test_watch_selector), T(test_watch_resume), T(test_watch_list),
		T(test_watch_slow), T(test_pages), T_SMALL(test_cluster_ips), T(test_node_ports),
		T(test_anonymous), T(test_binding)};
	return cmocka_run_group_tests_name("apiserver", tests, NULL, NULL);
}

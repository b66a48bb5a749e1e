/* SPDX-License-Identifier: Apache-2.0
 * The scheduler against a scripted API: binding, conditions and events, retries after a failed
 * binding, pods that come back when something changes, deletions in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "scheduler/scheduler.h"
#include "xebec/base/json.h"
#include "xebec/base/timefmt.h"

enum { PODS, NODES, NAMESPACES, KINDS };

struct api {
	struct loop *loop;
	struct client *client;
	struct scheduler *s;
	struct http_exchange *watch[KINDS];
	unsigned rv, binds, fail_binds, patches;
	struct buf log; /* "bind p1 n1|event FailedScheduling ...|" */
	char message[300];
};

static void on_close(struct http_exchange *x)
{
	struct api *a = x->user;
	for (int i = 0; i < KINDS; i++)
		if (a->watch[i] == x)
			a->watch[i] = NULL;
}

static int kind_of(struct str path)
{
	return path.n > 4 && memcmp(path.p + path.n - 4, "pods", 4) == 0    ? PODS
	       : path.n > 5 && memcmp(path.p + path.n - 5, "nodes", 5) == 0 ? NODES
									    : NAMESPACES;
}

static void reply(struct http_exchange *x, int status, const char *body)
{
	http_reply(x, status, "application/json", str_of(body), NULL, 0);
}

static void push(struct api *a, int kind, const char *type, const char *object)
{
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "{\"type\":\"%s\",\"object\":%s}\n", type, object);
	for (char *c = b.p; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	assert_non_null(a->watch[kind]);
	a->watch[kind]->ops->write(a->watch[kind], b.p, b.len);
}

static void push_pod(
	struct api *a, const char *type, const char *name, const char *cpu, const char *node)
{
	char json[600];
	(void)snprintf(json, sizeof(json),
		"{'metadata':{'name':'%s','namespace':'default','uid':'u-%s','resourceVersion':'%u'"
		"},"
		"'spec':{'schedulerName':'default-scheduler','nodeName':'%s','containers':"
		"[{'resources':{'requests':{'cpu':'%s'}}}]},'status':{'phase':'Pending'}}",
		name, name, ++a->rv, node, cpu);
	push(a, PODS, type, json);
}

static void push_node(
	struct api *a, const char *type, const char *name, const char *cpu, bool cordoned)
{
	char json[400];
	(void)snprintf(json, sizeof(json),
		"{'metadata':{'name':'%s','resourceVersion':'%u'},'spec':{'unschedulable':%s},"
		"'status':{'allocatable':{'cpu':'%s','memory':'1Gi','pods':'10'}}}",
		name, ++a->rv, cordoned ? "true" : "false", cpu);
	push(a, NODES, type, json);
}

static void on_bind(struct api *a, struct http_exchange *x)
{
	struct jv v = jv_of(x->body);
	AUTO_FREE char *pod = jv_strdup(jv_path(v, "metadata.name"));
	AUTO_FREE char *node = jv_strdup(jv_path(v, "target.name"));
	a->binds++;
	if (a->fail_binds) {
		a->fail_binds--;
		buf_addf(&a->log, "refused %s|", pod);
		reply(x, 500, "{\"reason\":\"InternalError\",\"message\":\"disk\"}");
		return;
	}
	buf_addf(&a->log, "bind %s %s|", pod, node);
	reply(x, 201, "{\"kind\":\"Status\",\"status\":\"Success\"}");
}

static void handler(void *srv, struct http_exchange *x)
{
	struct api *a = srv;
	x->user = a;
	x->on_close = on_close;
	if (str_eqz(x->method, "GET") && str_eqz(http_query_get(x, "watch"), "true")) {
		a->watch[kind_of(x->path)] = x;
		x->ops->start(x, 200, NULL, 0);
	} else if (str_eqz(x->method, "GET")) {
		reply(x, 200, "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}");
	} else if (str_eqz(x->method, "PATCH") && memmem(x->path.p, x->path.n, "/status", 7)) {
		a->patches++;
		assert_int_equal(jv_copy(jv_path(jv_of(x->body), "status.conditions.0.message"),
					 a->message, sizeof(a->message)),
			0);
		reply(x, 200, "{}");
	} else if (memmem(x->path.p, x->path.n, "/binding", 8)) {
		on_bind(a, x);
	} else { /* events */
		AUTO_FREE char *reason = jv_strdup(jv_path(jv_of(x->body), "reason"));
		buf_addf(&a->log, "event %s|", reason);
		reply(x, 201, "{}");
	}
}

#define RUN_UNTIL(a, cond)                                                                         \
	do {                                                                                       \
		int64_t end_ = time_mono() + 8 * NS_PER_SEC;                                       \
		while (!(cond) && time_mono() < end_)                                              \
			assert_int_equal(loop_poll((a)->loop, 20), 0);                             \
		assert_true(cond);                                                                 \
	} while (0)

static bool logged(const struct api *a, const char *what)
{
	return a->log.p && strstr(a->log.p, what);
}

static int setup(void **state)
{
	struct api *a = calloc(1, sizeof(*a));
	const struct scheduler_config cfg = {.seed = 5};
	struct err e;
	a->loop = loop_new();
	a->rv = 10;
	assert_int_equal(client_new_inproc(a->loop, handler, a, "s", NULL, &a->client, &e), 0);
	assert_int_equal(scheduler_start(a->client, &cfg, &a->s, &e), 0);
	RUN_UNTIL(a, a->watch[PODS] && a->watch[NODES] && a->watch[NAMESPACES]);
	*state = a;
	return 0;
}

static int teardown(void **state)
{
	struct api *a = *state;
	scheduler_free(a->s);
	client_free(a->client);
	loop_free(a->loop);
	buf_free(&a->log);
	free(a);
	return 0;
}

static void test_assume(void **state)
{
	struct api *a = *state;
	push_node(a, "ADDED", "n1", "2", false);
	push_pod(a, "ADDED", "p1", "1500m", "");
	push_pod(a, "ADDED", "p2", "1500m", "");
	/* p1's binding counts before any watch event tells of it. */
	RUN_UNTIL(a, logged(a, "bind p1 n1|") && a->patches && logged(a, "event FailedScheduling"));
	assert_string_equal(a->message, "0/1 nodes are available: 1 Insufficient cpu.");
	assert_int_equal(a->binds, 1);
	push_pod(a, "MODIFIED", "p1", "1500m", "n1");
	RUN_UNTIL(a, logged(a, "event Scheduled|"));
	/* Its end frees the node; p2 comes back after its back-off. */
	push_pod(a, "DELETED", "p1", "1500m", "n1");
	RUN_UNTIL(a, logged(a, "bind p2 n1|"));
}

static void test_cordon(void **state)
{
	struct api *a = *state;
	push_pod(a, "ADDED", "p1", "1", "");
	RUN_UNTIL(a, a->patches == 1);
	assert_string_equal(a->message, "no nodes available to schedule pods");
	push_node(a, "ADDED", "n1", "2", true);
	RUN_UNTIL(a, a->patches == 2);
	assert_string_equal(a->message, "0/1 nodes are available: 1 node(s) were unschedulable.");
	push_node(a, "MODIFIED", "n1", "2", false);
	RUN_UNTIL(a, logged(a, "bind p1 n1|"));
}

static void test_bind_fails(void **state)
{
	struct api *a = *state;
	struct scheduler_stats st;
	a->fail_binds = 1;
	push_node(a, "ADDED", "n1", "2", false);
	push_pod(a, "ADDED", "p1", "2", "");
	RUN_UNTIL(a, logged(a, "refused p1|"));
	RUN_UNTIL(a, logged(a, "bind p1 n1|")); /* the room was given back */
	/* Deleted while its binding is refused: nothing is left behind. */
	push_pod(a, "MODIFIED", "p1", "2", "n1");
	push_pod(a, "DELETED", "p1", "2", "n1");
	a->fail_binds = 1;
	push_pod(a, "ADDED", "p2", "1", "");
	push_pod(a, "DELETED", "p2", "1", "");
	push_pod(a, "ADDED", "p3", "2", "");
	RUN_UNTIL(a, logged(a, "bind p3 n1|"));
	scheduler_stats(a->s, &st);
	assert_int_equal(st.pods, 1);
	assert_int_equal(st.active + st.backing_off + st.waiting, 0);
}

static void test_not_ours(void **state)
{
	struct api *a = *state;
	push_node(a, "ADDED", "n1", "2", false);
	push(a, PODS, "ADDED",
		"{'metadata':{'name':'x','namespace':'d','uid':'x','resourceVersion':'900'},'spec':"
		"{'schedulerName':'other'}}");
	push(a, PODS, "ADDED",
		"{'metadata':{'name':'y','namespace':'d','uid':'y','resourceVersion':'901'},'spec':"
		"{'schedulerName':'default-scheduler','schedulingGates':[{'name':'g'}]}}");
	a->rv = 1000;
	push_pod(a, "ADDED", "p1", "1", "");
	RUN_UNTIL(a, logged(a, "bind p1 n1|"));
	assert_int_equal(a->binds, 1);
	/* The gate opens. */
	push(a, PODS, "MODIFIED",
		"{'metadata':{'name':'y','namespace':'d','uid':'y','resourceVersion':'1002'},'spec'"
		":"
		"{'schedulerName':'default-scheduler'}}");
	RUN_UNTIL(a, logged(a, "bind y n1|"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_assume), T(test_cordon), T(test_bind_fails), T(test_not_ours)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Calls, informer, work queue, events and election against a scripted API behind the in-process
 * transport. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "xebec/base/htab.h"
#include "xebec/base/json.h"
#include "xebec/base/timefmt.h"
#include "xebec/client/client.h"

static const struct resource pods = {"", "v1", "pods", "Pod", true};
static const struct resource slices = {
	"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true};

/* What one request was, and the script's answer. */
struct request {
	char line[512]; /* "GET /path?query" */
	char *body;
};

struct fake {
	struct loop *loop;
	struct client *client;
	struct request seen[64];
	size_t n;
	int (*answer)(struct fake *f, struct http_exchange *x); /* 0 = answered */
	struct http_exchange *watch;				/* the open watch */
	unsigned watches, closed;
	unsigned step;
};

static void on_close(struct http_exchange *x)
{
	struct fake *f = x->user;
	if (f->watch == x)
		f->watch = NULL;
	f->closed++;
}

static void handler(void *srv, struct http_exchange *x)
{
	struct fake *f = srv;
	assert_true(f->n < ARRAY_LEN(f->seen));
	struct request *r = &f->seen[f->n++];
	(void)snprintf(r->line, sizeof(r->line), "%.*s %.*s%s%.*s", STR_FMT(x->method),
		STR_FMT(x->path), x->query.n ? "?" : "", STR_FMT(x->query));
	r->body = str_dup(x->body);
	x->user = f;
	x->on_close = on_close;
	assert_string_equal(x->peer.trusted_user, "system:test");
	if (f->answer(f, x) == 0)
		return;
	f->watch = x;
	f->watches++;
	x->ops->start(x, 200, NULL, 0);
}

static void reply(struct http_exchange *x, int status, const char *body)
{
	http_reply(x, status, "application/json", str_of(body), NULL, 0);
}

static void push(struct fake *f, const char *text)
{
	f->watch->ops->write(f->watch, text, strlen(text));
}

static int setup(void **state)
{
	struct fake *f = calloc(1, sizeof(*f));
	struct err e;
	static const char *const groups[] = {"system:masters", NULL};
	f->loop = loop_new();
	assert_int_equal(
		client_new_inproc(f->loop, handler, f, "system:test", groups, &f->client, &e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fake *f = *state;
	client_free(f->client);
	loop_free(f->loop);
	for (size_t i = 0; i < f->n; i++)
		free(f->seen[i].body);
	free(f);
	return 0;
}

/* Runs the loop until cond or five seconds are over. */
#define RUN_UNTIL(f, cond)                                                                         \
	do {                                                                                       \
		int64_t end_ = time_mono() + 5 * NS_PER_SEC;                                       \
		while (!(cond) && time_mono() < end_)                                              \
			assert_int_equal(loop_poll((f)->loop, 50), 0);                             \
		assert_true(cond);                                                                 \
	} while (0)

/* --- calls --- */

struct got {
	unsigned n;
	int code, status;
	char reason[64], msg[240], body[256];
};

static void on_done(void *arg, const struct client_result *r)
{
	struct got *g = arg;
	g->n++;
	g->code = r->e ? r->e->code : 0;
	g->status = r->http_status;
	(void)snprintf(g->reason, sizeof(g->reason), "%s", r->e ? r->e->reason : "");
	(void)snprintf(g->msg, sizeof(g->msg), "%s", r->e ? r->e->msg : "");
	(void)snprintf(g->body, sizeof(g->body), "%.*s", STR_FMT(r->body));
}

static int answer_calls(struct fake *f, struct http_exchange *x)
{
	static const struct {
		int status;
		const char *body;
	} script[] = {
		{200, "{\"kind\":\"Pod\"}"},
		{404, "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"message\":\"pods \\\"x\\\" "
		      "not found\"}"},
		{409, "{\"kind\":\"Status\",\"reason\":\"AlreadyExists\",\"message\":\"there\"}"},
		{409, "{\"kind\":\"Status\",\"reason\":\"Conflict\",\"message\":\"changed\"}"},
		{502, "<html>proxy</html>"},
	};
	if (f->step == ARRAY_LEN(script))
		return 1; /* never answers */
	reply(x, script[f->step].status, script[f->step].body);
	f->step++;
	return 0;
}

static void test_calls(void **state)
{
	struct fake *f = *state;
	static const int codes[] = {0, -ENOENT, -EEXIST, -EAGAIN, -EIO};
	struct got g = {0};
	f->answer = answer_calls;
	for (unsigned i = 0; i < ARRAY_LEN(codes); i++) {
		assert_non_null(client_get(f->client, &pods, "ns", "a/b", on_done, &g));
		assert_int_equal(g.n, i); /* never inside the call */
		RUN_UNTIL(f, g.n == i + 1);
		assert_int_equal(g.code, codes[i]);
	}
	assert_string_equal(g.msg, "<html>proxy</html>");
	assert_string_equal(f->seen[0].line, "GET /api/v1/namespaces/ns/pods/a%2Fb");

	const struct client_request slow = {
		.method = "GET", .path = STR("/x"), .timeout_ns = 20 * NS_PER_MS};
	assert_non_null(client_send(f->client, &slow, on_done, &g));
	RUN_UNTIL(f, g.n == 6);
	assert_int_equal(g.code, -ETIMEDOUT);
	assert_int_equal(f->closed, 1); /* the handler was told */

	struct client_call *c =
		client_delete(f->client, &slices, "ns", "s", 0, "u-1", "Foreground", on_done, &g);
	RUN_UNTIL(f, f->n == 7);
	assert_string_equal(
		f->seen[6].line, "DELETE /apis/discovery.k8s.io/v1/namespaces/ns/endpointslices/s");
	assert_string_equal(f->seen[6].body,
		"{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0,"
		"\"preconditions\":{\"uid\":\"u-1\"},\"propagationPolicy\":\"Foreground\"}");
	client_cancel(c);
	assert_int_equal(f->closed, 2);
	assert_int_equal(g.n, 6);
	/* One that waits for ever is cancelled by client_free in teardown. */
	assert_non_null(client_get(f->client, &pods, "ns", "a", on_done, &g));
}

/* --- informer --- */

#define POD(ns, name, uid, rv)                                                                     \
	"{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"" ns "\",\"uid\":\"" uid             \
	"\",\"resourceVersion\":\"" rv "\"}}"

static int answer_informer(struct fake *f, struct http_exchange *x)
{
	if (str_eqz(http_query_get(x, "watch"), "true"))
		return 1;
	switch (f->step++) {
	case 0:
		reply(x, 500, "{}"); /* begins with a failure */
		break;
	case 1:
		reply(x, 200,
			"{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"10\","
			"\"continue\":\"t=1\"},"
			"\"items\":[" POD("a", "one", "u1", "3") "," POD(
				"b", "two", "u2", "4") "]}");
		break;
	case 2:
		assert_true(str_eqz(http_query_get(x, "continue"), "t=1"));
		reply(x, 200,
			"{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[" POD(
				"a", "three", "u3", "5") "]}");
		break;
	default: /* after 410: one is gone, two is another object, three has not changed */
		reply(x, 200,
			"{\"metadata\":{\"resourceVersion\":\"50\"},\"items\":[" POD(
				"b", "two", "u9", "40") "," POD("a", "three", "u3", "12") "]}");
	}
	return 0;
}

struct record {
	char text[2048];
	unsigned synced, errors, decoded;
};

static void on_event(void *arg, struct cobj *old, struct cobj *new)
{
	struct record *r = arg;
	size_t n = strlen(r->text);
	struct cobj *o = new ? new : old;
	if (new)
		assert_true(jv_is_str(jv_get(new->v, "kind"), "Pod") &&
			    jv_is_str(jv_get(new->v, "apiVersion"), "v1"));
	if (new)
		assert_true(jv_valid(new->json, 100));
	(void)snprintf(r->text + n, sizeof(r->text) - n, "%c%s/%s@%llu ",
		!old  ? '+'
		: new ? '~'
		      : '-',
		o->ns, o->name, (unsigned long long)o->rv);
}

static void on_synced(void *arg)
{
	((struct record *)arg)->synced++;
}

static void on_error(void *arg, const struct err *e)
{
	assert_true(e->code < 0);
	((struct record *)arg)->errors++;
}

static unsigned live_decoded;

static void *decode(struct jv v)
{
	live_decoded++;
	return jv_strdup(jv_path(v, "metadata.uid"));
}

static void free_decoded(void *p)
{
	live_decoded--;
	free(p);
}

/* Every byte in a piece of its own, with turns of the loop between them. */
static void push_torn(struct fake *f, const char *text)
{
	for (; *text; text++) {
		f->watch->ops->write(f->watch, text, 1);
		if (*text == ':' || *text == '\n')
			loop_poll(f->loop, 0), loop_poll(f->loop, 0);
	}
}

static void check_reads(struct informer *i)
{
	unsigned n = 0;
	informer_each(i, "a", it) n += strcmp(it.obj->ns, "a") == 0;
	assert_int_equal(n, 2);
	n = 0;
	informer_each(i, NULL, it) n++;
	assert_int_equal(n, 3);
	informer_each(i, "none", it) fail();
	assert_string_equal(informer_get(i, "b", "two")->uid, "u2");
	assert_string_equal(informer_get(i, "b", "two")->decoded, "u2");
	assert_null(informer_get(i, "a", "two"));
}

static void check_reconnects(struct fake *f, struct informer *i, struct record *rec)
{
	/* The server ends the watch: it goes on where it was, without a list. */
	f->watch->ops->end(f->watch);
	f->watch = NULL;
	RUN_UNTIL(f, f->watch);
	assert_non_null(strstr(f->seen[4].line, "resourceVersion=20"));
	/* A connection that breaks: the same. */
	f->watch->ops->abort(f->watch);
	f->watch = NULL;
	RUN_UNTIL(f, f->watch);
	assert_non_null(strstr(f->seen[5].line, "resourceVersion=20"));

	rec->text[0] = '\0';
	push(f, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":"
		"\"Expired\"}}\n");
	f->watch = NULL;
	RUN_UNTIL(f, f->watch);
	assert_non_null(strstr(rec->text, "-b/two@4 +b/two@40 "));
	assert_non_null(strstr(rec->text, "-a/one@3 "));
	assert_null(strstr(rec->text, "three"));
	assert_int_equal(informer_rv(i), 50);
	assert_int_equal(rec->synced, 1);

	/* An order that cannot be: listed anew. */
	push(f, "{\"type\":\"ADDED\",\"object\":" POD("a", "old", "u7", "7") "}\n");
	f->watch = NULL;
	RUN_UNTIL(f, f->watch);
	assert_null(informer_get(i, "a", "old"));
}

static void check_big(struct fake *f, struct informer *i)
{
	/* A big event in big pieces. */
	AUTO_BUF struct buf big = {0};
	buf_adds(&big, "{\"type\":\"ADDED\",\"object\":{\"data\":\"");
	for (int k = 0; k < 300000; k++)
		buf_adds(&big, "0123456789");
	buf_adds(&big, "\",\"metadata\":{\"name\":\"big\",\"namespace\":\"a\",\"resourceVersion\":"
		       "\"60\"}}}\n");
	for (size_t at = 0; at < big.len; at += 65536) {
		size_t n = big.len - at < 65536 ? big.len - at : 65536;
		f->watch->ops->write(f->watch, big.p + at, n);
		loop_poll(f->loop, 0);
	}
	RUN_UNTIL(f, informer_get(i, "a", "big"));
	assert_true(informer_get(i, "a", "big")->json.n > 3000000);
}

static void test_informer(void **state)
{
	struct fake *f = *state;
	struct record r = {0}, second = {0};
	struct informer *i = NULL;
	struct err e;
	char field[] = "spec.nodeName=n1";
	f->answer = answer_informer;
	const struct informer_config c = {.client = f->client,
		.resource = &pods,
		.field_selector = field,
		.decode = decode,
		.free_decoded = free_decoded,
		.on_event = on_event,
		.on_synced = on_synced,
		.on_error = on_error,
		.arg = &r};
	assert_int_equal(informer_start(&c, &i, &e), 0);
	memset(field, 'x', sizeof(field) - 1); /* it keeps its own copy */
	RUN_UNTIL(f, f->watch);
	assert_string_equal(r.text, "+a/one@3 +b/two@4 +a/three@5 ");
	assert_int_equal(r.synced, 1);
	assert_int_equal(r.errors, 1);
	assert_int_equal(informer_rv(i), 10);
	check_reads(i);
	assert_non_null(
		strstr(f->seen[3].line, "watch=true&allowWatchBookmarks=true&resourceVersion=10"));
	assert_non_null(strstr(f->seen[3].line, "&fieldSelector=spec.nodeName%3Dn1"));

	r.text[0] = '\0';
	push_torn(f,
		"{\"type\":\"MODIFIED\",\"object\":" POD("a", "three", "u3",
			"12") "}\n"
			      "{\"type\":\"ADDED\",\"object\":" POD("c", "four", "u4",
				      "13") "}\n"
					    "{\"type\":\"DELETED\",\"object\":" POD("c", "four",
						    "u4", "14") "}\n"
								"{\"type\":\"BOOKMARK\",\"object\":"
								"{\"metadata\":{"
								"\"resourceVersion\":\"20\"}}}\n");
	RUN_UNTIL(f, informer_rv(i) == 20);
	assert_string_equal(r.text, "~a/three@12 +c/four@13 -c/four@13 ");

	assert_int_equal(informer_listen(i, on_event, &second), 0);
	assert_int_equal(strlen(second.text), strlen("+a/one@3 +b/two@4 +a/three@12 "));

	check_reconnects(f, i, &r);
	check_big(f, i);
	struct cobj *kept = cobj_ref(informer_get(i, "a", "big"));
	informer_free(i);
	assert_int_equal(live_decoded, 1);
	cobj_unref(kept);
	assert_int_equal(live_decoded, 0);
	assert_null(f->watch);
}

/* --- work queue --- */

struct work {
	struct workqueue *q;
	char log[256];
	bool hold;
};

static void work(void *arg, const char *key)
{
	struct work *w = arg;
	strcat(w->log, key);
	if (!w->hold)
		workqueue_done(w->q, key);
}

static void test_workqueue(void **state)
{
	struct fake *f = *state;
	struct work w = {.hold = true};
	w.q = workqueue_new(f->loop, work, &w, 2);
	workqueue_add(w.q, "a");
	workqueue_add(w.q, "b");
	workqueue_add(w.q, "a");
	workqueue_add(w.q, "c");
	assert_int_equal(workqueue_len(w.q), 3);
	assert_string_equal(w.log, "");
	RUN_UNTIL(f, w.log[1]);
	assert_string_equal(w.log, "ab"); /* two at a time */
	workqueue_add(w.q, "a");	  /* while it runs: once more afterwards */
	workqueue_add(w.q, "a");
	w.hold = false;
	workqueue_done(w.q, "a");
	workqueue_done(w.q, "b");
	RUN_UNTIL(f, strlen(w.log) == 4);
	assert_string_equal(w.log, "abca");
	w.log[0] = '\0';

	int64_t start = time_mono();
	for (int i = 0; i < 4; i++) { /* 5 + 10 + 20 + 40 ms */
		workqueue_retry(w.q, "r");
		RUN_UNTIL(f, strlen(w.log) == (size_t)i + 1);
	}
	assert_true(time_mono() - start >= 75 * NS_PER_MS);
	workqueue_forget(w.q, "r");
	start = time_mono();
	workqueue_retry(w.q, "r");
	RUN_UNTIL(f, strlen(w.log) == 5);
	assert_true(time_mono() - start < 35 * NS_PER_MS);
	workqueue_add_after(w.q, "z", 3600 * NS_PER_SEC);
	workqueue_add_after(w.q, "z", NS_PER_MS); /* the earlier one counts */
	RUN_UNTIL(f, strlen(w.log) == 6);
	workqueue_add(w.q, "left");
	workqueue_free(w.q);
}

/* --- events --- */

static int answer_events(struct fake *f, struct http_exchange *x)
{
	(void)f;
	reply(x, str_eqz(x->method, "POST") ? 201 : 200, "{}");
	return 0;
}

static void test_events(void **state)
{
	struct fake *f = *state;
	struct event_recorder *r = event_recorder_new(f->client, "kubelet", "n1");
	const struct event_ref o = {.api_version = "v1",
		.kind = "Pod",
		.ns = "a",
		.name = "one",
		.uid = "u1",
		.field_path = "spec.containers{c}",
		.rv = 5};
	f->answer = answer_events;
	event_emit(r, &o, true, "BackOff", "restarting \"%s\"", "c");
	RUN_UNTIL(f, f->n == 1);
	for (int i = 0; i < 3; i++)
		event_emit(r, &o, true, "BackOff", "restarting \"%s\"", "c");
	RUN_UNTIL(f, f->n == 2);
	event_emit(r, &o, false, "Pulled", "done");
	RUN_UNTIL(f, f->n == 3);

	struct jv v = jv_of(str_of(f->seen[0].body));
	assert_true(jv_valid(str_of(f->seen[0].body), 10));
	assert_string_equal(f->seen[0].line, "POST /api/v1/namespaces/a/events");
	assert_true(jv_is_str(jv_path(v, "involvedObject.fieldPath"), "spec.containers{c}"));
	assert_true(jv_is_str(jv_path(v, "source.host"), "n1"));
	assert_true(jv_is_str(jv_get(v, "reportingComponent"), "kubelet"));
	assert_true(jv_is_str(jv_get(v, "message"), "restarting \"c\""));
	assert_true(jv_is_str(jv_get(v, "type"), "Warning"));
	assert_int_equal(jv_int(jv_get(v, "count"), 0), 1);
	AUTO_FREE char *name = jv_strdup(jv_path(v, "metadata.name"));
	assert_true(str_starts(str_of(name), "one."));

	char line[300];
	(void)snprintf(line, sizeof(line), "PATCH /api/v1/namespaces/a/events/%s", name);
	assert_string_equal(f->seen[1].line, line);
	/* Emitted in one go: the first of the three may have gone alone. */
	assert_true(jv_int(jv_get(jv_of(str_of(f->seen[1].body)), "count"), 0) == 4);
	event_emit(r, &o, false, "Unsent", "never");
	event_recorder_free(r);
}

/* --- election --- */

static char lease_body[1024];
static unsigned lease_rv;

static int answer_lease(struct fake *f, struct http_exchange *x)
{
	(void)f;
	AUTO_JSON json_t *j = NULL;
	AUTO_BUF struct buf b = {0};
	if (str_eqz(x->method, "GET")) {
		if (lease_body[0])
			reply(x, 200, lease_body);
		else
			reply(x, 404, "{\"reason\":\"NotFound\"}");
		return 0;
	}
	assert_int_equal(json_parse(x->body, &j, NULL), 0);
	bool stale = lease_body[0] &&
		     (unsigned)atoi(json_str(j, "metadata.resourceVersion", "0")) != lease_rv;
	if (stale) {
		reply(x, 409, "{\"reason\":\"Conflict\"}");
		return 0;
	}
	char rv[16];
	(void)snprintf(rv, sizeof(rv), "%u", ++lease_rv);
	(void)json_put(j, "metadata.resourceVersion", json_string(rv));
	json_write(j, &b);
	(void)snprintf(lease_body, sizeof(lease_body), "%s", b.p);
	reply(x, 200, lease_body);
	return 0;
}

static void on_lead(void *arg, bool leader)
{
	*(int *)arg = leader;
}

static void test_elector(void **state)
{
	struct fake *f = *state;
	int a = -1, b = -1;
	lease_body[0] = '\0';
	f->answer = answer_lease;
	struct elector *ea = elector_start(f->client, "kube-system", "s", "A", on_lead, &a);
	RUN_UNTIL(f, a == 1);
	struct elector *eb = elector_start(f->client, "kube-system", "s", "B", on_lead, &b);
	RUN_UNTIL(f, f->n >= 3);
	loop_poll(f->loop, 20);
	assert_int_equal(b, -1);
	elector_free(ea); /* gives up: B need not wait the lease out */
	RUN_UNTIL(f, b == 1);
	AUTO_JSON json_t *j = NULL;
	assert_int_equal(json_parse(str_of(lease_body), &j, NULL), 0);
	assert_string_equal(json_str(j, "spec.holderIdentity", ""), "B");
	assert_int_equal(json_i64(j, "spec.leaseTransitions", -1), 1);
	elector_free(eb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_calls, setup, teardown),
		cmocka_unit_test_setup_teardown(test_informer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_workqueue, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_elector, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

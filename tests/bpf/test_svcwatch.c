/* SPDX-License-Identifier: Apache-2.0
 * Watch events against the real maps, with a scripted API behind the in-process transport: what
 * arrives is programmed, a restart adopts, nothing is deleted before all is known. */
#include "harness.h"

#include "svcwatch.h"
#include "xebec/base/timefmt.h"

enum { SERVICES, SLICES, NODES, KINDS };

struct api {
	struct loop *loop;
	struct client *client;
	struct svcwatch *w;
	struct http_exchange *watch[KINDS];
	const char *list[KINDS]; /* items of the next list; NULL = the list hangs */
	int synced;
};

static int kind_of(struct str path)
{
	return str_eqz(path, "/api/v1/services") ? SERVICES
	       : str_eqz(path, "/api/v1/nodes")	 ? NODES
						 : SLICES;
}

static void on_close(struct http_exchange *x)
{
	struct api *a = x->user;
	for (int i = 0; i < KINDS; i++)
		if (a->watch[i] == x)
			a->watch[i] = NULL;
}

static void handler(void *srv, struct http_exchange *x)
{
	struct api *a = srv;
	int kind = kind_of(x->path);
	struct str watch = http_query_get(x, "watch");
	x->user = a;
	x->on_close = on_close;
	if (watch.p && !str_eqz(watch, "false")) {
		a->watch[kind] = x;
		x->ops->start(x, 200, NULL, 0);
		return;
	}
	if (!a->list[kind])
		return;
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[%s]}",
		a->list[kind]);
	http_reply(x, 200, "application/json", buf_str(&b), NULL, 0);
}

static void on_synced(void *arg)
{
	((struct api *)arg)->synced++;
}

static void start(struct api *a)
{
	struct err e = {0};
	static const char *const groups[] = {"system:nodes", NULL};
	a->loop = loop_new();
	assert_int_equal(
		client_new_inproc(a->loop, handler, a, "system:node:n1", groups, &a->client, &e),
		0);
	struct svcwatch_config c = {.client = a->client,
		.maps = node.m,
		.node = "n1",
		.on_synced = on_synced,
		.arg = a};
	assert_int_equal(svcwatch_start(&c, &a->w, &e), 0);
}

static void stop(struct api *a)
{
	svcwatch_free(a->w);
	client_free(a->client);
	loop_free(a->loop);
}

#define RUN_UNTIL(a, cond)                                                                         \
	do {                                                                                       \
		int64_t end_ = time_mono() + 5 * NS_PER_SEC;                                       \
		while (!(cond) && time_mono() < end_)                                              \
			assert_int_equal(loop_poll((a)->loop, 20), 0);                             \
		assert_true(cond);                                                                 \
	} while (0)

static void push(struct api *a, int kind, const char *type, const char *object)
{
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "{\"type\":\"%s\",\"object\":%s}\n", type, object);
	a->watch[kind]->ops->write(a->watch[kind], b.p, b.len);
}

#define META(name, rv, more)                                                                       \
	"\"metadata\":{\"namespace\":\"default\",\"name\":\"" name "\",\"uid\":\"u-" name          \
	"\",\"resourceVersion\":\"" rv "\"" more "}"
#define SERVICE(name, vip, rv)                                                                     \
	"{" META(name, rv, "") ",\"spec\":{\"clusterIPs\":[\"" vip "\"],\"ports\":[{\"port\":80}]" \
			       "}}"
#define SLICE_META(svc, rv)                                                                        \
	META(svc "-x", rv, ",\"labels\":{\"kubernetes.io/service-name\":\"" svc "\"}")
#define SLICE(svc, rv, eps)                                                                        \
	"{" SLICE_META(svc, rv) ",\"ports\":[{\"name\":\"\",\"port\":8080}],\"endpoints\":[" eps   \
				"]}"
#define EP(ip) "{\"addresses\":[\"" ip "\"],\"nodeName\":\"n1\",\"conditions\":{\"ready\":true}}"

/* Where a SYN of pod A to vip:80 goes now: the backend's address, "refused" or "no service". */
static const char *goes(const char *vip)
{
	static char dst[16];
	static uint16_t port = 1000;
	struct packet k =
		tcp(.src = POD_A, .sport = ++port, .dst = vip, .dport = 80, .tcp_flags = F_SYN);
	uint64_t none = stat_pkts(DROP_NO_PORT);
	int v = from_pod_a(&k);
	struct packet_view p = packet_view(&k);
	if (v == V_REDIRECT && p.tcp_flags & F_RST)
		return stat_pkts(DROP_NO_PORT) > none ? "no service" : "refused";
	memcpy(dst, p.dst, sizeof dst);
	return v == V_REDIRECT ? dst : "dropped";
}

#define GOES(vip, where) (strcmp(goes(vip), where) == 0)

static void events(void **state)
{
	(void)state;
	struct api a = {
		.list = {SERVICE("web", "10.96.1.1", "5"), SLICE("web", "6", EP(POD_B)), ""}};
	start(&a);
	RUN_UNTIL(&a, a.synced);
	assert_string_equal(goes("10.96.1.1"), POD_B);
	RUN_UNTIL(&a, a.watch[SERVICES] && a.watch[SLICES]);
	/* endpoints change; a new service before its slice, a slice before its service */
	push(&a, SLICES, "MODIFIED", SLICE("web", "11", ""));
	RUN_UNTIL(&a, GOES("10.96.1.1", "refused"));
	push(&a, SLICES, "MODIFIED", SLICE("web", "12", EP(POD_R)));
	RUN_UNTIL(&a, GOES("10.96.1.1", POD_R));
	push(&a, SERVICES, "ADDED", SERVICE("late", "10.96.1.2", "13"));
	RUN_UNTIL(&a, GOES("10.96.1.2", "refused"));
	push(&a, SLICES, "ADDED", SLICE("late", "14", EP(POD_B)));
	RUN_UNTIL(&a, GOES("10.96.1.2", POD_B));
	push(&a, SLICES, "ADDED", SLICE("early", "15", EP(POD_B)));
	push(&a, SERVICES, "ADDED", SERVICE("early", "10.96.1.3", "16"));
	RUN_UNTIL(&a, GOES("10.96.1.3", POD_B));
	/* the address moves */
	push(&a, SERVICES, "MODIFIED", SERVICE("early", "10.96.1.4", "17"));
	RUN_UNTIL(&a, GOES("10.96.1.4", POD_B));
	assert_string_equal(goes("10.96.1.3"), "no service");
	push(&a, SERVICES, "DELETED", SERVICE("late", "10.96.1.2", "18"));
	RUN_UNTIL(&a, GOES("10.96.1.2", "no service"));
	assert_string_equal(goes("10.96.1.1"), POD_R);
	struct programmer_stats s;
	programmer_stats(svcwatch_programmer(a.w), &s);
	assert_int_equal(s.usage.svc - s.usage.svc % 2, 2); /* web, early; late may wait its time */
	assert_int_equal(s.failures, 0);
	assert_true(s.latency_n >= 6);
	stop(&a);
}

static void restart(void **state)
{
	(void)state;
	struct api a = {
		.list = {SERVICE("web", "10.96.1.1", "5") "," SERVICE("gone", "10.96.1.9", "5"),
			SLICE("web", "6", EP(POD_B)) "," SLICE("gone", "6", EP(POD_B)), ""}};
	start(&a);
	RUN_UNTIL(&a, a.synced);
	stop(&a);
	/* the next process: services are known, slices not yet */
	struct api b = {.list = {SERVICE("web", "10.96.1.1", "5"), NULL, ""}};
	start(&b);
	RUN_UNTIL(&b, b.watch[SERVICES] && b.watch[NODES]);
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_poll(b.loop, 10), 0);
	assert_int_equal(b.synced, 0);
	assert_string_equal(goes("10.96.1.1"), POD_B);
	assert_string_equal(goes("10.96.1.9"), POD_B);
	stop(&b);
	/* and one that learns everything: the vanished service goes, the other is not touched */
	const struct xb_svc *rows = maps_mem(node.m, MAP_svc_tab);
	uint64_t versions = 0;
	for (int i = 0; i < 64; i++)
		versions += rows[i].sel_cluster.run.count ? rows[i].sel_cluster.word : 0;
	struct api c = {
		.list = {SERVICE("web", "10.96.1.1", "5"), SLICE("web", "6", EP(POD_B)), ""}};
	start(&c);
	RUN_UNTIL(&c, c.synced);
	assert_string_equal(goes("10.96.1.1"), POD_B);
	assert_string_equal(goes("10.96.1.9"), "no service");
	uint64_t after = 0;
	for (int i = 0; i < 64; i++)
		after += rows[i].sel_cluster.run.count ? rows[i].sel_cluster.word : 0;
	assert_true(after < versions);
	struct programmer_stats s;
	programmer_stats(svcwatch_programmer(c.w), &s);
	assert_int_equal(s.publishes, 0);
	stop(&c);
}

/* The API has forgotten our resourceVersion (410): a new list, and what it lacks goes. */
static void expired(void **state)
{
	(void)state;
	struct api a = {
		.list = {SERVICE("web", "10.96.1.1", "5") "," SERVICE("gone", "10.96.1.9", "5"),
			SLICE("web", "6", EP(POD_B)), ""}};
	start(&a);
	RUN_UNTIL(&a, a.synced && a.watch[SERVICES] && a.watch[SLICES]);
	push(&a, SERVICES, "BOOKMARK", "{\"metadata\":{\"resourceVersion\":\"40\"}}");
	assert_string_equal(goes("10.96.1.9"), "refused");
	a.list[SERVICES] = SERVICE("web", "10.96.1.1", "5") "," SERVICE("new", "10.96.1.5", "9");
	a.list[SLICES] = SLICE("web", "8", EP(POD_R));
	struct http_exchange *old = a.watch[SERVICES];
	push(&a, SERVICES, "ERROR",
		"{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\",\"message\":\"too "
		"old\"}");
	RUN_UNTIL(&a, GOES("10.96.1.9", "no service"));
	RUN_UNTIL(&a, GOES("10.96.1.5", "refused"));
	RUN_UNTIL(&a, a.watch[SERVICES] && a.watch[SERVICES] != old);
	assert_string_equal(goes("10.96.1.1"), POD_B); /* untouched */
	push(&a, SLICES, "ERROR", "{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}");
	RUN_UNTIL(&a, GOES("10.96.1.1", POD_R));
	assert_int_equal(a.synced, 1);
	stop(&a);
}

/* A Service whose endpoints are those of others: it follows them, and its weights. */
static void split_follows(void **state)
{
	(void)state;
#define SPLIT(rv, parts)                                                                           \
	"{" META("web", rv,                                                                        \
		",\"annotations\":{\"xebec.io/split\":\"" parts                                    \
		"\"}") ",\"spec\":{\"clusterIPs\":[\"10.96.1.7\"],\"ports\":[{\"port\":80}]}}"
	struct api a = {.list = {SPLIT("5", "v1=100,v2=0") "," SERVICE("v1", "10.96.1.8", "5"),
				SLICE("v1", "6", EP(POD_B)) "," SLICE("v2", "6", EP(POD_R)), ""}};
	start(&a);
	RUN_UNTIL(&a, a.synced && a.watch[SERVICES] && a.watch[SLICES]);
	assert_string_equal(goes("10.96.1.7"), POD_B);
	assert_string_equal(goes("10.96.1.8"), POD_B);
	push(&a, SERVICES, "MODIFIED", SPLIT("11", "v1=0,v2=100"));
	RUN_UNTIL(&a, GOES("10.96.1.7", POD_R));
	push(&a, SLICES, "MODIFIED", SLICE("v2", "12", ""));
	RUN_UNTIL(&a, GOES("10.96.1.7", "refused"));
	push(&a, SLICES, "MODIFIED", SLICE("v2", "13", EP("10.244.2.21")));
	RUN_UNTIL(&a, GOES("10.96.1.7", "10.244.2.21"));
	assert_string_equal(goes("10.96.1.8"), POD_B);
	push(&a, SERVICES, "DELETED", SPLIT("14", "v1=0,v2=100"));
	RUN_UNTIL(&a, GOES("10.96.1.7", "no service"));
	push(&a, SLICES, "MODIFIED", SLICE("v2", "15", EP(POD_R)));
	push(&a, SERVICES, "DELETED", SERVICE("v1", "10.96.1.8", "16"));
	RUN_UNTIL(&a, GOES("10.96.1.8", "no service"));
	stop(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(events), cmocka_unit_test(restart),
		cmocka_unit_test(expired), cmocka_unit_test(split_follows)};
	return cmocka_run_group_tests_name("svcwatch", tests, node_setup, node_teardown);
}

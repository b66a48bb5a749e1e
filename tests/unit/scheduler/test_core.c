/* SPDX-License-Identifier: Apache-2.0
 * Decisions of the scheduler's core: every plugin's yes, no and reason, sums, determinism, speed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "scheduler/core.h"
#include "xebec/base/timefmt.h"

static unsigned serial;

static struct pod *pod(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A pod from its spec's members (and more, see AT). Single quotes stand for double ones. */
static struct pod *pod(const char *fmt, ...)
{
	char spec[2048], json[2600];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(spec, sizeof(spec), fmt, ap);
	va_end(ap);
	(void)snprintf(json, sizeof(json),
		strstr(spec, "'spec'")
			? "{'metadata':{'name':'p%u','namespace':'default','uid':'u%u'%s}"
			: "{'metadata':{'name':'p%u','namespace':'default','uid':'u%u'},'spec':{%s}"
			  "}",
		serial, serial, spec);
	serial++;
	for (char *c = json; *c; c++)
		*c = *c == '\'' ? '"' : *c;
	if (!jv_valid(str_of(json), 50))
		fail_msg("not JSON: %s", json);
	return sched_pod_decode(jv_of(str_of(json)));
}

static void add_node(struct cluster *c, const char *name, const char *labels, const char *spec,
	const char *alloc)
{
	char json[1024];
	(void)snprintf(json, sizeof(json),
		"{'metadata':{'name':'%s','labels':{'kubernetes.io/hostname':'%s'%s}},'spec':{%s},"
		"'status':{'allocatable':{%s}}}",
		name, name, labels, spec, alloc);
	for (char *p = json; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	if (!jv_valid(str_of(json), 50))
		fail_msg("not JSON: %s", json);
	struct node_spec *n = sched_node_decode(jv_of(str_of(json)));
	assert_int_equal(cluster_set_node(c, n), 0);
	sched_node_spec_unref(n);
}

#define ROOM "'cpu':'4','memory':'8Gi','pods':'110'"

static void place(struct cluster *c, struct pod *p, const char *node)
{
	assert_int_equal(cluster_add_pod(c, p, str_of(node)), 0);
	sched_pod_unref(p);
}

/* The node's name, or the message; frees the pod. */
static const char *decide(struct cluster *c, struct pod *p)
{
	static char answer[600];
	struct verdict v;
	assert_non_null(p);
	assert_int_equal(schedule_pod(c, p, &v), 0);
	(void)snprintf(answer, sizeof(answer), "%.*s",
		STR_FMT(v.node ? v.node->name : buf_str(&v.message)));
	verdict_free(&v);
	sched_pod_unref(p);
	return answer;
}

static int setup(void **state)
{
	*state = cluster_new(42);
	return 0;
}

static int teardown(void **state)
{
	cluster_free(*state);
	return 0;
}

#define CPU(q) "'containers':[{'resources':{'requests':{'cpu':'" q "'}}}]"

static void test_resources(void **state)
{
	struct cluster *c = *state;
	assert_string_equal(decide(c, pod(CPU("1"))), "no nodes available to schedule pods");
	add_node(c, "a", "", "", "'cpu':'2','memory':'1Gi','pods':'3','x.com/gpu':'1'");
	add_node(c, "b", "", "", "'cpu':'1','memory':'1Gi','pods':'1'");
	assert_string_equal(decide(c, pod(CPU("1500m"))), "a");
	assert_string_equal(
		decide(c, pod(CPU("3"))), "0/2 nodes are available: 2 Insufficient cpu.");
	place(c, pod(CPU("1")), "b");
	assert_string_equal(decide(c, pod("'containers':[{'resources':{'requests':{'cpu':'3',"
					  "'memory':'2Gi','x.com/gpu':'2'}}}]")),
		"0/2 nodes are available: 1 Too many pods, 2 Insufficient cpu, 2 Insufficient "
		"memory, "
		"2 Insufficient x.com/gpu.");
	struct pod *gpu = pod("'containers':[{'resources':{'requests':{'x.com/gpu':'1'}}}]");
	struct str uid = gpu->uid;
	char uid_copy[16];
	(void)str_copy(uid_copy, sizeof(uid_copy), uid);
	place(c, gpu, "a");
	assert_string_equal(
		decide(c, pod("'containers':[{'resources':{'requests':{'x.com/gpu':'1'}}}]")),
		"0/2 nodes are available: 1 Too many pods, 2 Insufficient x.com/gpu.");
	assert_true(cluster_del_pod(c, str_of(uid_copy)));
	assert_false(cluster_del_pod(c, str_of(uid_copy)));
	assert_string_equal(
		decide(c, pod("'containers':[{'resources':{'requests':{'x.com/gpu':'1'}}}]")), "a");
	cluster_del_node(c, STR("a"));
	assert_string_equal(decide(c, pod(CPU("1m"))),
		"0/1 nodes are available: 1 Insufficient cpu, 1 Too many pods.");
}

#define ASK(cpu)  "{'resources':{'requests':{'cpu':'" cpu "'}}}"
#define SIDE(cpu) "{'restartPolicy':'Always','resources':{'requests':{'cpu':'" cpu "'}}}"

static void test_requests(void **state)
{
	(void)state;
	static const struct {
		const char *spec;
		int64_t cpu, memory;
	} rows[] = {
		{"'containers':[" ASK("100m") "," ASK("0.2") "]", 300, 0},
		{"'containers':[" ASK("100m") "],'initContainers':[" ASK("1") "]", 1000, 0},
		/* A sidecar counts beside the containers and beside init containers after it. */
		{"'containers':[" ASK("100m") "],'initContainers':[" SIDE("50m") "]", 150, 0},
		{"'containers':[" ASK("100m") "],'initContainers':[" ASK("70m") "," SIDE(
			 "50m") "," ASK("200m") "]",
			250, 0},
		{"'containers':[" ASK("1") "],'overhead':{'cpu':'250m','memory':'1Mi'}", 1250,
			1 << 20},
		{"'containers':[" ASK("1") "],'resources':{'requests':{'cpu':'2'}}", 2000, 0},
		{"'containers':[{}]", 0, 0},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pod *p = pod("%s", rows[i].spec);
		assert_int_equal(p->req.v[RES_CPU], rows[i].cpu);
		assert_int_equal(p->req.v[RES_MEMORY], rows[i].memory);
		assert_int_equal(p->req.v[RES_PODS], 1);
		sched_pod_unref(p);
	}
}

static void test_node_filters(void **state)
{
	struct cluster *c = *state;
	add_node(c, "a", ",'disk':'ssd','n':'5'", "", ROOM);
	add_node(c, "b", ",'disk':'hdd'",
		"'taints':[{'key':'k','value':'v','effect':'NoSchedule'}]", ROOM);
	add_node(c, "c", "", "'unschedulable':true", ROOM);
	assert_string_equal(decide(c, pod("'nodeSelector':{'disk':'hdd'}")),
		"0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
		"1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable.");
#define TOL(t) "'tolerations':[{" t "}]"
	static const struct {
		const char *tol;
		bool yes;
	} tols[] = {
		{TOL("'key':'k','value':'v','effect':'NoSchedule'"), true},
		{TOL("'key':'k','operator':'Equal','value':'w'"), false},
		{TOL("'key':'k','operator':'Exists'"), true},
		{TOL("'operator':'Exists'"), true},
		{TOL("'key':'k','operator':'Exists','effect':'NoExecute'"), false},
	};
	for (size_t i = 0; i < ARRAY_LEN(tols); i++)
		assert_int_equal(strlen(decide(c, pod("'nodeSelector':{'disk':'hdd'},%s",
							  tols[i].tol))) == 1,
			tols[i].yes);
	assert_string_equal(decide(c, pod("'nodeName':'a'")), "a");

#define REQ(e)                                                                                     \
	"'affinity':{'nodeAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':"            \
	"{'nodeSelectorTerms':[" e "]}}}," TOL("'operator':'Exists'")
	static const struct {
		const char *terms, *node;
	} rows[] = {
		{REQ("{'matchExpressions':[{'key':'n','operator':'Gt','values':['4']}]}"), "a"},
		{REQ("{'matchExpressions':[{'key':'n','operator':'Lt','values':['4']}]}"), NULL},
		{REQ("{'matchExpressions':[{'key':'disk','operator':'DoesNotExist'}]}"), "c"},
		{REQ("{'matchExpressions':[{'key':'disk','operator':'Exists'},{'key':'n','operator'"
		     ":'DoesNotExist'}]}"),
			"b"},
		{REQ("{'matchFields':[{'key':'metadata.name','operator':'In','values':['b']}]}"),
			"b"},
		{REQ("{'matchExpressions':[{'key':'disk','operator':'In','values':['x']}]},"
		     "{'matchExpressions':[{'key':'disk','operator':'In','values':['hdd']}]}"),
			"b"}, /* terms are ORed */
		{REQ("{'matchExpressions':[{'key':'kubernetes.io/"
		     "hostname','operator':'NotIn','values':['a','b']}]}"),
			"c"},
		{REQ("{}"), NULL}, /* an empty term matches nothing */
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_string_equal(decide(c, pod("%s", rows[i].terms)),
			rows[i].node ? rows[i].node
				     : "0/3 nodes are available: 3 node(s) didn't match Pod's node "
				       "affinity/selector.");
}

#define PORT(rest) "'containers':[{'ports':[{'hostPort':80" rest "}]}]"

static void test_ports(void **state)
{
	struct cluster *c = *state;
	const char *no = "0/1 nodes are available: 1 node(s) didn't have free ports for the "
			 "requested pod ports.";
	add_node(c, "a", "", "", ROOM);
	place(c, pod(PORT(",'protocol':'TCP','hostIP':'10.0.0.1'")), "a");
	assert_string_equal(decide(c, pod(PORT(",'hostIP':'10.0.0.1'"))), no);
	assert_string_equal(decide(c, pod(PORT(""))), no);
	assert_string_equal(decide(c, pod(PORT(",'hostIP':'10.0.0.2'"))), "a");
	assert_string_equal(decide(c, pod(PORT(",'protocol':'UDP'"))), "a");
}

static void test_scores(void **state)
{
	struct cluster *c = *state;
	add_node(c, "a", ",'disk':'ssd'", "", ROOM);
	add_node(c, "b", "", "'taints':[{'key':'k','effect':'PreferNoSchedule'}]", ROOM);
	add_node(c, "c", "", "", ROOM);
	place(c, pod(CPU("2")), "a");
	assert_string_equal(decide(c, pod(CPU("1"))), "c"); /* a is fuller, b is tainted */
	assert_string_equal(decide(c, pod(CPU("1") ",'affinity':{'nodeAffinity':{"
						   "'preferredDuringSchedulingIgnoredDuringExecutio"
						   "n':[{'weight':100,"
						   "'preference':{'matchExpressions':[{'key':'disk'"
						   ",'operator':'Exists'}]}}]}}")),
		"a");
}

#define OWNED ",'ownerReferences':[{'controller':true,'uid':'rs1'}]},'spec':{'containers':[{}]}"

static void test_default_spread(void **state)
{
	struct cluster *c = *state;
	static const char *const names[] = {"a", "b", "c", "d"};
	unsigned count[4] = {0};
	for (size_t i = 0; i < 4; i++)
		add_node(c, names[i], "", "", ROOM);
	for (int i = 0; i < 12; i++) {
		struct pod *p = pod(OWNED);
		sched_pod_ref(p);
		const char *at = decide(c, p);
		count[at[0] - 'a']++;
		place(c, p, at);
	}
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(count[i], 3);
}

#define SPREAD(key, skew, more)                                                                    \
	",'labels':{'app':'w'}},'spec':{'topologySpreadConstraints':[{'topologyKey':'" key         \
	"','maxSkew':" skew ",'whenUnsatisfiable':'DoNotSchedule','labelSelector':"                \
	"{'matchLabels':{'app':'w'}}" more "}]}"

static void test_hard_spread(void **state)
{
	struct cluster *c = *state;
	add_node(c, "a1", ",'zone':'a'", "", ROOM);
	add_node(c, "a2", ",'zone':'a'", "", ROOM);
	add_node(c, "b1", ",'zone':'b'", "", "'cpu':'0','pods':'0'");
	add_node(c, "x", "", "", ROOM); /* no zone */
	struct pod *p = pod(SPREAD("zone", "1", ""));
	place(c, p, "a1");
	assert_string_equal(decide(c, pod(SPREAD("zone", "1", ""))),
		"0/4 nodes are available: 1 Too many pods, 1 node(s) didn't match pod topology "
		"spread "
		"constraints (missing required label), 2 node(s) didn't match pod topology spread "
		"constraints.");
	assert_string_equal(decide(c, pod(SPREAD("zone", "2", ""))), "a2");
	/* Fewer domains than demanded: the minimum counts as 0. */
	place(c, pod(SPREAD("zone", "2", "")), "b1");
	assert_int_equal(decide(c, pod(SPREAD("zone", "1", "")))[0], 'a');
	assert_int_equal(decide(c, pod(SPREAD("zone", "1", ",'minDomains':3")))[0], '0');
}

#define AFF(kind, sel, ns)                                                                         \
	",'labels':{'app':'%s'}},'spec':{'affinity':{'" kind                                       \
	"':{'requiredDuringSchedulingIgnoredDuringExecution':[{'topologyKey':"                     \
	"'zone','labelSelector':{'matchLabels':{'app':'" sel "'}}" ns "}]}}}"

static struct jv labels_of(void *arg, struct str ns)
{
	(void)arg;
	return str_eqz(ns, "default") ? jv_of(STR("{\"team\":\"x\"}")) : (struct jv){0};
}

static void test_inter_pod(void **state)
{
	struct cluster *c = *state;
	c->ns_labels = labels_of;
	add_node(c, "a", ",'zone':'a'", "", ROOM);
	add_node(c, "b", ",'zone':'b'", "", ROOM);
	assert_string_equal(decide(c, pod(AFF("podAffinity", "db", ""), "web")),
		"0/2 nodes are available: 2 node(s) didn't match pod affinity rules.");
	/* The first of its kind may go anywhere. */
	assert_int_equal(strlen(decide(c, pod(AFF("podAffinity", "db", ""), "db"))), 1);
	place(c, pod(AFF("podAntiAffinity", "db", ""), "db"), "b");
	assert_string_equal(decide(c, pod(AFF("podAffinity", "db", ""), "web")), "b");
	assert_string_equal(decide(c, pod(AFF("podAntiAffinity", "db", ""), "web")), "a");
	assert_string_equal(decide(c, pod(AFF("podAffinity", "db", ""), "db")),
		"0/2 nodes are available: 1 node(s) didn't match pod affinity rules, 1 node(s) "
		"didn't "
		"satisfy existing pods anti-affinity rules.");
	assert_string_equal(
		decide(c, pod(AFF("podAffinity", "db", ",'namespaces':['other']"), "web")),
		"0/2 nodes are available: 2 node(s) didn't match pod affinity rules.");
	assert_string_equal(
		decide(c, pod(AFF("podAffinity", "db",
				      ",'namespaceSelector':{'matchLabels':{'team':'x'}}"),
				  "web")),
		"b");
	assert_string_equal(
		decide(c, pod(AFF("podAffinity", "db", ",'namespaceSelector':{}"), "web")), "b");
}

/* The same calls and seed: the same answers. */
static void test_deterministic(void **state)
{
	(void)state;
	char log[2][512] = {"", ""};
	for (int round = 0; round < 2; round++) {
		struct cluster *c = cluster_new(7);
		char name[8];
		for (int i = 0; i < 20; i++) {
			(void)snprintf(name, sizeof(name), "n%d", i);
			add_node(c, name, "", "", ROOM);
		}
		for (int i = 0; i < 40; i++) {
			struct pod *p = pod(CPU("100m"));
			sched_pod_ref(p);
			const char *at = decide(c, p);
			strcat(log[round], at);
			place(c, p, at);
		}
		cluster_free(c);
	}
	assert_string_equal(log[0], log[1]);
}

static void test_speed(void **state)
{
	struct cluster *c = *state;
	char name[8];
	enum { PODS = 3000 };
	static struct pod *pods[PODS];
	for (int i = 0; i < 100; i++) {
		(void)snprintf(name, sizeof(name), "n%d", i);
		add_node(c, name, "", "", ROOM);
	}
	for (int i = 0; i < PODS; i++)
		pods[i] = pod(",'ownerReferences':[{'controller':true,'uid':'rs%d'}]},'spec':{" CPU(
				      "10m") "}",
			i % 30);
	int64_t start = time_mono();
	for (int i = 0; i < PODS; i++) {
		struct verdict v;
		assert_int_equal(schedule_pod(c, pods[i], &v), 0);
		assert_non_null(v.node);
		assert_int_equal(cluster_add_pod(c, pods[i], v.node->name), 0);
		verdict_free(&v);
		sched_pod_unref(pods[i]);
	}
	double s = (double)(time_mono() - start) / 1e9;
	print_message("# %.0f decisions/s on 100 nodes\n", PODS / s);
	assert_int_equal(cluster_len(c), PODS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {T(test_resources), T(test_requests),
		T(test_node_filters), T(test_ports), T(test_scores), T(test_default_spread),
		T(test_hard_spread), T(test_inter_pod), T(test_deterministic), T(test_speed)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

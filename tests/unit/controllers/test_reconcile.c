/* SPDX-License-Identifier: Apache-2.0
 * Every reconciler as a pure function: tables in, actions out. */
#include "tables.h"

static struct tables t;

static int fresh(void **state)
{
	(void)state;
	tables_init(&t);
	return 0;
}

static int clear(void **state)
{
	(void)state;
	tables_clear(&t);
	return 0;
}

#define META(name) "'metadata':{'name':'" name "','namespace':'d','uid':'u-" name "'"
#define OWNED(kind, owner)                                                                         \
	",'ownerReferences':[{'apiVersion':'apps/v1','kind':'" kind "','name':'" owner             \
	"','uid':'u-" owner "','controller':true}]"

/* --- ReplicaSet --- */

static void add_rs(int replicas, const char *status)
{
	(void)add(&t, R_RS,
		"{" META("rs") ",'generation':2},'spec':{'replicas':%d,'selector':{'matchLabels':{'"
			       "a':'b'}},"
			       "'template':{'metadata':{'labels':{'a':'b'}},'spec':{'x':1}}},'"
			       "status':%s}",
		replicas, status);
}

struct pod_row {
	const char *name, *node, *phase;
	bool ready, deleting, owned;
	const char *label, *cost, *since;
	int restarts;
};

static void add_pod(const struct pod_row *p)
{
	(void)add(&t, R_POD,
		"{'metadata':{'name':'%s','namespace':'d','uid':'u-%s','labels':{'a':'%s'}%s%s%s%s,"
		"'creationTimestamp':'2026-01-01T10:00:00Z'%s},'spec':{'nodeName':'%s'},'status':{"
		"'phase':'%s','podIP':'1.1.1.1','containerStatuses':[{'restartCount':%d}],"
		"'conditions':[{'type':'Ready','status':'%s','lastTransitionTime':'%s'}]}}",
		p->name, p->name, p->label ? p->label : "b",
		p->owned ? OWNED("ReplicaSet", "rs") : "",
		p->cost ? ",'annotations':{'controller.kubernetes.io/pod-deletion-cost':'" : "",
		p->cost ? p->cost : "", p->cost ? "'}" : "",
		p->deleting ? ",'deletionTimestamp':'2026-01-01T11:59:00Z'" : "",
		p->node ? p->node : "n", p->phase ? p->phase : "Running", p->restarts,
		p->ready ? "True" : "False", p->since ? p->since : "2026-01-01T10:00:00Z");
}

static void test_rs_creates(void **state)
{
	(void)state;
	add_rs(3, "{'replicas':0}");
	add_pod(&(struct pod_row){.name = "one", .owned = true, .ready = true});
	add_pod(&(struct pod_row){.name = "leaving", .owned = true, .deleting = true});
	add_pod(&(struct pod_row){.name = "done", .owned = true, .phase = "Succeeded"});
	run(&t, &controller_replicaset, "d", "rs");
	assert_lines(&t, 3);
	assert_acted(&t,
		"create pods d/ {'apiVersion':'v1','kind':'Pod','metadata':{'generateName':"
		"'rs-','namespace':'d','labels':{'a':'b'},'ownerReferences':[");
	assert_acted(&t, "'spec':{'x':1}} !SuccessfulCreate");
	assert_acted(&t, "patch replicasets d/rs/status {'status':{'replicas':1,"
			 "'fullyLabeledReplicas':1,'readyReplicas':1,'availableReplicas':1,"
			 "'terminatingReplicas':1,'observedGeneration':2}}");
}

static void test_rs_steady(void **state)
{
	(void)state;
	add_rs(1, "{'replicas':1,'fullyLabeledReplicas':1,'readyReplicas':1,'availableReplicas':1,"
		  "'observedGeneration':2}");
	add_pod(&(struct pod_row){.name = "one", .owned = true, .ready = true});
	run(&t, &controller_replicaset, "d", "rs");
	assert_lines(&t, 0);
	run(&t, &controller_replicaset, "d", "absent");
	assert_lines(&t, 0);
}

static void test_rs_adopts_and_releases(void **state)
{
	(void)state;
	add_rs(1, "{'replicas':1,'fullyLabeledReplicas':1,'observedGeneration':2}");
	add_pod(&(struct pod_row){.name = "orphan"});
	add_pod(&(struct pod_row){.name = "strayed", .owned = true, .label = "z"});
	add_pod(&(struct pod_row){.name = "stranger", .label = "z"});
	run(&t, &controller_replicaset, "d", "rs");
	assert_lines(&t, 2);
	assert_acted(&t, "patch pods d/orphan {'metadata':{'uid':'u-orphan','ownerReferences':[{"
			 "'apiVersion':'apps/v1','kind':'ReplicaSet','name':'rs','uid':'u-rs'");
	assert_acted(
		&t, "patch pods d/strayed {'metadata':{'uid':'u-strayed','ownerReferences':[]}}");
}

/* Of two pods the one that goes first, rule by rule. */
static void test_rs_deletion_order(void **state)
{
	static const struct {
		struct pod_row first, other;
	} rows[] = {
		{{.node = "", .phase = "Pending"}, {.phase = "Pending"}},
		{{.phase = "Pending"}, {.phase = "Unknown"}},
		{{.phase = "Unknown"}, {.phase = "Running"}},
		{{.ready = false}, {.ready = true}},
		{{.ready = true, .cost = "-5"}, {.ready = true}},
		{{.ready = true, .cost = "1"}, {.ready = true, .cost = "10"}},
		{{.ready = true, .since = "2026-01-01T11:59:30Z"}, {.ready = true}},
		{{.ready = true, .restarts = 4}, {.ready = true}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
		struct pod_row a = rows[i / 2].first, b = rows[i / 2].other;
		a.name = "first";
		b.name = "other";
		a.owned = b.owned = true;
		tables_clear(&t);
		add_rs(1, "{'replicas':1}");
		add_pod(i % 2 ? &a : &b);
		add_pod(i % 2 ? &b : &a);
		run(&t, &controller_replicaset, "d", "rs");
		if (!acted(&t, "delete pods d/first  !SuccessfulDelete"))
			fail_msg("row %zu: %s", i / 2, t.text);
	}
	/* two on one node, one on another: one of the two goes */
	tables_clear(&t);
	add_rs(2, "{'replicas':3}");
	add_pod(&(struct pod_row){.name = "x", .owned = true, .ready = true, .node = "n2"});
	add_pod(&(struct pod_row){.name = "y", .owned = true, .ready = true, .node = "n1"});
	add_pod(&(struct pod_row){.name = "z", .owned = true, .ready = true, .node = "n1"});
	run(&t, &controller_replicaset, "d", "rs");
	assert_false(acted(&t, "delete pods d/x"));
}

static void test_rs_min_ready(void **state)
{
	(void)state;
	(void)add(&t, R_RS,
		"{" META("rs") "},'spec':{'replicas':1,'minReadySeconds':30,'selector':{'"
			       "matchLabels':{"
			       "'a':'b'}},'template':{}},'status':{}}");
	add_pod(&(struct pod_row){
		.name = "p", .owned = true, .ready = true, .since = "2026-01-01T11:59:40Z"});
	run(&t, &controller_replicaset, "d", "rs");
	assert_acted(&t, "'readyReplicas':1,'availableReplicas':0");
	assert_int_equal(t.requeue, 10 * NS_PER_SEC);
}

/* --- Deployment --- */

struct roll_row { /* a roll-out's state and the sizes it leads to; -1 = stays */
	int replicas;
	const char *surge, *unavailable;
	int new_size, new_available, old_size, old_available;
	int want_new, want_old;
};

static void add_deploy(const struct roll_row *r, const char *more)
{
	(void)add(&t, R_DEPLOY,
		"{" META("web") ",'generation':1,'annotations':{'deployment.kubernetes.io/"
				"revision':'2'}},"
				"'spec':{'replicas':%d,'selector':{'matchLabels':{'a':'b'}},'"
				"strategy':{"
				"'type':'RollingUpdate','rollingUpdate':{'maxSurge':%s,'"
				"maxUnavailable':%s}},"
				"'template':{'metadata':{'labels':{'a':'b'}},'spec':{'v':2}}%s},'"
				"status':{"
				"'conditions':[{'type':'Progressing','status':'True','reason':"
				"'ReplicaSetUpdated','lastUpdateTime':'2026-01-01T11:59:00Z'}]}}",
		r->replicas, r->surge, r->unavailable, more);
}

static void add_deploy_rs(const struct roll_row *r, int v, int size, int available)
{
	(void)add(&t, R_RS,
		"{'metadata':{'name':'web-%d','namespace':'d','uid':'u-web-%d','labels':{'a':'b',"
		"'pod-template-hash':'%d'}" OWNED("Deployment",
			"web") ",'annotations':{"
			       "'deployment.kubernetes.io/revision':'%d','deployment.kubernetes.io/"
			       "desired-replicas':"
			       "'%d'},'creationTimestamp':'2026-01-01T10:00:0%dZ'},'spec':{'"
			       "replicas':%d,'template':{"
			       "'metadata':{'labels':{'a':'b','pod-template-hash':'%d'}},'spec':{'"
			       "v':%d}}},'status':{"
			       "'replicas':%d,'readyReplicas':%d,'availableReplicas':%d}}",
		v, v, v, v, r->replicas, v, size, v, v, size, available, available);
}

static void check_size(size_t row, int v, int size, int want)
{
	char text[100];

	(void)snprintf(text, sizeof(text), "from %d to %d", size, want);
	(void)snprintf(text, sizeof(text), "patch replicasets d/web-%d ", v);
	const char *line = strstr(t.text, text);
	(void)snprintf(text, sizeof(text), "'spec':{'replicas':%d}} !ScalingReplicaSet", want);
	if (want < 0) {
		if (acted(&t, "ScalingReplicaSet") && line && strstr(line, "Scaling") &&
			strstr(line, "Scaling") < strchr(line, '\n'))
			fail_msg("row %zu: web-%d scaled:\n%s", row, v, t.text);
	} else if (!line || !acted(&t, text)) {
		fail_msg("row %zu: web-%d not scaled to %d:\n%s", row, v, want, t.text);
	}
}

static void test_rolling(void **state)
{
	static const struct roll_row rows[] = {
		/* nothing new yet: surge first */
		{10, "3", "2", 0, 0, 10, 10, 3, -1},
		/* the surge runs: old ones may go, down to the minimum */
		{10, "3", "2", 3, 0, 10, 10, -1, 8},
		{10, "3", "2", 3, 3, 10, 10, -1, 5},
		/* room again */
		{10, "3", "2", 3, 3, 5, 5, 8, -1},
		/* no surge: old ones first */
		{4, "0", "1", 0, 0, 4, 4, -1, 3},
		{4, "0", "1", 1, 0, 3, 3, -1, -1},
		{4, "0", "1", 1, 1, 3, 3, -1, 2},
		/* percent: surge rounds up, unavailable down; both 0 = one unavailable */
		{3, "'25%'", "'25%'", 0, 0, 3, 3, 1, -1},
		{3, "'25%'", "'25%'", 1, 1, 3, 3, -1, 2},
		{3, "0", "'0%'", 0, 0, 3, 3, -1, 2},
		/* broken old pods go before working ones */
		{10, "3", "2", 3, 0, 10, 5, -1, 8},
		/* done */
		{4, "1", "1", 4, 4, 0, 0, -1, -1},
		/* too large */
		{4, "1", "1", 6, 6, 0, 0, 4, -1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct roll_row *r = &rows[i];
		tables_clear(&t);
		add_deploy(r, "");
		add_deploy_rs(r, 1, r->old_size, r->old_available);
		add_deploy_rs(r, 2, r->new_size, r->new_available);
		run(&t, &controller_deployment, "d", "web");
		check_size(i, 2, r->new_size, r->want_new);
		check_size(i, 1, r->old_size, r->want_old);
	}
}

static void test_deployment_first(void **state)
{
	struct roll_row r = {.replicas = 2, .surge = "1", .unavailable = "0"};

	(void)state;
	add_deploy(&r, "");
	run(&t, &controller_deployment, "d", "web");
	assert_acted(&t, "create replicasets d/ {'apiVersion':'apps/v1','kind':'ReplicaSet',"
			 "'metadata':{'name':'web-");
	assert_acted(&t, "'spec':{'replicas':2,");
	assert_acted(&t, "!ScalingReplicaSet");
	assert_acted(&t, "'reason':'NewReplicaSetCreated'");
	assert_acted(&t, "'type':'Available','status':'False'");
}

static void test_deployment_scales_in_proportion(void **state)
{
	/* 10 -> 20 in the middle of a roll-out: both grow by their share of 13 */
	struct roll_row was = {.replicas = 10},
			r = {.replicas = 20, .surge = "3", .unavailable = "2"};

	(void)state;
	add_deploy(&r, "");
	add_deploy_rs(&was, 1, 8, 8);
	add_deploy_rs(&was, 2, 5, 2);
	run(&t, &controller_deployment, "d", "web");
	assert_acted(&t, "'deployment.kubernetes.io/desired-replicas':'20'");
	assert_acted(&t, "!ScalingReplicaSet");
	int a = 0, b = 0;
	const char *one = strstr(t.text, "replicasets d/web-1 "),
		   *two = strstr(t.text, "replicasets d/web-2 ");
	assert_true(one && two);
	assert_int_equal(sscanf(strstr(one, "\"replicas\":"), "\"replicas\":%d", &a), 1);
	assert_int_equal(sscanf(strstr(two, "\"replicas\":"), "\"replicas\":%d", &b), 1);
	assert_int_equal(a + b, 23);
	assert_true(a > b && b > 5);
}

static void test_deployment_paused_and_deadline(void **state)
{
	struct roll_row r = {.replicas = 2, .surge = "1", .unavailable = "0"};

	(void)state;
	add_deploy(&r, ",'paused':true");
	add_deploy_rs(&r, 1, 2, 2);
	run(&t, &controller_deployment, "d", "web");
	assert_false(acted(&t, "create"));
	assert_acted(&t, "'reason':'DeploymentPaused'");
	tables_clear(&t);
	add_deploy(&r, ",'progressDeadlineSeconds':50");
	add_deploy_rs(&r, 2, 2, 0);
	run(&t, &controller_deployment, "d", "web");
	assert_true(acted(&t, "'reason':'ProgressDeadlineExceeded'") ||
		    acted(&t, "'reason':'ReplicaSetUpdated'"));
}

/* --- endpoints --- */

static void add_service(const char *more)
{
	(void)add(&t, R_SVC,
		"{" META("svc") "},'spec':{'selector':{'a':'b'},'ports':[{'name':'p','port':80,"
				"'targetPort':8080,'protocol':'TCP'}]%s}}",
		more);
}

static void test_endpoints(void **state)
{
	(void)state;
	add_service("");
	add_pod(&(struct pod_row){.name = "up", .ready = true});
	add_pod(&(struct pod_row){.name = "starting"});
	add_pod(&(struct pod_row){.name = "leaving", .ready = true, .deleting = true});
	add_pod(&(struct pod_row){.name = "done", .phase = "Failed"});
	run(&t, &controller_endpoints, "d", "svc");
	assert_lines(&t, 1);
	assert_acted(&t,
		"'subsets':[{'addresses':[{'ip':'1.1.1.1','nodeName':'n','targetRef':{'kind':"
		"'Pod','namespace':'d','name':'up','uid':'u-up'}}],'notReadyAddresses':[{");
	assert_false(acted(&t, "u-leaving"));
	run(&t, &controller_endpointslice, "d", "svc");
	assert_lines(&t, 1);
	assert_acted(&t, "create endpointslices d/");
	assert_acted(&t,
		"'conditions':{'ready':true,'serving':true,'terminating':false},'targetRef':{"
		"'kind':'Pod','namespace':'d','name':'up'");
	assert_acted(&t, "'conditions':{'ready':false,'serving':true,'terminating':true}");
	assert_acted(&t, "'conditions':{'ready':false,'serving':false,'terminating':false}");
	assert_acted(&t, "'ports':[{'name':'p','protocol':'TCP','port':8080}]");
	assert_false(acted(&t, "u-done"));
}

static void test_endpoints_publish_not_ready(void **state)
{
	(void)state;
	add_service(",'publishNotReadyAddresses':true,'clusterIP':'None'");
	add_pod(&(struct pod_row){.name = "starting"});
	run(&t, &controller_endpointslice, "d", "svc");
	assert_acted(&t, "'conditions':{'ready':true,'serving':false,'terminating':false}");
	assert_acted(&t, "'service.kubernetes.io/headless':''");
	run(&t, &controller_endpoints, "d", "svc");
	assert_acted(&t, "'addresses':[");
	assert_false(acted(&t, "notReadyAddresses"));
}

/* trafficDistribution: ready endpoints say whom they are near to. */
static void test_slice_hints(void **state)
{
	static const struct {
		const char *how, *hints;
	} rows[] = {
		{"PreferClose", "'hints':{'forZones':[{'name':'z1'}]}"},
		{"PreferSameZone", "'hints':{'forZones':[{'name':'z1'}]}"},
		{"PreferSameNode",
			"'hints':{'forZones':[{'name':'z1'}],'forNodes':[{'name':'n'}]}"},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_t n = 0;
		char more[64];
		tables_clear(&t);
		(void)add(&t, R_NODE,
			"{'metadata':{'name':'n','uid':'u-n','labels':{"
			"'topology.kubernetes.io/zone':'z1'}}}");
		add_pod(&(struct pod_row){.name = "up", .ready = true});
		add_pod(&(struct pod_row){.name = "starting"});
		(void)snprintf(more, sizeof(more),
			rows[i].how[0] ? ",'trafficDistribution':'%s'" : "%s", rows[i].how);
		add_service(more);
		run(&t, &controller_endpointslice, "d", "svc");
		assert_acted(&t, "'zone':'z1'");
		if (rows[i].hints)
			assert_acted(&t, rows[i].hints);
		for (const char *p = t.text; (p = strstr(p, "\"hints\"")); p++)
			n++;
		assert_int_equal(n, rows[i].hints != NULL); /* never of the one that starts */
	}
}

static void test_slices_of_100(void **state)
{
	char name[20];
	size_t at = 0, n = 0;

	(void)state;
	add_service("");
	for (int i = 0; i < 120; i++) {
		(void)snprintf(name, sizeof(name), "p%d", i);
		add_pod(&(struct pod_row){.name = name, .ready = true});
	}
	run(&t, &controller_endpointslice, "d", "svc");
	assert_lines(&t, 2);
	for (const char *p = t.text; (p = strstr(p, "\"addresses\"")); p++)
		n++;
	assert_int_equal(n, 120);
	(void)at;
}

static void test_slice_keeps(void **state)
{
	(void)state;
	add_service("");
	add_pod(&(struct pod_row){.name = "up", .ready = true});
	(void)add(&t, R_EPS,
		"{" META("svc-1") ",'labels':{'kubernetes.io/service-name':'svc',"
				  "'endpointslice.kubernetes.io/managed-by':"
				  "'endpointslice-controller.k8s.io'}},'addressType':'IPv4','"
				  "endpoints':["
				  "{'addresses':['1.1.1.1'],'conditions':{'ready':true,'serving':"
				  "true,"
				  "'terminating':false},'targetRef':{'kind':'Pod','namespace':'d','"
				  "name':"
				  "'up','uid':'u-up'},'nodeName':'n'}],'ports':[{'name':'p','"
				  "protocol':"
				  "'TCP','port':8080}]}");
	run(&t, &controller_endpointslice, "d", "svc");
	assert_lines(&t, 0);
	/* one more pod goes into the slice that there is */
	add_pod(&(struct pod_row){.name = "two", .ready = true});
	run(&t, &controller_endpointslice, "d", "svc");
	assert_lines(&t, 1);
	assert_acted(&t, "update endpointslices d/svc-1");
	assert_acted(&t, "u-two");
}

/* --- nodes --- */

static void add_node(const char *name, const char *ready, const char *beat, const char *taints)
{
	(void)add(&t, R_NODE,
		"{'metadata':{'name':'%s','uid':'u-%s','creationTimestamp':'2026-01-01T08:00:00Z'},"
		"'spec':{'taints':[%s]},'status':{'conditions':[{'type':'Ready','status':'%s'},{"
		"'type':'MemoryPressure','status':'False'}]}}",
		name, name, taints, ready);
	(void)add(&t, R_LEASE,
		"{'metadata':{'name':'%s','namespace':'kube-node-lease'},'spec':{'renewTime':'%s'}"
		"}",
		name, beat);
}

static void test_node_silent(void **state)
{
	(void)state;
	add_node("n", "True", "2026-01-01T11:59:15.000000Z", "");
	add_node("other", "True", "2026-01-01T11:59:55.000000Z", "");
	add_pod(&(struct pod_row){.name = "p", .ready = true});
	run(&t, &controller_node_lifecycle, "", "n");
	assert_acted(&t, "patch nodes /n/status {'status':{'conditions':[{'type':'Ready','status':"
			 "'Unknown','reason':'NodeStatusUnknown'");
	assert_acted(&t, "!NodeNotReady");
	assert_acted(&t,
		"patch pods d/p/status {'status':{'conditions':[{'type':'Ready','status':'False'");
	assert_acted(&t,
		"'taints':[{'key':'node.kubernetes.io/unreachable','effect':'NoSchedule'},{"
		"'key':'node.kubernetes.io/"
		"unreachable','effect':'NoExecute','timeAdded':'" NOW_TEXT);
	/* in time: looked at again when the grace ends */
	run(&t, &controller_node_lifecycle, "", "other");
	assert_lines(&t, 0);
	assert_true(t.requeue > 34 * NS_PER_SEC && t.requeue < 36 * NS_PER_SEC);
}

static void test_node_mass_failure(void **state)
{
	(void)state;
	add_node("n", "Unknown", "2026-01-01T11:00:00Z", "");
	add_node("m", "Unknown", "2026-01-01T11:00:00Z", "");
	run(&t, &controller_node_lifecycle, "", "n");
	assert_acted(&t, "'effect':'NoSchedule'");
	assert_false(acted(&t, "NoExecute"));
	/* our own start counts as a sign of life: nobody is late at once */
	t.started = t.now - 5 * NS_PER_SEC;
	run(&t, &controller_node_lifecycle, "", "n");
	assert_false(acted(&t, "status"));
}

static void test_eviction(void **state)
{
	(void)state;
	add_node("n", "Unknown", "2026-01-01T11:00:00Z",
		"{'key':'node.kubernetes.io/unreachable','effect':'NoSchedule'},{'key':"
		"'node.kubernetes.io/unreachable','effect':'NoExecute','timeAdded':"
		"'2026-01-01T11:58:00Z'}");
	add_node("fine", "True", "2026-01-01T11:59:59Z", "");
	static const struct {
		const char *name, *tolerations;
	} pods[] = {
		{"none", ""},
		{"short", "{'key':'node.kubernetes.io/unreachable','operator':'Exists','effect':"
			  "'NoExecute','tolerationSeconds':60}"},
		{"long", "{'key':'node.kubernetes.io/unreachable','operator':'Exists','effect':"
			 "'NoExecute','tolerationSeconds':300}"},
		{"ever", "{'operator':'Exists'}"},
		{"wrong", "{'key':'x','operator':'Exists'}"},
	};
	for (size_t i = 0; i < ARRAY_LEN(pods); i++)
		(void)add(&t, R_POD,
			"{'metadata':{'name':'%s','namespace':'d','uid':'u'},'spec':{'nodeName':'n'"
			","
			"'tolerations':[%s]},'status':{'phase':'Running'}}",
			pods[i].name, pods[i].tolerations);
	run(&t, &controller_node_lifecycle, "", "n");
	assert_acted(&t, "delete pods d/none");
	assert_acted(&t, "delete pods d/short");
	assert_acted(&t, "delete pods d/wrong");
	assert_acted(&t, "event none TaintManagerEviction Marking for deletion Pod d/none");
	assert_false(acted(&t, "delete pods d/long"));
	assert_false(acted(&t, "delete pods d/ever"));
	assert_int_equal(t.requeue, 180 * NS_PER_SEC);
	(void)state;
}

static void test_node_recovers(void **state)
{
	(void)state;
	add_node("n", "True", "2026-01-01T11:59:59Z",
		"{'key':'mine','effect':'NoSchedule'},{'key':'node.kubernetes.io/"
		"unreachable','effect':"
		"'NoSchedule'},{'key':'node.kubernetes.io/unreachable','effect':'NoExecute'}");
	run(&t, &controller_node_lifecycle, "", "n");
	assert_lines(&t, 1);
	assert_acted(&t,
		"patch nodes /n {'metadata':{'resourceVersion':'1'},'spec':{'taints':[{'key':"
		"'mine','effect':'NoSchedule'}]}}");
}

static void test_ipam(void **state)
{
	(void)state;
	t.cfg.cluster_cidr = "10.244.0.0/22";
	(void)add(&t, R_NODE, "{'metadata':{'name':'a'},'spec':{'podCIDR':'10.244.0.0/24'}}");
	(void)add(&t, R_NODE, "{'metadata':{'name':'b'},'spec':{'podCIDRs':['10.244.2.0/23']}}");
	(void)add(&t, R_NODE, "{'metadata':{'name':'c'},'spec':{}}");
	run(&t, &controller_node_ipam, "", "c");
	assert_lines(&t, 1);
	assert_acted(&t, "'podCIDR':'10.244.1.0/24','podCIDRs':['10.244.1.0/24']");
	run(&t, &controller_node_ipam, "", "a");
	assert_lines(&t, 0);
	(void)add(&t, R_NODE, "{'metadata':{'name':'d'},'spec':{'podCIDR':'10.244.1.0/24'}}");
	run(&t, &controller_node_ipam, "", "c");
	assert_acted(&t, "event c CIDRNotAvailable");
}

static void test_pod_gc(void **state)
{
	(void)state;
	(void)add(&t, R_NODE, "{'metadata':{'name':'n'}}");
	add_pod(&(struct pod_row){.name = "orphan", .node = "gone"});
	add_pod(&(struct pod_row){.name = "stuck", .node = "", .deleting = true});
	add_pod(&(struct pod_row){.name = "fine"});
	add_pod(&(struct pod_row){.name = "done1", .phase = "Succeeded"});
	run(&t, &controller_pod_gc, "d", "orphan");
	assert_acted(&t, "delete pods d/orphan  now");
	assert_acted(&t, "'phase':'Failed'");
	run(&t, &controller_pod_gc, "d", "stuck");
	assert_acted(&t, "delete pods d/stuck  now");
	run(&t, &controller_pod_gc, "d", "fine");
	assert_lines(&t, 0);
	run(&t, &controller_pod_gc, "d", "done1");
	assert_lines(&t, 0);
	/* right after the start the node may just not be known yet */
	t.started = t.now - NS_PER_SEC;
	run(&t, &controller_pod_gc, "d", "orphan");
	assert_lines(&t, 0);
	assert_true(t.requeue > 30 * NS_PER_SEC);
}

static void test_namespace_content(void **state)
{
	(void)state;
	t.cfg.ca_pem = STR("PEM");
	(void)add(&t, R_NS, "{'metadata':{'name':'team'}}");
	run(&t, &controller_serviceaccount, "", "team");
	assert_acted(&t, "create serviceaccounts team/ {'apiVersion':'v1','kind':'ServiceAccount',"
			 "'metadata':{'name':'default'");
	run(&t, &controller_root_ca, "", "team");
	assert_acted(&t, "'data':{'ca.crt':'PEM'}");
	(void)add(&t, R_CM,
		"{'metadata':{'name':'kube-root-ca.crt','namespace':'team'},'data':{'ca.crt':'old'}"
		"}");
	run(&t, &controller_root_ca, "", "team");
	assert_acted(&t, "update configmaps team/kube-root-ca.crt");
	/* the bundle that pods mount is there where pods are */
	run(&t, &controller_service_ca, "", "team");
	assert_lines(&t, 0);
	(void)add(&t, R_POD, "{'metadata':{'name':'p','namespace':'team'}}");
	run(&t, &controller_service_ca, "", "team");
	assert_acted(&t, "'data':{'service-ca.crt':'PEM'}");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, fresh, clear)
	const struct CMUnitTest tests[] = {T(test_rs_creates), T(test_rs_steady),
		T(test_rs_adopts_and_releases), T(test_rs_deletion_order), T(test_rs_min_ready),
		T(test_rolling), T(test_deployment_first), T(test_deployment_scales_in_proportion),
		T(test_deployment_paused_and_deadline), T(test_endpoints),
		T(test_endpoints_publish_not_ready), T(test_slice_hints), T(test_slices_of_100),
		T(test_slice_keeps), T(test_node_silent), T(test_node_mass_failure),
		T(test_eviction), T(test_node_recovers), T(test_ipam), T(test_pod_gc),
		T(test_namespace_content)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Controllers against the real API server over the in-memory store, with conflicts injected. */
#include "sim.h"

static struct sim sim;

static int up(void **state)
{
	static const struct controllers_config cfg = {.cluster_cidr = "10.244.0.0/16",
		.ca_pem = {.p = "PEM", .n = 3},
		.gc_resync_ns = NS_PER_SEC};

	sim = (struct sim){0};
	sim_up(&sim, &cfg);
	*state = &sim;
	return 0;
}

static int up_conflicts(void **state)
{
	(void)up(state);
	sim.conflict_percent = 30;
	return 0;
}

static int down(void **state)
{
	sim_down(*state);
	return 0;
}

#define NODE(name)                                                                                 \
	"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"" name                  \
	"\"},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}"
#define DEPLOY(replicas, image)                                                                    \
	"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"web\"},"     \
	"\"spec\":{\"replicas\":" replicas ",\"selector\":{\"matchLabels\":{\"app\":\"web\"}},"    \
	"\"template\":{\"metadata\":{\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{"    \
	"\"name\":\"c\",\"image\":\"" image "\",\"ports\":[{\"name\":\"http\",\"containerPort\":"  \
	"8080}]}]}}}}"
#define NS   "/api/v1/namespaces/default/"
#define APPS "/apis/apps/v1/namespaces/default/"
#define WEB  APPS "deployments/web"

static int64_t get_int(struct sim *s, const char *path, const char *field)
{
	json_t *j = sim_call(s, "GET", path, NULL, 0);
	int64_t n = json_i64(j, field, 0);

	json_decref(j);
	return n;
}

static size_t count(struct sim *s, const char *path)
{
	json_t *j = sim_call(s, "GET", path, NULL, 0);
	size_t n = json_array_size(json_object_get(j, "items"));

	json_decref(j);
	return n;
}

static int64_t want;

static bool rolled_out(struct sim *s)
{
	json_t *d = sim_call(s, "GET", WEB, NULL, 0);
	bool ok = json_i64(d, "status.updatedReplicas", 0) == want &&
		  json_i64(d, "status.replicas", 0) == want &&
		  json_i64(d, "status.availableReplicas", 0) == want &&
		  json_i64(d, "status.observedGeneration", 0) ==
			  json_i64(d, "metadata.generation", -1);

	json_decref(d);
	return ok && count(s, NS "pods") == (size_t)want;
}

static bool endpoints_follow(struct sim *s)
{
	json_t *l = sim_call(s, "GET",
		"/apis/discovery.k8s.io/v1/namespaces/default/"
		"endpointslices?labelSelector=kubernetes.io/service-name%3Dweb",
		NULL, 0);
	json_t *e = sim_call(s, "GET", NS "endpoints?fieldSelector=metadata.name%3Dweb", NULL, 0);
	json_t *items = json_object_get(l, "items"), *eps = json_object_get(e, "items"), *subset;
	bool ok = json_array_size(items) == 1 && json_array_size(eps) == 1;

	subset = json_array_get(json_object_get(json_array_get(eps, 0), "subsets"), 0);
	ok = ok &&
	     json_array_size(json_object_get(json_array_get(items, 0), "endpoints")) ==
		     (size_t)want &&
	     json_array_size(json_object_get(subset, "addresses")) == (size_t)want;
	json_t *port = json_array_get(json_object_get(json_array_get(items, 0), "ports"), 0);
	ok = ok && json_i64(port, "port", 0) == 8080;
	json_decref(l);
	json_decref(e);
	return ok;
}

static bool idle(struct sim *s)
{
	return controllers_synced(s->cs) && controllers_busy(s->cs) == 0;
}

static void life_of_a_deployment(struct sim *s)
{
	sim_do(s, "POST", "/api/v1/nodes", NODE("n1"));
	sim_do(s, "POST", APPS "deployments", DEPLOY("3", "a:1"));
	sim_do(s, "POST", NS "services",
		"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"web\"},"
		"\"spec\":"
		"{\"selector\":{\"app\":\"web\"},\"ports\":[{\"port\":80,\"targetPort\":\"http\"}]}"
		"}");
	want = 3;
	sim_wait(s, rolled_out, "three pods");
	assert_int_equal(get_int(s, WEB, "metadata.generation"), 1);
	sim_wait(s, endpoints_follow, "endpoints of three pods");
	assert_int_equal(get_int(s, WEB, "status.readyReplicas"), 3);
	/* a new image: a second ReplicaSet, revision 2 */
	sim_do(s, "PATCH", WEB,
		"{\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"v\":\"2\"}}}}}");
	sim_wait(s, rolled_out, "the second revision");
	assert_int_equal(count(s, APPS "replicasets"), 2);
	json_t *d = sim_call(s, "GET", WEB, NULL, 0);
	assert_string_equal(json_string_value(json_object_get(json_at(d, "metadata.annotations"),
				    "deployment.kubernetes.io/revision")),
		"2");
	json_decref(d);
	/* scaling */
	sim_do(s, "PATCH", WEB, "{\"spec\":{\"replicas\":7}}");
	want = 7;
	sim_wait(s, rolled_out, "seven pods");
	sim_wait(s, endpoints_follow, "endpoints of seven pods");
	/* back to the first template: the old ReplicaSet becomes revision 3 */
	sim_do(s, "PATCH", WEB,
		"{\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"v\":null}}}}}");
	sim_wait(s, rolled_out, "rolled back");
	assert_int_equal(count(s, APPS "replicasets"), 2);
	sim_do(s, "PATCH", WEB, "{\"spec\":{\"replicas\":0}}");
	want = 0;
	sim_wait(s, rolled_out, "no pod");
	sim_do(s, "PATCH", WEB, "{\"spec\":{\"replicas\":2}}");
	want = 2;
	sim_wait(s, rolled_out, "two pods");
	sim_wait(s, idle, "nothing left to do");
}

static bool all_gone(struct sim *s)
{
	return count(s, NS "pods") == 0 && count(s, APPS "replicasets") == 0;
}

static void test_deployment(void **state)
{
	struct sim *s = *state;

	life_of_a_deployment(s);
	sim_do(s, "DELETE", WEB, NULL);
	sim_wait(s, all_gone, "ReplicaSets and pods collected");
}

static void test_deployment_conflicts(void **state)
{
	struct sim *s = *state;

	test_deployment(state);
	assert_true(s->conflicts > 10);
}

static bool two_pods(struct sim *s)
{
	want = 2;
	return rolled_out(s);
}

static void test_self_healing(void **state)
{
	struct sim *s = *state;

	sim_do(s, "POST", "/api/v1/nodes", NODE("n1"));
	sim_do(s, "POST", APPS "deployments", DEPLOY("2", "a:1"));
	sim_wait(s, two_pods, "two pods");
	json_t *l = sim_call(s, "GET", NS "pods", NULL, 0);
	const char *name =
		json_str(json_array_get(json_object_get(l, "items"), 0), "metadata.name", "");
	char path[200];
	(void)snprintf(path, sizeof(path), NS "pods/%s", name);
	/* taken out by its label: released and replaced */
	sim_do(s, "PATCH", path, "{\"metadata\":{\"labels\":{\"app\":\"other\"}}}");
	for (bool done = false; !done;) {
		(void)loop_poll(s->loop, 5);
		done = count(s, NS "pods") == 3;
	}
	sim_wait(s, idle, "idle");
	json_t *p = sim_call(s, "GET", path, NULL, 0);
	assert_int_equal(json_array_size(json_at(p, "metadata.ownerReferences")), 0);
	json_decref(p);
	/* put back: adopted, and one too many is deleted */
	sim_do(s, "PATCH", path, "{\"metadata\":{\"labels\":{\"app\":\"web\"}}}");
	(void)sim_wait(s, two_pods, "two pods again");
	json_decref(l);
}

static bool namespace_filled(struct sim *s)
{
	return count(s, "/api/v1/namespaces/team/serviceaccounts") == 1 &&
	       count(s, "/api/v1/namespaces/team/configmaps") == 2;
}

static bool namespace_gone(struct sim *s)
{
	json_t *l = sim_call(
		s, "GET", "/api/v1/namespaces?fieldSelector=metadata.name%3Dteam", NULL, 0);
	bool gone = json_array_size(json_object_get(l, "items")) == 0;

	json_decref(l);
	return gone;
}

static void test_namespace(void **state)
{
	struct sim *s = *state;

	sim_do(s, "POST", "/api/v1/namespaces",
		"{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"team\"}}");
	sim_do(s, "POST", "/api/v1/namespaces/team/configmaps",
		"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"mine\"}}");
	sim_wait(s, namespace_filled, "default account and root certificate");
	sim_do(s, "POST", "/apis/apps/v1/namespaces/team/deployments", DEPLOY("2", "a:1"));
	sim_do(s, "DELETE", "/api/v1/namespaces/team", NULL);
	sim_wait(s, namespace_gone, "the namespace is deleted");
}

static bool cidrs_given(struct sim *s)
{
	json_t *l = sim_call(s, "GET", "/api/v1/nodes", NULL, 0),
	       *items = json_object_get(l, "items");
	bool ok = json_array_size(items) == 20;
	size_t i, k;
	json_t *a, *b;

	json_array_foreach (items, i, a) {
		const char *cidr = json_str(a, "spec.podCIDR", "");
		ok = ok && cidr[0];
		json_array_foreach (items, k, b) {
			assert_true(i == k || !cidr[0] ||
				    strcmp(cidr, json_str(b, "spec.podCIDR", "")) != 0);
		}
	}
	json_decref(l);
	return ok;
}

static void test_node_ipam(void **state)
{
	struct sim *s = *state;
	char body[300];

	for (int i = 0; i < 20; i++) {
		(void)snprintf(body, sizeof(body),
			"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"m%d\"}}",
			i);
		sim_do(s, "POST", "/api/v1/nodes", body);
	}
	sim_wait(s, cidrs_given, "every node has a block of its own");
}

static bool deploy_gone(struct sim *s)
{
	return count(s, APPS "deployments") == 0;
}

static void test_foreground_and_orphan(void **state)
{
	struct sim *s = *state;

	sim_do(s, "POST", "/api/v1/nodes", NODE("n1"));
	sim_do(s, "POST", APPS "deployments", DEPLOY("2", "a:1"));
	sim_wait(s, two_pods, "two pods");
	sim_do(s, "DELETE", WEB,
		"{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"propagationPolicy\":"
		"\"Orphan\"}");
	sim_wait(s, deploy_gone, "deployment gone");
	sim_wait(s, idle, "idle");
	assert_int_equal(count(s, APPS "replicasets"), 1);
	assert_int_equal(count(s, NS "pods"), 2);
	/* a new Deployment adopts the ReplicaSet */
	sim_do(s, "POST", APPS "deployments", DEPLOY("2", "a:1"));
	sim_wait(s, two_pods, "adopted");
	assert_int_equal(count(s, APPS "replicasets"), 1);
	sim_do(s, "DELETE", WEB,
		"{\"apiVersion\":\"v1\",\"kind\":\"DeleteOptions\",\"propagationPolicy\":"
		"\"Foreground\"}");
	sim_wait(s, deploy_gone, "deployment gone, foreground");
	assert_true(all_gone(s));
}

static int up_short_grace(void **state)
{
	static const struct controllers_config cfg = {
		.node_grace_ns = 300 * NS_PER_MS, .gc_resync_ns = NS_PER_SEC};

	sim = (struct sim){0};
	sim_up(&sim, &cfg);
	*state = &sim;
	return 0;
}

static bool node_lost(struct sim *s)
{
	json_t *n = sim_call(s, "GET", "/api/v1/nodes/n1", NULL, 0);
	json_t *c = json_array_get(json_at(n, "status.conditions"), 0);
	bool lost = strcmp(json_str(c, "status", ""), "Unknown") == 0 &&
		    json_array_size(json_at(n, "spec.taints")) == 2;

	json_decref(n);
	return lost;
}

static bool pod_evicted(struct sim *s)
{
	return count(s, NS "pods?fieldSelector=metadata.name%3Dhasty") == 0;
}

static bool node_back(struct sim *s)
{
	json_t *n = sim_call(s, "GET", "/api/v1/nodes/n1", NULL, 0);
	bool back = json_array_size(json_at(n, "spec.taints")) == 0;

	json_decref(n);
	return back;
}

#define BEAT                                                                                       \
	"{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":"    \
	"\"%s\"},\"spec\":{\"renewTime\":\"%s\",\"holderIdentity\":\"%s\","                        \
	"\"leaseDurationSeconds\""                                                                 \
	":40}}"
#define LEASES "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"

/* Two nodes live for ever, as far as their leases say, the third never reports. */
static void test_node_lost(void **state)
{
	static const char *const alive[] = {"n2", "n3"};
	struct sim *s = *state;
	char body[400];

	sim_do(s, "POST", "/api/v1/nodes", NODE("n1"));
	sim_do(s, "POST", "/api/v1/nodes", NODE("n2"));
	sim_do(s, "POST", "/api/v1/nodes", NODE("n3"));
	for (size_t i = 0; i < ARRAY_LEN(alive); i++) {
		(void)snprintf(body, sizeof(body), BEAT, alive[i], "2099-01-01T00:00:00.000000Z",
			alive[i]);
		sim_do(s, "POST", LEASES, body);
	}
	for (int i = 0; i < 2; i++) {
		(void)snprintf(body, sizeof(body),
			"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\"},"
			"\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],"
			"\"tolerations\":"
			"[{\"key\":\"node.kubernetes.io/unreachable\",\"operator\":\"Exists\","
			"\"effect\":\"NoExecute\",\"tolerationSeconds\":%d}]}}",
			i ? "patient" : "hasty", i ? 1000 : 1);
		json_t *j = NULL;
		do { /* until the account "default" is there */
			json_decref(j);
			(void)loop_poll(s->loop, 5);
			j = sim_call(s, "GET", NS "serviceaccounts", NULL, 0);
		} while (json_array_size(json_object_get(j, "items")) == 0);
		json_decref(j);
		sim_do(s, "POST", NS "pods", body);
	}
	sim_wait(s, node_lost, "n1 unreachable and tainted");
	sim_wait(s, pod_evicted, "the hasty pod is evicted");
	assert_int_equal(count(s, NS "pods?fieldSelector=metadata.name%3Dpatient"), 1);
	(void)snprintf(body, sizeof(body), BEAT, "n1", "2099-01-01T00:00:00.000000Z", "n1");
	sim_do(s, "POST", LEASES, body);
	sim_do(s, "PATCH", "/api/v1/nodes/n1/status",
		"{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
	sim_wait(s, node_back, "n1 without taints");
}

int main(void)
{
#define T(f, u) cmocka_unit_test_setup_teardown(f, u, down)
	const struct CMUnitTest tests[] = {
		T(test_deployment, up),
		T(test_deployment_conflicts, up_conflicts),
		T(test_self_healing, up),
		T(test_namespace, up),
		T(test_node_ipam, up_conflicts),
		T(test_foreground_and_orphan, up),
		T(test_node_lost, up_short_grace),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

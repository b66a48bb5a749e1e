/* SPDX-License-Identifier: Apache-2.0
 * Validation: one wrong thing at a time in otherwise valid objects, and the cause it must give. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include "api/rules.h"
#include "xebec/base/timefmt.h"

struct change { /* a merge patch on the base object, and "REASON field" (space-separated pairs) */
	const char *patch, *causes;
};

static json_t *parse(const char *text)
{
	json_t *j = NULL;
	if (json_parse(str_of(text), &j, NULL) < 0)
		fail_msg("bad test text %s", text);
	return j;
}

/* "Invalid a.b;Required c" of what was found. */
static void causes_text(const struct causes *c, struct buf *out)
{
	for (size_t i = 0; i < c->n; i++) {
		const char *r = c->v[i].reason;
		buf_addf(out, "%s%s %s", i ? ";" : "",
			strncmp(r, "FieldValue", 10) == 0 ? r + 10 : r, c->v[i].field);
		assert_true(c->v[i].message && *c->v[i].message);
	}
}

static json_t *decode(const struct kind *k, const json_t *tree)
{
	AUTO_BUF struct buf b = {0};
	struct decode_opts o = {.media = MEDIA_JSON, .fields = FIELDS_STRICT};
	struct err e = {0};
	json_t *out = NULL;
	json_write(tree, &b);
	if (api_decode(k, buf_str(&b), &o, &out, &e) < 0)
		fail_msg("%s: %s", b.p, e.msg);
	api_default(k, out);
	return out;
}

static void check(const struct kind *k, const json_t *obj, const json_t *old, const char *sub,
	const char *label, const char *want)
{
	AUTO_ARENA struct arena a = {0};
	AUTO_BUF struct buf got = {0};
	struct causes c = {.arena = &a};
	int r = api_validate(k, obj, old, sub, &c);
	causes_text(&c, &got);
	if (strcmp(got.p ? got.p : "", want) == 0 && (r == 0) == !*want)
		return;
	for (size_t i = 0; i < c.n; i++)
		print_message("  %s: %s\n", c.v[i].field, c.v[i].message);
	fail_msg("%s %s:\n got  %s\n want %s", k->kind, label, got.p ? got.p : "", want);
}

/* Each change alone on a create. */
static void creates(const char *group, const char *version, const char *kind, const char *base,
	const struct change *rows, size_t n)
{
	const struct kind *k = kind_by_kind(str_of(group), str_of(version), str_of(kind));
	AUTO_JSON json_t *tree = parse(base), *ok = NULL;
	assert_non_null(k);
	ok = decode(k, tree);
	check(k, ok, NULL, "", "base", "");
	for (size_t i = 0; i < n; i++) {
		AUTO_JSON json_t *p = parse(rows[i].patch), *changed = NULL, *obj = NULL;
		assert_int_equal(patch_merge(tree, p, &changed, NULL), 0);
		obj = decode(k, changed);
		check(k, obj, NULL, "", rows[i].patch, rows[i].causes);
	}
}

/* Each change alone as an update of the base object. */
static void updates(const char *group, const char *version, const char *kind, const char *base,
	const struct change *rows, size_t n)
{
	const struct kind *k = kind_by_kind(str_of(group), str_of(version), str_of(kind));
	AUTO_JSON json_t *tree = parse(base), *old = NULL;
	assert_non_null(k);
	old = decode(k, tree);
	api_prepare_create(k, old, 1700000000LL * NS_PER_SEC);
	check(k, old, old, "", "unchanged", "");
	for (size_t i = 0; i < n; i++) {
		AUTO_JSON json_t *p = parse(rows[i].patch), *changed = NULL, *obj = NULL;
		assert_int_equal(patch_merge(old, p, &changed, NULL), 0);
		obj = decode(k, changed);
		api_prepare_update(k, obj, old, "");
		check(k, obj, old, "", rows[i].patch, rows[i].causes);
	}
}

#define META "\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"}"
#define CT   "{\"name\":\"c\",\"image\":\"i:1\"}"

static const char pod[] =
	"{" META ",\"spec\":{\"containers\":[" CT "],\"volumes\":[{\"name\":\"v\"}]}}";

static const struct change pod_creates[] = {
	{"{\"metadata\":{\"name\":\"a..b\"}}", "Invalid metadata.name"},
	{"{\"metadata\":{\"name\":null,\"generateName\":\"ok-\"}}", "Required metadata.name"},
	{"{\"metadata\":{\"namespace\":null}}", "Required metadata.namespace"},
	{"{\"metadata\":{\"labels\":{\"a/b/c\":\"x\"}}}", "Invalid metadata.labels"},
	{"{\"metadata\":{\"annotations\":{\"-\":\"x\"}}}", "Invalid metadata.annotations"},
	{"{\"metadata\":{\"finalizers\":[\"x\"]}}", "Invalid metadata.finalizers[0]"},
	{"{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"name\":"
	 "\"p\","
	 "\"uid\":\"\"}]}}",
		"Invalid metadata.ownerReferences[0].uid"},
	{"{\"spec\":{\"containers\":[]}}", "Required spec.containers"},
	{"{\"spec\":{\"containers\":[{\"name\":\"C\",\"image\":\"i\"}]}}",
		"Invalid spec.containers[0].name"},
	{"{\"spec\":{\"containers\":[" CT "," CT "]}}", "Duplicate spec.containers[1].name"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\" i\"}]}}",
		"Invalid spec.containers[0].image"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"imagePullPolicy\":\"X\"}]}}",
		"NotSupported spec.containers[0].imagePullPolicy"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"ports\":[{\"containerPort\":"
	 "70000}]}]}}",
		"Invalid spec.containers[0].ports[0].containerPort"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"ports\":[{\"containerPort\":"
	 "1,"
	 "\"name\":\"a\"},{\"containerPort\":2,\"name\":\"a\"}]}]}}",
		"Duplicate spec.containers[0].ports[1].name"},
	{"{\"spec\":{\"hostNetwork\":true,\"containers\":[{\"name\":\"c\",\"image\":\"i\","
	 "\"ports\":[{"
	 "\"containerPort\":1,\"hostPort\":2}]}]}}",
		"Invalid spec.containers[0].ports[0].containerPort"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"volumeMounts\":[{\"name\":"
	 "\"nope\",\"mountPath\":\"/x\"}]}]}}",
		"NotFound spec.containers[0].volumeMounts[0].name"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"volumeMounts\":[{\"name\":"
	 "\"v\","
	 "\"mountPath\":\"/x\",\"subPath\":\"../y\"}]}]}}",
		"Invalid spec.containers[0].volumeMounts[0].subPath"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"requests\":{"
	 "\"cpu\":\"2\"},\"limits\":{\"cpu\":\"1\"}}}]}}",
		"Invalid spec.containers[0].resources.requests[cpu]"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"limits\":{"
	 "\"foo\":\"1\"}}}]}}",
		"Invalid spec.containers[0].resources.limits[foo];"
		"Invalid spec.containers[0].resources.requests[foo]"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[{\"name\":\"A\","
	 "\"value\":\"1\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.name\"}}}]}]}}",
		"Invalid spec.containers[0].env[0].valueFrom"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[{\"name\":\"A\","
	 "\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"spec.foo\"}}}]}]}}",
		"NotSupported spec.containers[0].env[0].valueFrom.fieldRef.fieldPath"},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"livenessProbe\":{\"exec\":{"
	 "\"command\":[\"x\"]},\"successThreshold\":2}}]}}",
		"Invalid spec.containers[0].livenessProbe.successThreshold"},
	{"{\"spec\":{\"initContainers\":[{\"name\":\"i\",\"image\":\"i\",\"livenessProbe\":{"
	 "\"exec\":{"
	 "\"command\":[\"x\"]}}}]}}",
		"Forbidden spec.initContainers[0].livenessProbe"},
	{"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{},\"hostPath\":{\"path\":\"/"
	 "x\"}}]}}",
		"Forbidden spec.volumes[0].hostPath"},
	{"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/a/../b\"}}]}}",
		"Invalid spec.volumes[0].hostPath.path"},
	{"{\"spec\":{\"volumes\":[{\"name\":\"v\"},{\"name\":\"v\"}]}}",
		"Duplicate spec.volumes[1].name"},
	{"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"m\",\"defaultMode\":"
	 "1000}}]}}",
		"Invalid spec.volumes[0].configMap.defaultMode"},
	{"{\"spec\":{\"restartPolicy\":\"Sometimes\"}}", "NotSupported spec.restartPolicy"},
	{"{\"spec\":{\"dnsPolicy\":\"None\"}}", "Required spec.dnsConfig.nameservers"},
	{"{\"spec\":{\"activeDeadlineSeconds\":0}}", "Invalid spec.activeDeadlineSeconds"},
	{"{\"spec\":{\"nodeSelector\":{\"a\":\"b c\"}}}", "Invalid spec.nodeSelector"},
	{"{\"spec\":{\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\",\"value\":\"v\"}]}}",
		"Invalid spec.tolerations[0].operator"},
	{"{\"spec\":{\"tolerations\":[{\"key\":\"k\",\"effect\":\"Nope\"}]}}",
		"NotSupported spec.tolerations[0].effect"},
	{"{\"spec\":{\"hostAliases\":[{\"ip\":\"1.2.3\"}]}}", "Invalid spec.hostAliases[0].ip"},
	{"{\"spec\":{\"affinity\":{\"nodeAffinity\":{"
	 "\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[]}}}}}",
		"Required spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
		".nodeSelectorTerms"},
	{"{\"spec\":{\"topologySpreadConstraints\":[{\"maxSkew\":0,\"topologyKey\":\"z\","
	 "\"whenUnsatisfiable\":\"DoNotSchedule\"}]}}",
		"Invalid spec.topologySpreadConstraints[0].maxSkew"},
	{"{\"spec\":{\"securityContext\":{\"runAsUser\":-1}}}",
		"Invalid spec.securityContext.runAsUser"},
	{"{\"spec\":{\"serviceAccountName\":\"A\"}}", "Invalid spec.serviceAccountName"},
};

static const struct change pod_updates[] = {
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i:2\"}]}}", ""},
	{"{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\",\"args\":[\"x\"]}]}}",
		"Forbidden spec"},
	{"{\"spec\":{\"containers\":[" CT ",{\"name\":\"d\",\"image\":\"i\"}]}}",
		"Forbidden spec.containers"},
	{"{\"spec\":{\"activeDeadlineSeconds\":5}}", ""},
	{"{\"spec\":{\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\"}]}}", ""},
	{"{\"spec\":{\"nodeName\":\"n\"}}", "Forbidden spec"},
	{"{\"spec\":{\"terminationGracePeriodSeconds\":1}}", "Forbidden spec"},
	{"{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", ""},
};

static void pods(void **state)
{
	(void)state;
	creates("", "v1", "Pod", pod, pod_creates, ARRAY_LEN(pod_creates));
	updates("", "v1", "Pod", pod, pod_updates, ARRAY_LEN(pod_updates));
}

static void services(void **state)
{
	static const char base[] = "{" META ",\"spec\":{\"ports\":[{\"port\":80}]}}";
	static const struct change rows[] = {
		{"{\"spec\":{\"ports\":[{\"port\":0}]}}", "Invalid spec.ports[0].port"},
		{"{\"spec\":{\"ports\":[{\"port\":1},{\"port\":2}]}}",
			"Required spec.ports[0].name;Required spec.ports[1].name"},
		{"{\"spec\":{\"ports\":[{\"port\":1,\"targetPort\":\"Bad_Name\"}]}}",
			"Invalid spec.ports[0].targetPort"},
		{"{\"spec\":{\"ports\":[{\"port\":1,\"nodePort\":30000}]}}",
			"Forbidden spec.ports[0].nodePort"},
		{"{\"spec\":{\"type\":\"ExternalName\",\"ports\":null}}",
			"Required spec.externalName"},
		{"{\"spec\":{\"type\":\"NodePort\",\"clusterIP\":\"None\"}}",
			"Invalid spec.clusterIPs[0]"},
		{"{\"spec\":{\"selector\":{\"a\":\"b c\"}}}", "Invalid spec.selector"},
		{"{\"spec\":{\"externalIPs\":[\"x\"]}}", "Invalid spec.externalIPs[0]"},
		{"{\"spec\":{\"externalTrafficPolicy\":\"Local\"}}",
			"Invalid spec.externalTrafficPolicy"},
		{"{\"spec\":{\"type\":\"NodePort\",\"externalTrafficPolicy\":\"X\"}}",
			"NotSupported spec.externalTrafficPolicy"},
		{"{\"spec\":{\"internalTrafficPolicy\":\"X\"}}",
			"NotSupported spec.internalTrafficPolicy"},
		{"{\"spec\":{\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{"
		 "\"clientIP\":{"
		 "\"timeoutSeconds\":0}}}}",
			"Invalid spec.sessionAffinityConfig.clientIP.timeoutSeconds"},
		{"{\"spec\":{\"loadBalancerSourceRanges\":[\"10.0.0.0/8\"]}}",
			"Forbidden spec.loadBalancerSourceRanges"},
		{"{\"spec\":{\"ipFamilies\":[\"IPv4\",\"IPv4\"]}}", "Duplicate spec.ipFamilies[1]"},
		{"{\"spec\":{\"type\":\"LoadBalancer\",\"loadBalancerSourceRanges\":[\"10.0.0.0/"
		 "33\"]}}",
			"Invalid spec.loadBalancerSourceRanges[0]"},
	};
	(void)state;
	creates("", "v1", "Service", base, rows, ARRAY_LEN(rows));
}

#define DEPLOY                                                                                     \
	"{" META ",\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{"          \
	"\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[" CT "]}}}}"

static void workloads(void **state)
{
	static const struct change rows[] = {
		{"{\"spec\":{\"selector\":null}}", "Required spec.selector"},
		{"{\"spec\":{\"selector\":{\"matchLabels\":null}}}", "Invalid spec.selector"},
		{"{\"spec\":{\"selector\":{\"matchExpressions\":[{\"key\":\"a\",\"operator\":"
		 "\"In\"}]}}}",
			"Required spec.selector.matchExpressions[0].values"},
		{"{\"spec\":{\"minReadySeconds\":-1}}", "Invalid spec.minReadySeconds"},
		{"{\"spec\":{\"strategy\":{\"type\":\"X\"}}}", "NotSupported spec.strategy"},
		{"{\"spec\":{\"strategy\":{\"type\":\"Recreate\",\"rollingUpdate\":{\"maxSurge\":1}"
		 "}}}",
			"Forbidden spec.strategy.rollingUpdate"},
		{"{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxSurge\":0,\"maxUnavailable\":0}}"
		 "}}",
			"Invalid spec.strategy.rollingUpdate.maxUnavailable"},
		{"{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxUnavailable\":\"200%\"}}}}",
			"Invalid spec.strategy.rollingUpdate.maxUnavailable"},
		{"{\"spec\":{\"strategy\":{\"rollingUpdate\":{\"maxSurge\":\"x\"}}}}",
			"Invalid spec.strategy.rollingUpdate.maxSurge"},
		{"{\"spec\":{\"progressDeadlineSeconds\":5,\"minReadySeconds\":6}}",
			"Invalid spec.progressDeadlineSeconds"},
		{"{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}}}",
			"Required spec.template.spec.containers[0].image"},
	};
	static const struct change changes[] = {
		{"{\"spec\":{\"replicas\":5}}", ""},
		{"{\"spec\":{\"selector\":{\"matchLabels\":{\"q\":\"r\"}},\"template\":{"
		 "\"metadata\":{"
		 "\"labels\":{\"q\":\"r\"}}}}}",
			"Invalid spec.selector"},
	};
	(void)state;
	creates("apps", "v1", "Deployment", DEPLOY, rows, ARRAY_LEN(rows));
	updates("apps", "v1", "Deployment", DEPLOY, changes, ARRAY_LEN(changes));
	updates("apps", "v1", "ReplicaSet", DEPLOY, changes, ARRAY_LEN(changes));
	updates("apps", "v1", "DaemonSet", DEPLOY, NULL, 0);
}

static void config(void **state)
{
	static const struct change maps[] = {
		{"{\"data\":{\"a b\":\"x\"}}", "Invalid data[a b]"},
		{"{\"data\":{\"..\":\"x\"}}", "Invalid data[..]"},
		{"{\"binaryData\":{\"k\":\"YQ==\"}}", "Invalid data[k]"},
	};
	static const struct change frozen[] = {
		{"{\"data\":{\"k\":\"z\"}}", "Forbidden data"},
		{"{\"immutable\":false}", "Forbidden immutable"},
		{"{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", ""},
	};
	static const struct change secrets[] = {
		{"{\"type\":\"kubernetes.io/tls\"}",
			"Required data[tls.crt];Required data[tls.key]"},
		{"{\"type\":\"kubernetes.io/dockerconfigjson\"}",
			"Required data[.dockerconfigjson]"},
	};
	(void)state;
	creates("", "v1", "ConfigMap", "{" META ",\"data\":{\"k\":\"v\"}}", maps, ARRAY_LEN(maps));
	updates("", "v1", "ConfigMap", "{" META ",\"immutable\":true,\"data\":{\"k\":\"v\"}}",
		frozen, ARRAY_LEN(frozen));
	creates("", "v1", "Secret", "{" META ",\"data\":{\"k\":\"YQ==\"}}", secrets,
		ARRAY_LEN(secrets));
}

static void cluster_objects(void **state)
{
	static const struct change nodes[] = {
		{"{\"spec\":{\"taints\":[{\"key\":\"k\",\"effect\":\"X\"}]}}",
			"NotSupported spec.taints[0].effect"},
		{"{\"spec\":{\"podCIDRs\":[\"10.0.0.0\"]}}", "Invalid spec.podCIDRs[0]"},
		{"{\"metadata\":{\"namespace\":\"d\"}}", "Forbidden metadata.namespace"},
	};
	static const struct change spaces[] = {
		{"{\"metadata\":{\"name\":\"a.b\"}}", "Invalid metadata.name"},
	};
	static const struct change slices[] = {
		{"{\"addressType\":\"IPv6\"}", "Invalid endpoints[0].addresses[0]"},
		{"{\"endpoints\":[{\"addresses\":[]}]}", "Required endpoints[0].addresses"},
		{"{\"ports\":[{\"port\":1},{\"port\":2}]}", "Duplicate ports[1].name"},
	};
	static const struct change leases[] = {
		{"{\"spec\":{\"leaseDurationSeconds\":0}}", "Invalid spec.leaseDurationSeconds"},
	};
	static const struct change roles[] = {
		{"{\"metadata\":{\"name\":\"a/b\"}}", "Invalid metadata.name"},
		{"{\"metadata\":{\"name\":\"system:x\"}}", ""},
	};
	(void)state;
	creates("", "v1", "Node", "{\"metadata\":{\"name\":\"n\"}}", nodes, ARRAY_LEN(nodes));
	creates("", "v1", "Namespace", "{\"metadata\":{\"name\":\"n\"}}", spaces,
		ARRAY_LEN(spaces));
	creates("discovery.k8s.io", "v1", "EndpointSlice",
		"{" META ",\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.0.0.1\"]}],"
		"\"ports\":[{\"port\":80}]}",
		slices, ARRAY_LEN(slices));
	creates("coordination.k8s.io", "v1", "Lease",
		"{" META ",\"spec\":{\"leaseDurationSeconds\":5}}", leases, ARRAY_LEN(leases));
	creates("rbac.authorization.k8s.io", "v1", "ClusterRole", "{\"metadata\":{\"name\":\"r\"}}",
		roles, ARRAY_LEN(roles));
}

static void addresses(void **state)
{
	static const struct {
		const char *ip;
		bool ok;
	} rows[] = {{"1.2.3.4", true}, {"255.255.255.255", true}, {"256.1.1.1", false},
		{"1.2.3", false}, {"01.2.3.4", false}, {"1.2.3.4.5", false}, {"", false},
		{"::", true}, {"::1", true}, {"1::", true}, {"2001:db8::ffff", true},
		{"1:2:3:4:5:6:7:8", true}, {"1:2:3:4:5:6:7", false}, {"1:2:3:4:5:6:7:8:9", false},
		{"1::2::3", false}, {"::ffff:1.2.3.4", true}, {"::1.2.3", false}, {":1", false},
		{"1:", false}, {"12345::", false}, {"g::", false}, {"1:2:3:4:5:6:7::", true},
		{"1:2:3:4:5:6:1.2.3.4", true}, {"1:2:3:4:5:6:7:1.2.3.4", false},
		{"fe80::1%eth0", false}};
	const char *msg[MSG_MAX];
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if ((fmt_ip(str_of(rows[i].ip), msg) == 0) != rows[i].ok)
			fail_msg("%s", rows[i].ip);
	assert_int_equal(fmt_cidr(STR("10.0.0.0/8"), msg), 0);
	assert_int_equal(fmt_cidr(STR("::/0"), msg), 0);
	assert_int_equal(fmt_cidr(STR("10.0.0.0/33"), msg), 1);
	assert_int_equal(fmt_cidr(STR("10.0.0.0/08"), msg), 1);
	assert_int_equal(fmt_cidr(STR("10.0.0.0/"), msg), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods),
		cmocka_unit_test(services),
		cmocka_unit_test(workloads),
		cmocka_unit_test(config),
		cmocka_unit_test(cluster_objects),
		cmocka_unit_test(addresses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

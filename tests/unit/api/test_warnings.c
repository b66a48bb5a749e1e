/* SPDX-License-Identifier: Apache-2.0
 * Advice on valid objects: which, and where. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "api/rules.h"

#define POD(x) "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'i'}]," x "}}"
#define CTR(x) "{'metadata':{'name':'p'},'spec':{'containers':[{'name':'c','image':'i'," x "}]}}"

static const struct {
	const char *group, *version, *kind, *obj;
	const char *want; /* beginnings of the warnings, ';' between; JSON with ' for " */
} rows[] = {
	{"", "v1", "Pod", POD("'hostname':'x'"), ""},
	{"", "v1", "Pod", "{'metadata':{'name':'a.b'}}",
		"metadata.name: this is used in the Pod's"},
	{"", "v1", "Pod", POD("'nodeSelector':{'beta.kubernetes.io/os':'linux'}"),
		"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14"},
	{"", "v1", "Pod", POD("'hostAliases':[{'ip':'1.1.1.1'},{'ip':'1.1.1.1'}]"),
		"spec.hostAliases[1].ip: duplicate ip"},
	{"", "v1", "Pod", POD("'imagePullSecrets':[{'name':'a'},{'name':'a'},{}]"),
		"spec.imagePullSecrets[1].name: duplicate name;"
		"spec.imagePullSecrets[2].name: invalid empty name"},
	{"", "v1", "Pod", POD("'volumes':[{'name':'v','gitRepo':{'repository':'r'}}]"),
		"spec.volumes[0].gitRepo: deprecated in v1.11"},
	{"", "v1", "Pod", POD("'terminationGracePeriodSeconds':-1"),
		"spec.terminationGracePeriodSeconds: must be >= 0"},
	{"", "v1", "Pod", POD("'topologySpreadConstraints':[{'maxSkew':1,'topologyKey':'k'}]"),
		"spec.topologySpreadConstraints[0].labelSelector: a null"},
	{"", "v1", "Pod",
		CTR("'env':[{'name':'A','value':'1'},{'name':'A','value':'2'},"
		    "{'name':'A','value':'$(A):3'}]"),
		"spec.containers[0].env[1]: hides previous definition of"},
	{"", "v1", "Pod",
		CTR("'ports':[{'containerPort':1},{'containerPort':2},{'containerPort':1}]"),
		"spec.containers[0].ports[2]: duplicate port definition with "
		"spec.containers[0].ports[0]"},
	{"", "v1", "Pod", CTR("'resources':{'requests':{'memory':'100m'}}"),
		"spec.containers[0].resources.requests[memory]: fractional byte value"},
	{"", "v1", "Pod",
		"{'metadata':{'name':'p','annotations':{'seccomp.security.alpha.kubernetes.io/pod':"
		"'x','container.apparmor.security.beta.kubernetes.io/"
		"c':'y'}},'spec':{'containers':["
		"{'name':'c'}]}}",
		"metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional;"
		"metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: "
		"deprecated"},
	{"apps", "v1", "Deployment",
		"{'metadata':{'name':'a.b'},'spec':{'template':{'spec':{'nodeSelector':{"
		"'beta.kubernetes.io/arch':'x'}}}}}",
		"metadata.name: this is used in Pod names;"
		"spec.template.spec.nodeSelector[beta.kubernetes.io/arch]: deprecated"},
	{"batch", "v1", "CronJob",
		"{'metadata':{'name':'a'},'spec':{'jobTemplate':{'spec':{'template':{'spec':{"
		"'imagePullSecrets':[{}]}}}}}}",
		"spec.jobTemplate.spec.template.spec.imagePullSecrets[0].name: invalid"},
	{"apps", "v1", "StatefulSet",
		"{'metadata':{'name':'a'},'spec':{'revisionHistoryLimit':-1}}",
		"spec.revisionHistoryLimit: a negative value"},
	{"", "v1", "Service", "{'spec':{'type':'ClusterIP','externalName':'x'}}",
		"spec.externalName is ignored"},
	{"", "v1", "Service", "{'spec':{'clusterIP':'None','sessionAffinity':'ClientIP'}}",
		"spec.SessionAffinity is ignored"},
	{"", "v1", "Service", "{'spec':{'clusterIPs':['2001:DB8::0:1'],'externalIPs':['1.2.3.4']}}",
		"spec.clusterIPs[0]: IPv6 address"},
	{"", "v1", "Service",
		"{'spec':{'loadBalancerSourceRanges':['10.0.0.1/8','10.0.0.0/8','2001:db8:0::/"
		"48']}}",
		"spec.loadBalancerSourceRanges[0]: CIDR value \"10.0.0.1/8\" is ambiguous in this "
		"context (should be \"10.0.0.0/8\" or \"10.0.0.1\"?);"
		"spec.loadBalancerSourceRanges[2]: IPv6 CIDR"},
	{"networking.k8s.io", "v1", "NetworkPolicy",
		"{'spec':{'egress':[{'to':[{'ipBlock':{'cidr':'10.0.0.1/8'}}]}]}}",
		"spec.egress[0].to[0].ipBlock.cidr: CIDR value"},
	{"", "v1", "PersistentVolume",
		"{'spec':{'persistentVolumeReclaimPolicy':'Recycle','capacity':{'storage':'1m'},"
		"'rbd':{}}}",
		"spec.persistentVolumeReclaimPolicy: The Recycle;spec.capacity.storage: fractional;"
		"spec.rbd: deprecated"},
	{"", "v1", "PersistentVolumeClaim",
		"{'metadata':{'annotations':{'volume.beta.kubernetes.io/storage-class':'x'}}}",
		"metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated"},
	{"storage.k8s.io", "v1", "StorageClass",
		"{'allowedTopologies':[{'matchLabelExpressions':[{'key':"
		"'failure-domain.beta.kubernetes.io/zone'}]}]}",
		"allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17"},
	{"discovery.k8s.io", "v1", "EndpointSlice", "{'addressType':'FQDN'}", "addressType: FQDN"},
};

static void quoted(const char *text, struct buf *out)
{
	for (const char *s = text; *s; s++)
		buf_addc(out, *s == '\'' ? '"' : *s);
}

static void advice(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct kind *k = kind_by_kind(
			str_of(rows[i].group), str_of(rows[i].version), str_of(rows[i].kind));
		AUTO_ARENA struct arena a = {0};
		AUTO_BUF struct buf text = {0};
		AUTO_JSON json_t *obj = NULL;
		struct causes w = {.arena = &a};
		struct str want = str_of(rows[i].want);
		size_t n = 0;
		quoted(rows[i].obj, &text);
		assert_int_equal(json_parse(buf_str(&text), &obj, NULL), 0);
		api_warnings(k, obj, &w);
		for (; want.n; n++) {
			struct str one = str_cut(&want, ';');
			if (n >= w.n || strncmp(w.v[n].message, one.p, one.n) != 0)
				fail_msg("%s %s: %zu: %s", rows[i].kind, rows[i].obj, n,
					n < w.n ? w.v[n].message : "nothing");
		}
		if (w.n != n)
			fail_msg("%s %s: also %s", rows[i].kind, rows[i].obj, w.v[n].message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(advice)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

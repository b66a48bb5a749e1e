/* SPDX-License-Identifier: Apache-2.0
 * Advice on objects that are valid but surely not meant so; it goes out as Warning headers. */
#include <arpa/inet.h>
#include "api/warnings.h"

static const struct fpath spec_path = {.name = "spec"}, meta_path = {.name = "metadata"};

static const json_t *annotation(const json_t *obj, const char *key)
{
	return jget(jget(jget(obj, "metadata"), "annotations"), key);
}

static void deprecated(struct causes *w, const json_t *obj, const char *key, const char *text)
{
	if (annotation(obj, key))
		warn_at(w, P_KEY(P_NAME(&meta_path, "annotations"), key), "%s", text);
}

/* --- addresses: valid, but spelt in more than one way --- */

static void address(struct causes *w, const struct fpath *p, const json_t *v)
{
	const char *s = json_string_value(v);
	unsigned char b[16];
	char text[INET6_ADDRSTRLEN];
	bool v6;
	if (s && fmt_ip_parse(str_of(s), b, &v6) && v6 &&
		inet_ntop(AF_INET6, b, text, sizeof(text)) && strcmp(text, s) != 0)
		warn_at(w, p, "IPv6 address \"%s\" should be in RFC 5952 canonical format (\"%s\")",
			s, text);
}

static void range(struct causes *w, const struct fpath *p, const json_t *v)
{
	const char *s = json_string_value(v), *slash = s ? strchr(s, '/') : NULL;
	unsigned char b[16] = {0};
	char text[INET6_ADDRSTRLEN];
	bool v6, host = false;
	int64_t bits;
	if (!slash || str_i64(str_of(slash + 1), &bits) < 0 ||
		!fmt_ip_parse((struct str){s, (size_t)(slash - s)}, b, &v6))
		return;
	for (size_t i = (size_t)bits; i < (v6 ? 128u : 32u); i++) {
		host |= b[i / 8] >> (7 - i % 8) & 1;
		b[i / 8] &= (unsigned char)~(1u << (7 - i % 8));
	}
	if (!inet_ntop(v6 ? AF_INET6 : AF_INET, b, text, sizeof(text)))
		return;
	if (host)
		warn_at(w, p,
			"CIDR value \"%s\" is ambiguous in this context (should be \"%s%s\" or "
			"\"%.*s\"?)",
			s, text, slash, (int)(slash - s), s);
	else if (v6 && strncmp(text, s, (size_t)(slash - s)) != 0)
		warn_at(w, p,
			"IPv6 CIDR value \"%s\" should be in RFC 5952 canonical format "
			"(\"%s%s\")",
			s, text, slash);
}

static void each(struct causes *w, const struct fpath *p, const json_t *list,
	void (*one)(struct causes *w, const struct fpath *p, const json_t *v))
{
	for (size_t i = 0; i < json_array_size(list); i++)
		one(w, P_INDEX(p, i), json_array_get(list, i));
}

static void service(const json_t *obj, struct causes *w)
{
	const json_t *spec = jget(obj, "spec");
	bool external = strcmp(jstr(spec, "type"), "ExternalName") == 0;
	bool headless = strcmp(jstr(spec, "clusterIP"), "None") == 0;
	if (annotation(obj, "service.kubernetes.io/topology-aware-hints"))
		cause_add(w, "", "",
			"annotation service.kubernetes.io/topology-aware-hints is deprecated, "
			"please use service.kubernetes.io/topology-mode instead");
	if (!headless)
		each(w, P_NAME(&spec_path, "clusterIPs"), jget(spec, "clusterIPs"), address);
	each(w, P_NAME(&spec_path, "externalIPs"), jget(spec, "externalIPs"), address);
	if (jhas(spec, "loadBalancerIP"))
		address(w, P_NAME(&spec_path, "loadBalancerIP"), jget(spec, "loadBalancerIP"));
	each(w, P_NAME(&spec_path, "loadBalancerSourceRanges"),
		jget(spec, "loadBalancerSourceRanges"), range);
	if (external && json_array_size(jget(spec, "externalIPs")))
		cause_add(w, "", "",
			"spec.externalIPs is ignored when spec.type is \"ExternalName\"");
	if (!external && jhas(spec, "externalName"))
		cause_add(w, "", "",
			"spec.externalName is ignored when spec.type is not \"ExternalName\"");
	if (headless && strcmp(jstr(spec, "sessionAffinity"), "ClientIP") == 0)
		cause_add(w, "", "", "spec.SessionAffinity is ignored for headless services");
}

static void network_policy(const json_t *obj, struct causes *w)
{
	static const struct {
		const char *side, *peers;
	} sides[] = {{"ingress", "from"}, {"egress", "to"}};
	for (size_t s = 0; s < ARRAY_LEN(sides); s++) {
		const json_t *rules = jget(jget(obj, "spec"), sides[s].side);
		for (size_t i = 0; i < json_array_size(rules); i++) {
			const json_t *peers = jget(json_array_get(rules, i), sides[s].peers);
			const struct fpath *pp = P_NAME(
				P_INDEX(P_NAME(&spec_path, sides[s].side), i), sides[s].peers);
			for (size_t j = 0; j < json_array_size(peers); j++) {
				const json_t *b = jget(json_array_get(peers, j), "ipBlock");
				const struct fpath *bp = P_NAME(P_INDEX(pp, j), "ipBlock");
				range(w, P_NAME(bp, "cidr"), jget(b, "cidr"));
				each(w, P_NAME(bp, "except"), jget(b, "except"), range);
			}
		}
	}
}

static void ingress(const json_t *obj, struct causes *w)
{
	if (annotation(obj, "kubernetes.io/ingress.class"))
		cause_add(w, "", "",
			"annotation \"kubernetes.io/ingress.class\" is deprecated, please use "
			"'spec.ingressClassName' instead");
}

static void service_account(const json_t *obj, struct causes *w)
{
	deprecated(w, obj, "kubernetes.io/enforce-mountable-secrets",
		"deprecated in v1.32+; prefer separate namespaces to isolate access to mounted "
		"secrets");
}

/* --- storage --- */

#define CLASS_ANNOTATION "volume.beta.kubernetes.io/storage-class"
#define CLASS_TEXT	 "deprecated since v1.8; use \"storageClassName\" attribute instead"

void warn_claim_spec(struct causes *w, const struct fpath *p, const json_t *spec)
{
	static const char *const sides[] = {"requests", "limits"};
	for (size_t i = 0; i < ARRAY_LEN(sides); i++)
		warn_fraction(w, P_KEY(P_NAME(P_NAME(p, "resources"), sides[i]), "storage"),
			jget(jget(jget(spec, "resources"), sides[i]), "storage"));
}

static void claim(const json_t *obj, struct causes *w)
{
	deprecated(w, obj, CLASS_ANNOTATION, CLASS_TEXT);
	warn_claim_spec(w, &spec_path, jget(obj, "spec"));
}

static void volume(const json_t *obj, struct causes *w)
{
	const json_t *spec = jget(obj, "spec");
	deprecated(w, obj, CLASS_ANNOTATION, CLASS_TEXT);
	deprecated(w, obj, "volume.beta.kubernetes.io/mount-options",
		"deprecated since v1.31; use \"mountOptions\" attribute instead");
	if (strcmp(jstr(spec, "persistentVolumeReclaimPolicy"), "Recycle") == 0)
		warn_at(w, P_NAME(&spec_path, "persistentVolumeReclaimPolicy"),
			"The Recycle reclaim policy is deprecated. Instead, the recommended "
			"approach is to use dynamic provisioning.");
	warn_fraction(w, P_NAME(P_NAME(&spec_path, "capacity"), "storage"),
		jget(jget(spec, "capacity"), "storage"));
	warn_volume_source(w, &spec_path, spec);
	warn_node_selector(w, P_NAME(P_NAME(&spec_path, "nodeAffinity"), "required"),
		jget(jget(spec, "nodeAffinity"), "required"));
}

static void storage_class(const json_t *obj, struct causes *w)
{
	const json_t *list = jget(obj, "allowedTopologies");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *x = jget(json_array_get(list, i), "matchLabelExpressions");
		const struct fpath *xp = P_NAME(
			P_INDEX(P_NAME(NULL, "allowedTopologies"), i), "matchLabelExpressions");
		for (size_t j = 0; j < json_array_size(x); j++)
			warn_node_label(w, P_NAME(P_INDEX(xp, j), "key"),
				jstr(json_array_get(x, j), "key"));
	}
}

static void runtime_class(const json_t *obj, struct causes *w)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)jget(jget(obj, "scheduling"), "nodeSelector"), key, v)
		warn_node_label(
			w, P_KEY(P_NAME(P_NAME(NULL, "scheduling"), "nodeSelector"), key), key);
}

static void node(const json_t *obj, struct causes *w)
{
	const json_t *spec = jget(obj, "spec");
	if (jget(spec, "configSource"))
		warn_at(w, P_NAME(&spec_path, "configSource"),
			"the feature is no longer supported");
	if (jhas(spec, "externalID"))
		warn_at(w, P_NAME(&spec_path, "externalID"),
			"this field is deprecated, and is unused by Kubernetes");
}

static void endpoint_slice(const json_t *obj, struct causes *w)
{
	const json_t *list = jget(obj, "endpoints");
	if (strcmp(jstr(obj, "addressType"), "FQDN") == 0)
		cause_add(w, "", "", "%s: FQDN endpoints are deprecated", "addressType");
	for (size_t i = 0; i < json_array_size(list); i++)
		each(w, P_NAME(P_INDEX(P_NAME(NULL, "endpoints"), i), "addresses"),
			jget(json_array_get(list, i), "addresses"), address);
}

/* --- pods, and what makes them --- */

/* The name becomes part of host names. */
static void host_name(const json_t *obj, const char *what, struct causes *w)
{
	const char *msg[MSG_MAX];
	const char *name = jstr(jget(obj, "metadata"), "name");
	AUTO_BUF struct buf b = {0};
	size_t n = fmt_dns1123_label(str_of(name), msg);
	for (size_t i = 0; i < n; i++)
		buf_addf(&b, "%s%s", i ? " " : "", msg[i]);
	if (n)
		cause_add(w, "", "",
			"metadata.name: this is used in %s, which can result in surprising "
			"behavior; a DNS label is recommended: [%s]",
			what, b.p);
}

static void pod(const json_t *obj, struct causes *w)
{
	host_name(obj, "the Pod's hostname", w);
	warn_pod(w, NULL, obj);
}

static void workload(const json_t *obj, struct causes *w)
{
	warn_pod(w, P_NAME(&spec_path, "template"), jget(jget(obj, "spec"), "template"));
}

static void named_workload(const json_t *obj, struct causes *w)
{
	host_name(obj, "Pod names and hostnames", w);
	workload(obj, w);
}

static void stateful_set(const json_t *obj, struct causes *w)
{
	const json_t *spec = jget(obj, "spec"), *claims = jget(spec, "volumeClaimTemplates");
	workload(obj, w);
	for (size_t i = 0; i < json_array_size(claims); i++)
		warn_claim_spec(w,
			P_NAME(P_INDEX(P_NAME(&spec_path, "volumeClaimTemplates"), i), "spec"),
			jget(json_array_get(claims, i), "spec"));
	if (json_integer_value(jget(spec, "revisionHistoryLimit")) < 0)
		warn_at(w, P_NAME(&spec_path, "revisionHistoryLimit"),
			"a negative value retains all historical revisions; a value >= 0 is "
			"recommended");
}

static void cron_job(const json_t *obj, struct causes *w)
{
	const struct fpath *p =
		P_NAME(P_NAME(P_NAME(&spec_path, "jobTemplate"), "spec"), "template");
	host_name(obj, "Pod names and hostnames", w);
	warn_pod(w, p, jget(jget(jget(jget(obj, "spec"), "jobTemplate"), "spec"), "template"));
}

static void pod_template(const json_t *obj, struct causes *w)
{
	warn_pod(w, P_NAME(NULL, "template"), jget(obj, "template"));
}

static const struct {
	const char *group, *kind;
	void (*advise)(const json_t *obj, struct causes *w);
} rows[] = {{"", "Service", service}, {"networking.k8s.io", "Ingress", ingress},
	{"networking.k8s.io", "NetworkPolicy", network_policy},
	{"", "ServiceAccount", service_account}, {"", "PersistentVolumeClaim", claim},
	{"", "PersistentVolume", volume}, {"storage.k8s.io", "StorageClass", storage_class},
	{"node.k8s.io", "RuntimeClass", runtime_class}, {"", "Node", node},
	{"discovery.k8s.io", "EndpointSlice", endpoint_slice}, {"", "Pod", pod},
	{"", "PodTemplate", pod_template}, {"", "ReplicationController", named_workload},
	{"apps", "Deployment", named_workload}, {"apps", "ReplicaSet", named_workload},
	{"apps", "StatefulSet", stateful_set}, {"apps", "DaemonSet", workload},
	{"batch", "Job", named_workload}, {"batch", "CronJob", cron_job}};

void api_warnings(const struct kind *k, const json_t *obj, struct causes *w)
{
	size_t before = w->n;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].kind, k->kind) == 0 && strcmp(rows[i].group, k->group) == 0)
			rows[i].advise(obj, w);
	/* a write that is tried again says it once */
	for (size_t i = before; i < w->n; i++)
		for (size_t j = 0; j < before; j++)
			if (strcmp(w->v[i].message, w->v[j].message) == 0) {
				w->n = before;
				return;
			}
}

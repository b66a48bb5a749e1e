/* SPDX-License-Identifier: Apache-2.0
 * Default rules of core/v1: pods, services and the small ones. */
#include "api/defaults.h"
#include "xebec/base/tls.h"

/* "latest" and no tag at all are pulled always; a digest names one image. */
static bool pull_always(const char *image)
{
	const char *slash = strrchr(image, '/'), *name = slash ? slash + 1 : image;
	const char *colon = strchr(name, ':');
	if (strchr(name, '@'))
		return false;
	return !colon || strcmp(colon, ":latest") == 0;
}

static void container(json_t *c)
{
	if (!dflt_get(c, "imagePullPolicy"))
		(void)json_object_set_new(c, "imagePullPolicy",
			json_string(pull_always(dflt_str(c, "image")) ? "Always" : "IfNotPresent"));
}

/* serviceAccount is the old name of serviceAccountName; both are written. */
static void pod_spec(json_t *s)
{
	json_t *name = dflt_get(s, "serviceAccountName"), *old = dflt_get(s, "serviceAccount");
	if (name)
		(void)json_object_set(s, "serviceAccount", name);
	else if (old)
		(void)json_object_set(s, "serviceAccountName", old);
}

static void requests_from_limits(json_t *c)
{
	json_t *res = json_object_get(c, "resources"), *limits = dflt_get(res, "limits"), *v;
	const char *key;
	if (!limits)
		return;
	dflt_set(res, "requests", json_object());
	json_object_foreach (limits, key, v)
		if (!json_object_get(json_object_get(res, "requests"), key))
			(void)json_object_set(json_object_get(res, "requests"), key, v);
}

static void host_ports(json_t *c)
{
	size_t i;
	json_t *p;
	json_array_foreach (json_object_get(c, "ports"), i, p)
		if (!dflt_get(p, "hostPort") && dflt_get(p, "containerPort"))
			(void)json_object_set(p, "hostPort", json_object_get(p, "containerPort"));
}

static void pod(json_t *o)
{
	static const char *const lists[] = {"containers", "initContainers"};
	json_t *s = json_object_get(o, "spec"), *c;
	dflt_set(s, "enableServiceLinks", json_true());
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		size_t i;
		json_array_foreach (json_object_get(s, lists[l]), i, c) {
			requests_from_limits(c);
			if (dflt_get(s, "hostNetwork"))
				host_ports(c);
		}
	}
}

static void volume(json_t *v)
{
	const char *key;
	json_t *source;
	json_object_foreach (v, key, source)
		if (strcmp(key, "name") != 0 && !json_is_null(source))
			return;
	(void)json_object_set_new(v, "emptyDir", json_object());
}

static void service_policies(json_t *s, const char *type)
{
	bool balanced = strcmp(type, "LoadBalancer") == 0;
	if (balanced || strcmp(type, "NodePort") == 0)
		dflt_set(s, "externalTrafficPolicy", json_string("Cluster"));
	if (strcmp(type, "ExternalName") != 0)
		dflt_set(s, "internalTrafficPolicy", json_string("Cluster"));
	if (balanced)
		dflt_set(s, "allocateLoadBalancerNodePorts", json_true());
}

static void balancer_ingress(json_t *s)
{
	if (dflt_get(s, "ip") && !dflt_get(s, "ipMode"))
		(void)json_object_set_new(s, "ipMode", json_string("VIP"));
}

static void service_spec(json_t *s)
{
	size_t i;
	json_t *p;
	service_policies(s, dflt_str(s, "type"));
	if (strcmp(dflt_str(s, "sessionAffinity"), "None") == 0)
		(void)json_object_del(s, "sessionAffinityConfig");
	if (strcmp(dflt_str(s, "sessionAffinity"), "ClientIP") == 0 &&
		!json_at(s, "sessionAffinityConfig.clientIP.timeoutSeconds"))
		(void)json_put(
			s, "sessionAffinityConfig.clientIP.timeoutSeconds", json_integer(10800));
	json_array_foreach (json_object_get(s, "ports"), i, p) {
		if (!dflt_get(p, "targetPort") && json_object_get(p, "port"))
			(void)json_object_set(p, "targetPort", json_object_get(p, "port"));
	}
}

static void namespace(json_t *o)
{
	json_t *meta = json_object_get(o, "metadata");
	const char *name = dflt_str(meta, "name");
	if (!*name)
		return;
	dflt_set(meta, "labels", json_object());
	(void)json_object_set_new(
		json_object_get(meta, "labels"), "kubernetes.io/metadata.name", json_string(name));
}

/* The member that older clients write decides: the list is made of it where the two differ. */
static void first_of(json_t *o, const char *one, const char *list, const char *member)
{
	json_t *v = dflt_get(o, one), *first = json_array_get(dflt_get(o, list), 0);
	if (first && member)
		first = json_object_get(first, member);
	if (v && !(first && json_equal(v, first)))
		(void)json_object_set_new(
			o, list, member ? json_pack("[{s:O}]", member, v) : json_pack("[O]", v));
	else if (first && !v)
		(void)json_object_set(o, one, first);
}

static void pod_status(json_t *s)
{
	first_of(s, "podIP", "podIPs", "ip");
}

static void node_spec(json_t *s)
{
	first_of(s, "podCIDR", "podCIDRs", NULL);
}

static void node_status(json_t *s)
{
	json_t *capacity = dflt_get(s, "capacity");
	if (capacity && !json_object_get(s, "allocatable"))
		(void)json_object_set_new(s, "allocatable", json_deep_copy(capacity));
}

/* stringData is written over data and not kept. */
static void secret(json_t *o)
{
	json_t *plain = json_object_get(o, "stringData"), *v;
	const char *key;
	if (json_object_size(plain))
		dflt_set(o, "data", json_object());
	json_object_foreach (plain, key, v) {
		AUTO_BUF struct buf b = {0};
		base64_encode(
			(struct str){.p = json_string_value(v), .n = json_string_length(v)}, &b);
		(void)json_object_set_new(
			json_object_get(o, "data"), key, json_stringn(b.p ? b.p : "", b.len));
	}
	(void)json_object_del(o, "stringData");
}

static void replication_controller(json_t *o)
{
	json_t *meta = json_object_get(o, "metadata"), *spec = json_object_get(o, "spec");
	json_t *labels = json_at(o, "spec.template.metadata.labels");
	if (!json_object_size(labels))
		return;
	if (!dflt_get(spec, "selector"))
		(void)json_object_set_new(spec, "selector", json_deep_copy(labels));
	if (!dflt_get(meta, "labels"))
		(void)json_object_set_new(meta, "labels", json_deep_copy(labels));
}

/* Copies the entries of one map that the other lacks. */
static void fill_map(json_t *o, const char *to, const char *from)
{
	json_t *src = dflt_get(o, from), *v;
	const char *key;
	if (!src)
		return;
	dflt_set(o, to, json_object());
	json_object_foreach (src, key, v)
		if (!json_object_get(json_object_get(o, to), key))
			(void)json_object_set(json_object_get(o, to), key, v);
}

static void limit_range_item(json_t *o)
{
	if (strcmp(dflt_str(o, "type"), "Container") != 0)
		return;
	fill_map(o, "default", "max");
	fill_map(o, "defaultRequest", "default");
	fill_map(o, "defaultRequest", "min");
}

const struct default_rule core_defaults[] = {
	{"core.v1.Pod", pod},
	{"core.v1.PodSpec", pod_spec},
	{"core.v1.Container", container},
	{"core.v1.EphemeralContainer", container},
	{"core.v1.Volume", volume},
	{"core.v1.LoadBalancerIngress", balancer_ingress},
	{"core.v1.ServiceSpec", service_spec},
	{"core.v1.Namespace", namespace},
	{"core.v1.PodStatus", pod_status},
	{"core.v1.NodeSpec", node_spec},
	{"core.v1.NodeStatus", node_status},
	{"core.v1.Secret", secret},
	{"core.v1.ReplicationController", replication_controller},
	{"core.v1.LimitRangeItem", limit_range_item},
	{0},
};

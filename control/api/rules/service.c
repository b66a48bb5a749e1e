/* SPDX-License-Identifier: Apache-2.0
 * Services: ports, addresses, traffic policies, and what a type may carry. Allocation (addresses,
 * node ports) is the API server's; these checks see the object after it. */
#include "api/rules/cells.h"
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort", NULL};
static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};

static bool type_is(const json_t *spec, const char *type)
{
	return strcmp(jstr(spec, "type"), type) == 0;
}

static bool external(const json_t *spec)
{
	return type_is(spec, "LoadBalancer") || type_is(spec, "NodePort") ||
	       json_array_size(jget(spec, "externalIPs")) > 0;
}

static const json_t *first_ip(const json_t *spec)
{
	const json_t *list = jget(spec, "clusterIPs");
	return json_array_size(list)	 ? json_array_get(list, 0)
	       : jhas(spec, "clusterIP") ? jget(spec, "clusterIP")
					 : NULL;
}

static bool headless(const json_t *spec)
{
	const char *s = json_string_value(first_ip(spec));
	return s && strcmp(s, "None") == 0;
}

/* --- ports --- */

/* Names, pairs of protocol and port, and node ports are each used once. */
static void check_ports_unique(struct causes *c, const struct fpath *p, const json_t *ports)
{
	AUTO_JSON json_t *names = json_object(), *pairs = json_object(), *nodes = json_object();
	for (size_t i = 0; i < json_array_size(ports) && !causes_full(c); i++) {
		const json_t *a = json_array_get(ports, i);
		AUTO_BUF struct buf pair = {0}, node = {0};
		buf_addf(&pair, "%s %lld", jstr(a, "protocol"),
			(long long)json_integer_value(jget(a, "port")));
		buf_addf(&node, "%s %lld", jstr(a, "protocol"),
			(long long)json_integer_value(jget(a, "nodePort")));
		if (jhas(a, "name") && v_seen(names, jstr(a, "name"), i) < i)
			v_duplicate(c, P_NAME(P_INDEX(p, i), "name"), jget(a, "name"));
		if (v_seen(pairs, pair.p, i) < i) {
			AUTO_JSON json_t *key = json_pack("{s:O?,s:O?}", "protocol",
				json_object_get(a, "protocol"), "port", json_object_get(a, "port"));
			v_duplicate(c, P_INDEX(p, i), key);
		}
		if (json_integer_value(jget(a, "nodePort")) && v_seen(nodes, node.p, i) < i)
			v_duplicate(c, P_NAME(P_INDEX(p, i), "nodePort"), jget(a, "nodePort"));
	}
}

static void check_port(struct causes *c, const struct fpath *p, const json_t *spec,
	const json_t *port, bool need_name)
{
	const json_t *node_port = jget(port, "nodePort");
	if (jhas(port, "name"))
		(void)v_format(c, P_NAME(p, "name"), jstr(port, "name"), fmt_dns1123_label);
	else if (need_name)
		v_required(c, P_NAME(p, "name"), "");
	(void)v_port(c, P_NAME(p, "port"), jget(port, "port"));
	(void)v_enum_required(c, P_NAME(p, "protocol"), jget(port, "protocol"), protocols);
	if (jget(port, "targetPort"))
		(void)v_port_or_name(c, P_NAME(p, "targetPort"), jget(port, "targetPort"));
	if (jhas(port, "appProtocol"))
		(void)v_format(
			c, P_NAME(p, "appProtocol"), jstr(port, "appProtocol"), fmt_qualified_name);
	if (!json_integer_value(node_port))
		return;
	if (type_is(spec, "ClusterIP") || type_is(spec, "ExternalName"))
		v_forbidden(c, P_NAME(p, "nodePort"),
			type_is(spec, "ClusterIP")
				? "may not be used when `type` is 'ClusterIP'"
				: "may not be used when `type` is 'ExternalName'");
	else
		(void)v_port(c, P_NAME(p, "nodePort"), node_port);
}

static void check_ports(struct causes *c, const struct fpath *p, const json_t *spec)
{
	const json_t *ports = jget(spec, "ports");
	size_t n = json_array_size(ports);
	if (n == 0 && !headless(spec) && !type_is(spec, "ExternalName"))
		v_required(c, p, "");
	for (size_t i = 0; i < n && !causes_full(c); i++)
		check_port(c, P_INDEX(p, i), spec, json_array_get(ports, i), n > 1);
	check_ports_unique(c, p, ports);
}

/* --- addresses --- */

static void check_cluster_ips(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const char *const families[] = {"IPv4", "IPv6", NULL};
	static const char *const policies[] = {
		"SingleStack", "PreferDualStack", "RequireDualStack", NULL};
	const json_t *ips = jget(spec, "clusterIPs"), *fam = jget(spec, "ipFamilies");
	const struct fpath *ip = P_NAME(p, "clusterIPs");
	if (json_array_size(ips) && jhas(spec, "clusterIP") &&
		!jequal(json_array_get(ips, 0), jget(spec, "clusterIP")))
		v_invalid(c, ip, ips, "first value must match `clusterIP`");
	if (json_array_size(ips) > 2)
		v_invalid(c, ip, ips, "may only hold up to 2 values");
	for (size_t i = 0; i < json_array_size(fam); i++) {
		(void)v_enum(
			c, P_INDEX(P_NAME(p, "ipFamilies"), i), json_array_get(fam, i), families);
		if (i && jequal(json_array_get(fam, 0), json_array_get(fam, i)))
			v_duplicate(c, P_INDEX(P_NAME(p, "ipFamilies"), i), json_array_get(fam, i));
	}
	(void)v_enum(c, P_NAME(p, "ipFamilyPolicy"), jget(spec, "ipFamilyPolicy"), policies);
	if (headless(spec)) {
		if (json_array_size(ips) > 1)
			v_invalid(c, ip, ips, "'None' must be the first and only value");
		return;
	}
	if (json_array_size(ips) == 0 && first_ip(spec))
		(void)v_format(c, P_INDEX(ip, 0), json_string_value(first_ip(spec)), fmt_ip);
	for (size_t i = 0; i < json_array_size(ips); i++)
		(void)v_format(
			c, P_INDEX(ip, i), json_string_value(json_array_get(ips, i)), fmt_ip);
}

static void check_external_name(struct causes *c, const struct fpath *p, const json_t *spec)
{
	char name[260];
	size_t n;
	if (!jhas(spec, "externalName")) {
		v_required(c, P_NAME(p, "externalName"), "");
		return;
	}
	(void)snprintf(name, sizeof(name), "%s", jstr(spec, "externalName"));
	n = strlen(name);
	if (n > 1 && name[n - 1] == '.')
		name[n - 1] = 0;
	(void)v_format(c, P_NAME(p, "externalName"), name, fmt_dns1123_subdomain);
}

static void check_type(struct causes *c, const struct fpath *p, const json_t *spec)
{
	(void)v_enum_required(c, P_NAME(p, "type"), jget(spec, "type"), types);
	if (type_is(spec, "ExternalName")) {
		if (first_ip(spec))
			v_forbidden(c, P_NAME(p, "clusterIPs"),
				"may not be set when `type` is 'ExternalName'");
		check_external_name(c, p, spec);
	} else if ((type_is(spec, "LoadBalancer") || type_is(spec, "NodePort")) && headless(spec)) {
		v_invalid(c, P_INDEX(P_NAME(p, "clusterIPs"), 0), first_ip(spec),
			"may not be set to 'None' for %s services", jstr(spec, "type"));
	}
}

static void check_external_ips(struct causes *c, const struct fpath *p, const json_t *spec)
{
	const json_t *list = jget(spec, "externalIPs"),
		     *ranges = jget(spec, "loadBalancerSourceRanges");
	const json_t *lb_class = jget(spec, "loadBalancerClass");
	for (size_t i = 0; i < json_array_size(list); i++)
		v_endpoint_address(c, P_INDEX(P_NAME(p, "externalIPs"), i),
			json_string_value(json_array_get(list, i)));
	if (json_array_size(ranges) && !type_is(spec, "LoadBalancer"))
		v_forbidden(c, P_NAME(p, "loadBalancerSourceRanges"),
			"may only be used when `type` is 'LoadBalancer'");
	for (size_t i = 0; i < json_array_size(ranges); i++)
		(void)v_format(c, P_INDEX(P_NAME(p, "loadBalancerSourceRanges"), i),
			json_string_value(json_array_get(ranges, i)), fmt_cidr);
	if (jget(spec, "allocateLoadBalancerNodePorts") && !type_is(spec, "LoadBalancer"))
		v_forbidden(c, P_NAME(p, "allocateLoadBalancerNodePorts"),
			"may only be used when `type` is 'LoadBalancer'");
	if (!lb_class)
		return;
	if (type_is(spec, "LoadBalancer"))
		(void)v_format(c, P_NAME(p, "loadBalancerClass"), jstr(spec, "loadBalancerClass"),
			fmt_qualified_name);
	else
		v_forbidden(c, P_NAME(p, "loadBalancerClass"),
			"may only be used when `type` is 'LoadBalancer'");
}

/* --- traffic --- */

static void check_traffic(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const char *const policies[] = {"Cluster", "Local", NULL};
	static const char *const spread[] = {
		"PreferClose", "PreferSameNode", "PreferSameZone", NULL};
	const json_t *etp = jget(spec, "externalTrafficPolicy");
	const json_t *hc = jget(spec, "healthCheckNodePort");
	bool local = strcmp(jstr(spec, "externalTrafficPolicy"), "Local") == 0;
	if (!external(spec)) {
		if (jhas(spec, "externalTrafficPolicy"))
			v_invalid(c, P_NAME(p, "externalTrafficPolicy"), etp,
				"may only be set for externally-accessible services");
	} else if (jhas(spec, "externalTrafficPolicy")) {
		(void)v_enum(c, P_NAME(p, "externalTrafficPolicy"), etp, policies);
	}
	if (json_integer_value(hc) && !(type_is(spec, "LoadBalancer") && local))
		v_invalid(c, P_NAME(p, "healthCheckNodePort"), hc,
			"may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` "
			"is 'Local'");
	else if (hc && json_integer_value(hc) < 0)
		v_invalid(c, P_NAME(p, "healthCheckNodePort"), hc, MSG_PORT);
	(void)v_enum(c, P_NAME(p, "internalTrafficPolicy"), jget(spec, "internalTrafficPolicy"),
		policies);
	if (jhas(spec, "trafficDistribution"))
		(void)v_enum(c, P_NAME(p, "trafficDistribution"), jget(spec, "trafficDistribution"),
			spread);
}

static void check_affinity(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const char *const kinds[] = {"ClientIP", "None", NULL};
	const json_t *cfg = jget(spec, "sessionAffinityConfig");
	const json_t *t = jget(jget(cfg, "clientIP"), "timeoutSeconds");
	const struct fpath *tp =
		P_NAME(P_NAME(P_NAME(p, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds");
	if (!v_enum_required(c, P_NAME(p, "sessionAffinity"), jget(spec, "sessionAffinity"), kinds))
		return;
	if (strcmp(jstr(spec, "sessionAffinity"), "None") == 0) {
		if (cfg)
			v_forbidden(c, P_NAME(p, "sessionAffinityConfig"),
				"must not be set when session affinity is None");
		return;
	}
	if (!t)
		v_required(c, P_NAME(p, "sessionAffinityConfig"),
			"when session affinity type is ClientIP");
	else if (json_integer_value(t) < 1 || json_integer_value(t) > 86400)
		v_invalid(c, tp, t, "must be greater than 0 and less than 86400");
}

/* --- updates --- */

static void check_update(
	struct causes *c, const struct fpath *p, const json_t *spec, const json_t *was)
{
	const json_t *hc = jget(was, "healthCheckNodePort");
	bool both_lb = type_is(spec, "LoadBalancer") && type_is(was, "LoadBalancer");
	bool local = strcmp(jstr(spec, "externalTrafficPolicy"), "Local") == 0 &&
		     strcmp(jstr(was, "externalTrafficPolicy"), "Local") == 0;
	if (!type_is(was, "ExternalName") && !type_is(spec, "ExternalName") && first_ip(was) &&
		first_ip(spec) && !jequal(first_ip(was), first_ip(spec))) {
		const json_t *list = jget(spec, "clusterIPs");
		AUTO_JSON json_t *one = json_array();
		(void)json_array_append(one, (json_t *)first_ip(spec));
		v_invalid(c, P_INDEX(P_NAME(p, "clusterIPs"), 0),
			json_array_size(list) ? list : one, "may not change once set");
	}
	if (both_lb && local && json_integer_value(hc) &&
		!jequal(hc, jget(spec, "healthCheckNodePort")))
		v_forbidden(c, P_NAME(p, "healthCheckNodePort"), "field is immutable");
	if (both_lb && !jequal(jget(was, "loadBalancerClass"), jget(spec, "loadBalancerClass")))
		v_invalid(c, P_NAME(p, "loadBalancerClass"), jget(spec, "loadBalancerClass"),
			"may not change once set");
}

static void check_status(struct causes *c, const json_t *obj)
{
	static const char *const modes[] = {"Proxy", "VIP", NULL};
	const json_t *list = jget(jget(jget(obj, "status"), "loadBalancer"), "ingress");
	const struct fpath *p = P_NAME(P_NAME(P_NAME(NULL, "status"), "loadBalancer"), "ingress");
	if (json_array_size(list) && !type_is(jget(obj, "spec"), "LoadBalancer"))
		v_forbidden(c, p, "may only be used when `spec.type` is 'LoadBalancer'");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *in = json_array_get(list, i), *mode = jget(in, "ipMode");
		const struct fpath *ip = P_INDEX(p, i);
		if (jhas(in, "ip"))
			(void)v_format(c, P_NAME(ip, "ip"), jstr(in, "ip"), fmt_ip);
		if (mode && !jhas(in, "ip"))
			v_forbidden(c, P_NAME(ip, "ipMode"),
				"may not be specified when `ip` is not set");
		else if (mode)
			(void)v_enum(c, P_NAME(ip, "ipMode"), mode, modes);
		if (jhas(in, "hostname"))
			(void)v_format(c, P_NAME(ip, "hostname"), jstr(in, "hostname"),
				fmt_dns1123_subdomain);
	}
}

static void validate(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *spec = jget(obj, "spec");
	const struct fpath *p = P_NAME(NULL, "spec");
	if (strcmp(sub, "status") == 0) {
		check_status(c, obj);
		return;
	}
	check_ports(c, P_NAME(p, "ports"), spec);
	check_type(c, p, spec);
	check_cluster_ips(c, p, spec);
	v_labels(c, P_NAME(p, "selector"), jget(spec, "selector"));
	check_affinity(c, p, spec);
	check_external_ips(c, p, spec);
	check_traffic(c, p, spec);
	if (old)
		check_update(c, p, spec, jget(old, "spec"));
}

const struct kind_rules service_rules = {
	.validate = validate, .cells = service_cells, .name = fmt_dns1123_label};

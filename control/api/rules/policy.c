/* SPDX-License-Identifier: Apache-2.0
 * NetworkPolicy, HorizontalPodAutoscaler, PersistentVolume, RuntimeClass, LimitRange. */
#include "api/rules/cells.h"
#include "api/rules/pod.h"
#include "api/rules/registry.h"

static const struct fpath spec_path = {.name = "spec"};

/* --- NetworkPolicy --- */

static void check_policy_port(struct causes *c, const struct fpath *p, const json_t *port)
{
	static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
	const json_t *from = jget(port, "port"), *to = jget(port, "endPort");
	(void)v_enum(c, P_NAME(p, "protocol"), jget(port, "protocol"), protocols);
	if (from)
		(void)v_port_or_name(c, P_NAME(p, "port"), from);
	if (!to)
		return;
	if (!json_is_integer(from))
		v_invalid(c, P_NAME(p, "endPort"), to,
			from ? "may not be specified when `port` is non-numeric"
			     : "may not be specified when `port` is not specified");
	else if (json_integer_value(to) < json_integer_value(from))
		v_invalid(c, P_NAME(p, "endPort"), to, "must be greater than or equal to `port`");
}

static void check_ip_block(struct causes *c, const struct fpath *p, const json_t *b)
{
	const json_t *except = jget(b, "except");
	if (!jhas(b, "cidr"))
		v_required(c, P_NAME(p, "cidr"), "");
	else
		(void)v_format(c, P_NAME(p, "cidr"), jstr(b, "cidr"), fmt_cidr);
	for (size_t i = 0; i < json_array_size(except); i++)
		(void)v_format(c, P_INDEX(P_NAME(p, "except"), i),
			json_string_value(json_array_get(except, i)), fmt_cidr);
}

static void check_peer(struct causes *c, const struct fpath *p, const json_t *peer)
{
	static const char *const selectors[] = {"podSelector", "namespaceSelector"};
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(selectors); i++) {
		if (!jget(peer, selectors[i]))
			continue;
		n++;
		v_label_selector(c, P_NAME(p, selectors[i]), jget(peer, selectors[i]), false);
	}
	if (jget(peer, "ipBlock")) {
		check_ip_block(c, P_NAME(p, "ipBlock"), jget(peer, "ipBlock"));
		if (n)
			v_forbidden(c, p, "may not specify both ipBlock and another peer");
	} else if (n == 0) {
		v_required(c, p, "must specify a peer");
	}
}

static void network_policy(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct {
		const char *list, *peers;
	} sides[] = {{"ingress", "from"}, {"egress", "to"}};
	static const char *const kinds[] = {"Egress", "Ingress", NULL};
	const json_t *spec = jget(obj, "spec"), *types = jget(spec, "policyTypes");
	(void)old;
	if (*sub)
		return;
	v_label_selector(c, P_NAME(&spec_path, "podSelector"), jget(spec, "podSelector"), false);
	for (size_t i = 0; i < json_array_size(types); i++)
		(void)v_enum(c, P_INDEX(P_NAME(&spec_path, "policyTypes"), i),
			json_array_get(types, i), kinds);
	for (size_t s = 0; s < ARRAY_LEN(sides); s++)
		for (size_t i = 0; i < json_array_size(jget(spec, sides[s].list)); i++) {
			const json_t *r = json_array_get(jget(spec, sides[s].list), i);
			const json_t *ports = jget(r, "ports"), *peers = jget(r, sides[s].peers);
			const struct fpath *rp = P_INDEX(P_NAME(&spec_path, sides[s].list), i);
			for (size_t j = 0; j < json_array_size(ports); j++)
				check_policy_port(c, P_INDEX(P_NAME(rp, "ports"), j),
					json_array_get(ports, j));
			for (size_t j = 0; j < json_array_size(peers); j++)
				check_peer(c, P_INDEX(P_NAME(rp, sides[s].peers), j),
					json_array_get(peers, j));
		}
}

static void policy_selector(struct cells *c, struct jv obj)
{
	cell_selector(c, jv_path(obj, "spec.podSelector"));
}
static const struct cell_rule policy_cells[] = {{"Pod-Selector", policy_selector}, {NULL, NULL}};
const struct kind_rules network_policy_rules = {.validate = network_policy, .cells = policy_cells};

/* --- HorizontalPodAutoscaler --- */

static void autoscaler(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *spec = jget(obj, "spec"), *ref = jget(spec, "scaleTargetRef");
	const json_t *min = jget(spec, "minReplicas"), *max = jget(spec, "maxReplicas");
	const struct fpath *rp = P_NAME(&spec_path, "scaleTargetRef");
	(void)old;
	if (*sub)
		return;
	if (!jhas(ref, "kind"))
		v_required(c, P_NAME(rp, "kind"), "");
	if (!jhas(ref, "name"))
		v_required(c, P_NAME(rp, "name"), "");
	if (min && json_integer_value(min) < 1)
		v_invalid(c, P_NAME(&spec_path, "minReplicas"), min,
			"must be greater than or equal to 1");
	if (json_integer_value(max) < 1)
		v_invalid(c, P_NAME(&spec_path, "maxReplicas"), max, "must be greater than 0");
	if (min && json_integer_value(max) < json_integer_value(min))
		v_invalid(c, P_NAME(&spec_path, "maxReplicas"), max,
			"must be greater than or equal to `minReplicas`");
}
const struct kind_rules autoscaler_rules = {.validate = autoscaler, .cells = autoscaler_cells};

/* --- PersistentVolume --- */

static void volume(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const modes[] = {
		"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", NULL};
	static const char *const policies[] = {"Delete", "Recycle", "Retain", NULL};
	const json_t *spec = jget(obj, "spec"), *list = jget(spec, "accessModes");
	const json_t *affinity = jget(jget(spec, "nodeAffinity"), "required");
	(void)old;
	if (*sub)
		return;
	if (json_array_size(list) == 0)
		v_required(c, P_NAME(&spec_path, "accessModes"), "");
	for (size_t i = 0; i < json_array_size(list); i++)
		(void)v_enum(c, P_INDEX(P_NAME(&spec_path, "accessModes"), i),
			json_array_get(list, i), modes);
	if (json_object_size(jget(spec, "capacity")) == 0)
		v_required(c, P_NAME(&spec_path, "capacity"), "");
	(void)v_enum(c, P_NAME(&spec_path, "persistentVolumeReclaimPolicy"),
		jget(spec, "persistentVolumeReclaimPolicy"), policies);
	if (affinity)
		v_node_selector(
			c, P_NAME(P_NAME(&spec_path, "nodeAffinity"), "required"), affinity);
}
const struct kind_rules volume_rules = {.validate = volume, .cells = volume_cells};

/* --- RuntimeClass --- */

static void runtime_class(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const struct fpath *p = P_NAME(NULL, "handler");
	(void)sub;
	(void)v_format(c, p, jstr(obj, "handler"), fmt_dns1123_label);
	if (old)
		(void)v_immutable(c, p, jget(obj, "handler"), jget(old, "handler"));
}
const struct kind_rules runtime_class_rules = {.validate = runtime_class};

/* --- LimitRange --- */

/* lower's amounts may not exceed upper's. */
static void check_order(struct causes *c, const struct fpath *p, const json_t *item,
	const char *lower, const char *upper)
{
	const char *name;
	json_t *v;
	json_object_foreach ((json_t *)jget(item, lower), name, v) {
		const json_t *u = jget(jget(item, upper), name);
		int64_t a, b;
		if (jquantity(v, &a) == 0 && jquantity(u, &b) == 0 && a > b)
			v_invalid(c, P_KEY(P_NAME(p, lower), name), v,
				"%s value %s is greater than %s value %s", lower,
				json_string_value(v), upper, json_string_value(u));
	}
}

static void limit_range(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const order[] = {"min", "defaultRequest", "default", "max"};
	const json_t *list = jget(jget(obj, "spec"), "limits");
	(void)old;
	(void)sub;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const struct fpath *p = P_INDEX(P_NAME(&spec_path, "limits"), i);
		(void)v_format(c, P_NAME(p, "type"), jstr(item, "type"), fmt_qualified_name);
		for (size_t j = 0; j < i; j++)
			if (jequal(jget(json_array_get(list, j), "type"), jget(item, "type")))
				v_duplicate(c, P_NAME(p, "type"), jget(item, "type"));
		for (size_t a = 0; a < ARRAY_LEN(order); a++)
			for (size_t b = a + 1; b < ARRAY_LEN(order); b++)
				check_order(c, p, item, order[a], order[b]);
	}
}
const struct kind_rules limit_range_rules = {.validate = limit_range};

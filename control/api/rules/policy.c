/* SPDX-License-Identifier: Apache-2.0
 * NetworkPolicy, HorizontalPodAutoscaler, PersistentVolume, RuntimeClass, LimitRange. */
#include "api/rules/cells.h"
#include "api/rules/pod.h"
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

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
	else
		(void)v_port(c, P_NAME(p, "endPort"), to);
}

/* A range of the same family, longer by a bit at least, with the same beginning. */
static bool strictly_inside(const char *in, const char *out)
{
	unsigned char a[16], b[16];
	bool a6, b6;
	int64_t na = 0, nb = 0;
	struct str ra = str_of(in), rb = str_of(out);
	struct str ia = str_cut(&ra, '/'), ib = str_cut(&rb, '/');
	if (!fmt_ip_parse(ia, a, &a6) || !fmt_ip_parse(ib, b, &b6) || str_i64(ra, &na) < 0 ||
		str_i64(rb, &nb) < 0)
		return true; /* reported already */
	if (a6 != b6 || na <= nb)
		return false;
	for (size_t i = 0; i < (size_t)nb; i++)
		if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
			return false;
	return true;
}

static void check_ip_block(struct causes *c, const struct fpath *p, const json_t *b)
{
	const json_t *except = jget(b, "except");
	if (!jhas(b, "cidr"))
		v_required(c, P_NAME(p, "cidr"), "");
	else
		(void)v_format(c, P_NAME(p, "cidr"), jstr(b, "cidr"), fmt_cidr);
	for (size_t i = 0; i < json_array_size(except) && !causes_full(c); i++) {
		const char *s = json_string_value(json_array_get(except, i));
		const struct fpath *ep = P_INDEX(P_NAME(p, "except"), i);
		if (v_format(c, ep, s, fmt_cidr) && !strictly_inside(s, jstr(b, "cidr")))
			v_invalid_str(c, ep, s, "must be a strict subset of `cidr`");
	}
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
	if (json_array_size(types) > 2)
		v_invalid(c, P_NAME(&spec_path, "policyTypes"), types,
			"may not specify more than two policyTypes");
	for (size_t i = 0; i < json_array_size(types) && json_array_size(types) <= 2; i++)
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

const struct kind_rules autoscaler_rules = {
	.validate = validate_autoscaler, .cells = autoscaler_cells};

/* --- PersistentVolume --- */

const struct kind_rules volume_rules = {.validate = validate_volume, .cells = volume_cells};

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

const struct kind_rules limit_range_rules = {.validate = validate_limit_range};

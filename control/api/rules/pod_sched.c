/* SPDX-License-Identifier: Apache-2.0
 * Where a pod may run: affinity, tolerations, spreading. */
#include "api/rules/pod.h"

static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};

static void check_requirement(
	struct causes *c, const struct fpath *p, const json_t *r, bool on_field)
{
	const char *op = jstr(r, "operator");
	const json_t *values = jget(r, "values");
	size_t n = json_array_size(values);
	bool set = strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0;
	bool exists = strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0;
	bool order = strcmp(op, "Gt") == 0 || strcmp(op, "Lt") == 0;
	if (on_field) {
		if (n != 1)
			v_required(c, P_NAME(p, "values"),
				"must be only one value when `operator` is 'In' or 'NotIn' for "
				"node "
				"field selector");
		if (strcmp(jstr(r, "key"), "metadata.name") != 0)
			v_invalid(c, P_NAME(p, "key"), jget(r, "key"),
				"not a valid field selector key");
		return;
	}
	if (set && n == 0)
		v_required(c, P_NAME(p, "values"),
			"must be specified when `operator` is 'In' or 'NotIn'");
	if (exists && n)
		v_forbidden(c, P_NAME(p, "values"),
			"may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	if (order && n != 1)
		v_required(c, P_NAME(p, "values"),
			"must be specified single value when `operator` is 'Lt' or 'Gt'");
	if (!set && !exists && !order)
		v_invalid(c, P_NAME(p, "operator"), jget(r, "operator"),
			"not a valid selector operator");
	(void)v_format(c, P_NAME(p, "key"), jstr(r, "key"), fmt_qualified_name);
}

static void check_term(struct causes *c, const struct fpath *p, const json_t *t)
{
	const json_t *x = jget(t, "matchExpressions"), *f = jget(t, "matchFields");
	for (size_t i = 0; i < json_array_size(x); i++)
		check_requirement(
			c, P_INDEX(P_NAME(p, "matchExpressions"), i), json_array_get(x, i), false);
	for (size_t i = 0; i < json_array_size(f); i++)
		check_requirement(
			c, P_INDEX(P_NAME(p, "matchFields"), i), json_array_get(f, i), true);
}

void v_node_selector(struct causes *c, const struct fpath *p, const json_t *selector)
{
	const json_t *terms = jget(selector, "nodeSelectorTerms");
	const struct fpath *tp = P_NAME(p, "nodeSelectorTerms");
	if (json_array_size(terms) == 0)
		v_required(c, tp, "must have at least one node selector term");
	for (size_t i = 0; i < json_array_size(terms); i++)
		check_term(c, P_INDEX(tp, i), json_array_get(terms, i));
}

static void check_weight(struct causes *c, const struct fpath *p, const json_t *t)
{
	const json_t *w = jget(t, "weight");
	if (json_integer_value(w) < 1 || json_integer_value(w) > 100)
		v_invalid(c, P_NAME(p, "weight"), w, "must be in the range 1-100");
}

static void check_pod_term(struct causes *c, const struct fpath *p, const json_t *t)
{
	const json_t *ns = jget(t, "namespaces");
	v_label_selector(c, P_NAME(p, "labelSelector"), jget(t, "labelSelector"), false);
	v_label_selector(c, P_NAME(p, "namespaceSelector"), jget(t, "namespaceSelector"), false);
	for (size_t i = 0; i < json_array_size(ns); i++)
		(void)v_format(c, P_INDEX(P_NAME(p, "namespaces"), i),
			json_string_value(json_array_get(ns, i)), fmt_dns1123_label);
	if (!jhas(t, "topologyKey"))
		v_required(c, P_NAME(p, "topologyKey"), "can not be empty");
	(void)v_format(c, P_NAME(p, "topologyKey"), jstr(t, "topologyKey"), fmt_qualified_name);
}

#define REQUIRED_TERMS	"requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED_TERMS "preferredDuringSchedulingIgnoredDuringExecution"

static void check_node_affinity(struct causes *c, const struct fpath *p, const json_t *a)
{
	const json_t *soft = jget(a, PREFERRED_TERMS);
	if (jget(a, REQUIRED_TERMS))
		v_node_selector(c, P_NAME(p, REQUIRED_TERMS), jget(a, REQUIRED_TERMS));
	for (size_t i = 0; i < json_array_size(soft); i++) {
		const json_t *t = json_array_get(soft, i);
		const struct fpath *tp = P_INDEX(P_NAME(p, PREFERRED_TERMS), i);
		check_weight(c, tp, t);
		check_term(c, P_NAME(tp, "preference"), jget(t, "preference"));
	}
}

static void check_pod_affinity(struct causes *c, const struct fpath *p, const json_t *a)
{
	const json_t *hard = jget(a, REQUIRED_TERMS), *soft = jget(a, PREFERRED_TERMS);
	for (size_t i = 0; i < json_array_size(hard); i++)
		check_pod_term(c, P_INDEX(P_NAME(p, REQUIRED_TERMS), i), json_array_get(hard, i));
	for (size_t i = 0; i < json_array_size(soft); i++) {
		const json_t *t = json_array_get(soft, i);
		const struct fpath *tp = P_INDEX(P_NAME(p, PREFERRED_TERMS), i);
		check_weight(c, tp, t);
		check_pod_term(c, P_NAME(tp, "podAffinityTerm"), jget(t, "podAffinityTerm"));
	}
}

void v_affinity(struct causes *c, const struct fpath *p, const json_t *affinity)
{
	check_node_affinity(c, P_NAME(p, "nodeAffinity"), jget(affinity, "nodeAffinity"));
	check_pod_affinity(c, P_NAME(p, "podAffinity"), jget(affinity, "podAffinity"));
	check_pod_affinity(c, P_NAME(p, "podAntiAffinity"), jget(affinity, "podAntiAffinity"));
}

void v_tolerations(struct causes *c, const struct fpath *p, const json_t *list)
{
	static const char *const operators[] = {"Equal", "Exists", "Lt", "Gt", NULL};
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *t = json_array_get(list, i);
		const struct fpath *tp = P_INDEX(p, i);
		const char *op = jstr(t, "operator");
		if (jhas(t, "key"))
			(void)v_format(c, P_NAME(tp, "key"), jstr(t, "key"), fmt_qualified_name);
		else if (strcmp(op, "Exists") != 0)
			v_invalid(c, P_NAME(tp, "operator"), jget(t, "operator"),
				"operator must be Exists when `key` is empty, which means \"match "
				"all "
				"values and all keys\"");
		if (jget(t, "tolerationSeconds") && strcmp(jstr(t, "effect"), "NoExecute") != 0)
			v_invalid(c, P_NAME(tp, "effect"), jget(t, "effect"),
				"effect must be 'NoExecute' when `tolerationSeconds` is set");
		if (!*op || strcmp(op, "Equal") == 0)
			(void)v_format(
				c, P_NAME(tp, "operator"), jstr(t, "value"), fmt_label_value);
		else if (strcmp(op, "Exists") == 0 && jhas(t, "value"))
			v_invalid(c, P_NAME(tp, "operator"), t,
				"value must be empty when `operator` is 'Exists'");
		else if (*op)
			(void)v_enum(c, P_NAME(tp, "operator"), jget(t, "operator"), operators);
		if (jhas(t, "effect"))
			(void)v_enum(c, P_NAME(tp, "effect"), jget(t, "effect"), effects);
	}
}

void v_spread(struct causes *c, const struct fpath *p, const json_t *list)
{
	static const char *const actions[] = {"DoNotSchedule", "ScheduleAnyway", NULL};
	static const char *const policies[] = {"Ignore", "Honor", NULL};
	AUTO_JSON json_t *pairs = json_object();
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const json_t *t = json_array_get(list, i), *min = jget(t, "minDomains");
		AUTO_BUF struct buf pair = {0};
		const struct fpath *tp = P_INDEX(p, i);
		if (json_integer_value(jget(t, "maxSkew")) <= 0)
			v_invalid(c, P_NAME(tp, "maxSkew"), jget(t, "maxSkew"),
				"must be greater than zero");
		if (!jhas(t, "topologyKey"))
			v_required(c, P_NAME(tp, "topologyKey"), "can not be empty");
		else
			(void)v_format(c, P_NAME(tp, "topologyKey"), jstr(t, "topologyKey"),
				fmt_qualified_name);
		(void)v_enum_required(
			c, P_NAME(tp, "whenUnsatisfiable"), jget(t, "whenUnsatisfiable"), actions);
		if (min && json_integer_value(min) <= 0)
			v_invalid(c, P_NAME(tp, "minDomains"), min, "must be greater than zero");
		(void)v_enum(c, P_NAME(tp, "nodeAffinityPolicy"), jget(t, "nodeAffinityPolicy"),
			policies);
		(void)v_enum(
			c, P_NAME(tp, "nodeTaintsPolicy"), jget(t, "nodeTaintsPolicy"), policies);
		v_label_selector(c, P_NAME(tp, "labelSelector"), jget(t, "labelSelector"), false);
		buf_addf(&pair, "%s\n%s", jstr(t, "topologyKey"), jstr(t, "whenUnsatisfiable"));
		if (v_seen(pairs, pair.p, i) < i)
			v_duplicate(c, P_NAME(tp, "{topologyKey, whenUnsatisfiable}"),
				jget(t, "topologyKey"));
	}
}

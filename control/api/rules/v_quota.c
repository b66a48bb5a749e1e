/* SPDX-License-Identifier: Apache-2.0
 * ResourceQuota and LimitRange: names of resources, scopes, the order of a range's amounts. */
#include "api/rules/pod.h"
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static const struct fpath spec_path = {.name = "spec"};

static bool among(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(s, *list) == 0)
			return true;
	return false;
}

static const char *const compute[] = {
	"cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory", NULL};
static const char *const others[] = {"ephemeral-storage", "requests.storage",
	"requests.ephemeral-storage", "limits.ephemeral-storage", "pods", "resourcequotas",
	"services", "replicationcontrollers", "secrets", "persistentvolumeclaims", "configmaps",
	"services.nodeports", "services.loadbalancers", NULL};

static bool quota_name_known(const char *name)
{
	return among(name, compute) || among(name, others) ||
	       strncmp(name, "hugepages-", 10) == 0 ||
	       strncmp(name, "requests.hugepages-", 19) == 0;
}

static void check_hard(struct causes *c, const json_t *hard)
{
	const char *name;
	json_t *v;
	json_object_foreach ((json_t *)hard, name, v) {
		const struct fpath *p = P_KEY(P_NAME(&spec_path, "hard"), name);
		int64_t n;
		if (causes_full(c))
			return;
		(void)v_format(c, p, name, fmt_qualified_name);
		if (!strchr(name, '/') && !quota_name_known(name)) {
			v_invalid_str(
				c, p, name, "must be a standard resource type or fully qualified");
			v_invalid_str(c, p, name, "must be a standard resource for quota");
		}
		if (jquantity(v, &n) == 0 && n < 0)
			v_invalid(c, p, v, MSG_NONNEG);
	}
}

static const char *const scopes[] = {"Terminating", "NotTerminating", "BestEffort", "NotBestEffort",
	"PriorityClass", "CrossNamespacePodAffinity", "VolumeAttributesClass", NULL};

/* A scope of pods counts pods and, but for BestEffort, what they ask for. */
static bool scope_takes(const char *scope, const char *resource)
{
	if (!quota_name_known(resource))
		return true;
	if (strcmp(scope, "VolumeAttributesClass") == 0)
		return strcmp(resource, "persistentvolumeclaims") == 0 ||
		       strcmp(resource, "requests.storage") == 0;
	if (strcmp(resource, "pods") == 0)
		return true;
	return strcmp(scope, "BestEffort") != 0 && among(resource, compute);
}

static void check_scopes(struct causes *c, const json_t *list, const json_t *hard)
{
	static const char *const pairs[][2] = {
		{"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"}};
	const struct fpath *p = P_NAME(&spec_path, "scopes");
	AUTO_JSON json_t *seen = json_object();
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const char *s = json_string_value(json_array_get(list, i)), *name;
		json_t *v;
		s = s ? s : "";
		(void)v_seen(seen, s, i);
		if (!among(s, scopes)) {
			v_invalid(c, p, list, "unsupported scope");
			continue;
		}
		json_object_foreach ((json_t *)hard, name, v)
			if (!scope_takes(s, name))
				v_invalid(c, p, list, "unsupported scope applied to resource");
	}
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		if (json_object_get(seen, pairs[i][0]) && json_object_get(seen, pairs[i][1]))
			v_invalid(c, p, list, "conflicting scopes");
}

static void check_scope_term(struct causes *c, const struct fpath *p, const json_t *t)
{
	static const char *const only_exists[] = {"BestEffort", "NotBestEffort", "Terminating",
		"NotTerminating", "CrossNamespacePodAffinity", NULL};
	const char *scope = jstr(t, "scopeName"), *op = jstr(t, "operator");
	size_t n = json_array_size(jget(t, "values"));
	if (!among(scope, scopes))
		v_invalid(c, P_NAME(p, "scopeName"), jget(t, "scopeName"), "unsupported scope");
	if (among(scope, only_exists) && strcmp(op, "Exists") != 0)
		v_invalid(c, P_NAME(p, "operator"), jget(t, "operator"),
			"must be 'Exist' when scope is any of BestEffort, NotBestEffort, "
			"Terminating, NotTerminating or CrossNamespacePodAffinity");
	if (strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0) {
		if (n == 0)
			v_required(c, P_NAME(p, "values"),
				"must be at least one value when `operator` is 'In' or 'NotIn' for "
				"scope selector");
	} else if (strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0) {
		if (n)
			v_invalid(c, P_NAME(p, "values"), jget(t, "values"),
				"must be no value when `operator` is 'Exist' or 'DoesNotExist' for "
				"scope selector");
	} else {
		v_invalid(c, P_NAME(p, "operator"), jget(t, "operator"),
			"not a valid selector operator");
	}
}

void validate_quota(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *spec = jget(obj, "spec");
	const json_t *terms = jget(jget(spec, "scopeSelector"), "matchExpressions");
	const struct fpath *tp = P_NAME(P_NAME(&spec_path, "scopeSelector"), "matchExpressions");
	if (*sub)
		return;
	check_hard(c, jget(spec, "hard"));
	check_scopes(c, jget(spec, "scopes"), jget(spec, "hard"));
	for (size_t i = 0; i < json_array_size(terms) && !causes_full(c); i++)
		check_scope_term(c, tp, json_array_get(terms, i));
	if (old)
		(void)v_immutable(c, P_NAME(&spec_path, "scopes"), jget(spec, "scopes"),
			jget(jget(old, "spec"), "scopes"));
}

/* --- LimitRange --- */

/* A resource in a range of that type. */
static void check_resource_name(
	struct causes *c, const struct fpath *p, const char *type, const char *name)
{
	static const char *const container[] = {"cpu", "memory", "ephemeral-storage", NULL};
	bool of_pod = strcmp(type, "Pod") == 0 || strcmp(type, "Container") == 0;
	(void)v_format(c, p, name, fmt_qualified_name);
	if (strchr(name, '/'))
		return;
	if (!quota_name_known(name) && strcmp(name, "storage") != 0)
		v_invalid_str(c, p, name, "must be a standard resource type or fully qualified");
	if (of_pod && !among(name, container) && strncmp(name, "hugepages-", 10) != 0)
		v_invalid_str(c, p, name, "must be a standard resource for containers");
}

static void check_names(struct causes *c, const struct fpath *p, const json_t *item)
{
	static const char *const maps[] = {
		"max", "min", "default", "defaultRequest", "maxLimitRequestRatio"};
	bool pod = strcmp(jstr(item, "type"), "Pod") == 0;
	for (size_t m = 0; m < ARRAY_LEN(maps); m++) {
		const json_t *map = jget(item, maps[m]);
		const char *name;
		json_t *v;
		if (pod && (m == 2 || m == 3)) {
			if (json_object_size(map))
				v_forbidden(c, P_NAME(p, maps[m]),
					"may not be specified when `type` is 'Pod'");
			continue;
		}
		json_object_foreach ((json_t *)map, name, v)
			check_resource_name(
				c, P_KEY(P_NAME(p, maps[m]), name), jstr(item, "type"), name);
	}
}

/* lower's amounts may not exceed upper's; the fault is shown at `blame`. */
static void check_order(struct causes *c, const struct fpath *p, const json_t *item,
	const char *lower, const char *upper, const char *blame)
{
	const char *name;
	json_t *v;
	json_object_foreach ((json_t *)jget(item, lower), name, v) {
		const json_t *u = jget(jget(item, upper), name);
		int64_t a, b;
		if (jquantity(v, &a) == 0 && jquantity(u, &b) == 0 && a > b)
			v_invalid(c, P_KEY(P_NAME(p, blame), name), v,
				"%s value %s is greater than %s value %s", lower,
				json_string_value(v), upper, json_string_value(u));
	}
}

static void check_ratios(struct causes *c, const struct fpath *p, const json_t *item)
{
	const char *name;
	json_t *v;
	json_object_foreach ((json_t *)jget(item, "maxLimitRequestRatio"), name, v) {
		const struct fpath *rp = P_KEY(P_NAME(p, "maxLimitRequestRatio"), name);
		int64_t ratio, min, max;
		if (jquantity(v, &ratio) < 0)
			continue;
		if (ratio < 1000)
			v_invalid(c, rp, v, "ratio %s is less than 1", json_string_value(v));
		if (jquantity(jget(jget(item, "min"), name), &min) == 0 &&
			jquantity(jget(jget(item, "max"), name), &max) == 0 && min > 0 &&
			(double)ratio / 1000 > (double)max / (double)min)
			v_invalid(c, rp, v, "ratio %s is greater than max/min = %f",
				json_string_value(v), (double)max / (double)min);
	}
}

void validate_limit_range(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const order[][3] = {{"min", "max", "min"},
		{"min", "defaultRequest", "defaultRequest"},
		{"defaultRequest", "max", "defaultRequest"},
		{"defaultRequest", "default", "defaultRequest"}, {"min", "default", "default"},
		{"default", "max", "default"}};
	static const char *const types[] = {"Pod", "Container", "PersistentVolumeClaim", NULL};
	static const struct vrow rows[] = {ROW("spec.limits[].type", V_UNIQUE), {0}};
	const json_t *list = jget(jget(obj, "spec"), "limits");
	(void)sub;
	v_rows(c, rows, obj, old);
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const json_t *item = json_array_get(list, i);
		const struct fpath *p = P_INDEX(P_NAME(&spec_path, "limits"), i);
		const char *type = jstr(item, "type");
		(void)v_format(c, P_NAME(p, "type"), type, fmt_qualified_name);
		if (!strchr(type, '/') && !among(type, types))
			v_invalid_str(c, P_NAME(p, "type"), type,
				"must be a standard limit type or fully qualified");
		check_names(c, p, item);
		if (strcmp(type, "PersistentVolumeClaim") == 0 &&
			!jget(jget(item, "min"), "storage") && !jget(jget(item, "max"), "storage"))
			v_required(c, P_NAME(p, "limits"),
				"either minimum or maximum storage value is required, but neither "
				"was provided");
		for (size_t a = 0; a < ARRAY_LEN(order); a++)
			check_order(c, p, item, order[a][0], order[a][1], order[a][2]);
		check_ratios(c, p, item);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 * HorizontalPodAutoscaler: bounds, metrics with their targets, behaviour. */
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static const struct fpath spec_path = {.name = "spec"};

static const struct source {
	const char *type, *member;
	bool identified; /* has a metric with a name and a selector */
} sources[] = {{"Object", "object", true}, {"External", "external", true}, {"Pods", "pods", true},
	{"Resource", "resource", false}, {"ContainerResource", "containerResource", false}};

static const struct vrow object_ref_rows[] = {ROW("kind", V_REQUIRED),
	ROW("kind", V_FORMAT, .format = fmt_path_segment), ROW("name", V_REQUIRED),
	ROW("name", V_FORMAT, .format = fmt_path_segment), {0}};

static bool positive(const json_t *v)
{
	int64_t n;
	return jquantity(v, &n) == 0 && n > 0;
}

static void check_target(struct causes *c, const struct fpath *p, const json_t *t)
{
	static const char *const amounts[] = {"value", "averageValue"};
	const char *type = jstr(t, "type");
	const json_t *percent = jget(t, "averageUtilization");
	if (!*type)
		v_required(c, P_NAME(p, "type"), "must specify a metric target type");
	else if (strcmp(type, "Utilization") != 0 && strcmp(type, "Value") != 0 &&
		 strcmp(type, "AverageValue") != 0)
		v_invalid(c, P_NAME(p, "type"), jget(t, "type"),
			"must be either Utilization, Value, or AverageValue");
	for (size_t i = 0; i < ARRAY_LEN(amounts); i++)
		if (jget(t, amounts[i]) && !positive(jget(t, amounts[i])))
			v_invalid(
				c, P_NAME(p, amounts[i]), jget(t, amounts[i]), "must be positive");
	if (percent && json_integer_value(percent) < 1)
		v_invalid(c, P_NAME(p, "averageUtilization"), percent, "must be greater than 0");
}

/* What the target of that source must hold. */
static void check_target_value(
	struct causes *c, const struct fpath *p, const struct source *s, const json_t *t)
{
	bool value = jget(t, "value"), average = jget(t, "averageValue");
	bool percent = jget(t, "averageUtilization");
	if (!s->identified) {
		if (!percent && !average)
			v_required(c, P_NAME(p, "averageUtilization"),
				"must set either a target raw value or a target utilization");
		if (percent && average)
			v_forbidden(c, P_NAME(p, "averageValue"),
				"may not set both a target raw value and a target utilization");
	} else if (strcmp(s->type, "Pods") == 0) {
		if (!positive(jget(t, "averageValue")))
			v_required(c, P_NAME(p, "averageValue"),
				"must specify a positive target averageValue");
	} else {
		if (!value && !average)
			v_required(c, P_NAME(p, "averageValue"),
				"must set either a target value for metric or a per-pod target");
		if (value && average && strcmp(s->type, "External") == 0)
			v_forbidden(c, P_NAME(p, "value"),
				"may not set both a target value for metric and a per-pod target");
	}
}

static void check_source(
	struct causes *c, const struct fpath *p, const struct source *s, const json_t *v)
{
	static const struct vrow named[] = {
		ROW("metric.name", V_REQUIRED, .text = "must specify a metric name"),
		ROW("metric.name", V_FORMAT, .format = fmt_path_segment),
		ROW("metric.selector", V_SELECTOR), {0}};
	static const struct vrow resource[] = {
		ROW("name", V_REQUIRED, .text = "must specify a resource name"), {0}};
	static const struct vrow container[] = {
		ROW("container", V_REQUIRED, .text = "must specify a container"), {0}};
	v_rows_at(c, p, s->identified ? named : resource, v, NULL);
	if (strcmp(s->type, "ContainerResource") == 0)
		v_rows_at(c, p, container, v, NULL);
	if (strcmp(s->type, "Object") == 0)
		v_rows_at(c, P_NAME(p, "describedObject"), object_ref_rows,
			jget(v, "describedObject"), NULL);
	check_target(c, P_NAME(p, "target"), jget(v, "target"));
	check_target_value(c, P_NAME(p, "target"), s, jget(v, "target"));
}

static void check_metric(struct causes *c, const struct fpath *p, const json_t *m)
{
	static const char *const types[] = {
		"ContainerResource", "External", "Object", "Pods", "Resource", NULL};
	const char *type = jstr(m, "type");
	size_t n = 0;
	if (!*type)
		v_required(c, P_NAME(p, "type"), "must specify a metric source type");
	else
		(void)v_enum(c, P_NAME(p, "type"), jget(m, "type"), types);
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		const json_t *v = jget(m, sources[i].member);
		const struct fpath *vp = P_NAME(p, sources[i].member);
		bool mine = strcmp(type, sources[i].type) == 0;
		if (v && n++ == 0)
			check_source(c, vp, &sources[i], v);
		if (v && !mine && *type)
			v_forbidden(c, vp, "must populate the given metric source only");
		if (!v && mine)
			v_required(c, vp, "must populate information for the given metric source");
	}
}

static void check_scaling(struct causes *c, const struct fpath *p, const json_t *rules)
{
	static const char *const selects[] = {"Disabled", "Max", "Min", NULL};
	static const char *const kinds[] = {"Percent", "Pods", NULL};
	static const struct vrow rows[] = {
		ROW("stabilizationWindowSeconds", V_RANGE, .min = 0, .max = 3600,
			.text = "must be between 0 and 3600, inclusive"),
		ROW("selectPolicy", V_ENUM, .enums = selects),
		ROW("policies", V_REQUIRED, .text = "must specify at least one Policy"),
		ROW("policies[].type", V_ENUM, .enums = kinds),
		ROW("policies[].value", V_RANGE, .min = 1, .max = INT32_MAX,
			.text = "must be greater than zero"),
		ROW("policies[].periodSeconds", V_RANGE, .min = 1, .max = 1800,
			.text = "must be between 1 and 1800, inclusive"),
		{0}};
	if (rules)
		v_rows_at(c, p, rows, rules, NULL);
}

void validate_autoscaler(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *spec = jget(obj, "spec"), *min = jget(spec, "minReplicas");
	const json_t *max = jget(spec, "maxReplicas"), *list = jget(spec, "metrics");
	const json_t *percent = jget(spec, "targetCPUUtilizationPercentage");
	const json_t *behavior = jget(spec, "behavior");
	const struct fpath *mp = P_NAME(&spec_path, "metrics");
	const struct fpath *bp = P_NAME(&spec_path, "behavior");
	(void)old;
	if (*sub)
		return;
	v_rows_at(c, P_NAME(&spec_path, "scaleTargetRef"), object_ref_rows,
		jget(spec, "scaleTargetRef"), NULL);
	if (min && json_integer_value(min) < 1)
		v_invalid(c, P_NAME(&spec_path, "minReplicas"), min,
			"must be greater than or equal to 1");
	if (json_integer_value(max) < 1)
		v_invalid(c, P_NAME(&spec_path, "maxReplicas"), max, "must be greater than 0");
	if (min && json_integer_value(max) < json_integer_value(min))
		v_invalid(c, P_NAME(&spec_path, "maxReplicas"), max,
			"must be greater than or equal to `minReplicas`");
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++)
		check_metric(c, P_INDEX(mp, i), json_array_get(list, i));
	if (percent && json_integer_value(percent) < 1) /* v1's short form of a metric */
		v_invalid(c,
			P_NAME(P_NAME(P_NAME(P_INDEX(mp, 0), "resource"), "target"),
				"averageUtilization"),
			percent, "must be greater than 0");
	check_scaling(c, P_NAME(bp, "scaleUp"), jget(behavior, "scaleUp"));
	check_scaling(c, P_NAME(bp, "scaleDown"), jget(behavior, "scaleDown"));
}

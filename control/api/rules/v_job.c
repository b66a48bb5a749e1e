/* SPDX-License-Identifier: Apache-2.0
 * Policies of a JobSpec: failure, success, indexes. */
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static bool has_container(const json_t *spec, const char *name)
{
	static const char *const lists[] = {"containers", "initContainers"};
	const json_t *pod = jget(jget(spec, "template"), "spec");
	for (size_t l = 0; l < ARRAY_LEN(lists); l++)
		for (size_t i = 0; i < json_array_size(jget(pod, lists[l])); i++)
			if (strcmp(jstr(json_array_get(jget(pod, lists[l]), i), "name"), name) == 0)
				return true;
	return false;
}

static void check_exit_codes(
	struct causes *c, const struct fpath *p, const json_t *x, const json_t *spec)
{
	static const char *const operators[] = {"In", "NotIn", NULL};
	const json_t *values = jget(x, "values");
	const char *name = jstr(x, "containerName");
	bool in = strcmp(jstr(x, "operator"), "In") == 0;
	(void)v_enum_required(c, P_NAME(p, "operator"), jget(x, "operator"), operators);
	if (*name && !has_container(spec, name))
		v_invalid_str(c, P_NAME(p, "containerName"), name,
			"must be one of the container or initContainer names in the pod template");
	if (json_array_size(values) == 0)
		v_invalid(c, P_NAME(p, "values"), values, "at least one value is required");
	else if (json_array_size(values) > 255)
		v_too_many(c, P_NAME(p, "values"), json_array_size(values), 255);
	for (size_t i = 0; i < json_array_size(values) && !causes_full(c); i++) {
		const json_t *v = json_array_get(values, i);
		const struct fpath *vp = P_INDEX(P_NAME(p, "values"), i);
		if (in && json_integer_value(v) == 0)
			v_invalid(c, vp, v, "must not be 0 for the In operator");
		if (i && json_integer_value(v) == json_integer_value(json_array_get(values, i - 1)))
			v_duplicate(c, vp, v);
		else if (i &&
			 json_integer_value(v) < json_integer_value(json_array_get(values, i - 1)))
			v_invalid(c, P_NAME(p, "values"), values, "must be ordered");
	}
}

static void check_failure_rule(
	struct causes *c, const struct fpath *p, const json_t *r, const json_t *spec)
{
	static const char *const actions[] = {"Count", "FailIndex", "FailJob", "Ignore", NULL};
	static const char *const states[] = {"False", "True", "Unknown", NULL};
	static const struct vrow rows[] = {ROW("onPodConditions[].type", V_REQUIRED),
		ROW("onPodConditions[].type", V_FORMAT, .format = fmt_qualified_name),
		ROW("onPodConditions[].status", V_REQUIRED),
		ROW("onPodConditions[].status", V_ENUM, .enums = states),
		ROW("onPodConditions", V_MOST, .max = 20), {0}};
	const json_t *codes = jget(r, "onExitCodes"), *conditions = jget(r, "onPodConditions");
	(void)v_enum_required(c, P_NAME(p, "action"), jget(r, "action"), actions);
	if (strcmp(jstr(r, "action"), "FailIndex") == 0 && !jget(spec, "backoffLimitPerIndex"))
		v_invalid(c, P_NAME(p, "action"), jget(r, "action"),
			"requires the backoffLimitPerIndex to be set");
	if (codes && json_array_size(conditions))
		v_invalid(c, p, r,
			"specifying both OnExitCodes and OnPodConditions is not supported");
	else if (!codes && json_array_size(conditions) == 0)
		v_invalid(c, p, r, "specifying one of OnExitCodes and OnPodConditions is required");
	if (codes)
		check_exit_codes(c, P_NAME(p, "onExitCodes"), codes, spec);
	v_rows_at(c, p, rows, r, NULL);
}

static void check_success(struct causes *c, const struct fpath *p, const json_t *spec)
{
	const json_t *policy = jget(spec, "successPolicy"), *rules = jget(policy, "rules");
	const json_t *completions = jget(spec, "completions");
	const struct fpath *sp = P_NAME(p, "successPolicy");
	if (!policy)
		return;
	if (strcmp(jstr(spec, "completionMode"), "Indexed") != 0) {
		v_invalid(c, sp, policy, "requires indexed completion mode");
		return;
	}
	if (json_array_size(rules) == 0)
		v_required(c, P_NAME(sp, "rules"),
			"at least one rules must be specified when the successPolicy is specified");
	for (size_t i = 0; i < json_array_size(rules) && !causes_full(c); i++) {
		const json_t *r = json_array_get(rules, i), *n = jget(r, "succeededCount");
		const struct fpath *rp = P_INDEX(P_NAME(sp, "rules"), i);
		if (!n && !jhas(r, "succeededIndexes"))
			v_required(c, rp,
				"at least one of succeededCount or succeededIndexes must be "
				"specified");
		if (n && json_integer_value(n) < 1)
			v_invalid(c, P_NAME(rp, "succeededCount"), n, MSG_NONNEG);
		else if (n && completions &&
			 json_integer_value(n) > json_integer_value(completions))
			v_invalid(c, P_NAME(rp, "succeededCount"), n,
				"must be less than or equal to %lld (the number of specified "
				"completions)",
				(long long)json_integer_value(completions));
	}
}

static void check_indexes(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const char *const members[] = {"backoffLimitPerIndex", "maxFailedIndexes"};
	const json_t *max = jget(spec, "maxFailedIndexes"), *n = jget(spec, "completions");
	bool indexed = strcmp(jstr(spec, "completionMode"), "Indexed") == 0;
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		if (jget(spec, members[i]) && !indexed)
			v_invalid(c, P_NAME(p, members[i]), jget(spec, members[i]),
				"requires indexed completion mode");
	if (max && !jget(spec, "backoffLimitPerIndex"))
		v_required(
			c, P_NAME(p, "backoffLimitPerIndex"), "when maxFailedIndexes is specified");
	if (max && n && json_integer_value(max) > json_integer_value(n))
		v_invalid(c, P_NAME(p, "maxFailedIndexes"), max,
			"must be less than or equal to completions");
	if (indexed && json_integer_value(n) > 0 &&
		json_integer_value(jget(spec, "parallelism")) > 100000)
		v_invalid(c, P_NAME(p, "parallelism"), jget(spec, "parallelism"),
			"must be less than or equal to 100000 when completion mode is Indexed");
}

void v_job_policies(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const char *const replace[] = {"Failed", "TerminatingOrFailed", NULL};
	static const char *const failed[] = {"Failed", NULL};
	static const struct vrow rows[] = {
		ROW("managedBy", V_FORMAT, .format = fmt_domain_path), {0}};
	const json_t *policy = jget(spec, "podFailurePolicy"), *rules = jget(policy, "rules");
	const struct fpath *fp = P_NAME(p, "podFailurePolicy");
	const struct fpath *tp = P_NAME(P_NAME(P_NAME(p, "template"), "spec"), "restartPolicy");
	const json_t *restart = jget(jget(jget(spec, "template"), "spec"), "restartPolicy");
	v_rows_at(c, p, rows, spec, NULL);
	(void)v_enum(c, P_NAME(p, "podReplacementPolicy"), jget(spec, "podReplacementPolicy"),
		policy ? failed : replace);
	if (policy && restart && strcmp(json_string_value(restart), "OnFailure") == 0)
		v_invalid(c, tp, restart,
			"only \"Never\" is supported when podFailurePolicy is specified");
	if (json_array_size(rules) > 20)
		v_too_many(c, P_NAME(fp, "rules"), json_array_size(rules), 20);
	for (size_t i = 0; i < json_array_size(rules) && i < 20; i++)
		check_failure_rule(
			c, P_INDEX(P_NAME(fp, "rules"), i), json_array_get(rules, i), spec);
	check_success(c, p, spec);
	check_indexes(c, p, spec);
}

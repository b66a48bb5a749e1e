/* SPDX-License-Identifier: Apache-2.0
 * Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController: a selector, a template
 * that it matches, a strategy. */
#include "api/rules/cells.h"
#include "api/rules/pod.h"
#include "api/rules/registry.h"

#define MSG_MISMATCH "`selector` does not match template `labels`"

static const struct fpath spec_path = {.name = "spec"};

static bool selects(const json_t *selector, const json_t *labels)
{
	struct label_selector *s = NULL;
	AUTO_BUF struct buf b = {0};
	bool ok;
	if (label_selector_from_json(selector, &s, NULL) < 0)
		return true; /* reported already */
	json_write(labels ? labels : json_null(), &b);
	ok = label_selector_match(s, jv_of(buf_str(&b)));
	label_selector_free(s);
	return ok;
}

/* Template and selector of one spec. what: "deployment". */
static void check_template(struct causes *c, const json_t *spec, const char *what)
{
	static const char *const always[] = {"Always", NULL};
	const json_t *tmpl = jget(spec, "template"), *sel = jget(spec, "selector");
	const json_t *labels = jget(jget(tmpl, "metadata"), "labels");
	const struct fpath *tp = P_NAME(&spec_path, "template");
	const struct fpath *sp = P_NAME(&spec_path, "selector");
	if (!sel) {
		v_required(c, sp, "");
	} else {
		v_label_selector(c, sp, sel, false);
		if (jequal(sel, NULL) || (jequal(jget(sel, "matchLabels"), NULL) &&
						 jequal(jget(sel, "matchExpressions"), NULL)))
			v_invalid(c, sp, sel, "empty selector is invalid for %s", what);
		else if (!selects(sel, labels))
			v_invalid(
				c, P_NAME(P_NAME(tp, "metadata"), "labels"), labels, MSG_MISMATCH);
	}
	v_pod_template(c, tp, tmpl);
	if (jhas(jget(tmpl, "spec"), "restartPolicy"))
		(void)v_enum(c, P_NAME(P_NAME(tp, "spec"), "restartPolicy"),
			jget(jget(tmpl, "spec"), "restartPolicy"), always);
	if (jget(jget(tmpl, "spec"), "activeDeadlineSeconds"))
		v_forbidden(c, P_NAME(P_NAME(tp, "spec"), "activeDeadlineSeconds"),
			"activeDeadlineSeconds in ReplicaSet is not Supported");
}

static void check_counts(struct causes *c, const json_t *spec)
{
	static const char *const members[] = {
		"replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"};
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		(void)v_nonneg(c, P_NAME(&spec_path, members[i]), jget(spec, members[i]));
}

/* Number or percentage; -1 when invalid, else its value (percent as is). */
static int64_t int_or_percent(struct causes *c, const struct fpath *p, const json_t *v, bool cap)
{
	const char *s = json_string_value(v);
	int64_t n = json_integer_value(v);
	if (s) {
		if (!v_format(c, p, s, fmt_percent))
			return -1;
		(void)str_i64((struct str){s, strlen(s) - 1}, &n);
		if (cap && n > 100)
			v_invalid(c, p, v, "must not be greater than 100%%");
	} else if (v && !v_nonneg(c, p, v)) {
		return -1;
	}
	return n;
}

static void check_rolling(struct causes *c, const struct fpath *p, const json_t *ru)
{
	int64_t down, surge;
	down = int_or_percent(c, P_NAME(p, "maxUnavailable"), jget(ru, "maxUnavailable"), true);
	surge = int_or_percent(c, P_NAME(p, "maxSurge"), jget(ru, "maxSurge"), false);
	if (down == 0 && surge == 0)
		v_invalid(c, P_NAME(p, "maxUnavailable"), jget(ru, "maxUnavailable"),
			"may not be 0 when `maxSurge` is 0");
}

static void check_daemon_rolling(struct causes *c, const struct fpath *p, const json_t *ru)
{
	int64_t down, surge;
	down = int_or_percent(c, P_NAME(p, "maxUnavailable"), jget(ru, "maxUnavailable"), true);
	surge = int_or_percent(c, P_NAME(p, "maxSurge"), jget(ru, "maxSurge"), true);
	if (down == 0 && surge == 0)
		v_required(c, P_NAME(p, "maxUnavailable"), "cannot be 0 when maxSurge is 0");
	else if (down > 0 && surge > 0)
		v_invalid(c, P_NAME(p, "maxSurge"), jget(ru, "maxSurge"),
			"may not be set when maxUnavailable is non-zero");
}

/* kinds: the accepted types, RollingUpdate the one that may carry rollingUpdate. */
static void check_strategy(struct causes *c, const struct fpath *p, const json_t *st,
	const char *const *kinds,
	void (*rolling)(struct causes *c, const struct fpath *p, const json_t *ru))
{
	const json_t *ru = jget(st, "rollingUpdate");
	const struct fpath *rp = P_NAME(p, "rollingUpdate");
	/* an unknown type is reported at the strategy itself */
	if (!v_enum(c, p, jget(st, "type"), kinds))
		return;
	if (strcmp(jstr(st, "type"), "RollingUpdate") == 0) {
		if (ru)
			rolling(c, rp, ru);
		else
			v_required(c, rp, "this should be defaulted and never be nil");
	} else if (ru) {
		AUTO_BUF struct buf b = {0};
		buf_addf(&b, "may not be specified when strategy `type` is '%s'", jstr(st, "type"));
		v_forbidden(c, rp, b.p);
	}
}

static void selector_fixed(struct causes *c, const json_t *spec, const json_t *old)
{
	if (old)
		(void)v_immutable(c, P_NAME(&spec_path, "selector"), jget(spec, "selector"),
			jget(jget(old, "spec"), "selector"));
}

static void deployment(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const kinds[] = {"Recreate", "RollingUpdate", NULL};
	const json_t *spec = jget(obj, "spec"), *deadline = jget(spec, "progressDeadlineSeconds");
	if (*sub)
		return;
	check_counts(c, spec);
	check_template(c, spec, "deployment");
	check_strategy(
		c, P_NAME(&spec_path, "strategy"), jget(spec, "strategy"), kinds, check_rolling);
	if (deadline && json_integer_value(deadline) >= 0 &&
		json_integer_value(deadline) <= json_integer_value(jget(spec, "minReadySeconds")))
		v_invalid(c, P_NAME(&spec_path, "progressDeadlineSeconds"), deadline,
			"must be greater than minReadySeconds");
	selector_fixed(c, spec, old);
}

static void replica_set(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *spec = jget(obj, "spec");
	if (*sub)
		return;
	check_counts(c, spec);
	check_template(c, spec, "deployment");
	selector_fixed(c, spec, old);
}

static void daemon_set(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const kinds[] = {"OnDelete", "RollingUpdate", NULL};
	const json_t *spec = jget(obj, "spec");
	if (*sub)
		return;
	check_counts(c, spec);
	check_template(c, spec, "daemonset");
	check_strategy(c, P_NAME(&spec_path, "updateStrategy"), jget(spec, "updateStrategy"), kinds,
		check_daemon_rolling);
	selector_fixed(c, spec, old);
}

static void check_set_update(struct causes *c, const json_t *spec, const json_t *was)
{
	static const char *const free_members[] = {"replicas", "ordinals", "template",
		"updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy",
		"minReadySeconds"};
	AUTO_JSON json_t *a = json_copy((json_t *)spec), *b = json_copy((json_t *)was);
	for (size_t i = 0; i < ARRAY_LEN(free_members); i++) {
		(void)json_object_del(a, free_members[i]);
		(void)json_object_del(b, free_members[i]);
	}
	if (!jequal(a, b))
		v_forbidden(c, &spec_path,
			"updates to statefulset spec for fields other than 'replicas', 'ordinals', "
			"'template', 'updateStrategy', 'revisionHistoryLimit', "
			"'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are "
			"forbidden");
}

static void check_set_strategy(struct causes *c, const json_t *st)
{
	const struct fpath *p = P_NAME(&spec_path, "updateStrategy");
	const struct fpath *rp = P_NAME(p, "rollingUpdate");
	const json_t *ru = jget(st, "rollingUpdate");
	const char *type = jstr(st, "type");
	if (!*type) {
		v_required(c, p, "");
	} else if (strcmp(type, "OnDelete") == 0) {
		if (ru)
			v_invalid(c, rp, ru, "only allowed for updateStrategy 'RollingUpdate'");
	} else if (strcmp(type, "RollingUpdate") == 0) {
		(void)v_nonneg(c, P_NAME(rp, "partition"), jget(ru, "partition"));
		if (jget(ru, "maxUnavailable") && int_or_percent(c, P_NAME(rp, "maxUnavailable"),
							  jget(ru, "maxUnavailable"), true) == 0)
			v_invalid(c, P_NAME(rp, "maxUnavailable"), jget(ru, "maxUnavailable"),
				"cannot be 0");
	} else {
		v_invalid(c, p, st, "must be 'RollingUpdate' or 'OnDelete'");
	}
}

static void stateful_set(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const keep[] = {"Delete", "Retain", NULL};
	static const char *const times[] = {"whenDeleted", "whenScaled"};
	const json_t *spec = jget(obj, "spec"), *start = jget(jget(spec, "ordinals"), "start");
	const json_t *policy = jget(spec, "podManagementPolicy");
	const json_t *retain = jget(spec, "persistentVolumeClaimRetentionPolicy");
	if (*sub)
		return;
	check_counts(c, spec);
	check_template(c, spec, "statefulset");
	if (!jhas(spec, "podManagementPolicy"))
		v_required(c, P_NAME(&spec_path, "podManagementPolicy"), "");
	else if (strcmp(json_string_value(policy), "OrderedReady") != 0 &&
		 strcmp(json_string_value(policy), "Parallel") != 0)
		v_invalid(c, P_NAME(&spec_path, "podManagementPolicy"), policy,
			"must be 'OrderedReady' or 'Parallel'");
	check_set_strategy(c, jget(spec, "updateStrategy"));
	(void)v_nonneg(c, P_NAME(P_NAME(&spec_path, "ordinals"), "start"), start);
	for (size_t i = 0; i < ARRAY_LEN(times); i++)
		(void)v_enum(c,
			P_NAME(P_NAME(&spec_path, "persistentVolumeClaimRetentionPolicy"),
				times[i]),
			jget(retain, times[i]), keep);
	if (old)
		check_set_update(c, spec, jget(old, "spec"));
}

static bool map_selects(const json_t *sel, const json_t *labels)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)sel, key, v)
		if (!json_equal(v, json_object_get(labels, key)))
			return false;
	return true;
}

static void replication_controller(
	const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *spec = jget(obj, "spec"), *sel = jget(spec, "selector");
	const json_t *tmpl = jget(spec, "template");
	const json_t *labels = jget(jget(tmpl, "metadata"), "labels");
	const struct fpath *tp = P_NAME(&spec_path, "template");
	(void)old;
	if (*sub)
		return;
	check_counts(c, spec);
	if (json_object_size(sel) == 0)
		v_required(c, P_NAME(&spec_path, "selector"), "");
	v_labels(c, P_NAME(&spec_path, "selector"), sel);
	if (!tmpl) {
		v_required(c, tp, "");
		return;
	}
	if (json_object_size(sel) && !map_selects(sel, labels))
		v_invalid(c, P_NAME(P_NAME(tp, "metadata"), "labels"), labels, MSG_MISMATCH);
	v_pod_template(c, tp, tmpl);
}

const struct kind_rules deployment_rules = {.validate = deployment, .cells = workload_cells};
const struct kind_rules replica_set_rules = {.validate = replica_set, .cells = replica_set_cells};
const struct kind_rules stateful_set_rules = {.validate = stateful_set, .cells = workload_cells};
const struct kind_rules daemon_set_rules = {.validate = daemon_set, .cells = daemon_set_cells};
const struct kind_rules replication_controller_rules = {
	.validate = replication_controller, .cells = replica_set_cells};

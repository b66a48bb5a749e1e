/* SPDX-License-Identifier: Apache-2.0
 * What a Job's failed pods mean (podFailurePolicy), when it has enough (successPolicy), and when it
 * has had too much. */
#include "controllers/job.h"

/* --- podFailurePolicy --- */

static bool among(struct jv values, int64_t code)
{
	jv_each (it, values) {
		if (jv_int(it.v, -1) == code)
			return true;
	}
	return false;
}

/* The first container whose exit code fits; absent when there is none. */
static struct jv exited_in(struct jv statuses, struct jv rule)
{
	struct str only = jv_raw_str(jv_get(rule, "containerName"));
	bool in = jv_is_str(jv_get(rule, "operator"), "In");

	jv_each (it, statuses) {
		struct jv end = jv_path(it.v, "state.terminated");
		int64_t code = jv_int(jv_get(end, "exitCode"), 0);
		if (!jv_present(end) || code == 0 ||
			(only.n > 0 && !str_eq(only, jv_raw_str(jv_get(it.v, "name")))))
			continue;
		if (among(jv_get(rule, "values"), code) == in)
			return it.v;
	}
	return (struct jv){0};
}

static struct jv exited(const struct cobj *pod, struct jv rule)
{
	struct jv st = jv_get(pod->v, "status");
	struct jv c = exited_in(jv_get(st, "containerStatuses"), rule);

	return jv_present(c) ? c : exited_in(jv_get(st, "initContainerStatuses"), rule);
}

static struct jv condition_in(const struct cobj *pod, struct jv patterns)
{
	jv_each (it, patterns) {
		struct str type = jv_raw_str(jv_get(it.v, "type")),
			   want = jv_raw_str(jv_get(it.v, "status"));
		jv_each (c, jv_path(pod->v, "status.conditions")) {
			if (str_eq(jv_raw_str(jv_get(c.v, "type")), type) &&
				str_eq(jv_raw_str(jv_get(c.v, "status")),
					want.n > 0 ? want : STR("True")))
				return c.v;
		}
	}
	return (struct jv){0};
}

/* Does the rule fit the pod? Says how. */
static bool fits(struct job *j, const struct cobj *pod, struct jv rule, int i, const char **ret)
{
	struct str action = jv_raw_str(jv_get(rule, "action"));
	struct jv codes = jv_get(rule, "onExitCodes");

	if (jv_present(codes)) {
		struct jv c = exited(pod, codes);
		struct str name = jv_raw_str(jv_get(c, "name"));
		if (!jv_present(c))
			return false;
		*ret = rc_printf(j->rc,
			"Container %.*s for pod %s/%s failed with exit code %lld matching %.*s "
			"rule at index %d",
			STR_FMT(name), pod->ns, pod->name,
			(long long)jv_int(jv_path(c, "state.terminated.exitCode"), 0),
			STR_FMT(action), i);
		return true;
	}
	struct jv c = condition_in(pod, jv_get(rule, "onPodConditions"));
	if (!jv_present(c))
		return false;
	*ret = rc_printf(j->rc, "Pod %s/%s has condition %.*s matching %.*s rule at index %d",
		pod->ns, pod->name, STR_FMT(jv_raw_str(jv_get(c, "type"))), STR_FMT(action), i);
	return true;
}

enum job_action job_failure_action(struct job *j, const struct cobj *pod, const char **ret_message)
{
	static const char *const names[] = {[JOB_COUNT] = "Count",
		[JOB_IGNORE] = "Ignore",
		[JOB_FAIL_JOB] = "FailJob",
		[JOB_FAIL_INDEX] = "FailIndex"};
	const char *how = NULL;
	int i = 0;

	jv_each (it, jv_path(j->spec, "podFailurePolicy.rules")) {
		if (!fits(j, pod, it.v, i++, &how))
			continue;
		for (size_t k = 0; k < ARRAY_LEN(names); k++) {
			if (!jv_is_str(jv_get(it.v, "action"), names[k]))
				continue;
			if (k == JOB_FAIL_JOB && ret_message && !*ret_message)
				*ret_message = how;
			return (enum job_action)k;
		}
		break;
	}
	return JOB_COUNT;
}

/* --- verdicts, in the order in which they are asked for --- */

/* A verdict once stored stays. */
static bool stored(struct job *j)
{
	static const char *const types[] = {"FailureTarget", "SuccessCriteriaMet"};

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct jv c = condition_of(jv_get(j->status, "conditions"), types[i]);
		if (!jv_is_str(jv_get(c, "status"), "True"))
			continue;
		char *message = jv_strdup(jv_get(c, "message"));
		j->verdict = (struct verdict){types[i],
			rc_strdup(j->rc, jv_raw_str(jv_get(c, "reason"))),
			rc_strdup(j->rc, str_of(message ? message : ""))};
		free(message);
		return true;
	}
	return false;
}

static bool fail(struct job *j, const char *reason, const char *message)
{
	j->verdict = (struct verdict){"FailureTarget", reason, message};
	return true;
}

static int64_t restarts_in(struct jv statuses)
{
	int64_t n = 0;

	jv_each (it, statuses)
		n += jv_int(jv_get(it.v, "restartCount"), 0);
	return n;
}

/* Containers restarted in place count as failures too. */
static bool too_many_restarts(const struct job *j)
{
	int64_t n = 0;

	if (!jv_is_str(jv_path(j->spec, "template.spec.restartPolicy"), "OnFailure"))
		return false;
	for (size_t i = 0; i < j->n; i++) {
		struct jv st = jv_get(j->pods[i].o->v, "status");
		enum phase p = pod_of(j->pods[i].o)->phase;
		if (p == PHASE_RUNNING || p == PHASE_PENDING)
			n += restarts_in(jv_get(st, "containerStatuses")) +
			     restarts_in(jv_get(st, "initContainerStatuses"));
	}
	return j->backoff_limit == 0 ? n > 0 : n >= j->backoff_limit;
}

static bool overdue(struct job *j)
{
	struct jv limit = jv_get(j->spec, "activeDeadlineSeconds");
	int64_t start = time_of(jv_get(j->status, "startTime"));

	if (!jv_present(limit) || j->suspended)
		return false;
	if (start == 0) /* it starts now */
		start = j->rc->now;
	int64_t left = start + jv_int(limit, 0) * NS_PER_SEC - j->rc->now;
	if (left > 0)
		rc_requeue(j->rc, left);
	return left <= 0;
}

static bool succeeds_by_policy(struct job *j)
{
	int n = 0;

	jv_each (it, jv_path(j->spec, "successPolicy.rules")) {
		struct str text = jv_raw_str(jv_get(it.v, "succeededIndexes"));
		int64_t want = jv_int(jv_get(it.v, "succeededCount"), -1);
		int64_t have = indexes_count(&j->done);
		if (text.n > 0) {
			struct indexes s = {0};
			indexes_parse(j->rc, &s, text);
			have = indexes_common(&s, &j->done);
			if (want < 0)
				want = indexes_count(&s);
		}
		if (want > 0 && have >= want) {
			j->verdict = (struct verdict){"SuccessCriteriaMet", "SuccessPolicy",
				rc_printf(j->rc, "Matched rules at index %d", n)};
			return true;
		}
		n++;
	}
	return false;
}

static bool loses_indexes(struct job *j)
{
	struct jv max = jv_get(j->spec, "maxFailedIndexes");
	int64_t lost = indexes_count(&j->lost);

	if (!j->indexed || j->per_index_limit < 0)
		return false;
	if (jv_present(max) && lost > jv_int(max, 0))
		return fail(j, "MaxFailedIndexesExceeded",
			"Job has exceeded the specified maximal number of failed indexes");
	if (lost > 0 && lost + indexes_count(&j->done) >= j->completions)
		return fail(j, "FailedIndexes", "Job has failed indexes");
	return false;
}

static bool complete(struct job *j)
{
	bool enough = j->completions < 0 ? j->succeeded > 0 : j->succeeded >= j->completions;

	if (!enough || j->active > 0)
		return false;
	j->verdict = (struct verdict){"SuccessCriteriaMet", "CompletionsReached",
		"Reached expected number of succeeded pods"};
	return true;
}

void job_judge(struct job *j)
{
	if (stored(j))
		return;
	if (j->fail_message) {
		(void)fail(j, "PodFailurePolicy", j->fail_message);
		return;
	}
	if (j->failed > j->backoff_limit || too_many_restarts(j)) {
		(void)fail(
			j, "BackoffLimitExceeded", "Job has reached the specified backoff limit");
		return;
	}
	if (overdue(j)) {
		(void)fail(j, "DeadlineExceeded", "Job was active longer than specified deadline");
		return;
	}
	if (j->indexed && succeeds_by_policy(j))
		return;
	if (!loses_indexes(j))
		(void)complete(j);
}

/* SPDX-License-Identifier: Apache-2.0
 * A Job's status: numbers, who is not counted yet, and conditions. */
#include "controllers/job.h"

static void set_or_del(json_t *o, const char *name, json_t *v, bool keep)
{
	if (keep) {
		(void)json_object_set_new(o, name, v);
		return;
	}
	json_decref(v);
	(void)json_object_del(o, name);
}

static void set_number(json_t *st, const char *name, int64_t n)
{
	set_or_del(st, name, json_integer(n), n != 0);
}

static json_t *cond_get(json_t *st, const char *type)
{
	size_t i;
	json_t *c;

	json_array_foreach (json_object_get(st, "conditions"), i, c)
		if (strcmp(json_str(c, "type", ""), type) == 0)
			return c;
	return NULL;
}

/* Sets the condition; false = it says that already (or would only say a first "False"). */
static bool cond_set(struct job *j, json_t *st, const char *type, const char *status,
	const char *reason, const char *message)
{
	json_t *list = json_object_get(st, "conditions"), *c = cond_get(st, type);
	const char *now = rc_time(j->rc, j->rc->now);

	if (c ? strcmp(json_str(c, "status", ""), status) == 0 : strcmp(status, "True") != 0)
		return false;
	if (!json_is_array(list)) {
		list = json_array();
		(void)json_object_set_new(st, "conditions", list);
	}
	if (!c) {
		c = json_object();
		(void)json_array_append_new(list, c);
	}
	(void)json_object_update_new(
		c, json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "type", type, "status", status,
			   "lastProbeTime", now, "lastTransitionTime", now, "reason", reason,
			   "message", message));
	return true;
}

/* The end is told when the last pod has gone and all are counted. */
static void finish(struct job *j, json_t *st)
{
	bool good = strcmp(j->verdict.type, "SuccessCriteriaMet") == 0;
	const char *now = rc_time(j->rc, j->rc->now);

	(void)cond_set(j, st, j->verdict.type, "True", j->verdict.reason, j->verdict.message);
	if (j->active > 0 || j->terminating > 0 || json_array_size(j->unc_succeeded) > 0 ||
		json_array_size(j->unc_failed) > 0)
		return;
	(void)cond_set(
		j, st, good ? "Complete" : "Failed", "True", j->verdict.reason, j->verdict.message);
	if (good)
		(void)json_object_set_new(st, "completionTime", json_string(now));
	rc_event(j->rc, R_JOB, j->obj, !good, good ? "Completed" : j->verdict.reason, "%s",
		good ? "Job completed" : j->verdict.message);
}

static void suspension(struct job *j, json_t *st)
{
	const char *now = rc_time(j->rc, j->rc->now);

	if (j->suspended) {
		if (cond_set(j, st, "Suspended", "True", "JobSuspended", "Job suspended"))
			rc_event(j->rc, R_JOB, j->obj, false, "Suspended", "Job suspended");
		return;
	}
	bool resumed = cond_set(j, st, "Suspended", "False", "JobResumed", "Job resumed");
	if (resumed)
		rc_event(j->rc, R_JOB, j->obj, false, "Resumed", "Job resumed");
	if (resumed || !json_object_get(st, "startTime"))
		(void)json_object_set_new(st, "startTime", json_string(now));
}

void job_write_status(struct job *j)
{
	json_t *st = NULL, *unc = json_object();

	if (!jv_present(j->status) || json_parse(jv_bytes(j->status), &st, NULL) < 0)
		st = json_object();
	set_number(st, "active", j->active);
	set_number(st, "succeeded", j->counted_succeeded);
	set_number(st, "failed", j->counted_failed);
	(void)json_object_set_new(st, "ready", json_integer(j->ready));
	(void)json_object_set_new(st, "terminating", json_integer(j->terminating));
	if (j->indexed)
		set_or_del(st, "completedIndexes", json_string(indexes_text(j->rc, &j->done)),
			j->done.n > 0);
	if (j->indexed && j->per_index_limit >= 0)
		(void)json_object_set_new(
			st, "failedIndexes", json_string(indexes_text(j->rc, &j->lost)));
	set_or_del(unc, "succeeded", json_incref(j->unc_succeeded),
		json_array_size(j->unc_succeeded) > 0);
	set_or_del(unc, "failed", json_incref(j->unc_failed), json_array_size(j->unc_failed) > 0);
	(void)json_object_set_new(st, "uncountedTerminatedPods", unc);
	if (j->verdict.type)
		finish(j, st);
	else
		suspension(j, st);
	(void)rc_status(j->rc, R_JOB, j->obj, st);
}

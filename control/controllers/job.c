/* SPDX-License-Identifier: Apache-2.0
 * Job: pods until enough of them have succeeded. */
#include "controllers/job.h"

struct jv job_finished(const struct cobj *job)
{
	static const char *const ends[] = {"Complete", "Failed"};

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		struct jv c = condition_of(jv_path(job->v, "status.conditions"), ends[i]);
		if (jv_is_str(jv_get(c, "status"), "True"))
			return c;
	}
	return (struct jv){0};
}

static bool ours(const struct cobj *job)
{
	struct jv by = jv_path(job->v, "spec.managedBy");

	return !jv_present(by) || jv_is_str(by, JOB_CONTROLLER);
}

static bool held(const struct cobj *pod)
{
	return has_finalizer(jv_path(pod->v, "metadata.finalizers"), JOB_FINALIZER);
}

/* --- what there is --- */

static void load_spec(struct job *j)
{
	struct jv s = j->spec;

	j->completions = jv_int(jv_get(s, "completions"), -1);
	j->parallelism = jv_int(jv_get(s, "parallelism"), 1);
	j->backoff_limit = jv_int(jv_get(s, "backoffLimit"), 6);
	j->per_index_limit = jv_int(jv_get(s, "backoffLimitPerIndex"), -1);
	j->indexed = jv_is_str(jv_get(s, "completionMode"), "Indexed");
	j->suspended = jv_bool(jv_get(s, "suspend"), false);
	j->only_failed = jv_is_str(jv_get(s, "podReplacementPolicy"), "Failed");
	j->counted_succeeded = jv_int(jv_get(j->status, "succeeded"), 0);
	j->counted_failed = jv_int(jv_get(j->status, "failed"), 0);
	indexes_parse(j->rc, &j->done, jv_raw_str(jv_get(j->status, "completedIndexes")));
	indexes_parse(j->rc, &j->lost, jv_raw_str(jv_get(j->status, "failedIndexes")));
}

static bool listed(struct jv list, const char *uid)
{
	jv_each (it, list) {
		if (jv_is_str(it.v, uid))
			return true;
	}
	return false;
}

static struct job_pod view(struct job *j, struct cobj *o)
{
	const struct pod *p = pod_of(o);
	struct jv unc = jv_get(j->status, "uncountedTerminatedPods");
	struct job_pod v = {.o = o, .index = -1, .held = held(o)};

	if (j->indexed && (str_i64(annotation(o, JOB_INDEX), &v.index) < 0 || v.index < 0 ||
				  v.index >= j->completions))
		v.index = -1;
	v.active = pod_active(p);
	v.terminating = p->deleting && !pod_done(p);
	v.succeeded = p->phase == PHASE_SUCCEEDED;
	v.failed = p->phase == PHASE_FAILED || (v.terminating && !j->only_failed);
	v.listed = v.held && (listed(jv_get(unc, "succeeded"), o->uid) ||
				     listed(jv_get(unc, "failed"), o->uid));
	j->active += v.active;
	j->terminating += v.terminating;
	j->ready += v.active && p->ready;
	if (p->phase == PHASE_FAILED)
		v.action = job_failure_action(j, o, v.held ? &j->fail_message : NULL);
	return v;
}

static bool load_pods(struct job *j)
{
	struct pods pods;

	if (pods_claim(j->rc, R_JOB, j->obj, &pods) < 0)
		return false;
	j->pods = arena_alloc(&j->rc->arena, (pods.n + 1) * sizeof(*j->pods));
	if (!j->pods) {
		j->rc->again = true;
		return false;
	}
	for (size_t i = 0; i < pods.n; i++)
		j->pods[j->n++] = view(j, pods.v[i]);
	return true;
}

/* --- counting --- */

static const struct job_pod *pod_by_uid(const struct job *j, struct jv uid)
{
	for (size_t i = 0; i < j->n; i++)
		if (jv_is_str(uid, j->pods[i].o->uid))
			return &j->pods[i];
	return NULL;
}

/* Those whose finalizer is gone are counted for good, the others stay in the list. */
static json_t *settle(struct job *j, struct jv list, int64_t *counter)
{
	json_t *rest = json_array();

	jv_each (it, list) {
		const struct job_pod *p = pod_by_uid(j, it.v);
		if (p && p->held)
			(void)json_array_append_new(rest, json_string(p->o->uid));
		else
			++*counter;
	}
	return rest;
}

static void count_success(struct job *j, const struct job_pod *p)
{
	if (j->indexed) {
		if (p->index < 0 || indexes_have(&j->done, p->index))
			return;
		indexes_add(j->rc, &j->done, p->index, p->index);
	}
	(void)json_array_append_new(j->unc_succeeded, json_string(p->o->uid));
}

static bool is_lost(struct job *j, const struct job_pod *p)
{
	int64_t ignored;

	return p->index >= 0 && j->per_index_limit >= 0 && !indexes_have(&j->done, p->index) &&
	       (p->action == JOB_FAIL_INDEX ||
		       job_index_failures(j, p->index, &ignored) > j->per_index_limit);
}

/* The last failed pod of an index carries the count of its failures: it stays until another pod
 * carries on. */
static bool last_of_index(const struct job *j, const struct job_pod *p)
{
	if (j->per_index_limit < 0 || p->index < 0 || j->verdict.type || j->suspended ||
		indexes_have(&j->done, p->index) || indexes_have(&j->lost, p->index))
		return false;
	for (size_t i = 0; i < j->n; i++)
		if (j->pods[i].index == p->index && j->pods[i].active)
			return false;
	return true;
}

static void count_failure(struct job *j, const struct job_pod *p)
{
	if (p->action != JOB_IGNORE && (!j->indexed || p->index >= 0))
		(void)json_array_append_new(j->unc_failed, json_string(p->o->uid));
}

/* First who has newly ended, then what all of it amounts to. */
static void count(struct job *j)
{
	struct jv unc = jv_get(j->status, "uncountedTerminatedPods");

	j->unc_succeeded = settle(j, jv_get(unc, "succeeded"), &j->counted_succeeded);
	j->unc_failed = settle(j, jv_get(unc, "failed"), &j->counted_failed);
	for (size_t i = 0; i < j->n; i++)
		if (j->pods[i].held && j->pods[i].succeeded && !j->pods[i].listed)
			count_success(j, &j->pods[i]);
	for (size_t i = 0; i < j->n; i++)
		if (j->pods[i].held && j->pods[i].failed && is_lost(j, &j->pods[i]))
			indexes_add(j->rc, &j->lost, j->pods[i].index, j->pods[i].index);
	for (size_t i = 0; i < j->n; i++) {
		struct job_pod *p = &j->pods[i];
		if (!p->held || !p->failed || p->listed)
			continue;
		j->failed += p->action != JOB_IGNORE && (!j->indexed || p->index >= 0);
	}
	j->failed += j->counted_failed + (int64_t)json_array_size(j->unc_failed);
	j->succeeded = j->indexed
			       ? indexes_count(&j->done)
			       : j->counted_succeeded + (int64_t)json_array_size(j->unc_succeeded);
	if (j->indexed)
		j->counted_succeeded = j->succeeded;
}

static void list_failures(struct job *j)
{
	for (size_t i = 0; i < j->n; i++) {
		struct job_pod *p = &j->pods[i];
		if (!p->held || !p->failed || p->listed)
			continue;
		p->wait = last_of_index(j, p);
		if (!p->wait)
			count_failure(j, p);
	}
}

/* After the status that lists them is stored. */
static void release_counted(struct job *j)
{
	struct action **first = j->rc->tail;

	for (size_t i = 0; i < j->n; i++) {
		const struct job_pod *p = &j->pods[i];
		if (p->held && (p->succeeded || p->failed) && !p->wait)
			job_release(j->rc, p->o);
	}
	if (*first)
		(*first)->after_others = true;
}

static void sync_job(struct job *j)
{
	load_spec(j);
	if (!load_pods(j))
		return;
	count(j);
	job_judge(j);
	list_failures(j);
	job_write_status(j);
	release_counted(j);
	if (j->verdict.type)
		job_drop_active(j);
	else
		job_manage(j);
	json_decref(j->unc_succeeded);
	json_decref(j->unc_failed);
}

/* --- pods whose Job needs no counts any more --- */

/* Of the Jobs with that name, but not of `keep`. */
static void release_others(struct rc *rc, const char *ns, const char *name, const struct cobj *keep)
{
	rc_each(rc, R_POD, ns, it)
	{
		struct owner_ref ref;
		if (!held(it.obj) || !controller_of(it.obj, &ref) || !str_eqz(ref.kind, "Job") ||
			!str_eqz(ref.name, name))
			continue;
		if (!keep || !str_eqz(ref.uid, keep->uid))
			job_release(rc, it.obj);
	}
}

static bool wants(struct rc *rc, const struct cobj *job, const struct cobj *pod)
{
	const struct label_selector *s = rc_selector(rc, jv_path(job->v, "spec.selector"));

	return s && !label_selector_empty(s) && label_selector_match(s, labels_of(pod));
}

/* A pod without controller loses the finalizer, unless a Job is about to adopt it. */
static void release_orphan(struct rc *rc, const struct cobj *pod)
{
	struct owner_ref ref;

	if (!pod || !held(pod) || controller_of(pod, &ref))
		return;
	rc_each(rc, R_JOB, pod->ns, it)
	{
		if (pod_active(pod_of(pod)) && !deleting(it.obj) && ours(it.obj) &&
			!jv_present(job_finished(it.obj)) && wants(rc, it.obj, pod))
			return;
	}
	job_release(rc, pod);
}

#define ORPHAN "pod:" /* starts a key that names a pod */

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	if (strncmp(name, ORPHAN, sizeof(ORPHAN) - 1) == 0) {
		release_orphan(rc, rc_get(rc, R_POD, ns, name + sizeof(ORPHAN) - 1));
		return;
	}
	struct job j = {.rc = rc, .obj = rc_get(rc, R_JOB, ns, name)};
	if (j.obj && !ours(j.obj))
		return;
	if (!j.obj || deleting(j.obj) || jv_present(job_finished(j.obj))) {
		release_others(rc, ns, name, NULL);
		return;
	}
	release_others(rc, ns, name, j.obj);
	j.spec = jv_get(j.obj->v, "spec");
	j.status = jv_get(j.obj->v, "status");
	sync_job(&j);
}

static void map_pod(struct rc *rc, struct cobj *old, struct cobj *new)
{
	struct owner_ref ref;

	map_owned(rc, R_JOB, old, new);
	if (new &&held(new) && !controller_of(new, &ref))
		rc_key(rc, new->ns, rc_printf(rc, ORPHAN "%s", new->name));
}

const struct controller controller_job = {
	.component = "job-controller",
	.reconcile = reconcile,
	.watches = {{R_JOB, map_self}, {R_POD, map_pod}},
};

/* SPDX-License-Identifier: Apache-2.0
 * The pods of a Job: which to make, for which index and when, and which to take away. */
#include "controllers/job.h"

#define BURST	    500 /* pods made or taken away in one go */
#define BACKOFF	    (10 * NS_PER_SEC)
#define BACKOFF_MAX (600 * NS_PER_SEC)

void job_release(struct rc *rc, const struct cobj *pod)
{
	json_t *rest = json_array();

	jv_each (it, jv_path(pod->v, "metadata.finalizers")) {
		struct str s = jv_raw_str(it.v);
		if (!str_eqz(s, JOB_FINALIZER))
			(void)json_array_append_new(rest, json_stringn(s.p, s.n));
	}
	if (json_array_size(rest) == 0) {
		json_decref(rest);
		rest = json_null();
	}
	(void)rc_patch(rc, R_POD, pod, NULL,
		json_pack("{s:{s:s,s:o}}", "metadata", "uid", pod->uid, "finalizers", rest));
}

static void drop(struct job *j, const struct cobj *pod)
{
	struct action *a = rc_delete(j->rc, R_POD, pod);

	on_ok(j->rc, a, R_JOB, j->obj, "SuccessfulDelete", "Deleted pod: %s", pod->name);
	on_fail(j->rc, a, R_JOB, j->obj, "FailedDelete", "Error deleting: ");
}

void job_drop_active(struct job *j)
{
	for (size_t i = 0; i < j->n; i++)
		if (j->pods[i].active)
			drop(j, j->pods[i].o);
}

/* Pods that are not wanted any more are let go first, so that they count neither way. */
static void drop_uncounted(struct job *j, struct job_pod *const *v, size_t n)
{
	n = n > BURST ? BURST : n;
	for (size_t i = 0; i < n; i++)
		if (v[i]->held)
			job_release(j->rc, v[i]->o);
	struct action **first = j->rc->tail;
	for (size_t i = 0; i < n; i++)
		drop(j, v[i]->o);
	if (*first)
		(*first)->after_others = true;
}

static int doom_order(const void *x, const void *y)
{
	const struct job_pod *a = *(struct job_pod *const *)x, *b = *(struct job_pod *const *)y;
	const struct pod *p = pod_of(a->o), *q = pod_of(b->o);

	if ((p->node[0] != 0) != (q->node[0] != 0))
		return p->node[0] ? 1 : -1;
	if ((p->phase == PHASE_RUNNING) != (q->phase == PHASE_RUNNING))
		return p->phase == PHASE_RUNNING ? 1 : -1;
	if (p->ready != q->ready)
		return p->ready ? 1 : -1;
	if (p->created != q->created)
		return p->created > q->created ? -1 : 1;
	return strcmp(a->o->name, b->o->name);
}

/* The active pods, those to go first in front. */
static struct job_pod **ranked(struct job *j)
{
	struct job_pod **v = arena_alloc(&j->rc->arena, (j->n + 1) * sizeof(struct job_pod *));
	size_t n = 0;

	if (!v) {
		j->rc->again = true;
		return NULL;
	}
	for (size_t i = 0; i < j->n; i++)
		if (j->pods[i].active)
			v[n++] = &j->pods[i];
	qsort(v, n, sizeof(struct job_pod *), doom_order);
	return v;
}

/* Brings the pods that no index needs to the front: of two for one index the worse one. */
static size_t surplus(struct job *j, struct job_pod **v, size_t n)
{
	struct indexes seen = {0};
	size_t found = 0;

	for (size_t i = n; j->indexed && i-- > found;) {
		struct job_pod *p = v[i];
		if (p->index >= 0 && !indexes_have(&seen, p->index) &&
			!indexes_have(&j->done, p->index)) {
			indexes_add(j->rc, &seen, p->index, p->index);
			continue;
		}
		/* keep the order of the rest */
		memmove(&v[found + 1], &v[found], (i - found) * sizeof(struct job_pod *));
		v[found++] = p;
		i++;
	}
	return found;
}

/* --- making --- */

int64_t job_finish_time(const struct cobj *pod)
{
	int64_t t = 0;

	jv_each (it, jv_path(pod->v, "status.containerStatuses")) {
		int64_t end = time_of(jv_path(it.v, "state.terminated.finishedAt"));
		t = end > t ? end : t;
	}
	if (t == 0) {
		struct jv c = condition_of(jv_path(pod->v, "status.conditions"), "Ready");
		t = time_of(jv_get(c, "lastTransitionTime"));
	}
	return t > pod_of(pod)->created ? t : pod_of(pod)->created;
}

int64_t job_index_failures(const struct job *j, int64_t index, int64_t *ret_ignored)
{
	int64_t most = 0;

	*ret_ignored = 0;
	for (size_t i = 0; i < j->n; i++) {
		const struct job_pod *p = &j->pods[i];
		int64_t n = 0, ignored = 0;
		if (p->index != index)
			continue;
		(void)str_i64(annotation(p->o, JOB_FAILURES), &n);
		(void)str_i64(annotation(p->o, JOB_IGNORED), &ignored);
		if (p->failed && (p->held || !pod_of(p->o)->deleting)) {
			n += p->action != JOB_IGNORE;
			ignored += p->action == JOB_IGNORE;
		}
		most = n > most ? n : most;
		*ret_ignored = ignored > *ret_ignored ? ignored : *ret_ignored;
	}
	return most;
}

/* How long to wait after the failures since the last success; of one index, or of all (-1). */
static int64_t backoff(struct job *j, int64_t index)
{
	int64_t last = 0, good = 0, failures = 0, wait = BACKOFF;

	for (size_t i = 0; i < j->n; i++)
		if (j->pods[i].succeeded && job_finish_time(j->pods[i].o) > good)
			good = job_finish_time(j->pods[i].o);
	for (size_t i = 0; i < j->n; i++) {
		const struct job_pod *p = &j->pods[i];
		int64_t t = job_finish_time(p->o);
		if (pod_of(p->o)->phase != PHASE_FAILED || pod_of(p->o)->deleting ||
			p->action == JOB_IGNORE || (index >= 0 && p->index != index) ||
			(index < 0 && t <= good))
			continue;
		failures++;
		last = t > last ? t : last;
	}
	if (failures == 0)
		return 0;
	while (--failures > 0 && wait < BACKOFF_MAX)
		wait *= 2;
	return last + (wait > BACKOFF_MAX ? BACKOFF_MAX : wait) - j->rc->now;
}

static void add_index_env(json_t *spec, const char *list)
{
	size_t i, k;
	json_t *c, *v;

	json_array_foreach (json_object_get(spec, list), i, c) {
		json_t *env = json_object_get(c, "env");
		bool have = false;
		json_array_foreach (env, k, v)
			have |= strcmp(json_str(v, "name", ""), "JOB_COMPLETION_INDEX") == 0;
		if (have)
			continue;
		if (!json_is_array(env)) {
			env = json_array();
			(void)json_object_set_new(c, "env", env);
		}
		(void)json_array_append_new(env,
			json_pack("{s:s,s:{s:{s:s}}}", "name", "JOB_COMPLETION_INDEX", "valueFrom",
				"fieldRef", "fieldPath", "metadata.labels['" JOB_INDEX "']"));
	}
}

static void set_index(struct job *j, json_t *pod, int64_t index)
{
	json_t *meta = json_make(pod, "metadata"), *ann = json_make(meta, "annotations"),
	       *spec = json_make(pod, "spec");
	int64_t ignored, n = job_index_failures(j, index, &ignored);

	(void)json_object_set_new(ann, JOB_INDEX, json_sprintf("%lld", (long long)index));
	(void)json_object_set_new(
		json_make(meta, "labels"), JOB_INDEX, json_sprintf("%lld", (long long)index));
	if (j->per_index_limit >= 0)
		(void)json_object_set_new(ann, JOB_FAILURES, json_sprintf("%lld", (long long)n));
	if (j->per_index_limit >= 0 && ignored > 0)
		(void)json_object_set_new(
			ann, JOB_IGNORED, json_sprintf("%lld", (long long)ignored));
	(void)json_object_set_new(
		meta, "generateName", json_sprintf("%s-%lld-", j->obj->name, (long long)index));
	(void)json_object_set_new(
		spec, "hostname", json_sprintf("%s-%lld", j->obj->name, (long long)index));
	add_index_env(spec, "containers");
	add_index_env(spec, "initContainers");
}

static void create(struct job *j, const json_t *tmpl, int64_t index)
{
	json_t *pod = pod_make(R_JOB, j->obj, tmpl), *meta = json_make(pod, "metadata");
	json_t *fin = json_object_get(meta, "finalizers");

	if (!json_is_array(fin)) {
		fin = json_array();
		(void)json_object_set_new(meta, "finalizers", fin);
	}
	(void)json_array_append_new(fin, json_string(JOB_FINALIZER));
	(void)json_object_set_new(meta, "generateName", json_sprintf("%s-", j->obj->name));
	if (index >= 0)
		set_index(j, pod, index);
	struct action *a = rc_create(j->rc, R_POD, j->obj->ns, pod);
	on_ok(j->rc, a, R_JOB, j->obj, "SuccessfulCreate", "Created pod: ");
	on_fail(j->rc, a, R_JOB, j->obj, "FailedCreate", "Error creating: ");
}

/* The lowest indexes that nobody works on. */
static void create_indexed(struct job *j, const json_t *tmpl, int64_t n)
{
	struct indexes busy = {0};

	for (size_t i = 0; i < j->done.n; i++)
		indexes_add(j->rc, &busy, j->done.v[i].first, j->done.v[i].last);
	for (size_t i = 0; i < j->lost.n; i++)
		indexes_add(j->rc, &busy, j->lost.v[i].first, j->lost.v[i].last);
	for (size_t i = 0; i < j->n; i++) {
		const struct job_pod *p = &j->pods[i];
		if (p->index >= 0 && (p->active || (p->terminating && j->only_failed)))
			indexes_add(j->rc, &busy, p->index, p->index);
	}
	for (int64_t i = 0; i < j->completions && n > 0 && !j->rc->again; i++) {
		if (indexes_have(&busy, i))
			continue;
		int64_t wait = j->per_index_limit >= 0 ? backoff(j, i) : 0;
		if (wait > 0) {
			rc_requeue(j->rc, wait);
			continue;
		}
		create(j, tmpl, i);
		n--;
	}
}

static void create_pods(struct job *j, int64_t n)
{
	int64_t wait = j->per_index_limit < 0 ? backoff(j, -1) : 0;
	json_t *tmpl = NULL;

	if (wait > 0) {
		rc_requeue(j->rc, wait);
		return;
	}
	if (json_parse(jv_bytes(jv_get(j->spec, "template")), &tmpl, NULL) < 0) {
		j->rc->again = true;
		return;
	}
	n = n > BURST ? BURST : n;
	if (j->indexed)
		create_indexed(j, tmpl, n);
	for (int64_t i = 0; !j->indexed && i < n; i++)
		create(j, tmpl, -1);
	json_decref(tmpl);
}

static int64_t wanted(const struct job *j)
{
	int64_t n = j->completions - j->succeeded;

	if (j->suspended)
		return 0;
	if (j->completions < 0) /* a work queue: after the first success nobody new */
		return j->succeeded > 0 && j->active < j->parallelism ? j->active : j->parallelism;
	n = n > j->parallelism ? j->parallelism : n;
	return n < 0 ? 0 : n;
}

void job_manage(struct job *j)
{
	struct job_pod **v = ranked(j);
	int64_t want = wanted(j);

	if (!v)
		return;
	size_t n = (size_t)j->active, out = surplus(j, v, n);
	if (j->active - want > (int64_t)out)
		out = (size_t)(j->active - want);
	if (out > 0) {
		drop_uncounted(j, v, out);
		return;
	}
	int64_t more = want - j->active - (j->only_failed ? j->terminating : 0);
	if (more > 0)
		create_pods(j, more);
}

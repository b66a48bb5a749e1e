/* SPDX-License-Identifier: Apache-2.0
 * ReplicaSet: as many active pods as wanted; adopts matching orphans, releases what no longer
 * matches. */
#include "controllers/object.h"

#define BURST 500 /* pods created or deleted in one go */

struct owned { /* the pods that belong to one ReplicaSet */
	struct cobj **active;
	size_t n_active, cap;
	int64_t terminating;
};

/* --- claiming --- */

static void adopt(struct rc *rc, const struct cobj *rs, const struct cobj *pod)
{
	json_t *refs = json_array();
	json_t *old = NULL;

	struct jv have = jv_path(pod->v, "metadata.ownerReferences");
	if (jv_present(have) && json_parse(jv_bytes(have), &old, NULL) == 0)
		(void)json_array_extend(refs, old);
	json_decref(old);
	(void)json_array_append_new(refs, owner_json(R_RS, rs));
	(void)rc_patch(rc, R_POD, pod, NULL,
		json_pack("{s:{s:s,s:o}}", "metadata", "uid", pod->uid, "ownerReferences", refs));
}

static void release(struct rc *rc, const struct cobj *rs, const struct cobj *pod)
{
	json_t *refs = json_array();

	jv_each (it, jv_path(pod->v, "metadata.ownerReferences")) {
		json_t *ref = NULL;
		if (!str_eqz(owner_ref_of(it.v).uid, rs->uid) &&
			json_parse(jv_bytes(it.v), &ref, NULL) == 0)
			(void)json_array_append_new(refs, ref);
	}
	(void)rc_patch(rc, R_POD, pod, NULL,
		json_pack("{s:{s:s,s:o}}", "metadata", "uid", pod->uid, "ownerReferences", refs));
}

static void owned_add(struct rc *rc, struct owned *o, struct cobj *pod)
{
	if (o->n_active == o->cap) {
		size_t cap = o->cap ? o->cap * 2 : 16;
		struct cobj **p = arena_alloc(&rc->arena, cap * sizeof(struct cobj *));
		if (!p) {
			rc->again = true;
			return;
		}
		if (o->n_active > 0)
			memcpy(p, o->active, o->n_active * sizeof(struct cobj *));
		o->active = p;
		o->cap = cap;
	}
	o->active[o->n_active++] = pod;
}

static void claim(
	struct rc *rc, const struct cobj *rs, const struct label_selector *sel, struct owned *o)
{
	rc_each(rc, R_POD, rs->ns, it)
	{
		struct cobj *pod = it.obj;
		const struct pod *p = pod_of(pod);
		struct owner_ref ref;
		bool has = controller_of(pod, &ref), match, mine;
		if (!p || (has && !str_eqz(ref.uid, rs->uid)))
			continue;
		match = label_selector_match(sel, labels_of(pod));
		mine = has && match;
		if (has && !match && !deleting(rs))
			release(rc, rs, pod);
		if (!has && match && pod_active(p) && !deleting(rs)) {
			adopt(rc, rs, pod);
			mine = true;
		}
		if (mine && pod_active(p))
			owned_add(rc, o, pod);
		else if (mine && p->deleting && !pod_done(p))
			o->terminating++;
	}
}

/* --- which pods go first --- */

struct ranked {
	struct cobj *obj;
	const struct pod *pod;
	int64_t cost;
	size_t neighbours; /* related active pods on the same node */
};

static int cmp_i64(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

/* Pods that differ little in age count as equally old, so that the choice is not always the newest:
 * ages are compared by their logarithm. */
static int64_t age_rank(int64_t since, int64_t now)
{
	int64_t age = (now - since) / NS_PER_SEC, rank = 0;

	for (; age > 1; age /= 2)
		rank++;
	return rank;
}

static int64_t sort_now; /* set around qsort: controllers run on one thread */

static int doom_order(const void *x, const void *y)
{
	static const int phase_rank[] = {
		[PHASE_PENDING] = 0, [PHASE_UNKNOWN] = 1, [PHASE_RUNNING] = 2};
	const struct ranked *a = x, *b = y;
	const struct pod *p = a->pod, *q = b->pod;
	int c;

	if ((c = cmp_i64(p->node[0] != '\0', q->node[0] != '\0')) ||
		(c = phase_rank[p->phase] - phase_rank[q->phase]) || (c = p->ready - q->ready) ||
		(c = cmp_i64(a->cost, b->cost)) ||
		(c = cmp_i64((int64_t)b->neighbours, (int64_t)a->neighbours)))
		return c;
	if (p->ready && q->ready &&
		(c = cmp_i64(
			 age_rank(p->ready_since, sort_now), age_rank(q->ready_since, sort_now))))
		return c;
	if ((c = q->restarts - p->restarts) ||
		(c = cmp_i64(age_rank(p->created, sort_now), age_rank(q->created, sort_now))))
		return c;
	return strcmp(a->obj->uid, b->obj->uid);
}

/* Is the pod one of a ReplicaSet with the same controller as rs (or of rs itself)? */
static bool related(struct rc *rc, const struct cobj *rs, const struct cobj *pod)
{
	struct owner_ref pr, mine, theirs;

	if (!controller_of(pod, &pr))
		return false;
	if (str_eqz(pr.uid, rs->uid))
		return true;
	const struct cobj *other = rc_get(rc, R_RS, rs->ns, rc_strdup(rc, pr.name));
	return other && controller_of(rs, &mine) && controller_of(other, &theirs) &&
	       str_eq(mine.uid, theirs.uid);
}

static size_t count_neighbours(struct rc *rc, const struct cobj *rs, const char *node)
{
	size_t n = 0;

	rc_each(rc, R_POD, rs->ns, it)
	{
		const struct pod *p = pod_of(it.obj);
		if (p && pod_active(p) && strcmp(p->node, node) == 0 && related(rc, rs, it.obj))
			n++;
	}
	return n;
}

static void delete_pods(struct rc *rc, const struct cobj *rs, const struct owned *o, size_t n)
{
	struct ranked *v = arena_alloc(&rc->arena, o->n_active * sizeof(*v));

	if (!v) {
		rc->again = true;
		return;
	}
	for (size_t i = 0; i < o->n_active; i++) {
		int64_t cost = 0;
		struct cobj *pod = o->active[i];
		(void)str_i64(annotation(pod, "controller.kubernetes.io/pod-deletion-cost"), &cost);
		v[i] = (struct ranked){.obj = pod, .pod = pod_of(pod), .cost = cost};
		/* same node as one before: the same count */
		size_t j = 0;
		while (j < i && strcmp(v[j].pod->node, v[i].pod->node) != 0)
			j++;
		v[i].neighbours =
			j < i ? v[j].neighbours : count_neighbours(rc, rs, v[i].pod->node);
	}
	sort_now = rc->now;
	if (n < o->n_active)
		qsort(v, o->n_active, sizeof(*v), doom_order);
	for (size_t i = 0; i < n; i++) {
		struct action *a = rc_delete(rc, R_POD, v[i].obj);
		on_ok(rc, a, R_RS, rs, "SuccessfulDelete", "Deleted pod: %s", v[i].obj->name);
		on_fail(rc, a, R_RS, rs, "FailedDelete", "Error deleting: ");
	}
}

/* --- creating --- */

static json_t *pod_from_template(const struct cobj *rs)
{
	json_t *t = NULL;
	struct jv tmpl = jv_path(rs->v, "spec.template");

	if (!jv_present(tmpl) || json_parse(jv_bytes(tmpl), &t, NULL) < 0)
		return NULL;
	json_t *meta = json_object();
	static const char *const copied[] = {"labels", "annotations", "finalizers"};
	(void)json_object_set_new(meta, "generateName", json_sprintf("%s-", rs->name));
	(void)json_object_set_new(meta, "namespace", json_string(rs->ns));
	for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
		json_t *v = json_object_get(json_object_get(t, "metadata"), copied[i]);
		if (v)
			(void)json_object_set(meta, copied[i], v);
	}
	(void)json_object_set_new(meta, "ownerReferences", json_pack("[o]", owner_json(R_RS, rs)));
	json_t *pod = json_pack("{s:s,s:s,s:o,s:O?}", "apiVersion", "v1", "kind", "Pod", "metadata",
		meta, "spec", json_object_get(t, "spec"));
	json_decref(t);
	return pod;
}

static void create_pods(struct rc *rc, const struct cobj *rs, int64_t n)
{
	for (int64_t i = 0; i < n && i < BURST; i++) {
		json_t *pod = pod_from_template(rs);
		if (!pod) {
			rc->again = true;
			return;
		}
		struct action *a = rc_create(rc, R_POD, rs->ns, pod);
		on_ok(rc, a, R_RS, rs, "SuccessfulCreate", "Created pod: ");
		on_fail(rc, a, R_RS, rs, "FailedCreate", "Error creating: ");
	}
}

/* --- status --- */

struct counts {
	const char *name;
	int64_t n;
};

/* Asks for a status write when a number differs from the stored one. */
static void write_status(struct rc *rc, const struct cobj *rs, struct counts *c, size_t n)
{
	struct jv status = jv_get(rs->v, "status");
	bool same = true;
	json_t *s = json_object();

	for (size_t i = 0; i < n; i++) {
		same &= jv_int(jv_get(status, c[i].name), 0) == c[i].n;
		(void)json_object_set_new(s, c[i].name, json_integer(c[i].n));
	}
	if (same && jv_present(jv_get(status, "replicas"))) {
		json_decref(s);
		return;
	}
	(void)rc_patch(rc, R_RS, rs, "status", json_pack("{s:o}", "status", s));
}

static void update_status(struct rc *rc, const struct cobj *rs, const struct owned *o)
{
	int64_t min_ready = jv_int(jv_path(rs->v, "spec.minReadySeconds"), 0) * NS_PER_SEC;
	struct jv want = jv_path(rs->v, "spec.template.metadata.labels");
	struct counts c[] = {{"replicas", (int64_t)o->n_active}, {"fullyLabeledReplicas", 0},
		{"readyReplicas", 0}, {"availableReplicas", 0},
		{"terminatingReplicas", o->terminating}, {"observedGeneration", generation_of(rs)}};

	for (size_t i = 0; i < o->n_active; i++) {
		int64_t wait;
		c[1].n += has_labels(labels_of(o->active[i]), want);
		c[2].n += pod_of(o->active[i])->ready;
		c[3].n += pod_available(pod_of(o->active[i]), min_ready, rc->now, &wait);
		if (wait)
			rc_requeue(rc, wait);
	}
	write_status(rc, rs, c, ARRAY_LEN(c));
}

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	const struct cobj *rs = rc_get(rc, R_RS, ns, name);
	struct owned o = {0};

	if (!rs)
		return;
	const struct label_selector *sel = rc_selector(rc, jv_path(rs->v, "spec.selector"));
	if (!sel || label_selector_empty(sel))
		return;
	claim(rc, rs, sel, &o);
	int64_t want = jv_int(jv_path(rs->v, "spec.replicas"), 1), have = (int64_t)o.n_active;
	if (!deleting(rs)) {
		if (have < want)
			create_pods(rc, rs, want - have);
		else if (have > want)
			delete_pods(
				rc, rs, &o, (size_t)(have - want > BURST ? BURST : have - want));
	}
	update_status(rc, rs, &o);
}

/* A pod wakes its controller; an orphan every ReplicaSet that might adopt it. */
static void map_pod_one(struct rc *rc, const struct cobj *pod)
{
	struct owner_ref ref;

	if (controller_of(pod, &ref)) {
		if (str_eqz(ref.kind, "ReplicaSet"))
			rc_key(rc, pod->ns, rc_strdup(rc, ref.name));
		return;
	}
	rc_each(rc, R_RS, pod->ns, it)
	{
		const struct label_selector *s =
			rc_selector(rc, jv_path(it.obj->v, "spec.selector"));
		if (s && !label_selector_empty(s) && label_selector_match(s, labels_of(pod)))
			rc_key(rc, it.obj->ns, it.obj->name);
	}
}

static void map_pod(struct rc *rc, struct cobj *old, struct cobj *new)
{
	if (new)
		map_pod_one(rc, new);
	if (old)
		map_pod_one(rc, old);
}

const struct controller controller_replicaset = {
	.component = "replicaset-controller",
	.reconcile = reconcile,
	.watches = {{R_RS, map_self}, {R_POD, map_pod}},
};

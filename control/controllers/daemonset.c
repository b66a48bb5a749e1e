/* SPDX-License-Identifier: Apache-2.0
 * DaemonSet: one pod on every node that its template may use, bound to it by node affinity. */
#include "controllers/deployment.h"
#include "controllers/taint.h"
#include "controllers/workload.h"

#define FAILED_WAIT (10 * NS_PER_SEC) /* a failed pod is replaced no sooner than this */

struct ds {
	struct rc *rc;
	struct cobj *obj;
	struct pods pods;
	struct history hist;
	json_t *tmpl;	  /* with the tolerations of every daemon */
	struct jv tmpl_v; /* the same, as text */
	int64_t desired, current, misscheduled, ready, available, updated;
	int64_t max_unavailable, max_surge; /* both 0 with OnDelete */
	int64_t budget, surge_budget;
	int64_t min_ready;
};
struct place { /* a node's pods: of the present template, and of an older one */
	struct cobj *now, *old;
};

/* The node that a pod has, or was made for. */
static struct str node_of(const struct cobj *pod)
{
	if (pod_of(pod)->node[0])
		return str_of(pod_of(pod)->node);
	return jv_raw_str(jv_path(pod->v,
		"spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution."
		"nodeSelectorTerms.0.matchFields.0.values.0"));
}

static void tolerate(json_t *spec)
{
	static const struct {
		const char *key, *effect;
	} rows[] = {{TAINT_NOT_READY, "NoExecute"}, {TAINT_UNREACHABLE, "NoExecute"},
		{"node.kubernetes.io/disk-pressure", "NoSchedule"},
		{"node.kubernetes.io/memory-pressure", "NoSchedule"},
		{"node.kubernetes.io/pid-pressure", "NoSchedule"},
		{"node.kubernetes.io/unschedulable", "NoSchedule"},
		{"node.kubernetes.io/network-unavailable", "NoSchedule"}};
	json_t *list = json_object_get(spec, "tolerations");

	if (!json_is_array(list)) {
		list = json_array();
		(void)json_object_set_new(spec, "tolerations", list);
	}
	for (size_t i = 0; i < ARRAY_LEN(rows) - !json_flag(spec, "hostNetwork", false); i++)
		(void)json_array_append_new(
			list, json_pack("{s:s,s:s,s:s}", "key", rows[i].key, "operator", "Exists",
				      "effect", rows[i].effect));
}

static bool load_template(struct ds *d)
{
	AUTO_BUF struct buf b = {0};

	if (json_parse(jv_bytes(jv_path(d->obj->v, "spec.template")), &d->tmpl, NULL) < 0)
		return false;
	tolerate(json_make(d->tmpl, "spec"));
	json_write(json_object_get(d->tmpl, "spec"), &b);
	d->tmpl_v = jv_of(str_of(rc_strdup(d->rc, buf_str(&b))));
	return !d->rc->again;
}

/* Is every taint with that effect tolerated? */
static bool tolerated(const struct ds *d, const struct cobj *node, const char *effect)
{
	jv_each (t, jv_path(node->v, "spec.taints")) {
		bool ok = false;
		if (!jv_is_str(jv_get(t.v, "effect"), effect))
			continue;
		jv_each (it, jv_get(d->tmpl_v, "tolerations"))
			ok |= taint_tolerated_by(it.v, t.v);
		if (!ok)
			return false;
	}
	return true;
}

/* Every required term of the affinity is narrowed to the one node. */
static void pin(json_t *spec, const char *node)
{
	json_t *req = json_make(
		spec, "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution");
	json_t *terms = json_object_get(req, "nodeSelectorTerms"), *term;
	size_t i;

	if (!json_is_array(terms) || json_array_size(terms) == 0) {
		terms = json_pack("[{}]");
		(void)json_object_set_new(req, "nodeSelectorTerms", terms);
	}
	json_array_foreach (terms, i, term)
		(void)json_object_set_new(term, "matchFields",
			json_pack("[{s:s,s:s,s:[s]}]", "key", "metadata.name", "operator", "In",
				"values", node));
}

static void create(struct ds *d, const char *node)
{
	json_t *pod = pod_make(R_DS, d->obj, d->tmpl);

	(void)json_object_set_new(
		json_make(pod, "metadata"), "generateName", json_sprintf("%s-", d->obj->name));
	(void)json_object_set_new(
		json_make(pod, "metadata.labels"), REVISION_LABEL, json_string(d->hist.hash));
	pin(json_make(pod, "spec"), node);
	struct action *a = rc_create(d->rc, R_POD, d->obj->ns, pod);
	on_ok(d->rc, a, R_DS, d->obj, "SuccessfulCreate", "Created pod: ");
	on_fail(d->rc, a, R_DS, d->obj, "FailedCreate", "Error creating: ");
}

static void drop(struct ds *d, const struct cobj *pod)
{
	if (deleting(pod))
		return;
	struct action *a = rc_delete(d->rc, R_POD, pod);
	on_ok(d->rc, a, R_DS, d->obj, "SuccessfulDelete", "Deleted pod: %s", pod->name);
	on_fail(d->rc, a, R_DS, d->obj, "FailedDelete", "Error deleting: ");
}

static bool available(struct ds *d, const struct cobj *pod)
{
	int64_t wait = 0;
	bool ok = pod && pod_available(pod_of(pod), d->min_ready, d->rc->now, &wait);

	if (wait)
		rc_requeue(d->rc, wait);
	return ok;
}

/* Keeps one pod of two: one that is ready, else the older. */
static void put(struct ds *d, struct cobj **slot, struct cobj *pod)
{
	const struct pod *a = *slot ? pod_of(*slot) : NULL, *b = pod_of(pod);

	if (a && !deleting(d->obj)) {
		bool keep = a->ready != b->ready ? a->ready : a->created <= b->created;
		drop(d, keep ? pod : *slot);
		if (keep)
			return;
	}
	*slot = pod;
}

static void replace_failed(struct ds *d, const struct cobj *pod, const char *node)
{
	int64_t due = pod_of(pod)->created + FAILED_WAIT - d->rc->now;

	if (due > 0) {
		rc_requeue(d->rc, due);
		return;
	}
	if (deleting(pod))
		return;
	bool failed = pod_of(pod)->phase == PHASE_FAILED;
	rc_event(d->rc, R_DS, d->obj, failed, failed ? "FailedDaemonPod" : "SucceededDaemonPod",
		"Found %s daemon pod %s/%s on node %s, will try to %s it",
		failed ? "failed" : "succeeded", pod->ns, pod->name, node,
		failed ? "kill" : "delete");
	drop(d, pod);
}

/* The node's pods; *ret_busy = one of them has to go first. */
static struct place place_of(struct ds *d, const struct cobj *node, bool stay, bool *ret_busy)
{
	struct place p = {0};

	*ret_busy = false;
	for (size_t i = 0; i < d->pods.n; i++) {
		struct cobj *pod = d->pods.v[i];
		if (!str_eqz(node_of(pod), node->name))
			continue;
		if (pod_done(pod_of(pod)) && stay && !deleting(d->obj))
			replace_failed(d, pod, node->name);
		*ret_busy |= pod_done(pod_of(pod)) || pod_of(pod)->deleting;
		if (!pod_active(pod_of(pod)))
			continue;
		put(d, str_eqz(label(pod, REVISION_LABEL), d->hist.hash) ? &p.now : &p.old, pod);
	}
	return p;
}

static void count(struct ds *d, struct place p, bool run)
{
	struct cobj *pod = p.now ? p.now : p.old;

	d->desired += run;
	if (!run) {
		d->misscheduled += pod != NULL;
		return;
	}
	d->current += pod != NULL;
	d->updated += p.now != NULL;
	d->ready += (p.now && pod_of(p.now)->ready) || (p.old && pod_of(p.old)->ready);
	d->available += available(d, p.now) || available(d, p.old);
}

/* An older pod: replaced as the strategy allows. */
static void roll(struct ds *d, const char *node, struct place p)
{
	if (d->max_surge > 0) {
		if (p.now && available(d, p.now))
			drop(d, p.old);
		else if (!p.now && (!available(d, p.old) || d->surge_budget > 0)) {
			d->surge_budget--;
			create(d, node);
		}
		return;
	}
	if (p.now) /* two, and no surge: the older template yields */
		drop(d, p.old);
	else if (d->max_unavailable > 0 && !available(d, p.old))
		drop(d, p.old); /* it counts as unavailable already */
	else if (d->budget > 0) {
		d->budget--;
		drop(d, p.old);
	}
}

struct seat { /* a node in this pass */
	struct cobj *node;
	struct place p;
	bool run, stay, busy;
};

static size_t seats(struct ds *d, struct seat **ret)
{
	size_t cap = 1, n = 0;

	rc_each(d->rc, R_NODE, NULL, it) cap++;
	struct seat *v = arena_alloc(&d->rc->arena, cap * sizeof(*v));
	if (!v) {
		d->rc->again = true;
		return 0;
	}
	rc_each(d->rc, R_NODE, NULL, it)
	{
		struct seat *s = &v[n++];
		*s = (struct seat){.node = it.obj};
		s->stay = node_matches(d->tmpl_v, it.obj) && tolerated(d, it.obj, "NoExecute");
		s->run = s->stay && tolerated(d, it.obj, "NoSchedule");
		s->p = place_of(d, it.obj, s->stay, &s->busy);
		count(d, s->p, s->run);
	}
	*ret = v;
	return n;
}

static void load_strategy(struct ds *d)
{
	struct jv st = jv_path(d->obj->v, "spec.updateStrategy"),
		  roll_v = jv_get(st, "rollingUpdate");

	if (jv_is_str(jv_get(st, "type"), "OnDelete"))
		return;
	d->max_surge = int_or_percent(jv_get(roll_v, "maxSurge"), d->desired, true, "0");
	d->max_unavailable =
		int_or_percent(jv_get(roll_v, "maxUnavailable"), d->desired, true, "1");
	if (d->max_surge == 0 && d->max_unavailable == 0)
		d->max_unavailable = 1;
	d->budget = d->max_unavailable - (d->desired - d->available);
}

static void sync_nodes(struct ds *d, const struct seat *v, size_t n)
{
	d->surge_budget = d->max_surge;
	for (size_t i = 0; i < n; i++)
		d->surge_budget -= v[i].p.now && v[i].p.old;
	for (size_t i = 0; i < n; i++) {
		const struct seat *s = &v[i];
		if (!s->stay) {
			if (s->p.now)
				drop(d, s->p.now);
			if (s->p.old)
				drop(d, s->p.old);
		} else if (s->run && !s->p.now && !s->p.old && !s->busy) {
			create(d, s->node->name);
		} else if (s->p.old && (d->max_surge > 0 || d->max_unavailable > 0)) {
			roll(d, s->node->name, s->p);
		}
	}
}

static void write_status(struct ds *d)
{
	const struct number v[] = {{"currentNumberScheduled", d->current},
		{"numberMisscheduled", d->misscheduled}, {"desiredNumberScheduled", d->desired},
		{"numberReady", d->ready}, {"observedGeneration", generation_of(d->obj)},
		{"updatedNumberScheduled", d->updated}, {"numberAvailable", d->available},
		{"numberUnavailable", d->desired - d->available}};
	json_t *s = json_object();

	if (numbers_same(jv_get(d->obj->v, "status"), v, ARRAY_LEN(v), s))
		json_decref(s);
	else
		(void)rc_patch(d->rc, R_DS, d->obj, "status", json_pack("{s:o}", "status", s));
}

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	struct ds d = {.rc = rc, .obj = rc_get(rc, R_DS, ns, name)};
	struct seat *v = NULL;

	if (!d.obj || deleting(d.obj) || pods_claim(rc, R_DS, d.obj, &d.pods) < 0 ||
		history_sync(rc, R_DS, d.obj, &d.hist) < 0)
		return;
	d.min_ready = jv_int(jv_path(d.obj->v, "spec.minReadySeconds"), 0) * NS_PER_SEC;
	if (load_template(&d)) {
		size_t n = seats(&d, &v);
		load_strategy(&d);
		sync_nodes(&d, v, n);
		history_trim(rc, d.obj, &d.hist, &d.pods, (struct str){0}, true);
		write_status(&d);
	}
	json_decref(d.tmpl);
}

static void map_pod(struct rc *rc, struct cobj *old, struct cobj *new)
{
	map_owned(rc, R_DS, old, new);
}

/* Labels and taints decide; a heartbeat changes neither. */
static void map_node(struct rc *rc, struct cobj *old, struct cobj *new)
{
	if (old && new &&str_eq(jv_bytes(labels_of(old)), jv_bytes(labels_of(new))) &&
		str_eq(jv_bytes(jv_path(old->v, "spec.taints")),
			jv_bytes(jv_path(new->v, "spec.taints"))))
		return;
	rc_each(rc, R_DS, NULL, it) rc_key(rc, it.obj->ns, it.obj->name);
}

static void map_revision(struct rc *rc, struct cobj *old, struct cobj *new)
{
	struct owner_ref ref;
	const struct cobj *o = new ? new : old;

	if (controller_of(o, &ref) && str_eqz(ref.kind, "DaemonSet"))
		rc_key(rc, o->ns, rc_strdup(rc, ref.name));
}

const struct controller controller_daemonset = {
	.component = "daemonset-controller",
	.reconcile = reconcile,
	.watches = {{R_DS, map_self}, {R_POD, map_pod}, {R_NODE, map_node}, {R_CR, map_revision}},
};

/* SPDX-License-Identifier: Apache-2.0
 * Node lifecycle: a node whose lease is not renewed becomes Unknown, gets taints, and loses the
 * pods that do not tolerate them. */
#include "controllers/object.h"
#include "controllers/taint.h"

#define LEASE_NS      "kube-node-lease"
#define GRACE_NS      (40 * NS_PER_SEC)
#define SMALL_CLUSTER 50

struct node {
	struct rc *rc;
	struct cobj *obj;
	struct jv conditions;
	int64_t beat; /* the last sign of life */
	bool silent;
	const char *ready; /* status of the condition Ready as it will be: True, False, Unknown */
};

static int64_t grace(const struct rc *rc)
{
	return rc->cfg->node_grace_ns ? rc->cfg->node_grace_ns : GRACE_NS;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t last_beat(struct rc *rc, const struct cobj *o)
{
	const struct cobj *lease = rc_get(rc, R_LEASE, LEASE_NS, o->name);
	struct jv ready = condition_of(jv_path(o->v, "status.conditions"), "Ready");
	int64_t t = time_of(jv_path(o->v, "metadata.creationTimestamp"));

	t = later(t, time_of(jv_get(ready, "lastHeartbeatTime")));
	if (lease)
		t = later(t, time_of(jv_path(lease->v, "spec.renewTime")));
	return later(t, rc->started);
}

static bool node_ready(const struct cobj *o)
{
	struct jv ready = condition_of(jv_path(o->v, "status.conditions"), "Ready");

	return jv_is_str(jv_get(ready, "status"), "True");
}

/* --- a silent node --- */

static json_t *unknown_condition(struct node *n, const char *type)
{
	struct jv old = condition_of(n->conditions, type);
	const char *now = rc_time(n->rc, n->rc->now);

	if (!jv_present(old))
		return json_pack("{s:s,s:s,s:s,s:s,s:s}", "type", type, "status", "Unknown",
			"reason", "NodeStatusNeverUpdated", "message",
			"Kubelet never posted node status.", "lastTransitionTime", now);
	return json_pack("{s:s,s:s,s:s,s:s,s:s}", "type", type, "status", "Unknown", "reason",
		"NodeStatusUnknown", "message", "Kubelet stopped posting node status.",
		"lastTransitionTime", now);
}

static void mark_unknown(struct node *n)
{
	static const char *const types[] = {
		"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct jv c = condition_of(n->conditions, types[i]);
		if (!jv_is_str(jv_get(c, "status"), "Unknown"))
			(void)json_array_append_new(list, unknown_condition(n, types[i]));
	}
	if (json_array_size(list) == 0) {
		json_decref(list);
		return;
	}
	struct action *a = rc_patch(n->rc, R_NODE, n->obj, "status",
		json_pack("{s:{s:o}}", "status", "conditions", list));
	if (a)
		a->patch = CLIENT_PATCH_STRATEGIC;
	if (node_ready(n->obj))
		on_ok(n->rc, a, R_NODE, n->obj, "NodeNotReady",
			"Node %s status is now: NodeNotReady", n->obj->name);
}

/* Their kubelet cannot say so: pods of a node that is not ready are not ready. */
static void mark_pods(struct node *n)
{
	rc_each(n->rc, R_POD, NULL, it)
	{
		const struct pod *p = pod_of(it.obj);
		if (!p || !p->ready || strcmp(p->node, n->obj->name) != 0)
			continue;
		struct action *a = rc_patch(n->rc, R_POD, it.obj, "status",
			json_pack("{s:{s:[{s:s,s:s,s:s}]}}", "status", "conditions", "type",
				"Ready", "status", "False", "lastTransitionTime",
				rc_time(n->rc, n->rc->now)));
		if (a)
			a->patch = CLIENT_PATCH_STRATEGIC;
		on_ok(n->rc, a, R_POD, it.obj, "NodeNotReady", "Node is not ready");
	}
}

/* --- taints --- */

/* When most nodes are gone at once it is more likely our own link: then nobody is evicted. */
static bool mass_failure(struct rc *rc)
{
	size_t total = 0, bad = 0;

	rc_each(rc, R_NODE, NULL, it)
	{
		bool silent = rc->now - last_beat(rc, it.obj) > grace(rc);
		total++;
		bad += silent || !node_ready(it.obj);
	}
	return bad == total || (bad > 2 && bad * 100 >= total * 55 && total <= SMALL_CLUSTER);
}

static bool condition_true(const struct node *n, const char *type)
{
	return jv_is_str(jv_get(condition_of(n->conditions, type), "status"), "True");
}

static void sync_taints(struct node *n)
{
	bool not_ready = strcmp(n->ready, "False") == 0, gone = strcmp(n->ready, "Unknown") == 0;
	bool evict = (not_ready || gone) && !mass_failure(n->rc);
	struct taint_list l;

	taints_load(&l, n->obj);
	taints_want(&l, TAINT_NOT_READY, "NoSchedule", not_ready, NULL);
	taints_want(&l, TAINT_UNREACHABLE, "NoSchedule", gone, NULL);
	const char *now = rc_time(n->rc, n->rc->now);
	taints_want(&l, TAINT_NOT_READY, "NoExecute", not_ready && evict, now);
	taints_want(&l, TAINT_UNREACHABLE, "NoExecute", gone && evict, now);
	taints_want(&l, "node.kubernetes.io/memory-pressure", "NoSchedule",
		condition_true(n, "MemoryPressure") && !gone, NULL);
	taints_want(&l, "node.kubernetes.io/disk-pressure", "NoSchedule",
		condition_true(n, "DiskPressure") && !gone, NULL);
	taints_want(&l, "node.kubernetes.io/pid-pressure", "NoSchedule",
		condition_true(n, "PIDPressure") && !gone, NULL);
	taints_want(&l, "node.kubernetes.io/network-unavailable", "NoSchedule",
		condition_true(n, "NetworkUnavailable"), NULL);
	taints_want(&l, "node.kubernetes.io/unschedulable", "NoSchedule",
		jv_bool(jv_path(n->obj->v, "spec.unschedulable"), false), NULL);
	taints_stamp(&l, now);
	if (!l.changed) {
		json_decref(l.taints);
		return;
	}
	/* the list is replaced as a whole: only if nobody else has changed the node meanwhile */
	json_t *version = json_sprintf("%ju", (uintmax_t)n->obj->rv);
	(void)rc_patch(n->rc, R_NODE, n->obj, NULL,
		json_pack("{s:{s:o},s:{s:o}}", "metadata", "resourceVersion", version, "spec",
			"taints", l.taints));
}

/* --- eviction --- */

static void evict(struct node *n, const struct cobj *pod)
{
	struct action *a = rc_patch(n->rc, R_POD, pod, "status",
		json_pack("{s:{s:[{s:s,s:s,s:s,s:s,s:s}]}}", "status", "conditions", "type",
			"DisruptionTarget", "status", "True", "reason", "DeletionByTaintManager",
			"message", "Taint manager: deleting due to NoExecute taint",
			"lastTransitionTime", rc_time(n->rc, n->rc->now)));

	if (a) {
		a->patch = CLIENT_PATCH_STRATEGIC;
		a->may_fail = true;
	}
	rc_event(n->rc, R_POD, pod, false, "TaintManagerEviction", "Marking for deletion Pod %s/%s",
		pod->ns, pod->name);
	a = rc_delete(n->rc, R_POD, pod);
	if (a)
		a->after_others = true;
}

static void evict_pods(struct node *n)
{
	struct jv taints = jv_path(n->obj->v, "spec.taints");

	if (!taints_evict(taints))
		return;
	rc_each(n->rc, R_POD, NULL, it)
	{
		const struct pod *p = pod_of(it.obj);
		if (!p || p->deleting || pod_done(p) || strcmp(p->node, n->obj->name) != 0)
			continue;
		int64_t at = taints_evict_at(taints, jv_path(it.obj->v, "spec.tolerations"));
		if (at == INT64_MAX)
			continue;
		if (at <= n->rc->now)
			evict(n, it.obj);
		else
			rc_requeue(n->rc, at - n->rc->now);
	}
}

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	struct node n = {.rc = rc, .obj = rc_get(rc, R_NODE, ns, name)};

	if (!n.obj || deleting(n.obj))
		return;
	n.conditions = jv_path(n.obj->v, "status.conditions");
	n.beat = last_beat(rc, n.obj);
	n.silent = rc->now - n.beat > grace(rc);
	struct str status = jv_raw_str(jv_get(condition_of(n.conditions, "Ready"), "status"));
	/* A node that has never reported is not ready yet, but not lost either. */
	n.ready = n.silent ? "Unknown" : status.n ? rc_strdup(rc, status) : "False";
	if (n.silent)
		mark_unknown(&n);
	else
		rc_requeue(rc, n.beat + grace(rc) - rc->now + NS_PER_MS);
	if (strcmp(n.ready, "True") != 0 && status.n)
		mark_pods(&n);
	sync_taints(&n);
	evict_pods(&n);
}

static void map_lease(struct rc *rc, struct cobj *old, struct cobj *new)
{
	const struct cobj *o = new ? new : old;

	/* A renewal changes nothing: the node is looked at when its grace ends. */
	if (strcmp(o->ns, LEASE_NS) == 0 && (!old || !new))
		rc_key(rc, "", o->name);
}

static void map_pod(struct rc *rc, struct cobj *old, struct cobj *new)
{
	(void)old;
	if (!new || !pod_of(new) || !pod_of(new)->node[0] || pod_of(new)->deleting)
		return;
	const struct cobj *node = rc_get(rc, R_NODE, "", pod_of(new)->node);
	if (node && taints_evict(jv_path(node->v, "spec.taints")))
		rc_key(rc, "", node->name);
}

const struct controller controller_node_lifecycle = {
	.component = "node-controller",
	.reconcile = reconcile,
	.watches = {{R_NODE, map_self}, {R_LEASE, map_lease}, {R_POD, map_pod}},
};

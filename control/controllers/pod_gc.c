/* SPDX-License-Identifier: Apache-2.0
 * Pod GC: pods whose node is gone, pods being deleted that no kubelet will finish, and too many
 * finished pods. */
#include "controllers/object.h"

#define QUARANTINE_NS  (40 * NS_PER_SEC)
#define TERMINATED_MAX 12500u
#define OUT_OF_SERVICE "node.kubernetes.io/out-of-service"

static void remove_now(struct rc *rc, const struct cobj *pod)
{
	struct action *a = rc_delete(rc, R_POD, pod);

	if (a)
		a->grace = 0;
}

static bool out_of_service(const struct cobj *node)
{
	struct jv ready = condition_of(jv_path(node->v, "status.conditions"), "Ready");

	if (jv_is_str(jv_get(ready, "status"), "True"))
		return false;
	jv_each (it, jv_path(node->v, "spec.taints")) {
		if (jv_is_str(jv_get(it.v, "key"), OUT_OF_SERVICE))
			return true;
	}
	return false;
}

/* A node may come into the cache after its first pod does: a pod is an orphan only when it and the
 * cache are old enough. */
static void orphan(struct rc *rc, const struct cobj *pod)
{
	int64_t since = pod_of(pod)->created > rc->started ? pod_of(pod)->created : rc->started;
	int64_t wait = since + QUARANTINE_NS - rc->now;

	if (wait > 0) {
		rc_requeue(rc, wait);
		return;
	}
	if (!pod_done(pod_of(pod))) {
		struct action *a = rc_patch(rc, R_POD, pod, "status",
			json_pack("{s:{s:s,s:[{s:s,s:s,s:s,s:s,s:s}]}}", "status", "phase",
				"Failed", "conditions", "type", "DisruptionTarget", "status",
				"True", "reason", "DeletionByPodGC", "message",
				"PodGC: node no longer exists", "lastTransitionTime",
				rc_time(rc, rc->now)));
		if (a) {
			a->patch = CLIENT_PATCH_STRATEGIC;
			a->may_fail = true;
		}
	}
	struct action *a = rc_delete(rc, R_POD, pod);
	if (a) {
		a->grace = 0;
		a->after_others = true;
	}
}

/* Is the pod among the oldest of too many finished ones? */
static void limit_finished(struct rc *rc, const struct cobj *pod)
{
	unsigned max = rc->cfg->terminated_pods_max ? rc->cfg->terminated_pods_max : TERMINATED_MAX;
	size_t total = 0, older = 0;

	rc_each(rc, R_POD, NULL, it)
	{
		const struct pod *p = pod_of(it.obj);
		if (!p || !pod_done(p) || p->deleting)
			continue;
		total++;
		older += p->created < pod_of(pod)->created;
	}
	if (total > max && older < total - max)
		remove_now(rc, pod);
}

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	const struct cobj *pod = rc_get(rc, R_POD, ns, name);
	const struct pod *p = pod ? pod_of(pod) : NULL;

	if (!p)
		return;
	if (!p->node[0]) {
		if (p->deleting)
			remove_now(rc, pod);
		else if (pod_done(p))
			limit_finished(rc, pod);
		return;
	}
	const struct cobj *node = rc_get(rc, R_NODE, "", p->node);
	if (!node)
		orphan(rc, pod);
	else if (p->deleting && out_of_service(node))
		remove_now(rc, pod);
	else if (pod_done(p) && !p->deleting)
		limit_finished(rc, pod);
}

static void map_pod(struct rc *rc, struct cobj *old, struct cobj *new)
{
	(void)old;
	if (new &&pod_of(new) &&
		(pod_done(pod_of(new)) || pod_of(new)->deleting ||
			(pod_of(new)->node[0] && !rc_get(rc, R_NODE, "", pod_of(new)->node))))
		rc_key(rc, new->ns, new->name);
}

static void map_node(struct rc *rc, struct cobj *old, struct cobj *new)
{
	const char *name = new ? new->name : old->name;

	if (new && !out_of_service(new))
		return;
	rc_each(rc, R_POD, NULL, it)
	{
		if (pod_of(it.obj) && strcmp(pod_of(it.obj)->node, name) == 0)
			rc_key(rc, it.obj->ns, it.obj->name);
	}
}

const struct controller controller_pod_gc = {
	.component = "pod-garbage-collector",
	.reconcile = reconcile,
	.watches = {{R_POD, map_pod}, {R_NODE, map_node}},
};

/* SPDX-License-Identifier: Apache-2.0
 * The set of pods on this node: from the API by a watch, compared with the runtime by a slow relist
 * and by the runtime's events. */
#include <errno.h>
#include "kubelet/check.h"
#include "kubelet/cleanup.h"
#include "kubelet/spec.h"
#include "kubelet/volumes.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

#define RELIST	   (15 * NS_PER_SEC)
#define QUIET_TIME (700 * NS_PER_MS) /* a pod that begins is not reported before */

static const struct resource pods_resource = {"", "v1", "pods", "Pod", true};
static const struct resource services_resource = {"", "v1", "services", "Service", true};

struct pod *pod_ref(struct pod *p)
{
	p->refs++;
	return p;
}

json_t *pod_spec(const struct pod *p)
{
	return json_object_get(p->obj, "spec");
}

static void slot_clear(struct slot *s)
{
	probes_stop(s);
	inst_clear(&s->cur);
	inst_clear(&s->last);
	free(s->crash_told);
	free(s->name);
}

void pod_unref(struct pod *p)
{
	if (!p || --p->refs > 0)
		return;
	loop_timer_cancel(&p->wake);
	loop_timer_cancel(&p->status_timer);
	loop_timer_cancel(&p->recheck);
	for (size_t i = 0; i < p->n_slots; i++)
		slot_clear(&p->slots[i]);
	volumes_free(p->vols);
	json_t *trees[] = {p->obj, p->old_sandboxes, p->status, p->sent, p->conditions};
	for (size_t i = 0; i < ARRAY_LEN(trees); i++)
		json_decref(trees[i]);
	char *strings[] = {
		p->ns, p->name, p->uid, p->evicted, p->evict_msg, p->sandbox, p->ip, p->ips};
	for (size_t i = 0; i < ARRAY_LEN(strings); i++)
		free(strings[i]);
	free(p->slots);
	free(p);
}

struct pod *pod_find_uid(struct kubelet *k, const char *uid)
{
	list_each (it, &k->pods) {
		struct pod *p = list_entry(it, struct pod, link);
		if (strcmp(p->uid, uid) == 0)
			return p;
	}
	return NULL;
}

struct pod *pod_find(struct kubelet *k, const char *ns, const char *name)
{
	struct pod *found = NULL;
	list_each (it, &k->pods) {
		struct pod *p = list_entry(it, struct pod, link);
		if (strcmp(p->name, name) == 0 && strcmp(p->ns, ns) == 0 &&
			(!found || !p->vanished))
			found = p;
	}
	return found;
}

struct slot *pod_slot(struct pod *p, const char *name)
{
	for (size_t i = 0; i < p->n_slots; i++)
		if (strcmp(p->slots[i].name, name) == 0)
			return &p->slots[i];
	return NULL;
}

/* --- specification into slots --- */

static unsigned status_restarts(const json_t *pod, const char *name, bool *ret_ran)
{
	static const char *const lists[] = {"status.containerStatuses",
		"status.initContainerStatuses", "status.ephemeralContainerStatuses"};
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		size_t i;
		json_t *c;
		json_array_foreach (json_at(pod, lists[l]), i, c) {
			if (strcmp(json_str(c, "name", ""), name) != 0)
				continue;
			*ret_ran = *json_str(c, "containerID", "") != '\0';
			return (unsigned)json_i64(c, "restartCount", 0);
		}
	}
	return 0;
}

static void add_slot(struct pod *p, const json_t *c, enum slot_kind kind)
{
	const char *name = json_str(c, "name", "");
	struct slot *s = pod_slot(p, name);
	if (!s) {
		struct slot *v = p->n_slots < MAX_SLOTS
					 ? realloc(p->slots, (p->n_slots + 1) * sizeof(*v))
					 : NULL;
		if (!v)
			return;
		p->slots = v;
		s = &v[p->n_slots++];
		*s = (struct slot){.name = strdup(name), .kind = kind};
		s->restarts = status_restarts(p->obj, name, &s->ran);
	}
	s->spec = c;
}

static void read_spec(struct pod *p)
{
	size_t i;
	json_t *c;
	json_array_foreach (json_at(p->obj, "spec.initContainers"), i, c) {
		bool side = strcmp(json_str(c, "restartPolicy", ""), "Always") == 0;
		add_slot(p, c, side ? SLOT_SIDECAR : SLOT_INIT);
	}
	json_array_foreach (json_at(p->obj, "spec.containers"), i, c)
		add_slot(p, c, SLOT_MAIN);
	json_array_foreach (json_at(p->obj, "spec.ephemeralContainers"), i, c)
		add_slot(p, c, SLOT_EPHEMERAL);
}

/* --- the API's word --- */

static void on_wake(struct loop_timer *t)
{
	pod_sync(t->arg);
}

static void on_recheck(struct loop_timer *t)
{
	pod_dirty(t->arg);
}

static void on_status_timer(struct loop_timer *t)
{
	status_push(t->arg);
}

static struct pod *pod_new(struct kubelet *k, const struct cobj *o)
{
	struct pod *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	*p = (struct pod){.k = k,
		.refs = 1,
		.ns = strdup(o->ns),
		.name = strdup(o->name),
		.uid = strdup(o->uid),
		.dirty = true,
		.seen_at = time_mono(),
		.wake = {.fn = on_wake, .arg = p},
		.status_timer = {.fn = on_status_timer, .arg = p},
		.recheck = {.fn = on_recheck, .arg = p}};
	p->wait_until = p->seen_at + QUIET_TIME;
	list_push(&k->pods, &p->link);
	k->n_pods++;
	return p;
}

static void pod_begin(struct pod *p)
{
	const char *phase = json_str(p->obj, "status.phase", "");
	const char *since = json_str(p->obj, "status.startTime", "");
	struct err e = {0};
	p->settled = strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
	if (!*since || time_parse(str_of(since), &p->start_time) < 0)
		p->start_time = time_now();
	p->told = *since != '\0';
	if (!p->settled && !p->deleted)
		(void)volumes_start(p, &e);
}

/* Pods from before a deletion keep their slots; a new specification only re-points them. */
static void pod_apply(struct pod *p, struct cobj *o)
{
	json_t *obj = NULL;
	if (json_parse(o->json, &obj, NULL) < 0)
		return;
	json_t *old = p->obj;
	p->obj = obj;
	p->rv = o->rv;
	read_spec(p);
	json_decref(old);
	/* Someone wrote after our last report: compare with what the API says now. */
	if (p->sent && !p->patching && o->rv > p->patch_rv) {
		json_decref(p->sent);
		p->sent = NULL;
	}
	if (json_is_string(json_at(obj, "metadata.deletionTimestamp"))) {
		int64_t grace = spec_grace(obj);
		bool shorter = p->deleted && grace < p->grace_s;
		if (!p->deleted || shorter)
			p->grace_s = grace;
		if (!p->deleted)
			p->kill_at = p->kill_at ? p->kill_at : loop_now(p->k->loop);
		p->deleted = true;
		if (shorter)
			op_shorten(p);
	}
}

static void pod_vanish(struct pod *p)
{
	if (p->vanished)
		return;
	p->vanished = true;
	/* Deleted without grace: the process gets the least. */
	if (!p->deleted)
		p->grace_s = 1;
	else if (p->grace_s > 1) {
		p->grace_s = 1;
		op_shorten(p);
	}
	p->deleted = true;
	if (p->state == POD_GONE)
		pods_forget(p);
	else
		pod_sync(p);
}

void pods_forget(struct pod *p)
{
	if (list_empty(&p->link))
		return;
	list_del(&p->link);
	p->k->n_pods--;
	pod_unref(p);
}

static void on_pod(void *arg, struct cobj *old, struct cobj *new)
{
	struct kubelet *k = arg;
	if (!new || (old && strcmp(old->uid, new->uid) != 0)) {
		struct pod *gone = pod_find_uid(k, old->uid);
		if (gone)
			pod_vanish(gone);
	}
	if (!new)
		return;
	struct pod *p = pod_find_uid(k, new->uid);
	bool fresh = p == NULL;
	if (fresh)
		p = pod_new(k, new);
	if (!p)
		return;
	pod_apply(p, new);
	if (!p->obj) {
		pods_forget(p);
		return;
	}
	if (fresh)
		pod_begin(p);
	else
		volumes_update(p);
	pod_sync(p);
}

static void on_pods_synced(void *arg)
{
	struct kubelet *k = arg;
	k->pods_synced = k->svc_inf == NULL || informer_synced(k->svc_inf);
	if (!k->pods_synced)
		return;
	list_each (it, &k->pods)
		pod_dirty(list_entry(it, struct pod, link));
	pods_relist_soon(k);
}

static void on_services_synced(void *arg)
{
	struct kubelet *k = arg;
	if (informer_synced(k->pod_inf))
		on_pods_synced(k);
}

static void on_service(void *arg, struct cobj *old, struct cobj *new)
{
	(void)arg;
	(void)old;
	(void)new;
}

/* --- the runtime's word --- */

static void on_runtime_event(void *arg, const char *id)
{
	struct kubelet *k = arg;
	if (!id) {
		pods_relist_soon(k);
		return;
	}
	list_each (it, &k->pods) {
		struct pod *p = list_entry(it, struct pod, link);
		bool mine = p->sandbox && strcmp(p->sandbox, id) == 0;
		for (size_t i = 0; !mine && i < p->n_slots; i++)
			mine = p->slots[i].has_cur && strcmp(p->slots[i].cur.id, id) == 0;
		if (mine)
			pod_dirty(p);
	}
}

struct relist {
	struct kubelet *k;
	json_t *sandboxes, *containers;
	unsigned waiting;
	bool failed;
};

/* uid -> [sandbox ids] */
static json_t *by_uid(const json_t *sandboxes)
{
	json_t *out = json_object(), *s;
	size_t i;
	json_array_foreach (sandboxes, i, s) {
		const char *uid = json_str(s, "metadata.uid", "");
		if (!json_object_get(out, uid))
			(void)json_object_set_new(out, uid, json_array());
		(void)json_array_append(json_object_get(out, uid), json_object_get(s, "id"));
	}
	return out;
}

static bool differs(const struct pod *p, const json_t *states)
{
	static const int want[] = {[INST_CREATED] = CRI_CREATED,
		[INST_RUNNING] = CRI_RUNNING,
		[INST_EXITED] = CRI_EXITED,
		[INST_UNKNOWN] = CRI_UNKNOWN};
	const json_t *sb = p->sandbox ? json_object_get(states, p->sandbox) : NULL;
	if (p->sandbox && (!sb || json_integer_value(sb) != (p->sandbox_ready ? 0 : 1)))
		return true;
	for (size_t i = 0; i < p->n_slots; i++) {
		const struct slot *s = &p->slots[i];
		const json_t *st = s->has_cur ? json_object_get(states, s->cur.id) : NULL;
		if (s->has_cur && (!st || json_integer_value(st) != want[s->cur.state]))
			return true;
	}
	return false;
}

static void compare(struct relist *r)
{
	struct kubelet *k = r->k;
	AUTO_JSON json_t *states = json_object(), *uids = by_uid(r->sandboxes);
	size_t i;
	const char *uid;
	json_t *v;
	json_array_foreach (r->sandboxes, i, v)
		(void)json_object_set_new(
			states, json_str(v, "id", ""), json_integer(json_i64(v, "state", 0)));
	json_array_foreach (r->containers, i, v)
		(void)json_object_set_new(
			states, json_str(v, "id", ""), json_integer(json_i64(v, "state", 0)));
	list_each (it, &k->pods) {
		struct pod *p = list_entry(it, struct pod, link);
		if (p->state < POD_STOPPED && differs(p, states))
			pod_dirty(p);
	}
	json_object_foreach (uids, uid, v) {
		if (*uid && !pod_find_uid(k, uid)) {
			log_info("pod %s is not known to the API: removing it", uid);
			orphan_cleanup(k, uid, v);
		}
	}
	orphan_files(k, uids);
	k->listed_once = true;
}

static void relist_step(struct relist *r, const struct err *e)
{
	struct kubelet *k = r->k;
	r->failed = r->failed || e;
	if (--r->waiting > 0)
		return;
	k->relisting = false;
	if (!k->closing) {
		if (!r->failed)
			compare(r);
		(void)loop_timer_set(k->loop, &k->relist,
			k->relist_again || r->failed ? NS_PER_SEC / 2 : RELIST);
		k->relist_again = false;
	}
	json_decref(r->sandboxes);
	json_decref(r->containers);
	free(r);
}

static void on_all_sandboxes(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct relist *r = arg;
	(void)status;
	r->sandboxes = json_incref(json_object_get(resp, "items"));
	relist_step(r, e);
}

static void on_all_containers(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct relist *r = arg;
	(void)status;
	r->containers = json_incref(json_object_get(resp, "containers"));
	relist_step(r, e);
}

static void on_relist(struct loop_timer *t)
{
	struct kubelet *k = t->arg;
	struct relist *r = k->relisting || !k->pods_synced ? NULL : calloc(1, sizeof(*r));
	if (!r)
		return;
	*r = (struct relist){.k = k, .waiting = 1};
	k->relisting = true;
	if (cri_send(k->cri, CRI_ListPodSandbox, json_object(), on_all_sandboxes, r))
		r->waiting++;
	if (cri_send(k->cri, CRI_ListContainers, json_object(), on_all_containers, r))
		r->waiting++;
	relist_step(r, NULL);
}

void pods_relist_soon(struct kubelet *k)
{
	if (k->relisting)
		k->relist_again = true;
	else
		(void)loop_timer_set(k->loop, &k->relist, 0);
}

/* --- start and stop --- */

static void on_object(void *arg, enum obj_kind kind, const char *ns, const char *name)
{
	struct kubelet *k = arg;
	list_each (it, &k->pods) {
		struct pod *p = list_entry(it, struct pod, link);
		if (!volumes_use(p, kind, ns, name))
			continue;
		/* A container that lacked the object need not wait for its turn. */
		for (size_t i = 0; i < p->n_slots; i++)
			if (strcmp(p->slots[i].wait_reason, "CreateContainerConfigError") == 0)
				p->slots[i].retry_at = 0;
		volumes_update(p);
	}
}

int pods_start(struct kubelet *k, struct err *e)
{
	AUTO_BUF struct buf sel = {0};
	list_init(&k->pods);
	k->relist = (struct loop_timer){.fn = on_relist, .arg = k};
	k->objs = objcache_new(k->client, on_object, k);
	k->orphans = json_object();
	buf_addf(&sel, "spec.nodeName=%s", k->c.node_name);
	k->selector = buf_steal(&sel);
	if (!k->objs || !k->selector)
		return err_set(e, ENOMEM, NULL, "out of memory");
	struct informer_config svc = {.client = k->client,
		.resource = &services_resource,
		.on_event = on_service,
		.on_synced = on_services_synced,
		.arg = k};
	struct informer_config pods = {.client = k->client,
		.resource = &pods_resource,
		.field_selector = k->selector,
		.on_event = on_pod,
		.on_synced = on_pods_synced,
		.arg = k};
	int r = k->cri->ops->watch(k->cri, on_runtime_event, k);
	if (r == 0)
		r = informer_start(&pods, &k->pod_inf, e);
	if (r == 0)
		r = informer_start(&svc, &k->svc_inf, e);
	return r;
}

void pods_stop(struct kubelet *k)
{
	loop_timer_cancel(&k->relist);
	informer_free(k->pod_inf);
	informer_free(k->svc_inf);
	list_each_safe (it, &k->pods) {
		struct pod *p = list_entry(it, struct pod, link);
		list_del(&p->link);
		loop_timer_cancel(&p->wake);
		loop_timer_cancel(&p->recheck);
		loop_timer_cancel(&p->status_timer);
		for (size_t i = 0; i < p->n_slots; i++)
			probes_stop(&p->slots[i]);
		pod_unref(p);
	}
	json_decref(k->orphans);
	k->orphans = NULL;
}

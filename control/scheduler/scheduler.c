/* SPDX-License-Identifier: Apache-2.0
 * The scheduler around its core: informers feed the cluster and the queue; a turn of the loop
 * decides a batch of pods; a decision counts at once (the pod is assumed on its node) and is bound
 * by a call that runs beside further decisions. */
#include "scheduler/scheduler.h"

#include <errno.h>
#include <stdlib.h>
#include "scheduler/plugin.h"
#include "scheduler/queue.h"
#include "xebec/base/list.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

enum { BATCH = 100, BINDS_MAX = 512 };
#define BATCH_NS (5 * NS_PER_MS)

static const struct resource pods_resource = {"", "v1", "pods", "Pod", true};
static const struct resource nodes_resource = {"", "v1", "nodes", "Node", false};
static const struct resource namespaces_resource = {"", "v1", "namespaces", "Namespace", false};

/* Which refusals an event can heal. */
#define BIT(id) (1u << PLUGIN_##id)
enum {
	BY_NODE = ~0, /* a node came or changed */
	BY_POD_GONE = BIT(RESOURCES_FIT) | BIT(NODE_PORTS) | BIT(TOPOLOGY_SPREAD) |
		      BIT(INTER_POD_AFFINITY),
	BY_POD_CAME = BIT(TOPOLOGY_SPREAD) | BIT(INTER_POD_AFFINITY),
};

struct bind { /* a binding under way */
	struct scheduler *s;
	struct list node;
	struct client_call *call;
	struct pod *pod;
	char *target;
};

struct scheduler {
	struct client *client;
	char *name;
	struct informer *pods, *nodes, *namespaces;
	struct cluster *cluster;
	struct queue *queue;
	struct event_recorder *events;
	struct loop_timer turn;
	struct list binds;
	unsigned n_binds;
	struct scheduler_stats stats;
};

static bool ready(const struct scheduler *s)
{
	return s->pods && s->nodes && s->namespaces && informer_synced(s->pods) &&
	       informer_synced(s->nodes) && informer_synced(s->namespaces);
}

static void kick(void *arg)
{
	struct scheduler *s = arg;
	if (ready(s) && s->n_binds < BINDS_MAX && !loop_timer_armed(&s->turn))
		(void)loop_timer_set(client_loop(s->client), &s->turn, 0);
}

/* --- what is told to the API --- */

static struct event_ref ref_of(const struct pod *p)
{
	/* Names in the arena are NUL-terminated. */
	return (struct event_ref){.api_version = "v1",
		.kind = "Pod",
		.ns = p->ns.p,
		.name = p->name.p,
		.uid = p->uid.p};
}

static void ignore(void *arg, const struct client_result *r)
{
	(void)arg;
	(void)r;
}

static void patch_condition(struct scheduler *s, const struct pod *p, struct str message)
{
	AUTO_BUF struct buf b = {0};
	char now[21];
	if (p->condition_false && str_eqz(p->condition_reason, "Unschedulable") &&
		str_eq(p->condition_message, message))
		return;
	buf_adds(&b, "{\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\","
		     "\"reason\":\"Unschedulable\",\"message\":");
	buf_add_json_str(&b, message);
	if (!p->condition_false) {
		time_rfc3339(time_now(), now);
		buf_addf(&b, ",\"lastProbeTime\":null,\"lastTransitionTime\":\"%s\"", now);
	}
	buf_adds(&b, "}]}}");
	if (!b.err)
		(void)client_patch(s->client, &pods_resource, p->ns.p, p->name.p, "status",
			CLIENT_PATCH_STRATEGIC, buf_str(&b), ignore, NULL);
}

static void no_node(struct scheduler *s, const struct pod *p, const struct verdict *v)
{
	struct event_ref o = ref_of(p);
	/* a cluster without any node is one that starts: told only when the next try ends so too */
	if (s->cluster->n_nodes == 0 && sched_queue_attempts(s->queue, p->uid) == 1) {
		sched_queue_backoff(s->queue, p->uid);
		return;
	}
	s->stats.unschedulable++;
	event_emit(s->events, &o, true, "FailedScheduling", "%s", v->message.p);
	patch_condition(s, p, buf_str(&v->message));
	sched_queue_wait(s->queue, p->uid, v->refused_by);
}

/* --- binding --- */

static void bind_free(struct bind *b)
{
	list_del(&b->node);
	client_cancel(b->call);
	sched_pod_unref(b->pod);
	free(b->target);
	free(b);
}

static void bind_failed(struct scheduler *s, struct bind *b, const struct err *e)
{
	struct event_ref o = ref_of(b->pod);
	s->stats.bind_errors++;
	/* The informer may have told us meanwhile that it is bound after all. */
	struct cobj *now = informer_get(s->pods, b->pod->ns.p, b->pod->name.p);
	const struct pod *p = now ? now->decoded : NULL;
	bool same = p && str_eq(p->uid, b->pod->uid);
	if (same && p->node.n)
		return;
	(void)cluster_del_pod(s->cluster, b->pod->uid);
	sched_queue_event(s->queue, BY_POD_GONE);
	if (!same || e->code == -ENOENT) {
		sched_queue_del(s->queue, b->pod->uid); /* deleted; the informer agrees soon */
		return;
	}
	event_emit(s->events, &o, true, "FailedScheduling", "binding rejected: %s", e->msg);
	sched_queue_backoff(s->queue, b->pod->uid);
}

static void on_bound(void *arg, const struct client_result *r)
{
	struct bind *b = arg;
	struct scheduler *s = b->s;
	b->call = NULL;
	s->n_binds--;
	if (r->e) {
		bind_failed(s, b, r->e);
	} else {
		struct event_ref o = ref_of(b->pod);
		s->stats.scheduled++;
		sched_queue_del(s->queue, b->pod->uid);
		event_emit(s->events, &o, false, "Scheduled", "Successfully assigned %s/%s to %s",
			b->pod->ns.p, b->pod->name.p, b->target);
	}
	bind_free(b);
	kick(s);
}

static int bind_start(struct scheduler *s, struct pod *p, struct str node)
{
	AUTO_BUF struct buf body = {0}, path = {0};
	struct bind *b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	*b = (struct bind){.s = s, .pod = sched_pod_ref(p), .target = str_dup(node)};
	list_init(&b->node);
	buf_adds(&body, "{\"kind\":\"Binding\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":");
	buf_add_json_str(&body, p->name);
	buf_adds(&body, ",\"namespace\":");
	buf_add_json_str(&body, p->ns);
	buf_adds(&body, ",\"uid\":");
	buf_add_json_str(&body, p->uid);
	buf_adds(&body, "},\"target\":{\"kind\":\"Node\",\"name\":");
	buf_add_json_str(&body, node);
	buf_adds(&body, "}}");
	resource_path(&pods_resource, p->ns.p, p->name.p, "binding", &path);
	const struct client_request r = {
		.method = "POST", .path = buf_str(&path), .body = buf_str(&body)};
	if (b->target && !body.err && !path.err)
		b->call = client_send(s->client, &r, on_bound, b);
	if (!b->call) {
		bind_free(b);
		return -ENOMEM;
	}
	list_push(&s->binds, &b->node);
	s->n_binds++;
	return 0;
}

/* --- deciding --- */

static void decide(struct scheduler *s, struct pod *p)
{
	AUTO(verdict_free) struct verdict v = {0};
	int64_t start = time_mono();
	int r = schedule_pod(s->cluster, p, &v);
	s->stats.decisions++;
	s->stats.decision_ns += (uint64_t)(time_mono() - start);
	if (r == 0 && !v.node) {
		no_node(s, p, &v);
		return;
	}
	if (r == 0)
		r = cluster_add_pod(s->cluster, p, v.node->name);
	if (r == 0) {
		r = bind_start(s, p, v.node->name);
		if (r < 0)
			(void)cluster_del_pod(s->cluster, p->uid);
		else
			sched_queue_event(s->queue, BY_POD_CAME);
	}
	if (r < 0) /* out of memory: later */
		sched_queue_backoff(s->queue, p->uid);
}

static void on_turn(struct loop_timer *t)
{
	struct scheduler *s = t->arg;
	int64_t end = time_mono() + BATCH_NS;
	for (int i = 0; i < BATCH && s->n_binds < BINDS_MAX && time_mono() < end; i++) {
		struct pod *p = sched_queue_pop(s->queue);
		if (!p)
			return;
		decide(s, p);
		sched_pod_unref(p);
	}
	kick(s); /* there may be more: pops until the queue is empty */
}

/* --- what the API tells --- */

static void *decode_pod(struct jv v)
{
	return sched_pod_decode(v);
}

static void free_pod(void *p)
{
	sched_pod_unref(p);
}

static void *decode_node(struct jv v)
{
	return sched_node_decode(v);
}

static void free_node(void *p)
{
	sched_node_spec_unref(p);
}

static void pod_gone(struct scheduler *s, const struct pod *p)
{
	sched_queue_del(s->queue, p->uid);
	if (cluster_del_pod(s->cluster, p->uid))
		sched_queue_event(s->queue, BY_POD_GONE);
}

static bool ours(const struct scheduler *s, const struct pod *p)
{
	return !p->deleting && !p->gated && str_eqz(p->scheduler, s->name);
}

static void on_pod(void *arg, struct cobj *old, struct cobj *new)
{
	struct scheduler *s = arg;
	struct pod *was = old ? old->decoded : NULL, *is = new ? new->decoded : NULL;
	if (!is || is->terminal) {
		if (is || was)
			pod_gone(s, is ? is : was);
	} else if (is->node.n) {
		bool came = !cluster_has_pod(s->cluster, is->uid);
		sched_queue_del(s->queue, is->uid);
		(void)cluster_add_pod(s->cluster, is, is->node);
		if (came)
			sched_queue_event(s->queue, BY_POD_CAME);
		else if (was && was->print != is->print) /* labels, or resources in place */
			sched_queue_event(s->queue, BY_POD_GONE);
	} else if (cluster_has_pod(s->cluster, is->uid)) {
		if (is->deleting) /* its binding will fail or be undone */
			pod_gone(s, is);
	} else if (ours(s, is)) {
		sched_queue_put(s->queue, is);
	} else {
		sched_queue_del(s->queue, is->uid);
	}
	kick(s);
}

static bool same_labels(const struct node_spec *a, const struct node_spec *b)
{
	bool same = a->n_labels == b->n_labels;
	for (size_t i = 0; same && i < a->n_labels; i++)
		same = str_eq(a->labels[i].key, b->labels[i].key) &&
		       str_eq(a->labels[i].value, b->labels[i].value);
	return same;
}

/* Nodes are updated all the time (heartbeats); few updates can help a pod. */
static bool same_node(const struct node_spec *a, const struct node_spec *b)
{
	bool same = a->unschedulable == b->unschedulable && a->n_taints == b->n_taints &&
		    memcmp(a->alloc.v, b->alloc.v, sizeof(a->alloc.v)) == 0 &&
		    a->alloc.n_ext == b->alloc.n_ext && same_labels(a, b);
	for (size_t i = 0; same && i < a->n_taints; i++)
		same = str_eq(a->taints[i].key, b->taints[i].key) &&
		       str_eq(a->taints[i].value, b->taints[i].value) &&
		       str_eq(a->taints[i].effect, b->taints[i].effect);
	for (size_t i = 0; same && i < a->alloc.n_ext; i++)
		same = resources_ext(&b->alloc, a->alloc.ext[i].name) == a->alloc.ext[i].v;
	return same;
}

static void on_node(void *arg, struct cobj *old, struct cobj *new)
{
	struct scheduler *s = arg;
	struct node_spec *was = old ? old->decoded : NULL, *is = new ? new->decoded : NULL;
	if (!is) {
		if (was)
			cluster_del_node(s->cluster, was->name);
		return;
	}
	(void)cluster_set_node(s->cluster, is);
	if (!was || !same_node(was, is))
		sched_queue_event(s->queue, (unsigned)BY_NODE);
	kick(s);
}

static void on_namespace(void *arg, struct cobj *old, struct cobj *new)
{
	struct scheduler *s = arg;
	(void)old;
	(void)new;
	sched_queue_event(s->queue, BIT(INTER_POD_AFFINITY));
}

static struct jv ns_labels(void *arg, struct str ns)
{
	const struct scheduler *s = arg;
	char name[254];
	if (str_copy(name, sizeof(name), ns) < 0)
		return (struct jv){0};
	struct cobj *o = informer_get(s->namespaces, "", name);
	return o ? jv_path(o->v, "metadata.labels") : (struct jv){0};
}

/* --- life --- */

static int start_parts(struct scheduler *s, uint64_t seed, struct err *e)
{
	if (!seed)
		random_bytes(&seed, sizeof(seed));
	s->cluster = cluster_new(seed);
	s->queue = sched_queue_new(client_loop(s->client), kick, s);
	s->events = event_recorder_new(s->client, s->name ? s->name : "", "");
	if (!s->name || !s->cluster || !s->queue || !s->events)
		return err_set(e, -ENOMEM, "InternalError", "out of memory");
	s->cluster->ns_labels = ns_labels;
	s->cluster->ns_arg = s;
	return 0;
}

static int start_informers(struct scheduler *s, struct err *e)
{
	const struct informer_config pods = {.client = s->client,
		.resource = &pods_resource,
		.decode = decode_pod,
		.free_decoded = free_pod,
		.on_event = on_pod,
		.on_synced = kick,
		.arg = s};
	const struct informer_config nodes = {.client = s->client,
		.resource = &nodes_resource,
		.decode = decode_node,
		.free_decoded = free_node,
		.on_event = on_node,
		.on_synced = kick,
		.arg = s};
	const struct informer_config namespaces = {.client = s->client,
		.resource = &namespaces_resource,
		.on_event = on_namespace,
		.on_synced = kick,
		.arg = s};
	int r = informer_start(&namespaces, &s->namespaces, e);
	if (r == 0)
		r = informer_start(&nodes, &s->nodes, e);
	return r == 0 ? informer_start(&pods, &s->pods, e) : r;
}

int scheduler_start(
	struct client *c, const struct scheduler_config *cfg, struct scheduler **ret, struct err *e)
{
	struct scheduler *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "InternalError", "out of memory");
	s->client = c;
	s->name = strdup(cfg->name ? cfg->name : "default-scheduler");
	s->turn = (struct loop_timer){.fn = on_turn, .arg = s};
	list_init(&s->binds);
	int r = start_parts(s, cfg->seed, e);
	if (r == 0)
		r = start_informers(s, e);
	if (r < 0) {
		scheduler_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void scheduler_free(struct scheduler *s)
{
	if (!s)
		return;
	loop_timer_cancel(&s->turn);
	while (!list_empty(&s->binds))
		bind_free(list_entry(s->binds.next, struct bind, node));
	informer_free(s->pods);
	informer_free(s->nodes);
	informer_free(s->namespaces);
	event_recorder_free(s->events);
	sched_queue_free(s->queue);
	cluster_free(s->cluster);
	free(s->name);
	free(s);
}

void scheduler_stats(const struct scheduler *s, struct scheduler_stats *out)
{
	struct sched_queue_counts q = sched_queue_counts(s->queue);
	*out = s->stats;
	out->active = q.active;
	out->backing_off = q.backing_off;
	out->waiting = q.waiting;
	out->nodes = s->cluster->n_nodes;
	out->pods = cluster_len(s->cluster);
}

/* SPDX-License-Identifier: Apache-2.0
 * Garbage collector: deletes what has lost its owners, lets foreground and orphan deletions end.
 * One informer a kind that the server knows (Events apart, which own and are owned by nothing), and
 * the graph of gc_graph.c. Each look at a node leads to at most one call; what the call changes
 * wakes the node again. */
#include <errno.h>
#include "controllers/framework.h"
#include "controllers/gc_graph.h"
#include "xebec/base/log.h"

#define PARALLEL 16

struct gc_kind {
	struct gc *gc;
	const struct resource *r;
	struct informer *inf;
	bool shared; /* the framework's */
};

struct gc_call {
	struct list link;
	struct gc *gc;
	struct client_call *call;
	bool probe;
	char *uid, *owner_uid;
};
struct gc {
	struct controllers *cs;
	struct graph *graph;
	struct gc_kind **kinds;
	size_t n_kinds, cap_kinds;
	struct workqueue *queue;
	struct list calls;
};

static void wake(void *arg, const char *uid)
{
	workqueue_add(((struct gc *)arg)->queue, uid);
}

static void on_event(void *arg, struct cobj *old, struct cobj *new)
{
	struct gc_kind *k = arg;
	struct gc *g = k->gc;

	if (old && (!new || strcmp(old->uid, new->uid) != 0))
		graph_gone(g->graph, old->uid, wake, g);
	if (new)
		(void)graph_seen(g->graph, k->r, new, wake, g);
}

static void call_free(struct gc_call *c)
{
	list_del(&c->link);
	free(c->uid);
	free(c->owner_uid);
	free(c);
}

/* An owner that a probe did not find is as good as deleted. */
static void on_probe(struct gc *g, const struct gc_call *c, const struct client_result *r)
{
	struct gnode *owner = graph_find(g->graph, c->owner_uid);
	bool gone = r->e && r->e->code == -ENOENT;

	if (!r->e)
		gone = !str_eqz(jv_raw_str(jv_path(jv_of(r->body), "metadata.uid")), c->owner_uid);
	if (!owner || owner->exists)
		return;
	if (gone)
		graph_gone(g->graph, c->owner_uid, wake, g);
	else if (!r->e) /* it lives, but no informer has shown it yet */
		workqueue_add_after(g->queue, c->uid, NS_PER_SEC);
}

static void on_done(void *arg, const struct client_result *r)
{
	struct gc_call *c = arg;
	struct gc *g = c->gc;
	bool ok = !r->e || r->e->code == -ENOENT;

	if (c->probe)
		on_probe(g, c, r);
	if (ok) {
		workqueue_forget(g->queue, c->uid);
	} else {
		if (r->e->code != -EAGAIN)
			log_warn("garbage collector: %s", r->e->msg);
		workqueue_retry(g->queue, c->uid);
	}
	workqueue_done(g->queue, c->uid);
	call_free(c);
}

static struct client_call *send_probe(
	struct gc *g, const struct gnode *n, const struct gnode_ref *ref, struct gc_call *c)
{
	const struct found *f =
		discovery_find(g->cs->discovery, str_of(ref->api_version), str_of(ref->kind));

	/* An owner of a kind that the server does not know (now) stays untouched, and so does what
	 * cannot be owned: a cluster-wide object by a namespaced one. */
	if (!f || (f->r.namespaced && !n->ns[0]))
		return NULL;
	c->probe = true;
	c->owner_uid = str_dup(str_of(ref->owner->uid));
	return client_get(g->cs->c, &f->r, f->r.namespaced ? n->ns : NULL, ref->name, on_done, c);
}

static const struct cobj *object_of(const struct gc *g, const struct gnode *n)
{
	for (size_t i = 0; i < g->n_kinds; i++) {
		if (g->kinds[i]->r != n->r)
			continue;
		const struct cobj *o = informer_get(g->kinds[i]->inf, n->ns, n->name);
		return o && strcmp(o->uid, n->uid) == 0 ? o : NULL;
	}
	return NULL;
}

/* The owner references of o without those of which drop says so. */
static json_t *kept_refs(const struct gnode *n, const struct cobj *o, const struct gnode *orphan_of)
{
	json_t *out = json_array();

	jv_each (it, jv_path(o->v, "metadata.ownerReferences")) {
		struct str uid = owner_ref_of(it.v).uid;
		bool drop = false;
		for (size_t i = 0; i < n->n_refs; i++) {
			const struct gnode_ref *ref = &n->refs[i];
			if (str_eqz(uid, ref->owner->uid))
				drop |= orphan_of ? ref->owner == orphan_of
						  : gc_dangling(ref) || gc_waiting(ref);
		}
		json_t *j = NULL;
		if (!drop && json_parse(jv_bytes(it.v), &j, NULL) == 0)
			(void)json_array_append_new(out, j);
	}
	return out;
}

static struct client_call *send_meta(struct gc *g, const struct gnode *n, const struct cobj *o,
	const char *member, json_t *take, struct gc_call *c)
{
	AUTO_BUF struct buf b = {0};
	json_t *p = json_pack("{s:{s:s,s:o,s:o}}", "metadata", "uid", n->uid, "resourceVersion",
		json_sprintf("%ju", (uintmax_t)o->rv), member, take);

	json_write(p, &b);
	json_decref(p);
	return client_patch(g->cs->c, n->r, n->ns[0] ? n->ns : NULL, n->name, NULL,
		CLIENT_PATCH_MERGE, buf_str(&b), on_done, c);
}

static json_t *kept_finalizers(const struct cobj *o, const char *drop)
{
	json_t *out = json_array();

	jv_each (it, jv_path(o->v, "metadata.finalizers")) {
		struct str s = jv_raw_str(it.v);
		if (!str_eqz(s, drop))
			(void)json_array_append_new(out, json_stringn(s.p, s.n));
	}
	return out;
}

static struct client_call *send_step(
	struct gc *g, const struct gnode *n, const struct gc_step *s, struct gc_call *c)
{
	const struct gnode *target = s->verb == GC_ORPHAN ? s->dep : n;
	const struct cobj *o = object_of(g, target);

	if (s->verb == GC_PROBE)
		return send_probe(g, n, s->ref, c);
	if (!o)
		return NULL;
	switch (s->verb) {
	case GC_DELETE:
		return client_delete(g->cs->c, n->r, n->ns[0] ? n->ns : NULL, n->name, -1, n->uid,
			s->propagation, on_done, c);
	case GC_DROP_REFS:
		return send_meta(g, n, o, "ownerReferences", kept_refs(n, o, NULL), c);
	case GC_ORPHAN:
		return send_meta(g, target, o, "ownerReferences", kept_refs(target, o, n), c);
	case GC_FINALIZE:
		return send_meta(g, n, o, "finalizers", kept_finalizers(o, s->finalizer), c);
	default:
		return NULL;
	}
}

static void work(void *arg, const char *uid)
{
	struct gc *g = arg;
	const struct gnode *n = graph_find(g->graph, uid);
	struct gc_step s = n ? gc_decide(n) : (struct gc_step){.verb = GC_NOTHING};
	struct gc_call *c = NULL;

	if (s.verb != GC_NOTHING && (c = calloc(1, sizeof(*c)))) {
		c->gc = g;
		list_init(&c->link);
		c->uid = str_dup(str_of(uid));
		c->call = c->uid ? send_step(g, n, &s, c) : NULL;
		if (c->call) {
			list_push(&g->calls, &c->link);
			return;
		}
		call_free(c);
		workqueue_add_after(g->queue, uid, 5 * NS_PER_SEC);
	}
	workqueue_done(g->queue, uid);
}

/* --- the informers --- */

static struct informer *shared_informer(const struct gc *g, const struct resource *r)
{
	for (int i = 0; i < R_COUNT; i++)
		if (g->cs->slots[i].inf && strcmp(res_table[i].plural, r->plural) == 0 &&
			strcmp(res_table[i].group, r->group) == 0 &&
			strcmp(res_table[i].version, r->version) == 0)
			return g->cs->slots[i].inf;
	return NULL;
}

static void kind_start(struct gc *g, const struct found *f)
{
	for (size_t i = 0; i < g->n_kinds; i++)
		if (g->kinds[i]->r == &f->r)
			return;
	if (g->n_kinds == g->cap_kinds) {
		size_t cap = g->cap_kinds ? g->cap_kinds * 2 : 32;
		struct gc_kind **p = reallocarray(g->kinds, cap, sizeof(struct gc_kind *));
		if (!p)
			return;
		g->kinds = p;
		g->cap_kinds = cap;
	}
	struct gc_kind *k = calloc(1, sizeof(*k));
	if (!k)
		return;
	*k = (struct gc_kind){.gc = g, .r = &f->r, .inf = shared_informer(g, &f->r)};
	k->shared = k->inf != NULL;
	struct informer_config ic = {
		.client = g->cs->c, .resource = k->r, .on_event = on_event, .arg = k};
	/* before listening: events look the kind up */
	g->kinds[g->n_kinds++] = k;
	int r = k->shared ? informer_listen(k->inf, on_event, k)
			  : informer_start(&ic, &k->inf, NULL);
	if (r < 0) {
		g->n_kinds--;
		free(k);
	}
}

/* The server has it no more: neither have its objects anybody who could end them. */
static void kind_stop(struct gc *g, size_t i)
{
	struct gc_kind *k = g->kinds[i];

	informer_each(k->inf, NULL, it) graph_gone(g->graph, it.obj->uid, wake, g);
	informer_free(k->inf);
	free(k);
	g->kinds[i] = g->kinds[--g->n_kinds];
}

static const struct found *found_of(const struct gc *g, const struct resource *r)
{
	for (size_t i = 0; i < discovery_len(g->cs->discovery); i++)
		if (&discovery_at(g->cs->discovery, i)->r == r)
			return discovery_at(g->cs->discovery, i);
	return NULL;
}

void gc_round(struct gc *g)
{
	for (size_t i = g->n_kinds; discovery_ready(g->cs->discovery) && i-- > 0;) {
		const struct found *f = found_of(g, g->kinds[i]->r);
		if (f && !found_usable(f) && !g->kinds[i]->shared)
			kind_stop(g, i);
	}
	for (size_t i = 0; i < discovery_len(g->cs->discovery); i++) {
		const struct found *f = discovery_at(g->cs->discovery, i);
		if (found_usable(f) && f->can_list && f->can_watch && f->can_delete &&
			strcmp(f->r.plural, "events") != 0)
			kind_start(g, f);
	}
}

struct gc *gc_start(struct controllers *cs)
{
	struct gc *g = calloc(1, sizeof(*g));

	if (!g)
		return NULL;
	g->cs = cs;
	list_init(&g->calls);
	g->graph = graph_new();
	g->queue = workqueue_new(client_loop(cs->c), work, g, PARALLEL);
	if (!g->graph || !g->queue) {
		gc_free(g);
		return NULL;
	}
	return g;
}

void gc_free(struct gc *g)
{
	if (!g)
		return;
	while (!list_empty(&g->calls)) {
		struct gc_call *c = list_entry(g->calls.next, struct gc_call, link);
		client_cancel(c->call);
		call_free(c);
	}
	for (size_t i = 0; i < g->n_kinds; i++) {
		if (!g->kinds[i]->shared && g->kinds[i]->inf)
			informer_free(g->kinds[i]->inf);
	}
	/* Shared informers go after this, and no loop round comes between: kinds may be freed. */
	for (size_t i = 0; i < g->n_kinds; i++)
		free(g->kinds[i]);
	free(g->kinds);
	if (g->queue)
		workqueue_free(g->queue);
	graph_free(g->graph);
	free(g);
}

size_t gc_busy(const struct gc *g)
{
	size_t n = g ? workqueue_len(g->queue) : 0;

	if (g)
		for (const struct list *it = g->calls.next; it != &g->calls; it = it->next)
			n++;
	return n;
}

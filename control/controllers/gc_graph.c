/* SPDX-License-Identifier: Apache-2.0
 * The ownership graph and the decisions over it. */
#include <errno.h>
#include "controllers/gc_graph.h"
#include "xebec/base/htab.h"

struct graph {
	struct htab *by_uid;
};

struct graph *graph_new(void)
{
	struct graph *g = calloc(1, sizeof(*g));

	if (g && !(g->by_uid = htab_new())) {
		free(g);
		return NULL;
	}
	return g;
}

static void refs_free(struct gnode_ref *refs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(refs[i].api_version);
		free(refs[i].kind);
		free(refs[i].name);
	}
	free(refs);
}

static void gnode_free(void *p)
{
	struct gnode *n = p;

	refs_free(n->refs, n->n_refs);
	free(n->deps);
	free(n->uid);
	free(n->ns);
	free(n->name);
	free(n);
}

void graph_free(struct graph *g)
{
	if (!g)
		return;
	htab_free(g->by_uid, gnode_free);
	free(g);
}

struct gnode *graph_find(const struct graph *g, const char *uid)
{
	return htab_get(g->by_uid, str_of(uid));
}

static struct gnode *gnode_get(struct graph *g, struct str uid)
{
	struct gnode *n = htab_get(g->by_uid, uid);

	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	if (!n || !(n->uid = str_dup(uid)) || htab_put(g->by_uid, uid, n, NULL) < 0) {
		if (n)
			gnode_free(n);
		return NULL;
	}
	return n;
}

static void maybe_forget(struct graph *g, struct gnode *n)
{
	if (n->exists || n->n_deps > 0)
		return;
	(void)htab_del(g->by_uid, str_of(n->uid));
	gnode_free(n);
}

static int dep_add(struct gnode *owner, struct gnode *dep)
{
	if (owner->n_deps == owner->cap_deps) {
		size_t cap = owner->cap_deps ? owner->cap_deps * 2 : 4;
		struct gnode **p = reallocarray(owner->deps, cap, sizeof(struct gnode *));
		if (!p)
			return -ENOMEM;
		owner->deps = p;
		owner->cap_deps = cap;
	}
	owner->deps[owner->n_deps++] = dep;
	return 0;
}

static void dep_del(struct gnode *owner, const struct gnode *dep)
{
	for (size_t i = 0; i < owner->n_deps; i++) {
		if (owner->deps[i] != dep)
			continue;
		owner->deps[i] = owner->deps[--owner->n_deps];
		return;
	}
}

static void refs_drop(struct graph *g, struct gnode *n, graph_wake *wake, void *arg)
{
	struct gnode_ref *refs = n->refs;
	size_t count = n->n_refs;

	n->refs = NULL;
	n->n_refs = 0;
	for (size_t i = 0; i < count; i++) {
		struct gnode *owner = refs[i].owner;
		dep_del(owner, n);
		if (owner->deleting)
			wake(arg, owner->uid); /* it may have waited for this one */
		maybe_forget(g, owner);
	}
	refs_free(refs, count);
}

static int refs_take(struct graph *g, struct gnode *n, struct jv list)
{
	size_t cap = jv_len(list);

	n->refs = calloc(cap + 1, sizeof(*n->refs));
	if (!n->refs)
		return -ENOMEM;
	jv_each (it, list) {
		struct owner_ref ref = owner_ref_of(it.v);
		struct gnode *owner = ref.uid.n ? gnode_get(g, ref.uid) : NULL;
		if (!owner || n->n_refs == cap || dep_add(owner, n) < 0)
			continue;
		n->refs[n->n_refs++] = (struct gnode_ref){.owner = owner,
			.api_version = str_dup(ref.api_version),
			.kind = str_dup(ref.kind),
			.name = str_dup(ref.name),
			.block = ref.block};
	}
	return 0;
}

int graph_seen(struct graph *g, const struct resource *r, const struct cobj *o, graph_wake *wake,
	void *arg)
{
	struct gnode *n = gnode_get(g, str_of(o->uid));

	if (!n)
		return -ENOMEM;
	if (!n->name) {
		n->ns = str_dup(str_of(o->ns));
		n->name = str_dup(str_of(o->name));
	}
	struct jv finalizers = jv_path(o->v, "metadata.finalizers");
	n->r = r;
	n->exists = true;
	n->absent = false;
	n->rv = o->rv;
	n->deleting = deleting(o);
	n->foreground = has_finalizer(finalizers, "foregroundDeletion");
	n->orphan = has_finalizer(finalizers, "orphan");
	refs_drop(g, n, wake, arg);
	int rc = refs_take(g, n, jv_path(o->v, "metadata.ownerReferences"));
	if (n->n_refs > 0 || n->deleting)
		wake(arg, n->uid);
	for (size_t i = 0; i < n->n_refs; i++)
		if (n->refs[i].owner->deleting)
			wake(arg, n->refs[i].owner->uid);
	for (size_t i = 0; n->deleting && i < n->n_deps; i++)
		wake(arg, n->deps[i]->uid);
	return rc;
}

void graph_gone(struct graph *g, const char *uid, graph_wake *wake, void *arg)
{
	struct gnode *n = graph_find(g, uid);

	if (!n)
		return;
	n->exists = false;
	n->absent = true;
	n->deleting = n->foreground = n->orphan = false;
	for (size_t i = 0; i < n->n_deps; i++)
		wake(arg, n->deps[i]->uid);
	refs_drop(g, n, wake, arg);
	maybe_forget(g, n);
}

bool gc_dangling(const struct gnode_ref *ref)
{
	return ref->owner->absent;
}

bool gc_waiting(const struct gnode_ref *ref)
{
	return ref->owner->exists && ref->owner->deleting && ref->owner->foreground && ref->block;
}

static bool blocks(const struct gnode *dep, const struct gnode *owner)
{
	for (size_t i = 0; i < dep->n_refs; i++)
		if (dep->refs[i].owner == owner && dep->refs[i].block)
			return true;
	return false;
}

/* An owner that is being deleted and waits: for its dependents to go, or to be orphaned. */
static struct gc_step decide_owner(const struct gnode *n)
{
	if (n->orphan) {
		if (n->n_deps > 0)
			return (struct gc_step){.verb = GC_ORPHAN, .dep = n->deps[0]};
		return (struct gc_step){.verb = GC_FINALIZE, .finalizer = "orphan"};
	}
	for (size_t i = 0; i < n->n_deps; i++)
		if (blocks(n->deps[i], n))
			return (struct gc_step){.verb = GC_NOTHING};
	return (struct gc_step){.verb = GC_FINALIZE, .finalizer = "foregroundDeletion"};
}

static struct gc_step decide_dependent(const struct gnode *n)
{
	size_t solid = 0, dangling = 0, waiting = 0;

	for (size_t i = 0; i < n->n_refs; i++) {
		const struct gnode_ref *ref = &n->refs[i];
		if (!ref->owner->exists && !ref->owner->absent)
			return (struct gc_step){.verb = GC_PROBE, .ref = ref};
		if (gc_dangling(ref))
			dangling++;
		else if (gc_waiting(ref))
			waiting++;
		else
			solid++;
	}
	if (dangling + waiting == 0)
		return (struct gc_step){.verb = GC_NOTHING};
	if (solid > 0)
		return (struct gc_step){.verb = GC_DROP_REFS};
	const char *how = "Background";
	if (n->orphan)
		how = "Orphan";
	else if (n->foreground || (waiting > 0 && n->n_deps > 0))
		how = "Foreground";
	return (struct gc_step){.verb = GC_DELETE, .propagation = how};
}

struct gc_step gc_decide(const struct gnode *n)
{
	if (!n->exists)
		return (struct gc_step){.verb = GC_NOTHING};
	if (n->deleting)
		return n->orphan || n->foreground ? decide_owner(n)
						  : (struct gc_step){.verb = GC_NOTHING};
	return n->n_refs > 0 ? decide_dependent(n) : (struct gc_step){.verb = GC_NOTHING};
}

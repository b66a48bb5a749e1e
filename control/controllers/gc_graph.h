/* SPDX-License-Identifier: Apache-2.0
 * Who owns whom, over all kinds, by uid: the garbage collector's picture of the cluster. Pure: no
 * API calls. */
#ifndef XEBEC_CONTROLLERS_GC_GRAPH_H
#define XEBEC_CONTROLLERS_GC_GRAPH_H

#include "controllers/discovery.h"
#include "controllers/object.h"

struct gnode_ref {
	struct gnode *owner;
	char *api_version, *kind, *name;
	bool block;
};
struct gnode {
	char *uid;
	/* exists: seen in an informer. absent: certainly gone (deleted, or a probe found nothing).
	 * Neither: only named by somebody as owner, not looked up yet. */
	bool exists, absent;
	const struct resource *r;
	char *ns, *name;
	uint64_t rv;
	bool deleting, foreground, orphan; /* deletionTimestamp; finalizers */
	struct gnode_ref *refs;
	size_t n_refs;
	struct gnode **deps; /* nodes that name this one as owner */
	size_t n_deps, cap_deps;
};
struct graph;
struct graph *graph_new(void);
void graph_free(struct graph *g);
struct gnode *graph_find(const struct graph *g, const char *uid);
/* An object was seen, or has gone. wake(uid) names every node that must be looked at. */
typedef void graph_wake(void *arg, const char *uid);
int graph_seen(struct graph *g, const struct resource *r, const struct cobj *o, graph_wake *wake,
	void *arg);
void graph_gone(struct graph *g, const char *uid, graph_wake *wake, void *arg);

/* What is to be done about one node. */
enum gc_verb {
	GC_NOTHING,
	GC_PROBE,     /* ref: ask the server whether this owner exists */
	GC_DELETE,    /* with propagation */
	GC_DROP_REFS, /* owner references that count no more: those of drop */
	GC_ORPHAN,    /* dep: drop its reference to this node */
	GC_FINALIZE,  /* remove the finalizer */
};
struct gc_step {
	enum gc_verb verb;
	const struct gnode_ref *ref;
	const struct gnode *dep;
	const char *propagation, *finalizer;
};
struct gc_step gc_decide(const struct gnode *n);
/* Does the reference count no more (its owner is absent, or waits for its dependents to go)? */
bool gc_dangling(const struct gnode_ref *ref);
bool gc_waiting(const struct gnode_ref *ref);

#endif

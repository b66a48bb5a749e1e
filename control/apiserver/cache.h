/* SPDX-License-Identifier: Apache-2.0
 * Watch cache: every object of the store in ordered maps, one a resource, and the latest events in
 * a ring, one a resource, fed by one store watch. Readers take snapshots and never wait for the
 * writer; a watcher holds a cursor into the ring and is woken on its own loop. */
#ifndef XEBEC_APISERVER_CACHE_H
#define XEBEC_APISERVER_CACHE_H

#include <pthread.h>
#include <stdatomic.h>
#include "api/api.h"
#include "store/store.h"
#include "xebec/base/htab.h"
#include "xebec/base/jv.h"
#include "xebec/base/loop.h"
#include "xebec/base/omap.h"

struct obj { /* one version of one object; immutable, refcounted from any thread */
	_Atomic int refs;
	uint32_t key_off; /* of "ns/name" or "name" in the store key */
	uint32_t ns_len;  /* 0 = cluster-scoped */
	struct store_val *val;
	struct jv labels;
};
struct obj *obj_new(struct store_val *v, uint32_t key_off, bool namespaced); /* takes its own ref */
struct obj *obj_ref(struct obj *o);
void obj_unref(struct obj *o);
struct str obj_key(const struct obj *o);
struct str obj_ns(const struct obj *o);
struct str obj_name(const struct obj *o);
static inline struct str obj_bytes(const struct obj *o)
{
	return store_val_bytes(o->val);
}
static inline uint64_t obj_rv(const struct obj *o)
{
	return o->val->mod_rev;
}

struct frame { /* an encoded event, shared by every watcher that wants it in this form */
	_Atomic int refs;
	size_t len;
	char bytes[];
};
void frame_unref(struct frame *f);

struct event {
	_Atomic int refs;
	uint64_t rev;
	struct obj *obj;  /* NULL: deleted */
	struct obj *prev; /* NULL: created */
	_Atomic(struct frame *) json;
};
void event_unref(struct event *ev);

struct watcher { /* embedded by the subscriber; the fields belong to the cache */
	struct list node;
	struct loop *loop;
	struct loop_task task; /* .fn is run on loop when there is something to read */
	atomic_bool posted;
	uint64_t epoch;
	uint64_t cursor; /* sequence number of the next event to read */
};

struct cache_res { /* one stored resource; several kinds (API versions) may share it */
	struct cache *cache;
	struct list node;	 /* of cache->all */
	const struct kind *kind; /* the storage version; of a custom resource only its names */
	struct kind *own;	 /* custom: the memory behind kind */
	_Atomic int refs;	 /* custom only */
	uint64_t epoch;		 /* watchers of an earlier one are ended */
	char *prefix;		 /* "/registry/core/pods/" */
	size_t prefix_len;
	struct omap *objs;
	/* ring, under cache->lock */
	struct event **ring;
	int64_t *ring_at;
	size_t ring_cap;
	uint64_t first, next; /* sequence numbers kept: [first, next) */
	uint64_t dropped_rev; /* revision of the latest event that is no longer kept */
	struct list watchers;
	_Atomic size_t n_watchers;
};

struct cache_wait { /* owned by the caller until fn runs or cancel returns true */
	struct list node;
	uint64_t rev;
	struct loop *loop;
	struct loop_task task;
	bool queued;
};

/* Hears every change, under the cache's lock: quick, and nothing of the cache in it. */
typedef void cache_change(void *arg, struct cache_res *r, struct obj *old, struct obj *new);

struct cache {
	struct store *store;
	struct store_watch *watch;
	pthread_mutex_t lock;
	_Atomic uint64_t rev;	/* everything up to it is in the maps and rings */
	struct htab *by_prefix; /* "core/pods" -> struct cache_res */
	struct cache_res *res;	/* the built-in ones */
	size_t n_res;
	struct list all; /* and those of custom resources */
	struct list waiters;
	cache_change *on_change;
	void *on_change_arg;
};

/* Blocks for the first read. */
int cache_new(
	struct store *s, cache_change *on_change, void *arg, struct cache **ret, struct err *e);
void cache_free(struct cache *c);
struct cache_res *cache_resource(struct cache *c, const struct kind *k); /* NULL: not stored */
/* Of a custom resource: made when it is not there yet. A reference; NULL when out of memory. */
struct cache_res *cache_custom(struct cache *c, const char *group, const char *plural);
void cache_res_unref(struct cache_res *r); /* NULL and built-in ones: nothing */
/* Under the lock (from on_change): its definition changed; every watch ends, and when it is gone
 * for good and no object is left, so is the memory. */
void cache_custom_changed(struct cache *c, const char *group, const char *plural, bool gone);

/* Is everything up to rev here? If not, w->task is posted to w->loop when it is. */
bool cache_wait(struct cache *c, struct cache_wait *w, uint64_t rev);
bool cache_wait_cancel(struct cache *c, struct cache_wait *w); /* false: the task is on its way */

/* A consistent state and its revision. */
struct omap_snap *cache_snapshot(struct cache_res *r, uint64_t *ret_rev);
struct obj *cache_get(struct cache_res *r, struct str key); /* a reference or NULL */

/* Starts after revision rv. -ESTALE: events since then are no longer kept. With ret_snap: starts
 * after the returned snapshot's revision instead, atomically. */
int cache_subscribe(struct cache_res *r, struct watcher *w, uint64_t rv,
	struct omap_snap **ret_snap, uint64_t *ret_rev);
void cache_unsubscribe(struct cache_res *r, struct watcher *w);
/* Up to max events (references) and the revision reached when the ring is drained (0 when it is
 * not). -ESTALE: fell off the ring. -ENOENT: the definition of the resource changed. */
int cache_read(struct cache_res *r, struct watcher *w, struct event **ret, size_t max,
	uint64_t *ret_drained_rev);
uint64_t cache_oldest(struct cache_res *r);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Watch cache: the store's thread writes, everybody reads snapshots. */
#include "apiserver/cache.h"

#include <errno.h>
#include "xebec/base/timefmt.h"

enum { RING_MIN = 32, RING_MAX = 8192 };
/* A full ring grows rather than forget an event younger than this: reconnecting clients find their
 * place again (the same span as kube-apiserver's). */
#define RING_KEEP_NS (75 * NS_PER_SEC)

struct obj *obj_new(struct store_val *v, uint32_t key_off, bool namespaced)
{
	struct obj *o = malloc(sizeof(*o));
	if (!o)
		return NULL;
	struct str key = {v->data + key_off, v->key_len - key_off};
	const char *slash = namespaced ? memchr(key.p, '/', key.n) : NULL;
	*o = (struct obj){.refs = 1,
		.key_off = key_off,
		.ns_len = slash ? (uint32_t)(slash - key.p) : 0,
		.val = store_val_ref(v)};
	o->labels = jv_get(jv_get(jv_of(store_val_bytes(v)), "metadata"), "labels");
	return o;
}

struct obj *obj_ref(struct obj *o)
{
	atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
	return o;
}

void obj_unref(struct obj *o)
{
	if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1)
		return;
	store_val_unref(o->val);
	free(o);
}

struct str obj_key(const struct obj *o)
{
	return (struct str){o->val->data + o->key_off, o->val->key_len - o->key_off};
}

struct str obj_ns(const struct obj *o)
{
	return (struct str){o->val->data + o->key_off, o->ns_len};
}

struct str obj_name(const struct obj *o)
{
	struct str k = obj_key(o);
	size_t skip = o->ns_len ? o->ns_len + 1 : 0;
	return (struct str){k.p + skip, k.n - skip};
}

static void *omap_obj_ref(void *v)
{
	return obj_ref(v);
}

static void omap_obj_unref(void *v)
{
	obj_unref(v);
}

static const struct omap_ops obj_ops = {.ref = omap_obj_ref, .unref = omap_obj_unref};

void frame_unref(struct frame *f)
{
	if (f && atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1)
		free(f);
}

void event_unref(struct event *ev)
{
	if (!ev || atomic_fetch_sub_explicit(&ev->refs, 1, memory_order_acq_rel) != 1)
		return;
	obj_unref(ev->obj);
	obj_unref(ev->prev);
	frame_unref(atomic_load_explicit(&ev->json, memory_order_acquire));
	free(ev);
}

/* --- ring, under the lock --- */

static int ring_grow(struct cache_res *r)
{
	size_t cap = r->ring_cap ? r->ring_cap * 2 : RING_MIN;
	struct event **ring = malloc(cap * sizeof(struct event *));
	int64_t *at = malloc(cap * sizeof(int64_t));
	if (!ring || !at) {
		free(ring);
		free(at);
		return -ENOMEM;
	}
	for (uint64_t i = r->first; i < r->next; i++) {
		ring[i & (cap - 1)] = r->ring[i & (r->ring_cap - 1)];
		at[i & (cap - 1)] = r->ring_at[i & (r->ring_cap - 1)];
	}
	free(r->ring);
	free(r->ring_at);
	r->ring = ring;
	r->ring_at = at;
	r->ring_cap = cap;
	return 0;
}

static void ring_drop_oldest(struct cache_res *r)
{
	struct event **slot = &r->ring[r->first & (r->ring_cap - 1)];
	r->dropped_rev = (*slot)->rev;
	event_unref(*slot);
	*slot = NULL;
	r->first++;
}

static void ring_push(struct cache_res *r, struct event *ev, int64_t now)
{
	if (r->next - r->first == r->ring_cap) {
		bool young = r->ring_cap == 0 ||
			     now - r->ring_at[r->first & (r->ring_cap - 1)] < RING_KEEP_NS;
		bool grown = young && r->ring_cap < RING_MAX && ring_grow(r) == 0;
		if (!grown && r->ring_cap == 0) { /* no memory at all: nobody can follow */
			r->dropped_rev = ev->rev;
			event_unref(ev);
			return;
		}
		if (!grown)
			ring_drop_oldest(r);
	}
	r->ring[r->next & (r->ring_cap - 1)] = ev;
	r->ring_at[r->next & (r->ring_cap - 1)] = now;
	r->next++;
}

static void ring_clear(struct cache_res *r, uint64_t rev)
{
	while (r->first < r->next)
		ring_drop_oldest(r);
	r->dropped_rev = rev;
	r->next++; /* cursors of the old life point before the new first */
	r->first = r->next;
}

/* --- custom resources: known by their definition, or by a key in the store --- */

static struct cache_res *custom_new(struct cache *c, struct str group, struct str plural)
{
	struct cache_res *r = calloc(1, sizeof(*r));
	struct kind *k = calloc(1, sizeof(*k));
	char *g = str_dup(group), *p = str_dup(plural);
	if (r && k && g && p) {
		*k = (struct kind){.group = g,
			.version = "",
			.kind = "",
			.list_kind = "",
			.plural = p,
			.singular = "",
			.storage_group = g,
			.storage_plural = p,
			.namespaced = true}; /* a key without a slash has no namespace */
		*r = (struct cache_res){.cache = c, .kind = k, .own = k, .refs = 1};
		r->objs = omap_new(&obj_ops);
		list_init(&r->node);
		list_init(&r->watchers);
		r->dropped_rev = atomic_load(&c->rev);
		if (r->objs && asprintf(&r->prefix, "/registry/%s/%s/", g, p) > 0) {
			r->prefix_len = strlen(r->prefix);
			return r;
		}
		omap_free(r->objs);
	}
	free(r);
	free(k);
	free(g);
	free(p);
	return NULL;
}

static void res_clear(struct cache_res *r)
{
	ring_clear(r, 0);
	free(r->ring);
	free(r->ring_at);
	omap_free(r->objs);
	free(r->prefix);
}

void cache_res_unref(struct cache_res *r)
{
	if (!r || !r->own || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	res_clear(r);
	free((char *)(uintptr_t)r->own->group);
	free((char *)(uintptr_t)r->own->plural);
	free(r->own);
	free(r);
}

/* key: "group/plural". */
static struct cache_res *custom_get(struct cache *c, struct str key)
{
	struct cache_res *r = htab_get(c->by_prefix, key);
	struct str plural = key, group = str_cut(&plural, '/');
	if (r || !memchr(group.p, '.', group.n))
		return r;
	r = custom_new(c, group, plural);
	if (r && htab_put(c->by_prefix, key, r, NULL) < 0) {
		cache_res_unref(r);
		return NULL;
	}
	if (r)
		list_push(&c->all, &r->node);
	return r;
}

struct cache_res *cache_custom(struct cache *c, const char *group, const char *plural)
{
	char key[520];
	int n = snprintf(key, sizeof(key), "%s/%s", group, plural);
	if (n < 0 || (size_t)n >= sizeof(key))
		return NULL;
	pthread_mutex_lock(&c->lock);
	struct cache_res *r = custom_get(c, (struct str){key, (size_t)n});
	if (r && r->own)
		atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&c->lock);
	return r;
}

static void wake(struct cache_res *r);

void cache_custom_changed(struct cache *c, const char *group, const char *plural, bool gone)
{
	char key[520];
	int n = snprintf(key, sizeof(key), "%s/%s", group, plural);
	struct str k = {key, (size_t)n};
	struct cache_res *r = n > 0 && (size_t)n < sizeof(key) ? htab_get(c->by_prefix, k) : NULL;
	if (!r || !r->own)
		return;
	r->epoch++;
	wake(r);
	if (!gone || omap_len(r->objs))
		return;
	(void)htab_del(c->by_prefix, k);
	list_del(&r->node);
	cache_res_unref(r);
}

/* --- writer --- */

/* The resource of a store key and where the object's own key begins. */
static struct cache_res *find_res(struct cache *c, struct str key, uint32_t *ret_off)
{
	const struct str root = STR("/registry/");
	if (key.n <= root.n || memcmp(key.p, root.p, root.n) != 0)
		return NULL;
	const char *g = key.p + root.n, *end = key.p + key.n;
	const char *p = memchr(g, '/', (size_t)(end - g));
	const char *q = p ? memchr(p + 1, '/', (size_t)(end - p - 1)) : NULL;
	if (!q)
		return NULL;
	*ret_off = (uint32_t)(q + 1 - key.p);
	return custom_get(c, (struct str){g, (size_t)(q - g)});
}

static void wake(struct cache_res *r)
{
	list_each (n, &r->watchers) {
		struct watcher *w = list_entry(n, struct watcher, node);
		if (!atomic_exchange(&w->posted, true))
			loop_post(w->loop, &w->task);
	}
}

static void wake_waiters(struct cache *c, uint64_t rev)
{
	list_each_safe (n, &c->waiters) {
		struct cache_wait *w = list_entry(n, struct cache_wait, node);
		if (w->rev > rev)
			continue;
		list_del(&w->node);
		w->queued = false;
		loop_post(w->loop, &w->task);
	}
}

/* Puts one store event into map and ring. */
static int apply(struct cache *c, const struct store_event *se, int64_t now)
{
	uint32_t off;
	struct cache_res *r = find_res(c, store_val_key(se->kv), &off);
	if (!r)
		return 0;
	struct event *ev = calloc(1, sizeof(*ev));
	if (!ev)
		return -ENOMEM;
	ev->refs = 1;
	ev->rev = se->kv->mod_rev;
	struct str key = {se->kv->data + off, se->kv->key_len - off};
	struct obj *prev = omap_find(r->objs, key);
	ev->prev = prev ? obj_ref(prev) : NULL;
	int rc = 0;
	if (!se->del) {
		ev->obj = obj_new(se->kv, off, r->kind->namespaced);
		rc = ev->obj ? omap_put(r->objs, key, obj_ref(ev->obj)) : -ENOMEM;
	} else if (ev->prev) {
		rc = omap_del(r->objs, key);
	}
	if (rc < 0 || (se->del && !ev->prev)) { /* deleting what was never seen: nothing to say */
		event_unref(ev);
		return rc;
	}
	if (c->on_change)
		c->on_change(c->on_change_arg, r, ev->prev, ev->obj);
	ring_push(r, ev, now);
	return 0;
}

static void reset(struct cache *c);

static void on_watch(
	void *arg, const struct err *e, const struct store_event *ev, size_t n, uint64_t rev)
{
	struct cache *c = arg;
	if (e) {
		reset(c);
		return;
	}
	int64_t now = time_mono();
	bool failed = false;
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < n; i++)
		failed |= apply(c, &ev[i], now) < 0;
	if (rev > atomic_load(&c->rev))
		atomic_store(&c->rev, rev);
	for (size_t i = 0; i < n; i++) {
		uint32_t off;
		struct cache_res *r = find_res(c, store_val_key(ev[i].kv), &off);
		if (r && !list_empty(&r->watchers))
			wake(r);
	}
	wake_waiters(c, atomic_load(&c->rev));
	pthread_mutex_unlock(&c->lock);
	if (failed) /* out of memory: what was missed must be read again */
		reset(c);
}

/* --- loading --- */

static void load(void *arg, const struct err *e, const struct store_range_result *rr)
{
	struct cache *c = arg;
	if (e)
		return;
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < rr->n; i++) {
		uint32_t off;
		struct cache_res *r = find_res(c, store_val_key(rr->vals[i]), &off);
		struct obj *o = r ? obj_new(rr->vals[i], off, r->kind->namespaced) : NULL;
		if (!o)
			continue;
		if (omap_put(r->objs, obj_key(o), o) < 0)
			obj_unref(o);
		else if (c->on_change)
			c->on_change(c->on_change_arg, r, NULL, o);
	}
	list_each (n, &c->all)
		ring_clear(list_entry(n, struct cache_res, node), rr->rev);
	atomic_store(&c->rev, rr->rev);
	list_each (n, &c->all)
		wake(list_entry(n, struct cache_res, node));
	wake_waiters(c, rr->rev);
	pthread_mutex_unlock(&c->lock);
	struct str start = STR("/registry/"), end = STR("/registry0");
	c->watch = c->store->ops->watch(c->store, start, end, rr->rev + 1, on_watch, c);
}

/* The store lost our place: read everything anew; every watcher finds its ring gone and relists. */
static void reset(struct cache *c)
{
	pthread_mutex_lock(&c->lock);
	list_each (n, &c->all) {
		struct cache_res *r = list_entry(n, struct cache_res, node);
		struct omap *fresh = omap_new(&obj_ops);
		if (!fresh)
			continue;
		omap_free(r->objs);
		r->objs = fresh;
	}
	pthread_mutex_unlock(&c->lock);
	struct store_range all = {.start = STR("/registry/"), .end = STR("/registry0")};
	c->store->ops->range(c->store, &all, load, c);
}

struct first_load {
	struct cache *c;
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool finished;
	struct err e;
};

static void first_loaded(void *arg, const struct err *e, const struct store_range_result *rr)
{
	struct first_load *f = arg;
	if (e)
		f->e = *e;
	load(f->c, e, rr);
	pthread_mutex_lock(&f->lock);
	f->finished = true;
	pthread_cond_signal(&f->done);
	pthread_mutex_unlock(&f->lock);
}

static int load_first(struct cache *c, struct err *e)
{
	struct first_load f = {
		.c = c, .lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
	struct store_range all = {.start = STR("/registry/"), .end = STR("/registry0")};
	c->store->ops->range(c->store, &all, first_loaded, &f);
	pthread_mutex_lock(&f.lock);
	while (!f.finished)
		pthread_cond_wait(&f.done, &f.lock);
	pthread_mutex_unlock(&f.lock);
	if (f.e.code && e)
		*e = f.e;
	return f.e.code;
}

/* --- resources --- */

static bool stable(const struct kind *k)
{
	return !strstr(k->version, "alpha") && !strstr(k->version, "beta");
}

/* Is the kind of the very group that its storage is named after? */
static bool is_home(const struct kind *k)
{
	const char *g = *k->group ? k->group : "core";
	return strcmp(g, k->storage_group) == 0;
}

static int add_res(struct cache *c, const struct kind *k)
{
	AUTO_BUF struct buf key = {0};
	buf_addf(&key, "%s/%s", k->storage_group, k->storage_plural);
	if (key.err)
		return -ENOMEM;
	struct cache_res *r = htab_get(c->by_prefix, buf_str(&key));
	if (r) { /* another version of it: the storage version is the one that says more */
		bool home = strcmp(k->group, r->kind->group) == 0;
		if (home ? strverscmp(k->version, r->kind->version) > 0 && stable(k)
			 : strcmp(k->plural, k->storage_plural) == 0 && is_home(k))
			r->kind = k;
		return 0;
	}
	r = &c->res[c->n_res];
	*r = (struct cache_res){.cache = c, .kind = k, .objs = omap_new(&obj_ops)};
	list_init(&r->watchers);
	if (!r->objs || asprintf(&r->prefix, "/registry/%s/", key.p) < 0)
		return -ENOMEM;
	r->prefix_len = strlen(r->prefix);
	list_push(&c->all, &r->node);
	c->n_res++;
	return htab_put(c->by_prefix, buf_str(&key), r, NULL);
}

int cache_new(
	struct store *s, cache_change *on_change, void *arg, struct cache **ret, struct err *e)
{
	struct cache *c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, ENOMEM, NULL, "watch cache");
	c->store = s;
	c->on_change = on_change;
	c->on_change_arg = arg;
	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->waiters);
	list_init(&c->all);
	c->by_prefix = htab_new();
	c->res = calloc(kind_count(), sizeof(*c->res));
	int rc = c->by_prefix && c->res ? 0 : -ENOMEM;
	for (size_t i = 0; rc == 0 && i < kind_count(); i++)
		if (kind_at(i)->verbs & VERB_LIST)
			rc = add_res(c, kind_at(i));
	if (rc < 0)
		err_set(e, ENOMEM, NULL, "watch cache");
	else
		rc = load_first(c, e);
	if (rc < 0) {
		cache_free(c);
		return rc;
	}
	*ret = c;
	return 0;
}

void cache_free(struct cache *c)
{
	if (!c)
		return;
	if (c->watch)
		c->store->ops->watch_cancel(c->store, c->watch);
	list_each_safe (n, &c->all) {
		struct cache_res *r = list_entry(n, struct cache_res, node);
		if (r->own)
			cache_res_unref(r);
		else
			res_clear(r);
	}
	htab_free(c->by_prefix, NULL);
	free(c->res);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

struct cache_res *cache_resource(struct cache *c, const struct kind *k)
{
	char key[256];
	int n = snprintf(key, sizeof(key), "%s/%s", k->storage_group, k->storage_plural);
	return n > 0 && (size_t)n < sizeof(key) ? htab_get(c->by_prefix, str_of(key)) : NULL;
}

/* --- readers --- */

bool cache_wait(struct cache *c, struct cache_wait *w, uint64_t rev)
{
	if (atomic_load(&c->rev) >= rev)
		return true;
	w->rev = rev;
	pthread_mutex_lock(&c->lock);
	bool here = atomic_load(&c->rev) >= rev;
	if (!here) {
		list_push(&c->waiters, &w->node);
		w->queued = true;
	}
	pthread_mutex_unlock(&c->lock);
	return here;
}

bool cache_wait_cancel(struct cache *c, struct cache_wait *w)
{
	pthread_mutex_lock(&c->lock);
	bool queued = w->queued;
	if (queued)
		list_del(&w->node);
	w->queued = false;
	pthread_mutex_unlock(&c->lock);
	return queued;
}

struct omap_snap *cache_snapshot(struct cache_res *r, uint64_t *ret_rev)
{
	pthread_mutex_lock(&r->cache->lock);
	struct omap_snap *s = omap_snapshot(r->objs);
	if (ret_rev)
		*ret_rev = atomic_load(&r->cache->rev);
	pthread_mutex_unlock(&r->cache->lock);
	return s;
}

struct obj *cache_get(struct cache_res *r, struct str key)
{
	struct omap_snap *s = cache_snapshot(r, NULL);
	struct obj *o = s ? omap_get(s, key) : NULL;
	if (o)
		obj_ref(o);
	omap_snap_free(s);
	return o;
}

/* First kept sequence number whose revision is above rv. */
static uint64_t seq_after(const struct cache_res *r, uint64_t rv)
{
	uint64_t lo = r->first, hi = r->next;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		if (r->ring[mid & (r->ring_cap - 1)]->rev > rv)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo;
}

int cache_subscribe(struct cache_res *r, struct watcher *w, uint64_t rv,
	struct omap_snap **ret_snap, uint64_t *ret_rev)
{
	int rc = 0;
	pthread_mutex_lock(&r->cache->lock);
	w->epoch = r->epoch;
	if (ret_snap) {
		*ret_snap = omap_snapshot(r->objs);
		w->cursor = r->next;
		rc = *ret_snap ? 0 : -ENOMEM;
	} else if (rv < r->dropped_rev) {
		rc = -ESTALE;
	} else {
		w->cursor = seq_after(r, rv);
	}
	if (ret_rev)
		*ret_rev = atomic_load(&r->cache->rev);
	if (rc == 0) {
		list_push(&r->watchers, &w->node);
		r->n_watchers++;
	}
	pthread_mutex_unlock(&r->cache->lock);
	return rc;
}

void cache_unsubscribe(struct cache_res *r, struct watcher *w)
{
	pthread_mutex_lock(&r->cache->lock);
	list_del(&w->node);
	r->n_watchers--;
	pthread_mutex_unlock(&r->cache->lock);
}

int cache_read(struct cache_res *r, struct watcher *w, struct event **ret, size_t max,
	uint64_t *ret_drained_rev)
{
	int n = 0;
	pthread_mutex_lock(&r->cache->lock);
	if (w->epoch != r->epoch) {
		n = -ENOENT;
	} else if (w->cursor < r->first) {
		n = -ESTALE;
	} else {
		for (; (size_t)n < max && w->cursor < r->next; n++, w->cursor++) {
			ret[n] = r->ring[w->cursor & (r->ring_cap - 1)];
			atomic_fetch_add_explicit(&ret[n]->refs, 1, memory_order_relaxed);
		}
		*ret_drained_rev = w->cursor == r->next ? atomic_load(&r->cache->rev) : 0;
	}
	pthread_mutex_unlock(&r->cache->lock);
	return n;
}

uint64_t cache_oldest(struct cache_res *r)
{
	pthread_mutex_lock(&r->cache->lock);
	uint64_t rev = r->dropped_rev;
	pthread_mutex_unlock(&r->cache->lock);
	return rev;
}

/* SPDX-License-Identifier: Apache-2.0
 * WATCH: first the state (when asked for), then the ring's events, in the store's order for
 * everybody. A watcher that cannot keep up is cut off with 410 Expired, never waited for. */
#include "apiserver/internal.h"

#include <errno.h>
#include "xebec/base/tls.h"

enum {
	BATCH = 64,
	PENDING_MAX = 256 * 1024, /* bytes queued to one client before its watch pauses */
};
#define BOOKMARK_NS	(60 * NS_PER_SEC)
#define DEFAULT_MIN_SEC 1800 /* without timeoutSeconds: at random between this and twice this */

struct watch {
	struct req *r;
	struct watcher sub;
	struct omap_snap *snap; /* the initial state still being sent */
	struct omap_iter it;
	bool it_started, subscribed, gone, paused, columns_sent, end_marked;
	uint64_t from;		     /* events up to here are in the initial state or not wanted */
	uint64_t last_rev;	     /* bookmark: everything up to it was sent */
	uint64_t marked;	     /* revision of the last bookmark */
	int64_t bookmark_at, end_at; /* mono */
	struct loop_timer timer;
};

static void watch_run(struct watch *w);

/* --- one event --- */

static void write_object(struct watch *w, const struct obj *o, uint64_t rv, struct buf *b)
{
	struct req *r = w->r;
	AUTO_BUF struct buf scratch = {0};
	struct str bytes = as_asked(r, obj_bytes(o), obj_rv(o), &scratch);
	if (r->accept.form == FORM_TABLE) {
		r->now_ns = time_now(); /* ages */
		char meta[64];
		(void)snprintf(meta, sizeof(meta), "{\"resourceVersion\":\"%llu\"}",
			(unsigned long long)rv);
		table_begin(b, r->rt.kind, str_of(meta), !w->columns_sent);
		w->columns_sent = true;
		table_row(r->rt.kind, jv_of(bytes), rv, r->list.include, r->now_ns, b);
		table_end(b);
	} else if (r->accept.form == FORM_PARTIAL) {
		obj_write_partial(bytes, rv, b);
	} else {
		obj_write(bytes, rv, false, b);
	}
}

static void send_event(struct watch *w, const char *type, const struct obj *o, uint64_t rv)
{
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "{\"type\":\"%s\",\"object\":", type);
	write_object(w, o, rv, &b);
	buf_adds(&b, "}\n");
	w->r->x->ops->write(w->r->x, b.p, b.len);
}

/* The plain form of an event is encoded by whoever needs it first, and shared. */
static struct frame *event_frame(struct event *ev)
{
	struct frame *f = atomic_load_explicit(&ev->json, memory_order_acquire);
	if (f)
		return f;
	AUTO_BUF struct buf b = {0};
	const char *type = !ev->obj ? "DELETED" : ev->prev ? "MODIFIED" : "ADDED";
	struct str bytes = obj_bytes(ev->obj ? ev->obj : ev->prev);
	buf_addf(&b, "{\"type\":\"%s\",\"object\":", type);
	obj_write(bytes, ev->rev, false, &b);
	buf_adds(&b, "}\n");
	f = b.err ? NULL : malloc(sizeof(*f) + b.len);
	if (!f)
		return NULL;
	f->refs = 1;
	f->len = b.len;
	memcpy(f->bytes, b.p, b.len);
	struct frame *none = NULL;
	if (!atomic_compare_exchange_strong(&ev->json, &none, f)) {
		frame_unref(f); /* somebody was faster */
		f = none;
	}
	return f;
}

static bool in_scope(const struct watch *w, const struct obj *o)
{
	if (!o)
		return false;
	struct str ns = w->r->rt.ns;
	if (ns.n && !str_eq(ns, obj_ns(o)))
		return false;
	return selected(&w->r->list, o);
}

/* An object that begins or ceases to match the selector is added or deleted for this watcher. */
static void deliver(struct watch *w, struct event *ev)
{
	if (ev->rev <= w->from)
		return;
	bool now = in_scope(w, ev->obj), before = in_scope(w, ev->prev);
	if (!now && !before)
		return;
	bool plain = w->r->accept.form == FORM_OBJECT &&
		     served_as_stored(w->r, obj_rv(ev->obj ? ev->obj : ev->prev)) &&
		     (now || !ev->obj) && (before || !ev->prev);
	struct frame *f = plain ? event_frame(ev) : NULL;
	if (f)
		w->r->x->ops->write(w->r->x, f->bytes, f->len);
	else if (now)
		send_event(w, before ? "MODIFIED" : "ADDED", ev->obj, ev->rev);
	else
		send_event(w, "DELETED", ev->prev, ev->rev);
}

static void send_bookmark(struct watch *w, uint64_t rev, bool initial_end)
{
	const struct kind *k = w->r->rt.kind;
	AUTO_BUF struct buf b = {0};
	AUTO_BUF struct buf o = {0};
	buf_addf(&o, "{\"kind\":\"%s\",\"apiVersion\":\"%s%s%s\",\"metadata\":{", k->kind, k->group,
		*k->group ? "/" : "", k->version);
	if (initial_end)
		buf_adds(&o, "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}");
	buf_adds(&o, "}}");
	buf_adds(&b, "{\"type\":\"BOOKMARK\",\"object\":");
	if (w->r->accept.form == FORM_PARTIAL)
		obj_write_partial(buf_str(&o), rev, &b);
	else if (w->r->accept.form == FORM_TABLE)
		buf_addf(&b,
			"{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":"
			"{\"resourceVersion\":\"%llu\"},\"columnDefinitions\":null,\"rows\":[]}",
			(unsigned long long)rev);
	else
		obj_write(buf_str(&o), rev, false, &b);
	buf_adds(&b, "}\n");
	w->r->x->ops->write(w->r->x, b.p, b.len);
	w->marked = rev;
}

/* --- life --- */

static void watch_free(struct req *r)
{
	struct watch *w = r->state;
	r->state = NULL;
	free(w);
}

/* Detaches from the cache and the clock; the task may still be on its way: then it frees. */
static void watch_stop(struct watch *w)
{
	loop_timer_cancel(&w->timer);
	omap_snap_free(w->snap);
	w->snap = NULL;
	if (w->subscribed)
		cache_unsubscribe(w->r->rt.res, &w->sub);
	w->subscribed = false;
	if (!w->gone && atomic_load(&w->sub.posted))
		w->r->pending++; /* released by watch_task */
	w->gone = true;
}

static void watch_gone(struct req *r)
{
	watch_stop(r->state);
}

static void watch_end(struct watch *w)
{
	struct req *r = w->r;
	watch_stop(w);
	req_finished(r, 200);
}

static void watch_expired(struct watch *w)
{
	AUTO_BUF struct buf b = {0};
	struct err e = {0};
	err_set(&e, ESTALE, "Expired", "too old resource version: %llu (%llu)",
		(unsigned long long)w->last_rev, (unsigned long long)cache_oldest(w->r->rt.res));
	buf_adds(&b, "{\"type\":\"ERROR\",\"object\":");
	status_write(&b, &e, NULL, NULL, NULL);
	buf_adds(&b, "}\n");
	w->r->x->ops->write(w->r->x, b.p, b.len);
	watch_end(w);
}

static bool clogged(struct watch *w)
{
	w->paused = w->r->x->ops->pending(w->r->x) > PENDING_MAX;
	return w->paused;
}

/* False: paused, go on when drained. */
static bool send_initial(struct watch *w)
{
	struct req *r = w->r;
	char *prefix = r->rt.ns.n ? arena_printf(&r->arena, "%.*s/", STR_FMT(r->rt.ns)) : NULL;
	struct str pre = str_of(prefix);
	bool ok = w->it_started ? true : omap_seek(w->snap, pre, &w->it);
	w->it_started = true;
	while (ok && w->it.key.p) {
		if (pre.n && (w->it.key.n < pre.n || memcmp(w->it.key.p, pre.p, pre.n) != 0))
			break;
		if (selected(&r->list, w->it.value))
			send_event(w, "ADDED", w->it.value, obj_rv(w->it.value));
		ok = omap_next(w->snap, &w->it);
		if (ok && clogged(w))
			return false;
	}
	omap_snap_free(w->snap);
	w->snap = NULL;
	if (r->list.send_initial && r->list.bookmarks)
		send_bookmark(w, w->from, true);
	return true;
}

static void watch_run(struct watch *w)
{
	if (w->snap && !send_initial(w))
		return;
	struct event *ev[BATCH];
	while (!clogged(w)) {
		uint64_t drained = 0;
		int n = cache_read(w->r->rt.res, &w->sub, ev, BATCH, &drained);
		if (n == -ENOENT) { /* another definition: the client begins anew */
			watch_end(w);
			return;
		}
		if (n < 0) {
			watch_expired(w);
			return;
		}
		for (int i = 0; i < n; i++) {
			deliver(w, ev[i]);
			w->last_rev = ev[i]->rev;
			event_unref(ev[i]);
		}
		if (drained) {
			w->last_rev = drained;
			return;
		}
	}
}

static void watch_task(struct loop_task *t)
{
	struct watch *w = t->arg;
	if (w->gone) {
		req_release(w->r);
		return;
	}
	atomic_store(&w->sub.posted, false);
	if (!w->paused)
		watch_run(w);
}

static void watch_drain(struct http_exchange *x)
{
	struct req *r = x->user;
	struct watch *w = r ? r->state : NULL;
	if (!w || w->gone || !w->paused)
		return;
	w->paused = false;
	watch_run(w);
}

/* --- clock: bookmarks and the end --- */

static void arm(struct watch *w)
{
	int64_t now = time_mono();
	int64_t at = w->end_at;
	if (w->r->list.bookmarks && w->bookmark_at < at)
		at = w->bookmark_at;
	(void)loop_timer_set(w->r->loop, &w->timer, at > now ? at - now : 0);
}

static void watch_timer(struct loop_timer *t)
{
	struct watch *w = t->arg;
	int64_t now = time_mono();
	bool over = now >= w->end_at;
	if (!w->paused && !w->snap) {
		struct req *r = w->r;
		req_hold(r);
		watch_run(w); /* whatever came, so that last_rev is right; it may end the watch */
		bool ended = w->gone;
		if (!ended && w->r->list.bookmarks && w->last_rev > w->marked && !w->paused)
			send_bookmark(w, w->last_rev, false);
		req_release(r);
		if (ended)
			return;
	}
	if (over) {
		watch_end(w);
		return;
	}
	w->bookmark_at = now + BOOKMARK_NS;
	arm(w);
}

static int64_t watch_seconds(struct req *r)
{
	if (r->list.timeout_seconds > 0)
		return r->list.timeout_seconds;
	uint32_t rnd;
	random_bytes(&rnd, sizeof(rnd));
	return DEFAULT_MIN_SEC + rnd % DEFAULT_MIN_SEC;
}

/* --- start --- */

static void watch_start(struct req *r)
{
	struct watch *w = r->state;
	struct err e = {0};
	uint64_t rv = 0, rev = 0;
	(void)str_u64(r->list.rv, &rv);
	bool initial = (r->list.has_send_initial ? r->list.send_initial : rv == 0);
	if (r->list.has_send_initial && !r->list.send_initial && rv == 0)
		rv = atomic_load(&r->srv->cache->rev);
	int rc = cache_subscribe(r->rt.res, &w->sub, rv, initial ? &w->snap : NULL, &rev);
	if (rc < 0) {
		if (rc == -ESTALE) {
			/* told as an event of the watch, as whoever falls off later is */
			w->last_rev = rv;
			reply_start(r, 200, "application/json");
			watch_expired(w);
			return;
		}
		err_set(&e, -rc, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	w->subscribed = true;
	w->from = initial ? rev : rv;
	w->last_rev = w->from;
	w->marked = w->from;
	r->on_gone = watch_gone;
	r->x->on_drain = watch_drain;
	int64_t now = time_mono();
	w->bookmark_at = now + BOOKMARK_NS;
	w->end_at = now + watch_seconds(r) * NS_PER_SEC;
	w->timer.fn = watch_timer;
	w->timer.arg = w;
	reply_start(r, 200, "application/json");
	arm(w);
	watch_run(w);
}

void do_watch(struct req *r)
{
	static const struct kind list_options_kind = {
		.group = "meta.k8s.io", .kind = "ListOptions"};
	struct err e = {0};
	r->list.watch = true;
	if (!(r->rt.kind->verbs & VERB_WATCH) || !r->rt.res) {
		err_set(&e, ENOSYS, "MethodNotAllowed", "this resource cannot be watched");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	if (parse_list_opts(r, &e) < 0) {
		bool invalid = e.reason && strcmp(e.reason, "Invalid") == 0;
		reply_error_kind(r, &e, invalid ? &list_options_kind : NULL, NULL);
		return;
	}
	struct watch *w = calloc(1, sizeof(*w));
	if (!w) {
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	w->r = r;
	w->sub.loop = r->loop;
	w->sub.task = (struct loop_task){.fn = watch_task, .arg = w};
	list_init(&w->sub.node);
	r->state = w;
	r->free_state = watch_free;
	uint64_t rv = 0;
	if (!r->list.rv.n)
		rv = r->srv->store->ops->rev(r->srv->store);
	else
		(void)str_u64(r->list.rv, &rv);
	req_wait_fresh(r, rv, watch_start);
}

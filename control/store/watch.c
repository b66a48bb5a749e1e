/* SPDX-License-Identifier: Apache-2.0
 * Watchers: replay of what the history holds, then what comes, in revision order. */
#include <errno.h>
#include "store/engine.h"
#include "xebec/base/timefmt.h"

#define CHUNK	    256
#define PROGRESS_NS (100 * NS_PER_MS) /* how stale a watcher may be where nothing happens */

struct store_watch {
	struct list link;
	struct str start, end; /* in data */
	store_watch_cb *cb;
	void *arg;
	uint64_t next; /* first revision not looked at yet */
	uint64_t told; /* the revision told to the callback */
	bool fresh, dead;
	char data[];
};

int watchers_init(struct watchers *w)
{
	pthread_mutexattr_t a;

	*w = (struct watchers){0};
	list_init(&w->all);
	list_init(&w->new);
	pthread_mutex_init(&w->new_mu, NULL);
	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
	int r = pthread_mutex_init(&w->mu, &a);
	pthread_mutexattr_destroy(&a);
	return -r;
}

static void watchers_adopt(struct watchers *w)
{
	pthread_mutex_lock(&w->new_mu);
	while (!list_empty(&w->new)) {
		struct list *first = w->new.next;
		list_del(first);
		list_push(&w->all, first);
	}
	pthread_mutex_unlock(&w->new_mu);
}

void watchers_fini(struct watchers *w)
{
	list_each_safe (it, &w->all) {
		list_del(it);
		free(list_entry(it, struct store_watch, link));
	}
	pthread_mutex_destroy(&w->mu);
}

struct store_watch *engine_watch(struct store *s, struct str start, struct str end,
	uint64_t start_rev, store_watch_cb *cb, void *arg)
{
	struct engine *en = (struct engine *)s;
	struct store_watch *w = calloc(1, sizeof(*w) + start.n + end.n);

	if (!w)
		return NULL;
	memcpy(w->data, start.p, start.n);
	if (end.n > 0)
		memcpy(w->data + start.n, end.p, end.n);
	w->start = (struct str){.p = w->data, .n = start.n};
	w->end = (struct str){.p = w->data + start.n, .n = end.n};
	w->cb = cb;
	w->arg = arg;
	w->fresh = true;
	w->next = start_rev ? start_rev : engine_rev(s) + 1;
	pthread_mutex_lock(&en->watchers.new_mu);
	list_push(&en->watchers.new, &w->link);
	pthread_mutex_unlock(&en->watchers.new_mu);
	pthread_mutex_lock(&en->q_mu);
	en->kick = true;
	pthread_cond_signal(&en->q_cond);
	pthread_mutex_unlock(&en->q_mu);
	return w;
}

void engine_watch_cancel(struct store *s, struct store_watch *w)
{
	struct watchers *ws = &((struct engine *)s)->watchers;

	if (!w)
		return;
	pthread_mutex_lock(&ws->mu);
	if (ws->delivering) { /* inside a callback, or we would not have the lock */
		w->dead = true;
		ws->dirty = true;
	} else {
		pthread_mutex_lock(&ws->new_mu); /* it may still be among the new ones */
		list_del(&w->link);
		pthread_mutex_unlock(&ws->new_mu);
		free(w);
	}
	pthread_mutex_unlock(&ws->mu);
}

static void watch_expire(struct store_watch *w, const struct mvcc *m)
{
	struct err e;

	err_set(&e, ESTALE, "Expired", "revision %ju has been compacted: the first readable is %ju",
		(uintmax_t)w->next, (uintmax_t)m->compact_rev);
	store_watch_cb *cb = w->cb;
	w->cb = NULL;
	cb(w->arg, &e, NULL, 0, m->rev);
}

/* Events from w->next on, in chunks. */
static void watch_feed(struct store_watch *w, const struct mvcc *m)
{
	struct store_event ev[CHUNK];
	size_t n = 0;

	while (w->next <= m->rev) {
		const struct mvcc_event *x = mvcc_event_at(m, w->next++);
		if (!x || !store_in_range(store_val_key(x->val), w->start, w->end))
			continue;
		ev[n++] = (struct store_event){
			.del = !store_val_live(x->val), .kv = x->val, .prev = x->prev};
		if (n < CHUNK)
			continue;
		w->told = w->next - 1;
		w->cb(w->arg, NULL, ev, n, w->told);
		n = 0;
		if (w->dead)
			return;
	}
	if (n > 0 || w->fresh) {
		w->told = m->rev;
		w->fresh = false;
		w->cb(w->arg, NULL, ev, n, m->rev);
	}
}

static void watch_step(struct watchers *ws, struct store_watch *w, const struct mvcc *m, bool all)
{
	if (w->dead || !w->cb)
		return;
	if (w->next <= m->compact_rev && w->next <= m->rev) {
		watch_expire(w, m);
		return;
	}
	watch_feed(w, m);
	if (w->dead || w->told == m->rev)
		return;
	if (all) {
		w->told = m->rev;
		w->cb(w->arg, NULL, NULL, 0, m->rev);
	} else {
		ws->lagging = true;
	}
}

int64_t watchers_deliver(struct watchers *ws, const struct mvcc *m, int64_t now)
{
	pthread_mutex_lock(&ws->mu);
	watchers_adopt(ws);
	bool all = now - ws->last_progress >= PROGRESS_NS;
	if (all)
		ws->last_progress = now;
	ws->delivering = true;
	ws->lagging = false;
	list_each (it, &ws->all)
		watch_step(ws, list_entry(it, struct store_watch, link), m, all);
	ws->delivering = false;
	list_each_safe (it, &ws->all) {
		struct store_watch *w = list_entry(it, struct store_watch, link);
		if (!ws->dirty || !w->dead)
			continue;
		list_del(it);
		free(w);
	}
	ws->dirty = false;
	int64_t next = ws->lagging ? ws->last_progress + PROGRESS_NS : INT64_MAX;
	pthread_mutex_unlock(&ws->mu);
	return next;
}

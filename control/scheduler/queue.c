/* SPDX-License-Identifier: Apache-2.0
 * The scheduling queue. */
#include <stdlib.h>
#include "scheduler/queue.h"
#include "xebec/base/list.h"
#include "xebec/base/timefmt.h"

#define BACKOFF_MIN NS_PER_SEC
#define BACKOFF_MAX (10 * NS_PER_SEC)
#define FLUSH_AFTER (300 * NS_PER_SEC)
#define FLUSH_EVERY (30 * NS_PER_SEC)

enum state { ACTIVE, DECIDING, BACKOFF, WAITING, STATES };

struct waiter {
	struct queue *q;
	struct pod *pod;
	enum state state;
	struct list node;	   /* BACKOFF, WAITING: in q->lists[state] */
	size_t heap;		   /* ACTIVE: place in q->heap */
	struct loop_timer timer;   /* BACKOFF */
	uint64_t order;		   /* arrival */
	int64_t since, not_before; /* when it began to wait; end of its back-off */
	unsigned attempts, refused_by;
	bool stale; /* DECIDING: something happened meanwhile */
};

struct queue {
	struct loop *loop;
	void (*on_active)(void *arg);
	void *arg;
	struct htab *by_uid;
	struct waiter **heap;
	size_t n_heap, cap_heap;
	struct list lists[STATES];
	size_t counts[STATES];
	struct loop_timer flush;
	uint64_t order;
};

/* --- the heap of active pods --- */

static bool before(const struct waiter *a, const struct waiter *b)
{
	if (a->pod->priority != b->pod->priority)
		return a->pod->priority > b->pod->priority;
	return a->order < b->order;
}

static void heap_place(struct queue *q, size_t i, struct waiter *w)
{
	q->heap[i] = w;
	w->heap = i;
}

static void heap_fix(struct queue *q, size_t i, struct waiter *w)
{
	for (; i > 0 && before(w, q->heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap_place(q, i, q->heap[(i - 1) / 2]);
	for (size_t c; (c = 2 * i + 1) < q->n_heap; i = c) {
		if (c + 1 < q->n_heap && before(q->heap[c + 1], q->heap[c]))
			c++;
		if (!before(q->heap[c], w))
			break;
		heap_place(q, i, q->heap[c]);
	}
	heap_place(q, i, w);
}

static void heap_remove(struct queue *q, struct waiter *w)
{
	struct waiter *last = q->heap[--q->n_heap];
	if (last != w)
		heap_fix(q, w->heap, last);
}

/* --- states --- */

static void leave(struct waiter *w)
{
	struct queue *q = w->q;
	q->counts[w->state]--;
	if (w->state == ACTIVE)
		heap_remove(q, w);
	loop_timer_cancel(&w->timer);
	list_del(&w->node);
}

/* Into a state other than ACTIVE. */
static void rest(struct waiter *w, enum state s)
{
	w->state = s;
	w->q->counts[s]++;
	if (s != DECIDING)
		list_push(&w->q->lists[s], &w->node);
}

static void to_active(struct waiter *w)
{
	struct queue *q = w->q;
	leave(w);
	if (q->n_heap == q->cap_heap) {
		size_t cap = q->cap_heap ? q->cap_heap * 2 : 64;
		struct waiter **v = realloc(q->heap, cap * sizeof(struct waiter *));
		if (!v) { /* the flush tries again */
			rest(w, WAITING);
			return;
		}
		q->heap = v;
		q->cap_heap = cap;
	}
	w->state = ACTIVE;
	q->counts[ACTIVE]++;
	w->order = ++q->order;
	q->n_heap++;
	heap_fix(q, q->n_heap - 1, w);
	q->on_active(q->arg);
}

static void on_backoff_over(struct loop_timer *t)
{
	to_active(t->arg);
}

/* Active as soon as its back-off allows. */
static void wake(struct waiter *w)
{
	int64_t left = w->not_before - time_mono();
	if (left <= 0) {
		to_active(w);
		return;
	}
	leave(w);
	rest(w, BACKOFF);
	(void)loop_timer_set(w->q->loop, &w->timer, left);
}

static void on_flush(struct loop_timer *t)
{
	struct queue *q = t->arg;
	int64_t now = time_mono();
	list_each_safe (it, &q->lists[WAITING]) {
		struct waiter *w = list_entry(it, struct waiter, node);
		if (now - w->since >= FLUSH_AFTER)
			wake(w);
	}
	(void)loop_timer_set(q->loop, &q->flush, FLUSH_EVERY);
}

/* --- interface --- */

struct queue *sched_queue_new(struct loop *l, void (*on_active)(void *arg), void *arg)
{
	struct queue *q = calloc(1, sizeof(*q));
	if (!q)
		return NULL;
	*q = (struct queue){.loop = l, .on_active = on_active, .arg = arg, .by_uid = htab_new()};
	for (int i = 0; i < STATES; i++)
		list_init(&q->lists[i]);
	q->flush = (struct loop_timer){.fn = on_flush, .arg = q};
	if (q->by_uid && loop_timer_set(l, &q->flush, FLUSH_EVERY) == 0)
		return q;
	sched_queue_free(q);
	return NULL;
}

static void waiter_free(void *p)
{
	struct waiter *w = p;
	loop_timer_cancel(&w->timer);
	sched_pod_unref(w->pod);
	free(w);
}

void sched_queue_free(struct queue *q)
{
	if (!q)
		return;
	loop_timer_cancel(&q->flush);
	if (q->by_uid)
		htab_free(q->by_uid, waiter_free);
	free(q->heap);
	free(q);
}

static void put_new(struct queue *q, struct pod *p)
{
	struct waiter *w = calloc(1, sizeof(*w));
	if (!w || htab_put(q->by_uid, p->uid, w, NULL) < 0) {
		free(w);
		return;
	}
	*w = (struct waiter){.q = q, .pod = sched_pod_ref(p), .since = time_mono()};
	w->timer = (struct loop_timer){.fn = on_backoff_over, .arg = w};
	list_init(&w->node);
	rest(w, DECIDING); /* a state to leave */
	to_active(w);
}

void sched_queue_put(struct queue *q, struct pod *p)
{
	struct waiter *w = htab_get(q->by_uid, p->uid);
	if (!w) {
		put_new(q, p);
		return;
	}
	bool changed = w->pod->print != p->print;
	struct pod *old = w->pod;
	w->pod = sched_pod_ref(p);
	sched_pod_unref(old);
	if (w->state == ACTIVE) /* its priority may be another */
		heap_fix(q, w->heap, w);
	else if (w->state == DECIDING)
		w->stale |= changed;
	else if (changed)
		wake(w);
}

void sched_queue_del(struct queue *q, struct str uid)
{
	struct waiter *w = htab_del(q->by_uid, uid);
	if (!w)
		return;
	leave(w);
	waiter_free(w);
}

struct pod *sched_queue_pop(struct queue *q)
{
	if (!q->n_heap)
		return NULL;
	struct waiter *w = q->heap[0];
	leave(w);
	rest(w, DECIDING);
	w->attempts++;
	w->stale = false;
	return sched_pod_ref(w->pod);
}

static int64_t backoff_of(const struct waiter *w)
{
	int64_t ns = BACKOFF_MIN;
	for (unsigned i = 1; i < w->attempts && ns < BACKOFF_MAX; i++)
		ns *= 2;
	return ns < BACKOFF_MAX ? ns : BACKOFF_MAX;
}

void sched_queue_wait(struct queue *q, struct str uid, unsigned refused_by)
{
	struct waiter *w = htab_get(q->by_uid, uid);
	if (!w || w->state != DECIDING)
		return;
	leave(w);
	rest(w, WAITING);
	w->since = time_mono();
	w->not_before = w->since + backoff_of(w);
	w->refused_by = refused_by;
	if (w->stale)
		wake(w);
}

void sched_queue_backoff(struct queue *q, struct str uid)
{
	struct waiter *w = htab_get(q->by_uid, uid);
	if (!w || w->state != DECIDING)
		return;
	w->not_before = time_mono() + backoff_of(w);
	wake(w);
}

void sched_queue_event(struct queue *q, unsigned plugins)
{
	list_each_safe (it, &q->lists[WAITING]) {
		struct waiter *w = list_entry(it, struct waiter, node);
		if (!w->refused_by || (w->refused_by & plugins))
			wake(w);
	}
}

unsigned sched_queue_attempts(const struct queue *q, struct str uid)
{
	const struct waiter *w = htab_get(q->by_uid, uid);
	return w ? w->attempts : 0;
}

struct sched_queue_counts sched_queue_counts(const struct queue *q)
{
	return (struct sched_queue_counts){
		q->counts[ACTIVE], q->counts[BACKOFF], q->counts[WAITING]};
}

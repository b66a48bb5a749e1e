/* SPDX-License-Identifier: Apache-2.0
 * The work queue.
 *
 *             add                    turn                 done
 *   (none) --------> QUEUED -------------------> RUNNING -------> (none)
 *                      ^                            | add: dirty
 *                      +------- done and dirty -----+
 *
 * A key's entry stays while it is queued, running, delayed, or has failures to remember. */
#include <errno.h>
#include <stdlib.h>
#include "xebec/base/htab.h"
#include "xebec/base/timefmt.h"
#include "xebec/client/client.h"

enum { TURN = 64 }; /* keys started in one round, so that the loop's other work is not starved */
#define RETRY_MIN (5 * NS_PER_MS)
#define RETRY_MAX (1000 * NS_PER_SEC)

struct key {
	struct workqueue *q;
	struct list node; /* in queue while queued */
	struct loop_timer delay;
	int64_t due; /* of delay */
	unsigned failures;
	bool queued, running, dirty;
	char name[];
};

struct workqueue {
	struct loop *loop;
	void (*work)(void *arg, const char *key);
	void *arg;
	unsigned parallel, running;
	struct htab *keys;
	struct list queue;
	size_t queued;
	struct loop_timer turn;
};

static void schedule(struct workqueue *q)
{
	if (!list_empty(&q->queue) && q->running < q->parallel && !loop_timer_armed(&q->turn))
		(void)loop_timer_set(q->loop, &q->turn, 0);
}

static void key_free(void *p)
{
	struct key *k = p;
	loop_timer_cancel(&k->delay);
	list_del(&k->node);
	free(k);
}

static void forget_idle(struct key *k)
{
	if (k->queued || k->running || k->failures || loop_timer_armed(&k->delay))
		return;
	(void)htab_del(k->q->keys, str_of(k->name));
	key_free(k);
}

static void enqueue(struct key *k)
{
	struct workqueue *q = k->q;
	if (k->running) {
		k->dirty = true;
	} else if (!k->queued) {
		k->queued = true;
		q->queued++;
		list_push(&q->queue, &k->node);
		schedule(q);
	}
}

static void on_delay(struct loop_timer *t)
{
	enqueue(t->arg);
}

static struct key *get(struct workqueue *q, const char *name)
{
	size_t n = strlen(name);
	struct key *k = htab_get(q->keys, (struct str){name, n});
	if (k)
		return k;
	k = calloc(1, sizeof(*k) + n + 1);
	if (!k || htab_put(q->keys, (struct str){name, n}, k, NULL) < 0) {
		free(k);
		return NULL;
	}
	k->q = q;
	k->delay = (struct loop_timer){.fn = on_delay, .arg = k};
	list_init(&k->node);
	memcpy(k->name, name, n + 1);
	return k;
}

static void on_turn(struct loop_timer *t)
{
	struct workqueue *q = t->arg;
	for (int i = 0; i < TURN && q->running < q->parallel && !list_empty(&q->queue); i++) {
		struct key *k = list_entry(q->queue.next, struct key, node);
		list_del(&k->node);
		k->queued = false;
		q->queued--;
		k->running = true;
		q->running++;
		q->work(q->arg, k->name);
	}
	schedule(q);
}

struct workqueue *workqueue_new(
	struct loop *l, void (*work)(void *arg, const char *key), void *arg, unsigned parallel)
{
	struct workqueue *q = calloc(1, sizeof(*q));
	struct htab *keys = htab_new();
	if (!q || !keys) {
		free(q);
		htab_free(keys, NULL);
		return NULL;
	}
	*q = (struct workqueue){.loop = l,
		.work = work,
		.arg = arg,
		.parallel = parallel ? parallel : 1,
		.keys = keys};
	q->turn = (struct loop_timer){.fn = on_turn, .arg = q};
	list_init(&q->queue);
	return q;
}

void workqueue_free(struct workqueue *q)
{
	if (!q)
		return;
	loop_timer_cancel(&q->turn);
	htab_free(q->keys, key_free);
	free(q);
}

void workqueue_add(struct workqueue *q, const char *key)
{
	struct key *k = get(q, key);
	if (k)
		enqueue(k);
}

static void add_after(struct key *k, int64_t ns)
{
	int64_t due = time_mono() + ns;
	if (ns <= 0)
		enqueue(k);
	else if (!loop_timer_armed(&k->delay) || due < k->due) {
		k->due = due;
		(void)loop_timer_set(k->q->loop, &k->delay, ns);
	}
}

void workqueue_add_after(struct workqueue *q, const char *key, int64_t ns)
{
	struct key *k = get(q, key);
	if (k)
		add_after(k, ns);
}

void workqueue_retry(struct workqueue *q, const char *key)
{
	struct key *k = get(q, key);
	if (!k)
		return;
	int64_t ns = k->failures < 28 ? RETRY_MIN << k->failures : RETRY_MAX;
	k->failures++;
	add_after(k, ns < RETRY_MAX ? ns : RETRY_MAX);
}

void workqueue_forget(struct workqueue *q, const char *key)
{
	struct key *k = htab_get(q->keys, str_of(key));
	if (!k)
		return;
	k->failures = 0;
	forget_idle(k);
}

void workqueue_done(struct workqueue *q, const char *key)
{
	struct key *k = htab_get(q->keys, str_of(key));
	if (!k || !k->running)
		return;
	k->running = false;
	q->running--;
	if (k->dirty) {
		k->dirty = false;
		enqueue(k);
	}
	forget_idle(k);
	schedule(q);
}

size_t workqueue_len(const struct workqueue *q)
{
	return q->queued;
}

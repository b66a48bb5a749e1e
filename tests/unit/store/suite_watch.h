/* SPDX-License-Identifier: Apache-2.0
 * The suite's watches. */
#ifndef XEBEC_TEST_SUITE_WATCH_H
#define XEBEC_TEST_SUITE_WATCH_H

#include "suite_util.h"

static void suite_watch_live(void **state)
{
	struct store *s = *state;
	struct recorder one = RECORDER, prefix = RECORDER;

	put(s, "p/a", "old");
	struct store_watch *w1 = s->ops->watch(s, STR("p/a"), (struct str){0}, 0, on_watch, &one);
	struct store_watch *w2 = s->ops->watch(s, STR("p/"), STR("p0"), 0, on_watch, &prefix);
	put(s, "p/a", "1");
	put(s, "p/b", "2");
	put(s, "q", "3");
	del(s, "p/a");
	uint64_t rev = put(s, "p/a", "4");
	wait_rev(&one, rev);
	wait_rev(&prefix, rev);
	assert_string_equal(one.text, "=p/a=1@3 -p/a@6 +p/a=4@7 ");
	assert_string_equal(prefix.text, "=p/a=1@3 +p/b=2@4 -p/a@6 +p/a=4@7 ");
	s->ops->watch_cancel(s, w1);
	s->ops->watch_cancel(s, w2);
}

static void suite_watch_replay(void **state)
{
	struct store *s = *state;
	struct recorder r = RECORDER, future = RECORDER;

	put(s, "a", "1");
	put(s, "b", "2");
	put(s, "a", "3");
	del(s, "b");
	struct store_watch *w = s->ops->watch(s, STR("a"), STR("z"), 3, on_watch, &r);
	struct store_watch *f = s->ops->watch(s, STR("a"), STR("z"), 7, on_watch, &future);
	wait_rev(&r, 5);
	assert_string_equal(r.text, "+b=2@3 =a=3@4 -b@5 ");
	put(s, "c", "4");
	put(s, "c", "5");
	wait_rev(&r, 7);
	assert_string_equal(r.text, "+b=2@3 =a=3@4 -b@5 +c=4@6 =c=5@7 ");
	wait_rev(&future, 7);
	assert_string_equal(future.text, "=c=5@7 ");
	s->ops->watch_cancel(s, w);
	s->ops->watch_cancel(s, f);
}

static void suite_watch_compacted(void **state)
{
	struct store *s = *state;
	struct recorder r = RECORDER, ok = RECORDER;

	put(s, "a", "1");
	put(s, "a", "2");
	put(s, "a", "3");
	put(s, "b", "4");
	assert_int_equal(compact(s, 3), 0);
	struct store_watch *w = s->ops->watch(s, STR("a"), STR("z"), 2, on_watch, &r);
	struct store_watch *v = s->ops->watch(s, STR("a"), STR("z"), 4, on_watch, &ok);
	wait_rev(&r, UINT64_MAX);
	assert_int_equal(r.code, -ESTALE);
	assert_int_equal(r.events, 0);
	wait_rev(&ok, 5);
	assert_string_equal(ok.text, "=a=3@4 +b=4@5 ");
	put(s, "b", "5");
	wait_rev(&ok, 6);
	assert_int_equal(r.events, 0); /* it has ended */
	s->ops->watch_cancel(s, w);
	s->ops->watch_cancel(s, v);
}

/* A watcher of a quiet range learns in time how far it has seen. */
static void suite_watch_progress(void **state)
{
	struct store *s = *state;
	struct recorder r = RECORDER;
	struct store_watch *w = s->ops->watch(s, STR("x"), (struct str){0}, 0, on_watch, &r);

	wait_rev(&r, 1);
	for (int i = 0; i < 20; i++)
		put(s, "other", "v");
	wait_rev(&r, 21);
	assert_int_equal(r.events, 0);
	s->ops->watch_cancel(s, w);
}

struct self_cancel {
	struct store *s;
	struct store_watch *w, *other;
	pthread_mutex_t mu;
	pthread_cond_t cond;
	int calls;
	bool gone;
};
static void on_self_cancel(
	void *arg, const struct err *e, const struct store_event *ev, size_t n, uint64_t rev)
{
	struct self_cancel *c = arg;

	(void)e;
	(void)ev;
	(void)rev;
	pthread_mutex_lock(&c->mu);
	c->calls++;
	if (n > 0) {
		assert_false(c->gone);
		c->s->ops->watch_cancel(c->s, c->w);
		c->s->ops->watch_cancel(c->s, c->other);
		c->gone = true;
		pthread_cond_signal(&c->cond);
	}
	pthread_mutex_unlock(&c->mu);
}

static void suite_watch_cancel(void **state)
{
	struct store *s = *state;
	struct self_cancel c = {
		.s = s, .mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct recorder r = RECORDER;

	/* from inside the callback, itself and another one */
	pthread_mutex_lock(&c.mu);
	c.w = s->ops->watch(s, STR("k"), (struct str){0}, 0, on_self_cancel, &c);
	c.other = s->ops->watch(s, STR("k"), (struct str){0}, 0, on_watch, &r);
	pthread_mutex_unlock(&c.mu);
	put(s, "k", "1");
	pthread_mutex_lock(&c.mu);
	while (!c.gone)
		pthread_cond_wait(&c.cond, &c.mu);
	pthread_mutex_unlock(&c.mu);
	put(s, "k", "2");
	/* from outside, at any time: nothing is told afterwards */
	for (int i = 0; i < 100; i++) {
		struct recorder *x = malloc(sizeof(*x));
		*x = (struct recorder)RECORDER;
		struct store_watch *w = s->ops->watch(s, STR("k"), STR("l"), 1, on_watch, x);
		if (i % 3 == 0)
			put(s, "k", "3");
		s->ops->watch_cancel(s, w);
		free(x);
	}
	put(s, "k", "4");
}

/* More events than a chunk, replayed and live at once, to many watchers. */
static void suite_watch_many(void **state)
{
	enum { N = 700, WATCHERS = 20 };
	static struct recorder r[WATCHERS];
	struct store_watch *w[WATCHERS];
	struct store *s = *state;
	char key[32];

	for (int i = 0; i < WATCHERS; i++)
		r[i] = (struct recorder)RECORDER;
	for (int i = 0; i < N; i++) {
		if (i % (N / WATCHERS) == 0 && i / (N / WATCHERS) < WATCHERS) {
			int k = i / (N / WATCHERS);
			w[k] = s->ops->watch(s, STR("k"), STR("l"), 2, on_watch, &r[k]);
		}
		(void)snprintf(key, sizeof(key), "k%d", i % 50);
		put(s, key, "v");
	}
	for (int i = 0; i < WATCHERS; i++) {
		wait_rev(&r[i], N + 1);
		assert_int_equal(r[i].events, N);
		s->ops->watch_cancel(s, w[i]);
	}
}

#endif

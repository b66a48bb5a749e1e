/* SPDX-License-Identifier: Apache-2.0
 * Blocking forms over any back end, and the figures. */
#include <errno.h>
#include <pthread.h>
#include "store/engine.h"

struct txn_wait {
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool done;
	struct err err;
	struct store_txn_result res;
};

static void txn_done(void *arg, const struct err *e, const struct store_txn_result *r)
{
	struct txn_wait *w = arg;

	pthread_mutex_lock(&w->mu);
	if (e) {
		w->err = *e;
	} else {
		w->res = *r;
		(void)store_val_ref(w->res.cur);
	}
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mu);
}

int store_txn_sync(
	struct store *s, const struct store_txn *t, struct store_txn_result *ret, struct err *e)
{
	struct txn_wait w = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	s->ops->txn(s, t, txn_done, &w);
	pthread_mutex_lock(&w.mu);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.mu);
	pthread_mutex_unlock(&w.mu);
	if (w.err.code) {
		if (e)
			*e = w.err;
		return w.err.code;
	}
	*ret = w.res;
	return 0;
}

struct get_wait {
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool done;
	struct err err;
	struct store_val *val;
};

static void get_done(void *arg, const struct err *e, const struct store_range_result *r)
{
	struct get_wait *w = arg;

	pthread_mutex_lock(&w->mu);
	if (e)
		w->err = *e;
	else if (r->n > 0)
		w->val = store_val_ref(r->vals[0]);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mu);
}

int store_get_sync(struct store *s, struct str key, struct store_val **ret, struct err *e)
{
	struct get_wait w = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};
	struct store_range r = {.start = key};

	s->ops->range(s, &r, get_done, &w);
	pthread_mutex_lock(&w.mu);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.mu);
	pthread_mutex_unlock(&w.mu);
	if (w.err.code) {
		if (e)
			*e = w.err;
		return w.err.code;
	}
	if (!w.val)
		return err_set(e, ENOENT, "NotFound", "no key '%.*s'", STR_FMT(key));
	*ret = w.val;
	return 0;
}

void store_stats(struct store *s, struct store_stats *out)
{
	engine_stats((struct engine *)s, out);
}

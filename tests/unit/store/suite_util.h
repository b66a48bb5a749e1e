/* SPDX-License-Identifier: Apache-2.0
 * What the store's tests share: short calls, and a watcher that records what it is told. */
#ifndef XEBEC_TEST_SUITE_UTIL_H
#define XEBEC_TEST_SUITE_UTIL_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>
#include <cmocka.h>
#include "store/store.h"
#include "xebec/base/timefmt.h"

static inline int do_txn(
	struct store *s, const struct store_txn *t, bool *ret_ok, uint64_t *ret_rev)
{
	struct store_txn_result r = {0};
	struct err e = {0};
	int rc = store_txn_sync(s, t, &r, &e);

	if (rc < 0) {
		assert_int_equal(e.code, rc);
		assert_true(e.msg[0] != '\0');
		return rc;
	}
	store_val_unref(r.cur);
	if (ret_ok)
		*ret_ok = r.succeeded;
	if (ret_rev)
		*ret_rev = r.rev;
	return 0;
}

static inline uint64_t put_lease(
	struct store *s, const char *key, const char *value, uint64_t lease)
{
	struct store_txn t = {.key = str_of(key), .value = str_of(value), .lease = lease};
	uint64_t rev = 0;

	assert_int_equal(do_txn(s, &t, NULL, &rev), 0);
	return rev;
}

static inline uint64_t put(struct store *s, const char *key, const char *value)
{
	return put_lease(s, key, value, 0);
}

static inline uint64_t del(struct store *s, const char *key)
{
	struct store_txn t = {.key = str_of(key), .del = true};
	uint64_t rev = 0;

	assert_int_equal(do_txn(s, &t, NULL, &rev), 0);
	return rev;
}

/* Compare-and-put; returns whether it succeeded. */
static inline bool cas(struct store *s, const char *key, uint64_t expect, const char *value)
{
	struct store_txn t = {.key = str_of(key),
		.compare = true,
		.expect_mod_rev = expect,
		.value = str_of(value)};
	bool ok = false;

	assert_int_equal(do_txn(s, &t, &ok, NULL), 0);
	return ok;
}

/* "key=value key=value ... rev count more" as text: easy to compare. */
struct listing {
	char text[4096];
	int code;
	const char *reason;
};
static inline void on_listing(void *arg, const struct err *e, const struct store_range_result *r)
{
	struct listing *l = arg;
	size_t n = 0;

	l->code = e ? e->code : 0;
	l->reason = e ? e->reason : NULL;
	l->text[0] = '\0';
	if (e)
		return;
	for (size_t i = 0; i < r->n; i++)
		n += (size_t)snprintf(l->text + n, sizeof(l->text) - n, "%.*s=%.*s ",
			STR_FMT(store_val_key(r->vals[i])), STR_FMT(store_val_bytes(r->vals[i])));
	(void)snprintf(l->text + n, sizeof(l->text) - n, "@%ju n=%zu%s", (uintmax_t)r->rev,
		r->count, r->more ? " more" : "");
}

static inline struct listing list_at(
	struct store *s, const char *start, const char *end, uint64_t rev, size_t limit)
{
	struct listing l = {0};
	struct store_range r = {
		.start = str_of(start), .end = str_of(end), .rev = rev, .limit = limit};

	s->ops->range(s, &r, on_listing, &l);
	return l;
}
#define assert_list(s, start, end, rev, limit, want)                                               \
	do {                                                                                       \
		struct listing got_ = list_at((s), (start), (end), (rev), (limit));                \
		assert_int_equal(got_.code, 0);                                                    \
		assert_string_equal(got_.text, (want));                                            \
	} while (0)

struct done {
	pthread_mutex_t mu;
	pthread_cond_t cond;
	int calls, code;
};
static inline void on_done(void *arg, const struct err *e)
{
	struct done *d = arg;

	pthread_mutex_lock(&d->mu);
	d->calls++;
	d->code = e ? e->code : 0;
	pthread_cond_broadcast(&d->cond);
	pthread_mutex_unlock(&d->mu);
}

static inline int compact(struct store *s, uint64_t rev)
{
	struct done d = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	s->ops->compact(s, rev, on_done, &d);
	pthread_mutex_lock(&d.mu);
	while (!d.calls)
		pthread_cond_wait(&d.cond, &d.mu);
	pthread_mutex_unlock(&d.mu);
	return d.code;
}

/* Records "+key=value@rev" (created), "=..." (changed), "-key@rev" (deleted). */
struct recorder {
	pthread_mutex_t mu;
	pthread_cond_t cond;
	char text[8192];
	size_t n, events;
	uint64_t rev, last_mod;
	bool disorder;
	int code;
};
#define RECORDER                                                                                   \
	{                                                                                          \
		.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER                  \
	}
static inline void record_event(struct recorder *r, const struct store_event *ev)
{
	const struct store_val *v = ev->kv;

	r->disorder |= v->mod_rev <= r->last_mod;
	r->last_mod = v->mod_rev;
	r->events++;
	if (r->n + 64 > sizeof(r->text))
		return;
	if (ev->del)
		r->n += (size_t)snprintf(r->text + r->n, sizeof(r->text) - r->n, "-%.*s@%ju ",
			STR_FMT(store_val_key(v)), (uintmax_t)v->mod_rev);
	else
		r->n += (size_t)snprintf(r->text + r->n, sizeof(r->text) - r->n, "%c%.*s=%.*s@%ju ",
			ev->prev ? '=' : '+', STR_FMT(store_val_key(v)),
			STR_FMT(store_val_bytes(v)), (uintmax_t)v->mod_rev);
}

static inline void on_watch(
	void *arg, const struct err *e, const struct store_event *ev, size_t n, uint64_t rev)
{
	struct recorder *r = arg;

	pthread_mutex_lock(&r->mu);
	if (e)
		r->code = e->code;
	for (size_t i = 0; i < n; i++)
		record_event(r, &ev[i]);
	r->disorder |= rev < r->rev;
	r->rev = rev;
	pthread_cond_broadcast(&r->cond);
	pthread_mutex_unlock(&r->mu);
}

/* Waits until the watcher has been told of rev, or of an error. */
static inline void wait_rev(struct recorder *r, uint64_t rev)
{
	pthread_mutex_lock(&r->mu);
	while (r->rev < rev && r->code == 0)
		pthread_cond_wait(&r->cond, &r->mu);
	assert_false(r->disorder);
	pthread_mutex_unlock(&r->mu);
}

#endif

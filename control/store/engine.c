/* SPDX-License-Identifier: Apache-2.0
 * The engine: queue, commit thread, and the functions behind the vtable. */
#include <errno.h>
#include <time.h>
#include "store/engine.h"
#include "store/record.h"
#include "xebec/base/timefmt.h"

#define BATCH_BYTES (4u << 20)
#define QUEUE_BYTES (256u << 20)
#define KEY_MAX	    4096u
#define VALUE_MAX   (8u << 20)

static void queue_push(struct engine *en, struct op *op)
{
	pthread_mutex_lock(&en->q_mu);
	if (en->q_bytes + op->bytes > QUEUE_BYTES && op->err.code == 0)
		err_set(&op->err, EBUSY, "TooManyRequests",
			"the store has %zu bytes waiting to be written; try again later",
			en->q_bytes);
	en->q_bytes += op->bytes;
	*en->q_tail = op;
	en->q_tail = &op->next;
	pthread_cond_signal(&en->q_cond);
	pthread_mutex_unlock(&en->q_mu);
}

static void txn_check(const struct store_txn *t, struct err *e)
{
	if (t->key.n == 0 || t->key.n > KEY_MAX)
		err_set(e, EINVAL, NULL, "a key has 1 to %u bytes, this one %zu", KEY_MAX,
			t->key.n);
	else if (!t->del && t->value.n > VALUE_MAX)
		err_set(e, E2BIG, "RequestEntityTooLarge",
			"a value has at most %u bytes, this one %zu", VALUE_MAX, t->value.n);
}

void engine_txn(struct store *s, const struct store_txn *t, store_txn_cb *cb, void *arg)
{
	struct engine *en = (struct engine *)s;
	struct op *op = calloc(1, sizeof(*op));
	struct err e = {0};

	if (op) {
		txn_check(t, &op->err);
		bool keep = op->err.code == 0;
		op->val = store_val_new(
			keep ? t->key : STR("?"), keep && !t->del ? t->value : (struct str){0});
	}
	if (!op || !op->val) {
		free(op);
		err_set(&e, ENOMEM, NULL, "out of memory while queueing a write");
		cb(arg, &e, NULL);
		return;
	}
	op->kind = OP_TXN;
	op->bytes = sizeof(*op) + sizeof(*op->val) + op->val->key_len + op->val->len;
	op->compare = t->compare;
	op->expect = t->expect_mod_rev;
	op->del = t->del;
	op->lease = t->del ? 0 : t->lease;
	op->txn_cb = cb;
	op->arg = arg;
	queue_push(en, op);
}

struct mvcc_view *engine_view(struct engine *en)
{
	pthread_mutex_lock(&en->view_mu);
	struct mvcc_view *v = mvcc_view_ref(en->view);
	pthread_mutex_unlock(&en->view_mu);
	return v;
}

void engine_range(struct store *s, const struct store_range *r, store_range_cb *cb, void *arg)
{
	struct mvcc_view *v = engine_view((struct engine *)s);

	mvcc_view_range(v, r, cb, arg);
	mvcc_view_unref(v);
}

uint64_t engine_rev(struct store *s)
{
	struct engine *en = (struct engine *)s;

	pthread_mutex_lock(&en->view_mu);
	uint64_t rev = en->view->rev;
	pthread_mutex_unlock(&en->view_mu);
	return rev;
}

static int push_simple(struct engine *en, enum op_kind kind, uint64_t rev, uint64_t lease,
	void (*cb)(void *arg, const struct err *e), void *arg)
{
	struct op *op = calloc(1, sizeof(*op));

	if (!op)
		return -ENOMEM;
	op->kind = kind;
	op->rev = rev;
	op->lease = lease;
	op->cb = cb;
	op->arg = arg;
	queue_push(en, op);
	return 0;
}

void engine_compact(
	struct store *s, uint64_t rev, void (*cb)(void *arg, const struct err *e), void *arg)
{
	struct err e = {0};

	if (push_simple((struct engine *)s, OP_COMPACT, rev, 0, cb, arg) == 0)
		return;
	err_set(&e, ENOMEM, NULL, "out of memory while queueing a compaction");
	if (cb)
		cb(arg, &e);
}

static void engine_kick(struct engine *en)
{
	pthread_mutex_lock(&en->q_mu);
	en->kick = true;
	pthread_cond_signal(&en->q_cond);
	pthread_mutex_unlock(&en->q_mu);
}

int engine_lease_grant(struct store *s, int64_t ttl, uint64_t *ret_id, struct err *e)
{
	struct engine *en = (struct engine *)s;

	if (ttl <= 0)
		return err_set(e, EINVAL, NULL, "a lease lives at least a second");
	int r = leases_add(&en->leases, 0, ttl, false, ret_id);
	if (r < 0)
		return err_set(e, r, NULL, "out of memory while granting a lease");
	engine_kick(en);
	return 0;
}

int engine_lease_keepalive(struct store *s, uint64_t id, struct err *e)
{
	if (leases_touch(&((struct engine *)s)->leases, id) == 0)
		return 0;
	return err_set(e, ENOENT, NULL, "lease %ju does not exist", (uintmax_t)id);
}

struct waiter {
	pthread_mutex_t mu;
	pthread_cond_t cond;
	bool done;
	struct err err;
};

static void waiter_done(void *arg, const struct err *e)
{
	struct waiter *w = arg;

	pthread_mutex_lock(&w->mu);
	w->done = true;
	if (e)
		w->err = *e;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mu);
}

int engine_lease_revoke(struct store *s, uint64_t id, struct err *e)
{
	struct waiter w = {.mu = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	if (push_simple((struct engine *)s, OP_REVOKE, 0, id, waiter_done, &w) < 0)
		return err_set(e, ENOMEM, NULL, "out of memory while revoking a lease");
	pthread_mutex_lock(&w.mu);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.mu);
	pthread_mutex_unlock(&w.mu);
	if (w.err.code && e)
		*e = w.err;
	return w.err.code;
}

/* Takes from the queue what makes one batch. A revocation looks at the applied state, so it makes a
 * batch of its own. */
static struct op *queue_take(struct engine *en)
{
	struct op *first = en->q_head, *last = NULL;
	size_t bytes = 0;

	for (struct op *op = first; op; op = op->next) {
		if (last && (bytes + op->bytes > BATCH_BYTES || op->kind == OP_REVOKE))
			break;
		bytes += op->bytes;
		last = op;
		if (op->kind == OP_REVOKE)
			break;
	}
	if (!last)
		return NULL;
	en->q_head = last->next;
	if (!en->q_head)
		en->q_tail = &en->q_head;
	last->next = NULL;
	en->q_bytes -= bytes;
	return first;
}

static struct timespec timespec_of(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};
}

/* Waits for work or until `at`. Returns false when it is time to end. */
static bool engine_wait(struct engine *en, int64_t at, struct op **ret)
{
	pthread_mutex_lock(&en->q_mu);
	while (!en->q_head && !en->stop && !en->kick) {
		struct timespec ts = timespec_of(at);
		if (at == INT64_MAX)
			pthread_cond_wait(&en->q_cond, &en->q_mu);
		else if (pthread_cond_timedwait(&en->q_cond, &en->q_mu, &ts) == ETIMEDOUT)
			break;
	}
	if (en->q_head && en->batch_wait_ns > 0 && !en->stop) {
		struct timespec ts = timespec_of(time_mono() + en->batch_wait_ns);
		pthread_mutex_unlock(&en->q_mu);
		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
		pthread_mutex_lock(&en->q_mu);
	}
	en->kick = false;
	*ret = queue_take(en);
	bool go_on = *ret || !en->stop;
	pthread_mutex_unlock(&en->q_mu);
	return go_on;
}

static struct op *expiry_ops(struct engine *en, int64_t *ret_next)
{
	uint64_t *ids = NULL;
	struct op *ops = NULL;
	size_t n = leases_expired(&en->leases, time_mono(), &ids, ret_next);

	for (size_t i = 0; i < n; i++) {
		struct op *op = calloc(1, sizeof(*op));
		if (!op)
			break; /* its deadline has moved on: tried again */
		op->kind = OP_REVOKE;
		op->lease = ids[i];
		op->next = ops;
		ops = op;
	}
	free(ids);
	return ops;
}

static void *engine_main(void *arg)
{
	struct engine *en = arg;
	struct op *ops = NULL;
	int64_t at = 0, next_expiry = 0;

	while (engine_wait(en, at, &ops)) {
		struct op *expired = expiry_ops(en, &next_expiry);
		if (expired)
			(void)engine_batch(en, expired);
		int r = engine_batch(en, ops);
		at = watchers_deliver(&en->watchers, &en->index, time_mono());
		if (next_expiry < at)
			at = next_expiry;
		/* Leases that could not be logged are tried again without anybody's asking. */
		if (r < 0 && time_mono() + NS_PER_SEC < at)
			at = time_mono() + NS_PER_SEC;
	}
	return NULL;
}

int engine_new(const struct store_ops *ops, struct engine **ret, struct err *e)
{
	struct engine *en = calloc(1, sizeof(*en));
	pthread_condattr_t a;

	if (!en)
		return err_set(e, ENOMEM, NULL, "out of memory while opening the store");
	en->base.ops = ops;
	en->q_tail = &en->q_head;
	pthread_mutex_init(&en->view_mu, NULL);
	pthread_mutex_init(&en->q_mu, NULL);
	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&en->q_cond, &a);
	pthread_condattr_destroy(&a);
	if (watchers_init(&en->watchers) < 0 || leases_init(&en->leases) < 0 ||
		mvcc_init(&en->index) < 0) {
		engine_free(en);
		return err_set(e, ENOMEM, NULL, "out of memory while opening the store");
	}
	*ret = en;
	return 0;
}

int engine_start(struct engine *en, struct journal *journal, struct err *e)
{
	en->journal = journal;
	en->view = mvcc_view_new(&en->index);
	if (!en->view)
		return err_set(e, ENOMEM, NULL, "out of memory while opening the store");
	int r = pthread_create(&en->thread, NULL, engine_main, en);
	if (r != 0)
		return err_set(e, r, NULL, "cannot start the store's thread");
	(void)pthread_setname_np(en->thread, "store");
	en->running = true;
	return 0;
}

void engine_free(struct engine *en)
{
	if (!en)
		return;
	if (en->running) {
		pthread_mutex_lock(&en->q_mu);
		en->stop = true;
		pthread_cond_signal(&en->q_cond);
		pthread_mutex_unlock(&en->q_mu);
		pthread_join(en->thread, NULL);
	}
	if (en->journal)
		en->journal->ops->close(en->journal);
	watchers_fini(&en->watchers);
	leases_fini(&en->leases);
	mvcc_view_unref(en->view);
	mvcc_fini(&en->index);
	buf_free(&en->frame);
	free(en->pending);
	pthread_cond_destroy(&en->q_cond);
	pthread_mutex_destroy(&en->q_mu);
	pthread_mutex_destroy(&en->view_mu);
	free(en);
}

void engine_close(struct store *s)
{
	engine_free((struct engine *)s);
}

void engine_stats(struct engine *en, struct store_stats *out)
{
	struct mvcc_view *v = engine_view(en);

	*out = (struct store_stats){.rev = v->rev,
		.compact_rev = v->compact_rev,
		.keys = v->keys,
		.bytes_live = v->bytes};
	mvcc_view_unref(v);
	if (en->journal)
		en->journal->ops->stats(en->journal, out);
}

static int replay_write(struct engine *en, const struct record *r)
{
	const struct store_val *old = mvcc_newest(&en->index, r->key);
	bool live = store_val_live(old);

	if (r->rev != en->index.rev + 1)
		return -EBADMSG;
	if (r->type == REC_DEL ? !live
			       : r->version != (live ? old->version + 1 : 1) ||
					 r->create_rev != (live ? old->create_rev : r->rev))
		return -EBADMSG;
	struct store_val *v = store_val_new(r->key, r->value);
	if (!v)
		return -ENOMEM;
	v->create_rev = r->create_rev;
	v->mod_rev = r->rev;
	v->version = r->version;
	v->lease = r->lease;
	int rc = mvcc_apply(&en->index, v);
	if (rc < 0)
		return rc;
	const struct mvcc_event *ev = mvcc_event_at(&en->index, en->index.rev);
	return leases_move(&en->leases, ev->prev, ev->val);
}

int engine_replay(struct engine *en, const struct record *r)
{
	struct lease *x;

	switch (r->type) {
	case REC_PUT:
	case REC_DEL:
		return replay_write(en, r);
	case REC_COMPACT:
		if (r->rev <= en->index.compact_rev || r->rev > en->index.rev)
			return -EBADMSG;
		return mvcc_compact(&en->index, r->rev);
	case REC_LEASE:
		return leases_add(&en->leases, r->lease, r->ttl, true, NULL);
	case REC_UNLEASE:
		x = leases_find(&en->leases, r->lease);
		if (x)
			leases_remove(&en->leases, x);
		return x ? 0 : -EBADMSG;
	default:
		return 0;
	}
}

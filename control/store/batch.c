/* SPDX-License-Identifier: Apache-2.0
 * One group commit: evaluate against the published state plus what the batch itself writes, make
 * it durable, apply, publish, answer. Nothing is applied before it is durable, so a failure needs
 * no undoing. */
#include <errno.h>
#include <string.h>
#include "store/engine.h"
#include "store/record.h"

void op_free(struct op *op)
{
	store_val_unref(op->val);
	store_val_unref(op->cur);
	free(op);
}

/* The newest live version as this batch sees it; borrowed. */
static struct store_val *batch_current(struct engine *en, struct str key)
{
	struct store_val *v = htab_get(en->overlay, key);

	if (!v)
		return mvcc_view_get(en->view, key);
	return store_val_live(v) ? v : NULL;
}

/* Adds a version (or tombstone) to the batch; takes over v. */
static int batch_write(struct engine *en, struct store_val *v)
{
	struct record r = {.type = store_val_live(v) ? REC_PUT : REC_DEL,
		.rev = v->mod_rev,
		.create_rev = v->create_rev,
		.version = v->version,
		.lease = v->lease,
		.key = store_val_key(v),
		.value = store_val_bytes(v)};

	if (en->n_pending == en->cap_pending) {
		size_t cap = en->cap_pending ? en->cap_pending * 2 : 64;
		struct store_val **p = reallocarray(en->pending, cap, sizeof(*p));
		if (!p)
			goto fail;
		en->pending = p;
		en->cap_pending = cap;
	}
	if (htab_put(en->overlay, r.key, v, NULL) < 0)
		goto fail;
	en->pending[en->n_pending++] = v;
	record_add(&en->frame, &r);
	en->next_rev++;
	return 0;
fail:
	store_val_unref(v);
	return -ENOMEM;
}

static bool lease_usable(struct engine *en, uint64_t id)
{
	struct lease *x = leases_find(&en->leases, id);

	return x && !x->dying;
}

static void eval_txn(struct engine *en, struct op *op)
{
	struct store_val *cur = batch_current(en, store_val_key(op->val));

	op->rev = en->next_rev - 1;
	if (op->compare && (cur ? cur->mod_rev : 0) != op->expect) {
		op->cur = store_val_ref(cur);
		return;
	}
	op->succeeded = true;
	if (op->del && !cur)
		return;
	if (op->lease && !lease_usable(en, op->lease)) {
		err_set(&op->err, ENOENT, NULL, "lease %ju does not exist", (uintmax_t)op->lease);
		return;
	}
	struct store_val *v = op->val;
	op->rev = v->mod_rev = en->next_rev;
	if (!op->del) {
		v->create_rev = cur ? cur->create_rev : v->mod_rev;
		v->version = cur ? cur->version + 1 : 1;
		v->lease = op->lease;
	}
	op->cur = store_val_ref(op->del ? cur : v);
	if (batch_write(en, store_val_ref(v)) < 0)
		err_set(&op->err, ENOMEM, NULL, "out of memory while storing a key");
}

static void eval_compact(struct engine *en, struct op *op)
{
	uint64_t done = en->compact_to ? en->compact_to : en->view->compact_rev;

	if (op->rev <= done)
		err_set(&op->err, ESTALE, "Expired", "revision %ju is already compacted",
			(uintmax_t)op->rev);
	else if (op->rev >= en->next_rev)
		err_set(&op->err, ERANGE, NULL, "revision %ju is in the future: the latest is %ju",
			(uintmax_t)op->rev, (uintmax_t)en->next_rev - 1);
	if (op->err.code)
		return;
	en->compact_to = op->rev;
	record_add(&en->frame, &(struct record){.type = REC_COMPACT, .rev = op->rev});
}

static void eval_revoke(struct engine *en, struct op *op)
{
	struct lease *x = leases_find(&en->leases, op->lease);

	if (!x || x->dying) {
		err_set(&op->err, ENOENT, NULL, "lease %ju does not exist", (uintmax_t)op->lease);
		return;
	}
	htab_each (x->keys, it) {
		struct store_val *v = store_val_new(it.key, (struct str){0});
		if (v)
			v->mod_rev = en->next_rev;
		if (!v || batch_write(en, v) < 0) {
			/* Some of its keys are in the batch already: it must fail as a whole. */
			en->frame.err = -ENOMEM;
			return;
		}
	}
	x->dying = true;
	record_add(&en->frame, &(struct record){.type = REC_UNLEASE, .lease = op->lease});
}

static void eval(struct engine *en, struct op *op)
{
	if (op->err.code)
		return;
	if (op->kind == OP_TXN)
		eval_txn(en, op);
	else if (op->kind == OP_COMPACT)
		eval_compact(en, op);
	else
		eval_revoke(en, op);
}

static void log_leases(struct engine *en)
{
	struct leases *l = &en->leases;

	pthread_mutex_lock(&l->mu);
	for (struct lease *x = l->unlogged; x; x = x->unlogged_next) {
		struct record r = {.type = REC_LEASE, .lease = x->id, .ttl = x->ttl};
		record_add(&en->frame, &r);
		x->logged = true;
	}
	pthread_mutex_unlock(&l->mu);
}

/* What log_leases wrote is durable (done), or must be written again. */
static void leases_settle(struct leases *l, bool done)
{
	pthread_mutex_lock(&l->mu);
	struct lease *x, **tail = &l->unlogged;
	for (x = l->unlogged; x; x = x->unlogged_next) {
		if (done && x->logged)
			continue;
		x->logged = false;
		*tail = x;
		tail = &x->unlogged_next;
	}
	*tail = NULL;
	pthread_mutex_unlock(&l->mu);
}

/* The batch is durable: from here on there is no way back, so running out of memory ends the
 * process; recovery then finds everything in the log. */
static void must(int r)
{
	if (r >= 0)
		return;
	static const char msg[] = "xebec store: out of memory while applying a durable write; "
				  "restart to recover\n";
	(void)!write(STDERR_FILENO, msg, sizeof(msg) - 1);
	abort();
}

static void apply(struct engine *en, struct op *ops)
{
	for (size_t i = 0; i < en->n_pending; i++) {
		must(mvcc_apply(&en->index, store_val_ref(en->pending[i])));
		const struct mvcc_event *ev = mvcc_event_at(&en->index, en->index.rev);
		must(leases_move(&en->leases, ev->prev, ev->val));
	}
	if (en->compact_to)
		must(mvcc_compact(&en->index, en->compact_to));
	for (struct op *op = ops; op; op = op->next)
		if (op->kind == OP_REVOKE && op->err.code == 0)
			leases_remove(&en->leases, leases_find(&en->leases, op->lease));
	struct mvcc_view *v = mvcc_view_new(&en->index), *old;
	must(v ? 0 : -ENOMEM);
	pthread_mutex_lock(&en->view_mu);
	old = en->view;
	en->view = v;
	pthread_mutex_unlock(&en->view_mu);
	mvcc_view_unref(old);
}

static void fail_all(struct engine *en, struct op *ops, const struct err *e)
{
	for (struct op *op = ops; op; op = op->next) {
		struct lease *x = op->kind == OP_REVOKE && !op->err.code
					  ? leases_find(&en->leases, op->lease)
					  : NULL;
		if (x)
			x->dying = false;
		if (!op->err.code)
			op->err = *e;
	}
}

static void answer(struct op *op)
{
	const struct err *e = op->err.code ? &op->err : NULL;
	struct store_txn_result r = {.succeeded = op->succeeded, .rev = op->rev, .cur = op->cur};

	if (op->kind == OP_TXN)
		op->txn_cb(op->arg, e, e ? NULL : &r);
	else if (op->cb)
		op->cb(op->arg, e);
}

static int commit(struct engine *en, struct op *ops)
{
	struct err e = {0};
	int r = en->frame.err;

	if (r < 0)
		err_set(&e, r, NULL, "out of memory while storing %zu keys", en->n_pending);
	else if (en->journal)
		r = en->journal->ops->commit(en->journal, &en->frame, &e);
	if (r < 0) {
		leases_settle(&en->leases, false);
		fail_all(en, ops, &e);
		return r;
	}
	leases_settle(&en->leases, true);
	apply(en, ops);
	if (en->journal) {
		struct journal_state s = {.view = en->view, .leases = &en->leases};
		en->journal->ops->applied(en->journal, &s);
	}
	return 0;
}

static int batch_begin(struct engine *en)
{
	static const char head[FRAME_HEAD_LEN];

	en->n_pending = 0;
	en->compact_to = 0;
	en->next_rev = en->index.rev + 1;
	if (en->frame.err || en->frame.cap > (8u << 20))
		buf_free(&en->frame);
	buf_clear(&en->frame);
	buf_add(&en->frame, head, sizeof(head));
	en->overlay = htab_new();
	return en->overlay ? 0 : -ENOMEM;
}

int engine_batch(struct engine *en, struct op *ops)
{
	int r = batch_begin(en);

	if (r < 0) {
		struct err e;
		err_set(&e, r, NULL, "out of memory while storing");
		fail_all(en, ops, &e);
	} else {
		log_leases(en);
		for (struct op *op = ops; op; op = op->next)
			eval(en, op);
		if (en->frame.err || en->frame.len > FRAME_HEAD_LEN)
			r = commit(en, ops);
	}
	while (ops) {
		struct op *next = ops->next;
		answer(ops);
		op_free(ops);
		ops = next;
	}
	for (size_t i = 0; i < en->n_pending; i++)
		store_val_unref(en->pending[i]);
	htab_free(en->overlay, NULL);
	en->overlay = NULL;
	return r;
}

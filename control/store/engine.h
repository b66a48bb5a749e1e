/* SPDX-License-Identifier: Apache-2.0
 * What the local back ends share: one commit thread that takes waiting writes in a batch, evaluates
 * them, has the journal make them durable, applies them to the index, publishes a view, answers,
 * and feeds the watchers. Private to control/store. */
#ifndef XEBEC_STORE_ENGINE_H
#define XEBEC_STORE_ENGINE_H

#include <pthread.h>
#include "store/mvcc.h"
#include "xebec/base/htab.h"
#include "xebec/base/list.h"

struct record;

/* --- leases: granted from any thread, everything else on the commit thread --- */
struct lease {
	uint64_t id;
	int64_t ttl;	    /* seconds */
	int64_t deadline;   /* monotonic ns; under leases.mu */
	bool logged, dying; /* commit thread */
	struct htab *keys;  /* keys whose newest version carries this lease; commit thread */
	struct lease *unlogged_next;
};
struct leases {
	pthread_mutex_t mu; /* guards by_id, deadlines, next_deadline, last_id, unlogged */
	struct htab *by_id;
	struct lease *unlogged;
	uint64_t last_id;
	int64_t next_deadline; /* INT64_MAX = none */
};
int leases_init(struct leases *l);
void leases_fini(struct leases *l);
int leases_add(struct leases *l, uint64_t id, int64_t ttl, bool logged, uint64_t *ret_id);
int leases_touch(struct leases *l, uint64_t id);
struct lease *leases_find(struct leases *l, uint64_t id);
void leases_remove(struct leases *l, struct lease *x);
/* Ids of leases past their deadline, malloc'ed; *ret_next = when to look again. Their deadlines
 * move on by a second, so that a failed expiry is tried again. */
size_t leases_expired(struct leases *l, int64_t now, uint64_t **ret_ids, int64_t *ret_next);
/* Moves a key from its old version's lease to its new one's. */
int leases_move(struct leases *l, const struct store_val *old, const struct store_val *new);

/* --- watchers --- */
struct watchers {
	pthread_mutex_t mu; /* recursive: a callback may cancel. Held while callbacks run */
	struct list all;
	pthread_mutex_t new_mu; /* never held while callbacks run: adding waits for nobody */
	struct list new;
	bool delivering, dirty; /* dirty: some were cancelled meanwhile */
	int64_t last_progress;
	bool lagging; /* somebody has not been told of the newest revision */
};
int watchers_init(struct watchers *w);
void watchers_fini(struct watchers *w);
/* Tells every watcher what is new. Returns when to be called again (INT64_MAX = at the next
 * change). */
int64_t watchers_deliver(struct watchers *w, const struct mvcc *m, int64_t now);

/* --- the journal: what makes a batch durable; NULL in memory --- */
struct journal;
struct journal_state { /* what a snapshot needs; valid during the call */
	struct mvcc_view *view;
	struct leases *leases;
};
struct journal_ops {
	/* frame: FRAME_HEAD_LEN bytes of room, then records. 0 = on disk; else nothing of it
	 * counts. */
	int (*commit)(struct journal *j, struct buf *frame, struct err *e);
	/* After each batch, when it has been published. */
	void (*applied)(struct journal *j, const struct journal_state *s);
	void (*stats)(struct journal *j, struct store_stats *out);
	void (*close)(struct journal *j);
};
struct journal {
	const struct journal_ops *ops;
};

/* --- the engine --- */
enum op_kind { OP_TXN, OP_COMPACT, OP_REVOKE };
struct op {
	struct op *next;
	enum op_kind kind;
	struct err err; /* code != 0: failed */
	size_t bytes;
	/* OP_TXN */
	struct store_val *val; /* the version to be, or the tombstone */
	bool compare, del, succeeded;
	uint64_t expect, rev, lease; /* OP_COMPACT: rev; OP_REVOKE: lease */
	struct store_val *cur;	     /* a reference */
	store_txn_cb *txn_cb;
	void (*cb)(void *arg, const struct err *e); /* OP_COMPACT, OP_REVOKE; may be NULL */
	void *arg;
};

struct engine {
	struct store base; /* first */
	struct journal *journal;
	int64_t batch_wait_ns;
	struct mvcc index; /* commit thread */
	pthread_mutex_t view_mu;
	struct mvcc_view *view;
	struct leases leases;
	struct watchers watchers;
	pthread_t thread;
	bool running;

	pthread_mutex_t q_mu;
	pthread_cond_t q_cond;
	struct op *q_head, **q_tail;
	size_t q_bytes;
	bool stop, kick;

	/* the batch being made */
	struct buf frame;
	struct htab *overlay; /* key -> struct store_val, borrowed from pending */
	struct store_val **pending;
	size_t n_pending, cap_pending;
	uint64_t next_rev;   /* that the next write of the batch gets */
	uint64_t compact_to; /* 0 = no */
};

/* The index may be filled (recovery) between init and start. journal is owned from start on. */
int engine_new(const struct store_ops *ops, struct engine **ret, struct err *e);
int engine_start(struct engine *en, struct journal *journal, struct err *e);
void engine_free(struct engine *en); /* stops after the waiting writes are done */
/* Applies a recovered record; -EBADMSG when it cannot follow what came before. */
int engine_replay(struct engine *en, const struct record *r);
struct mvcc_view *engine_view(struct engine *en);    /* a reference */
int engine_batch(struct engine *en, struct op *ops); /* batch.c; consumes the list */
void op_free(struct op *op);

/* For store_ops tables. */
void engine_txn(struct store *s, const struct store_txn *t, store_txn_cb *cb, void *arg);
void engine_range(struct store *s, const struct store_range *r, store_range_cb *cb, void *arg);
struct store_watch *engine_watch(struct store *s, struct str start, struct str end,
	uint64_t start_rev, store_watch_cb *cb, void *arg);
void engine_watch_cancel(struct store *s, struct store_watch *w);
void engine_compact(
	struct store *s, uint64_t rev, void (*cb)(void *arg, const struct err *e), void *arg);
int engine_lease_grant(struct store *s, int64_t ttl, uint64_t *ret_id, struct err *e);
int engine_lease_keepalive(struct store *s, uint64_t id, struct err *e);
int engine_lease_revoke(struct store *s, uint64_t id, struct err *e);
uint64_t engine_rev(struct store *s);
void engine_close(struct store *s);
void engine_stats(struct engine *en, struct store_stats *out);
#define ENGINE_OPS(engine_name)                                                                    \
	{                                                                                          \
		.name = engine_name, .txn = engine_txn, .range = engine_range,                     \
		.watch = engine_watch, .watch_cancel = engine_watch_cancel,                        \
		.compact = engine_compact, .lease_grant = engine_lease_grant,                      \
		.lease_keepalive = engine_lease_keepalive, .lease_revoke = engine_lease_revoke,    \
		.rev = engine_rev, .close = engine_close,                                          \
	}

#endif

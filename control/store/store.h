/* SPDX-License-Identifier: Apache-2.0
 * The store: etcd v3 semantics behind one vtable (https://etcd.io/docs/v3.6/learning/api/).
 * Revision = resourceVersion. Back ends: embedded.c (WAL + snapshot), mem.c (tests), etcd.c. One
 * test suite runs on each.
 *
 * Threads: every function may be called from any thread. Callbacks run on the store's own thread
 * (or, for reads that need no waiting, inside the call): they must not block; post to a loop.
 * Values are immutable and refcounted, shared with the store. */
#ifndef XEBEC_STORE_STORE_H
#define XEBEC_STORE_STORE_H

#include <stdatomic.h>
#include "xebec/base/buf.h"
#include "xebec/base/err.h"

struct store_val { /* one version of one key; immutable */
	_Atomic int refs;
	uint64_t create_rev, mod_rev, version; /* etcd's create_revision, mod_revision, version */
	uint64_t lease;			       /* 0 = none */
	uint32_t key_len, len;
	char data[]; /* key bytes, then value bytes */
};
struct store_val *store_val_ref(struct store_val *v);
void store_val_unref(struct store_val *v);
static inline struct str store_val_key(const struct store_val *v)
{
	return (struct str){.p = v->data, .n = v->key_len};
}
static inline struct str store_val_bytes(const struct store_val *v)
{
	return (struct str){.p = v->data + v->key_len, .n = v->len};
}

/* A compare-and-swap on one key: what the API server needs (etcd Txn[compare mod_revision ->
 * put|delete] else get). */
struct store_txn {
	struct str key;
	bool compare;		 /* false: unconditional */
	uint64_t expect_mod_rev; /* 0 = must not exist */
	bool del;		 /* delete, else put */
	struct str value;	 /* put; copied before the call returns */
	uint64_t lease;
};
struct store_txn_result {
	bool succeeded;	       /* false: compare failed */
	uint64_t rev;	       /* revision of this write, or the current one */
	struct store_val *cur; /* borrowed. put: the new version; delete: the version deleted;
				  failed: the current one or NULL */
};
/* e NULL on success (also of a failed compare). -ENOSPC, -EIO when the disk refuses: nothing was
 * stored. */
typedef void store_txn_cb(void *arg, const struct err *e, const struct store_txn_result *r);

struct store_range {
	struct str start, end; /* end empty = the one key `start`; else start <= key < end. end "\0"
				  = no upper bound */
	uint64_t rev;	       /* 0 = latest (linearizable) */
	size_t limit;	       /* 0 = all */
	bool count_only;
};
struct store_range_result {
	uint64_t rev;		 /* revision of the store when it answered */
	struct store_val **vals; /* borrowed; ref what you keep */
	size_t n;
	size_t count; /* keys in the range, beyond the limit too */
	bool more;
};
/* e: reason "Expired" and -ESTALE when rev was compacted; -ERANGE when rev is in the future. */
typedef void store_range_cb(void *arg, const struct err *e, const struct store_range_result *r);

struct store_event {
	bool del;
	struct store_val
		*kv; /* borrowed. put: new version; delete: a tombstone: key and mod_rev only */
	struct store_val *prev; /* borrowed; NULL when created or compacted */
};
/* Events in revision order, batches never split a revision. e != NULL ends the watch (-ESTALE:
 * compacted; compact_rev = first readable). rev is the revision up to which the watcher has now
 * seen everything (progress), also with n == 0. */
typedef void store_watch_cb(
	void *arg, const struct err *e, const struct store_event *ev, size_t n, uint64_t rev);

struct store;
struct store_watch;
struct store_ops {
	const char *name;
	void (*txn)(struct store *s, const struct store_txn *t, store_txn_cb *cb, void *arg);
	void (*range)(struct store *s, const struct store_range *r, store_range_cb *cb, void *arg);
	/* Watches start <= key < end from start_rev on (0 = only what comes). Events that exist are
	 * delivered first. A watcher hears once (n may be 0) how far the store is, then of every
	 * event at once, and of progress elsewhere within 100 ms. After an error it hears nothing
	 * more but must still be cancelled. */
	struct store_watch *(*watch)(struct store *s, struct str start, struct str end,
		uint64_t start_rev, store_watch_cb *cb, void *arg);
	void (*watch_cancel)(
		struct store *s, struct store_watch *w); /* no callback runs after it returns */
	void (*compact)(struct store *s, uint64_t rev, void (*cb)(void *arg, const struct err *e),
		void *arg);
	/* Grant and keepalive never wait: a grant is durable before the first write that uses it.
	 * Revoke waits until its keys are gone. After a restart every lease starts its time anew.
	 */
	int (*lease_grant)(struct store *s, int64_t ttl_seconds, uint64_t *ret_id, struct err *e);
	int (*lease_keepalive)(struct store *s, uint64_t id, struct err *e);
	int (*lease_revoke)(struct store *s, uint64_t id, struct err *e); /* deletes its keys */
	uint64_t (*rev)(struct store *s);				  /* latest revision */
	void (*close)(struct store *s);
};
struct store {
	const struct store_ops *ops;
};

struct store_embedded_config {
	const char *dir;	 /* made when absent; one process at a time (flock) */
	uint64_t segment_bytes;	 /* 0 = 64 MiB */
	uint64_t snapshot_bytes; /* snapshot when this much WAL has piled up; 0 = 4 segments */
	int64_t batch_wait_ns; /* group commit: how long the commit thread may wait for company; 0 =
				  not at all */
};
int store_open_embedded(const struct store_embedded_config *c, struct store **ret, struct err *e);
int store_open_mem(struct store **ret, struct err *e);
/* Later: int store_open_etcd(const char *endpoints, ...). */

/* For metrics. */
struct store_stats {
	uint64_t rev, compact_rev, keys, bytes_live, wal_bytes, fsyncs, commits, snapshot_rev;
	uint64_t fsync_ns_total, fsync_ns_max;
	uint64_t snapshot_errors;
};
void store_stats(struct store *s, struct store_stats *out);

/* Blocking forms for start-up code and tests (never on a loop thread). *ret_cur gets a reference
 * (may be NULL). */
int store_txn_sync(struct store *s, const struct store_txn *t, struct store_txn_result *ret,
	struct err *e); /* ret->cur: caller unrefs */
int store_get_sync(
	struct store *s, struct str key, struct store_val **ret, struct err *e); /* -ENOENT */

#endif

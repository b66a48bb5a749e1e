/* SPDX-License-Identifier: Apache-2.0
 * The index that both local back ends share: every key's versions back to the last compaction, and
 * the events in revision order. One writer (the engine's thread); any thread reads views. A
 * version chain never changes once published: compaction puts a shorter copy in its place. */
#ifndef XEBEC_STORE_MVCC_H
#define XEBEC_STORE_MVCC_H

#include "store/store.h"
#include "xebec/base/omap.h"

/* A tombstone is a store_val with version 0. */
struct version { /* immutable, refcounted */
	_Atomic int refs;
	struct store_val *val;
	struct version *older;
};

struct mvcc_event {
	struct store_val *val;	/* the new version or a tombstone */
	struct store_val *prev; /* NULL when created or compacted */
};

struct mvcc {
	struct omap *map; /* key -> struct version, newest first */
	struct mvcc_event *events;
	size_t events_cap, events_head,
		events_n; /* a ring: one event a revision, the last is rev */
	uint64_t rev, compact_rev;
	size_t keys;
	uint64_t bytes; /* keys and values that live */
};

/* One immutable state. */
struct mvcc_view {
	_Atomic int refs;
	uint64_t rev, compact_rev, bytes;
	size_t keys;
	struct omap_snap *snap;
};

#define MVCC_FIRST_REV 1u /* the revision of an empty store, as in etcd */

struct store_val *store_val_new(struct str key, struct str value); /* refs 1; NULL when no memory */
static inline bool store_val_live(const struct store_val *v)
{
	return v && v->version != 0;
}

int mvcc_init(struct mvcc *m);
void mvcc_fini(struct mvcc *m);

/* Applies the write with revision rev + 1. Takes over v in any case. */
int mvcc_apply(struct mvcc *m, struct store_val *v);
/* Forgets what nobody may ask for once rev is the oldest readable revision. rev <= m->rev. */
int mvcc_compact(struct mvcc *m, uint64_t rev);
/* Newest version or tombstone; borrowed; writer only. */
struct store_val *mvcc_newest(const struct mvcc *m, struct str key);
/* compact_rev < rev <= m->rev; writer only; borrowed. */
const struct mvcc_event *mvcc_event_at(const struct mvcc *m, uint64_t rev);

/* Loading a snapshot: state first, then each key's versions, newest first. mvcc_load_end checks
 * that no event is missing (-EBADMSG). */
int mvcc_load_begin(struct mvcc *m, uint64_t rev, uint64_t compact_rev);
int mvcc_load_key(struct mvcc *m, struct store_val **newest_first, size_t n); /* takes over vals */
int mvcc_load_end(struct mvcc *m);

struct mvcc_view *mvcc_view_new(const struct mvcc *m);
struct mvcc_view *mvcc_view_ref(struct mvcc_view *v);
void mvcc_view_unref(struct mvcc_view *v);
/* Newest live version in the view, borrowed. */
struct store_val *mvcc_view_get(const struct mvcc_view *v, struct str key);
/* Calls cb exactly once, inside. */
void mvcc_view_range(
	const struct mvcc_view *v, const struct store_range *r, store_range_cb *cb, void *arg);

/* Is key in [start, end) as store_range means it? */
bool store_in_range(struct str key, struct str start, struct str end);

#endif

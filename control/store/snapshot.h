/* SPDX-License-Identifier: Apache-2.0
 * Writing a snapshot file from a view, while writes go on. */
#ifndef XEBEC_STORE_SNAPSHOT_H
#define XEBEC_STORE_SNAPSHOT_H

#include "store/engine.h"
#include "store/io.h"

struct snapshot_lease {
	uint64_t id;
	int64_t ttl;
};
struct snapshot {		/* what to write */
	struct mvcc_view *view; /* a reference */
	struct snapshot_lease *leases;
	size_t n_leases;
	uint64_t frame; /* last frame of the log that it covers */
	uint64_t last_lease;
};
int snapshot_new(const struct journal_state *s, uint64_t frame, struct snapshot **ret);
void snapshot_free(struct snapshot *s);
void snapshot_name(uint64_t frame, char out[static 32]); /* "snap-<16 hex digits>.db" */
/* Writes, flushes, renames into place, removes older ones. *stop true = give up (-ECANCELED). */
int snapshot_write(const struct store_io *io, int dirfd, const struct snapshot *s,
	const _Atomic bool *stop, struct err *e);

#endif

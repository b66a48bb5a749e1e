/* SPDX-License-Identifier: Apache-2.0
 * Writing the log: numbered segments, one frame a group commit, old segments used again. One
 * thread; docs/store.md has the format and the reasons. */
#ifndef XEBEC_STORE_WAL_H
#define XEBEC_STORE_WAL_H

#include <stdatomic.h>
#include "store/io.h"
#include "store/record.h"
#include "xebec/base/err.h"

#define WAL_SPARES 2u /* used-up segments kept for reuse */

struct wal_segment {
	uint64_t seq, frame; /* its number; its first frame */
};
struct wal {
	const struct store_io *io;
	int dirfd;
	uint64_t segment_bytes;
	int fd;
	uint64_t salt, pos, filled; /* of the current segment; filled: written at least once */
	uint64_t next_frame;
	bool dead; /* a write or flush failed: what lies behind pos is unknown, never use it again
		    */
	struct wal_segment *segs; /* oldest first; the last is current */
	size_t n_segs, cap_segs;
	unsigned spares;
	/* read by any thread */
	_Atomic uint64_t fsyncs, fsync_ns_total, fsync_ns_max, bytes;
};

void segment_name(uint64_t seq, char out[static 32]); /* "wal-<16 hex digits>.log" */
/* Makes the segment durable as it is now. */
int wal_sync(struct wal *w);
/* 0 = the frame is on disk, numbered *ret_frame. Else nothing was stored: the frame will not come
 * back, unless the machine dies before the disk works again. */
int wal_append(struct wal *w, struct buf *frame, uint64_t *ret_frame, struct err *e);
/* Every frame up to this one is in a snapshot: segments that hold no other are spares now. */
void wal_recycle(struct wal *w, uint64_t frame);
int wal_remember(struct wal *w, uint64_t seq, uint64_t frame);
void wal_close(struct wal *w);

#endif

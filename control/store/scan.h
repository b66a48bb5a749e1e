/* SPDX-License-Identifier: Apache-2.0
 * Reading the store's directory: newest snapshot, then the log after it. Changes nothing. Recovery,
 * `xebec store dump` and `check` are visitors of it. */
#ifndef XEBEC_STORE_SCAN_H
#define XEBEC_STORE_SCAN_H

#include "store/record.h"
#include "xebec/base/err.h"

/* Each may be NULL; negative = stop. -EBADMSG means that a record cannot follow the ones before. */
struct scan_visitor {
	void *arg;
	int (*snapshot)(void *arg, const char *file, const struct file_head *h);
	int (*snapshot_record)(void *arg, uint64_t off, const struct record *r);
	int (*segment)(void *arg, const char *file, const struct file_head *h);
	/* Also frames that the snapshot covers (done). */
	int (*frame)(void *arg, uint64_t off, const struct frame *f, bool done);
	int (*record)(void *arg, uint64_t off, const struct frame *f, const struct record *r);
};
struct scan_segment {
	uint64_t seq;
	struct file_head head;
	uint64_t size, end; /* of the file; of its valid frames */
};
struct scan_result {
	bool have_snapshot;
	struct file_head snapshot;
	char snapshot_file[32];
	struct scan_segment *segs; /* by number; malloc'ed */
	size_t n_segs;
	/* Older ones before a gap in the numbers: removals that a power cut took back in part. The
	 * snapshot covers them (else the rest is refused). */
	uint64_t *stale;
	size_t n_stale;
	uint64_t next_frame;
	uint64_t replay_bytes; /* of frames that the snapshot does not cover */
	bool torn;	       /* the last frame was cut off: it was never acknowledged */
	unsigned spares;       /* spare-0 ... */
};
void scan_result_free(struct scan_result *r);
int store_scan(int dirfd, const char *dir, const struct scan_visitor *v, struct scan_result *ret,
	struct err *e);

/* The frames of one segment's bytes; limit 0 = it is the last one, its end may be torn. For the
 * fuzz target; store_scan uses it. */
struct scan_file {
	const char *dir, *name;
	struct str bytes;
};
int scan_frames(const struct scan_file *f, struct scan_segment *seg, uint64_t limit,
	uint64_t covered, const struct scan_visitor *v, struct scan_result *res, struct err *e);
int scan_snapshot(const struct scan_file *f, const struct file_head *h,
	const struct scan_visitor *v, struct err *e);

#endif

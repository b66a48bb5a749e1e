/* SPDX-License-Identifier: Apache-2.0
 * Writing the log. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "store/wal.h"
#include "xebec/base/timefmt.h"

/* A file grows by this much at once: blocks written before cost a third less to flush than new
 * ones, which need an extent conversion each. */
#define FILL_STEP (1u << 20)
#define TMP_NAME  "wal.tmp"

static const char zeros[64u << 10];

void segment_name(uint64_t seq, char out[static 32])
{
	(void)snprintf(out, 32, "wal-%016jx.log", (uintmax_t)seq);
}

static void spare_name(unsigned i, char out[static 32])
{
	(void)snprintf(out, 32, "spare-%u", i);
}

int wal_remember(struct wal *w, uint64_t seq, uint64_t frame)
{
	if (w->n_segs == w->cap_segs) {
		size_t cap = w->cap_segs ? w->cap_segs * 2 : 8;
		struct wal_segment *p = reallocarray(w->segs, cap, sizeof(*p));
		if (!p)
			return -ENOMEM;
		w->segs = p;
		w->cap_segs = cap;
	}
	w->segs[w->n_segs++] = (struct wal_segment){.seq = seq, .frame = frame};
	return 0;
}

static int io_sync(struct wal *w, int fd)
{
	int64_t start = time_mono();
	int r = w->io->fdatasync(w->io->ctx, fd);
	uint64_t ns = (uint64_t)(time_mono() - start);

	w->fsyncs++;
	w->fsync_ns_total += ns;
	if (ns > w->fsync_ns_max)
		w->fsync_ns_max = ns;
	return r;
}

int wal_sync(struct wal *w)
{
	return io_sync(w, w->fd);
}

/* Writes zeros from `from` up to the next step, as far as the disk lets us: failing is harmless. */
static uint64_t fill(struct wal *w, int fd, uint64_t from)
{
	uint64_t to = (from / FILL_STEP + 1) * FILL_STEP;

	if (to > w->segment_bytes)
		to = w->segment_bytes;
	while (from < to) {
		size_t n = to - from < sizeof(zeros) ? (size_t)(to - from) : sizeof(zeros);
		if (store_io_write_all(w->io, fd, zeros, n, (off_t)from) < 0)
			break;
		from += n;
	}
	return from;
}

static int segment_prepare(
	struct wal *w, const char *name, uint64_t seq, uint64_t *ret_salt, uint64_t *ret_filled)
{
	char head[FILE_HEAD_LEN];
	struct file_head h = {.kind = FILE_WAL,
		.seq = seq,
		.frame = w->next_frame,
		.prev_end = w->fd >= 0 ? w->pos : 0};
	struct stat st;

	if (getrandom(&h.salt, sizeof(h.salt), 0) != sizeof(h.salt))
		return -EIO;
	int fd = w->io->open(w->io->ctx, w->dirfd, name, O_RDWR | O_CREAT);
	if (fd < 0)
		return fd;
	file_head_write(head, &h);
	int r = store_io_write_all(w->io, fd, head, sizeof(head), 0);
	if (r == 0 && fstat(fd, &st) < 0)
		r = -errno;
	if (r == 0) {
		*ret_filled = (uint64_t)st.st_size;
		if (*ret_filled == FILE_HEAD_LEN)
			*ret_filled = fill(w, fd, FILE_HEAD_LEN);
		r = io_sync(w, fd);
	}
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	*ret_salt = h.salt;
	return fd;
}

static int wal_rotate(struct wal *w)
{
	uint64_t seq = w->n_segs ? w->segs[w->n_segs - 1].seq + 1 : 1, salt = 0, filled = 0;
	char from[32] = TMP_NAME, to[32];

	if (w->spares > 0)
		spare_name(w->spares - 1, from);
	int r = wal_remember(w, seq, w->next_frame);
	if (r < 0)
		return r;
	w->n_segs--;
	int fd = segment_prepare(w, from, seq, &salt, &filled);
	if (fd < 0) {
		if (w->spares == 0)
			(void)w->io->unlink(w->io->ctx, w->dirfd, from);
		return fd;
	}
	segment_name(seq, to);
	/* From the rename on, the new segment says where the old one ends. */
	w->dead = true;
	r = w->io->rename(w->io->ctx, w->dirfd, from, to);
	if (r == 0) {
		if (w->spares > 0)
			w->spares--;
		r = w->io->sync_dir(w->io->ctx, w->dirfd);
	}
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	if (w->fd >= 0)
		(void)close(w->fd);
	w->fd = fd;
	w->salt = salt;
	w->filled = filled;
	w->pos = FILE_HEAD_LEN;
	w->dead = false;
	w->n_segs++;
	return 0;
}

/* The flush or write of the frame at pos failed. The kernel may have dropped the dirty pages and
 * may not report it again, so this segment is given up; its header's successor will say that it
 * ends at pos. Until there is one, try to remove what may have reached the disk. */
static void wal_abandon(struct wal *w)
{
	w->dead = true;
	if (w->io->ftruncate(w->io->ctx, w->fd, (off_t)w->pos) == 0)
		(void)io_sync(w, w->fd);
}

static int write_error(int r, const char *what, struct err *e)
{
	return err_set(e, r, NULL, "the store cannot %s: %s; nothing was stored, try again", what,
		strerror(-r));
}

int wal_append(struct wal *w, struct buf *frame, uint64_t *ret_frame, struct err *e)
{
	uint64_t seq = w->next_frame;
	size_t payload = frame->len - FRAME_HEAD_LEN;
	int r = 0;

	if (payload > FRAME_MAX)
		return err_set(
			e, E2BIG, NULL, "a batch of %zu bytes is too large to store", payload);
	bool full = w->pos + frame->len > w->segment_bytes && w->pos > FILE_HEAD_LEN;
	if (w->fd < 0 || w->dead || full)
		r = wal_rotate(w);
	if (r < 0)
		return write_error(r, "start a new log segment", e);
	frame_seal(frame->p, w->salt, seq, payload);
	r = store_io_write_all(w->io, w->fd, frame->p, frame->len, (off_t)w->pos);
	uint64_t end = w->pos + frame->len;
	if (r == 0 && end > w->filled)
		w->filled = end < w->segment_bytes ? fill(w, w->fd, end) : end;
	if (r == 0)
		r = io_sync(w, w->fd);
	if (r < 0) {
		wal_abandon(w);
		return write_error(r, "write its log", e);
	}
	w->pos = end;
	w->next_frame++;
	w->bytes += frame->len;
	*ret_frame = seq;
	return 0;
}

static bool retire(struct wal *w, uint64_t seq, unsigned *made)
{
	char from[32], to[32];

	segment_name(seq, from);
	spare_name(w->spares + *made, to);
	if (w->spares + *made < WAL_SPARES && w->io->rename(w->io->ctx, w->dirfd, from, to) == 0) {
		(*made)++;
		return true;
	}
	return w->io->unlink(w->io->ctx, w->dirfd, from) == 0;
}

void wal_recycle(struct wal *w, uint64_t frame)
{
	size_t n = 0;
	unsigned made = 0;

	while (n + 1 < w->n_segs && w->segs[n + 1].frame <= frame + 1 &&
		retire(w, w->segs[n].seq, &made))
		n++;
	if (n == 0)
		return;
	memmove(w->segs, w->segs + n, (w->n_segs - n) * sizeof(*w->segs));
	w->n_segs -= n;
	/* A spare gets a new header while the old name may still be on disk: not before the
	 * directory is. */
	if (w->io->sync_dir(w->io->ctx, w->dirfd) == 0)
		w->spares += made;
}

void wal_close(struct wal *w)
{
	if (w->fd >= 0)
		(void)close(w->fd);
	w->fd = -1;
	free(w->segs);
	w->segs = NULL;
	w->n_segs = w->cap_segs = 0;
}

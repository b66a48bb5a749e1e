/* SPDX-License-Identifier: Apache-2.0
 * Writing a snapshot file: header, leases, then every key's versions newest first. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "store/record.h"
#include "store/snapshot.h"

#define TMP_NAME    "snap.tmp"
#define FRAME_BYTES (256u << 10)

void snapshot_name(uint64_t frame, char out[static 32])
{
	(void)snprintf(out, 32, "snap-%016jx.db", (uintmax_t)frame);
}

void snapshot_free(struct snapshot *s)
{
	if (!s)
		return;
	mvcc_view_unref(s->view);
	free(s->leases);
	free(s);
}

int snapshot_new(const struct journal_state *st, uint64_t frame, struct snapshot **ret)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	struct leases *l = st->leases;

	if (!s)
		return -ENOMEM;
	s->view = mvcc_view_ref(st->view);
	s->frame = frame;
	pthread_mutex_lock(&l->mu);
	s->last_lease = l->last_id;
	s->leases = calloc(htab_len(l->by_id) + 1, sizeof(*s->leases));
	if (s->leases) {
		htab_each (l->by_id, it) {
			/* One that is not in the log yet will come after this snapshot. */
			const struct lease *x = it.value;
			if (x->logged)
				s->leases[s->n_leases++] =
					(struct snapshot_lease){.id = x->id, .ttl = x->ttl};
		}
	}
	pthread_mutex_unlock(&l->mu);
	if (!s->leases) {
		snapshot_free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

struct writer {
	const struct store_io *io;
	int fd, err;
	uint64_t salt, seq, records;
	off_t pos;
	struct buf frame;
};

static void writer_begin(struct writer *w)
{
	static const char head[FRAME_HEAD_LEN];

	buf_clear(&w->frame);
	buf_add(&w->frame, head, sizeof(head));
}

static void writer_flush(struct writer *w)
{
	if (w->frame.err)
		w->err = w->frame.err;
	if (w->err < 0)
		return;
	frame_seal(w->frame.p, w->salt, w->seq++, w->frame.len - FRAME_HEAD_LEN);
	w->err = store_io_write_all(w->io, w->fd, w->frame.p, w->frame.len, w->pos);
	w->pos += (off_t)w->frame.len;
	writer_begin(w);
}

static void writer_add(struct writer *w, const struct record *r)
{
	record_add(&w->frame, r);
	w->records++;
	if (w->frame.len >= FRAME_BYTES || w->frame.err)
		writer_flush(w);
}

static void write_versions(struct writer *w, const struct version *v)
{
	for (; v && w->err == 0; v = v->older) {
		const struct store_val *x = v->val;
		struct record r = {.type = store_val_live(x) ? REC_PUT : REC_DEL,
			.rev = x->mod_rev,
			.create_rev = x->create_rev,
			.version = x->version,
			.lease = x->lease,
			.key = store_val_key(x),
			.value = store_val_bytes(x)};
		writer_add(w, &r);
	}
}

static int write_body(struct writer *w, const struct snapshot *s, const _Atomic bool *stop)
{
	struct omap_iter it;

	writer_begin(w);
	for (size_t i = 0; i < s->n_leases; i++) {
		struct record r = {
			.type = REC_LEASE, .lease = s->leases[i].id, .ttl = s->leases[i].ttl};
		writer_add(w, &r);
	}
	for (bool ok = omap_seek(s->view->snap, (struct str){.p = "", .n = 0}, &it);
		ok && w->err == 0; ok = omap_next(s->view->snap, &it)) {
		if (*stop)
			return -ECANCELED;
		write_versions(w, it.value);
	}
	struct record end = {.type = REC_SNAP_END, .version = w->records};
	record_add(&w->frame, &end);
	writer_flush(w);
	return w->err;
}

static int write_file(
	const struct store_io *io, int fd, const struct snapshot *s, const _Atomic bool *stop)
{
	struct file_head h = {.kind = FILE_SNAPSHOT,
		.frame = s->frame,
		.rev = s->view->rev,
		.compact_rev = s->view->compact_rev,
		.last_lease = s->last_lease};
	char head[FILE_HEAD_LEN];

	if (getrandom(&h.salt, sizeof(h.salt), 0) != sizeof(h.salt))
		return -EIO;
	file_head_write(head, &h);
	int r = store_io_write_all(io, fd, head, sizeof(head), 0);
	struct writer w = {.io = io, .fd = fd, .salt = h.salt, .seq = 1, .pos = FILE_HEAD_LEN};
	if (r == 0)
		r = write_body(&w, s, stop);
	buf_free(&w.frame);
	return r < 0 ? r : io->fdatasync(io->ctx, fd);
}

static void remove_older(const struct store_io *io, int dirfd, const char *keep)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;

	if (!d) {
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	while ((de = readdir(d)))
		if (strncmp(de->d_name, "snap-", 5) == 0 && strcmp(de->d_name, keep) < 0)
			(void)io->unlink(io->ctx, dirfd, de->d_name);
	(void)closedir(d);
}

int snapshot_write(const struct store_io *io, int dirfd, const struct snapshot *s,
	const _Atomic bool *stop, struct err *e)
{
	char name[32];
	int fd = io->open(io->ctx, dirfd, TMP_NAME, O_RDWR | O_CREAT | O_TRUNC);
	int r = fd;

	if (fd >= 0) {
		r = write_file(io, fd, s, stop);
		(void)close(fd);
	}
	snapshot_name(s->frame, name);
	if (r == 0)
		r = io->rename(io->ctx, dirfd, TMP_NAME, name);
	if (r == 0)
		r = io->sync_dir(io->ctx, dirfd);
	if (r < 0) {
		(void)io->unlink(io->ctx, dirfd, TMP_NAME);
		return err_set(e, r, NULL, "cannot write a snapshot: %s", strerror(-r));
	}
	remove_older(io, dirfd, name);
	return 0;
}

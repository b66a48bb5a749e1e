/* SPDX-License-Identifier: Apache-2.0
 * Reading the store's directory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "store/scan.h"
#include "store/snapshot.h"
#include "store/wal.h"

void scan_result_free(struct scan_result *r)
{
	free(r->segs);
	free(r->stale);
	r->segs = NULL;
	r->stale = NULL;
}

static int damaged(const struct scan_file *f, uint64_t off, const char *what, struct err *e)
{
	return err_set(e, EBADMSG, NULL,
		"%s/%s: offset %ju: %s. Nothing was changed: restore the directory from a backup, "
		"or see `xebec store check %s`",
		f->dir, f->name, (uintmax_t)off, what, f->dir);
}

static int visit_error(const struct scan_file *f, uint64_t off, int r, struct err *e)
{
	if (r == -EBADMSG)
		return damaged(f, off, "a record does not fit what came before", e);
	return err_set(
		e, r, NULL, "%s/%s: offset %ju: %s", f->dir, f->name, (uintmax_t)off, strerror(-r));
}

static int scan_records(const struct scan_file *f, uint64_t off, const struct frame *fr,
	const struct scan_visitor *v, struct err *e)
{
	struct str rest = fr->payload;
	struct record rec;
	int r;

	while ((r = record_next(&rest, &rec)) > 0) {
		r = v->record ? v->record(v->arg, off, fr, &rec) : 0;
		if (r < 0)
			return visit_error(f, off, r, e);
	}
	return r < 0 ? damaged(f, off, "a record is malformed", e) : 0;
}

/* Where frames end before the limit. The last segment may end anywhere; a frame that is not valid
 * but has a valid one after it had been flushed once, so it has been damaged since. */
static int scan_tail(const struct scan_file *f, uint64_t at, uint64_t limit,
	struct scan_segment *seg, struct scan_result *res, struct err *e)
{
	struct frame later;

	if (limit)
		return damaged(f, at, "a frame fails its checksum", e);
	if (frame_find(f->bytes, (size_t)at, seg->head.salt, &later) < f->bytes.n)
		return damaged(f, at, "a frame fails its checksum, and valid ones follow it", e);
	uint32_t magic = 0;
	if (at + sizeof(magic) <= f->bytes.n)
		memcpy(&magic, f->bytes.p + at, sizeof(magic));
	res->torn = magic == FRAME_MAGIC;
	return 0;
}

int scan_frames(const struct scan_file *f, struct scan_segment *seg, uint64_t limit,
	uint64_t covered, const struct scan_visitor *v, struct scan_result *res, struct err *e)
{
	uint64_t at = FILE_HEAD_LEN, end = limit ? limit : f->bytes.n;
	struct frame fr;

	if (end > f->bytes.n)
		return damaged(f, f->bytes.n, "the file has lost its end", e);
	while (at < end) {
		struct str in = {.p = f->bytes.p + at, .n = (size_t)(end - at)};
		if (frame_parse(in, seg->head.salt, &fr) != 1) {
			int r = scan_tail(f, at, limit, seg, res, e);
			if (r < 0)
				return r;
			break;
		}
		if (fr.seq != res->next_frame)
			return damaged(f, at, "a frame is out of order", e);
		bool done = fr.seq <= covered;
		int r = v->frame ? v->frame(v->arg, at, &fr, done) : 0;
		if (r < 0)
			return visit_error(f, at, r, e);
		r = done ? 0 : scan_records(f, at, &fr, v, e);
		if (r < 0)
			return r;
		res->next_frame++;
		res->replay_bytes += done ? 0 : fr.size;
		at += fr.size;
	}
	seg->end = at;
	return 0;
}

int scan_snapshot(const struct scan_file *f, const struct file_head *h,
	const struct scan_visitor *v, struct err *e)
{
	struct scan_segment seg = {.head = *h};
	struct frame fr;
	struct record rec = {0};
	uint64_t at = FILE_HEAD_LEN, seq = 1, records = 0;
	int r = 0;

	while (at < f->bytes.n && rec.type != REC_SNAP_END) {
		struct str in = {.p = f->bytes.p + at, .n = f->bytes.n - (size_t)at};
		if (frame_parse(in, seg.head.salt, &fr) != 1 || fr.seq != seq++)
			return damaged(f, at, "a frame of the snapshot fails its checksum", e);
		struct str rest = fr.payload;
		while ((r = record_next(&rest, &rec)) > 0 && rec.type != REC_SNAP_END) {
			records++;
			r = v->snapshot_record ? v->snapshot_record(v->arg, at, &rec) : 0;
			if (r < 0)
				return visit_error(f, at, r, e);
		}
		if (r < 0 || rest.n > 0)
			return damaged(f, at, "a record of the snapshot is malformed", e);
		at += fr.size;
	}
	if (rec.type != REC_SNAP_END || rec.version != records || at != f->bytes.n)
		return damaged(f, at, "the snapshot is not complete", e);
	r = v->snapshot_record ? v->snapshot_record(v->arg, at, &rec) : 0;
	return r < 0 ? visit_error(f, at, r, e) : 0;
}

/* Reads at most max bytes (0 = all) of a file. */
static int read_at(int dirfd, const char *dir, const char *name, size_t max, struct buf *out,
	uint64_t *ret_size, struct err *e)
{
	struct stat st;
	AUTO_CLOSE int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, errno, NULL, "%s/%s: %s", dir, name, strerror(errno));
	size_t n = (size_t)st.st_size;
	if (max && n > max)
		n = max;
	buf_clear(out);
	if (buf_reserve(out, n) < 0)
		return err_set(e, ENOMEM, NULL, "%s/%s: out of memory", dir, name);
	while (out->len < n) {
		ssize_t r = pread(fd, out->p + out->len, n - out->len, (off_t)out->len);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return err_set(e, errno, NULL, "%s/%s: offset %zu: %s", dir, name, out->len,
				strerror(errno));
		if (r == 0)
			break;
		out->len += (size_t)r;
	}
	*ret_size = (uint64_t)st.st_size;
	return 0;
}

static int seg_cmp(const void *a, const void *b)
{
	const struct scan_segment *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static int add_segment(struct scan_result *res, uint64_t seq)
{
	struct scan_segment *p = reallocarray(res->segs, res->n_segs + 1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	res->segs = p;
	res->segs[res->n_segs++] = (struct scan_segment){.seq = seq};
	return 0;
}

static int scan_name(const char *name, struct scan_result *res)
{
	char want[32];
	uintmax_t n = 0;
	int end = 0;

	if (sscanf(name, "wal-%16jx.log%n", &n, &end) == 1 && end && !name[end]) {
		segment_name(n, want);
		return strcmp(want, name) == 0 ? add_segment(res, n) : 0;
	}
	if (sscanf(name, "snap-%16jx.db%n", &n, &end) == 1 && end && !name[end]) {
		snapshot_name(n, want);
		if (strcmp(want, name) == 0 && strcmp(name, res->snapshot_file) > 0)
			(void)str_copy(
				res->snapshot_file, sizeof(res->snapshot_file), str_of(name));
	}
	return 0;
}

static int set_stale_aside(struct scan_result *res)
{
	size_t n = res->n_segs;

	while (n > 1 && res->segs[n - 2].seq + 1 == res->segs[n - 1].seq)
		n--;
	if (n < 2)
		return 0;
	n--;
	res->stale = calloc(n, sizeof(*res->stale));
	if (!res->stale)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		res->stale[i] = res->segs[i].seq;
	res->n_stale = n;
	memmove(res->segs, res->segs + n, (res->n_segs - n) * sizeof(*res->segs));
	res->n_segs -= n;
	return 0;
}

static int scan_names(int dirfd, const char *dir, struct scan_result *res, struct err *e)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *de;
	char spare[32];

	if (!d) {
		r = err_set(e, errno, NULL, "%s: %s", dir, strerror(errno));
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	while (r == 0 && (de = readdir(d)))
		r = scan_name(de->d_name, res);
	(void)closedir(d);
	do {
		(void)snprintf(spare, sizeof(spare), "spare-%u", res->spares);
	} while (faccessat(dirfd, spare, F_OK, 0) == 0 && ++res->spares < WAL_SPARES);
	if (res->n_segs)
		qsort(res->segs, res->n_segs, sizeof(*res->segs), seg_cmp);
	if (r == 0)
		r = set_stale_aside(res);
	return r < 0 ? err_set(e, r, NULL, "%s: out of memory", dir) : 0;
}

static int load_snapshot(int dirfd, const char *dir, const struct scan_visitor *v,
	struct scan_result *res, struct err *e)
{
	AUTO_BUF struct buf b = {0};
	struct scan_file f = {.dir = dir, .name = res->snapshot_file};
	const char *why = NULL;
	uint64_t size;

	if (!res->snapshot_file[0])
		return 0;
	int r = read_at(dirfd, dir, f.name, 0, &b, &size, e);
	if (r < 0)
		return r;
	f.bytes = buf_str(&b);
	if (file_head_parse(f.bytes, FILE_SNAPSHOT, &res->snapshot, &why) < 0)
		return damaged(&f, 0, why, e);
	res->have_snapshot = true;
	r = v->snapshot ? v->snapshot(v->arg, f.name, &res->snapshot) : 0;
	if (r < 0)
		return visit_error(&f, 0, r, e);
	return scan_snapshot(&f, &res->snapshot, v, e);
}

static int load_heads(int dirfd, const char *dir, struct scan_result *res, struct err *e)
{
	for (size_t i = 0; i < res->n_segs; i++) {
		struct scan_segment *s = &res->segs[i];
		AUTO_BUF struct buf b = {0};
		char name[32];
		const char *why = NULL;
		segment_name(s->seq, name);
		int r = read_at(dirfd, dir, name, FILE_HEAD_LEN, &b, &s->size, e);
		if (r < 0)
			return r;
		struct scan_file f = {.dir = dir, .name = name, .bytes = buf_str(&b)};
		if (file_head_parse(f.bytes, FILE_WAL, &s->head, &why) < 0)
			return damaged(&f, 0, why, e);
		if (s->head.seq != s->seq)
			return damaged(&f, 0, "the header belongs to another segment", e);
		if (i > 0 && s->head.prev_end < FILE_HEAD_LEN)
			return damaged(&f, 0, "the header names no end of the segment before", e);
	}
	return 0;
}

static int load_segment(int dirfd, const char *dir, size_t i, const struct scan_visitor *v,
	struct scan_result *res, struct err *e)
{
	AUTO_BUF struct buf b = {0};
	struct scan_segment *s = &res->segs[i];
	uint64_t limit = i + 1 < res->n_segs ? s[1].head.prev_end : 0, size;
	uint64_t covered = res->have_snapshot ? res->snapshot.frame : 0;
	char name[32];

	segment_name(s->seq, name);
	int r = read_at(dirfd, dir, name, (size_t)limit, &b, &size, e);
	if (r < 0)
		return r;
	struct scan_file f = {.dir = dir, .name = name, .bytes = buf_str(&b)};
	if (i == 0 && s->head.frame > covered + 1)
		return damaged(&f, 0, "the log before this segment is missing", e);
	if (i == 0)
		res->next_frame = s->head.frame;
	if (s->head.frame != res->next_frame)
		return damaged(&f, 0, "the segment does not continue the one before", e);
	r = v->segment ? v->segment(v->arg, name, &s->head) : 0;
	if (r < 0)
		return visit_error(&f, 0, r, e);
	return scan_frames(&f, s, limit, covered, v, res, e);
}

int store_scan(int dirfd, const char *dir, const struct scan_visitor *v, struct scan_result *ret,
	struct err *e)
{
	struct scan_result res = {.next_frame = 1};
	int r = scan_names(dirfd, dir, &res, e);

	if (r == 0)
		r = load_heads(dirfd, dir, &res, e);
	if (r == 0)
		r = load_snapshot(dirfd, dir, v, &res, e);
	for (size_t i = 0; i < res.n_segs && r == 0; i++)
		r = load_segment(dirfd, dir, i, v, &res, e);
	if (r == 0 && res.have_snapshot && res.next_frame <= res.snapshot.frame) {
		if (res.n_segs > 0) {
			struct scan_file f = {.dir = dir, .name = res.snapshot_file};
			r = damaged(&f, 0, "the log ends before the snapshot was taken", e);
		}
		res.next_frame = res.snapshot.frame + 1;
	}
	if (r < 0) {
		scan_result_free(&res);
		return r;
	}
	*ret = res;
	return 0;
}

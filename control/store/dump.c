/* SPDX-License-Identifier: Apache-2.0
 * The decoder behind `xebec store dump` and `xebec store check`. Reads only. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "store/embedded.h"

struct dump {
	FILE *out;
	size_t max_value;
};

static void put_escaped(FILE *out, struct str s, size_t max)
{
	size_t n = s.n > max ? max : s.n;

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		if (c == '\\' || c < 0x20 || c == 0x7f)
			(void)fprintf(out, "\\x%02x", c);
		else
			(void)fputc(c, out);
	}
	if (n < s.n)
		(void)fprintf(out, "... (%zu bytes)", s.n);
}

static void dump_record(const struct dump *d, const struct record *r)
{
	(void)fprintf(d->out, "    %-12s", record_type_name(r->type));
	switch (r->type) {
	case REC_PUT:
		(void)fprintf(d->out, " rev=%ju create=%ju version=%ju lease=%ju ",
			(uintmax_t)r->rev, (uintmax_t)r->create_rev, (uintmax_t)r->version,
			(uintmax_t)r->lease);
		put_escaped(d->out, r->key, SIZE_MAX);
		(void)fputs(" = ", d->out);
		put_escaped(d->out, r->value, d->max_value);
		break;
	case REC_DEL:
		(void)fprintf(d->out, " rev=%ju ", (uintmax_t)r->rev);
		put_escaped(d->out, r->key, SIZE_MAX);
		break;
	case REC_COMPACT:
		(void)fprintf(d->out, " rev=%ju", (uintmax_t)r->rev);
		break;
	case REC_LEASE:
		(void)fprintf(d->out, " id=%ju ttl=%jds", (uintmax_t)r->lease, (intmax_t)r->ttl);
		break;
	case REC_UNLEASE:
		(void)fprintf(d->out, " id=%ju", (uintmax_t)r->lease);
		break;
	default:
		break;
	}
	(void)fputc('\n', d->out);
}

static int on_snapshot(void *arg, const char *file, const struct file_head *h)
{
	(void)fprintf(((struct dump *)arg)->out,
		"%s: snapshot after frame %ju, revision %ju, compacted %ju, last lease %ju\n", file,
		(uintmax_t)h->frame, (uintmax_t)h->rev, (uintmax_t)h->compact_rev,
		(uintmax_t)h->last_lease);
	return 0;
}

static int on_snapshot_record(void *arg, uint64_t off, const struct record *r)
{
	(void)off;
	dump_record(arg, r);
	return 0;
}

static int on_segment(void *arg, const char *file, const struct file_head *h)
{
	(void)fprintf(((struct dump *)arg)->out,
		"%s: segment %ju from frame %ju, the one before ends at %ju\n", file,
		(uintmax_t)h->seq, (uintmax_t)h->frame, (uintmax_t)h->prev_end);
	return 0;
}

static int on_frame(void *arg, uint64_t off, const struct frame *f, bool done)
{
	(void)fprintf(((struct dump *)arg)->out, "  offset %ju: frame %ju, %zu bytes%s\n",
		(uintmax_t)off, (uintmax_t)f->seq, f->payload.n, done ? " (in the snapshot)" : "");
	return 0;
}

static int on_record(void *arg, uint64_t off, const struct frame *f, const struct record *r)
{
	(void)off;
	(void)f;
	dump_record(arg, r);
	return 0;
}

static int scan_dir(const char *dir, const struct scan_visitor *v, FILE *out, struct err *e)
{
	struct scan_result res;
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, errno, NULL, "%s: %s", dir, strerror(errno));
	int r = store_scan(fd, dir, v, &res, e);
	if (r < 0)
		return r;
	if (!res.have_snapshot && res.n_segs == 0)
		r = err_set(e, ENOENT, NULL, "%s: there is no store in this directory", dir);
	else
		(void)fprintf(out, "%zu segments, next frame %ju%s\n", res.n_segs,
			(uintmax_t)res.next_frame,
			res.torn ? "; the last frame was cut off (it was never acknowledged)" : "");
	scan_result_free(&res);
	return r;
}

int store_dump(const char *dir, size_t max_value, FILE *out, struct err *e)
{
	struct dump d = {.out = out, .max_value = max_value};
	struct scan_visitor v = {.arg = &d,
		.snapshot = on_snapshot,
		.snapshot_record = on_snapshot_record,
		.segment = on_segment,
		.frame = on_frame,
		.record = on_record};

	return scan_dir(dir, &v, out, e);
}

int store_check(const char *dir, FILE *out, struct err *e)
{
	struct recovery rec = {0};
	struct scan_visitor v = recovery_visitor;
	int r = engine_new(NULL, &rec.en, e);

	if (r < 0)
		return r;
	v.arg = &rec;
	r = scan_dir(dir, &v, out, e);
	if (r == 0)
		(void)fprintf(out,
			"ok: revision %ju, compacted %ju, %zu keys, %ju bytes, %zu leases\n",
			(uintmax_t)rec.en->index.rev, (uintmax_t)rec.en->index.compact_rev,
			rec.en->index.keys, (uintmax_t)rec.en->index.bytes,
			htab_len(rec.en->leases.by_id));
	recovery_fini(&rec);
	engine_free(rec.en);
	return r;
}

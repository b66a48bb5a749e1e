/* SPDX-License-Identifier: Apache-2.0
 * The store's decoders. Byte 0 chooses: any bytes as a segment, as a snapshot, or as records inside
 * a frame with good checksums, replayed into an index. Whatever is accepted must be encoded again
 * to the same bytes. */
#include "store/embedded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void again_the_same(struct str in)
{
	AUTO_BUF struct buf out = {0};
	struct str rest = in;
	struct record r;

	while (record_next(&rest, &r) == 1)
		record_add(&out, &r);
	struct str back = buf_str(&out);
	struct record a, b;
	rest = in;
	while (record_next(&rest, &a) == 1)
		if (record_next(&back, &b) != 1 || a.type != b.type || a.rev != b.rev ||
			!str_eq(a.key, b.key) || !str_eq(a.value, b.value))
			abort();
}

/* A whole file around a payload. */
static void wrap(struct buf *file, enum file_kind kind, struct str payload, uint64_t rev)
{
	char head[FILE_HEAD_LEN];
	struct file_head h = {.kind = kind, .salt = 1, .seq = 1, .frame = 1, .rev = rev};

	file_head_write(head, &h);
	buf_add(file, head, sizeof(head));
	frame_add(file, h.salt, 1, payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	AUTO_BUF struct buf file = {0};
	struct recovery rec = {0};
	struct scan_visitor v = recovery_visitor;
	struct scan_result res = {.next_frame = 1};
	struct scan_segment seg = {0};
	struct err e;
	const char *why;

	if (size < 2 || engine_new(NULL, &rec.en, NULL) < 0)
		return 0;
	v.arg = &rec;
	struct str in = {.p = (const char *)data + 2, .n = size - 2};
	enum file_kind kind = data[0] & 1 ? FILE_SNAPSHOT : FILE_WAL;
	if (data[0] & 2) {
		again_the_same(in);
		wrap(&file, kind, in, data[1]);
	} else {
		buf_add(&file, in.p, in.n);
	}
	struct scan_file f = {.dir = "fuzz", .name = "file", .bytes = buf_str(&file)};
	if (file_head_parse(f.bytes, kind, &seg.head, &why) == 0) {
		if (kind == FILE_WAL)
			(void)scan_frames(&f, &seg, 0, 0, &v, &res, &e);
		else if (v.snapshot(v.arg, "file", &seg.head) == 0)
			(void)scan_snapshot(&f, &seg.head, &v, &e);
	}
	recovery_fini(&rec);
	engine_free(rec.en);
	return 0;
}

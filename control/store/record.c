/* SPDX-License-Identifier: Apache-2.0
 * Records, frames and file headers, both ways. */
#include <errno.h>
#include "store/crc32c.h"
#include "store/record.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little-endian");

/* What follows a record's 8-byte head, by type: that many 64-bit words, then (when it has a key)
 * two 32-bit lengths, the key, the value. */
static const struct {
	const char *name;
	uint8_t words;
	bool key;
} layouts[REC_TYPES] = {
	[REC_PUT] = {"put", 4, true},
	[REC_DEL] = {"del", 1, true},
	[REC_COMPACT] = {"compact", 1, false},
	[REC_LEASE] = {"lease", 2, false},
	[REC_UNLEASE] = {"unlease", 1, false},
	[REC_CLOSE] = {"close", 0, false},
	[REC_SNAP_END] = {"snapshot-end", 1, false},
};

struct rec_head {
	uint32_t len; /* of the whole record without padding */
	uint8_t type, zero[3];
};
struct frame_head {
	uint32_t magic, len;
	uint64_t seq;
	uint32_t crc;	   /* of salt and payload with padding */
	uint32_t head_crc; /* of salt and the fields before */
};
_Static_assert(sizeof(struct rec_head) == 8, "record head");
_Static_assert(sizeof(struct frame_head) == FRAME_HEAD_LEN, "frame head");

static size_t pad8(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

const char *record_type_name(uint8_t type)
{
	return type > 0 && type < REC_TYPES ? layouts[type].name : "unknown";
}

static void record_words(const struct record *r, uint64_t w[static 4])
{
	switch (r->type) {
	case REC_PUT:
		w[1] = r->create_rev;
		w[2] = r->version;
		w[3] = r->lease;
		/* fallthrough */
	case REC_DEL:
	case REC_COMPACT:
		w[0] = r->rev;
		break;
	case REC_LEASE:
		w[1] = (uint64_t)r->ttl;
		/* fallthrough */
	case REC_UNLEASE:
		w[0] = r->lease;
		break;
	default:
		w[0] = r->version;
	}
}

static void record_from_words(struct record *r, const uint64_t w[static 4])
{
	switch (r->type) {
	case REC_PUT:
		r->create_rev = w[1];
		r->version = w[2];
		r->lease = w[3];
		/* fallthrough */
	case REC_DEL:
	case REC_COMPACT:
		r->rev = w[0];
		break;
	case REC_LEASE:
		r->ttl = (int64_t)w[1];
		/* fallthrough */
	case REC_UNLEASE:
		r->lease = w[0];
		break;
	default:
		r->version = w[0];
	}
}

void record_add(struct buf *out, const struct record *r)
{
	static const char zeros[8];
	uint64_t w[4] = {0};
	size_t words = layouts[r->type].words * sizeof(uint64_t);
	size_t n = sizeof(struct rec_head) + words;
	uint32_t lens[2] = {(uint32_t)r->key.n, (uint32_t)r->value.n};

	if (layouts[r->type].key)
		n += sizeof(lens) + r->key.n + r->value.n;
	struct rec_head h = {.len = (uint32_t)n, .type = r->type};
	record_words(r, w);
	buf_add(out, &h, sizeof(h));
	buf_add(out, w, words);
	if (layouts[r->type].key) {
		buf_add(out, lens, sizeof(lens));
		buf_add(out, r->key.p, r->key.n);
		buf_add(out, r->value.p, r->value.n);
	}
	buf_add(out, zeros, pad8(n) - n);
}

static int record_key(struct str body, struct record *r)
{
	uint32_t lens[2];

	if (body.n < sizeof(lens))
		return -EBADMSG;
	memcpy(lens, body.p, sizeof(lens));
	if ((uint64_t)lens[0] + lens[1] != body.n - sizeof(lens) || lens[0] == 0)
		return -EBADMSG;
	if (r->type == REC_DEL && lens[1] != 0)
		return -EBADMSG;
	r->key = (struct str){.p = body.p + sizeof(lens), .n = lens[0]};
	r->value = (struct str){.p = r->key.p + lens[0], .n = lens[1]};
	return 0;
}

int record_next(struct str *in, struct record *ret)
{
	struct rec_head h;
	struct record r = {0};
	uint64_t w[4] = {0};

	if (in->n == 0)
		return 0;
	if (in->n < sizeof(h))
		return -EBADMSG;
	memcpy(&h, in->p, sizeof(h));
	if (h.type == 0 || h.type >= REC_TYPES || h.len > in->n || pad8(h.len) > in->n)
		return -EBADMSG;
	size_t words = layouts[h.type].words * sizeof(uint64_t);
	if (h.len < sizeof(h) + words || h.zero[0] || h.zero[1] || h.zero[2])
		return -EBADMSG;
	memcpy(w, in->p + sizeof(h), words);
	r.type = h.type;
	record_from_words(&r, w);
	struct str body = {.p = in->p + sizeof(h) + words, .n = h.len - sizeof(h) - words};
	if (layouts[h.type].key ? record_key(body, &r) < 0 : body.n != 0)
		return -EBADMSG;
	in->p += pad8(h.len);
	in->n -= pad8(h.len);
	*ret = r;
	return 1;
}

size_t frame_size(size_t payload_len)
{
	return FRAME_HEAD_LEN + pad8(payload_len);
}

static uint32_t head_crc(uint64_t salt, const struct frame_head *h)
{
	return crc32c(crc32c(0, &salt, sizeof(salt)), h, offsetof(struct frame_head, head_crc));
}

static uint32_t payload_crc(uint64_t salt, const char *p, size_t n)
{
	return crc32c(crc32c(0, &salt, sizeof(salt)), p, n);
}

void frame_seal(char *head, uint64_t salt, uint64_t seq, size_t payload_len)
{
	struct frame_head h = {.magic = FRAME_MAGIC, .len = (uint32_t)payload_len, .seq = seq};

	h.crc = payload_crc(salt, head + sizeof(h), pad8(payload_len));
	h.head_crc = head_crc(salt, &h);
	memcpy(head, &h, sizeof(h));
}

void frame_add(struct buf *out, uint64_t salt, uint64_t seq, struct str payload)
{
	static const char zeros[FRAME_HEAD_LEN];
	size_t at = out->len;

	buf_add(out, zeros, FRAME_HEAD_LEN);
	buf_add(out, payload.p, payload.n);
	buf_add(out, zeros, pad8(payload.n) - payload.n);
	if (out->err == 0)
		frame_seal(out->p + at, salt, seq, payload.n);
}

int frame_parse(struct str in, uint64_t salt, struct frame *ret)
{
	struct frame_head h;

	if (in.n == 0)
		return 0;
	if (in.n < sizeof(h))
		return -EBADMSG;
	memcpy(&h, in.p, sizeof(h));
	if (h.magic != FRAME_MAGIC || h.len > FRAME_MAX || h.head_crc != head_crc(salt, &h))
		return -EBADMSG;
	if (frame_size(h.len) > in.n)
		return -EBADMSG;
	if (h.crc != payload_crc(salt, in.p + sizeof(h), pad8(h.len)))
		return -EBADMSG;
	*ret = (struct frame){.seq = h.seq,
		.payload = {.p = in.p + sizeof(h), .n = h.len},
		.size = frame_size(h.len)};
	return 1;
}

size_t frame_find(struct str in, size_t from, uint64_t salt, struct frame *ret)
{
	for (size_t at = pad8(from); at + FRAME_HEAD_LEN <= in.n; at += 8) {
		uint32_t magic;
		memcpy(&magic, in.p + at, sizeof(magic));
		if (magic != FRAME_MAGIC)
			continue;
		if (frame_parse((struct str){.p = in.p + at, .n = in.n - at}, salt, ret) == 1)
			return at;
	}
	return in.n;
}

static const char file_magic[][8] = {
	[FILE_WAL] = {'X', 'E', 'B', 'E', 'C', 'W', 'A', 'L'},
	[FILE_SNAPSHOT] = {'X', 'E', 'B', 'E', 'C', 'S', 'N', 'P'},
};
struct disk_head {
	char magic[8];
	uint32_t format, len; /* len = FILE_HEAD_LEN */
	uint64_t salt, seq, frame, prev_end, rev, compact_rev, last_lease;
};

static uint32_t whole_head_crc(const char *head)
{
	return crc32c(0, head, FILE_HEAD_LEN - sizeof(uint32_t));
}

void file_head_write(char out[static FILE_HEAD_LEN], const struct file_head *h)
{
	struct disk_head d = {.format = STORE_FORMAT,
		.len = FILE_HEAD_LEN,
		.salt = h->salt,
		.seq = h->seq,
		.frame = h->frame,
		.prev_end = h->prev_end,
		.rev = h->rev,
		.compact_rev = h->compact_rev,
		.last_lease = h->last_lease};

	memcpy(d.magic, file_magic[h->kind], sizeof(d.magic));
	memset(out, 0, FILE_HEAD_LEN);
	memcpy(out, &d, sizeof(d));
	uint32_t crc = whole_head_crc(out);
	memcpy(out + FILE_HEAD_LEN - sizeof(crc), &crc, sizeof(crc));
}

int file_head_parse(
	struct str file, enum file_kind kind, struct file_head *ret, const char **ret_why)
{
	struct disk_head d;
	uint32_t crc;

	if (file.n < FILE_HEAD_LEN)
		return *ret_why = "the file is shorter than its header", -EBADMSG;
	memcpy(&d, file.p, sizeof(d));
	memcpy(&crc, file.p + FILE_HEAD_LEN - sizeof(crc), sizeof(crc));
	if (memcmp(d.magic, file_magic[kind], sizeof(d.magic)) != 0)
		return *ret_why = "the header's magic is wrong", -EBADMSG;
	if (crc != whole_head_crc(file.p))
		return *ret_why = "the header fails its checksum", -EBADMSG;
	if (d.format != STORE_FORMAT || d.len != FILE_HEAD_LEN)
		return *ret_why = "written by another version of the format", -EBADMSG;
	*ret = (struct file_head){.kind = kind,
		.salt = d.salt,
		.seq = d.seq,
		.frame = d.frame,
		.prev_end = d.prev_end,
		.rev = d.rev,
		.compact_rev = d.compact_rev,
		.last_lease = d.last_lease};
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Trees to protobuf messages, driven by the schema. What is not in the tree is not written:
 * Kubernetes' readers take absent as zero. */
#include <errno.h>
#include "api/codec.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

static void put_varint(struct buf *out, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		buf_addc(out, (char)(v | 0x80));
	buf_addc(out, (char)v);
}

static void put_key(struct buf *out, unsigned number, unsigned wire)
{
	put_varint(out, (uint64_t)number << 3 | wire);
}

static void put_text(struct buf *out, unsigned number, const char *p, size_t n)
{
	put_key(out, number, 2);
	put_varint(out, n);
	buf_add(out, p, n);
}

static void put_number(struct buf *out, unsigned number, int64_t v)
{
	put_key(out, number, 0);
	put_varint(out, (uint64_t)v);
}

/* A message is written in place behind one length byte, which is widened at the end if need be. */
static size_t open_message(struct buf *out, unsigned number)
{
	put_key(out, number, 2);
	buf_addc(out, 0);
	return out->len;
}

static void close_message(struct buf *out, size_t start)
{
	char size[10];
	size_t n = 0, len = out->len - start;
	if (out->err)
		return;
	for (uint64_t v = len; v >= 0x80; v >>= 7)
		size[n++] = (char)(v | 0x80);
	size[n] = (char)(len >> 7 * n);
	if (n && buf_reserve(out, n) != 0)
		return;
	if (n) {
		memmove(out->p + start + n, out->p + start, len);
		out->len += n;
		out->p[out->len] = 0;
	}
	memcpy(out->p + start - 1, size, n + 1);
}

static int put_message(const struct type *t, const json_t *o, struct buf *out, unsigned depth);

/* --- Kubernetes' scalar messages --- */
static void put_quantity(struct buf *out, unsigned number, const json_t *v)
{
	size_t at = open_message(out, number);
	put_text(out, 1, json_string_value(v), json_string_length(v));
	close_message(out, at);
}

static void put_intstr(struct buf *out, unsigned number, const json_t *v)
{
	size_t at = open_message(out, number);
	put_number(out, 1, json_is_string(v));
	put_number(out, 2, json_integer_value(v));
	put_text(out, 3, json_is_string(v) ? json_string_value(v) : "", json_string_length(v));
	close_message(out, at);
}

static int put_time(struct buf *out, unsigned number, const json_t *v, bool micro)
{
	int64_t ns;
	int r = time_parse(str_of(json_string_value(v)), &ns);
	if (r != 0)
		return r;
	int64_t sec = ns / NS_PER_SEC, rest = ns % NS_PER_SEC;
	if (rest < 0) {
		sec--;
		rest += NS_PER_SEC;
	}
	size_t at = open_message(out, number);
	put_number(out, 1, sec);
	put_number(out, 2, micro ? rest : 0);
	close_message(out, at);
	return 0;
}

static void put_any(struct buf *out, unsigned number, const json_t *v)
{
	AUTO_BUF struct buf text = {0};
	json_write(v, &text);
	size_t at = open_message(out, number);
	put_text(out, 1, text.p ? text.p : "", text.len);
	close_message(out, at);
}

static int put_bytes(struct buf *out, unsigned number, const json_t *v)
{
	AUTO_BUF struct buf raw = {0};
	if (json_string_length(v) && base64_decode(str_of(json_string_value(v)), &raw) != 0)
		return -EINVAL;
	put_text(out, number, raw.p ? raw.p : "", raw.len);
	return raw.err;
}

static int put_schema(
	struct buf *out, unsigned number, const struct field *f, const json_t *v, unsigned depth)
{
	size_t at = open_message(out, number);
	int r = put_message(f->type, v, out, depth);
	close_message(out, at);
	return r;
}

static int put_union(
	struct buf *out, unsigned number, const struct field *f, const json_t *v, unsigned depth)
{
	size_t at = open_message(out, number), i;
	json_t *e;
	int r = 0;
	if (json_is_object(v) && f->kind == F_SCHEMA_OR_BOOL) {
		put_number(out, 1, 1);
		r = put_schema(out, 2, f, v, depth);
	} else if (json_is_object(v)) {
		r = put_schema(out, 1, f, v, depth);
	} else if (json_is_boolean(v)) {
		put_number(out, 1, json_is_true(v));
	} else {
		json_array_foreach ((json_t *)(uintptr_t)v, i, e) {
			if (json_is_string(e))
				put_text(out, 2, json_string_value(e), json_string_length(e));
			else if (r == 0)
				r = put_schema(out, 2, f, e, depth);
		}
	}
	close_message(out, at);
	return r;
}

/* --- fields --- */
static void put_double(struct buf *out, unsigned number, const json_t *v)
{
	double d = json_number_value(v);
	uint64_t bits;
	memcpy(&bits, &d, sizeof(bits));
	put_key(out, number, 1);
	for (int i = 0; i < 8; i++)
		buf_addc(out, (char)(bits >> 8 * i));
}

static int put_structured(
	struct buf *out, unsigned number, const struct field *f, const json_t *v, unsigned depth)
{
	if (f->kind == F_ANY) {
		put_any(out, number, v);
		return 0;
	}
	if (f->kind != F_OBJECT)
		return put_union(out, number, f, v, depth);
	if (!json_is_object(v))
		return -EINVAL;
	return put_schema(out, number, f, v, depth);
}

static int put_stringy(struct buf *out, unsigned number, const struct field *f, const json_t *v)
{
	if (!json_is_string(v))
		return -EINVAL;
	if (f->kind == F_BYTES)
		return put_bytes(out, number, v);
	if (f->kind == F_QUANTITY)
		put_quantity(out, number, v);
	else if (f->kind == F_STRING)
		put_text(out, number, json_string_value(v), json_string_length(v));
	else
		return put_time(out, number, v, f->kind == F_MICRO_TIME);
	return 0;
}

static int put_value(
	struct buf *out, unsigned number, const struct field *f, const json_t *v, unsigned depth)
{
	switch (f->kind) {
	case F_BOOL:
		put_number(out, number, json_is_true(v));
		return json_is_boolean(v) ? 0 : -EINVAL;
	case F_INT32:
	case F_INT64:
		put_number(out, number, json_integer_value(v));
		return json_is_integer(v) ? 0 : -EINVAL;
	case F_DOUBLE:
		put_double(out, number, v);
		return json_is_number(v) ? 0 : -EINVAL;
	case F_INT_OR_STRING:
		put_intstr(out, number, v);
		return json_is_string(v) || json_is_integer(v) ? 0 : -EINVAL;
	case F_STRING:
	case F_BYTES:
	case F_QUANTITY:
	case F_TIME:
	case F_MICRO_TIME:
		return put_stringy(out, number, f, v);
	default:
		return put_structured(out, number, f, v, depth);
	}
}

static int put_map(struct buf *out, const struct field *f, const json_t *map, unsigned depth)
{
	const char *key;
	json_t *v, *s;
	size_t i;
	if (!json_is_object(map))
		return -EINVAL;
	json_object_foreach ((json_t *)(uintptr_t)map, key, v) {
		size_t at = open_message(out, f->pb);
		int r = 0;
		put_text(out, 1, key, strlen(key));
		if (f->shape == SHAPE_MAP_OF_LISTS) {
			size_t in = open_message(out, 2);
			json_array_foreach (v, i, s)
				put_text(out, 1, json_string_value(s), json_string_length(s));
			close_message(out, in);
		} else if (!json_is_null(v)) {
			r = put_value(out, 2, f, v, depth);
		}
		close_message(out, at);
		if (r != 0)
			return r;
	}
	return 0;
}

static int put_list(struct buf *out, const struct field *f, const json_t *list, unsigned depth)
{
	size_t i;
	json_t *v;
	if (!json_is_array(list))
		return -EINVAL;
	json_array_foreach ((json_t *)(uintptr_t)list, i, v) {
		int r = put_value(out, f->pb, f, v, depth);
		if (r != 0)
			return r;
	}
	return 0;
}

static int put_field(struct buf *out, const struct field *f, const json_t *o, unsigned depth)
{
	const json_t *v = json_object_get(o, f->name);
	if (!v || json_is_null(v))
		return 0;
	if (f->shape == SHAPE_ONE)
		return put_value(out, f->pb, f, v, depth);
	return f->shape == SHAPE_LIST ? put_list(out, f, v, depth) : put_map(out, f, v, depth);
}

static int put_message(const struct type *t, const json_t *o, struct buf *out, unsigned depth)
{
	int r = 0;
	if (depth > CODEC_DEPTH || !json_is_object(o))
		return -EINVAL;
	for (size_t i = 0; r == 0 && i < t->n_fields; i++)
		if (t->fields[i].pb)
			r = put_field(out, &t->fields[i], o, depth + 1);
	for (size_t i = 0; r == 0 && i < t->n_embeds; i++) {
		size_t at = open_message(out, t->embeds[i].pb);
		r = put_message(t->embeds[i].type, o, out, depth + 1);
		close_message(out, at);
	}
	return r ? r : out->err;
}

int api_encode_pb(const struct type *t, const json_t *obj, struct buf *out)
{
	return put_message(t, obj, out, 0);
}

int api_encode_pb_envelope(const struct type *t, const char *api_version, const char *kind,
	const json_t *obj, struct buf *out)
{
	buf_add(out, "k8s", 4);
	size_t at = open_message(out, 1);
	put_text(out, 1, api_version, strlen(api_version));
	put_text(out, 2, kind, strlen(kind));
	close_message(out, at);
	at = open_message(out, 2);
	int r = put_message(t, obj, out, 0);
	close_message(out, at);
	put_text(out, 3, "", 0);
	put_text(out, 4, "", 0);
	return r ? r : out->err;
}

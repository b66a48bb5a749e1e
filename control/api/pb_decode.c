/* SPDX-License-Identifier: Apache-2.0
 * Protobuf messages to trees, driven by the schema
 * (https://protobuf.dev/programming-guides/encoding). Kubernetes' own messages (Quantity, Time,
 * IntOrString, RawExtension) become their JSON forms, and zeros that Go's JSON encoder would leave
 * out are left out. */
#include <errno.h>
#include "api/codec.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

enum wire { W_VARINT = 0, W_FIXED64 = 1, W_BYTES = 2, W_FIXED32 = 5 };

struct pb { /* one message being read */
	const char *p, *end;
	struct err *e;
	unsigned depth;
};
struct pb_field { /* one field as it stands on the wire */
	uint32_t number;
	enum wire wire;
	uint64_t value;	  /* varint, fixed */
	struct str bytes; /* W_BYTES */
};

static int broken(struct pb *m, const char *what)
{
	return err_set(m->e, EBADMSG, "BadRequest", "protobuf: %s", what);
}

static int get_varint(struct pb *m, uint64_t *ret)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (m->p == m->end)
			return broken(m, "unexpected end of the message");
		unsigned char c = (unsigned char)*m->p++;
		v |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80)) {
			*ret = v;
			return 0;
		}
	}
	return broken(m, "integer overflow");
}

static int get_fixed(struct pb *m, size_t n, uint64_t *ret)
{
	uint64_t v = 0;
	if ((size_t)(m->end - m->p) < n)
		return broken(m, "unexpected end of the message");
	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)(unsigned char)m->p[i] << 8 * i;
	m->p += n;
	*ret = v;
	return 0;
}

static int get_bytes(struct pb *m, struct str *ret)
{
	uint64_t n;
	int r = get_varint(m, &n);
	if (r != 0)
		return r;
	if (n > (uint64_t)(m->end - m->p))
		return broken(m, "a length goes beyond the message");
	*ret = (struct str){.p = m->p, .n = (size_t)n};
	m->p += n;
	return 0;
}

/* 1 and the next field, 0 at the end. */
static int next_field(struct pb *m, struct pb_field *f)
{
	uint64_t key;
	if (m->p == m->end)
		return 0;
	int r = get_varint(m, &key);
	if (r != 0)
		return r;
	*f = (struct pb_field){.number = (uint32_t)(key >> 3), .wire = (enum wire)(key & 7)};
	if (key >> 3 == 0 || key >> 3 > 0x1fffffff)
		return broken(m, "illegal field number");
	if (f->wire == W_VARINT)
		r = get_varint(m, &f->value);
	else if (f->wire == W_FIXED64)
		r = get_fixed(m, 8, &f->value);
	else if (f->wire == W_FIXED32)
		r = get_fixed(m, 4, &f->value);
	else if (f->wire == W_BYTES)
		r = get_bytes(m, &f->bytes);
	else
		r = broken(m, "illegal wire type");
	return r == 0 ? 1 : r;
}

static struct pb inside(const struct pb *m, struct str bytes)
{
	return (struct pb){.p = bytes.p,
		.end = bytes.p ? bytes.p + bytes.n : NULL,
		.e = m->e,
		.depth = m->depth + 1};
}

/* --- Kubernetes' scalar messages --- */
static int quantity_json(struct pb *m, struct str bytes, json_t **ret)
{
	struct pb in = inside(m, bytes);
	struct pb_field f;
	struct str text = {0};
	AUTO_BUF struct buf q = {0};
	int r;
	while ((r = next_field(&in, &f)) > 0)
		if (f.number == 1 && f.wire == W_BYTES)
			text = f.bytes;
	if (r < 0)
		return r;
	if (quantity_canonical(text.n ? text : STR("0"), &q) != 0)
		return broken(m, "malformed quantity");
	*ret = json_stringn_nocheck(q.p, q.len);
	return 0;
}

static int intstr_json(struct pb *m, struct str bytes, json_t **ret)
{
	struct pb in = inside(m, bytes);
	struct pb_field f;
	struct str text = {0};
	uint64_t kind = 0, number = 0;
	int r;
	while ((r = next_field(&in, &f)) > 0) {
		if (f.number == 1 && f.wire == W_VARINT)
			kind = f.value;
		else if (f.number == 2 && f.wire == W_VARINT)
			number = f.value;
		else if (f.number == 3 && f.wire == W_BYTES)
			text = f.bytes;
	}
	if (r < 0)
		return r;
	*ret = kind == 1 ? json_text(text) : json_integer((int32_t)(uint32_t)number);
	return *ret ? 0 : broken(m, "string with a NUL character");
}

/* An empty message is Go's zero time: null. */
static int time_json(struct pb *m, struct str bytes, bool micro, json_t **ret)
{
	struct pb in = inside(m, bytes);
	struct pb_field f;
	uint64_t sec = 0, nano = 0;
	char text[28];
	int r;
	if (bytes.n == 0)
		return 0;
	while ((r = next_field(&in, &f)) > 0) {
		if (f.number == 1 && f.wire == W_VARINT)
			sec = f.value;
		else if (f.number == 2 && f.wire == W_VARINT)
			nano = f.value;
	}
	if (r < 0)
		return r;
	int64_t s = (int64_t)sec, n = (int64_t)nano;
	if (s < -9000000000LL || s > 9000000000LL || n < 0 || n > 999999999)
		return broken(m, "time out of range");
	if (micro)
		time_rfc3339_micro(s * NS_PER_SEC + n, text);
	else
		time_rfc3339(s * NS_PER_SEC, text);
	*ret = json_string(text);
	return 0;
}

/* RawExtension, JSON and FieldsV1: message {1: JSON bytes}. */
static int any_json(struct pb *m, struct str bytes, json_t **ret)
{
	struct pb in = inside(m, bytes);
	struct pb_field f;
	struct str text = {0};
	int r;
	while ((r = next_field(&in, &f)) > 0)
		if (f.number == 1 && f.wire == W_BYTES)
			text = f.bytes;
	if (r < 0 || text.n == 0)
		return r;
	struct lex l = {.start = text.p, .p = text.p, .end = text.p + text.n, .depth = m->depth};
	json_t *v = NULL;
	r = lex_any(&l, &v);
	if (r == 0 && lex_peek(&l) >= 0)
		r = -EINVAL;
	if (r != 0) {
		json_decref(v);
		return broken(m, "embedded JSON is malformed");
	}
	*ret = v;
	return 0;
}

static int struct_json(struct pb *m, const struct type *t, struct str bytes, json_t **ret);

/* JSONSchemaPropsOr...: {1: schema or allows, 2: schema, schemas or strings}. */
static int union_json(struct pb *m, const struct field *def, struct str bytes, json_t **ret)
{
	struct pb in = inside(m, bytes);
	struct pb_field f;
	AUTO_JSON json_t *one = NULL, *list = json_array();
	int r;
	while ((r = next_field(&in, &f)) > 0) {
		json_t *v = NULL;
		bool schema =
			f.wire == W_BYTES &&
			(f.number == 1 || (f.number == 2 && def->kind != F_SCHEMA_OR_STRINGS));
		if (schema)
			r = struct_json(&in, def->type, f.bytes, &v);
		else if (f.number == 2 && f.wire == W_BYTES)
			v = json_text(f.bytes);
		else if (f.number == 1 && f.wire == W_VARINT && !one)
			one = json_boolean(f.value != 0);
		if (r < 0)
			return r;
		if (v && f.number == 2 && def->kind != F_SCHEMA_OR_BOOL) {
			(void)json_array_append_new(list, v);
		} else if (v) {
			json_decref(one);
			one = v;
		}
	}
	if (r < 0)
		return r;
	bool take_list = json_array_size(list) > 0;
	*ret = take_list ? STEAL(list) : STEAL(one);
	return 0;
}

/* --- fields --- */
static bool wire_fits(const struct field *f, enum wire w)
{
	switch (f->kind) {
	case F_BOOL:
	case F_INT32:
	case F_INT64:
		return w == W_VARINT;
	case F_DOUBLE:
		return w == W_FIXED64;
	default:
		return w == W_BYTES;
	}
}

static json_t *number_json(const struct field *f, uint64_t v)
{
	double d;
	if (f->kind == F_BOOL)
		return json_boolean(v != 0);
	if (f->kind == F_INT32)
		return json_integer((int32_t)(uint32_t)v);
	if (f->kind == F_INT64)
		return json_integer((int64_t)v);
	memcpy(&d, &v, sizeof(d));
	return d >= -9e15 && d <= 9e15 && d == (double)(int64_t)d ? json_integer((int64_t)d)
								  : json_real(d);
}

/* One value of the field's kind; *ret stays NULL for nothing. */
static int value_json(struct pb *m, const struct field *f, const struct pb_field *w, json_t **ret)
{
	AUTO_BUF struct buf b = {0};
	if (!wire_fits(f, w->wire))
		return err_set(m->e, EBADMSG, "BadRequest",
			"protobuf: wrong wire type for field %s", f->name);
	switch (f->kind) {
	case F_STRING:
		*ret = json_text(w->bytes);
		return *ret ? 0 : broken(m, "string with a NUL character");
	case F_BYTES:
		base64_encode(w->bytes, &b);
		*ret = json_stringn_nocheck(b.p ? b.p : "", b.len);
		return *ret ? 0 : -ENOMEM;
	case F_QUANTITY:
		return quantity_json(m, w->bytes, ret);
	case F_INT_OR_STRING:
		return intstr_json(m, w->bytes, ret);
	case F_TIME:
	case F_MICRO_TIME:
		return time_json(m, w->bytes, f->kind == F_MICRO_TIME, ret);
	case F_OBJECT:
		return struct_json(m, f->type, w->bytes, ret);
	case F_ANY:
		return any_json(m, w->bytes, ret);
	case F_SCHEMA_OR_BOOL:
	case F_SCHEMA_OR_ARRAY:
	case F_SCHEMA_OR_STRINGS:
		return union_json(m, f, w->bytes, ret);
	default:
		*ret = number_json(f, w->value);
		return *ret ? 0 : broken(m, "number is not finite");
	}
}

static json_t *container(json_t *o, const struct field *f, bool list)
{
	json_t *c = json_object_get(o, f->name);
	if (c)
		return c;
	c = list ? json_array() : json_object();
	return json_object_set_new_nocheck(o, f->name, c) == 0 ? c : NULL;
}

static json_t *element_zero(const struct field *f)
{
	return f->kind == F_QUANTITY ? json_string("0")
	       : f->kind == F_OBJECT ? json_object()
				     : json_null();
}

/* Packed numbers: one length-delimited run (proto3 writers). */
static int add_packed(struct pb *m, const struct field *f, struct str bytes, json_t *list)
{
	struct pb in = inside(m, bytes);
	while (in.p < in.end) {
		uint64_t v;
		int r = f->kind == F_DOUBLE ? get_fixed(&in, 8, &v) : get_varint(&in, &v);
		if (r != 0)
			return r;
		if (json_array_append_new(list, number_json(f, v)) != 0)
			return broken(m, "number is not finite");
	}
	return 0;
}

static int add_element(struct pb *m, const struct field *f, const struct pb_field *w, json_t *o)
{
	json_t *list = container(o, f, true), *v = NULL;
	if (!list)
		return -ENOMEM;
	if (w->wire == W_BYTES && wire_fits(f, W_BYTES) == false)
		return add_packed(m, f, w->bytes, list);
	int r = value_json(m, f, w, &v);
	if (r == 0 && json_array_append_new(list, v ? v : element_zero(f)) != 0)
		r = -ENOMEM;
	return r;
}

/* ExtraValue: {1: repeated string}. */
static int strings_json(struct pb *m, struct str bytes, json_t **ret)
{
	struct pb in = inside(m, bytes);
	struct pb_field f;
	AUTO_JSON json_t *list = json_array();
	int r;
	while ((r = next_field(&in, &f)) > 0)
		if (f.number == 1 && f.wire == W_BYTES &&
			json_array_append_new(list, json_text(f.bytes)) != 0)
			return broken(m, "string with a NUL character");
	if (r == 0)
		*ret = STEAL(list);
	return r;
}

static int add_entry(struct pb *m, const struct field *f, const struct pb_field *w, json_t *o)
{
	struct pb in = inside(m, w->bytes);
	struct pb_field part,
		value = {.wire = wire_fits(f, W_VARINT) ? W_VARINT : W_BYTES, .bytes = STR("")};
	struct str key = STR("");
	json_t *map = container(o, f, false), *v = NULL;
	int r;
	if (!map || w->wire != W_BYTES)
		return map ? broken(m, "a map entry is not a message") : -ENOMEM;
	while ((r = next_field(&in, &part)) > 0) {
		if (part.number == 1 && part.wire == W_BYTES)
			key = part.bytes;
		else if (part.number == 2)
			value = part;
	}
	if (r == 0 && f->shape == SHAPE_MAP_OF_LISTS)
		r = value.wire == W_BYTES ? strings_json(m, value.bytes, &v)
					  : broken(m, "wrong wire type");
	else if (r == 0)
		r = value_json(&in, f, &value, &v);
	if (r != 0)
		return r;
	AUTO_JSON json_t *name = json_text(key);
	if (!name) {
		json_decref(v);
		return broken(m, "string with a NUL character");
	}
	if (json_object_setn_new_nocheck(map, json_string_value(name), json_string_length(name),
		    v ? v : element_zero(f)) != 0)
		return -ENOMEM;
	return 0;
}

static int set_one(struct pb *m, const struct field *f, const struct pb_field *w, json_t *o)
{
	json_t *v = NULL;
	int r = value_json(m, f, w, &v);
	if (r != 0)
		return r;
	if (!v || field_drops(f, v)) {
		json_decref(v);
		return 0;
	}
	return json_object_set_new_nocheck(o, f->name, v) == 0 ? 0 : -ENOMEM;
}

/* The row of a number; starts at *hint, since writers keep the order. */
static const struct field *field_by_number(const struct type *t, uint32_t number, size_t *hint)
{
	for (size_t i = 0; i < t->n_fields; i++) {
		size_t at = (*hint + i) % t->n_fields;
		if (t->fields[at].pb == number) {
			*hint = at;
			return &t->fields[at];
		}
	}
	return NULL;
}

static int read_message(struct pb *m, const struct type *t, json_t *o)
{
	struct pb_field w;
	size_t hint = 0;
	int r;
	if (m->depth > CODEC_DEPTH)
		return broken(m, "nested too deeply");
	while ((r = next_field(m, &w)) > 0) {
		const struct field *f = field_by_number(t, w.number, &hint);
		if (!f) {
			r = 0;
			for (size_t i = 0; r == 0 && i < t->n_embeds; i++) {
				struct pb in = inside(m, w.bytes);
				if (t->embeds[i].pb == w.number && w.wire == W_BYTES)
					r = read_message(&in, t->embeds[i].type, o);
			}
		} else if (f->shape == SHAPE_LIST) {
			r = add_element(m, f, &w, o);
		} else if (f->shape == SHAPE_ONE) {
			r = set_one(m, f, &w, o);
		} else {
			r = add_entry(m, f, &w, o);
		}
		if (r != 0)
			return r;
	}
	return r;
}

static int struct_json(struct pb *m, const struct type *t, struct str bytes, json_t **ret)
{
	AUTO_JSON json_t *o = json_object();
	struct pb in = inside(m, bytes);
	int r = read_message(&in, t, o);
	if (r == 0)
		*ret = STEAL(o);
	return r;
}

int api_decode_pb(const struct type *t, struct str msg, json_t **ret, struct err *e)
{
	struct pb m = {.e = e};
	int r = struct_json(&m, t, msg.p ? msg : STR(""), ret);
	return r == -ENOMEM ? err_set(e, ENOMEM, "InternalError", "out of memory") : r;
}

/* "k8s\0", then runtime.Unknown {1: TypeMeta {1: apiVersion, 2: kind}, 2: raw, 3, 4: encodings}. */
int pb_decode_envelope(const struct type *t, struct str body, json_t **ret, struct err *e)
{
	struct pb m = {.p = body.p + 4, .end = body.p + body.n, .e = e}, in;
	struct pb_field f, g;
	struct str raw = STR(""), names[2] = {0};
	AUTO_JSON json_t *o = NULL;
	int r;
	if (body.n < 4 || memcmp(body.p, "k8s", 4) != 0)
		return err_set(
			e, EBADMSG, "BadRequest", "the body is not a Kubernetes protobuf envelope");
	while ((r = next_field(&m, &f)) > 0) {
		if (f.wire != W_BYTES)
			continue;
		if (f.number == 2)
			raw = f.bytes;
		if (f.number != 1)
			continue;
		in = inside(&m, f.bytes);
		while ((r = next_field(&in, &g)) > 0)
			if (g.wire == W_BYTES && (g.number == 1 || g.number == 2))
				names[g.number - 1] = g.bytes;
		if (r < 0)
			return r;
	}
	if (r == 0)
		r = api_decode_pb(t, raw, &o, e);
	if (r != 0)
		return r;
	if (t->typemeta && names[0].n)
		(void)json_object_set_new(o, "apiVersion", json_text(names[0]));
	if (t->typemeta && names[1].n)
		(void)json_object_set_new(o, "kind", json_text(names[1]));
	*ret = STEAL(o);
	return 0;
}

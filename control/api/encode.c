/* SPDX-License-Identifier: Apache-2.0
 * Trees to canonical JSON: kind, apiVersion, metadata, then schema order; map keys sorted; empty
 * optional members left out. Equal objects give equal bytes. */
#include "api/codec.h"

static void put_type(struct buf *out, const struct type *t, const json_t *o);

static int key_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Calls one() for every member in key order. */
static void each_sorted(struct buf *out, const json_t *map, const struct field *f,
	void (*one)(struct buf *out, const struct field *f, const json_t *v))
{
	json_t *m = (json_t *)(uintptr_t)map, *v;
	size_t n = json_object_size(m), i = 0;
	const char *key, *few[16];
	AUTO_FREE const char **many = n > ARRAY_LEN(few) ? malloc(n * sizeof(*many)) : NULL;
	const char **keys = n > ARRAY_LEN(few) ? many : few;
	if (!keys) {
		out->err = -12;
		return;
	}
	json_object_foreach (m, key, v)
		keys[i++] = key;
	qsort(keys, n, sizeof(*keys), key_order);
	buf_addc(out, '{');
	for (i = 0; i < n; i++) {
		if (i)
			buf_addc(out, ',');
		buf_add_json_str(out, str_of(keys[i]));
		buf_addc(out, ':');
		one(out, f, json_object_get(m, keys[i]));
	}
	buf_addc(out, '}');
}

static void put_any(struct buf *out, const struct field *f, const json_t *v)
{
	size_t i;
	json_t *e;
	if (json_is_object(v)) {
		each_sorted(out, v, f, put_any);
	} else if (json_is_array(v)) {
		buf_addc(out, '[');
		json_array_foreach ((json_t *)(uintptr_t)v, i, e) {
			if (i)
				buf_addc(out, ',');
			put_any(out, f, e);
		}
		buf_addc(out, ']');
	} else {
		json_write(v, out);
	}
}

static void put_one(struct buf *out, const struct field *f, const json_t *v)
{
	if (f->kind == F_OBJECT && json_is_object(v))
		put_type(out, f->type, v);
	else if (json_is_string(v))
		buf_add_json_str(
			out, (struct str){.p = json_string_value(v), .n = json_string_length(v)});
	else
		put_any(out, f, v);
}

static void put_list(struct buf *out, const struct field *f, const json_t *v)
{
	size_t i;
	json_t *e;
	if (!json_is_array(v)) {
		put_any(out, f, v);
		return;
	}
	buf_addc(out, '[');
	json_array_foreach ((json_t *)(uintptr_t)v, i, e) {
		if (i)
			buf_addc(out, ',');
		put_one(out, f, e);
	}
	buf_addc(out, ']');
}

static void put_member(struct buf *out, const struct field *f, const json_t *o, bool *comma)
{
	const json_t *v = json_object_get(o, f->name);
	if (!v || (field_drops(f, v) && !(json_is_null(v) && f->kind == F_ANY)))
		return;
	if (*comma)
		buf_addc(out, ',');
	*comma = true;
	buf_addc(out, '"');
	buf_adds(out, f->name);
	buf_adds(out, "\":");
	if (f->shape == SHAPE_ONE || json_is_null(v))
		put_one(out, f, v);
	else if (f->shape == SHAPE_LIST)
		put_list(out, f, v);
	else
		each_sorted(out, v, f, f->shape == SHAPE_MAP ? put_one : put_list);
}

/* The members that the type does not name, in their order. */
static void put_rest(struct buf *out, const struct type *t, const json_t *o, bool comma)
{
	AUTO_JSON json_t *rest = json_object();
	AUTO_BUF struct buf b = {0};
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)(uintptr_t)o, key, v)
		if (!type_field(t, str_of(key)))
			(void)json_object_set(rest, key, v);
	each_sorted(&b, rest, t->rest, put_any);
	if (b.err)
		out->err = b.err;
	if (b.err || b.len <= 2)
		return;
	if (comma)
		buf_addc(out, ',');
	buf_add(out, b.p + 1, b.len - 2);
}

static void put_type(struct buf *out, const struct type *t, const json_t *o)
{
	bool comma = false;
	size_t first = 0;
	buf_addc(out, '{');
	if (t->typemeta) { /* rows 0 and 1: apiVersion, kind */
		put_member(out, &t->fields[1], o, &comma);
		put_member(out, &t->fields[0], o, &comma);
		first = 2;
	}
	for (size_t i = first; i < t->n_fields; i++)
		put_member(out, &t->fields[i], o, &comma);
	if (t->rest)
		put_rest(out, t, o, comma);
	buf_addc(out, '}');
}

void api_encode_json(const struct type *t, const json_t *obj, struct buf *out)
{
	if (t && json_is_object(obj))
		put_type(out, t, obj);
	else
		json_write(obj, out);
}

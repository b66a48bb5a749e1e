/* SPDX-License-Identifier: Apache-2.0
 * What differs between two states of an object, as sets of field paths (KEP-555). */
#include <errno.h>
#include "api/defaults.h"
#include "api/fieldset.h"

struct element {
	bool name;	  /* a member or map key: "f:" goes before it */
	const char *text; /* the name, or the whole "k:{...}" or "v:..." */
};
struct cmp {
	struct fieldset_diff *d;
	struct element path[CODEC_DEPTH + 2];
	size_t n;
};

static void note(struct cmp *c, json_t *set)
{
	for (size_t i = 0; i < c->n; i++) {
		AUTO_BUF struct buf pe = {0};
		if (c->path[i].name)
			buf_adds(&pe, "f:");
		buf_adds(&pe, c->path[i].text);
		json_t *next = json_object_get(set, pe.p);
		if (!next) {
			next = json_object();
			(void)json_object_set_new_nocheck(set, pe.p, next);
		}
		set = next;
	}
	(void)json_object_set_new_nocheck(set, ".", json_true());
}

/* Appeared or vanished as a whole. */
static void note_presence(struct cmp *c, const json_t *a, const json_t *b)
{
	if (!a)
		note(c, c->d->added);
	else if (!b)
		note(c, c->d->removed);
}

static void leaf(struct cmp *c, const json_t *a, const json_t *b)
{
	note_presence(c, a, b);
	if (a && b && !json_equal(a, b))
		note(c, c->d->changed);
}

static void members(struct cmp *c, const struct type *t, const json_t *a, const json_t *b);

static bool empty(const json_t *v)
{
	return !v || json_is_null(v) || (json_is_object(v) && !json_object_size(v)) ||
	       (json_is_array(v) && !json_array_size(v));
}

static bool tree(const json_t *v)
{
	return !v || json_is_null(v) || json_is_object(v);
}

/* A value without shape: a member, or one element of a list or map. */
static void one(struct cmp *c, const struct field *f, const json_t *a, const json_t *b)
{
	if (f->kind != F_OBJECT || f->type->atomic || !tree(a) || !tree(b) ||
		(empty(a) && empty(b)) || c->n >= CODEC_DEPTH) {
		leaf(c, a, b);
		return;
	}
	members(c, f->type, a, b);
	note_presence(c, a, b);
}

static void at(struct cmp *c, bool name, const char *text, const struct field *f, const json_t *a,
	const json_t *b)
{
	c->path[c->n++] = (struct element){name, text};
	if (f)
		one(c, f, a, b);
	else
		leaf(c, a, b);
	c->n--;
}

static void map(struct cmp *c, const struct field *f, const json_t *a, const json_t *b)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)(uintptr_t)b, key, v)
		at(c, true, key, f, json_object_get(a, key), v);
	json_object_foreach ((json_t *)(uintptr_t)a, key, v)
		if (!json_object_get(b, key))
			at(c, true, key, f, v, NULL);
}

static void list(struct cmp *c, const struct field *f, const json_t *a, const json_t *b)
{
	AUTO_JSON json_t *x = fieldset_index(f, a), *y = fieldset_index(f, b);
	const struct field *deep = f->list_type == LIST_MAP ? f : NULL;
	const char *key;
	json_t *v;
	json_object_foreach (y, key, v)
		at(c, false, key, deep, json_object_get(x, key), v);
	json_object_foreach (x, key, v)
		if (!json_object_get(y, key))
			at(c, false, key, deep, v, NULL);
}

static void member(struct cmp *c, const struct field *f, const json_t *a, const json_t *b)
{
	if (f->shape == SHAPE_ONE) {
		one(c, f, a, b);
	} else if (field_atomic(f) || (empty(a) && empty(b))) {
		leaf(c, a, b);
	} else {
		if (f->shape == SHAPE_LIST)
			list(c, f, a, b);
		else
			map(c, f, a, b);
		note_presence(c, a, b);
	}
}

/* The member; what Go always writes also where it is not. NULL: the object has none. */
static json_t *value_of(const struct field *f, const json_t *obj)
{
	json_t *v = json_object_get(obj, f->name);
	if (v)
		return json_incref(v);
	return obj && (f->always || (f->required && !f->nullable)) ? dflt_always(f) : NULL;
}

/* The members that the type does not list. */
static void rest(struct cmp *c, const struct type *t, const json_t *a, const json_t *b)
{
	const json_t *both[] = {b, a};
	const char *key;
	json_t *v;
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		json_object_foreach ((json_t *)(uintptr_t)both[i], key, v) {
			if (type_field(t, str_of(key)) || (i == 1 && json_object_get(b, key)))
				continue;
			c->path[c->n++] = (struct element){true, key};
			member(c, t->rest, json_object_get(a, key), json_object_get(b, key));
			c->n--;
		}
	}
}

static void members(struct cmp *c, const struct type *t, const json_t *a, const json_t *b)
{
	for (size_t i = 0; i < t->n_fields; i++) {
		const struct field *f = &t->fields[i];
		AUTO_JSON json_t *x = value_of(f, a), *y = value_of(f, b);
		if (!x && !y)
			continue;
		c->path[c->n++] = (struct element){true, f->name};
		member(c, f, x, y);
		c->n--;
	}
	if (t->rest)
		rest(c, t, a, b);
}

int fieldset_compare(
	const struct type *t, const json_t *a, const json_t *b, struct fieldset_diff *ret)
{
	AUTO_JSON json_t *zero = json_object();
	struct cmp c = {.d = ret};
	ret->added = json_object();
	ret->changed = json_object();
	ret->removed = json_object();
	if (!zero || !ret->added || !ret->changed || !ret->removed)
		return -ENOMEM;
	members(&c, t, a ? a : zero, b ? b : zero);
	return 0;
}

void fieldset_diff_free(struct fieldset_diff *d)
{
	json_decref(d->added);
	json_decref(d->changed);
	json_decref(d->removed);
}

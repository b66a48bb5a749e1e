/* SPDX-License-Identifier: Apache-2.0
 * Sets of field paths for server-side apply (KEP-555). */
#include <errno.h>
#include "api/fieldset.h"

bool field_atomic(const struct field *f)
{
	if (f->shape == SHAPE_LIST)
		return f->list_type == LIST_ATOMIC || (f->list_type == LIST_MAP && !f->list_keys);
	if (f->shape != SHAPE_ONE)
		return f->list_type == LIST_ATOMIC || f->shape == SHAPE_MAP_OF_LISTS;
	return f->kind != F_OBJECT || f->type->atomic || f->list_type == LIST_ATOMIC;
}

/* --- path elements --- */
static void add_json(struct buf *out, const json_t *v)
{
	char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
	buf_adds(out, text ? text : "null");
	free(text);
}

static int key_order(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static json_t *key_value(const struct field *f, const json_t *element, const char *key)
{
	json_t *v = json_object_get(element, key), *d = NULL;
	const struct field *kf = f->type ? type_field(f->type, str_of(key)) : NULL;
	if (v && !json_is_null(v))
		return json_incref(v);
	if (kf && kf->dflt && json_parse(str_of(kf->dflt), &d, NULL) != 0)
		d = json_loads(kf->dflt, JSON_DECODE_ANY, NULL);
	return d;
}

int fieldset_element(const struct field *f, const json_t *element, struct buf *out, struct err *e)
{
	const char *keys[8];
	size_t n = 0, found = 0, given = 0;
	if (f->list_type == LIST_SET) {
		buf_adds(out, "v:");
		add_json(out, element);
		return 0;
	}
	while (f->list_keys && n < ARRAY_LEN(keys) && f->list_keys[n]) {
		keys[n] = f->list_keys[n];
		n++;
	}
	qsort(keys, n, sizeof(keys[0]), key_order);
	buf_adds(out, "k:{");
	for (size_t i = 0; i < n; i++) {
		json_t *v = key_value(f, element, keys[i]);
		given += json_object_get(element, keys[i]) != NULL;
		if (!v)
			continue;
		buf_addf(out, "%s\"%s\":", found++ ? "," : "", keys[i]);
		add_json(out, v);
		json_decref(v);
	}
	buf_addc(out, '}');
	return given ? 0
		     : err_set(e, EBADMSG, "BadRequest",
			       "element of list '%s' has none of its key fields", f->name);
}

json_t *fieldset_index(const struct field *f, const json_t *list)
{
	json_t *index = json_object(), *v;
	size_t i;
	json_array_foreach ((json_t *)(uintptr_t)list, i, v) {
		AUTO_BUF struct buf pe = {0};
		if (fieldset_element(f, v, &pe, NULL) == 0 && !json_object_get(index, pe.p))
			(void)json_object_set_nocheck(index, pe.p, v);
	}
	return index;
}

/* --- building --- */
struct walk {
	bool strict;
	struct err *e;
};

static json_t *child(json_t *set, const char *element)
{
	json_t *c = json_object_get(set, element);
	if (!c) {
		c = json_object();
		(void)json_object_set_new(set, element, c);
	}
	return c;
}

static void insert(json_t *node, const json_t *value)
{
	(void)json_object_set(node, ".", (json_t *)(uintptr_t)value);
}

static int walk_object(struct walk *w, const struct type *t, const json_t *obj, json_t *set);

/* One element of a list or map, or a plain member: below its path element. */
static int walk_one(struct walk *w, const struct field *f, const json_t *v, json_t *node)
{
	if (f->kind == F_OBJECT && json_is_object(v) && !f->type->atomic && json_object_size(v))
		return walk_object(w, f->type, v, node);
	insert(node, v);
	return 0;
}

static int walk_list(struct walk *w, const struct field *f, const json_t *list, json_t *node)
{
	size_t i;
	json_t *v;
	json_array_foreach ((json_t *)(uintptr_t)list, i, v) {
		AUTO_BUF struct buf pe = {0};
		int r = fieldset_element(f, v, &pe, w->e);
		if (r != 0 && w->strict)
			return r;
		if (w->strict && json_object_get(node, pe.p))
			return err_set(w->e, EBADMSG, "BadRequest",
				"list '%s' has duplicate entries for %s", f->name, pe.p + 2);
		json_t *c = child(node, pe.p);
		if (f->list_type == LIST_MAP)
			r = walk_one(w, f, v, c);
		if (r != 0 && w->strict)
			return r;
		(void)json_object_set_new(
			c, ".", f->list_type == LIST_SET ? json_incref(v) : json_true());
	}
	return 0;
}

static int walk_map(struct walk *w, const struct field *f, const json_t *map, json_t *node)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)(uintptr_t)map, key, v) {
		AUTO_BUF struct buf pe = {0};
		buf_addf(&pe, "f:%s", key);
		json_t *c = child(node, pe.p);
		int r = walk_one(w, f, v, c);
		if (r != 0)
			return r;
		if (!json_object_get(c, "."))
			(void)json_object_set_new(c, ".", json_true());
	}
	return 0;
}

static int walk_member(struct walk *w, const struct field *f, const json_t *v, json_t *node)
{
	if (field_atomic(f) || json_is_null(v)) {
		insert(node, v);
		return 0;
	}
	if (f->shape == SHAPE_ONE)
		return walk_one(w, f, v, node);
	if (f->shape == SHAPE_LIST)
		return walk_list(w, f, v, node);
	if (json_object_size(v) == 0)
		insert(node, v);
	return walk_map(w, f, v, node);
}

static int walk_object(struct walk *w, const struct type *t, const json_t *obj, json_t *set)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)(uintptr_t)obj, key, v) {
		const struct field *f = type_member(t, key);
		AUTO_BUF struct buf pe = {0};
		if (!f)
			continue;
		buf_addf(&pe, "f:%s", key);
		json_t *c = child(set, pe.p);
		int r = walk_member(w, f, v, c);
		if (r != 0)
			return r;
		/* an entry of a map is a member itself, whatever is below it */
		if (f == t->rest && !json_object_get(c, "."))
			insert(c, json_true());
		if (json_object_size(json_object_get(set, pe.p)) == 0)
			(void)json_object_del(set, pe.p);
	}
	return 0;
}

int fieldset_of(const struct type *t, const json_t *obj, bool strict, json_t **ret, struct err *e)
{
	struct walk w = {.strict = strict, .e = e};
	AUTO_JSON json_t *set = json_object();
	int r = obj ? walk_object(&w, t, obj, set) : 0;
	if (r == 0)
		*ret = STEAL(set);
	return r;
}

/* --- text form: a leaf is {}, "." marks a member that has children too --- */
static json_t *read_node(const json_t *in, bool root, unsigned depth)
{
	json_t *out = json_object(), *v;
	const char *key;
	if (!root && (json_object_size(in) == 0 || json_object_get(in, ".")))
		(void)json_object_set_new(out, ".", json_true());
	json_object_foreach ((json_t *)(uintptr_t)in, key, v)
		if (strcmp(key, ".") != 0 && json_is_object(v) && depth < CODEC_DEPTH)
			(void)json_object_set_new(out, key, read_node(v, false, depth + 1));
	return out;
}

json_t *fieldset_read(const json_t *fields_v1)
{
	return read_node(fields_v1, true, 0);
}

json_t *fieldset_write(const json_t *set)
{
	json_t *out = json_object(), *v;
	const char *key;
	json_object_foreach ((json_t *)(uintptr_t)set, key, v)
		if (strcmp(key, ".") != 0)
			(void)json_object_set_new(out, key, fieldset_write(v));
	if (json_object_size(out) && json_object_get(set, "."))
		(void)json_object_set_new(out, ".", json_object());
	return out;
}

/* --- algebra --- */
bool fieldset_empty(const json_t *set)
{
	return json_object_size(set) == 0;
}

bool fieldset_same(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *v;
	if (json_object_size(a) != json_object_size(b))
		return false;
	json_object_foreach ((json_t *)(uintptr_t)a, key, v) {
		const json_t *other = json_object_get(b, key);
		if (!other || (strcmp(key, ".") != 0 && !fieldset_same(v, other)))
			return false;
	}
	return true;
}

void fieldset_add(json_t *a, const json_t *b)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)(uintptr_t)b, key, v) {
		json_t *mine = json_object_get(a, key);
		if (strcmp(key, ".") == 0) {
			(void)json_object_set(a, key, v);
		} else if (mine) {
			fieldset_add(mine, v);
		} else {
			/* a deep copy of the trie, but values are shared */
			mine = json_object();
			(void)json_object_set_new(a, key, mine);
			fieldset_add(mine, v);
		}
	}
}

void fieldset_remove(json_t *a, const json_t *b)
{
	const char *key;
	json_t *v;
	void *tmp;
	if (json_object_get(b, "."))
		(void)json_object_del(a, ".");
	json_object_foreach_safe(a, tmp, key, v)
	{
		json_t *other = strcmp(key, ".") == 0 ? NULL : json_object_get(b, key);
		if (!other)
			continue;
		fieldset_remove(v, other);
		if (fieldset_empty(v))
			(void)json_object_del(a, key);
	}
}

json_t *fieldset_both(const json_t *a, const json_t *b)
{
	json_t *out = json_object(), *v;
	const char *key;
	json_object_foreach ((json_t *)(uintptr_t)a, key, v) {
		json_t *other = json_object_get(b, key), *in = NULL;
		if (!other)
			continue;
		if (strcmp(key, ".") == 0)
			in = json_incref(v);
		else
			in = fieldset_both(v, other);
		if (in && (*key == '.' || !fieldset_empty(in)))
			(void)json_object_set(out, key, in);
		json_decref(in);
	}
	return out;
}

/* "k:{"port":80}" as [port=80], "v:"x"" as [="x"], "f:x" as .x */
static void add_element(struct buf *path, const char *element)
{
	const char *key;
	json_t *v;
	bool first = true;
	if (*element == 'f') {
		buf_addf(path, ".%s", element + 2);
		return;
	}
	if (*element != 'k') {
		buf_addf(path, "[=%s]", element + 2);
		return;
	}
	AUTO_JSON json_t *keys = json_loads(element + 2, 0, NULL);
	buf_addc(path, '[');
	json_object_foreach (keys, key, v) {
		buf_addf(path, "%s%s=", first ? "" : ",", key);
		add_json(path, v);
		first = false;
	}
	buf_addc(path, ']');
}

static void each(
	const json_t *set, struct buf *path, void (*fn)(void *arg, const char *path), void *arg)
{
	const char *key;
	json_t *v;
	size_t len = path->len;
	if (json_object_get(set, ".") && path->p)
		fn(arg, path->p);
	json_object_foreach ((json_t *)(uintptr_t)set, key, v) {
		if (strcmp(key, ".") == 0)
			continue;
		add_element(path, key);
		each(v, path, fn, arg);
		path->len = len;
		if (path->p)
			path->p[len] = 0;
	}
}

void fieldset_each(const json_t *set, void (*fn)(void *arg, const char *path), void *arg)
{
	AUTO_BUF struct buf path = {0};
	each(set, &path, fn, arg);
}

/* SPDX-License-Identifier: Apache-2.0
 * Strategic merge patch: a merge patch that knows from the schema which lists merge by key, plus
 * the directives $patch, $retainKeys, $setElementOrder/x and $deleteFromPrimitiveList/x.
 * https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/ */
#include <errno.h>
#include "api/api.h"

#define SET_ORDER   "$setElementOrder/"
#define DELETE_FROM "$deleteFromPrimitiveList/"
#define DEPTH_MAX   200

static int merge_object(
	const struct type *t, json_t *obj, const json_t *patch, unsigned depth, struct err *e);

static int bad(struct err *e, const char *what)
{
	return err_set(e, EINVAL, "BadRequest", "invalid strategic merge patch: %s", what);
}

static bool has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_directive(const char *key)
{
	return strcmp(key, "$patch") == 0 || strcmp(key, "$retainKeys") == 0 ||
	       has_prefix(key, SET_ORDER) || has_prefix(key, DELETE_FROM);
}

static const struct field *field_of(const struct type *t, const char *name)
{
	for (size_t i = 0; t && i < t->n_fields; i++)
		if (strcmp(t->fields[i].name, name) == 0)
			return &t->fields[i];
	return NULL;
}

/* A copy of what a patch says about something that is not there yet: no nulls, no directives, no
 * elements that only ask for a deletion. */
static json_t *clean_copy(const json_t *patch)
{
	const char *key;
	json_t *v, *out;
	if (json_is_object(patch)) {
		out = json_object();
		json_object_foreach ((json_t *)patch, key, v) {
			if (!json_is_null(v) && !is_directive(key))
				(void)json_object_set_new_nocheck(out, key, clean_copy(v));
		}
		return out;
	}
	if (!json_is_array(patch))
		return json_deep_copy(patch);
	out = json_array();
	for (size_t i = 0; i < json_array_size(patch); i++) {
		v = json_array_get(patch, i);
		if (!json_object_get(v, "$patch"))
			(void)json_array_append_new(out, clean_copy(v));
	}
	return out;
}

/* --- lists --- */

static bool contains(const json_t *list, const json_t *v)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_equal(json_array_get(list, i), v))
			return true;
	return false;
}

/* Index of the element with this merge key value; size when there is none. Scalars (key NULL)
 * compare themselves. */
static size_t find(const json_t *list, const char *key, const json_t *value)
{
	size_t i, n = json_array_size(list);
	for (i = 0; i < n; i++) {
		json_t *v = json_array_get(list, i);
		if (json_equal(key ? json_object_get(v, key) : v, value))
			break;
	}
	return i;
}

static const json_t *id_of(const json_t *v, const char *key)
{
	return key ? json_object_get(v, key) : v;
}

/* {"$patch":"replace"} among the elements: the others are the new list. */
static bool asks_replace(const json_t *patch)
{
	for (size_t i = 0; i < json_array_size(patch); i++) {
		const char *d =
			json_string_value(json_object_get(json_array_get(patch, i), "$patch"));
		if (d && strcmp(d, "replace") == 0)
			return true;
	}
	return false;
}

static int apply_deletes(json_t *list, const json_t *patch, const char *key, struct err *e)
{
	for (size_t i = 0; i < json_array_size(patch); i++) {
		const json_t *v = json_array_get(patch, i);
		const json_t *d = json_object_get(v, "$patch");
		size_t at;
		if (!d)
			continue;
		if (!json_is_string(d) || strcmp(json_string_value(d), "delete") != 0)
			return bad(e, "unknown $patch directive in a list");
		if (!json_object_get(v, key))
			return bad(e, "an element to delete lacks the merge key");
		while ((at = find(list, key, json_object_get(v, key))) < json_array_size(list))
			(void)json_array_remove(list, at);
	}
	return 0;
}

static int merge_keyed(
	const struct field *f, json_t *list, const json_t *patch, unsigned depth, struct err *e)
{
	int r = apply_deletes(list, patch, f->merge_key, e);
	for (size_t i = 0; r == 0 && i < json_array_size(patch); i++) {
		const json_t *v = json_array_get(patch, i);
		const json_t *id = json_object_get(v, f->merge_key);
		size_t at;
		if (json_object_get(v, "$patch"))
			continue;
		if (!id)
			return err_set(e, EINVAL, "BadRequest",
				"map does not contain declared merge key: %s", f->merge_key);
		at = find(list, f->merge_key, id);
		if (at == json_array_size(list))
			(void)json_array_append_new(list, clean_copy(v));
		else
			r = merge_object(f->type, json_array_get(list, at), v, depth + 1, e);
	}
	return r;
}

static void merge_scalars(json_t *list, const json_t *patch)
{
	for (size_t i = 0; i < json_array_size(patch); i++)
		if (!contains(list, json_array_get(patch, i)))
			(void)json_array_append(list, json_array_get(patch, i));
}

/* Every element of the patch must be named in the order list, in the same relative order. */
static int check_order(const json_t *order, const json_t *patch, const char *key, struct err *e)
{
	size_t from = 0;
	for (size_t i = 0; i < json_array_size(patch); i++) {
		const json_t *v = json_array_get(patch, i), *id = id_of(v, key);
		if (json_object_get(v, "$patch"))
			continue;
		while (from < json_array_size(order) &&
			!json_equal(id_of(json_array_get(order, from), key), id))
			from++;
		if (from == json_array_size(order))
			return bad(e, "the order in the patch list doesn't match the "
				      "$setElementOrder list");
	}
	return 0;
}

/* True when l stood before r in the list as it was. */
static bool stood_before(const json_t *was, const char *key, const json_t *l, const json_t *r)
{
	size_t n = json_array_size(was);
	size_t li = find(was, key, id_of(l, key)), ri = find(was, key, id_of(r, key));
	return li < n && ri < n && li < ri;
}

/* Elements named in `order` come in that order; the others (only the server knows them) keep their
 * place relative to their old neighbours. */
static void reorder(json_t *list, const json_t *was, const json_t *order, const char *key)
{
	AUTO_JSON json_t *mine = json_array(), *named = json_array(), *out = json_array();
	size_t i = 0, j = 0;
	for (size_t k = 0; k < json_array_size(list); k++) {
		json_t *v = json_array_get(list, k);
		if (find(order, key, id_of(v, key)) == json_array_size(order))
			(void)json_array_append(mine, v);
	}
	for (size_t k = 0; k < json_array_size(order); k++) {
		const json_t *id = id_of(json_array_get(order, k), key);
		size_t at = find(list, key, id);
		if (at < json_array_size(list) && find(named, key, id) == json_array_size(named))
			(void)json_array_append(named, json_array_get(list, at));
	}
	while (i < json_array_size(mine) || j < json_array_size(named)) {
		json_t *l = json_array_get(mine, i), *r = json_array_get(named, j);
		bool left = l && (!r || stood_before(was, key, l, r));
		(void)json_array_append(out, left ? l : r);
		*(left ? &i : &j) += 1;
	}
	(void)json_array_clear(list);
	(void)json_array_extend(list, out);
}

static bool is_merge_list(const struct field *f)
{
	return f && f->shape == SHAPE_LIST && f->patch_merge;
}

/* obj[name] is merged with its list patch (may be NULL), then ordered (order may be NULL). */
static int merge_list(const struct field *f, json_t *obj, const char *name, const json_t *patch,
	const json_t *order, unsigned depth, struct err *e)
{
	json_t *list = json_object_get(obj, name);
	AUTO_JSON json_t *was = NULL;
	int r = 0;
	if (!json_is_array(list)) {
		list = json_array();
		if (json_object_set_new_nocheck(obj, name, list) < 0)
			return err_set(e, ENOMEM, "InternalError", "out of memory");
	}
	was = json_copy(list);
	if (patch && f->merge_key && asks_replace(patch)) {
		(void)json_object_set_new_nocheck(obj, name, clean_copy(patch));
		return 0;
	}
	if (order && patch)
		r = check_order(order, patch, f->merge_key, e);
	if (r == 0 && patch && f->merge_key)
		r = merge_keyed(f, list, patch, depth, e);
	else if (r == 0 && patch)
		merge_scalars(list, patch);
	if (r == 0 && order)
		reorder(list, was, order, f->merge_key);
	return r;
}

/* --- objects --- */

static int retain_keys(json_t *obj, const json_t *patch, struct err *e)
{
	const json_t *keep = json_object_get(patch, "$retainKeys");
	const char *key;
	json_t *v;
	void *tmp;
	if (!keep)
		return 0;
	if (!json_is_array(keep))
		return bad(e, "$retainKeys must be a list");
	json_object_foreach ((json_t *)patch, key, v) {
		AUTO_JSON json_t *k = json_string(key);
		if (!json_is_null(v) && !is_directive(key) && !contains(keep, k))
			return bad(e, "a field of the patch is not in its $retainKeys list");
	}
	json_object_foreach_safe(obj, tmp, key, v)
	{
		AUTO_JSON json_t *k = json_string(key);
		if (!contains(keep, k))
			(void)json_object_del(obj, key);
	}
	return 0;
}

static int delete_scalars(json_t *obj, const char *name, const json_t *values, struct err *e)
{
	json_t *list = json_object_get(obj, name);
	if (!json_is_array(values))
		return bad(e, "$deleteFromPrimitiveList must be a list");
	for (size_t i = 0; i < json_array_size(values); i++) {
		size_t at;
		while ((at = find(list, NULL, json_array_get(values, i))) < json_array_size(list))
			(void)json_array_remove(list, at);
	}
	return 0;
}

/* Directives on lists: deletions first, so that a value can be moved by delete and re-add. */
static int apply_list_directives(
	const struct type *t, json_t *obj, const json_t *patch, unsigned depth, struct err *e)
{
	const char *key;
	json_t *v;
	int r = 0;
	json_object_foreach ((json_t *)patch, key, v) {
		if (r == 0 && has_prefix(key, DELETE_FROM))
			r = delete_scalars(obj, key + strlen(DELETE_FROM), v, e);
	}
	json_object_foreach ((json_t *)patch, key, v) {
		const char *name = key + strlen(SET_ORDER);
		const json_t *list;
		const struct field *f;
		if (r < 0 || !has_prefix(key, SET_ORDER))
			continue;
		f = field_of(t, name);
		list = json_object_get(patch, name);
		if (!json_is_array(v))
			return bad(e, "$setElementOrder must be a list");
		if (!is_merge_list(f) || (list && !json_is_array(list)))
			continue;
		if (!list && !json_object_get(obj, name))
			continue;
		r = merge_list(f, obj, name, list, v, depth, e);
	}
	return r;
}

static bool has_order(const json_t *patch, const char *name)
{
	AUTO_BUF struct buf key = {0};
	buf_addf(&key, SET_ORDER "%s", name);
	return key.p && json_object_get(patch, key.p);
}

static int merge_member(const struct type *t, json_t *obj, const json_t *patch, const char *key,
	const json_t *v, unsigned depth, struct err *e)
{
	const struct field *f = field_of(t, key);
	json_t *have = json_object_get(obj, key);
	if (json_is_null(v)) {
		(void)json_object_del(obj, key);
		return 0;
	}
	if (json_is_object(v) && json_is_object(have)) {
		const struct type *sub =
			f && f->kind == F_OBJECT && f->shape == SHAPE_ONE ? f->type : NULL;
		return merge_object(sub, have, v, depth + 1, e);
	}
	if (json_is_array(v) && is_merge_list(f)) {
		if (has_order(patch, key)) /* merged together with its order */
			return 0;
		return merge_list(f, obj, key, v, NULL, depth, e);
	}
	return json_object_set_new_nocheck(obj, key, clean_copy(v)) < 0
		       ? err_set(e, ENOMEM, "InternalError", "out of memory")
		       : 0;
}

/* {"$patch":"replace"|"delete"} on the object itself. 1 when it is done. */
static int object_directive(json_t *obj, const json_t *patch, struct err *e)
{
	const json_t *d = json_object_get(patch, "$patch");
	const char *s = json_string_value(d);
	AUTO_JSON json_t *copy = NULL;
	if (!d)
		return 0;
	if (s && strcmp(s, "merge") == 0)
		return 0;
	if (!s || (strcmp(s, "replace") != 0 && strcmp(s, "delete") != 0))
		return bad(e, "unknown $patch directive");
	(void)json_object_clear(obj);
	if (*s == 'r') {
		copy = clean_copy(patch);
		(void)json_object_update(obj, copy);
	}
	return 1;
}

static int merge_object(
	const struct type *t, json_t *obj, const json_t *patch, unsigned depth, struct err *e)
{
	const char *key;
	json_t *v;
	int r;
	if (depth > DEPTH_MAX)
		return bad(e, "nested too deeply");
	r = object_directive(obj, patch, e);
	if (r)
		return r < 0 ? r : 0;
	r = retain_keys(obj, patch, e);
	if (r == 0)
		r = apply_list_directives(t, obj, patch, depth, e);
	json_object_foreach ((json_t *)patch, key, v) {
		if (r < 0)
			break;
		if (!is_directive(key))
			r = merge_member(t, obj, patch, key, v, depth, e);
	}
	return r;
}

int patch_strategic(
	const struct type *t, const json_t *obj, const json_t *patch, json_t **ret, struct err *e)
{
	AUTO_JSON json_t *out = NULL;
	int r;
	if (!json_is_object(patch))
		return bad(e, "it must be an object");
	out = json_deep_copy(obj);
	if (!out)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	r = merge_object(t, out, patch, 0, e);
	if (r < 0)
		return r;
	*ret = STEAL(out);
	return 0;
}

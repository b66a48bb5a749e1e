/* SPDX-License-Identifier: Apache-2.0
 * JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) on trees, with the API's limits. */
#include <errno.h>
#include "api/api.h"

#define OPS_MAX	   10000
#define COPY_BYTES (3 << 20) /* what "copy" operations may add together */
#define DEPTH_MAX  10000

struct patch_state {
	json_t *doc; /* the tree being edited */
	size_t copied;
	struct err *e;
};

static int unprocessable(struct err *e, const char *op, const char *path, const char *what)
{
	return err_set(e, EINVAL, "Invalid", "%s operation does not apply: doc is %s: %.120s", op,
		what, path);
}

static int bad(struct err *e, const char *what)
{
	return err_set(e, EINVAL, "BadRequest", "error decoding patch: %s", what);
}

/* One reference token ("~1" is '/', "~0" is '~') into out, NUL-terminated. Returns the rest. */
static const char *next_token(const char *p, struct buf *out)
{
	buf_clear(out);
	p++; /* the '/' */
	for (; *p && *p != '/'; p++) {
		if (p[0] == '~' && (p[1] == '0' || p[1] == '1')) {
			buf_addc(out, p[1] == '0' ? '~' : '/');
			p++;
		} else {
			buf_addc(out, *p);
		}
	}
	buf_add(out, "", 0);
	return p;
}

static const char *token_text(const struct buf *t)
{
	return t->p ? t->p : "";
}

/* RFC 6901 array index; negative ones count from the end, as the reference library allows. */
static int array_index(const char *t, size_t n, size_t *ret)
{
	int64_t v;
	if ((t[0] == '0' && t[1]) || str_i64(str_of(t), &v) < 0)
		return -EINVAL;
	if (v < 0)
		v += (int64_t)n;
	if (v < 0 || v > (int64_t)n)
		return -ENOENT;
	*ret = (size_t)v;
	return 0;
}

static json_t *child(json_t *j, const char *token)
{
	size_t i;
	if (json_is_object(j))
		return json_object_get(j, token);
	if (json_is_array(j) && array_index(token, json_array_size(j), &i) == 0)
		return json_array_get(j, i);
	return NULL;
}

/* The container that holds the last token of path, which is left in `last`. NULL when missing. */
static json_t *walk_parent(json_t *doc, const char *path, struct buf *last)
{
	json_t *at = doc;
	const char *p = next_token(path, last);
	while (*p && at) {
		at = child(at, token_text(last));
		p = next_token(p, last);
	}
	return json_is_object(at) || json_is_array(at) ? at : NULL;
}

static json_t *lookup(json_t *doc, const char *path)
{
	AUTO_BUF struct buf last = {0};
	json_t *parent;
	if (!*path)
		return doc;
	parent = walk_parent(doc, path, &last);
	return parent ? child(parent, token_text(&last)) : NULL;
}

/* Takes over value. */
static int put_new(struct patch_state *s, const char *op, const char *path, json_t *value)
{
	AUTO_JSON json_t *v = value;
	AUTO_BUF struct buf last = {0};
	json_t *parent;
	size_t i;
	int r;
	if (!*path) {
		json_decref(s->doc);
		s->doc = STEAL(v);
		return 0;
	}
	parent = walk_parent(s->doc, path, &last);
	if (!parent)
		return unprocessable(s->e, op, path, "missing path");
	if (json_is_object(parent))
		return json_object_set_new_nocheck(parent, token_text(&last), STEAL(v)) ? -ENOMEM
											: 0;
	if (strcmp(token_text(&last), "-") == 0)
		return json_array_append_new(parent, STEAL(v)) ? -ENOMEM : 0;
	r = array_index(token_text(&last), json_array_size(parent), &i);
	if (r < 0)
		return unprocessable(s->e, op, path, "out of bounds or not an index");
	return json_array_insert_new(parent, i, STEAL(v)) ? -ENOMEM : 0;
}

static int op_add(struct patch_state *s, const char *path, const char *from, json_t *value)
{
	(void)from;
	return put_new(s, "add", path, json_deep_copy(value));
}

static int op_remove(struct patch_state *s, const char *path, const char *from, json_t *value)
{
	AUTO_BUF struct buf last = {0};
	json_t *parent = *path ? walk_parent(s->doc, path, &last) : NULL;
	size_t i;
	(void)from;
	(void)value;
	if (!parent || !child(parent, token_text(&last)))
		return unprocessable(s->e, "remove", path, "missing key");
	if (json_is_object(parent))
		return json_object_del(parent, token_text(&last)) ? -EINVAL : 0;
	(void)array_index(token_text(&last), json_array_size(parent), &i);
	return json_array_remove(parent, i) ? -EINVAL : 0;
}

static int op_replace(struct patch_state *s, const char *path, const char *from, json_t *value)
{
	AUTO_BUF struct buf last = {0};
	json_t *parent;
	size_t i;
	(void)from;
	if (!*path)
		return put_new(s, "replace", path, json_deep_copy(value));
	parent = walk_parent(s->doc, path, &last);
	if (!parent || !child(parent, token_text(&last)))
		return unprocessable(s->e, "replace", path, "missing key");
	if (json_is_object(parent))
		return json_object_set_new_nocheck(parent, token_text(&last), json_deep_copy(value))
			       ? -ENOMEM
			       : 0;
	(void)array_index(token_text(&last), json_array_size(parent), &i);
	return json_array_set_new(parent, i, json_deep_copy(value)) ? -ENOMEM : 0;
}

static int op_test(struct patch_state *s, const char *path, const char *from, json_t *value)
{
	json_t *have = lookup(s->doc, path);
	(void)from;
	if (have ? json_equal(have, value) : json_is_null(value))
		return 0;
	return err_set(s->e, EINVAL, "Invalid",
		"the server rejected our request due to an error in our request: testing value "
		"%.120s failed",
		path);
}

static int op_move(struct patch_state *s, const char *path, const char *from, json_t *value)
{
	size_t n = strlen(from);
	json_t *v = lookup(s->doc, from);
	int r;
	(void)value;
	if (!v || !*from)
		return unprocessable(s->e, "move", from, "missing from path");
	if (strncmp(path, from, n) == 0 && path[n] == '/')
		return unprocessable(s->e, "move", path, "inside its own source");
	v = json_incref(v);
	r = op_remove(s, from, NULL, NULL);
	if (r < 0) {
		json_decref(v);
		return r;
	}
	return put_new(s, "move", path, v);
}

static int op_copy(struct patch_state *s, const char *path, const char *from, json_t *value)
{
	json_t *v = lookup(s->doc, from);
	(void)value;
	if (!v)
		return unprocessable(s->e, "copy", from, "missing from path");
	s->copied += json_dumpb(v, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
	if (s->copied > COPY_BYTES)
		return err_set(s->e, E2BIG, "RequestEntityTooLarge",
			"copy operations of the patch add more than %d bytes", COPY_BYTES);
	return put_new(s, "copy", path, json_deep_copy(v));
}

static const struct op {
	const char *name;
	int (*run)(struct patch_state *s, const char *path, const char *from, json_t *value);
	bool needs_value, needs_from;
} ops[] = {
	{"add", op_add, true, false},
	{"remove", op_remove, false, false},
	{"replace", op_replace, true, false},
	{"move", op_move, false, true},
	{"copy", op_copy, false, true},
	{"test", op_test, false, false},
};

static bool is_pointer(const char *p)
{
	return p && (*p == 0 || *p == '/');
}

static int run_op(struct patch_state *s, json_t *row)
{
	const char *name = json_string_value(json_object_get(row, "op"));
	const char *path = json_string_value(json_object_get(row, "path"));
	const char *from = json_string_value(json_object_get(row, "from"));
	json_t *value = json_object_get(row, "value");
	AUTO_JSON json_t *null = json_null();
	for (size_t i = 0; name && i < ARRAY_LEN(ops); i++) {
		if (strcmp(name, ops[i].name) != 0)
			continue;
		if (!is_pointer(path))
			return bad(s->e, "\"path\" must be a JSON pointer");
		if (ops[i].needs_from && !is_pointer(from))
			return bad(s->e, "\"from\" must be a JSON pointer");
		if (ops[i].needs_value && !value)
			return bad(s->e, "operation needs a \"value\"");
		return ops[i].run(s, path, from, value ? value : null);
	}
	return bad(s->e, name ? "unknown operation" : "operation without \"op\"");
}

int patch_json(const json_t *obj, struct str patch, json_t **ret, struct err *e)
{
	AUTO_JSON json_t *list = NULL;
	struct patch_state s = {.e = e};
	int r = json_parse(patch, &list, e);
	if (r < 0)
		return bad(e, "not valid JSON");
	if (!json_is_array(list))
		return bad(e, "a JSON patch is an array of operations");
	if (json_array_size(list) > OPS_MAX)
		return err_set(e, E2BIG, "RequestEntityTooLarge",
			"The allowed maximum operations in a JSON patch is %d, got %zu", OPS_MAX,
			json_array_size(list));
	s.doc = json_deep_copy(obj);
	for (size_t i = 0; i < json_array_size(list) && r == 0; i++)
		r = run_op(&s, json_array_get(list, i));
	if (r < 0) {
		json_decref(s.doc);
		return r == -ENOMEM ? err_set(e, ENOMEM, "InternalError", "out of memory") : r;
	}
	*ret = s.doc;
	return 0;
}

static json_t *merge(const json_t *target, const json_t *patch)
{
	const char *key;
	json_t *v, *out;
	if (!json_is_object(patch))
		return json_deep_copy(patch);
	out = json_is_object(target) ? json_copy((json_t *)target) : json_object();
	json_object_foreach ((json_t *)patch, key, v) {
		if (json_is_null(v))
			(void)json_object_del(out, key);
		else
			(void)json_object_set_new_nocheck(
				out, key, merge(json_object_get(out, key), v));
	}
	return out;
}

int patch_merge(const json_t *obj, const json_t *patch, json_t **ret, struct err *e)
{
	AUTO_JSON json_t *shared = NULL;
	if (!json_is_object(patch))
		return bad(e, "a merge patch must be an object");
	shared = merge(obj, patch);
	*ret = json_deep_copy(shared); /* untouched parts are still shared with obj */
	return *ret ? 0 : err_set(e, ENOMEM, "InternalError", "out of memory");
}

/* SPDX-License-Identifier: Apache-2.0
 * YAML events (libyaml) to JSON trees. Anchors are resolved by deep copies under a budget, so that
 * a few hundred bytes cannot become gigabytes. */
#include <errno.h>
#include <yaml.h>
#include "xebec/base/htab.h"
#include "xebec/base/yaml.h"
#include "base/yaml_scalar.h"

enum { DEPTH_LIMIT = 500, ALIAS_NODES = 200000 };

struct reader {
	yaml_parser_t parser;
	yaml_event_t ev; /* the event being looked at */
	bool has_ev;
	struct htab *anchors; /* name -> json_t */
	json_t *dups;	      /* collects, or NULL = duplicates are errors */
	size_t alias_nodes;
	unsigned depth;
	struct err *e;
	int failed;
};

static void decref(void *j)
{
	json_decref(j);
}

static void reader_free(struct reader *r)
{
	if (r->has_ev)
		yaml_event_delete(&r->ev);
	htab_free(r->anchors, decref);
	yaml_parser_delete(&r->parser);
}

static json_t *fail(struct reader *r, const char *what)
{
	if (!r->failed)
		r->failed = err_set(r->e, -EINVAL, "BadRequest",
			"invalid YAML at line %zu column %zu: %s", r->ev.start_mark.line + 1,
			r->ev.start_mark.column + 1, what);
	return NULL;
}

static json_t *fail_mem(struct reader *r)
{
	if (!r->failed)
		r->failed = err_set(r->e, -ENOMEM, "InternalError", "out of memory");
	return NULL;
}

/* Moves to the next event; false when the text is not YAML. */
static bool advance(struct reader *r)
{
	if (r->has_ev)
		yaml_event_delete(&r->ev);
	r->has_ev = yaml_parser_parse(&r->parser, &r->ev) == 1;
	if (r->has_ev)
		return true;
	const yaml_parser_t *p = &r->parser;
	if (!r->failed)
		r->failed = p->error == YAML_MEMORY_ERROR
				    ? err_set(r->e, -ENOMEM, "InternalError", "out of memory")
				    : err_set(r->e, -EINVAL, "BadRequest",
					      "invalid YAML at line %zu column %zu: %s",
					      p->problem_mark.line + 1, p->problem_mark.column + 1,
					      p->problem ? p->problem : "not readable");
	return false;
}

static size_t count_nodes(json_t *j, size_t limit)
{
	size_t n = 1, i;
	const char *k;
	json_t *v;
	if (json_is_object(j)) {
		json_object_foreach (j, k, v)
			if (n < limit)
				n += count_nodes(v, limit - n);
	} else if (json_is_array(j)) {
		json_array_foreach (j, i, v)
			if (n < limit)
				n += count_nodes(v, limit - n);
	}
	return n;
}

static json_t *read_alias(struct reader *r)
{
	json_t *j = htab_get(r->anchors, str_of((const char *)r->ev.data.alias.anchor));
	if (!j)
		return fail(r, "unknown anchor");
	r->alias_nodes += count_nodes(j, ALIAS_NODES + 1);
	if (r->alias_nodes > ALIAS_NODES)
		return fail(r, "aliases expand to too much");
	json_t *copy = json_deep_copy(j);
	return copy ? copy : fail_mem(r);
}

static bool tag_is(const yaml_char_t *tag, const char *name)
{
	static const char prefix[] = "tag:yaml.org,2002:";
	const char *t = (const char *)tag;
	return t && strncmp(t, prefix, sizeof(prefix) - 1) == 0 &&
	       strcmp(t + sizeof(prefix) - 1, name) == 0;
}

static json_t *read_scalar(struct reader *r)
{
	const yaml_char_t *tag = r->ev.data.scalar.tag;
	struct str s = {(const char *)r->ev.data.scalar.value, r->ev.data.scalar.length};
	bool plain = r->ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	json_t *j = NULL;
	if (memchr(s.p, '\0', s.n))
		return fail(r, "NUL in a string");
	if (tag_is(tag, "str") || tag_is(tag, "binary"))
		j = json_stringn(s.p, s.n);
	else if (tag || plain)
		j = yaml_scalar_resolve(s);
	else
		j = json_stringn(s.p, s.n);
	if (tag_is(tag, "float") && json_is_integer(j)) {
		json_t *real = json_real((double)json_integer_value(j));
		json_decref(j);
		j = real;
	}
	if (j && ((tag_is(tag, "int") && !json_is_integer(j)) ||
			 (tag_is(tag, "bool") && !json_is_boolean(j)) ||
			 (tag_is(tag, "float") && !json_is_real(j)) ||
			 (tag_is(tag, "null") && !json_is_null(j)))) {
		json_decref(j);
		return fail(r, "value does not fit its tag");
	}
	return j ? j : fail_mem(r);
}

static json_t *read_node(struct reader *r);

/* Keys that are not strings become what Kubernetes makes of them: 1: and true: are "1", "true". */
static int read_key(struct reader *r, struct buf *key, bool *merge)
{
	*merge = false;
	if (r->ev.type == YAML_SCALAR_EVENT) {
		struct str s = {(const char *)r->ev.data.scalar.value, r->ev.data.scalar.length};
		*merge = str_eqz(s, "<<") && !r->ev.data.scalar.tag &&
			 r->ev.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	}
	AUTO_JSON json_t *j = read_node(r);
	if (!j)
		return r->failed;
	if (json_is_string(j)) {
		buf_add(key, json_string_value(j), json_string_length(j));
	} else if (json_is_number(j) || json_is_boolean(j)) {
		json_write(j, key);
	} else {
		(void)fail(r, "a mapping key must be a scalar and not null");
		return r->failed;
	}
	buf_addc(key, '\0'); /* also makes p non-NULL */
	if (key->err)
		(void)fail_mem(r);
	return r->failed;
}

/* "<<": the members of a mapping, or of each of a list of mappings, that are not there already. */
static void merge_into(struct reader *r, json_t *obj, json_t *from)
{
	size_t i;
	json_t *v;
	if (json_is_array(from)) {
		json_array_foreach (from, i, v)
			if (json_is_object(v))
				(void)json_object_update_missing(obj, v);
			else
				(void)fail(r, "a merge needs mappings");
	} else if (json_is_object(from)) {
		(void)json_object_update_missing(obj, from);
	} else {
		(void)fail(r, "a merge needs a mapping");
	}
}

static void duplicate(struct reader *r, size_t line, struct str key)
{
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "line %zu: key ", line);
	buf_add_json_str(&b, key);
	buf_adds(&b, " already set in map");
	if (b.err || (r->dups && json_array_append_new(r->dups, json_stringn(b.p, b.len)) < 0))
		(void)fail_mem(r);
	else if (!r->dups && !r->failed)
		r->failed = err_set(
			r->e, -EINVAL, "BadRequest", "invalid YAML at %.*s", (int)b.len, b.p);
}

static bool read_member(struct reader *r, json_t *obj, json_t *merges)
{
	AUTO_BUF struct buf key = {0};
	bool merge;
	size_t line = r->ev.start_mark.line + 1;
	if (read_key(r, &key, &merge) < 0)
		return false;
	json_t *v = read_node(r);
	if (v && !merge && json_object_getn(obj, key.p, key.len - 1))
		duplicate(r, line, (struct str){key.p, key.len - 1});
	if (v && (merge ? json_array_append_new(merges, v)
			: json_object_setn_new(obj, key.p, key.len - 1, v)) < 0)
		v = fail(r, "a key is not valid UTF-8");
	return v != NULL && !r->failed;
}

static json_t *read_mapping(struct reader *r)
{
	AUTO_JSON json_t *obj = json_object(), *merges = json_array();
	size_t i;
	json_t *m;
	if (!obj || !merges)
		return fail_mem(r);
	if (!advance(r))
		return NULL;
	while (r->ev.type != YAML_MAPPING_END_EVENT)
		if (!read_member(r, obj, merges))
			return NULL;
	json_array_foreach (merges, i, m)
		merge_into(r, obj, m);
	return r->failed ? NULL : STEAL(obj);
}

static json_t *read_sequence(struct reader *r)
{
	AUTO_JSON json_t *arr = json_array();
	if (!arr)
		return fail_mem(r);
	if (!advance(r))
		return NULL;
	while (r->ev.type != YAML_SEQUENCE_END_EVENT) {
		json_t *v = read_node(r);
		if (!v)
			return NULL;
		if (json_array_append_new(arr, v) < 0)
			return fail_mem(r);
	}
	return STEAL(arr);
}

static json_t *read_content(struct reader *r)
{
	switch (r->ev.type) {
	case YAML_SCALAR_EVENT:
		return read_scalar(r);
	case YAML_ALIAS_EVENT:
		return read_alias(r);
	case YAML_MAPPING_START_EVENT:
		return read_mapping(r);
	case YAML_SEQUENCE_START_EVENT:
		return read_sequence(r);
	default:
		return fail(r, "unexpected token");
	}
}

static const yaml_char_t *anchor_of(const yaml_event_t *ev)
{
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		return ev->data.scalar.anchor;
	case YAML_MAPPING_START_EVENT:
		return ev->data.mapping_start.anchor;
	case YAML_SEQUENCE_START_EVENT:
		return ev->data.sequence_start.anchor;
	default:
		return NULL;
	}
}

/* One node from the present event; leaves the event after it. */
static json_t *read_node(struct reader *r)
{
	const yaml_char_t *anchor = anchor_of(&r->ev);
	AUTO_FREE char *name = anchor ? str_dup(str_of((const char *)anchor)) : NULL;
	if (anchor && !name)
		return fail_mem(r);
	if (++r->depth > DEPTH_LIMIT)
		return fail(r, "nested too deeply");
	AUTO_JSON json_t *j = read_content(r);
	r->depth--;
	if (!j || !advance(r))
		return NULL;
	if (name) {
		void *old = NULL;
		json_t *copy = json_deep_copy(j);
		if (!copy || htab_put(r->anchors, str_of(name), copy, &old) < 0) {
			json_decref(copy);
			return fail_mem(r);
		}
		json_decref(old);
	}
	return STEAL(j);
}

static int reader_init(struct reader *r, struct str text, json_t *dups, struct err *e)
{
	*r = (struct reader){.dups = dups, .e = e};
	if (!yaml_parser_initialize(&r->parser))
		return err_set(e, -ENOMEM, "InternalError", "out of memory");
	yaml_parser_set_input_string(
		&r->parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
	r->anchors = htab_new();
	if (!r->anchors)
		(void)fail_mem(r);
	else if (advance(r)) /* STREAM-START */
		(void)advance(r);
	return r->failed;
}

/* The document at the present event, and on to what follows it. Nothing written at all is null. */
static json_t *read_document(struct reader *r)
{
	if (!advance(r))
		return NULL;
	AUTO_JSON json_t *j = read_node(r);
	if (!j || !advance(r))
		return NULL;
	r->alias_nodes = 0;
	return STEAL(j);
}

int yaml_parse(struct str text, json_t **ret, json_t *dups, struct err *e)
{
	AUTO(reader_free) struct reader r;
	if (reader_init(&r, text, dups, e) < 0)
		return r.failed;
	if (r.ev.type == YAML_STREAM_END_EVENT) {
		*ret = json_null();
		return 0;
	}
	AUTO_JSON json_t *j = read_document(&r);
	if (j && r.ev.type != YAML_STREAM_END_EVENT)
		(void)fail(&r, "more than one document");
	if (!j || r.failed)
		return r.failed;
	*ret = STEAL(j);
	return 0;
}

int yaml_parse_all(struct str text, json_t **ret_array, struct err *e)
{
	AUTO(reader_free) struct reader r;
	AUTO_JSON json_t *all = json_array();
	if (reader_init(&r, text, NULL, e) < 0)
		return r.failed;
	while (r.ev.type != YAML_STREAM_END_EVENT) {
		json_t *j = read_document(&r);
		if (!j)
			return r.failed;
		if (json_is_null(j))
			continue; /* immortal: nothing to release */
		if (json_array_append_new(all, j) < 0)
			return err_set(e, -ENOMEM, "InternalError", "out of memory");
	}
	*ret_array = STEAL(all);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * openAPIV3Schema to structural schema; pruning and defaulting by it. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "api/structural.h"

#include <errno.h>
#include <pcre2.h>
#include "api/codec.h"

struct build {
	struct arena *a;
	pcre2_compile_context *re_context; /* compiled patterns live in the arena too */
	struct err *e;
};

static int build_node(struct build *b, const json_t *j, struct structural *s, unsigned depth);

static int out_of_memory(struct build *b)
{
	return err_set(b->e, ENOMEM, "InternalError", "out of memory");
}

static bool flag(const json_t *j, const char *name)
{
	return json_is_true(json_object_get(j, name));
}

static uint8_t type_bits(const char *type)
{
	static const struct {
		const char *name;
		uint8_t bits;
	} rows[] = {{"object", ST_OBJECT}, {"array", ST_ARRAY}, {"string", ST_STRING},
		{"integer", ST_INTEGER}, {"number", ST_NUMBER | ST_INTEGER},
		{"boolean", ST_BOOLEAN}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].name, type) == 0)
			return rows[i].bits;
	return 0;
}

/* --- the parts of a node --- */

static int by_prop_name(const void *a, const void *b)
{
	const struct structural_prop *x = a, *y = b;
	return strcmp(x->name, y->name);
}

static int build_props(struct build *b, const json_t *props, struct structural *s, unsigned depth)
{
	const char *key;
	json_t *v;
	size_t n = json_object_size(props), i = 0;
	if (!n)
		return 0;
	s->props = arena_alloc(b->a, n * sizeof(*s->props));
	if (!s->props)
		return out_of_memory(b);
	json_object_foreach ((json_t *)(uintptr_t)props, key, v) {
		struct structural_prop *p = &s->props[i++];
		p->name = arena_strdup(b->a, str_of(key));
		int r = p->name ? build_node(b, v, &p->s, depth + 1) : out_of_memory(b);
		if (r < 0)
			return r;
	}
	s->n_props = n;
	qsort(s->props, n, sizeof(*s->props), by_prop_name);
	return 0;
}

static int build_one(struct build *b, const json_t *j, const char *member, struct structural **ret,
	unsigned depth)
{
	const json_t *v = json_object_get(j, member);
	if (!json_is_object(v))
		return 0;
	struct structural *s = arena_alloc(b->a, sizeof(*s));
	if (!s)
		return out_of_memory(b);
	*ret = s;
	return build_node(b, v, s, depth + 1);
}

static int build_many(struct build *b, const json_t *j, const char *member, struct structural **ret,
	size_t *ret_n, unsigned depth)
{
	const json_t *list = json_object_get(j, member);
	size_t n = json_array_size(list);
	struct structural *v = n ? arena_alloc(b->a, n * sizeof(*v)) : NULL;
	if (n && !v)
		return out_of_memory(b);
	for (size_t i = 0; i < n; i++) {
		int r = build_node(b, json_array_get(list, i), &v[i], depth + 1);
		if (r < 0)
			return r;
	}
	*ret = v;
	*ret_n = n;
	return 0;
}

static int build_list(struct build *b, const json_t *j, struct structural *s)
{
	const char *type = json_str(j, "x-kubernetes-list-type", "");
	const json_t *keys = json_object_get(j, "x-kubernetes-list-map-keys");
	size_t n = json_array_size(keys);
	s->list_type = strcmp(type, "map") == 0	  ? LIST_MAP
		       : strcmp(type, "set") == 0 ? LIST_SET
						  : LIST_ATOMIC;
	if (s->list_type != LIST_MAP)
		return 0;
	const char **v = arena_alloc(b->a, (n + 1) * sizeof(*v));
	if (!v)
		return out_of_memory(b);
	for (size_t i = 0, at = 0; i < n; i++) {
		const char *z = json_string_value(json_array_get(keys, i));
		if (z)
			v[at++] = z;
	}
	s->list_keys = v;
	return 0;
}

static void build_pattern(struct build *b, struct structural *s)
{
	int code;
	size_t at;
	/* a pattern that does not compile was refused with its definition */
	if (s->pattern && *s->pattern)
		s->re = pcre2_compile((PCRE2_SPTR)s->pattern, PCRE2_ZERO_TERMINATED,
			PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code, &at, b->re_context);
}

static void build_values(struct build *b, const json_t *j, struct structural *s)
{
	const struct {
		const char *name;
		const json_t **at;
	} rows[] = {{"default", &s->dflt}, {"enum", &s->enums}, {"required", &s->required},
		{"maximum", &s->max}, {"minimum", &s->min}, {"multipleOf", &s->multiple},
		{"maxLength", &s->max_length}, {"minLength", &s->min_length},
		{"maxItems", &s->max_items}, {"minItems", &s->min_items},
		{"maxProperties", &s->max_props}, {"minProperties", &s->min_props}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		*rows[i].at = json_object_get(j, rows[i].name);
	s->exclusive_max = flag(j, "exclusiveMaximum");
	s->exclusive_min = flag(j, "exclusiveMinimum");
	s->unique = flag(j, "uniqueItems");
	s->pattern = json_string_value(json_object_get(j, "pattern"));
	s->format = json_string_value(json_object_get(j, "format"));
	build_pattern(b, s);
}

static int build_node(struct build *b, const json_t *j, struct structural *s, unsigned depth)
{
	const json_t *more = json_object_get(j, "additionalProperties");
	if (depth > STRUCTURAL_DEPTH)
		return err_set(b->e, E2BIG, "Invalid", "the schema is nested too deeply");
	s->json = j;
	s->type = json_string_value(json_object_get(j, "type"));
	s->type = s->type ? s->type : "";
	s->types = type_bits(s->type);
	s->nullable = flag(j, "nullable");
	s->preserve = flag(j, "x-kubernetes-preserve-unknown-fields");
	s->embedded = flag(j, "x-kubernetes-embedded-resource");
	s->int_or_string = flag(j, "x-kubernetes-int-or-string");
	if (s->int_or_string) {
		s->types = ST_INTEGER | ST_STRING;
		s->type = "integer,string";
	}
	const char *map_type = json_string_value(json_object_get(j, "x-kubernetes-map-type"));
	s->atomic = map_type && strcmp(map_type, "atomic") == 0;
	s->has_more = json_is_object(more) || json_is_true(more);
	build_values(b, j, s);
	int r = build_list(b, j, s);
	if (r == 0)
		r = build_props(b, json_object_get(j, "properties"), s, depth);
	if (r == 0)
		r = build_one(b, j, "additionalProperties", &s->more, depth);
	if (r == 0)
		r = build_one(b, j, "items", &s->items, depth);
	if (r == 0)
		r = build_one(b, j, "not", &s->not, depth);
	if (r == 0)
		r = build_many(b, j, "allOf", &s->all, &s->n_all, depth);
	if (r == 0)
		r = build_many(b, j, "anyOf", &s->any, &s->n_any, depth);
	if (r == 0)
		r = build_many(b, j, "oneOf", &s->one, &s->n_one, depth);
	return r;
}

static void *re_alloc(size_t n, void *arg)
{
	return arena_alloc(arg, n);
}

static void re_free(void *p, void *arg)
{
	(void)p; /* the arena's */
	(void)arg;
}

int structural_new(struct arena *a, const json_t *schema, struct structural **ret, struct err *e)
{
	struct structural *s = arena_alloc(a, sizeof(*s));
	pcre2_general_context *g = pcre2_general_context_create(re_alloc, re_free, a);
	struct build b = {.a = a, .e = e, .re_context = g ? pcre2_compile_context_create(g) : NULL};
	if (!s || !b.re_context)
		return out_of_memory(&b);
	int r = build_node(&b, schema, s, 0);
	s->root = true;
	if (r == 0)
		*ret = s;
	return r;
}

const struct structural *structural_member(const struct structural *s, const char *name)
{
	size_t lo = 0, hi = s->n_props;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int r = strcmp(name, s->props[mid].name);
		if (r == 0)
			return &s->props[mid].s;
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

/* --- pruning --- */

struct pruner {
	structural_note *note;
	void *arg;
};

static void prune(struct pruner *p, const struct structural *s, json_t *v, const struct fpath *at);

static void drop(struct pruner *p, json_t *obj, const char *key, const struct fpath *at)
{
	AUTO_BUF struct buf path = {0};
	if (p->note) {
		fpath_write(P_NAME(at, key), &path);
		p->note(p->arg, path.p ? path.p : "");
	}
	(void)json_object_del(obj, key);
}

/* Embedded objects carry metadata of the usual form. */
static void prune_metadata(struct pruner *p, json_t *meta, const struct fpath *at)
{
	const struct type *t = type_by_name("meta.v1.ObjectMeta");
	const char *key;
	json_t *v;
	void *tmp;
	json_object_foreach_safe(meta, tmp, key, v)
	{
		if (t && !type_field(t, str_of(key)))
			drop(p, meta, key, at);
	}
}

static bool is_object_member(const char *key)
{
	return strcmp(key, "apiVersion") == 0 || strcmp(key, "kind") == 0 ||
	       strcmp(key, "metadata") == 0;
}

static void prune_object(
	struct pruner *p, const struct structural *s, json_t *obj, const struct fpath *at)
{
	const char *key;
	json_t *v;
	void *tmp;
	json_object_foreach_safe(obj, tmp, key, v)
	{
		const struct structural *m = s ? structural_member(s, key) : NULL;
		const struct fpath *in = P_NAME(at, key);
		if (s && (s->root || s->embedded) && is_object_member(key)) {
			if (s->embedded && strcmp(key, "metadata") == 0)
				prune_metadata(p, v, in);
		} else if (m) {
			prune(p, m, v, in);
		} else if (s && s->has_more) {
			prune(p, s->more, v, in);
		} else if (!s || !s->preserve) {
			drop(p, obj, key, at);
		}
	}
}

/* s NULL: nothing is known here. */
static void prune(struct pruner *p, const struct structural *s, json_t *v, const struct fpath *at)
{
	size_t i;
	json_t *e;
	if (json_is_object(v)) {
		prune_object(p, s, v, at);
	} else if (json_is_array(v)) {
		if (s && s->preserve && !s->items)
			return;
		json_array_foreach (v, i, e)
			prune(p, s ? s->items : NULL, e, P_INDEX(at, i));
	}
}

void structural_prune(const struct structural *s, json_t *obj, structural_note *note, void *arg)
{
	struct pruner p = {.note = note, .arg = arg};
	prune(&p, s, obj, NULL);
}

/* --- defaulting --- */

static bool bad_null(const json_t *v, const struct structural *s)
{
	return json_is_null(v) && s && !s->nullable;
}

static void set_defaults(const struct structural *s, json_t *v);

static void default_object(const struct structural *s, json_t *obj)
{
	const char *key;
	json_t *v;
	void *tmp;
	for (size_t i = 0; i < s->n_props; i++) {
		const struct structural_prop *p = &s->props[i];
		const json_t *have = json_object_get(obj, p->name);
		if (p->s.dflt && (!have || bad_null(have, &p->s)) &&
			!(s->root && is_object_member(p->name)))
			(void)json_object_set_new(obj, p->name, json_deep_copy(p->s.dflt));
	}
	json_object_foreach_safe(obj, tmp, key, v)
	{
		const struct structural *m = structural_member(s, key);
		m = m ? m : s->more;
		if (!m || (s->root && strcmp(key, "metadata") == 0))
			continue;
		if (bad_null(v, m) && m->dflt)
			(void)json_object_set_new(obj, key, json_deep_copy(m->dflt));
		set_defaults(m, json_object_get(obj, key));
	}
}

static void set_defaults(const struct structural *s, json_t *v)
{
	if (json_is_object(v))
		default_object(s, v);
	for (size_t i = 0; s->items && json_is_array(v) && i < json_array_size(v); i++) {
		if (bad_null(json_array_get(v, i), s->items) && s->items->dflt)
			(void)json_array_set_new(v, i, json_deep_copy(s->items->dflt));
		set_defaults(s->items, json_array_get(v, i));
	}
}

static void drop_nulls(const struct structural *s, json_t *v)
{
	const char *key;
	json_t *e;
	void *tmp;
	size_t i;
	if (json_is_object(v)) {
		json_object_foreach_safe(v, tmp, key, e)
		{
			const struct structural *m = structural_member(s, key);
			m = m ? m : s->more;
			if (bad_null(e, m))
				(void)json_object_del(v, key);
			else if (m)
				drop_nulls(m, e);
		}
	} else if (json_is_array(v) && s->items) {
		json_array_foreach (v, i, e)
			drop_nulls(s->items, e);
	}
}

void structural_default(const struct structural *s, json_t *obj)
{
	set_defaults(s, obj);
	drop_nulls(s, obj);
}

/* --- as tables --- */

static const struct field deduced_rest;
static const struct type deduced = {.name = "custom.Any", .rest = &deduced_rest};
/* What no schema describes: maps member by member, lists as one. */
static const struct field deduced_rest = {
	.name = "", .kind = F_OBJECT, .type = &deduced, .list_type = LIST_MAP};

static void fill_field(
	struct arena *a, const struct structural *s, const char *name, struct field *f);

static const struct field *new_field(struct arena *a, const struct structural *s)
{
	struct field *f = arena_alloc(a, sizeof(*f));
	if (f)
		fill_field(a, s, "", f);
	return f ? f : &deduced_rest;
}

static int by_field_name(const void *a, const void *b)
{
	const struct field *x = a, *y = b;
	return strcmp(x->name, y->name);
}

static void object_fields(struct field *f)
{
	static const char *const names[] = {"apiVersion", "kind", "metadata"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		f[i] = (struct field){.name = names[i], .kind = F_STRING};
	f[2].kind = F_OBJECT;
	f[2].type = type_by_name("meta.v1.ObjectMeta");
	f[2].list_type = LIST_MAP;
}

const struct type *structural_type(struct arena *a, const struct structural *s)
{
	bool object = s->root || s->embedded;
	size_t n = 0, max = s->n_props + 3;
	struct type *t = arena_alloc(a, sizeof(*t));
	struct field *f = arena_alloc(a, max * sizeof(*f));
	uint8_t *index = arena_alloc(a, max);
	if (!t || !f || !index || max > UINT8_MAX)
		return &deduced;
	if (object) {
		object_fields(f);
		n = 3;
	}
	for (size_t i = 0; i < s->n_props; i++)
		if (!object || !is_object_member(s->props[i].name))
			fill_field(a, &s->props[i].s, s->props[i].name, &f[n++]);
	qsort(f, n, sizeof(*f), by_field_name);
	for (size_t i = 0; i < n; i++)
		index[i] = (uint8_t)i;
	*t = (struct type){.name = "custom.Object",
		.fields = f,
		.by_name = index,
		.n_fields = (uint16_t)n,
		.atomic = s->atomic};
	if (s->more)
		t->rest = new_field(a, s->more);
	else if (s->preserve || s->has_more)
		t->rest = &deduced_rest;
	return t;
}

static uint8_t scalar_kind(const struct structural *s)
{
	if (s->int_or_string)
		return F_INT_OR_STRING;
	return s->types & ST_STRING    ? F_STRING
	       : s->types & ST_BOOLEAN ? F_BOOL
	       : s->types & ST_NUMBER  ? F_DOUBLE
				       : F_INT64;
}

static void fill_field(
	struct arena *a, const struct structural *s, const char *name, struct field *f)
{
	*f = (struct field){.name = name, .nullable = true};
	if (s->dflt) {
		char *text = json_dumps(s->dflt, JSON_ENCODE_ANY | JSON_COMPACT);
		f->dflt = text ? arena_strdup(a, str_of(text)) : NULL;
		free(text);
	}
	if (s->types & ST_ARRAY) {
		const struct field *e = s->items ? new_field(a, s->items) : &deduced_rest;
		f->shape = SHAPE_LIST;
		f->list_type = s->list_type;
		f->list_keys = s->list_keys;
		f->kind = e->shape == SHAPE_ONE ? e->kind : F_ANY;
		f->type = e->type;
		if (f->list_type == LIST_MAP && (f->kind != F_OBJECT || !s->list_keys[0]))
			f->list_type = LIST_ATOMIC;
	} else if (s->types & ST_OBJECT || !s->types) {
		bool open = !s->types || (s->preserve && !s->n_props && !s->more && !s->embedded);
		f->kind = F_OBJECT;
		f->type = open ? &deduced : structural_type(a, s);
		f->list_type = s->atomic ? LIST_ATOMIC : LIST_MAP;
	} else {
		f->kind = scalar_kind(s);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 * Server-side apply (KEP-555): merge by the schema's list types, ownership of fields, conflicts,
 * removal of what a manager no longer applies. */
#include <errno.h>
#include "api/apply.h"
#include "api/managed.h"
#include "xebec/base/timefmt.h"

#define FIRST_MANAGER "before-first-apply"

/* --- merging --- */
static json_t *merge_object(const struct type *t, const json_t *live, const json_t *config);

static json_t *merge_one(const struct field *f, const json_t *live, const json_t *config)
{
	if (f->kind == F_OBJECT && !f->type->atomic && json_is_object(live) &&
		json_is_object(config))
		return merge_object(f->type, live, config);
	return json_deep_copy(config);
}

/* What only live has stays where it stands; what config has follows config's order. */
static json_t *merge_list(const struct field *f, const json_t *live, const json_t *config)
{
	AUTO_JSON json_t *in_live = fieldset_index(f, live), *in_config = fieldset_index(f, config);
	json_t *out = json_array(), *v;
	size_t l = 0, r;
	json_array_foreach ((json_t *)(uintptr_t)config, r, v) {
		AUTO_BUF struct buf pe = {0};
		(void)fieldset_element(f, v, &pe, NULL);
		for (; l < json_array_size(live); l++) {
			AUTO_BUF struct buf lpe = {0};
			json_t *lv = json_array_get(live, l);
			(void)fieldset_element(f, lv, &lpe, NULL);
			if (json_object_get(in_config, lpe.p))
				break;
			(void)json_array_append(out, lv);
		}
		json_t *old = json_object_get(in_live, pe.p);
		(void)json_array_append_new(out, old ? merge_one(f, old, v) : json_deep_copy(v));
		if (old && l < json_array_size(live))
			l++;
	}
	for (; l < json_array_size(live); l++) {
		AUTO_BUF struct buf lpe = {0};
		(void)fieldset_element(f, json_array_get(live, l), &lpe, NULL);
		if (!json_object_get(in_config, lpe.p))
			(void)json_array_append(out, json_array_get(live, l));
	}
	return out;
}

static json_t *merge_map(const struct field *f, const json_t *live, const json_t *config)
{
	json_t *out = json_copy((json_t *)(uintptr_t)live), *v;
	const char *key;
	json_object_foreach ((json_t *)(uintptr_t)config, key, v) {
		json_t *old = json_object_get(live, key);
		(void)json_object_set_new(out, key, old ? merge_one(f, old, v) : json_deep_copy(v));
	}
	return out;
}

static json_t *merge_member(const struct field *f, const json_t *live, const json_t *config)
{
	if (!live || json_is_null(live) || json_is_null(config) || field_atomic(f))
		return json_deep_copy(config);
	if (f->shape == SHAPE_ONE)
		return merge_one(f, live, config);
	return f->shape == SHAPE_LIST ? merge_list(f, live, config) : merge_map(f, live, config);
}

static json_t *merge_object(const struct type *t, const json_t *live, const json_t *config)
{
	json_t *out = json_copy((json_t *)(uintptr_t)live), *v;
	const char *key;
	json_object_foreach ((json_t *)(uintptr_t)config, key, v) {
		const struct field *f = type_member(t, key);
		if (f)
			(void)json_object_set_new(
				out, key, merge_member(f, json_object_get(live, key), v));
	}
	return out;
}

/* --- removal of what was applied before and is not any more, unless somebody else holds it --- */
static void prune_object(const struct type *t, json_t *obj, const json_t *last, const json_t *held);

static void prune_list(const struct field *f, json_t *list, const json_t *last, const json_t *held)
{
	for (size_t i = json_array_size(list); i-- > 0;) {
		AUTO_BUF struct buf pe = {0};
		json_t *v = json_array_get(list, i);
		if (fieldset_element(f, v, &pe, NULL) != 0)
			continue;
		const json_t *was = json_object_get(last, pe.p), *is = json_object_get(held, pe.p);
		if (was && !is)
			(void)json_array_remove(list, i);
		else if (was && f->kind == F_OBJECT)
			prune_object(f->type, v, was, is);
	}
}

static void prune_map(const struct field *f, json_t *map, const json_t *last, const json_t *held)
{
	const char *key;
	json_t *v;
	void *tmp;
	json_object_foreach_safe(map, tmp, key, v)
	{
		AUTO_BUF struct buf pe = {0};
		buf_addf(&pe, "f:%s", key);
		const json_t *was = json_object_get(last, pe.p), *is = json_object_get(held, pe.p);
		if (was && !is)
			(void)json_object_del(map, key);
		else if (was && f->kind == F_OBJECT && !f->type->atomic)
			prune_object(f->type, v, was, is);
	}
}

static void prune_object(const struct type *t, json_t *obj, const json_t *last, const json_t *held)
{
	const char *key;
	json_t *v;
	void *tmp;
	json_object_foreach_safe(obj, tmp, key, v)
	{
		const struct field *f = type_member(t, key);
		AUTO_BUF struct buf pe = {0};
		buf_addf(&pe, "f:%s", key);
		const json_t *was = json_object_get(last, pe.p), *is = json_object_get(held, pe.p);
		if (!f || !was)
			continue;
		if (!is)
			(void)json_object_del(obj, key);
		else if (field_atomic(f))
			continue;
		else if (f->shape == SHAPE_ONE)
			prune_object(f->type, v, was, is);
		else if (f->shape == SHAPE_LIST)
			prune_list(f, v, was, is);
		else
			prune_map(f, v, was, is);
	}
}

static json_t *held_by_all(const struct owners *all)
{
	json_t *set = json_object();
	for (size_t i = 0; i < all->n; i++)
		fieldset_add(set, all->v[i].set);
	return set;
}

/* --- conflicts --- */
struct conflict_sink {
	struct causes *c;
	const struct owner *owner;
	struct buf *text;
	size_t n;
};

static void add_conflict(void *arg, const char *path)
{
	struct conflict_sink *s = arg;
	if (s->c)
		cause_add(s->c, "FieldManagerConflict", path, "conflict with \"%s\"%s%s using %s",
			s->owner->manager, *s->owner->sub ? " with subresource " : "",
			s->owner->sub, s->owner->version);
	buf_addf(s->text, "%sconflict with \"%s\" using %s: %s", s->n++ ? ", " : ": ",
		s->owner->manager, s->owner->version, path);
}

/* Other managers lose what changes; without force that is a conflict. */
static int take_over(struct owners *all, const struct owner *mine, const struct fieldset_diff *d,
	bool force, struct causes *c, struct err *e)
{
	AUTO_BUF struct buf text = {0};
	struct conflict_sink sink = {.c = c, .text = &text};
	AUTO_JSON json_t *touched = json_object();
	fieldset_add(touched, d->added);
	fieldset_add(touched, d->changed);
	for (size_t i = 0; i < all->n; i++) {
		struct owner *o = &all->v[i];
		if (o == mine)
			continue;
		AUTO_JSON json_t *lost = fieldset_both(o->set, touched);
		sink.owner = o;
		if (!force)
			fieldset_each(lost, add_conflict, &sink);
		fieldset_remove(o->set, lost);
		fieldset_remove(o->set, d->removed);
	}
	if (sink.n)
		return err_set(e, EEXIST, "Conflict", "Apply failed with %zu conflict%s%s", sink.n,
			sink.n > 1 ? "s" : "", text.p);
	return 0;
}

/* --- the operations --- */
int apply_decode(const struct kind *k, struct str body, json_t **ret, struct err *e)
{
	struct str t = body;
	while (t.n && (*t.p == ' ' || *t.p == '\n' || *t.p == '\t' || *t.p == '\r')) {
		t.p++;
		t.n--;
	}
	struct decode_opts o = {.media = t.n && *t.p == '{' ? MEDIA_JSON : MEDIA_YAML,
		.fields = FIELDS_STRICT,
		.keep_empty = true};
	AUTO_JSON json_t *obj = NULL;
	int r = api_decode(k, body, &o, &obj, e);
	if (r != 0)
		return r;
	if (json_at(obj, "metadata.managedFields"))
		return err_set(e, EBADMSG, "BadRequest", "metadata.managedFields must be nil");
	*ret = STEAL(obj);
	return 0;
}

/* The first apply to an object that nobody tracked: what is there belongs to its past. */
static int first_apply(const struct kind *k, const json_t *live, const char *version,
	struct owners *all, int64_t now, struct err *e)
{
	struct fieldset_diff d = {0};
	if (!live || all->n)
		return 0;
	int r = owners_diff(k, NULL, live, "", &d);
	if (r == 0) {
		fieldset_add(d.added, d.changed);
		owners_add(all, owners_entry("Update", FIRST_MANAGER, version, "", now),
			json_incref(d.added));
	} else {
		(void)err_set(e, ENOMEM, "InternalError", "out of memory");
	}
	fieldset_diff_free(&d);
	return r;
}

/* The manager's fields become those of config; *last: what it held before. */
static int claim(const struct kind *k, const json_t *config, const struct apply_opts *o,
	struct owners *all, struct owner **ret, json_t **last, struct err *e)
{
	char version[256];
	json_t *mine = NULL;
	kind_api_version(k, version);
	int r = fieldset_of(owners_type(k), config, true, &mine, e);
	if (r != 0)
		return r;
	owners_strip(k, mine, o->sub);
	struct owner *me = owners_get(all, "Apply", version, o);
	if (!me) {
		json_decref(mine);
		return err_set(e, ENOMEM, "InternalError", "too many field managers");
	}
	*last = me->set;
	me->set = mine;
	(void)json_object_set_new(me->entry, "apiVersion", json_string(version));
	me->version = json_str(me->entry, "apiVersion", "");
	*ret = me;
	return 0;
}

static int apply_into(const struct kind *k, const json_t *live, const json_t *config,
	const struct apply_opts *o, struct owners *all, struct causes *c, json_t *merged,
	struct err *e)
{
	char version[256];
	AUTO_JSON json_t *last = NULL, *held = NULL;
	struct fieldset_diff d = {0};
	struct owner *me = NULL;
	kind_api_version(k, version);
	int r = first_apply(k, live, version, all, o->now_ns, e);
	if (r == 0)
		r = claim(k, config, o, all, &me, &last, e);
	if (r != 0)
		return r;
	held = held_by_all(all);
	prune_object(owners_type(k), merged, last, held);
	if (!live) /* nobody else is there to lose anything */
		return owners_touch(me, o->now_ns), 0;
	r = owners_diff(k, live, merged, o->sub, &d);
	if (r == 0)
		r = take_over(all, me, &d, o->force, c, e);
	else
		(void)err_set(e, ENOMEM, "InternalError", "out of memory");
	if (r == 0 && !fieldset_same(last, me->set))
		owners_touch(me, o->now_ns);
	fieldset_diff_free(&d);
	return r;
}

int apply_config(const struct kind *k, const json_t *live, const json_t *config,
	const struct apply_opts *o, struct causes *c, json_t **ret, struct err *e)
{
	AUTO_JSON json_t *shallow =
		live ? merge_object(owners_type(k), live, config) : json_deep_copy(config);
	AUTO_JSON json_t *merged = json_deep_copy(shallow);
	struct owners all = {0};
	if (!merged)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	owners_read(json_at(live, "metadata.managedFields"), &all);
	int r = apply_into(k, live, config, o, &all, c, merged, e);
	if (r == 0) {
		owners_write(&all, merged);
		*ret = STEAL(merged);
	}
	owners_free(&all);
	return r;
}

/* managedFields: [{}] in a request means: forget who owned what. */
static bool forget(const json_t *obj)
{
	const json_t *list = json_at(obj, "metadata.managedFields");
	return json_array_size(list) == 1 && json_object_size(json_array_get(list, 0)) == 0;
}

/* The entries that the request left, or, where it says nothing of them, those of before. A
 * subresource changes them only by what it writes. */
static void known_owners(
	const json_t *live, const json_t *obj, const struct apply_opts *o, struct owners *all)
{
	if (*o->sub || !json_array_size(json_at(obj, "metadata.managedFields")))
		owners_read(json_at(live, "metadata.managedFields"), all);
	else if (!forget(obj))
		owners_read(json_at(obj, "metadata.managedFields"), all);
}

void apply_track(const struct kind *k, const json_t *live, json_t *obj, const struct apply_opts *o)
{
	char version[256];
	struct fieldset_diff d = {0};
	struct owners all = {0};
	json_t *meta = json_make(obj, "metadata");
	known_owners(live, obj, o, &all);
	if (live && !all.n) { /* forgotten, or from before anybody kept track */
		(void)json_object_del(meta, "managedFields");
		return;
	}
	kind_api_version(k, version);
	if (owners_diff(k, live, obj, o->sub, &d) == 0) {
		(void)take_over(&all, NULL, &d, true, NULL, NULL);
		fieldset_add(d.added, d.changed);
		struct owner *me =
			fieldset_empty(d.added) ? NULL : owners_get(&all, "Update", version, o);
		if (me) {
			fieldset_add(me->set, d.added);
			owners_touch(me, o->now_ns);
		}
	}
	fieldset_diff_free(&d);
	owners_write(&all, obj);
	owners_free(&all);
}

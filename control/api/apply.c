/* SPDX-License-Identifier: Apache-2.0
 * Server-side apply (KEP-555): merge by the schema's list types, ownership of fields, conflicts,
 * removal of what a manager no longer applies. */
#include <errno.h>
#include "api/apply.h"
#include "api/fieldset.h"
#include "xebec/base/timefmt.h"

#define MANAGERS_MAX	64
#define UPDATERS_MAX	10 /* older ones are folded into one */
#define FIRST_MANAGER	"before-first-apply"
#define ANCIENT_MANAGER "ancient-changes"

struct owner {							/* one entry of managedFields */
	const char *manager, *operation, *version, *time, *sub; /* borrowed from `entry` */
	json_t *entry, *set, *before; /* set: now; before: as it was read */
};
struct owners {
	struct owner v[MANAGERS_MAX + 2];
	size_t n;
};

static void owners_free(struct owners *o)
{
	for (size_t i = 0; i < o->n; i++) {
		json_decref(o->v[i].entry);
		json_decref(o->v[i].set);
		json_decref(o->v[i].before);
	}
}

/* Takes over entry and set. */
static struct owner *owners_add(struct owners *all, json_t *entry, json_t *set)
{
	struct owner *o = &all->v[all->n++];
	*o = (struct owner){.entry = entry, .set = set, .before = json_deep_copy(set)};
	o->manager = json_str(entry, "manager", "");
	o->operation = json_str(entry, "operation", "");
	o->version = json_str(entry, "apiVersion", "");
	o->time = json_str(entry, "time", "");
	o->sub = json_str(entry, "subresource", "");
	return o;
}

static void owners_read(const json_t *obj, struct owners *all)
{
	size_t i;
	json_t *e;
	json_array_foreach (json_at(obj, "metadata.managedFields"), i, e)
		if (json_is_object(e) && all->n < MANAGERS_MAX)
			owners_add(
				all, json_incref(e), fieldset_read(json_object_get(e, "fieldsV1")));
}

static struct owner *owners_find(struct owners *all, const char *operation, const char *manager,
	const char *version, const char *sub)
{
	for (size_t i = 0; i < all->n; i++) {
		struct owner *o = &all->v[i];
		if (strcmp(o->manager, manager) == 0 && strcmp(o->operation, operation) == 0 &&
			strcmp(o->sub, sub) == 0 &&
			(*operation == 'A' || strcmp(o->version, version) == 0))
			return o;
	}
	return NULL;
}

static json_t *new_entry(const char *operation, const char *manager, const char *version,
	const char *sub, int64_t now)
{
	char text[21];
	time_rfc3339(now, text);
	json_t *e = json_pack("{s:s,s:s,s:s,s:s,s:s}", "manager", manager, "operation", operation,
		"apiVersion", version, "time", text, "fieldsType", "FieldsV1");
	if (*sub)
		(void)json_object_set_new(e, "subresource", json_string(sub));
	return e;
}

static struct owner *owners_get(
	struct owners *all, const char *operation, const char *version, const struct apply_opts *o)
{
	struct owner *w = owners_find(all, operation, o->manager, version, o->sub);
	if (w)
		return w;
	return owners_add(
		all, new_entry(operation, o->manager, version, o->sub, o->now_ns), json_object());
}

/* --- writing managedFields --- */
static int owner_order(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;
	int r = strcmp(x->operation, y->operation);
	if (r == 0)
		r = strcmp(x->time, y->time);
	if (r == 0)
		r = strcmp(x->manager, y->manager);
	return r ? r : strcmp(x->sub, y->sub);
}

/* Folds the oldest updaters into one when there are too many. */
static void cap_updaters(struct owners *all)
{
	size_t updaters = 0;
	for (size_t i = 0; i < all->n; i++)
		updaters += *all->v[i].operation == 'U' && !fieldset_empty(all->v[i].set);
	struct owner *into = NULL;
	for (size_t i = 0; i < all->n && updaters > UPDATERS_MAX; i++) {
		struct owner *o = &all->v[i];
		if (*o->operation != 'U' || fieldset_empty(o->set))
			continue;
		if (!into) {
			(void)json_object_set_new(
				o->entry, "manager", json_string(ANCIENT_MANAGER));
			o->manager = ANCIENT_MANAGER;
			into = o;
			continue;
		}
		fieldset_add(into->set, o->set);
		(void)json_object_clear(o->set);
		updaters--;
	}
}

/* Sets hold what fields were when they were built: only their text form compares. */
static bool unchanged(const struct owner *o)
{
	AUTO_JSON json_t *a = fieldset_write(o->set), *b = fieldset_write(o->before);
	return json_equal(a, b);
}

static void owners_write(struct owners *all, json_t *obj, int64_t now)
{
	json_t *list = json_array(), *meta = json_make(obj, "metadata");
	char text[21];
	time_rfc3339(now, text);
	for (size_t i = 0; i < all->n; i++) {
		struct owner *o = &all->v[i];
		if (unchanged(o))
			continue;
		(void)json_object_set_new(o->entry, "time", json_string(text));
		o->time = json_str(o->entry, "time", "");
	}
	qsort(all->v, all->n, sizeof(all->v[0]), owner_order);
	cap_updaters(all);
	for (size_t i = 0; i < all->n; i++) {
		struct owner *o = &all->v[i];
		if (fieldset_empty(o->set))
			continue;
		(void)json_object_set_new(o->entry, "fieldsV1", fieldset_write(o->set));
		(void)json_array_append(list, o->entry);
	}
	if (json_array_size(list) && meta)
		(void)json_object_set_new(meta, "managedFields", list);
	else {
		json_decref(list);
		(void)json_object_del(meta, "managedFields");
	}
}

/* --- what belongs to nobody --- */
static void strip(const struct kind *k, json_t *set, const char *sub)
{
	static const char *const top[] = {"f:apiVersion", "f:kind"};
	static const char *const meta[] = {"f:name", "f:namespace", "f:creationTimestamp",
		"f:selfLink", "f:uid", "f:generation", "f:managedFields", "f:resourceVersion", "."};
	json_t *m = json_object_get(set, "f:metadata");
	for (size_t i = 0; i < ARRAY_LEN(top); i++)
		(void)json_object_del(set, top[i]);
	for (size_t i = 0; m && i < ARRAY_LEN(meta); i++)
		(void)json_object_del(m, meta[i]);
	if (m && fieldset_empty(m))
		(void)json_object_del(set, "f:metadata");
	if (strcmp(sub, "status") == 0)
		(void)json_object_del(set, "f:spec");
	else if (!*sub && k->subresources & SUB_STATUS)
		(void)json_object_del(set, "f:status");
}

static int set_of(const struct kind *k, const json_t *obj, const char *sub, bool strict,
	json_t **ret, struct err *e)
{
	int r = fieldset_of(k->type, obj, strict, ret, e);
	if (r == 0)
		strip(k, *ret, sub);
	return r;
}

/* --- merging --- */
static json_t *merge_object(const struct type *t, const json_t *live, const json_t *config);

static json_t *merge_one(const struct field *f, const json_t *live, const json_t *config)
{
	if (f->kind == F_OBJECT && !f->type->atomic && json_is_object(live) &&
		json_is_object(config))
		return merge_object(f->type, live, config);
	return json_deep_copy(config);
}

/* The elements of a list by their path elements; NULL where one has no key. */
static json_t *index_list(const struct field *f, const json_t *list)
{
	json_t *index = json_object(), *v;
	size_t i;
	json_array_foreach ((json_t *)(uintptr_t)list, i, v) {
		AUTO_BUF struct buf pe = {0};
		if (fieldset_element(f, v, &pe, NULL) == 0 && !json_object_get(index, pe.p))
			(void)json_object_set(index, pe.p, v);
	}
	return index;
}

/* What only live has stays where it stands; what config has follows config's order. */
static json_t *merge_list(const struct field *f, const json_t *live, const json_t *config)
{
	AUTO_JSON json_t *in_live = index_list(f, live), *in_config = index_list(f, config);
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
		const struct field *f = type_field(t, str_of(key));
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
		const struct field *f = type_field(t, str_of(key));
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
static int take_over(struct owners *all, const struct owner *mine, const json_t *touched,
	const json_t *gone, bool force, struct causes *c, struct err *e)
{
	AUTO_BUF struct buf text = {0};
	struct conflict_sink sink = {.c = c, .text = &text};
	for (size_t i = 0; i < all->n; i++) {
		struct owner *o = &all->v[i];
		if (o == mine)
			continue;
		AUTO_JSON json_t *lost = fieldset_both(o->set, touched);
		sink.owner = o;
		if (!force)
			fieldset_each(lost, add_conflict, &sink);
		fieldset_remove(o->set, lost);
		fieldset_remove(o->set, gone);
	}
	if (sink.n)
		return err_set(e, EEXIST, "Conflict", "Apply failed with %zu conflict%s%s", sink.n,
			sink.n > 1 ? "s" : "", text.p);
	return 0;
}

/* touched: added or changed between the two; gone: removed. */
static int compare(const struct kind *k, const json_t *live, const json_t *now, const char *sub,
	json_t **touched, json_t **gone, struct err *e)
{
	AUTO_JSON json_t *a = NULL, *b = NULL, *changed = NULL;
	int r = set_of(k, live, sub, false, &a, e);
	if (r == 0)
		r = set_of(k, now, sub, false, &b, e);
	if (r != 0)
		return r;
	changed = fieldset_changed(a, b);
	*gone = json_object();
	fieldset_add(*gone, a);
	fieldset_remove(*gone, b);
	*touched = STEAL(b);
	fieldset_remove(*touched, a);
	fieldset_add(*touched, changed);
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
	json_t *set = NULL;
	if (!live || all->n)
		return 0;
	int r = set_of(k, live, "", false, &set, e);
	if (r != 0)
		return r;
	owners_add(all, new_entry("Update", FIRST_MANAGER, version, "", now), set);
	return 0;
}

static int apply_into(const struct kind *k, const json_t *live, const json_t *config,
	const struct apply_opts *o, struct owners *all, struct causes *c, json_t *merged,
	struct err *e)
{
	char version[256];
	AUTO_JSON json_t *mine = NULL, *touched = NULL, *gone = NULL, *last = NULL, *held = NULL;
	kind_api_version(k, version);
	int r = set_of(k, config, o->sub, true, &mine, e);
	if (r == 0)
		r = first_apply(k, live, version, all, o->now_ns, e);
	if (r != 0)
		return r;
	struct owner *me = owners_get(all, "Apply", version, o);
	last = me->set;
	me->set = STEAL(mine);
	(void)json_object_set_new(me->entry, "apiVersion", json_string(version));
	me->version = json_str(me->entry, "apiVersion", "");
	held = held_by_all(all);
	prune_object(k->type, merged, last, held);
	r = compare(k, live, merged, o->sub, &touched, &gone, e);
	if (r == 0)
		r = take_over(all, me, touched, gone, o->force, c, e);
	return r;
}

int apply_config(const struct kind *k, const json_t *live, const json_t *config,
	const struct apply_opts *o, struct causes *c, json_t **ret, struct err *e)
{
	AUTO_JSON json_t *shallow =
		live ? merge_object(k->type, live, config) : json_deep_copy(config);
	AUTO_JSON json_t *merged = json_deep_copy(shallow);
	struct owners all = {0};
	if (!merged)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	owners_read(live, &all);
	int r = apply_into(k, live, config, o, &all, c, merged, e);
	if (r == 0) {
		owners_write(&all, merged, o->now_ns);
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

void apply_track(const struct kind *k, const json_t *live, json_t *obj, const struct apply_opts *o)
{
	char version[256];
	AUTO_JSON json_t *touched = NULL, *gone = NULL;
	struct owners all = {0};
	json_t *meta = json_make(obj, "metadata");
	if (!live || !json_at(live, "metadata.managedFields") || forget(obj)) {
		(void)json_object_del(meta, "managedFields");
		return;
	}
	kind_api_version(k, version);
	owners_read(live, &all);
	if (compare(k, live, obj, o->sub, &touched, &gone, NULL) == 0) {
		struct owner *me = owners_get(&all, "Update", version, o);
		(void)take_over(&all, me, touched, gone, true, NULL, NULL);
		fieldset_add(me->set, touched);
		fieldset_remove(me->set, gone);
	}
	owners_write(&all, obj, o->now_ns);
	owners_free(&all);
}

/* SPDX-License-Identifier: Apache-2.0
 * The entries of metadata.managedFields (KEP-555): reading, finding, ordering, writing. */
#include <errno.h>
#include "api/custom.h"
#include "api/managed.h"
#include "xebec/base/timefmt.h"

#define UPDATERS_MAX	10 /* older ones are folded into one */
#define ANCIENT_MANAGER "ancient-changes"

void owners_free(struct owners *all)
{
	for (size_t i = 0; i < all->n; i++) {
		json_decref(all->v[i].entry);
		json_decref(all->v[i].set);
	}
	free(all->v);
	*all = (struct owners){0};
}

static bool grow(struct owners *all)
{
	size_t cap = all->cap ? 2 * all->cap : 8;
	if (all->n < all->cap)
		return true;
	struct owner *v = all->n < MANAGERS_MAX ? reallocarray(all->v, cap, sizeof(*v)) : NULL;
	if (!v)
		return false;
	all->v = v;
	all->cap = cap;
	return true;
}

struct owner *owners_add(struct owners *all, json_t *entry, json_t *set)
{
	if (!entry || !set || !grow(all)) {
		json_decref(entry);
		json_decref(set);
		return NULL;
	}
	struct owner *o = &all->v[all->n++];
	*o = (struct owner){.entry = entry, .set = set};
	o->manager = json_str(entry, "manager", "");
	o->operation = json_str(entry, "operation", "");
	o->version = json_str(entry, "apiVersion", "");
	o->time = json_str(entry, "time", "");
	o->sub = json_str(entry, "subresource", "");
	return o;
}

void owners_read(const json_t *managed_fields, struct owners *all)
{
	size_t i;
	json_t *e;
	json_array_foreach ((json_t *)(uintptr_t)managed_fields, i, e) {
		const json_t *fields = json_object_get(e, "fieldsV1");
		if (*json_str(e, "operation", "") && json_is_object(fields))
			(void)owners_add(all, json_copy(e), fieldset_read(fields));
	}
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

json_t *owners_entry(const char *operation, const char *manager, const char *version,
	const char *sub, int64_t now)
{
	char text[21];
	time_rfc3339(now, text);
	json_t *e = json_pack("{s:s,s:s,s:s,s:s,s:s}", "manager", manager, "operation", operation,
		"apiVersion", version, "time", text, "fieldsType", "FieldsV1");
	if (e && *sub)
		(void)json_object_set_new(e, "subresource", json_string(sub));
	return e;
}

struct owner *owners_get(
	struct owners *all, const char *operation, const char *version, const struct apply_opts *o)
{
	struct owner *w = owners_find(all, operation, o->manager, version, o->sub);
	if (w)
		return w;
	return owners_add(all, owners_entry(operation, o->manager, version, o->sub, o->now_ns),
		json_object());
}

void owners_touch(struct owner *o, int64_t now)
{
	char text[21];
	time_rfc3339(now, text);
	(void)json_object_set_new(o->entry, "time", json_string(text));
	o->time = json_str(o->entry, "time", "");
}

/* --- writing --- */
static int owner_order(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;
	int r = strcmp(x->operation, y->operation);
	if (r == 0)
		r = strcmp(x->time, y->time);
	if (r == 0)
		r = strcmp(x->manager, y->manager);
	if (r == 0)
		r = strcmp(x->version, y->version);
	return r ? r : strcmp(x->sub, y->sub);
}

static bool updater(const struct owner *o)
{
	return *o->operation == 'U' && !*o->sub && !fieldset_empty(o->set);
}

/* Folds the oldest updaters of one version into one when there are too many. */
static void cap_updaters(struct owners *all)
{
	size_t updaters = 0;
	for (size_t i = 0; i < all->n; i++)
		updaters += updater(&all->v[i]);
	struct owner *into = NULL;
	for (size_t i = 0; i < all->n && updaters > UPDATERS_MAX; i++) {
		struct owner *o = &all->v[i];
		if (!updater(o) || (into && strcmp(into->version, o->version) != 0))
			continue;
		if (into) {
			fieldset_add(into->set, o->set);
			(void)json_object_clear(o->set);
			into->time = o->time;
			(void)json_object_set(
				into->entry, "time", json_object_get(o->entry, "time"));
			updaters--;
			continue;
		}
		(void)json_object_set_new(o->entry, "manager", json_string(ANCIENT_MANAGER));
		o->manager = ANCIENT_MANAGER;
		into = o;
	}
}

void owners_write(struct owners *all, json_t *obj)
{
	json_t *list = json_array(), *meta = json_make(obj, "metadata");
	if (all->n)
		qsort(all->v, all->n, sizeof(all->v[0]), owner_order);
	cap_updaters(all);
	for (size_t i = 0; i < all->n; i++) {
		struct owner *o = &all->v[i];
		if (fieldset_empty(o->set))
			continue;
		(void)json_object_set_new(o->entry, "fieldsV1", fieldset_write(o->set));
		(void)json_array_append(list, o->entry);
	}
	if (json_array_size(list) && meta) {
		(void)json_object_set_new(meta, "managedFields", list);
		return;
	}
	json_decref(list);
	(void)json_object_del(meta, "managedFields");
}

/* --- what belongs to nobody --- */
static void strip_meta(json_t *set)
{
	static const char *const names[] = {"f:name", "f:namespace", "f:creationTimestamp",
		"f:selfLink", "f:uid", "f:generation", "f:managedFields", "f:resourceVersion", "."};
	json_t *m = json_object_get(set, "f:metadata");
	for (size_t i = 0; m && i < ARRAY_LEN(names); i++)
		(void)json_object_del(m, names[i]);
	if (m && fieldset_empty(m))
		(void)json_object_del(set, "f:metadata");
}

/* Rows of what a path does not write, beside status on the main path and spec on /status. */
static const struct {
	const char *group, *kind, *sub, *member, *inner;
} unwritten[] = {
	{"", "Pod", "status", "f:metadata", "f:deletionTimestamp"},
	{"", "Pod", "status", "f:metadata", "f:ownerReferences"},
	{"apps", "Deployment", "status", "f:metadata", "f:labels"},
	{"certificates.k8s.io", "CertificateSigningRequest", "", "f:spec", NULL},
	{"certificates.k8s.io", "CertificateSigningRequest", "approval", "f:spec", NULL},
	{"certificates.k8s.io", "CertificateSigningRequest", "approval", "f:status",
		"f:certificate"},
	{"storage.k8s.io", "VolumeAttachment", "status", "f:metadata", NULL},
	{"flowcontrol.apiserver.k8s.io", "FlowSchema", "status", "f:metadata", NULL},
	{"flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration", "status", "f:metadata",
		NULL},
	{"apiextensions.k8s.io", "CustomResourceDefinition", "status", "f:metadata", NULL},
};

static void strip_unwritten(const struct kind *k, json_t *set, const char *sub)
{
	for (size_t i = 0; i < ARRAY_LEN(unwritten); i++) {
		if (strcmp(unwritten[i].sub, sub) != 0 || strcmp(unwritten[i].kind, k->kind) != 0 ||
			strcmp(unwritten[i].group, k->group) != 0)
			continue;
		json_t *m = json_object_get(set, unwritten[i].member);
		if (m && unwritten[i].inner)
			(void)json_object_del(m, unwritten[i].inner);
		if (m && (!unwritten[i].inner || fieldset_empty(m)))
			(void)json_object_del(set, unwritten[i].member);
	}
}

/* Some pod subresources take one part of the spec. */
static const struct {
	const char *sub, *keep[3];
} parts[] = {
	{"ephemeralcontainers", {"f:ephemeralContainers"}},
	{"resize", {"f:containers", "f:initContainers", "f:resources"}},
	{"scale", {"f:replicas"}},
};

static bool kept(const char *const keep[3], const char *name)
{
	for (size_t i = 0; i < 3 && keep[i]; i++)
		if (strcmp(keep[i], name) == 0)
			return true;
	return false;
}

static void strip_part(json_t *set, const char *sub)
{
	const char *key;
	json_t *v;
	void *tmp;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		if (strcmp(parts[i].sub, sub) != 0)
			continue;
		json_object_foreach_safe(set, tmp, key, v) if (strcmp(key, "f:spec") != 0)(void)
			json_object_del(set, key);
		json_t *spec = json_object_get(set, "f:spec");
		json_object_foreach_safe(spec, tmp, key, v) if (!kept(parts[i].keep, key))(void)
			json_object_del(spec, key);
		if (spec && fieldset_empty(spec))
			(void)json_object_del(set, "f:spec");
	}
}

void owners_strip(const struct kind *k, json_t *set, const char *sub)
{
	(void)json_object_del(set, "f:apiVersion");
	(void)json_object_del(set, "f:kind");
	strip_meta(set);
	if (strcmp(sub, "status") == 0)
		(void)json_object_del(set, "f:spec");
	else if (strcmp(sub, "approval") != 0 && k->subresources & SUB_STATUS)
		(void)json_object_del(set, "f:status");
	strip_unwritten(k, set, sub);
	strip_part(set, sub);
}

const struct type *owners_type(const struct kind *k)
{
	return k->custom ? k->custom->merge : k->type;
}

int owners_diff(const struct kind *k, const json_t *live, const json_t *now, const char *sub,
	struct fieldset_diff *ret)
{
	if (fieldset_compare(owners_type(k), live, now, ret) != 0)
		return -ENOMEM;
	owners_strip(k, ret->added, sub);
	owners_strip(k, ret->changed, sub);
	owners_strip(k, ret->removed, sub);
	return 0;
}

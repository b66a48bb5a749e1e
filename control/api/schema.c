/* SPDX-License-Identifier: Apache-2.0
 * Lookups in the compiled schema: binary searches over the order that schemac laid down. */
#include <stdio.h>
#include <errno.h>
#include "api/custom.h"

/* Compares as strcmp does: bytes first, then length. */
static int str_order(struct str a, const char *b)
{
	size_t n = strlen(b);
	int r = memcmp(a.p ? a.p : "", b, a.n < n ? a.n : n);
	return r ? r : (a.n > n) - (a.n < n);
}

static int kind_order(
	const struct kind *k, struct str group, struct str version, struct str name, bool by_kind)
{
	int r = str_order(group, k->group);
	if (r == 0)
		r = str_order(version, k->version);
	return r ? r : str_order(name, by_kind ? k->kind : k->plural);
}

static const struct kind *find_kind(
	struct str group, struct str version, struct str name, bool by_kind)
{
	size_t lo = 0, hi = api_schema.n_kinds;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct kind *k = &api_schema.kinds[by_kind ? api_schema.by_kind[mid] : mid];
		int r = kind_order(k, group, version, name, by_kind);
		if (r == 0)
			return k;
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct kind *kind_by_resource(struct str group, struct str version, struct str plural)
{
	return find_kind(group, version, plural, false);
}

const struct kind *kind_by_kind(struct str group, struct str version, struct str kind)
{
	return find_kind(group, version, kind, true);
}

size_t kind_count(void)
{
	return api_schema.n_kinds;
}

const struct kind *kind_at(size_t i)
{
	return i < api_schema.n_kinds ? &api_schema.kinds[i] : NULL;
}

void kind_api_version(const struct kind *k, char out[static 256])
{
	(void)snprintf(out, 256, "%s%s%s", k->group, *k->group ? "/" : "", k->version);
}

const struct type *schema_type(const struct schema *s, const char *name)
{
	size_t lo = 0, hi = s->n_types;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		int r = strcmp(name, s->types[mid].name);
		if (r == 0)
			return &s->types[mid];
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct type *type_by_name(const char *name)
{
	return schema_type(&api_schema, name);
}

const struct field *type_field(const struct type *t, struct str name)
{
	size_t lo = 0, hi = t->n_fields;
	while (lo < hi) {
		size_t mid = (lo + hi) / 2;
		const struct field *f = &t->fields[t->by_name[mid]];
		int r = str_order(name, f->name);
		if (r == 0)
			return f;
		if (r < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

const struct field *type_member(const struct type *t, const char *name)
{
	const struct field *f = type_field(t, str_of(name));
	return f ? f : t->rest;
}

static bool known_group(const char *group)
{
	for (size_t i = 0; i < api_schema.n_kinds; i++)
		if (strcmp(api_schema.kinds[i].group, group) == 0)
			return true;
	return false;
}

/* Built-in groups come first; within a group the preferred version is last. */
static int publish_order(const void *a, const void *b)
{
	const struct kind *x = *(const struct kind *const *)a, *y = *(const struct kind *const *)b;
	int r = strcmp(x->group, y->group);
	if (r) {
		bool own_x = known_group(x->group), own_y = known_group(y->group);
		return own_x == own_y ? r : own_x ? -1 : 1;
	}
	r = strcmp(x->version, y->version);
	if (r && (x->custom || y->custom))
		r = version_order(x->version, y->version);
	return r ? r : strcmp(x->plural, y->plural);
}

int kinds_new(const struct kind *const *more, size_t n, struct kinds *ret)
{
	size_t own = api_schema.n_kinds;
	const struct kind **v = calloc(own + n + 1, sizeof(const struct kind *));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < own; i++)
		v[i] = &api_schema.kinds[i];
	for (size_t i = 0; i < n; i++)
		v[own + i] = more[i];
	if (n)
		qsort(v, own + n, sizeof(*v), publish_order);
	*ret = (struct kinds){.v = v, .n = own + n};
	return 0;
}

void kinds_free(struct kinds *ks)
{
	free((void *)(uintptr_t)ks->v);
	*ks = (struct kinds){0};
}

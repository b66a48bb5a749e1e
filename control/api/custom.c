/* SPDX-License-Identifier: Apache-2.0
 * CustomResourceDefinitions to kinds. */
#include "api/custom.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include "api/defaults.h"
#include "api/jsonpath.h"
#include "api/structural.h"

static const struct field object_rest = {.name = "", .kind = F_ANY, .nullable = true};

/* --- versions in the order of preference --- */

struct version {
	int stage; /* 0: no version at all, 1 alpha, 2 beta, 3 stable */
	long major, minor;
};

static struct version version_of(const char *z)
{
	struct version v = {0};
	char *end;
	if (*z != 'v' || !isdigit((unsigned char)z[1]) || z[1] == '0')
		return v;
	v.major = strtol(z + 1, &end, 10);
	const char *word = strncmp(end, "alpha", 5) == 0  ? end + 5
			   : strncmp(end, "beta", 4) == 0 ? end + 4
							  : NULL;
	if (!*end) {
		v.stage = 3;
	} else if (word && isdigit((unsigned char)*word) && *word != '0') {
		v.minor = strtol(word, &end, 10);
		if (!*end)
			v.stage = *(word - 1) == 'a' && word[-5] == 'a' ? 1 : 2;
	}
	return v;
}

int version_order(const char *a, const char *b)
{
	struct version x = version_of(a), y = version_of(b);
	if (!x.stage && !y.stage)
		return -strcmp(a, b); /* other words: the alphabetically first is preferred */
	if (x.stage != y.stage)
		return x.stage < y.stage ? -1 : 1;
	if (x.major != y.major)
		return x.major < y.major ? -1 : 1;
	return (x.minor > y.minor) - (x.minor < y.minor);
}

/* --- compiling --- */

struct build {
	struct definition *d;
	struct arena *a;
	struct err *e;
	const struct type *type; /* of every custom object */
};

static int out_of_memory(struct build *b)
{
	return err_set(b->e, ENOMEM, "InternalError", "out of memory");
}

/* Metadata has its type; everything else is the schema's business. */
static const struct type *object_type(struct build *b)
{
	static const uint8_t by_name[] = {0, 1, 2};
	struct type *t = arena_alloc(b->a, sizeof(*t));
	struct field *f = arena_alloc(b->a, 3 * sizeof(*f));
	if (!t || !f)
		return NULL;
	f[0] = (struct field){.name = "apiVersion", .kind = F_STRING};
	f[1] = (struct field){.name = "kind", .kind = F_STRING};
	f[2] = (struct field){.name = "metadata",
		.kind = F_OBJECT,
		.type = type_by_name("meta.v1.ObjectMeta"),
		.list_type = LIST_MAP,
		.always = true};
	*t = (struct type){.name = "custom.Object",
		.fields = f,
		.by_name = by_name,
		.rest = &object_rest,
		.n_fields = 3,
		.typemeta = true};
	return t;
}

static const char *const *strings(struct build *b, const json_t *list)
{
	size_t n = json_array_size(list), at = 0;
	const char **v = arena_alloc(b->a, (n + 1) * sizeof(*v));
	for (size_t i = 0; v && i < n; i++) {
		const char *z = json_string_value(json_array_get(list, i));
		if (z)
			v[at++] = z;
	}
	return v;
}

/* ".spec.replicas" as "spec.replicas"; NULL when absent. */
static const char *plain_path(struct build *b, const json_t *o, const char *member)
{
	const char *text = json_string_value(json_object_get(o, member));
	const struct jsonpath *p;
	AUTO_BUF struct buf out = {0};
	if (!text || jsonpath_new(b->a, text, &p, NULL) < 0 || !jsonpath_plain(p, &out))
		return NULL;
	return arena_strdup(b->a, buf_str(&out));
}

static const char *const *selectable(struct build *b, const json_t *list)
{
	size_t n = json_array_size(list), at = 0;
	const char **v = arena_alloc(b->a, (n + 1) * sizeof(*v));
	for (size_t i = 0; v && i < n; i++) {
		const char *p = plain_path(b, json_array_get(list, i), "jsonPath");
		if (p)
			v[at++] = p;
	}
	return v;
}

static int build_columns(struct build *b, const json_t *list, struct kind *k, struct custom *c)
{
	size_t n = json_array_size(list) ? json_array_size(list) : 1;
	struct column *v = arena_alloc(b->a, (n + 1) * sizeof(*v));
	const struct jsonpath **paths = arena_alloc(b->a, (n + 1) * sizeof(*paths));
	if (!v || !paths || n + 1 > UINT16_MAX)
		return out_of_memory(b);
	v[0] = (struct column){.name = "Name",
		.type = "string",
		.format = "name",
		.doc = "Unique within a namespace; cannot be changed.",
		.path = "metadata.name"};
	v[1] = (struct column){.name = "Age",
		.type = "date",
		.format = "",
		.doc = "When the server created the object.",
		.path = "metadata.creationTimestamp"};
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *j = json_array_get(list, i);
		v[i + 1] = (struct column){.name = json_str(j, "name", ""),
			.type = json_str(j, "type", "string"),
			.format = json_str(j, "format", ""),
			.doc = json_str(j, "description", ""),
			.priority = (uint8_t)json_i64(j, "priority", 0)};
		if (jsonpath_new(b->a, json_str(j, "jsonPath", ""), &paths[i + 1], NULL) < 0)
			paths[i + 1] = NULL;
	}
	k->columns = v;
	k->n_columns = (uint16_t)(n + 1);
	if (json_array_size(list))
		c->columns = paths;
	return 0;
}

static void build_scale(struct build *b, const json_t *scale, struct kind *k, struct custom *c)
{
	if (!scale)
		return;
	c->scale_spec = plain_path(b, scale, "specReplicasPath");
	c->scale_status = plain_path(b, scale, "statusReplicasPath");
	c->scale_selector = plain_path(b, scale, "labelSelectorPath");
	if (c->scale_spec && c->scale_status)
		k->subresources |= SUB_SCALE;
	else
		c->scale_spec = NULL;
}

/* "stable.example.com" -> "com.example.stable": the name of its schemas in OpenAPI. */
static const char *open_name(struct build *b, const char *version, const char *kind)
{
	AUTO_BUF struct buf out = {0};
	const char *g = b->d->group, *end = g + strlen(g);
	while (end > g) {
		const char *dot = memrchr(g, '.', (size_t)(end - g));
		const char *label = dot ? dot + 1 : g;
		buf_add(&out, label, (size_t)(end - label));
		buf_addc(&out, '.');
		end = dot ? dot : g;
	}
	buf_addf(&out, "%s.%s", version, kind);
	return arena_strdup(b->a, buf_str(&out));
}

static const char *deprecation(struct build *b, const json_t *v, const struct kind *k)
{
	const char *text = json_string_value(json_object_get(v, "deprecationWarning"));
	if (!json_is_true(json_object_get(v, "deprecated")))
		return NULL;
	return text ? text
		    : arena_printf(b->a, "%s/%s %s is deprecated", k->group, k->version, k->kind);
}

static void name_kind(struct build *b, const json_t *names, struct kind *k)
{
	k->group = k->storage_group = b->d->group;
	k->plural = k->storage_plural = b->d->plural;
	k->kind = json_str(names, "kind", "");
	k->list_kind = json_str(names, "listKind", "");
	k->singular = json_str(names, "singular", "");
	k->short_names = strings(b, json_object_get(names, "shortNames"));
	k->categories = strings(b, json_object_get(names, "categories"));
}

static int build_kind(struct build *b, const json_t *v, struct kind *k)
{
	const json_t *sub = json_object_get(v, "subresources");
	json_t *schema = json_at(v, "schema.openAPIV3Schema");
	struct custom *c = arena_alloc(b->a, sizeof(*c));
	if (!c)
		return out_of_memory(b);
	*k = (struct kind){.version = json_str(v, "name", ""),
		.type = b->type,
		.custom = c,
		.verbs = 0xff,
		.namespaced = strcmp(json_str(b->d->spec, "scope", ""), "Namespaced") == 0,
		.generation = true};
	name_kind(b, json_object_get(b->d->spec, "names"), k);
	k->selectable = selectable(b, json_object_get(v, "selectableFields"));
	c->of = b->d;
	c->open_name = open_name(b, k->version, k->kind);
	c->warning = deprecation(b, v, k);
	if (json_object_get(sub, "status"))
		k->subresources |= SUB_STATUS;
	build_scale(b, json_object_get(sub, "scale"), k, c);
	if (!k->short_names || !k->categories || !k->selectable || !c->open_name)
		return out_of_memory(b);
	struct structural *s = NULL;
	int r = structural_new(b->a, schema, &s, b->e);
	if (r < 0)
		return r;
	k->has_spec = structural_member(s, "spec") != NULL;
	k->has_status = structural_member(s, "status") != NULL;
	c->schema = s;
	c->merge = structural_type(b->a, s);
	return build_columns(b, json_object_get(v, "additionalPrinterColumns"), k, c);
}

static int by_version(const void *a, const void *b)
{
	const struct kind *x = a, *y = b;
	return version_order(x->version, y->version);
}

static int build_all(struct build *b, const json_t *crd, uint64_t rev)
{
	struct definition *d = b->d;
	const json_t *versions = json_object_get(d->spec, "versions");
	size_t n = json_array_size(versions);
	d->name = arena_strdup(b->a, str_of(json_str(crd, "metadata.name", "")));
	d->uid = arena_strdup(b->a, str_of(json_str(crd, "metadata.uid", "")));
	d->generation = json_i64(crd, "metadata.generation", 0);
	d->since = rev;
	d->group = json_str(d->spec, "group", "");
	d->plural = json_str(d->spec, "names.plural", "");
	d->storage = "";
	d->kinds = arena_alloc(b->a, (n + 1) * sizeof(*d->kinds));
	b->type = object_type(b);
	if (!d->name || !d->uid || !d->kinds || !b->type)
		return out_of_memory(b);
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(versions, i);
		if (json_is_true(json_object_get(v, "storage")))
			d->storage = json_str(v, "name", "");
		if (!json_is_true(json_object_get(v, "served")))
			continue;
		int r = build_kind(b, v, &d->kinds[d->n_kinds]);
		if (r < 0)
			return r;
		d->n_kinds++;
	}
	qsort(d->kinds, d->n_kinds, sizeof(*d->kinds), by_version);
	return 0;
}

int definition_new(struct str crd, uint64_t rev, struct definition **ret, struct err *e)
{
	AUTO_JSON json_t *j = NULL;
	struct definition *d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	d->refs = 1;
	struct build b = {.d = d, .a = &d->arena, .e = e};
	int r = json_parse(crd, &j, e);
	if (r == 0) {
		d->spec = json_incref(json_object_get(j, "spec"));
		r = d->spec ? build_all(&b, j, rev) : err_set(e, EINVAL, "Invalid", "no spec");
	}
	if (r < 0)
		definition_unref(d);
	else
		*ret = d;
	return r;
}

struct definition *definition_ref(struct definition *d)
{
	atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
	return d;
}

void definition_unref(struct definition *d)
{
	if (!d || atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) != 1)
		return;
	json_decref(d->spec);
	arena_free(&d->arena);
	free(d);
}

const struct kind *definition_kind(const struct definition *d, struct str version)
{
	for (size_t i = 0; i < d->n_kinds; i++)
		if (str_eqz(version, d->kinds[i].version))
			return &d->kinds[i];
	return NULL;
}

/* --- what an object goes through --- */

void custom_default(const struct kind *k, json_t *obj)
{
	structural_default(k->custom->schema, obj);
}

static void check_replicas(
	const json_t *obj, const char *path, const char *field_path, struct causes *c)
{
	const json_t *v = json_at(obj, path);
	char field[300];
	(void)snprintf(field, sizeof(field), ".%s", field_path);
	if (!v)
		return;
	if (!json_is_integer(v))
		v_invalid_str(c, P_NAME(NULL, field), "", "accessor error: not an integer");
	else if (json_integer_value(v) < 0)
		v_invalid(c, P_NAME(NULL, field), v, "should be a non-negative integer");
	else if (json_integer_value(v) > INT_MAX)
		v_invalid(c, P_NAME(NULL, field), v, "should be less than or equal to %d", INT_MAX);
}

void custom_validate(const struct kind *k, const json_t *obj, const json_t *old, struct causes *c)
{
	const struct custom *u = k->custom;
	structural_validate(u->schema, obj, old, c);
	if (u->scale_spec)
		check_replicas(obj, u->scale_spec, u->scale_spec, c);
	if (u->scale_status)
		check_replicas(obj, u->scale_status, u->scale_status, c);
}

static void set_version(const struct kind *k, const char *version, json_t *obj)
{
	(void)json_object_set_new(obj, "apiVersion", json_sprintf("%s/%s", k->group, version));
	(void)json_object_set_new(obj, "kind", json_string(k->kind));
}

void custom_from_store(const struct kind *k, json_t *obj)
{
	set_version(k, k->version, obj);
	structural_prune(k->custom->schema, obj, NULL, NULL);
	structural_default(k->custom->schema, obj);
}

void custom_to_store(const struct kind *k, json_t *obj)
{
	set_version(k, k->custom->of->storage, obj);
}

bool custom_is_current(const struct kind *k, uint64_t rv)
{
	return rv > k->custom->of->since && strcmp(k->version, k->custom->of->storage) == 0;
}

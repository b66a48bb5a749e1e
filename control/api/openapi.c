/* SPDX-License-Identifier: Apache-2.0
 * OpenAPI v3 (one document a group-version) and v2 (one document) from the schema tables: what
 * kubectl apply, create, edit and explain ask for. */
#include <errno.h>
#include "api/custom.h"
#include "api/openapi.h"

/* The prefixes that published names have in Kubernetes, by package of our tables. */
static const struct {
	const char *package, *prefix;
} packages[] = {
	{"meta.v1.", "io.k8s.apimachinery.pkg.apis."},
	{"apiextensions.v1.", "io.k8s.apiextensions-apiserver.pkg.apis."},
	{"apiregistration.v1.", "io.k8s.kube-aggregator.pkg.apis."},
	{"", "io.k8s.api."},
};

/* Field kinds that are not objects: a shared definition, or a JSON type and format. */
static const struct scalar {
	uint8_t kind;
	const char *type, *format, *def;
} scalars[] = {
	{F_STRING, "string", NULL, NULL},
	{F_BOOL, "boolean", NULL, NULL},
	{F_INT32, "integer", "int32", NULL},
	{F_INT64, "integer", "int64", NULL},
	{F_DOUBLE, "number", "double", NULL},
	{F_BYTES, "string", "byte", NULL},
	{F_QUANTITY, "string", NULL, "io.k8s.apimachinery.pkg.api.resource.Quantity"},
	{F_INT_OR_STRING, "string", "int-or-string",
		"io.k8s.apimachinery.pkg.util.intstr.IntOrString"},
	{F_TIME, "string", "date-time", "io.k8s.apimachinery.pkg.apis.meta.v1.Time"},
	{F_MICRO_TIME, "string", "date-time", "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime"},
};

static const struct scalar *scalar_of(uint8_t kind)
{
	for (size_t i = 0; i < ARRAY_LEN(scalars); i++)
		if (scalars[i].kind == kind)
			return &scalars[i];
	return NULL; /* anything goes */
}

static void type_name(const struct type *t, struct buf *out)
{
	size_t i = 0;
	while (strncmp(t->name, packages[i].package, strlen(packages[i].package)) != 0)
		i++;
	buf_addf(out, "%s%s", packages[i].prefix, t->name);
}

static void add_str(struct buf *out, const char *z)
{
	buf_add_json_str(out, str_of(z));
}

static void add_ref(const struct openapi *o, const struct type *t, const char *def)
{
	buf_adds(o->out, o->v2 ? "\"$ref\":\"#/definitions/" : "\"$ref\":\"#/components/schemas/");
	if (t)
		type_name(t, o->out);
	else
		buf_adds(o->out, def);
	buf_addc(o->out, '"');
}

/* The members of the schema of one value (no list or map around it), without braces. v3 wraps a
 * reference that has siblings in allOf, as JSON Schema of that age demands. */
static void value_members(const struct openapi *o, const struct field *f, bool alone)
{
	const struct scalar *s = scalar_of(f->kind);
	bool ref = (f->kind == F_OBJECT && f->type) || (s && s->def);
	if (ref) {
		bool wrap = !o->v2 && !alone;
		buf_adds(o->out, wrap ? "\"allOf\":[{" : "");
		add_ref(o, f->kind == F_OBJECT ? f->type : NULL, s ? s->def : NULL);
		buf_adds(o->out, wrap ? "}]" : "");
		return;
	}
	if (!s) {
		buf_adds(o->out, "\"x-kubernetes-preserve-unknown-fields\":true");
		return;
	}
	buf_addf(o->out, "\"type\":\"%s\"", s->type);
	if (s->format)
		buf_addf(o->out, ",\"format\":\"%s\"", s->format);
	for (size_t i = 0; f->enums && f->enums[i]; i++) {
		buf_adds(o->out, i ? "," : ",\"enum\":[");
		add_str(o->out, f->enums[i]);
		if (!f->enums[i + 1])
			buf_addc(o->out, ']');
	}
}

static void merge_extensions(const struct openapi *o, const struct field *f)
{
	if (f->merge_key)
		buf_addf(o->out, ",\"x-kubernetes-patch-merge-key\":\"%s\"", f->merge_key);
	if (f->patch_merge || f->patch_retain_keys)
		buf_addf(o->out, ",\"x-kubernetes-patch-strategy\":\"%s%s%s\"",
			f->patch_merge ? "merge" : "",
			f->patch_merge && f->patch_retain_keys ? "," : "",
			f->patch_retain_keys ? "retainKeys" : "");
	if (f->shape == SHAPE_LIST && f->list_type != LIST_ATOMIC) {
		buf_addf(o->out, ",\"x-kubernetes-list-type\":\"%s\"",
			f->list_type == LIST_SET ? "set" : "map");
		for (size_t i = 0; f->list_keys && f->list_keys[i]; i++)
			buf_addf(o->out, "%s\"%s\"%s",
				i ? "," : ",\"x-kubernetes-list-map-keys\":[", f->list_keys[i],
				f->list_keys[i + 1] ? "" : "]");
	} else if (f->shape == SHAPE_LIST) {
		buf_adds(o->out, ",\"x-kubernetes-list-type\":\"atomic\"");
	}
}

static void property(const struct openapi *o, const struct field *f)
{
	const char *sep = "";
	add_str(o->out, f->name);
	buf_adds(o->out, ":{");
	if (f->doc && *f->doc) {
		buf_adds(o->out, "\"description\":");
		add_str(o->out, f->doc);
		sep = ",";
	}
	buf_adds(o->out, sep);
	switch (f->shape) {
	case SHAPE_ONE:
		value_members(o, f, !*sep);
		break;
	case SHAPE_LIST:
		buf_adds(o->out, "\"type\":\"array\",\"items\":{");
		value_members(o, f, true);
		buf_addc(o->out, '}');
		break;
	case SHAPE_MAP:
		buf_adds(o->out, "\"type\":\"object\",\"additionalProperties\":{");
		value_members(o, f, true);
		buf_addc(o->out, '}');
		break;
	default: /* map of lists */
		buf_adds(o->out, "\"type\":\"object\",\"additionalProperties\":{\"type\":\"array\","
				 "\"items\":{");
		value_members(o, f, true);
		buf_adds(o->out, "}}");
	}
	if (f->dflt && !o->v2) {
		buf_adds(o->out, ",\"default\":");
		buf_adds(o->out, f->dflt);
	}
	merge_extensions(o, f);
	buf_addc(o->out, '}');
}

static bool has_field(const struct type *t, const char *name)
{
	for (size_t i = 0; i < t->n_fields; i++)
		if (strcmp(t->fields[i].name, name) == 0)
			return true;
	return false;
}

static const struct field typemeta[] = {
	{.name = "apiVersion",
		.doc = "Version of the schema that this object is written in.",
		.kind = F_STRING},
	{.name = "kind", .doc = "Which REST resource this object is.", .kind = F_STRING},
};

static void properties(const struct openapi *o, const struct type *t)
{
	size_t n = 0;
	buf_adds(o->out, ",\"properties\":{");
	for (size_t i = 0; t->typemeta && i < ARRAY_LEN(typemeta); i++) {
		if (has_field(t, typemeta[i].name))
			continue;
		if (n++)
			buf_addc(o->out, ',');
		property(o, &typemeta[i]);
	}
	for (size_t i = 0; i < t->n_fields; i++) {
		if (n++)
			buf_addc(o->out, ',');
		property(o, &t->fields[i]);
	}
	buf_addc(o->out, '}');
	n = 0;
	for (size_t i = 0; i < t->n_fields; i++) {
		if (!t->fields[i].required)
			continue;
		buf_adds(o->out, n++ ? "," : ",\"required\":[");
		add_str(o->out, t->fields[i].name);
	}
	if (n)
		buf_addc(o->out, ']');
}

static void add_gvk(struct buf *out, const struct kind *k, const char *kind)
{
	buf_addf(out, "{\"group\":\"%s\",\"kind\":\"%s\",\"version\":\"%s\"}", k->group, kind,
		k->version);
}

/* Every kind (or list of a kind) that this type is. */
static void type_gvks(const struct openapi *o, const struct type *t)
{
	const char *sep = ",\"x-kubernetes-group-version-kind\":[";
	for (size_t i = 0; i < o->ks->n; i++) {
		const struct kind *k = o->ks->v[i];
		if (k->custom || (k->type != t && k->list_type != t))
			continue;
		buf_adds(o->out, sep);
		add_gvk(o->out, k, k->type == t ? k->kind : k->list_kind);
		sep = ",";
	}
	if (sep[1] == 0)
		buf_addc(o->out, ']');
}

static void definition(const struct openapi *o, const struct type *t)
{
	buf_addc(o->out, '"');
	type_name(t, o->out);
	buf_adds(o->out, "\":{\"description\":");
	add_str(o->out, t->doc ? t->doc : "");
	buf_adds(o->out, ",\"type\":\"object\"");
	if (t->n_fields || t->typemeta)
		properties(o, t);
	if (t->atomic)
		buf_adds(o->out, ",\"x-kubernetes-map-type\":\"atomic\"");
	type_gvks(o, t);
	buf_addc(o->out, '}');
}

static void mark(struct openapi *o, const struct type *t)
{
	size_t i;
	if (!t)
		return;
	i = (size_t)(t - api_schema.types);
	if (i >= api_schema.n_types || o->seen[i])
		return;
	o->seen[i] = 1;
	for (size_t j = 0; j < t->n_fields; j++)
		mark(o, t->fields[j].type);
}

static void definitions(struct openapi *o)
{
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
		if (!scalars[i].def)
			continue;
		buf_addf(o->out, "%s\"%s\":{\"type\":\"string\"", n++ ? "," : "", scalars[i].def);
		if (scalars[i].format)
			buf_addf(o->out, ",\"format\":\"%s\"", scalars[i].format);
		buf_addc(o->out, '}');
	}
	for (size_t i = 0; i < api_schema.n_types; i++) {
		if (!o->seen[i])
			continue;
		buf_addc(o->out, ',');
		definition(o, &api_schema.types[i]);
	}
}

static void mark_kind(struct openapi *o, const struct kind *k)
{
	if (k->custom) {
		mark(o, type_by_name("meta.v1.ObjectMeta"));
		mark(o, type_by_name("meta.v1.ListMeta"));
		return;
	}
	mark(o, k->type);
	mark(o, k->list_type);
}

static bool in_group(const struct kind *k, struct str group, struct str version)
{
	return str_eqz(group, k->group) && str_eqz(version, k->version);
}

static int start(struct openapi *o)
{
	o->seen = calloc(api_schema.n_types ? api_schema.n_types : 1, 1);
	if (!o->seen)
		return -ENOMEM;
	mark(o, type_by_name("meta.v1.DeleteOptions"));
	mark(o, type_by_name("meta.v1.Status"));
	return 0;
}

static void info(struct buf *out)
{
	buf_adds(out, "\"info\":{\"title\":\"Kubernetes\",\"version\":\"v1.36.0\"},\"paths\":{");
}

int openapi_v3_group(const struct kinds *ks, struct str group, struct str version, struct buf *out)
{
	struct openapi o = {.out = out, .ks = ks, .v2 = false};
	size_t n = 0, mark_len = out->len;
	if (start(&o) < 0)
		return -ENOMEM;
	buf_adds(out, "{\"openapi\":\"3.0.0\",");
	info(out);
	for (size_t i = 0; i < ks->n; i++) {
		if (!in_group(ks->v[i], group, version))
			continue;
		mark_kind(&o, ks->v[i]);
		openapi_paths(&o, ks->v[i], n++ == 0);
	}
	buf_adds(out, "},\"components\":{\"schemas\":{");
	definitions(&o);
	for (size_t i = 0; i < ks->n; i++)
		if (ks->v[i]->custom && in_group(ks->v[i], group, version))
			openapi_custom(&o, ks->v[i]);
	buf_adds(out, "}}}");
	free(o.seen);
	if (n)
		return 0;
	out->len = mark_len;
	return -ENOENT;
}

int openapi_v2_json(const struct kinds *ks, struct buf *out)
{
	struct openapi o = {.out = out, .ks = ks, .v2 = true};
	if (start(&o) < 0)
		return -ENOMEM;
	buf_adds(out, "{\"swagger\":\"2.0\",");
	info(out);
	for (size_t i = 0; i < ks->n; i++) {
		mark_kind(&o, ks->v[i]);
		openapi_paths(&o, ks->v[i], i == 0);
	}
	buf_adds(out, "},\"definitions\":{");
	definitions(&o);
	for (size_t i = 0; i < ks->n; i++)
		if (ks->v[i]->custom)
			openapi_custom(&o, ks->v[i]);
	buf_adds(out, "}}");
	free(o.seen);
	return out->err;
}

void openapi_type_ref(const struct openapi *o, const struct type *t)
{
	if (t)
		add_ref(o, t, NULL);
}

void openapi_kind_ref(const struct openapi *o, const struct kind *k, bool list)
{
	AUTO_BUF struct buf name = {0};
	if (!k->custom) {
		openapi_type_ref(o, list ? k->list_type : k->type);
		return;
	}
	buf_addf(&name, "%s%s", k->custom->open_name, list ? "List" : "");
	add_ref(o, NULL, name.p ? name.p : "");
}

void openapi_gvk(const struct openapi *o, const struct kind *k)
{
	add_gvk(o->out, k, k->kind);
}

void openapi_v3_index(const struct kinds *ks, const char *salt, struct buf *out)
{
	const struct kind *last = NULL;
	buf_adds(out, "{\"paths\":{");
	for (size_t i = 0; i < ks->n; i++) {
		const struct kind *k = ks->v[i];
		char gv[400];
		if (last && strcmp(last->group, k->group) == 0 &&
			strcmp(last->version, k->version) == 0)
			continue;
		(void)snprintf(gv, sizeof(gv), "%s%s%s%s", *k->group ? "apis/" : "api/", k->group,
			*k->group ? "/" : "", k->version);
		buf_addf(out, "%s\"%s\":{\"serverRelativeURL\":\"/openapi/v3/%s?hash=%s",
			last ? "," : "", gv, gv, salt);
		last = k;
		for (; i < ks->n && strcmp(ks->v[i]->group, k->group) == 0 &&
			strcmp(ks->v[i]->version, k->version) == 0;
			i++)
			if (ks->v[i]->custom)
				buf_addf(out, "-%.8s.%lld", ks->v[i]->custom->of->uid,
					(long long)ks->v[i]->custom->of->generation);
		i--;
		buf_adds(out, "\"}");
	}
	buf_adds(out, "}}");
}

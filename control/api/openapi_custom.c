/* SPDX-License-Identifier: Apache-2.0
 * What OpenAPI says of custom kinds: the definition's own schema, with the members that every
 * object has. Version 2 leaves out what it has no words for. */
#include "api/custom.h"
#include "api/openapi.h"
#include "api/structural.h"

/* Members that mean nothing in OpenAPI v2. */
static const char *const only_v3[] = {
	"nullable", "oneOf", "anyOf", "allOf", "not", "default", "x-kubernetes-validations"};

static void to_v2(json_t *s, bool root)
{
	static const char *const inside[] = {"items", "additionalProperties"};
	const char *key;
	json_t *v;
	if (!json_is_object(s))
		return;
	bool open = json_is_true(json_object_get(s, "x-kubernetes-preserve-unknown-fields"));
	bool null = json_is_true(json_object_get(s, "nullable"));
	for (size_t i = 0; i < ARRAY_LEN(only_v3); i++)
		(void)json_object_del(s, only_v3[i]);
	if ((open && !root) || null)
		(void)json_object_del(s, "properties");
	if (open || null)
		for (size_t i = 0; i < ARRAY_LEN(inside); i++)
			(void)json_object_del(s, inside[i]);
	if (null)
		(void)json_object_del(s, "type");
	json_object_foreach (json_object_get(s, "properties"), key, v)
		to_v2(v, false);
	for (size_t i = 0; i < ARRAY_LEN(inside); i++)
		to_v2(json_object_get(s, inside[i]), false);
}

static json_t *text_property(const char *doc)
{
	return json_pack("{s:s,s:s}", "description", doc, "type", "string");
}

static json_t *ref_to(const struct openapi *o, const char *name)
{
	return json_sprintf("%s%s", o->v2 ? "#/definitions/" : "#/components/schemas/", name);
}

static void add_names(json_t *props)
{
	(void)json_object_set_new(props, "apiVersion",
		text_property("Version of the schema that this object is written in."));
	(void)json_object_set_new(
		props, "kind", text_property("Which REST resource this object is."));
}

static json_t *gvk(const struct kind *k, const char *kind)
{
	return json_pack("[{s:s,s:s,s:s}]", "group", k->group, "kind", kind, "version", k->version);
}

static json_t *object_schema(const struct openapi *o, const struct kind *k)
{
	const json_t *own = k->custom->schema->json;
	json_t *s = own ? json_deep_copy(own) : json_object();
	if (!s)
		return NULL;
	if (o->v2)
		to_v2(s, true);
	json_t *props = json_make(s, "properties");
	add_names(props);
	json_t *meta = ref_to(o, "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
	(void)json_object_set_new(props, "metadata",
		o->v2 ? json_pack("{s:o}", "$ref", meta)
		      : json_pack("{s:[{s:o}]}", "allOf", "$ref", meta));
	(void)json_object_set_new(s, "x-kubernetes-group-version-kind", gvk(k, k->kind));
	return s;
}

static json_t *list_schema(const struct openapi *o, const struct kind *k)
{
	json_t *props = json_object();
	json_t *meta = ref_to(o, "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta");
	add_names(props);
	(void)json_object_set_new(props, "items",
		json_pack("{s:s,s:s,s:{s:o}}", "description", "The objects.", "type", "array",
			"items", "$ref", ref_to(o, k->custom->open_name)));
	(void)json_object_set_new(props, "metadata",
		o->v2 ? json_pack("{s:o}", "$ref", meta)
		      : json_pack("{s:[{s:o}]}", "allOf", "$ref", meta));
	return json_pack("{s:s+,s:s,s:[s],s:o,s:o}", "description", k->kind, " objects, several.",
		"type", "object", "required", "items", "properties", props,
		"x-kubernetes-group-version-kind", gvk(k, k->list_kind));
}

void openapi_custom(const struct openapi *o, const struct kind *k)
{
	AUTO_JSON json_t *object = object_schema(o, k);
	AUTO_JSON json_t *list = list_schema(o, k);
	if (!object || !list) {
		o->out->err = -12;
		return;
	}
	buf_addf(o->out, ",\"%s\":", k->custom->open_name);
	json_write(object, o->out);
	buf_addf(o->out, ",\"%sList\":", k->custom->open_name);
	json_write(list, o->out);
}

/* SPDX-License-Identifier: Apache-2.0
 * The walk that completes an object: drops what equals absent, sets defaults, runs the types'
 * hooks, adds what is always written. Running it twice changes nothing. */
#include "api/defaults.h"
#include "api/custom.h"

json_t *dflt_get(const json_t *o, const char *member)
{
	json_t *v = json_object_get(o, member);
	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_STRING:
		return json_string_length(v) ? v : NULL;
	case JSON_INTEGER:
		return json_integer_value(v) ? v : NULL;
	case JSON_REAL:
		return json_real_value(v) != 0 ? v : NULL;
	case JSON_OBJECT:
		return json_object_size(v) ? v : NULL;
	case JSON_ARRAY:
		return json_array_size(v) ? v : NULL;
	case JSON_TRUE:
		return v;
	default:
		return NULL;
	}
}

const char *dflt_str(const json_t *o, const char *member)
{
	const char *s = json_string_value(json_object_get(o, member));
	return s ? s : "";
}

void dflt_set(json_t *o, const char *member, json_t *value)
{
	json_t *v = json_object_get(o, member);
	if (v && !json_is_null(v))
		json_decref(value);
	else
		(void)json_object_set_new_nocheck(o, member, value);
}

/* The text of a default is a scalar, {}, or any JSON. */
static json_t *default_value(const char *text)
{
	json_t *v = NULL;
	size_t n = strlen(text);
	if (*text == '"' && !strchr(text, '\\'))
		return json_stringn(text + 1, n - 2);
	if (strcmp(text, "{}") == 0)
		return json_object();
	return json_parse(str_of(text), &v, NULL) == 0 ? v : NULL;
}

json_t *dflt_always(const struct field *f)
{
	if (f->shape != SHAPE_ONE)
		return json_null();
	switch (f->kind) {
	case F_STRING:
	case F_BYTES:
		return json_string("");
	case F_BOOL:
		return json_false();
	case F_INT32:
	case F_INT64:
	case F_INT_OR_STRING:
	case F_DOUBLE:
		return json_integer(0);
	case F_QUANTITY:
		return json_string("0");
	case F_OBJECT:
		return json_object();
	default:
		return json_null();
	}
}

/* Protobuf, the stored form elsewhere, has no empty list or map: clients read back null. */
static bool stored_null(const struct field *f, const json_t *v)
{
	return f->always && f->shape != SHAPE_ONE && json_array_size(v) + json_object_size(v) == 0;
}

static void complete_member(const struct field *f, json_t *o)
{
	json_t *v = json_object_get(o, f->name);
	if (v &&
		((json_is_null(v) && f->kind != F_ANY) || field_drops(f, v) || stored_null(f, v))) {
		(void)json_object_del(o, f->name);
		v = NULL;
	}
	/* a zero that is always written, such as an enum's "", is still absent to a default */
	if (v && f->dflt && !f->nullable && f->shape == SHAPE_ONE && f->kind != F_OBJECT &&
		!dflt_get(o, f->name))
		v = NULL;
	if (v)
		return;
	json_t *set = f->dflt ? default_value(f->dflt) : f->always ? dflt_always(f) : NULL;
	if (set)
		(void)json_object_set_new_nocheck(o, f->name, set);
}

static default_hook *find_hook(const char *type)
{
	const struct default_rule *const tables[] = {
		core_defaults, workload_defaults, other_defaults};
	for (size_t i = 0; i < ARRAY_LEN(tables); i++)
		for (const struct default_rule *r = tables[i]; r->type; r++)
			if (strcmp(r->type, type) == 0)
				return r->fn;
	return NULL;
}

static void descend(const struct field *f, json_t *v)
{
	size_t i;
	const char *key;
	json_t *e;
	if (f->shape == SHAPE_ONE && json_is_object(v)) {
		dflt_type(f->type, v);
	} else if (f->shape == SHAPE_LIST) {
		json_array_foreach (v, i, e)
			dflt_type(f->type, e);
	} else if (json_is_object(v)) {
		json_object_foreach (v, key, e)
			dflt_type(f->type, e);
	}
}

void dflt_type(const struct type *t, json_t *obj)
{
	if (!json_is_object(obj))
		return;
	for (size_t i = 0; i < t->n_fields; i++)
		complete_member(&t->fields[i], obj);
	if (t->hook) {
		default_hook *fn = find_hook(t->name);
		if (fn)
			fn(obj);
	}
	for (size_t i = 0; i < t->n_fields; i++) {
		const struct field *f = &t->fields[i];
		json_t *v = f->kind == F_OBJECT ? json_object_get(obj, f->name) : NULL;
		if (v)
			descend(f, v);
	}
}

void api_default(const struct kind *k, json_t *obj)
{
	dflt_type(k->type, obj);
	if (k->custom)
		custom_default(k, obj);
}

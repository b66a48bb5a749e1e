/* SPDX-License-Identifier: Apache-2.0
 * The schema in a CustomResourceDefinition: only what OpenAPI v3 and Kubernetes have words for,
 * structural (every node typed once, outside of allOf and its like), with defaults that are valid
 * themselves. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <pcre2.h>
#include "api/rules/extend.h"
#include "api/structural.h"

enum level { ROOT, ITEM, FIELD };
#define X_LIST	  "x-kubernetes-list-type"
#define X_KEYS	  "x-kubernetes-list-map-keys"
#define X_MAP	  "x-kubernetes-map-type"
#define X_INTSTR  "x-kubernetes-int-or-string"
#define X_UNKNOWN "x-kubernetes-preserve-unknown-fields"
#define X_EMBED	  "x-kubernetes-embedded-resource"

static bool flag(const json_t *s, const char *name)
{
	return json_is_true(jget(s, name));
}

/* --- words that are not supported, lists and maps --- */

static void check_words(struct causes *c, const struct fpath *p, const json_t *s)
{
	static const char *const words[] = {"id", "$ref", "additionalItems", "patternProperties",
		"definitions", "dependencies"};
	static const char *const types[] = {
		"array", "boolean", "integer", "number", "object", "string", NULL};
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		char text[64];
		const json_t *v = jget(s, words[i]);
		if (!jhas(s, words[i]) || (json_is_object(v) && !json_object_size(v)))
			continue;
		(void)snprintf(text, sizeof(text), "%s is not supported", words[i]);
		v_forbidden(c, P_NAME(p, words[i]), text);
	}
	if (flag(s, "uniqueItems"))
		v_forbidden(c, P_NAME(p, "uniqueItems"),
			"uniqueItems cannot be set to true since the runtime complexity becomes "
			"quadratic");
	if (strcmp(jstr(s, "type"), "null") == 0)
		v_forbidden(c, P_NAME(p, "type"),
			"type cannot be set to null, use nullable as an alternative");
	else if (jhas(s, "type"))
		(void)v_enum(c, P_NAME(p, "type"), jget(s, "type"), types);
	if (json_is_array(jget(s, "items")))
		v_forbidden(
			c, P_NAME(p, "items"), "items must be a schema object and not an array");
	if (json_is_false(jget(s, X_UNKNOWN)))
		v_invalid(c, P_NAME(p, X_UNKNOWN), json_false(), "must be true or undefined");
	if (json_is_false(json_object_get(s, "additionalProperties")))
		v_forbidden(c, P_NAME(p, "additionalProperties"),
			"additionalProperties cannot be set to false");
	else if (jget(s, "additionalProperties") && json_object_size(jget(s, "properties")))
		v_forbidden(c, P_NAME(p, "additionalProperties"),
			"additionalProperties and properties are mutual exclusive");
}

static void check_pattern(struct causes *c, const struct fpath *p, const json_t *s)
{
	const char *pattern = jstr(s, "pattern");
	int code;
	size_t at;
	if (!*pattern)
		return;
	pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
		PCRE2_UTF | PCRE2_DOLLAR_ENDONLY, &code, &at, NULL);
	if (!re) {
		unsigned char text[128] = "";
		(void)pcre2_get_error_message(code, text, sizeof(text));
		v_invalid_str(c, P_NAME(p, "pattern"), pattern,
			"must be a valid regular expression, but isn't: %s", (const char *)text);
	}
	pcre2_code_free(re);
}

/* type must be `want` because of the extension `because`. */
static bool need_type(struct causes *c, const struct fpath *p, const json_t *s, const char *want,
	const char *because)
{
	char text[128];
	(void)snprintf(text, sizeof(text), "must be %s if %s", want, because);
	if (strcmp(jstr(s, "type"), want) == 0)
		return true;
	if (!jhas(s, "type"))
		v_required(c, P_NAME(p, "type"), text);
	else
		v_invalid(c, P_NAME(p, "type"), jget(s, "type"), "%s", text);
	return false;
}

static bool listed(const json_t *list, const char *name)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *z = json_string_value(json_array_get(list, i));
		if (z && strcmp(z, name) == 0)
			return true;
	}
	return false;
}

static void check_keys(struct causes *c, const struct fpath *p, const json_t *s)
{
	const json_t *keys = jget(s, X_KEYS), *items = jget(s, "items");
	const struct fpath *ip = P_NAME(p, "items");
	AUTO_JSON json_t *seen = json_object();
	for (size_t i = 0; i < json_array_size(keys) && !causes_full(c); i++) {
		const char *key = json_string_value(json_array_get(keys, i));
		key = key ? key : "";
		const json_t *prop = jget(jget(items, "properties"), key);
		const struct fpath *pp = P_KEY(P_NAME(ip, "properties"), key);
		if (v_seen(seen, key, i) < i)
			v_duplicate(c, P_INDEX(P_NAME(p, X_KEYS), i), json_array_get(keys, i));
		if (!prop) {
			v_invalid_str(c, P_INDEX(P_NAME(p, X_KEYS), i), key,
				"entries must all be names of item properties");
			continue;
		}
		if (strcmp(jstr(prop, "type"), "object") == 0 ||
			strcmp(jstr(prop, "type"), "array") == 0)
			v_invalid(c, P_NAME(pp, "type"), jget(prop, "type"),
				"must be a scalar type if parent array's x-kubernetes-list-type is "
				"map");
		if (!json_object_get(prop, "default") && !listed(jget(items, "required"), key))
			v_required(c, P_NAME(pp, "default"),
				"this property is in x-kubernetes-list-map-keys, so it must have a "
				"default or be a required property");
	}
}

static void check_map_list(struct causes *c, const struct fpath *p, const json_t *s)
{
	const json_t *items = jget(s, "items");
	const struct fpath *ip = P_NAME(p, "items");
	if (!json_array_size(jget(s, X_KEYS)))
		v_required(
			c, P_NAME(p, X_KEYS), "must not be empty if x-kubernetes-list-type is map");
	if (!items) {
		v_required(c, ip, "must have a schema if x-kubernetes-list-type is map");
		return;
	}
	if (strcmp(jstr(items, "type"), "object") != 0)
		v_invalid(c, P_NAME(ip, "type"), jget(items, "type"),
			"must be object if parent array's x-kubernetes-list-type is map");
	if (flag(items, "nullable"))
		v_forbidden(c, P_NAME(ip, "nullable"),
			"cannot be nullable when x-kubernetes-list-type is map");
	check_keys(c, p, s);
}

static void check_set(struct causes *c, const struct fpath *p, const json_t *s)
{
	const json_t *items = jget(s, "items");
	const struct fpath *ip = P_NAME(p, "items");
	const char *type = jstr(items, "type");
	if (flag(items, "nullable"))
		v_forbidden(c, P_NAME(ip, "nullable"),
			"cannot be nullable when x-kubernetes-list-type is set");
	if (strcmp(type, "object") == 0 && strcmp(jstr(items, X_MAP), "atomic") != 0)
		v_invalid(c, P_NAME(ip, X_MAP), jget(items, X_MAP),
			"must be atomic as item of a list with x-kubernetes-list-type=set");
	if (strcmp(type, "array") == 0 && jhas(items, X_LIST) &&
		strcmp(jstr(items, X_LIST), "atomic") != 0)
		v_invalid(c, P_NAME(ip, X_LIST), jget(items, X_LIST),
			"must be atomic as item of a list with x-kubernetes-list-type=set");
}

static void check_topology(struct causes *c, const struct fpath *p, const json_t *s)
{
	static const char *const lists[] = {"atomic", "map", "set", NULL};
	static const char *const maps[] = {"atomic", "granular", NULL};
	const char *list = jstr(s, X_LIST);
	if (jget(s, X_MAP) && need_type(c, p, s, "object", X_MAP " is specified"))
		(void)v_enum(c, P_NAME(p, X_MAP), jget(s, X_MAP), maps);
	if (jget(s, X_LIST) && need_type(c, p, s, "array", X_LIST " is specified"))
		(void)v_enum(c, P_NAME(p, X_LIST), jget(s, X_LIST), lists);
	if (json_array_size(jget(s, X_KEYS)) && !jget(s, X_LIST))
		v_required(c, P_NAME(p, X_LIST),
			"must be map if x-kubernetes-list-map-keys is non-empty");
	else if (json_array_size(jget(s, X_KEYS)) && strcmp(list, "map") != 0)
		v_invalid(c, P_NAME(p, X_LIST), jget(s, X_LIST),
			"must be map if x-kubernetes-list-map-keys is non-empty");
	if (strcmp(list, "map") == 0)
		check_map_list(c, p, s);
	else if (strcmp(list, "set") == 0)
		check_set(c, p, s);
}

/* --- every schema, those inside of allOf and its like too --- */

static void check_all(struct causes *c, const struct fpath *p, const json_t *s, unsigned depth)
{
	static const char *const one[] = {"items", "additionalProperties", "not"};
	static const char *const many[] = {"allOf", "oneOf", "anyOf"};
	const char *key;
	json_t *v;
	size_t i;
	if (depth > STRUCTURAL_DEPTH) {
		v_forbidden(c, p, "nested too deeply");
		return;
	}
	check_words(c, p, s);
	check_pattern(c, p, s);
	check_topology(c, p, s);
	json_object_foreach ((json_t *)(uintptr_t)jget(s, "properties"), key, v)
		check_all(c, P_KEY(P_NAME(p, "properties"), key), v, depth + 1);
	for (size_t k = 0; k < ARRAY_LEN(one); k++)
		if (json_is_object(jget(s, one[k])))
			check_all(c, P_NAME(p, one[k]), jget(s, one[k]), depth + 1);
	for (size_t k = 0; k < ARRAY_LEN(many); k++) {
		json_array_foreach ((json_t *)(uintptr_t)jget(s, many[k]), i, v)
			check_all(c, P_INDEX(P_NAME(p, many[k]), i), v, depth + 1);
	}
}

/* --- structural --- */

static void check_type(struct causes *c, const struct fpath *p, const json_t *s, enum level level)
{
	static const char *const why[] = {[ROOT] = "must not be empty at the root",
		[ITEM] = "must not be empty for specified array items",
		[FIELD] = "must not be empty for specified object fields"};
	if (flag(s, X_EMBED))
		(void)need_type(c, p, s, "object", X_EMBED " is true");
	else if (!jhas(s, "type") && !flag(s, X_INTSTR) && !flag(s, X_UNKNOWN))
		v_required(c, P_NAME(p, "type"), why[level]);
	if (level == ROOT && jhas(s, "type") && strcmp(jstr(s, "type"), "object") != 0)
		v_invalid(c, P_NAME(p, "type"), jget(s, "type"), "must be object at the root");
	if (flag(s, X_INTSTR) && flag(s, X_UNKNOWN))
		v_invalid(c, P_NAME(p, X_UNKNOWN), json_true(),
			"must be false if x-kubernetes-int-or-string is true");
	if (flag(s, X_INTSTR) && flag(s, X_EMBED))
		v_invalid(c, P_NAME(p, X_EMBED), json_true(),
			"must be false if x-kubernetes-int-or-string is true");
}

/* Of a whole object, metadata, kind and apiVersion are given. */
static void check_object(struct causes *c, const struct fpath *p, const json_t *s)
{
	static const char *const names[] = {"kind", "apiVersion", "metadata"};
	const json_t *props = jget(s, "properties");
	const char *key;
	json_t *v;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		const json_t *m = jget(props, names[i]);
		const char *want = i == 2 ? "object" : "string";
		if (m && strcmp(jstr(m, "type"), want) != 0)
			v_invalid(c, P_NAME(P_KEY(P_NAME(p, "properties"), names[i]), "type"),
				jget(m, "type"), "must be %s", want);
	}
	json_object_foreach (
		(json_t *)(uintptr_t)jget(jget(props, "metadata"), "properties"), key, v) {
		if (strcmp(key, "name") == 0 || strcmp(key, "generateName") == 0)
			continue;
		v_forbidden(c, P_KEY(P_NAME(p, "properties"), "metadata"),
			"must not specify anything other than name and generateName, but metadata "
			"is implicitly specified");
		break;
	}
	if (flag(s, X_EMBED) && !flag(s, X_UNKNOWN) && !json_object_size(props))
		v_required(c, P_NAME(p, "properties"),
			"must not be empty if x-kubernetes-embedded-resource is true without "
			"x-kubernetes-preserve-unknown-fields");
	if (flag(s, X_EMBED) && jget(s, "additionalProperties"))
		v_forbidden(c, P_NAME(p, "additionalProperties"),
			"must not be used if x-kubernetes-embedded-resource is set");
}

/* Inside of allOf, anyOf, oneOf, not: only values are checked there. intstr: the two types of an
 * int-or-string may be spelt out. */
static void check_junctor(struct causes *c, const struct fpath *p, const json_t *s, bool intstr)
{
	static const char *const empty[] = {"type", "default", "title", "description", "nullable",
		"additionalProperties", X_INTSTR, X_UNKNOWN, X_EMBED, X_LIST, X_KEYS, X_MAP};
	static const char *const many[] = {"allOf", "oneOf", "anyOf"};
	const char *key;
	json_t *v;
	size_t i;
	for (size_t k = intstr ? 1 : 0; k < ARRAY_LEN(empty); k++)
		if (jhas(s, empty[k]) && !json_is_false(jget(s, empty[k])))
			v_forbidden(c, P_NAME(p, empty[k]), "must be empty to be structural");
	json_object_foreach ((json_t *)(uintptr_t)jget(s, "properties"), key, v)
		check_junctor(c, P_KEY(P_NAME(p, "properties"), key), v, false);
	if (json_is_object(jget(s, "items")))
		check_junctor(c, P_NAME(p, "items"), jget(s, "items"), false);
	if (json_is_object(jget(s, "not")))
		check_junctor(c, P_NAME(p, "not"), jget(s, "not"), false);
	for (size_t k = 0; k < ARRAY_LEN(many); k++) {
		json_array_foreach ((json_t *)(uintptr_t)jget(s, many[k]), i, v)
			check_junctor(c, P_INDEX(P_NAME(p, many[k]), i), v, intstr);
	}
}

/* What a junctor speaks of must be there outside of it. */
static void check_complete(struct causes *c, const struct fpath *outer, const json_t *have,
	const json_t *inner, unsigned depth)
{
	static const char *const many[] = {"allOf", "oneOf", "anyOf"};
	const char *key;
	json_t *v;
	size_t i;
	if (depth > STRUCTURAL_DEPTH)
		return;
	json_object_foreach ((json_t *)(uintptr_t)jget(inner, "properties"), key, v) {
		const json_t *h = jget(jget(have, "properties"), key);
		const struct fpath *hp = P_KEY(P_NAME(outer, "properties"), key);
		if (h)
			check_complete(c, hp, h, v, depth + 1);
		else if (!flag(have, X_UNKNOWN) && !jget(have, "additionalProperties"))
			v_required(c, hp, "because it is defined in a junctor");
	}
	if (json_is_object(jget(inner, "items")) && json_is_object(jget(have, "items")))
		check_complete(c, P_NAME(outer, "items"), jget(have, "items"), jget(inner, "items"),
			depth + 1);
	if (json_is_object(jget(inner, "not")))
		check_complete(c, outer, have, jget(inner, "not"), depth + 1);
	for (size_t k = 0; k < ARRAY_LEN(many); k++) {
		json_array_foreach ((json_t *)(uintptr_t)jget(inner, many[k]), i, v)
			check_complete(c, outer, have, v, depth + 1);
	}
}

static void check_junctors(struct causes *c, const struct fpath *p, const json_t *s)
{
	static const char *const many[] = {"allOf", "oneOf", "anyOf"};
	bool intstr = flag(s, X_INTSTR);
	size_t i;
	json_t *v;
	for (size_t k = 0; k < ARRAY_LEN(many); k++) {
		json_array_foreach ((json_t *)(uintptr_t)jget(s, many[k]), i, v) {
			check_junctor(c, P_INDEX(P_NAME(p, many[k]), i), v, intstr);
			check_complete(c, p, s, v, 0);
		}
	}
	if (json_is_object(jget(s, "not"))) {
		check_junctor(c, P_NAME(p, "not"), jget(s, "not"), false);
		check_complete(c, p, s, jget(s, "not"), 0);
	}
}

static void check_structural(
	struct causes *c, const struct fpath *p, const json_t *s, enum level level, unsigned depth)
{
	const char *key;
	json_t *v;
	if (depth > STRUCTURAL_DEPTH)
		return;
	if (strcmp(jstr(s, "type"), "array") == 0 && !jget(s, "items"))
		v_required(c, P_NAME(p, "items"), "must be specified");
	if (json_is_object(jget(s, "items")))
		check_structural(c, P_NAME(p, "items"), jget(s, "items"), ITEM, depth + 1);
	json_object_foreach ((json_t *)(uintptr_t)jget(s, "properties"), key, v)
		check_structural(c, P_KEY(P_NAME(p, "properties"), key), v, FIELD, depth + 1);
	if (json_is_object(jget(s, "additionalProperties")))
		check_structural(c, P_NAME(p, "additionalProperties"),
			jget(s, "additionalProperties"), FIELD, depth + 1);
	check_type(c, p, s, level);
	if (level == ROOT || flag(s, X_EMBED))
		check_object(c, p, s);
	check_junctors(c, p, s);
}

/* --- defaults --- */

static void count_note(void *arg, const char *path)
{
	(void)path;
	++*(size_t *)arg;
}

static void check_defaults(struct causes *c, const struct fpath *p, const struct structural *s)
{
	if (s->dflt) {
		AUTO_JSON json_t *v = json_deep_copy(s->dflt);
		const struct fpath *dp = P_NAME(p, "default");
		size_t unknown = 0;
		structural_prune(s, v, count_note, &unknown);
		if (unknown)
			v_invalid(c, dp, s->dflt, "must not have unknown fields");
		structural_default(s, v);
		structural_validate_at(s, v, dp, c);
	}
	for (size_t i = 0; i < s->n_props; i++)
		check_defaults(c, P_KEY(P_NAME(p, "properties"), s->props[i].name), &s->props[i].s);
	if (s->items)
		check_defaults(c, P_NAME(p, "items"), s->items);
	if (s->more)
		check_defaults(c, P_NAME(p, "additionalProperties"), s->more);
}

void extend_schema(struct causes *c, const struct fpath *p, const json_t *schema, bool status)
{
	AUTO_ARENA struct arena a = {0};
	struct structural *s = NULL;
	struct err e = {0};
	size_t before = c->n;
	if (status && jhas(schema, "type") && strcmp(jstr(schema, "type"), "object") != 0)
		v_invalid(c, P_NAME(p, "type"), jget(schema, "type"),
			"only \"object\" is allowed as the type at the root of the schema if the "
			"status subresource is enabled");
	if (flag(schema, "nullable"))
		v_forbidden(c, P_NAME(p, "nullable"), "nullable cannot be true at the root");
	if (json_object_get(schema, "default"))
		v_forbidden(c, P_NAME(p, "default"), "must not be set at the root");
	check_all(c, p, schema, 0);
	check_structural(c, p, schema, ROOT, 0);
	if (c->n != before)
		return;
	if (structural_new(&a, schema, &s, &e) < 0)
		v_invalid_str(c, p, "", "%s", e.msg);
	else
		check_defaults(c, p, s);
}

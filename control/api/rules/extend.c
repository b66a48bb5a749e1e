/* SPDX-License-Identifier: Apache-2.0
 * CustomResourceDefinition: names that agree with each other, versions, subresources, columns. What
 * all versions have in common is reported where it once stood: spec.validation and its like. */
#include <ctype.h>
#include <errno.h>
#include "api/jsonpath.h"
#include "api/rules/extend.h"
#include "api/rules/registry.h"

#define APPROVED       "api-approved.kubernetes.io"
#define SELECTABLE_MAX 8

static const struct fpath spec_path = {.name = "spec"};

static bool flag(const json_t *s, const char *name)
{
	return json_is_true(jget(s, name));
}

/* One cause for all that a format finds. */
static void check_label(struct causes *c, const struct fpath *p, const char *name, const char *text,
	const char *head)
{
	const char *msg[MSG_MAX];
	AUTO_BUF struct buf all = {0};
	size_t n = fmt_dns1035_label(str_of(text), msg);
	for (size_t i = 0; i < n; i++)
		buf_addf(&all, "%s%s", i ? "," : "", msg[i]);
	if (n)
		v_invalid_str(c, p, name, "%s%s", head, all.p ? all.p : "");
}

static void check_lower(struct causes *c, const struct fpath *p, const char *name)
{
	AUTO_BUF struct buf low = {0};
	for (const char *z = name; *z; z++)
		buf_addc(&low, (char)tolower((unsigned char)*z));
	check_label(c, p, name, low.p ? low.p : "",
		"may have mixed case, but should otherwise match: ");
}

static void check_names(struct causes *c, const json_t *names)
{
	static const char *const required[] = {"plural", "singular", "kind", "listKind"};
	static const char *const lists[] = {"shortNames", "categories"};
	const struct fpath *p = P_NAME(&spec_path, "names");
	for (size_t i = 0; i < ARRAY_LEN(required); i++)
		if (!jhas(names, required[i]))
			v_required(c, P_NAME(p, required[i]), "");
	for (size_t i = 0; i < ARRAY_LEN(required); i++) {
		const char *z = jstr(names, required[i]);
		if (i < 2)
			check_label(c, P_NAME(p, required[i]), z, z, "");
		else
			check_lower(c, P_NAME(p, required[i]), z);
	}
	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		const json_t *list = jget(names, lists[k]);
		for (size_t i = 0; i < json_array_size(list); i++) {
			const char *z = json_string_value(json_array_get(list, i));
			z = z ? z : "";
			check_label(c, P_INDEX(P_NAME(p, lists[k]), i), z, z, "");
		}
	}
	if (jhas(names, "kind") && strcmp(jstr(names, "kind"), jstr(names, "listKind")) == 0)
		v_invalid(c, P_NAME(p, "listKind"), jget(names, "listKind"),
			"kind and listKind may not be the same");
}

/* --- parts of a version --- */

static bool check_path(struct causes *c, const struct fpath *p, const char *text)
{
	AUTO_ARENA struct arena a = {0};
	const struct jsonpath *path;
	struct err e = {0};
	if (!*text)
		v_invalid_str(c, p, text, "must not be empty");
	else if (*text != '.')
		v_invalid_str(c, p, text, "must be a simple json path starting with .");
	else if (jsonpath_new(&a, text, &path, &e) < 0)
		v_invalid_str(c, p, text, "is an invalid path: %s", e.msg);
	else
		return true;
	return false;
}

static void check_scale_path(struct causes *c, const struct fpath *p, const json_t *scale,
	const char *member, const char *first, const char *second, const char *where)
{
	const char *text = jstr(scale, member);
	if (!*text && !second) {
		v_required(c, P_NAME(p, member), "");
		return;
	}
	if (!*text || !check_path(c, P_NAME(p, member), text))
		return;
	if (strncmp(text, first, strlen(first)) != 0 &&
		(!second || strncmp(text, second, strlen(second)) != 0))
		v_invalid_str(c, P_NAME(p, member), text, "should be a json path under %s", where);
}

static void check_subresources(struct causes *c, const struct fpath *p, const json_t *sub)
{
	const json_t *scale = jget(sub, "scale");
	const struct fpath *sp = P_NAME(p, "scale");
	if (!scale)
		return;
	check_scale_path(c, sp, scale, "specReplicasPath", ".spec.", NULL, ".spec");
	check_scale_path(c, sp, scale, "statusReplicasPath", ".status.", NULL, ".status");
	check_scale_path(
		c, sp, scale, "labelSelectorPath", ".spec.", ".status.", "either .spec or .status");
}

static bool in_words(const char *const *words, const char *z)
{
	for (; *words; words++)
		if (strcmp(*words, z) == 0)
			return true;
	return false;
}

static void check_columns(struct causes *c, const struct fpath *p, const json_t *columns)
{
	static const char *const types[] = {"boolean", "date", "integer", "number", "string", NULL};
	static const char *const formats[] = {
		"int32", "int64", "float", "double", "byte", "date", "date-time", "password", NULL};
	for (size_t i = 0; i < json_array_size(columns); i++) {
		const json_t *j = json_array_get(columns, i);
		const struct fpath *cp = P_INDEX(p, i);
		const char *type = jstr(j, "type"), *format = jstr(j, "format");
		if (!jhas(j, "name"))
			v_required(c, P_NAME(cp, "name"), "");
		if (!*type)
			v_required(c, P_NAME(cp, "type"),
				"must be one of boolean,date,integer,number,string");
		else if (!in_words(types, type))
			v_invalid_str(c, P_NAME(cp, "type"), type,
				"must be one of boolean,date,integer,number,string");
		if (*format && !in_words(formats, format))
			v_invalid_str(c, P_NAME(cp, "format"), format,
				"must be one of "
				"byte,date,date-time,double,float,int32,int64,password");
		if (!jhas(j, "jsonPath"))
			v_required(c, P_NAME(cp, "JSONPath"), "");
		else
			(void)check_path(c, P_NAME(cp, "JSONPath"), jstr(j, "jsonPath"));
	}
}

/* The schema of the member that a plain path names. */
static const json_t *schema_at(const json_t *schema, const char *path)
{
	struct str rest = {path + 1, strlen(path) - 1};
	while (schema && rest.n) {
		struct str name = str_cut(&rest, '.');
		schema = json_object_getn(jget(schema, "properties"), name.p, name.n);
	}
	return schema;
}

static void check_selectable(
	struct causes *c, const struct fpath *p, const json_t *list, const json_t *schema)
{
	static const char *const types[] = {"boolean", "integer", "string", NULL};
	if (json_array_size(list) > SELECTABLE_MAX)
		v_too_many(c, p, json_array_size(list), SELECTABLE_MAX);
	AUTO_JSON json_t *seen = json_object();
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const json_t *v = jget(json_array_get(list, i), "jsonPath");
		const char *text = json_string_value(v);
		const struct fpath *fp = P_NAME(P_INDEX(p, i), "jsonPath");
		if (v_seen(seen, text, i) < i)
			v_duplicate(c, fp, v);
		if (!text || !*text) {
			v_required(c, fp, "");
			continue;
		}
		if (!check_path(c, fp, text))
			continue;
		const json_t *s = schema_at(schema, text);
		if (strncmp(text, ".metadata", 9) == 0)
			v_invalid_str(c, fp, text, "must not point to fields in metadata");
		else if (!s)
			v_invalid_str(
				c, fp, text, "is an invalid path: does not refer to a valid field");
		else if (!in_words(types, jstr(s, "type")))
			v_invalid_str(c, fp, text,
				"must point to a field of type string, boolean or integer. Enum "
				"string fields and strings with formats are allowed.");
	}
}

/* --- versions --- */

/* Is this member the same in all versions? */
static bool agree(const json_t *versions, const char *member)
{
	const json_t *first = jget(json_array_get(versions, 0), member);
	for (size_t i = 1; i < json_array_size(versions); i++) {
		const json_t *v = jget(json_array_get(versions, i), member);
		if (v != first && !(v && first && json_equal(v, first)))
			return false;
	}
	return true;
}

static void check_version(struct causes *c, const json_t *versions, size_t i)
{
	static const char *const parts[] = {
		"schema", "subresources", "additionalPrinterColumns", "selectableFields"};
	const json_t *v = json_array_get(versions, i);
	const struct fpath *vp = P_INDEX(P_NAME(&spec_path, "versions"), i);
	const json_t *schema = jget(jget(v, "schema"), "openAPIV3Schema");
	const char *name = jstr(v, "name");
	check_label(c, P_NAME(vp, "name"), name, name, "");
	if (!schema)
		v_required(
			c, P_NAME(P_NAME(vp, "schema"), "openAPIV3Schema"), "schemas are required");
	for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
		bool same = agree(versions, parts[k]);
		const struct fpath *p =
			P_NAME(same ? &spec_path : vp, same && k == 0 ? "validation" : parts[k]);
		const json_t *part = jget(v, parts[k]);
		if (!part || (same && i > 0))
			continue;
		if (k == 0 && schema)
			extend_schema(c, P_NAME(p, "openAPIV3Schema"), schema,
				jget(jget(v, "subresources"), "status") != NULL);
		else if (k == 1)
			check_subresources(c, p, part);
		else if (k == 2)
			check_columns(c, p, part);
		else if (k == 3)
			check_selectable(c, p, part, schema);
	}
	if (jhas(v, "deprecationWarning") && !flag(v, "deprecated"))
		v_invalid(c, P_NAME(vp, "deprecationWarning"), jget(v, "deprecationWarning"),
			"can only be set for deprecated versions");
}

static void check_versions(struct causes *c, const json_t *versions)
{
	const struct fpath *vp = P_NAME(&spec_path, "versions");
	size_t storage = 0, n = json_array_size(versions);
	bool unique = true;
	AUTO_JSON json_t *names = json_object();
	for (size_t i = 0; i < n; i++) {
		const json_t *v = json_array_get(versions, i);
		storage += flag(v, "storage");
		unique = v_seen(names, jstr(v, "name"), i) == i && unique;
		if (!causes_full(c))
			check_version(c, versions, i);
	}
	if (!unique)
		v_invalid_str(c, vp, "", "must contain unique version names");
	if (storage != 1)
		v_invalid_str(c, vp, "", "must have exactly one version marked as storage version");
}

static void check_stored(struct causes *c, const json_t *obj)
{
	const json_t *list = jget(jget(obj, "status"), "storedVersions");
	const json_t *versions = jget(jget(obj, "spec"), "versions");
	const struct fpath *p = P_NAME(P_NAME(NULL, "status"), "storedVersions");
	if (json_array_size(list) == 0)
		v_invalid_str(c, p, "", "must have at least one stored version");
	for (size_t i = 0; i < json_array_size(list); i++) {
		bool found = false;
		for (size_t j = 0; j < json_array_size(versions); j++)
			found = found || json_equal(json_array_get(list, i),
						 jget(json_array_get(versions, j), "name"));
		if (!found)
			v_invalid(c, P_INDEX(p, i), json_array_get(list, i),
				"must appear in spec.versions");
	}
}

/* --- the rest --- */

static void check_conversion(struct causes *c, const json_t *conversion)
{
	static const char *const strategies[] = {"None", "Webhook", NULL};
	const struct fpath *p = P_NAME(&spec_path, "conversion");
	const json_t *hook = jget(conversion, "webhook");
	if (!conversion)
		return;
	(void)v_enum_required(c, P_NAME(p, "strategy"), jget(conversion, "strategy"), strategies);
	if (strcmp(jstr(conversion, "strategy"), "Webhook") == 0) {
		if (!jget(hook, "clientConfig"))
			v_required(c, P_NAME(p, "webhookClientConfig"),
				"required when strategy is set to Webhook");
		if (!json_array_size(jget(hook, "conversionReviewVersions")))
			v_required(c, P_NAME(p, "conversionReviewVersions"), "");
	} else if (jget(hook, "clientConfig")) {
		v_forbidden(c, P_NAME(p, "webhookClientConfig"),
			"should not be set when strategy is not set to Webhook");
	}
}

static bool ends_with(const char *z, const char *tail)
{
	size_t n = strlen(z), t = strlen(tail);
	return n >= t && strcmp(z + n - t, tail) == 0;
}

/* Kubernetes' own domains need somebody's word. */
static void check_approval(struct causes *c, const json_t *obj, const char *group)
{
	const char *note = jstr(jget(jget(obj, "metadata"), "annotations"), APPROVED);
	const struct fpath *p = P_KEY(P_NAME(P_NAME(NULL, "metadata"), "annotations"), APPROVED);
	if (!ends_with(group, ".k8s.io") && !ends_with(group, ".kubernetes.io") &&
		strcmp(group, "k8s.io") != 0 && strcmp(group, "kubernetes.io") != 0)
		return;
	if (!*note)
		v_required(c, p,
			"protected groups must have approval annotation "
			"\"api-approved.kubernetes.io\", see "
			"https://github.com/kubernetes/enhancements/pull/1111");
	else if (strncmp(note, "unapproved", 10) != 0 && !strstr(note, "://"))
		v_invalid_str(c, p, note,
			"protected groups must have approval annotation "
			"\"api-approved.kubernetes.io\" with either a URL or a reason starting "
			"with \"unapproved\", see "
			"https://github.com/kubernetes/enhancements/pull/1111");
}

static void check_group(struct causes *c, const char *group)
{
	const struct fpath *p = P_NAME(&spec_path, "group");
	const char *msg[MSG_MAX];
	if (!*group)
		v_required(c, p, "");
	else if (fmt_dns1123_subdomain(str_of(group), msg) > 0)
		v_invalid_str(c, p, group, "%s", msg[0]);
	else if (!strchr(group, '.'))
		v_invalid_str(c, p, group, "should be a domain with at least one dot");
}

static bool established(const json_t *obj)
{
	const json_t *list = jget(jget(obj, "status"), "conditions");
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(jstr(json_array_get(list, i), "type"), "Established") == 0)
			return strcmp(jstr(json_array_get(list, i), "status"), "True") == 0;
	return false;
}

static void check_update(struct causes *c, const json_t *spec, const json_t *old)
{
	const json_t *was = jget(old, "spec");
	const struct fpath *np = P_NAME(&spec_path, "names");
	if (established(old)) {
		(void)v_immutable(
			c, P_NAME(&spec_path, "scope"), jget(spec, "scope"), jget(was, "scope"));
		(void)v_immutable(c, P_NAME(np, "kind"), jget(jget(spec, "names"), "kind"),
			jget(jget(was, "names"), "kind"));
	}
	(void)v_immutable(c, P_NAME(&spec_path, "group"), jget(spec, "group"), jget(was, "group"));
	(void)v_immutable(c, P_NAME(np, "plural"), jget(jget(spec, "names"), "plural"),
		jget(jget(was, "names"), "plural"));
}

static void definition(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const scopes[] = {"Cluster", "Namespaced", NULL};
	const json_t *spec = jget(obj, "spec"), *names = jget(spec, "names");
	const char *name = jstr(jget(obj, "metadata"), "name");
	char want[520];
	if (*sub) {
		check_stored(c, obj);
		return;
	}
	(void)snprintf(want, sizeof(want), "%s.%s", jstr(names, "plural"), jstr(spec, "group"));
	if (strcmp(want, name) != 0)
		v_invalid_str(c, P_NAME(P_NAME(NULL, "metadata"), "name"), name,
			"must be spec.names.plural+\".\"+spec.group");
	check_group(c, jstr(spec, "group"));
	(void)v_enum_required(c, P_NAME(&spec_path, "scope"), jget(spec, "scope"), scopes);
	check_names(c, names);
	check_versions(c, jget(spec, "versions"));
	check_conversion(c, jget(spec, "conversion"));
	if (flag(spec, "preserveUnknownFields"))
		v_invalid(c, P_NAME(&spec_path, "preserveUnknownFields"), json_true(),
			"cannot set to true, set x-kubernetes-preserve-unknown-fields to true in "
			"spec.versions[*].schema instead");
	check_stored(c, obj);
	check_approval(c, obj, jstr(spec, "group"));
	if (old)
		check_update(c, spec, old);
}
const struct kind_rules definition_rules = {.validate = definition};

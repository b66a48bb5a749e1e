/* SPDX-License-Identifier: Apache-2.0
 * CustomResourceDefinition: names that agree with each other and a structural schema (every node
 * has a type, every array says what it holds). */
#include "api/rules.h"
#include "api/rules/registry.h"

#define DEPTH_MAX 64

static const struct fpath spec_path = {.name = "spec"};

static void check_node(
	struct causes *c, const struct fpath *p, const json_t *s, bool root, unsigned depth);

static bool flag(const json_t *s, const char *name)
{
	return json_is_true(jget(s, name));
}

static void check_children(struct causes *c, const struct fpath *p, const json_t *s, unsigned depth)
{
	const json_t *items = jget(s, "items"), *more = jget(s, "additionalProperties");
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)jget(s, "properties"), key, v)
		check_node(c, P_KEY(P_NAME(p, "properties"), key), v, false, depth + 1);
	if (strcmp(jstr(s, "type"), "array") == 0 && !items)
		v_required(c, P_NAME(p, "items"), "must be specified");
	if (json_is_object(items))
		check_node(c, P_NAME(p, "items"), items, false, depth + 1);
	if (json_is_object(more))
		check_node(c, P_NAME(p, "additionalProperties"), more, false, depth + 1);
	if (json_is_object(more) && json_object_size(jget(s, "properties")))
		v_forbidden(c, P_NAME(p, "additionalProperties"),
			"additionalProperties and properties are mutual exclusive");
}

static void check_node(
	struct causes *c, const struct fpath *p, const json_t *s, bool root, unsigned depth)
{
	static const char *const types[] = {
		"array", "boolean", "integer", "number", "object", "string", NULL};
	bool free_form = flag(s, "x-kubernetes-int-or-string") ||
			 flag(s, "x-kubernetes-preserve-unknown-fields");
	if (depth > DEPTH_MAX) {
		v_forbidden(c, p, "nested too deeply");
		return;
	}
	if (root && strcmp(jstr(s, "type"), "object") != 0)
		v_invalid(c, P_NAME(p, "type"), jget(s, "type"), "must be object at the root");
	else if (!jhas(s, "type") && !free_form)
		v_required(c, P_NAME(p, "type"), "must not be empty for specified object fields");
	else if (jhas(s, "type"))
		(void)v_enum(c, P_NAME(p, "type"), jget(s, "type"), types);
	check_children(c, p, s, depth);
}

/* Schemas that all versions share are reported as the one schema they once were. */
static bool schemas_agree(const json_t *versions)
{
	for (size_t i = 1; i < json_array_size(versions); i++)
		if (!jequal(jget(json_array_get(versions, 0), "schema"),
			    jget(json_array_get(versions, i), "schema")))
			return false;
	return true;
}

static void check_versions(struct causes *c, const json_t *versions)
{
	const struct fpath *vp = P_NAME(&spec_path, "versions");
	bool agree = schemas_agree(versions);
	size_t storage = 0;
	for (size_t i = 0; i < json_array_size(versions); i++) {
		const json_t *v = json_array_get(versions, i);
		const json_t *s = jget(jget(v, "schema"), "openAPIV3Schema");
		const struct fpath *own = P_NAME(P_INDEX(vp, i), "schema");
		const struct fpath *sp = agree ? P_NAME(&spec_path, "validation") : own;
		(void)v_format(
			c, P_NAME(P_INDEX(vp, i), "name"), jstr(v, "name"), fmt_dns1035_label);
		storage += flag(v, "storage");
		if (!s)
			v_required(c, P_NAME(own, "openAPIV3Schema"), "schemas are required");
		else if (!agree || i == 0)
			check_node(c, P_NAME(sp, "openAPIV3Schema"), s, true, 0);
	}
	if (json_array_size(versions) == 0)
		v_required(c, vp, "must have at least one version");
	else if (storage != 1)
		v_invalid(
			c, vp, versions, "must have exactly one version marked as storage version");
}

static void check_names(struct causes *c, const json_t *names)
{
	static const char *const lower[] = {"plural", "singular"};
	const struct fpath *p = P_NAME(&spec_path, "names");
	for (size_t i = 0; i < ARRAY_LEN(lower); i++)
		if (jhas(names, lower[i]))
			(void)v_format(
				c, P_NAME(p, lower[i]), jstr(names, lower[i]), fmt_dns1035_label);
	if (!jhas(names, "plural"))
		v_required(c, P_NAME(p, "plural"), "");
	if (!jhas(names, "kind"))
		v_required(c, P_NAME(p, "kind"), "");
}

static void definition(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const scopes[] = {"Cluster", "Namespaced", NULL};
	static const char *const fixed[] = {"group", "scope"};
	const json_t *spec = jget(obj, "spec"), *names = jget(spec, "names");
	const char *name = jstr(jget(obj, "metadata"), "name");
	char want[520];
	if (*sub)
		return;
	(void)snprintf(want, sizeof(want), "%s.%s", jstr(names, "plural"), jstr(spec, "group"));
	if (strcmp(want, name) != 0)
		v_invalid_str(c, P_NAME(P_NAME(NULL, "metadata"), "name"), name,
			"must be spec.names.plural+\".\"+spec.group");
	if (!jhas(spec, "group"))
		v_required(c, P_NAME(&spec_path, "group"), "");
	else if (!strchr(jstr(spec, "group"), '.'))
		v_invalid_str(c, P_NAME(&spec_path, "group"), jstr(spec, "group"),
			"should be a domain with at least one dot");
	else
		(void)v_format(
			c, P_NAME(&spec_path, "group"), jstr(spec, "group"), fmt_dns1123_subdomain);
	(void)v_enum_required(c, P_NAME(&spec_path, "scope"), jget(spec, "scope"), scopes);
	check_names(c, names);
	check_versions(c, jget(spec, "versions"));
	for (size_t i = 0; old && i < ARRAY_LEN(fixed); i++)
		(void)v_immutable(c, P_NAME(&spec_path, fixed[i]), jget(spec, fixed[i]),
			jget(jget(old, "spec"), fixed[i]));
}
const struct kind_rules definition_rules = {.validate = definition};

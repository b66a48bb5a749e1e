/* SPDX-License-Identifier: Apache-2.0
 * Checks that every object shares: metadata, labels, label selectors. */
#include <errno.h>
#include "api/rules.h"

#define ANNOTATIONS_MAX (256 << 10)
#define MSG_FINALIZER	"name is neither a standard finalizer name nor is it fully qualified"

void v_labels(struct causes *c, const struct fpath *p, const json_t *labels)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)labels, key, v) {
		(void)v_format(c, p, key, fmt_qualified_name);
		(void)v_format(
			c, p, json_string_value(v) ? json_string_value(v) : "", fmt_label_value);
	}
}

static void check_annotations(struct causes *c, const struct fpath *p, const json_t *list)
{
	size_t total = 0;
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)list, key, v) {
		const char *msg[MSG_MAX];
		size_t n;
		char lower[320];
		size_t len = strlen(key);
		/* keys are compared in lower case: domains are */
		for (n = 0; n < len && n < sizeof(lower) - 1; n++)
			lower[n] = (char)(key[n] >= 'A' && key[n] <= 'Z' ? key[n] + 32 : key[n]);
		lower[n] = 0;
		n = fmt_qualified_name(str_of(lower), msg);
		for (size_t i = 0; i < n; i++)
			v_invalid_str(c, p, key, "%s", msg[i]);
		total += len + json_string_length(v);
	}
	if (total > ANNOTATIONS_MAX)
		v_too_long(c, p, ANNOTATIONS_MAX);
}

static void check_owner(struct causes *c, const struct fpath *p, const json_t *o)
{
	static const char *const required[] = {"apiVersion", "kind", "name", "uid"};
	for (size_t i = 0; i < ARRAY_LEN(required); i++)
		if (!jhas(o, required[i]))
			v_invalid_str(
				c, P_NAME(p, required[i]), "", "%s must not be empty", required[i]);
	if (strcmp(jstr(o, "kind"), "Event") == 0 && strcmp(jstr(o, "apiVersion"), "v1") == 0)
		v_invalid_str(c, p, "/v1, Kind=Event", "is disallowed from being an owner");
}

static void check_owners(struct causes *c, const struct fpath *p, const json_t *list)
{
	const char *controller = NULL;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *o = json_array_get(list, i);
		check_owner(c, P_INDEX(p, i), o);
		if (!json_is_true(jget(o, "controller")))
			continue;
		if (controller)
			v_invalid(c, p, list,
				"Only one reference can have Controller set to true. Found "
				"\"true\" in "
				"references for %s and %s",
				controller, jstr(o, "name"));
		else
			controller = jstr(o, "name");
	}
}

static void check_finalizers(struct causes *c, const struct fpath *p, const json_t *list)
{
	static const char *const standard[] = {"kubernetes", "orphan", "foregroundDeletion"};
	bool orphan = false, foreground = false;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		bool known = false;
		s = s ? s : "";
		if (!v_format(c, P_INDEX(p, i), s, fmt_qualified_name))
			continue;
		for (size_t j = 0; j < ARRAY_LEN(standard); j++)
			known |= strcmp(s, standard[j]) == 0;
		if (!known && !strchr(s, '/'))
			v_invalid_str(c, P_INDEX(p, i), s, MSG_FINALIZER);
		orphan |= strcmp(s, "orphan") == 0;
		foreground |= strcmp(s, "foregroundDeletion") == 0;
	}
	if (orphan && foreground)
		v_invalid(c, p, list, "finalizer orphan and foregroundDeletion cannot be both set");
}

static void check_managed(struct causes *c, const struct fpath *p, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *m = json_array_get(list, i);
		const struct fpath *ep = P_INDEX(p, i);
		const char *op = jstr(m, "operation"), *type = jstr(m, "fieldsType");
		if (strcmp(op, "Apply") != 0 && strcmp(op, "Update") != 0)
			v_invalid_str(
				c, P_NAME(ep, "operation"), op, "must be `Apply` or `Update`");
		if (*type && strcmp(type, "FieldsV1") != 0)
			v_invalid_str(c, P_NAME(ep, "fieldsType"), type, "must be `FieldsV1`");
		if (strlen(jstr(m, "manager")) > 128)
			v_too_long(c, P_NAME(ep, "manager"), 128);
		if (strlen(jstr(m, "subresource")) > 256)
			v_too_long(c, P_NAME(ep, "subresource"), 256);
	}
}

static void check_name(struct causes *c, const struct fpath *p, const json_t *meta, format_fn *f)
{
	const char *name = jstr(meta, "name"), *base = jstr(meta, "generateName");
	if (*base) {
		/* the server appends to it: one trailing dash is no fault */
		char text[260];
		size_t n = strlen(base);
		if (n < sizeof(text) - 1) {
			memcpy(text, base, n + 1);
			if (n > 1 && text[n - 1] == '-')
				text[n - 1] = 'a';
			(void)v_format(c, P_NAME(p, "generateName"), text, f);
		} else {
			v_too_long(c, P_NAME(p, "generateName"), 253);
		}
	}
	if (!*name)
		v_required(c, P_NAME(p, "name"), "name or generateName is required");
	else
		(void)v_format(c, P_NAME(p, "name"), name, f);
}

static void check_namespace(
	struct causes *c, const struct fpath *p, const json_t *meta, bool namespaced)
{
	const char *ns = jstr(meta, "namespace");
	const struct fpath *np = P_NAME(p, "namespace");
	if (!namespaced) {
		if (*ns)
			v_forbidden(c, np, "not allowed on this type");
		return;
	}
	if (!*ns)
		v_required(c, np, "");
	else
		(void)v_format(c, np, ns, fmt_dns1123_label);
}

/* What an update may not change, beside what the server itself restores. */
static void check_meta_update(
	struct causes *c, const struct fpath *p, const json_t *meta, const json_t *old)
{
	static const char *const fixed[] = {"name", "namespace", "uid", "creationTimestamp",
		"deletionTimestamp", "deletionGracePeriodSeconds"};
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		(void)v_immutable(
			c, P_NAME(p, fixed[i]), jget(meta, fixed[i]), jget(old, fixed[i]));
	if (json_integer_value(jget(meta, "generation")) <
		json_integer_value(jget(old, "generation")))
		v_invalid(c, P_NAME(p, "generation"), jget(meta, "generation"),
			"must not be decremented");
	if (!jhas(old, "deletionTimestamp"))
		return;
	for (size_t i = 0; i < json_array_size(jget(meta, "finalizers")); i++) {
		const json_t *f = json_array_get(jget(meta, "finalizers"), i);
		const json_t *before = jget(old, "finalizers");
		bool had = false;
		for (size_t j = 0; j < json_array_size(before) && !had; j++)
			had = json_equal(f, json_array_get(before, j));
		/* Kubernetes reports it twice: its generic and its per-kind update check both do.
		 */
		for (int n = 0; !had && n < 2; n++)
			v_forbidden(c, P_NAME(p, "finalizers"),
				"no new finalizers can be added if the object is being deleted");
	}
}

void v_object_meta(struct causes *c, const struct fpath *p, const json_t *meta, const json_t *old,
	bool namespaced, format_fn *name_format)
{
	if (!old) {
		check_name(c, p, meta, name_format ? name_format : fmt_dns1123_subdomain);
		check_namespace(c, p, meta, namespaced);
	}
	v_labels(c, P_NAME(p, "labels"), jget(meta, "labels"));
	check_annotations(c, P_NAME(p, "annotations"), jget(meta, "annotations"));
	check_owners(c, P_NAME(p, "ownerReferences"), jget(meta, "ownerReferences"));
	check_finalizers(c, P_NAME(p, "finalizers"), jget(meta, "finalizers"));
	check_managed(c, P_NAME(p, "managedFields"), jget(meta, "managedFields"));
	if (old)
		check_meta_update(c, p, meta, old);
}

static void check_expression(
	struct causes *c, const struct fpath *p, const json_t *x, bool allow_invalid_values)
{
	const char *op = jstr(x, "operator");
	const json_t *values = jget(x, "values");
	const struct fpath *vp = P_NAME(p, "values");
	size_t n = json_array_size(values);
	if (strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0) {
		if (n == 0)
			v_required(c, vp, "must be specified when `operator` is 'In' or 'NotIn'");
	} else if (strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0) {
		if (n)
			v_forbidden(c, vp,
				"may not be specified when `operator` is 'Exists' or "
				"'DoesNotExist'");
	} else {
		v_invalid(c, P_NAME(p, "operator"), jget(x, "operator"),
			"not a valid selector operator");
	}
	(void)v_format(c, P_NAME(p, "key"), jstr(x, "key"), fmt_qualified_name);
	for (size_t i = 0; !allow_invalid_values && i < n; i++) {
		const char *s = json_string_value(json_array_get(values, i));
		(void)v_format(c, P_INDEX(vp, i), s ? s : "", fmt_label_value);
	}
}

void v_label_selector(
	struct causes *c, const struct fpath *p, const json_t *sel, bool allow_invalid_values)
{
	const json_t *list = jget(sel, "matchExpressions");
	const struct fpath *xp = P_NAME(p, "matchExpressions");
	v_labels(c, P_NAME(p, "matchLabels"), jget(sel, "matchLabels"));
	for (size_t i = 0; i < json_array_size(list); i++)
		check_expression(c, P_INDEX(xp, i), json_array_get(list, i), allow_invalid_values);
}

/* SPDX-License-Identifier: Apache-2.0
 * What the server decides on a write, before validation: system fields of the metadata, the parts
 * that a path may not change, and metadata.generation. */
#include "api/defaults.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

static bool is_kind(const struct kind *k, const char *group, const char *kind)
{
	return strcmp(k->kind, kind) == 0 && strcmp(k->group, group) == 0;
}

/* Takes the member over from old: set, or removed when old lacks it. */
static void keep(json_t *obj, const json_t *old, const char *member)
{
	json_t *v = json_object_get(old, member);
	if (v)
		(void)json_object_set(obj, member, v);
	else
		(void)json_object_del(obj, member);
}

static void drop(json_t *obj, const char *member)
{
	(void)json_object_del(obj, member);
}

/* --- create --- */
static const char *qos_class(const json_t *spec)
{
	static const char *const lists[] = {"containers", "initContainers"}, *const names[] = {
										     "cpu",
										     "memory"};
	bool any = false, guaranteed = true;
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		size_t i;
		json_t *c;
		json_array_foreach (json_object_get(spec, lists[l]), i, c) {
			const json_t *lim = json_at(c, "resources.limits"),
				     *req = json_at(c, "resources.requests");
			for (size_t r = 0; r < ARRAY_LEN(names); r++) {
				json_t *a = json_object_get(lim, names[r]),
				       *b = json_object_get(req, names[r]);
				int64_t limit = 0, request = 0;
				if (a)
					(void)quantity_parse(
						str_of(json_string_value(a)), &limit, NULL);
				if (b)
					(void)quantity_parse(
						str_of(json_string_value(b)), &request, NULL);
				any = any || limit || request;
				guaranteed = guaranteed && limit && (!b || limit == request);
			}
		}
	}
	return !any ? "BestEffort" : guaranteed ? "Guaranteed" : "Burstable";
}

static void pod_status(json_t *obj, const char *now)
{
	json_t *spec = json_object_get(obj, "spec");
	json_t *status = json_pack("{s:s,s:s}", "phase", "Pending", "qosClass", qos_class(spec));
	/* old clients ask for "at once" with a negative grace */
	if (json_i64(spec, "terminationGracePeriodSeconds", 0) < 0)
		(void)json_object_set_new(spec, "terminationGracePeriodSeconds", json_integer(1));
	if (dflt_get(spec, "schedulingGates"))
		(void)json_object_set_new(status, "conditions",
			json_pack("[{s:s,s:s,s:s,s:s,s:n,s:s}]", "type", "PodScheduled", "status",
				"False", "reason", "SchedulingGated", "message",
				"Scheduling is blocked due to non-empty scheduling gates",
				"lastProbeTime", "lastTransitionTime", now));
	(void)json_object_set_new(obj, "status", status);
}

static void namespace_finalizer(json_t *obj)
{
	json_t *spec = json_make(obj, "spec"), *list = json_object_get(spec, "finalizers"), *v;
	size_t i;
	json_array_foreach (list, i, v)
		if (json_is_string(v) && strcmp(json_string_value(v), "kubernetes") == 0)
			return;
	if (!json_is_array(list)) {
		list = json_array();
		(void)json_object_set_new(spec, "finalizers", list);
	}
	(void)json_array_append_new(list, json_string("kubernetes"));
}

static void put_label(json_t *meta, const char *key, const char *value)
{
	dflt_set(meta, "labels", json_object());
	json_t *labels = json_object_get(meta, "labels");
	if (!json_object_get(labels, key))
		(void)json_object_set_new(labels, key, json_string(value));
}

/* Jobs find their pods by their own uid unless the user wrote a selector (batch/v1 strategy). */
static void job_selector(json_t *obj)
{
	json_t *spec = json_object_get(obj, "spec"), *meta = json_object_get(obj, "metadata");
	json_t *pod_meta = json_make(obj, "spec.template.metadata");
	const char *uid = dflt_str(meta, "uid"), *name = dflt_str(meta, "name");
	if (dflt_get(spec, "manualSelector"))
		return;
	json_t *const both[] = {meta, pod_meta};
	for (size_t i = 0; i < 2 && both[i]; i++) {
		put_label(both[i], "batch.kubernetes.io/controller-uid", uid);
		put_label(both[i], "batch.kubernetes.io/job-name", name);
		put_label(both[i], "controller-uid", uid);
		put_label(both[i], "job-name", name);
	}
	if (!json_object_get(spec, "selector"))
		(void)json_put(obj, "spec.selector.matchLabels",
			json_pack("{s:s}", "batch.kubernetes.io/controller-uid", uid));
}

static void daemon_set_generation(json_t *obj, int64_t n)
{
	json_t *meta = json_object_get(obj, "metadata");
	dflt_set(meta, "annotations", json_object());
	(void)json_object_set_new(json_object_get(meta, "annotations"),
		"deprecated.daemonset.template.generation",
		json_sprintf("%" JSON_INTEGER_FORMAT, (json_int_t)n));
}

/* Every version that objects were ever stored in is noted down. */
static void stored_versions(json_t *crd)
{
	json_t *status = json_make(crd, "status"), *list, *v, *had;
	size_t i, j;
	list = json_object_get(status, "storedVersions");
	json_array_foreach (json_at(crd, "spec.versions"), i, v) {
		bool known = false;
		json_t *name = json_object_get(v, "name");
		if (!json_is_true(json_object_get(v, "storage")) || !name)
			continue;
		json_array_foreach (list, j, had)
			known = known || json_equal(had, name);
		if (known)
			return;
		list = json_is_array(list) ? json_copy(list) : json_array();
		(void)json_array_append(list, name);
		(void)json_object_set_new(status, "storedVersions", list);
		return;
	}
}

static void create_kind(const struct kind *k, json_t *obj, const char *now)
{
	if (is_kind(k, "", "Pod"))
		pod_status(obj, now);
	else if (is_kind(k, "", "Namespace"))
		namespace_finalizer(obj);
	else if (is_kind(k, "batch", "Job"))
		job_selector(obj);
	else if (is_kind(k, "apps", "DaemonSet"))
		daemon_set_generation(obj, 1);
	else if (is_kind(k, "apiextensions.k8s.io", "CustomResourceDefinition"))
		stored_versions(obj);
}

void api_prepare_create(const struct kind *k, json_t *obj, int64_t now_ns)
{
	char now[21], uid[37];
	json_t *meta = json_make(obj, "metadata");
	time_rfc3339(now_ns, now);
	uuid4(uid);
	(void)json_object_set_new(meta, "uid", json_string(uid));
	(void)json_object_set_new(meta, "creationTimestamp", json_string(now));
	drop(meta, "deletionTimestamp");
	drop(meta, "deletionGracePeriodSeconds");
	drop(meta, "selfLink");
	drop(meta, "generation");
	if (k->generation)
		(void)json_object_set_new(meta, "generation", json_integer(1));
	/* a node registers itself with its status */
	if (k->subresources & SUB_STATUS && !is_kind(k, "", "Node"))
		drop(obj, "status");
	create_kind(k, obj, now);
	dflt_type(k->type, obj);
}

/* --- update --- */
static bool is_meta(const char *member)
{
	static const char *const names[] = {"apiVersion", "kind", "metadata", "status"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(member, names[i]) == 0)
			return true;
	return false;
}

/* Does a custom object differ beside metadata, and status where that is a subresource? */
static bool custom_differs(const struct kind *k, const json_t *a, const json_t *b)
{
	AUTO_JSON json_t *x = json_copy((json_t *)(uintptr_t)a);
	AUTO_JSON json_t *y = json_copy((json_t *)(uintptr_t)b);
	drop(x, "metadata");
	drop(y, "metadata");
	if (k->subresources & SUB_STATUS) {
		drop(x, "status");
		drop(y, "status");
	}
	return !json_equal(x, y);
}

/* Does anything but metadata and status differ? */
static bool body_differs(const struct kind *k, const json_t *a, const json_t *b)
{
	if (k->custom)
		return custom_differs(k, a, b);
	for (size_t i = 0; i < k->type->n_fields; i++) {
		const char *name = k->type->fields[i].name;
		const json_t *x = json_object_get(a, name), *y = json_object_get(b, name);
		if (!is_meta(name) && x != y && !(x && y && json_equal(x, y)))
			return true;
	}
	return false;
}

static bool differ(const json_t *a, const json_t *b, const char *path)
{
	const json_t *x = json_at(a, path), *y = json_at(b, path);
	return x != y && !(x && y && json_equal(x, y));
}

static void raise_generation(const struct kind *k, json_t *obj, const json_t *old)
{
	json_int_t g = json_i64(old, "metadata.generation", 0);
	bool changed = body_differs(k, obj, old);
	if (is_kind(k, "apps", "Deployment"))
		changed = changed || differ(obj, old, "metadata.annotations");
	if (is_kind(k, "apps", "DaemonSet")) {
		const char *text =
			json_string_value(json_object_get(json_at(old, "metadata.annotations"),
				"deprecated.daemonset.template.generation"));
		int64_t n = text ? strtoll(text, NULL, 10) : 0;
		daemon_set_generation(obj, differ(obj, old, "spec.template") ? n + 1 : n);
	}
	if (k->generation)
		(void)json_object_set_new(
			json_object_get(obj, "metadata"), "generation", json_integer(g + changed));
}

static void keep_system_fields(json_t *meta, const json_t *old)
{
	static const char *const names[] = {"creationTimestamp", "deletionTimestamp",
		"deletionGracePeriodSeconds", "generation", "namespace", "name"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		keep(meta, old, names[i]);
	if (!dflt_get(meta, "uid")) /* a uid that differs is the caller's Conflict */
		keep(meta, old, "uid");
	if (!dflt_get(meta, "generateName"))
		keep(meta, old, "generateName");
	drop(meta, "selfLink");
}

/* Everything but metadata, status and `except` comes from old. */
static void keep_body(const struct kind *k, json_t *obj, const json_t *old)
{
	for (size_t i = 0; i < k->type->n_fields; i++)
		if (!is_meta(k->type->fields[i].name))
			keep(obj, old, k->type->fields[i].name);
}

/* Of a custom object only the status is taken. */
static void custom_status(json_t *obj, const json_t *old)
{
	AUTO_JSON json_t *status = json_incref(json_object_get(obj, "status"));
	AUTO_JSON json_t *meta = json_copy(json_object_get(old, "metadata"));
	static const char *const own[] = {"managedFields", "uid"};
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		keep(meta, json_object_get(obj, "metadata"), own[i]);
	(void)json_object_clear(obj);
	(void)json_object_update(obj, (json_t *)(uintptr_t)old);
	(void)json_object_set(obj, "metadata", meta);
	if (status)
		(void)json_object_set(obj, "status", status);
	else
		drop(obj, "status");
}

static void update_status(const struct kind *k, json_t *obj, const json_t *old)
{
	if (k->custom) {
		custom_status(obj, old);
		return;
	}
	json_t *meta = json_object_get(obj, "metadata");
	const json_t *old_meta = json_object_get(old, "metadata");
	keep_body(k, obj, old);
	keep(meta, old_meta, "ownerReferences");
	if (is_kind(k, "apps", "Deployment"))
		keep(meta, old_meta, "labels");
}

/* Pod subresources change one part of the spec; the rest of the pod is the old one. */
static void update_part(
	json_t *obj, const json_t *old, const char *const *lists, const char *member)
{
	AUTO_JSON json_t *spec = json_deep_copy(json_object_get(old, "spec"));
	for (; *lists; lists++) {
		json_t *now = json_at(obj, "spec"), *v;
		size_t i;
		now = json_object_get(now, *lists);
		if (!member) {
			if (now)
				(void)json_object_set(spec, *lists, now);
			continue;
		}
		json_array_foreach (now, i, v) {
			json_t *c = json_array_get(json_object_get(spec, *lists), i);
			if (c && strcmp(dflt_str(c, "name"), dflt_str(v, "name")) == 0)
				keep(c, v, member);
		}
	}
	(void)json_object_set(obj, "spec", spec);
	keep(obj, old, "status");
	static const char *const meta[] = {
		"labels", "annotations", "ownerReferences", "finalizers"};
	for (size_t i = 0; i < ARRAY_LEN(meta); i++)
		keep(json_object_get(obj, "metadata"), json_object_get(old, "metadata"), meta[i]);
}

static void update_main(const struct kind *k, json_t *obj, const json_t *old)
{
	if (k->subresources & SUB_STATUS)
		keep(obj, old, "status");
	if (is_kind(k, "", "Namespace"))
		keep(obj, old, "spec");
	if (is_kind(k, "apiextensions.k8s.io", "CustomResourceDefinition")) {
		json_t *status = json_copy(json_object_get(obj, "status"));
		if (status) /* the old one shares it */
			(void)json_object_set_new(obj, "status", status);
		stored_versions(obj);
	}
}

void api_prepare_update(const struct kind *k, json_t *obj, const json_t *old, const char *sub)
{
	static const char *const ephemeral[] = {"ephemeralContainers", NULL};
	static const char *const containers[] = {"containers", "initContainers", NULL};
	json_t *meta = json_make(obj, "metadata");
	keep_system_fields(meta, json_object_get(old, "metadata"));
	if (strcmp(sub, "status") == 0)
		update_status(k, obj, old);
	else if (strcmp(sub, "ephemeralcontainers") == 0)
		update_part(obj, old, ephemeral, NULL);
	else if (strcmp(sub, "resize") == 0)
		update_part(obj, old, containers, "resources");
	else if (strcmp(sub, "finalize") == 0)
		keep(obj, old, "status");
	else if (strcmp(sub, "approval") == 0)
		keep_body(k, obj, old);
	else
		update_main(k, obj, old);
	dflt_type(k->type, obj);
	if (strcmp(sub, "status") != 0 && strcmp(sub, "approval") != 0)
		raise_generation(k, obj, old);
}

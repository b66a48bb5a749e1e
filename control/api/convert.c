/* SPDX-License-Identifier: Apache-2.0
 * Versions of one stored object: events of the core group and of events.k8s.io, and
 * HorizontalPodAutoscaler v1 and v2. What one version cannot say is kept for the way back. */
#include <errno.h>
#include "api/custom.h"
#include "api/defaults.h"

#define HPA_METRICS  "autoscaling.alpha.kubernetes.io/metrics"
#define HPA_BEHAVIOR "autoscaling.alpha.kubernetes.io/behavior"
#define HPA_CURRENT  "autoscaling.alpha.kubernetes.io/current-metrics"
#define HPA_CONDS    "autoscaling.alpha.kubernetes.io/conditions"

static void rename_member(json_t *o, const char *from, const char *to)
{
	json_t *v = json_object_get(o, from);
	if (v)
		(void)json_object_set(o, to, v);
	(void)json_object_del(o, from);
}

/* --- events --- */
static const struct {
	const char *core, *events;
} event_names[] = {
	{"involvedObject", "regarding"},
	{"message", "note"},
	{"source", "deprecatedSource"},
	{"firstTimestamp", "deprecatedFirstTimestamp"},
	{"lastTimestamp", "deprecatedLastTimestamp"},
	{"count", "deprecatedCount"},
	{"reportingComponent", "reportingController"},
};

static void event_to_events(json_t *o)
{
	for (size_t i = 0; i < ARRAY_LEN(event_names); i++)
		rename_member(o, event_names[i].core, event_names[i].events);
}

static void event_to_core(json_t *o)
{
	for (size_t i = 0; i < ARRAY_LEN(event_names); i++)
		rename_member(o, event_names[i].events, event_names[i].core);
}

/* --- HorizontalPodAutoscaler --- */
static bool is_cpu(const json_t *metric, const char *value)
{
	const json_t *r = json_object_get(metric, "resource");
	return strcmp(dflt_str(metric, "type"), "Resource") == 0 &&
	       strcmp(dflt_str(r, "name"), "cpu") == 0 &&
	       json_object_get(json_object_get(r, value), "averageUtilization");
}

/* Takes the CPU utilization out of a list of metrics: its number, or NULL. */
static json_t *take_cpu(json_t *list, const char *value)
{
	size_t i;
	json_t *m;
	json_array_foreach (list, i, m)
		if (is_cpu(m, value)) {
			json_t *n = json_incref(json_at(
				m, value[0] == 't' ? "resource.target.averageUtilization"
						   : "resource.current.averageUtilization"));
			(void)json_array_remove(list, i);
			return n;
		}
	return NULL;
}

/* Moves a member into an annotation as JSON text; nothing when it is empty. */
static void stow(json_t *o, json_t *holder, const char *member, const char *annotation)
{
	json_t *v = dflt_get(holder, member);
	if (v) {
		char *text = json_dumps(v, JSON_COMPACT);
		json_t *notes = json_make(o, "metadata.annotations");
		if (text && notes)
			(void)json_object_set_new(notes, annotation, json_string(text));
		free(text);
	}
	(void)json_object_del(holder, member);
}

static void fetch(json_t *o, json_t *holder, const char *member, const char *annotation)
{
	json_t *notes = json_at(o, "metadata.annotations");
	const char *text = json_string_value(json_object_get(notes, annotation));
	json_t *v = text ? json_loads(text, 0, NULL) : NULL;
	if (!text)
		return;
	if (v)
		(void)json_object_set_new(holder, member, v);
	(void)json_object_del(notes, annotation);
	if (json_object_size(notes) == 0)
		(void)json_object_del(json_object_get(o, "metadata"), "annotations");
}

static void hpa_to_v1(json_t *o)
{
	json_t *spec = json_make(o, "spec"), *status = json_make(o, "status");
	json_t *target = take_cpu(json_object_get(spec, "metrics"), "target");
	json_t *current = take_cpu(json_object_get(status, "currentMetrics"), "current");
	if (target)
		(void)json_object_set_new(spec, "targetCPUUtilizationPercentage", target);
	if (current)
		(void)json_object_set_new(status, "currentCPUUtilizationPercentage", current);
	stow(o, spec, "metrics", HPA_METRICS);
	stow(o, spec, "behavior", HPA_BEHAVIOR);
	stow(o, status, "currentMetrics", HPA_CURRENT);
	stow(o, status, "conditions", HPA_CONDS);
}

/* The CPU metric goes first, as the v1 server writes it. */
static void put_cpu(json_t *holder, const char *list, const char *from, const char *value)
{
	json_t *n = json_object_get(holder, from);
	if (!n)
		return;
	json_t *metric = json_pack("{s:s,s:{s:s,s:{s:O}}}", "type", "Resource", "resource", "name",
		"cpu", value, "averageUtilization", n);
	if (*value == 't')
		(void)json_put(metric, "resource.target.type", json_string("Utilization"));
	if (!json_is_array(json_object_get(holder, list)))
		(void)json_object_set_new(holder, list, json_array());
	(void)json_array_insert_new(json_object_get(holder, list), 0, metric);
	(void)json_object_del(holder, from);
}

static void hpa_to_v2(json_t *o)
{
	json_t *spec = json_make(o, "spec"), *status = json_make(o, "status");
	fetch(o, spec, "metrics", HPA_METRICS);
	fetch(o, spec, "behavior", HPA_BEHAVIOR);
	fetch(o, status, "currentMetrics", HPA_CURRENT);
	fetch(o, status, "conditions", HPA_CONDS);
	put_cpu(spec, "metrics", "targetCPUUtilizationPercentage", "target");
	put_cpu(status, "currentMetrics", "currentCPUUtilizationPercentage", "current");
}

static const struct {
	const char *from, *to; /* type names */
	void (*fn)(json_t *o);
} conversions[] = {
	{"core.v1.Event", "events.v1.Event", event_to_events},
	{"events.v1.Event", "core.v1.Event", event_to_core},
	{"autoscaling.v1.HorizontalPodAutoscaler", "autoscaling.v2.HorizontalPodAutoscaler",
		hpa_to_v2},
	{"autoscaling.v2.HorizontalPodAutoscaler", "autoscaling.v1.HorizontalPodAutoscaler",
		hpa_to_v1},
};

int api_convert(const struct kind *from, const struct kind *to, json_t *obj)
{
	char version[256];
	if (to->custom) {
		custom_from_store(to, obj);
		return 0;
	}
	if (from->custom) {
		custom_to_store(from, obj);
		return 0;
	}
	if (from == to)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(conversions); i++) {
		if (strcmp(conversions[i].from, from->type->name) != 0 ||
			strcmp(conversions[i].to, to->type->name) != 0)
			continue;
		conversions[i].fn(obj);
		kind_api_version(to, version);
		(void)json_object_set_new(obj, "apiVersion", json_string(version));
		(void)json_object_set_new(obj, "kind", json_string(to->kind));
		dflt_type(to->type, obj);
		return 0;
	}
	return -EOPNOTSUPP;
}

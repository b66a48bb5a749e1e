/* SPDX-License-Identifier: Apache-2.0
 * Default rules of apps/v1, batch/v1 and autoscaling. */
#include <limits.h>
#include "api/defaults.h"

/* The rollingUpdate member exists while the type says so; its fields have their own defaults. */
static void rolling_update(json_t *s)
{
	if (strcmp(dflt_str(s, "type"), "RollingUpdate") == 0)
		dflt_set(s, "rollingUpdate", json_object());
}

static void stateful_set_spec(json_t *s)
{
	size_t i;
	json_t *t;
	json_array_foreach (json_object_get(s, "volumeClaimTemplates"), i, t) {
		(void)json_object_set_new(t, "kind", json_string("PersistentVolumeClaim"));
		(void)json_object_set_new(t, "apiVersion", json_string("v1"));
	}
}

/* Not for the jobs inside a CronJob: those are completed when they are created. */
static void job(json_t *o)
{
	json_t *s = json_object_get(o, "spec"), *meta = json_object_get(o, "metadata");
	json_t *labels = json_at(o, "spec.template.metadata.labels");
	if (!json_object_get(s, "completions") && !json_object_get(s, "parallelism"))
		(void)json_object_set_new(s, "completions", json_integer(1));
	dflt_set(s, "parallelism", json_integer(1));
	dflt_set(s, "backoffLimit",
		json_integer(json_object_get(s, "backoffLimitPerIndex") ? INT_MAX : 6));
	dflt_set(s, "completionMode", json_string("NonIndexed"));
	dflt_set(s, "suspend", json_false());
	dflt_set(s, "manualSelector", json_false());
	dflt_set(s, "podReplacementPolicy",
		json_string(
			json_object_get(s, "podFailurePolicy") ? "Failed" : "TerminatingOrFailed"));
	if (json_object_size(labels) && !dflt_get(meta, "labels"))
		(void)json_object_set_new(meta, "labels", json_deep_copy(labels));
}

/* Only when no other metric came along from v2 (convert.c). */
static void hpa_v1(json_t *o)
{
	json_t *notes = json_at(o, "metadata.annotations");
	if (!json_object_get(notes, "autoscaling.alpha.kubernetes.io/metrics"))
		dflt_set(json_object_get(o, "spec"), "targetCPUUtilizationPercentage",
			json_integer(80));
}

static void hpa_v2_spec(json_t *s)
{
	if (!dflt_get(s, "metrics"))
		(void)json_object_set_new(s, "metrics",
			json_pack("[{s:s,s:{s:s,s:{s:s,s:i}}}]", "type", "Resource", "resource",
				"name", "cpu", "target", "type", "Utilization",
				"averageUtilization", 80));
}

static json_t *scaling_policy(const char *type, int value)
{
	return json_pack("{s:s,s:i,s:i}", "type", type, "value", value, "periodSeconds", 15);
}

static void hpa_behavior(json_t *b)
{
	dflt_set(b, "scaleUp", json_object());
	dflt_set(b, "scaleDown", json_object());
	json_t *up = json_object_get(b, "scaleUp"), *down = json_object_get(b, "scaleDown");
	dflt_set(up, "stabilizationWindowSeconds", json_integer(0));
	dflt_set(up, "selectPolicy", json_string("Max"));
	dflt_set(down, "selectPolicy", json_string("Max"));
	if (!dflt_get(up, "policies"))
		(void)json_object_set_new(up, "policies",
			json_pack("[o,o]", scaling_policy("Pods", 4),
				scaling_policy("Percent", 100)));
	if (!dflt_get(down, "policies"))
		(void)json_object_set_new(
			down, "policies", json_pack("[o]", scaling_policy("Percent", 100)));
}

const struct default_rule workload_defaults[] = {
	{"apps.v1.DeploymentStrategy", rolling_update},
	{"apps.v1.StatefulSetUpdateStrategy", rolling_update},
	{"apps.v1.DaemonSetUpdateStrategy", rolling_update},
	{"apps.v1.StatefulSetSpec", stateful_set_spec},
	{"batch.v1.Job", job},
	{"autoscaling.v1.HorizontalPodAutoscaler", hpa_v1},
	{"autoscaling.v2.HorizontalPodAutoscalerSpec", hpa_v2_spec},
	{"autoscaling.v2.HorizontalPodAutoscalerBehavior", hpa_behavior},
	{0},
};

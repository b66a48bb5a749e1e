/* SPDX-License-Identifier: Apache-2.0
 * Table cells of workloads: apps, batch, autoscaling, policy. */
#include "api/rules/cells.h"
#include "xebec/base/timefmt.h"

static struct jv pod_spec(struct jv obj)
{
	struct jv cron = jv_path(obj, "spec.jobTemplate.spec.template.spec");
	return jv_present(cron) ? cron : jv_path(obj, "spec.template.spec");
}

static void names(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	join_containers(pod_spec(obj), "name", &b);
	cell_buf(c, &b, "");
}

static void images(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	join_containers(pod_spec(obj), "image", &b);
	cell_buf(c, &b, "");
}

/* A ReplicationController's selector is a plain map. */
static void selector(struct cells *c, struct jv obj)
{
	struct jv s = jv_path(obj, "spec.selector");
	if (jv_present(jv_get(s, "matchLabels")) || jv_present(jv_get(s, "matchExpressions")) ||
		!jv_present(s))
		cell_selector(c, s);
	else
		cell_labels(c, s);
}

static void ready(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	int64_t want = jv_int(jv_path(obj, "spec.replicas"), 0);
	int64_t have = jv_int(jv_path(obj, "status.readyReplicas"), 0);
	buf_addf(&b, "%lld/%lld", (long long)have, (long long)want);
	cell_buf(c, &b, "");
}

/* Deployment, StatefulSet. */
const struct cell_rule workload_cells[] = {{"Ready", ready}, {"Containers", names},
	{"Images", images}, {"Selector", selector}, {NULL, NULL}};
/* ReplicaSet, ReplicationController: their Ready is a plain number with a path. */
const struct cell_rule replica_set_cells[] = {
	{"Containers", names}, {"Images", images}, {"Selector", selector}, {NULL, NULL}};

static void node_selector(struct cells *c, struct jv obj)
{
	cell_labels(c, jv_path(obj, "spec.template.spec.nodeSelector"));
}

const struct cell_rule daemon_set_cells[] = {{"Node Selector", node_selector},
	{"Containers", names}, {"Images", images}, {"Selector", selector}, {NULL, NULL}};

/* --- Job, CronJob --- */

static bool has_condition(struct jv obj, const char *type)
{
	jv_each (it, jv_path(obj, "status.conditions"))
		if (jv_is_str(jv_get(it.v, "type"), type) &&
			jv_is_str(jv_get(it.v, "status"), "True"))
			return true;
	return false;
}

static void job_status(struct cells *c, struct jv obj)
{
	static const char *const done[] = {"Complete", "Failed"};
	static const char *const rest[] = {"Suspended", "FailureTarget", "SuccessCriteriaMet"};
	for (size_t i = 0; i < ARRAY_LEN(done); i++)
		if (has_condition(obj, done[i])) {
			cell_str(c, str_of(done[i]));
			return;
		}
	if (jv_raw_str(jv_path(obj, "metadata.deletionTimestamp")).n) {
		cell_str(c, STR("Terminating"));
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(rest); i++)
		if (has_condition(obj, rest[i])) {
			cell_str(c, str_of(rest[i]));
			return;
		}
	cell_str(c, STR("Running"));
}

static void job_completions(struct cells *c, struct jv obj)
{
	struct jv want = jv_path(obj, "spec.completions");
	long long ok = (long long)jv_int(jv_path(obj, "status.succeeded"), 0);
	long long width = (long long)jv_int(jv_path(obj, "spec.parallelism"), 0);
	AUTO_BUF struct buf b = {0};
	if (jv_present(want))
		buf_addf(&b, "%lld/%lld", ok, (long long)jv_int(want, 0));
	else if (width > 1)
		buf_addf(&b, "%lld/1 of %lld", ok, width);
	else
		buf_addf(&b, "%lld/1", ok);
	cell_buf(c, &b, "");
}

static void job_duration(struct cells *c, struct jv obj)
{
	int64_t from, to = c->now_ns;
	char t[16] = "";
	if (time_parse(jv_raw_str(jv_path(obj, "status.startTime")), &from) == 0) {
		(void)time_parse(jv_raw_str(jv_path(obj, "status.completionTime")), &to);
		time_duration_short(to > from ? to - from : 0, t);
	}
	cell_str(c, str_of(t));
}

const struct cell_rule job_cells[] = {{"Status", job_status}, {"Completions", job_completions},
	{"Duration", job_duration}, {"Containers", names}, {"Images", images},
	{"Selector", selector}, {NULL, NULL}};

static void cron_zone(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.timeZone"), "<none>");
}

static void cron_suspend(struct cells *c, struct jv obj)
{
	cell_str(c, jv_bool(jv_path(obj, "spec.suspend"), false) ? STR("True") : STR("False"));
}

static void cron_active(struct cells *c, struct jv obj)
{
	cell_int(c, (int64_t)jv_len(jv_path(obj, "status.active")));
}

static void cron_last(struct cells *c, struct jv obj)
{
	struct jv t = jv_path(obj, "status.lastScheduleTime");
	if (jv_type(t) == JV_STRING)
		cell_age(c, t);
	else
		cell_str(c, STR("<none>"));
}

static void cron_selector(struct cells *c, struct jv obj)
{
	cell_selector(c, jv_path(obj, "spec.jobTemplate.spec.selector"));
}

const struct cell_rule cron_job_cells[] = {{"TimeZone", cron_zone}, {"Suspend", cron_suspend},
	{"Active", cron_active}, {"Last Schedule", cron_last}, {"Containers", names},
	{"Images", images}, {"Selector", cron_selector}, {NULL, NULL}};

/* --- HorizontalPodAutoscaler --- */

static void scale_reference(struct cells *c, struct jv obj)
{
	struct jv ref = jv_path(obj, "spec.scaleTargetRef");
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "%.*s/%.*s", STR_FMT(jv_raw_str(jv_get(ref, "kind"))),
		STR_FMT(jv_raw_str(jv_get(ref, "name"))));
	cell_buf(c, &b, "");
}

/* One side of "current/target" of a resource metric. */
static void metric_value(struct buf *b, struct jv v, const char *average, const char *percent)
{
	struct jv pct = jv_get(v, percent), avg = jv_get(v, average);
	if (jv_present(pct))
		buf_addf(b, "%lld%%", (long long)jv_int(pct, 0));
	else if (jv_present(avg))
		buf_add_str(b, jv_raw_str(avg));
	else if (jv_present(jv_get(v, "value")))
		buf_add_str(b, jv_raw_str(jv_get(v, "value")));
	else
		buf_adds(b, "<unknown>");
}

static const char *const metric_kinds[] = {
	"resource", "containerResource", "pods", "object", "external"};

static void one_metric(struct buf *b, struct jv metric, struct jv current)
{
	for (size_t i = 0; i < ARRAY_LEN(metric_kinds); i++) {
		struct jv m = jv_get(metric, metric_kinds[i]);
		struct jv cur = jv_get(current, metric_kinds[i]);
		struct str name;
		if (!jv_present(m))
			continue;
		name = jv_raw_str(jv_get(m, "name"));
		if (b->len)
			buf_adds(b, ", ");
		if (i < 2)
			buf_addf(b, "%.*s: ", STR_FMT(name));
		metric_value(b, jv_get(cur, "current"), "averageValue", "averageUtilization");
		buf_addc(b, '/');
		metric_value(b, jv_get(m, "target"), "averageValue", "averageUtilization");
		return;
	}
}

static void scale_targets(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	struct jv v1 = jv_path(obj, "spec.targetCPUUtilizationPercentage");
	struct jv now = jv_path(obj, "status.currentCPUUtilizationPercentage");
	size_t i = 0;
	char path[64];
	if (jv_present(v1)) {
		buf_adds(&b, "cpu: ");
		if (jv_present(now))
			buf_addf(&b, "%lld%%", (long long)jv_int(now, 0));
		else
			buf_adds(&b, "<unknown>");
		buf_addf(&b, "/%lld%%", (long long)jv_int(v1, 0));
	}
	jv_each (it, jv_path(obj, "spec.metrics")) {
		if (i == 2) {
			buf_addf(&b, " + %zu more...", jv_len(jv_path(obj, "spec.metrics")) - 2);
			break;
		}
		(void)snprintf(path, sizeof(path), "status.currentMetrics.%zu", i++);
		one_metric(&b, it.v, jv_path(obj, path));
	}
	cell_buf(c, &b, "<none>");
}

static void scale_min(struct cells *c, struct jv obj)
{
	struct jv v = jv_path(obj, "spec.minReplicas");
	cell_str(c, jv_present(v) ? jv_bytes(v) : STR("<unset>"));
}

static void scale_max(struct cells *c, struct jv obj)
{
	cell_int(c, jv_int(jv_path(obj, "spec.maxReplicas"), 0));
}

static void scale_now(struct cells *c, struct jv obj)
{
	cell_int(c, jv_int(jv_path(obj, "status.currentReplicas"), 0));
}

const struct cell_rule autoscaler_cells[] = {{"Reference", scale_reference},
	{"Targets", scale_targets}, {"MinPods", scale_min}, {"MaxPods", scale_max},
	{"Replicas", scale_now}, {NULL, NULL}};

/* --- PodDisruptionBudget --- */

static void int_or_string(struct cells *c, struct jv v)
{
	if (jv_type(v) == JV_NUMBER)
		cell_str(c, jv_bytes(v));
	else
		cell_raw(c, v, "N/A");
}

static void budget_min(struct cells *c, struct jv obj)
{
	int_or_string(c, jv_path(obj, "spec.minAvailable"));
}

static void budget_max(struct cells *c, struct jv obj)
{
	int_or_string(c, jv_path(obj, "spec.maxUnavailable"));
}

const struct cell_rule budget_cells[] = {
	{"Min Available", budget_min}, {"Max Unavailable", budget_max}, {NULL, NULL}};

/* SPDX-License-Identifier: Apache-2.0
 * Job and CronJob. */
#include <ctype.h>
#include <unistd.h>
#include "api/rules/cells.h"
#include "api/rules/pod.h"
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static void check_job_spec(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const char *const counts[] = {"parallelism", "completions", "activeDeadlineSeconds",
		"backoffLimit", "ttlSecondsAfterFinished", "backoffLimitPerIndex",
		"maxFailedIndexes"};
	static const char *const modes[] = {"NonIndexed", "Indexed", NULL};
	const json_t *pod = jget(jget(spec, "template"), "spec");
	const struct fpath *tp = P_NAME(p, "template");
	const char *restart = jstr(pod, "restartPolicy");
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		(void)v_nonneg(c, P_NAME(p, counts[i]), jget(spec, counts[i]));
	(void)v_enum(c, P_NAME(p, "completionMode"), jget(spec, "completionMode"), modes);
	if (strcmp(jstr(spec, "completionMode"), "Indexed") == 0 && !jget(spec, "completions"))
		v_required(c, P_NAME(p, "completions"), "when completion mode is Indexed");
	if (jget(spec, "selector"))
		v_label_selector(c, P_NAME(p, "selector"), jget(spec, "selector"), false);
	v_pod_template(c, tp, jget(spec, "template"));
	v_job_policies(c, p, spec);
	if (!*restart || strcmp(restart, "Always") == 0)
		v_required(c, P_NAME(P_NAME(tp, "spec"), "restartPolicy"),
			"valid values: \"OnFailure\", \"Never\"");
}

static void job(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const fixed[] = {"completionMode", "podFailurePolicy",
		"backoffLimitPerIndex", "successPolicy", "managedBy"};
	const json_t *spec = jget(obj, "spec"), *was = old ? jget(old, "spec") : NULL;
	const struct fpath *p = P_NAME(NULL, "spec");
	bool indexed = strcmp(jstr(spec, "completionMode"), "Indexed") == 0;
	if (*sub)
		return;
	check_job_spec(c, p, spec);
	if (!old)
		return;
	(void)v_immutable(c, P_NAME(p, "selector"), jget(spec, "selector"), jget(was, "selector"));
	if (!json_is_true(jget(was, "suspend")))
		(void)v_immutable(
			c, P_NAME(p, "template"), jget(spec, "template"), jget(was, "template"));
	if (!indexed)
		(void)v_immutable(c, P_NAME(p, "completions"), jget(spec, "completions"),
			jget(was, "completions"));
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++)
		(void)v_immutable(
			c, P_NAME(p, fixed[i]), jget(spec, fixed[i]), jget(was, fixed[i]));
}

/* --- cron --- */

static const struct cron_field {
	int min, max;
	const char *names; /* three letters each, from min */
} cron_fields[] = {{0, 59, ""}, {0, 23, ""}, {1, 31, ""},
	{1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"}, {0, 7, "sunmontuewedthufrisat"}};

static bool cron_value(struct str s, const struct cron_field *f, int *ret)
{
	uint64_t v;
	if (str_u64(s, &v) == 0 && v <= 99) {
		*ret = (int)v;
		return *ret >= f->min && *ret <= f->max;
	}
	for (size_t i = 0; s.n == 3 && f->names[i]; i += 3)
		if (strncasecmp(f->names + i, s.p, 3) == 0) {
			*ret = f->min + (int)(i / 3);
			return true;
		}
	return false;
}

/* "*", "5", "1-5", each with "/step". */
static bool cron_range(struct str s, const struct cron_field *f)
{
	struct str step = s, range = str_cut(&step, '/'), hi = range, lo;
	uint64_t n;
	int a, b;
	if (range.n < s.n && (str_u64(step, &n) < 0 || n == 0))
		return false;
	if (str_eqz(range, "*") || str_eqz(range, "?"))
		return true;
	lo = str_cut(&hi, '-');
	if (!cron_value(lo, f, &a))
		return false;
	return lo.n == range.n || (cron_value(hi, f, &b) && a <= b);
}

static bool cron_valid(const char *text)
{
	static const char *const macros[] = {
		"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"};
	struct str s = str_of(text);
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(macros); i++)
		if (strcmp(text, macros[i]) == 0)
			return true;
	if (strncmp(text, "@every ", 7) == 0)
		return isdigit((unsigned char)text[7]);
	while (s.n) {
		struct str field = str_cut(&s, ' ');
		if (field.n == 0)
			continue;
		if (n == ARRAY_LEN(cron_fields))
			return false;
		while (field.n)
			if (!cron_range(str_cut(&field, ','), &cron_fields[n]))
				return false;
		n++;
	}
	return n == ARRAY_LEN(cron_fields);
}

/* Names of the time zone database; where it is not installed the area decides. */
static bool zone_known(const char *zone)
{
	static const char *const areas[] = {"Africa/", "America/", "Antarctica/", "Arctic/",
		"Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/", "Etc/",
		"US/"};
	char path[320];
	if (strstr(zone, "..") || *zone == '/' || strlen(zone) > 200)
		return false;
	(void)snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", zone);
	if (access("/usr/share/zoneinfo/UTC", F_OK) == 0)
		return access(path, F_OK) == 0;
	for (size_t i = 0; i < ARRAY_LEN(areas); i++)
		if (strncmp(zone, areas[i], strlen(areas[i])) == 0)
			return true;
	return strcmp(zone, "UTC") == 0 || strcmp(zone, "GMT") == 0;
}

static void cron_job(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const policies[] = {"Allow", "Forbid", "Replace", NULL};
	static const char *const counts[] = {
		"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"};
	const json_t *spec = jget(obj, "spec");
	const struct fpath *p = P_NAME(NULL, "spec");
	const char *schedule = jstr(spec, "schedule"), *zone = jstr(spec, "timeZone");
	(void)old;
	if (*sub)
		return;
	if (!*schedule)
		v_required(c, P_NAME(p, "schedule"), "");
	else if (strstr(schedule, "TZ"))
		v_invalid_str(c, P_NAME(p, "schedule"), schedule,
			"cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
	else if (!cron_valid(schedule))
		v_invalid_str(c, P_NAME(p, "schedule"), schedule,
			"expected 5 fields: minute, hour, day of month, month, day of week");
	for (size_t i = 0; i < ARRAY_LEN(counts); i++)
		(void)v_nonneg(c, P_NAME(p, counts[i]), jget(spec, counts[i]));
	(void)v_enum_required(
		c, P_NAME(p, "concurrencyPolicy"), jget(spec, "concurrencyPolicy"), policies);
	if (jget(spec, "timeZone") && !*zone)
		v_invalid_str(
			c, P_NAME(p, "timeZone"), zone, "timeZone must be nil or non-empty string");
	else if (*zone && !zone_known(zone))
		v_invalid_str(c, P_NAME(p, "timeZone"), zone, "unknown time zone %s", zone);
	check_job_spec(c, P_NAME(P_NAME(p, "jobTemplate"), "spec"),
		jget(jget(spec, "jobTemplate"), "spec"));
	if (strlen(jstr(jget(obj, "metadata"), "name")) > 52)
		v_invalid_str(c, P_NAME(P_NAME(NULL, "metadata"), "name"),
			jstr(jget(obj, "metadata"), "name"), "must be no more than 52 characters");
}

const struct kind_rules job_rules = {.validate = job, .cells = job_cells};
const struct kind_rules cron_job_rules = {.validate = cron_job, .cells = cron_job_cells};

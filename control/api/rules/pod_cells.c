/* SPDX-License-Identifier: Apache-2.0
 * Table cells of pods: the READY, STATUS and RESTARTS that kubectl's users read all day. */
#include "api/rules/pod.h"
#include "xebec/base/timefmt.h"

struct summary {
	int64_t ready, total, restarts;
	struct str last_restart; /* time of the latest termination; RFC 3339 sorts as text */
	char reason[160];
};
_Static_assert(sizeof(struct summary) <= sizeof(((struct cells *)0)->scratch), "fits");

static void set_reason(struct summary *s, const char *prefix, struct jv v)
{
	struct str r = jv_raw_str(v);
	(void)snprintf(s->reason, sizeof(s->reason), "%s%.*s", prefix, STR_FMT(r));
}

static bool condition_is(struct jv obj, const char *type, const char *member, const char *value)
{
	jv_each (it, jv_path(obj, "status.conditions"))
		if (jv_is_str(jv_get(it.v, "type"), type))
			return jv_is_str(jv_get(it.v, member), value);
	return false;
}

/* An init container that keeps running beside the main ones. */
static bool is_sidecar(struct jv obj, struct str name)
{
	jv_each (it, jv_path(obj, "spec.initContainers"))
		if (str_eq(jv_raw_str(jv_get(it.v, "name")), name))
			return jv_is_str(jv_get(it.v, "restartPolicy"), "Always");
	return false;
}

static void count_restarts(struct jv status, int64_t *restarts, struct str *last)
{
	struct str t = jv_raw_str(jv_path(status, "lastState.terminated.finishedAt"));
	*restarts += jv_int(jv_get(status, "restartCount"), 0);
	if (t.n && (last->n == 0 || str_cmp(*last, t) < 0))
		*last = t;
}

static void exit_reason(struct summary *s, const char *prefix, struct jv term)
{
	int64_t sig = jv_int(jv_get(term, "signal"), 0);
	if (jv_raw_str(jv_get(term, "reason")).n)
		set_reason(s, prefix, jv_get(term, "reason"));
	else if (sig)
		(void)snprintf(
			s->reason, sizeof(s->reason), "%sSignal:%lld", prefix, (long long)sig);
	else
		(void)snprintf(s->reason, sizeof(s->reason), "%sExitCode:%lld", prefix,
			(long long)jv_int(jv_get(term, "exitCode"), 0));
}

/* True while this init container holds the pod back; then the reason is set. */
static bool init_blocks(struct summary *s, struct jv obj, struct jv st, size_t i, bool sidecar)
{
	struct jv term = jv_path(st, "state.terminated");
	struct jv wait = jv_path(st, "state.waiting.reason");
	if (jv_present(term) && jv_int(jv_get(term, "exitCode"), 0) == 0)
		return false;
	if (sidecar && jv_bool(jv_get(st, "started"), false)) {
		s->ready += jv_bool(jv_get(st, "ready"), false);
		return false;
	}
	if (jv_present(term))
		exit_reason(s, "Init:", term);
	else if (jv_raw_str(wait).n && !jv_is_str(wait, "PodInitializing"))
		set_reason(s, "Init:", wait);
	else
		(void)snprintf(s->reason, sizeof(s->reason), "Init:%zu/%zu", i,
			jv_len(jv_path(obj, "spec.initContainers")));
	return true;
}

/* Restarts of all init containers go to s; those of sidecars also to *kept. */
static bool summarize_init(struct summary *s, struct jv obj, int64_t *kept, struct str *kept_last)
{
	size_t i = 0;
	jv_each (it, jv_path(obj, "status.initContainerStatuses")) {
		bool sidecar = is_sidecar(obj, jv_raw_str(jv_get(it.v, "name")));
		count_restarts(it.v, &s->restarts, &s->last_restart);
		if (sidecar)
			count_restarts(it.v, kept, kept_last);
		if (init_blocks(s, obj, it.v, i++, sidecar))
			return true;
	}
	return false;
}

/* The first container with something to say wins, as the last one written in reverse order. */
static bool container_reason(struct summary *s, struct jv st)
{
	struct jv wait = jv_path(st, "state.waiting.reason");
	struct jv term = jv_path(st, "state.terminated");
	if (jv_raw_str(wait).n)
		set_reason(s, "", wait);
	else if (jv_present(term))
		exit_reason(s, "", term);
	else
		return false;
	return true;
}

static void summarize_main(struct summary *s, struct jv obj)
{
	bool said = false, running = false;
	jv_each (it, jv_path(obj, "status.containerStatuses")) {
		struct summary one = {.reason = ""};
		bool has = container_reason(&one, it.v);
		count_restarts(it.v, &s->restarts, &s->last_restart);
		if (has && !said) {
			memcpy(s->reason, one.reason, sizeof(s->reason));
			said = true;
		}
		if (!has && jv_bool(jv_get(it.v, "ready"), false) &&
			jv_present(jv_path(it.v, "state.running"))) {
			running = true;
			s->ready++;
		}
	}
	if (running && strcmp(s->reason, "Completed") == 0)
		(void)snprintf(s->reason, sizeof(s->reason), "%s",
			condition_is(obj, "Ready", "status", "True") ? "Running" : "NotReady");
}

static void summarize(struct summary *s, struct jv obj)
{
	struct jv phase = jv_path(obj, "status.phase"), reason = jv_path(obj, "status.reason");
	int64_t kept = 0;
	struct str kept_last = {NULL, 0};
	bool blocked;
	*s = (struct summary){.total = (int64_t)jv_len(jv_path(obj, "spec.containers"))};
	set_reason(s, "", jv_raw_str(reason).n ? reason : phase);
	if (condition_is(obj, "PodScheduled", "reason", "SchedulingGated"))
		(void)snprintf(s->reason, sizeof(s->reason), "SchedulingGated");
	jv_each (it, jv_path(obj, "spec.initContainers"))
		s->total += jv_is_str(jv_get(it.v, "restartPolicy"), "Always");
	blocked = summarize_init(s, obj, &kept, &kept_last);
	if (!blocked || condition_is(obj, "Initialized", "status", "True")) {
		s->restarts = kept;
		s->last_restart = kept_last;
		summarize_main(s, obj);
	}
	if (!jv_raw_str(jv_path(obj, "metadata.deletionTimestamp")).n)
		return;
	if (jv_is_str(reason, "NodeLost"))
		(void)snprintf(s->reason, sizeof(s->reason), "Unknown");
	else if (!jv_is_str(phase, "Succeeded") && !jv_is_str(phase, "Failed"))
		(void)snprintf(s->reason, sizeof(s->reason), "Terminating");
}

static const struct summary *summary_of(struct cells *c, struct jv obj)
{
	struct summary *s = (struct summary *)(void *)c->scratch;
	if (!c->scratched)
		summarize(s, obj);
	c->scratched = true;
	return s;
}

static void ready(struct cells *c, struct jv obj)
{
	const struct summary *s = summary_of(c, obj);
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "%lld/%lld", (long long)s->ready, (long long)s->total);
	cell_buf(c, &b, "");
}

static void status(struct cells *c, struct jv obj)
{
	cell_str(c, str_of(summary_of(c, obj)->reason));
}

static void restarts(struct cells *c, struct jv obj)
{
	const struct summary *s = summary_of(c, obj);
	AUTO_BUF struct buf b = {0};
	int64_t t;
	char age[16];
	buf_addf(&b, "%lld", (long long)s->restarts);
	if (s->restarts && s->last_restart.n && time_parse(s->last_restart, &t) == 0) {
		time_duration_short(c->now_ns > t ? c->now_ns - t : 0, age);
		buf_addf(&b, " (%s ago)", age);
	}
	cell_buf(c, &b, "0");
}

static void ip(struct cells *c, struct jv obj)
{
	struct jv first = jv_path(obj, "status.podIPs.0.ip");
	cell_raw(c, jv_present(first) ? first : jv_path(obj, "status.podIP"), "<none>");
}

static void node(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.nodeName"), "<none>");
}

static void nominated(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "status.nominatedNodeName"), "<none>");
}

static void gates(struct cells *c, struct jv obj)
{
	struct jv list = jv_path(obj, "spec.readinessGates");
	size_t n = jv_len(list), ok = 0;
	AUTO_BUF struct buf b = {0};
	jv_each (it, list) {
		char type[320];
		if (jv_copy(jv_get(it.v, "conditionType"), type, sizeof(type)) == 0)
			ok += condition_is(obj, type, "status", "True");
	}
	if (n)
		buf_addf(&b, "%zu/%zu", ok, n);
	cell_buf(c, &b, "<none>");
}

const struct cell_rule pod_cells[] = {{"Ready", ready}, {"Status", status}, {"Restarts", restarts},
	{"IP", ip}, {"Node", node}, {"Nominated Node", nominated}, {"Readiness Gates", gates},
	{NULL, NULL}};

/* SPDX-License-Identifier: Apache-2.0
 * Probers: a timer and a counter for each probe of each running container. */
#include "kubelet/check.h"
#include "xebec/base/timefmt.h"

struct prober {
	struct pod *pod;
	char *slot;
	enum probe_kind kind;
	struct probe_spec spec;
	struct probe_state st;
	struct loop_timer timer;
	struct check *check;
	int64_t next_at;
};

static const char *const members[] = {[PROBE_STARTUP] = "startupProbe",
	[PROBE_LIVENESS] = "livenessProbe",
	[PROBE_READINESS] = "readinessProbe"};
static const char *const titles[] = {[PROBE_STARTUP] = "Startup",
	[PROBE_LIVENESS] = "Liveness",
	[PROBE_READINESS] = "Readiness"};

void probe_spec_of(const json_t *p, struct probe_spec *out)
{
	int64_t period = json_i64(p, "periodSeconds", 10),
		timeout = json_i64(p, "timeoutSeconds", 1);
	int64_t ok = json_i64(p, "successThreshold", 1), bad = json_i64(p, "failureThreshold", 3);
	*out = (struct probe_spec){.initial_ns = json_i64(p, "initialDelaySeconds", 0) * NS_PER_SEC,
		.period_ns = (period > 0 ? period : 10) * NS_PER_SEC,
		.timeout_ns = (timeout > 0 ? timeout : 1) * NS_PER_SEC,
		.success = ok > 0 ? (unsigned)ok : 1,
		.failure = bad > 0 ? (unsigned)bad : 3};
}

bool probe_step(struct probe_state *st, const struct probe_spec *sp, bool ok)
{
	st->ok = ok ? st->ok + 1 : 0;
	st->bad = ok ? 0 : st->bad + 1;
	bool reached = ok ? st->ok >= sp->success : st->bad >= sp->failure;
	if (!reached || (st->decided && st->passing == ok))
		return false;
	st->decided = true;
	st->passing = ok;
	return true;
}

static void prober_arm(struct prober *b)
{
	int64_t now = loop_now(b->pod->k->loop);
	(void)loop_timer_set(b->pod->k->loop, &b->timer, b->next_at > now ? b->next_at - now : 0);
}

static void prober_result(struct prober *b, struct slot *s)
{
	if (b->kind == PROBE_STARTUP && b->st.passing)
		s->startup_passed = true;
	else if (b->kind == PROBE_READINESS)
		s->ready = b->st.passing;
	else if (!b->st.passing)
		s->unhealthy = true;
	struct pod *p = b->pod;
	probes_update(p); /* may free b */
	pod_sync(p);
}

static void prober_checked(void *arg, bool ok, const char *output)
{
	struct prober *b = arg;
	struct slot *s = pod_slot(b->pod, b->slot);
	b->check = NULL;
	if (!s)
		return;
	if (!ok)
		pod_event(b->pod, s, true, "Unhealthy", "%s probe failed: %s", titles[b->kind],
			output);
	b->next_at += b->spec.period_ns;
	if (b->next_at < loop_now(b->pod->k->loop))
		b->next_at = loop_now(b->pod->k->loop) + b->spec.period_ns;
	prober_arm(b);
	/* May free this prober. */
	if (probe_step(&b->st, &b->spec, ok))
		prober_result(b, s);
}

static void prober_fire(struct loop_timer *t)
{
	struct prober *b = t->arg;
	struct slot *s = pod_slot(b->pod, b->slot);
	if (!s || !s->has_cur || s->cur.state != INST_RUNNING || b->check)
		return;
	/* A startup probe that passed has done its work; the others wait for it. */
	if (b->kind == PROBE_STARTUP && s->startup_passed)
		return;
	struct check_target target = {
		.pod = b->pod, .container = s->spec, .container_id = s->cur.id};
	b->check = check_start(&target, json_object_get(s->spec, members[b->kind]),
		b->spec.timeout_ns, prober_checked, b);
}

static void prober_free(struct prober *b)
{
	if (!b)
		return;
	loop_timer_cancel(&b->timer);
	check_cancel(b->check);
	free(b->slot);
	free(b);
}

void probes_stop(struct slot *s)
{
	for (size_t i = 0; i < N_PROBES; i++) {
		prober_free(s->probe[i]);
		s->probe[i] = NULL;
	}
	free(s->probed_id);
	s->probed_id = NULL;
	s->startup_passed = s->ready = s->unhealthy = false;
}

/* What the API already says of the very same instance: a restart of the kubelet must not take a
 * ready pod out of its services until the first probe has run. */
static bool adopted(const struct pod *p, const struct slot *s, const char *member)
{
	size_t i;
	json_t *c;
	json_array_foreach (json_at(p->obj, "status.containerStatuses"), i, c) {
		const char *id = json_str(c, "containerID", "");
		const char *bare = strstr(id, "://");
		if (bare && strcmp(bare + 3, s->cur.id) == 0)
			return json_flag(c, member, false);
	}
	return false;
}

static void prober_begin(struct pod *p, struct slot *s, enum probe_kind kind)
{
	const json_t *spec = json_object_get(s->spec, members[kind]);
	struct prober *b = s->probe[kind] ? NULL : calloc(1, sizeof(*b));
	if (!b)
		return;
	*b = (struct prober){.pod = p,
		.slot = strdup(s->name),
		.kind = kind,
		.timer = {.fn = prober_fire, .arg = b}};
	probe_spec_of(spec, &b->spec);
	/* The initial delay counts from the container's start, also after adoption. */
	int64_t lived = time_now() - s->cur.started_at;
	int64_t wait = b->spec.initial_ns - (lived > 0 ? lived : 0);
	b->next_at = loop_now(p->k->loop) + (wait > 0 ? wait : 0);
	s->probe[kind] = b;
	if (kind == PROBE_READINESS && adopted(p, s, "ready"))
		s->ready = b->st.passing = b->st.decided = true;
	prober_arm(b);
}

static void slot_probes(struct pod *p, struct slot *s)
{
	bool running = s->has_cur && s->cur.state == INST_RUNNING;
	if (!running || (s->probed_id && strcmp(s->probed_id, s->cur.id) != 0))
		probes_stop(s);
	if (!running || s->kind == SLOT_INIT || s->kind == SLOT_EPHEMERAL)
		return;
	if (!s->probed_id)
		s->probed_id = strdup(s->cur.id);
	s->startup_passed = s->startup_passed || adopted(p, s, "started");
	if (json_is_object(json_object_get(s->spec, members[PROBE_STARTUP])) &&
		!s->startup_passed) {
		prober_begin(p, s, PROBE_STARTUP);
		return;
	}
	s->startup_passed = true;
	if (json_is_object(json_object_get(s->spec, members[PROBE_LIVENESS])))
		prober_begin(p, s, PROBE_LIVENESS);
	if (json_is_object(json_object_get(s->spec, members[PROBE_READINESS])))
		prober_begin(p, s, PROBE_READINESS);
	else
		s->ready = true;
}

void probes_update(struct pod *p)
{
	for (size_t i = 0; i < p->n_slots; i++)
		slot_probes(p, &p->slots[i]);
}

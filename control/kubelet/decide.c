/* SPDX-License-Identifier: Apache-2.0
 * The decision function of a pod. Init containers run one after the other; sidecars (init
 * containers with restartPolicy Always, KEP-753) must have started before the next; then all main
 * containers run together. */
#include <string.h>
#include "kubelet/decide.h"

#define SECOND 1000000000LL

int64_t backoff_next(int64_t now_delay, int64_t lived_ns)
{
	if (lived_ns >= 600 * SECOND || now_delay <= 0)
		return 10 * SECOND;
	return now_delay * 2 > 300 * SECOND ? 300 * SECOND : now_delay * 2;
}

static void act(struct decision *d, enum action_kind kind, size_t slot, enum kill_reason why)
{
	d->a[d->n++] = (struct action){.kind = kind, .slot = slot, .why = why};
}

static void wake(struct decision *d, int64_t at)
{
	if (!d->wake_at || at < d->wake_at)
		d->wake_at = at;
}

static bool alive(const struct slot_view *s)
{
	return s->state == INST_RUNNING || s->state == INST_UNKNOWN;
}

static bool restarts(const struct slot_view *s)
{
	if (s->kind == SLOT_EPHEMERAL)
		return false;
	return s->policy == RESTART_ALWAYS ||
	       (s->policy == RESTART_ON_FAILURE && s->exit_code != 0);
}

/* Has run to its end and stays so. */
static bool completed(const struct slot_view *s)
{
	if (s->state == INST_NONE)
		return s->ran && s->policy == RESTART_NEVER;
	return s->state == INST_EXITED && !restarts(s);
}

/* Nothing runs any more, the last of all the sandbox goes. Sidecars outlive the main containers and
 * stop in reverse order. */
static void wind_down(const struct pod_view *p, struct decision *d)
{
	bool main_alive = false, any = p->sandbox_busy;
	for (size_t i = 0; i < p->n; i++) {
		const struct slot_view *s = &p->s[i];
		any = any || s->busy || alive(s);
		if (s->kind == SLOT_SIDECAR)
			continue;
		main_alive = main_alive || s->busy || alive(s);
		if (!s->busy && alive(s))
			act(d, ACT_KILL, i, KILL_POD);
	}
	for (size_t i = p->n; i-- > 0 && !main_alive;) {
		const struct slot_view *s = &p->s[i];
		if (s->kind != SLOT_SIDECAR || !(s->busy || alive(s)))
			continue;
		if (!s->busy)
			act(d, ACT_KILL, i, KILL_POD);
		break;
	}
	if (!any && p->sandbox_exists && p->sandbox_ready)
		act(d, ACT_STOP_SANDBOX, 0, KILL_POD);
	d->stopped = !any && !(p->sandbox_exists && p->sandbox_ready);
}

/* Brings one container up if it should run now. */
static void want_running(const struct pod_view *p, size_t i, struct decision *d)
{
	const struct slot_view *s = &p->s[i];
	if (s->busy)
		return;
	if (s->state == INST_RUNNING && s->in_sandbox) {
		if (s->unhealthy || s->changed)
			act(d, ACT_KILL, i, s->unhealthy ? KILL_UNHEALTHY : KILL_CHANGED);
		return;
	}
	if (s->state == INST_UNKNOWN || s->state == INST_RUNNING) {
		act(d, ACT_KILL, i, KILL_CHANGED);
		return;
	}
	if (s->state == INST_CREATED) {
		act(d, ACT_REMOVE, i, KILL_NONE);
		return;
	}
	int64_t from = s->finished_at < p->now ? s->finished_at : p->now;
	if (s->state == INST_EXITED && s->in_sandbox && s->backoff_ns > 0 &&
		from + s->backoff_ns > p->now) {
		d->crash_loop[i] = true;
		wake(d, from + s->backoff_ns);
		return;
	}
	if (s->retry_at > p->now) {
		wake(d, s->retry_at);
		return;
	}
	if (!p->volumes_ready)
		return;
	act(d, ACT_START, i, KILL_NONE);
}

/* A regular init container. True when the next may go. */
static bool step_init(const struct pod_view *p, size_t i, struct decision *d)
{
	const struct slot_view *s = &p->s[i];
	if (s->state == INST_EXITED && s->in_sandbox && s->exit_code == 0)
		return true;
	if (s->state == INST_EXITED && s->in_sandbox && s->policy == RESTART_NEVER) {
		d->finished = d->failed = true;
		return false;
	}
	want_running(p, i, d);
	return false;
}

static bool mains_begun(const struct pod_view *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->s[i].kind == SLOT_MAIN && p->s[i].state != INST_NONE && p->s[i].in_sandbox)
			return true;
	return false;
}

static void run_all(const struct pod_view *p, struct decision *d)
{
	bool go = true, begun = mains_begun(p);
	for (size_t i = 0; i < p->n; i++) {
		const struct slot_view *s = &p->s[i];
		if (s->kind == SLOT_INIT && go && !begun)
			go = step_init(p, i, d);
		else if (s->kind == SLOT_SIDECAR && go) {
			want_running(p, i, d);
			go = begun || s->started;
		} else if (s->kind == SLOT_INIT || s->kind == SLOT_SIDECAR)
			d->blocked[i] = !go;
	}
	d->init_done = go;
	for (size_t i = 0; i < p->n; i++) {
		const struct slot_view *s = &p->s[i];
		if (s->kind == SLOT_MAIN && !go)
			d->blocked[i] = true;
		else if (s->kind == SLOT_MAIN && !completed(s))
			want_running(p, i, d);
		else if (s->kind == SLOT_EPHEMERAL && s->state == INST_NONE && !s->ran)
			want_running(p, i, d);
	}
}

/* All main containers ended for good: the pod's phase is settled. */
static bool all_completed(const struct pod_view *p, struct decision *d)
{
	bool failed = false, any = false;
	for (size_t i = 0; i < p->n; i++) {
		const struct slot_view *s = &p->s[i];
		if (s->kind != SLOT_MAIN)
			continue;
		if (!completed(s))
			return false;
		any = true;
		failed = failed || s->exit_code != 0 || s->state == INST_NONE;
	}
	if (!any)
		return false;
	d->finished = true;
	d->failed = failed;
	return true;
}

void decide(const struct pod_view *p, struct decision *d)
{
	memset(d, 0, sizeof(*d));
	if (p->terminating) {
		d->init_done = mains_begun(p);
		wind_down(p, d);
		return;
	}
	if (all_completed(p, d)) {
		d->init_done = true;
		wind_down(p, d);
		return;
	}
	if (p->sandbox_busy)
		return;
	if (!p->sandbox_exists || !p->sandbox_ready) {
		/* What still runs in a dead sandbox goes first. */
		bool any = false;
		for (size_t i = 0; i < p->n; i++) {
			any = any || p->s[i].busy || alive(&p->s[i]);
			if (!p->s[i].busy && alive(&p->s[i]))
				act(d, ACT_KILL, i, KILL_CHANGED);
		}
		if (any)
			return;
		if (p->sandbox_retry_at > p->now)
			wake(d, p->sandbox_retry_at);
		else
			act(d, ACT_MAKE_SANDBOX, 0, KILL_NONE);
		return;
	}
	run_all(p, d);
	if (d->finished) {
		d->n = 0;
		wind_down(p, d);
	}
}

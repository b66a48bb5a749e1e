/* SPDX-License-Identifier: Apache-2.0
 * The loop of one pod: refresh what the runtime says, decide, act, report. */
#include <errno.h>
#include <stdarg.h>
#include "kubelet/check.h"
#include "kubelet/image.h"
#include "kubelet/spec.h"
#include "kubelet/volumes.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

static const struct resource pods_resource = {"", "v1", "pods", "Pod", true};

#define BIT(s) (1u << (s))
static const unsigned successors[] = {
	[POD_NEW] = BIT(POD_ALIVE) | BIT(POD_ENDING) | BIT(POD_STOPPED),
	[POD_ALIVE] = BIT(POD_ENDING) | BIT(POD_STOPPED),
	[POD_ENDING] = BIT(POD_STOPPED),
	[POD_STOPPED] = BIT(POD_CLEANING),
	[POD_CLEANING] = BIT(POD_GONE),
	[POD_GONE] = 0,
};
static const char *const state_names[] = {[POD_NEW] = "new",
	[POD_ALIVE] = "alive",
	[POD_ENDING] = "ending",
	[POD_STOPPED] = "stopped",
	[POD_CLEANING] = "cleaning",
	[POD_GONE] = "gone"};

void pod_set_state(struct pod *p, enum pod_state s)
{
	if (p->state == s)
		return;
	if (!(successors[p->state] & BIT(s))) {
		log_error("pod %s/%s: state %s may not follow %s", p->ns, p->name, state_names[s],
			state_names[p->state]);
		abort();
	}
	log_debug("pod %s/%s: %s -> %s", p->ns, p->name, state_names[p->state], state_names[s]);
	p->state = s;
}

void pod_event(
	struct pod *p, const struct slot *s, bool warning, const char *reason, const char *fmt, ...)
{
	static const char *const lists[] = {[SLOT_INIT] = "initContainers",
		[SLOT_SIDECAR] = "initContainers",
		[SLOT_MAIN] = "containers",
		[SLOT_EPHEMERAL] = "ephemeralContainers"};
	AUTO_BUF struct buf path = {0};
	char msg[900];
	va_list ap;
	if (!p->k->rec || !p->obj)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	if (s)
		buf_addf(&path, "spec.%s{%s}", lists[s->kind], s->name);
	struct event_ref ref = {.api_version = "v1",
		.kind = "Pod",
		.ns = p->ns,
		.name = p->name,
		.uid = p->uid,
		.field_path = path.p,
		.rv = p->rv};
	event_emit(p->k->rec, &ref, warning, reason, "%s", msg);
}

/* --- the view that the decision sees --- */

static bool slot_changed(const struct slot *s)
{
	char hash[20];
	if (!s->has_cur || !s->cur.hash || !*s->cur.hash)
		return false;
	spec_hash(s->spec, hash);
	return strcmp(hash, s->cur.hash) != 0;
}

static void view_slot(const struct pod *p, const struct slot *s, int64_t now, struct slot_view *v)
{
	enum restart_policy pod_policy = spec_restart_policy(p->obj);
	*v = (struct slot_view){.kind = s->kind,
		.policy = s->kind == SLOT_SIDECAR ? RESTART_ALWAYS
			  : s->kind == SLOT_INIT && pod_policy == RESTART_ALWAYS
				  ? RESTART_ON_FAILURE
				  : pod_policy,
		.busy = s->op != NULL || s->hold_until > now,
		.ran = s->ran,
		.backoff_ns = s->backoff_ns,
		.retry_at = s->retry_at,
		.unhealthy = s->unhealthy,
		.changed = slot_changed(s)};
	if (!s->has_cur)
		return;
	v->state = s->cur.state;
	v->in_sandbox = p->sandbox && strcmp(s->cur.sandbox, p->sandbox) == 0;
	v->exit_code = s->cur.exit_code;
	v->started_at = s->cur.started_at;
	v->finished_at = s->cur.finished_at;
	v->started = s->cur.state == INST_RUNNING && s->startup_passed;
	/* An instance that lived long restarts at once. */
	if (s->cur.state == INST_EXITED &&
		s->cur.finished_at - s->cur.started_at >= 600 * NS_PER_SEC)
		v->backoff_ns = 0;
}

void pod_view_of(const struct pod *p, int64_t now, struct pod_view *v)
{
	*v = (struct pod_view){.policy = spec_restart_policy(p->obj),
		.terminating = p->deleted || p->evicted || p->settled || p->state >= POD_ENDING,
		.volumes_ready = p->volumes_ready,
		.sandbox_exists = p->sandbox != NULL,
		.sandbox_ready = p->sandbox_ready,
		.sandbox_busy = p->sandbox_busy,
		.sandbox_retry_at = p->sandbox_retry_at,
		.now = now,
		.n = p->n_slots < MAX_SLOTS ? p->n_slots : MAX_SLOTS};
	for (size_t i = 0; i < v->n; i++)
		view_slot(p, &p->slots[i], now, &v->s[i]);
}

/* --- acting --- */

static void tell_backoff(struct pod *p, int64_t now)
{
	for (size_t i = 0; i < p->n_slots; i++) {
		struct slot *s = &p->slots[i];
		if (p->d.crash_loop[i] && s->has_cur &&
			(!s->crash_told || strcmp(s->crash_told, s->cur.id) != 0)) {
			free(s->crash_told);
			s->crash_told = strdup(s->cur.id);
			pod_event(p, s, true, "BackOff",
				"Back-off restarting failed container %s in pod %s_%s(%s)", s->name,
				p->name, p->ns, p->uid);
		}
		if (s->pull_failed && !s->backoff_told && s->retry_at > now &&
			now - s->failed_at > 3 * NS_PER_SEC) {
			s->backoff_told = true;
			pod_event(p, s, false, "BackOff", "Back-off pulling image \"%s\"",
				json_str(s->spec, "image", ""));
			pod_event(p, s, true, "Failed", "Error: ImagePullBackOff");
		}
	}
}

static void sooner(int64_t *at, int64_t t, int64_t now)
{
	if (t > now && (!*at || t < *at))
		*at = t;
}

static int64_t deadline_of(const struct pod *p)
{
	int64_t s = json_i64(p->obj, "spec.activeDeadlineSeconds", 0);
	return s > 0 ? p->start_time + s * NS_PER_SEC : 0;
}

static void arm_wake(struct pod *p, int64_t now)
{
	int64_t at = p->d.wake_at;
	for (size_t i = 0; i < p->n_slots; i++) {
		const struct slot *s = &p->slots[i];
		sooner(&at, s->hold_until, now);
		if (s->pull_failed && !s->backoff_told)
			sooner(&at, s->failed_at + 3 * NS_PER_SEC + NS_PER_MS, now);
	}
	if (p->state == POD_ALIVE)
		sooner(&at, deadline_of(p), now);
	if (at)
		(void)loop_timer_set(p->k->loop, &p->wake, at > now ? at - now : 0);
	else
		loop_timer_cancel(&p->wake);
}

static void begin_ending(struct pod *p)
{
	if (p->state >= POD_ENDING)
		return;
	pod_set_state(p, POD_ENDING);
	p->kill_at = loop_now(p->k->loop);
	if (!p->grace_s)
		p->grace_s = spec_grace(p->obj);
	op_cancel_all(p);
}

static void final_deleted(void *arg, const struct client_result *r)
{
	struct pod *p = arg;
	/* The DELETED event of the informer drops the pod; a conflict means another pod has the
	 * name. */
	if (r->e && r->e->code != -ENOENT && r->e->code != -EAGAIN) {
		p->final_sent = false;
		(void)loop_timer_set(p->k->loop, &p->wake, NS_PER_SEC);
	}
	pod_unref(p);
}

static void cleaned(struct pod *p)
{
	pod_set_state(p, POD_GONE);
	pod_sync(p);
}

/* After the end: what is left to do for a stopped pod. */
static void step_stopped(struct pod *p)
{
	if (p->state == POD_STOPPED && p->deleted && p->ops == 0 && !p->refreshing) {
		pod_set_state(p, POD_CLEANING);
		pod_cleanup(p, cleaned);
		return;
	}
	if (p->state != POD_GONE || p->patching)
		return;
	if (p->vanished) {
		pods_forget(p);
		return;
	}
	if (p->final_sent)
		return;
	p->final_sent = true;
	if (!client_delete(p->k->client, &pods_resource, p->ns, p->name, 0, p->uid, NULL,
		    final_deleted, pod_ref(p))) {
		p->final_sent = false;
		pod_unref(p);
	}
}

static void check_deadline(struct pod *p, int64_t now)
{
	int64_t at = deadline_of(p);
	if (p->state != POD_ALIVE || !at || now < at || p->evicted || p->d.finished)
		return;
	p->evicted = strdup("DeadlineExceeded");
	p->evict_msg = strdup("Pod was active on the node longer than the specified deadline");
	pod_event(p, NULL, true, "DeadlineExceeded", "%s", p->evict_msg);
}

static void report(struct pod *p, int64_t now)
{
	if (p->settled)
		return;
	json_decref(p->status);
	p->status = status_make(p, now);
	status_push(p);
}

static void decide_and_act(struct pod *p)
{
	struct pod_view v;
	int64_t now = time_now();
	if (p->state >= POD_STOPPED) {
		if (p->state == POD_STOPPED)
			report(p, now);
		step_stopped(p);
		return;
	}
	bool was_done = p->d.finished, was_failed = p->d.failed;
	check_deadline(p, now);
	if (p->deleted || p->evicted || p->settled)
		begin_ending(p);
	else if (p->state == POD_NEW)
		pod_set_state(p, POD_ALIVE);
	pod_view_of(p, now, &v);
	decide(&v, &p->d);
	/* A result, once reached, stays: a later termination does not change it. */
	if (was_done) {
		p->d.finished = true;
		p->d.failed = was_failed;
	}
	if (p->d.finished && p->state == POD_ALIVE)
		begin_ending(p);
	/* A retry of stopping a sandbox waits its turn. */
	for (size_t i = 0; i < p->d.n; i++)
		if (p->d.a[i].kind != ACT_STOP_SANDBOX || p->sandbox_retry_at <= now)
			op_run(p, &p->d.a[i]);
		else
			p->d.wake_at = p->sandbox_retry_at;
	tell_backoff(p, now);
	if (p->d.stopped && p->ops == 0) {
		pod_set_state(p, POD_STOPPED);
		for (size_t i = 0; i < p->n_slots; i++)
			probes_stop(&p->slots[i]);
	}
	arm_wake(p, now);
	report(p, now);
	if (p->state == POD_STOPPED)
		step_stopped(p);
}

static bool announced(const struct kubelet *k, const char *id)
{
	for (size_t i = 0; id && i < EXITED_RING; i++)
		if (strcmp(k->exited[i], id) == 0)
			return true;
	return false;
}

/* The runtime announces an exit a little before its own lists show it: look again, soon and then
 * less and less often. */
static void expect_exits(struct pod *p)
{
	bool behind = p->sandbox_ready && announced(p->k, p->sandbox);
	for (size_t i = 0; i < p->n_slots; i++)
		behind = behind || (p->slots[i].has_cur && p->slots[i].cur.state == INST_RUNNING &&
					   announced(p->k, p->slots[i].cur.id));
	if (!behind) {
		p->recheck_ns = 0;
		return;
	}
	p->recheck_ns = p->recheck_ns ? p->recheck_ns * 2 : 5 * NS_PER_MS;
	if (p->recheck_ns < 10 * NS_PER_SEC)
		(void)loop_timer_set(p->k->loop, &p->recheck, p->recheck_ns);
}

static void refreshed(struct pod *p, const struct err *e)
{
	p->refreshing = false;
	if (p->k->closing)
		return;
	if (e) {
		/* The runtime is away: look again soon. Nothing is assumed meanwhile. */
		p->dirty = true;
		(void)loop_timer_set(p->k->loop, &p->wake, NS_PER_SEC);
		return;
	}
	p->refreshed = true;
	expect_exits(p);
	if (p->state < POD_STOPPED)
		probes_update(p);
	decide_and_act(p);
	if (p->dirty)
		pod_sync(p);
}

static void sync_run(struct loop_task *t)
{
	struct pod *p = t->arg;
	p->sync_posted = false;
	if (!p->k->closing && !p->refreshing && p->k->pods_synced) {
		if (p->dirty && p->state < POD_STOPPED) {
			p->dirty = false;
			p->refreshing = true;
			pod_refresh(p, refreshed);
		} else if (p->refreshed)
			decide_and_act(p);
	}
	pod_unref(p);
}

void pod_sync(struct pod *p)
{
	if (p->sync_posted || p->k->closing)
		return;
	p->sync_posted = true;
	pod_ref(p);
	p->sync_task = (struct loop_task){.fn = sync_run, .arg = p};
	loop_post(p->k->loop, &p->sync_task);
}

void pod_dirty(struct pod *p)
{
	p->dirty = true;
	pod_sync(p);
}

/* SPDX-License-Identifier: Apache-2.0
 * Operations on one pod: each is a chain of runtime calls, one under way per container and one for
 * the sandbox. Every step ends in the next call or in op_end, which marks the pod dirty. */
#include <errno.h>
#include <sys/stat.h>
#include "kubelet/cgroup.h"
#include "kubelet/check.h"
#include "kubelet/image.h"
#include "kubelet/spec.h"
#include "kubelet/volumes.h"
#include "xebec/base/timefmt.h"

struct op {
	struct pod *p;
	char *slot; /* NULL = the sandbox */
	enum action_kind kind;
	enum kill_reason why;
	struct cri_call *call;
	struct image_op *image;
	struct check *hook;
	json_t *envs, *mounts;
	char *image_id, *container;
	unsigned attempt;
	int64_t began; /* mono */
	bool interruptible;
};

void ignore_reply(void *arg, const struct err *e, int status, const json_t *resp)
{
	(void)arg;
	(void)e;
	(void)status;
	(void)resp;
}

void spec_ctx_of(const struct pod *p, struct spec_ctx *c)
{
	*c = (struct spec_ctx){.logs = p->k->logs,
		.cgroup_root = p->k->c.cgroup_root,
		.cluster_dns = p->k->c.cluster_dns,
		.domain = p->k->domain,
		.resolv_conf = p->k->resolv_conf,
		.mem_capacity = p->k->mem_capacity};
}

static struct slot *op_slot(struct op *o)
{
	return o->slot ? pod_slot(o->p, o->slot) : NULL;
}

static void op_end(struct op *o)
{
	struct pod *p = o->p;
	struct slot *s = op_slot(o);
	if (s && s->op == o)
		s->op = NULL;
	if (!o->slot) {
		p->sandbox_busy = false;
		p->sandbox_op = NULL;
	}
	p->ops--;
	check_cancel(o->hook);
	image_cancel(o->image);
	json_decref(o->envs);
	json_decref(o->mounts);
	free(o->image_id);
	free(o->container);
	free(o->slot);
	free(o);
	pod_dirty(p);
	pod_unref(p);
}

static void wait_state(struct op *o, const char *reason, int64_t retry_ns, const char *msg)
{
	struct slot *s = op_slot(o);
	if (!s)
		return;
	(void)snprintf(s->wait_reason, sizeof(s->wait_reason), "%s", reason);
	(void)snprintf(s->wait_msg, sizeof(s->wait_msg), "%s", msg);
	s->failed_at = time_now();
	s->retry_at = s->failed_at + retry_ns;
}

static void fail(struct op *o, const char *reason, const char *msg)
{
	wait_state(o, reason, 5 * NS_PER_SEC, msg);
	pod_event(o->p, op_slot(o), true, "Failed", "Error: %s", msg);
	op_end(o);
}

/* --- sandbox --- */

static void on_sandbox(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct op *o = arg;
	struct pod *p = o->p;
	(void)status;
	(void)resp;
	if (e) {
		p->sandbox_delay = p->sandbox_delay ? p->sandbox_delay * 2 : NS_PER_SEC;
		if (p->sandbox_delay > 60 * NS_PER_SEC)
			p->sandbox_delay = 60 * NS_PER_SEC;
		p->sandbox_retry_at = time_now() + p->sandbox_delay;
		pod_event(p, NULL, true, "FailedCreatePodSandBox",
			"Failed to create pod sandbox: %s", e->msg);
	} else
		p->sandbox_delay = 0;
	op_end(o);
}

static void run_make_sandbox(struct op *o)
{
	struct pod *p = o->p;
	AUTO_BUF struct buf cg = {0}, logs = {0};
	struct spec_ctx ctx;
	struct pod_limits lim;
	bool first = !p->sandbox;
	spec_ctx_of(p, &ctx);
	spec_pod_limits(pod_spec(p), &lim);
	spec_cgroup(&ctx, p->obj, &cg);
	spec_log_dir(&ctx, p->obj, &logs);
	if (!cg.err)
		cgroup_make(cg.p, &lim);
	if (!logs.err)
		(void)mkdir_p(logs.p, 0755);
	if (!first)
		pod_event(p, NULL, false, "SandboxChanged",
			"Pod sandbox changed, it will be killed and re-created.");
	json_t *req = json_pack(
		"{s:o}", "config", spec_sandbox(&ctx, p->obj, first ? 0 : p->sandbox_attempt + 1));
	o->call = cri_send(p->k->cri, CRI_RunPodSandbox, req, on_sandbox, o);
	if (!o->call)
		op_end(o);
}

static void on_simple(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct op *o = arg;
	struct slot *s = op_slot(o);
	(void)resp;
	if (e && status != CRI_NOT_FOUND && s)
		s->hold_until = time_now() + NS_PER_SEC;
	else if (e && status != CRI_NOT_FOUND)
		o->p->sandbox_retry_at = time_now() + NS_PER_SEC;
	o->call = NULL;
	op_end(o);
}

static void run_stop_sandbox(struct op *o)
{
	o->call = cri_send(o->p->k->cri, CRI_StopPodSandbox,
		json_pack("{s:s}", "pod_sandbox_id", o->p->sandbox), on_simple, o);
	if (!o->call)
		op_end(o);
}

/* --- start --- */

static void on_post_start(void *arg, bool ok, const char *output)
{
	struct op *o = arg;
	struct slot *s = op_slot(o);
	o->hook = NULL;
	if (!ok && s) {
		pod_event(o->p, s, true, "FailedPostStartHook", "PostStartHook failed: %s", output);
		s->unhealthy = s->hook_failed = true;
	}
	op_end(o);
}

static void on_started(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct op *o = arg;
	struct slot *s = op_slot(o);
	(void)status;
	(void)resp;
	o->call = NULL;
	if (!s) {
		op_end(o);
		return;
	}
	if (e) {
		fail(o, "RunContainerError", e->msg);
		return;
	}
	s->wait_reason[0] = '\0';
	s->retry_at = 0;
	o->p->k->n_started++;
	o->p->k->n_restarts += o->attempt > 0;
	pod_event(o->p, s, false, "Started", "Started container %s", s->name);
	const json_t *hook = json_at(s->spec, "lifecycle.postStart");
	if (!json_is_object(hook) || o->p->deleted) {
		op_end(o);
		return;
	}
	pod_dirty(o->p); /* the container runs already: show it */
	struct check_target t = {.pod = o->p, .container = s->spec, .container_id = o->container};
	o->interruptible = true;
	o->hook = check_start(&t, hook, 3600 * NS_PER_SEC, on_post_start, o);
	if (!o->hook)
		op_end(o);
}

/* One dead instance stays for --previous; older ones go with their logs. */
static void drop_old(struct op *o, struct slot *s)
{
	if (!s->has_last || !s->has_cur)
		return;
	(void)cri_send(o->p->k->cri, CRI_RemoveContainer,
		json_pack("{s:s}", "container_id", s->last.id), ignore_reply, NULL);
	if (s->last.log_path && *s->last.log_path)
		(void)unlink(s->last.log_path);
}

static void on_created(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct op *o = arg;
	struct slot *s = op_slot(o);
	(void)status;
	o->call = NULL;
	if (e || !s) {
		if (s)
			fail(o, "CreateContainerError", e ? e->msg : "");
		else
			op_end(o);
		return;
	}
	o->container = strdup(json_str(resp, "container_id", ""));
	pod_event(o->p, s, false, "Created", "Created container: %s", s->name);
	drop_old(o, s);
	s->restarts = o->attempt;
	o->call = cri_send(o->p->k->cri, CRI_StartContainer,
		json_pack("{s:s}", "container_id", o->container), on_started, o);
	if (!o->call)
		op_end(o);
}

static const char *target_id(struct op *o, const struct slot *s)
{
	const char *name = json_str(s->spec, "targetContainerName", "");
	struct slot *t = *name ? pod_slot(o->p, name) : NULL;
	return t && t->has_cur && t->cur.state == INST_RUNNING ? t->cur.id : NULL;
}

static void create(struct op *o, struct slot *s, const char *image_id)
{
	struct pod *p = o->p;
	struct spec_ctx ctx;
	struct err e = {0};
	AUTO_BUF struct buf logs = {0};
	spec_ctx_of(p, &ctx);
	if (mounts_build(p, s, o->attempt, o->envs, &o->mounts, &e) < 0) {
		fail(o, "CreateContainerConfigError", e.msg);
		return;
	}
	spec_log_dir(&ctx, p->obj, &logs);
	buf_addf(&logs, "/%s", s->name);
	if (!logs.err)
		(void)mkdir_p(logs.p, 0755);
	struct container_args a = {.pod = p->obj,
		.container = s->spec,
		.attempt = o->attempt,
		.image = image_id,
		.envs = o->envs,
		.mounts = o->mounts,
		.target_id = target_id(o, s)};
	json_t *req = json_pack("{s:s, s:o, s:o}", "pod_sandbox_id", p->sandbox, "config",
		spec_container(&ctx, &a), "sandbox_config",
		spec_sandbox(&ctx, p->obj, p->sandbox_attempt));
	o->call = cri_send(p->k->cri, CRI_CreateContainer, req, on_created, o);
	if (!o->call)
		op_end(o);
}

static void on_image(void *arg, const struct image_result *r)
{
	struct op *o = arg;
	struct slot *s = op_slot(o);
	struct err e = {0};
	o->image = NULL;
	o->interruptible = false;
	if (!s || !o->p->sandbox || !o->p->sandbox_ready || o->p->deleted) {
		op_end(o);
		return;
	}
	if (r->reason) {
		(void)snprintf(s->wait_reason, sizeof(s->wait_reason), "%s", r->reason);
		(void)snprintf(s->wait_msg, sizeof(s->wait_msg), "%s", r->message);
		s->pull_delay = s->pull_delay ? s->pull_delay * 2 : 10 * NS_PER_SEC;
		if (s->pull_delay > 300 * NS_PER_SEC)
			s->pull_delay = 300 * NS_PER_SEC;
		s->failed_at = time_now();
		s->retry_at = s->failed_at + s->pull_delay;
		s->backoff_told = false;
		s->pull_failed = strcmp(r->reason, "ErrImagePull") == 0;
		op_end(o);
		return;
	}
	s->pull_delay = 0;
	s->pull_failed = false;
	if (spec_check_nonroot(o->p->obj, s->spec, r->image, &e) < 0) {
		fail(o, "CreateContainerConfigError", e.msg);
		return;
	}
	(void)snprintf(s->image_id, sizeof(s->image_id), "%s", json_str(r->image, "id", ""));
	create(o, s, *s->image_id ? s->image_id : json_str(s->spec, "image", ""));
}

static json_t *services_for(const struct pod *p)
{
	json_t *out = json_array();
	bool links = json_flag(p->obj, "spec.enableServiceLinks", true);
	if (!p->k->svc_inf)
		return out;
	informer_each(p->k->svc_inf, NULL, it)
	{
		bool master = strcmp(it.obj->ns, "default") == 0 &&
			      strcmp(it.obj->name, "kubernetes") == 0;
		json_t *j = NULL;
		if (!master && (!links || strcmp(it.obj->ns, p->ns) != 0))
			continue;
		if (json_parse(it.obj->json, &j, NULL) == 0)
			(void)json_array_append_new(out, j);
	}
	return out;
}

static void run_start(struct op *o)
{
	struct pod *p = o->p;
	struct slot *s = op_slot(o);
	struct env_ctx ctx;
	struct err e = {0};
	AUTO_JSON json_t *services = services_for(p);
	if (s->has_cur)
		o->attempt = s->cur.attempt + 1;
	else
		o->attempt = s->ran ? s->restarts + 1 : 0;
	if (s->has_cur && s->cur.state == INST_EXITED && s->counted != o->attempt) {
		s->counted = o->attempt;
		s->backoff_ns = backoff_next(s->backoff_ns, s->cur.finished_at - s->cur.started_at);
	}
	env_ctx_of(p, &ctx);
	ctx.services = services;
	if (env_build(&ctx, s->spec, &o->envs, &e) < 0) {
		fail(o, "CreateContainerConfigError", e.msg);
		return;
	}
	o->interruptible = true;
	o->image = image_ensure(p, s, on_image, o);
	if (!o->image)
		op_end(o);
}

/* --- kill --- */

static int64_t grace_left(const struct op *o, const struct slot *s)
{
	int64_t now = loop_now(o->p->k->loop), grace = o->p->grace_s * NS_PER_SEC;
	int64_t from = o->began;
	if (o->why == KILL_UNHEALTHY && s) {
		const json_t *own = json_at(s->spec, "livenessProbe.terminationGracePeriodSeconds");
		if (json_is_integer(own))
			grace = json_integer_value(own) * NS_PER_SEC;
	} else if (o->why == KILL_POD && o->p->kill_at)
		from = o->p->kill_at;
	int64_t left = grace - (now - from);
	return left > 0 ? left : 0;
}

static void stop_container(struct op *o, struct slot *s, int64_t left)
{
	int64_t seconds = (left + NS_PER_SEC - 1) / NS_PER_SEC;
	json_t *req =
		json_pack("{s:s, s:I}", "container_id", s->cur.id, "timeout", (json_int_t)seconds);
	o->call = o->p->k->cri->ops->call(
		o->p->k->cri, CRI_StopContainer, req, (seconds + 60) * NS_PER_SEC, on_simple, o);
	if (!o->call)
		op_end(o);
}

static void on_pre_stop(void *arg, bool ok, const char *output)
{
	struct op *o = arg;
	struct slot *s = op_slot(o);
	o->hook = NULL;
	if (!s) {
		op_end(o);
		return;
	}
	if (!ok)
		pod_event(o->p, s, true, "FailedPreStopHook", "PreStopHook failed: %s", output);
	int64_t left = grace_left(o, s);
	stop_container(o, s, left > 2 * NS_PER_SEC ? left : 2 * NS_PER_SEC);
}

static void kill_event(struct op *o, struct slot *s)
{
	if (o->why == KILL_UNHEALTHY)
		pod_event(o->p, s, false, "Killing", "Container %s failed %s, will be restarted",
			s->name,
			s->hook_failed	    ? "its postStart hook"
			: s->startup_passed ? "liveness probe"
					    : "startup probe");
	else if (o->why == KILL_CHANGED)
		pod_event(o->p, s, false, "Killing",
			"Container %s definition changed, will be restarted", s->name);
	else
		pod_event(o->p, s, false, "Killing", "Stopping container %s", s->name);
}

static void run_kill(struct op *o)
{
	struct slot *s = op_slot(o);
	const json_t *hook = json_at(s->spec, "lifecycle.preStop");
	kill_event(o, s);
	s->hook_failed = false;
	int64_t left = grace_left(o, s);
	struct check_target t = {.pod = o->p, .container = s->spec, .container_id = s->cur.id};
	if (json_is_object(hook) && left > 0 && s->cur.state == INST_RUNNING) {
		o->hook = check_start(&t, hook, left, on_pre_stop, o);
		if (o->hook)
			return;
	}
	stop_container(o, s, left);
}

static void run_remove(struct op *o)
{
	o->call = cri_send(o->p->k->cri, CRI_RemoveContainer,
		json_pack("{s:s}", "container_id", op_slot(o)->cur.id), on_simple, o);
	if (!o->call)
		op_end(o);
}

/* --- running and interrupting --- */

void op_run(struct pod *p, const struct action *a)
{
	static void (*const run[])(struct op *) = {[ACT_MAKE_SANDBOX] = run_make_sandbox,
		[ACT_STOP_SANDBOX] = run_stop_sandbox,
		[ACT_START] = run_start,
		[ACT_KILL] = run_kill,
		[ACT_REMOVE] = run_remove};
	bool sandbox = a->kind == ACT_MAKE_SANDBOX || a->kind == ACT_STOP_SANDBOX;
	struct slot *s = sandbox ? NULL : &p->slots[a->slot];
	struct op *o = calloc(1, sizeof(*o));
	if (!o)
		return;
	*o = (struct op){.p = pod_ref(p),
		.kind = a->kind,
		.why = a->why,
		.slot = s ? strdup(s->name) : NULL,
		.began = loop_now(p->k->loop)};
	p->ops++;
	if (s)
		s->op = o;
	else {
		p->sandbox_busy = true;
		p->sandbox_op = o;
	}
	run[a->kind](o);
}

void op_cancel_all(struct pod *p)
{
	for (size_t i = 0; i < p->n_slots; i++)
		if (p->slots[i].op && p->slots[i].op->interruptible)
			op_end(p->slots[i].op);
}

void op_shorten(struct pod *p)
{
	for (size_t i = 0; i < p->n_slots; i++) {
		struct slot *s = &p->slots[i];
		struct op *o = s->op;
		if (!o || o->kind != ACT_KILL || !s->has_cur)
			continue;
		int64_t left = grace_left(o, s);
		if (o->hook) {
			check_cancel(o->hook);
			o->hook = NULL;
			stop_container(o, s, left);
			continue;
		}
		/* The first call returns when the container has stopped. */
		(void)cri_send(p->k->cri, CRI_StopContainer,
			json_pack("{s:s, s:I}", "container_id", s->cur.id, "timeout",
				(json_int_t)(left / NS_PER_SEC)),
			ignore_reply, NULL);
	}
}

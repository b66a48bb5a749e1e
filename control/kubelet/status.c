/* SPDX-License-Identifier: Apache-2.0
 * The pod's status from what runs, and its way to the API: one patch at a time, only on change. */
#include <errno.h>
#include "kubelet/pod.h"
#include "kubelet/spec.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

static const struct resource pods_resource = {"", "v1", "pods", "Pod", true};

static json_t *time_json(int64_t ns)
{
	char t[21];
	time_rfc3339(ns, t);
	return json_string(t);
}

/* --- one container --- */

static json_t *terminated(const struct inst *i)
{
	const char *reason = i->reason && *i->reason ? i->reason
			     : i->exit_code == 0     ? "Completed"
						     : "Error";
	json_t *t = json_pack("{s:i, s:s, s:o, s:o, s:o}", "exitCode", i->exit_code, "reason",
		reason, "startedAt", time_json(i->started_at), "finishedAt",
		time_json(i->finished_at), "containerID", json_sprintf("containerd://%s", i->id));
	if (i->term_msg && *i->term_msg) {
		json_t *m = json_string(i->term_msg);
		(void)json_object_set_new(t, "message", m ? m : json_string("(not UTF-8)"));
	}
	return json_pack("{s:o}", "terminated", t);
}

static json_t *waiting(const char *reason, const char *message)
{
	json_t *w = json_pack("{s:s}", "reason", reason);
	if (message && *message)
		(void)json_object_set_new(w, "message", json_string(message));
	return json_pack("{s:o}", "waiting", w);
}

static json_t *waiting_of(const struct pod *p, const struct slot *s, size_t n, int64_t now)
{
	bool has_init = p->n_slots > 0 && p->slots[0].kind <= SLOT_SIDECAR;
	if (s->pull_failed && now - s->failed_at > 3 * NS_PER_SEC && s->retry_at > now) {
		AUTO_BUF struct buf m = {0};
		buf_addf(&m, "Back-off pulling image \"%s\": %s: %s",
			json_str(s->spec, "image", ""), s->wait_reason, s->wait_msg);
		return waiting("ImagePullBackOff", m.p);
	}
	if (*s->wait_reason)
		return waiting(s->wait_reason, s->wait_msg);
	if (has_init && (p->d.blocked[n] || s->kind == SLOT_INIT || s->kind == SLOT_SIDECAR ||
				!p->d.init_done))
		return waiting("PodInitializing", NULL);
	return waiting("ContainerCreating", NULL);
}

static json_t *state_of(const struct pod *p, const struct slot *s, size_t n, int64_t now)
{
	if (s->has_cur && s->cur.state == INST_RUNNING)
		return json_pack("{s:{s:o}}", "running", "startedAt", time_json(s->cur.started_at));
	if (!s->has_cur || s->cur.state != INST_EXITED)
		return waiting_of(p, s, n, now);
	if (p->d.crash_loop[n] && p->state == POD_ALIVE) {
		AUTO_BUF struct buf m = {0};
		char d[16];
		time_duration_short(s->backoff_ns, d);
		buf_addf(&m, "back-off %s restarting failed container=%s pod=%s_%s(%s)", d, s->name,
			p->name, p->ns, p->uid);
		return waiting("CrashLoopBackOff", m.p);
	}
	if (*s->wait_reason && p->state == POD_ALIVE)
		return waiting_of(p, s, n, now);
	return terminated(&s->cur);
}

static bool slot_ready(const struct slot *s)
{
	if (s->kind == SLOT_INIT)
		return s->has_cur && s->cur.state == INST_EXITED && s->cur.exit_code == 0;
	return s->has_cur && s->cur.state == INST_RUNNING && s->startup_passed && s->ready;
}

static json_t *container_status(const struct pod *p, size_t n, int64_t now)
{
	const struct slot *s = &p->slots[n];
	json_t *st = state_of(p, s, n, now);
	const struct inst *last = s->has_last ? &s->last : NULL;
	bool running = json_object_get(st, "running") != NULL;
	if (json_object_get(st, "waiting") && s->has_cur && s->cur.state == INST_EXITED)
		last = &s->cur;
	json_t *o = json_pack("{s:s, s:o, s:o, s:b, s:i, s:s, s:s, s:b}", "name", s->name, "state",
		st, "lastState",
		last && last->full && last->state == INST_EXITED ? terminated(last) : json_object(),
		"ready", slot_ready(s), "restartCount",
		(int)(s->has_cur ? s->cur.attempt : s->restarts), "image",
		s->has_cur && s->cur.image && *s->cur.image &&
				strncmp(s->cur.image, "sha256:", 7) != 0
			? s->cur.image
			: json_str(s->spec, "image", ""),
		"imageID", s->has_cur && s->cur.image_ref ? s->cur.image_ref : "", "started",
		running && s->startup_passed);
	if (s->has_cur)
		(void)json_object_set_new(
			o, "containerID", json_sprintf("containerd://%s", s->cur.id));
	return o;
}

/* --- phase and conditions --- */

static const char *phase_of(const struct pod *p)
{
	size_t waits = 0, runs = 0, stopped = 0, good = 0;
	enum restart_policy policy = spec_restart_policy(p->obj);
	if (p->evicted)
		return "Failed";
	if (p->d.finished)
		return p->d.failed ? "Failed" : "Succeeded";
	for (size_t i = 0; i < p->n_slots; i++) {
		const struct slot *s = &p->slots[i];
		if (s->kind != SLOT_MAIN)
			continue;
		if (s->has_cur && s->cur.state == INST_RUNNING)
			runs++;
		else if ((s->has_cur && s->cur.state == INST_EXITED) || s->has_last) {
			stopped++;
			good += s->has_cur && s->cur.exit_code == 0;
		} else
			waits++;
	}
	if (waits > 0 || (!p->d.init_done && p->state <= POD_ALIVE))
		return "Pending";
	if (runs > 0)
		return "Running";
	if (p->deleted && p->state >= POD_STOPPED)
		return stopped == good ? "Succeeded" : "Failed";
	if (stopped > 0 && policy == RESTART_NEVER)
		return stopped == good ? "Succeeded" : "Failed";
	if (stopped > 0 && policy == RESTART_ON_FAILURE && stopped == good)
		return "Succeeded";
	return stopped > 0 ? "Running" : "Pending";
}

static const json_t *condition_in(const json_t *list, const char *type)
{
	size_t i;
	json_t *c;
	json_array_foreach (list, i, c) {
		if (strcmp(json_str(c, "type", ""), type) == 0)
			return c;
	}
	return NULL;
}

static void add_condition(struct pod *p, json_t *list, const char *type, bool ok,
	const char *reason, const char *msg, int64_t now)
{
	const char *status = ok ? "True" : "False";
	const json_t *old = condition_in(p->conditions, type);
	if (!old)
		old = condition_in(json_at(p->obj, "status.conditions"), type);
	const json_t *since = old && strcmp(json_str(old, "status", ""), status) == 0
				      ? json_object_get(old, "lastTransitionTime")
				      : NULL;
	json_t *c = json_pack("{s:s, s:s}", "type", type, "status", status);
	int64_t gen = json_i64(p->obj, "metadata.generation", 0);
	if (gen > 0)
		(void)json_object_set_new(c, "observedGeneration", json_integer(gen));
	if (reason)
		(void)json_object_set_new(c, "reason", json_string(reason));
	if (msg && *msg)
		(void)json_object_set_new(c, "message", json_string(msg));
	(void)json_object_set_new(
		c, "lastTransitionTime", since ? json_incref((json_t *)since) : time_json(now));
	(void)json_array_append_new(list, c);
}

/* "containers with unready status: [a b]" of the slots that fail the test; "" when none does. */
static void unready_names(const struct pod *p, bool init, struct buf *out)
{
	bool any = false;
	for (size_t i = 0; i < p->n_slots; i++) {
		const struct slot *s = &p->slots[i];
		bool is_init = s->kind == SLOT_INIT || s->kind == SLOT_SIDECAR;
		if (s->kind == SLOT_EPHEMERAL || (init ? !is_init : s->kind == SLOT_INIT))
			continue;
		if (init && s->kind == SLOT_SIDECAR ? s->startup_passed : slot_ready(s))
			continue;
		buf_addf(out, "%s%s",
			any    ? " "
			: init ? "containers with incomplete status: ["
			       : "containers with unready status: [",
			s->name);
		any = true;
	}
	if (any)
		buf_addc(out, ']');
}

static bool gates_open(const struct pod *p)
{
	size_t i;
	json_t *g;
	json_array_foreach (json_at(p->obj, "spec.readinessGates"), i, g) {
		const json_t *c = condition_in(
			json_at(p->obj, "status.conditions"), json_str(g, "conditionType", ""));
		if (strcmp(json_str(c, "status", ""), "True") != 0)
			return false;
	}
	return true;
}

static json_t *conditions_of(struct pod *p, const char *phase, int64_t now)
{
	AUTO_BUF struct buf unready = {0}, uninit = {0};
	json_t *list = json_array();
	bool done = strcmp(phase, "Succeeded") == 0, failed = strcmp(phase, "Failed") == 0;
	unready_names(p, false, &unready);
	unready_names(p, true, &uninit);
	bool ready = unready.len == 0 && !done && !failed;
	bool open = ready && gates_open(p);
	const char *why = done ? "PodCompleted" : failed ? "PodFailed" : "ContainersNotReady";
	add_condition(p, list, "PodReadyToStartContainers",
		p->sandbox && p->sandbox_ready && (p->ip || spec_host_network(p->obj)), NULL, NULL,
		now);
	bool init = done || p->d.init_done;
	add_condition(p, list, "Initialized", init,
		done   ? "PodCompleted"
		: init ? NULL
		       : "ContainersNotInitialized",
		init ? NULL : uninit.p, now);
	add_condition(p, list, "Ready", open,
		open	? NULL
		: ready ? "ReadinessGatesNotReady"
			: why,
		ready && !open ? "the status of pod readiness gates is not \"True\"" : unready.p,
		now);
	add_condition(p, list, "ContainersReady", ready, ready ? NULL : why, unready.p, now);
	add_condition(p, list, "PodScheduled", true, NULL, NULL, now);
	return list;
}

static void container_lists(const struct pod *p, json_t *st, int64_t now)
{
	json_t *init = json_array(), *main = json_array(), *eph = json_array();
	json_t *of[] = {[SLOT_INIT] = init,
		[SLOT_SIDECAR] = init,
		[SLOT_MAIN] = main,
		[SLOT_EPHEMERAL] = eph};
	for (size_t i = 0; i < p->n_slots; i++)
		(void)json_array_append_new(of[p->slots[i].kind], container_status(p, i, now));
	if (json_array_size(init))
		(void)json_object_set(st, "initContainerStatuses", init);
	if (json_array_size(eph))
		(void)json_object_set(st, "ephemeralContainerStatuses", eph);
	(void)json_object_set(st, "containerStatuses", main);
	json_decref(init);
	json_decref(main);
	json_decref(eph);
}

const char *node_ips(const struct kubelet *k)
{
	return k->c.node_ips ? k->c.node_ips : k->c.node_ip;
}

/* "a,b" -> [{"ip":"a"},{"ip":"b"}] */
static json_t *ips_json(const char *list)
{
	json_t *out = json_array();
	struct str rest = str_of(list ? list : "");
	while (rest.n) {
		struct str ip = str_cut(&rest, ',');
		(void)json_array_append_new(out, json_pack("{s:s%}", "ip", ip.p, ip.n));
	}
	return out;
}

json_t *status_make(struct pod *p, int64_t now)
{
	json_t *st = json_object();
	const char *phase = phase_of(p), *ip = p->ip, *ips = p->ips;
	int64_t gen = json_i64(p->obj, "metadata.generation", 0);
	if (gen > 0)
		(void)json_object_set_new(st, "observedGeneration", json_integer(gen));
	(void)json_object_set_new(st, "phase", json_string(phase));
	if (p->evicted) {
		(void)json_object_set_new(st, "reason", json_string(p->evicted));
		(void)json_object_set_new(
			st, "message", json_string(p->evict_msg ? p->evict_msg : ""));
	}
	json_t *cond = conditions_of(p, phase, now);
	json_decref(p->conditions);
	p->conditions = json_incref(cond);
	(void)json_object_set_new(st, "conditions", cond);
	(void)json_object_set_new(st, "hostIP", json_string(p->k->c.node_ip));
	(void)json_object_set_new(st, "hostIPs", ips_json(node_ips(p->k)));
	if (spec_host_network(p->obj) && p->sandbox)
		ip = p->k->c.node_ip, ips = node_ips(p->k);
	if (ip && *ip) {
		(void)json_object_set_new(st, "podIP", json_string(ip));
		(void)json_object_set_new(st, "podIPs", ips_json(ips));
	}
	(void)json_object_set_new(st, "startTime", time_json(p->start_time));
	container_lists(p, st, now);
	(void)json_object_set_new(
		st, "qosClass", json_string(qos_class(json_object_get(p->obj, "spec"))));
	return st;
}

/* --- to the API --- */

/* Every member of ours is in theirs; the server may have added others (nulls, conditions of other
 * components). */
static bool covered(const json_t *ours, const json_t *theirs)
{
	const char *k;
	json_t *v;
	size_t i;
	if (json_is_array(ours)) {
		if (json_array_size(ours) != json_array_size(theirs))
			return false;
		json_array_foreach (ours, i, v) {
			if (!covered(v, json_array_get(theirs, i)))
				return false;
		}
		return true;
	}
	if (!json_is_object(ours))
		return json_equal(ours, theirs);
	json_object_foreach ((json_t *)ours, k, v) {
		if (!covered(v, json_object_get(theirs, k)))
			return false;
	}
	return json_is_object(theirs) || json_object_size(ours) == 0;
}

static bool same_as(const json_t *ours, const json_t *theirs)
{
	const char *k;
	json_t *v, *c;
	size_t i;
	json_object_foreach ((json_t *)ours, k, v) {
		const json_t *t = json_object_get(theirs, k);
		if (strcmp(k, "conditions") != 0) {
			if (!covered(v, t))
				return false;
			continue;
		}
		json_array_foreach (v, i, c) {
			if (!covered(c, condition_in(t, json_str(c, "type", ""))))
				return false;
		}
	}
	return true;
}

static void patched(void *arg, const struct client_result *r)
{
	struct pod *p = arg;
	p->patching = false;
	if (r->e) {
		json_decref(p->sent);
		p->sent = NULL;
		if (r->e->code != -ENOENT && r->e->code != -EAGAIN) {
			log_warn("pod %s/%s: status: %s", p->ns, p->name, r->e->msg);
			(void)loop_timer_set(p->k->loop, &p->status_timer, NS_PER_SEC);
		}
	} else
		p->patch_rv = strtoull(
			jv_raw_str(jv_path(jv_of(r->body), "metadata.resourceVersion")).p
				? jv_raw_str(jv_path(jv_of(r->body), "metadata.resourceVersion")).p
				: "0",
			NULL, 10);
	if (!p->k->closing) {
		if (!r->e)
			status_push(p);
		if (p->state >= POD_STOPPED)
			pod_sync(p);
	}
	pod_unref(p);
}

/* A strategic merge keeps what it does not name: vanished members need a null, and the lists of
 * addresses, which would be merged by ip, are replaced. */
static void complete_patch(const json_t *old, json_t *st)
{
	static const char *const lists[] = {"podIPs", "hostIPs"};
	const char *k;
	json_t *v;
	json_object_foreach ((json_t *)old, k, v) {
		if (!json_object_get(st, k) && strcmp(k, "nominatedNodeName") != 0 &&
			strcmp(k, "resize") != 0)
			(void)json_object_set_new(st, k, json_null());
	}
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_t *l = json_object_get(st, lists[i]);
		const json_t *was = json_object_get(old, lists[i]);
		if (json_is_array(l) && json_is_array(was) && !json_equal(l, was))
			(void)json_array_insert_new(l, 0, json_pack("{s:s}", "$patch", "replace"));
	}
}

void status_push(struct pod *p)
{
	AUTO_BUF struct buf body = {0};
	if (!p->obj || !p->status || p->patching || p->vanished || p->settled || p->final_sent)
		return;
	const json_t *theirs = json_object_get(p->obj, "status");
	if (p->sent ? json_equal(p->sent, p->status) : same_as(p->status, theirs))
		return;
	/* A pod that merely begins is not reported before it runs or takes long. */
	int64_t now = loop_now(p->k->loop);
	const char *phase = json_str(p->status, "phase", "");
	if (!p->told && !p->sent && strcmp(phase, "Pending") == 0 && p->wait_until > now) {
		(void)loop_timer_set(p->k->loop, &p->status_timer, p->wait_until - now);
		return;
	}
	p->told = true;
	AUTO_JSON json_t *st = json_deep_copy(p->status);
	complete_patch(p->sent ? p->sent : theirs, st);
	AUTO_JSON json_t *patch =
		json_pack("{s:{s:s}, s:O}", "metadata", "uid", p->uid, "status", st);
	json_write(patch, &body);
	if (!client_patch(p->k->client, &pods_resource, p->ns, p->name, "status",
		    CLIENT_PATCH_STRATEGIC, buf_str(&body), patched, pod_ref(p))) {
		pod_unref(p);
		return;
	}
	p->patching = true;
	json_decref(p->sent);
	p->sent = json_incref(p->status);
	if (!p->reported_running && strcmp(phase, "Running") == 0) {
		p->reported_running = true;
		p->k->n_synced++;
		p->k->start_ns_total += (uint64_t)(now - p->seen_at);
	}
}

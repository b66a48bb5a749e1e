/* SPDX-License-Identifier: Apache-2.0
 * What the runtime knows about one pod: its sandboxes and container instances, found by the labels
 * that every kubelet sets. The runtime is the only memory of what runs, so adoption after a restart
 * needs nothing else. */
#include <errno.h>
#include "kubelet/logs.h"
#include "kubelet/pod.h"
#include "kubelet/spec.h"
#include "kubelet/volumes.h"
#include "xebec/base/timefmt.h"

struct refresh {
	struct pod *p;
	void (*done)(struct pod *p, const struct err *e);
	unsigned waiting;
	struct err e;
	json_t *sandboxes, *containers;
	bool second;
};

void inst_clear(struct inst *i)
{
	char **s[] = {&i->id, &i->sandbox, &i->name, &i->image, &i->image_ref, &i->reason,
		&i->message, &i->log_path, &i->hash, &i->term_msg};
	for (size_t n = 0; n < ARRAY_LEN(s); n++)
		free(*s[n]);
	*i = (struct inst){0};
}

static void finish(struct refresh *r)
{
	struct pod *p = r->p;
	r->done(p, r->e.code ? &r->e : NULL);
	json_decref(r->sandboxes);
	json_decref(r->containers);
	free(r);
	pod_unref(p);
}

static void step(struct refresh *r);

static void note_error(struct refresh *r, const struct err *e)
{
	if (e && !r->e.code)
		r->e = *e;
	if (e && !r->e.code)
		r->e.code = -EIO;
}

/* --- containers --- */

static enum inst_state state_of(int64_t s)
{
	static const enum inst_state map[] = {[CRI_CREATED] = INST_CREATED,
		[CRI_RUNNING] = INST_RUNNING,
		[CRI_EXITED] = INST_EXITED,
		[CRI_UNKNOWN] = INST_UNKNOWN};
	return s >= 0 && s <= CRI_UNKNOWN ? map[s] : INST_UNKNOWN;
}

static unsigned attempt_of(const json_t *c)
{
	const json_t *v = json_object_get(
		json_object_get(c, "annotations"), "io.kubernetes.container.restartCount");
	if (json_is_string(v))
		return (unsigned)strtoul(json_string_value(v), NULL, 10);
	return (unsigned)json_i64(c, "metadata.attempt", 0);
}

static void set_str(char **at, const char *v)
{
	free(*at);
	*at = v ? strdup(v) : NULL;
}

static void read_term_file(struct pod *p, struct slot *s, struct inst *i)
{
	AUTO_BUF struct buf path = {0}, text = {0};
	const char *policy = json_str(s->spec, "terminationMessagePolicy", "File");
	term_path(p, s->name, i->attempt, &path);
	if (!path.err && file_read(path.p, 4096, &text) == 0 && text.len > 0)
		i->term_msg = buf_steal(&text);
	else if (strcmp(policy, "FallbackToLogsOnError") == 0 && i->exit_code != 0)
		i->term_msg = log_tail(i->log_path, 80, 2048);
	if (!i->term_msg)
		i->term_msg = strdup(i->message ? i->message : "");
}

static void fill_status(struct pod *p, struct slot *s, struct inst *i, const json_t *st)
{
	i->state = state_of(json_i64(st, "state", CRI_CREATED));
	i->started_at = json_i64(st, "started_at", 0);
	i->finished_at = json_i64(st, "finished_at", 0);
	i->created_at = json_i64(st, "created_at", i->created_at);
	i->exit_code = (int)json_i64(st, "exit_code", 0);
	set_str(&i->image, json_str(st, "image.image", ""));
	set_str(&i->image_ref, json_str(st, "image_ref", ""));
	set_str(&i->reason, json_str(st, "reason", ""));
	set_str(&i->message, json_str(st, "message", ""));
	set_str(&i->log_path, json_str(st, "log_path", ""));
	i->full = true;
	if (i->state == INST_EXITED && !i->term_msg)
		read_term_file(p, s, i);
}

struct status_read {
	struct refresh *r;
	char id[80];
};

static struct inst *inst_by_id(struct pod *p, const char *id, struct slot **ret)
{
	for (size_t n = 0; n < p->n_slots; n++) {
		struct slot *s = &p->slots[n];
		*ret = s;
		if (s->has_cur && strcmp(s->cur.id, id) == 0)
			return &s->cur;
		if (s->has_last && strcmp(s->last.id, id) == 0)
			return &s->last;
	}
	return NULL;
}

static void on_status(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct status_read *sr = arg;
	struct refresh *r = sr->r;
	struct slot *s;
	struct inst *i = inst_by_id(r->p, sr->id, &s);
	if (e && status != CRI_NOT_FOUND)
		note_error(r, e);
	else if (!e && i)
		fill_status(r->p, s, i, json_object_get(resp, "status"));
	free(sr);
	r->waiting--;
	step(r);
}

static void read_status(struct refresh *r, const struct inst *i)
{
	struct status_read *sr = calloc(1, sizeof(*sr));
	if (!sr)
		return;
	sr->r = r;
	(void)snprintf(sr->id, sizeof(sr->id), "%s", i->id);
	if (cri_send(r->p->k->cri, CRI_ContainerStatus, json_pack("{s:s}", "container_id", i->id),
		    on_status, sr))
		r->waiting++;
	else
		free(sr);
}

/* A row of ListContainers becomes the slot's current or last instance; details survive while the
 * state is the same. */
static void place(struct inst *at, bool *has, const json_t *c)
{
	const char *id = json_str(c, "id", "");
	enum inst_state st = state_of(json_i64(c, "state", CRI_CREATED));
	if (*has && strcmp(at->id, id) == 0) {
		if (at->state != st)
			at->full = false;
		at->state = st;
		return;
	}
	inst_clear(at);
	*has = true;
	const json_t *hash =
		json_object_get(json_object_get(c, "annotations"), "io.kubernetes.container.hash");
	*at = (struct inst){.id = strdup(id),
		.sandbox = strdup(json_str(c, "pod_sandbox_id", "")),
		.name = strdup(json_str(c, "metadata.name", "")),
		.hash = strdup(json_is_string(hash) ? json_string_value(hash) : ""),
		.state = st,
		.attempt = attempt_of(c),
		.created_at = json_i64(c, "created_at", 0)};
}

static void forget(struct inst *at, bool *has)
{
	if (*has)
		inst_clear(at);
	*has = false;
}

static void move_inst(struct slot *s)
{
	forget(&s->last, &s->has_last);
	s->last = s->cur;
	s->has_last = true;
	s->cur = (struct inst){0};
	s->has_cur = false;
}

static void place_slot(struct slot *s, const json_t *containers)
{
	const json_t *best = NULL, *second = NULL;
	size_t i;
	json_t *c;
	json_array_foreach (containers, i, c) {
		if (strcmp(json_str(c, "metadata.name", ""), s->name) != 0)
			continue;
		if (!best || attempt_of(c) > attempt_of(best) ||
			(attempt_of(c) == attempt_of(best) &&
				json_i64(c, "created_at", 0) > json_i64(best, "created_at", 0))) {
			second = best;
			best = c;
		} else if (!second || attempt_of(c) > attempt_of(second))
			second = c;
	}
	const char *id = best ? json_str(best, "id", "") : "";
	if (best && s->has_cur && strcmp(s->cur.id, id) != 0 && second &&
		strcmp(s->cur.id, json_str(second, "id", "")) == 0)
		move_inst(s);
	if (best)
		place(&s->cur, &s->has_cur, best);
	else
		forget(&s->cur, &s->has_cur);
	if (second)
		place(&s->last, &s->has_last, second);
	else
		forget(&s->last, &s->has_last);
	if (s->has_cur) {
		s->ran = true;
		if (s->cur.attempt > s->restarts)
			s->restarts = s->cur.attempt;
	}
}

/* --- sandboxes --- */

/* "10.244.1.5,fd00:10:244:1::af4:105" */
static void ips_join(const json_t *resp, char **ret)
{
	AUTO_BUF struct buf b = {0};
	size_t i;
	json_t *more;
	buf_adds(&b, json_str(resp, "status.network.ip", ""));
	json_array_foreach (json_at(resp, "status.network.additional_ips"), i, more)
		buf_addf(&b, ",%s", json_str(more, "ip", ""));
	set_str(ret, b.p && !b.err ? b.p : "");
}

static void on_sandbox_status(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct refresh *r = arg;
	struct pod *p = r->p;
	if (e && status != CRI_NOT_FOUND)
		note_error(r, e);
	if (!e) {
		const char *ip = json_str(resp, "status.network.ip", "");
		if (*ip || !p->ip) {
			set_str(&p->ip, ip);
			ips_join(resp, &p->ips);
		}
	}
	r->waiting--;
	step(r);
}

static void place_sandboxes(struct refresh *r)
{
	struct pod *p = r->p;
	const json_t *best = NULL;
	size_t i;
	json_t *s;
	json_array_foreach (r->sandboxes, i, s) {
		if (!best || json_i64(s, "created_at", 0) > json_i64(best, "created_at", 0))
			best = s;
	}
	json_decref(p->old_sandboxes);
	p->old_sandboxes = json_array();
	json_array_foreach (r->sandboxes, i, s) {
		if (s != best)
			(void)json_array_append(p->old_sandboxes, json_object_get(s, "id"));
	}
	const char *id = best ? json_str(best, "id", "") : NULL;
	if (!id || !p->sandbox || strcmp(p->sandbox, id) != 0)
		set_str(&p->ip, NULL), set_str(&p->ips, NULL);
	set_str(&p->sandbox, id);
	p->sandbox_ready = best && json_i64(best, "state", CRI_SANDBOX_READY) == CRI_SANDBOX_READY;
	if (best) {
		p->sandbox_attempt = (unsigned)json_i64(best, "metadata.attempt", 0);
		p->sandbox_made_at = json_i64(best, "created_at", 0);
	}
	if (best && !p->ip && p->sandbox_ready &&
		cri_send(p->k->cri, CRI_PodSandboxStatus, json_pack("{s:s}", "pod_sandbox_id", id),
			on_sandbox_status, r))
		r->waiting++;
}

static void step(struct refresh *r)
{
	struct pod *p = r->p;
	if (r->waiting > 0)
		return;
	if (r->second || r->e.code) {
		finish(r);
		return;
	}
	r->second = true;
	r->waiting = 1; /* guards against finishing while we still send */
	place_sandboxes(r);
	for (size_t i = 0; i < p->n_slots; i++) {
		place_slot(&p->slots[i], r->containers);
		if (p->slots[i].has_cur && !p->slots[i].cur.full)
			read_status(r, &p->slots[i].cur);
		if (p->slots[i].has_last && !p->slots[i].last.full)
			read_status(r, &p->slots[i].last);
	}
	r->waiting--;
	step(r);
}

static void on_list(struct refresh *r, const struct err *e, const json_t *rows, json_t **at)
{
	note_error(r, e);
	*at = e ? NULL : rows ? json_incref((json_t *)rows) : json_array();
	r->waiting--;
	step(r);
}

static void on_sandboxes(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct refresh *r = arg;
	(void)status;
	on_list(r, e, json_object_get(resp, "items"), &r->sandboxes);
}

static void on_containers(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct refresh *r = arg;
	(void)status;
	on_list(r, e, json_object_get(resp, "containers"), &r->containers);
}

void pod_refresh(struct pod *p, void (*done)(struct pod *p, const struct err *e))
{
	struct refresh *r = calloc(1, sizeof(*r));
	if (!r)
		return;
	*r = (struct refresh){.p = pod_ref(p), .done = done, .waiting = 1};
	json_t *sel = json_pack(
		"{s:{s:{s:s}}}", "filter", "label_selector", "io.kubernetes.pod.uid", p->uid);
	if (cri_send(p->k->cri, CRI_ListPodSandbox, json_deep_copy(sel), on_sandboxes, r))
		r->waiting++;
	if (cri_send(p->k->cri, CRI_ListContainers, sel, on_containers, r))
		r->waiting++;
	if (r->waiting < 3)
		r->e = (struct err){.code = -ENOMEM, .msg = "runtime call: out of memory"};
	if (--r->waiting == 0) {
		/* Never inside the call: nothing was sent, so nothing comes back by itself. */
		json_decref(r->sandboxes);
		json_decref(r->containers);
		free(r);
		p->refreshing = false;
		pod_unref(p);
	}
}

/* SPDX-License-Identifier: Apache-2.0
 * One run of a key: reconcile, perform its actions (one at first, then two, four ... at once, so
 * that a refusal costs little), wait until the caches show the results, then let the key go. */
#include <errno.h>
#include "controllers/framework.h"
#include "xebec/base/log.h"

#define WINDOW_MAX 64
#define SEEN_NS	   (5 * NS_PER_SEC) /* longest wait for a cache; then the key is tried again */

struct seen { /* what a cache must show before the key is done */
	int res;
	char *ns, *name, *uid;
	uint64_t rv; /* 0 = a deletion */
};
struct flight { /* a call under way */
	struct run *run;
	const struct action *a;
	struct client_call *call;
};
struct run {
	struct list link;
	struct ctl *ctl;
	char *key;
	struct rc rc;
	struct action *next;
	struct flight *flights;
	size_t n_flights, inflight, window;
	bool failed, conflict, waiting, starting;
	struct seen *seen;
	size_t n_seen;
	struct loop_timer timer;
};

static void run_pump(struct run *r);

static void run_free(struct run *r)
{
	loop_timer_cancel(&r->timer);
	list_del(&r->link);
	for (size_t i = 0; i < r->n_seen; i++) {
		free(r->seen[i].ns);
		free(r->seen[i].name);
		free(r->seen[i].uid);
	}
	free(r->seen);
	free(r->flights);
	free(r->key);
	rc_fini(&r->rc);
	free(r);
}

static void run_end(struct run *r)
{
	struct workqueue *q = r->ctl->queue;

	if (r->failed || r->rc.again) {
		workqueue_retry(q, r->key);
	} else {
		workqueue_forget(q, r->key);
		if (r->rc.requeue)
			workqueue_add_after(q, r->key, r->rc.requeue);
	}
	workqueue_done(q, r->key);
	run_free(r);
}

static bool seen_ok(const struct controllers *cs, const struct seen *s)
{
	const struct informer *inf = cs->slots[s->res].inf;
	const struct cobj *o = informer_get(inf, s->ns, s->name);

	if (s->rv)
		return informer_rv(inf) >= s->rv || (o && o->rv >= s->rv);
	return !o || strcmp(o->uid, s->uid) != 0 ||
	       jv_present(jv_path(o->v, "metadata.deletionTimestamp"));
}

static bool all_seen(struct run *r)
{
	for (size_t i = 0; i < r->n_seen; i++)
		if (!seen_ok(r->ctl->cs, &r->seen[i]))
			return false;
	return true;
}

static void on_seen_timeout(struct loop_timer *t)
{
	run_end(t->arg);
}

void runs_check(struct controllers *cs, enum res r)
{
	list_each_safe (it, &cs->runs) {
		struct run *run = list_entry(it, struct run, link);
		bool concerned = false;
		for (size_t i = 0; run->waiting && i < run->n_seen; i++)
			concerned |= run->seen[i].res == (int)r;
		if (concerned && all_seen(run))
			run_end(run);
	}
}

static void run_settle(struct run *r)
{
	if (all_seen(r)) {
		run_end(r);
		return;
	}
	r->waiting = true;
	r->timer.fn = on_seen_timeout;
	r->timer.arg = r;
	(void)loop_timer_set(client_loop(r->ctl->cs->c), &r->timer, SEEN_NS);
}

/* Remembers what the caches must show after this action. */
static void expect(struct run *r, const struct action *a, struct str body)
{
	struct jv meta = jv_get(jv_of(body), "metadata");
	uint64_t rv = 0;

	if (a->res < 0)
		return;
	(void)str_u64(jv_raw_str(jv_get(meta, "resourceVersion")), &rv);
	struct seen s = {.res = a->res, .rv = a->kind == ACT_DELETE ? 0 : rv};
	if (a->kind != ACT_DELETE && rv == 0)
		return;
	struct seen *p = reallocarray(r->seen, r->n_seen + 1, sizeof(*p));
	if (!p)
		return;
	r->seen = p;
	struct str name = a->name ? str_of(a->name) : jv_raw_str(jv_get(meta, "name"));
	s.ns = str_dup(str_of(a->ns ? a->ns : ""));
	s.name = str_dup(name);
	s.uid = str_dup(a->uid ? str_of(a->uid) : jv_raw_str(jv_get(meta, "uid")));
	if (s.ns && s.name && s.uid) {
		r->seen[r->n_seen++] = s;
		return;
	}
	free(s.ns);
	free(s.name);
	free(s.uid);
}

static void tell(struct run *r, const struct action_event *ev, const char *more)
{
	if (ev->reason)
		event_emit(
			r->ctl->events, &ev->about, ev->warning, ev->reason, "%s%s", ev->msg, more);
}

/* Nothing can be made in a namespace that is going: no news for anybody. */
static bool namespace_going(const struct action *a, const struct err *e)
{
	return a->kind == ACT_CREATE && e->code == -EPERM && strstr(e->msg, "is being terminated");
}

static void action_failed(struct run *r, const struct action *a, const struct err *e)
{
	r->failed = true;
	if (e->code == -EAGAIN || e->code == -ENOENT || e->code == -EEXIST) {
		log_debug("controller %s: %s: %s", r->ctl->name, r->key, e->msg);
		if (a->kind == ACT_CREATE && e->code != -EEXIST)
			tell(r, &a->on_fail, e->msg);
		return;
	}
	if (namespace_going(a, e))
		return;
	log_warn("controller %s: %s: %s", r->ctl->name, r->key, e->msg);
	tell(r, &a->on_fail, e->msg);
}

static void on_done(void *arg, const struct client_result *res)
{
	struct flight *f = arg;
	struct run *r = f->run;
	const struct action *a = f->a;
	/* What was to be deleted is gone: that is what was wanted. */
	bool gone = res->e && a->kind == ACT_DELETE && res->e->code == -ENOENT;

	f->call = NULL;
	r->inflight--;
	if (a->done)
		a->done(a->arg, res);
	if (!res->e || gone) {
		if (!gone)
			expect(r, a, res->body);
		char *name = a->on_ok.add_name
				     ? jv_strdup(jv_path(jv_of(res->body), "metadata.name"))
				     : NULL;
		tell(r, &a->on_ok, name ? name : "");
		free(name);
		if (r->window < WINDOW_MAX)
			r->window *= 2;
	} else if (!a->may_fail) {
		action_failed(r, a, res->e);
	}
	run_pump(r);
}

static struct client_call *action_send(struct run *r, const struct action *a, struct flight *f)
{
	struct client *c = r->ctl->cs->c;
	const struct resource *k = a->resource;

	switch (a->kind) {
	case ACT_CREATE:
		return client_create(c, k, a->ns, a->body, on_done, f);
	case ACT_UPDATE:
		return client_update(c, k, a->ns, a->name, a->sub, a->body, on_done, f);
	case ACT_PATCH:
		return client_patch(c, k, a->ns, a->name, a->sub, a->patch, a->body, on_done, f);
	case ACT_DELETE:
		return client_delete(
			c, k, a->ns, a->name, a->grace, a->uid, a->propagation, on_done, f);
	default:
		return client_send(c,
			&(struct client_request){
				.method = a->method, .path = str_of(a->path), .body = a->body},
			on_done, f);
	}
}

static void action_start(struct run *r, const struct action *a, struct flight *f)
{
	if (a->kind == ACT_EVENT) {
		tell(r, &a->on_ok, "");
		return;
	}
	*f = (struct flight){.run = r, .a = a};
	f->call = action_send(r, a, f);
	if (f->call)
		r->inflight++;
	else
		r->failed = true;
}

/* Starts what may start; ends the run when nothing is left. */
static void run_pump(struct run *r)
{
	if (r->starting)
		return;
	r->starting = true;
	while (r->next && !r->failed && r->inflight < r->window &&
		!(r->next->after_others && r->inflight > 0)) {
		struct action *a = r->next;
		r->next = a->next;
		action_start(r, a, &r->flights[r->n_flights++]);
	}
	r->starting = false;
	if (r->inflight == 0 && (!r->next || r->failed))
		run_settle(r);
}

static bool split_key(const char *key, char ns[static 300], const char **ret_name)
{
	const char *slash = strchr(key, '/');

	if (!slash || slash - key >= 300)
		return false;
	memcpy(ns, key, (size_t)(slash - key));
	ns[slash - key] = '\0';
	*ret_name = slash + 1;
	return true;
}

void run_start(struct ctl *c, const char *key)
{
	struct controllers *cs = c->cs;
	struct run *r = calloc(1, sizeof(*r));
	char ns[300];
	const char *name;

	if (!r || !(r->key = str_dup(str_of(key))) || !split_key(key, ns, &name)) {
		free(r);
		workqueue_retry(c->queue, key);
		workqueue_done(c->queue, key);
		return;
	}
	r->ctl = c;
	r->window = 1;
	rc_init(&r->rc, &cs->cache, &cs->cfg, time_now());
	r->rc.started = cs->started;
	r->rc.state = &c->state;
	r->rc.discovery = cs->discovery;
	list_push(&cs->runs, &r->link);
	c->def->reconcile(&r->rc, ns, name);
	r->next = r->rc.actions;
	r->flights = calloc(r->rc.n_actions + 1, sizeof(*r->flights));
	if (!r->flights) {
		r->next = NULL;
		r->failed = true;
	} else if (r->rc.n_actions > 1) {
		r->window = r->rc.n_actions < 4 ? r->rc.n_actions : 1;
	}
	run_pump(r);
}

void runs_free(struct controllers *cs)
{
	while (!list_empty(&cs->runs)) {
		struct run *r = list_entry(cs->runs.next, struct run, link);
		for (size_t i = 0; i < r->n_flights; i++)
			if (r->flights[i].call)
				client_cancel(r->flights[i].call);
		run_free(r);
	}
}

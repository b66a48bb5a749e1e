/* SPDX-License-Identifier: Apache-2.0
 * HTTP client: the queue of requests and the connections that serve it. */
#include <errno.h>
#include "base/httpc_int.h"
#include "xebec/base/tls.h"

#define DEFAULT_H1_CONNS 8
#define DIAL_TIMEOUT	 (10 * NS_PER_SEC)
#define IDLE_TIMEOUT	 (90 * NS_PER_SEC)
#define TICK		 (2 * NS_PER_SEC)

static void stream_connected(struct stream *s)
{
	struct hconn *k = stream_arg(s);
	struct httpc *c = k->c;

	k->heard = k->since = loop_now(c->cfg.loop);
	if (c->cfg.h2c || strcmp(stream_alpn(s), "h2") == 0)
		hconn_start_h2(k);
	else
		hconn_start_h1(k);
	c->h1 = k->ops && !k->ops->h2;
	httpc_post(c);
}

static void stream_data(struct stream *s, struct buf *in)
{
	struct hconn *k = stream_arg(s);

	k->heard = loop_now(k->c->cfg.loop);
	k->pinged = 0;
	if (k->ops)
		k->ops->data(k, in);
}

static void stream_eof(struct stream *s)
{
	struct hconn *k = stream_arg(s);
	struct err e = {0};

	if (k->ops)
		k->ops->eof(k);
	(void)err_set(&e, ECONNRESET, NULL, "the server closed the connection");
	hconn_kill(k, &e);
}

static void stream_failed(struct stream *s, const struct err *e)
{
	hconn_kill(stream_arg(s), e);
}

static void stream_drained(struct stream *s)
{
	hconn_dirty(stream_arg(s));
}

static const struct stream_events conn_events = {.on_connect = stream_connected,
	.on_data = stream_data,
	.on_eof = stream_eof,
	.on_error = stream_failed,
	.on_drain = stream_drained};

void httpc_post(struct httpc *c)
{
	if (c->posted)
		return;
	c->posted = true;
	loop_post(c->cfg.loop, &c->task);
}

void hconn_dirty(struct hconn *k)
{
	k->dirty = true;
	httpc_post(k->c);
}

static void bury(struct httpc_req *r)
{
	r->gone = true;
	loop_timer_cancel(&r->timer);
	list_del(&r->link);
	list_push(&r->c->grave_reqs, &r->link);
	if (r->k && list_empty(&r->k->reqs))
		r->k->since = loop_now(r->c->cfg.loop);
	httpc_post(r->c);
}

void httpc_done(struct httpc_req *r, const struct err *e, const struct http_header *h, size_t n)
{
	if (r->gone)
		return;
	bury(r);
	if (r->ev->on_done)
		r->ev->on_done(r, e, h, n);
}

static bool idempotent(struct str m)
{
	return str_eqz(m, "GET") || str_eqz(m, "HEAD") || str_eqz(m, "OPTIONS");
}

bool httpc_retry(struct httpc_req *r, bool unprocessed)
{
	struct httpc *c = r->c;

	if (r->gone || r->retried || r->answered || r->body_more || c->dead)
		return false;
	/* A kept-alive connection may be closed just as the request goes out. */
	if (!unprocessed && !(r->k && r->k->served > 1 && idempotent(r->method)))
		return false;
	r->retried = true;
	list_del(&r->link);
	list_insert_before(c->waiting.next, &r->link);
	r->k = NULL;
	r->body_off = 0;
	r->id = 0;
	r->deferred = false;
	httpc_post(c);
	return true;
}

/* No connection can be had: whoever waits fails, but not what the callbacks send now. */
static void fail_waiting(struct httpc *c, const struct err *e)
{
	struct list failed;

	list_init(&failed);
	while (!list_empty(&c->waiting)) {
		struct list *it = c->waiting.next;
		list_del(it);
		list_push(&failed, it);
	}
	while (!list_empty(&failed))
		httpc_done(list_entry(failed.next, struct httpc_req, link), e, NULL, 0);
}

void hconn_kill(struct hconn *k, const struct err *e)
{
	struct httpc *c = k->c;
	bool dialling = k->ops == NULL;
	struct err closed = {0};

	if (k->dead)
		return;
	if (!e) {
		(void)err_set(&closed, ECONNRESET, NULL, "connection closed");
		e = &closed;
	}
	k->dead = k->closing = true;
	stream_free(k->s);
	k->s = NULL;
	list_del(&k->link);
	list_push(&c->grave_conns, &k->link);
	httpc_post(c);
	while (!list_empty(&k->reqs)) {
		struct httpc_req *r = list_entry(k->reqs.next, struct httpc_req, link);
		if (!httpc_retry(r, false))
			httpc_done(r, e, NULL, 0);
	}
	if (dialling && !c->dead)
		fail_waiting(c, e);
}

/* A connection that could not even be begun: the requests waiting for it fail. */
static void dial(struct httpc *c)
{
	struct hconn *k = calloc(1, sizeof(*k));
	struct err e = {0};
	const char *alpn = c->alpn ? c->alpn : "h2,http/1.1";
	int r = k ? 0 : err_set(&e, ENOMEM, NULL, "out of memory");

	if (r == 0) {
		k->c = c;
		k->since = loop_now(c->cfg.loop);
		list_init(&k->reqs);
		r = stream_connect(c->cfg.loop, c->addr, c->cfg.tls, c->host,
			c->cfg.tls ? alpn : NULL, &conn_events, k, &k->s, &e);
	}
	if (r == 0) {
		list_push(&c->conns, &k->link);
		if (!loop_timer_armed(&c->timer))
			(void)loop_timer_set(c->cfg.loop, &c->timer, TICK);
		return;
	}
	free(k);
	fail_waiting(c, &e);
}

struct census {
	struct hconn *ready; /* takes a request now */
	unsigned dialling, counted;
};

static struct census look(struct httpc *c)
{
	struct census n = {0};

	list_each (it, &c->conns) {
		struct hconn *k = list_entry(it, struct hconn, link);
		bool idle = list_empty(&k->reqs);
		if (!k->ops)
			n.dialling++;
		else if (!k->closing && (k->ops->h2 || idle) && !n.ready)
			n.ready = k;
		if (!idle && list_entry(k->reqs.next, struct httpc_req, link)->watch)
			continue;
		n.counted++;
	}
	return n;
}

static unsigned queue_length(const struct httpc *c)
{
	unsigned n = 0;

	list_each (it, &c->waiting)
		n++;
	return n;
}

/* Gives waiting requests to connections, and dials when there are too few. */
static void pump(struct httpc *c)
{
	while (!c->dead && !list_empty(&c->waiting)) {
		struct httpc_req *r = list_entry(c->waiting.next, struct httpc_req, link);
		struct census n = look(c);
		if (n.ready) {
			list_del(&r->link);
			list_push(&n.ready->reqs, &r->link);
			r->k = n.ready;
			n.ready->served++;
			n.ready->ops->submit(n.ready, r);
			continue;
		}
		unsigned wanted = c->h1 ? queue_length(c) : 1;
		if (n.dialling >= wanted)
			return;
		if (c->h1 && !r->watch && n.counted >= c->cfg.max_h1_conns)
			return;
		dial(c);
	}
}

static void req_free(struct httpc_req *r)
{
	list_del(&r->link);
	loop_timer_cancel(&r->timer);
	buf_free(&r->body);
	arena_free(&r->arena);
	free(r);
}

static void hconn_free(struct hconn *k)
{
	list_del(&k->link);
	if (k->ops)
		k->ops->free(k);
	free(k);
}

static void clear_graves(struct httpc *c)
{
	while (!list_empty(&c->grave_reqs))
		req_free(list_entry(c->grave_reqs.next, struct httpc_req, link));
	while (!list_empty(&c->grave_conns))
		hconn_free(list_entry(c->grave_conns.next, struct hconn, link));
}

static void destroy(struct httpc *c)
{
	clear_graves(c);
	tls_ctx_free(c->cfg.tls);
	free(c->addr);
	free(c->host);
	free(c->alpn);
	free(c);
}

static bool flush_one(struct httpc *c)
{
	list_each (it, &c->conns) {
		struct hconn *k = list_entry(it, struct hconn, link);
		if (!k->dirty)
			continue;
		k->dirty = false;
		if (k->ops && k->ops->flush)
			k->ops->flush(k);
		return true; /* callbacks may have changed the list */
	}
	return false;
}

static void client_run(struct loop_task *t)
{
	struct httpc *c = t->arg;

	c->posted = false;
	pump(c);
	while (!c->dead && flush_one(c))
		;
	if (!c->dead)
		clear_graves(c);
	else if (!c->posted)
		destroy(c);
}

/* True when it killed the connection. */
static bool conn_tick(struct httpc *c, struct hconn *k, int64_t now)
{
	struct err e = {0};
	bool slow = !k->ops && now - k->since > DIAL_TIMEOUT;
	bool idle = k->ops && list_empty(&k->reqs) && now - k->since > IDLE_TIMEOUT;

	if (slow || idle) {
		(void)err_set(&e, ETIMEDOUT, NULL, "connect to %s: timed out", c->addr);
		hconn_kill(k, &e);
	} else if (k->ops && k->ops->tick) {
		k->ops->tick(k, now);
	}
	return k->dead;
}

static void client_tick(struct loop_timer *t)
{
	struct httpc *c = t->arg;
	int64_t now = loop_now(c->cfg.loop);
	bool again = true;

	while (again && !c->dead) { /* a kill calls back, which may change the list */
		again = false;
		list_each (it, &c->conns) {
			again = conn_tick(c, list_entry(it, struct hconn, link), now);
			if (again)
				break;
		}
	}
	if (!c->dead && !list_empty(&c->conns))
		(void)loop_timer_set(c->cfg.loop, &c->timer, TICK);
}

int httpc_new(const struct httpc_config *cfg, struct httpc **ret, struct err *e)
{
	struct httpc *c = calloc(1, sizeof(*c));

	if (!c)
		return err_set(e, ENOMEM, NULL, "out of memory");
	c->cfg = *cfg;
	c->cfg.tls = tls_ctx_ref(cfg->tls);
	c->addr = strdup(cfg->addr);
	c->host = strdup(cfg->host ? cfg->host : "localhost");
	c->alpn = cfg->alpn ? strdup(cfg->alpn) : NULL;
	if (!c->cfg.max_h1_conns)
		c->cfg.max_h1_conns = DEFAULT_H1_CONNS;
	list_init(&c->waiting);
	list_init(&c->conns);
	list_init(&c->grave_reqs);
	list_init(&c->grave_conns);
	c->task = (struct loop_task){.fn = client_run, .arg = c};
	c->timer = (struct loop_timer){.fn = client_tick, .arg = c};
	if (!c->addr || !c->host || (cfg->alpn && !c->alpn)) {
		destroy(c);
		return err_set(e, ENOMEM, NULL, "out of memory");
	}
	*ret = c;
	return 0;
}

void httpc_free(struct httpc *c)
{
	if (!c || c->dead)
		return;
	c->dead = true;
	loop_timer_cancel(&c->timer);
	while (!list_empty(&c->waiting))
		bury(list_entry(c->waiting.next, struct httpc_req, link));
	while (!list_empty(&c->conns)) {
		struct hconn *k = list_entry(c->conns.next, struct hconn, link);
		while (!list_empty(&k->reqs))
			bury(list_entry(k->reqs.next, struct httpc_req, link));
		hconn_kill(k, NULL);
	}
	httpc_post(c);
}

static void timed_out(struct loop_timer *t)
{
	struct httpc_req *r = t->arg;
	struct err e = {0};

	(void)err_set(&e, ETIMEDOUT, "Timeout", "%.*s %.*s: no answer in time", STR_FMT(r->method),
		(int)(r->path.n > 100 ? 100 : r->path.n), r->path.p);
	if (r->k && r->k->ops)
		r->k->ops->cancel(r->k, r);
	httpc_done(r, &e, NULL, 0);
}

static struct str arena_str(struct arena *a, struct str s, bool *ok)
{
	char *p = arena_strdup(a, s);

	*ok &= p != NULL;
	return (struct str){p, p ? s.n : 0};
}

static bool copy_call(struct httpc_req *r, const struct httpc_call *call)
{
	bool ok = true;

	r->method = arena_str(&r->arena, str_of(call->method), &ok);
	r->path = arena_str(&r->arena, call->path, &ok);
	r->headers = arena_alloc(&r->arena, (call->n_headers + 1) * sizeof(*r->headers));
	for (size_t i = 0; r->headers && i < call->n_headers; i++) {
		r->headers[i].name = arena_str(&r->arena, call->headers[i].name, &ok);
		r->headers[i].value = arena_str(&r->arena, call->headers[i].value, &ok);
	}
	r->n_headers = call->n_headers;
	buf_add_str(&r->body, call->body);
	return ok && r->headers && r->body.err == 0;
}

struct httpc_req *httpc_send(struct httpc *c, const struct httpc_call *call)
{
	struct httpc_req *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	list_init(&r->link);
	if (!copy_call(r, call)) {
		req_free(r);
		return NULL;
	}
	r->c = c;
	r->ev = call->ev;
	r->arg = call->arg;
	r->watch = call->timeout_ns == 0;
	r->body_more = call->body_more;
	r->timer = (struct loop_timer){.fn = timed_out, .arg = r};
	if (call->timeout_ns > 0)
		(void)loop_timer_set(c->cfg.loop, &r->timer, call->timeout_ns);
	list_push(&c->waiting, &r->link);
	httpc_post(c);
	return r;
}

void *httpc_arg(const struct httpc_req *r)
{
	return r->arg;
}

void httpc_cancel(struct httpc_req *r)
{
	if (r->gone)
		return;
	if (r->k && r->k->ops && !r->k->dead)
		r->k->ops->cancel(r->k, r);
	bury(r);
}

void httpc_write(struct httpc_req *r, const void *p, size_t n, bool last)
{
	if (r->gone || !r->body_more)
		return;
	buf_add(&r->body, p, n);
	r->body_more = !last;
	if (r->k)
		hconn_dirty(r->k);
}

void httpc_pause(struct httpc_req *r, bool paused)
{
	if (r->gone || r->paused == paused)
		return;
	r->paused = paused;
	if (r->k && r->k->ops && !r->k->dead)
		r->k->ops->pause(r->k, r);
}

/* SPDX-License-Identifier: Apache-2.0
 * HTTP server, HTTP/2 connections over nghttp2 (RFC 9113). Responses are deferred data providers:
 * a stream without bytes to send sleeps until its exchange writes. */
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include "base/httpd_int.h"

#define MAX_STREAMS   500
#define STREAM_WINDOW (1u << 20)
#define CONN_WINDOW   (8u << 20)
#define OUT_HIGH      (128u << 10) /* frames are made only while less than this is queued */
#define BODIES_LIMIT  (64u << 20)  /* request bodies of one connection, together */
#define MAX_FIELDS    256

struct h2x {
	struct http_exchange x;
	struct list link;  /* h2.streams */
	struct list drain; /* h2.drained */
	struct conn *c;
	int32_t id;
	struct http_header *fields;
	size_t n_fields, cap_fields, header_bytes;
	struct buf body, out;
	size_t out_off;
	int refused; /* status answered instead of calling the handler */
	bool complete, busy, started, ended, silent, closed, deferred;
	struct http_header *trailers;
	size_t n_trailers;
};

struct h2 {
	nghttp2_session *ng;
	struct list streams, drained;
	unsigned n_streams;
	size_t body_bytes;
	bool stopping;
};

static const struct http_exchange_ops h2_exchange_ops;

static struct h2x *of(struct http_exchange *x)
{
	return CONTAINER_OF(x, struct h2x, x);
}

static void h2x_unlink(struct h2x *x)
{
	struct h2 *h = x->c->proto;

	list_del(&x->drain);
	if (list_empty(&x->link))
		return;
	list_del(&x->link);
	h->n_streams--;
	h->body_bytes -= x->body.len;
	x->c->since = loop_now(x->c->w->loop);
}

static void h2x_free(struct h2x *x)
{
	struct conn *c = x->c;

	if (c->proto)
		h2x_unlink(x);
	buf_free(&x->body);
	buf_free(&x->out);
	arena_free(&x->x.arena);
	free(x);
	conn_unref(c);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct conn *c = arg;
	struct h2 *h = c->proto;

	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct h2x *x = calloc(1, sizeof(*x));
	if (!x)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	x->c = c;
	c->refs++;
	x->id = f->hd.stream_id;
	x->x.ops = &h2_exchange_ops;
	x->x.loop = c->w->loop;
	x->x.peer = c->peer;
	x->x.received_ns = loop_now(c->w->loop);
	list_init(&x->drain);
	list_push(&h->streams, &x->link);
	h->n_streams++;
	nghttp2_session_set_stream_user_data(ng, x->id, x);
	return 0;
}

static struct str arena_str(struct arena *a, const uint8_t *p, size_t n)
{
	char *copy = arena_alloc(a, n + 1);

	if (copy)
		memcpy(copy, p, n);
	return (struct str){copy, copy ? n : 0};
}

static int add_field(struct h2x *x, struct str name, struct str value)
{
	if (x->n_fields == x->cap_fields) {
		size_t cap = x->cap_fields ? x->cap_fields * 2 : 16;
		struct http_header *h = arena_alloc(&x->x.arena, cap * sizeof(*h));
		if (!h)
			return -ENOMEM;
		if (x->n_fields)
			memcpy(h, x->fields, x->n_fields * sizeof(*h));
		x->fields = h;
		x->cap_fields = cap;
	}
	x->fields[x->n_fields++] = (struct http_header){name, value};
	return 0;
}

static void pseudo(struct h2x *x, struct str name, struct str value)
{
	if (str_eqz(name, ":method")) {
		x->x.method = value;
		x->silent = str_eqz(value, "HEAD");
	} else if (str_eqz(name, ":path")) {
		x->x.query = value;
		x->x.path = str_cut(&x->x.query, '?');
	} else if (str_eqz(name, ":authority")) {
		(void)add_field(x, STR("host"), value);
	}
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *np, size_t nn,
	const uint8_t *vp, size_t vn, uint8_t flags, void *arg)
{
	struct conn *c = arg;
	struct h2x *x = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	(void)flags;
	if (!x || f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0; /* trailers of a request are dropped */
	x->header_bytes += nn + vn + 32;
	if (x->header_bytes > c->w->d->cfg.max_header || x->n_fields >= MAX_FIELDS) {
		x->refused = 431;
		return 0;
	}
	struct str name = arena_str(&x->x.arena, np, nn), value = arena_str(&x->x.arena, vp, vn);
	if (!name.p || !value.p)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (nn > 0 && np[0] == ':')
		pseudo(x, name, value);
	else if (add_field(x, name, value) != 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return 0;
}

/* What is still arriving is thrown away, not reset: clients in the midst of sending take a reset
 * for a failure and lose the answer. */
static void refuse(struct h2x *x, int status)
{
	struct h2 *h = x->c->proto;
	AUTO_BUF struct buf body = {0};
	const char *type = refusal_body(x->c, status, &body);

	x->busy = true;
	x->refused = status;
	h->body_bytes -= x->body.len;
	buf_free(&x->body);
	http_reply(&x->x, status, type, buf_str(&body), NULL, 0);
}

static void dispatch(struct h2x *x)
{
	struct conn *c = x->c;

	if (x->busy)
		return;
	if (x->refused || x->x.path.n == 0 || (x->x.path.p[0] != '/' && !str_eqz(x->x.path, "*"))) {
		refuse(x, x->refused ? x->refused : 400);
		return;
	}
	x->busy = true;
	x->x.headers = x->fields;
	x->x.n_headers = x->n_fields;
	x->x.body = buf_str(&x->body);
	c->w->d->cfg.handler(c->w->d->cfg.srv, &x->x);
}

static void maybe_continue(nghttp2_session *ng, struct h2x *x)
{
	static const nghttp2_nv nv = {(uint8_t *)":status", (uint8_t *)"100", 7, 3, 0};

	for (size_t i = 0; i < x->n_fields; i++) {
		if (str_eqz(x->fields[i].name, "expect") &&
			str_eqz(x->fields[i].value, "100-continue"))
			(void)nghttp2_submit_headers(
				ng, NGHTTP2_FLAG_NONE, x->id, NULL, &nv, 1, NULL);
	}
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct h2x *x;

	(void)arg;
	if (f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA)
		return 0;
	x = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	if (!x)
		return 0;
	if (f->hd.flags & NGHTTP2_FLAG_END_STREAM) {
		x->complete = true;
		dispatch(x);
	} else if (f->hd.type == NGHTTP2_HEADERS && x->refused) {
		dispatch(x);
	} else if (f->hd.type == NGHTTP2_HEADERS && f->headers.cat == NGHTTP2_HCAT_REQUEST) {
		maybe_continue(ng, x);
	}
	return 0;
}

static int on_chunk(
	nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct conn *c = arg;
	struct h2 *h = c->proto;
	struct h2x *x = nghttp2_session_get_stream_user_data(ng, id);

	(void)flags;
	if (!x || x->busy)
		return 0;
	if (x->body.len + n > c->w->d->cfg.max_body) {
		refuse(x, 413);
		return 0;
	}
	if (h->body_bytes + n > BODIES_LIMIT && h->body_bytes > x->body.len)
		return nghttp2_submit_rst_stream(
			ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_ENHANCE_YOUR_CALM);
	buf_add(&x->body, p, n);
	h->body_bytes += n;
	return x->body.err ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct h2x *x = nghttp2_session_get_stream_user_data(ng, id);

	(void)arg;
	(void)code;
	if (!x)
		return 0;
	nghttp2_session_set_stream_user_data(ng, id, NULL);
	x->closed = true;
	if (!x->busy || x->ended || exchange_lost(&x->x))
		h2x_free(x);
	else
		h2x_unlink(x); /* its handler ends it later */
	return 0;
}

/* Flushes until the stream holds enough; the rest is made when that has left. */
static void h2_flush(struct conn *c)
{
	struct h2 *h = c->proto;
	const uint8_t *p;

	while (!c->dead) {
		ssize_t n = 0;
		while (stream_pending(c->s) < OUT_HIGH &&
			(n = nghttp2_session_mem_send(h->ng, &p)) > 0)
			stream_write(c->s, p, (size_t)n);
		if (n < 0) {
			conn_kill(c);
			return;
		}
		if (list_empty(&h->drained))
			break;
		struct h2x *x = list_entry(h->drained.next, struct h2x, drain);
		list_del(&x->drain);
		if (!x->ended && x->x.on_drain)
			x->x.on_drain(&x->x);
	}
	if (c->dead)
		return;
	stream_flush(c->s);
	if (c->s && stream_pending(c->s) == 0 && !nghttp2_session_want_read(h->ng) &&
		!nghttp2_session_want_write(h->ng))
		conn_kill(c);
}

static void h2_data(struct conn *c, struct buf *in)
{
	struct h2 *h = c->proto;
	ssize_t n = nghttp2_session_mem_recv(h->ng, (const uint8_t *)in->p, in->len);

	if (n < 0) {
		conn_kill(c);
		return;
	}
	buf_consume(in, (size_t)n);
	conn_dirty(c);
}

static void h2_eof(struct conn *c)
{
	conn_kill(c);
}

static void h2_drain(struct conn *c)
{
	conn_dirty(c);
}

static void goaway(struct conn *c)
{
	struct h2 *h = c->proto;

	if (!h->stopping) {
		h->stopping = true;
		(void)nghttp2_session_terminate_session(h->ng, NGHTTP2_NO_ERROR);
		conn_dirty(c);
	}
}

static void h2_tick(struct conn *c, int64_t now)
{
	struct h2 *h = c->proto;
	const struct httpd_config *cfg = &c->w->d->cfg;

	list_each (it, &h->streams) {
		struct h2x *x = list_entry(it, struct h2x, link);
		if ((!x->busy || (x->refused && !x->complete)) &&
			now - x->x.received_ns > cfg->header_timeout_ns) {
			(void)nghttp2_submit_rst_stream(h->ng, NGHTTP2_FLAG_NONE, x->id,
				x->busy ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
			conn_dirty(c);
		}
	}
	if (h->n_streams == 0 && now - c->since > cfg->idle_timeout_ns)
		goaway(c);
	if (h->n_streams == 0 && h->stopping && now - c->since > cfg->idle_timeout_ns * 2)
		conn_kill(c);
}

/* Exchanges under way may finish; streams without an end are cut. */
static void h2_stop(struct conn *c)
{
	struct h2 *h = c->proto;
	bool waiting = false;

	list_each (it, &h->streams) {
		struct h2x *x = list_entry(it, struct h2x, link);
		if (x->started && !x->ended)
			(void)nghttp2_submit_rst_stream(
				h->ng, NGHTTP2_FLAG_NONE, x->id, NGHTTP2_CANCEL);
		else
			waiting = true;
	}
	if (!waiting) {
		goaway(c);
		return;
	}
	h->stopping = true;
	(void)nghttp2_submit_goaway(h->ng, NGHTTP2_FLAG_NONE,
		nghttp2_session_get_last_proc_stream_id(h->ng), NGHTTP2_NO_ERROR, NULL, 0);
	conn_dirty(c);
}

static void h2_detach(struct conn *c)
{
	struct h2 *h = c->proto;

	nghttp2_session_del(h->ng);
	h->ng = NULL;
	while (!list_empty(&h->streams)) {
		struct h2x *x = list_entry(h->streams.next, struct h2x, link);
		x->closed = true;
		h2x_unlink(x);
		if (!x->busy || x->ended || exchange_lost(&x->x))
			h2x_free(x);
	}
	c->proto = NULL;
	free(h);
}

static const struct conn_ops h2_ops = {
	.data = h2_data,
	.eof = h2_eof,
	.drain = h2_drain,
	.flush = h2_flush,
	.tick = h2_tick,
	.stop = h2_stop,
	.detach = h2_detach,
};

static int make_session(struct conn *c, nghttp2_session **ret)
{
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;
	int r;

	if (nghttp2_session_callbacks_new(&cb) != 0)
		return -ENOMEM;
	if (nghttp2_option_new(&opt) != 0) {
		nghttp2_session_callbacks_del(cb);
		return -ENOMEM;
	}
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_option_set_no_closed_streams(opt, 1);
	r = nghttp2_session_server_new2(ret, cb, c, opt);
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	return r == 0 ? 0 : -ENOMEM;
}

void conn_start_h2(struct conn *c)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)c->w->d->cfg.max_header},
	};
	struct h2 *h = calloc(1, sizeof(*h));

	if (!h || make_session(c, &h->ng) != 0) {
		free(h);
		conn_kill(c);
		return;
	}
	list_init(&h->streams);
	list_init(&h->drained);
	c->proto = h;
	c->ops = &h2_ops;
	c->since = loop_now(c->w->loop);
	(void)nghttp2_submit_settings(
		h->ng, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
	(void)nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, CONN_WINDOW);
	conn_dirty(c);
}

static nghttp2_nv nv_of(const struct http_header *h)
{
	return (nghttp2_nv){(uint8_t *)h->name.p, (uint8_t *)h->value.p, h->name.n, h->value.n,
		NGHTTP2_NV_FLAG_NONE};
}

static ssize_t read_out(nghttp2_session *ng, int32_t id, uint8_t *dst, size_t cap, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct h2x *x = source->ptr;
	struct h2 *h = ((struct conn *)arg)->proto;
	size_t left = x->out.len - x->out_off, n = left < cap ? left : cap;

	if (n == 0 && !x->ended) {
		x->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n > 0)
		memcpy(dst, x->out.p + x->out_off, n);
	x->out_off += n;
	if (n < left)
		return (ssize_t)n;
	x->out_off = 0;
	buf_clear(&x->out);
	if (x->out.cap > OUT_HIGH)
		buf_free(&x->out);
	if (!x->ended) {
		if (list_empty(&x->drain))
			list_push(&h->drained, &x->drain);
		return (ssize_t)n;
	}
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (x->n_trailers) {
		nghttp2_nv nv[8];
		size_t k = 0;
		for (; k < x->n_trailers && k < 8; k++)
			nv[k] = nv_of(&x->trailers[k]);
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		(void)nghttp2_submit_trailer(ng, id, nv, k);
	}
	return (ssize_t)n;
}

/* Fields of HTTP/1.1's connection management are errors in HTTP/2 (RFC 9113 8.2.2). */
static bool may_send(const struct http_header *h)
{
	return header_clean(h) && !str_eqz(h->name, "connection") &&
	       !str_eqz(h->name, "transfer-encoding") && !str_eqz(h->name, "keep-alive") &&
	       !str_eqz(h->name, "upgrade");
}

#define MAX_RESPONSE_FIELDS 64

static bool alive(const struct h2x *x)
{
	return !x->closed && !x->c->dead && x->c->proto;
}

static void h2_start(struct http_exchange *e, int status, const struct http_header *h, size_t n)
{
	struct h2x *x = of(e);
	nghttp2_nv nv[MAX_RESPONSE_FIELDS + 2];
	char code[16];
	size_t k = 0;
	bool dated = false;

	if (x->started)
		return;
	x->started = true;
	if (!alive(x))
		return;
	(void)snprintf(code, sizeof(code), "%d", status);
	struct http_header st = {STR(":status"), str_of(code)};
	struct http_header date = {STR("date"), str_of(worker_date(x->c->w))};
	nv[k++] = nv_of(&st);
	for (size_t i = 0; i < n && k <= MAX_RESPONSE_FIELDS; i++) {
		if (!may_send(&h[i]))
			continue;
		dated |= str_eqz(h[i].name, "date");
		nv[k++] = nv_of(&h[i]);
	}
	if (!dated)
		nv[k++] = nv_of(&date);
	nghttp2_data_provider dp = {.source = {.ptr = x}, .read_callback = read_out};
	bool silent = x->silent || status == 204 || status == 304;
	if (nghttp2_submit_response(
		    ((struct h2 *)x->c->proto)->ng, x->id, nv, k, silent ? NULL : &dp) != 0)
		conn_kill(x->c);
	x->silent = silent;
	conn_dirty(x->c);
}

static void wake(struct h2x *x)
{
	if (x->deferred) {
		x->deferred = false;
		(void)nghttp2_session_resume_data(((struct h2 *)x->c->proto)->ng, x->id);
	}
	conn_dirty(x->c);
}

static void h2_write(struct http_exchange *e, const void *p, size_t n)
{
	struct h2x *x = of(e);

	if (!alive(x) || x->silent || !x->started || n == 0)
		return;
	list_del(&x->drain);
	buf_add(&x->out, p, n);
	if (x->out.err != 0)
		(void)nghttp2_submit_rst_stream(((struct h2 *)x->c->proto)->ng, NGHTTP2_FLAG_NONE,
			x->id, NGHTTP2_INTERNAL_ERROR);
	wake(x);
}

static void h2_end(struct http_exchange *e)
{
	struct h2x *x = of(e);
	static const struct http_header none = {STR("content-length"), STR("0")};

	if (!x->started)
		h2_start(e, 500, &none, 1);
	x->ended = true;
	if (!alive(x)) {
		if (x->closed)
			h2x_free(x);
		return; /* dead but not reaped: the reaper frees it */
	}
	list_del(&x->drain);
	wake(x);
}

static void h2_end_trailers(struct http_exchange *e, const struct http_header *h, size_t n)
{
	struct h2x *x = of(e);
	struct http_header *copy = arena_alloc(&e->arena, (n + 1) * sizeof(*copy));

	for (size_t i = 0; copy && i < n; i++) {
		if (!header_clean(&h[i]))
			continue;
		copy[x->n_trailers].name =
			arena_str(&e->arena, (const uint8_t *)h[i].name.p, h[i].name.n);
		copy[x->n_trailers++].value =
			arena_str(&e->arena, (const uint8_t *)h[i].value.p, h[i].value.n);
	}
	x->trailers = copy;
	h2_end(e);
}

static void h2_abort(struct http_exchange *e)
{
	struct h2x *x = of(e);

	x->ended = true;
	if (!alive(x)) {
		if (x->closed)
			h2x_free(x);
		return;
	}
	(void)nghttp2_submit_rst_stream(
		((struct h2 *)x->c->proto)->ng, NGHTTP2_FLAG_NONE, x->id, NGHTTP2_INTERNAL_ERROR);
	conn_dirty(x->c);
}

static size_t h2_pending(struct http_exchange *e)
{
	return of(e)->out.len - of(e)->out_off;
}

static int h2_hijack(struct http_exchange *e, struct stream **ret)
{
	(void)e;
	(void)ret;
	return -ENOTSUP;
}

static const struct http_exchange_ops h2_exchange_ops = {
	.start = h2_start,
	.write = h2_write,
	.end = h2_end,
	.abort = h2_abort,
	.pending = h2_pending,
	.hijack = h2_hijack,
	.end_trailers = h2_end_trailers,
};

/* SPDX-License-Identifier: Apache-2.0
 * HTTP client, HTTP/2 connections over nghttp2: many requests at once. */
#include <errno.h>
#include <nghttp2/nghttp2.h>
#include "base/httpc_int.h"

#define OUT_HIGH     (256u << 10)
#define MAX_FIELDS   256
#define MAX_HEAD     (256u << 10)
#define PING_AFTER   (30 * NS_PER_SEC) /* silence on a connection with requests under way */
#define PING_TIMEOUT (15 * NS_PER_SEC)

struct h2c {
	nghttp2_session *ng;
};

static nghttp2_session *session(struct hconn *k)
{
	return ((struct h2c *)k->proto)->ng;
}

static nghttp2_nv nv_of(struct str name, struct str value)
{
	return (nghttp2_nv){
		(uint8_t *)name.p, (uint8_t *)value.p, name.n, value.n, NGHTTP2_NV_FLAG_NONE};
}

static bool may_send(const struct http_header *h)
{
	return h->name.n > 0 && !str_eqz(h->name, "host") && !str_eqz(h->name, "connection") &&
	       !str_eqz(h->name, "upgrade") && !str_eqz(h->name, "transfer-encoding") &&
	       !str_eqz(h->name, "content-length") && !str_eqz(h->name, "keep-alive");
}

static ssize_t read_body(nghttp2_session *ng, int32_t id, uint8_t *dst, size_t cap, uint32_t *flags,
	nghttp2_data_source *source, void *arg)
{
	struct httpc_req *r = nghttp2_session_get_stream_user_data(ng, id);

	(void)source;
	(void)arg;
	if (!r)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	size_t left = r->body.len - r->body_off, n = left < cap ? left : cap;
	if (n == 0 && r->body_more) {
		r->deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n > 0)
		memcpy(dst, r->body.p + r->body_off, n);
	r->body_off += n;
	if (n == left && !r->body_more)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

#define MAX_SENT 64

static void h2_submit(struct hconn *k, struct httpc_req *r)
{
	nghttp2_nv nv[MAX_SENT + 5];
	nghttp2_data_provider dp = {.read_callback = read_body};
	char length[24];
	size_t n = 0;
	struct err e = {0};

	nv[n++] = nv_of(STR(":method"), r->method);
	nv[n++] = nv_of(STR(":scheme"), k->c->cfg.tls ? STR("https") : STR("http"));
	nv[n++] = nv_of(STR(":authority"), str_of(k->c->host));
	nv[n++] = nv_of(STR(":path"), r->path);
	for (size_t i = 0; i < r->n_headers && n < MAX_SENT + 4; i++) {
		if (may_send(&r->headers[i]))
			nv[n++] = nv_of(r->headers[i].name, r->headers[i].value);
	}
	if (r->body.len > 0 && !r->body_more) {
		(void)snprintf(length, sizeof(length), "%zu", r->body.len);
		nv[n++] = nv_of(STR("content-length"), str_of(length));
	}
	bool bodied = r->body.len > 0 || r->body_more;
	int32_t id = nghttp2_submit_request(session(k), NULL, nv, n, bodied ? &dp : NULL, r);
	r->id = id > 0 ? id : 0;
	if (id < 0) {
		k->closing = true; /* out of stream ids, or of memory */
		(void)err_set(&e, EPROTO, NULL, "http2: %s", nghttp2_strerror(id));
		if (!httpc_retry(r, true))
			httpc_done(r, &e, NULL, 0);
		return;
	}
	hconn_dirty(k);
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *f, const uint8_t *np, size_t nn,
	const uint8_t *vp, size_t vn, uint8_t flags, void *arg)
{
	struct httpc_req *r = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);

	(void)flags;
	(void)arg;
	if (!r || f->hd.type != NGHTTP2_HEADERS)
		return 0;
	r->answered = true;
	if (nn == 7 && memcmp(np, ":status", 7) == 0) {
		r->status = vn == 3 ? (vp[0] - '0') * 100 + (vp[1] - '0') * 10 + vp[2] - '0' : 0;
		return 0;
	}
	r->field_bytes += nn + vn + 32;
	if (r->field_bytes > MAX_HEAD || r->n_fields >= MAX_FIELDS)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (r->n_fields == r->cap_fields) {
		size_t cap = r->cap_fields ? r->cap_fields * 2 : 16;
		struct http_header *h = arena_alloc(&r->arena, cap * sizeof(*h));
		if (!h)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
		if (r->n_fields)
			memcpy(h, r->fields, r->n_fields * sizeof(*h));
		r->fields = h;
		r->cap_fields = cap;
	}
	char *copy = arena_alloc(&r->arena, nn + vn + 2);
	if (!copy)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	memcpy(copy, np, nn);
	memcpy(copy + nn + 1, vp, vn);
	r->fields[r->n_fields++] = (struct http_header){{copy, nn}, {copy + nn + 1, vn}};
	return 0;
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *f, void *arg)
{
	struct hconn *k = arg;
	struct httpc_req *r;

	if (f->hd.type == NGHTTP2_GOAWAY) {
		k->closing = true; /* streams above its last id are closed as refused */
		httpc_post(k->c);
		return 0;
	}
	if (f->hd.type != NGHTTP2_HEADERS)
		return 0;
	r = nghttp2_session_get_stream_user_data(ng, f->hd.stream_id);
	if (!r || r->gone || r->got_head)
		return 0; /* trailers are told with the end */
	if (r->status >= 200) {
		r->got_head = true;
		if (r->ev->on_headers)
			r->ev->on_headers(r, r->status, r->fields, r->n_fields);
	}
	if (r->gone)
		return 0;
	/* What follows an interim head is the head, what follows the head are trailers; in a gRPC
	 * trailers-only response the head is both. */
	if (!(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		r->n_fields = r->cap_fields = 0;
	return 0;
}

static int on_chunk(
	nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct httpc_req *r = nghttp2_session_get_stream_user_data(ng, id);

	(void)flags;
	(void)arg;
	(void)nghttp2_session_consume_connection(ng, n);
	if (r && r->paused)
		r->unconsumed += n;
	else
		(void)nghttp2_session_consume_stream(ng, id, n);
	if (r && !r->gone && r->ev->on_data)
		r->ev->on_data(r, p, n);
	return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *arg)
{
	struct httpc_req *r = nghttp2_session_get_stream_user_data(ng, id);
	struct err e = {0};

	(void)arg;
	if (!r || r->gone)
		return 0;
	nghttp2_session_set_stream_user_data(ng, id, NULL);
	if (code == NGHTTP2_REFUSED_STREAM && httpc_retry(r, true))
		return 0;
	/* RST_STREAM(NO_ERROR) after a whole response: the server did not want the rest of the
	 * body. */
	if (code == NGHTTP2_NO_ERROR && r->got_head) {
		httpc_done(r, NULL, r->fields, r->n_fields);
		return 0;
	}
	(void)err_set(
		&e, ECONNRESET, NULL, "http2: stream closed: %s", nghttp2_http2_strerror(code));
	httpc_done(r, &e, NULL, 0);
	return 0;
}

static void h2_flush(struct hconn *k)
{
	const uint8_t *p;
	ssize_t n = 0;
	struct err e = {0};

	if (k->dead)
		return;
	list_each (it, &k->reqs) {
		struct httpc_req *r = list_entry(it, struct httpc_req, link);
		if (r->deferred && (r->body_off < r->body.len || !r->body_more)) {
			r->deferred = false;
			(void)nghttp2_session_resume_data(session(k), r->id);
		}
		if (r->deferred && r->body_off > 0) {
			buf_consume(&r->body, r->body_off);
			r->body_off = 0;
		}
	}
	while (!k->dead && stream_pending(k->s) < OUT_HIGH &&
		(n = nghttp2_session_mem_send(session(k), &p)) > 0)
		stream_write(k->s, p, (size_t)n);
	if (k->dead)
		return;
	if (n < 0 ||
		(!nghttp2_session_want_read(session(k)) &&
			!nghttp2_session_want_write(session(k))) ||
		(k->closing && list_empty(&k->reqs))) {
		(void)err_set(&e, ECONNRESET, NULL, "http2: the session ended");
		hconn_kill(k, &e);
		return;
	}
	stream_flush(k->s);
}

static void h2_data(struct hconn *k, struct buf *in)
{
	struct err e = {0};
	ssize_t n = nghttp2_session_mem_recv(session(k), (const uint8_t *)in->p, in->len);

	if (k->dead)
		return;
	if (n < 0) {
		(void)err_set(&e, EPROTO, NULL, "http2: %s", nghttp2_strerror((int)n));
		hconn_kill(k, &e);
		return;
	}
	buf_consume(in, (size_t)n);
	hconn_dirty(k);
}

static void h2_eof(struct hconn *k)
{
	k->closing = true;
}

static void h2_cancel(struct hconn *k, struct httpc_req *r)
{
	if (k->dead || r->id <= 0)
		return;
	nghttp2_session_set_stream_user_data(session(k), r->id, NULL);
	(void)nghttp2_submit_rst_stream(session(k), NGHTTP2_FLAG_NONE, r->id, NGHTTP2_CANCEL);
	hconn_dirty(k);
}

static void h2_pause(struct hconn *k, struct httpc_req *r)
{
	if (r->paused || r->unconsumed == 0)
		return;
	(void)nghttp2_session_consume_stream(session(k), r->id, r->unconsumed);
	r->unconsumed = 0;
	hconn_dirty(k);
}

/* A peer that vanished without a word is found by asking. */
static void h2_tick(struct hconn *k, int64_t now)
{
	struct err e = {0};

	if (k->pinged && now - k->pinged > PING_TIMEOUT) {
		(void)err_set(&e, ETIMEDOUT, NULL, "http2: the server does not answer pings");
		hconn_kill(k, &e);
	} else if (!k->pinged && !list_empty(&k->reqs) && now - k->heard > PING_AFTER) {
		k->pinged = now;
		(void)nghttp2_submit_ping(session(k), NGHTTP2_FLAG_NONE, NULL);
		hconn_dirty(k);
	}
}

static void h2_free(struct hconn *k)
{
	struct h2c *h = k->proto;

	if (h)
		nghttp2_session_del(h->ng);
	free(h);
}

static const struct hconn_ops h2_ops = {
	.submit = h2_submit,
	.data = h2_data,
	.eof = h2_eof,
	.flush = h2_flush,
	.cancel = h2_cancel,
	.pause = h2_pause,
	.tick = h2_tick,
	.free = h2_free,
	.h2 = true,
};

static int make_session(struct hconn *k, nghttp2_session **ret)
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
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_chunk);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
	nghttp2_option_set_no_auto_window_update(opt, 1);
	r = nghttp2_session_client_new2(ret, cb, k, opt);
	nghttp2_option_del(opt);
	nghttp2_session_callbacks_del(cb);
	return r == 0 ? 0 : -ENOMEM;
}

void hconn_start_h2(struct hconn *k)
{
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTPC_WINDOW},
	};
	struct h2c *h = calloc(1, sizeof(*h));
	struct err e = {0};

	if (!h || make_session(k, &h->ng) != 0) {
		free(h);
		(void)err_set(&e, ENOMEM, NULL, "out of memory");
		hconn_kill(k, &e);
		return;
	}
	k->proto = h;
	k->ops = &h2_ops;
	(void)nghttp2_submit_settings(
		h->ng, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
	(void)nghttp2_session_set_local_window_size(h->ng, NGHTTP2_FLAG_NONE, 0, HTTPC_WINDOW);
	hconn_dirty(k);
}

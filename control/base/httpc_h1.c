/* SPDX-License-Identifier: Apache-2.0
 * HTTP client, HTTP/1.1 connections: one request at a time; and the Upgrade handshake. */
#include <errno.h>
#include "base/h1.h"
#include "base/httpc_int.h"

#define MAX_HEAD	 (256u << 10)
#define MAX_UPGRADE_BODY (64u << 10)

struct h1c {
	size_t scan;
	bool in_body, keep_alive;
	struct h1_body body;
};

void h1_write_request(struct buf *b, struct str method, struct str path, const char *host,
	const struct http_header *h, size_t n, size_t body_length)
{
	bool hosted = false, bodied = body_length > 0 || str_eqz(method, "POST") ||
				      str_eqz(method, "PUT") || str_eqz(method, "PATCH");

	buf_add_str(b, method);
	buf_addc(b, ' ');
	buf_add_str(b, path);
	buf_adds(b, " HTTP/1.1\r\n");
	for (size_t i = 0; i < n; i++) {
		if (memchr(h[i].value.p ? h[i].value.p : "", '\n', h[i].value.n) ||
			str_eqz(h[i].name, "content-length"))
			continue;
		hosted |= str_eqz(h[i].name, "host");
		buf_add_str(b, h[i].name);
		buf_add(b, ": ", 2);
		buf_add_str(b, h[i].value);
		buf_add(b, "\r\n", 2);
	}
	if (!hosted)
		buf_addf(b, "host: %s\r\n", host);
	if (bodied)
		buf_addf(b, "content-length: %zu\r\n", body_length);
	buf_add(b, "\r\n", 2);
}

static struct httpc_req *current(struct hconn *k)
{
	return list_empty(&k->reqs) ? NULL : list_entry(k->reqs.next, struct httpc_req, link);
}

static void h1_submit(struct hconn *k, struct httpc_req *r)
{
	struct h1c *h = k->proto;
	AUTO_BUF struct buf b = {0};
	struct err e = {0};

	h->scan = 0;
	h->in_body = false;
	if (r->body_more) {
		(void)err_set(&e, ENOTSUP, NULL, "streaming a request body needs HTTP/2");
		httpc_done(r, &e, NULL, 0);
		return;
	}
	h1_write_request(&b, r->method, r->path, k->c->host, r->headers, r->n_headers, r->body.len);
	stream_write(k->s, b.p, b.len);
	stream_write(k->s, r->body.p, r->body.len);
	stream_pause(k->s, r->paused);
}

static void protocol_error(struct hconn *k, const char *what)
{
	struct err e = {0};

	(void)err_set(&e, EPROTO, NULL, "%s: %s", k->c->addr, what);
	hconn_kill(k, &e);
}

static void complete(struct hconn *k, struct httpc_req *r)
{
	struct h1c *h = k->proto;

	h->scan = 0;
	h->in_body = false;
	if (h->keep_alive && !k->closing)
		stream_pause(k->s, false);
	else
		k->closing = true;
	httpc_done(r, NULL, NULL, 0);
	if (k->closing && !k->dead)
		hconn_kill(k, NULL);
}

/* False: more input is needed, or the connection is dead. */
static bool take_head(struct hconn *k, struct httpc_req *r, struct buf *in)
{
	struct h1c *h = k->proto;
	struct h1_head m;
	ssize_t n = h1_head_end(in->p, in->len, &h->scan);

	if (n < 0 || (n == 0 && in->len > MAX_HEAD)) {
		protocol_error(k, "malformed HTTP response");
		return false;
	}
	if (n == 0)
		return false;
	r->answered = true;
	int code = h1_parse_response(
		(struct str){in->p, (size_t)n}, str_eqz(r->method, "HEAD"), &r->arena, &m);
	buf_consume(in, (size_t)n);
	h->scan = 0;
	if (code != 0 || m.status == 101) {
		protocol_error(k, "malformed HTTP response");
		return false;
	}
	if (m.status < 200)
		return true; /* an interim response: the final one follows */
	h->keep_alive = m.keep_alive;
	h->in_body = true;
	h1_body_init(&h->body, &m);
	r->got_head = true;
	if (r->ev->on_headers)
		r->ev->on_headers(r, m.status, m.headers, m.n_headers);
	return true;
}

static bool take_body(struct hconn *k, struct httpc_req *r, struct buf *in)
{
	struct h1c *h = k->proto;
	size_t used = 0;

	while (!h->body.done && used < in->len && !k->dead && !r->gone) {
		struct str rest = {in->p + used, in->len - used}, piece;
		if (h1_body_next(&h->body, &rest, &piece) != 0) {
			protocol_error(k, "malformed chunk in an HTTP response");
			return false;
		}
		used = in->len - rest.n;
		if (piece.n > 0 && r->ev->on_data)
			r->ev->on_data(r, piece.p, piece.n);
	}
	if (k->dead || r->gone)
		return false;
	buf_consume(in, used);
	if (!h->body.done)
		return false;
	complete(k, r);
	return !k->dead;
}

static void h1_data(struct hconn *k, struct buf *in)
{
	struct h1c *h = k->proto;
	struct httpc_req *r;

	while (!k->dead && (r = current(k)) != NULL) {
		bool more = h->in_body ? take_body(k, r, in) : take_head(k, r, in);
		if (!more)
			return;
		if (h->in_body && !h->body.done && in->len == 0)
			return;
	}
	if (!k->dead && in->len > 0)
		hconn_kill(k, NULL); /* bytes that nobody asked for */
}

static void h1_eof(struct hconn *k)
{
	struct h1c *h = k->proto;
	struct httpc_req *r = current(k);

	k->closing = true;
	if (r && h->in_body && h->body.framing == H1_UNTIL_CLOSE)
		httpc_done(r, NULL, NULL, 0);
}

static void h1_cancel(struct hconn *k, struct httpc_req *r)
{
	list_del(&r->link); /* not retried, no callback: it is being buried */
	hconn_kill(k, NULL);
}

static void h1_pause(struct hconn *k, struct httpc_req *r)
{
	stream_pause(k->s, r->paused);
}

static void h1_free(struct hconn *k)
{
	free(k->proto);
}

static const struct hconn_ops h1_ops = {
	.submit = h1_submit,
	.data = h1_data,
	.eof = h1_eof,
	.cancel = h1_cancel,
	.pause = h1_pause,
	.free = h1_free,
};

void hconn_start_h1(struct hconn *k)
{
	k->proto = calloc(1, sizeof(struct h1c));
	if (k->proto)
		k->ops = &h1_ops;
	else
		protocol_error(k, "out of memory");
}

/* --- Upgrade: a connection of its own, given away with the 101. --- */

struct upgrade {
	struct stream *s;
	struct arena arena;
	struct buf out, body;
	struct loop_timer timer;
	httpc_upgraded *done;
	void *arg;
	bool head_only; /* the method is HEAD */
	size_t scan;
	struct h1_head head;
	struct h1_body framing;
	bool in_body;
};

static void upgrade_free(struct upgrade *u)
{
	loop_timer_cancel(&u->timer);
	stream_free(u->s);
	buf_free(&u->out);
	buf_free(&u->body);
	arena_free(&u->arena);
	free(u);
}

static void upgrade_fail(struct upgrade *u, const struct err *e)
{
	u->done(u->arg, e, 0, NULL, 0, (struct str){0}, NULL);
	upgrade_free(u);
}

static void upgrade_refused(struct upgrade *u)
{
	u->done(u->arg, NULL, u->head.status, u->head.headers, u->head.n_headers, buf_str(&u->body),
		NULL);
	upgrade_free(u);
}

static void upgrade_malformed(struct upgrade *u)
{
	struct err e = {0};

	(void)err_set(&e, EPROTO, NULL, "malformed answer to an HTTP upgrade");
	upgrade_fail(u, &e);
}

static void upgrade_done(struct upgrade *u)
{
	static const struct stream_events none = {0};
	struct stream *s = u->s;

	u->s = NULL;
	stream_set_events(s, &none, NULL);
	u->done(u->arg, NULL, 101, u->head.headers, u->head.n_headers, (struct str){0}, s);
	upgrade_free(u);
}

static void upgrade_body(struct upgrade *u, struct buf *in)
{
	struct str rest = buf_str(in), piece;

	while (!u->framing.done && rest.n > 0) {
		if (h1_body_next(&u->framing, &rest, &piece) != 0) {
			upgrade_malformed(u);
			return;
		}
		if (u->body.len + piece.n <= MAX_UPGRADE_BODY)
			buf_add_str(&u->body, piece);
		else
			u->framing.done = true; /* enough to tell what went wrong */
	}
	buf_consume(in, in->len);
	if (u->framing.done)
		upgrade_refused(u);
}

static void upgrade_data(struct stream *s, struct buf *in)
{
	struct upgrade *u = stream_arg(s);

	while (!u->in_body) {
		ssize_t n = h1_head_end(in->p, in->len, &u->scan);
		if (n == 0 && in->len <= MAX_HEAD)
			return;
		struct str head = {in->p, n > 0 ? (size_t)n : 0};
		if (n <= 0 || h1_parse_response(head, u->head_only, &u->arena, &u->head) != 0) {
			upgrade_malformed(u);
			return;
		}
		buf_consume(in, (size_t)n);
		u->scan = 0;
		if (u->head.status == 101) {
			upgrade_done(u);
			return;
		}
		u->in_body = u->head.status >= 200;
		if (in->len == 0 && !u->in_body)
			return;
	}
	if (u->framing.framing == H1_NO_BODY)
		h1_body_init(&u->framing, &u->head);
	if (u->framing.done)
		upgrade_refused(u);
	else
		upgrade_body(u, in);
}

static void upgrade_eof(struct stream *s)
{
	struct upgrade *u = stream_arg(s);

	if (u->in_body)
		upgrade_refused(u);
	else
		upgrade_malformed(u);
}

static void upgrade_error(struct stream *s, const struct err *e)
{
	upgrade_fail(stream_arg(s), e);
}

static void upgrade_connected(struct stream *s)
{
	struct upgrade *u = stream_arg(s);

	stream_write(s, u->out.p, u->out.len);
	buf_free(&u->out);
}

static void upgrade_timeout(struct loop_timer *t)
{
	struct err e = {0};

	(void)err_set(&e, ETIMEDOUT, "Timeout", "no answer to an HTTP upgrade in time");
	upgrade_fail(t->arg, &e);
}

int httpc_upgrade(struct loop *l, const char *addr, struct tls_ctx *tls, const char *host,
	const struct httpc_call *call, httpc_upgraded *done, void *arg, struct err *e)
{
	static const struct stream_events ev = {.on_connect = upgrade_connected,
		.on_data = upgrade_data,
		.on_eof = upgrade_eof,
		.on_error = upgrade_error};
	struct upgrade *u = calloc(1, sizeof(*u));

	if (!u)
		return err_set(e, ENOMEM, NULL, "out of memory");
	u->done = done;
	u->arg = arg;
	u->head_only = strcmp(call->method, "HEAD") == 0;
	h1_write_request(&u->out, str_of(call->method), call->path, host, call->headers,
		call->n_headers, call->body.n);
	buf_add_str(&u->out, call->body);
	int r = u->out.err ? err_set(e, ENOMEM, NULL, "out of memory")
			   : stream_connect(
				     l, addr, tls, host, tls ? "http/1.1" : NULL, &ev, u, &u->s, e);
	if (r != 0) {
		upgrade_free(u);
		return r;
	}
	u->timer = (struct loop_timer){.fn = upgrade_timeout, .arg = u};
	if (call->timeout_ns > 0)
		(void)loop_timer_set(l, &u->timer, call->timeout_ns);
	return 0;
}

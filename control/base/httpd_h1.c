/* SPDX-License-Identifier: Apache-2.0
 * HTTP server, HTTP/1.x connections: one exchange at a time, in order (RFC 9112).
 *
 *   HEAD --head--> BODY --whole body--> BUSY --response ended--> HEAD (kept alive)
 *     `--malformed--> LINGER <--close after response--'          */
#include <errno.h>
#include "base/h1.h"
#include "base/httpd_int.h"

#define BUSY_INPUT    (64u << 10)  /* pipelined bytes kept while a response is under way */
#define PIPE_OUTPUT   (256u << 10) /* queued output at which pipelined requests wait */
#define LINGER_NS     (2 * NS_PER_SEC)
#define HALF_CLOSE_NS (5 * NS_PER_SEC) /* a client that half-closed may still want its answer */

enum h1_state { HEAD, BODY, BUSY, LINGER };

struct h1x {
	struct http_exchange x;
	struct conn *c;
	struct buf body;
	struct h1_body framing;
	bool started, chunked, silent, http10, close, counted;
	uint64_t left; /* of the announced content-length */
};

struct h1 {
	enum h1_state state;
	struct h1x *x;
	size_t scan;
	bool in_data, eof;
};

static const struct http_exchange_ops h1_exchange_ops;

static struct h1x *of(struct http_exchange *x)
{
	return CONTAINER_OF(x, struct h1x, x);
}

static void h1x_free(struct h1x *x)
{
	struct conn *c = x->c;

	buf_free(&x->body);
	arena_free(&x->x.arena);
	free(x);
	conn_unref(c);
}

/* Sends what is queued, then waits a little for the client to close: closing at once would reset
 * the connection and could destroy the answer on its way. */
static void close_soon(struct conn *c)
{
	struct h1 *h = c->proto;

	h->state = LINGER;
	c->since = loop_now(c->w->loop);
	if (h->eof && stream_pending(c->s) == 0)
		conn_kill(c);
	else
		stream_shutdown(c->s);
}

static void refuse(struct conn *c, int status)
{
	struct h1 *h = c->proto;
	AUTO_BUF struct buf b = {0}, body = {0};
	const char *type = refusal_body(c, status, &body);

	if (h->x) {
		h1x_free(h->x);
		h->x = NULL;
	}
	buf_addf(&b,
		"HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\n"
		"Content-Length: %zu\r\nConnection: close\r\n\r\n",
		status, http_status_text(status), worker_date(c->w), type, body.len);
	buf_add_str(&b, buf_str(&body));
	stream_write(c->s, b.p, b.len);
	close_soon(c);
}

/* The response is complete: next request, or the end. */
static void finish(struct conn *c, bool close)
{
	struct h1 *h = c->proto;

	h->x = NULL;
	if (c->dead)
		return;
	if (close || c->w->stopping || h->eof) {
		close_soon(c);
		return;
	}
	h->state = HEAD;
	h->scan = 0;
	c->since = loop_now(c->w->loop);
	stream_pause(c->s, false);
	if (!h->in_data)
		stream_kick(c->s);
}

static void run_handler(struct conn *c)
{
	struct h1 *h = c->proto;
	struct h1x *x = h->x;

	h->state = BUSY;
	x->x.body = buf_str(&x->body);
	c->w->d->cfg.handler(c->w->d->cfg.srv, &x->x);
}

static int begin(struct conn *c, struct str head)
{
	struct h1 *h = c->proto;
	struct h1x *x = calloc(1, sizeof(*x));
	struct h1_head m;

	if (!x)
		return -503;
	c->refs++;
	h->x = x;
	x->c = c;
	x->x.ops = &h1_exchange_ops;
	x->x.loop = c->w->loop;
	x->x.peer = c->peer;
	x->x.received_ns = loop_now(c->w->loop);
	int r = h1_parse_request(head, &x->x.arena, &m);
	if (r != 0)
		return r;
	x->x.method = m.method;
	x->x.path = m.path;
	x->x.query = m.query;
	x->x.headers = m.headers;
	x->x.n_headers = m.n_headers;
	x->close = !m.keep_alive;
	x->http10 = m.minor == 0;
	x->silent = str_eqz(m.method, "HEAD");
	h1_body_init(&x->framing, &m);
	if (m.framing == H1_LENGTH && m.length > c->w->d->cfg.max_body)
		return -413;
	if (m.expect_continue)
		stream_write(c->s, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	return 0;
}

/* False: more input is needed, or the connection is done for. */
static bool take_head(struct conn *c, struct buf *in)
{
	struct h1 *h = c->proto;
	const struct httpd_config *cfg = &c->w->d->cfg;
	size_t blank = 0;
	ssize_t n;

	while (h->scan == 0 && blank + 1 < in->len && memcmp(in->p + blank, "\r\n", 2) == 0)
		blank += 2; /* RFC 9112 2.2: empty lines before a request */
	buf_consume(in, blank);
	if (in->len == 0)
		return false;
	if (stream_pending(c->s) > PIPE_OUTPUT) { /* h1_drain goes on */
		stream_pause(c->s, true);
		return false;
	}
	if (h->scan == 0)
		c->since = loop_now(c->w->loop);
	n = h1_head_end(in->p, in->len, &h->scan);
	if (n == 0 && in->len <= cfg->max_header)
		return false;
	if (n <= 0 || (size_t)n > cfg->max_header) {
		refuse(c, n < 0 ? 400 : 431);
		return false;
	}
	int r = begin(c, (struct str){in->p, (size_t)n});
	buf_consume(in, (size_t)n);
	if (r != 0) {
		refuse(c, -r);
		return false;
	}
	h->state = BODY;
	return true;
}

static bool take_body(struct conn *c, struct buf *in)
{
	struct h1 *h = c->proto;
	struct h1x *x = h->x;
	struct str rest = buf_str(in), piece;

	while (!x->framing.done) {
		int r = h1_body_next(&x->framing, &rest, &piece);
		if (r == 0 && x->body.len + piece.n > c->w->d->cfg.max_body)
			r = -413;
		if (r == 0)
			buf_add_str(&x->body, piece);
		if (r != 0 || x->body.err) {
			refuse(c, r == -413 ? 413 : r ? 400 : 503);
			return false;
		}
		if (rest.n == 0)
			break;
	}
	buf_consume(in, in->len - rest.n);
	if (!x->framing.done)
		return false;
	run_handler(c);
	return true;
}

static void h1_data(struct conn *c, struct buf *in)
{
	struct h1 *h = c->proto;
	bool more = true;

	h->in_data = true;
	while (more && !c->dead) {
		switch (h->state) {
		case HEAD:
			more = take_head(c, in);
			break;
		case BODY:
			more = take_body(c, in);
			break;
		case BUSY:
			if (in->len > BUSY_INPUT)
				stream_pause(c->s, true);
			more = false;
			break;
		case LINGER:
			buf_consume(in, in->len);
			more = false;
		}
	}
	h->in_data = false;
}

static void h1_eof(struct conn *c)
{
	struct h1 *h = c->proto;

	h->eof = true;
	if (h->state == BUSY && h->x && !h->x->started)
		c->since = loop_now(c->w->loop); /* see HALF_CLOSE_NS */
	else if (h->state == HEAD && stream_pending(c->s) > 0)
		close_soon(c);
	else if (h->state != LINGER || stream_pending(c->s) == 0)
		conn_kill(c);
}

static void h1_drain(struct conn *c)
{
	struct h1 *h = c->proto;

	if (h->state == LINGER && h->eof)
		conn_kill(c);
	else if (h->state == BUSY && h->x->started && h->x->x.on_drain)
		h->x->x.on_drain(&h->x->x);
	else if (h->state == HEAD) {
		stream_pause(c->s, false);
		stream_kick(c->s);
	}
}

static void h1_tick(struct conn *c, int64_t now)
{
	struct h1 *h = c->proto;
	const struct httpd_config *cfg = &c->w->d->cfg;
	int64_t age = now - c->since;

	switch (h->state) {
	case HEAD:
		if (h->scan > 0 && age > cfg->header_timeout_ns)
			refuse(c, 408);
		else if (h->scan == 0 && age > cfg->idle_timeout_ns && stream_pending(c->s) == 0)
			conn_kill(c);
		break;
	case BODY:
		if (age > cfg->header_timeout_ns)
			refuse(c, 408);
		break;
	case BUSY:
		if (h->eof && age > HALF_CLOSE_NS)
			conn_kill(c);
		break;
	case LINGER:
		if (age > LINGER_NS && stream_pending(c->s) == 0)
			conn_kill(c);
	}
}

static void h1_stop(struct conn *c)
{
	struct h1 *h = c->proto;

	if (h->state == BUSY && h->x->started)
		conn_kill(c); /* a stream without an end */
	else if (h->state == HEAD && h->scan == 0 && stream_pending(c->s) == 0)
		conn_kill(c);
	else if (h->x)
		h->x->close = true;
}

static void h1_detach(struct conn *c)
{
	struct h1 *h = c->proto;
	struct h1x *x = h->x;
	bool with_handler = h->state == BUSY;

	free(h);
	c->proto = NULL;
	if (x && (!with_handler || exchange_lost(&x->x)))
		h1x_free(x);
}

static const struct conn_ops h1_ops = {
	.data = h1_data,
	.eof = h1_eof,
	.drain = h1_drain,
	.tick = h1_tick,
	.stop = h1_stop,
	.detach = h1_detach,
};

void conn_start_h1(struct conn *c)
{
	c->proto = calloc(1, sizeof(struct h1));
	if (c->proto)
		c->ops = &h1_ops;
	else
		conn_kill(c);
}

static bool hop_by_hop(const struct http_header *h)
{
	return str_eqz(h->name, "connection") || str_eqz(h->name, "transfer-encoding") ||
	       str_eqz(h->name, "keep-alive");
}

static void add_headers(
	struct h1x *x, struct buf *b, const struct http_header *h, size_t n, bool *dated)
{
	for (size_t i = 0; i < n; i++) {
		if (!header_clean(&h[i]))
			continue;
		if (hop_by_hop(&h[i])) {
			if (str_eqz(h[i].name, "connection") && str_eqz(h[i].value, "close"))
				x->close = true;
			continue;
		}
		if (str_eqz(h[i].name, "content-length"))
			x->counted = str_u64(h[i].value, &x->left) == 0;
		*dated |= str_eqz(h[i].name, "date");
		buf_add_str(b, h[i].name);
		buf_add(b, ": ", 2);
		buf_add_str(b, h[i].value);
		buf_add(b, "\r\n", 2);
	}
}

static void h1_start(struct http_exchange *e, int status, const struct http_header *h, size_t n)
{
	struct h1x *x = of(e);
	AUTO_BUF struct buf b = {0};
	bool dated = false, bodiless = status == 204 || status == 304;

	if (x->started)
		return;
	x->started = true;
	if (x->c->dead)
		return;
	buf_addf(&b, "HTTP/1.1 %d %s\r\n", status, http_status_text(status));
	add_headers(x, &b, h, n, &dated);
	if (!dated)
		buf_addf(&b, "date: %s\r\n", worker_date(x->c->w));
	if (!bodiless && !x->counted) {
		x->chunked = !x->http10;
		x->close |= x->http10;
		if (x->chunked)
			buf_adds(&b, "transfer-encoding: chunked\r\n");
	}
	if (bodiless || x->silent) {
		x->silent = true;
		x->chunked = x->counted = false;
	}
	if (x->close || x->c->w->stopping)
		buf_adds(&b, "connection: close\r\n");
	else if (x->http10)
		buf_adds(&b, "connection: keep-alive\r\n");
	buf_add(&b, "\r\n", 2);
	stream_write(x->c->s, b.p, b.len);
}

static void h1_write(struct http_exchange *e, const void *p, size_t n)
{
	struct h1x *x = of(e);
	char size[24];

	if (x->c->dead || x->silent || n == 0 || !x->started)
		return;
	if (x->counted) { /* never more than announced: it would be read as the next response */
		n = n < x->left ? n : (size_t)x->left;
		x->left -= n;
	}
	if (!x->chunked) {
		stream_write(x->c->s, p, n);
		return;
	}
	int len = snprintf(size, sizeof(size), "%zx\r\n", n);
	stream_write(x->c->s, size, (size_t)len);
	stream_write(x->c->s, p, n);
	stream_write(x->c->s, "\r\n", 2);
}

static void h1_end(struct http_exchange *e)
{
	struct h1x *x = of(e);
	struct conn *c = x->c;
	static const struct http_header none = {STR("content-length"), STR("0")};

	if (!x->started)
		h1_start(e, 500, &none, 1);
	if (x->chunked && !c->dead)
		stream_write(c->s, "0\r\n\r\n", 5);
	bool close = x->close, cut = x->counted && x->left > 0;
	if (!c->dead && cut)
		conn_kill(c); /* less than announced */
	if (c->proto)
		finish(c, close);
	h1x_free(x);
}

static void h1_abort(struct http_exchange *e)
{
	struct h1x *x = of(e);
	struct conn *c = x->c;

	if (c->proto)
		((struct h1 *)c->proto)->x = NULL;
	conn_kill(c);
	h1x_free(x);
}

static size_t h1_pending(struct http_exchange *e)
{
	return of(e)->c->dead ? 0 : stream_pending(of(e)->c->s);
}

static int h1_hijack(struct http_exchange *e, struct stream **ret)
{
	static const struct stream_events none = {0};
	struct h1x *x = of(e);
	struct conn *c = x->c;

	if (c->dead || x->started)
		return -ENOTCONN;
	((struct h1 *)c->proto)->x = NULL;
	*ret = c->s;
	c->s = NULL;
	stream_pause(*ret, false);
	stream_set_events(*ret, &none, NULL);
	conn_kill(c);
	h1x_free(x);
	return 0;
}

static const struct http_exchange_ops h1_exchange_ops = {
	.start = h1_start,
	.write = h1_write,
	.end = h1_end,
	.abort = h1_abort,
	.pending = h1_pending,
	.hijack = h1_hijack,
};

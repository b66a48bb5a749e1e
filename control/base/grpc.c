/* SPDX-License-Identifier: Apache-2.0
 * gRPC client over the HTTP client: 5-byte message framing, status in trailers, deadlines. */
#include <errno.h>
#include "xebec/base/grpc.h"
#include "xebec/base/httpc.h"

#define FRAME_HEAD  5u
#define MAX_MESSAGE (64u << 20)

enum {
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_DEADLINE = 4,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14
};

struct grpc {
	struct httpc *http;
	struct list calls;
};

struct grpc_call {
	struct list link;
	struct httpc_req *req;
	const struct grpc_events *ev;
	void *arg;
	struct buf in;
	int status, http_status; /* grpc-status, -1 until known */
	char message[200];
	bool broken, *deleted;
};

static void call_free(struct grpc_call *c)
{
	if (c->deleted)
		*c->deleted = true;
	list_del(&c->link);
	buf_free(&c->in);
	free(c);
}

static void put_length(unsigned char h[FRAME_HEAD], size_t n)
{
	h[0] = 0; /* not compressed */
	h[1] = (unsigned char)(n >> 24);
	h[2] = (unsigned char)(n >> 16);
	h[3] = (unsigned char)(n >> 8);
	h[4] = (unsigned char)n;
}

static void take_status(struct grpc_call *c, const struct http_header *h, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t code;
		if (str_eqz(h[i].name, "grpc-status")) {
			c->status = str_u64(h[i].value, &code) == 0 && code < 100 ? (int)code
										  : GRPC_UNKNOWN;
		} else if (str_eqz(h[i].name, "grpc-message")) {
			AUTO_BUF struct buf text = {0};
			struct str m = h[i].value;
			if (url_decode(m, false, &text) == 0)
				m = buf_str(&text);
			(void)snprintf(c->message, sizeof(c->message), "%.*s", STR_FMT(m));
		}
	}
}

static void on_headers(struct httpc_req *r, int status, const struct http_header *h, size_t n)
{
	struct grpc_call *c = httpc_arg(r);

	c->http_status = status;
	take_status(c, h, n);
}

/* Delivers whole messages. The callback may cancel the call. */
static void deliver(struct grpc_call *c)
{
	size_t off = 0;
	bool deleted = false;

	c->deleted = &deleted;
	while (c->in.len - off >= FRAME_HEAD) {
		const unsigned char *h = (const unsigned char *)c->in.p + off;
		size_t n = (size_t)h[1] << 24 | (size_t)h[2] << 16 | (size_t)h[3] << 8 | h[4];
		if (h[0] != 0 || n > MAX_MESSAGE) {
			c->broken = true;
			break;
		}
		if (c->in.len - off - FRAME_HEAD < n)
			break;
		struct str m = {c->in.p + off + FRAME_HEAD, n};
		off += FRAME_HEAD + n;
		if (c->ev->on_message)
			c->ev->on_message(c->arg, m);
		if (deleted)
			return;
	}
	c->deleted = NULL;
	buf_consume(&c->in, off);
	if (c->in.len == 0)
		buf_free(&c->in);
}

static void on_data(struct httpc_req *r, const void *p, size_t n)
{
	struct grpc_call *c = httpc_arg(r);

	if (c->broken)
		return;
	buf_add(&c->in, p, n);
	if (c->in.err)
		c->broken = true;
	else
		deliver(c);
}

static void finish(struct grpc_call *c, int status, const char *text)
{
	struct err e = {0};

	if (status != 0)
		(void)err_set(
			&e, status == GRPC_DEADLINE ? ETIMEDOUT : EREMOTEIO, NULL, "%s", text);
	if (c->ev->on_done)
		c->ev->on_done(c->arg, status, status ? &e : NULL);
	call_free(c);
}

static void on_done(struct httpc_req *r, const struct err *e, const struct http_header *h, size_t n)
{
	struct grpc_call *c = httpc_arg(r);
	char text[64];

	take_status(c, h, n);
	if (e && c->status < 0)
		finish(c, e->code == -ETIMEDOUT && e->reason ? GRPC_DEADLINE : GRPC_UNAVAILABLE,
			e->msg);
	else if (c->broken || (c->status == 0 && c->in.len > 0))
		finish(c, GRPC_INTERNAL, "malformed gRPC message");
	else if (c->status >= 0)
		finish(c, c->status, c->message);
	else {
		(void)snprintf(
			text, sizeof(text), "HTTP status %d without a gRPC status", c->http_status);
		finish(c, GRPC_UNKNOWN, text);
	}
}

int grpc_new(struct loop *l, const char *addr, struct grpc **ret, struct err *e)
{
	const struct httpc_config cfg = {.loop = l, .addr = addr, .host = "localhost", .h2c = true};
	struct grpc *g = calloc(1, sizeof(*g));
	int r = g ? httpc_new(&cfg, &g->http, e) : err_set(e, ENOMEM, NULL, "out of memory");

	if (r != 0) {
		free(g);
		return r;
	}
	list_init(&g->calls);
	*ret = g;
	return 0;
}

void grpc_free(struct grpc *g)
{
	if (!g)
		return;
	httpc_free(g->http);
	while (!list_empty(&g->calls))
		call_free(list_entry(g->calls.next, struct grpc_call, link));
	free(g);
}

struct grpc_call *grpc_send(struct grpc *g, const char *method, struct str message,
	int64_t timeout_ns, const struct grpc_events *ev, void *arg)
{
	static const struct httpc_events events = {
		.on_headers = on_headers, .on_data = on_data, .on_done = on_done};
	struct grpc_call *c = calloc(1, sizeof(*c));
	AUTO_BUF struct buf body = {0};
	unsigned char head[FRAME_HEAD];
	char timeout[24];
	struct http_header h[4] = {
		{STR("content-type"), STR("application/grpc")},
		{STR("te"), STR("trailers")},
		{STR("user-agent"), STR("grpc-c-xebec/1")},
	};

	put_length(head, message.n);
	buf_add(&body, head, sizeof(head));
	buf_add_str(&body, message);
	if (!c || body.err) {
		free(c);
		return NULL;
	}
	*c = (struct grpc_call){.ev = ev, .arg = arg, .status = -1};
	struct httpc_call call = {.method = "POST",
		.path = str_of(method),
		.headers = h,
		.n_headers = 3,
		.body = buf_str(&body),
		.timeout_ns = timeout_ns,
		.ev = &events,
		.arg = c};
	if (timeout_ns > 0) { /* at most 8 digits are allowed: milliseconds reach 27 hours */
		int64_t ms = timeout_ns / 1000000 + 1;
		(void)snprintf(timeout, sizeof(timeout), "%lldm",
			(long long)(ms > 99999999 ? 99999999 : ms));
		h[call.n_headers++] = (struct http_header){STR("grpc-timeout"), str_of(timeout)};
	}
	c->req = httpc_send(g->http, &call);
	if (!c->req) {
		free(c);
		return NULL;
	}
	list_push(&g->calls, &c->link);
	return c;
}

void grpc_cancel(struct grpc_call *c)
{
	httpc_cancel(c->req);
	call_free(c);
}

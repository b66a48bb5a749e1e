/* SPDX-License-Identifier: Apache-2.0
 * Bridges between exec, attach and port-forward clients and the container runtime.
 *
 *   client                               runtime
 *   SPDY/3.1, WebSocket v4      bytes    the same
 *   WebSocket v5.channel        ------>  SPDY/3.1 streams: a channel each
 *   WebSocket SPDY/3.1+port...  payload  SPDY/3.1 */
#include <errno.h>
#include "kubelet/exec_bridge.h"
#include "xebec/base/httpc.h"
#include "xebec/base/spdy.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/ws.h"

#define DIAL_TIMEOUT  (10 * NS_PER_SEC)
#define CLOSE_TIMEOUT (10 * NS_PER_SEC) /* for the client's half of the closing handshake */
#define STATUS_GRACE  (5 * NS_PER_SEC)	/* the runtime hangs up right after the status */
#define QUEUE_LIMIT   (256u << 10)	/* bytes queued to one side at which the other is paused */
#define MAX_MESSAGE   (4u << 20)
#define MAX_STATUS    (64u << 10)

#define V5	     "v5.channel.k8s.io"
#define WS_PORTS     "SPDY/3.1+portforward.k8s.io"
#define STREAM_V4    "v4.channel.k8s.io"
#define STREAM_PORTS "portforward.k8s.io"

enum channel { STDIN, STDOUT, STDERR, ERROR, RESIZE, CHANNELS, CLOSE_CHANNEL = 255 };

enum mode { PASS, EXEC, PORTS };

struct bridge {
	enum mode mode;
	struct http_exchange *x; /* until hijacked; NULL when the client left */
	struct exec_options opt;
	struct stream *client, *runtime;
	struct ws ws;
	struct spdy *spdy;
	uint32_t id[CHANNELS]; /* SPDY streams, 0 = none or ended */
	struct buf status;     /* from the error stream */
	bool status_sent, closing;
	struct loop_timer timer;
	size_t unsent; /* when the timer last looked */
	char accept[29];
};

static void bridge_free(struct bridge *b)
{
	loop_timer_cancel(&b->timer);
	stream_free(b->client);
	stream_free(b->runtime);
	spdy_free(b->spdy);
	ws_free(&b->ws);
	buf_free(&b->status);
	free(b);
}

/* --- what the client asked for --- */

static bool has_word(struct str list, const char *word)
{
	while (list.n > 0) {
		struct str one = str_cut(&list, ',');
		while (one.n > 0 && (*one.p == ' ' || *one.p == '\t')) {
			one.p++;
			one.n--;
		}
		while (one.n > 0 && (one.p[one.n - 1] == ' ' || one.p[one.n - 1] == '\t'))
			one.n--;
		if (one.n == strlen(word) && strncasecmp(one.p, word, one.n) == 0)
			return true;
	}
	return false;
}

/* A list header may come in several fields. */
static bool header_has(const struct http_exchange *x, const char *name, const char *word)
{
	for (size_t i = 0; i < x->n_headers; i++) {
		if (str_eqz(x->headers[i].name, name) && has_word(x->headers[i].value, word))
			return true;
	}
	return false;
}

static bool query_true(struct http_exchange *x, const char *a, const char *b)
{
	struct str v = http_query_get(x, a);

	if (!v.p)
		v = http_query_get(x, b);
	return str_eqz(v, "1") || str_eqz(v, "true") || str_eqz(v, "True") || str_eqz(v, "TRUE");
}

struct exec_options exec_bridge_options(struct http_exchange *x)
{
	return (struct exec_options){
		.in = query_true(x, "input", "stdin"),
		.out = query_true(x, "output", "stdout"),
		.err = query_true(x, "error", "stderr"),
		.tty = query_true(x, "tty", "tty"),
	};
}

static void refuse(struct http_exchange *x, int status, const char *why)
{
	http_reply(x, status, "text/plain; charset=utf-8", str_of(why), NULL, 0);
}

bool exec_bridge_acceptable(struct http_exchange *x)
{
	bool websocket = header_has(x, "upgrade", "websocket");

	if (!header_has(x, "connection", "upgrade") ||
		(!websocket && !header_has(x, "upgrade", "SPDY/3.1"))) {
		refuse(x, 400, "Upgrade request required\n");
		return false;
	}
	if (websocket && (http_header_get(x, "sec-websocket-key").n == 0 ||
				 !header_has(x, "sec-websocket-version", "13"))) {
		refuse(x, 400, "WebSocket version 13 and a key are required\n");
		return false;
	}
	return true;
}

static enum mode mode_of(const struct http_exchange *x, bool ports)
{
	if (!header_has(x, "upgrade", "websocket"))
		return PASS;
	if (ports)
		return header_has(x, "sec-websocket-protocol", WS_PORTS) ? PORTS : PASS;
	return header_has(x, "sec-websocket-protocol", V5) ? EXEC : PASS;
}

/* --- the client's side of a WebSocket --- */

static void send_ws(struct bridge *b, enum ws_op op, struct str head, struct str data)
{
	AUTO_BUF struct buf out = {0};

	ws_frame2(&b->ws, op, head, data, &out);
	stream_write(b->client, out.p, out.len);
	if (b->runtime && stream_pending(b->client) > QUEUE_LIMIT)
		stream_pause(b->runtime, true);
}

static void send_channel(struct bridge *b, enum channel c, struct str data)
{
	char byte = (char)c;

	send_ws(b, WS_BINARY, (struct str){&byte, 1}, data);
}

/* Nothing more comes for the client: close frame, then its answer is awaited, so that what is in
 * the socket's buffer is not lost to a reset. */
static void begin_close(struct bridge *b, int code, const char *reason)
{
	AUTO_BUF struct buf out = {0};

	if (b->closing)
		return;
	b->closing = true;
	stream_free(b->runtime);
	b->runtime = NULL;
	ws_close_frame(&b->ws, code, str_of(reason), &out);
	stream_write(b->client, out.p, out.len);
	stream_pause(b->client, false);
	b->unsent = stream_pending(b->client) + 1;
	(void)loop_timer_set(stream_loop(b->client), &b->timer, CLOSE_TIMEOUT);
}

/* The runtime's side has ended. */
static void finish(struct bridge *b)
{
	if (b->closing)
		return;
	if (b->mode == EXEC && !b->status_sent) {
		if (b->status.len == 0)
			buf_adds(&b->status,
				"{\"metadata\":{},\"status\":\"Failure\",\"message\":\"the "
				"container "
				"runtime closed the stream without a status\",\"reason\":"
				"\"InternalError\",\"code\":500}");
		send_channel(b, ERROR, buf_str(&b->status));
		b->status_sent = true;
	}
	begin_close(b, WS_NORMAL, "");
}

static void to_runtime(struct bridge *b, const struct buf *out)
{
	stream_write(b->runtime, out->p, out->len);
	if (stream_pending(b->runtime) > QUEUE_LIMIT)
		stream_pause(b->client, true);
}

static void from_channel(struct bridge *b, struct str m)
{
	AUTO_BUF struct buf out = {0};
	unsigned char c = m.n > 0 ? (unsigned char)*m.p : STDOUT;
	bool fin = c == CLOSE_CHANNEL;

	if (fin)
		c = m.n > 1 ? (unsigned char)m.p[1] : STDOUT;
	if ((c != STDIN && c != RESIZE) || b->id[c] == 0 || (!fin && m.n < 2))
		return;
	if (fin)
		spdy_data(b->id[c], (struct str){0}, true, &out);
	else
		spdy_data(b->id[c], (struct str){m.p + 1, m.n - 1}, false, &out);
	if (fin)
		b->id[c] = 0;
	to_runtime(b, &out);
}

/* False: the bridge is gone. */
static bool client_event(struct bridge *b, const struct ws_event *ev)
{
	AUTO_BUF struct buf out = {0};

	switch (ev->op) {
	case WS_PING:
		if (!b->closing)
			send_ws(b, WS_PONG, ev->payload, (struct str){0});
		return true;
	case WS_CLOSE:
		if (!b->closing) {
			ws_close_frame(&b->ws, ev->code, (struct str){0}, &out);
			stream_write(b->client, out.p, out.len);
			stream_close(b->client);
			b->client = NULL;
		}
		bridge_free(b);
		return false;
	case WS_TEXT:
	case WS_BINARY:
		if (b->closing || !b->runtime)
			return true;
		if (b->mode == EXEC) {
			from_channel(b, ev->payload);
		} else {
			buf_add_str(&out, ev->payload);
			to_runtime(b, &out);
		}
		return true;
	case WS_PONG:
	case WS_CONT:
		break;
	}
	return true;
}

static void client_data(struct stream *s, struct buf *in)
{
	struct bridge *b = stream_arg(s);
	struct str rest = buf_str(in);
	struct ws_event ev;
	int r;

	while ((r = ws_next(&b->ws, &rest, &ev)) > 0) {
		if (!client_event(b, &ev))
			return;
	}
	buf_consume(in, in->len - rest.n);
	if (r < 0)
		begin_close(b, -r, "");
}

static void client_gone(struct stream *s)
{
	bridge_free(stream_arg(s));
}

static void client_error(struct stream *s, const struct err *e)
{
	(void)e;
	client_gone(s);
}

static void client_drain(struct stream *s)
{
	struct bridge *b = stream_arg(s);

	if (b->runtime)
		stream_pause(b->runtime, false);
}

static const struct stream_events client_events = {.on_data = client_data,
	.on_eof = client_gone,
	.on_error = client_error,
	.on_drain = client_drain};

/* --- the runtime's side --- */

static enum channel channel_of(const struct bridge *b, uint32_t stream)
{
	for (enum channel c = STDIN; c < CHANNELS; c++) {
		if (b->id[c] == stream && stream != 0)
			return c;
	}
	return CHANNELS;
}

static void take_status(struct bridge *b, struct str data, bool fin)
{
	if (b->status.len + data.n <= MAX_STATUS)
		buf_add_str(&b->status, data);
	if (!fin || b->status.len == 0 || b->status_sent)
		return;
	send_channel(b, ERROR, buf_str(&b->status));
	b->status_sent = true;
	(void)loop_timer_set(stream_loop(b->client), &b->timer, STATUS_GRACE);
}

static void runtime_event(struct bridge *b, const struct spdy_event *ev)
{
	AUTO_BUF struct buf out = {0};
	enum channel c = channel_of(b, ev->stream);

	switch (ev->type) {
	case SPDY_DATA:
		if (c == ERROR)
			take_status(b, ev->data, ev->fin);
		else if ((c == STDOUT || c == STDERR) && ev->data.n > 0)
			send_channel(b, c, ev->data);
		break;
	case SPDY_RST_STREAM:
		if (c < CHANNELS)
			b->id[c] = 0;
		return;
	case SPDY_SYN_STREAM: /* the runtime opens none */
		spdy_rst(ev->stream, SPDY_REFUSED_STREAM, &out);
		break;
	case SPDY_PING:
		if (ev->code % 2 == 0) /* theirs; odd ones would answer ours */
			spdy_ping(ev->code, &out);
		break;
	default:
		break;
	}
	if (out.len > 0)
		to_runtime(b, &out);
	if (ev->fin && c < CHANNELS && c != STDIN && c != RESIZE)
		b->id[c] = 0;
}

static void runtime_data(struct stream *s, struct buf *in)
{
	struct bridge *b = stream_arg(s);
	struct str rest = buf_str(in);
	struct spdy_event ev;
	int r = 0;

	if (b->mode == PORTS) {
		send_ws(b, WS_BINARY, rest, (struct str){0});
		buf_consume(in, in->len);
		return;
	}
	while ((r = spdy_next(b->spdy, &rest, &ev)) > 0)
		runtime_event(b, &ev);
	buf_consume(in, in->len - rest.n);
	if (r < 0)
		finish(b);
	else if (b->status_sent && b->id[STDOUT] == 0 && b->id[STDERR] == 0)
		finish(b);
}

static void runtime_gone(struct stream *s)
{
	finish(stream_arg(s));
}

static void runtime_error(struct stream *s, const struct err *e)
{
	(void)e;
	finish(stream_arg(s));
}

static void runtime_drain(struct stream *s)
{
	struct bridge *b = stream_arg(s);

	if (b->client)
		stream_pause(b->client, false);
}

static const struct stream_events runtime_events = {.on_data = runtime_data,
	.on_eof = runtime_gone,
	.on_error = runtime_error,
	.on_drain = runtime_drain};

static void on_timer(struct loop_timer *t)
{
	struct bridge *b = t->arg;

	if (!b->closing) {
		finish(b);
		return;
	}
	size_t left = stream_pending(b->client);
	if (left == 0 || left >= b->unsent) { /* done, or a client that reads nothing */
		bridge_free(b);
		return;
	}
	b->unsent = left;
	(void)loop_timer_set(stream_loop(b->client), &b->timer, CLOSE_TIMEOUT);
}

static int open_stream(struct bridge *b, enum channel c, const char *type, struct buf *out)
{
	const struct http_header h = {STR("streamtype"), str_of(type)};

	b->id[c] = spdy_open(b->spdy, &h, 1, false, out);
	return b->id[c] ? 0 : -ENOMEM;
}

static int open_streams(struct bridge *b)
{
	AUTO_BUF struct buf out = {0};
	int r = spdy_new(true, &b->spdy);

	if (r == 0)
		r = open_stream(b, ERROR, "error", &out);
	if (r == 0 && b->opt.in)
		r = open_stream(b, STDIN, "stdin", &out);
	if (r == 0 && b->opt.out)
		r = open_stream(b, STDOUT, "stdout", &out);
	if (r == 0 && b->opt.err && !b->opt.tty)
		r = open_stream(b, STDERR, "stderr", &out);
	if (r == 0 && b->opt.tty)
		r = open_stream(b, RESIZE, "resize", &out);
	if (r == 0)
		to_runtime(b, &out);
	return r;
}

/* --- joining --- */

static void write_switch(struct stream *s, const struct http_header *h, size_t n)
{
	AUTO_BUF struct buf b = {0};

	buf_adds(&b, "HTTP/1.1 101 Switching Protocols\r\n");
	for (size_t i = 0; i < n; i++) {
		if (!str_eqz(h[i].name, "content-length") &&
			!str_eqz(h[i].name, "transfer-encoding"))
			buf_addf(&b, "%.*s: %.*s\r\n", STR_FMT(h[i].name), STR_FMT(h[i].value));
	}
	buf_adds(&b, "\r\n");
	stream_write(s, b.p, b.len);
}

static void join_websocket(struct bridge *b)
{
	const struct http_header h[] = {
		{STR("Upgrade"), STR("websocket")},
		{STR("Connection"), STR("Upgrade")},
		{STR("Sec-WebSocket-Accept"), str_of(b->accept)},
		{STR("Sec-WebSocket-Protocol"), b->mode == EXEC ? STR(V5) : STR(WS_PORTS)},
	};
	enum channel first = b->opt.out ? STDOUT : b->opt.err ? STDERR : ERROR;

	write_switch(b->client, h, ARRAY_LEN(h));
	b->ws.max_message = MAX_MESSAGE;
	stream_set_events(b->client, &client_events, b);
	stream_set_events(b->runtime, &runtime_events, b);
	if (b->mode != EXEC)
		return;
	/* Tells the client that the streams are ready. */
	send_channel(b, first, (struct str){0});
	if (open_streams(b) != 0)
		finish(b);
}

static void join(struct bridge *b, const struct http_header *h, size_t n)
{
	struct http_exchange *x = b->x;

	x->on_close = NULL;
	if (x->ops->hijack(x, &b->client) != 0) {
		refuse(x, 400, "an upgrade needs HTTP/1.1\n");
		bridge_free(b);
		return;
	}
	b->x = NULL;
	if (b->mode != PASS) {
		join_websocket(b);
		return;
	}
	write_switch(b->client, h, n);
	if (stream_splice(b->client, b->runtime, NULL, NULL) == 0)
		b->client = b->runtime = NULL;
	bridge_free(b);
}

static void upgraded(void *arg, const struct err *e, int status, const struct http_header *h,
	size_t n, struct str body, struct stream *s)
{
	struct bridge *b = arg;
	const char *type = NULL;
	char text[300];

	b->runtime = s;
	if (!b->x) {
		bridge_free(b); /* the client did not wait */
		return;
	}
	if (!e && status == 101 && s) {
		join(b, h, n);
		return;
	}
	b->x->on_close = NULL;
	for (size_t i = 0; i < n; i++) {
		if (str_eqz(h[i].name, "content-type"))
			type = arena_strdup(&b->x->arena, h[i].value);
	}
	if (e) {
		(void)snprintf(text, sizeof(text), "dial the container runtime: %s\n", e->msg);
		refuse(b->x, 502, text);
	} else {
		http_reply(b->x, status >= 400 ? status : 502, type, body, NULL, 0);
	}
	bridge_free(b);
}

static void client_left(struct http_exchange *x)
{
	struct bridge *b = x->user;

	b->x = NULL;
}

/* "http://host:port/path" */
static int split_url(struct str url, char addr[128], struct str *path)
{
	const char *slash;

	if (!str_starts(url, "http://"))
		return -EINVAL;
	url.p += 7;
	url.n -= 7;
	slash = memchr(url.p, '/', url.n);
	if (!slash)
		return -EINVAL;
	*path = (struct str){slash, url.n - (size_t)(slash - url.p)};
	return str_copy(addr, 128, (struct str){url.p, (size_t)(slash - url.p)});
}

#define MAX_FORWARDED 16

/* Passing through: the client's own negotiation. */
static size_t copy_headers(const struct http_exchange *x, struct http_header *h)
{
	size_t n = 0;

	for (size_t i = 0; i < x->n_headers && n < MAX_FORWARDED; i++) {
		struct str name = x->headers[i].name;
		if (str_eqz(name, "connection") || str_eqz(name, "upgrade") ||
			str_eqz(name, "x-stream-protocol-version") ||
			(str_starts(name, "sec-websocket-") &&
				!str_eqz(name, "sec-websocket-extensions")))
			h[n++] = x->headers[i];
	}
	return n;
}

static void start(
	struct http_exchange *x, enum mode mode, const struct exec_options *o, struct str url)
{
	struct http_header h[MAX_FORWARDED] = {{STR("connection"), STR("Upgrade")},
		{STR("upgrade"), STR("SPDY/3.1")},
		{STR("x-stream-protocol-version"),
			mode == PORTS ? STR(STREAM_PORTS) : STR(STREAM_V4)}};
	struct bridge *b = calloc(1, sizeof(*b));
	char addr[128];
	struct err e = {0};
	struct httpc_call call = {
		.method = "POST", .headers = h, .n_headers = 3, .timeout_ns = DIAL_TIMEOUT};

	if (!b || split_url(url, addr, &call.path) != 0) {
		free(b);
		refuse(x, 500, "the container runtime gave no usable streaming URL\n");
		return;
	}
	*b = (struct bridge){.mode = mode, .x = x};
	b->timer = (struct loop_timer){.fn = on_timer, .arg = b};
	if (o)
		b->opt = *o;
	ws_accept_key(http_header_get(x, "sec-websocket-key"), b->accept);
	if (mode == PASS) {
		call.n_headers = copy_headers(x, h);
		if (header_has(x, "upgrade", "websocket"))
			call.method = "GET";
	}
	x->user = b;
	x->on_close = client_left;
	if (httpc_upgrade(x->loop, addr, NULL, addr, &call, upgraded, b, &e) != 0)
		upgraded(b, &e, 0, NULL, 0, (struct str){0}, NULL);
}

void exec_bridge_exec(struct http_exchange *x, const struct exec_options *o, struct str url)
{
	if (exec_bridge_acceptable(x))
		start(x, mode_of(x, false), o, url);
}

void exec_bridge_portforward(struct http_exchange *x, struct str url)
{
	if (exec_bridge_acceptable(x))
		start(x, mode_of(x, true), NULL, url);
}

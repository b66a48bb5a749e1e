/* SPDX-License-Identifier: Apache-2.0
 * The exec bridge between WebSocket and SPDY clients and a runtime played by this test. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "kubelet/exec_bridge.h"
#include "xebec/base/httpc.h"
#include "xebec/base/httpd.h"
#include "xebec/base/spdy.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/ws.h"

static struct {
	struct loop *loop;
	struct httpd *runtime, *front;
	char runtime_addr[64], front_addr[64];
	int runtimes; /* connections of the runtime alive */
} env;

#define WAIT(cond)                                                                                 \
	do {                                                                                       \
		int64_t wait_end = time_mono() + 15 * NS_PER_SEC;                                  \
		while (!(cond)) {                                                                  \
			(void)loop_poll(env.loop, 5);                                              \
			if (time_mono() > wait_end)                                                \
				fail_msg("no %s in time", #cond);                                  \
		}                                                                                  \
	} while (0)

/* --- the runtime: SPDY; what comes on stdin goes to stdout --- */

struct rt {
	struct stream *s;
	struct spdy *spdy;
	uint32_t in, out, err, error, resize;
	uint64_t got;
	bool raw;
};

static void rt_free(struct rt *r)
{
	spdy_free(r->spdy);
	env.runtimes--;
	free(r);
}

static void rt_end(struct rt *r)
{
	AUTO_BUF struct buf b = {0};
	char text[64];

	(void)snprintf(text, sizeof(text), "got %llu", (unsigned long long)r->got);
	if (r->err)
		spdy_data(r->err, str_of(text), true, &b);
	spdy_data(r->error, STR("{\"status\":"), false, &b);
	spdy_data(r->error, STR("\"Success\"}"), true, &b);
	spdy_goaway(0, 0, &b);
	stream_write(r->s, b.p, b.len);
	stream_close(r->s);
	rt_free(r);
}

static void rt_open(struct rt *r, const struct spdy_event *ev, struct buf *out)
{
	static const struct {
		const char *name;
		size_t offset;
	} kinds[] = {{"stdin", offsetof(struct rt, in)}, {"stdout", offsetof(struct rt, out)},
		{"stderr", offsetof(struct rt, err)}, {"error", offsetof(struct rt, error)},
		{"resize", offsetof(struct rt, resize)}};

	for (size_t i = 0; i < ev->n_headers; i++) {
		for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
			if (str_eqz(ev->headers[i].name, "streamtype") &&
				str_eqz(ev->headers[i].value, kinds[k].name))
				*(uint32_t *)((char *)r + kinds[k].offset) = ev->stream;
		}
	}
	assert_int_equal(spdy_reply(r->spdy, ev->stream, NULL, 0, false, out), 0);
}

static void rt_data(struct stream *s, struct buf *in)
{
	struct rt *r = stream_arg(s);
	struct str rest = buf_str(in);
	struct spdy_event ev;
	AUTO_BUF struct buf out = {0};
	bool end = false;

	if (r->raw) {
		stream_write(s, in->p, in->len);
		buf_consume(in, in->len);
		return;
	}
	while (!end && spdy_next(r->spdy, &rest, &ev) > 0) {
		if (ev.type == SPDY_SYN_STREAM)
			rt_open(r, &ev, &out);
		if (ev.type != SPDY_DATA)
			continue;
		r->got += ev.data.n;
		if (ev.stream == r->resize)
			spdy_data(r->out, STR("resized:"), false, &out);
		spdy_data(r->out, ev.data, false, &out);
		end = ev.stream == r->in && ev.fin;
	}
	buf_consume(in, in->len - rest.n);
	stream_write(s, out.p, out.len);
	if (end)
		rt_end(r);
}

static void rt_gone(struct stream *s)
{
	rt_free(stream_arg(s));
	stream_free(s);
}

static void rt_error(struct stream *s, const struct err *e)
{
	(void)e;
	rt_gone(s);
}

static const struct stream_events rt_events = {
	.on_data = rt_data, .on_eof = rt_gone, .on_error = rt_error};

static void runtime(void *srv, struct http_exchange *x)
{
	static const char answer[] =
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
		"Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io"
		"\r\n\r\n";
	struct rt *r;

	(void)srv;
	if (str_eqz(x->path, "/gone")) {
		http_reply(x, 404, "text/plain", STR("token expired"), NULL, 0);
		return;
	}
	r = calloc(1, sizeof(*r));
	r->raw = str_eqz(x->path, "/raw") || str_eqz(x->path, "/ports");
	if (str_eqz(x->path, "/ports"))
		assert_true(str_eqz(
			http_header_get(x, "x-stream-protocol-version"), "portforward.k8s.io"));
	assert_int_equal(spdy_new(false, &r->spdy), 0);
	bool die = str_eqz(x->path, "/die"); /* x is gone after the hijack */
	assert_int_equal(x->ops->hijack(x, &r->s), 0);
	env.runtimes++;
	stream_write(r->s, answer, sizeof(answer) - 1);
	if (die) {
		stream_close(r->s);
		rt_free(r);
		return;
	}
	stream_set_events(r->s, &rt_events, r);
}

static void front(void *srv, struct http_exchange *x)
{
	AUTO_BUF struct buf url = {0};
	struct exec_options o = exec_bridge_options(x);

	(void)srv;
	buf_addf(&url, "http://%s%.*s", env.runtime_addr, STR_FMT(x->path));
	if (str_eqz(x->path, "/ports"))
		exec_bridge_portforward(x, buf_str(&url));
	else
		exec_bridge_exec(x, &o, buf_str(&url));
}

static struct httpd *serve(http_handler *h, char addr[64])
{
	struct httpd_config c = {.handler = h, .loop = env.loop};
	struct err e = {0};
	struct sockaddr_in in;
	socklen_t n = sizeof(in);
	struct httpd *d;
	int fd = net_listen("127.0.0.1:0", &e);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	(void)snprintf(addr, 64, "127.0.0.1:%u", ntohs(in.sin_port));
	assert_int_equal(httpd_new(&c, &d, &e), 0);
	assert_int_equal(httpd_listen_fd(d, fd, &e), 0);
	return d;
}

static int setup(void **state)
{
	(void)state;
	env.loop = loop_new();
	env.runtime = serve(runtime, env.runtime_addr);
	env.front = serve(front, env.front_addr);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	httpd_free(env.front);
	httpd_free(env.runtime);
	for (int i = 0; i < 5; i++)
		(void)loop_poll(env.loop, 0);
	loop_free(env.loop);
	return 0;
}

/* --- the client --- */

struct client {
	struct stream *s;
	struct ws ws;
	int status, close_code, messages;
	bool eof;
	char protocol[64], accept[64];
	struct buf channel[6]; /* 5: whole payloads, or raw bytes */
	struct buf refusal;
	int first; /* channel of the first message */
	bool raw;
};

static void client_data(struct stream *s, struct buf *in)
{
	struct client *c = stream_arg(s);
	struct str rest = buf_str(in);
	struct ws_event ev;

	if (c->raw) {
		buf_add_str(&c->channel[5], rest);
		buf_consume(in, in->len);
		return;
	}
	while (ws_next(&c->ws, &rest, &ev) > 0) {
		if (ev.op == WS_CLOSE)
			c->close_code = ev.code;
		if (ev.op == WS_PONG)
			c->messages += 1000;
		if (ev.op != WS_BINARY)
			continue;
		buf_add_str(&c->channel[5], ev.payload);
		int ch = ev.payload.n ? ev.payload.p[0] : -1;
		if (c->messages++ == 0)
			c->first = ch;
		if (ch >= 0 && ch < 5)
			buf_add(&c->channel[ch], ev.payload.p + 1, ev.payload.n - 1);
	}
	buf_consume(in, in->len - rest.n);
}

static void client_eof(struct stream *s)
{
	((struct client *)stream_arg(s))->eof = true;
}

static void client_error(struct stream *s, const struct err *e)
{
	(void)e;
	client_eof(s);
}

static const struct stream_events client_events = {
	.on_data = client_data, .on_eof = client_eof, .on_error = client_error};

static void on_upgraded(void *arg, const struct err *e, int status, const struct http_header *h,
	size_t n, struct str body, struct stream *s)
{
	struct client *c = arg;

	c->status = e ? -1 : status;
	buf_add_str(&c->refusal, body);
	for (size_t i = 0; i < n; i++) {
		if (str_eqz(h[i].name, "sec-websocket-protocol"))
			(void)str_copy(c->protocol, sizeof(c->protocol), h[i].value);
		if (str_eqz(h[i].name, "sec-websocket-accept"))
			(void)str_copy(c->accept, sizeof(c->accept), h[i].value);
	}
	c->s = s;
	if (s)
		stream_set_events(s, &client_events, c);
}

static void dial(struct client *c, const char *path, const char *protocols)
{
	struct http_header h[] = {
		{STR("connection"), STR("keep-alive, Upgrade")},
		{STR("upgrade"), protocols ? STR("websocket") : STR("SPDY/3.1")},
		{STR("sec-websocket-version"), STR("13")},
		{STR("sec-websocket-key"), STR("dGhlIHNhbXBsZSBub25jZQ==")},
		{STR("sec-websocket-protocol"), str_of(protocols)},
	};
	struct httpc_call call = {.method = protocols ? "GET" : "POST",
		.path = str_of(path),
		.headers = h,
		.n_headers = protocols ? 5 : 2,
		.timeout_ns = 5 * NS_PER_SEC};
	struct err e = {0};

	c->ws.client = true;
	assert_int_equal(
		httpc_upgrade(env.loop, env.front_addr, NULL, "node", &call, on_upgraded, c, &e),
		0);
	WAIT(c->status != 0);
}

static void say(struct client *c, const char *head, struct str data)
{
	AUTO_BUF struct buf b = {0};

	ws_frame2(&c->ws, WS_BINARY, (struct str){head, head[0] == (char)255 ? 2u : 1u}, data, &b);
	stream_write(c->s, b.p, b.len);
}

static void client_free(struct client *c)
{
	stream_free(c->s);
	ws_free(&c->ws);
	for (int i = 0; i < 6; i++)
		buf_free(&c->channel[i]);
	buf_free(&c->refusal);
}
#define AUTO_CLIENT AUTO(client_free)

#define V5_LIST "v5.channel.k8s.io,v4.channel.k8s.io, v3.channel.k8s.io"

static void exec_with_stdin(void **state)
{
	AUTO_CLIENT struct client c = {0};
	AUTO_BUF struct buf big = {0};

	(void)state;
	dial(&c, "/exec?input=1&output=1&error=1", V5_LIST);
	assert_int_equal(c.status, 101);
	assert_string_equal(c.protocol, "v5.channel.k8s.io");
	assert_string_equal(c.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
	WAIT(c.messages == 1);
	assert_int_equal(c.first, 1);
	for (int i = 0; i < 5000000; i++)
		buf_addc(&big, (char)(i * 11));
	for (size_t off = 0; off < big.len; off += 32768)
		say(&c, "\0",
			(struct str){big.p + off, big.len - off < 32768 ? big.len - off : 32768});
	say(&c, "\377\0", (struct str){0});
	WAIT(c.close_code != 0);
	assert_int_equal(c.close_code, 1000);
	assert_true(str_eq(buf_str(&c.channel[1]), buf_str(&big)));
	assert_string_equal(c.channel[2].p, "got 5000000");
	assert_string_equal(c.channel[3].p, "{\"status\":\"Success\"}");
	assert_false(c.eof); /* it waits for our close frame */
	AUTO_BUF struct buf bye = {0};
	ws_close_frame(&c.ws, 1000, (struct str){0}, &bye);
	stream_write(c.s, bye.p, bye.len);
	WAIT(c.eof);
	assert_int_equal(env.runtimes, 0);
}

static void tty_ping_and_resize(void **state)
{
	AUTO_CLIENT struct client c = {0};
	AUTO_BUF struct buf ping = {0};

	(void)state;
	dial(&c, "/exec?stdin=true&stdout=true&stderr=true&tty=true", "v5.channel.k8s.io");
	say(&c, "\4", STR("{\"Width\":80,\"Height\":24}"));
	ws_frame(&c.ws, WS_PING, STR("x"), &ping);
	stream_write(c.s, ping.p, ping.len);
	WAIT(c.messages > 1000 && c.channel[1].len > 30);
	assert_string_equal(c.channel[1].p, "resized:{\"Width\":80,\"Height\":24}");
	assert_int_equal(env.runtimes, 1);
	stream_free(c.s); /* the client dies: so does the other side */
	c.s = NULL;
	WAIT(env.runtimes == 0);
}

static void client_closes_first(void **state)
{
	AUTO_CLIENT struct client c = {0};
	AUTO_BUF struct buf bye = {0};

	(void)state;
	dial(&c, "/exec?input=1&output=1", "v5.channel.k8s.io");
	WAIT(c.messages == 1);
	ws_close_frame(&c.ws, 1000, (struct str){0}, &bye);
	stream_write(c.s, bye.p, bye.len);
	WAIT(c.eof && env.runtimes == 0);
	assert_int_equal(c.close_code, 1000);
}

static void bad_frame(void **state)
{
	AUTO_CLIENT struct client c = {0};

	(void)state;
	dial(&c, "/exec?input=1&output=1", "v5.channel.k8s.io");
	stream_write(c.s,
		"\x81\x01"
		"a",
		3); /* not masked */
	WAIT(c.close_code != 0);
	assert_int_equal(c.close_code, 1002);
}

/* The runtime hangs up without a status: the client is told so on the error channel. */
static void runtime_dies(void **state)
{
	AUTO_CLIENT struct client c = {0};

	(void)state;
	dial(&c, "/die?output=1", "v5.channel.k8s.io");
	WAIT(c.close_code != 0);
	assert_int_equal(c.close_code, 1000);
	assert_non_null(strstr(c.channel[3].p, "\"Failure\""));
}

static void port_tunnel(void **state)
{
	AUTO_CLIENT struct client c = {0};
	AUTO_BUF struct buf big = {0};

	(void)state;
	dial(&c, "/ports", "SPDY/3.1+portforward.k8s.io");
	assert_int_equal(c.status, 101);
	assert_string_equal(c.protocol, "SPDY/3.1+portforward.k8s.io");
	for (int i = 0; i < 3000000; i++)
		buf_addc(&big, (char)(i * 17));
	for (size_t off = 0; off < big.len; off += 100000)
		ws_frame(&c.ws, WS_BINARY, (struct str){big.p + off, 100000}, &c.refusal);
	stream_write(c.s, c.refusal.p, c.refusal.len);
	WAIT(c.channel[5].len == big.len);
	assert_memory_equal(c.channel[5].p, big.p, big.len);
	stream_free(c.s);
	c.s = NULL;
	WAIT(env.runtimes == 0);
}

static void spdy_passes_through(void **state)
{
	AUTO_CLIENT struct client c = {.raw = true};

	(void)state;
	dial(&c, "/raw", NULL);
	assert_int_equal(c.status, 101);
	stream_write(c.s, "any bytes", 9);
	WAIT(c.channel[5].len == 9);
	stream_shutdown(c.s);
	WAIT(c.eof && env.runtimes == 0);
}

static void v4_passes_through(void **state)
{
	AUTO_CLIENT struct client c = {.raw = true};

	(void)state;
	dial(&c, "/raw", "v4.channel.k8s.io");
	assert_int_equal(c.status, 101);
	stream_write(c.s, "frames", 6);
	WAIT(c.channel[5].len == 6);
	stream_free(c.s);
	c.s = NULL;
	WAIT(env.runtimes == 0);
}

static void refusals(void **state)
{
	AUTO_CLIENT struct client gone = {0}, pass = {0};

	(void)state;
	dial(&gone, "/gone", "v5.channel.k8s.io");
	assert_int_equal(gone.status, 404);
	assert_string_equal(gone.refusal.p, "token expired");
	dial(&pass, "/gone", NULL);
	assert_int_equal(pass.status, 404);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exec_with_stdin),
		cmocka_unit_test(tty_ping_and_resize),
		cmocka_unit_test(client_closes_first),
		cmocka_unit_test(bad_frame),
		cmocka_unit_test(runtime_dies),
		cmocka_unit_test(port_tunnel),
		cmocka_unit_test(spdy_passes_through),
		cmocka_unit_test(v4_passes_through),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0
 * HTTP server and client against each other over loopback: HTTP/1.1 and HTTP/2, plain and TLS. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "xebec/base/httpc.h"
#include "xebec/base/httpd.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

/* --- server side: one handler with a route per behaviour --- */

static atomic_int closed_exchanges, produced_mib, open_streams;

struct producer {
	uint64_t left;
	struct loop_timer timer;
};

static void count_close(struct http_exchange *x)
{
	(void)x;
	atomic_fetch_add(&closed_exchanges, 1);
	atomic_fetch_sub(&open_streams, 1);
}

static void produce(struct http_exchange *x)
{
	static const char block[65536];
	struct producer *p = x->user;

	while (p->left > 0 && x->ops->pending(x) < sizeof(block) * 4) {
		size_t n = p->left < sizeof(block) ? (size_t)p->left : sizeof(block);
		p->left -= n;
		if (p->left % (1u << 20) == 0)
			atomic_fetch_add(&produced_mib, 1);
		x->ops->write(x, block, n);
	}
	if (p->left == 0)
		x->ops->end(x);
}

static void route_big(struct http_exchange *x)
{
	struct producer *p = arena_alloc(&x->arena, sizeof(*p));

	assert_int_equal(str_u64(http_query_get(x, "n"), &p->left), 0);
	x->user = p;
	x->on_drain = produce;
	x->on_close = count_close;
	atomic_fetch_add(&open_streams, 1);
	x->ops->start(x, 200, NULL, 0);
	produce(x);
}

static void route_hang(struct http_exchange *x)
{
	x->on_close = count_close;
	atomic_fetch_add(&open_streams, 1);
	if (str_eqz(x->query, "started")) {
		x->ops->start(x, 200, NULL, 0);
		x->ops->write(x, "hello", 5);
	}
}

static void late_answer(struct loop_timer *t)
{
	struct http_exchange *x = t->arg;

	http_reply(x, 200, "text/plain", STR("late"), NULL, 0);
}

static void route_late(struct http_exchange *x)
{
	struct producer *p = arena_alloc(&x->arena, sizeof(*p));

	p->timer = (struct loop_timer){.fn = late_answer, .arg = x};
	(void)loop_timer_set(x->loop, &p->timer, 5 * NS_PER_MS);
}

static void route_peer(struct http_exchange *x)
{
	AUTO_BUF struct buf b = {0};

	buf_addf(&b, "%.*s bad=%d", STR_FMT(x->peer.cert_cn), x->peer.cert_bad);
	for (size_t i = 0; i < x->peer.n_cert_orgs; i++)
		buf_addf(&b, " %.*s", STR_FMT(x->peer.cert_orgs[i]));
	http_reply(x, 200, "text/plain", buf_str(&b), NULL, 0);
}

static void echo_data(struct stream *s, struct buf *in)
{
	stream_write(s, in->p, in->len);
	buf_consume(in, in->len);
}

static void echo_eof(struct stream *s)
{
	stream_free(s);
}

static void echo_error(struct stream *s, const struct err *e)
{
	(void)e;
	stream_free(s);
}

static const struct stream_events echo_events = {
	.on_data = echo_data, .on_eof = echo_eof, .on_error = echo_error};

static void route_upgrade(struct http_exchange *x)
{
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
				     "Upgrade: echo\r\n\r\n";
	struct stream *s;

	if (x->ops->hijack(x, &s) != 0) {
		http_reply(x, 400, NULL, STR("no upgrade"), NULL, 0);
		return;
	}
	stream_write(s, answer, sizeof(answer) - 1);
	stream_set_events(s, &echo_events, NULL);
}

static void route_trailers(struct http_exchange *x)
{
	const struct http_header t[] = {{STR("grpc-status"), STR("7")}};

	x->ops->start(x, 200, NULL, 0);
	x->ops->write(x, "abc", 3);
	if (x->ops->end_trailers)
		x->ops->end_trailers(x, t, 1);
	else
		x->ops->end(x);
}

static void route_echo(struct http_exchange *x)
{
	http_reply(x, 200, "application/octet-stream", x->body, NULL, 0);
}

static void route_evil(struct http_exchange *x)
{
	const struct http_header h[] = {
		{STR("x-a"), STR("b\r\nx-evil: 1")}, {STR("x-b"), STR("c")}};

	http_reply(x, 200, NULL, STR(""), h, 2);
}

static void route_abort(struct http_exchange *x)
{
	x->ops->start(x, 200, NULL, 0);
	x->ops->write(x, "partial", 7);
	x->ops->abort(x);
}

static const struct {
	const char *path;
	void (*fn)(struct http_exchange *x);
} routes[] = {{"/echo", route_echo}, {"/big", route_big}, {"/hang", route_hang},
	{"/late", route_late}, {"/peer", route_peer}, {"/upgrade", route_upgrade},
	{"/trailers", route_trailers}, {"/evil", route_evil}, {"/abort", route_abort}};

static void handler(void *srv, struct http_exchange *x)
{
	(void)srv;
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		if (str_eqz(x->path, routes[i].path)) {
			routes[i].fn(x);
			return;
		}
	}
	http_reply(x, 404, "text/plain", STR("not found"), NULL, 0);
}

/* --- environment --- */

static struct {
	struct loop *loop;
	struct httpd *plain, *secure;
	char plain_addr[64], secure_addr[64];
	struct tls_ctx *client, *client_cert, *client_bad;
} env;

static void local_addr(int fd, char out[64])
{
	struct sockaddr_in in;
	socklen_t n = sizeof(in);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	(void)snprintf(out, 64, "127.0.0.1:%u", ntohs(in.sin_port));
}

static struct httpd *server(struct tls_ctx *tls, char addr[64])
{
	struct httpd_config c = {.handler = handler,
		.tls = tls,
		.threads = 2,
		.max_body = 8u << 20,
		.max_header = 16384,
		.max_conns = 500,
		.idle_timeout_ns = 20 * NS_PER_SEC,
		.header_timeout_ns = 400 * NS_PER_MS};
	struct httpd *d;
	struct err e = {0};
	int fd = net_listen("127.0.0.1:0", &e);

	assert_true(fd >= 0);
	local_addr(fd, addr);
	assert_int_equal(httpd_new(&c, &d, &e), 0);
	assert_int_equal(httpd_listen_fd(d, fd, &e), 0);
	return d;
}

static int setup(void **state)
{
	AUTO_BUF struct buf ca = {0}, ca_key = {0}, cert = {0}, key = {0}, bad_ca = {0},
			    bad_key = {0};
	AUTO_BUF struct buf user = {0}, user_key = {0}, bad = {0}, badk = {0};
	static const char *const sans[] = {"DNS:localhost", "IP:127.0.0.1", NULL};
	static const char *const orgs[] = {"system:masters", "dev", NULL};
	struct pki_request sr = {.cn = "server", .sans = sans, .server = true};
	struct pki_request ur = {.cn = "alice", .orgs = orgs, .client = true};
	struct err e = {0};
	struct tls_ctx *st;

	(void)state;
	assert_int_equal(pki_ca_new("ca", &ca, &ca_key, &e), 0);
	assert_int_equal(pki_ca_new("ca", &bad_ca, &bad_key, &e), 0);
	assert_int_equal(pki_issue(buf_str(&ca), buf_str(&ca_key), &sr, &cert, &key, &e), 0);
	assert_int_equal(pki_issue(buf_str(&ca), buf_str(&ca_key), &ur, &user, &user_key, &e), 0);
	assert_int_equal(pki_issue(buf_str(&bad_ca), buf_str(&bad_key), &ur, &bad, &badk, &e), 0);
	assert_int_equal(tls_server_ctx(buf_str(&cert), buf_str(&key), buf_str(&ca), &st, &e), 0);
	assert_int_equal(
		tls_client_ctx(buf_str(&ca), (struct str){0}, (struct str){0}, &env.client, &e), 0);
	assert_int_equal(tls_client_ctx(buf_str(&ca), buf_str(&user), buf_str(&user_key),
				 &env.client_cert, &e),
		0);
	assert_int_equal(
		tls_client_ctx(buf_str(&ca), buf_str(&bad), buf_str(&badk), &env.client_bad, &e),
		0);
	env.loop = loop_new();
	env.plain = server(NULL, env.plain_addr);
	env.secure = server(st, env.secure_addr);
	tls_ctx_free(st);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	httpd_free(env.plain);
	httpd_free(env.secure);
	for (int i = 0; i < 3; i++)
		(void)loop_poll(env.loop, 0);
	loop_free(env.loop);
	tls_ctx_free(env.client);
	tls_ctx_free(env.client_cert);
	tls_ctx_free(env.client_bad);
	return 0;
}

#define WAIT(cond)                                                                                 \
	do {                                                                                       \
		int64_t wait_end = time_mono() + 20 * NS_PER_SEC;                                  \
		while (!(cond)) {                                                                  \
			(void)loop_poll(env.loop, 5);                                              \
			if (time_mono() > wait_end)                                                \
				fail_msg("no %s in time", #cond);                                  \
		}                                                                                  \
	} while (0)

/* --- client side --- */

struct reply {
	struct httpc_req *req;
	struct buf body;
	int status;
	bool done, keep; /* keep: cancel it from on_data once bytes came */
	struct err err;
	char type[64], trailer[16];
	uint64_t received;
	bool hold; /* pause after the first bytes */
	int *count;
};

static void reply_headers(struct httpc_req *r, int status, const struct http_header *h, size_t n)
{
	struct reply *p = httpc_arg(r);

	p->status = status;
	for (size_t i = 0; i < n; i++) {
		if (str_eqz(h[i].name, "content-type"))
			(void)str_copy(p->type, sizeof(p->type), h[i].value);
		assert_false(str_eqz(h[i].name, "x-evil"));
	}
}

static void reply_data(struct httpc_req *r, const void *b, size_t n)
{
	struct reply *p = httpc_arg(r);

	p->received += n;
	if (p->body.len < (8u << 20))
		buf_add(&p->body, b, n);
	if (p->hold) {
		p->hold = false;
		httpc_pause(r, true);
	}
}

static void reply_done(
	struct httpc_req *r, const struct err *e, const struct http_header *h, size_t n)
{
	struct reply *p = httpc_arg(r);

	assert_false(p->done);
	p->done = true;
	if (e)
		p->err = *e;
	for (size_t i = 0; i < n; i++) {
		if (str_eqz(h[i].name, "grpc-status"))
			(void)str_copy(p->trailer, sizeof(p->trailer), h[i].value);
	}
	if (p->count)
		++*p->count;
}

static const struct httpc_events reply_events = {
	.on_headers = reply_headers, .on_data = reply_data, .on_done = reply_done};

static void send_req(struct httpc *c, const char *method, const char *path, struct str body,
	int64_t timeout, struct reply *p)
{
	struct httpc_call call = {.method = method,
		.path = str_of(path),
		.body = body,
		.timeout_ns = timeout,
		.ev = &reply_events,
		.arg = p};

	p->req = httpc_send(c, &call);
	assert_non_null(p->req);
}

static void ask(
	struct httpc *c, const char *method, const char *path, struct str body, struct reply *p)
{
	send_req(c, method, path, body, 15 * NS_PER_SEC, p);
	WAIT(p->done);
	if (p->err.code)
		print_error("%s %s: %s\n", method, path, p->err.msg);
	assert_int_equal(p->err.code, 0);
}

enum kind { H1, H2C, TLS_H1, TLS_H2, KINDS };

static struct httpc *client(enum kind k)
{
	struct httpc_config c = {.loop = env.loop,
		.addr = k >= TLS_H1 ? env.secure_addr : env.plain_addr,
		.host = "localhost",
		.tls = k >= TLS_H1 ? env.client : NULL,
		.h2c = k == H2C,
		.alpn = k == TLS_H1 ? "http/1.1" : NULL};
	struct httpc *h;
	struct err e = {0};

	assert_int_equal(httpc_new(&c, &h, &e), 0);
	return h;
}

static void end_client(struct httpc *c)
{
	httpc_free(c);
	(void)loop_poll(env.loop, 0);
	(void)loop_poll(env.loop, 0);
}

static void reply_free(struct reply *r)
{
	buf_free(&r->body);
}
#define AUTO_REPLY AUTO(reply_free)

static void simple_requests(void **state)
{
	(void)state;
	for (enum kind k = 0; k < KINDS; k++) {
		struct httpc *c = client(k);
		for (int i = 0; i < 5; i++) {
			AUTO_REPLY struct reply a = {0}, b = {0}, d = {0}, l = {0}, v = {0};
			ask(c, "POST", "/echo?x=1", STR("some body"), &a);
			assert_int_equal(a.status, 200);
			assert_string_equal(a.type, "application/octet-stream");
			assert_true(str_eqz(buf_str(&a.body), "some body"));
			ask(c, "GET", "/nowhere", (struct str){0}, &b);
			assert_int_equal(b.status, 404);
			ask(c, "HEAD", "/nowhere", (struct str){0}, &d);
			assert_int_equal(d.status, 404);
			assert_int_equal(d.body.len, 0);
			ask(c, "GET", "/late", (struct str){0}, &l);
			assert_true(str_eqz(buf_str(&l.body), "late"));
			ask(c, "GET", "/evil", (struct str){0}, &v);
			assert_int_equal(v.status, 200);
		}
		end_client(c);
	}
}

static void big_bodies(void **state)
{
	AUTO_BUF struct buf big = {0};

	(void)state;
	for (size_t i = 0; i < (5u << 20); i++)
		buf_addc(&big, (char)(i * 7 + i / 251));
	for (enum kind k = 0; k < KINDS; k++) {
		struct httpc *c = client(k);
		AUTO_REPLY struct reply a = {0}, b = {0}, d = {0};
		ask(c, "PUT", "/echo", buf_str(&big), &a);
		assert_int_equal(a.status, 200);
		assert_true(str_eq(buf_str(&a.body), buf_str(&big)));
		ask(c, "GET", "/big?n=50000000", (struct str){0}, &b);
		assert_int_equal(b.received, 50000000);
		struct str too_big = {big.p, big.len};
		AUTO_BUF struct buf twice = {0};
		buf_add_str(&twice, too_big);
		buf_add_str(&twice, too_big);
		send_req(c, "PUT", "/echo", buf_str(&twice), 10 * NS_PER_SEC, &d);
		WAIT(d.done);
		assert_true(d.status == 413 || d.err.code != 0); /* a reset may beat the answer */
		end_client(c);
	}
}

static void hundred_at_once(void **state)
{
	(void)state;
	for (enum kind k = 0; k < KINDS; k++) {
		struct httpc *c = client(k);
		struct reply r[100] = {0};
		int count = 0;
		for (int i = 0; i < 100; i++) {
			char body[32];
			(void)snprintf(body, sizeof(body), "request %d", i);
			r[i].count = &count;
			send_req(c, "POST", i % 3 ? "/echo" : "/late", str_of(body),
				15 * NS_PER_SEC, &r[i]);
		}
		WAIT(count == 100);
		for (int i = 0; i < 100; i++) {
			char body[32];
			(void)snprintf(body, sizeof(body), i % 3 ? "request %d" : "late", i);
			assert_int_equal(r[i].err.code, 0);
			assert_true(str_eqz(buf_str(&r[i].body), body));
			reply_free(&r[i]);
		}
		end_client(c);
	}
}

/* A reader that stops must stop the producer: memory stays bounded. */
static void slow_reader_holds_producer(void **state)
{
	(void)state;
	for (enum kind k = 0; k < KINDS; k++) {
		struct httpc *c = client(k);
		AUTO_REPLY struct reply r = {.hold = true};
		atomic_store(&produced_mib, 0);
		send_req(c, "GET", "/big?n=209715200", (struct str){0}, 20 * NS_PER_SEC, &r);
		WAIT(r.received > 0 && !r.hold);
		int before = -1;
		for (int i = 0; i < 100 && before != atomic_load(&produced_mib); i++) {
			before = atomic_load(&produced_mib);
			for (int j = 0; j < 10; j++)
				(void)loop_poll(env.loop, 5);
		}
		assert_true(atomic_load(&produced_mib) < 60);
		assert_true(r.received < (40u << 20));
		httpc_pause(r.req, false);
		WAIT(r.done);
		assert_int_equal(r.err.code, 0);
		assert_int_equal(r.received, 209715200);
		end_client(c);
	}
}

static void vanished_clients_are_told(void **state)
{
	(void)state;
	for (enum kind k = 0; k < KINDS; k++) {
		struct httpc *c = client(k);
		AUTO_REPLY struct reply a = {0}, b = {0}, d = {0};
		atomic_store(&closed_exchanges, 0);
		send_req(c, "GET", "/hang?started", (struct str){0}, 0, &a);
		send_req(c, "GET", "/hang?started", (struct str){0}, 0, &b);
		send_req(c, "GET", "/big?n=99999999999", (struct str){0}, 0, &d);
		WAIT(a.received == 5 && b.received == 5 && d.received > 100000);
		httpc_cancel(a.req);
		httpc_cancel(d.req);
		WAIT(atomic_load(&closed_exchanges) == 2);
		assert_false(a.done || b.done || d.done);
		end_client(c); /* the connection goes, and b with it */
		WAIT(atomic_load(&closed_exchanges) == 3);
	}
}

static void timeout_of_a_request(void **state)
{
	(void)state;
	for (enum kind k = 0; k < KINDS; k++) {
		struct httpc *c = client(k);
		AUTO_REPLY struct reply a = {0}, b = {0};
		send_req(c, "GET", "/hang", (struct str){0}, 50 * NS_PER_MS, &a);
		WAIT(a.done);
		assert_int_equal(a.err.code, -ETIMEDOUT);
		ask(c, "GET", "/echo", (struct str){0}, &b);
		end_client(c);
	}
}

static void refused_connection(void **state)
{
	struct httpc_config cfg = {.loop = env.loop, .addr = "127.0.0.1:1", .host = "localhost"};
	struct httpc *c;
	struct err e = {0};
	AUTO_REPLY struct reply a = {0}, b = {0};

	(void)state;
	assert_int_equal(httpc_new(&cfg, &c, &e), 0);
	send_req(c, "GET", "/", (struct str){0}, 0, &a);
	send_req(c, "GET", "/", (struct str){0}, 0, &b);
	WAIT(a.done && b.done);
	assert_int_equal(a.err.code, -ECONNREFUSED);
	end_client(c);
}

static void abort_is_an_error(void **state)
{
	(void)state;
	for (enum kind k = 0; k < KINDS; k++) {
		struct httpc *c = client(k);
		AUTO_REPLY struct reply a = {0};
		send_req(c, "GET", "/abort", (struct str){0}, 10 * NS_PER_SEC, &a);
		WAIT(a.done);
		assert_int_not_equal(a.err.code, 0);
		end_client(c);
	}
}

static void trailers_reach_the_client(void **state)
{
	struct httpc *c = client(TLS_H2);
	AUTO_REPLY struct reply a = {0};

	(void)state;
	ask(c, "GET", "/trailers", (struct str){0}, &a);
	assert_string_equal(a.trailer, "7");
	assert_true(str_eqz(buf_str(&a.body), "abc"));
	end_client(c);
}

static void body_in_pieces(void **state)
{
	(void)state;
	for (enum kind k = 0; k < KINDS; k++) {
		struct httpc *c = client(k);
		AUTO_REPLY struct reply r = {0};
		AUTO_BUF struct buf want = {0};
		struct httpc_call call = {.method = "POST",
			.path = STR("/echo"),
			.body = STR("first "),
			.timeout_ns = 10 * NS_PER_SEC,
			.body_more = true,
			.ev = &reply_events,
			.arg = &r};
		r.req = httpc_send(c, &call);
		buf_adds(&want, "first ");
		for (int i = 0; i < 200 && !r.done; i++) {
			char piece[3000];
			memset(piece, 'a' + i % 26, sizeof(piece));
			httpc_write(r.req, piece, sizeof(piece), i == 199);
			buf_add(&want, piece, sizeof(piece));
			(void)loop_poll(env.loop, i % 5 == 0 ? 1 : 0);
		}
		WAIT(r.done);
		if (k == H1 || k == TLS_H1) {
			assert_int_equal(r.err.code, -ENOTSUP);
		} else {
			assert_int_equal(r.err.code, 0);
			assert_true(str_eq(buf_str(&r.body), buf_str(&want)));
		}
		end_client(c);
	}
}

static void peer_text(struct tls_ctx *tls, const char *alpn, const char *want)
{
	struct httpc_config cfg = {.loop = env.loop,
		.addr = env.secure_addr,
		.host = "localhost",
		.tls = tls,
		.alpn = alpn};
	struct err e = {0};

	for (int i = 0; i < 2; i++) { /* the second connection resumes the first's session */
		AUTO_REPLY struct reply a = {0};
		struct httpc *c;
		assert_int_equal(httpc_new(&cfg, &c, &e), 0);
		ask(c, "GET", "/peer", (struct str){0}, &a);
		assert_true(str_eqz(buf_str(&a.body), want));
		end_client(c);
	}
}

static void client_certificates(void **state)
{
	(void)state;
	peer_text(env.client_cert, "http/1.1", "alice bad=0 system:masters dev");
	peer_text(env.client_cert, NULL, "alice bad=0 system:masters dev");
	peer_text(env.client, NULL, " bad=0");
	peer_text(env.client_bad, NULL, " bad=1");
}

static void wrong_server_name(void **state)
{
	struct httpc_config cfg = {
		.loop = env.loop, .addr = env.secure_addr, .host = "elsewhere", .tls = env.client};
	struct err e = {0};
	struct httpc *c;
	AUTO_REPLY struct reply a = {0}, b = {0};

	(void)state;
	assert_int_equal(httpc_new(&cfg, &c, &e), 0);
	send_req(c, "GET", "/", (struct str){0}, 0, &a);
	WAIT(a.done);
	assert_non_null(strstr(a.err.msg, "certificate"));
	end_client(c);
	cfg.host = "127.0.0.1";
	assert_int_equal(httpc_new(&cfg, &c, &e), 0);
	ask(c, "GET", "/echo", (struct str){0}, &b);
	end_client(c);
}

/* --- raw sockets: what a client of ours would never send --- */

static int dial_raw(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	in.sin_port = htons((uint16_t)atoi(strchr(env.plain_addr, ':') + 1));
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

/* Everything until the server closes or 5 s pass. */
static void read_all(int fd, struct buf *out)
{
	char chunk[4096];
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (poll(&p, 1, 5000) == 1) {
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n <= 0)
			return;
		buf_add(out, chunk, (size_t)n);
	}
	fail_msg("the server did not close");
}

static void raw_answer(const char *text, size_t n, struct buf *out)
{
	AUTO_CLOSE int fd = dial_raw();

	assert_int_equal(send(fd, text, n, MSG_NOSIGNAL), n);
	read_all(fd, out);
}

static void malformed_requests_get_400_and_close(void **state)
{
	static const struct {
		const char *text, *status;
	} t[] = {
		{"GET / HTTP/1.1\r\n\r\n", " 400 "},
		{"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\r\n", " 400 "},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
			" 400 "},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n", " 413 "},
		{"GET / HTTP/3.0\r\nHost: a\r\n\r\n", " 505 "},
		{"GET /slow HTTP/1.1\r\nHost: a\r\n", " 408 "}, /* header_timeout */
		{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc", " 408 "},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		AUTO_BUF struct buf out = {0};
		size_t n = t[i].text[0] == 0x16 ? 11 : strlen(t[i].text);
		raw_answer(t[i].text, n, &out);
		assert_true(out.len > 12);
		assert_memory_equal(out.p + 8, t[i].status, 5);
	}
}

static void oversized_header(void **state)
{
	AUTO_BUF struct buf in = {0}, out = {0};

	(void)state;
	buf_adds(&in, "GET / HTTP/1.1\r\nHost: a\r\nx: ");
	for (int i = 0; i < 20000; i++)
		buf_addc(&in, 'x');
	raw_answer(in.p, in.len, &out);
	assert_memory_equal(out.p + 8, " 431 ", 5);
}

static size_t count_text(struct str s, const char *what)
{
	size_t n = 0;

	for (const char *p = s.p; p && (p = strstr(p, what)) != NULL; p++)
		n++;
	return n;
}

static void pipelining_and_continue(void **state)
{
	AUTO_BUF struct buf in = {0}, out = {0}, split = {0};

	(void)state;
	for (int i = 0; i < 200; i++)
		buf_addf(&in, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nn%03d",
			i % 50 ? "/echo" : "/late", i);
	buf_adds(&in,
		"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n"
		"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n");
	raw_answer(in.p, in.len, &out);
	assert_int_equal(count_text(buf_str(&out), "HTTP/1.1 200 OK"), 201);
	assert_int_equal(count_text(buf_str(&out), "HTTP/1.1 100 Continue"), 1);
	const char *a = strstr(out.p, "n007"), *b = strstr(out.p, "n008");
	assert_true(a && b && a < b);

	AUTO_CLOSE int fd = dial_raw(); /* the tail, one byte at a time */
	size_t tail = in.len - 400;
	while (memcmp(in.p + tail, "POST", 4) != 0)
		tail++;
	for (size_t i = tail; i < in.len; i++)
		assert_int_equal(send(fd, in.p + i, 1, MSG_NOSIGNAL), 1);
	read_all(fd, &split);
	assert_non_null(strstr(split.p, "\r\n\r\nab"));
}

static void http10_and_chunked(void **state)
{
	AUTO_BUF struct buf a = {0}, b = {0};
	static const char old[] = "GET /big?n=10 HTTP/1.0\r\n\r\n";
	static const char now[] = "GET /big?n=10 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

	(void)state;
	raw_answer(old, sizeof(old) - 1, &a);
	assert_int_equal(count_text(buf_str(&a), "chunked"), 0);
	raw_answer(now, sizeof(now) - 1, &b);
	assert_int_equal(count_text(buf_str(&b), "chunked"), 1);
	assert_true(b.len > 5 && memcmp(b.p + b.len - 5, "0\r\n\r\n", 5) == 0);
}

/* --- upgrade --- */

struct up {
	struct stream *s;
	int status;
	struct buf got;
	bool eof, failed;
};

static void up_data(struct stream *s, struct buf *in)
{
	struct up *u = stream_arg(s);

	buf_add_str(&u->got, buf_str(in));
	buf_consume(in, in->len);
}

static void up_eof(struct stream *s)
{
	((struct up *)stream_arg(s))->eof = true;
}

static void up_error(struct stream *s, const struct err *e)
{
	(void)e;
	((struct up *)stream_arg(s))->failed = true;
}

static const struct stream_events up_events = {
	.on_data = up_data, .on_eof = up_eof, .on_error = up_error};

static void upgraded(void *arg, const struct err *e, int status, const struct http_header *h,
	size_t n, struct str body, struct stream *s)
{
	struct up *u = arg;

	(void)h;
	(void)n;
	(void)body;
	u->status = e ? -1 : status;
	u->s = s;
	if (s)
		stream_set_events(s, &up_events, u);
}

static void upgrade_echo(void **state)
{
	(void)state;
	for (int tls = 0; tls < 2; tls++) {
		struct http_header h[] = {
			{STR("connection"), STR("Upgrade")}, {STR("upgrade"), STR("echo")}};
		struct httpc_call call = {.method = "POST",
			.path = STR("/upgrade"),
			.headers = h,
			.n_headers = 2,
			.timeout_ns = 5 * NS_PER_SEC};
		struct up u = {0}, v = {0};
		struct err e = {0};
		AUTO_BUF struct buf big = {0};
		const char *addr = tls ? env.secure_addr : env.plain_addr;
		assert_int_equal(httpc_upgrade(env.loop, addr, tls ? env.client : NULL, "localhost",
					 &call, upgraded, &u, &e),
			0);
		WAIT(u.status != 0);
		assert_int_equal(u.status, 101);
		for (int i = 0; i < 2000000; i++)
			buf_addc(&big, (char)(i * 31));
		stream_write(u.s, big.p, big.len);
		WAIT(u.got.len == big.len);
		assert_memory_equal(u.got.p, big.p, big.len);
		stream_shutdown(u.s);
		WAIT(u.eof || u.failed);
		stream_free(u.s);
		buf_free(&u.got);
		call.path = STR("/nowhere");
		assert_int_equal(httpc_upgrade(env.loop, addr, tls ? env.client : NULL, "localhost",
					 &call, upgraded, &v, &e),
			0);
		WAIT(v.status != 0);
		assert_int_equal(v.status, 404);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(simple_requests),
		cmocka_unit_test(big_bodies),
		cmocka_unit_test(hundred_at_once),
		cmocka_unit_test(slow_reader_holds_producer),
		cmocka_unit_test(vanished_clients_are_told),
		cmocka_unit_test(timeout_of_a_request),
		cmocka_unit_test(refused_connection),
		cmocka_unit_test(abort_is_an_error),
		cmocka_unit_test(trailers_reach_the_client),
		cmocka_unit_test(body_in_pieces),
		cmocka_unit_test(client_certificates),
		cmocka_unit_test(wrong_server_name),
		cmocka_unit_test(malformed_requests_get_400_and_close),
		cmocka_unit_test(oversized_header),
		cmocka_unit_test(pipelining_and_continue),
		cmocka_unit_test(http10_and_chunked),
		cmocka_unit_test(upgrade_echo),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0
 * gRPC client against an h2c server of our own; with XEBEC_TEST_CRI=unix:/path also against a real
 * container runtime. */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "xebec/base/grpc.h"
#include "xebec/base/httpd.h"
#include "xebec/base/timefmt.h"

static struct {
	struct loop *loop;
	struct httpd *server;
	char path[64], addr[80];
	int gone;
} env;

static void add_message(struct buf *b, struct str m)
{
	const unsigned char h[5] = {
		0, 0, (unsigned char)(m.n >> 16), (unsigned char)(m.n >> 8), (unsigned char)m.n};

	buf_add(b, h, 5);
	buf_add_str(b, m);
}

static void finish(struct http_exchange *x, const char *status, const char *message)
{
	const struct http_header t[] = {
		{STR("grpc-status"), str_of(status)}, {STR("grpc-message"), str_of(message)}};

	x->ops->end_trailers(x, t, 2);
}

static void count_gone(struct http_exchange *x)
{
	(void)x;
	env.gone++;
}

static void unary(struct http_exchange *x)
{
	AUTO_BUF struct buf b = {0};

	assert_true(str_eqz(http_header_get(x, "te"), "trailers"));
	assert_true(x->body.n >= 5);
	add_message(&b, (struct str){x->body.p + 5, x->body.n - 5});
	x->ops->write(x, b.p, b.len);
	finish(x, "0", "");
}

static void stream(struct http_exchange *x)
{
	AUTO_BUF struct buf b = {0};

	for (int i = 0; i < 1000; i++) {
		char text[200];
		int n = snprintf(text, sizeof(text), "message %0*d", i % 180 + 1, i);
		add_message(&b, (struct str){text, (size_t)n});
	}
	for (size_t i = 0; i < b.len; i += 7) /* frames cut anywhere */
		x->ops->write(x, b.p + i, b.len - i < 7 ? b.len - i : 7);
	finish(x, "0", "");
}

static void handler(void *srv, struct http_exchange *x)
{
	const struct http_header ct = {STR("content-type"), STR("application/grpc")};
	const struct http_header only[] = {ct, {STR("grpc-status"), STR("12")},
		{STR("grpc-message"), STR("unknown%20method")}};

	(void)srv;
	if (str_eqz(x->path, "/t.T/None")) {
		x->ops->start(x, 200, only, 3);
		x->ops->end(x);
		return;
	}
	if (str_eqz(x->path, "/t.T/Http")) {
		http_reply(x, 502, NULL, STR("no"), NULL, 0);
		return;
	}
	x->ops->start(x, 200, &ct, 1);
	if (str_eqz(x->path, "/t.T/Echo")) {
		unary(x);
	} else if (str_eqz(x->path, "/t.T/Stream")) {
		stream(x);
	} else if (str_eqz(x->path, "/t.T/Torn")) {
		x->ops->write(x,
			"\0\0\0\0\x09"
			"abc",
			8);
		finish(x, "0", "");
	} else {
		x->on_close = count_gone;
		x->ops->write(x,
			"\0\0\0\0\x02"
			"hi",
			7);
	}
}

static int setup(void **state)
{
	struct err e = {0};
	struct httpd_config c = {.handler = handler, .max_body = 1u << 24};

	(void)state;
	env.loop = c.loop = loop_new();
	(void)snprintf(env.path, sizeof(env.path), "/tmp/basenet-grpc-%d.sock", getpid());
	(void)snprintf(env.addr, sizeof(env.addr), "unix:%s", env.path);
	int fd = net_listen(env.addr, &e);
	assert_true(fd >= 0);
	assert_int_equal(httpd_new(&c, &env.server, &e), 0);
	assert_int_equal(httpd_listen_fd(env.server, fd, &e), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	httpd_free(env.server);
	for (int i = 0; i < 3; i++)
		(void)loop_poll(env.loop, 0);
	loop_free(env.loop);
	(void)unlink(env.path);
	return 0;
}

struct result {
	int messages, status;
	bool done;
	struct buf last;
	char text[100];
	struct grpc_call *call;
	bool cancel; /* at the first message */
};

static void on_message(void *arg, struct str m)
{
	struct result *r = arg;

	r->messages++;
	buf_clear(&r->last);
	buf_add_str(&r->last, m);
	if (r->cancel)
		grpc_cancel(r->call);
}

static void on_done(void *arg, int status, const struct err *e)
{
	struct result *r = arg;

	assert_false(r->done);
	r->done = true;
	r->status = status;
	if (e)
		(void)snprintf(r->text, sizeof(r->text), "%s", e->msg);
}

static const struct grpc_events events = {.on_message = on_message, .on_done = on_done};

#define WAIT(cond)                                                                                 \
	do {                                                                                       \
		int64_t wait_end = time_mono() + 10 * NS_PER_SEC;                                  \
		while (!(cond)) {                                                                  \
			(void)loop_poll(env.loop, 5);                                              \
			if (time_mono() > wait_end)                                                \
				fail_msg("no %s in time", #cond);                                  \
		}                                                                                  \
	} while (0)

static struct grpc *dial(const char *addr)
{
	struct grpc *g;
	struct err e = {0};

	assert_int_equal(grpc_new(env.loop, addr, &g, &e), 0);
	return g;
}

static void end(struct grpc *g)
{
	grpc_free(g);
	(void)loop_poll(env.loop, 0);
	(void)loop_poll(env.loop, 0);
}

static void call(
	struct grpc *g, const char *method, struct str m, int64_t timeout, struct result *r)
{
	r->call = grpc_send(g, method, m, timeout, &events, r);
	assert_non_null(r->call);
	WAIT(r->done);
}

static void calls_and_statuses(void **state)
{
	struct grpc *g = dial(env.addr);
	struct result a = {0}, none = {0}, http = {0}, torn = {0}, late = {0}, s = {0};
	AUTO_BUF struct buf big = {0};

	(void)state;
	for (int i = 0; i < 3000000; i++)
		buf_addc(&big, (char)(i * 13));
	call(g, "/t.T/Echo", buf_str(&big), NS_PER_SEC * 5, &a);
	assert_int_equal(a.status, 0);
	assert_true(str_eq(buf_str(&a.last), buf_str(&big)));
	call(g, "/t.T/None", STR(""), 0, &none);
	assert_int_equal(none.status, 12);
	assert_string_equal(none.text, "unknown method");
	call(g, "/t.T/Http", STR(""), 0, &http);
	assert_int_equal(http.status, 2);
	call(g, "/t.T/Torn", STR(""), 0, &torn);
	assert_int_equal(torn.status, 13);
	call(g, "/t.T/Hang", STR(""), 50 * NS_PER_MS, &late);
	assert_int_equal(late.status, 4);
	assert_int_equal(late.messages, 1);
	WAIT(env.gone == 1);
	call(g, "/t.T/Stream", STR(""), 0, &s);
	assert_int_equal(s.status, 0);
	assert_int_equal(s.messages, 1000);
	end(g);
	buf_free(&a.last);
	buf_free(&late.last);
	buf_free(&s.last);
}

static void cancel_inside_callback(void **state)
{
	struct grpc *g = dial(env.addr);
	struct result r = {.cancel = true}, left = {0};
	int before = env.gone;

	(void)state;
	r.call = grpc_send(g, "/t.T/Hang", STR(""), 0, &events, &r);
	WAIT(r.messages == 1);
	WAIT(env.gone == before + 1);
	assert_false(r.done);
	left.call = grpc_send(g, "/t.T/Hang", STR(""), 0, &events, &left);
	WAIT(left.messages == 1);
	end(g); /* frees what is under way */
	WAIT(env.gone == before + 2);
	assert_false(left.done);
	buf_free(&r.last);
	buf_free(&left.last);
}

static void nobody_there(void **state)
{
	struct grpc *g = dial("unix:/tmp/basenet-no-such-socket");
	struct result r = {0};

	(void)state;
	call(g, "/t.T/Echo", STR(""), 0, &r);
	assert_int_equal(r.status, 14);
	end(g);
}

/* The server restarts under the client: the next call dials again. */
static void reconnects(void **state)
{
	struct grpc *g = dial(env.addr);
	struct result a = {0}, b = {0};
	struct httpd_config c = {.handler = handler, .loop = env.loop};
	struct err e = {0};

	(void)state;
	call(g, "/t.T/Echo", STR("x"), 0, &a);
	assert_int_equal(a.status, 0);
	httpd_free(env.server);
	for (int i = 0; i < 5; i++)
		(void)loop_poll(env.loop, 1);
	int fd = net_listen(env.addr, &e);
	assert_int_equal(httpd_new(&c, &env.server, &e), 0);
	assert_int_equal(httpd_listen_fd(env.server, fd, &e), 0);
	call(g, "/t.T/Echo", STR("y"), 0, &b);
	assert_int_equal(b.status, 0);
	end(g);
	buf_free(&a.last);
	buf_free(&b.last);
}

static void real_runtime(void **state)
{
	const char *addr = getenv("XEBEC_TEST_CRI");
	struct result v = {0}, none = {0};

	(void)state;
	if (!addr)
		skip();
	struct grpc *g = dial(addr);
	call(g, "/runtime.v1.RuntimeService/Version", STR(""), 5 * NS_PER_SEC, &v);
	assert_int_equal(v.status, 0);
	assert_non_null(memmem(v.last.p, v.last.len, "containerd", 10));
	call(g, "/runtime.v1.RuntimeService/RuntimeConfig", STR(""), 5 * NS_PER_SEC, &none);
	assert_int_equal(none.status, 12);
	end(g);
	buf_free(&v.last);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_and_statuses),
		cmocka_unit_test(cancel_inside_callback),
		cmocka_unit_test(nobody_there),
		cmocka_unit_test(reconnects),
		cmocka_unit_test(real_runtime),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

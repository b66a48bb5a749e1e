/* SPDX-License-Identifier: Apache-2.0
 * HTTP server under bad conditions: hostile bytes, silent clients, too many connections, late
 * handlers, stopping with work under way. Raw sockets as clients. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "xebec/base/httpd.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static atomic_int lost, answered, ended;

static void gone(struct http_exchange *x)
{
	(void)x;
	atomic_fetch_add(&lost, 1);
}

struct late {
	struct loop_timer timer;
	struct http_exchange *x;
};

static void answer_late(struct loop_timer *t)
{
	struct late *l = t->arg;

	atomic_fetch_add(&answered, 1);
	http_reply(l->x, 200, NULL, STR("late"), NULL, 0);
	free(l);
}

static void handler(void *srv, struct http_exchange *x)
{
	(void)srv;
	if (str_eqz(x->path, "/late")) { /* a handler that does not care whether the client waits */
		struct late *l = calloc(1, sizeof(*l));
		*l = (struct late){.x = x};
		l->timer = (struct loop_timer){.fn = answer_late, .arg = l};
		(void)loop_timer_set(x->loop, &l->timer, 100 * NS_PER_MS);
	} else if (str_eqz(x->path, "/watch")) {
		x->on_close = gone;
		x->ops->start(x, 200, NULL, 0);
		x->ops->write(x, "event\n", 6);
	} else if (str_eqz(x->path, "/big")) {
		AUTO_BUF struct buf b = {0};
		for (int i = 0; i < 100000; i++)
			buf_adds(&b, "0123456789");
		http_reply(x, 200, NULL, buf_str(&b), NULL, 0);
		atomic_fetch_add(&ended, 1);
	} else {
		http_reply(x, 200, NULL, STR("ok"), NULL, 0);
	}
}

struct server {
	struct httpd *d;
	struct sockaddr_in addr;
};

static void start(struct server *s, struct httpd_config c)
{
	struct err e = {0};
	socklen_t n = sizeof(s->addr);
	int fd = net_listen("127.0.0.1:0", &e);

	c.handler = handler;
	c.threads = c.threads ? c.threads : 1;
	assert_int_equal(getsockname(fd, (struct sockaddr *)&s->addr, &n), 0);
	assert_int_equal(httpd_new(&c, &s->d, &e), 0);
	assert_int_equal(httpd_listen_fd(s->d, fd, &e), 0);
}

static int dial(const struct server *s)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, (const struct sockaddr *)&s->addr, sizeof(s->addr)), 0);
	return fd;
}

static void put(int fd, const void *p, size_t n)
{
	(void)!send(fd, p, n, MSG_NOSIGNAL);
}

static void puts_fd(int fd, const char *z)
{
	put(fd, z, strlen(z));
}

/* Reads until the server closes; -1 when it does not within ms. */
static ssize_t drain(int fd, int ms, struct buf *out)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char chunk[65536];
	ssize_t total = 0;
	int64_t end = time_mono() + ms * NS_PER_MS;

	while (time_mono() < end) {
		if (poll(&p, 1, 20) != 1)
			continue;
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n <= 0)
			return total;
		total += n;
		if (out)
			buf_add(out, chunk, (size_t)n);
	}
	return -1;
}

#define WAIT(cond)                                                                                 \
	do {                                                                                       \
		int64_t wait_end = time_mono() + 10 * NS_PER_SEC;                                  \
		while (!(cond)) {                                                                  \
			(void)poll(NULL, 0, 2);                                                    \
			if (time_mono() > wait_end)                                                \
				fail_msg("no %s in time", #cond);                                  \
		}                                                                                  \
	} while (0)

static void still_serves(const struct server *s)
{
	AUTO_CLOSE int fd = dial(s);
	AUTO_BUF struct buf out = {0};

	puts_fd(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	assert_true(drain(fd, 5000, &out) > 0);
	assert_non_null(strstr(out.p, "200 OK"));
}

/* A valid HTTP/2 conversation, then the same with random damage: the server must survive all. */
static void damaged_http2(void **state)
{
	static const unsigned char frames[] = {0, 0, 0, 4, 0, 0, 0, 0, 0, /* SETTINGS */
		0, 0, 7, 1, 5, 0, 0, 0, 1, /* HEADERS: GET http / host */
		0x82, 0x86, 0x84, 0x41, 0x02, 'a', 'b', 0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6,
		7, 8,					/* PING */
		0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0,	/* WINDOW_UPDATE */
		0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8}; /* RST_STREAM */
	struct server s;

	(void)state;
	srand(7);
	start(&s, (struct httpd_config){0});
	for (int round = 0; round < 400; round++) {
		AUTO_CLOSE int fd = dial(&s);
		unsigned char copy[sizeof(frames)];
		memcpy(copy, frames, sizeof(frames));
		for (int k = 0; k < round % 7; k++)
			copy[(size_t)rand() % sizeof(copy)] ^= (unsigned char)(1 << rand() % 8);
		put(fd, preface, sizeof(preface) - 1);
		put(fd, copy, round % 3 ? sizeof(copy) : (size_t)rand() % sizeof(copy));
	}
	still_serves(&s);
	httpd_free(s.d);
}

static void random_bytes_in(void **state)
{
	struct server s;

	(void)state;
	start(&s, (struct httpd_config){0});
	for (int round = 0; round < 200; round++) {
		AUTO_CLOSE int fd = dial(&s);
		unsigned char junk[300];
		random_bytes(junk, sizeof(junk));
		put(fd, junk, sizeof(junk));
	}
	still_serves(&s);
	httpd_free(s.d);
}

static void silent_and_idle_clients(void **state)
{
	struct server s;
	AUTO_BUF struct buf ca = {0}, ck = {0}, c = {0}, k = {0};
	struct pki_request r = {.cn = "s", .server = true};
	struct err e = {0};
	struct tls_ctx *tls;

	(void)state;
	start(&s, (struct httpd_config){.idle_timeout_ns = 200 * NS_PER_MS,
			  .header_timeout_ns = 200 * NS_PER_MS});
	AUTO_CLOSE int silent = dial(&s), idle = dial(&s), half = dial(&s), h2 = dial(&s);
	puts_fd(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	puts_fd(half, "PRI * HT");
	put(h2, preface, sizeof(preface) - 1);
	put(h2, "\0\0\0\4\0\0\0\0\0", 9);
	assert_int_equal(drain(silent, 3000, NULL), 0);
	assert_true(drain(idle, 3000, NULL) > 0);
	assert_int_equal(drain(half, 3000, NULL), 0);
	assert_true(drain(h2, 3000, NULL) > 0);
	httpd_free(s.d);

	assert_int_equal(pki_ca_new("ca", &ca, &ck, &e), 0);
	assert_int_equal(pki_issue(buf_str(&ca), buf_str(&ck), &r, &c, &k, &e), 0);
	assert_int_equal(tls_server_ctx(buf_str(&c), buf_str(&k), (struct str){0}, &tls, &e), 0);
	start(&s, (struct httpd_config){.tls = tls, .header_timeout_ns = 200 * NS_PER_MS});
	AUTO_CLOSE int shy = dial(&s), junk = dial(&s); /* no handshake, a broken one */
	puts_fd(junk, "GET / HTTP/1.1\r\n\r\n");
	assert_int_equal(drain(shy, 3000, NULL), 0);
	assert_true(drain(junk, 3000, NULL) >= 0);
	httpd_free(s.d);
	tls_ctx_free(tls);
}

static void connection_limit(void **state)
{
	struct server s;
	int fd[8];

	(void)state;
	start(&s, (struct httpd_config){.max_conns = 4, .threads = 2});
	for (int i = 0; i < 8; i++)
		fd[i] = dial(&s);
	for (int i = 4; i < 8; i++)
		assert_int_equal(drain(fd[i], 3000, NULL), 0);
	for (int i = 0; i < 8; i++)
		(void)close(fd[i]);
	for (int i = 0; i < 50; i++) { /* the places become free again */
		AUTO_CLOSE int again = dial(&s);
		AUTO_BUF struct buf out = {0};
		puts_fd(again, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
		if (drain(again, 3000, &out) > 0)
			break;
		assert_int_not_equal(i, 49);
	}
	httpd_free(s.d);
}

static void handlers_that_answer_nobody(void **state)
{
	struct server s;
	int before = atomic_load(&answered);

	(void)state;
	start(&s, (struct httpd_config){0});
	for (int i = 0; i < 10; i++) {
		int fd = dial(&s);
		if (i % 2) {
			puts_fd(fd, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
		} else {
			put(fd, preface, sizeof(preface) - 1);
			put(fd, "\0\0\0\4\0\0\0\0\0", 9);
			put(fd, "\0\0\x0a\1\5\0\0\0\1\x82\x86\x44\5/late\x84", 9 + 9);
		}
		(void)poll(NULL, 0, 5);
		struct linger reset = {.l_onoff = 1};
		(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		(void)close(fd);
	}
	WAIT(atomic_load(&answered) >= before + 5);
	(void)poll(NULL, 0, 150);
	still_serves(&s);
	httpd_free(s.d);
}

/* A client that pipelines without reading gets no more work done than fits in the buffers. */
static void greedy_pipeline(void **state)
{
	struct server s;
	int before = atomic_load(&ended);

	(void)state;
	start(&s, (struct httpd_config){0});
	AUTO_CLOSE int fd = dial(&s);
	int small = 65536;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (int i = 0; i < 100; i++)
		puts_fd(fd, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
	puts_fd(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	WAIT(atomic_load(&ended) > before);
	(void)poll(NULL, 0, 200);
	assert_true(atomic_load(&ended) < before + 20);
	assert_true(drain(fd, 10000, NULL) > 100 * 1000000);
	httpd_free(s.d);
}

static void half_close_still_gets_its_answer(void **state)
{
	struct server s;
	AUTO_BUF struct buf a = {0}, b = {0};

	(void)state;
	start(&s, (struct httpd_config){0});
	AUTO_CLOSE int late = dial(&s), big = dial(&s);
	puts_fd(late, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
	puts_fd(big, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)shutdown(late, SHUT_WR);
	(void)shutdown(big, SHUT_WR);
	assert_true(drain(late, 5000, &a) > 0);
	assert_non_null(strstr(a.p, "\r\n\r\nlate"));
	assert_true(drain(big, 5000, &b) > 1000000);
	httpd_free(s.d);
}

static void stop_with_work_under_way(void **state)
{
	struct server s;
	AUTO_BUF struct buf out = {0};
	int before = atomic_load(&lost);

	(void)state;
	start(&s, (struct httpd_config){.threads = 2});
	AUTO_CLOSE int watch = dial(&s), late = dial(&s), idle = dial(&s), more = dial(&s);
	char first[200];
	puts_fd(watch, "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n");
	puts_fd(more, "GET /watch HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_true(read(watch, first, sizeof(first)) > 0);
	assert_true(read(more, first, sizeof(first)) > 0);
	puts_fd(late, "GET /late HTTP/1.1\r\nHost: a\r\n\r\n");
	(void)poll(NULL, 0, 20);
	int64_t begun = time_mono();
	httpd_stop(s.d);
	assert_true(time_mono() - begun < 4 * NS_PER_SEC);
	assert_int_equal(atomic_load(&lost), before + 2);
	assert_true(drain(late, 1000, &out) > 0); /* it was allowed to finish */
	assert_non_null(strstr(out.p, "late"));
	assert_int_equal(drain(idle, 1000, NULL), 0);
	httpd_free(s.d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_http2),
		cmocka_unit_test(random_bytes_in),
		cmocka_unit_test(silent_and_idle_clients),
		cmocka_unit_test(connection_limit),
		cmocka_unit_test(handlers_that_answer_nobody),
		cmocka_unit_test(greedy_pipeline),
		cmocka_unit_test(half_close_still_gets_its_answer),
		cmocka_unit_test(stop_with_work_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

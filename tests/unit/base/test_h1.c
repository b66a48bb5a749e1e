/* SPDX-License-Identifier: Apache-2.0
 * HTTP/1.x parser: accepted and refused requests, body framing split at every byte. */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/h1.h"

/* Feeds a whole message in pieces of `step` bytes; the body is collected. The result is the status
 * the server would answer with, 0 when accepted, 1 when incomplete. */
static int feed(const char *text, size_t n, size_t step, struct buf *body, struct h1_head *ret)
{
	AUTO_BUF struct buf in = {0};
	AUTO_ARENA struct arena a = {0};
	size_t scan = 0, off = 0;
	ssize_t head = 0;
	struct h1_head m;
	struct h1_body b;

	while (head == 0) {
		if (off == n)
			return 1;
		size_t k = n - off < step ? n - off : step;
		buf_add(&in, text + off, k);
		off += k;
		head = h1_head_end(in.p, in.len, &scan);
	}
	if (head < 0)
		return 400;
	int r = h1_parse_request((struct str){in.p, (size_t)head}, &a, &m);
	if (r != 0)
		return -r;
	*ret = m;
	h1_body_init(&b, &m);
	buf_consume(&in, (size_t)head);
	for (;;) {
		struct str rest = buf_str(&in), piece;
		while (rest.n > 0 && !b.done) {
			if (h1_body_next(&b, &rest, &piece) != 0)
				return 400;
			buf_add_str(body, piece);
		}
		buf_consume(&in, in.len - rest.n);
		if (b.done)
			return 0;
		if (off == n)
			return 1;
		size_t k = n - off < step ? n - off : step;
		buf_add(&in, text + off, k);
		off += k;
	}
}

struct row {
	const char *text;
	int status; /* 0 accepted, 1 incomplete */
	const char *body;
};

#define H "Host: a\r\n"

static const struct row rows[] = {
	{"GET / HTTP/1.1\r\n" H "\r\n", 0, ""},
	{"GET /a?b=c HTTP/1.0\r\n\r\n", 0, ""},
	{"GET http://h/p?q HTTP/1.1\r\n" H "\r\n", 0, ""},
	{"OPTIONS * HTTP/1.1\r\n" H "\r\n", 0, ""},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", 0, "hello"},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhell", 1, "hell"},
	{"POST / HTTP/1.1\r\n" H "content-length:  0\t\r\n\r\n", 0, ""},
	{"POST / HTTP/1.1\r\n" H
	 "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\n\r\n",
		0, "abc0123456789"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: ChunKed\r\n\r\n0000\r\nT: v\r\nU: w\r\n\r\n",
		0, ""},
	{"GET / HTTP/1.1\r\n", 1, ""},
	/* framing that two parsers could read differently */
	{"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		400, ""},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400, ""},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400, ""},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n\r\nabc", 400, ""},
	{"POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc", 400, ""},
	{"POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n", 400, ""},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n\r\nabc", 400, ""},
	{"POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400, ""},
	{"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", 400, ""},
	{"POST / HTTP/1.1\r\n" H "Content-Length : 3\r\n\r\nabc", 400, ""},
	{"POST / HTTP/1.1\r\n" H
	 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		400, ""},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, ""},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, ""},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 501, ""},
	{"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ""},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 400,
		"abc"},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 400, ""},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", 400,
		""},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n;x\r\nabc\r\n0\r\n\r\n", 400,
		""},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400,
		""},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc", 400,
		""},
	{"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n", 400, "abc"},
	/* lines */
	{"GET / HTTP/1.1\n" H "\n", 400, ""},
	{"GET / HTTP/1.1\r\n" H " folded\r\n\r\n", 400, ""},
	{"GET / HTTP/1.1\r\n" H "a\r\n\r\n", 400, ""},
	{"GET / HTTP/1.1\r\n" H ": v\r\n\r\n", 400, ""},
	{"GET / HTTP/1.1\r\n" H "a b: v\r\n\r\n", 400, ""},
	{"GET / HTTP/1.1\r\n" H "a: b\rc\r\n\r\n", 400, ""},
	{"GET / HTTP/1.1\r\n" H "a: b\x01\r\n\r\n", 400, ""},
	{"GET / HTTP/1.1\r\n\r\n", 400, ""},
	{"GET / HTTP/1.1\r\n" H H "\r\n", 400, ""},
	{"GET  / HTTP/1.1\r\n" H "\r\n", 400, ""},
	{"GET / HTTP/1.1 \r\n" H "\r\n", 400, ""},
	{"GET /\r\n\r\n", 400, ""},
	{"GET x HTTP/1.1\r\n" H "\r\n", 400, ""},
	{"GE(T / HTTP/1.1\r\n" H "\r\n", 400, ""},
	{"GET / HTTP/2.0\r\n" H "\r\n", 505, ""},
	{"GET / HTTP/1.1x\r\n" H "\r\n", 400, ""},
	{"GET /\x7f HTTP/1.1\r\n" H "\r\n", 400, ""},
	{"\x16\x03\x01\x02\r\n\r\n", 400, ""},
};

static void every_row_at_every_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t n = strlen(rows[i].text);
		for (size_t step = 1; step <= n; step++) {
			AUTO_BUF struct buf body = {0};
			struct h1_head m;
			int status = feed(rows[i].text, n, step, &body, &m);
			if (status != rows[i].status)
				print_error("row %zu step %zu: %d\n%s\n", i, step, status,
					rows[i].text);
			assert_int_equal(status, rows[i].status);
			if (status <= 1)
				assert_true(str_eqz(buf_str(&body), rows[i].body));
		}
	}
}

static void nul_is_refused(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nx: a\0b\r\n\r\n";
	AUTO_BUF struct buf body = {0};
	struct h1_head m;

	(void)state;
	assert_int_equal(feed(text, sizeof(text) - 1, 7, &body, &m), 400);
}

static void head_fields(void **state)
{
	AUTO_ARENA struct arena a = {0};
	struct h1_head m;
	static const char text[] =
		"PATCH /a/b%20c?x=1&y=%2F HTTP/1.1\r\nHOST: h\r\nX-Y:  v w \t\r\n"
		"Connection: keep-alive, Upgrade\r\nExpect: 100-Continue\r\n"
		"Content-Length: 12\r\n\r\n";

	(void)state;
	assert_int_equal(h1_parse_request((struct str){text, sizeof(text) - 1}, &a, &m), 0);
	assert_true(str_eqz(m.method, "PATCH"));
	assert_true(str_eqz(m.path, "/a/b%20c"));
	assert_true(str_eqz(m.query, "x=1&y=%2F"));
	assert_true(str_eqz(m.headers[1].name, "x-y"));
	assert_true(str_eqz(m.headers[1].value, "v w"));
	assert_true(m.keep_alive && m.upgrade && m.expect_continue);
	assert_int_equal(m.framing, H1_LENGTH);
	assert_int_equal(m.length, 12);
}

static void responses(void **state)
{
	static const struct {
		const char *text;
		bool to_head;
		int result;
		enum h1_framing framing;
		bool keep;
	} t[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false, 0, H1_LENGTH, true},
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true, 0, H1_NO_BODY, true},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, 0, H1_CHUNKED,
			true},
		{"HTTP/1.1 200 \r\n\r\n", false, 0, H1_UNTIL_CLOSE, false},
		{"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", false, 0, H1_LENGTH, false},
		{"HTTP/1.1 204 No Content\r\n\r\n", false, 0, H1_NO_BODY, true},
		{"HTTP/1.1 2000 OK\r\n\r\n", false, -502, H1_NO_BODY, false},
		{"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
			false, -502, H1_NO_BODY, false},
		{"ICY 200 OK\r\n\r\n", false, -502, H1_NO_BODY, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		AUTO_ARENA struct arena a = {0};
		struct h1_head m;
		assert_int_equal(
			h1_parse_response(str_of(t[i].text), t[i].to_head, &a, &m), t[i].result);
		if (t[i].result == 0) {
			assert_int_equal(m.framing, t[i].framing);
			assert_int_equal(m.keep_alive, t[i].keep);
		}
	}
}

static void url_escapes(void **state)
{
	AUTO_BUF struct buf b = {0}, enc = {0};
	struct http_exchange x = {.query = STR("a=1&b=x%20y+z&a=%41&c&bad=%zz&=e")};
	struct str *all;

	(void)state;
	assert_true(str_eqz(http_query_get(&x, "b"), "x y z"));
	assert_int_equal(http_query_all(&x, "a", &all), 2);
	assert_true(str_eqz(all[0], "1") && str_eqz(all[1], "A"));
	assert_non_null(http_query_get(&x, "c").p);
	assert_null(http_query_get(&x, "d").p);
	assert_true(str_eqz(http_query_get(&x, "bad"), "%zz"));
	assert_int_equal(url_decode(STR("%4"), false, &b), -EINVAL);
	assert_int_equal(url_decode(STR("%"), false, &b), -EINVAL);
	assert_int_equal(url_decode(STR("a+%2b"), false, &b), 0);
	assert_true(str_eqz(buf_str(&b), "a++"));
	url_encode(STR("a b/~"), &enc);
	assert_true(str_eqz(buf_str(&enc), "a%20b%2F~"));
	arena_free(&x.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_at_every_split),
		cmocka_unit_test(nul_is_refused),
		cmocka_unit_test(head_fields),
		cmocka_unit_test(responses),
		cmocka_unit_test(url_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * WebSocket and SPDY framing: both ends against each other split at every byte, refused frames. */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "xebec/base/spdy.h"
#include "xebec/base/ws.h"

static void accept_key(void **state)
{
	char out[29];

	(void)state; /* the example of RFC 6455 1.3 */
	ws_accept_key(STR("dGhlIHNhbXBsZSBub25jZQ=="), out);
	assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

/* Everything the receiver says about the bytes, as text. */
static void describe(struct ws *w, struct str bytes, size_t step, struct buf *out)
{
	AUTO_BUF struct buf in = {0};
	struct ws_event ev;

	for (size_t off = 0; off < bytes.n;) {
		size_t n = bytes.n - off < step ? bytes.n - off : step;
		buf_add(&in, bytes.p + off, n);
		off += n;
		struct str rest = buf_str(&in);
		int r;
		while ((r = ws_next(w, &rest, &ev)) > 0)
			buf_addf(out, "[%d %d %.*s]", (int)ev.op, ev.code, STR_FMT(ev.payload));
		buf_consume(&in, in.len - rest.n);
		if (r < 0) {
			buf_addf(out, "!%d", -r);
			return;
		}
	}
}

static void both_ends(void **state)
{
	(void)state;
	for (int client = 0; client < 2; client++) {
		struct ws tx = {.client = client};
		AUTO_BUF struct buf bytes = {0}, want = {0};
		AUTO_BUF struct buf mid = {0}, big = {0};
		for (int i = 0; i < 300; i++)
			buf_addc(&mid, 'm');
		for (int i = 0; i < 70000; i++)
			buf_addc(&big, 'b');
		ws_frame(&tx, WS_TEXT, STR("h\xc3\xa9llo"), &bytes);
		ws_frame(&tx, WS_BINARY, STR(""), &bytes);
		ws_frame(&tx, WS_PING, STR("p"), &bytes);
		ws_frame2(&tx, WS_BINARY, STR("1"), buf_str(&mid), &bytes);
		ws_frame(&tx, WS_BINARY, buf_str(&big), &bytes);
		ws_frame(&tx, WS_PONG, STR(""), &bytes);
		ws_close_frame(&tx, WS_NORMAL, STR("bye"), &bytes);
		ws_frame(&tx, WS_TEXT, STR("after"), &bytes);
		buf_addf(&want,
			"[1 0 h\xc3\xa9llo][2 0 ][9 0 p][2 0 1%s][2 0 %s][10 0 ][8 1000 bye]",
			mid.p, big.p);
		for (size_t step = 1; step < 80000; step = step * 3 + 1) {
			struct ws rx = {.client = !client};
			AUTO_BUF struct buf got = {0};
			describe(&rx, buf_str(&bytes), step, &got);
			assert_true(str_eq(buf_str(&got), buf_str(&want)));
			ws_free(&rx);
		}
	}
}

struct row {
	const char *bytes;
	size_t n;
	const char *want;
};
#define ROW(b, w)                                                                                  \
	{                                                                                          \
		b, sizeof(b) - 1, w                                                                \
	}

static void frames_as_a_client_sees_them(void **state)
{
	static const struct row rows[] = {
		ROW("\x01\x01"
		    "a"
		    "\x00\x01"
		    "b"
		    "\x80\x01"
		    "c",
			"[1 0 abc]"),
		ROW("\x01\x01"
		    "a"
		    "\x89\x01"
		    "p"
		    "\x80\x01"
		    "c",
			"[9 0 p][1 0 ac]"),
		ROW("\x02\x00"
		    "\x80\x00"
		    "\x82\x01x",
			"[2 0 ][2 0 x]"),
		ROW("\x80\x01"
		    "a",
			"!1002"), /* continues nothing */
		ROW("\x01\x01"
		    "a"
		    "\x81\x01"
		    "b",
			"!1002"), /* a message inside a message */
		ROW("\x09\x01"
		    "a",
			"!1002"),		  /* fragmented ping */
		ROW("\x89\x7e\x00\x7e", "!1002"), /* long ping */
		ROW("\xc1\x01"
		    "a",
			"!1002"), /* reserved bit */
		ROW("\x83\x01"
		    "a",
			"!1002"), /* unknown opcode */
		ROW("\x81\x81"
		    "aaaa"
		    "a",
			"!1002"), /* masked by a server */
		ROW("\x81\x7e\x00\x05"
		    "hello",
			"!1002"), /* length not in its shortest form */
		ROW("\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "!1002"),
		ROW("\x82\x7f\x00\x00\x00\x00\x00\x20\x00\x00", "!1009"),
		ROW("\x81\x02\xc3\x28", "!1007"),
		ROW("\x81\x03\xed\xa0\x80", "!1007"), /* surrogate */
		ROW("\x88\x00", "[8 1005 ]"),
		ROW("\x88\x01\x03", "!1002"),
		ROW("\x88\x02\x03\xed", "!1002"), /* 1005 is never sent */
		ROW("\x88\x02\x0b\xb8", "[8 3000 ]"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (size_t step = 1; step <= rows[i].n; step++) {
			struct ws w = {.client = true};
			AUTO_BUF struct buf got = {0};
			describe(&w, (struct str){rows[i].bytes, rows[i].n}, step, &got);
			if (!str_eqz(buf_str(&got), rows[i].want))
				fail_msg("row %zu step %zu: %s", i, step, got.p);
			ws_free(&w);
		}
	}
}

static void unmasked_client_is_refused(void **state)
{
	struct ws w = {0};
	struct str in = STR("\x81\x01"
			    "a");
	struct ws_event ev;

	(void)state;
	assert_int_equal(ws_next(&w, &in, &ev), -WS_PROTOCOL_ERROR);
}

static void spdy_text(struct spdy *s, struct str bytes, size_t step, struct buf *out)
{
	AUTO_BUF struct buf in = {0};
	struct spdy_event ev;
	uint32_t last = 0;

	for (size_t off = 0; off < bytes.n;) {
		size_t n = bytes.n - off < step ? bytes.n - off : step;
		buf_add(&in, bytes.p + off, n);
		off += n;
		struct str rest = buf_str(&in);
		int r;
		while ((r = spdy_next(s, &rest, &ev)) > 0) {
			if (ev.type != SPDY_DATA || last != ev.stream)
				buf_addf(out, "\n%d %u", (int)ev.type, ev.stream);
			last = ev.type == SPDY_DATA && !ev.fin ? ev.stream : 0;
			for (size_t i = 0; i < ev.n_headers; i++)
				buf_addf(out, " %.*s=%.*s", STR_FMT(ev.headers[i].name),
					STR_FMT(ev.headers[i].value));
			if (ev.code)
				buf_addf(out, " code %u", ev.code);
			buf_add_str(out, ev.data);
			if (ev.fin)
				buf_adds(out, " fin");
		}
		buf_consume(&in, in.len - rest.n);
		if (r < 0) {
			buf_adds(out, "!");
			return;
		}
	}
}

static void spdy_both_ends(void **state)
{
	struct http_header h[] = {{STR("streamtype"), STR("stdin")}, {STR("port"), STR("80")}};
	struct spdy *tx;
	AUTO_BUF struct buf bytes = {0};
	static const char want[] = "\n1 1 streamtype=stdin port=80\n1 3 streamtype=stdin fin"
				   "\n2 1\n0 1hello fin\n0 3 fin\n6 0 code 7\n3 3 code 5\n7 3";

	(void)state;
	assert_int_equal(spdy_new(true, &tx), 0);
	assert_int_equal(spdy_open(tx, h, 2, false, &bytes), 1);
	assert_int_equal(spdy_open(tx, h, 1, true, &bytes), 3);
	assert_int_equal(spdy_reply(tx, 1, NULL, 0, false, &bytes), 0);
	spdy_data(1, STR("hello"), true, &bytes);
	spdy_data(3, STR(""), true, &bytes);
	spdy_ping(7, &bytes);
	spdy_rst(3, SPDY_CANCEL, &bytes);
	spdy_goaway(3, 0, &bytes);
	for (size_t step = 1; step <= bytes.len; step++) {
		struct spdy *rx;
		AUTO_BUF struct buf got = {0};
		assert_int_equal(spdy_new(false, &rx), 0);
		spdy_text(rx, buf_str(&bytes), step, &got);
		assert_string_equal(got.p, want);
		spdy_free(rx);
	}
	spdy_free(tx);
}

static void spdy_refuses(void **state)
{
	static const struct row rows[] = {
		ROW("\x80\x02\x00\x01\x00\x00\x00\x0a"
		    "0123456789",
			"!"), /* SPDY/2 */
		ROW("\x80\x03\x00\x01\x00\x00\x00\x0a"
		    "0123456789",
			"!"), /* no header block */
		ROW("\x80\x03\x00\x06\x00\x00\x00\x03"
		    "abc",
			"!"),				      /* short ping */
		ROW("\x80\x03\x00\x01\x00\xff\xff\xff", "!"), /* huge control frame */
		ROW("\x80\x03\x00\x02\x00\x00\x00\x0c"
		    "\0\0\0\x01"
		    "garbage!",
			"!"),
		ROW("\x80\x03\x00\x63\x00\x00\x00\x01x\x80\x03\x00\x06\x00\x00\x00\x04\0\0\0\x02",
			"\n6 0 code 2"), /* an unknown type is skipped */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct spdy *s;
		AUTO_BUF struct buf got = {0};
		assert_int_equal(spdy_new(false, &s), 0);
		spdy_text(s, (struct str){rows[i].bytes, rows[i].n}, 5, &got);
		assert_string_equal(got.p, rows[i].want);
		spdy_free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accept_key),
		cmocka_unit_test(both_ends),
		cmocka_unit_test(frames_as_a_client_sees_them),
		cmocka_unit_test(unmasked_client_is_refused),
		cmocka_unit_test(spdy_both_ends),
		cmocka_unit_test(spdy_refuses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

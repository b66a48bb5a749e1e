/* SPDX-License-Identifier: Apache-2.0
 * Base64, UUIDs, SHA-256, certificates, JSON web signatures; byte streams spliced together. */
#include <errno.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <cmocka.h>
#include "xebec/base/stream.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

static void base64_both_ways(void **state)
{
	static const struct {
		const char *plain, *b64, *url;
	} t[] = {{"", "", ""}, {"f", "Zg==", "Zg"}, {"fo", "Zm8=", "Zm8"}, {"foo", "Zm9v", "Zm9v"},
		{"foob", "Zm9vYg==", "Zm9vYg"}, {"\xfb\xff\xfe", "+//+", "-__-"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		AUTO_BUF struct buf a = {0}, b = {0}, c = {0}, d = {0};
		base64_encode(str_of(t[i].plain), &a);
		base64url_encode(str_of(t[i].plain), &b);
		assert_true(str_eqz(buf_str(&a), t[i].b64));
		assert_true(str_eqz(buf_str(&b), t[i].url));
		assert_int_equal(base64_decode(buf_str(&a), &c), 0);
		assert_int_equal(base64_decode(buf_str(&b), &d), 0);
		assert_true(str_eqz(buf_str(&c), t[i].plain) && str_eqz(buf_str(&d), t[i].plain));
	}
	static const char *const bad[] = {
		"Z", "Zg=", "Zg===", "Zh==", "Zm9=", "Z g=", "=", "Zg==Zg==", "!a"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO_BUF struct buf out = {0};
		buf_adds(&out, "kept");
		assert_int_equal(base64_decode(str_of(bad[i]), &out), -EINVAL);
		assert_true(str_eqz(buf_str(&out), "kept"));
	}
	AUTO_BUF struct buf lines = {0};
	assert_int_equal(base64_decode(STR("Zm9v\nYg==\n"), &lines), 0);
	assert_true(str_eqz(buf_str(&lines), "foob"));
}

static void identifiers(void **state)
{
	char a[37], b[37];
	unsigned char d[32];

	(void)state;
	uuid4(a);
	uuid4(b);
	assert_string_not_equal(a, b);
	assert_int_equal(strlen(a), 36);
	assert_true(a[14] == '4' && strchr("89ab", a[19]));
	sha256(STR("abc"), d);
	assert_true(d[0] == 0xba && d[1] == 0x78 && d[31] == 0xad);
}

static void signatures(void **state)
{
	AUTO_BUF struct buf pem = {0}, pub = {0}, sig = {0}, jwk = {0}, other_pem = {0}, none = {0};
	struct pki_key *k, *p, *other;
	struct err e = {0};

	(void)state;
	assert_int_equal(pki_key_new(&pem, &e), 0);
	assert_int_equal(pki_key_new(&other_pem, &e), 0);
	assert_int_equal(pki_key_load(buf_str(&pem), &k, &e), 0);
	assert_int_equal(pki_key_load(buf_str(&other_pem), &other, &e), 0);
	assert_string_equal(jws_alg(k), "ES256");
	assert_int_equal(pki_key_public_pem(k, &pub), 0);
	assert_int_equal(pki_key_load(buf_str(&pub), &p, &e), 0);
	assert_int_equal(jws_sign(k, STR("a.b"), &sig), 0);
	assert_int_equal(sig.len, 86);
	assert_int_equal(jws_verify(p, STR("a.b"), buf_str(&sig)), 0);
	assert_int_equal(jws_verify(p, STR("a.c"), buf_str(&sig)), -EBADMSG);
	assert_int_equal(jws_verify(other, STR("a.b"), buf_str(&sig)), -EBADMSG);
	assert_int_equal(jws_verify(p, STR("a.b"), STR("")), -EBADMSG);
	assert_int_equal(jws_verify(p, STR("a.b"), STR("AAAA")), -EBADMSG);
	assert_int_not_equal(jws_sign(p, STR("a.b"), &none), 0); /* only half of the key */
	assert_int_equal(pki_key_jwk(k, "id", &jwk), 0);
	assert_non_null(
		strstr(jwk.p, "\"kid\":\"id\",\"alg\":\"ES256\",\"crv\":\"P-256\",\"x\":\""));
	assert_int_equal(pki_key_load(STR("no key"), &other, &e), -EINVAL);
	pki_key_free(k);
	pki_key_free(p);
	pki_key_free(other);
}

static void certificates(void **state)
{
	AUTO_BUF struct buf ca = {0}, ca_key = {0}, c = {0}, k = {0}, cn = {0}, ca2 = {0},
			    key2 = {0};
	struct pki_request r = {.cn = "system:node:a", .client = true, .valid_seconds = 3600};
	static const char *const evil[] = {"DNS:a,DNS:b", NULL};
	struct err e = {0};
	struct tls_ctx *ctx;
	int64_t end;

	(void)state;
	assert_int_equal(pki_ca_new("ca", &ca, &ca_key, &e), 0);
	assert_int_equal(pki_ca_new("ca", &ca2, &key2, &e), 0);
	assert_int_equal(pki_issue(buf_str(&ca), buf_str(&ca_key), &r, &c, &k, &e), 0);
	assert_int_equal(pki_cert_info(buf_str(&c), &cn, &end), 0);
	assert_true(str_eqz(buf_str(&cn), "system:node:a"));
	assert_true(end > time_now() / NS_PER_SEC + 3500 && end < time_now() / NS_PER_SEC + 3700);
	/* a key that is not the certificate's */
	assert_int_not_equal(pki_issue(buf_str(&ca), buf_str(&key2), &r, &c, &k, &e), 0);
	assert_int_equal(
		tls_server_ctx(buf_str(&c), buf_str(&ca_key), (struct str){0}, &ctx, &e), -EINVAL);
	assert_int_equal(
		tls_client_ctx(STR("junk"), (struct str){0}, (struct str){0}, &ctx, &e), -EINVAL);
	r.sans = evil;
	assert_int_not_equal(pki_issue(buf_str(&ca), buf_str(&ca_key), &r, &c, &k, &e), 0);
}

/* --- streams --- */

static struct loop *loop;

#define WAIT(cond)                                                                                 \
	do {                                                                                       \
		int64_t wait_end = time_mono() + 10 * NS_PER_SEC;                                  \
		while (!(cond)) {                                                                  \
			(void)loop_poll(loop, 5);                                                  \
			if (time_mono() > wait_end)                                                \
				fail_msg("no %s in time", #cond);                                  \
		}                                                                                  \
	} while (0)

struct end {
	struct stream *s;
	struct buf got;
	bool eof, error;
};

static void on_data(struct stream *s, struct buf *in)
{
	buf_add_str(&((struct end *)stream_arg(s))->got, buf_str(in));
	buf_consume(in, in->len);
}

static void on_eof(struct stream *s)
{
	((struct end *)stream_arg(s))->eof = true;
}

static void on_error(struct stream *s, const struct err *e)
{
	(void)e;
	((struct end *)stream_arg(s))->error = true;
}

static const struct stream_events events = {
	.on_data = on_data, .on_eof = on_eof, .on_error = on_error};

static void set(void *arg)
{
	*(bool *)arg = true;
}

/* a <-> [b, c spliced] <-> d */
static void splice_half_close_and_pressure(void **state)
{
	int ab[2], cd[2];
	struct end a = {0}, d = {0};
	struct stream *b, *c;
	AUTO_BUF struct buf big = {0};
	bool done = false;

	(void)state;
	loop = loop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ab), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, cd), 0);
	assert_int_equal(stream_from_fd(loop, ab[0], &events, &a, &a.s), 0);
	assert_int_equal(stream_from_fd(loop, ab[1], NULL, NULL, &b), 0);
	assert_int_equal(stream_from_fd(loop, cd[0], NULL, NULL, &c), 0);
	assert_int_equal(stream_from_fd(loop, cd[1], &events, &d, &d.s), 0);
	assert_int_equal(stream_splice(b, c, set, &done), 0);
	for (int i = 0; i < 6000000; i++)
		buf_addc(&big, (char)(i * 7));
	stream_pause(d.s, true);
	stream_write(a.s, big.p, big.len);
	for (int i = 0; i < 50; i++)
		(void)loop_poll(loop, 1);
	assert_true(stream_pending(a.s) > 4000000); /* held back, not piled up in the middle */
	stream_shutdown(a.s);
	stream_pause(d.s, false);
	WAIT(d.eof);
	assert_true(str_eq(buf_str(&d.got), buf_str(&big)));
	stream_write(d.s, "answer", 6); /* the other direction is still open */
	stream_shutdown(d.s);
	WAIT(a.eof && done);
	assert_true(str_eqz(buf_str(&a.got), "answer"));
	stream_free(a.s);
	stream_free(d.s);
	buf_free(&a.got);
	buf_free(&d.got);
	(void)loop_poll(loop, 0);
	(void)loop_poll(loop, 0);
	loop_free(loop);
}

static void close_after_flush(void **state)
{
	int fd[2];
	struct end a = {0};
	struct stream *b;
	AUTO_BUF struct buf big = {0};

	(void)state;
	loop = loop_new();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	assert_int_equal(stream_from_fd(loop, fd[0], &events, &a, &a.s), 0);
	assert_int_equal(stream_from_fd(loop, fd[1], NULL, NULL, &b), 0);
	for (int i = 0; i < 3000000; i++)
		buf_addc(&big, 'x');
	stream_write(b, big.p, big.len);
	stream_close(b);
	WAIT(a.eof);
	assert_int_equal(a.got.len, big.len);
	stream_write(a.s, "x", 1);
	WAIT(a.error);
	stream_free(a.s);
	buf_free(&a.got);
	(void)loop_poll(loop, 0);
	(void)loop_poll(loop, 0);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(base64_both_ways),
		cmocka_unit_test(identifiers),
		cmocka_unit_test(signatures),
		cmocka_unit_test(certificates),
		cmocka_unit_test(splice_half_close_and_pressure),
		cmocka_unit_test(close_after_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * WebSocket framing (RFC 6455). */
#include <openssl/sha.h>
#include "xebec/base/tls.h"
#include "xebec/base/ws.h"

#define DEFAULT_MAX (1u << 20)
#define MAX_CONTROL 125u
#define ACCEPT_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

struct frame {
	bool fin;
	enum ws_op op;
	char *payload;
	size_t n, used; /* used: bytes of input, header included */
};

static void mask(char *p, size_t n, const char key[4])
{
	uint32_t word;
	size_t i = 0;

	memcpy(&word, key, 4);
	for (; i + 4 <= n; i += 4) {
		uint32_t v;
		memcpy(&v, p + i, 4);
		v ^= word;
		memcpy(p + i, &v, 4);
	}
	for (; i < n; i++)
		p[i] = (char)(p[i] ^ key[i & 3]);
}

static uint64_t big_endian(const char *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | (unsigned char)p[i];
	return v;
}

static bool known_op(unsigned op)
{
	return op <= WS_BINARY || (op >= WS_CLOSE && op <= WS_PONG);
}

/* 5.5: control frames are short and whole; 5.4: continuations continue something. */
static int check_frame(const struct ws *w, const struct frame *f, uint64_t length)
{
	size_t max = w->max_message ? w->max_message : DEFAULT_MAX;

	if (f->op >= WS_CLOSE)
		return f->fin && length <= MAX_CONTROL ? 0 : -WS_PROTOCOL_ERROR;
	if ((f->op == WS_CONT) != (w->op != WS_CONT))
		return -WS_PROTOCOL_ERROR;
	return length > max || w->message.len + length > max ? -WS_TOO_BIG : 0;
}

/* 1 = a whole frame, 0 = incomplete, negative = close code. */
static int parse(const struct ws *w, struct str in, struct frame *f)
{
	if (in.n < 2)
		return 0;
	unsigned b0 = (unsigned char)in.p[0], b1 = (unsigned char)in.p[1];
	bool masked = b1 & 0x80;
	size_t extra = (b1 & 0x7f) == 126 ? 2 : (b1 & 0x7f) == 127 ? 8 : 0;
	size_t head = 2 + extra + (masked ? 4 : 0);
	f->fin = b0 & 0x80;
	f->op = b0 & 0x0f;
	if ((b0 & 0x70) || !known_op(f->op) || masked == w->client)
		return -WS_PROTOCOL_ERROR;
	if (in.n < 2 + extra)
		return 0;
	uint64_t n = extra ? big_endian(in.p + 2, extra) : b1 & 0x7f;
	if ((extra == 2 && n < 126) || (extra == 8 && (n < 65536 || n >> 63)))
		return -WS_PROTOCOL_ERROR;
	int r = check_frame(w, f, n);
	if (r != 0)
		return r;
	if (in.n < head || in.n - head < n)
		return 0;
	f->payload = (char *)in.p + head;
	f->n = (size_t)n;
	f->used = head + (size_t)n;
	if (masked)
		mask(f->payload, f->n, f->payload - 4);
	return 1;
}

static bool sendable_code(int code)
{
	return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
	       (code >= 3000 && code <= 4999);
}

static bool valid_utf8(struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p, *end = p + s.n;

	while (p < end) {
		unsigned c = *p++, more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
		uint32_t v = more == 0 ? c : c & (0x3fu >> more);
		static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
		if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || (size_t)(end - p) < more)
			return false;
		for (unsigned i = 0; i < more; i++, p++) {
			if ((*p & 0xc0) != 0x80)
				return false;
			v = v << 6 | (*p & 0x3f);
		}
		if (v < least[more] || (v >= 0xd800 && v < 0xe000) || v > 0x10ffff)
			return false;
	}
	return true;
}

static int close_event(struct ws *w, const struct frame *f, struct ws_event *ret)
{
	*ret = (struct ws_event){.op = WS_CLOSE, .code = WS_NO_STATUS};
	w->closed = true;
	if (f->n == 0)
		return 1;
	if (f->n == 1)
		return -WS_PROTOCOL_ERROR;
	ret->code = (int)big_endian(f->payload, 2);
	ret->payload = (struct str){f->payload + 2, f->n - 2};
	if (!sendable_code(ret->code))
		return -WS_PROTOCOL_ERROR;
	return valid_utf8(ret->payload) ? 1 : -WS_BAD_DATA;
}

/* 1 = a message is complete, 0 = go on with the next frame. */
static int data_frame(struct ws *w, const struct frame *f, struct ws_event *ret)
{
	struct str payload = {f->payload, f->n};

	if (f->op != WS_CONT && f->fin) {
		*ret = (struct ws_event){.op = f->op, .payload = payload};
	} else {
		if (f->op != WS_CONT) {
			w->op = f->op;
			buf_clear(&w->message);
		}
		buf_add_str(&w->message, payload);
		if (w->message.err)
			return -WS_INTERNAL_ERROR;
		if (!f->fin)
			return 0;
		*ret = (struct ws_event){.op = w->op, .payload = buf_str(&w->message)};
		w->op = WS_CONT;
	}
	return ret->op == WS_TEXT && !valid_utf8(ret->payload) ? -WS_BAD_DATA : 1;
}

int ws_next(struct ws *w, struct str *in, struct ws_event *ret)
{
	struct frame f;

	if (w->op == WS_CONT)
		buf_clear(&w->message); /* given out by the last call */
	for (;;) {
		if (w->closed) { /* 5.5.1: nothing follows a close frame */
			in->p += in->n;
			in->n = 0;
			return 0;
		}
		int r = parse(w, *in, &f);
		if (r <= 0)
			return r;
		in->p += f.used;
		in->n -= f.used;
		if (f.op == WS_CLOSE)
			return close_event(w, &f, ret);
		if (f.op > WS_CLOSE) {
			*ret = (struct ws_event){.op = f.op, .payload = {f.payload, f.n}};
			return 1;
		}
		r = data_frame(w, &f, ret);
		if (r != 0)
			return r;
	}
}

void ws_free(struct ws *w)
{
	buf_free(&w->message);
}

void ws_frame2(const struct ws *w, enum ws_op op, struct str a, struct str b, struct buf *out)
{
	unsigned char h[14];
	size_t n = a.n + b.n, k = 2, extra = n < 126 ? 0 : n < 65536 ? 2 : 8;

	h[0] = (unsigned char)(0x80 | op);
	h[1] = (unsigned char)(extra == 0 ? n : extra == 2 ? 126 : 127);
	for (size_t i = extra; i > 0; i--)
		h[k++] = (unsigned char)((uint64_t)n >> (8 * (i - 1)));
	if (w->client) {
		h[1] |= 0x80;
		random_bytes(h + k, 4);
		k += 4;
	}
	if (buf_reserve(out, k + n) != 0)
		return;
	buf_add(out, h, k);
	size_t start = out->len;
	buf_add_str(out, a);
	buf_add_str(out, b);
	if (w->client && out->err == 0)
		mask(out->p + start, n, (const char *)h + k - 4);
}

void ws_frame(const struct ws *w, enum ws_op op, struct str payload, struct buf *out)
{
	ws_frame2(w, op, payload, (struct str){0}, out);
}

void ws_close_frame(const struct ws *w, int code, struct str reason, struct buf *out)
{
	char c[2] = {(char)(code >> 8), (char)code};

	if (reason.n > MAX_CONTROL - 2)
		reason.n = MAX_CONTROL - 2;
	if (code == WS_NO_STATUS)
		ws_frame(w, WS_CLOSE, (struct str){0}, out);
	else
		ws_frame2(w, WS_CLOSE, (struct str){c, 2}, reason, out);
}

void ws_accept_key(struct str key, char out[static 29])
{
	AUTO_BUF struct buf in = {0}, text = {0};
	unsigned char digest[SHA_DIGEST_LENGTH];

	buf_add_str(&in, key);
	buf_adds(&in, ACCEPT_GUID);
	SHA1((const unsigned char *)in.p, in.len, digest);
	base64_encode((struct str){(char *)digest, sizeof(digest)}, &text);
	(void)str_copy(out, 29, buf_str(&text));
}

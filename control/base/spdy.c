/* SPDX-License-Identifier: Apache-2.0
 * SPDY/3.1 framing. Header blocks are one zlib stream a direction, primed with the protocol's
 * dictionary. */
#include <errno.h>
#include <zlib.h>
#include "xebec/base/spdy.h"

#define FRAME_HEAD  8u
#define MAX_CONTROL (256u << 10) /* bytes of a control frame */
#define MAX_BLOCK   (256u << 10) /* bytes of a header block, inflated */
#define MAX_HEADERS 200
#define MAX_DATA    0xffffffu
#define VERSION	    3u
#define FLAG_FIN    1u
#define DICT_BYTES  1423
#define ID_MASK	    0x7fffffffu

struct spdy {
	z_stream deflate, inflate;
	struct arena arena; /* headers of the last event */
	uint32_t next_id;
	uint32_t data_stream, data_left; /* a data frame given out in pieces */
	bool data_fin, in_data, broken;
};

/* The dictionary of SPDY/3: length-prefixed words, then text. */
static const char *const words[] = {"options", "head", "post", "put", "delete", "trace", "accept",
	"accept-charset", "accept-encoding", "accept-language", "accept-ranges", "age", "allow",
	"authorization", "cache-control", "connection", "content-base", "content-encoding",
	"content-language", "content-length", "content-location", "content-md5", "content-range",
	"content-type", "date", "etag", "expect", "expires", "from", "host", "if-match",
	"if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified",
	"location", "max-forwards", "pragma", "proxy-authenticate", "proxy-authorization", "range",
	"referer", "retry-after", "server", "te", "trailer", "transfer-encoding", "upgrade",
	"user-agent", "vary", "via", "warning", "www-authenticate", "method", "get", "status",
	"200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"};

static const char text[] =
	"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
	"203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request"
	"401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented"
	"503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 "
	"Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,"
	"application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age="
	"gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

static void put32(struct buf *b, uint32_t v)
{
	const unsigned char p[4] = {(unsigned char)(v >> 24), (unsigned char)(v >> 16),
		(unsigned char)(v >> 8), (unsigned char)v};

	buf_add(b, p, 4);
}

static uint32_t get32(const char *s)
{
	const unsigned char *p = (const unsigned char *)s;

	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void dictionary(struct buf *b)
{
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		put32(b, (uint32_t)strlen(words[i]));
		buf_adds(b, words[i]);
	}
	buf_adds(b, text);
}

int spdy_new(bool client, struct spdy **ret)
{
	AUTO_BUF struct buf dict = {0};
	struct spdy *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	dictionary(&dict);
	s->next_id = client ? 1 : 2;
	/* A window of 2 KiB is enough for a few short headers and keeps a connection small. */
	if (dict.err || deflateInit2(&s->deflate, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 11, 2,
				Z_DEFAULT_STRATEGY) != Z_OK) {
		free(s);
		return -ENOMEM;
	}
	if (deflateSetDictionary(&s->deflate, (const Bytef *)dict.p, (uInt)dict.len) != Z_OK ||
		inflateInit(&s->inflate) != Z_OK) {
		(void)deflateEnd(&s->deflate);
		free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

void spdy_free(struct spdy *s)
{
	if (!s)
		return;
	(void)deflateEnd(&s->deflate);
	(void)inflateEnd(&s->inflate);
	arena_free(&s->arena);
	free(s);
}

static int inflate_block(struct spdy *s, struct str in, struct buf *out)
{
	z_stream *z = &s->inflate;

	z->next_in = (Bytef *)in.p;
	z->avail_in = (uInt)in.n;
	for (;;) {
		if (buf_reserve(out, 4096) != 0)
			return -ENOMEM;
		z->next_out = (Bytef *)out->p + out->len;
		z->avail_out = 4096;
		int r = inflate(z, Z_SYNC_FLUSH);
		if (r == Z_NEED_DICT) {
			AUTO_BUF struct buf dict = {0};
			dictionary(&dict);
			if (inflateSetDictionary(z, (const Bytef *)dict.p, (uInt)dict.len) != Z_OK)
				return -EBADMSG;
			continue;
		}
		if (r != Z_OK && r != Z_BUF_ERROR)
			return -EBADMSG;
		size_t got = 4096 - z->avail_out;
		out->len += got;
		if (out->len > MAX_BLOCK)
			return -EBADMSG;
		if (z->avail_out > 0 && z->avail_in == 0)
			return 0;
		if (got == 0 && r == Z_BUF_ERROR)
			return -EBADMSG;
	}
}

static bool cut_string(struct str *in, struct str *ret)
{
	if (in->n < 4)
		return false;
	uint32_t n = get32(in->p);
	if (n > in->n - 4)
		return false;
	*ret = (struct str){in->p + 4, n};
	in->p += 4 + n;
	in->n -= 4 + n;
	return true;
}

static int parse_headers(struct spdy *s, struct str compressed, struct spdy_event *ev)
{
	AUTO_BUF struct buf block = {0};
	int r = inflate_block(s, compressed, &block);

	if (r != 0)
		return r;
	char *copy = arena_alloc(&s->arena, block.len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, block.p, block.len);
	struct str rest = {copy, block.len};
	if (rest.n < 4)
		return -EBADMSG;
	uint32_t n = get32(rest.p);
	rest.p += 4;
	rest.n -= 4;
	if (n > MAX_HEADERS)
		return -EBADMSG;
	struct http_header *h = arena_alloc(&s->arena, (n + 1) * sizeof(*h));
	if (!h)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		if (!cut_string(&rest, &h[i].name) || !cut_string(&rest, &h[i].value) ||
			h[i].name.n == 0)
			return -EBADMSG;
	}
	ev->headers = h;
	ev->n_headers = n;
	return 0;
}

/* Where the header block starts, and the least length, by control frame type; 0 = not one of ours.
 */
static const struct {
	uint8_t least, block;
	bool exact;
} layouts[] = {
	[SPDY_SYN_STREAM] = {10, 10, false},
	[SPDY_SYN_REPLY] = {4, 4, false},
	[SPDY_RST_STREAM] = {8, 0, true},
	[SPDY_SETTINGS] = {4, 0, false},
	[SPDY_PING] = {4, 0, true},
	[SPDY_GOAWAY] = {8, 0, true},
	[SPDY_HEADERS] = {4, 4, false},
	[SPDY_WINDOW_UPDATE] = {8, 0, true},
};

/* 1 = event, 0 = a frame of no interest, negative = error. */
static int control(
	struct spdy *s, unsigned type, unsigned flags, struct str p, struct spdy_event *ev)
{
	if (type >= ARRAY_LEN(layouts) || layouts[type].least == 0)
		return 0;
	if (p.n < layouts[type].least || (layouts[type].exact && p.n != layouts[type].least))
		return -EBADMSG;
	*ev = (struct spdy_event){.type = (enum spdy_type)type};
	if (type != SPDY_PING && type != SPDY_SETTINGS)
		ev->stream = get32(p.p) & ID_MASK;
	ev->fin = layouts[type].block && (flags & FLAG_FIN);
	if (type == SPDY_PING)
		ev->code = get32(p.p);
	else if (layouts[type].exact)
		ev->code = get32(p.p + 4);
	if (!layouts[type].block)
		return 1;
	int r = parse_headers(
		s, (struct str){p.p + layouts[type].block, p.n - layouts[type].block}, ev);
	return r == 0 ? 1 : r;
}

static int data_piece(struct spdy *s, struct str *in, struct spdy_event *ev)
{
	uint32_t n = s->data_left < in->n ? s->data_left : (uint32_t)in->n;

	if (n == 0 && s->data_left > 0)
		return 0;
	*ev = (struct spdy_event){.type = SPDY_DATA, .stream = s->data_stream, .data = {in->p, n}};
	in->p += n;
	in->n -= n;
	s->data_left -= n;
	s->in_data = s->data_left > 0;
	ev->fin = !s->in_data && s->data_fin;
	return 1;
}

int spdy_next(struct spdy *s, struct str *in, struct spdy_event *ret)
{
	arena_free(&s->arena);
	for (int r = 0; r == 0;) {
		if (s->broken)
			return -EBADMSG;
		if (s->in_data)
			return data_piece(s, in, ret);
		if (in->n < FRAME_HEAD)
			return 0;
		uint32_t first = get32(in->p), second = get32(in->p + 4), n = second & MAX_DATA;
		unsigned flags = second >> 24;
		if (!(first >> 31)) {
			s->data_stream = first;
			s->data_left = n;
			s->data_fin = flags & FLAG_FIN;
			s->in_data = true;
			in->p += FRAME_HEAD;
			in->n -= FRAME_HEAD;
			continue;
		}
		if ((first >> 16 & 0x7fff) != VERSION || n > MAX_CONTROL) {
			s->broken = true;
			return -EBADMSG;
		}
		if (in->n - FRAME_HEAD < n)
			return 0;
		r = control(s, first & 0xffff, flags, (struct str){in->p + FRAME_HEAD, n}, ret);
		in->p += FRAME_HEAD + n;
		in->n -= FRAME_HEAD + n;
		if (r < 0) {
			s->broken = true;
			return -EBADMSG;
		}
	}
	return 1;
}

static void put_control(struct buf *out, enum spdy_type type, unsigned flags, size_t n)
{
	put32(out, 1u << 31 | VERSION << 16 | (uint32_t)type);
	put32(out, flags << 24 | (uint32_t)n);
}

static int deflate_block(struct spdy *s, const struct http_header *h, size_t n, struct buf *out)
{
	AUTO_BUF struct buf plain = {0};
	z_stream *z = &s->deflate;

	put32(&plain, (uint32_t)n);
	for (size_t i = 0; i < n; i++) {
		put32(&plain, (uint32_t)h[i].name.n);
		buf_add_str(&plain, h[i].name);
		put32(&plain, (uint32_t)h[i].value.n);
		buf_add_str(&plain, h[i].value);
	}
	if (plain.err)
		return plain.err;
	z->next_in = (Bytef *)plain.p;
	z->avail_in = (uInt)plain.len;
	do {
		if (buf_reserve(out, 1024) != 0)
			return -ENOMEM;
		z->next_out = (Bytef *)out->p + out->len;
		z->avail_out = 1024;
		(void)deflate(z, Z_SYNC_FLUSH);
		out->len += 1024 - z->avail_out;
	} while (z->avail_out == 0);
	return 0;
}

uint32_t spdy_open(struct spdy *s, const struct http_header *h, size_t n, bool fin, struct buf *out)
{
	AUTO_BUF struct buf block = {0};
	uint32_t id = s->next_id;

	if (deflate_block(s, h, n, &block) != 0)
		return 0;
	s->next_id += 2;
	put_control(out, SPDY_SYN_STREAM, fin ? FLAG_FIN : 0, 10 + block.len);
	put32(out, id);
	put32(out, 0);
	buf_add(out, "\0\0", 2); /* priority, slot */
	buf_add_str(out, buf_str(&block));
	return out->err ? 0 : id;
}

int spdy_reply(struct spdy *s, uint32_t stream, const struct http_header *h, size_t n, bool fin,
	struct buf *out)
{
	AUTO_BUF struct buf block = {0};
	int r = deflate_block(s, h, n, &block);

	if (r != 0)
		return r;
	put_control(out, SPDY_SYN_REPLY, fin ? FLAG_FIN : 0, 4 + block.len);
	put32(out, stream);
	buf_add_str(out, buf_str(&block));
	return out->err;
}

void spdy_data(uint32_t stream, struct str data, bool fin, struct buf *out)
{
	do {
		size_t n = data.n < MAX_DATA ? data.n : MAX_DATA;
		put32(out, stream & ID_MASK);
		put32(out, (fin && n == data.n ? FLAG_FIN << 24 : 0) | (uint32_t)n);
		buf_add(out, data.p, n);
		data.p += n;
		data.n -= n;
	} while (data.n > 0);
}

void spdy_rst(uint32_t stream, enum spdy_status status, struct buf *out)
{
	put_control(out, SPDY_RST_STREAM, 0, 8);
	put32(out, stream);
	put32(out, status);
}

void spdy_ping(uint32_t id, struct buf *out)
{
	put_control(out, SPDY_PING, 0, 4);
	put32(out, id);
}

void spdy_goaway(uint32_t last_stream, uint32_t status, struct buf *out)
{
	put_control(out, SPDY_GOAWAY, 0, 8);
	put32(out, last_stream);
	put32(out, status);
}

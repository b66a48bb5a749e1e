/* SPDX-License-Identifier: Apache-2.0
 * HTTP/1.x message parsing (RFC 9112). */
#include <errno.h>
#include "base/h1.h"

#define MAX_HEADERS	 256	/* fields in a message */
#define MAX_CHUNK_LINE	 4096u	/* size line with its extensions */
#define MAX_TRAILER	 16384u /* bytes of trailer fields, which are dropped */
#define MAX_CHUNK_DIGITS 15u

/* RFC 9110 5.6.2 tokens; the value is the lower-case form. */
static char token_char(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
		return c;
	return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) ? c : '\0';
}

ssize_t h1_head_end(const char *p, size_t n, size_t *scan)
{
	size_t i = *scan;

	for (; i < n; i++) {
		if (p[i] == '\0')
			return -EBADMSG;
		if (p[i] == '\r' && i + 1 < n && p[i + 1] != '\n')
			return -EBADMSG;
		if (p[i] != '\n')
			continue;
		if (i == 0 || p[i - 1] != '\r')
			return -EBADMSG;
		if (i >= 3 && p[i - 2] == '\n')
			return (ssize_t)(i + 1);
	}
	/* A CR at the end is looked at again when its LF has come. */
	*scan = n > 0 && p[n - 1] == '\r' ? n - 1 : n;
	return 0;
}

/* Cuts a line without its CRLF off *s. */
static struct str cut_line(struct str *s)
{
	struct str line = str_cut(s, '\n');

	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return line;
}

static struct str trim(struct str s)
{
	while (s.n > 0 && (*s.p == ' ' || *s.p == '\t')) {
		s.p++;
		s.n--;
	}
	while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

static bool valid_value(struct str v)
{
	for (size_t i = 0; i < v.n; i++) {
		unsigned char c = (unsigned char)v.p[i];
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return false;
	}
	return true;
}

/* Lower-cases the name where it lies: the head is the arena's own copy. */
static int parse_field(struct str line, struct http_header *h)
{
	struct str rest = line;
	struct str name = str_cut(&rest, ':');

	if (name.n == 0 || name.n == line.n)
		return -EBADMSG;
	for (size_t i = 0; i < name.n; i++) {
		char c = token_char(name.p[i]);
		if (c == '\0') /* also white space before the colon and folded lines */
			return -EBADMSG;
		((char *)name.p)[i] = c;
	}
	h->name = name;
	h->value = trim(rest);
	return valid_value(h->value) ? 0 : -EBADMSG;
}

static int parse_fields(struct str rest, struct arena *a, struct h1_head *h)
{
	size_t count = 0;

	for (size_t i = 0; i < rest.n; i++)
		count += rest.p[i] == '\n';
	if (count > MAX_HEADERS + 1)
		return -EMSGSIZE;
	h->headers = arena_alloc(a, (count + 1) * sizeof(*h->headers));
	if (!h->headers)
		return -ENOMEM;
	while (rest.n > 0) {
		struct str line = cut_line(&rest);
		if (line.n == 0)
			break;
		if (parse_field(line, &h->headers[h->n_headers]) != 0)
			return -EBADMSG;
		h->n_headers++;
	}
	return 0;
}

static bool str_eq_nocase(struct str s, const char *lower)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (c != lower[i]) /* also the end of lower */
			return false;
	}
	return lower[s.n] == '\0';
}

/* One of the comma-separated words of a header. */
static bool has_word(struct str value, const char *word)
{
	while (value.n > 0) {
		struct str one = trim(str_cut(&value, ','));
		if (str_eq_nocase(one, word))
			return true;
	}
	return false;
}

static int digits_u64(struct str s, uint64_t *ret)
{
	if (s.n == 0 || s.n > 18)
		return -EBADMSG;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -EBADMSG;
	}
	return str_u64(s, ret);
}

struct framing_seen {
	unsigned lengths, encodings, hosts;
	bool close, keep_alive, chunked;
};

static int look_at(struct h1_head *h, const struct http_header *f, struct framing_seen *seen)
{
	if (str_eqz(f->name, "content-length")) {
		seen->lengths++;
		return digits_u64(f->value, &h->length);
	}
	if (str_eqz(f->name, "transfer-encoding")) {
		seen->encodings++;
		seen->chunked = str_eq_nocase(f->value, "chunked");
	} else if (str_eqz(f->name, "connection")) {
		seen->close |= has_word(f->value, "close");
		seen->keep_alive |= has_word(f->value, "keep-alive");
		h->upgrade |= has_word(f->value, "upgrade");
	} else if (str_eqz(f->name, "host")) {
		seen->hosts++;
	} else if (str_eqz(f->name, "expect")) {
		h->expect_continue = str_eq_nocase(f->value, "100-continue");
	}
	return 0;
}

static int look_at_all(struct h1_head *h, struct framing_seen *seen)
{
	for (size_t i = 0; i < h->n_headers; i++) {
		int r = look_at(h, &h->headers[i], seen);
		if (r != 0)
			return r;
	}
	h->keep_alive = h->minor >= 1 ? !seen->close : seen->keep_alive && !seen->close;
	return 0;
}

/* RFC 9112 6.3, without its lenient choices: a length given twice or beside an encoding is how
 * requests are smuggled. */
static int request_framing(struct h1_head *h)
{
	struct framing_seen seen = {0};

	if (look_at_all(h, &seen) != 0 || seen.lengths > 1 || seen.encodings > 1 || seen.hosts > 1)
		return -400;
	if (h->minor >= 1 && seen.hosts == 0)
		return -400;
	if (seen.encodings && (seen.lengths || h->minor == 0))
		return -400;
	if (seen.encodings && !seen.chunked)
		return -501;
	h->framing = seen.chunked ? H1_CHUNKED : h->length > 0 ? H1_LENGTH : H1_NO_BODY;
	if (h->framing == H1_NO_BODY || h->minor == 0)
		h->expect_continue = false;
	return 0;
}

/* "HTTP/1.x" */
static int parse_version(struct str v, int *minor)
{
	if (v.n != 8 || !str_starts(v, "HTTP/") || v.p[6] != '.' || v.p[5] < '0' || v.p[5] > '9' ||
		v.p[7] < '0' || v.p[7] > '9')
		return -400;
	if (v.p[5] != '1')
		return -505;
	*minor = v.p[7] - '0';
	return 0;
}

/* Origin form, "*", or absolute form, whose authority is dropped. */
static int parse_target(struct h1_head *h)
{
	struct str t = h->target;

	for (size_t i = 0; i < t.n; i++) {
		if ((unsigned char)t.p[i] <= ' ' || t.p[i] == 0x7f)
			return -400;
	}
	if (str_starts(t, "http://") || str_starts(t, "https://")) {
		const char *authority = (const char *)memchr(t.p, ':', t.n) + 3;
		size_t rest = t.n - (size_t)(authority - t.p);
		const char *slash = memchr(authority, '/', rest);
		if (!slash)
			t = STR("/");
		else
			t = (struct str){slash, t.n - (size_t)(slash - t.p)};
	} else if (!(t.n > 0 && t.p[0] == '/') && !str_eqz(t, "*")) {
		return -400;
	}
	h->target = t;
	h->query = t;
	h->path = str_cut(&h->query, '?');
	return 0;
}

static char *arena_copy(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);

	if (p)
		memcpy(p, s.p, s.n);
	return p;
}

int h1_parse_request(struct str head, struct arena *a, struct h1_head *ret)
{
	struct h1_head h = {0};
	char *copy = arena_copy(a, head);
	struct str rest = {copy, head.n};

	if (!copy)
		return -503;
	struct str line = cut_line(&rest), whole = line;
	h.method = str_cut(&line, ' ');
	h.target = str_cut(&line, ' ');
	if (h.method.n == 0 || h.target.n == 0 || !valid_value(whole))
		return -400;
	for (size_t i = 0; i < h.method.n; i++) {
		if (token_char(h.method.p[i]) == '\0')
			return -400;
	}
	int r = parse_version(line, &h.minor);
	if (r == 0)
		r = parse_target(&h);
	if (r != 0)
		return r;
	r = parse_fields(rest, a, &h);
	if (r != 0)
		return r == -ENOMEM ? -503 : r == -EMSGSIZE ? -431 : -400;
	r = request_framing(&h);
	if (r == 0)
		*ret = h;
	return r;
}

int h1_parse_response(struct str head, bool to_head, struct arena *a, struct h1_head *ret)
{
	struct h1_head h = {0};
	struct framing_seen seen = {0};
	char *copy = arena_copy(a, head);
	struct str rest = {copy, head.n};
	uint64_t status;

	if (!copy)
		return -503;
	struct str line = cut_line(&rest);
	struct str version = str_cut(&line, ' ');
	struct str code = str_cut(&line, ' ');
	if (parse_version(version, &h.minor) != 0 || code.n != 3 ||
		digits_u64(code, &status) != 0 || status < 100)
		return -502;
	h.status = (int)status;
	if (parse_fields(rest, a, &h) != 0 || look_at_all(&h, &seen) != 0 || seen.lengths > 1 ||
		seen.encodings > 1 || (seen.encodings && (seen.lengths || !seen.chunked)))
		return -502;
	if (to_head || status < 200 || status == 204 || status == 304)
		h.framing = H1_NO_BODY;
	else if (seen.chunked)
		h.framing = H1_CHUNKED;
	else if (seen.lengths)
		h.framing = h.length > 0 ? H1_LENGTH : H1_NO_BODY;
	else
		h.framing = H1_UNTIL_CLOSE;
	if (h.framing == H1_UNTIL_CLOSE)
		h.keep_alive = false;
	*ret = h;
	return 0;
}

/*   SIZE -> EXT -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE ...
 *                      `-> (size 0) TRAILER_START -> TRAILER -> TRAILER_LF -> TRAILER_START
 *                                             `-> END_LF -> done */
enum chunk_state {
	SIZE,
	EXT,
	SIZE_LF,
	DATA,
	DATA_CR,
	DATA_LF,
	TRAILER_START,
	TRAILER,
	TRAILER_LF,
	END_LF,
};

void h1_body_init(struct h1_body *b, const struct h1_head *h)
{
	*b = (struct h1_body){.framing = h->framing, .left = h->length, .state = SIZE};
	b->done = h->framing == H1_NO_BODY;
	if (h->framing == H1_CHUNKED)
		b->left = 0;
}

static int size_char(struct h1_body *b, char c)
{
	char l = token_char(c);

	if ((l >= '0' && l <= '9') || (l >= 'a' && l <= 'f')) {
		if (++b->digits > MAX_CHUNK_DIGITS)
			return -EBADMSG;
		b->left = b->left << 4 | (uint64_t)(l <= '9' ? l - '0' : l - 'a' + 10);
		return SIZE;
	}
	if (b->digits == 0)
		return -EBADMSG;
	b->line = 0;
	if (c == '\r')
		return SIZE_LF;
	return c == ';' || c == ' ' || c == '\t' ? EXT : -EBADMSG;
}

static int ext_char(struct h1_body *b, char c)
{
	if (c == '\r')
		return SIZE_LF;
	if (c == '\n' || c == '\0' || ++b->line > MAX_CHUNK_LINE)
		return -EBADMSG;
	return EXT;
}

static int trailer_char(struct h1_body *b, char c)
{
	if (++b->trailer > MAX_TRAILER || c == '\n' || c == '\0')
		return -EBADMSG;
	return c == '\r' ? TRAILER_LF : TRAILER;
}

/* The state after one byte of framing, or -EBADMSG. */
static int chunk_step(struct h1_body *b, char c)
{
	switch ((enum chunk_state)b->state) {
	case SIZE:
		return size_char(b, c);
	case EXT:
		return ext_char(b, c);
	case SIZE_LF:
		b->digits = 0;
		return c != '\n' ? -EBADMSG : b->left ? DATA : TRAILER_START;
	case DATA_CR:
		return c == '\r' ? DATA_LF : -EBADMSG;
	case DATA_LF:
		return c == '\n' ? SIZE : -EBADMSG;
	case TRAILER_START:
		return c == '\r' ? END_LF : trailer_char(b, c);
	case TRAILER:
		return trailer_char(b, c);
	case TRAILER_LF:
		return c == '\n' ? TRAILER_START : -EBADMSG;
	case END_LF:
		b->done = c == '\n';
		return c == '\n' ? END_LF : -EBADMSG;
	case DATA:
		break;
	}
	return -EBADMSG;
}

static void take(struct h1_body *b, struct str *in, struct str *out)
{
	size_t n = b->left < in->n ? (size_t)b->left : in->n;

	*out = (struct str){in->p, n};
	in->p += n;
	in->n -= n;
	b->left -= n;
}

int h1_body_next(struct h1_body *b, struct str *in, struct str *out)
{
	*out = (struct str){0};
	if (b->framing == H1_UNTIL_CLOSE) {
		b->left = in->n;
		take(b, in, out);
		return 0;
	}
	if (b->framing == H1_LENGTH) {
		take(b, in, out);
		b->done = b->left == 0;
		return 0;
	}
	while (in->n > 0 && !b->done) {
		if (b->state == DATA) {
			take(b, in, out);
			if (b->left == 0)
				b->state = DATA_CR;
			return 0;
		}
		int next = chunk_step(b, *in->p);
		if (next < 0)
			return next;
		b->state = next;
		in->p++;
		in->n--;
	}
	return 0;
}

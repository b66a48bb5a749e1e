/* SPDX-License-Identifier: Apache-2.0
 * JSON lexer (RFC 8259) for the schema-driven decoder. Lone surrogates become U+FFFD and the
 * last of several equal members counts, as in Go; invalid UTF-8 is an error. */
#include <errno.h>
#include <math.h>
#include "api/codec.h"

static int bad(struct lex *l, const char *what)
{
	l->what = what;
	return -EINVAL;
}

void lex_space(struct lex *l)
{
	while (l->p < l->end && (*l->p == ' ' || *l->p == '\t' || *l->p == '\n' || *l->p == '\r'))
		l->p++;
}

int lex_peek(struct lex *l)
{
	lex_space(l);
	return l->p < l->end ? (unsigned char)*l->p : -1;
}

bool lex_eat(struct lex *l, char c)
{
	if (lex_peek(l) != (unsigned char)c)
		return false;
	l->p++;
	return true;
}

int lex_word(struct lex *l, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(l->end - l->p) < n || memcmp(l->p, word, n) != 0)
		return bad(l, "invalid character");
	l->p += n;
	return 0;
}

/* Length of the UTF-8 sequence at p, 0 when it is not one (RFC 3629). */
static size_t utf8_at(const char *s, size_t n)
{
	const unsigned char *p = (const unsigned char *)s;
	size_t len = p[0] < 0x80   ? 1
		     : p[0] < 0xc2 ? 0
		     : p[0] < 0xe0 ? 2
		     : p[0] < 0xf0 ? 3
		     : p[0] < 0xf5 ? 4
				   : 0;
	if (len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static void add_utf8(struct buf *out, unsigned c)
{
	if (c < 0x80) {
		buf_addc(out, (char)c);
		return;
	}
	if (c < 0x800) {
		buf_addc(out, (char)(0xc0 | c >> 6));
	} else {
		if (c < 0x10000) {
			buf_addc(out, (char)(0xe0 | c >> 12));
		} else {
			buf_addc(out, (char)(0xf0 | c >> 18));
			buf_addc(out, (char)(0x80 | (c >> 12 & 63)));
		}
		buf_addc(out, (char)(0x80 | (c >> 6 & 63)));
	}
	buf_addc(out, (char)(0x80 | (c & 63)));
}

static int hex4(const char *p, const char *end, unsigned *ret)
{
	unsigned v = 0;
	if (end - p < 4)
		return -EINVAL;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
			     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
			     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
						    : 16;
		if (d == 16)
			return -EINVAL;
		v = v << 4 | d;
	}
	*ret = v;
	return 0;
}

/* After the backslash and the u. */
static int unicode_escape(struct lex *l, const char **pp, struct buf *out)
{
	unsigned c, low;
	const char *p = *pp;
	if (hex4(p, l->end, &c) != 0)
		return bad(l, "invalid character in \\u escape");
	p += 4;
	if (c >= 0xd800 && c < 0xdc00 && l->end - p >= 6 && p[0] == '\\' && p[1] == 'u' &&
		hex4(p + 2, l->end, &low) == 0 && low >= 0xdc00 && low < 0xe000) {
		c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
		p += 6;
	} else if (c >= 0xd800 && c < 0xe000) {
		c = 0xfffd;
	}
	add_utf8(out, c);
	*pp = p;
	return 0;
}

static int escape(struct lex *l, const char **pp, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *p = *pp;
	if (p == l->end)
		return bad(l, "unexpected end of JSON input");
	if (*p == 'u') {
		*pp = p + 1;
		return unicode_escape(l, pp, out);
	}
	const char *at = *p ? strchr(from, *p) : NULL;
	if (!at)
		return bad(l, "invalid character in string escape code");
	buf_addc(out, to[at - from]);
	*pp = p + 1;
	return 0;
}

int lex_string(struct lex *l, struct buf *out)
{
	const char *p = l->p;
	size_t from = out->len;
	if (p == l->end || *p++ != '"')
		return bad(l, "invalid character, expected a string");
	while (p < l->end && *p != '"') {
		const char *run = p;
		while (p < l->end && (unsigned char)*p >= 0x20 && (unsigned char)*p < 0x80 &&
			*p != '"' && *p != '\\')
			p++;
		buf_add(out, run, (size_t)(p - run));
		if (p == l->end || *p == '"')
			continue;
		if (*p == '\\') {
			p++;
			int r = escape(l, &p, out);
			if (r != 0)
				return r;
		} else if ((unsigned char)*p < 0x20) {
			return bad(l, "invalid control character in string literal");
		} else {
			size_t n = utf8_at(p, (size_t)(l->end - p));
			if (n == 0)
				return bad(l, "invalid UTF-8 in string literal");
			buf_add(out, p, n);
			p += n;
		}
	}
	if (p == l->end)
		return bad(l, "unexpected end of JSON input");
	/* names and values are C strings further on: a NUL must not cut them short */
	if (out->p && memchr(out->p + from, 0, out->len - from))
		return bad(l, "string with a NUL character");
	l->p = p + 1;
	return out->err;
}

json_t *json_text(struct str s)
{
	AUTO_BUF struct buf b = {0};
	if (s.n && memchr(s.p, 0, s.n))
		return NULL;
	for (size_t i = 0; i < s.n;) {
		size_t n = utf8_at(s.p + i, s.n - i);
		if (n)
			buf_add(&b, s.p + i, n);
		else
			add_utf8(&b, 0xfffd);
		i += n ? n : 1;
	}
	return b.err ? NULL : json_stringn_nocheck(b.p ? b.p : "", b.len);
}

static const char *digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

int lex_number(struct lex *l, struct str *ret, bool *integral)
{
	const char *p = l->p, *at;
	*integral = true;
	if (p < l->end && *p == '-')
		p++;
	at = p;
	p = p < l->end && *p == '0' ? p + 1 : digits(p, l->end);
	if (p == at)
		return bad(l, "invalid character in numeric literal");
	if (p < l->end && *p == '.') {
		*integral = false;
		at = ++p;
		p = digits(p, l->end);
		if (p == at)
			return bad(l, "invalid character after decimal point in numeric literal");
	}
	if (p < l->end && (*p == 'e' || *p == 'E')) {
		*integral = false;
		p++;
		if (p < l->end && (*p == '+' || *p == '-'))
			p++;
		at = p;
		p = digits(p, l->end);
		if (p == at)
			return bad(l, "invalid character in exponent of numeric literal");
	}
	*ret = (struct str){.p = l->p, .n = (size_t)(p - l->p)};
	l->p = p;
	return 0;
}

json_t *number_value(struct str text, bool integral)
{
	char z[64];
	int64_t i;
	if (integral && str_i64(text, &i) == 0)
		return json_integer(i);
	if (str_copy(z, sizeof(z), text) != 0)
		return NULL;
	double d = strtod(z, NULL);
	if (!isfinite(d))
		return NULL;
	return d == floor(d) && fabs(d) < 9e15 ? json_integer((json_int_t)d) : json_real(d);
}

static int any_number(struct lex *l, json_t **ret)
{
	struct str text;
	bool integral;
	int r = lex_number(l, &text, &integral);
	if (r != 0)
		return r;
	*ret = number_value(text, integral);
	return *ret ? 0 : bad(l, "number out of range");
}

static int any_object(struct lex *l, json_t **ret)
{
	AUTO_JSON json_t *o = json_object();
	AUTO_BUF struct buf key = {0};
	l->p++;
	if (lex_eat(l, '}')) {
		*ret = STEAL(o);
		return 0;
	}
	do {
		json_t *v = NULL;
		buf_clear(&key);
		lex_space(l);
		int r = lex_string(l, &key);
		if (r == 0 && !lex_eat(l, ':'))
			r = bad(l, "invalid character after object key");
		if (r == 0)
			r = lex_any(l, &v);
		if (r == 0 && json_object_setn_new_nocheck(o, key.p ? key.p : "", key.len, v) != 0)
			r = -ENOMEM;
		if (r != 0)
			return r;
	} while (lex_eat(l, ','));
	if (!lex_eat(l, '}'))
		return bad(l, "invalid character after object key:value pair");
	*ret = STEAL(o);
	return 0;
}

static int any_array(struct lex *l, json_t **ret)
{
	AUTO_JSON json_t *a = json_array();
	l->p++;
	if (lex_eat(l, ']')) {
		*ret = STEAL(a);
		return 0;
	}
	do {
		json_t *v = NULL;
		int r = lex_any(l, &v);
		if (r == 0 && json_array_append_new(a, v) != 0)
			r = -ENOMEM;
		if (r != 0)
			return r;
	} while (lex_eat(l, ','));
	if (!lex_eat(l, ']'))
		return bad(l, "invalid character after array element");
	*ret = STEAL(a);
	return 0;
}

static int any_string(struct lex *l, json_t **ret)
{
	AUTO_BUF struct buf b = {0};
	int r = lex_string(l, &b);
	if (r != 0)
		return r;
	*ret = json_stringn_nocheck(b.p ? b.p : "", b.len);
	return *ret ? 0 : -ENOMEM;
}

static int any_word(struct lex *l, const char *word, json_t *value, json_t **ret)
{
	int r = lex_word(l, word);
	if (r == 0)
		*ret = value;
	return r;
}

int lex_any(struct lex *l, json_t **ret)
{
	int c = lex_peek(l), r;
	if (c < 0)
		return bad(l, "unexpected end of JSON input");
	if (l->depth >= CODEC_DEPTH)
		return bad(l, "exceeded max depth");
	l->depth++;
	switch (c) {
	case '{':
		r = any_object(l, ret);
		break;
	case '[':
		r = any_array(l, ret);
		break;
	case '"':
		r = any_string(l, ret);
		break;
	case 't':
		r = any_word(l, "true", json_true(), ret);
		break;
	case 'f':
		r = any_word(l, "false", json_false(), ret);
		break;
	case 'n':
		r = any_word(l, "null", json_null(), ret);
		break;
	default:
		r = any_number(l, ret);
	}
	l->depth--;
	return r;
}

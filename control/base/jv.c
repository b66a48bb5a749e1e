/* SPDX-License-Identifier: Apache-2.0
 * The lazy JSON view. Everything rests on skipping values fast: containers are skipped 64 bytes at
 * a time with bit masks (which bytes are quotes, escapes, brackets), never byte by byte. Reading is
 * memory-safe on any bytes, meaningful on valid JSON only. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include "xebec/base/jv.h"
#include "base/utf8.h"

static inline const char *skip_ws(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
		p++;
	return p;
}

/* --- 64 bytes as bit masks --- */

struct masks {
	uint64_t quote, backslash, open, close;
};

#ifdef __SSE2__
static inline uint64_t eq_mask(const __m128i v[4], char c)
{
	__m128i k = _mm_set1_epi8(c);
	uint64_t m = 0;
	for (int i = 0; i < 4; i++)
		m |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[i], k)) << (16 * i);
	return m;
}

static inline struct masks block_masks(const char *p)
{
	__m128i v[4], low[4];
	for (int i = 0; i < 4; i++) {
		v[i] = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
		/* '[' and '{', ']' and '}' differ in this bit only. */
		low[i] = _mm_or_si128(v[i], _mm_set1_epi8(0x20));
	}
	return (struct masks){
		.quote = eq_mask(v, '"'),
		.backslash = eq_mask(v, '\\'),
		.open = eq_mask(low, '{'),
		.close = eq_mask(low, '}'),
	};
}
#else
static inline struct masks block_masks(const char *p)
{
	struct masks m = {0};
	for (int i = 0; i < 64; i++) {
		char c = p[i];
		m.quote |= (uint64_t)(c == '"') << i;
		m.backslash |= (uint64_t)(c == '\\') << i;
		m.open |= (uint64_t)(c == '{' || c == '[') << i;
		m.close |= (uint64_t)(c == '}' || c == ']') << i;
	}
	return m;
}
#endif

/* Bits of the bytes that a backslash before them escapes; *carry: the next block's first byte is
 * escaped. */
static inline uint64_t escaped_bits(uint64_t backslash, bool *carry)
{
	uint64_t esc = *carry;
	*carry = false;
	for (uint64_t left = backslash & ~esc; left;) {
		uint64_t bit = left & -left;
		esc |= bit << 1;
		*carry = bit >> 63;
		left &= ~(bit | bit << 1);
	}
	return esc;
}

/* Every bit becomes the exclusive or of itself and all below: between two quotes it is 1. */
static inline uint64_t prefix_xor(uint64_t m)
{
	for (int s = 1; s < 64; s <<= 1)
		m ^= m << s;
	return m;
}

/* p at '{' or '['; returns past the matching bracket, or end. */
static const char *skip_container(const char *p, const char *end)
{
	size_t depth = 0;
	uint64_t in_string = 0; /* all ones while a string goes on from the block before */
	bool esc_carry = false;
	char pad[64];
	for (; p < end; p += 64) {
		const char *at = p;
		if (end - p < 64) {
			memset(pad, ' ', sizeof(pad));
			memcpy(pad, p, (size_t)(end - p));
			at = pad;
		}
		struct masks m = block_masks(at);
		uint64_t quote = m.quote;
		if (m.backslash || esc_carry)
			quote &= ~escaped_bits(m.backslash, &esc_carry);
		uint64_t inside = prefix_xor(quote) ^ in_string;
		in_string = (uint64_t)((int64_t)inside >> 63);
		uint64_t open = m.open & ~inside, close = m.close & ~inside;
		size_t closes = (size_t)__builtin_popcountll(close);
		if (closes < depth) { /* cannot end within this block */
			depth += (size_t)__builtin_popcountll(open) - closes;
			continue;
		}
		for (uint64_t both = open | close; both; both &= both - 1) {
			if (open & (both & -both))
				depth++;
			else if (--depth == 0)
				return p + __builtin_ctzll(both) + 1;
		}
	}
	return end;
}

/* p past the opening quote; returns at the closing quote, or end. *esc: there are escapes. */
static inline const char *string_end(const char *p, const char *end, bool *esc)
{
	*esc = false;
	while (p < end && *p != '"') {
#ifdef __SSE2__
		if (end - p >= 16) {
			__m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
			__m128i hit = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
				_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
			unsigned m = (unsigned)_mm_movemask_epi8(hit);
			if (!m) {
				p += 16;
				continue;
			}
			p += __builtin_ctz(m);
			if (*p == '"')
				return p;
		}
#endif
		if (*p == '\\') {
			*esc = true;
			p++;
			if (p == end)
				return end;
		}
		p++;
	}
	return p;
}

static const char *skip_value(const char *p, const char *end)
{
	bool esc;
	if (p >= end)
		return end;
	if (*p == '{' || *p == '[')
		return skip_container(p, end);
	if (*p == '"') {
		p = string_end(p + 1, end, &esc);
		return p < end ? p + 1 : end;
	}
	while (p < end && *p != ',' && *p != '}' && *p != ']' && (unsigned char)*p > ' ')
		p++;
	return p;
}

struct jv jv_of(struct str json)
{
	const char *end = json.p + json.n, *p = json.n ? skip_ws(json.p, end) : end;
	return p < end ? (struct jv){p, end} : (struct jv){0};
}

enum jv_type jv_type(struct jv v)
{
	if (!v.p || v.p >= v.end)
		return JV_ABSENT;
	switch (*v.p) {
	case '{':
		return JV_OBJECT;
	case '[':
		return JV_ARRAY;
	case '"':
		return JV_STRING;
	case 't':
	case 'f':
		return JV_BOOL;
	case 'n':
		return JV_NULL;
	default:
		return *v.p == '-' || (*v.p >= '0' && *v.p <= '9') ? JV_NUMBER : JV_ABSENT;
	}
}

/* --- containers --- */

struct jv_iter jv_iter(struct jv c)
{
	enum jv_type t = jv_type(c);
	if (t != JV_OBJECT && t != JV_ARRAY)
		return (struct jv_iter){0};
	return (struct jv_iter){.pos = c.p, .end = c.end};
}

static bool iter_stop(struct jv_iter *it)
{
	*it = (struct jv_iter){0};
	return false;
}

bool jv_next(struct jv_iter *it)
{
	const char *p = it->pos, *end = it->end;
	bool object = it->key.p != NULL, esc;
	if (p >= end)
		return iter_stop(it);
	if (!it->v.p) { /* p is at the opening bracket */
		object = *p == '{';
		p = skip_ws(p + 1, end);
	} else { /* p is at the previous element's value */
		p = skip_ws(skip_value(p, end), end);
		if (p >= end || *p != ',')
			return iter_stop(it);
		p = skip_ws(p + 1, end);
	}
	if (p >= end || *p == '}' || *p == ']')
		return iter_stop(it);
	if (object) {
		if (*p != '"')
			return iter_stop(it);
		const char *close = string_end(p + 1, end, &esc);
		it->key = (struct str){p + 1, (size_t)(close - p - 1)};
		p = close < end ? skip_ws(close + 1, end) : end;
		if (p >= end || *p != ':')
			return iter_stop(it);
		p = skip_ws(p + 1, end);
		if (p >= end)
			return iter_stop(it);
	}
	it->v = (struct jv){p, end};
	it->pos = p;
	return true;
}

static void unescape(struct str raw, struct buf *out);

static bool key_is(struct str key, struct str name)
{
	if (key.n < name.n) /* decoding never lengthens */
		return false;
	if (key.n && name.n && key.p[0] != name.p[0] && key.p[0] != '\\')
		return false; /* nearly always */
	if (!key.n || !memchr(key.p, '\\', key.n))
		return str_eq(key, name);
	AUTO_BUF struct buf b = {0};
	unescape(key, &b);
	return !b.err && str_eq(buf_str(&b), name);
}

static struct jv get_n(struct jv obj, struct str name)
{
	if (jv_type(obj) == JV_OBJECT)
		jv_each (it, obj)
			if (key_is(it.key, name))
				return it.v;
	return (struct jv){0};
}

struct jv jv_get(struct jv obj, const char *member)
{
	return get_n(obj, str_of(member));
}

static struct jv at_index(struct jv arr, struct str index)
{
	uint64_t n;
	if (str_u64(index, &n) == 0)
		jv_each (it, arr)
			if (n-- == 0)
				return it.v;
	return (struct jv){0};
}

struct jv jv_path(struct jv v, const char *path)
{
	struct str rest = str_of(path);
	while (rest.n && v.p) {
		struct str step = str_cut(&rest, '.');
		v = jv_type(v) == JV_ARRAY ? at_index(v, step) : get_n(v, step);
	}
	return v;
}

size_t jv_len(struct jv v)
{
	size_t n = 0;
	jv_each (it, v)
		n++;
	return n;
}

struct str jv_bytes(struct jv v)
{
	if (!v.p)
		return (struct str){0};
	return (struct str){v.p, (size_t)(skip_value(v.p, v.end) - v.p)};
}

/* --- scalars --- */

static struct str scalar_text(struct jv v)
{
	enum jv_type t = jv_type(v);
	return t == JV_NUMBER ? jv_bytes(v) : t == JV_STRING ? jv_raw_str(v) : (struct str){0};
}

static bool text_double(struct str s, double *ret)
{
	char tmp[64], *stop;
	if (s.n == 0 || str_copy(tmp, sizeof(tmp), s) < 0)
		return false;
	double d = strtod(tmp, &stop);
	if (*stop)
		return false;
	*ret = d;
	return true;
}

int64_t jv_int(struct jv v, int64_t dflt)
{
	struct str s = scalar_text(v);
	int64_t i;
	double d;
	if (str_i64(s, &i) == 0)
		return i;
	if (jv_type(v) != JV_NUMBER || !text_double(s, &d) || d != d)
		return dflt;
	/* 2^63 is exact as a double, INT64_MAX is not. */
	return d >= 9223372036854775808.0   ? INT64_MAX
	       : d < -9223372036854775808.0 ? INT64_MIN
					    : (int64_t)d;
}

double jv_num(struct jv v, double dflt)
{
	double d;
	return jv_type(v) == JV_NUMBER && text_double(jv_bytes(v), &d) ? d : dflt;
}

bool jv_bool(struct jv v, bool dflt)
{
	return jv_type(v) == JV_BOOL ? *v.p == 't' : dflt;
}

struct str jv_raw_str(struct jv v)
{
	bool esc;
	if (jv_type(v) != JV_STRING)
		return (struct str){0};
	const char *close = string_end(v.p + 1, v.end, &esc);
	return (struct str){v.p + 1, (size_t)(close - v.p - 1)};
}

bool jv_is_str(struct jv v, const char *z)
{
	return jv_type(v) == JV_STRING && key_is(jv_raw_str(v), str_of(z));
}

static int hex4(struct str s, size_t at)
{
	int v = 0;
	if (at + 4 > s.n)
		return -1;
	for (size_t i = at; i < at + 4; i++) {
		char c = s.p[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;
		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

/* i at the hex digits after "\u"; returns how many bytes from there were used. A half of a
 * surrogate pair alone becomes U+FFFD, as in Go. */
static size_t unescape_u(struct str s, size_t i, struct buf *out)
{
	int c = hex4(s, i), low;
	if (c < 0) {
		utf8_add(out, 0xfffd);
		return 0;
	}
	if (c >= 0xd800 && c < 0xdc00 && i + 6 <= s.n && s.p[i + 4] == '\\' && s.p[i + 5] == 'u') {
		low = hex4(s, i + 6);
		if (low >= 0xdc00 && low < 0xe000) {
			utf8_add(out, (uint32_t)(0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00)));
			return 10;
		}
	}
	utf8_add(out, c >= 0xd800 && c < 0xe000 ? 0xfffd : (uint32_t)c);
	return 4;
}

static void unescape(struct str s, struct buf *out)
{
	static const char plain[] = "bfnrt", meant[] = "\b\f\n\r\t";
	while (s.n) {
		const char *bs = memchr(s.p, '\\', s.n);
		size_t n = bs ? (size_t)(bs - s.p) : s.n;
		buf_add(out, s.p, n);
		s.p += n;
		s.n -= n;
		if (s.n < 2)
			return;
		char c = s.p[1];
		const char *known = strchr(plain, c);
		size_t used = 2;
		if (c == 'u')
			used += unescape_u(s, 2, out);
		else
			buf_addc(out, c && known ? meant[known - plain] : c);
		s.p += used;
		s.n -= used;
	}
}

void jv_unescape(struct jv v, struct buf *out)
{
	unescape(jv_raw_str(v), out);
}

char *jv_strdup(struct jv v)
{
	struct str raw = jv_raw_str(v);
	if (!raw.n || !memchr(raw.p, '\\', raw.n))
		return str_dup(raw);
	struct buf b = {0};
	unescape(raw, &b);
	return buf_steal(&b);
}

int jv_copy(struct jv v, char *dst, size_t cap)
{
	struct str raw = jv_raw_str(v);
	if (!raw.n || !memchr(raw.p, '\\', raw.n))
		return str_copy(dst, cap, raw);
	AUTO_BUF struct buf b = {0};
	unescape(raw, &b);
	return b.err ? b.err : str_copy(dst, cap, buf_str(&b));
}

/* SPDX-License-Identifier: Apache-2.0
 * The growable buffer and JSON string escaping. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include "xebec/base/buf.h"
#include "base/utf8.h"

void buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
	b->len = 0;
	b->err = 0;
	if (b->p)
		b->p[0] = '\0';
}

int buf_reserve(struct buf *b, size_t more)
{
	if (b->err)
		return b->err;
	if (b->p && b->cap - b->len > more)
		return 0;
	if (more > SIZE_MAX / 4 - b->len)
		return b->err = -ENOMEM;
	size_t cap = b->cap ? b->cap * 2 : 64;
	if (cap < b->len + more + 1)
		cap = b->len + more + 1;
	char *p = realloc(b->p, cap);
	if (!p)
		return b->err = -ENOMEM;
	if (!b->p)
		p[0] = '\0';
	b->p = p;
	b->cap = cap;
	return 0;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	if (buf_reserve(b, n) < 0)
		return;
	if (n)
		memcpy(b->p + b->len, p, n);
	b->len += n;
	b->p[b->len] = '\0';
}

void buf_adds(struct buf *b, const char *z)
{
	buf_add(b, z, strlen(z));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_add_str(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	if (b->err)
		return;
	va_start(ap, fmt);
	va_copy(again, ap);
	size_t room = b->p ? b->cap - b->len : 0;
	int n = vsnprintf(room ? b->p + b->len : NULL, room, fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->err = -EINVAL;
	} else if ((size_t)n >= room) {
		if (buf_reserve(b, (size_t)n) == 0)
			(void)vsnprintf(b->p + b->len, (size_t)n + 1, fmt, again);
		else if (b->p)
			b->p[b->len] = '\0';
	}
	va_end(again);
	if (!b->err)
		b->len += (size_t)n;
}

void buf_add_u64(struct buf *b, uint64_t v)
{
	char tmp[20];
	size_t i = sizeof(tmp);
	do
		tmp[--i] = (char)('0' + v % 10);
	while (v /= 10);
	buf_add(b, tmp + i, sizeof(tmp) - i);
}

static void add_escaped(struct buf *b, unsigned char c)
{
	static const char shorts[32] = {
		['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
	if (c == '"' || c == '\\' || shorts[c]) {
		char two[2] = {'\\', c == '"' || c == '\\' ? (char)c : shorts[c]};
		buf_add(b, two, 2);
	} else {
		buf_addf(b, "\\u%04x", c);
	}
}

void buf_add_json_str(struct buf *b, struct str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t from = 0, i = 0;
	buf_addc(b, '"');
	while (i < s.n) {
		size_t len = 1;
		bool plain = p[i] >= 0x20 && p[i] != '"' && p[i] != '\\';
		if (plain && p[i] >= 0x80) {
			len = utf8_len(p + i, s.n - i);
			plain = len > 0;
		}
		if (plain) {
			i += len;
			continue;
		}
		buf_add(b, s.p + from, i - from);
		if (p[i] >= 0x80)
			buf_adds(b, "\xef\xbf\xbd");
		else
			add_escaped(b, p[i]);
		from = ++i;
	}
	if (s.n > from)
		buf_add(b, s.p + from, s.n - from);
	buf_addc(b, '"');
}

void buf_consume(struct buf *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
	} else {
		memmove(b->p, b->p + n, b->len - n);
		b->len -= n;
	}
	if (b->p)
		b->p[b->len] = '\0';
}

char *buf_steal(struct buf *b)
{
	char *p = NULL;
	if (!b->err && buf_reserve(b, 0) == 0) {
		p = b->p;
		b->p = NULL;
	}
	buf_free(b);
	return p;
}

/* SPDX-License-Identifier: Apache-2.0
 * UTF-8 (RFC 3629), private to control/base. */
#ifndef XEBEC_CONTROL_BASE_UTF8_H
#define XEBEC_CONTROL_BASE_UTF8_H

#include "xebec/base/buf.h"

/* Length of the valid sequence at p (no surrogates, no overlong forms); 0 when invalid. n >= 1. */
static inline size_t utf8_len(const unsigned char *p, size_t n)
{
	if (p[0] < 0x80)
		return 1;
	size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc2 || p[0] > 0xf4 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static inline void utf8_add(struct buf *b, uint32_t c)
{
	unsigned char t[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		t[i] = (unsigned char)(0x80 | (c & 0x3f));
	t[0] = (unsigned char)(lead[n] | c);
	buf_add(b, t, n);
}

#endif

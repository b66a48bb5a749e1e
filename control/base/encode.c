/* SPDX-License-Identifier: Apache-2.0
 * Base64, random bytes, UUIDs, SHA-256. */
#include <errno.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <sys/random.h>
#include "xebec/base/tls.h"

static const char std_alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void encode(struct str in, const char *abc, bool pad, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)in.p;
	size_t n = in.n;

	if (buf_reserve(out, n / 3 * 4 + 8) != 0)
		return;
	for (; n >= 3; n -= 3, p += 3) {
		char q[4] = {abc[p[0] >> 2], abc[(p[0] & 3) << 4 | p[1] >> 4],
			abc[(p[1] & 15) << 2 | p[2] >> 6], abc[p[2] & 63]};
		buf_add(out, q, 4);
	}
	if (n == 0)
		return;
	unsigned second = n == 2 ? p[1] : 0u;
	char q[4] = {abc[p[0] >> 2], abc[(p[0] & 3u) << 4 | second >> 4],
		n == 2 ? abc[(second & 15) << 2] : '=', '='};
	buf_add(out, q, pad ? 4 : n + 1);
}

void base64_encode(struct str in, struct buf *out)
{
	encode(in, std_alphabet, true, out);
}

void base64url_encode(struct str in, struct buf *out)
{
	encode(in, url_alphabet, false, out);
}

static int digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

int base64_decode(struct str in, struct buf *out)
{
	size_t before = out->len, digits = 0, pads = 0;
	uint32_t acc = 0;

	if (buf_reserve(out, in.n / 4 * 3 + 4) != 0)
		return -ENOMEM;
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '\n' || in.p[i] == '\r')
			continue;
		if (in.p[i] == '=') {
			pads++;
			continue;
		}
		int d = digit(in.p[i]);
		if (d < 0 || pads > 0)
			goto bad;
		acc = acc << 6 | (uint32_t)d;
		if (++digits % 4 == 0) {
			unsigned char b[3] = {(unsigned char)(acc >> 16), (unsigned char)(acc >> 8),
				(unsigned char)acc};
			buf_add(out, b, 3);
			acc = 0;
		}
	}
	if (pads > 0 && (digits + pads) % 4 != 0)
		goto bad;
	switch (digits % 4) {
	case 0:
		if (pads > 0)
			goto bad;
		break;
	case 1:
		goto bad;
	case 2: /* bits that no byte uses must be zero: one spelling a value */
		if (acc & 0xf)
			goto bad;
		buf_addc(out, (char)(acc >> 4));
		break;
	default:
		if (acc & 0x3)
			goto bad;
		buf_addc(out, (char)(acc >> 10));
		buf_addc(out, (char)(acc >> 2));
	}
	return out->err;
bad:
	out->len = before;
	if (out->p)
		out->p[before] = '\0';
	return -EINVAL;
}

void random_bytes(void *p, size_t n)
{
	char *c = p;

	while (n > 0) { /* larger requests than 256 bytes may be cut short by a signal */
		ssize_t r = getrandom(c, n, 0);
		if (r > 0) {
			c += r;
			n -= (size_t)r;
		} else if (errno != EINTR) {
			abort(); /* no randomness: no key made here could be trusted */
		}
	}
}

void uuid4(char out[static 37])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char b[16];
	char *o = out;

	random_bytes(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*o++ = '-';
		*o++ = hex[b[i] >> 4];
		*o++ = hex[b[i] & 15];
	}
	*o = '\0';
}

void sha256(struct str in, unsigned char out[static 32])
{
	SHA256((const unsigned char *)in.p, in.n, out);
}

/* SPDX-License-Identifier: Apache-2.0
 * Byte runs: comparison, numbers, and SipHash-1-3 under a per-process key. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include "xebec/base/str.h"

int str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n ? memcmp(a.p, b.p, n) : 0;
	return r ? r : (a.n > b.n) - (a.n < b.n);
}

struct str str_cut(struct str *s, char sep)
{
	const char *at = s->n ? memchr(s->p, sep, s->n) : NULL;
	struct str head = *s;
	if (!at) {
		s->p += s->n;
		s->n = 0;
		return head;
	}
	head.n = (size_t)(at - s->p);
	s->p = at + 1;
	s->n -= head.n + 1;
	return head;
}

int str_u64(struct str s, uint64_t *ret)
{
	uint64_t v = 0;
	bool over = false;
	if (s.n == 0)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -EINVAL;
		over |= __builtin_mul_overflow(v, 10, &v);
		over |= __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v);
	}
	if (over)
		return -ERANGE;
	*ret = v;
	return 0;
}

int str_i64(struct str s, int64_t *ret)
{
	bool neg = s.n && s.p[0] == '-';
	uint64_t v;
	if (neg) {
		s.p++;
		s.n--;
	}
	int r = str_u64(s, &v);
	if (r < 0)
		return r;
	if (v > (uint64_t)INT64_MAX + neg)
		return -ERANGE;
	*ret = neg ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

char *str_dup(struct str s)
{
	char *p = malloc(s.n + 1);
	if (!p)
		return NULL;
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return p;
}

int str_copy(char *dst, size_t cap, struct str s)
{
	if (s.n >= cap)
		return -ENAMETOOLONG;
	if (s.n)
		memcpy(dst, s.p, s.n);
	dst[s.n] = '\0';
	return 0;
}

static uint64_t hash_key[2];
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static void hash_init(void)
{
	if (getrandom(hash_key, sizeof(hash_key), 0) != sizeof(hash_key))
		abort(); /* no entropy source: nothing that depends on it is safe */
}

static inline uint64_t rotl(uint64_t v, int b)
{
	return (v << b) | (v >> (64 - b));
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

/* SipHash-1-3 (Aumasson, Bernstein): enough against flooding, half the cost of 2-4. */
uint64_t str_hash(struct str s)
{
	(void)pthread_once(&hash_once, hash_init);
	struct sip h = {
		.v0 = hash_key[0] ^ 0x736f6d6570736575ULL,
		.v1 = hash_key[1] ^ 0x646f72616e646f6dULL,
		.v2 = hash_key[0] ^ 0x6c7967656e657261ULL,
		.v3 = hash_key[1] ^ 0x7465646279746573ULL,
	};
	size_t i = 0;
	uint64_t m;
	for (; i + 8 <= s.n; i += 8) {
		memcpy(&m, s.p + i, 8);
		h.v3 ^= m;
		sip_round(&h);
		h.v0 ^= m;
	}
	m = (uint64_t)s.n << 56;
	if (s.n > i)
		memcpy(&m, s.p + i, s.n - i);
	h.v3 ^= m;
	sip_round(&h);
	h.v0 ^= m;
	h.v2 ^= 0xff;
	for (int k = 0; k < 3; k++)
		sip_round(&h);
	return h.v0 ^ h.v1 ^ h.v2 ^ h.v3;
}

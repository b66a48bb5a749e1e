/* SPDX-License-Identifier: Apache-2.0
 * A borrowed run of bytes. Never owns; not NUL-terminated. */
#ifndef XEBEC_BASE_STR_H
#define XEBEC_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *p;
	size_t n;
};

#define STR(lit)   ((struct str){.p = (lit), .n = sizeof(lit) - 1})
#define STR_FMT(s) (int)(s).n, (s).p /* for "%.*s" */

static inline struct str str_of(const char *z)
{
	return (struct str){.p = z, .n = z ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_eqz(struct str a, const char *z)
{
	return a.n == strlen(z) && (a.n == 0 || memcmp(a.p, z, a.n) == 0);
}

static inline bool str_starts(struct str s, const char *prefix)
{
	size_t n = strlen(prefix);
	return s.n >= n && (n == 0 || memcmp(s.p, prefix, n) == 0);
}

int str_cmp(struct str a, struct str b);
/* Cuts the part before the first `sep` off *s and returns it; the rest stays in *s (empty at the
 * end). */
struct str str_cut(struct str *s, char sep);
/* Whole string as a decimal number; -EINVAL otherwise, -ERANGE on overflow. */
int str_u64(struct str s, uint64_t *ret);
int str_i64(struct str s, int64_t *ret);
/* malloc'ed NUL-terminated copy; NULL when out of memory. */
char *str_dup(struct str s);
/* Copies into dst (NUL-terminated); -ENAMETOOLONG when it does not fit. */
int str_copy(char *dst, size_t cap, struct str s);
uint64_t str_hash(struct str s); /* keyed per process: safe against chosen keys */

#endif

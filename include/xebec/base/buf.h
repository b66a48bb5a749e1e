/* SPDX-License-Identifier: Apache-2.0
 * Growable byte buffer with a sticky error: append freely, check buf.err (or buf_ok) once at the
 * end. Always NUL-terminated past len when p is not NULL. Not thread-safe. {0} is a valid empty
 * buffer. */
#ifndef XEBEC_BASE_BUF_H
#define XEBEC_BASE_BUF_H

#include "xebec/base/cleanup.h"
#include "xebec/base/str.h"

struct buf {
	char *p;
	size_t len, cap;
	int err; /* 0 or negative errno, sticky */
};

void buf_free(struct buf *b); /* releases the memory and empties; safe on {0} */
#define AUTO_BUF AUTO(buf_free)
void buf_clear(struct buf *b);		     /* len = 0, keeps the memory */
int buf_reserve(struct buf *b, size_t more); /* room for `more` bytes */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *z);
void buf_addc(struct buf *b, char c);
void buf_add_str(struct buf *b, struct str s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_add_u64(struct buf *b, uint64_t v);
void buf_add_json_str(
	struct buf *b, struct str s);	   /* quoted and escaped; invalid UTF-8 -> U+FFFD */
void buf_consume(struct buf *b, size_t n); /* drops n bytes at the front */
static inline struct str buf_str(const struct buf *b)
{
	return (struct str){.p = b->p, .n = b->len};
}
char *buf_steal(struct buf *b); /* NUL-terminated malloc'ed bytes or NULL; empties b */

/* Whole files. -ENOENT etc. through e. */
int file_read(const char *path, size_t max, struct buf *out);
/* Writes a temporary file beside it, fsyncs, renames: readers see the old or the new, never a part.
 */
int file_write_atomic(const char *path, struct str data, unsigned mode);
int mkdir_p(const char *path, unsigned mode);
int rm_rf(const char *path); /* never follows symlinks nor crosses a mount point */

#endif

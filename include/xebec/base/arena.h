/* SPDX-License-Identifier: Apache-2.0
 * Bump allocator: one per request, freed at once. Not thread-safe. {0} is a valid empty arena. */
#ifndef XEBEC_BASE_ARENA_H
#define XEBEC_BASE_ARENA_H

#include "xebec/base/cleanup.h"
#include "xebec/base/str.h"

struct arena_chunk;
struct arena {
	struct arena_chunk *head;
	size_t used; /* bytes handed out */
};

void *arena_alloc(struct arena *a, size_t n); /* zeroed, 16-byte aligned; NULL when out of memory */
char *arena_strdup(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_free(struct arena *a);
#define AUTO_ARENA AUTO(arena_free)

#endif

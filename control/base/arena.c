/* SPDX-License-Identifier: Apache-2.0
 * Bump allocator: chunks that double up to 64 KiB; large requests get a chunk of their own. */
#include <stdarg.h>
#include <stdio.h>
#include "xebec/base/arena.h"

enum { CHUNK_MIN = 1024, CHUNK_MAX = 65536 };

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, cap;
	_Alignas(16) char data[];
};

static struct arena_chunk *chunk_add(struct arena *a, size_t n)
{
	size_t cap = a->head ? a->head->cap * 2 : CHUNK_MIN;
	if (cap > CHUNK_MAX)
		cap = CHUNK_MAX;
	bool own = n > cap / 2;
	if (own)
		cap = n;
	struct arena_chunk *c = calloc(1, sizeof(*c) + cap);
	if (!c)
		return NULL;
	c->cap = cap;
	if (own && a->head) { /* keep filling the current chunk */
		c->next = a->head->next;
		a->head->next = c;
	} else {
		c->next = a->head;
		a->head = c;
	}
	return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
	if (n > SIZE_MAX / 4)
		return NULL;
	n = (n + 15) & ~(size_t)15;
	struct arena_chunk *c = a->head;
	if (!c || c->cap - c->used < n) {
		c = chunk_add(a, n);
		if (!c)
			return NULL;
	}
	void *p = c->data + c->used;
	c->used += n;
	a->used += n;
	return p;
}

char *arena_strdup(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.n + 1);
	if (p && s.n)
		memcpy(p, s.p, s.n);
	return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
	if (p)
		(void)vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return p;
}

void arena_free(struct arena *a)
{
	for (struct arena_chunk *c = a->head, *next; c; c = next) {
		next = c->next;
		free(c);
	}
	*a = (struct arena){0};
}

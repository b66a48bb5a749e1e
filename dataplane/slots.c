/* SPDX-License-Identifier: Apache-2.0
 * Allocators of map rows. */
#include "slots.h"

#include <errno.h>
#include <stdlib.h>

int ids_init(struct ids *s, uint32_t max)
{
	*s = (struct ids){.max = max, .next = 1};
	s->free = calloc(max, sizeof *s->free);
	return s->free ? 0 : -ENOMEM;
}

void ids_free(struct ids *s)
{
	free(s->free);
	*s = (struct ids){0};
}

uint32_t ids_get(struct ids *s)
{
	uint32_t id;
	if (s->next < s->max) {
		id = s->next++;
	} else if (s->len) {
		id = s->free[s->head];
		s->head = (s->head + 1) % s->max;
		s->len--;
	} else {
		return 0;
	}
	s->used++;
	return id;
}

void ids_put(struct ids *s, uint32_t id)
{
	s->free[(s->head + s->len) % s->max] = id;
	s->len++;
	s->used--;
}

void ids_adopt(struct ids *s, const uint64_t *bits)
{
	for (uint32_t i = 1; i < s->max; i++)
		if (bits[i / 64] >> i % 64 & 1) {
			s->next = i + 1;
			s->used++;
		}
	for (uint32_t i = 1; i < s->next; i++)
		if (!(bits[i / 64] >> i % 64 & 1))
			s->free[s->len++] = i;
}

static unsigned run_class(uint32_t len)
{
	unsigned c = 0;
	while ((1u << c) < len)
		c++;
	return c;
}

void runs_init(struct runs *s, uint32_t max)
{
	*s = (struct runs){.max = max};
}

void slot_runs_free(struct runs *s)
{
	for (unsigned c = 0; c < RUN_CLASSES; c++)
		free(s->free[c].base);
	*s = (struct runs){0};
}

static int list_push_run(struct runs *s, unsigned c, uint32_t base)
{
	struct run_list *l = &s->free[c];
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		uint32_t *p = realloc(l->base, cap * sizeof *p);
		if (!p)
			return -ENOMEM;
		l->base = p;
		l->cap = cap;
	}
	l->base[l->n++] = base;
	return 0;
}

/* Takes a run of a larger class and gives its upper halves back. */
static int split_larger(struct runs *s, unsigned c, uint32_t *ret_base)
{
	unsigned big = c + 1;
	while (big < RUN_CLASSES && s->free[big].n == 0)
		big++;
	if (big >= RUN_CLASSES)
		return -ENOSPC;
	uint32_t base = s->free[big].base[--s->free[big].n];
	while (big > c) {
		big--;
		(void)list_push_run(s, big, base + (1u << big));
	}
	*ret_base = base;
	return 0;
}

int runs_get(struct runs *s, uint32_t len, uint32_t *ret_base)
{
	unsigned c = run_class(len);
	if (c >= RUN_CLASSES)
		return -ENOSPC;
	uint32_t size = 1u << c;
	if (s->free[c].n) {
		*ret_base = s->free[c].base[--s->free[c].n];
	} else if (s->max - s->next >= size) {
		*ret_base = s->next;
		s->next += size;
	} else {
		int r = split_larger(s, c, ret_base);
		if (r)
			return r;
	}
	s->used += size;
	return 0;
}

int runs_put(struct runs *s, uint32_t base, uint32_t len)
{
	unsigned c = run_class(len);
	s->used -= 1u << c;
	return list_push_run(s, c, base);
}

/* Gives [from, to) to the free lists in the largest pieces. */
static int gap_put(struct runs *s, uint32_t from, uint32_t to)
{
	while (from < to) {
		unsigned c = RUN_CLASSES - 1;
		while ((1u << c) > to - from)
			c--;
		int r = list_push_run(s, c, from);
		if (r)
			return r;
		from += 1u << c;
	}
	return 0;
}

int runs_adopt(struct runs *s, const struct run *used, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t size = 1u << run_class(used[i].len);
		if (used[i].base < s->next)
			return -EINVAL;
		int r = gap_put(s, s->next, used[i].base);
		if (r)
			return r;
		s->next = used[i].base + size;
		s->used += size;
	}
	return s->next <= s->max ? 0 : -EINVAL;
}

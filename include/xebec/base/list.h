/* SPDX-License-Identifier: Apache-2.0
 * Intrusive doubly linked list. */
#ifndef XEBEC_BASE_LIST_H
#define XEBEC_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include "xebec/base/cleanup.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_insert_before(struct list *pos, struct list *n)
{
	n->prev = pos->prev;
	n->next = pos;
	pos->prev->next = n;
	pos->prev = n;
}

static inline void list_push(struct list *head, struct list *n) /* at the tail */
{
	list_insert_before(head, n);
}

static inline void list_del(struct list *n) /* leaves n initialised: deleting twice is safe */
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	list_init(n);
}

#define list_entry(ptr, type, member) CONTAINER_OF(ptr, type, member)
#define list_each(it, head)	      for (struct list *it = (head)->next; it != (head); it = it->next)
#define list_each_safe(it, head)                                                                   \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                  \
		it = it##_next, it##_next = it->next)

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Pods that wait for a node.
 *
 *   add --> ACTIVE --pop--> (being decided) --no node--> WAITING --event--> BACKOFF or ACTIVE
 *             ^                    |                                           |
 *             +--------------------+------- bind failed ----> BACKOFF --time---+
 *
 * ACTIVE is ordered by priority, then by arrival. A pod that waits comes back when something
 * happened that could help it, after its back-off (1 s doubling to 10 s), or after five minutes. */
#ifndef XEBEC_SCHEDULER_QUEUE_H
#define XEBEC_SCHEDULER_QUEUE_H

#include "scheduler/core.h"
#include "xebec/base/loop.h"

struct queue;
/* on_active is called when there is something to pop. */
struct queue *queue_new(struct loop *l, void (*on_active)(void *arg), void *arg);
void queue_free(struct queue *q);
/* A new pod, or a newer version of one that waits; what could change the decision makes it active.
 */
void queue_put(struct queue *q, struct pod *p);
void queue_del(struct queue *q, struct str uid);
/* The first, now being decided; with a reference for the caller. NULL = none. */
struct pod *queue_pop(struct queue *q);
/* What became of a popped pod: no node for it (refused_by: plugins that refused), or a failure that
 * time may heal. A pod that is neither is deleted with queue_del. */
void queue_wait(struct queue *q, struct str uid, unsigned refused_by);
void queue_backoff(struct queue *q, struct str uid);
/* Something happened that could help pods refused by these plugins (0: pods that saw no node). */
void queue_event(struct queue *q, unsigned plugins);

struct queue_counts {
	size_t active, backing_off, waiting;
};
struct queue_counts queue_counts(const struct queue *q);

#endif

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
struct queue *sched_queue_new(struct loop *l, void (*on_active)(void *arg), void *arg);
void sched_queue_free(struct queue *q);
/* A new pod, or a newer version of one that waits; what could change the decision makes it active.
 */
void sched_queue_put(struct queue *q, struct pod *p);
void sched_queue_del(struct queue *q, struct str uid);
/* The first, now being decided; with a reference for the caller. NULL = none. */
struct pod *sched_queue_pop(struct queue *q);
/* What became of a popped pod: no node for it (refused_by: plugins that refused), or a failure that
 * time may heal. A pod that is neither is deleted with sched_queue_del. */
void sched_queue_wait(struct queue *q, struct str uid, unsigned refused_by);
void sched_queue_backoff(struct queue *q, struct str uid);
/* Something happened that could help pods refused by these plugins (0: pods that saw no node). */
void sched_queue_event(struct queue *q, unsigned plugins);

/* How often the pod was popped; 0: not here. */
unsigned sched_queue_attempts(const struct queue *q, struct str uid);

struct sched_queue_counts {
	size_t active, backing_off, waiting;
};
struct sched_queue_counts sched_queue_counts(const struct queue *q);

#endif

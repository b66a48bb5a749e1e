/* SPDX-License-Identifier: Apache-2.0
 * The scheduler: assigns pods of spec.schedulerName "default-scheduler" to nodes, speaking to the
 * API through a client only. Lives on the client's loop. */
#ifndef XEBEC_SCHEDULER_SCHEDULER_H
#define XEBEC_SCHEDULER_SCHEDULER_H

#include "xebec/base/err.h"
#include "xebec/client/client.h"

struct scheduler;
struct scheduler_config {
	const char *name; /* NULL = "default-scheduler" */
	uint64_t seed;	  /* of the choice between equally good nodes; 0 = random */
};
int scheduler_start(struct client *c, const struct scheduler_config *cfg, struct scheduler **ret,
	struct err *e);
void scheduler_free(struct scheduler *s);

struct scheduler_stats {
	uint64_t scheduled, unschedulable, bind_errors, decisions, decision_ns;
	size_t active, backing_off, waiting, nodes, pods;
};
void scheduler_stats(const struct scheduler *s, struct scheduler_stats *out);

#endif

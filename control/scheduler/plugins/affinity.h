/* SPDX-License-Identifier: Apache-2.0
 * What several plugins ask. */
#ifndef XEBEC_SCHEDULER_PLUGINS_AFFINITY_H
#define XEBEC_SCHEDULER_PLUGINS_AFFINITY_H

#include "scheduler/plugin.h"

bool node_affinity_matches(const struct pod *p, const struct node_spec *n);

/* Small map from a topology value (borrowed bytes) to a count. */
struct tally {
	struct str *values;
	int64_t *counts;
	size_t n, cap;
};
/* The count's place, made with 0 when absent; NULL when out of memory. */
int64_t *tally_at(struct tally *t, struct arena *a, struct str value);
int64_t tally_get(const struct tally *t, struct str value, int64_t absent);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * A scheduling plugin: rows of plugins.def, one file each under plugins/. */
#ifndef XEBEC_SCHEDULER_PLUGIN_H
#define XEBEC_SCHEDULER_PLUGIN_H

#include "scheduler/core.h"

enum plugin_id {
#define PLUGIN(id, row) PLUGIN_##id,
#include "scheduler/plugins.def"
#undef PLUGIN
	PLUGIN_COUNT
};

struct reason { /* one text and how many nodes it refused */
	const char *text;
	unsigned count;
};

struct cycle { /* one decision */
	struct cluster *c;
	const struct pod *pod;
	struct arena arena;
	void *state[PLUGIN_COUNT]; /* a plugin's own, in the arena */
	struct reason *reasons;
	size_t n_reasons, cap_reasons;
	bool oom;
};

/* Says why this node will not do; text is copied. A plugin may name several reasons. */
void refuse(struct cycle *cy, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

enum { SCORE_MAX = 100 };

struct plugin {
	const char *name;
	/* Before the nodes: false = nothing to do for this pod, the rest is skipped. */
	bool (*prepare)(struct cycle *cy);
	/* false = the node will not do, and refuse() was called. */
	bool (*filter)(struct cycle *cy, const struct node *n);
	/* Raw figures of the nodes that passed; normalize brings them to 0..SCORE_MAX. NULL
	 * normalize: they are there already. */
	bool (*prepare_score)(struct cycle *cy, struct node *const *nodes, size_t n);
	int64_t (*score)(struct cycle *cy, const struct node *n);
	void (*normalize)(struct cycle *cy, struct node *const *nodes, int64_t *scores, size_t n);
	int weight;
};

/* The largest becomes SCORE_MAX, the others in proportion; reverse: the smallest does. */
void normalize_scale(int64_t *scores, size_t n, bool reverse);

#define PLUGIN(id, row) extern const struct plugin row;
#include "scheduler/plugins.def"
#undef PLUGIN

#endif

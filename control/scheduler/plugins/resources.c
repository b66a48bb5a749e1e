/* SPDX-License-Identifier: Apache-2.0
 * Does the pod fit, and where best: least allocated, and evenly between cpu and memory. */
#include <stdlib.h>
#include "scheduler/plugin.h"

static bool fixed_fits(const struct node *n, const struct pod *p, int i)
{
	return p->req.v[i] <= n->spec->alloc.v[i] - n->used.v[i];
}

static bool filter(struct cycle *cy, const struct node *n)
{
	static const char *const texts[] = {
		[RES_CPU] = "Insufficient cpu",
		[RES_MEMORY] = "Insufficient memory",
		[RES_STORAGE] = "Insufficient ephemeral-storage",
	};
	const struct pod *p = cy->pod;
	bool ok = true;
	if (!fixed_fits(n, p, RES_PODS)) {
		refuse(cy, "Too many pods");
		ok = false;
	}
	for (int i = RES_CPU; i <= RES_STORAGE; i++) {
		/* What asks for nothing fits also where too much was promised already. */
		if (!p->req.v[i] || fixed_fits(n, p, i))
			continue;
		refuse(cy, "%s", texts[i]);
		ok = false;
	}
	for (size_t i = 0; i < p->req.n_ext; i++) {
		const struct amount *a = &p->req.ext[i];
		if (!a->v || a->v <= resources_ext(&n->spec->alloc, a->name) -
					     resources_ext(&n->used, a->name))
			continue;
		refuse(cy, "Insufficient %.*s", STR_FMT(a->name));
		ok = false;
	}
	return ok;
}

static int64_t least(int64_t want, int64_t capacity)
{
	return capacity <= 0 || want > capacity
		       ? 0
		       : (int64_t)((double)(capacity - want) * SCORE_MAX / (double)capacity);
}

static int64_t score_least(struct cycle *cy, const struct node *n)
{
	int64_t cpu = least(n->nonzero[0] + cy->pod->nonzero[0], n->spec->alloc.v[RES_CPU]);
	int64_t memory = least(n->nonzero[1] + cy->pod->nonzero[1], n->spec->alloc.v[RES_MEMORY]);
	return (cpu + memory) / 2;
}

const struct plugin plugin_resources_fit = {
	.name = "NodeResourcesFit", .filter = filter, .score = score_least, .weight = 1};

static bool asks(struct cycle *cy)
{
	return !cy->pod->best_effort;
}

static double fraction(int64_t want, int64_t capacity)
{
	double f = capacity > 0 ? (double)want / (double)capacity : 1;
	return f < 1 ? f : 1;
}

/* 1 - standard deviation of the two fractions, which is half their distance. */
static int64_t score_balance(struct cycle *cy, const struct node *n)
{
	const int64_t *alloc = n->spec->alloc.v, *used = n->used.v, *req = cy->pod->req.v;
	double cpu = fraction(used[RES_CPU] + req[RES_CPU], alloc[RES_CPU]);
	double memory = fraction(used[RES_MEMORY] + req[RES_MEMORY], alloc[RES_MEMORY]);
	double gap = cpu > memory ? cpu - memory : memory - cpu;
	return (int64_t)((1 - gap / 2) * SCORE_MAX);
}

const struct plugin plugin_balanced_allocation = {.name = "NodeResourcesBalancedAllocation",
	.prepare = asks,
	.score = score_balance,
	.weight = 1};

/* SPDX-License-Identifier: Apache-2.0
 * nodeSelector and nodeAffinity: all of the selector and one of the required terms. */
#include "scheduler/plugins/affinity.h"

bool node_affinity_matches(const struct pod *p, const struct node_spec *n)
{
	for (size_t i = 0; i < p->n_selector; i++)
		if (!expr_matches(&p->selector[i], n))
			return false;
	if (!p->has_required)
		return true;
	for (size_t i = 0; i < p->n_required; i++)
		if (term_matches(&p->required[i], n))
			return true;
	return false;
}

static bool prepare(struct cycle *cy)
{
	return cy->pod->n_selector || cy->pod->has_required || cy->pod->n_preferred;
}

static bool filter(struct cycle *cy, const struct node *n)
{
	if (node_affinity_matches(cy->pod, n->spec))
		return true;
	refuse(cy, "node(s) didn't match Pod's node affinity/selector");
	return false;
}

static int64_t score(struct cycle *cy, const struct node *n)
{
	int64_t sum = 0;
	for (size_t i = 0; i < cy->pod->n_preferred; i++) {
		const struct term *t = &cy->pod->preferred[i];
		/* An empty preference matches every node. */
		if (!t->n || term_matches(t, n->spec))
			sum += t->weight;
	}
	return sum;
}

static void normalize(struct cycle *cy, struct node *const *nodes, int64_t *scores, size_t n)
{
	(void)cy;
	(void)nodes;
	normalize_scale(scores, n, false);
}

const struct plugin plugin_node_affinity = {.name = "NodeAffinity",
	.prepare = prepare,
	.filter = filter,
	.score = score,
	.normalize = normalize,
	.weight = 2};

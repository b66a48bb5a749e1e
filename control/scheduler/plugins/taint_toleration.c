/* SPDX-License-Identifier: Apache-2.0
 * Taints: NoSchedule and NoExecute refuse, PreferNoSchedule counts against a node. */
#include "scheduler/plugin.h"

static bool filter(struct cycle *cy, const struct node *n)
{
	for (size_t i = 0; i < n->spec->n_taints; i++) {
		const struct taint *t = &n->spec->taints[i];
		if (str_eqz(t->effect, "PreferNoSchedule") ||
			taint_tolerated(t, cy->pod->tolerations, cy->pod->n_tolerations))
			continue;
		refuse(cy, "node(s) had untolerated taint {%.*s: %.*s}", STR_FMT(t->key),
			STR_FMT(t->value));
		return false;
	}
	return true;
}

static int64_t score(struct cycle *cy, const struct node *n)
{
	int64_t bad = 0;
	for (size_t i = 0; i < n->spec->n_taints; i++) {
		const struct taint *t = &n->spec->taints[i];
		bad += str_eqz(t->effect, "PreferNoSchedule") &&
		       !taint_tolerated(t, cy->pod->tolerations, cy->pod->n_tolerations);
	}
	return bad;
}

static void normalize(struct cycle *cy, struct node *const *nodes, int64_t *scores, size_t n)
{
	(void)cy;
	(void)nodes;
	normalize_scale(scores, n, true);
}

const struct plugin plugin_taint_toleration = {.name = "TaintToleration",
	.filter = filter,
	.score = score,
	.normalize = normalize,
	.weight = 3};

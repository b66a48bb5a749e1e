/* SPDX-License-Identifier: Apache-2.0
 * topologySpreadConstraints: hard ones filter, soft ones (and the two built-in ones for controlled
 * pods) score. Counting costs one pass over the pods of the eligible nodes a constraint. */
#include <math.h>
#include "scheduler/plugins/affinity.h"

struct domains {
	struct tally t;
	int64_t min;
	bool self; /* the pod itself counts where it lands */
	double weight;
};

static bool counts(const struct spread *s, const struct pod *mine, const struct pod *other)
{
	if (other->deleting || other->terminal || !str_eq(mine->ns, other->ns))
		return false;
	if (s->by_owner)
		return mine->owner && mine->owner == other->owner;
	return s->selector && label_selector_match(s->selector, other->labels);
}

static int64_t count_on(const struct spread *s, const struct pod *p, const struct node *n)
{
	int64_t k = 0;
	for (size_t i = 0; i < n->n_pods; i++)
		k += counts(s, p, n->pods[i]);
	return k;
}

static bool taints_allow(const struct pod *p, const struct node_spec *n)
{
	for (size_t i = 0; i < n->n_taints; i++)
		if (!str_eqz(n->taints[i].effect, "PreferNoSchedule") &&
			!taint_tolerated(&n->taints[i], p->tolerations, p->n_tolerations))
			return false;
	return true;
}

/* Do the pods of this node count? It must carry the keys of all constraints of the same kind. */
static bool eligible(
	const struct pod *p, const struct spread *s, const struct node_spec *n, bool hard)
{
	for (size_t i = 0; i < p->n_spread; i++)
		if (p->spread[i].hard == hard && !p->spread[i].by_owner &&
			!sched_node_label(n, p->spread[i].key).p)
			return false;
	if (!sched_node_label(n, s->key).p)
		return false;
	if (s->honor_affinity && !node_affinity_matches(p, n))
		return false;
	return !s->honor_taints || taints_allow(p, n);
}

static bool tally_pods(struct cycle *cy, const struct spread *s, struct domains *d)
{
	const struct pod *p = cy->pod;
	for (size_t i = 0; i < cy->c->n_nodes; i++) {
		const struct node *n = cy->c->nodes[i];
		if (!eligible(p, s, n->spec, s->hard))
			continue;
		int64_t *at = tally_at(&d->t, &cy->arena, sched_node_label(n->spec, s->key));
		if (!at)
			return false;
		*at += count_on(s, p, n);
	}
	d->min = d->t.n ? INT64_MAX : 0;
	for (size_t i = 0; i < d->t.cap; i++)
		if (d->t.values[i].p && d->t.counts[i] < d->min)
			d->min = d->t.counts[i];
	if (s->min_domains > 0 && (size_t)s->min_domains > d->t.n)
		d->min = 0;
	d->self = s->by_owner || (s->selector && label_selector_match(s->selector, p->labels));
	d->weight = log((double)d->t.n + 2);
	return true;
}

static bool prepare(struct cycle *cy)
{
	const struct pod *p = cy->pod;
	if (!p->n_spread)
		return false;
	struct domains *d = arena_alloc(&cy->arena, p->n_spread * sizeof(*d));
	if (!d) {
		cy->oom = true;
		return false;
	}
	for (size_t i = 0; i < p->n_spread; i++)
		if (p->spread[i].hard && !tally_pods(cy, &p->spread[i], &d[i]))
			cy->oom = true;
	cy->state[PLUGIN_TOPOLOGY_SPREAD] = d;
	return true;
}

static bool filter(struct cycle *cy, const struct node *n)
{
	static const char text[] = "node(s) didn't match pod topology spread constraints";
	const struct domains *d = cy->state[PLUGIN_TOPOLOGY_SPREAD];
	for (size_t i = 0; i < cy->pod->n_spread; i++) {
		const struct spread *s = &cy->pod->spread[i];
		if (!s->hard)
			continue;
		struct str value = sched_node_label(n->spec, s->key);
		if (!value.p) {
			refuse(cy, "%s (missing required label)", text);
			return false;
		}
		int64_t there = tally_get(&d[i].t, value, 0);
		if (there + d[i].self - d[i].min > s->max_skew) {
			refuse(cy, "%s", text);
			return false;
		}
	}
	return true;
}

static bool prepare_score(struct cycle *cy, struct node *const *nodes, size_t n)
{
	struct domains *d = cy->state[PLUGIN_TOPOLOGY_SPREAD];
	bool any = false;
	(void)nodes;
	(void)n;
	for (size_t i = 0; i < cy->pod->n_spread; i++) {
		const struct spread *s = &cy->pod->spread[i];
		if (s->hard)
			continue;
		if (!tally_pods(cy, s, &d[i]))
			return false;
		any |= d[i].t.n > 0;
	}
	return any;
}

/* Fewer matching pods in the node's domains is better; -1 = the node lacks a label. */
static int64_t score(struct cycle *cy, const struct node *n)
{
	const struct domains *d = cy->state[PLUGIN_TOPOLOGY_SPREAD];
	double sum = 0;
	for (size_t i = 0; i < cy->pod->n_spread; i++) {
		const struct spread *s = &cy->pod->spread[i];
		if (s->hard || !d[i].t.n)
			continue;
		struct str value = sched_node_label(n->spec, s->key);
		if (!value.p && !s->by_owner)
			return -1;
		if (value.p)
			sum += (double)tally_get(&d[i].t, value, 0) * d[i].weight +
			       (s->max_skew - 1);
	}
	return (int64_t)llround(sum * 100);
}

static void normalize(struct cycle *cy, struct node *const *nodes, int64_t *scores, size_t n)
{
	int64_t min = INT64_MAX, max = 0;
	(void)cy;
	(void)nodes;
	for (size_t i = 0; i < n; i++) {
		if (scores[i] < 0)
			continue;
		min = scores[i] < min ? scores[i] : min;
		max = scores[i] > max ? scores[i] : max;
	}
	for (size_t i = 0; i < n; i++)
		scores[i] = scores[i] < 0 ? 0
			    : max == 0	  ? SCORE_MAX
					  : SCORE_MAX * (max + min - scores[i]) / max;
}

const struct plugin plugin_topology_spread = {.name = "PodTopologySpread",
	.prepare = prepare,
	.filter = filter,
	.prepare_score = prepare_score,
	.score = score,
	.normalize = normalize,
	.weight = 2};

/* SPDX-License-Identifier: Apache-2.0
 * podAffinity and podAntiAffinity, of the pod itself and of the pods that run already. */
#include "scheduler/plugins/affinity.h"

struct state {
	struct tally *affinity, *anti; /* a tally for each required term: matching pods by domain */
	struct tally *theirs;	       /* topology key + value that running pods keep us out of */
	struct tally *wish;	       /* key + value -> weight, for the score */
	size_t matches;		       /* pods that match all required affinity terms, anywhere */
};

static bool ns_matches(struct cycle *cy, const struct pod_term *t, struct str ns)
{
	if (t->all_ns)
		return true;
	for (size_t i = 0; i < t->n_namespaces; i++)
		if (str_eq(t->namespaces[i], ns))
			return true;
	if (!t->ns_selector || !cy->c->ns_labels)
		return false;
	return label_selector_match(t->ns_selector, cy->c->ns_labels(cy->c->ns_arg, ns));
}

static bool term_selects(struct cycle *cy, const struct pod_term *t, const struct pod *p)
{
	return t->selector && ns_matches(cy, t, p->ns) &&
	       label_selector_match(t->selector, p->labels);
}

/* One string for a topology key and a value; in the arena. */
static struct str pair(struct cycle *cy, struct str key, struct str value)
{
	char *p = arena_alloc(&cy->arena, key.n + value.n + 1);
	if (!p) {
		cy->oom = true;
		return (struct str){0};
	}
	memcpy(p, key.p, key.n);
	p[key.n] = '\0';
	if (value.n)
		memcpy(p + key.n + 1, value.p, value.n);
	return (struct str){p, key.n + value.n + 1};
}

static void bump(struct cycle *cy, struct tally *t, struct str at, int64_t by)
{
	int64_t *v = at.p ? tally_at(t, &cy->arena, at) : NULL;
	if (v)
		*v += by;
	else
		cy->oom = true;
}

static void bump_pair(
	struct cycle *cy, struct tally *t, const struct node *n, struct str key, int64_t by)
{
	struct str value = sched_node_label(n->spec, key);
	if (value.p)
		bump(cy, t, pair(cy, key, value), by);
}

static bool selects_all(struct cycle *cy, const struct pod_term *t, size_t n, const struct pod *p)
{
	for (size_t i = 0; i < n; i++)
		if (!term_selects(cy, &t[i], p))
			return false;
	return n > 0;
}

/* What one running pod means for the incoming one. */
static void see_pod(struct cycle *cy, struct state *st, const struct node *n, const struct pod *q)
{
	const struct pod *p = cy->pod;
	if (q->terminal)
		return;
	if (selects_all(cy, p->affinity, p->n_affinity, q)) {
		st->matches++;
		for (size_t i = 0; i < p->n_affinity; i++) {
			struct str v = sched_node_label(n->spec, p->affinity[i].key);
			if (v.p)
				bump(cy, &st->affinity[i], v, 1);
		}
	}
	for (size_t i = 0; i < p->n_anti; i++) {
		struct str v = sched_node_label(n->spec, p->anti[i].key);
		if (v.p && term_selects(cy, &p->anti[i], q))
			bump(cy, &st->anti[i], v, 1);
	}
	for (size_t i = 0; i < p->n_pref_affinity; i++)
		if (term_selects(cy, &p->pref_affinity[i], q))
			bump_pair(cy, st->wish, n, p->pref_affinity[i].key,
				p->pref_affinity[i].weight);
	for (size_t i = 0; i < p->n_pref_anti; i++)
		if (term_selects(cy, &p->pref_anti[i], q))
			bump_pair(cy, st->wish, n, p->pref_anti[i].key, -p->pref_anti[i].weight);
	/* The other way round: their terms about us. Hard affinity counts as a wish of 1. */
	for (size_t i = 0; i < q->n_anti; i++)
		if (term_selects(cy, &q->anti[i], p))
			bump_pair(cy, st->theirs, n, q->anti[i].key, 1);
	for (size_t i = 0; i < q->n_affinity; i++)
		if (term_selects(cy, &q->affinity[i], p))
			bump_pair(cy, st->wish, n, q->affinity[i].key, 1);
	for (size_t i = 0; i < q->n_pref_affinity; i++)
		if (term_selects(cy, &q->pref_affinity[i], p))
			bump_pair(cy, st->wish, n, q->pref_affinity[i].key,
				q->pref_affinity[i].weight);
	for (size_t i = 0; i < q->n_pref_anti; i++)
		if (term_selects(cy, &q->pref_anti[i], p))
			bump_pair(cy, st->wish, n, q->pref_anti[i].key, -q->pref_anti[i].weight);
}

static bool prepare(struct cycle *cy)
{
	const struct pod *p = cy->pod;
	bool own = p->n_affinity || p->n_anti || p->n_pref_affinity || p->n_pref_anti;
	if (!own && !cy->c->n_affinity)
		return false;
	struct state *st = arena_alloc(&cy->arena, sizeof(*st));
	size_t n = p->n_affinity + p->n_anti + 2;
	struct tally *t = arena_alloc(&cy->arena, n * sizeof(*t));
	if (!st || !t) {
		cy->oom = true;
		return false;
	}
	*st = (struct state){
		.affinity = t, .anti = t + p->n_affinity, .theirs = t + n - 2, .wish = t + n - 1};
	for (size_t i = 0; i < cy->c->n_nodes; i++) {
		const struct node *node = cy->c->nodes[i];
		for (size_t k = 0; (own || node->n_affinity) && k < node->n_pods; k++)
			see_pod(cy, st, node, node->pods[k]);
	}
	cy->state[PLUGIN_INTER_POD_AFFINITY] = st;
	return true;
}

static bool affinity_holds(struct cycle *cy, const struct state *st, const struct node *n)
{
	const struct pod *p = cy->pod;
	bool all = true;
	for (size_t i = 0; i < p->n_affinity; i++) {
		struct str v = sched_node_label(n->spec, p->affinity[i].key);
		if (!v.p)
			return false;
		all &= tally_get(&st->affinity[i], v, 0) > 0;
	}
	/* The first pod of a group that wants its own company may go anywhere. */
	return all || (st->matches == 0 && selects_all(cy, p->affinity, p->n_affinity, p));
}

static bool filter(struct cycle *cy, const struct node *n)
{
	const struct state *st = cy->state[PLUGIN_INTER_POD_AFFINITY];
	const struct pod *p = cy->pod;
	if (p->n_affinity && !affinity_holds(cy, st, n)) {
		refuse(cy, "node(s) didn't match pod affinity rules");
		return false;
	}
	for (size_t i = 0; i < p->n_anti; i++) {
		struct str v = sched_node_label(n->spec, p->anti[i].key);
		if (v.p && tally_get(&st->anti[i], v, 0) > 0) {
			refuse(cy, "node(s) didn't match pod anti-affinity rules");
			return false;
		}
	}
	for (size_t i = 0; st->theirs->n && i < n->spec->n_labels; i++) {
		const struct label *l = &n->spec->labels[i];
		if (tally_get(st->theirs, pair(cy, l->key, l->value), 0) > 0) {
			refuse(cy, "node(s) didn't satisfy existing pods anti-affinity rules");
			return false;
		}
	}
	return true;
}

static bool prepare_score(struct cycle *cy, struct node *const *nodes, size_t n)
{
	const struct state *st = cy->state[PLUGIN_INTER_POD_AFFINITY];
	(void)nodes;
	(void)n;
	return st->wish->n > 0;
}

static int64_t score(struct cycle *cy, const struct node *n)
{
	const struct state *st = cy->state[PLUGIN_INTER_POD_AFFINITY];
	int64_t sum = 0;
	for (size_t i = 0; i < n->spec->n_labels; i++) {
		const struct label *l = &n->spec->labels[i];
		struct str at = pair(cy, l->key, l->value);
		sum += at.p ? tally_get(st->wish, at, 0) : 0;
	}
	return sum;
}

static void normalize(struct cycle *cy, struct node *const *nodes, int64_t *scores, size_t n)
{
	int64_t min = INT64_MAX, max = INT64_MIN;
	(void)cy;
	(void)nodes;
	for (size_t i = 0; i < n; i++) {
		min = scores[i] < min ? scores[i] : min;
		max = scores[i] > max ? scores[i] : max;
	}
	for (size_t i = 0; i < n; i++)
		scores[i] = max > min ? SCORE_MAX * (scores[i] - min) / (max - min) : 0;
}

const struct plugin plugin_inter_pod_affinity = {.name = "InterPodAffinity",
	.prepare = prepare,
	.filter = filter,
	.prepare_score = prepare_score,
	.score = score,
	.normalize = normalize,
	.weight = 2};

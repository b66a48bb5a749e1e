/* SPDX-License-Identifier: Apache-2.0
 * Labels, taints and node selector terms against a node. */
#include "scheduler/model.h"

struct str sched_node_label(const struct node_spec *n, struct str key)
{
	for (size_t i = 0; i < n->n_labels; i++)
		if (str_eq(n->labels[i].key, key))
			return n->labels[i].value;
	return (struct str){0};
}

static bool tolerates(const struct toleration *v, const struct taint *t)
{
	if (v->effect.n && !str_eq(v->effect, t->effect))
		return false;
	if (v->key.n && !str_eq(v->key, t->key))
		return false;
	if (str_eqz(v->op, "Exists"))
		return true;
	/* Without a key only Exists is allowed; Equal is the default operator. */
	return v->key.n && (!v->op.n || str_eqz(v->op, "Equal")) && str_eq(v->value, t->value);
}

bool taint_tolerated(const struct taint *t, const struct toleration *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (tolerates(&v[i], t))
			return true;
	return false;
}

static bool among(struct str s, const struct expr *x)
{
	for (size_t i = 0; i < x->n_values; i++)
		if (str_eq(s, x->values[i]))
			return true;
	return false;
}

static bool compare(struct str label, const struct expr *x, bool greater)
{
	int64_t a, b;
	if (x->n_values != 1 || str_i64(label, &a) < 0 || str_i64(x->values[0], &b) < 0)
		return false;
	return greater ? a > b : a < b;
}

bool expr_matches(const struct expr *x, const struct node_spec *n)
{
	struct str label = x->field ? str_eqz(x->key, "metadata.name") ? n->name : (struct str){0}
				    : sched_node_label(n, x->key);
	bool present = label.p != NULL;
	if (str_eqz(x->op, "In"))
		return present && among(label, x);
	if (str_eqz(x->op, "NotIn"))
		return !present || !among(label, x);
	if (str_eqz(x->op, "Exists"))
		return present;
	if (str_eqz(x->op, "DoesNotExist"))
		return !present;
	if (str_eqz(x->op, "Gt") || str_eqz(x->op, "Lt"))
		return present && compare(label, x, x->op.p[0] == 'G');
	return false;
}

bool term_matches(const struct term *t, const struct node_spec *n)
{
	for (size_t i = 0; i < t->n; i++)
		if (!expr_matches(&t->exprs[i], n))
			return false;
	return t->n > 0;
}

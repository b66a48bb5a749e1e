/* SPDX-License-Identifier: Apache-2.0
 * Nodes and the pods placed on them, with running sums. */
#include <errno.h>
#include <stdlib.h>
#include "scheduler/core.h"

struct placed {
	struct pod *pod;
	struct node *node;
};

struct cluster *cluster_new(uint64_t seed)
{
	struct cluster *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->seed = seed ? seed : 1;
	c->by_name = htab_new();
	c->pods = htab_new();
	if (c->by_name && c->pods)
		return c;
	cluster_free(c);
	return NULL;
}

static void node_free(void *p)
{
	struct node *n = p;
	for (size_t i = 0; i < n->n_pods; i++)
		sched_pod_unref(n->pods[i]);
	sched_node_spec_unref(n->spec);
	free(n->pods);
	free(n->used.ext);
	free((char *)(uintptr_t)n->name.p);
	free(n);
}

void cluster_free(struct cluster *c)
{
	if (!c)
		return;
	if (c->pods)
		htab_free(c->pods, free);
	if (c->by_name)
		htab_free(c->by_name, node_free);
	free(c->nodes);
	free(c);
}

static struct node *node_get(struct cluster *c, struct str name)
{
	struct node *n = htab_get(c->by_name, name);
	if (n)
		return n;
	n = calloc(1, sizeof(*n));
	char *copy = str_dup(name);
	if (!n || !copy || htab_put(c->by_name, name, n, NULL) < 0) {
		free(n);
		free(copy);
		return NULL;
	}
	n->name = (struct str){copy, name.n};
	return n;
}

static void node_drop_if_empty(struct cluster *c, struct node *n)
{
	if (!n->spec && !n->n_pods)
		node_free(htab_del(c->by_name, n->name));
}

int cluster_set_node(struct cluster *c, struct node_spec *spec)
{
	struct node *n = node_get(c, spec->name);
	if (!n)
		return -ENOMEM;
	if (!n->spec) {
		if (c->n_nodes == c->cap_nodes) {
			size_t cap = c->cap_nodes ? c->cap_nodes * 2 : 16;
			struct node **v = realloc(c->nodes, cap * sizeof(struct node *));
			if (!v) {
				node_drop_if_empty(c, n);
				return -ENOMEM;
			}
			c->nodes = v;
			c->cap_nodes = cap;
		}
		n->index = c->n_nodes;
		c->nodes[c->n_nodes++] = n;
	}
	spec->refs++;
	sched_node_spec_unref(n->spec);
	n->spec = spec;
	return 0;
}

void cluster_del_node(struct cluster *c, struct str name)
{
	struct node *n = htab_get(c->by_name, name);
	if (!n || !n->spec)
		return;
	struct node *last = c->nodes[--c->n_nodes];
	c->nodes[n->index] = last;
	last->index = n->index;
	sched_node_spec_unref(n->spec);
	n->spec = NULL;
	node_drop_if_empty(c, n);
}

/* --- sums --- */

static bool has_affinity(const struct pod *p)
{
	return p->n_affinity || p->n_anti || p->n_pref_affinity || p->n_pref_anti;
}

/* Names of extended resources are the pods' own bytes: copied, so that they outlive the pod. */
static int account_ext(struct node *n, const struct pod *p, int sign)
{
	struct resources *u = &n->used;
	for (size_t i = 0; i < p->req.n_ext; i++) {
		const struct amount *a = &p->req.ext[i];
		size_t k = 0;
		while (k < u->n_ext && !str_eq(u->ext[k].name, a->name))
			k++;
		if (k == u->n_ext) {
			struct amount *v = realloc(u->ext, (k + 1) * sizeof(*v));
			if (!v)
				return -ENOMEM;
			u->ext = v;
			u->ext[u->n_ext++] = (struct amount){a->name, 0};
		}
		u->ext[k].v += sign * a->v;
		if (sign < 0 && u->ext[k].v == 0) {
			u->ext[k] = u->ext[--u->n_ext];
		} else if (sign > 0) {
			u->ext[k].name = a->name; /* bytes of a pod that is placed here */
		}
	}
	return 0;
}

/* Whose bytes the names are may just have left: take them from pods that are still there. */
static void rename_ext(struct node *n)
{
	for (size_t i = 0; i < n->n_pods; i++)
		for (size_t j = 0; j < n->pods[i]->req.n_ext; j++)
			for (size_t k = 0; k < n->used.n_ext; k++)
				if (str_eq(n->used.ext[k].name, n->pods[i]->req.ext[j].name))
					n->used.ext[k].name = n->pods[i]->req.ext[j].name;
}

static void account(struct cluster *c, struct node *n, const struct pod *p, int sign)
{
	for (int i = 0; i < RES_FIXED; i++)
		n->used.v[i] += sign * p->req.v[i];
	n->nonzero[0] += sign * p->nonzero[0];
	n->nonzero[1] += sign * p->nonzero[1];
	n->n_ports += (size_t)sign * p->n_ports;
	n->n_anti += (size_t)sign * (p->n_anti > 0);
	n->n_affinity += (size_t)sign * has_affinity(p);
	c->n_affinity += (size_t)sign * has_affinity(p);
}

bool cluster_del_pod(struct cluster *c, struct str uid)
{
	struct placed *at = htab_del(c->pods, uid);
	if (!at)
		return false;
	struct node *n = at->node;
	struct pod *p = at->pod;
	free(at);
	for (size_t i = 0; i < n->n_pods; i++)
		if (n->pods[i] == p) {
			n->pods[i] = n->pods[--n->n_pods];
			break;
		}
	account(c, n, p, -1);
	if (p->req.n_ext) {
		(void)account_ext(n, p, -1);
		rename_ext(n);
	}
	sched_pod_unref(p);
	node_drop_if_empty(c, n);
	return true;
}

static int node_push(struct node *n, struct pod *p)
{
	if (n->n_pods == n->cap_pods) {
		size_t cap = n->cap_pods ? n->cap_pods * 2 : 8;
		struct pod **v = realloc(n->pods, cap * sizeof(struct pod *));
		if (!v)
			return -ENOMEM;
		n->pods = v;
		n->cap_pods = cap;
	}
	if (account_ext(n, p, 1) < 0)
		return -ENOMEM;
	n->pods[n->n_pods++] = sched_pod_ref(p);
	return 0;
}

int cluster_add_pod(struct cluster *c, struct pod *p, struct str node)
{
	(void)sched_pod_ref(p); /* it may be the one that is replaced */
	(void)cluster_del_pod(c, p->uid);
	struct node *n = node_get(c, node);
	struct placed *at = calloc(1, sizeof(*at));
	int r = -ENOMEM;
	if (n && at && htab_put(c->pods, p->uid, at, NULL) == 0) {
		*at = (struct placed){p, n};
		r = node_push(n, p);
		if (r < 0)
			(void)htab_del(c->pods, p->uid);
	}
	if (r == 0) {
		account(c, n, p, 1);
	} else {
		free(at);
		if (n)
			node_drop_if_empty(c, n);
	}
	sched_pod_unref(p);
	return r;
}

bool cluster_has_pod(const struct cluster *c, struct str uid)
{
	return htab_get(c->pods, uid) != NULL;
}

size_t cluster_len(const struct cluster *c)
{
	return htab_len(c->pods);
}

/* SPDX-License-Identifier: Apache-2.0
 * The decision, pure: nodes with the pods on them + one pod -> a node, or the reasons why not. No
 * clock, no I/O; the same calls with the same seed give the same answer. */
#ifndef XEBEC_SCHEDULER_CORE_H
#define XEBEC_SCHEDULER_CORE_H

#include "scheduler/model.h"
#include "xebec/base/htab.h"

struct node {			/* a node and what is placed on it */
	struct node_spec *spec; /* NULL: pods are there, the node is not known (yet) */
	struct str name;	/* owned */
	struct pod **pods;	/* each holds a reference */
	size_t n_pods, cap_pods;
	struct resources used;
	int64_t nonzero[2];
	size_t n_ports;	   /* host ports in use on it */
	size_t n_anti;	   /* pods with required anti-affinity on it */
	size_t n_affinity; /* pods with any inter-pod affinity */
	size_t index;	   /* in cluster.nodes, when spec != NULL */
};

struct cluster {
	struct node **nodes; /* those with a spec */
	size_t n_nodes, cap_nodes;
	struct htab *by_name; /* name -> struct node, all */
	struct htab *pods;    /* uid -> struct placed */
	size_t n_affinity;    /* pods with inter-pod affinity, all nodes */
	size_t start;	      /* where the search of a large cluster goes on */
	uint64_t seed;
	/* Labels of a namespace, for namespaceSelector; NULL = no labels. */
	struct jv (*ns_labels)(void *arg, struct str ns);
	void *ns_arg;
};

struct cluster *cluster_new(uint64_t seed);
void cluster_free(struct cluster *c);
/* Each takes a reference of its own. 0 or -ENOMEM. */
int cluster_set_node(struct cluster *c, struct node_spec *n);
void cluster_del_node(struct cluster *c, struct str name); /* its pods stay known */
/* Places (or moves, or replaces by uid) a pod; p->node may differ from `node` (assumed pods). */
int cluster_add_pod(struct cluster *c, struct pod *p, struct str node);
bool cluster_del_pod(struct cluster *c, struct str uid); /* false: was not there */
bool cluster_has_pod(const struct cluster *c, struct str uid);
size_t cluster_len(const struct cluster *c); /* pods */

/* Which plugins refused nodes: a bit a row of plugins.def. */
struct verdict {
	const struct node *node; /* the choice, NULL = none; borrowed */
	struct buf message;	 /* without a choice: "0/2 nodes are available: ..." */
	unsigned refused_by;
	size_t feasible, evaluated;
};
void verdict_free(struct verdict *v);
/* 0 also without a choice; -ENOMEM. */
int schedule_pod(struct cluster *c, const struct pod *p, struct verdict *v);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Filters that look at the node alone: cordoned nodes, a node named by the pod. */
#include "scheduler/plugin.h"

static bool schedulable(struct cycle *cy, const struct node *n)
{
	static const struct taint cordoned = {
		.key = {"node.kubernetes.io/unschedulable", 32}, .effect = {"NoSchedule", 10}};
	if (!n->spec->unschedulable ||
		taint_tolerated(&cordoned, cy->pod->tolerations, cy->pod->n_tolerations))
		return true;
	refuse(cy, "node(s) were unschedulable");
	return false;
}

const struct plugin plugin_node_unschedulable = {
	.name = "NodeUnschedulable", .filter = schedulable};

static bool name_given(struct cycle *cy)
{
	return cy->pod->node.n > 0;
}

static bool name_matches(struct cycle *cy, const struct node *n)
{
	if (str_eq(cy->pod->node, n->name))
		return true;
	refuse(cy, "node(s) didn't match the requested node name");
	return false;
}

const struct plugin plugin_node_name = {
	.name = "NodeName", .prepare = name_given, .filter = name_matches};

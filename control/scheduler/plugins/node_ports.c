/* SPDX-License-Identifier: Apache-2.0
 * Host ports: one user for each (protocol, port) and address; 0.0.0.0 stands for all addresses. */
#include "scheduler/plugin.h"

static bool collide(const struct host_port *a, const struct host_port *b)
{
	return a->port == b->port && str_eq(a->proto, b->proto) &&
	       (str_eq(a->ip, b->ip) || str_eqz(a->ip, "0.0.0.0") || str_eqz(b->ip, "0.0.0.0"));
}

static bool pods_collide(const struct pod *a, const struct pod *b)
{
	for (size_t i = 0; i < a->n_ports; i++)
		for (size_t k = 0; k < b->n_ports; k++)
			if (collide(&a->ports[i], &b->ports[k]))
				return true;
	return false;
}

static bool prepare(struct cycle *cy)
{
	return cy->pod->n_ports > 0;
}

static bool filter(struct cycle *cy, const struct node *n)
{
	for (size_t i = 0; n->n_ports && i < n->n_pods; i++) {
		if (!pods_collide(cy->pod, n->pods[i]))
			continue;
		refuse(cy, "node(s) didn't have free ports for the requested pod ports");
		return false;
	}
	return true;
}

const struct plugin plugin_node_ports = {.name = "NodePorts", .prepare = prepare, .filter = filter};

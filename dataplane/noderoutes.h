/* SPDX-License-Identifier: Apache-2.0
 * Routes to the pods of the other nodes (one L2: each node's podCIDR by way of its InternalIP),
 * from the Node objects. */
#ifndef XEBEC_DATAPLANE_NODEROUTES_H
#define XEBEC_DATAPLANE_NODEROUTES_H

#include "xebec/base/err.h"

struct client;
struct noderoutes;
struct noderoutes_config {
	struct client *client;
	const char *node_name;
	int uplink_if;
	void (*on_own_cidr)(
		void *arg, const char *cidr); /* this node's podCIDR is known or changed */
	void *arg;
};
/* Routes of nodes that no longer exist are removed only after the first full list. */
int noderoutes_start(const struct noderoutes_config *c, struct noderoutes **ret, struct err *e);
void noderoutes_free(struct noderoutes *n);

#endif

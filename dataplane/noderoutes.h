/* SPDX-License-Identifier: Apache-2.0
 * Ways to the other nodes and their pods, from the Node objects (peers.h). */
#ifndef XEBEC_DATAPLANE_NODEROUTES_H
#define XEBEC_DATAPLANE_NODEROUTES_H

#include "peers.h"
#include "xebec/base/err.h"

struct client;
struct noderoutes;
struct noderoutes_config {
	struct client *client;
	const char *node_name;
	struct peers peers; /* its nl is opened and closed here */
	void (*on_own_cidr)(
		void *arg, const char *cidr); /* this node's podCIDR is known or changed */
	void *arg;
};
/* Routes of nodes that no longer exist are removed only after the first full list. */
int noderoutes_start(const struct noderoutes_config *c, struct noderoutes **ret, struct err *e);
void noderoutes_free(struct noderoutes *n);
/* For pods' interfaces from now on. */
unsigned noderoutes_pod_mtu(const struct noderoutes *n);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * All controllers on one client's loop. They speak to the API only through the client, so they work
 * against any Kubernetes API server. */
#ifndef XEBEC_CONTROLLERS_H
#define XEBEC_CONTROLLERS_H

#include "xebec/client/client.h"

struct controllers_config {
	const char *cluster_cidr; /* "10.244.0.0/16"; NULL or "" = nodes get no spec.podCIDR */
	unsigned node_cidr_bits;  /* 0 = 24 */
	struct str ca_pem;	  /* for the ConfigMap kube-root-ca.crt; empty = none is made */
	const char *disabled;	  /* "gc,node-ipam": names of controllers.def, comma-separated; or
				     NULL */
	/* 0 = Kubernetes' defaults */
	int64_t node_grace_ns;	      /* a node is NotReady this long after its last lease: 40 s */
	int64_t gc_resync_ns;	      /* discovery of new kinds: 30 s */
	unsigned terminated_pods_max; /* pod GC above so many finished pods: 12500 */
};
struct controllers;
/* Everything runs on the client's loop; strings of *cfg must outlive the controllers. */
int controllers_start(struct client *c, const struct controllers_config *cfg,
	struct controllers **ret, struct err *e);
void controllers_stop(struct controllers *cs);	       /* on the loop */
bool controllers_synced(const struct controllers *cs); /* every cache has been filled once */
/* Keys waiting or being worked on: 0 = nothing to do. For tests and metrics. */
size_t controllers_busy(const struct controllers *cs);

#endif

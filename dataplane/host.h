/* SPDX-License-Identifier: Apache-2.0
 * Brings a node's service network up in the current network namespace: xebec0 and the uplink
 * (hostnet.h), maps, programs on xebec0, lo and the uplink. */
#ifndef XEBEC_DATAPLANE_HOST_H
#define XEBEC_DATAPLANE_HOST_H

#include "hostnet.h"
#include "maps.h"
#include "peers.h"
#include "xdp.h"

struct host_config {
	const char *pin_dir; /* "/sys/fs/bpf/xebec/<node>" */
	/* Of one family or both, "10.96.0.0/16,fd00:96::/112". */
	const char *node_ip; /* must be on an interface: that one is the uplink */
	const char *service_cidr, *cluster_cidr;
	bool foreign_pods; /* another plugin connects them (see hostwatch.h) */
	enum routing routing;
	enum xdp_mode xdp;	 /* of the uplink */
	bool masquerade;	 /* pods go outside under node_ip */
	const char *no_masq;	 /* but not to these networks (nomasq.h); NULL = none */
	uint32_t max[MAP_COUNT]; /* map sizes, 0 = default */
};
/* Also swaps the programs of everything already attached. Safe to call again after a crash: traffic
 * does not stop. net may be NULL. */
int host_open(const struct host_config *c, struct hostnet *net, struct maps **ret, struct err *e);

#endif

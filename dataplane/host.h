/* SPDX-License-Identifier: Apache-2.0
 * A node's own part of the service network: the veth pair xebec0 that routes the service CIDR, the
 * programs on it, on lo and on the uplink. Call in the node's network namespace. */
#ifndef XEBEC_DATAPLANE_HOST_H
#define XEBEC_DATAPLANE_HOST_H

#include "maps.h"

#define HOST_LINK "xebec0"

struct host_config {
	const char *pin_dir;	  /* "/sys/fs/bpf/xebec/<node>" */
	const char *node_ip;	  /* dotted IPv4; must be on an interface: that one is the uplink */
	const char *service_cidr; /* "10.96.0.0/16" */
	const char *cluster_cidr; /* "10.244.0.0/16" */
	uint32_t max[MAP_COUNT];  /* map sizes, 0 = default */
};
/* Opens the maps, makes xebec0 with its route and settings, attaches to xebec0, lo and the uplink,
 * and swaps the programs of everything already attached. Safe to call again after a crash: traffic
 * does not stop. */
int host_open(const struct host_config *c, struct maps **ret, struct err *e);
/* The interface that holds an address: index and name. -ENODEV. */
int host_uplink(const uint8_t ip[4], int *ret_ifindex, char name[static 16]);

#endif

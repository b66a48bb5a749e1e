/* SPDX-License-Identifier: Apache-2.0
 * A pod's network link: a veth pair, eth0 in the pod with a /32 and a /128 address and a default
 * route through a link-local gateway that only exists as a permanent neighbour entry; on the node a
 * /32 route and a permanent neighbour. No bridge, no ARP. */
#ifndef XEBEC_DATAPLANE_PODLINK_H
#define XEBEC_DATAPLANE_PODLINK_H

#include <net/if.h>
#include <netinet/in.h>
#include <stdint.h>
#include "xebec/base/err.h"

struct podlink {
	char host_name[IFNAMSIZ]; /* lxc + 8 hex digits of the container id's hash */
	int host_ifindex;
	uint8_t host_mac[6], pod_mac[6];
	struct in_addr addr;
	struct in6_addr addr6; /* all zero = none; set it after podlink_plan */
};

/* Derives the names and MAC addresses, which depend on the container and the address only. */
void podlink_plan(struct podlink *l, const char *container, struct in_addr addr);
/* Makes the link, or finishes a half-made one. mtu 0 = default. fills host_ifindex. */
int podlink_make(struct podlink *l, const char *netns_path, const char *pod_ifname, unsigned mtu,
	struct err *e);
/* Whether the pod's side is as podlink_make left it: interface up, address, default route. */
int podlink_check(
	const struct podlink *l, const char *netns_path, const char *pod_ifname, struct err *e);
int podlink_find(struct podlink *l);	  /* host_ifindex; -ENODEV */
int podlink_del(const struct podlink *l); /* absent = 0 */

#endif

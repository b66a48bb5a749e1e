/* SPDX-License-Identifier: Apache-2.0
 * The node's own side of the network: sysctls, the uplink, the xebec0 pair that leads the node's
 * sockets to service addresses. */
#ifndef XEBEC_DATAPLANE_HOSTNET_H
#define XEBEC_DATAPLANE_HOSTNET_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include "xebec/base/err.h"

struct hostnet {
	bool has4, has6; /* which addresses the node has */
	uint8_t node_ip[4], node_ip6[16];
	int uplink_if, host_if;
	unsigned uplink_mtu;
	char uplink[IFNAMSIZ];
	uint8_t host_mac[6];
	int vx_if; /* xebec_vx0; 0 = none */
	unsigned vx_mtu;
	uint8_t node_mask[4]; /* of the uplink's network: nodes inside it are on our L2 */
};

/* Finds the uplink by its address, sets sysctls, makes xebec0 and its routes. Idempotent. node_ip,
 * service_cidr: of one family or both, "10.96.0.0/16,fd00:96::/112". */
int hostnet_setup(
	const char *node_ip, const char *service_cidr, struct hostnet *ret, struct err *e);
/* Takes xebec0 and the routes to other nodes' pods away; sysctls stay. Absent is fine. */
int hostnet_remove(struct err *e);
/* "10.96.0.0/16" -> network order address and prefix length. */
int cidr_parse(const char *cidr, uint8_t net[4], unsigned *bits);

#endif

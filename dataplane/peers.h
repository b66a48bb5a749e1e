/* SPDX-License-Identifier: Apache-2.0
 * The other nodes: how each is reached (directly when it is on our L2, else in VXLAN), as kernel
 * routes and as rows of `ipc4` and `node`. One thread. */
#ifndef XEBEC_DATAPLANE_PEERS_H
#define XEBEC_DATAPLANE_PEERS_H

#include "hostnet.h"
#include "maps.h"

struct nl;

#define VXLAN_IF   "xebec_vx0"
#define VXLAN_PORT 4789 /* RFC 7348 */

enum routing {
	ROUTING_AUTO,	/* VXLAN to nodes outside the uplink's network */
	ROUTING_DIRECT, /* never */
	ROUTING_VXLAN,	/* always */
	ROUTING_NONE,	/* pods are somebody else's: not even the device */
};
int routing_parse(const char *name, enum routing *ret); /* NULL = auto; -EINVAL */

/* Makes xebec_vx0 and fills vx_if, vx_mtu. Without VXLAN in the kernel only ROUTING_VXLAN fails. */
int vxlan_setup(struct hostnet *net, enum routing how, struct err *e);
/* The address of a node's xebec_vx0: told by the node's IP, so that nobody has to ask. */
void vxlan_mac(const uint8_t node_ip[4], uint8_t mac[6]);

struct peer { /* another node: its addresses and its pods'. Length 0 = not of this family */
	uint8_t ip[4], pods[4];
	uint8_t ip6[16], pods6[16];
	unsigned prefix, prefix6;
};
struct peers {
	struct nl *nl;
	struct maps *maps; /* NULL = routes only (tests) */
	const struct hostnet *net;
	enum routing how;
};
bool peer_behind_vxlan(const struct peers *p, const uint8_t ip[4]);
/* Setting again replaces. What a peer had before under another address or range must be deleted. */
int peer_set(struct peers *p, const struct peer *peer);
int peer_del(struct peers *p, const struct peer *peer);
/* Removes routes and rows of an earlier run that `wanted` does not know: it is given what one of
 * them says, and what that does not say is zero. */
int peers_sweep(struct peers *p, bool (*wanted)(void *arg, const struct peer *have), void *arg);
/* What pods' interfaces may carry: less when some node is behind VXLAN. */
unsigned peers_pod_mtu(const struct peers *p);

#endif

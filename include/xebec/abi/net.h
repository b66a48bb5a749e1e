/* SPDX-License-Identifier: Apache-2.0
 * Where other nodes and their pods are: ipc4, ipc6, node. */
#ifndef XEBEC_ABI_NET_H
#define XEBEC_ABI_NET_H

#include <linux/types.h>
#include "xebec/abi/flow.h"

/* Networks that this node knows (ipc4, ipc6: longest prefix wins). */
enum xb_net_flag {
	NET_PODS = 1 << 0,    /* pods of a node */
	NET_NODE = 1 << 1,    /* a node itself */
	NET_VXLAN = 1 << 2,   /* not on our L2: pods' packets go there in VXLAN */
	NET_NO_MASQ = 1 << 3, /* pods go there under their own addresses */
};
struct xb4_net_key {
	__u32 prefixlen;
	__u8 addr[4] XB_A4;
};
struct xb6_net_key {
	__u32 prefixlen;
	__u8 addr[16] XB_A4;
};
struct xb_net {
	__u8 node[16] XB_A4; /* the node's own address; IPv4 in the first four bytes */
	__u8 mac[6];	     /* of its xebec_vx0 */
	__u16 flags;
	__u32 identity; /* of its workloads; 0 = not known */
	__u32 rsv;
};
_Static_assert(sizeof(struct xb_net) == 32, "net");

/* Who may send us VXLAN, by outer source address. */
struct xb_node_key {
	__u8 addr[16] XB_A4;
};
struct xb_node {
	__u8 mac[6];
	__u16 flags;
	__u32 rsv[2];
};
_Static_assert(sizeof(struct xb_node) == 16, "node");

#endif

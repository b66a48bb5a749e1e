/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Packets between nodes that are not on one L2: inside VXLAN (RFC 7348), by way of a device that
 * takes the outer header from each packet's metadata. The network identifier is ours to use:
 *
 *   0x000001            a packet between pods and nodes, as it is
 *   0x800000 | low bits of a backend's address, 0 = the node itself
 *                       a client's packet to a service, not yet translated (dsr.h) */
#ifndef XEBEC_BPF_VXLAN_H
#define XEBEC_BPF_VXLAN_H

#include "lib/lb.h"

#define VNI_PLAIN 1u
#define VNI_DSR	  0x800000u

INLINE struct xb_net *net_find(const void *addr)
{
	struct net_key k = {.prefixlen = 8 * ALEN};
	net_addr_set(k.addr, addr);
	return bpf_map_lookup_elem(&FAM(ipc), &k);
}

/* Clusters on one L2 pay one comparison for VXLAN. */
INLINE bool vx_used(void)
{
	__u32 zero = 0;
	struct xb_meta *m = bpf_map_lookup_elem(&meta, &zero);
	return m && cfg.vx_if && READ_ONCE(m->vx_peers);
}

/* What the packet takes of the path's MTU; of a train of segments, one. */
INLINE __u32 pkt_path_len(struct __sk_buff *skb, const struct pkt *p)
{
	struct tcp_start th;
	if (likely(!p->gso))
		return p->tot_len;
	__u32 n = (__u32)p->l4off - ETH_HLEN + READ_ONCE(skb->gso_size);
	if (p->t.proto != IPPROTO_TCP)
		return n + 8;
	return bpf_skb_load_bytes(skb, p->l4off, &th, sizeof th) ? n + 20
								 : n + (__u32)(th.off >> 4) * 4;
}

INLINE __u32 node_addr(const struct xb_net *n)
{
	return bpf_ntohl(*(const __u32 *)n->node);
}

/* The next device to see the packet wraps it for the node with this address (host order). */
GLOBAL int FAM(vx_wrap)(struct __sk_buff *skb, __u32 remote, __u32 vni)
{
	struct bpf_tunnel_key k = {.tunnel_id = vni,
		.remote_ipv4 = remote,
		.local_ipv4 = bpf_ntohl(cfg.node_ip4),
		.tunnel_ttl = 64};
	count_n(CNT_VX_OUT, READ_ONCE(skb->len));
	return bpf_skb_set_tunnel_key(skb, &k, sizeof k, BPF_F_ZERO_CSUM_TX) ? -DROP_REWRITE : 0;
}

/* Who sent it: a node's address in host order, or -DROP_x. */
INLINE int vx_sender(struct __sk_buff *skb, __u32 *ret_addr, __u32 *ret_vni)
{
	struct bpf_tunnel_key k = {};
	struct xb_node_key node_key = {};
	if (bpf_skb_get_tunnel_key(skb, &k, sizeof k, 0))
		return -DROP_VX_SENDER;
	*(__u32 *)node_key.addr = bpf_htonl(k.remote_ipv4);
	if (!bpf_map_lookup_elem(&node, &node_key))
		return -DROP_VX_SENDER;
	*ret_addr = k.remote_ipv4;
	*ret_vni = k.tunnel_id;
	count_n(CNT_VX_IN, READ_ONCE(skb->len));
	return 0;
}

#endif

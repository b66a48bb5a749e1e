/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Where a packet goes once its final addresses are known, and sending it there. */
#ifndef XEBEC_BPF_DELIVER_H
#define XEBEC_BPF_DELIVER_H

#include "lib/vxlan.h"

enum out_kind {
	OUT_STACK, /* this hook's natural way on */
	OUT_POD,   /* a pod of this node */
	OUT_HOST,  /* a socket of this node, by way of xebec0 */
	OUT_NEIGH, /* another machine */
	OUT_VX,	   /* another node, in VXLAN */
};

struct out {
	__u32 kind, ifindex;
	struct macs macs;
	struct bpf_redir_neigh nh;
	__u32 remote, vni; /* OUT_VX: the node (host order) */
	__u32 mtu;	   /* != 0: the packet is too big for the path, which takes this much */
};

INLINE bool hook_is_egress(__u32 hook)
{
	return hook == HOOK_HOST || hook == HOOK_TO_POD || hook == HOOK_NIC_OUT;
}

INLINE struct ep_row *ep_find(const void *addr)
{
	__u32 slot = addr_low(addr) & (XB_EP_TAB - 1);
	struct ep_row *ep = bpf_map_lookup_elem(&FAM(ep_tab), &slot);
	if (likely(ep && addr_eq(ep->addr, addr)))
		return ep;
	return bpf_map_lookup_elem(&FAM(ep), addr);
}

INLINE void out_pod(struct out *o, const struct ep_row *ep)
{
	o->kind = OUT_POD;
	o->ifindex = ep->ifindex;
	__builtin_memcpy(o->macs.dst, ep->mac, 6);
	__builtin_memcpy(o->macs.src, ep->smac, 6);
}

/* Another machine: the kernel's own routing table decides, for the addresses the packet will have.
 */
GLOBAL int FAM(out_fib)(
	struct __sk_buff *skb, const struct pkt *p, const struct tuple *to, struct out *o)
{
	if (!p || !to || !o)
		return -DROP_NO_ROUTE;
	struct bpf_fib_lookup f = {
		.family = FAMILY_AF,
		.l4_protocol = p->t.proto,
		.tot_len = (__u16)pkt_path_len(skb, p),
		.ifindex = p->ifindex,
	};
	fib_addrs(&f, to);
	long r = bpf_fib_lookup(skb, &f, sizeof f, 0);
	if (r == BPF_FIB_LKUP_RET_FRAG_NEEDED) {
		o->mtu = f.mtu_result;
		return 0;
	}
	if (r != BPF_FIB_LKUP_RET_SUCCESS && r != BPF_FIB_LKUP_RET_NO_NEIGH)
		return -DROP_NO_ROUTE;
	o->kind = OUT_NEIGH;
	o->ifindex = f.ifindex;
	fib_neigh(&o->nh, &f);
	return 0;
}

/* A pod or node behind VXLAN: 0. 1 = it is none. */
GLOBAL int FAM(out_vxlan)(
	struct __sk_buff *skb, const struct pkt *p, const struct tuple *to, struct out *o)
{
	if (!p || !to || !o)
		return 1;
	struct xb_net *n = net_find(to->daddr);
	if (!n || !(n->flags & NET_VXLAN))
		return 1;
	o->kind = OUT_VX;
	o->ifindex = cfg.vx_if;
	o->remote = node_addr(n);
	o->vni = VNI_PLAIN;
	__builtin_memcpy(o->macs.dst, n->mac, 6);
	for (int i = 0; i < 6; i++)
		o->macs.src[i] = cfg.vx_mac[i];
	if (pkt_path_len(skb, p) > cfg.vx_mtu)
		o->mtu = cfg.vx_mtu;
	return 0;
}

/* Fills *o for a packet that will carry `to`. 0 or -DROP_x. */
INLINE int out_find(struct __sk_buff *skb, const struct pkt *p, const struct tuple *to,
	bool to_host, struct out *o)
{
	o->mtu = 0;
	if (to_host) {
		o->kind = OUT_HOST;
		return 0;
	}
	struct ep_row *ep = ep_find(to->daddr);
	if (likely(ep != 0)) {
		out_pod(o, ep);
		return 0;
	}
	if (is_local_ip(to->daddr)) {
		/* The stack refuses its own address as a source from outside: not by xebec0. */
		o->kind = p->hook == HOOK_HOST || is_local_ip(to->saddr) ? OUT_HOST : OUT_STACK;
		return 0;
	}
	if (unlikely(vx_used()) && !FAM(out_vxlan)(skb, p, to, o))
		return 0;
	return FAM(out_fib)(skb, p, to, o);
}

INLINE int redirect_host(void)
{
	return cfg.host_if ? (int)bpf_redirect(cfg.host_if, BPF_F_INGRESS) : PASS;
}

INLINE void macs_host(struct macs *m)
{
	for (int i = 0; i < 6; i++)
		m->dst[i] = cfg.host_mac[i], m->src[i] = i ? cfg.host_mac[i] : cfg.host_mac[i] ^ 4;
}

/* The packet has its addresses: off it goes. */
INLINE int out_send(struct __sk_buff *skb, const struct pkt *p, struct out *o)
{
	if (o->kind == OUT_STACK)
		return PASS;
	if (o->kind == OUT_HOST)
		return redirect_host();
	if (o->kind == OUT_POD && !hook_is_egress(p->hook))
		return (int)bpf_redirect_peer(o->ifindex, 0);
	skb->mark = MARK_DONE;
	if (o->kind == OUT_POD)
		return (int)bpf_redirect(o->ifindex, 0);
	if (o->kind == OUT_VX) {
		int r = FAM(vx_wrap)(skb, o->remote, o->vni);
		return r ? r : (int)bpf_redirect(o->ifindex, 0);
	}
	return (int)bpf_redirect_neigh(o->ifindex, &o->nh, sizeof o->nh, 0);
}

INLINE bool out_hop(const struct out *o) /* is it a hop, so that TTL counts down? */
{
	return o->kind == OUT_POD || o->kind == OUT_NEIGH || o->kind == OUT_VX;
}

/* Rewrites to `to` and sends. 0.. = the program's verdict, -DROP_x. */
INLINE int out_rewrite_send(
	struct __sk_buff *skb, const struct pkt *p, const struct tuple *to, struct out *o)
{
	const struct macs *m = 0;
	if (o->kind == OUT_HOST)
		macs_host(&o->macs);
	if (o->kind == OUT_HOST || o->kind == OUT_POD || o->kind == OUT_VX)
		m = &o->macs;
	/* A packet from this node's own sockets has made no hop yet. */
	__u8 hop = out_hop(o) && p->hook != HOOK_HOST;
	int r = pkt_rewrite(skb, p, to, m, hop);
	return r ? r : out_send(skb, p, o);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * The short way for clients from outside whose backend is on another node: IPv4 packets of flows
 * that are tracked already are translated and sent on before the stack knows of them, in both
 * directions. Whatever is special (a new flow, a fragment, options, ICMP, the last hop, too big, no
 * neighbour yet, VXLAN) goes up to tc_nic_in, which keeps the same tables. An object of its own: it
 * is optional. */
#define XEBEC_MAPS_HERE
#define FAMILY 4
#include "lib/count.h"
#include "lib/vxlan.h"

char _license[] SEC("license") = "Dual BSD/GPL";

#define L4_AT (ETH_HLEN + 20)

/* true: a plain TCP or UDP packet, all in one piece. */
INLINE bool xdp_parse(struct xdp_md *ctx, struct pkt *p)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + ETH_HLEN;
	struct tcp_start *l4 = data + L4_AT; /* of UDP the first eight bytes */
	if (data + L4_AT + 8 > end || eth->h_proto != bpf_htons(ETH_P_IP) || *(__u8 *)ip != 0x45 ||
		ip->ttl <= 1)
		return false;
	p->tot_len = bpf_ntohs(ip->tot_len);
	p->len = (__u32)(end - data);
	if (p->len < p->tot_len + ETH_HLEN || (ip->frag_off & bpf_htons(IP_MF | IP_OFFSET)))
		return false;
	*(__u32 *)&p->t.proto = ip->protocol;
	if (ip->protocol == IPPROTO_TCP) {
		if ((void *)(l4 + 1) > end)
			return false;
		p->tcp_flags = l4->flags;
	} else if (ip->protocol != IPPROTO_UDP) {
		return false;
	}
	addr_set(p->t.saddr, &ip->saddr);
	addr_set(p->t.daddr, &ip->daddr);
	p->t.sport = bpf_ntohs(l4->sport);
	p->t.dport = bpf_ntohs(l4->dport);
	p->hook = HOOK_NIC_IN;
	p->kind = PKT_FLOW;
	p->ifindex = ctx->ingress_ifindex;
	p->l4off = L4_AT;
	return true;
}

INLINE void csum_change(__u16 *sum, __u32 diff, bool udp)
{
	if (udp && !*sum) /* none was sent (RFC 768) */
		return;
	__u16 new = csum_fold(csum_add32((__u16) ~*sum, diff));
	*sum = udp && !new ? 0xffff : new;
}

/* A sender on this machine (veth, virtio) or GRO leaves only the pseudo header's sum in the packet,
 * for a device to finish, and only a buffer's metadata would say so. One finished sum in 65,536
 * looks the same, and goes the long way. */
INLINE bool csum_partial(const struct pkt *p, __u16 check)
{
	__u32 s = csum_add32(addr_sum(p->t.saddr), addr_sum(p->t.daddr));
	s = csum_add32(s, bpf_htons(p->t.proto));
	s = csum_add32(s, bpf_htons((__u16)(p->tot_len - (L4_AT - ETH_HLEN))));
	return (__u16)~csum_fold(s) == check;
}

INLINE bool xdp_rewrite(struct xdp_md *ctx, const struct pkt *p, const struct tuple *to,
	const struct bpf_fib_lookup *fib)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + ETH_HLEN;
	struct tcp_start *l4 = data + L4_AT;
	bool udp = p->t.proto == IPPROTO_UDP;
	if (data + L4_AT + (udp ? 8 : sizeof *l4) > end)
		return false;
	__u16 *sum = data + L4_AT + (udp ? 6 : 16);
	if (csum_partial(p, *sum))
		return false;
	__u32 addrs = csum_diff_addrs(&p->t, to);
	__u32 all = csum_add32(addrs, csum_add32(~ports_word(&p->t), ports_word(to)));
	__builtin_memcpy(eth->h_dest, fib->dmac, 6);
	__builtin_memcpy(eth->h_source, fib->smac, 6);
	ip_store(ip, to, addrs, 1);
	*(__u32 *)&l4->sport = ports_word(to);
	csum_change(sum, all, udp);
	return true;
}

/* Where it goes with its new addresses; false = let the stack find out. */
INLINE bool xdp_route(
	struct xdp_md *ctx, const struct pkt *p, const struct tuple *to, struct bpf_fib_lookup *f)
{
	if (vx_used()) {
		struct xb_net *n = net_find(to->daddr);
		if (n && (n->flags & NET_VXLAN))
			return false;
	}
	f->family = FAMILY_AF;
	f->l4_protocol = p->t.proto;
	f->tot_len = (__u16)p->tot_len;
	f->ifindex = p->ifindex;
	fib_addrs(f, to);
	/* Only back out by the same interface: another's driver may have no room for frames of XDP,
	 * and would lose them without a word. */
	return bpf_fib_lookup(ctx, f, sizeof *f, 0) == BPF_FIB_LKUP_RET_SUCCESS &&
	       f->ifindex == p->ifindex;
}

SEC("xdp")
int xdp_nic(struct xdp_md *ctx)
{
	const __u16 ours = CT_EXTERNAL | CT_SNAT;
	struct pkt p = {};
	struct bpf_fib_lookup fib = {};
	if (!xdp_parse(ctx, &p))
		return XDP_PASS;
	struct ct_entry *e = ct_find(&p, now_tick());
	if (!e || (e->flags & ours) != ours || e->iif)
		return XDP_PASS;
	struct tuple to = e->to;
	if (!xdp_route(ctx, &p, &to, &fib) || !xdp_rewrite(ctx, &p, &to, &fib))
		return XDP_PASS;
	be_count(e, &p, false);
	count_n(CNT_XDP, p.len);
	return XDP_TX;
}

/* What a program costs that does nothing. */
SEC("xdp")
int xdp_empty(struct xdp_md *ctx)
{
	return XDP_PASS;
}

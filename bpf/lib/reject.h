/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Answers made on the spot: TCP reset (RFC 9293 3.10.7.1) and ICMP errors (RFC 792, RFC
 * 1812 4.3.2, RFC 4443 2.4), built in the packet that caused them and sent back where it came from.
 */
#ifndef XEBEC_BPF_REJECT_H
#define XEBEC_BPF_REJECT_H

#include "lib/deliver.h"
#include "lib/work.h"

INLINE void eth_swap(void *data)
{
	struct macs m;
	__builtin_memcpy(m.dst, data + 6, 6);
	__builtin_memcpy(m.src, data, 6);
	mac_store(data, &m);
}

INLINE int send_back(struct __sk_buff *skb, const struct pkt *p)
{
	skb->mark = MARK_DONE;
	if (p->tun && FAM(vx_wrap)(skb, p->tun, VNI_PLAIN))
		return -DROP_REWRITE;
	if (p->hook != HOOK_HOST)
		return (int)bpf_redirect(p->ifindex, 0);
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct macs m;
	if (data + ETH_HLEN > end)
		return -DROP_REWRITE;
	macs_host(&m);
	mac_store(data, &m);
	return redirect_host();
}

INLINE void rst_fill(struct tcp_start *out, const struct tcp_start *in, const struct pkt *p)
{
	__u32 payload = p->tot_len - (p->l4off - ETH_HLEN) - (__u32)(in->off >> 4) * 4;
	out->sport = in->dport;
	out->dport = in->sport;
	out->off = 5 << 4;
	out->flags = TCP_RST;
	if (in->flags & TCP_ACK) {
		out->seq = in->ack;
	} else {
		out->flags |= TCP_ACK;
		payload += !!(in->flags & TCP_SYN) + !!(in->flags & TCP_FIN);
		out->ack = bpf_htonl(bpf_ntohl(in->seq) + payload);
	}
	__u32 pseudo = csum_add32(addr_sum(p->t.saddr), addr_sum(p->t.daddr));
	pseudo = csum_add32(pseudo, bpf_htons(IPPROTO_TCP));
	pseudo = csum_add32(pseudo, bpf_htons(sizeof *out));
	out->check = csum_fold((__u32)bpf_csum_diff(0, 0, (__be32 *)out, sizeof *out, pseudo));
}

GLOBAL int FAM(reject_tcp)(struct __sk_buff *skb, const struct pkt *p)
{
	struct tcp_start in, out = {};
	struct ip_hdr ip XB_A8;
	if (!p || (p->tcp_flags & TCP_RST) || bpf_skb_load_bytes(skb, p->l4off, &in, sizeof in))
		return -DROP_UNREACH;
	rst_fill(&out, &in, p);
	ip_fill(&ip, p->t.daddr, p->t.saddr, IPPROTO_TCP, sizeof out);
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof ip + sizeof out, 0))
		return -DROP_UNREACH;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	if (data + ETH_HLEN + sizeof ip + sizeof out > end)
		return -DROP_UNREACH;
	eth_swap(data);
	__builtin_memcpy(data + ETH_HLEN, &ip, sizeof ip);
	__builtin_memcpy(data + ETH_HLEN + sizeof ip, &out, sizeof out);
	count_n(CNT_REJECT_RST, 0);
	return send_back(skb, p);
}

/* An ICMP error about this packet, from the node or from where it was to go. */
GLOBAL int FAM(reject_icmp)(
	struct __sk_buff *skb, const struct pkt *p, __u32 type_code, __u32 mtu, bool from_node)
{
	struct work *w = work_get();
	struct ip_hdr ip XB_A8;
	if (!p || !w || p->later_frag || p->kind != PKT_FLOW)
		return -DROP_UNREACH;
	struct icmp_msg *m = &w->msg;
	__builtin_memset(m, 0, sizeof *m);
	__u32 n = (__u32)p->l4off - ETH_HLEN + 8;
	if (n < 28 || n > INNER_MAX || bpf_skb_load_bytes(skb, ETH_HLEN, m->inner, n))
		return -DROP_UNREACH;
	__u8 src[ALEN] XB_A8;
	if (from_node && !addr_zero((const void *)NODE_IP))
		addr_set(src, (const void *)NODE_IP);
	else
		addr_set(src, p->t.daddr);
	m->h.type = (__u8)(type_code >> 8);
	m->h.code = (__u8)type_code;
	m->h.mtu = bpf_htonl(mtu);
	__u32 seed = icmp_pseudo(src, p->t.saddr, sizeof m->h + n);
	m->h.check = csum_fold((__u32)bpf_csum_diff(0, 0, (__be32 *)m, sizeof *m, seed));
	ip_fill(&ip, src, p->t.saddr, L4_ICMP, sizeof m->h + n);
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof ip + sizeof m->h + n, 0))
		return -DROP_UNREACH;
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof ip, 0) ||
		bpf_skb_store_bytes(skb, ETH_HLEN + sizeof ip, m, sizeof m->h + n, 0))
		return -DROP_UNREACH;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	if (data + ETH_HLEN > end)
		return -DROP_UNREACH;
	eth_swap(data);
	count_n(CNT_REJECT_ICMP, 0);
	return send_back(skb, p);
}

/* Refuses a connection: as the host with that address and a closed port would. */
INLINE int reject(struct __sk_buff *skb, const struct pkt *p)
{
	if (p->t.proto == IPPROTO_TCP && !p->later_frag)
		return FAM(reject_tcp)(skb, p);
	return FAM(reject_icmp)(skb, p, ICMP_PORT_UNREACH, 0, false);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * ICMP errors about translated packets: the packet inside carries the translated addresses and must
 * get back those its sender knows (RFC 5508 section 4), with all three checksums. */
#ifndef XEBEC_BPF_ICMP_H
#define XEBEC_BPF_ICMP_H

#include "lib/deliver.h"

struct inner {
	struct ip_hdr ip XB_A8;
	__be16 sport, dport;
	__u32 ip_off, l4_off;
	__u8 proto;
};

/* Echo requests are tracked with their identifier as the source port (echo.h). */
INLINE int inner_ping(struct __sk_buff *skb, struct inner *in)
{
	__u8 h[8];
	if (bpf_skb_load_bytes(skb, in->l4_off, h, sizeof h) || h[0] != ICMP_PING)
		return -1;
	in->sport = *(__be16 *)(h + 4);
	in->dport = 0;
	return 0;
}

INLINE int inner_load(struct __sk_buff *skb, const struct pkt *p, struct inner *in)
{
	in->ip_off = p->l4off + 8u;
	if (inner_parse(skb, &in->ip, in->ip_off, &in->l4_off, &in->proto))
		return -1;
	if (in->proto == L4_ICMP)
		return inner_ping(skb, in);
	if (in->proto != IPPROTO_TCP && in->proto != IPPROTO_UDP && in->proto != IPPROTO_SCTP)
		return -1;
	return bpf_skb_load_bytes(skb, in->l4_off, &in->sport, 4) ? -1 : 0;
}

/* The checksum of the inner TCP or UDP header where the error carries that much. Returns the change
 * it makes to the ICMP checksum. */
INLINE __u32 inner_l4_csum(struct __sk_buff *skb, const struct inner *in, __u32 diff)
{
	int off = in->proto == L4_ICMP ? 2 : l4_csum_off(in->proto);
	__u16 sum, new;
	if (off < 0 || bpf_skb_load_bytes(skb, in->l4_off + (__u32)off, &sum, 2))
		return 0;
	if (in->proto == IPPROTO_UDP && !sum)
		return 0;
	new = csum_fold(csum_add32((__u16)~sum, diff));
	if (bpf_skb_store_bytes(skb, in->l4_off + (__u32)off, &new, 2, 0))
		return 0;
	return csum_add32((__u16)~sum, new);
}

INLINE int inner_rewrite(struct __sk_buff *skb, const struct pkt *p, struct inner *in,
	const struct tuple *from, const struct tuple *to)
{
	__u32 old = ports_word(from), new = ports_word(to), addrs = csum_diff_addrs(from, to);
	__u32 ports = csum_add32(~old, new);
	__u32 icmp = csum_add32(ports, inner_store(&in->ip, to, addrs));
	bool ping = in->proto == L4_ICMP;
	if (bpf_skb_store_bytes(skb, in->ip_off, &in->ip, sizeof in->ip, 0) ||
		bpf_skb_store_bytes(skb, in->l4_off + (ping ? 4 : 0), &new, ping ? 2 : 4, 0))
		return -DROP_REWRITE;
	if (ping && FAMILY == 4) /* no addresses in its checksum */
		addrs = 0;
	icmp = csum_add32(icmp, inner_l4_csum(skb, in, csum_add32(addrs, ports)));
	return bpf_l4_csum_replace(skb, p->l4off + 2u, 0, icmp, 0) ? -DROP_REWRITE : 0;
}

/* NOT_OURS = about none of our flows; 0 = the inner packet is translated and *outer is the pair of
 * addresses that the error itself must get; -DROP_x. */
GLOBAL int FAM(icmp_translate)(
	struct __sk_buff *skb, const struct pkt *p, struct tuple *outer, __u16 *flags)
{
	struct inner in;
	struct work *w = work_get();
	if (!p || !outer || !flags || !w || inner_load(skb, p, &in))
		return NOT_OURS;
	struct tuple *key = &w->key, *from = &w->peer, *to = &w->fwd.to;
	addr_set(key->saddr, &in.ip.daddr);
	addr_set(key->daddr, &in.ip.saddr);
	key->sport = bpf_ntohs(in.dport);
	key->dport = bpf_ntohs(in.sport);
	*(__u32 *)&key->proto = in.proto;
	struct ct_entry *e = bpf_map_lookup_elem(&FAM(ct), key);
	if (!e)
		e = bpf_map_lookup_elem(&FAM(ctn), key);
	if (!e)
		return NOT_OURS;
	tuple_reverse(from, key);
	tuple_reverse(to, &e->to);
	*outer = p->t;
	/* From the far end itself: by the name that the client knows it under. From a router: as
	 * is. */
	if (addr_eq(p->t.saddr, key->saddr))
		addr_set(outer->saddr, e->to.saddr);
	addr_set(outer->daddr, e->to.daddr);
	*flags = e->flags;
	count_n(CNT_ICMP_ERR, p->len);
	return inner_rewrite(skb, p, &in, from, to);
}

#endif

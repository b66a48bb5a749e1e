/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Changing a packet's addresses, ports, hop count and checksums, in place. */
#ifndef XEBEC_BPF_REWRITE_H
#define XEBEC_BPF_REWRITE_H

#include "lib/pkt.h"

INLINE __u32 csum_add32(__u32 sum, __u32 v)
{
	sum += v;
	return sum + (sum < v);
}

INLINE __u16 csum_fold(__u32 s)
{
	s = (s & 0xffff) + (s >> 16);
	return (__u16) ~((s & 0xffff) + (s >> 16));
}

/* One's complement difference of an address pair. */
INLINE __u32 csum_diff_addrs(const struct tuple *from, const struct tuple *to)
{
	__u32 d = csum_add32(~a32(from->saddr), a32(to->saddr));
	return csum_add32(d, csum_add32(~a32(from->daddr), a32(to->daddr)));
}

INLINE __u32 ports_word(const struct tuple *t)
{
	return (__u32)bpf_htons(t->sport) | (__u32)bpf_htons(t->dport) << 16;
}

struct macs {
	__u8 dst[6], src[6];
};

INLINE void mac_store(void *eth, const struct macs *m)
{
	__u16 *d = eth;
	const __u16 *s = (const void *)m;
	d[0] = s[0], d[1] = s[1], d[2] = s[2], d[3] = s[3], d[4] = s[4], d[5] = s[5];
}

INLINE int l4_csum_off(__u8 proto)
{
	return proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : -1;
}

INLINE void ip_header_update(struct iphdr *ip, __u32 addr_diff, __u8 ttl_minus)
{
	__u32 sum = (__u16)~ip->check;
	sum = csum_add32(sum, addr_diff);
	if (ttl_minus) { /* ttl is the high byte of its word in network order */
		ip->ttl -= ttl_minus;
		sum = csum_add32(sum, (__u32)(__u16)~bpf_htons((__u16)(ttl_minus << 8)));
	}
	ip->check = csum_fold(sum);
}

/* Gives the packet the tuple `to`, new MACs (NULL = keep), one hop less (ttl_minus 1). Works with
 * partial checksums (offload), later fragments and header options. */
INLINE int pkt_rewrite(struct __sk_buff *skb, const struct pkt *p, const struct tuple *to,
	const struct macs *m, __u8 ttl_minus)
{
	__u32 l4 = p->l4off;
	__u32 need = l4 + (p->later_frag ? 0 : 4);
	if (l4 > ETH_HLEN + 60)
		return -DROP_REWRITE;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	if ((void *)(ip + 1) > end || data + need > end)
		return -DROP_REWRITE;
	__u32 addr_diff = csum_diff_addrs(&p->t, to), old = ports_word(&p->t), new = ports_word(to);
	if (m)
		mac_store(data, m);
	ip->saddr = a32(to->saddr);
	ip->daddr = a32(to->daddr);
	ip_header_update(ip, addr_diff, ttl_minus);
	int off = l4_csum_off(p->t.proto);
	if (p->later_frag || p->kind != PKT_FLOW)
		return 0;
	struct l4_ports *ports = data + l4;
	if ((void *)(ports + 1) > end)
		return -DROP_REWRITE;
	*(__u32 *)ports = new;
	if (off < 0)
		return 0;
	__u64 flags = p->t.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	if (bpf_l4_csum_replace(skb, l4 + (__u32)off, 0, addr_diff, flags | BPF_F_PSEUDO_HDR))
		return -DROP_REWRITE;
	if (old != new &&bpf_l4_csum_replace(skb, l4 + (__u32)off, 0, csum_add32(~old, new), flags))
		return -DROP_REWRITE;
	return 0;
}

#endif

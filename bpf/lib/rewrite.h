/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Changing a packet's addresses, ports, hop count and checksums, in place. */
#ifndef XEBEC_BPF_REWRITE_H
#define XEBEC_BPF_REWRITE_H

#include "lib/pkt.h"

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

/* Gives the packet the tuple `to`, new MACs (NULL = keep), one hop less (ttl_minus 1). Works with
 * partial checksums (offload), later fragments and header options. */
INLINE int pkt_rewrite(struct __sk_buff *skb, const struct pkt *p, const struct tuple *to,
	const struct macs *m, __u8 ttl_minus)
{
	__u32 l4 = p->l4off, old = ports_word(&p->t), new = ports_word(to);
	__u32 need = l4 + (p->later_frag ? 0 : 4);
	int off = l4_csum_off(p->t.proto);
	if (l4 > L4OFF_MAX || unlikely(p->t.proto == IPPROTO_SCTP && old != new))
		return -DROP_REWRITE; /* SCTP's CRC covers the ports and the whole packet */
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ip_hdr *ip = data + ETH_HLEN;
	if ((void *)(ip + 1) > end || data + need > end)
		return -DROP_REWRITE;
	__u32 addr_diff = csum_diff_addrs(&p->t, to);
	if (m)
		mac_store(data, m);
	ip_store(ip, to, addr_diff, ttl_minus);
	if (p->later_frag) {
		hop_csum(skb, p, ttl_minus);
		return 0;
	}
	struct l4_ports *ports = data + l4;
	if ((void *)(ports + 1) > end)
		return -DROP_REWRITE;
	if (likely(p->kind == PKT_FLOW))
		*(__u32 *)ports = new;
	hop_csum(skb, p, ttl_minus);
	if (off < 0)
		return 0;
	__u64 flags = p->t.proto == IPPROTO_UDP ? BPF_F_MARK_MANGLED_0 : 0;
	if (csum_replace_addrs(skb, l4 + (__u32)off, addr_diff, flags))
		return -DROP_REWRITE;
	if (p->kind == PKT_FLOW && old != new &&bpf_l4_csum_replace(skb, l4 + (__u32)off, 0,
						  csum_add32(~old, new), flags))
		return -DROP_REWRITE;
	return 0;
}

#endif

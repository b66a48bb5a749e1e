/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * IPv4 headers: read, changed, made. Part of pkt.h; ip6.h has the same names. */
#ifndef XEBEC_BPF_IP4_H
#define XEBEC_BPF_IP4_H

/* destination unreachable, time exceeded, parameter problem (RFC 792) */
INLINE bool icmp_is_error(__u8 type)
{
	return type == 3 || type == 11 || type == 12;
}

INLINE bool icmp_is_for_stack(__u8 type)
{
	return false;
}

INLINE int parse_ip(struct __sk_buff *skb, struct pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	if ((void *)(ip + 1) > end)
		return -DROP_MALFORMED;
	__u8 b0 = *(__u8 *)ip; /* version and header length */
	if ((b0 & 0xf0) != 0x40 || (b0 & 0x0f) < 5)
		return -DROP_MALFORMED;
	p->tot_len = bpf_ntohs(ip->tot_len);
	p->ip_id = bpf_ntohs(ip->id);
	p->ttl = ip->ttl;
	p->frag_field = bpf_ntohs(ip->frag_off);
	*(__u32 *)&p->t.proto = ip->protocol;
	addr_set(p->t.saddr, &ip->saddr);
	addr_set(p->t.daddr, &ip->daddr);
	p->l4off = (__u16)(ETH_HLEN + ((b0 & 0x0f) << 2));
	return p->tot_len < (__u32)p->l4off - ETH_HLEN ? -DROP_MALFORMED : 0;
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

INLINE void ip_store(struct iphdr *ip, const struct tuple *to, __u32 addr_diff, __u8 ttl_minus)
{
	ip->saddr = a32(to->saddr);
	ip->daddr = a32(to->daddr);
	ip_header_update(ip, addr_diff, ttl_minus);
}

INLINE void ip_hop(struct iphdr *ip)
{
	ip_header_update(ip, 0, 1);
}

/* A change of the header that its own checksum makes up for. */
INLINE void hop_csum(struct __sk_buff *skb, const struct pkt *p, __u8 ttl_minus)
{
}

INLINE long csum_replace_addrs(struct __sk_buff *skb, __u32 off, __u32 diff, __u64 flags)
{
	return bpf_l4_csum_replace(skb, off, 0, diff, flags | CSUM_FLAGS);
}

/* A header for an answer of n bytes behind it. */
INLINE void ip_fill(struct iphdr *ip, const void *src, const void *dst, __u8 proto, __u32 n)
{
	__builtin_memset(ip, 0, sizeof *ip);
	*(__u8 *)ip = 0x45;
	ip->tot_len = bpf_htons((__u16)(sizeof *ip + n));
	ip->frag_off = bpf_htons(IP_DF);
	ip->ttl = 64;
	ip->protocol = proto;
	ip->saddr = a32(src);
	ip->daddr = a32(dst);
	ip->check = csum_fold((__u32)bpf_csum_diff(0, 0, (__be32 *)ip, sizeof *ip, 0));
}

/* What goes into an ICMP checksum besides the message. */
INLINE __u32 icmp_pseudo(const void *src, const void *dst, __u32 n)
{
	return 0;
}

INLINE void fib_addrs(struct bpf_fib_lookup *f, const struct tuple *to)
{
	f->ipv4_src = a32(to->saddr);
	f->ipv4_dst = a32(to->daddr);
}

INLINE void fib_neigh(struct bpf_redir_neigh *nh, const struct bpf_fib_lookup *f)
{
	nh->nh_family = f->family;
	nh->ipv4_nh = f->ipv4_dst;
}

/* The packet inside an ICMP error: where its ports are, what it carries. -1 = no use. */
INLINE int inner_parse(
	struct __sk_buff *skb, struct iphdr *ip, __u32 off, __u32 *l4_off, __u8 *proto)
{
	if (bpf_skb_load_bytes(skb, off, ip, sizeof *ip))
		return -1;
	__u8 b0 = *(__u8 *)ip;
	if ((b0 & 0xf0) != 0x40 || (b0 & 15) < 5 || (ip->frag_off & bpf_htons(IP_OFFSET)))
		return -1;
	*proto = ip->protocol;
	*l4_off = off + (__u32)(b0 & 15) * 4;
	return 0;
}

/* The inner IP header with its checksum sums up to the same as before: no part in the ICMP
 * checksum. */
INLINE __u32 inner_store(struct iphdr *ip, const struct tuple *to, __u32 addr_diff)
{
	ip_store(ip, to, addr_diff, 0);
	return 0;
}

#endif

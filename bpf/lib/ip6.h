/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * IPv6 headers: read, changed, made. Part of pkt.h; ip4.h has the same names. */
#ifndef XEBEC_BPF_IP6_H
#define XEBEC_BPF_IP6_H

#define NEXT_HOP_BY_HOP 0
#define NEXT_ROUTING	43
#define NEXT_FRAGMENT	44
#define NEXT_AUTH	51
#define NEXT_DEST_OPTS	60

INLINE bool icmp_is_error(__u8 type)
{
	return type < 128; /* RFC 4443 2.1 */
}

/* Neighbour discovery and router advertisements (RFC 4861), listener reports. */
INLINE bool icmp_is_for_stack(__u8 type)
{
	return (type >= 130 && type <= 137) || type == 143;
}

INLINE bool is_ext(__u8 next)
{
	return next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_FRAGMENT ||
	       next == NEXT_AUTH || next == NEXT_DEST_OPTS;
}

struct ext_state {
	__u32 off, id;
	__u16 frag; /* as in the fragment header, host order */
	__u8 next, rsv;
};

/* Over the extension headers to what they carry (RFC 8200 4.1). -1: broken, too many, or the
 * destination in the header is not the last one. */
GLOBAL int FAM(ext_walk)(struct __sk_buff *skb, struct ext_state *s)
{
	struct {
		__u8 next, len;
		__be16 frag;
		__be32 id;
	} h;
	if (!s)
		return -1;
	for (int i = 0; i < EXT_HEADERS && is_ext(s->next); i++) {
		__u32 n;
		if (bpf_skb_load_bytes(skb, s->off, &h, sizeof h))
			return -1;
		if (s->next == NEXT_FRAGMENT) {
			s->frag = bpf_ntohs(h.frag);
			s->id = bpf_ntohl(h.id);
			n = 8;
		} else {
			if (s->next == NEXT_ROUTING && (h.frag & bpf_htons(0xff)))
				return -1; /* segments left */
			n = s->next == NEXT_AUTH ? ((__u32)h.len + 2) * 4 : ((__u32)h.len + 1) * 8;
		}
		s->off += n;
		s->next = h.next;
		if (s->frag >> 3)
			return 0; /* the rest is data */
	}
	return is_ext(s->next) ? -1 : 0;
}

INLINE int parse_ext(struct __sk_buff *skb, struct pkt *p)
{
	struct ext_state s = {.off = L4OFF_MIN, .next = p->t.proto};
	if (FAM(ext_walk)(skb, &s) || s.off > L4OFF_MAX)
		return -DROP_MALFORMED;
	p->l4off = (__u16)s.off;
	*(__u32 *)&p->t.proto = s.next;
	p->ip_id = s.id;
	p->frag_field = (__u16)(IP_DF | (s.frag & 1 ? IP_MF : 0) | s.frag >> 3);
	__u32 want = s.off + 20 < p->len ? s.off + 20 : p->len;
	if ((__u32)((long)READ_ONCE(skb->data_end) - (long)READ_ONCE(skb->data)) < want)
		(void)bpf_skb_pull_data(skb, want);
	return 0;
}

INLINE int parse_ip(struct __sk_buff *skb, struct pkt *p)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = data + ETH_HLEN;
	if ((void *)(ip + 1) > end || (*(__u8 *)ip & 0xf0) != 0x60)
		return -DROP_MALFORMED;
	addr_set(p->t.saddr, &ip->saddr);
	addr_set(p->t.daddr, &ip->daddr);
	p->tot_len = (__u32)bpf_ntohs(ip->payload_len) + 40;
	p->ttl = ip->hop_limit;
	p->frag_field = IP_DF; /* routers do not cut */
	p->l4off = L4OFF_MIN;
	__u8 next = ip->nexthdr;
	*(__u32 *)&p->t.proto = next;
	/* On the link, between its own addresses: the stack's. */
	if (unlikely(p->t.daddr[0] >= 0xfe) &&
		(is_link_local(p->t.saddr) || !(a64(p->t.saddr, 0) | a64(p->t.saddr, 1))))
		return -DROP_MALFORMED;
	if (likely(next == IPPROTO_TCP || next == IPPROTO_UDP || !is_ext(next)))
		return 0;
	return parse_ext(skb, p);
}

INLINE void ip_store(struct ipv6hdr *ip, const struct tuple *to, __u32 addr_diff, __u8 ttl_minus)
{
	addr_set(&ip->saddr, to->saddr);
	addr_set(&ip->daddr, to->daddr);
	ip->hop_limit -= ttl_minus;
}

INLINE void ip_hop(struct ipv6hdr *ip)
{
	ip->hop_limit--;
}

/* No header checksum makes up for the hop limit: a checksum that the network card took over the
 * whole packet must know. (The low byte of its word in network order.) */
INLINE void hop_csum(struct __sk_buff *skb, const struct pkt *p, __u8 ttl_minus)
{
	if (ttl_minus && p->hook == HOOK_NIC_IN)
		(void)bpf_csum_update(skb, (__u16)~bpf_htons(ttl_minus));
}

INLINE long csum_replace_addrs(struct __sk_buff *skb, __u32 off, __u32 diff, __u64 flags)
{
	long r = bpf_l4_csum_replace(skb, off, 0, diff, flags | CSUM_FLAGS);
	if (unlikely(r)) /* before Linux 6.16 */
		r = bpf_l4_csum_replace(skb, off, 0, diff, flags | BPF_F_PSEUDO_HDR);
	return r;
}

/* A header for an answer of n bytes behind it. */
INLINE void ip_fill(struct ipv6hdr *ip, const void *src, const void *dst, __u8 proto, __u32 n)
{
	__builtin_memset(ip, 0, sizeof *ip);
	*(__u8 *)ip = 0x60;
	ip->payload_len = bpf_htons((__u16)n);
	ip->nexthdr = proto;
	ip->hop_limit = 64;
	addr_set(&ip->saddr, src);
	addr_set(&ip->daddr, dst);
}

/* What goes into an ICMP checksum besides the message. */
INLINE __u32 icmp_pseudo(const void *src, const void *dst, __u32 n)
{
	__u32 s = csum_add32(addr_sum(src), addr_sum(dst));
	return csum_add32(s, bpf_htonl(n + IPPROTO_ICMPV6));
}

INLINE void fib_addrs(struct bpf_fib_lookup *f, const struct tuple *to)
{
	__builtin_memcpy(f->ipv6_src, to->saddr, 16);
	__builtin_memcpy(f->ipv6_dst, to->daddr, 16);
}

INLINE void fib_neigh(struct bpf_redir_neigh *nh, const struct bpf_fib_lookup *f)
{
	nh->nh_family = f->family;
	__builtin_memcpy(nh->ipv6_nh, f->ipv6_dst, 16);
}

/* The packet inside an ICMP error: where its ports are, what it carries. -1 = no use. */
INLINE int inner_parse(
	struct __sk_buff *skb, struct ipv6hdr *ip, __u32 off, __u32 *l4_off, __u8 *proto)
{
	if (bpf_skb_load_bytes(skb, off, ip, sizeof *ip) || (*(__u8 *)ip & 0xf0) != 0x60)
		return -1;
	struct ext_state s = {.off = off + sizeof *ip, .next = ip->nexthdr};
	if (is_ext(s.next) && (FAM(ext_walk)(skb, &s) || s.frag >> 3))
		return -1;
	*l4_off = s.off;
	*proto = s.next;
	return 0;
}

/* Returns what it changes in the ICMP checksum. */
INLINE __u32 inner_store(struct ipv6hdr *ip, const struct tuple *to, __u32 addr_diff)
{
	ip_store(ip, to, 0, 0);
	return addr_diff;
}

#endif

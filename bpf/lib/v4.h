/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * IPv4: types, constants and address arithmetic. v6.h has the same names. */
#ifndef XEBEC_BPF_V4_H
#define XEBEC_BPF_V4_H

#include <linux/ip.h>
#include "lib/maps.h"

#define ALEN	 4
#define tuple	 xb4_tuple
#define ct_entry xb4_ct
#define fe_key	 xb4_fe_key
#define frag_key xb4_frag_key
#define net_key	 xb4_net_key
#define ep_row	 xb_ep
#define ip_hdr	 iphdr

#define FAMILY_AF  2 /* AF_INET */
#define L4OFF_MIN  (ETH_HLEN + 20)
#define L4OFF_MAX  (ETH_HLEN + 60)
#define L4_ICMP	   IPPROTO_ICMP
#define INNER_MAX  68 /* of a packet inside an ICMP error: IP header with options + 8 bytes */
#define CSUM_FLAGS BPF_F_PSEUDO_HDR

/* type << 8 | code (RFC 792) */
#define ICMP_PORT_UNREACH 0x0303
#define ICMP_TOO_BIG	  0x0304
#define ICMP_TTL_EXCEEDED 0x0b00
#define ICMP_PING	  8 /* echo request and reply */
#define ICMP_PONG	  0

INLINE __u32 a32(const void *addr)
{
	return *(const __u32 *)addr;
}

INLINE bool is_loopback(const void *addr)
{
	return *(const __u8 *)addr == 127;
}

INLINE void addr_set(void *dst, const void *src)
{
	*(__u32 *)dst = *(const __u32 *)src;
}

INLINE void addr_clear(void *dst)
{
	*(__u32 *)dst = 0;
}

INLINE bool addr_eq(const void *a, const void *b)
{
	return a32(a) == a32(b);
}

INLINE bool addr_in(const void *a, const void *net, const void *mask)
{
	return a32(mask) && (a32(a) & a32(mask)) == a32(net);
}

INLINE bool addr_zero(const void *addr)
{
	return !a32(addr);
}

/* Multicast and link-local: no address of somebody outside. */
INLINE bool addr_on_link(const void *addr)
{
	const __u8 *d = addr;
	return d[0] >= 224 || (d[0] == 169 && d[1] == 254);
}

/* The last 32 bits, host order. */
INLINE __u32 addr_low(const void *addr)
{
	return bpf_ntohl(a32(addr));
}

INLINE __u32 addr_hash(const void *addr)
{
	return a32(addr);
}

INLINE __u32 addr_sum(const void *addr)
{
	return a32(addr);
}

/* One's complement difference of an address pair. */
INLINE __u32 csum_diff_addrs(const struct tuple *from, const struct tuple *to)
{
	__u32 d = csum_add32(~a32(from->saddr), a32(to->saddr));
	return csum_add32(d, csum_add32(~a32(from->daddr), a32(to->daddr)));
}

INLINE int l4_csum_off(__u8 proto)
{
	return proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : -1;
}

/* Into a key whose address is not aligned to 8. */
INLINE void net_addr_set(void *dst, const void *src)
{
	const __u32 *s = src;
	__u32 *d = dst;
	d[0] = s[0];
}

/* The node's address that other nodes send VXLAN to: always IPv4. */
INLINE bool is_underlay(const void *addr)
{
	return a32(addr) == cfg.node_ip4;
}

/* For a look-up of the socket that would get what answers *to. */
#define SOCK_TUPLE_LEN sizeof(((struct bpf_sock_tuple *)0)->ipv4)

INLINE void sock_tuple_fill(struct bpf_sock_tuple *t, const struct tuple *to)
{
	t->ipv4.saddr = a32(to->daddr);
	t->ipv4.daddr = a32(to->saddr);
	t->ipv4.sport = bpf_htons(to->dport);
	t->ipv4.dport = bpf_htons(to->sport);
}

#endif

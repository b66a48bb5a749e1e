/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * IPv6: types, constants and address arithmetic. v4.h has the same names. Addresses are handled as
 * two words: whatever lies on the stack is aligned to 8 (include/xebec/abi). */
#ifndef XEBEC_BPF_V6_H
#define XEBEC_BPF_V6_H

#include <linux/ipv6.h>
#include "lib/maps.h"

#define ALEN	 16
#define tuple	 xb6_tuple
#define ct_entry xb6_ct
#define fe_key	 xb6_fe_key
#define frag_key xb6_frag_key
#define net_key	 xb6_net_key
#define ep_row	 xb6_ep
#define ip_hdr	 ipv6hdr

#define EXT_HEADERS 8	/* more than that: not ours */
#define EXT_LEN_MAX 256 /* bytes of them */

#define FAMILY_AF  10 /* AF_INET6 */
#define L4OFF_MIN  (ETH_HLEN + 40)
#define L4OFF_MAX  (L4OFF_MIN + EXT_LEN_MAX)
#define L4_ICMP	   IPPROTO_ICMPV6
#define INNER_MAX  (40 + EXT_LEN_MAX + 8)
#define CSUM_IPV6  (1ull << 7) /* BPF_F_IPV6, Linux 6.16 */
#define CSUM_FLAGS (BPF_F_PSEUDO_HDR | CSUM_IPV6)

/* type << 8 | code (RFC 4443) */
#define ICMP_PORT_UNREACH 0x0104
#define ICMP_TOO_BIG	  0x0200
#define ICMP_TTL_EXCEEDED 0x0300
#define ICMP_PING	  128 /* echo request and reply */
#define ICMP_PONG	  129

INLINE __u64 a64(const void *addr, int i)
{
	return ((const __u64 *)addr)[i];
}

INLINE bool is_loopback(const void *addr)
{
	return a64(addr, 0) == 0 && a64(addr, 1) == bpf_cpu_to_be64(1);
}

INLINE void addr_set(void *dst, const void *src)
{
	__u64 hi = a64(src, 0), lo = a64(src, 1);
	((__u64 *)dst)[0] = hi;
	((__u64 *)dst)[1] = lo;
}

INLINE void addr_clear(void *dst)
{
	((__u64 *)dst)[0] = ((__u64 *)dst)[1] = 0;
}

INLINE bool addr_eq(const void *a, const void *b)
{
	return !((a64(a, 0) ^ a64(b, 0)) | (a64(a, 1) ^ a64(b, 1)));
}

INLINE bool addr_in(const void *a, const void *net, const void *mask)
{
	return a64(mask, 0) && (a64(a, 0) & a64(mask, 0)) == a64(net, 0) &&
	       (a64(a, 1) & a64(mask, 1)) == a64(net, 1);
}

INLINE bool addr_zero(const void *addr)
{
	return !(a64(addr, 0) | a64(addr, 1));
}

/* The last 32 bits, host order. */
INLINE __u32 addr_low(const void *addr)
{
	return bpf_ntohl(((const __u32 *)addr)[3]);
}

INLINE __u32 addr_hash(const void *addr)
{
	__u64 h = (a64(addr, 0) * 0x9e3779b97f4a7c15ull) ^ a64(addr, 1);
	return (__u32)(h ^ h >> 32);
}

INLINE __u32 csum_fold64(__u64 s)
{
	return csum_add32((__u32)s, (__u32)(s >> 32));
}

INLINE __u32 addr_sum(const void *addr)
{
	const __u32 *w = addr;
	return csum_fold64((__u64)w[0] + w[1] + w[2] + w[3]);
}

INLINE __u64 csum_add64(__u64 sum, __u64 v)
{
	sum += v;
	return sum + (sum < v);
}

/* One's complement difference of an address pair: source and destination lie side by side. */
INLINE __u32 csum_diff_addrs(const struct tuple *from, const struct tuple *to)
{
	__u64 d = 0;
	for (int i = 0; i < 4; i++)
		d = csum_add64(csum_add64(d, a64(to, i)), ~a64(from, i));
	return csum_fold64(d);
}

INLINE int l4_csum_off(__u8 proto)
{
	return proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : proto == L4_ICMP ? 2 : -1;
}

/* fe80::/10 */
INLINE bool is_link_local(const void *addr)
{
	return (*(const __u16 *)addr & bpf_htons(0xffc0)) == bpf_htons(0xfe80);
}

/* Multicast and link-local: no address of somebody outside. */
INLINE bool addr_on_link(const void *addr)
{
	return *(const __u8 *)addr == 0xff || is_link_local(addr);
}

/* Into a key whose address is not aligned to 8. */
INLINE void net_addr_set(void *dst, const void *src)
{
	const __u32 *s = src;
	__u32 *d = dst;
	d[0] = s[0], d[1] = s[1], d[2] = s[2], d[3] = s[3];
}

/* The node's address that other nodes send VXLAN to: always IPv4. */
INLINE bool is_underlay(const void *addr)
{
	return false;
}

/* For a look-up of the socket that would get what answers *to. */
#define SOCK_TUPLE_LEN sizeof(((struct bpf_sock_tuple *)0)->ipv6)

INLINE void sock_tuple_fill(struct bpf_sock_tuple *t, const struct tuple *to)
{
	__builtin_memcpy(t->ipv6.saddr, to->daddr, 16);
	__builtin_memcpy(t->ipv6.daddr, to->saddr, 16);
	t->ipv6.sport = bpf_htons(to->dport);
	t->ipv6.dport = bpf_htons(to->sport);
}

#endif

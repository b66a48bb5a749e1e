/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * What every program file needs: helpers, the options, small arithmetic. */
#ifndef XEBEC_BPF_COMMON_H
#define XEBEC_BPF_COMMON_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>
#include "xebec/abi/maps.h"

#define INLINE static __always_inline
/* A function that the verifier checks once, by itself, whatever its callers know. Pointer arguments
 * must be tested for NULL. */
#define GLOBAL		 __attribute__((noinline))
#define READ_ONCE(x)	 (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define likely(x)	 __builtin_expect(!!(x), 1)
#define unlikely(x)	 __builtin_expect(!!(x), 0)

#define PASS	  TC_ACT_UNSPEC /* not ours: the next program or the stack has it, unchanged */
#define IP_DF	  0x4000
#define IP_MF	  0x2000
#define IP_OFFSET 0x1fff

/* Packets that a program has finished carry this mark, so that the egress programs of this node
 * leave them alone. */
#define MARK_DONE 0x00eb0000u

const volatile struct xb_cfg cfg;

/* Family: the same sources serve IPv4 and IPv6; these names are all that differs. */
#define ALEN	 4
#define tuple	 xb4_tuple
#define ct_entry xb4_ct
#define fe_key	 xb4_fe_key
#define frag_key xb4_frag_key

INLINE __u32 a32(const void *addr)
{
	return *(const __u32 *)addr;
}

INLINE void addr_set(void *dst, const void *src)
{
	*(__u32 *)dst = *(const __u32 *)src;
}

INLINE bool addr_eq(const void *a, const void *b)
{
	return a32(a) == a32(b);
}

INLINE void tuple_reverse(struct tuple *out, const struct tuple *in)
{
	addr_set(out->saddr, in->daddr);
	addr_set(out->daddr, in->saddr);
	out->sport = in->dport;
	out->dport = in->sport;
	*(__u32 *)&out->proto = in->proto;
}

INLINE bool tuple_eq(const struct tuple *a, const struct tuple *b)
{
	return addr_eq(a->saddr, b->saddr) && addr_eq(a->daddr, b->daddr) && a->sport == b->sport &&
	       a->dport == b->dport && a->proto == b->proto;
}

INLINE __u32 now_tick(void)
{
	return (__u32)(bpf_ktime_get_coarse_ns() >> XB_TICK_SHIFT);
}

INLINE bool svc_range(const void *addr)
{
	return cfg.svc_mask4 && (a32(addr) & cfg.svc_mask4) == cfg.svc_net4;
}

INLINE bool pod_range(const void *addr)
{
	return (a32(addr) & cfg.pod_mask4) == cfg.pod_net4;
}

#endif

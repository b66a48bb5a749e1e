/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * What every program file needs: helpers, the options, small arithmetic. */
#ifndef XEBEC_BPF_COMMON_H
#define XEBEC_BPF_COMMON_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>
#include "xebec/abi/maps.h"

#define INLINE static __always_inline
/* A function that the verifier checks once, by itself, whatever its callers know. Pointer arguments
 * must be tested for NULL. Weak: every file of a family brings the same one. */
#define GLOBAL		 __attribute__((noinline, weak))
#define READ_ONCE(x)	 (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define likely(x)	 __builtin_expect(!!(x), 1)
#define unlikely(x)	 __builtin_expect(!!(x), 0)

#define PASS	  TC_ACT_UNSPEC /* not ours: the next program or the stack has it, unchanged */
#define NOT_OURS  0x100		/* no verdict: larger than any */
#define IP_DF	  0x4000
#define IP_MF	  0x2000
#define IP_OFFSET 0x1fff

/* Packets that a program has finished carry this mark, so that the egress programs of this node
 * leave them alone. */
#define MARK_DONE 0x00eb0000u

/* A run over the connection tables. */
struct gc_run {
	__u32 now, checked, expired, stale;
};

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

INLINE __u32 now_tick(void)
{
	return (__u32)(bpf_ktime_get_coarse_ns() >> XB_TICK_SHIFT);
}

#endif

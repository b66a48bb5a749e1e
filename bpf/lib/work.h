/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Room for what the 512 bytes of stack cannot hold. One a CPU, never pinned:
 * two versions of the programs never share it. Nothing in it lives longer than one packet. */
#ifndef XEBEC_BPF_WORK_H
#define XEBEC_BPF_WORK_H

#include "lib/pkt.h"

struct icmp_start {
	__u8 type, code;
	__u16 check;
	__be32 mtu; /* IPv4 has it in the low half */
};

struct work {
	struct ct_entry fwd, rev;
	struct tuple key, peer;
	struct icmp_msg { /* an error to be sent */
		struct icmp_start h;
		__u8 inner[INNER_MAX];
	} msg;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct work);
} FAM(work) SEC(".maps") __attribute__((weak));

INLINE struct work *work_get(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&FAM(work), &zero);
}

#endif

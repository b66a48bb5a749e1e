/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * The programs, one a hook, and the maps. docs/dataplane.md draws where each sits. What they do is
 * in hooks.c, which is compiled once for IPv4 and once for IPv6. */
#define XEBEC_MAPS_HERE
#include "lib/maps.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* Nothing but the choice of the family: its function has the stack for itself. */
#define HOOK(name)                                                                                 \
	extern int name##4(struct __sk_buff * skb);                                                \
	extern int name##6(struct __sk_buff * skb);                                                \
	SEC("tc") int tc_##name(struct __sk_buff *skb)                                             \
	{                                                                                          \
		__u32 proto = READ_ONCE(skb->protocol);                                            \
		if (likely(proto == bpf_htons(ETH_P_IP)))                                          \
			return name##4(skb);                                                       \
		if (proto == bpf_htons(ETH_P_IPV6) && (cfg.opts & OPT_V6))                         \
			return name##6(skb);                                                       \
		return PASS;                                                                       \
	}

HOOK(pod)
HOOK(to_pod)
HOOK(nic_in)
HOOK(nic_out)
HOOK(host)
HOOK(vx)

extern int ct_sweep4(struct gc_run *g);
extern int ct_sweep6(struct gc_run *g);

/* Sweeps the connection tables; run by the agent. */
SEC("syscall")
int ct_gc(struct xb_gc *out)
{
	/* this type of program has no coarse clock */
	struct gc_run g = {.now = (__u32)(bpf_ktime_get_ns() >> XB_TICK_SHIFT)};
	(void)ct_sweep4(&g);
	(void)ct_sweep6(&g);
	out->checked = g.checked;
	out->expired = g.expired;
	out->stale = g.stale;
	return 0;
}

/* What programs cost that do nothing: the base line of the benchmarks. */
SEC("tc")
int tc_empty(struct __sk_buff *skb)
{
	return PASS;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * The programs, one a hook. docs/dataplane.md draws where each sits. */
#include "lib/gc.h"
#include "lib/walk.h"

char _license[] SEC("license") = "Dual BSD/GPL";

INLINE bool is_ip(struct __sk_buff *skb)
{
	return READ_ONCE(skb->protocol) == bpf_htons(ETH_P_IP);
}

INLINE bool done_already(struct __sk_buff *skb)
{
	return READ_ONCE(skb->mark) == MARK_DONE;
}

/* Packets that a pod sends (ingress of the host side of its veth). */
SEC("tc")
int tc_pod(struct __sk_buff *skb)
{
	struct pkt p = {};
	if (!is_ip(skb))
		return PASS;
	if (pkt_init(skb, &p, HOOK_POD))
		return PASS;
	int r = walk(skb, &p);
	if (r == NOT_OURS)
		return walk_direct(skb, &p);
	return finish(skb, &p, r);
}

/* Packets that the node's stack sends to a pod (egress of the host side). */
SEC("tc")
int tc_to_pod(struct __sk_buff *skb)
{
	struct pkt p = {};
	if (!is_ip(skb) || done_already(skb) || pkt_init(skb, &p, HOOK_TO_POD))
		return PASS;
	int r = walk_reply(skb, &p);
	return r == NOT_OURS ? PASS : finish(skb, &p, r);
}

/* Packets from outside (ingress of an uplink). */
SEC("tc")
int tc_nic_in(struct __sk_buff *skb)
{
	struct pkt p = {};
	if (!is_ip(skb) || pkt_init(skb, &p, HOOK_NIC_IN))
		return PASS;
	int r = walk(skb, &p);
	if (r == NOT_OURS)
		return walk_direct(skb, &p);
	return finish(skb, &p, r);
}

/* Packets to outside (egress of an uplink). */
SEC("tc")
int tc_nic_out(struct __sk_buff *skb)
{
	struct pkt p = {};
	bool from_here = READ_ONCE(skb->ingress_ifindex) == 0;
	if (!is_ip(skb) || done_already(skb) || pkt_init(skb, &p, HOOK_NIC_OUT))
		return PASS;
	int r = walk_reply(skb, &p);
	/* The node's own sockets to external and load balancer addresses. */
	if (r == NOT_OURS && p.kind == PKT_FLOW && from_here) {
		p.hook = HOOK_HOST;
		r = walk(skb, &p);
	}
	return r == NOT_OURS ? PASS : finish(skb, &p, r);
}

/* Packets of the node's own sockets to service addresses (egress of xebec0) and to its own
 * addresses (egress of lo). */
SEC("tc")
int tc_host(struct __sk_buff *skb)
{
	struct pkt p = {};
	if (!is_ip(skb) || done_already(skb) || pkt_init(skb, &p, HOOK_HOST))
		return PASS;
	if ((p.t.daddr[0]) == 127)
		return PASS;
	int r = walk(skb, &p);
	return r == NOT_OURS ? PASS : finish(skb, &p, r);
}

/* Sweeps the connection tables; run by the agent. */
SEC("syscall")
int ct_gc(struct xb_gc *out)
{
	/* this type of program has no coarse clock */
	struct gc_run g = {.now = (__u32)(bpf_ktime_get_ns() >> XB_TICK_SHIFT)};
	gc_tables(&g);
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

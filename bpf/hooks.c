/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * What each hook does with a packet of one family. Compiled once for each. */
#include "lib/gc.h"
#include "lib/echo.h"

INLINE bool done_already(struct __sk_buff *skb)
{
	return READ_ONCE(skb->mark) == MARK_DONE;
}

/* Packets that a pod sends (ingress of the host side of its veth). */
int FAM(pod)(struct __sk_buff *skb)
{
	struct pkt p = {};
	struct tuple to;
	if (pkt_init(skb, &p, HOOK_POD))
		return PASS;
	int r = walk(skb, &p, &to);
	if (r == NOT_OURS)
		return walk_direct(skb, &p);
	return finish(skb, &p, r);
}

/* Packets that the node's stack sends to a pod (egress of the host side). */
int FAM(to_pod)(struct __sk_buff *skb)
{
	struct pkt p = {};
	struct tuple to;
	if (done_already(skb) || pkt_init(skb, &p, HOOK_TO_POD))
		return PASS;
	int r = walk_reply(skb, &p, &to);
	return r == NOT_OURS ? PASS : finish(skb, &p, r);
}

/* VXLAN for this node: what is inside comes by again, at tc_vx. */
INLINE bool is_outer(const struct pkt *p)
{
	return p->t.proto == IPPROTO_UDP && p->t.dport == cfg.vx_port && p->kind == PKT_FLOW &&
	       is_underlay(p->t.daddr);
}

/* Packets from outside (ingress of an uplink). */
int FAM(nic_in)(struct __sk_buff *skb)
{
	struct pkt p = {};
	struct tuple to;
	if (pkt_init(skb, &p, HOOK_NIC_IN) || is_outer(&p))
		return PASS;
	int r = walk(skb, &p, &to);
	if (r == NOT_OURS && unlikely(p.kind == PKT_ICMP) && (cfg.opts & OPT_MASQ)) {
		r = FAM(echo_in)(skb, &p);
		if (!r)
			return PASS; /* on by the stack's routes */
	}
	if (r == NOT_OURS)
		return walk_direct(skb, &p);
	return finish(skb, &p, r);
}

/* Packets of other nodes, out of VXLAN (ingress of xebec_vx0). Like those of the uplink, except
 * that only nodes may send them. */
int FAM(vx)(struct __sk_buff *skb)
{
	struct pkt p = {};
	struct tuple to;
	__u32 vni = 0;
	bool bad = pkt_init(skb, &p, HOOK_NIC_IN);
	int r = vx_sender(skb, &p.tun, &vni);
	if (r)
		return finish(skb, &p, r);
	if (bad)
		return PASS;
	r = walk(skb, &p, &to);
	if (r == NOT_OURS)
		return walk_direct(skb, &p);
	return finish(skb, &p, r);
}

/* Packets to outside (egress of an uplink). */
int FAM(nic_out)(struct __sk_buff *skb)
{
	struct pkt p = {};
	struct tuple to;
	bool from_here = READ_ONCE(skb->ingress_ifindex) == 0;
	if (done_already(skb) || pkt_init(skb, &p, HOOK_NIC_OUT))
		return PASS;
	int r = walk_reply(skb, &p, &to);
	/* The node's own sockets to external and load balancer addresses. */
	if (r == NOT_OURS && p.kind == PKT_FLOW && from_here) {
		p.hook = HOOK_HOST;
		r = walk(skb, &p, &to);
	}
	if (r == NOT_OURS && (cfg.opts & OPT_MASQ)) {
		if (p.kind == PKT_ICMP)
			r = FAM(echo_out)(skb, &p, from_here);
		else if (!from_here)
			r = FAM(masq_new)(skb, &p);
	}
	return r == NOT_OURS || !r ? PASS : finish(skb, &p, r);
}

/* Packets of the node's own sockets to service addresses (egress of xebec0) and to its own
 * addresses (egress of lo). */
int FAM(host)(struct __sk_buff *skb)
{
	struct pkt p = {};
	struct tuple to;
	if (done_already(skb) || pkt_init(skb, &p, HOOK_HOST) || is_loopback(p.t.daddr))
		return PASS;
	int r = walk(skb, &p, &to);
	return r == NOT_OURS ? PASS : finish(skb, &p, r);
}

int FAM(ct_sweep)(struct gc_run *g)
{
	if (!g)
		return 0;
	struct gc_run run = *g; /* what callbacks are given must lie on the stack */
	gc_tables(&run);
	*g = run;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * The way of a packet through the load balancer, the same for every hook:
 * tracked flow -> translate; new flow to a service -> choose, track, translate; else not ours. */
#ifndef XEBEC_BPF_WALK_H
#define XEBEC_BPF_WALK_H

#include "lib/frag.h"
#include "lib/icmp.h"
#include "lib/plain.h"

INLINE void flow_targets(
	const struct pkt *p, const struct choice *c, struct ct_entry *fwd, __u32 *rev_iif)
{
	struct xb_ep *ep = ep_find(c->addr);
	*rev_iif = ep ? ep->ifindex : 0;
	if (p->hook == HOOK_POD && addr_eq(p->t.saddr, c->addr)) {
		*(__u32 *)fwd->to.saddr = cfg.hairpin_ip4;
		fwd->flags |= CT_SNAT | CT_HAIRPIN;
		return;
	}
	if (ep || is_local_ip(c->addr) || p->hook == HOOK_HOST)
		return;
	/* The reply must come back through this node: always for clients from outside; for pods,
	 * when the backend may have no route to pod addresses. */
	if (p->hook == HOOK_NIC_IN || !pod_range(c->addr)) {
		*(__u32 *)fwd->to.saddr = cfg.node_ip4;
		fwd->flags |= CT_SNAT;
		count_n(CNT_SNAT, 0);
	}
}

/* First packet of a flow to a service: 0 = tracked, *to and *flags say what it gets. NOT_OURS or
 * -DROP_x. */
GLOBAL int FAM(walk_new)(struct pkt *p, struct tuple *to, __u16 *flags, __u32 now)
{
	struct choice c = {};
	struct ct_entry fwd = {};
	__u32 rev_iif = 0;
	if (!p || !to || !flags)
		return NOT_OURS;
	bool external = p->hook == HOOK_NIC_IN && !pod_range(p->t.saddr);
	int r = lb_choose(&c, p, external, now);
	if (r == 1)
		return svc_range(p->t.daddr) ? -DROP_NO_PORT : NOT_OURS;
	if (!r) {
		fwd.to = p->t;
		addr_set(fwd.to.daddr, c.addr);
		fwd.to.dport = c.port;
		fwd.last = fwd.created = now;
		fwd.svc = c.svc_idx;
		fwd.be = c.be_idx;
		fwd.be_gen = c.be_gen;
		fwd.flags = CT_HALF | (external ? CT_EXTERNAL : 0) |
			    (c.svc->flags & SVC_LEAST ? CT_COUNTED : 0);
		fwd.iif = p->hook == HOOK_POD ? p->ifindex : 0;
		flow_targets(p, &c, &fwd, &rev_iif);
		r = ct_create(p, &fwd, rev_iif, p->hook == HOOK_HOST ? CT_TO_HOST : 0, now);
	}
	svc_count(c.svc_idx, r);
	if (r)
		return r;
	be_count(&fwd, p, true);
	*to = fwd.to;
	*flags = fwd.flags;
	return 0;
}

/* ICMP errors about our flows. NOT_OURS, a verdict, -DROP_x. */
GLOBAL int FAM(walk_icmp)(struct __sk_buff *skb, const struct pkt *p)
{
	struct tuple outer = {};
	__u16 flags = 0;
	struct out o = {};
	if (!p)
		return NOT_OURS;
	int r = FAM(icmp_translate)(skb, p, &outer, &flags);
	if (r)
		return r == 1 ? NOT_OURS : r;
	bool to_host = (flags & (CT_REV | CT_TO_HOST)) == (CT_REV | CT_TO_HOST);
	r = out_find(skb, p, &outer, to_host, &o);
	if (r)
		return r;
	if (p->ttl <= 1 && out_hop(&o) && p->hook != HOOK_HOST)
		return -DROP_TTL;
	return out_rewrite_send(skb, p, &outer, &o);
}

/* A pod may send from its own address only. */
INLINE bool src_allowed_here(const struct pkt *p)
{
	if (p->hook != HOOK_POD || (cfg.opts & OPT_FOREIGN_PODS))
		return true;
	struct xb_ep *ep = ep_find(p->t.saddr);
	return ep && ep->ifindex == p->ifindex;
}

/* NOT_OURS, a verdict, or -DROP_x. */
INLINE int walk(struct __sk_buff *skb, struct pkt *p)
{
	frag_handle(p);
	if (unlikely(p->kind != PKT_FLOW)) {
		if (!src_allowed_here(p))
			return -DROP_SPOOF;
		if (p->kind == PKT_ICMP_ERR)
			return FAM(walk_icmp)(skb, p);
		if (!svc_range(p->t.daddr))
			return NOT_OURS;
		return p->kind == PKT_LATER_FRAG ? -DROP_FRAG_ORDER : -DROP_NO_SERVICE;
	}
	struct tuple to;
	__u16 flags;
	__u32 now = now_tick();
	struct ct_entry *e = ct_find(p, now);
	if (likely(e != 0)) {
		/* The entry knows where its packets come from: no look-up of the sender. */
		if (unlikely(e->iif != p->ifindex) && (e->iif || !src_allowed_here(p)))
			return p->hook == HOOK_POD ? -DROP_SPOOF : NOT_OURS;
		to = e->to;
		flags = e->flags;
		be_count(e, p, false);
	} else {
		to = (struct tuple){};
		flags = 0;
		if (unlikely(!src_allowed_here(p)))
			return -DROP_SPOOF;
		int r = FAM(walk_new)(p, &to, &flags, now);
		if (r == NOT_OURS)
			r = FAM(walk_plain)(p, &to, &flags, now);
		if (r)
			return r;
	}
	return walk_send(skb, p, &to, flags);
}

/* Egress hooks, where a socket of this node answers a client: only replies are translated, and the
 * packet stays on its way. */
INLINE int walk_reply(struct __sk_buff *skb, struct pkt *p)
{
	struct tuple to = {};
	__u16 flags = 0;
	frag_handle(p);
	if (p->kind == PKT_ICMP_ERR) {
		int r = FAM(icmp_translate)(skb, p, &to, &flags);
		if (r)
			return r == 1 ? NOT_OURS : r;
	} else if (p->kind == PKT_FLOW) {
		__u32 now = now_tick();
		struct ct_entry *e = ct_find(p, now);
		if (!e && p->hook == HOOK_TO_POD) {
			int r = FAM(walk_plain)(p, &to, &flags, now);
			if (r)
				return r;
		} else if (!e || (e->svc && !(e->flags & CT_REV))) {
			return NOT_OURS;
		} else {
			to = e->to;
			be_count(e, p, false);
		}
	} else {
		return NOT_OURS;
	}
	int r = pkt_rewrite(skb, p, &to, 0, 0);
	return r ? r : PASS;
}

#endif

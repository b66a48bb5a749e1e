/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * The way of a packet through the load balancer, the same for every hook:
 * tracked flow -> translate; new flow to a service -> choose, track, translate; else not ours. */
#ifndef XEBEC_BPF_WALK_H
#define XEBEC_BPF_WALK_H

#include "lib/frag.h"
#include "lib/icmp.h"
#include "lib/plain.h"

/* Where the reply comes in, and whether the source must change so that it comes at all. */
INLINE __u32 flow_targets(const struct pkt *p, const struct choice *c, struct ct_entry *fwd)
{
	struct ep_row *ep = ep_find(c->addr);
	__u32 rev_iif = ep ? ep->ifindex : 0;
	if (p->hook == HOOK_POD && addr_eq(p->t.saddr, c->addr)) {
		addr_set(fwd->to.saddr, (const void *)&cfg.FAM(hairpin_ip));
		fwd->flags |= CT_SNAT | CT_HAIRPIN;
		return rev_iif;
	}
	if (ep || is_local_ip(c->addr) || p->hook == HOOK_HOST)
		return rev_iif;
	/* The reply must come back through this node: always for clients from outside; for pods,
	 * when the backend may have no route to pod addresses. */
	if (p->hook == HOOK_NIC_IN || !pod_range(c->addr)) {
		addr_set(fwd->to.saddr, (const void *)NODE_IP);
		fwd->flags |= CT_SNAT;
		count_n(CNT_SNAT, 0);
	}
	return rev_iif;
}

INLINE __u32 fwd_fill(
	const struct pkt *p, const struct choice *c, struct ct_entry *fwd, bool external, __u32 now)
{
	*fwd = (struct ct_entry){.to = p->t,
		.last = now,
		.created = now,
		.svc = c->svc_idx,
		.be = c->be_idx,
		.be_gen = c->be_gen,
		.flags = CT_HALF | (external ? CT_EXTERNAL : 0) |
			 (c->svc->flags & SVC_LEAST ? CT_COUNTED : 0),
		.iif = p->hook == HOOK_POD ? p->ifindex : 0};
	addr_set(fwd->to.daddr, c->addr);
	fwd->to.dport = c->port;
	return flow_targets(p, c, fwd);
}

/* Chooses a backend for a new flow and says in w->fwd, and w->rev.iif, what becomes of it. */
GLOBAL int FAM(flow_new)(const struct pkt *p, struct work *w, __u32 now)
{
	struct choice c = {};
	if (!p || !w)
		return NOT_OURS;
	bool external = p->hook == HOOK_NIC_IN && !pod_range(p->t.saddr);
	int r = lb_choose(&c, p, external, now);
	if (r == 1)
		return svc_range(p->t.daddr) ? -DROP_NO_PORT : NOT_OURS;
	if (r)
		svc_count(c.svc_idx, r);
	else
		w->rev.iif = fwd_fill(p, &c, &w->fwd, external, now);
	return r;
}

/* First packet of a flow to a service: 0 = tracked, *to and *flags say what it gets. NOT_OURS or
 * -DROP_x. */
GLOBAL int FAM(walk_new)(const struct pkt *p, struct tuple *to, __u16 *flags, __u32 now)
{
	struct work *w = work_get();
	if (!p || !to || !flags || !w)
		return NOT_OURS;
	int r = FAM(flow_new)(p, w, now);
	if (r)
		return r;
	r = FAM(ct_create)(p, w, p->hook == HOOK_HOST ? CT_TO_HOST : 0);
	svc_count(w->fwd.svc, r);
	if (r)
		return r;
	be_count(&w->fwd, p, true);
	*to = w->fwd.to;
	*flags = w->fwd.flags;
	return 0;
}

/* A pod may send from its own address only. */
INLINE bool src_allowed_here(const struct pkt *p)
{
	if (p->hook != HOOK_POD || (cfg.opts & OPT_FOREIGN_PODS))
		return true;
	struct ep_row *ep = ep_find(p->t.saddr);
	return ep && ep->ifindex == p->ifindex;
}

/* No flow of its own: about one of ours it may be. */
INLINE int walk_other(struct __sk_buff *skb, struct pkt *p, struct tuple *to, __u16 *flags)
{
	if (!src_allowed_here(p))
		return -DROP_SPOOF;
	*to = (struct tuple){};
	if (p->kind == PKT_ICMP_ERR)
		return FAM(icmp_translate)(skb, p, to, flags);
	if (!svc_range(p->t.daddr))
		return NOT_OURS;
	return p->kind == PKT_LATER_FRAG ? -DROP_FRAG_ORDER : -DROP_NO_SERVICE;
}

/* What the packet gets: 0 = *to and *flags. NOT_OURS, -DROP_x. */
INLINE int walk_flow(struct pkt *p, struct tuple *to, __u16 *flags)
{
	__u32 now = now_tick();
	struct ct_entry *e = ct_find(p, now);
	if (likely(e != 0)) {
		/* The entry knows where its packets come from: no look-up of the sender. */
		if (unlikely(e->iif != p->ifindex) && (e->iif || !src_allowed_here(p)))
			return p->hook == HOOK_POD ? -DROP_SPOOF : NOT_OURS;
		*to = e->to;
		*flags = e->flags;
		be_count(e, p, false);
		return 0;
	}
	if (unlikely(!src_allowed_here(p)))
		return -DROP_SPOOF;
	*to = (struct tuple){};
	/* Most packets that no entry knows are no service's either: they find out here, without the
	 * calls and the room that a choice needs. */
	struct xb_fe fe;
	int r = NOT_OURS;
	if (fe_find(&p->t, &fe))
		r = FAM(walk_new)(p, to, flags, now);
	else if (svc_range(p->t.daddr))
		return -DROP_NO_PORT;
	if (r != NOT_OURS || !plain_opens(p))
		return r;
	return FAM(walk_plain)(p, to, flags, now);
}

/* NOT_OURS, a verdict, or -DROP_x. *to is scratch: the stack has room for one. */
INLINE int walk(struct __sk_buff *skb, struct pkt *p, struct tuple *to)
{
	__u16 flags = 0;
	frag_handle(p);
	int r = likely(p->kind == PKT_FLOW) ? walk_flow(p, to, &flags)
					    : walk_other(skb, p, to, &flags);
	return r ? r : walk_send(skb, p, to, flags);
}

/* Egress hooks, where a socket of this node answers a client: only replies are translated, and the
 * packet stays on its way. */
INLINE int walk_reply(struct __sk_buff *skb, struct pkt *p, struct tuple *to)
{
	*to = (struct tuple){};
	__u16 flags = 0;
	frag_handle(p);
	if (p->kind == PKT_ICMP_ERR) {
		int r = FAM(icmp_translate)(skb, p, to, &flags);
		if (r)
			return r;
	} else if (p->kind == PKT_FLOW) {
		__u32 now = now_tick();
		struct ct_entry *e = ct_find(p, now);
		if (!e && p->hook == HOOK_TO_POD) {
			int r = FAM(walk_plain)(p, to, &flags, now);
			if (r)
				return r;
		} else if (!e || (e->svc && !(e->flags & CT_REV))) {
			return NOT_OURS;
		} else {
			*to = e->to;
			be_count(e, p, false);
		}
	} else {
		return NOT_OURS;
	}
	int r = pkt_rewrite(skb, p, to, 0, 0);
	return r ? r : PASS;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Masquerade: pods reach machines that know no pod addresses under the node's own. Only the first
 * packet of a flow comes here; it leaves the pair of entries that every hook follows. */
#ifndef XEBEC_BPF_MASQ_H
#define XEBEC_BPF_MASQ_H

#include "lib/walk.h"

/* No pod, service, node, link-local or multicast address. */
INLINE bool masq_outside(const void *d)
{
	if (pod_range(d) || svc_range(d) || is_local_ip(d))
		return false;
	return !addr_on_link(d) && !net_find(d) && !addr_zero((const void *)NODE_IP);
}

INLINE bool masq_wanted(const struct pkt *p)
{
	return ep_find(p->t.saddr) && masq_outside(p->t.daddr);
}

/* The flow's entry: the node's address, and the pod's own port if it can be kept. */
INLINE void masq_fill(struct work *w, const struct pkt *p, __u32 now)
{
	struct ct_entry *e = &w->fwd; /* filled in place: the stack has no room for another */
	__builtin_memset(e, 0, sizeof *e);
	__builtin_memcpy(&e->to, &p->t, sizeof e->to);
	e->last = e->created = now;
	e->flags = CT_HALF | CT_SNAT | CT_KEEP_PORT;
	addr_set(w->fwd.to.saddr, (const void *)NODE_IP);
	w->rev.iif = 0;
}

/* Has a socket of the node this port towards the same place? It would lose its replies. The node's
 * own flows are not tracked: what comes later than ours is seen to in walk_plain. */
GLOBAL int FAM(port_in_use)(struct __sk_buff *skb, const struct tuple *to)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	int used = 1;
	if (!to)
		return 1;
	sock_tuple_fill(&t, to); /* as a reply has it */
	if (to->proto == IPPROTO_TCP) {
		sk = bpf_skc_lookup_tcp(skb, &t, SOCK_TUPLE_LEN, BPF_F_CURRENT_NETNS, 0);
		if (!sk)
			return 0;
		used = READ_ONCE(sk->state) != BPF_TCP_LISTEN;
	} else {
		sk = bpf_sk_lookup_udp(skb, &t, SOCK_TUPLE_LEN, BPF_F_CURRENT_NETNS, 0);
		if (!sk)
			return 0;
	}
	bpf_sk_release(sk);
	return used;
}

/* Node ports and ports in use are not kept. */
INLINE bool port_kept(struct __sk_buff *skb, const struct tuple *to)
{
	return (to->sport < cfg.np_lo || to->sport > cfg.np_hi) && !FAM(port_in_use)(skb, to);
}

/* A flow that a pod opens: 0 = tracked and translated. NOT_OURS, -DROP_x. What
 * answers somebody outside who knows the pod's address keeps that: TCP counts from its SYN only. */
GLOBAL int FAM(masq_new)(struct __sk_buff *skb, const struct pkt *p)
{
	struct work *w = work_get();
	if (!p || !w || p->kind != PKT_FLOW || p->later_frag)
		return NOT_OURS;
	if (p->t.proto != IPPROTO_TCP && p->t.proto != IPPROTO_UDP)
		return NOT_OURS;
	if (p->t.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return NOT_OURS;
	if (!masq_wanted(p))
		return NOT_OURS;
	masq_fill(w, p, now_tick());
	if (!port_kept(skb, &w->fwd.to))
		w->fwd.to.sport = snat_port_any();
	int r = FAM(ct_create)(p, w, 0);
	if (r)
		return r;
	count_n(CNT_MASQ, p->len);
	return pkt_rewrite(skb, p, &w->fwd.to, 0, 0);
}

#endif

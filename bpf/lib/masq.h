/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Masquerade: pods reach machines that know no pod addresses under the node's own. Only the first
 * packet of a flow comes here; it leaves the pair of entries that every hook follows. */
#ifndef XEBEC_BPF_MASQ_H
#define XEBEC_BPF_MASQ_H

#include "lib/walk.h"

/* To outside: no pod, service, node, link-local or multicast address. */
INLINE bool masq_wanted(const struct pkt *p)
{
	const void *d = p->t.daddr;
	if (!ep_find(p->t.saddr) || pod_range(d) || svc_range(d) || is_local_ip(d))
		return false;
	return !addr_on_link(d) && !net_find(d) && !addr_zero((const void *)NODE_IP);
}

/* A flow that a pod opens: 0 = tracked, *to is what its packets get. NOT_OURS, -DROP_x. What
 * answers somebody outside who knows the pod's address keeps that: TCP counts from its SYN only. */
GLOBAL int FAM(masq_new)(const struct pkt *p, struct tuple *to, __u32 now)
{
	struct work *w = work_get();
	if (!p || !to || !w || p->kind != PKT_FLOW || p->later_frag)
		return NOT_OURS;
	if (p->t.proto != IPPROTO_TCP && p->t.proto != IPPROTO_UDP)
		return NOT_OURS;
	if (p->t.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return NOT_OURS;
	if (!masq_wanted(p))
		return NOT_OURS;
	w->fwd = (struct ct_entry){
		.to = p->t, .last = now, .created = now, .flags = CT_HALF | CT_SNAT};
	addr_set(w->fwd.to.saddr, (const void *)NODE_IP);
	w->rev.iif = 0;
	int r = FAM(ct_create)(p, w, 0);
	if (r)
		return r;
	*to = w->fwd.to;
	count_n(CNT_MASQ, p->len);
	return 0;
}

#endif

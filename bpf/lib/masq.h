/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Masquerade: pods reach machines that know no pod addresses under the node's own. Only the first
 * packet of a flow comes here; it leaves the pair of entries that every hook follows. */
#ifndef XEBEC_BPF_MASQ_H
#define XEBEC_BPF_MASQ_H

#include "lib/walk.h"

/* To outside: no pod, service, node, link-local or multicast address. */
INLINE bool masq_wanted(const struct pkt *p)
{
	const __u8 *d = p->t.daddr;
	if (!ep_find(p->t.saddr) || pod_range(d) || svc_range(d) || is_local_ip(d))
		return false;
	if (d[0] >= 224 || (d[0] == 169 && d[1] == 254))
		return false;
	return !net_find(d);
}

/* A flow that a pod opens: 0 = tracked, *to is what its packets get. NOT_OURS, -DROP_x. What
 * answers somebody outside who knows the pod's address keeps that: TCP counts from its SYN only. */
GLOBAL int FAM(masq_new)(const struct pkt *p, struct tuple *to, __u32 now)
{
	struct ct_entry fwd = {};
	if (!p || !to || p->kind != PKT_FLOW || p->later_frag)
		return NOT_OURS;
	if (p->t.proto != IPPROTO_TCP && p->t.proto != IPPROTO_UDP)
		return NOT_OURS;
	if (p->t.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return NOT_OURS;
	if (!masq_wanted(p))
		return NOT_OURS;
	fwd.to = p->t;
	*(__u32 *)fwd.to.saddr = cfg.node_ip4;
	fwd.last = fwd.created = now;
	fwd.flags = CT_HALF | CT_SNAT;
	int r = ct_create(p, &fwd, 0, 0, now);
	if (r)
		return r;
	*to = fwd.to;
	count_n(CNT_MASQ, p->len);
	return 0;
}

#endif

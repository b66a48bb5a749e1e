/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * From a translated flow to a packet on its way, or to the error that must be sent instead. */
#ifndef XEBEC_BPF_SEND_H
#define XEBEC_BPF_SEND_H

#include "lib/drop.h"

/* What must be answered instead of forwarded: TTL used up, or too big for the path. NOT_OURS = go
 * on. */
INLINE int forward_check(struct __sk_buff *skb, const struct pkt *p, const struct out *o)
{
	if (unlikely(p->ttl <= 1) && out_hop(o) && p->hook != HOOK_HOST) {
		int r = FAM(reject_icmp)(skb, p, ICMP_TTL_EXCEEDED, 0, true);
		return r < 0 ? -DROP_TTL : r;
	}
	if (unlikely(o->mtu) && (p->frag_field & IP_DF))
		return FAM(reject_icmp)(skb, p, ICMP_TOO_BIG, o->mtu, false);
	return NOT_OURS;
}

/* Translates and delivers a packet of a tracked flow. */
INLINE int walk_send(
	struct __sk_buff *skb, const struct pkt *p, const struct tuple *to, __u16 flags)
{
	struct out o = {};
	bool to_host = (flags & (CT_REV | CT_TO_HOST)) == (CT_REV | CT_TO_HOST);
	int r = out_find(skb, p, to, to_host, &o);
	if (r)
		return r;
	r = forward_check(skb, p, &o);
	if (r != NOT_OURS)
		return r;
	return out_rewrite_send(skb, p, to, &o);
}

#endif

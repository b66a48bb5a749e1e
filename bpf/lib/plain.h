/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Packets that are no service's. */
#ifndef XEBEC_BPF_PLAIN_H
#define XEBEC_BPF_PLAIN_H

#include "lib/send.h"

/* A flow that is no service's may have the very tuple that a translated one has behind the
 * translation: its replies would be taken for the other's. Remains of a closed flow go; beside a
 * live one the newcomer gets another source port. NOT_OURS = nothing in the way; 0 = *fwd says what
 * to do; -DROP_x. */
INLINE int plain_clash(const struct pkt *p, struct ct_entry *fwd, __u32 now)
{
	struct tuple rev;
	if (p->kind != PKT_FLOW || p->later_frag)
		return NOT_OURS;
	if (p->t.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN)
		return NOT_OURS;
	tuple_reverse(&rev, &p->t);
	struct ct_entry *old = bpf_map_lookup_elem(&FAM(ct), &rev);
	if (!old)
		old = bpf_map_lookup_elem(&FAM(ctn), &rev);
	if (likely(!old))
		return NOT_OURS;
	if (ct_expired(old, rev.proto, now) || ct_closed(&rev, old)) {
		ct_delete_pair(&rev, old);
		return NOT_OURS;
	}
	fwd->to = p->t;
	fwd->last = fwd->created = now;
	fwd->flags = CT_HALF;
	return ct_create(p, fwd, 0, p->hook == HOOK_TO_POD ? CT_TO_HOST : 0, now);
}

GLOBAL int FAM(walk_plain)(const struct pkt *p, struct tuple *to, __u16 *flags, __u32 now)
{
	struct ct_entry fwd = {};
	if (!p || !to || !flags)
		return NOT_OURS;
	int r = plain_clash(p, &fwd, now);
	if (r)
		return r;
	*to = fwd.to;
	*flags = fwd.flags;
	return 0;
}

/* Sends a packet on with its addresses, one hop older. */
INLINE int out_as_is(struct __sk_buff *skb, const struct pkt *p, struct out *o)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	if ((void *)(ip + 1) > end)
		return PASS;
	mac_store(data, &o->macs);
	ip_header_update(ip, 0, 1);
	return out_send(skb, p, o);
}

/* Of a pod to another node's pods: wrapped at once, not by way of the stack's routes. What is too
 * big the stack cuts up or refuses. */
GLOBAL int FAM(direct_vxlan)(struct __sk_buff *skb, const struct pkt *p)
{
	struct out o = {};
	if (!p || FAM(out_vxlan)(skb, p, &p->t, &o))
		return PASS;
	if (o.mtu) {
		if (!(p->frag_field & IP_DF) || p->kind != PKT_FLOW)
			return PASS;
		return FAM(reject_icmp)(skb, p, ICMP_FRAG_NEEDED, o.mtu, cfg.node_ip4);
	}
	return out_as_is(skb, p, &o);
}

/* A packet that is no service's, straight to a pod of this node, past the stack. Anything special
 * is left to the stack. */
INLINE int walk_direct(struct __sk_buff *skb, const struct pkt *p)
{
	struct out o = {};
	struct xb_ep *ep = ep_find(p->t.daddr);
	if (p->ttl <= 1)
		return PASS;
	if (!ep)
		return p->hook == HOOK_POD && vx_used() ? FAM(direct_vxlan)(skb, p) : PASS;
	out_pod(&o, ep);
	return out_as_is(skb, p, &o);
}

#endif

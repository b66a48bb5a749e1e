/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Packets that are no service's. */
#ifndef XEBEC_BPF_PLAIN_H
#define XEBEC_BPF_PLAIN_H

#include "lib/send.h"

/* TCP counts from its SYN only. */
INLINE bool plain_opens(const struct pkt *p)
{
	return p->t.proto != IPPROTO_TCP || (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

/* A flow that is no service's may have the very tuple that a translated one has behind the
 * translation: its replies would be taken for the other's. Remains of a closed flow go; beside a
 * live one the newcomer gets another source port. NOT_OURS = nothing in the way; 0 = *to and *flags
 * say what to do; -DROP_x. */
GLOBAL int FAM(walk_plain)(const struct pkt *p, struct tuple *to, __u16 *flags, __u32 now)
{
	struct work *w = work_get();
	if (!p || !to || !flags || !w || p->kind != PKT_FLOW || p->later_frag)
		return NOT_OURS;
	if (!plain_opens(p))
		return NOT_OURS;
	tuple_reverse(&w->key, &p->t);
	struct ct_entry *old = bpf_map_lookup_elem(&FAM(ct), &w->key);
	if (!old)
		old = bpf_map_lookup_elem(&FAM(ctn), &w->key);
	if (likely(!old) || FAM(ct_end)(&w->key, old, now))
		return NOT_OURS;
	w->fwd = (struct ct_entry){.to = p->t, .last = now, .created = now, .flags = CT_HALF};
	w->rev.iif = 0;
	int r = FAM(ct_create)(p, w, p->hook == HOOK_TO_POD ? CT_TO_HOST : 0);
	*to = w->fwd.to;
	*flags = w->fwd.flags;
	return r;
}

/* Sends a packet on with its addresses, one hop older. */
INLINE int out_as_is(struct __sk_buff *skb, const struct pkt *p, struct out *o)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ip_hdr *ip = data + ETH_HLEN;
	if ((void *)(ip + 1) > end)
		return PASS;
	mac_store(data, &o->macs);
	ip_hop(ip);
	hop_csum(skb, p, 1);
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
		return FAM(reject_icmp)(skb, p, ICMP_TOO_BIG, o.mtu, true);
	}
	return out_as_is(skb, p, &o);
}

/* A packet that is no service's, straight to a pod of this node, past the stack. Anything special
 * is left to the stack. */
INLINE int walk_direct(struct __sk_buff *skb, const struct pkt *p)
{
	struct out o = {};
	if (p->ttl <= 1)
		return PASS;
	/* The stack delivers whatever this does not look for. */
	struct ep_row *ep = pod_range(p->t.daddr) ? ep_find(p->t.daddr) : 0;
	if (!ep)
		return p->hook == HOOK_POD && vx_used() ? FAM(direct_vxlan)(skb, p) : PASS;
	out_pod(&o, ep);
	return out_as_is(skb, p, &o);
}

#endif

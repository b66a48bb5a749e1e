/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Masquerade of echo requests (RFC 5508 section 3.1). They are tracked like flows whose ports are
 * (identifier, 0) on the way out and (0, identifier) on the way back. */
#ifndef XEBEC_BPF_ECHO_H
#define XEBEC_BPF_ECHO_H

#include "lib/masq.h"

/* Puts the identifier where a flow has its port. Later fragments find it as they find ports. */
INLINE int echo_read(struct __sk_buff *skb, struct pkt *p, bool request)
{
	__be16 id;
	if (p->kind != PKT_ICMP || p->icmp_type != (request ? ICMP_PING : ICMP_PONG))
		return -1;
	if (bpf_skb_load_bytes(skb, p->l4off + 4u, &id, 2))
		return -1;
	p->t.sport = request ? bpf_ntohs(id) : 0;
	p->t.dport = request ? 0 : bpf_ntohs(id);
	if (unlikely(p->frag_field & IP_MF))
		(void)FAM(frag_note)(p);
	return 0;
}

GLOBAL int FAM(echo_rewrite)(struct __sk_buff *skb, const struct pkt *p, const struct tuple *to)
{
	if (!p || !to)
		return -DROP_REWRITE;
	__be16 old = bpf_htons(p->t.sport | p->t.dport), new = bpf_htons(to->sport | to->dport);
	if (pkt_rewrite(skb, p, to, 0, 0))
		return -DROP_REWRITE;
	if (old == new)
		return 0;
	if (bpf_l4_csum_replace(skb, p->l4off + 2u, old, new, 2) ||
		bpf_skb_store_bytes(skb, p->l4off + 4u, &new, 2, 0))
		return -DROP_REWRITE;
	return 0;
}

/* The node's own request to outside is tracked like a pod's: one that takes the identifier of a
 * request under way would take its reply too. */
INLINE bool echo_own(const struct pkt *p)
{
	return addr_eq(p->t.saddr, (const void *)NODE_IP) && masq_outside(p->t.daddr);
}

/* A request on its way out: 0 = translated, NOT_OURS, -DROP_x. */
GLOBAL int FAM(echo_out)(struct __sk_buff *skb, struct pkt *p, __u32 from_here)
{
	struct work *w = work_get();
	__u32 now = now_tick();
	if (!p || !w || echo_read(skb, p, true))
		return NOT_OURS;
	struct ct_entry *e = ct_find(p, now);
	if (e) {
		w->fwd.to = e->to;
		return FAM(echo_rewrite)(skb, p, &w->fwd.to);
	}
	if (from_here ? !echo_own(p) : !masq_wanted(p))
		return NOT_OURS;
	masq_fill(w, p, now);
	int r = FAM(ct_create)(p, w, 0);
	if (r)
		return r;
	count_n(CNT_MASQ, p->len);
	return FAM(echo_rewrite)(skb, p, &w->fwd.to);
}

/* A reply: as echo_out. */
GLOBAL int FAM(echo_in)(struct __sk_buff *skb, struct pkt *p)
{
	struct work *w = work_get();
	if (!p || !w || echo_read(skb, p, false))
		return NOT_OURS;
	struct ct_entry *e = ct_find(p, now_tick());
	if (!e || !(e->flags & CT_REV))
		return NOT_OURS;
	w->fwd.to = e->to;
	return FAM(echo_rewrite)(skb, p, &w->fwd.to);
}

#endif

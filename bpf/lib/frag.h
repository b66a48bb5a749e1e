/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Fragments: only the first one carries ports. It leaves them here for the others. */
#ifndef XEBEC_BPF_FRAG_H
#define XEBEC_BPF_FRAG_H

#include "lib/pkt.h"

/* Of a first fragment. */
GLOBAL int FAM(frag_note)(const struct pkt *p)
{
	if (!p)
		return 0;
	struct frag_key k = {.id = p->ip_id, .proto = p->t.proto};
	struct xb_frag f = {p->t.sport, p->t.dport, now_tick()};
	addr_set(k.saddr, p->t.saddr);
	addr_set(k.daddr, p->t.daddr);
	bpf_map_update_elem(&FAM(frag), &k, &f, BPF_ANY);
	return 0;
}

GLOBAL int FAM(frag_track)(struct pkt *p)
{
	if (!p)
		return 0;
	if (!p->later_frag) {
		if (p->kind == PKT_FLOW)
			(void)FAM(frag_note)(p);
		return 0;
	}
	struct frag_key k = {.id = p->ip_id, .proto = p->t.proto};
	addr_set(k.saddr, p->t.saddr);
	addr_set(k.daddr, p->t.daddr);
	struct xb_frag *f = bpf_map_lookup_elem(&FAM(frag), &k);
	/* RFC 791 allows 15 s and more for reassembly; Linux gives up after 30. */
	if (!f || now_tick() - f->last > 30)
		return 0;
	p->t.sport = f->sport;
	p->t.dport = f->dport;
	p->kind = PKT_FLOW;
	count_n(CNT_FRAG, p->len);
	return 0;
}

INLINE void frag_handle(struct pkt *p)
{
	if (unlikely(p->frag_field & (IP_MF | IP_OFFSET)))
		(void)FAM(frag_track)(p);
}

#endif

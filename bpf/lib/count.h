/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * What is counted by service and by backend. */
#ifndef XEBEC_BPF_COUNT_H
#define XEBEC_BPF_COUNT_H

#include "lib/snat.h"

INLINE void svc_count(__u32 svc, int r)
{
	struct xb_svc_st *s = bpf_map_lookup_elem(&svc_st, &svc);
	if (!s)
		return;
	if (!r)
		s->conns++;
	else if (r == -DROP_NO_ENDPOINT)
		s->no_endpoint++;
	else
		s->dropped++;
}

INLINE void be_count(const struct ct_entry *e, const struct pkt *p, bool new_flow)
{
	__u32 be = e->be;
	struct xb_be_st *s = bpf_map_lookup_elem(&be_st, &be);
	if (!s)
		return;
	if (e->flags & CT_REV) {
		s->rev_pkts++;
		s->rev_bytes += p->len;
		if (unlikely(p->t.proto == IPPROTO_TCP && (p->tcp_flags & TCP_RST)))
			s->resets++;
		return;
	}
	s->fwd_pkts++;
	s->fwd_bytes += p->len;
	s->conns += new_flow;
	if (new_flow && unlikely(e->flags & CT_COUNTED)) {
		struct xb_open *o = bpf_map_lookup_elem(&be_open, &be);
		if (o)
			__sync_fetch_and_add(&o->open, 1);
	}
}

#endif

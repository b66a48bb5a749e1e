/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * The end of a packet that is given up or refused. */
#ifndef XEBEC_BPF_DROP_H
#define XEBEC_BPF_DROP_H

#include "lib/reject.h"

INLINE void event_fill(struct xb_ev *ev_, const struct pkt *p, __u32 reason)
{
	ev_->ns = bpf_ktime_get_ns();
	ev_->reason = reason;
	ev_->ifindex = p->ifindex;
	ev_->hook = p->hook;
	ev_->len = p->len;
	__builtin_memset(ev_->saddr, 0, sizeof ev_->saddr + sizeof ev_->daddr);
	addr_set(ev_->saddr, p->t.saddr);
	addr_set(ev_->daddr, p->t.daddr);
	ev_->sport = p->t.sport;
	ev_->dport = p->t.dport;
	ev_->proto = p->t.proto;
	ev_->family = FAMILY;
	ev_->pad[0] = ev_->pad[1] = 0;
}

/* The one place where a packet is given up: counted by reason, sampled, dropped. */
GLOBAL int FAM(drop_packet)(const struct pkt *p, __u32 reason)
{
	if (!p)
		return TC_ACT_SHOT;
	count_n(reason < DROP_MAX ? reason : 0, p->len);
	if (!(bpf_get_prandom_u32() & cfg.sample_mask)) {
		struct xb_ev *e = bpf_ringbuf_reserve(&ev, sizeof *e, 0);
		if (e) {
			event_fill(e, p, reason);
			bpf_ringbuf_submit(e, 0);
		}
	}
	return TC_ACT_SHOT;
}

/* A verdict from what a walk returned. */
INLINE int finish(struct __sk_buff *skb, const struct pkt *p, int r)
{
	if (likely(r >= PASS))
		return r;
	if (r == -DROP_NO_ENDPOINT || r == -DROP_NO_PORT) {
		int v = reject(skb, p);
		if (v >= 0) {
			count_n((__u32)-r, p->len);
			return v;
		}
	}
	return FAM(drop_packet)(p, (__u32)-r);
}

#endif

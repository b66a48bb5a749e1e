/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Connection tracking in two tables. New flows live in `ctn` (LRU: a flood of SYNs pushes out only
 * its like); a flow that was answered and goes on moves to `ct` (hash: nothing is pushed out of
 * it).
 *
 *        first packet            reply seen, then a packet of the client
 *   (none) ----------> ctn (half) -----------------------------------> ct
 *
 * Each direction has an entry of its own: the tuple of a packet -> the tuple it gets. The other
 * direction's key is that tuple reversed, so a pair needs no pointer. */
#ifndef XEBEC_BPF_CT_H
#define XEBEC_BPF_CT_H

#include "lib/rewrite.h"
#include "lib/work.h"

INLINE __u32 ct_timeout(const struct ct_entry *e, __u8 proto)
{
	if (proto != IPPROTO_TCP)
		return e->flags & CT_HALF ? cfg.t_udp : cfg.t_udp_est;
	if (e->flags & CT_RST)
		return cfg.t_close;
	if (e->flags & CT_FIN) /* this side is done, the other may go on */
		return cfg.t_fin;
	return e->flags & CT_HALF ? cfg.t_syn : cfg.t_est;
}

INLINE bool ct_expired(const struct ct_entry *e, __u8 proto, __u32 now)
{
	return now - READ_ONCE(e->last) > ct_timeout(e, proto);
}

INLINE void ct_peer_key(struct tuple *out, const struct ct_entry *e)
{
	tuple_reverse(out, &e->to);
}

/* The entry of the other direction, when it is still this flow's: a reply tuple that a closed flow
 * left behind may have been given to another. */
INLINE struct ct_entry *ct_peer_in(void *map, const struct tuple *key, const struct ct_entry *e)
{
	struct tuple peer;
	ct_peer_key(&peer, e);
	struct ct_entry *o = bpf_map_lookup_elem(map, &peer);
	return o && tuple_mirrors(&o->to, key) ? o : 0;
}

INLINE struct ct_entry *ct_peer(const struct tuple *key, const struct ct_entry *e)
{
	struct ct_entry *o = ct_peer_in(&FAM(ct), key, e);
	return o ? o : ct_peer_in(&FAM(ctn), key, e);
}

INLINE void ct_delete_pair(const struct tuple *key, const struct ct_entry *e)
{
	struct tuple mine = *key, peer;
	ct_peer_key(&peer, e);
	bool own = ct_peer(&mine, e) != 0;
	bpf_map_delete_elem(&FAM(ct), &mine);
	bpf_map_delete_elem(&FAM(ctn), &mine);
	if (!own)
		return;
	bpf_map_delete_elem(&FAM(ct), &peer);
	bpf_map_delete_elem(&FAM(ctn), &peer);
}

/* Moves both directions of a half-open flow to the established table. A full table leaves them
 * where they are: the flow works on, only less protected. */
GLOBAL int FAM(ct_promote)(const struct tuple *key, struct ct_entry *e)
{
	struct work *w = work_get();
	if (!key || !e || !w)
		return 0;
	w->key = *key;
	w->fwd = *e;
	ct_peer_key(&w->peer, &w->fwd);
	struct ct_entry *o = bpf_map_lookup_elem(&FAM(ctn), &w->peer);
	if (!o || !tuple_mirrors(&o->to, &w->key) || !(o->flags & CT_SEEN))
		return 0;
	w->rev = *o;
	w->fwd.flags &= (__u16)~CT_HALF;
	w->rev.flags &= (__u16)~CT_HALF;
	if (bpf_map_update_elem(&FAM(ct), &w->peer, &w->rev, BPF_ANY) ||
		bpf_map_update_elem(&FAM(ct), &w->key, &w->fwd, BPF_ANY)) {
		bpf_map_delete_elem(&FAM(ct), &w->peer);
		count_n(CNT_CT_FULL, 0);
		return 0;
	}
	bpf_map_delete_elem(&FAM(ctn), &w->peer);
	bpf_map_delete_elem(&FAM(ctn), &w->key);
	count_n(CNT_PROMOTED, 0);
	return 0;
}

/* Closed both ways, or torn: a SYN of the same tuple opens a new flow. */
INLINE bool ct_closed(const struct tuple *key, const struct ct_entry *e)
{
	if (e->flags & CT_RST)
		return true;
	struct ct_entry *o = ct_peer(key, e);
	if (!o)
		return true;
	return (o->flags & CT_RST) || ((o->flags & CT_FIN) && (e->flags & CT_FIN));
}

/* A client that is done with a backend whose open flows are counted. */
INLINE void open_end(const struct ct_entry *e)
{
	__u32 be = e->be;
	struct xb_open *o = bpf_map_lookup_elem(&be_open, &be);
	if (o && READ_ONCE(o->open))
		__sync_fetch_and_add(&o->open, (__u32)-1);
}

/* 1 = the flow is over, and now forgotten. */
GLOBAL int FAM(ct_end)(const struct tuple *key, struct ct_entry *e, __u32 now)
{
	if (!key || !e || !(ct_expired(e, key->proto, now) || ct_closed(key, e)))
		return 0;
	ct_delete_pair(key, e);
	return 1;
}

INLINE void ct_touch(struct ct_entry *e, const struct pkt *p, __u32 now)
{
	/* Written only on change: a clean cache line stays shared between CPUs. */
	if (e->last != now)
		WRITE_ONCE(e->last, now);
	__u16 f = 0;
	if (p->t.proto == IPPROTO_TCP && !p->later_frag) {
		f |= p->tcp_flags & TCP_FIN ? CT_FIN : 0;
		f |= p->tcp_flags & TCP_RST ? CT_RST : 0;
	}
	if ((e->flags & (CT_REV | CT_SEEN)) == CT_REV)
		f |= CT_SEEN;
	if (unlikely((e->flags | f) != e->flags)) {
		if ((e->flags & (CT_COUNTED | CT_FIN | CT_RST)) == CT_COUNTED &&
			(f & (CT_FIN | CT_RST)))
			open_end(e);
		e->flags |= f;
	}
}

/* The live entry for this packet, or NULL. */
INLINE struct ct_entry *ct_find(struct pkt *p, __u32 now)
{
	struct ct_entry *e = bpf_map_lookup_elem(&FAM(ct), &p->t);
	bool half = false;
	if (!e) {
		e = bpf_map_lookup_elem(&FAM(ctn), &p->t);
		half = true;
	}
	if (!e || unlikely(ct_expired(e, p->t.proto, now)))
		return NULL;
	bool is_syn = p->t.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	if (unlikely(is_syn) && !(e->flags & CT_REV) && FAM(ct_end)(&p->t, e, now)) {
		count_n(CNT_REUSE, 0);
		return NULL;
	}
	ct_touch(e, p, now);
	if (unlikely(half) && !(e->flags & CT_REV) && !is_syn &&
		!(p->t.proto == IPPROTO_TCP && (p->tcp_flags & TCP_RST)))
		(void)FAM(ct_promote)(&p->t, e);
	return e;
}

#endif

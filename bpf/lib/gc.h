/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Sweeping the connection tables in the kernel: 100 ns an entry instead of system calls. */
#ifndef XEBEC_BPF_GC_H
#define XEBEC_BPF_GC_H

#include "lib/lb.h"

/* A pair dies together: while one direction is fresh the other one, however idle, is needed. */
INLINE bool gc_expired(const struct tuple *k, const struct ct_entry *e, __u32 now)
{
	__u32 idle = now - e->last;
	__u8 proto = k->proto;
	if (idle <= ct_timeout(e, proto) && (proto != IPPROTO_TCP || idle <= cfg.t_close))
		return false; /* most entries end here, before the peer is looked up */
	struct ct_entry *o = ct_peer(k, e);
	if (proto == IPPROTO_TCP && idle > cfg.t_close && o &&
		((o->flags & CT_RST) || (o->flags & e->flags & CT_FIN)))
		return true;
	return idle > ct_timeout(e, proto) && (!o || ct_expired(o, proto, now));
}

/* The backend is gone: what has no connection to lose must choose anew (UDP, half-open TCP). */
INLINE bool gc_stale(const struct ct_entry *e, __u8 proto)
{
	if (proto == IPPROTO_TCP && !(e->flags & CT_HALF))
		return false;
	struct xb_be *b = be_row(e->be);
	return b && b->gen != e->be_gen;
}

INLINE void gc_count_open(const struct ct_entry *e)
{
	__u32 be = e->be;
	if (likely((e->flags & (CT_COUNTED | CT_REV | CT_FIN | CT_RST)) != CT_COUNTED))
		return;
	struct xb_be *b = be_row(be);
	struct xb_open *o = bpf_map_lookup_elem(&be_open, &be);
	if (o && b && b->gen == e->be_gen)
		o->seen++;
}

INLINE long gc_entry(void *map, const struct tuple *key, struct ct_entry *e, struct gc_run *g)
{
	struct tuple k = *key;
	g->checked++;
	bool expired = gc_expired(&k, e, g->now);
	if (!expired && !gc_stale(e, k.proto)) {
		gc_count_open(e);
		return 0;
	}
	g->expired += expired;
	g->stale += !expired;
	bpf_map_delete_elem(map, &k);
	return 0;
}

static long gc_established(void *map, const struct tuple *key, struct ct_entry *e, struct gc_run *g)
{
	return gc_entry(&FAM(ct), key, e, g);
}

static long gc_embryonic(void *map, const struct tuple *key, struct ct_entry *e, struct gc_run *g)
{
	return gc_entry(&FAM(ctn), key, e, g);
}

INLINE void gc_tables(struct gc_run *g)
{
	bpf_for_each_map_elem(&FAM(ct), gc_established, g, 0);
	bpf_for_each_map_elem(&FAM(ctn), gc_embryonic, g, 0);
}

#endif

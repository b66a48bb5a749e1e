/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Which backend a socket gets: the service's row, a choice. The same checks
 * of generations as in lb.h. */
#ifndef XEBEC_BPF_SOCKPICK_H
#define XEBEC_BPF_SOCKPICK_H

#include "lib/sockfe.h"

struct sk_choice {
	struct sk_addr to;
	struct xb_svc *svc;
	__u32 svc_idx, be_idx;
	__u16 be_gen, kind;
};

/* ------------------------------------------------------------------ backends */

/* A row may be used while it has the generation that named it; checked after its fields were read.
 */
INLINE bool sk_be_take(struct sk_choice *c, __u32 idx, __u16 gen, __u16 want)
{
	struct xb_be *b = bpf_map_lookup_elem(&be_tab, &idx);
	if (!b)
		return false;
	__builtin_memcpy(c->to.a, b->addr, 16);
	c->to.port = b->port;
	c->be_idx = idx;
	c->be_gen = gen;
	return READ_ONCE(b->gen) == gen && READ_ONCE(b->svc) == c->svc_idx &&
	       (b->flags & want) == want;
}

/* Affinity of the node's own sockets goes by the node's address, as it does in tc_host: both ways
 * in give the same backend. */
INLINE void sk_aff_key(struct xb_aff_key *k, const struct sk_choice *c)
{
	if (c->to.family == 4) {
		*(__u32 *)k->addr = cfg.node_ip4;
	} else {
		words(k->addr)[0] = cfg.node_ip6[0];
		words(k->addr)[1] = cfg.node_ip6[1];
	}
	k->svc = c->svc_idx;
}

INLINE bool sk_aff_get(struct sk_choice *c, __u32 now, bool local)
{
	struct xb_aff_key k = {};
	sk_aff_key(&k, c);
	struct xb_aff *a = bpf_map_lookup_elem(&aff, &k);
	if (!a || a->svc_gen != c->svc->gen)
		return false;
	__u64 limit = ((__u64)c->svc->aff_secs * 1000000000ull) >> XB_TICK_SHIFT;
	if (now - a->last > limit ||
		!sk_be_take(c, a->be, a->be_gen, (__u16)(BE_READY | (local ? BE_LOCAL : 0))))
		return false;
	a->last = now;
	return true;
}

INLINE void sk_aff_put(const struct sk_choice *c, __u32 now)
{
	struct xb_aff_key k = {};
	struct xb_aff a = {
		.be = c->be_idx, .be_gen = c->be_gen, .svc_gen = c->svc->gen, .last = now};
	sk_aff_key(&k, c);
	bpf_map_update_elem(&aff, &k, &a, BPF_ANY);
}

INLINE int sk_pick_once(struct sk_choice *c, bool local)
{
	__u64 sel = local ? READ_ONCE(c->svc->sel_local.word) : READ_ONCE(c->svc->sel_cluster.word);
	__u32 n = xb_sel_count(sel);
	if (!n)
		return -DROP_NO_ENDPOINT;
	__u32 slot = xb_sel_base(sel) + (__u32)((__u64)bpf_get_prandom_u32() * n >> 32);
	struct xb_lut *l = bpf_map_lookup_elem(&lut, &slot);
	if (!l)
		return -DROP_STALE;
	struct xb_lut got;
	*(__u64 *)&got = READ_ONCE(*(__u64 *)l);
	return sk_be_take(c, got.be, got.gen, 0) ? 0 : -DROP_STALE;
}

INLINE int sk_pick(struct sk_choice *c, __u32 now)
{
	__u16 flags = c->svc->flags;
	bool local = c->kind == FE_CLUSTER && (flags & SVC_ITP_LOCAL);
	if ((flags & SVC_AFFINITY) && sk_aff_get(c, now, local))
		return 0;
	int r = sk_pick_once(c, local);
	if (r == -DROP_STALE)
		r = sk_pick_once(c, local);
	if (r == -DROP_NO_ENDPOINT && local && xb_sel_count(READ_ONCE(c->svc->sel_cluster.word)))
		return -DROP_NO_LOCAL;
	if (!r && (flags & SVC_AFFINITY))
		sk_aff_put(c, now);
	return r;
}

INLINE void sk_count(const struct sk_choice *c, int r)
{
	__u32 svc = c->svc_idx, be = c->be_idx;
	struct xb_svc_st *s = bpf_map_lookup_elem(&svc_st, &svc);
	if (s && !r)
		s->conns++;
	else if (s && r == -DROP_NO_ENDPOINT)
		s->no_endpoint++;
	struct xb_be_st *b = r ? 0 : bpf_map_lookup_elem(&be_st, &be);
	if (b)
		b->conns++;
}

/* 1 = not a service; 0 = the row is found. */
INLINE int sk_service(struct sk_choice *c, const struct sk_addr *d)
{
	struct xb_fe fe;
	if (!sk_fe_find(d, &fe))
		return 1;
	c->svc_idx = fe.svc;
	c->kind = fe.kind;
	c->to.proto = d->proto;
	c->to.family = d->family;
	c->svc = bpf_map_lookup_elem(&svc_tab, &fe.svc);
	if (!c->svc || READ_ONCE(c->svc->gen) != fe.gen)
		return -DROP_STALE;
	/* Judged by the packet (tc_host): here the source address is not chosen yet, so neither
	 * source ranges nor a flow's hash can be; and flows are counted where they are tracked. */
	if (c->svc->flags & (SVC_HASH | SVC_LEAST))
		return 1;
	return fe.kind == FE_LB && (c->svc->flags & SVC_SRC_RANGE) ? 1 : 0;
}

#endif

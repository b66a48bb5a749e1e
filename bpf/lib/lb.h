/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Frontend -> service -> backend. Everything that must be consistent fits in one 64-bit word that
 * is read once; whatever that word names says itself whose it is (generation), because its slot may
 * have been given to another while we looked. */
#ifndef XEBEC_BPF_LB_H
#define XEBEC_BPF_LB_H

#include "lib/count.h"

struct choice {
	struct xb_svc *svc;
	__u32 svc_idx, be_idx;
	__u16 be_gen, kind;
	__u8 addr[ALEN] XB_A8;
	__u16 port;
};

INLINE bool fe_get(const struct fe_key *k, struct xb_fe *out)
{
	struct xb_fe *f = bpf_map_lookup_elem(&FAM(svc), k);
	if (!f)
		return false;
	*(__u64 *)out = READ_ONCE(*(__u64 *)f);
	return true;
}

INLINE bool is_local_ip(const void *addr)
{
	return addr_eq(addr, (const void *)NODE_IP) || bpf_map_lookup_elem(&FAM(lip), addr);
}

/* The service port behind a destination: its exact address first, else a node port on any address
 * of this node. */
INLINE bool fe_find(const struct tuple *t, struct xb_fe *out)
{
	struct fe_key k = {.port = t->dport, .proto = t->proto};
	addr_set(k.addr, t->daddr);
	if (fe_get(&k, out))
		return true;
	if (t->dport < cfg.np_lo || t->dport > cfg.np_hi || !is_local_ip(t->daddr))
		return false;
	addr_clear(k.addr);
	return fe_get(&k, out);
}

INLINE struct xb_svc *svc_row(__u32 i)
{
	return bpf_map_lookup_elem(&svc_tab, &i);
}

INLINE struct xb_be *be_row(__u32 i)
{
	return bpf_map_lookup_elem(&be_tab, &i);
}

INLINE void choice_take(struct choice *c, struct xb_be *b, __u32 idx, __u16 gen)
{
	c->be_idx = idx;
	c->be_gen = gen;
	addr_set(c->addr, b->addr);
	c->port = b->port;
}

/* The client's earlier backend, when affinity is on and it still takes new connections. */
INLINE bool affinity_get(struct choice *c, const struct xb_aff_key *k, __u32 now, bool local)
{
	struct xb_aff *a = bpf_map_lookup_elem(&aff, k);
	if (!a || a->svc_gen != c->svc->gen)
		return false;
	__u64 limit = ((__u64)c->svc->aff_secs * 1000000000ull) >> XB_TICK_SHIFT;
	if (now - a->last > limit)
		return false;
	struct xb_be *b = be_row(a->be);
	__u16 want = (__u16)(BE_READY | (local ? BE_LOCAL : 0));
	if (!b || b->gen != a->be_gen || b->svc != c->svc_idx || (b->flags & want) != want)
		return false;
	choice_take(c, b, a->be, a->be_gen);
	a->last = now;
	return true;
}

INLINE __u32 flow_hash(const struct tuple *t)
{
	__u32 h = addr_hash(t->saddr) * 0x9e3779b1u ^ addr_hash(t->daddr);
	h = (h ^ ((__u32)t->sport << 16 | t->dport)) * 0x85ebca6bu;
	h = (h ^ h >> 15 ^ t->proto) * 0xc2b2ae35u;
	return h ^ h >> 16;
}

/* The backend that a slot of lut names: 0, or -DROP_STALE when the rows changed meanwhile. */
INLINE int lut_take(struct choice *c, __u32 slot)
{
	struct xb_lut *l = bpf_map_lookup_elem(&lut, &slot);
	if (!l)
		return -DROP_STALE;
	struct xb_lut got;
	*(__u64 *)&got = READ_ONCE(*(__u64 *)l);
	struct xb_be *b = be_row(got.be);
	if (!b)
		return -DROP_STALE;
	choice_take(c, b, got.be, got.gen);
	/* The row is checked after its fields were read: it is given a new generation before it is
	 * filled for another backend. */
	if (READ_ONCE(b->gen) != got.gen || READ_ONCE(b->svc) != c->svc_idx)
		return -DROP_STALE;
	return 0;
}

/* Flows that the backend of a slot has open now. */
INLINE __u32 open_flows(__u32 slot)
{
	struct xb_lut *l = bpf_map_lookup_elem(&lut, &slot);
	if (!l)
		return 0;
	slot = l->be;
	struct xb_open *o = bpf_map_lookup_elem(&be_open, &slot);
	return o ? READ_ONCE(o->open) : 0;
}

/* A multiply instead of a division: r/2^32 of the run. */
INLINE __u32 sel_slot(__u64 sel, __u32 r)
{
	return xb_sel_base(sel) + (__u32)((__u64)r * xb_sel_count(sel) >> 32);
}

/* One try: 0, -DROP_STALE, -DROP_NO_ENDPOINT when there is none. */
INLINE int pick_once(struct choice *c, const struct tuple *t, bool local)
{
	__u64 sel = local ? READ_ONCE(c->svc->sel_local.word) : READ_ONCE(c->svc->sel_cluster.word);
	if (!xb_sel_count(sel))
		return -DROP_NO_ENDPOINT;
	__u32 r = c->svc->flags & SVC_HASH ? flow_hash(t) : bpf_get_prandom_u32();
	__u32 slot = sel_slot(sel, r);
	/* The better of two (Mitzenmacher 2001) is nearly as good as the best of all. */
	if (unlikely(c->svc->flags & SVC_LEAST)) {
		__u32 other = sel_slot(sel, bpf_get_prandom_u32());
		if (open_flows(other) < open_flows(slot))
			slot = other;
	}
	return lut_take(c, slot);
}

INLINE int pick(struct choice *c, const struct pkt *p, bool external, __u32 now)
{
	__u16 flags = c->svc->flags;
	bool local = c->kind == FE_CLUSTER ? flags & SVC_ITP_LOCAL
					   : (external && (flags & SVC_ETP_LOCAL));
	struct xb_aff_key k = {.svc = c->svc_idx};
	if (flags & SVC_AFFINITY) {
		addr_set(k.addr, p->t.saddr);
		if (affinity_get(c, &k, now, local))
			return 0;
	}
	int r = pick_once(c, &p->t, local);
	if (r == -DROP_STALE)
		r = pick_once(c, &p->t, local);
	if (r == -DROP_NO_ENDPOINT && local && xb_sel_count(READ_ONCE(c->svc->sel_cluster.word)))
		return -DROP_NO_LOCAL;
	if (r || !(flags & SVC_AFFINITY))
		return r;
	struct xb_aff a = {
		.be = c->be_idx, .be_gen = c->be_gen, .svc_gen = c->svc->gen, .last = now};
	bpf_map_update_elem(&aff, &k, &a, BPF_ANY);
	return 0;
}

INLINE bool src_allowed(const struct choice *c, const struct pkt *p)
{
	struct xb_srcr_key k = {.prefixlen = 32 + 8 * ALEN, .svc = c->svc_idx};
	addr_set(k.addr, p->t.saddr);
	return bpf_map_lookup_elem(&srcr, &k) != 0;
}

/* 1 = not a service; 0 = a backend was chosen; -DROP_x. */
INLINE int lb_choose(struct choice *c, const struct pkt *p, bool external, __u32 now)
{
	struct xb_fe fe;
	if (!fe_find(&p->t, &fe))
		return 1;
	c->svc_idx = fe.svc;
	c->kind = fe.kind;
	c->svc = svc_row(fe.svc);
	if (!c->svc || READ_ONCE(c->svc->gen) != fe.gen)
		return -DROP_STALE;
	if ((c->svc->flags & SVC_SRC_RANGE) && fe.kind == FE_LB && !src_allowed(c, p))
		return -DROP_SRC_RANGE;
	return pick(c, p, external, now);
}

#endif

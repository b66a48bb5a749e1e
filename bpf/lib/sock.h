/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Services chosen when a socket of the node connects or sends: no packet is touched later. One code
 * for both families: addresses are 16 bytes, IPv4 in the first four. What cannot be decided here
 * (no endpoint for datagrams, rows that change meanwhile) goes on untranslated and is decided by
 * tc_host, packet by packet. */
#ifndef XEBEC_BPF_SOCK_H
#define XEBEC_BPF_SOCK_H

#include "lib/maps.h"
#include "xebec/abi/sock.h"

#define SK_ALLOW 1 /* verdicts of the programs */
#define SK_DENY	 0

#define E_ADDRINUSE   98
#define E_CONNREFUSED 111

const volatile struct xb_sk_cfg sk_cfg;

MAP(skrev, LRU_HASH, 0, struct xb_sk_key, struct xb_sk_rev, 16384);
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct xb_sk_peer);
} sk_peer SEC(".maps");

struct sk_addr {
	__u8 a[16] __attribute__((aligned(8)));
	__u16 port;
	__u8 proto, family;
};

struct sk_choice {
	struct sk_addr to;
	struct xb_svc *svc;
	__u32 svc_idx, be_idx;
	__u16 be_gen, kind;
};

INLINE __u64 *words(void *addr)
{
	return addr;
}

INLINE const __u64 *cwords(const void *addr)
{
	return addr;
}

INLINE void addr16_set(void *dst, const void *src)
{
	words(dst)[0] = cwords(src)[0];
	words(dst)[1] = cwords(src)[1];
}

INLINE bool addr16_eq(const void *a, const void *b)
{
	return cwords(a)[0] == cwords(b)[0] && cwords(a)[1] == cwords(b)[1];
}

/* ------------------------------------------------------------------ frontends */

INLINE bool sk_fe_get4(__u32 addr, const struct sk_addr *d, struct xb_fe *out)
{
	struct xb4_fe_key k = {.port = d->port, .proto = d->proto};
	*(__u32 *)k.addr = addr;
	struct xb_fe *f = bpf_map_lookup_elem(&svc4, &k);
	if (!f)
		return false;
	*(__u64 *)out = READ_ONCE(*(__u64 *)f);
	return true;
}

INLINE bool sk_local4(__u32 a)
{
	if ((a & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000))
		return sk_cfg.loopback_ports;
	return a == cfg.node_ip4 || bpf_map_lookup_elem(&lip4, &a);
}

/* The exact address first, else a node port on any address of this node. */
INLINE bool sk_fe_find(const struct sk_addr *d, struct xb_fe *out)
{
	__u32 a = *(const __u32 *)d->a;
	if (d->family != 4)
		return false;
	if (sk_fe_get4(a, d, out))
		return true;
	if (d->port < cfg.np_lo || d->port > cfg.np_hi || !sk_local4(a))
		return false;
	return sk_fe_get4(0, d, out);
}

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
	*(__u32 *)k->addr = cfg.node_ip4;
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
	/* Source ranges are judged by the packet: here the source address is not chosen yet. */
	return fe.kind == FE_LB && (c->svc->flags & SVC_SRC_RANGE) ? 1 : 0;
}

/* ------------------------------------------------------------------ connected sockets */

INLINE int refuse(int err)
{
	(void)bpf_set_retval(-err);
	return SK_DENY;
}

/* The socket's note of whom it was translated to: made, renewed, or emptied when the socket now
 * connects to something else. */
INLINE bool peer_note(struct bpf_sock *sk, const struct sk_addr *d, const struct sk_choice *c)
{
	struct xb_sk_peer *p =
		bpf_sk_storage_get(&sk_peer, sk, 0, c ? BPF_SK_STORAGE_GET_F_CREATE : 0);
	if (!p)
		return !c;
	p->family = 0;
	if (!c)
		return true;
	addr16_set(p->vip, d->a);
	p->vip_port = d->port;
	addr16_set(p->be_addr, c->to.a);
	p->be_port = c->to.port;
	p->svc = c->svc_idx;
	p->be = c->be_idx;
	p->be_gen = c->be_gen;
	p->proto = d->proto;
	p->family = d->family;
	return true;
}

/* 1 = connect to c->to instead; 0 = as it is; < 0: refuse. */
INLINE int sk_connect(struct bpf_sock *sk, const struct sk_addr *d, struct sk_choice *c)
{
	int r = sk_service(c, d);
	if (!r)
		r = sk_pick(c, now_tick());
	if (r == 1 || !sk) {
		if (sk)
			peer_note(sk, d, 0);
		return 0;
	}
	/* Datagrams are let out: endpoints may come while the socket lives. */
	if (r == -DROP_NO_ENDPOINT && d->proto == IPPROTO_TCP) {
		sk_count(c, r);
		return -E_CONNREFUSED;
	}
	if (r || !peer_note(sk, d, c)) {
		peer_note(sk, d, 0);
		return 0;
	}
	sk_count(c, 0);
	return 1;
}

/* ------------------------------------------------------------------ datagrams without connect */

INLINE void rev_key(struct xb_sk_key *k, __u64 cookie, const struct sk_addr *d, __u8 dir)
{
	k->cookie = cookie;
	addr16_set(k->addr, d->a);
	k->port = d->port;
	k->family = d->family;
	k->dir = dir;
	k->pad = 0;
}

/* The backend of this socket's earlier datagrams to the same service, while it takes new ones: an
 * exchange of several datagrams meets one server, as it would with a connection tracker. */
INLINE bool sk_sticky(struct sk_choice *c, const struct xb_sk_key *fwd, __u32 now)
{
	struct xb_sk_rev *e = bpf_map_lookup_elem(&skrev, fwd);
	if (!e || e->svc != c->svc_idx || now - e->last > cfg.t_udp_est ||
		!sk_be_take(c, e->be, e->be_gen, BE_READY))
		return false;
	if (e->last != now)
		e->last = now;
	return true;
}

INLINE void sk_rev_put(__u64 cookie, const struct sk_addr *d, const struct sk_choice *c, __u32 now)
{
	struct xb_sk_key k;
	rev_key(&k, cookie, &c->to, SK_REV);
	struct xb_sk_rev *old = bpf_map_lookup_elem(&skrev, &k);
	if (old && old->port == d->port && addr16_eq(old->addr, d->a))
		return;
	struct xb_sk_rev e = {.port = d->port,
		.svc = c->svc_idx,
		.be = c->be_idx,
		.be_gen = c->be_gen,
		.last = now};
	addr16_set(e.addr, d->a);
	bpf_map_update_elem(&skrev, &k, &e, BPF_ANY);
}

/* 1 = send to c->to instead; 0 = as it is. */
INLINE int sk_send(__u64 cookie, const struct sk_addr *d, struct sk_choice *c)
{
	struct xb_sk_key fwd;
	__u32 now = now_tick();
	if (sk_service(c, d))
		return 0;
	rev_key(&fwd, cookie, d, SK_FWD);
	if (!sk_sticky(c, &fwd, now)) {
		int r = sk_pick(c, now);
		if (r)
			return 0;
		struct xb_sk_rev e = {.port = c->to.port,
			.svc = c->svc_idx,
			.be = c->be_idx,
			.be_gen = c->be_gen,
			.last = now};
		addr16_set(e.addr, c->to.a);
		if (bpf_map_update_elem(&skrev, &fwd, &e, BPF_ANY))
			return 0;
		sk_count(c, 0);
	}
	sk_rev_put(cookie, d, c, now);
	return 1;
}

/* ------------------------------------------------------------------ back again */

/* Whom the application knows the sender under: true = *d was changed. */
INLINE bool sk_peer_name(struct bpf_sock *sk, struct sk_addr *d)
{
	struct xb_sk_peer *p = bpf_sk_storage_get(&sk_peer, sk, 0, 0);
	if (!p || p->family != d->family || p->be_port != d->port || !addr16_eq(p->be_addr, d->a))
		return false;
	addr16_set(d->a, p->vip);
	d->port = p->vip_port;
	return true;
}

INLINE bool sk_sender_name(__u64 cookie, struct sk_addr *d)
{
	struct xb_sk_key k;
	rev_key(&k, cookie, d, SK_REV);
	struct xb_sk_rev *e = bpf_map_lookup_elem(&skrev, &k);
	if (!e)
		return false;
	addr16_set(d->a, e->addr);
	d->port = e->port;
	return true;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Services chosen when a socket of the node connects or sends: no packet is touched later. One code
 * for both families: addresses are 16 bytes, IPv4 in the first four. What cannot be decided here
 * (no endpoint for datagrams, rows that change meanwhile) goes on untranslated and is decided by
 * tc_host, packet by packet. */
#ifndef XEBEC_BPF_SOCK_H
#define XEBEC_BPF_SOCK_H

#include "lib/sockpick.h"

#define SK_ALLOW 1 /* verdicts of the programs */
#define SK_DENY	 0

#define E_ADDRINUSE   98
#define E_CONNREFUSED 111

MAP(skrev, LRU_HASH, 0, struct xb_sk_key, struct xb_sk_rev, 16384);
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct xb_sk_peer);
} sk_peer SEC(".maps");

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

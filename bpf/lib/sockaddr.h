/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Between the kernel's socket contexts and struct sk_addr. */
#ifndef XEBEC_BPF_SOCKADDR_H
#define XEBEC_BPF_SOCKADDR_H

#include "lib/sock.h"

#define PROTO_MPTCP 262
#define AF_INET6    10

/* Only the node's own namespace: pods under the same cgroup, and other machines' worth of
 * namespaces, keep what they asked for. */
INLINE bool sk_ours(struct bpf_sock_addr *ctx)
{
	return sk_cfg.netns_cookie && bpf_get_netns_cookie(ctx) == sk_cfg.netns_cookie;
}

INLINE __u8 sk_proto(__u32 protocol)
{
	if (protocol == IPPROTO_TCP || protocol == PROTO_MPTCP)
		return IPPROTO_TCP;
	return protocol == IPPROTO_UDP ? IPPROTO_UDP : 0;
}

/* Every field of the context is read once, at the top: clang 14 merges reads into an address that
 * the verifier refuses. false = a protocol that services do not have. */
INLINE bool sk_read4(struct bpf_sock_addr *ctx, struct sk_addr *d)
{
	__u32 ip = READ_ONCE(ctx->user_ip4), port = READ_ONCE(ctx->user_port);
	*(__u32 *)d->a = ip;
	d->port = bpf_ntohs((__u16)port);
	d->family = 4;
	d->proto = sk_proto(READ_ONCE(ctx->protocol));
	return d->proto != 0;
}

INLINE void sk_write4(struct bpf_sock_addr *ctx, const struct sk_addr *to)
{
	WRITE_ONCE(ctx->user_ip4, *(const __u32 *)to->a);
	WRITE_ONCE(ctx->user_port, bpf_htons(to->port));
}

/* ::ffff:a.b.c.d is IPv4 (RFC 4291 2.5.5.2). */
INLINE bool sk_read6(struct bpf_sock_addr *ctx, struct sk_addr *d)
{
	__u32 a0 = READ_ONCE(ctx->user_ip6[0]), a1 = READ_ONCE(ctx->user_ip6[1]);
	__u32 a2 = READ_ONCE(ctx->user_ip6[2]), a3 = READ_ONCE(ctx->user_ip6[3]);
	__u32 *out = (__u32 *)d->a, port = READ_ONCE(ctx->user_port);
	bool mapped = !a0 && !a1 && a2 == bpf_htonl(0xffff);
	out[0] = mapped ? a3 : a0;
	out[1] = mapped ? 0 : a1;
	out[2] = mapped ? 0 : a2;
	out[3] = mapped ? 0 : a3;
	d->family = mapped ? 4 : 6;
	d->port = bpf_ntohs((__u16)port);
	d->proto = sk_proto(READ_ONCE(ctx->protocol));
	return d->proto != 0;
}

INLINE void sk_write6(struct bpf_sock_addr *ctx, const struct sk_addr *to)
{
	const __u32 *a = (const __u32 *)to->a;
	bool mapped = to->family == 4;
	WRITE_ONCE(ctx->user_ip6[0], mapped ? 0 : a[0]);
	WRITE_ONCE(ctx->user_ip6[1], mapped ? 0 : a[1]);
	WRITE_ONCE(ctx->user_ip6[2], mapped ? bpf_htonl(0xffff) : a[2]);
	WRITE_ONCE(ctx->user_ip6[3], mapped ? a[0] : a[3]);
	WRITE_ONCE(ctx->user_port, bpf_htons(to->port));
}

INLINE bool sk_sender(struct bpf_sock_addr *ctx, struct sk_addr *d)
{
	struct bpf_sock *sk = ctx->sk;
	if (sk && sk_peer_name(sk, d))
		return true;
	return sk_sender_name(bpf_get_socket_cookie(ctx), d);
}

/* May this socket have the port that it was bound to? */
INLINE bool sk_bind(struct bpf_sock *sk)
{
	struct xb_fe fe;
	__u32 port = READ_ONCE(sk->src_port);
	struct sk_addr d = {.port = (__u16)port, .family = 4};
	d.proto = sk_proto(READ_ONCE(sk->protocol));
	if (port < cfg.np_lo || port > cfg.np_hi || !d.proto)
		return true;
	if (!sk_cfg.netns_cookie || bpf_get_netns_cookie(sk) != sk_cfg.netns_cookie)
		return true;
	/* A socket of IPv6 takes the port of IPv4 too, unless it is told not to: not to be seen
	 * here. */
	if (!sk_fe_get4(0, &d, &fe) &&
		(READ_ONCE(sk->family) != AF_INET6 || !sk_port_get6(&d, &fe)))
		return true;
	count_n(CNT_BIND_REFUSED, 0);
	return false;
}

INLINE bool peer_is_gone(const struct xb_sk_peer *p)
{
	__u32 be = p->be;
	struct xb_be *b = p->family ? bpf_map_lookup_elem(&be_tab, &be) : 0;
	return b && READ_ONCE(b->gen) != p->be_gen;
}

INLINE bool peer_wants_reset(const struct xb_sk_peer *p)
{
	__u32 svc = p->svc;
	struct xb_svc *s = bpf_map_lookup_elem(&svc_tab, &svc);
	return s && (s->flags & SVC_RESET);
}

#endif

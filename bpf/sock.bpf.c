/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Sockets of the node's own processes: at a cgroup, before a packet exists. An object of its own:
 * where a kernel refuses it, tc_host does the same work packet by packet. docs/dataplane.md. */
#define XEBEC_MAPS_HERE
#include "lib/sock.h"
#include "lib/sockaddr.h"

char _license[] SEC("license") = "Dual BSD/GPL";

/* ------------------------------------------------------------------ IPv4 */

SEC("cgroup/connect4")
int sk_connect4(struct bpf_sock_addr *ctx)
{
	struct sk_addr d = {};
	struct sk_choice c = {};
	if (!sk_ours(ctx) || !sk_read4(ctx, &d))
		return SK_ALLOW;
	int r = sk_connect(ctx->sk, &d, &c);
	if (r < 0)
		return refuse(-r);
	if (r)
		sk_write4(ctx, &c.to);
	return SK_ALLOW;
}

SEC("cgroup/sendmsg4")
int sk_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct sk_addr d = {};
	struct sk_choice c = {};
	if (sk_ours(ctx) && sk_read4(ctx, &d) && sk_send(bpf_get_socket_cookie(ctx), &d, &c))
		sk_write4(ctx, &c.to);
	return SK_ALLOW;
}

SEC("cgroup/recvmsg4")
int sk_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct sk_addr d = {};
	if (sk_ours(ctx) && sk_read4(ctx, &d) && sk_sender(ctx, &d))
		sk_write4(ctx, &d);
	return SK_ALLOW;
}

SEC("cgroup/getpeername4")
int sk_peername4(struct bpf_sock_addr *ctx)
{
	struct sk_addr d = {};
	struct bpf_sock *sk = ctx->sk;
	if (sk && sk_ours(ctx) && sk_read4(ctx, &d) && sk_peer_name(sk, &d))
		sk_write4(ctx, &d);
	return SK_ALLOW;
}

/* ------------------------------------------------------------------ IPv6, and IPv4 inside it */

SEC("cgroup/connect6")
int sk_connect6(struct bpf_sock_addr *ctx)
{
	struct sk_addr d = {};
	struct sk_choice c = {};
	if (!sk_ours(ctx) || !sk_read6(ctx, &d))
		return SK_ALLOW;
	int r = sk_connect(ctx->sk, &d, &c);
	if (r < 0)
		return refuse(-r);
	if (r)
		sk_write6(ctx, &c.to);
	return SK_ALLOW;
}

SEC("cgroup/sendmsg6")
int sk_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct sk_addr d = {};
	struct sk_choice c = {};
	if (sk_ours(ctx) && sk_read6(ctx, &d) && sk_send(bpf_get_socket_cookie(ctx), &d, &c))
		sk_write6(ctx, &c.to);
	return SK_ALLOW;
}

SEC("cgroup/recvmsg6")
int sk_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct sk_addr d = {};
	if (sk_ours(ctx) && sk_read6(ctx, &d) && sk_sender(ctx, &d))
		sk_write6(ctx, &d);
	return SK_ALLOW;
}

SEC("cgroup/getpeername6")
int sk_peername6(struct bpf_sock_addr *ctx)
{
	struct sk_addr d = {};
	struct bpf_sock *sk = ctx->sk;
	if (sk && sk_ours(ctx) && sk_read6(ctx, &d) && sk_peer_name(sk, &d))
		sk_write6(ctx, &d);
	return SK_ALLOW;
}

/* ------------------------------------------------------------------ node ports are taken */

/* A socket of the node on a node port would never see a packet: bind() fails as it would where
 * somebody holds the port. */
SEC("cgroup/post_bind4")
int sk_bind4(struct bpf_sock *sk)
{
	return sk_bind(sk) ? SK_ALLOW : refuse(E_ADDRINUSE);
}

SEC("cgroup/post_bind6")
int sk_bind6(struct bpf_sock *sk)
{
	return sk_bind(sk) ? SK_ALLOW : refuse(E_ADDRINUSE);
}

/* ------------------------------------------------------------------ vanished backends */

struct bpf_iter_meta;
struct udp_sock;
struct sock_common { /* libbpf wants a whole type; no field is read */
	int unused;
};
struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
	__u64 uid, bucket;
};
struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
	__u64 uid;
};
extern int bpf_sock_destroy(struct sock_common *sk) __ksym __weak; /* linux 6.5 */

/* A connected datagram socket would send into the void for ever: its owner gets ECONNABORTED and
 * connects anew. Sees the sockets of the namespace in which its file was opened. */
SEC("iter/udp")
int sk_kill_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *sk = ctx->udp_sk;
	struct xb_sk_peer *p = sk ? bpf_sk_storage_get(&sk_peer, sk, 0, 0) : 0;
	if (p && peer_is_gone(p) && !bpf_sock_destroy((struct sock_common *)sk))
		count_n(CNT_SOCK_KILL, 0);
	return 0;
}

/* TCP: only where the service says that connections to vanished backends are reset. */
SEC("iter/tcp")
int sk_kill_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	struct xb_sk_peer *p = sk ? bpf_sk_storage_get(&sk_peer, sk, 0, 0) : 0;
	if (p && peer_is_gone(p) && peer_wants_reset(p) && !bpf_sock_destroy(sk))
		count_n(CNT_SOCK_KILL, 0);
	return 0;
}

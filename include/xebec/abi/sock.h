/* SPDX-License-Identifier: Apache-2.0
 * What the socket programs (bpf/sock.bpf.c) and dataplane/sock.c share: who a translated socket of
 * the node itself believes to speak with. */
#ifndef XEBEC_ABI_SOCK_H
#define XEBEC_ABI_SOCK_H

#include <linux/types.h>

/* IPv4 in the first four bytes, the rest zero; port in host order. */
struct xb_sk_peer { /* `sk_peer`: of a connected socket, lives as long as it does */
	__u8 vip[16] __attribute__((aligned(8)));
	__u8 be_addr[16];
	__u32 svc, be;
	__u16 vip_port, be_port;
	__u16 be_gen;
	__u8 family; /* 4 or 6: of the addresses, not of the socket; 0 = not translated */
	__u8 proto;
};
_Static_assert(sizeof(struct xb_sk_peer) == 48, "sk_peer");

/* `skrev`: sockets that send without connecting. Two entries a (socket, service): which backend its
 * datagrams go to, and which service an answer of that backend comes from. */
enum xb_sk_dir { SK_FWD, SK_REV };
struct xb_sk_key {
	__u64 cookie;
	__u8 addr[16]; /* SK_FWD: the service's, SK_REV: the backend's */
	__u16 port;
	__u8 dir, family;
	__u32 pad;
};
struct xb_sk_rev {
	__u8 addr[16] __attribute__((aligned(8)));
	__u32 svc, be;
	__u16 port, be_gen;
	__u32 last; /* tick */
};
_Static_assert(sizeof(struct xb_sk_key) == 32 && sizeof(struct xb_sk_rev) == 32, "skrev");

struct xb_sk_cfg {	      /* in .rodata beside xb_cfg */
	__u64 netns_cookie;   /* the node's network namespace: sockets of others are left alone */
	__u32 loopback_ports; /* node ports answer on loopback addresses too */
	__u32 pad;
};

#endif

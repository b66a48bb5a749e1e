/* SPDX-License-Identifier: Apache-2.0
 * Tracked flows: keys and values of ct4, ctn4 (and their IPv6 kin). */
#ifndef XEBEC_ABI_FLOW_H
#define XEBEC_ABI_FLOW_H

#include <linux/types.h>

#define XB_A4	      __attribute__((aligned(4)))
#define XB_A8	      __attribute__((aligned(8)))
#define XB_TICK_SHIFT 30 /* times in entries: CLOCK_MONOTONIC ns >> 30, about 1.07 s */

/* A flow as one packet shows it. Also the key of ct and ctn. proto: IPPROTO_*. */
struct xb4_tuple {
	__u8 saddr[4] XB_A4;
	__u8 daddr[4] XB_A4;
	__u16 sport, dport;
	__u8 proto, pad[3];
};
struct xb6_tuple {
	__u8 saddr[16] XB_A8;
	__u8 daddr[16] XB_A8;
	__u16 sport, dport;
	__u8 proto, pad[3];
};
_Static_assert(sizeof(struct xb4_tuple) == 16 && sizeof(struct xb6_tuple) == 40, "tuple");

enum xb_ct_flag {
	CT_REV = 1 << 0,       /* entry of the reply direction */
	CT_SEEN = 1 << 1,      /* a packet came in this direction (set on reply entries) */
	CT_FIN = 1 << 2,       /* FIN seen in this direction */
	CT_RST = 1 << 3,       /* RST seen in this direction */
	CT_SNAT = 1 << 4,      /* the source was translated too */
	CT_HAIRPIN = 1 << 5,   /* client and backend are one pod */
	CT_TO_HOST = 1 << 6,   /* reply goes to a socket of the node itself */
	CT_HALF = 1 << 7,      /* SYN only or one-way: lives in ctn */
	CT_EXTERNAL = 1 << 8,  /* entered through the uplink */
	CT_KEEP_PORT = 1 << 9, /* the source port may lie outside of the range for translation */
	CT_COUNTED = 1 << 14,  /* one of its backend's open flows (be_open) */
};

/* One direction of a tracked flow: the tuple that the packet gets. The other direction's key is
 * `to` reversed. 16 + 48 bytes = a cache line. */
struct xb4_ct {
	struct xb4_tuple to;
	__u32 last;    /* tick of the last packet */
	__u32 created; /* tick */
	__u32 svc;     /* svc_tab index */
	__u32 be;      /* be_tab index */
	__u16 be_gen;
	__u16 flags;
	__u32 iif; /* where packets of this direction must come in; 0 = anywhere */
	__u32 rsv[2];
};
struct xb6_ct {
	struct xb6_tuple to;
	__u32 last, created, svc, be;
	__u16 be_gen, flags;
	__u32 iif;
	__u32 rsv[2];
};
_Static_assert(sizeof(struct xb4_ct) == 48 && sizeof(struct xb6_ct) == 72, "ct");

#endif

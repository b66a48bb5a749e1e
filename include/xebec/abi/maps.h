/* SPDX-License-Identifier: Apache-2.0
 * What bpf/ and dataplane/ share: keys and values of every pinned map, options of the programs.
 * Addresses are byte arrays in network order and ports numbers in host order, so that
 * `bpftool map dump` reads as written. Every struct has explicit padding and a fixed size; a change
 * of layout raises XB_SCHEMA. docs/dataplane.md explains each map. */
#ifndef XEBEC_ABI_MAPS_H
#define XEBEC_ABI_MAPS_H

#include <linux/types.h>
#include "xebec/abi/flow.h"
#include "xebec/abi/net.h"
#include "xebec/abi/stat.h"

#define XB_SCHEMA 3

/* Frontends: where clients connect. Node ports have the address 0 and match on every local one. */
struct xb4_fe_key {
	__u8 addr[4] XB_A4;
	__u16 port;
	__u8 proto, pad;
};
struct xb6_fe_key {
	__u8 addr[16] XB_A8;
	__u16 port;
	__u8 proto, pad;
	__u32 rsv;
};
enum xb_fe_kind { FE_CLUSTER = 1, FE_NODEPORT, FE_EXTERNAL, FE_LB };
struct xb_fe {	   /* read as one 64-bit word */
	__u32 svc; /* svc_tab index */
	__u16 gen; /* must equal the row's */
	__u16 kind;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct xb4_fe_key) == 8 && sizeof(struct xb_fe) == 8, "fe");
_Static_assert(sizeof(struct xb6_fe_key) == 24, "fe6");

enum xb_svc_flag {
	SVC_ETP_LOCAL = 1 << 0,
	SVC_ITP_LOCAL = 1 << 1,
	SVC_AFFINITY = 1 << 2,
	SVC_HASH = 1 << 3, /* pick by flow hash (Maglev table) instead of at random */
	SVC_SRC_RANGE = 1 << 4,
	SVC_LEAST = 1 << 8,  /* of two random choices the one with fewer open flows */
	SVC_RESET = 1 << 12, /* connections to vanished backends are reset, not left to finish */
};

/* Names a run of `lut`. Written and read as one word: base | count << 32 | version << 48. */
union xb_sel {
	struct xb_run {
		__u32 base;
		__u16 count, version;
	} run;
	__u64 word;
};

/* A port of a Service. */
struct xb_svc {
	union xb_sel
		sel_cluster; /* endpoints anywhere: ready ones, else terminating but serving ones */
	union xb_sel sel_local; /* the same, on this node only */
	union xb_sel sel_rsv;
	__u32 id; /* unique in the life of the maps */
	__u16 gen;
	__u16 flags;
	__u32 aff_secs;
	__u16 port;
	__u8 proto, family;
	__u32 rsv[6];
};
_Static_assert(sizeof(struct xb_svc) == 64, "svc");

static inline __u64 xb_sel(__u32 base, __u16 count, __u16 version)
{
	return (__u64)base | (__u64)count << 32 | (__u64)version << 48;
}
static inline __u32 xb_sel_base(__u64 s)
{
	return (__u32)s;
}
static inline __u32 xb_sel_count(__u64 s)
{
	return (__u32)(s >> 32) & 0xffff;
}

struct xb_lut { /* one choice: a backend, with the generation that it must still have */
	__u32 be;
	__u16 gen;
	__u16 rsv;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct xb_lut) == 8, "lut");

enum xb_be_flag {
	BE_READY = 1 << 0, /* may get new connections (also by affinity) */
	BE_LOCAL = 1 << 1, /* on this node */
	BE_TERM = 1 << 2,
	BE_QUARANTINE = 1 << 3,
	BE_V6 = 1 << 4,
	BE_USED = 1 << 15, /* the row is somebody's: found again after a restart */
};
struct xb_be { /* rows are stable while the endpoint lives; addr: IPv4 in the first four bytes */
	__u8 addr[16] XB_A8;
	__u16 port;
	__u16 gen;
	__u32 svc;
	__u16 flags;
	__u16 weight;
	__u32 rsv;
};
_Static_assert(sizeof(struct xb_be) == 32, "be");

/* be_open, by backend: flows that are open now, of services that choose by it. Counted up by new
 * flows and down by their ends; every sweep counts anew in `seen`, so nothing drifts. */
struct xb_open {
	__u32 open, seen;
};

struct xb_ep {
	__u32 ifindex; /* host side of its veth */
	__u8 mac[6];   /* pod side */
	__u8 smac[6];  /* host side */
	__u32 identity;
	__u32 flags;
	__u8 addr[4] XB_A4; /* the key again: for ep_tab */
	__u32 rsv;
};
_Static_assert(sizeof(struct xb_ep) == 32, "ep");
struct xb6_addr { /* key of ep6 and lip6 */
	__u8 addr[16] XB_A8;
};
struct xb6_ep {
	__u32 ifindex;
	__u8 mac[6], smac[6];
	__u32 identity;
	__u32 flags;
	__u8 addr[16] XB_A8;
	__u32 rsv[2];
};
_Static_assert(sizeof(struct xb6_ep) == 48, "ep6");
/* ep_tab4 holds the same rows where the low bits of the address say: a look-up without hashing.
 * A row is valid while its address is set; whose row it is not is found in ep4. The same for
 * ep_tab6. */
#define XB_EP_TAB 4096

struct xb_aff_key {
	__u8 addr[16] XB_A8;
	__u32 svc, rsv;
};
struct xb_aff {
	__u32 be;
	__u16 be_gen, svc_gen;
	__u32 last; /* tick */
	__u32 rsv;
};

struct xb4_frag_key {
	__u8 saddr[4] XB_A4;
	__u8 daddr[4] XB_A4;
	__u32 id; /* 16 bits in IPv4 */
	__u8 proto, pad[3];
};
struct xb6_frag_key {
	__u8 saddr[16] XB_A8;
	__u8 daddr[16] XB_A8;
	__u32 id;
	__u8 proto, pad[3];
};
struct xb_frag {
	__u16 sport, dport;
	__u32 last;
};

struct xb_srcr_key { /* LPM: the service index is matched whole */
	__u32 prefixlen;
	__u32 svc;
	__u8 addr[16] XB_A8;
};

#endif

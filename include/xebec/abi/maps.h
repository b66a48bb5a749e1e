/* SPDX-License-Identifier: Apache-2.0
 * What bpf/ and dataplane/ share: keys and values of every pinned map, options of the programs.
 * Addresses are byte arrays in network order and ports numbers in host order, so that
 * `bpftool map dump` reads as written. Every struct has explicit padding and a fixed size; a change
 * of layout raises XB_SCHEMA. docs/dataplane.md explains each map. */
#ifndef XEBEC_ABI_MAPS_H
#define XEBEC_ABI_MAPS_H

#include <linux/types.h>
#include "xebec/abi/flow.h"
#include "xebec/abi/stat.h"

#define XB_SCHEMA 2

/* Frontends: where clients connect. Node ports have the address 0 and match on every local one. */
struct xb4_fe_key {
	__u8 addr[4] XB_A4;
	__u16 port;
	__u8 proto, pad;
};
struct xb6_fe_key {
	__u8 addr[16] XB_A4;
	__u16 port;
	__u8 proto, pad;
};
enum xb_fe_kind { FE_CLUSTER = 1, FE_NODEPORT, FE_EXTERNAL, FE_LB };
struct xb_fe {	   /* read as one 64-bit word */
	__u32 svc; /* svc_tab index */
	__u16 gen; /* must equal the row's */
	__u16 kind;
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct xb4_fe_key) == 8 && sizeof(struct xb_fe) == 8, "fe");

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
	__u8 addr[16] XB_A4;
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
/* ep_tab holds the same rows where the low bits of the address say: a look-up without hashing.
 * A row is valid while its address is set; whose row it is not is found in ep4. */
#define XB_EP_TAB 4096

/* Networks that this node knows (ipc4, ipc6: longest prefix wins). */
enum xb_net_flag {
	NET_PODS = 1 << 0,    /* pods of a node */
	NET_NODE = 1 << 1,    /* a node itself */
	NET_VXLAN = 1 << 2,   /* not on our L2: pods' packets go there in VXLAN */
	NET_NO_MASQ = 1 << 3, /* pods go there under their own addresses */
};
struct xb4_net_key {
	__u32 prefixlen;
	__u8 addr[4] XB_A4;
};
struct xb6_net_key {
	__u32 prefixlen;
	__u8 addr[16] XB_A4;
};
struct xb_net {
	__u8 node[16] XB_A4; /* the node's own address; IPv4 in the first four bytes */
	__u8 mac[6];	     /* of its xebec_vx0 */
	__u16 flags;
	__u32 identity; /* of its workloads; 0 = not known */
	__u32 rsv;
};
_Static_assert(sizeof(struct xb_net) == 32, "net");

/* Who may send us VXLAN, by outer source address. */
struct xb_node_key {
	__u8 addr[16] XB_A4;
};
struct xb_node {
	__u8 mac[6];
	__u16 flags;
	__u32 rsv[2];
};
_Static_assert(sizeof(struct xb_node) == 16, "node");

struct xb_aff_key {
	__u8 addr[16] XB_A4;
	__u32 svc;
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
	__u8 saddr[16] XB_A4;
	__u8 daddr[16] XB_A4;
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
	__u8 addr[16];
};

#endif

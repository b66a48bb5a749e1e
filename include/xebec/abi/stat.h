/* SPDX-License-Identifier: Apache-2.0
 * The other half of the interface between bpf/ and dataplane/: counters, drop reasons, samples, who
 * programmed what when, and the options of the programs. */
#ifndef XEBEC_ABI_STAT_H
#define XEBEC_ABI_STAT_H

#include <linux/types.h>
#include "xebec/abi/flow.h"

struct xb_be_st { /* per CPU, by backend */
	__u64 fwd_pkts, fwd_bytes, rev_pkts, rev_bytes;
	__u64 conns;
	__u64 resets;
};
struct xb_svc_st { /* per CPU, by service port */
	__u64 conns, no_endpoint, dropped, rsv;
};

enum xb_hook { HOOK_POD, HOOK_TO_POD, HOOK_NIC_IN, HOOK_NIC_OUT, HOOK_HOST, HOOK_VX, HOOK_MAX };

enum xb_drop {
	DROP_NONE,
#define DROP(name, text) DROP_##name,
#include "xebec/abi/drop.def"
#undef DROP
	DROP_MAX
};
#define XB_STATS 64 /* entries of `stat`: drop reasons first, then enum xb_count */
enum xb_count {
	CNT_FIRST = 40,
	CNT_REJECT_RST = CNT_FIRST,
	CNT_REJECT_ICMP,
	CNT_ICMP_ERR,
	CNT_PROMOTED,
	CNT_CT_FULL,
	CNT_SNAT,
	CNT_FRAG,
	CNT_REUSE,
	CNT_SOCK_KILL,
	CNT_BIND_REFUSED,
	CNT_VX_OUT,
	CNT_VX_IN,
	CNT_MASQ,
	CNT_XDP,
	CNT_MAX
};
struct xb_stat {
	__u64 pkts, bytes;
};

struct xb_ev { /* sampled drop */
	__u64 ns;
	__u32 reason, ifindex, hook, len;
	__u8 saddr[16] XB_A8, daddr[16] XB_A8;
	__u16 sport, dport;
	__u8 proto, family, pad[2];
};

struct xb_meta {
	__u32 schema, boot;
	__u64 started_ns;  /* CLOCK_REALTIME of the agent's last start */
	__u64 sync_seq;	   /* publishes since the maps were made */
	__u64 sync_ns;	   /* CLOCK_REALTIME of the last one */
	__u32 next_svc_id; /* ids already given out */
	__u32 vx_peers;	   /* nodes reached by VXLAN */
	__u32 rsv[8];
};
_Static_assert(sizeof(struct xb_meta) == 72, "meta");

#define XB_NAME_LEN 208
struct xb_svc_info { /* by service index: what people call it, and when it was last programmed */
	char name[XB_NAME_LEN]; /* "namespace/name:port/PROTO" */
	__u64 rv;		/* resourceVersion last programmed */
	__u64 programmed_ns;	/* CLOCK_REALTIME */
	__u32 latency_us;	/* from the watch event to the selector store */
	__u32 updates;
};

/* What ct_gc is given and gives back. */
struct xb_gc {
	__u32 checked, expired, stale, rsv;
};

enum xb_opt {
	OPT_FOREIGN_PODS = 1 << 0, /* another plugin connects the pods: no row of theirs in ep */
	OPT_MASQ = 1 << 1,	   /* pods go outside under the node's address */
	OPT_V6 = 1 << 2,	   /* the cluster speaks IPv6; else its packets are the stack's */
};
/* Options of the programs, in .rodata. */
struct xb_cfg {
	/* Addresses are in network order. A range without a mask matches nothing. */
	__u32 node_ip4;		   /* 0 = none */
	__u32 svc_net4, svc_mask4; /* service CIDR */
	__u32 pod_net4, pod_mask4; /* cluster CIDR */
	__u32 hairpin_ip4;
	__u64 node_ip6[2]; /* zero = none */
	__u64 svc_net6[2], svc_mask6[2];
	__u64 pod_net6[2], pod_mask6[2];
	__u64 hairpin_ip6[2];
	__u32 host_if; /* xebec0; 0 = none */
	__u8 host_mac[6];
	__u16 np_lo, np_hi;
	__u16 snat_lo, snat_hi;
	__u16 pad;
	__u32 t_syn, t_est, t_fin, t_close, t_udp, t_udp_est; /* ticks */
	__u32 sample_mask;	  /* a drop is reported when (random & mask) == 0 */
	__u32 n_svc, n_be, n_lut; /* sizes of the arrays, powers of two */
	__u32 opts;		  /* enum xb_opt */
	__u32 vx_if;		  /* xebec_vx0; 0 = none */
	__u32 vx_mtu;		  /* what fits through it */
	__u16 vx_port;
	__u8 vx_mac[6];
};

#endif

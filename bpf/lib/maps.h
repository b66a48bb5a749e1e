/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * The maps. Sizes here are defaults; the loader sets them from its configuration. Names and layouts
 * are an interface: see include/xebec/abi/maps.h and docs/dataplane.md. */
#ifndef XEBEC_BPF_MAPS_H
#define XEBEC_BPF_MAPS_H

#include "lib/common.h"

/* Maps and options live in xebec.bpf.c; the other files refer to them. */
#ifdef XEBEC_MAPS_HERE
#define SHARED
#else
#define SHARED extern
#endif

SHARED const volatile struct xb_cfg cfg;

#define MAP(name_, type_, flags_, key_, value_, max_)                                              \
	SHARED struct {                                                                            \
		__uint(type, BPF_MAP_TYPE_##type_);                                                \
		__uint(map_flags, flags_);                                                         \
		__uint(max_entries, max_);                                                         \
		__type(key, key_);                                                                 \
		__type(value, value_);                                                             \
	} name_ SEC(".maps")

MAP(svc4, HASH, BPF_F_NO_PREALLOC, struct xb4_fe_key, struct xb_fe, 65536);
MAP(svc_tab, ARRAY, BPF_F_MMAPABLE, __u32, struct xb_svc, 65536);
MAP(be_tab, ARRAY, BPF_F_MMAPABLE, __u32, struct xb_be, 65536);
MAP(lut, ARRAY, BPF_F_MMAPABLE, __u32, struct xb_lut, 131072);
MAP(be_open, ARRAY, BPF_F_MMAPABLE, __u32, struct xb_open, 65536);
MAP(svc_info, HASH, BPF_F_NO_PREALLOC, __u32, struct xb_svc_info, 65536);
MAP(ct4, HASH, BPF_F_NO_PREALLOC, struct xb4_tuple, struct xb4_ct, 262144);
MAP(ctn4, LRU_HASH, 0, struct xb4_tuple, struct xb4_ct, 32768);
MAP(aff, LRU_HASH, 0, struct xb_aff_key, struct xb_aff, 16384);
MAP(srcr, LPM_TRIE, BPF_F_NO_PREALLOC, struct xb_srcr_key, __u32, 16384);
MAP(ep4, HASH, 0, __u32, struct xb_ep, 1024);
MAP(ep_tab4, ARRAY, BPF_F_MMAPABLE, __u32, struct xb_ep, XB_EP_TAB);
MAP(lip4, HASH, 0, __u32, __u32, 256);
MAP(frag4, LRU_HASH, 0, struct xb4_frag_key, struct xb_frag, 4096);
MAP(ipc4, LPM_TRIE, BPF_F_NO_PREALLOC, struct xb4_net_key, struct xb_net, 16384);
MAP(svc6, HASH, BPF_F_NO_PREALLOC, struct xb6_fe_key, struct xb_fe, 65536);
MAP(ct6, HASH, BPF_F_NO_PREALLOC, struct xb6_tuple, struct xb6_ct, 262144);
MAP(ctn6, LRU_HASH, 0, struct xb6_tuple, struct xb6_ct, 32768);
MAP(ep6, HASH, 0, struct xb6_addr, struct xb6_ep, 1024);
MAP(ep_tab6, ARRAY, BPF_F_MMAPABLE, __u32, struct xb6_ep, XB_EP_TAB);
MAP(lip6, HASH, 0, struct xb6_addr, __u32, 256);
MAP(frag6, LRU_HASH, 0, struct xb6_frag_key, struct xb_frag, 4096);
MAP(ipc6, LPM_TRIE, BPF_F_NO_PREALLOC, struct xb6_net_key, struct xb_net, 16384);
MAP(node, HASH, BPF_F_NO_PREALLOC, struct xb_node_key, struct xb_node, 8192);
MAP(be_st, PERCPU_ARRAY, 0, __u32, struct xb_be_st, 65536);
MAP(svc_st, PERCPU_ARRAY, 0, __u32, struct xb_svc_st, 65536);
MAP(stat, PERCPU_ARRAY, 0, __u32, struct xb_stat, XB_STATS);
MAP(meta, ARRAY, BPF_F_MMAPABLE, __u32, struct xb_meta, 1);

SHARED struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} ev SEC(".maps");

INLINE void count_n(__u32 i, __u64 bytes)
{
	struct xb_stat *s = bpf_map_lookup_elem(&stat, &i);
	if (s) {
		s->pkts++;
		s->bytes += bytes;
	}
}

#endif

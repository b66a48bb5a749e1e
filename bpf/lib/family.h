/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * One source serves IPv4 and IPv6: it is compiled once for each, with FAMILY 4 or 6, and the
 * objects are linked (tools/mk/20-bpf.mk). What differs is here: types, address arithmetic, and
 * FAM(), which gives maps and global functions the name of their family. */
#ifndef XEBEC_BPF_FAMILY_H
#define XEBEC_BPF_FAMILY_H

#include "lib/maps.h"

#define FAM__(name, family) name##family
#define FAM_(name, family)  FAM__(name, family)
#define FAM(name)	    FAM_(name, FAMILY) /* FAM(ct) is ct4 or ct6 */

#define ALEN	 4
#define tuple	 xb4_tuple
#define ct_entry xb4_ct
#define fe_key	 xb4_fe_key
#define frag_key xb4_frag_key
#define net_key	 xb4_net_key

INLINE __u32 a32(const void *addr)
{
	return *(const __u32 *)addr;
}

INLINE bool is_loopback(const void *addr)
{
	return *(const __u8 *)addr == 127;
}

INLINE void addr_set(void *dst, const void *src)
{
	*(__u32 *)dst = *(const __u32 *)src;
}

INLINE bool addr_eq(const void *a, const void *b)
{
	return a32(a) == a32(b);
}

INLINE void tuple_reverse(struct tuple *out, const struct tuple *in)
{
	addr_set(out->saddr, in->daddr);
	addr_set(out->daddr, in->saddr);
	out->sport = in->dport;
	out->dport = in->sport;
	*(__u32 *)&out->proto = in->proto;
}

INLINE bool tuple_eq(const struct tuple *a, const struct tuple *b)
{
	return addr_eq(a->saddr, b->saddr) && addr_eq(a->daddr, b->daddr) && a->sport == b->sport &&
	       a->dport == b->dport && a->proto == b->proto;
}

INLINE bool svc_range(const void *addr)
{
	return cfg.svc_mask4 && (a32(addr) & cfg.svc_mask4) == cfg.svc_net4;
}

INLINE bool pod_range(const void *addr)
{
	return (a32(addr) & cfg.pod_mask4) == cfg.pod_net4;
}

#endif

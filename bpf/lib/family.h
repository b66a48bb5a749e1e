/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * One source serves IPv4 and IPv6: it is compiled once for each, with FAMILY 4 or 6, and the
 * objects are linked (tools/mk/20-bpf.mk). What differs is in v4.h and v6.h (addresses) and ip4.h
 * and ip6.h (headers), under the same names; FAM() gives maps and global functions the name of
 * their family. */
#ifndef XEBEC_BPF_FAMILY_H
#define XEBEC_BPF_FAMILY_H

#include "lib/maps.h"

#define FAM__(name, family) name##family
#define FAM_(name, family)  FAM__(name, family)
#define FAM(name)	    FAM_(name, FAMILY) /* FAM(ct) is ct4 or ct6 */

#if FAMILY == 4
#include "lib/v4.h"
#else
#include "lib/v6.h"
#endif

#define NODE_IP (&cfg.FAM(node_ip))

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

/* b is the other direction of a. */
INLINE bool tuple_mirrors(const struct tuple *a, const struct tuple *b)
{
	return addr_eq(a->saddr, b->daddr) && addr_eq(a->daddr, b->saddr) && a->sport == b->dport &&
	       a->dport == b->sport && a->proto == b->proto;
}

/* A range that is not configured has an empty mask: nothing is in it. */
INLINE bool svc_range(const void *addr)
{
	return addr_in(addr, (const void *)&cfg.FAM(svc_net), (const void *)&cfg.FAM(svc_mask));
}

INLINE bool pod_range(const void *addr)
{
	return addr_in(addr, (const void *)&cfg.FAM(pod_net), (const void *)&cfg.FAM(pod_mask));
}

#endif

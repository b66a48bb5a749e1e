/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Which service an address and port belong to that a socket of the node names, in both families. */
#ifndef XEBEC_BPF_SOCKFE_H
#define XEBEC_BPF_SOCKFE_H

#include "lib/maps.h"
#include "xebec/abi/sock.h"

const volatile struct xb_sk_cfg sk_cfg;

struct sk_addr {
	__u8 a[16] __attribute__((aligned(8)));
	__u16 port;
	__u8 proto, family;
};

INLINE __u64 *words(void *addr)
{
	return addr;
}

INLINE const __u64 *cwords(const void *addr)
{
	return addr;
}

INLINE void addr16_set(void *dst, const void *src)
{
	words(dst)[0] = cwords(src)[0];
	words(dst)[1] = cwords(src)[1];
}

INLINE bool addr16_eq(const void *a, const void *b)
{
	return cwords(a)[0] == cwords(b)[0] && cwords(a)[1] == cwords(b)[1];
}

INLINE bool sk_fe_get4(__u32 addr, const struct sk_addr *d, struct xb_fe *out)
{
	struct xb4_fe_key k = {.port = d->port, .proto = d->proto};
	*(__u32 *)k.addr = addr;
	struct xb_fe *f = bpf_map_lookup_elem(&svc4, &k);
	if (!f)
		return false;
	*(__u64 *)out = READ_ONCE(*(__u64 *)f);
	return true;
}

INLINE bool sk_fe_get6(const void *addr, const struct sk_addr *d, struct xb_fe *out)
{
	struct xb6_fe_key k = {.port = d->port, .proto = d->proto};
	addr16_set(k.addr, addr);
	struct xb_fe *f = bpf_map_lookup_elem(&svc6, &k);
	if (!f)
		return false;
	*(__u64 *)out = READ_ONCE(*(__u64 *)f);
	return true;
}

INLINE bool sk_local4(__u32 a)
{
	if ((a & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000))
		return sk_cfg.loopback_ports;
	return a == cfg.node_ip4 || bpf_map_lookup_elem(&lip4, &a);
}

INLINE bool sk_local6(const struct sk_addr *d)
{
	struct xb6_addr k;
	if (!cwords(d->a)[0] && cwords(d->a)[1] == bpf_cpu_to_be64(1))
		return sk_cfg.loopback_ports;
	addr16_set(k.addr, d->a);
	return bpf_map_lookup_elem(&lip6, &k);
}

/* Node ports have no address. */
INLINE bool sk_port_get6(const struct sk_addr *d, struct xb_fe *out)
{
	const struct xb6_addr any = {};
	return (cfg.opts & OPT_V6) && sk_fe_get6(any.addr, d, out);
}

INLINE bool sk_fe_find4(const struct sk_addr *d, bool port, struct xb_fe *out)
{
	__u32 a = *(const __u32 *)d->a;
	return sk_fe_get4(a, d, out) || (port && sk_local4(a) && sk_fe_get4(0, d, out));
}

INLINE bool sk_fe_find6(const struct sk_addr *d, bool port, struct xb_fe *out)
{
	return sk_fe_get6(d->a, d, out) || (port && sk_local6(d) && sk_port_get6(d, out));
}

/* The exact address first, else a node port on any address of this node. */
INLINE bool sk_fe_find(const struct sk_addr *d, struct xb_fe *out)
{
	bool port = d->port >= cfg.np_lo && d->port <= cfg.np_hi;
	if (d->family == 4)
		return sk_fe_find4(d, port, out);
	return (cfg.opts & OPT_V6) && sk_fe_find6(d, port, out);
}

#endif

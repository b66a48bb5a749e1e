/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Entries for a new flow: the pair of directions, with a source port that is free towards the
 * backend when the source is translated. */
#ifndef XEBEC_BPF_SNAT_H
#define XEBEC_BPF_SNAT_H

#include "lib/ct.h"

#define SNAT_TRIES 32

/* Claims the reply tuple: 0, -1 taken by a live flow. */
INLINE int ct_claim(const struct tuple *rev_key, const struct ct_entry *rev, __u32 now)
{
	struct ct_entry *old = bpf_map_lookup_elem(&FAM(ct), rev_key);
	if (old) {
		if (!ct_expired(old, rev_key->proto, now) && !ct_closed(rev_key, old) &&
			!tuple_eq(&old->to, &rev->to))
			return -1;
		struct tuple fwd;
		ct_peer_key(&fwd, old);
		if (ct_peer_in(&FAM(ct), rev_key, old))
			bpf_map_delete_elem(&FAM(ct), &fwd);
		bpf_map_delete_elem(&FAM(ct), rev_key);
	}
	if (!bpf_map_update_elem(&FAM(ctn), rev_key, rev, BPF_NOEXIST))
		return 0;
	old = bpf_map_lookup_elem(&FAM(ctn), rev_key);
	if (old && !ct_expired(old, rev_key->proto, now) && !tuple_eq(&old->to, &rev->to))
		return -1;
	return bpf_map_update_elem(&FAM(ctn), rev_key, rev, BPF_ANY) ? -1 : 0;
}

/* A reply to this port of the node would be taken for VXLAN. */
INLINE bool is_vxlan_port(const struct tuple *to)
{
	return to->proto == IPPROTO_UDP && to->sport == cfg.vx_port &&
	       a32(to->saddr) == cfg.node_ip4;
}

/* Finds a source port for fwd->to and claims its reply tuple. The client's own port first; then a
 * random start and a walk (RFC 6056 style). keep_addr: the source address stays, so any port of the
 * client will do. */
GLOBAL int FAM(ct_claim_port)(struct ct_entry *fwd, struct ct_entry *rev, __u32 now)
{
	struct tuple key;
	if (!fwd || !rev)
		return -DROP_SNAT_PORTS;
	__u32 lo = cfg.snat_lo, span = (__u32)cfg.snat_hi - lo + 1;
	__u32 port = fwd->to.sport, snat = fwd->flags & CT_SNAT;
	if (snat && (port < lo || port > cfg.snat_hi))
		port = lo + bpf_get_prandom_u32() % (span ?: 1);
	for (int i = 0; i < SNAT_TRIES; i++) {
		fwd->to.sport = (__u16)port;
		tuple_reverse(&key, &fwd->to);
		if (!is_vxlan_port(&fwd->to) && !ct_claim(&key, rev, now))
			return 0;
		port = i == 0 ? lo + bpf_get_prandom_u32() % (span ?: 1) : port + 1;
		if (port > cfg.snat_hi)
			port = lo;
	}
	return -DROP_SNAT_PORTS;
}

/* Makes the flow's entries: p->t -> fwd->to and back. On a race with another CPU the first wins and
 * *fwd becomes its entry. 0 or -DROP_x. */
INLINE int ct_create(
	const struct pkt *p, struct ct_entry *fwd, __u32 rev_iif, __u16 rev_flags, __u32 now)
{
	struct ct_entry rev = {
		.last = now,
		.created = now,
		.svc = fwd->svc,
		.be = fwd->be,
		.be_gen = fwd->be_gen,
		.flags = (__u16)(CT_REV | CT_HALF | rev_flags |
				 (fwd->flags & (CT_SNAT | CT_HAIRPIN | CT_EXTERNAL))),
		.iif = rev_iif,
	};
	tuple_reverse(&rev.to, &p->t);
	int r = FAM(ct_claim_port)(fwd, &rev, now);
	if (r)
		return r;
	if (!bpf_map_update_elem(&FAM(ctn), &p->t, fwd, BPF_NOEXIST))
		return 0;
	struct ct_entry *won = bpf_map_lookup_elem(&FAM(ctn), &p->t);
	if (won && !ct_expired(won, p->t.proto, now)) {
		struct tuple key;
		tuple_reverse(&key, &fwd->to);
		if (!tuple_eq(&won->to, &fwd->to))
			bpf_map_delete_elem(&FAM(ctn), &key);
		*fwd = *won;
		return 0;
	}
	return bpf_map_update_elem(&FAM(ctn), &p->t, fwd, BPF_ANY) ? -DROP_CT_FULL : 0;
}

#endif

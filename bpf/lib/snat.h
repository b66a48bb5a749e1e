/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * Entries for a new flow: the pair of directions, with a source port that is free towards the
 * backend when the source is translated. */
#ifndef XEBEC_BPF_SNAT_H
#define XEBEC_BPF_SNAT_H

#include "lib/ct.h"

#define SNAT_TRIES 32

/* Claims the reply tuple w->key for w->rev: 0, -1 taken by a live flow. Global, so that the loop
 * around it is verified without it. */
GLOBAL int FAM(ct_claim)(struct work *w, __u32 now)
{
	if (!w)
		return -1;
	const struct tuple *key = &w->key;
	struct ct_entry *old = bpf_map_lookup_elem(&FAM(ct), key);
	if (old) {
		if (!ct_expired(old, key->proto, now) && !ct_closed(key, old) &&
			!tuple_eq(&old->to, &w->rev.to))
			return -1;
		ct_peer_key(&w->peer, old);
		if (ct_peer_in(&FAM(ct), key, old))
			bpf_map_delete_elem(&FAM(ct), &w->peer);
		bpf_map_delete_elem(&FAM(ct), key);
	}
	if (!bpf_map_update_elem(&FAM(ctn), key, &w->rev, BPF_NOEXIST))
		return 0;
	old = bpf_map_lookup_elem(&FAM(ctn), key);
	if (old && !ct_expired(old, key->proto, now) && !tuple_eq(&old->to, &w->rev.to))
		return -1;
	return bpf_map_update_elem(&FAM(ctn), key, &w->rev, BPF_ANY) ? -1 : 0;
}

/* A reply to this port of the node would be taken for VXLAN. */
INLINE bool is_vxlan_port(const struct tuple *to)
{
	return to->proto == IPPROTO_UDP && to->sport == cfg.vx_port && is_underlay(to->saddr);
}

INLINE __u16 snat_port_any(void)
{
	__u32 span = (__u32)cfg.snat_hi - cfg.snat_lo + 1;
	return (__u16)(cfg.snat_lo + bpf_get_prandom_u32() % (span ?: 1));
}

/* Finds a source port for w->fwd.to and claims its reply tuple. The port that is there first; then
 * a random start and a walk (RFC 6056 style). SCTP keeps its port: its CRC covers it. */
GLOBAL int FAM(ct_claim_port)(struct work *w, __u32 now)
{
	if (!w)
		return -DROP_SNAT_PORTS;
	struct tuple *to = &w->fwd.to;
	__u32 lo = cfg.snat_lo, port = to->sport;
	bool fixed = to->proto == IPPROTO_SCTP;
	if ((w->fwd.flags & (CT_SNAT | CT_KEEP_PORT)) == CT_SNAT && !fixed &&
		(port < lo || port > cfg.snat_hi))
		port = snat_port_any();
	for (int i = 0; i < SNAT_TRIES; i++) {
		to->sport = (__u16)port;
		tuple_reverse(&w->key, to);
		if (!is_vxlan_port(to) && !FAM(ct_claim)(w, now))
			return 0;
		if (fixed)
			break;
		port = i == 0 ? snat_port_any() : port + 1;
		if (port > cfg.snat_hi)
			port = lo;
	}
	return -DROP_SNAT_PORTS;
}

/* Makes the flow's entries: p->t -> w->fwd.to and back, which must come in on w->rev.iif. On a race
 * with another CPU the first wins and w->fwd becomes its entry. 0 or -DROP_x. */
GLOBAL int FAM(ct_create)(const struct pkt *p, struct work *w, __u32 rev_flags)
{
	if (!p || !w)
		return -DROP_CT_FULL;
	struct ct_entry *fwd = &w->fwd;
	__u32 now = fwd->last;
	w->rev = (struct ct_entry){
		.last = now,
		.created = now,
		.svc = fwd->svc,
		.be = fwd->be,
		.be_gen = fwd->be_gen,
		.flags = (__u16)(CT_REV | CT_HALF | rev_flags |
				 (fwd->flags & (CT_SNAT | CT_HAIRPIN | CT_EXTERNAL))),
		.iif = w->rev.iif,
	};
	tuple_reverse(&w->rev.to, &p->t);
	int r = FAM(ct_claim_port)(w, now);
	if (r)
		return r;
	if (!bpf_map_update_elem(&FAM(ctn), &p->t, fwd, BPF_NOEXIST))
		return 0;
	struct ct_entry *won = bpf_map_lookup_elem(&FAM(ctn), &p->t);
	if (won && !ct_expired(won, p->t.proto, now)) {
		if (!tuple_eq(&won->to, &fwd->to)) {
			tuple_reverse(&w->key, &fwd->to);
			bpf_map_delete_elem(&FAM(ctn), &w->key);
		}
		*fwd = *won;
		return 0;
	}
	return bpf_map_update_elem(&FAM(ctn), &p->t, fwd, BPF_ANY) ? -DROP_CT_FULL : 0;
}

#endif

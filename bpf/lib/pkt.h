/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause OR GPL-2.0-only
 * A packet as the programs see it: parsed once, rewritten once. */
#ifndef XEBEC_BPF_PKT_H
#define XEBEC_BPF_PKT_H

#include "lib/family.h"

enum pkt_kind {
	PKT_FLOW,     /* TCP, UDP or SCTP with ports (of a later fragment: from the fragment map) */
	PKT_ICMP_ERR, /* carries the start of another packet */
	PKT_ICMP,
	PKT_OTHER, /* an address pair only */
	PKT_LATER_FRAG,
};

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct pkt {
	struct tuple t;
	__u32 ifindex, len, hook;
	__u32 tun;     /* came in VXLAN from this address (host order); 0 = it did not */
	__u32 tot_len; /* from the IP header on */
	__u32 ip_id;
	__u16 l4off;	  /* from the start of the frame */
	__u16 frag_field; /* flags and offset as IPv4 has them, host order */
	__u8 kind, tcp_flags, ttl, icmp_type;
	bool gso, later_frag;
};

struct l4_ports {
	__be16 sport, dport;
};

/* The start of TCP, UDP, SCTP and ICMP headers as far as the programs read them. */
struct tcp_start {
	__be16 sport, dport;
	__be32 seq, ack;
	__u8 off, flags;
	__be16 window, check, urg;
};

#if FAMILY == 4
#include "lib/ip4.h"
#else
#include "lib/ip6.h"
#endif

INLINE int parse_l4(struct pkt *p, void *l4, void *end)
{
	struct tcp_start *th = l4;
	switch (p->t.proto) {
	case IPPROTO_TCP:
		if ((void *)(th + 1) > end)
			return -DROP_MALFORMED;
		p->tcp_flags = th->flags;
		break;
	case IPPROTO_UDP:
	case IPPROTO_SCTP:
		if (l4 + 8 > end)
			return -DROP_MALFORMED;
		break;
	case L4_ICMP:
		if (l4 + 8 > end)
			return -DROP_MALFORMED;
		p->icmp_type = *(__u8 *)l4;
		p->kind = icmp_is_error(p->icmp_type) ? PKT_ICMP_ERR : PKT_ICMP;
		return icmp_is_for_stack(p->icmp_type) ? -DROP_MALFORMED : 0;
	default:
		p->kind = PKT_OTHER;
		return 0;
	}
	p->t.sport = bpf_ntohs(th->sport);
	p->t.dport = bpf_ntohs(th->dport);
	p->kind = PKT_FLOW;
	return 0;
}

/* 0, or -DROP_MALFORMED: which a caller treats as "not ours", since the stack judges such packets.
 */
INLINE int parse(struct __sk_buff *skb, struct pkt *p)
{
	int r = parse_ip(skb, p);
	if (r)
		return r;
	if (unlikely(p->frag_field & IP_OFFSET)) {
		p->kind = PKT_LATER_FRAG;
		p->later_frag = true;
		return 0;
	}
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	if (likely(p->l4off == L4OFF_MIN))
		return parse_l4(p, data + L4OFF_MIN, end);
	__u32 off = p->l4off;
	if (off > L4OFF_MAX)
		return -DROP_MALFORMED;
	return parse_l4(p, data + off, end);
}

/* Makes the headers linear where they are not, and parses. */
INLINE int pkt_init(struct __sk_buff *skb, struct pkt *p, __u32 hook)
{
	p->len = READ_ONCE(skb->len);
	p->ifindex = READ_ONCE(skb->ifindex);
	p->gso = READ_ONCE(skb->gso_segs) > 1;
	p->hook = hook;
	long have = (long)READ_ONCE(skb->data_end) - (long)READ_ONCE(skb->data);
	__u32 want = ETH_HLEN + 60 + 60;
	if (unlikely(have < L4OFF_MIN + 20 && (__u32)have < p->len))
		(void)bpf_skb_pull_data(skb, p->len < want ? p->len : want);
	return parse(skb, p);
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Reading packets back, with every checksum computed anew. */
#ifndef XEBEC_TEST_PACKET_VIEW_H
#define XEBEC_TEST_PACKET_VIEW_H

#include "packet.h"

/* As tests name it: fd00::a.b.c.d reads a.b.c.d. */
static inline void addr_text(const uint8_t *a, char out[static 46])
{
	uint8_t same[16];
	(void)inet_ntop(AF_INET, a + ADDR_N - 4, out, 46);
	addr_put(same, out);
	if (memcmp(a, same, ADDR_N) != 0)
		(void)inet_ntop(FAMILY == 6 ? AF_INET6 : AF_INET, a, out, 46);
}

#if FAMILY == 4
static inline bool headers_view(const uint8_t *ip, size_t n, struct packet_view *v)
{
	if (n < 20)
		return false;
	v->ihl = (size_t)(ip[0] & 15) * 4;
	v->ip_len = get16(ip + 2);
	v->frag = get16(ip + 6);
	v->ttl = ip[8];
	v->proto = ip[9];
	return true;
}
#else
/* ihl: all headers before the transport's; frag: as IPv4 writes it. */
static inline bool headers_view(const uint8_t *ip, size_t n, struct packet_view *v)
{
	if (n < 40)
		return false;
	v->ip_len = 40u + get16(ip + 4);
	v->ttl = ip[7];
	v->proto = ip[6];
	v->ihl = 40;
	while ((v->proto == IPPROTO_DSTOPTS || v->proto == IPPROTO_FRAGMENT) && v->ihl + 8 <= n) {
		const uint8_t *h = ip + v->ihl;
		bool frag = v->proto == IPPROTO_FRAGMENT;
		if (frag)
			v->frag = (uint16_t)(get16(h + 2) >> 3 | (h[3] & 1) << 13);
		v->proto = h[0];
		v->ihl += frag ? 8 : (size_t)(h[1] + 1) * 8;
	}
	return true;
}
#endif

static inline struct packet_view ip_view(const uint8_t *ip, size_t n)
{
	struct packet_view v = {0};
	if (!headers_view(ip, n, &v))
		return v;
	addr_text(ip + ADDR_AT, v.src);
	addr_text(ip + ADDR_AT + ADDR_N, v.dst);
	const uint8_t *l4 = ip + v.ihl;
	if (n < v.ihl + 8)
		return v;
	if (v.proto == ICMP_PROTO) {
		v.icmp_type = l4[0];
		v.icmp_code = l4[1];
		return v;
	}
	v.sport = get16(l4);
	v.dport = get16(l4 + 2);
	if (v.proto == IPPROTO_TCP && n >= v.ihl + 20) {
		v.seq = get32(l4 + 4);
		v.ack = get32(l4 + 8);
		v.tcp_flags = l4[13];
	}
	return v;
}

static inline struct packet_view packet_view(const struct packet *k)
{
	return ip_view(k->b + ETH, k->len - ETH);
}

/* True when every checksum of the packet, computed anew, is right. A fragment has only its
 * header's.
 */
static inline bool packet_sound(const struct packet *k)
{
	const uint8_t *ip = k->b + ETH;
	struct packet_view v = packet_view(k);
	if ((FAMILY == 4 && csum_end(csum_bytes(ip, v.ihl, 0)) != 0) || v.ip_len + ETH != k->len)
		return false;
	if (v.frag & 0x3fff)
		return true;
	size_t n = v.ip_len - v.ihl;
	const uint8_t *l4 = ip + v.ihl;
	if (FAMILY == 4 && v.proto == IPPROTO_UDP && get16(l4 + 6) == 0)
		return true;
	uint32_t seed = v.proto == IPPROTO_ICMP ? 0 : pseudo_sum(ip, v.proto, n);
	return csum_end(csum_bytes(l4, n, seed)) == 0;
}

#endif

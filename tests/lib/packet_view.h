/* SPDX-License-Identifier: Apache-2.0
 * Reading packets back, with every checksum computed anew. */
#ifndef XEBEC_TEST_PACKET_VIEW_H
#define XEBEC_TEST_PACKET_VIEW_H

#include "packet.h"

static inline struct packet_view ip_view(const uint8_t *ip, size_t n)
{
	struct packet_view v = {0};
	if (n < 20)
		return v;
	v.ihl = (size_t)(ip[0] & 15) * 4;
	v.ip_len = get16(ip + 2);
	v.frag = get16(ip + 6);
	v.ttl = ip[8];
	v.proto = ip[9];
	inet_ntop(AF_INET, ip + 12, v.src, sizeof v.src);
	inet_ntop(AF_INET, ip + 16, v.dst, sizeof v.dst);
	const uint8_t *l4 = ip + v.ihl;
	if (n < v.ihl + 8)
		return v;
	if (v.proto == IPPROTO_ICMP) {
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
	if (csum_end(csum_bytes(ip, v.ihl, 0)) != 0 || v.ip_len + ETH != k->len)
		return false;
	if (v.frag & 0x3fff)
		return true;
	size_t n = v.ip_len - v.ihl;
	const uint8_t *l4 = ip + v.ihl;
	if (v.proto == IPPROTO_UDP && get16(l4 + 6) == 0)
		return true;
	uint32_t seed = v.proto == IPPROTO_ICMP ? 0 : pseudo_sum(ip, v.proto, n);
	return csum_end(csum_bytes(l4, n, seed)) == 0;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Packets for tests: built and checked with full checksums, never incrementally. With FAMILY 6 they
 * are IPv6, and every address a.b.c.d that a test names stands for fd00::a.b.c.d. */
#ifndef XEBEC_TEST_PACKET_H
#define XEBEC_TEST_PACKET_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "packet_bytes.h"
#include "packet_family.h"

struct packet {
	uint8_t b[4096];
	size_t len;
};

struct packet_spec {
	const char *src, *dst;
	uint16_t sport, dport;
	uint8_t proto, tcp_flags, ttl;
	uint16_t id, frag; /* frag: flags and offset field */
	unsigned options;  /* bytes of IP options, a multiple of 4 */
	uint32_t seq, ack;
	size_t payload;
	bool udp_no_csum;
};

/* What a packet says, host order. */
struct packet_view {
	char src[46], dst[46];
	uint16_t sport, dport, frag;
	uint8_t proto, tcp_flags, ttl, icmp_type, icmp_code;
	uint32_t seq, ack;
	size_t ihl, l4, ip_len;
};

/* The address that a test means: of this family. */
static inline void addr_put(uint8_t *to, const char *text)
{
	memset(to, 0, ADDR_N);
	if (FAMILY == 6)
		to[0] = 0xfd;
	if (FAMILY == 6 && strcmp(text, "127.0.0.1") == 0)
		inet_pton(AF_INET6, "::1", to);
	else
		inet_pton(AF_INET, text, to + ADDR_N - 4);
}

static inline uint32_t pseudo_sum(const uint8_t *ip, uint8_t proto, size_t l4len)
{
	return csum_bytes(ip + ADDR_AT, 2 * ADDR_N, 0) + proto + (uint32_t)l4len;
}

static inline size_t packet_l4(uint8_t *p, const struct packet_spec *s)
{
	size_t n = s->proto == IPPROTO_TCP ? 20 : 8;
	put16(p, s->sport);
	put16(p + 2, s->dport);
	if (s->proto == IPPROTO_TCP) {
		put32(p + 4, s->seq);
		put32(p + 8, s->ack);
		p[12] = 5 << 4;
		p[13] = s->tcp_flags;
		put16(p + 14, 65535);
	} else if (s->proto == IPPROTO_UDP) {
		put16(p + 4, (uint32_t)(8 + s->payload));
	} else { /* ICMP echo */
		p[0] = ICMP_ECHO_TYPE, p[1] = 0, p[2] = 0, p[3] = 0;
	}
	for (size_t i = 0; i < s->payload; i++)
		p[n + i] = (uint8_t)(i * 7 + 1);
	return n + s->payload;
}

static inline void packet_l4_csum(uint8_t *ip, uint8_t *l4, size_t n, uint8_t proto)
{
	int off = proto == IPPROTO_TCP ? 16 : proto == IPPROTO_UDP ? 6 : 2;
	uint32_t seed = proto == IPPROTO_ICMP ? 0 : pseudo_sum(ip, proto, n);
	put16(l4 + off, 0);
	uint16_t c = csum_end(csum_bytes(l4, n, seed));
	put16(l4 + off, c ? c : 0xffff);
}

static inline uint8_t family_proto(uint8_t proto)
{
	return proto == IPPROTO_ICMP ? ICMP_PROTO : proto;
}

#if FAMILY == 4
/* From the IP header to the next one. */
static inline size_t headers_len(const struct packet_spec *s)
{
	return 20 + s->options;
}

static inline void ip_build(uint8_t *ip, const struct packet_spec *s, size_t l4len)
{
	size_t ihl = headers_len(s);
	memset(ip, 0, ihl);
	ip[0] = (uint8_t)(0x40 | ihl / 4);
	put16(ip + 2, (uint32_t)(ihl + l4len));
	put16(ip + 4, s->id);
	put16(ip + 6, s->frag);
	ip[8] = s->ttl ? s->ttl : 64;
	ip[9] = s->proto;
	addr_put(ip + 12, s->src);
	addr_put(ip + 16, s->dst);
	memset(ip + 20, 1, s->options); /* NOPs */
	put16(ip + 10, csum_end(csum_bytes(ip, ihl, 0)));
}
#else
static inline bool has_frag_header(const struct packet_spec *s)
{
	return s->frag & 0x3fff;
}

static inline size_t headers_len(const struct packet_spec *s)
{
	return 40 + s->options + (has_frag_header(s) ? FRAG_HEADER : 0);
}

/* Options become one header of destination options, filled up. */
static inline void ip_build(uint8_t *ip, const struct packet_spec *s, size_t l4len)
{
	uint8_t *next = ip + 6, *h = ip + 40;
	memset(ip, 0, headers_len(s));
	ip[0] = 0x60;
	put16(ip + 4, (uint32_t)(headers_len(s) - 40 + l4len));
	ip[7] = s->ttl ? s->ttl : 64;
	addr_put(ip + 8, s->src);
	addr_put(ip + 24, s->dst);
	if (s->options) {
		*next = IPPROTO_DSTOPTS;
		next = h;
		h[1] = (uint8_t)(s->options / 8 - 1);
		h[2] = 1, h[3] = (uint8_t)(s->options - 4); /* PadN */
		h += s->options;
	}
	if (has_frag_header(s)) {
		*next = IPPROTO_FRAGMENT;
		next = h;
		put16(h + 2, (uint32_t)(s->frag & 0x1fff) << 3 | !!(s->frag & 0x2000));
		put32(h + 4, s->id);
	}
	*next = family_proto(s->proto);
}
#endif

/* The same of a packet that was built here. */
static inline size_t headers_of(const uint8_t *ip)
{
	if (FAMILY == 4)
		return (size_t)(ip[0] & 15) * 4;
	size_t n = 40;
	uint8_t next = ip[6];
	while (next == IPPROTO_DSTOPTS || next == IPPROTO_FRAGMENT) {
		const uint8_t *h = ip + n;
		n += next == IPPROTO_FRAGMENT ? FRAG_HEADER : (size_t)(h[1] + 1) * 8;
		next = h[0];
	}
	return n;
}

static inline struct packet packet_build(struct packet_spec s)
{
	struct packet k = {0};
	static const uint8_t macs[12] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};
	memcpy(k.b, macs, 12);
	put16(k.b + 12, ETHERTYPE);
	uint8_t *ip = k.b + ETH, *l4 = ip + headers_len(&s);
	size_t n = packet_l4(l4, &s);
	ip_build(ip, &s, n);
	packet_l4_csum(ip, l4, n, family_proto(s.proto));
	if (s.udp_no_csum)
		put16(l4 + 6, 0);
	k.len = ETH + headers_len(&s) + n;
	return k;
}

/* An ICMP error of src about `about`, carrying its IP header and n bytes behind it. */
static inline struct packet packet_icmp_error(const char *src, const char *dst, uint8_t type,
	uint8_t code, const struct packet *about, size_t n)
{
	size_t inner = headers_of(about->b + ETH) + n;
	struct packet_spec s = {.src = src, .dst = dst, .proto = IPPROTO_ICMP};
	struct packet k = {0};
	memcpy(k.b, about->b, ETH);
	uint8_t *ip = k.b + ETH, *icmp = ip + IPH;
	icmp[0] = type, icmp[1] = code;
	memcpy(icmp + 8, about->b + ETH, inner);
	ip_build(ip, &s, 8 + inner);
	packet_l4_csum(ip, icmp, 8 + inner, ICMP_PROTO);
	k.len = ETH + IPH + 8 + inner;
	return k;
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The DNS wire format (RFC 1035, 2782, 6891): strict bounded reading, writing with compression and
 * truncation. Pure: bytes in, bytes out. */
#ifndef XEBEC_DATAPLANE_DNS_MSG_H
#define XEBEC_DATAPLANE_DNS_MSG_H

#include "xebec/base/str.h"

enum { DNS_NAME_MAX = 255, DNS_HEADER = 12, DNS_UDP_MIN = 512, DNS_UDP_MAX = 1232 };
enum dns_type {
	DNS_A = 1,
	DNS_NS = 2,
	DNS_CNAME = 5,
	DNS_SOA = 6,
	DNS_PTR = 12,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_SRV = 33,
	DNS_OPT = 41,
	DNS_AXFR = 252,
	DNS_ANY = 255,
};
enum { DNS_CLASS_IN = 1, DNS_CLASS_ANY = 255 };
enum dns_rcode {
	DNS_NOERROR = 0,
	DNS_FORMERR = 1,
	DNS_SERVFAIL = 2,
	DNS_NXDOMAIN = 3,
	DNS_NOTIMP = 4,
	DNS_REFUSED = 5,
	DNS_BADVERS = 16,
};
enum dns_flag { /* of the header's second word */
	DNS_QR = 0x8000,
	DNS_AA = 0x0400,
	DNS_TC = 0x0200,
	DNS_RD = 0x0100,
	DNS_RA = 0x0080,
	DNS_AD = 0x0020,
	DNS_CD = 0x0010,
};

/* ------------------------------------------------------------------ names */
struct dns_name { /* wire form, uncompressed, lower case, with the root's zero */
	uint8_t len;
	uint8_t w[DNS_NAME_MAX];
};
/* "a.b.c" or "a.b.c."; -EINVAL on empty or overlong labels. No escapes. */
int dns_name_of(struct str text, struct dns_name *ret);
/* At msg[*pos], following pointers, which must go backwards; *pos moves past it. -EBADMSG. */
int dns_name_read(const uint8_t *msg, size_t n, size_t *pos, struct dns_name *ret);
/* Labels, front to back, without the root's; at most cap. Returns their number. */
size_t dns_name_labels(const struct dns_name *n, struct str *ret, size_t cap);
bool dns_name_eq(const struct dns_name *a, const struct dns_name *b);
bool dns_name_under(const struct dns_name *n, const struct dns_name *zone); /* or equal */
/* label + "." + rest. -EINVAL when it does not fit. */
int dns_name_join(struct str label, const struct dns_name *rest, struct dns_name *ret);

/* ------------------------------------------------------------------ questions */
struct dns_query {
	uint16_t id, flags, type, class;
	struct dns_name name;
	uint16_t udp_size; /* what the client takes by UDP: DNS_UDP_MIN to DNS_UDP_MAX */
	bool edns, dnssec_ok;
	uint8_t edns_version;
	const uint8_t *question; /* as it came, for the answer: borrowed from the message */
	size_t question_len;	 /* 0 = unreadable */
};
/* 0; -EPROTO: not a query, never to be answered; or what to answer: -EBADMSG FORMERR, -EOPNOTSUPP
 * NOTIMP, -EPROTONOSUPPORT BADVERS. id and flags are filled in, except with -EPROTO. */
int dns_query_parse(const uint8_t *msg, size_t n, struct dns_query *ret);
/* A question for another server, with EDNS unless told. Returns its length; out holds 512. */
size_t dns_question(uint8_t *out, uint16_t id, const struct dns_name *name, uint16_t type,
	uint16_t flags, bool edns, bool dnssec_ok);

/* ------------------------------------------------------------------ answers, written */
enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };
struct dns_writer {
	uint8_t *p;
	size_t cap, len; /* cap leaves room for OPT */
	const struct dns_query *q;
	uint16_t counts[3];
	uint16_t flags;
	bool truncated;
	unsigned n_seen; /* names that a pointer can go to */
	struct {
		uint16_t off, hash;
	} seen[128];
};
/* The answer to q in buf. cap: q->udp_size, or 65535 by TCP. */
void dns_reply_begin(struct dns_writer *w, uint8_t *buf, size_t cap, const struct dns_query *q);
/* Records. Sections in order. One that does not fit is left out whole and sets TC, except in the
 * additional section. False when it was left out. */
bool dns_put_data(struct dns_writer *w, enum dns_section s, const struct dns_name *owner,
	uint16_t type, uint32_t ttl, const void *data, size_t n);
bool dns_put_name(struct dns_writer *w, enum dns_section s, const struct dns_name *owner,
	uint16_t type, uint32_t ttl, const struct dns_name *target); /* CNAME PTR NS */
bool dns_put_srv(struct dns_writer *w, const struct dns_name *owner, uint32_t ttl, uint16_t weight,
	uint16_t port, const struct dns_name *target);
bool dns_put_soa(struct dns_writer *w, enum dns_section s, const struct dns_name *zone,
	uint32_t ttl, const struct dns_name *primary, const struct dns_name *mail,
	const uint32_t numbers[5]);
/* Completes header and OPT; flags are those of enum dns_flag to set besides QR and the query's own.
 * Returns the length. */
size_t dns_reply_end(struct dns_writer *w, enum dns_rcode rcode, uint16_t flags);

/* ------------------------------------------------------------------ answers, read */
struct dns_rr {
	enum dns_section section;
	uint16_t type, class;
	uint32_t ttl;
	size_t at, ttl_at, data_at, end; /* offsets in the message */
};
struct dns_iter {
	const uint8_t *msg;
	size_t n, pos;
	unsigned section;
	uint16_t left[3];
};
/* Starts after the question, which may be absent. -EBADMSG. */
int dns_iter_begin(struct dns_iter *it, const uint8_t *msg, size_t n);
int dns_iter_next(struct dns_iter *it, struct dns_rr *ret); /* 1, 0 at the end, -EBADMSG */

struct dns_info { /* what the forwarder wants of another server's answer */
	uint16_t id, flags;
	unsigned rcode; /* with OPT's part */
	bool cacheable; /* an answer, or a negative one with SOA (RFC 2308) */
	uint32_t ttl;	/* seconds it may be kept */
	size_t n_answers;
};
/* Checks that it answers the question and reads every record. *n shrinks: OPT, and what follows it,
 * is cut off. -EBADMSG. */
int dns_response_parse(
	uint8_t *msg, size_t *n, const struct dns_name *name, uint16_t type, struct dns_info *ret);
/* The same answer for a client: its id and spelling, TTLs less age (at least floor), OPT, its size.
 * Returns the length, or 0 when the message is unreadable. out holds cap + 11. */
size_t dns_response_copy(uint8_t *out, size_t cap, const uint8_t *msg, size_t n,
	const struct dns_query *q, uint32_t age, uint32_t floor);
/* Adds the addresses and aliases of another server's answer to w. The new rcode. */
enum dns_rcode dns_response_append(struct dns_writer *w, const uint8_t *msg, size_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Answers of other name servers, kept for as long as they say; bounded, least recently used out
 * first. */
#ifndef XEBEC_DATAPLANE_DNS_CACHE_H
#define XEBEC_DATAPLANE_DNS_CACHE_H

#include "dns_msg.h"

struct dns_cache;
struct dns_cache *dns_cache_new(size_t max_bytes); /* NULL when out of memory */
void dns_cache_free(struct dns_cache *c);

struct dns_key {	      /* of questions that share an answer; all bytes count */
	uint16_t type, flags; /* DNS_CD, and 1 = with DNSSEC records */
	uint8_t len;
	uint8_t name[DNS_NAME_MAX];
};
void dns_key_of(
	const struct dns_name *name, uint16_t type, bool cd, bool dnssec_ok, struct dns_key *ret);
struct str dns_key_bytes(const struct dns_key *k);

struct dns_cached {
	const uint8_t *msg; /* until the next call */
	size_t n;
	uint32_t age; /* seconds */
	bool stale;   /* past its time (RFC 8767) */
};
/* Copies msg. Not kept when it cannot be. */
void dns_cache_put(struct dns_cache *c, const struct dns_key *k, const uint8_t *msg, size_t n,
	uint32_t ttl, int64_t now_ns);
bool dns_cache_get(
	struct dns_cache *c, const struct dns_key *k, int64_t now_ns, struct dns_cached *ret);
size_t dns_cache_len(const struct dns_cache *c);
size_t dns_cache_bytes(const struct dns_cache *c);

#endif

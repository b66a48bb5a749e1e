/* SPDX-License-Identifier: Apache-2.0
 * Answers of other name servers, kept. */
#include "dns_cache.h"

#include "xebec/base/cleanup.h"
#include "xebec/base/htab.h"
#include "xebec/base/list.h"
#include "xebec/base/timefmt.h"

enum { OVERHEAD = 200, STALE_MAX = 3600 };

struct entry {
	struct list lru;
	int64_t since_ns;
	uint32_t ttl;
	size_t n;
	struct dns_key key;
	uint8_t msg[];
};
struct dns_cache {
	struct htab *map;
	struct list lru; /* oldest first */
	size_t bytes, max;
};

struct dns_cache *dns_cache_new(size_t max_bytes)
{
	struct dns_cache *c = calloc(1, sizeof *c);
	if (!c || !(c->map = htab_new())) {
		free(c);
		return NULL;
	}
	c->max = max_bytes;
	list_init(&c->lru);
	return c;
}

void dns_cache_free(struct dns_cache *c)
{
	if (!c)
		return;
	htab_free(c->map, free);
	free(c);
}

void dns_key_of(
	const struct dns_name *name, uint16_t type, bool cd, bool dnssec_ok, struct dns_key *ret)
{
	ret->type = type;
	ret->flags = (uint16_t)((cd ? DNS_CD : 0) | (dnssec_ok ? 1 : 0));
	ret->len = name->len;
	memcpy(ret->name, name->w, name->len);
}

struct str dns_key_bytes(const struct dns_key *k)
{
	return (struct str){.p = (const char *)k, .n = offsetof(struct dns_key, name) + k->len};
}

static size_t cost(const struct entry *e)
{
	return OVERHEAD + e->n + 2U * e->key.len;
}

static void drop(struct dns_cache *c, struct entry *e)
{
	(void)htab_del(c->map, dns_key_bytes(&e->key));
	list_del(&e->lru);
	c->bytes -= cost(e);
	free(e);
}

void dns_cache_put(struct dns_cache *c, const struct dns_key *k, const uint8_t *msg, size_t n,
	uint32_t ttl, int64_t now_ns)
{
	struct entry *old = htab_get(c->map, dns_key_bytes(k));
	struct entry *e = calloc(1, sizeof *e + n);
	if (old)
		drop(c, old);
	if (!e)
		return;
	e->since_ns = now_ns;
	e->ttl = ttl;
	e->n = n;
	e->key = *k;
	memcpy(e->msg, msg, n);
	if (cost(e) > c->max || htab_put(c->map, dns_key_bytes(k), e, NULL)) {
		free(e);
		return;
	}
	list_push(&c->lru, &e->lru);
	c->bytes += cost(e);
	while (c->bytes > c->max)
		drop(c, list_entry(c->lru.next, struct entry, lru));
}

bool dns_cache_get(
	struct dns_cache *c, const struct dns_key *k, int64_t now_ns, struct dns_cached *ret)
{
	struct entry *e = htab_get(c->map, dns_key_bytes(k));
	if (!e)
		return false;
	int64_t age = (now_ns - e->since_ns) / NS_PER_SEC;
	if (age >= (int64_t)e->ttl + STALE_MAX) {
		drop(c, e);
		return false;
	}
	list_del(&e->lru);
	list_push(&c->lru, &e->lru);
	*ret = (struct dns_cached){
		.msg = e->msg, .n = e->n, .age = (uint32_t)age, .stale = age >= e->ttl};
	return true;
}

size_t dns_cache_len(const struct dns_cache *c)
{
	return htab_len(c->map);
}

size_t dns_cache_bytes(const struct dns_cache *c)
{
	return c->bytes;
}

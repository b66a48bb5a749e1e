/* SPDX-License-Identifier: Apache-2.0
 * Questions to other name servers: by UDP from a fresh socket with a random id, by TCP when the
 * answer is cut; one question asked many times at once is sent once, which also ends loops. Cached.
 */
#ifndef XEBEC_DATAPLANE_DNS_FORWARD_H
#define XEBEC_DATAPLANE_DNS_FORWARD_H

#include "dns_cache.h"
#include "xebec/base/buf.h"
#include "xebec/base/err.h"
#include "xebec/base/list.h"
#include "xebec/base/loop.h"

struct dns_forward;
struct dns_forward_config {
	struct loop *loop;
	const char *upstream;	 /* "ADDR[:PORT],..."; NULL = those of resolv_conf */
	const char *resolv_conf; /* read again when it changes; NULL = /etc/resolv.conf */
	const char *self[2];	 /* never asked: our own addresses at port 53; may be NULL */
};
int dns_forward_new(const struct dns_forward_config *c, struct dns_forward **ret, struct err *e);
void dns_forward_free(struct dns_forward *f); /* no callbacks */

/* Embedded in the caller's request. */
struct dns_wait {
	struct list link;
	/* msg NULL: nobody answered. age in seconds. The wait is over: it may be freed. */
	void (*done)(struct dns_wait *w, const uint8_t *msg, size_t n, uint32_t age, bool stale);
};
enum dns_asked { DNS_WAITING, DNS_FULL };
/* True when the cache had it. */
bool dns_forward_cached(struct dns_forward *f, const struct dns_key *k, struct dns_cached *ret);
/* done is called later, once. DNS_FULL: never. */
enum dns_asked dns_forward_ask(struct dns_forward *f, const struct dns_name *name,
	const struct dns_key *k, struct dns_wait *w);
void dns_forward_cancel(struct dns_wait *w);
void dns_forward_metrics(const struct dns_forward *f, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The cluster's zone: an index over Services and EndpointSlices, and answers from it by the
 * Kubernetes DNS specification 1.1.0. Every look-up is a constant number of hash look-ups. Pure: no
 * sockets, no clock. */
#ifndef XEBEC_DATAPLANE_DNS_ZONE_H
#define XEBEC_DATAPLANE_DNS_ZONE_H

#include "dns_msg.h"
#include "xebec/base/err.h"
#include "xebec/base/jv.h"

struct dns_zone;
struct dns_zone_config {
	const char *domain;			 /* "cluster.local" */
	const char *service_cidr, *cluster_cidr; /* their reverse names are ours; may be NULL */
	const char *dns_ip;			 /* of ns.dns.<domain>; may be NULL */
	void (*release)(void *hold);		 /* may be NULL */
};
int dns_zone_new(const struct dns_zone_config *c, struct dns_zone **ret, struct err *e);
void dns_zone_free(struct dns_zone *z);

/* v absent = gone. The JSON of a slice must stay until hold is released; that of others need not.
 * -ENOMEM. */
int dns_zone_service(struct dns_zone *z, struct str ns, struct str name, struct jv v);
int dns_zone_slice(struct dns_zone *z, struct str ns, struct str service, struct str name,
	struct jv v, void *hold);
int dns_zone_namespace(struct dns_zone *z, struct str name, bool there);
size_t dns_zone_services(const struct dns_zone *z);

enum dns_verdict {
	DNS_ANSWERED,  /* w holds everything; *ret_rcode */
	DNS_ELSEWHERE, /* not ours: nothing written */
	DNS_CHASE,     /* w holds an alias to *ret_target outside: ask for it, append the answer */
};
/* Does the zone answer for this name at all? Independent of its content. */
bool dns_zone_owns(struct dns_zone *z, const struct dns_name *name);
/* w has been begun; seed turns the order of addresses. */
enum dns_verdict dns_zone_answer(struct dns_zone *z, uint32_t seed, struct dns_writer *w,
	enum dns_rcode *ret_rcode, struct dns_name *ret_target);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The cluster's zone: an index over Services and EndpointSlices, and answers from it by the
 * Kubernetes DNS specification 1.1.0. Every look-up is a constant number of hash look-ups. Pure: no
 * sockets, no clock. */
#ifndef XEBEC_DATAPLANE_DNS_ZONE_H
#define XEBEC_DATAPLANE_DNS_ZONE_H

#include "compile.h"
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

/* A Service, as far as names go. */
struct dns_port {
	char name[16]; /* IANA_SVC_NAME: at most 15 */
	uint16_t port;
	uint8_t proto;
};
struct dns_spec {
	bool selector, headless, not_ready_too;
	struct dns_name *external; /* ExternalName */
	struct ip ips[4];
	struct dns_port *ports;
	size_t n_ips, n_ports;
};
struct dns_spec *dns_spec_new(struct jv service); /* NULL when out of memory */
void dns_spec_free(void *spec);

/* spec NULL = gone; else it must stay until hold is released. -ENOMEM. */
int dns_zone_service(struct dns_zone *z, struct str ns, struct str name,
	const struct dns_spec *spec, void *hold);
int dns_zone_slice(struct dns_zone *z, struct str ns, struct str service, struct str name,
	const struct slice_spec *spec, void *hold);
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

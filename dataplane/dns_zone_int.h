/* SPDX-License-Identifier: Apache-2.0
 * The zone's index, shared by what fills it (dns_zone.c) and what reads it (dns_answer.c). */
#ifndef XEBEC_DATAPLANE_DNS_ZONE_INT_H
#define XEBEC_DATAPLANE_DNS_ZONE_INT_H

#include "dns_zone.h"
#include "xebec/base/htab.h"
#include "xebec/base/list.h"

enum { TTL_SERVICE = 30, TTL_ENDPOINT = 5, TTL_NEGATIVE = 5, TTL_SCHEMA = 28800 };

struct dns_endpoint { /* those that are to be found */
	struct ip ip;
	const struct slice_spec *slice; /* for the ports */
	char name[64];			/* its host name, or its address with dashes */
};
struct dns_endpoints {
	struct dns_endpoint *v; /* by address, then name */
	size_t n;
};
struct dns_slice {
	char *name;
	const struct slice_spec *spec;
	void *hold;
};
/* One Service name; there while there is a Service or a slice. */
struct dns_service {
	struct list dirty; /* in dns_zone.dirty, or empty */
	char *ns, *name;
	const struct dns_spec *spec; /* NULL: no such Service */
	void *hold;
	struct dns_slice *slices;
	size_t n_slices;
	struct dns_endpoints eps; /* of headless ones; of others they are read when asked for */
};
struct dns_space {
	bool there;
	size_t n_services;
};
/* Who has an address. */
struct dns_owner {
	struct dns_service **v;
	size_t n;
};
struct dns_zone {
	struct dns_zone_config c;
	struct dns_name domain, primary, mail;
	struct ip dns_ip, nets[4];
	unsigned prefixes[4];
	size_t n_nets;
	struct htab *services;	/* "ns/name" */
	struct htab *spaces;	/* namespace */
	struct htab *addresses; /* family and address */
	size_t n_services;
	struct list dirty;
};

/* Which addresses an endpoint name or a port has: reads the slices. */
int dns_endpoints_read(const struct dns_service *s, struct dns_endpoints *ret);
int dns_zone_flush(struct dns_zone *z); /* brings what is dirty up to date */
static inline struct str dns_ip_key(const struct ip *ip)
{
	return (struct str){.p = (const char *)ip, .n = sizeof *ip};
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 * DNS over UDP and TCP on one address: reads questions, hands them to a resolver, sends answers
 * back. Bounded in connections and in what one client may have under way. */
#ifndef XEBEC_DATAPLANE_DNS_SERVER_H
#define XEBEC_DATAPLANE_DNS_SERVER_H

#include "dns_forward.h"
#include "dns_zone.h"

struct dns_server;
struct dns_server_config {
	struct loop *loop;
	const char *ip;
	uint16_t port;		  /* taken: another one */
	const char *cluster_cidr; /* who may ask, besides this node; NULL = everybody */
	struct dns_zone *zone;
	struct dns_forward *forward;
	bool (*ready)(void *arg); /* is the zone complete? Questions wait for it, for a while */
	void *arg;
};
int dns_server_new(const struct dns_server_config *c, struct dns_server **ret, struct err *e);
void dns_server_free(struct dns_server *s); /* before zone and forwarder */
uint16_t dns_server_port(const struct dns_server *s);
void dns_server_metrics(const struct dns_server *s, struct buf *out);

#endif

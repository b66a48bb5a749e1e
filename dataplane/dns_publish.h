/* SPDX-License-Identifier: Apache-2.0
 * Keeps this node's EndpointSlice of the DNS Service: the way from its address to this process. */
#ifndef XEBEC_DATAPLANE_DNS_PUBLISH_H
#define XEBEC_DATAPLANE_DNS_PUBLISH_H

#include "xebec/client/client.h"

struct dns_publish;
struct dns_publish_config {
	struct client *client;
	const char *node_name, *node_ip;
	uint16_t port;
};
int dns_publish_new(const struct dns_publish_config *c, struct dns_publish **ret, struct err *e);
void dns_publish_free(struct dns_publish *p); /* the slice stays */
/* Is kube-system/kube-dns there, and without a selector? */
void dns_publish_service(struct dns_publish *p, bool ours);
/* The Node, as its informer says; events of others are ignored. */
void dns_publish_node(struct dns_publish *p, struct cobj *old, struct cobj *new);
void dns_publish_start(struct dns_publish *p); /* the informers are complete */

#endif

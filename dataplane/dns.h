/* SPDX-License-Identifier: Apache-2.0
 * Cluster DNS of one node: answers for the cluster's zone, forwards the rest. Listens on the node's
 * address; the service tables lead the DNS Service's address there. */
#ifndef XEBEC_DATAPLANE_DNS_H
#define XEBEC_DATAPLANE_DNS_H

#include "xebec/client/client.h"

struct dns;
struct dns_config {
	struct loop *loop;
	struct client *client;
	/* slices of Services with an address, decoded to struct slice_spec; this Node */
	struct informer *slices, *nodes;
	const char *node_name, *node_ip;
	const char *domain;	 /* NULL = cluster.local */
	const char *cluster_dns; /* address of the DNS Service */
	const char *service_cidr, *cluster_cidr;
	const char *upstream;	 /* "ADDR[:PORT],..."; NULL = those of resolv_conf */
	const char *resolv_conf; /* NULL = /etc/resolv.conf */
};
int dns_start(const struct dns_config *c, struct dns **ret, struct err *e);
void dns_synced(struct dns *d); /* say so when the informers given are complete */
/* Free the informers given first. */
void dns_free(struct dns *d);
void dns_metrics(const struct dns *d, struct buf *out);

#endif

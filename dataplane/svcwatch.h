/* SPDX-License-Identifier: Apache-2.0
 * Watches Services and EndpointSlices and keeps the maps in step. Bursts are coalesced per service;
 * nothing that the maps already hold is deleted before the first complete list is in. */
#ifndef XEBEC_DATAPLANE_SVCWATCH_H
#define XEBEC_DATAPLANE_SVCWATCH_H

#include "health.h"
#include "programmer.h"
#include "xebec/client/client.h"

struct svcwatch;
struct svcwatch_config {
	struct client *client; /* its loop is the dataplane's */
	struct maps *maps;
	const char *node;      /* this node's name */
	struct health *health; /* gets the health check ports of Services; may be NULL */
	/* Called once, when the first complete state is in the kernel; may be NULL. */
	void (*on_synced)(void *arg);
	void *arg;
};
int svcwatch_start(const struct svcwatch_config *c, struct svcwatch **ret, struct err *e);
void svcwatch_free(struct svcwatch *w); /* the maps keep what they have */
bool svcwatch_synced(const struct svcwatch *w);
struct programmer *svcwatch_programmer(struct svcwatch *w);
/* Node ports answer on these addresses only (copied); without a call: on every one of the node. */
void svcwatch_nodeport_addresses(struct svcwatch *w, const struct ip *ips, size_t n);
/* To listen to: slices of Services with an address, as struct slice_spec; this Node. */
struct informer *svcwatch_slices(struct svcwatch *w);
struct informer *svcwatch_nodes(struct svcwatch *w);
struct health_state svcwatch_health(const struct svcwatch *w);

/* Figures since the start, for the metrics. Times are CLOCK_REALTIME ns, 0 = never. */
struct svcwatch_stats {
	uint64_t service_changes, slice_changes;
	size_t services_pending, no_local_internal, no_local_external;
	int64_t last_queued, last_sync;
	uint64_t syncs, sync_ns_sum, sync_le[12]; /* histogram of one round: svcwatch_sync_le_us */
	/* From the change of an endpoint, as its slice says, to the kernel. */
	uint64_t net_n, net_ns_sum, net_le[12]; /* svcwatch_net_le_ms */
};
extern const uint32_t svcwatch_sync_le_us[12], svcwatch_net_le_ms[12];
void svcwatch_stats(const struct svcwatch *w, struct svcwatch_stats *ret);

#endif

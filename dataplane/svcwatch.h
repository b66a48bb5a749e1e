/* SPDX-License-Identifier: Apache-2.0
 * Watches Services and EndpointSlices and keeps the maps in step. Bursts are coalesced per service;
 * nothing that the maps already hold is deleted before the first complete list is in. */
#ifndef XEBEC_DATAPLANE_SVCWATCH_H
#define XEBEC_DATAPLANE_SVCWATCH_H

#include "programmer.h"
#include "xebec/client/client.h"

struct svcwatch;
struct svcwatch_config {
	struct client *client; /* its loop is the dataplane's */
	struct maps *maps;
	const char *node; /* this node's name */
	/* Called once, when the first complete state is in the kernel; may be NULL. */
	void (*on_synced)(void *arg);
	void *arg;
};
int svcwatch_start(const struct svcwatch_config *c, struct svcwatch **ret, struct err *e);
void svcwatch_free(struct svcwatch *w); /* the maps keep what they have */
bool svcwatch_synced(const struct svcwatch *w);
struct programmer *svcwatch_programmer(struct svcwatch *w);

#endif

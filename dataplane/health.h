/* SPDX-License-Identifier: Apache-2.0
 * Health endpoints as load balancers and kubelets know them from kube-proxy: /healthz and /livez of
 * the agent, and a port for each Service with a healthCheckNodePort. On one loop. */
#ifndef XEBEC_DATAPLANE_HEALTH_H
#define XEBEC_DATAPLANE_HEALTH_H

#include <stdbool.h>
#include <stdint.h>
#include "xebec/base/buf.h"
#include "xebec/base/err.h"

struct loop;

/* What the answers depend on. Times are CLOCK_REALTIME ns; 0 = never, none. */
struct health_state {
	bool synced;	   /* the first complete state is in the kernel */
	bool node_leaving; /* the Node is being deleted: balancers should look elsewhere */
	int64_t pending;   /* since when the oldest change waits to be programmed */
	int64_t updated;   /* when something was last programmed */
};
bool health_ok(const struct health_state *s, int64_t now);
/* The answer to a path ("/healthz", "/livez"): HTTP status, JSON appended. 404 for others. */
int health_answer(const struct health_state *s, struct str path, int64_t now, struct buf *out);

struct health;
struct health_config {
	struct loop *loop;
	const char *addr; /* "0.0.0.0:10256"; NULL or "" = none */
	struct health_state (*state)(void *arg);
	void *arg;
};
int health_start(const struct health_config *c, struct health **ret, struct err *e);
void health_free(struct health *h);

/* The port that answers 200 while the Service has endpoints on this node (KEP: external traffic
 * policy). port 0 = none any more. A port that is taken is tried again by itself. */
void health_service(
	struct health *h, const char *ns, const char *name, uint16_t port, size_t local_endpoints);

struct health_counts {
	uint64_t healthz_ok, healthz_bad, livez_ok, livez_bad;
};
struct health_counts health_counts(const struct health *h);

#endif

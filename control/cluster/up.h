/* SPDX-License-Identifier: Apache-2.0
 * The supervisor of a local cluster: what up.c and bring_up.c share. */
#ifndef XEBEC_CLUSTER_UP_H
#define XEBEC_CLUSTER_UP_H

#include "cluster/cluster.h"
#include "cluster/proc.h"
#include "xebec/client/client.h"

struct up;
struct up_node {
	struct up *up;
	unsigned i;
	char name[64], ip[16], ip6[46];
	char socket[160]; /* containerd's */
	char pods[128];	  /* spec.podCIDRs that the server has routes to */
	struct proc containerd, import, node;
	bool imported, ready;
};

struct up {
	struct cluster c;
	struct topology topo;
	struct loop *loop;
	int lock_fd, listen_fd;
	int progress_fd; /* where progress lines go; -1 when nobody listens */
	struct proc server;
	struct up_node *nodes; /* c.nodes of them */
	struct client *client;
	struct informer *watch_nodes;
	struct loop_timer poll, deadline;
	int64_t started_ns;
	bool pki_done, ready, stopping, failed;
};

void up_say(struct up *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* bring_up.c: writes configurations and starts everything; calls up_ready or up_fail. */
int bring_up(struct up *u, struct err *e);
void bring_up_stop(struct up *u); /* SIGTERM to all */
bool bring_up_running(const struct up *u);
void bring_up_free(struct up *u);
void up_ready(struct up *u);
void up_fail(struct up *u, const struct err *e);

#endif

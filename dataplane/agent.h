/* SPDX-License-Identifier: Apache-2.0
 * The dataplane agent of one node: pod network (CNI, routes to other nodes) and services (service
 * maps) in the network namespace of the calling process. Everything it makes in the kernel outlives
 * it; a new agent adopts it. */
#ifndef XEBEC_DATAPLANE_AGENT_H
#define XEBEC_DATAPLANE_AGENT_H

#include <stdbool.h>
#include "xebec/base/err.h"

struct client;
struct loop;
struct agent;

struct agent_config {
	struct loop *loop;     /* everything runs on it */
	struct client *client; /* of the same loop */
	const char *node_name;
	const char *node_ip;	  /* the uplink is the interface that holds it */
	const char *data_dir;	  /* leases: <data_dir>/ipam */
	const char *run_dir;	  /* CNI socket: <run_dir>/cni.sock */
	const char *pin_dir;	  /* NULL = /sys/fs/bpf/xebec/<node_name> */
	const char *cni_conf_dir; /* 10-xebec.conflist is written here when pods can be connected;
				     NULL = <data_dir>/cni/conf */
	const char *cni_bin_dir;  /* the plugins are linked here; NULL = <data_dir>/cni/bin */
	const char *service_cidr, *cluster_cidr;
	const char *host_cgroup;  /* of processes whose sockets get service addresses when they
				     connect, below the cgroup2 mount: "/"; NULL = none */
	const char *metrics_addr; /* "0.0.0.0:10249"; NULL = none */
	const char *health_addr;  /* "0.0.0.0:10256"; NULL = none */
	/* kube-proxy's part alone: another plugin connects the pods; data_dir, run_dir unused. */
	bool services_only;
	const char *cluster_dns;	/* the name service is served to pods at; NULL = none is */
	const char *cluster_domain;	/* NULL = cluster.local */
	const char *dns_upstream;	/* "ADDR[:PORT],..."; NULL = the servers of resolv_conf */
	const char *resolv_conf;	/* NULL = /etc/resolv.conf */
	const char *nodeport_addresses; /* see nodeport_address(); NULL = all */
	unsigned max_services, max_backends; /* room in the maps; 0 = default */
	unsigned mtu;		   /* pod links; 0 = what the paths to other nodes allow */
	const char *masquerade;	   /* "on": pods go outside under node_ip */
	const char *no_masquerade; /* "CIDR,...": except to these networks; NULL = none */
	const char *xdp;     /* on the uplink: "off", "auto", "native", "generic"; NULL = off */
	const char *routing; /* between nodes: "auto", "direct", "vxlan"; NULL = auto */
};

int agent_start(const struct agent_config *c, struct agent **ret, struct err *e);
void agent_free(struct agent *a); /* leaves the kernel state */

#endif

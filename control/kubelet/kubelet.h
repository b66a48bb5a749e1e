/* SPDX-License-Identifier: Apache-2.0
 * The node agent: runs the pods bound to one node through a CRI runtime and reports on them and on
 * the node. Everything happens on the given loop's thread; blocking work goes to a small pool. */
#ifndef XEBEC_KUBELET_KUBELET_H
#define XEBEC_KUBELET_KUBELET_H

#include "xebec/base/err.h"
#include "xebec/base/loop.h"
#include "xebec/base/str.h"
#include "xebec/client/client.h"

struct kubelet;
struct kubelet_config {
	struct loop *loop;
	struct client *client; /* the caller's; must outlive the kubelet */
	const char *node_name;
	const char *node_ip;	    /* hostIP of its pods, InternalIP of the Node */
	const char *node_ips;	    /* all of them, node_ip first: "10.0.0.1,fd00::1"; NULL = one */
	const char *root_dir;	    /* volumes, termination messages; made when absent */
	const char *log_dir;	    /* container logs; NULL = <root_dir>/logs */
	const char *runtime;	    /* "unix:///run/containerd/containerd.sock" */
	const char *cgroup_root;    /* "/" or "/xebec/c1/n1": parent of .../kubepods */
	const char *cluster_dns;    /* NULL = pods get the node's resolv.conf */
	const char *cluster_domain; /* NULL = cluster.local */
	const char *resolv_conf; /* file for pods that want the node's; NULL = /etc/resolv.conf */
	const char *listen;	 /* "0.0.0.0:10250"; NULL = no server */
	/* Serving certificate and the CA of the clients that may call; empty cert = plain HTTP
	 * (tests). */
	struct str cert_pem, key_pem, client_ca_pem;
	const char *labels; /* "a=b,c=d" set at registration; may be NULL */
	unsigned max_pods;  /* 0 = 110 */
	bool register_node; /* make the Node object when it is absent */
};

int kubelet_start(const struct kubelet_config *cfg, struct kubelet **ret, struct err *e);
/* Stops watching and serving; pods stay as they are and are adopted by the next start. */
void kubelet_free(struct kubelet *k);

#endif

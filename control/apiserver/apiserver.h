/* SPDX-License-Identifier: Apache-2.0
 * The Kubernetes API over a store: routing, access, admission, reads from a watch cache, writes
 * through compare-and-swap. It knows exchanges (base/http.h), not sockets. */
#ifndef XEBEC_APISERVER_APISERVER_H
#define XEBEC_APISERVER_APISERVER_H

#include "store/store.h"
#include "xebec/base/http.h"
#include "xebec/base/loop.h"

struct tls_ctx;
struct apiserver;

struct apiserver_config {
	struct store *store;	  /* borrowed; must outlive the server */
	struct loop *loop;	  /* timers (compaction, lease renewal) run here */
	const char *service_cidr; /* "10.96.0.0/16", /12 to /30; with ",fd00:96::/112" dual stack */
	const char *cluster_dns;  /* address of the Service kube-system/kube-dns, which the nodes
				     serve; NULL = none is made */
	uint16_t node_port_min, node_port_max;
	const char *advertise; /* "172.31.0.1:6443": endpoint of the Service
				  default/kubernetes; NULL = none */
	const char *issuer;    /* of service account tokens; NULL = the usual in-cluster name */
	struct str sa_key_pem; /* signs service account tokens (ES256); empty = none are issued */
	struct str ca_pem;     /* cluster CA, for connections to kubelets */
	struct str kubelet_cert_pem, kubelet_key_pem; /* client certificate towards kubelets */
	const char *token_file; /* lines "token,user,uid[,\"group,group\"]"; may be NULL */
};

/* Blocks until the store has been read once. Everything is copied from c. */
int apiserver_new(const struct apiserver_config *c, struct apiserver **ret, struct err *e);
/* No exchange may be under way, nor a request whose client has gone: see apiserver_busy. NULL is
 * fine. */
void apiserver_free(struct apiserver *s);
/* Requests that are not yet done, watches and those whose client has gone included. Any thread. */
unsigned apiserver_busy(const struct apiserver *s);

/* An http_handler; srv is the struct apiserver. Any thread, as long as it is the exchange's own. */
void apiserver_handle(void *srv, struct http_exchange *x);
/* What the HTTP server answers by itself, as a Status (httpd_config.refusal). */
struct httpd_config;
const char *apiserver_refusal(const struct httpd_config *c, int status, struct buf *body);

#endif

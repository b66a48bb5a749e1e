/* SPDX-License-Identifier: Apache-2.0
 * The HTTPS server of the node agent (port 10250): logs, exec, attach, port-forward, stats. */
#ifndef XEBEC_KUBELET_SERVER_H
#define XEBEC_KUBELET_SERVER_H

#include "kubelet/pod.h"
#include "xebec/base/http.h"

int server_start(struct kubelet *k, struct err *e);
void server_stop(struct kubelet *k);

/* streams.c: exec, attach, port-forward. Each answers the exchange, at once or later. */
void stream_exec(struct kubelet *k, struct http_exchange *x, struct slot *s);
void stream_attach(struct kubelet *k, struct http_exchange *x, struct slot *s);
void stream_portforward(struct kubelet *k, struct http_exchange *x, struct pod *p);
/* POST /run/...: a command without streams; its output is the body. */
void stream_run(struct kubelet *k, struct http_exchange *x, struct slot *s);

/* stats.c */
void stats_summary(struct kubelet *k, struct http_exchange *x);
void stats_metrics(struct kubelet *k, struct http_exchange *x);
void stats_resource(struct kubelet *k, struct http_exchange *x); /* /metrics/resource */

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The Node object: registration, status, lease. */
#ifndef XEBEC_KUBELET_NODE_H
#define XEBEC_KUBELET_NODE_H

#include "kubelet/pod.h"

struct node;
int node_start(struct kubelet *k, struct err *e);
void node_stop(struct kubelet *k);
void node_status_soon(struct kubelet *k); /* something changed: report now */

#endif

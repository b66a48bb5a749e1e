/* SPDX-License-Identifier: Apache-2.0
 * The server's components beside the API: each on a loop and a thread of its own, talking to the
 * API in-process. */
#ifndef XEBEC_ROLES_SERVER_PARTS_H
#define XEBEC_ROLES_SERVER_PARTS_H

#include "xebec/base/err.h"
#include "xebec/base/http.h"

struct server_parts;
struct server_parts_config {
	http_handler *handler;
	void *srv;
	const char *cluster_cidr, *service_cidr;
	struct str ca_pem; /* for the ConfigMap kube-root-ca.crt */
};
int server_parts_start(
	const struct server_parts_config *c, struct server_parts **ret, struct err *e);
void server_parts_halt(struct server_parts *p); /* ends and joins the threads; NULL is fine */
/* Frees. After halt, and after the last callback of the store: what is under way ends here. */
void server_parts_free(struct server_parts *p);

#endif

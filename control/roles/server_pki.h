/* SPDX-License-Identifier: Apache-2.0
 * The control plane's keys and certificates below <data-dir>/pki, and the administrator's
 * kubeconfig. */
#ifndef XEBEC_ROLES_SERVER_PKI_H
#define XEBEC_ROLES_SERVER_PKI_H

#include "xebec/base/buf.h"
#include "xebec/base/err.h"

struct server_pki {
	struct buf ca_crt, ca_key, server_crt, server_key, admin_crt, admin_key, kubelet_crt,
		kubelet_key, sa_key;
};

/* Reads what is there and makes what is missing. The server's certificate is issued anew at every
 * start, for these names ("IP:10.96.0.1", "DNS:..."; NULL-terminated). */
int server_pki_open(
	const char *dir, const char *const *sans, struct server_pki *ret, struct err *e);
void server_pki_free(struct server_pki *p);
/* url: "https://127.0.0.1:6443". */
int server_kubeconfig_write(
	const char *path, const char *url, const struct server_pki *p, struct err *e);

#endif

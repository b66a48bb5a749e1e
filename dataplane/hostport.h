/* SPDX-License-Identifier: Apache-2.0
 * Host ports of this node's pods: rows of the service maps, so that they work as services do, with
 * the client's address kept. Kept in files (one a pod, beside its lease), so that they are there
 * again after a restart. One thread. */
#ifndef XEBEC_DATAPLANE_HOSTPORT_H
#define XEBEC_DATAPLANE_HOSTPORT_H

#include <stddef.h>
#include "compile.h"
#include "xebec/base/err.h"

struct hostports;

struct hostport_sink { /* where rows go: the programmer, or a test */
	int (*set)(void *arg, const struct want_svc *w, struct err *e);
	void (*del)(void *arg, const char *name);
	void (*flush)(void *arg);
	/* Addresses of the node itself, as many as fit; returns how many there are. */
	size_t (*node_ips)(void *arg, struct ip *out, size_t max);
	void *arg;
};

/* dir is made when absent; what it holds is read, but programmed by hostports_start only. */
int hostports_open(const char *dir, struct hostports **ret, struct err *e);
void hostports_free(struct hostports *h); /* leaves files and rows */
/* Programs everything known and, from now on, every change at once. */
int hostports_start(struct hostports *h, const struct hostport_sink *sink, struct err *e);
/* The node's addresses changed: ports without a hostIP follow. */
void hostports_refresh(struct hostports *h);

/* mappings: runtimeConfig.portMappings of a CNI configuration (absent = none). pod:
 * "namespace/name" for listings. The same container again replaces what it had. */
int hostports_set(struct hostports *h, const char *container, const char *pod, const struct ip *ips,
	size_t n_ips, struct jv mappings, struct err *e);
void hostports_del(struct hostports *h, const char *container); /* absent is fine */
/* Whether exactly these mappings are in place. */
bool hostports_match(const struct hostports *h, const char *container, struct jv mappings);
/* Drops what belongs to containers that keep(arg, container) denies. */
void hostports_sweep(
	struct hostports *h, bool (*keep)(void *arg, const char *container), void *arg);
size_t hostports_len(const struct hostports *h); /* pods with host ports */

#endif

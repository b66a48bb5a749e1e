/* SPDX-License-Identifier: Apache-2.0
 * The agent side of CNI: ADD, DEL, CHECK, GC for the pods of this node. Blocks for a few rtnetlink
 * requests (about 1 ms). Source: CNI specification 1.1.0 (results are written in the version asked
 * for). */
#ifndef XEBEC_DATAPLANE_CNI_H
#define XEBEC_DATAPLANE_CNI_H

#include "hostport.h"
#include "ipam.h"
#include "maps.h"
#include "xebec/base/buf.h"

struct cni {
	struct ipam *ipam;
	struct maps *maps;	     /* NULL: addresses and links only (tests) */
	struct hostports *hostports; /* NULL: none */
	unsigned mtu;		     /* of pod links; 0 = default */
};

/* One request (the JSON that cni_plugin.c sends). Returns 0 with the result in *out, or negative
 * errno with the CNI error object in it. */
int cni_handle(struct cni *c, struct str request, struct buf *out);
/* After a restart: programs and map rows of every leased pod link again; leases whose link is gone
 * are kept (the runtime will DEL). */
int cni_adopt(struct cni *c, struct err *e);

#endif

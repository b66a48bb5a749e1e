/* SPDX-License-Identifier: Apache-2.0
 * Between the parts of the client: the transport's vtable. A transfer is one request whose response
 * comes in pieces: what single calls and watches have in common. */
#ifndef XEBEC_CLIENT_INT_H
#define XEBEC_CLIENT_INT_H

#include "xebec/base/list.h"
#include "xebec/client/client.h"

struct xfer; /* one transfer under way; each transport has its own */

struct xfer_events { /* never called inside send */
	void (*on_status)(void *arg, int status);
	void (*on_data)(void *arg, const void *p, size_t n);
	/* The last one; the transfer is gone. e NULL = the whole response came. */
	void (*on_done)(void *arg, const struct err *e);
};

struct transport_ops {
	/* Everything in r is copied; r->timeout_ns is not the transport's business. NULL when out
	 * of memory. */
	struct xfer *(*send)(struct client *c, const struct client_request *r,
		const struct xfer_events *ev, void *arg);
	void (*cancel)(struct xfer *x); /* no callback follows; allowed inside callbacks */
	void (*free)(struct client *c); /* no transfer is under way */
};

struct client { /* first member of each transport's own */
	const struct transport_ops *ops;
	struct loop *loop;
	struct list calls;
};

/* A Status body (or whatever came with an HTTP error) as an err. */
void client_error_of(int http_status, struct str body, struct err *e);

#endif

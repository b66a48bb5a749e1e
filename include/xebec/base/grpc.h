/* SPDX-License-Identifier: Apache-2.0
 * gRPC client over HTTP/2 (docs: gRPC over HTTP2): unary and server-streaming calls with deadlines,
 * many in flight. Messages are bytes. */
#ifndef XEBEC_BASE_GRPC_H
#define XEBEC_BASE_GRPC_H

#include "xebec/base/err.h"
#include "xebec/base/loop.h"
#include "xebec/base/str.h"

struct grpc;
struct grpc_call;

int grpc_new(struct loop *l, const char *addr, struct grpc **ret,
	struct err *e); /* "unix:/path" or host:port, h2c */
void grpc_free(struct grpc *g);

struct grpc_events {
	void (*on_message)(
		void *arg, struct str message); /* once for unary, any number for a stream */
	/* status: grpc-status (0 = OK, 4 deadline, 12 unimplemented, 14 unavailable); e holds the
	 * message. The call is gone. */
	void (*on_done)(void *arg, int status, const struct err *e);
};
/* method: "/runtime.v1.RuntimeService/Version". timeout_ns 0 = none. NULL when out of memory. */
struct grpc_call *grpc_send(struct grpc *g, const char *method, struct str message,
	int64_t timeout_ns, const struct grpc_events *ev, void *arg);
void grpc_cancel(struct grpc_call *c); /* no callback follows */

#endif

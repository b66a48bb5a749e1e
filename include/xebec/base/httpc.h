/* SPDX-License-Identifier: Apache-2.0
 * HTTP client on a loop: HTTP/2 when the server offers it (many requests on one connection, dialled
 * again when it dies), else HTTP/1.1 with a small pool. One client = one origin. */
#ifndef XEBEC_BASE_HTTPC_H
#define XEBEC_BASE_HTTPC_H

#include "xebec/base/err.h"
#include "xebec/base/http.h"
#include "xebec/base/stream.h"

struct httpc;
struct httpc_config {
	struct loop *loop;
	const char *addr;      /* stream_connect address */
	const char *host;      /* Host / :authority and TLS server name */
	struct tls_ctx *tls;   /* NULL = plain */
	const char *alpn;      /* "h2,http/1.1" default; "http/1.1" forces it; plain connections use
				  HTTP/1.1 unless h2c */
	bool h2c;	       /* plain HTTP/2 with prior knowledge (gRPC over a Unix socket) */
	unsigned max_h1_conns; /* default 8; streaming requests (watch) are not counted */
};
int httpc_new(const struct httpc_config *c, struct httpc **ret, struct err *e);
void httpc_free(struct httpc *c); /* cancels what is under way without callbacks */

struct httpc_req;     /* one request under way */
struct httpc_events { /* all on the loop; exactly one on_done ends a request */
	void (*on_headers)(struct httpc_req *r, int status, const struct http_header *h, size_t n);
	void (*on_data)(struct httpc_req *r, const void *p, size_t n); /* body bytes as they come */
	/* status of the whole exchange: e NULL = complete response; trailers (gRPC) in h. r is
	 * freed on return. */
	void (*on_done)(struct httpc_req *r, const struct err *e,
		const struct http_header *trailers, size_t n);
};
struct httpc_call {
	const char *method;
	struct str path; /* with query */
	const struct http_header *headers;
	size_t n_headers;
	struct str body; /* copied */
	bool body_more;	 /* HTTP/2 only: the body goes on with httpc_write (gRPC client streams) */
	int64_t timeout_ns; /* 0 = none (watch) */
	const struct httpc_events *ev;
	void *arg;
};
/* NULL only when out of memory; connection failures come through on_done. */
struct httpc_req *httpc_send(struct httpc *c, const struct httpc_call *call);
void *httpc_arg(const struct httpc_req *r);
void httpc_cancel(struct httpc_req *r); /* no callback follows */
/* More of a body_more request; never blocks. */
void httpc_write(struct httpc_req *r, const void *p, size_t n, bool last);
/* Back-pressure: while paused at most a flow-control window (HTTP/2) or a read (HTTP/1.1) more
 * comes through on_data. */
void httpc_pause(struct httpc_req *r, bool paused);

/* HTTP/1.1 Upgrade on a fresh connection: done(status 101, stream) or another status with the body
 * read (limit 64 KiB). */
typedef void httpc_upgraded(void *arg, const struct err *e, int status, const struct http_header *h,
	size_t n, struct str body, struct stream *s);
int httpc_upgrade(struct loop *l, const char *addr, struct tls_ctx *tls, const char *host,
	const struct httpc_call *call, httpc_upgraded *done, void *arg, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * HTTP without a transport in its interface. An exchange is one request and its response; the
 * server side is implemented by the HTTP/1.1 and HTTP/2 connections of httpd.h and by the
 * in-process transport, so that the API server never knows which one it answers. RFC 9110, 9112,
 * 9113. Every function must be called on the exchange's loop thread. */
#ifndef XEBEC_BASE_HTTP_H
#define XEBEC_BASE_HTTP_H

#include "xebec/base/arena.h"
#include "xebec/base/buf.h"
#include "xebec/base/loop.h"

struct http_header {
	struct str name, value; /* name in lower case */
};

struct http_peer { /* who sent the request, as the transport knows it */
	bool tls;
	struct str cert_cn; /* subject CN of a verified client certificate, empty when none */
	const struct str *cert_orgs; /* subject O values */
	size_t n_cert_orgs;
	bool cert_bad;		  /* a certificate was sent and did not verify */
	struct str addr;	  /* "10.0.0.1:4242"; "in-process" */
	const char *trusted_user; /* in-process only: the identity to act as; NULL otherwise */
	const char *const *trusted_groups; /* NULL-terminated, with trusted_user */
};

struct http_exchange;
struct stream; /* stream.h */

struct http_exchange_ops {
	/* Sends the status line and headers. headers are copied. Call once, before write. */
	void (*start)(struct http_exchange *x, int status, const struct http_header *h, size_t n);
	/* Queues body bytes (copied). Never blocks; see pending. */
	void (*write)(struct http_exchange *x, const void *p, size_t n);
	/* Ends the response; the exchange may be freed at once: do not touch it afterwards. */
	void (*end)(struct http_exchange *x);
	/* Drops the connection or resets the stream: an error after start. Same rule as end. */
	void (*abort)(struct http_exchange *x);
	/* Bytes queued and not yet taken by the peer: streams stop producing above a limit until
	 * on_drain. */
	size_t (*pending)(struct http_exchange *x);
	/* HTTP/1.1 only, for Upgrade: hands over the connection as a byte stream (stream.h).
	 * -ENOTSUP on HTTP/2. The caller writes the 101 response through it. The exchange is gone
	 * after success. */
	int (*hijack)(struct http_exchange *x, struct stream **ret);
	/* Ends with trailers (gRPC). NULL where the transport has none. Same rule as end. */
	void (*end_trailers)(struct http_exchange *x, const struct http_header *h, size_t n);
};

struct http_exchange {
	const struct http_exchange_ops *ops;
	struct loop *loop;
	struct arena arena; /* lives as long as the exchange; handlers may allocate from it */
	struct str method, path, query; /* path percent-encoded as sent, without the query */
	const struct http_header *headers;
	size_t n_headers;
	struct str body;
	struct http_peer peer;
	int64_t received_ns; /* time_mono() */
	void *user;	     /* the handler's */
	/* Set by the handler when it does not answer at once. */
	void (*on_close)(
		struct http_exchange *x); /* client went away: the exchange is freed on return */
	void (*on_drain)(struct http_exchange *x); /* pending fell to 0 */
};

typedef void http_handler(void *srv, struct http_exchange *x);

struct str http_header_get(
	const struct http_exchange *x, const char *lower_name); /* empty when absent */
/* Value of a query parameter, percent-decoded into the arena; .p == NULL when absent. */
struct str http_query_get(struct http_exchange *x, const char *name);
/* All values of a repeated parameter (?command=a&command=b). Returns the count; array in the arena.
 */
size_t http_query_all(struct http_exchange *x, const char *name, struct str **ret);
int url_decode(struct str in, bool plus_is_space, struct buf *out); /* -EINVAL on a bad escape */
void url_encode(struct str in, struct buf *out); /* everything but unreserved characters */
const char *http_status_text(int status);

/* Convenience: a whole response. extra may be NULL. */
void http_reply(struct http_exchange *x, int status, const char *content_type, struct str body,
	const struct http_header *extra, size_t n_extra);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Inside the HTTP client: requests, connections, and what a protocol implements.
 *
 * Requests and connections that are done with go to the client's grave and are freed by its task,
 * so that a callback may cancel or free anything. */
#ifndef CONTROL_BASE_HTTPC_INT_H
#define CONTROL_BASE_HTTPC_INT_H

#include "base/net_int.h"
#include "xebec/base/httpc.h"
#include "xebec/base/timefmt.h"

#define HTTPC_WINDOW (16u << 20) /* HTTP/2 flow control, stream and connection */

struct hconn;

struct httpc_req {
	struct list link; /* httpc.waiting, hconn.reqs or httpc.grave_reqs */
	struct httpc *c;
	struct hconn *k; /* NULL while waiting */
	const struct httpc_events *ev;
	void *arg;
	struct arena arena; /* the request, and the response's fields */
	struct str method, path;
	struct http_header *headers;
	size_t n_headers;
	struct buf body;
	size_t body_off;
	struct loop_timer timer;
	int32_t id;
	bool watch, body_more, deferred, paused; /* watch: no timeout, so not counted in the pool */
	bool gone, retried, answered;		 /* answered: bytes of the response have come */
	bool got_head;
	size_t unconsumed;
	/* fields of the head or trailer being received */
	int status;
	struct http_header *fields;
	size_t n_fields, cap_fields, field_bytes;
};

struct hconn_ops {
	void (*submit)(struct hconn *k, struct httpc_req *r);
	void (*data)(struct hconn *k, struct buf *in);
	void (*eof)(struct hconn *k);
	void (*flush)(struct hconn *k); /* may be NULL */
	void (*cancel)(struct hconn *k, struct httpc_req *r);
	void (*pause)(struct hconn *k, struct httpc_req *r);
	void (*tick)(struct hconn *k, int64_t now);
	void (*free)(struct hconn *k); /* the protocol's state */
	bool h2;
};

struct hconn {
	struct list link; /* httpc.conns or httpc.grave_conns */
	struct httpc *c;
	struct stream *s;
	const struct hconn_ops *ops; /* NULL while dialling */
	void *proto;
	struct list reqs;
	unsigned served;
	bool dead, closing, dirty; /* closing: takes no new request */
	int64_t since;		   /* dialled, or idle since */
	int64_t heard, pinged;	   /* last bytes received; unanswered ping, 0 = none */
};

struct httpc {
	struct httpc_config cfg;
	char *addr, *host, *alpn;
	struct list waiting, conns, grave_reqs, grave_conns;
	struct loop_task task;
	struct loop_timer timer;
	bool posted, dead, h1; /* h1: the server is known to speak HTTP/1.1 */
};

void httpc_post(struct httpc *c);
/* Ends a request; safe to call twice. e NULL = complete. */
void httpc_done(struct httpc_req *r, const struct err *e, const struct http_header *h, size_t n);
/* The connection is dead: its requests are tried again or fail. */
void hconn_kill(struct hconn *k, const struct err *e);
void hconn_dirty(struct hconn *k);
/* Back to the queue if it may be sent again. unprocessed: the server said that it did nothing. */
bool httpc_retry(struct httpc_req *r, bool unprocessed);

void hconn_start_h1(struct hconn *k);
void hconn_start_h2(struct hconn *k);
/* Request line and headers of an HTTP/1.1 request. */
void h1_write_request(struct buf *b, struct str method, struct str path, const char *host,
	const struct http_header *h, size_t n, size_t body_length);

#endif

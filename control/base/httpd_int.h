/* SPDX-License-Identifier: Apache-2.0
 * Inside the HTTP server: workers, connections, and what a protocol (HTTP/1.1, HTTP/2) implements.
 *
 * Life of a connection: conn_kill takes it off its stream at once, the worker's task then tells its
 * exchanges (reap), and the memory goes with the last exchange: a handler that answers late finds
 * a dead connection, never a freed one. */
#ifndef CONTROL_BASE_HTTPD_INT_H
#define CONTROL_BASE_HTTPD_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include "base/net_int.h"
#include "xebec/base/httpd.h"
#include "xebec/base/timefmt.h"

struct conn;

struct conn_ops {
	void (*data)(struct conn *c, struct buf *in);
	void (*eof)(struct conn *c);
	void (*drain)(struct conn *c); /* everything queued has left */
	void (*flush)(struct conn *c); /* asked for by conn_dirty; may be NULL */
	void (*tick)(struct conn *c, int64_t now);
	void (*stop)(struct conn *c);	/* finish what is under way, take nothing new */
	void (*detach)(struct conn *c); /* dead: tell the exchanges, free the protocol's state */
};

struct worker {
	struct httpd *d;
	struct loop *loop;
	pthread_t thread;
	bool has_thread, posted, stopping;
	struct list conns, dirty, dying;
	struct loop_task task, stop_task;
	struct loop_timer timer;
	int64_t stop_by;
	atomic_uint n_conns;
	int64_t date_second;
	char date[40]; /* IMF-fixdate of that second */
};

struct conn {
	struct list link;  /* worker: conns or dying */
	struct list dirty; /* worker: dirty */
	struct worker *w;
	struct stream *s;	    /* NULL when dead or hijacked */
	const struct conn_ops *ops; /* NULL until the protocol is known */
	void *proto;
	struct arena arena;
	struct http_peer peer;
	char addr[64];
	unsigned refs; /* itself and its exchanges */
	bool dead;
	int64_t since; /* of the state that a timeout bounds */
	uint64_t written;
	int64_t progress_at;
};

struct httpd {
	struct httpd_config cfg;
	struct worker *workers;
	unsigned n_workers;
	struct list listeners; /* worker 0's */
	atomic_uint n_conns;
	bool stopped, orphan; /* orphan: freed, but a task of it is still posted */
	int64_t tick_ns;
};

void conn_kill(struct conn *c);
void conn_dirty(struct conn *c);
void conn_unref(struct conn *c);
/* Tells the handler that the client is gone. True: the exchange is to be freed; false: its handler
 * has not ended it and will. */
bool exchange_lost(struct http_exchange *x);
const char *worker_date(struct worker *w);
/* Body of an answer of the server's own; returns its media type. */
const char *refusal_body(const struct conn *c, int status, struct buf *body);
/* A header a handler set that may go out: no line breaks. */
bool header_clean(const struct http_header *h);

void conn_start_h1(struct conn *c);
void conn_start_h2(struct conn *c);

#endif

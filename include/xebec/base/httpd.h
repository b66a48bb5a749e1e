/* SPDX-License-Identifier: Apache-2.0
 * HTTP server: HTTP/1.1 and HTTP/2 (ALPN h2, http/1.1; h2c with prior knowledge), TLS or plain, N
 * I/O threads each with its own loop. A connection stays on its thread; the handler runs there with
 * the whole request body read. */
#ifndef XEBEC_BASE_HTTPD_H
#define XEBEC_BASE_HTTPD_H

#include "xebec/base/err.h"
#include "xebec/base/http.h"

struct tls_ctx;
struct httpd;

struct httpd_config {
	http_handler *handler;
	void *srv;
	struct tls_ctx *tls;	   /* NULL = plain */
	unsigned threads;	   /* >= 1; 0 = run on `loop`, no thread of its own */
	struct loop *loop;	   /* with threads == 0 */
	size_t max_body;	   /* bytes; larger requests get 413 */
	size_t max_header;	   /* bytes; larger get 431 */
	unsigned max_conns;	   /* more are closed at accept */
	int64_t idle_timeout_ns;   /* no request under way */
	int64_t header_timeout_ns; /* slow clients: time to send a whole request */
	/* Body of an answer that the server gives by itself (400, 408, 413, 431, 503); returns its
	 * media type. NULL = a line of text. Called on the connection's thread. */
	const char *(*refusal)(const struct httpd_config *c, int status, struct buf *body);
};

int httpd_new(const struct httpd_config *c, struct httpd **ret, struct err *e);
/* Listening socket made by the caller (net_listen) or inherited; the server owns it from here. May
 * be called several times. */
int httpd_listen_fd(struct httpd *d, int fd, struct err *e);
void httpd_stop(struct httpd
		*d); /* stops accepting, sends GOAWAY, closes idle connections; joins threads */
void httpd_free(struct httpd *d);

/* "ADDR:PORT", "[v6]:port", ":port" or "unix:/path"; SO_REUSEADDR; non-blocking. The fd or negative
 * errno. */
int net_listen(const char *addr, struct err *e);

#endif

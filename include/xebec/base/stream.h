/* SPDX-License-Identifier: Apache-2.0
 * A bidirectional byte stream on a loop: TCP, Unix or TLS connection, or a test pipe. Used after an
 * Upgrade and by protocol clients. Owner's thread = loop thread. */
#ifndef XEBEC_BASE_STREAM_H
#define XEBEC_BASE_STREAM_H

#include "xebec/base/buf.h"
#include "xebec/base/err.h"
#include "xebec/base/loop.h"

struct tls_ctx;
struct stream;

struct stream_events {
	void (*on_connect)(struct stream *s); /* outgoing: connected and TLS done */
	/* Bytes arrived; the callee consumes what it can from *in (buf_consume) and the rest stays.
	 */
	void (*on_data)(struct stream *s, struct buf *in);
	void (*on_eof)(struct stream *s);			 /* peer half-closed */
	void (*on_error)(struct stream *s, const struct err *e); /* dead; free it here or later */
	void (*on_drain)(struct stream *s);			 /* everything written has left */
};

/* addr: "unix:/path", "host:port", "[v6]:port". tls NULL = plain; server_name for SNI and
 * verification; alpn like "h2,http/1.1". */
int stream_connect(struct loop *l, const char *addr, struct tls_ctx *tls, const char *server_name,
	const char *alpn, const struct stream_events *ev, void *arg, struct stream **ret,
	struct err *e);
/* Adopts a connected fd. */
int stream_from_fd(
	struct loop *l, int fd, const struct stream_events *ev, void *arg, struct stream **ret);
/* Adopts an accepted fd as the server's end; tls NULL = plain. on_connect follows the handshake; on
 * failure the fd stays the caller's. */
int stream_accept(struct loop *l, int fd, struct tls_ctx *tls, const struct stream_events *ev,
	void *arg, struct stream **ret);
void stream_set_events(struct stream *s, const struct stream_events *ev,
	void *arg); /* after a hijack; buffered input is delivered */
void *stream_arg(const struct stream *s);
struct loop *stream_loop(const struct stream *s);
const char *stream_alpn(const struct stream *s);	      /* negotiated, "" when none */
void stream_write(struct stream *s, const void *p, size_t n); /* queued; never blocks */
size_t stream_pending(const struct stream *s);
void stream_pause(struct stream *s, bool paused); /* back-pressure: stop reading */
void stream_shutdown(struct stream *s);		  /* half-close after what is queued */
void stream_free(struct stream *s); /* closes at once; safe inside callbacks; NULL is fine */
/* Gives the stream away: it is freed once what is queued has left (at most 10 s). */
void stream_close(struct stream *s);
/* Copies bytes both ways until both ends are done, with half-close and back-pressure; owns both.
 * done may be NULL. */
int stream_splice(struct stream *a, struct stream *b, void (*done)(void *arg), void *arg);

#endif

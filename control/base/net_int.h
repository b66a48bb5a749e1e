/* SPDX-License-Identifier: Apache-2.0
 * Shared by the network half of base: socket addresses, TLS sessions, stream internals. */
#ifndef CONTROL_BASE_NET_INT_H
#define CONTROL_BASE_NET_INT_H

#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "xebec/base/http.h"
#include "xebec/base/stream.h"

struct net_addr {
	union {
		struct sockaddr sa;
		struct sockaddr_un un;
		struct sockaddr_storage ss;
	} u;
	socklen_t len;
};

/* "unix:/path", "host:port", "[v6]:port"; passive allows ":port". Host names go through
 * getaddrinfo, which may block. */
int net_addr_parse(const char *addr, bool passive, struct net_addr *ret, struct err *e);
void net_tune_tcp(int fd); /* no delay, keep-alive; harmless on other sockets */
void net_peer_name(int fd, char *dst, size_t cap);

/* A new TLS session over fd. Server side when the context is one. */
SSL *tls_session_new(
	struct tls_ctx *c, int fd, const char *server_name, const char *alpn, struct err *e);
/* Identity from the client's certificate, copied into the arena. */
void tls_peer_identity(SSL *ssl, struct arena *a, struct http_peer *peer);
/* Text of the last TLS failure. */
int tls_error(SSL *ssl, struct err *e, const char *what);

SSL *stream_ssl(struct stream *s);
int stream_fd(const struct stream *s);
uint64_t stream_written(const struct stream *s); /* bytes that the kernel took, ever */
/* on_data is called again with what is buffered, from the loop. */
void stream_kick(struct stream *s);
void stream_flush(struct stream *s); /* tries to write now instead of at the end of the round */

#endif

/* SPDX-License-Identifier: Apache-2.0
 * What the DNS server's parts share: sockets (dns_server.c) and questions (dns_request.c). */
#ifndef XEBEC_DATAPLANE_DNS_SERVER_INT_H
#define XEBEC_DATAPLANE_DNS_SERVER_INT_H

#include <sys/socket.h>
#include "compile.h"
#include "dns_server.h"
#include "xebec/base/stream.h"

enum { CLIENT_SLOTS = 1024, LATENCY_BUCKETS = 14, BATCH = 32, QUERY_MAX = 4096 };

struct dns_conn {
	struct list link; /* in dns_server.conns */
	struct dns_server *server;
	struct stream *stream;
	struct loop_timer idle;
	struct list requests;
	unsigned n_requests, client;
	struct sockaddr_storage ss;
	socklen_t len;
	bool full; /* paused until some are answered */
	bool eof;  /* the client asks no more */
};

/* Who asked. */
struct dns_origin {
	struct dns_conn *conn; /* NULL = UDP */
	struct sockaddr_storage ss;
	socklen_t len;
	unsigned client; /* its slot */
};

struct dns_stats {
	uint64_t udp, tcp, dropped, held;
	uint64_t types[8], rcodes[8]; /* by the tables in dns_request.c */
	uint64_t buckets[LATENCY_BUCKETS + 1], count;
	int64_t sum_ns;
};

struct dns_server {
	struct dns_server_config c;
	struct loop_fd udp, tcp;
	uint16_t port;
	struct ip own, net;
	unsigned prefix;
	struct list conns, requests, held;
	size_t n_conns, n_requests;
	struct loop_timer sweep;
	bool ready;
	uint16_t clients[CLIENT_SLOTS]; /* requests under way, by hashed address */
	uint16_t client_conns[CLIENT_SLOTS];
	struct dns_stats stats;
	uint8_t in[BATCH][QUERY_MAX];
	uint8_t out[2 + 65535 + 16]; /* the answer being made, after room for a length */
};

/* dns_request.c */
void dns_take(struct dns_server *s, const struct dns_origin *o, const uint8_t *msg, size_t n);
void dns_requests_start(struct dns_server *s);
void dns_requests_drop(
	struct dns_server *s, struct list *requests); /* of a connection; unanswered */
void dns_requests_free(struct dns_server *s);

/* dns_server.c: sends what stands in s->out + 2. */
void dns_send(struct dns_server *s, const struct dns_origin *o, size_t n);
void dns_conn_relieved(struct dns_conn *c);

#endif

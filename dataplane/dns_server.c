/* SPDX-License-Identifier: Apache-2.0
 * The DNS server's sockets. */
#include "dns_server_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include "xebec/base/timefmt.h"

enum {
	ROUNDS = 4, /* batches before other work of the loop gets its turn */
	CONNS_MAX = 512,
	CONNS_CLIENT_MAX = 64,
	CONN_REQUESTS_MAX = 64,
	CONN_BACKLOG_MAX = 1 << 20,
	PORT_TRIES = 16,
	RCVBUF = 1 << 20,
};
#define IDLE_NS (15 * NS_PER_SEC)

/* ------------------------------------------------------------------ addresses */

static socklen_t sockaddr_make(const struct ip *ip, uint16_t port, struct sockaddr_storage *ret)
{
	*ret = (struct sockaddr_storage){0};
	if (ip->family == 6) {
		struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		memcpy(&v6->sin6_addr, ip->b, 16);
		return sizeof *v6;
	}
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	v4->sin_family = AF_INET;
	v4->sin_port = htons(port);
	memcpy(&v4->sin_addr, ip->b, 4);
	return sizeof *v4;
}

static void sockaddr_ip(const struct sockaddr_storage *ss, struct ip *ret)
{
	*ret = (struct ip){.family = ss->ss_family == AF_INET6 ? 6 : 4};
	if (ret->family == 6)
		memcpy(ret->b, &((const struct sockaddr_in6 *)ss)->sin6_addr, 16);
	else
		memcpy(ret->b, &((const struct sockaddr_in *)ss)->sin_addr, 4);
}

/* Is it an address of this machine? Only such can be bound. */
static bool is_local(const struct ip *ip)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_make(ip, 0, &ss);
	AUTO_CLOSE int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd >= 0 && bind(fd, (struct sockaddr *)&ss, len) == 0;
}

/* An open resolver would be a gift to attackers of third parties: pods and this node only. */
static bool may_ask(const struct dns_server *s, const struct ip *ip)
{
	if (!s->c.cluster_cidr || memcmp(ip, &s->own, sizeof *ip) == 0)
		return true;
	bool inside = ip->family == s->net.family;
	for (unsigned i = 0; inside && i < s->prefix; i++)
		inside = !((ip->b[i / 8] ^ s->net.b[i / 8]) & 0x80 >> i % 8);
	return inside || is_local(ip);
}

static bool origin_set(struct dns_server *s, struct dns_origin *o)
{
	struct ip ip;
	sockaddr_ip(&o->ss, &ip);
	struct str key = {.p = (const char *)&ip, .n = sizeof ip};
	o->client = (unsigned)(str_hash(key) % CLIENT_SLOTS);
	return may_ask(s, &ip);
}

/* ------------------------------------------------------------------ sending */

static void send_tcp(struct dns_server *s, struct dns_conn *c, size_t n)
{
	s->out[0] = (uint8_t)(n >> 8);
	s->out[1] = (uint8_t)n;
	stream_write(c->stream, s->out, n + 2);
}

void dns_send(struct dns_server *s, const struct dns_origin *o, size_t n)
{
	if (o->conn)
		send_tcp(s, o->conn, n);
	else /* a full send buffer is a lost datagram: the client asks again */
		(void)sendto(s->udp.fd, s->out + 2, n, MSG_DONTWAIT | MSG_NOSIGNAL,
			(const struct sockaddr *)&o->ss, o->len);
}

/* ------------------------------------------------------------------ UDP */

static int udp_batch(struct dns_server *s)
{
	struct sockaddr_storage from[BATCH];
	struct iovec io[BATCH];
	struct mmsghdr m[BATCH];
	for (unsigned i = 0; i < BATCH; i++) {
		io[i] = (struct iovec){.iov_base = s->in[i], .iov_len = QUERY_MAX};
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &from[i],
						.msg_namelen = sizeof from[i],
						.msg_iov = &io[i],
						.msg_iovlen = 1}};
	}
	int n = recvmmsg(s->udp.fd, m, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		struct dns_origin o = {.ss = from[i], .len = m[i].msg_hdr.msg_namelen};
		/* port 0 cannot be answered; cut questions are nobody's */
		if (!(m[i].msg_hdr.msg_flags & MSG_TRUNC) && origin_set(s, &o)) {
			s->stats.udp++;
			dns_take(s, &o, s->in[i], m[i].msg_len);
		} else {
			s->stats.dropped++;
		}
	}
	return n;
}

static void on_udp(struct loop_fd *f, uint32_t events)
{
	(void)events;
	for (unsigned i = 0; i < ROUNDS && udp_batch(f->arg) == BATCH; i++)
		;
}

/* ------------------------------------------------------------------ TCP */

static void conn_free(struct dns_conn *c)
{
	struct dns_server *s = c->server;
	dns_requests_drop(s, &c->requests);
	loop_timer_cancel(&c->idle);
	stream_free(c->stream);
	list_del(&c->link);
	s->client_conns[c->client]--;
	s->n_conns--;
	free(c);
}

static void conn_read(struct dns_conn *c, struct buf *in)
{
	struct dns_server *s = c->server;
	struct dns_origin o = {.conn = c, .ss = c->ss, .len = c->len, .client = c->client};
	while (in->len >= 2) {
		const uint8_t *p = (const uint8_t *)in->p;
		size_t n = (size_t)(p[0] << 8 | p[1]);
		if (n > QUERY_MAX || stream_pending(c->stream) > CONN_BACKLOG_MAX) {
			conn_free(c);
			return;
		}
		if (in->len < n + 2)
			break;
		if (c->n_requests >= CONN_REQUESTS_MAX) {
			c->full = true;
			stream_pause(c->stream, true);
			return;
		}
		s->stats.tcp++;
		dns_take(s, &o, p + 2, n);
		buf_consume(in, n + 2);
	}
}

static void on_data(struct stream *st, struct buf *in)
{
	struct dns_conn *c = stream_arg(st);
	(void)loop_timer_set(c->server->c.loop, &c->idle, IDLE_NS);
	conn_read(c, in);
}

void dns_conn_relieved(struct dns_conn *c)
{
	if (!c->full || c->n_requests > CONN_REQUESTS_MAX / 2)
		return;
	c->full = false;
	stream_pause(c->stream, false);
}

/* Answers still under way are sent, though the client asks no more. */
static void on_eof(struct stream *st)
{
	struct dns_conn *c = stream_arg(st);
	c->eof = true;
	if (c->n_requests == 0 && stream_pending(st) == 0)
		conn_free(c);
}

static void on_drain(struct stream *st)
{
	struct dns_conn *c = stream_arg(st);
	if (c->eof && c->n_requests == 0)
		conn_free(c);
}

static void on_error(struct stream *st, const struct err *e)
{
	(void)e;
	conn_free(stream_arg(st));
}

static void on_idle(struct loop_timer *t)
{
	conn_free(t->arg);
}

static int conn_new(struct dns_server *s, int fd, const struct dns_origin *o)
{
	static const struct stream_events ev = {
		.on_data = on_data, .on_eof = on_eof, .on_drain = on_drain, .on_error = on_error};
	if (s->n_conns >= CONNS_MAX || s->client_conns[o->client] >= CONNS_CLIENT_MAX)
		return -EMFILE;
	struct dns_conn *c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	int r = stream_from_fd(s->c.loop, fd, &ev, c, &c->stream);
	if (r) {
		free(c);
		return r;
	}
	c->server = s;
	c->ss = o->ss;
	c->len = o->len;
	c->client = o->client;
	c->idle = (struct loop_timer){.fn = on_idle, .arg = c};
	list_init(&c->requests);
	list_push(&s->conns, &c->link);
	s->n_conns++;
	s->client_conns[o->client]++;
	(void)loop_timer_set(s->c.loop, &c->idle, IDLE_NS);
	return 0;
}

static void on_accept(struct loop_fd *f, uint32_t events)
{
	struct dns_server *s = f->arg;
	(void)events;
	for (unsigned i = 0; i < BATCH; i++) {
		struct dns_origin o = {.len = sizeof o.ss};
		int fd = accept4(
			f->fd, (struct sockaddr *)&o.ss, &o.len, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		if (!origin_set(s, &o) || conn_new(s, fd, &o)) {
			s->stats.dropped++;
			(void)close(fd);
		}
	}
}

/* ------------------------------------------------------------------ life */

static int listen_one(const struct ip *ip, uint16_t port, int type, int *ret, uint16_t *ret_port)
{
	struct sockaddr_storage ss;
	socklen_t len = sockaddr_make(ip, port, &ss);
	int on = 1, size = RCVBUF;
	AUTO_CLOSE int fd = socket(ss.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (type == SOCK_STREAM)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	else
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
	if (bind(fd, (struct sockaddr *)&ss, len) || (type == SOCK_STREAM && listen(fd, 256)) ||
		getsockname(fd, (struct sockaddr *)&ss, &len))
		return -errno;
	*ret_port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&ss)->sin6_port
						   : ((struct sockaddr_in *)&ss)->sin_port);
	*ret = STEAL_FD(fd);
	return 0;
}

/* Both protocols on one port: the wanted one, else any that is free for both. */
static int listen_both(struct dns_server *s)
{
	int r = -EADDRINUSE;
	for (unsigned i = 0; i < PORT_TRIES && r == -EADDRINUSE; i++) {
		AUTO_CLOSE int tcp = -1;
		uint16_t port = i ? 0 : s->c.port;
		r = listen_one(&s->own, port, SOCK_STREAM, &tcp, &port);
		r = r ? r : listen_one(&s->own, port, SOCK_DGRAM, &s->udp.fd, &port);
		if (r == 0) {
			s->port = port;
			s->tcp.fd = STEAL_FD(tcp);
		}
	}
	return r;
}

/* Who may ask over IPv4: pods' first range. */
static int first_range(const char *cidrs, struct dns_server *s)
{
	struct str rest = str_of(cidrs);
	return ip_cidr_parse(str_cut(&rest, ','), &s->net, &s->prefix);
}

static int sockets_open(struct dns_server *s, struct err *e)
{
	s->udp = (struct loop_fd){.fd = -1, .fn = on_udp, .arg = s};
	s->tcp = (struct loop_fd){.fd = -1, .fn = on_accept, .arg = s};
	if (ip_parse(str_of(s->c.ip), &s->own) ||
		(s->c.cluster_cidr && first_range(s->c.cluster_cidr, s)))
		return err_set(e, EINVAL, NULL, "'%s' or '%s' is no address", s->c.ip,
			s->c.cluster_cidr ? s->c.cluster_cidr : "");
	int r = listen_both(s);
	r = r ? r : loop_fd_add(s->c.loop, &s->udp, EPOLLIN);
	r = r ? r : loop_fd_add(s->c.loop, &s->tcp, EPOLLIN);
	return r ? err_set(e, r, NULL, "name service on %s: %s", s->c.ip, strerror(-r)) : 0;
}

int dns_server_new(const struct dns_server_config *c, struct dns_server **ret, struct err *e)
{
	struct dns_server *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, ENOMEM, NULL, "out of memory");
	s->c = *c;
	list_init(&s->conns);
	dns_requests_start(s);
	int r = sockets_open(s, e);
	if (r) {
		dns_server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

static void socket_close(struct loop_fd *f)
{
	loop_fd_del(f);
	if (f->fd >= 0)
		(void)close(f->fd);
}

void dns_server_free(struct dns_server *s)
{
	if (!s)
		return;
	list_each_safe (it, &s->conns)
		conn_free(list_entry(it, struct dns_conn, link));
	dns_requests_free(s);
	socket_close(&s->udp);
	socket_close(&s->tcp);
	free(s);
}

uint16_t dns_server_port(const struct dns_server *s)
{
	return s->port;
}

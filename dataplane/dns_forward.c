/* SPDX-License-Identifier: Apache-2.0
 * Questions to other name servers. */
#include "dns_forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "xebec/base/htab.h"
#include "xebec/base/stream.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

enum {
	SERVERS_MAX = 4,
	TRIES_MAX = 4,
	JOBS_MAX = 512,
	WAITS_MAX = 512, /* of one job */
	DNS_PORT = 53,
	DOWN_AFTER = 3, /* failures on end */
	TTL_MAX = 3600,
	TTL_NEGATIVE_MAX = 300,
	CACHE_BYTES = 8 << 20,
	UDP_BUF = 4096,
};
#define TRY_ONE_NS    (2 * NS_PER_SEC) /* when there is one server */
#define TRY_MANY_NS   (1 * NS_PER_SEC)
#define TCP_NS	      (3 * NS_PER_SEC)
#define DOWN_NS	      (5 * NS_PER_SEC)
#define CONF_CHECK_NS (2 * NS_PER_SEC)

struct server {
	struct sockaddr_storage ss;
	socklen_t len;
	char text[INET6_ADDRSTRLEN + 8]; /* as stream_connect wants it */
	unsigned fails;
	int64_t down_until;
};

struct
try {
	struct loop_fd fd;
	struct job *job;
	uint16_t id;
	unsigned server;
};

struct job {
	struct dns_forward *f;
	struct dns_key key;
	struct dns_name name;
	struct list waits;
	unsigned n_waits, n_tries, max_tries, tcp_server;
	struct try tries[TRIES_MAX];
	struct loop_timer timer;
	struct stream *tcp;
	uint16_t tcp_id;
	bool plain;   /* without EDNS: somebody did not understand it */
	uint8_t *bad; /* the last unhelpful answer, sent on when nothing better comes */
	size_t bad_n;
};

struct dns_forward {
	struct loop *loop;
	char *upstream, *path, *self[2];
	struct server servers[SERVERS_MAX];
	unsigned n_servers;
	struct timespec conf_mtime;
	ino_t conf_ino;
	int64_t conf_checked;
	struct htab *jobs;
	struct dns_cache *cache;
	uint64_t sent, tcp_sent, timeouts, failed, refused, hits, misses, stale, joined;
};

/* ------------------------------------------------------------------ servers */

static bool is_self(const struct dns_forward *f, struct str addr, uint64_t port)
{
	for (unsigned i = 0; i < ARRAY_LEN(f->self); i++)
		if (f->self[i] && port == DNS_PORT && str_eqz(addr, f->self[i]))
			return true;
	return false;
}

/* "1.2.3.4", "1.2.3.4:53", "fd00::1", "[fd00::1]:53" */
static void server_add(struct dns_forward *f, struct str text)
{
	struct server *s = &f->servers[f->n_servers];
	char host[INET6_ADDRSTRLEN];
	uint64_t port = DNS_PORT;
	struct sockaddr_in *v4 = (struct sockaddr_in *)&s->ss;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&s->ss;
	const char *colon = memchr(text.p, ':', text.n);
	bool many = colon && memchr(colon + 1, ':', (size_t)(text.p + text.n - colon - 1));
	if (f->n_servers == SERVERS_MAX)
		return;
	if (text.n && text.p[0] == '[') {
		text.p++;
		text.n--;
		struct str addr = str_cut(&text, ']');
		if (text.n > 1 && str_u64((struct str){text.p + 1, text.n - 1}, &port))
			return;
		text = addr;
	} else if (colon && !many) {
		struct str addr = str_cut(&text, ':');
		if (str_u64(text, &port))
			return;
		text = addr;
	}
	if (port == 0 || port > 65535 || is_self(f, text, port) ||
		str_copy(host, sizeof host, text))
		return;
	*s = (struct server){0};
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		s->len = sizeof *v4;
		(void)snprintf(s->text, sizeof s->text, "%s:%u", host, (unsigned)port);
	} else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		s->len = sizeof *v6;
		(void)snprintf(s->text, sizeof s->text, "[%s]:%u", host, (unsigned)port);
	} else {
		return;
	}
	f->n_servers++;
}

static struct str word(struct str *line)
{
	while (line->n && (*line->p == ' ' || *line->p == '\t')) {
		line->p++;
		line->n--;
	}
	size_t n = 0;
	while (n < line->n && !strchr(" \t\r", line->p[n]))
		n++;
	struct str w = {line->p, n};
	line->p += n;
	line->n -= n;
	return w;
}

static void conf_parse(struct dns_forward *f, struct str text)
{
	while (text.n) {
		struct str line = str_cut(&text, '\n');
		if (str_eqz(word(&line), "nameserver"))
			server_add(f, word(&line));
	}
}

/* resolv.conf may be written while we run (DHCP). */
static void servers_refresh(struct dns_forward *f)
{
	struct stat st;
	AUTO_BUF struct buf text = {0};
	int64_t now = time_mono();
	if (f->upstream || (f->conf_checked && now - f->conf_checked < CONF_CHECK_NS))
		return;
	f->conf_checked = now;
	if (stat(f->path, &st) ||
		(st.st_mtim.tv_sec == f->conf_mtime.tv_sec &&
			st.st_mtim.tv_nsec == f->conf_mtime.tv_nsec && st.st_ino == f->conf_ino))
		return;
	if (file_read(f->path, 64 << 10, &text))
		return;
	f->conf_mtime = st.st_mtim;
	f->conf_ino = st.st_ino;
	f->n_servers = 0;
	conf_parse(f, buf_str(&text));
}

static void server_result(struct dns_forward *f, unsigned i, bool good)
{
	struct server *s = &f->servers[i];
	if (i >= f->n_servers)
		return;
	s->fails = good ? 0 : s->fails + 1;
	s->down_until = s->fails >= DOWN_AFTER ? time_mono() + DOWN_NS : 0;
}

/* The k-th choice: servers that answer before those that do not, in their order. */
static unsigned server_pick(const struct dns_forward *f, unsigned k)
{
	unsigned order[SERVERS_MAX], n = 0;
	int64_t now = time_mono();
	for (int down = 0; down < 2; down++)
		for (unsigned i = 0; i < f->n_servers; i++)
			if ((f->servers[i].down_until > now) == down)
				order[n++] = i;
	return order[k % n];
}

/* ------------------------------------------------------------------ jobs */

static void tries_close(struct job *j)
{
	for (unsigned i = 0; i < j->n_tries; i++) {
		struct try *t = &j->tries[i];
		if (t->fd.fd < 0)
			continue;
		loop_fd_del(&t->fd);
		(void)close(t->fd.fd);
		t->fd.fd = -1;
	}
}

static void job_free(void *v)
{
	struct job *j = v;
	tries_close(j);
	loop_timer_cancel(&j->timer);
	stream_free(j->tcp);
	list_each_safe (it, &j->waits)
		list_del(it);
	free(j->bad);
	free(j);
}

/* Hands the answer to all who wait. */
static void job_end(struct job *j, const uint8_t *msg, size_t n, uint32_t age, bool stale)
{
	struct list waits;
	(void)htab_del(j->f->jobs, dns_key_bytes(&j->key));
	list_init(&waits);
	list_each_safe (it, &j->waits) {
		list_del(it);
		list_push(&waits, it);
	}
	while (!list_empty(&waits)) {
		struct dns_wait *w = list_entry(waits.next, struct dns_wait, link);
		list_del(&w->link);
		w->done(w, msg, n, age, stale);
	}
	job_free(j);
}

/* Nobody gave a good answer: an old one is better than none (RFC 8767). */
static void job_fail(struct job *j)
{
	struct dns_cached c;
	j->f->failed++;
	if (dns_cache_get(j->f->cache, &j->key, time_mono(), &c)) {
		j->f->stale++;
		job_end(j, c.msg, c.n, c.age, true);
	} else {
		job_end(j, j->bad, j->bad_n, 0, false);
	}
}

static void job_next(struct job *j);

static void tcp_start(struct job *j, unsigned server);

/* True when the job is over, or goes on by TCP. */
static bool job_answer(
	struct job *j, uint8_t *msg, size_t n, unsigned server, uint16_t id, bool tcp)
{
	struct dns_info info;
	if (dns_response_parse(msg, &n, &j->name, j->key.type, &info) || info.id != id)
		return false; /* not for us: somebody may be guessing */
	server_result(j->f, server, true);
	if (info.flags & DNS_TC && !tcp) {
		tcp_start(j, server);
		return true;
	}
	if (info.rcode != DNS_NOERROR && info.rcode != DNS_NXDOMAIN) {
		j->f->refused++;
		j->plain |= info.rcode == DNS_FORMERR || info.rcode == DNS_NOTIMP;
		uint8_t *copy = malloc(n);
		if (copy) {
			free(j->bad);
			j->bad = memcpy(copy, msg, n);
			j->bad_n = n;
		}
		job_next(j);
		return true;
	}
	uint32_t max = info.n_answers && info.rcode == DNS_NOERROR ? TTL_MAX : TTL_NEGATIVE_MAX;
	if (info.cacheable)
		dns_cache_put(
			j->f->cache, &j->key, msg, n, info.ttl < max ? info.ttl : max, time_mono());
	job_end(j, msg, n, 0, false);
	return true;
}

static void on_udp(struct loop_fd *fd, uint32_t events)
{
	struct try *t = fd->arg;
	struct job *j = t->job;
	uint8_t msg[UDP_BUF];
	(void)events;
	for (;;) {
		ssize_t n = recv(fd->fd, msg, sizeof msg, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) { /* unreachable: no use in waiting */
			server_result(j->f, t->server, false);
			loop_fd_del(fd);
			(void)close(fd->fd);
			fd->fd = -1;
			if (t == &j->tries[j->n_tries - 1])
				job_next(j);
			return;
		}
		if (job_answer(j, msg, (size_t)n, t->server, t->id, false))
			return;
	}
}

static uint16_t query_flags(const struct job *j)
{
	return (uint16_t)(DNS_RD | DNS_AD | (j->key.flags & DNS_CD));
}

/* Unreachable networks and hosts are errors of the socket, too, not only closed ports. */
static void errors_wanted(int fd, int family)
{
	int one = 1;
	if (family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof one);
	else
		(void)setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof one);
}

/* 0: sent. */
static int try_send(struct job *j, struct try *t)
{
	const struct server *s = &j->f->servers[t->server];
	uint8_t q[DNS_UDP_MIN];
	AUTO_CLOSE int fd = socket(s->ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0)
		errors_wanted(fd, s->ss.ss_family);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&s->ss, s->len))
		return -errno;
	random_bytes(&t->id, sizeof t->id);
	size_t n = dns_question(
		q, t->id, &j->name, j->key.type, query_flags(j), !j->plain, j->key.flags & 1);
	if (send(fd, q, n, 0) != (ssize_t)n)
		return -errno;
	t->job = j;
	t->fd = (struct loop_fd){.fd = fd, .fn = on_udp, .arg = t};
	int r = loop_fd_add(j->f->loop, &t->fd, EPOLLIN);
	if (r)
		return r;
	(void)STEAL_FD(fd);
	j->f->sent++;
	return 0;
}

/* The next try, or the end. */
static void job_next(struct job *j)
{
	struct dns_forward *f = j->f;
	stream_free(j->tcp);
	j->tcp = NULL;
	while (f->n_servers && j->n_tries < j->max_tries) {
		struct try *t = &j->tries[j->n_tries];
		t->fd.fd = -1;
		t->server = server_pick(f, j->n_tries++);
		if (try_send(j, t) == 0) {
			(void)loop_timer_set(
				f->loop, &j->timer, f->n_servers > 1 ? TRY_MANY_NS : TRY_ONE_NS);
			return;
		}
		t->fd.fd = -1;
		server_result(f, t->server, false);
	}
	job_fail(j);
}

static void on_timer(struct loop_timer *timer)
{
	struct job *j = timer->arg;
	unsigned server = j->tcp ? j->tcp_server : j->n_tries ? j->tries[j->n_tries - 1].server : 0;
	if (j->tcp || j->n_tries) { /* not: the first round */
		j->f->timeouts++;
		server_result(j->f, server, false);
	}
	job_next(j);
}

/* ------------------------------------------------------------------ TCP */

static void on_tcp_connect(struct stream *s)
{
	struct job *j = stream_arg(s);
	uint8_t q[2 + DNS_UDP_MIN];
	random_bytes(&j->tcp_id, sizeof j->tcp_id);
	size_t n = dns_question(q + 2, j->tcp_id, &j->name, j->key.type, query_flags(j), !j->plain,
		j->key.flags & 1);
	q[0] = (uint8_t)(n >> 8);
	q[1] = (uint8_t)n;
	stream_write(s, q, n + 2);
	j->f->tcp_sent++;
}

static void tcp_failed(struct job *j)
{
	server_result(j->f, j->tcp_server, false);
	job_next(j);
}

static void on_tcp_data(struct stream *s, struct buf *in)
{
	struct job *j = stream_arg(s);
	uint8_t *p = (uint8_t *)in->p;
	size_t n = in->len < 2 ? 0 : (size_t)(p[0] << 8 | p[1]);
	if (in->len < 2 || in->len < n + 2)
		return;
	if (!job_answer(j, p + 2, n, j->tcp_server, j->tcp_id, true))
		tcp_failed(j);
}

static void on_tcp_eof(struct stream *s)
{
	tcp_failed(stream_arg(s));
}

static void on_tcp_error(struct stream *s, const struct err *e)
{
	(void)e;
	tcp_failed(stream_arg(s));
}

static void tcp_start(struct job *j, unsigned server)
{
	static const struct stream_events ev = {.on_connect = on_tcp_connect,
		.on_data = on_tcp_data,
		.on_eof = on_tcp_eof,
		.on_error = on_tcp_error};
	tries_close(j);
	j->tcp_server = server;
	if (server >= j->f->n_servers || stream_connect(j->f->loop, j->f->servers[server].text,
						 NULL, NULL, NULL, &ev, j, &j->tcp, NULL)) {
		j->tcp = NULL;
		job_next(j);
		return;
	}
	(void)loop_timer_set(j->f->loop, &j->timer, TCP_NS);
}

/* ------------------------------------------------------------------ asking */

bool dns_forward_cached(struct dns_forward *f, const struct dns_key *k, struct dns_cached *ret)
{
	bool hit = dns_cache_get(f->cache, k, time_mono(), ret) && !ret->stale;
	*(hit ? &f->hits : &f->misses) += 1;
	return hit;
}

static struct job *job_new(
	struct dns_forward *f, const struct dns_name *name, const struct dns_key *k)
{
	struct job *j = htab_len(f->jobs) < JOBS_MAX ? calloc(1, sizeof *j) : NULL;
	if (!j)
		return NULL;
	j->f = f;
	j->key = *k;
	j->name = *name;
	list_init(&j->waits);
	j->timer = (struct loop_timer){.fn = on_timer, .arg = j};
	servers_refresh(f);
	j->max_tries = f->n_servers > 1 ? TRIES_MAX : 2;
	if (htab_put(f->jobs, dns_key_bytes(k), j, NULL)) {
		free(j);
		return NULL;
	}
	/* On the next round: done is never called inside the call. */
	(void)loop_timer_set(f->loop, &j->timer, 0);
	return j;
}

enum dns_asked dns_forward_ask(struct dns_forward *f, const struct dns_name *name,
	const struct dns_key *k, struct dns_wait *w)
{
	struct job *j = htab_get(f->jobs, dns_key_bytes(k));
	f->joined += j != NULL;
	if (!j)
		j = job_new(f, name, k);
	if (!j || j->n_waits == WAITS_MAX)
		return DNS_FULL;
	j->n_waits++;
	list_push(&j->waits, &w->link);
	return DNS_WAITING;
}

void dns_forward_cancel(struct dns_wait *w)
{
	list_del(&w->link);
}

/* ------------------------------------------------------------------ life */

void dns_forward_metrics(const struct dns_forward *f, struct buf *out)
{
	const struct {
		const char *name, *type;
		uint64_t v;
	} rows[] = {
		{"cache_hits_total", "counter", f->hits},
		{"cache_misses_total", "counter", f->misses},
		{"cache_stale_total", "counter", f->stale},
		{"cache_entries", "gauge", dns_cache_len(f->cache)},
		{"cache_bytes", "gauge", dns_cache_bytes(f->cache)},
		{"forward_requests_total", "counter", f->sent},
		{"forward_tcp_requests_total", "counter", f->tcp_sent},
		{"forward_joined_total", "counter", f->joined},
		{"forward_timeouts_total", "counter", f->timeouts},
		{"forward_refused_total", "counter", f->refused},
		{"forward_errors_total", "counter", f->failed},
		{"forward_in_flight", "gauge", htab_len(f->jobs)},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		buf_addf(out, "# TYPE xebec_dns_%s %s\nxebec_dns_%s %llu\n", rows[i].name,
			rows[i].type, rows[i].name, (unsigned long long)rows[i].v);
}

static void upstream_parse(struct dns_forward *f)
{
	struct str s = str_of(f->upstream);
	while (s.n)
		server_add(f, str_cut(&s, ','));
}

int dns_forward_new(const struct dns_forward_config *c, struct dns_forward **ret, struct err *e)
{
	struct dns_forward *f = calloc(1, sizeof *f);
	if (!f)
		return err_set(e, ENOMEM, NULL, "out of memory");
	f->loop = c->loop;
	f->jobs = htab_new();
	f->cache = dns_cache_new(CACHE_BYTES);
	f->path = strdup(c->resolv_conf ? c->resolv_conf : "/etc/resolv.conf");
	f->upstream = c->upstream ? strdup(c->upstream) : NULL;
	for (unsigned i = 0; i < ARRAY_LEN(f->self); i++)
		f->self[i] = c->self[i] ? strdup(c->self[i]) : NULL;
	int r = f->jobs && f->cache && f->path && (f->upstream || !c->upstream)
			? 0
			: err_set(e, ENOMEM, NULL, "out of memory");
	if (r == 0 && f->upstream) {
		upstream_parse(f);
		if (!f->n_servers)
			r = err_set(e, EINVAL, NULL,
				"'%s' names no server that could be asked: want ADDR[:PORT],...",
				f->upstream);
	}
	if (r) {
		dns_forward_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void dns_forward_free(struct dns_forward *f)
{
	if (!f)
		return;
	if (f->jobs)
		htab_free(f->jobs, job_free);
	dns_cache_free(f->cache);
	for (unsigned i = 0; i < ARRAY_LEN(f->self); i++)
		free(f->self[i]);
	free(f->path);
	free(f->upstream);
	free(f);
}

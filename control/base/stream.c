/* SPDX-License-Identifier: Apache-2.0
 * Byte streams over non-blocking descriptors, plain or TLS. Writes are queued and leave at the end
 * of the callback or of the loop's round, so that many small writes become one system call. */
#include <errno.h>
#include <openssl/err.h>
#include "base/net_int.h"
#include "xebec/base/tls.h"

#define READ_CHUNK    16384u	    /* room kept free in the input buffer; one TLS record */
#define READ_BUDGET   (256u << 10)  /* bytes a stream may read before others get their turn */
#define KEEP_CAPACITY 16384u	    /* an empty output buffer above this is released */
#define CLOSE_LIMIT   10000000000LL /* ns a stream given away may take to drain */
#define SPLICE_LIMIT  (256u << 10)  /* queued bytes at which the other side is not read any more */

enum phase { CONNECTING, HANDSHAKE, OPEN, FAILED };

struct stream {
	struct loop *loop;
	struct loop_fd fd;
	struct loop_task task;
	SSL *ssl;
	struct tls_ctx *tls;
	char *server_name, *alpn;
	const struct stream_events *ev;
	void *arg;
	struct buf in, out;
	size_t out_off;
	uint64_t written;
	enum phase phase;
	uint32_t registered; /* epoll events now; 0 = not in epoll */
	unsigned depth;	     /* callbacks of ours on the stack */
	bool socket, posted, dead;
	bool announce; /* on_connect is due */
	bool paused, kick, again, eof_seen, eof_told, shut_wanted, shut_done;
	bool blocked, want_write; /* the last write would have blocked; TLS reads need a write */
	char alpn_name[16];
	struct loop_timer timer; /* stream_close */
};

static const struct stream_events no_events;

static void fail(struct stream *s, int code, const char *what);
static void stream_run(struct loop_task *t);

static void destroy(struct stream *s)
{
	buf_free(&s->in);
	buf_free(&s->out);
	free(s->server_name);
	free(s->alpn);
	tls_ctx_free(s->tls);
	free(s);
}

static void post(struct stream *s)
{
	if (s->posted)
		return;
	s->posted = true;
	loop_post(s->loop, &s->task);
}

/* Level-triggered EPOLLHUP cannot be masked, so a stream that waits for nothing leaves epoll. */
static void update_events(struct stream *s)
{
	uint32_t want = 0;

	if (s->dead || s->phase == FAILED)
		return;
	if (s->phase == CONNECTING || s->want_write || (s->blocked && s->phase == OPEN))
		want |= EPOLLOUT;
	if (s->phase != CONNECTING && !s->eof_seen && !(s->paused && s->phase == OPEN))
		want |= EPOLLIN;
	if (want == s->registered)
		return;
	int r = 0;
	if (want == 0)
		loop_fd_del(&s->fd);
	else if (s->registered == 0)
		r = loop_fd_add(s->loop, &s->fd, want);
	else
		r = loop_fd_mod(&s->fd, want);
	s->registered = r == 0 ? want : 0;
	if (r != 0)
		fail(s, r, "epoll");
}

static void fail_with(struct stream *s, const struct err *e)
{
	if (s->dead || s->phase == FAILED)
		return;
	s->phase = FAILED;
	if (s->registered)
		loop_fd_del(&s->fd);
	s->registered = 0;
	if (s->ev->on_error)
		s->ev->on_error(s, e);
}

static void fail(struct stream *s, int code, const char *what)
{
	struct err e = {0};

	if (code < 0)
		code = -code;
	(void)err_set(&e, code, NULL, "%s: %s", what, strerror(code));
	fail_with(s, &e);
}

static void fail_tls(struct stream *s, const char *what)
{
	struct err e = {0};

	(void)tls_error(s->ssl, &e, what);
	fail_with(s, &e);
}

/* -EAGAIN would block, 0 end of file, other negatives are errors. */
static ssize_t raw_read(struct stream *s, char *p, size_t n)
{
	if (!s->ssl) {
		ssize_t r = s->socket ? recv(s->fd.fd, p, n, 0) : read(s->fd.fd, p, n);
		return r >= 0 ? r : -errno;
	}
	ERR_clear_error();
	int r = SSL_read(s->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n);
	if (r > 0)
		return r;
	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_WANT_WRITE:
		s->want_write = true;
		return -EAGAIN;
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return errno ? -errno : 0;
	default:
		return -EPROTO;
	}
}

static ssize_t raw_write(struct stream *s, const char *p, size_t n)
{
	if (!s->ssl) {
		ssize_t r = s->socket ? send(s->fd.fd, p, n, MSG_NOSIGNAL) : write(s->fd.fd, p, n);
		return r >= 0 ? r : -errno;
	}
	ERR_clear_error();
	int r = SSL_write(s->ssl, p, n > INT32_MAX ? INT32_MAX : (int)n);
	if (r > 0)
		return r;
	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_WANT_WRITE:
	case SSL_ERROR_WANT_READ:
		return -EAGAIN;
	case SSL_ERROR_SYSCALL:
		return errno ? -errno : -EPIPE;
	default:
		return -EPROTO;
	}
}

static void half_close(struct stream *s)
{
	s->shut_done = true;
	if (s->ssl) {
		ERR_clear_error();
		(void)SSL_shutdown(s->ssl);
	}
	/* The peer of a TLS stream may still read after our close_notify, but wants no more. */
	if (s->socket && !s->ssl)
		(void)shutdown(s->fd.fd, SHUT_WR);
}

static void flush_out(struct stream *s)
{
	bool wrote = false;

	if (s->phase != OPEN || s->dead)
		return;
	s->blocked = false;
	while (s->out_off < s->out.len) {
		ssize_t n = raw_write(s, s->out.p + s->out_off, s->out.len - s->out_off);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN) {
			s->blocked = true;
			break;
		}
		if (n < 0) {
			fail(s, (int)n, "write");
			return;
		}
		s->out_off += (size_t)n;
		s->written += (uint64_t)n;
		wrote = true;
	}
	if (s->blocked) {
		if (s->out_off > KEEP_CAPACITY && s->out_off > s->out.len / 2) {
			buf_consume(&s->out, s->out_off);
			s->out_off = 0;
		}
		return;
	}
	s->out_off = 0;
	if (s->out.cap > KEEP_CAPACITY)
		buf_free(&s->out);
	else
		buf_clear(&s->out);
	if (s->shut_wanted && !s->shut_done)
		half_close(s);
	if (wrote && s->ev->on_drain)
		s->ev->on_drain(s);
}

static void deliver(struct stream *s)
{
	if (s->in.len > 0 && s->ev->on_data)
		s->ev->on_data(s, &s->in);
}

static void tell_eof(struct stream *s)
{
	if (!s->eof_seen || s->eof_told || s->paused || s->dead || s->phase != OPEN)
		return;
	s->eof_told = true;
	if (s->ev->on_eof)
		s->ev->on_eof(s);
}

static void read_in(struct stream *s)
{
	size_t budget = READ_BUDGET;

	s->want_write = false;
	while (s->phase == OPEN && !s->dead && !s->paused && !s->eof_seen) {
		if (budget == 0) {
			s->again = true; /* TLS may hold bytes that epoll does not know of */
			post(s);
			break;
		}
		if (buf_reserve(&s->in, READ_CHUNK) != 0) {
			fail(s, ENOMEM, "read");
			return;
		}
		size_t room = s->in.cap - s->in.len - 1;
		ssize_t n = raw_read(s, s->in.p + s->in.len, room);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN)
			break;
		if (n < 0) {
			if (n == -EPROTO)
				fail_tls(s, "read");
			else
				fail(s, (int)n, "read");
			return;
		}
		if (n == 0) {
			s->eof_seen = true;
			break;
		}
		s->in.len += (size_t)n;
		s->in.p[s->in.len] = '\0';
		budget -= (size_t)n < budget ? (size_t)n : budget;
		deliver(s);
		if (!s->ssl && (size_t)n < room)
			break; /* the socket is empty: epoll tells when it is not */
	}
	tell_eof(s);
	if (s->in.len == 0 && !s->dead)
		buf_free(&s->in);
}

static void opened(struct stream *s)
{
	const unsigned char *name = NULL;
	unsigned n = 0;

	s->phase = OPEN;
	if (s->ssl) {
		SSL_get0_alpn_selected(s->ssl, &name, &n);
		if (n > 0 && n < sizeof(s->alpn_name))
			memcpy(s->alpn_name, name, n);
	}
	if (s->ev->on_connect)
		s->ev->on_connect(s);
}

static void handshake(struct stream *s)
{
	ERR_clear_error();
	errno = 0;
	int r = SSL_do_handshake(s->ssl);

	s->want_write = false;
	if (r == 1) {
		opened(s);
		return;
	}
	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_WANT_WRITE:
		s->want_write = true;
		return;
	case SSL_ERROR_WANT_READ:
		return;
	case SSL_ERROR_SYSCALL:
		fail(s, errno ? errno : ECONNRESET, "tls handshake");
		return;
	default:
		fail_tls(s, "handshake");
	}
}

static void connected(struct stream *s)
{
	struct err e = {0};

	if (!s->tls) {
		opened(s);
		return;
	}
	s->ssl = tls_session_new(s->tls, s->fd.fd, s->server_name, s->alpn, &e);
	if (!s->ssl) {
		fail_with(s, &e);
		return;
	}
	s->phase = HANDSHAKE;
	handshake(s);
}

static void check_connect(struct stream *s)
{
	int code = 0;
	socklen_t n = sizeof(code);

	if (getsockopt(s->fd.fd, SOL_SOCKET, SO_ERROR, &code, &n) != 0)
		code = errno;
	if (code != 0)
		fail(s, code, "connect");
	else
		connected(s);
}

static void leave(struct stream *s)
{
	/* What callbacks wrote goes out once; on_drain may write again. */
	while (s->depth == 1 && !s->dead && s->phase == OPEN && !s->blocked &&
		(s->out_off < s->out.len || (s->shut_wanted && !s->shut_done)))
		flush_out(s);
	if (--s->depth > 0)
		return;
	if (!s->dead)
		update_events(s);
	else if (!s->posted)
		destroy(s);
}

static void on_fd(struct loop_fd *f, uint32_t events)
{
	struct stream *s = f->arg;

	s->depth++;
	if (s->phase == CONNECTING)
		check_connect(s);
	else if (s->phase == HANDSHAKE)
		handshake(s);
	else if (events & (EPOLLOUT | EPOLLERR))
		flush_out(s);
	if (s->phase == OPEN && !s->dead)
		read_in(s);
	leave(s);
}

/* The deferred part: flush, deliver buffered input, go on reading. */
static void stream_run(struct loop_task *t)
{
	struct stream *s = t->arg;

	s->posted = false;
	s->depth++;
	if (s->announce && !s->dead) {
		s->announce = false;
		connected(s);
	}
	if (!s->dead && s->kick && s->phase == OPEN && !s->paused) {
		s->kick = false;
		deliver(s);
		if (!s->dead)
			tell_eof(s);
	}
	if (!s->dead && s->again && s->phase == OPEN) {
		s->again = false;
		read_in(s);
	}
	leave(s);
}

static struct stream *stream_new(
	struct loop *l, int fd, const struct stream_events *ev, void *arg, enum phase phase)
{
	struct stream *s = calloc(1, sizeof(*s));
	int type;
	socklen_t n = sizeof(type);

	if (!s)
		return NULL;
	s->loop = l;
	s->fd = (struct loop_fd){.fd = fd, .fn = on_fd, .arg = s};
	s->task = (struct loop_task){.fn = stream_run, .arg = s};
	s->ev = ev ? ev : &no_events;
	s->arg = arg;
	s->phase = phase;
	s->socket = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0;
	return s;
}

/* Registers with epoll; on failure the fd is not ours. */
static int stream_begin(struct stream *s, uint32_t events)
{
	int r = loop_fd_add(s->loop, &s->fd, events);

	if (r != 0) {
		destroy(s);
		return r;
	}
	s->registered = events;
	return 0;
}

int stream_from_fd(
	struct loop *l, int fd, const struct stream_events *ev, void *arg, struct stream **ret)
{
	struct stream *s = stream_new(l, fd, ev, arg, OPEN);
	int r = s ? stream_begin(s, EPOLLIN) : -ENOMEM;

	if (r == 0)
		*ret = s;
	return r;
}

int stream_accept(struct loop *l, int fd, struct tls_ctx *tls, const struct stream_events *ev,
	void *arg, struct stream **ret)
{
	struct stream *s = stream_new(l, fd, ev, arg, tls ? HANDSHAKE : OPEN);

	if (!s)
		return -ENOMEM;
	if (tls) {
		s->tls = tls_ctx_ref(tls);
		s->ssl = tls_session_new(tls, fd, NULL, NULL, NULL);
		if (!s->ssl) {
			destroy(s);
			return -ENOMEM;
		}
	}
	SSL *ssl = s->ssl;
	int r = stream_begin(s, EPOLLIN);
	if (r != 0) {
		SSL_free(ssl);
		return r;
	}
	if (!tls) {
		s->announce = true;
		post(s);
	}
	*ret = s;
	return 0;
}

int stream_connect(struct loop *l, const char *addr, struct tls_ctx *tls, const char *server_name,
	const char *alpn, const struct stream_events *ev, void *arg, struct stream **ret,
	struct err *e)
{
	struct net_addr a;
	int r = net_addr_parse(addr, false, &a, e);

	if (r != 0)
		return r;
	AUTO_CLOSE int fd = socket(a.u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, errno, NULL, "socket: %s", strerror(errno));
	if (a.u.sa.sa_family != AF_UNIX)
		net_tune_tcp(fd);
	if (connect(fd, &a.u.sa, a.len) != 0 && errno != EINPROGRESS)
		return err_set(e, errno, NULL, "connect to %s: %s", addr, strerror(errno));
	struct stream *s = stream_new(l, fd, ev, arg, CONNECTING);
	if (!s)
		return err_set(e, ENOMEM, NULL, "out of memory");
	s->tls = tls_ctx_ref(tls);
	s->server_name = server_name ? strdup(server_name) : NULL;
	s->alpn = alpn ? strdup(alpn) : NULL;
	r = stream_begin(s, EPOLLOUT);
	if (r != 0)
		return err_set(e, r, NULL, "epoll: %s", strerror(-r));
	(void)STEAL_FD(fd);
	*ret = s;
	return 0;
}

void stream_set_events(struct stream *s, const struct stream_events *ev, void *arg)
{
	s->ev = ev ? ev : &no_events;
	s->arg = arg;
	s->eof_told = false;
	stream_kick(s);
}

void stream_kick(struct stream *s)
{
	if (s->in.len == 0 && !s->eof_seen)
		return;
	s->kick = true;
	post(s);
}

void *stream_arg(const struct stream *s)
{
	return s->arg;
}

struct loop *stream_loop(const struct stream *s)
{
	return s->loop;
}

const char *stream_alpn(const struct stream *s)
{
	return s->alpn_name;
}

SSL *stream_ssl(struct stream *s)
{
	return s->ssl;
}

int stream_fd(const struct stream *s)
{
	return s->fd.fd;
}

uint64_t stream_written(const struct stream *s)
{
	return s->written;
}

void stream_write(struct stream *s, const void *p, size_t n)
{
	if (s->dead || s->phase == FAILED || s->shut_wanted || n == 0)
		return;
	buf_add(&s->out, p, n);
	if (s->out.err != 0) { /* cannot be reported here: the stream dies at the next turn */
		s->out.len = s->out_off;
		(void)shutdown(s->fd.fd, SHUT_RDWR);
	}
	if (s->depth == 0 && !s->blocked && s->phase == OPEN)
		post(s);
}

void stream_flush(struct stream *s)
{
	if (s->dead)
		return;
	s->depth++;
	leave(s);
}

size_t stream_pending(const struct stream *s)
{
	return s->out.len - s->out_off;
}

void stream_pause(struct stream *s, bool paused)
{
	if (s->paused == paused || s->dead)
		return;
	s->paused = paused;
	if (!paused) {
		s->again = true;
		s->kick = s->in.len > 0 || s->eof_seen;
		post(s);
	}
	if (s->depth == 0 && s->phase == OPEN)
		update_events(s);
}

void stream_shutdown(struct stream *s)
{
	if (s->dead || s->shut_wanted)
		return;
	s->shut_wanted = true;
	if (s->depth == 0)
		post(s);
}

void stream_free(struct stream *s)
{
	if (!s || s->dead)
		return;
	s->dead = true;
	loop_timer_cancel(&s->timer);
	if (s->registered)
		loop_fd_del(&s->fd);
	s->registered = 0;
	if (s->ssl && s->phase == OPEN && !s->shut_done) {
		ERR_clear_error();
		(void)SSL_shutdown(s->ssl);
	}
	SSL_free(s->ssl);
	s->ssl = NULL;
	ERR_clear_error();
	(void)close(s->fd.fd);
	s->fd.fd = -1;
	if (s->depth == 0 && !s->posted)
		destroy(s);
}

static void closing_data(struct stream *s, struct buf *in)
{
	(void)s;
	buf_consume(in, in->len);
}

static void closing_eof(struct stream *s)
{
	if (stream_pending(s) == 0)
		stream_free(s);
}

static void closing_error(struct stream *s, const struct err *e)
{
	(void)e;
	stream_free(s);
}

static void closing_late(struct loop_timer *t)
{
	stream_free(t->arg);
}

void stream_close(struct stream *s)
{
	static const struct stream_events ev = {.on_data = closing_data,
		.on_eof = closing_eof,
		.on_error = closing_error,
		.on_drain = stream_free};

	if (!s || s->dead)
		return;
	if (s->phase != OPEN || stream_pending(s) == 0) {
		stream_free(s);
		return;
	}
	stream_set_events(s, &ev, NULL);
	stream_pause(s, false);
	s->timer = (struct loop_timer){.fn = closing_late, .arg = s};
	(void)loop_timer_set(s->loop, &s->timer, CLOSE_LIMIT);
}

struct splice {
	struct stream *side[2];
	bool eof[2]; /* this side sent its end of file */
	bool broken; /* one side died: only drain the other */
	void (*done)(void *arg);
	void *arg;
};

static void splice_end(struct splice *sp)
{
	void (*done)(void *arg) = sp->done;
	void *arg = sp->arg;

	stream_free(sp->side[0]);
	stream_free(sp->side[1]);
	free(sp);
	if (done)
		done(arg);
}

static int side_of(const struct splice *sp, const struct stream *s)
{
	return sp->side[1] == s;
}

static void splice_data(struct stream *s, struct buf *in)
{
	struct splice *sp = s->arg;
	struct stream *to = sp->side[!side_of(sp, s)];

	if (to && !sp->broken)
		stream_write(to, in->p, in->len);
	buf_consume(in, in->len);
	if (to && stream_pending(to) > SPLICE_LIMIT)
		stream_pause(s, true);
}

/* Both directions have ended and nothing is queued. */
static void splice_check(struct splice *sp)
{
	for (int i = 0; i < 2; i++) {
		struct stream *to = sp->side[!i];
		if (!sp->broken && !sp->eof[i])
			return;
		if (to && stream_pending(to) > 0)
			return;
	}
	splice_end(sp);
}

static void splice_drain(struct stream *s)
{
	struct splice *sp = s->arg;
	struct stream *from = sp->side[!side_of(sp, s)];

	if (from)
		stream_pause(from, false);
	splice_check(sp);
}

static void splice_eof(struct stream *s)
{
	struct splice *sp = s->arg;
	int i = side_of(sp, s);

	sp->eof[i] = true;
	if (sp->side[!i])
		stream_shutdown(sp->side[!i]);
	splice_check(sp);
}

static void splice_error(struct stream *s, const struct err *e)
{
	struct splice *sp = s->arg;
	int i = side_of(sp, s);

	(void)e;
	sp->side[i] = NULL;
	stream_free(s);
	if (sp->side[!i])
		stream_shutdown(sp->side[!i]);
	sp->broken = true;
	splice_check(sp);
}

int stream_splice(struct stream *a, struct stream *b, void (*done)(void *arg), void *arg)
{
	static const struct stream_events ev = {.on_data = splice_data,
		.on_eof = splice_eof,
		.on_drain = splice_drain,
		.on_error = splice_error};
	struct splice *sp = calloc(1, sizeof(*sp));

	if (!sp)
		return -ENOMEM;
	*sp = (struct splice){.side = {a, b}, .done = done, .arg = arg};
	stream_set_events(a, &ev, sp);
	stream_set_events(b, &ev, sp);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * HTTP server: listening, workers, life and death of connections. */
#include <errno.h>
#include <signal.h>
#include <time.h>
#include "base/httpd_int.h"
#include "xebec/base/tls.h"

#define ACCEPT_BATCH   64
#define ACCEPT_PAUSE   (100 * NS_PER_MS) /* out of file descriptors: try again then */
#define STOP_GRACE     (3 * NS_PER_SEC)
#define STALL_LIMIT    (300 * NS_PER_SEC) /* a peer that reads nothing of what is queued */
#define MIN_TICK       (20 * NS_PER_MS)
#define MAX_TICK       (2 * NS_PER_SEC)
#define DEFAULT_BODY   (3u << 20)
#define DEFAULT_HEADER (64u << 10)
#define DEFAULT_CONNS  10000
#define DEFAULT_IDLE   (180 * NS_PER_SEC)
#define DEFAULT_SLOW   (30 * NS_PER_SEC)

struct listener {
	struct list link;
	struct httpd *d;
	struct loop_fd fd;
	struct loop_timer resume;
	struct loop_task task;
};

struct arrival { /* an accepted socket on its way to its worker */
	struct loop_task task;
	struct worker *w;
	int fd;
};

static const char h2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const char *refusal_body(const struct conn *c, int status, struct buf *body)
{
	const struct httpd_config *cfg = &c->w->d->cfg;

	if (cfg->refusal)
		return cfg->refusal(cfg, status, body);
	buf_addf(body, "%d %s\n", status, http_status_text(status));
	return "text/plain; charset=utf-8";
}

const char *worker_date(struct worker *w)
{
	int64_t second = time_now() / NS_PER_SEC;

	if (second != w->date_second) {
		struct tm tm;
		time_t t = (time_t)second;
		gmtime_r(&t, &tm);
		(void)strftime(w->date, sizeof(w->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
		w->date_second = second;
	}
	return w->date;
}

bool header_clean(const struct http_header *h)
{
	for (size_t i = 0; i < h->value.n; i++) {
		if (h->value.p[i] == '\r' || h->value.p[i] == '\n' || h->value.p[i] == '\0')
			return false;
	}
	return h->name.n > 0;
}

bool exchange_lost(struct http_exchange *x)
{
	if (!x->on_close)
		return false;
	x->on_close(x);
	return true;
}

static void destroy(struct httpd *d)
{
	tls_ctx_free(d->cfg.tls);
	free(d->workers);
	free(d);
}

static void worker_post(struct worker *w)
{
	if (w->posted)
		return;
	w->posted = true;
	loop_post(w->loop, &w->task);
}

void conn_unref(struct conn *c)
{
	if (--c->refs > 0)
		return;
	arena_free(&c->arena);
	free(c);
}

void conn_kill(struct conn *c)
{
	if (c->dead)
		return;
	c->dead = true;
	stream_free(c->s);
	c->s = NULL;
	list_del(&c->link);
	list_del(&c->dirty);
	list_push(&c->w->dying, &c->link);
	worker_post(c->w);
}

void conn_dirty(struct conn *c)
{
	if (c->dead || !list_empty(&c->dirty))
		return;
	list_push(&c->w->dirty, &c->dirty);
	worker_post(c->w);
}

static void reap(struct conn *c)
{
	list_del(&c->link);
	atomic_fetch_sub(&c->w->n_conns, 1);
	atomic_fetch_sub(&c->w->d->n_conns, 1);
	if (c->ops)
		c->ops->detach(c);
	conn_unref(c);
}

static void worker_run(struct loop_task *t)
{
	struct worker *w = t->arg;

	w->posted = false;
	while (!list_empty(&w->dirty)) {
		struct conn *c = list_entry(w->dirty.next, struct conn, dirty);
		list_del(&c->dirty);
		if (c->ops && c->ops->flush)
			c->ops->flush(c);
	}
	while (!list_empty(&w->dying))
		reap(list_entry(w->dying.next, struct conn, link));
	if (w->stopping && w->has_thread && list_empty(&w->conns))
		loop_stop(w->loop);
	if (w->d->orphan)
		destroy(w->d);
}

static void on_data(struct stream *s, struct buf *in)
{
	struct conn *c = stream_arg(s);
	size_t n = in->len < sizeof(h2_preface) - 1 ? in->len : sizeof(h2_preface) - 1;

	if (!c->ops) {
		if (memcmp(in->p, h2_preface, n) != 0)
			conn_start_h1(c);
		else if (n == sizeof(h2_preface) - 1)
			conn_start_h2(c);
		else
			return; /* could be either */
	}
	if (!c->dead && c->ops)
		c->ops->data(c, in);
}

static void on_eof(struct stream *s)
{
	struct conn *c = stream_arg(s);

	if (c->ops)
		c->ops->eof(c);
	else
		conn_kill(c);
}

static void on_error(struct stream *s, const struct err *e)
{
	(void)e;
	conn_kill(stream_arg(s));
}

static void on_drain(struct stream *s)
{
	struct conn *c = stream_arg(s);

	if (c->ops)
		c->ops->drain(c);
}

static void on_connect(struct stream *s)
{
	struct conn *c = stream_arg(s);

	if (stream_ssl(s))
		tls_peer_identity(stream_ssl(s), &c->arena, &c->peer);
	if (strcmp(stream_alpn(s), "h2") == 0)
		conn_start_h2(c);
	else if (strcmp(stream_alpn(s), "http/1.1") == 0)
		conn_start_h1(c);
}

static const struct stream_events conn_events = {.on_connect = on_connect,
	.on_data = on_data,
	.on_eof = on_eof,
	.on_error = on_error,
	.on_drain = on_drain};

static void conn_new(struct worker *w, int fd)
{
	struct conn *c = w->stopping ? NULL : calloc(1, sizeof(*c));

	if (c) {
		c->w = w;
		c->refs = 1;
		c->since = c->progress_at = loop_now(w->loop);
		list_init(&c->dirty);
		net_tune_tcp(fd);
		net_peer_name(fd, c->addr, sizeof(c->addr));
		c->peer.addr = str_of(c->addr);
		c->peer.tls = w->d->cfg.tls != NULL;
	}
	if (!c || stream_accept(w->loop, fd, w->d->cfg.tls, &conn_events, c, &c->s) != 0) {
		free(c);
		(void)close(fd);
		atomic_fetch_sub(&w->n_conns, 1);
		atomic_fetch_sub(&w->d->n_conns, 1);
		return;
	}
	list_push(&w->conns, &c->link);
}

static void arrive(struct loop_task *t)
{
	struct arrival *a = t->arg;

	conn_new(a->w, a->fd);
	free(a);
}

static struct worker *least_loaded(struct httpd *d)
{
	struct worker *best = &d->workers[0];

	for (unsigned i = 1; i < d->n_workers; i++) {
		if (atomic_load(&d->workers[i].n_conns) < atomic_load(&best->n_conns))
			best = &d->workers[i];
	}
	return best;
}

static void take_fd(struct httpd *d, int fd)
{
	struct worker *w = least_loaded(d);
	struct arrival *a;

	if (atomic_fetch_add(&d->n_conns, 1) >= d->cfg.max_conns) {
		atomic_fetch_sub(&d->n_conns, 1);
		(void)close(fd);
		return;
	}
	atomic_fetch_add(&w->n_conns, 1);
	if (w == &d->workers[0]) {
		conn_new(w, fd);
		return;
	}
	a = calloc(1, sizeof(*a));
	if (!a) {
		atomic_fetch_sub(&w->n_conns, 1);
		atomic_fetch_sub(&d->n_conns, 1);
		(void)close(fd);
		return;
	}
	*a = (struct arrival){.task = {.fn = arrive, .arg = a}, .w = w, .fd = fd};
	loop_post(w->loop, &a->task);
}

static void resume_accept(struct loop_timer *t)
{
	struct listener *l = t->arg;

	(void)loop_fd_mod(&l->fd, EPOLLIN);
}

static void on_accept(struct loop_fd *f, uint32_t events)
{
	struct listener *l = f->arg;

	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(f->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			take_fd(l->d, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			   errno == ENOBUFS) {
			(void)loop_fd_mod(f, 0);
			(void)loop_timer_set(f->loop, &l->resume, ACCEPT_PAUSE);
			return;
		} else if (errno != ECONNABORTED && errno != EINTR) {
			return;
		}
	}
}

static void conn_tick(struct conn *c, int64_t now)
{
	const struct httpd_config *cfg = &c->w->d->cfg;

	if (stream_pending(c->s) == 0 || stream_written(c->s) != c->written) {
		c->written = stream_written(c->s);
		c->progress_at = now;
	}
	if (now - c->progress_at > STALL_LIMIT)
		conn_kill(c);
	else if (c->ops)
		c->ops->tick(c, now);
	else if (now - c->since > cfg->header_timeout_ns) /* handshake, first byte */
		conn_kill(c);
}

static void close_listeners(struct httpd *d)
{
	list_each_safe (it, &d->listeners) {
		struct listener *l = list_entry(it, struct listener, link);
		loop_fd_del(&l->fd);
		loop_timer_cancel(&l->resume);
		(void)close(l->fd.fd);
		free(l);
	}
	list_init(&d->listeners);
}

static void kill_all(struct worker *w)
{
	while (!list_empty(&w->conns))
		conn_kill(list_entry(w->conns.next, struct conn, link));
}

static void tick(struct loop_timer *t)
{
	struct worker *w = t->arg;
	int64_t now = loop_now(w->loop);

	list_each_safe (it, &w->conns) /* killing moves only the visited one: tells come later */
		conn_tick(list_entry(it, struct conn, link), now);
	if (w->stopping && now >= w->stop_by)
		kill_all(w);
	(void)loop_timer_set(w->loop, &w->timer, w->d->tick_ns);
}

static void stop_worker(struct loop_task *t)
{
	struct worker *w = t->arg;

	w->stopping = true;
	w->stop_by = loop_now(w->loop) + STOP_GRACE;
	if (w == &w->d->workers[0])
		close_listeners(w->d);
	list_each_safe (it, &w->conns) {
		struct conn *c = list_entry(it, struct conn, link);
		if (c->ops)
			c->ops->stop(c);
		else
			conn_kill(c);
	}
	worker_post(w);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	(void)loop_timer_set(w->loop, &w->timer, w->d->tick_ns);
	(void)loop_run(w->loop);
	loop_timer_cancel(&w->timer);
	return NULL;
}

static int start_thread(struct worker *w)
{
	sigset_t all, old;

	sigfillset(&all); /* signals are for the program's own loop */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&w->thread, NULL, worker_main, w);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->has_thread = r == 0;
	return -r;
}

static int worker_init(struct httpd *d, struct worker *w)
{
	*w = (struct worker){.d = d};
	list_init(&w->conns);
	list_init(&w->dirty);
	list_init(&w->dying);
	w->task = (struct loop_task){.fn = worker_run, .arg = w};
	w->stop_task = (struct loop_task){.fn = stop_worker, .arg = w};
	w->timer = (struct loop_timer){.fn = tick, .arg = w};
	w->loop = d->cfg.threads ? loop_new() : d->cfg.loop;
	return w->loop ? 0 : -ENOMEM;
}

static void set_defaults(struct httpd *d)
{
	struct httpd_config *c = &d->cfg;

	c->max_body = c->max_body ? c->max_body : DEFAULT_BODY;
	c->max_header = c->max_header ? c->max_header : DEFAULT_HEADER;
	c->max_conns = c->max_conns ? c->max_conns : DEFAULT_CONNS;
	c->idle_timeout_ns = c->idle_timeout_ns ? c->idle_timeout_ns : DEFAULT_IDLE;
	c->header_timeout_ns = c->header_timeout_ns ? c->header_timeout_ns : DEFAULT_SLOW;
	int64_t least = c->idle_timeout_ns < c->header_timeout_ns ? c->idle_timeout_ns
								  : c->header_timeout_ns;
	d->tick_ns = least / 4;
	if (d->tick_ns < MIN_TICK)
		d->tick_ns = MIN_TICK;
	if (d->tick_ns > MAX_TICK)
		d->tick_ns = MAX_TICK;
}

int httpd_new(const struct httpd_config *c, struct httpd **ret, struct err *e)
{
	struct httpd *d = calloc(1, sizeof(*d));
	int r = d ? 0 : -ENOMEM;

	if (r != 0)
		return err_set(e, ENOMEM, NULL, "out of memory");
	signal(SIGPIPE, SIG_IGN);
	d->cfg = *c;
	set_defaults(d);
	list_init(&d->listeners);
	d->n_workers = c->threads ? c->threads : 1;
	d->workers = calloc(d->n_workers, sizeof(*d->workers));
	d->cfg.tls = tls_ctx_ref(c->tls);
	for (unsigned i = 0; d->workers && r == 0 && i < d->n_workers; i++)
		r = worker_init(d, &d->workers[i]);
	for (unsigned i = 0; d->workers && r == 0 && c->threads && i < d->n_workers; i++)
		r = start_thread(&d->workers[i]);
	if (!d->workers || r != 0) {
		httpd_free(d);
		return err_set(e, r ? r : -ENOMEM, NULL, "start the HTTP server: %s", strerror(-r));
	}
	if (!c->threads)
		(void)loop_timer_set(c->loop, &d->workers[0].timer, d->tick_ns);
	*ret = d;
	return 0;
}

static void start_listening(struct loop_task *t)
{
	struct listener *l = t->arg;
	struct worker *w = &l->d->workers[0];

	if (w->stopping || loop_fd_add(w->loop, &l->fd, EPOLLIN) != 0) {
		(void)close(l->fd.fd);
		free(l);
		return;
	}
	list_push(&l->d->listeners, &l->link);
}

int httpd_listen_fd(struct httpd *d, int fd, struct err *e)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (!l)
		return err_set(e, ENOMEM, NULL, "out of memory");
	l->d = d;
	l->fd = (struct loop_fd){.fd = fd, .fn = on_accept, .arg = l};
	l->resume = (struct loop_timer){.fn = resume_accept, .arg = l};
	l->task = (struct loop_task){.fn = start_listening, .arg = l};
	if (d->cfg.threads)
		loop_post(d->workers[0].loop, &l->task);
	else
		start_listening(&l->task);
	return 0;
}

void httpd_stop(struct httpd *d)
{
	if (d->stopped)
		return;
	d->stopped = true;
	for (unsigned i = 0; d->workers && i < d->n_workers; i++) {
		struct worker *w = &d->workers[i];
		if (w->has_thread)
			loop_post(w->loop, &w->stop_task);
	}
	for (unsigned i = 0; d->workers && i < d->n_workers; i++) {
		struct worker *w = &d->workers[i];
		if (w->has_thread)
			pthread_join(w->thread, NULL);
	}
	if (!d->cfg.threads && d->workers && d->workers[0].loop) {
		struct worker *w = &d->workers[0];
		stop_worker(&w->stop_task);
		kill_all(w); /* on the caller's loop there is no waiting */
		loop_timer_cancel(&w->timer);
		while (!list_empty(&w->dying))
			reap(list_entry(w->dying.next, struct conn, link));
	}
}

void httpd_free(struct httpd *d)
{
	if (!d)
		return;
	httpd_stop(d);
	for (unsigned i = 0; d->workers && i < d->n_workers && d->workers[i].loop; i++) {
		struct worker *w = &d->workers[i];
		for (int k = 0; k < 3; k++) /* what was posted last, and what that posted */
			(void)loop_poll(w->loop, 0);
		if (d->cfg.threads)
			loop_free(w->loop);
	}
	/* Called from a callback of the shared loop: that loop still holds our task. */
	d->orphan = !d->cfg.threads && d->workers && d->workers[0].posted;
	if (!d->orphan)
		destroy(d);
}

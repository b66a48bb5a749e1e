/* SPDX-License-Identifier: Apache-2.0
 * The in-process transport: each request is an http_exchange given to a handler on the same loop.
 * Request and response change sides through a zero timer, never by a direct call, so that neither
 * the client's nor the handler's callbacks nest inside the other's. */
#include <errno.h>
#include "client/client_int.h"
#include "xebec/base/timefmt.h"

struct inproc {
	struct client base;
	http_handler *handler;
	void *srv;
	char *user;
	char **groups; /* NULL-terminated */
};

struct xfer {
	struct http_exchange ex; /* what the handler sees */
	struct inproc *ip;
	const struct xfer_events *ev; /* NULL = the client has gone */
	void *arg;
	struct loop_timer turn; /* our turn: first to call the handler, then to deliver */
	struct http_header headers[3];
	bool called, started, ended, aborted, told_status, delivering, gone;
	int status;
	struct buf out;
};

static void xfer_free(struct xfer *x)
{
	loop_timer_cancel(&x->turn);
	buf_free(&x->out);
	arena_free(&x->ex.arena);
	free(x);
}

/* --- the handler's side --- */

static void wake(struct xfer *x)
{
	if (x->ev && !loop_timer_armed(&x->turn) && !x->delivering)
		(void)loop_timer_set(x->ex.loop, &x->turn, 0);
}

static void ex_start(struct http_exchange *ex, int status, const struct http_header *h, size_t n)
{
	struct xfer *x = (struct xfer *)ex;
	(void)h;
	(void)n;
	x->started = true;
	x->status = status;
	wake(x);
}

static void ex_write(struct http_exchange *ex, const void *p, size_t n)
{
	struct xfer *x = (struct xfer *)ex;
	if (!x->ev)
		return;
	buf_add(&x->out, p, n);
	wake(x);
}

static void finish(struct xfer *x, bool aborted)
{
	if (!x->ev) { /* the client had gone and the handler could not be told */
		xfer_free(x);
		return;
	}
	x->ended = true;
	x->aborted = aborted;
	wake(x);
}

static void ex_end(struct http_exchange *ex)
{
	finish((struct xfer *)ex, false);
}

static void ex_abort(struct http_exchange *ex)
{
	finish((struct xfer *)ex, true);
}

static size_t ex_pending(struct http_exchange *ex)
{
	return ((struct xfer *)ex)->out.len;
}

static int ex_hijack(struct http_exchange *ex, struct stream **ret)
{
	(void)ex;
	(void)ret;
	return -ENOTSUP;
}

static const struct http_exchange_ops exchange_ops = {
	.start = ex_start,
	.write = ex_write,
	.end = ex_end,
	.abort = ex_abort,
	.pending = ex_pending,
	.hijack = ex_hijack,
};

/* --- the client's side --- */

/* The client loses interest. A handler that is still at work is told, or else left to end. */
static void xfer_cancel(struct xfer *x)
{
	x->ev = NULL;
	loop_timer_cancel(&x->turn);
	if (x->delivering)
		return; /* deliver() sees it */
	if (x->called && !x->ended) {
		if (!x->ex.on_close)
			return;
		x->ex.on_close(&x->ex);
	}
	xfer_free(x);
}

static void report_end(struct xfer *x)
{
	struct err e = {0};
	if (x->out.err)
		(void)err_set(&e, x->out.err, "InternalError", "out of memory");
	else if (x->aborted || !x->started)
		(void)err_set(&e, -EIO, "ServiceUnavailable", "the API server broke off");
	const struct xfer_events *ev = x->ev;
	void *arg = x->arg;
	xfer_free(x);
	ev->on_done(arg, e.code ? &e : NULL);
}

static void deliver(struct xfer *x)
{
	x->delivering = true;
	if (x->started && !x->told_status) {
		x->told_status = true;
		x->ev->on_status(x->arg, x->status);
	}
	AUTO_BUF struct buf out = x->out;
	bool drained = out.len > 0;
	x->out = (struct buf){.err = out.err};
	if (x->ev && out.len)
		x->ev->on_data(x->arg, out.p, out.len);
	x->delivering = false;
	if (!x->ev)
		xfer_cancel(x);
	else if (x->ended)
		report_end(x);
	else if (drained && x->ex.on_drain)
		x->ex.on_drain(&x->ex);
}

static void on_turn(struct loop_timer *t)
{
	struct xfer *x = t->arg;
	if (x->called) {
		deliver(x);
		return;
	}
	x->called = true;
	x->ex.received_ns = time_mono();
	x->ip->handler(x->ip->srv, &x->ex);
}

static void set_header(struct xfer *x, const char *name, const char *value)
{
	x->headers[x->ex.n_headers++] =
		(struct http_header){.name = str_of(name), .value = str_of(value)};
}

static struct str keep(struct arena *a, struct str s)
{
	return (struct str){arena_strdup(a, s), s.n};
}

static bool fill_request(struct xfer *x, const struct client_request *r)
{
	struct http_exchange *ex = &x->ex;
	struct arena *a = &ex->arena;
	struct str query = r->path, path = str_cut(&query, '?');
	ex->method = keep(a, str_of(r->method));
	ex->path = keep(a, path);
	ex->query = keep(a, query);
	ex->body = keep(a, r->body);
	ex->headers = x->headers;
	set_header(x, "accept", "application/json");
	if (r->body.n)
		set_header(x, "content-type",
			r->content_type ? arena_strdup(a, str_of(r->content_type))
					: "application/json");
	set_header(x, "user-agent", x->ip->user);
	ex->peer = (struct http_peer){
		.addr = STR("in-process"),
		.trusted_user = x->ip->user,
		.trusted_groups = (const char *const *)x->ip->groups,
	};
	return ex->method.p && ex->path.p && ex->query.p && ex->body.p;
}

static struct xfer *xfer_send(
	struct client *c, const struct client_request *r, const struct xfer_events *ev, void *arg)
{
	struct xfer *x = calloc(1, sizeof(*x));
	if (!x)
		return NULL;
	*x = (struct xfer){.ip = (struct inproc *)c, .ev = ev, .arg = arg};
	x->ex.ops = &exchange_ops;
	x->ex.loop = c->loop;
	x->turn = (struct loop_timer){.fn = on_turn, .arg = x};
	if (fill_request(x, r) && loop_timer_set(c->loop, &x->turn, 0) == 0)
		return x;
	xfer_free(x);
	return NULL;
}

static void inproc_free(struct client *c)
{
	struct inproc *ip = (struct inproc *)c;
	for (char **g = ip->groups; g && *g; g++)
		free(*g);
	free(ip->groups);
	free(ip->user);
	free(ip);
}

static const struct transport_ops inproc_ops = {
	.send = xfer_send, .cancel = xfer_cancel, .free = inproc_free};

static int copy_identity(struct inproc *ip, const char *user, const char *const *groups)
{
	size_t n = 0;
	while (groups && groups[n])
		n++;
	ip->user = strdup(user);
	ip->groups = calloc(n + 1, sizeof(char *));
	if (!ip->user || !ip->groups)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (!(ip->groups[i] = strdup(groups[i])))
			return -ENOMEM;
	return 0;
}

int client_new_inproc(struct loop *l, http_handler *handler, void *srv, const char *user,
	const char *const *groups, struct client **ret, struct err *e)
{
	struct inproc *ip = calloc(1, sizeof(*ip));
	if (!ip || copy_identity(ip, user, groups) < 0) {
		if (ip)
			inproc_free(&ip->base);
		return err_set(e, -ENOMEM, "InternalError", "out of memory");
	}
	ip->base.ops = &inproc_ops;
	ip->base.loop = l;
	list_init(&ip->base.calls);
	ip->handler = handler;
	ip->srv = srv;
	*ret = &ip->base;
	return 0;
}

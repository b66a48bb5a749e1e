/* SPDX-License-Identifier: Apache-2.0
 * pods/log, exec, attach, portforward: found on the pod's node and passed through. Logs are
 * streamed with back-pressure; the others are a byte tunnel after the kubelet has accepted the
 * Upgrade. */
#include "apiserver/internal.h"

#include <errno.h>
#include "xebec/base/httpc.h"
#include "xebec/base/tls.h"

enum { KUBELET_PORT = 10250, LOG_PENDING_MAX = 1 << 20 };

struct kubelets {
	struct tls_ctx *tls;	 /* towards kubelets: with our certificate */
	struct tls_ctx *any_tls; /* towards pods: any certificate will do */
};

int kubelets_new(const struct apiserver_config *c, struct kubelets **ret, struct err *e)
{
	struct kubelets *k = calloc(1, sizeof(*k));
	if (!k)
		return err_set(e, ENOMEM, NULL, "out of memory");
	if (c->kubelet_cert_pem.n) {
		int rc = tls_client_ctx(
			c->ca_pem, c->kubelet_cert_pem, c->kubelet_key_pem, &k->tls, e);
		if (rc < 0) {
			free(k);
			return err_prefix(e, "client certificate towards kubelets");
		}
	}
	struct str none = {0};
	int rc = tls_client_ctx(none, none, none, &k->any_tls, e);
	if (rc < 0) {
		kubelets_free(k);
		return rc;
	}
	*ret = k;
	return 0;
}

struct tls_ctx *kubelets_tls(struct kubelets *k)
{
	return k->tls;
}

struct tls_ctx *kubelets_any_tls(struct kubelets *k)
{
	return k->any_tls;
}

void kubelets_free(struct kubelets *k)
{
	if (!k)
		return;
	tls_ctx_free(k->tls);
	tls_ctx_free(k->any_tls);
	free(k);
}

/* --- where to --- */

int node_address(struct req *r, struct str node, struct target *t, struct err *e)
{
	struct obj *o = cache_get(r->srv->nodes, node);
	if (!o)
		return err_set(e, ENOENT, "InternalError",
			"Internal error occurred: node \"%.*s\" not found", STR_FMT(node));
	struct jv status = jv_get(jv_of(obj_bytes(o)), "status");
	t->host[0] = '\0';
	jv_each (a, jv_get(status, "addresses")) {
		if (!*t->host && jv_is_str(jv_get(a.v, "type"), "InternalIP"))
			(void)jv_copy(jv_get(a.v, "address"), t->host, sizeof(t->host));
	}
	int64_t port =
		jv_int(jv_path(status, "daemonEndpoints.kubeletEndpoint.Port"), KUBELET_PORT);
	obj_unref(o);
	if (!*t->host)
		return err_set(e, EIO, "InternalError",
			"Internal error occurred: node \"%.*s\" has no InternalIP", STR_FMT(node));
	bool v6 = strchr(t->host, ':') != NULL;
	(void)snprintf(
		t->addr, sizeof(t->addr), v6 ? "[%s]:%lld" : "%s:%lld", t->host, (long long)port);
	return 0;
}

static bool has_container(struct jv spec, struct str name)
{
	static const char *const lists[] = {"containers", "initContainers", "ephemeralContainers"};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++)
		jv_each (c, jv_get(spec, lists[i])) {
			if (str_eq(jv_raw_str(jv_get(c.v, "name")), name))
				return true;
		}
	return false;
}

/* The container asked for, or the only one, or the pod's default. */
static int pick_container(
	struct req *r, struct jv pod, struct str asked, struct target *t, struct err *e)
{
	struct jv spec = jv_get(pod, "spec"), list = jv_get(spec, "containers");
	struct str name = asked;
	if (!name.n) {
		struct jv ann = jv_path(pod, "metadata.annotations");
		name = jv_raw_str(jv_get(ann, "kubectl.kubernetes.io/default-container"));
		if (!has_container(spec, name))
			name = (struct str){0};
	}
	if (!name.n && jv_len(list) == 1)
		name = jv_raw_str(jv_path(list, "0.name"));
	if (!name.n) {
		AUTO_BUF struct buf b = {0};
		jv_each (c, list) {
			buf_addf(&b, "%s%.*s", b.len ? " " : "",
				STR_FMT(jv_raw_str(jv_get(c.v, "name"))));
		}
		return err_set(e, EINVAL, "BadRequest",
			"a container name must be specified for pod %.*s, choose one of: [%s]",
			STR_FMT(r->rt.name), b.p ? b.p : "");
	}
	if (!has_container(spec, name))
		return err_set(e, EINVAL, "BadRequest", "container %.*s is not valid for pod %.*s",
			STR_FMT(name), STR_FMT(r->rt.name));
	return str_copy(t->container, sizeof(t->container), name) < 0
		       ? err_set(e, EINVAL, "BadRequest", "the container's name is too long")
		       : 0;
}

static int find_target(struct req *r, bool container, struct target *t, struct err *e)
{
	struct obj *o = cache_get(r->srv->pods, req_key(r));
	if (!o)
		return not_found(r, e, r->rt.kind, r->rt.name);
	struct jv pod = jv_of(obj_bytes(o));
	char *node = arena_strdup(&r->arena, jv_raw_str(jv_path(pod, "spec.nodeName")));
	int rc = container ? pick_container(r, pod, req_query(r, "container"), t, e) : 0;
	obj_unref(o);
	if (rc < 0)
		return rc;
	if (!node || !*node)
		return err_set(e, EINVAL, "BadRequest", "pod %.*s does not have a host assigned",
			STR_FMT(r->rt.name));
	if (str_copy(t->ns, sizeof(t->ns), r->rt.ns) < 0 ||
		str_copy(t->pod, sizeof(t->pod), r->rt.name) < 0)
		return err_set(e, EINVAL, "BadRequest", "the pod's name is too long");
	return node_address(r, str_of(node), t, e);
}

static void add_param(struct buf *b, const char *name, struct str value)
{
	buf_addc(b, memchr(b->p, '?', b->len) ? '&' : '?');
	buf_adds(b, name);
	buf_addc(b, '=');
	url_encode(value, b);
}

/* --- logs --- */

struct logs {
	struct req *r;
	struct httpc *c;
	struct httpc_req *q;
	bool started, paused;
	int status;
	struct buf error; /* body of an answer that is no 200 */
};

static void logs_free(struct req *r)
{
	struct logs *l = r->state;
	if (!l)
		return;
	httpc_free(l->c);
	buf_free(&l->error);
	free(l);
	r->state = NULL;
}

static void logs_headers(struct httpc_req *q, int status, const struct http_header *h, size_t n)
{
	struct logs *l = httpc_arg(q);
	(void)h;
	(void)n;
	l->status = status;
	if (status != 200)
		return;
	l->started = true;
	reply_start(l->r, 200, "text/plain");
}

static void logs_data(struct httpc_req *q, const void *p, size_t n)
{
	struct logs *l = httpc_arg(q);
	struct http_exchange *x = l->r->x;
	if (!l->started) {
		if (l->error.len < 4096)
			buf_add(&l->error, p, n);
		return;
	}
	x->ops->write(x, p, n);
	l->paused = x->ops->pending(x) > LOG_PENDING_MAX;
	if (l->paused)
		httpc_pause(q, true);
}

static void logs_done(
	struct httpc_req *q, const struct err *e, const struct http_header *h, size_t n)
{
	struct logs *l = httpc_arg(q);
	struct req *r = l->r;
	struct err out = {0};
	(void)h;
	(void)n;
	l->q = NULL;
	r->on_gone = NULL;
	if (l->started) {
		req_finished(r, 200);
	} else if (e) {
		err_set(&out, EIO, "InternalError",
			"Internal error occurred: Get log from the kubelet: %s", e->msg);
		reply_error_kind(r, &out, NULL, NULL);
	} else {
		const char *reason = err_reason_of_http(l->status);
		err_set(&out, l->status == 404 ? ENOENT : EINVAL, *reason ? reason : "BadRequest",
			"%.*s", (int)(l->error.len < 200 ? l->error.len : 200),
			l->error.p ? l->error.p : "");
		reply_error_kind(r, &out, NULL, NULL);
	}
}

static void logs_gone(struct req *r)
{
	struct logs *l = r->state;
	if (l->q)
		httpc_cancel(l->q);
	l->q = NULL;
}

static void logs_drain(struct http_exchange *x)
{
	struct req *r = x->user;
	struct logs *l = r ? r->state : NULL;
	if (l && l->q && l->paused) {
		l->paused = false;
		httpc_pause(l->q, false);
	}
}

static int logs_send(struct req *r, const struct target *t, struct err *e)
{
	static const char *const params[] = {"follow", "previous", "sinceSeconds", "sinceTime",
		"timestamps", "tailLines", "limitBytes", "stream"};
	static const struct httpc_events ev = {
		.on_headers = logs_headers, .on_data = logs_data, .on_done = logs_done};
	struct logs *l = calloc(1, sizeof(*l));
	AUTO_BUF struct buf path = {0};
	if (!l)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	l->r = r;
	r->state = l;
	r->free_state = logs_free;
	struct httpc_config c = {.loop = r->loop,
		.addr = t->addr,
		.host = t->host,
		.tls = r->srv->kubelets->tls,
		.alpn = "http/1.1"};
	int rc = httpc_new(&c, &l->c, e);
	if (rc < 0)
		return rc;
	buf_addf(&path, "/containerLogs/%s/%s/%s", t->ns, t->pod, t->container);
	for (size_t i = 0; i < ARRAY_LEN(params); i++) {
		struct str v = req_query(r, params[i]);
		if (v.p)
			add_param(&path, params[i], v);
	}
	struct httpc_call call = {.method = "GET", .path = buf_str(&path), .ev = &ev, .arg = l};
	r->on_gone = logs_gone;
	r->x->on_drain = logs_drain;
	l->q = httpc_send(l->c, &call);
	return l->q ? 0 : err_set(e, ENOMEM, "InternalError", "out of memory");
}

static void log_fresh(struct req *r)
{
	struct err e = {0};
	struct target t = {0};
	if (find_target(r, true, &t, &e) < 0 || logs_send(r, &t, &e) < 0)
		reply_error(r, &e);
}

void do_log(struct req *r)
{
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), log_fresh);
}

/* --- tunnels --- */

struct tunnel {
	struct req *r;
	bool dialling;
};

/* What the two ends negotiate between themselves. */
static bool forwarded(struct str name)
{
	static const char *const names[] = {"connection", "upgrade", "x-stream-protocol-version"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (str_eqz(name, names[i]))
			return true;
	return str_starts(name, "sec-websocket-");
}

static void write_switch(struct stream *s, const struct http_header *h, size_t n)
{
	AUTO_BUF struct buf b = {0};
	buf_adds(&b, "HTTP/1.1 101 Switching Protocols\r\n");
	for (size_t i = 0; i < n; i++)
		if (!str_eqz(h[i].name, "content-length") && !str_eqz(h[i].name, "date"))
			buf_addf(&b, "%.*s: %.*s\r\n", STR_FMT(h[i].name), STR_FMT(h[i].value));
	buf_adds(&b, "\r\n");
	stream_write(s, b.p, b.len);
}

/* The kubelet switched: from here on only bytes. */
static void tunnel_join(struct req *r, const struct http_header *h, size_t n, struct stream *s)
{
	struct http_exchange *x = r->x;
	struct stream *client = NULL;
	x->on_close = NULL;
	x->user = NULL;
	if (x->ops->hijack(x, &client) < 0) {
		stream_free(s);
		x->user = r;
		reply_text(r, 500, "this connection cannot be upgraded\n");
		return;
	}
	r->x = NULL;
	metrics_count(r->srv->metrics, V_CONNECT, r->rt.kind, 101, time_mono() - r->start_ns);
	write_switch(client, h, n);
	if (stream_splice(client, s, NULL, NULL) < 0) {
		stream_free(client);
		stream_free(s);
	}
}

static void tunnel_up(void *arg, const struct err *e, int status, const struct http_header *h,
	size_t n, struct str body, struct stream *s)
{
	struct req *r = arg;
	struct err out = {0};
	if (!r->x) { /* the client did not wait */
		stream_free(s);
	} else if (e) {
		err_set(&out, EIO, "InternalError",
			"Internal error occurred: error dialing backend: %s", e->msg);
		reply_error_kind(r, &out, NULL, NULL);
	} else if (status == 101 && s) {
		tunnel_join(r, h, n, s);
	} else {
		const char *type = "text/plain";
		for (size_t i = 0; i < n; i++)
			if (str_eqz(h[i].name, "content-type"))
				type = arena_strdup(&r->arena, h[i].value);
		stream_free(s);
		reply_bytes(r, status, type, body);
	}
	req_release(r);
}

void tunnel_open(struct req *r, const struct target *t, struct httpc_call *call)
{
	struct err e = {0};
	call->timeout_ns = 30 * NS_PER_SEC;
	r->verb = V_CONNECT;
	req_hold(r);
	if (httpc_upgrade(r->loop, t->addr, t->tls, t->tls ? t->host : t->addr, call, tunnel_up, r,
		    &e) < 0) {
		reply_error_kind(r, &e, NULL, NULL);
		req_release(r);
	}
}

/* kubelet's names for the streams */
static void stream_params(struct req *r, struct buf *path)
{
	static const char *const names[][2] = {
		{"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str v = req_query(r, names[i][0]);
		if (str_eqz(v, "true") || str_eqz(v, "1"))
			add_param(path, names[i][1], STR("1"));
	}
	struct str q = r->query; /* command may come many times; kept as encoded */
	while (q.n) {
		struct str v = str_cut(&q, '&'), pair = v, k = str_cut(&pair, '=');
		if (str_eqz(k, "command") || str_eqz(k, "ports"))
			buf_addf(path, "%c%.*s", memchr(path->p, '?', path->len) ? '&' : '?',
				STR_FMT(v));
	}
}

static void tunnel_fresh(struct req *r)
{
	struct err e = {0};
	struct target t = {0};
	bool forward = str_eqz(r->rt.sub, "portforward");
	if (find_target(r, !forward, &t, &e) < 0) {
		reply_error(r, &e);
		return;
	}
	AUTO_BUF struct buf path = {0};
	if (forward)
		buf_addf(&path, "/portForward/%s/%s", t.ns, t.pod);
	else
		buf_addf(&path, "/%.*s/%s/%s/%s", STR_FMT(r->rt.sub), t.ns, t.pod, t.container);
	stream_params(r, &path);
	struct http_header h[64];
	size_t n = 0;
	for (size_t i = 0; i < r->x->n_headers && n < ARRAY_LEN(h); i++)
		if (forwarded(r->x->headers[i].name))
			h[n++] = r->x->headers[i];
	t.tls = r->srv->kubelets->tls;
	struct httpc_call call = {.method = arena_strdup(&r->arena, r->method),
		.path = buf_str(&path),
		.headers = h,
		.n_headers = n};
	tunnel_open(r, &t, &call);
}

void do_tunnel(struct req *r)
{
	struct str up = http_header_get(r->x, "upgrade");
	struct err e = {0};
	r->verb = V_CONNECT;
	if (!up.n) {
		err_set(&e, EINVAL, "BadRequest", "Upgrade request required");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), tunnel_fresh);
}

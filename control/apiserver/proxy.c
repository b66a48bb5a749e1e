/* SPDX-License-Identifier: Apache-2.0
 * pods/proxy, services/proxy, nodes/proxy: any method, passed on to the pod, to a ready endpoint of
 * the service or to the node's kubelet, and the answer streamed back; upgrades become tunnels. */
#include "apiserver/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include "apiserver/rewrite.h"
#include "xebec/base/tls.h"

#define ANSWER_NS (30 * NS_PER_SEC) /* until the first byte of an answer */
enum { PENDING_MAX = 1 << 20, HEADERS_MAX = 100 };

/* --- where to --- */

struct place { /* "scheme:name:port" of the path, each part but the name optional */
	struct str scheme, name, port;
};

static bool place_parse(struct str id, struct place *p)
{
	struct str rest = id, v[4];
	size_t n = 0;
	while (n < ARRAY_LEN(v)) {
		bool more = memchr(rest.p, ':', rest.n) != NULL;
		v[n++] = str_cut(&rest, ':');
		if (!more)
			break;
	}
	*p = (struct place){.name = v[n == 3]};
	if (n == 2 || n == 3)
		p->port = v[n - 1];
	if (n == 3)
		p->scheme = v[0];
	bool known = !p->scheme.n || str_eqz(p->scheme, "http") || str_eqz(p->scheme, "https");
	return n < 4 && known && p->name.n;
}

/* Nobody reaches this machine's own loopback or link by way of the proxy. */
static bool may_dial(const char *ip)
{
	struct in_addr a4;
	struct in6_addr a6;
	if (inet_pton(AF_INET, ip, &a4) == 1) {
		uint32_t a = ntohl(a4.s_addr);
		return a >> 24 != 127 && a >> 16 != 0xa9fe && a >> 8 != 0xe00000 && a != 0;
	}
	if (inet_pton(AF_INET6, ip, &a6) != 1)
		return false;
	return !IN6_IS_ADDR_LOOPBACK(&a6) && !IN6_IS_ADDR_LINKLOCAL(&a6) &&
	       !IN6_IS_ADDR_MC_LINKLOCAL(&a6) && !IN6_IS_ADDR_UNSPECIFIED(&a6);
}

static int dial_to(struct req *r, const char *ip, struct str port, struct target *t, struct err *e)
{
	if (!may_dial(ip))
		return err_set(e, EINVAL, "BadRequest", "address not allowed");
	if (str_copy(t->host, sizeof(t->host), str_of(ip)) < 0)
		return err_set(e, EINVAL, "BadRequest", "address not allowed");
	const char *addr = arena_printf(
		&r->arena, strchr(ip, ':') ? "[%s]:%.*s" : "%s:%.*s", ip, STR_FMT(port));
	return str_copy(t->addr, sizeof(t->addr), str_of(addr)) < 0
		       ? err_set(e, EINVAL, "BadRequest", "invalid port")
		       : 0;
}

static struct str key_of(struct req *r, struct str name)
{
	return str_of(
		r->rt.ns.n ? arena_printf(&r->arena, "%.*s/%.*s", STR_FMT(r->rt.ns), STR_FMT(name))
			   : arena_strdup(&r->arena, name));
}

static struct str first_port(struct req *r, struct jv pod)
{
	jv_each (c, jv_path(pod, "spec.containers")) {
		struct jv port = jv_path(c.v, "ports.0.containerPort");
		if (jv_present(port))
			return str_of(arena_printf(&r->arena, "%lld", (long long)jv_int(port, 0)));
	}
	return (struct str){0};
}

static int pod_target(struct req *r, const struct place *p, struct target *t, struct err *e)
{
	struct obj *o = cache_get(r->srv->pods, key_of(r, p->name));
	if (!o)
		return not_found(r, e, r->rt.kind, p->name);
	struct jv pod = jv_of(obj_bytes(o));
	const char *ip = arena_strdup(&r->arena, jv_raw_str(jv_path(pod, "status.podIP")));
	struct str port = p->port.n ? p->port : first_port(r, pod);
	bool tls = str_eqz(p->scheme, "https");
	obj_unref(o);
	t->tls = tls ? kubelets_any_tls(r->srv->kubelets) : NULL;
	return dial_to(r, ip ? ip : "", port.n ? port : tls ? STR("443") : STR("80"), t, e);
}

static int unavailable(struct err *e, struct str service)
{
	return err_set(e, EIO, "ServiceUnavailable", "no endpoints available for service \"%.*s\"",
		STR_FMT(service));
}

/* A port number of the path is one of the service's: its name is what endpoints know. */
static int port_name(struct req *r, const struct place *p, struct str *ret, struct err *e)
{
	int64_t number;
	*ret = p->port;
	if (!p->port.n || str_i64(p->port, &number) < 0)
		return 0;
	struct obj *o = cache_get(r->srv->services, key_of(r, p->name));
	bool found = false;
	if (!o)
		return not_found(r, e, r->rt.kind, p->name);
	jv_each (port, jv_path(jv_of(obj_bytes(o)), "spec.ports"))
		if (!found && jv_int(jv_get(port.v, "port"), 0) == number) {
			char *z = arena_strdup(&r->arena, jv_raw_str(jv_get(port.v, "name")));
			*ret = str_of(z);
			found = true;
		}
	obj_unref(o);
	return found ? 0
		     : err_set(e, EIO, "ServiceUnavailable",
			       "no service port %lld found for service \"%.*s\"", (long long)number,
			       STR_FMT(p->name));
}

/* One of the slice's ready addresses, each with the same chance over all calls: n counts them. */
static void pick_endpoint(struct req *r, struct jv slice, struct str port, const char **ip,
	int64_t *number, unsigned *n)
{
	int64_t want = 0;
	jv_each (q, jv_get(slice, "ports"))
		if (str_eq(jv_raw_str(jv_get(q.v, "name")), port))
			want = jv_int(jv_get(q.v, "port"), 0);
	if (!want)
		return;
	jv_each (ep, jv_get(slice, "endpoints")) {
		unsigned dice;
		struct jv ready = jv_path(ep.v, "conditions.ready");
		if (jv_present(ready) && !jv_bool(ready, true))
			continue;
		random_bytes(&dice, sizeof(dice));
		if (dice % ++*n != 0)
			continue;
		*ip = arena_strdup(&r->arena, jv_raw_str(jv_path(ep.v, "addresses.0")));
		*number = want;
	}
}

static int service_target(struct req *r, const struct place *p, struct target *t, struct err *e)
{
	struct str port, pre = str_of(arena_printf(&r->arena, "%.*s/", STR_FMT(r->rt.ns)));
	struct omap_iter it;
	const char *ip = NULL;
	int64_t number = 0;
	unsigned n = 0;
	int rc = port_name(r, p, &port, e);
	if (rc < 0)
		return rc;
	struct obj *svc = cache_get(r->srv->services, key_of(r, p->name));
	if (!svc)
		return not_found(r, e, r->rt.kind, p->name);
	obj_unref(svc);
	struct omap_snap *s = r->srv->slices ? cache_snapshot(r->srv->slices, NULL) : NULL;
	for (bool ok = s && omap_seek(s, pre, &it); ok; ok = omap_next(s, &it)) {
		const struct obj *o = it.value;
		if (!str_starts(it.key, pre.p))
			break;
		struct jv owner = jv_get(o->labels, "kubernetes.io/service-name");
		if (str_eq(jv_raw_str(owner), p->name))
			pick_endpoint(r, jv_of(obj_bytes(o)), port, &ip, &number, &n);
	}
	omap_snap_free(s);
	if (!ip)
		return unavailable(e, p->name);
	t->tls = str_eqz(p->scheme, "https") ? kubelets_any_tls(r->srv->kubelets) : NULL;
	char *text = arena_printf(&r->arena, "%lld", (long long)number);
	return dial_to(r, ip, str_of(text), t, e);
}

/* Without a port, or with the kubelet's own: the kubelet, as ourselves; else plainly what listens.
 */
static int node_target(struct req *r, const struct place *p, struct target *t, struct err *e)
{
	struct obj *o = cache_get(r->srv->nodes, p->name);
	if (!o)
		return not_found(r, e, r->rt.kind, p->name);
	obj_unref(o);
	int rc = node_address(r, p->name, t, e);
	if (rc < 0)
		return rc;
	struct str port = str_of(strrchr(t->addr, ':') + 1);
	if (!p->port.n || str_eq(port, p->port)) {
		t->tls = kubelets_tls(r->srv->kubelets);
		return 0;
	}
	t->tls = str_eqz(p->scheme, "https") ? kubelets_any_tls(r->srv->kubelets) : NULL;
	const char *host = arena_strdup(&r->arena, str_of(t->host));
	return dial_to(r, host, p->port, t, e);
}

static int find_place(struct req *r, struct target *t, struct err *e)
{
	static const struct {
		const char *plural, *word;
		int (*fn)(struct req *r, const struct place *p, struct target *t, struct err *e);
	} rows[] = {{"pods", "pod", pod_target}, {"services", "service", service_target},
		{"nodes", "node", node_target}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct place p;
		if (strcmp(rows[i].plural, r->rt.kind->plural) != 0)
			continue;
		if (!place_parse(r->rt.name, &p))
			return err_set(e, EINVAL, "BadRequest", "invalid %s request \"%.*s\"",
				rows[i].word, STR_FMT(r->rt.name));
		return rows[i].fn(r, &p, t, e);
	}
	return err_set(e, ENOENT, "NotFound", "the server could not find the requested resource");
}

/* The path as it was sent, cut after ".../proxy". */
static struct str split_path(const struct req *r, struct str *ret_prefix)
{
	size_t segments = r->rt.ns.n ? 7 : 5, i = 0;
	for (; i < r->path.n; i++)
		if (r->path.p[i] == '/' && segments-- == 0)
			break;
	*ret_prefix = (struct str){r->path.p, i};
	return (struct str){r->path.p + i, r->path.n - i};
}

/* --- there and back --- */

struct relay {
	struct req *r;
	struct httpc *c;
	struct httpc_req *q;
	struct rewrite *html; /* the answer is a page whose links are rewritten */
	struct str prefix;
	char host[96];
	bool started, paused;
	int status;
	struct loop_timer timer;
};

static void relay_free(struct req *r)
{
	struct relay *y = r->state;
	if (!y)
		return;
	loop_timer_cancel(&y->timer);
	httpc_free(y->c);
	rewrite_free(y->html);
	free(y);
	r->state = NULL;
}

static bool in_list(struct str name, const char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eqz(name, v[i]))
			return true;
	return false;
}

/* RFC 9110 7.6.1: said between two neighbours only. */
static bool hop(struct str name)
{
	static const char *const names[] = {"connection", "keep-alive", "proxy-connection",
		"transfer-encoding", "te", "trailer", "upgrade", "proxy-authenticate",
		"proxy-authorization"};
	return in_list(name, names, ARRAY_LEN(names));
}

static size_t answer_headers(
	struct relay *y, const struct http_header *h, size_t n, struct http_header *out)
{
	size_t k = 0;
	bool html = false, coded = false;
	for (size_t i = 0; i < n; i++) {
		html |= str_eqz(h[i].name, "content-type") && str_starts(h[i].value, "text/html");
		coded |= str_eqz(h[i].name, "content-encoding") && h[i].value.n;
	}
	if (html && !coded && !str_eqz(y->r->method, "HEAD"))
		y->html = rewrite_new(y->prefix, str_of(y->host));
	for (size_t i = 0; i < n && k < HEADERS_MAX; i++) {
		if (hop(h[i].name) || (y->html && str_eqz(h[i].name, "content-length")))
			continue;
		out[k] = h[i];
		if (str_eqz(h[i].name, "location")) {
			AUTO_BUF struct buf b = {0};
			rewrite_url(y->prefix, str_of(y->host), h[i].value, &b);
			out[k].value = str_of(arena_strdup(&y->r->arena, buf_str(&b)));
		}
		k++;
	}
	return k;
}

static void relay_headers(struct httpc_req *q, int status, const struct http_header *h, size_t n)
{
	struct relay *y = httpc_arg(q);
	struct http_header out[HEADERS_MAX];
	loop_timer_cancel(&y->timer);
	size_t k = answer_headers(y, h, n, out);
	y->started = true;
	y->status = status;
	y->r->status = status;
	y->r->x->ops->start(y->r->x, status, out, k);
}

static void relay_data(struct httpc_req *q, const void *p, size_t n)
{
	struct relay *y = httpc_arg(q);
	struct http_exchange *x = y->r->x;
	AUTO_BUF struct buf b = {0};
	struct str s = {p, n};
	if (y->html) {
		rewrite_more(y->html, s, false, &b);
		s = buf_str(&b);
	}
	if (s.n)
		x->ops->write(x, s.p, s.n);
	y->paused = x->ops->pending(x) > PENDING_MAX;
	if (y->paused)
		httpc_pause(q, true);
}

static void relay_fail(struct relay *y, const char *why)
{
	struct err out = {0};
	err_set(&out, EIO, "ServiceUnavailable", "error trying to reach service: %s", why);
	reply_error_kind(y->r, &out, NULL, NULL);
}

static void relay_done(
	struct httpc_req *q, const struct err *e, const struct http_header *h, size_t n)
{
	struct relay *y = httpc_arg(q);
	struct req *r = y->r;
	(void)h;
	(void)n;
	y->q = NULL;
	r->on_gone = NULL;
	loop_timer_cancel(&y->timer);
	if (!y->started) {
		relay_fail(y, e ? e->msg : "no answer");
		return;
	}
	if (e) { /* cut short: so is ours */
		struct http_exchange *x = r->x;
		x->on_close = NULL;
		x->on_drain = NULL;
		x->user = NULL;
		r->x = NULL;
		x->ops->abort(x);
		req_free_if_done(r);
		return;
	}
	if (y->html) {
		AUTO_BUF struct buf b = {0};
		rewrite_more(y->html, (struct str){0}, true, &b);
		r->x->ops->write(r->x, b.p, b.len);
	}
	req_finished(r, y->status);
}

static void relay_gone(struct req *r)
{
	struct relay *y = r->state;
	loop_timer_cancel(&y->timer);
	if (y->q)
		httpc_cancel(y->q);
	y->q = NULL;
}

static void relay_timeout(struct loop_timer *t)
{
	struct relay *y = t->arg;
	relay_gone(y->r);
	y->r->on_gone = NULL;
	relay_fail(y, "no answer in time");
}

static void relay_drain(struct http_exchange *x)
{
	struct req *r = x->user;
	struct relay *y = r ? r->state : NULL;
	if (y && y->q && y->paused) {
		y->paused = false;
		httpc_pause(y->q, false);
	}
}

static size_t request_headers(
	struct req *r, struct str prefix, struct str rest, bool upgrade, struct http_header *out)
{
	static const char *const ours[] = {"authorization", "host", "content-length", "expect",
		"accept-encoding", "x-forwarded-for", "x-forwarded-uri"};
	size_t n = 0;
	struct str peer = r->x->peer.addr, had = http_header_get(r->x, "x-forwarded-for");
	for (size_t i = 0; i < r->x->n_headers && n + 2 < HEADERS_MAX; i++) {
		struct str name = r->x->headers[i].name;
		bool between =
			hop(name) &&
			!(upgrade && (str_eqz(name, "connection") || str_eqz(name, "upgrade")));
		if (!between && !in_list(name, ours, ARRAY_LEN(ours)))
			out[n++] = r->x->headers[i];
	}
	for (size_t i = peer.n; i > 0; i--)
		if (peer.p[i - 1] == ':') { /* without its port */
			peer.n = i - 1;
			break;
		}
	char *via = arena_printf(
		&r->arena, "%.*s%s%.*s", STR_FMT(had), had.n ? ", " : "", STR_FMT(peer));
	char *uri = arena_printf(&r->arena, "%.*s%.*s", STR_FMT(prefix), STR_FMT(rest));
	out[n++] = (struct http_header){STR("x-forwarded-for"), str_of(via)};
	out[n++] = (struct http_header){STR("x-forwarded-uri"), str_of(uri)};
	return n;
}

static int relay_send(struct req *r, const struct target *t, const struct httpc_call *call,
	struct str prefix, struct err *e)
{
	static const struct httpc_events ev = {
		.on_headers = relay_headers, .on_data = relay_data, .on_done = relay_done};
	struct relay *y = calloc(1, sizeof(*y));
	if (!y)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	y->r = r;
	y->prefix = prefix;
	y->timer = (struct loop_timer){.fn = relay_timeout, .arg = y};
	(void)str_copy(y->host, sizeof(y->host), str_of(t->addr));
	r->state = y;
	r->free_state = relay_free;
	struct httpc_config c = {.loop = r->loop,
		.addr = t->addr,
		.host = t->tls ? t->host : t->addr,
		.tls = t->tls,
		.alpn = "http/1.1"};
	int rc = httpc_new(&c, &y->c, e);
	if (rc < 0)
		return rc;
	struct httpc_call mine = *call;
	mine.ev = &ev;
	mine.arg = y;
	r->on_gone = relay_gone;
	r->x->on_drain = relay_drain;
	y->q = httpc_send(y->c, &mine);
	if (!y->q) {
		r->on_gone = NULL;
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	}
	(void)loop_timer_set(r->loop, &y->timer, ANSWER_NS);
	return 0;
}

/* A page's own links are relative to a path that ends in a slash. */
static void redirect_to_root(struct req *r)
{
	struct http_header h[] = {
		{STR("location"), str_of(arena_printf(&r->arena, "%.*s/%s%.*s", STR_FMT(r->path),
					  r->query.n ? "?" : "", STR_FMT(r->query)))},
		{STR("content-length"), STR("0")}};
	r->x->ops->start(r->x, 301, h, ARRAY_LEN(h));
	req_finished(r, 301);
}

static void proxy_fresh(struct req *r)
{
	struct err e = {0};
	struct target t = {0};
	struct str prefix, rest = split_path(r, &prefix);
	bool upgrade = http_header_get(r->x, "upgrade").n > 0;
	bool reads = str_eqz(r->method, "GET") || str_eqz(r->method, "HEAD");
	struct http_header h[HEADERS_MAX];
	AUTO_BUF struct buf path = {0};
	if (find_place(r, &t, &e) < 0) {
		reply_error(r, &e);
		return;
	}
	if (!upgrade && !rest.n && reads) {
		redirect_to_root(r);
		return;
	}
	buf_adds(&path, rest.n ? "" : "/");
	buf_add_str(&path, rest);
	buf_adds(&path, r->query.n ? "?" : "");
	buf_add_str(&path, r->query);
	struct httpc_call call = {.method = arena_strdup(&r->arena, r->method),
		.path = buf_str(&path),
		.headers = h,
		.n_headers = request_headers(r, prefix, rest, upgrade, h),
		.body = r->body};
	if (upgrade)
		tunnel_open(r, &t, &call);
	else if (relay_send(r, &t, &call, prefix, &e) < 0)
		reply_error_kind(r, &e, NULL, NULL);
}

void do_proxy(struct req *r)
{
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), proxy_fresh);
}

/* SPDX-License-Identifier: Apache-2.0
 * The network transport: httpc over TLS (or plain, for tests and kubectl proxy). */
#include <errno.h>
#include "client/client_int.h"
#include "xebec/base/httpc.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

#define TOKEN_REREAD_NS (60 * NS_PER_SEC)

struct https {
	struct client base;
	struct httpc *hc;
	struct tls_ctx *tls;
	char *prefix; /* path of the server URL, "" usually */
	char *user_agent;
	char *token_file; /* bound tokens are renewed in place: read again now and then */
	int64_t token_read;
	struct buf bearer; /* "Bearer xyz" or empty */
};

struct xfer {
	struct httpc_req *req;
	const struct xfer_events *ev;
	void *arg;
};

static void on_headers(struct httpc_req *req, int status, const struct http_header *h, size_t n)
{
	struct xfer *x = httpc_arg(req);
	(void)h;
	(void)n;
	x->ev->on_status(x->arg, status);
}

static void on_data(struct httpc_req *req, const void *p, size_t n)
{
	struct xfer *x = httpc_arg(req);
	x->ev->on_data(x->arg, p, n);
}

static void on_done(
	struct httpc_req *req, const struct err *e, const struct http_header *trailers, size_t n)
{
	struct xfer *x = httpc_arg(req);
	struct err mine = {0};
	(void)trailers;
	(void)n;
	if (e) /* whatever the cause, to the caller it is the transport */
		(void)err_set(&mine, e->code == -ETIMEDOUT ? -ETIMEDOUT : -EIO,
			"ServiceUnavailable", "API server: %s", e->msg);
	const struct xfer_events *ev = x->ev;
	void *arg = x->arg;
	free(x);
	ev->on_done(arg, e ? &mine : NULL);
}

static const struct httpc_events events = {
	.on_headers = on_headers, .on_data = on_data, .on_done = on_done};

static void reread_token(struct https *h)
{
	int64_t now = time_mono();
	AUTO_BUF struct buf b = {0};
	if (!h->token_file || (h->token_read && now - h->token_read < TOKEN_REREAD_NS))
		return;
	h->token_read = now;
	if (file_read(h->token_file, 65536, &b) < 0)
		return; /* the old one may still be good */
	while (b.len && (unsigned char)b.p[b.len - 1] <= ' ')
		b.p[--b.len] = '\0';
	buf_clear(&h->bearer);
	buf_adds(&h->bearer, "Bearer ");
	buf_add_str(&h->bearer, buf_str(&b));
}

static struct xfer *xfer_send(
	struct client *c, const struct client_request *r, const struct xfer_events *ev, void *arg)
{
	struct https *h = (struct https *)c;
	AUTO_BUF struct buf path = {0};
	struct http_header headers[4];
	size_t n = 0;
	reread_token(h);
	headers[n++] = (struct http_header){STR("accept"), STR("application/json")};
	headers[n++] = (struct http_header){STR("user-agent"), str_of(h->user_agent)};
	if (h->bearer.len)
		headers[n++] = (struct http_header){STR("authorization"), buf_str(&h->bearer)};
	if (r->body.n)
		headers[n++] = (struct http_header){STR("content-type"),
			str_of(r->content_type ? r->content_type : "application/json")};
	buf_adds(&path, h->prefix);
	buf_add_str(&path, r->path);
	struct xfer *x = calloc(1, sizeof(*x));
	if (!x || path.err) {
		free(x);
		return NULL;
	}
	*x = (struct xfer){.ev = ev, .arg = arg};
	const struct httpc_call call = {
		.method = r->method,
		.path = buf_str(&path),
		.headers = headers,
		.n_headers = n,
		.body = r->body,
		.ev = &events,
		.arg = x,
	};
	x->req = httpc_send(h->hc, &call);
	if (!x->req) {
		free(x);
		return NULL;
	}
	return x;
}

static void xfer_cancel(struct xfer *x)
{
	httpc_cancel(x->req);
	free(x);
}

static void https_free(struct client *c)
{
	struct https *h = (struct https *)c;
	httpc_free(h->hc);
	tls_ctx_free(h->tls);
	free(h->prefix);
	free(h->user_agent);
	free(h->token_file);
	buf_free(&h->bearer);
	free(h);
}

static const struct transport_ops https_ops = {
	.send = xfer_send, .cancel = xfer_cancel, .free = https_free};

/* --- the server's URL --- */

struct url {
	bool tls;
	struct str host, port, path; /* host without brackets */
};

static int url_parse(const char *text, struct url *u, struct err *e)
{
	struct str s = str_of(text);
	*u = (struct url){0};
	u->tls = str_starts(s, "https://");
	size_t scheme = u->tls ? 8 : str_starts(s, "http://") ? 7 : 0;
	s.p += scheme;
	s.n -= scheme;
	u->port = u->tls || !scheme ? STR("443") : STR("80");
	if (!scheme)
		u->tls = true; /* a bare host:port, as kubectl --server takes it */
	const char *slash = memchr(s.p, '/', s.n);
	if (slash)
		u->path = (struct str){slash, (size_t)(s.p + s.n - slash)};
	while (u->path.n && u->path.p[u->path.n - 1] == '/')
		u->path.n--;
	struct str authority = {s.p, slash ? (size_t)(slash - s.p) : s.n};
	if (authority.n && authority.p[0] == '[') {
		authority.p++;
		authority.n--;
		u->host = str_cut(&authority, ']');
		(void)str_cut(&authority, ':');
	} else {
		u->host = str_cut(&authority, ':');
	}
	if (authority.n)
		u->port = authority;
	uint64_t port;
	bool other_scheme = !scheme && strstr(text, "://");
	if (other_scheme || !u->host.n || str_u64(u->port, &port) < 0 || port == 0 || port > 65535)
		return err_set(
			e, -EINVAL, "BadRequest", "server '%s': expected https://HOST:PORT", text);
	return 0;
}

static int make_tls(struct https *h, const struct client_https_config *c, struct err *e)
{
	AUTO_BUF struct buf system = {0};
	struct str ca = c->ca_pem;
	if (c->insecure) {
		ca = (struct str){0};
	} else if (!ca.n) {
		/* No CA named: whom the machine trusts. Never nobody. */
		if (file_read("/etc/ssl/certs/ca-certificates.crt", 4 << 20, &system) < 0 ||
			!system.len)
			return err_set(e, -EINVAL, "BadRequest",
				"server '%s': no certificate authority given and the machine has "
				"none",
				c->server);
		ca = buf_str(&system);
	}
	return tls_client_ctx(ca, c->cert_pem, c->key_pem, &h->tls, e);
}

static int make_httpc(
	struct https *h, const struct client_https_config *c, const struct url *u, struct err *e)
{
	AUTO_BUF struct buf addr = {0}, host = {0};
	bool v6 = memchr(u->host.p, ':', u->host.n) != NULL;
	buf_addf(&addr, v6 ? "[%.*s]:%.*s" : "%.*s:%.*s", STR_FMT(u->host), STR_FMT(u->port));
	if (c->tls_server_name && c->tls_server_name[0])
		buf_adds(&host, c->tls_server_name);
	else
		buf_add_str(&host, u->host);
	if (addr.err || host.err)
		return err_set(e, -ENOMEM, "InternalError", "out of memory");
	const struct httpc_config hc = {
		.loop = c->loop, .addr = addr.p, .host = host.p, .tls = h->tls};
	return httpc_new(&hc, &h->hc, e);
}

int client_new_https(const struct client_https_config *c, struct client **ret, struct err *e)
{
	struct url u;
	int r = url_parse(c->server, &u, e);
	if (r < 0)
		return r;
	struct https *h = calloc(1, sizeof(*h));
	if (!h)
		return err_set(e, -ENOMEM, "InternalError", "out of memory");
	h->base.ops = &https_ops;
	h->base.loop = c->loop;
	list_init(&h->base.calls);
	h->prefix = str_dup(u.path);
	h->user_agent = strdup(c->user_agent ? c->user_agent : "xebec");
	h->token_file = c->token_file ? strdup(c->token_file) : NULL;
	if (c->token && c->token[0])
		buf_addf(&h->bearer, "Bearer %s", c->token);
	if (!h->prefix || !h->user_agent || (c->token_file && !h->token_file))
		r = err_set(e, -ENOMEM, "InternalError", "out of memory");
	if (r == 0 && u.tls)
		r = make_tls(h, c, e);
	if (r == 0)
		r = make_httpc(h, c, &u, e);
	if (r < 0) {
		https_free(&h->base);
		return r;
	}
	*ret = &h->base;
	return 0;
}

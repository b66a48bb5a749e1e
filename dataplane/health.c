/* SPDX-License-Identifier: Apache-2.0
 * Health endpoints: the answers are pure functions of the state, the servers hand them out. */
#include "health.h"

#include <errno.h>
#include <stdlib.h>
#include "xebec/base/htab.h"
#include "xebec/base/httpd.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

#define STUCK_AFTER  (60 * NS_PER_SEC) /* twice kube-proxy's sync period */
#define LISTEN_AGAIN (2 * NS_PER_SEC)

struct svc_port { /* of one Service */
	struct health *h;
	char *ns, *name;
	uint16_t port;
	size_t local;
	struct httpd *server; /* NULL: the port is taken, tried again */
};

struct health {
	struct health_config c;
	struct httpd *server;
	struct htab *services; /* "ns/name" -> struct svc_port */
	struct loop_timer retry;
	struct health_counts counts;
};

/* ------------------------------------------------------------------ answers */

bool health_ok(const struct health_state *s, int64_t now)
{
	return s->synced && (!s->pending || now - s->pending < STUCK_AFTER);
}

int health_answer(const struct health_state *s, struct str path, int64_t now, struct buf *out)
{
	char updated[31], current[31];
	bool ok = health_ok(s, now), livez = str_eqz(path, "/livez");
	if (!livez && !str_eqz(path, "/healthz")) {
		buf_adds(out, "{\"message\":\"/healthz and /livez are served here\"}\n");
		return 404;
	}
	time_rfc3339_nano(now, current);
	time_rfc3339_nano(ok ? now : s->updated, updated);
	buf_addf(out, "{\"lastUpdated\": \"%s\",\"currentTime\": \"%s\"", updated, current);
	if (livez) {
		buf_adds(out, "}");
		return ok ? 200 : 503;
	}
	buf_addf(out, ", \"nodeEligible\": %s}", s->node_leaving ? "false" : "true");
	return ok && !s->node_leaving ? 200 : 503;
}

/* ------------------------------------------------------------------ servers */

static void reply(struct http_exchange *x, int status, const struct buf *body,
	const struct http_header *weight)
{
	struct http_header h[2] = {{STR("x-content-type-options"), STR("nosniff")}};
	if (weight)
		h[1] = *weight;
	http_reply(x, status, "application/json", buf_str(body), h, weight ? 2 : 1);
}

static int serve(struct health *h, const char *addr, http_handler *fn, void *srv,
	struct httpd **ret, struct err *e)
{
	struct httpd_config c = {.handler = fn,
		.srv = srv,
		.loop = h->c.loop,
		.max_body = 1 << 12,
		.max_header = 16 << 10,
		.max_conns = 64,
		.idle_timeout_ns = 60 * NS_PER_SEC,
		.header_timeout_ns = 10 * NS_PER_SEC};
	struct httpd *d;
	int fd = net_listen(addr, e);
	if (fd < 0)
		return fd;
	int r = httpd_new(&c, &d, e);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	r = httpd_listen_fd(d, fd, e);
	if (r < 0)
		httpd_free(d);
	else
		*ret = d;
	return r;
}

static void on_request(void *srv, struct http_exchange *x)
{
	struct health *h = srv;
	struct health_state s = h->c.state(h->c.arg);
	AUTO_BUF struct buf out = {0};
	int status = health_answer(&s, x->path, time_now(), &out);
	bool livez = str_eqz(x->path, "/livez");
	if (status == 200)
		(*(livez ? &h->counts.livez_ok : &h->counts.healthz_ok))++;
	else if (status == 503)
		(*(livez ? &h->counts.livez_bad : &h->counts.healthz_bad))++;
	reply(x, status, &out, NULL);
}

struct health_counts health_counts(const struct health *h)
{
	return h->counts;
}

static int own_listen(struct health *h);
static void on_retry(struct loop_timer *t);

int health_start(const struct health_config *c, struct health **ret, struct err *e)
{
	struct health *h = calloc(1, sizeof *h);
	if (h)
		h->services = htab_new();
	if (!h || !h->services) {
		free(h);
		return err_set(e, ENOMEM, NULL, "out of memory");
	}
	h->c = *c;
	h->retry = (struct loop_timer){.fn = on_retry, .arg = h};
	/* A port that is taken must not keep services from being programmed. */
	if (own_listen(h) < 0)
		(void)loop_timer_set(c->loop, &h->retry, LISTEN_AGAIN);
	*ret = h;
	return 0;
}

static void svc_port_free(void *v)
{
	struct svc_port *s = v;
	httpd_free(s->server);
	free(s->ns);
	free(s->name);
	free(s);
}

void health_free(struct health *h)
{
	if (!h)
		return;
	loop_timer_cancel(&h->retry);
	htab_free(h->services, svc_port_free);
	httpd_free(h->server);
	free(h);
}

/* ------------------------------------------------------------------ services */

static void on_service_request(void *srv, struct http_exchange *x)
{
	struct svc_port *s = srv;
	struct health_state state = s->h->c.state(s->h->c.arg);
	bool ok = health_ok(&state, time_now());
	char weight[24];
	AUTO_BUF struct buf out = {0};
	(void)snprintf(weight, sizeof weight, "%zu", s->local);
	buf_adds(&out, "{\n\t\"service\": {\n\t\t\"namespace\": ");
	buf_add_json_str(&out, str_of(s->ns));
	buf_adds(&out, ",\n\t\t\"name\": ");
	buf_add_json_str(&out, str_of(s->name));
	buf_addf(&out, "\n\t},\n\t\"localEndpoints\": %zu,\n\t\"serviceProxyHealthy\": %s\n}",
		s->local, ok ? "true" : "false");
	/* For balancers that weigh nodes by how many endpoints they have. */
	const struct http_header h = {STR("x-load-balancing-endpoint-weight"), str_of(weight)};
	reply(x, s->local && ok ? 200 : 503, &out, &h);
}

static int svc_listen(struct svc_port *s)
{
	char addr[16];
	struct err e = {0};
	(void)snprintf(addr, sizeof addr, "[::]:%u", s->port); /* both families */
	int r = serve(s->h, addr, on_service_request, s, &s->server, &e);
	(void)snprintf(addr, sizeof addr, "0.0.0.0:%u", s->port);
	if (r < 0 && r != -EADDRINUSE)
		r = serve(s->h, addr, on_service_request, s, &s->server, &e);
	if (r < 0)
		log_warn("health check port of service %s/%s: %s; trying again", s->ns, s->name,
			e.msg);
	return r;
}

static int own_listen(struct health *h)
{
	struct err e = {0};
	if (h->server || !h->c.addr || !h->c.addr[0])
		return 0;
	int r = serve(h, h->c.addr, on_request, h, &h->server, &e);
	if (r < 0)
		log_warn("health port: %s; trying again", e.msg);
	return r;
}

static void on_retry(struct loop_timer *t)
{
	struct health *h = t->arg;
	bool again = own_listen(h) < 0;
	htab_each (h->services, it) {
		struct svc_port *s = it.value;
		again |= !s->server && svc_listen(s) < 0;
	}
	if (again)
		(void)loop_timer_set(h->c.loop, t, LISTEN_AGAIN);
}

static struct svc_port *svc_port_new(
	struct health *h, const char *ns, const char *name, uint16_t port, struct str key)
{
	struct svc_port *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	*s = (struct svc_port){
		.h = h, .ns = str_dup(str_of(ns)), .name = str_dup(str_of(name)), .port = port};
	if (s->ns && s->name && htab_put(h->services, key, s, NULL) == 0)
		return s;
	svc_port_free(s);
	return NULL;
}

void health_service(
	struct health *h, const char *ns, const char *name, uint16_t port, size_t local_endpoints)
{
	AUTO_BUF struct buf key = {0};
	buf_addf(&key, "%s/%s", ns, name);
	struct svc_port *s = key.err ? NULL : htab_get(h->services, buf_str(&key));
	if (s && s->port != port) {
		svc_port_free(htab_del(h->services, buf_str(&key)));
		s = NULL;
	}
	if (!port || key.err)
		return;
	bool is_new = !s;
	if (is_new)
		s = svc_port_new(h, ns, name, port, buf_str(&key));
	if (!s)
		return;
	s->local = local_endpoints;
	if (is_new && svc_listen(s) < 0)
		(void)loop_timer_set(h->c.loop, &h->retry, LISTEN_AGAIN);
}

/* SPDX-License-Identifier: Apache-2.0
 * Routes of the node agent's server. Callers prove themselves by a certificate of the cluster's CA.
 */
#include "kubelet/logs.h"
#include "kubelet/server.h"
#include "xebec/base/httpd.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

static void text(struct http_exchange *x, int status, const char *body)
{
	http_reply(x, status, "text/plain", str_of(body), NULL, 0);
}

/* --- paths --- */

enum { MAX_PARTS = 6 };

struct route_path {
	char *part[MAX_PARTS];
	size_t n;
};

static int split_path(struct http_exchange *x, struct route_path *p)
{
	struct str rest = x->path;
	*p = (struct route_path){0};
	if (rest.n > 0 && rest.p[0] == '/')
		rest = (struct str){rest.p + 1, rest.n - 1};
	while (rest.n > 0) {
		AUTO_BUF struct buf b = {0};
		struct str raw = str_cut(&rest, '/');
		if (raw.n == 0)
			continue;
		if (p->n == MAX_PARTS || url_decode(raw, false, &b) < 0)
			return -1;
		p->part[p->n++] = arena_strdup(&x->arena, buf_str(&b));
	}
	return 0;
}

/* NS/POD[/UID]/CONTAINER after the first part; with want_container false, NS/POD[/UID]. */
static struct pod *find_pod(struct kubelet *k, const struct route_path *p, bool want_container,
	const char **ret_container)
{
	size_t fixed = want_container ? 4 : 3;
	if (p->n < fixed || p->n > fixed + 1)
		return NULL;
	struct pod *pod = pod_find(k, p->part[1], p->part[2]);
	if (pod && p->n > fixed && strcmp(pod->uid, p->part[3]) != 0)
		return NULL;
	if (want_container)
		*ret_container = p->part[p->n - 1];
	return pod;
}

/* --- logs --- */

struct log_watch {
	struct pod *p;
	char *slot, *id;
};

static bool log_alive(void *arg)
{
	struct log_watch *w = arg;
	struct slot *s = pod_slot(w->p, w->slot);
	return s && s->has_cur && strcmp(s->cur.id, w->id) == 0 && s->cur.state == INST_RUNNING;
}

static void log_watch_free(void *arg)
{
	struct log_watch *w = arg;
	pod_unref(w->p);
	free(w->slot);
	free(w->id);
	free(w);
}

static void no_log(
	struct http_exchange *x, const struct pod *p, const struct slot *s, bool previous)
{
	AUTO_BUF struct buf b = {0};
	if (previous)
		buf_addf(&b, "previous terminated container \"%s\" in pod \"%s\" not found",
			s->name, p->name);
	else
		buf_addf(&b, "container \"%s\" in pod \"%s\" is waiting to start: %s", s->name,
			p->name, *s->wait_reason ? s->wait_reason : "ContainerCreating");
	text(x, 400, b.p);
}

static void do_logs(struct kubelet *k, struct http_exchange *x, struct pod *p, struct slot *s)
{
	struct log_opts o;
	struct err e = {0};
	struct str prev = http_query_get(x, "previous");
	bool previous = str_eqz(prev, "true") || str_eqz(prev, "1");
	const struct inst *i =
		previous ? (s->has_last ? &s->last : NULL) : (s->has_cur ? &s->cur : NULL);
	/* While a container waits for its restart, the one that died is the previous one too. */
	if (previous && !i && s->has_cur && s->cur.state == INST_EXITED && *s->wait_reason)
		i = &s->cur;
	if (!previous && i && i->state == INST_CREATED && s->has_last)
		i = &s->last;
	(void)k;
	if (log_opts_parse(x, time_now(), &o, &e) < 0) {
		text(x, 400, e.msg);
		return;
	}
	if (!i || !i->log_path || !*i->log_path) {
		no_log(x, p, s, previous);
		return;
	}
	struct log_watch *w = calloc(1, sizeof(*w));
	if (!w) {
		text(x, 500, "out of memory");
		return;
	}
	*w = (struct log_watch){.p = pod_ref(p), .slot = strdup(s->name), .id = strdup(i->id)};
	if (log_serve(x, i->log_path, &o, log_alive, log_watch_free, w, &e) < 0) {
		log_watch_free(w);
		text(x, 404, e.msg);
	}
}

/* --- lists --- */

static void do_pods(struct kubelet *k, struct http_exchange *x)
{
	AUTO_BUF struct buf b = {0};
	bool first = true;
	buf_adds(&b, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
	list_each (it, &k->pods) {
		struct pod *p = list_entry(it, struct pod, link);
		AUTO_JSON json_t *o = json_copy(p->obj);
		if (p->status)
			(void)json_object_set(o, "status", p->status);
		if (!first)
			buf_addc(&b, ',');
		first = false;
		json_write(o, &b);
	}
	buf_adds(&b, "]}\n");
	http_reply(x, 200, "application/json", buf_str(&b), NULL, 0);
}

static void do_healthz(struct kubelet *k, struct http_exchange *x)
{
	(void)k;
	text(x, 200, "ok");
}

/* --- dispatch --- */

static const struct plain_route {
	const char *path;
	void (*fn)(struct kubelet *k, struct http_exchange *x);
} plain[] = {
	{"/healthz", do_healthz},
	{"/healthz/syncloop", do_healthz},
	{"/healthz/ping", do_healthz},
	{"/pods", do_pods},
	{"/pods/", do_pods},
	{"/runningpods/", do_pods},
	{"/metrics", stats_metrics},
	{"/metrics/resource", stats_resource},
	{"/stats/summary", stats_summary},
};

static const struct container_route {
	const char *name;
	void (*fn)(struct kubelet *k, struct http_exchange *x, struct slot *s);
} container_routes[] = {
	{"exec", stream_exec},
	{"attach", stream_attach},
	{"run", stream_run},
};

static void not_found(struct http_exchange *x, const char *what, const char *name)
{
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "%s \"%s\" not found", what, name ? name : "");
	text(x, 404, b.p);
}

static void route_pod(struct kubelet *k, struct http_exchange *x, const struct route_path *rp)
{
	const char *container = NULL;
	bool forward = strcmp(rp->part[0], "portForward") == 0;
	bool logs = strcmp(rp->part[0], "containerLogs") == 0;
	struct pod *p = find_pod(k, rp, !forward, &container);
	if (!p) {
		not_found(x, "pod", rp->n > 2 ? rp->part[2] : NULL);
		return;
	}
	if (forward) {
		stream_portforward(k, x, p);
		return;
	}
	struct slot *s = pod_slot(p, container);
	if (!s) {
		not_found(x, "container", container);
		return;
	}
	if (logs) {
		do_logs(k, x, p, s);
		return;
	}
	x->user = p;
	for (size_t i = 0; i < ARRAY_LEN(container_routes); i++)
		if (strcmp(rp->part[0], container_routes[i].name) == 0)
			container_routes[i].fn(k, x, s);
}

static bool is_pod_route(const struct route_path *rp)
{
	static const char *const names[] = {
		"containerLogs", "exec", "attach", "run", "portForward"};
	for (size_t i = 0; rp->n > 0 && i < ARRAY_LEN(names); i++)
		if (strcmp(rp->part[0], names[i]) == 0)
			return true;
	return false;
}

/* Only the control plane and administrators, when there are certificates at all. */
static bool allowed(const struct http_exchange *x)
{
	if (!x->peer.tls)
		return true;
	for (size_t i = 0; i < x->peer.n_cert_orgs; i++)
		if (str_eqz(x->peer.cert_orgs[i], "system:masters") ||
			str_eqz(x->peer.cert_orgs[i], "kubeadm:cluster-admins"))
			return true;
	return str_eqz(x->peer.cert_cn, "kube-apiserver-kubelet-client");
}

static void handle(void *srv, struct http_exchange *x)
{
	struct kubelet *k = srv;
	struct route_path rp;
	if (x->peer.tls && x->peer.cert_cn.n == 0 && !str_starts(x->path, "/healthz")) {
		text(x, 401, "Unauthorized");
		return;
	}
	if (!allowed(x) && !str_starts(x->path, "/healthz")) {
		text(x, 403, "Forbidden");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (str_eqz(x->path, plain[i].path)) {
			plain[i].fn(k, x);
			return;
		}
	if (split_path(x, &rp) < 0 || !is_pod_route(&rp)) {
		text(x, 404, "404 page not found");
		return;
	}
	route_pod(k, x, &rp);
}

int server_start(struct kubelet *k, struct err *e)
{
	struct tls_ctx *tls = NULL;
	int fd, r = 0;
	if (k->c.cert_pem.n > 0)
		r = tls_server_ctx(k->c.cert_pem, k->c.key_pem, k->c.client_ca_pem, &tls, e);
	if (r < 0)
		return r;
	struct httpd_config cfg = {.handler = handle,
		.srv = k,
		.tls = tls,
		.loop = k->loop,
		.max_body = 1 << 20,
		.max_header = 64 << 10,
		.max_conns = 1024,
		.idle_timeout_ns = 300 * NS_PER_SEC,
		.header_timeout_ns = 30 * NS_PER_SEC};
	r = httpd_new(&cfg, &k->httpd, e);
	tls_ctx_free(tls);
	if (r < 0)
		return r;
	fd = net_listen(k->c.listen, e);
	if (fd < 0)
		return fd;
	r = httpd_listen_fd(k->httpd, fd, e);
	if (r == 0)
		log_info("serving on %s", k->c.listen);
	return r;
}

void server_stop(struct kubelet *k)
{
	if (!k->httpd)
		return;
	httpd_stop(k->httpd);
	httpd_free(k->httpd);
	k->httpd = NULL;
}

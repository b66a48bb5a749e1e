/* SPDX-License-Identifier: Apache-2.0
 * Checks: exec through the runtime, HTTP, TCP and gRPC over the network. */
#include <stdarg.h>
#include <strings.h>
#include "kubelet/check.h"
#include "xebec/base/grpc.h"
#include "xebec/base/httpc.h"
#include "xebec/base/stream.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

struct check {
	struct pod *pod;
	check_done *done;
	void *arg;
	struct cri_call *exec;
	struct httpc *http;
	struct stream *tcp;
	struct grpc *grpc;
	struct tls_ctx *tls;
	struct loop_timer timer; /* deadline, then the deferred end */
	bool ok, finished;
	int status;
	struct buf body;
	char output[512];
};

static void release(struct check *c)
{
	loop_timer_cancel(&c->timer);
	if (c->exec)
		c->pod->k->cri->ops->cancel(c->exec);
	httpc_free(c->http);
	stream_free(c->tcp);
	if (c->grpc)
		grpc_free(c->grpc);
	tls_ctx_free(c->tls);
	buf_free(&c->body);
	pod_unref(c->pod);
	free(c);
}

static void on_end(struct loop_timer *t)
{
	struct check *c = t->arg;
	check_done *done = c->done;
	void *arg = c->arg;
	bool ok = c->ok;
	char output[sizeof(c->output)];
	memcpy(output, c->output, sizeof(output));
	release(c);
	done(arg, ok, output);
}

/* The end comes from a timer, so that clients are freed outside their own callbacks. */
static void end(struct check *c, bool ok, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void end(struct check *c, bool ok, const char *fmt, ...)
{
	va_list ap;
	if (c->finished)
		return;
	c->finished = true;
	c->ok = ok;
	va_start(ap, fmt);
	(void)vsnprintf(c->output, sizeof(c->output), fmt, ap);
	va_end(ap);
	c->timer.fn = on_end;
	(void)loop_timer_set(c->pod->k->loop, &c->timer, 0);
}

static void on_deadline(struct loop_timer *t)
{
	end(t->arg, false,
		"context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
}

int check_port(const json_t *container, const json_t *port)
{
	size_t i;
	json_t *p;
	if (json_is_integer(port))
		return (int)json_integer_value(port);
	if (!json_is_string(port))
		return 0;
	json_array_foreach (json_object_get(container, "ports"), i, p) {
		if (strcmp(json_str(p, "name", ""), json_string_value(port)) == 0)
			return (int)json_i64(p, "containerPort", 0);
	}
	return (int)strtol(json_string_value(port), NULL, 10);
}

/* --- exec --- */

static void on_exec(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct check *c = arg;
	AUTO_BUF struct buf out = {0};
	int64_t code = json_i64(resp, "exit_code", 0);
	c->exec = NULL;
	if (e) {
		end(c, false, "%s", status == CRI_DEADLINE ? "command timed out" : e->msg);
		return;
	}
	(void)base64_decode(str_of(json_str(resp, "stdout", "")), &out);
	(void)base64_decode(str_of(json_str(resp, "stderr", "")), &out);
	end(c, code == 0, "%.*s", (int)(out.len < 400 ? out.len : 400), out.p ? out.p : "");
}

static void start_exec(struct check *c, const struct check_target *t, const json_t *h, int64_t ns)
{
	json_t *cmd = json_object_get(h, "command");
	/* The runtime's deadline is in whole seconds; ours (the timer) is the same, a little later.
	 */
	json_t *req = json_pack("{s:s, s:O?, s:I}", "container_id", t->container_id, "cmd", cmd,
		"timeout", (json_int_t)((ns + NS_PER_SEC - 1) / NS_PER_SEC));
	c->exec = c->pod->k->cri->ops->call(
		c->pod->k->cri, CRI_ExecSync, req, ns + 2 * NS_PER_SEC, on_exec, c);
	loop_timer_cancel(&c->timer);
	if (!c->exec)
		end(c, false, "out of memory");
}

/* --- http --- */

static void http_headers(struct httpc_req *r, int status, const struct http_header *h, size_t n)
{
	struct check *c = httpc_arg(r);
	(void)h;
	(void)n;
	c->status = status;
}

static void http_data(struct httpc_req *r, const void *p, size_t n)
{
	struct check *c = httpc_arg(r);
	if (c->body.len < 256)
		buf_add(&c->body, p, n < 256 ? n : 256);
}

static void http_done(
	struct httpc_req *r, const struct err *e, const struct http_header *tr, size_t n)
{
	struct check *c = httpc_arg(r);
	(void)tr;
	(void)n;
	if (e && !c->status)
		end(c, false, "Get request failed: %s", e->msg);
	else if (c->status >= 200 && c->status < 400)
		end(c, true, "%s", c->body.p ? c->body.p : "");
	else
		end(c, false, "HTTP probe failed with statuscode: %d", c->status);
}

static const struct httpc_events http_ev = {
	.on_headers = http_headers, .on_data = http_data, .on_done = http_done};

static void host_port(const struct check_target *t, const json_t *h, struct buf *out)
{
	const char *host = json_str(h, "host", "");
	int port = check_port(t->container, json_object_get(h, "port"));
	if (!*host)
		host = t->pod->ip && *t->pod->ip ? t->pod->ip : "127.0.0.1";
	buf_addf(out, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host, port);
}

/* Header names must be lower case in our client; Host replaces the authority. */
static size_t http_extra(
	const json_t *h, struct http_header *out, size_t cap, const char **host, struct arena *a)
{
	size_t n = 0, i;
	json_t *v;
	bool ua = false, accept = false;
	json_array_foreach (json_object_get(h, "httpHeaders"), i, v) {
		char *name = arena_strdup(a, str_of(json_str(v, "name", "")));
		char *val = arena_strdup(a, str_of(json_str(v, "value", "")));
		for (char *p = name; p && *p; p++)
			if (*p >= 'A' && *p <= 'Z')
				*p = (char)(*p + 32);
		if (!name || !val || n + 3 >= cap)
			break;
		if (strcmp(name, "host") == 0) {
			*host = val;
			continue;
		}
		ua = ua || strcmp(name, "user-agent") == 0;
		accept = accept || strcmp(name, "accept") == 0;
		out[n++] = (struct http_header){str_of(name), str_of(val)};
	}
	if (!ua)
		out[n++] = (struct http_header){STR("user-agent"), STR("kube-probe/1.36")};
	if (!accept)
		out[n++] = (struct http_header){STR("accept"), STR("*/*")};
	return n;
}

static void start_http(struct check *c, const struct check_target *t, const json_t *h)
{
	AUTO_BUF struct buf addr = {0}, path = {0};
	AUTO_ARENA struct arena a = {0};
	struct http_header extra[32];
	struct err e = {0};
	host_port(t, h, &addr);
	const char *want = json_str(h, "path", "/"), *host = addr.p;
	buf_addf(&path, "%s%s", want[0] == '/' ? "" : "/", want);
	size_t n = http_extra(h, extra, ARRAY_LEN(extra), &host, &a);
	if (strcasecmp(json_str(h, "scheme", "HTTP"), "HTTPS") == 0 &&
		tls_client_ctx(STR(""), STR(""), STR(""), &c->tls, &e) < 0) {
		end(c, false, "%s", e.msg);
		return;
	}
	struct httpc_config cfg = {.loop = c->pod->k->loop,
		.addr = addr.p,
		.host = host,
		.tls = c->tls,
		.alpn = "http/1.1",
		.max_h1_conns = 1};
	struct httpc_call call = {.method = "GET",
		.path = buf_str(&path),
		.headers = extra,
		.n_headers = n,
		.ev = &http_ev,
		.arg = c};
	if (addr.err || path.err || httpc_new(&cfg, &c->http, &e) < 0)
		end(c, false, "%s", e.msg);
	else if (!httpc_send(c->http, &call))
		end(c, false, "out of memory");
}

/* --- tcp --- */

static void tcp_connected(struct stream *s)
{
	end(stream_arg(s), true, " ");
}

static void tcp_error(struct stream *s, const struct err *e)
{
	end(stream_arg(s), false, "dial tcp: %s", e->msg);
}

static void tcp_data(struct stream *s, struct buf *in)
{
	(void)s;
	buf_clear(in);
}

static const struct stream_events tcp_ev = {
	.on_connect = tcp_connected, .on_error = tcp_error, .on_data = tcp_data};

static void start_tcp(struct check *c, const struct check_target *t, const json_t *h)
{
	AUTO_BUF struct buf addr = {0};
	struct err e = {0};
	host_port(t, h, &addr);
	if (addr.err || stream_connect(c->pod->k->loop, addr.p, NULL, NULL, NULL, &tcp_ev, c,
				&c->tcp, &e) < 0)
		end(c, false, "dial tcp: %s", e.msg);
}

/* --- grpc: grpc.health.v1.Health/Check --- */

static void grpc_message(void *arg, struct str m)
{
	struct check *c = arg;
	/* HealthCheckResponse { status = 1 }: SERVING is 1. */
	c->status = m.n >= 2 && m.p[0] == 0x08 ? m.p[1] : 0;
}

static void grpc_done(void *arg, int status, const struct err *e)
{
	struct check *c = arg;
	if (status != 0)
		end(c, false, "grpc status %d: %s", status, e ? e->msg : "");
	else
		end(c, c->status == 1, "service unhealthy (responded with %d)", c->status);
}

static const struct grpc_events grpc_ev = {.on_message = grpc_message, .on_done = grpc_done};

static void start_grpc(struct check *c, const struct check_target *t, const json_t *h, int64_t ns)
{
	AUTO_BUF struct buf addr = {0}, msg = {0};
	struct err e = {0};
	const char *service = json_str(h, "service", "");
	host_port(t, h, &addr);
	if (*service && strlen(service) < 128) {
		buf_addc(&msg, 0x0a);
		buf_addc(&msg, (char)strlen(service));
		buf_adds(&msg, service);
	}
	if (addr.err || grpc_new(c->pod->k->loop, addr.p, &c->grpc, &e) < 0)
		end(c, false, "%s", e.msg);
	else if (!grpc_send(
			 c->grpc, "/grpc.health.v1.Health/Check", buf_str(&msg), ns, &grpc_ev, c))
		end(c, false, "out of memory");
}

static void on_slept(struct loop_timer *t)
{
	end(t->arg, true, " ");
}

struct check *check_start(const struct check_target *t, const json_t *handler, int64_t timeout_ns,
	check_done *done, void *arg)
{
	const json_t *h;
	struct check *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	*c = (struct check){.pod = pod_ref(t->pod),
		.done = done,
		.arg = arg,
		.timer = {.fn = on_deadline, .arg = c}};
	if (timeout_ns > 0)
		(void)loop_timer_set(t->pod->k->loop, &c->timer, timeout_ns);
	if ((h = json_object_get(handler, "exec")))
		start_exec(c, t, h, timeout_ns);
	else if ((h = json_object_get(handler, "httpGet")))
		start_http(c, t, h);
	else if ((h = json_object_get(handler, "tcpSocket")))
		start_tcp(c, t, h);
	else if ((h = json_object_get(handler, "grpc")))
		start_grpc(c, t, h, timeout_ns);
	else if ((h = json_object_get(handler, "sleep"))) {
		c->timer.fn = on_slept;
		(void)loop_timer_set(
			t->pod->k->loop, &c->timer, json_i64(h, "seconds", 0) * NS_PER_SEC);
	} else
		end(c, true, " ");
	return c;
}

void check_cancel(struct check *c)
{
	if (c)
		release(c);
}

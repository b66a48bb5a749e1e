/* SPDX-License-Identifier: Apache-2.0
 * exec, attach and port-forward: the runtime gives a one-use URL of its streaming server, to which
 * the caller's upgraded connection is joined. */
#include <ctype.h>
#include <errno.h>
#include "kubelet/server.h"
#include "xebec/base/stream.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

struct session {
	struct kubelet *k;
	struct http_exchange *x;
	struct cri_call *call;
	struct stream *client, *runtime;
	struct buf request; /* to the runtime's streaming server */
	char *path;
};

static void session_free(struct session *s)
{
	if (s->call)
		s->k->cri->ops->cancel(s->call);
	stream_free(s->runtime);
	stream_free(s->client);
	buf_free(&s->request);
	free(s->path);
	free(s);
}

static void session_fail(struct session *s, int status, const char *msg)
{
	struct http_exchange *x = s->x;
	session_free(s);
	if (!x)
		return;
	x->user = NULL;
	x->on_close = NULL;
	http_reply(x, status, "text/plain", str_of(msg), NULL, 0);
}

static void on_close(struct http_exchange *x)
{
	struct session *s = x->user;
	x->user = NULL;
	if (s)
		session_free(s);
}

/* --- the runtime's side --- */

static void runtime_connected(struct stream *up)
{
	struct session *s = stream_arg(up);
	if (s->x->ops->hijack(s->x, &s->client) < 0) {
		session_fail(s, 400, "streaming needs an HTTP/1.1 connection");
		return;
	}
	s->x = NULL;
	stream_write(s->runtime, s->request.p, s->request.len);
	/* From here on both ends belong to the splice. */
	struct stream *a = STEAL(s->client), *b = STEAL(s->runtime);
	session_free(s);
	(void)stream_splice(a, b, NULL, NULL);
}

static void runtime_error(struct stream *up, const struct err *e)
{
	session_fail(stream_arg(up), 502, e->msg);
}

static void runtime_data(struct stream *up, struct buf *in)
{
	(void)up;
	(void)in;
}

static const struct stream_events runtime_ev = {
	.on_connect = runtime_connected, .on_error = runtime_error, .on_data = runtime_data};

/* Headers that carry the upgrade; all others concern only the caller and us. */
static bool passes(struct str name)
{
	return str_eqz(name, "upgrade") || str_eqz(name, "connection") ||
	       str_starts(name, "x-stream-protocol-version") ||
	       str_starts(name, "sec-websocket-") || str_eqz(name, "user-agent");
}

static void write_request(struct session *s, const char *host, const char *path)
{
	struct buf *b = &s->request;
	buf_addf(b, "%.*s %s HTTP/1.1\r\nHost: %s\r\n", STR_FMT(s->x->method), path, host);
	for (size_t i = 0; i < s->x->n_headers; i++)
		if (passes(s->x->headers[i].name))
			buf_addf(b, "%.*s: %.*s\r\n", STR_FMT(s->x->headers[i].name),
				STR_FMT(s->x->headers[i].value));
	if (str_eqz(s->x->method, "POST"))
		buf_adds(b, "Content-Length: 0\r\n");
	buf_adds(b, "\r\n");
}

static void on_url(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct session *s = arg;
	struct err ce = {0};
	s->call = NULL;
	if (e) {
		session_fail(s, status == CRI_NOT_FOUND ? 404 : 500, e->msg);
		return;
	}
	const char *url = json_str(resp, "url", "");
	const char *host = strstr(url, "://") ? strstr(url, "://") + 3 : url;
	AUTO_FREE char *hp = strndup(host, strcspn(host, "/"));
	const char *path = strchr(host, '/');
	if (!hp || !path ||
		stream_connect(s->k->loop, hp, NULL, NULL, NULL, &runtime_ev, s, &s->runtime, &ce) <
			0) {
		session_fail(s, 502, *ce.msg ? ce.msg : "bad streaming URL");
		return;
	}
	write_request(s, hp, path);
}

static void begin(struct kubelet *k, struct http_exchange *x, enum cri_method m, json_t *req)
{
	struct session *s = calloc(1, sizeof(*s));
	if (!s) {
		json_decref(req);
		http_reply(x, 500, "text/plain", STR("out of memory"), NULL, 0);
		return;
	}
	*s = (struct session){.k = k, .x = x};
	x->user = s;
	x->on_close = on_close;
	s->call = cri_send(k->cri, m, req, on_url, s);
	if (!s->call)
		session_fail(s, 500, "out of memory");
}

static bool flag(struct http_exchange *x, const char *a, const char *b)
{
	struct str v = http_query_get(x, a), w = http_query_get(x, b);
	return str_eqz(v, "1") || str_eqz(v, "true") || str_eqz(w, "1") || str_eqz(w, "true");
}

static json_t *command_of(struct http_exchange *x, const char *name)
{
	struct str *v = NULL;
	json_t *out = json_array();
	size_t n = http_query_all(x, name, &v);
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(out, json_stringn(v[i].p, v[i].n));
	return out;
}

static bool running(struct http_exchange *x, const struct slot *s)
{
	AUTO_BUF struct buf b = {0};
	if (s->has_cur && s->cur.state == INST_RUNNING)
		return true;
	buf_addf(&b, "container not running (%s)", s->has_cur ? s->cur.id : s->name);
	http_reply(x, 500, "text/plain", buf_str(&b), NULL, 0);
	return false;
}

static json_t *stream_flags(struct http_exchange *x, const struct slot *s, bool tty)
{
	return json_pack("{s:s, s:b, s:b, s:b, s:b}", "container_id", s->cur.id, "tty", tty,
		"stdin", flag(x, "input", "stdin"), "stdout", flag(x, "output", "stdout"), "stderr",
		!tty && flag(x, "error", "stderr"));
}

void stream_exec(struct kubelet *k, struct http_exchange *x, struct slot *s)
{
	if (!running(x, s))
		return;
	json_t *req = stream_flags(x, s, flag(x, "tty", "tty"));
	(void)json_object_set_new(req, "cmd", command_of(x, "command"));
	begin(k, x, CRI_Exec, req);
}

void stream_attach(struct kubelet *k, struct http_exchange *x, struct slot *s)
{
	/* Whether there is a terminal was settled when the container was made. */
	if (running(x, s))
		begin(k, x, CRI_Attach, stream_flags(x, s, json_flag(s->spec, "tty", false)));
}

void stream_portforward(struct kubelet *k, struct http_exchange *x, struct pod *p)
{
	struct str *v = NULL;
	json_t *ports = json_array();
	if (!p->sandbox || !p->sandbox_ready) {
		json_decref(ports);
		http_reply(x, 500, "text/plain", STR("pod is not running"), NULL, 0);
		return;
	}
	size_t n = http_query_all(x, "port", &v);
	if (n == 0)
		n = http_query_all(x, "ports", &v);
	for (size_t i = 0; i < n; i++) {
		uint64_t port;
		if (str_u64(v[i], &port) == 0 && port > 0 && port < 65536)
			(void)json_array_append_new(ports, json_integer((json_int_t)port));
	}
	begin(k, x, CRI_PortForward,
		json_pack("{s:s, s:o}", "pod_sandbox_id", p->sandbox, "port", ports));
}

/* --- run: no streams --- */

static void on_output(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct session *s = arg;
	struct http_exchange *x = s->x;
	AUTO_BUF struct buf out = {0};
	(void)status;
	s->call = NULL;
	if (e) {
		session_fail(s, 500, e->msg);
		return;
	}
	(void)base64_decode(str_of(json_str(resp, "stdout", "")), &out);
	(void)base64_decode(str_of(json_str(resp, "stderr", "")), &out);
	x->user = NULL;
	x->on_close = NULL;
	session_free(s);
	http_reply(x, json_i64(resp, "exit_code", 0) == 0 ? 200 : 500, "text/plain", buf_str(&out),
		NULL, 0);
}

void stream_run(struct kubelet *k, struct http_exchange *x, struct slot *slot)
{
	struct session *s = running(x, slot) ? calloc(1, sizeof(*s)) : NULL;
	AUTO_JSON json_t *line = NULL;
	json_t *cmd = json_array();
	if (!s) {
		json_decref(cmd);
		return;
	}
	*s = (struct session){.k = k, .x = x};
	x->user = s;
	x->on_close = on_close;
	/* One word list, split at spaces, as the kubelet's debugging handler has it. */
	line = command_of(x, "cmd");
	AUTO_FREE char *copy = strdup(json_string_value(json_array_get(line, 0))
					      ? json_string_value(json_array_get(line, 0))
					      : "");
	char *save = NULL;
	for (char *w = copy ? strtok_r(copy, " ", &save) : NULL; w; w = strtok_r(NULL, " ", &save))
		(void)json_array_append_new(cmd, json_string(w));
	s->call = cri_send(k->cri, CRI_ExecSync,
		json_pack(
			"{s:s, s:o, s:i}", "container_id", slot->cur.id, "cmd", cmd, "timeout", 30),
		on_output, s);
	if (!s->call)
		session_fail(s, 500, "out of memory");
}

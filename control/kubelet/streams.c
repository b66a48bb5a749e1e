/* SPDX-License-Identifier: Apache-2.0
 * exec, attach and port-forward: the runtime gives a one-use URL of its streaming server, to which
 * the caller's upgraded connection is joined. */
#include <errno.h>
#include "kubelet/exec_bridge.h"
#include "kubelet/server.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

struct session { /* until the runtime has given its URL */
	struct kubelet *k;
	struct http_exchange *x;
	struct cri_call *call;
	struct exec_options opt;
	bool ports;
};

static void session_free(struct session *s)
{
	if (s->call)
		s->k->cri->ops->cancel(s->call);
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

static void on_url(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct session *s = arg;
	s->call = NULL;
	if (e) {
		session_fail(s, status == CRI_NOT_FOUND ? 404 : 500, e->msg);
		return;
	}
	struct http_exchange *x = s->x;
	struct exec_options opt = s->opt;
	bool ports = s->ports;
	x->user = NULL;
	x->on_close = NULL;
	session_free(s);
	struct str url = str_of(json_str(resp, "url", ""));
	if (ports)
		exec_bridge_portforward(x, url);
	else
		exec_bridge_exec(x, &opt, url);
}

/* opt NULL = port-forward. */
static void begin(struct kubelet *k, struct http_exchange *x, enum cri_method m, json_t *req,
	const struct exec_options *opt)
{
	struct session *s;
	if (!exec_bridge_acceptable(x)) {
		json_decref(req);
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s) {
		json_decref(req);
		http_reply(x, 500, "text/plain", STR("out of memory"), NULL, 0);
		return;
	}
	*s = (struct session){.k = k, .x = x, .ports = !opt};
	if (opt)
		s->opt = *opt;
	x->user = s;
	x->on_close = on_close;
	s->call = cri_send(k->cri, m, req, on_url, s);
	if (!s->call)
		session_fail(s, 500, "out of memory");
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

static json_t *stream_flags(const struct slot *s, const struct exec_options *o)
{
	return json_pack("{s:s, s:b, s:b, s:b, s:b}", "container_id", s->cur.id, "tty", o->tty,
		"stdin", o->in, "stdout", o->out, "stderr", !o->tty && o->err);
}

void stream_exec(struct kubelet *k, struct http_exchange *x, struct slot *s)
{
	struct exec_options o = exec_bridge_options(x);
	if (!running(x, s))
		return;
	json_t *req = stream_flags(s, &o);
	(void)json_object_set_new(req, "cmd", command_of(x, "command"));
	begin(k, x, CRI_Exec, req, &o);
}

void stream_attach(struct kubelet *k, struct http_exchange *x, struct slot *s)
{
	struct exec_options o = exec_bridge_options(x);
	/* Whether there is a terminal was settled when the container was made. */
	o.tty = json_flag(s->spec, "tty", false);
	if (running(x, s))
		begin(k, x, CRI_Attach, stream_flags(s, &o), &o);
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
		json_pack("{s:s, s:o}", "pod_sandbox_id", p->sandbox, "port", ports), NULL);
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

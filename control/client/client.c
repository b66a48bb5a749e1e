/* SPDX-License-Identifier: Apache-2.0
 * Single calls: a transfer collected into one result, with a time limit, and errors taken from the
 * Status object. */
#include <errno.h>
#include "client/client_int.h"
#include "xebec/base/timefmt.h"

enum { BODY_LIMIT = 256 << 20 };
#define DEFAULT_TIMEOUT_NS (30 * NS_PER_SEC)

struct client_call {
	struct client *c;
	struct list node; /* in client.calls */
	struct xfer *x;
	struct loop_timer timer;
	int status;
	struct buf body;
	client_done *done;
	void *arg;
};

static const struct {
	const char *reason;
	int code;
} reason_codes[] = {
	{"NotFound", -ENOENT},
	{"AlreadyExists", -EEXIST},
	{"Conflict", -EAGAIN},
	{"Invalid", -EINVAL},
	{"BadRequest", -EINVAL},
	{"TooManyRequests", -EBUSY},
	{"Forbidden", -EPERM},
	{"Unauthorized", -EACCES},
	{"Expired", -ESTALE},
	{"Gone", -ESTALE},
	{"Timeout", -ETIMEDOUT},
	{"ServerTimeout", -ETIMEDOUT},
	{"RequestEntityTooLarge", -EMSGSIZE},
	{"MethodNotAllowed", -EOPNOTSUPP},
	{"NotAcceptable", -EOPNOTSUPP},
	{"UnsupportedMediaType", -EOPNOTSUPP},
	{"InternalError", -EIO},
	{"ServiceUnavailable", -EIO},
};

/* err.reason must be a literal: the table's own text. */
static size_t reason_row(struct str reason)
{
	size_t i = 0;
	while (i < ARRAY_LEN(reason_codes) && !str_eqz(reason, reason_codes[i].reason))
		i++;
	return i;
}

void client_error_of(int http_status, struct str body, struct err *e)
{
	AUTO_BUF struct buf msg = {0};
	struct jv v = jv_valid(body, 64) ? jv_of(body) : (struct jv){0};
	size_t row = reason_row(jv_raw_str(jv_get(v, "reason")));
	if (row == ARRAY_LEN(reason_codes))
		row = reason_row(str_of(err_reason_of_http(http_status)));
	bool known = row < ARRAY_LEN(reason_codes);
	jv_unescape(jv_get(v, "message"), &msg);
	if (!msg.len && !jv_present(v)) /* not JSON: a proxy's page, a plain text */
		buf_add(&msg, body.p, body.n < 200 ? body.n : 200);
	if (!msg.len)
		buf_addf(&msg, "HTTP status %d", http_status);
	(void)err_set(e, known ? reason_codes[row].code : -EIO,
		known ? reason_codes[row].reason : "InternalError", "%s", msg.p ? msg.p : "");
}

static void call_free(struct client_call *call)
{
	list_del(&call->node);
	loop_timer_cancel(&call->timer);
	buf_free(&call->body);
	free(call);
}

/* e: the transport's error or NULL. The transfer is gone. */
static void call_finish(struct client_call *call, const struct err *e)
{
	struct err own = {0};
	if (!e && call->body.err)
		(void)err_set(&own, call->body.err, "InternalError", "response too large");
	else if (!e && (call->status < 200 || call->status > 299))
		client_error_of(call->status, buf_str(&call->body), &own);
	else if (e)
		own = *e;
	struct client_result r = {
		.e = own.code ? &own : NULL,
		.http_status = call->status,
		.body = buf_str(&call->body),
	};
	list_del(&call->node); /* done may free the client */
	loop_timer_cancel(&call->timer);
	call->done(call->arg, &r);
	call_free(call);
}

static void on_status(void *arg, int status)
{
	struct client_call *call = arg;
	call->status = status;
}

static void on_data(void *arg, const void *p, size_t n)
{
	struct client_call *call = arg;
	if (call->body.len + n > BODY_LIMIT)
		call->body.err = -EMSGSIZE;
	buf_add(&call->body, p, n);
}

static void on_done(void *arg, const struct err *e)
{
	call_finish(arg, e);
}

static void on_timeout(struct loop_timer *t)
{
	struct client_call *call = t->arg;
	struct err e = {0};
	call->c->ops->cancel(call->x);
	(void)err_set(&e, -ETIMEDOUT, "Timeout", "no answer from the API server in time");
	call_finish(call, &e);
}

static const struct xfer_events call_events = {
	.on_status = on_status, .on_data = on_data, .on_done = on_done};

struct client_call *client_send(
	struct client *c, const struct client_request *r, client_done *done, void *arg)
{
	AUTO_FREE struct client_call *call = calloc(1, sizeof(*call));
	if (!call)
		return NULL;
	*call = (struct client_call){.c = c, .done = done, .arg = arg};
	call->timer = (struct loop_timer){.fn = on_timeout, .arg = call};
	if (loop_timer_set(c->loop, &call->timer,
		    r->timeout_ns > 0 ? r->timeout_ns : DEFAULT_TIMEOUT_NS) < 0)
		return NULL;
	call->x = c->ops->send(c, r, &call_events, call);
	if (!call->x) {
		loop_timer_cancel(&call->timer);
		return NULL;
	}
	list_push(&c->calls, &call->node);
	return STEAL(call);
}

void client_cancel(struct client_call *call)
{
	if (!call)
		return;
	call->c->ops->cancel(call->x);
	call_free(call);
}

void client_free(struct client *c)
{
	if (!c)
		return;
	while (!list_empty(&c->calls))
		client_cancel(list_entry(c->calls.next, struct client_call, node));
	c->ops->free(c);
}

struct loop *client_loop(const struct client *c)
{
	return c->loop;
}

/* --- short forms --- */

void resource_path(const struct resource *r, const char *ns, const char *name, const char *sub,
	struct buf *out)
{
	if (r->group[0])
		buf_addf(out, "/apis/%s/%s", r->group, r->version);
	else
		buf_addf(out, "/api/%s", r->version);
	if (r->namespaced && ns) {
		buf_adds(out, "/namespaces/");
		url_encode(str_of(ns), out);
	}
	buf_addf(out, "/%s", r->plural);
	if (name) {
		buf_addc(out, '/');
		url_encode(str_of(name), out);
	}
	if (sub)
		buf_addf(out, "/%s", sub);
}

struct target {
	const struct resource *r;
	const char *ns, *name, *sub;
};

static struct client_call *send_to(struct client *c, const struct target *t,
	const struct client_request *r, client_done *done, void *arg)
{
	AUTO_BUF struct buf path = {0};
	struct client_request full = *r;
	resource_path(t->r, t->ns, t->name, t->sub, &path);
	if (path.err)
		return NULL;
	full.path = buf_str(&path);
	return client_send(c, &full, done, arg);
}

struct client_call *client_get(struct client *c, const struct resource *r, const char *ns,
	const char *name, client_done *done, void *arg)
{
	const struct target t = {.r = r, .ns = ns, .name = name};
	return send_to(c, &t, &(struct client_request){.method = "GET"}, done, arg);
}

struct client_call *client_create(struct client *c, const struct resource *r, const char *ns,
	struct str object, client_done *done, void *arg)
{
	const struct target t = {.r = r, .ns = ns};
	const struct client_request q = {.method = "POST", .body = object};
	return send_to(c, &t, &q, done, arg);
}

struct client_call *client_update(struct client *c, const struct resource *r, const char *ns,
	const char *name, const char *sub, struct str object, client_done *done, void *arg)
{
	const struct target t = {.r = r, .ns = ns, .name = name, .sub = sub};
	const struct client_request q = {.method = "PUT", .body = object};
	return send_to(c, &t, &q, done, arg);
}

struct client_call *client_patch(struct client *c, const struct resource *r, const char *ns,
	const char *name, const char *sub, enum client_patch type, struct str patch,
	client_done *done, void *arg)
{
	static const char *const types[] = {
		[CLIENT_PATCH_JSON] = "application/json-patch+json",
		[CLIENT_PATCH_MERGE] = "application/merge-patch+json",
		[CLIENT_PATCH_STRATEGIC] = "application/strategic-merge-patch+json",
	};
	const struct target t = {.r = r, .ns = ns, .name = name, .sub = sub};
	const struct client_request q = {
		.method = "PATCH", .content_type = types[type], .body = patch};
	return send_to(c, &t, &q, done, arg);
}

struct client_call *client_delete(struct client *c, const struct resource *r, const char *ns,
	const char *name, int64_t grace_seconds, const char *uid, const char *propagation,
	client_done *done, void *arg)
{
	AUTO_BUF struct buf b = {0};
	buf_adds(&b, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"");
	if (grace_seconds >= 0)
		buf_addf(&b, ",\"gracePeriodSeconds\":%lld", (long long)grace_seconds);
	if (uid) {
		buf_adds(&b, ",\"preconditions\":{\"uid\":");
		buf_add_json_str(&b, str_of(uid));
		buf_addc(&b, '}');
	}
	if (propagation) {
		buf_adds(&b, ",\"propagationPolicy\":");
		buf_add_json_str(&b, str_of(propagation));
	}
	buf_addc(&b, '}');
	if (b.err)
		return NULL;
	const struct target t = {.r = r, .ns = ns, .name = name};
	const struct client_request q = {.method = "DELETE", .body = buf_str(&b)};
	return send_to(c, &t, &q, done, arg);
}

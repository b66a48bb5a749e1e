/* SPDX-License-Identifier: Apache-2.0
 * CRI v1 over gRPC. Messages are encoded by the schema tables of cri.schema. Events come from
 * GetContainerEvents where the runtime has it, else from containerd's own event bus. */
#include <errno.h>
#include "api/api.h"
#include "kubelet/cri.h"
#include "xebec/base/grpc.h"
#include "xebec/base/tls.h"
#include "xebec/base/timefmt.h"

extern const struct schema cri_schema; /* build/gen/cri_schema.c */

static const struct cri_row {
	const char *id, *service, *req, *resp;
	int seconds;
} rows[] = {
#define CRI_METHOD(id, service, req, resp, s) {#id, service, "cri." req, "cri." resp, s},
#include "kubelet/cri.def"
#undef CRI_METHOD
};

struct cri_grpc {
	struct cri base;
	struct grpc *conn;
	const struct type *req[CRI_N_METHODS], *resp[CRI_N_METHODS];
	cri_event *on_event;
	void *event_arg;
	struct grpc_call *stream;
	struct loop_timer again; /* redial of the event stream */
	int64_t delay;
	bool native; /* GetContainerEvents, not containerd's bus */
	bool any;    /* the stream has delivered or is believed alive */
};

struct cri_call {
	struct cri_grpc *c;
	enum cri_method m;
	struct grpc_call *call;
	cri_done *done;
	void *arg;
	json_t *resp;
	int bad; /* the answer did not decode */
};

const char *cri_method_name(enum cri_method m)
{
	return rows[m].id;
}

static void call_message(void *arg, struct str msg)
{
	struct cri_call *call = arg;
	struct err e = {0};
	if (call->resp)
		return;
	call->bad = api_decode_pb(call->c->resp[call->m], msg, &call->resp, &e);
}

static void call_done(void *arg, int status, const struct err *e)
{
	struct cri_call *call = arg;
	struct err mine = {0};
	if (status == 0 && (call->bad || !call->resp)) {
		err_set(&mine, EPROTO, NULL, "%s: malformed answer", rows[call->m].id);
		status = 13;
		e = &mine;
	} else if (status != 0 && !e) {
		err_set(&mine, EIO, NULL, "%s: status %d", rows[call->m].id, status);
		e = &mine;
	}
	call->done(call->arg, status == 0 ? NULL : e, status, status == 0 ? call->resp : NULL);
	json_decref(call->resp);
	free(call);
}

static const struct grpc_events call_events = {.on_message = call_message, .on_done = call_done};

static struct cri_call *grpc_call_method(struct cri *base, enum cri_method m, json_t *req,
	int64_t timeout_ns, cri_done *done, void *arg)
{
	struct cri_grpc *c = CONTAINER_OF(base, struct cri_grpc, base);
	AUTO_JSON json_t *owned = req;
	AUTO_BUF struct buf msg = {0}, path = {0};
	struct cri_call *call = calloc(1, sizeof(*call));
	if (!call)
		return NULL;
	*call = (struct cri_call){.c = c, .m = m, .done = done, .arg = arg};
	if (api_encode_pb(c->req[m], owned, &msg) < 0)
		buf_clear(&msg);
	buf_addf(&path, "/%s/%s", rows[m].service, rows[m].id);
	if (timeout_ns == 0)
		timeout_ns = rows[m].seconds * NS_PER_SEC;
	call->call = path.err || msg.err
			     ? NULL
			     : grpc_send(c->conn, path.p, buf_str(&msg),
				       timeout_ns < 0 ? 0 : timeout_ns, &call_events, call);
	if (!call->call) {
		free(call);
		return NULL;
	}
	return call;
}

static void grpc_call_cancel(struct cri_call *call)
{
	if (!call)
		return;
	grpc_cancel(call->call);
	json_decref(call->resp);
	free(call);
}

static void stream_open(struct cri_grpc *c);

static void stream_message(void *arg, struct str msg)
{
	struct cri_grpc *c = arg;
	AUTO_JSON json_t *ev = NULL, *task = NULL;
	struct err e = {0};
	const char *id = NULL;
	c->delay = 0;
	if (c->native) {
		if (api_decode_pb(schema_type(&cri_schema, "cri.ContainerEventResponse"), msg, &ev,
			    &e) == 0)
			id = json_str(ev, "container_id", NULL);
	} else if (api_decode_pb(schema_type(&cri_schema, "cri.BusEnvelope"), msg, &ev, &e) == 0) {
		AUTO_BUF struct buf raw = {0};
		const char *b64 = json_str(ev, "event.value", "");
		if (base64_decode(str_of(b64), &raw) == 0 &&
			api_decode_pb(schema_type(&cri_schema, "cri.BusTask"), buf_str(&raw), &task,
				&e) == 0)
			id = json_str(task, "container_id", NULL);
		/* The end of a process that was exec'ed into it is not the container's. */
		if (id && strcmp(json_str(task, "id", id), id) != 0)
			id = NULL;
	}
	if (id && *id)
		c->on_event(c->event_arg, id);
}

static void stream_again(struct loop_timer *t)
{
	stream_open(t->arg);
}

static void stream_done(void *arg, int status, const struct err *e)
{
	struct cri_grpc *c = arg;
	(void)e;
	c->stream = NULL;
	if (status == CRI_UNIMPLEMENTED && c->native) {
		c->native = false;
		stream_open(c);
		return;
	}
	/* What happened while the stream was down is unknown: ask for a full look. */
	c->on_event(c->event_arg, NULL);
	c->delay = c->delay ? c->delay * 2 : 100 * NS_PER_MS;
	if (c->delay > 5 * NS_PER_SEC)
		c->delay = 5 * NS_PER_SEC;
	(void)loop_timer_set(c->base.loop, &c->again, c->delay);
}

static const struct grpc_events stream_events_table = {
	.on_message = stream_message, .on_done = stream_done};

static void stream_open(struct cri_grpc *c)
{
	AUTO_BUF struct buf msg = {0};
	const char *path = "/runtime.v1.RuntimeService/GetContainerEvents";
	if (!c->native) {
		AUTO_JSON json_t *req =
			json_pack("{s:[s]}", "filters", "namespace==k8s.io,topic==/tasks/exit");
		path = "/containerd.services.events.v1.Events/Subscribe";
		(void)api_encode_pb(schema_type(&cri_schema, "cri.BusSubscribe"), req, &msg);
	}
	c->stream = grpc_send(c->conn, path, buf_str(&msg), 0, &stream_events_table, c);
	if (!c->stream)
		(void)loop_timer_set(c->base.loop, &c->again, NS_PER_SEC);
}

static int grpc_watch(struct cri *base, cri_event *on_event, void *arg)
{
	struct cri_grpc *c = CONTAINER_OF(base, struct cri_grpc, base);
	c->on_event = on_event;
	c->event_arg = arg;
	c->native = true;
	stream_open(c);
	return 0;
}

static void grpc_free_client(struct cri *base)
{
	struct cri_grpc *c = CONTAINER_OF(base, struct cri_grpc, base);
	loop_timer_cancel(&c->again);
	if (c->stream)
		grpc_cancel(c->stream);
	grpc_free(c->conn);
	free(c);
}

static const struct cri_ops grpc_ops = {.call = grpc_call_method,
	.cancel = grpc_call_cancel,
	.watch = grpc_watch,
	.free = grpc_free_client};

int cri_open(struct loop *l, const char *endpoint, struct cri **ret, struct err *e)
{
	const char *path = strncmp(endpoint, "unix://", 7) == 0 ? endpoint + 7 : endpoint;
	AUTO_BUF struct buf addr = {0};
	buf_addf(&addr, "%s%s", path[0] == '/' ? "unix:" : "", path);
	struct cri_grpc *c = calloc(1, sizeof(*c));
	if (!c || addr.err) {
		free(c);
		return err_set(e, ENOMEM, NULL, "runtime client: out of memory");
	}
	c->base = (struct cri){.ops = &grpc_ops, .loop = l};
	c->again = (struct loop_timer){.fn = stream_again, .arg = c};
	for (size_t i = 0; i < CRI_N_METHODS; i++) {
		c->req[i] = schema_type(&cri_schema, rows[i].req);
		c->resp[i] = schema_type(&cri_schema, rows[i].resp);
		if (!c->req[i] || !c->resp[i]) {
			free(c);
			return err_set(
				e, EINVAL, NULL, "runtime client: no schema for %s", rows[i].id);
		}
	}
	int r = grpc_new(l, addr.p, &c->conn, e);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret = &c->base;
	return 0;
}

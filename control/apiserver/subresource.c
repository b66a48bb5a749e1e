/* SPDX-License-Identifier: Apache-2.0
 * Subresources of objects: status and its like, scale, binding, eviction, finalize. */
#include "api/custom.h"
#include "apiserver/internal.h"

#include <errno.h>

static const struct kind scale_kind = {
	.group = "autoscaling", .version = "v1", .kind = "Scale", .plural = "scales"};

static void state_json_free(struct req *r)
{
	json_decref(r->state);
	r->state = NULL;
}

static void when_fresh(struct req *r, req_fn *fn)
{
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), fn);
}

static void run(struct req *r, struct cache_res *res, struct str key,
	int (*compute)(struct write *w, const json_t *old, json_t **ret, struct err *e),
	void (*done)(struct write *w, const struct err *e, const struct write_result *res))
{
	struct write *w = write_new(r, res, key);
	if (!w)
		return;
	w->compute = compute;
	w->done = done;
	w->arg = r->state;
	write_run(w);
}

/* Decodes the body as a type that is not the path's kind; NULL: replied. */
static json_t *body_as(struct req *r, const char *type, const char *kind, const char *version)
{
	struct err e = {0};
	json_t *j = NULL;
	const struct type *t = type_by_name(type);
	struct decode_opts o = {
		.media = r->body_media, .fields = r->fields, .warnings = &r->warnings};
	if (o.media == MEDIA_UNSUPPORTED)
		err_set(&e, EINVAL, "UnsupportedMediaType", "the body's format is not known");
	else if (!t)
		err_set(&e, ENOSYS, "InternalError", "type %s is not in the schema", type);
	else if (api_decode_type(t, kind, version, r->body, &o, &j, &e) == 0)
		return j;
	reply_error_kind(r, &e, NULL, NULL);
	return NULL;
}

/* --- scale --- */

static void selector_requirement(const json_t *x, struct buf *b)
{
	static const struct {
		const char *op, *text;
	} ops[] = {{"In", " in ("}, {"NotIn", " notin ("}};
	const char *key = json_str(x, "key", ""), *op = json_str(x, "operator", "");
	size_t i;
	const json_t *v;
	if (strcmp(op, "DoesNotExist") == 0)
		buf_addc(b, '!');
	buf_adds(b, key);
	for (size_t k = 0; k < ARRAY_LEN(ops); k++) {
		if (strcmp(op, ops[k].op) != 0)
			continue;
		buf_adds(b, ops[k].text);
		json_array_foreach (json_object_get(x, "values"), i, v)
			buf_addf(b, "%s%s", i ? "," : "", json_string_value(v));
		buf_addc(b, ')');
	}
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* spec.selector in the form of the labelSelector parameter. */
static void selector_text(struct req *r, const json_t *obj, struct buf *b)
{
	json_t *sel = json_at(obj, "spec.selector");
	bool plain = strcmp(json_str(obj, "kind", ""), "ReplicationController") == 0;
	json_t *labels = plain ? sel : json_object_get(sel, "matchLabels");
	const char *k;
	json_t *v;
	size_t n = 0, i;
	const char **keys = arena_alloc(&r->arena, (json_object_size(labels) + 1) * sizeof(*keys));
	if (!keys)
		return;
	json_object_foreach (labels, k, v)
		keys[n++] = k;
	qsort(keys, n, sizeof(*keys), by_text);
	for (i = 0; i < n; i++)
		buf_addf(b, "%s%s=%s", i ? "," : "", keys[i],
			json_string_value(json_object_get(labels, keys[i])));
	json_array_foreach (json_object_get(sel, "matchExpressions"), i, v) {
		if (b->len)
			buf_addc(b, ',');
		selector_requirement(v, b);
	}
}

/* Where a scale's numbers stand: a definition may say so. */
static const char *want_path(const struct req *r)
{
	return r->rt.kind->custom ? r->rt.kind->custom->scale_spec : "spec.replicas";
}

static const char *have_path(const struct req *r)
{
	return r->rt.kind->custom ? r->rt.kind->custom->scale_status : "status.replicas";
}

static void scale_selector(struct req *r, const json_t *obj, struct buf *sel)
{
	const struct custom *c = r->rt.kind->custom;
	if (!c)
		selector_text(r, obj, sel);
	else if (c->scale_selector)
		buf_adds(sel, json_str(obj, c->scale_selector, ""));
}

static json_t *scale_of(struct req *r, const json_t *obj, uint64_t rv)
{
	AUTO_BUF struct buf sel = {0};
	char rvz[24];
	static const char *const meta_fields[] = {"name", "namespace", "uid", "creationTimestamp"};
	json_t *meta = json_object(), *spec = json_object(), *status = json_object();
	(void)snprintf(rvz, sizeof(rvz), "%llu", (unsigned long long)rv);
	for (size_t i = 0; i < ARRAY_LEN(meta_fields); i++) {
		json_t *v = json_object_get(json_object_get(obj, "metadata"), meta_fields[i]);
		if (v)
			json_object_set(meta, meta_fields[i], v);
	}
	if (rv)
		json_object_set_new(meta, "resourceVersion", json_string(rvz));
	int64_t want = json_i64(obj, want_path(r), 0);
	if (want)
		json_object_set_new(spec, "replicas", json_integer(want));
	json_object_set_new(status, "replicas", json_integer(json_i64(obj, have_path(r), 0)));
	scale_selector(r, obj, &sel);
	if (sel.len)
		json_object_set_new(status, "selector", json_string(sel.p));
	return json_pack("{s:s,s:s,s:o,s:o,s:o}", "kind", "Scale", "apiVersion", "autoscaling/v1",
		"metadata", meta, "spec", spec, "status", status);
}

static void scale_reply(struct req *r, struct str bytes, uint64_t rv)
{
	struct err e = {0};
	AUTO_JSON json_t *obj = NULL;
	AUTO_BUF struct buf scratch = {0};
	if (json_parse(as_asked(r, bytes, rv, &scratch), &obj, &e) < 0) {
		reply_error(r, &e);
		return;
	}
	const struct custom *c = r->rt.kind->custom;
	if (c && !json_is_integer(json_at(obj, c->scale_spec))) {
		err_set(&e, EIO, "InternalError",
			"Internal error occurred: the spec replicas field \".%s\" does not exist",
			c->scale_spec);
		reply_error(r, &e);
		return;
	}
	AUTO_JSON json_t *s = scale_of(r, obj, rv);
	reply_json(r, 200, s, type_by_name("autoscaling.v1.Scale"));
}

static void scale_get_fresh(struct req *r)
{
	struct err e = {0};
	struct obj *o = cache_get(r->rt.res, req_key(r));
	if (!o) {
		(void)not_found(r, &e, r->rt.kind, r->rt.name);
		reply_error(r, &e);
		return;
	}
	scale_reply(r, obj_bytes(o), obj_rv(o));
	obj_unref(o);
}

static void scale_get(struct req *r)
{
	when_fresh(r, scale_get_fresh);
}

/* The Scale as sent -> the object with that many replicas. */
static int scale_apply(
	struct write *w, const json_t *old, const json_t *scale, json_t **ret, struct err *e)
{
	struct req *r = w->r;
	int64_t n = json_i64(scale, "spec.replicas", 0);
	r->causes.n = 0;
	if (n < 0) {
		cause_add(&r->causes, "FieldValueInvalid", "spec.replicas",
			"Invalid value: %lld: must be greater than or equal to 0", (long long)n);
		return invalid(r, e, &scale_kind, json_str(old, "metadata.name", ""));
	}
	json_t *obj = json_deep_copy(old);
	const char *rv = json_str(scale, "metadata.resourceVersion", "");
	const char *uid = json_str(scale, "metadata.uid", "");
	if (!obj || json_put(obj, want_path(r), json_integer(n)) < 0 ||
		(*rv && json_put(obj, "metadata.resourceVersion", json_string(rv)) < 0) ||
		(*uid && json_put(obj, "metadata.uid", json_string(uid)) < 0)) {
		json_decref(obj);
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	}
	w->track = "scale";
	return write_finish(w, old, obj, ret, e);
}

static int scale_put_compute(struct write *w, const json_t *old, json_t **ret, struct err *e)
{
	if (!old)
		return not_found(w->r, e, w->r->rt.kind, w->r->rt.name);
	return scale_apply(w, old, w->arg, ret, e);
}

static int scale_patch_compute(struct write *w, const json_t *old, json_t **ret, struct err *e)
{
	struct req *r = w->r;
	if (!old)
		return not_found(r, e, r->rt.kind, r->rt.name);
	AUTO_JSON json_t *was = scale_of(r, old, write_cur_rv(w));
	AUTO_JSON json_t *now = NULL;
	const json_t *patch = w->arg;
	int rc = json_is_array(patch) ? patch_json(was, r->body, &now, e)
				      : patch_merge(was, patch, &now, e);
	return rc < 0 ? rc : scale_apply(w, old, now, ret, e);
}

static void scale_done(struct write *w, const struct err *e, const struct write_result *res)
{
	struct req *r = w->r;
	if (!r->x)
		return;
	if (!e) {
		scale_reply(r, res->bytes, res->rv);
		return;
	}
	bool inv = e->reason && strcmp(e->reason, "Invalid") == 0;
	char *name = arena_strdup(&r->arena, r->rt.name);
	reply_error_kind(r, e, inv ? &scale_kind : r->rt.kind, name);
}

static void scale_put_fresh(struct req *r)
{
	run(r, r->rt.res, req_key(r), scale_put_compute, scale_done);
}

static void scale_put(struct req *r)
{
	json_t *scale = body_as(r, "autoscaling.v1.Scale", "Scale", "autoscaling/v1");
	if (!scale)
		return;
	r->state = scale;
	r->free_state = state_json_free;
	when_fresh(r, scale_put_fresh);
}

static void scale_patch_fresh(struct req *r)
{
	run(r, r->rt.res, req_key(r), scale_patch_compute, scale_done);
}

static void scale_patch(struct req *r)
{
	struct err e = {0};
	json_t *j = NULL;
	if (json_parse(r->body, &j, &e) < 0) {
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	r->state = j;
	r->free_state = state_json_free;
	when_fresh(r, scale_patch_fresh);
}

/* --- binding --- */

static void set_condition(json_t *pod, const char *type, int64_t now_ns)
{
	char when[21];
	time_rfc3339(now_ns, when);
	json_t *list = json_at(pod, "status.conditions"), *c;
	size_t i;
	if (!list) {
		(void)json_put(pod, "status.conditions", json_array());
		list = json_at(pod, "status.conditions");
	}
	json_array_foreach (list, i, c) {
		if (strcmp(json_str(c, "type", ""), type) == 0) {
			json_array_remove(list, i);
			break;
		}
	}
	json_array_append_new(list, json_pack("{s:s,s:s,s:n,s:s}", "type", type, "status", "True",
					    "lastProbeTime", "lastTransitionTime", when));
}

static int binding_compute(struct write *w, const json_t *old, json_t **ret, struct err *e)
{
	struct req *r = w->r;
	const json_t *b = w->arg;
	const char *node = json_str(b, "target.name", ""), *k;
	const char *uid = json_str(b, "metadata.uid", "");
	json_t *v;
	if (!old)
		return not_found(r, e, r->rt.kind, r->rt.name);
	const char *has = json_str(old, "spec.nodeName", "");
	if (*uid && strcmp(uid, json_str(old, "metadata.uid", "")) != 0)
		return err_set(e, EAGAIN, "Conflict", "the pod with uid %s is gone", uid);
	if (json_at(old, "metadata.deletionTimestamp"))
		return err_set(e, EAGAIN, "Conflict",
			"Operation cannot be fulfilled on pods/binding \"%.*s\": pod %.*s is being "
			"deleted, "
			"cannot be assigned to a host",
			STR_FMT(r->rt.name), STR_FMT(r->rt.name));
	if (*has)
		return err_set(e, EAGAIN, "Conflict",
			"Operation cannot be fulfilled on pods/binding \"%.*s\": pod %.*s is "
			"already "
			"assigned to node \"%s\"",
			STR_FMT(r->rt.name), STR_FMT(r->rt.name), has);
	json_t *pod = json_deep_copy(old);
	if (!pod)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	(void)json_put(pod, "spec.nodeName", json_string(node));
	json_object_foreach (json_at(b, "metadata.annotations"), k, v)
		json_object_set(json_make(pod, "metadata.annotations"), k, v);
	set_condition(pod, "PodScheduled", r->now_ns);
	*ret = pod;
	return 0;
}

static void binding_done(struct write *w, const struct err *e, const struct write_result *res)
{
	struct req *r = w->r;
	(void)res;
	if (!r->x)
		return;
	if (e)
		reply_error(r, e);
	else
		reply_status_ok(r, 201, NULL, NULL, NULL, NULL);
}

static void binding_fresh(struct req *r)
{
	run(r, r->srv->pods, req_key(r), binding_compute, binding_done);
}

void do_binding(struct req *r)
{
	struct err e = {0};
	json_t *b = body_as(r, "core.v1.Binding", "Binding", "v1");
	if (!b)
		return;
	r->state = b;
	r->free_state = state_json_free;
	const char *name = json_str(b, "metadata.name", ""), *kind = json_str(b, "target.kind", "");
	if (!r->rt.name.n) { /* POST .../bindings: the pod is named in the body */
		r->rt.name = str_of(name);
		r->rt.kind = r->srv->pods->kind;
	}
	if (!*json_str(b, "target.name", ""))
		cause_add(&r->causes, "FieldValueRequired", "target.name", "Required value");
	if (*kind && strcmp(kind, "Node") != 0)
		cause_add(&r->causes, "FieldValueNotSupported", "target.kind",
			"Unsupported value: \"%s\": supported values: \"Node\", \"<empty>\"", kind);
	if (r->causes.n) {
		static const struct kind k = {.group = "", .version = "v1", .kind = "Binding"};
		(void)invalid(r, &e, &k, name);
		reply_error_kind(r, &e, &k, name);
		return;
	}
	when_fresh(r, binding_fresh);
}

/* --- finalize --- */

static int finalize_compute(struct write *w, const json_t *old, json_t **ret, struct err *e)
{
	struct req *r = w->r;
	size_t i;
	const json_t *v;
	if (!old)
		return not_found(r, e, r->rt.kind, r->rt.name);
	json_t *list = json_at(w->arg, "spec.finalizers");
	r->causes.n = 0;
	json_array_foreach (list, i, v) {
		const char *z = json_string_value(v);
		char field[64];
		if (z && (strchr(z, '/') || strcmp(z, "kubernetes") == 0))
			continue;
		(void)snprintf(field, sizeof(field), "spec.finalizers[%zu]", i);
		cause_add(&r->causes, "FieldValueInvalid", field,
			"Invalid value: \"%s\": name is neither a standard finalizer name nor is "
			"it fully "
			"qualified",
			z ? z : "");
	}
	if (r->causes.n)
		return invalid(r, e, r->rt.kind, json_str(old, "metadata.name", ""));
	json_t *ns = json_deep_copy(old);
	if (!ns)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	if (json_array_size(list))
		(void)json_put(ns, "spec.finalizers", json_incref(list));
	else
		(void)json_put(ns, "spec.finalizers", NULL);
	*ret = ns;
	return 0;
}

static void finalize_fresh(struct req *r)
{
	run(r, r->rt.res, req_key(r), finalize_compute, write_reply);
}

static void finalize_put(struct req *r)
{
	struct err e = {0};
	json_t *j = NULL;
	if (decode_body(r, r->rt.kind, &j, &e) < 0 || check_subject(r, j, &e) < 0) {
		json_decref(j);
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	r->state = j;
	r->free_state = state_json_free;
	when_fresh(r, finalize_fresh);
}

/* --- the table --- */

const struct sub_row sub_rows[] = {
	{"status", SUB_STATUS, do_get, do_update, do_patch, NULL, NULL, NULL},
	{"scale", SUB_SCALE, scale_get, scale_put, scale_patch, NULL, NULL, NULL},
	{"binding", SUB_BINDING, NULL, NULL, NULL, do_binding, NULL, NULL},
	{"eviction", SUB_EVICTION, NULL, NULL, NULL, do_eviction, NULL, NULL},
	{"finalize", SUB_FINALIZE, NULL, finalize_put, NULL, NULL, NULL, NULL},
	{"token", SUB_TOKEN, NULL, NULL, NULL, do_token, NULL, NULL},
	{"ephemeralcontainers", SUB_EPHEMERAL, do_get, do_update, do_patch, NULL, NULL, NULL},
	{"resize", SUB_RESIZE, do_get, do_update, do_patch, NULL, NULL, NULL},
	{"approval", SUB_APPROVAL, do_get, do_update, do_patch, NULL, NULL, NULL},
	{"log", SUB_LOG, do_log, NULL, NULL, NULL, NULL, NULL},
	{"exec", SUB_EXEC, do_tunnel, NULL, NULL, do_tunnel, NULL, NULL},
	{"attach", SUB_ATTACH, do_tunnel, NULL, NULL, do_tunnel, NULL, NULL},
	{"portforward", SUB_PORTFORWARD, do_tunnel, NULL, NULL, do_tunnel, NULL, NULL},
	{"proxy", SUB_PROXY, do_proxy, do_proxy, do_proxy, do_proxy, do_proxy, do_proxy},
};

const struct sub_row *sub_find(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(sub_rows); i++)
		if (str_eqz(name, sub_rows[i].name))
			return &sub_rows[i];
	return NULL;
}

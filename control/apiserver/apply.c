/* SPDX-License-Identifier: Apache-2.0
 * PATCH with application/apply-patch+yaml: server-side apply (KEP-555). */
#include "apiserver/internal.h"

#include <errno.h>
#include "api/apply.h"

struct apply { /* one request */
	json_t *config;
	bool force;
};

static void apply_free(struct req *r)
{
	struct apply *a = r->state;
	if (a)
		json_decref(a->config);
	free(a);
	r->state = NULL;
}

static struct apply_opts opts_of(const struct req *r, const char *sub)
{
	return (struct apply_opts){.manager = r->manager ? r->manager : "unknown",
		.sub = sub ? sub : "",
		.now_ns = r->now_ns};
}

void write_track(struct write *w, const json_t *old, json_t *obj)
{
	struct apply_opts o = opts_of(w->r, w->track ? w->track : w->sub);
	if (!w->applied)
		apply_track(w->r->rt.kind, old, obj, &o);
}

void track_create(struct req *r, json_t *obj)
{
	struct apply_opts o = opts_of(r, "");
	apply_track(r->rt.kind, NULL, obj, &o);
}

static int apply_compute(struct write *w, const json_t *old, json_t **ret, struct err *e)
{
	struct apply *a = w->arg;
	struct req *r = w->r;
	struct apply_opts o = opts_of(r, w->sub);
	json_t *obj = NULL;
	o.force = a->force;
	r->causes.n = 0;
	if (!old && *o.sub)
		return not_found(r, e, r->rt.kind, r->rt.name);
	if (!old && *json_str(a->config, "metadata.uid", ""))
		return err_set(e, EAGAIN, "Conflict",
			"uid mismatch: the provided object specified uid %s, and no existing "
			"object was found",
			json_str(a->config, "metadata.uid", ""));
	int rc = apply_config(r->rt.kind, old, a->config, &o, &r->causes, &obj, e);
	if (rc < 0)
		return rc;
	if (old)
		return write_finish(w, old, obj, ret, e);
	rc = create_object(r, obj, false, &w->claim, e);
	if (rc < 0)
		json_decref(obj);
	else
		*ret = obj;
	return rc;
}

/* A conflict of managers names fields, not the object. */
static void apply_done(struct write *w, const struct err *e, const struct write_result *res)
{
	struct req *r = w->r;
	if (r->x && e && r->causes.n && strcmp(e->reason ? e->reason : "", "Conflict") == 0)
		reply_error_kind(r, e, NULL, NULL);
	else
		write_reply(w, e, res);
}

static void apply_fresh(struct req *r)
{
	struct write *w = write_new(r, r->rt.res, req_key(r));
	if (!w)
		return;
	const char *sub = r->rt.sub.n ? arena_strdup(&r->arena, r->rt.sub) : "";
	w->compute = apply_compute;
	w->done = apply_done;
	w->arg = r->state;
	w->sub = sub ? sub : "";
	w->applied = true;
	write_run(w);
}

static int apply_params(struct req *r, struct apply *a, struct err *e)
{
	struct str force = req_query(r, "force");
	if (!req_query(r, "fieldManager").n) {
		r->causes.n = 0;
		cause_add(&r->causes, "FieldValueRequired", "fieldManager",
			"Required value: is required for apply patch");
		return err_set(e, EINVAL, "Invalid",
			"PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: "
			"is required "
			"for apply patch");
	}
	a->force = req_truthy(force);
	return 0;
}

void do_apply(struct req *r)
{
	static const struct kind options = {
		.group = "meta.k8s.io", .version = "v1", .kind = "PatchOptions", .plural = ""};
	struct err e = {0};
	struct apply *a = calloc(1, sizeof(*a));
	if (!a) {
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	r->state = a;
	r->free_state = apply_free;
	if (apply_params(r, a, &e) < 0) {
		reply_error_kind(r, &e, &options, "");
		return;
	}
	if (apply_decode(r->rt.kind, r->body, &a->config, &e) < 0 ||
		check_subject(r, a->config, &e) < 0) {
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), apply_fresh);
}

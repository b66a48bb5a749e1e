/* SPDX-License-Identifier: Apache-2.0
 * PUT and PATCH of objects and their status. */
#include "apiserver/internal.h"

#include <errno.h>

struct update {	     /* one PUT or PATCH */
	json_t *obj; /* PUT: the new state; merge and strategic: the patch */
	int (*patch)(struct req *r, const json_t *old, const struct update *u, json_t **ret,
		struct err *e); /* NULL: PUT */
	size_t warned;		/* warnings before the first attempt */
};

static void update_free(struct req *r)
{
	struct update *u = r->state;
	if (u)
		json_decref(u->obj);
	free(u);
	r->state = NULL;
}

static struct update *update_new(struct req *r)
{
	struct update *u = calloc(1, sizeof(*u));
	struct err e = {0};
	if (!u) {
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return NULL;
	}
	u->warned = r->warnings.n;
	r->state = u;
	r->free_state = update_free;
	return u;
}

static const char *sub_of(struct req *r)
{
	const char *z = r->rt.sub.n ? arena_strdup(&r->arena, r->rt.sub) : "";
	return z ? z : "";
}

static void update_run(struct req *r,
	int (*compute)(struct write *w, const json_t *old, json_t **ret, struct err *e))
{
	struct write *w = write_new(r, r->rt.res, req_key(r));
	if (!w)
		return;
	w->compute = compute;
	w->done = write_reply;
	w->arg = r->state;
	w->sub = sub_of(r);
	write_run(w);
}

/* --- PUT --- */

static int put_compute(struct write *w, const json_t *old, json_t **ret, struct err *e)
{
	struct update *u = w->arg;
	struct req *r = w->r;
	if (!old)
		return not_found(r, e, r->rt.kind, r->rt.name);
	json_t *obj = json_deep_copy(u->obj);
	if (!obj)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	return write_finish(w, old, obj, ret, e);
}

static void put_fresh(struct req *r)
{
	update_run(r, put_compute);
}

void do_update(struct req *r)
{
	struct err e = {0};
	struct update *u = update_new(r);
	if (!u)
		return;
	if (decode_body(r, r->rt.kind, &u->obj, &e) < 0 || check_subject(r, u->obj, &e) < 0) {
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), put_fresh);
}

/* --- PATCH --- */

static int apply_json(
	struct req *r, const json_t *old, const struct update *u, json_t **ret, struct err *e)
{
	(void)u;
	return patch_json(old, r->body, ret, e);
}

static int apply_merge(
	struct req *r, const json_t *old, const struct update *u, json_t **ret, struct err *e)
{
	(void)r;
	return patch_merge(old, u->obj, ret, e);
}

static int apply_strategic(
	struct req *r, const json_t *old, const struct update *u, json_t **ret, struct err *e)
{
	return patch_strategic(r->rt.kind->type, old, u->obj, ret, e);
}

/* The patched tree must still be an object of this kind. */
static int recheck(struct req *r, json_t *patched, size_t warned, json_t **ret, struct err *e)
{
	AUTO_BUF struct buf b = {0};
	json_write(patched, &b);
	r->warnings.n = warned; /* of an earlier attempt */
	struct decode_opts o = {.media = MEDIA_JSON, .fields = r->fields, .warnings = &r->warnings};
	int rc = api_decode(r->rt.kind, buf_str(&b), &o, ret, e);
	if (rc < 0 && r->fields != FIELDS_STRICT) {
		r->causes.n = 0;
		cause_add(&r->causes, "FieldValueInvalid", "patch", "Invalid value: %.*s: %s",
			(int)(r->body.n < 200 ? r->body.n : 200), r->body.p, e->msg);
		r->plain_error = true;
		return invalid(r, e, r->rt.kind, "");
	}
	return rc;
}

static int patch_compute(struct write *w, const json_t *old, json_t **ret, struct err *e)
{
	struct update *u = w->arg;
	struct req *r = w->r;
	if (!old)
		return not_found(r, e, r->rt.kind, r->rt.name);
	/* Patches may test or set the revision. */
	AUTO_JSON json_t *seen = json_deep_copy(old);
	AUTO_JSON json_t *patched = NULL;
	json_t *obj = NULL;
	char rv[24];
	(void)snprintf(rv, sizeof(rv), "%llu", (unsigned long long)write_cur_rv(w));
	if (!seen || json_put(seen, "metadata.resourceVersion", json_string(rv)) < 0)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	int rc = u->patch(r, seen, u, &patched, e);
	r->plain_error = rc < 0;
	if (rc == 0)
		rc = recheck(r, patched, u->warned, &obj, e);
	if (rc == 0)
		rc = check_subject(r, obj, e);
	if (rc < 0) {
		json_decref(obj);
		return rc;
	}
	return write_finish(w, old, obj, ret, e);
}

static void patch_fresh(struct req *r)
{
	update_run(r, patch_compute);
}

static const struct patch_row {
	const char *type;
	int (*fn)(struct req *r, const json_t *old, const struct update *u, json_t **ret,
		struct err *e);
	bool tree; /* the body is a JSON object */
} patch_rows[] = {
	{"application/json-patch+json", apply_json, false},
	{"application/merge-patch+json", apply_merge, true},
	{"application/strategic-merge-patch+json", apply_strategic, true},
};

static int parse_patch(struct req *r, struct update *u, struct err *e)
{
	struct str type = http_header_get(r->x, "content-type");
	type = str_cut(&type, ';');
	for (size_t i = 0; i < ARRAY_LEN(patch_rows); i++) {
		if (!str_eqz(type, patch_rows[i].type))
			continue;
		if (r->rt.kind->custom && patch_rows[i].fn == apply_strategic)
			break; /* no tables to merge by */
		u->patch = patch_rows[i].fn;
		if (!patch_rows[i].tree)
			return 0;
		int rc = json_parse(r->body, &u->obj, e);
		if (rc == 0 && !json_is_object(u->obj))
			rc = err_set(e, EINVAL, "BadRequest", "the patch is not a JSON object");
		return rc;
	}
	return err_set(e, EINVAL, "UnsupportedMediaType",
		"the body of the request was in an unknown format - accepted media types include: "
		"application/json-patch+json, application/merge-patch+json, "
		"%sapplication/apply-patch+yaml",
		r->rt.kind->custom ? "" : "application/strategic-merge-patch+json, ");
}

void do_patch(struct req *r)
{
	struct err e = {0};
	struct str type_now = http_header_get(r->x, "content-type");
	if (str_eqz(str_cut(&type_now, ';'), "application/apply-patch+yaml")) {
		do_apply(r);
		return;
	}
	struct update *u = update_new(r);
	if (!u)
		return;
	if (parse_patch(r, u, &e) < 0) {
		bool type = e.reason && strcmp(e.reason, "UnsupportedMediaType") == 0;
		reply_error_kind(r, &e, type ? &no_kind : NULL, NULL);
		return;
	}
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), patch_fresh);
}

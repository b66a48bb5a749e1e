/* SPDX-License-Identifier: Apache-2.0
 * serviceaccounts/NAME/token: a signed, expiring token (authentication.k8s.io/v1 TokenRequest). */
#include "apiserver/internal.h"

#include <errno.h>

enum { TOKEN_MIN_SECONDS = 600, TOKEN_DEFAULT_SECONDS = 3600, AUDIENCES_MAX = 16 };

static const struct kind request_kind = {.group = "authentication.k8s.io",
	.version = "v1",
	.kind = "TokenRequest",
	.plural = "tokenrequests"};

struct bound_to {
	const char *kind, *name, *uid;
};

static void token_free(struct req *r)
{
	json_decref(r->state);
	r->state = NULL;
}

static int check_request(struct req *r, const json_t *tr, struct err *e)
{
	int64_t secs = json_i64(tr, "spec.expirationSeconds", TOKEN_DEFAULT_SECONDS);
	const char field[] = "spec.expirationSeconds";
	if (secs < TOKEN_MIN_SECONDS)
		cause_add(&r->causes, "FieldValueInvalid", field,
			"Invalid value: %lld: may not specify a duration less than 10 minutes",
			(long long)secs);
	else if (secs > 1LL << 32)
		cause_add(&r->causes, "FieldValueInvalid", field,
			"Invalid value: %lld: may not specify a duration larger than 2^32 seconds",
			(long long)secs);
	return r->causes.n ? invalid(r, e, &request_kind, "") : 0;
}

/* The pod (or node) that the token shall be bound to must exist, with that uid. */
static int check_bound(
	struct req *r, const struct bound_to *b, struct token_claims *c, struct err *e)
{
	bool pod = strcmp(b->kind, "Pod") == 0, node = strcmp(b->kind, "Node") == 0;
	if (!*b->kind)
		return 0;
	if (!pod && !node && strcmp(b->kind, "Secret") != 0)
		return err_set(
			e, EINVAL, "BadRequest", "cannot bind token to object of type %s", b->kind);
	struct cache_res *res = pod ? r->srv->pods : node ? r->srv->nodes : NULL;
	if (!res)
		return 0;
	char *key = pod ? arena_printf(&r->arena, "%.*s/%s", STR_FMT(r->rt.ns), b->name)
			: arena_strdup(&r->arena, str_of(b->name));
	struct obj *o = cache_get(res, str_of(key));
	if (!o)
		return not_found(r, e, res->kind, str_of(b->name));
	char *uid = arena_strdup(&r->arena, obj_uid(jv_of(obj_bytes(o))));
	struct jv v = jv_path(jv_of(obj_bytes(o)), "spec.nodeName");
	if (pod && jv_present(v))
		c->node = arena_strdup(&r->arena, jv_raw_str(v));
	obj_unref(o);
	if (*b->uid && strcmp(uid, b->uid) != 0)
		return err_set(e, EAGAIN, "Conflict",
			"the UID in the bound object reference (%s) does not match the UID in "
			"record (%s). "
			"The object might have been deleted and then recreated",
			b->uid, uid);
	if (pod)
		c->pod = b->name, c->pod_uid = uid;
	else
		c->node = b->name, c->node_uid = uid;
	return 0;
}

static const char *const *audiences(struct req *r, json_t *tr)
{
	const char **v = arena_alloc(&r->arena, (AUDIENCES_MAX + 2) * sizeof(*v));
	json_t *list = json_at(tr, "spec.audiences"), *a;
	size_t i, n = 0;
	if (!v)
		return NULL;
	json_array_foreach (list, i, a) {
		if (n < AUDIENCES_MAX && json_is_string(a))
			v[n++] = json_string_value(a);
	}
	if (n)
		return v;
	v[0] = r->srv->issuer;
	(void)json_put(tr, "spec.audiences", json_pack("[s]", r->srv->issuer));
	return v;
}

static int issue(struct req *r, json_t *tr, const struct obj *sa, struct err *e)
{
	struct bound_to b = {json_str(tr, "spec.boundObjectRef.kind", ""),
		json_str(tr, "spec.boundObjectRef.name", ""),
		json_str(tr, "spec.boundObjectRef.uid", "")};
	int64_t secs = json_i64(tr, "spec.expirationSeconds", TOKEN_DEFAULT_SECONDS);
	struct token_claims c = {.ns = arena_strdup(&r->arena, r->rt.ns),
		.sa = arena_strdup(&r->arena, r->rt.name),
		.sa_uid = arena_strdup(&r->arena, obj_uid(jv_of(obj_bytes(sa)))),
		.expires = r->now_ns / NS_PER_SEC + secs,
		.audiences = audiences(r, tr)};
	AUTO_BUF struct buf token = {0};
	char when[21];
	int rc = check_bound(r, &b, &c, e);
	if (rc < 0)
		return rc;
	if (c.node && !c.node_uid) { /* by way of the pod */
		struct obj *n = cache_get(r->srv->nodes, str_of(c.node));
		c.node_uid = n ? arena_strdup(&r->arena, obj_uid(jv_of(obj_bytes(n)))) : "";
		obj_unref(n);
	}
	if (!c.audiences || jwt_sign(r->srv->jwt, r->srv->issuer, &c, r->now_ns, &token) < 0)
		return err_set(e, EIO, "InternalError", "the token could not be signed");
	time_rfc3339(c.expires * NS_PER_SEC, when);
	(void)json_put(tr, "spec.expirationSeconds", json_integer(secs));
	(void)json_put(tr, "metadata.name", json_string(c.sa));
	(void)json_put(tr, "metadata.namespace", json_string(c.ns));
	time_rfc3339(r->now_ns, when);
	(void)json_put(tr, "metadata.creationTimestamp", json_string(when));
	time_rfc3339(c.expires * NS_PER_SEC, when);
	(void)json_put(tr, "status.expirationTimestamp", json_string(when));
	return json_put(tr, "status.token", json_string(token.p));
}

static void token_fresh(struct req *r)
{
	struct err e = {0};
	struct obj *sa = cache_get(r->rt.res, req_key(r));
	int rc = sa ? issue(r, r->state, sa, &e) : not_found(r, &e, r->rt.kind, r->rt.name);
	obj_unref(sa);
	if (rc < 0)
		reply_error(r, &e);
	else
		reply_json(r, 201, r->state, type_by_name("authentication.v1.TokenRequest"));
}

void do_token(struct req *r)
{
	struct err e = {0};
	struct decode_opts o = {
		.media = r->body_media, .fields = r->fields, .warnings = &r->warnings};
	const struct type *t = type_by_name("authentication.v1.TokenRequest");
	json_t *tr = NULL;
	int rc = 0;
	if (!r->srv->jwt || !t)
		rc = err_set(&e, ENOSYS, "InternalError", "this server has no key to sign tokens");
	if (rc == 0)
		rc = api_decode_type(
			t, "TokenRequest", "authentication.k8s.io/v1", r->body, &o, &tr, &e);
	r->state = tr;
	r->free_state = token_free;
	if (rc == 0)
		rc = check_request(r, tr, &e);
	if (rc < 0) {
		bool inv = e.reason && strcmp(e.reason, "Invalid") == 0;
		reply_error_kind(r, &e, inv ? &request_kind : NULL, NULL);
		return;
	}
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), token_fresh);
}

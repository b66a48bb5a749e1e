/* SPDX-License-Identifier: Apache-2.0
 * The one way to write: old state from the cache -> pure compute -> compare-and-swap in the store,
 * again with the store's newer state when somebody was faster. CREATE, PUT and PATCH stand on it.
 *
 *   write_run -> attempt -> store txn -> (store's thread) -> loop -> stored: done
 *                   ^------------------------------------------- conflict
 */
#include "apiserver/internal.h"

#include <errno.h>
#include "xebec/base/tls.h"

enum { ATTEMPTS = 5, NAME_ATTEMPTS = 8, NAME_SUFFIX = 5, NAME_BASE_MAX = 58 };

/* --- errors --- */

const char *qualified(struct req *r, const struct kind *k)
{
	const char *z =
		*k->group ? arena_printf(&r->arena, "%s.%s", k->plural, k->group) : k->plural;
	return z ? z : k->plural;
}

int not_found(struct req *r, struct err *e, const struct kind *k, struct str name)
{
	return err_set(
		e, ENOENT, "NotFound", "%s \"%.*s\" not found", qualified(r, k), STR_FMT(name));
}

int conflict_modified(struct err *e, const struct kind *k, struct str name)
{
	return err_set(e, EAGAIN, "Conflict",
		"Operation cannot be fulfilled on %s%s%s \"%.*s\": the object has been modified; "
		"please "
		"apply your changes to the latest version and try again",
		k->plural, *k->group ? "." : "", k->group, STR_FMT(name));
}

/* --- the state machine --- */

struct write *write_new(struct req *r, struct cache_res *res, struct str key)
{
	struct write *w = key.p ? calloc(1, sizeof(*w)) : NULL;
	if (!w) {
		struct err e = {0};
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return NULL;
	}
	w->r = r;
	w->res = res;
	w->key = key;
	w->sub = "";
	w->max_attempts = ATTEMPTS;
	return w;
}

uint64_t write_cur_rv(const struct write *w)
{
	return w->cur ? w->cur->mod_rev : 0;
}

static void write_end(struct write *w, const struct err *e, const struct write_result *res)
{
	struct req *r = w->r;
	if (w->claim && (e || r->dry_run))
		alloc_release(r->srv->alloc, w->claim);
	else if (w->claim)
		alloc_keep(w->claim);
	w->claim = NULL;
	w->done(w, e, res);
	store_val_unref(w->cur);
	store_val_unref(w->txn_cur);
	buf_free(&w->bytes);
	free(w);
	req_release(r);
}

static void write_stored(struct write *w)
{
	struct write_result res = {.bytes = buf_str(&w->bytes),
		.rv = w->rev,
		.deleted = w->deleting,
		.created = !w->cur};
	write_end(w, NULL, &res);
}

static void attempt(struct write *w);

static void txn_back(struct loop_task *t)
{
	struct write *w = t->arg;
	if (w->txn_err.code) {
		write_end(w, &w->txn_err, NULL);
		return;
	}
	if (w->succeeded) {
		write_stored(w);
		return;
	}
	/* Somebody was faster: again, with what the store says is there now. */
	store_val_unref(w->cur);
	w->cur = w->txn_cur;
	w->txn_cur = NULL;
	w->collided = true;
	if (w->claim)
		alloc_release(w->r->srv->alloc, w->claim);
	w->claim = NULL;
	if (++w->attempts < w->max_attempts) {
		attempt(w);
		return;
	}
	struct err e = {0};
	conflict_modified(&e, w->res->kind, w->key);
	write_end(w, &e, NULL);
}

static void txn_done(void *arg, const struct err *e, const struct store_txn_result *tr)
{
	struct write *w = arg;
	w->txn_err = e ? *e : (struct err){0};
	if (!e) {
		w->succeeded = tr->succeeded;
		w->rev = tr->rev;
		store_val_unref(w->txn_cur);
		w->txn_cur = !tr->succeeded && tr->cur ? store_val_ref(tr->cur) : NULL;
	}
	loop_post(w->r->loop, &w->task);
}

static void txn_send(struct write *w)
{
	AUTO_BUF struct buf key = {0};
	buf_adds(&key, w->res->prefix);
	buf_add_str(&key, w->key);
	struct store *s = w->r->srv->store;
	struct store_txn t = {.key = buf_str(&key),
		.compare = true,
		.expect_mod_rev = write_cur_rv(w),
		.del = w->deleting,
		.value = w->deleting ? (struct str){0} : buf_str(&w->bytes)};
	if (!w->deleting && strcmp(w->res->kind->storage_plural, "events") == 0)
		t.lease = atomic_load(&w->r->srv->event_lease);
	w->task = (struct loop_task){.fn = txn_back, .arg = w};
	s->ops->txn(s, &t, txn_done, w);
}

/* The new state as bytes, in w->bytes. */
static int encode(struct write *w, json_t *obj, struct err *e)
{
	json_t *meta = json_object_get(obj, "metadata");
	json_object_del(meta, "resourceVersion");
	buf_clear(&w->bytes);
	write_to_store(w, obj);
	api_encode_json(w->res->own ? w->r->rt.kind->type : w->res->kind->type, obj, &w->bytes);
	if (w->bytes.err)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	if (w->bytes.len > 1536 * 1024)
		return err_set(e, E2BIG, "RequestEntityTooLarge",
			"the object is larger than the store takes (1.5 MiB)");
	return 0;
}

static void attempt(struct write *w)
{
	struct err e = {0};
	AUTO_JSON json_t *old = NULL;
	AUTO_JSON json_t *obj = NULL;
	struct str was = w->cur ? store_val_bytes(w->cur) : (struct str){0};
	int rc = w->cur ? json_parse(was, &old, &e) : 0;
	if (rc == 0 && old)
		write_from_store(w, old);
	if (rc == 0)
		rc = w->compute(w, old, &obj, &e);
	if (rc == 0 && obj)
		rc = encode(w, obj, &e);
	if (rc < 0 && rc != -EALREADY) {
		if (!e.code)
			err_set(&e, -rc, "InternalError", "unexpected error %d", rc);
		write_end(w, &e, NULL);
		return;
	}
	if (rc == -EALREADY || (obj && w->cur && str_eq(was, buf_str(&w->bytes)))) {
		struct write_result res = {.bytes = was, .rv = write_cur_rv(w)};
		write_end(w, NULL, &res);
		return;
	}
	w->deleting = !obj;
	if (!obj) {
		buf_clear(&w->bytes);
		buf_add_str(&w->bytes, was);
	} else if (w->cur && may_vanish(w->res->kind, obj)) {
		w->deleting = true; /* the last finalizer went: this update is the deletion */
	}
	if (w->r->dry_run) {
		struct write_result res = {.bytes = buf_str(&w->bytes),
			.rv = write_cur_rv(w),
			.deleted = w->deleting,
			.created = !w->cur};
		write_end(w, NULL, &res);
		return;
	}
	txn_send(w);
}

void write_run(struct write *w)
{
	req_hold(w->r);
	struct obj *o = cache_get(w->res, w->key);
	w->cur = o ? store_val_ref(o->val) : NULL;
	obj_unref(o);
	attempt(w);
}

void write_reply(struct write *w, const struct err *e, const struct write_result *res)
{
	struct req *r = w->r;
	if (!r->x)
		return;
	if (e)
		reply_error(r, e);
	else
		reply_obj(r, res->created ? 201 : 200, res->bytes, res->rv);
}

/* --- shared by create, update, patch --- */

bool may_vanish(const struct kind *k, const json_t *obj)
{
	if (!json_at(obj, "metadata.deletionTimestamp") ||
		json_array_size(json_at(obj, "metadata.finalizers")) > 0)
		return false;
	if (strcmp(k->kind, "Namespace") == 0)
		return json_array_size(json_at(obj, "spec.finalizers")) == 0;
	return json_i64(obj, "metadata.deletionGracePeriodSeconds", 0) == 0;
}

int decode_body(struct req *r, const struct kind *k, json_t **ret, struct err *e)
{
	struct decode_opts o = {
		.media = r->body_media, .fields = r->fields, .warnings = &r->warnings};
	if (o.media == MEDIA_UNSUPPORTED)
		return err_set(e, EINVAL, "UnsupportedMediaType",
			"the body of the request was in an unknown format - accepted media types "
			"include: "
			"application/json, application/yaml, application/vnd.kubernetes.protobuf");
	return api_decode(k, r->body, &o, ret, e);
}

int check_subject(struct req *r, json_t *obj, struct err *e)
{
	const struct route *rt = &r->rt;
	const char *ns = json_str(obj, "metadata.namespace", "");
	const char *name = json_str(obj, "metadata.name", "");
	if (rt->ns.n && *ns && !str_eqz(rt->ns, ns))
		return err_set(e, EINVAL, "BadRequest",
			"the namespace of the provided object does not match the namespace sent on "
			"the "
			"request");
	if (rt->name.n && *name && !str_eqz(rt->name, name))
		return err_set(e, EINVAL, "BadRequest",
			"the name of the object (%s) does not match the name on the URL (%.*s)",
			name, STR_FMT(rt->name));
	int rc = 0;
	if (rt->ns.n)
		rc |= json_put(obj, "metadata.namespace", json_stringn(rt->ns.p, rt->ns.n));
	if (rt->name.n)
		rc |= json_put(obj, "metadata.name", json_stringn(rt->name.p, rt->name.n));
	if (rc < 0)
		return err_set(e, EINVAL, "BadRequest", "metadata must be an object");
	return 0;
}

/* Custom resources and their definitions are replaced only by who has seen them. */
static int blind_update(struct write *w, struct err *e)
{
	struct req *r = w->r;
	const struct kind *k = r->rt.kind;
	if (r->verb != V_UPDATE || str_eqz(r->rt.sub, "scale") || r->rt.res != w->res ||
		!(k->custom || strcmp(k->kind, "CustomResourceDefinition") == 0))
		return 0;
	cause_add(&r->causes, "FieldValueInvalid", "metadata.resourceVersion",
		"Invalid value: 0: must be specified for an update");
	return invalid(r, e, k, arena_strdup(&r->arena, r->rt.name));
}

/* uid and resourceVersion in the sent object are preconditions. */
static int check_preconditions(struct write *w, const json_t *old, const json_t *obj, struct err *e)
{
	const struct kind *k = w->r->rt.kind;
	const char *uid = json_str(obj, "metadata.uid", "");
	const char *have = json_str(old, "metadata.uid", "");
	if (*uid && strcmp(uid, have) != 0)
		return err_set(e, EAGAIN, "Conflict",
			"Operation cannot be fulfilled on %s \"%.*s\": Precondition failed: UID in "
			"precondition: %s, UID in object meta: %s",
			qualified(w->r, k), STR_FMT(w->r->rt.name), uid, have);
	const char *rv = json_str(obj, "metadata.resourceVersion", "");
	uint64_t n = 0;
	if (!*rv || strcmp(rv, "0") == 0)
		return blind_update(w, e);
	if (str_u64(str_of(rv), &n) < 0)
		return err_set(e, EINVAL, "BadRequest", "invalid resource version \"%s\"", rv);
	return n == write_cur_rv(w) ? 0 : conflict_modified(e, k, w->r->rt.name);
}

int write_finish(struct write *w, const json_t *old, json_t *obj, json_t **ret, struct err *e)
{
	AUTO_JSON json_t *own = obj;
	struct req *r = w->r;
	const struct kind *k = r->rt.kind;
	r->causes.n = 0;
	int rc = check_preconditions(w, old, own, e);
	if (rc < 0)
		return rc;
	api_default(k, own);
	write_track(w, old, own);
	api_prepare_update(k, own, old, w->sub);
	rc = admit_mutate(r, own, old, e);
	if (rc == 0 && !*w->sub && r->rt.res == r->srv->services)
		rc = alloc_service(r, own, old, &w->claim, e);
	if (rc == 0 && api_validate(k, own, old, w->sub, &r->causes) < 0)
		rc = invalid(r, e, k, json_str(own, "metadata.name", ""));
	if (rc == 0 && !*w->sub)
		api_warnings(k, own, &r->warnings);
	if (rc == 0)
		rc = admit_validate(r, own, old, e);
	if (rc == 0)
		*ret = STEAL(own);
	return rc;
}

/* --- CREATE --- */

struct create {
	json_t *obj;
};

static int create_compute(struct write *w, const json_t *old, json_t **ret, struct err *e)
{
	struct create *c = w->arg;
	struct req *r = w->r;
	if (old)
		return err_set(e, EEXIST, "AlreadyExists", "%s \"%s\" already exists",
			qualified(r, r->rt.kind), json_str(c->obj, "metadata.name", ""));
	*ret = json_incref(c->obj);
	return 0;
}

static void create_free(struct req *r)
{
	struct create *c = r->state;
	if (c)
		json_decref(c->obj);
	free(c);
	r->state = NULL;
}

static void create_done(struct write *w, const struct err *e, const struct write_result *res)
{
	struct req *r = w->r;
	if (!r->x)
		return;
	if (!e) {
		reply_obj(r, 201, res->bytes, res->rv);
		return;
	}
	struct create *c = w->arg;
	reply_error_kind(r, e, r->rt.kind, json_str(c->obj, "metadata.name", ""));
}

static int generate_name(json_t *obj)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	const char *base = json_str(obj, "metadata.generateName", "");
	unsigned char rnd[NAME_SUFFIX];
	char name[NAME_BASE_MAX + NAME_SUFFIX + 1];
	size_t n = strlen(base);
	if (n > NAME_BASE_MAX)
		n = NAME_BASE_MAX;
	memcpy(name, base, n);
	random_bytes(rnd, sizeof(rnd));
	for (size_t i = 0; i < NAME_SUFFIX; i++)
		name[n + i] = alphabet[rnd[i] % (sizeof(alphabet) - 1)];
	name[n + NAME_SUFFIX] = '\0';
	return json_put(obj, "metadata.name", json_string(name));
}

/* A generated name should be free: try a few before the store decides. */
static void pick_name(struct req *r, json_t *obj)
{
	for (int i = 0; i < NAME_ATTEMPTS; i++) {
		if (generate_name(obj) < 0)
			return;
		r->rt.name = str_of(json_str(obj, "metadata.name", ""));
		struct obj *o = cache_get(r->rt.res, req_key(r));
		r->rt.name = (struct str){0};
		obj_unref(o);
		if (!o)
			return;
	}
}

int create_object(struct req *r, json_t *obj, bool track, struct alloc_claim **claim, struct err *e)
{
	const struct kind *k = r->rt.kind;
	if (*json_str(obj, "metadata.resourceVersion", ""))
		return err_set(e, EINVAL, "BadRequest",
			"resourceVersion should not be set on objects to be created");
	api_default(k, obj);
	if (track) /* what admission and the server add belongs to nobody */
		track_create(r, obj);
	if (!*json_str(obj, "metadata.name", "") && *json_str(obj, "metadata.generateName", ""))
		pick_name(r, obj);
	int rc = admit_mutate(r, obj, NULL, e);
	if (rc < 0)
		return rc;
	api_prepare_create(k, obj, r->now_ns);
	if (r->rt.res == r->srv->services)
		rc = alloc_service(r, obj, NULL, claim, e);
	if (rc == 0 && api_validate(k, obj, NULL, "", &r->causes) < 0)
		rc = invalid(r, e, k, json_str(obj, "metadata.name", ""));
	if (rc == 0)
		api_warnings(k, obj, &r->warnings);
	return rc < 0 ? rc : admit_validate(r, obj, NULL, e);
}

static void create_fresh(struct req *r)
{
	struct err e = {0};
	struct create *c = r->state;
	struct alloc_claim *claim = NULL;
	if (create_object(r, c->obj, true, &claim, &e) < 0) {
		if (claim)
			alloc_release(r->srv->alloc, claim);
		if (!r->rt.name.n) /* else admission has named what is wrong */
			r->rt.name = str_of(json_str(c->obj, "metadata.name", ""));
		reply_error(r, &e);
		return;
	}
	r->rt.name = str_of(arena_strdup(&r->arena, str_of(json_str(c->obj, "metadata.name", ""))));
	struct write *w = write_new(r, r->rt.res, req_key(r));
	if (!w) {
		if (claim)
			alloc_release(r->srv->alloc, claim);
		return;
	}
	w->compute = create_compute;
	w->done = create_done;
	w->arg = c;
	w->claim = claim;
	write_run(w);
}

void do_create(struct req *r)
{
	struct err e = {0};
	json_t *obj = NULL;
	if (!r->rt.res) {
		do_review(r);
		return;
	}
	if (decode_body(r, r->rt.kind, &obj, &e) < 0 || check_subject(r, obj, &e) < 0) {
		json_decref(obj);
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	struct create *c = calloc(1, sizeof(*c));
	if (!c) {
		json_decref(obj);
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	c->obj = obj;
	r->state = c;
	r->free_state = create_free;
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), create_fresh);
}

int invalid(struct req *r, struct err *e, const struct kind *k, const char *name)
{
	AUTO_BUF struct buf b = {0};
	size_t n = r->causes.n;
	for (size_t i = 0; i < n; i++)
		buf_addf(&b, "%s%s: %s", i ? ", " : "", r->causes.v[i].field,
			r->causes.v[i].message);
	return err_set(e, EINVAL, "Invalid", "%s%s%s \"%s\" is invalid: %s%s%s", k->kind,
		*k->group ? "." : "", k->group, name, n > 1 ? "[" : "", b.p ? b.p : "",
		n > 1 ? "]" : "");
}

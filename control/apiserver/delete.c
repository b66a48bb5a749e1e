/* SPDX-License-Identifier: Apache-2.0
 * DELETE and DELETECOLLECTION: preconditions, grace (pods), finalizers and propagation. */
#include "apiserver/crd.h"

#include <errno.h>

#define POD_GRACE_SECONDS 30

struct del_opts {
	int64_t grace; /* seconds; < 0: not given */
	bool has_grace, has_orphan, orphan, dry_run;
	char propagation[16]; /* "" = not given */
	char uid[64];
	char rv[24];
};

/* Kinds whose deletion answers the object instead of a Status. */
static const char *const object_answers[] = {"pods", "services", "serviceaccounts", "podtemplates",
	"persistentvolumes", "persistentvolumeclaims", "resourcequotas", "storageclasses",
	"csinodes", "csidrivers", "csistoragecapacities", "volumeattachments",
	"volumeattributesclasses"};
static const char *const immortal_namespaces[] = {"default", "kube-system", "kube-public"};

static const struct kind delete_options_kind = {
	.group = "meta.k8s.io", .version = "v1", .kind = "DeleteOptions"};

static bool listed(const char *const *v, size_t n, struct str s)
{
	for (size_t i = 0; i < n; i++)
		if (str_eqz(s, v[i]))
			return true;
	return false;
}

/* --- options: body, or query when there is no body --- */

static int opts_from_tree(struct req *r, struct del_opts *o, const json_t *j, struct err *e)
{
	const json_t *grace = json_at(j, "gracePeriodSeconds");
	const json_t *orphan = json_at(j, "orphanDependents");
	if (grace) {
		o->has_grace = true;
		o->grace = json_integer_value(grace);
	}
	if (orphan) {
		o->has_orphan = true;
		o->orphan = json_is_true(orphan);
	}
	struct str prop = str_of(json_str(j, "propagationPolicy", ""));
	if (str_copy(o->propagation, sizeof(o->propagation), prop) < 0)
		(void)str_copy(o->propagation, sizeof(o->propagation), STR("(long)"));
	if (str_copy(o->uid, sizeof(o->uid), str_of(json_str(j, "preconditions.uid", ""))) < 0 ||
		str_copy(o->rv, sizeof(o->rv),
			str_of(json_str(j, "preconditions.resourceVersion", ""))) < 0)
		return err_set(e, EINVAL, "BadRequest", "invalid preconditions");
	const json_t *dry = json_at(j, "dryRun"), *v;
	size_t i;
	json_array_foreach (dry, i, v) {
		const char *z = json_string_value(v);
		if (!z || strcmp(z, "All") != 0)
			cause_add(&r->causes, "FieldValueNotSupported", "dryRun",
				"Unsupported value: [\"%s\"]: supported values: \"All\"",
				z ? z : "");
		r->dry_run = true;
	}
	return 0;
}

static int opts_from_body(struct req *r, struct del_opts *o, struct err *e)
{
	AUTO_JSON json_t *j = NULL;
	int rc;
	if (r->body_media == MEDIA_PROTOBUF) {
		struct decode_opts d = {.media = MEDIA_PROTOBUF};
		rc = api_decode_type(type_by_name("meta.v1.DeleteOptions"), "DeleteOptions", "v1",
			r->body, &d, &j, e);
	} else {
		rc = json_parse(r->body, &j, e);
	}
	if (rc < 0)
		return rc;
	const char *kind = json_str(j, "kind", "DeleteOptions");
	if (strcmp(kind, "DeleteOptions") != 0)
		return err_set(e, EINVAL, "BadRequest",
			"no kind \"%s\" is registered for version \"%s\"", kind,
			json_str(j, "apiVersion", ""));
	return opts_from_tree(r, o, j, e);
}

static int opts_from_query(struct req *r, struct del_opts *o, struct err *e)
{
	struct str grace = req_query(r, "gracePeriodSeconds");
	struct str orphan = req_query(r, "orphanDependents");
	if (grace.n) {
		o->has_grace = true;
		if (str_i64(grace, &o->grace) < 0)
			return err_set(e, EINVAL, "BadRequest", "invalid gracePeriodSeconds");
	}
	if (orphan.n) {
		o->has_orphan = true;
		o->orphan = req_truthy(orphan);
	}
	struct str prop = req_query(r, "propagationPolicy");
	if (str_copy(o->propagation, sizeof(o->propagation), prop) < 0)
		(void)str_copy(o->propagation, sizeof(o->propagation), STR("(long)"));
	return 0;
}

static int parse_opts(struct req *r, struct del_opts *o, struct err *e)
{
	static const char *const policies[] = {"", "Foreground", "Background", "Orphan"};
	int rc = opts_from_query(r, o, e);
	if (rc == 0 && r->body.n)
		rc = opts_from_body(r, o, e);
	if (rc < 0)
		return rc;
	if (!listed(policies, ARRAY_LEN(policies), str_of(o->propagation)))
		cause_add(&r->causes, "FieldValueNotSupported", "propagationPolicy",
			"Unsupported value: \"%s\": supported values: \"Foreground\", "
			"\"Background\", "
			"\"Orphan\", \"nil\"",
			o->propagation);
	else if (*o->propagation && o->has_orphan)
		cause_add(&r->causes, "FieldValueInvalid", "propagationPolicy",
			"Invalid value: \"%s\": orphanDependents and deletionPropagation cannot be "
			"both "
			"set",
			o->propagation);
	if (r->causes.n)
		return invalid(r, e, &delete_options_kind, "");
	return 0;
}

static void reply_bad_opts(struct req *r, const struct err *e)
{
	bool inv = e->reason && strcmp(e->reason, "Invalid") == 0;
	reply_error_kind(r, e, inv ? &delete_options_kind : NULL, NULL);
}

/* --- one object --- */

static bool has_finalizer(const json_t *obj, const char *name)
{
	size_t i;
	const json_t *v;
	json_array_foreach (json_at(obj, "metadata.finalizers"), i, v) {
		if (json_is_string(v) && strcmp(json_string_value(v), name) == 0)
			return true;
	}
	return false;
}

static void set_finalizer(json_t *obj, const char *name, bool want)
{
	json_t *list = json_at(obj, "metadata.finalizers");
	if (has_finalizer(obj, name) == want)
		return;
	if (want) {
		if (!list) {
			(void)json_put(obj, "metadata.finalizers", json_array());
			list = json_at(obj, "metadata.finalizers");
		}
		json_array_append_new(list, json_string(name));
		return;
	}
	for (size_t i = json_array_size(list); i-- > 0;)
		if (strcmp(json_string_value(json_array_get(list, i)), name) == 0)
			json_array_remove(list, i);
	if (json_array_size(list) == 0)
		(void)json_put(obj, "metadata.finalizers", NULL);
}

/* Propagation is written down as finalizers; the garbage collector takes it from there. */
static void set_propagation(const struct kind *k, json_t *obj, const struct del_opts *o)
{
	const char *p = o->propagation;
	bool orphan = has_finalizer(obj, "orphan"), fore = has_finalizer(obj, "foregroundDeletion");
	if (o->has_orphan)
		orphan = o->orphan, fore = fore && !o->orphan;
	else if (*p)
		orphan = strcmp(p, "Orphan") == 0, fore = strcmp(p, "Foreground") == 0;
	else if (strcmp(k->kind, "ReplicationController") == 0 && !fore)
		orphan = true; /* its old default */
	set_finalizer(obj, "orphan", orphan);
	set_finalizer(obj, "foregroundDeletion", fore);
}

static int check_preconditions(
	struct write *w, const json_t *old, const struct del_opts *o, struct err *e)
{
	const struct kind *k = w->r->rt.kind;
	const char *uid = json_str(old, "metadata.uid", "");
	uint64_t rv;
	if (*o->uid && strcmp(o->uid, uid) != 0)
		return err_set(e, EAGAIN, "Conflict",
			"Operation cannot be fulfilled on %s \"%s\": the UID in the precondition "
			"(%s) does "
			"not match the UID in record (%s). The object might have been deleted and "
			"then "
			"recreated",
			qualified(w->r, k), json_str(old, "metadata.name", ""), o->uid, uid);
	if (*o->rv && (str_u64(str_of(o->rv), &rv) < 0 || rv != write_cur_rv(w)))
		return err_set(e, EAGAIN, "Conflict",
			"Operation cannot be fulfilled on %s \"%s\": the ResourceVersion in the "
			"precondition "
			"(%s) does not match the ResourceVersion in record (%llu). The object "
			"might have "
			"been modified",
			qualified(w->r, k), json_str(old, "metadata.name", ""), o->rv,
			(unsigned long long)write_cur_rv(w));
	return 0;
}

/* Seconds a pod still gets; other kinds go at once. */
static int64_t grace_of(const struct kind *k, const json_t *obj, const struct del_opts *o)
{
	if (strcmp(k->kind, "Pod") != 0)
		return 0;
	const char *phase = json_str(obj, "status.phase", "");
	if (!*json_str(obj, "spec.nodeName", "") || strcmp(phase, "Succeeded") == 0 ||
		strcmp(phase, "Failed") == 0)
		return 0;
	int64_t g = o->has_grace ? o->grace
				 : json_i64(obj, "spec.terminationGracePeriodSeconds",
					   POD_GRACE_SECONDS);
	return g < 0 ? 1 : g;
}

static void mark_deleted(json_t *obj, int64_t now_ns, int64_t grace)
{
	char when[21];
	time_rfc3339(now_ns + grace * NS_PER_SEC, when);
	(void)json_put(obj, "metadata.deletionTimestamp", json_string(when));
	(void)json_put(obj, "metadata.deletionGracePeriodSeconds", json_integer(grace));
}

static int delete_namespace(struct write *w, const json_t *old, json_t *obj, struct err *e)
{
	struct str name = str_of(json_str(obj, "metadata.name", ""));
	char when[21];
	if (listed(immortal_namespaces, ARRAY_LEN(immortal_namespaces), name))
		return err_set(e, EPERM, "Forbidden",
			"namespaces \"%.*s\" is forbidden: this namespace may not be deleted",
			STR_FMT(name));
	if (!json_at(old, "metadata.deletionTimestamp")) {
		time_rfc3339(w->r->now_ns, when);
		(void)json_put(obj, "metadata.deletionTimestamp", json_string(when));
	}
	(void)json_put(obj, "status.phase", json_string("Terminating"));
	return 0;
}

/* The object's state after the request for deletion; *gone: nothing holds it any more. */
static void delete_state(
	struct write *w, const json_t *old, json_t *obj, const struct del_opts *o, bool *gone)
{
	const struct kind *k = w->r->rt.kind;
	int64_t grace = grace_of(k, obj, o);
	bool marked = json_at(old, "metadata.deletionTimestamp") != NULL;
	int64_t had = json_i64(old, "metadata.deletionGracePeriodSeconds", 0);
	bool held = json_array_size(json_at(obj, "metadata.finalizers")) > 0;
	if (marked && had > 0 && (!o->has_grace || grace >= had)) {
		*gone = false; /* already on its way; only a shorter time counts */
		return;
	}
	if (!marked || grace < had) {
		int64_t base = w->r->now_ns, then;
		if (marked && grace > 0 &&
			time_parse(str_of(json_str(old, "metadata.deletionTimestamp", "")),
				&then) == 0)
			base = then - had * NS_PER_SEC;
		mark_deleted(obj, base, grace);
		if (!marked && json_at(obj, "metadata.generation"))
			(void)json_put(obj, "metadata.generation",
				json_integer(json_i64(old, "metadata.generation", 0) + 1));
	}
	*gone = grace == 0 && !held;
}

static int delete_compute(struct write *w, const json_t *old, json_t **ret, struct err *e)
{
	const struct del_opts *o = w->arg;
	struct req *r = w->r;
	const struct kind *k = r->rt.kind;
	if (!old)
		return not_found(r, e, k, r->rt.name);
	int rc = check_preconditions(w, old, o, e);
	if (rc < 0)
		return rc;
	AUTO_JSON json_t *obj = json_deep_copy(old);
	if (!obj)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	if (strcmp(k->kind, "Namespace") == 0) {
		rc = delete_namespace(w, old, obj, e);
	} else {
		bool gone;
		if (strcmp(k->kind, "CustomResourceDefinition") == 0 && !k->custom)
			crd_mark_deleted(obj, r->now_ns);
		set_propagation(k, obj, o);
		delete_state(w, old, obj, o, &gone);
		/* Pods answer with the mark of their deletion: may_vanish lets them go. */
		if (gone && strcmp(k->kind, "Pod") != 0)
			return 0;
	}
	if (rc == 0)
		*ret = STEAL(obj);
	return rc;
}

static void delete_done(struct write *w, const struct err *e, const struct write_result *res)
{
	struct req *r = w->r;
	const struct del_opts *o = w->arg;
	const struct kind *k = r->rt.kind;
	if (!r->x)
		return;
	if (e) {
		reply_error(r, e);
		return;
	}
	if (!res->deleted || listed(object_answers, ARRAY_LEN(object_answers), str_of(k->plural))) {
		bool accepted = !res->deleted && o->has_orphan && !o->orphan;
		reply_obj(r, accepted ? 202 : 200, res->bytes, res->rv);
		return;
	}
	struct str uid = obj_uid(jv_of(res->bytes));
	reply_status_ok(r, 200, arena_strdup(&r->arena, r->rt.name), k->group, k->plural,
		arena_strdup(&r->arena, uid));
}

static void delete_fresh(struct req *r)
{
	struct write *w = write_new(r, r->rt.res, req_key(r));
	if (!w)
		return;
	w->compute = delete_compute;
	w->done = delete_done;
	w->arg = r->state;
	write_run(w);
}

static void opts_free(struct req *r)
{
	free(r->state);
	r->state = NULL;
}

void do_delete(struct req *r)
{
	struct err e = {0};
	struct del_opts *o = calloc(1, sizeof(*o));
	if (!o) {
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	r->state = o;
	r->free_state = opts_free;
	if (parse_opts(r, o, &e) < 0) {
		reply_bad_opts(r, &e);
		return;
	}
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), delete_fresh);
}

/* --- eviction's deletion --- */

static void evict_done(struct write *w, const struct err *e, const struct write_result *res)
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

void evict_run(struct req *r, const json_t *delete_options)
{
	struct err e = {0};
	struct del_opts *o = arena_alloc(&r->arena, sizeof(*o));
	if (o && delete_options && opts_from_tree(r, o, delete_options, &e) < 0) {
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	struct write *w = o ? write_new(r, r->rt.res, req_key(r)) : NULL;
	if (!w)
		return;
	w->compute = delete_compute;
	w->done = evict_done;
	w->arg = o;
	write_run(w);
}

/* --- a collection: one after the other, in the order of the list --- */

struct del_all {
	struct del_opts opts; /* first: delete_compute's argument */
	struct omap_snap *snap;
	struct omap_iter it;
	struct buf items;
	uint64_t rev;
	size_t n;
	bool started;
	struct req *r;
	struct loop_task task;
};

static void del_all_free(struct req *r)
{
	struct del_all *d = r->state;
	if (!d)
		return;
	omap_snap_free(d->snap);
	buf_free(&d->items);
	free(d);
	r->state = NULL;
}

static void del_all_step(struct req *r);

static void del_all_again(struct loop_task *t)
{
	struct req *r = ((struct del_all *)t->arg)->r;
	if (r->x)
		del_all_step(r);
	req_release(r);
}

static void del_all_done(struct write *w, const struct err *e, const struct write_result *res)
{
	struct req *r = w->r;
	struct del_all *d = r->state;
	(void)res;
	if (!r->x)
		return;
	if (e && e->code != -ENOENT) {
		reply_error(r, e);
		return;
	}
	/* By way of the loop: a write that needs no storing ends at once, and would nest. */
	d->r = r;
	d->task = (struct loop_task){.fn = del_all_again, .arg = d};
	req_hold(r);
	loop_post(r->loop, &d->task);
}

static void del_all_finish(struct req *r)
{
	struct del_all *d = r->state;
	const struct kind *k = r->rt.kind;
	AUTO_BUF struct buf b = {0};
	buf_addf(&b,
		"{\"kind\":\"%s\",\"apiVersion\":\"%s%s%s\",\"metadata\":{\"resourceVersion\":\"%"
		"llu\"},"
		"\"items\":[",
		k->list_kind, k->group, *k->group ? "/" : "", k->version,
		(unsigned long long)d->rev);
	buf_add_str(&b, buf_str(&d->items));
	buf_adds(&b, "]}");
	reply_form(r, 200, buf_str(&b));
}

/* The next object that is meant, or NULL. */
static struct obj *del_all_next(struct req *r, struct del_all *d)
{
	char *prefix = r->rt.ns.n ? arena_printf(&r->arena, "%.*s/", STR_FMT(r->rt.ns)) : NULL;
	struct str pre = str_of(prefix);
	bool ok = d->started ? omap_next(d->snap, &d->it) : omap_seek(d->snap, pre, &d->it);
	d->started = true;
	for (; ok; ok = omap_next(d->snap, &d->it)) {
		if (pre.n && (d->it.key.n < pre.n || memcmp(d->it.key.p, pre.p, pre.n) != 0))
			return NULL;
		if (selected(&r->list, d->it.value))
			return d->it.value;
	}
	return NULL;
}

static void del_all_step(struct req *r)
{
	struct del_all *d = r->state;
	struct obj *o = del_all_next(r, d);
	if (!o) {
		del_all_finish(r);
		return;
	}
	if (d->n++)
		buf_addc(&d->items, ',');
	AUTO_BUF struct buf scratch = {0};
	obj_write(as_asked(r, obj_bytes(o), obj_rv(o), &scratch), obj_rv(o), !r->rt.kind->custom,
		&d->items);
	r->rt.name = str_of(arena_strdup(&r->arena, obj_name(o)));
	struct write *w = write_new(r, r->rt.res, str_of(arena_strdup(&r->arena, obj_key(o))));
	if (!w)
		return;
	w->compute = delete_compute;
	w->done = del_all_done;
	w->arg = &d->opts;
	write_run(w);
}

static void del_all_fresh(struct req *r)
{
	struct del_all *d = r->state;
	struct err e = {0};
	d->snap = cache_snapshot(r->rt.res, &d->rev);
	if (d->snap) {
		del_all_step(r);
		return;
	}
	err_set(&e, ENOMEM, "InternalError", "out of memory");
	reply_error_kind(r, &e, NULL, NULL);
}

void do_deletecollection(struct req *r)
{
	struct err e = {0};
	struct del_all *d = calloc(1, sizeof(*d));
	if (!d) {
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	r->state = d;
	r->free_state = del_all_free;
	r->list.rv = (struct str){0};
	if (parse_list_opts(r, &e) < 0) {
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	if (parse_opts(r, &d->opts, &e) < 0) {
		reply_bad_opts(r, &e);
		return;
	}
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), del_all_fresh);
}

/* SPDX-License-Identifier: Apache-2.0
 * A request's way: who asks, for what, may he, then the row of the verb table. */
#include "api/custom.h"
#include "apiserver/internal.h"

#include <strings.h>
#include <errno.h>

#define MANAGER_MAX   128	       /* bytes of a field manager's name */
#define FRESH_WAIT_NS (3 * NS_PER_SEC) /* how long a read waits for a revision still to come */

const char *const verb_names[] = {[V_GET] = "get",
	[V_LIST] = "list",
	[V_WATCH] = "watch",
	[V_CREATE] = "create",
	[V_UPDATE] = "update",
	[V_PATCH] = "patch",
	[V_DELETE] = "delete",
	[V_DELETECOLLECTION] = "deletecollection",
	[V_CONNECT] = "connect",
	[V_OTHER] = "other"};

/* --- life of a request --- */

static void req_free(struct req *r)
{
	if (r->free_state)
		r->free_state(r);
	list_opts_free(&r->list);
	cache_res_unref(r->rt.owned);
	definition_unref(r->rt.def);
	arena_free(&r->arena);
	atomic_fetch_sub(&r->srv->busy, 1);
	free(r);
}

void list_opts_free(struct list_opts *o)
{
	label_selector_free(o->labels);
	field_selector_free(o->fields);
	o->labels = NULL;
	o->fields = NULL;
}

void req_free_if_done(struct req *r)
{
	if (!r->x && r->pending == 0)
		req_free(r);
}

void req_hold(struct req *r)
{
	r->pending++;
}

void req_release(struct req *r)
{
	r->pending--;
	req_free_if_done(r);
}

static void forget_wait(struct req *r)
{
	loop_timer_cancel(&r->timer);
	if (r->next && cache_wait_cancel(r->srv->cache, &r->wait)) {
		r->next = NULL;
		r->pending--;
	}
}

static void req_gone(struct http_exchange *x)
{
	struct req *r = x->user;
	x->user = NULL;
	r->x = NULL;
	forget_wait(r);
	if (r->on_gone)
		r->on_gone(r);
	req_free_if_done(r);
}

void req_finished(struct req *r, int status)
{
	struct http_exchange *x = r->x;
	if (!x)
		return;
	metrics_count(r->srv->metrics, r->verb, r->rt.kind, status, time_mono() - r->start_ns);
	x->on_close = NULL;
	x->on_drain = NULL;
	x->user = NULL;
	r->x = NULL;
	x->ops->end(x);
	req_free_if_done(r);
}

static struct str keep(struct req *r, struct str s)
{
	return (struct str){s.n ? arena_strdup(&r->arena, s) : "", s.n};
}

static struct req *req_new(struct apiserver *s, struct http_exchange *x)
{
	struct req *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->srv = s;
	atomic_fetch_add(&s->busy, 1);
	r->x = x;
	r->loop = x->loop;
	r->method = keep(r, x->method);
	r->path = keep(r, x->path);
	r->query = keep(r, x->query);
	r->start_ns = time_mono();
	r->now_ns = time_now();
	r->causes.arena = &r->arena;
	r->warnings.arena = &r->arena;
	r->verb = V_OTHER;
	if (!r->method.p || !r->path.p || !r->query.p) {
		req_free(r);
		return NULL;
	}
	x->user = r;
	x->on_close = req_gone;
	return r;
}

/* --- query --- */

struct str req_query(struct req *r, const char *name)
{
	struct str q = r->query;
	while (q.n) {
		struct str v = str_cut(&q, '&'), k = str_cut(&v, '=');
		if (!str_eqz(k, name))
			continue;
		AUTO_BUF struct buf b = {0};
		if (url_decode(v, true, &b) < 0)
			return STR("");
		char *z = arena_strdup(&r->arena, buf_str(&b));
		return (struct str){z ? z : "", z ? b.len : 0};
	}
	return (struct str){0};
}

bool req_truthy(struct str s)
{
	/* whatever is not false is true: Python's clients say watch=True */
	return s.p && !str_eqz(s, "0") && !(s.n == 5 && strncasecmp(s.p, "false", 5) == 0);
}

struct str req_key(struct req *r)
{
	char *z = r->rt.ns.n ? arena_printf(&r->arena, "%.*s/%.*s", STR_FMT(r->rt.ns),
				       STR_FMT(r->rt.name))
			     : arena_strdup(&r->arena, r->rt.name);
	return str_of(z);
}

/* --- options of lists and watches --- */

static int opt_forbidden(struct req *r, struct err *e, const char *field, const char *why)
{
	cause_add(&r->causes, "FieldValueForbidden", field, "Forbidden: %s", why);
	return err_set(e, EINVAL, "Invalid",
		"ListOptions.meta.k8s.io \"\" is invalid: %s: Forbidden: %s", field, why);
}

static int check_rv_match(struct req *r, struct err *e)
{
	struct list_opts *o = &r->list;
	bool not_older = str_eqz(o->rv_match, "NotOlderThan"),
	     exact = str_eqz(o->rv_match, "Exact");
	if (o->has_send_initial && !o->watch)
		return opt_forbidden(
			r, e, "sendInitialEvents", "sendInitialEvents is forbidden for list");
	if (o->watch && o->has_send_initial && !not_older)
		return opt_forbidden(r, e, "resourceVersionMatch",
			"sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (o->watch && o->rv_match.n && !o->has_send_initial)
		return opt_forbidden(r, e, "resourceVersionMatch",
			"resourceVersionMatch is forbidden for watch unless sendInitialEvents is "
			"provided");
	if (o->watch || !o->rv_match.n)
		return 0;
	if (!o->rv.n)
		return opt_forbidden(r, e, "resourceVersionMatch",
			"resourceVersionMatch is forbidden unless resourceVersion is provided");
	if (o->cont.n)
		return opt_forbidden(r, e, "resourceVersionMatch",
			"resourceVersionMatch is forbidden when continue is provided");
	if (!not_older && !exact) {
		cause_add(&r->causes, "FieldValueNotSupported", "resourceVersionMatch",
			"Unsupported value: \"%.*s\": supported values: \"Exact\", "
			"\"NotOlderThan\"",
			STR_FMT(o->rv_match));
		return err_set(e, EINVAL, "Invalid",
			"ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch");
	}
	if (exact && str_eqz(o->rv, "0"))
		return opt_forbidden(r, e, "resourceVersionMatch",
			"resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
	return 0;
}

static int parse_number(struct req *r, const char *name, int64_t *ret, struct err *e)
{
	struct str v = req_query(r, name);
	if (v.n && str_i64(v, ret) < 0)
		return err_set(e, EINVAL, "BadRequest", "invalid value \"%.*s\" of parameter %s",
			STR_FMT(v), name);
	return 0;
}

int parse_list_opts(struct req *r, struct err *e)
{
	struct list_opts *o = &r->list;
	o->watch = req_truthy(req_query(r, "watch")) || r->rt.legacy_watch;
	o->bookmarks = req_truthy(req_query(r, "allowWatchBookmarks"));
	struct str sie = req_query(r, "sendInitialEvents");
	o->has_send_initial = sie.p != NULL;
	o->send_initial = req_truthy(sie);
	o->cont = req_query(r, "continue");
	o->rv = req_query(r, "resourceVersion");
	o->rv_match = req_query(r, "resourceVersionMatch");
	int rc = parse_number(r, "limit", &o->limit, e);
	if (rc == 0)
		rc = parse_number(r, "timeoutSeconds", &o->timeout_seconds, e);
	struct str l = req_query(r, "labelSelector"), f = req_query(r, "fieldSelector");
	if (rc == 0 && l.n)
		rc = label_selector_parse(l, &o->labels, e);
	if (rc < 0)
		return rc;
	if (r->rt.legacy_watch && r->rt.name.n)
		f = str_of(arena_printf(&r->arena, "metadata.name=%.*s", STR_FMT(r->rt.name)));
	o->asked = r->rt.kind;
	o->stored = r->rt.res ? r->rt.res->kind : r->rt.kind;
	if (f.n)
		rc = field_selector_parse(r->rt.kind, f, &o->fields, e);
	uint64_t rv;
	if (rc == 0 && o->rv.n && str_u64(o->rv, &rv) < 0) {
		return err_set(e, EINVAL, "BadRequest", "Invalid value: \"%.*s\": resourceVersion",
			STR_FMT(o->rv));
	}
	return rc < 0 ? rc : check_rv_match(r, e);
}

bool selected(const struct list_opts *o, const struct obj *obj)
{
	if (o->labels && !label_selector_match(o->labels, obj->labels))
		return false;
	AUTO_BUF struct buf scratch = {0};
	return !o->fields ||
	       field_selector_match(o->fields, jv_of(as_version(o->stored, o->asked, obj_bytes(obj),
						       obj_rv(obj), &scratch)));
}

/* The field manager: as asked, or the client's name. */
static int parse_manager(struct req *r, struct err *e)
{
	static const char *const kinds[] = {[V_CREATE] = "CreateOptions",
		[V_UPDATE] = "UpdateOptions",
		[V_PATCH] = "PatchOptions"};
	AUTO_BUF struct buf b = {0};
	struct str m = req_query(r, "fieldManager");
	bool printable = true,
	     writes = r->verb == V_CREATE || r->verb == V_UPDATE || r->verb == V_PATCH;
	for (size_t i = 0; i < m.n; i++)
		printable = printable && (unsigned char)m.p[i] >= 0x20 && m.p[i] != 0x7f;
	if (writes && (m.n > MANAGER_MAX || !printable)) {
		struct kind *k = arena_alloc(&r->arena, sizeof(*k));
		if (m.n > MANAGER_MAX)
			cause_add(&r->causes, "FieldValueTooLong", "fieldManager",
				"Too long: may not be more than %d bytes", MANAGER_MAX);
		if (!printable)
			cause_add(&r->causes, "FieldValueInvalid", "fieldManager",
				"Invalid value: should only contain printable characters");
		if (!k)
			return err_set(e, ENOMEM, "InternalError", "out of memory");
		*k = (struct kind){.group = "meta.k8s.io", .version = "v1", .kind = kinds[r->verb]};
		r->options_kind = k;
		return invalid(r, e, k, "");
	}
	if (!m.n) {
		struct str ua = http_header_get(r->x, "user-agent");
		m = str_cut(&ua, '/');
	}
	for (size_t i = 0; i < m.n && b.len < MANAGER_MAX; i++)
		if ((unsigned char)m.p[i] >= 0x20 && m.p[i] != 0x7f)
			buf_addc(&b, m.p[i]);
	while (b.len && b.len == MANAGER_MAX && ((unsigned char)b.p[b.len - 1] & 0xc0) == 0x80)
		b.len--; /* not in the middle of a character */
	r->manager = b.len ? arena_strdup(&r->arena, buf_str(&b)) : NULL;
	return 0;
}

/* Options that every verb reads. */
static int parse_common(struct req *r, struct err *e)
{
	struct str dry = req_query(r, "dryRun"), fv = req_query(r, "fieldValidation");
	if (dry.n && !str_eqz(dry, "All")) {
		cause_add(&r->causes, "FieldValueNotSupported", "dryRun",
			"Unsupported value: [\"%.*s\"]: supported values: \"All\"", STR_FMT(dry));
		return err_set(
			e, EINVAL, "Invalid", "dryRun: Unsupported value: \"%.*s\"", STR_FMT(dry));
	}
	r->dry_run = dry.n > 0;
	r->fields = FIELDS_WARN;
	if (str_eqz(fv, "Strict"))
		r->fields = FIELDS_STRICT;
	else if (str_eqz(fv, "Ignore"))
		r->fields = FIELDS_IGNORE;
	if (parse_manager(r, e) < 0)
		return -EINVAL;
	struct str inc = req_query(r, "includeObject");
	r->list.include = str_eqz(inc, "Object") ? INCLUDE_OBJECT
			  : str_eqz(inc, "None") ? INCLUDE_NONE
						 : INCLUDE_METADATA;
	struct str enc = http_header_get(r->x, "accept-encoding");
	r->gzip_ok = enc.n >= 4 && memmem(enc.p, enc.n, "gzip", 4) != NULL;
	r->body = keep(r, r->x->body);
	r->body_media = media_of(http_header_get(r->x, "content-type"));
	return 0;
}

/* --- waiting for the cache --- */

static void wait_done(struct loop_task *t)
{
	struct req *r = t->arg;
	req_fn *next = r->next;
	loop_timer_cancel(&r->timer);
	r->next = NULL;
	if (r->x)
		next(r);
	req_release(r);
}

static void wait_timeout(struct loop_timer *t)
{
	struct req *r = t->arg;
	if (!cache_wait_cancel(r->srv->cache, &r->wait))
		return;
	r->next = NULL;
	r->pending--;
	struct err e = {0};
	err_set(&e, ETIMEDOUT, "Timeout", "Too large resource version: %llu, current: %llu",
		(unsigned long long)r->wait.rev,
		(unsigned long long)atomic_load(&r->srv->cache->rev));
	cause_add(&r->causes, "ResourceVersionTooLarge", "", "Too large resource version");
	reply_error_kind(r, &e, NULL, NULL);
}

void req_wait_fresh(struct req *r, uint64_t rev, req_fn *then)
{
	r->wait.loop = r->loop;
	r->wait.task = (struct loop_task){.fn = wait_done, .arg = r};
	r->next = then;
	r->pending++;
	if (cache_wait(r->srv->cache, &r->wait, rev)) {
		r->next = NULL;
		r->pending--;
		then(r);
		return;
	}
	r->timer.fn = wait_timeout;
	r->timer.arg = r;
	(void)loop_timer_set(r->loop, &r->timer, FRESH_WAIT_NS);
}

/* --- dispatch --- */

struct verb_row {
	const char *method;
	bool named;
	enum verb verb;
	uint16_t bit;
	req_fn *fn;
};
static const struct verb_row verb_rows[] = {
	{"GET", true, V_GET, VERB_GET, do_get},
	{"PUT", true, V_UPDATE, VERB_UPDATE, do_update},
	{"PATCH", true, V_PATCH, VERB_PATCH, do_patch},
	{"DELETE", true, V_DELETE, VERB_DELETE, do_delete},
	{"GET", false, V_LIST, VERB_LIST, do_list},
	{"POST", false, V_CREATE, VERB_CREATE, do_create},
	{"DELETE", false, V_DELETECOLLECTION, VERB_DELETECOLLECTION, do_deletecollection},
};

static req_fn *find_verb(struct req *r)
{
	const struct route *rt = &r->rt;
	for (size_t i = 0; i < ARRAY_LEN(verb_rows); i++) {
		const struct verb_row *v = &verb_rows[i];
		if (!str_eqz(r->method, v->method) || v->named != (rt->name.n > 0))
			continue;
		if (!(rt->kind->verbs & v->bit))
			return NULL;
		/* Namespaced kinds: writing to a collection needs the namespace. */
		if (!v->named && v->verb != V_LIST && rt->kind->namespaced && !rt->ns.n)
			return NULL;
		r->verb = v->verb;
		return v->fn;
	}
	return NULL;
}

static req_fn *find_sub(struct req *r, const struct sub_row *row)
{
	const struct {
		const char *method;
		enum verb verb;
		req_fn *fn;
	} by_method[] = {{"GET", V_GET, row->get}, {"PUT", V_UPDATE, row->put},
		{"PATCH", V_PATCH, row->patch}, {"POST", V_CREATE, row->post},
		{"DELETE", V_DELETE, row->del}};
	for (size_t i = 0; i < ARRAY_LEN(by_method); i++)
		if (str_eqz(r->method, by_method[i].method)) {
			r->verb = by_method[i].verb;
			return by_method[i].fn;
		}
	r->verb = row->any ? V_GET : r->verb;
	return row->any;
}

static void reply_no_method(struct req *r)
{
	struct err e = {0};
	err_set(&e, ENOSYS, "MethodNotAllowed",
		"the server does not allow this method on the requested resource");
	reply_error_kind(r, &e, NULL, NULL);
}

static void reply_no_resource(struct req *r)
{
	struct err e = {0};
	err_set(&e, ENOENT, "NotFound", "the server could not find the requested resource");
	reply_error_kind(r, &e, &no_kind, NULL);
}

/* Clients show these to their users. */
static void warn_deprecated(struct req *r)
{
	if (r->rt.kind->custom && r->rt.kind->custom->warning)
		warn(r, "%s", r->rt.kind->custom->warning);
	static const struct {
		const char *plural, *text;
	} rows[] = {{"endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 "
				  "EndpointSlice"},
		{"componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (!*r->rt.kind->group && strcmp(r->rt.kind->plural, rows[i].plural) == 0)
			warn(r, "%s", rows[i].text);
}

static void resource(struct req *r)
{
	struct err e = {0};
	req_fn *fn = NULL;
	if (r->rt.legacy_watch) {
		fn = str_eqz(r->method, "GET") ? do_watch : NULL;
		r->verb = V_WATCH;
	} else if (r->rt.sub.n) {
		const struct sub_row *row = sub_find(r->rt.sub);
		if (!row || !(r->rt.kind->subresources & row->sub)) {
			reply_no_resource(r);
			return;
		}
		fn = find_sub(r, row);
	} else {
		fn = find_verb(r);
	}
	if (r->verb == V_LIST && req_truthy(req_query(r, "watch"))) {
		r->verb = V_WATCH;
		fn = do_watch;
	}
	if (fn && !authorize(r, &e)) {
		reply_error(r, &e);
		return;
	}
	if (!fn || (r->rt.no_create && r->verb == V_CREATE)) {
		reply_no_method(r);
		return;
	}
	if (fn == do_proxy) { /* the query is the other server's, not ours */
		r->body = keep(r, r->x->body);
		fn(r);
		return;
	}
	if (negotiate(r, &e) < 0) {
		reply_error_kind(r, &e, &no_kind, NULL);
		return;
	}
	if (parse_common(r, &e) < 0) {
		reply_error_kind(r, &e, r->options_kind, r->options_kind ? "" : NULL);
		return;
	}
	warn_deprecated(r);
	fn(r);
}

static void dispatch(struct req *r)
{
	struct err e = {0};
	enum route_result found = route_parse(r->srv, &r->arena, r->path, &r->rt);
	if (authenticate(r, &e) < 0) {
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	switch (found) {
	case ROUTE_OK:
		resource(r);
		return;
	case ROUTE_NO_RESOURCE:
		reply_no_resource(r);
		return;
	case ROUTE_NOT_RESOURCE:
		if (!authorize(r, &e)) {
			reply_error_kind(r, &e, NULL, NULL);
			return;
		}
		if (path_nonresource(r))
			return;
		/* fall through */
	case ROUTE_NO_GROUP:
		reply_text(r, 404, "404 page not found\n");
	}
}

void apiserver_handle(void *srv, struct http_exchange *x)
{
	struct req *r = req_new(srv, x);
	if (!r) {
		x->ops->abort(x);
		return;
	}
	req_hold(r); /* an answer on the way down must not free it under the callers' feet */
	dispatch(r);
	req_release(r);
}

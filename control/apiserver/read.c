/* SPDX-License-Identifier: Apache-2.0
 * GET and LIST: from the watch cache, or, for an exact older revision, from the store. */
#include "apiserver/internal.h"

#include <errno.h>
#include "xebec/base/tls.h"

static const struct kind list_options_kind = {.group = "meta.k8s.io", .kind = "ListOptions"};

/* The revision that the cache must have reached before this read may be answered. */
static uint64_t needed_rev(struct req *r)
{
	uint64_t rv = 0;
	struct str s = r->list.rv;
	if (!s.n)
		return r->srv->store->ops->rev(r->srv->store); /* the latest */
	return str_u64(s, &rv) == 0 ? rv : 0;
}

/* --- GET --- */

static void get_now(struct req *r)
{
	struct obj *o = cache_get(r->rt.res, req_key(r));
	if (!o) {
		struct err e = {0};
		(void)not_found(r, &e, r->rt.kind, r->rt.name);
		reply_error(r, &e);
		return;
	}
	reply_obj(r, 200, obj_bytes(o), obj_rv(o));
	obj_unref(o);
}

void do_get(struct req *r)
{
	r->list.rv = req_query(r, "resourceVersion");
	req_wait_fresh(r, needed_rev(r), get_now);
}

/* --- LIST --- */

struct token {	      /* what a continue token says */
	uint64_t rev; /* 0: the state of now (a token given with a 410) */
	struct str start;
};

static int token_parse(struct req *r, struct token *t, struct err *e)
{
	AUTO_BUF struct buf b = {0};
	AUTO_JSON json_t *j = NULL;
	struct err bad = {0};
	if (base64_decode(r->list.cont, &b) < 0 || json_parse(buf_str(&b), &j, &bad) < 0 ||
		strcmp(json_str(j, "v", ""), "meta.k8s.io/v1") != 0 || !*json_str(j, "start", "") ||
		json_i64(j, "rv", 0) < -1)
		return err_set(e, EINVAL, "BadRequest", "continue key is not valid");
	int64_t rv = json_i64(j, "rv", 0);
	t->rev = rv < 0 ? 0 : (uint64_t)rv;
	t->start = str_of(arena_strdup(&r->arena, str_of(json_str(j, "start", ""))));
	return t->start.p ? 0 : err_set(e, ENOMEM, NULL, "out of memory");
}

static void token_write(struct buf *out, int64_t rev, struct str last_key)
{
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "{\"v\":\"meta.k8s.io/v1\",\"rv\":%lld,\"start\":", (long long)rev);
	AUTO_BUF struct buf s = {0};
	buf_add_str(&s, last_key);
	buf_addc(&s, '\x01'); /* the key after it: no name holds a control character */
	buf_add_json_str(&b, buf_str(&s));
	buf_addc(&b, '}');
	base64url_encode(buf_str(&b), out);
}

struct list_out {
	struct req *r;
	struct buf items; /* joined by commas */
	size_t n;
	struct str last;
	bool full; /* the limit is reached and more follow */
	uint64_t remaining;
};

static void list_item(struct list_out *l, struct str bytes, uint64_t rv)
{
	struct req *r = l->r;
	AUTO_BUF struct buf scratch = {0};
	bytes = as_asked(r, bytes, rv, &scratch);
	if (l->n++)
		buf_addc(&l->items, ',');
	if (r->accept.form == FORM_TABLE)
		table_row(r->rt.kind, jv_of(bytes), rv, r->list.include, r->now_ns, &l->items);
	else if (r->accept.form == FORM_PARTIAL)
		obj_write_partial(bytes, rv, &l->items);
	else
		obj_write(bytes, rv, !r->rt.kind->custom, &l->items);
}

static void list_meta(struct list_out *l, uint64_t rev, struct buf *out)
{
	buf_addf(out, "{\"resourceVersion\":\"%llu\"", (unsigned long long)rev);
	if (l->full) {
		buf_adds(out, ",\"continue\":\"");
		token_write(out, (int64_t)rev, l->last);
		buf_addc(out, '"');
		if (!l->r->list.labels && !l->r->list.fields)
			buf_addf(out, ",\"remainingItemCount\":%llu",
				(unsigned long long)l->remaining);
	}
	buf_addc(out, '}');
}

static void list_reply_pb(struct req *r, struct buf *b)
{
	AUTO_JSON json_t *j = NULL;
	AUTO_BUF struct buf pb = {0};
	struct err e = {0};
	const struct kind *k = r->rt.kind;
	if (k->list_type && json_parse(buf_str(b), &j, &e) == 0 &&
		api_encode_pb_envelope(
			k->list_type, json_str(j, "apiVersion", ""), k->list_kind, j, &pb) == 0)
		reply_bytes(r, 200, "application/vnd.kubernetes.protobuf", buf_str(&pb));
	else
		reply_bytes(r, 200, "application/json", buf_str(b));
}

static void list_reply(struct list_out *l, uint64_t rev)
{
	struct req *r = l->r;
	const struct kind *k = r->rt.kind;
	AUTO_BUF struct buf b = {0};
	AUTO_BUF struct buf meta = {0};
	list_meta(l, rev, &meta);
	if (r->accept.form == FORM_TABLE) {
		table_begin(&b, k, buf_str(&meta), true);
		buf_add_str(&b, buf_str(&l->items));
		table_end(&b);
	} else {
		bool partial = r->accept.form == FORM_PARTIAL;
		buf_addf(&b,
			"{\"kind\":\"%s\",\"apiVersion\":\"%s%s%s\",\"metadata\":%.*s,\"items\":[",
			partial ? "PartialObjectMetadataList" : k->list_kind,
			partial ? "meta.k8s.io" : k->group, partial || *k->group ? "/" : "",
			partial ? "v1" : k->version, (int)meta.len, meta.p);
		buf_add_str(&b, buf_str(&l->items));
		buf_adds(&b, "]}");
	}
	buf_free(&l->items);
	struct err e = {0};
	if (b.err) {
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
	} else if (r->accept.media == MEDIA_PROTOBUF && r->accept.form == FORM_OBJECT) {
		list_reply_pb(r, &b);
	} else {
		reply_form(r, 200, buf_str(&b));
	}
}

/* --- at the state of now --- */

/* An exact name needs no scan. */
static bool list_one(struct req *r, struct omap_snap *snap, struct list_out *l)
{
	if (!r->list.fields)
		return false;
	struct str name = field_selector_value(r->list.fields, "metadata.name");
	if (!name.p || (r->rt.kind->namespaced && !r->rt.ns.n))
		return false;
	struct str old = r->rt.name;
	r->rt.name = name;
	struct obj *o = omap_get(snap, req_key(r));
	r->rt.name = old;
	if (o && selected(&r->list, o))
		list_item(l, obj_bytes(o), obj_rv(o));
	return true;
}

static void list_scan(struct req *r, struct omap_snap *snap, struct str from, struct list_out *l)
{
	char *prefix = r->rt.ns.n ? arena_printf(&r->arena, "%.*s/", STR_FMT(r->rt.ns)) : NULL;
	struct str pre = str_of(prefix);
	struct omap_iter it;
	if (from.n == 0)
		from = pre;
	for (bool ok = omap_seek(snap, from, &it); ok; ok = omap_next(snap, &it)) {
		if (pre.n && (it.key.n < pre.n || memcmp(it.key.p, pre.p, pre.n) != 0))
			break;
		struct obj *o = it.value;
		if (!selected(&r->list, o))
			continue;
		if (r->list.limit > 0 && l->n == (size_t)r->list.limit) {
			l->full = true;
			if (r->list.labels || r->list.fields)
				break;
			l->remaining++;
			continue;
		}
		list_item(l, obj_bytes(o), obj_rv(o));
		l->last = obj_key(o);
	}
}

static void list_now(struct req *r)
{
	struct token t = {0};
	struct err e = {0};
	if (r->list.cont.n && token_parse(r, &t, &e) < 0) {
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	uint64_t rev;
	struct omap_snap *snap = cache_snapshot(r->rt.res, &rev);
	struct list_out l = {.r = r};
	if (!snap) {
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	if (!list_one(r, snap, &l))
		list_scan(r, snap, t.start, &l);
	list_reply(&l, rev); /* l.last points into the snapshot */
	omap_snap_free(snap);
}

/* --- at an exact revision, from the store --- */

struct old_list {
	struct req *r;
	uint64_t rev;
	struct list_out out;
	struct buf last;
	struct loop_task task;
	/* one page of the store's answer, handed to the loop */
	struct store_val **vals;
	size_t n, count;
	bool more;
	struct err e;
	struct buf start, end;
};

static void old_list_free(struct req *r)
{
	struct old_list *ol = r->state;
	if (!ol)
		return;
	for (size_t i = 0; i < ol->n; i++)
		store_val_unref(ol->vals[i]);
	free(ol->vals);
	buf_free(&ol->start);
	buf_free(&ol->end);
	buf_free(&ol->last);
	buf_free(&ol->out.items);
	free(ol);
	r->state = NULL;
}

/* The revision is gone: 410 with a token that goes on at the same key in the state of now. */
static void old_list_expired(struct old_list *ol)
{
	struct req *r = ol->r;
	AUTO_BUF struct buf b = {0};
	AUTO_BUF struct buf s = {0};
	struct err e = {0};
	err_set(&e, ESTALE, "Expired",
		"The provided continue parameter is too old to display a consistent list result. "
		"You can "
		"start a new list without the continue parameter, or use the continue token in "
		"this "
		"response to retrieve the remainder of the results.");
	status_write(&s, &e, NULL, NULL, NULL);
	struct str st = buf_str(&s), key = {ol->start.p + r->rt.res->prefix_len,
					     ol->start.len - r->rt.res->prefix_len};
	const char *meta = memmem(st.p, st.n, "\"metadata\":{}", 13);
	if (meta && r->list.cont.n) {
		if (key.n && key.p[key.n - 1] == '\x01')
			key.n--;
		buf_add(&b, st.p, (size_t)(meta - st.p));
		buf_adds(&b, "\"metadata\":{\"continue\":\"");
		token_write(&b, -1, key);
		buf_adds(&b, "\"}");
		buf_adds(&b, meta + 13);
		st = buf_str(&b);
	}
	reply_bytes(r, 410, "application/json", st);
}

static void old_list_ask(struct old_list *ol);

static void old_list_page(struct loop_task *t)
{
	struct old_list *ol = t->arg;
	struct req *r = ol->r;
	if (r->x && ol->e.code == -ESTALE) {
		old_list_expired(ol);
	} else if (r->x && ol->e.code) {
		err_prefix(&ol->e, "reading revision %llu", (unsigned long long)ol->rev);
		reply_error_kind(r, &ol->e, NULL, NULL);
	}
	if (!r->x) {
		req_release(r);
		return;
	}
	size_t seen = 0;
	for (; seen < ol->n && !ol->out.full; seen++) {
		struct obj *o = obj_new(
			ol->vals[seen], (uint32_t)r->rt.res->prefix_len, r->rt.kind->namespaced);
		if (o && selected(&r->list, o)) {
			if (r->list.limit > 0 && ol->out.n == (size_t)r->list.limit) {
				ol->out.full = true;
				ol->out.remaining = ol->count - seen;
			} else {
				list_item(&ol->out, obj_bytes(o), obj_rv(o));
				buf_clear(&ol->last);
				buf_add_str(&ol->last, obj_key(o));
			}
		}
		obj_unref(o);
	}
	if (!ol->out.full && ol->more && ol->n) { /* the next page starts after the last key */
		buf_clear(&ol->start);
		buf_add_str(&ol->start, store_val_key(ol->vals[ol->n - 1]));
		buf_addc(&ol->start, '\x01');
		old_list_ask(ol);
		return;
	}
	ol->out.last = buf_str(&ol->last);
	list_reply(&ol->out, ol->rev);
	req_release(r);
}

static void old_list_answer(void *arg, const struct err *e, const struct store_range_result *rr)
{
	struct old_list *ol = arg;
	ol->e = e ? *e : (struct err){0};
	if (!e) {
		ol->vals = calloc(rr->n + 1, sizeof(struct store_val *));
		if (!ol->vals)
			err_set(&ol->e, ENOMEM, "InternalError", "out of memory");
		for (size_t i = 0; ol->vals && i < rr->n; i++)
			ol->vals[i] = store_val_ref(rr->vals[i]);
		ol->n = ol->vals ? rr->n : 0;
		ol->more = rr->more;
		ol->count = rr->count;
	}
	loop_post(ol->r->loop, &ol->task);
}

static void old_list_ask(struct old_list *ol)
{
	for (size_t i = 0; i < ol->n; i++)
		store_val_unref(ol->vals[i]);
	free(ol->vals);
	ol->vals = NULL;
	ol->n = 0;
	size_t limit = ol->r->list.limit > 0 ? (size_t)ol->r->list.limit + 1 : 500;
	struct store_range q = {.start = buf_str(&ol->start),
		.end = buf_str(&ol->end),
		.rev = ol->rev,
		.limit = limit < 500 ? 500 : limit};
	struct store *s = ol->r->srv->store;
	s->ops->range(s, &q, old_list_answer, ol);
}

static void list_old(struct req *r, uint64_t rev, struct str from)
{
	struct old_list *ol = calloc(1, sizeof(*ol));
	struct err e = {0};
	if (!ol) {
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	ol->r = r;
	ol->rev = rev;
	ol->out.r = r;
	ol->task = (struct loop_task){.fn = old_list_page, .arg = ol};
	r->state = ol;
	r->free_state = old_list_free;
	buf_adds(&ol->start, r->rt.res->prefix);
	buf_adds(&ol->end, r->rt.res->prefix);
	if (r->rt.ns.n) {
		buf_add_str(&ol->start, r->rt.ns);
		buf_addc(&ol->start, '/');
		buf_add_str(&ol->end, r->rt.ns);
		buf_addc(&ol->end, '/');
	}
	ol->end.p[ol->end.len - 1]++; /* '/' + 1: past every key below it */
	if (from.n) {
		buf_clear(&ol->start);
		buf_adds(&ol->start, r->rt.res->prefix);
		buf_add_str(&ol->start, from);
	}
	req_hold(r);
	old_list_ask(ol);
}

static void list_exact(struct req *r)
{
	uint64_t rev = 0;
	(void)str_u64(r->list.rv, &rev);
	list_old(r, rev, (struct str){0});
}

static void list_continue(struct req *r)
{
	struct token t;
	struct err e = {0};
	uint64_t rv;
	if (token_parse(r, &t, &e) < 0) {
		reply_error_kind(r, &e, NULL, NULL);
	} else if (r->list.rv.n && (str_u64(r->list.rv, &rv) < 0 || rv != 0)) {
		err_set(&e, EINVAL, "BadRequest",
			"specifying resource version is not allowed when using continue");
		reply_error_kind(r, &e, NULL, NULL);
	} else if (t.rev) {
		list_old(r, t.rev, t.start);
	} else {
		req_wait_fresh(r, needed_rev(r), list_now);
	}
}

void do_list(struct req *r)
{
	struct err e = {0};
	if (parse_list_opts(r, &e) < 0) {
		bool invalid = e.reason && strcmp(e.reason, "Invalid") == 0;
		reply_error_kind(r, &e, invalid ? &list_options_kind : NULL, NULL);
		return;
	}
	if (r->list.cont.n)
		list_continue(r);
	else if (str_eqz(r->list.rv_match, "Exact"))
		req_wait_fresh(r, needed_rev(r), list_exact);
	else
		req_wait_fresh(r, needed_rev(r), list_now);
}

/* SPDX-License-Identifier: Apache-2.0
 * Reading one immutable state of the index, from any thread. */
#include <errno.h>
#include "store/mvcc.h"

struct mvcc_view *mvcc_view_new(const struct mvcc *m)
{
	struct mvcc_view *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->refs = 1;
	v->rev = m->rev;
	v->compact_rev = m->compact_rev;
	v->bytes = m->bytes;
	v->keys = m->keys;
	v->snap = omap_snapshot(m->map);
	if (!v->snap) {
		free(v);
		return NULL;
	}
	return v;
}

struct mvcc_view *mvcc_view_ref(struct mvcc_view *v)
{
	atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	return v;
}

void mvcc_view_unref(struct mvcc_view *v)
{
	if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
		return;
	omap_snap_free(v->snap);
	free(v);
}

struct store_val *mvcc_view_get(const struct mvcc_view *v, struct str key)
{
	const struct version *head = omap_get(v->snap, key);

	return head && store_val_live(head->val) ? head->val : NULL;
}

static bool unbounded(struct str end)
{
	return end.n == 1 && end.p[0] == '\0';
}

bool store_in_range(struct str key, struct str start, struct str end)
{
	if (end.n == 0)
		return str_eq(key, start);
	return str_cmp(key, start) >= 0 && (unbounded(end) || str_cmp(key, end) < 0);
}

static struct store_val *version_at(const struct version *v, uint64_t rev)
{
	while (v && v->val->mod_rev > rev)
		v = v->older;
	return v && store_val_live(v->val) ? v->val : NULL;
}

struct collect {
	const struct store_range *r;
	struct store_val **vals;
	size_t cap;
	struct store_range_result res;
	int err;
};

static void collect_one(struct collect *c, struct store_val *v)
{
	c->res.count++;
	if (c->r->count_only)
		return;
	if (c->r->limit && c->res.n == c->r->limit) {
		c->res.more = true;
		return;
	}
	if (c->res.n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 16;
		struct store_val **p = reallocarray(c->vals, cap, sizeof(*p));
		if (!p) {
			c->err = -ENOMEM;
			return;
		}
		c->vals = p;
		c->cap = cap;
	}
	c->vals[c->res.n++] = v;
}

static void collect_range(struct collect *c, const struct mvcc_view *view, uint64_t rev)
{
	struct str end = c->r->end;
	struct omap_iter it;

	if (end.n == 0) {
		struct store_val *v = version_at(omap_get(view->snap, c->r->start), rev);
		if (v)
			collect_one(c, v);
		return;
	}
	for (bool ok = omap_seek(view->snap, c->r->start, &it); ok && c->err == 0;
		ok = omap_next(view->snap, &it)) {
		if (!unbounded(end) && str_cmp(it.key, end) >= 0)
			break;
		struct store_val *v = version_at(it.value, rev);
		if (v)
			collect_one(c, v);
	}
}

void mvcc_view_range(
	const struct mvcc_view *v, const struct store_range *r, store_range_cb *cb, void *arg)
{
	struct collect c = {.r = r, .res.rev = v->rev};
	struct err e = {0};

	if (r->rev > v->rev)
		err_set(&e, ERANGE, NULL, "revision %ju is in the future: the latest is %ju",
			(uintmax_t)r->rev, (uintmax_t)v->rev);
	else if (r->rev != 0 && r->rev < v->compact_rev)
		err_set(&e, ESTALE, "Expired",
			"revision %ju has been compacted: the oldest readable is %ju",
			(uintmax_t)r->rev, (uintmax_t)v->compact_rev);
	else
		collect_range(&c, v, r->rev ? r->rev : v->rev);
	if (c.err)
		err_set(&e, c.err, NULL, "out of memory while reading a range");
	c.res.vals = c.vals;
	cb(arg, e.code ? &e : NULL, e.code ? NULL : &c.res);
	free(c.vals);
}

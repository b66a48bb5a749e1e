/* SPDX-License-Identifier: Apache-2.0
 * Requests in another version than the stored one: events of events.k8s.io, autoscaling/v1, custom
 * resources, which are also completed when their definition changed since. */
#include "api/custom.h"
#include "apiserver/internal.h"

#include <errno.h>

static bool is_current(const struct kind *stored, const struct kind *asked, uint64_t rv)
{
	if (asked && asked->custom)
		return custom_is_current(asked, rv);
	return !stored || !asked || stored == asked;
}

bool served_as_stored(const struct req *r, uint64_t rv)
{
	return is_current(r->rt.res ? r->rt.res->kind : NULL, r->rt.kind, rv);
}

struct str as_version(const struct kind *stored, const struct kind *asked, struct str bytes,
	uint64_t rv, struct buf *scratch)
{
	AUTO_JSON json_t *obj = NULL;
	if (is_current(stored, asked, rv) || json_parse(bytes, &obj, NULL) < 0 ||
		api_convert(stored, asked, obj) < 0)
		return bytes;
	buf_clear(scratch);
	api_encode_json(asked->type, obj, scratch);
	return scratch->err ? bytes : buf_str(scratch);
}

struct str as_asked(const struct req *r, struct str bytes, uint64_t rv, struct buf *scratch)
{
	return as_version(r->rt.res ? r->rt.res->kind : NULL, r->rt.kind, bytes, rv, scratch);
}

/* Only the resource of the path has two versions at hand; other resources that a request writes
 * (the pod of an eviction) are in their own. */
static bool other_version(const struct write *w)
{
	return w->r->rt.res == w->res && w->r->rt.kind != w->res->kind;
}

void write_from_store(const struct write *w, json_t *old)
{
	if (other_version(w))
		(void)api_convert(w->res->kind, w->r->rt.kind, old);
}

void write_to_store(const struct write *w, json_t *obj)
{
	if (other_version(w))
		(void)api_convert(w->r->rt.kind, w->res->kind, obj);
}

/* SPDX-License-Identifier: Apache-2.0
 * Cached objects. */
#include <errno.h>
#include "client/cobj.h"

struct cobj *cobj_ref(struct cobj *o)
{
	if (o)
		o->refs++;
	return o;
}

void cobj_unref(struct cobj *o)
{
	if (!o || --o->refs > 0)
		return;
	if (o->decoded && o->free_decoded)
		o->free_decoded(o->decoded);
	free(o);
}

/* `"kind":"Pod","apiVersion":"v1",` or nothing; list items come without. */
static void missing_head(struct jv v, const struct resource *r, struct buf *out)
{
	if (!jv_present(jv_get(v, "kind")))
		buf_addf(out, "\"kind\":\"%s\",", r->kind);
	if (!jv_present(jv_get(v, "apiVersion")))
		buf_addf(out, "\"apiVersion\":\"%s%s%s\",", r->group, r->group[0] ? "/" : "",
			r->version);
}

static char *put(char **at, struct str s)
{
	char *p = *at;
	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	*at += s.n + 1;
	return p;
}

/* Room for the names and `more` bytes; *ret_at is where these go. */
static int item_new(struct jv v, size_t more, struct item **ret, char **ret_at)
{
	struct str ns = {0}, name = {0}, uid = {0};
	int64_t rv = -1;
	jv_each (it, jv_get(v, "metadata")) {
		if (str_eqz(it.key, "namespace"))
			ns = jv_raw_str(it.v);
		else if (str_eqz(it.key, "name"))
			name = jv_raw_str(it.v);
		else if (str_eqz(it.key, "uid"))
			uid = jv_raw_str(it.v);
		else if (str_eqz(it.key, "resourceVersion"))
			rv = jv_int(it.v, -1);
	}
	if (!name.n || rv < 0)
		return -EBADMSG;
	struct item *it = malloc(sizeof(*it) + ns.n + name.n + uid.n + 3 + more);
	if (!it)
		return -ENOMEM;
	char *at = (char *)(it + 1);
	*it = (struct item){.c = {.refs = 1, .rv = (uint64_t)rv}};
	list_init(&it->in_ns);
	it->c.ns = put(&at, ns);
	it->c.name = put(&at, name);
	it->c.uid = put(&at, uid);
	*ret = it;
	*ret_at = at;
	return 0;
}

int cobj_new(struct jv v, const struct resource *r, struct item **ret)
{
	AUTO_BUF struct buf head = {0};
	struct str body = jv_bytes(v);
	struct item *it;
	char *at;
	missing_head(v, r, &head);
	if (head.err || jv_type(v) != JV_OBJECT)
		return head.err ? head.err : -EBADMSG;
	int rc = item_new(v, head.len + body.n + 1, &it, &at);
	if (rc < 0)
		return rc;
	it->c.json = (struct str){at, head.len + body.n};
	*at++ = '{';
	if (head.len)
		memcpy(at, head.p, head.len);
	memcpy(at + head.len, body.p + 1, body.n - 1);
	at[head.len + body.n - 1] = '\0';
	it->c.v = jv_of(it->c.json);
	*ret = it;
	return 0;
}

int cobj_new_lean(struct jv v, struct item **ret)
{
	char *at;
	return item_new(v, 0, ret, &at);
}

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

int cobj_new(struct jv v, const struct resource *r, struct item **ret)
{
	AUTO_BUF struct buf head = {0};
	struct jv meta = jv_get(v, "metadata");
	struct str ns = jv_raw_str(jv_get(meta, "namespace"));
	struct str name = jv_raw_str(jv_get(meta, "name")), uid = jv_raw_str(jv_get(meta, "uid"));
	int64_t rv = jv_int(jv_get(meta, "resourceVersion"), -1);
	if (!name.n || rv < 0)
		return -EBADMSG;
	missing_head(v, r, &head);
	struct str body = jv_bytes(v);
	if (head.err)
		return -ENOMEM;
	struct item *it = malloc(sizeof(*it) + ns.n + name.n + uid.n + head.len + body.n + 4);
	if (!it)
		return -ENOMEM;
	char *at = (char *)(it + 1);
	*it = (struct item){.c = {.refs = 1, .rv = (uint64_t)rv}};
	list_init(&it->in_ns);
	it->c.ns = put(&at, ns);
	it->c.name = put(&at, name);
	it->c.uid = put(&at, uid);
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

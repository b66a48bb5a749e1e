/* SPDX-License-Identifier: Apache-2.0
 * Paths: /api/v1/..., /apis/GROUP/VERSION/... to a kind of the schema; everything else by a table.
 */
#include "apiserver/crd.h"
#include "apiserver/internal.h"

#include <errno.h>
#include <stdio.h>
#include "xebec/base/tls.h"
#include "xebec/base/version.h"

enum { SEGMENTS_MAX = 64 };

/* --- resource paths --- */

struct path {
	struct str seg[SEGMENTS_MAX];
	size_t n;
	const char *end;
};

static int split(struct arena *a, struct str path, struct path *ret)
{
	if (!path.n || path.p[0] != '/')
		return -EINVAL;
	path.p++, path.n--;
	while (path.n) {
		struct str s = str_cut(&path, '/');
		AUTO_BUF struct buf b = {0};
		if (url_decode(s, false, &b) < 0 || ret->n == SEGMENTS_MAX)
			return -EINVAL;
		if (!b.len && !path.n)
			break; /* a slash at the end */
		char *z = arena_strdup(a, buf_str(&b));
		if (!z)
			return -ENOMEM;
		ret->seg[ret->n++] = (struct str){z, b.len};
	}
	return 0;
}

static bool group_exists(struct apiserver *s, struct str group, struct str version)
{
	for (size_t i = 0; i < kind_count(); i++)
		if (str_eqz(group, kind_at(i)->group) &&
			(!version.n || str_eqz(version, kind_at(i)->version)))
			return true;
	return crds_has_group(s->crds, group, version);
}

/* The kind that a definition made, with references that the request gives back. */
static void find_custom(struct apiserver *s, struct route *rt)
{
	rt->def = crds_find(s->crds, rt->group, rt->plural, &rt->no_create);
	rt->kind = rt->def ? definition_kind(rt->def, rt->version) : NULL;
	if (rt->kind)
		rt->res = rt->owned = cache_custom(s->cache, rt->def->group, rt->def->plural);
	if (!rt->res)
		rt->kind = NULL;
}

/* /namespaces/X/Y: Y is a subresource of the namespace only when it is one of these. */
static bool namespace_sub(struct str s)
{
	return str_eqz(s, "status") || str_eqz(s, "finalize");
}

/* Everything after the subresource: the path that a proxy forwards. */
static struct str rest_of(struct arena *a, const struct path *p, size_t from)
{
	AUTO_BUF struct buf b = {0};
	for (size_t i = from; i < p->n; i++) {
		buf_addc(&b, '/');
		buf_add_str(&b, p->seg[i]);
	}
	char *z = arena_strdup(a, buf_str(&b));
	return (struct str){z ? z : "", z ? b.len : 0};
}

/* seg[i...]: [watch] [namespaces NS] PLURAL [NAME [SUB ...]] */
static enum route_result parse_resource(
	struct apiserver *s, struct arena *a, const struct path *p, size_t i, struct route *rt)
{
	if (i < p->n && str_eqz(p->seg[i], "watch")) {
		rt->legacy_watch = true;
		i++;
	}
	if (i >= p->n)
		return ROUTE_NOT_RESOURCE;
	bool in_ns = str_eqz(p->seg[i], "namespaces") && i + 2 < p->n &&
		     !(p->n == i + 3 && namespace_sub(p->seg[i + 2]));
	if (in_ns) {
		rt->ns = p->seg[i + 1];
		i += 2;
	}
	rt->plural = p->seg[i++];
	rt->kind = kind_by_resource(rt->group, rt->version, rt->plural);
	if (!rt->kind)
		find_custom(s, rt);
	if (!rt->kind)
		return ROUTE_NO_RESOURCE;
	if (in_ns && !rt->kind->namespaced)
		return ROUTE_NO_RESOURCE;
	if (i < p->n)
		rt->name = p->seg[i++];
	if (i < p->n)
		rt->sub = p->seg[i++];
	rt->rest = i < p->n ? rest_of(a, p, i) : (struct str){0};
	if (rt->kind->namespaced && rt->name.n && !rt->ns.n)
		return ROUTE_NO_RESOURCE;
	if (!rt->res)
		rt->res = cache_resource(s->cache, rt->kind);
	return ROUTE_OK;
}

enum route_result route_parse(
	struct apiserver *s, struct arena *a, struct str path, struct route *rt)
{
	struct path p = {0};
	if (split(a, path, &p) < 0)
		return ROUTE_NO_GROUP;
	size_t i;
	if (p.n > 2 && str_eqz(p.seg[0], "api")) {
		rt->group = STR("");
		rt->version = p.seg[1];
		i = 2;
	} else if (p.n > 3 && str_eqz(p.seg[0], "apis")) {
		rt->group = p.seg[1];
		rt->version = p.seg[2];
		i = 3;
	} else {
		return ROUTE_NOT_RESOURCE;
	}
	if (!group_exists(s, rt->group, rt->version))
		return ROUTE_NO_GROUP;
	return parse_resource(s, a, &p, i, rt);
}

/* --- other paths --- */

static void plain_json(struct req *r, const struct buf *b)
{
	reply_bytes(r, 200, "application/json", buf_str(b));
}

/* A published document with a strong ETag: 304 when the client has it. */
static void published(struct req *r, const char *type, const struct buf *b)
{
	unsigned char sum[32];
	sha256(buf_str(b), sum);
	char etag[2 * 32 + 3] = "\"";
	for (size_t i = 0; i < 32; i++)
		(void)snprintf(etag + 1 + 2 * i, 3, "%02X", sum[i]);
	etag[65] = '"';
	etag[66] = '\0';
	struct str have = http_header_get(r->x, "if-none-match");
	bool same = have.n && memmem(have.p, have.n, etag + 1, 64);
	struct http_header h[] = {{STR("etag"), str_of(etag)}, {STR("vary"), STR("Accept")},
		{STR("cache-control"), STR("public")}, {STR("content-type"), str_of(type)}};
	r->x->ops->start(r->x, same ? 304 : 200, h, same ? 3 : 4);
	if (!same)
		r->x->ops->write(r->x, b->p, b->len);
	req_finished(r, same ? 304 : 200);
}

/* Aggregated discovery only for who names exactly this form. */
static bool wants_aggregated(struct req *r)
{
	struct str h = http_header_get(r->x, "accept");
	while (h.n) {
		struct str one = str_cut(&h, ',');
		if (memmem(one.p, one.n, "as=APIGroupDiscoveryList", 24) &&
			memmem(one.p, one.n, "g=apidiscovery.k8s.io", 21) &&
			(memmem(one.p, one.n, "v=v2;", 5) ||
				(one.n >= 4 && memcmp(one.p + one.n - 4, "v=v2", 4) == 0)))
			return true;
		if (memmem(one.p, one.n, "application/json", 16) && !memmem(one.p, one.n, "as=", 3))
			return false; /* plain comes first */
	}
	return false;
}

static void discovery(struct req *r, const struct kinds *ks, bool core)
{
	AUTO_BUF struct buf b = {0};
	if (wants_aggregated(r)) {
		discovery_aggregated(ks, core, &b);
		published(r, "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
			&b);
		return;
	}
	if (core)
		buf_addf(&b,
			"{\"kind\":\"APIVersions\",\"versions\":[\"v1\"],"
			"\"serverAddressByClientCIDRs\":[{\"clientCIDR\":\"0.0.0.0/0\","
			"\"serverAddress\":\"%s\"}]}",
			r->srv->advertise ? r->srv->advertise : "");
	else
		discovery_groups(ks, &b);
	published(r, "application/json", &b);
}

static bool path_api(struct req *r, const struct kinds *ks, struct str rest)
{
	if (rest.n && !str_eqz(rest, "/")) {
		AUTO_BUF struct buf b = {0};
		struct str version = {rest.p + 1, rest.n - 1};
		if (version.p[version.n - 1] == '/')
			version.n--;
		if (discovery_resources(ks, STR(""), version, &b) < 0)
			return false;
		plain_json(r, &b);
		return true;
	}
	discovery(r, ks, true);
	return true;
}

/* The APIGroup of one group, cut out of the list of all. */
static bool one_group(struct req *r, const struct kinds *ks, struct str group)
{
	AUTO_BUF struct buf all = {0};
	AUTO_BUF struct buf b = {0};
	discovery_groups(ks, &all);
	jv_each (it, jv_get(jv_of(buf_str(&all)), "groups")) {
		struct str g = jv_bytes(it.v);
		if (!str_eq(jv_raw_str(jv_get(it.v, "name")), group) || g.n < 2)
			continue;
		buf_adds(&b, "{\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
		buf_add(&b, g.p + 1, g.n - 1);
		plain_json(r, &b);
		return true;
	}
	return false;
}

static bool path_apis(struct req *r, const struct kinds *ks, struct str rest)
{
	if (!rest.n || str_eqz(rest, "/")) {
		discovery(r, ks, false);
		return true;
	}
	rest.p++, rest.n--;
	struct str group = str_cut(&rest, '/');
	if (!group.n)
		return false;
	if (!rest.n)
		return one_group(r, ks, group);
	if (rest.p[rest.n - 1] == '/')
		rest.n--;
	AUTO_BUF struct buf b = {0};
	if (discovery_resources(ks, group, rest, &b) < 0)
		return false;
	plain_json(r, &b);
	return true;
}

static bool path_version(struct req *r, struct str rest)
{
	if (rest.n)
		return false;
	AUTO_BUF struct buf b = {0};
	buf_addf(&b,
		"{\"major\":\"1\",\"minor\":\"36\",\"emulationMajor\":\"1\",\"emulationMinor\":"
		"\"36\","
		"\"minCompatibilityMajor\":\"1\",\"minCompatibilityMinor\":\"35\","
		"\"gitVersion\":\"v1.36.0-xebec+%s\",\"gitCommit\":\"%s\",\"gitTreeState\":"
		"\"clean\","
		"\"buildDate\":\"2026-01-01T00:00:00Z\",\"goVersion\":\"none\",\"compiler\":"
		"\"gcc\","
		"\"platform\":\"linux/amd64\"}",
		xebec_version(), xebec_version());
	plain_json(r, &b);
	return true;
}

static bool path_health(struct req *r, struct str rest)
{
	bool ready = str_starts(r->path, "/livez") || atomic_load(&r->srv->ready);
	bool verbose = req_query(r, "verbose").p != NULL;
	static const char *const checks[] = {"ping", "log", "etcd", "informer-sync"};
	if (rest.n > 1) { /* one check */
		for (size_t i = 0; i < ARRAY_LEN(checks); i++)
			if (str_eqz((struct str){rest.p + 1, rest.n - 1}, checks[i])) {
				reply_text(r, ready ? 200 : 500, ready ? "ok" : "not ready");
				return true;
			}
		return false;
	}
	if (!verbose) {
		reply_text(r, ready ? 200 : 500, ready ? "ok" : "not ready");
		return true;
	}
	AUTO_BUF struct buf b = {0};
	for (size_t i = 0; i < ARRAY_LEN(checks); i++)
		buf_addf(&b, "[%c]%s %s\n", ready ? '+' : '-', checks[i], ready ? "ok" : "failed");
	struct str p = r->path;
	buf_addf(&b, "%.*s check %s\n", (int)p.n - 1, p.p + 1, ready ? "passed" : "failed");
	reply_bytes(r, ready ? 200 : 500, "text/plain; charset=utf-8", buf_str(&b));
	return true;
}

static bool path_metrics(struct req *r, struct str rest)
{
	if (rest.n)
		return false;
	AUTO_BUF struct buf b = {0};
	metrics_write(r->srv, &b);
	reply_bytes(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_str(&b));
	return true;
}

static bool path_openapi_v3(struct req *r, const struct kinds *ks, struct str rest)
{
	AUTO_BUF struct buf b = {0};
	struct str enc = http_header_get(r->x, "accept-encoding");
	r->gzip_ok = enc.n >= 4 && memmem(enc.p, enc.n, "gzip", 4) != NULL;
	if (!rest.n || str_eqz(rest, "/")) {
		openapi_v3_index(ks, xebec_version(), &b);
		published(r, "application/json", &b);
		return true;
	}
	rest.p++, rest.n--;
	struct str root = str_cut(&rest, '/'), group = {"", 0};
	if (str_eqz(root, "apis"))
		group = str_cut(&rest, '/');
	else if (!str_eqz(root, "api"))
		return false;
	if (openapi_v3_group(ks, group, rest, &b) < 0)
		return false;
	reply_bytes(r, 200, "application/json", buf_str(&b));
	return true;
}

static bool path_openapi_v2(struct req *r, const struct kinds *ks, struct str rest)
{
	AUTO_BUF struct buf b = {0};
	struct str enc = http_header_get(r->x, "accept-encoding"),
		   acc = http_header_get(r->x, "accept");
	r->gzip_ok = enc.n >= 4 && memmem(enc.p, enc.n, "gzip", 4) != NULL;
	bool pb = acc.n > 8 && memmem(acc.p, acc.n, "protobuf", 8) != NULL;
	if (rest.n || (pb ? openapi_v2_gnostic(ks, &b) : openapi_v2_json(ks, &b)) < 0)
		return false;
	reply_bytes(r, 200,
		pb ? "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" /* Go refuses the
										     @ */
		   : "application/json",
		buf_str(&b));
	return true;
}

static bool path_jwks(struct req *r, struct str rest)
{
	if (rest.n || !r->srv->jwt)
		return false;
	AUTO_BUF struct buf b = {0};
	jwt_jwks(r->srv->jwt, &b);
	reply_bytes(r, 200, "application/jwk-set+json", buf_str(&b));
	return true;
}

static bool path_oidc(struct req *r, struct str rest)
{
	if ((rest.n && !str_eqz(rest, "/")) || !r->srv->jwt)
		return false;
	AUTO_BUF struct buf b = {0};
	buf_addf(&b,
		"{\"issuer\":\"%s\",\"jwks_uri\":\"https://%s/openid/v1/jwks\","
		"\"response_types_supported\":[\"id_token\"],"
		"\"subject_types_supported\":[\"public\"],"
		"\"id_token_signing_alg_values_supported\":[\"ES256\"]}",
		r->srv->issuer, r->srv->advertise ? r->srv->advertise : "kubernetes.default.svc");
	plain_json(r, &b);
	return true;
}

static bool path_root(struct req *r, struct str rest)
{
	if (rest.n)
		return false;
	AUTO_BUF struct buf b = {0};
	buf_adds(&b,
		"{\"paths\":[\"/api\",\"/api/v1\",\"/apis\",\"/healthz\",\"/livez\",\"/metrics\","
		"\"/openapi/v3\",\"/openid/v1/jwks\",\"/readyz\",\"/version\"]}");
	plain_json(r, &b);
	return true;
}

static const struct {
	const char *path;
	bool (*fn)(struct req *r, struct str rest);
	/* what lists the kinds there are */
	bool (*of_kinds)(struct req *r, const struct kinds *ks, struct str rest);
} path_rows[] = {
	{"/apis", NULL, path_apis},
	{"/api", NULL, path_api},
	{"/version", path_version, NULL},
	{"/healthz", path_health, NULL},
	{"/livez", path_health, NULL},
	{"/readyz", path_health, NULL},
	{"/metrics", path_metrics, NULL},
	{"/openapi/v2", NULL, path_openapi_v2},
	{"/openapi/v3", NULL, path_openapi_v3},
	{"/openid/v1/jwks", path_jwks, NULL},
	{"/.well-known/openid-configuration", path_oidc, NULL},
	{"/", path_root, NULL},
};

bool path_nonresource(struct req *r)
{
	if (!str_eqz(r->method, "GET") && !str_eqz(r->method, "HEAD"))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(path_rows); i++) {
		size_t n = strlen(path_rows[i].path);
		if (!str_starts(r->path, path_rows[i].path))
			continue;
		struct str rest = {r->path.p + n, r->path.n - n};
		if (n > 1 && rest.n && *rest.p != '/')
			continue;
		if (path_rows[i].fn)
			return path_rows[i].fn(r, rest);
		struct registry *g = crds_registry(r->srv->crds);
		bool known = path_rows[i].of_kinds(r, &g->kinds, rest);
		registry_unref(g);
		return known;
	}
	return false;
}

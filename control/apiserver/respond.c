/* SPDX-License-Identifier: Apache-2.0
 * Answers: content negotiation, objects with their resourceVersion spliced in, Status errors. */
#include "apiserver/internal.h"
#include "xebec/base/httpd.h"

#include <errno.h>
#include <stdarg.h>
#include <zlib.h>
#include "xebec/base/tls.h"
#include "xebec/base/yaml.h"

enum { GZIP_FROM = 128 * 1024, WARNINGS_MAX = 64 };

/* --- Accept --- */

/* Value of a media type parameter ("as"), empty when absent. */
static struct str media_param(struct str range, const char *name)
{
	(void)str_cut(&range, ';');
	while (range.n) {
		struct str p = str_cut(&range, ';');
		while (p.n && *p.p == ' ')
			p.p++, p.n--;
		struct str k = str_cut(&p, '=');
		if (str_eqz(k, name))
			return p;
	}
	return (struct str){0};
}

static bool accept_media(struct str type, enum media *ret)
{
	static const struct {
		const char *name;
		enum media media;
	} rows[] = {{"application/json", MEDIA_JSON}, {"*/*", MEDIA_JSON},
		{"application/*", MEDIA_JSON}, {"application/yaml", MEDIA_YAML},
		{"application/vnd.kubernetes.protobuf", MEDIA_PROTOBUF}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (str_eqz(type, rows[i].name)) {
			*ret = rows[i].media;
			return true;
		}
	return false;
}

/* One range of the header; false when it asks for something that is not served. */
static bool accept_range(struct str range, struct accept *a)
{
	struct str rest = range, type = str_cut(&rest, ';');
	while (type.n && type.p[type.n - 1] == ' ')
		type.n--;
	struct accept got = {.form = FORM_OBJECT};
	if (!accept_media(type, &got.media))
		return false;
	struct str as = media_param(range, "as"), g = media_param(range, "g"),
		   v = media_param(range, "v");
	if (as.n && (!str_eqz(g, "meta.k8s.io") || !str_eqz(v, "v1")))
		return false;
	if (str_eqz(as, "Table"))
		got.form = FORM_TABLE;
	else if (str_eqz(as, "PartialObjectMetadata") || str_eqz(as, "PartialObjectMetadataList"))
		got.form = FORM_PARTIAL;
	else if (as.n)
		return false;
	if (got.form != FORM_OBJECT && got.media == MEDIA_PROTOBUF)
		return false;
	*a = got;
	return true;
}

int negotiate(struct req *r, struct err *e)
{
	r->accept = (struct accept){.form = FORM_OBJECT, .media = MEDIA_JSON};
	struct str h = http_header_get(r->x, "accept");
	if (!h.n)
		return 0;
	bool only_pb = false;
	while (h.n) {
		struct str range = str_cut(&h, ',');
		while (range.n && *range.p == ' ')
			range.p++, range.n--;
		struct accept a;
		if (!accept_range(range, &a))
			continue;
		/* JSON is what is stored: protobuf only for those who take nothing else. */
		if (a.media == MEDIA_PROTOBUF) {
			only_pb = true;
			continue;
		}
		r->accept = a;
		return 0;
	}
	if (only_pb && !(r->rt.kind && r->rt.kind->custom)) {
		r->accept.media = MEDIA_PROTOBUF;
		return 0;
	}
	return err_set(e, EINVAL, "NotAcceptable",
		"only the following media types are accepted: application/json, "
		"application/yaml, application/vnd.kubernetes.protobuf");
}

/* --- start --- */

void warn(struct req *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (r->warnings.n < WARNINGS_MAX)
		cause_add(&r->warnings, "", "", "%s", text);
}

static const char *warning_header(struct req *r, const char *text)
{
	AUTO_BUF struct buf b = {0};
	buf_adds(&b, "299 - \"");
	for (const char *p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			buf_addc(&b, '\\');
		buf_addc(&b, (unsigned char)*p < 0x20 ? ' ' : *p);
	}
	buf_addc(&b, '"');
	return arena_strdup(&r->arena, buf_str(&b));
}

static void start_with(struct req *r, int status, const char *type, bool gzip)
{
	struct http_header h[WARNINGS_MAX + 8];
	size_t n = 0;
	char *id = arena_alloc(&r->arena, 40);
	if (id)
		uuid4(id);
	h[n++] = (struct http_header){STR("audit-id"), str_of(id ? id : "")};
	h[n++] = (struct http_header){STR("cache-control"), STR("no-cache, private")};
	h[n++] = (struct http_header){STR("content-type"), str_of(type)};
	if (gzip) {
		h[n++] = (struct http_header){STR("content-encoding"), STR("gzip")};
		h[n++] = (struct http_header){STR("vary"), STR("Accept-Encoding")};
	}
	if (status == 429)
		h[n++] = (struct http_header){STR("retry-after"), STR("10")};
	for (size_t i = 0; i < r->warnings.n && i < WARNINGS_MAX; i++) {
		const char *w = warning_header(r, r->warnings.v[i].message);
		if (w)
			h[n++] = (struct http_header){STR("warning"), str_of(w)};
	}
	r->status = status;
	r->x->ops->start(r->x, status, h, n);
}

void reply_start(struct req *r, int status, const char *type)
{
	start_with(r, status, type, false);
}

static int gzip_all(struct str in, struct buf *out)
{
	z_stream z = {0};
	if (deflateInit2(&z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	size_t bound = deflateBound(&z, in.n);
	int rc = buf_reserve(out, bound);
	if (rc == 0) {
		z.next_in = (Bytef *)(uintptr_t)in.p;
		z.avail_in = (uInt)in.n;
		z.next_out = (Bytef *)out->p;
		z.avail_out = (uInt)bound;
		rc = deflate(&z, Z_FINISH) == Z_STREAM_END ? 0 : -EIO;
		out->len = bound - z.avail_out;
	}
	deflateEnd(&z);
	return rc;
}

void reply_bytes(struct req *r, int status, const char *type, struct str body)
{
	if (!r->x)
		return;
	AUTO_BUF struct buf z = {0};
	bool gzip = r->gzip_ok && body.n >= GZIP_FROM && gzip_all(body, &z) == 0;
	if (gzip)
		body = buf_str(&z);
	start_with(r, status, type, gzip);
	r->x->ops->write(r->x, body.p, body.n);
	req_finished(r, status);
}

void reply_text(struct req *r, int status, const char *text)
{
	reply_bytes(r, status, "text/plain; charset=utf-8", str_of(text));
}

/* --- Status --- */

void reply_form(struct req *r, int status, struct str json)
{
	if (r->accept.media != MEDIA_YAML) {
		reply_bytes(r, status, "application/json", json);
		return;
	}
	AUTO_JSON json_t *j = NULL;
	AUTO_JSON json_t *sorted = NULL;
	AUTO_BUF struct buf y = {0};
	if (json_parse(json, &j, NULL) == 0) { /* members in the order of their names */
		AUTO_FREE char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);
		sorted = text ? json_loads(text, 0, NULL) : NULL;
	}
	if (!sorted || yaml_write(sorted, &y) < 0)
		reply_bytes(r, status, "application/json", json);
	else
		reply_bytes(r, status, "application/yaml", buf_str(&y));
}

void reply_error_kind(struct req *r, const struct err *e, const struct kind *k, const char *name)
{
	if (!r->x)
		return;
	AUTO_BUF struct buf b = {0};
	status_write(&b, e, k, name, &r->causes);
	r->accept.form = FORM_OBJECT;
	reply_form(r, err_http_status(e), buf_str(&b));
}

const struct kind no_kind = {.group = "", .kind = "", .plural = "", .version = ""};

void reply_error(struct req *r, const struct err *e)
{
	if (e->reason &&
		(strcmp(e->reason, "BadRequest") == 0 || strcmp(e->reason, "InternalError") == 0)) {
		reply_error_kind(r, e, NULL, NULL);
		return;
	}
	if (r->plain_error) { /* says nothing of the object */
		reply_error_kind(r, e, &no_kind, NULL);
		return;
	}
	char *name = r->rt.name.n ? arena_strdup(&r->arena, r->rt.name) : NULL;
	reply_error_kind(r, e, r->rt.kind, name);
}

void reply_status_ok(struct req *r, int status, const char *name, const char *group,
	const char *plural, const char *uid)
{
	AUTO_BUF struct buf b = {0};
	buf_adds(&b, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"
		     "\"Success\"");
	if (name) {
		buf_adds(&b, ",\"details\":{\"name\":");
		buf_add_json_str(&b, str_of(name));
		if (group && *group)
			buf_addf(&b, ",\"group\":\"%s\"", group);
		buf_addf(&b, ",\"kind\":\"%s\"", plural);
		if (uid && *uid)
			buf_addf(&b, ",\"uid\":\"%s\"", uid);
		buf_addc(&b, '}');
	}
	if (status != 200 || !name)
		buf_addf(&b, ",\"code\":%d", status);
	buf_addc(&b, '}');
	r->accept.form = FORM_OBJECT;
	reply_form(r, status, buf_str(&b));
}

/* --- objects --- */

struct str obj_uid(struct jv v)
{
	return jv_raw_str(jv_path(v, "metadata.uid"));
}

/* The metadata object with its revision, from '{' to '}'. */
static void metadata_write(struct str meta, uint64_t rv, struct buf *out)
{
	buf_adds(out, "{");
	if (rv) {
		buf_adds(out, "\"resourceVersion\":\"");
		buf_add_u64(out, rv);
		buf_addc(out, '"');
		if (meta.n > 2)
			buf_addc(out, ',');
	}
	buf_add(out, meta.p + 1, meta.n - 1);
}

void obj_write(struct str bytes, uint64_t rv, bool item, struct buf *out)
{
	struct str meta = jv_bytes(jv_get(jv_of(bytes), "metadata"));
	const size_t label = sizeof("\"metadata\":") - 1;
	if (!meta.p || meta.n < 2) { /* not an object of ours: as it is */
		buf_add_str(out, bytes);
		return;
	}
	if (item) {
		buf_addc(out, '{');
		buf_adds(out, "\"metadata\":");
	} else {
		buf_add(out, bytes.p, (size_t)(meta.p - bytes.p));
	}
	(void)label;
	metadata_write(meta, rv, out);
	const char *rest = meta.p + meta.n;
	buf_add(out, rest, (size_t)(bytes.p + bytes.n - rest));
}

void obj_write_partial(struct str bytes, uint64_t rv, struct buf *out)
{
	buf_adds(out, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\","
		      "\"metadata\":");
	struct str meta = jv_bytes(jv_get(jv_of(bytes), "metadata"));
	metadata_write(meta.n >= 2 ? meta : STR("{}"), rv, out);
	buf_addc(out, '}');
}

void table_begin(struct buf *out, const struct kind *k, struct str list_meta, bool columns)
{
	buf_adds(out, "{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":");
	buf_add_str(out, list_meta);
	buf_adds(out, ",\"columnDefinitions\":");
	if (columns)
		table_columns(k, out);
	else
		buf_adds(out, "null");
	buf_adds(out, ",\"rows\":[");
}

void table_end(struct buf *out)
{
	buf_adds(out, "]}");
}

/* Protobuf for the rare client that takes nothing else. */
static void reply_pb(struct req *r, int status, struct str json, const struct type *t)
{
	AUTO_JSON json_t *j = NULL;
	AUTO_BUF struct buf b = {0};
	struct err e = {0};
	if (!t || json_parse(json, &j, &e) < 0 ||
		api_encode_pb_envelope(
			t, json_str(j, "apiVersion", ""), json_str(j, "kind", ""), j, &b) < 0) {
		reply_bytes(r, status, "application/json", json);
		return;
	}
	reply_bytes(r, status, "application/vnd.kubernetes.protobuf", buf_str(&b));
}

void reply_obj(struct req *r, int status, struct str bytes, uint64_t rv)
{
	if (!r->x)
		return;
	AUTO_BUF struct buf b = {0}, scratch = {0};
	const struct kind *k = r->rt.kind;
	bytes = as_asked(r, bytes, rv, &scratch);
	if (r->accept.form == FORM_TABLE) {
		char meta[64];
		(void)snprintf(meta, sizeof(meta), "{\"resourceVersion\":\"%llu\"}",
			(unsigned long long)rv);
		table_begin(&b, k, str_of(meta), true);
		table_row(k, jv_of(bytes), rv, r->list.include, r->now_ns, &b);
		table_end(&b);
	} else if (r->accept.form == FORM_PARTIAL) {
		obj_write_partial(bytes, rv, &b);
	} else {
		obj_write(bytes, rv, false, &b);
		if (r->accept.media == MEDIA_PROTOBUF) {
			reply_pb(r, status, buf_str(&b), k->type);
			return;
		}
	}
	reply_form(r, status, buf_str(&b));
}

void reply_json(struct req *r, int status, const json_t *j, const struct type *t)
{
	AUTO_BUF struct buf b = {0};
	if (t)
		api_encode_json(t, j, &b);
	else
		json_write(j, &b);
	if (r->accept.media == MEDIA_PROTOBUF && t)
		reply_pb(r, status, buf_str(&b), t);
	else
		reply_form(r, status, buf_str(&b));
}

const char *apiserver_refusal(const struct httpd_config *c, int status, struct buf *body)
{
	static const struct {
		int status;
		const char *reason, *message;
	} rows[] = {{400, "BadRequest", "malformed HTTP request"},
		{408, "Timeout", "the request did not arrive in time"},
		{413, "RequestEntityTooLarge", "Request entity too large: limit is "},
		{431, "", "request line and headers are too large: limit is "},
		{503, "ServiceUnavailable", "the server is short of memory"}};
	size_t i = 0;
	while (i + 1 < ARRAY_LEN(rows) && rows[i].status != status)
		i++;
	buf_addf(body,
		"{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
		"\"status\":\"Failure\",\"message\":\"%s",
		rows[i].message);
	if (status == 413 || status == 431)
		buf_addf(body, "%zu", status == 413 ? c->max_body : c->max_header);
	if (*rows[i].reason)
		buf_addf(body, "\",\"reason\":\"%s", rows[i].reason);
	buf_addf(body, "\",\"code\":%d}", status);
	return "application/json";
}

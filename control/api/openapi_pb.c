/* SPDX-License-Identifier: Apache-2.0
 * OpenAPI v2 as the protobuf message openapi.v2.Document of github.com/google/gnostic: the only
 * form in which kubectl reads v2. The JSON document is walked with one small table a message. */
#include <errno.h>
#include "api/api.h"
#include "xebec/base/jv.h"

struct msg;
enum how {
	H_STRING,
	H_STRINGS, /* list of strings, or one */
	H_BOOL,
	H_MSG,	    /* .msg */
	H_MSGS,	    /* list of .msg */
	H_NAMED,    /* object: repeated {1 name, 2 .msg} inside one message, field .inner */
	H_SCHEMA_1, /* a message that holds one Schema in field 1 */
	H_TYPE,	    /* TypeItem: strings in field 1 */
	H_ANYS,	    /* list of Any{yaml} */
	H_PARAMS,   /* list of ParametersItem */
};
struct row {
	const char *json;
	unsigned number;
	enum how how;
	const struct msg *msg;
	unsigned inner;
};
struct msg {
	const struct row *rows; /* ends with json NULL */
	unsigned extension;	/* field of "x-..." members, 0 = none */
};

static const struct msg schema_msg, response_msg, operation_msg, path_msg;

static const struct row schema_rows[] = {
	{"$ref", 1, H_STRING, NULL, 0},
	{"format", 2, H_STRING, NULL, 0},
	{"description", 4, H_STRING, NULL, 0},
	{"required", 19, H_STRINGS, NULL, 0},
	{"enum", 20, H_ANYS, NULL, 0},
	{"additionalProperties", 21, H_SCHEMA_1, NULL, 0},
	{"type", 22, H_TYPE, NULL, 0},
	{"items", 23, H_SCHEMA_1, NULL, 0},
	{"properties", 25, H_NAMED, &schema_msg, 1},
	{NULL, 0, H_STRING, NULL, 0},
};
static const struct msg schema_msg = {schema_rows, 31};

static const struct row body_rows[] = {
	{"description", 1, H_STRING, NULL, 0},
	{"name", 2, H_STRING, NULL, 0},
	{"in", 3, H_STRING, NULL, 0},
	{"required", 4, H_BOOL, NULL, 0},
	{"schema", 5, H_MSG, &schema_msg, 0},
	{NULL, 0, H_STRING, NULL, 0},
};
static const struct msg body_msg = {body_rows, 0};

static const struct row query_rows[] = {
	{"required", 1, H_BOOL, NULL, 0},
	{"in", 2, H_STRING, NULL, 0},
	{"description", 3, H_STRING, NULL, 0},
	{"name", 4, H_STRING, NULL, 0},
	{"type", 6, H_STRING, NULL, 0},
	{"uniqueItems", 20, H_BOOL, NULL, 0},
	{NULL, 0, H_STRING, NULL, 0},
};
static const struct msg query_msg = {query_rows, 0};

static const struct row path_param_rows[] = {
	{"required", 1, H_BOOL, NULL, 0},
	{"in", 2, H_STRING, NULL, 0},
	{"description", 3, H_STRING, NULL, 0},
	{"name", 4, H_STRING, NULL, 0},
	{"type", 5, H_STRING, NULL, 0},
	{"uniqueItems", 19, H_BOOL, NULL, 0},
	{NULL, 0, H_STRING, NULL, 0},
};
static const struct msg path_param_msg = {path_param_rows, 0};

static const struct row response_inner_rows[] = {
	{"description", 1, H_STRING, NULL, 0},
	{"schema", 2, H_SCHEMA_1, NULL, 0},
	{NULL, 0, H_STRING, NULL, 0},
};
static const struct msg response_inner_msg = {response_inner_rows, 0};
static const struct msg response_msg = {NULL, 0}; /* ResponseValue{1: Response} */

static const struct row operation_rows[] = {
	{"tags", 1, H_STRINGS, NULL, 0},
	{"description", 3, H_STRING, NULL, 0},
	{"operationId", 5, H_STRING, NULL, 0},
	{"parameters", 8, H_PARAMS, NULL, 0},
	{"responses", 9, H_NAMED, &response_msg, 1},
	{NULL, 0, H_STRING, NULL, 0},
};
static const struct msg operation_msg = {operation_rows, 13};

static const struct row path_rows[] = {
	{"get", 2, H_MSG, &operation_msg, 0},
	{"put", 3, H_MSG, &operation_msg, 0},
	{"post", 4, H_MSG, &operation_msg, 0},
	{"delete", 5, H_MSG, &operation_msg, 0},
	{"patch", 8, H_MSG, &operation_msg, 0},
	{"parameters", 9, H_PARAMS, NULL, 0},
	{NULL, 0, H_STRING, NULL, 0},
};
static const struct msg path_msg = {path_rows, 10};

static const struct row info_rows[] = {
	{"title", 1, H_STRING, NULL, 0},
	{"version", 2, H_STRING, NULL, 0},
	{NULL, 0, H_STRING, NULL, 0},
};
static const struct msg info_msg = {info_rows, 0};

static const struct row document_rows[] = {
	{"swagger", 1, H_STRING, NULL, 0},
	{"info", 2, H_MSG, &info_msg, 0},
	{"paths", 8, H_NAMED, &path_msg, 2},
	{"definitions", 9, H_NAMED, &schema_msg, 1},
	{NULL, 0, H_STRING, NULL, 0},
};
static const struct msg document_msg = {document_rows, 16};

static void add_varint(struct buf *out, uint64_t v)
{
	while (v >= 0x80) {
		buf_addc(out, (char)(v | 0x80));
		v >>= 7;
	}
	buf_addc(out, (char)v);
}

static void add_bytes(struct buf *out, unsigned number, const void *p, size_t n)
{
	add_varint(out, (uint64_t)number << 3 | 2);
	add_varint(out, n);
	buf_add(out, p, n);
}

/* A length-delimited field whose length is known only at the end: the body is written first, then
 * moved up by the bytes that its length needs. */
static size_t open_msg(struct buf *out, unsigned number)
{
	add_varint(out, (uint64_t)number << 3 | 2);
	return out->len;
}

static void close_msg(struct buf *out, size_t at)
{
	AUTO_BUF struct buf head = {0};
	size_t n = out->len - at;
	add_varint(&head, n);
	buf_add(out, "\0\0\0\0\0\0\0\0\0", head.len);
	if (out->err || head.err)
		return;
	memmove(out->p + at + head.len, out->p + at, n);
	memcpy(out->p + at, head.p, head.len);
}

static void add_message(struct buf *out, const struct msg *m, struct jv v);

static void add_string(struct buf *out, unsigned number, struct jv v)
{
	AUTO_BUF struct buf t = {0};
	jv_unescape(v, &t);
	add_bytes(out, number, t.p ? t.p : "", t.len);
}

/* Any{2: yaml}; JSON is YAML. */
static void add_any(struct buf *out, unsigned number, struct jv v)
{
	size_t at = open_msg(out, number);
	struct str s = jv_bytes(v);
	if (jv_type(v) == JV_STRING)
		add_string(out, 2, v);
	else
		add_bytes(out, 2, s.p, s.n);
	close_msg(out, at);
}

static void add_param(struct buf *out, unsigned number, struct jv v)
{
	bool body = jv_is_str(jv_get(v, "in"), "body"), path = jv_is_str(jv_get(v, "in"), "path");
	size_t item = open_msg(out, number), param = open_msg(out, 1), non_body, inner;
	if (body) {
		inner = open_msg(out, 1);
		add_message(out, &body_msg, v);
		close_msg(out, inner);
	} else {
		non_body = open_msg(out, 2);
		inner = open_msg(out, path ? 4 : 3);
		add_message(out, path ? &path_param_msg : &query_msg, v);
		close_msg(out, inner);
		close_msg(out, non_body);
	}
	close_msg(out, param);
	close_msg(out, item);
}

static void add_wrapped(
	struct buf *out, unsigned outer, unsigned inner, const struct msg *m, struct jv v)
{
	size_t a = open_msg(out, outer), b = open_msg(out, inner);
	add_message(out, m, v);
	close_msg(out, b);
	close_msg(out, a);
}

static void add_named(struct buf *out, const struct row *r, struct jv v)
{
	size_t all = open_msg(out, r->number), one, body;
	jv_each (it, v) {
		one = open_msg(out, r->inner);
		add_bytes(out, 1, it.key.p, it.key.n);
		if (r->msg == &response_msg) {
			add_wrapped(out, 2, 1, &response_inner_msg, it.v);
		} else {
			body = open_msg(out, 2);
			add_message(out, r->msg, it.v);
			close_msg(out, body);
		}
		close_msg(out, one);
	}
	close_msg(out, all);
}

static void add_list(struct buf *out, const struct row *r, struct jv v)
{
	jv_each (it, v) {
		if (r->how == H_STRINGS)
			add_string(out, r->number, it.v);
		else if (r->how == H_ANYS)
			add_any(out, r->number, it.v);
		else
			add_param(out, r->number, it.v);
	}
}

static void add_row(struct buf *out, const struct row *r, struct jv v)
{
	size_t at;
	switch (r->how) {
	case H_STRING:
		add_string(out, r->number, v);
		break;
	case H_BOOL:
		add_varint(out, (uint64_t)r->number << 3);
		buf_addc(out, jv_bool(v, false) ? 1 : 0);
		break;
	case H_SCHEMA_1:
		add_wrapped(out, r->number, 1, &schema_msg, v);
		break;
	case H_TYPE:
		at = open_msg(out, r->number);
		add_string(out, 1, v);
		close_msg(out, at);
		break;
	case H_NAMED:
		add_named(out, r, v);
		break;
	case H_MSG:
	case H_MSGS:
		at = open_msg(out, r->number);
		add_message(out, r->msg, v);
		close_msg(out, at);
		break;
	default:
		add_list(out, r, v);
	}
}

static void add_extension(struct buf *out, unsigned number, struct str key, struct jv v)
{
	size_t at = open_msg(out, number);
	add_bytes(out, 1, key.p, key.n);
	add_any(out, 2, v);
	close_msg(out, at);
}

static void add_message(struct buf *out, const struct msg *m, struct jv v)
{
	jv_each (it, v) {
		const struct row *r = m->rows;
		if (m->extension && str_starts(it.key, "x-")) {
			add_extension(out, m->extension, it.key, it.v);
			continue;
		}
		while (r->json && !str_eqz(it.key, r->json))
			r++;
		if (r->json)
			add_row(out, r, it.v);
	}
}

int openapi_v2_gnostic(const struct kinds *ks, struct buf *out)
{
	AUTO_BUF struct buf json = {0};
	int r = openapi_v2_json(ks, &json);
	if (r < 0)
		return r;
	add_message(out, &document_msg, jv_of(buf_str(&json)));
	return out->err;
}

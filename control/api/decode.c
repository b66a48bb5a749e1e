/* SPDX-License-Identifier: Apache-2.0
 * Bodies to trees: a JSON parser driven by the schema, straight from the bytes. It checks types,
 * drops what the schema does not know, and remembers every unknown and duplicate field. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include "api/codec.h"
#include "api/custom.h"
#include "api/structural.h"
#include "xebec/base/tls.h"
#include "xebec/base/yaml.h"

#define STRICT_MAX 100 /* unknown and duplicate fields remembered of one body */

struct at { /* where the parser stands: frames on its own stack */
	const struct at *up;
	const char *name; /* member; NULL: element `index` */
	size_t n, index;
};
struct dec {
	struct lex l;
	struct err *e;
	const struct decode_opts *o;
	const char *kind, *version; /* for messages */
	struct buf strict;	    /* messages, each ended by NUL */
	size_t n_strict;
};

static void at_write(const struct at *a, struct buf *out)
{
	if (!a)
		return;
	at_write(a->up, out);
	if (!a->name)
		buf_addf(out, "[%zu]", a->index);
	else {
		if (out->len)
			buf_addc(out, '.');
		buf_add(out, a->name, a->n);
	}
}

__attribute__((format(printf, 2, 3))) static int refuse(struct dec *d, const char *fmt, ...)
{
	char text[200];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(d->e, EBADMSG, "BadRequest",
		"%s in version \"%s\" cannot be handled as a %s: %s", d->kind, d->version, d->kind,
		text);
}

static int syntax(struct dec *d)
{
	return err_set(d->e, EBADMSG, "BadRequest",
		"couldn't get version/kind; json parse error: %s at offset %zu",
		d->l.what ? d->l.what : "out of memory", (size_t)(d->l.p - d->l.start));
}

static const char *token_name(int c)
{
	return c == '{'		      ? "object"
	       : c == '['	      ? "array"
	       : c == '"'	      ? "string"
	       : c == 't' || c == 'f' ? "bool"
				      : "number";
}

static const char *go_scalar(const struct field *f)
{
	static const char *const names[] = {[F_STRING] = "string",
		[F_BOOL] = "bool",
		[F_INT32] = "int32",
		[F_INT64] = "int64",
		[F_DOUBLE] = "float64",
		[F_BYTES] = "[]uint8",
		[F_QUANTITY] = "resource.Quantity",
		[F_INT_OR_STRING] = "intstr.IntOrString",
		[F_TIME] = "v1.Time",
		[F_MICRO_TIME] = "v1.MicroTime",
		[F_ANY] = "runtime.RawExtension"};
	if (f->kind == F_OBJECT)
		return type_go_name(f->type);
	return f->kind < ARRAY_LEN(names) && names[f->kind] ? names[f->kind] : "v1.JSONSchemaProps";
}

/* As Go's decoder words it. got: "string", "number 1.5" ... */
static int mistyped(struct dec *d, const struct field *f, enum field_shape shape,
	const struct at *a, const char *got)
{
	static const char *const prefix[] = {[SHAPE_ONE] = "",
		[SHAPE_LIST] = "[]",
		[SHAPE_MAP] = "map[string]",
		[SHAPE_MAP_OF_LISTS] = "map[string][]"};
	AUTO_BUF struct buf path = {0};
	at_write(a, &path);
	return refuse(d, "json: cannot unmarshal %s into Go struct field %s of type %s%s", got,
		path.p ? path.p : "", prefix[shape], go_scalar(f));
}

static void strict_note(struct dec *d, const char *what, const struct at *a)
{
	AUTO_BUF struct buf path = {0};
	if (d->o->fields == FIELDS_IGNORE || d->n_strict++ >= STRICT_MAX)
		return;
	at_write(a, &path);
	buf_addf(&d->strict, "%s field \"%s\"", what, path.p ? path.p : "");
	buf_addc(&d->strict, 0);
}

/* Duplicate keys of YAML: warnings one by one, as an error all in one. */
static void strict_lines(struct dec *d, const json_t *lines)
{
	size_t n = json_array_size(lines);
	bool warn = d->o->fields == FIELDS_WARN;
	if (d->o->fields == FIELDS_IGNORE || n == 0)
		return;
	if (!warn)
		buf_adds(&d->strict, "yaml: unmarshal errors:");
	for (size_t i = 0; i < n && d->n_strict++ < STRICT_MAX; i++) {
		buf_addf(&d->strict, "%s%s", warn ? "" : "\n  ",
			json_string_value(json_array_get(lines, i)));
		if (warn)
			buf_addc(&d->strict, 0);
	}
	if (!warn)
		buf_addc(&d->strict, 0);
}

/* --- scalars --- */
static int dec_int(struct dec *d, const struct field *f, const struct at *a, json_t **ret)
{
	struct str text;
	bool integral;
	int64_t v;
	char got[64];
	if (lex_number(&d->l, &text, &integral) != 0)
		return syntax(d);
	if (!integral || str_i64(text, &v) != 0 ||
		(f->kind == F_INT32 && (v < INT32_MIN || v > INT32_MAX))) {
		(void)snprintf(
			got, sizeof(got), "number %.*s", text.n > 40 ? 40 : (int)text.n, text.p);
		return mistyped(d, f, SHAPE_ONE, a, got);
	}
	*ret = json_integer(v);
	return *ret ? 0 : -ENOMEM;
}

static int dec_double(struct dec *d, const struct field *f, const struct at *a, json_t **ret)
{
	struct str text;
	bool integral;
	if (lex_number(&d->l, &text, &integral) != 0)
		return syntax(d);
	*ret = number_value(text, integral);
	return *ret ? 0 : mistyped(d, f, SHAPE_ONE, a, "number");
}

static int dec_bytes(struct dec *d, struct str s, const struct at *a, json_t **ret)
{
	AUTO_BUF struct buf raw = {0}, text = {0}, path = {0};
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '\r' && s.p[i] != '\n')
			buf_addc(&text, s.p[i]);
	bool ok = text.len % 4 == 0 && !memchr(text.p ? text.p : "", '-', text.len) &&
		  !memchr(text.p ? text.p : "", '_', text.len);
	if (text.len && (!ok || base64_decode(buf_str(&text), &raw) != 0)) {
		at_write(a, &path);
		return refuse(d, "illegal base64 data in field %s", path.p ? path.p : "");
	}
	buf_clear(&text);
	base64_encode(buf_str(&raw), &text);
	*ret = json_stringn_nocheck(text.p ? text.p : "", text.len);
	return *ret ? 0 : -ENOMEM;
}

static int dec_quantity(struct dec *d, struct str s, json_t **ret)
{
	AUTO_BUF struct buf q = {0};
	if (quantity_canonical(s, &q) != 0)
		return refuse(d, "quantities must match the regular expression "
				 "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	*ret = json_stringn_nocheck(q.p ? q.p : "", q.len);
	return *ret ? 0 : -ENOMEM;
}

static int dec_time(struct dec *d, const struct field *f, struct str s, json_t **ret)
{
	int r = time_canonical(s, f->kind == F_MICRO_TIME, ret);
	if (r == -ENOMEM)
		return r;
	return r == 0 ? 0
		      : refuse(d, "parsing time \"%.*s\": not an RFC 3339 time",
				s.n > 60 ? 60 : (int)s.n, s.p);
}

static int dec_string(struct dec *d, const struct field *f, const struct at *a, json_t **ret)
{
	AUTO_BUF struct buf b = {0};
	if (lex_string(&d->l, &b) != 0)
		return syntax(d);
	struct str s = {.p = b.p ? b.p : "", .n = b.len};
	switch (f->kind) {
	case F_STRING:
	case F_INT_OR_STRING:
		*ret = json_stringn_nocheck(s.p, s.n);
		return *ret ? 0 : -ENOMEM;
	case F_BYTES:
		return dec_bytes(d, s, a, ret);
	case F_QUANTITY:
		return dec_quantity(d, s, ret);
	case F_TIME:
	case F_MICRO_TIME:
		if (s.n == 0)
			return 0;
		return dec_time(d, f, s, ret);
	default:
		return mistyped(d, f, SHAPE_ONE, a, "string");
	}
}

static int dec_number(struct dec *d, const struct field *f, const struct at *a, json_t **ret)
{
	struct str text;
	bool integral;
	struct field as_int = {.kind = F_INT32};
	switch (f->kind) {
	case F_INT32:
	case F_INT64:
		return dec_int(d, f, a, ret);
	case F_INT_OR_STRING:
		return dec_int(d, &as_int, a, ret);
	case F_DOUBLE:
		return dec_double(d, f, a, ret);
	case F_QUANTITY:
		if (lex_number(&d->l, &text, &integral) != 0)
			return syntax(d);
		return dec_quantity(d, text, ret);
	default:
		return mistyped(d, f, SHAPE_ONE, a, "number");
	}
}

static int dec_bool(struct dec *d, const struct field *f, const struct at *a, json_t **ret)
{
	bool v = *d->l.p == 't';
	if (lex_word(&d->l, v ? "true" : "false") != 0)
		return syntax(d);
	if (f->kind != F_BOOL)
		return mistyped(d, f, SHAPE_ONE, a, "bool");
	*ret = json_boolean(v);
	return 0;
}

/* --- containers --- */
static int dec_value(struct dec *d, const struct field *f, enum field_shape shape,
	const struct at *a, json_t **ret);

static int dec_key(struct dec *d, struct buf *key)
{
	buf_clear(key);
	lex_space(&d->l);
	if (lex_string(&d->l, key) != 0)
		return syntax(d);
	if (lex_eat(&d->l, ':'))
		return 0;
	d->l.what = "invalid character after object key";
	return syntax(d);
}

static int dec_end(struct dec *d, char c)
{
	if (lex_eat(&d->l, c))
		return 0;
	d->l.what = d->l.p == d->l.end ? "unexpected end of JSON input"
				       : "invalid character, expected , or the end";
	return syntax(d);
}

static int skip_value(struct dec *d)
{
	json_t *v = NULL;
	int r = lex_any(&d->l, &v);
	json_decref(v);
	return r == 0 ? 0 : syntax(d);
}

/* A value of no known type: only duplicates are noticed. */
static int dec_tree(struct dec *d, const struct at *a, json_t **ret);

static int dec_tree_object(struct dec *d, const struct at *a, json_t **ret)
{
	AUTO_JSON json_t *o = json_object();
	AUTO_BUF struct buf key = {0};
	d->l.p++;
	while (!lex_eat(&d->l, '}')) {
		json_t *v = NULL;
		if (json_object_size(o) && !lex_eat(&d->l, ','))
			return dec_end(d, '}');
		int r = dec_key(d, &key);
		struct at in = {.up = a, .name = key.p ? key.p : "", .n = key.len};
		if (r == 0 && json_object_getn(o, in.name, in.n))
			strict_note(d, "duplicate", &in);
		if (r == 0)
			r = dec_tree(d, &in, &v);
		if (r == 0 && json_object_setn_new_nocheck(o, in.name, in.n, v) != 0)
			r = -ENOMEM;
		if (r != 0)
			return r;
	}
	*ret = STEAL(o);
	return 0;
}

static int dec_tree_array(struct dec *d, const struct at *a, json_t **ret)
{
	AUTO_JSON json_t *list = json_array();
	struct at in = {.up = a};
	d->l.p++;
	while (!lex_eat(&d->l, ']')) {
		json_t *v = NULL;
		if (json_array_size(list) && !lex_eat(&d->l, ','))
			return dec_end(d, ']');
		int r = dec_tree(d, &in, &v);
		if (r == 0 && json_array_append_new(list, v) != 0)
			r = -ENOMEM;
		if (r != 0)
			return r;
		in.index++;
	}
	*ret = STEAL(list);
	return 0;
}

static int dec_tree(struct dec *d, const struct at *a, json_t **ret)
{
	int c = lex_peek(&d->l), r;
	if (c != '{' && c != '[')
		return lex_any(&d->l, ret) == 0 ? 0 : syntax(d);
	if (d->l.depth >= CODEC_DEPTH) {
		d->l.what = "exceeded max depth";
		return syntax(d);
	}
	d->l.depth++;
	r = c == '{' ? dec_tree_object(d, a, ret) : dec_tree_array(d, a, ret);
	d->l.depth--;
	return r;
}

/* A member that only the schema of a custom kind may know. */
static int dec_rest(struct dec *d, json_t *o, const struct at *in)
{
	json_t *v = NULL;
	if (json_object_getn(o, in->name, in->n))
		strict_note(d, "duplicate", in);
	int r = dec_tree(d, in, &v);
	if (r == 0 && json_object_setn_new_nocheck(o, in->name, in->n, v) != 0)
		r = -ENOMEM;
	return r;
}

static int put_member(struct dec *d, json_t *o, const struct field *f, json_t *v)
{
	bool empty = v && !d->o->keep_empty && field_drops(f, v);
	if (!v || (json_is_null(v) && f->kind != F_ANY) || empty) {
		json_decref(v);
		(void)json_object_del(o, f->name);
		return 0;
	}
	return json_object_set_new_nocheck(o, f->name, v) == 0 ? 0 : -ENOMEM;
}

static int dec_struct(struct dec *d, const struct type *t, const struct at *a, json_t **ret)
{
	AUTO_JSON json_t *o = json_object();
	AUTO_BUF struct buf key = {0};
	uint64_t seen[4] = {0};
	d->l.p++;
	if (lex_eat(&d->l, '}')) {
		*ret = STEAL(o);
		return 0;
	}
	do {
		json_t *v = NULL;
		int r = dec_key(d, &key);
		if (r != 0)
			return r;
		const struct field *f = type_field(t, buf_str(&key));
		struct at in = {.up = a, .name = f ? f->name : key.p ? key.p : "", .n = key.len};
		if (!f && t->rest) {
			r = dec_rest(d, o, &in);
			if (r != 0)
				return r;
			continue;
		}
		if (!f)
			strict_note(d, "unknown", &in);
		size_t i = f ? (size_t)(f - t->fields) : 0;
		if (f && seen[i / 64] & 1ull << i % 64)
			strict_note(d, "duplicate", &in);
		if (f)
			seen[i / 64] |= 1ull << i % 64;
		r = f ? dec_value(d, f, (enum field_shape)f->shape, &in, &v) : skip_value(d);
		if (r == 0 && f)
			r = put_member(d, o, f, v);
		if (r != 0)
			return r;
	} while (lex_eat(&d->l, ','));
	int r = dec_end(d, '}');
	if (r == 0)
		*ret = STEAL(o);
	return r;
}

/* What an element of a list or map becomes when it is null: Go's zero value. */
static json_t *zero_of(const struct field *f, enum field_shape shape)
{
	if (shape == SHAPE_LIST)
		return json_array();
	if (shape == SHAPE_MAP || f->kind == F_OBJECT)
		return json_object();
	switch (f->kind) {
	case F_STRING:
	case F_BYTES:
		return json_string("");
	case F_BOOL:
		return json_false();
	case F_INT32:
	case F_INT64:
	case F_INT_OR_STRING:
	case F_DOUBLE:
		return json_integer(0);
	case F_QUANTITY:
		return json_string("0");
	default:
		return json_null();
	}
}

static int dec_list(struct dec *d, const struct field *f, const struct at *a, json_t **ret)
{
	AUTO_JSON json_t *list = json_array();
	struct at in = {.up = a};
	d->l.p++;
	if (lex_eat(&d->l, ']')) {
		*ret = STEAL(list);
		return 0;
	}
	do {
		json_t *v = NULL;
		int r = dec_value(d, f, SHAPE_ONE, &in, &v);
		if (r == 0 && json_array_append_new(list, v ? v : zero_of(f, SHAPE_ONE)) != 0)
			r = -ENOMEM;
		if (r != 0)
			return r;
		in.index++;
	} while (lex_eat(&d->l, ','));
	int r = dec_end(d, ']');
	if (r == 0)
		*ret = STEAL(list);
	return r;
}

static int dec_map(struct dec *d, const struct field *f, enum field_shape shape, const struct at *a,
	json_t **ret)
{
	AUTO_JSON json_t *map = json_object();
	AUTO_BUF struct buf key = {0};
	enum field_shape item = shape == SHAPE_MAP ? SHAPE_ONE : SHAPE_LIST;
	d->l.p++;
	if (lex_eat(&d->l, '}')) {
		*ret = STEAL(map);
		return 0;
	}
	do {
		json_t *v = NULL;
		int r = dec_key(d, &key);
		if (r != 0)
			return r;
		const char *name = key.p ? key.p : "";
		struct at in = {.up = a, .name = name, .n = key.len};
		if (json_object_getn(map, name, key.len))
			strict_note(d, "duplicate", &in);
		r = dec_value(d, f, item, &in, &v);
		if (r == 0 && json_object_setn_new_nocheck(
				      map, name, key.len, v ? v : zero_of(f, item)) != 0)
			r = -ENOMEM;
		if (r != 0)
			return r;
	} while (lex_eat(&d->l, ','));
	int r = dec_end(d, '}');
	if (r == 0)
		*ret = STEAL(map);
	return r;
}

static int dec_free(struct dec *d, json_t **ret)
{
	return lex_any(&d->l, ret) == 0 ? 0 : syntax(d);
}

static int dec_one(struct dec *d, const struct field *f, const struct at *a, int c, json_t **ret)
{
	if (f->kind >= F_ANY)
		return dec_free(d, ret);
	if (c == '{' && f->kind == F_OBJECT)
		return dec_struct(d, f->type, a, ret);
	if (c == '{' || c == '[' || f->kind == F_OBJECT)
		return mistyped(d, f, SHAPE_ONE, a, token_name(c));
	if (c == '"')
		return dec_string(d, f, a, ret);
	if (c == 't' || c == 'f')
		return dec_bool(d, f, a, ret);
	return dec_number(d, f, a, ret);
}

/* *ret stays NULL for null. */
static int dec_value(struct dec *d, const struct field *f, enum field_shape shape,
	const struct at *a, json_t **ret)
{
	int c = lex_peek(&d->l), r;
	if (c == 'n')
		return lex_word(&d->l, "null") == 0 ? 0 : syntax(d);
	if (c < 0 || d->l.depth >= CODEC_DEPTH) {
		d->l.what = c < 0 ? "unexpected end of JSON input" : "exceeded max depth";
		return syntax(d);
	}
	if (!strchr("{[\"tf-0123456789", c)) {
		d->l.what = "invalid character looking for beginning of value";
		return syntax(d);
	}
	d->l.depth++;
	if (shape == SHAPE_ONE)
		r = dec_one(d, f, a, c, ret);
	else if (shape == SHAPE_LIST)
		r = c == '[' ? dec_list(d, f, a, ret) : mistyped(d, f, shape, a, token_name(c));
	else
		r = c == '{' ? dec_map(d, f, shape, a, ret)
			     : mistyped(d, f, shape, a, token_name(c));
	d->l.depth--;
	return r;
}

/* --- the whole body --- */
static int strict_report(struct dec *d)
{
	AUTO_BUF struct buf all = {0};
	const char *m = d->strict.p, *end = m ? m + d->strict.len : NULL;
	for (; m < end; m += strlen(m) + 1) {
		if (d->o->fields == FIELDS_WARN && d->o->warnings)
			cause_add(d->o->warnings, "", "", "%s", m);
		buf_addf(&all, "%s%s", all.len ? ", " : "", m);
	}
	if (d->o->fields != FIELDS_STRICT || !all.len)
		return 0;
	return refuse(d, "strict decoding error: %s", all.p);
}

static int dec_body(struct dec *d, const struct type *t, struct str body, json_t **ret)
{
	AUTO_JSON json_t *o = NULL;
	d->l = (struct lex){.start = body.p, .p = body.p, .end = body.p + body.n};
	int c = lex_peek(&d->l);
	if (c != '{') {
		d->l.what = c < 0 ? "unexpected end of JSON input" : "the body is not an object";
		return syntax(d);
	}
	d->l.depth = 1;
	int r = dec_struct(d, t, NULL, &o);
	if (r == 0 && lex_peek(&d->l) >= 0) {
		d->l.what = "invalid character after top-level value";
		r = syntax(d);
	}
	if (r == 0)
		*ret = STEAL(o);
	return r;
}

/* YAML goes through JSON text: one decoder, one set of rules. */
static int dec_yaml(struct dec *d, const struct type *t, struct str body, json_t **ret)
{
	AUTO_JSON json_t *tree = NULL, *dups = json_array();
	AUTO_BUF struct buf text = {0};
	int r = yaml_parse(body, &tree, dups, d->e);
	if (r != 0)
		return r;
	json_write(tree, &text);
	if (text.err)
		return text.err;
	strict_lines(d, dups);
	return dec_body(d, t, buf_str(&text), ret);
}

static int check_name(struct dec *d, const json_t *o, const char *member, const char *want)
{
	const char *got = json_string_value(json_object_get(o, member));
	if (!got || !*got || !want || strcmp(got, want) == 0)
		return 0;
	if (*member == 'k')
		return err_set(d->e, EBADMSG, "BadRequest",
			"%s in version \"%s\" cannot be handled as a %s", got, d->version, want);
	return err_set(d->e, EBADMSG, "BadRequest",
		"the API version in the data (%s) does not match the expected API version (%s)",
		got, want);
}

static int set_names(struct dec *d, const struct type *t, const char *api_version, json_t *o)
{
	if (!t->typemeta)
		return 0;
	int r = check_name(d, o, "apiVersion", api_version);
	if (r == 0)
		r = check_name(d, o, "kind", d->kind);
	if (r == 0 && (json_object_set_new(o, "kind", json_string(d->kind)) != 0 ||
			      json_object_set_new(o, "apiVersion", json_string(api_version)) != 0))
		r = -ENOMEM;
	return r;
}

static void note_pruned(void *arg, const char *path)
{
	struct at at = {.name = path, .n = strlen(path)};
	strict_note(arg, "unknown", &at);
}

/* custom NULL: the type says it all. */
static int decode(const struct type *t, const struct custom *custom, const char *kind,
	const char *api_version, struct str body, const struct decode_opts *o, json_t **ret,
	struct err *e)
{
	AUTO_JSON json_t *tree = NULL;
	const char *slash = strrchr(api_version, '/');
	struct dec d = {.e = e, .o = o, .kind = kind, .version = slash ? slash + 1 : api_version};
	int r;
	if (o->media == MEDIA_PROTOBUF && !custom)
		r = pb_decode_envelope(t, body, &tree, e);
	else if (o->media == MEDIA_YAML)
		r = dec_yaml(&d, t, body, &tree);
	else if (o->media == MEDIA_JSON)
		r = dec_body(&d, t, body, &tree);
	else
		r = err_set(e, EPROTONOSUPPORT, "UnsupportedMediaType",
			"the body of the request was in an unknown format");
	if (r == 0)
		r = set_names(&d, t, api_version, tree);
	if (r == 0 && custom)
		structural_prune(custom->schema, tree, note_pruned, &d);
	if (r == 0)
		r = strict_report(&d);
	buf_free(&d.strict);
	if (r == -ENOMEM)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	if (r == 0)
		*ret = STEAL(tree);
	return r;
}

int api_decode_type(const struct type *t, const char *kind, const char *api_version,
	struct str body, const struct decode_opts *o, json_t **ret, struct err *e)
{
	return decode(t, NULL, kind, api_version, body, o, ret, e);
}

int api_decode(const struct kind *k, struct str body, const struct decode_opts *o, json_t **ret,
	struct err *e)
{
	char api_version[256];
	kind_api_version(k, api_version);
	return decode(k->type, k->custom, k->kind, api_version, body, o, ret, e);
}

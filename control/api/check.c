/* SPDX-License-Identifier: Apache-2.0
 * Causes with field paths, in the words that kubectl's users know, and the small checks that every
 * kind's rules are made of. */
#include <errno.h>
#include <stdarg.h>
#include "api/rules.h"

void fpath_write(const struct fpath *p, struct buf *out)
{
	if (!p)
		return;
	fpath_write(p->up, out);
	if (p->name)
		buf_addf(out, "%s%s", out->len ? "." : "", p->name);
	else if (p->key)
		buf_addf(out, "[%s]", p->key);
	else
		buf_addf(out, "[%zu]", p->index);
}

static void cause_at(
	struct causes *c, const char *reason, const struct fpath *p, const struct buf *message)
{
	AUTO_BUF struct buf path = {0};
	fpath_write(p, &path);
	cause_add(c, reason, path.p ? path.p : "", "%.*s", (int)message->len,
		message->p ? message->p : "");
}

/* "Forbidden" or "Forbidden: detail". */
static void cause_plain(struct causes *c, const char *reason, const char *head,
	const struct fpath *p, const char *detail)
{
	AUTO_BUF struct buf m = {0};
	buf_adds(&m, head);
	if (detail && *detail)
		buf_addf(&m, ": %s", detail);
	cause_at(c, reason, p, &m);
}

void v_required(struct causes *c, const struct fpath *p, const char *detail)
{
	cause_plain(c, "FieldValueRequired", "Required value", p, detail);
}

void v_forbidden(struct causes *c, const struct fpath *p, const char *detail)
{
	cause_plain(c, "FieldValueForbidden", "Forbidden", p, detail);
}

/* The offending value, shortened: it came from a client and goes back to it. */
static void add_value(struct buf *m, const json_t *v)
{
	size_t start = m->len;
	if (!v)
		buf_adds(m, "null");
	else if (json_is_string(v))
		buf_add_json_str(m, (struct str){json_string_value(v), json_string_length(v)});
	else
		json_write(v, m);
	if (m->len - start > 1024) {
		m->len = start + 1024;
		buf_adds(m, "...");
	}
}

static void invalid_va(struct causes *c, const struct fpath *p, const struct buf *value,
	const char *fmt, va_list ap)
{
	AUTO_BUF struct buf m = {0};
	char text[2048];
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	buf_addf(&m, "Invalid value: %.*s", (int)value->len, value->p ? value->p : "");
	if (*text)
		buf_addf(&m, ": %s", text);
	cause_at(c, "FieldValueInvalid", p, &m);
}

void v_invalid(struct causes *c, const struct fpath *p, const json_t *value, const char *fmt, ...)
{
	AUTO_BUF struct buf v = {0};
	va_list ap;
	if (causes_full(c)) /* do not spell out what nobody will see */
		return;
	add_value(&v, value);
	va_start(ap, fmt);
	invalid_va(c, p, &v, fmt, ap);
	va_end(ap);
}

void v_invalid_str(struct causes *c, const struct fpath *p, const char *value, const char *fmt, ...)
{
	AUTO_BUF struct buf v = {0};
	va_list ap;
	buf_add_json_str(&v, str_of(value));
	va_start(ap, fmt);
	invalid_va(c, p, &v, fmt, ap);
	va_end(ap);
}

void v_duplicate(struct causes *c, const struct fpath *p, const json_t *value)
{
	AUTO_BUF struct buf m = {0};
	if (causes_full(c))
		return;
	buf_adds(&m, "Duplicate value: ");
	add_value(&m, value);
	cause_at(c, "FieldValueDuplicate", p, &m);
}

void v_too_long(struct causes *c, const struct fpath *p, size_t max)
{
	AUTO_BUF struct buf m = {0};
	buf_addf(&m, "Too long: may not be more than %zu bytes", max);
	cause_at(c, "FieldValueTooLong", p, &m);
}

void v_too_many(struct causes *c, const struct fpath *p, size_t n, size_t max)
{
	AUTO_BUF struct buf m = {0};
	buf_addf(&m, "Too many: %zu: must have at most %zu items", n, max);
	cause_at(c, "FieldValueTooMany", p, &m);
}

static int cmp_str(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void v_not_supported(
	struct causes *c, const struct fpath *p, const json_t *value, const char *const *enums)
{
	AUTO_BUF struct buf m = {0};
	const char *sorted[64];
	size_t n = 0;
	while (enums[n] && n < ARRAY_LEN(sorted)) {
		sorted[n] = enums[n];
		n++;
	}
	qsort(sorted, n, sizeof(sorted[0]), cmp_str);
	buf_adds(&m, "Unsupported value: ");
	add_value(&m, value);
	for (size_t i = 0; i < n; i++)
		buf_addf(&m, "%s\"%s\"", i ? ", " : ": supported values: ", sorted[i]);
	cause_at(c, "FieldValueNotSupported", p, &m);
}

bool v_format(struct causes *c, const struct fpath *p, const char *s, format_fn *f)
{
	const char *msg[MSG_MAX];
	size_t n = f(str_of(s), msg);
	for (size_t i = 0; i < n; i++)
		v_invalid_str(c, p, s, "%s", msg[i]);
	return n == 0;
}

const json_t *jget(const json_t *obj, const char *member)
{
	const json_t *v = json_object_get(obj, member);
	return json_is_null(v) ? NULL : v;
}

const char *jstr(const json_t *obj, const char *member)
{
	const char *s = json_string_value(json_object_get(obj, member));
	return s ? s : "";
}

bool jhas(const json_t *obj, const char *member)
{
	const json_t *v = jget(obj, member);
	return v && !(json_is_string(v) && json_string_length(v) == 0);
}

static bool blank(const json_t *v)
{
	return !v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0) ||
	       (json_is_array(v) && json_array_size(v) == 0) ||
	       (json_is_object(v) && json_object_size(v) == 0);
}

/* Every member of a, against b; members only in b must be blank. */
static bool object_equal(const json_t *a, const json_t *b)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)a, key, v) {
		if (!jequal(v, json_object_get(b, key)))
			return false;
	}
	json_object_foreach ((json_t *)b, key, v) {
		if (!json_object_get(a, key) && !blank(v))
			return false;
	}
	return true;
}

bool jequal(const json_t *a, const json_t *b)
{
	if (a == b)
		return true;
	if (blank(a) && blank(b))
		return true;
	if (!a || !b || json_typeof(a) != json_typeof(b))
		return false;
	if (json_is_object(a))
		return object_equal(a, b);
	if (!json_is_array(a))
		return json_equal(a, b);
	if (json_array_size(a) != json_array_size(b))
		return false;
	for (size_t i = 0; i < json_array_size(a); i++)
		if (!jequal(json_array_get(a, i), json_array_get(b, i)))
			return false;
	return true;
}

size_t v_seen(json_t *seen, const char *key, size_t i)
{
	const json_t *at = json_object_get(seen, key ? key : "");
	if (at)
		return (size_t)json_integer_value(at);
	(void)json_object_set_new_nocheck(seen, key ? key : "", json_integer((json_int_t)i));
	return i;
}

int jquantity(const json_t *v, int64_t *ret_milli)
{
	int r;
	*ret_milli = 0;
	if (!v || json_is_null(v))
		return -ENOENT;
	if (json_is_string(v))
		r = quantity_parse(
			(struct str){json_string_value(v), json_string_length(v)}, ret_milli, NULL);
	else if (json_is_integer(v) &&
		 !__builtin_mul_overflow(json_integer_value(v), 1000LL, ret_milli))
		r = 0;
	else
		return -EINVAL;
	return r == -ERANGE ? 0 : r;
}

bool v_nonneg(struct causes *c, const struct fpath *p, const json_t *v)
{
	if (!v || json_integer_value(v) >= 0)
		return true;
	v_invalid(c, p, v, MSG_NONNEG);
	return false;
}

bool v_port(struct causes *c, const struct fpath *p, const json_t *v)
{
	json_int_t n = json_integer_value(v);
	if (n >= 1 && n <= 65535)
		return true;
	if (v)
		v_invalid(c, p, v, MSG_PORT);
	else
		v_invalid(c, p, json_false(), MSG_PORT);
	return false;
}

bool v_port_or_name(struct causes *c, const struct fpath *p, const json_t *v)
{
	if (json_is_string(v))
		return v_format(c, p, json_string_value(v), fmt_port_name);
	return v_port(c, p, v);
}

bool v_enum(struct causes *c, const struct fpath *p, const json_t *v, const char *const *enums)
{
	const char *s = json_string_value(v);
	if (!v || json_is_null(v))
		return true;
	for (size_t i = 0; s && enums[i]; i++)
		if (strcmp(s, enums[i]) == 0)
			return true;
	v_not_supported(c, p, v, enums);
	return false;
}

bool v_enum_required(
	struct causes *c, const struct fpath *p, const json_t *v, const char *const *enums)
{
	if (v && json_string_length(v))
		return v_enum(c, p, v, enums);
	v_required(c, p, "");
	return false;
}

bool v_immutable(struct causes *c, const struct fpath *p, const json_t *now, const json_t *before)
{
	if (jequal(now, before))
		return true;
	v_invalid(c, p, now, "field is immutable");
	return false;
}

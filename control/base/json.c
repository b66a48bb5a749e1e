/* SPDX-License-Identifier: Apache-2.0
 * Helpers over jansson trees: parsing with a position, compact writing, dotted paths. */
#include <errno.h>
#include <math.h>
#include "xebec/base/json.h"

/* jansson counts lines as it reads bytes but columns in characters: its own figures are used. */
int json_parse(struct str text, json_t **ret, struct err *e)
{
	json_error_t je;
	if (!text.n)
		return err_set(e, -EINVAL, "BadRequest", "empty body: expected one JSON value");
	/* jansson takes a NUL for the end and would not see what follows. */
	const char *nul = memchr(text.p, '\0', text.n);
	if (nul)
		return err_set(e, -EINVAL, "BadRequest", "invalid JSON: NUL at byte %zu",
			(size_t)(nul - text.p) + 1);
	json_t *j = json_loadb(text.p, text.n, JSON_DECODE_ANY, &je);
	if (!j && json_error_code(&je) == json_error_out_of_memory)
		return err_set(e, -ENOMEM, "InternalError", "out of memory");
	if (!j)
		return err_set(e, -EINVAL, "BadRequest", "invalid JSON at line %d column %d: %s",
			je.line, je.column, je.text);
	*ret = j;
	return 0;
}

/* As Go prints: shortest text that reads back the same, exponents only when far from 1. */
static void write_real(double v, struct buf *out)
{
	char t[40];
	if (!isfinite(v)) {
		buf_adds(out, "null"); /* JSON has no such number */
		return;
	}
	double mag = fabs(v);
	bool plain = v == 0 || (mag >= 1e-6 && mag < 1e21);
	if (plain && mag < 1e15 && v == trunc(v)) {
		buf_addf(out, "%lld", (long long)v);
		return;
	}
	int digits = 15;
	for (; digits < 17; digits++) {
		(void)snprintf(t, sizeof(t), "%.*g", digits, v);
		if (strtod(t, NULL) == v)
			break;
	}
	if (!plain) {
		buf_addf(out, "%.*g", digits, v);
		return;
	}
	int before = (int)floor(log10(mag)) + 1; /* digits before the point, <= 0 below 1 */
	int after = digits - before > 0 ? digits - before : 0;
	int n = snprintf(t, sizeof(t), "%.*f", after, v);
	while (after && n > 1 && t[n - 1] == '0')
		n--;
	if (n && t[n - 1] == '.')
		n--;
	buf_add(out, t, (size_t)n);
}

static void write_object(const json_t *j, struct buf *out)
{
	json_t *o = (json_t *)(uintptr_t)j; /* jansson's iterators are not const */
	bool first = true;
	buf_addc(out, '{');
	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		if (!first)
			buf_addc(out, ',');
		first = false;
		buf_add_json_str(
			out, (struct str){json_object_iter_key(it), json_object_iter_key_len(it)});
		buf_addc(out, ':');
		json_write(json_object_iter_value(it), out);
	}
	buf_addc(out, '}');
}

static void write_array(const json_t *j, struct buf *out)
{
	buf_addc(out, '[');
	for (size_t i = 0; i < json_array_size(j); i++) {
		if (i)
			buf_addc(out, ',');
		json_write(json_array_get(j, i), out);
	}
	buf_addc(out, ']');
}

void json_write(const json_t *j, struct buf *out)
{
	switch (j ? json_typeof(j) : JSON_NULL) {
	case JSON_OBJECT:
		write_object(j, out);
		break;
	case JSON_ARRAY:
		write_array(j, out);
		break;
	case JSON_STRING:
		buf_add_json_str(out, (struct str){json_string_value(j), json_string_length(j)});
		break;
	case JSON_INTEGER: {
		json_int_t v = json_integer_value(j);
		if (v < 0)
			buf_addc(out, '-');
		buf_add_u64(out, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
		break;
	}
	case JSON_REAL:
		write_real(json_real_value(j), out);
		break;
	case JSON_TRUE:
		buf_adds(out, "true");
		break;
	case JSON_FALSE:
		buf_adds(out, "false");
		break;
	default:
		buf_adds(out, "null");
	}
}

/* --- dotted paths --- */

static json_t *step_into(const json_t *j, struct str step)
{
	if (!json_is_array(j))
		return json_object_getn(j, step.p, step.n);
	uint64_t i;
	return str_u64(step, &i) == 0 ? json_array_get(j, i) : NULL;
}

json_t *json_at(const json_t *j, const char *path)
{
	struct str rest = str_of(path);
	while (j && rest.n)
		j = step_into(j, str_cut(&rest, '.'));
	return (json_t *)(uintptr_t)j;
}

const char *json_str(const json_t *j, const char *path, const char *dflt)
{
	const json_t *v = json_at(j, path);
	return json_is_string(v) ? json_string_value(v) : dflt;
}

int64_t json_i64(const json_t *j, const char *path, int64_t dflt)
{
	const json_t *v = json_at(j, path);
	return json_is_integer(v) ? json_integer_value(v) : dflt;
}

bool json_flag(const json_t *j, const char *path, bool dflt)
{
	const json_t *v = json_at(j, path);
	return json_is_boolean(v) ? json_is_true(v) : dflt;
}

static json_t *make_n(json_t *j, struct str path)
{
	while (j && path.n) {
		struct str step = str_cut(&path, '.');
		json_t *next = step_into(j, step);
		if (!next && json_is_object(j)) {
			next = json_object();
			if (json_object_setn_new(j, step.p, step.n, next) < 0)
				next = NULL;
		}
		j = next;
	}
	return json_is_object(j) ? j : NULL;
}

json_t *json_make(json_t *j, const char *path)
{
	return make_n(j, str_of(path));
}

int json_put(json_t *j, const char *path, json_t *value)
{
	const char *dot = strrchr(path, '.');
	const char *name = dot ? dot + 1 : path;
	struct str parent = {path, dot ? (size_t)(dot - path) : 0};
	if (!value) {
		AUTO_FREE char *p = str_dup(parent);
		if (!p)
			return -ENOMEM;
		(void)json_object_del(json_at(j, p), name);
		return 0;
	}
	json_t *o = make_n(j, parent);
	if (o)
		return json_object_set_new(o, name, value) < 0 ? -ENOMEM : 0;
	json_decref(value);
	return -EINVAL;
}

/* SPDX-License-Identifier: Apache-2.0
 * Values against a structural schema, with the causes that Kubernetes gives. On an update, what is
 * equal to before is not looked at: a schema may tighten under objects that exist (KEP-4008). */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <errno.h>
#include <math.h>
#include <pcre2.h>
#include "api/structural.h"

#define MATCH_LIMIT 1000000 /* steps of one pattern */

struct check {
	struct causes *c;
	const json_t *root;
};

static void check(struct check *k, const struct structural *s, const json_t *v, const json_t *old,
	const struct fpath *p);

static void path_text(const struct fpath *p, struct buf *out)
{
	fpath_write(p, out);
	if (!out->len)
		buf_adds(out, "");
}

/* "spec.size in body TEXT" under the reason Invalid. */
__attribute__((format(printf, 4, 5))) static void bad(
	struct check *k, const struct fpath *p, const json_t *v, const char *fmt, ...)
{
	AUTO_BUF struct buf at = {0};
	char text[1024];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	path_text(p, &at);
	v_invalid(k->c, p, v, "%s in body %s", at.p ? at.p : "", text);
}

static const char *type_name(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
		return "integer";
	case JSON_REAL:
		return "number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "boolean";
	default:
		return "null";
	}
}

static bool type_allowed(const struct structural *s, const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return s->types & ST_OBJECT;
	case JSON_ARRAY:
		return s->types & ST_ARRAY;
	case JSON_STRING:
		return s->types & ST_STRING;
	case JSON_INTEGER:
		return s->types & (ST_INTEGER | ST_NUMBER);
	case JSON_REAL:
		return s->types & ST_NUMBER ||
		       (s->types & ST_INTEGER && trunc(json_real_value(v)) == json_real_value(v));
	case JSON_TRUE:
	case JSON_FALSE:
		return s->types & ST_BOOLEAN;
	default:
		return false;
	}
}

static void bad_type(struct check *k, const struct fpath *p, const char *want, const char *got)
{
	AUTO_BUF struct buf at = {0};
	fpath_write(p, &at);
	cause_add(k->c, "FieldValueTypeInvalid", at.p ? at.p : "",
		"Invalid value: \"%s\": %s in body must be of type %s: \"%s\"", got,
		at.p ? at.p : "", want, got);
}

/* --- scalars --- */

static size_t runes(const char *s, size_t n)
{
	size_t count = 0;
	for (size_t i = 0; i < n; i++)
		count += ((unsigned char)s[i] & 0xc0) != 0x80;
	return count;
}

static bool matches(const struct structural *s, const char *text, size_t n)
{
	pcre2_match_data *d = pcre2_match_data_create(1, NULL);
	pcre2_match_context *m = pcre2_match_context_create(NULL);
	int r = 0;
	if (d && m) {
		(void)pcre2_set_match_limit(m, MATCH_LIMIT);
		r = pcre2_match(s->re, (PCRE2_SPTR)text, n, 0, 0, d, m);
	}
	pcre2_match_data_free(d);
	pcre2_match_context_free(m);
	return r >= 0;
}

static void check_string(
	struct check *k, const struct structural *s, const json_t *v, const struct fpath *p)
{
	const char *z = json_string_value(v);
	size_t n = json_string_length(v), len = s->max_length || s->min_length ? runes(z, n) : 0;
	if (s->max_length && (json_int_t)len > json_integer_value(s->max_length))
		v_too_long(k->c, p, (size_t)json_integer_value(s->max_length));
	if (s->min_length && (json_int_t)len < json_integer_value(s->min_length))
		bad(k, p, v, "should be at least %lld chars long",
			(long long)json_integer_value(s->min_length));
	if (s->re && !matches(s, z, n))
		bad(k, p, v, "should match '%s'", s->pattern);
	if (s->format && !structural_format(s->format, (struct str){z, n}))
		bad_type(k, p, s->format, z);
}

static const char *number_text(const json_t *v, char out[static 64])
{
	if (json_is_integer(v))
		(void)snprintf(out, 64, "%lld", (long long)json_integer_value(v));
	else
		(void)snprintf(out, 64, "%g", json_real_value(v));
	return out;
}

/* Integers compare exactly. */
static int compare(const json_t *a, const json_t *b)
{
	if (json_is_integer(a) && json_is_integer(b)) {
		json_int_t x = json_integer_value(a), y = json_integer_value(b);
		return (x > y) - (x < y);
	}
	double x = json_number_value(a), y = json_number_value(b);
	return (x > y) - (x < y);
}

static bool multiple(const json_t *v, const json_t *of)
{
	double d = json_number_value(of);
	if (json_is_integer(v) && json_is_integer(of))
		return json_integer_value(of) == 0 ||
		       json_integer_value(v) % json_integer_value(of) == 0;
	if (d == 0)
		return true;
	double q = json_number_value(v) / d;
	return fabs(q - nearbyint(q)) < 1e-9 * fmax(1, fabs(q));
}

static void check_number(
	struct check *k, const struct structural *s, const json_t *v, const struct fpath *p)
{
	char text[64];
	if (s->multiple && !multiple(v, s->multiple))
		bad(k, p, v, "should be a multiple of %s", number_text(s->multiple, text));
	if (s->max && (compare(v, s->max) > 0 || (s->exclusive_max && compare(v, s->max) == 0)))
		bad(k, p, v, "should be less than %s%s", s->exclusive_max ? "" : "or equal to ",
			number_text(s->max, text));
	if (s->min && (compare(v, s->min) < 0 || (s->exclusive_min && compare(v, s->min) == 0)))
		bad(k, p, v, "should be greater than %s%s", s->exclusive_min ? "" : "or equal to ",
			number_text(s->min, text));
	if (s->format && strcmp(s->format, "int32") == 0 && json_is_integer(v) &&
		(json_integer_value(v) > INT32_MAX || json_integer_value(v) < INT32_MIN))
		bad(k, p, v, "must be of type integer with format int32");
}

static bool same_value(const json_t *a, const json_t *b)
{
	return json_equal(a, b) || (json_is_number(a) && json_is_number(b) && !compare(a, b));
}

static void check_enum(
	struct check *k, const struct structural *s, const json_t *v, const struct fpath *p)
{
	AUTO_BUF struct buf m = {0}, at = {0};
	size_t i;
	json_t *e;
	if (!s->enums)
		return;
	json_array_foreach ((json_t *)(uintptr_t)s->enums, i, e)
		if (same_value(e, v))
			return;
	buf_adds(&m, "Unsupported value: ");
	json_write(v, &m);
	json_array_foreach ((json_t *)(uintptr_t)s->enums, i, e) {
		buf_adds(&m, i ? ", " : ": supported values: ");
		if (json_is_string(e)) {
			json_write(e, &m);
			continue;
		}
		AUTO_BUF struct buf t = {0};
		json_write(e, &t);
		buf_add_json_str(&m, buf_str(&t));
	}
	fpath_write(p, &at);
	cause_add(k->c, "FieldValueNotSupported", at.p ? at.p : "", "%s", m.p ? m.p : "");
}

/* --- lists --- */

/* The element of old that has the same keys. */
static const json_t *element_by_keys(
	const struct structural *s, const json_t *old, const json_t *v, size_t index)
{
	const json_t *first = json_array_get(old, index);
	for (size_t i = 0; i <= json_array_size(old); i++) {
		const json_t *o = i == 0 ? first : json_array_get(old, i - 1);
		bool same = json_is_object(o);
		for (size_t n = 0; same && s->list_keys[n]; n++) {
			const json_t *a = json_object_get(o, s->list_keys[n]),
				     *b = json_object_get(v, s->list_keys[n]);
			same = a == b || (a && b && json_equal(a, b));
		}
		if (same)
			return o;
	}
	return NULL;
}

static void check_array(struct check *k, const struct structural *s, const json_t *v,
	const json_t *old, const struct fpath *p)
{
	size_t n = json_array_size(v);
	for (size_t i = 0; s->items && i < n; i++) {
		const json_t *e = json_array_get(v, i);
		const json_t *was =
			s->list_type == LIST_MAP && json_is_array(old) && json_is_object(e)
				? element_by_keys(s, old, e, i)
				: NULL;
		check(k, s->items, e, was, P_INDEX(p, i));
	}
	if (s->max_items && (json_int_t)n > json_integer_value(s->max_items))
		v_too_many(k->c, p, n, (size_t)json_integer_value(s->max_items));
	if (s->min_items && (json_int_t)n < json_integer_value(s->min_items))
		bad(k, p, v, "should have at least %lld items",
			(long long)json_integer_value(s->min_items));
}

/* --- objects --- */

static void check_required(
	struct check *k, const struct structural *s, const json_t *v, const struct fpath *p)
{
	size_t i;
	json_t *name;
	json_array_foreach ((json_t *)(uintptr_t)s->required, i, name) {
		const char *z = json_string_value(name);
		const struct structural *m = z ? structural_member(s, z) : NULL;
		if (z && !json_object_get(v, z) && !(m && m->dflt))
			v_required(k->c, P_NAME(p, z), "");
	}
}

static void check_object(struct check *k, const struct structural *s, const json_t *v,
	const json_t *old, const struct fpath *p)
{
	json_int_t n = (json_int_t)json_object_size(v);
	const char *key;
	json_t *e;
	if (s->min_props && n < json_integer_value(s->min_props)) {
		bad(k, p, v, "should have at least %lld properties",
			(long long)json_integer_value(s->min_props));
		return;
	}
	if (s->max_props && n > json_integer_value(s->max_props)) {
		v_too_many(k->c, p, (size_t)n, (size_t)json_integer_value(s->max_props));
		return;
	}
	json_object_foreach ((json_t *)(uintptr_t)v, key, e) {
		const struct structural *m = structural_member(s, key);
		m = m ? m : s->more;
		if (m)
			check(k, m, e, json_object_get(old, key), P_NAME(p, key));
	}
	check_required(k, s, v, p);
}

/* --- alternatives --- */

/* Runs a schema aside; its causes stay in *ret. */
static bool holds(struct check *k, const struct structural *s, const json_t *v,
	const struct fpath *p, struct causes *ret)
{
	struct check aside = {.c = ret, .root = k->root};
	*ret = (struct causes){.arena = k->c->arena};
	check(&aside, s, v, NULL, p);
	return ret->n == 0;
}

static void take_over(struct check *k, const struct causes *from)
{
	for (size_t i = 0; i < from->n; i++)
		cause_add(k->c, from->v[i].reason, from->v[i].field, "%s", from->v[i].message);
}

/* Kubernetes reports these without a field. */
static void bad_choice(struct check *k, const struct fpath *p, const char *what)
{
	AUTO_BUF struct buf at = {0};
	fpath_write(p, &at);
	cause_add(k->c, "FieldValueInvalid", "<nil>", "Invalid value: \"\": \"%s\" %s",
		at.p ? at.p : "", what);
}

/* How many of v[0..n) hold; *best: the causes of the one that fails least. */
static size_t count_valid(struct check *k, const struct structural *v, size_t n,
	const json_t *value, const struct fpath *p, struct causes *best)
{
	size_t valid = 0;
	*best = (struct causes){0};
	for (size_t i = 0; i < n; i++) {
		struct causes now;
		if (holds(k, &v[i], value, p, &now))
			valid++;
		else if (!best->n || now.n < best->n)
			*best = now;
	}
	return valid;
}

static void check_choices(
	struct check *k, const struct structural *s, const json_t *v, const struct fpath *p)
{
	struct causes best;
	char text[128];
	if (s->n_any && count_valid(k, s->any, s->n_any, v, p, &best) == 0) {
		bad_choice(k, p, "must validate at least one schema (anyOf)");
		take_over(k, &best);
	}
	size_t n = s->n_one ? count_valid(k, s->one, s->n_one, v, p, &best) : 1;
	if (n == 0) {
		bad_choice(k, p, "must validate one and only one schema (oneOf). Found none valid");
		take_over(k, &best);
	} else if (n > 1) {
		(void)snprintf(text, sizeof(text),
			"must validate one and only one schema (oneOf). Found %zu valid "
			"alternatives",
			n);
		bad_choice(k, p, text);
	}
	size_t failed = 0;
	for (size_t i = 0; i < s->n_all; i++) {
		struct causes c;
		if (holds(k, &s->all[i], v, p, &c))
			continue;
		take_over(k, &c);
		failed++;
	}
	if (failed)
		bad_choice(k, p,
			failed == s->n_all ? "must validate all the schemas (allOf). None validated"
					   : "must validate all the schemas (allOf)");
	if (s->not &&holds(k, s->not, v, p, &best))
		bad_choice(k, p, "must not validate the schema (not)");
}

static void check(struct check *k, const struct structural *s, const json_t *v, const json_t *old,
	const struct fpath *p)
{
	if (p && old && v != k->root && json_equal(v, old))
		return;
	if (json_is_null(v)) {
		if (!s->nullable && s->types)
			bad_type(k, p, s->type, "null");
		check_enum(k, s, v, p);
		return;
	}
	if (s->types && !type_allowed(s, v)) {
		bad_type(k, p, s->type, type_name(v));
		check_enum(k, s, v, p);
		return;
	}
	check_choices(k, s, v, p);
	if (json_is_string(v))
		check_string(k, s, v, p);
	else if (json_is_number(v))
		check_number(k, s, v, p);
	check_enum(k, s, v, p);
	if (json_is_array(v))
		check_array(k, s, v, old, p);
	else if (json_is_object(v))
		check_object(k, s, v, old, p);
}

/* --- after the values: embedded objects, lists that are sets and maps --- */

static void check_embedded(struct check *k, const json_t *v, const struct fpath *p)
{
	static const char *const names[] = {"apiVersion", "kind"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (json_is_object(v) && !jhas(v, names[i]))
			v_required(k->c, P_NAME(p, names[i]), "must not be empty");
}

/* The keys of an element as an object, or the element itself. */
static json_t *identity(const struct structural *s, const json_t *e)
{
	if (s->list_type != LIST_MAP)
		return json_incref((json_t *)(uintptr_t)e);
	json_t *keys = json_object();
	for (size_t i = 0; s->list_keys[i]; i++) {
		json_t *v = json_object_get(e, s->list_keys[i]);
		const struct structural *m =
			s->items ? structural_member(s->items, s->list_keys[i]) : NULL;
		if (v)
			(void)json_object_set(keys, s->list_keys[i], v);
		else if (m && m->dflt)
			(void)json_object_set(keys, s->list_keys[i], (json_t *)(uintptr_t)m->dflt);
	}
	return keys;
}

static void check_unique(
	struct check *k, const struct structural *s, const json_t *list, const struct fpath *p)
{
	AUTO_JSON json_t *seen = json_object();
	size_t i;
	json_t *e;
	json_array_foreach ((json_t *)(uintptr_t)list, i, e) {
		AUTO_JSON json_t *id = identity(s, e);
		AUTO_FREE char *text =
			json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
		if (!text)
			continue;
		if (json_object_get(seen, text))
			v_duplicate(k->c, P_INDEX(p, i), id);
		else
			(void)json_object_set_new(seen, text, json_true());
	}
}

static void check_lists(
	struct check *k, const struct structural *s, const json_t *v, const struct fpath *p)
{
	const char *key;
	json_t *e;
	size_t i;
	if (s->embedded)
		check_embedded(k, v, p);
	if (json_is_object(v)) {
		json_object_foreach ((json_t *)(uintptr_t)v, key, e) {
			const struct structural *m = structural_member(s, key);
			m = m ? m : s->more;
			if (m)
				check_lists(k, m, e, P_NAME(p, key));
		}
	} else if (json_is_array(v)) {
		if (s->list_type != LIST_ATOMIC)
			check_unique(k, s, v, p);
		json_array_foreach ((json_t *)(uintptr_t)v, i, e)
			if (s->items)
				check_lists(k, s->items, e, P_INDEX(p, i));
	}
}

void structural_validate(
	const struct structural *s, const json_t *obj, const json_t *old, struct causes *c)
{
	struct check k = {.c = c, .root = obj};
	check(&k, s, obj, old, NULL);
	check_lists(&k, s, obj, NULL);
}

void structural_validate_at(
	const struct structural *s, const json_t *v, const struct fpath *p, struct causes *c)
{
	struct check k = {.c = c, .root = v};
	check(&k, s, v, NULL, p);
	check_lists(&k, s, v, p);
}

/* SPDX-License-Identifier: Apache-2.0
 * Validation of a whole object: metadata, then the kind's own rules, then what the schema itself
 * says: enums, bounds, immutable, and required strings where the kind has no rules of its own (a
 * required list or object is met by an empty one, which Go cannot tell from none). */
#include <errno.h>
#include "api/custom.h"
#include "api/rules.h"

struct walk {
	struct causes *c;
	size_t by_rules; /* causes that stood before: their fields are not reported twice */
	bool required;
};

static void check_object(const struct walk *w, const struct fpath *p, const struct type *t,
	const json_t *obj, const json_t *old);

/* Adds only what the kind's own rules have not said about this field already. */
static bool said(const struct walk *w, const struct fpath *p)
{
	AUTO_BUF struct buf b = {0};
	if (w->by_rules)
		fpath_write(p, &b);
	for (size_t i = 0; i < w->by_rules; i++)
		if (b.p && strcmp(w->c->v[i].field, b.p) == 0)
			return true;
	return false;
}

static bool in_enum(const struct field *f, const json_t *v)
{
	const char *s = json_string_value(v);
	for (size_t i = 0; s && f->enums[i]; i++)
		if (strcmp(s, f->enums[i]) == 0)
			return true;
	return false;
}

static void check_scalar(
	const struct walk *w, const struct fpath *p, const struct field *f, const json_t *v)
{
	/* some kinds report an unknown type at the object that has it */
	if (f->enums && json_is_string(v) && !in_enum(f, v) && !said(w, p) && !said(w, p->up))
		v_not_supported(w->c, p, v, f->enums);
	if (!f->bounded || !json_is_integer(v) || said(w, p))
		return;
	if (json_integer_value(v) < f->min && f->min == 0)
		v_invalid(w->c, p, v, MSG_NONNEG);
	else if (json_integer_value(v) < f->min || json_integer_value(v) > f->max)
		v_invalid(w->c, p, v, "must be between %lld and %lld, inclusive", (long long)f->min,
			(long long)f->max);
}

static void check_value(const struct walk *w, const struct fpath *p, const struct field *f,
	const json_t *v, const json_t *old)
{
	if (f->kind == F_OBJECT && json_is_object(v))
		check_object(w, p, f->type, v, old);
	else
		check_scalar(w, p, f, v);
}

static void check_field(const struct walk *w, const struct fpath *p, const struct field *f,
	const json_t *v, const json_t *old)
{
	const char *key;
	json_t *e;
	if (f->immutable && old && !jequal(v, old) && !said(w, p))
		v_invalid(w->c, p, v, "field is immutable");
	if (!v) {
		if (w->required && f->required && f->kind == F_STRING && f->shape == SHAPE_ONE &&
			!said(w, p))
			v_required(w->c, p, "");
		return;
	}
	if (f->shape == SHAPE_ONE) {
		check_value(w, p, f, v, old);
	} else if (json_is_array(v)) {
		for (size_t i = 0; i < json_array_size(v); i++)
			check_value(w, P_INDEX(p, i), f, json_array_get(v, i), NULL);
	} else if (json_is_object(v) && f->kind == F_OBJECT && f->shape == SHAPE_MAP) {
		json_object_foreach ((json_t *)v, key, e)
			check_value(w, P_KEY(p, key), f, e, NULL);
	}
}

static void check_object(const struct walk *w, const struct fpath *p, const struct type *t,
	const json_t *obj, const json_t *old)
{
	for (size_t i = 0; t && i < t->n_fields; i++) {
		const struct field *f = &t->fields[i];
		const json_t *v = jget(obj, f->name);
		if (!p && (strcmp(f->name, "metadata") == 0 || strcmp(f->name, "status") == 0))
			continue;
		/* a required zero of the Go type is written by "always": only absence counts */
		check_field(w, P_NAME(p, f->name), f, v, jget(old, f->name));
	}
}

int api_validate(const struct kind *k, const json_t *obj, const json_t *old, const char *sub,
	struct causes *c)
{
	const struct kind_rules *rules = kind_rules(k);
	struct walk w = {.c = c};
	v_object_meta(c, P_NAME(NULL, "metadata"), jget(obj, "metadata"),
		old ? jget(old, "metadata") : NULL, k->namespaced, rules->name);
	if (rules->validate)
		rules->validate(obj, old, sub, c);
	if (k->custom) {
		custom_validate(k, obj, old, c);
	} else if (!*sub) {
		w.by_rules = c->n;
		w.required = !rules->validate;
		check_object(&w, NULL, k->type, obj, old);
	}
	return c->n ? -EINVAL : 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Field selectors: equality on the fields that a kind lists as selectable. */
#include <errno.h>
#include "api/api.h"
#include "xebec/base/jv.h"

struct term {
	const char *field;
	struct str value;
	bool negate;
};
struct field_selector {
	struct arena arena;
	struct term *terms;
	size_t n;
};
#define TERMS_MAX 32

/* Fields whose selectable value is not simply the text at their path. */
static const struct special {
	const char *kind, *field, *path, *absent;
} specials[] = {
	{"Pod", "spec.hostNetwork", "spec.hostNetwork", "false"},
	{"Pod", "status.podIP", "status.podIP", ""},
	{"Pod", "status.podIPs", "status.podIPs.0.ip", ""},
	{"Node", "spec.unschedulable", "spec.unschedulable", "false"},
	{"ReplicaSet", "status.replicas", "status.replicas", "0"},
	{"ReplicationController", "status.replicas", "status.replicas", "0"},
	{"Job", "status.successful", "status.succeeded", "0"},
	{"Event", "source", "source.component", ""},
};

static const struct special *special_of(const struct kind *k, const char *field)
{
	for (size_t i = 0; k && i < ARRAY_LEN(specials); i++)
		if (strcmp(specials[i].kind, k->kind) == 0 && strcmp(specials[i].field, field) == 0)
			return &specials[i];
	return NULL;
}

static bool selectable(const struct kind *k, const char *field)
{
	if (strcmp(field, "metadata.name") == 0)
		return true;
	if (strcmp(field, "metadata.namespace") == 0)
		return !k || k->namespaced;
	for (size_t i = 0; k && k->selectable && k->selectable[i]; i++)
		if (strcmp(k->selectable[i], field) == 0)
			return true;
	return false;
}

void field_selector_free(struct field_selector *s)
{
	if (!s)
		return;
	arena_free(&s->arena);
	free(s);
}

static void cleanup_selector(struct field_selector **s)
{
	field_selector_free(*s);
}

bool field_selector_empty(const struct field_selector *s)
{
	return !s || s->n == 0;
}

/* The part before the next unescaped comma. */
static struct str cut_term(struct str *s)
{
	struct str t = *s;
	for (size_t i = 0; i < s->n; i++) {
		if (s->p[i] == '\\' && i + 1 < s->n) {
			i++;
			continue;
		}
		if (s->p[i] == ',') {
			t.n = i;
			*s = (struct str){s->p + i + 1, s->n - i - 1};
			return t;
		}
	}
	*s = (struct str){s->p + s->n, 0};
	return t;
}

/* Splits at the first operator; -EINVAL when there is none. */
static int split_term(struct str t, struct str *field, struct str *value, bool *negate)
{
	for (size_t i = 0; i < t.n; i++) {
		size_t len = 1;
		if (t.p[i] == '\\') {
			i++;
			continue;
		}
		*negate = t.p[i] == '!' && i + 1 < t.n && t.p[i + 1] == '=';
		if (t.p[i] != '=' && !*negate)
			continue;
		if (*negate || (i + 1 < t.n && t.p[i + 1] == '='))
			len = 2;
		*field = (struct str){t.p, i};
		*value = (struct str){t.p + i + len, t.n - i - len};
		return 0;
	}
	return -EINVAL;
}

/* "\\", "\=" and "\," stand for themselves; any other escape, or a bare "=", is an error. */
static int unescape(struct arena *a, struct str v, struct str *ret)
{
	char *out = arena_alloc(a, v.n + 1);
	size_t n = 0;
	if (!out)
		return -ENOMEM;
	for (size_t i = 0; i < v.n; i++) {
		char c = v.p[i];
		if (c == '=')
			return -EINVAL;
		if (c == '\\') {
			if (++i == v.n || !strchr("\\=,", v.p[i]))
				return -EINVAL;
			c = v.p[i];
		}
		out[n++] = c;
	}
	*ret = (struct str){out, n};
	return 0;
}

static int bad_term(struct str t, struct err *e)
{
	return err_set(e, EINVAL, "BadRequest", "invalid field selector: can't understand '%.*s'",
		(int)(t.n < 80 ? t.n : 80), t.p);
}

static int add_term(struct field_selector *s, const struct kind *k, struct str t, struct err *e)
{
	struct term *row = &s->terms[s->n];
	struct str field;
	if (split_term(t, &field, &row->value, &row->negate) < 0 ||
		unescape(&s->arena, row->value, &row->value) < 0)
		return bad_term(t, e);
	row->field = arena_strdup(&s->arena, field);
	if (!row->field)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	if (!selectable(k, row->field) && k && k->selectable && k->selectable[0])
		return err_set(
			e, EINVAL, "BadRequest", "field label not supported: %.100s", row->field);
	if (!selectable(k, row->field))
		return err_set(e, EINVAL, "BadRequest",
			"\"%.100s\" is not a known field selector: only \"metadata.name\", "
			"\"metadata.namespace\"",
			row->field);
	s->n++;
	return 0;
}

int field_selector_parse(
	const struct kind *k, struct str text, struct field_selector **ret, struct err *e)
{
	AUTO(cleanup_selector) struct field_selector *s = calloc(1, sizeof(*s));
	if (s)
		s->terms = arena_alloc(&s->arena, TERMS_MAX * sizeof(*s->terms));
	if (!s || !s->terms)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	while (text.n) {
		struct str t = cut_term(&text);
		int r;
		if (t.n == 0)
			continue;
		if (s->n == TERMS_MAX)
			return err_set(e, EINVAL, "BadRequest",
				"a field selector may have at most %d terms", TERMS_MAX);
		r = add_term(s, k, t, e);
		if (r < 0)
			return r;
	}
	/* what needs a kind to evaluate is resolved once, here */
	for (size_t i = 0; i < s->n; i++) {
		const struct special *sp = special_of(k, s->terms[i].field);
		if (sp)
			s->terms[i].field = sp->field;
	}
	*ret = STEAL(s);
	return 0;
}

static struct str field_text(const char *field, struct jv obj)
{
	const struct special *sp = NULL;
	struct jv v;
	for (size_t i = 0; i < ARRAY_LEN(specials) && !sp; i++)
		if (specials[i].field == field) /* resolved at parse time: the same pointer */
			sp = &specials[i];
	v = jv_path(obj, sp ? sp->path : field);
	if (!jv_present(v) || jv_type(v) == JV_NULL)
		return str_of(sp ? sp->absent : "");
	return jv_type(v) == JV_STRING ? jv_raw_str(v) : jv_bytes(v);
}

bool field_selector_match(const struct field_selector *s, struct jv obj)
{
	for (size_t i = 0; s && i < s->n; i++) {
		const struct term *t = &s->terms[i];
		if (str_eq(field_text(t->field, obj), t->value) == t->negate)
			return false;
	}
	return true;
}

struct str field_selector_value(const struct field_selector *s, const char *field)
{
	for (size_t i = 0; s && i < s->n; i++)
		if (!s->terms[i].negate && strcmp(s->terms[i].field, field) == 0)
			return s->terms[i].value;
	return (struct str){NULL, 0};
}

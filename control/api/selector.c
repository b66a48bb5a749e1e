/* SPDX-License-Identifier: Apache-2.0
 * Label selectors: the query-string language and meta/v1 LabelSelector, compiled to a list of
 * requirements that are matched against label bytes without allocating. */
#include <errno.h>
#include "api/rules.h"

enum sel_op { OP_IN, OP_NOT_IN, OP_EXISTS, OP_NOT_EXISTS, OP_GREATER, OP_LESS };
struct requirement {
	const char *key;
	enum sel_op op;
	struct str *values;
	size_t n_values;
	int64_t bound; /* OP_GREATER, OP_LESS */
};
struct label_selector {
	struct arena arena;
	struct requirement *reqs;
	size_t n, cap;
	bool nothing; /* an absent LabelSelector selects nothing */
};

void label_selector_free(struct label_selector *s)
{
	if (!s)
		return;
	arena_free(&s->arena);
	free(s);
}

static void cleanup_selector(struct label_selector **s)
{
	label_selector_free(*s);
}

bool label_selector_empty(const struct label_selector *s)
{
	return !s || (s->n == 0 && !s->nothing);
}

static struct requirement *add_requirement(struct label_selector *s)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 4;
		struct requirement *v = arena_alloc(&s->arena, cap * sizeof(*v));
		if (!v)
			return NULL;
		if (s->n)
			memcpy(v, s->reqs, s->n * sizeof(*v));
		s->reqs = v;
		s->cap = cap;
	}
	return &s->reqs[s->n++];
}

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "InternalError", "out of memory");
}

static int add_value(struct label_selector *s, struct requirement *r, struct str v, struct err *e)
{
	/* grows by powers of two: a full array has a power-of-two length */
	if ((r->n_values & (r->n_values - 1)) == 0) {
		size_t cap = r->n_values ? r->n_values * 2 : 1;
		struct str *nv = arena_alloc(&s->arena, cap * sizeof(*nv));
		if (!nv)
			return no_memory(e);
		if (r->n_values)
			memcpy(nv, r->values, r->n_values * sizeof(*nv));
		r->values = nv;
	}
	v.p = arena_strdup(&s->arena, v);
	if (!v.p)
		return no_memory(e);
	r->values[r->n_values++] = v;
	return 0;
}

static int check_requirement(struct requirement *r, struct err *e)
{
	const char *msg[MSG_MAX];
	if (fmt_qualified_name(str_of(r->key), msg))
		return err_set(e, EINVAL, "BadRequest",
			"unable to parse requirement: <nil>: Invalid value: \"%.63s\": %.140s",
			r->key, msg[0]);
	if ((r->op == OP_IN || r->op == OP_NOT_IN) && r->n_values == 0)
		return err_set(e, EINVAL, "BadRequest",
			"unable to parse requirement: values: Invalid value: []: for 'in', 'notin' "
			"operators, values set can't be empty");
	for (size_t i = 0; i < r->n_values; i++)
		if (fmt_label_value(r->values[i], msg))
			return err_set(e, EINVAL, "BadRequest",
				"unable to parse requirement: values[0][%s]: Invalid value: "
				"\"%.40s\": %.100s",
				r->key, r->values[i].p, msg[0]);
	if (r->op != OP_GREATER && r->op != OP_LESS)
		return 0;
	if (r->n_values != 1 || str_i64(r->values[0], &r->bound) < 0)
		return err_set(e, EINVAL, "BadRequest",
			"unable to parse requirement: values[0][%s]: for 'Gt', 'Lt' operators, the "
			"value must be an integer",
			r->key);
	return 0;
}

/* --- the text form --- */

struct lexer {
	struct str rest;
	struct str tok; /* current token; empty at the end */
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void lex(struct lexer *l)
{
	size_t n = 0;
	while (l->rest.n && is_space(*l->rest.p))
		l->rest = (struct str){l->rest.p + 1, l->rest.n - 1};
	if (l->rest.n && strchr("=!(),<>", *l->rest.p)) {
		n = 1;
		if (l->rest.n > 1 && l->rest.p[1] == '=' && strchr("=!", *l->rest.p))
			n = 2;
	} else {
		while (n < l->rest.n && !is_space(l->rest.p[n]) && !strchr("=!(),<>", l->rest.p[n]))
			n++;
	}
	l->tok = (struct str){l->rest.p, n};
	l->rest = (struct str){l->rest.p + n, l->rest.n - n};
}

static bool is_word(struct str t)
{
	return t.n && !strchr("=!(),<>", *t.p);
}

static int unexpected(const struct lexer *l, const char *expected, struct err *e)
{
	return err_set(e, EINVAL, "BadRequest",
		"unable to parse requirement: found '%.*s', expected: %s",
		(int)(l->tok.n < 60 ? l->tok.n : 60), l->tok.n ? l->tok.p : "", expected);
}

/* "(a, b,)": a missing word between commas is the empty value. */
static int parse_set(
	struct label_selector *s, struct requirement *r, struct lexer *l, struct err *e)
{
	int rc;
	if (!str_eqz(l->tok, "("))
		return unexpected(l, "'('", e);
	lex(l);
	if (str_eqz(l->tok, ")")) {
		lex(l);
		return 0;
	}
	for (;;) {
		struct str v = {"", 0};
		if (is_word(l->tok)) {
			v = l->tok;
			lex(l);
		}
		rc = add_value(s, r, v, e);
		if (rc < 0)
			return rc;
		if (str_eqz(l->tok, ",")) {
			lex(l);
			continue;
		}
		if (!str_eqz(l->tok, ")"))
			return unexpected(l, "',', or ')'", e);
		lex(l);
		return 0;
	}
}

static const struct {
	const char *text;
	enum sel_op op;
	bool set;
} operators[] = {
	{"=", OP_IN, false},
	{"==", OP_IN, false},
	{"!=", OP_NOT_IN, false},
	{"in", OP_IN, true},
	{"notin", OP_NOT_IN, true},
	{">", OP_GREATER, false},
	{"<", OP_LESS, false},
};

static int parse_operator(
	struct label_selector *s, struct requirement *r, struct lexer *l, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
		struct str v = {"", 0};
		if (!str_eqz(l->tok, operators[i].text))
			continue;
		r->op = operators[i].op;
		lex(l);
		if (operators[i].set)
			return parse_set(s, r, l, e);
		if (is_word(l->tok)) {
			v = l->tok;
			lex(l);
		}
		return add_value(s, r, v, e);
	}
	return unexpected(l, "in, notin, =, ==, !=, gt, lt", e);
}

static int parse_requirement(struct label_selector *s, struct lexer *l, struct err *e)
{
	struct requirement *r = add_requirement(s);
	int rc = 0;
	if (!r)
		return no_memory(e);
	r->op = OP_EXISTS;
	if (str_eqz(l->tok, "!")) {
		r->op = OP_NOT_EXISTS;
		lex(l);
	}
	if (!is_word(l->tok))
		return unexpected(l, "identifier", e);
	r->key = arena_strdup(&s->arena, l->tok);
	if (!r->key)
		return no_memory(e);
	lex(l);
	if (r->op == OP_EXISTS && l->tok.n && !str_eqz(l->tok, ","))
		rc = parse_operator(s, r, l, e);
	return rc < 0 ? rc : check_requirement(r, e);
}

int label_selector_parse(struct str text, struct label_selector **ret, struct err *e)
{
	AUTO(cleanup_selector) struct label_selector *s = calloc(1, sizeof(*s));
	struct lexer l = {.rest = text};
	int r;
	if (!s)
		return no_memory(e);
	lex(&l);
	while (l.tok.n) {
		r = parse_requirement(s, &l, e);
		if (r < 0)
			return r;
		if (!l.tok.n)
			break;
		if (!str_eqz(l.tok, ","))
			return unexpected(&l, "',' or 'end of string'", e);
		lex(&l);
		if (!l.tok.n)
			return unexpected(&l, "identifier after ','", e);
	}
	*ret = STEAL(s);
	return 0;
}

/* --- meta/v1 LabelSelector --- */

static int from_match_labels(struct label_selector *s, const json_t *labels, struct err *e)
{
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)labels, key, v) {
		struct requirement *r = add_requirement(s);
		int rc;
		if (!r)
			return no_memory(e);
		r->op = OP_IN;
		r->key = arena_strdup(&s->arena, str_of(key));
		rc = r->key ? add_value(s, r, str_of(json_string_value(v)), e) : no_memory(e);
		if (rc == 0)
			rc = check_requirement(r, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int from_expression(struct label_selector *s, const json_t *x, struct err *e)
{
	static const struct {
		const char *name;
		enum sel_op op;
	} names[] = {{"In", OP_IN}, {"NotIn", OP_NOT_IN}, {"Exists", OP_EXISTS},
		{"DoesNotExist", OP_NOT_EXISTS}};
	const char *op = jstr(x, "operator");
	const json_t *values = jget(x, "values");
	struct requirement *r = add_requirement(s);
	size_t i = 0;
	if (!r)
		return no_memory(e);
	while (i < ARRAY_LEN(names) && strcmp(op, names[i].name) != 0)
		i++;
	if (i == ARRAY_LEN(names))
		return err_set(e, EINVAL, "BadRequest",
			"\"%.60s\" is not a valid label selector operator", op);
	r->op = names[i].op;
	r->key = arena_strdup(&s->arena, str_of(jstr(x, "key")));
	if (!r->key)
		return no_memory(e);
	for (i = 0; i < json_array_size(values); i++) {
		int rc = add_value(s, r, str_of(json_string_value(json_array_get(values, i))), e);
		if (rc < 0)
			return rc;
	}
	return check_requirement(r, e);
}

int label_selector_from_json(const json_t *sel, struct label_selector **ret, struct err *e)
{
	AUTO(cleanup_selector) struct label_selector *s = calloc(1, sizeof(*s));
	const json_t *list = jget(sel, "matchExpressions");
	int r;
	if (!s)
		return no_memory(e);
	s->nothing = !sel || json_is_null(sel);
	r = from_match_labels(s, jget(sel, "matchLabels"), e);
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++)
		r = from_expression(s, json_array_get(list, i), e);
	if (r < 0)
		return r;
	*ret = STEAL(s);
	return 0;
}

/* --- matching --- */

static bool has_value(const struct requirement *r, struct str v)
{
	for (size_t i = 0; i < r->n_values; i++)
		if (str_eq(r->values[i], v))
			return true;
	return false;
}

static bool requirement_match(const struct requirement *r, struct jv labels)
{
	struct jv v = jv_get(labels, r->key);
	struct str text;
	int64_t n;
	if (!jv_present(v))
		return r->op == OP_NOT_IN || r->op == OP_NOT_EXISTS;
	text = jv_raw_str(v);
	switch (r->op) {
	case OP_IN:
		return has_value(r, text);
	case OP_NOT_IN:
		return !has_value(r, text);
	case OP_EXISTS:
		return true;
	case OP_NOT_EXISTS:
		return false;
	case OP_GREATER:
		return str_i64(text, &n) == 0 && n > r->bound;
	case OP_LESS:
		return str_i64(text, &n) == 0 && n < r->bound;
	}
	return false;
}

bool label_selector_match(const struct label_selector *s, struct jv labels)
{
	if (!s)
		return true;
	if (s->nothing)
		return false;
	for (size_t i = 0; i < s->n; i++)
		if (!requirement_match(&s->reqs[i], labels))
			return false;
	return true;
}

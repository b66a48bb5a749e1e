/* SPDX-License-Identifier: Apache-2.0
 * JSONPath over bytes: a list of steps, tried depth first until a value is found. */
#include "api/jsonpath.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

enum step_kind { STEP_MEMBER, STEP_INDEX, STEP_ALL, STEP_DESCEND, STEP_FILTER };
enum { STEPS_MAX = 32, DEPTH_MAX = 64, DESCENTS_MAX = 2 };

struct step {
	enum step_kind kind;
	const char *name; /* STEP_MEMBER */
	long from, to;	  /* STEP_INDEX: [from, to); to == from + 1 for one element */
	bool open;	  /* STEP_INDEX: no upper bound */
	/* STEP_FILTER */
	const struct jsonpath *left;
	const char *op; /* NULL: exists */
	struct jv right;
};
struct jsonpath {
	struct step *v;
	size_t n;
};
struct parser {
	struct arena *a;
	const char *p;
	struct jsonpath *out;
	struct err *e;
	unsigned depth, descents;
};

static int parse_steps(struct parser *s, const char *stop);

static int bad(struct parser *s, const char *what)
{
	return err_set(s->e, EINVAL, "Invalid", "%s at \"%.40s\"", what, s->p);
}

static struct step *add_step(struct parser *s, enum step_kind kind)
{
	if (s->out->n == STEPS_MAX)
		return NULL;
	struct step *st = &s->out->v[s->out->n++];
	*st = (struct step){.kind = kind};
	return st;
}

static struct jsonpath *path_keep(struct arena *a, const struct jsonpath *from)
{
	struct jsonpath *p = arena_alloc(a, sizeof(*p));
	if (p)
		p->v = arena_alloc(a, (from->n + 1) * sizeof(*p->v));
	if (!p || !p->v)
		return NULL;
	p->n = from->n;
	if (p->n)
		memcpy(p->v, from->v, p->n * sizeof(*p->v));
	return p;
}

/* Letters, digits, '_', '-', '/' and escaped bytes. */
static int parse_name(struct parser *s)
{
	AUTO_BUF struct buf b = {0};
	for (; *s->p && !strchr(".[]() =!<>,'\"", *s->p); s->p++) {
		if (*s->p == '\\' && s->p[1])
			s->p++;
		buf_addc(&b, *s->p);
	}
	struct step *st = b.len ? add_step(s, STEP_MEMBER) : NULL;
	if (!st)
		return bad(s, "expected a member");
	if (b.len == 1 && *b.p == '*') {
		st->kind = STEP_ALL;
		return 0;
	}
	st->name = arena_strdup(s->a, buf_str(&b));
	return st->name ? 0 : -ENOMEM;
}

static int parse_quoted(struct parser *s)
{
	char q = *s->p++;
	AUTO_BUF struct buf b = {0};
	for (; *s->p && *s->p != q; s->p++) {
		if (*s->p == '\\' && s->p[1])
			s->p++;
		buf_addc(&b, *s->p);
	}
	struct step *st = *s->p ? add_step(s, STEP_MEMBER) : NULL;
	if (!st)
		return bad(s, "unterminated quote");
	s->p++;
	st->name = arena_strdup(s->a, buf_str(&b));
	return st->name ? 0 : -ENOMEM;
}

static int parse_index(struct parser *s)
{
	char *end;
	struct step *st = add_step(s, STEP_INDEX);
	if (!st)
		return bad(s, "too long");
	st->from = strtol(s->p, &end, 10);
	st->to = st->from + 1;
	st->open = st->from == -1;
	bool given = end != s->p;
	s->p = end;
	if (*s->p == ':') {
		s->p++;
		st->to = strtol(s->p, &end, 10);
		st->open = end == s->p;
		s->p = end;
	} else if (!given) {
		return bad(s, "expected an index");
	}
	return 0;
}

static void blanks(struct parser *s)
{
	while (*s->p == ' ')
		s->p++;
}

/* A literal becomes JSON text: 'a' and "a" a string, the rest as it is. */
static int parse_literal(struct parser *s, struct step *st)
{
	AUTO_BUF struct buf b = {0};
	if (*s->p == '\'' || *s->p == '"') {
		char q = *s->p++;
		const char *start = s->p;
		while (*s->p && *s->p != q)
			s->p++;
		if (!*s->p)
			return bad(s, "unterminated quote");
		buf_add_json_str(&b, (struct str){start, (size_t)(s->p - start)});
		s->p++;
	} else {
		while (*s->p && *s->p != ')' && *s->p != ' ')
			buf_addc(&b, *s->p++);
	}
	if (!b.len || !jv_valid(buf_str(&b), 2))
		return bad(s, "expected a value");
	char *z = arena_strdup(s->a, buf_str(&b));
	if (!z)
		return -ENOMEM;
	st->right = jv_of(str_of(z));
	return 0;
}

/* "?(@.type=="Ready")", after the '?'. */
static int parse_filter(struct parser *s)
{
	static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
	struct step steps[STEPS_MAX];
	struct jsonpath *outer = s->out, left = {.v = steps};
	struct step *st = add_step(s, STEP_FILTER);
	if (!st || s->depth++ > 4)
		return bad(s, "too long");
	if (s->p[0] != '(' || s->p[1] != '@')
		return bad(s, "expected (@");
	s->p += 2;
	s->out = &left;
	int r = parse_steps(s, ") =!<>");
	s->out = outer;
	st->left = r < 0 ? NULL : path_keep(s->a, &left);
	if (!st->left)
		return r < 0 ? r : -ENOMEM;
	blanks(s);
	for (size_t i = 0; i < ARRAY_LEN(ops) && !st->op; i++)
		if (strncmp(s->p, ops[i], strlen(ops[i])) == 0)
			st->op = ops[i];
	if (st->op) {
		s->p += strlen(st->op);
		blanks(s);
		r = parse_literal(s, st);
		blanks(s);
	}
	if (r == 0 && *s->p++ != ')')
		r = bad(s, "expected )");
	return r;
}

static int parse_bracket(struct parser *s)
{
	int r;
	blanks(s);
	if (*s->p == '\'' || *s->p == '"') {
		r = parse_quoted(s);
	} else if (*s->p == '*') {
		s->p++;
		r = add_step(s, STEP_ALL) ? 0 : bad(s, "too long");
	} else if (*s->p == '?') {
		s->p++;
		r = parse_filter(s);
	} else {
		r = parse_index(s);
	}
	blanks(s);
	if (r == 0 && *s->p != ']')
		r = bad(s, "expected ]");
	if (r == 0)
		s->p++;
	return r;
}

/* Until one of the bytes of stop, or the end. */
static int parse_steps(struct parser *s, const char *stop)
{
	while (*s->p && !strchr(stop, *s->p)) {
		int r;
		if (s->p[0] == '.' && s->p[1] == '.') {
			s->p += 2;
			bool ok = s->descents++ < DESCENTS_MAX && add_step(s, STEP_DESCEND);
			r = ok ? 0 : bad(s, "too long");
			if (r == 0 && *s->p != '[')
				r = parse_name(s);
		} else if (*s->p == '.') {
			s->p++;
			r = *s->p == '[' ? 0 : parse_name(s);
		} else if (*s->p == '[') {
			s->p++;
			r = parse_bracket(s);
		} else {
			r = bad(s, "unexpected text");
		}
		if (r < 0)
			return r;
	}
	return 0;
}

int jsonpath_new(struct arena *a, const char *text, const struct jsonpath **ret, struct err *e)
{
	struct step steps[STEPS_MAX];
	struct jsonpath out = {.v = steps};
	char *copy = arena_strdup(a, str_of(text));
	if (!copy)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	size_t n = strlen(copy);
	if (n >= 2 && copy[0] == '{' && copy[n - 1] == '}') {
		copy[n - 1] = '\0';
		copy++;
	}
	struct parser s = {.a = a, .p = copy, .out = &out, .e = e};
	if (*copy == '$')
		s.p++;
	if (*s.p != '.' && *s.p != '[')
		return bad(&s, "a path begins with a dot");
	if (strcmp(s.p, ".") == 0)
		s.p++;
	int r = parse_steps(&s, "");
	const struct jsonpath *kept = r == 0 ? path_keep(a, &out) : NULL;
	if (r == 0 && !kept)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	if (r == 0)
		*ret = kept;
	return r;
}

/* --- evaluation --- */

static struct jv find(const struct step *v, size_t n, struct jv at, unsigned depth);

static bool holds(const char *op, int order)
{
	bool eq = order == 0;
	switch (op[0]) {
	case '=':
		return eq;
	case '!':
		return !eq;
	case '<':
		return order < 0 || (op[1] == '=' && eq);
	default:
		return order > 0 || (op[1] == '=' && eq);
	}
}

static bool filter(const struct step *st, struct jv element)
{
	struct jv l = find(st->left->v, st->left->n, element, 0);
	if (!st->op)
		return jv_present(l);
	if (!jv_present(l) || jv_type(l) != jv_type(st->right))
		return false;
	if (jv_type(l) == JV_NUMBER) {
		double x = jv_num(l, 0), y = jv_num(st->right, 0);
		return holds(st->op, (x > y) - (x < y));
	}
	if (jv_type(l) == JV_STRING)
		return holds(st->op, str_cmp(jv_raw_str(l), jv_raw_str(st->right)));
	return holds(st->op, str_cmp(jv_bytes(l), jv_bytes(st->right)));
}

static struct jv find_index(const struct step *v, size_t n, struct jv at, unsigned depth)
{
	long len = (long)jv_len(at), from = v->from < 0 ? v->from + len : v->from, i = 0;
	long to = v->open ? len : v->to < 0 ? v->to + len : v->to;
	if (jv_type(at) != JV_ARRAY || from < 0)
		return (struct jv){0};
	if (v->from < 0 && !v->open && v->to == v->from + 1)
		to = from + 1;
	jv_each (it, at) {
		if (i >= from && i < to) {
			struct jv r = find(v + 1, n - 1, it.v, depth + 1);
			if (jv_present(r))
				return r;
		}
		i++;
	}
	return (struct jv){0};
}

/* Every child, or every child that the filter lets through. */
static struct jv find_children(const struct step *v, size_t n, struct jv at, unsigned depth)
{
	if (jv_type(at) != JV_ARRAY && (jv_type(at) != JV_OBJECT || v->kind == STEP_FILTER))
		return (struct jv){0};
	jv_each (it, at) {
		if (v->kind == STEP_FILTER && !filter(v, it.v))
			continue;
		struct jv r = find(v + 1, n - 1, it.v, depth + 1);
		if (jv_present(r))
			return r;
	}
	return (struct jv){0};
}

static struct jv find_below(const struct step *v, size_t n, struct jv at, unsigned depth)
{
	struct jv r = find(v + 1, n - 1, at, depth + 1);
	if (jv_present(r) || (jv_type(at) != JV_ARRAY && jv_type(at) != JV_OBJECT))
		return r;
	jv_each (it, at) {
		r = find(v, n, it.v, depth + 1);
		if (jv_present(r))
			return r;
	}
	return (struct jv){0};
}

static struct jv find(const struct step *v, size_t n, struct jv at, unsigned depth)
{
	if (n == 0 || !jv_present(at) || depth > DEPTH_MAX)
		return n == 0 ? at : (struct jv){0};
	switch (v->kind) {
	case STEP_MEMBER:
		if (jv_type(at) != JV_OBJECT)
			return (struct jv){0};
		return find(v + 1, n - 1, jv_get(at, v->name), depth + 1);
	case STEP_INDEX:
		return find_index(v, n, at, depth);
	case STEP_DESCEND:
		return find_below(v, n, at, depth);
	default:
		return find_children(v, n, at, depth);
	}
}

struct jv jsonpath_first(const struct jsonpath *p, struct jv obj)
{
	return find(p->v, p->n, obj, 0);
}

bool jsonpath_plain(const struct jsonpath *p, struct buf *out)
{
	for (size_t i = 0; i < p->n; i++) {
		if (p->v[i].kind != STEP_MEMBER)
			return false;
		buf_addf(out, "%s%s", i ? "." : "", p->v[i].name);
	}
	return p->n > 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * meta/v1 Status: how every failure looks to a client, with its causes. */
#include <stdarg.h>
#include "api/api.h"

#define CAUSES_MAX 256 /* a body can be wrong in more places than anybody reads */

static bool causes_grow(struct causes *c)
{
	size_t cap = c->cap ? c->cap * 2 : 8;
	struct cause *v = arena_alloc(c->arena, cap * sizeof(*v));
	if (!v)
		return false;
	if (c->n)
		memcpy(v, c->v, c->n * sizeof(*v));
	c->v = v;
	c->cap = cap;
	return true;
}

bool causes_full(const struct causes *c)
{
	return c->n >= CAUSES_MAX;
}

void cause_add(struct causes *c, const char *reason, const char *field, const char *fmt, ...)
{
	va_list ap;
	char text[4096];
	if (causes_full(c) || (c->n == c->cap && !causes_grow(c)))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	c->v[c->n++] = (struct cause){
		.reason = reason,
		.field = arena_strdup(c->arena, str_of(field)),
		.message = arena_strdup(c->arena, str_of(text)),
	};
}

static void add_quoted(struct buf *out, const char *z)
{
	buf_add_json_str(out, str_of(z ? z : ""));
}

static bool same_cause(const struct cause *a, const struct cause *b)
{
	return strcmp(a->field, b->field) == 0 && strcmp(a->message, b->message) == 0;
}

/* `field: body`, several in brackets, repetitions once: Kubernetes' aggregate error. */
static void causes_text(const struct causes *c, struct buf *m)
{
	size_t shown = 0, start = m->len;
	for (size_t i = 0; i < c->n; i++) {
		bool seen = false;
		for (size_t j = 0; j < i && !seen; j++)
			seen = same_cause(&c->v[i], &c->v[j]);
		if (seen)
			continue;
		buf_addf(m, "%s%s: %s", shown++ ? ", " : "", c->v[i].field, c->v[i].message);
	}
	if (shown < 2)
		return;
	buf_addc(m, ']');
	buf_addc(m, ']'); /* room for the opening one */
	if (m->err)
		return;
	memmove(m->p + start + 1, m->p + start, m->len - start - 1);
	m->p[start] = '[';
}

/* `Deployment.apps "d" is invalid: ...` */
static void invalid_message(
	struct buf *m, const struct kind *k, const char *name, const struct causes *c)
{
	if (k)
		buf_adds(m, k->kind);
	if (k && k->group && *k->group)
		buf_addf(m, ".%s", k->group);
	buf_addc(m, ' ');
	add_quoted(m, name);
	buf_adds(m, " is invalid: ");
	causes_text(c, m);
}

static void write_causes(struct buf *out, const struct causes *c)
{
	buf_adds(out, "\"causes\":[");
	for (size_t i = 0; i < c->n; i++) {
		const struct cause *v = &c->v[i];
		buf_adds(out, i ? ",{" : "{");
		if (v->reason && *v->reason) {
			buf_adds(out, "\"reason\":");
			add_quoted(out, v->reason);
			buf_addc(out, ',');
		}
		buf_adds(out, "\"message\":");
		add_quoted(out, v->message);
		if (v->field && *v->field) {
			buf_adds(out, ",\"field\":");
			add_quoted(out, v->field);
		}
		buf_addc(out, '}');
	}
	buf_addc(out, ']');
}

/* Invalid speaks of the kind, everything else of the resource. */
static void write_details(struct buf *out, const char *reason, const struct kind *k,
	const char *name, const struct causes *c)
{
	const char *sep = "";
	bool invalid = strcmp(reason, "Invalid") == 0;
	buf_adds(out, ",\"details\":{");
	if (name && *name) {
		buf_adds(out, "\"name\":");
		add_quoted(out, name);
		sep = ",";
	}
	if (k && k->group && *k->group) {
		buf_addf(out, "%s\"group\":", sep);
		add_quoted(out, k->group);
		sep = ",";
	}
	if (k && *(invalid ? k->kind : k->plural)) {
		buf_addf(out, "%s\"kind\":", sep);
		add_quoted(out, invalid ? k->kind : k->plural);
		sep = ",";
	}
	if (c && c->n) {
		buf_adds(out, sep);
		write_causes(out, c);
	}
	buf_addc(out, '}');
}

/* Reasons whose Status carries an (even empty) details object. */
static bool wants_details(const char *reason)
{
	static const char *const with[] = {"Invalid", "UnsupportedMediaType"};
	for (size_t i = 0; i < ARRAY_LEN(with); i++)
		if (strcmp(reason, with[i]) == 0)
			return true;
	return false;
}

void status_write(struct buf *out, const struct err *e, const struct kind *kind, const char *name,
	const struct causes *causes)
{
	int code = err_http_status(e);
	const char *reason = e->reason ? e->reason : err_reason_of_http(code);
	bool from_causes = causes && causes->n && strcmp(reason, "Invalid") == 0;
	AUTO_BUF struct buf m = {0};

	if (from_causes)
		invalid_message(&m, kind, name, causes);
	else
		buf_adds(&m, e->msg);
	buf_adds(out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},"
		      "\"status\":\"Failure\",\"message\":");
	buf_add_json_str(out, buf_str(&m));
	if (*reason) {
		buf_adds(out, ",\"reason\":");
		add_quoted(out, reason);
	}
	if (kind || (name && *name) || (causes && causes->n) || wants_details(reason))
		write_details(out, reason, kind, name, causes);
	buf_addf(out, ",\"code\":%d}", code);
}

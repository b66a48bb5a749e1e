/* SPDX-License-Identifier: Apache-2.0
 * Reconcilers without an API: caches are tables of JSON texts, the actions come out as text. */
#ifndef XEBEC_TEST_TABLES_H
#define XEBEC_TEST_TABLES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "controllers/object.h"

#define NOW_TEXT "2026-01-01T12:00:00Z"

struct tables {
	struct cache cache; /* first */
	struct cobj *v[R_COUNT][128];
	size_t n[R_COUNT];
	int64_t now, started;
	struct controllers_config cfg;
	char *text; /* one line an action */
	size_t lines;
	int64_t requeue;
};

static inline struct cobj *tables_get(struct cache *c, enum res r, const char *ns, const char *name)
{
	struct tables *t = (struct tables *)c;

	for (size_t i = 0; i < t->n[r]; i++)
		if (strcmp(t->v[r][i]->ns, ns) == 0 && strcmp(t->v[r][i]->name, name) == 0)
			return t->v[r][i];
	return NULL;
}

static inline bool tables_next(
	struct cache *c, enum res r, const char *ns, struct informer_iter *it)
{
	struct tables *t = (struct tables *)c;
	size_t i = (size_t)(uintptr_t)it->priv[0];

	while (i < t->n[r] && ns && strcmp(t->v[r][i]->ns, ns) != 0)
		i++;
	if (i >= t->n[r])
		return false;
	it->obj = t->v[r][i];
	it->priv[0] = (void *)(uintptr_t)(i + 1);
	return true;
}

static inline void tables_init(struct tables *t)
{
	*t = (struct tables){.cache = {.get = tables_get, .next = tables_next}};
	assert_int_equal(time_parse(STR(NOW_TEXT), &t->now), 0);
}

static inline void cobj_drop(struct cobj *o)
{
	free((char *)(uintptr_t)o->json.p);
	free(o->ns);
	free(o->name);
	free(o->uid);
	free(o->decoded);
	free(o);
}

static inline void tables_clear(struct tables *t)
{
	for (int r = 0; r < R_COUNT; r++)
		for (size_t i = 0; i < t->n[r]; i++)
			cobj_drop(t->v[r][i]);
	free(t->text);
	tables_init(t);
}

/* Adds an object; single quotes stand for double ones. */
static inline struct cobj *add(struct tables *t, enum res r, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static inline struct cobj *add(struct tables *t, enum res r, const char *fmt, ...)
{
	struct cobj *o = calloc(1, sizeof(*o));
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	assert_true(vasprintf(&text, fmt, ap) > 0);
	va_end(ap);
	for (char *p = text; *p; p++)
		if (*p == '\'')
			*p = '"';
	if (!jv_valid(str_of(text), 50))
		fail_msg("not JSON: %s", text);
	o->refs = 1;
	o->json = str_of(text);
	o->v = jv_of(o->json);
	o->ns = jv_strdup(jv_path(o->v, "metadata.namespace"));
	o->name = jv_strdup(jv_path(o->v, "metadata.name"));
	o->uid = jv_strdup(jv_path(o->v, "metadata.uid"));
	o->rv = 1;
	o->decoded = r == R_POD ? pod_decode(o->v) : NULL;
	assert_true(t->n[r] < 128);
	t->v[r][t->n[r]++] = o;
	return o;
}

static inline void describe(struct buf *out, const struct action *a)
{
	static const char *const verbs[] = {"create", "update", "patch", "delete", "send", "event"};

	buf_addf(out, "%s ", verbs[a->kind]);
	if (a->kind == ACT_EVENT)
		buf_addf(out, "%s %s %s", a->on_ok.about.name, a->on_ok.reason, a->on_ok.msg);
	else if (a->kind == ACT_SEND)
		buf_addf(out, "%s %s", a->method, a->path);
	else
		buf_addf(out, "%s %s/%s%s%s ", a->resource->plural, a->ns ? a->ns : "",
			a->name ? a->name : "", a->sub ? "/" : "", a->sub ? a->sub : "");
	buf_add_str(out, a->body);
	if (a->kind != ACT_EVENT && a->on_ok.reason)
		buf_addf(out, " !%s", a->on_ok.reason);
	if (a->kind == ACT_DELETE && a->grace == 0)
		buf_adds(out, " now");
	buf_addc(out, '\n');
}

/* Runs one key; the actions are in t->text afterwards. */
static inline void run(
	struct tables *t, const struct controller *c, const char *ns, const char *name)
{
	AUTO_BUF struct buf b = {0};
	struct rc rc;
	void *state = NULL;

	rc_init(&rc, &t->cache, &t->cfg, t->now);
	rc.started = t->started;
	rc.state = &state;
	c->reconcile(&rc, ns, name);
	assert_false(rc.again);
	t->lines = rc.n_actions;
	t->requeue = rc.requeue;
	for (const struct action *a = rc.actions; a; a = a->next)
		describe(&b, a);
	free(t->text);
	t->text = buf_steal(&b);
	if (!t->text)
		t->text = calloc(1, 1);
	rc_fini(&rc);
}

/* Some action's line holds this text (single quotes for double ones). */
static inline bool acted(const struct tables *t, const char *what)
{
	char want[600];

	(void)snprintf(want, sizeof(want), "%s", what);
	for (char *p = want; *p; p++)
		if (*p == '\'')
			*p = '"';
	return strstr(t->text, want) != NULL;
}
#define assert_acted(t, what)                                                                      \
	do {                                                                                       \
		if (!acted((t), (what)))                                                           \
			fail_msg("no action with: %s\nbut:\n%s", (what), (t)->text);               \
	} while (0)
#define assert_lines(t, want)                                                                      \
	do {                                                                                       \
		if ((t)->lines != (want))                                                          \
			fail_msg("%zu actions, expected %zu:\n%s", (t)->lines, (size_t)(want),     \
				(t)->text);                                                        \
	} while (0)

#endif

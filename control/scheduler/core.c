/* SPDX-License-Identifier: Apache-2.0
 * One decision: prepare, filter, score, choose. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "scheduler/plugin.h"

enum { ALL_UP_TO = 100, MIN_PERCENT = 5 };

static const struct plugin *const plugins[] = {
#define PLUGIN(id, row) &row,
#include "scheduler/plugins.def"
#undef PLUGIN
};

void verdict_free(struct verdict *v)
{
	buf_free(&v->message);
}

void refuse(struct cycle *cy, const char *fmt, ...)
{
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (size_t i = 0; i < cy->n_reasons; i++) {
		if (strcmp(cy->reasons[i].text, text) == 0) {
			cy->reasons[i].count++;
			return;
		}
	}
	if (cy->n_reasons == cy->cap_reasons) {
		size_t cap = cy->cap_reasons ? cy->cap_reasons * 2 : 8;
		struct reason *v = arena_alloc(&cy->arena, cap * sizeof(*v));
		if (!v) {
			cy->oom = true;
			return;
		}
		if (cy->n_reasons)
			memcpy(v, cy->reasons, cy->n_reasons * sizeof(*v));
		cy->reasons = v;
		cy->cap_reasons = cap;
	}
	const char *copy = arena_strdup(&cy->arena, str_of(text));
	if (copy)
		cy->reasons[cy->n_reasons++] = (struct reason){copy, 1};
	cy->oom |= !copy;
}

void normalize_scale(int64_t *scores, size_t n, bool reverse)
{
	int64_t max = 0;
	for (size_t i = 0; i < n; i++)
		if (scores[i] > max)
			max = scores[i];
	for (size_t i = 0; i < n; i++) {
		int64_t s = max ? scores[i] * SCORE_MAX / max : 0;
		scores[i] = reverse ? SCORE_MAX - s : s;
	}
}

/* --- filtering --- */

/* A large cluster is not searched to the end: as Kubernetes does, half of it and less as it grows,
 * starting where the last search stopped. */
static size_t enough(size_t nodes)
{
	if (nodes <= ALL_UP_TO)
		return nodes;
	size_t percent = nodes / 125 < 50 - MIN_PERCENT ? 50 - nodes / 125 : MIN_PERCENT;
	size_t n = nodes * percent / 100;
	return n < ALL_UP_TO ? ALL_UP_TO : n;
}

static bool fits(struct cycle *cy, unsigned active, const struct node *n, unsigned *refused_by)
{
	for (unsigned i = 0; i < PLUGIN_COUNT; i++) {
		if (!(active & 1u << i) || !plugins[i]->filter || plugins[i]->filter(cy, n))
			continue;
		*refused_by |= 1u << i;
		return false;
	}
	return true;
}

static size_t filter_nodes(struct cycle *cy, unsigned active, struct node **out, struct verdict *v)
{
	struct cluster *c = cy->c;
	size_t want = enough(c->n_nodes), n = 0, i = 0;
	for (; i < c->n_nodes && n < want; i++) {
		struct node *node = c->nodes[(c->start + i) % c->n_nodes];
		if (fits(cy, active, node, &v->refused_by))
			out[n++] = node;
	}
	v->evaluated = i;
	v->feasible = n;
	c->start = c->n_nodes ? (c->start + i) % c->n_nodes : 0;
	return n;
}

/* --- scoring --- */

static uint64_t next_random(uint64_t *s) /* xorshift64* */
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 2685821657736338717ULL;
}

static void score_with(struct cycle *cy, const struct plugin *p, struct node **nodes, size_t n,
	int64_t *one, int64_t *total)
{
	if (!p->score || (p->prepare_score && !p->prepare_score(cy, nodes, n)))
		return;
	for (size_t i = 0; i < n; i++)
		one[i] = p->score(cy, nodes[i]);
	if (p->normalize)
		p->normalize(cy, nodes, one, n);
	for (size_t i = 0; i < n; i++)
		total[i] += one[i] * p->weight;
}

static const struct node *choose(struct cycle *cy, unsigned active, struct node **nodes, size_t n)
{
	int64_t *total = arena_alloc(&cy->arena, n * sizeof(*total));
	int64_t *one = arena_alloc(&cy->arena, n * sizeof(*one));
	if (n == 1 || !total || !one)
		return nodes[0];
	for (unsigned i = 0; i < PLUGIN_COUNT; i++)
		if (active & 1u << i)
			score_with(cy, plugins[i], nodes, n, one, total);
	size_t best = 0, ties = 1;
	for (size_t i = 1; i < n; i++) {
		if (total[i] > total[best]) {
			best = i;
			ties = 1;
		} else if (total[i] == total[best] && next_random(&cy->c->seed) % ++ties == 0) {
			best = i; /* each of the best with the same chance */
		}
	}
	return nodes[best];
}

/* --- the message --- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void explain(struct cycle *cy, struct buf *out)
{
	size_t n = cy->n_reasons;
	const char **lines = arena_alloc(&cy->arena, (n + 1) * sizeof(char *));
	if (!cy->c->n_nodes) {
		buf_adds(out, "no nodes available to schedule pods");
		return;
	}
	buf_addf(out, "0/%zu nodes are available", cy->c->n_nodes);
	for (size_t i = 0; lines && i < n; i++) {
		lines[i] = arena_printf(
			&cy->arena, "%u %s", cy->reasons[i].count, cy->reasons[i].text);
		if (!lines[i])
			return;
	}
	if (lines)
		qsort(lines, n, sizeof(char *), by_text);
	for (size_t i = 0; lines && i < n; i++)
		buf_addf(out, "%s%s", i ? ", " : ": ", lines[i]);
	buf_addc(out, '.');
}

int schedule_pod(struct cluster *c, const struct pod *p, struct verdict *v)
{
	struct cycle cy = {.c = c, .pod = p};
	unsigned active = 0;
	*v = (struct verdict){0};
	for (unsigned i = 0; i < PLUGIN_COUNT; i++)
		if (!plugins[i]->prepare || plugins[i]->prepare(&cy))
			active |= 1u << i;
	struct node **out = arena_alloc(&cy.arena, (c->n_nodes + 1) * sizeof(*out));
	cy.oom |= !out;
	size_t n = cy.oom ? 0 : filter_nodes(&cy, active, out, v);
	if (n && !cy.oom)
		v->node = choose(&cy, active, out, n);
	else if (!cy.oom)
		explain(&cy, &v->message);
	int r = cy.oom || v->message.err ? -ENOMEM : 0;
	arena_free(&cy.arena);
	return r;
}

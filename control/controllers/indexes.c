/* SPDX-License-Identifier: Apache-2.0
 * Sets of completion indexes as sorted spans: a Job may have a billion of them. */
#include "controllers/indexes.h"

/* The first span that ends at or behind i. */
static size_t seek(const struct indexes *s, int64_t i)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->v[mid].last < i)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool grow(struct rc *rc, struct indexes *s)
{
	size_t cap = s->cap ? s->cap * 2 : 8;
	struct span *v;

	if (s->n < s->cap)
		return true;
	v = arena_alloc(&rc->arena, cap * sizeof(*v));
	if (!v) {
		rc->again = true;
		return false;
	}
	if (s->n > 0)
		memcpy(v, s->v, s->n * sizeof(*v));
	s->v = v;
	s->cap = cap;
	return true;
}

void indexes_add(struct rc *rc, struct indexes *s, int64_t first, int64_t last)
{
	if (first < 0 || last < first || !grow(rc, s))
		return;
	/* everything from `at` to `end` touches the new span and becomes part of it */
	size_t at = seek(s, first - 1), end = at;
	while (end < s->n && s->v[end].first <= last + 1) {
		first = s->v[end].first < first ? s->v[end].first : first;
		last = s->v[end].last > last ? s->v[end].last : last;
		end++;
	}
	memmove(&s->v[at + 1], &s->v[end], (s->n - end) * sizeof(*s->v));
	s->v[at] = (struct span){first, last};
	s->n = s->n - (end - at) + 1;
}

void indexes_parse(struct rc *rc, struct indexes *s, struct str text)
{
	while (text.n > 0) {
		struct str hi = str_cut(&text, ','), lo = str_cut(&hi, '-');
		int64_t first, last;
		if (str_i64(lo, &first) < 0)
			continue;
		last = first;
		if (hi.n > 0 && str_i64(hi, &last) < 0)
			continue;
		indexes_add(rc, s, first, last);
	}
}

bool indexes_have(const struct indexes *s, int64_t i)
{
	size_t at = seek(s, i);

	return at < s->n && s->v[at].first <= i;
}

int64_t indexes_count(const struct indexes *s)
{
	int64_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->v[i].last - s->v[i].first + 1;
	return n;
}

int64_t indexes_common(const struct indexes *a, const struct indexes *b)
{
	int64_t n = 0;

	for (size_t i = 0, k = 0; i < a->n && k < b->n;) {
		const struct span *x = &a->v[i], *y = &b->v[k];
		int64_t first = x->first > y->first ? x->first : y->first;
		int64_t last = x->last < y->last ? x->last : y->last;
		if (first <= last)
			n += last - first + 1;
		if (x->last < y->last)
			i++;
		else
			k++;
	}
	return n;
}

/* Two neighbours stay apart ("1,2"), three and more are a range ("1-3"), as Kubernetes writes. */
const char *indexes_text(struct rc *rc, const struct indexes *s)
{
	AUTO_BUF struct buf b = {0};

	for (size_t i = 0; i < s->n; i++) {
		const struct span *p = &s->v[i];
		buf_addf(&b, "%s%lld", i ? "," : "", (long long)p->first);
		if (p->last > p->first)
			buf_addf(&b, "%c%lld", p->last == p->first + 1 ? ',' : '-',
				(long long)p->last);
	}
	rc->again |= b.err < 0;
	return rc_strdup(rc, buf_str(&b));
}

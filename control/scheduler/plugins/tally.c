/* SPDX-License-Identifier: Apache-2.0
 * Counts by topology value: open addressing in the cycle's arena. */
#include "scheduler/plugins/affinity.h"

static size_t find(const struct tally *t, struct str value)
{
	size_t i = str_hash(value) & (t->cap - 1);
	while (t->values[i].p && !str_eq(t->values[i], value))
		i = (i + 1) & (t->cap - 1);
	return i;
}

static bool grow(struct tally *t, struct arena *a)
{
	struct tally old = *t;
	if (t->cap && (t->n + 1) * 2 <= t->cap)
		return true;
	t->cap = old.cap ? old.cap * 2 : 16;
	t->values = arena_alloc(a, t->cap * sizeof(*t->values));
	t->counts = arena_alloc(a, t->cap * sizeof(*t->counts));
	if (!t->values || !t->counts) {
		*t = old;
		return false;
	}
	for (size_t i = 0; i < old.cap; i++) {
		if (!old.values[i].p)
			continue;
		size_t k = find(t, old.values[i]);
		t->values[k] = old.values[i];
		t->counts[k] = old.counts[i];
	}
	return true;
}

int64_t *tally_at(struct tally *t, struct arena *a, struct str value)
{
	if (!grow(t, a))
		return NULL;
	size_t i = find(t, value);
	if (!t->values[i].p) {
		t->values[i] = value;
		t->n++;
	}
	return &t->counts[i];
}

int64_t tally_get(const struct tally *t, struct str value, int64_t absent)
{
	if (!t->cap)
		return absent;
	size_t i = find(t, value);
	return t->values[i].p ? t->counts[i] : absent;
}

/* SPDX-License-Identifier: Apache-2.0
 * Hash table: open addressing with linear probing and tombstones, so that deleting during iteration
 * moves nothing. */
#include <errno.h>
#include <stdlib.h>
#include "xebec/base/htab.h"

struct slot {
	uint64_t hash;
	char *key; /* NULL = never used; TOMB = deleted */
	size_t key_len;
	void *value;
};

struct htab {
	struct slot *slots;
	size_t cap, len, used; /* used counts tombstones too */
};

static char tomb_mark;
#define TOMB (&tomb_mark)

static bool slot_live(const struct slot *s)
{
	return s->key && s->key != TOMB;
}

struct htab *htab_new(void)
{
	return calloc(1, sizeof(struct htab));
}

void htab_free(struct htab *t, void (*free_value)(void *))
{
	if (!t)
		return;
	for (size_t i = 0; i < t->cap; i++) {
		if (!slot_live(&t->slots[i]))
			continue;
		if (free_value)
			free_value(t->slots[i].value);
		free(t->slots[i].key);
	}
	free(t->slots);
	free(t);
}

static struct slot *find(const struct htab *t, struct str key, uint64_t hash)
{
	if (!t->cap)
		return NULL;
	for (size_t i = hash & (t->cap - 1);; i = (i + 1) & (t->cap - 1)) {
		struct slot *s = &t->slots[i];
		if (!s->key)
			return NULL;
		if (s->key != TOMB && s->hash == hash &&
			str_eq((struct str){s->key, s->key_len}, key))
			return s;
	}
}

void *htab_get(const struct htab *t, struct str key)
{
	struct slot *s = find(t, key, str_hash(key));
	return s ? s->value : NULL;
}

static struct slot *place(struct slot *slots, size_t cap, uint64_t hash)
{
	size_t i = hash & (cap - 1);
	while (slot_live(&slots[i]))
		i = (i + 1) & (cap - 1);
	return &slots[i];
}

/* Makes room for one more: at most 3/4 of the slots may ever have been used. */
static int grow(struct htab *t)
{
	if ((t->used + 1) * 4 <= t->cap * 3)
		return 0;
	size_t cap = 8;
	while ((t->len + 1) * 2 > cap)
		cap *= 2;
	struct slot *slots = calloc(cap, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	for (size_t i = 0; i < t->cap; i++)
		if (slot_live(&t->slots[i]))
			*place(slots, cap, t->slots[i].hash) = t->slots[i];
	free(t->slots);
	t->slots = slots;
	t->cap = cap;
	t->used = t->len;
	return 0;
}

int htab_put(struct htab *t, struct str key, void *value, void **ret_old)
{
	uint64_t hash = str_hash(key);
	struct slot *s = find(t, key, hash);
	void *old = NULL;
	if (s) {
		old = s->value;
		s->value = value;
	} else {
		if (grow(t) < 0)
			return -ENOMEM;
		char *copy = str_dup(key);
		if (!copy)
			return -ENOMEM;
		s = place(t->slots, t->cap, hash);
		t->used += s->key == NULL;
		*s = (struct slot){.hash = hash, .key = copy, .key_len = key.n, .value = value};
		t->len++;
	}
	if (ret_old)
		*ret_old = old;
	return 0;
}

void *htab_del(struct htab *t, struct str key)
{
	struct slot *s = find(t, key, str_hash(key));
	if (!s)
		return NULL;
	void *v = s->value;
	free(s->key);
	*s = (struct slot){.key = TOMB};
	t->len--;
	return v;
}

size_t htab_len(const struct htab *t)
{
	return t->len;
}

bool htab_next(const struct htab *t, struct htab_iter *it)
{
	while (it->i < t->cap) {
		const struct slot *s = &t->slots[it->i++];
		if (!slot_live(s))
			continue;
		it->key = (struct str){s->key, s->key_len};
		it->value = s->value;
		return true;
	}
	return false;
}

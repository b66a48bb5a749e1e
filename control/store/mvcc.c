/* SPDX-License-Identifier: Apache-2.0
 * The MVCC index: applying, compacting, loading. Reading is in view.c. */
#include <errno.h>
#include "store/mvcc.h"
#include "xebec/base/htab.h"

struct store_val *store_val_new(struct str key, struct str value)
{
	struct store_val *v = calloc(1, sizeof(*v) + key.n + value.n);

	if (!v)
		return NULL;
	v->refs = 1;
	v->key_len = (uint32_t)key.n;
	v->len = (uint32_t)value.n;
	memcpy(v->data, key.p, key.n);
	if (value.n > 0)
		memcpy(v->data + key.n, value.p, value.n);
	return v;
}

struct store_val *store_val_ref(struct store_val *v)
{
	if (v)
		atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	return v;
}

void store_val_unref(struct store_val *v)
{
	if (v && atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1)
		free(v);
}

static void *version_ref(void *p)
{
	struct version *v = p;

	if (v)
		atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	return v;
}

/* A loop, not a recursion: a chain may be long. */
static void version_unref(void *p)
{
	struct version *v = p;

	while (v && atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) == 1) {
		struct version *older = v->older;
		store_val_unref(v->val);
		free(v);
		v = older;
	}
}

/* Takes over val and older, also on failure. */
static struct version *version_new(struct store_val *val, struct version *older)
{
	struct version *v = malloc(sizeof(*v));

	if (!v) {
		store_val_unref(val);
		version_unref(older);
		return NULL;
	}
	v->refs = 1;
	v->val = val;
	v->older = older;
	return v;
}

static const struct omap_ops version_ops = {.ref = version_ref, .unref = version_unref};

int mvcc_init(struct mvcc *m)
{
	*m = (struct mvcc){.rev = MVCC_FIRST_REV};
	m->map = omap_new(&version_ops);
	return m->map ? 0 : -ENOMEM;
}

static struct mvcc_event *event_slot(const struct mvcc *m, size_t i)
{
	return &m->events[(m->events_head + i) & (m->events_cap - 1)];
}

static void events_drop(struct mvcc *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		store_val_unref(event_slot(m, i)->val);
		store_val_unref(event_slot(m, i)->prev);
	}
	m->events_head = (m->events_head + n) & (m->events_cap ? m->events_cap - 1 : 0);
	m->events_n -= n;
}

void mvcc_fini(struct mvcc *m)
{
	events_drop(m, m->events_n);
	free(m->events);
	omap_free(m->map);
	*m = (struct mvcc){0};
}

static int events_resize(struct mvcc *m, size_t need)
{
	size_t cap = 64;

	while (cap < need)
		cap *= 2;
	struct mvcc_event *v = calloc(cap, sizeof(*v));
	if (!v)
		return -ENOMEM;
	for (size_t i = 0; i < m->events_n; i++)
		v[i] = *event_slot(m, i);
	free(m->events);
	m->events = v;
	m->events_cap = cap;
	m->events_head = 0;
	return 0;
}

struct store_val *mvcc_newest(const struct mvcc *m, struct str key)
{
	const struct version *v = omap_find(m->map, key);

	return v ? v->val : NULL;
}

const struct mvcc_event *mvcc_event_at(const struct mvcc *m, uint64_t rev)
{
	uint64_t back = m->rev - rev;

	return rev <= m->rev && back < m->events_n ? event_slot(m, m->events_n - 1 - back) : NULL;
}

static uint64_t val_bytes(const struct store_val *v)
{
	return store_val_live(v) ? (uint64_t)v->key_len + v->len : 0;
}

static void count_change(struct mvcc *m, const struct store_val *old, const struct store_val *new)
{
	m->keys = m->keys + store_val_live(new) - store_val_live(old);
	m->bytes = m->bytes + val_bytes(new) - val_bytes(old);
}

int mvcc_apply(struct mvcc *m, struct store_val *v)
{
	struct str key = store_val_key(v);
	struct version *head = omap_find(m->map, key);
	struct store_val *prev = head && store_val_live(head->val) ? head->val : NULL;

	if (m->events_n == m->events_cap && events_resize(m, m->events_n + 1) < 0) {
		store_val_unref(v);
		return -ENOMEM;
	}
	/* The key in the map belongs to head: head may go while the map is being changed, prev and
	 * v stay. */
	struct mvcc_event ev = {.val = store_val_ref(v), .prev = store_val_ref(prev)};
	struct version *node = version_new(v, version_ref(head));
	if (!node || omap_put(m->map, key, node) < 0) {
		version_unref(node);
		store_val_unref(ev.val);
		store_val_unref(ev.prev);
		return -ENOMEM;
	}
	count_change(m, ev.prev, ev.val);
	m->events_n++;
	*event_slot(m, m->events_n - 1) = ev;
	m->rev++;
	return 0;
}

/* A copy of the chain down to the first version at or below rev, without that one when it is a
 * tombstone. *ret NULL: nothing is left. */
static int chain_trim(struct version *head, uint64_t rev, struct version **ret)
{
	struct version *v = head, *made = NULL, **tail = &made;

	for (; v; v = v->older) {
		bool last = v->val->mod_rev <= rev;
		if (last && !store_val_live(v->val))
			break;
		struct version *copy = version_new(store_val_ref(v->val), NULL);
		if (!copy) {
			version_unref(made);
			return -ENOMEM;
		}
		*tail = copy;
		tail = &copy->older;
		if (last)
			break;
	}
	*ret = made;
	return 0;
}

static bool chain_needs_trim(const struct version *head, uint64_t rev)
{
	const struct version *v = head;

	while (v && v->val->mod_rev > rev)
		v = v->older;
	return v && (v->older || !store_val_live(v->val));
}

static int compact_key(struct mvcc *m, struct str key, uint64_t rev)
{
	struct version *head = omap_find(m->map, key), *trimmed = NULL;

	if (!head || !chain_needs_trim(head, rev))
		return 0;
	int r = chain_trim(head, rev, &trimmed);
	if (r < 0)
		return r;
	if (!trimmed)
		return omap_del(m->map, key);
	r = omap_put(m->map, key, trimmed);
	if (r < 0)
		version_unref(trimmed);
	return r;
}

int mvcc_compact(struct mvcc *m, uint64_t rev)
{
	struct htab *seen = htab_new();
	size_t n = rev > m->compact_rev ? m->events_n - (size_t)(m->rev - rev) : 0;
	int r = seen ? 0 : -ENOMEM;

	/* A hot key has many events: trim it once. */
	for (size_t i = 0; i < n && r == 0; i++) {
		struct str key = store_val_key(event_slot(m, i)->val);
		if (htab_get(seen, key))
			continue;
		r = htab_put(seen, key, m, NULL);
		if (r == 0)
			r = compact_key(m, key, rev);
	}
	htab_free(seen, NULL);
	if (r < 0)
		return r;
	events_drop(m, n);
	if (rev > m->compact_rev)
		m->compact_rev = rev;
	return 0;
}

int mvcc_load_begin(struct mvcc *m, uint64_t rev, uint64_t compact_rev)
{
	uint64_t first = compact_rev < MVCC_FIRST_REV ? MVCC_FIRST_REV : compact_rev;

	if (rev < first)
		return -EBADMSG;
	m->rev = rev;
	m->compact_rev = compact_rev;
	/* The caller has read rev from a file: do not trust it with memory. */
	if (rev - first > (1u << 28))
		return -EBADMSG;
	int r = events_resize(m, (size_t)(rev - first));
	m->events_n = r < 0 ? 0 : (size_t)(rev - first);
	return r;
}

static int load_event(struct mvcc *m, struct store_val *val, struct store_val *older)
{
	if (val->mod_rev > m->rev || val->mod_rev == 0)
		return -EBADMSG;
	struct mvcc_event *ev = (struct mvcc_event *)mvcc_event_at(m, val->mod_rev);
	if (!ev)
		return val->mod_rev <= m->compact_rev && store_val_live(val) && !older ? 0
										       : -EBADMSG;
	if (ev->val || (older && older->mod_rev >= val->mod_rev))
		return -EBADMSG;
	ev->val = store_val_ref(val);
	ev->prev = store_val_live(older) ? store_val_ref(older) : NULL;
	return 0;
}

int mvcc_load_key(struct mvcc *m, struct store_val **newest_first, size_t n)
{
	struct version *chain = NULL;
	struct store_val *newest = newest_first[0];
	int r = omap_find(m->map, store_val_key(newest)) ? -EBADMSG : 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = load_event(m, newest_first[i], i + 1 < n ? newest_first[i + 1] : NULL);
	for (size_t i = n; i-- > 0;) {
		if (r == 0) {
			chain = version_new(newest_first[i], chain);
			r = chain ? 0 : -ENOMEM;
		} else {
			store_val_unref(newest_first[i]);
		}
	}
	if (r == 0)
		r = omap_put(m->map, store_val_key(newest), chain);
	if (r < 0) {
		version_unref(chain);
		return r;
	}
	count_change(m, NULL, newest);
	return 0;
}

int mvcc_load_end(struct mvcc *m)
{
	for (size_t i = 0; i < m->events_n; i++)
		if (!event_slot(m, i)->val)
			return -EBADMSG;
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Ordered map: a copy-on-write B+tree. Nodes carry the version in which they were made; a node
 * older than the newest snapshot is never changed, but copied with plain memcpy: nothing in it is
 * counted. What leaves the tree waits in a queue until no snapshot that could see it lives. */
#include <errno.h>
#include <pthread.h>
#include "xebec/base/list.h"
#include "xebec/base/omap.h"

#define FAN   32
#define DEPTH 12 /* two words of an iterator a level */

enum item_kind { ITEM_NODE, ITEM_ENTRY };
struct item { /* head of everything that the tree is made of */
	struct item *next;
	uint64_t version; /* made in; in the queue: the newest snapshot that may see it */
	enum item_kind kind;
};
struct entry { /* a key with its value; inner nodes hold ones without value as separators */
	struct item item;
	void *value;
	size_t n;
	char key[];
};
struct node {
	struct item item;
	bool leaf;
	unsigned n;
	struct entry *keys[FAN]; /* inner: keys[i] <= every key below child[i]; keys[0] unused */
	struct node *child[FAN]; /* inner only */
};

struct omap {
	const struct omap_ops *ops;
	pthread_mutex_t mu;
	struct node *root;
	size_t len;
	uint64_t version;
	struct list snaps; /* oldest first */
	struct item *queue, **queue_tail;
	unsigned freeing; /* threads inside omap_snap_free */
	bool closed;
};
struct omap_snap {
	struct list link;
	struct omap *m;
	const struct node *root;
	size_t len;
	uint64_t version;
};

static struct str entry_key(const struct entry *e)
{
	return (struct str){.p = e->key, .n = e->n};
}

static struct entry *entry_new(const struct omap *m, struct str key, void *value)
{
	struct entry *e = malloc(sizeof(*e) + key.n);

	if (!e)
		return NULL;
	e->item = (struct item){.version = m->version, .kind = ITEM_ENTRY};
	e->value = value;
	e->n = key.n;
	if (key.n > 0)
		memcpy(e->key, key.p, key.n);
	return e;
}

static struct node *node_new(const struct omap *m, bool leaf)
{
	struct node *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->item = (struct item){.version = m->version, .kind = ITEM_NODE};
	x->leaf = leaf;
	return x;
}

static void item_free(const struct omap *m, struct item *i)
{
	if (i->kind == ITEM_ENTRY) {
		void *value = CONTAINER_OF(i, struct entry, item)->value;
		if (value && m->ops && m->ops->unref)
			m->ops->unref(value);
		free(CONTAINER_OF(i, struct entry, item));
	} else {
		free(CONTAINER_OF(i, struct node, item));
	}
}

static uint64_t newest_snap(const struct omap *m)
{
	return list_empty(&m->snaps) ? 0
				     : list_entry(m->snaps.prev, struct omap_snap, link)->version;
}

/* It is no longer in the tree. */
static void retire(struct omap *m, struct item *i)
{
	uint64_t newest = newest_snap(m);

	if (i->version > newest) {
		item_free(m, i);
		return;
	}
	i->version = newest;
	i->next = NULL;
	*m->queue_tail = i;
	m->queue_tail = &i->next;
}

/* Cuts off the queue what nobody sees any more. */
static struct item *reclaim(struct omap *m)
{
	uint64_t oldest = list_empty(&m->snaps)
				  ? UINT64_MAX
				  : list_entry(m->snaps.next, struct omap_snap, link)->version;
	struct item *first = m->queue, **p = &m->queue;

	while (*p && (*p)->version < oldest)
		p = &(*p)->next;
	if (p == &m->queue)
		return NULL;
	struct item *rest = *p;
	*p = NULL;
	m->queue = rest;
	if (!rest)
		m->queue_tail = &m->queue;
	return first;
}

static void free_items(const struct omap *m, struct item *i)
{
	while (i) {
		struct item *next = i->next;
		item_free(m, i);
		i = next;
	}
}

struct omap *omap_new(const struct omap_ops *ops)
{
	struct omap *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->ops = ops;
	m->version = 1;
	list_init(&m->snaps);
	m->queue_tail = &m->queue;
	pthread_mutex_init(&m->mu, NULL);
	m->root = node_new(m, true);
	if (!m->root) {
		free(m);
		return NULL;
	}
	return m;
}

static void tree_free(struct omap *m, struct node *x)
{
	for (unsigned i = 0; i < x->n; i++) {
		if (x->keys[i])
			item_free(m, &x->keys[i]->item);
		if (!x->leaf)
			tree_free(m, x->child[i]);
	}
	free(x);
}

static void omap_destroy(struct omap *m)
{
	tree_free(m, m->root);
	free_items(m, m->queue);
	pthread_mutex_destroy(&m->mu);
	free(m);
}

void omap_free(struct omap *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->mu);
	m->closed = true;
	bool last = list_empty(&m->snaps) && m->freeing == 0;
	pthread_mutex_unlock(&m->mu);
	if (last)
		omap_destroy(m);
}

/* First index whose key is >= key. */
static unsigned leaf_search(const struct node *x, struct str key, bool *ret_found)
{
	unsigned lo = 0, hi = x->n;

	*ret_found = false;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		int c = str_cmp(entry_key(x->keys[mid]), key);
		if (c == 0) {
			*ret_found = true;
			return mid;
		}
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The child that holds key. */
static unsigned inner_search(const struct node *x, struct str key)
{
	unsigned lo = 1, hi = x->n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		if (str_cmp(entry_key(x->keys[mid]), key) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo - 1;
}

/* Makes *slot a node that may be changed. */
static int own(struct omap *m, struct node **slot)
{
	struct node *old = *slot;

	if (old->item.version > newest_snap(m))
		return 0;
	struct node *x = malloc(sizeof(*x));
	if (!x)
		return -ENOMEM;
	memcpy(x, old, sizeof(*x));
	x->item = (struct item){.version = m->version, .kind = ITEM_NODE};
	*slot = x;
	retire(m, &old->item);
	return 0;
}

static void slot_open(struct node *x, unsigned i)
{
	memmove(&x->keys[i + 1], &x->keys[i], (x->n - i) * sizeof(x->keys[0]));
	if (!x->leaf)
		memmove(&x->child[i + 1], &x->child[i], (x->n - i) * sizeof(x->child[0]));
	x->n++;
}

static void slot_close(struct node *x, unsigned i)
{
	x->n--;
	memmove(&x->keys[i], &x->keys[i + 1], (x->n - i) * sizeof(x->keys[0]));
	if (!x->leaf)
		memmove(&x->child[i], &x->child[i + 1], (x->n - i) * sizeof(x->child[0]));
}

/* Splits the full, owned child i of the owned node x, which has room. A new last key (keys arriving
 * in order) leaves the old node nearly full. */
static int split_child(struct omap *m, struct node *x, unsigned i, struct str key)
{
	struct node *left = x->child[i];
	bool append = i + 1 == x->n && str_cmp(key, entry_key(left->keys[left->n - 1])) > 0;
	unsigned keep = append ? FAN - 2 : FAN / 2;
	struct node *right = node_new(m, left->leaf);
	struct entry *sep = left->leaf ? entry_new(m, entry_key(left->keys[keep]), NULL) : NULL;

	if (!right || (left->leaf && !sep)) {
		free(right);
		free(sep);
		return -ENOMEM;
	}
	right->n = left->n - keep;
	memcpy(right->keys, &left->keys[keep], right->n * sizeof(right->keys[0]));
	if (!left->leaf) {
		memcpy(right->child, &left->child[keep], right->n * sizeof(right->child[0]));
		sep = right->keys[0]; /* moves up */
		right->keys[0] = NULL;
	}
	left->n = keep;
	slot_open(x, i + 1);
	x->keys[i + 1] = sep;
	x->child[i + 1] = right;
	return 0;
}

/* The owned leaf for key, splitting what is full on the way. The map's content stays the same. */
static struct node *leaf_for_put(struct omap *m, struct str key)
{
	if (own(m, &m->root) < 0)
		return NULL;
	if (m->root->n == FAN) {
		struct node *top = node_new(m, false);
		if (!top)
			return NULL;
		top->n = 1;
		top->child[0] = m->root;
		if (split_child(m, top, 0, key) < 0) {
			free(top);
			return NULL;
		}
		m->root = top;
	}
	struct node *x = m->root;
	while (!x->leaf) {
		unsigned i = inner_search(x, key);
		if (own(m, &x->child[i]) < 0)
			return NULL;
		if (x->child[i]->n == FAN) {
			if (split_child(m, x, i, key) < 0)
				return NULL;
			i = inner_search(x, key);
		}
		x = x->child[i];
	}
	return x;
}

int omap_put(struct omap *m, struct str key, void *value)
{
	bool found;

	pthread_mutex_lock(&m->mu);
	struct entry *e = entry_new(m, key, value);
	struct node *x = e ? leaf_for_put(m, key) : NULL;
	if (x) {
		unsigned i = leaf_search(x, key, &found);
		if (found) {
			retire(m, &x->keys[i]->item);
		} else {
			slot_open(x, i);
			m->len++;
		}
		x->keys[i] = e;
	} else {
		free(e);
	}
	struct item *dead = reclaim(m);
	pthread_mutex_unlock(&m->mu);
	free_items(m, dead);
	return x ? 0 : -ENOMEM;
}

/* Joins child i + 1 into child i when both fit well into one node. Failing changes nothing. */
static void merge_children(struct omap *m, struct node *x, unsigned i)
{
	if (i + 1 >= x->n || x->child[i]->n + x->child[i + 1]->n > FAN / 2 ||
		own(m, &x->child[i]) < 0)
		return;
	struct node *left = x->child[i], *right = x->child[i + 1];
	struct entry *sep = x->keys[i + 1];
	memcpy(&left->keys[left->n], right->keys, right->n * sizeof(right->keys[0]));
	if (left->leaf) {
		retire(m, &sep->item);
	} else {
		memcpy(&left->child[left->n], right->child, right->n * sizeof(right->child[0]));
		left->keys[left->n] = sep;
	}
	left->n += right->n;
	retire(m, &right->item);
	slot_close(x, i + 1);
}

/* Child i of the owned inner node x has lost an entry. */
static void shrink_child(struct omap *m, struct node *x, unsigned i)
{
	struct node *c = x->child[i];

	if (c->n == 0) {
		retire(m, &c->item);
		if (x->keys[i])
			retire(m, &x->keys[i]->item);
		slot_close(x, i);
		/* The first child needs no lower bound. */
		if (i == 0 && x->n > 0 && x->keys[0]) {
			retire(m, &x->keys[0]->item);
			x->keys[0] = NULL;
		}
	} else if (c->n < FAN / 4) {
		merge_children(m, x, i);
		if (i > 0)
			merge_children(m, x, i - 1);
	}
}

static int node_del(struct omap *m, struct node **slot, struct str key)
{
	bool found;
	int r = own(m, slot);

	if (r < 0)
		return r;
	struct node *x = *slot;
	if (x->leaf) {
		unsigned i = leaf_search(x, key, &found);
		if (!found)
			return -ENOENT;
		retire(m, &x->keys[i]->item);
		slot_close(x, i);
		return 0;
	}
	unsigned i = inner_search(x, key);
	r = node_del(m, &x->child[i], key);
	if (r == 0)
		shrink_child(m, x, i);
	return r;
}

static void collapse_root(struct omap *m)
{
	struct node *x = m->root;

	while (!x->leaf && x->n == 1) {
		m->root = x->child[0];
		retire(m, &x->item);
		x = m->root;
	}
	if (!x->leaf && x->n == 0) /* owned: it has just lost its last child */
		x->leaf = true;
}

static struct entry *tree_find(const struct node *x, struct str key)
{
	bool found;

	while (!x->leaf)
		x = x->child[inner_search(x, key)];
	unsigned i = leaf_search(x, key, &found);
	return found ? x->keys[i] : NULL;
}

int omap_del(struct omap *m, struct str key)
{
	pthread_mutex_lock(&m->mu);
	int r = tree_find(m->root, key) ? node_del(m, &m->root, key) : -ENOENT;
	if (r == 0) {
		m->len--;
		collapse_root(m);
	}
	struct item *dead = reclaim(m);
	pthread_mutex_unlock(&m->mu);
	free_items(m, dead);
	return r;
}

void *omap_find(const struct omap *m, struct str key)
{
	struct entry *e = tree_find(m->root, key);

	return e ? e->value : NULL;
}

size_t omap_len(const struct omap *m)
{
	return m->len;
}

struct omap_snap *omap_snapshot(struct omap *m)
{
	struct omap_snap *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	pthread_mutex_lock(&m->mu);
	s->m = m;
	s->root = m->root;
	s->len = m->len;
	s->version = m->version++;
	list_push(&m->snaps, &s->link);
	pthread_mutex_unlock(&m->mu);
	return s;
}

void omap_snap_free(struct omap_snap *s)
{
	if (!s)
		return;
	struct omap *m = s->m;
	pthread_mutex_lock(&m->mu);
	list_del(&s->link);
	struct item *dead = reclaim(m);
	m->freeing++;
	pthread_mutex_unlock(&m->mu);
	free_items(m, dead);
	free(s);
	pthread_mutex_lock(&m->mu);
	m->freeing--;
	bool last = m->closed && list_empty(&m->snaps) && m->freeing == 0;
	pthread_mutex_unlock(&m->mu);
	if (last)
		omap_destroy(m);
}

size_t omap_snap_len(const struct omap_snap *s)
{
	return s->len;
}

void *omap_get(const struct omap_snap *s, struct str key)
{
	const struct entry *e = tree_find(s->root, key);

	return e ? e->value : NULL;
}

/* it->pos[2 i] = node of level i, pos[2 i + 1] = index in it; a NULL node ends the path. */
static bool iter_load(struct omap_iter *it, unsigned level)
{
	const struct node *x = it->pos[2 * level];
	const struct entry *e = x->keys[(uintptr_t)it->pos[2 * level + 1]];

	it->key = entry_key(e);
	it->value = e->value;
	return true;
}

/* Descends to the leftmost leaf below pos[level]. */
static unsigned iter_down(struct omap_iter *it, unsigned level)
{
	const struct node *x = it->pos[2 * level];

	while (!x->leaf && level + 1 < DEPTH) {
		x = x->child[(uintptr_t)it->pos[2 * level + 1]];
		level++;
		it->pos[2 * level] = (void *)(uintptr_t)x;
		it->pos[2 * level + 1] = NULL;
	}
	if (level + 1 < DEPTH)
		it->pos[2 * level + 2] = NULL;
	return level;
}

/* The index at `level` has been moved on: goes up while it is past the end. */
static bool iter_settle(struct omap_iter *it, unsigned level)
{
	for (;;) {
		const struct node *x = it->pos[2 * level];
		if ((uintptr_t)it->pos[2 * level + 1] < x->n)
			return iter_load(it, iter_down(it, level));
		if (level == 0)
			return false;
		level--;
		it->pos[2 * level + 1] = (void *)((uintptr_t)it->pos[2 * level + 1] + 1);
	}
}

bool omap_seek(const struct omap_snap *s, struct str from, struct omap_iter *it)
{
	const struct node *x = s->root;
	unsigned level = 0;
	bool found;

	memset(it, 0, sizeof(*it));
	for (;; level++) {
		unsigned i = x->leaf ? leaf_search(x, from, &found) : inner_search(x, from);
		it->pos[2 * level] = (void *)(uintptr_t)x;
		it->pos[2 * level + 1] = (void *)(uintptr_t)i;
		if (x->leaf || level + 1 == DEPTH)
			break;
		x = x->child[i];
	}
	return iter_settle(it, level);
}

bool omap_next(const struct omap_snap *s, struct omap_iter *it)
{
	unsigned level = 0;

	(void)s;
	while (level + 1 < DEPTH && it->pos[2 * level + 2])
		level++;
	it->pos[2 * level + 1] = (void *)((uintptr_t)it->pos[2 * level + 1] + 1);
	return iter_settle(it, level);
}

/* SPDX-License-Identifier: Apache-2.0
 * Leases: an id, a time to live, and the keys that go with it. After a restart every lease starts
 * its time anew, as in etcd. */
#include <errno.h>
#include "store/engine.h"
#include "xebec/base/timefmt.h"

#define RETRY_NS (1 * NS_PER_SEC)

static struct str id_key(const uint64_t *id)
{
	return (struct str){.p = (const char *)id, .n = sizeof(*id)};
}

static void lease_free(void *p)
{
	struct lease *x = p;

	if (!x)
		return;
	htab_free(x->keys, NULL);
	free(x);
}

int leases_init(struct leases *l)
{
	*l = (struct leases){.next_deadline = INT64_MAX};
	pthread_mutex_init(&l->mu, NULL);
	l->by_id = htab_new();
	return l->by_id ? 0 : -ENOMEM;
}

void leases_fini(struct leases *l)
{
	htab_free(l->by_id, lease_free);
	pthread_mutex_destroy(&l->mu);
}

static int64_t deadline_of(int64_t ttl)
{
	int64_t now = time_mono();

	return ttl > (INT64_MAX - now) / NS_PER_SEC ? INT64_MAX : now + ttl * NS_PER_SEC;
}

static struct lease *lease_new(uint64_t id, int64_t ttl, bool logged)
{
	struct lease *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	*x = (struct lease){.id = id, .ttl = ttl, .deadline = deadline_of(ttl), .logged = logged};
	x->keys = htab_new();
	if (!x->keys) {
		free(x);
		return NULL;
	}
	return x;
}

/* id 0 = choose one. */
int leases_add(struct leases *l, uint64_t id, int64_t ttl, bool logged, uint64_t *ret_id)
{
	pthread_mutex_lock(&l->mu);
	if (id == 0)
		id = l->last_id + 1;
	struct lease *x = htab_get(l->by_id, id_key(&id)) ? NULL : lease_new(id, ttl, logged);
	int r = x ? htab_put(l->by_id, id_key(&id), x, NULL) : -ENOMEM;
	if (r == 0) {
		if (id > l->last_id)
			l->last_id = id;
		if (x->deadline < l->next_deadline)
			l->next_deadline = x->deadline;
		if (!logged) {
			x->unlogged_next = l->unlogged;
			l->unlogged = x;
		}
		if (ret_id)
			*ret_id = id;
	} else {
		lease_free(x);
	}
	pthread_mutex_unlock(&l->mu);
	return r;
}

int leases_touch(struct leases *l, uint64_t id)
{
	pthread_mutex_lock(&l->mu);
	struct lease *x = htab_get(l->by_id, id_key(&id));
	if (x)
		x->deadline = deadline_of(x->ttl);
	pthread_mutex_unlock(&l->mu);
	return x ? 0 : -ENOENT;
}

struct lease *leases_find(struct leases *l, uint64_t id)
{
	pthread_mutex_lock(&l->mu);
	struct lease *x = htab_get(l->by_id, id_key(&id));
	pthread_mutex_unlock(&l->mu);
	return x;
}

void leases_remove(struct leases *l, struct lease *x)
{
	pthread_mutex_lock(&l->mu);
	for (struct lease **p = &l->unlogged; *p; p = &(*p)->unlogged_next) {
		if (*p == x) {
			*p = x->unlogged_next;
			break;
		}
	}
	(void)htab_del(l->by_id, id_key(&x->id));
	pthread_mutex_unlock(&l->mu);
	lease_free(x);
}

static size_t expired_scan(struct leases *l, int64_t now, uint64_t *ids)
{
	size_t n = 0;

	l->next_deadline = INT64_MAX;
	htab_each (l->by_id, it) {
		struct lease *x = it.value;
		if (x->deadline <= now) {
			ids[n++] = x->id;
			x->deadline = now + RETRY_NS;
		}
		if (x->deadline < l->next_deadline)
			l->next_deadline = x->deadline;
	}
	return n;
}

size_t leases_expired(struct leases *l, int64_t now, uint64_t **ret_ids, int64_t *ret_next)
{
	size_t n = 0;

	pthread_mutex_lock(&l->mu);
	if (now >= l->next_deadline) {
		uint64_t *ids = calloc(htab_len(l->by_id) + 1, sizeof(*ids));
		if (ids)
			n = expired_scan(l, now, ids);
		else
			l->next_deadline = now + RETRY_NS;
		*ret_ids = ids;
	}
	*ret_next = l->next_deadline;
	pthread_mutex_unlock(&l->mu);
	return n;
}

int leases_move(struct leases *l, const struct store_val *old, const struct store_val *new)
{
	uint64_t from = store_val_live(old) ? old->lease : 0;
	uint64_t to = store_val_live(new) ? new->lease : 0;
	struct lease *x;

	if (from == to)
		return 0;
	x = from ? leases_find(l, from) : NULL;
	if (x)
		(void)htab_del(x->keys, store_val_key(old));
	x = to ? leases_find(l, to) : NULL;
	return x ? htab_put(x->keys, store_val_key(new), x, NULL) : 0;
}

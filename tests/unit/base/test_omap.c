/* SPDX-License-Identifier: Apache-2.0
 * omap against a sorted array, with snapshots that must stay as they were, and with readers. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "xebec/base/omap.h"
#include "xebec/base/cleanup.h"

struct box {
	_Atomic int refs;
	unsigned v;
};
static _Atomic int boxes;

static void *box_ref(void *p)
{
	((struct box *)p)->refs++;
	return p;
}

static void box_unref(void *p)
{
	struct box *b = p;

	if (atomic_fetch_sub(&b->refs, 1) == 1) {
		boxes--;
		free(b);
	}
}

static const struct omap_ops box_ops = {.ref = box_ref, .unref = box_unref};

static struct box *box_new(unsigned v)
{
	struct box *b = malloc(sizeof(*b));

	assert_non_null(b);
	b->refs = 1;
	b->v = v;
	boxes++;
	return b;
}

#define KEYS 3000
static struct str key_of(unsigned i, char buf[static 32])
{
	return (struct str){.p = buf, .n = (size_t)snprintf(buf, 32, "/registry/pods/%05u", i)};
}

struct model { /* 0 = absent */
	unsigned v[KEYS];
	size_t n;
};

static void check(const struct omap_snap *s, const struct model *m)
{
	struct omap_iter it;
	char kb[32];
	bool ok = omap_seek(s, STR(""), &it);

	assert_int_equal(omap_snap_len(s), m->n);
	for (unsigned i = 0; i < KEYS; i++) {
		struct str k = key_of(i, kb);
		struct box *b = omap_get(s, k);
		assert_int_equal(b ? b->v : 0, m->v[i]);
		if (!m->v[i])
			continue;
		assert_true(ok);
		assert_true(str_eq(it.key, k));
		assert_ptr_equal(it.value, b);
		ok = omap_next(s, &it);
	}
	assert_false(ok);
}

static void change(struct omap *o, struct model *m, unsigned i, unsigned v)
{
	char kb[32];
	struct str k = key_of(i, kb);

	if (v) {
		assert_int_equal(omap_put(o, k, box_new(v)), 0);
		m->n += m->v[i] == 0;
	} else {
		assert_int_equal(omap_del(o, k), m->v[i] ? 0 : -ENOENT);
		m->n -= m->v[i] != 0;
	}
	m->v[i] = v;
}

static unsigned rnd(unsigned *seed)
{
	return (unsigned)rand_r(seed);
}

static void test_random(void **state)
{
	enum { SNAPS = 6 };
	struct omap *o = omap_new(&box_ops);
	static struct model now, then[SNAPS];
	struct omap_snap *snaps[SNAPS] = {0};
	unsigned seed = 42;

	(void)state;
	memset(&now, 0, sizeof(now));
	for (unsigned round = 0; round < 400; round++) {
		/* phases that grow, shrink, and empty the map */
		unsigned bias = (round / 50) % 3, n = 1 + rnd(&seed) % 300;
		for (unsigned j = 0; j < n; j++)
			change(o, &now, rnd(&seed) % KEYS,
				rnd(&seed) % 3 < bias ? 0 : 1 + rnd(&seed) % 1000);
		unsigned k = rnd(&seed) % SNAPS;
		if (snaps[k]) {
			check(snaps[k], &then[k]);
			omap_snap_free(snaps[k]);
		}
		snaps[k] = omap_snapshot(o);
		then[k] = now;
		if (round % 20 == 0)
			check(snaps[k], &now);
	}
	for (unsigned i = 0; i < KEYS; i++)
		change(o, &now, i, 0);
	assert_int_equal(omap_len(o), 0);
	omap_free(o); /* snapshots outlive the map */
	for (unsigned k = 0; k < SNAPS; k++) {
		if (!snaps[k])
			continue;
		check(snaps[k], &then[k]);
		omap_snap_free(snaps[k]);
	}
	assert_int_equal(boxes, 0);
}

static void test_seek(void **state)
{
	struct omap *o = omap_new(&box_ops);
	struct omap_iter it;
	char kb[32];

	(void)state;
	for (unsigned i = 0; i < 1000; i += 2) {
		assert_int_equal(omap_put(o, key_of(i, kb), box_new(i + 1)), 0);
		assert_int_equal(((struct box *)omap_find(o, key_of(i, kb)))->v, i + 1);
	}
	struct omap_snap *s = omap_snapshot(o);
	for (unsigned i = 0; i < 1000; i++) {
		bool ok = omap_seek(s, key_of(i, kb), &it);
		assert_int_equal(ok, i < 999);
		if (ok)
			assert_int_equal(((struct box *)it.value)->v, (i + 1) / 2 * 2 + 1);
	}
	assert_null(omap_find(o, STR("nothing")));
	assert_int_equal(omap_del(o, STR("nothing")), -ENOENT);
	omap_snap_free(s);
	omap_free(o);
	assert_int_equal(boxes, 0);
}

static _Atomic bool stop;

/* Every state has one value up to some key and the one before in the rest. */
static void *reader(void *arg)
{
	struct omap *o = arg;

	while (!stop) {
		struct omap_snap *s = omap_snapshot(o);
		struct omap_iter it;
		unsigned n = 0, v = 0, steps = 0;
		for (bool ok = omap_seek(s, STR(""), &it); ok; ok = omap_next(s, &it)) {
			unsigned x = ((struct box *)it.value)->v;
			steps += n++ > 0 && x != v;
			v = x;
		}
		assert_int_equal(n, 200);
		assert_true(steps <= 1);
		omap_snap_free(s);
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct omap *o = omap_new(&box_ops);
	pthread_t t[2];
	char kb[32];

	(void)state;
	for (unsigned v = 1; v < 300; v++) {
		for (unsigned i = 0; i < 200; i++)
			assert_int_equal(omap_put(o, key_of(i, kb), box_new(v)), 0);
		for (unsigned i = 0; v == 1 && i < 2; i++)
			assert_int_equal(pthread_create(&t[i], NULL, reader, o), 0);
	}
	stop = true;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	omap_free(o);
	assert_int_equal(boxes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_seek),
		cmocka_unit_test(test_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

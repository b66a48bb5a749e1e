/* SPDX-License-Identifier: Apache-2.0
 * The one suite that every back end passes: *state is an empty store. More in suite_watch.h. */
#ifndef XEBEC_TEST_STORE_SUITE_H
#define XEBEC_TEST_STORE_SUITE_H

#include "suite_util.h"
#include "suite_lease.h"
#include "suite_threads.h"
#include "suite_watch.h"

static void suite_txn(void **state)
{
	struct store *s = *state;
	struct store_val *v;
	struct store_txn_result r;
	struct err e;

	assert_int_equal(s->ops->rev(s), 1);
	assert_true(cas(s, "a", 0, "1")); /* create */
	assert_false(cas(s, "a", 0, "2"));
	assert_int_equal(s->ops->rev(s), 2);
	assert_true(cas(s, "a", 2, "3")); /* update */
	assert_false(cas(s, "a", 2, "4"));
	assert_false(cas(s, "none", 7, "4"));
	put(s, "a", "5"); /* unconditional */
	assert_int_equal(store_get_sync(s, STR("a"), &v, &e), 0);
	assert_true(str_eqz(store_val_bytes(v), "5"));
	assert_int_equal(v->create_rev, 2);
	assert_int_equal(v->mod_rev, 4);
	assert_int_equal(v->version, 3);
	store_val_unref(v);

	/* a failed compare gives the present version */
	struct store_txn t = {.key = STR("a"), .compare = true, .expect_mod_rev = 3};
	assert_int_equal(store_txn_sync(s, &t, &r, &e), 0);
	assert_false(r.succeeded);
	assert_int_equal(r.rev, 4);
	assert_int_equal(r.cur->mod_rev, 4);
	store_val_unref(r.cur);
	t = (struct store_txn){.key = STR("no"), .compare = true, .expect_mod_rev = 3};
	assert_int_equal(store_txn_sync(s, &t, &r, &e), 0);
	assert_false(r.succeeded);
	assert_null(r.cur);
}

static void suite_delete(void **state)
{
	struct store *s = *state;
	struct store_txn_result r;
	struct store_val *v;
	struct err e;
	struct store_txn t = {.key = STR("k"), .del = true};

	/* nothing there: succeeds, no revision */
	assert_int_equal(store_txn_sync(s, &t, &r, &e), 0);
	assert_true(r.succeeded);
	assert_null(r.cur);
	assert_int_equal(s->ops->rev(s), 1);
	put(s, "k", "v");
	t.compare = true;
	t.expect_mod_rev = 9;
	assert_int_equal(store_txn_sync(s, &t, &r, &e), 0);
	assert_false(r.succeeded);
	store_val_unref(r.cur);
	t.expect_mod_rev = 2;
	assert_int_equal(store_txn_sync(s, &t, &r, &e), 0);
	assert_true(r.succeeded);
	assert_int_equal(r.rev, 3);
	assert_true(str_eqz(store_val_bytes(r.cur), "v"));
	store_val_unref(r.cur);
	assert_int_equal(store_get_sync(s, STR("k"), &v, &e), -ENOENT);
	/* made anew: a new create_rev, version 1 */
	put(s, "k", "w");
	assert_int_equal(store_get_sync(s, STR("k"), &v, &e), 0);
	assert_int_equal(v->create_rev, 4);
	assert_int_equal(v->version, 1);
	store_val_unref(v);
}

static void suite_range(void **state)
{
	struct store *s = *state;

	assert_list(s, "a", "z", 0, 0, "@1 n=0");
	put(s, "b/1", "x");
	put(s, "b/2", "y");
	put(s, "b/3", "z");
	put(s, "c", "q");
	assert_list(s, "b/", "b0", 0, 0, "b/1=x b/2=y b/3=z @5 n=3");
	assert_list(s, "b/", "b0", 0, 2, "b/1=x b/2=y @5 n=3 more");
	assert_list(s, "b/", "b0", 0, 3, "b/1=x b/2=y b/3=z @5 n=3");
	assert_list(s, "b/3", "", 0, 0, "b/3=z @5 n=1");
	assert_list(s, "b/", "", 0, 0, "@5 n=0");
	struct store_range all = {.start = STR("b/2"), .end = {.p = "\0", .n = 1}};
	struct listing l;
	s->ops->range(s, &all, on_listing, &l);
	assert_string_equal(l.text, "b/2=y b/3=z c=q @5 n=3");
	all.count_only = true;
	s->ops->range(s, &all, on_listing, &l);
	assert_string_equal(l.text, "@5 n=3");
}

static void suite_old_revisions(void **state)
{
	struct store *s = *state;

	put(s, "a", "1");
	put(s, "b", "1");
	put(s, "a", "2");
	del(s, "b");
	put(s, "b", "3");
	assert_list(s, "a", "c", 1, 0, "@6 n=0");
	assert_list(s, "a", "c", 2, 0, "a=1 @6 n=1");
	assert_list(s, "a", "c", 3, 0, "a=1 b=1 @6 n=2");
	assert_list(s, "a", "c", 4, 1, "a=2 @6 n=2 more");
	assert_list(s, "a", "c", 5, 0, "a=2 @6 n=1");
	assert_list(s, "b", "", 4, 0, "b=1 @6 n=1");
	assert_int_equal(list_at(s, "a", "c", 7, 0).code, -ERANGE);
}

static void suite_compact(void **state)
{
	struct store *s = *state;

	put(s, "a", "1");
	put(s, "b", "1");
	put(s, "a", "2");
	del(s, "b");
	put(s, "c", "3"); /* 6 */
	assert_int_equal(compact(s, 7), -ERANGE);
	assert_int_equal(compact(s, 4), 0);
	assert_int_equal(compact(s, 4), -ESTALE);
	struct listing l = list_at(s, "a", "d", 3, 0);
	assert_int_equal(l.code, -ESTALE);
	assert_string_equal(l.reason, "Expired");
	assert_list(s, "a", "d", 4, 0, "a=2 b=1 @6 n=2");
	assert_int_equal(compact(s, 6), 0);
	assert_list(s, "a", "d", 6, 0, "a=2 c=3 @6 n=2");
	assert_list(s, "a", "d", 0, 0, "a=2 c=3 @6 n=2");
	put(s, "b", "4");
	assert_list(s, "a", "d", 6, 0, "a=2 c=3 @7 n=2");
	assert_list(s, "a", "d", 7, 0, "a=2 b=4 c=3 @7 n=3");
}

static void suite_limits(void **state)
{
	struct store *s = *state;
	size_t n = 9u << 20;
	char *big = calloc(1, n);
	struct store_txn t = {.key = STR(""), .value = STR("x")};

	assert_int_equal(do_txn(s, &t, NULL, NULL), -EINVAL);
	t = (struct store_txn){.key = STR("k"), .value = {.p = big, .n = n}};
	assert_int_equal(do_txn(s, &t, NULL, NULL), -E2BIG);
	t.value.n = 1u << 20;
	assert_int_equal(do_txn(s, &t, NULL, NULL), 0);
	t = (struct store_txn){.key = {.p = big, .n = 5000}};
	assert_int_equal(do_txn(s, &t, NULL, NULL), -EINVAL);
	t = (struct store_txn){.key = STR("a\0b\xff"), .value = STR("\0\0")}; /* any bytes */
	assert_int_equal(do_txn(s, &t, NULL, NULL), 0);
	free(big);
}

#define SUITE_TEST(f, setup, teardown) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define STORE_SUITE(up, down)                                                                      \
	SUITE_TEST(suite_txn, up, down), SUITE_TEST(suite_delete, up, down),                       \
		SUITE_TEST(suite_range, up, down), SUITE_TEST(suite_old_revisions, up, down),      \
		SUITE_TEST(suite_compact, up, down), SUITE_TEST(suite_limits, up, down),           \
		SUITE_TEST(suite_threads, up, down), SUITE_TEST(suite_watch_live, up, down),       \
		SUITE_TEST(suite_watch_replay, up, down),                                          \
		SUITE_TEST(suite_watch_compacted, up, down),                                       \
		SUITE_TEST(suite_watch_progress, up, down),                                        \
		SUITE_TEST(suite_watch_cancel, up, down), SUITE_TEST(suite_watch_many, up, down),  \
		SUITE_TEST(suite_lease_revoke, up, down), SUITE_TEST(suite_lease_expiry, up, down)

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The suite on the embedded back end, with segments so small that it rotates and takes snapshots
 * all the time; after each test the directory is opened again and must hold the same. */
#include "store/embedded.h"
#include "store_suite.h"

static char dir[64];

static int open_small(struct store **ret)
{
	struct store_embedded_config c = {
		.dir = dir, .segment_bytes = 32 << 10, .snapshot_bytes = 64 << 10};
	struct err e = {0};
	int r = store_open_embedded(&c, ret, &e);

	if (r < 0)
		(void)fprintf(stderr, "%s\n", e.msg);
	return r;
}

static int up(void **state)
{
	(void)snprintf(dir, sizeof(dir), "/tmp/xebec-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return open_small((struct store **)state);
}

/* Everything with its revisions, as text. */
static void describe(void *arg, const struct err *e, const struct store_range_result *r)
{
	assert_null(e);
	for (size_t i = 0; i < r->n; i++) {
		const struct store_val *v = r->vals[i];
		buf_addf(arg, "%.*s %ju %ju %ju %ju %u\n", STR_FMT(store_val_key(v)),
			(uintmax_t)v->create_rev, (uintmax_t)v->mod_rev, (uintmax_t)v->version,
			(uintmax_t)v->lease, v->len);
	}
	buf_addf(arg, "rev %ju\n", (uintmax_t)r->rev);
}

static void describe_all(struct store *s, struct buf *out)
{
	struct store_stats st;

	store_stats(s, &st);
	buf_addf(out, "compact %ju\n", (uintmax_t)st.compact_rev);
	for (uint64_t rev = st.compact_rev ? st.compact_rev : 1; rev <= st.rev; rev++) {
		struct store_range all = {
			.start = STR("\0"), .end = {.p = "\0", .n = 1}, .rev = rev};
		if (rev + 60 > st.rev || rev % 50 == 0)
			s->ops->range(s, &all, describe, out);
	}
}

static int down(void **state)
{
	struct store *s = *state, *again;
	AUTO_BUF struct buf before = {0}, after = {0};

	describe_all(s, &before);
	s->ops->close(s);
	assert_int_equal(open_small(&again), 0);
	describe_all(again, &after);
	assert_true(str_eq(buf_str(&before), buf_str(&after)));
	again->ops->close(again);
	assert_int_equal(rm_rf(dir), 0);
	return 0;
}

static void test_locked(void **state)
{
	struct store *second;
	struct store_embedded_config c = {.dir = dir};
	struct err e = {0};

	(void)state;
	assert_int_equal(store_open_embedded(&c, &second, &e), -EBUSY);
	assert_non_null(strstr(e.msg, "another process"));
}

static void test_snapshots_and_recycling(void **state)
{
	struct store *s = *state;
	struct store_stats st;
	char key[32], value[900];

	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (int i = 0; i < 600; i++) {
		(void)snprintf(key, sizeof(key), "/k/%d", i % 20);
		put(s, key, value);
		if (i % 100 == 99)
			assert_int_equal(compact(s, s->ops->rev(s) - 10), 0);
	}
	do { /* a snapshot is taken on its own thread */
		store_stats(s, &st);
	} while (st.snapshot_rev == 0);
	assert_true(st.rev == 601 && st.keys == 20 && st.fsyncs > 0);
	FILE *f = fopen("/dev/null", "w");
	struct err e = {0};
	assert_int_equal(store_check(dir, f, &e), 0);
	assert_int_equal(store_dump(dir, 20, f, &e), 0);
	(void)fclose(f);
}

static void test_lease_survives(void **state)
{
	struct store *s = *state;
	struct err e;
	uint64_t id;

	assert_int_equal(s->ops->lease_grant(s, 1, &id, &e), 0);
	put_lease(s, "a", "1", id);
	s->ops->close(s);
	assert_int_equal(open_small(&s), 0);
	*state = s;
	struct recorder r = RECORDER;
	struct store_watch *w = s->ops->watch(s, STR("a"), (struct str){0}, 0, on_watch, &r);
	wait_rev(&r, 3);
	assert_string_equal(r.text, "-a@3 ");
	s->ops->watch_cancel(s, w);
}

/* A watch may start before the restart. */
static void test_history_survives(void **state)
{
	struct store *s = *state;
	struct recorder r = RECORDER;

	put(s, "a", "1");
	put(s, "a", "2");
	del(s, "a");
	s->ops->close(s);
	assert_int_equal(open_small(&s), 0);
	*state = s;
	struct store_watch *w = s->ops->watch(s, STR("a"), STR("b"), 2, on_watch, &r);
	wait_rev(&r, 4);
	assert_string_equal(r.text, "+a=1@2 =a=2@3 -a@4 ");
	s->ops->watch_cancel(s, w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		STORE_SUITE(up, down),
		SUITE_TEST(test_locked, up, down),
		SUITE_TEST(test_snapshots_and_recycling, up, down),
		SUITE_TEST(test_lease_survives, up, down),
		SUITE_TEST(test_history_survives, up, down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

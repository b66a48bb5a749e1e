/* SPDX-License-Identifier: Apache-2.0
 * Disks that fail: every system call of a session in turn gives EIO or ENOSPC, once or for a while,
 * with or without a part written. A failed write must not be there, then or after a restart; the
 * store goes on reading, and writes again when the disk does. */
#include "faulty_io.h"
#include "store/embedded.h"
#include "suite_util.h"

static char dir[64];

static void on_count(void *arg, const struct err *e, const struct store_range_result *r)
{
	assert_null(e);
	*(size_t *)arg = r->count;
}

static size_t count_keys(struct store *s)
{
	struct store_range all = {.start = STR("k"), .end = STR("l"), .count_only = true};
	size_t n = 0;

	s->ops->range(s, &all, on_count, &n);
	return n;
}

static int open_with(const struct store_io *io, struct store **ret, struct err *e)
{
	struct store_embedded_config c = {
		.dir = dir, .segment_bytes = 12 << 10, .snapshot_bytes = 30 << 10};

	return io ? store_open_embedded_io(&c, io, ret, e) : store_open_embedded(&c, ret, e);
}

enum { WRITES = 60 };

/* Writes WRITES keys, returns which were acknowledged. */
static size_t write_all(struct store *s, bool *ok, int want_error)
{
	static char value[400];
	char key[16];
	size_t n = 0;

	for (int i = 0; i < WRITES; i++) {
		(void)snprintf(key, sizeof(key), "k%03d", i);
		struct store_txn t = {
			.key = str_of(key), .value = {.p = value, .n = sizeof(value)}};
		uint64_t before = s->ops->rev(s);
		int r = do_txn(s, &t, NULL, NULL);
		ok[i] = r == 0;
		assert_true(r == 0 || r == want_error);
		assert_int_equal(s->ops->rev(s), before + (r == 0));
		n += r == 0;
		assert_int_equal(count_keys(s), n);
	}
	return n;
}

static void check(struct store *s, const bool *ok)
{
	char key[16];

	for (int i = 0; i < WRITES; i++) {
		struct store_val *v = NULL;
		(void)snprintf(key, sizeof(key), "k%03d", i);
		int r = store_get_sync(s, str_of(key), &v, NULL);
		assert_int_equal(r, ok[i] ? 0 : -ENOENT);
		store_val_unref(v);
	}
}

/* Returns false when no call was left to fail. */
static bool session(long from, long length, int error, bool tear)
{
	struct faulty f = {.mu = PTHREAD_MUTEX_INITIALIZER,
		.seed = (unsigned)from,
		.fail_from = from,
		.fail_to = from + length,
		.error = error,
		.tear = tear,
		.crash_at = -1};
	struct store_io io = FAULTY_IO(&f);
	struct store *s;
	struct err e = {0};
	bool ok[WRITES] = {0};

	(void)snprintf(dir, sizeof(dir), "/tmp/xebec-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
	if (open_with(&io, &s, &e) == 0) {
		size_t n = write_all(s, ok, error);
		/* more failing calls than writes: then nothing may have got through */
		assert_true(n > 0 || length > 20);
		f.fail_from = f.fail_to = -1;
		assert_int_equal(put(s, "l", "works again") > 0, 1);
		check(s, ok);
		s->ops->close(s);
	}
	if (open_with(NULL, &s, &e) < 0)
		fail_msg("call %ld+%ld: %s", from, length, e.msg);
	check(s, ok);
	s->ops->close(s);
	assert_int_equal(rm_rf(dir), 0);
	return f.calls > from;
}

static void every_call(long length, int error, bool tear, long steps)
{
	long n = 0;

	for (long i = 0; session(i, length, error, tear); i += steps)
		n++;
	assert_true(n * steps > 100);
}

static void test_eio_once(void **state)
{
	(void)state;
	every_call(1, -EIO, true, 1);
}

static void test_enospc_for_a_while(void **state)
{
	(void)state;
	every_call(9, -ENOSPC, true, 3);
	every_call(200, -ENOSPC, false, 25);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_eio_once),
		cmocka_unit_test(test_enospc_for_a_while),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

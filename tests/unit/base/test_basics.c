/* SPDX-License-Identifier: Apache-2.0
 * Strings, buffers, files, arena, hash table, errors, times. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/stat.h>
#include "xebec/base/arena.h"
#include "xebec/base/buf.h"
#include "xebec/base/err.h"
#include "xebec/base/htab.h"
#include "xebec/base/timefmt.h"

static void test_numbers(void **state)
{
	uint64_t u;
	int64_t i;
	(void)state;
	assert_int_equal(str_u64(STR("18446744073709551615"), &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(str_u64(STR("18446744073709551616"), &u), -ERANGE);
	assert_int_equal(str_u64(STR("99999999999999999999999x"), &u), -EINVAL);
	assert_int_equal(str_u64(STR(""), &u), -EINVAL);
	assert_int_equal(str_u64(STR("+1"), &u), -EINVAL);
	assert_int_equal(str_i64(STR("-9223372036854775808"), &i), 0);
	assert_true(i == INT64_MIN);
	assert_int_equal(str_i64(STR("9223372036854775808"), &i), -ERANGE);
	assert_int_equal(str_i64(STR("-"), &i), -EINVAL);
}

static void test_cut(void **state)
{
	(void)state;
	struct str s = STR("a//b");
	assert_true(str_eqz(str_cut(&s, '/'), "a"));
	assert_true(str_eqz(str_cut(&s, '/'), ""));
	assert_true(str_eqz(str_cut(&s, '/'), "b"));
	assert_int_equal(s.n, 0);
	assert_true(str_cmp(STR("ab"), STR("b")) < 0 && str_cmp(STR("ab"), STR("a")) > 0);
	assert_true(str_hash(STR("a")) != str_hash(STR("b")));
}

static void test_buf(void **state)
{
	(void)state;
	AUTO_BUF struct buf b = {0};
	for (int i = 0; i < 1000; i++)
		buf_addf(&b, "%d,", i);
	assert_int_equal(b.len, 3890);
	assert_int_equal(strlen(b.p), b.len);
	buf_consume(&b, 3886);
	assert_string_equal(b.p, "999,");
	buf_clear(&b);
	buf_add_u64(&b, UINT64_MAX);
	buf_add_u64(&b, 0);
	assert_string_equal(b.p, "184467440737095516150");
	buf_clear(&b);
	buf_add_json_str(&b, STR("a\"\\\n\x01\x7f\xc3\xa9\xff\xed\xa0\x80\xf0\x9f\x98\x80"));
	assert_string_equal(b.p, "\"a\\\"\\\\\\n\\u0001\x7f\xc3\xa9\xef\xbf\xbd"
				 "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x98\x80\"");
	assert_int_equal(buf_reserve(&b, SIZE_MAX / 2), -ENOMEM);
	buf_adds(&b, "lost"); /* the error sticks */
	assert_null(buf_steal(&b));
	char *p = buf_steal(&b);
	assert_string_equal(p, "");
	free(p);
}

static void test_arena(void **state)
{
	(void)state;
	AUTO_ARENA struct arena a = {0};
	for (size_t n = 1; n < 5000; n += 7) {
		unsigned char *p = arena_alloc(&a, n);
		assert_int_equal((uintptr_t)p % 16, 0);
		assert_true(p[0] == 0 && p[n - 1] == 0);
		memset(p, 0xaa, n);
	}
	assert_string_equal(arena_printf(&a, "%s-%d", "x", 5), "x-5");
	assert_null(arena_alloc(&a, SIZE_MAX));
}

static void test_files(void **state)
{
	(void)state;
	char dir[] = "/tmp/xebec-basics-XXXXXX", path[200], out[200];
	AUTO_BUF struct buf b = {0};
	struct stat st;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/a/b/c", dir);
	assert_int_equal(mkdir_p(path, 0700), 0);
	assert_int_equal(mkdir_p(path, 0700), 0);
	(void)snprintf(out, sizeof(out), "%s/outside", dir);
	assert_int_equal(mkdir_p(out, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/outside/f", dir);
	assert_int_equal(file_write_atomic(path, STR("one"), 0600), 0);
	assert_int_equal(file_write_atomic(path, STR("two\n"), 0640), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_int_equal(file_read(path, 100, &b), 0);
	assert_string_equal(b.p, "two\n");
	assert_int_equal(file_read(path, 3, &b), -EFBIG);
	assert_int_equal(file_read("/nonexistent/x", 3, &b), -ENOENT);
	assert_int_equal(mkdir_p(path, 0700), -ENOTDIR);
	buf_clear(&b);
	assert_int_equal(file_read("/proc/self/stat", 1 << 16, &b), 0); /* says size 0 */
	assert_true(b.len > 10);
	/* rm_rf follows no symbolic link. */
	(void)snprintf(path, sizeof(path), "%s/a/b/link", dir);
	assert_int_equal(symlink(out, path), 0);
	(void)snprintf(path, sizeof(path), "%s/a", dir);
	assert_int_equal(rm_rf(path), 0);
	assert_int_equal(access(path, F_OK), -1);
	(void)snprintf(path, sizeof(path), "%s/outside/f", dir);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(rm_rf(dir), 0);
	assert_int_equal(rm_rf(dir), 0);
}

static void test_htab(void **state)
{
	(void)state;
	struct htab *t = htab_new();
	char key[16];
	static int present[2000], visited[2000];
	uint64_t rnd = 7;
	size_t n = 0;
	for (int step = 0; step < 60000; step++) {
		rnd = rnd * 6364136223846793005ULL + 1442695040888963407ULL;
		int k = (int)(rnd >> 40) % 2000;
		(void)snprintf(key, sizeof(key), "k%d", k);
		struct str s = str_of(key);
		void *old = NULL;
		if ((rnd >> 20) % 3) {
			assert_int_equal(htab_put(t, s, &present[k], &old), 0);
			assert_ptr_equal(old, present[k] ? &present[k] : NULL);
			n += !present[k];
			present[k] = 1;
		} else {
			assert_ptr_equal(htab_del(t, s), present[k] ? &present[k] : NULL);
			n -= (size_t)present[k];
			present[k] = 0;
		}
		assert_int_equal(htab_len(t), n);
	}
	htab_each (t, it) { /* deleting the one just visited */
		int k = (int)((int *)it.value - present);
		visited[k]++;
		if (k % 2)
			assert_non_null(htab_del(t, it.key));
	}
	for (int k = 0; k < 2000; k++) {
		(void)snprintf(key, sizeof(key), "k%d", k);
		assert_int_equal(visited[k], present[k]);
		assert_int_equal(htab_get(t, str_of(key)) != NULL, present[k] && k % 2 == 0);
	}
	htab_free(t, NULL);
}

static void test_err(void **state)
{
	(void)state;
	struct err e;
	assert_int_equal(err_set(&e, ENOENT, NULL, "no %s", "x"), -ENOENT);
	assert_int_equal(err_http_status(&e), 404);
	assert_int_equal(err_prefix(&e, "open %d", 1), -ENOENT);
	assert_string_equal(e.msg, "open 1: no x");
	(void)err_set(
		&e, -EINVAL, "Invalid", "%s again", e.msg); /* its own message as an argument */
	assert_string_equal(e.msg, "open 1: no x again");
	assert_int_equal(err_http_status(&e), 422);
	for (int i = 0; i < 100; i++)
		(void)err_prefix(&e, "a long prefix %d", i);
	assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
	assert_int_equal(err_set(NULL, -EIO, NULL, "x"), -EIO);
	assert_string_equal(err_reason_of_http(409), "Conflict");
	assert_string_equal(err_reason_of_http(299), "");
}

static void test_times(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t ns;
	} rows[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2026-01-02T03:04:05Z", 1767323045 * NS_PER_SEC},
		{"2026-01-02T04:34:05.5+01:30", 1767323045 * NS_PER_SEC + NS_PER_SEC / 2},
		{"2024-02-29T23:59:59.123456789Z", 1709251199123456789},
		{"1969-12-31T23:59:59.25Z", -750000000},
	};
	static const char *const bad[] = {"", "2026-01-02", "2026-13-02T03:04:05Z",
		"2023-02-29T00:00:00Z", "2026-01-02T03:04:05", "2026-01-02T24:00:00Z",
		"2026-01-02T03:04:05Zx", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05+1:00",
		"9999-01-01T00:00:00Z"};
	int64_t ns;
	char t[31], age[16];
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(time_parse(str_of(rows[i].text), &ns), 0);
		assert_true(ns == rows[i].ns);
		time_rfc3339_nano(ns, t);
		assert_int_equal(time_parse(str_of(t), &ns), 0);
		assert_true(ns == rows[i].ns);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(time_parse(str_of(bad[i]), &ns), -EINVAL);
	time_rfc3339_micro(1709251199123456789, t);
	assert_string_equal(t, "2024-02-29T23:59:59.123456Z");
	static const struct {
		int64_t s;
		const char *age;
	} ages[] = {{0, "0s"}, {119, "119s"}, {120, "2m"}, {150, "2m30s"}, {600, "10m"},
		{10799, "179m"}, {10800, "3h"}, {14460, "4h1m"}, {36000, "10h"}, {172800, "2d"},
		{180000, "2d2h"}, {700000, "8d"}, {63072000, "2y"}, {70000000, "2y80d"}};
	for (size_t i = 0; i < ARRAY_LEN(ages); i++) {
		time_duration_short(ages[i].s * NS_PER_SEC, age);
		assert_string_equal(age, ages[i].age);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_buf),
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_htab),
		cmocka_unit_test(test_err),
		cmocka_unit_test(test_times),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

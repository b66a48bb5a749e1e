/* SPDX-License-Identifier: Apache-2.0
 * Files of the kubelet: log parsing and tails, atomically replaced directories. */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>
#include "kubelet/atomicdir.h"
#include "kubelet/logs.h"
#include "kubelet/owner.h"

static char dir[] = "/tmp/xebec-kubelet-test-XXXXXX";

static char *in_dir(const char *name)
{
	struct buf b = {0};
	buf_addf(&b, "%s/%s", dir, name);
	return buf_steal(&b);
}

static void test_parse(void **state)
{
	(void)state;
	struct log_line l;
	assert_int_equal(
		log_parse(STR("2026-01-02T03:04:05.678901234Z stdout F hello world"), &l), 0);
	assert_true(str_eqz(l.text, "hello world"));
	assert_false(l.partial);
	assert_int_equal(log_parse(STR("2026-01-02T03:04:05.678901234Z stderr P x"), &l), 0);
	assert_true(l.partial);
	assert_int_equal(log_parse(STR("2026-01-02T03:04:05.678901234Z stdout F "), &l), 0);
	assert_int_equal(l.text.n, 0);
	static const char *const bad[] = {"", "x", "2026-01-02T03:04:05Z",
		"2026-01-02T03:04:05Z stdout", "2026-01-02T03:04:05Z other F x"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(log_parse(str_of(bad[i]), &l), -EINVAL);
}

#define T(n) "2026-01-02T03:04:0" #n ".000000000Z"
static const char log_text[] = T(1) " stdout F one\n" T(2) " stderr F two\n" T(
	3) " stdout P thr\n" T(3) " stdout F ee\n" T(4) " stdout F four\n";

static void emit_all(struct log_opts o, char *out)
{
	struct log_filter f = {.o = o};
	AUTO_BUF struct buf b = {0};
	struct str rest = str_of(log_text);
	while (rest.n > 0 && log_emit(&f, str_cut(&rest, '\n'), &b))
		;
	(void)memcpy(out, b.p ? b.p : "", b.len);
	out[b.len] = '\0';
}

static void test_filter(void **state)
{
	(void)state;
	char got[512];
	emit_all((struct log_opts){.tail = -1, .limit = -1}, got);
	assert_string_equal(got, "one\ntwo\nthree\nfour\n");
	emit_all((struct log_opts){.tail = -1, .limit = 5}, got);
	assert_string_equal(got, "one\nt");
	emit_all((struct log_opts){.tail = -1, .limit = -1, .stream = "stderr"}, got);
	assert_string_equal(got, "two\n");
	emit_all((struct log_opts){.tail = -1,
			 .limit = -1,
			 .timestamps = true,
			 .since = 1767323043LL * 1000000000LL},
		got);
	assert_string_equal(got, T(3) " three\n" T(4) " four\n");
}

static void test_tail(void **state)
{
	(void)state;
	AUTO_FREE char *path = in_dir("log");
	assert_int_equal(file_write_atomic(path, str_of(log_text), 0600), 0);
	AUTO_CLOSE int fd = open(path, O_RDONLY);
	assert_int_equal(log_tail_offset(fd, 0), sizeof(log_text) - 1);
	assert_int_equal(log_tail_offset(fd, 100), 0);
	assert_int_equal(log_tail_offset(fd, 1), strstr(log_text, T(4)) - log_text);
	AUTO_FREE char *t = log_tail(path, 2, 100), *cut = log_tail(path, 2, 3);
	assert_string_equal(t, "ee\nfour\n");
	assert_string_equal(cut, "ur\n");
	assert_null(log_tail("/nonexistent", 1, 10));
}

static void read_is(const char *rel, const char *want)
{
	AUTO_FREE char *path = in_dir(rel);
	AUTO_BUF struct buf b = {0};
	int r = file_read(path, 100, &b);
	if (!want) {
		assert_true(r < 0);
		return;
	}
	assert_int_equal(r, 0);
	assert_string_equal(b.p ? b.p : "", want);
}

static void test_atomicdir(void **state)
{
	(void)state;
	AUTO_FREE char *vol = in_dir("vol");
	struct payload p = {0};
	struct err e = {0};
	struct stat st;
	assert_int_equal(payload_add(&p, "a", STR("1"), 0644), 0);
	assert_int_equal(payload_add(&p, "d/b", STR("2"), 0400), 0);
	assert_int_equal(payload_add(&p, "../x", STR(""), 0644), -EINVAL);
	assert_int_equal(payload_add(&p, "/x", STR(""), 0644), -EINVAL);
	assert_int_equal(atomicdir_write(vol, &p, -1, &e), 1);
	read_is("vol/a", "1");
	read_is("vol/d/b", "2");
	AUTO_FREE char *b = in_dir("vol/d/b");
	assert_int_equal(stat(b, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0400);
	/* The same again changes nothing; another value, a removed file do. */
	assert_int_equal(atomicdir_write(vol, &p, -1, &e), 0);
	payload_free(&p);
	assert_int_equal(payload_add(&p, "a", STR("3"), 0644), 0);
	assert_int_equal(atomicdir_write(vol, &p, -1, &e), 1);
	read_is("vol/a", "3");
	read_is("vol/d/b", NULL);
	payload_free(&p);
	/* A later source wins. */
	assert_int_equal(payload_add(&p, "a", STR("x"), 0644), 0);
	assert_int_equal(payload_add(&p, "a", STR("y"), 0600), 0);
	assert_int_equal(p.n, 1);
	assert_string_equal(p.v[0].data, "y");
	payload_free(&p);
}

static void mode_is(const char *name, gid_t gid, mode_t mode)
{
	struct stat st;
	AUTO_FREE char *path = in_dir(name);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_gid, gid);
	if (!S_ISLNK(st.st_mode))
		assert_int_equal(st.st_mode & 07777, mode);
}

/* With the process's own group, so that it needs no rights. */
static void test_owner(void **state)
{
	(void)state;
	gid_t gid = getgid();
	AUTO_FREE char *root = in_dir("own"), *sub = in_dir("own/sub"), *f = in_dir("own/sub/f"),
		       *link = in_dir("own/link"), *out = in_dir("outside"),
		       *late = in_dir("own/late");
	const char *files[] = {f, out};
	assert_int_equal(mkdir_p(sub, 0755), 0);
	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		AUTO_CLOSE int fd = open(files[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
	}
	assert_int_equal(symlink(out, link), 0);
	assert_int_equal(chmod(root, 0755) | chmod(sub, 0755), 0);
	assert_int_equal(owner_set_group(root, gid, true), 0);
	mode_is("own", gid, 02775);
	mode_is("own/sub", gid, 02775);
	mode_is("own/sub/f", gid, 0660);
	mode_is("outside", gid, 0600); /* the link was not followed */
	/* What came since is looked at only when asked for. */
	AUTO_CLOSE int fd = open(late, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(owner_set_group(root, gid, false), 0);
	mode_is("own/late", gid, 0600);
	assert_int_equal(owner_set_group(root, gid, true), 0);
	mode_is("own/late", gid, 0660);
	assert_int_equal(owner_set_group(f, gid, true), -ENOTDIR);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return rm_rf(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_parse),
		cmocka_unit_test(test_filter), cmocka_unit_test(test_tail),
		cmocka_unit_test(test_atomicdir), cmocka_unit_test(test_owner)};
	return cmocka_run_group_tests(tests, setup, teardown);
}

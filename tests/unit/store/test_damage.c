/* SPDX-License-Identifier: Apache-2.0
 * Damaged files: every byte flipped in turn, files cut at every offset, files missing. Recovery
 * either finds exactly what was there (the byte meant nothing, or belonged to the last write after
 * an unclean end), or refuses and names the file. Decoders alone, on any bytes: fuzz_store.c. */
#include "store/crc32c.h"
#include "store/embedded.h"
#include "suite_util.h"
#include <fcntl.h>
#include <sys/stat.h>

static char dir[64];

static void path_of(const char *name, char out[static 128])
{
	(void)snprintf(out, 128, "%s/%s", dir, name);
}

static struct store *open_store(uint64_t segment, uint64_t snapshot)
{
	struct store_embedded_config c = {
		.dir = dir, .segment_bytes = segment, .snapshot_bytes = snapshot};
	struct store *s;
	struct err e = {0};

	if (store_open_embedded(&c, &s, &e) < 0)
		fail_msg("%s", e.msg);
	return s;
}

/* What check says: 0 and the revision found, or the error with its message. */
static int check(uint64_t *ret_rev, struct err *e)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	int r = store_check(dir, f, e);
	uintmax_t rev = 0;

	(void)fclose(f);
	const char *ok = strstr(text, "ok: revision ");
	if (ok)
		(void)sscanf(ok, "ok: revision %ju", &rev);
	free(text);
	*ret_rev = rev;
	return r;
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/xebec-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return rm_rf(dir);
}

static void flip(const char *name, off_t at, unsigned char mask)
{
	char path[128];
	unsigned char c;

	path_of(name, path);
	int fd = open(path, O_RDWR);
	assert_int_equal(pread(fd, &c, 1, at), 1);
	c ^= mask;
	assert_int_equal(pwrite(fd, &c, 1, at), 1);
	(void)close(fd);
}

static off_t size_of(const char *name)
{
	char path[128];
	struct stat st;

	path_of(name, path);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* Flips bytes of one file; `used` bytes of it matter. Returns how many flips were refused. */
static size_t flip_all(const char *name, off_t used, uint64_t rev)
{
	size_t refused = 0;

	for (off_t at = 0; at < size_of(name); at++) {
		uint64_t got;
		struct err e = {0};
		/* most of the header and of the unused rest are alike: some of them will do */
		if ((at > 128 && at < 4080 && at % 61) || (at > used && at % 997))
			continue;
		flip(name, at, (unsigned char)(1u << (at % 8)));
		int r = check(&got, &e);
		if (r < 0) {
			assert_int_equal(r, -EBADMSG);
			assert_non_null(strstr(e.msg, name));
			assert_non_null(strstr(e.msg, "restore"));
			refused++;
		} else if (got != rev) {
			fail_msg("%s: byte %jd flipped: revision %ju", name, (intmax_t)at,
				(uintmax_t)got);
		}
		if (at < used)
			assert_true(r < 0);
		flip(name, at, (unsigned char)(1u << (at % 8)));
	}
	return refused;
}

/* The bytes of a segment that hold frames, the closing one apart. */
static off_t used_bytes(const char *name)
{
	char path[128];
	AUTO_BUF struct buf b = {0};
	struct file_head h;
	const char *why;
	struct frame fr;
	size_t at = FILE_HEAD_LEN, last = at;

	path_of(name, path);
	assert_int_equal(file_read(path, 1 << 20, &b), 0);
	assert_int_equal(file_head_parse(buf_str(&b), FILE_WAL, &h, &why), 0);
	while (frame_parse((struct str){.p = b.p + at, .n = b.len - at}, h.salt, &fr) == 1) {
		last = at;
		at += fr.size;
	}
	return (off_t)last;
}

static void test_flip_wal(void **state)
{
	struct store *s = open_store(6 << 10, 1 << 20);
	uint64_t rev = 0;
	struct err e;

	(void)state;
	for (int i = 0; i < 12; i++)
		rev = put(s, "some/key",
			"0123456789012345678901234567890123456789012345678901234567890"
			"12345678901234567890123456789012345678901234567890");
	s->ops->close(s);
	assert_int_equal(check(&rev, &e), 0);
	assert_int_equal(rev, 13);
	assert_true(flip_all("wal-0000000000000001.log", used_bytes("wal-0000000000000001.log"),
			    rev) > 1000);
	assert_true(flip_all("wal-0000000000000002.log", used_bytes("wal-0000000000000002.log"),
			    rev) > 200);
}

static char snapshot_file[32];

static void find_snapshot(void)
{
	struct scan_result res;
	struct scan_visitor none = {0};
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY);

	assert_int_equal(store_scan(fd, dir, &none, &res, NULL), 0);
	(void)str_copy(snapshot_file, sizeof(snapshot_file), str_of(res.snapshot_file));
	scan_result_free(&res);
}

static bool exists(const char *name)
{
	char path[128];

	path_of(name, path);
	return access(path, F_OK) == 0;
}

/* Until the log from before the snapshot is given back too: with it the log alone suffices. */
static void make_snapshot(void)
{
	struct store *s = open_store(6 << 10, 8 << 10);
	struct store_stats st;
	char key[32];
	int i = 0;

	do {
		(void)snprintf(key, sizeof(key), "key/%d", i % 5);
		put(s, key, "0123456789012345678901234567890123456789");
		store_stats(s, &st);
		if (++i % 20 == 0)
			(void)compact(s, s->ops->rev(s) - 3);
	} while (st.snapshot_rev == 0 || exists("wal-0000000000000001.log"));
	s->ops->close(s);
	find_snapshot();
	assert_true(snapshot_file[0] != '\0');
}

static void test_flip_snapshot(void **state)
{
	uint64_t rev;
	struct err e;

	(void)state;
	make_snapshot();
	assert_int_equal(check(&rev, &e), 0);
	off_t n = size_of(snapshot_file);
	assert_true(flip_all(snapshot_file, n, rev) > 500);
	/* cut anywhere: refused */
	char path[128];
	path_of(snapshot_file, path);
	AUTO_BUF struct buf whole = {0};
	assert_int_equal(file_read(path, 1 << 20, &whole), 0);
	for (off_t at = n - 1; at >= 0; at -= at > 4096 ? 1 : 511) {
		assert_int_equal(truncate(path, at), 0);
		assert_int_equal(check(&rev, &e), -EBADMSG);
	}
	/* gone: the log alone does not suffice */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(check(&rev, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "missing"));
}

/* The log of a writer that was killed, cut at every offset: every whole frame before counts. */
static void test_cut_tail(void **state)
{
	static const char name[] = "wal-0000000000000001.log";
	struct store *s = open_store(64 << 10, 1 << 20);
	char path[128];
	AUTO_BUF struct buf b = {0};
	struct file_head h;
	const char *why;
	struct frame fr;
	struct err e;

	(void)state;
	for (int i = 0; i < 6; i++)
		put(s, "key", "valuevaluevaluevaluevalue");
	path_of(name, path);
	assert_int_equal(file_read(path, 1 << 20, &b), 0); /* as a kill would leave it */
	s->ops->close(s);
	assert_int_equal(file_head_parse(buf_str(&b), FILE_WAL, &h, &why), 0);
	size_t at = FILE_HEAD_LEN;
	for (uint64_t rev = 1; rev <= 7; rev++) {
		int r = frame_parse((struct str){.p = b.p + at, .n = b.len - at}, h.salt, &fr);
		assert_int_equal(r == 1, rev < 7);
		size_t size = r == 1 ? fr.size : 1;
		for (size_t cut = at; cut < at + size; cut++) {
			uint64_t got;
			assert_int_equal(
				file_write_atomic(path, (struct str){.p = b.p, .n = cut}, 0600), 0);
			assert_int_equal(check(&got, &e), 0);
			assert_int_equal(got, rev);
		}
		at += size;
	}
	/* inside the header nothing is left to trust */
	assert_int_equal(truncate(path, 4000), 0);
	uint64_t got;
	assert_int_equal(check(&got, &e), -EBADMSG);
}

static void test_missing_segment(void **state)
{
	struct store *s = open_store(6 << 10, 1 << 20);
	char path[128];
	struct err e = {0};
	uint64_t rev;

	(void)state;
	for (int i = 0; i < 60; i++)
		put(s, "key",
			"0123456789012345678901234567890123456789012345678901234567890123456789");
	s->ops->close(s);
	path_of("wal-0000000000000002.log", path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(check(&rev, &e), -EBADMSG);
	assert_non_null(strstr(e.msg, "missing"));
}

static void test_not_a_store(void **state)
{
	struct err e = {0};
	uint64_t rev;

	(void)state;
	assert_int_equal(check(&rev, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "no store"));
}

static void test_crc(void **state)
{
	char text[] = "123456789 and some more bytes to cross words";

	(void)state;
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	for (size_t n = 0; n < sizeof(text); n++)
		assert_int_equal(crc32c(1, text, n), crc32c_table(1, text, n));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc),
		T(test_flip_wal),
		T(test_flip_snapshot),
		T(test_cut_tail),
		T(test_missing_segment),
		T(test_not_a_store),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

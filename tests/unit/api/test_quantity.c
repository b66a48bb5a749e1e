/* SPDX-License-Identifier: Apache-2.0
 * Quantities: parsing to milli units and the canonical form. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include "api/api.h"

static void canonical(void **state)
{
	static const struct {
		const char *in, *out; /* out NULL: invalid */
	} rows[] = {
		{"0", "0"},
		{"1", "1"},
		{"1000m", "1"},
		{"1500m", "1500m"},
		{"0.25", "250m"},
		{"1.5", "1500m"},
		{".5", "500m"},
		{"1.", "1"},
		{"1000", "1k"},
		{"1024", "1024"},
		{"1024Ki", "1Mi"},
		{"1Ki", "1Ki"},
		{"1023Ki", "1023Ki"},
		{"0.5Ki", "512"},
		{"1.5Gi", "1536Mi"},
		{"1500Mi", "1500Mi"},
		{"100M", "100M"},
		{"1e3", "1e3"},
		{"1500e-3", "1500e-3"},
		{"1E", "1E"},
		{"1Ei", "1Ei"},
		{"-5m", "-5m"},
		{"-0", "0"},
		{"+3", "3"},
		{"0.1n", "1n"},
		{"1000000k", "1G"},
		{"9223372036854775807", "9223372036854775807"},
		{"9223372036854775808", "9223372036854775807"},
		{"100E", "9223372036854775807"},
		{"12345678901234567890123", "9223372036854775807"},
		{"0.3Mi", "314572800m"},
		{"00012", "12"},
		{"1.000", "1"},
		{"", NULL},
		{".", NULL},
		{"abc", NULL},
		{"1KiB", NULL},
		{"1 ", NULL},
		{"1..2", NULL},
		{"--1", NULL},
		{"1e", NULL},
		{"1K", NULL},
		{"m", NULL},
		{"1e+", NULL},
		{"0x10", NULL},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF struct buf b = {0};
		int r = quantity_canonical(str_of(rows[i].in), &b);
		if (!rows[i].out) {
			if (r != -EINVAL)
				fail_msg("%s: accepted as %s", rows[i].in, b.p);
			continue;
		}
		if (r < 0 || strcmp(b.p, rows[i].out) != 0)
			fail_msg("%s: got %s (%d), expected %s", rows[i].in, b.p ? b.p : "", r,
				rows[i].out);
	}
}

static void milli(void **state)
{
	static const struct {
		const char *in;
		int64_t milli;
		int r;
	} rows[] = {
		{"1", 1000, 0},
		{"100m", 100, 0},
		{"1u", 1, 0},
		{"1500u", 2, 0},
		{"-1500u", -1, 0},
		{"1Gi", 1073741824000LL, 0},
		{"2k", 2000000, 0},
		{"1e3", 1000000, 0},
		{"9223372036854775807", INT64_MAX, -ERANGE},
		{"-9E", INT64_MIN, -ERANGE},
		{"x", 0, -EINVAL},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t v = 0;
		struct err e = {0};
		assert_int_equal(quantity_parse(str_of(rows[i].in), &v, &e), rows[i].r);
		if (v != rows[i].milli)
			fail_msg("%s: %lld", rows[i].in, (long long)v);
	}
}

/* The canonical form is a fixed point with the same value. */
static void fixed_point(void **state)
{
	static const char *const suffixes[] = {
		"n", "u", "m", "", "k", "M", "G", "Ki", "Mi", "Gi", "e2", "e-4"};
	(void)state;
	srandom(7);
	for (size_t i = 0; i < 20000; i++) {
		char in[64];
		AUTO_BUF struct buf a = {0}, b = {0};
		int64_t x = 0, y = 0;
		(void)snprintf(in, sizeof(in), "%ld.%ld%s", random() % 3000, random() % 2000,
			suffixes[(size_t)random() % ARRAY_LEN(suffixes)]);
		assert_int_equal(quantity_canonical(str_of(in), &a), 0);
		assert_int_equal(quantity_canonical(buf_str(&a), &b), 0);
		if (strcmp(a.p, b.p) != 0)
			fail_msg("%s -> %s -> %s", in, a.p, b.p);
		(void)quantity_parse(str_of(in), &x, NULL);
		(void)quantity_parse(buf_str(&a), &y, NULL);
		if (x != y)
			fail_msg("%s and %s differ", in, a.p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(canonical),
		cmocka_unit_test(milli),
		cmocka_unit_test(fixed_point),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Tables of choices: even, in proportion, the same everywhere, hardly disturbed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "table.h"

#define MAX_BE	   200
#define TABLE_OF_3 1375096804u

static size_t make(struct table_be *b, size_t n, const uint32_t *weights)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t addr[16] = {10, 244, (uint8_t)(i / 50), (uint8_t)(i % 50 + 1)};
		b[i] = (struct table_be){
			table_id(addr, 8080), weights ? weights[i] : 1, (uint32_t)i};
	}
	return n;
}

static void count(const uint32_t *slots, size_t size, size_t *of)
{
	memset(of, 0, MAX_BE * sizeof *of);
	for (size_t i = 0; i < size; i++)
		of[slots[i]]++;
}

static void sizes(void **state)
{
	(void)state;
	assert_int_equal(table_maglev_size(0), 0);
	assert_int_equal(table_maglev_size(1), 251);
	assert_int_equal(table_maglev_size(5), 509);
	assert_int_equal(table_maglev_size(50), 8191);
	assert_int_equal(table_maglev_size(100000), 16381);
	assert_int_equal(table_shares_size(3), 1024);
	assert_int_equal(table_shares_size(100000), TABLE_MAX);
}

static void even(void **state)
{
	(void)state;
	static uint32_t slots[TABLE_MAX];
	struct table_be b[MAX_BE];
	size_t of[MAX_BE];
	for (size_t n = 1; n <= 100; n += 11) {
		size_t size = table_maglev_size(n);
		assert_int_equal(table_maglev(b, make(b, n, NULL), slots, size), 0);
		count(slots, size, of);
		for (size_t i = 0; i < n;
			i++) /* within a slot of each other, whatever the hashes */
			assert_in_range(of[i], size / n, size / n + 1);
	}
}

/* 90 : 10 : 0 : 900, and weights that do not divide the size. */
static void weighted(void **state)
{
	(void)state;
	static uint32_t slots[TABLE_MAX];
	const uint32_t w[4] = {90, 10, 0, 900};
	struct table_be b[MAX_BE];
	size_t of[MAX_BE];
	make(b, 4, w);
	for (int maglev = 0; maglev < 2; maglev++) {
		size_t size = maglev ? table_maglev_size(4) : table_shares_size(4);
		assert_int_equal(
			maglev ? table_maglev(b, 4, slots, size) : table_shares(b, 4, slots, size),
			0);
		count(slots, size, of);
		for (int i = 0; i < 4; i++) {
			double want = (double)size * w[i] / 1000;
			assert_true((double)of[i] > want - 2 && (double)of[i] < want + 2);
		}
		assert_int_equal(of[2], 0);
	}
	b[0].weight = b[1].weight = b[3].weight = 0;
	assert_int_not_equal(table_maglev(b, 4, slots, 251), 0);
	assert_int_not_equal(table_shares(b, 4, slots, 1024), 0);
}

/* One of n goes: its slots are given away, few others move. The same table again when it is back,
 * and whatever row numbers the backends have. */
static void disturbance(void **state)
{
	(void)state;
	static uint32_t before[TABLE_MAX], after[TABLE_MAX];
	struct table_be b[MAX_BE], less[MAX_BE];
	for (size_t n = 4; n <= 64; n *= 2) {
		size_t size = table_maglev_size(n), moved = 0;
		make(b, n, NULL);
		assert_int_equal(table_maglev(b, n, before, size), 0);
		memcpy(less, b, sizeof b);
		memmove(&less[1], &less[2], (n - 2) * sizeof *b); /* without number 1 */
		assert_int_equal(table_maglev(less, n - 1, after, size), 0);
		for (size_t i = 0; i < size; i++) {
			moved += before[i] != 1 && before[i] != after[i];
			assert_int_not_equal(after[i], 1);
		}
		assert_true(moved * 100 < size * 8);
		for (size_t i = 0; i < n; i++)
			b[i].be += 100; /* another restart, other rows */
		assert_int_equal(table_maglev(b, n, after, size), 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(after[i], before[i] + 100);
	}
}

/* Nodes of different builds must agree: these numbers may not change. */
static void stable(void **state)
{
	(void)state;
	static const uint8_t addr[16] = {10, 244, 1, 1};
	assert_true(table_id(addr, 8080) == table_id(addr, 8080));
	assert_true(table_id(addr, 8080) != table_id(addr, 8081));
	struct table_be b[3];
	uint32_t slots[251];
	uint32_t sum = 0;
	make(b, 3, NULL);
	assert_int_equal(table_maglev(b, 3, slots, 251), 0);
	for (uint32_t i = 0; i < 251; i++)
		sum = sum * 31 + slots[i];
	print_message("table of 3: %u\n", sum);
	assert_int_equal(sum, TABLE_OF_3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(sizes), cmocka_unit_test(even),
		cmocka_unit_test(weighted), cmocka_unit_test(disturbance),
		cmocka_unit_test(stable)};
	return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * Maglev tables and proportional ones. */
#include "table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "xebec/base/cleanup.h"

/* Not the process's keyed hash: every node must come to the same table. */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

uint64_t table_id(const uint8_t addr[16], uint16_t port)
{
	uint64_t a, b;
	memcpy(&a, addr, 8);
	memcpy(&b, addr + 8, 8);
	return mix(mix(mix(a + 0x9e3779b97f4a7c15ull) + b) + port);
}

size_t table_maglev_size(size_t n)
{
	static const size_t primes[] = {251, 509, 1021, 2039, 4093, 8191, 16381};
	size_t i = 0;
	if (n == 0)
		return 0;
	while (i < ARRAY_LEN(primes) - 1 && primes[i] < 100 * n)
		i++;
	return primes[i];
}

size_t table_shares_size(size_t n)
{
	size_t size = 1024;
	if (n == 0)
		return 0;
	while (size < 16 * n && size < TABLE_MAX)
		size *= 2;
	return size;
}

static uint32_t heaviest(const struct table_be *b, size_t n)
{
	uint32_t w = 0;
	for (size_t i = 0; i < n; i++)
		w = b[i].weight > w ? b[i].weight : w;
	return w;
}

struct turn { /* a backend's way through the slots */
	uint64_t at, skip;
	uint64_t due; /* takes a slot each time this reaches the heaviest's weight */
};

int table_maglev(const struct table_be *b, size_t n, uint32_t *slots, size_t size)
{
	uint32_t max = heaviest(b, n);
	if (!max || size < 2)
		return -EINVAL;
	AUTO_FREE struct turn *t = calloc(n, sizeof *t);
	AUTO_FREE bool *used = calloc(size, sizeof *used);
	if (!t || !used)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		t[i] = (struct turn){
			.at = b[i].id % size, .skip = mix(b[i].id + 1) % (size - 1) + 1};
	for (size_t filled = 0; filled < size;)
		for (size_t i = 0; i < n && filled < size; i++) {
			t[i].due += b[i].weight;
			if (t[i].due < max)
				continue;
			t[i].due -= max;
			while (used[t[i].at])
				t[i].at = (t[i].at + t[i].skip) % size;
			used[t[i].at] = true;
			slots[t[i].at] = b[i].be;
			filled++;
		}
	return 0;
}

int table_shares(const struct table_be *b, size_t n, uint32_t *slots, size_t size)
{
	uint64_t sum = 0, before = 0;
	size_t at = 0;
	for (size_t i = 0; i < n; i++)
		sum += b[i].weight;
	if (!sum)
		return -EINVAL;
	/* Each ends where its part of the whole ends, rounded: never off by more than one slot. */
	for (size_t i = 0; i < n; i++) {
		before += b[i].weight;
		size_t end = (size_t)((before * size + sum / 2) / sum);
		while (at < end && at < size)
			slots[at++] = b[i].be;
	}
	return 0;
}

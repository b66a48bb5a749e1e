/* SPDX-License-Identifier: Apache-2.0
 * CRC-32C by the SSE4.2 instruction, else by a table. */
#include <string.h>
#include "store/crc32c.h"

#define POLY 0x82f63b78u /* reflected */

/* Four steps of the shift register: a row of the 16-entry table. */
static uint32_t nibble_row(uint32_t c)
{
	for (int i = 0; i < 4; i++)
		c = (c >> 1) ^ ((c & 1u) ? POLY : 0u);
	return c;
}

uint32_t crc32c_table(uint32_t crc, const void *p, size_t n)
{
	const unsigned char *b = p;
	uint32_t rows[16];

	for (uint32_t i = 0; i < 16; i++)
		rows[i] = nibble_row(i);
	crc = ~crc;
	for (size_t i = 0; i < n; i++) {
		crc ^= b[i];
		crc = (crc >> 4) ^ rows[crc & 15];
		crc = (crc >> 4) ^ rows[crc & 15];
	}
	return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(
	uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t c = (uint32_t)~crc;

	for (; n >= 8; n -= 8, p += 8) {
		uint64_t w;
		memcpy(&w, p, 8);
		c = __builtin_ia32_crc32di(c, w);
	}
	for (; n > 0; n--, p++)
		c = __builtin_ia32_crc32qi((uint32_t)c, *p);
	return ~(uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *p, size_t n)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42(crc, p, n);
#endif
	return crc32c_table(crc, p, n);
}

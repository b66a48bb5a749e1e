/* SPDX-License-Identifier: Apache-2.0
 * CRC-32C (Castagnoli, RFC 3720 appendix B.4): the checksum of everything the store writes. */
#ifndef XEBEC_STORE_CRC32C_H
#define XEBEC_STORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* crc = 0 to start; pass the last result to go on. */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);
uint32_t crc32c_table(uint32_t crc, const void *p, size_t n); /* for tests: never the instruction */

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Tables of choices: which backend each slot names. Pure: equal input gives equal tables on every
 * node and after every restart, so that a flow's hash leads to the same backend everywhere. */
#ifndef XEBEC_DATAPLANE_TABLE_H
#define XEBEC_DATAPLANE_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct table_be {
	uint64_t id;	 /* stable identity, from address and port: table_id */
	uint32_t weight; /* 0 = gets nothing */
	uint32_t be;	 /* what its slots say */
};
uint64_t table_id(const uint8_t addr[16], uint16_t port);

/* Slots that n backends should have: Maglev a prime >= 100 * n (at most 16381), shares enough for
 * their weights. 0 for none. */
size_t table_maglev_size(size_t n);
size_t table_shares_size(size_t n);
#define TABLE_MAX 16384

/* Fills size slots. Maglev (Eisenbud et al., NSDI 2016, 3.4), by weight: when a backend comes or
 * goes, few slots change but its own. -ENOMEM; -EINVAL when all weights are 0. */
int table_maglev(const struct table_be *b, size_t n, uint32_t *slots, size_t size);
/* Slots in proportion, each backend off by less than one, for random picks. */
int table_shares(const struct table_be *b, size_t n, uint32_t *slots, size_t size);

#endif

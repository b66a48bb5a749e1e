/* SPDX-License-Identifier: Apache-2.0
 * Allocators of map rows: single ones, reused as late as possible; runs, in powers of two. */
#ifndef XEBEC_DATAPLANE_SLOTS_H
#define XEBEC_DATAPLANE_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Row numbers 1 .. max-1. */
struct ids {
	uint32_t *free; /* ring of freed numbers, oldest first */
	uint32_t max, next, head, len, used;
};
int ids_init(struct ids *s, uint32_t max); /* -ENOMEM */
void ids_free(struct ids *s);
uint32_t ids_get(struct ids *s); /* 0 = none left */
void ids_put(struct ids *s, uint32_t id);
/* Start from a set of used numbers (a bit each); once, on an unused struct. */
void ids_adopt(struct ids *s, const uint64_t *used_bits);

#define RUN_CLASSES 20
/* Runs of 1, 2, 4 .. 2^19 rows. A run of another length takes the next class. */
struct runs {
	struct run_list {
		uint32_t *base;
		size_t n, cap;
	} free[RUN_CLASSES];
	uint32_t max, next, used;
};
void runs_init(struct runs *s, uint32_t max);
void slot_runs_free(struct runs *s);
int runs_get(struct runs *s, uint32_t len, uint32_t *ret_base); /* -ENOSPC, -ENOMEM */
int runs_put(struct runs *s, uint32_t base, uint32_t len);
/* Start from used runs, sorted by base; once, on an unused struct. */
struct run {
	uint32_t base, len;
};
int runs_adopt(struct runs *s, const struct run *used, size_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The publisher on the real maps: records who was programmed when, waits for grace periods in the
 * background, sweeps the connection tables. Lives on one loop. */
#ifndef XEBEC_DATAPLANE_PROGRAMMER_H
#define XEBEC_DATAPLANE_PROGRAMMER_H

#include "maps.h"
#include "publish.h"
#include "xebec/base/loop.h"

struct programmer;
/* Adopts what the maps hold. maps must outlive it. loop NULL (benchmarks, tests): no background
 * work; programmer_settle does it. */
int programmer_new(struct maps *m, struct loop *l, struct programmer **ret, struct err *e);
void programmer_free(struct programmer *p);

/* since_ns: time_mono() of the watch event that caused it (0 = none). rv: of the Service. */
int programmer_set(struct programmer *p, const struct want_svc *w, uint64_t rv, int64_t since_ns,
	struct err *e);
void programmer_del(struct programmer *p, const char *name);
/* The first complete sync is in: what nobody asked for goes. */
void programmer_synced(struct programmer *p);
/* After a batch of set/del: starts the wait for a grace period when something was given up. */
void programmer_flush(struct programmer *p);
/* The same, waiting here. */
void programmer_settle(struct programmer *p);
/* fn is called each time that something was given up and no program sees it any more: by the
 * background thread, or in programmer_settle. Set once, before the first flush. */
void programmer_on_gone(struct programmer *p, void (*fn)(void *arg), void *arg);
/* One sweep of the connection tables, now. */
int programmer_sweep(struct programmer *p, struct xb_gc *ret);

struct programmer_stats {
	uint64_t publishes, failures;			   /* since start */
	uint64_t latency_us_sum, latency_n, latency_le[8]; /* buckets: le_us[] */
	struct pub_usage usage;
	struct xb_gc last_gc;
	int64_t last_gc_us;
	bool full; /* the last failure was for want of room */
};
extern const uint32_t programmer_le_us[8];
void programmer_stats(const struct programmer *p, struct programmer_stats *ret);

#endif

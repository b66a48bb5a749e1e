/* SPDX-License-Identifier: Apache-2.0
 * Makes the maps say what the compiler wants, by the smallest change, without a moment in which a
 * packet could see half of it:
 *   rows of new backends -> a fresh run of `lut` -> one 64-bit selector store -> (grace period) ->
 *   the old run and the rows of vanished backends become free.
 * Other services are not touched. One thread; no clock, no kernel of its own (struct pub_ops). */
#ifndef XEBEC_DATAPLANE_PUBLISH_H
#define XEBEC_DATAPLANE_PUBLISH_H

#include "compile.h"
#include "xebec/base/err.h"

struct pub_arrays { /* memory shared with the kernel */
	struct xb_svc *svc;
	struct xb_be *be;
	struct xb_lut *lut;
	uint32_t n_svc, n_be, n_lut;
};

struct pub_fe { /* a frontend as the map has it */
	struct ip ip;
	uint16_t port;
	uint8_t proto;
	struct xb_fe fe;
};

struct pub_ops { /* 0 or negative errno */
	int (*fe_set)(void *arg, const struct pub_fe *fe);
	/* Only where the map still has this service under the key. */
	int (*fe_del)(void *arg, const struct pub_fe *fe);
	int (*range_set)(void *arg, uint32_t svc, const struct svc_range *r);
	int (*range_del)(void *arg, uint32_t svc, const struct svc_range *r);
	/* A row number is used again: its counters start from zero. May be NULL. */
	void (*be_reset)(void *arg, uint32_t be);
	void (*svc_reset)(void *arg, uint32_t svc);
	void *arg;
};

struct publisher;
int publisher_new(const struct pub_arrays *a, const struct pub_ops *ops, struct publisher **ret);
void publisher_free(struct publisher *p); /* leaves the maps as they are */

/* What an earlier process left: call once before anything else, with the names of the rows and all
 * frontends. Rows without a name are cleared. */
struct pub_known {
	uint32_t svc;
	const char *name;
};
int publisher_adopt(struct publisher *p, const struct pub_known *known, size_t n_known,
	const struct pub_fe *fes, size_t n_fes);

/* After publisher_adopt: a source range that the map has. -ENOENT: of no known service. */
int publisher_adopt_range(struct publisher *p, uint32_t svc, const struct svc_range *r);

/* Result of a publish, for whoever records it. */
struct pub_result {
	uint32_t svc;
	bool changed; /* any store was made */
	bool is_new;
};
/* On failure (-ENOSPC: a map is full; reason InsufficientStorage) the service stays as it was. */
int publish_service(
	struct publisher *p, const struct want_svc *w, struct pub_result *ret, struct err *e);
/* -ENOENT when there is no such service; *ret_svc = its former index. */
int publish_remove(struct publisher *p, const char *name, uint32_t *ret_svc);
/* After the first complete sync: removes adopted services that nobody asked for, by calling gone
 * (which may record them) for each. Returns how many. */
int publish_sweep(struct publisher *p, void (*gone)(void *arg, uint32_t svc), void *arg);

/* What was given up since the last call waits here until no program can see it any more. NULL =
 * nothing. The caller waits for a grace period, anywhere, then calls publish_reclaim. */
struct pub_retired;
struct pub_retired *publish_retired(struct publisher *p);
void publish_reclaim(struct publisher *p, struct pub_retired *r);

struct pub_usage {
	uint32_t svc, be, lut; /* rows in use */
};
struct pub_usage publisher_usage(const struct publisher *p);

#endif

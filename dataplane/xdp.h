/* SPDX-License-Identifier: Apache-2.0
 * The XDP program of the uplink (bpf/xdp.bpf.c). Optional: without it tc_nic_in does the same work
 * later. Its link is pinned beside the others, outlives us and is swapped in place. */
#ifndef XEBEC_DATAPLANE_XDP_H
#define XEBEC_DATAPLANE_XDP_H

#include "maps.h"

enum xdp_mode {
	XDP_MODE_OFF,
	XDP_MODE_AUTO,	  /* native where the driver can, else none */
	XDP_MODE_NATIVE,  /* or fail */
	XDP_MODE_GENERIC, /* in the stack: for tests, no faster */
};
int xdp_mode_parse(const char *name, enum xdp_mode *ret); /* NULL = off; -EINVAL */

/* OFF takes an earlier program away. */
int xdp_attach(struct maps *m, int ifindex, const char *name, enum xdp_mode mode, struct err *e);

/* For tests and benchmarks: the object loaded over the maps; a program of it by name. */
struct xdp_bpf;
int xdp_load(struct maps *m, struct xdp_bpf **ret, struct err *e);
int xdp_prog_fd(const struct xdp_bpf *x, const char *name); /* -1 = there is none */
void xdp_unload(struct xdp_bpf *x);

#endif

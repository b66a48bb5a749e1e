/* SPDX-License-Identifier: Apache-2.0
 * The bandwidth of a pod (annotations kubernetes.io/ingress-bandwidth and egress-bandwidth, which
 * the runtime hands to us as runtimeConfig.bandwidth): a token bucket at each end of its link. */
#ifndef XEBEC_DATAPLANE_BANDWIDTH_H
#define XEBEC_DATAPLANE_BANDWIDTH_H

#include "podlink.h"
#include "xebec/base/jv.h"

struct bandwidth {		      /* 0 = unlimited */
	uint64_t in_rate, out_rate;   /* bytes a second; in = towards the pod */
	uint32_t in_burst, out_burst; /* bytes */
};
/* The object {"ingressRate","ingressBurst","egressRate","egressBurst"} in bits; absent = unlimited.
 */
void bandwidth_read(struct jv v, struct bandwidth *ret);
/* -ENOENT: the kernel has no token bucket. */
int bandwidth_apply(const struct bandwidth *b, const struct podlink *l, const char *netns_path,
	const char *pod_ifname, struct err *e);

#endif

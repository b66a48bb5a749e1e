/* SPDX-License-Identifier: Apache-2.0
 * An address of either family as plain data. Functions are in spec.c. */
#ifndef XEBEC_DATAPLANE_IP_H
#define XEBEC_DATAPLANE_IP_H

#include <stdint.h>
#include "xebec/base/str.h"

struct ip { /* family 4 or 6; IPv4 in the first four bytes */
	uint8_t b[16];
	uint8_t family;
};
int ip_parse(struct str s, struct ip *ret);			       /* -EINVAL */
int ip_cidr_parse(struct str s, struct ip *ret, unsigned *ret_prefix); /* host bits cleared */
void ip_format(const struct ip *ip, char out[static 46]);

/* One of each family, as Kubernetes' flags have it: "10.244.0.0/16,fd00:10:244::/56" in any order.
 * An absent one has family 0. */
struct ip_pair {
	struct ip v4, v6;
};
struct cidr {
	struct ip net;
	unsigned prefix;
};
struct cidr_pair {
	struct cidr v4, v6;
};
int ip_pair_parse(
	const char *list, struct ip_pair *ret); /* -EINVAL, also for none or two of a family */
int cidr_pair_parse(const char *list, struct cidr_pair *ret);

static inline unsigned ip_len(const struct ip *ip) /* bytes */
{
	return ip->family == 6 ? 16 : 4;
}

#endif

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

static inline unsigned ip_len(const struct ip *ip) /* bytes */
{
	return ip->family == 6 ? 16 : 4;
}

#endif

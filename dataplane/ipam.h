/* SPDX-License-Identifier: Apache-2.0
 * Addresses of a node's pods: one file a lease in a directory, so that leases survive a restart and
 * can be read with ls. File name = the address, text = "<container id> <interface name>\n". Not
 * thread-safe. */
#ifndef XEBEC_DATAPLANE_IPAM_H
#define XEBEC_DATAPLANE_IPAM_H

#include <netinet/in.h>
#include <stdbool.h>
#include "ip.h"
#include "xebec/base/err.h"

struct ipam;
/* dir is made when absent; leases in it are taken over. */
int ipam_open(const char *dir, struct ipam **ret, struct err *e);
void ipam_free(struct ipam *p);
/* "10.244.1.0/24". Leases outside a changed range stay until released. */
int ipam_set_range(struct ipam *p, const char *cidr, struct err *e);
/* The node's IPv6 range, at most /96: a pod's IPv6 address is that with its IPv4 address in the low
 * bits, so that one lease stands for both. Kept in the directory. */
int ipam_set_range6(struct ipam *p, const struct cidr *c, struct err *e);
struct in6_addr ipam_six(const struct ipam *p, struct in_addr a); /* all zero = no IPv6 */
bool ipam_ready(const struct ipam *p);				  /* a range is known */

/* The same (container, interface) gets the same address again. -ENOSPC when the range is used up.
 * Addresses are handed out round robin: a freed one rests as long as possible. */
int ipam_lease(struct ipam *p, const char *container, const char *ifname, struct in_addr *ret,
	struct err *e);
/* Releases what the container's interface holds; *ret gets the address. -ENOENT when it holds none.
 */
int ipam_release(struct ipam *p, const char *container, const char *ifname, struct in_addr *ret);
int ipam_find(const struct ipam *p, const char *container, const char *ifname,
	struct in_addr *ret); /* -ENOENT */
/* Every lease, in any order; fn may not lease or release. */
void ipam_each(const struct ipam *p,
	void (*fn)(void *arg, struct in_addr a, const char *container, const char *ifname),
	void *arg);
bool ipam_holds(const struct ipam *p, const char *container); /* any interface */
size_t ipam_len(const struct ipam *p);

#endif

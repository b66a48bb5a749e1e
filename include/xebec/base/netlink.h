/* SPDX-License-Identifier: Apache-2.0
 * The few rtnetlink requests that pod networking and the local cluster need (rtnetlink(7)),
 * synchronous, over libmnl. A struct nl speaks to the network namespace in which it was opened. Not
 * thread-safe. Addresses are network byte order. */
#ifndef XEBEC_BASE_NETLINK_H
#define XEBEC_BASE_NETLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

struct nl;
int nl_open(int netns_fd, struct nl **ret); /* -1 = the caller's own namespace */
void nl_close(struct nl *n);
static inline void cleanup_nl(struct nl **n)
{
	nl_close(*n);
}

struct nl_link {
	int ifindex, master;
	unsigned flags, mtu;
	uint8_t mac[6];
	char name[IFNAMSIZ];
};
int nl_link_get(struct nl *n, const char *name, struct nl_link *ret); /* -ENODEV */
int nl_link_each(struct nl *n, void (*fn)(void *arg, const struct nl_link *l), void *arg);
int nl_link_del(struct nl *n, int ifindex);
int nl_link_up(struct nl *n, int ifindex);
int nl_link_master(struct nl *n, int ifindex, int master);
int nl_bridge_add(struct nl *n, const char *name);

struct nl_veth {
	const char *name, *peer_name;
	int peer_netns_fd;	       /* -1 = same namespace */
	unsigned mtu;		       /* 0 = default */
	const uint8_t *mac, *peer_mac; /* NULL = random */
};
int nl_veth_add(struct nl *n, const struct nl_veth *v);

/* A VXLAN device without peers of its own: each packet's metadata says where to. */
struct nl_vxlan {
	const char *name;
	uint16_t port;
	unsigned mtu;
	const uint8_t *mac;
};
int nl_vxlan_add(struct nl *n, const struct nl_vxlan *v); /* -EEXIST */

int nl_addr_add(struct nl *n, int ifindex, int family, const void *addr,
	unsigned prefix); /* there already = 0 */
struct nl_route {
	int family;
	uint8_t dst[16], gw[16], src[16];
	unsigned prefix;
	bool has_gw, has_src, onlink;
	int oif;
	uint8_t protocol; /* RTPROT_*; ours are NL_PROTO_XEBEC */
	uint32_t tunnel;  /* != 0: IPv4 metadata for a VXLAN device, this identifier */
	uint8_t tunnel_src[4], tunnel_dst[4];
};
#define NL_PROTO_XEBEC 88
int nl_route_replace(struct nl *n, const struct nl_route *r);
int nl_route_del(struct nl *n, const struct nl_route *r); /* absent = 0 */
/* Routes of the main table with this protocol. */
int nl_route_each(struct nl *n, int family, uint8_t protocol,
	void (*fn)(void *arg, const struct nl_route *r), void *arg);
int nl_neigh_set(struct nl *n, int ifindex, int family, const void *addr,
	const uint8_t mac[6]);						   /* permanent */
int nl_neigh_del(struct nl *n, int ifindex, int family, const void *addr); /* absent = 0 */
/* Limits what leaves by the interface: bytes a second, bytes at once. */
int nl_qdisc_tbf(struct nl *n, int ifindex, uint64_t rate, uint32_t burst);

/* Runs fn in another network namespace on a thread of its own; returns fn's result. */
int netns_call(int netns_fd, int (*fn)(void *arg), void *arg);
/* A new, empty network namespace mounted at path (parents made, lo up); the fd or negative errno.
 */
int netns_new(const char *path);
/* Unmounts and removes what netns_new made; absent = 0. */
int netns_del(const char *path);

#endif

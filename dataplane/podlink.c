/* SPDX-License-Identifier: Apache-2.0
 * Pod links over rtnetlink. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include "podlink.h"
#include "xebec/base/buf.h"
#include "xebec/base/netlink.h"

static const uint8_t gateway[4] = {169, 254, 1, 1};
static const uint8_t gateway6[16] = {0xfe, 0x80, [12] = 169, 254, 1, 1};

void podlink_plan(struct podlink *l, const char *container, struct in_addr addr)
{
	/* FNV-1a: the name must be the same after a restart, so no per-process key. */
	uint32_t h = 2166136261u;
	for (const char *p = container; *p; p++)
		h = (h ^ (uint8_t)*p) * 16777619u;
	*l = (struct podlink){.addr = addr};
	(void)snprintf(l->host_name, sizeof(l->host_name), "lxc%08x", h);
	/* Locally administered, and telling the address to who reads a capture. */
	memcpy(l->pod_mac, (uint8_t[]){0x0a, 0x58}, 2);
	memcpy(l->pod_mac + 2, &addr.s_addr, 4);
	memcpy(l->host_mac, (uint8_t[]){0x0e, 0x58}, 2);
	memcpy(l->host_mac + 2, &addr.s_addr, 4);
}

static bool has_v6(const struct podlink *l)
{
	static const struct in6_addr none;
	return memcmp(&l->addr6, &none, sizeof none) != 0;
}

/* The pod's address, and everything else by the gateway. */
static int pod_family(struct nl *n, int ifindex, int family, const void *addr, const uint8_t *gw,
	const uint8_t *mac)
{
	unsigned len = family == AF_INET6 ? 16 : 4;
	struct nl_route to_gw = {.family = family, .prefix = 8 * len, .oif = ifindex};
	struct nl_route all = {.family = family, .has_gw = true, .oif = ifindex, .onlink = true};
	memcpy(to_gw.dst, gw, len);
	memcpy(all.gw, gw, len);
	int r = nl_addr_add(n, ifindex, family, addr, 8 * len);
	r = r < 0 ? r : nl_link_up(n, ifindex); /* neighbours and routes need it up */
	r = r < 0 ? r : nl_neigh_set(n, ifindex, family, gw, mac);
	r = r < 0 ? r : nl_route_replace(n, &to_gw);
	return r < 0 ? r : nl_route_replace(n, &all);
}

/* Runtimes and distributions differ in what a new namespace allows. */
static int v6_allow(void *arg)
{
	char path[80];
	(void)snprintf(
		path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", (const char *)arg);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, "0", 1) < 0 ? -errno : 0;
}

static int pod_side(const struct podlink *l, int netns, const char *ifname)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link eth, lo;
	char name[IFNAMSIZ];
	int r = nl_open(netns, &n);
	if (r < 0 || (r = nl_link_get(n, ifname, &eth)) < 0)
		return r;
	(void)snprintf(name, sizeof name, "%s", ifname);
	if (nl_link_get(n, "lo", &lo) == 0)
		(void)nl_link_up(n, lo.ifindex);
	r = pod_family(n, eth.ifindex, AF_INET, &l->addr, gateway, l->host_mac);
	if (r < 0 || !has_v6(l))
		return r;
	r = netns_call(netns, v6_allow, name);
	return r < 0 ? r : pod_family(n, eth.ifindex, AF_INET6, &l->addr6, gateway6, l->host_mac);
}

static int host_family(struct nl *n, const struct podlink *l, int family, const void *addr)
{
	unsigned len = family == AF_INET6 ? 16 : 4;
	struct nl_route to = {.family = family, .prefix = 8 * len, .oif = l->host_ifindex};
	memcpy(to.dst, addr, len);
	int r = nl_neigh_set(n, l->host_ifindex, family, addr, l->pod_mac);
	return r < 0 ? r : nl_route_replace(n, &to);
}

static int host_side(struct podlink *l, struct nl *n)
{
	struct nl_link link;
	int r = nl_link_get(n, l->host_name, &link);
	if (r < 0 || (r = nl_link_up(n, link.ifindex)) < 0)
		return r;
	l->host_ifindex = link.ifindex;
	r = host_family(n, l, AF_INET, &l->addr);
	return r < 0 || !has_v6(l) ? r : host_family(n, l, AF_INET6, &l->addr6);
}

int podlink_make(struct podlink *l, const char *netns_path, const char *pod_ifname, unsigned mtu,
	struct err *e)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	AUTO_CLOSE int netns = open(netns_path, O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return err_set(e, errno, NULL, "open pod namespace '%s'", netns_path);
	int r = nl_open(-1, &n);
	if (r < 0)
		return err_set(e, r, NULL, "open rtnetlink");
	struct nl_veth v = {.name = l->host_name,
		.peer_name = pod_ifname,
		.peer_netns_fd = netns,
		.mtu = mtu,
		.mac = l->host_mac,
		.peer_mac = l->pod_mac};
	r = nl_veth_add(n, &v);
	if (r == -EEXIST) { /* left by an ADD that was cut off: its peer may be anywhere, so begin
			       anew */
		(void)podlink_del(l);
		r = nl_veth_add(n, &v);
	}
	if (r < 0)
		return err_set(e, r, NULL, "make veth '%s' with peer '%s' in '%s'", l->host_name,
			pod_ifname, netns_path);
	if ((r = pod_side(l, netns, pod_ifname)) < 0)
		return err_set(
			e, r, NULL, "configure '%s' in pod namespace '%s'", pod_ifname, netns_path);
	if ((r = host_side(l, n)) < 0)
		return err_set(e, r, NULL, "configure '%s' on the node", l->host_name);
	return 0;
}

struct seen {
	const struct podlink *l;
	const char *ifname;
	int ifindex;
	bool addr, route;
};

static int see_address(void *arg)
{
	struct seen *s = arg;
	struct ifaddrs *all = NULL;
	if (getifaddrs(&all) < 0)
		return -errno;
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		const struct sockaddr_in *a = (const void *)i->ifa_addr;
		if (a && a->sin_family == AF_INET && strcmp(i->ifa_name, s->ifname) == 0 &&
			a->sin_addr.s_addr == s->l->addr.s_addr)
			s->addr = (i->ifa_flags & IFF_UP) != 0;
	}
	freeifaddrs(all);
	return 0;
}

static void see_route(void *arg, const struct nl_route *r)
{
	struct seen *s = arg;
	if (r->prefix == 0 && r->oif == s->ifindex && memcmp(r->gw, gateway, 4) == 0)
		s->route = true;
}

int podlink_check(
	const struct podlink *l, const char *netns_path, const char *pod_ifname, struct err *e)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct seen s = {.l = l, .ifname = pod_ifname};
	struct nl_link eth;
	AUTO_CLOSE int netns = open(netns_path, O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return err_set(e, errno, NULL, "open pod namespace '%s'", netns_path);
	int r = nl_open(netns, &n);
	if (r < 0 || (r = nl_link_get(n, pod_ifname, &eth)) < 0)
		return err_set(
			e, r, NULL, "interface '%s' in pod namespace '%s'", pod_ifname, netns_path);
	s.ifindex = eth.ifindex;
	r = netns_call(netns, see_address, &s);
	if (r == 0)
		r = nl_route_each(n, AF_INET, NL_PROTO_XEBEC, see_route, &s);
	if (r < 0)
		return err_set(e, r, NULL, "read the state of '%s'", netns_path);
	if (!s.addr)
		return err_set(e, ESTALE, NULL, "'%s' in '%s' lost its address or is down",
			pod_ifname, netns_path);
	return s.route ? 0
		       : err_set(e, ESTALE, NULL, "'%s' has no default route by '%s'", netns_path,
				 pod_ifname);
}

int podlink_find(struct podlink *l)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link link;
	int r = nl_open(-1, &n);
	if (r < 0 || (r = nl_link_get(n, l->host_name, &link)) < 0)
		return r;
	l->host_ifindex = link.ifindex;
	return 0;
}

int podlink_del(const struct podlink *l)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link link;
	int r = nl_open(-1, &n);
	if (r < 0)
		return r;
	r = nl_link_get(n, l->host_name, &link);
	return r == -ENODEV ? 0 : r < 0 ? r : nl_link_del(n, link.ifindex);
}

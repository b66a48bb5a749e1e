/* SPDX-License-Identifier: Apache-2.0
 * The node's own interfaces and sysctls. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include "hostnet.h"
#include "ip.h"
#include "xebec/base/cleanup.h"
#include "xebec/base/netlink.h"
#include "xebec/base/str.h"

/* The next hop of the service route: it exists only as a permanent neighbour on xebec0. */
static const uint8_t svc_gateway[4] = {169, 254, 1, 2};
static const uint8_t svc_gateway6[16] = {0xfe, 0x80, [12] = 169, 254, 1, 2};

int cidr_parse(const char *cidr, uint8_t net[4], unsigned *bits)
{
	char text[INET_ADDRSTRLEN], end;
	const char *slash = strchr(cidr, '/');
	if (!slash ||
		str_copy(text, sizeof(text), (struct str){cidr, (size_t)(slash - cidr)}) < 0 ||
		inet_pton(AF_INET, text, net) != 1 || sscanf(slash + 1, "%u%c", bits, &end) != 1 ||
		*bits > 32)
		return -EINVAL;
	return 0;
}

static int sysctl_set(const char *name, const char *value, struct err *e)
{
	char path[128];
	(void)snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return err_set(e, errno, NULL, "write '%s' to %s", value, path);
	return 0;
}

static int sysctls(struct err *e)
{
	/* Programs send packets past the stack, so its reverse-path check would see half of each
	 * flow. */
	static const char *const rows[][2] = {
		{"ipv4/ip_forward", "1"},
		{"ipv4/conf/all/rp_filter", "0"},
		{"ipv4/conf/default/rp_filter", "0"},
		{"ipv4/conf/all/send_redirects", "0"},
		{"ipv4/conf/default/send_redirects", "0"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = sysctl_set(rows[i][0], rows[i][1], e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A router does not listen to routers, unless it is told to: the uplink must not lose a default
 * route that was advertised to it. */
static int sysctls6(const char *uplink, struct err *e)
{
	char name[64], now = '0';
	(void)snprintf(name, sizeof name, "/proc/sys/net/ipv6/conf/%s/accept_ra", uplink);
	AUTO_CLOSE int fd = open(name, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && pread(fd, &now, 1, 0) == 1 && now == '1' && pwrite(fd, "2", 1, 0) < 0)
		return err_set(e, errno, NULL, "write '2' to %s", name);
	return sysctl_set("ipv6/conf/all/forwarding", "1", e);
}

/* Whether this is the interface address, of either family. */
static bool is_addr(const struct sockaddr *a, const struct ip *ip)
{
	if (!a || !ip->family)
		return false;
	if (a->sa_family == AF_INET && ip->family == 4)
		return memcmp(&((const struct sockaddr_in *)(const void *)a)->sin_addr, ip->b, 4) ==
		       0;
	return a->sa_family == AF_INET6 && ip->family == 6 &&
	       memcmp(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, ip->b, 16) == 0;
}

static int uplink_find(struct hostnet *h, const char *node_ip, struct err *e)
{
	struct ifaddrs *all = NULL;
	struct ip_pair ips;
	if (ip_pair_parse(node_ip, &ips))
		return err_set(e, EINVAL, NULL,
			"node address '%s' is not an address of one family or of both", node_ip);
	h->has4 = ips.v4.family;
	h->has6 = ips.v6.family;
	memcpy(h->node_ip, ips.v4.b, 4);
	memcpy(h->node_ip6, ips.v6.b, 16);
	if (getifaddrs(&all) < 0)
		return err_set(e, errno, NULL, "list interfaces");
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		bool v4 = is_addr(i->ifa_addr, &ips.v4);
		if (!v4 && (h->has4 || !is_addr(i->ifa_addr, &ips.v6)))
			continue;
		(void)snprintf(h->uplink, sizeof(h->uplink), "%s", i->ifa_name);
		if (v4 && i->ifa_netmask)
			memcpy(h->node_mask,
				&((const struct sockaddr_in *)(const void *)i->ifa_netmask)
					 ->sin_addr,
				4);
	}
	freeifaddrs(all);
	return h->uplink[0] ? 0
			    : err_set(e, EADDRNOTAVAIL, NULL,
				      "no interface has the node address %s", node_ip);
}

static int host_pair(struct nl *n, struct nl_link *host, struct nl_link *peer)
{
	struct nl_veth v = {.name = "xebec0", .peer_name = "xebec1", .peer_netns_fd = -1};
	int r = nl_link_get(n, "xebec0", host);
	if (r == -ENODEV && (r = nl_veth_add(n, &v)) == 0)
		r = nl_link_get(n, "xebec0", host);
	if (r < 0 || (r = nl_link_get(n, "xebec1", peer)) < 0 ||
		(r = nl_link_up(n, host->ifindex)) < 0)
		return r;
	return nl_link_up(n, peer->ifindex);
}

/* One family's services, by a gateway that exists as a permanent neighbour only. */
static int host_route(struct nl *n, const struct hostnet *h, const struct nl_link *host,
	const struct nl_link *peer, const struct cidr *c)
{
	bool v6 = c->net.family == 6;
	const uint8_t *gateway = v6 ? svc_gateway6 : svc_gateway;
	struct nl_route r = {.family = v6 ? AF_INET6 : AF_INET,
		.prefix = c->prefix,
		.oif = host->ifindex,
		.has_gw = true,
		.has_src = true,
		.onlink = true};
	memcpy(r.dst, c->net.b, 16);
	memcpy(r.gw, gateway, v6 ? 16 : 4);
	memcpy(r.src, v6 ? h->node_ip6 : h->node_ip, v6 ? 16 : 4);
	int rc = nl_neigh_set(n, host->ifindex, r.family, gateway, peer->mac);
	return rc < 0 ? rc : nl_route_replace(n, &r);
}

static int host_routes(struct nl *n, const struct hostnet *h, const struct nl_link *host,
	const struct nl_link *peer, const char *service_cidr, struct err *e)
{
	struct cidr_pair c;
	if (cidr_pair_parse(service_cidr, &c))
		return err_set(e, EINVAL, NULL,
			"service range '%s' is not a CIDR of one family or of both", service_cidr);
	int r = h->has4 && c.v4.net.family ? host_route(n, h, host, peer, &c.v4) : 0;
	if (r == 0 && h->has6 && c.v6.net.family)
		r = host_route(n, h, host, peer, &c.v6);
	return r < 0 ? err_set(e, r, NULL, "route the service range %s to xebec0: %s", service_cidr,
			       strerror(-r))
		     : 0;
}

int hostnet_setup(const char *node_ip, const char *service_cidr, struct hostnet *ret, struct err *e)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct hostnet h = {0};
	struct nl_link up, host, peer;
	int r = uplink_find(&h, node_ip, e);
	if (r < 0 || (r = sysctls(e)) < 0 || (h.has6 && (r = sysctls6(h.uplink, e)) < 0))
		return r;
	if ((r = nl_open(-1, &n)) < 0 || (r = nl_link_get(n, h.uplink, &up)) < 0)
		return err_set(e, r, NULL, "look up interface '%s'", h.uplink);
	if ((r = host_pair(n, &host, &peer)) < 0)
		return err_set(e, r, NULL, "make the veth pair xebec0");
	h.uplink_if = up.ifindex;
	h.uplink_mtu = up.mtu;
	h.host_if = host.ifindex;
	memcpy(h.host_mac, host.mac, 6);
	if ((r = host_routes(n, &h, &host, &peer, service_cidr, e)) < 0)
		return r;
	/* Replies to the node's own sockets come back through xebec0 from local addresses. */
	if ((r = sysctl_set("ipv4/conf/xebec0/accept_local", "1", e)) < 0 ||
		(r = sysctl_set("ipv4/conf/xebec0/rp_filter", "0", e)) < 0)
		return r;
	*ret = h;
	return 0;
}

struct route_list {
	struct nl_route v[256];
	size_t n;
};

static void route_note(void *arg, const struct nl_route *r)
{
	struct route_list *l = arg;
	if (l->n < ARRAY_LEN(l->v))
		l->v[l->n++] = *r;
}

static int routes_remove(struct nl *n, int family)
{
	AUTO_FREE struct route_list *l = calloc(1, sizeof *l);
	int r = l ? 0 : -ENOMEM;
	while (r == 0 &&
		(l->n = 0, r = nl_route_each(n, family, NL_PROTO_XEBEC, route_note, l)) == 0 &&
		l->n)
		for (size_t i = 0; i < l->n && r == 0; i++)
			r = nl_route_del(n, &l->v[i]);
	return r;
}

int hostnet_remove(struct err *e)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link host;
	int r = nl_open(-1, &n);
	if (r == 0 && nl_link_get(n, "xebec0", &host) == 0)
		r = nl_link_del(n, host.ifindex);
	r = r ? r : routes_remove(n, AF_INET);
	r = r ? r : routes_remove(n, AF_INET6);
	return r < 0 ? err_set(e, r, NULL, "remove xebec0 and routes") : 0;
}

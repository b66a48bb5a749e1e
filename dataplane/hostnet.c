/* SPDX-License-Identifier: Apache-2.0
 * The node's own interfaces and sysctls. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include "hostnet.h"
#include "xebec/base/cleanup.h"
#include "xebec/base/netlink.h"
#include "xebec/base/str.h"

/* The next hop of the service route: it exists only as a permanent neighbour on xebec0. */
static const uint8_t svc_gateway[4] = {169, 254, 1, 2};

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
	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv4/%s", name);
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
		{"ip_forward", "1"},
		{"conf/all/rp_filter", "0"},
		{"conf/default/rp_filter", "0"},
		{"conf/all/send_redirects", "0"},
		{"conf/default/send_redirects", "0"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = sysctl_set(rows[i][0], rows[i][1], e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int uplink_find(struct hostnet *h, const char *node_ip, struct err *e)
{
	struct ifaddrs *all = NULL;
	if (inet_pton(AF_INET, node_ip, h->node_ip) != 1)
		return err_set(e, EINVAL, NULL, "node address '%s' is not IPv4", node_ip);
	if (getifaddrs(&all) < 0)
		return err_set(e, errno, NULL, "list interfaces");
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
			continue;
		const struct sockaddr_in *sin = (const void *)i->ifa_addr;
		if (memcmp(&sin->sin_addr, h->node_ip, 4) != 0)
			continue;
		(void)snprintf(h->uplink, sizeof(h->uplink), "%s", i->ifa_name);
		if (i->ifa_netmask)
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

static int host_route(struct nl *n, const struct hostnet *h, const struct nl_link *host,
	const struct nl_link *peer, const char *cidr)
{
	struct nl_route r = {.family = AF_INET,
		.oif = host->ifindex,
		.has_gw = true,
		.has_src = true,
		.onlink = true};
	int rc = cidr_parse(cidr, r.dst, &r.prefix);
	if (rc < 0)
		return rc;
	memcpy(r.gw, svc_gateway, 4);
	memcpy(r.src, h->node_ip, 4);
	if ((rc = nl_neigh_set(n, host->ifindex, AF_INET, svc_gateway, peer->mac)) < 0)
		return rc;
	return nl_route_replace(n, &r);
}

int hostnet_setup(const char *node_ip, const char *service_cidr, struct hostnet *ret, struct err *e)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct hostnet h = {0};
	struct nl_link up, host, peer;
	int r = uplink_find(&h, node_ip, e);
	if (r < 0 || (r = sysctls(e)) < 0)
		return r;
	if ((r = nl_open(-1, &n)) < 0 || (r = nl_link_get(n, h.uplink, &up)) < 0)
		return err_set(e, r, NULL, "look up interface '%s'", h.uplink);
	if ((r = host_pair(n, &host, &peer)) < 0)
		return err_set(e, r, NULL, "make the veth pair xebec0");
	h.uplink_if = up.ifindex;
	h.uplink_mtu = up.mtu;
	h.host_if = host.ifindex;
	memcpy(h.host_mac, host.mac, 6);
	if ((r = host_route(n, &h, &host, &peer, service_cidr)) < 0)
		return err_set(e, r, NULL, "route the service range %s to xebec0", service_cidr);
	/* Replies to the node's own sockets come back through xebec0 from local addresses. */
	if ((r = sysctl_set("conf/xebec0/accept_local", "1", e)) < 0 ||
		(r = sysctl_set("conf/xebec0/rp_filter", "0", e)) < 0)
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

int hostnet_remove(struct err *e)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	AUTO_FREE struct route_list *l = calloc(1, sizeof *l);
	struct nl_link host;
	int r = l ? nl_open(-1, &n) : -ENOMEM;
	if (r == 0 && nl_link_get(n, "xebec0", &host) == 0)
		r = nl_link_del(n, host.ifindex);
	while (r == 0 &&
		(l->n = 0, r = nl_route_each(n, AF_INET, NL_PROTO_XEBEC, route_note, l)) == 0 &&
		l->n)
		for (size_t i = 0; i < l->n && r == 0; i++)
			r = nl_route_del(n, &l->v[i]);
	return r < 0 ? err_set(e, r, NULL, "remove xebec0 and routes") : 0;
}

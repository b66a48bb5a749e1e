/* SPDX-License-Identifier: Apache-2.0
 * xebec0: the node's own sockets reach service addresses through it.
 *
 *   socket -> route 10.96.0.0/16 dev xebec0 -> tc_host (egress): translated, redirected to the pod
 *   or the uplink. Replies come back in through xebec0's ingress, where a local source address is
 *   allowed (accept_local), so node ports of the node's own addresses work too. */
#include "host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <string.h>
#include "attach.h"
#include "compile.h"
#include "xebec/base/netlink.h"

int host_uplink(const uint8_t ip[4], int *ret_ifindex, char name[static 16])
{
	struct ifaddrs *all = NULL;
	int r = -ENODEV;
	if (getifaddrs(&all))
		return -errno;
	for (const struct ifaddrs *a = all; a && r; a = a->ifa_next) {
		if (!a->ifa_addr || a->ifa_addr->sa_family != AF_INET)
			continue;
		const struct sockaddr_in *sin = (const void *)a->ifa_addr;
		if (memcmp(&sin->sin_addr, ip, 4) != 0)
			continue;
		*ret_ifindex = (int)if_nametoindex(a->ifa_name);
		(void)snprintf(name, 16, "%s", a->ifa_name);
		r = 0;
	}
	freeifaddrs(all);
	return r;
}

static int sysctl_conf(const char *dev, const char *key, const char *value)
{
	char path[128];
	(void)snprintf(path, sizeof path, "/proc/sys/net/ipv4/conf/%s/%s", dev, key);
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

static int host_sysctls(const char *uplink, struct err *e)
{
	const struct {
		const char *dev, *key, *value;
	} rows[] = {
		{"all", "forwarding", "1"},
		{HOST_LINK, "forwarding", "1"},
		{HOST_LINK, "accept_local", "1"},
		{HOST_LINK, "rp_filter", "0"},
		/* Strict filters would refuse replies whose source we have just made a service
		 * address; the larger of all and the device's own value counts. */
		{"all", "rp_filter", "0"},
		{uplink, "rp_filter", "0"},
		/* Redirected packets must not teach clients other ways. */
		{HOST_LINK, "send_redirects", "0"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = sysctl_conf(rows[i].dev, rows[i].key, rows[i].value);
		if (r)
			return err_set(e, r, "InternalError", "sysctl %s.%s=%s: %s", rows[i].dev,
				rows[i].key, rows[i].value, strerror(-r));
	}
	return 0;
}

/* The pair, up, made once. */
static int link_ensure(struct nl *n, struct nl_link *ret, struct err *e)
{
	struct nl_link peer;
	int r = nl_link_get(n, HOST_LINK, ret);
	if (r == -ENODEV) {
		const struct nl_veth v = {
			.name = HOST_LINK, .peer_name = HOST_LINK "p", .peer_netns_fd = -1};
		r = nl_veth_add(n, &v);
		r = r ? r : nl_link_get(n, HOST_LINK, ret);
	}
	r = r ? r : nl_link_get(n, HOST_LINK "p", &peer);
	r = r ? r : nl_link_up(n, peer.ifindex);
	r = r ? r : nl_link_up(n, ret->ifindex);
	if (r)
		return err_set(e, r, "InternalError", "veth pair " HOST_LINK ": %s", strerror(-r));
	return 0;
}

/* service CIDR dev xebec0 src <node>, by a made-up next hop so that nothing asks ARP. */
static int route_ensure(struct nl *n, const struct nl_link *l, const struct ip *net,
	unsigned prefix, const uint8_t node_ip[4], struct err *e)
{
	static const uint8_t hop[4] = {169, 254, 42, 2}, mac[6] = {2, 0, 0, 0x2a, 0, 2};
	struct nl_route rt = {.family = AF_INET,
		.prefix = prefix,
		.has_gw = true,
		.has_src = true,
		.onlink = true,
		.oif = l->ifindex,
		.protocol = NL_PROTO_XEBEC};
	memcpy(rt.dst, net->b, 4);
	memcpy(rt.gw, hop, 4);
	memcpy(rt.src, node_ip, 4);
	int r = nl_neigh_set(n, l->ifindex, AF_INET, hop, mac);
	r = r ? r : nl_route_replace(n, &rt);
	if (r)
		return err_set(
			e, r, "InternalError", "service route on " HOST_LINK ": %s", strerror(-r));
	return 0;
}

struct host_parts {
	struct ip node, svc, pods;
	unsigned svc_prefix, pod_prefix;
	int uplink;
	char uplink_name[16];
	struct nl_link link;
};

static int parts_parse(const struct host_config *c, struct host_parts *p, struct err *e)
{
	if (ip_parse(str_of(c->node_ip), &p->node) || p->node.family != 4)
		return err_set(
			e, EINVAL, "Invalid", "node address '%s' is no IPv4 address", c->node_ip);
	if (cidr_parse(str_of(c->service_cidr), &p->svc, &p->svc_prefix) || p->svc.family != 4)
		return err_set(e, EINVAL, "Invalid", "service CIDR '%s'", c->service_cidr);
	if (cidr_parse(str_of(c->cluster_cidr), &p->pods, &p->pod_prefix) || p->pods.family != 4)
		return err_set(e, EINVAL, "Invalid", "cluster CIDR '%s'", c->cluster_cidr);
	int r = host_uplink(p->node.b, &p->uplink, p->uplink_name);
	if (r)
		return err_set(
			e, r, "InternalError", "no interface has the node address %s", c->node_ip);
	return 0;
}

static uint32_t mask4(unsigned prefix)
{
	return prefix ? htonl(~0u << (32 - prefix)) : 0;
}

static void cfg_from(const struct host_parts *p, struct xb_cfg *cfg)
{
	memcpy(&cfg->node_ip4, p->node.b, 4);
	memcpy(&cfg->svc_net4, p->svc.b, 4);
	memcpy(&cfg->pod_net4, p->pods.b, 4);
	cfg->svc_mask4 = mask4(p->svc_prefix);
	cfg->pod_mask4 = mask4(p->pod_prefix);
	cfg->host_if = (uint32_t)p->link.ifindex;
	memcpy(cfg->host_mac, p->link.mac, sizeof cfg->host_mac);
}

/* Receivers of translated packets before those that translate. */
static int hooks_attach(struct maps *m, const struct host_parts *p, struct err *e)
{
	const struct {
		int ifindex;
		const char *name;
		enum xb_hook hook;
	} rows[] = {
		{p->uplink, p->uplink_name, HOOK_NIC_OUT},
		{p->uplink, p->uplink_name, HOOK_NIC_IN},
		{p->link.ifindex, HOST_LINK, HOOK_HOST},
		{1, "lo", HOOK_HOST},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = attach_hook(m, rows[i].ifindex, rows[i].name, rows[i].hook, e);
		if (r)
			return r;
	}
	return 0;
}

int host_open(const struct host_config *c, struct maps **ret, struct err *e)
{
	struct host_parts p = {0};
	struct maps_config mc = {.pin_dir = c->pin_dir};
	AUTO(cleanup_nl) struct nl *n = NULL;
	AUTO_MAPS struct maps *m = NULL;
	int r = parts_parse(c, &p, e);
	if (r)
		return r;
	r = nl_open(-1, &n);
	if (r)
		return err_set(e, r, "InternalError", "netlink: %s", strerror(-r));
	r = link_ensure(n, &p.link, e);
	r = r ? r : host_sysctls(p.uplink_name, e);
	if (r)
		return r;
	cfg_from(&p, &mc.cfg);
	memcpy(mc.max, c->max, sizeof mc.max);
	r = maps_open(&mc, &m, e);
	if (r)
		return r;
	r = attach_update_all(m, e);
	r = r < 0 ? r : hooks_attach(m, &p, e);
	/* The route comes last: from now on the node's own packets to services come by. */
	r = r ? r : route_ensure(n, &p.link, &p.svc, p.svc_prefix, p.node.b, e);
	if (r)
		return r;
	*ret = STEAL(m);
	return 0;
}

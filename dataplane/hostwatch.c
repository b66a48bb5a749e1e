/* SPDX-License-Identifier: Apache-2.0
 * rtnetlink events -> addresses in lip4, programs on interfaces. */
#include "hostwatch.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <ifaddrs.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include "attach.h"
#include "xebec/base/log.h"
#include "xebec/base/loop.h"

#define MAX_ADDRESSES 256 /* entries of lip4 */

struct hostwatch {
	struct hostwatch_config c;
	struct mnl_socket *nl;
	struct loop_fd fd;
	struct ip ips[MAX_ADDRESSES];
	size_t n;
	bool dirty; /* addresses changed in this batch of events */
};

/* ------------------------------------------------------------------ addresses */

static bool ip_of(const struct sockaddr *sa, struct ip *ret)
{
	*ret = (struct ip){0};
	if (sa && sa->sa_family == AF_INET) {
		ret->family = 4;
		memcpy(ret->b, &((const struct sockaddr_in *)(const void *)sa)->sin_addr, 4);
		return ret->b[0] != 127;
	}
	if (sa && sa->sa_family == AF_INET6) {
		const struct in6_addr *a =
			&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
		ret->family = 6;
		memcpy(ret->b, a, 16);
		return !IN6_IS_ADDR_LOOPBACK(a) && !IN6_IS_ADDR_LINKLOCAL(a);
	}
	return false;
}

static bool ip_same(const struct ip *a, const struct ip *b)
{
	return a->family == b->family && memcmp(a->b, b->b, 16) == 0;
}

static bool ip_in(const struct ip *set, size_t n, const struct ip *ip)
{
	for (size_t i = 0; i < n; i++)
		if (ip_same(&set[i], ip))
			return true;
	return false;
}

static size_t addresses_read(struct ip *out)
{
	struct ifaddrs *all = NULL;
	size_t n = 0;
	if (getifaddrs(&all) < 0)
		return 0;
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		struct ip ip;
		if (n < MAX_ADDRESSES && ip_of(i->ifa_addr, &ip) && !ip_in(out, n, &ip))
			out[n++] = ip;
	}
	freeifaddrs(all);
	return n;
}

/* Also what an earlier process left there. */
static void stale_addresses_remove(struct hostwatch *h, enum map_id table, uint8_t family)
{
	int fd = maps_fd(h->c.maps, table);
	struct ip stale[MAX_ADDRESSES], ip = {.family = family};
	void *prev = NULL;
	size_t n = 0;
	for (; n < MAX_ADDRESSES && bpf_map_get_next_key(fd, prev, ip.b) == 0; prev = ip.b)
		if (!ip_in(h->ips, h->n, &ip))
			stale[n++] = ip;
	while (n)
		(void)lip_del(h->c.maps, &stale[--n]);
}

static void addresses_sync(struct hostwatch *h, bool first)
{
	struct ip now[MAX_ADDRESSES];
	size_t n = addresses_read(now);
	bool same = n == h->n;
	for (size_t i = 0; i < n && same; i++)
		same = ip_in(h->ips, h->n, &now[i]);
	if (same && !first)
		return;
	memcpy(h->ips, now, n * sizeof *now);
	h->n = n;
	for (size_t i = 0; i < n; i++)
		if (lip_set(h->c.maps, &now[i]))
			log_warn("the table of the node's own addresses is full");
	stale_addresses_remove(h, MAP_lip4, 4);
	stale_addresses_remove(h, MAP_lip6, 6);
	if (h->c.on_addresses)
		h->c.on_addresses(h->c.arg, h->ips, h->n);
}

bool nodeport_rule_valid(const char *rule)
{
	struct str rest = str_of(rule);
	while (rest.n) {
		struct str one = str_cut(&rest, ',');
		struct ip net;
		unsigned prefix;
		if (!str_eqz(one, "primary") && ip_cidr_parse(one, &net, &prefix))
			return false;
	}
	return true;
}

bool nodeport_address(const char *rule, const char *node_ip, const struct ip *ip)
{
	struct str rest = str_of(rule);
	if (!rest.n)
		return true;
	while (rest.n) {
		struct str one = str_cut(&rest, ',');
		struct ip net, host = *ip;
		unsigned prefix;
		if (str_eqz(one, "primary")) {
			struct ip_pair own;
			if (ip_pair_parse(node_ip, &own) == 0 &&
				(ip_same(&own.v4, ip) || ip_same(&own.v6, ip)))
				return true;
			continue;
		}
		if (ip_cidr_parse(one, &net, &prefix) || net.family != ip->family)
			continue;
		for (unsigned i = prefix; i < 128; i++)
			host.b[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
		if (ip_same(&host, &net))
			return true;
	}
	return false;
}

/* ------------------------------------------------------------------ interfaces */

struct iface {
	int index;
	unsigned flags;
	char name[IFNAMSIZ], kind[16];
};

static int info_attr(const struct nlattr *a, void *arg)
{
	struct iface *f = arg;
	if (mnl_attr_get_type(a) == IFLA_INFO_KIND)
		(void)snprintf(f->kind, sizeof f->kind, "%s", mnl_attr_get_str(a));
	return MNL_CB_OK;
}

static int iface_attr(const struct nlattr *a, void *arg)
{
	struct iface *f = arg;
	if (mnl_attr_get_type(a) == IFLA_IFNAME)
		(void)snprintf(f->name, sizeof f->name, "%s", mnl_attr_get_str(a));
	else if (mnl_attr_get_type(a) == IFLA_LINKINFO)
		return mnl_attr_parse_nested(a, info_attr, f);
	return MNL_CB_OK;
}

/* Pods hang on veths; bridges show their packets a second time; the rest leads elsewhere (further
 * NICs, vxlan of the cluster's own plugin). */
static void iface_attach(struct hostwatch *h, const struct iface *f)
{
	struct err e = {0};
	int r;
	if (f->index == h->c.uplink_if || strncmp(f->name, "xebec", 5) == 0 ||
		strcmp(f->kind, "bridge") == 0 || strcmp(f->kind, "dummy") == 0)
		return;
	if (strcmp(f->kind, "veth") == 0) {
		r = attach_pod(h->c.maps, f->index, f->name, &e);
	} else {
		r = attach_hook(h->c.maps, f->index, f->name, HOOK_NIC_OUT, &e);
		r = r ? r : attach_hook(h->c.maps, f->index, f->name, HOOK_NIC_IN, &e);
	}
	if (r && r != -ENODEV)
		log_warn("interface %s: %s", f->name, e.msg);
}

static void iface_release(struct hostwatch *h, const struct iface *f)
{
	for (int hook = 0; hook < HOOK_HOST; hook++)
		attach_release(h->c.maps, f->name, (enum xb_hook)hook);
}

static int on_message(const struct nlmsghdr *m, void *arg)
{
	struct hostwatch *h = arg;
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(m);
	struct iface f = {0};
	if (m->nlmsg_type == RTM_NEWADDR || m->nlmsg_type == RTM_DELADDR)
		h->dirty = true;
	if (!h->c.foreign || (m->nlmsg_type != RTM_NEWLINK && m->nlmsg_type != RTM_DELLINK) ||
		i->ifi_type != ARPHRD_ETHER || i->ifi_family != AF_UNSPEC)
		return MNL_CB_OK;
	f.index = i->ifi_index;
	f.flags = i->ifi_flags;
	if (mnl_attr_parse(m, sizeof *i, iface_attr, &f) < 0)
		return MNL_CB_OK;
	if (m->nlmsg_type == RTM_NEWLINK)
		iface_attach(h, &f);
	else
		iface_release(h, &f);
	return MNL_CB_OK;
}

/* All interfaces, by a dump on the event socket: what happens meanwhile follows it. */
static int ifaces_ask(struct hostwatch *h)
{
	char b[256];
	struct nlmsghdr *m = mnl_nlmsg_put_header(b);
	m->nlmsg_type = RTM_GETLINK;
	m->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	struct ifinfomsg *i = mnl_nlmsg_put_extra_header(m, sizeof *i);
	i->ifi_family = AF_UNSPEC;
	return mnl_socket_sendto(h->nl, m, m->nlmsg_len) < 0 ? -errno : 0;
}

static void on_readable(struct loop_fd *f, uint32_t events)
{
	struct hostwatch *h = f->arg;
	char b[32768];
	(void)events;
	for (;;) {
		ssize_t n = recv(f->fd, b, sizeof b, MSG_DONTWAIT);
		if (n < 0 && errno == ENOBUFS) { /* events were lost: look at everything */
			h->dirty = true;
			(void)ifaces_ask(h);
			continue;
		}
		if (n <= 0)
			break;
		(void)mnl_cb_run(b, (size_t)n, 0, 0, on_message, h);
	}
	if (h->dirty) {
		h->dirty = false;
		addresses_sync(h, false);
	}
}

/* ------------------------------------------------------------------ life */

int hostwatch_start(const struct hostwatch_config *c, struct hostwatch **ret, struct err *e)
{
	struct hostwatch *h = calloc(1, sizeof *h);
	if (!h)
		return err_set(e, ENOMEM, NULL, "out of memory");
	h->c = *c;
	h->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int r = h->nl ? 0 : -errno;
	if (r == 0 && mnl_socket_bind(h->nl, RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR,
			      MNL_SOCKET_AUTOPID) < 0)
		r = -errno;
	if (r == 0) {
		h->fd = (struct loop_fd){
			.fd = mnl_socket_get_fd(h->nl), .fn = on_readable, .arg = h};
		r = loop_fd_add(c->loop, &h->fd, EPOLLIN);
	}
	if (r == 0 && c->foreign)
		r = ifaces_ask(h);
	if (r < 0) {
		hostwatch_free(h);
		return err_set(e, r, NULL, "watch the node's addresses: %s", strerror(-r));
	}
	addresses_sync(h, true);
	*ret = h;
	return 0;
}

void hostwatch_free(struct hostwatch *h)
{
	if (!h)
		return;
	loop_fd_del(&h->fd);
	if (h->nl)
		(void)mnl_socket_close(h->nl);
	free(h);
}

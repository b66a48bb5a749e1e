/* SPDX-License-Identifier: Apache-2.0
 * rtnetlink requests over libmnl. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <endian.h>
#include <linux/if_link.h>
#include <linux/lwtunnel.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include "xebec/base/cleanup.h"
#include "xebec/base/netlink.h"

enum { NL_BUF = 16384 };

struct nl {
	struct mnl_socket *sock;
	unsigned seq;
	_Alignas(struct nlmsghdr) char buf[NL_BUF];
};

static int nl_socket(void *arg)
{
	struct mnl_socket **ret = arg;
	*ret = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!*ret)
		return -errno;
	return mnl_socket_bind(*ret, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
}

int nl_open(int netns_fd, struct nl **ret)
{
	struct mnl_socket *sock = NULL;
	/* A netlink socket keeps speaking to the namespace in which it was made. */
	int r = netns_fd < 0 ? nl_socket(&sock) : netns_call(netns_fd, nl_socket, &sock);
	struct nl *n = r < 0 ? NULL : calloc(1, sizeof(*n));
	if (!n) {
		if (sock)
			(void)mnl_socket_close(sock);
		return r < 0 ? r : -ENOMEM;
	}
	n->sock = sock;
	n->seq = (unsigned)time(NULL);
	*ret = n;
	return 0;
}

void nl_close(struct nl *n)
{
	if (!n)
		return;
	(void)mnl_socket_close(n->sock);
	free(n);
}

static struct nlmsghdr *nl_msg(
	struct nl *n, uint16_t type, int flags, const void *body, size_t body_len)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(n->buf);
	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	h->nlmsg_seq = ++n->seq;
	memcpy(mnl_nlmsg_put_extra_header(h, body_len), body, body_len);
	return h;
}

static int nl_talk(struct nl *n, struct nlmsghdr *h, mnl_cb_t cb, void *arg)
{
	unsigned port = mnl_socket_get_portid(n->sock), seq = n->seq;
	_Alignas(struct nlmsghdr) char in[NL_BUF];
	if (mnl_socket_sendto(n->sock, h, h->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t len = mnl_socket_recvfrom(n->sock, in, sizeof(in));
		if (len < 0)
			return -errno;
		int r = mnl_cb_run(in, (size_t)len, seq, port, cb, arg);
		if (r < 0)
			return -errno;
		if (r == MNL_CB_STOP)
			return 0;
	}
}

/* A request that is answered by one acknowledgement. */
static int nl_ack(struct nl *n, struct nlmsghdr *h)
{
	h->nlmsg_flags |= NLM_F_ACK;
	return nl_talk(n, h, NULL, NULL);
}

static int link_attr(const struct nlattr *a, void *arg)
{
	struct nl_link *l = arg;
	switch (mnl_attr_get_type(a)) {
	case IFLA_IFNAME:
		strncpy(l->name, mnl_attr_get_str(a), sizeof(l->name) - 1);
		break;
	case IFLA_ADDRESS:
		if (mnl_attr_get_payload_len(a) == sizeof(l->mac))
			memcpy(l->mac, mnl_attr_get_payload(a), sizeof(l->mac));
		break;
	case IFLA_MTU:
		l->mtu = mnl_attr_get_u32(a);
		break;
	case IFLA_MASTER:
		l->master = (int)mnl_attr_get_u32(a);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

struct link_walk {
	void (*fn)(void *arg, const struct nl_link *l);
	void *arg;
};

static int link_msg(const struct nlmsghdr *h, void *arg)
{
	const struct link_walk *w = arg;
	const struct ifinfomsg *m = mnl_nlmsg_get_payload(h);
	struct nl_link l = {.ifindex = m->ifi_index, .flags = m->ifi_flags};
	if (mnl_attr_parse(h, sizeof(*m), link_attr, &l) >= 0)
		w->fn(w->arg, &l);
	return MNL_CB_OK;
}

static void link_copy(void *arg, const struct nl_link *l)
{
	*(struct nl_link *)arg = *l;
}

int nl_link_get(struct nl *n, const char *name, struct nl_link *ret)
{
	struct nl_link found = {0};
	struct link_walk w = {.fn = link_copy, .arg = &found};
	struct ifinfomsg m = {0};
	struct nlmsghdr *h = nl_msg(n, RTM_GETLINK, NLM_F_ACK, &m, sizeof(m));
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	int r = nl_talk(n, h, link_msg, &w);
	if (r < 0)
		return r;
	if (!found.ifindex)
		return -ENODEV;
	*ret = found;
	return 0;
}

int nl_link_each(struct nl *n, void (*fn)(void *arg, const struct nl_link *l), void *arg)
{
	struct link_walk w = {.fn = fn, .arg = arg};
	struct rtgenmsg g = {.rtgen_family = AF_PACKET};
	return nl_talk(n, nl_msg(n, RTM_GETLINK, NLM_F_DUMP, &g, sizeof(g)), link_msg, &w);
}

int nl_link_del(struct nl *n, int ifindex)
{
	struct ifinfomsg m = {.ifi_index = ifindex};
	return nl_ack(n, nl_msg(n, RTM_DELLINK, 0, &m, sizeof(m)));
}

int nl_link_up(struct nl *n, int ifindex)
{
	struct ifinfomsg m = {.ifi_index = ifindex, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	return nl_ack(n, nl_msg(n, RTM_NEWLINK, 0, &m, sizeof(m)));
}

int nl_link_master(struct nl *n, int ifindex, int master)
{
	struct ifinfomsg m = {.ifi_index = ifindex};
	struct nlmsghdr *h = nl_msg(n, RTM_NEWLINK, 0, &m, sizeof(m));
	mnl_attr_put_u32(h, IFLA_MASTER, (uint32_t)master);
	return nl_ack(n, h);
}

int nl_bridge_add(struct nl *n, const char *name)
{
	struct ifinfomsg m = {0};
	struct nlmsghdr *h = nl_msg(n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "bridge");
	mnl_attr_nest_end(h, info);
	return nl_ack(n, h);
}

static void put_link_basics(struct nlmsghdr *h, const char *name, unsigned mtu, const uint8_t *mac)
{
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	if (mtu)
		mnl_attr_put_u32(h, IFLA_MTU, mtu);
	if (mac)
		mnl_attr_put(h, IFLA_ADDRESS, 6, mac);
}

int nl_veth_add(struct nl *n, const struct nl_veth *v)
{
	struct ifinfomsg m = {0};
	struct nlmsghdr *h = nl_msg(n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	put_link_basics(h, v->name, v->mtu, v->mac);
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
	struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	struct nlattr *peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
	memcpy(mnl_nlmsg_put_extra_header(h, sizeof(m)), &m, sizeof(m));
	put_link_basics(h, v->peer_name, v->mtu, v->peer_mac);
	if (v->peer_netns_fd >= 0)
		mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)v->peer_netns_fd);
	mnl_attr_nest_end(h, peer);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	return nl_ack(n, h);
}

int nl_vxlan_add(struct nl *n, const struct nl_vxlan *v)
{
	struct ifinfomsg m = {0};
	struct nlmsghdr *h = nl_msg(n, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	put_link_basics(h, v->name, v->mtu, v->mac);
	struct nlattr *info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "vxlan");
	struct nlattr *data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	mnl_attr_put_u8(h, IFLA_VXLAN_COLLECT_METADATA, 1);
	mnl_attr_put_u8(h, IFLA_VXLAN_LEARNING, 0);
	mnl_attr_put_u16(h, IFLA_VXLAN_PORT, htobe16(v->port));
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	return nl_ack(n, h);
}

static size_t addr_len(int family)
{
	return family == AF_INET6 ? 16 : 4;
}

int nl_addr_add(struct nl *n, int ifindex, int family, const void *addr, unsigned prefix)
{
	struct ifaddrmsg m = {.ifa_family = (uint8_t)family,
		.ifa_prefixlen = (uint8_t)prefix,
		.ifa_index = (uint32_t)ifindex};
	if (family == AF_INET6)
		m.ifa_flags = IFA_F_NODAD;
	struct nlmsghdr *h = nl_msg(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	mnl_attr_put(h, IFA_LOCAL, addr_len(family), addr);
	mnl_attr_put(h, IFA_ADDRESS, addr_len(family), addr);
	int r = nl_ack(n, h);
	return r == -EEXIST ? 0 : r;
}

static struct nlmsghdr *route_msg(struct nl *n, uint16_t type, int flags, const struct nl_route *r)
{
	struct rtmsg m = {.rtm_family = (uint8_t)r->family,
		.rtm_dst_len = (uint8_t)r->prefix,
		.rtm_table = RT_TABLE_MAIN,
		.rtm_protocol = r->protocol ? r->protocol : NL_PROTO_XEBEC,
		.rtm_scope = r->has_gw ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
		.rtm_type = RTN_UNICAST,
		.rtm_flags = r->onlink ? RTNH_F_ONLINK : 0};
	size_t len = addr_len(r->family);
	struct nlmsghdr *h = nl_msg(n, type, flags, &m, sizeof(m));
	if (r->prefix)
		mnl_attr_put(h, RTA_DST, len, r->dst);
	if (r->has_gw)
		mnl_attr_put(h, RTA_GATEWAY, len, r->gw);
	if (r->has_src)
		mnl_attr_put(h, RTA_PREFSRC, len, r->src);
	if (r->oif)
		mnl_attr_put_u32(h, RTA_OIF, (uint32_t)r->oif);
	if (r->tunnel) {
		mnl_attr_put_u16(h, RTA_ENCAP_TYPE, LWTUNNEL_ENCAP_IP);
		struct nlattr *encap = mnl_attr_nest_start(h, RTA_ENCAP);
		mnl_attr_put_u64(h, LWTUNNEL_IP_ID, htobe64(r->tunnel));
		mnl_attr_put(h, LWTUNNEL_IP_DST, 4, r->tunnel_dst);
		mnl_attr_put(h, LWTUNNEL_IP_SRC, 4, r->tunnel_src);
		mnl_attr_nest_end(h, encap);
	}
	return h;
}

int nl_route_replace(struct nl *n, const struct nl_route *r)
{
	return nl_ack(n, route_msg(n, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r));
}

int nl_route_del(struct nl *n, const struct nl_route *r)
{
	int rc = nl_ack(n, route_msg(n, RTM_DELROUTE, 0, r));
	return rc == -ESRCH ? 0 : rc;
}

struct route_walk {
	void (*fn)(void *arg, const struct nl_route *r);
	void *arg;
	uint8_t protocol;
};

static int route_attr(const struct nlattr *a, void *arg)
{
	struct nl_route *r = arg;
	size_t len = addr_len(r->family);
	switch (mnl_attr_get_type(a)) {
	case RTA_DST:
		memcpy(r->dst, mnl_attr_get_payload(a), len);
		break;
	case RTA_GATEWAY:
		r->has_gw = true;
		memcpy(r->gw, mnl_attr_get_payload(a), len);
		break;
	case RTA_PREFSRC:
		r->has_src = true;
		memcpy(r->src, mnl_attr_get_payload(a), len);
		break;
	case RTA_OIF:
		r->oif = (int)mnl_attr_get_u32(a);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int route_row(const struct nlmsghdr *h, void *arg)
{
	const struct route_walk *w = arg;
	const struct rtmsg *m = mnl_nlmsg_get_payload(h);
	struct nl_route r = {
		.family = m->rtm_family, .prefix = m->rtm_dst_len, .protocol = m->rtm_protocol};
	if (m->rtm_protocol != w->protocol || m->rtm_table != RT_TABLE_MAIN)
		return MNL_CB_OK;
	if (mnl_attr_parse(h, sizeof(*m), route_attr, &r) >= 0)
		w->fn(w->arg, &r);
	return MNL_CB_OK;
}

int nl_route_each(struct nl *n, int family, uint8_t protocol,
	void (*fn)(void *arg, const struct nl_route *r), void *arg)
{
	struct route_walk w = {.fn = fn, .arg = arg, .protocol = protocol};
	struct rtmsg m = {.rtm_family = (uint8_t)family};
	return nl_talk(n, nl_msg(n, RTM_GETROUTE, NLM_F_DUMP, &m, sizeof(m)), route_row, &w);
}

int nl_neigh_set(struct nl *n, int ifindex, int family, const void *addr, const uint8_t mac[6])
{
	struct ndmsg m = {
		.ndm_family = (uint8_t)family, .ndm_ifindex = ifindex, .ndm_state = NUD_PERMANENT};
	struct nlmsghdr *h = nl_msg(n, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &m, sizeof(m));
	mnl_attr_put(h, NDA_DST, addr_len(family), addr);
	mnl_attr_put(h, NDA_LLADDR, 6, mac);
	return nl_ack(n, h);
}

int nl_neigh_del(struct nl *n, int ifindex, int family, const void *addr)
{
	struct ndmsg m = {.ndm_family = (uint8_t)family, .ndm_ifindex = ifindex};
	struct nlmsghdr *h = nl_msg(n, RTM_DELNEIGH, 0, &m, sizeof(m));
	mnl_attr_put(h, NDA_DST, addr_len(family), addr);
	int r = nl_ack(n, h);
	return r == -ENOENT ? 0 : r;
}

static struct nlmsghdr *qdisc_msg(struct nl *n, uint16_t type, int flags, int ifindex)
{
	struct tcmsg m = {.tcm_ifindex = ifindex, .tcm_parent = TC_H_ROOT, .tcm_handle = 1 << 16};
	return nl_msg(n, type, flags, &m, sizeof(m));
}

int nl_qdisc_tbf(struct nl *n, int ifindex, uint64_t rate, uint32_t burst)
{
	enum { LATENCY_MS = 50 };
	uint64_t limit = rate / 1000 * LATENCY_MS + burst;
	struct tc_tbf_qopt q = {.limit = limit > UINT32_MAX ? UINT32_MAX : (uint32_t)limit,
		.rate = {.linklayer = TC_LINKLAYER_ETHERNET,
			.rate = rate > UINT32_MAX ? UINT32_MAX : (uint32_t)rate}};
	struct nlmsghdr *h = qdisc_msg(n, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, ifindex);
	mnl_attr_put_strz(h, TCA_KIND, "tbf");
	struct nlattr *o = mnl_attr_nest_start(h, TCA_OPTIONS);
	mnl_attr_put(h, TCA_TBF_PARMS, sizeof(q), &q);
	mnl_attr_put_u32(h, TCA_TBF_BURST, burst);
	if (rate > UINT32_MAX)
		mnl_attr_put_u64(h, TCA_TBF_RATE64, rate);
	mnl_attr_nest_end(h, o);
	return nl_ack(n, h);
}

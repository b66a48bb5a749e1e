/* SPDX-License-Identifier: Apache-2.0
 * Routes and map rows of the other nodes. */
#include "peers.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include "xebec/base/netlink.h"
#include "xebec/base/str.h"

#define VXLAN_OVERHEAD 50 /* outer IPv4, UDP, VXLAN, inner Ethernet header */
#define VXLAN_ID       1  /* VNI_PLAIN of bpf/lib/vxlan.h */

int routing_parse(const char *name, enum routing *ret)
{
	static const char *const names[] = {"auto", "direct", "vxlan"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(name ? name : "auto", names[i]) == 0) {
			*ret = (enum routing)i;
			return 0;
		}
	return -EINVAL;
}

void vxlan_mac(const uint8_t node_ip[4], uint8_t mac[6])
{
	memcpy(mac, (uint8_t[]){0x0e, 0x59}, 2);
	memcpy(mac + 2, node_ip, 4);
}

/* ------------------------------------------------------------------ the device */

static int device_open(struct nl *n, const struct hostnet *net, struct nl_link *ret)
{
	uint8_t mac[6];
	unsigned mtu = net->uplink_mtu - VXLAN_OVERHEAD;
	vxlan_mac(net->node_ip, mac);
	int r = nl_link_get(n, VXLAN_IF, ret);
	if (r == 0 && ret->mtu == mtu && memcmp(ret->mac, mac, 6) == 0)
		return nl_link_up(n, ret->ifindex);
	if (r == 0 && (r = nl_link_del(n, ret->ifindex)) < 0)
		return r;
	const struct nl_vxlan v = {.name = VXLAN_IF, .port = VXLAN_PORT, .mtu = mtu, .mac = mac};
	if ((r = nl_vxlan_add(n, &v)) < 0 || (r = nl_link_get(n, VXLAN_IF, ret)) < 0)
		return r;
	return nl_link_up(n, ret->ifindex);
}

int vxlan_setup(struct hostnet *net, enum routing how, struct err *e)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link l;
	if (how == ROUTING_NONE)
		return 0;
	if (!net->has4) /* what VXLAN is sent in is IPv4 */
		return how == ROUTING_VXLAN ? err_set(e, EINVAL, NULL,
						      "routing vxlan needs an IPv4 node address")
					    : 0;
	int r = nl_open(-1, &n);
	if (r == 0)
		r = device_open(n, net, &l);
	if (r < 0 && how == ROUTING_VXLAN)
		return err_set(
			e, r, NULL, "make the VXLAN device '%s': %s", VXLAN_IF, strerror(-r));
	net->vx_if = r < 0 ? 0 : l.ifindex;
	net->vx_mtu = r < 0 ? 0 : l.mtu;
	return 0;
}

/* ------------------------------------------------------------------ one peer */

bool peer_behind_vxlan(const struct peers *p, const uint8_t ip[4])
{
	const struct hostnet *net = p->net;
	if (!net->vx_if || p->how == ROUTING_DIRECT || p->how == ROUTING_NONE)
		return false;
	for (int i = 0; i < 4; i++)
		if ((ip[i] ^ net->node_ip[i]) & net->node_mask[i])
			return true;
	return p->how == ROUTING_VXLAN;
}

static struct nl_route route_of(const struct peers *p, const struct peer *peer, bool vxlan)
{
	struct nl_route r = {.family = AF_INET,
		.prefix = peer->prefix,
		.has_gw = true,
		.oif = p->net->uplink_if};
	memcpy(r.dst, peer->pods, 4);
	memcpy(r.gw, peer->ip, 4);
	if (!vxlan)
		return r;
	r.oif = p->net->vx_if;
	r.onlink = r.has_src = true;
	r.tunnel = VXLAN_ID;
	memcpy(r.src, p->net->node_ip, 4);
	memcpy(r.tunnel_src, p->net->node_ip, 4);
	memcpy(r.tunnel_dst, peer->ip, 4);
	return r;
}

static int route_set(struct peers *p, const struct peer *peer, bool vxlan)
{
	uint8_t mac[6];
	struct nl_route r = route_of(p, peer, vxlan);
	vxlan_mac(peer->ip, mac);
	int rc = vxlan ? nl_neigh_set(p->nl, p->net->vx_if, AF_INET, peer->ip, mac) : 0;
	return rc < 0 ? rc : nl_route_replace(p->nl, &r);
}

static struct xb_node_key node_key(const uint8_t ip[4])
{
	struct xb_node_key k = {0};
	memcpy(k.addr, ip, 4);
	return k;
}

/* How many nodes are behind VXLAN: the programs look at it before anything else. */
static void vx_peers_add(struct peers *p, const struct xb_node *old, bool vxlan)
{
	struct xb_meta *meta = maps_mem(p->maps, MAP_meta);
	bool was = old && (old->flags & NET_VXLAN);
	if (was != vxlan)
		__atomic_fetch_add(&meta->vx_peers, vxlan ? 1u : -1u, __ATOMIC_RELAXED);
}

static int net_put(struct peers *p, const struct peer *peer, const uint8_t addr[4], unsigned prefix,
	unsigned flags)
{
	struct xb4_net_key k = {.prefixlen = prefix};
	struct xb_net v = {.flags = (uint16_t)flags};
	memcpy(k.addr, addr, 4);
	memcpy(v.node, peer->ip, 4);
	vxlan_mac(peer->ip, v.mac);
	return bpf_map_update_elem(maps_fd(p->maps, MAP_ipc4), &k, &v, BPF_ANY) ? -errno : 0;
}

/* Only the peer's own row: its range may have been given to another node meanwhile. */
static void net_drop(
	struct peers *p, const struct peer *peer, const uint8_t addr[4], unsigned prefix)
{
	int fd = maps_fd(p->maps, MAP_ipc4);
	struct xb4_net_key k = {.prefixlen = prefix};
	struct xb_net v;
	memcpy(k.addr, addr, 4);
	if (bpf_map_lookup_elem(fd, &k, &v) == 0 && memcmp(v.node, peer->ip, 4) == 0)
		(void)bpf_map_delete_elem(fd, &k);
}

static int rows_set(struct peers *p, const struct peer *peer, bool vxlan)
{
	int fd = maps_fd(p->maps, MAP_node);
	unsigned how = vxlan ? NET_VXLAN : 0;
	struct xb_node_key k = node_key(peer->ip);
	struct xb_node v = {.flags = (uint16_t)how}, old;
	bool had = bpf_map_lookup_elem(fd, &k, &old) == 0;
	vxlan_mac(peer->ip, v.mac);
	int r = net_put(p, peer, peer->ip, 32, NET_NODE | how);
	if (r == 0)
		r = net_put(p, peer, peer->pods, peer->prefix, NET_PODS | how);
	if (r == 0 && bpf_map_update_elem(fd, &k, &v, BPF_ANY))
		r = -errno;
	if (r == 0)
		vx_peers_add(p, had ? &old : NULL, vxlan);
	return r;
}

static void rows_drop(struct peers *p, const struct peer *peer)
{
	int fd = maps_fd(p->maps, MAP_node);
	struct xb_node_key k = node_key(peer->ip);
	struct xb_node old;
	if (bpf_map_lookup_elem(fd, &k, &old) == 0 && bpf_map_delete_elem(fd, &k) == 0)
		vx_peers_add(p, &old, false);
	net_drop(p, peer, peer->ip, 32);
	net_drop(p, peer, peer->pods, peer->prefix);
}

int peer_set(struct peers *p, const struct peer *peer)
{
	bool vxlan = peer_behind_vxlan(p, peer->ip);
	int r = p->maps ? rows_set(p, peer, vxlan) : 0;
	return r < 0 ? r : route_set(p, peer, vxlan);
}

int peer_del(struct peers *p, const struct peer *peer)
{
	bool vxlan = peer_behind_vxlan(p, peer->ip);
	struct nl_route r = route_of(p, peer, vxlan);
	if (p->maps)
		rows_drop(p, peer);
	if (vxlan)
		(void)nl_neigh_del(p->nl, p->net->vx_if, AF_INET, peer->ip);
	return nl_route_del(p->nl, &r);
}

unsigned peers_pod_mtu(const struct peers *p)
{
	const struct xb_meta *meta = p->maps ? maps_mem(p->maps, MAP_meta) : NULL;
	bool vxlan = p->how == ROUTING_VXLAN ||
		     (meta && __atomic_load_n(&meta->vx_peers, __ATOMIC_RELAXED));
	return vxlan && p->net->vx_mtu ? p->net->vx_mtu : p->net->uplink_mtu;
}

/* ------------------------------------------------------------------ what an earlier run left */

#define SWEEP_MAX 256 /* more vanished nodes than that: the next start gets the rest */

struct sweep {
	struct peers *p;
	bool (*wanted)(void *arg, const struct peer *have);
	void *arg;
	struct nl_route routes[SWEEP_MAX];
	size_t n_routes;
};

static void route_seen(void *arg, const struct nl_route *have)
{
	struct sweep *s = arg;
	struct peer peer = {.prefix = have->prefix};
	const struct hostnet *net = s->p->net;
	if (!have->has_gw || (have->oif != net->uplink_if && have->oif != net->vx_if))
		return;
	memcpy(peer.ip, have->gw, 4);
	memcpy(peer.pods, have->dst, 4);
	if (!s->wanted(s->arg, &peer) && s->n_routes < SWEEP_MAX)
		s->routes[s->n_routes++] = *have;
}

/* Rows of `node` and of `ipc4` whose node is gone. Counts what is left behind VXLAN anew. */
static void rows_sweep(struct sweep *s)
{
	int fd = maps_fd(s->p->maps, MAP_ipc4);
	struct xb4_net_key stale[SWEEP_MAX], key, *prev = NULL;
	uint32_t n = 0, vxlan = 0;
	for (; bpf_map_get_next_key(fd, prev, &key) == 0; prev = &key) {
		struct xb_net v;
		struct peer peer = {.prefix = key.prefixlen};
		if (bpf_map_lookup_elem(fd, &key, &v) || !(v.flags & (NET_PODS | NET_NODE)))
			continue;
		memcpy(peer.ip, v.node, 4);
		memcpy(peer.pods, key.addr, 4);
		if (v.flags & NET_NODE) /* the row of the node itself: any range will do */
			peer.prefix = 0;
		if (s->wanted(s->arg, &peer))
			vxlan += (v.flags & (NET_NODE | NET_VXLAN)) == (NET_NODE | NET_VXLAN);
		else if (n < SWEEP_MAX)
			stale[n++] = key;
	}
	while (n--) {
		struct xb_node_key k = node_key(stale[n].addr);
		(void)bpf_map_delete_elem(fd, &stale[n]);
		if (stale[n].prefixlen == 32)
			(void)bpf_map_delete_elem(maps_fd(s->p->maps, MAP_node), &k);
	}
	struct xb_meta *meta = maps_mem(s->p->maps, MAP_meta);
	__atomic_store_n(&meta->vx_peers, vxlan, __ATOMIC_RELAXED);
}

int peers_sweep(struct peers *p, bool (*wanted)(void *arg, const struct peer *have), void *arg)
{
	struct sweep s = {.p = p, .wanted = wanted, .arg = arg};
	int r = nl_route_each(p->nl, AF_INET, NL_PROTO_XEBEC, route_seen, &s);
	for (size_t i = 0; r == 0 && i < s.n_routes; i++)
		(void)nl_route_del(p->nl, &s.routes[i]);
	if (p->maps)
		rows_sweep(&s);
	return r;
}

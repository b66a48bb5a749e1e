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

static struct nl_route route_of(
	const struct peers *p, const struct peer *peer, bool vxlan, bool six)
{
	struct nl_route r = {.family = six ? AF_INET6 : AF_INET,
		.prefix = six ? peer->prefix6 : peer->prefix,
		.has_gw = true,
		.oif = p->net->uplink_if};
	unsigned n = six ? 16 : 4;
	memcpy(r.dst, six ? peer->pods6 : peer->pods, n);
	memcpy(r.gw, six ? peer->ip6 : peer->ip, n);
	if (!vxlan)
		return r;
	r.oif = p->net->vx_if;
	r.onlink = r.has_src = true;
	r.tunnel = VXLAN_ID;
	memcpy(r.src, six ? p->net->node_ip6 : p->net->node_ip, n);
	memcpy(r.tunnel_src, p->net->node_ip, 4);
	memcpy(r.tunnel_dst, peer->ip, 4);
	return r;
}

static int route_set(struct peers *p, const struct peer *peer, bool vxlan, bool six)
{
	uint8_t mac[6];
	struct nl_route r = route_of(p, peer, vxlan, six);
	vxlan_mac(peer->ip, mac);
	int rc = vxlan ? nl_neigh_set(p->nl, p->net->vx_if, r.family, r.gw, mac) : 0;
	return rc < 0 ? rc : nl_route_replace(p->nl, &r);
}

static void route_drop(struct peers *p, const struct peer *peer, bool vxlan, bool six)
{
	struct nl_route r = route_of(p, peer, vxlan, six);
	if (vxlan)
		(void)nl_neigh_del(p->nl, p->net->vx_if, r.family, r.gw);
	(void)nl_route_del(p->nl, &r);
}

/* IPv6 between two nodes needs an address of both. */
static bool by_six(const struct peers *p, const struct peer *peer)
{
	return p->net->has6 && peer->prefix6;
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

/* A network of the peer: the row's key in ipc4 or ipc6, and which of the two. */
struct net {
	union {
		struct xb4_net_key v4;
		struct xb6_net_key v6;
	} key;
	enum map_id map;
};

static struct net net_of(const uint8_t *addr, unsigned prefix, bool six)
{
	struct net n = {.map = six ? MAP_ipc6 : MAP_ipc4};
	if (six) {
		n.key.v6.prefixlen = prefix;
		memcpy(n.key.v6.addr, addr, 16);
	} else {
		n.key.v4.prefixlen = prefix;
		memcpy(n.key.v4.addr, addr, 4);
	}
	return n;
}

static int net_put(struct peers *p, const struct peer *peer, struct net n, unsigned flags)
{
	struct xb_net v = {.flags = (uint16_t)flags};
	memcpy(v.node, peer->ip, 4);
	vxlan_mac(peer->ip, v.mac);
	return bpf_map_update_elem(maps_fd(p->maps, n.map), &n.key, &v, BPF_ANY) ? -errno : 0;
}

/* Only the peer's own row: its range may have been given to another node meanwhile. */
static void net_drop(struct peers *p, const struct peer *peer, struct net n)
{
	int fd = maps_fd(p->maps, n.map);
	struct xb_net v;
	if (bpf_map_lookup_elem(fd, &n.key, &v) == 0 && memcmp(v.node, peer->ip, 4) == 0)
		(void)bpf_map_delete_elem(fd, &n.key);
}

/* A row for the node itself and one for its pods, of each family it has. */
static size_t nets_of(
	const struct peers *p, const struct peer *peer, struct net out[4], unsigned flags[4])
{
	size_t n = 0;
	if (peer->prefix) {
		flags[n] = NET_NODE;
		out[n++] = net_of(peer->ip, 32, false);
		flags[n] = NET_PODS;
		out[n++] = net_of(peer->pods, peer->prefix, false);
	}
	if (by_six(p, peer)) {
		flags[n] = NET_NODE;
		out[n++] = net_of(peer->ip6, 128, true);
		flags[n] = NET_PODS;
		out[n++] = net_of(peer->pods6, peer->prefix6, true);
	}
	return n;
}

static int rows_set(struct peers *p, const struct peer *peer, bool vxlan)
{
	int fd = maps_fd(p->maps, MAP_node);
	unsigned how = vxlan ? NET_VXLAN : 0;
	struct xb_node_key k = node_key(peer->ip);
	struct xb_node v = {.flags = (uint16_t)how}, old;
	bool had = bpf_map_lookup_elem(fd, &k, &old) == 0;
	vxlan_mac(peer->ip, v.mac);
	struct net nets[4];
	unsigned flags[4];
	size_t n = nets_of(p, peer, nets, flags);
	int r = 0;
	for (size_t i = 0; i < n && r == 0; i++)
		r = net_put(p, peer, nets[i], flags[i] | how);
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
	struct net nets[4];
	unsigned flags[4];
	for (size_t n = nets_of(p, peer, nets, flags); n;)
		net_drop(p, peer, nets[--n]);
}

int peer_set(struct peers *p, const struct peer *peer)
{
	bool vxlan = peer_behind_vxlan(p, peer->ip);
	int r = p->maps ? rows_set(p, peer, vxlan) : 0;
	if (r == 0 && peer->prefix)
		r = route_set(p, peer, vxlan, false);
	if (r == 0 && by_six(p, peer))
		r = route_set(p, peer, vxlan, true);
	return r;
}

int peer_del(struct peers *p, const struct peer *peer)
{
	bool vxlan = peer_behind_vxlan(p, peer->ip);
	if (p->maps)
		rows_drop(p, peer);
	if (peer->prefix)
		route_drop(p, peer, vxlan, false);
	if (by_six(p, peer))
		route_drop(p, peer, vxlan, true);
	return 0;
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
	struct peer peer = {0};
	const struct hostnet *net = s->p->net;
	if (!have->has_gw || (have->oif != net->uplink_if && have->oif != net->vx_if))
		return;
	if (have->family == AF_INET6) {
		peer.prefix6 = have->prefix;
		memcpy(peer.ip6, have->gw, 16);
		memcpy(peer.pods6, have->dst, 16);
	} else {
		peer.prefix = have->prefix;
		memcpy(peer.ip, have->gw, 4);
		memcpy(peer.pods, have->dst, 4);
	}
	if (!s->wanted(s->arg, &peer) && s->n_routes < SWEEP_MAX)
		s->routes[s->n_routes++] = *have;
}

static int routes_sweep(struct sweep *s, int family)
{
	s->n_routes = 0;
	int r = nl_route_each(s->p->nl, family, NL_PROTO_XEBEC, route_seen, s);
	for (size_t i = 0; r == 0 && i < s->n_routes; i++)
		(void)nl_route_del(s->p->nl, &s->routes[i]);
	return r;
}

/* What a row says of its node. */
static struct peer row_peer(const struct net *n, const struct xb_net *v)
{
	struct peer peer = {0};
	memcpy(peer.ip, v->node, 4);
	if (v->flags & NET_NODE) /* the row of the node itself: any range will do */
		return peer;
	if (n->map == MAP_ipc6) {
		peer.prefix6 = n->key.v6.prefixlen;
		memcpy(peer.pods6, n->key.v6.addr, 16);
	} else {
		peer.prefix = n->key.v4.prefixlen;
		memcpy(peer.pods, n->key.v4.addr, 4);
	}
	return peer;
}

/* Rows of `node` and of `ipc4` or `ipc6` whose node is gone. Returns how many nodes are left behind
 * VXLAN. */
static uint32_t rows_sweep(struct sweep *s, enum map_id map)
{
	int fd = maps_fd(s->p->maps, map);
	struct net stale[SWEEP_MAX], row = {.map = map};
	uint32_t n = 0, vxlan = 0;
	for (void *prev = NULL; bpf_map_get_next_key(fd, prev, &row.key) == 0; prev = &row.key) {
		struct xb_net v;
		if (bpf_map_lookup_elem(fd, &row.key, &v) || !(v.flags & (NET_PODS | NET_NODE)))
			continue;
		struct peer peer = row_peer(&row, &v);
		if (s->wanted(s->arg, &peer))
			vxlan += (v.flags & (NET_NODE | NET_VXLAN)) == (NET_NODE | NET_VXLAN);
		else if (n < SWEEP_MAX)
			stale[n++] = row;
	}
	while (n--) {
		(void)bpf_map_delete_elem(fd, &stale[n].key);
		if (map == MAP_ipc6 || stale[n].key.v4.prefixlen != 32)
			continue;
		struct xb_node_key k = node_key(stale[n].key.v4.addr);
		(void)bpf_map_delete_elem(maps_fd(s->p->maps, MAP_node), &k);
	}
	return vxlan;
}

int peers_sweep(struct peers *p, bool (*wanted)(void *arg, const struct peer *have), void *arg)
{
	struct sweep s = {.p = p, .wanted = wanted, .arg = arg};
	int r = routes_sweep(&s, AF_INET);
	if (r == 0 && p->net->has6)
		r = routes_sweep(&s, AF_INET6);
	if (!p->maps)
		return r;
	struct xb_meta *meta = maps_mem(p->maps, MAP_meta);
	__atomic_store_n(&meta->vx_peers, rows_sweep(&s, MAP_ipc4), __ATOMIC_RELAXED);
	(void)rows_sweep(&s, MAP_ipc6);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0
 * The node of the packet tests. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "xebec/base/buf.h"
#include "xebec/base/netlink.h"

struct node node;

static void must(int r, const char *what)
{
	if (r < 0) {
		fprintf(stderr, "Bail out! %s: %s\n", what, strerror(-r));
		exit(1);
	}
}

static int sysctl_set(const char *path, const char *v)
{
	AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : write(fd, v, strlen(v)) < 0 ? -errno : 0;
}

static int veth(struct nl *n, const char *name, const char *peer)
{
	struct nl_link l;
	must(nl_veth_add(
		     n, &(struct nl_veth){.name = name, .peer_name = peer, .peer_netns_fd = -1}),
		"veth");
	must(nl_link_get(n, peer, &l), "peer");
	must(nl_link_up(n, l.ifindex), "up");
	must(nl_link_get(n, name, &l), "link");
	must(nl_link_up(n, l.ifindex), "up");
	return l.ifindex;
}

static void network(void)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	must(nl_open(-1, &n), "netlink");
	node.uplink = veth(n, "up0", "up0p");
	node.lxa = veth(n, "lxa", "lxap");
	node.lxb = veth(n, "lxb", "lxbp");
	node.host = veth(n, "xebec0", "xebec0p");
	node.vx = veth(n, "xebec_vx0", "vx0p"); /* stands in for VXLAN */
	uint8_t ip[16];
	const int af = FAMILY == 6 ? AF_INET6 : AF_INET, more = 8 * (ADDR_N - 4);
	must(sysctl_set("/proc/sys/net/ipv4/ip_forward", "1"), "ip_forward");
	must(sysctl_set("/proc/sys/net/ipv6/conf/all/forwarding", "1"), "forwarding");
	must(sysctl_set("/proc/sys/net/ipv6/conf/up0/accept_dad", "0"), "accept_dad");
	addr_put(ip, NODE);
	must(nl_addr_add(n, node.uplink, af, ip, (unsigned)(24 + more)), "addr");
	struct nl_route r = {
		.family = af, .prefix = (uint8_t)(24 + more), .has_gw = true, .oif = node.uplink};
	addr_put(r.dst, "10.244.2.0");
	addr_put(r.gw, "172.31.0.3");
	must(nl_route_replace(n, &r), "route");
}

static void pod(const char *addr, int ifindex, uint8_t tag)
{
	struct ep_info ep = {.ifindex = (uint32_t)ifindex,
		.mac = {2, 0xaa, 0, 0, 0, tag},
		.host_mac = {2, 0xbb, 0, 0, 0, tag}};
	ep.ip = ip_meant(addr);
	must(ep_set(node.m, &ep), "ep");
}

/* A dual-stack node, whichever of its families is under test. */
static void both_families(struct xb_cfg *c)
{
	inet_pton(AF_INET, NODE, &c->node_ip4);
	inet_pton(AF_INET, "10.96.0.0", &c->svc_net4);
	inet_pton(AF_INET, "255.255.0.0", &c->svc_mask4);
	inet_pton(AF_INET, "10.244.0.0", &c->pod_net4);
	inet_pton(AF_INET, "255.255.0.0", &c->pod_mask4);
	inet_pton(AF_INET6, "fd00::" NODE, c->node_ip6);
	inet_pton(AF_INET6, "fd00::10.96.0.0", c->svc_net6);
	inet_pton(AF_INET6, "fd00::10.244.0.0", c->pod_net6);
	memset(c->svc_mask6, 0xff, 14);
	memset(c->pod_mask6, 0xff, 14);
	inet_pton(AF_INET6, "fd00::169.254.42.1", c->hairpin_ip6);
	c->opts = OPT_V6 | OPT_MASQ;
}

int node_setup(void **state)
{
	(void)state;
	struct err e = {0};
	struct maps_config c = {.pin_dir = node.dir};
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) || mount("", "/", "", MS_REC | MS_PRIVATE, NULL))
		must(-errno, "unshare");
	(void)snprintf(node.dir, sizeof node.dir, "/tmp/xebec-test-bpf-%d", getpid());
	must(mkdir(node.dir, 0700) ? -errno : 0, "mkdir");
	must(mount("bpffs", node.dir, "bpf", 0, NULL) ? -errno : 0, "bpffs");
	network();
	both_families(&c.cfg);
	c.cfg.host_if = (uint32_t)node.host;
	memcpy(c.cfg.host_mac, "\2\xcc\0\0\0\1", 6);
	c.cfg.vx_if = (uint32_t)node.vx;
	c.cfg.vx_mtu = 1450;
	c.cfg.vx_port = 4789;
	memcpy(c.cfg.vx_mac, "\2\xdd\0\0\0\1", 6);
	if (maps_open(&c, &node.m, &e)) {
		fprintf(stderr, "Bail out! %s\n", e.msg);
		exit(1);
	}
	pod(POD_A, node.lxa, 1);
	pod(POD_B, node.lxb, 2);
	return 0;
}

int node_teardown(void **state)
{
	(void)state;
	maps_free(node.m);
	(void)umount2(node.dir, MNT_DETACH);
	(void)rmdir(node.dir);
	return 0;
}

static void map_clear(enum map_id id)
{
	char key[64];
	while (bpf_map_get_next_key(maps_fd(node.m, id), NULL, key) == 0)
		if (bpf_map_delete_elem(maps_fd(node.m, id), key))
			break;
}

int node_reset(void **state)
{
	(void)state;
	map_clear(FAM_MAP(ct));
	map_clear(FAM_MAP(ctn));
	map_clear(FAM_MAP(frag));
	map_clear(MAP_aff);
	svc_drop_all();
	return 0;
}

int run_train(enum xb_hook hook, int ifindex, struct packet *k, uint32_t segment)
{
	struct __sk_buff ctx = {.ifindex = (uint32_t)ifindex,
		.ingress_ifindex = (uint32_t)node.forwarded_from,
		.gso_size = segment,
		.gso_segs = segment ? ((uint32_t)k->len + segment - 1) / segment : 0};
	struct packet out = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = k->b, .data_size_in = (uint32_t)k->len,
		.data_out = out.b, .data_size_out = sizeof out.b, .ctx_in = &ctx,
		.ctx_size_in = sizeof ctx, .repeat = 1);
	int r = bpf_prog_test_run_opts(maps_prog_fd(node.m, hook), &o);
	if (r) {
		fprintf(stderr, "Bail out! test_run: %s\n", strerror(-r));
		exit(1);
	}
	out.len = o.data_size_out;
	*k = out;
	return (int)o.retval;
}

int run_on(enum xb_hook hook, int ifindex, struct packet *k)
{
	return run_train(hook, ifindex, k, 0);
}

#define MAX_BE 64 /* rows and lut entries a service may use here */

void fe_put(uint32_t idx, const char *ip, uint16_t port, uint8_t proto, enum xb_fe_kind kind)
{
	struct FAM_STRUCT(fe_key) key = {.port = port, .proto = proto};
	struct xb_svc *row = (struct xb_svc *)maps_mem(node.m, MAP_svc_tab) + idx;
	struct xb_fe fe = {.svc = idx, .gen = row->gen, .kind = (uint16_t)kind};
	if (ip)
		addr_put(key.addr, ip);
	must(bpf_map_update_elem(maps_fd(node.m, FAM_MAP(svc)), &key, &fe, BPF_ANY), "fe");
}

void svc_put(uint32_t idx, const char *ip, uint16_t port, uint8_t proto, enum xb_fe_kind kind,
	uint16_t flags, const struct backend *b, size_t n)
{
	struct xb_svc *row = (struct xb_svc *)maps_mem(node.m, MAP_svc_tab) + idx;
	struct xb_be *be = (struct xb_be *)maps_mem(node.m, MAP_be_tab) + idx * MAX_BE;
	struct xb_lut *lut = (struct xb_lut *)maps_mem(node.m, MAP_lut) + idx * 2 * MAX_BE;
	uint16_t local = 0;
	row->gen++;
	row->flags = flags;
	row->aff_secs = 10800;
	for (size_t i = 0; i < n; i++) {
		uint32_t id = idx * MAX_BE + (uint32_t)i;
		be[i] = (struct xb_be){.port = b[i].port,
			.gen = row->gen,
			.svc = idx,
			.flags = (uint16_t)(BE_READY | (b[i].local ? BE_LOCAL : 0) |
					    (FAMILY == 6 ? BE_V6 : 0))};
		addr_put(be[i].addr, b[i].ip);
		lut[i] = (struct xb_lut){.be = id, .gen = row->gen};
		if (b[i].local)
			lut[MAX_BE + local++] = lut[i];
	}
	row->sel_cluster.word = xb_sel(idx * 2 * MAX_BE, (uint16_t)n, row->gen);
	row->sel_local.word = xb_sel(idx * 2 * MAX_BE + MAX_BE, local, row->gen);
	fe_put(idx, ip, port, proto, kind);
}

void svc_drop_all(void)
{
	map_clear(FAM_MAP(svc));
}

uint64_t stat_pkts(uint32_t i)
{
	struct xb_stat v[256] = {0};
	uint64_t sum = 0;
	must(bpf_map_lookup_elem(maps_fd(node.m, MAP_stat), &i, v), "stat");
	for (size_t c = 0; c < ARRAY_LEN(v); c++)
		sum += v[c].pkts;
	return sum;
}

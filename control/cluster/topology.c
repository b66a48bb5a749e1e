/* SPDX-License-Identifier: Apache-2.0
 * A bridge namespace, one namespace a node, veth pairs between them. Nothing of it touches the
 * machine's own interfaces: the machine reaches the cluster through the API's listening socket
 * only. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include "cluster/cluster.h"
#include "xebec/base/netlink.h"

enum { BPF_FS = 0xcafe4a11 };

static int ns_path(const struct cluster *c, const char *what, char *out, size_t cap)
{
	return (size_t)snprintf(out, cap, "%s/netns/%s", c->run, what) < cap ? 0 : -ENAMETOOLONG;
}

static int bridge_make(const struct cluster *c, int net_fd, int *ret_ifindex)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link br;
	struct in_addr a;
	struct in6_addr six;
	int r = nl_open(net_fd, &n);
	if (r < 0 || (r = nl_bridge_add(n, "br0")) < 0 || (r = nl_link_get(n, "br0", &br)) < 0)
		return r;
	(void)inet_pton(AF_INET, CLUSTER_BRIDGE_IP, &a);
	(void)inet_pton(AF_INET6, CLUSTER_NET6 "1", &six);
	if ((r = nl_addr_add(n, br.ifindex, AF_INET, &a, 24)) < 0 ||
		(c->dual_stack && (r = nl_addr_add(n, br.ifindex, AF_INET6, &six, 64)) < 0))
		return r;
	*ret_ifindex = br.ifindex;
	return nl_link_up(n, br.ifindex);
}

static int node_uplink(int node_fd, const char *ip)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link eth;
	struct nl_route dflt = {.family = AF_INET, .has_gw = true};
	struct in_addr a;
	int r = nl_open(node_fd, &n);
	if (r < 0 || (r = nl_link_get(n, "eth0", &eth)) < 0)
		return r;
	(void)inet_pton(AF_INET, ip, &a);
	(void)inet_pton(AF_INET, CLUSTER_BRIDGE_IP, dflt.gw);
	dflt.oif = eth.ifindex;
	dflt.protocol = 3; /* RTPROT_BOOT: not one of the agent's */
	if ((r = nl_addr_add(n, eth.ifindex, AF_INET, &a, 24)) < 0 ||
		(r = nl_link_up(n, eth.ifindex)) < 0)
		return r;
	return nl_route_replace(n, &dflt);
}

static int node_uplink6(int node_fd, unsigned i)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link eth;
	struct nl_route dflt = {.family = AF_INET6, .has_gw = true, .protocol = 3};
	char ip[46];
	struct in6_addr a;
	int r = nl_open(node_fd, &n);
	if (r < 0 || (r = nl_link_get(n, "eth0", &eth)) < 0)
		return r;
	cluster_node_ip6(i, ip);
	(void)inet_pton(AF_INET6, ip, &a);
	(void)inet_pton(AF_INET6, CLUSTER_NET6 "1", dflt.gw);
	dflt.oif = eth.ifindex;
	r = nl_addr_add(n, eth.ifindex, AF_INET6, &a, 64);
	return r < 0 ? r : nl_route_replace(n, &dflt);
}

static int node_connect(const struct cluster *c, int net_fd, int bridge, int node_fd, unsigned i)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	char port[IFNAMSIZ], ip[16];
	struct nl_link link;
	(void)snprintf(port, sizeof(port), "node%u", i);
	cluster_node_ip(i, ip);
	int r = nl_open(net_fd, &n);
	struct nl_veth v = {.name = port, .peer_name = "eth0", .peer_netns_fd = node_fd};
	if (r < 0 || (r = nl_veth_add(n, &v)) < 0 || (r = nl_link_get(n, port, &link)) < 0 ||
		(r = nl_link_master(n, link.ifindex, bridge)) < 0 ||
		(r = nl_link_up(n, link.ifindex)) < 0)
		return r;
	r = node_uplink(node_fd, ip);
	return r < 0 || !c->dual_stack ? r : node_uplink6(node_fd, i);
}

/* A mount namespace whose mounts neither leak to the machine nor outlive the cluster's processes;
 * shared inside, so that mount propagation works for pods. */
static int mount_ns_make(struct err *e)
{
	int ready[2], hold[2];
	char c = 0, path[64];
	if (pipe2(ready, O_CLOEXEC) < 0)
		return err_set(e, errno, NULL, "pipe");
	if (pipe2(hold, O_CLOEXEC) < 0) {
		(void)close(ready[0]), (void)close(ready[1]);
		return err_set(e, errno, NULL, "pipe");
	}
	pid_t pid = fork();
	if (pid == 0) {
		bool ok = unshare(CLONE_NEWNS) == 0 &&
			  mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
			  mount("none", "/", NULL, MS_REC | MS_SHARED, NULL) == 0;
		c = ok ? 1 : 0;
		(void)!write(ready[1], &c, 1);
		(void)close(hold[1]);
		(void)!read(hold[0], &c, 1); /* until the parent has opened our namespace */
		_exit(0);
	}
	(void)close(ready[1]);
	(void)close(hold[0]);
	int fd = -1;
	if (pid > 0 && read(ready[0], &c, 1) == 1 && c == 1) {
		(void)snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	int r = fd >= 0 ? fd
			: err_set(e, EPERM, NULL, "make a mount namespace: is this run as root?");
	(void)close(hold[1]);
	(void)close(ready[0]);
	if (pid > 0)
		(void)waitpid(pid, NULL, 0);
	return r;
}

/* bpffs must be mounted before the private mount namespace is made, so that bpftool on the machine
 * sees the pins. */
static int bpffs_mount(struct err *e)
{
	struct statfs s;
	if (statfs("/sys/fs/bpf", &s) == 0 && (unsigned)s.f_type == BPF_FS)
		return 0;
	if (mount("bpf", "/sys/fs/bpf", "bpf", 0, "mode=0700") < 0)
		return err_set(e, errno, NULL, "mount bpffs on /sys/fs/bpf");
	/* The last teardown takes the mount away again. */
	(void)file_write_atomic(CLUSTER_BPFFS_MARK, STR(""), 0600);
	return 0;
}

static int nodes_make(const struct cluster *c, struct topology *t, int bridge, struct err *e)
{
	for (unsigned i = 1; i <= c->nodes; i++) {
		char node[64], path[320];
		cluster_node_name(c, i, node);
		int r = ns_path(c, node, path, sizeof(path));
		if (r == 0)
			r = t->node_fd[i] = netns_new(path);
		if (r >= 0)
			r = node_connect(c, t->net_fd, bridge, t->node_fd[i], i);
		if (r < 0)
			return err_set(e, r, NULL, "make the network namespace of %s", node);
	}
	return 0;
}

/* The bridge's namespace routes between its networks, of which none leads out: what a node sends
 * elsewhere is answered at once ("network unreachable") instead of vanishing. */
static int forward_allow(void *arg)
{
	static const char *const paths[] = {
		"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"};
	(void)arg;
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		AUTO_CLOSE int fd = open(paths[i], O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "1", 1) < 0)
			return i == 0 ? -errno : 0; /* a kernel may lack IPv6 */
	}
	return 0;
}

int topology_make(const struct cluster *c, struct topology *t, struct err *e)
{
	char path[320];
	int bridge = 0, r = bpffs_mount(e);
	*t = (struct topology){.net_fd = -1, .mnt_fd = -1};
	for (unsigned i = 0; i <= CLUSTER_MAX_NODES; i++)
		t->node_fd[i] = -1;
	if (r < 0)
		return r;
	if ((r = ns_path(c, "net", path, sizeof(path))) < 0 ||
		(r = t->net_fd = netns_new(path)) < 0 ||
		(r = bridge_make(c, t->net_fd, &bridge)) < 0 ||
		(r = netns_call(t->net_fd, forward_allow, NULL)) < 0)
		return err_set(e, r, NULL, "make the bridge namespace '%s'", path);
	r = nodes_make(c, t, bridge, e);
	if (r == 0)
		r = t->mnt_fd = mount_ns_make(e);
	return r < 0 ? r : 0;
}

int topology_route_pods(
	const struct topology *t, const char *node_ip, const char *node_ip6, const char *cidr)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link br;
	bool six = strchr(cidr, ':') != NULL;
	struct nl_route route = {
		.family = six ? AF_INET6 : AF_INET, .has_gw = true, .protocol = NL_PROTO_XEBEC};
	char net[46];
	if (sscanf(cidr, "%45[0-9a-f.:]/%u", net, &route.prefix) != 2 ||
		route.prefix > (six ? 128 : 32) || inet_pton(route.family, net, route.dst) != 1 ||
		inet_pton(route.family, six ? node_ip6 : node_ip, route.gw) != 1)
		return -EINVAL;
	int r = nl_open(t->net_fd, &n);
	if (r < 0 || (r = nl_link_get(n, "br0", &br)) < 0)
		return r;
	route.oif = br.ifindex;
	return nl_route_replace(n, &route);
}

void topology_close(struct topology *t)
{
	cleanup_close(&t->net_fd);
	cleanup_close(&t->mnt_fd);
	for (unsigned i = 1; i <= CLUSTER_MAX_NODES; i++)
		cleanup_close(&t->node_fd[i]);
}

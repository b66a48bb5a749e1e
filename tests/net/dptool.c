/* SPDX-License-Identifier: Apache-2.0
 * The dataplane by hand, for network tests without an API server. Every call is a restart of the
 * agent: maps are adopted, programs loaded anew and swapped.
 *   dptool up PIN NODE_IP SVC_CIDR CLUSTER_CIDR
 *   dptool pod PIN NODE_IP SVC_CIDR CLUSTER_CIDR CONTAINER NETNS IP
 *   dptool peer PIN NODE_IP SVC_CIDR CLUSTER_CIDR PEER_IP PEER_POD_CIDR
 *   dptool receive IFNAME
 *   dptool set PIN NODE_IP SVC_CIDR CLUSTER_CIDR NODE FILE   FILE:
 * [{"ns","name","service","slices"}]
 * With XEBEC_CGROUP=DIR in the environment, the socket programs are attached there.
 * XEBEC_MASQ in the environment: pods go outside under the node's address. XEBEC_NO_MASQ: not to
 * these networks.
 * XEBEC_ROUTING in the environment: auto, direct or vxlan. XEBEC_XDP: auto, native, generic.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include "attach.h"
#include "host.h"
#include "podlink.h"
#include "programmer.h"
#include "sock.h"
#include "xebec/base/netlink.h"
#include "xebec/base/timefmt.h"

static int fail(const struct err *e)
{
	fprintf(stderr, "dptool: %s\n", e->msg);
	return 1;
}

static int do_pod(struct maps *m, char **a)
{
	struct err e = {0};
	struct podlink l;
	struct ip_pair ip;
	struct in_addr v4;
	if (ip_pair_parse(a[2], &ip))
		return 2;
	memcpy(&v4, ip.v4.b, 4);
	podlink_plan(&l, a[0], v4);
	memcpy(&l.addr6, ip.v6.b, 16);
	if (podlink_make(&l, a[1], "eth0", 0, &e) || attach_podlink(m, &l, &e))
		return fail(&e);
	return 0;
}

static int set_one(struct programmer *p, const char *node, struct jv v)
{
	AUTO_ARENA struct arena mem = {0};
	struct err e = {0};
	struct slice_spec *slices[64];
	char ns[64], name[64];
	size_t n = 0;
	struct want_svc *rows = NULL;
	const struct where me = {.node = str_of(node), .zone = STR("")};
	struct svc_spec *svc = svc_spec_new(jv_get(v, "service"));
	(void)jv_copy(jv_get(v, "ns"), ns, sizeof ns);
	(void)jv_copy(jv_get(v, "name"), name, sizeof name);
	jv_each (it, jv_get(v, "slices"))
		if (n < ARRAY_LEN(slices))
			slices[n++] = slice_spec_new(it.v);
	int count = compile_service(
		ns, name, svc, (const struct slice_spec *const *)slices, n, &me, &mem, &rows);
	for (int i = 0; i < count; i++)
		if (programmer_set(p, &rows[i], 1, time_mono(), &e))
			return fail(&e);
	svc_spec_free(svc);
	while (n)
		slice_spec_free(slices[--n]);
	return 0;
}

static void on_gone(void *arg)
{
	if (sock_kill_stale(arg))
		fprintf(stderr, "dptool: sock_kill_stale\n");
}

static int do_set(struct maps *m, struct sock *s, char **a)
{
	struct err e = {0};
	struct programmer *p = NULL;
	AUTO_BUF struct buf text = {0};
	if (programmer_new(m, NULL, &p, &e))
		return fail(&e);
	if (s)
		programmer_on_gone(p, on_gone, s);
	if (file_read(a[1], 64 << 20, &text))
		return 1;
	jv_each (it, jv_of(buf_str(&text)))
		if (set_one(p, a[0], it.v))
			return 1;
	programmer_synced(p);
	programmer_settle(p);
	programmer_free(p);
	return 0;
}

static void cleanup_sock(struct sock **s)
{
	sock_free(*s);
}

static int do_peer(struct maps *m, const struct hostnet *net, enum routing how, char **a)
{
	struct peers p = {.maps = m, .net = net, .how = how};
	struct peer peer = {0};
	int r = nl_open(-1, &p.nl);
	struct ip_pair ip;
	struct cidr_pair pods;
	if (r < 0 || ip_pair_parse(a[0], &ip) || cidr_pair_parse(a[1], &pods))
		return 1;
	memcpy(peer.ip, ip.v4.b, 4);
	memcpy(peer.ip6, ip.v6.b, 16);
	memcpy(peer.pods, pods.v4.net.b, 4);
	memcpy(peer.pods6, pods.v6.net.b, 16);
	peer.prefix = pods.v4.prefix;
	peer.prefix6 = pods.v6.prefix;
	r = peer_set(&p, &peer);
	nl_close(p.nl);
	if (r < 0)
		fprintf(stderr, "dptool: peer %s: %s\n", a[0], strerror(-r));
	return r < 0;
}

/* A program that passes everything, for good: the other end of a virtual link takes frames of XDP
 * only then. */
static int do_receive(const char *ifname)
{
	const struct bpf_insn pass[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS},
		{.code = BPF_JMP | BPF_EXIT}};
	AUTO_CLOSE int fd =
		bpf_prog_load(BPF_PROG_TYPE_XDP, NULL, "GPL", pass, ARRAY_LEN(pass), NULL);
	return fd < 0 || bpf_xdp_attach((int)if_nametoindex(ifname), fd, XDP_FLAGS_DRV_MODE, NULL);
}

int main(int argc, char **argv)
{
	struct err e = {0};
	if (argc == 3 && strcmp(argv[1], "receive") == 0)
		return do_receive(argv[2]);
	AUTO_MAPS struct maps *m = NULL;
	struct hostnet net;
	if (argc < 6)
		return 2;
	struct host_config c = {.pin_dir = argv[2],
		.node_ip = argv[3],
		.service_cidr = argv[4],
		.cluster_cidr = argv[5]};
	if (routing_parse(getenv("XEBEC_ROUTING"), &c.routing) < 0)
		return 2;
	if (xdp_mode_parse(getenv("XEBEC_XDP"), &c.xdp) < 0)
		return 2;
	c.masquerade = getenv("XEBEC_MASQ") != NULL;
	c.no_masq = getenv("XEBEC_NO_MASQ");
	if (host_open(&c, &net, &m, &e))
		return fail(&e);
	const char *cgroup = getenv("XEBEC_CGROUP");
	AUTO(cleanup_sock) struct sock *s = NULL;
	if (cgroup && sock_open(m, cgroup, &s, &e))
		return fail(&e);
	if (strcmp(argv[1], "peer") == 0 && argc == 8)
		return do_peer(m, &net, c.routing, argv + 6);
	if (strcmp(argv[1], "pod") == 0 && argc == 9)
		return do_pod(m, argv + 6);
	if (strcmp(argv[1], "set") == 0 && argc == 8)
		return do_set(m, s, argv + 6);
	return 0;
}

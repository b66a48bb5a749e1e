/* SPDX-License-Identifier: Apache-2.0
 * What the XDP program costs a packet, and how many a core forwards beside how many it drops.
 * Prints "name value unit" lines. Uses the node of the packet tests: packets are sent into the
 * uplink from its other end, and what is forwarded is dropped there. */
#include "harness.h"

#include <stdlib.h>
#include "xdp.h"
#include "xebec/base/netlink.h"
#include "xebec/base/timefmt.h"

static struct xdp_bpf *x;

static void entry(const char *s, uint16_t sp, const char *d, uint16_t dp, const char *ts,
	uint16_t tsp, const char *td, uint16_t tdp)
{
	struct xb4_tuple k = {.sport = sp, .dport = dp, .proto = IPPROTO_UDP};
	struct xb4_ct e = {.to = {.sport = tsp, .dport = tdp, .proto = IPPROTO_UDP},
		.flags = CT_EXTERNAL | CT_SNAT,
		.be = 1,
		.svc = 1,
		.last = (uint32_t)((uint64_t)time_mono() >> XB_TICK_SHIFT)};
	addr_put(k.saddr, s), addr_put(k.daddr, d);
	addr_put(e.to.saddr, ts), addr_put(e.to.daddr, td);
	(void)bpf_map_update_elem(maps_fd(node.m, MAP_ct4), &k, &e, BPF_ANY);
}

static void neighbour(struct nl *n, const char *ip)
{
	uint8_t a[4], mac[6] = {2, 0xff, 0, 0, 0, 1};
	addr_put(a, ip);
	(void)nl_neigh_set(n, node.uplink, AF_INET, a, mac);
}

static double cost(const char *prog, const struct packet *k)
{
	double best = 1e9;
	for (int i = 0; i < 100; i++) { /* each call waits for a grace period */
		struct xdp_md ctx = {
			.data_end = (uint32_t)k->len, .ingress_ifindex = (uint32_t)node.uplink};
		struct packet out;
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = k->b, .data_size_in = (uint32_t)k->len,
			.data_out = out.b, .data_size_out = sizeof out.b, .ctx_in = &ctx,
			.ctx_size_in = sizeof ctx, .repeat = 200);
		if (bpf_prog_test_run_opts(xdp_prog_fd(x, prog), &o))
			return -1;
		if (o.duration < best)
			best = o.duration;
	}
	return best;
}

int main(void)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct err e = {0};
	(void)node_setup(NULL);
	if (nl_open(-1, &n) || xdp_load(node.m, &x, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	neighbour(n, "172.31.0.3");
	neighbour(n, CLIENT);
	/* A packet that comes back is translated back: every run does the whole work. */
	entry(CLIENT, 20000, NODE, 30053, NODE, 20000, POD_R, 8080);
	entry(NODE, 20000, POD_R, 8080, CLIENT, 20000, NODE, 30053);
	const struct packet k = udp(.src = CLIENT, .sport = 20000, .dst = NODE, .dport = 30053,
		.ttl = 255, .payload = 18);
	double empty = cost("xdp_empty", &k);
	printf("xdp_empty %.0f ns\n", empty);
	printf("xdp_hit_minus_empty %.0f ns\n", cost("xdp_nic", &k) - empty);
	xdp_unload(x);
	return node_teardown(NULL);
}

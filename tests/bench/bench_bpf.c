/* SPDX-License-Identifier: Apache-2.0
 * What the programs cost a packet, and how long a change takes to reach the kernel. Prints
 * "name value unit" lines. Uses the node of the packet tests. */
#include "harness.h"

#include <stdlib.h>
#include "programmer.h"
#include "xdp.h"
#include "xebec/base/netlink.h"
#include "xebec/base/timefmt.h"

#define POD_C "10.244.1.12"

/* ------------------------------------------------------------------ ns a packet */

/* Best of many short runs: the machine has other things to do. A run ends before TTL does. */
static double cost(int prog_fd, const struct packet *k, int ifindex)
{
	double best = 1e9;
	for (int i = 0; i < 3000; i++) {
		struct __sk_buff ctx = {.ifindex = (uint32_t)ifindex};
		struct packet out;
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = k->b, .data_size_in = (uint32_t)k->len,
			.data_out = out.b, .data_size_out = sizeof out.b, .ctx_in = &ctx,
			.ctx_size_in = sizeof ctx, .repeat = 200);
		if (bpf_prog_test_run_opts(prog_fd, &o))
			return -1;
		if (o.duration < best)
			best = o.duration;
	}
	return best;
}

static void pair(const char *from, uint16_t fport, const char *to, uint16_t tport)
{
	struct FAM_STRUCT(tuple) k = {.sport = 40000, .dport = fport, .proto = IPPROTO_TCP};
	struct FAM_STRUCT(ct) e = {.to = {.sport = 40000, .dport = tport, .proto = IPPROTO_TCP},
		.be = 1,
		.iif = (uint32_t)node.lxa,
		.svc = 1,
		.last = (uint32_t)((uint64_t)time_mono() >> XB_TICK_SHIFT)};
	addr_put(k.saddr, POD_A);
	addr_put(k.daddr, from);
	addr_put(e.to.saddr, POD_A);
	addr_put(e.to.daddr, to);
	(void)bpf_map_update_elem(maps_fd(node.m, FAM_MAP(ct)), &k, &e, BPF_ANY);
}

static void bench_packets(void)
{
	const char *tc = FAMILY == 6 ? "tc6" : "tc";
	struct ep_info c = {.ifindex = (uint32_t)node.lxb, .mac = {2, 0xaa, 0, 0, 0, 3}};
	struct packet k = tcp(.src = POD_A, .sport = 40000, .dst = POD_B, .dport = 80,
		.tcp_flags = F_ACK, .ttl = 255, .payload = 64);
	c.ip = ip_meant(POD_C);
	(void)ep_set(node.m, &c);
	double empty = cost(maps_prog_fd_by_name(node.m, "tc_empty"), &k, node.lxa);
	double plain = cost(maps_prog_fd(node.m, HOOK_POD), &k, node.lxa);
	/* The packet goes to and fro between two translations, so every run rewrites address and
	 * port. */
	pair(POD_B, 80, POD_C, 8080);
	pair(POD_C, 8080, POD_B, 80);
	double hit = cost(maps_prog_fd(node.m, HOOK_POD), &k, node.lxa);
	struct packet other = tcp(.src = CLIENT, .sport = 1, .dst = NODE, .dport = 22,
		.tcp_flags = F_ACK, .ttl = 255);
	double host = cost(maps_prog_fd(node.m, HOOK_NIC_IN), &other, node.uplink);
	printf("%s_empty %.0f ns\n", tc, empty);
	printf("%s_hit_minus_empty %.0f ns\n", tc, hit - empty);
	printf("%s_pod_to_pod_minus_empty %.0f ns\n", tc, plain - empty);
	printf("%s_not_ours_minus_empty %.0f ns\n", tc, host - empty);
}

#if FAMILY == 4
/* ------------------------------------------------------------------ ns a frame */

#define FAR_A "172.31.0.3"
#define FAR_B "172.31.0.4"

/* The kernel patches itself for each run of an XDP program, which takes milliseconds: fewer runs.
 */
static double frame_cost(int prog_fd, const struct packet *k)
{
	double best = 1e9;
	for (int i = 0; i < 100; i++) {
		struct xdp_md ctx = {
			.data_end = (uint32_t)k->len, .ingress_ifindex = (uint32_t)node.uplink};
		struct packet out;
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = k->b, .data_size_in = (uint32_t)k->len,
			.data_out = out.b, .data_size_out = sizeof out.b, .ctx_in = &ctx,
			.ctx_size_in = sizeof ctx, .repeat = 200);
		if (bpf_prog_test_run_opts(prog_fd, &o))
			return -1;
		if (o.duration < best)
			best = o.duration;
	}
	return best;
}

/* A client's flow to a backend elsewhere, one direction. */
static void frame_pair(const char *from, const char *to)
{
	struct xb4_tuple k = {.sport = 40000, .dport = 80, .proto = IPPROTO_TCP};
	struct xb4_ct e = {.to = k,
		.be = 1,
		.svc = 1,
		.flags = CT_EXTERNAL | CT_SNAT,
		.last = (uint32_t)((uint64_t)time_mono() >> XB_TICK_SHIFT)};
	uint8_t ip[16];
	addr_put(k.saddr, CLIENT);
	addr_put(k.daddr, from);
	addr_put(e.to.saddr, CLIENT);
	addr_put(e.to.daddr, to);
	(void)bpf_map_update_elem(maps_fd(node.m, MAP_ct4), &k, &e, BPF_ANY);
	AUTO(cleanup_nl) struct nl *n = NULL;
	addr_put(ip, from);
	if (nl_open(-1, &n) == 0)
		(void)nl_neigh_set(n, node.uplink, AF_INET, ip, (const uint8_t *)"\2\1\1\1\1\1");
}

static void bench_frames(void)
{
	struct xdp_bpf *x = NULL;
	struct err e = {0};
	struct packet k = tcp(.src = CLIENT, .sport = 40000, .dst = FAR_A, .dport = 80,
		.tcp_flags = F_ACK, .ttl = 255, .payload = 64);
	struct packet other = tcp(.src = CLIENT, .sport = 1, .dst = NODE, .dport = 22,
		.tcp_flags = F_ACK, .ttl = 255);
	if (xdp_load(node.m, &x, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		return;
	}
	frame_pair(FAR_A, FAR_B);
	frame_pair(FAR_B, FAR_A);
	int nic = xdp_prog_fd(x, "xdp_nic");
	double empty = frame_cost(xdp_prog_fd(x, "xdp_empty"), &k);
	printf("xdp_empty %.0f ns\n", empty);
	printf("xdp_hit_minus_empty %.0f ns\n", frame_cost(nic, &k) - empty);
	printf("xdp_not_ours_minus_empty %.0f ns\n", frame_cost(nic, &other) - empty);
	xdp_unload(x);
}

/* ------------------------------------------------------------------ publishing */

static const char *slice_json(char *out, size_t cap, int svc, int n, int ready)
{
	int len = snprintf(out, cap,
		"{\"metadata\":{\"name\":\"s%d-x\"},\"ports\":[{\"name\":\"\",\"port\":8080}],"
		"\"endpoints\":[",
		svc);
	for (int i = 0; i < n; i++)
		len += snprintf(out + len, cap - (size_t)len,
			"%s{\"addresses\":[\"10.%d.%d.%d\"],\"nodeName\":\"n%d\",\"conditions\":{"
			"\"ready\":%s}}",
			i ? "," : "", 100 + i % 50, svc >> 8 & 255, svc & 255, i,
			i < ready ? "true" : "false");
	(void)snprintf(out + len, cap - (size_t)len, "]}");
	return out;
}

struct bench_svc {
	struct svc_spec *spec;
	char name[32];
};

/* From the bytes of the watch event to the selector in the kernel; microseconds. */
static double publish(struct programmer *p, const struct bench_svc *s, const char *text)
{
	AUTO_ARENA struct arena mem = {0};
	const struct where me = {.node = STR("n0"), .zone = STR("")};
	struct err e = {0};
	struct want_svc *rows;
	int64_t t = time_mono();
	struct slice_spec *slice = slice_spec_new(jv_of(str_of(text)));
	int n = compile_service("default", s->name, s->spec,
		(const struct slice_spec *const[]){slice}, 1, &me, &mem, &rows);
	for (int i = 0; i < n; i++)
		if (programmer_set(p, &rows[i], 1, t, &e)) {
			fprintf(stderr, "%s\n", e.msg);
			exit(1);
		}
	double us = (double)(time_mono() - t) / 1e3;
	slice_spec_free(slice);
	return us;
}

static void service(struct bench_svc *s, int i)
{
	char text[256];
	(void)snprintf(text, sizeof text,
		"{\"spec\":{\"clusterIPs\":[\"10.96.%d.%d\"],\"ports\":[{\"port\":80}]}}",
		i >> 8 & 255, i & 255);
	(void)snprintf(s->name, sizeof s->name, "s%d", i);
	s->spec = svc_spec_new(jv_of(str_of(text)));
}

static int cmp(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

#define N_SERVICES 1000
#define N_CHANGES  3000

static void bench_publish(void)
{
	static struct bench_svc svc[N_SERVICES];
	static double us[N_CHANGES];
	static char text[32768];
	struct programmer *p = NULL;
	struct err e = {0};
	unsigned seed = 3;
	if (programmer_new(node.m, NULL, &p, &e)) {
		fprintf(stderr, "%s\n", e.msg);
		exit(1);
	}
	int64_t t = time_mono();
	for (int i = 0; i < N_SERVICES; i++) {
		service(&svc[i], i);
		(void)publish(p, &svc[i], slice_json(text, sizeof text, i, 10, 10));
	}
	printf("sync_1000x10 %.1f ms\n", (double)(time_mono() - t) / 1e6);
	for (int i = 0; i < N_CHANGES; i++) {
		int k = rand_r(&seed) % N_SERVICES;
		us[i] = publish(
			p, &svc[k], slice_json(text, sizeof text, k, 10, rand_r(&seed) % 11));
		if (i % 20 == 19)
			programmer_settle(p);
	}
	qsort(us, N_CHANGES, sizeof *us, cmp);
	printf("publish_p50 %.1f us\n", us[N_CHANGES / 2]);
	printf("endpoint_to_kernel_p99 %.3f ms\n", us[N_CHANGES * 99 / 100] / 1e3);
	for (int i = 0; i < N_SERVICES; i++)
		svc_spec_free(svc[i].spec);
	programmer_free(p);
}

static void bench_sweep(void)
{
	struct programmer *p = NULL;
	struct err e = {0};
	struct xb_gc gc = {0};
	struct xb4_ct v = {.last = (uint32_t)((uint64_t)time_mono() >> XB_TICK_SHIFT)};
	for (uint32_t i = 0; i < 100000; i++) {
		struct xb4_tuple k = {
			.sport = (uint16_t)i, .dport = (uint16_t)(i >> 16), .proto = IPPROTO_TCP};
		(void)bpf_map_update_elem(maps_fd(node.m, MAP_ct4), &k, &v, BPF_ANY);
	}
	if (programmer_new(node.m, NULL, &p, &e))
		return;
	int64_t t = time_mono();
	(void)programmer_sweep(p, &gc);
	printf("ct_sweep %.0f ns/entry\n",
		(double)(time_mono() - t) / (gc.checked ? gc.checked : 1));
	programmer_free(p);
}

#endif

int main(void)
{
	(void)node_setup(NULL);
	bench_packets();
#if FAMILY == 4
	bench_frames();
	bench_publish();
	bench_sweep();
#endif
	return node_teardown(NULL);
}

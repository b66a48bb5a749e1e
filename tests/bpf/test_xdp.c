/* SPDX-License-Identifier: Apache-2.0
 * The XDP program: tracked flows of outside clients to backends on other nodes go the short way, as
 * the TC program would have sent them; everything else goes up unchanged. */
#include "harness.h"

#include <stdlib.h>
#include "xdp.h"
#include "xebec/base/netlink.h"

static const struct backend remote[] = {{POD_R, 8080, false}};
static const struct backend local[] = {{POD_B, 8080, true}};
static struct xdp_bpf *x;

static void neighbour(struct nl *n, const char *ip, uint8_t tag)
{
	uint8_t a[4], mac[6] = {2, 0xff, 0, 0, 0, tag};
	addr_put(a, ip);
	assert_int_equal(nl_neigh_set(n, node.uplink, AF_INET, a, mac), 0);
}

static int xdp_setup(void **state)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct err e = {0};
	node_setup(state);
	assert_int_equal(nl_open(-1, &n), 0);
	neighbour(n, "172.31.0.3", 3);
	neighbour(n, CLIENT, 1);
	if (xdp_load(node.m, &x, &e)) {
		fprintf(stderr, "Bail out! %s\n", e.msg);
		exit(1);
	}
	return 0;
}

static int xdp_teardown(void **state)
{
	xdp_unload(x);
	return node_teardown(state);
}

static int run_xdp(struct packet *k)
{
	struct xdp_md ctx = {
		.data_end = (uint32_t)k->len, .ingress_ifindex = (uint32_t)node.uplink};
	struct packet out = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = k->b, .data_size_in = (uint32_t)k->len,
		.data_out = out.b, .data_size_out = sizeof out.b, .ctx_in = &ctx,
		.ctx_size_in = sizeof ctx, .repeat = 1);
	assert_int_equal(bpf_prog_test_run_opts(xdp_prog_fd(x, "xdp_nic"), &o), 0);
	out.len = o.data_size_out;
	*k = out;
	return (int)o.retval;
}

static void passes(const struct packet *in)
{
	struct packet k = *in;
	assert_int_equal(run_xdp(&k), XDP_PASS);
	assert_int_equal(k.len, in->len);
	assert_memory_equal(k.b, in->b, in->len);
}

static struct packet to_node(uint8_t flags, size_t payload)
{
	return tcp(.src = CLIENT, .sport = 20000, .dst = NODE, .dport = 30080, .tcp_flags = flags,
		.payload = payload);
}

static void connection(void **state)
{
	(void)state;
	svc_put(1, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, remote, 1);
	struct packet syn = to_node(F_SYN, 0), k = syn;
	passes(&syn); /* the first one is TC's */
	assert_int_equal(from_nic(&k), V_REDIRECT);
	uint64_t before = stat_pkts(CNT_XDP);
	for (int i = 0; i < 3; i++) {
		k = tcp(.src = POD_R, .sport = 8080, .dst = NODE, .dport = 20000,
			.tcp_flags = i ? F_ACK : F_SYN | F_ACK, .payload = i ? 1301 : 0);
		assert_int_equal(run_xdp(&k), XDP_TX);
		assert_packet(&k, NODE, 30080, CLIENT, 20000);
		assert_memory_equal(k.b, "\2\xff\0\0\0\1", 6);
		k = to_node(F_ACK, (size_t)(100 + i));
		assert_int_equal(run_xdp(&k), XDP_TX);
		assert_packet(&k, NODE, 20000, POD_R, 8080);
		assert_memory_equal(k.b, "\2\xff\0\0\0\3", 6);
		assert_int_equal(packet_view(&k).ttl, 63);
	}
	assert_int_equal(stat_pkts(CNT_XDP), before + 6);
	/* the same tables: TC goes on where XDP was */
	k = to_node(F_ACK, 7);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_packet(&k, NODE, 20000, POD_R, 8080);
	/* both ends close; a SYN of the same tuple is a new flow, which TC opens */
	k = to_node(F_FIN | F_ACK, 0);
	assert_int_equal(run_xdp(&k), XDP_TX);
	k = tcp(.src = POD_R, .sport = 8080, .dst = NODE, .dport = 20000,
		.tcp_flags = F_FIN | F_ACK);
	assert_int_equal(run_xdp(&k), XDP_TX);
	passes(&syn);
}

static void datagrams(void **state)
{
	(void)state;
	svc_put(1, NULL, 30053, IPPROTO_UDP, FE_NODEPORT, 0, remote, 1);
	for (int i = 0; i < 4; i++) {
		struct packet k = udp(.src = CLIENT, .sport = 20000, .dst = NODE, .dport = 30053,
			.payload = (size_t)(31 + i), .udp_no_csum = i & 1);
		int v = i ? run_xdp(&k) : from_nic(&k);
		assert_int_equal(v, i ? XDP_TX : V_REDIRECT);
		assert_packet(&k, NODE, 20000, POD_R, 8080);
		if (i & 1)
			assert_int_equal(get16(k.b + ETH + IPH + 6), 0);
		k = udp(.src = POD_R, .sport = 8080, .dst = NODE, .dport = 20000, .payload = 400);
		assert_int_equal(run_xdp(&k), XDP_TX);
		assert_packet(&k, NODE, 30053, CLIENT, 20000);
	}
}

/* What is special goes up as it came. */
static void special(void **state)
{
	(void)state;
	svc_put(1, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, remote, 1);
	struct packet k = to_node(F_SYN, 0);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	const struct packet ways[] = {
		tcp(.src = CLIENT, .sport = 20000, .dst = NODE, .dport = 30080, .tcp_flags = F_ACK,
			.ttl = 1),
		tcp(.src = CLIENT, .sport = 20000, .dst = NODE, .dport = 30080, .tcp_flags = F_ACK,
			.options = 4),
		tcp(.src = CLIENT, .sport = 20000, .dst = NODE, .dport = 30080, .tcp_flags = F_ACK,
			.frag = 0x2000),
		tcp(.src = CLIENT, .sport = 20000, .dst = NODE, .dport = 30080, .tcp_flags = F_ACK,
			.frag = 100),
		tcp(.src = CLIENT, .sport = 20000, .dst = NODE, .dport = 30080, .tcp_flags = F_ACK,
			.payload = 1500), /* more than the way out takes */
		tcp(.src = CLIENT, .sport = 1, .dst = NODE, .dport = 22, .tcp_flags = F_ACK),
		packet_build((struct packet_spec){
			.proto = IPPROTO_ICMP, .src = CLIENT, .dst = NODE, .payload = 20}),
	};
	for (size_t i = 0; i < ARRAY_LEN(ways); i++)
		passes(&ways[i]);
	/* a flow whose backend is here, and one of a pod */
	svc_put(2, NULL, 30081, IPPROTO_TCP, FE_NODEPORT, 0, local, 1);
	k = tcp(.src = CLIENT, .sport = 20001, .dst = NODE, .dport = 30081, .tcp_flags = F_SYN);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	k = tcp(.src = CLIENT, .sport = 20001, .dst = NODE, .dport = 30081, .tcp_flags = F_ACK);
	passes(&k);
	svc_put(3, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, remote, 1);
	k = tcp(.src = POD_A, .sport = 20002, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	k = tcp(.src = POD_R, .sport = 8080, .dst = POD_A, .dport = 20002, .tcp_flags = F_ACK);
	passes(&k);
}

/* A device was to make the sum: only TC knows how to change such packets. */
static void sums_left_to_a_device(void **state)
{
	(void)state;
	svc_put(1, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, remote, 1);
	struct packet k = to_node(F_SYN, 0);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	for (size_t n = 0; n < 300; n += 7) {
		k = to_node(F_ACK, n);
		uint32_t s = pseudo_sum(k.b + ETH, IPPROTO_TCP, 20 + n);
		s = (s & 0xffff) + (s >> 16);
		put16(k.b + ETH + IPH + 16, (s & 0xffff) + (s >> 16));
		passes(&k);
	}
}

static void random_frames(void **state)
{
	(void)state;
	unsigned seed = 7;
	svc_put(1, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, remote, 1);
	struct packet k = to_node(F_SYN, 0);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	for (int i = 0; i < 30000; i++) {
		k = to_node(F_ACK, (size_t)rand_r(&seed) % 300);
		if (i % 3)
			for (int j = 0; j < 3; j++)
				k.b[12 + (size_t)rand_r(&seed) % (k.len - 12)] ^=
					(uint8_t)(1 << rand_r(&seed) % 8);
		if (i % 5 == 0)
			k.len = ETH + (size_t)rand_r(&seed) % (k.len - ETH);
		struct packet in = k;
		int v = run_xdp(&k);
		assert_true(v == XDP_PASS || v == XDP_TX);
		assert_int_equal(k.len, in.len);
		if (v == XDP_PASS)
			assert_memory_equal(k.b, in.b, in.len);
		else
			assert_int_equal(packet_sound(&k), packet_sound(&in));
	}
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup(fn, node_reset)
	const struct CMUnitTest tests[] = {T(connection), T(datagrams), T(special),
		T(sums_left_to_a_device), T(random_frames)};
	return cmocka_run_group_tests_name("xdp", tests, xdp_setup, xdp_teardown);
}

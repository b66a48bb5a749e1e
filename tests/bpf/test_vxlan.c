/* SPDX-License-Identifier: Apache-2.0
 * Nodes behind VXLAN: what goes there, what is too big, who may send. (What is inside VXLAN on the
 * wire is tested with real devices in tests/net/test_vxlan.py: a test run has no tunnel.) */
#include "harness.h"

#define PEER	"172.31.5.3"
#define POD_V	"10.244.9.20" /* on PEER */
#define SVC_TCP 1

static const struct backend behind[] = {{POD_V, 8080, false}};

static void net_put(const char *net, uint32_t prefix, uint16_t flags)
{
	struct xb4_net_key k = {.prefixlen = prefix};
	struct xb_net v = {.flags = flags, .mac = {2, 0xee, 0, 0, 0, 9}};
	inet_pton(AF_INET, net, k.addr);
	inet_pton(AF_INET, PEER, v.node);
	assert_int_equal(bpf_map_update_elem(maps_fd(node.m, MAP_ipc4), &k, &v, BPF_ANY), 0);
}

static int with_peer(void **state)
{
	struct xb_meta *meta = maps_mem(node.m, MAP_meta);
	node_reset(state);
	net_put("10.244.9.0", 24, NET_PODS | NET_VXLAN);
	net_put(PEER, 32, NET_NODE | NET_VXLAN);
	meta->vx_peers = 1;
	return 0;
}

static int without_peer(void **state)
{
	struct xb_meta *meta = maps_mem(node.m, MAP_meta);
	(void)state;
	meta->vx_peers = 0;
	return 0;
}

static void wrapped(const struct packet *k)
{
	assert_memory_equal(k->b, "\2\xee\0\0\0\x09\2\xdd\0\0\0\1", 12);
	assert_int_equal(packet_view(k).ttl, 63);
}

static void pod_to_pod(void **state)
{
	(void)state;
	uint64_t out = stat_pkts(CNT_VX_OUT);
	struct packet k = udp(.src = POD_A, .sport = 40000, .dst = POD_V, .dport = 53);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, POD_A, 40000, POD_V, 53);
	wrapped(&k);
	k = packet_build((struct packet_spec){
		.proto = IPPROTO_ICMP, .src = POD_A, .dst = POD_V, .payload = 30});
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	wrapped(&k);
	k = tcp(.src = POD_A, .sport = 40000, .dst = PEER, .dport = 10250, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	wrapped(&k);
	assert_int_equal(stat_pkts(CNT_VX_OUT), out + 3);
	/* the last hop is the stack's to refuse */
	k = udp(.src = POD_A, .sport = 40000, .dst = POD_V, .dport = 53, .ttl = 1);
	assert_int_equal(from_pod_a(&k), V_PASS);
	/* nobody may send what is not from him */
	k = udp(.src = POD_B, .sport = 40000, .dst = POD_V, .dport = 53);
	assert_int_equal(from_pod_a(&k), V_DROP);
}

/* A reply to the node's VXLAN port would not be taken for one. */
static void port_of_vxlan(void **state)
{
	(void)state;
	static const struct backend routed[] = {{POD_R, 53, false}};
	svc_put(1, NULL, 30053, IPPROTO_UDP, FE_NODEPORT, 0, routed, 1);
	for (uint16_t port = 4788; port <= 4790; port++) {
		struct packet k = udp(.src = CLIENT, .sport = port, .dst = NODE, .dport = 30053);
		assert_int_equal(from_nic(&k), V_REDIRECT);
		assert_string_equal(packet_view(&k).src, NODE);
		assert_int_equal(packet_view(&k).sport == port, port != 4789);
	}
}

static void service_behind(void **state)
{
	(void)state;
	svc_put(SVC_TCP, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, behind, 1);
	struct packet k =
		tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, POD_A, 40000, POD_V, 8080);
	wrapped(&k);
	/* from outside the source is the node's, so that the reply comes back */
	svc_put(2, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, behind, 1);
	k = tcp(.src = CLIENT, .sport = 40000, .dst = NODE, .dport = 30080, .tcp_flags = F_SYN);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_string_equal(packet_view(&k).src, NODE);
	assert_string_equal(packet_view(&k).dst, POD_V);
	wrapped(&k);
}

static void assert_frag_needed(const struct packet *k, const char *src, const char *dst)
{
	struct packet_view v = packet_view(k);
	assert_true(packet_sound(k));
	assert_string_equal(v.src, src);
	assert_string_equal(v.dst, dst);
	assert_int_equal(v.icmp_type, 3);
	assert_int_equal(v.icmp_code, 4);
	assert_int_equal(get16(k->b + ETH + 26), 1450);
}

static void too_big(void **state)
{
	(void)state;
	struct packet k = tcp(.src = POD_A, .sport = 40000, .dst = POD_V, .dport = 80,
		.tcp_flags = F_ACK, .payload = 1450 - 40);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	wrapped(&k);
	k = tcp(.src = POD_A, .sport = 40000, .dst = POD_V, .dport = 80, .tcp_flags = F_ACK,
		.payload = 1451 - 40, .frag = 0x4000);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_frag_needed(&k, NODE, POD_A);
	/* without DF the stack cuts it up */
	k = udp(.src = POD_A, .sport = 40000, .dst = POD_V, .dport = 80, .payload = 1440);
	assert_int_equal(from_pod_a(&k), V_PASS);
	/* the error comes from the address that the client knows */
	svc_put(SVC_TCP, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, behind, 1);
	k = tcp(.src = POD_A, .sport = 40001, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	k = tcp(.src = POD_A, .sport = 40001, .dst = VIP, .dport = 80, .tcp_flags = F_ACK,
		.payload = 1451 - 40, .frag = 0x4000);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_frag_needed(&k, VIP, POD_A);
}

static void outer_packets_pass(void **state)
{
	(void)state;
	/* even when a service has the port */
	svc_put(2, NODE, 4789, IPPROTO_UDP, FE_EXTERNAL, 0, behind, 1);
	struct packet k = udp(.src = PEER, .sport = 5, .dst = NODE, .dport = 4789, .payload = 60);
	struct packet in = k;
	assert_int_equal(from_nic(&k), V_PASS);
	assert_memory_equal(k.b, in.b, in.len);
}

static void no_tunnel_no_entry(void **state)
{
	(void)state;
	uint64_t before = stat_pkts(DROP_VX_SENDER);
	struct packet k = udp(.src = POD_V, .sport = 5, .dst = POD_A, .dport = 7, .payload = 60);
	assert_int_equal(run_on(HOOK_VX, node.vx, &k), V_DROP);
	assert_int_equal(stat_pkts(DROP_VX_SENDER), before + 1);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, with_peer, without_peer)
	const struct CMUnitTest tests[] = {
		T(pod_to_pod),
		T(service_behind),
		T(too_big),
		T(port_of_vxlan),
		T(outer_packets_pass),
		T(no_tunnel_no_entry),
	};
	return cmocka_run_group_tests_name("vxlan", tests, node_setup, node_teardown);
}

/* SPDX-License-Identifier: Apache-2.0
 * Packets in, packets out: the walks of every hook. */
#include "harness.h"

#include "programmer.h"

static const struct backend one_b[] = {{POD_B, 8080, true}};
static const struct backend remote[] = {{POD_R, 8080, false}};

static bool macs_are(const struct packet *k, uint8_t pod)
{
	return k->b[5] == pod && k->b[1] == 0xaa && k->b[11] == pod && k->b[7] == 0xbb;
}

static void assert_icmp(struct packet_view v, uint8_t type, uint8_t code)
{
	assert_int_equal(v.icmp_type, type);
	assert_int_equal(v.icmp_code, code);
}

static void clusterip_tcp(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	struct packet k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80,
		.tcp_flags = F_SYN, .seq = 7);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, POD_A, 40000, POD_B, 8080);
	assert_true(macs_are(&k, 2));
	assert_int_equal(packet_view(&k).ttl, 63);

	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, VIP, 80, POD_A, 40000);
	assert_true(macs_are(&k, 1));
	for (int i = 0; i < 3; i++) {
		k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_ACK,
			.payload = 100);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
		assert_packet(&k, POD_A, 40000, POD_B, 8080);
		k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000,
			.tcp_flags = F_ACK, .payload = 1301);
		assert_int_equal(from_pod_b(&k), V_REDIRECT);
		assert_packet(&k, VIP, 80, POD_A, 40000);
	}
}

static int entries(enum map_id id)
{
	char key[64], next[64];
	int n = 0;
	void *prev = NULL;
	while (bpf_map_get_next_key(maps_fd(node.m, id), prev, next) == 0) {
		memcpy(key, next, sizeof key);
		prev = key;
		n++;
	}
	return n;
}

static void promoted_after_handshake(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	struct packet k =
		tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	from_pod_a(&k);
	assert_int_equal(entries(FAM_MAP(ctn)), 2);
	/* an ACK that nobody asked for does not make a connection */
	k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_ACK);
	from_pod_a(&k);
	assert_int_equal(entries(FAM_MAP(ct)), 0);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000,
		.tcp_flags = F_SYN | F_ACK);
	from_pod_b(&k);
	assert_int_equal(entries(FAM_MAP(ct)), 0);
	k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_ACK);
	from_pod_a(&k);
	assert_int_equal(entries(FAM_MAP(ct)), 2);
	assert_int_equal(entries(FAM_MAP(ctn)), 0);
}

static void clusterip_udp(void **state)
{
	(void)state;
	svc_put(1, VIP, 53, IPPROTO_UDP, FE_CLUSTER, 0, one_b, 1);
	for (int i = 0; i < 2; i++) {
		bool no_csum = i && FAMILY == 4;
		struct packet k = udp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 53,
			.payload = 31, .udp_no_csum = no_csum);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
		assert_packet(&k, POD_A, 40000, POD_B, 8080);
		if (no_csum) /* no checksum stays none (RFC 768) */
			assert_int_equal(get16(k.b + ETH + IPH + 6), 0);
		k = udp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000, .payload = 400);
		assert_int_equal(from_pod_b(&k), V_REDIRECT);
		assert_packet(&k, VIP, 53, POD_A, 40000);
	}
	assert_int_equal(entries(FAM_MAP(ct)), 2);
}

static void udp_csum_that_becomes_zero(void **state)
{
	(void)state;
	svc_put(1, VIP, 53, IPPROTO_UDP, FE_CLUSTER, 0, one_b, 1);
	for (uint32_t i = 0; i < 65536; i += 1) {
		/* walk until the translated checksum folds to 0: it must be sent as 0xffff */
		struct packet want = udp(.src = POD_A, .sport = (uint16_t)i, .dst = POD_B,
			.dport = 8080, .payload = 2);
		if (get16(want.b + ETH + IPH + 6) != 0xffff)
			continue;
		struct packet k = udp(.src = POD_A, .sport = (uint16_t)i, .dst = VIP, .dport = 53,
			.payload = 2);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
		assert_int_equal(get16(k.b + ETH + IPH + 6), 0xffff);
		assert_packet(&k, POD_A, i, POD_B, 8080);
		return;
	}
	fail();
}

static void hairpin(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	struct packet k =
		tcp(.src = POD_B, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	struct packet_view v = packet_view(&k);
	assert_string_equal(v.src, "169.254.42.1");
	assert_string_equal(v.dst, POD_B);
	assert_true(packet_sound(&k) && macs_are(&k, 2));
	k = tcp(.src = POD_B, .sport = 8080, .dst = "169.254.42.1", .dport = v.sport,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, VIP, 80, POD_B, 40000);
}

static void no_endpoint_rst(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, NULL, 0);
	struct packet k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80,
		.tcp_flags = F_SYN, .seq = 1000, .options = 2 * OPTION_STEP);
	struct packet in = k;
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, VIP, 80, POD_A, 40000);
	assert_int_equal(packet_view(&k).tcp_flags, F_RST | F_ACK);
	assert_int_equal(packet_view(&k).ack, 1001);
	assert_memory_equal(k.b, in.b + 6, 6);
	/* a segment with ACK is answered with its own number */
	k = tcp(.src = POD_A, .sport = 40001, .dst = VIP, .dport = 80, .tcp_flags = F_ACK, .seq = 5,
		.ack = 99, .payload = 700);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, VIP, 80, POD_A, 40001);
	assert_int_equal(packet_view(&k).tcp_flags, F_RST);
	assert_int_equal(packet_view(&k).seq, 99);
	/* never a reset for a reset */
	k = tcp(.src = POD_A, .sport = 40002, .dst = VIP, .dport = 80, .tcp_flags = F_RST);
	assert_int_equal(from_pod_a(&k), V_DROP);
}

static void no_endpoint_icmp(void **state)
{
	(void)state;
	svc_put(1, VIP, 53, IPPROTO_UDP, FE_CLUSTER, 0, NULL, 0);
	for (unsigned options = 0; options <= 10 * OPTION_STEP; options += 5 * OPTION_STEP) {
		struct packet k = udp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 53,
			.payload = 300, .options = options);
		struct packet in = k;
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
		struct packet_view v = packet_view(&k);
		assert_true(packet_sound(&k));
		assert_string_equal(v.src, VIP);
		assert_string_equal(v.dst, POD_A);
		assert_icmp(v, ICMP_UNREACH);
		assert_memory_equal(k.b + ETH + IPH + 8, in.b + ETH, IPH + 8 + options);
	}
}

static void unknown_port_of_service_range(void **state)
{
	(void)state;
	struct packet k =
		tcp(.src = POD_A, .sport = 4, .dst = VIP, .dport = 81, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_int_equal(packet_view(&k).tcp_flags, F_RST | F_ACK);
	k = packet_build((struct packet_spec){
		.proto = IPPROTO_ICMP, .src = POD_A, .dst = VIP, .payload = 20});
	uint64_t before = stat_pkts(DROP_NO_SERVICE);
	assert_int_equal(from_pod_a(&k), V_DROP);
	assert_int_equal(stat_pkts(DROP_NO_SERVICE), before + 1);
}

static void spoofed(void **state)
{
	(void)state;
	uint64_t before = stat_pkts(DROP_SPOOF);
	struct packet k =
		tcp(.src = POD_B, .sport = 4, .dst = POD_R, .dport = 81, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_DROP);
	k = tcp(.src = "8.8.8.8", .sport = 4, .dst = POD_B, .dport = 81, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_DROP);
	assert_int_equal(stat_pkts(DROP_SPOOF), before + 2);
}

static void clusterip_remote(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, remote, 1);
	struct packet k =
		tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, POD_A, 40000, POD_R, 8080);
	k = tcp(.src = POD_R, .sport = 8080, .dst = POD_A, .dport = 40000,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_packet(&k, VIP, 80, POD_A, 40000);
	assert_true(macs_are(&k, 1));
}

/* A backend that is no pod may have no way back to pod addresses. */
static void clusterip_to_other_node(void **state)
{
	(void)state;
	static const struct backend api[] = {{CLIENT, 6443, false}};
	svc_put(1, VIP, 443, IPPROTO_TCP, FE_CLUSTER, 0, api, 1);
	struct packet k =
		tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 443, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	struct packet_view v = packet_view(&k);
	assert_packet(&k, NODE, v.sport, CLIENT, 6443);
	k = tcp(.src = CLIENT, .sport = 6443, .dst = NODE, .dport = v.sport,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_packet(&k, VIP, 443, POD_A, 40000);
}

static void nodeport_local(void **state)
{
	(void)state;
	svc_put(1, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, one_b, 1);
	struct packet k =
		tcp(.src = CLIENT, .sport = 40000, .dst = NODE, .dport = 30080, .tcp_flags = F_SYN);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_packet(&k, CLIENT, 40000, POD_B, 8080);
	assert_true(macs_are(&k, 2));
	k = tcp(.src = POD_B, .sport = 8080, .dst = CLIENT, .dport = 40000,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, NODE, 30080, CLIENT, 40000);
	assert_int_equal(packet_view(&k).ttl, 63);
}

static void nodeport_remote(void **state)
{
	(void)state;
	svc_put(1, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, remote, 1);
	uint16_t sports[2];
	for (int i = 0; i < 2; i++) { /* the same client port twice: only one can keep it */
		struct packet k = tcp(.src = i ? "172.31.0.77" : CLIENT, .sport = 20000,
			.dst = NODE, .dport = 30080, .tcp_flags = F_SYN);
		assert_int_equal(from_nic(&k), V_REDIRECT);
		sports[i] = packet_view(&k).sport;
		assert_packet(&k, NODE, sports[i], POD_R, 8080);
	}
	assert_int_equal(sports[0], 20000);
	assert_int_not_equal(sports[0], sports[1]);
	assert_in_range(sports[1], 1024, 29999);
	for (int i = 0; i < 2; i++) {
		struct packet k = tcp(.src = POD_R, .sport = 8080, .dst = NODE, .dport = sports[i],
			.tcp_flags = F_SYN | F_ACK);
		assert_int_equal(from_nic(&k), V_REDIRECT);
		assert_packet(&k, NODE, 30080, i ? "172.31.0.77" : CLIENT, 20000);
	}
}

static void nodeport_on_other_address(void **state)
{
	(void)state;
	const struct ip ip = ip_meant("172.31.9.9");
	svc_put(1, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, one_b, 1);
	struct packet k = tcp(.src = CLIENT, .sport = 4000, .dst = "172.31.9.9", .dport = 30080,
		.tcp_flags = F_SYN);
	assert_int_equal(from_nic(&k), V_PASS);
	lip_set(node.m, &ip);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_packet(&k, CLIENT, 4000, POD_B, 8080);
	lip_del(node.m, &ip);
}

static void traffic_policy_local(void **state)
{
	(void)state;
	uint64_t before = stat_pkts(DROP_NO_LOCAL);
	svc_put(1, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, SVC_ETP_LOCAL, remote, 1);
	struct packet k =
		tcp(.src = CLIENT, .sport = 40000, .dst = NODE, .dport = 30080, .tcp_flags = F_SYN);
	assert_int_equal(from_nic(&k), V_DROP);
	assert_int_equal(stat_pkts(DROP_NO_LOCAL), before + 1);
	/* from inside the cluster every endpoint will do */
	k = tcp(.src = POD_A, .sport = 40000, .dst = NODE, .dport = 30080, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, POD_A, 40000, POD_R, 8080);
	/* both: the local one, always */
	static const struct backend both[] = {{POD_R, 8080, false}, {POD_B, 8080, true}};
	svc_put(1, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, SVC_ETP_LOCAL, both, 2);
	svc_put(2, VIP, 80, IPPROTO_TCP, FE_CLUSTER, SVC_ITP_LOCAL, both, 2);
	for (uint16_t i = 0; i < 20; i++) {
		k = tcp(.src = CLIENT, .sport = (uint16_t)(50000 + i), .dst = NODE, .dport = 30080,
			.tcp_flags = F_SYN);
		assert_int_equal(from_nic(&k), V_REDIRECT);
		assert_string_equal(packet_view(&k).dst, POD_B);
		k = tcp(.src = POD_A, .sport = (uint16_t)(50000 + i), .dst = VIP, .dport = 80,
			.tcp_flags = F_SYN);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
		assert_string_equal(packet_view(&k).dst, POD_B);
	}
	svc_put(2, VIP, 80, IPPROTO_TCP, FE_CLUSTER, SVC_ITP_LOCAL, remote, 1);
	k = tcp(.src = POD_A, .sport = 60000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_DROP);
}

static void spread_and_affinity(void **state)
{
	(void)state;
	struct backend four[4] = {{"10.244.2.1", 80, false}, {"10.244.2.2", 80, false},
		{"10.244.2.3", 80, false}, {"10.244.2.4", 80, false}};
	unsigned seen[4] = {0};
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, four, 4);
	for (uint16_t i = 0; i < 400; i++) {
		struct packet k = tcp(.src = POD_A, .sport = (uint16_t)(2000 + i), .dst = VIP,
			.dport = 80, .tcp_flags = F_SYN);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
		seen[k.b[DST_LOW] - 1]++;
	}
	for (int i = 0; i < 4; i++)
		assert_in_range(seen[i], 60, 140);
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, SVC_AFFINITY, four, 4);
	int first = 0;
	for (uint16_t i = 0; i < 50; i++) {
		struct packet k = tcp(.src = POD_A, .sport = (uint16_t)(3000 + i), .dst = VIP,
			.dport = 80, .tcp_flags = F_SYN);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
		if (i == 0)
			first = k.b[DST_LOW];
		assert_int_equal(k.b[DST_LOW], first);
	}
	/* its backend is no longer ready: another, and that one stays */
	struct xb_be *be = (struct xb_be *)maps_mem(node.m, MAP_be_tab) + 64 + first - 1;
	be->flags = 0;
	struct xb_lut *lut = (struct xb_lut *)maps_mem(node.m, MAP_lut) + 128;
	lut[first - 1] = lut[first % 4];
	int second = 0;
	for (uint16_t i = 0; i < 20; i++) {
		struct packet k = tcp(.src = POD_A, .sport = (uint16_t)(4000 + i), .dst = VIP,
			.dport = 80, .tcp_flags = F_SYN);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
		if (i == 0)
			second = k.b[DST_LOW];
		assert_int_equal(k.b[DST_LOW], second);
	}
	assert_int_not_equal(first, second);
}

static void same_flow_same_backend(void **state)
{
	(void)state;
	static const struct backend two[] = {{POD_R, 8080, false}, {POD_B, 8080, true}};
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, two, 2);
	struct packet k =
		tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	from_pod_a(&k);
	char first[16];
	memcpy(first, packet_view(&k).dst, sizeof first);
	for (int i = 0; i < 20; i++) { /* SYN retransmissions */
		k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
		from_pod_a(&k);
		assert_string_equal(packet_view(&k).dst, first);
	}
	/* the service loses all endpoints: the flow goes on */
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, NULL, 0);
	k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_ACK);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_string_equal(packet_view(&k).dst, first);
}

static void handshake(uint16_t port)
{
	struct packet k =
		tcp(.src = POD_A, .sport = port, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	from_pod_a(&k);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = port,
		.tcp_flags = F_SYN | F_ACK);
	from_pod_b(&k);
	k = tcp(.src = POD_A, .sport = port, .dst = VIP, .dport = 80, .tcp_flags = F_ACK);
	from_pod_a(&k);
}

static void tuple_reuse(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	handshake(40000);
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, remote, 1);
	/* open connection: a SYN stays with its backend */
	struct packet k =
		tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	from_pod_a(&k);
	assert_string_equal(packet_view(&k).dst, POD_B);
	k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_FIN | F_ACK);
	from_pod_a(&k);
	assert_string_equal(packet_view(&k).dst, POD_B);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000,
		.tcp_flags = F_FIN | F_ACK);
	from_pod_b(&k);
	k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_ACK);
	from_pod_a(&k);
	assert_string_equal(packet_view(&k).dst, POD_B);
	/* closed both ways: a SYN is a new connection */
	k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_string_equal(packet_view(&k).dst, POD_R);
}

/* One client port, two services, one backend: the reply tuple would be the same. */
static void reply_clash(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	svc_put(2, "10.96.0.11", 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	handshake(40000);
	struct packet k = tcp(.src = POD_A, .sport = 40000, .dst = "10.96.0.11", .dport = 80,
		.tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	struct packet_view v = packet_view(&k);
	assert_packet(&k, POD_A, v.sport, POD_B, 8080);
	assert_int_not_equal(v.sport, 40000);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = v.sport,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, "10.96.0.11", 80, POD_A, 40000);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000, .tcp_flags = F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, VIP, 80, POD_A, 40000);
}

/* A direct connection with the tuple that a translated one has behind the translation. */
static void direct_clash(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	handshake(40000);
	struct packet k =
		tcp(.src = POD_A, .sport = 40000, .dst = POD_B, .dport = 8080, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	struct packet_view v = packet_view(&k);
	assert_packet(&k, POD_A, v.sport, POD_B, 8080);
	assert_int_not_equal(v.sport, 40000);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = v.sport,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, POD_B, 8080, POD_A, 40000);
	k = tcp(.src = POD_A, .sport = 40000, .dst = POD_B, .dport = 8080, .tcp_flags = F_ACK);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, POD_A, v.sport, POD_B, 8080);
	/* the service connection goes on beside it */
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000, .tcp_flags = F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, VIP, 80, POD_A, 40000);
}

/* The same after the service connection was closed: nothing of it is left in the way. */
static void direct_after_close(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	handshake(40000);
	struct packet k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80,
		.tcp_flags = F_FIN | F_ACK);
	from_pod_a(&k);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000,
		.tcp_flags = F_FIN | F_ACK);
	from_pod_b(&k);
	k = tcp(.src = POD_A, .sport = 40000, .dst = POD_B, .dport = 8080, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, POD_A, 40000, POD_B, 8080);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, POD_B, 8080, POD_A, 40000);
	assert_int_equal(entries(FAM_MAP(ct)), 0);
}

/* A reply tuple that a closed flow left behind now belongs to another flow: when the first client
 * port comes back, it must not find the other's entry. */
static void left_behind_reply_tuple(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	svc_put(2, "10.96.0.11", 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	handshake(40000);
	struct packet k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80,
		.tcp_flags = F_FIN | F_ACK);
	from_pod_a(&k);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000,
		.tcp_flags = F_FIN | F_ACK);
	from_pod_b(&k);
	k = tcp(.src = POD_A, .sport = 40000, .dst = "10.96.0.11", .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, POD_A, 40000, POD_B, 8080);
	k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	struct packet_view v = packet_view(&k);
	assert_int_not_equal(v.sport, 40000);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = v.sport,
		.tcp_flags = F_SYN | F_ACK);
	from_pod_b(&k);
	assert_packet(&k, VIP, 80, POD_A, 40000);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000,
		.tcp_flags = F_SYN | F_ACK);
	from_pod_b(&k);
	assert_packet(&k, "10.96.0.11", 80, POD_A, 40000);
}

static void icmp_error_inner(void **state)
{
	(void)state;
	svc_put(1, VIP, 53, IPPROTO_UDP, FE_CLUSTER, 0, one_b, 1);
	struct packet sent = udp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 53,
		.payload = 64, .ttl = 64);
	struct packet seen = sent;
	from_pod_a(&seen);
	/* the backend: port unreachable */
	struct packet k = packet_icmp_error(POD_B, POD_A, ICMP_UNREACH, &seen, 72);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	struct packet_view v = packet_view(&k),
			   in = ip_view(k.b + ETH + IPH + 8, k.len - ETH - IPH - 8);
	assert_true(packet_sound(&k));
	assert_string_equal(v.src, VIP);
	assert_string_equal(v.dst, POD_A);
	assert_string_equal(in.src, POD_A);
	assert_string_equal(in.dst, VIP);
	assert_int_equal(in.sport, 40000);
	assert_int_equal(in.dport, 53);
	struct packet inner = {.len = k.len - IPH - 8};
	memcpy(inner.b + ETH, k.b + ETH + IPH + 8, k.len - ETH - IPH - 8);
	assert_true(packet_sound(&inner));
	/* a router on the way: its own address stays */
	k = packet_icmp_error("172.31.0.3", POD_A, ICMP_HOPS, &seen, 8);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_true(packet_sound(&k));
	assert_string_equal(packet_view(&k).src, "172.31.0.3");
	assert_string_equal(ip_view(k.b + ETH + IPH + 8, k.len - ETH - IPH - 8).dst, VIP);
}

static void icmp_error_snat(void **state)
{
	(void)state;
	svc_put(1, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, remote, 1);
	struct packet seen = tcp(.src = CLIENT, .sport = 40000, .dst = NODE, .dport = 30080,
		.tcp_flags = F_SYN, .payload = 30);
	from_nic(&seen);
	struct packet k = packet_icmp_error("172.31.0.3", NODE, ICMP_NARROW, &seen, 50);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	struct packet_view v = packet_view(&k),
			   in = ip_view(k.b + ETH + IPH + 8, k.len - ETH - IPH - 8);
	assert_true(packet_sound(&k));
	assert_string_equal(v.dst, CLIENT);
	assert_string_equal(in.src, CLIENT);
	assert_string_equal(in.dst, NODE);
	assert_int_equal(in.sport, 40000);
	assert_int_equal(in.dport, 30080);
	struct packet inner = {.len = k.len - IPH - 8};
	memcpy(inner.b + ETH, k.b + ETH + IPH + 8, k.len - ETH - IPH - 8);
	assert_true(packet_sound(&inner));
	/* about a flow that is not ours: untouched */
	struct packet other = tcp(.src = NODE, .sport = 5, .dst = CLIENT, .dport = 6);
	k = packet_icmp_error(CLIENT, NODE, ICMP_UNREACH, &other, 20);
	struct packet before = k;
	assert_int_equal(from_nic(&k), V_PASS);
	assert_memory_equal(k.b, before.b, k.len);
}

static void fragments(void **state)
{
	(void)state;
	svc_put(1, VIP, 53, IPPROTO_UDP, FE_CLUSTER, 0, one_b, 1);
	/* a later one before the first cannot be placed */
	struct packet late = udp(.src = POD_A, .sport = 1, .dst = VIP, .dport = 2, .payload = 992,
		.id = 77, .frag = 125);
	struct packet k = late;
	assert_int_equal(from_pod_a(&k), V_DROP);
	k = udp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 53, .payload = 992, .id = 77,
		.frag = 0x2000);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, POD_A, 40000, POD_B, 8080);
	k = late;
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	struct packet_view v = packet_view(&k);
	assert_string_equal(v.dst, POD_B);
	assert_true(packet_sound(&k) && macs_are(&k, 2));
	/* no ports in it: its payload is as it was */
	assert_memory_equal(k.b + ETH + IPH, late.b + ETH + IPH, late.len - ETH - IPH);
	/* and back */
	k = udp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000, .payload = 992, .id = 9,
		.frag = 0x2000);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, VIP, 53, POD_A, 40000);
	k = udp(.src = POD_B, .sport = 1, .dst = POD_A, .dport = 2, .payload = 100, .id = 9,
		.frag = 125);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_string_equal(packet_view(&k).src, VIP);
}

/* The whole datagram's checksum must be right after reassembly. */
static void fragment_checksum(void **state)
{
	(void)state;
	svc_put(1, VIP, 53, IPPROTO_UDP, FE_CLUSTER, 0, one_b, 1);
	struct packet whole =
		udp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 53, .payload = 2000);
	struct packet_spec sa = {.src = POD_A, .dst = VIP, .proto = IPPROTO_UDP, .id = 5},
			   got_spec = {.src = POD_A, .dst = POD_B, .proto = IPPROTO_UDP};
	const uint8_t *data = whole.b + ETH + IPH;
	struct packet part[2], got = whole;
	const size_t n[] = {1000, 1008};
	for (int i = 0; i < 2; i++) {
		sa.frag = i ? 125 : 0x2000;
		size_t h = ETH + headers_len(&sa);
		part[i] = whole;
		part[i].len = h + n[i];
		ip_build(part[i].b + ETH, &sa, n[i]);
		memcpy(part[i].b + h, data + i * 1000, n[i]);
		assert_int_equal(from_pod_a(&part[i]), V_REDIRECT);
		memcpy(got.b + ETH + IPH + i * 1000, part[i].b + h, n[i]);
	}
	ip_build(got.b + ETH, &got_spec, 2008);
	assert_packet(&got, POD_A, 40000, POD_B, 8080);
}

static void ip_options(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	for (unsigned options = OPTION_STEP; options <= 40; options += OPTION_STEP) {
		uint16_t port = (uint16_t)(40000 + options);
		struct packet k = tcp(.src = POD_A, .sport = port, .dst = VIP, .dport = 80,
			.tcp_flags = F_SYN, .options = options, .payload = 11);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
		assert_packet(&k, POD_A, port, POD_B, 8080);
	}
}

static void ttl_used_up(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	struct packet k = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80,
		.tcp_flags = F_SYN, .ttl = 1);
	struct packet in = k;
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	struct packet_view v = packet_view(&k);
	assert_true(packet_sound(&k));
	assert_icmp(v, ICMP_HOPS);
	assert_string_equal(v.src, NODE);
	assert_string_equal(v.dst, POD_A);
	/* inside: the packet as the client sent it, with the service's address */
	assert_memory_equal(k.b + ETH + IPH + 8, in.b + ETH, IPH + 8);
	/* not a service: the stack answers */
	k = tcp(.src = POD_A, .sport = 40000, .dst = POD_B, .dport = 80, .ttl = 1);
	assert_int_equal(from_pod_a(&k), V_PASS);
}

/* A way out that takes less than the way in: the sender hears of it, for trains of segments too. */
static void narrow_uplink(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, remote, 1);
	assert_int_equal(system("ip link set up0 mtu 1300"), 0);
	const struct packet train = tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80,
		.tcp_flags = F_SYN, .payload = 2700, .frag = 0x4000);
	const uint32_t fits = 1300 - IPH - 20;
	struct packet k = train;
	assert_int_equal(run_train(HOOK_POD, node.lxa, &k, fits), V_REDIRECT);
	assert_packet(&k, POD_A, 40000, POD_R, 8080);
	k = train;
	assert_int_equal(run_train(HOOK_POD, node.lxa, &k, fits + 1), V_REDIRECT);
	struct packet_view v = packet_view(&k);
	assert_string_equal(v.dst, POD_A);
	assert_icmp(v, ICMP_NARROW);
	assert_int_equal(get16(k.b + ETH + IPH + 6), 1300);
	assert_true(packet_sound(&k));
	k = train;
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_icmp(packet_view(&k), ICMP_NARROW);
	assert_int_equal(system("ip link set up0 mtu 1500"), 0);
}

static void source_ranges(void **state)
{
	(void)state;
	uint64_t before = stat_pkts(DROP_SRC_RANGE);
	svc_put(1, "203.0.113.7", 80, IPPROTO_TCP, FE_LB, SVC_SRC_RANGE, one_b, 1);
	struct packet k = tcp(.src = CLIENT, .sport = 40000, .dst = "203.0.113.7", .dport = 80,
			      .tcp_flags = F_SYN),
		      again = k;
	assert_int_equal(from_nic(&k), V_DROP);
	assert_int_equal(stat_pkts(DROP_SRC_RANGE), before + 1);
	struct xb_srcr_key key = {.prefixlen = 32 + 24 + 8 * (ADDR_N - 4), .svc = 1};
	uint32_t one = 1;
	addr_put(key.addr, "172.31.0.0");
	bpf_map_update_elem(maps_fd(node.m, MAP_srcr), &key, &one, BPF_ANY);
	assert_int_equal(from_nic(&again), V_REDIRECT);
	assert_packet(&again, CLIENT, 40000, POD_B, 8080);
	bpf_map_delete_elem(maps_fd(node.m, MAP_srcr), &key);
}

static void host_to_service(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	struct packet k =
		tcp(.src = NODE, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(run_on(HOOK_HOST, node.host, &k), V_REDIRECT);
	assert_packet(&k, NODE, 40000, POD_B, 8080);
	assert_true(macs_are(&k, 2));
	k = tcp(.src = POD_B, .sport = 8080, .dst = NODE, .dport = 40000,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, VIP, 80, NODE, 40000);
	assert_memory_equal(k.b, "\2\xcc\0\0\0\1", 6);
	/* remote backend: the reply comes in by the uplink */
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, remote, 1);
	k = tcp(.src = NODE, .sport = 40001, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(run_on(HOOK_HOST, node.host, &k), V_REDIRECT);
	assert_packet(&k, NODE, 40001, POD_R, 8080);
	assert_int_equal(packet_view(&k).ttl, 64);
	k = tcp(.src = POD_R, .sport = 8080, .dst = NODE, .dport = 40001,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_packet(&k, VIP, 80, NODE, 40001);
	/* its own node port */
	svc_put(2, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, one_b, 1);
	k = tcp(.src = NODE, .sport = 40002, .dst = NODE, .dport = 30080, .tcp_flags = F_SYN);
	assert_int_equal(run_on(HOOK_HOST, 1, &k), V_REDIRECT);
	assert_packet(&k, NODE, 40002, POD_B, 8080);
	k = tcp(.src = POD_B, .sport = 8080, .dst = NODE, .dport = 40002,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, NODE, 30080, NODE, 40002);
	k = tcp(.src = "127.0.0.1", .sport = 1, .dst = "127.0.0.1", .dport = 30080);
	assert_int_equal(run_on(HOOK_HOST, 1, &k), V_PASS);
}

/* External addresses are routed to the uplink: the node's own packets to them turn round there. */
static void host_to_external_address(void **state)
{
	(void)state;
	svc_put(1, "203.0.113.7", 80, IPPROTO_TCP, FE_EXTERNAL, 0, one_b, 1);
	struct packet k = tcp(.src = NODE, .sport = 40000, .dst = "203.0.113.7", .dport = 80,
		.tcp_flags = F_SYN);
	assert_int_equal(run_on(HOOK_NIC_OUT, node.uplink, &k), V_REDIRECT);
	assert_packet(&k, NODE, 40000, POD_B, 8080);
	k = tcp(.src = POD_B, .sport = 8080, .dst = NODE, .dport = 40000,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(from_pod_b(&k), V_REDIRECT);
	assert_packet(&k, "203.0.113.7", 80, NODE, 40000);
}

/* A hostNetwork backend on this node: its reply leaves by the egress hooks. */
static void host_network_backend(void **state)
{
	(void)state;
	static const struct backend self[] = {{NODE, 9100, true}};
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, self, 1);
	struct packet k =
		tcp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 80, .tcp_flags = F_SYN);
	assert_int_equal(from_pod_a(&k), V_PASS);
	assert_packet(&k, POD_A, 40000, NODE, 9100);
	k = tcp(.src = NODE, .sport = 9100, .dst = POD_A, .dport = 40000,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(run_on(HOOK_TO_POD, node.lxa, &k), V_PASS);
	assert_packet(&k, VIP, 80, POD_A, 40000);
	svc_put(2, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, self, 1);
	k = tcp(.src = CLIENT, .sport = 41000, .dst = NODE, .dport = 30080, .tcp_flags = F_SYN);
	assert_int_equal(from_nic(&k), V_PASS);
	assert_packet(&k, CLIENT, 41000, NODE, 9100);
	k = tcp(.src = NODE, .sport = 9100, .dst = CLIENT, .dport = 41000,
		.tcp_flags = F_SYN | F_ACK);
	assert_int_equal(run_on(HOOK_NIC_OUT, node.uplink, &k), V_PASS);
	assert_packet(&k, NODE, 30080, CLIENT, 41000);
}

static void direct_to_pod(void **state)
{
	(void)state;
	struct packet k = tcp(.src = POD_A, .sport = 1, .dst = POD_B, .dport = 2);
	assert_int_equal(from_pod_a(&k), V_REDIRECT);
	assert_packet(&k, POD_A, 1, POD_B, 2);
	assert_true(macs_are(&k, 2) && packet_view(&k).ttl == 63);
	k = tcp(.src = POD_R, .sport = 1, .dst = POD_B, .dport = 2);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_true(macs_are(&k, 2) && packet_sound(&k));
}

static void not_ours_unchanged(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	struct packet ks[] = {
		tcp(.src = CLIENT, .sport = 1, .dst = NODE, .dport = 22, .tcp_flags = F_SYN),
		tcp(.src = CLIENT, .sport = 1, .dst = NODE, .dport = 30999, .tcp_flags = F_SYN),
		udp(.src = CLIENT, .sport = 1, .dst = "172.31.0.255", .dport = 2, .payload = 9),
		packet_build(
			(struct packet_spec){.proto = IPPROTO_ICMP, .src = CLIENT, .dst = NODE}),
		packet_build((struct packet_spec){.proto = 47, .src = CLIENT, .dst = NODE}),
	};
	for (size_t i = 0; i < ARRAY_LEN(ks); i++)
		for (int h = HOOK_TO_POD; h < HOOK_VX; h++) {
			struct packet k = ks[i];
			assert_int_equal(run_on((enum xb_hook)h, node.uplink, &k), V_PASS);
			assert_int_equal(k.len, ks[i].len);
			assert_memory_equal(k.b, ks[i].b, k.len);
		}
	struct packet k = tcp(.src = POD_A, .sport = 1, .dst = POD_R, .dport = 2), before = k;
	assert_int_equal(from_pod_a(&k), V_PASS);
	assert_memory_equal(k.b, before.b, k.len);
	put16(k.b + 12, 0x0806); /* ARP */
	assert_int_equal(from_pod_a(&k), V_PASS);
}

#if FAMILY == 6
static void passes_everywhere(const struct packet *in)
{
	for (int h = HOOK_POD; h < HOOK_VX; h++) {
		struct packet k = *in;
		assert_int_equal(
			run_on((enum xb_hook)h, h <= HOOK_TO_POD ? node.lxa : node.uplink, &k),
			V_PASS);
		assert_memory_equal(k.b, in->b, in->len);
	}
}

/* Neighbour discovery (RFC 4861) and what stays on the link is the stack's, whoever sends it. */
static void link_traffic_passes(void **state)
{
	(void)state;
	static const char *const src[] = {"fe80::1", "fd00::10.244.1.10", "::"},
				 *const dst[] = {"ff02::1", "ff02::1:ff00:1", "fe80::2"};
	for (uint8_t type = 130; type <= 137; type++)
		for (size_t i = 0; i < 9; i++) {
			struct packet k = packet_build((struct packet_spec){
				.proto = IPPROTO_ICMP, .src = POD_A, .dst = VIP, .payload = 20});
			uint8_t *ip = k.b + ETH;
			inet_pton(AF_INET6, src[i / 3], ip + 8);
			inet_pton(AF_INET6, dst[i % 3], ip + 24);
			ip[IPH] = type;
			passes_everywhere(&k);
		}
	struct packet k = udp(.src = POD_A, .sport = 546, .dst = VIP, .dport = 547);
	inet_pton(AF_INET6, "fe80::1", k.b + ETH + 8);
	inet_pton(AF_INET6, "ff02::1:2", k.b + ETH + 24); /* DHCPv6 */
	passes_everywhere(&k);
}
#endif

static void truncated(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	struct packet full = tcp(.src = CLIENT, .sport = 1, .dst = VIP, .dport = 80,
		.tcp_flags = F_SYN, .options = 5 * OPTION_STEP);
	for (size_t n = ETH + IPH; n < full.len; n++) {
		struct packet k = full;
		k.len = n;
		int v = from_nic(&k);
		assert_true(v == V_PASS);
		assert_memory_equal(k.b, full.b, n);
	}
	for (int ihl = 0; ihl < 16; ihl++) {
		struct packet k = full;
		k.b[ETH] = (uint8_t)((FIRST_BYTE & 0xf0) | ihl);
		(void)from_nic(&k);
	}
}

/* Whatever is thrown at it: what is not for a service passes unchanged, and nothing is mangled.
 * (The test call itself refuses frames without a whole IP header.) */
static void random_packets(void **state)
{
	(void)state;
	unsigned seed = 42;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	for (int i = 0; i < 20000; i++) {
		struct packet k = {.len = ETH + IPH + (size_t)rand_r(&seed) % 200};
		for (size_t j = 0; j < k.len; j++)
			k.b[j] = (uint8_t)rand_r(&seed);
		put16(k.b + 12, i % 16 ? ETHERTYPE : (uint32_t)rand_r(&seed) & 0xffff);
		if (i % 4)
			k.b[ETH] = FIRST_BYTE;
		if (i % 8 > 4 && k.len > ETH + IPH)
			k.b[ETH + PROTO_AT] = (const uint8_t[]){ICMP_PROTO, 6, 17}[i % 3];
		/* neither a service nor a pod address */
		k.b[ETH + ADDR_AT + ADDR_N] = 8;
		struct packet before = k;
		int v = run_on(i & 1 ? HOOK_NIC_IN : HOOK_HOST, node.uplink, &k);
		assert_int_equal(v, V_PASS);
		assert_int_equal(k.len, before.len);
		assert_memory_equal(k.b, before.b, k.len);
	}
}

static struct xb_gc sweep(void)
{
	struct xb_gc gc = {0};
	LIBBPF_OPTS(bpf_test_run_opts, o, .ctx_in = &gc, .ctx_size_in = sizeof gc);
	assert_int_equal(bpf_prog_test_run_opts(maps_prog_fd_by_name(node.m, "ct_gc"), &o), 0);
	return gc;
}

/* Makes every entry of a table as old as n ticks. */
static void grow_old(enum map_id id, uint32_t n)
{
	struct FAM_STRUCT(tuple) key, *prev = NULL;
	struct FAM_STRUCT(ct) e;
	for (; bpf_map_get_next_key(maps_fd(node.m, id), prev, &key) == 0; prev = &key) {
		bpf_map_lookup_elem(maps_fd(node.m, id), &key, &e);
		e.last -= n;
		bpf_map_update_elem(maps_fd(node.m, id), &key, &e, BPF_EXIST);
	}
}

static void sweeps(void **state)
{
	(void)state;
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, one_b, 1);
	svc_put(2, VIP, 53, IPPROTO_UDP, FE_CLUSTER, 0, one_b, 1);
	handshake(40000);
	struct packet k = udp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 53);
	from_pod_a(&k);
	struct xb_gc gc = sweep();
	assert_int_equal(gc.checked, 4);
	assert_int_equal(gc.expired + gc.stale, 0);
	/* the backend is replaced: the datagram flow is forgotten, the connection is not */
	svc_put(2, VIP, 53, IPPROTO_UDP, FE_CLUSTER, 0, remote, 1);
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, remote, 1);
	gc = sweep();
	assert_int_equal(gc.stale, 2);
	assert_int_equal(entries(FAM_MAP(ct)), 2);
	assert_int_equal(entries(FAM_MAP(ctn)), 0);
	k = udp(.src = POD_A, .sport = 40000, .dst = VIP, .dport = 53);
	from_pod_a(&k);
	assert_string_equal(packet_view(&k).dst, POD_R);
	/* idle for longer than a datagram flow lives; a connection lives longer */
	grow_old(FAM_MAP(ctn), 100);
	grow_old(FAM_MAP(ct), 100);
	gc = sweep();
	assert_int_equal(gc.expired, 2);
	assert_int_equal(entries(FAM_MAP(ct)), 2);
	/* a packet in one direction keeps both */
	grow_old(FAM_MAP(ct), 79000);
	k = tcp(.src = POD_B, .sport = 8080, .dst = POD_A, .dport = 40000, .tcp_flags = F_ACK);
	from_pod_b(&k);
	struct FAM_STRUCT(tuple) key = {.sport = 40000, .dport = 80, .proto = IPPROTO_TCP};
	struct FAM_STRUCT(ct) e;
	addr_put(key.saddr, POD_A);
	addr_put(key.daddr, VIP);
	assert_int_equal(bpf_map_lookup_elem(maps_fd(node.m, FAM_MAP(ct)), &key, &e), 0);
	e.last -= 5000;
	bpf_map_update_elem(maps_fd(node.m, FAM_MAP(ct)), &key, &e, BPF_EXIST);
	assert_int_equal(sweep().expired, 0);
	grow_old(FAM_MAP(ct), 90000);
	gc = sweep();
	assert_int_equal(gc.expired, 2);
	assert_int_equal(entries(FAM_MAP(ct)), 0);
}

static void drops_are_counted(void **state)
{
	(void)state;
	struct packet k = tcp(.src = "9.9.9.9", .sport = 4, .dst = POD_B, .dport = 81);
	uint64_t n = stat_pkts(DROP_SPOOF);
	assert_int_equal(from_pod_a(&k), V_DROP);
	assert_int_equal(stat_pkts(DROP_SPOOF), n + 1);
}

/* Least connections: the better of two, by counts that follow the flows and do not drift. */
static void least_connections(void **state)
{
	(void)state;
	struct backend two[2] = {{"10.244.2.1", 80, false}, {"10.244.2.2", 80, false}};
	struct xb_open *open = (struct xb_open *)maps_mem(node.m, MAP_be_open) + 64;
	struct programmer *p = NULL;
	struct err e = {0};
	struct xb_gc gc;
	unsigned seen[2] = {0};
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, SVC_LEAST, two, 2);
	open[0] = (struct xb_open){.open = 1000};
	open[1] = (struct xb_open){0};
	for (uint16_t i = 0; i < 200; i++) {
		struct packet k = tcp(.src = POD_A, .sport = (uint16_t)(2000 + i), .dst = VIP,
			.dport = 80, .tcp_flags = F_SYN);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
		seen[k.b[DST_LOW] - 1]++;
	}
	/* the loaded one only when both looks fell on it: a quarter */
	assert_in_range(seen[0], 15, 90);
	assert_int_equal(open[0].open, 1000 + seen[0]);
	assert_int_equal(open[1].open, seen[1]);
	/* a client's end counts down, once */
	for (int i = 0; i < 2; i++) {
		struct packet k = tcp(.src = POD_A, .sport = 2000, .dst = VIP, .dport = 80,
			.tcp_flags = F_FIN | F_ACK);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
	}
	assert_int_equal(open[0].open + open[1].open, 1000 + 199);
	/* the sweep finds the truth, again and again */
	assert_int_equal(programmer_new(node.m, NULL, &p, &e), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(programmer_sweep(p, &gc), 0);
		assert_int_equal(open[0].open + open[1].open, 199);
		assert_in_range(open[0].open, seen[0] - 1, seen[0]);
	}
	programmer_free(p);
	/* and now they even out (the programmer has cleared a row that it does not know) */
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, SVC_LEAST, two, 2);
	for (uint16_t i = 0; i < 400; i++) {
		struct packet k = tcp(.src = POD_A, .sport = (uint16_t)(4000 + i), .dst = VIP,
			.dport = 80, .tcp_flags = F_SYN);
		assert_int_equal(from_pod_a(&k), V_REDIRECT);
	}
	assert_in_range(open[0].open, 280, 319);
	assert_in_range(open[1].open, 280, 319);
	open[0] = open[1] = (struct xb_open){0};
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup(fn, node_reset)
	const struct CMUnitTest tests[] = {
		T(clusterip_tcp),
		T(promoted_after_handshake),
		T(clusterip_udp),
		T(udp_csum_that_becomes_zero),
		T(hairpin),
		T(no_endpoint_rst),
		T(no_endpoint_icmp),
		T(unknown_port_of_service_range),
		T(spoofed),
		T(clusterip_remote),
		T(clusterip_to_other_node),
		T(nodeport_local),
		T(nodeport_remote),
		T(nodeport_on_other_address),
		T(traffic_policy_local),
		T(spread_and_affinity),
		T(least_connections),
		T(same_flow_same_backend),
		T(tuple_reuse),
		T(reply_clash),
		T(direct_clash),
		T(direct_after_close),
		T(left_behind_reply_tuple),
		T(icmp_error_inner),
		T(icmp_error_snat),
		T(fragments),
		T(fragment_checksum),
		T(ip_options),
		T(ttl_used_up),
		T(narrow_uplink),
		T(source_ranges),
		T(host_to_service),
		T(host_to_external_address),
		T(host_network_backend),
		T(direct_to_pod),
		T(not_ours_unchanged),
		T(truncated),
#if FAMILY == 6
		T(link_traffic_passes),
#endif
		T(random_packets),
		T(drops_are_counted),
		T(sweeps)
	};
	return cmocka_run_group_tests_name("packets", tests, node_setup, node_teardown);
}

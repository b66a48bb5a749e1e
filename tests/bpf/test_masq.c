/* SPDX-License-Identifier: Apache-2.0
 * Pods to outside under the node's address: which port they get, echo requests, and what is left
 * alone. */
#ifndef FAMILY
#define FAMILY 4
#endif
#include "harness.h"
#include <errno.h>
#include <time.h>
#include <unistd.h>
#include "nomasq.h"
#include "xebec/base/buf.h"

#define OUTSIDE	   "192.0.2.7"
#define ROUTER	   "172.31.0.1"
#define ECHO_REPLY (FAMILY == 6 ? 129 : 0)

static int out_of_pod(struct packet *k)
{
	node.forwarded_from = node.lxa;
	int r = run_on(HOOK_NIC_OUT, node.uplink, k);
	node.forwarded_from = 0;
	return r;
}

static int out_of_node(struct packet *k)
{
	return run_on(HOOK_NIC_OUT, node.uplink, k);
}

static struct packet syn(uint16_t sport)
{
	return tcp(.src = POD_A, .sport = sport, .dst = OUTSIDE, .dport = 443, .tcp_flags = F_SYN);
}

static void ports_are_kept(void **state)
{
	(void)state;
	static const uint16_t kept[] = {80, 1023, 1024, 29999, 32768, 45678, 65535};
	for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
		struct packet k = syn(kept[i]);
		assert_int_equal(out_of_pod(&k), V_PASS);
		assert_packet(&k, NODE, kept[i], OUTSIDE, 443);
		k = tcp(.src = OUTSIDE, .sport = 443, .dst = NODE, .dport = kept[i],
			.tcp_flags = F_SYN | F_ACK);
		assert_int_equal(from_nic(&k), V_REDIRECT);
		assert_packet(&k, OUTSIDE, 443, POD_A, kept[i]);
		k = udp(.src = POD_A, .sport = kept[i], .dst = OUTSIDE, .dport = 443);
		assert_int_equal(out_of_pod(&k), V_PASS);
		assert_packet(&k, NODE, kept[i], OUTSIDE, 443);
	}
}

static void assert_other_port(const struct packet *k)
{
	struct packet_view v = packet_view(k);
	assert_string_equal(v.src, NODE);
	assert_true(v.sport >= 1024 && v.sport <= 29999);
	assert_true(packet_sound(k));
}

static void node_ports_are_not(void **state)
{
	(void)state;
	struct packet k = syn(30000);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_other_port(&k);
	k = syn(32767);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_other_port(&k);
}

/* Two pods, one port: the second gets another, and each its own replies. */
static void taken_by_another_pod(void **state)
{
	(void)state;
	struct packet k = syn(50000);
	assert_int_equal(out_of_pod(&k), V_PASS);
	k = tcp(.src = POD_B, .sport = 50000, .dst = OUTSIDE, .dport = 443, .tcp_flags = F_SYN);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_other_port(&k);
	uint16_t got = packet_view(&k).sport;
	k = tcp(.src = OUTSIDE, .sport = 443, .dst = NODE, .dport = got, .tcp_flags = F_ACK);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_packet(&k, OUTSIDE, 443, POD_B, 50000);
	k = tcp(.src = OUTSIDE, .sport = 443, .dst = NODE, .dport = 50000, .tcp_flags = F_ACK);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_packet(&k, OUTSIDE, 443, POD_A, 50000);
}

static struct sockaddr_storage any_address(uint16_t port)
{
	struct sockaddr_storage a = {.ss_family = FAMILY == 6 ? AF_INET6 : AF_INET};
	((struct sockaddr_in *)&a)->sin_port = htons(port); /* in the same place in both */
	return a;
}

/* A socket of the node itself. */
static int node_socket(int type, uint16_t port)
{
	struct sockaddr_storage a = any_address(port);
	int fd = socket(a.ss_family, type | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (void *)&a, sizeof a), 0);
	return fd;
}

/* A connection that the node itself is opening. */
static int node_connect(const char *to, uint16_t sport, uint16_t dport)
{
	struct sockaddr_storage a = any_address(dport);
	int fd = node_socket(SOCK_STREAM | SOCK_NONBLOCK, sport);
	addr_put((uint8_t *)&a + (FAMILY == 6 ? 8 : 4), to);
	assert_int_equal(connect(fd, (void *)&a, sizeof a), -1);
	assert_int_equal(errno, EINPROGRESS);
	return fd;
}

static void taken_by_the_node(void **state)
{
	(void)state;
	AUTO_CLOSE int u = node_socket(SOCK_DGRAM, 40001);
	AUTO_CLOSE int l = node_socket(SOCK_STREAM, 40002);
	AUTO_CLOSE int c = node_connect("172.31.0.77", 40003, 443);
	assert_int_equal(listen(l, 1), 0);
	struct packet k = udp(.src = POD_A, .sport = 40001, .dst = OUTSIDE, .dport = 53);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_other_port(&k);
	/* a listener has no business with what comes from that port there */
	k = syn(40002);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_packet(&k, NODE, 40002, OUTSIDE, 443);
	/* only towards the place that the node's connection goes to */
	k = syn(40003);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_packet(&k, NODE, 40003, OUTSIDE, 443);
	k = tcp(.src = POD_A, .sport = 40003, .dst = "172.31.0.77", .dport = 443,
		.tcp_flags = F_SYN);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_other_port(&k);
}

/* One direction of an open connection. */
static void track(
	const char *src, uint16_t sport, const char *dst, uint16_t dport, struct FAM_STRUCT(ct) e)
{
	struct timespec now;
	struct FAM_STRUCT(tuple) key = {.sport = sport, .dport = dport, .proto = IPPROTO_TCP};
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	addr_put(key.saddr, src);
	addr_put(key.daddr, dst);
	e.last = (uint32_t)(((uint64_t)now.tv_sec * 1000000000u) >> XB_TICK_SHIFT);
	e.to.sport = sport, e.to.dport = dport, e.to.proto = IPPROTO_TCP;
	assert_int_equal(bpf_map_update_elem(maps_fd(node.m, FAM_MAP(ct)), &key, &e, BPF_ANY), 0);
}

/* Pod A speaks from that port of the node. */
static void port_taken(uint16_t port)
{
	struct FAM_STRUCT(ct) fwd = {.flags = CT_SNAT}, rev = {.flags = CT_REV | CT_SEEN};
	addr_put(fwd.to.saddr, NODE);
	addr_put(fwd.to.daddr, OUTSIDE);
	addr_put(rev.to.saddr, OUTSIDE);
	addr_put(rev.to.daddr, POD_A);
	track(POD_A, port, OUTSIDE, 443, fwd);
	track(OUTSIDE, 443, NODE, port, rev);
}

/* No port is free towards one place: dropped and counted, nobody's flow taken over; elsewhere all
 * are free. */
static void exhausted(void **state)
{
	(void)state;
	uint64_t before = stat_pkts(DROP_SNAT_PORTS);
	for (uint16_t port = 1024; port <= 29999; port++)
		port_taken(port);
	for (uint16_t port = 2000; port < 2050; port++) {
		struct packet k = tcp(.src = POD_B, .sport = port, .dst = OUTSIDE, .dport = 443,
			.tcp_flags = F_SYN);
		assert_int_equal(out_of_pod(&k), V_DROP);
	}
	assert_int_equal(stat_pkts(DROP_SNAT_PORTS), before + 50);
	struct packet k =
		tcp(.src = POD_B, .sport = 2000, .dst = OUTSIDE, .dport = 444, .tcp_flags = F_SYN);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_packet(&k, NODE, 2000, OUTSIDE, 444);
	k = tcp(.src = OUTSIDE, .sport = 443, .dst = NODE, .dport = 2000, .tcp_flags = F_ACK);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_packet(&k, OUTSIDE, 443, POD_A, 2000);
}

static struct packet echo(
	const char *src, const char *dst, uint8_t type, uint16_t id, uint16_t frag)
{
	struct packet k = packet_build((struct packet_spec){.src = src,
		.dst = dst,
		.proto = IPPROTO_ICMP,
		.payload = 40,
		.id = 99,
		.frag = frag});
	uint8_t *ip = k.b + ETH, *icmp = ip + headers_of(ip);
	icmp[0] = type;
	put16(icmp + 4, id);
	put16(icmp + 6, 1);
	packet_l4_csum(ip, icmp, 48, ICMP_PROTO);
	return k;
}

static uint16_t echo_id(const struct packet *k)
{
	const uint8_t *ip = k->b + ETH;
	return (uint16_t)get16(ip + headers_of(ip) + 4);
}

#define assert_echo(k, s, d, i)                                                                    \
	do {                                                                                       \
		struct packet_view v_ = packet_view(k);                                            \
		assert_string_equal(v_.src, s);                                                    \
		assert_string_equal(v_.dst, d);                                                    \
		assert_int_equal(echo_id(k), i);                                                   \
		assert_true(packet_sound(k));                                                      \
	} while (0)

static void ping(void **state)
{
	(void)state;
	uint64_t flows = stat_pkts(CNT_MASQ);
	for (int i = 0; i < 3; i++) { /* the second one moves it to the table of established */
		struct packet k = echo(POD_A, OUTSIDE, ICMP_ECHO_TYPE, 0x4711, 0);
		assert_int_equal(out_of_pod(&k), V_PASS);
		assert_echo(&k, NODE, OUTSIDE, 0x4711);
		k = echo(OUTSIDE, NODE, ECHO_REPLY, 0x4711, 0);
		assert_int_equal(from_nic(&k), V_PASS);
		assert_echo(&k, OUTSIDE, POD_A, 0x4711);
	}
	assert_int_equal(stat_pkts(CNT_MASQ), flows + 1);
}

static void ping_same_id(void **state)
{
	(void)state;
	struct packet k = echo(POD_A, OUTSIDE, ICMP_ECHO_TYPE, 7, 0);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_echo(&k, NODE, OUTSIDE, 7);
	k = echo(POD_B, OUTSIDE, ICMP_ECHO_TYPE, 7, 0);
	assert_int_equal(out_of_pod(&k), V_PASS);
	uint16_t b = echo_id(&k);
	assert_int_not_equal(b, 7);
	assert_echo(&k, NODE, OUTSIDE, b);
	/* the node's own, too */
	k = echo(NODE, OUTSIDE, ICMP_ECHO_TYPE, 7, 0);
	assert_int_equal(out_of_node(&k), V_PASS);
	uint16_t n = echo_id(&k);
	assert_true(n != 7 && n != b);
	k = echo(OUTSIDE, NODE, ECHO_REPLY, b, 0);
	assert_int_equal(from_nic(&k), V_PASS);
	assert_echo(&k, OUTSIDE, POD_B, 7);
	k = echo(OUTSIDE, NODE, ECHO_REPLY, n, 0);
	assert_int_equal(from_nic(&k), V_PASS);
	assert_echo(&k, OUTSIDE, NODE, 7);
	k = echo(OUTSIDE, NODE, ECHO_REPLY, 7, 0);
	assert_int_equal(from_nic(&k), V_PASS);
	assert_echo(&k, OUTSIDE, POD_A, 7);
}

/* Unchanged, byte for byte. */
static void untouched(int (*run)(struct packet *), struct packet k)
{
	struct packet in = k;
	assert_int_equal(run(&k), V_PASS);
	assert_int_equal(k.len, in.len);
	assert_memory_equal(k.b, in.b, in.len);
}

static void left_alone(void **state)
{
	(void)state;
	untouched(out_of_node, echo(NODE, OUTSIDE, ICMP_ECHO_TYPE, 9, 0));
	untouched(from_nic, echo(OUTSIDE, NODE, ECHO_REPLY, 9, 0));
	untouched(from_nic, echo(OUTSIDE, NODE, ICMP_ECHO_TYPE, 9, 0));
	untouched(out_of_pod, echo(POD_A, OUTSIDE, ECHO_REPLY, 9, 0)); /* it was asked by address */
	untouched(out_of_pod, echo(POD_A, POD_R, ICMP_ECHO_TYPE, 9, 0));
	untouched(out_of_pod,
		echo("203.0.113.9", OUTSIDE, ICMP_ECHO_TYPE, 9, 0)); /* no pod of ours */
	untouched(out_of_pod, tcp(.src = POD_A, .sport = 80, .dst = OUTSIDE, .dport = 40000,
				      .tcp_flags = F_SYN | F_ACK));
}

#define FAM_NET(v4, v6) (FAMILY == 6 ? (v6) : (v4))

/* Networks that pods reach under their own addresses. */
static void configured_networks(void **state)
{
	(void)state;
	struct err e = {0};
	const char *pods = "10.244.0.0/16,fd00::10.244.0.0/112";
	const char *list = FAM_NET("203.0.113.0/24,192.0.2.0/29", "fd01::/32,fd00::192.0.2.0/125");
	assert_int_equal(nomasq_set(node.m, list, pods, &e), 0);
	assert_int_equal(nomasq_set(node.m, list, pods, &e), 0);
	untouched(out_of_pod, syn(40000));
	untouched(out_of_pod, echo(POD_A, OUTSIDE, ICMP_ECHO_TYPE, 9, 0));
	struct packet k = tcp(.src = POD_A, .sport = 40000, .dst = "192.0.2.8", .dport = 443,
		.tcp_flags = F_SYN);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_packet(&k, NODE, 40000, "192.0.2.8", 443);
	/* a list that is wrong changes nothing */
	assert_int_equal(nomasq_set(node.m, "192.0.2.0/33", pods, &e), -EINVAL);
	assert_int_equal(nomasq_set(node.m, "10.244.7.0/24", pods, &e), -EINVAL);
	untouched(out_of_pod, syn(40000));
	/* and an empty one takes all away */
	assert_int_equal(nomasq_set(node.m, NULL, pods, &e), 0);
	k = syn(40000);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_packet(&k, NODE, 40000, OUTSIDE, 443);
}

/* Only the first piece has the identifier. */
static void ping_in_pieces(void **state)
{
	(void)state;
	struct packet k = echo(POD_A, OUTSIDE, ICMP_ECHO_TYPE, 77, 0x2000);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_echo(&k, NODE, OUTSIDE, 77);
	k = echo(POD_A, OUTSIDE, 0xee, 0xeeee, 0x2006);
	assert_int_equal(out_of_pod(&k), V_PASS);
	assert_string_equal(packet_view(&k).src, NODE);
	k = echo(OUTSIDE, NODE, ECHO_REPLY, 77, 0x2000);
	assert_int_equal(from_nic(&k), V_PASS);
	assert_echo(&k, OUTSIDE, POD_A, 77);
	k = echo(OUTSIDE, NODE, 0xee, 0xeeee, 6);
	assert_int_equal(from_nic(&k), V_REDIRECT);
	assert_string_equal(packet_view(&k).dst, POD_A);
}

/* A router on the way has an opinion on the pod's echo request: traceroute -I, path MTU. */
static void errors_about_pings(void **state)
{
	(void)state;
	struct packet first = echo(POD_B, OUTSIDE, ICMP_ECHO_TYPE, 7, 0);
	struct packet asked = echo(POD_A, OUTSIDE, ICMP_ECHO_TYPE, 7, 0), seen = asked;
	assert_int_equal(out_of_pod(&first), V_PASS);
	assert_int_equal(out_of_pod(&seen), V_PASS); /* under another identifier */
	assert_int_not_equal(echo_id(&seen), 7);
	for (size_t n = 8; n <= 48; n += 40) {
		struct packet k = packet_icmp_error(ROUTER, NODE, ICMP_HOPS, &seen, n);
		assert_int_equal(from_nic(&k), V_REDIRECT);
		assert_string_equal(packet_view(&k).src, ROUTER);
		assert_string_equal(packet_view(&k).dst, POD_A);
		assert_true(packet_sound(&k));
		/* inside, what the pod had sent */
		const uint8_t *in = k.b + ETH + IPH + 8;
		assert_memory_equal(in, asked.b + ETH, IPH + n);
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, node_reset)
	const struct CMUnitTest tests[] = {
		T(ports_are_kept),
		T(node_ports_are_not),
		T(taken_by_another_pod),
		T(taken_by_the_node),
		T(ping),
		T(ping_same_id),
		T(left_alone),
		T(configured_networks),
		T(ping_in_pieces),
		T(errors_about_pings),
		T(exhausted),
	};
	return cmocka_run_group_tests_name("masquerade", tests, node_setup, node_teardown);
}

/* SPDX-License-Identifier: Apache-2.0
 * One node for packet tests: a network namespace of its own with an uplink and two pods, the maps
 * in a bpffs of its own, programs run by BPF_PROG_TEST_RUN. Services are written straight into the
 * maps: nothing of the compiler is trusted here. */
#ifndef XEBEC_TEST_BPF_HARNESS_H
#define XEBEC_TEST_BPF_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include "maps.h"
#include "packet_view.h"

#define NODE   "172.31.0.2"
#define CLIENT "172.31.0.1"
#define POD_A  "10.244.1.10"
#define POD_B  "10.244.1.11"
#define POD_R  "10.244.2.20" /* on another node, by route */
#define VIP    "10.96.0.10"

/* Maps and structs of the family under test. */
#if FAMILY == 4
#define FAM_MAP(name)	 MAP_##name##4
#define FAM_STRUCT(name) xb4_##name
#else
#define FAM_MAP(name)	 MAP_##name##6
#define FAM_STRUCT(name) xb6_##name
#endif
static inline struct ip ip_meant(const char *text)
{
	struct ip ip = {.family = FAMILY};
	addr_put(ip.b, text);
	return ip;
}

#define V_PASS	   (-1)
#define V_DROP	   2
#define V_REDIRECT 7

struct node {
	struct maps *m;
	int uplink, lxa, lxb, host, vx;
	int forwarded_from; /* at egress: where the packet came in; 0 = made here */
	char dir[64];
};
extern struct node node;

int node_setup(void **state);
int node_teardown(void **state);
int node_reset(void **state); /* empties tracking between tests */

/* Runs the packet through a hook as if on ifindex; the result replaces *k. */
int run_on(enum xb_hook hook, int ifindex, struct packet *k);
/* As a train of segments of that many bytes (GSO). */
int run_train(enum xb_hook hook, int ifindex, struct packet *k, uint32_t segment);
static inline int from_pod_a(struct packet *k)
{
	return run_on(HOOK_POD, node.lxa, k);
}
static inline int from_pod_b(struct packet *k)
{
	return run_on(HOOK_POD, node.lxb, k);
}
static inline int from_nic(struct packet *k)
{
	return run_on(HOOK_NIC_IN, node.uplink, k);
}

struct backend {
	const char *ip;
	uint16_t port;
	bool local;
};
/* Service number idx with a frontend at ip:port (ip NULL = node port) and these backends. */
void svc_put(uint32_t idx, const char *ip, uint16_t port, uint8_t proto, enum xb_fe_kind kind,
	uint16_t flags, const struct backend *b, size_t n);
void fe_put(uint32_t idx, const char *ip, uint16_t port, uint8_t proto, enum xb_fe_kind kind);
void svc_drop_all(void);
uint64_t stat_pkts(uint32_t i);

#define tcp(...) packet_build((struct packet_spec){.proto = IPPROTO_TCP, __VA_ARGS__})
#define udp(...) packet_build((struct packet_spec){.proto = IPPROTO_UDP, __VA_ARGS__})

/* Asserts addresses and ports, and sound checksums. */
#define assert_packet(k, s, sp, d, dp)                                                             \
	do {                                                                                       \
		struct packet_view v_ = packet_view(k);                                            \
		assert_string_equal(v_.src, s);                                                    \
		assert_string_equal(v_.dst, d);                                                    \
		assert_int_equal(v_.sport, sp);                                                    \
		assert_int_equal(v_.dport, dp);                                                    \
		assert_true(packet_sound(k));                                                      \
	} while (0)

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Random packets through every program. Three promises: what is not for a service is never dropped
 * and never changed; what is translated stays sound, and its reply is the exact reverse; nothing
 * that comes in breaks a program. FUZZ_SEED chooses another run. */
#include "harness.h"

#include <stdlib.h>

static uint64_t rng;

static uint32_t rnd(uint32_t n)
{
	rng = rng * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng >> 33) % n;
}

static bool one_in(uint32_t n)
{
	return rnd(n) == 0;
}

#define PICK(list) ((list)[rnd(ARRAY_LEN(list))])

static const struct backend two[] = {{POD_B, 8080, true}, {POD_R, 8080, false}};
static const struct backend near[] = {{POD_A, 8080, true}, {POD_B, 8080, true}};
#define VIP2 "10.96.0.11"

static int fuzz_reset(void **state)
{
	(void)node_reset(state);
	svc_put(1, VIP, 80, IPPROTO_TCP, FE_CLUSTER, 0, two, 2);
	svc_put(2, VIP, 53, IPPROTO_UDP, FE_CLUSTER, 0, two, 2);
	svc_put(3, NULL, 30080, IPPROTO_TCP, FE_NODEPORT, 0, two, 2);
	svc_put(4, NULL, 30053, IPPROTO_UDP, FE_NODEPORT, 0, two, 2);
	svc_put(5, VIP2, 80, IPPROTO_TCP, FE_CLUSTER, 0, near, 2);
	svc_put(6, VIP2, 53, IPPROTO_UDP, FE_CLUSTER, SVC_AFFINITY, near, 2);
	svc_put(7, VIP2, 81, IPPROTO_TCP, FE_CLUSTER, 0, NULL, 0);
	return 0;
}

static int at(enum xb_hook h)
{
	return h == HOOK_POD || h == HOOK_TO_POD ? node.lxa
	       : h == HOOK_HOST			 ? node.host
						 : node.uplink;
}

/* ------------------------------------------------------------------ foreign packets */

static struct packet noise(void)
{
	struct packet k = {.len = ETH + IPH + rnd(400)};
	for (size_t i = 0; i < k.len; i++)
		k.b[i] = (uint8_t)rnd(256);
	put16(k.b + 12, ETHERTYPE);
	if (!one_in(8))
		k.b[ETH] = FIRST_BYTE;
	return k;
}

static unsigned some_options(void)
{
	return OPTION_STEP * rnd(40 / OPTION_STEP + 1);
}

static struct packet proper(const char *src, const char *dst)
{
	static const uint8_t protos[] = {IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, 47, 132, 50};
	static const uint16_t frags[] = {0, 0, 0, 0x4000, 0x2000, 0x2010, 100};
	return packet_build((struct packet_spec){.src = src,
		.dst = dst,
		.sport = (uint16_t)rnd(65536),
		.dport = (uint16_t)rnd(65536),
		.proto = PICK(protos),
		.tcp_flags = (uint8_t)rnd(64),
		.ttl = (uint8_t)(1 + rnd(255)),
		.id = (uint16_t)rnd(65536),
		.frag = PICK(frags),
		.options = some_options(),
		.payload = rnd(1200)});
}

static void mutate(struct packet *k)
{
	for (uint32_t n = rnd(6); n; n--)
		k->b[12 + rnd((uint32_t)k->len - 12)] ^= (uint8_t)(1 << rnd(8));
	if (one_in(4))
		k->len = ETH + IPH + rnd((uint32_t)k->len - ETH - IPH + 1);
	if (one_in(16))
		put16(k->b + 12, one_in(2) ? 0x8100 : 0x0806);
}

static struct packet foreign(const char *src, const char *dst)
{
	struct packet k, inner;
	if (one_in(3)) {
		k = noise();
	} else if (one_in(4)) { /* an error about somebody else's packet */
		inner = proper(dst, "192.0.2.99");
		k = packet_icmp_error(
			src, dst, (uint8_t)rnd(19), (uint8_t)rnd(6), &inner, 8 + rnd(20));
	} else {
		k = proper(src, dst);
	}
	if (one_in(2))
		mutate(&k);
	addr_put(k.b + ETH + ADDR_AT, src);
	addr_put(k.b + ETH + ADDR_AT + ADDR_N, dst);
	return k;
}

static void fail_with(const char *why, enum xb_hook h, int v, const struct packet *in)
{
	print_error("%s: hook %d verdict %d, %zu bytes:", why, (int)h, v, in->len);
	for (size_t i = 0; i < in->len && i < 120; i++)
		print_error("%s%02x", i % 16 ? " " : "\n", in->b[i]);
	print_error("\n");
	fail();
}

/* Headers may have been mutated: wherever a node port could be read, it is one. */
static bool mentions(const struct packet *k, uint16_t port)
{
	for (size_t i = ETH + IPH; i + 2 <= k->len; i++)
		if (get16(k->b + i) == port)
			return true;
	return false;
}

static void not_ours_pass_unchanged(void **state)
{
	(void)state;
	static const char *const to[] = {
		"192.0.2.1", "10.95.255.255", "10.97.0.0", "172.31.0.9", NODE, POD_R, "127.0.0.1"};
	static const char *const from[] = {CLIENT, "198.51.100.7", POD_R, NODE};
	for (int i = 0; i < 60000; i++) {
		enum xb_hook h = (enum xb_hook)rnd(HOOK_VX);
		const char *src = h == HOOK_POD ? POD_A : PICK(from), *dst = PICK(to);
		struct packet k = foreign(src, dst), before = k;
		if (strcmp(dst, NODE) == 0 && (mentions(&k, 30080) || mentions(&k, 30053)))
			continue;
		int v = run_on(h, at(h), &k);
		if (v != V_PASS || k.len != before.len || memcmp(k.b, before.b, k.len) != 0)
			fail_with("not ours", h, v, &before);
	}
}

/* To a pod of this node: by the short way or by the stack, changed in hop count and MACs only. */
static void to_pods_only_hops_change(void **state)
{
	(void)state;
	static const char *const from[] = {CLIENT, "198.51.100.7", POD_R};
	for (int i = 0; i < 30000; i++) {
		enum xb_hook h = (enum xb_hook)rnd(HOOK_VX);
		struct packet k = foreign(h == HOOK_POD ? POD_A : PICK(from), POD_B), before = k;
		int v = run_on(h, at(h), &k);
		if (v == V_PASS && k.len == before.len && memcmp(k.b, before.b, k.len) == 0)
			continue;
		bool short_way = v == V_REDIRECT && (h == HOOK_POD || h == HOOK_NIC_IN) &&
				 k.len == before.len &&
				 k.b[ETH + HOPS_AT] + 1 == before.b[ETH + HOPS_AT];
		memcpy(k.b, before.b, 12);
		memcpy(k.b + ETH + HOPS_AT, before.b + ETH + HOPS_AT, 1);
		if (FAMILY == 4) /* the header's checksum */
			memcpy(k.b + ETH + 10, before.b + ETH + 10, 2);
		if (!short_way || memcmp(k.b, before.b, k.len) != 0)
			fail_with("to a pod", h, v, &before);
	}
}

/* ------------------------------------------------------------------ service packets */

struct way {
	enum xb_hook hook;
	const char *src, *dst;
	uint16_t dport;
	uint8_t proto;
};

static const struct way ways[] = {
	{HOOK_POD, POD_A, VIP, 80, IPPROTO_TCP},
	{HOOK_POD, POD_A, VIP2, 80, IPPROTO_TCP},
	{HOOK_POD, POD_A, VIP, 53, IPPROTO_UDP},
	{HOOK_POD, POD_A, VIP2, 53, IPPROTO_UDP},
	{HOOK_POD, POD_A, NODE, 30080, IPPROTO_TCP},
	{HOOK_NIC_IN, CLIENT, NODE, 30080, IPPROTO_TCP},
	{HOOK_NIC_IN, CLIENT, NODE, 30053, IPPROTO_UDP},
	{HOOK_NIC_IN, "172.31.0.77", NODE, 30080, IPPROTO_TCP},
	{HOOK_NIC_IN, POD_R, NODE, 30080, IPPROTO_TCP},
	{HOOK_HOST, NODE, VIP, 80, IPPROTO_TCP},
	{HOOK_HOST, NODE, VIP2, 53, IPPROTO_UDP},
	{HOOK_HOST, NODE, NODE, 30080, IPPROTO_TCP},
};

static struct packet request(const struct way *w)
{
	static const uint8_t flags[] = {F_SYN, F_SYN, F_ACK, F_ACK | F_FIN, F_RST, F_ACK | F_RST};
	return packet_build((struct packet_spec){.src = w->src,
		.dst = w->dst,
		.sport = (uint16_t)(40000 + rnd(64)), /* few: ports must clash */
		.dport = w->dport,
		.proto = w->proto,
		.tcp_flags = PICK(flags),
		.ttl = (uint8_t)(2 + rnd(254)),
		.id = (uint16_t)rnd(65536),
		.frag = one_in(8)   ? 0x2000
			: one_in(2) ? 0x4000
				    : 0,
		.options = one_in(4) ? some_options() : 0,
		.udp_no_csum = FAMILY == 4 && one_in(4),
		.payload = rnd(1200)});
}

/* From wherever the answer to this packet comes. */
static int answer_in(struct packet *k)
{
	const char *src = packet_view(k).src;
	if (strcmp(src, POD_A) == 0)
		return from_pod_a(k);
	return strcmp(src, POD_B) == 0 ? from_pod_b(k) : from_nic(k);
}

static bool reversed(const struct packet_view *a, const struct packet_view *b)
{
	return strcmp(a->src, b->dst) == 0 && strcmp(a->dst, b->src) == 0 && a->sport == b->dport &&
	       a->dport == b->sport;
}

static void answers_reverse(const struct way *w, const struct packet *in, const struct packet *out)
{
	struct packet_view a = packet_view(in), t = packet_view(out);
	struct packet k = packet_build((struct packet_spec){.src = t.dst,
		.dst = t.src,
		.sport = t.dport,
		.dport = t.sport,
		.proto = w->proto,
		.tcp_flags = F_ACK,
		.options = one_in(4) ? some_options() : 0,
		.udp_no_csum = FAMILY == 4 && one_in(4),
		.payload = rnd(1200)});
	int v = answer_in(&k);
	struct packet_view b = packet_view(&k);
	if (v != V_REDIRECT || !packet_sound(&k) || !reversed(&a, &b))
		fail_with("answer is not the reverse", w->hook, v, in);
}

/* An error about the translated packet: its sender must recognise what it sent. */
static void error_reverses(const struct way *w, const struct packet *in, const struct packet *out)
{
	static const uint8_t types[] = {ICMP_ERRORS};
	struct packet_view a = packet_view(in), t = packet_view(out);
	size_t room = t.ip_len - t.ihl;
	struct packet k = packet_icmp_error("172.31.0.3", t.src, PICK(types), (uint8_t)rnd(5), out,
		8 + rnd((uint32_t)(room < 500 ? room : 500) - 7));
	int v = from_nic(&k);
	struct packet_view b = ip_view(k.b + ETH + IPH + 8, k.len - ETH - IPH - 8);
	if (v != V_REDIRECT || !packet_sound(&k) || strcmp(packet_view(&k).dst, a.src) != 0 ||
		strcmp(b.src, a.src) != 0 || strcmp(b.dst, a.dst) != 0 || b.sport != a.sport ||
		b.dport != a.dport)
		fail_with("error about it is not translated", w->hook, v, in);
}

static void service_round(void)
{
	const struct way *w = &PICK(ways);
	struct packet in = request(w), out = in;
	int v = run_on(w->hook, at(w->hook), &out);
	struct packet_view a = packet_view(&in), t = packet_view(&out);
	bool known =
		strcmp(t.dst, POD_A) == 0 || strcmp(t.dst, POD_B) == 0 || strcmp(t.dst, POD_R) == 0;
	size_t body = in.len - ETH - a.ihl - 20;
	if (v != V_REDIRECT || !known || t.dport != 8080 || out.len != in.len ||
		!packet_sound(&out) || t.ttl + (w->hook != HOOK_HOST) != a.ttl ||
		(in.len > ETH + a.ihl + 20 &&
			memcmp(in.b + in.len - body, out.b + in.len - body, body) != 0))
		fail_with("not translated well", w->hook, v, &in);
	if (one_in(2))
		error_reverses(w, &in, &out);
	answers_reverse(w, &in, &out);
}

static void services_hold(void **state)
{
	for (int i = 0; i < 40000; i++) {
		if (i % 5000 == 0)
			(void)fuzz_reset(state);
		service_round();
	}
}

/* Broken packets to services, beside living flows: any verdict, but no harm. */
static void broken_packets(void **state)
{
	(void)state;
	for (int i = 0; i < 60000; i++) {
		const struct way *w = &PICK(ways);
		struct packet k = request(w);
		if (one_in(3)) {
			struct packet inner = request(w);
			k = packet_icmp_error(
				w->src, w->dst, (uint8_t)(3 + rnd(10)), 0, &inner, 8 + rnd(20));
		}
		mutate(&k);
		enum xb_hook h = one_in(4) ? (enum xb_hook)rnd(HOOK_VX) : w->hook;
		struct packet in = k;
		int v = run_on(h, at(h), &k);
		if ((v != V_PASS && v != V_DROP && v != V_REDIRECT) || k.len > in.len + 64)
			fail_with("broken packet", h, v, &in);
	}
	(void)fuzz_reset(state);
	for (int i = 0; i < 2000; i++)
		service_round();
}

int main(void)
{
	const char *seed = getenv("FUZZ_SEED");
	rng = seed ? strtoull(seed, NULL, 10) : 1;
#define T(fn) cmocka_unit_test_setup(fn, fuzz_reset)
	const struct CMUnitTest tests[] = {T(not_ours_pass_unchanged), T(to_pods_only_hops_change),
		T(services_hold), T(broken_packets)};
	return cmocka_run_group_tests_name("fuzz", tests, node_setup, node_teardown);
}

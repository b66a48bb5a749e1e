/* SPDX-License-Identifier: Apache-2.0
 * Services and slices in, wanted rows out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <netinet/in.h>
#include "hostwatch.h"

#define MAX_SLICES 4

struct fixture {
	struct svc_spec *svc;
	struct slice_spec *slices[MAX_SLICES];
	size_t n_slices;
	struct arena mem;
	struct want_svc *rows;
	int n;
};

static struct jv json(const char *z)
{
	struct str s = str_of(z);
	assert_true(jv_valid(s, 32));
	return jv_of(s);
}

static void compile_as(
	struct fixture *f, const char *zone, const char *svc, const char *const *slices)
{
	const struct where me = {.node = STR("n1"), .zone = str_of(zone)};
	*f = (struct fixture){.svc = svc_spec_new(json(svc))};
	for (; slices[f->n_slices]; f->n_slices++)
		f->slices[f->n_slices] = slice_spec_new(json(slices[f->n_slices]));
	f->n = compile_service("default", "web", f->svc,
		(const struct slice_spec *const *)f->slices, f->n_slices, &me, &f->mem, &f->rows);
}

#define compile(f, svc, ...) compile_as(f, "", svc, (const char *const[]){__VA_ARGS__, NULL})

static void done(struct fixture *f)
{
	svc_spec_free(f->svc);
	for (size_t i = 0; i < f->n_slices; i++)
		slice_spec_free(f->slices[i]);
	arena_free(&f->mem);
}

/* "10.244.1.1:80 10.244.1.2:80" of a choice list */
static const char *listed(const struct want_svc *w, const uint32_t *set, size_t n)
{
	static char out[1024];
	size_t len = 0;
	out[0] = 0;
	for (size_t i = 0; i < n; i++) {
		char ip[46];
		ip_format(&w->bes[set[i]].ip, ip);
		len += (size_t)snprintf(out + len, sizeof out - len, "%s%s:%u", i ? " " : "", ip,
			w->bes[set[i]].port);
	}
	return out;
}
#define CLUSTER(w) listed((w), (w)->cluster, (w)->n_cluster)
#define LOCAL(w)   listed((w), (w)->local, (w)->n_local)

#define SVC(extra)                                                                                 \
	"{\"metadata\":{\"name\":\"web\"},\"spec\":{\"clusterIP\":\"10.96.0.10\",\"clusterIPs\":"  \
	"[\"10.96.0.10\"],\"ports\":[{\"port\":80,\"protocol\":\"TCP\"}]" extra "}}"
#define EP(ip, node, cond)                                                                         \
	"{\"addresses\":[\"" ip "\"],\"nodeName\":\"" node "\",\"conditions\":{" cond "}}"
#define SLICE(eps)                                                                                 \
	"{\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"\",\"port\":8080,\"protocol\":\"TCP\"}]" \
	","                                                                                        \
	"\"endpoints\":[" eps "]}"
#define READY "\"ready\":true"
#define TERM  "\"ready\":false,\"serving\":true,\"terminating\":true"
#define DEAD  "\"ready\":false,\"serving\":false,\"terminating\":true"

static void plain(void **state)
{
	(void)state;
	struct fixture f;
	compile(&f, SVC(""),
		SLICE(EP("10.244.2.1", "n2", READY) "," EP("10.244.1.1", "n1", READY)));
	assert_int_equal(f.n, 1);
	struct want_svc *w = f.rows;
	assert_string_equal(w->name, "default/web:80/TCP");
	assert_int_equal(w->proto, IPPROTO_TCP);
	assert_string_equal(CLUSTER(w), "10.244.1.1:8080 10.244.2.1:8080");
	assert_string_equal(LOCAL(w), "10.244.1.1:8080");
	assert_int_equal(w->bes[0].flags, BE_READY | BE_LOCAL);
	assert_int_equal(w->bes[1].flags, BE_READY);
	assert_int_equal(w->n_fes, 1);
	assert_int_equal(w->fes[0].kind, FE_CLUSTER);
	done(&f);
}

/* KEP-1669: terminating endpoints serve only while there is no ready one, per policy. */
static void terminating(void **state)
{
	(void)state;
	struct fixture f;
	compile(&f, SVC(""),
		SLICE(EP("10.244.1.1", "n1", TERM) "," EP("10.244.2.1", "n2", READY) "," EP(
			"10.244.2.2", "n2", TERM)));
	assert_string_equal(CLUSTER(f.rows), "10.244.2.1:8080");
	assert_string_equal(LOCAL(f.rows), "10.244.1.1:8080");
	assert_int_equal(f.rows->n_bes, 3); /* the others keep their rows: open connections */
	assert_int_equal(f.rows->bes[2].flags, BE_TERM);
	done(&f);
	compile(&f, SVC(""), SLICE(EP("10.244.1.1", "n1", DEAD) "," EP("10.244.2.2", "n2", TERM)));
	assert_string_equal(CLUSTER(f.rows), "10.244.2.2:8080");
	assert_string_equal(LOCAL(f.rows), "");
	done(&f);
	compile(&f, SVC(""), SLICE(EP("10.244.1.1", "n1", "\"ready\":false")));
	assert_string_equal(CLUSTER(f.rows), "");
	assert_int_equal(f.rows->n_bes, 1);
	done(&f);
	compile(&f, SVC(""), SLICE("{\"addresses\":[\"10.244.1.1\"]}")); /* no conditions: ready */
	assert_string_equal(CLUSTER(f.rows), "10.244.1.1:8080");
	done(&f);
}

static void frontends(void **state)
{
	(void)state;
	struct fixture f;
	compile(&f,
		"{\"spec\":{\"type\":\"LoadBalancer\",\"clusterIPs\":[\"10.96.0.10\",\"fd00::1\"],"
		"\"externalIPs\":[\"192.0.2.1\",\"2001:db8::1\"],\"loadBalancerSourceRanges\":["
		"\"10.1.2.3/8\",\"bad\",\"fd00::/8\"],\"externalTrafficPolicy\":\"Local\","
		"\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{"
		"\"timeoutSeconds\":60}},\"ports\":[{\"name\":\"dns\",\"port\":53,\"protocol\":"
		"\"UDP\",\"nodePort\":30053},{\"name\":\"dns-tcp\",\"port\":53}]},\"status\":{"
		"\"loadBalancer\":{\"ingress\":[{\"ip\":\"203.0.113.1\"},{\"hostname\":\"x\"},"
		"{\"ip\":\"203.0.113.2\",\"ipMode\":\"Proxy\"}]}}}",
		SLICE(EP("10.244.1.1", "n1", READY)));
	assert_int_equal(f.n, 4);
	struct want_svc *w = &f.rows[0];
	assert_string_equal(w->name, "default/web:dns/UDP");
	assert_int_equal(w->n_fes, 4);
	const uint16_t kinds[] = {FE_CLUSTER, FE_EXTERNAL, FE_LB, FE_NODEPORT};
	const uint16_t ports[] = {53, 53, 53, 30053};
	for (int i = 0; i < 4; i++) {
		assert_int_equal(w->fes[i].kind, kinds[i]);
		assert_int_equal(w->fes[i].port, ports[i]);
	}
	assert_int_equal(w->flags, SVC_ETP_LOCAL | SVC_AFFINITY | SVC_SRC_RANGE);
	assert_int_equal(w->aff_secs, 60);
	assert_int_equal(w->n_ranges, 1);
	assert_int_equal(w->ranges[0].net.b[0], 10);
	assert_int_equal(w->ranges[0].net.b[1], 0);
	assert_int_equal(w->n_bes, 0); /* the slice has no port of that name */
	assert_string_equal(f.rows[1].name, "default/web:dns-tcp/TCP");
	assert_string_equal(f.rows[2].name, "default/web:dns/UDP/v6");
	assert_int_equal(f.rows[2].n_ranges, 1);
	done(&f);
}

static void nothing_to_program(void **state)
{
	(void)state;
	struct fixture f;
	static const char *const specs[] = {"{\"spec\":{\"clusterIP\":\"None\",\"clusterIPs\":["
					    "\"None\"],\"ports\":[{\"port\":80}]}}",
		"{\"spec\":{\"type\":\"ExternalName\",\"externalName\":\"x.example\"}}",
		"{\"spec\":{\"ports\":[{\"port\":80}]}}", "{}",
		"{\"spec\":{\"clusterIPs\":[\"10.96.0.1\"],\"ports\":[{\"port\":0},{\"port\":70000}"
		"]}}"};
	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		compile(&f, specs[i], SLICE(EP("10.244.1.1", "n1", READY)));
		assert_int_equal(f.n, 0);
		done(&f);
	}
}

/* An endpoint that moves between slices is for a moment in both. */
static void duplicates(void **state)
{
	(void)state;
	struct fixture f;
	compile(&f, SVC(""),
		SLICE(EP("10.244.1.1", "n1", "\"ready\":false") "," EP("10.244.1.2", "n1", READY)),
		SLICE(EP("10.244.1.1", "n1", READY)));
	assert_int_equal(f.rows->n_bes, 2);
	assert_string_equal(CLUSTER(f.rows), "10.244.1.1:8080 10.244.1.2:8080");
	done(&f);
}

#define HINT(ip, node, hints)                                                                      \
	"{\"addresses\":[\"" ip "\"],\"nodeName\":\"" node "\",\"hints\":{" hints "}}"
#define ZONE(z)	     "\"forZones\":[{\"name\":\"" z "\"}]"
#define NODE_HINT(n) "\"forNodes\":[{\"name\":\"" n "\"}]"

static void topology(void **state)
{
	(void)state;
	struct fixture f;
	const char *both =
		SLICE(HINT("10.244.2.1", "n2", ZONE("a")) "," HINT("10.244.2.2", "n2", ZONE("b")));
	compile_as(&f, "a", SVC(""), (const char *const[]){both, NULL});
	assert_string_equal(CLUSTER(f.rows), "10.244.2.1:8080");
	assert_int_equal(f.rows->bes[1].flags & BE_READY, 0);
	done(&f);
	/* no zone of ours, no endpoint for our zone, an endpoint without a hint: all of them */
	compile_as(&f, "", SVC(""), (const char *const[]){both, NULL});
	assert_int_equal(f.rows->n_cluster, 2);
	done(&f);
	compile_as(&f, "c", SVC(""), (const char *const[]){both, NULL});
	assert_int_equal(f.rows->n_cluster, 2);
	done(&f);
	compile_as(&f, "a", SVC(""),
		(const char *const[]){both, SLICE(EP("10.244.2.3", "n2", READY)), NULL});
	assert_int_equal(f.rows->n_cluster, 3);
	done(&f);
	compile(&f, SVC(""),
		SLICE(HINT("10.244.1.1", "n1", NODE_HINT("n1")) "," HINT(
			"10.244.2.2", "n2", NODE_HINT("n2"))));
	assert_string_equal(CLUSTER(f.rows), "10.244.1.1:8080");
	done(&f);
}

/* A rule a row: what a Service and its slices mean for node n1 in zone a. "cluster; local; kinds"
 * of the first row: who takes new flows, and the frontends (c n e l). */
#define PORT80 "\"ports\":[{\"port\":80}]"
#define VIP    "\"clusterIPs\":[\"10.96.0.1\"],"
#define BOTH   SLICE(EP("10.244.1.1", "n1", READY) "," EP("10.244.2.1", "n2", READY))
#define HINTS2(h1, h2)                                                                             \
	SLICE("{\"addresses\":[\"10.244.1.1\"],\"nodeName\":\"n1\",\"hints\":{" h1 "}},"           \
	      "{\"addresses\":[\"10.244.2.1\"],\"nodeName\":\"n2\",\"hints\":{" h2 "}}")

static const struct {
	const char *why, *spec, *slice, *want;
} rule_rows[] = {
	{"plain", "{" VIP PORT80 "}", BOTH, "1.1 2.1; 1.1; c"},
	{"no ports, nothing", "{" VIP "\"ports\":[]}", BOTH, "-"},
	{"headless", "{\"clusterIPs\":[\"None\"]," PORT80 "}", BOTH, "-"},
	{"external name", "{\"type\":\"ExternalName\"," VIP PORT80 "}", BOTH, "-"},
	{"no selector, slices by hand", "{" VIP PORT80 ",\"selector\":null}", BOTH,
		"1.1 2.1; 1.1; c"},
	{"names are no addresses", "{" VIP PORT80 "}",
		"{\"addressType\":\"FQDN\",\"ports\":[{\"name\":\"\",\"port\":8080}],"
		"\"endpoints\":[{\"addresses\":[\"db.example\"]}]}",
		"; ; c"},
	{"several addresses are one pod", "{" VIP PORT80 "}",
		SLICE("{\"addresses\":[\"10.244.2.1\",\"10.244.2.9\"]}"), "2.1; ; c"},
	{"a slice port without a number", "{" VIP PORT80 "}",
		"{\"ports\":[{\"name\":\"\"}],\"endpoints\":[{\"addresses\":[\"10.244.2."
		"1\"]}"
		"]}",
		"; ; c"},
	{"ports meet by name, numbers differ",
		"{" VIP "\"ports\":[{\"name\":\"web\",\"port\":80,\"targetPort\":\"http\"}]}",
		"{\"ports\":[{\"name\":\"web\",\"port\":3000}],\"endpoints\":[{"
		"\"addresses\":["
		"\"10.244.2.1\"]}]}",
		"2.1; ; c"},
	{"node port not asked for",
		"{\"type\":\"LoadBalancer\"," VIP PORT80
		",\"allocateLoadBalancerNodePorts\":false}",
		BOTH, "1.1 2.1; 1.1; c"},
	{"node port", "{\"type\":\"NodePort\"," VIP "\"ports\":[{\"port\":80,\"nodePort\":30080}]}",
		BOTH, "1.1 2.1; 1.1; c n"},
	{"external addresses", "{" VIP PORT80 ",\"externalIPs\":[\"192.0.2.7\",\"192.0.2.8\"]}",
		BOTH, "1.1 2.1; 1.1; c e e"},
	{"serving while none is ready (KEP-1669)", "{" VIP PORT80 "}",
		SLICE(EP("10.244.1.1", "n1", TERM) "," EP("10.244.2.1", "n2", DEAD)),
		"1.1; 1.1; c"},
	{"a fallback knows no hints", "{" VIP PORT80 "}",
		SLICE("{\"addresses\":[\"10.244.1.1\"],\"nodeName\":\"n1\",\"conditions\":"
		      "{" TERM "},\"hints\":{" ZONE("b") "}},{\"addresses\":[\"10.244.2.1\"],"
							 "\"nodeName\":\"n2\",\"conditions\":{" TERM
							 "},\"hints\":{" ZONE("a") "}}"),
		"1.1 2.1; 1.1; c"},
	{"our zone", "{" VIP PORT80 "}", HINTS2(ZONE("b"), ZONE("a")), "2.1; 1.1; c"},
	{"two zones for one", "{" VIP PORT80 "}",
		HINTS2("\"forZones\":[{\"name\":\"b\"},{\"name\":\"a\"}]", ZONE("a")),
		"1.1 2.1; 1.1; c"},
	{"our node before our zone", "{" VIP PORT80 "}",
		HINTS2(NODE_HINT("n1") "," ZONE("a"), NODE_HINT("n2") "," ZONE("a")),
		"1.1; 1.1; c"},
	{"nothing on our node: our zone", "{" VIP PORT80 "}",
		HINTS2(NODE_HINT("n3") "," ZONE("b"), NODE_HINT("n2") "," ZONE("a")),
		"2.1; 1.1; c"},
	{"one without node hint: zones", "{" VIP PORT80 "}",
		HINTS2(NODE_HINT("n1") "," ZONE("b"), ZONE("a")), "2.1; 1.1; c"},
	{"one ready endpoint without hint: all", "{" VIP PORT80 "}",
		HINTS2(ZONE("b"), "\"forZones\":[]"), "1.1 2.1; 1.1; c"},
	{"not ready without hint: does not count", "{" VIP PORT80 "}",
		SLICE("{\"addresses\":[\"10.244.1.1\"],\"conditions\":{\"ready\":false}},{"
		      "\"addresses\":[\"10.244.2.1\"],\"hints\":{" ZONE(
			      "a") "}},{\"addresses\":["
				   "\"10.244.2.2\"],\"hints\":{" ZONE("b") "}}"),
		"2.1; ; c"},
};

static void rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rule_rows); i++) {
		char svc[1024], got[256] = "-";
		struct fixture f;
		(void)snprintf(svc, sizeof svc, "{\"spec\":%s}", rule_rows[i].spec);
		compile_as(&f, "a", svc, (const char *const[]){rule_rows[i].slice, NULL});
		if (f.n) {
			size_t n = 0;
			got[0] = 0;
			for (int set = 0; set < 2; set++) {
				const uint32_t *v = set ? f.rows->local : f.rows->cluster;
				size_t len = set ? f.rows->n_local : f.rows->n_cluster;
				for (size_t k = 0; k < len; k++)
					n += (size_t)snprintf(got + n, sizeof got - n, "%s%u.%u",
						k ? " " : "", f.rows->bes[v[k]].ip.b[2],
						f.rows->bes[v[k]].ip.b[3]);
				n += (size_t)snprintf(got + n, sizeof got - n, "; ");
			}
			for (size_t k = 0; k < f.rows->n_fes; k++)
				n += (size_t)snprintf(got + n, sizeof got - n, "%s%c", k ? " " : "",
					" cnel"[f.rows->fes[k].kind]);
		}
		if (strcmp(got, rule_rows[i].want) != 0)
			fail_msg("%s: %s, wanted %s", rule_rows[i].why, got, rule_rows[i].want);
		done(&f);
	}
}

#define NOTE(note) "{\"metadata\":{\"annotations\":{" note "}},\"spec\":{" VIP PORT80 "}}"

/* Slots of the first row that name the backend 10.244.x.y. */
static size_t slots_of(const struct fixture *f, uint8_t x, uint8_t y)
{
	size_t n = 0;
	for (size_t i = 0; i < f->rows->n_cluster; i++) {
		const uint8_t *b = f->rows->bes[f->rows->cluster[i]].ip.b;
		n += b[2] == x && b[3] == y;
	}
	return n;
}

static void balance(void **state)
{
	(void)state;
	struct fixture f;
	compile(&f, NOTE("\"xebec.io/balance\":\"maglev\""), BOTH);
	assert_int_equal(f.rows->flags, SVC_HASH);
	assert_int_equal(f.rows->n_cluster, 251);
	assert_in_range(slots_of(&f, 1, 1), 125, 126);
	assert_int_equal(f.rows->n_local, 251); /* a table of its own, of one backend */
	assert_int_equal(f.rows->n_bes, 2);
	done(&f);
	compile(&f, NOTE("\"xebec.io/balance\":\"least-conn\""), BOTH);
	assert_int_equal(f.rows->flags, SVC_LEAST);
	assert_int_equal(f.rows->n_cluster, 2);
	done(&f);
	static const char *const plain[] = {"random", "", "nonsense"};
	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		char svc[256];
		(void)snprintf(svc, sizeof svc,
			"{\"metadata\":{\"annotations\":{\"xebec.io/"
			"balance\":\"%s\"}},\"spec\":{" VIP PORT80 "}}",
			plain[i]);
		compile(&f, svc, BOTH);
		assert_int_equal(f.rows->flags, 0);
		assert_int_equal(f.rows->n_cluster, 2);
		done(&f);
	}
}

/* A share belongs to the part, however many endpoints it has. */
static void split(void **state)
{
	(void)state;
	struct fixture f = {0};
	const struct where me = {.node = STR("n1")};
	f.svc = svc_spec_new(json(NOTE("\"xebec.io/split\":\"v1=90,v2=10,v3=0\"")));
	assert_int_equal(f.svc->n_parts, 3);
	f.slices[0] = slice_spec_new(json(SLICE(EP("10.244.1.1", "n1", READY) "," EP(
		"10.244.1.2", "n2", READY) "," EP("10.244.1.3", "n2", READY))));
	f.slices[1] = slice_spec_new(json(SLICE(EP("10.244.2.1", "n2", READY))));
	f.slices[2] = slice_spec_new(json(SLICE(EP("10.244.3.1", "n2", READY))));
	f.n_slices = 3;
	for (uint32_t i = 0; i < 3; i++)
		f.slices[i]->part = i;
	f.n = compile_service("default", "web", f.svc, (const struct slice_spec *const *)f.slices,
		3, &me, &f.mem, &f.rows);
	assert_int_equal(f.n, 1);
	assert_int_equal(f.rows->n_cluster, 1024);
	for (uint8_t i = 1; i <= 3; i++)
		assert_in_range(slots_of(&f, 1, i), 306, 309); /* 30 % each */
	assert_in_range(slots_of(&f, 2, 1), 101, 104);
	assert_int_equal(slots_of(&f, 3, 1), 0);
	assert_int_equal(f.rows->n_bes, 5); /* all keep their rows: open connections */
	done(&f);
	static const char *const bad[] = {"v1", "v1=", "=5", "v1=x", "v1=1;v2=2", "v1=-1"};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char svc[256];
		(void)snprintf(svc, sizeof svc,
			"{\"metadata\":{\"annotations\":{\"xebec.io/split\":\"%s\"}},\"spec\":{" VIP
				PORT80 "}}",
			bad[i]);
		compile(&f, svc, BOTH);
		assert_int_equal(f.svc->n_parts, 0);
		assert_int_equal(f.rows->n_cluster, 2);
		done(&f);
	}
}

/* Where node ports answer when not everywhere, and what belongs to which family. */
static void node_port_addresses(void **state)
{
	(void)state;
	struct fixture f = {0};
	struct ip ips[3];
	assert_int_equal(ip_parse(STR("192.0.2.1"), &ips[0]), 0);
	assert_int_equal(ip_parse(STR("192.0.2.2"), &ips[1]), 0);
	assert_int_equal(ip_parse(STR("2001:db8::1"), &ips[2]), 0);
	const struct where me = {.node = STR("n1"), .nodeport_ips = ips, .n_nodeport_ips = 3};
	f.svc = svc_spec_new(
		json("{\"spec\":{\"clusterIPs\":[\"10.96.0.1\",\"fd00::1\"],\"ports\":[{"
		     "\"port\":80,\"nodePort\":30080}],\"loadBalancerSourceRanges\":["
		     "\"10.0.0.0/8\"]}}"));
	f.n = compile_service("default", "web", f.svc, NULL, 0, &me, &f.mem, &f.rows);
	assert_int_equal(f.n, 2);
	assert_int_equal(f.rows[0].n_fes, 3);
	assert_int_equal(f.rows[0].fes[1].port, 30080);
	assert_int_equal(f.rows[0].fes[1].ip.b[3], 1);
	assert_int_equal(f.rows[0].fes[2].ip.b[3], 2);
	assert_int_equal(f.rows[1].n_fes, 2);
	assert_true(f.rows[0].flags & SVC_SRC_RANGE);
	assert_false(f.rows[1].flags & SVC_SRC_RANGE); /* no range of this family: open */
	done(&f);
	static const struct {
		const char *rule;
		int ip;
		bool yes;
	} rows[] = {{"", 0, true}, {"192.0.2.0/31", 0, true}, {"192.0.2.0/31", 1, false},
		{"10.0.0.0/8,192.0.2.2/32", 1, true}, {"10.0.0.0/8", 0, false},
		{"0.0.0.0/0", 1, true}, {"0.0.0.0/0", 2, false}, {"::/0", 2, true},
		{"2001:db8::/32", 2, true}, {"primary", 0, true}, {"primary", 1, false}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(
			nodeport_address(rows[i].rule, "192.0.2.1", &ips[rows[i].ip]), rows[i].yes);
	assert_true(nodeport_rule_valid("primary"));
	assert_true(nodeport_rule_valid("10.0.0.0/8,::/0"));
	assert_false(nodeport_rule_valid("10.0.0.0/8,everywhere"));
}

/* Distinct ready addresses of this node, in the Service's first family. */
static void local_ready(void **state)
{
	(void)state;
	struct fixture f;
	compile(&f,
		"{\"spec\":{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Local\","
		"\"healthCheckNodePort\":32000,\"clusterIPs\":[\"10.96.0.1\"]," PORT80 "}}",
		SLICE(EP("10.244.1.1", "n1", READY) "," EP("10.244.1.2", "n1", TERM) "," EP(
			"10.244.2.1", "n2", READY)),
		SLICE(EP("10.244.1.1", "n1", READY) "," EP("10.244.1.3", "n1", READY)),
		SLICE(EP("fd00::5", "n1", READY)));
	const struct where me = {.node = STR("n1")};
	assert_int_equal(f.svc->health_port, 32000);
	assert_int_equal(compile_local_ready(f.svc, (const struct slice_spec *const *)f.slices,
				 f.n_slices, &me),
		2);
	done(&f);
	compile(&f,
		"{\"spec\":{\"type\":\"LoadBalancer\",\"externalTrafficPolicy\":\"Cluster\","
		"\"healthCheckNodePort\":32000,\"clusterIPs\":[\"10.96.0.1\"]}}",
		BOTH);
	assert_int_equal(f.svc->health_port, 0);
	done(&f);
}

static void longest_name(void **state)
{
	(void)state;
	struct fixture f = {0};
	char ns[64], svc[400];
	memset(ns, 'n', 63);
	ns[63] = 0;
	(void)snprintf(svc, sizeof svc,
		"{\"spec\":{\"clusterIPs\":[\"10.96.0.1\",\"fd00::1\"],\"ports\":[{\"name\":\"%s\","
		"\"port\":1,\"protocol\":\"SCTP\"}]}}",
		ns);
	const struct where me = {.node = STR("n1"), .zone = STR("")};
	f.svc = svc_spec_new(json(svc));
	f.n = compile_service(ns, ns, f.svc, NULL, 0, &me, &f.mem, &f.rows);
	assert_int_equal(f.n, 2);
	assert_string_not_equal(f.rows[0].name, f.rows[1].name);
	assert_non_null(strstr(f.rows[1].name, "/SCTP/v6"));
	done(&f);
}

static void addresses(void **state)
{
	(void)state;
	struct ip ip;
	unsigned prefix;
	assert_int_equal(ip_parse(STR("10.0.0.1"), &ip), 0);
	assert_int_equal(ip.family, 4);
	assert_int_equal(ip_parse(STR("fd00::1"), &ip), 0);
	assert_int_equal(ip.family, 6);
	assert_int_not_equal(ip_parse(STR("10.0.0"), &ip), 0);
	assert_int_not_equal(ip_parse(STR(""), &ip), 0);
	assert_int_equal(ip_cidr_parse(STR("10.255.3.4/9"), &ip, &prefix), 0);
	assert_int_equal(ip.b[1], 128);
	assert_int_equal(prefix, 9);
	assert_int_not_equal(ip_cidr_parse(STR("10.0.0.0/33"), &ip, &prefix), 0);
	assert_int_not_equal(ip_cidr_parse(STR("10.0.0.0"), &ip, &prefix), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(plain), cmocka_unit_test(terminating),
		cmocka_unit_test(frontends), cmocka_unit_test(nothing_to_program),
		cmocka_unit_test(duplicates), cmocka_unit_test(topology), cmocka_unit_test(balance),
		cmocka_unit_test(split), cmocka_unit_test(rules),
		cmocka_unit_test(node_port_addresses), cmocka_unit_test(local_ready),
		cmocka_unit_test(longest_name), cmocka_unit_test(addresses)};
	return cmocka_run_group_tests_name("compile", tests, NULL, NULL);
}

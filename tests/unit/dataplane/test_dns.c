/* SPDX-License-Identifier: Apache-2.0
 * Names: the wire codec on sound and hostile bytes, the cluster's zone, cutting and copying. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dns_cache.h"
#include "dns_zone.h"
#include "xebec/base/buf.h"
#include "xebec/base/timefmt.h"

#define SVC(type, ip, rest)                                                                        \
	"{\"spec\":{\"type\":\"" type "\",\"clusterIP\":\"" ip "\"," rest                          \
	"\"ports\":[{\"name\":\"http\",\"port\":80},{\"name\":\"dns\",\"port\":53,"                \
	"\"protocol\":\"UDP\"}]}}"
#define SLICE(svc, eps)                                                                            \
	"{\"metadata\":{\"labels\":{\"kubernetes.io/service-name\":\"" svc                         \
	"\"}},\"endpoints\":[" eps                                                                 \
	"],\"ports\":[{\"name\":\"http\",\"port\":8080,\"protocol\":\"TCP\"}]}"

static void service(struct dns_zone *z, const char *ns, const char *name, const char *json)
{
	assert_true(jv_valid(str_of(json), 32));
	struct dns_spec *s = dns_spec_new(jv_of(str_of(json)));
	assert_non_null(s);
	assert_int_equal(dns_zone_service(z, str_of(ns), str_of(name), s, s), 0);
}

static void release(void *hold)
{
	dns_spec_free(hold);
}

static struct slice_spec *slice(
	struct dns_zone *z, const char *ns, const char *svc, const char *name, const char *json)
{
	assert_true(jv_valid(str_of(json), 32));
	struct slice_spec *s = slice_spec_new(jv_of(str_of(json)));
	assert_non_null(s);
	assert_int_equal(dns_zone_slice(z, str_of(ns), str_of(svc), str_of(name), s, NULL), 0);
	return s;
}

static struct dns_zone *zone(void)
{
	struct dns_zone *z = NULL;
	struct err e = {0};
	const struct dns_zone_config c = {.domain = "cluster.local",
		.service_cidr = "10.96.0.0/16",
		.cluster_cidr = "10.244.0.0/16",
		.dns_ip = "10.96.0.10",
		.release = release};
	assert_int_equal(dns_zone_new(&c, &z, &e), 0);
	return z;
}

/* ---- asking in text ---- */

static void name_text(const struct dns_name *n, struct buf *out)
{
	struct str l[128];
	size_t k = dns_name_labels(n, l, 128);
	for (size_t i = 0; i < k; i++) {
		buf_addc(out, i ? '.' : ' ');
		buf_add_str(out, l[i]);
	}
}

static void rr_text(const uint8_t *msg, size_t n, const struct dns_rr *rr, struct buf *out)
{
	static const char sections[] = "!?+";
	struct dns_name name;
	size_t pos = rr->at, data = rr->data_at;
	const uint8_t *p = msg + rr->data_at;
	if (rr->type == DNS_OPT)
		return;
	assert_int_equal(dns_name_read(msg, n, &pos, &name), 0);
	buf_addf(out, "%s%c", out->len ? " " : "", sections[rr->section]);
	if (rr->type == DNS_A) {
		buf_addf(out, "A %u.%u.%u.%u", p[0], p[1], p[2], p[3]);
	} else if (rr->type == DNS_SRV) {
		data += 6;
		assert_int_equal(dns_name_read(msg, n, &data, &name), 0);
		buf_addf(out, "SRV %u", p[4] << 8 | p[5]);
		name_text(&name, out);
	} else if (rr->type == DNS_CNAME || rr->type == DNS_PTR) {
		assert_int_equal(dns_name_read(msg, n, &data, &name), 0);
		buf_adds(out, rr->type == DNS_PTR ? "PTR" : "CNAME");
		name_text(&name, out);
	} else {
		buf_addf(out, "%s",
			rr->type == DNS_SOA    ? "SOA"
			: rr->type == DNS_AAAA ? "AAAA"
					       : "other");
	}
}

static size_t question(uint8_t *q, const char *text, uint16_t type)
{
	struct dns_name name;
	assert_int_equal(dns_name_of(str_of(text), &name), 0);
	return dns_question(q, 77, &name, type, DNS_RD, true, false);
}

static void ask(struct dns_zone *z, const char *text, uint16_t type, const char *want)
{
	uint8_t q[512], out[4096];
	AUTO_BUF struct buf got = {0};
	struct dns_query query;
	struct dns_writer w;
	struct dns_name target;
	enum dns_rcode rcode = DNS_NOERROR;
	struct dns_iter it;
	struct dns_rr rr;
	size_t n = question(q, text, type);
	assert_int_equal(dns_query_parse(q, n, &query), 0);
	dns_reply_begin(&w, out, sizeof out, &query);
	enum dns_verdict v = dns_zone_answer(z, 0, &w, &rcode, &target);
	n = dns_reply_end(&w, rcode, DNS_AA);
	assert_int_equal(dns_iter_begin(&it, out, n), 0);
	int r;
	while ((r = dns_iter_next(&it, &rr)) > 0)
		rr_text(out, n, &rr, &got);
	assert_int_equal(r, 0);
	if (v == DNS_ELSEWHERE)
		buf_adds(&got, "elsewhere");
	else if (v == DNS_CHASE)
		buf_adds(&got, " chase"), name_text(&target, &got);
	else if (rcode)
		buf_addf(&got, " rcode %d", (int)rcode);
	assert_string_equal(got.p ? got.p : "", want);
}

/* ---- the zone ---- */

static void test_zone(void **state)
{
	static const struct {
		const char *name;
		uint16_t type;
		const char *want;
	} rows[] = {
		{"web.shop.svc.cluster.local", DNS_A, "!A 10.96.1.1"},
		{"WEB.Shop.svc.cluster.local", DNS_A, "!A 10.96.1.1"},
		{"web.shop.svc.cluster.local", DNS_AAAA, "?SOA"},
		{"none.shop.svc.cluster.local", DNS_A, "?SOA rcode 3"},
		{"web.other.svc.cluster.local", DNS_A, "?SOA rcode 3"},
		{"shop.svc.cluster.local", DNS_A, "?SOA"},
		{"empty.svc.cluster.local", DNS_A, "?SOA"},
		{"nowhere.svc.cluster.local", DNS_A, "?SOA rcode 3"},
		{"svc.cluster.local", DNS_A, "?SOA"},
		{"cluster.local", DNS_SOA, "!SOA"},
		{"else.cluster.local", DNS_A, "?SOA rcode 3"},
		{"_http._tcp.web.shop.svc.cluster.local", DNS_SRV,
			"!SRV 80 web.shop.svc.cluster.local +A 10.96.1.1"},
		{"_http._udp.web.shop.svc.cluster.local", DNS_SRV, "?SOA rcode 3"},
		{"_dns._udp.web.shop.svc.cluster.local", DNS_SRV,
			"!SRV 53 web.shop.svc.cluster.local +A 10.96.1.1"},
		{"_tcp.web.shop.svc.cluster.local", DNS_SRV, "?SOA"},
		{"_http._tcp.web.shop.svc.cluster.local", DNS_A, "?SOA"},
		{"db.shop.svc.cluster.local", DNS_A, "!A 10.244.0.5 !A 10.244.0.6"},
		{"db-0.db.shop.svc.cluster.local", DNS_A, "!A 10.244.0.5"},
		{"10-244-0-6.db.shop.svc.cluster.local", DNS_A, "!A 10.244.0.6"},
		{"10-244-0-7.db.shop.svc.cluster.local", DNS_A, "?SOA rcode 3"},
		{"_http._tcp.db.shop.svc.cluster.local", DNS_SRV,
			"!SRV 8080 db-0.db.shop.svc.cluster.local "
			"!SRV 8080 10-244-0-6.db.shop.svc.cluster.local "
			"+A 10.244.0.5 +A 10.244.0.6"},
		{"all.shop.svc.cluster.local", DNS_A, "!A 10.244.0.9"},
		{"ext.shop.svc.cluster.local", DNS_A, "!CNAME example.com chase example.com"},
		{"ext.shop.svc.cluster.local", DNS_CNAME, "!CNAME example.com"},
		{"in.shop.svc.cluster.local", DNS_A,
			"!CNAME web.shop.svc.cluster.local !A 10.96.1.1"},
		{"1-2-3-4.shop.pod.cluster.local", DNS_A, "!A 1.2.3.4"},
		{"1-2-3.shop.pod.cluster.local", DNS_A, "?SOA rcode 3"},
		{"1-2-3-4.nowhere.pod.cluster.local", DNS_A, "?SOA rcode 3"},
		{"ns.dns.cluster.local", DNS_A, "!A 10.96.0.10"},
		{"dns-version.cluster.local", DNS_TXT, "!other"},
		{"1.1.96.10.in-addr.arpa", DNS_PTR, "!PTR web.shop.svc.cluster.local"},
		{"5.0.244.10.in-addr.arpa", DNS_PTR, "!PTR db-0.db.shop.svc.cluster.local"},
		{"77.0.244.10.in-addr.arpa", DNS_PTR, "?SOA rcode 3"},
		{"1.2.0.192.in-addr.arpa", DNS_PTR, "elsewhere"},
		{"example.com", DNS_A, "elsewhere"},
		{"xcluster.local", DNS_A, "elsewhere"},
	};
	struct dns_zone *z = zone();
	(void)state;
	service(z, "shop", "web", SVC("ClusterIP", "10.96.1.1", ""));
	service(z, "shop", "db", SVC("ClusterIP", "None", ""));
	service(z, "shop", "all", SVC("ClusterIP", "None", "\"publishNotReadyAddresses\":true,"));
	service(z, "shop", "ext", SVC("ExternalName", "", "\"externalName\":\"Example.com.\","));
	service(z, "shop", "in",
		SVC("ExternalName", "", "\"externalName\":\"web.shop.svc.cluster.local\","));
	assert_int_equal(dns_zone_namespace(z, STR("empty"), true), 0);
	struct slice_spec *a = slice(z, "shop", "db", "db-1",
		SLICE("db", "{\"addresses\":[\"10.244.0.5\"],\"hostname\":\"db-0\"},"
			    "{\"addresses\":[\"10.244.0.6\"]},{\"addresses\":[\"10.244.0.7\"],"
			    "\"conditions\":{\"ready\":false}}"));
	struct slice_spec *b = slice(z, "shop", "all", "all-1",
		SLICE("all", "{\"addresses\":[\"10.244.0.9\"],\"conditions\":{\"ready\":false}}"));
	assert_int_equal(dns_zone_services(z), 5);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		ask(z, rows[i].name, rows[i].type, rows[i].want);
	/* a change of the slice, and its end */
	struct slice_spec *c = slice(z, "shop", "db", "db-1",
		SLICE("db", "{\"addresses\":[\"10.244.0.8\"],\"hostname\":\"db-0\"}"));
	ask(z, "db-0.db.shop.svc.cluster.local", DNS_A, "!A 10.244.0.8");
	ask(z, "5.0.244.10.in-addr.arpa", DNS_PTR, "?SOA rcode 3");
	assert_int_equal(dns_zone_slice(z, STR("shop"), STR("db"), STR("db-1"), NULL, NULL), 0);
	ask(z, "db.shop.svc.cluster.local", DNS_A, "?SOA");
	assert_int_equal(dns_zone_service(z, STR("shop"), STR("web"), NULL, NULL), 0);
	ask(z, "web.shop.svc.cluster.local", DNS_A, "?SOA rcode 3");
	ask(z, "1.1.96.10.in-addr.arpa", DNS_PTR, "?SOA rcode 3");
	dns_zone_free(z);
	slice_spec_free(a);
	slice_spec_free(b);
	slice_spec_free(c);
}

/* A circle of aliases ends. */
static void test_circle(void **state)
{
	struct dns_zone *z = zone();
	uint8_t q[512], out[4096];
	struct dns_query query;
	struct dns_writer w;
	struct dns_name target;
	enum dns_rcode rcode = DNS_NOERROR;
	(void)state;
	service(z, "a", "round",
		SVC("ExternalName", "", "\"externalName\":\"round.a.svc.cluster.local\","));
	size_t n = question(q, "round.a.svc.cluster.local", DNS_A);
	assert_int_equal(dns_query_parse(q, n, &query), 0);
	dns_reply_begin(&w, out, sizeof out, &query);
	assert_int_equal(dns_zone_answer(z, 0, &w, &rcode, &target), DNS_ANSWERED);
	assert_int_equal(rcode, DNS_SERVFAIL);
	dns_zone_free(z);
}

/* ---- the codec ---- */

static void test_cut(void **state)
{
	uint8_t q[512], out[65536];
	struct dns_query query;
	struct dns_writer w;
	struct dns_info info;
	(void)state;
	size_t n = question(q, "many.example.com", DNS_A);
	assert_int_equal(dns_query_parse(q, n, &query), 0);
	assert_int_equal(query.udp_size, DNS_UDP_MAX);
	dns_reply_begin(&w, out, query.udp_size, &query);
	for (uint32_t i = 0; i < 1000; i++)
		(void)dns_put_data(&w, DNS_ANSWER, &query.name, DNS_A, 60 + i, &i, 4);
	n = dns_reply_end(&w, DNS_NOERROR, DNS_AA);
	assert_in_range(n, DNS_UDP_MAX - 27, DNS_UDP_MAX);
	assert_true(out[2] & DNS_TC >> 8);
	/* whole by TCP, and then cut for a client that takes 512 */
	dns_reply_begin(&w, out, 65535, &query);
	for (uint32_t i = 0; i < 1000; i++)
		assert_true(dns_put_data(&w, DNS_ANSWER, &query.name, DNS_A, 60 + i, &i, 4));
	n = dns_reply_end(&w, DNS_NOERROR, 0);
	assert_int_equal(dns_response_parse(out, &n, &query.name, DNS_A, &info), 0);
	assert_int_equal(info.id, 77);
	assert_int_equal(info.n_answers, 1000);
	assert_int_equal(info.ttl, 60);
	assert_true(info.cacheable);
	uint8_t copy[512 + 11];
	query.edns = false;
	size_t m = dns_response_copy(copy, 512, out, n, &query, 20, 1);
	assert_in_range(m, 490, 512);
	assert_true(copy[2] & DNS_TC >> 8);
	struct dns_iter it;
	struct dns_rr rr;
	assert_int_equal(dns_iter_begin(&it, copy, m), 0);
	assert_int_equal(dns_iter_next(&it, &rr), 1);
	assert_int_equal(rr.ttl, 40);
}

/* A name is not compressed to what of itself is not written yet: the suffixes a.a.cikj and a.cikj
 * have the same hash. */
static void test_own_suffix(void **state)
{
	uint8_t q[512], out[DNS_UDP_MAX];
	struct dns_query query;
	struct dns_writer w;
	struct dns_name name, got;
	size_t pos;
	(void)state;
	size_t n = question(q, "example.com", DNS_A);
	assert_int_equal(dns_query_parse(q, n, &query), 0);
	assert_int_equal(dns_name_of(STR("a.a.cikj"), &name), 0);
	for (unsigned left = 0; left < 256; left += 0xff) { /* by an answer before in the buffer */
		memset(out, (int)left, sizeof out);
		dns_reply_begin(&w, out, sizeof out, &query);
		pos = w.len;
		assert_true(dns_put_data(&w, DNS_ANSWER, &name, DNS_A, 60, "\1\2\3\4", 4));
		assert_int_equal(dns_name_read(out, w.len, &pos, &got), 0);
		assert_true(dns_name_eq(&got, &name));
	}
}

static void test_hostile(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		int want;
	} rows[] = {
		{"\0\1\1\0\0\1\0\0\0\0\0", 11, -EPROTO},
		{"\0\1\x81\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, -EPROTO},	    /* an answer */
		{"\0\1\x28\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, -EOPNOTSUPP},  /* update */
		{"\0\1\1\0\0\2\0\0\0\0\0\0\0\0\1\0\1", 17, -EBADMSG},	    /* two questions */
		{"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", 18, -EBADMSG}, /* points to itself */
		{"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x10\0\1\0\1", 18, -EBADMSG}, /* forwards */
		{"\0\1\1\0\0\1\0\0\0\0\0\0\3ab", 15, -EBADMSG},		    /* cut label */
		{"\0\1\1\0\0\1\0\0\0\0\0\0\x41", 13, -EBADMSG},		    /* reserved kind */
		{"\0\1\1\0\0\1\0\0\0\0\0\1\0\0\1\0\1", 17, -EBADMSG},	    /* no OPT there */
		{"\0\1\1\0\0\1\0\0\0\0\0\1\0\0\1\0\1\0\0\x29\4\0\0\1\0\0\0\0", 28,
			-EPROTONOSUPPORT}, /* EDNS 1 */
		{"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\1\0\1", 17, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct dns_query q;
		/* exactly as long: what is read beyond shows */
		uint8_t *copy = malloc(rows[i].n);
		memcpy(copy, rows[i].bytes, rows[i].n);
		assert_int_equal(dns_query_parse(copy, rows[i].n, &q), rows[i].want);
		free(copy);
	}
	struct dns_name n;
	char big[300];
	memset(big, 'a', sizeof big);
	assert_int_equal(dns_name_of((struct str){big, 64}, &n), -EINVAL);
	assert_int_equal(dns_name_of(STR("a..b"), &n), -EINVAL);
	for (size_t i = 0; i < sizeof big; i += 2)
		big[i] = '.';
	assert_int_equal(dns_name_of((struct str){big + 1, 299}, &n), -EINVAL);
	assert_int_equal(dns_name_of((struct str){big + 1, 253}, &n), 0);
	assert_int_equal(n.len, 255);
}

static void test_cache(void **state)
{
	struct dns_cache *c = dns_cache_new(4096);
	struct dns_key k;
	struct dns_name n;
	struct dns_cached got;
	uint8_t msg[200] = {1};
	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		char text[32];
		(void)snprintf(text, sizeof text, "n%u.example.com", i);
		assert_int_equal(dns_name_of(str_of(text), &n), 0);
		dns_key_of(&n, DNS_A, false, false, &k);
		dns_cache_put(c, &k, msg, sizeof msg, 10, 0);
		assert_true(dns_cache_bytes(c) <= 4096);
	}
	assert_true(dns_cache_get(c, &k, 3 * NS_PER_SEC, &got));
	assert_int_equal(got.age, 3);
	assert_false(got.stale);
	assert_true(dns_cache_get(c, &k, 11 * NS_PER_SEC, &got));
	assert_true(got.stale);
	assert_false(dns_cache_get(c, &k, 4000 * NS_PER_SEC, &got));
	dns_cache_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zone),
		cmocka_unit_test(test_circle),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_own_suffix),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_cache),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

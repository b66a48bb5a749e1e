/* SPDX-License-Identifier: Apache-2.0
 * What happens to a question: the zone, the cache, other servers, or a wait. */
#include "dns_server_int.h"

#include <errno.h>
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

enum { REQUESTS_MAX = 4096, REQUESTS_CLIENT_MAX = 512, QUESTION_MAX = DNS_NAME_MAX + 4 };
#define HOLD_NS	 (3 * NS_PER_SEC)
#define SWEEP_NS (20 * NS_PER_MS)

/* A question that waits: for the zone, or for another server. */
struct request {
	struct dns_wait wait;
	struct list all;     /* in dns_server.requests */
	struct list of_conn; /* in dns_conn.requests */
	struct list held;    /* in dns_server.held, while the zone is incomplete */
	struct dns_server *server;
	struct dns_origin origin;
	struct dns_query q; /* its question points to the bytes below */
	uint8_t question[QUESTION_MAX];
	int64_t since_ns;
	bool chase; /* the zone's alias goes before what the other server says */
};

/* ------------------------------------------------------------------ accounts */

static const struct {
	uint16_t type;
	const char *name;
} type_rows[8] = {{DNS_A, "A"}, {DNS_AAAA, "AAAA"}, {DNS_SRV, "SRV"}, {DNS_PTR, "PTR"},
	{DNS_CNAME, "CNAME"}, {DNS_TXT, "TXT"}, {DNS_SOA, "SOA"}, {0, "other"}};
static const char *const rcode_names[8] = {
	"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "other", "other"};
static const int64_t bucket_us[LATENCY_BUCKETS] = {
	25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 50000, 250000, 1000000, 2500000, 5000000};

static void count(struct dns_server *s, uint16_t type, unsigned rcode, int64_t since_ns)
{
	struct dns_stats *st = &s->stats;
	int64_t ns = time_mono() - since_ns;
	size_t t = 0, b = 0;
	while (t < 7 && type_rows[t].type != type)
		t++;
	while (b < LATENCY_BUCKETS && ns > bucket_us[b] * 1000)
		b++;
	st->types[t]++;
	st->rcodes[rcode < 6 ? rcode : 6]++;
	st->buckets[b]++;
	st->count++;
	st->sum_ns += ns;
}

void dns_server_metrics(const struct dns_server *s, struct buf *out)
{
	const struct dns_stats *st = &s->stats;
	uint64_t sum = 0;
	buf_adds(out, "# TYPE xebec_dns_requests_total counter\n");
	for (size_t i = 0; i < ARRAY_LEN(type_rows); i++)
		buf_addf(out, "xebec_dns_requests_total{type=\"%s\"} %llu\n", type_rows[i].name,
			(unsigned long long)st->types[i]);
	buf_adds(out, "# TYPE xebec_dns_responses_total counter\n");
	for (size_t i = 0; i < 7; i++)
		buf_addf(out, "xebec_dns_responses_total{rcode=\"%s\"} %llu\n", rcode_names[i],
			(unsigned long long)st->rcodes[i]);
	buf_adds(out, "# TYPE xebec_dns_request_duration_seconds histogram\n");
	for (size_t i = 0; i < LATENCY_BUCKETS; i++) {
		sum += st->buckets[i];
		buf_addf(out, "xebec_dns_request_duration_seconds_bucket{le=\"%g\"} %llu\n",
			(double)bucket_us[i] / 1e6, (unsigned long long)sum);
	}
	buf_addf(out,
		"xebec_dns_request_duration_seconds_bucket{le=\"+Inf\"} %llu\n"
		"xebec_dns_request_duration_seconds_sum %.9f\n"
		"xebec_dns_request_duration_seconds_count %llu\n",
		(unsigned long long)st->count, (double)st->sum_ns / 1e9,
		(unsigned long long)st->count);
	buf_addf(out,
		"# TYPE xebec_dns_queries_total counter\nxebec_dns_queries_total{proto=\"udp\"} "
		"%llu\nxebec_dns_queries_total{proto=\"tcp\"} %llu\n"
		"# TYPE xebec_dns_dropped_total counter\nxebec_dns_dropped_total %llu\n"
		"# TYPE xebec_dns_connections gauge\nxebec_dns_connections %zu\n"
		"# TYPE xebec_dns_services gauge\nxebec_dns_services %zu\n",
		(unsigned long long)st->udp, (unsigned long long)st->tcp,
		(unsigned long long)st->dropped, s->n_conns, dns_zone_services(s->c.zone));
}

/* ------------------------------------------------------------------ answering */

/* One question being answered now. */
struct now {
	struct dns_server *s;
	const struct dns_origin *o;
	const struct dns_query *q;
	int64_t since_ns;
};

static size_t cap_of(const struct now *a)
{
	return a->o->conn ? 65535 : a->q->udp_size;
}

static void finish(const struct now *a, size_t n)
{
	count(a->s, a->q->type, a->s->out[2 + 3] & 15, a->since_ns);
	dns_send(a->s, a->o, n);
}

static void refuse(const struct now *a, enum dns_rcode rcode)
{
	struct dns_writer w;
	dns_reply_begin(&w, a->s->out + 2, cap_of(a), a->q);
	finish(a, dns_reply_end(&w, rcode, DNS_RA));
}

static uint32_t random_turn(void)
{
	static _Thread_local uint32_t x;
	if (!x)
		random_bytes(&x, sizeof x);
	x = x * 1664525U + 1013904223U; /* spreads load, keeps no secret */
	return x >> 8;
}

/* ------------------------------------------------------------------ waiting */

static void request_free(struct request *r)
{
	struct dns_server *s = r->server;
	dns_forward_cancel(&r->wait);
	list_del(&r->all);
	list_del(&r->of_conn);
	list_del(&r->held);
	s->clients[r->origin.client]--;
	s->n_requests--;
	if (r->origin.conn)
		r->origin.conn->n_requests--;
	free(r);
}

/* NULL: too many. */
static struct request *request_new(const struct now *a)
{
	struct dns_server *s = a->s;
	bool room = s->n_requests < REQUESTS_MAX && s->clients[a->o->client] < REQUESTS_CLIENT_MAX;
	struct request *r = room ? calloc(1, sizeof *r) : NULL;
	if (!r)
		return NULL;
	r->server = s;
	r->origin = *a->o;
	r->q = *a->q;
	r->since_ns = a->since_ns;
	memcpy(r->question, a->q->question, a->q->question_len);
	r->q.question = r->question;
	list_init(&r->wait.link);
	list_init(&r->of_conn);
	list_init(&r->held);
	list_push(&s->requests, &r->all);
	s->n_requests++;
	s->clients[a->o->client]++;
	if (a->o->conn) {
		a->o->conn->n_requests++;
		list_push(&a->o->conn->requests, &r->of_conn);
	}
	return r;
}

static struct now now_of(const struct request *r)
{
	return (struct now){.s = r->server, .o = &r->origin, .q = &r->q, .since_ns = r->since_ns};
}

/* The request has its answer. */
static void request_end(struct request *r)
{
	struct dns_conn *conn = r->origin.conn;
	request_free(r);
	if (conn)
		dns_conn_relieved(conn);
}

/* ------------------------------------------------------------------ other servers */

static void answer_copy(const struct now *a, const uint8_t *msg, size_t n, uint32_t age, bool stale)
{
	size_t len = msg ? dns_response_copy(a->s->out + 2, cap_of(a), msg, n, a->q, age,
				   stale ? 5
				   : age ? 1
					 : 0)
			 : 0;
	if (len)
		finish(a, len);
	else
		refuse(a, DNS_SERVFAIL);
}

/* The zone's alias again, then what the other server said about its target. */
static void answer_chased(const struct now *a, const uint8_t *msg, size_t n)
{
	struct dns_writer w;
	struct dns_name target;
	enum dns_rcode rcode = DNS_NOERROR;
	dns_reply_begin(&w, a->s->out + 2, cap_of(a), a->q);
	if (dns_zone_answer(a->s->c.zone, 0, &w, &rcode, &target) == DNS_CHASE)
		rcode = msg ? dns_response_append(&w, msg, n) : DNS_SERVFAIL;
	finish(a, dns_reply_end(&w, rcode, DNS_RA | DNS_AA));
}

static void on_answer(struct dns_wait *w, const uint8_t *msg, size_t n, uint32_t age, bool stale)
{
	struct request *r = CONTAINER_OF(w, struct request, wait);
	struct now a = now_of(r);
	if (r->chase)
		answer_chased(&a, msg, n);
	else
		answer_copy(&a, msg, n, age, stale);
	request_end(r);
}

/* Asks for name: the question's own, or an alias's target. */
static void ask_elsewhere(const struct now *a, const struct dns_name *name, bool chase)
{
	struct dns_cached c;
	struct dns_key k;
	dns_key_of(name, a->q->type, a->q->flags & DNS_CD, !chase && a->q->dnssec_ok, &k);
	if (!(a->q->flags & DNS_RD) && !chase) {
		refuse(a, DNS_REFUSED);
		return;
	}
	if (dns_forward_cached(a->s->c.forward, &k, &c)) {
		if (chase)
			answer_chased(a, c.msg, c.n);
		else
			answer_copy(a, c.msg, c.n, c.age, false);
		return;
	}
	struct request *r = request_new(a);
	if (r) {
		r->chase = chase;
		r->wait.done = on_answer;
		if (dns_forward_ask(a->s->c.forward, name, &k, &r->wait) == DNS_WAITING)
			return;
		request_free(r);
	}
	refuse(a, DNS_SERVFAIL);
}

/* ------------------------------------------------------------------ the zone */

static void ask_zone(const struct now *a)
{
	struct dns_writer w;
	struct dns_name target;
	enum dns_rcode rcode = DNS_SERVFAIL;
	dns_reply_begin(&w, a->s->out + 2, cap_of(a), a->q);
	if (dns_zone_answer(a->s->c.zone, random_turn(), &w, &rcode, &target) == DNS_CHASE)
		ask_elsewhere(a, &target, true);
	else
		finish(a, dns_reply_end(&w, rcode, DNS_AA | DNS_RA));
}

static bool zone_ready(struct dns_server *s)
{
	s->ready = s->ready || s->c.ready(s->c.arg);
	return s->ready;
}

/* A new agent learns the zone within moments: better late than wrong. */
static void hold(const struct now *a)
{
	struct request *r = request_new(a);
	if (!r) {
		refuse(a, DNS_SERVFAIL);
		return;
	}
	a->s->stats.held++;
	list_push(&a->s->held, &r->held);
	if (!loop_timer_armed(&a->s->sweep))
		(void)loop_timer_set(a->s->c.loop, &a->s->sweep, SWEEP_NS);
}

static void on_sweep(struct loop_timer *t)
{
	struct dns_server *s = t->arg;
	bool ready = zone_ready(s);
	int64_t now_ns = time_mono();
	while (!list_empty(&s->held)) {
		struct request *r = list_entry(s->held.next, struct request, held);
		struct now a = now_of(r);
		if (!ready && now_ns - r->since_ns < HOLD_NS)
			break;
		if (ready)
			ask_zone(&a); /* may make another request of it: this one is over */
		else
			refuse(&a, DNS_SERVFAIL);
		request_end(r);
	}
	if (!list_empty(&s->held))
		(void)loop_timer_set(s->c.loop, &s->sweep, SWEEP_NS);
}

/* ------------------------------------------------------------------ entry */

static const struct {
	int error;
	enum dns_rcode rcode;
} error_rows[] = {
	{-EBADMSG, DNS_FORMERR}, {-EOPNOTSUPP, DNS_NOTIMP}, {-EPROTONOSUPPORT, DNS_BADVERS}};

static bool unsupported(const struct dns_query *q)
{
	/* zone transfers and the like: 251 to 254 */
	return q->class != DNS_CLASS_IN || (q->type >= 251 && q->type < DNS_ANY) ||
	       q->type == DNS_OPT || q->type == 0;
}

void dns_take(struct dns_server *s, const struct dns_origin *o, const uint8_t *msg, size_t n)
{
	struct dns_query q;
	struct now a = {.s = s, .o = o, .q = &q, .since_ns = time_mono()};
	int r = dns_query_parse(msg, n, &q);
	if (r == -EPROTO) {
		s->stats.dropped++;
		return;
	}
	for (size_t i = 0; r && i < ARRAY_LEN(error_rows); i++)
		if (error_rows[i].error == r) {
			refuse(&a, error_rows[i].rcode);
			return;
		}
	if (unsupported(&q))
		refuse(&a, DNS_REFUSED);
	else if (!dns_zone_owns(s->c.zone, &q.name))
		ask_elsewhere(&a, &q.name, false);
	else if (zone_ready(s))
		ask_zone(&a);
	else
		hold(&a);
}

void dns_requests_start(struct dns_server *s)
{
	list_init(&s->requests);
	list_init(&s->held);
	s->sweep = (struct loop_timer){.fn = on_sweep, .arg = s};
}

void dns_requests_drop(struct dns_server *s, struct list *requests)
{
	(void)s;
	list_each_safe (it, requests)
		request_free(list_entry(it, struct request, of_conn));
}

void dns_requests_free(struct dns_server *s)
{
	loop_timer_cancel(&s->sweep);
	list_each_safe (it, &s->requests)
		request_free(list_entry(it, struct request, all));
}

/* SPDX-License-Identifier: Apache-2.0
 * Answers from the cluster's zone. */
#include "dns_zone_int.h"

#include <errno.h>
#include <netinet/in.h>

enum { LABELS_MAX = 40, ALIASES_MAX = 8, EXTRA_MAX = 32 };

/* One question on its way. */
struct ask {
	const struct dns_zone *z;
	struct dns_writer *w;
	struct dns_name name; /* asked for; moves along aliases */
	uint16_t type;
	uint32_t seed;
	bool found; /* the name is there, whatever its records */
	struct dns_name alias;
	bool aliased;
};

static bool wants(const struct ask *a, uint16_t type)
{
	return a->type == type || a->type == DNS_ANY;
}

static bool wants_ip(const struct ask *a, const struct ip *ip)
{
	return wants(a, ip->family == 6 ? DNS_AAAA : DNS_A);
}

static void put_ip(const struct ask *a, enum dns_section s, const struct dns_name *owner,
	const struct ip *ip, uint32_t ttl)
{
	bool v6 = ip->family == 6;
	(void)dns_put_data(a->w, s, owner, v6 ? DNS_AAAA : DNS_A, ttl, ip->b, v6 ? 16 : 4);
}

/* "service.ns.svc.domain" */
static int service_name(const struct dns_zone *z, const struct dns_service *s, struct dns_name *ret)
{
	struct dns_name svc, ns;
	int r = dns_name_join(STR("svc"), &z->domain, &svc);
	r = r ? r : dns_name_join(str_of(s->ns), &svc, &ns);
	return r ? r : dns_name_join(str_of(s->name), &ns, ret);
}

/* ------------------------------------------------------------------ names of Services */

static struct dns_service *service_find(const struct ask *a, struct str ns, struct str name)
{
	char key[2 * 64 + 2];
	if (ns.n + name.n + 1 > sizeof key)
		return NULL;
	memcpy(key, ns.p, ns.n);
	key[ns.n] = '/';
	memcpy(key + ns.n + 1, name.p, name.n);
	struct dns_service *s =
		htab_get(a->z->services, (struct str){.p = key, .n = ns.n + 1 + name.n});
	return s && s->spec ? s : NULL;
}

static bool repeated(const struct dns_endpoints *eps, size_t i, bool by_name)
{
	return i && memcmp(&eps->v[i].ip, &eps->v[i - 1].ip, sizeof(struct ip)) == 0 &&
	       (!by_name || strcmp(eps->v[i].name, eps->v[i - 1].name) == 0);
}

/* Addresses of all endpoints, or of those with a name, each once, in turning order. */
static void put_endpoints(struct ask *a, const struct dns_endpoints *eps, const struct str *name)
{
	for (size_t k = 0; k < eps->n; k++) {
		size_t i = (k + a->seed) % eps->n;
		const struct dns_endpoint *ep = &eps->v[i];
		if (name && !str_eqz(*name, ep->name))
			continue;
		a->found = true;
		if (wants_ip(a, &ep->ip) && !repeated(eps, i, name != NULL))
			put_ip(a, DNS_ANSWER, &a->name, &ep->ip, TTL_ENDPOINT);
	}
}

static bool port_is(const char *name, uint8_t is, const struct str *port, uint8_t proto)
{
	return !port || (is == proto && str_eqz(*port, name));
}

static void srv_service(
	struct ask *a, const struct dns_service *s, const struct str *port, uint8_t proto)
{
	struct dns_name target;
	bool put = false;
	if (service_name(a->z, s, &target))
		return;
	for (size_t i = 0; i < s->spec->n_ports; i++) {
		const struct dns_port *p = &s->spec->ports[i];
		if (!port_is(p->name, p->proto, port, proto))
			continue;
		a->found = true;
		if (wants(a, DNS_SRV))
			put |= dns_put_srv(a->w, &a->name, TTL_SERVICE, 100, p->port, &target);
	}
	for (size_t i = 0; put && i < s->spec->n_ips; i++)
		put_ip(a, DNS_ADDITIONAL, &target, &s->spec->ips[i], TTL_SERVICE);
}

/* SRV of a headless Service: one an endpoint. */
static void srv_endpoints(
	struct ask *a, const struct dns_service *s, const struct str *port, uint8_t proto)
{
	const struct dns_endpoints *eps = &s->eps;
	struct dns_name base, target, extra[EXTRA_MAX];
	const struct ip *extra_ip[EXTRA_MAX];
	size_t n_extra = 0;
	if (service_name(a->z, s, &base))
		return;
	for (size_t k = 0; k < eps->n; k++) {
		const struct dns_endpoint *ep = &eps->v[(k + a->seed) % eps->n];
		if (dns_name_join(str_of(ep->name), &base, &target))
			continue;
		for (size_t j = 0; j < ep->slice->n_ports; j++) {
			const struct slice_port *p = &ep->slice->ports[j];
			if (!port_is(p->name, p->proto, port, proto))
				continue;
			a->found = true;
			if (!wants(a, DNS_SRV) ||
				!dns_put_srv(a->w, &a->name, TTL_ENDPOINT, 100, p->port, &target) ||
				n_extra == EXTRA_MAX)
				continue;
			extra_ip[n_extra] = &ep->ip;
			extra[n_extra++] = target;
		}
	}
	for (size_t i = 0; i < n_extra; i++)
		put_ip(a, DNS_ADDITIONAL, &extra[i], extra_ip[i], TTL_ENDPOINT);
}

static void srv(struct ask *a, const struct dns_service *s, const struct str *port, uint8_t proto)
{
	if (s->spec->headless)
		srv_endpoints(a, s, port, proto);
	else
		srv_service(a, s, port, proto);
}

/* service.ns.svc */
static void ask_service(struct ask *a, const struct dns_service *s)
{
	a->found = true;
	if (s->spec->external) {
		a->alias = *s->spec->external;
		a->aliased = true;
		return;
	}
	for (size_t i = 0; i < s->spec->n_ips; i++)
		if (wants_ip(a, &s->spec->ips[i]))
			put_ip(a, DNS_ANSWER, &a->name, &s->spec->ips[i], TTL_SERVICE);
	put_endpoints(a, &s->eps, NULL);
	if (a->type == DNS_SRV)
		srv(a, s, NULL, 0);
}

/* endpoint.service.ns.svc */
static void ask_endpoint(struct ask *a, const struct dns_service *s, struct str name)
{
	struct dns_endpoints eps = {0};
	if (s->spec->headless) {
		put_endpoints(a, &s->eps, &name);
		return;
	}
	if (s->spec->external || dns_endpoints_read(s, &eps))
		return;
	put_endpoints(a, &eps, &name);
	free(eps.v);
}

static uint8_t proto_of(struct str label)
{
	return str_eqz(label, "_tcp")	 ? IPPROTO_TCP
	       : str_eqz(label, "_udp")	 ? IPPROTO_UDP
	       : str_eqz(label, "_sctp") ? IPPROTO_SCTP
					 : 0;
}

static bool space_there(const struct ask *a, struct str ns)
{
	return htab_get(a->z->spaces, ns) != NULL;
}

/* l: the labels before "svc". */
static void ask_svc(struct ask *a, const struct str *l, size_t n)
{
	if (n <= 1) {
		a->found = n == 0 || space_there(a, l[0]);
		return;
	}
	const struct dns_service *s = service_find(a, l[n - 1], l[n - 2]);
	if (!s)
		return;
	uint8_t proto = n > 2 ? proto_of(l[n - 3]) : 0;
	if (n == 2)
		ask_service(a, s);
	else if (n == 3 && proto)
		a->found = true; /* ports may be below */
	else if (n == 3)
		ask_endpoint(a, s, l[0]);
	else if (n == 4 && proto && l[0].n > 1 && l[0].p[0] == '_') {
		struct str port = {.p = l[0].p + 1, .n = l[0].n - 1};
		srv(a, s, &port, proto);
	}
}

/* ------------------------------------------------------------------ the rest of the zone */

/* "10-1-2-3": whoever asks knows the address already, so no Pod needs to be there. */
static int dashed_ip(struct str label, struct ip *ret)
{
	char z[64];
	size_t dashes = 0;
	if (str_copy(z, sizeof z, label))
		return -EINVAL;
	for (char *p = z; *p; p++)
		dashes += *p == '-';
	bool v4 = dashes == 3 && strspn(z, "0123456789-") == label.n;
	for (char *p = z; *p; p++)
		if (*p == '-')
			*p = v4 ? '.' : ':';
	return ip_parse(str_of(z), ret);
}

static void ask_pod(struct ask *a, const struct str *l, size_t n)
{
	struct ip ip;
	if (n <= 1) {
		a->found = n == 0 || space_there(a, l[0]);
		return;
	}
	if (n != 2 || !space_there(a, l[1]) || dashed_ip(l[0], &ip))
		return;
	a->found = true;
	if (wants_ip(a, &ip))
		put_ip(a, DNS_ANSWER, &a->name, &ip, TTL_ENDPOINT);
}

static void ask_dns(struct ask *a, const struct str *l, size_t n)
{
	a->found = n == 0 || (n == 1 && str_eqz(l[0], "ns"));
	if (n == 1 && a->found && a->z->dns_ip.family && wants_ip(a, &a->z->dns_ip))
		put_ip(a, DNS_ANSWER, &a->name, &a->z->dns_ip, TTL_SERVICE);
}

static void ask_version(struct ask *a, const struct str *l, size_t n)
{
	static const char text[] = "\005"
				   "1.1.0";
	(void)l;
	a->found = n == 0;
	if (a->found && wants(a, DNS_TXT))
		(void)dns_put_data(
			a->w, DNS_ANSWER, &a->name, DNS_TXT, TTL_SCHEMA, text, sizeof text - 1);
}

static void put_soa(const struct ask *a, enum dns_section s)
{
	static const uint32_t numbers[5] = {1, 7200, 1800, 86400, TTL_NEGATIVE};
	(void)dns_put_soa(
		a->w, s, &a->z->domain, TTL_NEGATIVE, &a->z->primary, &a->z->mail, numbers);
}

static void ask_apex(struct ask *a)
{
	a->found = true;
	if (wants(a, DNS_SOA))
		put_soa(a, DNS_ANSWER);
	if (wants(a, DNS_NS))
		(void)dns_put_name(
			a->w, DNS_ANSWER, &a->z->domain, DNS_NS, TTL_SERVICE, &a->z->primary);
	if (wants(a, DNS_NS) && a->z->dns_ip.family)
		put_ip(a, DNS_ADDITIONAL, &a->z->primary, &a->z->dns_ip, TTL_SERVICE);
}

static const struct {
	const char *label;
	void (*fn)(struct ask *a, const struct str *l, size_t n);
} branches[] = {
	{"svc", ask_svc},
	{"pod", ask_pod},
	{"dns", ask_dns},
	{"dns-version", ask_version},
};

static void ask_zone(struct ask *a)
{
	struct str l[LABELS_MAX], own[LABELS_MAX];
	size_t n = dns_name_labels(&a->name, l, LABELS_MAX);
	size_t depth = dns_name_labels(&a->z->domain, own, LABELS_MAX);
	if (n == LABELS_MAX || n < depth)
		return;
	n -= depth;
	if (n == 0)
		ask_apex(a);
	for (size_t i = 0; n && i < ARRAY_LEN(branches); i++)
		if (str_eqz(l[n - 1], branches[i].label))
			branches[i].fn(a, l, n - 1);
}

/* ------------------------------------------------------------------ reverse names */

static int hex_digit(struct str s)
{
	if (s.n != 1)
		return -1;
	if (s.p[0] >= '0' && s.p[0] <= '9')
		return s.p[0] - '0';
	return s.p[0] >= 'a' && s.p[0] <= 'f' ? s.p[0] - 'a' + 10 : -1;
}

static int reverse_v4(const struct str *l, struct ip *ip)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t v;
		if (str_u64(l[3 - i], &v) || v > 255 || (l[3 - i].n > 1 && l[3 - i].p[0] == '0'))
			return -EINVAL;
		ip->b[i] = (uint8_t)v;
	}
	ip->family = 4;
	return 0;
}

static int reverse_v6(const struct str *l, struct ip *ip)
{
	for (unsigned i = 0; i < 16; i++) {
		int hi = hex_digit(l[31 - 2 * i]), lo = hex_digit(l[30 - 2 * i]);
		if (hi < 0 || lo < 0)
			return -EINVAL;
		ip->b[i] = (uint8_t)(hi << 4 | lo);
	}
	ip->family = 6;
	return 0;
}

/* The address that a name under in-addr.arpa or ip6.arpa stands for. */
static int reverse_ip(const struct dns_name *name, struct ip *ret)
{
	struct str l[LABELS_MAX];
	struct ip ip = {0};
	size_t n = dns_name_labels(name, l, LABELS_MAX);
	int r = -EINVAL;
	if (n < 2 || !str_eqz(l[n - 1], "arpa"))
		return -EINVAL;
	if (n == 6 && str_eqz(l[4], "in-addr"))
		r = reverse_v4(l, &ip);
	else if (n == 34 && str_eqz(l[32], "ip6"))
		r = reverse_v6(l, &ip);
	if (r == 0)
		*ret = ip;
	return r;
}

static bool in_net(const struct ip *ip, const struct ip *net, unsigned prefix)
{
	if (ip->family != net->family)
		return false;
	for (unsigned i = 0; i < prefix; i++)
		if ((ip->b[i / 8] ^ net->b[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}

static bool ours(const struct dns_zone *z, const struct ip *ip)
{
	for (size_t i = 0; i < z->n_nets; i++)
		if (in_net(ip, &z->nets[i], z->prefixes[i]))
			return true;
	return htab_get(z->addresses, dns_ip_key(ip)) != NULL;
}

static void put_ptr(struct ask *a, const struct dns_service *s, const struct ip *ip)
{
	struct dns_name base, target;
	if (service_name(a->z, s, &base))
		return;
	for (size_t i = 0; i < s->spec->n_ips; i++)
		if (memcmp(&s->spec->ips[i], ip, sizeof *ip) == 0)
			(void)dns_put_name(a->w, DNS_ANSWER, &a->name, DNS_PTR, TTL_SERVICE, &base);
	const char *last = "";
	for (size_t i = 0; i < s->eps.n; i++) {
		const struct dns_endpoint *ep = &s->eps.v[i];
		if (memcmp(&ep->ip, ip, sizeof *ip) || strcmp(last, ep->name) == 0 ||
			dns_name_join(str_of(ep->name), &base, &target))
			continue;
		last = ep->name;
		(void)dns_put_name(a->w, DNS_ANSWER, &a->name, DNS_PTR, TTL_ENDPOINT, &target);
	}
}

static void ask_reverse(struct ask *a, const struct ip *ip)
{
	const struct dns_owner *o = htab_get(a->z->addresses, dns_ip_key(ip));
	a->found = o != NULL;
	for (size_t i = 0; o && wants(a, DNS_PTR) && i < o->n; i++)
		put_ptr(a, o->v[i], ip);
}

/* ------------------------------------------------------------------ entry */

bool dns_zone_owns(struct dns_zone *z, const struct dns_name *name)
{
	struct ip ip;
	(void)dns_zone_flush(z); /* out of memory: the old content, and another try */
	return dns_name_under(name, &z->domain) || (reverse_ip(name, &ip) == 0 && ours(z, &ip));
}

enum dns_verdict dns_zone_answer(struct dns_zone *z, uint32_t seed, struct dns_writer *w,
	enum dns_rcode *ret_rcode, struct dns_name *ret_target)
{
	struct ask a = {.z = z, .w = w, .name = w->q->name, .type = w->q->type, .seed = seed};
	struct ip ip;
	(void)dns_zone_flush(z); /* out of memory: the old content, and another try */
	if (reverse_ip(&a.name, &ip) == 0 && ours(z, &ip))
		ask_reverse(&a, &ip);
	else if (!dns_name_under(&a.name, &z->domain))
		return DNS_ELSEWHERE;
	else
		ask_zone(&a);
	for (unsigned hops = 0; a.aliased && hops < ALIASES_MAX; hops++) {
		(void)dns_put_name(w, DNS_ANSWER, &a.name, DNS_CNAME, TTL_SERVICE, &a.alias);
		a.aliased = false;
		a.name = a.alias;
		if (a.type == DNS_CNAME || a.type == DNS_ANY)
			break;
		if (!dns_name_under(&a.name, &z->domain)) {
			*ret_target = a.name;
			*ret_rcode = DNS_NOERROR;
			return DNS_CHASE;
		}
		a.found = false;
		ask_zone(&a);
	}
	if (a.aliased) { /* in a circle */
		*ret_rcode = DNS_SERVFAIL;
		return DNS_ANSWERED;
	}
	*ret_rcode = a.found ? DNS_NOERROR : DNS_NXDOMAIN;
	if (!a.found || (w->counts[DNS_ANSWER] == 0 && !w->truncated))
		put_soa(&a, DNS_AUTHORITY);
	return DNS_ANSWERED;
}

/* SPDX-License-Identifier: Apache-2.0
 * Cluster addresses and node ports of Services: bitmaps that follow the watch cache. A write takes
 * what it needs before it is stored (a claim) and gives it back when it fails. */
#include "apiserver/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include "xebec/base/tls.h"

enum { PORT_BITS = 65536, CLAIM_MAX = 64 };

struct alloc {
	pthread_mutex_t lock;
	uint32_t base, size; /* IPv4, host order */
	char cidr[24];
	uint16_t port_min, port_max;
	uint64_t *ips;
	uint64_t ports[PORT_BITS / 64];
};

struct alloc_claim { /* taken by one write and nobody else */
	uint32_t ips[2];
	uint16_t ports[CLAIM_MAX];
	size_t n_ips, n_ports;
};

static bool bit(const uint64_t *v, uint32_t i)
{
	return v[i / 64] >> (i % 64) & 1;
}

static void bit_set(uint64_t *v, uint32_t i, bool on)
{
	if (on)
		v[i / 64] |= 1ULL << (i % 64);
	else
		v[i / 64] &= ~(1ULL << (i % 64));
}

int alloc_new(
	const char *cidr, uint16_t port_min, uint16_t port_max, struct alloc **ret, struct err *e)
{
	char addr[24];
	struct str s = str_of(cidr), a = str_cut(&s, '/');
	uint64_t len;
	struct in_addr in;
	if (str_copy(addr, sizeof(addr), a) < 0 || inet_pton(AF_INET, addr, &in) != 1 ||
		str_u64(s, &len) < 0 || len < 12 || len > 30)
		return err_set(
			e, EINVAL, NULL, "service range '%s': want IPv4 with /12 to /30", cidr);
	if (port_min == 0 || port_max < port_min)
		return err_set(e, EINVAL, NULL, "node port range %u-%u", port_min, port_max);
	struct alloc *al = calloc(1, sizeof(*al));
	uint32_t size = 1U << (32 - len);
	if (al)
		al->ips = calloc((size + 63) / 64, sizeof(uint64_t));
	if (!al || !al->ips) {
		free(al);
		return err_set(e, ENOMEM, NULL, "out of memory");
	}
	pthread_mutex_init(&al->lock, NULL);
	al->base = ntohl(in.s_addr) & ~(size - 1);
	al->size = size;
	al->port_min = port_min;
	al->port_max = port_max;
	(void)snprintf(al->cidr, sizeof(al->cidr), "%s", cidr);
	bit_set(al->ips, 0, true);
	bit_set(al->ips, size - 1, true);
	*ret = al;
	return 0;
}

void alloc_free(struct alloc *a)
{
	if (!a)
		return;
	pthread_mutex_destroy(&a->lock);
	free(a->ips);
	free(a);
}

/* -ERANGE: not of the range; -EINVAL: no address. */
static int ip_offset(const struct alloc *a, struct str s, uint32_t *ret)
{
	char z[24];
	struct in_addr in;
	if (str_copy(z, sizeof(z), s) < 0 || inet_pton(AF_INET, z, &in) != 1)
		return -EINVAL;
	uint32_t h = ntohl(in.s_addr);
	if (h < a->base || h - a->base >= a->size)
		return -ERANGE;
	*ret = h - a->base;
	return 0;
}

bool alloc_holds(const struct alloc *a, struct str ip)
{
	uint32_t off;
	return ip_offset(a, ip, &off) == 0 && off != 0 && off != a->size - 1;
}

/* --- following the cache --- */

static void mark(struct alloc *a, const struct obj *o, bool on)
{
	struct jv spec = jv_get(jv_of(obj_bytes(o)), "spec");
	uint32_t off;
	jv_each (ip, jv_get(spec, "clusterIPs")) {
		if (ip_offset(a, jv_raw_str(ip.v), &off) == 0 && off != 0 && off != a->size - 1)
			bit_set(a->ips, off, on);
	}
	jv_each (p, jv_get(spec, "ports")) {
		int64_t n = jv_int(jv_get(p.v, "nodePort"), 0);
		if (n > 0 && n < PORT_BITS)
			bit_set(a->ports, (uint32_t)n, on);
	}
	int64_t h = jv_int(jv_get(spec, "healthCheckNodePort"), 0);
	if (h > 0 && h < PORT_BITS)
		bit_set(a->ports, (uint32_t)h, on);
}

void alloc_observe(struct alloc *a, const struct obj *old, const struct obj *new)
{
	pthread_mutex_lock(&a->lock);
	if (old)
		mark(a, old, false);
	if (new)
		mark(a, new, true);
	pthread_mutex_unlock(&a->lock);
}

void alloc_release(struct alloc *a, struct alloc_claim *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < c->n_ips; i++)
		bit_set(a->ips, c->ips[i], false);
	for (size_t i = 0; i < c->n_ports; i++)
		bit_set(a->ports, c->ports[i], false);
	pthread_mutex_unlock(&a->lock);
	free(c);
}

void alloc_keep(struct alloc_claim *c)
{
	free(c);
}

/* --- taking --- */

/* First free bit from `from` on, wrapping within [lo, hi). -ENOSPC when none. */
static int take_free(uint64_t *v, uint32_t lo, uint32_t hi, uint32_t *ret)
{
	uint32_t rnd;
	random_bytes(&rnd, sizeof(rnd));
	uint32_t n = hi - lo, from = rnd % n;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t b = lo + (from + i) % n;
		if (!bit(v, b)) {
			bit_set(v, b, true);
			*ret = b;
			return 0;
		}
	}
	return -ENOSPC;
}

static int take_ip(struct alloc *a, struct alloc_claim *c, uint32_t *ret)
{
	/* The lower part is left for addresses that people ask for (KEP-3070). */
	uint32_t low = a->size / 16 < 16 ? 16 : a->size / 16 > 256 ? 256 : a->size / 16;
	int rc = -ENOSPC;
	pthread_mutex_lock(&a->lock);
	if (a->size > 2 * low)
		rc = take_free(a->ips, low + 1, a->size - 1, ret);
	if (rc < 0)
		rc = take_free(a->ips, 1, a->size - 1, ret);
	pthread_mutex_unlock(&a->lock);
	if (rc == 0)
		c->ips[c->n_ips++] = *ret;
	return rc;
}

static int claim_ip(struct alloc *a, struct alloc_claim *c, uint32_t off)
{
	pthread_mutex_lock(&a->lock);
	bool taken = bit(a->ips, off);
	if (!taken)
		bit_set(a->ips, off, true);
	pthread_mutex_unlock(&a->lock);
	if (taken)
		return -EEXIST;
	c->ips[c->n_ips++] = off;
	return 0;
}

static bool claimed(const struct alloc_claim *c, uint32_t port)
{
	for (size_t i = 0; i < c->n_ports; i++)
		if (c->ports[i] == port)
			return true;
	return false;
}

static int claim_port(struct alloc *a, struct alloc_claim *c, uint32_t port)
{
	if (claimed(c, port)) /* the same number for TCP and UDP of one Service */
		return 0;
	if (c->n_ports == CLAIM_MAX)
		return -ENOSPC;
	pthread_mutex_lock(&a->lock);
	bool taken = bit(a->ports, port);
	if (!taken)
		bit_set(a->ports, port, true);
	pthread_mutex_unlock(&a->lock);
	if (taken)
		return -EEXIST;
	c->ports[c->n_ports++] = (uint16_t)port;
	return 0;
}

static int take_port(struct alloc *a, struct alloc_claim *c, uint32_t *ret)
{
	if (c->n_ports == CLAIM_MAX)
		return -ENOSPC;
	pthread_mutex_lock(&a->lock);
	int rc = take_free(a->ports, a->port_min, (uint32_t)a->port_max + 1, ret);
	pthread_mutex_unlock(&a->lock);
	if (rc == 0)
		c->ports[c->n_ports++] = (uint16_t)*ret;
	return rc;
}

/* --- the Service --- */

static bool type_is(const json_t *svc, const char *t)
{
	return svc && strcmp(json_str(svc, "spec.type", "ClusterIP"), t) == 0;
}

static bool needs_ip(const json_t *svc)
{
	return svc && !type_is(svc, "ExternalName");
}

static bool needs_ports(const json_t *svc)
{
	return type_is(svc, "NodePort") ||
	       (type_is(svc, "LoadBalancer") &&
		       json_flag(svc, "spec.allocateLoadBalancerNodePorts", true));
}

static bool needs_health_port(const json_t *svc)
{
	return type_is(svc, "LoadBalancer") &&
	       strcmp(json_str(svc, "spec.externalTrafficPolicy", ""), "Local") == 0;
}

static void copy_member(json_t *to, const json_t *from, const char *name)
{
	json_t *v = json_object_get(from, name);
	if (v)
		json_object_set(to, name, v);
}

static bool same(const json_t *a, const json_t *b)
{
	return (!a && !b) || (a && b && json_equal(a, b));
}

/* A port of the old state with this protocol and number, as far as it has a node port. */
static json_t *old_port(const json_t *old, const json_t *port)
{
	size_t i;
	json_t *p;
	json_array_foreach (json_at(old, "spec.ports"), i, p) {
		if (json_i64(p, "port", 0) == json_i64(port, "port", 0) &&
			strcmp(json_str(p, "protocol", "TCP"), json_str(port, "protocol", "TCP")) ==
				0)
			return json_object_get(p, "nodePort");
	}
	return NULL;
}

static bool uses_port(const json_t *svc, int64_t n)
{
	size_t i;
	const json_t *p;
	json_array_foreach (json_at(svc, "spec.ports"), i, p) {
		if (json_i64(p, "nodePort", 0) == n)
			return true;
	}
	return false;
}

/* What the server chose before stays, when the client leaves it out. */
static void keep_allocated(json_t *svc, const json_t *old)
{
	json_t *spec = json_object_get(svc, "spec");
	const json_t *was = json_object_get(old, "spec");
	size_t i;
	json_t *p;
	if (needs_ip(svc) && needs_ip(old)) {
		if (!*json_str(spec, "clusterIP", ""))
			copy_member(spec, was, "clusterIP");
		if (!json_array_size(json_object_get(spec, "clusterIPs")) &&
			same(json_object_get(spec, "clusterIP"), json_object_get(was, "clusterIP")))
			copy_member(spec, was, "clusterIPs");
		if (!json_object_get(spec, "ipFamilies"))
			copy_member(spec, was, "ipFamilies");
		if (!json_object_get(spec, "ipFamilyPolicy"))
			copy_member(spec, was, "ipFamilyPolicy");
	}
	if (needs_ports(svc) && needs_ports(old))
		json_array_foreach (json_object_get(spec, "ports"), i, p) {
			json_t *n = json_i64(p, "nodePort", 0) ? NULL : old_port(old, p);
			if (n && !uses_port(svc, json_integer_value(n)))
				json_object_set(p, "nodePort", n);
		}
	if (needs_health_port(svc) && needs_health_port(old) &&
		!json_i64(spec, "healthCheckNodePort", 0))
		copy_member(spec, was, "healthCheckNodePort");
}

static void drop(json_t *spec, const char *const *names)
{
	for (; *names; names++)
		json_object_del(spec, *names);
}

/* What belongs to the old type only goes, when the client did not change it. */
static void drop_of_old_type(json_t *svc, const json_t *old)
{
	static const char *const ip_fields[] = {
		"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", NULL};
	json_t *spec = json_object_get(svc, "spec");
	const json_t *was = json_object_get(old, "spec");
	size_t i;
	json_t *p;
	if (needs_ip(old) && !needs_ip(svc) &&
		same(json_object_get(spec, "clusterIP"), json_object_get(was, "clusterIP")))
		drop(spec, ip_fields);
	if (needs_ports(old) && !needs_ports(svc))
		json_array_foreach (json_object_get(spec, "ports"), i, p) {
			if (uses_port(old, json_i64(p, "nodePort", 0)))
				json_object_del(p, "nodePort");
		}
	if (needs_health_port(old) && !needs_health_port(svc) &&
		json_i64(spec, "healthCheckNodePort", 0) == json_i64(was, "healthCheckNodePort", 0))
		json_object_del(spec, "healthCheckNodePort");
	if (!type_is(svc, "LoadBalancer") && type_is(old, "LoadBalancer")) {
		json_object_del(spec, "allocateLoadBalancerNodePorts");
		json_object_del(spec, "loadBalancerClass");
		(void)json_put(svc, "status.loadBalancer", json_object());
	}
	if (!type_is(svc, "LoadBalancer") && !type_is(svc, "NodePort") &&
		(type_is(old, "LoadBalancer") || type_is(old, "NodePort")))
		json_object_del(spec, "externalTrafficPolicy");
	if (!needs_ip(svc) && needs_ip(old))
		json_object_del(spec, "internalTrafficPolicy");
}

/* Address families: this cluster has IPv4 service addresses. */
static void default_families(json_t *spec)
{
	bool headless = strcmp(json_str(spec, "clusterIP", ""), "None") == 0;
	bool dual = headless && json_object_size(json_object_get(spec, "selector")) == 0 &&
		    !json_object_get(spec, "ipFamilies");
	if (!json_object_get(spec, "ipFamilyPolicy"))
		json_object_set_new(spec, "ipFamilyPolicy",
			json_string(dual ? "RequireDualStack" : "SingleStack"));
	dual = headless && strcmp(json_str(spec, "ipFamilyPolicy", ""), "RequireDualStack") == 0;
	if (!json_array_size(json_object_get(spec, "ipFamilies")))
		json_object_set_new(spec, "ipFamilies",
			dual ? json_pack("[s,s]", "IPv4", "IPv6") : json_pack("[s]", "IPv4"));
}

static int bad_ip(struct req *r, const json_t *svc, const char *ip, const char *why, struct err *e)
{
	cause_add(&r->causes, "FieldValueInvalid", "spec.clusterIPs",
		"Invalid value: [\"%s\"]: failed to allocate IP %s: %s", ip, ip, why);
	return invalid(r, e, r->rt.kind, json_str(svc, "metadata.name", ""));
}

static int allocate_ip(
	struct req *r, json_t *svc, const json_t *old, struct alloc_claim *c, struct err *e)
{
	struct alloc *a = r->srv->alloc;
	json_t *spec = json_object_get(svc, "spec");
	const char *ip = json_str(spec, "clusterIP", "");
	uint32_t off;
	if (!*ip && json_array_size(json_object_get(spec, "clusterIPs")))
		ip = json_string_value(json_array_get(json_object_get(spec, "clusterIPs"), 0));
	if (ip && *ip) {
		json_object_set_new(spec, "clusterIP", json_string(ip));
		ip = json_str(spec, "clusterIP", "");
		if (!json_array_size(json_object_get(spec, "clusterIPs")))
			json_object_set_new(spec, "clusterIPs", json_pack("[s]", ip));
		default_families(spec);
		if (strcmp(ip, "None") == 0 || strcmp(ip, json_str(old, "spec.clusterIP", "")) == 0)
			return 0;
		int rc = ip_offset(a, str_of(ip), &off);
		if (rc == -EINVAL || needs_ip(old)) /* validation says it better */
			return 0;
		if (rc == -ERANGE) {
			char why[160];
			(void)snprintf(why, sizeof(why),
				"the provided network does not match the current range: the "
				"provided IP "
				"(%s) is not in the valid range. The range of valid IPs is %s",
				ip, a->cidr);
			return bad_ip(r, svc, ip, why, e);
		}
		return claim_ip(a, c, off) < 0
			       ? bad_ip(r, svc, ip, "provided IP is already allocated", e)
			       : 0;
	}
	default_families(spec);
	if (take_ip(a, c, &off) < 0)
		return err_set(e, ENOSPC, "InternalError",
			"failed to allocate a serviceIP: range is full");
	char z[INET_ADDRSTRLEN];
	struct in_addr in = {.s_addr = htonl(a->base + off)};
	(void)inet_ntop(AF_INET, &in, z, sizeof(z));
	json_object_set_new(spec, "clusterIP", json_string(z));
	json_object_set_new(spec, "clusterIPs", json_pack("[s]", z));
	return 0;
}

static int bad_port(
	struct req *r, const json_t *svc, size_t i, int64_t n, const char *why, struct err *e)
{
	char field[64];
	(void)snprintf(field, sizeof(field), "spec.ports[%zu].nodePort", i);
	cause_add(&r->causes, "FieldValueInvalid", field, "Invalid value: %lld: %s", (long long)n,
		why);
	return invalid(r, e, r->rt.kind, json_str(svc, "metadata.name", ""));
}

static int allocate_ports(
	struct req *r, json_t *svc, const json_t *old, struct alloc_claim *c, struct err *e)
{
	struct alloc *a = r->srv->alloc;
	char why[128];
	uint32_t port;
	size_t i;
	json_t *p;
	json_array_foreach (json_at(svc, "spec.ports"), i, p) /* the asked for ones first */
	{
		int64_t n = json_i64(p, "nodePort", 0);
		if (!n || uses_port(old, n))
			continue;
		(void)snprintf(why, sizeof(why),
			"provided port is not in the valid range. The range of valid ports is "
			"%u-%u",
			a->port_min, a->port_max);
		if (n < a->port_min || n > a->port_max)
			return bad_port(r, svc, i, n, why, e);
		if (claim_port(a, c, (uint32_t)n) < 0)
			return bad_port(r, svc, i, n, "provided port is already allocated", e);
	}
	json_array_foreach (json_at(svc, "spec.ports"), i, p) {
		if (json_i64(p, "nodePort", 0))
			continue;
		if (take_port(a, c, &port) < 0)
			return err_set(e, ENOSPC, "InternalError",
				"failed to allocate a nodePort: range is full");
		json_object_set_new(p, "nodePort", json_integer(port));
	}
	return 0;
}

static int allocate_health_port(
	struct req *r, json_t *svc, const json_t *old, struct alloc_claim *c, struct err *e)
{
	int64_t n = json_i64(svc, "spec.healthCheckNodePort", 0);
	uint32_t port;
	if (n && n == json_i64(old, "spec.healthCheckNodePort", 0))
		return 0;
	if (!n) {
		if (take_port(r->srv->alloc, c, &port) < 0)
			return err_set(e, ENOSPC, "InternalError",
				"failed to allocate a HealthCheck NodePort: range is full");
		return json_put(svc, "spec.healthCheckNodePort", json_integer(port));
	}
	if (needs_health_port(old)) /* validation forbids the change */
		return 0;
	if (n < 0 || n >= PORT_BITS || claim_port(r->srv->alloc, c, (uint32_t)n) < 0) {
		cause_add(&r->causes, "", "",
			"failed to allocate requested HealthCheck NodePort %lld: provided port is "
			"already allocated",
			(long long)n);
		return err_set(e, EIO, "InternalError",
			"Internal error occurred: failed to allocate requested HealthCheck "
			"NodePort "
			"%lld: provided port is already allocated",
			(long long)n);
	}
	return 0;
}

int alloc_service(
	struct req *r, json_t *svc, const json_t *old, struct alloc_claim **claim, struct err *e)
{
	struct alloc_claim *c = calloc(1, sizeof(*c));
	json_t *spec = json_object_get(svc, "spec");
	if (!c)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	*claim = c;
	if (!spec)
		return 0;
	if (old) {
		keep_allocated(svc, old);
		drop_of_old_type(svc, old);
	}
	int rc = 0;
	if (needs_ip(svc))
		rc = allocate_ip(r, svc, old, c, e);
	if (rc == 0 && needs_ports(svc))
		rc = allocate_ports(r, svc, old, c, e);
	if (rc == 0 && needs_health_port(svc))
		rc = allocate_health_port(r, svc, old, c, e);
	return rc;
}

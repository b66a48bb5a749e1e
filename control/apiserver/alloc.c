/* SPDX-License-Identifier: Apache-2.0
 * Cluster addresses and node ports of Services: bitmaps that follow the watch cache. A write takes
 * what it needs before it is stored (a claim) and gives it back when it fails. */
#include "apiserver/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include "xebec/base/tls.h"

enum { PORT_BITS = 65536, CLAIM_MAX = 64 };

/* The cluster addresses of one family: a run of `size` from `base` on. */
struct pool {
	bool v6;
	uint8_t base[16]; /* network order; IPv4 in the first four bytes */
	uint32_t size;
	char cidr[64];
	uint64_t *ips;
};

struct alloc {
	pthread_mutex_t lock;
	struct pool pools[2]; /* the cluster's first family, then the second */
	size_t n_pools;
	uint16_t port_min, port_max;
	uint64_t ports[PORT_BITS / 64];
};

struct alloc_claim { /* taken by one write and nobody else */
	struct pool *pools[4];
	uint32_t ips[4];
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

static uint32_t low_word(const struct pool *p, const uint8_t *addr)
{
	uint32_t w;
	memcpy(&w, addr + (p->v6 ? 12 : 0), 4);
	return ntohl(w);
}

static void pool_text(const struct pool *p, uint32_t off, char out[static INET6_ADDRSTRLEN])
{
	uint8_t a[16];
	memcpy(a, p->base, 16);
	uint32_t w = htonl(low_word(p, a) + off);
	memcpy(a + (p->v6 ? 12 : 0), &w, 4);
	(void)inet_ntop(p->v6 ? AF_INET6 : AF_INET, a, out, INET6_ADDRSTRLEN);
}

/* As many addresses as kube-apiserver allows: 2^20. */
static int pool_open(struct pool *p, struct str cidr, struct err *e)
{
	struct str s = cidr, a = str_cut(&s, '/');
	char addr[INET6_ADDRSTRLEN];
	uint64_t len;
	if (str_copy(addr, sizeof(addr), a) < 0 || str_u64(s, &len) < 0)
		return -EINVAL;
	p->v6 = strchr(addr, ':') != NULL;
	unsigned bits = p->v6 ? 128 : 32;
	if (inet_pton(p->v6 ? AF_INET6 : AF_INET, addr, p->base) != 1 || len < bits - 20 ||
		len > bits - 2)
		return -EINVAL;
	p->size = 1U << (bits - len);
	uint32_t w = htonl(low_word(p, p->base) & ~(p->size - 1));
	memcpy(p->base + (p->v6 ? 12 : 0), &w, 4);
	(void)str_copy(p->cidr, sizeof(p->cidr), cidr);
	p->ips = calloc((p->size + 63) / 64, sizeof(uint64_t));
	if (!p->ips)
		return err_set(e, ENOMEM, NULL, "out of memory");
	bit_set(p->ips, 0, true);
	bit_set(p->ips, p->size - 1, true);
	return 0;
}

static int pools_open(struct alloc *al, const char *cidrs, struct err *e)
{
	struct str rest = str_of(cidrs);
	while (rest.n && al->n_pools < 2) {
		int rc = pool_open(&al->pools[al->n_pools], str_cut(&rest, ','), e);
		if (rc == -ENOMEM)
			return rc;
		if (rc < 0)
			break;
		al->n_pools++;
	}
	if (rest.n || al->n_pools == 0 || al->pools[0].v6 ||
		(al->n_pools == 2 && !al->pools[1].v6) ||
		(strchr(cidrs, ',') != NULL) != (al->n_pools == 2))
		return err_set(e, EINVAL, NULL,
			"service range '%s': want IPv4 with /12 to /30, or that and IPv6 with /108 "
			"to "
			"/126 behind a comma",
			cidrs);
	return 0;
}

int alloc_new(
	const char *cidr, uint16_t port_min, uint16_t port_max, struct alloc **ret, struct err *e)
{
	if (port_min == 0 || port_max < port_min)
		return err_set(e, EINVAL, NULL, "node port range %u-%u", port_min, port_max);
	struct alloc *al = calloc(1, sizeof(*al));
	if (!al)
		return err_set(e, ENOMEM, NULL, "out of memory");
	pthread_mutex_init(&al->lock, NULL);
	al->port_min = port_min;
	al->port_max = port_max;
	int rc = pools_open(al, cidr, e);
	if (rc < 0) {
		alloc_free(al);
		return rc;
	}
	*ret = al;
	return 0;
}

void alloc_free(struct alloc *a)
{
	if (!a)
		return;
	pthread_mutex_destroy(&a->lock);
	for (size_t i = 0; i < ARRAY_LEN(a->pools); i++)
		free(a->pools[i].ips);
	free(a);
}

/* -ERANGE: not of the range; -EINVAL: no address of its family. */
static int ip_offset(const struct pool *p, struct str s, uint32_t *ret)
{
	char z[INET6_ADDRSTRLEN];
	uint8_t a[16] = {0};
	if (str_copy(z, sizeof(z), s) < 0 || inet_pton(p->v6 ? AF_INET6 : AF_INET, z, a) != 1)
		return -EINVAL;
	uint32_t off = low_word(p, a) - low_word(p, p->base);
	if ((p->v6 && memcmp(a, p->base, 12) != 0) || off >= p->size)
		return -ERANGE;
	*ret = off;
	return 0;
}

/* The pool of an address's family, or NULL. */
static struct pool *pool_of(struct alloc *a, const char *ip)
{
	bool v6 = strchr(ip, ':') != NULL;
	for (size_t i = 0; i < a->n_pools; i++)
		if (a->pools[i].v6 == v6)
			return &a->pools[i];
	return NULL;
}

static bool usable(const struct pool *p, struct str ip, uint32_t *off)
{
	return ip_offset(p, ip, off) == 0 && *off != 0 && *off != p->size - 1;
}

bool alloc_holds(const struct alloc *a, struct str ip)
{
	uint32_t off;
	for (size_t i = 0; i < a->n_pools; i++)
		if (usable(&a->pools[i], ip, &off))
			return true;
	return false;
}

/* --- following the cache --- */

static void mark(struct alloc *a, const struct obj *o, bool on)
{
	struct jv spec = jv_get(jv_of(obj_bytes(o)), "spec");
	uint32_t off;
	jv_each (ip, jv_get(spec, "clusterIPs")) {
		for (size_t i = 0; i < a->n_pools; i++)
			if (usable(&a->pools[i], jv_raw_str(ip.v), &off))
				bit_set(a->pools[i].ips, off, on);
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
		bit_set(c->pools[i]->ips, c->ips[i], false);
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

static int claim_add(struct alloc_claim *c, struct pool *p, uint32_t off)
{
	c->pools[c->n_ips] = p;
	c->ips[c->n_ips++] = off;
	return 0;
}

static int take_ip(struct alloc *a, struct pool *p, struct alloc_claim *c, uint32_t *ret)
{
	/* The lower part is left for addresses that people ask for (KEP-3070). */
	uint32_t low = p->size / 16 < 16 ? 16 : p->size / 16 > 256 ? 256 : p->size / 16;
	int rc = -ENOSPC;
	pthread_mutex_lock(&a->lock);
	if (p->size > 2 * low)
		rc = take_free(p->ips, low + 1, p->size - 1, ret);
	if (rc < 0)
		rc = take_free(p->ips, 1, p->size - 1, ret);
	pthread_mutex_unlock(&a->lock);
	return rc < 0 ? rc : claim_add(c, p, *ret);
}

static int claim_ip(struct alloc *a, struct pool *p, struct alloc_claim *c, uint32_t off)
{
	pthread_mutex_lock(&a->lock);
	bool taken = bit(p->ips, off);
	if (!taken)
		bit_set(p->ips, off, true);
	pthread_mutex_unlock(&a->lock);
	return taken ? -EEXIST : claim_add(c, p, off);
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

/* From two families to one: what the client left of the second one goes with it. */
static void second_drop(json_t *spec, const json_t *was)
{
	static const char *const lists[] = {"clusterIPs", "ipFamilies"};
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		json_t *v = json_object_get(spec, lists[i]);
		if (json_array_size(v) == 2 && same(v, json_object_get(was, lists[i])))
			(void)json_object_set_new(
				spec, lists[i], json_pack("[O]", json_array_get(v, 0)));
	}
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
		if (strcmp(json_str(spec, "ipFamilyPolicy", ""), "SingleStack") == 0)
			second_drop(spec, was);
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

static const char *family_name(bool v6)
{
	return v6 ? "IPv6" : "IPv4";
}

static bool is_none(const json_t *spec)
{
	return strcmp(json_str(spec, "clusterIP", ""), "None") == 0;
}

/* The families of addresses that were asked for are told by them. */
static void families_of_addresses(json_t *spec)
{
	json_t *families = json_object_get(spec, "ipFamilies"), *ip;
	size_t i;
	if (is_none(spec))
		return;
	if (!json_is_array(families)) {
		families = json_array();
		(void)json_object_set_new(spec, "ipFamilies", families);
	}
	json_array_foreach (json_object_get(spec, "clusterIPs"), i, ip) {
		if (i < json_array_size(families) || !json_is_string(ip))
			continue;
		bool v6 = strchr(json_string_value(ip), ':') != NULL;
		(void)json_array_append_new(families, json_string(family_name(v6)));
	}
}

/* Policy and families where the client left them out (KEP-563). Of a headless Service without a
 * selector nobody knows what its endpoints will be: both. */
static void default_families(const struct alloc *a, json_t *spec)
{
	bool any = is_none(spec) && json_object_size(json_object_get(spec, "selector")) == 0;
	json_t *families = json_object_get(spec, "ipFamilies");
	families_of_addresses(spec);
	bool two = json_array_size(json_object_get(spec, "ipFamilies")) == 2 ||
		   json_array_size(json_object_get(spec, "clusterIPs")) == 2;
	if (!json_object_get(spec, "ipFamilyPolicy"))
		json_object_set_new(spec, "ipFamilyPolicy",
			json_string(two || (any && !json_array_size(families)) ? "RequireDualStack"
									       : "SingleStack"));
	const char *policy = json_str(spec, "ipFamilyPolicy", "");
	bool dual = strcmp(policy, "RequireDualStack") == 0 ||
		    (strcmp(policy, "PreferDualStack") == 0 && (any || a->n_pools == 2));
	families = json_object_get(spec, "ipFamilies");
	if (!json_is_array(families)) {
		families = json_array();
		(void)json_object_set_new(spec, "ipFamilies", families);
	}
	if (json_array_size(families) == 0)
		(void)json_array_append_new(families, json_string(family_name(a->pools[0].v6)));
	if (dual && json_array_size(families) == 1) {
		const char *first = json_string_value(json_array_get(families, 0));
		bool v6 = first && strcmp(first, "IPv6") == 0;
		(void)json_array_append_new(families, json_string(family_name(!v6)));
	}
}

static int bad_ip(struct req *r, const json_t *svc, const char *ip, const char *why, struct err *e)
{
	cause_add(&r->causes, "FieldValueInvalid", "spec.clusterIPs",
		"Invalid value: [\"%s\"]: failed to allocate IP %s: %s", ip, ip, why);
	return invalid(r, e, r->rt.kind, json_str(svc, "metadata.name", ""));
}

/* What this cluster cannot give. */
static int check_families(struct req *r, const json_t *svc, struct err *e)
{
	const struct alloc *a = r->srv->alloc;
	const json_t *spec = json_object_get(svc, "spec"),
		     *families = json_object_get(spec, "ipFamilies");
	const char *policy = json_str(spec, "ipFamilyPolicy", "");
	bool any = is_none(spec) && json_object_size(json_object_get(spec, "selector")) == 0;
	size_t before = r->causes.n, i;
	json_t *f;
	if (any) /* nothing is given to it */
		return 0;
	if (strcmp(policy, "RequireDualStack") == 0 && a->n_pools < 2)
		cause_add(&r->causes, "FieldValueInvalid", "spec.ipFamilyPolicy",
			"Invalid value: \"RequireDualStack\": this cluster is not configured for "
			"dual-stack services");
	else if (strcmp(policy, "SingleStack") == 0 &&
		 (json_array_size(families) == 2 ||
			 json_array_size(json_object_get(spec, "clusterIPs")) == 2))
		cause_add(&r->causes, "FieldValueInvalid", "spec.ipFamilyPolicy",
			"Invalid value: \"SingleStack\": must be RequireDualStack or "
			"PreferDualStack "
			"when multiple ipFamilies are specified");
	json_array_foreach (families, i, f) {
		const char *name = json_string_value(f) ? json_string_value(f) : "";
		char field[40];
		(void)snprintf(field, sizeof(field), "spec.ipFamilies[%zu]", i);
		if (strcmp(name, "IPv6") == 0 && a->n_pools < 2 &&
			strcmp(policy, "RequireDualStack") != 0)
			cause_add(&r->causes, "FieldValueInvalid", field,
				"Invalid value: \"%s\": not configured on this cluster", name);
	}
	return r->causes.n > before ? invalid(r, e, r->rt.kind, json_str(svc, "metadata.name", ""))
				    : 0;
}

/* An address that the client asks for. */
static int allocate_given(struct req *r, const json_t *svc, const json_t *old, const char *ip,
	struct alloc_claim *c, struct err *e)
{
	struct alloc *a = r->srv->alloc;
	struct pool *p = pool_of(a, ip);
	uint32_t off;
	size_t i;
	json_t *was;
	json_array_foreach (json_at(old, "spec.clusterIPs"), i, was)
		if (json_is_string(was) && strcmp(json_string_value(was), ip) == 0)
			return 0;
	if (!p)
		return bad_ip(r, svc, ip, "no range of its family is configured", e);
	int rc = ip_offset(p, str_of(ip), &off);
	if (rc == -EINVAL) /* validation says it better */
		return 0;
	if (rc == -ERANGE) {
		char why[224];
		(void)snprintf(why, sizeof(why),
			"the provided network does not match the current range: the provided IP "
			"(%s) is not in the valid range. The range of valid IPs is %s",
			ip, p->cidr);
		return bad_ip(r, svc, ip, why, e);
	}
	return claim_ip(a, p, c, off) < 0
		       ? bad_ip(r, svc, ip, "provided IP is already allocated", e)
		       : 0;
}

/* One for each family that has none yet. */
static int allocate_rest(struct req *r, json_t *spec, struct alloc_claim *c, struct err *e)
{
	struct alloc *a = r->srv->alloc;
	const json_t *families = json_object_get(spec, "ipFamilies");
	json_t *ips = json_object_get(spec, "clusterIPs");
	for (size_t i = json_array_size(ips); i < json_array_size(families); i++) {
		const char *name = json_string_value(json_array_get(families, i));
		struct pool *p = pool_of(a, name && strcmp(name, "IPv6") == 0 ? ":" : ".");
		char z[INET6_ADDRSTRLEN];
		uint32_t off;
		if (!p) /* PreferDualStack without a second range */
			continue;
		if (take_ip(a, p, c, &off) < 0)
			return err_set(e, ENOSPC, "InternalError",
				"failed to allocate a serviceIP: range is full");
		pool_text(p, off, z);
		(void)json_array_append_new(ips, json_string(z));
	}
	return 0;
}

static int allocate_ip(
	struct req *r, json_t *svc, const json_t *old, struct alloc_claim *c, struct err *e)
{
	json_t *spec = json_object_get(svc, "spec"), *ips = json_object_get(spec, "clusterIPs"), *v;
	const char *ip = json_str(spec, "clusterIP", "");
	size_t i;
	if (!*ip && json_array_size(ips))
		json_object_set(spec, "clusterIP", json_array_get(ips, 0));
	if (!json_array_size(ips))
		json_object_set_new(spec, "clusterIPs", *ip ? json_pack("[s]", ip) : json_array());
	default_families(r->srv->alloc, spec);
	int rc = check_families(r, svc, e);
	if (rc < 0 || is_none(spec))
		return rc;
	/* The first address never changes: validation says so better. */
	if (needs_ip(old) && *json_str(old, "spec.clusterIP", "") &&
		strcmp(json_str(spec, "clusterIP", ""), json_str(old, "spec.clusterIP", "")) != 0)
		return 0;
	json_array_foreach (json_object_get(spec, "clusterIPs"), i, v)
		if (i < 2 && json_is_string(v) &&
			(rc = allocate_given(r, svc, old, json_string_value(v), c, e)) < 0)
			return rc;
	rc = allocate_rest(r, spec, c, e);
	if (rc == 0 && !*json_str(spec, "clusterIP", ""))
		json_object_set(
			spec, "clusterIP", json_array_get(json_object_get(spec, "clusterIPs"), 0));
	return rc;
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

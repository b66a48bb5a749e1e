/* SPDX-License-Identifier: Apache-2.0
 * Filling the index of the cluster's zone. */
#include "dns_zone_int.h"

#include <errno.h>
#include <netinet/in.h>

_Static_assert(sizeof(struct ip) == 17, "struct ip is a hash key: it must hold no padding");

/* ------------------------------------------------------------------ reading objects */

static uint8_t proto_of(struct jv v)
{
	if (jv_is_str(v, "UDP"))
		return IPPROTO_UDP;
	return jv_is_str(v, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

static size_t ports_read(struct jv list, struct dns_port *ret)
{
	size_t n = 0;
	jv_each (it, list) {
		struct dns_port p = {.proto = proto_of(jv_get(it.v, "protocol"))};
		int64_t port = jv_int(jv_get(it.v, "port"), 0);
		if (port < 1 || port > 65535 ||
			jv_copy(jv_get(it.v, "name"), p.name, sizeof p.name))
			continue;
		p.port = (uint16_t)port;
		ret[n++] = p;
	}
	return n;
}

/* The host name, else the address with dashes (the specification leaves the choice to us). */
static void endpoint_name(struct dns_endpoint *ep, struct jv v)
{
	if (jv_copy(jv_get(v, "hostname"), ep->name, sizeof ep->name) == 0 && *ep->name)
		return;
	ip_format(&ep->ip, ep->name);
	for (char *p = ep->name; *p; p++)
		if (*p == '.' || *p == ':')
			*p = '-';
}

static int by_address(const void *a, const void *b)
{
	const struct dns_endpoint *x = a, *y = b;
	int r = memcmp(&x->ip, &y->ip, sizeof x->ip);
	return r ? r : strcmp(x->name, y->name);
}

static int slice_read(const struct dns_service *s, struct jv v, struct dns_endpoints *out)
{
	struct jv ports = jv_get(v, "ports");
	struct dns_port *p = arena_alloc(&out->mem, (jv_len(ports) + 1) * sizeof *p);
	if (!p)
		return -ENOMEM;
	size_t n_ports = ports_read(ports, p);
	jv_each (it, jv_get(v, "endpoints")) {
		struct dns_endpoint *ep = &out->v[out->n];
		bool ready = jv_bool(jv_path(it.v, "conditions.ready"), true);
		*ep = (struct dns_endpoint){.ports = p, .n_ports = n_ports};
		/* More than one address means the same pod again: the first counts (API docs). */
		if ((!ready && !s->not_ready_too) ||
			ip_parse(jv_raw_str(jv_path(it.v, "addresses.0")), &ep->ip))
			continue;
		endpoint_name(ep, it.v);
		out->n++;
	}
	return 0;
}

int dns_endpoints_read(const struct dns_service *s, struct dns_endpoints *ret)
{
	struct dns_endpoints eps = {0};
	size_t n = 0;
	int r = 0;
	for (size_t i = 0; i < s->n_slices; i++)
		n += jv_len(jv_get(s->slices[i].v, "endpoints"));
	eps.v = arena_alloc(&eps.mem, (n + 1) * sizeof *eps.v);
	r = eps.v ? 0 : -ENOMEM;
	for (size_t i = 0; !r && i < s->n_slices; i++)
		r = slice_read(s, s->slices[i].v, &eps);
	if (r) {
		arena_free(&eps.mem);
		return r;
	}
	qsort(eps.v, eps.n, sizeof *eps.v, by_address);
	*ret = eps;
	return 0;
}

/* ------------------------------------------------------------------ who has an address */

static void owner_free(void *v)
{
	struct dns_owner *o = v;
	free(o->v);
	free(o);
}

static int owner_add(struct dns_zone *z, const struct ip *ip, struct dns_service *s)
{
	struct dns_owner *o = htab_get(z->addresses, dns_ip_key(ip));
	if (!o) {
		o = calloc(1, sizeof *o);
		if (!o || htab_put(z->addresses, dns_ip_key(ip), o, NULL)) {
			free(o);
			return -ENOMEM;
		}
	}
	for (size_t i = 0; i < o->n; i++)
		if (o->v[i] == s)
			return 0;
	struct dns_service **v = realloc(o->v, (o->n + 1) * sizeof *v);
	if (!v)
		return -ENOMEM;
	o->v = v;
	o->v[o->n++] = s;
	return 0;
}

static void owner_del(struct dns_zone *z, const struct ip *ip, const struct dns_service *s)
{
	struct dns_owner *o = htab_get(z->addresses, dns_ip_key(ip));
	for (size_t i = 0; o && i < o->n; i++)
		if (o->v[i] == s)
			o->v[i--] = o->v[--o->n];
	if (o && o->n == 0) {
		(void)htab_del(z->addresses, dns_ip_key(ip));
		owner_free(o);
	}
}

static void addresses_out(struct dns_zone *z, const struct dns_service *s)
{
	for (size_t i = 0; i < s->n_ips; i++)
		owner_del(z, &s->ips[i], s);
	for (size_t i = 0; i < s->eps.n; i++)
		owner_del(z, &s->eps.v[i].ip, s);
}

static int addresses_in(struct dns_zone *z, struct dns_service *s)
{
	int r = 0;
	for (size_t i = 0; !r && i < s->n_ips; i++)
		r = owner_add(z, &s->ips[i], s);
	for (size_t i = 0; !r && i < s->eps.n; i++)
		r = owner_add(z, &s->eps.v[i].ip, s);
	return r;
}

/* ------------------------------------------------------------------ entries */

static struct dns_space *space_get(struct dns_zone *z, struct str ns)
{
	struct dns_space *s = htab_get(z->spaces, ns);
	if (s)
		return s;
	s = calloc(1, sizeof *s);
	if (s && htab_put(z->spaces, ns, s, NULL)) {
		free(s);
		return NULL;
	}
	return s;
}

static void space_tidy(struct dns_zone *z, struct str ns, const struct dns_space *s)
{
	if (!s->there && !s->n_services)
		free(htab_del(z->spaces, ns));
}

static int space_count(struct dns_zone *z, struct str ns, bool more)
{
	struct dns_space *s = space_get(z, ns);
	if (!s)
		return -ENOMEM;
	s->n_services = more ? s->n_services + 1 : s->n_services - (s->n_services > 0);
	space_tidy(z, ns, s);
	return 0;
}

static void service_key(struct buf *b, struct str ns, struct str name)
{
	buf_add_str(b, ns);
	buf_addc(b, '/');
	buf_add_str(b, name);
}

static void content_free(struct dns_service *s)
{
	arena_free(&s->eps.mem);
	free(s->ports);
	free(s->external);
	s->ports = NULL;
	s->external = NULL;
	s->eps = (struct dns_endpoints){0};
	s->n_ips = s->n_ports = 0;
	s->there = s->headless = s->not_ready_too = false;
}

static void slice_out(struct dns_zone *z, struct dns_service *s, size_t i)
{
	if (z->c.release && s->slices[i].hold)
		z->c.release(s->slices[i].hold);
	free(s->slices[i].name);
	s->slices[i] = s->slices[--s->n_slices];
}

static void service_free(struct dns_zone *z, struct dns_service *s)
{
	list_del(&s->dirty);
	content_free(s);
	while (s->n_slices)
		slice_out(z, s, 0);
	free(s->slices);
	free(s->ns);
	free(s->name);
	free(s);
}

static struct dns_service *service_get(struct dns_zone *z, struct str ns, struct str name)
{
	AUTO_BUF struct buf key = {0};
	service_key(&key, ns, name);
	struct dns_service *s = key.err ? NULL : htab_get(z->services, buf_str(&key));
	if (s || key.err)
		return s;
	s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	list_init(&s->dirty);
	s->ns = str_dup(ns);
	s->name = str_dup(name);
	if (!s->ns || !s->name || htab_put(z->services, buf_str(&key), s, NULL)) {
		service_free(z, s);
		return NULL;
	}
	return s;
}

static void service_tidy(struct dns_zone *z, struct dns_service *s)
{
	AUTO_BUF struct buf key = {0};
	if (s->there || s->n_slices)
		return;
	service_key(&key, str_of(s->ns), str_of(s->name));
	if (key.err)
		return;
	(void)htab_del(z->services, buf_str(&key));
	service_free(z, s);
}

/* ------------------------------------------------------------------ services */

static int external_read(struct dns_service *s, struct jv spec)
{
	struct dns_name name;
	struct ip ip;
	struct str text = jv_raw_str(jv_get(spec, "externalName"));
	/* An address is no name that an alias could point to. */
	if (ip_parse(text, &ip) == 0 || dns_name_of(text, &name) || name.len == 1)
		return 0;
	s->external = malloc(sizeof name);
	if (!s->external)
		return -ENOMEM;
	*s->external = name;
	return 0;
}

static void ips_read(struct dns_service *s, struct jv spec)
{
	jv_each (it, jv_get(spec, "clusterIPs"))
		if (s->n_ips < ARRAY_LEN(s->ips) &&
			ip_parse(jv_raw_str(it.v), &s->ips[s->n_ips]) == 0)
			s->n_ips++;
	if (!s->n_ips && ip_parse(jv_raw_str(jv_get(spec, "clusterIP")), &s->ips[0]) == 0)
		s->n_ips = 1;
}

static int content_read(struct dns_service *s, struct jv v)
{
	struct jv spec = jv_get(v, "spec"), ports = jv_get(spec, "ports");
	s->there = true;
	s->not_ready_too = jv_bool(jv_get(spec, "publishNotReadyAddresses"), false);
	if (jv_is_str(jv_get(spec, "type"), "ExternalName"))
		return external_read(s, spec);
	ips_read(s, spec);
	s->headless = s->n_ips == 0;
	s->ports = calloc(jv_len(ports) + 1, sizeof *s->ports);
	if (!s->ports)
		return -ENOMEM;
	s->n_ports = ports_read(ports, s->ports);
	return 0;
}

/* Endpoints of headless Services anew: a burst of events costs one reading. */
static int endpoints_refresh(struct dns_zone *z, struct dns_service *s)
{
	struct dns_endpoints eps = {0};
	int r = s->there && s->headless ? dns_endpoints_read(s, &eps) : 0;
	if (r)
		return r;
	addresses_out(z, s);
	arena_free(&s->eps.mem);
	s->eps = eps;
	return addresses_in(z, s);
}

int dns_zone_flush(struct dns_zone *z)
{
	int first = 0;
	list_each_safe (it, &z->dirty) {
		struct dns_service *s = list_entry(it, struct dns_service, dirty);
		int r = endpoints_refresh(z, s);
		if (r == 0)
			list_del(it);
		first = first ? first : r;
	}
	return first;
}

static void mark(struct dns_zone *z, struct dns_service *s)
{
	if (list_empty(&s->dirty))
		list_push(&z->dirty, &s->dirty);
}

int dns_zone_service(struct dns_zone *z, struct str ns, struct str name, struct jv v)
{
	struct dns_service *s = service_get(z, ns, name);
	if (!s)
		return -ENOMEM;
	bool was = s->there;
	addresses_out(z, s);
	content_free(s);
	int r = jv_present(v) ? content_read(s, v) : 0;
	if (s->there != was) {
		int counted = space_count(z, ns, s->there);
		r = r ? r : counted;
		z->n_services = s->there ? z->n_services + 1 : z->n_services - 1;
	}
	int rc = addresses_in(z, s);
	r = r ? r : rc;
	mark(z, s);
	service_tidy(z, s);
	return r;
}

int dns_zone_slice(struct dns_zone *z, struct str ns, struct str service, struct str name,
	struct jv v, void *hold)
{
	struct dns_service *s = service_get(z, ns, service);
	int r = s ? 0 : -ENOMEM;
	for (size_t i = 0; s && i < s->n_slices; i++)
		if (str_eqz(name, s->slices[i].name)) {
			slice_out(z, s, i);
			break;
		}
	if (s && jv_present(v)) {
		struct dns_slice *all = realloc(s->slices, (s->n_slices + 1) * sizeof *all);
		char *copy = all ? str_dup(name) : NULL;
		s->slices = all ? all : s->slices;
		if (copy)
			s->slices[s->n_slices++] =
				(struct dns_slice){.name = copy, .v = v, .hold = STEAL(hold)};
		r = copy ? 0 : -ENOMEM;
	}
	if (hold && z->c.release)
		z->c.release(hold);
	if (s) {
		mark(z, s);
		service_tidy(z, s);
	}
	return r;
}

int dns_zone_namespace(struct dns_zone *z, struct str name, bool there)
{
	struct dns_space *s = space_get(z, name);
	if (!s)
		return -ENOMEM;
	s->there = there;
	space_tidy(z, name, s);
	return 0;
}

size_t dns_zone_services(const struct dns_zone *z)
{
	return z->n_services;
}

/* ------------------------------------------------------------------ life */

static int net_add(struct dns_zone *z, const char *cidr, struct err *e)
{
	if (!cidr)
		return 0;
	if (ip_cidr_parse(str_of(cidr), &z->nets[z->n_nets], &z->prefixes[z->n_nets]))
		return err_set(e, EINVAL, NULL, "'%s' is not a CIDR", cidr);
	z->n_nets++;
	return 0;
}

static int names_fill(struct dns_zone *z, struct err *e)
{
	struct dns_name dns;
	if (dns_name_of(str_of(z->c.domain), &z->domain) || z->domain.len == 1 ||
		dns_name_join(STR("dns"), &z->domain, &dns) ||
		dns_name_join(STR("ns"), &dns, &z->primary) ||
		dns_name_join(STR("hostmaster"), &z->domain, &z->mail))
		return err_set(e, EINVAL, NULL, "'%s' is not a domain", z->c.domain);
	if (z->c.dns_ip && ip_parse(str_of(z->c.dns_ip), &z->dns_ip))
		return err_set(e, EINVAL, NULL, "'%s' is not an address", z->c.dns_ip);
	return 0;
}

int dns_zone_new(const struct dns_zone_config *c, struct dns_zone **ret, struct err *e)
{
	struct dns_zone *z = calloc(1, sizeof *z);
	if (!z)
		return err_set(e, ENOMEM, NULL, "out of memory");
	z->c = *c;
	list_init(&z->dirty);
	z->services = htab_new();
	z->spaces = htab_new();
	z->addresses = htab_new();
	int r = z->services && z->spaces && z->addresses
			? names_fill(z, e)
			: err_set(e, ENOMEM, NULL, "out of memory");
	r = r ? r : net_add(z, c->service_cidr, e);
	r = r ? r : net_add(z, c->cluster_cidr, e);
	if (r) {
		dns_zone_free(z);
		return r;
	}
	/* the strings were borrowed */
	z->c.domain = z->c.service_cidr = z->c.cluster_cidr = z->c.dns_ip = NULL;
	*ret = z;
	return 0;
}

void dns_zone_free(struct dns_zone *z)
{
	if (!z)
		return;
	if (z->services) {
		htab_each (z->services, it)
			service_free(z, it.value);
		htab_free(z->services, NULL);
	}
	if (z->spaces)
		htab_free(z->spaces, free);
	if (z->addresses)
		htab_free(z->addresses, owner_free);
	free(z);
}

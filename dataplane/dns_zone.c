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

static int external_read(struct dns_spec *s, struct jv spec)
{
	struct dns_name name;
	struct ip ip;
	struct str text = jv_raw_str(jv_get(spec, "externalName"));
	s->headless = false;
	/* An address is no name that an alias could point to. */
	if (ip_parse(text, &ip) == 0 || dns_name_of(text, &name) || name.len == 1)
		return 0;
	s->external = malloc(sizeof name);
	if (!s->external)
		return -ENOMEM;
	*s->external = name;
	return 0;
}

static void ips_read(struct dns_spec *s, struct jv spec)
{
	jv_each (it, jv_get(spec, "clusterIPs"))
		if (s->n_ips < ARRAY_LEN(s->ips) &&
			ip_parse(jv_raw_str(it.v), &s->ips[s->n_ips]) == 0)
			s->n_ips++;
	if (!s->n_ips && ip_parse(jv_raw_str(jv_get(spec, "clusterIP")), &s->ips[0]) == 0)
		s->n_ips = 1;
}

static int spec_read(struct dns_spec *s, struct jv spec)
{
	struct jv ports = jv_get(spec, "ports");
	s->selector = jv_len(jv_get(spec, "selector")) > 0;
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

struct dns_spec *dns_spec_new(struct jv service)
{
	struct dns_spec *s = calloc(1, sizeof *s);
	if (s && spec_read(s, jv_get(service, "spec"))) {
		dns_spec_free(s);
		return NULL;
	}
	return s;
}

void dns_spec_free(void *spec)
{
	struct dns_spec *s = spec;
	if (!s)
		return;
	free(s->external);
	free(s->ports);
	free(s);
}

/* ------------------------------------------------------------------ endpoints */

/* The host name, else the address with dashes (the specification leaves the choice to us). */
static void endpoint_name(struct dns_endpoint *ep, const char *hostname)
{
	if (hostname && str_copy(ep->name, sizeof ep->name, str_of(hostname)) == 0)
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

static void slice_read(
	const struct dns_service *s, const struct slice_spec *slice, struct dns_endpoints *out)
{
	for (size_t i = 0; i < slice->n_eps; i++) {
		const struct slice_ep *from = &slice->eps[i];
		if (!(from->flags & EP_READY) && !s->spec->not_ready_too)
			continue;
		struct dns_endpoint *ep = &out->v[out->n++];
		*ep = (struct dns_endpoint){.ip.family = from->family, .slice = slice};
		memcpy(ep->ip.b, from->ip, sizeof ep->ip.b);
		endpoint_name(ep, slice->hostnames ? slice->hostnames[i] : NULL);
	}
}

int dns_endpoints_read(const struct dns_service *s, struct dns_endpoints *ret)
{
	struct dns_endpoints eps = {0};
	size_t n = 0;
	for (size_t i = 0; i < s->n_slices; i++)
		n += s->slices[i].spec->n_eps;
	eps.v = malloc((n + 1) * sizeof *eps.v);
	if (!eps.v)
		return -ENOMEM;
	for (size_t i = 0; i < s->n_slices; i++)
		slice_read(s, s->slices[i].spec, &eps);
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
	for (size_t i = 0; s->spec && i < s->spec->n_ips; i++)
		owner_del(z, &s->spec->ips[i], s);
	for (size_t i = 0; i < s->eps.n; i++)
		owner_del(z, &s->eps.v[i].ip, s);
}

static int addresses_in(struct dns_zone *z, struct dns_service *s)
{
	int r = 0;
	for (size_t i = 0; s->spec && !r && i < s->spec->n_ips; i++)
		r = owner_add(z, &s->spec->ips[i], s);
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

static void release(struct dns_zone *z, void *hold)
{
	if (z->c.release && hold)
		z->c.release(hold);
}

/* Slices or Service are about to change: what points into them goes. */
static void endpoints_out(struct dns_zone *z, struct dns_service *s)
{
	addresses_out(z, s);
	free(s->eps.v);
	s->eps = (struct dns_endpoints){0};
}

static void slice_out(struct dns_zone *z, struct dns_service *s, size_t i)
{
	release(z, s->slices[i].hold);
	free(s->slices[i].name);
	s->slices[i] = s->slices[--s->n_slices];
}

static void service_free(struct dns_zone *z, struct dns_service *s)
{
	list_del(&s->dirty);
	release(z, s->hold);
	free(s->eps.v);
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
	if (s->spec || s->n_slices)
		return;
	service_key(&key, str_of(s->ns), str_of(s->name));
	if (key.err)
		return;
	(void)htab_del(z->services, buf_str(&key));
	service_free(z, s);
}

/* ------------------------------------------------------------------ changes */

/* Endpoints of headless Services anew: a burst of events costs one reading. */
static int endpoints_in(struct dns_zone *z, struct dns_service *s)
{
	int r = s->spec && s->spec->headless ? dns_endpoints_read(s, &s->eps) : 0;
	return r ? r : addresses_in(z, s);
}

int dns_zone_flush(struct dns_zone *z)
{
	int first = 0;
	list_each_safe (it, &z->dirty) {
		struct dns_service *s = list_entry(it, struct dns_service, dirty);
		endpoints_out(z, s);
		int r = endpoints_in(z, s);
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

int dns_zone_service(
	struct dns_zone *z, struct str ns, struct str name, const struct dns_spec *spec, void *hold)
{
	struct dns_service *s = service_get(z, ns, name);
	int r = 0;
	if (!s) {
		release(z, hold);
		return -ENOMEM;
	}
	endpoints_out(z, s);
	if (!s->spec != !spec) {
		r = space_count(z, ns, spec != NULL);
		z->n_services = spec ? z->n_services + 1 : z->n_services - 1;
	}
	release(z, s->hold);
	s->spec = spec;
	s->hold = hold;
	mark(z, s);
	service_tidy(z, s);
	return r;
}

int dns_zone_slice(struct dns_zone *z, struct str ns, struct str service, struct str name,
	const struct slice_spec *spec, void *hold)
{
	struct dns_service *s = service_get(z, ns, service);
	struct dns_slice *all = NULL;
	int r = s ? 0 : -ENOMEM;
	if (s)
		endpoints_out(z, s);
	for (size_t i = 0; s && i < s->n_slices; i++)
		if (str_eqz(name, s->slices[i].name)) {
			slice_out(z, s, i);
			break;
		}
	if (s && spec) {
		char *copy = str_dup(name);
		all = copy ? realloc(s->slices, (s->n_slices + 1) * sizeof *all) : NULL;
		if (all) {
			s->slices = all;
			all[s->n_slices++] = (struct dns_slice){copy, spec, hold};
		} else {
			free(copy);
			r = -ENOMEM;
		}
	}
	if (!all)
		release(z, hold);
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
	struct str rest = str_of(cidr ? cidr : "");
	while (rest.n) {
		if (z->n_nets == ARRAY_LEN(z->nets) ||
			ip_cidr_parse(
				str_cut(&rest, ','), &z->nets[z->n_nets], &z->prefixes[z->n_nets]))
			return err_set(e, EINVAL, NULL, "'%s' is not a CIDR", cidr);
		z->n_nets++;
	}
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

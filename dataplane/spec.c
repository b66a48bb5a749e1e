/* SPDX-License-Identifier: Apache-2.0
 * Reading Services and EndpointSlices: the fields that packets depend on. */
#include "compile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include "xebec/base/timefmt.h"

int ip_parse(struct str s, struct ip *ret)
{
	char z[64];
	struct ip ip = {0};
	if (str_copy(z, sizeof z, s))
		return -EINVAL;
	if (inet_pton(AF_INET, z, ip.b) == 1)
		ip.family = 4;
	else if (inet_pton(AF_INET6, z, ip.b) == 1)
		ip.family = 6;
	else
		return -EINVAL;
	*ret = ip;
	return 0;
}

void ip_format(const struct ip *ip, char out[static 46])
{
	if (!inet_ntop(ip->family == 6 ? AF_INET6 : AF_INET, ip->b, out, 46))
		out[0] = 0;
}

int ip_cidr_parse(struct str s, struct ip *ret, unsigned *ret_prefix)
{
	struct str addr = str_cut(&s, '/');
	struct ip ip;
	uint64_t prefix;
	if (ip_parse(addr, &ip) || str_u64(s, &prefix) || prefix > (ip.family == 4 ? 32 : 128))
		return -EINVAL;
	for (unsigned i = 0; i < 128; i++)
		if (i >= prefix)
			ip.b[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	*ret = ip;
	*ret_prefix = (unsigned)prefix;
	return 0;
}

int cidr_pair_parse(const char *list, struct cidr_pair *ret)
{
	struct str rest = str_of(list);
	*ret = (struct cidr_pair){0};
	do {
		struct cidr c;
		if (ip_cidr_parse(str_cut(&rest, ','), &c.net, &c.prefix))
			return -EINVAL;
		struct cidr *to = c.net.family == 6 ? &ret->v6 : &ret->v4;
		if (to->net.family)
			return -EINVAL;
		*to = c;
	} while (rest.n);
	return 0;
}

int ip_pair_parse(const char *list, struct ip_pair *ret)
{
	struct str rest = str_of(list);
	*ret = (struct ip_pair){0};
	do {
		struct ip ip;
		if (ip_parse(str_cut(&rest, ','), &ip))
			return -EINVAL;
		struct ip *to = ip.family == 6 ? &ret->v6 : &ret->v4;
		if (to->family)
			return -EINVAL;
		*to = ip;
	} while (rest.n);
	return 0;
}

static uint8_t proto_of(struct jv v)
{
	if (jv_is_str(v, "UDP"))
		return IPPROTO_UDP;
	return jv_is_str(v, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

/* Room for every element of a JSON array. */
static void *array_of(struct arena *a, struct jv list, size_t size)
{
	size_t n = jv_len(list);
	return arena_alloc(a, (n ? n : 1) * size);
}

static size_t ips_read(struct arena *a, struct jv list, const char *member, struct ip **ret)
{
	struct ip *ips = array_of(a, list, sizeof *ips);
	size_t n = 0;
	*ret = ips;
	jv_each (it, list) {
		struct jv v = member ? jv_get(it.v, member) : it.v;
		/* ipMode Proxy: the balancer terminates, the address is not ours (KEP-1860) */
		if (member && jv_is_str(jv_get(it.v, "ipMode"), "Proxy"))
			continue;
		if (ips && jv_type(v) == JV_STRING && ip_parse(jv_raw_str(v), &ips[n]) == 0)
			n++;
	}
	return n;
}

static void svc_ports_read(struct svc_spec *s, struct jv list)
{
	s->ports = array_of(&s->mem, list, sizeof *s->ports);
	jv_each (it, list) {
		if (!s->ports)
			return;
		struct svc_port *p = &s->ports[s->n_ports];
		int64_t port = jv_int(jv_get(it.v, "port"), 0);
		if (port < 1 || port > 65535 ||
			jv_copy(jv_get(it.v, "name"), p->name, sizeof p->name))
			continue;
		p->port = (uint16_t)port;
		p->node_port = (uint16_t)jv_int(jv_get(it.v, "nodePort"), 0);
		p->proto = proto_of(jv_get(it.v, "protocol"));
		s->n_ports++;
	}
}

static void svc_ranges_read(struct svc_spec *s, struct jv list)
{
	s->ranges = array_of(&s->mem, list, sizeof *s->ranges);
	jv_each (it, list) {
		struct svc_range *r = s->ranges ? &s->ranges[s->n_ranges] : NULL;
		if (r && ip_cidr_parse(jv_raw_str(it.v), &r->net, &r->prefix) == 0)
			s->n_ranges++;
	}
}

static void svc_addresses_read(struct svc_spec *s, struct jv v)
{
	struct jv spec = jv_get(v, "spec");
	struct jv ips = jv_get(spec, "clusterIPs");
	s->n_cluster_ips = ips_read(&s->mem, ips, NULL, &s->cluster_ips);
	if (s->n_cluster_ips == 0) { /* objects of an old client */
		s->cluster_ips = arena_alloc(&s->mem, sizeof *s->cluster_ips);
		if (s->cluster_ips &&
			ip_parse(jv_raw_str(jv_get(spec, "clusterIP")), s->cluster_ips) == 0)
			s->n_cluster_ips = 1;
	}
	s->n_external_ips = ips_read(&s->mem, jv_get(spec, "externalIPs"), NULL, &s->external_ips);
	s->n_lb_ips =
		ips_read(&s->mem, jv_path(v, "status.loadBalancer.ingress"), "ip", &s->lb_ips);
}

/* "web-v1=90,web-v2=10". What is no such text is no split; weights over a million count as that. */
static void split_read(struct svc_spec *s, struct jv note)
{
	struct str rest = jv_raw_str(note);
	if (!rest.n)
		return;
	s->parts = arena_alloc(&s->mem, SVC_PARTS_MAX * sizeof *s->parts);
	while (s->parts && rest.n) {
		struct str weight = str_cut(&rest, ','), name = str_cut(&weight, '=');
		uint64_t w;
		if (s->n_parts == SVC_PARTS_MAX || !name.n || str_u64(weight, &w) ||
			str_copy(s->parts[s->n_parts].name, sizeof s->parts->name, name)) {
			s->n_parts = 0;
			return;
		}
		s->parts[s->n_parts++].weight = (uint32_t)(w > 1000000 ? 1000000 : w);
	}
}

struct svc_spec *svc_spec_new(struct jv v)
{
	struct svc_spec *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	struct jv spec = jv_get(v, "spec");
	struct jv notes = jv_path(v, "metadata.annotations");
	s->affinity = jv_is_str(jv_get(spec, "sessionAffinity"), "ClientIP");
	s->aff_secs = (uint32_t)jv_int(
		jv_path(spec, "sessionAffinityConfig.clientIP.timeoutSeconds"), 10800);
	s->etp_local = jv_is_str(jv_get(spec, "externalTrafficPolicy"), "Local");
	s->itp_local = jv_is_str(jv_get(spec, "internalTrafficPolicy"), "Local");
	struct jv balance = jv_get(notes, "xebec.io/balance");
	s->hash = jv_is_str(balance, "maglev") || jv_is_str(balance, "hash");
	s->least = jv_is_str(balance, "least-conn");
	split_read(s, jv_get(notes, "xebec.io/split"));
	svc_ports_read(s, jv_get(spec, "ports"));
	svc_ranges_read(s, jv_get(spec, "loadBalancerSourceRanges"));
	svc_addresses_read(s, v);
	s->headless = s->n_cluster_ips == 0 || jv_is_str(jv_get(spec, "type"), "ExternalName");
	if (s->etp_local && !s->headless && jv_is_str(jv_get(spec, "type"), "LoadBalancer"))
		s->health_port = (uint16_t)jv_int(jv_get(spec, "healthCheckNodePort"), 0);
	return s;
}

void svc_spec_free(void *spec)
{
	struct svc_spec *s = spec;
	if (!s)
		return;
	arena_free(&s->mem);
	free(s);
}

/* ------------------------------------------------------------------ slices */

uint64_t name_hash(struct str name)
{
	uint64_t h = name.n ? str_hash(name) : 0;
	return h || !name.n ? h : 1;
}

/* Makes room for one more where the array doubles at powers of two. */
static void *room(void *v, size_t n, size_t size)
{
	return n & (n - 1) ? v : realloc(v, (n ? 2 * n : 1) * size);
}

/* "forZones", "forNodes": how many were added to the slice's list. */
static uint8_t hints_read(struct slice_spec *s, struct jv list)
{
	uint8_t n = 0;
	jv_each (it, list) {
		uint64_t *v = n < UINT8_MAX ? room(s->hints, s->n_hints, sizeof *v) : NULL;
		if (!v)
			break;
		s->hints = v;
		s->hints[s->n_hints++] = name_hash(jv_raw_str(jv_get(it.v, "name")));
		n++;
	}
	return n;
}

static void slice_ports_read(struct slice_spec *s, struct jv list)
{
	s->ports = calloc(jv_len(list) + 1, sizeof *s->ports);
	jv_each (it, list) {
		if (!s->ports)
			return;
		struct slice_port *p = &s->ports[s->n_ports];
		int64_t port = jv_int(jv_get(it.v, "port"), 0);
		if (port < 1 || port > 65535 ||
			jv_copy(jv_get(it.v, "name"), p->name, sizeof p->name))
			continue;
		p->port = (uint16_t)port;
		p->proto = proto_of(jv_get(it.v, "protocol"));
		s->n_ports++;
	}
}

/* Absent: ready counts as true, serving as ready. */
static uint8_t conditions_read(struct jv cond)
{
	bool ready = true, terminating = false;
	int serving = -1;
	jv_each (it, cond) {
		if (str_eqz(it.key, "ready"))
			ready = jv_bool(it.v, true);
		else if (str_eqz(it.key, "serving"))
			serving = jv_type(it.v) == JV_BOOL ? jv_bool(it.v, true) : -1;
		else if (str_eqz(it.key, "terminating"))
			terminating = jv_bool(it.v, false);
	}
	return (uint8_t)((ready ? EP_READY : 0) |
			 ((serving < 0 ? ready : serving) ? EP_SERVING : 0) |
			 (terminating ? EP_TERM : 0));
}

/* Of the endpoint being read. Few have one. */
static void hostname_keep(struct slice_spec *s, struct str name)
{
	if (!s->hostnames)
		s->hostnames = calloc(s->cap_eps, sizeof *s->hostnames);
	if (s->hostnames)
		s->hostnames[s->n_eps] = str_dup(name);
}

/* One pass: a slice may hold a thousand of them. */
static void slice_ep_read(struct slice_spec *s, struct jv v)
{
	struct slice_ep ep = {.flags = EP_READY | EP_SERVING, .hints = (uint32_t)s->n_hints};
	struct ip ip = {0};
	struct str hostname = {0};
	jv_each (it, v) {
		if (str_eqz(it.key, "addresses")) {
			/* More than one means the same pod again; consumers use the first. */
			struct jv_iter first = jv_iter(it.v);
			if (!jv_next(&first) || ip_parse(jv_raw_str(first.v), &ip))
				return;
		} else if (str_eqz(it.key, "conditions")) {
			ep.flags = conditions_read(it.v);
		} else if (str_eqz(it.key, "hostname")) {
			hostname = jv_raw_str(it.v);
		} else if (str_eqz(it.key, "nodeName")) {
			ep.node = name_hash(jv_raw_str(it.v));
		} else if (str_eqz(it.key, "hints")) {
			ep.n_zones = hints_read(s, jv_get(it.v, "forZones"));
			ep.n_nodes = hints_read(s, jv_get(it.v, "forNodes"));
		}
	}
	if (!ip.family)
		return;
	memcpy(ep.ip, ip.b, sizeof ep.ip);
	ep.family = ip.family;
	if (hostname.n)
		hostname_keep(s, hostname);
	s->eps[s->n_eps++] = ep;
}

static void slice_meta_read(struct slice_spec *s, struct jv meta)
{
	(void)jv_copy(jv_get(jv_get(meta, "labels"), "kubernetes.io/service-name"), s->service,
		sizeof s->service);
	struct str t = jv_raw_str(jv_get(
		jv_get(meta, "annotations"), "endpoints.kubernetes.io/last-change-trigger-time"));
	if (t.n && time_parse(t, &s->triggered))
		s->triggered = 0;
}

struct slice_spec *slice_spec_new(struct jv v)
{
	struct slice_spec *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	jv_each (it, v) {
		if (str_eqz(it.key, "metadata")) {
			slice_meta_read(s, it.v);
		} else if (str_eqz(it.key, "ports")) {
			slice_ports_read(s, it.v);
		} else if (str_eqz(it.key, "endpoints") && !s->eps) {
			s->cap_eps = jv_len(it.v) + 1;
			s->eps = malloc(s->cap_eps * sizeof *s->eps);
			/* FQDN slices are of no use to packets: their addresses do not parse. */
			jv_each (ep, it.v)
				if (s->eps)
					slice_ep_read(s, ep.v);
		}
	}
	return s;
}

void slice_spec_free(void *spec)
{
	struct slice_spec *s = spec;
	if (!s)
		return;
	for (size_t i = 0; s->hostnames && i < s->cap_eps; i++)
		free(s->hostnames[i]);
	free(s->hostnames);
	free(s->ports);
	free(s->eps);
	free(s->hints);
	free(s);
}

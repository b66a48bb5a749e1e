/* SPDX-License-Identifier: Apache-2.0
 * The compiler: which backends each service port has, and which of them take new flows. */
#include "compile.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include "table.h"

static const char *proto_name(uint8_t proto)
{
	return proto == IPPROTO_UDP ? "UDP" : proto == IPPROTO_SCTP ? "SCTP" : "TCP";
}

static bool hash_in(uint64_t h, const uint64_t *set, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (set[i] == h)
			return true;
	return false;
}

/* A candidate: an endpoint with the port that this service port has on it. */
struct cand {
	const struct slice_ep *ep;
	const uint64_t *hints; /* zones, then nodes */
	uint16_t port;
	uint32_t part; /* of a split */
};

struct job {
	const struct svc_port *port;
	const struct slice_spec *const *slices;
	size_t n_slices;
	uint64_t node, zone; /* this node's, hashed; 0 = unknown */
	struct cand *cands;
	size_t n;
};

static const struct slice_port *slice_port_find(
	const struct slice_spec *s, const struct svc_port *p)
{
	for (size_t i = 0; i < s->n_ports; i++)
		if (s->ports[i].proto == p->proto && strcmp(s->ports[i].name, p->name) == 0)
			return &s->ports[i];
	return NULL;
}

static int cand_cmp(const void *a, const void *b)
{
	const struct cand *x = a, *y = b;
	int d = memcmp(x->ep->ip, y->ep->ip, 16);
	if (d)
		return d;
	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	/* of two entries for one endpoint (it moves between slices) the better one counts */
	return (y->ep->flags & EP_READY) * 2 + (y->ep->flags & EP_SERVING) -
	       (x->ep->flags & EP_READY) * 2 - (x->ep->flags & EP_SERVING);
}

/* Every endpoint of the family once, sorted: equal input gives equal rows. */
static int cands_collect(struct job *j, uint8_t family, struct arena *mem)
{
	size_t max = 0, n = 0;
	for (size_t i = 0; i < j->n_slices; i++)
		max += j->slices[i]->n_eps;
	j->cands = arena_alloc(mem, (max + 1) * sizeof *j->cands);
	if (!j->cands)
		return -ENOMEM;
	for (size_t i = 0; i < j->n_slices; i++) {
		const struct slice_spec *s = j->slices[i];
		const struct slice_port *sp = slice_port_find(s, j->port);
		for (size_t k = 0; sp && k < s->n_eps; k++)
			if (s->eps[k].family == family)
				j->cands[n++] = (struct cand){
					&s->eps[k], s->hints + s->eps[k].hints, sp->port, s->part};
	}
	qsort(j->cands, n, sizeof *j->cands, cand_cmp);
	for (size_t i = 0; i < n; i++)
		if (j->n == 0 || j->cands[j->n - 1].port != j->cands[i].port ||
			memcmp(j->cands[j->n - 1].ep->ip, j->cands[i].ep->ip, 16) != 0)
			j->cands[j->n++] = j->cands[i];
	return 0;
}

static bool is_local(const struct job *j, const struct slice_ep *ep)
{
	return ep->node && ep->node == j->node;
}

static int backends_fill(struct job *j, struct want_svc *w, struct arena *mem)
{
	w->bes = arena_alloc(mem, (j->n + 1) * sizeof *w->bes);
	w->cluster = arena_alloc(mem, (j->n + 1) * sizeof *w->cluster);
	w->local = arena_alloc(mem, (j->n + 1) * sizeof *w->local);
	if (!w->bes || !w->cluster || !w->local)
		return -ENOMEM;
	for (size_t i = 0; i < j->n; i++) {
		const struct cand *c = &j->cands[i];
		struct want_be *b = &w->bes[i];
		memcpy(b->ip.b, c->ep->ip, 16);
		b->ip.family = c->ep->family;
		b->port = c->port;
		b->flags = (uint16_t)((is_local(j, c->ep) ? BE_LOCAL : 0) |
				      (c->ep->flags & EP_TERM ? BE_TERM : 0) |
				      (c->ep->family == 6 ? BE_V6 : 0));
	}
	w->n_bes = j->n;
	return 0;
}

/* Ready endpoints; when there is none, those that are going away but still serve (KEP-1669). */
static size_t choose(const struct job *j, bool local, uint32_t *out)
{
	size_t n = 0;
	for (int fallback = 0; fallback < 2 && n == 0; fallback++)
		for (size_t i = 0; i < j->n; i++) {
			const struct slice_ep *ep = j->cands[i].ep;
			bool ok = fallback ? (ep->flags & EP_SERVING) && (ep->flags & EP_TERM)
					   : ep->flags & EP_READY;
			if (ok && (!local || is_local(j, ep)))
				out[n++] = (uint32_t)i;
		}
	return n;
}

/* Topology hints hold only when every ready endpoint has one and at least one means us; otherwise
 * they are stale and all count (KEP-2433, KEP-4444). nodes: same-node hints instead of zones. */
static size_t hinted(const struct job *j, bool nodes, uint32_t *out)
{
	size_t kept = 0;
	uint64_t me = nodes ? j->node : j->zone;
	for (size_t i = 0; i < j->n; i++) {
		const struct cand *c = &j->cands[i];
		size_t hints = nodes ? c->ep->n_nodes : c->ep->n_zones;
		if (!(c->ep->flags & EP_READY))
			continue;
		if (hints == 0)
			return 0;
		if (me && hash_in(me, c->hints + (nodes ? c->ep->n_zones : 0), hints))
			out[kept++] = (uint32_t)i;
	}
	return kept;
}

static int selection_fill(struct job *j, struct want_svc *w)
{
	/* The nearest of: this node, this zone, everywhere. */
	w->n_cluster = hinted(j, true, w->cluster);
	if (w->n_cluster == 0)
		w->n_cluster = hinted(j, false, w->cluster);
	if (w->n_cluster == 0)
		w->n_cluster = choose(j, false, w->cluster);
	w->n_local = choose(j, true, w->local);
	for (size_t i = 0; i < w->n_cluster; i++)
		w->bes[w->cluster[i]].flags |= BE_READY;
	for (size_t i = 0; i < w->n_local; i++)
		w->bes[w->local[i]].flags |= BE_READY;
	return 0;
}

/* Weights of the chosen: a part's share is spread over its endpoints. */
static void weights_fill(const struct job *j, const struct svc_spec *s, const struct want_svc *w,
	const uint32_t *chosen, size_t n, struct table_be *b)
{
	uint32_t per[SVC_PARTS_MAX] = {0};
	for (size_t i = 0; i < n; i++)
		per[j->cands[chosen[i]].part % SVC_PARTS_MAX]++;
	for (size_t i = 0; i < n; i++) {
		const struct want_be *be = &w->bes[chosen[i]];
		uint32_t part = j->cands[chosen[i]].part, weight = 1;
		if (s->n_parts) {
			uint32_t share = part < s->n_parts ? s->parts[part].weight * 1000 : 0;
			weight = share / per[part % SVC_PARTS_MAX];
			weight += share && !weight;
		}
		b[i] = (struct table_be){table_id(be->ip.b, be->port), weight, chosen[i]};
	}
}

/* Replaces a plain list of the chosen by the table that the Service asks for. */
static int table_make(const struct job *j, const struct svc_spec *s, const struct want_svc *w,
	uint32_t **list, size_t *n, struct arena *mem)
{
	if (*n == 0 || (!s->hash && !s->n_parts))
		return 0;
	size_t size = s->hash ? table_maglev_size(*n) : table_shares_size(*n);
	struct table_be *b = arena_alloc(mem, *n * sizeof *b);
	uint32_t *slots = arena_alloc(mem, size * sizeof *slots);
	if (!b || !slots)
		return -ENOMEM;
	weights_fill(j, s, w, *list, *n, b);
	int r = s->hash ? table_maglev(b, *n, slots, size) : table_shares(b, *n, slots, size);
	*list = slots;
	*n = r == -EINVAL ? 0 : size; /* every weight is 0: nobody */
	return r == -EINVAL ? 0 : r;
}

static void fes_add(
	struct want_svc *w, const struct ip *ips, size_t n, uint16_t port, uint16_t kind)
{
	for (size_t i = 0; i < n; i++)
		if (ips[i].family == w->family)
			w->fes[w->n_fes++] = (struct want_fe){ips[i], port, kind};
}

static int frontends_fill(const struct svc_spec *s, const struct svc_port *p,
	const struct where *me, struct want_svc *w, struct arena *mem)
{
	struct ip any = {.family = w->family};
	size_t max = s->n_cluster_ips + s->n_external_ips + s->n_lb_ips + me->n_nodeport_ips + 1;
	w->fes = arena_alloc(mem, max * sizeof *w->fes);
	w->ranges = arena_alloc(mem, (s->n_ranges + 1) * sizeof *w->ranges);
	if (!w->fes || !w->ranges)
		return -ENOMEM;
	fes_add(w, s->cluster_ips, s->n_cluster_ips, p->port, FE_CLUSTER);
	fes_add(w, s->external_ips, s->n_external_ips, p->port, FE_EXTERNAL);
	fes_add(w, s->lb_ips, s->n_lb_ips, p->port, FE_LB);
	if (p->node_port && me->nodeport_ips)
		fes_add(w, me->nodeport_ips, me->n_nodeport_ips, p->node_port, FE_NODEPORT);
	else if (p->node_port)
		fes_add(w, &any, 1, p->node_port, FE_NODEPORT);
	for (size_t i = 0; i < s->n_ranges; i++)
		if (s->ranges[i].net.family == w->family)
			w->ranges[w->n_ranges++] = s->ranges[i];
	/* Ranges of the other family say nothing about this one. */
	if (w->n_ranges)
		w->flags |= SVC_SRC_RANGE;
	return 0;
}

static void name_fill(
	struct want_svc *w, const char *ns, const char *name, const struct svc_port *p)
{
	char number[8];
	(void)snprintf(number, sizeof number, "%u", p->port);
	(void)snprintf(w->name, sizeof w->name, "%s/%s:%s/%s%s", ns, name,
		p->name[0] ? p->name : number, proto_name(p->proto), w->family == 6 ? "/v6" : "");
}

static bool has_family(const struct svc_spec *s, uint8_t family)
{
	for (size_t i = 0; i < s->n_cluster_ips; i++)
		if (s->cluster_ips[i].family == family)
			return true;
	return false;
}

static int port_compile(const struct svc_spec *s, struct job *j, const struct where *me,
	struct want_svc *w, struct arena *mem)
{
	const struct svc_port *p = j->port;
	w->proto = p->proto;
	w->port = p->port;
	w->aff_secs = s->aff_secs;
	w->flags =
		(uint16_t)((s->etp_local ? SVC_ETP_LOCAL : 0) | (s->itp_local ? SVC_ITP_LOCAL : 0) |
			   (s->affinity ? SVC_AFFINITY : 0) | (s->hash ? SVC_HASH : 0) |
			   (s->least ? SVC_LEAST : 0));
	int r = cands_collect(j, w->family, mem);
	r = r ? r : backends_fill(j, w, mem);
	r = r ? r : selection_fill(j, w);
	r = r ? r : table_make(j, s, w, &w->cluster, &w->n_cluster, mem);
	r = r ? r : table_make(j, s, w, &w->local, &w->n_local, mem);
	return r ? r : frontends_fill(s, p, me, w, mem);
}

int compile_service(const char *ns, const char *name, const struct svc_spec *svc,
	const struct slice_spec *const *slices, size_t n_slices, const struct where *me,
	struct arena *mem, struct want_svc **ret)
{
	int n = 0;
	if (svc->headless)
		return 0;
	struct want_svc *out = arena_alloc(mem, 2 * (svc->n_ports + 1) * sizeof *out);
	if (!out)
		return -ENOMEM;
	for (uint8_t family = 4; family <= 6; family += 2)
		for (size_t i = 0; i < svc->n_ports && has_family(svc, family); i++) {
			struct job j = {.port = &svc->ports[i],
				.slices = slices,
				.n_slices = n_slices,
				.node = name_hash(me->node),
				.zone = name_hash(me->zone)};
			struct want_svc *w = &out[n++];
			w->family = family;
			name_fill(w, ns, name, &svc->ports[i]);
			int r = port_compile(svc, &j, me, w, mem);
			if (r)
				return r;
		}
	*ret = out;
	return n;
}

static bool ip_seen(const uint8_t *ip, const uint8_t *const *seen, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(seen[i], ip, 16) == 0)
			return true;
	return false;
}

size_t compile_local_ready(const struct svc_spec *svc, const struct slice_spec *const *slices,
	size_t n_slices, const struct where *me)
{
	uint8_t family = svc->n_cluster_ips ? svc->cluster_ips[0].family : 4;
	uint64_t node = name_hash(me->node);
	const uint8_t *seen[1024]; /* pods of one node */
	size_t n = 0;
	for (size_t i = 0; i < n_slices; i++)
		for (size_t k = 0; k < slices[i]->n_eps && n < ARRAY_LEN(seen); k++) {
			const struct slice_ep *ep = &slices[i]->eps[k];
			if (ep->family == family && ep->node && ep->node == node &&
				(ep->flags & EP_READY) && !ip_seen(ep->ip, seen, n))
				seen[n++] = ep->ip;
		}
	return n;
}

/* SPDX-License-Identifier: Apache-2.0
 * EndpointSlice: the pods behind a Service in slices of at most 100, changed as little as possible:
 * an endpoint stays in its slice, holes are filled, slices are made only when none has room. */
#include "controllers/service.h"

#define PER_SLICE  100
#define SERVICE	   "kubernetes.io/service-name"
#define MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define MANAGER	   "endpointslice-controller.k8s.io"

struct slice {
	struct cobj *obj; /* NULL = to be made */
	const char *ports;
	json_t *endpoints;
	bool changed;
};
struct plan {
	struct service *s;
	const char *family; /* IPv4, IPv6 */
	struct slice *v;
	size_t n;
	bool *placed; /* by target */
};

/* Who should use a ready endpoint, as spec.trafficDistribution asks (KEP-4444, KEP-3015): clients
 * of its zone, or of its node. Not ready: nobody, so no hint. */
static void hints_add(const struct service *s, const struct target *t, struct str zone, json_t *e)
{
	struct jv how = jv_get(s->spec, "trafficDistribution");
	bool same_node = jv_is_str(how, "PreferSameNode");
	json_t *hints = json_object();

	if (zone.n &&
		(same_node || jv_is_str(how, "PreferClose") || jv_is_str(how, "PreferSameZone")))
		(void)json_object_set_new(hints, "forZones",
			json_pack("[{s:o}]", "name", json_stringn(zone.p, zone.n)));
	if (same_node && t->pod->node[0])
		(void)json_object_set_new(
			hints, "forNodes", json_pack("[{s:s}]", "name", t->pod->node));
	if (json_object_size(hints))
		(void)json_object_set(e, "hints", hints);
	json_decref(hints);
}

static json_t *endpoint_json(const struct service *s, const struct target *t)
{
	bool serving = t->pod->ready, terminating = t->pod->deleting;
	bool ready = s->publish_not_ready || (serving && !terminating);
	const char *host = target_hostname(s, t);
	json_t *e = json_pack("{s:[s],s:{s:b,s:b,s:b},s:o}", "addresses", t->ip, "conditions",
		"ready", ready, "serving", serving, "terminating", terminating, "targetRef",
		target_ref(t));

	if (host[0])
		(void)json_object_set_new(e, "hostname", json_string(host));
	if (t->pod->node[0]) {
		(void)json_object_set_new(e, "nodeName", json_string(t->pod->node));
		const struct cobj *node = rc_get(s->rc, R_NODE, "", t->pod->node);
		struct str zone = node ? label(node, "topology.kubernetes.io/zone") : STR("");
		if (zone.n)
			(void)json_object_set_new(e, "zone", json_stringn(zone.p, zone.n));
		if (ready)
			hints_add(s, t, zone, e);
	}
	return e;
}

/* The slice's ports in the spelling of service.c, so that text comparison does. */
static const char *slice_ports(struct rc *rc, const struct cobj *o)
{
	AUTO_BUF struct buf b = {0};

	buf_addc(&b, '[');
	jv_each (it, jv_get(o->v, "ports")) {
		struct str name = jv_bytes(jv_get(it.v, "name"));
		struct str app = jv_bytes(jv_get(it.v, "appProtocol"));
		struct str proto = jv_raw_str(jv_get(it.v, "protocol"));
		buf_addf(&b, "%s{\"name\":%.*s,\"protocol\":\"%.*s\",\"port\":%jd",
			b.len > 1 ? "," : "", name.n ? (int)name.n : 2, name.n ? name.p : "\"\"",
			STR_FMT(proto), (intmax_t)jv_int(jv_get(it.v, "port"), 0));
		if (app.n)
			buf_addf(&b, ",\"appProtocol\":%.*s", STR_FMT(app));
		buf_addc(&b, '}');
	}
	buf_addc(&b, ']');
	return rc_strdup(rc, buf_str(&b));
}

static bool ours(const struct plan *p, const struct cobj *o)
{
	return str_eqz(label(o, SERVICE), p->s->obj->name) &&
	       str_eqz(label(o, MANAGED_BY), MANAGER) &&
	       jv_is_str(jv_get(o->v, "addressType"), p->family) && !deleting(o);
}

static struct target *target_of(struct plan *p, struct jv endpoint, const char *ports)
{
	struct str uid = jv_raw_str(jv_path(endpoint, "targetRef.uid"));

	for (size_t i = 0; i < p->s->n; i++) {
		struct target *t = &p->s->targets[i];
		if (!p->placed[i] && str_eqz(uid, t->obj->uid) && strcmp(t->ports, ports) == 0)
			return t;
	}
	return NULL;
}

/* Keeps what is still wanted of a slice that exists. */
static void load_slice(struct plan *p, struct cobj *o)
{
	struct slice *sl = &p->v[p->n++];

	*sl = (struct slice){
		.obj = o, .ports = slice_ports(p->s->rc, o), .endpoints = json_array()};
	jv_each (it, jv_get(o->v, "endpoints")) {
		struct target *t = target_of(p, it.v, sl->ports);
		json_t *old = NULL, *new = t ? endpoint_json(p->s, t) : NULL;
		if (!t) {
			sl->changed = true;
			continue;
		}
		p->placed[t - p->s->targets] = true;
		sl->changed |= json_parse(jv_bytes(it.v), &old, NULL) < 0 || !json_equal(old, new);
		json_decref(old);
		(void)json_array_append_new(sl->endpoints, new);
	}
}

static void place(struct plan *p, const struct target *t)
{
	struct slice *best = NULL;

	/* the fullest that has room; one that is written anyway before others */
	for (size_t i = 0; i < p->n; i++) {
		struct slice *sl = &p->v[i];
		size_t n = json_array_size(sl->endpoints);
		if (n >= PER_SLICE || strcmp(sl->ports, t->ports) != 0)
			continue;
		if (!best || sl->changed > best->changed ||
			(sl->changed == best->changed && n > json_array_size(best->endpoints)))
			best = sl;
	}
	if (!best) {
		best = &p->v[p->n++];
		*best = (struct slice){.ports = t->ports, .endpoints = json_array()};
	}
	best->changed = true;
	(void)json_array_append_new(best->endpoints, endpoint_json(p->s, t));
}

static json_t *ports_of(const struct slice *sl)
{
	json_t *j = NULL;

	(void)json_parse(str_of(sl->ports), &j, NULL);
	return j;
}

static json_t *slice_labels(const struct plan *p)
{
	json_t *l = service_labels(p->s);

	(void)json_object_set_new(l, SERVICE, json_string(p->s->obj->name));
	(void)json_object_set_new(l, MANAGED_BY, json_string(MANAGER));
	return l;
}

static bool labels_differ(const struct cobj *o, const json_t *want)
{
	json_t *have = NULL;
	struct jv v = labels_of(o);
	bool differ = !jv_present(v) || json_parse(jv_bytes(v), &have, NULL) < 0 ||
		      !json_equal(have, want);

	json_decref(have);
	return differ;
}

static void create_slice(struct plan *p, struct slice *sl)
{
	json_t *meta = json_pack("{s:o,s:s,s:o,s:[o]}", "generateName",
		json_sprintf("%s-", p->s->obj->name), "namespace", p->s->obj->ns, "labels",
		slice_labels(p), "ownerReferences", owner_json(R_SVC, p->s->obj));

	(void)rc_create(p->s->rc, R_EPS, p->s->obj->ns,
		json_pack("{s:s,s:s,s:o,s:s,s:O,s:o}", "apiVersion", "discovery.k8s.io/v1", "kind",
			"EndpointSlice", "metadata", meta, "addressType", p->family, "endpoints",
			sl->endpoints, "ports", ports_of(sl)));
}

static void update_slice(struct plan *p, struct slice *sl)
{
	json_t *o, *labels = slice_labels(p);

	if ((!sl->changed && !labels_differ(sl->obj, labels)) ||
		!(o = rc_tree(p->s->rc, sl->obj))) {
		json_decref(labels);
		return;
	}
	(void)json_put(o, "metadata.labels", labels);
	(void)json_object_set(o, "endpoints", sl->endpoints);
	(void)rc_update(p->s->rc, R_EPS, sl->obj, NULL, o);
}

/* One slice stays (or is made) even when it is empty: it says that the Service is known. */
static void emit(struct plan *p)
{
	size_t filled = 0;
	struct slice *spare = NULL;

	for (size_t i = 0; i < p->n; i++)
		filled += json_array_size(p->v[i].endpoints) > 0;
	if (p->n == 0) {
		p->v[p->n++] =
			(struct slice){.ports = "[]", .endpoints = json_array(), .changed = true};
	}
	for (size_t i = 0; i < p->n; i++) {
		struct slice *sl = &p->v[i];
		bool empty = json_array_size(sl->endpoints) == 0;
		if (!sl->obj) {
			create_slice(p, sl);
		} else if (empty && (filled > 0 || spare)) {
			(void)rc_delete(p->s->rc, R_EPS, sl->obj);
		} else {
			update_slice(p, sl);
			spare = sl;
		}
		json_decref(sl->endpoints);
	}
}

static void one_family(struct service *s, bool ipv6)
{
	struct plan p = {.s = s, .family = ipv6 ? "IPv6" : "IPv4"};
	size_t cap = 1;

	service_targets(s, ipv6, true);
	rc_each(s->rc, R_EPS, s->obj->ns, it) cap += ours(&p, it.obj);
	p.v = arena_alloc(&s->rc->arena, (cap + s->n) * sizeof(*p.v));
	p.placed = arena_alloc(&s->rc->arena, s->n + 1);
	if (!p.v || !p.placed) {
		s->rc->again = true;
		return;
	}
	rc_each(s->rc, R_EPS, s->obj->ns, it)
	{
		if (ours(&p, it.obj) && p.n < cap)
			load_slice(&p, it.obj);
	}
	for (size_t i = 0; i < s->n; i++)
		if (!p.placed[i] && (s->headless || strcmp(s->targets[i].ports, "[]") != 0))
			place(&p, &s->targets[i]);
	emit(&p);
}

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	struct service s;
	bool v4 = false, v6 = false;

	if (!rc_get(rc, R_SVC, ns, name)) {
		rc_each(rc, R_EPS, ns, it)
		{
			if (str_eqz(label(it.obj, SERVICE), name) &&
				str_eqz(label(it.obj, MANAGED_BY), MANAGER) && !deleting(it.obj))
				(void)rc_delete(rc, R_EPS, it.obj);
		}
		return;
	}
	if (!service_load(rc, ns, name, &s))
		return;
	jv_each (it, jv_get(s.spec, "ipFamilies")) {
		v4 |= jv_is_str(it.v, "IPv4");
		v6 |= jv_is_str(it.v, "IPv6");
	}
	if (v4 || !v6)
		one_family(&s, false);
	if (v6)
		one_family(&s, true);
}

static void map_slice(struct rc *rc, struct cobj *old, struct cobj *new)
{
	const struct cobj *o = new ? new : old;
	struct str svc = label(o, SERVICE);

	if (svc.n)
		rc_key(rc, o->ns, rc_strdup(rc, svc));
}

/* A node in another zone: its endpoints say so, in any namespace. Rare. */
static void map_node(struct rc *rc, struct cobj *old, struct cobj *new)
{
	static const char key[] = "topology.kubernetes.io/zone";

	if (!new || str_eq(old ? label(old, key) : STR(""), label(new, key)))
		return;
	rc_each(rc, R_SVC, NULL, it) rc_key(rc, it.obj->ns, it.obj->name);
}

const struct controller controller_endpointslice = {
	.component = "endpoint-slice-controller",
	.reconcile = reconcile,
	.watches = {{R_SVC, map_self}, {R_POD, map_pod_to_services}, {R_EPS, map_slice},
		{R_NODE, map_node}},
};

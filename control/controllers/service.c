/* SPDX-License-Identifier: Apache-2.0
 * Which pods are behind a Service, and on which ports. */
#include "controllers/service.h"

bool service_load(struct rc *rc, const char *ns, const char *name, struct service *ret)
{
	struct service s = {.rc = rc, .obj = rc_get(rc, R_SVC, ns, name)};

	if (!s.obj)
		return false;
	s.spec = jv_get(s.obj->v, "spec");
	if (jv_len(jv_get(s.spec, "selector")) == 0 ||
		jv_is_str(jv_get(s.spec, "type"), "ExternalName") || deleting(s.obj))
		return false;
	s.publish_not_ready = jv_bool(jv_get(s.spec, "publishNotReadyAddresses"), false);
	s.headless = jv_is_str(jv_get(s.spec, "clusterIP"), "None");
	*ret = s;
	return true;
}

static int64_t port_in(struct jv containers, struct str name, struct str protocol)
{
	jv_each (c, containers) {
		jv_each (p, jv_get(c.v, "ports")) {
			struct str proto = jv_raw_str(jv_get(p.v, "protocol"));
			if (str_eq(jv_raw_str(jv_get(p.v, "name")), name) &&
				str_eq(proto.n ? proto : STR("TCP"), protocol))
				return jv_int(jv_get(p.v, "containerPort"), 0);
		}
	}
	return 0;
}

/* 0 = the pod has no such port. */
static int64_t target_port(struct jv svc_port, const struct cobj *pod, struct str protocol)
{
	struct jv t = jv_get(svc_port, "targetPort");
	struct jv spec = jv_get(pod->v, "spec");

	if (jv_type(t) != JV_STRING) {
		int64_t n = jv_int(t, 0);
		return n ? n : jv_int(jv_get(svc_port, "port"), 0);
	}
	int64_t n = port_in(jv_get(spec, "containers"), jv_raw_str(t), protocol);
	if (n)
		return n;
	jv_each (c, jv_get(spec, "initContainers")) {
		struct str one = jv_bytes(c.v);
		if (!jv_is_str(jv_get(c.v, "restartPolicy"), "Always"))
			continue;
		AUTO_BUF struct buf b = {0};
		buf_addf(&b, "[%.*s]", STR_FMT(one));
		n = port_in(jv_of(buf_str(&b)), jv_raw_str(t), protocol);
		if (n)
			return n;
	}
	return 0;
}

static const char *ports_json(struct service *s, const struct cobj *pod)
{
	AUTO_BUF struct buf b = {0};

	buf_addc(&b, '[');
	jv_each (it, jv_get(s->spec, "ports")) {
		struct str proto = jv_raw_str(jv_get(it.v, "protocol"));
		struct str app = jv_bytes(jv_get(it.v, "appProtocol"));
		struct str name = jv_bytes(jv_get(it.v, "name"));
		proto = proto.n ? proto : STR("TCP");
		int64_t port = target_port(it.v, pod, proto);
		if (port == 0)
			continue;
		buf_addf(&b, "%s{\"name\":%.*s,\"protocol\":\"%.*s\",\"port\":%jd",
			b.len > 1 ? "," : "", name.n ? (int)name.n : 2, name.n ? name.p : "\"\"",
			STR_FMT(proto), (intmax_t)port);
		if (app.n)
			buf_addf(&b, ",\"appProtocol\":%.*s", STR_FMT(app));
		buf_addc(&b, '}');
	}
	buf_addc(&b, ']');
	return rc_strdup(s->rc, buf_str(&b));
}

static const char *address_of(struct service *s, const struct cobj *pod, bool ipv6)
{
	const char *first = pod_of(pod)->ip;

	if (first[0] && !!strchr(first, ':') == ipv6)
		return first;
	jv_each (it, jv_path(pod->v, "status.podIPs")) {
		struct str ip = jv_raw_str(jv_get(it.v, "ip"));
		if (ip.n && !!memchr(ip.p, ':', ip.n) == ipv6)
			return rc_strdup(s->rc, ip);
	}
	return "";
}

static int by_address(const void *x, const void *y)
{
	const struct target *a = x, *b = y;
	int c = strcmp(a->ip, b->ip);

	return c ? c : strcmp(a->obj->uid, b->obj->uid);
}

void service_targets(struct service *s, bool ipv6, bool with_terminating)
{
	struct jv selector = jv_get(s->spec, "selector");
	size_t cap = 0;

	s->n = 0;
	rc_each(s->rc, R_POD, s->obj->ns, it) cap++;
	s->targets = arena_alloc(&s->rc->arena, (cap + 1) * sizeof(*s->targets));
	if (!s->targets) {
		s->rc->again = true;
		return;
	}
	rc_each(s->rc, R_POD, s->obj->ns, it)
	{
		const struct pod *p = pod_of(it.obj);
		if (!p || pod_done(p) || (p->deleting && !with_terminating) ||
			!has_labels(labels_of(it.obj), selector))
			continue;
		const char *ip = address_of(s, it.obj, ipv6);
		if (ip[0] && s->n < cap)
			s->targets[s->n++] = (struct target){
				.obj = it.obj, .pod = p, .ip = ip, .ports = ports_json(s, it.obj)};
	}
	qsort(s->targets, s->n, sizeof(*s->targets), by_address);
}

json_t *service_labels(const struct service *s)
{
	struct jv v = labels_of(s->obj);
	json_t *j = NULL;

	if (!jv_present(v) || json_parse(jv_bytes(v), &j, NULL) < 0)
		j = json_object();
	(void)json_object_del(j, "service.kubernetes.io/headless");
	if (s->headless)
		(void)json_object_set_new(j, "service.kubernetes.io/headless", json_string(""));
	return j;
}

json_t *target_ref(const struct target *t)
{
	return json_pack("{s:s,s:s,s:s,s:s}", "kind", "Pod", "namespace", t->obj->ns, "name",
		t->obj->name, "uid", t->obj->uid);
}

const char *target_hostname(const struct service *s, const struct target *t)
{
	return strcmp(t->pod->subdomain, s->obj->name) == 0 ? t->pod->hostname : "";
}

static bool same_for_services(const struct cobj *a, const struct cobj *b)
{
	const struct pod *p = pod_of(a), *q = pod_of(b);

	return p && q && pod_done(p) == pod_done(q) && p->ready == q->ready &&
	       p->deleting == q->deleting && strcmp(p->ip, q->ip) == 0 &&
	       strcmp(p->node, q->node) == 0 &&
	       str_eq(jv_bytes(labels_of(a)), jv_bytes(labels_of(b)));
}

void map_pod_to_services(struct rc *rc, struct cobj *old, struct cobj *new)
{
	const struct cobj *any = new ? new : old;

	if (old && new &&same_for_services(old, new))
		return;
	rc_each(rc, R_SVC, any->ns, it)
	{
		struct jv v = jv_path(it.obj->v, "spec.selector");
		if (jv_len(v) > 0 && ((new &&has_labels(labels_of(new), v)) ||
					     (old && has_labels(labels_of(old), v))))
			rc_key(rc, it.obj->ns, it.obj->name);
	}
}

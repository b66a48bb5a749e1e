/* SPDX-License-Identifier: Apache-2.0
 * Endpoints (core/v1): one object a Service, at most 1,000 addresses. */
#include "controllers/service.h"

#define MAX_ADDRESSES 1000
#define OVER_CAPACITY "endpoints.kubernetes.io/over-capacity"
#define MANAGED_BY    "endpoints.kubernetes.io/managed-by"

struct subset {
	const char *ports;
	json_t *ready, *not_ready;
};

static bool counts_ready(const struct service *s, const struct target *t)
{
	return s->publish_not_ready || t->pod->ready;
}

static json_t *address_json(const struct service *s, const struct target *t)
{
	json_t *a = json_pack("{s:s}", "ip", t->ip);
	const char *host = target_hostname(s, t);

	if (host[0])
		(void)json_object_set_new(a, "hostname", json_string(host));
	if (t->pod->node[0])
		(void)json_object_set_new(a, "nodeName", json_string(t->pod->node));
	(void)json_object_set_new(a, "targetRef", target_ref(t));
	return a;
}

/* Ready addresses are kept before others when there are too many. */
static bool *choose(const struct service *s)
{
	bool *keep = arena_alloc(&s->rc->arena, s->n + 1);
	size_t n = 0;

	for (int pass = 0; keep && pass < 2; pass++)
		for (size_t i = 0; i < s->n && n < MAX_ADDRESSES; i++)
			if (counts_ready(s, &s->targets[i]) == (pass == 0)) {
				keep[i] = true;
				n++;
			}
	return keep;
}

static struct subset *subset_for(struct subset *v, size_t *n, const char *ports)
{
	for (size_t i = 0; i < *n; i++)
		if (strcmp(v[i].ports, ports) == 0)
			return &v[i];
	v[*n] = (struct subset){.ports = ports, .ready = json_array(), .not_ready = json_array()};
	return &v[(*n)++];
}

static json_t *subset_json(struct subset *u)
{
	json_t *j = json_object(), *ports = NULL;

	if (json_array_size(u->ready) > 0)
		(void)json_object_set(j, "addresses", u->ready);
	if (json_array_size(u->not_ready) > 0)
		(void)json_object_set(j, "notReadyAddresses", u->not_ready);
	json_decref(u->ready);
	json_decref(u->not_ready);
	(void)json_parse(str_of(u->ports), &ports, NULL);
	size_t i;
	json_t *p;
	json_array_foreach (ports, i, p) {
		if (json_str(p, "name", "")[0] == '\0')
			(void)json_object_del(p, "name");
	}
	if (json_array_size(ports) > 0)
		(void)json_object_set(j, "ports", ports);
	json_decref(ports);
	return j;
}

static json_t *subsets_json(struct service *s)
{
	struct subset *v = arena_alloc(&s->rc->arena, (s->n + 1) * sizeof(*v));
	bool *keep = choose(s);
	json_t *out = json_array();
	size_t n = 0;

	if (!v || !keep) {
		s->rc->again = true;
		return out;
	}
	for (size_t i = 0; i < s->n; i++) {
		const struct target *t = &s->targets[i];
		bool none = strcmp(t->ports, "[]") == 0;
		if (!keep[i] || (none && !s->headless))
			continue;
		struct subset *u = subset_for(v, &n, t->ports);
		(void)json_array_append_new(
			counts_ready(s, t) ? u->ready : u->not_ready, address_json(s, t));
	}
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(out, subset_json(&v[i]));
	return out;
}

static bool equals(struct jv have, const json_t *want)
{
	json_t *j = NULL;

	if (!jv_present(have) || jv_type(have) == JV_NULL)
		return json_is_array(want) ? json_array_size(want) == 0
					   : json_object_size(want) == 0;
	bool same = json_parse(jv_bytes(have), &j, NULL) == 0 && json_equal(j, want);
	json_decref(j);
	return same;
}

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	struct cobj *have = rc_get(rc, R_EP, ns, name);
	struct service s;

	if (!rc_get(rc, R_SVC, ns, name)) {
		if (have && label(have, MANAGED_BY).n)
			(void)rc_delete(rc, R_EP, have);
		return;
	}
	if (!service_load(rc, ns, name, &s))
		return;
	service_targets(&s, false, s.publish_not_ready);
	json_t *labels = service_labels(&s), *subsets = subsets_json(&s);
	bool over = s.n > MAX_ADDRESSES;
	(void)json_object_set_new(labels, MANAGED_BY, json_string("endpoint-controller"));
	if (have && equals(labels_of(have), labels) &&
		equals(jv_get(have->v, "subsets"), subsets) &&
		over == (annotation(have, OVER_CAPACITY).n > 0)) {
		json_decref(labels);
		json_decref(subsets);
		return;
	}
	json_t *o = have ? rc_tree(rc, have)
			 : json_pack("{s:s,s:s,s:{s:s,s:s}}", "apiVersion", "v1", "kind",
				   "Endpoints", "metadata", "name", name, "namespace", ns);
	(void)json_put(o, "metadata.labels", labels);
	(void)json_object_set_new(o, "subsets", subsets);
	json_t *ann = json_make(o, "metadata.annotations");
	(void)json_object_del(ann, OVER_CAPACITY);
	if (over)
		(void)json_object_set_new(ann, OVER_CAPACITY, json_string("truncated"));
	if (have)
		(void)rc_update(rc, R_EP, have, NULL, o);
	else
		(void)rc_create(rc, R_EP, ns, o);
}

const struct controller controller_endpoints = {
	.component = "endpoint-controller",
	.reconcile = reconcile,
	.watches = {{R_SVC, map_self}, {R_POD, map_pod_to_services}, {R_EP, map_self}},
};

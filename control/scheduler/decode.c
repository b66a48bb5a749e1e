/* SPDX-License-Identifier: Apache-2.0
 * Pods and nodes from JSON. Arrays are counted first, then filled, in the object's arena; when it
 * has no room the array stays empty and `oom` makes the whole decode fail. */
#include <stdlib.h>
#include "scheduler/model.h"

#define CPU_FLOOR    100		   /* milli */
#define MEMORY_FLOOR (200LL * 1024 * 1024) /* as Kubernetes scores pods that ask for nothing */

struct dec {
	struct arena *a;
	bool oom;
};

static struct str keep(struct dec *d, struct str s)
{
	char *p = arena_strdup(d->a, s);
	d->oom |= !p;
	return (struct str){p, p ? s.n : 0};
}

static struct str text(struct dec *d, struct jv v)
{
	if (jv_type(v) != JV_STRING)
		return (struct str){0};
	AUTO_BUF struct buf b = {0};
	jv_unescape(v, &b);
	d->oom |= b.err != 0;
	return keep(d, b.p ? buf_str(&b) : STR(""));
}

/* Room for as many elements as v has. */
static void *array(struct dec *d, struct jv v, size_t size)
{
	size_t n = jv_len(v);
	void *p = n ? arena_alloc(d->a, n * size) : NULL;
	d->oom |= n && !p;
	return p;
}

/* --- resources --- */

static int64_t quantity(struct jv v, bool milli)
{
	int64_t q = 0;
	char num[32];
	struct str s = jv_raw_str(v);
	if (jv_type(v) == JV_NUMBER && str_copy(num, sizeof(num), jv_bytes(v)) == 0)
		s = str_of(num);
	(void)quantity_parse(s, &q, NULL); /* clamps */
	return milli || q == INT64_MAX ? q : q / 1000 + (q % 1000 > 0);
}

static int fixed_of(struct str name)
{
	static const char *const names[] = {
		[RES_CPU] = "cpu",
		[RES_MEMORY] = "memory",
		[RES_STORAGE] = "ephemeral-storage",
		[RES_PODS] = "pods",
	};
	for (int i = 0; i < RES_FIXED; i++)
		if (str_eqz(name, names[i]))
			return i;
	return -1;
}

int64_t resources_ext(const struct resources *r, struct str name)
{
	for (size_t i = 0; i < r->n_ext; i++)
		if (str_eq(r->ext[i].name, name))
			return r->ext[i].v;
	return 0;
}

static int64_t add(int64_t a, int64_t b)
{
	int64_t v;
	return __builtin_add_overflow(a, b, &v) ? INT64_MAX : v;
}

static void read_resources(struct dec *d, struct jv v, struct resources *r)
{
	*r = (struct resources){.ext = array(d, v, sizeof(struct amount))};
	jv_each (it, v) {
		int i = fixed_of(it.key);
		if (i >= 0)
			r->v[i] = quantity(it.v, i == RES_CPU);
		else if (r->ext)
			r->ext[r->n_ext++] =
				(struct amount){keep(d, it.key), quantity(it.v, false)};
	}
}

/* Combines b into a, element by element, with a sum or a maximum. */
static void combine(struct dec *d, struct resources *a, const struct resources *b, bool sum)
{
	for (int i = 0; i < RES_FIXED; i++)
		a->v[i] = sum ? add(a->v[i], b->v[i]) : a->v[i] > b->v[i] ? a->v[i] : b->v[i];
	if (!b->n_ext)
		return;
	struct amount *ext = arena_alloc(d->a, (a->n_ext + b->n_ext) * sizeof(*ext));
	if (!ext) {
		d->oom = true;
		return;
	}
	for (size_t i = 0; i < a->n_ext; i++)
		ext[i] = a->ext[i];
	a->ext = ext;
	for (size_t i = 0; i < b->n_ext; i++) {
		size_t k = 0;
		while (k < a->n_ext && !str_eq(ext[k].name, b->ext[i].name))
			k++;
		if (k == a->n_ext)
			ext[a->n_ext++] = (struct amount){b->ext[i].name, 0};
		int64_t bv = b->ext[i].v;
		ext[k].v = sum ? add(ext[k].v, bv) : ext[k].v > bv ? ext[k].v : bv;
	}
}

/* One container: what it asks for, and cpu and memory with their floors in the pods slot's place.
 */
struct ask {
	struct resources r;
	int64_t nonzero[2];
};

static void read_ask(struct dec *d, struct jv container, struct ask *a)
{
	struct jv req = jv_path(container, "resources.requests");
	read_resources(d, req, &a->r);
	a->r.v[RES_PODS] = 0;
	a->nonzero[0] = jv_present(jv_get(req, "cpu")) ? a->r.v[RES_CPU] : CPU_FLOOR;
	a->nonzero[1] = jv_present(jv_get(req, "memory")) ? a->r.v[RES_MEMORY] : MEMORY_FLOOR;
}

static void ask_combine(struct dec *d, struct ask *a, const struct ask *b, bool sum)
{
	combine(d, &a->r, &b->r, sum);
	for (int i = 0; i < 2; i++)
		a->nonzero[i] = sum				? add(a->nonzero[i], b->nonzero[i])
				: a->nonzero[i] > b->nonzero[i] ? a->nonzero[i]
								: b->nonzero[i];
}

/* KEP-753: sidecars (restartable init containers) run from their turn on beside everything later;
 * an ordinary init container runs alone with the sidecars before it. */
static void pod_requests(struct dec *d, struct jv spec, struct pod *p)
{
	struct ask run = {0}, sidecars = {0}, peak = {0};
	jv_each (it, jv_get(spec, "initContainers")) {
		struct ask one;
		read_ask(d, it.v, &one);
		bool sidecar = jv_is_str(jv_get(it.v, "restartPolicy"), "Always");
		struct ask now = sidecars;
		ask_combine(d, &now, &one, true);
		ask_combine(d, &peak, &now, false);
		if (sidecar)
			sidecars = now;
	}
	jv_each (it, jv_get(spec, "containers")) {
		struct ask one;
		read_ask(d, it.v, &one);
		ask_combine(d, &run, &one, true);
	}
	ask_combine(d, &run, &sidecars, true);
	ask_combine(d, &run, &peak, false);
	struct jv whole = jv_path(spec, "resources.requests"); /* pod-level: it is the word */
	if (jv_present(whole)) {
		struct resources r;
		read_resources(d, whole, &r);
		for (int i = 0; i <= RES_MEMORY; i++) {
			if (!jv_present(jv_get(whole, i == RES_CPU ? "cpu" : "memory")))
				continue;
			run.r.v[i] = run.nonzero[i] = r.v[i];
		}
	}
	struct ask over = {0};
	read_resources(d, jv_get(spec, "overhead"), &over.r);
	over.nonzero[0] = over.r.v[RES_CPU];
	over.nonzero[1] = over.r.v[RES_MEMORY];
	ask_combine(d, &run, &over, true);
	p->req = run.r;
	p->req.v[RES_PODS] = 1;
	p->nonzero[0] = run.nonzero[0];
	p->nonzero[1] = run.nonzero[1];
	p->best_effort = !run.r.v[RES_CPU] && !run.r.v[RES_MEMORY];
}

/* --- the rest of a pod --- */

static void pod_ports(struct dec *d, struct jv spec, struct pod *p)
{
	size_t n = 0;
	jv_each (c, jv_get(spec, "containers"))
		n += jv_len(jv_get(c.v, "ports"));
	p->ports = n ? arena_alloc(d->a, n * sizeof(*p->ports)) : NULL;
	d->oom |= n && !p->ports;
	jv_each (c, jv_get(spec, "containers")) {
		jv_each (it, jv_get(c.v, "ports")) {
			int port = (int)jv_int(jv_get(it.v, "hostPort"), 0);
			if (port <= 0 || !p->ports)
				continue;
			struct host_port hp = {.ip = text(d, jv_get(it.v, "hostIP")),
				.proto = text(d, jv_get(it.v, "protocol")),
				.port = port};
			if (!hp.ip.n)
				hp.ip = STR("0.0.0.0");
			if (!hp.proto.n)
				hp.proto = STR("TCP");
			p->ports[p->n_ports++] = hp;
		}
	}
}

static void pod_tolerations(struct dec *d, struct jv v, struct pod *p)
{
	p->tolerations = array(d, v, sizeof(*p->tolerations));
	jv_each (it, v)
		if (p->tolerations)
			p->tolerations[p->n_tolerations++] = (struct toleration){
				.key = text(d, jv_get(it.v, "key")),
				.op = text(d, jv_get(it.v, "operator")),
				.value = text(d, jv_get(it.v, "value")),
				.effect = text(d, jv_get(it.v, "effect")),
			};
}

static void read_exprs(struct dec *d, struct jv list, bool field, struct term *t)
{
	jv_each (it, list) {
		struct jv values = jv_get(it.v, "values");
		struct expr x = {.key = text(d, jv_get(it.v, "key")),
			.op = text(d, jv_get(it.v, "operator")),
			.values = array(d, values, sizeof(struct str)),
			.field = field};
		jv_each (v, values)
			if (x.values)
				x.values[x.n_values++] = text(d, v.v);
		t->exprs[t->n++] = x;
	}
}

static struct term read_term(struct dec *d, struct jv v)
{
	struct term t = {0};
	struct jv labels = jv_get(v, "matchExpressions"), fields = jv_get(v, "matchFields");
	size_t n = jv_len(labels) + jv_len(fields);
	t.exprs = n ? arena_alloc(d->a, n * sizeof(*t.exprs)) : NULL;
	d->oom |= n && !t.exprs;
	if (t.exprs) {
		read_exprs(d, labels, false, &t);
		read_exprs(d, fields, true, &t);
	}
	return t;
}

static void node_affinity(struct dec *d, struct jv spec, struct pod *p)
{
	struct jv sel = jv_get(spec, "nodeSelector");
	struct jv aff = jv_path(spec, "affinity.nodeAffinity");
	struct jv req = jv_get(aff, "requiredDuringSchedulingIgnoredDuringExecution");
	struct jv terms = jv_get(req, "nodeSelectorTerms");
	struct jv pref = jv_get(aff, "preferredDuringSchedulingIgnoredDuringExecution");
	p->selector = array(d, sel, sizeof(*p->selector));
	jv_each (it, sel) {
		struct str *value = arena_alloc(d->a, sizeof(*value));
		if (!value || !p->selector) {
			d->oom = true;
			return;
		}
		*value = text(d, it.v);
		p->selector[p->n_selector++] = (struct expr){
			.key = keep(d, it.key), .op = STR("In"), .values = value, .n_values = 1};
	}
	p->has_required = jv_type(req) == JV_OBJECT;
	p->required = array(d, terms, sizeof(*p->required));
	jv_each (it, terms)
		if (p->required)
			p->required[p->n_required++] = read_term(d, it.v);
	p->preferred = array(d, pref, sizeof(*p->preferred));
	jv_each (it, pref) {
		if (!p->preferred)
			break;
		struct term t = read_term(d, jv_get(it.v, "preference"));
		t.weight = (int)jv_int(jv_get(it.v, "weight"), 0);
		p->preferred[p->n_preferred++] = t;
	}
}

static struct label_selector *read_selector(struct dec *d, struct jv v)
{
	struct label_selector *s = NULL;
	AUTO_JSON json_t *j = NULL;
	if (jv_type(v) != JV_OBJECT)
		return NULL;
	if (json_parse(jv_bytes(v), &j, NULL) < 0 || label_selector_from_json(j, &s, NULL) < 0)
		return NULL;
	d->oom |= !s;
	return s;
}

static struct pod_term read_pod_term(struct dec *d, struct jv v, struct str own_ns)
{
	struct jv ns_sel = jv_get(v, "namespaceSelector"), ns = jv_get(v, "namespaces");
	struct pod_term t = {
		.selector = read_selector(d, jv_get(v, "labelSelector")),
		.ns_selector = read_selector(d, ns_sel),
		.key = text(d, jv_get(v, "topologyKey")),
		.namespaces = arena_alloc(d->a, (jv_len(ns) + 1) * sizeof(struct str)),
	};
	t.all_ns = t.ns_selector && label_selector_empty(t.ns_selector);
	d->oom |= !t.namespaces;
	jv_each (it, ns)
		if (t.namespaces)
			t.namespaces[t.n_namespaces++] = text(d, it.v);
	if (t.namespaces && !t.n_namespaces && !t.ns_selector)
		t.namespaces[t.n_namespaces++] = own_ns;
	return t;
}

static struct pod_term *pod_terms(
	struct dec *d, struct jv list, bool weighted, struct str ns, size_t *n)
{
	struct pod_term *t = array(d, list, sizeof(*t));
	jv_each (it, list) {
		if (!t)
			break;
		struct jv v = weighted ? jv_get(it.v, "podAffinityTerm") : it.v;
		t[*n] = read_pod_term(d, v, ns);
		t[*n].weight = (int)jv_int(jv_get(it.v, "weight"), 0);
		(*n)++;
	}
	return t;
}

static void pod_affinity(struct dec *d, struct jv spec, struct pod *p)
{
	static const char hard[] = "requiredDuringSchedulingIgnoredDuringExecution";
	static const char soft[] = "preferredDuringSchedulingIgnoredDuringExecution";
	struct jv aff = jv_path(spec, "affinity.podAffinity");
	struct jv anti = jv_path(spec, "affinity.podAntiAffinity");
	p->affinity = pod_terms(d, jv_get(aff, hard), false, p->ns, &p->n_affinity);
	p->anti = pod_terms(d, jv_get(anti, hard), false, p->ns, &p->n_anti);
	p->pref_affinity = pod_terms(d, jv_get(aff, soft), true, p->ns, &p->n_pref_affinity);
	p->pref_anti = pod_terms(d, jv_get(anti, soft), true, p->ns, &p->n_pref_anti);
}

/* Own labels named by matchLabelKeys narrow the selector. */
static struct label_selector *spread_selector(struct dec *d, struct jv c, struct jv labels)
{
	struct jv keys = jv_get(c, "matchLabelKeys");
	if (!jv_len(keys))
		return read_selector(d, jv_get(c, "labelSelector"));
	AUTO_JSON json_t *j = NULL;
	struct label_selector *s = NULL;
	if (json_parse(jv_bytes(jv_get(c, "labelSelector")), &j, NULL) < 0)
		return NULL;
	json_t *match = json_make(j, "matchLabels");
	jv_each (it, keys) {
		AUTO_FREE char *key = jv_strdup(it.v), *value = NULL;
		struct jv own = key ? jv_get(labels, key) : (struct jv){0};
		value = jv_strdup(own);
		if (jv_present(own) && value)
			(void)json_object_set_new(match, key, json_string(value));
	}
	(void)label_selector_from_json(j, &s, NULL);
	return s;
}

/* Without constraints of its own a controlled pod gets Kubernetes' two defaults. */
static void pod_spread(struct dec *d, struct jv list, struct pod *p)
{
	size_t n = jv_len(list);
	p->spread = arena_alloc(d->a, (n ? n : 2) * sizeof(*p->spread));
	if (!p->spread) {
		d->oom = true;
		return;
	}
	jv_each (it, list)
		p->spread[p->n_spread++] = (struct spread){
			.key = text(d, jv_get(it.v, "topologyKey")),
			.max_skew = (int)jv_int(jv_get(it.v, "maxSkew"), 1),
			.min_domains = (int)jv_int(jv_get(it.v, "minDomains"), 0),
			.hard = !jv_is_str(jv_get(it.v, "whenUnsatisfiable"), "ScheduleAnyway"),
			.honor_affinity = !jv_is_str(jv_get(it.v, "nodeAffinityPolicy"), "Ignore"),
			.honor_taints = jv_is_str(jv_get(it.v, "nodeTaintsPolicy"), "Honor"),
			.selector = spread_selector(d, it.v, p->labels),
		};
	if (n || !p->owner)
		return;
	p->spread[p->n_spread++] = (struct spread){
		.key = STR("kubernetes.io/hostname"), .max_skew = 3, .by_owner = true};
	p->spread[p->n_spread++] = (struct spread){
		.key = STR("topology.kubernetes.io/zone"), .max_skew = 5, .by_owner = true};
}

static void pod_meta(struct dec *d, struct jv v, struct pod *p)
{
	struct jv meta = jv_get(v, "metadata");
	p->ns = text(d, jv_get(meta, "namespace"));
	p->name = text(d, jv_get(meta, "name"));
	p->uid = text(d, jv_get(meta, "uid"));
	p->deleting = jv_type(jv_get(meta, "deletionTimestamp")) == JV_STRING;
	struct str labels = keep(d, jv_bytes(jv_get(meta, "labels")));
	p->labels = jv_of(labels);
	jv_each (it, jv_get(meta, "ownerReferences"))
		if (jv_bool(jv_get(it.v, "controller"), false))
			p->owner = str_hash(jv_raw_str(jv_get(it.v, "uid"))) | 1;
	p->print = str_hash(labels) ^ str_hash(jv_bytes(jv_get(v, "spec"))) * 31;
}

static void pod_status(struct dec *d, struct jv status, struct pod *p)
{
	struct jv phase = jv_get(status, "phase");
	p->terminal = jv_is_str(phase, "Succeeded") || jv_is_str(phase, "Failed");
	jv_each (it, jv_get(status, "conditions")) {
		if (!jv_is_str(jv_get(it.v, "type"), "PodScheduled"))
			continue;
		p->condition_false = jv_is_str(jv_get(it.v, "status"), "False");
		p->condition_reason = text(d, jv_get(it.v, "reason"));
		p->condition_message = text(d, jv_get(it.v, "message"));
	}
}

struct pod *sched_pod_decode(struct jv v)
{
	struct pod *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	struct dec d = {.a = &p->arena};
	struct jv spec = jv_get(v, "spec");
	p->refs = 1;
	pod_meta(&d, v, p);
	p->node = text(&d, jv_get(spec, "nodeName"));
	p->scheduler = text(&d, jv_get(spec, "schedulerName"));
	p->priority = jv_int(jv_get(spec, "priority"), 0);
	p->gated = jv_len(jv_get(spec, "schedulingGates")) > 0;
	pod_requests(&d, spec, p);
	pod_ports(&d, spec, p);
	pod_tolerations(&d, jv_get(spec, "tolerations"), p);
	node_affinity(&d, spec, p);
	pod_affinity(&d, spec, p);
	pod_spread(&d, jv_get(spec, "topologySpreadConstraints"), p);
	pod_status(&d, jv_get(v, "status"), p);
	if (!d.oom)
		return p;
	sched_pod_unref(p);
	return NULL;
}

struct pod *sched_pod_ref(struct pod *p)
{
	p->refs++;
	return p;
}

static void free_terms(struct pod_term *t, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		label_selector_free(t[i].selector);
		label_selector_free(t[i].ns_selector);
	}
}

void sched_pod_unref(struct pod *p)
{
	if (!p || --p->refs > 0)
		return;
	free_terms(p->affinity, p->n_affinity);
	free_terms(p->anti, p->n_anti);
	free_terms(p->pref_affinity, p->n_pref_affinity);
	free_terms(p->pref_anti, p->n_pref_anti);
	for (size_t i = 0; i < p->n_spread; i++)
		label_selector_free(p->spread[i].selector);
	arena_free(&p->arena);
	free(p);
}

/* --- nodes --- */

struct node_spec *sched_node_decode(struct jv v)
{
	struct node_spec *n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	struct dec d = {.a = &n->arena};
	struct jv labels = jv_path(v, "metadata.labels"), taints = jv_path(v, "spec.taints");
	n->refs = 1;
	n->name = text(&d, jv_path(v, "metadata.name"));
	n->unschedulable = jv_bool(jv_path(v, "spec.unschedulable"), false);
	n->labels = array(&d, labels, sizeof(*n->labels));
	jv_each (it, labels)
		if (n->labels)
			n->labels[n->n_labels++] = (struct label){keep(&d, it.key), text(&d, it.v)};
	n->taints = array(&d, taints, sizeof(*n->taints));
	jv_each (it, taints)
		if (n->taints)
			n->taints[n->n_taints++] =
				(struct taint){.key = text(&d, jv_get(it.v, "key")),
					.value = text(&d, jv_get(it.v, "value")),
					.effect = text(&d, jv_get(it.v, "effect"))};
	struct jv alloc = jv_path(v, "status.allocatable");
	read_resources(&d, jv_present(alloc) ? alloc : jv_path(v, "status.capacity"), &n->alloc);
	if (!d.oom)
		return n;
	sched_node_spec_unref(n);
	return NULL;
}

void sched_node_spec_unref(struct node_spec *n)
{
	if (!n || --n->refs > 0)
		return;
	arena_free(&n->arena);
	free(n);
}

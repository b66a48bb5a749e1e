/* SPDX-License-Identifier: Apache-2.0
 * Watch events -> dirty services -> compiler -> programmer. */
#include "svcwatch.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include "xebec/base/htab.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

static const struct resource res_services = {"", "v1", "services", "Service", true};
static const struct resource res_slices = {
	"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true};
static const struct resource res_nodes = {"", "v1", "nodes", "Node", false};

/* What belongs to one Service name; exists while there is a Service, a slice or a programmed row.
 */
struct entry {
	struct list dirty; /* in svcwatch.dirty, or empty */
	int64_t since_ns;  /* first event not yet programmed */
	struct cobj *svc;
	struct cobj **slices;
	size_t n_slices;
	char (*rows)[XB_NAME_LEN]; /* names of the programmed rows */
	size_t n_rows;
	char *ns, *name;
	struct list splits;   /* in svcwatch.splits while its endpoints are other Services' */
	uint16_t health_port; /* given to the health server; 0 = none */
	bool failing;	      /* said so already */
	bool no_local_internal, no_local_external;
};

struct svcwatch {
	struct svcwatch_config c;
	struct loop *loop;
	struct programmer *prog;
	struct informer *services, *slices, *nodes;
	struct htab *entries; /* "ns/name" */
	struct list dirty, splits;
	struct loop_task task;
	struct loop_timer retry;
	bool posted, synced, node_leaving;
	struct ip *nodeport_ips; /* NULL: every address of the node */
	size_t n_nodeport_ips;
	char *zone;
	struct svcwatch_stats stats;
};

const uint32_t svcwatch_sync_le_us[12] = {
	100, 250, 500, 1000, 2500, 5000, 10000, 50000, 250000, 1000000, 5000000, UINT32_MAX};
const uint32_t svcwatch_net_le_ms[12] = {
	1, 5, 10, 50, 100, 250, 500, 1000, 2000, 10000, 60000, UINT32_MAX};

/* ------------------------------------------------------------------ entries */

static void entry_free(void *v)
{
	struct entry *n = v;
	list_del(&n->dirty);
	list_del(&n->splits);
	if (n->svc)
		cobj_unref(n->svc);
	for (size_t i = 0; i < n->n_slices; i++)
		cobj_unref(n->slices[i]);
	free(n->slices);
	free(n->rows);
	free(n->ns);
	free(n->name);
	free(n);
}

static void entry_key(struct buf *b, struct str ns, struct str name)
{
	buf_add_str(b, ns);
	buf_addc(b, '/');
	buf_add_str(b, name);
}

static struct entry *entry_get(struct svcwatch *w, struct str ns, struct str name)
{
	AUTO_BUF struct buf key = {0};
	entry_key(&key, ns, name);
	if (key.err)
		return NULL;
	struct entry *n = htab_get(w->entries, buf_str(&key));
	if (n)
		return n;
	n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	list_init(&n->dirty);
	list_init(&n->splits);
	n->ns = str_dup(ns);
	n->name = str_dup(name);
	if (!n->ns || !n->name || htab_put(w->entries, buf_str(&key), n, NULL)) {
		entry_free(n);
		return NULL;
	}
	return n;
}

static void entry_drop(struct svcwatch *w, struct entry *n)
{
	AUTO_BUF struct buf key = {0};
	entry_key(&key, str_of(n->ns), str_of(n->name));
	(void)htab_del(w->entries, buf_str(&key));
	entry_free(n);
}

static void mark(struct svcwatch *w, struct entry *n)
{
	if (!n->since_ns)
		n->since_ns = time_mono();
	w->stats.last_queued = time_now();
	if (list_empty(&n->dirty))
		list_push(&w->dirty, &n->dirty);
	if (w->posted || !w->synced)
		return;
	w->posted = true;
	loop_post(w->loop, &w->task);
}

/* Slices of n changed: it, and the Services that give it a share. */
static void mark_slices(struct svcwatch *w, struct entry *n)
{
	mark(w, n);
	list_each (it, &w->splits) {
		struct entry *user = list_entry(it, struct entry, splits);
		const struct svc_spec *svc = user->svc ? user->svc->decoded : NULL;
		for (size_t i = 0; svc && i < svc->n_parts; i++)
			if (strcmp(svc->parts[i].name, n->name) == 0 &&
				strcmp(user->ns, n->ns) == 0)
				mark(w, user);
	}
}

/* ------------------------------------------------------------------ programming */

static bool row_wanted(const char *name, const struct want_svc *rows, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(rows[i].name, name) == 0)
			return true;
	return false;
}

static int rows_remember(struct entry *n, const struct want_svc *rows, int count)
{
	char(*names)[XB_NAME_LEN] = calloc((size_t)count + 1, sizeof *names);
	if (!names)
		return -ENOMEM;
	for (int i = 0; i < count; i++)
		(void)snprintf(names[i], sizeof names[i], "%s", rows[i].name);
	free(n->rows);
	n->rows = names;
	n->n_rows = (size_t)count;
	return 0;
}

/* 0, or negative errno when something must be tried again. */
static int rows_program(struct svcwatch *w, struct entry *n, const struct want_svc *rows, int count)
{
	int first = 0;
	/* Frontends may move between the ports of a service: the old rows go first. */
	for (size_t i = 0; i < n->n_rows; i++)
		if (!row_wanted(n->rows[i], rows, count))
			programmer_del(w->prog, n->rows[i]);
	for (int i = 0; i < count; i++) {
		struct err e = {0};
		int r = programmer_set(w->prog, &rows[i], n->svc->rv, n->since_ns, &e);
		if (r && !n->failing)
			log_warn("service not programmed, trying again: %s", e.msg);
		first = first ? first : r;
	}
	n->failing = first != 0;
	int r = rows_remember(n, rows, count);
	return first ? first : r;
}

/* The health check port answers for what is ready here, in the Service's first family. */
static void health_program(struct svcwatch *w, struct entry *n, const struct svc_spec *svc,
	const struct slice_spec *const *slices, size_t n_slices, const struct where *me)
{
	uint16_t port = svc ? svc->health_port : 0;
	if (!w->c.health || (!port && !n->health_port))
		return;
	size_t local = port ? compile_local_ready(svc, slices, n_slices, me) : 0;
	health_service(w->c.health, n->ns, n->name, port, local);
	n->health_port = port;
}

/* Notes a duration in a histogram whose last bucket takes everything. */
static void histogram_add(uint64_t *le, const uint32_t *bounds, int64_t v)
{
	size_t i = 0;
	while (i < 11 && v > bounds[i])
		i++;
	le[i]++;
}

/* How long the endpoints' changes were on the way, from what the slices say. */
static void network_latency(struct svcwatch *w, struct entry *n)
{
	int64_t now = time_now();
	for (size_t i = 0; i < n->n_slices; i++) {
		struct slice_spec *s = n->slices[i]->decoded;
		if (!s || !s->triggered || s->triggered_seen)
			continue;
		s->triggered_seen = true;
		if (!w->synced || s->triggered > now)
			continue; /* what was there before us says nothing */
		histogram_add(
			w->stats.net_le, svcwatch_net_le_ms, (now - s->triggered) / NS_PER_MS);
		w->stats.net_n++;
		w->stats.net_ns_sum += (uint64_t)(now - s->triggered);
	}
}

/* Services whose policy is Local and that have endpoints, but none here. */
static void no_local_note(struct entry *n, const struct want_svc *rows, int count)
{
	n->no_local_internal = n->no_local_external = false;
	for (int i = 0; i < count; i++) {
		bool none = rows[i].n_local == 0 && rows[i].n_cluster > 0;
		n->no_local_internal |= none && (rows[i].flags & SVC_ITP_LOCAL);
		n->no_local_external |= none && (rows[i].flags & SVC_ETP_LOCAL);
	}
}

static struct entry *entry_find(const struct svcwatch *w, const char *ns, const char *name)
{
	AUTO_BUF struct buf key = {0};
	entry_key(&key, str_of(ns), str_of(name));
	return key.err ? NULL : htab_get(w->entries, buf_str(&key));
}

/* The slices behind a Service: its own, or those of the Services that it is split over. */
static int slices_collect(struct svcwatch *w, struct entry *n, const struct svc_spec *svc,
	struct arena *mem, const struct slice_spec ***ret)
{
	struct entry *from[SVC_PARTS_MAX] = {n};
	size_t parts = svc && svc->n_parts ? svc->n_parts : 1, max = 0, k = 0;
	for (size_t i = 0; i < parts; i++) {
		if (svc && svc->n_parts)
			from[i] = entry_find(w, n->ns, svc->parts[i].name);
		max += from[i] ? from[i]->n_slices : 0;
	}
	*ret = arena_alloc(mem, (max + 1) * sizeof **ret);
	if (!*ret)
		return -ENOMEM;
	for (size_t i = 0; i < parts; i++)
		for (size_t s = 0; from[i] && s < from[i]->n_slices; s++) {
			struct slice_spec *spec = from[i]->slices[s]->decoded;
			if (!spec)
				continue;
			spec->part = (uint32_t)i;
			(*ret)[k++] = spec;
		}
	return (int)k;
}

static int entry_program(struct svcwatch *w, struct entry *n)
{
	AUTO_ARENA struct arena mem = {0};
	struct want_svc *rows = NULL;
	const struct where me = {str_of(w->c.node), str_of(w->zone ? w->zone : ""), w->nodeport_ips,
		w->n_nodeport_ips};
	const struct slice_spec **slices = NULL;
	const struct svc_spec *svc = n->svc ? n->svc->decoded : NULL;
	int count = 0, k = slices_collect(w, n, svc, &mem, &slices);
	if (k < 0)
		return k;
	list_del(&n->splits);
	if (svc && svc->n_parts)
		list_push(&w->splits, &n->splits);
	if (svc)
		count = compile_service(n->ns, n->name, svc, slices, (size_t)k, &me, &mem, &rows);
	int r = count < 0 ? count : rows_program(w, n, rows, count);
	no_local_note(n, rows, count);
	health_program(w, n, svc, slices, (size_t)k, &me);
	network_latency(w, n);
	return r;
}

static void sync_note(struct svcwatch *w, int64_t began)
{
	int64_t ns = time_mono() - began;
	w->stats.syncs++;
	w->stats.sync_ns_sum += (uint64_t)ns;
	histogram_add(w->stats.sync_le, svcwatch_sync_le_us, ns / 1000);
	w->stats.last_sync = time_now();
}

static void flush(struct svcwatch *w)
{
	struct list again;
	int64_t began = time_mono();
	list_init(&again);
	while (!list_empty(&w->dirty)) {
		struct entry *n = list_entry(w->dirty.next, struct entry, dirty);
		list_del(&n->dirty);
		if (entry_program(w, n))
			list_push(&again, &n->dirty);
		else if (!n->svc && n->n_slices == 0)
			entry_drop(w, n);
		else
			n->since_ns = 0;
	}
	list_each_safe (it, &again) {
		list_del(it);
		list_push(&w->dirty, it);
	}
	if (!list_empty(&w->dirty)) /* a full map: room may come */
		(void)loop_timer_set(w->loop, &w->retry, 2 * NS_PER_SEC);
	programmer_flush(w->prog);
	sync_note(w, began);
}

static void on_task(struct loop_task *t)
{
	struct svcwatch *w = t->arg;
	w->posted = false;
	flush(w);
}

static void on_retry(struct loop_timer *t)
{
	flush(t->arg);
}

/* ------------------------------------------------------------------ events */

static void *decode_service(struct jv v)
{
	return svc_spec_new(v);
}

static void *decode_slice(struct jv v)
{
	return slice_spec_new(v);
}

static void on_service(void *arg, struct cobj *old, struct cobj *new)
{
	struct svcwatch *w = arg;
	struct cobj *o = new ? new : old;
	struct entry *n = entry_get(w, str_of(o->ns), str_of(o->name));
	if (!n)
		return;
	w->stats.service_changes++;
	if (n->svc)
		cobj_unref(n->svc);
	n->svc = new ? cobj_ref(new) : NULL;
	mark(w, n);
}

static void slice_out(struct entry *n, const char *name)
{
	for (size_t i = 0; i < n->n_slices; i++)
		if (strcmp(n->slices[i]->name, name) == 0) {
			cobj_unref(n->slices[i]);
			n->slices[i] = n->slices[--n->n_slices];
			return;
		}
}

static int slice_in(struct entry *n, struct cobj *o)
{
	struct cobj **v = realloc(n->slices, (n->n_slices + 1) * sizeof *v);
	if (!v)
		return -ENOMEM;
	n->slices = v;
	n->slices[n->n_slices++] = cobj_ref(o);
	return 0;
}

/* Its Service; NULL when it names none. */
static struct entry *slice_entry(struct svcwatch *w, const struct cobj *o)
{
	const struct slice_spec *s = o->decoded;
	return s && s->service[0] ? entry_get(w, str_of(o->ns), str_of(s->service)) : NULL;
}

static void on_slice(void *arg, struct cobj *old, struct cobj *new)
{
	struct svcwatch *w = arg;
	w->stats.slice_changes++;
	if (old) {
		struct entry *n = slice_entry(w, old);
		if (n) {
			slice_out(n, old->name);
			mark_slices(w, n);
		}
	}
	if (new) {
		struct entry *n = slice_entry(w, new);
		if (n && slice_in(n, new) == 0)
			mark_slices(w, n);
	}
}

/* As kube-proxy sees it: deleted, or marked by the cluster autoscaler. */
static bool node_leaves(const struct cobj *o)
{
	if (!o || jv_present(jv_path(o->v, "metadata.deletionTimestamp")))
		return true;
	jv_each (it, jv_path(o->v, "spec.taints"))
		if (jv_is_str(jv_get(it.v, "key"), "ToBeDeletedByClusterAutoscaler"))
			return true;
	return false;
}

/* Only our own node counts: its zone decides which hinted endpoints are near. */
static void on_node(void *arg, struct cobj *old, struct cobj *new)
{
	struct svcwatch *w = arg;
	if (strcmp((new ? new : old)->name, w->c.node) != 0)
		return;
	w->node_leaving = node_leaves(new);
	if (!new)
		return;
	struct jv labels = jv_path(new->v, "metadata.labels");
	char *zone = jv_strdup(jv_get(labels, "topology.kubernetes.io/zone"));
	bool same = zone && strcmp(zone, w->zone ? w->zone : "") == 0;
	if (same || !zone) {
		free(zone);
		return;
	}
	free(w->zone);
	w->zone = zone;
	htab_each (w->entries, it)
		mark(w, it.value);
}

static void on_synced(void *arg)
{
	struct svcwatch *w = arg;
	if (w->synced || !w->services || !w->slices || !w->nodes || !informer_synced(w->services) ||
		!informer_synced(w->slices) || !informer_synced(w->nodes))
		return;
	w->synced = true;
	flush(w);
	programmer_synced(w->prog);
	(void)malloc_trim(0); /* the lists were large */
	if (w->c.on_synced)
		w->c.on_synced(w->c.arg);
}

/* ------------------------------------------------------------------ life */

static int watch(struct svcwatch *w, const struct informer_config *part, struct informer **ret,
	struct err *e)
{
	struct informer_config c = *part;
	c.client = w->c.client;
	c.on_synced = on_synced;
	c.arg = w;
	return informer_start(&c, ret, e);
}

int svcwatch_start(const struct svcwatch_config *c, struct svcwatch **ret, struct err *e)
{
	char field[300];
	struct svcwatch *w = calloc(1, sizeof *w);
	if (!w)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	w->c = *c;
	w->loop = client_loop(c->client);
	w->entries = htab_new();
	list_init(&w->dirty);
	list_init(&w->splits);
	w->task = (struct loop_task){.fn = on_task, .arg = w};
	w->retry = (struct loop_timer){.fn = on_retry, .arg = w};
	int r = w->entries ? programmer_new(c->maps, w->loop, &w->prog, e)
			   : err_set(e, ENOMEM, "InternalError", "out of memory");
	const struct informer_config services = {.resource = &res_services,
		.label_selector = "!service.kubernetes.io/service-proxy-name",
		.decode = decode_service,
		.free_decoded = svc_spec_free,
		.lean = true,
		.on_event = on_service};
	const struct informer_config slices = {.resource = &res_slices,
		.label_selector =
			"!service.kubernetes.io/headless,!service.kubernetes.io/service-proxy-name",
		.decode = decode_slice,
		.free_decoded = slice_spec_free,
		.lean = true,
		.on_event = on_slice};
	(void)snprintf(field, sizeof field, "metadata.name=%s", c->node);
	const struct informer_config nodes = {
		.resource = &res_nodes, .field_selector = field, .on_event = on_node};
	r = r ? r : watch(w, &services, &w->services, e);
	r = r ? r : watch(w, &slices, &w->slices, e);
	r = r ? r : watch(w, &nodes, &w->nodes, e);
	if (r) {
		svcwatch_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void svcwatch_free(struct svcwatch *w)
{
	if (!w)
		return;
	informer_free(w->services);
	informer_free(w->slices);
	informer_free(w->nodes);
	loop_timer_cancel(&w->retry);
	if (w->entries)
		htab_free(w->entries, entry_free);
	programmer_free(w->prog);
	free(w->zone);
	free(w->nodeport_ips);
	free(w);
}

bool svcwatch_synced(const struct svcwatch *w)
{
	return w->synced;
}

struct informer *svcwatch_slices(struct svcwatch *w)
{
	return w->slices;
}

struct informer *svcwatch_nodes(struct svcwatch *w)
{
	return w->nodes;
}

struct programmer *svcwatch_programmer(struct svcwatch *w)
{
	return w->prog;
}

void svcwatch_nodeport_addresses(struct svcwatch *w, const struct ip *ips, size_t n)
{
	struct ip *copy = calloc(n + 1, sizeof *copy);
	if (!copy)
		return;
	if (n)
		memcpy(copy, ips, n * sizeof *copy);
	free(w->nodeport_ips);
	w->nodeport_ips = copy;
	w->n_nodeport_ips = n;
	htab_each (w->entries, it)
		mark(w, it.value);
}

struct health_state svcwatch_health(const struct svcwatch *w)
{
	struct health_state s = {.synced = w->synced,
		.node_leaving = w->node_leaving,
		.updated = w->stats.last_sync};
	int64_t oldest = 0, offset = time_now() - time_mono();
	for (const struct list *it = w->dirty.next; it != &w->dirty; it = it->next) {
		int64_t t = CONTAINER_OF(it, const struct entry, dirty)->since_ns;
		oldest = !oldest || t < oldest ? t : oldest;
	}
	s.pending = oldest ? oldest + offset : 0;
	return s;
}

void svcwatch_stats(const struct svcwatch *w, struct svcwatch_stats *ret)
{
	*ret = w->stats;
	for (const struct list *it = w->dirty.next; it != &w->dirty; it = it->next)
		ret->services_pending++;
	htab_each (w->entries, it) {
		const struct entry *n = it.value;
		ret->no_local_internal += n->no_local_internal;
		ret->no_local_external += n->no_local_external;
	}
}

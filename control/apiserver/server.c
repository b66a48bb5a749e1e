/* SPDX-License-Identifier: Apache-2.0
 * The API server's parts put together, and what it does by the clock: compaction, Event leases. */
#include "apiserver/crd.h"
#include "apiserver/internal.h"

#include <errno.h>

#define DEFAULT_ISSUER	"https://kubernetes.default.svc.cluster.local"
#define COMPACT_NS	(300 * NS_PER_SEC)
#define LEASE_ROTATE_NS (60 * NS_PER_SEC) /* Events share a lease for this long */
#define EVENT_TTL_SEC	3600

/* --- by the clock --- */

static void compacted(void *arg, const struct err *e)
{
	(void)arg;
	(void)e; /* compacted already, or the next one will do */
}

/* Compacts to where the store was one period ago: continue tokens live at least that long. */
static void compact_tick(struct loop_timer *t)
{
	struct apiserver *s = t->arg;
	uint64_t now = s->store->ops->rev(s->store);
	if (s->compact_next)
		s->store->ops->compact(s->store, s->compact_next, compacted, s);
	s->compact_next = now;
	(void)loop_timer_set(s->loop, t, COMPACT_NS);
}

static void lease_tick(struct loop_timer *t)
{
	struct apiserver *s = t->arg;
	struct err e = {0};
	uint64_t id;
	if (s->store->ops->lease_grant(
		    s->store, EVENT_TTL_SEC + LEASE_ROTATE_NS / NS_PER_SEC, &id, &e) == 0)
		atomic_store(&s->event_lease, id);
	(void)loop_timer_set(s->loop, t, LEASE_ROTATE_NS);
}

static void start_clock(struct apiserver *s)
{
	s->compact_timer = (struct loop_timer){.fn = compact_tick, .arg = s};
	s->lease_timer = (struct loop_timer){.fn = lease_tick, .arg = s};
	if (!s->loop)
		return;
	(void)loop_timer_set(s->loop, &s->compact_timer, COMPACT_NS);
	lease_tick(&s->lease_timer);
}

/* --- together --- */

static void on_change(void *arg, struct cache_res *r, struct obj *old, struct obj *new)
{
	struct apiserver *s = arg;
	if (strcmp(r->kind->plural, "services") == 0 && !*r->kind->group)
		alloc_observe(s->alloc, old, new);
	else
		crds_observe(s->crds, r, old, new);
}

static struct cache_res *find(struct apiserver *s, const char *group, const char *plural)
{
	const struct kind *k = kind_by_resource(str_of(group), STR("v1"), str_of(plural));
	return k ? cache_resource(s->cache, k) : NULL;
}

static int open_parts(struct apiserver *s, const struct apiserver_config *c, struct err *e)
{
	int rc = alloc_new(c->service_cidr, c->node_port_min, c->node_port_max, &s->alloc, e);
	if (rc == 0 && c->sa_key_pem.n)
		rc = jwt_key_load(c->sa_key_pem, &s->jwt, e);
	if (rc == 0 && c->token_file)
		rc = tokens_load(c->token_file, &s->tokens, e);
	if (rc == 0)
		rc = kubelets_new(c, &s->kubelets, e);
	if (rc == 0)
		rc = crds_new(s, &s->crds, e);
	if (rc == 0)
		rc = cache_new(s->store, on_change, s, &s->cache, e);
	if (rc < 0)
		return rc;
	s->namespaces = find(s, "", "namespaces");
	s->services = find(s, "", "services");
	s->pods = find(s, "", "pods");
	s->nodes = find(s, "", "nodes");
	s->serviceaccounts = find(s, "", "serviceaccounts");
	s->slices = find(s, "discovery.k8s.io", "endpointslices");
	s->pdbs = find(s, "policy", "poddisruptionbudgets");
	if (!s->namespaces || !s->services || !s->pods || !s->nodes || !s->serviceaccounts)
		return err_set(e, ENOSYS, NULL, "the schema lacks core kinds");
	return bootstrap(s, c, e);
}

int apiserver_new(const struct apiserver_config *c, struct apiserver **ret, struct err *e)
{
	struct apiserver *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, ENOMEM, NULL, "out of memory");
	s->store = c->store;
	s->loop = c->loop;
	s->issuer = strdup(c->issuer ? c->issuer : DEFAULT_ISSUER);
	s->advertise = c->advertise ? strdup(c->advertise) : NULL;
	s->metrics = metrics_new();
	int rc = s->issuer && s->metrics ? open_parts(s, c, e)
					 : err_set(e, ENOMEM, NULL, "out of memory");
	if (rc < 0) {
		apiserver_free(s);
		return rc;
	}
	start_clock(s);
	crds_start(s->crds);
	atomic_store(&s->ready, true);
	*ret = s;
	return 0;
}

unsigned apiserver_busy(const struct apiserver *s)
{
	return atomic_load(&s->busy);
}

void apiserver_free(struct apiserver *s)
{
	if (!s)
		return;
	loop_timer_cancel(&s->compact_timer);
	loop_timer_cancel(&s->lease_timer);
	cache_free(s->cache);
	crds_free(s->crds);
	alloc_free(s->alloc);
	kubelets_free(s->kubelets);
	tokens_free(s->tokens);
	jwt_key_free(s->jwt);
	metrics_free(s->metrics);
	free(s->issuer);
	free(s->advertise);
	free(s);
}

/* SPDX-License-Identifier: Apache-2.0
 * The registry of custom kinds: follows the definitions in the watch cache, compiles each once for
 * every change of its spec, and publishes a new list of kinds. */
#include "apiserver/crd.h"

#include <errno.h>
#include "xebec/base/log.h"

#define RETRY_NS (500 * NS_PER_MS) /* should an event be missed or a write fail */

struct entry { /* one definition that the cache knows */
	struct definition *def;
	uint64_t rev; /* of the version seen last */
	bool served, terminating;
};
struct crds {
	struct apiserver *srv;
	pthread_mutex_t lock; /* taken under the cache's, never the other way round */
	struct htab *entries; /* by name */
	struct registry *cur;
	struct loop_task task;
	struct loop_timer timer;
	atomic_bool posted, cleaning, started;
	struct crd_writes writes;
};

/* --- the list of kinds --- */

void registry_unref(struct registry *g)
{
	if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < g->n; i++)
		definition_unref(g->defs[i]);
	free(g->defs);
	kinds_free(&g->kinds);
	free(g);
}

struct registry *crds_registry(struct crds *c)
{
	pthread_mutex_lock(&c->lock);
	struct registry *g = c->cur;
	atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&c->lock);
	return g;
}

/* A resource of the built-in API cannot be taken over. */
static bool publishable(const struct kind *k)
{
	return !kind_by_resource(str_of(k->group), str_of(k->version), str_of(k->plural));
}

static size_t collect(struct crds *c, struct registry *g, const struct kind **kinds)
{
	size_t n = 0;
	htab_each (c->entries, it) {
		struct entry *en = it.value;
		if (!en->served)
			continue;
		if (kinds)
			g->defs[g->n++] = definition_ref(en->def);
		for (size_t i = 0; i < en->def->n_kinds; i++) {
			if (!publishable(&en->def->kinds[i]))
				continue;
			if (kinds)
				kinds[n] = &en->def->kinds[i];
			n++;
		}
	}
	return n;
}

static struct registry *registry_new(struct crds *c)
{
	struct registry *g = calloc(1, sizeof(*g));
	size_t n = g ? collect(c, g, NULL) : 0;
	AUTO_FREE const struct kind **kinds = calloc(n + 1, sizeof(const struct kind *));
	if (!g || !kinds) {
		free(g);
		return NULL;
	}
	g->refs = 1;
	g->defs = calloc(htab_len(c->entries) + 1, sizeof(struct definition *));
	if (g->defs)
		n = collect(c, g, kinds);
	if (!g->defs || kinds_new(kinds, n, &g->kinds) < 0) {
		registry_unref(g);
		return NULL;
	}
	return g;
}

/* Under c->lock. Out of memory: the old list stays until the next change. */
static void publish(struct crds *c)
{
	struct registry *g = registry_new(c);
	if (!g)
		return;
	registry_unref(c->cur);
	c->cur = g;
}

/* --- following the cache --- */

static void entry_free(void *p)
{
	struct entry *en = p;
	definition_unref(en->def);
	free(en);
}

static bool condition_true(struct jv crd, const char *type)
{
	jv_each (it, jv_path(crd, "status.conditions"))
		if (jv_is_str(jv_get(it.v, "type"), type))
			return jv_is_str(jv_get(it.v, "status"), "True");
	return false;
}

static bool same_spec(const struct definition *d, struct jv crd)
{
	return d && d->generation == jv_int(jv_path(crd, "metadata.generation"), -1) &&
	       str_eqz(jv_raw_str(jv_path(crd, "metadata.uid")), d->uid);
}

static struct entry *entry_get(struct crds *c, struct str name)
{
	struct entry *en = htab_get(c->entries, name);
	if (en)
		return en;
	en = calloc(1, sizeof(*en));
	if (en && htab_put(c->entries, name, en, NULL) < 0) {
		free(en);
		return NULL;
	}
	return en;
}

/* True when the resource's watches must end: it is served by another schema, or no longer. */
static bool entry_update(struct crds *c, struct entry *en, const struct obj *o)
{
	struct jv v = jv_of(obj_bytes(o));
	bool was = en->served, changed = false;
	en->terminating = jv_present(jv_path(v, "metadata.deletionTimestamp"));
	if (!same_spec(en->def, v)) {
		struct definition *d = NULL;
		struct err e = {0};
		if (definition_new(obj_bytes(o), obj_rv(o), &d, &e) < 0) {
			struct str n = obj_name(o);
			log_warn("definition %.*s: %s", STR_FMT(n), e.msg);
		}
		definition_unref(en->def);
		en->def = d;
		changed = true;
	}
	en->served = en->def && condition_true(v, "Established");
	if (changed || was != en->served)
		publish(c);
	return was && (changed || !en->served);
}

static void wake(struct crds *c)
{
	if (atomic_load(&c->started) && !atomic_exchange(&c->posted, true))
		loop_post(c->srv->loop, &c->task);
}

static void on_definition(struct crds *c, struct cache *cache, struct obj *old, struct obj *new)
{
	char name[300];
	if (str_copy(name, sizeof(name), obj_name(new ? new : old)) < 0)
		return;
	struct str plural = str_of(name);
	char *dot = strchr(name, '.');
	bool ended = !new;
	pthread_mutex_lock(&c->lock);
	struct entry *en = new ? entry_get(c, plural) : htab_del(c->entries, plural);
	if (new &&en)
		ended = entry_update(c, en, new);
	if (!new &&en) {
		entry_free(en);
		publish(c);
	}
	pthread_mutex_unlock(&c->lock);
	if (ended && dot) {
		*dot = '\0';
		cache_custom_changed(cache, dot + 1, name, !new);
	}
	wake(c);
}

void crds_observe(struct crds *c, struct cache_res *r, struct obj *old, struct obj *new)
{
	if (r->own) {
		if (!new &&atomic_load(&c->cleaning))
			wake(c);
		return;
	}
	if (strcmp(r->kind->plural, "customresourcedefinitions") == 0 &&
		strcmp(r->kind->group, "apiextensions.k8s.io") == 0)
		on_definition(c, r->cache, old, new);
}

/* --- readers --- */

struct definition *crds_find(
	struct crds *c, struct str group, struct str plural, bool *ret_terminating)
{
	char name[520];
	struct definition *d = NULL;
	int n = snprintf(name, sizeof(name), "%.*s.%.*s", STR_FMT(plural), STR_FMT(group));
	if (n < 0 || (size_t)n >= sizeof(name))
		return NULL;
	pthread_mutex_lock(&c->lock);
	const struct entry *en = htab_get(c->entries, (struct str){name, (size_t)n});
	if (en && en->served && str_eqz(group, en->def->group)) {
		d = definition_ref(en->def);
		*ret_terminating = en->terminating;
	}
	pthread_mutex_unlock(&c->lock);
	return d;
}

bool crds_has_group(struct crds *c, struct str group, struct str version)
{
	bool found = false;
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->cur->n && !found; i++)
		found = str_eqz(group, c->cur->defs[i]->group) &&
			definition_kind(c->cur->defs[i], version);
	pthread_mutex_unlock(&c->lock);
	return found;
}

/* --- life --- */

static void reconcile(struct crds *c)
{
	atomic_store(&c->cleaning, true); /* before the look: what goes meanwhile counts */
	bool again = crd_reconcile(c->srv, &c->writes);
	atomic_store(&c->cleaning, again);
	if (again)
		(void)loop_timer_set(c->srv->loop, &c->timer, RETRY_NS);
}

static void on_task(struct loop_task *t)
{
	struct crds *c = t->arg;
	atomic_store(&c->posted, false);
	reconcile(c);
}

static void on_timer(struct loop_timer *t)
{
	reconcile(t->arg);
}

int crds_new(struct apiserver *s, struct crds **ret, struct err *e)
{
	struct crds *c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, ENOMEM, NULL, "out of memory");
	c->srv = s;
	c->task = (struct loop_task){.fn = on_task, .arg = c};
	c->timer = (struct loop_timer){.fn = on_timer, .arg = c};
	pthread_mutex_init(&c->lock, NULL);
	pthread_mutex_init(&c->writes.lock, NULL);
	pthread_cond_init(&c->writes.idle, NULL);
	c->entries = htab_new();
	if (c->entries)
		publish(c);
	if (!c->cur) {
		crds_free(c);
		return err_set(e, ENOMEM, NULL, "out of memory");
	}
	*ret = c;
	return 0;
}

void crds_start(struct crds *c)
{
	if (!c->srv->loop)
		return;
	atomic_store(&c->started, true);
	wake(c);
}

void crds_free(struct crds *c)
{
	if (!c)
		return;
	atomic_store(&c->started, false);
	loop_timer_cancel(&c->timer);
	pthread_mutex_lock(&c->writes.lock);
	while (c->writes.n)
		pthread_cond_wait(&c->writes.idle, &c->writes.lock);
	pthread_mutex_unlock(&c->writes.lock);
	registry_unref(c->cur);
	htab_free(c->entries, entry_free);
	pthread_cond_destroy(&c->writes.idle);
	pthread_mutex_destroy(&c->writes.lock);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

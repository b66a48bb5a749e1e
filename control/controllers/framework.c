/* SPDX-License-Identifier: Apache-2.0
 * Starts and stops the controllers; feeds what the shared informers report to their queues. */
#include <errno.h>
#include "controllers/framework.h"
#include "controllers/object.h"
#include "xebec/base/log.h"

#define PARALLEL  8
#define RESYNC_NS (30 * NS_PER_SEC)

static const struct {
	const char *name;
	const struct controller *def;
} table[] = {
#define CONTROLLER(name, descriptor) {name, &descriptor},
#include "controllers/controllers.def"
#undef CONTROLLER
};

static bool enabled(const struct controllers_config *cfg, const char *name)
{
	struct str rest = str_of(cfg->disabled);

	while (rest.n > 0)
		if (str_eqz(str_cut(&rest, ','), name))
			return false;
	return true;
}

static struct cobj *cache_get(struct cache *c, enum res r, const char *ns, const char *name)
{
	struct controllers *cs = (struct controllers *)c;

	return cs->slots[r].inf ? informer_get(cs->slots[r].inf, ns, name) : NULL;
}

static bool cache_next(struct cache *c, enum res r, const char *ns, struct informer_iter *it)
{
	struct controllers *cs = (struct controllers *)c;

	return cs->slots[r].inf && informer_next(cs->slots[r].inf, ns, it);
}

static void add_key(void *arg, const char *key)
{
	workqueue_add(((struct ctl *)arg)->queue, key);
}

/* Lets one controller map a change to its keys. */
static void feed(struct ctl *c, enum res res, struct cobj *old, struct cobj *new)
{
	struct controllers *cs = c->cs;
	struct rc rc;

	rc_init(&rc, &cs->cache, &cs->cfg, time_now());
	rc.started = cs->started;
	rc.add_key = add_key;
	rc.add_arg = c;
	for (size_t i = 0; i < ARRAY_LEN(c->def->watches) && c->def->watches[i].map; i++)
		if (c->def->watches[i].res == res)
			c->def->watches[i].map(&rc, old, new);
	rc_fini(&rc);
}

static void on_event(void *arg, struct cobj *old, struct cobj *new)
{
	struct informer_slot *s = arg;
	struct controllers *cs = s->cs;

	if (!cs->started)
		return;
	for (size_t i = 0; i < cs->n_ctls; i++)
		feed(&cs->ctls[i], s->res, old, new);
	runs_check(cs, s->res);
}

static void on_round(void *arg)
{
	struct controllers *cs = arg;

	if (cs->gc)
		gc_round(cs->gc);
}

static void feed_all(struct controllers *cs)
{
	for (int r = 0; r < R_COUNT; r++)
		for (size_t i = 0; cs->slots[r].inf && i < cs->n_ctls; i++)
			informer_each(cs->slots[r].inf, NULL, it)
				feed(&cs->ctls[i], (enum res)r, NULL, it.obj);
}

/* All caches are full: only now can something be missing. */
static void on_synced(void *arg)
{
	struct informer_slot *s = arg;
	struct controllers *cs = s->cs;

	s->synced = true;
	for (int r = 0; r < R_COUNT; r++)
		if (cs->slots[r].cs && !cs->slots[r].synced)
			return;
	if (cs->started)
		return;
	cs->started = time_now();
	log_info("controllers: caches are filled, %zu controllers run", cs->n_ctls);
	feed_all(cs);
}

static void work(void *arg, const char *key)
{
	run_start(arg, key);
}

static int start_ctl(struct controllers *cs, const char *name, const struct controller *def)
{
	struct ctl *c = &cs->ctls[cs->n_ctls];

	*c = (struct ctl){.cs = cs, .name = name, .def = def};
	c->queue = workqueue_new(
		client_loop(cs->c), work, c, def->parallel ? def->parallel : PARALLEL);
	c->events = event_recorder_new(cs->c, def->component, NULL);
	cs->n_ctls++;
	if (!c->queue || !c->events)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(def->watches) && def->watches[i].map; i++) {
		struct informer_slot *s = &cs->slots[def->watches[i].res];
		s->cs = cs;
		s->res = def->watches[i].res;
	}
	return 0;
}

static int start_informer(struct controllers *cs, struct informer_slot *s, struct err *e)
{
	struct informer_config ic = {.client = cs->c,
		.resource = &res_table[s->res],
		.decode = s->res == R_POD ? pod_decode : NULL,
		.free_decoded = s->res == R_POD ? free : NULL,
		.on_event = on_event,
		.on_synced = on_synced,
		.arg = s};

	return informer_start(&ic, &s->inf, e);
}

static int start_all(struct controllers *cs, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_LEN(table) && r == 0; i++)
		if (enabled(&cs->cfg, table[i].name))
			r = start_ctl(cs, table[i].name, table[i].def);
	if (r < 0)
		return err_set(e, r, NULL, "out of memory while starting controllers");
	/* The reconcilers also read what they do not watch. */
	static const enum res read_too[] = {R_NODE, R_POD, R_NS};
	for (size_t i = 0; i < ARRAY_LEN(read_too); i++) {
		cs->slots[read_too[i]].cs = cs;
		cs->slots[read_too[i]].res = read_too[i];
	}
	for (int i = 0; i < R_COUNT && r == 0; i++)
		if (cs->slots[i].cs)
			r = start_informer(cs, &cs->slots[i], e);
	if (r < 0)
		return r;
	cs->discovery = discovery_start(
		cs->c, cs->cfg.gc_resync_ns ? cs->cfg.gc_resync_ns : RESYNC_NS, on_round, cs);
	if (enabled(&cs->cfg, "gc"))
		cs->gc = gc_start(cs);
	if (!cs->discovery || (enabled(&cs->cfg, "gc") && !cs->gc))
		return err_set(e, ENOMEM, NULL, "out of memory while starting controllers");
	return 0;
}

int controllers_start(struct client *c, const struct controllers_config *cfg,
	struct controllers **ret, struct err *e)
{
	struct controllers *cs = calloc(1, sizeof(*cs));

	if (!cs)
		return err_set(e, ENOMEM, NULL, "out of memory while starting controllers");
	cs->cache = (struct cache){.get = cache_get, .next = cache_next};
	cs->c = c;
	cs->cfg = *cfg;
	list_init(&cs->runs);
	cs->ctls = calloc(ARRAY_LEN(table), sizeof(*cs->ctls));
	int r = cs->ctls ? start_all(cs, e)
			 : err_set(e, ENOMEM, NULL, "out of memory while starting controllers");
	if (r < 0) {
		controllers_stop(cs);
		return r;
	}
	*ret = cs;
	return 0;
}

void controllers_stop(struct controllers *cs)
{
	if (!cs)
		return;
	cs->started = 0;
	gc_free(cs->gc);
	discovery_free(cs->discovery);
	runs_free(cs);
	for (int r = 0; r < R_COUNT; r++)
		if (cs->slots[r].inf)
			informer_free(cs->slots[r].inf);
	for (size_t i = 0; i < cs->n_ctls; i++) {
		if (cs->ctls[i].queue)
			workqueue_free(cs->ctls[i].queue);
		if (cs->ctls[i].events)
			event_recorder_free(cs->ctls[i].events);
		if (cs->ctls[i].def->fini)
			cs->ctls[i].def->fini(cs->ctls[i].state);
	}
	free(cs->ctls);
	free(cs);
}

bool controllers_synced(const struct controllers *cs)
{
	return cs->started != 0;
}

size_t controllers_busy(const struct controllers *cs)
{
	size_t n = 0;

	for (size_t i = 0; i < cs->n_ctls; i++)
		n += workqueue_len(cs->ctls[i].queue);
	for (struct list *it = cs->runs.next; it != &cs->runs; it = it->next)
		n++;
	return n + gc_busy(cs->gc);
}

/* SPDX-License-Identifier: Apache-2.0
 * Inside the framework: shared informers, a queue a controller, and runs: the actions of one key
 * being performed. */
#ifndef XEBEC_CONTROLLERS_FRAMEWORK_H
#define XEBEC_CONTROLLERS_FRAMEWORK_H

#include "controllers/discovery.h"
#include "controllers/rc.h"
#include "xebec/base/list.h"

struct controllers;
struct ctl { /* one controller */
	struct controllers *cs;
	const char *name;
	const struct controller *def;
	struct workqueue *queue;
	struct event_recorder *events;
	void *state;
};
struct informer_slot {
	struct controllers *cs;
	enum res res;
	struct informer *inf;
	bool synced;
};
struct controllers {
	struct cache cache; /* first */
	struct client *c;
	struct controllers_config cfg;
	struct informer_slot slots[R_COUNT];
	struct ctl *ctls;
	size_t n_ctls;
	struct discovery *discovery;
	struct gc *gc;
	int64_t started; /* CLOCK_REALTIME; 0 = the caches are still being filled */
	struct list runs;
};

/* A key of a controller whose actions are under way, or not yet seen in the caches. */
void run_start(struct ctl *c, const char *key);
void runs_check(struct controllers *cs, enum res r); /* a cache has moved on */
void runs_free(struct controllers *cs);

/* gc.c */
struct gc *gc_start(struct controllers *cs);
void gc_round(struct gc *g); /* after each round of discovery */
void gc_free(struct gc *g);
size_t gc_busy(const struct gc *g);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * What a controller sees: caches to read, a clock reading, and a list of actions to ask for.
 * reconcile(key) compares and emits actions; the framework performs them, waits until the caches
 * show their results, and retries what failed. So reconcile never waits, and tests call it with
 * tables for caches. */
#ifndef XEBEC_CONTROLLERS_RC_H
#define XEBEC_CONTROLLERS_RC_H

#include "api/api.h"
#include "controllers/controllers.h"
#include "xebec/base/timefmt.h"

enum res { /* resources with a shared cache */
	R_POD,
	R_RS,
	R_DEPLOY,
	R_SVC,
	R_EP,
	R_EPS,
	R_NODE,
	R_LEASE,
	R_NS,
	R_SA,
	R_CM,
	R_DS,
	R_STS,
	R_CR,
	R_PVC,
	R_JOB,
	R_CRON,
	R_PDB,
	R_HPA,
	R_PV,
	R_SC,
	R_RC,
	R_QUOTA,
	R_CSR,
	R_CLUSTERROLE,
	R_COUNT
};
extern const struct resource res_table[R_COUNT];

struct cache { /* informers, or a test's tables */
	struct cobj *(*get)(struct cache *c, enum res r, const char *ns, const char *name);
	bool (*next)(struct cache *c, enum res r, const char *ns, struct informer_iter *it);
};

enum action_kind { ACT_CREATE, ACT_UPDATE, ACT_PATCH, ACT_DELETE, ACT_SEND, ACT_EVENT };
struct action_event { /* reason NULL = none */
	struct event_ref about;
	bool warning;
	const char *reason, *msg;
	bool add_name; /* append the created object's name */
};
struct action {
	struct action *next;
	enum action_kind kind;
	const struct resource *resource;
	int res; /* enum res, or -1 when no cache shows the result */
	const char *ns, *name, *sub;
	enum client_patch patch;
	struct str body;
	const char *uid, *propagation; /* DELETE */
	int64_t grace;		       /* DELETE; < 0 = the object's own */
	const char *method, *path;     /* SEND */
	bool after_others;	       /* starts when all actions before it have finished */
	bool may_fail;		       /* its failure is only told to done */
	struct action_event on_ok, on_fail;
	void (*done)(void *arg, const struct client_result *r);
	void *arg;
};

struct rc { /* one call of reconcile */
	struct cache *cache;
	const struct controllers_config *cfg;
	int64_t now;	 /* CLOCK_REALTIME, ns */
	int64_t started; /* when the caches had been filled; nothing is overdue before that */
	struct arena arena;
	struct action *actions, **tail;
	size_t n_actions;
	int64_t requeue; /* ns from now; 0 = no */
	bool again;	 /* failed: try again with back-off */
	struct rc_selector *selectors;
	void **state; /* the controller's own, NULL at first */
	struct discovery *discovery;
	/* during a mapping */
	void (*add_key)(void *arg, const char *key);
	void *add_arg;
};
void rc_init(struct rc *rc, struct cache *cache, const struct controllers_config *cfg, int64_t now);
void rc_fini(struct rc *rc);

typedef void controller_map(struct rc *rc, struct cobj *old, struct cobj *new);
struct controller {
	const char *component; /* source of its events, as Kubernetes names it */
	void (*reconcile)(struct rc *rc, const char *ns, const char *name);
	struct {
		enum res res;
		controller_map *map;
	} watches[6];	   /* ends at map NULL */
	unsigned parallel; /* 0 = 8 keys at once */
	void (*fini)(void *state);
};
#define CONTROLLER(name, descriptor) extern const struct controller descriptor;
#include "controllers/controllers.def"
#undef CONTROLLER

/* mapping */
void rc_key(struct rc *rc, const char *ns, const char *name);
controller_map map_self;

/* reading */
struct cobj *rc_get(struct rc *rc, enum res r, const char *ns, const char *name);
bool rc_next(struct rc *rc, enum res r, const char *ns, struct informer_iter *it);
#define rc_each(rc, r, ns, it) for (struct informer_iter it = {0}; rc_next((rc), (r), (ns), &it);)
const char *rc_printf(struct rc *rc, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *rc_strdup(struct rc *rc, struct str s);
const char *rc_time(struct rc *rc, int64_t ns); /* RFC 3339 */
/* A LabelSelector (JSON); freed with rc. NULL when invalid. */
const struct label_selector *rc_selector(struct rc *rc, struct jv label_selector);
/* The object as a tree to edit; NULL (and rc->again) when out of memory. */
json_t *rc_tree(struct rc *rc, const struct cobj *o);

/* asking */
struct action *rc_create(struct rc *rc, enum res r, const char *ns, json_t *take);
struct action *rc_update(
	struct rc *rc, enum res r, const struct cobj *o, const char *sub, json_t *take);
struct action *rc_patch(
	struct rc *rc, enum res r, const struct cobj *o, const char *sub, json_t *take);
struct action *rc_delete(struct rc *rc, enum res r, const struct cobj *o);
struct action *rc_send(struct rc *rc, const char *method, const char *path, json_t *take);
void rc_requeue(struct rc *rc, int64_t ns); /* the soonest counts */
/* Events: now, or when the action ends. a may be NULL (out of memory: nothing happens). */
void rc_event(struct rc *rc, enum res r, const struct cobj *about, bool warning, const char *reason,
	const char *fmt, ...) __attribute__((format(printf, 6, 7)));
void on_ok(struct rc *rc, struct action *a, enum res r, const struct cobj *about,
	const char *reason, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
void on_fail(struct rc *rc, struct action *a, enum res r, const struct cobj *about,
	const char *reason, const char *fmt, ...) __attribute__((format(printf, 6, 7)));

#endif

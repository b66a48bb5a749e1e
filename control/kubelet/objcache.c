/* SPDX-License-Identifier: Apache-2.0
 * Watches on single objects: ConfigMaps, Secrets, claims, persistent volumes. */
#include "kubelet/objcache.h"
#include "xebec/base/list.h"
#include "xebec/base/timefmt.h"

#define KEEP (60 * NS_PER_SEC)

static const struct resource kinds[] = {
	[OBJ_CONFIGMAP] = {"", "v1", "configmaps", "ConfigMap", true},
	[OBJ_SECRET] = {"", "v1", "secrets", "Secret", true},
	[OBJ_CLAIM] = {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true},
	[OBJ_VOLUME] = {"", "v1", "persistentvolumes", "PersistentVolume", false},
};

struct objcache {
	struct client *client;
	void (*changed)(void *arg, enum obj_kind kind, const char *ns, const char *name);
	void *arg;
	struct list refs;
};

struct objref {
	struct objcache *c;
	struct list link;
	enum obj_kind kind;
	char *ns, *name, *selector;
	unsigned users;
	struct informer *inf;
	struct loop_timer linger;
	bool synced;
	json_t *obj;
};

static void ref_free(struct objref *r)
{
	list_del(&r->link);
	loop_timer_cancel(&r->linger);
	informer_free(r->inf);
	json_decref(r->obj);
	free(r->ns);
	free(r->name);
	free(r->selector);
	free(r);
}

static void ref_event(void *arg, struct cobj *old, struct cobj *new)
{
	struct objref *r = arg;
	json_t *j = NULL;
	(void)old;
	/* A server that ignores the selector must not confuse us. */
	if ((new &&strcmp(new->name, r->name) != 0) ||
		(!new &&old &&strcmp(old->name, r->name) != 0))
		return;
	if (new &&json_parse(new->json, &j, NULL) < 0)
		return;
	json_decref(r->obj);
	r->obj = j;
	if (r->synced)
		r->c->changed(r->c->arg, r->kind, r->ns, r->name);
}

static void ref_synced(void *arg)
{
	struct objref *r = arg;
	r->synced = true;
	r->c->changed(r->c->arg, r->kind, r->ns, r->name);
}

static void ref_expire(struct loop_timer *t)
{
	ref_free(t->arg);
}

struct objcache *objcache_new(struct client *c,
	void (*changed)(void *arg, enum obj_kind kind, const char *ns, const char *name), void *arg)
{
	struct objcache *o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	*o = (struct objcache){.client = c, .changed = changed, .arg = arg};
	list_init(&o->refs);
	return o;
}

void objcache_free(struct objcache *c)
{
	if (!c)
		return;
	list_each_safe (it, &c->refs)
		ref_free(list_entry(it, struct objref, link));
	free(c);
}

static struct objref *ref_find(
	struct objcache *c, enum obj_kind kind, const char *ns, const char *name)
{
	list_each (it, &c->refs) {
		struct objref *r = list_entry(it, struct objref, link);
		if (r->kind == kind && strcmp(r->name, name) == 0 && strcmp(r->ns, ns) == 0)
			return r;
	}
	return NULL;
}

struct objref *objcache_hold(
	struct objcache *c, enum obj_kind kind, const char *ns, const char *name)
{
	struct objref *r = ref_find(c, kind, ns, name);
	if (r) {
		r->users++;
		loop_timer_cancel(&r->linger);
		return r;
	}
	AUTO_BUF struct buf sel = {0};
	buf_addf(&sel, "metadata.name=%s", name);
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	*r = (struct objref){.c = c,
		.kind = kind,
		.ns = strdup(ns),
		.name = strdup(name),
		.selector = buf_steal(&sel),
		.users = 1,
		.linger = {.fn = ref_expire, .arg = r}};
	list_push(&c->refs, &r->link);
	struct informer_config cfg = {.client = c->client,
		.resource = &kinds[kind],
		.ns = kinds[kind].namespaced ? r->ns : NULL,
		.field_selector = r->selector,
		.on_event = ref_event,
		.on_synced = ref_synced,
		.arg = r};
	if (!r->ns || !r->name || !r->selector || informer_start(&cfg, &r->inf, NULL) < 0) {
		ref_free(r);
		return NULL;
	}
	return r;
}

void objref_drop(struct objref *r)
{
	if (r && --r->users == 0)
		(void)loop_timer_set(client_loop(r->c->client), &r->linger, KEEP);
}

bool objref_synced(const struct objref *r)
{
	return r->synced;
}

const json_t *objref_get(const struct objref *r)
{
	return r->obj;
}

enum obj_kind objref_kind(const struct objref *r)
{
	return r->kind;
}

const char *objref_name(const struct objref *r)
{
	return r->name;
}

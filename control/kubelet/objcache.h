/* SPDX-License-Identifier: Apache-2.0
 * ConfigMaps, Secrets, claims and their volumes that pods of this node use: one watch per object,
 * shared by all users, kept for a minute after the last. Loop thread only. */
#ifndef XEBEC_KUBELET_OBJCACHE_H
#define XEBEC_KUBELET_OBJCACHE_H

#include "xebec/base/json.h"
#include "xebec/client/client.h"

enum obj_kind { OBJ_CONFIGMAP, OBJ_SECRET, OBJ_CLAIM, OBJ_VOLUME };
struct objcache;
struct objref;

/* changed: the object was first looked up, or has changed or gone. */
struct objcache *objcache_new(struct client *c,
	void (*changed)(void *arg, enum obj_kind kind, const char *ns, const char *name),
	void *arg);
void objcache_free(struct objcache *c);
/* ns "" for what has none */
struct objref *objcache_hold(
	struct objcache *c, enum obj_kind kind, const char *ns, const char *name);
void objref_drop(struct objref *r);		  /* NULL is fine */
bool objref_synced(const struct objref *r);	  /* known to exist or not */
const json_t *objref_get(const struct objref *r); /* borrowed; NULL = does not exist */
enum obj_kind objref_kind(const struct objref *r);
const char *objref_name(const struct objref *r);

#endif

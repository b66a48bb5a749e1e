/* SPDX-License-Identifier: Apache-2.0
 * Volumes of one pod on the node's file system, and the objects its environment needs. */
#ifndef XEBEC_KUBELET_VOLUMES_H
#define XEBEC_KUBELET_VOLUMES_H

#include "kubelet/env.h"
#include "kubelet/objcache.h"
#include "kubelet/pod.h"

/* Begins preparing; sets pod->volumes_ready and syncs the pod when everything is there, and again
 * whenever content changes. Failures go to pod->vol_error and an event, and are tried again. */
int volumes_start(struct pod *p, struct err *e);
/* The pod object or an object that its volumes need changed. */
void volumes_update(struct pod *p);
bool volumes_use(const struct pod *p, enum obj_kind kind, const char *ns, const char *name);
void volumes_free(struct volumes *v); /* stops updating; files stay */
/* Unmounts and removes a pod's directory. Blocking: for the pool. */
void volumes_teardown(const char *pod_dir);
void pod_dir(const struct kubelet *k, const char *uid, struct buf *out);
/* Directory of a volume by name, NULL when unknown. *ret_ro: the source is read-only by nature. */
const char *volume_path(const struct pod *p, const char *name, bool *ret_ro);

/* Filled so that ConfigMaps and Secrets come from the pod's own references. */
void env_ctx_of(const struct pod *p, struct env_ctx *c);

/* mounts.c: the container's mounts: volumes, /etc/hosts, termination message. envs for subPathExpr.
 */
int mounts_build(struct pod *p, const struct slot *s, unsigned attempt, const json_t *envs,
	json_t **ret, struct err *e);
void term_path(const struct pod *p, const char *container, unsigned attempt, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Inside the Deployment controller. */
#ifndef XEBEC_CONTROLLERS_DEPLOYMENT_H
#define XEBEC_CONTROLLERS_DEPLOYMENT_H

#include "controllers/object.h"

#define ANN_REVISION "deployment.kubernetes.io/revision"
#define ANN_HISTORY  "deployment.kubernetes.io/revision-history"
#define ANN_DESIRED  "deployment.kubernetes.io/desired-replicas"
#define ANN_MAX	     "deployment.kubernetes.io/max-replicas"
#define HASH_LABEL   "pod-template-hash"

struct rs { /* one ReplicaSet of the Deployment */
	struct cobj *obj;
	int64_t replicas;		       /* spec */
	int64_t st_replicas, ready, available; /* status */
	int64_t terminating, created, revision;
	int64_t desired, max; /* annotations; -1 = none */
	int64_t scale_to;     /* < 0 = leave */
};
struct deploy {
	struct rc *rc;
	struct cobj *obj;
	struct jv spec, status;
	int64_t replicas, surge, unavailable; /* resolved; unavailable 0 with Recreate */
	bool recreate, paused;
	struct rs *all; /* oldest first */
	size_t n;
	struct rs *new; /* in all, or NULL */
	/* what this pass decided about the conditions; reason NULL = nothing */
	const char *progress_reason, *progress_message;
	bool collided;
};

/* "25%" or a number. */
int64_t int_or_percent(struct jv v, int64_t total, bool up, const char *dflt);
/* Both rounded as Kubernetes does: surge up, unavailable down, never both 0. */
void resolve_fenceposts(
	struct jv rolling, int64_t replicas, int64_t *ret_surge, int64_t *ret_unavailable);
int64_t sum_replicas(const struct deploy *d); /* of all specs */

/* deployment_scale.c: set rs->scale_to where sizes should change. */
int64_t new_rs_size(const struct deploy *d);
void scale_proportionally(struct deploy *d);
void scale_rolling(struct deploy *d);
bool scale_recreate(struct deploy *d); /* true: no old pod is left, the new one may be made */
bool is_scaling_event(const struct deploy *d);
void emit_scales(struct deploy *d);
/* deployment_status.c */
void write_deployment_status(struct deploy *d);
bool deployment_complete(const struct deploy *d);

#endif

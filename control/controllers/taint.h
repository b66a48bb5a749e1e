/* SPDX-License-Identifier: Apache-2.0
 * Taints of a node as a list to edit, and when a pod must go because of them. */
#ifndef XEBEC_CONTROLLERS_TAINT_H
#define XEBEC_CONTROLLERS_TAINT_H

#include "controllers/object.h"

#define TAINT_NOT_READY	  "node.kubernetes.io/not-ready"
#define TAINT_UNREACHABLE "node.kubernetes.io/unreachable"

struct taint_list {
	json_t *taints;
	bool changed;
};
void taints_load(struct taint_list *l, const struct cobj *node);
/* Adds or removes the taint; time_added NULL = none. */
void taints_want(struct taint_list *l, const char *key, const char *effect, bool want,
	const char *time_added);
/* Gives every NoExecute taint without timeAdded (kubectl sets none) one: from then on
 * tolerationSeconds count. */
void taints_stamp(struct taint_list *l, const char *now);
bool taints_evict(struct jv taints); /* is any NoExecute among them? */
bool taint_tolerated_by(struct jv toleration, struct jv taint);
/* When the pod has to go: 0 = now, INT64_MAX = never. */
int64_t taints_evict_at(struct jv taints, struct jv tolerations);

#endif

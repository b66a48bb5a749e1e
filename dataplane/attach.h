/* SPDX-License-Identifier: Apache-2.0
 * Programs on interfaces of the current network namespace: tcx links (pinned under
 * <pin_dir>/links/<hook>:<name>, so they outlive us and are swapped in place), else clsact. */
#ifndef XEBEC_DATAPLANE_ATTACH_H
#define XEBEC_DATAPLANE_ATTACH_H

#include "maps.h"
#include "podlink.h"

/* Puts the hook's program on ifindex (HOOK_POD, HOOK_NIC_IN, HOOK_VX: ingress; the others: egress).
 * name is the interface's name, unique on the node. Attaching again, also by another process, swaps
 * the program without a gap. */
int attach_hook(struct maps *m, int ifindex, const char *name, enum xb_hook hook, struct err *e);
/* The link of a vanished or released interface; absent is fine. */
void attach_release(struct maps *m, const char *name, enum xb_hook hook);
/* Swaps the programs of all pinned links to those of m (agent restart or upgrade). Links whose
 * interface is gone are removed. Returns how many were swapped, or negative errno. */
int attach_update_all(struct maps *m, struct err *e);

/* Both hooks of a pod's veth. */
int attach_pod(struct maps *m, int ifindex, const char *name, struct err *e);
void attach_pod_release(struct maps *m, const char *name);

/* The same with the rows of the pod's addresses in ep4, ep6. */
int attach_podlink(struct maps *m, const struct podlink *l, struct err *e);
void attach_podlink_release(struct maps *m, const struct podlink *l);

#endif

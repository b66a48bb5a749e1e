/* SPDX-License-Identifier: Apache-2.0
 * Pod cgroups: cgroup v1 hierarchies (also hybrid) or v2, whichever the machine has. Best effort:
 * a missing controller is not an error. */
#ifndef XEBEC_KUBELET_CGROUP_H
#define XEBEC_KUBELET_CGROUP_H

#include "kubelet/spec.h"

/* path: "/kubepods/burstable/podUID". Makes it and its parents and writes the limits. */
void cgroup_make(const char *path, const struct pod_limits *lim);
void cgroup_remove(const char *path); /* with what the runtime left below it */
/* Calls fn with the name of every pod cgroup ("podUID") under root's kubepods. */
void cgroup_pods(const char *cgroup_root, void (*fn)(void *arg, const char *path, const char *uid),
	void *arg);

#endif

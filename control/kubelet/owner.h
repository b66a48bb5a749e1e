/* SPDX-License-Identifier: Apache-2.0
 * Gives a volume's files to the pod's fsGroup. */
#ifndef XEBEC_KUBELET_OWNER_H
#define XEBEC_KUBELET_OWNER_H

#include <stdbool.h>
#include <sys/types.h>

/* Everything below root, and root itself last, belongs to the group, which may read and write it;
 * new files inherit it. Symlinks are never followed and other file systems not entered. With always
 * false, nothing is done when root is already so. */
int owner_set_group(const char *root, gid_t gid, bool always);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Removal of pods that the API does not know (any more). */
#ifndef XEBEC_KUBELET_CLEANUP_H
#define XEBEC_KUBELET_CLEANUP_H

#include "kubelet/pod.h"

/* Stops and removes the sandboxes (ids) of an unknown pod, then its files. Once at a time per uid.
 */
void orphan_cleanup(struct kubelet *k, const char *uid, const json_t *sandboxes);
/* Pod directories on disk that neither the API nor the runtime (uid -> ids) knows. */
void orphan_files(struct kubelet *k, const json_t *sandboxes_by_uid);

#endif

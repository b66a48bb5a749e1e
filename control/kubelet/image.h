/* SPDX-License-Identifier: Apache-2.0
 * Makes sure that a container's image is on the node, by its pull policy, with events. */
#ifndef XEBEC_KUBELET_IMAGE_H
#define XEBEC_KUBELET_IMAGE_H

#include "kubelet/pod.h"

struct image_op;
struct image_result {
	const char
		*reason; /* NULL = the image is there; else ErrImagePull, ErrImageNeverPull ... */
	const char *message;
	const json_t *image; /* ImageStatus' image */
};
/* done runs once, never inside the call. NULL = out of memory. */
struct image_op *image_ensure(struct pod *p, const struct slot *s,
	void (*done)(void *arg, const struct image_result *r), void *arg);
void image_cancel(struct image_op *o); /* no callback follows; NULL is fine */
/* "Always", "IfNotPresent" or "Never": given, or by the tag. */
const char *image_policy(const json_t *container);
/* Registry credentials for an image from dockerconfigjson text: an AuthConfig or NULL. */
json_t *image_auth(const char *image, const json_t *docker_config);

#endif

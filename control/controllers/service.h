/* SPDX-License-Identifier: Apache-2.0
 * From a Service and the pods it selects to addresses with ports: what EndpointSlice and Endpoints
 * have in common. */
#ifndef XEBEC_CONTROLLERS_SERVICE_H
#define XEBEC_CONTROLLERS_SERVICE_H

#include "controllers/object.h"

struct target { /* one pod behind a Service */
	struct cobj *obj;
	const struct pod *pod;
	const char *ip;
	const char *ports; /* JSON array of EndpointPort, in the order of the Service's ports */
};
struct service {
	struct rc *rc;
	struct cobj *obj;
	struct jv spec;
	bool publish_not_ready, headless;
	struct target *targets; /* by address */
	size_t n;
};
/* False: the Service is not there, is not ours to fill (no selector), or an ExternalName. */
bool service_load(struct rc *rc, const char *ns, const char *name, struct service *ret);
/* Fills targets: pods that run or will, with an address of that family. */
void service_targets(struct service *s, bool ipv6, bool with_terminating);
/* The Service's labels, plus the headless mark. */
json_t *service_labels(const struct service *s);
json_t *target_ref(const struct target *t);
/* "" unless the pod has a name of its own below the Service's. */
const char *target_hostname(const struct service *s, const struct target *t);
/* A pod wakes every Service that selects it, or did. */
void map_pod_to_services(struct rc *rc, struct cobj *old, struct cobj *new);

#endif

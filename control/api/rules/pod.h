/* SPDX-License-Identifier: Apache-2.0
 * Shared by the pod rules and by every kind that holds a pod template. */
#ifndef XEBEC_API_RULES_POD_H
#define XEBEC_API_RULES_POD_H

#include "api/rules.h"

extern const struct cell_rule pod_cells[];
/* One PodSpec, also inside a template. */
void v_pod_spec(struct causes *c, const struct fpath *p, const json_t *spec);
/* metadata (labels, annotations) and spec of a PodTemplateSpec. */
void v_pod_template(struct causes *c, const struct fpath *p, const json_t *tmpl);
void v_pod_update(struct causes *c, const json_t *obj, const json_t *old);
void v_ephemeral_update(struct causes *c, const json_t *obj, const json_t *old);

/* Parts of a PodSpec. */
void v_pod_confine(struct causes *c, const struct fpath *p, const json_t *spec);
struct pod_scope {
	struct causes *c;
	const json_t *spec;
	json_t *volumes; /* by name */
	bool host_network;
};
enum container_role { CONTAINER_MAIN, CONTAINER_INIT, CONTAINER_EPHEMERAL };
void v_containers(struct causes *c, const json_t *spec, const struct fpath *spec_path);
void v_resources(struct causes *c, const struct fpath *p, const json_t *res);
void v_volumes(struct causes *c, const struct fpath *p, const json_t *volumes);
void v_probe(struct causes *c, const struct fpath *p, const json_t *probe, const char *which);
void v_handler(struct causes *c, const struct fpath *p, const json_t *h, bool with_sleep);
void v_affinity(struct causes *c, const struct fpath *p, const json_t *affinity);
void v_tolerations(struct causes *c, const struct fpath *p, const json_t *list);
void v_spread(struct causes *c, const struct fpath *p, const json_t *list);
void v_node_selector(struct causes *c, const struct fpath *p, const json_t *selector);
void v_env(struct causes *c, const struct fpath *p, const json_t *env);
void v_env_from(struct causes *c, const struct fpath *p, const json_t *list);
void v_field_ref(struct causes *c, const struct fpath *p, const json_t *ref);
void v_mode(struct causes *c, const struct fpath *p, const json_t *mode);

#endif

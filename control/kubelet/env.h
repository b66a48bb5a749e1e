/* SPDX-License-Identifier: Apache-2.0
 * Environment variables of a container and the downward API. Pure: objects come through lookups. */
#ifndef XEBEC_KUBELET_ENV_H
#define XEBEC_KUBELET_ENV_H

#include "xebec/base/err.h"
#include "xebec/base/json.h"

struct env_ctx {
	const json_t *pod; /* whole object */
	const char *pod_ip, *host_ip, *node_name;
	const char *pod_ips, *host_ips;	     /* with commas between */
	int64_t node_cpu_milli, node_memory; /* what a container without a limit may use */
	/* Borrowed object or NULL when it does not exist. */
	const json_t *(*configmap)(void *arg, const char *name);
	const json_t *(*secret)(void *arg, const char *name);
	void *arg;
	const json_t *services; /* array of Services that get variables, or NULL */
};

/* [{"key":K,"value":V}] in order of definition. -ENOENT: a needed object or key is missing. */
int env_build(const struct env_ctx *c, const json_t *container, json_t **ret, struct err *e);
/* Replaces $(NAME) by vars[NAME]; $$ is a literal $; unknown names stay. vars: {name: value}. */
void env_expand(const char *in, const json_t *vars, struct buf *out);
/* Value of a fieldRef path; -EINVAL when unsupported. */
int field_ref(const struct env_ctx *c, const char *path, struct buf *out, struct err *e);
/* resourceFieldRef {containerName?, resource, divisor?} relative to `container`. */
int resource_ref(const struct env_ctx *c, const json_t *container, const json_t *ref,
	struct buf *out, struct err *e);
/* Quantity in thousandths; dflt when absent or malformed. */
int64_t quantity_milli(const json_t *q, int64_t dflt);

#endif

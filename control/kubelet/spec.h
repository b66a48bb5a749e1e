/* SPDX-License-Identifier: Apache-2.0
 * From a pod's specification to the runtime's configuration messages. Pure. */
#ifndef XEBEC_KUBELET_SPEC_H
#define XEBEC_KUBELET_SPEC_H

#include "kubelet/decide.h"
#include "xebec/base/err.h"
#include "xebec/base/json.h"

struct spec_ctx { /* what of the node the configurations need */
	const char *logs, *cgroup_root, *cluster_dns, *domain,
		*resolv_conf; /* text of the node's */
	uint64_t mem_capacity;
};

const char *qos_class(const json_t *spec); /* "Guaranteed" "Burstable" "BestEffort" */
void spec_cgroup(const struct spec_ctx *c, const json_t *pod, struct buf *out);
void spec_log_dir(const struct spec_ctx *c, const json_t *pod, struct buf *out);
json_t *spec_sandbox(const struct spec_ctx *c, const json_t *pod, unsigned attempt);
json_t *spec_resources(const struct spec_ctx *c, const json_t *spec, const json_t *container);

struct container_args {
	const json_t *pod, *container;
	unsigned attempt;
	const char *image;     /* id of the image to run */
	json_t *envs;	       /* [{key,value}], borrowed */
	json_t *mounts;	       /* array of Mount, borrowed */
	const char *target_id; /* ephemeral: process namespace to join, or NULL */
};
json_t *spec_container(const struct spec_ctx *c, const struct container_args *a);
/* Changes when an instance must be replaced. */
void spec_hash(const json_t *container, char out[static 20]);
/* -EPERM when runAsNonRoot forbids the user that the image or the specification names. */
int spec_check_nonroot(
	const json_t *pod, const json_t *container, const json_t *image, struct err *e);
/* The container's value of a security context member, else the pod's. */
const json_t *spec_security(const json_t *pod, const json_t *container, const char *member);
enum restart_policy spec_restart_policy(const json_t *pod);
int64_t spec_grace(const json_t *pod); /* seconds allowed for termination */
bool spec_host_network(const json_t *pod);
void spec_hostname(const json_t *pod, struct buf *out);
/* Pod-level limits for the pod's cgroup: 0 = none. */
struct pod_limits {
	int64_t cpu_shares, cpu_quota, memory;
};
void spec_pod_limits(const json_t *spec, struct pod_limits *out);
/* The pod's /etc/hosts. */
void spec_hosts_file(const struct spec_ctx *c, const json_t *pod, const char *ips, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * One check of a container, as probes and lifecycle hooks use it: exec, httpGet, tcpSocket, grpc,
 * sleep. Network checks go out from this process's own network namespace. */
#ifndef XEBEC_KUBELET_CHECK_H
#define XEBEC_KUBELET_CHECK_H

#include "kubelet/pod.h"

struct check;
struct check_target {
	struct pod *pod;
	const json_t *container; /* for named ports */
	const char *container_id;
};
typedef void check_done(void *arg, bool ok, const char *output);
/* handler: a Probe or LifecycleHandler. done runs once, never inside the call; NULL = could not
 * start. */
struct check *check_start(const struct check_target *t, const json_t *handler, int64_t timeout_ns,
	check_done *done, void *arg);
void check_cancel(struct check *c); /* no callback follows; NULL is fine */
/* Number of a port given as number or name; 0 = unknown. */
int check_port(const json_t *container, const json_t *port);

/* --- probes --- */
struct probe_spec {
	int64_t initial_ns, period_ns, timeout_ns;
	unsigned success, failure;
};
struct probe_state {
	unsigned ok, bad; /* in a row */
	bool passing, decided;
};
void probe_spec_of(const json_t *probe, struct probe_spec *out);
/* Takes one result in; true when `passing` changed or was decided for the first time. */
bool probe_step(struct probe_state *st, const struct probe_spec *sp, bool ok);
/* Starts, restarts and stops the probers of a pod to fit what runs. */
void probes_update(struct pod *p);
void probes_stop(struct slot *s);

#endif

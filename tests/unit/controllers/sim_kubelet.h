/* SPDX-License-Identifier: Apache-2.0
 * The kubelet of a simulated cluster: it only says that pods run, or have ended. */
#ifndef XEBEC_TEST_SIM_KUBELET_H
#define XEBEC_TEST_SIM_KUBELET_H

#include "xebec/base/timefmt.h"
#include "xebec/client/client.h"

struct sim_host { /* the part of a sim that the kubelet uses */
	struct client *admin;
	unsigned next_ip;
	bool never_ready;
};

static inline void ignore_done(void *arg, const struct client_result *r)
{
	(void)arg;
	(void)r;
}

static const struct resource sim_pods = {"", "v1", "pods", "Pod", true};

static inline void sim_bind(struct sim_host *s, const struct cobj *pod)
{
	char text[400];
	AUTO_BUF struct buf path = {0};

	(void)snprintf(text, sizeof(text),
		"{\"apiVersion\":\"v1\",\"kind\":\"Binding\",\"metadata\":{\"name\":\"%s\"},"
		"\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}",
		pod->name);
	resource_path(&sim_pods, pod->ns, pod->name, "binding", &path);
	struct client_request rq = {.method = "POST", .path = buf_str(&path), .body = str_of(text)};
	(void)client_send(s->admin, &rq, ignore_done, NULL);
}

static inline void sim_status(struct sim_host *s, const struct cobj *pod, const char *text)
{
	(void)client_patch(s->admin, &sim_pods, pod->ns, pod->name, "status", CLIENT_PATCH_MERGE,
		str_of(text), ignore_done, NULL);
}

static inline void sim_run(struct sim_host *s, const struct cobj *pod)
{
	char text[600], now[21];
	unsigned ip = ++s->next_ip;

	time_rfc3339(time_now(), now);
	(void)snprintf(text, sizeof(text),
		"{\"status\":{\"phase\":\"Running\",\"podIP\":\"10.244.%u.%u\",\"podIPs\":[{\"ip\":"
		"\"10.244.%u.%u\"}],\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
		"\"lastTransitionTime\":\"%s\"}]}}",
		ip / 250, 1 + ip % 250, ip / 250, 1 + ip % 250, now);
	sim_status(s, pod, text);
}

/* The pod ends with that exit code, some time ago: whoever backs off from it is not kept waiting.
 */
static inline void sim_end(struct sim_host *s, const struct cobj *pod, int code)
{
	char text[400];

	(void)snprintf(text, sizeof(text),
		"{\"status\":{\"phase\":\"%s\",\"conditions\":[],\"containerStatuses\":[{\"name\":"
		"\"c\",\"image\":\"i\",\"imageID\":\"\",\"ready\":false,\"restartCount\":0,"
		"\"state\":"
		"{\"terminated\":{\"exitCode\":%d}}}]}}",
		code ? "Failed" : "Succeeded", code);
	sim_status(s, pod, text);
}

/* The kubelet: a pod on a node runs at once; one being deleted goes at once. Annotations make it
 * end: sim-exit = with that code; sim-fail-index = with 1 when it has this completion index, else
 * with 0. */
static inline void sim_kubelet(void *arg, struct cobj *old, struct cobj *new)
{
	struct sim_host *s = arg;

	(void)old;
	if (!new)
		return;
	struct jv ann = jv_path(new->v, "metadata.annotations"),
		  phase = jv_path(new->v, "status.phase");
	struct jv exit_code = jv_get(ann, "sim-exit"), bad = jv_get(ann, "sim-fail-index");
	bool done = jv_is_str(phase, "Succeeded") || jv_is_str(phase, "Failed");
	if (jv_present(jv_path(new->v, "metadata.deletionTimestamp"))) {
		if (!done && jv_present(jv_path(new->v, "metadata.finalizers")))
			sim_end(s, new, 137);
		(void)client_delete(s->admin, &sim_pods, new->ns, new->name, 0, new->uid, NULL,
			ignore_done, NULL);
	} else if (!jv_present(jv_path(new->v, "spec.nodeName"))) {
		sim_bind(s, new);
	} else if (done) {
		return;
	} else if (jv_present(exit_code)) {
		sim_end(s, new, (int)jv_int(exit_code, 0));
	} else if (jv_present(bad)) {
		struct jv index = jv_get(ann, "batch.kubernetes.io/job-completion-index");
		sim_end(s, new, str_eq(jv_raw_str(bad), jv_raw_str(index)));
	} else if (!s->never_ready && !jv_is_str(phase, "Running")) {
		sim_run(s, new);
	}
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The runtime's own time for a pod: cri_floor ENDPOINT COUNT prints RunPodSandbox + CreateContainer
 * + StartContainer in milliseconds, one line a pod, and removes what it made. */
#include <stdio.h>
#include <string.h>
#include "kubelet/cri.h"
#include "xebec/base/timefmt.h"

struct wait {
	bool done;
	int status;
	json_t *resp;
	char msg[240];
};

static void on_done(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct wait *w = arg;
	w->done = true;
	w->status = status;
	w->resp = resp ? json_deep_copy(resp) : NULL;
	(void)snprintf(w->msg, sizeof(w->msg), "%s", e ? e->msg : "");
}

/* One call, waited for. */
static struct wait call(struct cri *c, enum cri_method m, json_t *req)
{
	struct wait w = {0};
	if (!cri_send(c, m, req, on_done, &w))
		exit(1);
	while (!w.done)
		if (loop_poll(c->loop, -1) < 0)
			exit(1);
	return w;
}

/* Exits on failure. The answer belongs to the caller. */
static json_t *must(struct cri *c, enum cri_method m, json_t *req)
{
	struct wait w = call(c, m, req);
	if (!w.resp) {
		fprintf(stderr, "cri_floor: %s: %s (%d)\n", cri_method_name(m), w.msg, w.status);
		exit(1);
	}
	return w.resp;
}

/* Without a uid: a kubelet on the same runtime removes sandboxes of pods that it does not know. */
static json_t *sandbox_config(int i)
{
	char name[64];
	(void)snprintf(name, sizeof(name), "floor-%d-%d", (int)getpid(), i);
	return json_pack("{s:{s:s,s:s,s:s,s:i},s:s,s:s,s:{}}", "metadata", "name", name, "uid",
		name, "namespace", "default", "attempt", 0, "hostname", name, "log_directory",
		"/tmp", "linux");
}

static void one(struct cri *c, int i)
{
	AUTO_JSON json_t *sandbox = sandbox_config(i);
	int64_t t0 = time_mono();
	AUTO_JSON json_t *run = must(c, CRI_RunPodSandbox, json_pack("{s:O}", "config", sandbox));
	const char *id = json_str(run, "pod_sandbox_id", "");
	AUTO_JSON json_t *create = must(c, CRI_CreateContainer,
		json_pack("{s:s,s:{s:{s:s,s:i},s:{s:s},s:s,s:{}},s:O}", "pod_sandbox_id", id,
			"config", "metadata", "name", "c", "attempt", 0, "image", "image",
			"docker.io/xebec/test:1", "log_path", "floor.log", "linux",
			"sandbox_config", sandbox));
	json_decref(must(c, CRI_StartContainer,
		json_pack("{s:s}", "container_id", json_str(create, "container_id", ""))));
	printf("%.3f\n", (double)(time_mono() - t0) / 1e6);
	/* Cleaning up is not measured, and a kubelet on the same runtime may be about it too. */
	json_decref(call(c, CRI_StopPodSandbox, json_pack("{s:s}", "pod_sandbox_id", id)).resp);
	json_decref(call(c, CRI_RemovePodSandbox, json_pack("{s:s}", "pod_sandbox_id", id)).resp);
}

int main(int argc, char **argv)
{
	struct err e = {0};
	struct cri *c = NULL;
	struct loop *l = loop_new();
	if (argc < 3 || !l || cri_open(l, argv[1], &c, &e) < 0) {
		fprintf(stderr, "usage: cri_floor unix:///SOCKET COUNT %s\n", e.msg);
		return 2;
	}
	for (int i = 0; i < atoi(argv[2]); i++)
		one(c, i);
	c->ops->free(c);
	loop_free(l);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * CRI v1 calls as JSON trees, behind a vtable: gRPC (cri.c) and an in-memory runtime for tests
 * (cri_fake.c). Field names are those of the CRI protocol; enums are numbers. Loop thread only. */
#ifndef XEBEC_KUBELET_CRI_H
#define XEBEC_KUBELET_CRI_H

#include "xebec/base/err.h"
#include "xebec/base/json.h"
#include "xebec/base/loop.h"

enum cri_method {
#define CRI_METHOD(id, ...) CRI_##id,
#include "kubelet/cri.def"
#undef CRI_METHOD
	CRI_N_METHODS
};

/* Numbers of the protocol's enums. */
enum { CRI_CREATED, CRI_RUNNING, CRI_EXITED, CRI_UNKNOWN };
enum { CRI_SANDBOX_READY, CRI_SANDBOX_NOTREADY };
enum { CRI_NS_POD, CRI_NS_CONTAINER, CRI_NS_NODE, CRI_NS_TARGET };
enum { CRI_SECCOMP_RUNTIME_DEFAULT, CRI_SECCOMP_UNCONFINED, CRI_SECCOMP_LOCALHOST };
enum {
	CRI_OK = 0,
	CRI_DEADLINE = 4,
	CRI_NOT_FOUND = 5,
	CRI_UNIMPLEMENTED = 12,
	CRI_UNAVAILABLE = 14
};

/* e NULL: resp is the answer, borrowed. Else resp is NULL and status the gRPC code. */
typedef void cri_done(void *arg, const struct err *e, int status, const json_t *resp);
/* A container's state may have changed; NULL = anything may have (stream restarted). */
typedef void cri_event(void *arg, const char *container_id);

struct cri;
struct cri_call;
struct cri_ops {
	/* Takes over req. timeout_ns 0 = the method's own, < 0 = none. done runs exactly once,
	 * never inside the call. NULL when out of memory (req is released). */
	struct cri_call *(*call)(struct cri *c, enum cri_method m, json_t *req, int64_t timeout_ns,
		cri_done *done, void *arg);
	void (*cancel)(struct cri_call *call); /* no callback follows */
	/* Starts the event stream and keeps it alive. */
	int (*watch)(struct cri *c, cri_event *on_event, void *arg);
	void (*free)(struct cri *c);
};
struct cri {
	const struct cri_ops *ops;
	struct loop *loop;
};

/* endpoint: "unix:///run/x.sock". The connection is made on demand and remade when it dies. */
int cri_open(struct loop *l, const char *endpoint, struct cri **ret, struct err *e);
const char *cri_method_name(enum cri_method m); /* "RunPodSandbox" */

static inline struct cri_call *cri_send(
	struct cri *c, enum cri_method m, json_t *req, cri_done *done, void *arg)
{
	return c->ops->call(c, m, req, 0, done, arg);
}

#endif

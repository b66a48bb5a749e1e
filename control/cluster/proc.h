/* SPDX-License-Identifier: Apache-2.0
 * A supervised process: started in its namespaces and cgroup, its output in a log file, started
 * again with back-off when it ends. */
#ifndef XEBEC_CLUSTER_PROC_H
#define XEBEC_CLUSTER_PROC_H

#include "xebec/base/err.h"
#include "xebec/base/loop.h"

enum { PROC_MAX_ARGS = 40 };
struct proc {
	/* set by the owner before proc_start */
	char name[64];
	char *argv[PROC_MAX_ARGS]; /* NULL-terminated, malloc'ed */
	int net_fd, mnt_fd;	   /* -1 = the supervisor's own */
	int pass_fd;		   /* given as descriptor 3; -1 = none */
	char log_path[256];
	char cgroup_procs[256];
	bool once; /* not started again */
	void (*on_exit)(struct proc *p, int wait_status);
	void *arg;
	/* private */
	struct loop *loop;
	struct loop_child child;
	struct loop_timer restart;
	int64_t started_ns, backoff_ns;
	int pid;
	bool stopping;
	unsigned restarts;
};

void proc_arg(struct proc *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int proc_start(struct loop *l, struct proc *p, struct err *e);
void proc_stop(struct proc *p); /* SIGTERM, no restart; on_exit follows when it was running */
void proc_free(struct proc *p); /* frees argv; does not kill */

#endif

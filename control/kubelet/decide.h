/* SPDX-License-Identifier: Apache-2.0
 * What a pod needs next: a pure function over its specification, what the runtime reports, probe
 * results and the clock. No calls, no time of its own; unit tests are tables over it. */
#ifndef XEBEC_KUBELET_DECIDE_H
#define XEBEC_KUBELET_DECIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_SLOTS = 64 };
enum slot_kind { SLOT_INIT, SLOT_SIDECAR, SLOT_MAIN, SLOT_EPHEMERAL };
enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };
enum inst_state { INST_NONE, INST_CREATED, INST_RUNNING, INST_EXITED, INST_UNKNOWN };

struct slot_view { /* one container of the specification and its newest instance */
	enum slot_kind kind;
	enum restart_policy policy;
	enum inst_state state;
	bool in_sandbox; /* the instance belongs to the newest sandbox */
	int exit_code;
	int64_t started_at, finished_at; /* wall clock ns */
	bool busy;			 /* an operation on it is under way */
	bool changed;	    /* specification differs from what the instance was made of */
	bool unhealthy;	    /* liveness or startup probe gave up on the running instance */
	bool started;	    /* running and its startup probe, if any, has passed */
	int64_t backoff_ns; /* delay of the next restart, 0 = at once */
	int64_t retry_at;   /* not before: image pull or creation failed; 0 = any time */
	bool ran;	    /* has ever run, by the API's status, though the runtime forgot it */
};

struct pod_view {
	enum restart_policy policy;
	bool terminating; /* deleted, evicted, past its deadline, or unknown to the API */
	bool volumes_ready;
	bool sandbox_exists, sandbox_ready, sandbox_busy;
	int64_t sandbox_retry_at;
	int64_t now; /* wall clock ns */
	size_t n;
	struct slot_view s[MAX_SLOTS];
};

enum action_kind { ACT_MAKE_SANDBOX, ACT_STOP_SANDBOX, ACT_START, ACT_KILL, ACT_REMOVE };
enum kill_reason { KILL_NONE, KILL_POD, KILL_UNHEALTHY, KILL_CHANGED };
struct action {
	enum action_kind kind;
	size_t slot;
	enum kill_reason why;
};
struct decision {
	struct action a[MAX_SLOTS + 2];
	size_t n;
	int64_t wake_at;	    /* wall clock ns; look again then; 0 = no need */
	bool init_done;		    /* condition Initialized */
	bool finished;		    /* no container will ever run again of itself */
	bool failed;		    /* with finished: phase Failed, else Succeeded */
	bool stopped;		    /* nothing runs and the sandbox is down */
	bool crash_loop[MAX_SLOTS]; /* waiting for its back-off */
	bool blocked[MAX_SLOTS];    /* waiting for init containers */
};

void decide(const struct pod_view *p, struct decision *d);

/* The delay after one more exit: 0 -> 10 s -> 20 s ... 5 min; an instance that lived 10 minutes
 * starts anew. */
int64_t backoff_next(int64_t now_delay, int64_t lived_ns);

#endif

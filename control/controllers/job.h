/* SPDX-License-Identifier: Apache-2.0
 * Inside the Job controller. A pod that ended is counted once: its uid goes to
 * status.uncountedTerminatedPods, then its finalizer is taken away, then it is added to the
 * counters (batch/v1, KEP-2307). */
#ifndef XEBEC_CONTROLLERS_JOB_H
#define XEBEC_CONTROLLERS_JOB_H

#include "controllers/indexes.h"
#include "controllers/workload.h"

#define JOB_FINALIZER  "batch.kubernetes.io/job-tracking"
#define JOB_INDEX      "batch.kubernetes.io/job-completion-index"
#define JOB_FAILURES   "batch.kubernetes.io/job-index-failure-count"
#define JOB_IGNORED    "batch.kubernetes.io/job-index-ignored-failure-count"
#define JOB_CONTROLLER "kubernetes.io/job-controller"

enum job_action { JOB_COUNT, JOB_IGNORE, JOB_FAIL_JOB, JOB_FAIL_INDEX };
struct job_pod {
	struct cobj *o;
	int64_t index; /* -1 = none, or none of this Job's */
	bool held;     /* has the finalizer */
	bool active, terminating, succeeded, failed;
	bool listed;		/* in uncountedTerminatedPods */
	bool wait;		/* counted when its index has a new pod */
	enum job_action action; /* of a failed one */
};
struct verdict { /* how the Job ends; type NULL = it goes on */
	const char *type, *reason, *message;
};
struct job {
	struct rc *rc;
	struct cobj *obj;
	struct jv spec, status;
	bool indexed, suspended, only_failed; /* only_failed: terminating pods keep their place */
	int64_t completions, per_index_limit; /* -1 = not set */
	int64_t parallelism, backoff_limit;
	struct job_pod *pods;
	size_t n;
	int64_t active, ready, terminating;
	int64_t succeeded, failed;		   /* all known */
	int64_t counted_succeeded, counted_failed; /* what the status may say now */
	struct indexes done, lost;		   /* succeeded and failed indexes */
	json_t *unc_succeeded, *unc_failed;	   /* uids */
	struct verdict verdict;
	const char *fail_message; /* of a FailJob rule */
};

/* The condition that says how the Job has ended; absent view while it has not. */
struct jv job_finished(const struct cobj *job);

/* job_policy.c */
enum job_action job_failure_action(struct job *j, const struct cobj *pod, const char **ret_message);
void job_judge(struct job *j); /* sets verdict */
/* job_pods.c */
void job_manage(struct job *j);
void job_release(struct rc *rc, const struct cobj *pod); /* takes the finalizer away */
void job_drop_active(struct job *j);			 /* deletes them; they count */
int64_t job_index_failures(const struct job *j, int64_t index, int64_t *ret_ignored);
int64_t job_finish_time(const struct cobj *pod);
/* job_status.c */
void job_write_status(struct job *j);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Deletes Jobs some time after they have ended (spec.ttlSecondsAfterFinished). */
#include "controllers/job.h"

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	const struct cobj *job = rc_get(rc, R_JOB, ns, name);
	struct jv ttl = job ? jv_path(job->v, "spec.ttlSecondsAfterFinished") : (struct jv){0};
	struct jv end = job ? job_finished(job) : (struct jv){0};

	if (jv_type(ttl) != JV_NUMBER || !jv_present(end) || deleting(job))
		return;
	int64_t left =
		time_of(jv_get(end, "lastTransitionTime")) + jv_int(ttl, 0) * NS_PER_SEC - rc->now;
	if (left > 0) {
		rc_requeue(rc, left);
		return;
	}
	struct action *a = rc_delete(rc, R_JOB, job);
	if (a)
		a->propagation = "Foreground";
}

const struct controller controller_ttl_after_finished = {
	.component = "ttl-after-finished-controller",
	.reconcile = reconcile,
	.watches = {{R_JOB, map_self}},
};

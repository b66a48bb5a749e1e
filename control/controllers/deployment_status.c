/* SPDX-License-Identifier: Apache-2.0
 * A Deployment's status: numbers and the conditions Available and Progressing. */
#include "controllers/deployment.h"

struct numbers {
	int64_t replicas, updated, ready, available, unavailable, terminating;
};

static struct numbers count(const struct deploy *d)
{
	struct numbers s = {0};

	for (size_t i = 0; i < d->n; i++) {
		s.replicas += d->all[i].st_replicas;
		s.ready += d->all[i].ready;
		s.available += d->all[i].available;
		s.terminating += d->all[i].terminating;
	}
	s.updated = d->new ? d->new->st_replicas : 0;
	s.unavailable = sum_replicas(d) - s.available;
	if (s.unavailable < 0)
		s.unavailable = 0;
	return s;
}

static bool complete(const struct deploy *d, const struct numbers *s)
{
	return s->updated == d->replicas && s->replicas == d->replicas &&
	       s->available == d->replicas;
}

bool deployment_complete(const struct deploy *d)
{
	struct numbers s = count(d);

	return complete(d, &s);
}

static bool progressing(const struct deploy *d, const struct numbers *s)
{
	int64_t updated = jv_int(jv_get(d->status, "updatedReplicas"), 0);
	int64_t old_before = jv_int(jv_get(d->status, "replicas"), 0) - updated;

	return s->updated > updated || s->replicas - s->updated < old_before ||
	       s->ready > jv_int(jv_get(d->status, "readyReplicas"), 0) ||
	       s->available > jv_int(jv_get(d->status, "availableReplicas"), 0);
}

struct cond {
	const char *type, *status, *reason, *message;
	bool fresh; /* lastUpdateTime becomes now even if nothing else changed */
};

/* The condition as it should be stored; keeps the old one when it says the same. */
static json_t *cond_json(struct deploy *d, const struct cond *c)
{
	struct jv old = condition_of(jv_get(d->status, "conditions"), c->type);
	bool same_status = jv_is_str(jv_get(old, "status"), c->status);
	bool same = same_status && jv_is_str(jv_get(old, "reason"), c->reason);
	const char *now = rc_time(d->rc, d->rc->now), *since = now;
	json_t *j = NULL;

	if (same && !c->fresh && json_parse(jv_bytes(old), &j, NULL) == 0)
		return j;
	if (same_status)
		since = rc_strdup(d->rc, jv_raw_str(jv_get(old, "lastTransitionTime")));
	return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "type", c->type, "status", c->status,
		"lastUpdateTime", now, "lastTransitionTime", since, "reason", c->reason, "message",
		c->message);
}

static struct cond available_cond(const struct deploy *d, const struct numbers *s)
{
	bool ok = s->available >= d->replicas - d->unavailable;

	return (struct cond){.type = "Available",
		.status = ok ? "True" : "False",
		.reason = ok ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
		.message = ok ? "Deployment has minimum availability."
			      : "Deployment does not have minimum availability."};
}

static const char *what(struct deploy *d)
{
	return d->new ? rc_printf(d->rc, "ReplicaSet \"%s\"", d->new->obj->name)
		      : rc_printf(d->rc, "Deployment \"%s\"", d->obj->name);
}

static bool timed_out(struct deploy *d, struct jv old)
{
	int64_t deadline = jv_int(jv_get(d->spec, "progressDeadlineSeconds"), 600) * NS_PER_SEC;
	int64_t left = time_of(jv_get(old, "lastUpdateTime")) + deadline - d->rc->now;

	if (!jv_present(old) || jv_is_str(jv_get(old, "reason"), "NewReplicaSetAvailable"))
		return false;
	if (jv_is_str(jv_get(old, "reason"), "ProgressDeadlineExceeded"))
		return true;
	if (left > 0)
		rc_requeue(d->rc, left + NS_PER_SEC);
	return left <= 0;
}

/* The Progressing condition that this pass leads to; type NULL = leave what there is. */
static struct cond progress_cond(struct deploy *d, const struct numbers *s)
{
	struct jv old = condition_of(jv_get(d->status, "conditions"), "Progressing");
	struct str reason = jv_raw_str(jv_get(old, "reason"));
	struct cond c = {.type = "Progressing", .status = "True"};
	bool was_paused = str_eqz(reason, "DeploymentPaused");

	if (d->paused != was_paused && (d->paused || jv_present(old))) {
		c.status = "Unknown";
		c.reason = d->paused ? "DeploymentPaused" : "DeploymentResumed";
		c.message = d->paused ? "Deployment is paused" : "Deployment is resumed";
		return c;
	}
	if (d->paused)
		return (struct cond){0};
	if (d->progress_reason) {
		c.reason = d->progress_reason;
		c.message = d->progress_message;
		c.fresh = true;
		return c;
	}
	bool settled = str_eqz(reason, "NewReplicaSetAvailable") && s->replicas == s->updated;
	if (!settled && complete(d, s)) {
		c.reason = "NewReplicaSetAvailable";
		c.message = rc_printf(d->rc, "%s has successfully progressed.", what(d));
	} else if (!settled && progressing(d, s)) {
		c.reason = "ReplicaSetUpdated";
		c.message = rc_printf(d->rc, "%s is progressing.", what(d));
		c.fresh = true;
	} else if (!settled && timed_out(d, old)) {
		c.status = "False";
		c.reason = "ProgressDeadlineExceeded";
		c.message = rc_printf(d->rc, "%s has timed out progressing.", what(d));
	} else {
		c.type = NULL;
	}
	return c;
}

static json_t *conditions_json(struct deploy *d, const struct numbers *s)
{
	struct cond conds[] = {available_cond(d, s), progress_cond(d, s)};
	json_t *out = json_array();

	jv_each (it, jv_get(d->status, "conditions")) {
		json_t *j = NULL;
		for (size_t i = 0; i < ARRAY_LEN(conds); i++) {
			if (conds[i].type && jv_is_str(jv_get(it.v, "type"), conds[i].type)) {
				j = cond_json(d, &conds[i]);
				conds[i].type = NULL;
			}
		}
		if (j || json_parse(jv_bytes(it.v), &j, NULL) == 0)
			(void)json_array_append_new(out, j);
	}
	for (size_t i = 0; i < ARRAY_LEN(conds); i++)
		if (conds[i].type)
			(void)json_array_append_new(out, cond_json(d, &conds[i]));
	return out;
}

void write_deployment_status(struct deploy *d)
{
	struct numbers s = count(d);
	int64_t collisions = jv_int(jv_get(d->status, "collisionCount"), 0);
	json_t *st = json_object(), *old = NULL;

	if (d->collided)
		collisions++;
	const struct {
		const char *name;
		int64_t n;
		bool keep_zero;
	} rows[] = {
		{"observedGeneration", generation_of(d->obj), false},
		{"replicas", s.replicas, false},
		{"updatedReplicas", s.updated, false},
		{"readyReplicas", s.ready, false},
		{"availableReplicas", s.available, false},
		{"unavailableReplicas", s.unavailable, false},
		{"terminatingReplicas", s.terminating, true},
		{"collisionCount", collisions, false},
	};
	bool same = true;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		same &= jv_int(jv_get(d->status, rows[i].name), 0) == rows[i].n;
		(void)json_object_set_new(st, rows[i].name,
			rows[i].n || rows[i].keep_zero ? json_integer(rows[i].n) : json_null());
	}
	json_t *conds = conditions_json(d, &s);
	struct jv had = jv_get(d->status, "conditions");
	if (jv_present(had) && json_parse(jv_bytes(had), &old, NULL) == 0)
		same &= json_equal(old, conds);
	else
		same = false;
	json_decref(old);
	(void)json_object_set_new(st, "conditions", conds);
	if (same)
		json_decref(st);
	else
		(void)rc_patch(d->rc, R_DEPLOY, d->obj, "status", json_pack("{s:o}", "status", st));
}

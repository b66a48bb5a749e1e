/* SPDX-License-Identifier: Apache-2.0
 * How large each ReplicaSet of a Deployment should be: rolling update, recreate, proportional
 * scaling. Pure arithmetic over struct deploy; emit_scales turns it into writes. */
#include "controllers/deployment.h"

static int64_t min64(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* Size of a ReplicaSet as decided so far in this pass. */
static int64_t size_of(const struct rs *r)
{
	return r->scale_to >= 0 ? r->scale_to : r->replicas;
}

int64_t sum_replicas(const struct deploy *d)
{
	int64_t n = 0;

	for (size_t i = 0; i < d->n; i++)
		n += d->all[i].replicas;
	return n;
}

static int64_t sum_available(const struct deploy *d)
{
	int64_t n = 0;

	for (size_t i = 0; i < d->n; i++)
		n += d->all[i].available;
	return n;
}

int64_t new_rs_size(const struct deploy *d)
{
	int64_t have = d->new ? d->new->replicas : 0;

	if (d->recreate)
		return d->replicas;
	int64_t room = d->replicas + d->surge - sum_replicas(d);
	return room <= 0 ? have : have + min64(room, max64(d->replicas - have, 0));
}

bool is_scaling_event(const struct deploy *d)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->all[i].replicas > 0 && d->all[i].desired >= 0 &&
			d->all[i].desired != d->replicas)
			return true;
	return false;
}

/* --- rolling update --- */

/* First pods that do not work anyway: deleting them costs no availability. */
static int64_t clean_unhealthy(struct deploy *d, int64_t max)
{
	int64_t done = 0;

	for (size_t i = 0; i < d->n && done < max; i++) {
		struct rs *r = &d->all[i];
		if (r == d->new || r->replicas <= r->available)
			continue;
		int64_t cut = min64(max - done, r->replicas - r->available);
		r->scale_to = r->replicas - cut;
		done += cut;
	}
	return done;
}

static void shrink_available(struct deploy *d, int64_t max)
{
	for (size_t i = 0; i < d->n && max > 0; i++) {
		struct rs *r = &d->all[i];
		if (r == d->new || size_of(r) == 0)
			continue;
		int64_t cut = min64(max, size_of(r));
		r->scale_to = size_of(r) - cut;
		max -= cut;
	}
}

void scale_rolling(struct deploy *d)
{
	struct rs *new = d->new;

	if (!new)
		return;
	int64_t want = new->replicas > d->replicas ? d->replicas : new_rs_size(d);
	if (want != new->replicas) {
		new->scale_to = want;
		return;
	}
	int64_t all = sum_replicas(d), min_available = d->replicas - d->unavailable;
	int64_t max_down = all - min_available - (new->replicas - new->available);
	if (all == new->replicas || max_down <= 0)
		return;
	(void)clean_unhealthy(d, max_down);
	shrink_available(d, sum_available(d) - min_available);
}

/* --- recreate --- */

static bool old_pods_left(struct deploy *d)
{
	rc_each(d->rc, R_POD, d->obj->ns, it)
	{
		struct owner_ref ref;
		if (!pod_of(it.obj) || pod_done(pod_of(it.obj)) || !controller_of(it.obj, &ref))
			continue;
		for (size_t i = 0; i < d->n; i++)
			if (&d->all[i] != d->new &&str_eqz(ref.uid, d->all[i].obj->uid))
				return true;
	}
	return false;
}

bool scale_recreate(struct deploy *d)
{
	bool active = false;

	for (size_t i = 0; i < d->n; i++) {
		if (&d->all[i] == d->new || d->all[i].replicas == 0)
			continue;
		d->all[i].scale_to = 0;
		active = true;
	}
	if (active || old_pods_left(d))
		return false;
	if (d->new && d->new->replicas != d->replicas)
		d->new->scale_to = d->replicas;
	return true;
}

/* --- scaling while a roll-out is under way or paused --- */

static struct rs *only_active(struct deploy *d)
{
	struct rs *found = NULL;

	for (size_t i = 0; i < d->n; i++) {
		if (d->all[i].replicas == 0)
			continue;
		if (found)
			return NULL;
		found = &d->all[i];
	}
	if (found)
		return found;
	return d->new ? d->new : d->n ? &d->all[d->n - 1] : NULL;
}

static bool saturated(const struct deploy *d)
{
	const struct rs *r = d->new;

	return r && r->replicas == d->replicas && r->desired == d->replicas &&
	       r->available == d->replicas;
}

static int by_size_newer(const void *x, const void *y)
{
	const struct rs *a = *(struct rs *const *)x, *b = *(struct rs *const *)y;

	if (a->replicas != b->replicas)
		return a->replicas > b->replicas ? -1 : 1;
	return a->created > b->created ? -1 : a->created < b->created;
}

static int by_size_older(const void *x, const void *y)
{
	const struct rs *a = *(struct rs *const *)x, *b = *(struct rs *const *)y;

	if (a->replicas != b->replicas)
		return a->replicas > b->replicas ? -1 : 1;
	return a->created < b->created ? -1 : a->created > b->created;
}

/* The share of `add` that one ReplicaSet gets, in proportion to its size. */
static int64_t share(const struct deploy *d, const struct rs *r, int64_t add, int64_t added)
{
	if (r->replicas == 0 || add == 0 || add == added)
		return 0;
	int64_t total = r->max > 0 ? r->max : d->replicas;
	int64_t target = d->replicas + d->surge;
	/* rounded to the nearest */
	int64_t frac = d->replicas == 0 || total == 0
			       ? -r->replicas
			       : (2 * r->replicas * target + total) / (2 * total) - r->replicas;
	return add > 0 ? min64(frac, add - added) : max64(frac, add - added);
}

static void spread(struct deploy *d)
{
	struct rs **v = arena_alloc(&d->rc->arena, (d->n + 1) * sizeof(struct rs *));
	int64_t total = 0, added = 0;
	size_t n = 0;

	if (!v)
		return;
	for (size_t i = 0; i < d->n; i++) {
		if (d->all[i].replicas > 0)
			v[n++] = &d->all[i];
		total += d->all[i].replicas;
	}
	int64_t add = (d->replicas > 0 ? d->replicas + d->surge : 0) - total;
	qsort(v, n, sizeof(struct rs *), add > 0 ? by_size_newer : by_size_older);
	for (size_t i = 0; i < n; i++) {
		int64_t part = share(d, v[i], add, added);
		v[i]->scale_to = v[i]->replicas + part;
		added += part;
	}
	if (n > 0) /* rounding leaves something over: the largest takes it */
		v[0]->scale_to = max64(v[0]->scale_to + add - added, 0);
}

void scale_proportionally(struct deploy *d)
{
	struct rs *one = only_active(d);

	if (one) {
		one->scale_to = d->replicas;
		return;
	}
	if (saturated(d)) {
		for (size_t i = 0; i < d->n; i++)
			if (&d->all[i] != d->new && d->all[i].replicas > 0)
				d->all[i].scale_to = 0;
		return;
	}
	if (!d->recreate)
		spread(d);
}

/* --- writing it down --- */

static void emit_scale(struct deploy *d, struct rs *r)
{
	int64_t to = size_of(r), max = d->replicas + d->surge;
	bool resize = to != r->replicas;
	json_t *ann;

	/* An inactive one gets its annotations when it is used again. */
	if (!resize && (to == 0 || (r->desired == d->replicas && r->max == max)))
		return;
	ann = json_pack("{s:o,s:o}", ANN_DESIRED, json_sprintf("%jd", (intmax_t)d->replicas),
		ANN_MAX, json_sprintf("%jd", (intmax_t)max));
	json_t *patch = json_pack("{s:{s:o}}", "metadata", "annotations", ann);
	if (resize)
		(void)json_object_set_new(
			patch, "spec", json_pack("{s:I}", "replicas", (json_int_t)to));
	struct action *a = rc_patch(d->rc, R_RS, r->obj, NULL, patch);
	if (resize)
		on_ok(d->rc, a, R_DEPLOY, d->obj, "ScalingReplicaSet",
			"Scaled %s replica set %s from %jd to %jd",
			to > r->replicas ? "up" : "down", r->obj->name, (intmax_t)r->replicas,
			(intmax_t)to);
}

void emit_scales(struct deploy *d)
{
	for (size_t i = 0; i < d->n; i++)
		emit_scale(d, &d->all[i]);
}

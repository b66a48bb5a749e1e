/* SPDX-License-Identifier: Apache-2.0
 * Taints and tolerations. */
#include "controllers/taint.h"

void taints_load(struct taint_list *l, const struct cobj *node)
{
	struct jv v = jv_path(node->v, "spec.taints");

	*l = (struct taint_list){0};
	if (!jv_present(v) || json_parse(jv_bytes(v), &l->taints, NULL) < 0 ||
		!json_is_array(l->taints)) {
		json_decref(l->taints);
		l->taints = json_array();
	}
}

void taints_want(struct taint_list *l, const char *key, const char *effect, bool want,
	const char *time_added)
{
	size_t i;
	json_t *t;

	json_array_foreach (l->taints, i, t) {
		if (strcmp(json_str(t, "key", ""), key) != 0 ||
			strcmp(json_str(t, "effect", ""), effect) != 0)
			continue;
		if (!want) {
			(void)json_array_remove(l->taints, i);
			l->changed = true;
		}
		return;
	}
	if (!want)
		return;
	t = json_pack("{s:s,s:s}", "key", key, "effect", effect);
	if (time_added)
		(void)json_object_set_new(t, "timeAdded", json_string(time_added));
	(void)json_array_append_new(l->taints, t);
	l->changed = true;
}

void taints_stamp(struct taint_list *l, const char *now)
{
	size_t i;
	json_t *t;

	json_array_foreach (l->taints, i, t) {
		if (strcmp(json_str(t, "effect", ""), "NoExecute") != 0 ||
			json_object_get(t, "timeAdded"))
			continue;
		(void)json_object_set_new(t, "timeAdded", json_string(now));
		l->changed = true;
	}
}

bool taints_evict(struct jv taints)
{
	jv_each (it, taints) {
		if (jv_is_str(jv_get(it.v, "effect"), "NoExecute"))
			return true;
	}
	return false;
}

bool taint_tolerated_by(struct jv tol, struct jv taint)
{
	struct str effect = jv_raw_str(jv_get(tol, "effect")), key = jv_raw_str(jv_get(tol, "key")),
		   op = jv_raw_str(jv_get(tol, "operator"));

	if (effect.n && !str_eq(effect, jv_raw_str(jv_get(taint, "effect"))))
		return false;
	if (key.n && !str_eq(key, jv_raw_str(jv_get(taint, "key"))))
		return false;
	if (str_eqz(op, "Exists"))
		return true;
	return key.n &&
	       str_eq(jv_raw_str(jv_get(tol, "value")), jv_raw_str(jv_get(taint, "value")));
}

/* How long (seconds) the pod stays under this taint: -1 = not tolerated, INT64_MAX = for ever. Of
 * several tolerations that match, the shortest counts. */
static int64_t tolerated_for(struct jv taint, struct jv tolerations)
{
	int64_t best = -1;

	jv_each (it, tolerations) {
		if (!taint_tolerated_by(it.v, taint))
			continue;
		int64_t s = jv_int(jv_get(it.v, "tolerationSeconds"), INT64_MAX);
		if (s < 0)
			s = 0;
		if (best < 0 || s < best)
			best = s;
	}
	return best;
}

int64_t taints_evict_at(struct jv taints, struct jv tolerations)
{
	int64_t at = INT64_MAX;

	jv_each (it, taints) {
		if (!jv_is_str(jv_get(it.v, "effect"), "NoExecute"))
			continue;
		int64_t s = tolerated_for(it.v, tolerations), added;
		if (s < 0)
			return 0;
		added = time_of(jv_get(it.v, "timeAdded"));
		/* not stamped yet: it will be, and this is asked again */
		if (s == INT64_MAX || added == 0 || s > (INT64_MAX - added) / NS_PER_SEC)
			continue;
		if (added + s * NS_PER_SEC < at)
			at = added + s * NS_PER_SEC;
	}
	return at;
}

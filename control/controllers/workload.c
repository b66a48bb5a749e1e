/* SPDX-License-Identifier: Apache-2.0
 * Claiming pods and making them from a template, for DaemonSet and StatefulSet. */
#include "controllers/workload.h"

/* The finalizer that pods have while o's controller counts them; NULL = none. */
static const char *finalizer_of(enum res r)
{
	return r == R_JOB ? "batch.kubernetes.io/job-tracking" : NULL;
}

static json_t *finalizers(const struct cobj *pod, const char *name, bool want)
{
	json_t *list = json_array();

	jv_each (it, jv_path(pod->v, "metadata.finalizers")) {
		struct str s = jv_raw_str(it.v);
		if (!str_eqz(s, name))
			(void)json_array_append_new(list, json_stringn(s.p, s.n));
	}
	if (want)
		(void)json_array_append_new(list, json_string(name));
	return list;
}

static void set_owner(
	struct rc *rc, enum res r, const struct cobj *o, const struct cobj *pod, bool take)
{
	const char *fin = finalizer_of(r);
	json_t *refs = json_array();

	jv_each (it, jv_path(pod->v, "metadata.ownerReferences")) {
		json_t *ref = NULL;
		if (!str_eqz(owner_ref_of(it.v).uid, o->uid) &&
			json_parse(jv_bytes(it.v), &ref, NULL) == 0)
			(void)json_array_append_new(refs, ref);
	}
	if (take)
		(void)json_array_append_new(refs, owner_json(r, o));
	(void)rc_patch(rc, R_POD, pod, NULL,
		json_pack("{s:{s:s,s:o,s:o*}}", "metadata", "uid", pod->uid, "ownerReferences",
			refs, "finalizers", fin ? finalizers(pod, fin, take) : NULL));
}

/* Is the pod o's? Adopts and releases on the way. */
static bool claim_one(struct rc *rc, enum res r, const struct cobj *o,
	const struct label_selector *sel, const struct cobj *pod)
{
	struct owner_ref ref;
	bool has = controller_of(pod, &ref), match;

	if (!pod_of(pod) || (has && !str_eqz(ref.uid, o->uid)))
		return false;
	match = label_selector_match(sel, labels_of(pod));
	if (has && !match && !deleting(o))
		set_owner(rc, r, o, pod, false);
	if (has || !match)
		return has && match;
	if (deleting(o) || !pod_active(pod_of(pod)))
		return false;
	set_owner(rc, r, o, pod, true);
	return true;
}

int pods_claim(struct rc *rc, enum res r, const struct cobj *o, struct pods *ret)
{
	const struct label_selector *sel = rc_selector(rc, jv_path(o->v, "spec.selector"));
	size_t cap = 1;

	if (!sel || label_selector_empty(sel))
		return -1;
	rc_each(rc, R_POD, o->ns, it) cap++;
	*ret = (struct pods){.v = arena_alloc(&rc->arena, cap * sizeof(struct cobj *))};
	if (!ret->v) {
		rc->again = true;
		return -1;
	}
	rc_each(rc, R_POD, o->ns, it)
	{
		if (claim_one(rc, r, o, sel, it.obj))
			ret->v[ret->n++] = it.obj;
	}
	return 0;
}

static void map_one(struct rc *rc, enum res r, const struct cobj *pod)
{
	struct owner_ref ref;

	if (controller_of(pod, &ref)) {
		if (str_eqz(ref.kind, res_table[r].kind))
			rc_key(rc, pod->ns, rc_strdup(rc, ref.name));
		return;
	}
	rc_each(rc, r, pod->ns, it)
	{
		const struct label_selector *s =
			rc_selector(rc, jv_path(it.obj->v, "spec.selector"));
		if (s && !label_selector_empty(s) && label_selector_match(s, labels_of(pod)))
			rc_key(rc, it.obj->ns, it.obj->name);
	}
}

void map_owned(struct rc *rc, enum res r, struct cobj *old, struct cobj *new)
{
	if (new)
		map_one(rc, r, new);
	if (old)
		map_one(rc, r, old);
}

json_t *pod_make(enum res r, const struct cobj *o, const json_t *tmpl)
{
	static const char *const copied[] = {"labels", "annotations", "finalizers"};
	json_t *meta =
		json_pack("{s:s,s:[o]}", "namespace", o->ns, "ownerReferences", owner_json(r, o));
	json_t *from = json_object_get(tmpl, "metadata");

	for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
		json_t *v = json_object_get(from, copied[i]);
		if (v)
			(void)json_object_set_new(meta, copied[i], json_deep_copy(v));
	}
	json_t *pod = json_pack("{s:s,s:s,s:o,s:o?}", "apiVersion", "v1", "kind", "Pod", "metadata",
		meta, "spec", json_deep_copy(json_object_get(tmpl, "spec")));
	(void)json_make(pod, "metadata.labels");
	return pod;
}

bool numbers_same(struct jv status, const struct number *v, size_t n, json_t *into)
{
	bool same = true;

	for (size_t i = 0; i < n; i++) {
		same &= jv_int(jv_get(status, v[i].name), 0) == v[i].n;
		(void)json_object_set_new(into, v[i].name, json_integer(v[i].n));
	}
	return same;
}

bool rc_status(struct rc *rc, enum res r, const struct cobj *o, json_t *take)
{
	json_t *old = NULL, *whole;
	struct jv v = jv_get(o->v, "status");

	if (jv_present(v))
		(void)json_parse(jv_bytes(v), &old, NULL);
	bool same = old && json_equal(old, take);
	json_decref(old);
	if (same || !(whole = rc_tree(rc, o))) {
		json_decref(take);
		return false;
	}
	(void)json_object_set_new(whole, "status", take);
	(void)rc_update(rc, r, o, "status", whole);
	return true;
}

/* --- nodes --- */

static bool compare(struct str label, struct jv values, bool greater)
{
	int64_t a, b;

	if (str_i64(label, &a) < 0 || str_i64(jv_raw_str(jv_path(values, "0")), &b) < 0)
		return false;
	return greater ? a > b : a < b;
}

static bool requirement(struct jv x, struct str have)
{
	struct jv values = jv_get(x, "values"), op = jv_get(x, "operator");
	bool among = false;

	jv_each (it, values)
		among |= have.p && str_eq(have, jv_raw_str(it.v));
	if (jv_is_str(op, "In"))
		return among;
	if (jv_is_str(op, "NotIn"))
		return !among;
	if (jv_is_str(op, "Exists"))
		return have.p;
	if (jv_is_str(op, "DoesNotExist"))
		return !have.p;
	return have.p && (jv_is_str(op, "Gt") || jv_is_str(op, "Lt")) &&
	       compare(have, values, jv_is_str(op, "Gt"));
}

static bool term(struct jv t, const struct cobj *node)
{
	bool any = false;

	jv_each (it, jv_get(t, "matchExpressions")) {
		any = true;
		struct str key = jv_raw_str(jv_get(it.v, "key")), have = {0};
		jv_each (l, labels_of(node)) {
			if (str_eq(l.key, key))
				have = jv_raw_str(l.v);
		}
		if (!requirement(it.v, have))
			return false;
	}
	jv_each (it, jv_get(t, "matchFields")) {
		any = true;
		if (!requirement(it.v, str_of(node->name)))
			return false;
	}
	return any;
}

bool node_matches(struct jv spec, const struct cobj *node)
{
	struct jv terms = jv_path(spec, "affinity.nodeAffinity."
					"requiredDuringSchedulingIgnoredDuringExecution."
					"nodeSelectorTerms");

	if (!has_labels(labels_of(node), jv_get(spec, "nodeSelector")))
		return false;
	if (!jv_present(terms))
		return true;
	jv_each (it, terms) {
		if (term(it.v, node))
			return true;
	}
	return false;
}

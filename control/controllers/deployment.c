/* SPDX-License-Identifier: Apache-2.0
 * Deployment: finds or makes the ReplicaSet of the present template, keeps the revision numbers and
 * the history. Sizes are in deployment_scale.c, conditions in deployment_status.c. */
#include "controllers/deployment.h"

int64_t int_or_percent(struct jv v, int64_t total, bool up, const char *dflt)
{
	struct str s = jv_type(v) == JV_STRING ? jv_raw_str(v) : str_of(jv_present(v) ? "" : dflt);
	int64_t n = 0;

	if (s.n == 0)
		return jv_int(v, 0);
	if (s.p[s.n - 1] != '%')
		return str_i64(s, &n) == 0 ? n : 0;
	s.n--;
	if (str_i64(s, &n) < 0)
		return 0;
	return up ? (n * total + 99) / 100 : n * total / 100;
}

void resolve_fenceposts(
	struct jv rolling, int64_t replicas, int64_t *ret_surge, int64_t *ret_unavailable)
{
	*ret_surge = int_or_percent(jv_get(rolling, "maxSurge"), replicas, true, "25%");
	*ret_unavailable =
		int_or_percent(jv_get(rolling, "maxUnavailable"), replicas, false, "25%");
	if (*ret_surge == 0 && *ret_unavailable == 0)
		*ret_unavailable = 1;
	if (*ret_unavailable > replicas)
		*ret_unavailable = replicas;
}

/* --- the ReplicaSets --- */

static int64_t annotation_int(const struct cobj *o, const char *name, int64_t dflt)
{
	int64_t n;

	return str_i64(annotation(o, name), &n) == 0 ? n : dflt;
}

static struct rs rs_of(struct cobj *o)
{
	struct jv st = jv_get(o->v, "status");

	return (struct rs){.obj = o,
		.replicas = jv_int(jv_path(o->v, "spec.replicas"), 1),
		.st_replicas = jv_int(jv_get(st, "replicas"), 0),
		.ready = jv_int(jv_get(st, "readyReplicas"), 0),
		.available = jv_int(jv_get(st, "availableReplicas"), 0),
		.terminating = jv_int(jv_get(st, "terminatingReplicas"), 0),
		.created = time_of(jv_path(o->v, "metadata.creationTimestamp")),
		.revision = annotation_int(o, ANN_REVISION, 0),
		.desired = annotation_int(o, ANN_DESIRED, -1),
		.max = annotation_int(o, ANN_MAX, -1),
		.scale_to = -1};
}

static void adopt_rs(struct deploy *d, const struct cobj *rs, bool take)
{
	json_t *refs = json_array();

	jv_each (it, jv_path(rs->v, "metadata.ownerReferences")) {
		json_t *ref = NULL;
		if (!str_eqz(owner_ref_of(it.v).uid, d->obj->uid) &&
			json_parse(jv_bytes(it.v), &ref, NULL) == 0)
			(void)json_array_append_new(refs, ref);
	}
	if (take)
		(void)json_array_append_new(refs, owner_json(R_DEPLOY, d->obj));
	(void)rc_patch(d->rc, R_RS, rs, NULL,
		json_pack("{s:{s:s,s:o}}", "metadata", "uid", rs->uid, "ownerReferences", refs));
}

static int by_age(const void *x, const void *y)
{
	const struct rs *a = x, *b = y;

	if (a->created != b->created)
		return a->created < b->created ? -1 : 1;
	return strcmp(a->obj->name, b->obj->name);
}

static int claim_all(struct deploy *d, const struct label_selector *sel)
{
	size_t cap = 0;

	rc_each(d->rc, R_RS, d->obj->ns, it) cap++;
	d->all = arena_alloc(&d->rc->arena, (cap + 1) * sizeof(*d->all));
	if (!d->all)
		return -1;
	rc_each(d->rc, R_RS, d->obj->ns, it)
	{
		struct owner_ref ref;
		bool has = controller_of(it.obj, &ref);
		if (has && !str_eqz(ref.uid, d->obj->uid))
			continue;
		bool match = label_selector_match(sel, labels_of(it.obj));
		if (!deleting(d->obj) && ((has && !match) || (!has && match && !deleting(it.obj))))
			adopt_rs(d, it.obj, match);
		if (match && (has || (!deleting(d->obj) && !deleting(it.obj))))
			d->all[d->n++] = rs_of(it.obj);
	}
	qsort(d->all, d->n, sizeof(*d->all), by_age);
	return 0;
}

/* --- the template --- */

static json_t *template_of(const struct cobj *o)
{
	struct jv v = jv_path(o->v, "spec.template");
	json_t *t = NULL;

	if (!jv_present(v) || json_parse(jv_bytes(v), &t, NULL) < 0)
		return NULL;
	json_t *meta = json_object_get(t, "metadata"), *labels = json_object_get(meta, "labels");
	(void)json_object_del(meta, "creationTimestamp");
	(void)json_object_del(labels, HASH_LABEL);
	if (json_is_object(labels) && json_object_size(labels) == 0)
		(void)json_object_del(meta, "labels");
	return t;
}

static struct rs *find_new(struct deploy *d, const json_t *tmpl)
{
	for (size_t i = 0; i < d->n; i++) {
		json_t *t = template_of(d->all[i].obj);
		bool same = json_equal(t, tmpl);
		json_decref(t);
		if (same)
			return &d->all[i];
	}
	return NULL;
}

static const char *template_hash(struct deploy *d, const json_t *tmpl)
{
	char *text = json_dumps(tmpl, JSON_COMPACT | JSON_SORT_KEYS);
	uint32_t h = fnv32a(FNV32_INIT, str_of(text));
	int64_t collisions = jv_int(jv_get(d->status, "collisionCount"), 0);
	char name[16];

	free(text);
	if (collisions > 0)
		h = fnv32a(h, (struct str){.p = (char *)&collisions, .n = sizeof(collisions)});
	safe_encode(h, name);
	return rc_strdup(d->rc, str_of(name));
}

/* --- annotations and revisions --- */

static int64_t max_old_revision(const struct deploy *d)
{
	int64_t max = 0;

	for (size_t i = 0; i < d->n; i++)
		if (&d->all[i] != d->new && d->all[i].revision > max)
			max = d->all[i].revision;
	return max;
}

static bool own_annotation(struct str key)
{
	static const char *const skip[] = {"kubectl.kubernetes.io/last-applied-configuration",
		ANN_REVISION, ANN_HISTORY, ANN_DESIRED, ANN_MAX,
		"deprecated.deployment.rollback.to"};

	for (size_t i = 0; i < ARRAY_LEN(skip); i++)
		if (str_eqz(key, skip[i]))
			return true;
	return false;
}

/* The Deployment's annotations that rs (NULL = none yet) lacks. */
static json_t *copied_annotations(const struct deploy *d, const struct cobj *rs)
{
	json_t *out = json_object();
	struct jv have = rs ? jv_path(rs->v, "metadata.annotations") : (struct jv){0};

	jv_each (it, jv_path(d->obj->v, "metadata.annotations")) {
		json_t *v = NULL;
		if (own_annotation(it.key))
			continue;
		bool same = false;
		jv_each (h, have) {
			if (str_eq(h.key, it.key))
				same = str_eq(jv_bytes(h.v), jv_bytes(it.v));
		}
		AUTO_BUF struct buf quoted = {0};
		json_t *key = NULL;
		buf_addf(&quoted, "\"%.*s\"", STR_FMT(it.key));
		if (!same && json_parse(buf_str(&quoted), &key, NULL) == 0 &&
			json_parse(jv_bytes(it.v), &v, NULL) == 0)
			(void)json_object_set_new(out, json_string_value(key), v);
		json_decref(key);
	}
	return out;
}

static void set_int(json_t *o, const char *name, int64_t n)
{
	(void)json_object_set_new(o, name, json_sprintf("%jd", (intmax_t)n));
}

/* By way of /status: elsewhere a changed annotation raises a Deployment's generation. */
static void sync_deployment_revision(struct deploy *d, int64_t revision)
{
	if (annotation_int(d->obj, ANN_REVISION, 0) == revision)
		return;
	json_t *a = json_object();
	set_int(a, ANN_REVISION, revision);
	(void)rc_patch(d->rc, R_DEPLOY, d->obj, "status",
		json_pack("{s:{s:o}}", "metadata", "annotations", a));
}

/* Brings revision and copied annotations of the present ReplicaSet up to date. */
static void sync_new(struct deploy *d)
{
	int64_t revision = max_old_revision(d) + 1;
	json_t *a = copied_annotations(d, d->new->obj);
	struct jv min_ready = jv_get(d->spec, "minReadySeconds");
	int64_t want_ready = jv_int(min_ready, 0);

	if (d->new->revision < revision) {
		set_int(a, ANN_REVISION, revision);
		struct str hist = annotation(d->new->obj, ANN_HISTORY);
		if (d->new->revision > 0)
			(void)json_object_set_new(a, ANN_HISTORY,
				json_sprintf("%.*s%s%jd", STR_FMT(hist), hist.n ? "," : "",
					(intmax_t)d->new->revision));
		d->new->revision = revision;
	}
	json_t *patch = json_object();
	if (json_object_size(a) > 0)
		(void)json_object_set_new(patch, "metadata", json_pack("{s:O}", "annotations", a));
	json_decref(a);
	if (want_ready != jv_int(jv_path(d->new->obj->v, "spec.minReadySeconds"), 0))
		(void)json_object_set_new(patch, "spec",
			json_pack("{s:I}", "minReadySeconds", (json_int_t)want_ready));
	if (json_object_size(patch) > 0)
		(void)rc_patch(d->rc, R_RS, d->new->obj, NULL, patch);
	else
		json_decref(patch);
	sync_deployment_revision(d, d->new->revision);
	if (!jv_present(condition_of(jv_get(d->status, "conditions"), "Progressing"))) {
		d->progress_reason = "FoundNewReplicaSet";
		d->progress_message =
			rc_printf(d->rc, "Found new replica set \"%s\"", d->new->obj->name);
	}
}

static json_t *new_rs_json(struct deploy *d, json_t *tmpl, const char *hash, const char *name,
	int64_t size, int64_t revision)
{
	json_t *ann = copied_annotations(d, NULL), *sel = NULL;

	set_int(ann, ANN_REVISION, revision);
	set_int(ann, ANN_DESIRED, d->replicas);
	set_int(ann, ANN_MAX, d->replicas + d->surge);
	(void)json_parse(jv_bytes(jv_get(d->spec, "selector")), &sel, NULL);
	json_t *labels = json_make(tmpl, "metadata.labels");
	(void)json_object_set_new(labels, HASH_LABEL, json_string(hash));
	(void)json_object_set_new(json_make(sel, "matchLabels"), HASH_LABEL, json_string(hash));
	json_t *meta = json_pack("{s:s,s:s,s:O,s:o,s:[o]}", "name", name, "namespace", d->obj->ns,
		"labels", labels, "annotations", ann, "ownerReferences",
		owner_json(R_DEPLOY, d->obj));
	return json_pack("{s:s,s:s,s:o,s:{s:I,s:I,s:o,s:O}}", "apiVersion", "apps/v1", "kind",
		"ReplicaSet", "metadata", meta, "spec", "replicas", (json_int_t)size,
		"minReadySeconds", (json_int_t)jv_int(jv_get(d->spec, "minReadySeconds"), 0),
		"selector", sel, "template", tmpl);
}

static void create_new(struct deploy *d, json_t *tmpl)
{
	const char *hash = template_hash(d, tmpl);
	const char *name = rc_printf(d->rc, "%s-%s", d->obj->name, hash);
	int64_t size = new_rs_size(d), revision = max_old_revision(d) + 1;

	if (rc_get(d->rc, R_RS, d->obj->ns, name)) {
		d->collided = true; /* a name for another template: next time with another hash */
		return;
	}
	struct action *a = rc_create(
		d->rc, R_RS, d->obj->ns, new_rs_json(d, tmpl, hash, name, size, revision));
	on_fail(d->rc, a, R_DEPLOY, d->obj, "ReplicaSetCreateError",
		"Failed to create new replica set \"%s\": ", name);
	if (size > 0)
		on_ok(d->rc, a, R_DEPLOY, d->obj, "ScalingReplicaSet",
			"Scaled up replica set %s from 0 to %jd", name, (intmax_t)size);
	sync_deployment_revision(d, revision);
	d->progress_reason = "NewReplicaSetCreated";
	d->progress_message = rc_printf(d->rc, "Created new replica set \"%s\"", name);
}

/* --- history --- */

static int by_revision(const void *x, const void *y)
{
	const struct rs *a = *(struct rs *const *)x, *b = *(struct rs *const *)y;

	return a->revision != b->revision ? (a->revision < b->revision ? -1 : 1) : by_age(a, b);
}

static void clean_history(struct deploy *d)
{
	int64_t limit = jv_int(jv_get(d->spec, "revisionHistoryLimit"), 10);
	struct rs **old = arena_alloc(&d->rc->arena, (d->n + 1) * sizeof(struct rs *));
	size_t n = 0;

	if (!old)
		return;
	for (size_t i = 0; i < d->n; i++)
		if (&d->all[i] != d->new && !deleting(d->all[i].obj))
			old[n++] = &d->all[i];
	qsort(old, n, sizeof(struct rs *), by_revision);
	for (size_t i = 0; (int64_t)i + limit < (int64_t)n; i++) {
		const struct cobj *o = old[i]->obj;
		if (old[i]->replicas == 0 && old[i]->st_replicas == 0 &&
			generation_of(o) <= jv_int(jv_path(o->v, "status.observedGeneration"), 0))
			(void)rc_delete(d->rc, R_RS, o);
	}
}

/* --- the whole --- */

static void roll(struct deploy *d, json_t *tmpl)
{
	bool may_make = true;

	if (d->new)
		sync_new(d);
	if (d->recreate)
		may_make = scale_recreate(d);
	if (!d->new &&may_make)
		create_new(d, tmpl);
	else if (!d->recreate)
		scale_rolling(d);
	if (d->new &&deployment_complete(d))
		clean_history(d);
}

static void sync_all(struct deploy *d)
{
	json_t *tmpl = template_of(d->obj);

	if (!tmpl)
		return;
	d->new = find_new(d, tmpl);
	if (deleting(d->obj)) {
		json_decref(tmpl);
		write_deployment_status(d);
		return;
	}
	if (d->paused || is_scaling_event(d)) {
		if (d->new)
			sync_new(d);
		scale_proportionally(d);
		if (d->paused)
			clean_history(d);
	} else {
		roll(d, tmpl);
	}
	json_decref(tmpl);
	emit_scales(d);
	write_deployment_status(d);
}

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	struct deploy d = {.rc = rc, .obj = rc_get(rc, R_DEPLOY, ns, name)};

	if (!d.obj)
		return;
	d.spec = jv_get(d.obj->v, "spec");
	d.status = jv_get(d.obj->v, "status");
	d.replicas = jv_int(jv_get(d.spec, "replicas"), 1);
	d.paused = jv_bool(jv_get(d.spec, "paused"), false);
	d.recreate = jv_is_str(jv_path(d.spec, "strategy.type"), "Recreate");
	if (!d.recreate)
		resolve_fenceposts(jv_path(d.spec, "strategy.rollingUpdate"), d.replicas, &d.surge,
			&d.unavailable);
	const struct label_selector *sel = rc_selector(rc, jv_get(d.spec, "selector"));
	if (!sel || label_selector_empty(sel) || claim_all(&d, sel) < 0)
		return;
	sync_all(&d);
}

static void map_rs_one(struct rc *rc, const struct cobj *rs)
{
	struct owner_ref ref;

	if (controller_of(rs, &ref)) {
		if (str_eqz(ref.kind, "Deployment"))
			rc_key(rc, rs->ns, rc_strdup(rc, ref.name));
		return;
	}
	rc_each(rc, R_DEPLOY, rs->ns, it)
	{
		const struct label_selector *s =
			rc_selector(rc, jv_path(it.obj->v, "spec.selector"));
		if (s && !label_selector_empty(s) && label_selector_match(s, labels_of(rs)))
			rc_key(rc, it.obj->ns, it.obj->name);
	}
}

static void map_rs(struct rc *rc, struct cobj *old, struct cobj *new)
{
	if (new)
		map_rs_one(rc, new);
	if (old)
		map_rs_one(rc, old);
}

/* Recreate waits for the last old pod to go. */
static void map_pod(struct rc *rc, struct cobj *old, struct cobj *new)
{
	struct owner_ref ref;

	if (!old || (new &&pod_of(new) && !pod_done(pod_of(new))) || !controller_of(old, &ref) ||
		!str_eqz(ref.kind, "ReplicaSet"))
		return;
	const struct cobj *rs = rc_get(rc, R_RS, old->ns, rc_strdup(rc, ref.name));
	if (rs)
		map_rs_one(rc, rs);
}

const struct controller controller_deployment = {
	.component = "deployment-controller",
	.reconcile = reconcile,
	.watches = {{R_DEPLOY, map_self}, {R_RS, map_rs}, {R_POD, map_pod}},
};

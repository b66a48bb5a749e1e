/* SPDX-License-Identifier: Apache-2.0
 * ControllerRevisions: each template that a DaemonSet or StatefulSet had, in the form that kubectl
 * rollout history and undo read. */
#include "controllers/workload.h"

static int64_t number_of(const struct cobj *rev)
{
	return jv_int(jv_get(rev->v, "revision"), 0);
}

static int by_number(const void *x, const void *y)
{
	const struct cobj *a = *(struct cobj *const *)x, *b = *(struct cobj *const *)y;
	int64_t m = number_of(a), n = number_of(b);

	return m != n ? (m < n ? -1 : 1) : strcmp(a->name, b->name);
}

/* The patch that brings back o's present template. */
static json_t *data_of(const struct cobj *o)
{
	json_t *t = NULL;

	if (json_parse(jv_bytes(jv_path(o->v, "spec.template")), &t, NULL) < 0)
		return NULL;
	(void)json_object_del(json_object_get(t, "metadata"), "creationTimestamp");
	(void)json_object_set_new(t, "$patch", json_string("replace"));
	return json_pack("{s:{s:o}}", "spec", "template", t);
}

static bool same_data(const struct cobj *rev, const json_t *data)
{
	json_t *have = NULL;

	if (json_parse(jv_bytes(jv_get(rev->v, "data")), &have, NULL) < 0)
		return false;
	bool same = json_equal(have, data);
	json_decref(have);
	return same;
}

static json_t *revision_json(enum res r, const struct cobj *o, const char *name, const char *hash,
	int64_t number, json_t *data)
{
	json_t *labels = json_deep_copy(json_at(data, "spec.template.metadata.labels")),
	       *ann = NULL;
	struct str cause = annotation(o, "kubernetes.io/change-cause");

	if (!labels)
		labels = json_object();
	(void)json_object_set_new(labels, REVISION_LABEL, json_string(hash));
	if (cause.n > 0)
		ann = json_pack("{s:s%}", "kubernetes.io/change-cause", cause.p, cause.n);
	return json_pack("{s:s,s:s,s:{s:s,s:s,s:o,s:o*,s:[o]},s:O,s:I}", "apiVersion", "apps/v1",
		"kind", "ControllerRevision", "metadata", "name", name, "namespace", o->ns,
		"labels", labels, "annotations", ann, "ownerReferences", owner_json(r, o), "data",
		data, "revision", (json_int_t)number);
}

static void create(struct rc *rc, enum res r, const struct cobj *o, struct history *h, json_t *data)
{
	char *text = json_dumps(data, JSON_COMPACT | JSON_SORT_KEYS);
	uint32_t hash = fnv32a(FNV32_INIT, str_of(text ? text : ""));
	int64_t last = h->n > 0 ? number_of(h->v[h->n - 1]) : 0;
	char spelled[16];

	free(text);
	do { /* a name taken by another template: on to the next */
		safe_encode(hash++, spelled);
		h->update = rc_printf(rc, "%s-%s", o->name, spelled);
	} while (rc_get(rc, R_CR, o->ns, h->update));
	h->hash = rc_strdup(rc, str_of(spelled));
	(void)rc_create(rc, R_CR, o->ns, revision_json(r, o, h->update, h->hash, last + 1, data));
}

static void use(struct rc *rc, const struct cobj *o, struct history *h, size_t i)
{
	struct cobj *rev = h->v[i];
	int64_t last = number_of(h->v[h->n - 1]);
	size_t own = strlen(o->name) + 1;
	struct str hash = label(rev, REVISION_LABEL);

	h->update = rev->name;
	h->hash = hash.n > 0		    ? rc_strdup(rc, hash)
		  : strlen(rev->name) > own ? rev->name + own
					    : rev->name;
	if (i + 1 < h->n && !deleting(o)) /* an old template again */
		(void)rc_patch(rc, R_CR, rev, NULL, json_pack("{s:I}", "revision", last + 1));
}

int history_sync(struct rc *rc, enum res r, const struct cobj *o, struct history *h)
{
	size_t cap = 1;
	json_t *data = data_of(o);

	rc_each(rc, R_CR, o->ns, it) cap++;
	*h = (struct history){.v = arena_alloc(&rc->arena, cap * sizeof(struct cobj *))};
	if (!data || !h->v) {
		json_decref(data);
		rc->again = true;
		return -1;
	}
	rc_each(rc, R_CR, o->ns, it)
	{
		if (controlled_by(it.obj, o) && !deleting(it.obj))
			h->v[h->n++] = it.obj;
	}
	qsort(h->v, h->n, sizeof(struct cobj *), by_number);
	for (size_t i = h->n; i-- > 0 && !h->update;)
		if (same_data(h->v[i], data))
			use(rc, o, h, i);
	if (!h->update)
		create(rc, r, o, h, data);
	json_decref(data);
	return 0;
}

struct cobj *history_find(const struct history *h, struct str name)
{
	for (size_t i = 0; i < h->n; i++)
		if (str_eqz(name, h->v[i]->name))
			return h->v[i];
	return NULL;
}

static bool in_use(const struct cobj *rev, const struct pods *pods, bool by_hash)
{
	struct str want = by_hash ? label(rev, REVISION_LABEL) : str_of(rev->name);

	for (size_t i = 0; i < pods->n; i++)
		if (str_eq(label(pods->v[i], REVISION_LABEL), want))
			return true;
	return false;
}

void history_trim(struct rc *rc, const struct cobj *o, const struct history *h,
	const struct pods *pods, struct str keep, bool by_hash)
{
	int64_t limit = jv_int(jv_path(o->v, "spec.revisionHistoryLimit"), 10), idle = 0;

	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < h->n; i++) {
			const struct cobj *rev = h->v[i];
			if (strcmp(rev->name, h->update) == 0 || str_eqz(keep, rev->name) ||
				in_use(rev, pods, by_hash))
				continue;
			if (pass == 0)
				idle++;
			else if (idle-- > limit)
				(void)rc_delete(rc, R_CR, rev);
		}
}

/* SPDX-License-Identifier: Apache-2.0
 * Conditions of CustomResourceDefinitions (NamesAccepted, Established, Terminating), and the end of
 * their objects when they are deleted. Level triggered: each look writes what is missing; the
 * cache's event of that write causes the next look. */
#include <errno.h>
#include "apiserver/crd.h"

#define APPROVED "api-approved.kubernetes.io"

struct look { /* one round */
	struct apiserver *s;
	struct crd_writes *writes;
	struct omap_snap *crds;
	struct cache_res *res;
	char now[21];
	bool again;
};

/* --- writing --- */

static void on_written(void *arg, const struct err *e, const struct store_txn_result *r)
{
	struct crd_writes *w = arg;
	(void)e; /* who was faster causes another look */
	(void)r;
	pthread_mutex_lock(&w->lock);
	if (--w->n == 0)
		pthread_cond_broadcast(&w->idle);
	pthread_mutex_unlock(&w->lock);
}

/* obj NULL: deletes o. */
static void put(struct look *l, const struct obj *o, json_t *obj, const struct type *t)
{
	AUTO_BUF struct buf b = {0};
	struct store *st = l->s->store;
	struct store_txn txn = {.key = store_val_key(o->val),
		.compare = true,
		.expect_mod_rev = obj_rv(o),
		.del = !obj};
	if (obj) {
		json_object_del(json_object_get(obj, "metadata"), "resourceVersion");
		api_encode_json(t, obj, &b);
		if (b.err)
			return;
		txn.value = buf_str(&b);
	}
	pthread_mutex_lock(&l->writes->lock);
	l->writes->n++;
	pthread_mutex_unlock(&l->writes->lock);
	st->ops->txn(st, &txn, on_written, l->writes);
}

/* --- conditions --- */

static json_t *conditions_of(json_t *crd)
{
	json_t *status = json_make(crd, "status"), *list = json_object_get(status, "conditions");
	if (!json_is_array(list)) {
		list = json_array();
		(void)json_object_set_new(status, "conditions", list);
	}
	return list;
}

static json_t *find_condition(json_t *crd, const char *type)
{
	size_t i;
	json_t *c;
	json_array_foreach (json_at(crd, "status.conditions"), i, c)
		if (strcmp(json_str(c, "type", ""), type) == 0)
			return c;
	return NULL;
}

static void set_condition(json_t *crd, const char *type, bool value, const char *reason,
	const char *message, const char *now)
{
	json_t *c = find_condition(crd, type);
	const char *status = value ? "True" : "False";
	if (!c) {
		c = json_pack("{s:s}", "type", type);
		(void)json_array_append_new(conditions_of(crd), c);
	}
	if (strcmp(json_str(c, "status", ""), status) != 0) {
		(void)json_object_set_new(c, "lastTransitionTime", json_string(now));
		(void)json_object_set_new(c, "status", json_string(status));
	}
	(void)json_object_set_new(c, "reason", json_string(reason));
	(void)json_object_set_new(c, "message", json_string(message));
}

/* --- names --- */

static bool list_has(struct jv list, struct str name)
{
	jv_each (it, list)
		if (str_eq(jv_raw_str(it.v), name))
			return true;
	return false;
}

/* Has another definition of the group this name, among resources or among kinds? */
static bool taken(struct look *l, const struct obj *self, struct str name, bool kind)
{
	struct str group = jv_raw_str(jv_path(jv_of(obj_bytes(self)), "spec.group"));
	struct omap_iter it;
	for (bool ok = omap_seek(l->crds, STR(""), &it); ok; ok = omap_next(l->crds, &it)) {
		struct jv v = jv_of(obj_bytes(it.value));
		struct jv have = jv_path(v, "status.acceptedNames");
		if (it.value == self || !str_eq(jv_raw_str(jv_path(v, "spec.group")), group))
			continue;
		bool hit = kind ? str_eq(jv_raw_str(jv_get(have, "kind")), name) ||
					   str_eq(jv_raw_str(jv_get(have, "listKind")), name)
				: str_eq(jv_raw_str(jv_get(have, "plural")), name) ||
					   str_eq(jv_raw_str(jv_get(have, "singular")), name) ||
					   list_has(jv_get(have, "shortNames"), name);
		if (hit)
			return true;
	}
	return false;
}

struct naming {
	const char *reason; /* NULL: no conflict yet */
	struct buf message;
};

static void conflict(struct naming *n, const char *reason, const char *name)
{
	if (n->reason && strcmp(n->reason, reason) != 0)
		return;
	buf_addf(&n->message, "%s\"%s\" is already in use", n->reason ? ", " : "", name);
	n->reason = reason;
}

static void accept_short_names(
	struct look *l, const struct obj *self, const json_t *want, json_t *names, struct naming *n)
{
	json_t *list = json_object_get(want, "shortNames"), *v;
	bool ok = true;
	size_t i;
	json_array_foreach (list, i, v) {
		if (!taken(l, self, str_of(json_string_value(v)), false))
			continue;
		conflict(n, "ShortNamesConflict", json_string_value(v));
		ok = false;
	}
	if (ok && list)
		(void)json_object_set(names, "shortNames", list);
	else if (ok)
		(void)json_object_del(names, "shortNames");
}

/* Takes over the names that are free; what is not stays as it was accepted before. */
static json_t *accept_names(struct look *l, const struct obj *self, json_t *crd, struct naming *n)
{
	static const struct {
		const char *member, *reason;
		bool kind;
	} rows[] = {{"plural", "PluralConflict", false}, {"singular", "SingularConflict", false},
		{"kind", "KindConflict", true}, {"listKind", "ListKindConflict", true}};
	const json_t *want = json_at(crd, "spec.names");
	json_t *names = json_deep_copy(json_at(crd, "status.acceptedNames"));
	names = names ? names : json_object();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *name = json_str(want, rows[i].member, "");
		if (i == 2)
			accept_short_names(l, self, want, names, n);
		if (*name && taken(l, self, str_of(name), rows[i].kind))
			conflict(n, rows[i].reason, name);
		else
			(void)json_object_set_new(names, rows[i].member, json_string(name));
	}
	json_t *categories = json_object_get(want, "categories");
	if (categories)
		(void)json_object_set(names, "categories", categories);
	else
		(void)json_object_del(names, "categories");
	return names;
}

static void approve(json_t *crd, const char *now)
{
	const char *note =
		json_string_value(json_object_get(json_at(crd, "metadata.annotations"), APPROVED));
	const char *group = json_str(crd, "spec.group", "");
	size_t n = strlen(group);
	bool ours = (n > 7 && strcmp(group + n - 7, ".k8s.io") == 0) ||
		    (n > 14 && strcmp(group + n - 14, ".kubernetes.io") == 0);
	if (!ours || !note)
		return;
	bool no = strncmp(note, "unapproved", 10) == 0;
	set_condition(crd, "KubernetesAPIApprovalPolicyConformant", !no,
		no ? "UnapprovedAnnotation" : "ApprovedAnnotation",
		no ? "not approved" : "approved", now);
}

/* Nothing to decide: accepted, established, and the names are those of the spec. */
static bool settled(struct jv v)
{
	unsigned good = 0;
	jv_each (it, jv_path(v, "status.conditions"))
		good += (jv_is_str(jv_get(it.v, "type"), "NamesAccepted") ||
				jv_is_str(jv_get(it.v, "type"), "Established")) &&
			jv_is_str(jv_get(it.v, "status"), "True");
	return good == 2 && str_eq(jv_bytes(jv_path(v, "spec.names")),
				    jv_bytes(jv_path(v, "status.acceptedNames")));
}

static void establish(struct look *l, const struct obj *o)
{
	AUTO_JSON json_t *was = NULL;
	if (settled(jv_of(obj_bytes(o))) || json_parse(obj_bytes(o), &was, NULL) < 0)
		return;
	AUTO_JSON json_t *crd = json_deep_copy(was);
	struct naming n = {0};
	json_t *names = crd ? accept_names(l, o, crd, &n) : NULL;
	if (!names)
		return;
	(void)json_put(crd, "status.acceptedNames", names);
	set_condition(crd, "NamesAccepted", !n.reason, n.reason ? n.reason : "NoConflicts",
		n.reason && n.message.p ? n.message.p : "no conflicts found", l->now);
	if (!n.reason)
		set_condition(crd, "Established", true, "InitialNamesAccepted",
			"the initial names have been accepted", l->now);
	else if (!find_condition(crd, "Established"))
		set_condition(crd, "Established", false, "NotAccepted",
			"not all names are accepted", l->now);
	approve(crd, l->now);
	buf_free(&n.message);
	if (!json_equal(was, crd))
		put(l, o, crd, l->res->kind->type);
}

/* --- the end --- */

void crd_mark_deleted(json_t *crd, int64_t now_ns)
{
	char now[21];
	if (json_at(crd, "metadata.deletionTimestamp"))
		return;
	json_t *list = json_at(crd, "metadata.finalizers"), *v;
	size_t i;
	if (!json_is_array(list)) {
		list = json_array();
		(void)json_put(crd, "metadata.finalizers", list);
	}
	json_array_foreach (list, i, v)
		if (strcmp(json_string_value(v) ? json_string_value(v) : "", CRD_FINALIZER) == 0)
			return;
	(void)json_array_append_new(list, json_string(CRD_FINALIZER));
	time_rfc3339(now_ns, now);
	set_condition(crd, "Terminating", true, "InstanceDeletionPending",
		"CustomResourceDefinition marked for deletion; CustomResource deletion will begin "
		"soon",
		now);
}

/* One object goes, or begins to go when finalizers hold it. */
static void end_object(struct look *l, struct definition *d, const struct obj *o)
{
	struct jv meta = jv_get(jv_of(obj_bytes(o)), "metadata");
	AUTO_JSON json_t *obj = NULL;
	if (jv_len(jv_get(meta, "finalizers")) == 0) {
		put(l, o, NULL, NULL);
		return;
	}
	if (jv_present(jv_get(meta, "deletionTimestamp")) || !d || !d->n_kinds ||
		json_parse(obj_bytes(o), &obj, NULL) < 0)
		return;
	(void)json_put(obj, "metadata.deletionTimestamp", json_string(l->now));
	(void)json_put(obj, "metadata.deletionGracePeriodSeconds", json_integer(0));
	(void)json_put(obj, "metadata.generation",
		json_integer(json_i64(obj, "metadata.generation", 0) + 1));
	put(l, o, obj, d->kinds[0].type);
}

/* Returns how many objects there still were. */
static size_t end_objects(struct look *l, const struct obj *crd)
{
	struct definition *d = NULL;
	size_t n = 0;
	struct jv v = jv_of(obj_bytes(crd));
	char *group = jv_strdup(jv_path(v, "spec.group"));
	char *plural = jv_strdup(jv_path(v, "spec.names.plural"));
	struct cache_res *res = group && plural ? cache_custom(l->s->cache, group, plural) : NULL;
	struct omap_snap *snap = res ? cache_snapshot(res, NULL) : NULL;
	struct omap_iter it;
	free(group);
	free(plural);
	if (!snap || definition_new(obj_bytes(crd), 0, &d, NULL) < 0)
		d = NULL;
	for (bool ok = snap && omap_seek(snap, STR(""), &it); ok; ok = omap_next(snap, &it)) {
		end_object(l, d, it.value);
		n++;
	}
	n += snap ? 0 : 1; /* out of memory: not known */
	omap_snap_free(snap);
	cache_res_unref(res);
	definition_unref(d);
	return n;
}

static void drop_finalizer(struct look *l, const struct obj *o, json_t *crd)
{
	json_t *list = json_at(crd, "metadata.finalizers");
	for (size_t i = json_array_size(list); i-- > 0;) {
		const char *z = json_string_value(json_array_get(list, i));
		if (z && strcmp(z, CRD_FINALIZER) == 0)
			(void)json_array_remove(list, i);
	}
	if (json_array_size(list) == 0) {
		put(l, o, NULL, NULL);
		return;
	}
	set_condition(crd, "Terminating", false, "InstanceDeletionCompleted",
		"removed all instances", l->now);
	put(l, o, crd, l->res->kind->type);
}

/* Pending -> in progress -> gone. The step between gives writes that were on their way when the
 * definition was deleted the time to arrive. */
static void terminate(struct look *l, const struct obj *o)
{
	AUTO_JSON json_t *crd = NULL;
	if (!list_has(jv_path(jv_of(obj_bytes(o)), "metadata.finalizers"), STR(CRD_FINALIZER)) ||
		json_parse(obj_bytes(o), &crd, NULL) < 0)
		return;
	json_t *c = find_condition(crd, "Terminating");
	bool begun = c && strcmp(json_str(c, "reason", ""), "InstanceDeletionInProgress") == 0;
	size_t left = end_objects(l, o);
	l->again = true;
	if (!begun) {
		set_condition(crd, "Terminating", true, "InstanceDeletionInProgress",
			"CustomResource deletion is in progress", l->now);
		put(l, o, crd, l->res->kind->type);
	} else if (left == 0) {
		drop_finalizer(l, o, crd);
	}
}

bool crd_reconcile(struct apiserver *s, struct crd_writes *w)
{
	const struct kind *k = kind_by_resource(
		STR("apiextensions.k8s.io"), STR("v1"), STR("customresourcedefinitions"));
	struct look l = {.s = s, .writes = w, .res = k ? cache_resource(s->cache, k) : NULL};
	struct omap_iter it;
	l.crds = l.res ? cache_snapshot(l.res, NULL) : NULL;
	if (!l.crds)
		return l.res != NULL;
	time_rfc3339(time_now(), l.now);
	for (bool ok = omap_seek(l.crds, STR(""), &it); ok; ok = omap_next(l.crds, &it)) {
		const struct obj *o = it.value;
		if (jv_present(jv_path(jv_of(obj_bytes(o)), "metadata.deletionTimestamp")))
			terminate(&l, o);
		else
			establish(&l, o);
	}
	omap_snap_free(l.crds);
	return l.again;
}

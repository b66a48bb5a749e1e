/* SPDX-License-Identifier: Apache-2.0
 * Eviction (policy/v1): a deletion that asks the pod disruption budgets first. */
#include "apiserver/internal.h"

#include <errno.h>

/* --- the budgets --- */

struct evict {
	json_t *body;
	char *budget; /* key of the one that must give a disruption; NULL: none */
};

static void evict_free(struct req *r)
{
	struct evict *v = r->state;
	if (!v)
		return;
	json_decref(v->body);
	free(v->budget);
	free(v);
	r->state = NULL;
}

static bool budget_matches(const struct obj *pdb, const struct obj *pod)
{
	AUTO_JSON json_t *j = NULL;
	struct label_selector *sel = NULL;
	struct jv s = jv_path(jv_of(obj_bytes(pdb)), "spec.selector");
	struct err e = {0};
	if (!jv_present(s) || json_parse(jv_bytes(s), &j, &e) < 0 ||
		label_selector_from_json(j, &sel, &e) < 0)
		return false;
	bool ok = label_selector_match(sel, pod->labels);
	label_selector_free(sel);
	return ok;
}

/* How many budgets cover the pod; the key of the first. */
static size_t budgets_of(struct req *r, const struct obj *pod, char **ret_key)
{
	struct omap_snap *s = r->srv->pdbs ? cache_snapshot(r->srv->pdbs, NULL) : NULL;
	char *prefix = arena_printf(&r->arena, "%.*s/", STR_FMT(r->rt.ns));
	struct str pre = str_of(prefix);
	struct omap_iter it;
	size_t n = 0;
	for (bool ok = s && omap_seek(s, pre, &it); ok; ok = omap_next(s, &it)) {
		if (it.key.n < pre.n || memcmp(it.key.p, pre.p, pre.n) != 0)
			break;
		if (budget_matches(it.value, pod) && n++ == 0)
			*ret_key = str_dup(it.key);
	}
	omap_snap_free(s);
	return n;
}

/* Pods that are not ready or not running disturb nothing. */
static bool needs_no_budget(const struct obj *pod)
{
	struct jv v = jv_of(obj_bytes(pod)), phase = jv_path(v, "status.phase");
	if (jv_present(jv_path(v, "metadata.deletionTimestamp")))
		return true;
	return jv_is_str(phase, "Succeeded") || jv_is_str(phase, "Failed") ||
	       jv_is_str(phase, "Pending");
}

static int refuse(struct req *r, const json_t *pdb, struct err *e)
{
	const char *name = json_str(pdb, "metadata.name", "");
	cause_add(&r->causes, "DisruptionBudget", "",
		"The disruption budget %s needs %lld healthy pods and has %lld currently", name,
		(long long)json_i64(pdb, "status.desiredHealthy", 0),
		(long long)json_i64(pdb, "status.currentHealthy", 0));
	return err_set(e, EBUSY, "TooManyRequests",
		"Cannot evict pod as it would violate the pod's disruption budget.");
}

/* Takes one disruption from the budget, and notes the pod until its deletion is seen. */
static int budget_compute(struct write *w, const json_t *old, json_t **ret, struct err *e)
{
	struct req *r = w->r;
	char when[21];
	if (!old)
		return -EALREADY;
	int64_t left = json_i64(old, "status.disruptionsAllowed", 0);
	r->causes.n = 0;
	if (json_i64(old, "status.observedGeneration", 0) <
		json_i64(old, "metadata.generation", 0)) {
		cause_add(&r->causes, "DisruptionBudget", "",
			"The disruption budget %s is still being processed by the server.",
			json_str(old, "metadata.name", ""));
		return err_set(e, EBUSY, "TooManyRequests",
			"Cannot evict pod as it would violate the pod's disruption budget.");
	}
	if (left <= 0)
		return refuse(r, old, e);
	json_t *pdb = json_deep_copy(old);
	if (!pdb)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	time_rfc3339(r->now_ns, when);
	char *pod = arena_strdup(&r->arena, r->rt.name);
	(void)json_put(pdb, "status.disruptionsAllowed", json_integer(left - 1));
	json_object_set_new(json_make(pdb, "status.disruptedPods"), pod, json_string(when));
	*ret = pdb;
	return 0;
}

static void evict_delete(struct req *r)
{
	struct evict *v = r->state;
	evict_run(r, json_object_get(v->body, "deleteOptions"));
}

static void budget_done(struct write *w, const struct err *e, const struct write_result *res)
{
	struct req *r = w->r;
	(void)res;
	if (!r->x)
		return;
	if (e)
		reply_error_kind(r, e, NULL, NULL);
	else
		evict_delete(r);
}

static void evict_fresh(struct req *r)
{
	struct evict *v = r->state;
	struct err e = {0};
	struct obj *pod = cache_get(r->srv->pods, req_key(r));
	if (!pod) {
		(void)not_found(r, &e, r->rt.kind, r->rt.name);
		reply_error(r, &e);
		return;
	}
	size_t n = needs_no_budget(pod) ? 0 : budgets_of(r, pod, &v->budget);
	obj_unref(pod);
	if (n > 1) {
		err_set(&e, EIO, "InternalError",
			"This pod has more than one PodDisruptionBudget, which the eviction "
			"subresource "
			"does not support.");
		reply_error_kind(r, &e, NULL, NULL);
	} else if (n == 0) {
		evict_delete(r);
	} else {
		struct write *w = write_new(r, r->srv->pdbs, str_of(v->budget));
		if (!w)
			return;
		w->compute = budget_compute;
		w->done = budget_done;
		write_run(w);
	}
}

void do_eviction(struct req *r)
{
	struct err e = {0};
	struct decode_opts o = {
		.media = r->body_media, .fields = r->fields, .warnings = &r->warnings};
	struct evict *v = calloc(1, sizeof(*v));
	if (!v) {
		err_set(&e, ENOMEM, "InternalError", "out of memory");
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	r->state = v;
	r->free_state = evict_free;
	const struct type *t = type_by_name("policy.v1.Eviction");
	if (!t || api_decode_type(t, "Eviction", "policy/v1", r->body, &o, &v->body, &e) < 0 ||
		check_subject(r, v->body, &e) < 0) {
		reply_error_kind(r, &e, NULL, NULL);
		return;
	}
	req_wait_fresh(r, r->srv->store->ops->rev(r->srv->store), evict_fresh);
}

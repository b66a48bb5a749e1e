/* SPDX-License-Identifier: Apache-2.0
 * Namespace deletion: everything in it, of every kind that the server knows, then the finalizer
 * "kubernetes". One run asks what is left and deletes it; the next one, when nothing was left,
 * finalizes. */
#include <errno.h>
#include "controllers/discovery.h"
#include "controllers/object.h"
#include "xebec/base/htab.h"

#define FINALIZER  "kubernetes"
#define FIRST_NS   (50 * NS_PER_MS)
#define SLOWEST_NS (2 * NS_PER_SEC)

struct pass { /* by uid of the namespace */
	bool asked;
	size_t left, errors;
	int64_t wait;
	uint64_t round; /* of discovery: one that began after the deletion */
};

static struct pass *pass_of(struct rc *rc, const char *uid)
{
	struct htab *t = *rc->state;

	if (!t)
		*rc->state = t = htab_new();
	if (!t)
		return NULL;
	struct pass *p = htab_get(t, str_of(uid));
	if (p)
		return p;
	p = calloc(1, sizeof(*p));
	if (p && htab_put(t, str_of(uid), p, NULL) < 0) {
		free(p);
		p = NULL;
	}
	return p;
}

static void passes_free(void *state)
{
	if (state)
		htab_free(state, free);
}

static void on_deleted(void *arg, const struct client_result *r)
{
	struct pass *p = arg;

	p->errors += r->e && r->e->code != -ENOENT && r->http_status != 405;
}

static void on_counted(void *arg, const struct client_result *r)
{
	struct pass *p = arg;

	if (r->e) {
		p->errors += r->e->code != -ENOENT && r->http_status != 405;
		return;
	}
	struct jv v = jv_of(r->body);
	p->left += jv_len(jv_get(v, "items")) +
		   (size_t)jv_int(jv_path(v, "metadata.remainingItemCount"), 0);
}

static const char *collection(struct rc *rc, const struct found *f, const char *ns)
{
	AUTO_BUF struct buf b = {0};

	resource_path(&f->r, ns, NULL, NULL, &b);
	return rc_strdup(rc, buf_str(&b));
}

static void ask_all(struct rc *rc, const char *ns, struct pass *p)
{
	bool first = true;

	p->asked = true;
	p->left = p->errors = 0;
	for (size_t i = 0; i < discovery_len(rc->discovery); i++) {
		const struct found *f = discovery_at(rc->discovery, i);
		if (!found_usable(f) || !f->r.namespaced || !f->can_delete_collection)
			continue;
		struct action *a = rc_send(rc, "DELETE", collection(rc, f, ns), NULL);
		if (!a)
			return;
		a->may_fail = true;
		a->done = on_deleted;
		a->arg = p;
	}
	for (size_t i = 0; i < discovery_len(rc->discovery); i++) {
		const struct found *f = discovery_at(rc->discovery, i);
		if (!found_usable(f) || !f->r.namespaced || !f->can_list || !f->can_delete)
			continue;
		struct action *a = rc_send(
			rc, "GET", rc_printf(rc, "%s?limit=1", collection(rc, f, ns)), NULL);
		if (!a)
			return;
		a->after_others = first;
		a->may_fail = true;
		a->done = on_counted;
		a->arg = p;
		first = false;
	}
}

static void finalize(struct rc *rc, const struct cobj *ns)
{
	json_t *o = rc_tree(rc, ns), *keep = json_array();

	jv_each (it, jv_path(ns->v, "spec.finalizers")) {
		struct str s = jv_raw_str(it.v);
		if (!str_eqz(s, FINALIZER))
			(void)json_array_append_new(keep, json_stringn(s.p, s.n));
	}
	(void)json_put(o, "spec.finalizers", keep);
	struct action *a = rc_update(rc, R_NS, ns, "finalize", o);
	if (a)
		a->res = -1; /* it may be gone at once */
}

static void reconcile(struct rc *rc, const char *none, const char *name)
{
	const struct cobj *ns = rc_get(rc, R_NS, none, name);

	if (!ns || !deleting(ns) || !has_finalizer(jv_path(ns->v, "spec.finalizers"), FINALIZER))
		return;
	struct pass *p = pass_of(rc, ns->uid);
	if (!p) {
		rc->again = true;
		return;
	}
	if (!p->round && rc->discovery)
		p->round = discovery_ask(rc->discovery);
	if (!discovery_ready(rc->discovery) || discovery_rounds(rc->discovery) < p->round) {
		rc_requeue(rc, FIRST_NS);
		return;
	}
	if (p->asked && p->left == 0 && p->errors == 0) {
		p->asked = false; /* should finalizing fail, look again */
		finalize(rc, ns);
		return;
	}
	ask_all(rc, name, p);
	p->wait = p->wait == 0 ? FIRST_NS : p->wait * 2 > SLOWEST_NS ? SLOWEST_NS : p->wait * 2;
	rc_requeue(rc, p->wait);
}

static void map_namespace(struct rc *rc, struct cobj *old, struct cobj *new)
{
	(void)old;
	if (new &&deleting(new))
		rc_key(rc, "", new->name);
}

const struct controller controller_namespace = {
	.component = "namespace-controller",
	.reconcile = reconcile,
	.watches = {{R_NS, map_namespace}},
	.fini = passes_free,
};

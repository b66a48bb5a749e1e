/* SPDX-License-Identifier: Apache-2.0
 * What every namespace has: the ServiceAccount "default" and the ConfigMap kube-root-ca.crt. */
#include "controllers/object.h"

#define ROOT_CA "kube-root-ca.crt"

static bool active(const struct cobj *ns)
{
	return ns && !deleting(ns) && !jv_is_str(jv_path(ns->v, "status.phase"), "Terminating");
}

static void reconcile_account(struct rc *rc, const char *ns, const char *name)
{
	if (!active(rc_get(rc, R_NS, ns, name)) || rc_get(rc, R_SA, name, "default"))
		return;
	(void)rc_create(rc, R_SA, name,
		json_pack("{s:s,s:s,s:{s:s,s:s}}", "apiVersion", "v1", "kind", "ServiceAccount",
			"metadata", "name", "default", "namespace", name));
}

static void reconcile_ca(struct rc *rc, const char *ns, const char *name)
{
	const struct cobj *cm = rc_get(rc, R_CM, name, ROOT_CA);
	struct str pem = rc->cfg->ca_pem;

	if (!active(rc_get(rc, R_NS, ns, name)) || pem.n == 0)
		return;
	json_t *data = json_pack("{s:s%}", "ca.crt", pem.p, pem.n);
	if (!cm) {
		(void)rc_create(rc, R_CM, name,
			json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:o}", "apiVersion", "v1", "kind",
				"ConfigMap", "metadata", "name", ROOT_CA, "namespace", name,
				"annotations", "kubernetes.io/description",
				"Contains a CA bundle that can be used to verify the API server.",
				"data", data));
		return;
	}
	json_t *have = NULL;
	struct jv v = jv_get(cm->v, "data");
	bool same = jv_present(v) && json_parse(jv_bytes(v), &have, NULL) == 0 &&
		    json_equal(have, data);
	json_decref(have);
	json_t *o = same ? NULL : rc_tree(rc, cm);
	if (o) {
		(void)json_object_set(o, "data", data);
		(void)rc_update(rc, R_CM, cm, NULL, o);
	}
	json_decref(data);
}

static void map_account(struct rc *rc, struct cobj *old, struct cobj *new)
{
	if (!new &&strcmp(old->name, "default") == 0)
		rc_key(rc, "", old->ns);
}

static void map_ca(struct rc *rc, struct cobj *old, struct cobj *new)
{
	const struct cobj *o = new ? new : old;

	if (strcmp(o->name, ROOT_CA) == 0)
		rc_key(rc, "", o->ns);
}

const struct controller controller_serviceaccount = {
	.component = "serviceaccount-controller",
	.reconcile = reconcile_account,
	.watches = {{R_NS, map_self}, {R_SA, map_account}},
};
const struct controller controller_root_ca = {
	.component = "root-ca-certificate-publisher-controller",
	.reconcile = reconcile_ca,
	.watches = {{R_NS, map_self}, {R_CM, map_ca}},
};

/* SPDX-License-Identifier: Apache-2.0
 * What every namespace has: the ServiceAccount "default" and the ConfigMap kube-root-ca.crt; where
 * there are pods also openshift-service-ca.crt, which the token volume of every pod mounts. */
#include "controllers/object.h"

#define ROOT_CA	   "kube-root-ca.crt"
#define SERVICE_CA "openshift-service-ca.crt"

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

/* A ConfigMap with the cluster's certificate under one key: created, and put right when changed. */
static void publish(struct rc *rc, const char *ns, const char *config_map, const char *key,
	const char *description)
{
	const struct cobj *cm = rc_get(rc, R_CM, ns, config_map);
	struct str pem = rc->cfg->ca_pem;

	if (!active(rc_get(rc, R_NS, "", ns)) || pem.n == 0)
		return;
	json_t *data = json_pack("{s:s%}", key, pem.p, pem.n);
	if (!cm) {
		(void)rc_create(rc, R_CM, ns,
			json_pack("{s:s,s:s,s:{s:s,s:s,s:{s:s}},s:o}", "apiVersion", "v1", "kind",
				"ConfigMap", "metadata", "name", config_map, "namespace", ns,
				"annotations", "kubernetes.io/description", description, "data",
				data));
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

static void reconcile_ca(struct rc *rc, const char *ns, const char *name)
{
	(void)ns;
	publish(rc, name, ROOT_CA, "ca.crt",
		"Contains a CA bundle that can be used to verify the API server.");
}

static void reconcile_service_ca(struct rc *rc, const char *ns, const char *name)
{
	struct informer_iter pods = {0};

	(void)ns;
	if (rc_next(rc, R_POD, name, &pods))
		publish(rc, name, SERVICE_CA, "service-ca.crt",
			"Contains a CA bundle that can be used to verify services' certificates.");
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

static void map_service_ca(struct rc *rc, struct cobj *old, struct cobj *new)
{
	const struct cobj *o = new ? new : old;

	if (strcmp(o->name, SERVICE_CA) == 0)
		rc_key(rc, "", o->ns);
}

/* The first pod of a namespace asks for it; later ones find it there. */
static void map_pod(struct rc *rc, struct cobj *old, struct cobj *new)
{
	if (!old && !rc_get(rc, R_CM, new->ns, SERVICE_CA))
		rc_key(rc, "", new->ns);
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
const struct controller controller_service_ca = {
	.component = "service-ca-certificate-publisher-controller",
	.reconcile = reconcile_service_ca,
	.watches = {{R_NS, map_self}, {R_POD, map_pod}, {R_CM, map_service_ca}},
};

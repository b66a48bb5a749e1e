/* SPDX-License-Identifier: Apache-2.0
 * Admission: two tables of small functions, run in order on every write. */
#include "apiserver/internal.h"

#include <errno.h>
#include "xebec/base/tls.h"

#define TOKEN_PATH    "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_SECONDS 3607 /* what kube-apiserver gives projected tokens */
#define EVICT_SECONDS 300

/* --- NamespaceLifecycle --- */

static int ns_lifecycle(struct req *r, json_t *obj, const json_t *old, struct err *e)
{
	if (old || !r->rt.ns.n || !r->rt.kind->namespaced)
		return 0;
	struct obj *ns = cache_get(r->srv->namespaces, r->rt.ns);
	if (!ns) {
		r->rt.kind = r->srv->namespaces->kind;
		r->rt.name = r->rt.ns;
		err_set(e, ENOENT, "NotFound", "namespaces \"%.*s\" not found", STR_FMT(r->rt.ns));
		return e->code;
	}
	struct jv v = jv_of(obj_bytes(ns));
	bool dying = jv_is_str(jv_path(v, "status.phase"), "Terminating") ||
		     jv_present(jv_path(v, "metadata.deletionTimestamp"));
	obj_unref(ns);
	if (!dying)
		return 0;
	cause_add(&r->causes, "NamespaceTerminating", "metadata.namespace",
		"namespace %.*s is being terminated", STR_FMT(r->rt.ns));
	return err_set(e, EPERM, "Forbidden",
		"%s \"%s\" is forbidden: unable to create new content in namespace %.*s because it "
		"is "
		"being terminated",
		qualified(r, r->rt.kind), json_str(obj, "metadata.name", ""), STR_FMT(r->rt.ns));
}

/* --- ServiceAccount --- */

static bool mounts_token(const json_t *container)
{
	size_t i;
	const json_t *m;
	json_array_foreach (json_object_get(container, "volumeMounts"), i, m) {
		if (strcmp(json_str(m, "mountPath", ""), TOKEN_PATH) == 0)
			return true;
	}
	return false;
}

static int mount_in(json_t *containers, const char *volume, bool *used)
{
	size_t i;
	json_t *c;
	json_array_foreach (containers, i, c) {
		if (mounts_token(c))
			continue;
		json_t *list = json_object_get(c, "volumeMounts");
		if (!list) {
			list = json_array();
			if (json_object_set_new(c, "volumeMounts", list) < 0)
				return -ENOMEM;
		}
		json_t *m = json_pack(
			"{s:s,s:b,s:s}", "name", volume, "readOnly", 1, "mountPath", TOKEN_PATH);
		if (!m || json_array_append_new(list, m) < 0)
			return -ENOMEM;
		*used = true;
	}
	return 0;
}

static json_t *one_key(const char *config_map, const char *key)
{
	return json_pack("{s:{s:s,s:[{s:s,s:s}]}}", "configMap", "name", config_map, "items", "key",
		key, "path", key);
}

/* The token, both certificate bundles (published by the controllers) and the namespace. */
static json_t *token_volume(const char *name)
{
	return json_pack("{s:s,s:{s:[{s:{s:i,s:s}},o,{s:{s:[{s:s,s:{s:s,s:s}}]}},o],s:i}}", "name",
		name, "projected", "sources", "serviceAccountToken", "expirationSeconds",
		TOKEN_SECONDS, "path", "token", one_key("kube-root-ca.crt", "ca.crt"),
		"downwardAPI", "items", "path", "namespace", "fieldRef", "apiVersion", "v1",
		"fieldPath", "metadata.namespace",
		one_key("openshift-service-ca.crt", "service-ca.crt"), "defaultMode", 0644);
}

static int mount_token(json_t *spec)
{
	static const char alphabet[] = "bcdfghjklmnpqrstvwxz2456789";
	char name[] = "kube-api-access-xxxxx";
	unsigned char rnd[5];
	bool used = false;
	random_bytes(rnd, sizeof(rnd));
	for (size_t i = 0; i < sizeof(rnd); i++)
		name[sizeof(name) - 6 + i] = alphabet[rnd[i] % (sizeof(alphabet) - 1)];
	if (mount_in(json_object_get(spec, "initContainers"), name, &used) < 0 ||
		mount_in(json_object_get(spec, "containers"), name, &used) < 0)
		return -ENOMEM;
	if (!used)
		return 0;
	json_t *vols = json_object_get(spec, "volumes");
	if (!vols) {
		vols = json_array();
		if (json_object_set_new(spec, "volumes", vols) < 0)
			return -ENOMEM;
	}
	json_t *v = token_volume(name);
	return v && json_array_append_new(vols, v) == 0 ? 0 : -ENOMEM;
}

static struct obj *service_account(struct req *r, const char *name)
{
	char *key = arena_printf(&r->arena, "%.*s/%s", STR_FMT(r->rt.ns), name);
	return cache_get(r->srv->serviceaccounts, str_of(key));
}

static int pod_service_account(struct req *r, json_t *pod, const json_t *old, struct err *e)
{
	json_t *spec = json_object_get(pod, "spec");
	if (old || !spec || !r->srv->serviceaccounts ||
		json_object_get(
			json_at(pod, "metadata.annotations"), "kubernetes.io/config.mirror"))
		return 0;
	const char *name = json_str(spec, "serviceAccountName", "");
	name = *name ? name : json_str(spec, "serviceAccount", "");
	name = arena_strdup(&r->arena, str_of(*name ? name : "default"));
	json_object_set_new(spec, "serviceAccountName", json_string(name));
	json_object_set_new(spec, "serviceAccount", json_string(name));
	struct obj *sa = service_account(r, name);
	if (!sa)
		return err_set(e, EPERM, "Forbidden",
			"pods \"%s\" is forbidden: error looking up service account %.*s/%s: "
			"serviceaccount \"%s\" not found",
			json_str(pod, "metadata.name", ""), STR_FMT(r->rt.ns), name, name);
	struct jv v = jv_of(obj_bytes(sa));
	bool mount = jv_bool(jv_get(v, "automountServiceAccountToken"), true);
	struct jv secrets = jv_get(v, "imagePullSecrets");
	if (jv_len(secrets) && !json_array_size(json_object_get(spec, "imagePullSecrets"))) {
		json_t *s = NULL;
		if (json_parse(jv_bytes(secrets), &s, e) == 0)
			json_object_set_new(spec, "imagePullSecrets", s);
	}
	obj_unref(sa);
	mount = json_flag(spec, "automountServiceAccountToken", mount);
	if (mount && mount_token(spec) < 0)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	return 0;
}

/* --- Priority --- */

static const struct {
	const char *name;
	int64_t value;
} system_priorities[] = {
	{"system-cluster-critical", 2000000000}, {"system-node-critical", 2000001000}};

static struct obj *priority_class(struct req *r, const char *name)
{
	const struct kind *k =
		kind_by_resource(STR("scheduling.k8s.io"), STR("v1"), STR("priorityclasses"));
	struct cache_res *res = k ? cache_resource(r->srv->cache, k) : NULL;
	if (!res)
		return NULL;
	if (*name)
		return cache_get(res, str_of(name));
	/* no name: the global default with the highest value */
	struct omap_snap *s = cache_snapshot(res, NULL);
	struct obj *best = NULL;
	struct omap_iter it;
	for (bool ok = s && omap_seek(s, STR(""), &it); ok; ok = omap_next(s, &it)) {
		struct jv v = jv_of(obj_bytes(it.value));
		if (!jv_bool(jv_get(v, "globalDefault"), false))
			continue;
		if (!best || jv_int(jv_get(v, "value"), 0) >
				     jv_int(jv_get(jv_of(obj_bytes(best)), "value"), 0))
			best = it.value;
	}
	if (best)
		obj_ref(best);
	omap_snap_free(s);
	return best;
}

static int pod_priority(struct req *r, json_t *pod, const json_t *old, struct err *e)
{
	json_t *spec = json_object_get(pod, "spec");
	if (old || !spec)
		return 0;
	const char *name = json_str(spec, "priorityClassName", "");
	struct obj *pc = priority_class(r, name);
	int64_t value = 0;
	AUTO_FREE char *policy = NULL;
	bool known = !*name;
	for (size_t i = 0; i < ARRAY_LEN(system_priorities); i++)
		if (strcmp(name, system_priorities[i].name) == 0) {
			value = system_priorities[i].value;
			known = true;
		}
	if (pc) {
		struct jv v = jv_of(obj_bytes(pc));
		struct jv p = jv_get(v, "preemptionPolicy");
		value = jv_int(jv_get(v, "value"), 0);
		policy = jv_present(p) ? jv_strdup(p) : NULL;
		known = true;
		struct str n = obj_name(pc);
		if (!*name)
			json_object_set_new(spec, "priorityClassName", json_stringn(n.p, n.n));
		obj_unref(pc);
	}
	if (!known)
		return err_set(e, EPERM, "Forbidden",
			"pods \"%s\" is forbidden: no PriorityClass with name %s was found",
			json_str(pod, "metadata.name", ""), name);
	json_object_set_new(spec, "priority", json_integer(value));
	if (!json_object_get(spec, "preemptionPolicy"))
		json_object_set_new(spec, "preemptionPolicy",
			json_string(policy ? policy : "PreemptLowerPriority"));
	return 0;
}

/* --- DefaultTolerationSeconds --- */

static bool tolerates(const json_t *list, const char *key)
{
	size_t i;
	const json_t *t;
	json_array_foreach (list, i, t) {
		const char *k = json_str(t, "key", ""), *effect = json_str(t, "effect", "");
		if ((strcmp(k, key) == 0 || !*k) && (strcmp(effect, "NoExecute") == 0 || !*effect))
			return true;
	}
	return false;
}

static int pod_tolerations(struct req *r, json_t *pod, const json_t *old, struct err *e)
{
	static const char *const keys[] = {
		"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"};
	json_t *spec = json_object_get(pod, "spec");
	(void)r;
	(void)e;
	if (old || !spec)
		return 0;
	json_t *list = json_object_get(spec, "tolerations");
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		if (tolerates(list, keys[i]))
			continue;
		if (!list) {
			list = json_array();
			json_object_set_new(spec, "tolerations", list);
		}
		json_array_append_new(
			list, json_pack("{s:s,s:s,s:s,s:i}", "key", keys[i], "operator", "Exists",
				      "effect", "NoExecute", "tolerationSeconds", EVICT_SECONDS));
	}
	return 0;
}

/* --- Namespaces carry their name as a label --- */

static int ns_label(struct req *r, json_t *obj, const json_t *old, struct err *e)
{
	(void)r;
	(void)old;
	const char *name = json_str(obj, "metadata.name", "");
	json_t *labels = json_make(obj, "metadata.labels");
	if (*name && labels &&
		json_object_set_new(labels, "kubernetes.io/metadata.name", json_string(name)) < 0)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	return 0;
}

/* --- Nodes begin untrusted: the node controller takes the taint away when they are ready --- */

static int node_taint(struct req *r, json_t *node, const json_t *old, struct err *e)
{
	static const char key[] = "node.kubernetes.io/not-ready";
	json_t *spec = json_make(node, "spec"), *list = json_object_get(spec, "taints"), *t;
	size_t i;
	(void)r;
	if (old || !spec)
		return 0;
	json_array_foreach (list, i, t) {
		if (strcmp(json_str(t, "key", ""), key) == 0 &&
			strcmp(json_str(t, "effect", ""), "NoSchedule") == 0)
			return 0;
	}
	if (!list) {
		list = json_array();
		json_object_set_new(spec, "taints", list);
	}
	t = json_pack("{s:s,s:s}", "key", key, "effect", "NoSchedule");
	return json_array_append_new(list, t) == 0
		       ? 0
		       : err_set(e, ENOMEM, "InternalError", "out of memory");
}

/* --- the chains --- */

typedef int mutate_fn(struct req *r, json_t *obj, const json_t *old, struct err *e);
static const struct {
	const char *group, *plural; /* NULL: every kind */
	mutate_fn *fn;
} mutating[] = {
	{NULL, NULL, ns_lifecycle},
	{"", "namespaces", ns_label},
	{"", "nodes", node_taint},
	{"", "pods", pod_service_account},
	{"", "pods", pod_priority},
	{"", "pods", pod_tolerations},
};

int admit_mutate(struct req *r, json_t *obj, const json_t *old, struct err *e)
{
	const struct kind *k = r->rt.kind;
	if (r->rt.sub.n) /* the chain speaks of whole objects */
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(mutating); i++) {
		if (mutating[i].plural && (strcmp(mutating[i].group, k->group) != 0 ||
						  strcmp(mutating[i].plural, k->plural) != 0))
			continue;
		int rc = mutating[i].fn(r, obj, old, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Nodes may only write about themselves (NodeRestriction, the part that matters for identity). */
static int node_restriction(struct req *r, const json_t *obj, const json_t *old, struct err *e)
{
	(void)old;
	const char prefix[] = "system:node:";
	if (strncmp(r->user.name, prefix, sizeof(prefix) - 1) != 0)
		return 0;
	const char *node = r->user.name + sizeof(prefix) - 1;
	const char *name = json_str(obj, "metadata.name", "");
	if (strcmp(r->rt.kind->kind, "Node") == 0 && strcmp(name, node) != 0)
		return err_set(e, EPERM, "Forbidden",
			"nodes \"%s\" is forbidden: node \"%s\" is not allowed to modify node "
			"\"%s\"",
			name, node, name);
	return 0;
}

typedef int validate_fn(struct req *r, const json_t *obj, const json_t *old, struct err *e);
static validate_fn *const validating[] = {node_restriction};

int admit_validate(struct req *r, const json_t *obj, const json_t *old, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(validating); i++) {
		int rc = validating[i](r, obj, old, e);
		if (rc < 0)
			return rc;
	}
	return 0;
}

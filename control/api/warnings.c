/* SPDX-License-Identifier: Apache-2.0
 * Advice on objects that are valid but surely not meant so; it goes out as Warning headers. */
#include "api/rules.h"

static void service(const json_t *obj, struct causes *w)
{
	const json_t *spec = jget(obj, "spec");
	if (jhas(spec, "externalName") && strcmp(jstr(spec, "type"), "ExternalName") != 0)
		cause_add(w, "", "",
			"spec.externalName is ignored when spec.type is not \"ExternalName\"");
}

static void ingress(const json_t *obj, struct causes *w)
{
	if (jget(jget(jget(obj, "metadata"), "annotations"), "kubernetes.io/ingress.class"))
		cause_add(w, "", "",
			"annotation \"kubernetes.io/ingress.class\" is deprecated, please use "
			"'spec.ingressClassName' instead");
}

static void service_account(const json_t *obj, struct causes *w)
{
	if (jget(jget(jget(obj, "metadata"), "annotations"),
		    "kubernetes.io/enforce-mountable-secrets"))
		cause_add(w, "", "",
			"metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated "
			"in "
			"v1.32+; prefer separate namespaces to isolate access to mounted secrets");
}

/* A later definition of a name wins silently. */
static void env(const struct fpath *p, const json_t *list, struct causes *w)
{
	for (size_t i = 1; i < json_array_size(list); i++) {
		const json_t *name = jget(json_array_get(list, i), "name");
		for (size_t j = 0; j < i; j++) {
			AUTO_BUF struct buf b = {0};
			if (!json_equal(jget(json_array_get(list, j), "name"), name))
				continue;
			fpath_write(P_INDEX(p, i), &b);
			cause_add(w, "", "",
				"%s: hides previous definition of \"%s\", which may be dropped "
				"when "
				"using apply",
				b.p, json_string_value(name));
			break;
		}
	}
}

static void pod_spec(const struct fpath *p, const json_t *spec, struct causes *w)
{
	static const char *const lists[] = {"initContainers", "containers"};
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		const json_t *list = jget(spec, lists[l]);
		for (size_t i = 0; i < json_array_size(list); i++)
			env(P_NAME(P_INDEX(P_NAME(p, lists[l]), i), "env"),
				jget(json_array_get(list, i), "env"), w);
	}
}

static void pod(const json_t *obj, struct causes *w)
{
	pod_spec(P_NAME(NULL, "spec"), jget(obj, "spec"), w);
}

static void workload(const json_t *obj, struct causes *w)
{
	pod_spec(P_NAME(P_NAME(P_NAME(NULL, "spec"), "template"), "spec"),
		jget(jget(jget(obj, "spec"), "template"), "spec"), w);
}

static const struct {
	const char *group, *kind;
	void (*advise)(const json_t *obj, struct causes *w);
} rows[] = {{"", "Service", service}, {"networking.k8s.io", "Ingress", ingress},
	{"", "ServiceAccount", service_account}, {"", "Pod", pod}, {"apps", "Deployment", workload},
	{"apps", "ReplicaSet", workload}, {"apps", "StatefulSet", workload},
	{"apps", "DaemonSet", workload}, {"batch", "Job", workload}};

void api_warnings(const struct kind *k, const json_t *obj, struct causes *w)
{
	size_t before = w->n;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(rows[i].kind, k->kind) == 0 && strcmp(rows[i].group, k->group) == 0)
			rows[i].advise(obj, w);
	/* a write that is tried again says it once */
	for (size_t i = before; i < w->n; i++)
		for (size_t j = 0; j < before; j++)
			if (strcmp(w->v[i].message, w->v[j].message) == 0) {
				w->n = before;
				return;
			}
}

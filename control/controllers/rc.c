/* SPDX-License-Identifier: Apache-2.0
 * The reconcile context: reading caches, collecting actions. */
#include <stdarg.h>
#include "controllers/object.h"
#include "controllers/rc.h"

const struct resource res_table[R_COUNT] = {
	[R_POD] = {"", "v1", "pods", "Pod", true},
	[R_RS] = {"apps", "v1", "replicasets", "ReplicaSet", true},
	[R_DEPLOY] = {"apps", "v1", "deployments", "Deployment", true},
	[R_SVC] = {"", "v1", "services", "Service", true},
	[R_EP] = {"", "v1", "endpoints", "Endpoints", true},
	[R_EPS] = {"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true},
	[R_NODE] = {"", "v1", "nodes", "Node", false},
	[R_LEASE] = {"coordination.k8s.io", "v1", "leases", "Lease", true},
	[R_NS] = {"", "v1", "namespaces", "Namespace", false},
	[R_SA] = {"", "v1", "serviceaccounts", "ServiceAccount", true},
	[R_CM] = {"", "v1", "configmaps", "ConfigMap", true},
	[R_DS] = {"apps", "v1", "daemonsets", "DaemonSet", true},
	[R_STS] = {"apps", "v1", "statefulsets", "StatefulSet", true},
	[R_CR] = {"apps", "v1", "controllerrevisions", "ControllerRevision", true},
	[R_PVC] = {"", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", true},
	[R_JOB] = {"batch", "v1", "jobs", "Job", true},
	[R_CRON] = {"batch", "v1", "cronjobs", "CronJob", true},
	[R_PDB] = {"policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", true},
	[R_HPA] = {"autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler",
		true},
	[R_PV] = {"", "v1", "persistentvolumes", "PersistentVolume", false},
	[R_SC] = {"storage.k8s.io", "v1", "storageclasses", "StorageClass", false},
	[R_RC] = {"", "v1", "replicationcontrollers", "ReplicationController", true},
	[R_QUOTA] = {"", "v1", "resourcequotas", "ResourceQuota", true},
	[R_CSR] = {"certificates.k8s.io", "v1", "certificatesigningrequests",
		"CertificateSigningRequest", false},
	[R_CLUSTERROLE] = {"rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false},
};

struct rc_selector {
	struct rc_selector *next;
	struct label_selector *sel;
};

void rc_init(struct rc *rc, struct cache *cache, const struct controllers_config *cfg, int64_t now)
{
	*rc = (struct rc){.cache = cache, .cfg = cfg, .now = now};
	rc->tail = &rc->actions;
}

void rc_fini(struct rc *rc)
{
	for (struct rc_selector *s = rc->selectors; s; s = s->next)
		label_selector_free(s->sel);
	arena_free(&rc->arena);
	*rc = (struct rc){0};
}

void rc_key(struct rc *rc, const char *ns, const char *name)
{
	char key[600];

	(void)snprintf(key, sizeof(key), "%s/%s", ns, name);
	rc->add_key(rc->add_arg, key);
}

void map_self(struct rc *rc, struct cobj *old, struct cobj *new)
{
	const struct cobj *o = new ? new : old;

	rc_key(rc, o->ns, o->name);
}

struct cobj *rc_get(struct rc *rc, enum res r, const char *ns, const char *name)
{
	return rc->cache->get(rc->cache, r, ns, name);
}

bool rc_next(struct rc *rc, enum res r, const char *ns, struct informer_iter *it)
{
	return rc->cache->next(rc->cache, r, ns, it);
}

static const char *arena_vprintf(struct rc *rc, const char *fmt, va_list ap)
{
	va_list again;

	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	char *p = n < 0 ? NULL : arena_alloc(&rc->arena, (size_t)n + 1);
	if (p)
		(void)vsnprintf(p, (size_t)n + 1, fmt, ap);
	else
		rc->again = true;
	return p ? p : "";
}

const char *rc_printf(struct rc *rc, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	const char *p = arena_vprintf(rc, fmt, ap);
	va_end(ap);
	return p;
}

const char *rc_strdup(struct rc *rc, struct str s)
{
	const char *p = arena_strdup(&rc->arena, s);

	rc->again |= !p;
	return p ? p : "";
}

const char *rc_time(struct rc *rc, int64_t ns)
{
	char buf[21];

	time_rfc3339(ns, buf);
	return rc_strdup(rc, str_of(buf));
}

static const struct label_selector *selector_of(struct rc *rc, const json_t *j)
{
	struct rc_selector *s = arena_alloc(&rc->arena, sizeof(*s));

	if (!s || !j || label_selector_from_json(j, &s->sel, NULL) < 0)
		return NULL;
	s->next = rc->selectors;
	rc->selectors = s;
	return s->sel;
}

const struct label_selector *rc_selector(struct rc *rc, struct jv v)
{
	json_t *j = NULL;

	if (!jv_present(v) || json_parse(jv_bytes(v), &j, NULL) < 0)
		return NULL;
	const struct label_selector *s = selector_of(rc, j);
	json_decref(j);
	return s;
}

json_t *rc_tree(struct rc *rc, const struct cobj *o)
{
	json_t *j = NULL;

	if (json_parse(o->json, &j, NULL) < 0)
		rc->again = true;
	return j;
}

void rc_requeue(struct rc *rc, int64_t ns)
{
	if (ns < NS_PER_MS)
		ns = NS_PER_MS;
	if (rc->requeue == 0 || ns < rc->requeue)
		rc->requeue = ns;
}

static struct action *action_new(struct rc *rc, enum action_kind kind, int res)
{
	struct action *a = arena_alloc(&rc->arena, sizeof(*a));

	if (!a) {
		rc->again = true;
		return NULL;
	}
	a->kind = kind;
	a->res = res;
	a->resource = res >= 0 ? &res_table[res] : NULL;
	a->grace = -1;
	*rc->tail = a;
	rc->tail = &a->next;
	rc->n_actions++;
	return a;
}

static struct action *action_body(struct rc *rc, struct action *a, json_t *take)
{
	AUTO_BUF struct buf b = {0};

	if (take)
		json_write(take, &b);
	if (a && take)
		a->body = str_of(rc_strdup(rc, buf_str(&b)));
	rc->again |= b.err < 0;
	json_decref(take);
	return a;
}

struct action *rc_create(struct rc *rc, enum res r, const char *ns, json_t *take)
{
	struct action *a = action_new(rc, ACT_CREATE, r);

	if (a)
		a->ns = ns ? rc_strdup(rc, str_of(ns)) : NULL;
	return action_body(rc, a, take);
}

static struct action *action_on(
	struct rc *rc, enum action_kind kind, enum res r, const struct cobj *o, const char *sub)
{
	struct action *a = action_new(rc, kind, r);

	if (!a)
		return NULL;
	a->ns = res_table[r].namespaced ? rc_strdup(rc, str_of(o->ns)) : NULL;
	a->name = rc_strdup(rc, str_of(o->name));
	a->sub = sub;
	a->uid = rc_strdup(rc, str_of(o->uid));
	return a;
}

struct action *rc_update(
	struct rc *rc, enum res r, const struct cobj *o, const char *sub, json_t *take)
{
	return action_body(rc, action_on(rc, ACT_UPDATE, r, o, sub), take);
}

struct action *rc_patch(
	struct rc *rc, enum res r, const struct cobj *o, const char *sub, json_t *take)
{
	struct action *a = action_on(rc, ACT_PATCH, r, o, sub);

	if (a)
		a->patch = CLIENT_PATCH_MERGE;
	return action_body(rc, a, take);
}

struct action *rc_delete(struct rc *rc, enum res r, const struct cobj *o)
{
	return action_on(rc, ACT_DELETE, r, o, NULL);
}

struct action *rc_send(struct rc *rc, const char *method, const char *path, json_t *take)
{
	struct action *a = action_new(rc, ACT_SEND, -1);

	if (a) {
		a->method = method;
		a->path = rc_strdup(rc, str_of(path));
	}
	return action_body(rc, a, take);
}

static struct event_ref ref_of(struct rc *rc, enum res r, const struct cobj *o)
{
	const struct resource *k = &res_table[r];

	return (struct event_ref){
		.api_version = k->group[0] ? rc_printf(rc, "%s/%s", k->group, k->version) : "v1",
		.kind = k->kind,
		.ns = rc_strdup(rc, str_of(o->ns)),
		.name = rc_strdup(rc, str_of(o->name)),
		.uid = rc_strdup(rc, str_of(o->uid)),
		.rv = o->rv};
}

void rc_event(struct rc *rc, enum res r, const struct cobj *about, bool warning, const char *reason,
	const char *fmt, ...)
{
	struct action *a = action_new(rc, ACT_EVENT, -1);
	va_list ap;

	if (!a)
		return;
	va_start(ap, fmt);
	a->on_ok = (struct action_event){.about = ref_of(rc, r, about),
		.warning = warning,
		.reason = reason,
		.msg = arena_vprintf(rc, fmt, ap)};
	va_end(ap);
}

void on_ok(struct rc *rc, struct action *a, enum res r, const struct cobj *about,
	const char *reason, const char *fmt, ...)
{
	va_list ap;

	if (!a)
		return;
	va_start(ap, fmt);
	a->on_ok = (struct action_event){
		.about = ref_of(rc, r, about), .reason = reason, .msg = arena_vprintf(rc, fmt, ap)};
	/* "Created pod: " lacks the name that the server will choose */
	a->on_ok.add_name = a->kind == ACT_CREATE && a->on_ok.msg[0] &&
			    a->on_ok.msg[strlen(a->on_ok.msg) - 1] == ' ';
	va_end(ap);
}

void on_fail(struct rc *rc, struct action *a, enum res r, const struct cobj *about,
	const char *reason, const char *fmt, ...)
{
	va_list ap;

	if (!a)
		return;
	va_start(ap, fmt);
	a->on_fail = (struct action_event){.about = ref_of(rc, r, about),
		.warning = true,
		.reason = reason,
		.msg = arena_vprintf(rc, fmt, ap)};
	va_end(ap);
}

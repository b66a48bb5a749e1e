/* SPDX-License-Identifier: Apache-2.0
 * Advice on pod specs, alone and in templates: deprecated names and sources, definitions that hide
 * one another. */
#include "api/warnings.h"

void warn_at(struct causes *w, const struct fpath *p, const char *fmt, ...)
{
	AUTO_BUF struct buf b = {0};
	char text[512];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fpath_write(p, &b);
	cause_add(w, "", "", "%s: %s", b.p ? b.p : "", text);
}

void warn_node_label(struct causes *w, const struct fpath *p, const char *key)
{
	static const struct {
		const char *old, *since, *now;
	} rows[] = {{"beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"},
		{"beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"},
		{"failure-domain.beta.kubernetes.io/region", "v1.17",
			"topology.kubernetes.io/region"},
		{"failure-domain.beta.kubernetes.io/zone", "v1.17", "topology.kubernetes.io/zone"},
		{"beta.kubernetes.io/instance-type", "v1.17", "node.kubernetes.io/instance-type"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (strcmp(key, rows[i].old) == 0)
			warn_at(w, p, "deprecated since %s; use \"%s\" instead", rows[i].since,
				rows[i].now);
}

static void term(struct causes *w, const struct fpath *p, const json_t *t)
{
	const json_t *list = jget(t, "matchExpressions");
	const struct fpath *xp = P_NAME(p, "matchExpressions");
	for (size_t i = 0; i < json_array_size(list); i++)
		warn_node_label(
			w, P_NAME(P_INDEX(xp, i), "key"), jstr(json_array_get(list, i), "key"));
}

void warn_node_selector(struct causes *w, const struct fpath *p, const json_t *sel)
{
	const json_t *terms = jget(sel, "nodeSelectorTerms");
	const struct fpath *tp = P_NAME(p, "nodeSelectorTerms");
	for (size_t i = 0; i < json_array_size(terms); i++)
		term(w, P_INDEX(tp, i), json_array_get(terms, i));
}

static void placement(struct causes *w, const struct fpath *p, const json_t *spec)
{
	const json_t *node = jget(jget(spec, "affinity"), "nodeAffinity");
	const json_t *prefer = jget(node, "preferredDuringSchedulingIgnoredDuringExecution");
	const json_t *spread = jget(spec, "topologySpreadConstraints");
	const struct fpath *np = P_NAME(P_NAME(p, "affinity"), "nodeAffinity");
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)jget(spec, "nodeSelector"), key, v)
		warn_node_label(w, P_KEY(P_NAME(p, "nodeSelector"), key), key);
	warn_node_selector(w, P_NAME(np, "requiredDuringSchedulingIgnoredDuringExecution"),
		jget(node, "requiredDuringSchedulingIgnoredDuringExecution"));
	for (size_t i = 0; i < json_array_size(prefer); i++)
		term(w,
			P_NAME(P_INDEX(P_NAME(np,
					       "preferredDuringSchedulingIgnoredDuringExecution"),
				       i),
				"preference"),
			jget(json_array_get(prefer, i), "preference"));
	for (size_t i = 0; i < json_array_size(spread); i++) {
		const json_t *s = json_array_get(spread, i);
		const struct fpath *sp = P_INDEX(P_NAME(p, "topologySpreadConstraints"), i);
		warn_node_label(w, P_NAME(sp, "topologyKey"), jstr(s, "topologyKey"));
		if (!jget(s, "labelSelector"))
			warn_at(w, P_NAME(sp, "labelSelector"),
				"a null labelSelector results in matching no pod");
	}
}

static void lists(struct causes *w, const struct fpath *p, const json_t *spec)
{
	const json_t *aliases = jget(spec, "hostAliases"), *pull = jget(spec, "imagePullSecrets");
	const json_t *grace = jget(spec, "terminationGracePeriodSeconds");
	AUTO_JSON json_t *ips = json_object(), *names = json_object();
	for (size_t i = 0; i < json_array_size(aliases); i++)
		if (v_seen(ips, jstr(json_array_get(aliases, i), "ip"), i) < i)
			warn_at(w, P_NAME(P_INDEX(P_NAME(p, "hostAliases"), i), "ip"),
				"duplicate ip \"%s\"", jstr(json_array_get(aliases, i), "ip"));
	for (size_t i = 0; i < json_array_size(pull); i++) {
		const char *name = jstr(json_array_get(pull, i), "name");
		const struct fpath *np = P_NAME(P_INDEX(P_NAME(p, "imagePullSecrets"), i), "name");
		if (v_seen(names, name, i) < i)
			warn_at(w, np, "duplicate name \"%s\"", name);
		if (!*name)
			warn_at(w, np, "invalid empty name \"\"");
	}
	if (json_integer_value(grace) < 0)
		warn_at(w, P_NAME(p, "terminationGracePeriodSeconds"),
			"must be >= 0; negative values are invalid and will be treated as 1");
}

void warn_volume_source(struct causes *w, const struct fpath *p, const json_t *v)
{
	static const struct {
		const char *source, *text;
	} rows[] = {{"photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
		{"gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
		{"scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
		{"flocker", "deprecated in v1.22, non-functional in v1.25+"},
		{"storageos", "deprecated in v1.22, non-functional in v1.25+"},
		{"quobyte", "deprecated in v1.22, non-functional in v1.25+"},
		{"glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
		{"cephfs", "deprecated in v1.28, non-functional in v1.31+"},
		{"rbd", "deprecated in v1.28, non-functional in v1.31+"}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (jget(v, rows[i].source))
			warn_at(w, P_NAME(p, rows[i].source), "%s", rows[i].text);
}

/* A byte amount with thousandths. */
void warn_fraction(struct causes *w, const struct fpath *p, const json_t *amount)
{
	int64_t milli;
	if (jquantity(amount, &milli) == 0 && milli % 1000 != 0)
		warn_at(w, p, "fractional byte value \"%s\" is invalid, must be an integer",
			json_string_value(amount));
}

static void volumes(struct causes *w, const struct fpath *p, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *v = json_array_get(list, i);
		const json_t *claim =
			jget(jget(jget(v, "ephemeral"), "volumeClaimTemplate"), "spec");
		const struct fpath *vp = P_INDEX(p, i);
		warn_volume_source(w, vp, v);
		if (claim)
			warn_claim_spec(w,
				P_NAME(P_NAME(P_NAME(vp, "ephemeral"), "volumeClaimTemplate"),
					"spec"),
				claim);
	}
}

/* --- containers --- */

static bool refers(const json_t *e, const char *name)
{
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "$(%s)", name);
	return b.p && strstr(jstr(e, "value"), b.p);
}

/* A later definition of a name wins silently, unless it is made of the earlier one. */
static void env(struct causes *w, const struct fpath *p, const json_t *list)
{
	AUTO_JSON json_t *names = json_object();
	for (size_t i = 0; i < json_array_size(list) && !causes_full(w); i++) {
		const json_t *e = json_array_get(list, i);
		if (v_seen(names, jstr(e, "name"), i) < i && !refers(e, jstr(e, "name")))
			warn_at(w, P_INDEX(p, i),
				"hides previous definition of \"%s\", which may be dropped when "
				"using apply",
				jstr(e, "name"));
	}
}

static void ports(struct causes *w, const struct fpath *p, const json_t *list)
{
	AUTO_JSON json_t *seen = json_object();
	for (size_t i = 0; i < json_array_size(list) && !causes_full(w); i++) {
		const json_t *c = json_array_get(list, i);
		AUTO_BUF struct buf key = {0}, first = {0};
		buf_addf(&key, "%s %lld %lld %s", jstr(c, "protocol"),
			(long long)json_integer_value(jget(c, "containerPort")),
			(long long)json_integer_value(jget(c, "hostPort")), jstr(c, "hostIP"));
		size_t j = v_seen(seen, key.p, i);
		if (j == i)
			continue;
		fpath_write(P_INDEX(p, j), &first);
		warn_at(w, P_INDEX(p, i), "duplicate port definition with %s", first.p);
	}
}

static void resources(struct causes *w, const struct fpath *p, const json_t *res)
{
	static const char *const sides[] = {"limits", "requests"};
	static const char *const names[] = {"memory", "ephemeral-storage"};
	for (size_t s = 0; s < ARRAY_LEN(sides); s++)
		for (size_t n = 0; n < ARRAY_LEN(names); n++)
			warn_fraction(w, P_KEY(P_NAME(p, sides[s]), names[n]),
				jget(jget(res, sides[s]), names[n]));
}

static void containers(
	struct causes *w, const struct fpath *p, const json_t *spec, const json_t *annotations)
{
	static const char *const kinds[] = {"initContainers", "containers", "ephemeralContainers"};
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
		for (size_t i = 0; i < json_array_size(jget(spec, kinds[k])); i++) {
			const json_t *c = json_array_get(jget(spec, kinds[k]), i);
			const struct fpath *cp = P_INDEX(P_NAME(p, kinds[k]), i);
			AUTO_BUF struct buf key = {0};
			env(w, P_NAME(cp, "env"), jget(c, "env"));
			ports(w, P_NAME(cp, "ports"), jget(c, "ports"));
			resources(w, P_NAME(cp, "resources"), jget(c, "resources"));
			buf_addf(&key, "container.seccomp.security.alpha.kubernetes.io/%s",
				jstr(c, "name"));
			if (jget(annotations, key.p) &&
				!jget(jget(c, "securityContext"), "seccompProfile"))
				cause_add(w, "", "",
					"metadata.annotations[%s]: non-functional in v1.27+; use "
					"the \"seccompProfile\" field instead",
					key.p);
			buf_clear(&key);
			buf_addf(&key, "container.apparmor.security.beta.kubernetes.io/%s",
				jstr(c, "name"));
			if (jget(annotations, key.p) &&
				!jget(jget(c, "securityContext"), "appArmorProfile"))
				cause_add(w, "", "",
					"metadata.annotations[%s]: deprecated since v1.30; use the "
					"\"appArmorProfile\" field instead",
					key.p);
		}
}

static void annotations(
	struct causes *w, const struct fpath *p, const json_t *map, const json_t *spec)
{
	static const struct {
		const char *key, *text;
	} rows[] = {
		{"scheduler.alpha.kubernetes.io/critical-pod",
			"non-functional in v1.16+; use the \"priorityClassName\" field instead"},
		{"security.alpha.kubernetes.io/sysctls",
			"non-functional in v1.11+; use the \"sysctls\" field instead"},
		{"security.alpha.kubernetes.io/unsafe-sysctls",
			"non-functional in v1.11+; use the \"sysctls\" field instead"}};
	static const char seccomp[] = "seccomp.security.alpha.kubernetes.io/pod";
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (jget(map, rows[i].key))
			warn_at(w, P_KEY(p, rows[i].key), "%s", rows[i].text);
	if (jget(map, seccomp) && !jget(jget(spec, "securityContext"), "seccompProfile"))
		warn_at(w, P_KEY(p, seccomp),
			"non-functional in v1.27+; use the \"seccompProfile\" field instead");
}

void warn_pod(struct causes *w, const struct fpath *p, const json_t *pod)
{
	const json_t *spec = jget(pod, "spec");
	const json_t *notes = jget(jget(pod, "metadata"), "annotations");
	const struct fpath *sp = P_NAME(p, "spec");
	placement(w, sp, spec);
	annotations(w, P_NAME(P_NAME(p, "metadata"), "annotations"), notes, spec);
	lists(w, sp, spec);
	volumes(w, P_NAME(sp, "volumes"), jget(spec, "volumes"));
	containers(w, sp, spec, notes);
}

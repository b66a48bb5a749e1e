/* SPDX-License-Identifier: Apache-2.0
 * Pods: the PodSpec as a whole. */
#include "api/rules/pod.h"
#include "api/rules/registry.h"

static void check_dns(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const char *const policies[] = {
		"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None", NULL};
	const json_t *cfg = jget(spec, "dnsConfig"), *servers = jget(cfg, "nameservers");
	const json_t *searches = jget(cfg, "searches"), *options = jget(cfg, "options");
	const struct fpath *cp = P_NAME(p, "dnsConfig");
	(void)v_enum_required(c, P_NAME(p, "dnsPolicy"), jget(spec, "dnsPolicy"), policies);
	if (strcmp(jstr(spec, "dnsPolicy"), "None") == 0 && json_array_size(servers) == 0)
		v_required(c, P_NAME(cp, "nameservers"),
			"must provide at least one DNS nameserver when `dnsPolicy` is None");
	if (json_array_size(servers) > 3)
		v_invalid(c, P_NAME(cp, "nameservers"), servers,
			"must not have more than 3 nameservers");
	for (size_t i = 0; i < json_array_size(servers); i++)
		(void)v_format(c, P_INDEX(P_NAME(cp, "nameservers"), i),
			json_string_value(json_array_get(servers, i)), fmt_ip);
	if (json_array_size(searches) > 32)
		v_invalid(c, P_NAME(cp, "searches"), searches,
			"must not have more than 32 search paths");
	for (size_t i = 0; i < json_array_size(options); i++)
		if (!jhas(json_array_get(options, i), "name"))
			v_required(c, P_INDEX(P_NAME(cp, "options"), i), "must not be empty");
}

static void check_security(struct causes *c, const struct fpath *p, const json_t *sc)
{
	static const char *const ids[] = {"runAsUser", "runAsGroup", "fsGroup"};
	static const char *const policies[] = {"OnRootMismatch", "Always", NULL};
	const json_t *groups = jget(sc, "supplementalGroups"), *sysctls = jget(sc, "sysctls");
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		const json_t *v = jget(sc, ids[i]);
		if (v && (json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX))
			v_invalid(c, P_NAME(p, ids[i]), v,
				"must be between 0 and 2147483647, inclusive");
	}
	for (size_t i = 0; i < json_array_size(groups); i++) {
		const json_t *v = json_array_get(groups, i);
		if (json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
			v_invalid(c, P_INDEX(P_NAME(p, "supplementalGroups"), i), v,
				"must be between 0 and 2147483647, inclusive");
	}
	(void)v_enum(
		c, P_NAME(p, "fsGroupChangePolicy"), jget(sc, "fsGroupChangePolicy"), policies);
	for (size_t i = 0; i < json_array_size(sysctls); i++) {
		const char *name = jstr(json_array_get(sysctls, i), "name");
		const struct fpath *np = P_NAME(P_INDEX(P_NAME(p, "sysctls"), i), "name");
		if (!*name)
			v_required(c, np, "");
		else if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_./") != strlen(name) ||
			 strlen(name) > 253)
			v_invalid_str(c, np, name,
				"must have at most 253 characters and match regex "
				"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./"
				"])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
	}
}

static void check_host_aliases(struct causes *c, const struct fpath *p, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *a = json_array_get(list, i), *names = jget(a, "hostnames");
		const struct fpath *ap = P_INDEX(p, i);
		(void)v_format(c, P_NAME(ap, "ip"), jstr(a, "ip"), fmt_ip);
		for (size_t j = 0; j < json_array_size(names); j++)
			(void)v_format(c, P_INDEX(P_NAME(ap, "hostnames"), j),
				json_string_value(json_array_get(names, j)), fmt_dns1123_subdomain);
	}
}

/* Optional names: member, format. */
static void check_names(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const struct {
		const char *member;
		format_fn *format;
	} names[] = {{"serviceAccountName", fmt_dns1123_subdomain},
		{"nodeName", fmt_dns1123_subdomain}, {"hostname", fmt_dns1123_label},
		{"subdomain", fmt_dns1123_label}, {"priorityClassName", fmt_dns1123_subdomain},
		{"runtimeClassName", fmt_dns1123_subdomain}};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (jhas(spec, names[i].member))
			(void)v_format(c, P_NAME(p, names[i].member), jstr(spec, names[i].member),
				names[i].format);
}

static void check_gates(struct causes *c, const struct fpath *p, const json_t *spec)
{
	const json_t *ready = jget(spec, "readinessGates"), *gates = jget(spec, "schedulingGates");
	for (size_t i = 0; i < json_array_size(ready); i++)
		(void)v_format(c, P_NAME(P_INDEX(P_NAME(p, "readinessGates"), i), "conditionType"),
			jstr(json_array_get(ready, i), "conditionType"), fmt_qualified_name);
	AUTO_JSON json_t *names = json_object();
	for (size_t i = 0; i < json_array_size(gates) && !causes_full(c); i++) {
		const struct fpath *gp = P_INDEX(P_NAME(p, "schedulingGates"), i);
		const json_t *g = json_array_get(gates, i);
		(void)v_format(c, gp, jstr(g, "name"), fmt_qualified_name);
		if (v_seen(names, jstr(g, "name"), i) < i)
			v_duplicate(c, P_NAME(gp, "name"), jget(g, "name"));
	}
}

void v_pod_spec(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const char *const restart[] = {"Always", "OnFailure", "Never", NULL};
	static const char *const preempt[] = {"PreemptLowerPriority", "Never", NULL};
	const json_t *deadline = jget(spec, "activeDeadlineSeconds");
	v_volumes(c, P_NAME(p, "volumes"), jget(spec, "volumes"));
	v_containers(c, spec, p);
	v_pod_confine(c, p, spec);
	(void)v_enum_required(c, P_NAME(p, "restartPolicy"), jget(spec, "restartPolicy"), restart);
	check_dns(c, p, spec);
	v_labels(c, P_NAME(p, "nodeSelector"), jget(spec, "nodeSelector"));
	check_security(c, P_NAME(p, "securityContext"), jget(spec, "securityContext"));
	check_names(c, p, spec);
	check_host_aliases(c, P_NAME(p, "hostAliases"), jget(spec, "hostAliases"));
	v_affinity(c, P_NAME(p, "affinity"), jget(spec, "affinity"));
	v_tolerations(c, P_NAME(p, "tolerations"), jget(spec, "tolerations"));
	v_spread(
		c, P_NAME(p, "topologySpreadConstraints"), jget(spec, "topologySpreadConstraints"));
	check_gates(c, p, spec);
	(void)v_nonneg(c, P_NAME(p, "terminationGracePeriodSeconds"),
		jget(spec, "terminationGracePeriodSeconds"));
	(void)v_enum(c, P_NAME(p, "preemptionPolicy"), jget(spec, "preemptionPolicy"), preempt);
	if (deadline &&
		(json_integer_value(deadline) < 1 || json_integer_value(deadline) > INT32_MAX))
		v_invalid(c, P_NAME(p, "activeDeadlineSeconds"), deadline,
			"must be between 1 and 2147483647, inclusive");
	if (json_is_true(jget(spec, "shareProcessNamespace")) &&
		json_is_true(jget(spec, "hostPID")))
		v_invalid(c, P_NAME(p, "shareProcessNamespace"),
			jget(spec, "shareProcessNamespace"),
			"ShareProcessNamespace and HostPID cannot both be enabled");
}

void v_pod_template(struct causes *c, const struct fpath *p, const json_t *tmpl)
{
	const json_t *meta = jget(tmpl, "metadata");
	const struct fpath *sp = P_NAME(p, "spec");
	const json_t *eph = jget(jget(tmpl, "spec"), "ephemeralContainers");
	v_labels(c, P_NAME(P_NAME(p, "metadata"), "labels"), jget(meta, "labels"));
	v_pod_spec(c, sp, jget(tmpl, "spec"));
	if (json_array_size(eph))
		v_forbidden(c, P_NAME(sp, "ephemeralContainers"),
			"ephemeral containers not allowed in pod template");
}

static void validate(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *eph = jget(jget(obj, "spec"), "ephemeralContainers");
	if (!old) {
		v_pod_spec(c, P_NAME(NULL, "spec"), jget(obj, "spec"));
		if (json_array_size(eph))
			v_forbidden(c, P_NAME(P_NAME(NULL, "spec"), "ephemeralContainers"),
				"cannot be set on create");
	} else if (strcmp(sub, "ephemeralcontainers") == 0) {
		v_ephemeral_update(c, obj, old);
	} else if (!*sub) {
		v_pod_update(c, obj, old);
	}
}

const struct kind_rules pod_rules = {.validate = validate, .cells = pod_cells};

/* SPDX-License-Identifier: Apache-2.0
 * Probes, lifecycle hooks, environment. */
#include "api/rules/pod.h"

static void check_http(struct causes *c, const struct fpath *p, const json_t *h)
{
	static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
	const json_t *headers = jget(h, "httpHeaders");
	if (!jhas(h, "path"))
		v_required(c, P_NAME(p, "path"), "");
	(void)v_port_or_name(c, P_NAME(p, "port"), jget(h, "port"));
	(void)v_enum(c, P_NAME(p, "scheme"), jget(h, "scheme"), schemes);
	for (size_t i = 0; i < json_array_size(headers); i++)
		(void)v_format(c, P_NAME(P_INDEX(P_NAME(p, "httpHeaders"), i), "name"),
			jstr(json_array_get(headers, i), "name"), fmt_http_header);
}

static void check_exec(struct causes *c, const struct fpath *p, const json_t *h)
{
	if (json_array_size(jget(h, "command")) == 0)
		v_required(c, P_NAME(p, "command"), "");
}

static void check_tcp(struct causes *c, const struct fpath *p, const json_t *h)
{
	(void)v_port_or_name(c, P_NAME(p, "port"), jget(h, "port"));
}

static void check_grpc(struct causes *c, const struct fpath *p, const json_t *h)
{
	(void)v_port(c, P_NAME(p, "port"), jget(h, "port"));
}

static void check_sleep(struct causes *c, const struct fpath *p, const json_t *h)
{
	(void)v_nonneg(c, P_NAME(p, "seconds"), jget(h, "seconds"));
}

void v_handler(struct causes *c, const struct fpath *p, const json_t *h, bool with_sleep)
{
	static const struct {
		const char *name;
		void (*check)(struct causes *c, const struct fpath *p, const json_t *h);
	} kinds[] = {{"exec", check_exec}, {"httpGet", check_http}, {"tcpSocket", check_tcp},
		{"grpc", check_grpc}, {"sleep", check_sleep}};
	size_t n = 0;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const json_t *v = jget(h, kinds[i].name);
		const struct fpath *vp = P_NAME(p, kinds[i].name);
		if (!v || (i == 4 && !with_sleep) || (i == 3 && with_sleep))
			continue;
		if (n++)
			v_forbidden(c, vp, "may not specify more than 1 handler type");
		else
			kinds[i].check(c, vp, v);
	}
	if (n == 0)
		v_required(c, p, "must specify a handler type");
}

void v_probe(struct causes *c, const struct fpath *p, const json_t *probe, const char *which)
{
	static const char *const nonneg[] = {"initialDelaySeconds", "timeoutSeconds",
		"periodSeconds", "successThreshold", "failureThreshold"};
	const json_t *grace = jget(probe, "terminationGracePeriodSeconds");
	const json_t *success = jget(probe, "successThreshold");
	v_handler(c, p, probe, false);
	for (size_t i = 0; i < ARRAY_LEN(nonneg); i++)
		(void)v_nonneg(c, P_NAME(p, nonneg[i]), jget(probe, nonneg[i]));
	if (grace && json_integer_value(grace) <= 0)
		v_invalid(c, P_NAME(p, "terminationGracePeriodSeconds"), grace,
			"must be greater than 0");
	if (strcmp(which, "readinessProbe") == 0) {
		if (grace)
			v_invalid(c, P_NAME(p, "terminationGracePeriodSeconds"), grace,
				"must not be set for readinessProbes");
	} else if (success && json_integer_value(success) > 1) {
		v_invalid(c, P_NAME(p, "successThreshold"), success, "must be 1");
	}
}

/* --- environment --- */

void v_field_ref(struct causes *c, const struct fpath *p, const json_t *ref)
{
	static const char *const fields[] = {"metadata.annotations", "metadata.labels",
		"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
		"spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP",
		"status.podIPs", NULL};
	const char *path = jstr(ref, "fieldPath");
	if (!jhas(ref, "apiVersion"))
		v_required(c, P_NAME(p, "apiVersion"), "");
	if (!*path) {
		v_required(c, P_NAME(p, "fieldPath"), "");
		return;
	}
	if (strncmp(path, "metadata.annotations['", 22) == 0 ||
		strncmp(path, "metadata.labels['", 17) == 0)
		return;
	(void)v_enum(c, P_NAME(p, "fieldPath"), jget(ref, "fieldPath"), fields);
}

static void check_key_ref(struct causes *c, const struct fpath *p, const json_t *ref)
{
	if (!jhas(ref, "name"))
		v_required(c, P_NAME(p, "name"), "");
	if (!jhas(ref, "key"))
		v_required(c, P_NAME(p, "key"), "");
	else
		(void)v_format(c, P_NAME(p, "key"), jstr(ref, "key"), fmt_config_key);
}

static void check_resource_ref(struct causes *c, const struct fpath *p, const json_t *ref)
{
	if (!jhas(ref, "resource"))
		v_required(c, P_NAME(p, "resource"), "");
}

static void check_value_from(
	struct causes *c, const struct fpath *p, const json_t *from, bool has_value)
{
	static const struct {
		const char *name;
		void (*check)(struct causes *c, const struct fpath *p, const json_t *ref);
	} kinds[] = {{"fieldRef", v_field_ref}, {"resourceFieldRef", check_resource_ref},
		{"configMapKeyRef", check_key_ref}, {"secretKeyRef", check_key_ref}};
	size_t n = jget(from, "fileKeyRef") ? 1 : 0;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		const json_t *ref = jget(from, kinds[i].name);
		if (!ref)
			continue;
		n++;
		kinds[i].check(c, P_NAME(p, kinds[i].name), ref);
	}
	if (n == 0)
		v_invalid_str(c, p, "",
			"must specify one of: `fieldRef`, `resourceFieldRef`, "
			"`configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
	else if (n > 1)
		v_invalid_str(c, p, "", "may not have more than one field specified at a time");
	else if (has_value)
		v_invalid_str(c, p, "", "may not be specified when `value` is not empty");
}

void v_env(struct causes *c, const struct fpath *p, const json_t *env)
{
	for (size_t i = 0; i < json_array_size(env); i++) {
		const json_t *e = json_array_get(env, i);
		const struct fpath *ep = P_INDEX(p, i);
		if (!jhas(e, "name"))
			v_required(c, P_NAME(ep, "name"), "");
		else
			(void)v_format(c, P_NAME(ep, "name"), jstr(e, "name"), fmt_env_name);
		if (jget(e, "valueFrom"))
			check_value_from(
				c, P_NAME(ep, "valueFrom"), jget(e, "valueFrom"), jhas(e, "value"));
	}
}

void v_env_from(struct causes *c, const struct fpath *p, const json_t *list)
{
	static const char *const refs[] = {"configMapRef", "secretRef"};
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *e = json_array_get(list, i);
		const struct fpath *ep = P_INDEX(p, i);
		size_t n = 0;
		if (jhas(e, "prefix"))
			(void)v_format(c, P_NAME(ep, "prefix"), jstr(e, "prefix"), fmt_env_name);
		for (size_t j = 0; j < ARRAY_LEN(refs); j++) {
			if (!jget(e, refs[j]))
				continue;
			n++;
			if (!jhas(jget(e, refs[j]), "name"))
				v_required(c, P_NAME(P_NAME(ep, refs[j]), "name"), "");
		}
		if (n == 0)
			v_invalid_str(
				c, ep, "", "must specify one of: `configMapRef` or `secretRef`");
		else if (n > 1)
			v_invalid_str(
				c, ep, "", "may not have more than one field specified at a time");
	}
}

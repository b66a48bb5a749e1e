/* SPDX-License-Identifier: Apache-2.0
 * Admission webhooks and admission policies with their bindings. */
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static const struct fpath spec_path = {.name = "spec"};
static const char *const failure[] = {"Fail", "Ignore", NULL};
static const char *const match[] = {"Equivalent", "Exact", NULL};
static const char *const scope[] = {"*", "Cluster", "Namespaced", NULL};
static const char *const operations[] = {"*", "CONNECT", "CREATE", "DELETE", "UPDATE", NULL};

/* --- what requests a hook or policy is for --- */

static void check_star(
	struct causes *c, const struct fpath *p, const json_t *list, const char *text)
{
	for (size_t i = 0; json_array_size(list) > 1 && i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		if (s && strcmp(s, "*") == 0) {
			v_invalid(c, p, list, "%s", text);
			return;
		}
	}
}

static void check_rule(struct causes *c, const struct fpath *p, const json_t *r)
{
	static const struct vrow rows[] = {ROW("operations", V_REQUIRED),
		ROW("operations[]", V_ENUM, .enums = operations), ROW("apiGroups", V_REQUIRED),
		ROW("apiVersions", V_REQUIRED), ROW("apiVersions[]", V_REQUIRED),
		ROW("resources", V_REQUIRED), ROW("resources[]", V_REQUIRED),
		ROW("scope", V_ENUM, .enums = scope), {0}};
	v_rows_at(c, p, rows, r, NULL);
	check_star(c, P_NAME(p, "operations"), jget(r, "operations"),
		"if '*' is present, must not specify other operations");
	check_star(c, P_NAME(p, "apiGroups"), jget(r, "apiGroups"),
		"if '*' is present, must not specify other API groups");
	check_star(c, P_NAME(p, "apiVersions"), jget(r, "apiVersions"),
		"if '*' is present, must not specify other API versions");
}

static void check_rules(struct causes *c, const struct fpath *p, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++)
		check_rule(c, P_INDEX(p, i), json_array_get(list, i));
}

/* --- webhooks --- */

static void check_client(struct causes *c, const struct fpath *p, const json_t *cfg)
{
	static const struct vrow rows[] = {ROW("service.name", V_REQUIRED),
		ROW("service.namespace", V_REQUIRED),
		ROW("service.port", V_RANGE, .min = 1, .max = 65535,
			.text = "port is not valid: must be between 1 and 65535, inclusive"),
		{0}};
	const char *url = jstr(cfg, "url"), *path = jstr(jget(cfg, "service"), "path");
	if (!jget(cfg, "url") == !jget(cfg, "service")) {
		v_required(c, p, "exactly one of url or service is required");
		return;
	}
	v_rows_at(c, p, rows, cfg, NULL);
	if (jget(cfg, "service") && *path && *path != '/')
		v_invalid_str(
			c, P_NAME(P_NAME(p, "service"), "path"), path, "must start with a '/'");
	if (!jget(cfg, "url"))
		return;
	if (strncmp(url, "https://", 8) != 0)
		v_invalid_str(c, P_NAME(p, "url"), url,
			"'https' is the only allowed URL scheme; desired format: "
			"https://host[/path]");
	else if (!url[8] || url[8] == '/')
		v_invalid_str(c, P_NAME(p, "url"), url,
			"host must be specified; desired format: https://host[/path]");
	if (strpbrk(url, "?#"))
		v_invalid_str(c, P_NAME(p, "url"), url, "%s are not permitted in the URL",
			strchr(url, '#') ? "fragments" : "query parameters");
}

static void check_versions(struct causes *c, const struct fpath *p, const json_t *list)
{
	bool known = false;
	if (json_array_size(list) == 0) {
		v_required(c, p, "must specify one of v1, v1beta1");
		return;
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		known |= s && (strcmp(s, "v1") == 0 || strcmp(s, "v1beta1") == 0);
	}
	if (!known)
		v_invalid(c, p, list, "must include at least one of v1, v1beta1");
}

static const struct vrow condition_rows[] = {ROW("matchConditions[].name", V_REQUIRED),
	ROW("matchConditions[].name", V_FORMAT, .format = fmt_qualified_name),
	ROW("matchConditions[].name", V_UNIQUE), ROW("matchConditions[].expression", V_REQUIRED),
	ROW("matchConditions", V_MOST, .max = 64), {0}};

static void check_hook(struct causes *c, const struct fpath *p, const json_t *h)
{
	static const char *const effects[] = {"None", "NoneOnDryRun", NULL};
	static const char *const again[] = {"IfNeeded", "Never", NULL};
	static const struct vrow rows[] = {ROW("name", V_REQUIRED),
		ROW("name", V_FORMAT, .format = fmt_three_segments),
		ROW("failurePolicy", V_ENUM, .enums = failure),
		ROW("matchPolicy", V_ENUM, .enums = match),
		ROW("sideEffects", V_REQUIRED, .text = "must specify one of None, NoneOnDryRun"),
		ROW("sideEffects", V_ENUM, .enums = effects),
		ROW("reinvocationPolicy", V_ENUM, .enums = again),
		ROW("timeoutSeconds", V_RANGE, .min = 1, .max = 30,
			.text = "the timeout value must be between 1 and 30 seconds"),
		ROW("namespaceSelector", V_SELECTOR), ROW("objectSelector", V_SELECTOR),
		ROW("admissionReviewVersions[]", V_FORMAT, .format = fmt_dns1035_label),
		ROW("admissionReviewVersions[]", V_UNIQUE), {0}};
	v_rows_at(c, p, rows, h, NULL);
	v_rows_at(c, p, condition_rows, h, NULL);
	check_rules(c, P_NAME(p, "rules"), jget(h, "rules"));
	check_client(c, P_NAME(p, "clientConfig"), jget(h, "clientConfig"));
	check_versions(c, P_NAME(p, "admissionReviewVersions"), jget(h, "admissionReviewVersions"));
}

void validate_webhooks(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("webhooks[].name", V_UNIQUE), {0}};
	const json_t *list = jget(obj, "webhooks");
	(void)sub;
	v_rows(c, rows, obj, old);
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++)
		check_hook(c, P_INDEX(P_NAME(NULL, "webhooks"), i), json_array_get(list, i));
}

/* --- policies --- */

static void check_constraints(struct causes *c, const json_t *spec)
{
	static const struct vrow rows[] = {ROW("resourceRules", V_REQUIRED),
		ROW("namespaceSelector", V_SELECTOR), ROW("objectSelector", V_SELECTOR),
		ROW("matchPolicy", V_ENUM, .enums = match), {0}};
	const json_t *m = jget(spec, "matchConstraints");
	const struct fpath *p = P_NAME(&spec_path, "matchConstraints");
	if (!m) {
		v_required(c, p, "");
		return;
	}
	v_rows_at(c, p, rows, m, NULL);
	check_rules(c, P_NAME(p, "resourceRules"), jget(m, "resourceRules"));
	check_rules(c, P_NAME(p, "excludeResourceRules"), jget(m, "excludeResourceRules"));
}

static const struct vrow policy_rows[] = {ROW("spec.failurePolicy", V_ENUM, .enums = failure),
	ROW("spec.paramKind.apiVersion", V_REQUIRED), ROW("spec.paramKind.kind", V_REQUIRED),
	ROW("spec.variables[].name", V_REQUIRED, .text = "name is not specified"),
	ROW("spec.variables[].name", V_FORMAT, .format = fmt_c_identifier),
	ROW("spec.variables[].expression", V_REQUIRED, .text = "expression is not specified"),
	ROW("spec.validations[].expression", V_REQUIRED, .text = "expression is not specified"),
	ROW("spec.auditAnnotations[].key", V_REQUIRED),
	ROW("spec.auditAnnotations[].key", V_FORMAT, .format = fmt_qualified_name),
	ROW("spec.auditAnnotations[].key", V_UNIQUE),
	ROW("spec.auditAnnotations[].valueExpression", V_REQUIRED), {0}};

void validate_admission_policy(
	const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const reasons[] = {
		"Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized", NULL};
	static const struct vrow reason_rows[] = {
		ROW("spec.validations[].reason", V_ENUM, .enums = reasons), {0}};
	const json_t *spec = jget(obj, "spec"), *list = jget(spec, "validations");
	const char *text = "validations or auditAnnotations must be non-empty";
	if (*sub)
		return;
	v_rows(c, policy_rows, obj, old);
	v_rows(c, reason_rows, obj, old);
	v_rows_at(c, &spec_path, condition_rows, spec, NULL);
	check_constraints(c, spec);
	if (strcmp(jstr(obj, "kind"), "ValidatingAdmissionPolicy") != 0) {
		if (json_array_size(jget(spec, "mutations")) == 0)
			v_required(c, P_NAME(&spec_path, "mutations"),
				"mutations must contain at least one item");
		return;
	}
	if (json_array_size(list) == 0 && json_array_size(jget(spec, "auditAnnotations")) == 0) {
		v_required(c, P_NAME(&spec_path, "validations"), text);
		v_required(c, P_NAME(&spec_path, "auditAnnotations"), text);
	}
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const char *m = jstr(json_array_get(list, i), "message");
		if (strchr(m, '\n'))
			v_invalid_str(c,
				P_NAME(P_INDEX(P_NAME(&spec_path, "validations"), i), "message"), m,
				"message must not contain line breaks");
	}
}

void validate_admission_binding(
	const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const actions[] = {"Audit", "Deny", "Warn", NULL};
	static const char *const absent[] = {"Allow", "Deny", NULL};
	static const struct vrow rows[] = {ROW("spec.policyName", V_REQUIRED),
		ROW("spec.policyName", V_FORMAT, .format = fmt_dns1123_subdomain),
		ROW("spec.validationActions[]", V_ENUM, .enums = actions),
		ROW("spec.validationActions[]", V_UNIQUE),
		ROW("spec.paramRef.parameterNotFoundAction", V_REQUIRED),
		ROW("spec.paramRef.parameterNotFoundAction", V_ENUM, .enums = absent),
		ROW("spec.paramRef.selector", V_SELECTOR),
		ROW("spec.matchResources.namespaceSelector", V_SELECTOR),
		ROW("spec.matchResources.objectSelector", V_SELECTOR),
		ROW("spec.matchResources.matchPolicy", V_ENUM, .enums = match), {0}};
	const json_t *spec = jget(obj, "spec"), *list = jget(spec, "validationActions");
	const json_t *ref = jget(spec, "paramRef");
	const struct fpath *ap = P_NAME(&spec_path, "validationActions");
	const struct fpath *rp = P_NAME(&spec_path, "paramRef");
	bool deny = false, warn = false;
	(void)sub;
	v_rows(c, rows, obj, old);
	check_rules(c, P_NAME(P_NAME(&spec_path, "matchResources"), "resourceRules"),
		jget(jget(spec, "matchResources"), "resourceRules"));
	if (ref && jhas(ref, "name") && jget(ref, "selector"))
		v_forbidden(c, P_NAME(rp, "name"), "name and selector are mutually exclusive");
	else if (ref && !jhas(ref, "name") && !jget(ref, "selector"))
		v_required(c, rp, "one of name or selector must be specified");
	if (strcmp(jstr(obj, "kind"), "ValidatingAdmissionPolicyBinding") != 0)
		return;
	if (json_array_size(list) == 0)
		v_required(c, ap, "");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		deny |= s && strcmp(s, "Deny") == 0;
		warn |= s && strcmp(s, "Warn") == 0;
	}
	if (deny && warn)
		v_invalid(c, ap, list,
			"must not contain both Deny and Warn (repeating the same validation "
			"failure information in the API response and headers serves no purpose)");
}

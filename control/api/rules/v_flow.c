/* SPDX-License-Identifier: Apache-2.0
 * Flow control: flow schemas and priority levels. */
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static const struct fpath spec_path = {.name = "spec"};

/* --- FlowSchema --- */

static void check_subject(struct causes *c, const struct fpath *p, const json_t *s)
{
	static const char *const kinds[] = {"Group", "ServiceAccount", "User", NULL};
	static const struct {
		const char *kind, *member;
	} bodies[] = {{"User", "user"}, {"Group", "group"}, {"ServiceAccount", "serviceAccount"}};
	static const struct vrow rows[] = {ROW("user.name", V_REQUIRED),
		ROW("group.name", V_REQUIRED), ROW("serviceAccount.name", V_REQUIRED),
		ROW("serviceAccount.namespace", V_REQUIRED), {0}};
	const char *kind = jstr(s, "kind");
	bool known = false;
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
		bool mine = strcmp(kind, bodies[i].kind) == 0;
		known |= mine;
		if (mine && !jget(s, bodies[i].member))
			v_required(c, P_NAME(p, bodies[i].member),
				"is required when subject kind is the same");
	}
	for (size_t i = 0; known && i < ARRAY_LEN(bodies); i++)
		if (strcmp(kind, bodies[i].kind) != 0 && jget(s, bodies[i].member))
			v_forbidden(c, P_NAME(p, bodies[i].member),
				"is forbidden when subject kind is another");
	if (!known)
		v_not_supported(c, P_NAME(p, "kind"), jget(s, "kind"), kinds);
	v_rows_at(c, p, rows, s, NULL);
}

static void check_resource_rule(struct causes *c, const struct fpath *p, const json_t *r)
{
	static const struct vrow rows[] = {ROW("verbs", V_REQUIRED),
		ROW("apiGroups", V_REQUIRED,
			.text = "resource rules must supply at least one api group"),
		ROW("resources", V_REQUIRED,
			.text = "resource rules must supply at least one resource"),
		{0}};
	v_rows_at(c, p, rows, r, NULL);
	if (json_array_size(jget(r, "namespaces")) == 0 && !json_is_true(jget(r, "clusterScope")))
		v_required(c, P_NAME(p, "namespaces"),
			"resource rules that are not cluster scoped must supply at least one "
			"namespace");
}

static void check_flow_rule(struct causes *c, const struct fpath *p, const json_t *r)
{
	static const struct vrow rows[] = {
		ROW("subjects", V_REQUIRED, .text = "subjects must contain at least one value"),
		ROW("nonResourceRules[].verbs", V_REQUIRED,
			.text = "verbs must contain at least one value"),
		ROW("nonResourceRules[].nonResourceURLs", V_REQUIRED,
			.text = "nonResourceURLs must contain at least one value"),
		{0}};
	const json_t *subjects = jget(r, "subjects"), *list = jget(r, "resourceRules");
	v_rows_at(c, p, rows, r, NULL);
	for (size_t i = 0; i < json_array_size(subjects) && !causes_full(c); i++)
		check_subject(c, P_INDEX(P_NAME(p, "subjects"), i), json_array_get(subjects, i));
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++)
		check_resource_rule(
			c, P_INDEX(P_NAME(p, "resourceRules"), i), json_array_get(list, i));
	if (json_array_size(list) == 0 && json_array_size(jget(r, "nonResourceRules")) == 0)
		v_required(c, p,
			"at least one of resourceRules and nonResourceRules has to be non-empty");
}

void validate_flow_schema(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const methods[] = {"ByNamespace", "ByUser", NULL};
	static const struct vrow rows[] = {
		ROW("spec.matchingPrecedence", V_RANGE, .min = 1, .max = 10000,
			.text = "must be a value between 1 and 10000"),
		ROW("spec.priorityLevelConfiguration.name", V_REQUIRED,
			.text = "must reference a priority level"),
		ROW("spec.priorityLevelConfiguration.name", V_FORMAT,
			.format = fmt_dns1123_subdomain),
		ROW("spec.distinguisherMethod.type", V_REQUIRED),
		ROW("spec.distinguisherMethod.type", V_ENUM, .enums = methods), {0}};
	const json_t *spec = jget(obj, "spec"), *list = jget(spec, "rules");
	if (*sub)
		return;
	v_rows(c, rows, obj, old);
	if (!jget(spec, "priorityLevelConfiguration"))
		v_required(c, P_NAME(P_NAME(&spec_path, "priorityLevelConfiguration"), "name"),
			"must reference a priority level");
	if (json_integer_value(jget(spec, "matchingPrecedence")) == 1 &&
		strcmp(jstr(jget(obj, "metadata"), "name"), "exempt") != 0)
		v_invalid(c, P_NAME(&spec_path, "matchingPrecedence"),
			jget(spec, "matchingPrecedence"),
			"only the schema named 'exempt' may have matchingPrecedence 1");
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++)
		check_flow_rule(
			c, P_INDEX(P_NAME(&spec_path, "rules"), i), json_array_get(list, i));
}

/* --- PriorityLevelConfiguration --- */

static void check_response(struct causes *c, const struct fpath *p, const json_t *r)
{
	static const char *const kinds[] = {"Queue", "Reject", NULL};
	static const struct vrow rows[] = {
		ROW("queuing.queues", V_RANGE, .min = 1, .max = 10000000,
			.text = "must be positive and no greater than 10000000"),
		ROW("queuing.handSize", V_RANGE, .min = 1, .max = INT32_MAX,
			.text = "must be positive"),
		ROW("queuing.queueLengthLimit", V_RANGE, .min = 1, .max = INT32_MAX,
			.text = "must be positive"),
		{0}};
	const json_t *q = jget(r, "queuing"), *hand = jget(q, "handSize");
	if (!jhas(r, "type")) {
		v_not_supported(c, P_NAME(p, "type"), jget(r, "type"), kinds);
		return;
	}
	if (!v_enum(c, P_NAME(p, "type"), jget(r, "type"), kinds))
		return;
	if (strcmp(jstr(r, "type"), "Reject") == 0) {
		if (q)
			v_forbidden(c, P_NAME(p, "queuing"),
				"must be nil if limited.limitResponse.type is not Limited");
		return;
	}
	if (!q)
		v_required(c, P_NAME(p, "queuing"),
			"must not be empty if limited.limitResponse.type is Limited");
	v_rows_at(c, p, rows, r, NULL);
	if (json_integer_value(hand) > json_integer_value(jget(q, "queues")))
		v_invalid(c, P_NAME(P_NAME(p, "queuing"), "handSize"), hand,
			"should not be greater than queues (%lld)",
			(long long)json_integer_value(jget(q, "queues")));
}

void validate_priority_level(
	const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const kinds[] = {"Exempt", "Limited", NULL};
	static const struct vrow rows[] = {
		ROW("spec.limited.nominalConcurrencyShares", V_RANGE, .min = 0, .max = INT32_MAX,
			.text = "must be a non-negative integer"),
		ROW("spec.limited.lendablePercent", V_RANGE, .min = 0, .max = 100,
			.text = "must be between 0 and 100, inclusive"),
		ROW("spec.limited.borrowingLimitPercent", V_RANGE, .min = 0, .max = INT32_MAX,
			.text = "if specified, must be a non-negative integer"),
		ROW("spec.exempt.nominalConcurrencyShares", V_RANGE, .min = 0, .max = INT32_MAX,
			.text = "must be a non-negative integer"),
		ROW("spec.exempt.lendablePercent", V_RANGE, .min = 0, .max = 100,
			.text = "must be between 0 and 100, inclusive"),
		{0}};
	const json_t *spec = jget(obj, "spec"), *limited = jget(spec, "limited");
	const struct fpath *lp = P_NAME(&spec_path, "limited");
	bool exempt = strcmp(jstr(spec, "type"), "Exempt") == 0;
	if (*sub)
		return;
	if (!jhas(spec, "type"))
		v_not_supported(c, P_NAME(&spec_path, "type"), jget(spec, "type"), kinds);
	else
		(void)v_enum(c, P_NAME(&spec_path, "type"), jget(spec, "type"), kinds);
	if (exempt && limited)
		v_forbidden(c, lp, "must be nil if the type is Exempt");
	if (!exempt && jget(spec, "exempt"))
		v_forbidden(c, P_NAME(&spec_path, "exempt"), "must be nil if the type is Limited");
	if (strcmp(jstr(spec, "type"), "Limited") == 0 && !limited)
		v_required(c, lp, "must not be empty when type is Limited");
	v_rows(c, rows, obj, old);
	if (limited)
		check_response(c, P_NAME(lp, "limitResponse"), jget(limited, "limitResponse"));
}

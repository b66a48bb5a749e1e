/* SPDX-License-Identifier: Apache-2.0
 * Kinds for administrators: certificates, admission, flow control, scheduling, aggregation. */
#include "api/rules/cells.h"
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static void csr_signer(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.signerName"), "<none>");
}

static void csr_requestor(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.username"), "");
}

static void csr_duration(struct cells *c, struct jv obj)
{
	struct jv v = jv_path(obj, "spec.expirationSeconds");
	AUTO_BUF struct buf b = {0};
	int64_t s = jv_int(v, 0);
	if (jv_present(v) && s % 86400 == 0)
		buf_addf(&b, "%lldd", (long long)(s / 86400));
	else if (jv_present(v) && s % 3600 == 0)
		buf_addf(&b, "%lldh", (long long)(s / 3600));
	else if (jv_present(v))
		buf_addf(&b, "%llds", (long long)s);
	cell_buf(c, &b, "<none>");
}

static void csr_condition(struct cells *c, struct jv obj)
{
	static const char *const types[] = {"Approved", "Denied", "Failed"};
	AUTO_BUF struct buf b = {0};
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		jv_each (it, jv_path(obj, "status.conditions"))
			if (jv_is_str(jv_get(it.v, "type"), types[i]))
				join(&b, ",", str_of(types[i]));
	if (b.len == 0)
		buf_adds(&b, "Pending");
	if (jv_raw_str(jv_path(obj, "status.certificate")).n)
		join(&b, ",", STR("Issued"));
	cell_buf(c, &b, "");
}

static const struct cell_rule csr_cells[] = {{"SignerName", csr_signer},
	{"Requestor", csr_requestor}, {"RequestedDuration", csr_duration},
	{"Condition", csr_condition}, {NULL, NULL}};
const struct kind_rules csr_rules = {.validate = validate_csr, .cells = csr_cells};

static void webhook_count(struct cells *c, struct jv obj)
{
	cell_int(c, (int64_t)jv_len(jv_get(obj, "webhooks")));
}
static const struct cell_rule webhook_cells[] = {{"Webhooks", webhook_count}, {NULL, NULL}};
const struct kind_rules webhook_rules = {.validate = validate_webhooks, .cells = webhook_cells};

static void policy_validations(struct cells *c, struct jv obj)
{
	cell_int(c, (int64_t)jv_len(jv_path(obj, "spec.validations")));
}

static void policy_mutations(struct cells *c, struct jv obj)
{
	cell_int(c, (int64_t)jv_len(jv_path(obj, "spec.mutations")));
}

static void policy_param(struct cells *c, struct jv obj)
{
	struct jv p = jv_path(obj, "spec.paramKind");
	AUTO_BUF struct buf b = {0};
	if (jv_present(p))
		buf_addf(&b, "%.*s/%.*s", STR_FMT(jv_raw_str(jv_get(p, "apiVersion"))),
			STR_FMT(jv_raw_str(jv_get(p, "kind"))));
	cell_buf(c, &b, "<unset>");
}

static const struct cell_rule admission_cells[] = {{"Validations", policy_validations},
	{"Mutations", policy_mutations}, {"ParamKind", policy_param}, {NULL, NULL}};
const struct kind_rules admission_policy_rules = {
	.validate = validate_admission_policy, .cells = admission_cells};

static void binding_param(struct cells *c, struct jv obj)
{
	struct jv p = jv_path(obj, "spec.paramRef");
	AUTO_BUF struct buf b = {0};
	if (jv_raw_str(jv_get(p, "namespace")).n)
		buf_addf(&b, "%.*s/", STR_FMT(jv_raw_str(jv_get(p, "namespace"))));
	if (jv_raw_str(jv_get(p, "name")).n)
		buf_add_str(&b, jv_raw_str(jv_get(p, "name")));
	else if (jv_present(p))
		buf_adds(&b, "*");
	cell_buf(c, &b, "<unset>");
}
static const struct cell_rule admission_binding_cells[] = {
	{"ParamRef", binding_param}, {NULL, NULL}};
const struct kind_rules admission_binding_rules = {
	.validate = validate_admission_binding, .cells = admission_binding_cells};

/* --- flow control --- */

static void flow_level(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.priorityLevelConfiguration.name"), "<none>");
}

static void flow_precedence(struct cells *c, struct jv obj)
{
	cell_int(c, jv_int(jv_path(obj, "spec.matchingPrecedence"), 0));
}

static void flow_method(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.distinguisherMethod.type"), "<none>");
}

static void flow_dangling(struct cells *c, struct jv obj)
{
	jv_each (it, jv_path(obj, "status.conditions"))
		if (jv_is_str(jv_get(it.v, "type"), "Dangling")) {
			cell_raw(c, jv_get(it.v, "status"), "?");
			return;
		}
	cell_str(c, STR("?"));
}

static const struct cell_rule flow_cells[] = {{"PriorityLevel", flow_level},
	{"MatchingPrecedence", flow_precedence}, {"DistinguisherMethod", flow_method},
	{"MissingPL", flow_dangling}, {NULL, NULL}};
const struct kind_rules flow_schema_rules = {.validate = validate_flow_schema, .cells = flow_cells};

static void number_or_none(struct cells *c, struct jv v)
{
	if (jv_present(v))
		cell_int(c, jv_int(v, 0));
	else
		cell_str(c, STR("<none>"));
}

static void level_shares(struct cells *c, struct jv obj)
{
	number_or_none(c, jv_path(obj, "spec.limited.nominalConcurrencyShares"));
}

static void level_queues(struct cells *c, struct jv obj)
{
	number_or_none(c, jv_path(obj, "spec.limited.limitResponse.queuing.queues"));
}

static void level_hand(struct cells *c, struct jv obj)
{
	number_or_none(c, jv_path(obj, "spec.limited.limitResponse.queuing.handSize"));
}

static void level_limit(struct cells *c, struct jv obj)
{
	number_or_none(c, jv_path(obj, "spec.limited.limitResponse.queuing.queueLengthLimit"));
}

static const struct cell_rule level_cells[] = {{"NominalConcurrencyShares", level_shares},
	{"Queues", level_queues}, {"HandSize", level_hand}, {"QueueLengthLimit", level_limit},
	{NULL, NULL}};
const struct kind_rules priority_level_rules = {
	.validate = validate_priority_level, .cells = level_cells};

/* --- others --- */

static void priority_class(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const policies[] = {"Never", "PreemptLowerPriority", NULL};
	const json_t *v = jget(obj, "value");
	const char *name = jstr(jget(obj, "metadata"), "name");
	bool system = strncmp(name, "system-", 7) == 0;
	(void)sub;
	(void)v_enum(c, P_NAME(NULL, "preemptionPolicy"), jget(obj, "preemptionPolicy"), policies);
	if (system && !old && strcmp(name, "system-node-critical") != 0 &&
		strcmp(name, "system-cluster-critical") != 0)
		v_forbidden(c, P_NAME(P_NAME(NULL, "metadata"), "name"),
			"priority class names with 'system-' prefix are reserved for system use "
			"only");
	if (!system && json_integer_value(v) > 1000000000)
		v_forbidden(c, P_NAME(NULL, "value"),
			"maximum allowed value of a user defined priority is 1000000000");
	if (!old)
		return;
	if (json_integer_value(v) != json_integer_value(jget(old, "value")))
		v_forbidden(c, P_NAME(NULL, "value"), "may not be changed in an update.");
	(void)v_immutable(c, P_NAME(NULL, "preemptionPolicy"), jget(obj, "preemptionPolicy"),
		jget(old, "preemptionPolicy"));
}
const struct kind_rules priority_class_rules = {.validate = priority_class};

static void revision_controller(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	jv_each (it, jv_path(obj, "metadata.ownerReferences")) {
		struct str v = jv_raw_str(jv_get(it.v, "apiVersion")), group = str_cut(&v, '/');
		if (!jv_bool(jv_get(it.v, "controller"), false))
			continue;
		buf_addf(&b, "%.*s", STR_FMT(jv_raw_str(jv_get(it.v, "kind"))));
		for (size_t i = 0; i < b.len; i++)
			b.p[i] = (char)(b.p[i] | 0x20);
		if (v.n)
			buf_addf(&b, ".%.*s", STR_FMT(group));
		buf_addf(&b, "/%.*s", STR_FMT(jv_raw_str(jv_get(it.v, "name"))));
	}
	cell_buf(c, &b, "<none>");
}
static const struct cell_rule revision_cells[] = {
	{"Controller", revision_controller}, {NULL, NULL}};
const struct kind_rules controller_revision_rules = {
	.validate = validate_revision, .cells = revision_cells};

static void api_service(struct cells *c, struct jv obj)
{
	struct jv s = jv_path(obj, "spec.service");
	AUTO_BUF struct buf b = {0};
	if (jv_type(s) == JV_OBJECT)
		buf_addf(&b, "%.*s/%.*s", STR_FMT(jv_raw_str(jv_get(s, "namespace"))),
			STR_FMT(jv_raw_str(jv_get(s, "name"))));
	cell_buf(c, &b, "Local");
}

static void api_available(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	jv_each (it, jv_path(obj, "status.conditions")) {
		if (!jv_is_str(jv_get(it.v, "type"), "Available"))
			continue;
		buf_add_str(&b, jv_raw_str(jv_get(it.v, "status")));
		if (!jv_is_str(jv_get(it.v, "status"), "True"))
			buf_addf(&b, " (%.*s)", STR_FMT(jv_raw_str(jv_get(it.v, "reason"))));
	}
	cell_buf(c, &b, "Unknown");
}
static const struct cell_rule api_cells[] = {
	{"Service", api_service}, {"Available", api_available}, {NULL, NULL}};
const struct kind_rules api_service_rules = {.validate = validate_api_service, .cells = api_cells};

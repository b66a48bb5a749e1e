/* SPDX-License-Identifier: Apache-2.0
 * Access: roles, their bindings, certificate requests; aggregated APIs and revisions. */
#include "api/rules/registry.h"
#include "api/rules/vtable.h"
#include "xebec/base/tls.h"

#define RBAC_GROUP "rbac.authorization.k8s.io"

static const struct fpath spec_path = {.name = "spec"};

/* --- Role, ClusterRole --- */

static void check_rule(struct causes *c, const struct fpath *p, const json_t *rule, bool namespaced)
{
	static const struct {
		const char *member, *text;
	} needed[] = {{"apiGroups", "resource rules must supply at least one api group"},
		{"resources", "resource rules must supply at least one resource"}};
	const json_t *urls = jget(rule, "nonResourceURLs");
	if (json_array_size(jget(rule, "verbs")) == 0)
		v_required(c, P_NAME(p, "verbs"), "verbs must contain at least one value");
	if (json_array_size(urls)) {
		if (namespaced)
			v_invalid(c, P_NAME(p, "nonResourceURLs"), urls,
				"namespaced rules cannot apply to non-resource URLs");
		if (json_array_size(jget(rule, "apiGroups")) ||
			json_array_size(jget(rule, "resources")) ||
			json_array_size(jget(rule, "resourceNames")))
			v_invalid(c, P_NAME(p, "nonResourceURLs"), urls,
				"rules cannot apply to both regular resources and non-resource "
				"URLs");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(needed); i++)
		if (json_array_size(jget(rule, needed[i].member)) == 0)
			v_required(c, P_NAME(p, needed[i].member), needed[i].text);
}

void validate_role(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {
		ROW("aggregationRule.clusterRoleSelectors", V_REQUIRED,
			.text = "at least one clusterRoleSelector required if aggregationRule is "
				"non-nil"),
		ROW("aggregationRule.clusterRoleSelectors[]", V_SELECTOR), {0}};
	const json_t *list = jget(obj, "rules");
	bool namespaced = strcmp(jstr(obj, "kind"), "Role") == 0;
	(void)sub;
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++)
		check_rule(
			c, P_INDEX(P_NAME(NULL, "rules"), i), json_array_get(list, i), namespaced);
	v_rows(c, rows, obj, old);
}

/* --- RoleBinding, ClusterRoleBinding --- */

static void check_subject(struct causes *c, const struct fpath *p, const json_t *s, bool namespaced)
{
	static const char *const kinds[] = {"Group", "ServiceAccount", "User", NULL};
	static const char *const core[] = {"", NULL}, *const rbac[] = {RBAC_GROUP, NULL};
	const char *name = jstr(s, "name"), *group = jstr(s, "apiGroup");
	if (!*name)
		v_required(c, P_NAME(p, "name"), "");
	if (strcmp(jstr(s, "kind"), "ServiceAccount") == 0) {
		if (*name)
			(void)v_format(c, P_NAME(p, "name"), name, fmt_dns1123_subdomain);
		if (*group)
			v_not_supported(c, P_NAME(p, "apiGroup"), jget(s, "apiGroup"), core);
		if (!namespaced && !jhas(s, "namespace"))
			v_required(c, P_NAME(p, "namespace"), "");
	} else if (strcmp(jstr(s, "kind"), "User") == 0 || strcmp(jstr(s, "kind"), "Group") == 0) {
		if (strcmp(group, RBAC_GROUP) != 0)
			v_not_supported(c, P_NAME(p, "apiGroup"), jget(s, "apiGroup"), rbac);
	} else {
		v_not_supported(c, P_NAME(p, "kind"), jget(s, "kind"), kinds);
	}
}

void validate_role_binding(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const either[] = {"ClusterRole", "Role", NULL};
	static const char *const cluster[] = {"ClusterRole", NULL};
	static const char *const group[] = {RBAC_GROUP, NULL};
	const json_t *ref = jget(obj, "roleRef"), *list = jget(obj, "subjects");
	const struct fpath *p = P_NAME(NULL, "roleRef");
	bool namespaced = strcmp(jstr(obj, "kind"), "RoleBinding") == 0;
	const char *name = jstr(ref, "name");
	(void)sub;
	if (strcmp(jstr(ref, "apiGroup"), RBAC_GROUP) != 0)
		v_not_supported(c, P_NAME(p, "apiGroup"), jget(ref, "apiGroup"), group);
	if (!jhas(ref, "kind"))
		v_not_supported(
			c, P_NAME(p, "kind"), jget(ref, "kind"), namespaced ? either : cluster);
	else
		(void)v_enum(
			c, P_NAME(p, "kind"), jget(ref, "kind"), namespaced ? either : cluster);
	if (!*name)
		v_required(c, P_NAME(p, "name"), "");
	else
		(void)v_format(c, P_NAME(p, "name"), name, fmt_path_segment);
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++)
		check_subject(c, P_INDEX(P_NAME(NULL, "subjects"), i), json_array_get(list, i),
			namespaced);
	if (old && !jequal(ref, jget(old, "roleRef")))
		v_invalid(c, p, ref, "cannot change roleRef");
}

/* --- CertificateSigningRequest --- */

static const char *const usages[] = {"any", "cert sign", "client auth", "code signing",
	"content commitment", "crl sign", "data encipherment", "decipher only", "digital signature",
	"email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user",
	"key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing",
	"s/mime", "server auth", "signing", "timestamping", NULL};

/* "example.com/name": what stands before the slash is a domain of two parts at least. */
static void check_signer(struct causes *c, const char *name)
{
	const struct fpath *p = P_NAME(&spec_path, "signerName");
	const char *slash = strchr(name, '/');
	const char *msg[MSG_MAX];
	if (!*name) {
		v_required(c, p, "");
		return;
	}
	if (strcmp(name, "kubernetes.io/legacy-unknown") == 0) {
		v_invalid_str(
			c, p, name, "the legacy signerName is not allowed via this API version");
		return;
	}
	if (!slash || slash == name || strchr(slash + 1, '/') || !slash[1]) {
		v_invalid_str(c, p, name,
			"must be a fully qualified domain and path of the form "
			"'example.com/signer-name'");
		return;
	}
	struct str domain = {name, (size_t)(slash - name)};
	if (fmt_dns1123_subdomain(domain, msg) || !memchr(domain.p, '.', domain.n))
		v_invalid_str(c, p, name,
			"should be a domain with at least two segments separated "
			"by dots");
	if (fmt_dns1123_subdomain(str_of(slash + 1), msg))
		v_invalid_str(c, p, name, "%s", msg[0]);
}

static void check_conditions(struct causes *c, const json_t *status)
{
	const json_t *list = jget(status, "conditions");
	const struct fpath *p = P_NAME(P_NAME(NULL, "status"), "conditions");
	static const char *const states[] = {"False", "True", "Unknown", NULL};
	bool approved = false, denied = false;
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const json_t *o = json_array_get(list, i);
		const char *type = jstr(o, "type");
		const struct fpath *sp = P_NAME(P_INDEX(p, i), "status");
		approved |= strcmp(type, "Approved") == 0;
		denied |= strcmp(type, "Denied") == 0;
		if (!*type)
			v_required(c, P_NAME(P_INDEX(p, i), "type"), "");
		if (!v_enum_required(c, sp, jget(o, "status"), states))
			continue;
		if ((strcmp(type, "Approved") == 0 || strcmp(type, "Denied") == 0 ||
			    strcmp(type, "Failed") == 0) &&
			strcmp(jstr(o, "status"), "True") != 0)
			v_not_supported(
				c, sp, jget(o, "status"), (const char *const[]){"True", NULL});
	}
	if (approved && denied)
		v_invalid_str(
			c, p, "Denied", "Approved and Denied conditions are mutually exclusive");
}

void validate_csr(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {
		ROW("spec.usages", V_REQUIRED, .text = "usages must be specified"),
		ROW("spec.usages[]", V_ENUM, .enums = usages), ROW("spec.usages[]", V_UNIQUE),
		ROW("spec.expirationSeconds", V_RANGE, .min = 600, .max = INT32_MAX,
			.text = "may not specify a duration less than 600 seconds (10 minutes)"),
		{0}};
	const json_t *spec = jget(obj, "spec"), *request = jget(spec, "request");
	static const char begin[] = "-----BEGIN CERTIFICATE REQUEST-----";
	AUTO_BUF struct buf pem = {0};
	check_conditions(c, jget(obj, "status"));
	if (old)
		return;
	(void)sub;
	if (base64_decode((struct str){json_string_value(request), json_string_length(request)},
		    &pem) < 0 ||
		!pem.len || !memmem(pem.p, pem.len, begin, sizeof(begin) - 1))
		v_invalid(c, P_NAME(&spec_path, "request"), request,
			"PEM block type must be CERTIFICATE REQUEST");
	v_rows(c, rows, obj, old);
	check_signer(c, jstr(spec, "signerName"));
}

/* --- APIService --- */

void validate_api_service(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {
		ROW("spec.groupPriorityMinimum", V_RANGE, .min = 1, .max = 20000,
			.text = "must be positive and less than 20000"),
		ROW("spec.versionPriority", V_RANGE, .min = 1, .max = 1000,
			.text = "must be positive and less than 1000"),
		ROW("spec.version", V_FORMAT, .format = fmt_dns1035_label),
		ROW("spec.service.namespace", V_REQUIRED), ROW("spec.service.name", V_REQUIRED),
		ROW("spec.service.port", V_RANGE, .min = 1, .max = 65535, .text = MSG_PORT), {0}};
	const json_t *spec = jget(obj, "spec");
	const char *name = jstr(jget(obj, "metadata"), "name");
	const char *group = jstr(spec, "group");
	AUTO_BUF struct buf want = {0};
	if (*sub)
		return;
	buf_addf(&want, "%s.%s", jstr(spec, "version"), group);
	if (want.p && strcmp(want.p, name) != 0)
		v_invalid_str(c, P_NAME(P_NAME(NULL, "metadata"), "name"), name,
			"must be `spec.version+\".\"+spec.group`: %s", want.p);
	if (*group)
		(void)v_format(c, P_NAME(&spec_path, "group"), group, fmt_dns1123_subdomain);
	else if (strcmp(jstr(spec, "version"), "v1") != 0)
		v_required(c, P_NAME(&spec_path, "group"),
			"only v1 may have an empty group and it better be legacy kube");
	if (!jhas(spec, "version"))
		v_required(c, P_NAME(&spec_path, "version"), "");
	v_rows(c, rows, obj, old);
	for (size_t i = 0; i < 2; i++) {
		const char *member = i ? "versionPriority" : "groupPriorityMinimum";
		if (!jget(spec, member))
			v_invalid(c, P_NAME(&spec_path, member), json_false(),
				"must be positive and less than %d", i ? 1000 : 20000);
	}
	if (json_is_true(jget(spec, "insecureSkipTLSVerify")) && jhas(spec, "caBundle"))
		v_invalid(c, P_NAME(&spec_path, "insecureSkipTLSVerify"),
			jget(spec, "insecureSkipTLSVerify"),
			"may not be true if caBundle is present");
}

/* --- ControllerRevision --- */

void validate_revision(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {
		ROW("revision", V_RANGE, .min = 0, .max = INT64_MAX), ROW("data", V_FIXED), {0}};
	(void)sub;
	if (!jget(obj, "data"))
		v_required(c, P_NAME(NULL, "data"), "data is mandatory");
	v_rows(c, rows, obj, old);
}

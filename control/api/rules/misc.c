/* SPDX-License-Identifier: Apache-2.0
 * Networking, policy, access and storage kinds: short rules and their table cells. */
#include "api/rules/cells.h"
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static const struct fpath spec_path = {.name = "spec"};

/* --- PodDisruptionBudget --- */

static void check_amount(struct causes *c, const struct fpath *p, const json_t *v)
{
	const char *s = json_string_value(v);
	int64_t n;
	if (s && v_format(c, p, s, fmt_percent) &&
		(str_i64((struct str){s, strlen(s) - 1}, &n) < 0 || n > 100))
		v_invalid(c, p, v, "must not be greater than 100%%");
	if (!s)
		(void)v_nonneg(c, p, v);
}

static void budget(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *spec = jget(obj, "spec"), *min = jget(spec, "minAvailable");
	const json_t *max = jget(spec, "maxUnavailable");
	static const char *const evict[] = {"AlwaysAllow", "IfHealthyBudget", NULL};
	(void)old;
	if (*sub)
		return;
	if (min && max)
		v_invalid(
			c, &spec_path, spec, "minAvailable and maxUnavailable cannot be both set");
	(void)v_enum(c, P_NAME(&spec_path, "unhealthyPodEvictionPolicy"),
		jget(spec, "unhealthyPodEvictionPolicy"), evict);
	check_amount(c, P_NAME(&spec_path, "minAvailable"), min);
	check_amount(c, P_NAME(&spec_path, "maxUnavailable"), max);
	v_label_selector(c, P_NAME(&spec_path, "selector"), jget(spec, "selector"), false);
}
const struct kind_rules budget_rules = {.validate = budget, .cells = budget_cells};

/* --- Ingress --- */

static void check_backend(struct causes *c, const struct fpath *p, const json_t *b)
{
	static const struct vrow resource[] = {ROW("resource.kind", V_REQUIRED),
		ROW("resource.kind", V_FORMAT, .format = fmt_path_segment),
		ROW("resource.name", V_REQUIRED),
		ROW("resource.name", V_FORMAT, .format = fmt_path_segment),
		ROW("resource.apiGroup", V_FORMAT, .format = fmt_dns1123_subdomain), {0}};
	const json_t *svc = jget(b, "service"), *port = jget(svc, "port");
	const struct fpath *sp = P_NAME(p, "service");
	if (!svc == !jget(b, "resource")) {
		if (svc)
			v_invalid_str(c, p, "", "cannot set both resource and service backends");
		else
			v_required(c, p, "resource or service backend is required");
		return;
	}
	if (!svc) {
		v_rows_at(c, p, resource, b, NULL);
		return;
	}
	if (!jhas(svc, "name"))
		v_required(c, P_NAME(sp, "name"), "");
	else
		(void)v_format(c, P_NAME(sp, "name"), jstr(svc, "name"), fmt_dns1123_label);
	if (jhas(port, "name") && json_integer_value(jget(port, "number")))
		v_invalid(c, sp, port, "cannot set both port name & port number");
	else if (jhas(port, "name"))
		(void)v_format(
			c, P_NAME(P_NAME(sp, "port"), "name"), jstr(port, "name"), fmt_port_name);
	else if (json_integer_value(jget(port, "number")))
		(void)v_port(c, P_NAME(P_NAME(sp, "port"), "number"), jget(port, "number"));
	else
		v_required(c, sp, "port name or number is required");
}

static void check_path_form(struct causes *c, const struct fpath *p, const char *path)
{
	static const char *const within[] = {"//", "/./", "/../", "%2f", "%2F"};
	static const char *const at_end[] = {"/..", "/."};
	size_t n = strlen(path);
	for (size_t i = 0; i < ARRAY_LEN(within); i++)
		if (strstr(path, within[i]))
			v_invalid_str(c, p, path, "must not contain '%s'", within[i]);
	for (size_t i = 0; i < ARRAY_LEN(at_end); i++)
		if (n >= strlen(at_end[i]) && strcmp(path + n - strlen(at_end[i]), at_end[i]) == 0)
			v_invalid_str(c, p, path, "cannot end with '%s'", at_end[i]);
}

/* Host names of certificates: "*." may stand before. */
static void check_tls(struct causes *c, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const json_t *hosts = jget(json_array_get(list, i), "hosts");
		const struct fpath *p = P_INDEX(P_NAME(&spec_path, "tls"), i);
		for (size_t j = 0; j < json_array_size(hosts); j++) {
			const char *s = json_string_value(json_array_get(hosts, j));
			(void)v_format(c, P_INDEX(P_NAME(p, "hosts"), j), s,
				strchr(s, '*') ? fmt_wildcard_subdomain : fmt_dns1123_subdomain);
		}
	}
}

static void check_paths(struct causes *c, const struct fpath *p, const json_t *paths)
{
	static const char *const kinds[] = {"Exact", "ImplementationSpecific", "Prefix", NULL};
	if (json_array_size(paths) == 0)
		v_required(c, p, "");
	for (size_t i = 0; i < json_array_size(paths); i++) {
		const json_t *r = json_array_get(paths, i);
		const struct fpath *rp = P_INDEX(p, i);
		const char *path = jstr(r, "path"), *type = jstr(r, "pathType");
		if (!*type)
			v_required(c, P_NAME(rp, "pathType"), "pathType must be specified");
		else
			(void)v_enum(c, P_NAME(rp, "pathType"), jget(r, "pathType"), kinds);
		if ((strcmp(type, "Exact") == 0 || strcmp(type, "Prefix") == 0 || *path) &&
			*path != '/')
			v_invalid_str(c, P_NAME(rp, "path"), path, "must be an absolute path");
		if (*path == '/' && *type != 'I')
			check_path_form(c, P_NAME(rp, "path"), path);
		check_backend(c, P_NAME(rp, "backend"), jget(r, "backend"));
	}
}

static void ingress(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *spec = jget(obj, "spec"), *rules = jget(spec, "rules");
	static const struct vrow rows[] = {
		ROW("spec.tls[].secretName", V_FORMAT, .format = fmt_dns1123_subdomain),
		ROW("spec.ingressClassName", V_FORMAT, .format = fmt_dns1123_subdomain), {0}};
	static const char annotation[] = "kubernetes.io/ingress.class";
	unsigned char b[16];
	bool v6;
	if (*sub)
		return;
	v_rows(c, rows, obj, old);
	check_tls(c, jget(spec, "tls"));
	if (!old && jget(spec, "ingressClassName") &&
		jget(jget(jget(obj, "metadata"), "annotations"), annotation))
		v_invalid(c, P_NAME(P_NAME(NULL, "annotations"), annotation),
			jget(jget(jget(obj, "metadata"), "annotations"), annotation),
			"can not be set when the class field is also set");
	if (json_array_size(rules) == 0 && !jget(spec, "defaultBackend"))
		v_invalid(c, &spec_path, rules,
			"either `defaultBackend` or `rules` must be specified");
	if (jget(spec, "defaultBackend"))
		check_backend(
			c, P_NAME(&spec_path, "defaultBackend"), jget(spec, "defaultBackend"));
	for (size_t i = 0; i < json_array_size(rules); i++) {
		const json_t *r = json_array_get(rules, i);
		const struct fpath *rp = P_INDEX(P_NAME(&spec_path, "rules"), i);
		const char *host = jstr(r, "host");
		if (*host && fmt_ip_parse(str_of(host), b, &v6))
			v_invalid_str(c, P_NAME(rp, "host"), host,
				"must be a DNS name, not an IP address");
		else if (*host)
			(void)v_format(c, P_NAME(rp, "host"), host,
				*host == '*' ? fmt_wildcard_subdomain : fmt_dns1123_subdomain);
		if (jget(r, "http"))
			check_paths(c, P_NAME(P_NAME(rp, "http"), "paths"),
				jget(jget(r, "http"), "paths"));
	}
}

static void ingress_class(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.ingressClassName"), "<none>");
}

static void ingress_hosts(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	size_t n = 0;
	jv_each (it, jv_path(obj, "spec.rules")) {
		struct str host = jv_raw_str(jv_get(it.v, "host"));
		if (host.n && n++ < 3)
			join(&b, ",", host);
	}
	if (n > 3)
		buf_addf(&b, " + %zu more...", n - 3);
	cell_buf(c, &b, "*");
}

static void ingress_address(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	jv_each (it, jv_path(obj, "status.loadBalancer.ingress")) {
		struct str s = jv_raw_str(jv_get(it.v, "ip"));
		join(&b, ",", s.n ? s : jv_raw_str(jv_get(it.v, "hostname")));
	}
	cell_buf(c, &b, "");
}

static void ingress_ports(struct cells *c, struct jv obj)
{
	cell_str(c, jv_len(jv_path(obj, "spec.tls")) ? STR("80, 443") : STR("80"));
}

static const struct cell_rule ingress_cells[] = {{"Class", ingress_class}, {"Hosts", ingress_hosts},
	{"Address", ingress_address}, {"Ports", ingress_ports}, {NULL, NULL}};
const struct kind_rules ingress_rules = {.validate = ingress, .cells = ingress_cells};

static void class_parameters(struct cells *c, struct jv obj)
{
	struct jv p = jv_path(obj, "spec.parameters");
	AUTO_BUF struct buf b = {0};
	if (jv_present(p)) {
		buf_add_str(&b, jv_raw_str(jv_get(p, "kind")));
		join(&b, ".", jv_raw_str(jv_get(p, "apiGroup")));
		join(&b, "/", jv_raw_str(jv_get(p, "name")));
	}
	cell_buf(c, &b, "<none>");
}
static const struct cell_rule ingress_class_cells[] = {
	{"Parameters", class_parameters}, {NULL, NULL}};
const struct kind_rules ingress_class_rules = {
	.validate = validate_ingress_class, .cells = ingress_class_cells};

static void parent_ref(struct cells *c, struct jv obj)
{
	static const char *const members[] = {"group", "resource", "namespace", "name"};
	struct jv ref = jv_path(obj, "spec.parentRef");
	AUTO_BUF struct buf b = {0};
	for (size_t i = 0; i < ARRAY_LEN(members); i++) {
		struct str s = jv_raw_str(jv_get(ref, members[i]));
		if (s.n)
			join(&b, "/", s);
	}
	cell_buf(c, &b, "<none>");
}
static const struct cell_rule ip_cells[] = {{"ParentRef", parent_ref}, {NULL, NULL}};
const struct kind_rules ip_address_rules = {.validate = validate_ip_address, .cells = ip_cells};

static void join_list(struct cells *c, struct jv list, const char *dflt)
{
	AUTO_BUF struct buf b = {0};
	jv_each (it, list)
		join(&b, ",", jv_raw_str(it.v));
	cell_buf(c, &b, dflt);
}

static void cidr_list(struct cells *c, struct jv obj)
{
	join_list(c, jv_path(obj, "spec.cidrs"), "");
}
static const struct cell_rule cidr_cells[] = {{"CIDRs", cidr_list}, {NULL, NULL}};
const struct kind_rules service_cidr_rules = {
	.validate = validate_service_cidr, .cells = cidr_cells};

/* --- RBAC: names are path segments, not DNS names --- */

static void binding_role(struct cells *c, struct jv obj)
{
	struct jv ref = jv_get(obj, "roleRef");
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "%.*s/%.*s", STR_FMT(jv_raw_str(jv_get(ref, "kind"))),
		STR_FMT(jv_raw_str(jv_get(ref, "name"))));
	cell_buf(c, &b, "");
}

static void subjects(struct cells *c, struct jv obj, const char *kind)
{
	AUTO_BUF struct buf b = {0};
	jv_each (it, jv_get(obj, "subjects")) {
		struct str ns = jv_raw_str(jv_get(it.v, "namespace"));
		if (!jv_is_str(jv_get(it.v, "kind"), kind))
			continue;
		if (b.len)
			buf_adds(&b, ", ");
		if (*kind == 'S')
			buf_addf(&b, "%.*s/", STR_FMT(ns));
		buf_add_str(&b, jv_raw_str(jv_get(it.v, "name")));
	}
	cell_buf(c, &b, "");
}

static void binding_users(struct cells *c, struct jv obj)
{
	subjects(c, obj, "User");
}

static void binding_groups(struct cells *c, struct jv obj)
{
	subjects(c, obj, "Group");
}

static void binding_accounts(struct cells *c, struct jv obj)
{
	subjects(c, obj, "ServiceAccount");
}

static const struct cell_rule binding_cells[] = {{"Role", binding_role}, {"Users", binding_users},
	{"Groups", binding_groups}, {"ServiceAccounts", binding_accounts}, {NULL, NULL}};
const struct kind_rules role_binding_rules = {
	.validate = validate_role_binding, .cells = binding_cells, .name = fmt_path_segment};
const struct kind_rules role_rules = {.validate = validate_role, .name = fmt_path_segment};

/* --- storage --- */

static void class_reclaim(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_get(obj, "reclaimPolicy"), "Delete");
}

static void class_binding(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_get(obj, "volumeBindingMode"), "Immediate");
}

static void class_expansion(struct cells *c, struct jv obj)
{
	cell_bool(c, jv_bool(jv_get(obj, "allowVolumeExpansion"), false));
}

static const struct cell_rule storage_class_cells[] = {{"ReclaimPolicy", class_reclaim},
	{"VolumeBindingMode", class_binding}, {"AllowVolumeExpansion", class_expansion},
	{NULL, NULL}};
const struct kind_rules storage_class_rules = {
	.validate = validate_storage_class, .cells = storage_class_cells};

static void driver_attach(struct cells *c, struct jv obj)
{
	cell_bool(c, jv_bool(jv_path(obj, "spec.attachRequired"), true));
}

static void driver_info(struct cells *c, struct jv obj)
{
	cell_bool(c, jv_bool(jv_path(obj, "spec.podInfoOnMount"), false));
}

static void driver_capacity(struct cells *c, struct jv obj)
{
	cell_bool(c, jv_bool(jv_path(obj, "spec.storageCapacity"), false));
}

static void driver_tokens(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	jv_each (it, jv_path(obj, "spec.tokenRequests"))
		join(&b, ",", jv_raw_str(jv_get(it.v, "audience")));
	cell_buf(c, &b, "<unset>");
}

static void driver_republish(struct cells *c, struct jv obj)
{
	cell_bool(c, jv_bool(jv_path(obj, "spec.requiresRepublish"), false));
}

static void driver_modes(struct cells *c, struct jv obj)
{
	join_list(c, jv_path(obj, "spec.volumeLifecycleModes"), "<none>");
}

static const struct cell_rule driver_cells[] = {{"AttachRequired", driver_attach},
	{"PodInfoOnMount", driver_info}, {"StorageCapacity", driver_capacity},
	{"TokenRequests", driver_tokens}, {"RequiresRepublish", driver_republish},
	{"Modes", driver_modes}, {NULL, NULL}};
const struct kind_rules csi_driver_rules = {.validate = validate_csi_driver, .cells = driver_cells};

static void csi_node_drivers(struct cells *c, struct jv obj)
{
	cell_int(c, (int64_t)jv_len(jv_path(obj, "spec.drivers")));
}
static const struct cell_rule csi_node_cells[] = {{"Drivers", csi_node_drivers}, {NULL, NULL}};
const struct kind_rules csi_node_rules = {.validate = validate_csi_node, .cells = csi_node_cells};

static void attachment_attacher(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.attacher"), "");
}

static void attachment_volume(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.source.persistentVolumeName"), "");
}

static void attachment_node(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.nodeName"), "");
}

static void attachment_attached(struct cells *c, struct jv obj)
{
	cell_bool(c, jv_bool(jv_path(obj, "status.attached"), false));
}

static const struct cell_rule attachment_cells[] = {{"Attacher", attachment_attacher},
	{"PV", attachment_volume}, {"Node", attachment_node}, {"Attached", attachment_attached},
	{NULL, NULL}};
const struct kind_rules attachment_rules = {
	.validate = validate_attachment, .cells = attachment_cells};

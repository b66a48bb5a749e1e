/* SPDX-License-Identifier: Apache-2.0
 * The small kinds of the core group, and EndpointSlice and Lease, which belong with them. */
#include "api/rules/cells.h"
#include "api/rules/pod.h"
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

#define DATA_MAX (1 << 20)

static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};

/* --- Namespace --- */

static void namespace(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *list = jget(jget(obj, "spec"), "finalizers");
	(void)old;
	(void)sub;
	for (size_t i = 0; i < json_array_size(list); i++)
		(void)v_format(c, P_INDEX(P_NAME(P_NAME(NULL, "spec"), "finalizers"), i),
			json_string_value(json_array_get(list, i)), fmt_qualified_name);
}
const struct kind_rules namespace_rules = {.validate = namespace, .name = fmt_dns1123_label};

/* --- Node --- */

static void check_taints(struct causes *c, const struct fpath *p, const json_t *list)
{
	static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
	AUTO_JSON json_t *seen = json_object();
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const json_t *t = json_array_get(list, i);
		const struct fpath *tp = P_INDEX(p, i);
		AUTO_BUF struct buf key = {0};
		(void)v_format(c, P_NAME(tp, "key"), jstr(t, "key"), fmt_qualified_name);
		(void)v_format(c, P_NAME(tp, "value"), jstr(t, "value"), fmt_label_value);
		(void)v_enum_required(c, P_NAME(tp, "effect"), jget(t, "effect"), effects);
		buf_addf(&key, "%s\n%s", jstr(t, "key"), jstr(t, "effect"));
		if (v_seen(seen, key.p, i) < i)
			v_duplicate(c, tp, t);
	}
}

static void node(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const once[] = {"podCIDRs", "providerID"};
	const json_t *spec = jget(obj, "spec"), *cidrs = jget(spec, "podCIDRs");
	const json_t *was = old ? jget(old, "spec") : NULL;
	const struct fpath *p = P_NAME(NULL, "spec");
	if (*sub)
		return;
	check_taints(c, P_NAME(p, "taints"), jget(spec, "taints"));
	for (size_t i = 0; i < json_array_size(cidrs); i++)
		(void)v_format(c, P_INDEX(P_NAME(p, "podCIDRs"), i),
			json_string_value(json_array_get(cidrs, i)), fmt_cidr);
	for (size_t i = 0; old && i < ARRAY_LEN(once); i++)
		if (!jequal(jget(was, once[i]), NULL) &&
			!jequal(jget(was, once[i]), jget(spec, once[i])))
			v_forbidden(c, P_NAME(p, once[i]),
				"node updates may not change it once it is set");
}
const struct kind_rules node_rules = {.validate = node, .cells = node_cells};

/* --- ConfigMap, Secret --- */

static size_t check_keys(struct causes *c, const struct fpath *p, const json_t *map, bool base64)
{
	size_t total = 0;
	const char *key;
	json_t *v;
	json_object_foreach ((json_t *)map, key, v) {
		(void)v_format(c, P_KEY(p, key), key, fmt_config_key);
		total += base64 ? json_string_length(v) / 4 * 3 : json_string_length(v);
	}
	return total;
}

/* Once immutable, always, with everything in it. */
static void check_frozen(
	struct causes *c, const json_t *obj, const json_t *old, const char *const *members)
{
	if (!old || !json_is_true(jget(old, "immutable")))
		return;
	if (!json_is_true(jget(obj, "immutable")))
		v_forbidden(
			c, P_NAME(NULL, "immutable"), "field is immutable when `immutable` is set");
	for (size_t i = 0; members[i]; i++)
		if (!jequal(jget(obj, members[i]), jget(old, members[i])))
			v_forbidden(c, P_NAME(NULL, members[i]),
				"field is immutable when `immutable` is set");
}

static void config_map(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const members[] = {"data", "binaryData", NULL};
	const json_t *data = jget(obj, "data"), *binary = jget(obj, "binaryData");
	size_t total = check_keys(c, P_NAME(NULL, "data"), data, false) +
		       check_keys(c, P_NAME(NULL, "binaryData"), binary, true);
	const char *key;
	json_t *v;
	(void)sub;
	json_object_foreach ((json_t *)binary, key, v)
		if (json_object_get(data, key))
			v_invalid_str(c, P_KEY(P_NAME(NULL, "data"), key), key,
				"duplicate of key present in binaryData");
	if (total > DATA_MAX)
		v_too_long(c, NULL, DATA_MAX);
	check_frozen(c, obj, old, members);
}
const struct kind_rules config_map_rules = {.validate = config_map, .cells = config_map_cells};

/* Keys that a secret of a type must hold (any of them when any is set). */
static const struct secret_type {
	const char *type;
	const char *keys[2];
	bool any;
} secret_types[] = {
	{"kubernetes.io/tls", {"tls.crt", "tls.key"}, false},
	{"kubernetes.io/dockercfg", {".dockercfg", NULL}, false},
	{"kubernetes.io/dockerconfigjson", {".dockerconfigjson", NULL}, false},
	{"kubernetes.io/basic-auth", {"username", "password"}, true},
	{"kubernetes.io/ssh-auth", {"ssh-privatekey", NULL}, false},
};

static void check_secret_type(struct causes *c, const json_t *obj)
{
	const json_t *data = jget(obj, "data");
	for (size_t i = 0; i < ARRAY_LEN(secret_types); i++) {
		const struct secret_type *t = &secret_types[i];
		size_t have = 0;
		if (strcmp(t->type, jstr(obj, "type")) != 0)
			continue;
		for (size_t j = 0; j < 2 && t->keys[j]; j++) {
			if (json_object_get(data, t->keys[j]))
				have++;
			else if (!t->any)
				v_required(c, P_KEY(P_NAME(NULL, "data"), t->keys[j]), "");
		}
		for (size_t j = 0; t->any && !have && j < 2; j++)
			v_required(c, P_KEY(P_NAME(NULL, "data"), t->keys[j]), "");
	}
	if (strcmp(jstr(obj, "type"), "kubernetes.io/service-account-token") == 0 &&
		!jhas(jget(jget(obj, "metadata"), "annotations"),
			"kubernetes.io/service-account.name"))
		v_required(c,
			P_KEY(P_NAME(P_NAME(NULL, "metadata"), "annotations"),
				"kubernetes.io/service-account.name"),
			"");
}

static void secret(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const members[] = {"data", "stringData", NULL};
	(void)sub;
	if (check_keys(c, P_NAME(NULL, "data"), jget(obj, "data"), true) > DATA_MAX)
		v_too_long(c, P_NAME(NULL, "data"), DATA_MAX);
	check_secret_type(c, obj);
	if (old && jhas(old, "type"))
		(void)v_immutable(c, P_NAME(NULL, "type"), jget(obj, "type"), jget(old, "type"));
	check_frozen(c, obj, old, members);
}
const struct kind_rules secret_rules = {.validate = secret, .cells = secret_cells};

/* --- Endpoints --- */

static void check_address(struct causes *c, const struct fpath *p, const json_t *a)
{
	v_endpoint_address(c, P_NAME(p, "ip"), jstr(a, "ip"));
	if (jhas(a, "nodeName"))
		(void)v_format(
			c, P_NAME(p, "nodeName"), jstr(a, "nodeName"), fmt_dns1123_subdomain);
	if (jhas(a, "hostname"))
		(void)v_format(c, P_NAME(p, "hostname"), jstr(a, "hostname"), fmt_dns1123_label);
}

static void check_subset(struct causes *c, const struct fpath *p, const json_t *s)
{
	static const char *const lists[] = {"addresses", "notReadyAddresses"};
	const json_t *ports = jget(s, "ports");
	size_t n = 0;
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		const json_t *list = jget(s, lists[l]);
		n += json_array_size(list);
		for (size_t i = 0; i < json_array_size(list); i++)
			check_address(c, P_INDEX(P_NAME(p, lists[l]), i), json_array_get(list, i));
	}
	if (n == 0)
		v_required(c, p, "must specify `addresses` or `notReadyAddresses`");
	for (size_t i = 0; i < json_array_size(ports); i++) {
		const json_t *port = json_array_get(ports, i);
		const struct fpath *pp = P_INDEX(P_NAME(p, "ports"), i);
		if (jhas(port, "name"))
			(void)v_format(
				c, P_NAME(pp, "name"), jstr(port, "name"), fmt_dns1123_label);
		else if (json_array_size(ports) > 1)
			v_required(c, P_NAME(pp, "name"), "");
		(void)v_port(c, P_NAME(pp, "port"), jget(port, "port"));
		(void)v_enum_required(c, P_NAME(pp, "protocol"), jget(port, "protocol"), protocols);
	}
}

static void endpoints(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *list = jget(obj, "subsets");
	(void)old;
	(void)sub;
	for (size_t i = 0; i < json_array_size(list); i++)
		check_subset(c, P_INDEX(P_NAME(NULL, "subsets"), i), json_array_get(list, i));
}
const struct kind_rules endpoints_rules = {.validate = endpoints, .cells = endpoints_cells};

/* --- EndpointSlice --- */

static void check_endpoint(
	struct causes *c, const struct fpath *p, const json_t *e, const char *type)
{
	const json_t *list = jget(e, "addresses");
	const struct fpath *ap = P_NAME(p, "addresses");
	bool fqdn = strcmp(type, "FQDN") == 0, want6 = strcmp(type, "IPv6") == 0;
	if (json_array_size(list) == 0)
		v_required(c, ap, "must contain at least 1 address");
	else if (json_array_size(list) > 100)
		v_too_many(c, ap, json_array_size(list), 100);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		unsigned char b[16];
		bool v6;
		if (fqdn) {
			(void)v_format(c, P_INDEX(ap, i), s, fmt_dns1123_subdomain);
			continue;
		}
		v_endpoint_address(c, P_INDEX(ap, i), s);
		if (fmt_ip_parse(str_of(s), b, &v6) && v6 != want6)
			v_invalid_str(c, P_INDEX(ap, i), s, "must be an %s address", type);
	}
	if (jhas(e, "nodeName"))
		(void)v_format(
			c, P_NAME(p, "nodeName"), jstr(e, "nodeName"), fmt_dns1123_subdomain);
	if (jhas(e, "hostname"))
		(void)v_format(c, P_NAME(p, "hostname"), jstr(e, "hostname"), fmt_dns1123_label);
}

static void check_slice_ports(struct causes *c, const json_t *ports)
{
	const struct fpath *p = P_NAME(NULL, "ports");
	AUTO_JSON json_t *names = json_object();
	for (size_t i = 0; i < json_array_size(ports) && !causes_full(c); i++) {
		const json_t *port = json_array_get(ports, i);
		const struct fpath *pp = P_INDEX(p, i);
		if (jhas(port, "name"))
			(void)v_format(
				c, P_NAME(pp, "name"), jstr(port, "name"), fmt_dns1123_label);
		if (v_seen(names, jstr(port, "name"), i) < i)
			v_duplicate(c, P_NAME(pp, "name"), jget(port, "name"));
		if (jget(port, "port"))
			(void)v_port(c, P_NAME(pp, "port"), jget(port, "port"));
		(void)v_enum(c, P_NAME(pp, "protocol"), jget(port, "protocol"), protocols);
	}
}

static void endpoint_slice(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const types[] = {"FQDN", "IPv4", "IPv6", NULL};
	static const struct vrow rows[] = {ROW("endpoints[].hints.forZones", V_MOST, .max = 8),
		ROW("endpoints[].hints.forZones[].name", V_REQUIRED),
		ROW("endpoints[].hints.forZones[].name", V_FORMAT, .format = fmt_label_value),
		ROW("endpoints[].zone", V_FORMAT, .format = fmt_label_value),
		ROW("ports[].appProtocol", V_FORMAT, .format = fmt_qualified_name), {0}};
	const json_t *list = jget(obj, "endpoints"), *ports = jget(obj, "ports");
	(void)sub;
	(void)v_enum_required(c, P_NAME(NULL, "addressType"), jget(obj, "addressType"), types);
	if (json_array_size(list) > 1000)
		v_too_many(c, P_NAME(NULL, "endpoints"), json_array_size(list), 1000);
	if (json_array_size(ports) > 20000)
		v_too_many(c, P_NAME(NULL, "ports"), json_array_size(ports), 20000);
	for (size_t i = 0; i < json_array_size(list); i++)
		check_endpoint(c, P_INDEX(P_NAME(NULL, "endpoints"), i), json_array_get(list, i),
			jstr(obj, "addressType"));
	check_slice_ports(c, ports);
	v_rows(c, rows, obj, old);
	if (old)
		(void)v_immutable(c, P_NAME(NULL, "addressType"), jget(obj, "addressType"),
			jget(old, "addressType"));
}
const struct kind_rules endpoint_slice_rules = {.validate = endpoint_slice, .cells = slice_cells};

/* --- ServiceAccount, Event, Lease --- */

static void event(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *o =
		jget(obj, "involvedObject") ? jget(obj, "involvedObject") : jget(obj, "regarding");
	const char *ns = jstr(jget(obj, "metadata"), "namespace"), *ons = jstr(o, "namespace");
	const struct fpath *p = P_NAME(NULL, "involvedObject");
	(void)old;
	(void)sub;
	if (*ons && strcmp(ns, ons) != 0)
		v_invalid_str(c, P_NAME(p, "namespace"), ons, "does not match event.namespace");
	else if (!*ons && *ns && strcmp(ns, "default") != 0 && strcmp(ns, "kube-system") != 0)
		v_invalid_str(c, P_NAME(p, "namespace"), ons, "does not match event.namespace");
}
const struct kind_rules event_rules = {.validate = event, .cells = event_cells};

static void lease(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *spec = jget(obj, "spec"), *d = jget(spec, "leaseDurationSeconds");
	const struct fpath *p = P_NAME(NULL, "spec");
	(void)old;
	(void)sub;
	if (d && json_integer_value(d) <= 0)
		v_invalid(c, P_NAME(p, "leaseDurationSeconds"), d, "must be greater than 0");
	if (jget(spec, "holderIdentity") && !jhas(spec, "holderIdentity"))
		v_invalid_str(c, P_NAME(p, "holderIdentity"), "", "must not be empty");
	(void)v_nonneg(c, P_NAME(p, "leaseTransitions"), jget(spec, "leaseTransitions"));
}
const struct kind_rules lease_rules = {.validate = lease};

/* --- PersistentVolumeClaim, ResourceQuota, PodTemplate --- */

static void pod_template(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	(void)old;
	(void)sub;
	v_pod_template(c, P_NAME(NULL, "template"), jget(obj, "template"));
}

const struct kind_rules claim_rules = {.validate = validate_claim, .cells = claim_cells};
const struct kind_rules quota_rules = {.validate = validate_quota, .cells = quota_cells};
const struct kind_rules pod_template_rules = {
	.validate = pod_template, .cells = pod_template_cells};

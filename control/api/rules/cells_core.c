/* SPDX-License-Identifier: Apache-2.0
 * Table cells of the core group, except pods. */
#include <ctype.h>
#include "api/rules/cells.h"

void join(struct buf *b, const char *sep, struct str piece)
{
	if (b->len)
		buf_adds(b, sep);
	buf_add_str(b, piece);
}

/* --- Node --- */

static void node_status(struct cells *c, struct jv obj)
{
	const char *state = "Unknown";
	AUTO_BUF struct buf b = {0};
	jv_each (it, jv_path(obj, "status.conditions"))
		if (jv_is_str(jv_get(it.v, "type"), "Ready"))
			state = jv_is_str(jv_get(it.v, "status"), "True") ? "Ready" : "NotReady";
	buf_adds(&b, state);
	if (jv_bool(jv_path(obj, "spec.unschedulable"), false))
		buf_adds(&b, ",SchedulingDisabled");
	cell_buf(c, &b, "");
}

static void node_roles(struct cells *c, struct jv obj)
{
	static const char prefix[] = "node-role.kubernetes.io/";
	struct str roles[16];
	size_t n = 0;
	AUTO_BUF struct buf b = {0};
	jv_each (it, jv_path(obj, "metadata.labels")) {
		struct str role = {NULL, 0};
		size_t at = n;
		if (str_starts(it.key, prefix))
			role = (struct str){
				it.key.p + sizeof(prefix) - 1, it.key.n - sizeof(prefix) + 1};
		else if (str_eqz(it.key, "kubernetes.io/role"))
			role = jv_raw_str(it.v);
		if (role.n == 0 || n == ARRAY_LEN(roles))
			continue;
		for (; at && str_cmp(role, roles[at - 1]) < 0; at--)
			roles[at] = roles[at - 1];
		roles[at] = role;
		n++;
	}
	for (size_t i = 0; i < n; i++)
		if (i == 0 || !str_eq(roles[i], roles[i - 1]))
			join(&b, ",", roles[i]);
	cell_buf(c, &b, "<none>");
}

static void node_address(struct cells *c, struct jv obj, const char *type)
{
	jv_each (it, jv_path(obj, "status.addresses"))
		if (jv_is_str(jv_get(it.v, "type"), type)) {
			cell_raw(c, jv_get(it.v, "address"), "<none>");
			return;
		}
	cell_str(c, STR("<none>"));
}

static void node_internal(struct cells *c, struct jv obj)
{
	node_address(c, obj, "InternalIP");
}

static void node_external(struct cells *c, struct jv obj)
{
	node_address(c, obj, "ExternalIP");
}

static void node_version(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "status.nodeInfo.kubeletVersion"), "");
}

static void node_image(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "status.nodeInfo.osImage"), "<unknown>");
}

static void node_kernel(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "status.nodeInfo.kernelVersion"), "<unknown>");
}

static void node_runtime(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "status.nodeInfo.containerRuntimeVersion"), "<unknown>");
}

const struct cell_rule node_cells[] = {{"Status", node_status}, {"Roles", node_roles},
	{"Version", node_version}, {"Internal-IP", node_internal}, {"External-IP", node_external},
	{"OS-Image", node_image}, {"Kernel-Version", node_kernel},
	{"Container-Runtime", node_runtime}, {NULL, NULL}};

/* --- Service --- */

static void service_ip(struct cells *c, struct jv obj)
{
	struct jv first = jv_path(obj, "spec.clusterIPs.0");
	cell_raw(c, jv_present(first) ? first : jv_path(obj, "spec.clusterIP"), "<none>");
}

static void service_external(struct cells *c, struct jv obj)
{
	struct jv type = jv_path(obj, "spec.type");
	bool lb = jv_is_str(type, "LoadBalancer");
	AUTO_BUF struct buf b = {0};
	if (jv_is_str(type, "ExternalName")) {
		cell_raw(c, jv_path(obj, "spec.externalName"), "");
		return;
	}
	jv_each (it, jv_path(obj, "status.loadBalancer.ingress")) {
		struct str s = jv_raw_str(jv_get(it.v, "ip"));
		if (lb)
			join(&b, ",", s.n ? s : jv_raw_str(jv_get(it.v, "hostname")));
	}
	jv_each (it, jv_path(obj, "spec.externalIPs"))
		join(&b, ",", jv_raw_str(it.v));
	cell_buf(c, &b, lb ? "<pending>" : "<none>");
}

static void service_ports(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	jv_each (it, jv_path(obj, "spec.ports")) {
		struct str proto = jv_raw_str(jv_get(it.v, "protocol"));
		int64_t node_port = jv_int(jv_get(it.v, "nodePort"), 0);
		buf_addf(
			&b, "%s%lld", b.len ? "," : "", (long long)jv_int(jv_get(it.v, "port"), 0));
		if (node_port)
			buf_addf(&b, ":%lld", (long long)node_port);
		buf_addf(&b, "/%.*s", STR_FMT(proto));
	}
	cell_buf(c, &b, "<none>");
}

static void service_selector(struct cells *c, struct jv obj)
{
	cell_labels(c, jv_path(obj, "spec.selector"));
}

const struct cell_rule service_cells[] = {{"Cluster-IP", service_ip},
	{"External-IP", service_external}, {"Port(s)", service_ports},
	{"Selector", service_selector}, {NULL, NULL}};

/* --- Endpoints, EndpointSlice: three shown, then a count --- */

#define SHOWN 3

static void add_limited(struct buf *b, size_t *n, struct str ip, int64_t port)
{
	bool v6 = ip.n && memchr(ip.p, ':', ip.n);
	if ((*n)++ >= SHOWN)
		return;
	if (b->len)
		buf_addc(b, ',');
	if (port < 0)
		buf_add_str(b, ip);
	else
		buf_addf(b, v6 ? "[%.*s]:%lld" : "%.*s:%lld", STR_FMT(ip), (long long)port);
}

static void finish_limited(struct cells *c, struct buf *b, size_t n, const char *none)
{
	if (n > SHOWN)
		buf_addf(b, " + %zu more...", n - SHOWN);
	cell_buf(c, b, none);
}

static void endpoints_list(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	size_t n = 0;
	jv_each (sub, jv_get(obj, "subsets")) {
		struct jv ports = jv_get(sub.v, "ports"), addresses = jv_get(sub.v, "addresses");
		if (jv_len(ports) == 0) {
			jv_each (a, addresses)
				add_limited(&b, &n, jv_raw_str(jv_get(a.v, "ip")), -1);
			continue;
		}
		jv_each (p, ports)
			jv_each (a, addresses)
				add_limited(&b, &n, jv_raw_str(jv_get(a.v, "ip")),
					jv_int(jv_get(p.v, "port"), 0));
	}
	finish_limited(c, &b, n, "<none>");
}

const struct cell_rule endpoints_cells[] = {{"Endpoints", endpoints_list}, {NULL, NULL}};

static void slice_ports(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	size_t n = 0;
	jv_each (it, jv_get(obj, "ports")) {
		struct jv port = jv_get(it.v, "port");
		struct str text = jv_present(port) ? jv_bytes(port) : STR("*");
		add_limited(&b, &n, text, -1);
	}
	finish_limited(c, &b, n, "<unset>");
}

static void slice_endpoints(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	size_t n = 0;
	jv_each (it, jv_get(obj, "endpoints"))
		jv_each (a, jv_get(it.v, "addresses"))
			add_limited(&b, &n, jv_raw_str(a.v), -1);
	finish_limited(c, &b, n, "<unset>");
}

const struct cell_rule slice_cells[] = {
	{"Ports", slice_ports}, {"Endpoints", slice_endpoints}, {NULL, NULL}};

/* --- Event, in both of its groups --- */

static struct jv either(struct jv obj, const char *a, const char *b)
{
	struct jv v = jv_path(obj, a);
	return jv_present(v) && jv_type(v) != JV_NULL ? v : jv_path(obj, b);
}

static struct jv first_seen(struct jv obj)
{
	struct jv v = either(obj, "firstTimestamp", "deprecatedFirstTimestamp");
	return jv_type(v) == JV_STRING ? v : jv_get(obj, "eventTime");
}

static void event_last(struct cells *c, struct jv obj)
{
	struct jv series = jv_path(obj, "series.lastObservedTime");
	struct jv v = either(obj, "lastTimestamp", "deprecatedLastTimestamp");
	if (jv_type(series) == JV_STRING)
		v = series;
	cell_age(c, jv_type(v) == JV_STRING ? v : first_seen(obj));
}

static void event_first(struct cells *c, struct jv obj)
{
	cell_age(c, first_seen(obj));
}

static void event_object(struct cells *c, struct jv obj)
{
	struct jv o = either(obj, "involvedObject", "regarding");
	struct str kind = jv_raw_str(jv_get(o, "kind")), name = jv_raw_str(jv_get(o, "name"));
	AUTO_BUF struct buf b = {0};
	for (size_t i = 0; i < kind.n; i++)
		buf_addc(&b, (char)tolower((unsigned char)kind.p[i]));
	if (name.n)
		buf_addf(&b, "/%.*s", STR_FMT(name));
	cell_buf(c, &b, "");
}

static void event_subobject(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_get(either(obj, "involvedObject", "regarding"), "fieldPath"), "");
}

static void event_source(struct cells *c, struct jv obj)
{
	struct jv src = either(obj, "source", "deprecatedSource");
	struct str who = jv_raw_str(jv_get(src, "component"));
	struct str host = jv_raw_str(jv_get(src, "host"));
	AUTO_BUF struct buf b = {0};
	if (!who.n) {
		who = jv_raw_str(either(obj, "reportingComponent", "reportingController"));
		host = jv_raw_str(jv_get(obj, "reportingInstance"));
	}
	buf_add_str(&b, who);
	if (host.n)
		join(&b, ", ", host);
	cell_buf(c, &b, "");
}

static void event_message(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	struct str s;
	jv_unescape(either(obj, "message", "note"), &b);
	s = buf_str(&b);
	while (s.n && isspace((unsigned char)s.p[s.n - 1]))
		s.n--;
	while (s.n && isspace((unsigned char)*s.p))
		s = (struct str){s.p + 1, s.n - 1};
	cell_str(c, s);
}

static void event_count(struct cells *c, struct jv obj)
{
	int64_t n = jv_int(either(obj, "count", "deprecatedCount"), 0);
	n = jv_int(jv_path(obj, "series.count"), n);
	cell_int(c, n ? n : 1);
}

const struct cell_rule event_cells[] = {{"Last Seen", event_last}, {"Object", event_object},
	{"Subobject", event_subobject}, {"Source", event_source}, {"Message", event_message},
	{"First Seen", event_first}, {"Count", event_count}, {NULL, NULL}};

/* --- ConfigMap, Secret --- */

static void config_data(struct cells *c, struct jv obj)
{
	cell_int(c, (int64_t)(jv_len(jv_get(obj, "data")) + jv_len(jv_get(obj, "binaryData"))));
}

const struct cell_rule config_map_cells[] = {{"Data", config_data}, {NULL, NULL}};
const struct cell_rule secret_cells[] = {{"Data", config_data}, {NULL, NULL}};

/* --- PersistentVolume, PersistentVolumeClaim --- */

static void add_modes(struct buf *b, struct jv modes)
{
	static const struct {
		const char *mode;
		struct str brief;
	} rows[] = {{"ReadWriteOnce", {"RWO", 3}}, {"ReadOnlyMany", {"ROX", 3}},
		{"ReadWriteMany", {"RWX", 3}}, {"ReadWriteOncePod", {"RWOP", 4}}};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		jv_each (it, modes)
			if (jv_is_str(it.v, rows[i].mode)) {
				join(b, ",", rows[i].brief);
				break;
			}
}

static void storage_phase(struct cells *c, struct jv obj)
{
	if (jv_raw_str(jv_path(obj, "metadata.deletionTimestamp")).n)
		cell_str(c, STR("Terminating"));
	else
		cell_raw(c, jv_path(obj, "status.phase"), "");
}

static bool bound(struct jv obj)
{
	return jv_raw_str(jv_path(obj, "spec.volumeName")).n > 0;
}

static void claim_volume(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.volumeName"), "");
}

static void claim_capacity(struct cells *c, struct jv obj)
{
	cell_raw(c, bound(obj) ? jv_path(obj, "status.capacity.storage") : (struct jv){0}, "");
}

static void claim_modes(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	if (bound(obj))
		add_modes(&b, jv_path(obj, "status.accessModes"));
	cell_buf(c, &b, "");
}

static void storage_class(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.storageClassName"), "");
}

static void attributes_class(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.volumeAttributesClassName"), "<unset>");
}

static void volume_mode(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.volumeMode"), "<unset>");
}

const struct cell_rule claim_cells[] = {{"Status", storage_phase}, {"Volume", claim_volume},
	{"Capacity", claim_capacity}, {"Access Modes", claim_modes},
	{"StorageClass", storage_class}, {"VolumeAttributesClass", attributes_class},
	{"VolumeMode", volume_mode}, {NULL, NULL}};

static void volume_capacity(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.capacity.storage"), "");
}

static void volume_modes(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	add_modes(&b, jv_path(obj, "spec.accessModes"));
	cell_buf(c, &b, "");
}

static void volume_reclaim(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "spec.persistentVolumeReclaimPolicy"), "");
}

static void volume_claim(struct cells *c, struct jv obj)
{
	struct jv ref = jv_path(obj, "spec.claimRef");
	AUTO_BUF struct buf b = {0};
	if (jv_present(ref))
		buf_addf(&b, "%.*s/%.*s", STR_FMT(jv_raw_str(jv_get(ref, "namespace"))),
			STR_FMT(jv_raw_str(jv_get(ref, "name"))));
	cell_buf(c, &b, "");
}

static void volume_reason(struct cells *c, struct jv obj)
{
	cell_raw(c, jv_path(obj, "status.reason"), "");
}

const struct cell_rule volume_cells[] = {{"Capacity", volume_capacity},
	{"Access Modes", volume_modes}, {"Reclaim Policy", volume_reclaim},
	{"Status", storage_phase}, {"Claim", volume_claim}, {"StorageClass", storage_class},
	{"VolumeAttributesClass", attributes_class}, {"Reason", volume_reason},
	{"VolumeMode", volume_mode}, {NULL, NULL}};

/* --- ResourceQuota, PodTemplate --- */

static void quota_part(struct cells *c, struct jv obj, bool limits)
{
	AUTO_BUF struct buf b = {0};
	jv_each (it, jv_path(obj, "status.hard")) {
		char key[320];
		struct str used;
		if (str_starts(it.key, "limits.") != limits ||
			str_copy(key, sizeof(key), it.key) < 0)
			continue;
		used = jv_raw_str(jv_get(jv_path(obj, "status.used"), key));
		buf_addf(&b, "%s%s: %.*s/%.*s", b.len ? ", " : "", key,
			STR_FMT(used.n ? used : STR("0")), STR_FMT(jv_raw_str(it.v)));
	}
	cell_buf(c, &b, "");
}

static void quota_request(struct cells *c, struct jv obj)
{
	quota_part(c, obj, false);
}

static void quota_limit(struct cells *c, struct jv obj)
{
	quota_part(c, obj, true);
}

const struct cell_rule quota_cells[] = {
	{"Request", quota_request}, {"Limit", quota_limit}, {NULL, NULL}};

static void template_names(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	join_containers(jv_path(obj, "template.spec"), "name", &b);
	cell_buf(c, &b, "");
}

static void template_images(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	join_containers(jv_path(obj, "template.spec"), "image", &b);
	cell_buf(c, &b, "");
}

static void template_labels(struct cells *c, struct jv obj)
{
	cell_labels(c, jv_path(obj, "template.metadata.labels"));
}

const struct cell_rule pod_template_cells[] = {{"Containers", template_names},
	{"Images", template_images}, {"Pod Labels", template_labels}, {NULL, NULL}};

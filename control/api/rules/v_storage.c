/* SPDX-License-Identifier: Apache-2.0
 * Storage: volumes, claims, classes, drivers, attachments. */
#include "api/rules/pod.h"
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static const struct fpath spec_path = {.name = "spec"};
static const char *const volume_modes[] = {"Block", "Filesystem", NULL};

/* Access modes are reported at the list, not at the element. */
static void check_modes(struct causes *c, const json_t *list)
{
	static const char *const modes[] = {
		"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", NULL};
	const struct fpath *p = P_NAME(&spec_path, "accessModes");
	bool alone = false, other = false;
	if (json_array_size(list) == 0)
		v_required(c, p, "at least 1 access mode is required");
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		(void)v_enum(c, p, json_array_get(list, i), modes);
		alone |= s && strcmp(s, "ReadWriteOncePod") == 0;
		other |= s && strcmp(s, "ReadWriteOncePod") != 0;
	}
	if (alone && other)
		v_forbidden(c, p, "may not use ReadWriteOncePod with other access modes");
}

/* --- PersistentVolume --- */

static const char *const volume_sources[] = {"awsElasticBlockStore", "azureDisk", "azureFile",
	"cephfs", "cinder", "csi", "fc", "flexVolume", "flocker", "gcePersistentDisk", "glusterfs",
	"hostPath", "iscsi", "local", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte",
	"rbd", "scaleIO", "storageos", "vsphereVolume"};

static const struct vrow volume_rows[] = {ROW("spec.csi.driver", V_REQUIRED),
	ROW("spec.csi.driver", V_FORMAT, .format = fmt_driver_name),
	ROW("spec.csi.volumeHandle", V_REQUIRED), ROW("spec.hostPath.path", V_REQUIRED),
	ROW("spec.local.path", V_REQUIRED), ROW("spec.nfs.server", V_REQUIRED),
	ROW("spec.nfs.path", V_REQUIRED), ROW("spec.iscsi.targetPortal", V_REQUIRED),
	ROW("spec.iscsi.iqn", V_REQUIRED),
	ROW("spec.storageClassName", V_FORMAT, .format = fmt_dns1123_subdomain),
	ROW("spec.volumeMode", V_ENUM, .enums = volume_modes), ROW("spec.volumeMode", V_FIXED),
	{0}};

static void check_capacity(struct causes *c, const json_t *spec)
{
	static const char *const storage[] = {"storage", NULL};
	const json_t *cap = jget(spec, "capacity");
	const struct fpath *p = P_NAME(&spec_path, "capacity");
	const char *name;
	json_t *v;
	int64_t n;
	if (json_object_size(cap) == 0)
		v_required(c, p, "");
	else if (!jget(cap, "storage") || json_object_size(cap) > 1)
		v_not_supported(c, p, cap, storage);
	json_object_foreach ((json_t *)cap, name, v)
		if (jquantity(v, &n) == 0 && n <= 0)
			v_invalid(c, P_KEY(p, name), v, "must be greater than zero");
}

static void check_volume_source(struct causes *c, const json_t *spec, const json_t *was)
{
	size_t n = 0;
	bool changed = false;
	for (size_t i = 0; i < ARRAY_LEN(volume_sources); i++) {
		const json_t *v = jget(spec, volume_sources[i]);
		changed |= was && !jequal(v, jget(was, volume_sources[i]));
		if (v && n++)
			v_forbidden(c, P_NAME(&spec_path, volume_sources[i]),
				"may not specify more than 1 volume type");
	}
	if (n == 0)
		v_required(c, &spec_path, "must specify a volume type");
	if (changed)
		v_forbidden(c, P_NAME(&spec_path, "persistentvolumesource"),
			"spec.persistentvolumesource is immutable after creation");
}

void validate_volume(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const policies[] = {"Delete", "Recycle", "Retain", NULL};
	const json_t *spec = jget(obj, "spec"), *was = jget(old, "spec");
	const json_t *affinity = jget(spec, "nodeAffinity");
	const struct fpath *ap = P_NAME(&spec_path, "nodeAffinity");
	const struct fpath *rp = P_NAME(&spec_path, "persistentVolumeReclaimPolicy");
	if (*sub)
		return;
	check_modes(c, jget(spec, "accessModes"));
	check_capacity(c, spec);
	(void)v_enum(c, rp, jget(spec, "persistentVolumeReclaimPolicy"), policies);
	check_volume_source(c, spec, was);
	v_rows(c, volume_rows, obj, old);
	if (affinity && !jget(affinity, "required"))
		v_required(c, P_NAME(ap, "required"), "must specify required node constraints");
	else if (affinity)
		v_node_selector(c, P_NAME(ap, "required"), jget(affinity, "required"));
	else if (jget(spec, "local"))
		v_required(c, P_NAME(P_NAME(NULL, "metadata"), "annotations"),
			"Local volume requires node affinity");
	if (strcmp(jstr(jget(spec, "hostPath"), "path"), "/") == 0 &&
		strcmp(jstr(spec, "persistentVolumeReclaimPolicy"), "Recycle") == 0)
		v_forbidden(c, rp, "may not be 'recycle' for a hostPath mount of '/'");
	if (jget(was, "nodeAffinity") && !jequal(affinity, jget(was, "nodeAffinity")))
		v_invalid(c, ap, affinity,
			"field is immutable, except for updating from beta label to GA");
}

/* --- PersistentVolumeClaim --- */

static const struct vrow claim_rows[] = {
	ROW("spec.storageClassName", V_FORMAT, .format = fmt_dns1123_subdomain),
	ROW("spec.volumeAttributesClassName", V_FORMAT, .format = fmt_dns1123_subdomain),
	ROW("spec.volumeMode", V_ENUM, .enums = volume_modes), ROW("spec.selector", V_SELECTOR),
	ROW("spec.dataSource.name", V_REQUIRED), ROW("spec.dataSource.kind", V_REQUIRED),
	ROW("spec.dataSource.apiGroup", V_FORMAT, .format = fmt_dns1123_subdomain),
	ROW("spec.dataSourceRef.name", V_REQUIRED), ROW("spec.dataSourceRef.kind", V_REQUIRED),
	ROW("spec.dataSourceRef.apiGroup", V_FORMAT, .format = fmt_dns1123_subdomain), {0}};

static void check_source(struct causes *c, const json_t *spec, const char *member)
{
	const json_t *src = jget(spec, member);
	if (src && !jhas(src, "apiGroup") && jhas(src, "kind") &&
		strcmp(jstr(src, "kind"), "PersistentVolumeClaim") != 0)
		v_invalid(c, P_NAME(&spec_path, member), jget(src, "kind"),
			"must be 'PersistentVolumeClaim' when referencing the default apiGroup");
}

static const json_t *requested(const json_t *spec)
{
	return jget(jget(jget(spec, "resources"), "requests"), "storage");
}

/* Only a bound claim may ask for more. */
static void check_claim_update(struct causes *c, const json_t *obj, const json_t *old)
{
	static const char *const always_free[] = {"volumeAttributesClassName"};
	const json_t *was = jget(old, "spec");
	AUTO_JSON json_t *a = json_deep_copy(jget(obj, "spec")), *b = json_deep_copy(was);
	bool bound = strcmp(jstr(jget(obj, "status"), "phase"), "Bound") == 0;
	int64_t now, have;
	if (!a || !b)
		return;
	for (size_t i = 0; i < ARRAY_LEN(always_free); i++) {
		(void)json_object_del(a, always_free[i]);
		(void)json_object_del(b, always_free[i]);
	}
	if (!jhas(was, "volumeName"))
		(void)json_object_del(a, "volumeName");
	if (bound) {
		(void)json_object_del(
			json_object_get(json_object_get(a, "resources"), "requests"), "storage");
		(void)json_object_del(
			json_object_get(json_object_get(b, "resources"), "requests"), "storage");
	}
	if (!jequal(a, b))
		v_forbidden(c, &spec_path,
			"spec is immutable after creation except resources.requests and "
			"volumeAttributesClassName for bound claims");
	if (bound && jquantity(requested(jget(obj, "spec")), &now) == 0 &&
		jquantity(jget(jget(jget(old, "status"), "capacity"), "storage"), &have) == 0 &&
		now < have)
		v_forbidden(c,
			P_NAME(P_NAME(P_NAME(&spec_path, "resources"), "requests"), "storage"),
			"field can not be less than status.capacity");
}

void validate_claim(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	const json_t *spec = jget(obj, "spec"), *size = requested(spec);
	const struct fpath *sp = P_KEY(P_NAME(&spec_path, "resources"), "storage");
	int64_t n;
	if (*sub)
		return;
	check_modes(c, jget(spec, "accessModes"));
	if (!size)
		v_required(c, sp, "");
	else if (jquantity(size, &n) == 0 && n <= 0)
		v_invalid(c, sp, size, "must be greater than zero");
	v_rows(c, claim_rows, obj, old);
	check_source(c, spec, "dataSource");
	check_source(c, spec, "dataSourceRef");
	if (old)
		check_claim_update(c, obj, old);
}

/* --- StorageClass, VolumeAttributesClass --- */

static const char *const reclaim[] = {"Delete", "Retain", NULL};
static const char *const binding[] = {"Immediate", "WaitForFirstConsumer", NULL};
static const struct vrow class_rows[] = {ROW("provisioner", V_REQUIRED),
	ROW("provisioner", V_FORMAT, .format = fmt_qualified_name),
	ROW("reclaimPolicy", V_ENUM, .enums = reclaim),
	ROW("volumeBindingMode", V_ENUM, .enums = binding),
	ROW("allowedTopologies[].matchLabelExpressions[].key", V_FORMAT,
		.format = fmt_qualified_name),
	ROW("allowedTopologies[].matchLabelExpressions[].values", V_REQUIRED),
	ROW("provisioner", V_FORBIDDEN, .text = "updates to provisioner are forbidden."),
	ROW("parameters", V_FORBIDDEN, .text = "updates to parameters are forbidden."),
	ROW("reclaimPolicy", V_FORBIDDEN, .text = "updates to reclaimPolicy are forbidden."),
	ROW("volumeBindingMode", V_FIXED), {0}};

static void check_parameters(struct causes *c, const json_t *map)
{
	const struct fpath *p = P_NAME(NULL, "parameters");
	size_t total = 0;
	const char *key;
	json_t *v;
	if (json_object_size(map) > 512) {
		v_too_long(c, p, 512);
		return;
	}
	json_object_foreach ((json_t *)map, key, v) {
		if (!*key)
			v_invalid_str(c, p, key, "field can not be empty.");
		total += strlen(key) + json_string_length(v);
	}
	if (total > 256 << 10)
		v_too_long(c, p, 256 << 10);
}

void validate_storage_class(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	(void)sub;
	v_rows(c, class_rows, obj, old);
	check_parameters(c, jget(obj, "parameters"));
}

static void attributes_class(
	const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("driverName", V_REQUIRED),
		ROW("driverName", V_FORMAT, .format = fmt_driver_name),
		ROW("parameters", V_REQUIRED, .text = "must contain at least one key/value pair"),
		ROW("driverName", V_FORBIDDEN, .text = "updates to driverName are forbidden."),
		ROW("parameters", V_FORBIDDEN, .text = "updates to parameters are forbidden."),
		{0}};
	(void)sub;
	v_rows(c, rows, obj, old);
	check_parameters(c, jget(obj, "parameters"));
}
const struct kind_rules attributes_class_rules = {.validate = attributes_class};

static void capacity(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("storageClassName", V_REQUIRED),
		ROW("storageClassName", V_FORMAT, .format = fmt_dns1123_subdomain),
		ROW("nodeTopology", V_SELECTOR), ROW("capacity", V_AMOUNT),
		ROW("maximumVolumeSize", V_AMOUNT), ROW("storageClassName", V_FIXED),
		ROW("nodeTopology", V_FIXED), {0}};
	(void)sub;
	v_rows(c, rows, obj, old);
}
const struct kind_rules storage_capacity_rules = {.validate = capacity};

/* --- CSIDriver, CSINode, VolumeAttachment --- */

void validate_csi_driver(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const char *const lifecycle[] = {"Ephemeral", "Persistent", NULL};
	static const char *const groups[] = {"File", "None", "ReadWriteOnceWithFSType", NULL};
	static const struct vrow rows[] = {
		ROW("metadata.name", V_FORMAT, .format = fmt_driver_name),
		ROW("spec.fsGroupPolicy", V_ENUM, .enums = groups),
		ROW("spec.tokenRequests[].audience", V_UNIQUE),
		ROW("spec.tokenRequests[].expirationSeconds", V_RANGE, .min = 600, .max = 1LL << 32,
			.text = "may not specify a duration less than 10 minutes"),
		ROW("spec.nodeAllocatableUpdatePeriodSeconds", V_RANGE, .min = 10, .max = INT64_MAX,
			.text = "must be greater than or equal to 10 seconds"),
		ROW("spec.volumeLifecycleModes", V_FIXED), {0}};
	const json_t *spec = jget(obj, "spec"), *list = jget(spec, "volumeLifecycleModes");
	(void)sub;
	v_rows(c, rows, obj, old);
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++)
		(void)v_enum(c, P_NAME(&spec_path, "volumeLifecycleModes"), json_array_get(list, i),
			lifecycle);
	if (old)
		(void)v_immutable(c, P_NAME(&spec_path, "attachedRequired"),
			jget(spec, "attachRequired"), jget(jget(old, "spec"), "attachRequired"));
}

static void check_topology_keys(struct causes *c, const struct fpath *p, const json_t *list)
{
	AUTO_JSON json_t *seen = json_object();
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		if (s && *s)
			(void)v_format(c, p, s, fmt_qualified_name);
		else
			v_required(c, p, "");
		if (s && v_seen(seen, s, i) < i)
			v_duplicate(c, p, json_array_get(list, i));
	}
}

void validate_csi_node(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("spec.drivers[].name", V_REQUIRED),
		ROW("spec.drivers[].name", V_FORMAT, .format = fmt_driver_name),
		ROW("spec.drivers[].name", V_UNIQUE), ROW("spec.drivers[].nodeID", V_REQUIRED),
		ROW("spec.drivers[].allocatable.count", V_RANGE, .min = 0, .max = INT32_MAX), {0}};
	const json_t *list = jget(jget(obj, "spec"), "drivers");
	const json_t *was = jget(jget(old, "spec"), "drivers");
	const struct fpath *p = P_NAME(&spec_path, "drivers");
	AUTO_JSON json_t *by_name = json_object();
	(void)sub;
	v_rows(c, rows, obj, old);
	for (size_t i = 0; i < json_array_size(was); i++)
		(void)v_seen(by_name, jstr(json_array_get(was, i), "name"), i);
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const json_t *d = json_array_get(list, i);
		const json_t *had = json_object_get(by_name, jstr(d, "name"));
		const struct fpath *dp = P_INDEX(p, i);
		if (strlen(jstr(d, "nodeID")) > 192)
			v_invalid(c, P_NAME(dp, "nodeID"), jget(d, "nodeID"),
				"must be 192 characters or less");
		check_topology_keys(c, P_NAME(dp, "topologyKeys"), jget(d, "topologyKeys"));
		/* what a driver said of itself stays, its limit excepted */
		const json_t *o = json_array_get(was, (size_t)json_integer_value(had));
		if (had && !(jequal(jget(d, "nodeID"), jget(o, "nodeID")) &&
				   jequal(jget(d, "topologyKeys"), jget(o, "topologyKeys"))))
			v_invalid(c, dp, d, "field is immutable");
	}
}

void validate_attachment(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("spec.attacher", V_REQUIRED),
		ROW("spec.attacher", V_FORMAT, .format = fmt_driver_name),
		ROW("spec.nodeName", V_REQUIRED),
		ROW("spec.nodeName", V_FORMAT, .format = fmt_dns1123_subdomain),
		ROW("spec", V_FIXED), {0}};
	const json_t *src = jget(jget(obj, "spec"), "source");
	const json_t *name = jget(src, "persistentVolumeName");
	const json_t *inline_spec = jget(src, "inlineVolumeSpec");
	const struct fpath *p = P_NAME(&spec_path, "source");
	if (*sub)
		return;
	v_rows(c, rows, obj, old);
	if (!name && !inline_spec)
		v_required(c, p,
			"must specify exactly one of inlineVolumeSpec and persistentVolumeName");
	else if (name && inline_spec)
		v_forbidden(c, p,
			"must specify exactly one of inlineVolumeSpec and persistentVolumeName");
	else if (name && !jhas(src, "persistentVolumeName"))
		v_required(c, P_NAME(p, "persistentVolumeName"),
			"must specify non empty persistentVolumeName");
}

/* SPDX-License-Identifier: Apache-2.0
 * Dynamic resource allocation: device classes, claims and their templates, slices. */
#include "api/rules/registry.h"
#include "api/rules/vtable.h"

static const struct fpath spec_path = {.name = "spec"};

/* --- DeviceClass --- */

static void device_class(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("spec.selectors[].cel", V_REQUIRED),
		ROW("spec.selectors[].cel.expression", V_REQUIRED),
		ROW("spec.selectors", V_MOST, .max = 32), ROW("spec.config", V_MOST, .max = 32),
		ROW("spec.config[].opaque", V_REQUIRED),
		ROW("spec.config[].opaque.driver", V_REQUIRED),
		ROW("spec.config[].opaque.driver", V_FORMAT, .format = fmt_driver_name), {0}};
	(void)sub;
	v_rows(c, rows, obj, old);
}
const struct kind_rules device_class_rules = {.validate = device_class};

/* --- ResourceClaim, ResourceClaimTemplate --- */

static void check_exact(struct causes *c, const struct fpath *p, const json_t *r)
{
	static const char *const modes[] = {"All", "ExactCount", NULL};
	static const struct vrow rows[] = {ROW("deviceClassName", V_REQUIRED),
		ROW("deviceClassName", V_FORMAT, .format = fmt_dns1123_subdomain),
		ROW("selectors[].cel", V_REQUIRED), ROW("selectors[].cel.expression", V_REQUIRED),
		ROW("allocationMode", V_ENUM, .enums = modes), {0}};
	const json_t *count = jget(r, "count");
	bool all = strcmp(jstr(r, "allocationMode"), "All") == 0;
	v_rows_at(c, p, rows, r, NULL);
	if (all && json_integer_value(count))
		v_invalid(c, P_NAME(p, "count"), count,
			"must not be specified when allocationMode is 'All'");
	else if (!all && count && json_integer_value(count) < 1)
		v_invalid(c, P_NAME(p, "count"), count, "must be greater than zero");
}

static void check_request(struct causes *c, const struct fpath *p, const json_t *r)
{
	static const struct vrow rows[] = {ROW("name", V_REQUIRED),
		ROW("name", V_FORMAT, .format = fmt_dns1123_label),
		ROW("firstAvailable", V_MOST, .max = 8), ROW("firstAvailable[].name", V_REQUIRED),
		ROW("firstAvailable[].name", V_FORMAT, .format = fmt_dns1123_label),
		ROW("firstAvailable[].name", V_UNIQUE), {0}};
	const json_t *exact = jget(r, "exactly"), *list = jget(r, "firstAvailable");
	v_rows_at(c, p, rows, r, NULL);
	if (!exact && json_array_size(list) == 0)
		v_required(c, p, "exactly one of `exactly` or `firstAvailable` is required");
	else if (exact && json_array_size(list))
		v_invalid(c, p, r,
			"exactly one of `exactly` or `firstAvailable` is required, but multiple "
			"fields are set");
	if (exact)
		check_exact(c, P_NAME(p, "exactly"), exact);
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++)
		check_exact(c, P_INDEX(P_NAME(p, "firstAvailable"), i), json_array_get(list, i));
}

static bool request_known(const json_t *list, const char *name)
{
	struct str rest = str_of(name), first = str_cut(&rest, '/');
	for (size_t i = 0; i < json_array_size(list); i++)
		if (str_eqz(first, jstr(json_array_get(list, i), "name")))
			return true;
	return false;
}

/* Constraints and configurations name requests. */
static void check_references(
	struct causes *c, const struct fpath *p, const json_t *list, const json_t *requests)
{
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++) {
		const json_t *names = jget(json_array_get(list, i), "requests");
		const struct fpath *np = P_NAME(P_INDEX(p, i), "requests");
		for (size_t j = 0; j < json_array_size(names); j++) {
			const char *s = json_string_value(json_array_get(names, j));
			if (s && !request_known(requests, s))
				v_invalid_str(c, P_INDEX(np, j), s,
					"must be the name of a request in the claim or the name of "
					"a request and a subrequest separated by '/'");
		}
	}
}

static void check_claim_spec(struct causes *c, const struct fpath *p, const json_t *spec)
{
	static const struct vrow rows[] = {ROW("devices.requests", V_MOST, .max = 32),
		ROW("devices.requests[].name", V_UNIQUE),
		ROW("devices.constraints", V_MOST, .max = 32),
		ROW("devices.constraints[].matchAttribute", V_FORMAT, .format = fmt_domain_path),
		ROW("devices.config", V_MOST, .max = 32),
		ROW("devices.config[].opaque", V_REQUIRED),
		ROW("devices.config[].opaque.driver", V_REQUIRED),
		ROW("devices.config[].opaque.driver", V_FORMAT, .format = fmt_driver_name), {0}};
	const json_t *devices = jget(spec, "devices"), *list = jget(devices, "requests");
	const struct fpath *dp = P_NAME(p, "devices");
	v_rows_at(c, p, rows, spec, NULL);
	if (json_array_size(list) > 32) /* further requests are not looked at */
		return;
	for (size_t i = 0; i < json_array_size(list) && !causes_full(c); i++)
		check_request(c, P_INDEX(P_NAME(dp, "requests"), i), json_array_get(list, i));
	check_references(c, P_NAME(dp, "constraints"), jget(devices, "constraints"), list);
	check_references(c, P_NAME(dp, "config"), jget(devices, "config"), list);
}

static void claim(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("spec", V_FIXED), {0}};
	if (*sub)
		return;
	check_claim_spec(c, &spec_path, jget(obj, "spec"));
	v_rows(c, rows, obj, old);
}

static void claim_state(struct cells *c, struct jv obj)
{
	AUTO_BUF struct buf b = {0};
	if (jv_present(jv_path(obj, "metadata.deletionTimestamp")))
		buf_adds(&b, "deleted,");
	buf_adds(&b, jv_present(jv_path(obj, "status.allocation")) ? "allocated" : "pending");
	if (jv_len(jv_path(obj, "status.reservedFor")))
		buf_adds(&b, ",reserved");
	cell_buf(c, &b, "");
}
static const struct cell_rule claim_cells[] = {{"State", claim_state}, {NULL, NULL}};
const struct kind_rules resource_claim_rules = {.validate = claim, .cells = claim_cells};

static void claim_template(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("spec", V_FIXED), {0}};
	(void)sub;
	check_claim_spec(c, P_NAME(&spec_path, "spec"), jget(jget(obj, "spec"), "spec"));
	v_rows(c, rows, obj, old);
}
const struct kind_rules claim_template_rules = {.validate = claim_template};

/* --- ResourceSlice --- */

static void slice(const json_t *obj, const json_t *old, const char *sub, struct causes *c)
{
	static const struct vrow rows[] = {ROW("spec.driver", V_REQUIRED),
		ROW("spec.driver", V_FORMAT, .format = fmt_driver_name),
		ROW("spec.pool.name", V_REQUIRED),
		ROW("spec.pool.resourceSliceCount", V_RANGE, .min = 1, .max = INT64_MAX,
			.text = "must be greater than zero"),
		ROW("spec.pool.generation", V_RANGE, .min = 0, .max = INT64_MAX,
			.text = "must be greater than or equal to zero"),
		ROW("spec.nodeName", V_FORMAT, .format = fmt_dns1123_subdomain),
		ROW("spec.devices", V_MOST, .max = 128), ROW("spec.devices[].name", V_REQUIRED),
		ROW("spec.devices[].name", V_FORMAT, .format = fmt_dns1123_label),
		ROW("spec.devices[].name", V_UNIQUE), ROW("spec.driver", V_FIXED),
		ROW("spec.pool.name", V_FIXED), ROW("spec.nodeName", V_FIXED), {0}};
	static const char *const places[] = {
		"nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"};
	const json_t *spec = jget(obj, "spec");
	size_t n = 0;
	(void)sub;
	v_rows(c, rows, obj, old);
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		n += jhas(spec, places[i]) && !json_is_false(jget(spec, places[i]));
	if (n == 0)
		v_required(c, &spec_path,
			"exactly one of `nodeName`, `nodeSelector`, `allNodes`, "
			"`perDeviceNodeSelection` is required");
	else if (n > 1)
		v_invalid_str(c, &spec_path, "",
			"exactly one of `nodeName`, `nodeSelector`, `allNodes`, "
			"`perDeviceNodeSelection` is required, but multiple fields are set");
}
const struct kind_rules resource_slice_rules = {.validate = slice};

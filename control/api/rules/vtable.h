/* SPDX-License-Identifier: Apache-2.0
 * Checks of single fields as rows: where, what, and the limits. Kinds whose rules cross no fields
 * need nothing else. */
#ifndef XEBEC_API_RULES_VTABLE_H
#define XEBEC_API_RULES_VTABLE_H

#include "api/rules.h"

enum vcheck {
	V_END,
	V_REQUIRED,  /* absent, "", [] or {}: Required(text) */
	V_FORMAT,    /* when set: .format */
	V_ENUM,	     /* when set: one of .enums */
	V_RANGE,     /* integers: .min to .max, else Invalid(text) */
	V_MOST,	     /* at most .max entries, else TooMany */
	V_UNIQUE,    /* "list[].name" or "list[]": no two alike */
	V_SELECTOR,  /* meta/v1 LabelSelector */
	V_LABELS,    /* label keys and values */
	V_AMOUNT,    /* a quantity >= 0 */
	V_FIXED,     /* on update: Invalid "field is immutable" */
	V_FORBIDDEN, /* on update: Forbidden(text) */
};
struct vrow {
	const char *path; /* "spec.drivers[].name"; a row whose parent is not there is skipped */
	enum vcheck check;
	format_fn *format;
	const char *const *enums;
	int64_t min, max;
	const char *text;
};
#define ROW(path_, check_, ...)                                                                    \
	{                                                                                          \
		.path = (path_), .check = (check_), ##__VA_ARGS__                                  \
	}
/* Rows end with {0}. old NULL on create. */
void v_rows(struct causes *c, const struct vrow *rows, const json_t *obj, const json_t *old);
/* The same below a path. */
void v_rows_at(struct causes *c, const struct fpath *p, const struct vrow *rows, const json_t *obj,
	const json_t *old);

/* Of a JobSpec, also in a CronJob. */
void v_job_policies(struct causes *c, const struct fpath *p, const json_t *spec);
/* An address that endpoints may have: none of the host's own, link-local or multicast. */
void v_endpoint_address(struct causes *c, const struct fpath *p, const char *s);

format_fn fmt_driver_name, fmt_domain_path, fmt_three_segments;

/* Validators whose kinds' cells stand elsewhere. */
typedef void validate_fn(const json_t *obj, const json_t *old, const char *sub, struct causes *c);
validate_fn validate_ingress_class, validate_ip_address, validate_service_cidr, validate_role,
	validate_role_binding, validate_storage_class, validate_csi_driver, validate_csi_node,
	validate_attachment, validate_csr, validate_webhooks, validate_admission_policy,
	validate_admission_binding, validate_flow_schema, validate_priority_level,
	validate_api_service, validate_revision, validate_autoscaler, validate_volume,
	validate_claim, validate_quota, validate_limit_range;

#endif

/* SPDX-License-Identifier: Apache-2.0
 * What the schema tables cannot say about a kind: cross-field defaults, validation, table cells.
 * One file a kind or family in control/api/rules/, one row in rules.def. Everything here is pure.
 */
#ifndef XEBEC_API_RULES_H
#define XEBEC_API_RULES_H

#include "api/api.h"
#include "xebec/base/jv.h"

/* --- where a value stands: a list of steps on the stack, rendered only when a cause needs it ---
 */
struct fpath {
	const struct fpath *up;
	const char *name; /* member, or NULL */
	const char *key;  /* map key "[key]", or NULL */
	size_t index;	  /* list index when both are NULL */
};
#define P_NAME(up_, name_)                                                                         \
	(&(const struct fpath){.up = (up_), .name = (name_), .key = NULL, .index = 0})
#define P_INDEX(up_, i_)                                                                           \
	(&(const struct fpath){.up = (up_), .name = NULL, .key = NULL, .index = (i_)})
#define P_KEY(up_, key_)                                                                           \
	(&(const struct fpath){.up = (up_), .name = NULL, .key = (key_), .index = 0})
void fpath_write(const struct fpath *p, struct buf *out);

/* Causes in Kubernetes' wording. value is shown as Go's error printer shows it; detail may be "".
 */
void v_required(struct causes *c, const struct fpath *p, const char *detail);
void v_forbidden(struct causes *c, const struct fpath *p, const char *detail);
void v_invalid(struct causes *c, const struct fpath *p, const json_t *value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void v_invalid_str(struct causes *c, const struct fpath *p, const char *value, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void v_duplicate(struct causes *c, const struct fpath *p, const json_t *value);
void v_too_long(struct causes *c, const struct fpath *p, size_t max);
void v_too_many(struct causes *c, const struct fpath *p, size_t n, size_t max);
/* enums: NULL-terminated; shown sorted. */
void v_not_supported(
	struct causes *c, const struct fpath *p, const json_t *value, const char *const *enums);

/* --- formats: each writes up to 4 messages (static text) and returns how many, 0 = valid --- */
#define MSG_MAX 4
typedef size_t format_fn(struct str s, const char *msg[static MSG_MAX]);
format_fn fmt_dns1123_label, fmt_dns1123_subdomain, fmt_dns1035_label, fmt_qualified_name,
	fmt_label_value, fmt_config_key, fmt_env_name, fmt_port_name, fmt_path_segment, fmt_ip,
	fmt_cidr, fmt_percent, fmt_wildcard_subdomain, fmt_c_identifier, fmt_http_header,
	fmt_label_key_prefixed;
/* Runs a format over a string and adds one Invalid cause a message. True when valid. */
bool v_format(struct causes *c, const struct fpath *p, const char *s, format_fn *f);
bool fmt_ip_parse(
	struct str s, unsigned char out[static 16], bool *v6); /* no zone, no leading 0s */
#define MSG_PORT   "must be between 1 and 65535, inclusive"
#define MSG_NONNEG "must be greater than or equal to 0"

/* --- shared checks on trees --- */
bool v_nonneg(struct causes *c, const struct fpath *p, const json_t *v); /* absent is fine */
bool v_port(struct causes *c, const struct fpath *p, const json_t *v);
bool v_port_or_name(struct causes *c, const struct fpath *p, const json_t *v);
bool v_enum(struct causes *c, const struct fpath *p, const json_t *v, const char *const *enums);
/* Required when absent or "", then NotSupported. */
bool v_enum_required(
	struct causes *c, const struct fpath *p, const json_t *v, const char *const *enums);
/* Adds Invalid "field is immutable" when the two differ. */
bool v_immutable(struct causes *c, const struct fpath *p, const json_t *now, const json_t *before);
void v_labels(struct causes *c, const struct fpath *p, const json_t *labels);
void v_label_selector(
	struct causes *c, const struct fpath *p, const json_t *sel, bool allow_invalid_values);
void v_object_meta(struct causes *c, const struct fpath *p, const json_t *meta, const json_t *old,
	bool namespaced, format_fn *name_format);
/* Index of the first element that had this key: i itself when there was none; *seen: {} at first.
 * For lists that a client can make long. */
size_t v_seen(json_t *seen, const char *key, size_t i);
/* Plain members: absent and null are the same. */
const json_t *jget(const json_t *obj, const char *member);
const char *jstr(const json_t *obj, const char *member); /* "" when absent */
bool jhas(const json_t *obj, const char *member);	 /* present, not null, not "" */
bool jequal(const json_t *a, const json_t *b);		 /* absent == null == {} == [] == "" */
/* A quantity member: 0, -EINVAL. Absent gives *ret = 0 and -ENOENT. */
int jquantity(const json_t *v, int64_t *ret_milli);

/* --- table rows --- */
struct cells { /* writes the "cells" array */
	struct buf *out;
	size_t n;
	int64_t now_ns;
	bool scratched; /* a kind's cell functions may keep what they computed for this row */
	_Alignas(16) unsigned char scratch[256];
};
void cell_str(struct cells *c, struct str s);		       /* any bytes */
void cell_raw(struct cells *c, struct jv v, const char *dflt); /* the string, or dflt if empty */
void cell_int(struct cells *c, int64_t v);
void cell_bool(struct cells *c, bool v);
void cell_buf(struct cells *c, const struct buf *b, const char *dflt);
void cell_age(struct cells *c, struct jv timestamp);	 /* "5m"; "<unknown>" when absent */
void cell_labels(struct cells *c, struct jv labels);	 /* "a=b,c=d" or "<none>" */
void cell_selector(struct cells *c, struct jv selector); /* meta/v1 LabelSelector */
void age_text(struct jv timestamp, int64_t now_ns, char out[static 32]);
void join_containers(struct jv pod_spec, const char *member, struct buf *out); /* "a,b" */

/* The cell of one column, by the column's name. Columns that the schema gives a path and every
 * "Age" need no row here. */
struct cell_rule {
	const char *column;
	void (*write)(struct cells *c, struct jv obj);
};

/* --- the kind's own code --- */
struct kind_rules {
	/* old NULL on create. sub "" or a subresource. Generic metadata and schema checks ran
	 * before. */
	void (*validate)(const json_t *obj, const json_t *old, const char *sub, struct causes *c);
	const struct cell_rule *cells; /* ends with a row without column */
	format_fn *name;	       /* NULL = DNS-1123 subdomain */
};
/* The rules of a kind; never NULL (kinds without a row get the plain ones). */
const struct kind_rules *kind_rules(const struct kind *k);

#endif

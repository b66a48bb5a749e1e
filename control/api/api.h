/* SPDX-License-Identifier: Apache-2.0
 * The object model, pure: no sockets, no clock but the arguments', no threads. Everything here is
 * driven by the schema tables compiled from control/api/schema. Objects being edited are
 * jansson trees; objects at rest are canonical JSON bytes. Sources: Kubernetes API conventions,
 * KEP-555 (server-side apply), RFC 6902, RFC 7386. */
#ifndef XEBEC_API_API_H
#define XEBEC_API_API_H

#include "xebec/base/arena.h"
#include "xebec/base/err.h"
#include "xebec/base/json.h"
#include "api/schema.h" /* struct type, struct field, struct kind: const tables */

/* --- errors with causes: Status.details.causes --- */
struct cause {
	const char *reason; /* FieldValueInvalid, FieldValueRequired, FieldValueNotSupported,
			       FieldValueDuplicate, FieldValueForbidden ... */
	const char *field;  /* "spec.containers[0].image" */
	const char *message;
};
struct causes { /* {0} + arena; grows in the arena; capped */
	struct arena *arena;
	struct cause *v;
	size_t n, cap;
};
void cause_add(struct causes *c, const char *reason, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Further causes would be dropped. */
bool causes_full(const struct causes *c);
/* meta/v1 Status as JSON. kind may be NULL; name may be NULL. Messages in Kubernetes' form:
 * `Pod "x" is invalid: spec.containers[0].image: Required value`. */
void status_write(struct buf *out, const struct err *e, const struct kind *kind, const char *name,
	const struct causes *causes);

/* --- kinds --- */
const struct kind *kind_by_resource(struct str group, struct str version, struct str plural);
const struct kind *kind_by_kind(struct str group, struct str version, struct str kind);
size_t kind_count(void);
const struct kind *kind_at(size_t i);
void kind_api_version(const struct kind *k, char out[static 256]); /* "apps/v1", "v1" */

/* --- decode and encode --- */
enum media { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTOBUF, MEDIA_UNSUPPORTED };
enum media media_of(struct str content_type); /* empty means JSON; parameters ignored */
enum field_validation { FIELDS_IGNORE, FIELDS_WARN, FIELDS_STRICT };
struct decode_opts {
	enum media media;
	enum field_validation fields;
	struct causes *warnings; /* unknown and duplicate fields: warnings (WARN) in .message;
				    STRICT makes them the error */
	bool keep_empty;	 /* apply: zeros and empty containers were written on purpose */
};
/* Body bytes -> tree of the given type: checks JSON types against the schema, drops unknown fields
 * and nulls, sets kind and apiVersion. The body's own kind/apiVersion must be absent or match, else
 * BadRequest. */
int api_decode(const struct kind *k, struct str body, const struct decode_opts *o, json_t **ret,
	struct err *e);
/* Any type by name, for bodies that are not the kind itself (DeleteOptions, Scale, Binding,
 * Eviction ...). */
int api_decode_type(const struct type *t, const char *kind, const char *api_version,
	struct str body, const struct decode_opts *o, json_t **ret, struct err *e);
const struct type *type_by_name(const char *name); /* "core.v1.PodSpec", as in the schema */
/* The same in another compiled schema (control/kubelet/cri.schema: cri_schema). */
const struct type *schema_type(const struct schema *s, const char *name);
const struct field *type_field(const struct type *t, struct str name);	 /* by JSON name, or NULL */
const struct field *type_member(const struct type *t, const char *name); /* or t->rest */
/* Canonical JSON: kind, apiVersion, metadata first, then schema order; compact; empty optional
 * members left out. */
void api_encode_json(const struct type *t, const json_t *obj, struct buf *out);
/* One message without envelope / with the "k8s\0" runtime.Unknown envelope. */
int api_encode_pb(const struct type *t, const json_t *obj, struct buf *out);
int api_decode_pb(const struct type *t, struct str msg, json_t **ret, struct err *e);
int api_encode_pb_envelope(const struct type *t, const char *api_version, const char *kind,
	const json_t *obj, struct buf *out);

/* --- defaults and validation --- */
void api_default(const struct kind *k, json_t *obj); /* schema defaults, then the kind's rules */
/* Create: old NULL. Update: immutability and transitions too. sub "" = the object, "status",
 * "scale" ... Returns 0 or -EINVAL with causes. */
int api_validate(const struct kind *k, const json_t *obj, const json_t *old, const char *sub,
	struct causes *c);
/* Advice on a valid object, message only: Warning headers of a create or update. */
void api_warnings(const struct kind *k, const json_t *obj, struct causes *w);
/* Before validation on write: resets what this path may not change (status on the main path, spec
 * on /status, metadata rules), raises metadata.generation when the spec changed. now_ns for
 * timestamps. */
void api_prepare_create(const struct kind *k, json_t *obj, int64_t now_ns);
void api_prepare_update(const struct kind *k, json_t *obj, const json_t *old, const char *sub);

/* Between kinds that share one place in the store (events, HorizontalPodAutoscaler), in place.
 * -EOPNOTSUPP when the two are no versions of one thing. */
int api_convert(const struct kind *from, const struct kind *to, json_t *obj);

/* --- patches: result is a new tree; obj is not changed --- */
int patch_json(const json_t *obj, struct str patch, json_t **ret,
	struct err *e); /* RFC 6902, limits of kubernetes-api.md 2.3 */
int patch_merge(const json_t *obj, const json_t *patch, json_t **ret, struct err *e); /* RFC 7386 */
int patch_strategic(
	const struct type *t, const json_t *obj, const json_t *patch, json_t **ret, struct err *e);
/* Server-side apply and managedFields: control/api/apply.h. */

/* --- selectors --- */
struct label_selector;
struct field_selector;
int label_selector_parse(struct str text, struct label_selector **ret,
	struct err *e); /* "a=b,c!=d,e in (f,g),!h,i" */
int label_selector_from_json(
	const json_t *meta_v1_label_selector, struct label_selector **ret, struct err *e);
void label_selector_free(struct label_selector *s);
bool label_selector_empty(const struct label_selector *s);
/* labels: a flat JSON object (bytes), absent = {}. */
struct jv;
bool label_selector_match(const struct label_selector *s, struct jv labels);
/* Only the fields the kind lists (schema `selectable`) plus metadata.name/namespace; others
 * BadRequest "field label not supported". */
int field_selector_parse(
	const struct kind *k, struct str text, struct field_selector **ret, struct err *e);
void field_selector_free(struct field_selector *s);
bool field_selector_empty(const struct field_selector *s);
bool field_selector_match(const struct field_selector *s, struct jv obj);
/* Exact value demanded for a field ("metadata.name"), .p NULL when it is not pinned. */
struct str field_selector_value(const struct field_selector *s, const char *field);

/* --- Table (meta/v1) --- */
enum include_object { INCLUDE_METADATA, INCLUDE_OBJECT, INCLUDE_NONE };
void table_columns(const struct kind *k, struct buf *out); /* the columnDefinitions array */
/* One row {"cells":[...],"object":{...}}. rv is spliced into the object's metadata. now_ns for
 * ages. */
void table_row(const struct kind *k, struct jv obj, uint64_t rv, enum include_object inc,
	int64_t now_ns, struct buf *out);

/* --- quantities: "100m", "1Gi" --- */
int quantity_parse(struct str s, int64_t *ret_milli,
	struct err *e); /* value x 1000, rounded up; -ERANGE clamps */
int quantity_canonical(struct str s, struct buf *out); /* as Kubernetes re-serialises it */

/* --- published schema: of these kinds, sorted by group and version, preferred version last --- */
struct kinds {
	const struct kind *const *v;
	size_t n;
};
/* The built-in ones and these. */
int kinds_new(const struct kind *const *more, size_t n, struct kinds *ret);
void kinds_free(struct kinds *ks);
/* {"paths":{"api/v1":{"serverRelativeURL":...}}}; salt goes into every hash */
void openapi_v3_index(const struct kinds *ks, const char *salt, struct buf *out);
int openapi_v3_group(const struct kinds *ks, struct str group, struct str version, struct buf *out);
int openapi_v2_json(const struct kinds *ks, struct buf *out); /* swagger 2.0 */
/* The same as gnostic openapi.v2.Document, which kubectl asks for. */
int openapi_v2_gnostic(const struct kinds *ks, struct buf *out);
void discovery_groups(const struct kinds *ks, struct buf *out); /* APIGroupList, GET /apis */
/* APIGroup, GET /apis/GROUP; -ENOENT */
int discovery_group(const struct kinds *ks, struct str group, struct buf *out);
int discovery_resources(const struct kinds *ks, struct str group, struct str version,
	struct buf *out); /* APIResourceList */
/* apidiscovery.k8s.io/v2 APIGroupDiscoveryList */
void discovery_aggregated(const struct kinds *ks, bool core, struct buf *out);

#endif

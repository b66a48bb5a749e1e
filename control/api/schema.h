/* SPDX-License-Identifier: Apache-2.0
 * The compiled schema: const tables made by tools/schemac from the .schema files in
 * control/api/schema. */
#ifndef XEBEC_API_SCHEMA_H
#define XEBEC_API_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

enum field_kind {
	F_STRING,
	F_BOOL,
	F_INT32,
	F_INT64,
	F_DOUBLE,
	F_BYTES, /* base64 string */
	F_QUANTITY,
	F_INT_OR_STRING,
	F_TIME,
	F_MICRO_TIME,
	F_OBJECT, /* .type */
	F_ANY,	  /* RawExtension, JSON, FieldsV1: kept as it is */
	/* apiextensions: JSON that protobuf writes as a union with .type (JSONSchemaProps) */
	F_SCHEMA_OR_BOOL,
	F_SCHEMA_OR_ARRAY,
	F_SCHEMA_OR_STRINGS,
};
enum field_shape { SHAPE_ONE, SHAPE_LIST, SHAPE_MAP, SHAPE_MAP_OF_LISTS };
enum list_type {
	LIST_ATOMIC,
	LIST_SET,
	LIST_MAP
}; /* also maps and structs: ATOMIC or granular (LIST_MAP) */

struct type;
struct field {
	const char *name;	      /* JSON name */
	const char *doc;	      /* our words, may be NULL */
	const struct type *type;      /* F_OBJECT */
	const char *dflt;	      /* JSON text of the default, NULL = none */
	const char *const *enums;     /* NULL-terminated, NULL = any */
	const char *merge_key;	      /* strategic merge: patchMergeKey */
	const char *const *list_keys; /* NULL-terminated listMapKeys */
	int64_t min, max;	      /* numbers, when bounded */
	uint16_t pb;		      /* protobuf number; 0 = inlined or not in protobuf */
	uint8_t kind, shape, list_type;
	bool required, patch_merge, patch_retain_keys, immutable, bounded;
	bool always;   /* written also when empty: "", 0, false, {}, null for lists and times */
	bool nullable; /* absent and zero differ: a zero is kept (Go pointer) */
};
/* A protobuf message whose fields are inlined in JSON. The owner's fields[] holds copies of the
 * inlined fields with pb 0; their numbers are in the embedded type. */
struct embed {
	const struct type *type;
	uint16_t pb;
};
struct type {
	const char *name; /* "core.v1.PodSpec" */
	const char *doc;
	const struct field *fields; /* protobuf order: the order of canonical JSON */
	const uint8_t *by_name;	    /* indexes into fields, sorted by name */
	const struct embed *embeds;
	const struct field *rest; /* how members are that fields[] does not list; NULL = refused */
	uint16_t n_fields, n_embeds;
	bool atomic;   /* mapType/structType atomic */
	bool typemeta; /* has apiVersion and kind, which are not in the protobuf message */
	bool hook;     /* defaults.c has a rule for it */
};

struct column {
	const char *name, *type, *format, *doc;
	const char *path; /* dotted path, or NULL when the kind's cell function fills it */
	uint8_t priority;
};
struct custom;	   /* custom.h: what is only known at run time */
struct kind_rules; /* rules.h: cross-field defaults, validation, cells; one file a kind */
struct kind {
	const char *group, *version, *kind, *list_kind, *plural, *singular;
	const char *const *short_names; /* NULL-terminated */
	const char *const *categories;
	const char *const *selectable; /* field selector paths besides metadata.name/namespace */
	const struct type *type, *list_type;
	const struct column *columns;
	const struct kind_rules *rules; /* may be NULL */
	const struct custom *custom;	/* of a CustomResourceDefinition; NULL = compiled in */
	uint16_t n_columns;
	uint16_t verbs;	       /* VERB_* */
	uint16_t subresources; /* SUB_* */
	bool namespaced, has_status, has_spec;
	bool generation; /* metadata.generation is kept */
	const char *storage_group,
		*storage_plural; /* key: /registry/GROUP/PLURAL/NS/NAME; events share one */
};
enum {
	VERB_CREATE = 1,
	VERB_DELETE = 2,
	VERB_DELETECOLLECTION = 4,
	VERB_GET = 8,
	VERB_LIST = 16,
	VERB_PATCH = 32,
	VERB_UPDATE = 64,
	VERB_WATCH = 128
};
enum {
	SUB_STATUS = 1,
	SUB_SCALE = 2,
	SUB_LOG = 4,
	SUB_EXEC = 8,
	SUB_ATTACH = 16,
	SUB_PORTFORWARD = 32,
	SUB_BINDING = 64,
	SUB_EVICTION = 128,
	SUB_EPHEMERAL = 256,
	SUB_PROXY = 512,
	SUB_TOKEN = 1024,
	SUB_FINALIZE = 2048,
	SUB_RESIZE = 4096,
	SUB_APPROVAL = 8192
};

/* One compiled set of files. The kinds are sorted by (group, version, plural), types by name. */
struct schema {
	const struct type *types;
	const struct kind *kinds;
	const uint16_t *by_kind; /* indexes into kinds, sorted by (group, version, kind) */
	uint16_t n_types, n_kinds;
};
extern const struct schema api_schema; /* build/gen/api_schema.c */

#endif

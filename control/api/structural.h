/* SPDX-License-Identifier: Apache-2.0
 * Structural schemas: what a CustomResourceDefinition says about its objects, compiled once from
 * openAPIV3Schema. Immutable after structural_new, so any thread may read it. Internal to
 * control/api. */
#ifndef XEBEC_API_STRUCTURAL_H
#define XEBEC_API_STRUCTURAL_H

#include "api/rules.h"

enum { /* types a value may have; 0 = any */
	ST_OBJECT = 1,
	ST_ARRAY = 2,
	ST_STRING = 4,
	ST_INTEGER = 8,
	ST_NUMBER = 16,
	ST_BOOLEAN = 32
};
#define STRUCTURAL_DEPTH 64 /* nesting of a schema */

struct structural_prop;
struct pcre2_real_code_8;
struct structural {
	const json_t *json; /* the schema that this node was compiled from; borrowed */
	const char *type;   /* "" = any; for messages */
	uint8_t types;
	uint8_t list_type; /* enum list_type */
	bool nullable, int_or_string, preserve, embedded, root, unique, exclusive_max,
		exclusive_min, atomic;
	const char *const *list_keys;
	/* NULL = absent */
	const json_t *dflt, *enums, *required;
	const json_t *max, *min, *multiple, *max_length, *min_length, *max_items, *min_items,
		*max_props, *min_props;
	const char *pattern, *format;
	struct pcre2_real_code_8 *re;
	struct structural_prop *props; /* sorted by name */
	size_t n_props;
	bool has_more;		 /* additionalProperties was given ... */
	struct structural *more; /* ... with a schema */
	struct structural *items;
	struct structural *all, *any, *one, *not ;
	size_t n_all, n_any, n_one;
};
struct structural_prop {
	const char *name;
	struct structural s;
};

/* schema must outlive the result; everything else lives in the arena. */
int structural_new(struct arena *a, const json_t *schema, struct structural **ret, struct err *e);
const struct structural *structural_member(const struct structural *s, const char *name);

/* Drops what the schema does not know; note (may be NULL) hears the path of each: "spec.foo". */
typedef void structural_note(void *arg, const char *path);
void structural_prune(const struct structural *s, json_t *obj, structural_note *note, void *arg);
/* Sets defaults; then nulls that are neither allowed nor defaulted go. */
void structural_default(const struct structural *s, json_t *obj);
/* Values, then embedded objects, then lists that are sets and maps. old (NULL: none): what did not
 * change is not held against an update. */
void structural_validate(
	const struct structural *s, const json_t *obj, const json_t *old, struct causes *c);
/* One value that stands at p. */
void structural_validate_at(
	const struct structural *s, const json_t *v, const struct fpath *p, struct causes *c);
/* Is the text of this format? Unknown formats allow everything. */
bool structural_format(const char *format, struct str text);

/* The same schema as tables, for server-side apply: granular members, list types, keys. */
const struct type *structural_type(struct arena *a, const struct structural *s);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Defaults that one field's row cannot express. A type marked `hook` in the schema has a function
 * here; it runs after the type's own defaults and before those of its members. Internal to
 * control/api. */
#ifndef XEBEC_API_DEFAULTS_H
#define XEBEC_API_DEFAULTS_H

#include "api/codec.h"

typedef void default_hook(json_t *obj);
struct default_rule {
	const char *type;
	default_hook *fn;
};
/* Ends with a row without type. */
extern const struct default_rule core_defaults[], workload_defaults[], other_defaults[];

/* The member, or NULL when absent or empty as Go sees it: null, "", 0, false, {} and []. */
json_t *dflt_get(const json_t *o, const char *member);
const char *dflt_str(const json_t *o, const char *member); /* "" when absent */
/* Sets the member when absent; takes over value. */
void dflt_set(json_t *o, const char *member, json_t *value);
/* The value of a field that is written even when nobody set it. */
json_t *dflt_always(const struct field *f);
void dflt_type(const struct type *t, json_t *obj); /* the walk over one object */

#endif

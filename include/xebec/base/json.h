/* SPDX-License-Identifier: Apache-2.0
 * Helpers over jansson trees, used only where an object is edited. A json_t belongs to one thread
 * at a time. */
#ifndef XEBEC_BASE_JSON_H
#define XEBEC_BASE_JSON_H

#include <jansson.h>
#include "xebec/base/buf.h"
#include "xebec/base/err.h"

static inline void cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define AUTO_JSON AUTO(cleanup_json)

/* Parses exactly one JSON value; integers stay integers. reason BadRequest with line and column on
 * failure. */
int json_parse(struct str text, json_t **ret, struct err *e);
void json_write(const json_t *j, struct buf *out); /* compact, member order kept */

/* Borrowed lookups by dotted path ("spec.template.metadata"); NULL when absent or of another type.
 */
json_t *json_at(const json_t *j, const char *path);
const char *json_str(const json_t *j, const char *path, const char *dflt);
int64_t json_i64(const json_t *j, const char *path, int64_t dflt);
bool json_flag(const json_t *j, const char *path, bool dflt);
/* The object at path, made (with its parents) when absent. Borrowed. NULL when a parent is not an
 * object. */
json_t *json_make(json_t *j, const char *path);
/* Sets the member at a dotted path, making parents; takes over value. NULL value deletes the
 * member. */
int json_put(json_t *j, const char *path, json_t *value);

#endif

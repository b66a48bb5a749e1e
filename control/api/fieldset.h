/* SPDX-License-Identifier: Apache-2.0
 * Sets of field paths (KEP-555 fieldsV1) as tries: {"f:spec": {"f:replicas": {".": value}}}. A node
 * with "." is in the set itself; the value there is what the field held, or true when the set came
 * from text. Internal to control/api. */
#ifndef XEBEC_API_FIELDSET_H
#define XEBEC_API_FIELDSET_H

#include "api/codec.h"

/* Every path that the object specifies. A list-map element without its keys or twice the same
 * element in `strict` is an error (-EBADMSG). NULL obj gives the empty set. */
int fieldset_of(const struct type *t, const json_t *obj, bool strict, json_t **ret, struct err *e);
/* The elements of a keyed list or set by their path elements; the first of equal ones, none without
 * a key. Values are shared. */
json_t *fieldset_index(const struct field *f, const json_t *list);
/* From a to b, every path by its own: an object that appears is a member beside its members. NULL
 * is the empty object of the type, with what such an object always writes. Returns -ENOMEM. */
struct fieldset_diff {
	json_t *added, *changed, *removed;
};
int fieldset_compare(
	const struct type *t, const json_t *a, const json_t *b, struct fieldset_diff *ret);
void fieldset_diff_free(struct fieldset_diff *d); /* also after an error */
/* fieldsV1 as it is stored, to and fro. */
json_t *fieldset_read(const json_t *fields_v1);
json_t *fieldset_write(const json_t *set);

bool fieldset_empty(const json_t *set);
bool fieldset_same(const json_t *a, const json_t *b); /* NULL is empty */
void fieldset_add(json_t *a, const json_t *b);	      /* a |= b */
void fieldset_remove(json_t *a, const json_t *b);     /* a -= b */
json_t *fieldset_both(const json_t *a, const json_t *b);
/* Calls fn with ".spec.ports[port=80,protocol=\"TCP\"].name" of every member. */
void fieldset_each(const json_t *set, void (*fn)(void *arg, const char *path), void *arg);

/* "k:{...}" or "v:..." of a list element; -EBADMSG when it lacks all keys. */
int fieldset_element(const struct field *f, const json_t *element, struct buf *out, struct err *e);
/* How server-side apply treats a value: one unit, or member by member. */
bool field_atomic(const struct field *f);

#endif

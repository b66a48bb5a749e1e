/* SPDX-License-Identifier: Apache-2.0
 * A lazy view on JSON bytes: no tree, no allocation. Reading a member scans the bytes (about 1
 * GB/s), which is the right cost for components that want a dozen fields of an object. The bytes
 * must outlive the view and must be valid JSON (jv_valid checks once at the boundary); on absent or
 * mistyped data the readers return the default. */
#ifndef XEBEC_BASE_JV_H
#define XEBEC_BASE_JV_H

#include "xebec/base/buf.h"

struct jv { /* p == NULL: absent */
	const char *p, *end;
};

enum jv_type { JV_ABSENT, JV_NULL, JV_BOOL, JV_NUMBER, JV_STRING, JV_ARRAY, JV_OBJECT };

bool jv_valid(struct str json, unsigned max_depth); /* one whole RFC 8259 value */
struct jv jv_of(struct str json);
enum jv_type jv_type(struct jv v);
struct jv jv_get(struct jv obj, const char *member);
/* Members joined by dots, array elements by index: "spec.containers.0.name". A member that holds a
 * dot needs jv_get. */
struct jv jv_path(struct jv v, const char *path);
static inline bool jv_present(struct jv v)
{
	return v.p != NULL;
}
int64_t jv_int(struct jv v, int64_t dflt); /* also of a quoted integer; fractions truncate */
double jv_num(struct jv v, double dflt);
bool jv_bool(struct jv v, bool dflt);
bool jv_is_str(struct jv v, const char *z);
/* The bytes between the quotes, escapes NOT decoded: right for names, labels, quantities,
 * addresses. */
struct str jv_raw_str(struct jv v);
/* Decoded string into a NUL-terminated malloc'ed copy ("" when absent), or into a fixed array
 * (-ENAMETOOLONG). */
char *jv_strdup(struct jv v);
int jv_copy(struct jv v, char *dst, size_t cap);
void jv_unescape(struct jv v, struct buf *out); /* appends the decoded string */
size_t jv_len(struct jv v);			/* elements or members */
struct str jv_bytes(struct jv v);		/* the JSON text of the value itself */

struct jv_iter {
	struct jv v;	/* current element or member value */
	struct str key; /* member name, escapes not decoded; empty for arrays */
	const char *pos, *end;
};
struct jv_iter jv_iter(struct jv container);
bool jv_next(struct jv_iter *it);
/* for arrays and objects: jv_each(it, v) { it.key, it.v } */
#define jv_each(it, container) for (struct jv_iter it = jv_iter(container); jv_next(&it);)

#endif

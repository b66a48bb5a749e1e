/* SPDX-License-Identifier: Apache-2.0
 * Shared by the parts of the OpenAPI generator. */
#ifndef XEBEC_API_OPENAPI_H
#define XEBEC_API_OPENAPI_H

#include "api/api.h"

struct openapi {
	struct buf *out;
	const struct kinds *ks;
	unsigned char *seen; /* one a type: reachable from the kinds of this document */
	bool v2;
};
/* The paths of one kind and its subresources, as members of "paths". */
void openapi_paths(const struct openapi *o, const struct kind *k, bool first);
void openapi_type_ref(const struct openapi *o, const struct type *t); /* "$ref":"..." */
/* The type of a kind or of its list. */
void openapi_kind_ref(const struct openapi *o, const struct kind *k, bool list);
void openapi_gvk(const struct openapi *o, const struct kind *k);

/* openapi_custom.c: the schemas of a custom kind and its list, as members of the definitions. */
void openapi_custom(const struct openapi *o, const struct kind *k);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Shared by the parts of the OpenAPI generator. */
#ifndef XEBEC_API_OPENAPI_H
#define XEBEC_API_OPENAPI_H

#include "api/api.h"

struct openapi {
	struct buf *out;
	unsigned char *seen; /* one a type: reachable from the kinds of this document */
	bool v2;
};
/* The paths of one kind and its subresources, as members of "paths". */
void openapi_paths(const struct openapi *o, const struct kind *k, bool first);
void openapi_type_ref(const struct openapi *o, const struct type *t); /* "$ref":"..." */
void openapi_gvk(const struct openapi *o, const struct kind *k);

#endif

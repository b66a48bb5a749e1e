/* SPDX-License-Identifier: Apache-2.0
 * Shared by the rules of CustomResourceDefinition. */
#ifndef XEBEC_API_RULES_EXTEND_H
#define XEBEC_API_RULES_EXTEND_H

#include "api/rules.h"

/* What a schema of a definition must be: extend_schema.c. status: the version has that
 * subresource. */
void extend_schema(struct causes *c, const struct fpath *p, const json_t *schema, bool status);

#endif

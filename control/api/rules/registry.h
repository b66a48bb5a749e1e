/* SPDX-License-Identifier: Apache-2.0
 * Declares every row of rules.def. */
#ifndef XEBEC_API_RULES_REGISTRY_H
#define XEBEC_API_RULES_REGISTRY_H

#include "api/rules.h"

#define RULES(g, k, var) extern const struct kind_rules var;
#include "api/rules/rules.def"
#undef RULES

#endif

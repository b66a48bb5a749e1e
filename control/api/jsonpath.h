/* SPDX-License-Identifier: Apache-2.0
 * The JSONPath of CustomResourceDefinitions (printer columns): members, quoted members, indexes,
 * slices, wildcards, recursive descent, and filters of one comparison. Internal to control/api. */
#ifndef XEBEC_API_JSONPATH_H
#define XEBEC_API_JSONPATH_H

#include "xebec/base/arena.h"
#include "xebec/base/err.h"
#include "xebec/base/jv.h"

struct jsonpath;
/* ".status.conditions[?(@.type==\"Ready\")].status", with or without braces around it. */
int jsonpath_new(struct arena *a, const char *text, const struct jsonpath **ret, struct err *e);
/* The first value it finds; absent when there is none. */
struct jv jsonpath_first(const struct jsonpath *p, struct jv obj);
/* Only members, as they are named: "spec.replicas" into out. False when there is anything else. */
bool jsonpath_plain(const struct jsonpath *p, struct buf *out);

#endif

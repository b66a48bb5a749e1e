/* SPDX-License-Identifier: Apache-2.0
 * What a plain YAML scalar means; shared by the YAML reader and writer. */
#ifndef XEBEC_CONTROL_BASE_YAML_SCALAR_H
#define XEBEC_CONTROL_BASE_YAML_SCALAR_H

#include "xebec/base/json.h"

/* A new value: null, boolean, integer, real or, when nothing else fits, string. NULL when out of
 * memory or not UTF-8. */
json_t *yaml_scalar_resolve(struct str s);
/* Would a plain scalar with this text be read back as the same string? */
bool yaml_scalar_is_string(struct str s);

#endif

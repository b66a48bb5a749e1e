/* SPDX-License-Identifier: Apache-2.0
 * YAML 1.1 (libyaml) to JSON trees with the scalar rules of sigs.k8s.io/yaml: yes/no/on/off/y/n are
 * booleans, 0644 and 0x1f are integers; anchors and merge keys resolved with a limit on the total
 * size; duplicate keys are an error. */
#ifndef XEBEC_BASE_YAML_H
#define XEBEC_BASE_YAML_H

#include "xebec/base/json.h"

/* Exactly one document. dups, when not NULL, gets `line 3: key "a" already set in map` for every
 * duplicate key, which else is an error. */
int yaml_parse(struct str text, json_t **ret, json_t *dups, struct err *e);
/* A stream of documents ("---"): a JSON array of them; empty documents are left out. */
int yaml_parse_all(struct str text, json_t **ret_array, struct err *e);
/* Block style, keys in member order, as kubectl prints. */
int yaml_write(const json_t *j, struct buf *out);

#endif

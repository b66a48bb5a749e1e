/* SPDX-License-Identifier: Apache-2.0
 * Shared by the files that give advice on valid objects. */
#ifndef XEBEC_API_WARNINGS_H
#define XEBEC_API_WARNINGS_H

#include <stdarg.h>
#include "api/rules.h"

/* "spec.x: text" */
void warn_at(struct causes *w, const struct fpath *p, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void warn_node_label(struct causes *w, const struct fpath *p, const char *key);
void warn_node_selector(struct causes *w, const struct fpath *p, const json_t *sel);
void warn_volume_source(struct causes *w, const struct fpath *p, const json_t *v);
void warn_fraction(struct causes *w, const struct fpath *p, const json_t *amount);
void warn_claim_spec(struct causes *w, const struct fpath *p, const json_t *spec);
/* A Pod (p NULL) or PodTemplateSpec. */
void warn_pod(struct causes *w, const struct fpath *p, const json_t *pod);

#endif

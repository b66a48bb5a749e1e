/* SPDX-License-Identifier: Apache-2.0
 * Server-side apply and metadata.managedFields (KEP-555). Pure: trees in, trees out. */
#ifndef XEBEC_API_APPLY_H
#define XEBEC_API_APPLY_H

#include "api/api.h"

struct apply_opts {
	const char *manager; /* fieldManager, or the client's name */
	const char *sub;     /* "" or a subresource */
	bool force;
	int64_t now_ns;
};
/* The body of an apply request: YAML or JSON, every field known, empty values kept. */
int apply_decode(const struct kind *k, struct str body, json_t **ret, struct err *e);
/* What live becomes when the manager applies config (live NULL: it is created). The result carries
 * the new managedFields and is not defaulted yet; the caller runs the usual path of an update (or
 * create). -EEXIST, reason Conflict, with one FieldManagerConflict cause a field when other
 * managers own what would change and force is not set. */
int apply_config(const struct kind *k, const json_t *live, const json_t *config,
	const struct apply_opts *o, struct causes *c, json_t **ret, struct err *e);
/* After defaulting of a POST (live NULL), PUT or PATCH by other means, before admission: sets obj's
 * managedFields from live's, or from its own where the request edits them ([{}]: forget them).
 * Objects that carry none stay so: their first apply records what was there under
 * "before-first-apply". */
void apply_track(const struct kind *k, const json_t *live, json_t *obj, const struct apply_opts *o);

#endif

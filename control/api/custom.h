/* SPDX-License-Identifier: Apache-2.0
 * Kinds that exist because of a CustomResourceDefinition: compiled at run time into the same struct
 * kind as the built-in ones, with a struct custom for what tables cannot say. A definition is
 * immutable and refcounted; its kinds live as long as it. */
#ifndef XEBEC_API_CUSTOM_H
#define XEBEC_API_CUSTOM_H

#include <stdatomic.h>
#include "api/api.h"

struct structural;
struct jsonpath;
struct custom { /* one version */
	const struct definition *of;
	const struct structural *schema;
	const struct type *merge;	       /* for server-side apply */
	const struct jsonpath *const *columns; /* one for each column; NULL: the kind's own */
	/* dotted paths; scale_spec NULL: no such subresource; scale_selector may be NULL */
	const char *scale_spec, *scale_status, *scale_selector;
	const char *open_name; /* "com.example.stable.v1.CronTab" */
	const char *warning;   /* what a client of a deprecated version is told; NULL: nothing */
};
struct definition {
	_Atomic int refs;
	struct arena arena;
	json_t *spec; /* as stored; schemas point into it */
	const char *name, *uid, *group, *plural;
	const char *storage; /* the version that objects are stored in */
	int64_t generation;
	uint64_t since;	    /* objects stored up to this revision may lack defaults or be in another
			       version */
	struct kind *kinds; /* the served versions, the preferred one last */
	size_t n_kinds;
};

/* crd: a valid CustomResourceDefinition as it is stored. */
int definition_new(struct str crd, uint64_t rev, struct definition **ret, struct err *e);
struct definition *definition_ref(struct definition *d);
void definition_unref(struct definition *d);
const struct kind *definition_kind(const struct definition *d, struct str version);
/* Version names in Kubernetes' order of preference: v2 above v1 above v1beta1 above other words. */
int version_order(const char *a, const char *b);

/* The parts of api_decode, api_default, api_validate that a custom kind does by its schema. */
void custom_default(const struct kind *k, json_t *obj);
void custom_validate(const struct kind *k, const json_t *obj, const json_t *old, struct causes *c);
/* From the store, whatever version it was stored in: renamed, pruned, completed. */
void custom_from_store(const struct kind *k, json_t *obj);
void custom_to_store(const struct kind *k, json_t *obj);
/* Is what was stored at revision rv already what this kind serves? */
bool custom_is_current(const struct kind *k, uint64_t rv);
#endif

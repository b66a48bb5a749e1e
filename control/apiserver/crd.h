/* SPDX-License-Identifier: Apache-2.0
 * CustomResourceDefinitions at work: which kinds are served because of them, their conditions, and
 * the end of their objects. */
#ifndef XEBEC_APISERVER_CRD_H
#define XEBEC_APISERVER_CRD_H

#include "api/custom.h"
#include "apiserver/internal.h"

#define CRD_FINALIZER "customresourcecleanup.apiextensions.k8s.io"

/* All kinds that are served at one moment; immutable and refcounted. */
struct registry {
	_Atomic int refs;
	struct kinds kinds; /* built-in ones and those below */
	struct definition **defs;
	size_t n;
};

struct crds; /* one a server */
int crds_new(struct apiserver *s, struct crds **ret, struct err *e);
void crds_free(struct crds *c); /* waits for what it asked of the store; NULL is fine */
/* The cache is there: conditions are kept from now on. */
void crds_start(struct crds *c);
/* Hears every change of the cache, under its lock. */
void crds_observe(struct crds *c, struct cache_res *r, struct obj *old, struct obj *new);
struct registry *crds_registry(struct crds *c); /* a reference */
void registry_unref(struct registry *g);
/* A reference on the definition that serves the resource, or NULL. *terminating: no new objects. */
struct definition *crds_find(
	struct crds *c, struct str group, struct str plural, bool *ret_terminating);
bool crds_has_group(struct crds *c, struct str group, struct str version);

/* crd_status.c: brings every definition to its conditions; s->loop only. Returns true when it wants
 * to be asked again soon. */
struct crd_writes { /* under way in the store */
	pthread_mutex_t lock;
	pthread_cond_t idle;
	size_t n;
};
bool crd_reconcile(struct apiserver *s, struct crd_writes *w);
/* What the request for its deletion makes of a definition. */
void crd_mark_deleted(json_t *crd, int64_t now_ns);

#endif

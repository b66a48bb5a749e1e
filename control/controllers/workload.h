/* SPDX-License-Identifier: Apache-2.0
 * What DaemonSet, StatefulSet and Job share: claiming pods, pods from templates, the history of
 * templates (ControllerRevisions), and which nodes a template may use. */
#ifndef XEBEC_CONTROLLERS_WORKLOAD_H
#define XEBEC_CONTROLLERS_WORKLOAD_H

#include "controllers/object.h"

#define REVISION_LABEL "controller-revision-hash"

struct pods { /* in the arena of rc */
	struct cobj **v;
	size_t n;
};
/* The pods that o controls; matching orphans are adopted, strayed pods released. -1 = no valid
 * selector or no memory. */
int pods_claim(struct rc *rc, enum res r, const struct cobj *o, struct pods *ret);
/* Wakes the controller of a changed pod, or whoever might adopt it. */
void map_owned(struct rc *rc, enum res r, struct cobj *old, struct cobj *new);

/* A pod of the template (a tree, kept by the caller): labels, annotations, finalizers, owner.
 * spec and labels are present, to be edited. */
json_t *pod_make(enum res r, const struct cobj *o, const json_t *tmpl);

struct history {
	struct cobj **v; /* oldest first */
	size_t n;
	const char *update; /* name of the present template's revision */
	const char *hash;   /* its name without the owner's */
};
/* Finds the present template among the revisions, or asks for one. */
int history_sync(struct rc *rc, enum res r, const struct cobj *o, struct history *h);
struct cobj *history_find(const struct history *h, struct str name);
/* Deletes the oldest revisions above the limit that neither a pod nor `keep` uses. by_hash: pods
 * carry the hash alone. */
void history_trim(struct rc *rc, const struct cobj *o, const struct history *h,
	const struct pods *pods, struct str keep, bool by_hash);

/* nodeSelector and required node affinity of a pod spec. */
bool node_matches(struct jv pod_spec, const struct cobj *node);

struct number { /* a field of a status */
	const char *name;
	int64_t n;
};
/* Does the status hold these numbers? Sets them in `into` too. */
bool numbers_same(struct jv status, const struct number *v, size_t n, json_t *into);
/* Writes the whole status when it differs from the stored one, as an update: somebody else's write
 * in between makes it fail, and the key is tried again. */
bool rc_status(struct rc *rc, enum res r, const struct cobj *o, json_t *take);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Small views on API objects that several controllers need. */
#ifndef XEBEC_CONTROLLERS_OBJECT_H
#define XEBEC_CONTROLLERS_OBJECT_H

#include "controllers/rc.h"

struct owner_ref { /* borrowed from the object */
	struct str api_version, kind, name, uid;
	bool controller, block;
};
/* The owner that controls the object; false when there is none. */
bool controller_of(const struct cobj *o, struct owner_ref *ret);
bool controlled_by(const struct cobj *o, const struct cobj *owner);
struct owner_ref owner_ref_of(struct jv ref);
/* A controlling reference to o, as JSON. */
json_t *owner_json(enum res r, const struct cobj *o);

bool deleting(const struct cobj *o); /* has a deletionTimestamp */
struct jv labels_of(const struct cobj *o);
struct str label(const struct cobj *o, const char *name); /* empty when absent */
struct str annotation(const struct cobj *o, const char *name);
/* Has `labels` every member of the map `wanted`, with that value? */
bool has_labels(struct jv labels, struct jv wanted);
bool has_finalizer(struct jv list, const char *name);
/* The element of a conditions array with that type; absent view when there is none. */
struct jv condition_of(struct jv conditions, const char *type);
int64_t time_of(struct jv v); /* RFC 3339 to ns; 0 when absent */
int64_t generation_of(const struct cobj *o);

enum phase { PHASE_PENDING, PHASE_RUNNING, PHASE_SUCCEEDED, PHASE_FAILED, PHASE_UNKNOWN };
struct pod { /* decoded once, kept in cobj.decoded */
	enum phase phase;
	bool ready, deleting;
	int64_t created, ready_since, deleted_at;
	int restarts;
	const char *node, *ip, *hostname, *subdomain; /* "" when absent; in data */
	char data[];
};
void *pod_decode(struct jv v);
static inline const struct pod *pod_of(const struct cobj *o)
{
	return o->decoded;
}
static inline bool pod_done(const struct pod *p)
{
	return p->phase == PHASE_SUCCEEDED || p->phase == PHASE_FAILED;
}
static inline bool pod_active(const struct pod *p)
{
	return !pod_done(p) && !p->deleting;
}
/* Ready for at least min_ready_ns; else *ret_wait = how long it still takes (0 = not ready). */
bool pod_available(const struct pod *p, int64_t min_ready_ns, int64_t now, int64_t *ret_wait);

/* Stable 32-bit FNV-1a of bytes, and its spelling in letters that make no words. */
uint32_t fnv32a(uint32_t h, struct str s);
#define FNV32_INIT 2166136261u
void safe_encode(uint32_t n, char out[static 16]);

#endif

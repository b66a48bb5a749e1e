/* SPDX-License-Identifier: Apache-2.0
 * metadata.managedFields being edited: who holds which field paths. Internal to control/api. */
#ifndef XEBEC_API_MANAGED_H
#define XEBEC_API_MANAGED_H

#include "api/apply.h"
#include "api/fieldset.h"

#define MANAGERS_MAX 256

struct owner {							/* one entry */
	const char *manager, *operation, *version, *time, *sub; /* borrowed from `entry` */
	json_t *entry, *set;
};
struct owners {
	struct owner *v;
	size_t n, cap;
};

/* Entries that do not read as such are left out. */
void owners_read(const json_t *managed_fields, struct owners *all);
void owners_free(struct owners *all);
/* Takes over entry and set. NULL: out of memory or more than MANAGERS_MAX. Moves the others. */
struct owner *owners_add(struct owners *all, json_t *entry, json_t *set);
json_t *owners_entry(const char *operation, const char *manager, const char *version,
	const char *sub, int64_t now);
/* The manager's own, made when there is none. */
struct owner *owners_get(
	struct owners *all, const char *operation, const char *version, const struct apply_opts *o);
void owners_touch(struct owner *o, int64_t now); /* it took something */
/* Sets or removes the object's managedFields. */
void owners_write(struct owners *all, json_t *obj);
/* Leaves out what belongs to nobody: system metadata, and what this path cannot write. */
void owners_strip(const struct kind *k, json_t *set, const char *sub);
/* The tables that say how the kind's members merge. */
const struct type *owners_type(const struct kind *k);
/* What a write through this path changed. 0 or -ENOMEM; free in both cases. */
int owners_diff(const struct kind *k, const json_t *live, const json_t *now, const char *sub,
	struct fieldset_diff *ret);

#endif

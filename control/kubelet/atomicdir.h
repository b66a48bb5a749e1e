/* SPDX-License-Identifier: Apache-2.0
 * A directory whose whole content changes at once, as ConfigMap volumes promise: files lie in a
 * hidden directory behind the symlink ..data, which is replaced by rename. */
#ifndef XEBEC_KUBELET_ATOMICDIR_H
#define XEBEC_KUBELET_ATOMICDIR_H

#include "xebec/base/err.h"
#include "xebec/base/str.h"

struct payload_file {
	char *path; /* relative, may hold '/', checked against escapes */
	char *data;
	size_t len;
	unsigned mode;
};
struct payload {
	struct payload_file *v;
	size_t n;
};
int payload_add(struct payload *p, const char *path, struct str data, unsigned mode);
void payload_free(struct payload *p);

bool path_is_local(const char *rel); /* relative and without ".." */

/* Writes nothing when the content is there already. gid < 0 = leave the group; else group-readable.
 * Returns 1 when changed, 0 when not, negative errno. */
int atomicdir_write(const char *dir, const struct payload *p, int64_t gid, struct err *e);

#endif

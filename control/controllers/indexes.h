/* SPDX-License-Identifier: Apache-2.0
 * Sets of completion indexes, written "0,3-5,9" in a Job's status. */
#ifndef XEBEC_CONTROLLERS_INDEXES_H
#define XEBEC_CONTROLLERS_INDEXES_H

#include "controllers/rc.h"

struct span {
	int64_t first, last;
};
struct indexes { /* sorted, apart from each other; in the arena of rc */
	struct span *v;
	size_t n, cap;
};
void indexes_add(struct rc *rc, struct indexes *s, int64_t first, int64_t last);
void indexes_parse(struct rc *rc, struct indexes *s, struct str text); /* skips what is no index */
bool indexes_have(const struct indexes *s, int64_t i);
int64_t indexes_count(const struct indexes *s);
int64_t indexes_common(const struct indexes *a, const struct indexes *b); /* how many in both */
const char *indexes_text(struct rc *rc, const struct indexes *s);

#endif

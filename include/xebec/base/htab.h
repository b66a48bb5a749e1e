/* SPDX-License-Identifier: Apache-2.0
 * Hash table from bytes to pointer; keys are copied. Not thread-safe. Iteration order is
 * unspecified; deleting the entry just visited is allowed during htab_each. */
#ifndef XEBEC_BASE_HTAB_H
#define XEBEC_BASE_HTAB_H

#include "xebec/base/str.h"

struct htab;
struct htab *htab_new(void);
void htab_free(struct htab *t, void (*free_value)(void *)); /* free_value may be NULL */
void *htab_get(const struct htab *t, struct str key);
/* Returns 0 and the replaced value (or NULL) in *ret_old when ret_old is not NULL; -ENOMEM. */
int htab_put(struct htab *t, struct str key, void *value, void **ret_old);
void *htab_del(struct htab *t, struct str key); /* the removed value or NULL */
size_t htab_len(const struct htab *t);

struct htab_iter {
	size_t i;
	struct str key;
	void *value;
};
bool htab_next(const struct htab *t, struct htab_iter *it);
#define htab_each(t, it) for (struct htab_iter it = {0}; htab_next((t), &it);)

#endif

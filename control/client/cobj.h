/* SPDX-License-Identifier: Apache-2.0
 * Cached objects as the informer makes them: one allocation holds the struct, the names and the
 * JSON bytes. */
#ifndef XEBEC_CLIENT_COBJ_H
#define XEBEC_CLIENT_COBJ_H

#include "xebec/base/list.h"
#include "xebec/client/client.h"

struct item {
	struct cobj c;
	struct list in_ns; /* in its namespace's list */
	unsigned seen;	   /* number of the list that last had it */
};

/* From an object's JSON; kind and apiVersion are filled in where the server left them out (list
 * items). -EBADMSG without metadata.name or resourceVersion; -ENOMEM. */
int cobj_new(struct jv v, const struct resource *r, struct item **ret);
/* The same without the bytes: json and v stay empty. */
int cobj_new_lean(struct jv v, struct item **ret);

#endif

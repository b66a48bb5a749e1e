/* SPDX-License-Identifier: Apache-2.0
 * Which resources the API server has, learnt from the server itself: namespace deletion and garbage
 * collection work on all of them. */
#ifndef XEBEC_CONTROLLERS_DISCOVERY_H
#define XEBEC_CONTROLLERS_DISCOVERY_H

#include "xebec/client/client.h"

struct found { /* never moves, lives as long as the discovery */
	struct resource r;
	bool can_list, can_watch, can_delete, can_delete_collection;
	bool here;     /* the server has it, as of the last round */
	bool home;     /* of several versions of a resource, the one to work with */
	unsigned rank; /* place of its version in its group's list; 0 is preferred */
	bool seen;     /* in the round under way */
};
struct discovery;
/* Asks at once, when a CustomResourceDefinition changes, and every period; on_round after each
 * complete round. */
struct discovery *discovery_start(
	struct client *c, int64_t period_ns, void (*on_round)(void *arg), void *arg);
void discovery_free(struct discovery *d);
bool discovery_ready(const struct discovery *d);
/* A round that begins after this call has ended when discovery_rounds is at least the result. */
uint64_t discovery_ask(struct discovery *d);
uint64_t discovery_rounds(const struct discovery *d);
size_t discovery_len(const struct discovery *d);
const struct found *discovery_at(const struct discovery *d, size_t i);
/* The resources to work on: one version of each, none that has gone. */
static inline bool found_usable(const struct found *f)
{
	return f->here && f->home;
}
const struct found *discovery_find(
	const struct discovery *d, struct str api_version, struct str kind);

#endif

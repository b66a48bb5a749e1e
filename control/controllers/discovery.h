/* SPDX-License-Identifier: Apache-2.0
 * Which resources the API server has, learnt from the server itself: namespace deletion and garbage
 * collection work on all of them. */
#ifndef XEBEC_CONTROLLERS_DISCOVERY_H
#define XEBEC_CONTROLLERS_DISCOVERY_H

#include "xebec/client/client.h"

struct found { /* never moves, lives as long as the discovery */
	struct resource r;
	bool can_list, can_watch, can_delete, can_delete_collection;
	bool seen; /* in the last round */
};
struct discovery;
/* Asks at once and then every period; on_round after each complete round. */
struct discovery *discovery_start(
	struct client *c, int64_t period_ns, void (*on_round)(void *arg), void *arg);
void discovery_free(struct discovery *d);
bool discovery_ready(const struct discovery *d);
size_t discovery_len(const struct discovery *d);
const struct found *discovery_at(const struct discovery *d, size_t i);
const struct found *discovery_find(
	const struct discovery *d, struct str api_version, struct str kind);

#endif

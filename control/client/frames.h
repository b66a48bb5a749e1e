/* SPDX-License-Identifier: Apache-2.0
 * Watch streams: newline-separated JSON events from bytes that come in any pieces. */
#ifndef XEBEC_CLIENT_FRAMES_H
#define XEBEC_CLIENT_FRAMES_H

#include "xebec/base/jv.h"

enum watch_event { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR };

struct frames {		    /* {0} to begin with */
	struct buf pending; /* the beginning of an event whose end has not come */
};

/* Gives every complete event to fn, until fn returns false. -EBADMSG on anything that is not an
 * event, -EMSGSIZE on an event over 32 MiB, -ENOMEM. */
int frames_feed(struct frames *f, const void *p, size_t n,
	bool (*fn)(void *arg, enum watch_event type, struct jv object), void *arg);
void frames_reset(struct frames *f);

#endif

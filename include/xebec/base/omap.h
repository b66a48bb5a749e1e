/* SPDX-License-Identifier: Apache-2.0
 * Ordered map from bytes to pointer, copy-on-write: one writer, any number of threads reading
 * snapshots. A snapshot is O(1), sees one state for ever, and holds references on the values it can
 * reach. The writer is whoever calls put/del: callers serialise it. Taking a snapshot is safe from
 * any thread. */
#ifndef XEBEC_BASE_OMAP_H
#define XEBEC_BASE_OMAP_H

#include "xebec/base/str.h"

struct omap;
struct omap_snap;

struct omap_ops {
	void *(*ref)(void *value);  /* takes a reference; thread-safe */
	void (*unref)(void *value); /* drops one; thread-safe */
};

struct omap *omap_new(const struct omap_ops *ops);
void omap_free(struct omap *m);
/* Takes over the caller's reference on value; keys are copied. -ENOMEM leaves the map as it was. */
int omap_put(struct omap *m, struct str key, void *value);
int omap_del(struct omap *m, struct str key);	       /* -ENOENT */
void *omap_find(const struct omap *m, struct str key); /* borrowed or NULL; writer only */
size_t omap_len(const struct omap *m);		       /* writer only */

struct omap_snap *omap_snapshot(struct omap *m);
void omap_snap_free(struct omap_snap *s);
size_t omap_snap_len(const struct omap_snap *s);
/* Borrowed: valid while the snapshot lives. NULL when absent. */
void *omap_get(const struct omap_snap *s, struct str key);

struct omap_iter {
	struct str key; /* borrowed from the snapshot */
	void *value;	/* borrowed */
	void *pos[24];	/* private */
};
/* First key >= from (in memcmp order); false at the end. */
bool omap_seek(const struct omap_snap *s, struct str from, struct omap_iter *it);
bool omap_next(const struct omap_snap *s, struct omap_iter *it);

#endif

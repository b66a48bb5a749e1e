/* SPDX-License-Identifier: Apache-2.0
 * Links of a proxied page: what begins at the root of the other server begins at the proxy's path
 * here. Pure: bytes in, bytes out. */
#ifndef XEBEC_APISERVER_REWRITE_H
#define XEBEC_APISERVER_REWRITE_H

#include "xebec/base/buf.h"

/* One URL. host: "addr:port" of the other server, whose absolute URLs are meant too. */
void rewrite_url(struct str prefix, struct str host, struct str url, struct buf *out);

/* A page in pieces. Attributes that hold URLs are rewritten, everything else passes as it is. */
struct rewrite;
struct rewrite *rewrite_new(struct str prefix, struct str host); /* NULL: out of memory */
void rewrite_more(struct rewrite *w, struct str piece, bool last, struct buf *out);
void rewrite_free(struct rewrite *w);

#endif

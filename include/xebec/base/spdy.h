/* SPDX-License-Identifier: Apache-2.0
 * SPDY/3.1 framing without sockets: bytes in, frames out. Enough for the exec, attach and
 * port-forward streams that Kubernetes clients and container runtimes still speak. Flow-control
 * windows are parsed and not enforced: neither end of those uses them. */
#ifndef XEBEC_BASE_SPDY_H
#define XEBEC_BASE_SPDY_H

#include "xebec/base/buf.h"
#include "xebec/base/http.h"

enum spdy_type {
	SPDY_DATA = 0,
	SPDY_SYN_STREAM = 1,
	SPDY_SYN_REPLY = 2,
	SPDY_RST_STREAM = 3,
	SPDY_SETTINGS = 4,
	SPDY_PING = 6,
	SPDY_GOAWAY = 7,
	SPDY_HEADERS = 8,
	SPDY_WINDOW_UPDATE = 9,
};

enum spdy_status { /* of RST_STREAM */
	SPDY_PROTOCOL_ERROR = 1,
	SPDY_INVALID_STREAM = 2,
	SPDY_REFUSED_STREAM = 3,
	SPDY_CANCEL = 5,
	SPDY_INTERNAL_ERROR = 6,
};

struct spdy_event {
	enum spdy_type type;
	uint32_t stream;
	bool fin;	 /* the sender's half of the stream ends with this */
	struct str data; /* SPDY_DATA: a run of the frame; frames may come in pieces */
	const struct http_header *headers; /* valid until the next call */
	size_t n_headers;
	uint32_t code; /* RST_STREAM and GOAWAY status, PING id, WINDOW_UPDATE delta */
};

struct spdy;
int spdy_new(bool client, struct spdy **ret); /* -ENOMEM */
void spdy_free(struct spdy *s);

/* Takes one event off *in (advanced). 1 = an event, 0 = more bytes needed, -EBADMSG (sticky):
 * close the connection. */
int spdy_next(struct spdy *s, struct str *in, struct spdy_event *ret);

/* Each appends one frame to out. spdy_open returns the new stream's id, 0 when out of memory. */
uint32_t spdy_open(
	struct spdy *s, const struct http_header *h, size_t n, bool fin, struct buf *out);
int spdy_reply(struct spdy *s, uint32_t stream, const struct http_header *h, size_t n, bool fin,
	struct buf *out);
void spdy_data(uint32_t stream, struct str data, bool fin, struct buf *out);
void spdy_rst(uint32_t stream, enum spdy_status status, struct buf *out);
void spdy_ping(uint32_t id, struct buf *out);
void spdy_goaway(uint32_t last_stream, uint32_t status, struct buf *out);

#endif

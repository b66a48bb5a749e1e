/* SPDX-License-Identifier: Apache-2.0
 * WebSocket framing (RFC 6455) without sockets: bytes in, messages out. Server or client end. */
#ifndef XEBEC_BASE_WS_H
#define XEBEC_BASE_WS_H

#include "xebec/base/buf.h"

enum ws_op { WS_CONT = 0, WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

enum { /* close codes, RFC 6455 7.4.1 */
	WS_NORMAL = 1000,
	WS_GOING_AWAY = 1001,
	WS_PROTOCOL_ERROR = 1002,
	WS_BAD_DATA = 1007,
	WS_TOO_BIG = 1009,
	WS_INTERNAL_ERROR = 1011,
	WS_NO_STATUS = 1005, /* never sent: a close frame without a code */
};

struct ws {
	bool client;	    /* masks what it sends; expects the peer's frames unmasked */
	size_t max_message; /* 0 = 1 MiB; longer messages are WS_TOO_BIG */
	struct buf message; /* private: fragments so far */
	enum ws_op op;	    /* private: of the fragmented message, WS_CONT when none */
	bool closed;	    /* a close frame has been received */
};

struct ws_event {
	enum ws_op op;	    /* WS_TEXT, WS_BINARY: whole message; WS_PING, WS_PONG, WS_CLOSE */
	struct str payload; /* valid until the next call; of WS_CLOSE: the reason */
	int code;	    /* of WS_CLOSE */
};

/* Takes one event off *in (advanced past the bytes used; payloads are unmasked in place). 1 = an
 * event, 0 = more bytes needed, negative = the close code to fail the connection with (-1002 ...).
 */
int ws_next(struct ws *w, struct str *in, struct ws_event *ret);
void ws_free(struct ws *w);

/* Appends one unfragmented frame. */
void ws_frame(const struct ws *w, enum ws_op op, struct str payload, struct buf *out);
/* The same with the payload in two parts: a channel byte and its data. */
void ws_frame2(const struct ws *w, enum ws_op op, struct str a, struct str b, struct buf *out);
void ws_close_frame(const struct ws *w, int code, struct str reason, struct buf *out);

/* Sec-WebSocket-Accept of a key. */
void ws_accept_key(struct str key, char out[static 29]);

#endif

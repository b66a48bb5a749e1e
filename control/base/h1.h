/* SPDX-License-Identifier: Apache-2.0
 * HTTP/1.x message parsing without sockets (RFC 9112): message heads and body framing, for both
 * ends. Strict where leniency would let two parsers disagree about where a message ends. */
#ifndef CONTROL_BASE_H1_H
#define CONTROL_BASE_H1_H

#include "xebec/base/arena.h"
#include "xebec/base/buf.h"
#include "xebec/base/http.h"

enum h1_framing { H1_NO_BODY, H1_LENGTH, H1_CHUNKED, H1_UNTIL_CLOSE };

struct h1_head {
	struct str method, target; /* requests; target in origin form, or "*" */
	struct str path, query;
	int status;		     /* responses */
	int minor;		     /* HTTP/1.<minor> */
	struct http_header *headers; /* names in lower case; all in the arena */
	size_t n_headers;
	enum h1_framing framing;
	uint64_t length; /* with H1_LENGTH */
	bool keep_alive, expect_continue, upgrade;
};

/* Length of the head that ends with an empty line within p[0..n), 0 while incomplete, -EBADMSG when
 * it can never become one (a bare LF or CR, a NUL). *scan remembers what was looked at; start with
 * 0 for a new message. */
ssize_t h1_head_end(const char *p, size_t n, size_t *scan);

/* head: exactly the bytes h1_head_end measured. 0, or the negative HTTP status to answer with
 * (-400, -501, -505); -ENOMEM is told as -503. A response that cannot be parsed is -502. */
int h1_parse_request(struct str head, struct arena *a, struct h1_head *ret);
/* to_head: the request's method was HEAD, so no body follows. */
int h1_parse_response(struct str head, bool to_head, struct arena *a, struct h1_head *ret);

/* Body framing. Feed bytes, get runs of content. */
struct h1_body {
	enum h1_framing framing;
	uint64_t left;	       /* of the length or the chunk */
	int state;	       /* private */
	unsigned digits, line; /* private: of the size, in the line */
	size_t trailer;	       /* private */
	bool done;
};
void h1_body_init(struct h1_body *b, const struct h1_head *h);
/* Takes bytes from *in (advanced past what was used); *out becomes a run of content within it,
 * maybe empty. Call until *in is empty or b->done. 0 or -EBADMSG. */
int h1_body_next(struct h1_body *b, struct str *in, struct str *out);

#endif

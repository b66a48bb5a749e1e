/* SPDX-License-Identifier: Apache-2.0
 * Container logs in the CRI format: "<RFC 3339 nano> stdout|stderr F|P <text>". */
#ifndef XEBEC_KUBELET_LOGS_H
#define XEBEC_KUBELET_LOGS_H

#include "xebec/base/buf.h"
#include "xebec/base/err.h"
#include "xebec/base/http.h"

struct log_line {
	struct str time, stream, text;
	bool partial; /* the runtime split a long line: no newline belongs here */
};
/* One line without its newline; -EINVAL when it is not in the format. */
int log_parse(struct str line, struct log_line *ret);

struct log_opts {
	bool follow, timestamps;
	int64_t tail;	    /* lines, < 0 = all */
	int64_t since;	    /* wall clock ns, 0 = from the start */
	int64_t limit;	    /* bytes of output, < 0 = no limit */
	const char *stream; /* "stdout", "stderr" or NULL = both */
};
/* Reads the query of a log request: follow, tailLines, sinceSeconds, sinceTime, timestamps,
 * limitBytes, stream. */
int log_opts_parse(struct http_exchange *x, int64_t now, struct log_opts *o, struct err *e);

/* Appends the readable form of a line; false once the limit is reached. */
struct log_filter {
	struct log_opts o;
	int64_t written;
	bool mid_line; /* the last piece was partial: no time stamp before the next */
};
bool log_emit(struct log_filter *f, struct str line, struct buf *out);
/* Offset of the n-th last line of a file. */
int64_t log_tail_offset(int fd, int64_t lines);
/* Text of the last lines, at most max bytes; NULL when there is none. For termination messages. */
char *log_tail(const char *path, int64_t lines, size_t max);

/* Answers the exchange with the file's content. alive: follow while it says so. */
int log_serve(struct http_exchange *x, const char *path, const struct log_opts *o,
	bool (*alive)(void *arg), void (*free_arg)(void *arg), void *arg, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * The one error carrier. It lives on the caller's stack and becomes the API `Status` (meta/v1
 * Status). Functions return 0 or a negative errno, results go through ret_ parameters, which are
 * untouched on failure. */
#ifndef XEBEC_BASE_ERR_H
#define XEBEC_BASE_ERR_H

struct err {
	int code;	    /* negative errno; 0 = no error */
	const char *reason; /* a StatusReason string literal ("NotFound", "Invalid" ...) or NULL */
	char msg[240];	    /* what was wrong, where, what to do */
};

/* Fills *e (which may be NULL) and returns code, so that callers write `return err_set(...)`.
 * code may be positive or negative errno; the negative is stored. */
int err_set(struct err *e, int code, const char *reason, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Puts "prefix: " before the message. Returns e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* HTTP status of a reason (or, with reason NULL, of the errno): one table. */
int err_http_status(const struct err *e);
/* The StatusReason for an HTTP status, "" when there is none. */
const char *err_reason_of_http(int status);

#endif

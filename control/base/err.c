/* SPDX-License-Identifier: Apache-2.0
 * The error carrier and the tables between errno, StatusReason and HTTP status. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "xebec/base/cleanup.h"
#include "xebec/base/err.h"

static const struct {
	const char *reason;
	int status;
} reasons[] = {
	/* Where a status has several reasons, the first row answers err_reason_of_http. */
	{"BadRequest", 400},
	{"Unauthorized", 401},
	{"Forbidden", 403},
	{"NotFound", 404},
	{"MethodNotAllowed", 405},
	{"NotAcceptable", 406},
	{"Conflict", 409},
	{"AlreadyExists", 409},
	{"Gone", 410},
	{"Expired", 410},
	{"RequestEntityTooLarge", 413},
	{"UnsupportedMediaType", 415},
	{"Invalid", 422},
	{"TooManyRequests", 429},
	{"InternalError", 500},
	{"NotImplemented", 501},
	{"ServiceUnavailable", 503},
	{"StorageReadinessHealthError", 503},
	{"Timeout", 504},
	{"ServerTimeout", 500},
};

static const struct {
	int code, status;
} errnos[] = {
	{-EINVAL, 400},
	{-EBADMSG, 400},
	{-EACCES, 403},
	{-EPERM, 403},
	{-ENOENT, 404},
	{-EEXIST, 409},
	{-EAGAIN, 409},
	{-ESTALE, 410},
	{-E2BIG, 413},
	{-EMSGSIZE, 413},
	{-EBUSY, 429},
	{-EOPNOTSUPP, 501},
	{-ETIMEDOUT, 504},
};

int err_set(struct err *e, int code, const char *reason, const char *fmt, ...)
{
	if (code > 0)
		code = -code;
	if (!e)
		return code;
	/* The arguments may point into e->msg. */
	char msg[sizeof(e->msg)];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	e->code = code;
	e->reason = reason;
	memcpy(e->msg, msg, sizeof(msg));
	return code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	if (!e)
		return 0;
	char msg[sizeof(e->msg)];
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	size_t n = len < 0 ? 0 : (size_t)len;
	if (n + 3 < sizeof(msg)) {
		size_t rest = strnlen(e->msg, sizeof(msg) - 1);
		if (rest > sizeof(msg) - n - 3)
			rest = sizeof(msg) - n - 3;
		memcpy(msg + n, ": ", 2);
		memcpy(msg + n + 2, e->msg, rest);
		msg[n + 2 + rest] = '\0';
	}
	memcpy(e->msg, msg, sizeof(msg));
	return e->code;
}

int err_http_status(const struct err *e)
{
	if (e->reason) {
		for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
			if (strcmp(reasons[i].reason, e->reason) == 0)
				return reasons[i].status;
		return 500;
	}
	for (size_t i = 0; i < ARRAY_LEN(errnos); i++)
		if (errnos[i].code == e->code)
			return errnos[i].status;
	return e->code ? 500 : 200;
}

const char *err_reason_of_http(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "";
}

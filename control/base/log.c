/* SPDX-License-Identifier: Apache-2.0
 * The logger: one line, one write(2). */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

static _Atomic int max_level = LOG_LEVEL_INFO;
static char component[32] = "xebec";

void log_init(const char *name, enum log_level level)
{
	(void)snprintf(component, sizeof(component), "%s", name);
	atomic_store(&max_level, (int)level);
}

void log_at(enum log_level level, const char *fmt, ...)
{
	if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	int saved = errno; /* logging must not disturb a caller's error handling */
	char line[2048], t[28];
	time_rfc3339_micro(time_now(), t);
	int n = snprintf(line, sizeof(line), "%.23sZ %c %s: ", t, "EWID"[level & 3], component);
	va_list ap;
	va_start(ap, fmt);
	int m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	size_t len = (size_t)n + (size_t)(m < 0 ? 0 : m);
	if (len > sizeof(line) - 2)
		len = sizeof(line) - 2;
	for (size_t i = (size_t)n; i < len; i++)
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' '; /* one record, one line */
	line[len++] = '\n';
	(void)!write(STDERR_FILENO, line, len);
	errno = saved;
}

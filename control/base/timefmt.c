/* SPDX-License-Identifier: Apache-2.0
 * RFC 3339 times and short durations. */
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include "xebec/base/timefmt.h"

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;
	(void)clock_gettime(id, &ts);
	return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

int64_t time_now(void)
{
	return clock_ns(CLOCK_REALTIME);
}

int64_t time_mono(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* Floors, so that times before 1970 come out right. Returns the nanoseconds within the second. */
static int64_t split(int64_t ns, struct tm *tm)
{
	int64_t sec = ns / NS_PER_SEC, frac = ns % NS_PER_SEC;
	if (frac < 0) {
		frac += NS_PER_SEC;
		sec--;
	}
	time_t t = (time_t)sec;
	(void)gmtime_r(&t, tm);
	return frac;
}

static void put_digits(char *p, int64_t v, int n)
{
	for (int i = n - 1; i >= 0; i--, v /= 10)
		p[i] = (char)('0' + v % 10);
}

static void put_seconds(char *p, const struct tm *tm)
{
	memcpy(p, "0000-00-00T00:00:00", 19);
	put_digits(p, tm->tm_year + 1900, 4);
	put_digits(p + 5, tm->tm_mon + 1, 2);
	put_digits(p + 8, tm->tm_mday, 2);
	put_digits(p + 11, tm->tm_hour, 2);
	put_digits(p + 14, tm->tm_min, 2);
	put_digits(p + 17, tm->tm_sec, 2);
}

void time_rfc3339(int64_t ns, char out[static 21])
{
	struct tm tm;
	(void)split(ns, &tm);
	put_seconds(out, &tm);
	memcpy(out + 19, "Z", 2);
}

void time_rfc3339_micro(int64_t ns, char out[static 28])
{
	struct tm tm;
	int64_t frac = split(ns, &tm);
	put_seconds(out, &tm);
	out[19] = '.';
	put_digits(out + 20, frac / 1000, 6);
	memcpy(out + 26, "Z", 2);
}

void time_rfc3339_nano(int64_t ns, char out[static 31])
{
	struct tm tm;
	int64_t frac = split(ns, &tm);
	put_seconds(out, &tm);
	out[19] = '.';
	put_digits(out + 20, frac, 9);
	memcpy(out + 29, "Z", 2);
}

/* n digits at *p within [lo, hi]; advances. */
static bool digits(const char **p, const char *end, int n, int lo, int hi, int *ret)
{
	int v = 0;
	if (end - *p < n)
		return false;
	for (int i = 0; i < n; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		v = v * 10 + (**p - '0');
	}
	*ret = v;
	return v >= lo && v <= hi;
}

static bool one_of(const char **p, const char *end, const char *set)
{
	if (*p == end || !strchr(set, **p) || !**p)
		return false;
	(*p)++;
	return true;
}

static bool parse_fraction(const char **p, const char *end, int64_t *ns)
{
	*ns = 0;
	if (*p == end || **p != '.')
		return true;
	(*p)++;
	const char *from = *p;
	int64_t scale = NS_PER_SEC / 10;
	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++, scale /= 10)
		*ns += (**p - '0') * scale; /* digits beyond the ninth count for nothing */
	return *p > from;
}

static bool parse_zone(const char **p, const char *end, int64_t *offset)
{
	int h, m;
	*offset = 0;
	if (one_of(p, end, "Zz"))
		return true;
	bool neg = *p < end && **p == '-';
	if (!one_of(p, end, "+-") || !digits(p, end, 2, 0, 23, &h) || !one_of(p, end, ":") ||
		!digits(p, end, 2, 0, 59, &m))
		return false;
	*offset = (neg ? -1 : 1) * (h * 3600 + m * 60);
	return true;
}

static int month_days(int y, int m)
{
	static const signed char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
	return days[m - 1] + (m == 2 && leap);
}

int time_parse(struct str s, int64_t *ret_ns)
{
	const char *p = s.p, *end = s.p + s.n;
	int y, mo, d, h, mi, sec;
	int64_t frac, offset;
	if (!digits(&p, end, 4, 0, 9999, &y) || !one_of(&p, end, "-") ||
		!digits(&p, end, 2, 1, 12, &mo) || !one_of(&p, end, "-") ||
		!digits(&p, end, 2, 1, 31, &d) || !one_of(&p, end, "Tt ") ||
		!digits(&p, end, 2, 0, 23, &h) || !one_of(&p, end, ":") ||
		!digits(&p, end, 2, 0, 59, &mi) || !one_of(&p, end, ":") ||
		!digits(&p, end, 2, 0, 60, &sec) || !parse_fraction(&p, end, &frac) ||
		!parse_zone(&p, end, &offset) || p != end || d > month_days(y, mo))
		return -EINVAL;
	struct tm tm = {.tm_year = y - 1900,
		.tm_mon = mo - 1,
		.tm_mday = d,
		.tm_hour = h,
		.tm_min = mi,
		.tm_sec = sec};
	int64_t t = (int64_t)timegm(&tm) - offset, ns;
	if (__builtin_mul_overflow(t, NS_PER_SEC, &ns) || __builtin_add_overflow(ns, frac, &ns))
		return -EINVAL;
	*ret_ns = ns;
	return 0;
}

/* The steps of kubectl's age column: two units while the first is small. */
void time_duration_short(int64_t ns, char out[static 16])
{
	int64_t s = ns / NS_PER_SEC, m = s / 60, h = s / 3600, d = h / 24;
	if (s < -1)
		(void)snprintf(out, 16, "<invalid>");
	else if (s < 60 * 2)
		(void)snprintf(out, 16, "%ds", s < 0 ? 0 : (int)s);
	else if (m < 10 && s % 60)
		(void)snprintf(out, 16, "%dm%ds", (int)m, (int)(s % 60));
	else if (m < 60 * 3)
		(void)snprintf(out, 16, "%dm", (int)m);
	else if (h < 8 && m % 60)
		(void)snprintf(out, 16, "%dh%dm", (int)h, (int)(m % 60));
	else if (h < 48)
		(void)snprintf(out, 16, "%dh", (int)h);
	else if (d < 8 && h % 24)
		(void)snprintf(out, 16, "%dd%dh", (int)d, (int)(h % 24));
	else if (d < 365 * 2)
		(void)snprintf(out, 16, "%dd", (int)d);
	else if (d < 365 * 8 && d % 365)
		(void)snprintf(out, 16, "%dy%dd", (int)(d / 365), (int)(d % 365));
	else
		(void)snprintf(out, 16, "%dy", (int)(d / 365));
}

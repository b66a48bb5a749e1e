/* SPDX-License-Identifier: Apache-2.0
 * The string formats that Kubernetes checks in custom resources. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include "api/structural.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

typedef bool check_fn(const char *z, size_t n);

static bool is_ipv4(const char *z, size_t n)
{
	struct in_addr a;
	(void)n;
	return inet_pton(AF_INET, z, &a) == 1;
}

static bool is_ipv6(const char *z, size_t n)
{
	struct in6_addr a;
	(void)n;
	return inet_pton(AF_INET6, z, &a) == 1;
}

static bool is_cidr(const char *z, size_t n)
{
	const char *msg[MSG_MAX];
	return fmt_cidr((struct str){z, n}, msg) == 0;
}

static bool is_mac(const char *z, size_t n)
{
	char sep = n > 2 ? z[2] : 0;
	if (n != 17 || (sep != ':' && sep != '-'))
		return false;
	for (size_t i = 0; i < n; i++)
		if (i % 3 == 2 ? z[i] != sep : !isxdigit((unsigned char)z[i]))
			return false;
	return true;
}

static bool uuid_of(const char *z, size_t n, char version)
{
	size_t digits = 0;
	for (size_t i = 0; i < n; i++) {
		if (z[i] == '-')
			continue;
		if (!isxdigit((unsigned char)z[i]))
			return false;
		if (digits++ == 12 && version && z[i] != version)
			return false;
	}
	return digits == 32 && (n == 32 || (n == 36 && z[8] == '-' && z[13] == '-' &&
						   z[18] == '-' && z[23] == '-'));
}

static bool is_uuid(const char *z, size_t n)
{
	return uuid_of(z, n, 0);
}

static bool is_uuid3(const char *z, size_t n)
{
	return uuid_of(z, n, '3');
}

static bool is_uuid4(const char *z, size_t n)
{
	return uuid_of(z, n, '4');
}

static bool is_uuid5(const char *z, size_t n)
{
	return uuid_of(z, n, '5');
}

static bool is_date(const char *z, size_t n)
{
	char full[32];
	int64_t ns;
	if (n != 10)
		return false;
	(void)snprintf(full, sizeof(full), "%sT00:00:00Z", z);
	return time_parse(str_of(full), &ns) == 0;
}

static bool is_time(const char *z, size_t n)
{
	int64_t ns;
	return time_parse((struct str){z, n}, &ns) == 0;
}

/* Go's form "1h30m", or a number and a word: "3 days". */
static bool is_duration(const char *z, size_t n)
{
	static const char *const units[] = {"ns", "us", "µs", "ms", "s", "m", "h", "d", "w", "ns",
		"nanosecond", "nanoseconds", "microsecond", "microseconds", "millisecond",
		"milliseconds", "second", "seconds", "minute", "minutes", "hour", "hours", "day",
		"days", "week", "weeks", "min", "sec", "hr", "hrs", "mins", "secs"};
	const char *p = z, *end = z + n;
	bool any = false;
	if (p < end && (*p == '-' || *p == '+'))
		p++;
	if (strcmp(p, "0") == 0)
		return true;
	while (p < end) {
		const char *start = p;
		while (p < end && (isdigit((unsigned char)*p) || *p == '.'))
			p++;
		if (p == start)
			return false;
		while (p < end && *p == ' ')
			p++;
		const char *unit = p;
		while (p < end && !isdigit((unsigned char)*p) && *p != ' ' && *p != '.')
			p++;
		any = false;
		for (size_t i = 0; i < ARRAY_LEN(units); i++)
			any |= strlen(units[i]) == (size_t)(p - unit) &&
			       strncasecmp(units[i], unit, (size_t)(p - unit)) == 0;
		if (!any)
			return false;
		while (p < end && *p == ' ')
			p++;
	}
	return any;
}

static bool is_byte(const char *z, size_t n)
{
	AUTO_BUF struct buf out = {0};
	return n % 4 == 0 && !memchr(z, '-', n) && !memchr(z, '_', n) &&
	       (n == 0 || base64_decode((struct str){z, n}, &out) == 0);
}

static bool is_hostname(const char *z, size_t n)
{
	size_t label = 0;
	if (n == 0 || n > 255)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (z[i] == '.') {
			if (!label || z[i - 1] == '-')
				return false;
			label = 0;
		} else if (isalnum((unsigned char)z[i]) || (z[i] == '-' && label)) {
			if (++label > 63)
				return false;
		} else {
			return false;
		}
	}
	return label && z[n - 1] != '-';
}

static bool is_email(const char *z, size_t n)
{
	const char *at = memrchr(z, '@', n);
	if (!at || at == z || (size_t)(at - z) + 1 >= n)
		return false;
	for (const char *p = z; p < at; p++)
		if (isspace((unsigned char)*p) || *p == '@' || *p == '<' || *p == '>')
			return false;
	return is_hostname(at + 1, n - (size_t)(at - z) - 1);
}

static bool is_uri(const char *z, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((unsigned char)z[i] <= ' ' || z[i] == 0x7f)
			return false;
	const char *colon = memchr(z, ':', n);
	bool scheme = colon && colon > z && isalpha((unsigned char)*z);
	for (const char *p = z; scheme && p < colon; p++)
		scheme = isalnum((unsigned char)*p) || strchr("+-.", *p);
	return (scheme && colon + 1 < z + n) || (n && *z == '/');
}

static bool hex_of(const char *z, size_t n, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (!isxdigit((unsigned char)z[i]))
			return false;
	return n == len;
}

static bool is_object_id(const char *z, size_t n)
{
	return hex_of(z, n, 24);
}

static bool is_hex_color(const char *z, size_t n)
{
	if (n && *z == '#')
		z++, n--;
	return hex_of(z, n, 3) || hex_of(z, n, 6);
}

static bool is_rgb_color(const char *z, size_t n)
{
	int r, g, b, end = 0;
	if (sscanf(z, "rgb( %3d , %3d , %3d )%n", &r, &g, &b, &end) != 3)
		return false;
	return (size_t)end == n && r >= 0 && g >= 0 && b >= 0 && r < 256 && g < 256 && b < 256;
}

/* The digits of a number written with blanks and dashes; 0 when there is anything else. */
static size_t digits_of(const char *z, size_t n, char out[static 20])
{
	size_t k = 0;
	for (size_t i = 0; i < n; i++) {
		if (z[i] == ' ' || z[i] == '-')
			continue;
		bool x = (z[i] == 'X' || z[i] == 'x') && k == 9;
		if (k == 19 || (!isdigit((unsigned char)z[i]) && !x))
			return 0;
		out[k++] = z[i];
	}
	return k;
}

static bool is_isbn10(const char *z, size_t n)
{
	char d[20];
	int sum = 0;
	if (digits_of(z, n, d) != 10)
		return false;
	for (int i = 0; i < 10; i++)
		sum += (10 - i) * (isdigit((unsigned char)d[i]) ? d[i] - '0' : 10);
	return sum % 11 == 0;
}

static bool is_isbn13(const char *z, size_t n)
{
	char d[20];
	int sum = 0;
	if (digits_of(z, n, d) != 13)
		return false;
	for (int i = 0; i < 13; i++)
		sum += (i % 2 ? 3 : 1) * (d[i] - '0');
	return sum % 10 == 0;
}

static bool is_isbn(const char *z, size_t n)
{
	return is_isbn10(z, n) || is_isbn13(z, n);
}

static bool is_credit_card(const char *z, size_t n)
{
	char d[20];
	size_t k = digits_of(z, n, d);
	int sum = 0;
	for (size_t i = 0; i < k; i++) {
		int v = d[k - 1 - i] - '0';
		v = i % 2 ? v * 2 : v;
		sum += v > 9 ? v - 9 : v;
	}
	return k >= 13 && k <= 19 && sum % 10 == 0;
}

static bool is_ssn(const char *z, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (i == 3 || i == 6 ? z[i] != '-' && z[i] != ' ' : !isdigit((unsigned char)z[i]))
			return false;
	return n == 11;
}

static bool is_short_name(const char *z, size_t n)
{
	const char *msg[MSG_MAX];
	return fmt_dns1123_label((struct str){z, n}, msg) == 0;
}

static bool is_long_name(const char *z, size_t n)
{
	const char *msg[MSG_MAX];
	return fmt_dns1123_subdomain((struct str){z, n}, msg) == 0;
}

static const struct {
	const char *name;
	check_fn *fn;
} formats[] = {
	{"bsonobjectid", is_object_id},
	{"byte", is_byte},
	{"cidr", is_cidr},
	{"creditcard", is_credit_card},
	{"date", is_date},
	{"date-time", is_time},
	{"datetime", is_time},
	{"duration", is_duration},
	{"email", is_email},
	{"hexcolor", is_hex_color},
	{"hostname", is_hostname},
	{"ipv4", is_ipv4},
	{"ipv6", is_ipv6},
	{"isbn", is_isbn},
	{"isbn10", is_isbn10},
	{"isbn13", is_isbn13},
	{"k8s-long-name", is_long_name},
	{"k8s-short-name", is_short_name},
	{"mac", is_mac},
	{"rgbcolor", is_rgb_color},
	{"ssn", is_ssn},
	{"uri", is_uri},
	{"uuid", is_uuid},
	{"uuid3", is_uuid3},
	{"uuid4", is_uuid4},
	{"uuid5", is_uuid5},
};

bool structural_format(const char *format, struct str text)
{
	if (memchr(text.p ? text.p : "", 0, text.n))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(formats); i++)
		if (strcmp(formats[i].name, format) == 0)
			return formats[i].fn(text.p ? text.p : "", text.n);
	return true;
}

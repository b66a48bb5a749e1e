/* SPDX-License-Identifier: Apache-2.0
 * The string formats of the API: names, labels, ports, addresses. Each function reports every rule
 * that a string breaks, in the words of Kubernetes' messages. */
#include <ctype.h>
#include "api/rules.h"

#define RE_LABEL "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define RE_QNAME "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define MSG_LABEL                                                                                  \
	"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "   \
	"and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', "   \
	"regex used for validation is '" RE_LABEL "')"
#define MSG_SUBDOMAIN                                                                              \
	"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' "  \
	"or '.', and must start and end with an alphanumeric character (e.g. 'example.com', "      \
	"regex used for validation is '" RE_LABEL "(\\." RE_LABEL ")*')"
#define MSG_WILDCARD                                                                               \
	"a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, "  \
	"which must consist of lower case alphanumeric characters, '-' or '.' and end with an "    \
	"alphanumeric character (e.g. '*.example.com', regex used for validation is "              \
	"'\\*\\." RE_LABEL "(\\." RE_LABEL ")*')"
#define MSG_1035                                                                                   \
	"a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with "  \
	"an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "    \
	"'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
#define MSG_QNAME                                                                                  \
	"must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "   \
	"an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "  \
	"validation is '" RE_QNAME "')"
#define MSG_LABEL_VALUE                                                                            \
	"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' "   \
	"or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or "      \
	"'my_value',  or '12345', regex used for validation is "                                   \
	"'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"

static size_t add_msg(const char *msg[static MSG_MAX], size_t n, const char *text)
{
	if (n < MSG_MAX)
		msg[n++] = text;
	return n;
}

static bool lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool alnum(char c)
{
	return lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_label(struct str s)
{
	if (s.n == 0 || !lower_alnum(s.p[0]) || !lower_alnum(s.p[s.n - 1]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!lower_alnum(s.p[i]) && s.p[i] != '-')
			return false;
	return true;
}

static bool is_subdomain(struct str s)
{
	if (s.n == 0 || s.p[s.n - 1] == '.')
		return false;
	while (s.n)
		if (!is_label(str_cut(&s, '.')))
			return false;
	return true;
}

/* Alphanumeric at both ends, and - _ . between. */
static bool is_name_part(struct str s)
{
	if (s.n == 0 || !alnum(s.p[0]) || !alnum(s.p[s.n - 1]))
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (!alnum(s.p[i]) && !strchr("-_.", s.p[i]))
			return false;
	return true;
}

static bool only(struct str s, const char *extra)
{
	for (size_t i = 0; i < s.n; i++)
		if (!alnum(s.p[i]) && (s.p[i] == 0 || !strchr(extra, s.p[i])))
			return false;
	return s.n > 0;
}

size_t fmt_dns1123_label(struct str s, const char *msg[static MSG_MAX])
{
	size_t n = 0;
	if (s.n > 63)
		n = add_msg(msg, n, "must be no more than 63 bytes");
	if (!is_label(s))
		n = add_msg(msg, n, MSG_LABEL);
	return n;
}

size_t fmt_dns1123_subdomain(struct str s, const char *msg[static MSG_MAX])
{
	size_t n = 0;
	if (s.n > 253)
		n = add_msg(msg, n, "must be no more than 253 bytes");
	if (!is_subdomain(s))
		n = add_msg(msg, n, MSG_SUBDOMAIN);
	return n;
}

size_t fmt_wildcard_subdomain(struct str s, const char *msg[static MSG_MAX])
{
	size_t n = 0;
	if (s.n > 253)
		n = add_msg(msg, n, "must be no more than 253 bytes");
	if (!str_starts(s, "*.") || !is_subdomain((struct str){s.p + 2, s.n - 2}))
		n = add_msg(msg, n, MSG_WILDCARD);
	return n;
}

size_t fmt_dns1035_label(struct str s, const char *msg[static MSG_MAX])
{
	size_t n = 0;
	if (s.n > 63)
		n = add_msg(msg, n, "must be no more than 63 bytes");
	if (!is_label(s) || isdigit((unsigned char)s.p[0]))
		n = add_msg(msg, n, MSG_1035);
	return n;
}

static size_t prefix_part(struct str prefix, const char *msg[static MSG_MAX], size_t n)
{
	if (prefix.n == 0)
		return add_msg(msg, n, "prefix part must be non-empty");
	if (prefix.n > 253)
		n = add_msg(msg, n, "prefix part must be no more than 253 bytes");
	if (!is_subdomain(prefix))
		n = add_msg(msg, n, "prefix part " MSG_SUBDOMAIN);
	return n;
}

size_t fmt_qualified_name(struct str s, const char *msg[static MSG_MAX])
{
	size_t n = 0;
	const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
	struct str name = s;
	if (slash) {
		struct str prefix = {s.p, (size_t)(slash - s.p)};
		name = (struct str){slash + 1, s.n - prefix.n - 1};
		if (memchr(name.p, '/', name.n))
			return add_msg(msg, n,
				"a qualified name " MSG_QNAME
				" with an optional DNS subdomain prefix and '/' "
				"(e.g. 'example.com/MyName')");
		n = prefix_part(prefix, msg, n);
	}
	if (name.n == 0)
		n = add_msg(msg, n, "name part must be non-empty");
	else if (name.n > 63)
		n = add_msg(msg, n, "name part must be no more than 63 bytes");
	if (!is_name_part(name))
		n = add_msg(msg, n, "name part " MSG_QNAME);
	return n;
}

size_t fmt_label_key_prefixed(struct str s, const char *msg[static MSG_MAX])
{
	if (s.n && !memchr(s.p, '/', s.n))
		return add_msg(msg, 0, "must be a domain-prefixed path (such as \"acme.io/foo\")");
	return fmt_qualified_name(s, msg);
}

size_t fmt_label_value(struct str s, const char *msg[static MSG_MAX])
{
	size_t n = 0;
	if (s.n > 63)
		n = add_msg(msg, n, "must be no more than 63 bytes");
	if (s.n && !is_name_part(s))
		n = add_msg(msg, n, MSG_LABEL_VALUE);
	return n;
}

size_t fmt_config_key(struct str s, const char *msg[static MSG_MAX])
{
	size_t n = 0;
	if (s.n > 253)
		n = add_msg(msg, n, "must be no more than 253 bytes");
	if (!only(s, "-._"))
		n = add_msg(msg, n,
			"a valid config key must consist of alphanumeric characters, '-', '_' or "
			"'.' "
			"(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for "
			"validation "
			"is '[-._a-zA-Z0-9]+')");
	if (str_eqz(s, "."))
		n = add_msg(msg, n, "must not be '.'");
	else if (str_eqz(s, ".."))
		n = add_msg(msg, n, "must not be '..'");
	else if (str_starts(s, ".."))
		n = add_msg(msg, n, "must not start with '..'");
	return n;
}

size_t fmt_env_name(struct str s, const char *msg[static MSG_MAX])
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~' || s.p[i] == '=')
			return add_msg(msg, 0,
				"a valid environment variable name must consist only of printable "
				"ASCII characters other than '='");
	return 0;
}

size_t fmt_c_identifier(struct str s, const char *msg[static MSG_MAX])
{
	if (only(s, "_") && !isdigit((unsigned char)s.p[0]))
		return 0;
	return add_msg(msg, 0,
		"a valid C identifier must start with alphabetic character or '_', followed by a "
		"string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
		"'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')");
}

size_t fmt_http_header(struct str s, const char *msg[static MSG_MAX])
{
	if (only(s, "-"))
		return 0;
	return add_msg(msg, 0,
		"a valid HTTP header must consist of alphanumeric characters or '-' (e.g. "
		"'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')");
}

size_t fmt_port_name(struct str s, const char *msg[static MSG_MAX])
{
	size_t n = 0;
	bool letter = false, bad = s.n == 0, twin = false;
	for (size_t i = 0; i < s.n; i++) {
		letter |= s.p[i] >= 'a' && s.p[i] <= 'z';
		bad |= !lower_alnum(s.p[i]) && s.p[i] != '-';
		twin |= i && s.p[i] == '-' && s.p[i - 1] == '-';
	}
	if (s.n > 15)
		n = add_msg(msg, n, "must be no more than 15 bytes");
	if (bad)
		n = add_msg(msg, n,
			"must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
	if (!letter)
		n = add_msg(msg, n, "must contain at least one letter (a-z)");
	if (twin)
		n = add_msg(msg, n, "must not contain consecutive hyphens");
	if (s.n && (s.p[0] == '-' || s.p[s.n - 1] == '-'))
		n = add_msg(msg, n, "must not begin or end with a hyphen");
	return n;
}

size_t fmt_path_segment(struct str s, const char *msg[static MSG_MAX])
{
	size_t n = 0;
	if (str_eqz(s, "."))
		return add_msg(msg, n, "may not be '.'");
	if (str_eqz(s, ".."))
		return add_msg(msg, n, "may not be '..'");
	if (s.n && memchr(s.p, '/', s.n))
		n = add_msg(msg, n, "may not contain '/'");
	if (s.n && memchr(s.p, '%', s.n))
		n = add_msg(msg, n, "may not contain '%'");
	return n;
}

static bool ip4_parse(struct str s, unsigned char out[static 4])
{
	for (int i = 0; i < 4; i++) {
		size_t dots = 0;
		struct str part = s;
		uint64_t v;
		while (dots < s.n && s.p[dots] != '.')
			dots++;
		part.n = dots;
		if (part.n == 0 || part.n > 3 || (part.n > 1 && part.p[0] == '0') ||
			str_u64(part, &v) < 0 || v > 255)
			return false;
		out[i] = (unsigned char)v;
		if (i == 3)
			return dots == s.n;
		if (dots == s.n)
			return false;
		s = (struct str){s.p + dots + 1, s.n - dots - 1};
	}
	return false;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One group of up to four hex digits at s; its length, 0 when there is none. */
static size_t hex_group(struct str s, unsigned *ret)
{
	size_t i = 0;
	*ret = 0;
	while (i < s.n && hex_digit(s.p[i]) >= 0 && i < 5)
		*ret = *ret << 4 | (unsigned)hex_digit(s.p[i++]);
	return i > 4 ? 0 : i;
}

static bool ip6_parse(struct str s, unsigned char out[static 16])
{
	size_t n = 0;
	int gap = -1;
	memset(out, 0, 16);
	if (str_starts(s, "::")) {
		gap = 0;
		s = (struct str){s.p + 2, s.n - 2};
	}
	while (s.n && n < 16) {
		unsigned v;
		size_t k = hex_group(s, &v);
		if (n <= 12 && k < s.n && s.p[k] == '.') {
			if (!ip4_parse(s, out + n))
				return false;
			n += 4;
			s.n = 0;
			break;
		}
		if (k == 0)
			return false;
		out[n++] = (unsigned char)(v >> 8);
		out[n++] = (unsigned char)v;
		s = (struct str){s.p + k, s.n - k};
		if (s.n == 0)
			break;
		if (s.p[0] != ':' || s.n == 1)
			return false;
		s = (struct str){s.p + 1, s.n - 1};
		if (s.p[0] != ':')
			continue;
		if (gap >= 0)
			return false;
		gap = (int)n;
		s = (struct str){s.p + 1, s.n - 1};
	}
	if (s.n || (gap < 0 && n != 16) || (gap >= 0 && n == 16))
		return false;
	if (gap >= 0) {
		size_t tail = n - (size_t)gap;
		memmove(out + 16 - tail, out + gap, tail);
		memset(out + gap, 0, 16 - n);
	}
	return true;
}

bool fmt_ip_parse(struct str s, unsigned char out[static 16], bool *v6)
{
	*v6 = s.n && memchr(s.p, ':', s.n);
	if (*v6)
		return ip6_parse(s, out);
	memset(out, 0, 16);
	return ip4_parse(s, out);
}

size_t fmt_ip(struct str s, const char *msg[static MSG_MAX])
{
	unsigned char b[16];
	bool v6;
	if (fmt_ip_parse(s, b, &v6))
		return 0;
	return add_msg(msg, 0, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
}

size_t fmt_cidr(struct str s, const char *msg[static MSG_MAX])
{
	unsigned char b[16];
	bool v6;
	uint64_t bits;
	struct str rest = s, addr = str_cut(&rest, '/');
	if (addr.n < s.n && rest.n && !(rest.n > 1 && rest.p[0] == '0') &&
		fmt_ip_parse(addr, b, &v6) && str_u64(rest, &bits) == 0 && bits <= (v6 ? 128 : 32))
		return 0;
	return add_msg(msg, 0, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
}

size_t fmt_percent(struct str s, const char *msg[static MSG_MAX])
{
	size_t i = 0;
	while (i < s.n && isdigit((unsigned char)s.p[i]))
		i++;
	if (i && i + 1 == s.n && s.p[i] == '%')
		return 0;
	return add_msg(msg, 0,
		"a valid percent string must be a numeric string followed by an ending '%' (e.g. "
		"'1%',  or '93%', regex used for validation is '[0-9]+%')");
}

/* SPDX-License-Identifier: Apache-2.0
 * Plain scalars as sigs.k8s.io/yaml reads them: YAML 1.1 booleans (yes, on, y ...), integers in
 * bases 2, 8 (0644 and 0o644), 10 and 16 with underscores, decimal floats. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include "base/yaml_scalar.h"

static const struct {
	const char *word;
	json_type type;
} words[] = {
	{"", JSON_NULL},
	{"~", JSON_NULL},
	{"null", JSON_NULL},
	{"Null", JSON_NULL},
	{"NULL", JSON_NULL},
	{"y", JSON_TRUE},
	{"Y", JSON_TRUE},
	{"yes", JSON_TRUE},
	{"Yes", JSON_TRUE},
	{"YES", JSON_TRUE},
	{"true", JSON_TRUE},
	{"True", JSON_TRUE},
	{"TRUE", JSON_TRUE},
	{"on", JSON_TRUE},
	{"On", JSON_TRUE},
	{"ON", JSON_TRUE},
	{"n", JSON_FALSE},
	{"N", JSON_FALSE},
	{"no", JSON_FALSE},
	{"No", JSON_FALSE},
	{"NO", JSON_FALSE},
	{"false", JSON_FALSE},
	{"False", JSON_FALSE},
	{"FALSE", JSON_FALSE},
	{"off", JSON_FALSE},
	{"Off", JSON_FALSE},
	{"OFF", JSON_FALSE},
};

struct number {
	bool integer;
	int64_t i;
	double d;
};

/* [-+]? prefix digits, in the base that the prefix names. */
static bool parse_int(const char *z, struct number *n)
{
	bool neg = *z == '-';
	int base = 10;
	if (*z == '-' || *z == '+')
		z++;
	if (z[0] == '0' && z[1]) {
		char c = (char)(z[1] | 0x20);
		base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
		z += c == 'x' || c == 'b' || c == 'o' ? 2 : 1;
	}
	if (!*z || *z == '-' || *z == '+' || *z == ' ' ||
		strspn(z, "0123456789abcdefABCDEF") != strlen(z))
		return false;
	char *end;
	errno = 0;
	unsigned long long v = strtoull(z, &end, base);
	if (*end || errno)
		return false;
	n->integer = v <= (uint64_t)INT64_MAX + neg;
	n->i = neg ? (int64_t)(0 - v) : (int64_t)v;
	n->d = neg ? -(double)v : (double)v;
	return n->integer || !neg;
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)? */
static bool parse_float(const char *z, struct number *n)
{
	const char *p = z + (*z == '-' || *z == '+');
	size_t whole = strspn(p, "0123456789"), part = 0;
	p += whole;
	if (*p == '.') {
		part = strspn(p + 1, "0123456789");
		p += 1 + part;
	}
	if (whole + part == 0)
		return false;
	if (*p == 'e' || *p == 'E') {
		p += 1 + (p[1] == '-' || p[1] == '+');
		size_t exp = strspn(p, "0123456789");
		if (!exp)
			return false;
		p += exp;
	}
	n->integer = false;
	n->d = strtod(z, NULL);
	return *p == '\0' && isfinite(n->d);
}

static bool parse_number(struct str s, struct number *n)
{
	char t[128];
	size_t k = 0;
	if (!s.n || s.n >= sizeof(t) || !s.p[0] || !strchr("+-.0123456789", s.p[0]))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!s.p[i])
			return false;
		if (s.p[i] != '_')
			t[k++] = s.p[i];
	}
	t[k] = '\0';
	if (parse_int(t, n))
		return true;
	(void)str_copy(t, sizeof(t), s); /* floats have no underscores */
	return parse_float(t, n);
}

json_t *yaml_scalar_resolve(struct str s)
{
	struct number n;
	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		if (!str_eqz(s, words[i].word))
			continue;
		return words[i].type == JSON_NULL ? json_null()
						  : json_boolean(words[i].type == JSON_TRUE);
	}
	if (parse_number(s, &n))
		return n.integer ? json_integer(n.i) : json_real(n.d);
	return json_stringn(s.p, s.n);
}

/* 1:20 is eighty to other YAML 1.1 readers. */
static bool is_base60(struct str s)
{
	bool colon = false;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		colon |= c == ':';
		if (!c || !strchr("0123456789_:.", c))
			if (i > 0 || (c != '-' && c != '+'))
				return false;
	}
	return colon;
}

bool yaml_scalar_is_string(struct str s)
{
	AUTO_JSON json_t *j = yaml_scalar_resolve(s);
	return json_is_string(j) && !is_base60(s) && !str_eqz(s, "<<") && !str_eqz(s, "=");
}

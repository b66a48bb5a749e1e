/* SPDX-License-Identifier: Apache-2.0
 * Resource quantities: a signed decimal number with an SI, binary or exponent suffix. All
 * arithmetic is exact on a digit string; nothing goes through floating point. The limits are
 * Kubernetes': values are capped at 2^63-1, fractions finer than nano are rounded up. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include "api/api.h"

enum format { DECIMAL_SI, BINARY_SI, DECIMAL_EXPONENT };
typedef unsigned __int128 u128;

struct suffix {
	const char *text;
	enum format format;
	int shift; /* power of ten, or of two */
};
static const struct suffix suffixes[] = {
	{"n", DECIMAL_SI, -9},
	{"u", DECIMAL_SI, -6},
	{"m", DECIMAL_SI, -3},
	{"", DECIMAL_SI, 0},
	{"k", DECIMAL_SI, 3},
	{"M", DECIMAL_SI, 6},
	{"G", DECIMAL_SI, 9},
	{"T", DECIMAL_SI, 12},
	{"P", DECIMAL_SI, 15},
	{"E", DECIMAL_SI, 18},
	{"Ki", BINARY_SI, 10},
	{"Mi", BINARY_SI, 20},
	{"Gi", BINARY_SI, 30},
	{"Ti", BINARY_SI, 40},
	{"Pi", BINARY_SI, 50},
	{"Ei", BINARY_SI, 60},
};

/* The value is (negative ? -1 : 1) * nano / 10^9. nano <= (2^63-1) * 10^9, so it always fits. */
struct quantity {
	bool negative, clamped;
	enum format format;
	u128 nano;
};
#define NANO	   ((u128)1000000000)
#define LIMIT	   ((u128)INT64_MAX * NANO)
#define DIGITS_MAX 64

/* "e3", "E-3": exponent form. */
static int parse_exponent(struct str s, struct suffix *ret)
{
	bool neg = false;
	int v = 0;
	size_t i = 1;
	if (i < s.n && (s.p[i] == '+' || s.p[i] == '-'))
		neg = s.p[i++] == '-';
	if (i == s.n)
		return -EINVAL;
	for (; i < s.n; i++) {
		if (!isdigit((unsigned char)s.p[i]))
			return -EINVAL;
		if (v < 10000)
			v = v * 10 + (s.p[i] - '0');
	}
	*ret = (struct suffix){"", DECIMAL_EXPONENT, neg ? -v : v};
	return 0;
}

static int parse_suffix(struct str s, struct suffix *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
		if (str_eqz(s, suffixes[i].text)) {
			*ret = suffixes[i];
			return 0;
		}
	if (s.n >= 2 && (s.p[0] == 'e' || s.p[0] == 'E'))
		return parse_exponent(s, ret);
	return -EINVAL;
}

/* a * b, or LIMIT + 1 when it would be beyond. */
static u128 mul_cap(u128 a, u128 b)
{
	u128 r;
	return __builtin_mul_overflow(a, b, &r) || r > LIMIT ? LIMIT + 1 : r;
}

static bool all_zero(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != '0')
			return false;
	return true;
}

/* Digits with `point` of them before the decimal point, shifted by a power of ten, in nano units,
 * rounded away from zero. */
static u128 scale_decimal(const char *digits, size_t n, int64_t point)
{
	u128 v = 0;
	int64_t take = point + 9;
	if (take < 0)
		return all_zero(digits, n) ? 0 : 1;
	for (int64_t i = 0; i < take; i++) {
		if (i >= (int64_t)n && v == 0)
			return 0;
		v = mul_cap(v, 10);
		if (i < (int64_t)n)
			v += (u128)(unsigned)(digits[i] - '0');
		if (v > LIMIT)
			return LIMIT + 1;
	}
	if (take < (int64_t)n && !all_zero(digits + take, n - (size_t)take))
		v++;
	return v;
}

/* The same for a binary suffix: digits * 2^shift with an exact fraction. Digits beyond 26 places
 * after the point cannot move a value of at least nano by more than the rounding. */
static u128 scale_binary(const char *digits, size_t n, int64_t point, int shift)
{
	u128 whole = scale_decimal(digits, n < (size_t)point ? n : (size_t)point, point) / NANO;
	u128 frac = 0, unit = 1, v, lo;
	bool rest = false;
	size_t i = (size_t)point, taken = 0;
	for (; i < n && taken < 18; i++, taken++) {
		frac = frac * 10 + (u128)(unsigned)(digits[i] - '0');
		unit *= 10;
	}
	rest = i < n && !all_zero(digits + i, n - i);
	v = mul_cap(mul_cap(whole, NANO), (u128)1 << shift);
	if (v > LIMIT)
		return v;
	/* frac / unit * 2^shift * 10^9: split so that no product passes 128 bits */
	lo = frac * ((u128)1 << shift);
	v += mul_cap(lo / unit, NANO);
	lo = (lo % unit) * NANO;
	v += lo / unit;
	return v + ((lo % unit) || rest ? 1 : 0);
}

static int quantity_read(struct str s, struct quantity *ret)
{
	struct quantity q = {0};
	struct suffix suf;
	char digits[DIGITS_MAX];
	size_t n = 0, i = 0;
	int64_t point = -1;
	if (s.n > DIGITS_MAX)
		return -EINVAL;
	if (i < s.n && (s.p[i] == '+' || s.p[i] == '-'))
		q.negative = s.p[i++] == '-';
	for (; i < s.n && (isdigit((unsigned char)s.p[i]) || s.p[i] == '.'); i++) {
		if (s.p[i] != '.')
			digits[n++] = s.p[i];
		else if (point >= 0)
			return -EINVAL;
		else
			point = (int64_t)n;
	}
	if (n == 0 || parse_suffix((struct str){s.p + i, s.n - i}, &suf) < 0)
		return -EINVAL;
	if (point < 0)
		point = (int64_t)n;
	q.format = suf.format;
	q.nano = suf.format == BINARY_SI ? scale_binary(digits, n, point, suf.shift)
					 : scale_decimal(digits, n, point + suf.shift);
	if (q.nano > LIMIT) {
		q.nano = LIMIT;
		q.clamped = true;
	}
	/* a binary value below 1 or with a fraction re-serialises as decimal */
	if (q.format == BINARY_SI && q.nano < 1024 * NANO)
		q.format = DECIMAL_SI;
	*ret = q;
	return 0;
}

int quantity_parse(struct str s, int64_t *ret_milli, struct err *e)
{
	struct quantity q;
	const u128 milli = NANO / 1000;
	u128 v;
	if (quantity_read(s, &q) < 0)
		return err_set(e, EINVAL, "BadRequest",
			"quantities must match the regular expression "
			"'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	v = q.negative ? q.nano / milli : (q.nano + milli - 1) / milli;
	if (v > INT64_MAX) {
		*ret_milli = q.negative ? INT64_MIN : INT64_MAX;
		return -ERANGE;
	}
	*ret_milli = q.negative ? -(int64_t)v : (int64_t)v;
	return 0;
}

static void add_u128(struct buf *out, u128 v)
{
	char t[40];
	size_t n = sizeof(t);
	do {
		t[--n] = (char)('0' + (int)(v % 10));
		v /= 10;
	} while (v);
	buf_add(out, t + n, sizeof(t) - n);
}

/* The largest suffix of the format that leaves no fraction. */
static void write_decimal(const struct quantity *q, struct buf *out)
{
	int exp = -9;
	u128 v = q->nano;
	while (v && v % 1000 == 0 && exp < 18) {
		v /= 1000;
		exp += 3;
	}
	if (v == 0)
		exp = 0;
	add_u128(out, v);
	if (q->format == DECIMAL_EXPONENT) {
		if (exp)
			buf_addf(out, "e%d", exp);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
		if (suffixes[i].format == DECIMAL_SI && suffixes[i].shift == exp)
			buf_adds(out, suffixes[i].text);
}

static void write_binary(const struct quantity *q, struct buf *out)
{
	u128 v = q->nano / NANO;
	int shift = 0;
	while (v && v % 1024 == 0 && shift < 60) {
		v /= 1024;
		shift += 10;
	}
	add_u128(out, v);
	for (size_t i = 0; shift && i < ARRAY_LEN(suffixes); i++)
		if (suffixes[i].format == BINARY_SI && suffixes[i].shift == shift)
			buf_adds(out, suffixes[i].text);
}

int quantity_canonical(struct str s, struct buf *out)
{
	struct quantity q;
	if (quantity_read(s, &q) < 0)
		return -EINVAL;
	if (q.negative && q.nano)
		buf_addc(out, '-');
	if (q.format == BINARY_SI && q.nano % NANO == 0)
		write_binary(&q, out);
	else
		write_decimal(&q, out);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * The whole RFC 8259 grammar, checked once at the boundary, without recursion. */
#include "xebec/base/jv.h"
#include "base/utf8.h"

enum { DEPTH_LIMIT = 10000 };

struct check {
	const char *p, *end;
	unsigned depth, max_depth;
	unsigned char is_object[DEPTH_LIMIT / 8 + 1]; /* a bit a level */
};

static void ws(struct check *c)
{
	while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t'))
		c->p++;
}

static bool eat(struct check *c, char ch)
{
	if (c->p == c->end || *c->p != ch)
		return false;
	c->p++;
	return true;
}

static bool digit_run(struct check *c)
{
	const char *from = c->p;
	while (c->p < c->end && *c->p >= '0' && *c->p <= '9')
		c->p++;
	return c->p > from;
}

static bool number(struct check *c)
{
	(void)eat(c, '-');
	if (!eat(c, '0') && !digit_run(c))
		return false;
	if (eat(c, '.') && !digit_run(c))
		return false;
	if (eat(c, 'e') || eat(c, 'E')) {
		if (!eat(c, '+'))
			(void)eat(c, '-');
		return digit_run(c);
	}
	return true;
}

static bool escape(struct check *c)
{
	if (c->p == c->end)
		return false;
	char e = *c->p++;
	if (e != 'u')
		return e && strchr("\"\\/bfnrt", e);
	for (int i = 0; i < 4; i++, c->p++) {
		if (c->p == c->end || !*c->p || !strchr("0123456789abcdefABCDEF", *c->p))
			return false;
	}
	return true;
}

/* Eight plain ASCII bytes at a time: none below 0x20, above 0x7f, '"' or '\\'. */
static bool plain8(const char *p)
{
	const uint64_t ones = 0x0101010101010101ULL, high = ones * 0x80;
	uint64_t v;
	memcpy(&v, p, 8);
	uint64_t q = v ^ (ones * '"'), b = v ^ (ones * '\\');
	uint64_t bad = v | (v - ones * 0x20) | (q - ones) | (b - ones);
	return !(bad & high);
}

static bool string(struct check *c)
{
	while (c->p < c->end) {
		unsigned char ch = (unsigned char)*c->p;
		if (c->end - c->p >= 8 && plain8(c->p)) {
			c->p += 8;
		} else if (ch == '"') {
			c->p++;
			return true;
		} else if (ch < 0x20) {
			return false;
		} else if (ch == '\\') {
			c->p++;
			if (!escape(c))
				return false;
		} else {
			size_t n = utf8_len((const unsigned char *)c->p, (size_t)(c->end - c->p));
			if (!n)
				return false;
			c->p += n;
		}
	}
	return false;
}

static bool literal(struct check *c, const char *word)
{
	size_t n = strlen(word);
	if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
		return false;
	c->p += n;
	return true;
}

static bool scalar(struct check *c)
{
	switch (c->p < c->end ? *c->p : '\0') {
	case '"':
		c->p++;
		return string(c);
	case 't':
		return literal(c, "true");
	case 'f':
		return literal(c, "false");
	case 'n':
		return literal(c, "null");
	default:
		return number(c);
	}
}

static bool in_object(const struct check *c)
{
	return c->is_object[c->depth / 8] & (1u << (c->depth % 8));
}

static bool member_name(struct check *c)
{
	ws(c);
	if (!eat(c, '"') || !string(c))
		return false;
	ws(c);
	return eat(c, ':');
}

static bool descend(struct check *c, bool object)
{
	if (++c->depth > c->max_depth)
		return false;
	unsigned char bit = (unsigned char)(1u << (c->depth % 8)),
		      *at = &c->is_object[c->depth / 8];
	*at = (unsigned char)(object ? *at | bit : *at & ~bit);
	return true;
}

/* A value has ended: closes what ends with it, until a comma asks for another value or all is
 * closed (depth 0). */
static bool after_value(struct check *c)
{
	while (c->depth) {
		ws(c);
		if (eat(c, ','))
			return !in_object(c) || member_name(c);
		if (!eat(c, in_object(c) ? '}' : ']'))
			return false;
		c->depth--;
	}
	return true;
}

/* One value's start: a scalar, an empty container (both end here), or a descent. */
static bool start_value(struct check *c, bool *ended)
{
	*ended = true;
	bool object = eat(c, '{');
	if (!object && !eat(c, '['))
		return scalar(c);
	ws(c);
	if (eat(c, object ? '}' : ']'))
		return c->depth < c->max_depth;
	*ended = false;
	return descend(c, object) && (!object || member_name(c));
}

bool jv_valid(struct str json, unsigned max_depth)
{
	struct check c;
	c.p = json.p;
	c.end = json.p + json.n;
	c.depth = 0;
	c.max_depth = max_depth < DEPTH_LIMIT ? max_depth : DEPTH_LIMIT;
	bool ended;
	do {
		ws(&c);
		if (!start_value(&c, &ended) || (ended && !after_value(&c)))
			return false;
	} while (!ended || c.depth);
	ws(&c);
	return c.p == c.end;
}

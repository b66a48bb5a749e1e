/* SPDX-License-Identifier: Apache-2.0
 * HTTP helpers that do not depend on a transport: headers, query parameters, status texts. */
#include <errno.h>
#include "xebec/base/http.h"

struct str http_header_get(const struct http_exchange *x, const char *lower_name)
{
	struct str want = str_of(lower_name);

	for (size_t i = 0; i < x->n_headers; i++) {
		if (str_eq(x->headers[i].name, want))
			return x->headers[i].value;
	}
	return (struct str){0};
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes into dst, which has room for in.n bytes. Returns the length or -EINVAL. */
static ssize_t decode(struct str in, bool plus_is_space, char *dst)
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		if (c == '+' && plus_is_space) {
			c = ' ';
		} else if (c == '%') {
			int hi = in.n - i > 2 ? hex_value(in.p[i + 1]) : -1;
			int lo = in.n - i > 2 ? hex_value(in.p[i + 2]) : -1;
			if (hi < 0 || lo < 0)
				return -EINVAL;
			c = (char)(hi << 4 | lo);
			i += 2;
		}
		dst[n++] = c;
	}
	return (ssize_t)n;
}

int url_decode(struct str in, bool plus_is_space, struct buf *out)
{
	if (buf_reserve(out, in.n) != 0)
		return -ENOMEM;
	ssize_t n = in.n ? decode(in, plus_is_space, out->p + out->len) : 0;
	if (n < 0)
		return (int)n;
	out->len += (size_t)n;
	if (out->p)
		out->p[out->len] = '\0';
	return 0;
}

void url_encode(struct str in, struct buf *out)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			c == '-' || c == '.' || c == '_' || c == '~') {
			buf_addc(out, (char)c);
		} else {
			char e[3] = {'%', hex[c >> 4], hex[c & 15]};
			buf_add(out, e, 3);
		}
	}
}

/* One name=value pair off *rest. False at the end. */
static bool next_param(struct str *rest, struct str *name, struct str *value)
{
	while (rest->n > 0) {
		struct str pair = str_cut(rest, '&');
		if (pair.n == 0)
			continue;
		*name = str_cut(&pair, '=');
		*value = pair;
		return true;
	}
	return false;
}

static bool name_is(struct str raw, const char *name)
{
	char plain[128];

	if (raw.n > sizeof(plain))
		return false;
	ssize_t n = decode(raw, true, plain);
	return n >= 0 && str_eqz((struct str){plain, (size_t)n}, name);
}

/* A bad escape leaves the value as it was sent: the handler's validation names it. */
static struct str decoded_value(struct http_exchange *x, struct str raw)
{
	char *p = arena_alloc(&x->arena, raw.n + 1);
	ssize_t n = p ? decode(raw, true, p) : -ENOMEM;

	if (!p)
		return (struct str){.p = "", .n = 0};
	if (n < 0) {
		memcpy(p, raw.p, raw.n);
		n = (ssize_t)raw.n;
	}
	p[n] = '\0';
	return (struct str){p, (size_t)n};
}

struct str http_query_get(struct http_exchange *x, const char *name)
{
	struct str rest = x->query, key, value;

	while (next_param(&rest, &key, &value)) {
		if (name_is(key, name))
			return decoded_value(x, value);
	}
	return (struct str){0};
}

size_t http_query_all(struct http_exchange *x, const char *name, struct str **ret)
{
	struct str rest = x->query, key, value;
	size_t n = 0;

	while (next_param(&rest, &key, &value))
		n += name_is(key, name);
	*ret = n ? arena_alloc(&x->arena, n * sizeof(**ret)) : NULL;
	if (!*ret)
		return 0;
	rest = x->query;
	for (size_t i = 0; i < n && next_param(&rest, &key, &value);) {
		if (name_is(key, name))
			(*ret)[i++] = decoded_value(x, value);
	}
	return n;
}

static const struct {
	int status;
	const char *text;
} status_texts[] = {
	{100, "Continue"},
	{101, "Switching Protocols"},
	{200, "OK"},
	{201, "Created"},
	{202, "Accepted"},
	{204, "No Content"},
	{206, "Partial Content"},
	{301, "Moved Permanently"},
	{302, "Found"},
	{303, "See Other"},
	{304, "Not Modified"},
	{307, "Temporary Redirect"},
	{308, "Permanent Redirect"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{406, "Not Acceptable"},
	{408, "Request Timeout"},
	{409, "Conflict"},
	{410, "Gone"},
	{411, "Length Required"},
	{412, "Precondition Failed"},
	{413, "Request Entity Too Large"},
	{414, "Request URI Too Long"},
	{415, "Unsupported Media Type"},
	{416, "Requested Range Not Satisfiable"},
	{417, "Expectation Failed"},
	{421, "Misdirected Request"},
	{422, "Unprocessable Entity"},
	{426, "Upgrade Required"},
	{429, "Too Many Requests"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{502, "Bad Gateway"},
	{503, "Service Unavailable"},
	{504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"},
};

const char *http_status_text(int status)
{
	for (size_t i = 0; i < ARRAY_LEN(status_texts); i++) {
		if (status_texts[i].status == status)
			return status_texts[i].text;
	}
	return "Unknown";
}

#define MAX_EXTRA 30

void http_reply(struct http_exchange *x, int status, const char *content_type, struct str body,
	const struct http_header *extra, size_t n_extra)
{
	struct http_header h[MAX_EXTRA + 2];
	char length[24];
	size_t n = 0;

	if (content_type)
		h[n++] = (struct http_header){STR("content-type"), str_of(content_type)};
	(void)snprintf(length, sizeof(length), "%zu", body.n);
	if (status >= 200 && status != 204 && status != 304)
		h[n++] = (struct http_header){STR("content-length"), str_of(length)};
	for (size_t i = 0; i < n_extra && i < MAX_EXTRA; i++)
		h[n++] = extra[i];
	x->ops->start(x, status, h, n);
	if (body.n > 0)
		x->ops->write(x, body.p, body.n);
	x->ops->end(x);
}

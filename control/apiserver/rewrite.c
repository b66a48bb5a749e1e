/* SPDX-License-Identifier: Apache-2.0
 * Rewrites the links of HTML that passes through the proxy (rewrite.h). */
#include "apiserver/rewrite.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TAG_MAX = 64 << 10 }; /* longer ones pass as they are */

struct rewrite {
	struct buf held; /* the beginning of a tag */
	char *prefix, *host;
};

struct rewrite *rewrite_new(struct str prefix, struct str host)
{
	struct rewrite *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->prefix = str_dup(prefix);
	w->host = str_dup(host);
	if (w->prefix && w->host)
		return w;
	rewrite_free(w);
	return NULL;
}

void rewrite_free(struct rewrite *w)
{
	if (!w)
		return;
	buf_free(&w->held);
	free(w->prefix);
	free(w->host);
	free(w);
}

void rewrite_url(struct str prefix, struct str host, struct str url, struct buf *out)
{
	struct str path = url;
	for (size_t i = 0; i < 2; i++) { /* "http://host/x" and "//host/x" of that very server */
		const char *const lead[] = {"http://", "https://"};
		size_t n = strlen(lead[i]);
		if (str_starts(url, lead[i]) && url.n >= n + host.n &&
			memcmp(url.p + n, host.p, host.n) == 0 &&
			(url.n == n + host.n || url.p[n + host.n] == '/'))
			path = (struct str){url.p + n + host.n, url.n - n - host.n};
	}
	bool ours = path.p != url.p || (path.n && path.p[0] == '/' && !str_starts(path, "//"));
	if (ours && !(path.n >= prefix.n && memcmp(path.p, prefix.p, prefix.n) == 0))
		buf_add_str(out, prefix);
	buf_add_str(out, ours ? path : url);
}

static const struct {
	const char *attr, *tag; /* tag NULL: of any */
} links[] = {
	{"href", NULL},
	{"src", NULL},
	{"action", "form"},
	{"formaction", NULL},
	{"cite", NULL},
	{"background", "body"},
	{"codebase", NULL},
	{"icon", "command"},
	{"longdesc", NULL},
	{"profile", "head"},
	{"manifest", "html"},
	{"usemap", NULL},
	{"classid", "object"},
	{"data", "object"},
	{"poster", "video"},
};

static bool is(struct str s, const char *z)
{
	return s.n == strlen(z) && strncasecmp(s.p, z, s.n) == 0;
}

static bool is_link(struct str tag, struct str attr)
{
	for (size_t i = 0; i < ARRAY_LEN(links); i++)
		if (is(attr, links[i].attr) && (!links[i].tag || is(tag, links[i].tag)))
			return true;
	return false;
}

static size_t span(struct str s, size_t i, bool (*in)(char c))
{
	while (i < s.n && in(s.p[i]))
		i++;
	return i;
}

static bool blank(char c)
{
	return isspace((unsigned char)c) || c == '/';
}

static bool word(char c)
{
	return !isspace((unsigned char)c) && c != '=' && c != '>' && c != '/' && c != '"';
}

static bool bare(char c)
{
	return !isspace((unsigned char)c) && c != '>';
}

/* A whole tag "<a href=...>". */
static void tag(struct rewrite *w, struct str t, struct buf *out)
{
	size_t i = span(t, 1, word), from = 0;
	struct str name = {t.p + 1, i - 1};
	while (i < t.n && isalpha((unsigned char)t.p[1])) {
		size_t a = span(t, i, blank), b = span(t, a, word), v = b;
		if (b == a)
			break;
		if (v >= t.n || t.p[v] != '=') {
			i = b;
			continue;
		}
		v++;
		char q = v < t.n && (t.p[v] == '"' || t.p[v] == '\'') ? t.p[v] : 0;
		v += q != 0;
		const char *close = q ? memchr(t.p + v, q, t.n - v) : NULL;
		size_t end = q ? close ? (size_t)(close - t.p) : t.n : span(t, v, bare);
		if (is_link(name, (struct str){t.p + a, b - a})) {
			buf_add(out, t.p + from, v - from);
			rewrite_url(str_of(w->prefix), str_of(w->host),
				(struct str){t.p + v, end - v}, out);
			from = end;
		}
		i = end + (q != 0);
	}
	buf_add(out, t.p + from, t.n - from);
}

/* Where the tag at s.p ends, quotes respected; 0: not in these bytes. */
static size_t tag_end(struct str s)
{
	char q = 0;
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (q)
			q = c == q ? 0 : q;
		else if ((c == '"' || c == '\'') && i && (s.p[i - 1] == '=' || s.p[i - 1] == ' '))
			q = c;
		else if (c == '>')
			return i + 1;
	}
	return 0;
}

void rewrite_more(struct rewrite *w, struct str piece, bool last, struct buf *out)
{
	buf_add_str(&w->held, piece);
	struct str s = buf_str(&w->held);
	while (s.n) {
		const char *open = memchr(s.p, '<', s.n);
		size_t text = open ? (size_t)(open - s.p) : s.n;
		buf_add(out, s.p, text);
		s.p += text;
		s.n -= text;
		size_t n = tag_end(s);
		if (n == 0)
			break;
		tag(w, (struct str){s.p, n}, out);
		s.p += n;
		s.n -= n;
	}
	if (last || s.n > TAG_MAX) {
		buf_add_str(out, s);
		s.n = 0;
	}
	buf_consume(&w->held, w->held.len - s.n);
}

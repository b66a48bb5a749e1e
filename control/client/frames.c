/* SPDX-License-Identifier: Apache-2.0
 * Watch streams cut into events. */
#include <errno.h>
#include "client/frames.h"

enum { FRAME_LIMIT = 32 << 20, DEPTH = 2000 };

void frames_reset(struct frames *f)
{
	buf_free(&f->pending);
}

static int one(struct str line, bool (*fn)(void *, enum watch_event, struct jv), void *arg)
{
	static const char *const types[] = {
		[WATCH_ADDED] = "ADDED",
		[WATCH_MODIFIED] = "MODIFIED",
		[WATCH_DELETED] = "DELETED",
		[WATCH_BOOKMARK] = "BOOKMARK",
		[WATCH_ERROR] = "ERROR",
	};
	while (line.n && (line.p[0] == ' ' || line.p[0] == '\r')) {
		line.p++;
		line.n--;
	}
	if (!line.n)
		return 1;
	if (!jv_valid(line, DEPTH))
		return -EBADMSG;
	struct jv v = jv_of(line), object = jv_get(v, "object");
	struct str type = jv_raw_str(jv_get(v, "type"));
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (str_eqz(type, types[i]) && jv_type(object) == JV_OBJECT)
			return fn(arg, (enum watch_event)i, object);
	return -EBADMSG;
}

/* All whole lines of s; *used: bytes of them. 0 when fn wants no more. */
static int lines(
	struct str s, size_t *used, bool (*fn)(void *, enum watch_event, struct jv), void *arg)
{
	const char *nl;
	*used = 0;
	while (*used < s.n && (nl = memchr(s.p + *used, '\n', s.n - *used))) {
		struct str line = {s.p + *used, (size_t)(nl - s.p) - *used};
		*used += line.n + 1;
		int r = one(line, fn, arg);
		if (r <= 0)
			return r;
	}
	return 1;
}

int frames_feed(struct frames *f, const void *p, size_t n,
	bool (*fn)(void *arg, enum watch_event type, struct jv object), void *arg)
{
	struct str s = {p, n};
	size_t used;
	int r;
	if (f->pending.len) { /* first finish the event that has begun */
		const char *nl = memchr(p, '\n', n);
		size_t head = nl ? (size_t)(nl - s.p) + 1 : n;
		if (f->pending.len + head > FRAME_LIMIT)
			return -EMSGSIZE;
		buf_add(&f->pending, p, head);
		if (f->pending.err)
			return -ENOMEM;
		if (!nl)
			return 0;
		struct buf whole = f->pending; /* fn may reset us */
		f->pending = (struct buf){0};
		r = lines(buf_str(&whole), &used, fn, arg);
		if (whole.cap <= 65536 && !f->pending.p && r > 0) {
			buf_clear(&whole);
			f->pending = whole;
		} else {
			buf_free(&whole);
		}
		if (r <= 0)
			return r;
		s.p += head;
		s.n -= head;
	}
	r = lines(s, &used, fn, arg);
	if (r <= 0)
		return r;
	if (s.n - used > FRAME_LIMIT)
		return -EMSGSIZE;
	buf_add(&f->pending, s.p + used, s.n - used);
	return f->pending.err ? -ENOMEM : 0;
}

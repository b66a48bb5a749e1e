/* SPDX-License-Identifier: Apache-2.0
 * Parsing, filtering and serving of container logs. */
#include <errno.h>
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include "kubelet/logs.h"
#include "xebec/base/timefmt.h"

#define CHUNK	  65536
#define HIGH_MARK (1 << 20) /* bytes queued for a slow reader */
#define RECHECK	  (250 * NS_PER_MS)

int log_parse(struct str line, struct log_line *ret)
{
	struct str rest = line;
	struct str t = str_cut(&rest, ' '), stream = str_cut(&rest, ' ');
	struct str tag = {.p = rest.p, .n = 0};
	while (tag.n < rest.n && rest.p[tag.n] != ' ')
		tag.n++;
	if (t.n < 20 || tag.n == 0 || (!str_eqz(stream, "stdout") && !str_eqz(stream, "stderr")))
		return -EINVAL;
	size_t skip = tag.n + (tag.n < rest.n);
	*ret = (struct log_line){.time = t,
		.stream = stream,
		.text = {.p = rest.p + skip, .n = rest.n - skip},
		.partial = tag.p[0] == 'P'};
	return 0;
}

static int query_i64(struct http_exchange *x, const char *name, int64_t *ret, struct err *e)
{
	struct str v = http_query_get(x, name);
	if (v.p && v.n > 0 && (str_i64(v, ret) < 0 || *ret < 0))
		return err_set(e, EINVAL, "BadRequest", "%s: must be a non-negative number", name);
	return 0;
}

static bool query_flag(struct http_exchange *x, const char *name)
{
	struct str v = http_query_get(x, name);
	return str_eqz(v, "true") || str_eqz(v, "1");
}

int log_opts_parse(struct http_exchange *x, int64_t now, struct log_opts *o, struct err *e)
{
	int64_t seconds = -1;
	*o = (struct log_opts){.follow = query_flag(x, "follow"),
		.timestamps = query_flag(x, "timestamps"),
		.tail = -1,
		.limit = -1};
	struct str stream = http_query_get(x, "stream");
	struct str since = http_query_get(x, "sinceTime");
	o->stream = str_eqz(stream, "Stdout")	? "stdout"
		    : str_eqz(stream, "Stderr") ? "stderr"
						: NULL;
	int r = query_i64(x, "tailLines", &o->tail, e);
	if (r == 0)
		r = query_i64(x, "limitBytes", &o->limit, e);
	if (r == 0)
		r = query_i64(x, "sinceSeconds", &seconds, e);
	if (r == 0 && since.n > 0 && time_parse(since, &o->since) < 0)
		r = err_set(e, EINVAL, "BadRequest", "sinceTime: not a time");
	if (r == 0 && seconds >= 0)
		o->since = now - seconds * NS_PER_SEC;
	return r;
}

bool log_emit(struct log_filter *f, struct str line, struct buf *out)
{
	struct log_line l;
	size_t before = out->len;
	int64_t t;
	if (log_parse(line, &l) < 0)
		return true;
	if (f->o.stream && !str_eqz(l.stream, f->o.stream))
		return true;
	if (f->o.since && time_parse(l.time, &t) == 0 && t < f->o.since)
		return true;
	if (f->o.timestamps && !f->mid_line) {
		buf_add_str(out, l.time);
		buf_addc(out, ' ');
	}
	buf_add_str(out, l.text);
	if (!l.partial)
		buf_addc(out, '\n');
	f->mid_line = l.partial;
	int64_t n = (int64_t)(out->len - before);
	if (f->o.limit >= 0 && f->written + n >= f->o.limit) {
		out->len = before + (size_t)(f->o.limit - f->written);
		f->written = f->o.limit;
		return false;
	}
	f->written += n;
	return true;
}

int64_t log_tail_offset(int fd, int64_t lines)
{
	char b[8192];
	struct stat st;
	if (fstat(fd, &st) < 0)
		return 0;
	if (lines == 0)
		return st.st_size;
	int64_t at = st.st_size, seen = 0;
	while (at > 0) {
		int64_t from = at > (int64_t)sizeof(b) ? at - (int64_t)sizeof(b) : 0;
		ssize_t n = pread(fd, b, (size_t)(at - from), from);
		if (n <= 0)
			return 0;
		for (ssize_t i = n; i-- > 0;)
			/* The newline that ends the file ends a line; it does not begin one. */
			if (b[i] == '\n' && from + i + 1 < st.st_size && ++seen == lines)
				return from + i + 1;
		at = from;
	}
	return 0;
}

char *log_tail(const char *path, int64_t lines, size_t max)
{
	AUTO_BUF struct buf out = {0};
	struct log_filter f = {.o = {.tail = lines, .limit = -1}};
	AUTO_CLOSE int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	AUTO_FREE char *b = malloc(CHUNK);
	if (fd < 0 || !b)
		return NULL;
	ssize_t n = pread(fd, b, CHUNK, log_tail_offset(fd, lines));
	struct str rest = {.p = b, .n = n > 0 ? (size_t)n : 0};
	while (rest.n > 0)
		(void)log_emit(&f, str_cut(&rest, '\n'), &out);
	if (out.len > max)
		buf_consume(&out, out.len - max);
	return out.len ? buf_steal(&out) : NULL;
}

/* --- serving --- */

struct log_reader {
	struct http_exchange *x;
	char *path;
	int fd, inotify;
	ino_t inode;
	struct log_filter f;
	struct buf in;
	struct loop_fd watch;
	struct loop_timer timer;
	bool (*alive)(void *arg);
	void (*free_arg)(void *arg);
	void *arg;
	bool quitting; /* the container was dead at the last look: this pass is the last */
};

static void reader_free(struct log_reader *r)
{
	loop_timer_cancel(&r->timer);
	loop_fd_del(&r->watch);
	if (r->inotify >= 0)
		(void)close(r->inotify);
	if (r->fd >= 0)
		(void)close(r->fd);
	if (r->free_arg)
		r->free_arg(r->arg);
	buf_free(&r->in);
	free(r->path);
	free(r);
}

static void reader_end(struct log_reader *r)
{
	struct http_exchange *x = r->x;
	x->on_close = NULL;
	x->on_drain = NULL;
	x->user = NULL;
	reader_free(r);
	x->ops->end(x);
}

/* Takes whole lines out of the input. False once the limit is reached. */
static bool drain_lines(struct log_reader *r)
{
	AUTO_BUF struct buf out = {0};
	size_t used = 0;
	bool more = true;
	while (more) {
		char *nl = r->in.len > used ? memchr(r->in.p + used, '\n', r->in.len - used) : NULL;
		if (!nl)
			break;
		struct str line = {.p = r->in.p + used, .n = (size_t)(nl - r->in.p) - used};
		more = log_emit(&r->f, line, &out);
		used += line.n + 1;
	}
	buf_consume(&r->in, used);
	if (out.len > 0)
		r->x->ops->write(r->x, out.p, out.len);
	return more;
}

/* The file at the path is another one: the log was rotated. */
static bool reopen(struct log_reader *r)
{
	struct stat st;
	if (stat(r->path, &st) < 0 || st.st_ino == r->inode)
		return false;
	int fd = open(r->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	(void)close(r->fd);
	r->fd = fd;
	r->inode = st.st_ino;
	if (r->inotify >= 0)
		(void)inotify_add_watch(r->inotify, r->path, IN_MODIFY);
	return true;
}

/* One pass. False when the reader is gone. */
static bool reader_pass(struct log_reader *r)
{
	for (;;) {
		if (r->x->ops->pending(r->x) > HIGH_MARK)
			return true; /* on_drain goes on */
		if (buf_reserve(&r->in, CHUNK) < 0)
			break;
		ssize_t n = read(r->fd, r->in.p + r->in.len, CHUNK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0) {
			r->in.len += (size_t)n;
			if (!drain_lines(r))
				break;
			continue;
		}
		if (n == 0 && reopen(r))
			continue;
		if (n < 0 || !r->f.o.follow || r->quitting)
			break;
		/* The runtime writes the last lines before it reports the exit. */
		r->quitting = !r->alive(r->arg);
		(void)loop_timer_set(r->x->loop, &r->timer, RECHECK);
		return true;
	}
	reader_end(r);
	return false;
}

static void on_timer(struct loop_timer *t)
{
	(void)reader_pass(t->arg);
}

static void on_inotify(struct loop_fd *f, uint32_t events)
{
	struct log_reader *r = f->arg;
	char b[4096];
	(void)events;
	while (read(r->inotify, b, sizeof(b)) > 0)
		;
	(void)reader_pass(r);
}

static void on_drain(struct http_exchange *x)
{
	if (x->user)
		(void)reader_pass(x->user);
}

static void on_close(struct http_exchange *x)
{
	if (x->user)
		reader_free(x->user);
	x->user = NULL;
}

static void watch_file(struct log_reader *r)
{
	r->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (r->inotify < 0)
		return;
	(void)inotify_add_watch(r->inotify, r->path, IN_MODIFY);
	r->watch = (struct loop_fd){.fd = r->inotify, .fn = on_inotify, .arg = r};
	(void)loop_fd_add(r->x->loop, &r->watch, EPOLLIN);
}

int log_serve(struct http_exchange *x, const char *path, const struct log_opts *o,
	bool (*alive)(void *arg), void (*free_arg)(void *arg), void *arg, struct err *e)
{
	struct stat st;
	struct log_reader *r;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, ENOENT, "NotFound", "log file '%s': %s", path, strerror(errno));
	r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	if (o->tail >= 0)
		(void)lseek(fd, log_tail_offset(fd, o->tail), SEEK_SET);
	*r = (struct log_reader){.x = x,
		.path = strdup(path),
		.fd = STEAL_FD(fd),
		.inotify = -1,
		.inode = st.st_ino,
		.f = {.o = *o},
		.timer = {.fn = on_timer, .arg = r},
		.alive = alive,
		.free_arg = free_arg,
		.arg = arg};
	static const struct http_header h[] = {{STR("content-type"), STR("text/plain")}};
	x->user = r;
	x->on_close = on_close;
	x->on_drain = on_drain;
	x->ops->start(x, 200, h, ARRAY_LEN(h));
	if (o->follow)
		watch_file(r);
	(void)reader_pass(r);
	return 0;
}

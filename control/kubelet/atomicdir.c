/* SPDX-License-Identifier: Apache-2.0
 * Atomic replacement of a directory's content through the ..data symlink. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include "kubelet/atomicdir.h"
#include "xebec/base/buf.h"
#include "xebec/base/timefmt.h"

void payload_free(struct payload *p)
{
	for (size_t i = 0; i < p->n; i++) {
		free(p->v[i].path);
		free(p->v[i].data);
	}
	free(p->v);
	*p = (struct payload){0};
}

bool path_is_local(const char *rel)
{
	if (rel[0] == '/')
		return false;
	for (const char *p = rel; *p;) {
		size_t n = strcspn(p, "/");
		if (n == 2 && p[0] == '.' && p[1] == '.')
			return false;
		p += n + (p[n] == '/');
	}
	return true;
}

int payload_add(struct payload *p, const char *path, struct str data, unsigned mode)
{
	if (!*path || !path_is_local(path))
		return -EINVAL;
	/* A later source of a projected volume wins. */
	for (size_t i = 0; i < p->n; i++)
		if (strcmp(p->v[i].path, path) == 0) {
			char *copy = str_dup(data);
			if (!copy)
				return -ENOMEM;
			free(p->v[i].data);
			p->v[i].data = copy;
			p->v[i].len = data.n;
			p->v[i].mode = mode;
			return 0;
		}
	struct payload_file *v = realloc(p->v, (p->n + 1) * sizeof(*v));
	if (!v)
		return -ENOMEM;
	p->v = v;
	v[p->n] = (struct payload_file){
		.path = strdup(path), .data = str_dup(data), .len = data.n, .mode = mode};
	p->n++;
	return v[p->n - 1].path && v[p->n - 1].data ? 0 : -ENOMEM;
}

static unsigned mode_for(const struct payload_file *f, int64_t gid)
{
	return gid >= 0 ? f->mode | 0040 : f->mode;
}

static bool same_file(const char *dir, const struct payload_file *f, int64_t gid)
{
	AUTO_BUF struct buf path = {0}, now = {0};
	struct stat st;
	buf_addf(&path, "%s/..data/%s", dir, f->path);
	if (path.err || stat(path.p, &st) < 0 || !S_ISREG(st.st_mode) ||
		(st.st_mode & 07777) != mode_for(f, gid))
		return false;
	return file_read(path.p, f->len + 1, &now) == 0 &&
	       str_eq(buf_str(&now), (struct str){f->data, f->len});
}

static size_t count_files(const char *path, unsigned depth)
{
	size_t n = 0;
	DIR *d = depth < 16 ? opendir(path) : NULL;
	for (struct dirent *de; d && (de = readdir(d));) {
		AUTO_BUF struct buf sub = {0};
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		buf_addf(&sub, "%s/%s", path, de->d_name);
		n += de->d_type == DT_DIR && sub.p ? count_files(sub.p, depth + 1) : 1;
	}
	if (d)
		(void)closedir(d);
	return n;
}

static bool unchanged(const char *dir, const struct payload *p, int64_t gid)
{
	AUTO_BUF struct buf data = {0};
	struct stat st;
	buf_addf(&data, "%s/..data", dir);
	if (data.err || stat(data.p, &st) < 0 || count_files(data.p, 0) != p->n)
		return false;
	for (size_t i = 0; i < p->n; i++)
		if (!same_file(dir, &p->v[i], gid))
			return false;
	return true;
}

static int write_one(const char *dir, const struct payload_file *f, int64_t gid)
{
	AUTO_BUF struct buf path = {0};
	buf_addf(&path, "%s/%s", dir, f->path);
	char *slash = path.p ? strrchr(path.p, '/') : NULL;
	if (path.err)
		return -ENOMEM;
	if (slash > path.p + strlen(dir)) {
		*slash = '\0';
		int r = mkdir_p(path.p, 0755);
		*slash = '/';
		if (r < 0)
			return r;
	}
	AUTO_CLOSE int fd =
		open(path.p, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (size_t off = 0; off < f->len;) {
		ssize_t n = write(fd, f->data + off, f->len - off);
		if (n < 0 && errno != EINTR)
			return -errno;
		off += n > 0 ? (size_t)n : 0;
	}
	if (gid >= 0 && fchown(fd, (uid_t)-1, (gid_t)gid) < 0)
		return -errno;
	return fchmod(fd, mode_for(f, gid)) < 0 ? -errno : 0;
}

/* The visible name of a file is its first component, a symlink through ..data. */
static void link_visible(const char *dir, const struct payload *p)
{
	for (size_t i = 0; i < p->n; i++) {
		AUTO_BUF struct buf at = {0}, to = {0};
		size_t n = strcspn(p->v[i].path, "/");
		buf_addf(&at, "%s/%.*s", dir, (int)n, p->v[i].path);
		buf_addf(&to, "..data/%.*s", (int)n, p->v[i].path);
		if (!at.err && !to.err)
			(void)!symlink(to.p, at.p);
	}
}

static bool wanted(const struct payload *p, const char *name)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < p->n; i++)
		if (strncmp(p->v[i].path, name, n) == 0 &&
			(p->v[i].path[n] == '\0' || p->v[i].path[n] == '/'))
			return true;
	return false;
}

/* Links of files that are gone, and old hidden directories. */
static void sweep(const char *dir, const struct payload *p, const char *current)
{
	DIR *d = opendir(dir);
	for (struct dirent *de; d && (de = readdir(d));) {
		AUTO_BUF struct buf path = {0};
		const char *n = de->d_name;
		if (strcmp(n, ".") == 0 || strcmp(n, "..") == 0 || strcmp(n, "..data") == 0 ||
			strcmp(n, current) == 0)
			continue;
		buf_addf(&path, "%s/%s", dir, n);
		if (path.err)
			continue;
		if (strncmp(n, "..", 2) == 0)
			(void)rm_rf(path.p);
		else if (!wanted(p, n))
			(void)unlink(path.p);
	}
	if (d)
		(void)closedir(d);
}

static int swap_data(const char *dir, const char *current)
{
	AUTO_BUF struct buf tmp = {0}, data = {0};
	buf_addf(&tmp, "%s/..data_tmp", dir);
	buf_addf(&data, "%s/..data", dir);
	if (tmp.err || data.err)
		return -ENOMEM;
	(void)unlink(tmp.p);
	if (symlink(current, tmp.p) < 0 || rename(tmp.p, data.p) < 0)
		return -errno;
	return 0;
}

int atomicdir_write(const char *dir, const struct payload *p, int64_t gid, struct err *e)
{
	AUTO_BUF struct buf fresh = {0};
	char name[64];
	int r = mkdir_p(dir, 0755);
	if (r < 0)
		return err_set(e, r, NULL, "make '%s'", dir);
	if (unchanged(dir, p, gid))
		return 0;
	(void)snprintf(name, sizeof(name), "..%lld", (long long)time_now());
	buf_addf(&fresh, "%s/%s", dir, name);
	if (fresh.err || mkdir(fresh.p, 0755) < 0)
		return err_set(e, errno, NULL, "make '%s/%s'", dir, name);
	if (gid >= 0)
		(void)!chown(fresh.p, (uid_t)-1, (gid_t)gid);
	for (size_t i = 0; i < p->n; i++) {
		r = write_one(fresh.p, &p->v[i], gid);
		if (r < 0) {
			(void)rm_rf(fresh.p);
			return err_set(e, r, NULL, "write '%s/%s'", dir, p->v[i].path);
		}
	}
	r = swap_data(dir, name);
	if (r < 0)
		return err_set(e, r, NULL, "publish '%s'", dir);
	link_visible(dir, p);
	sweep(dir, p, name);
	return 1;
}

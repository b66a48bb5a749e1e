/* SPDX-License-Identifier: Apache-2.0
 * Whole files and directory trees. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include "xebec/base/buf.h"

int file_read(const char *path, size_t max, struct buf *out)
{
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
		return -EFBIG;
	size_t before = out->len;
	/* st_size is only a hint: files in /proc and /sys say 0 or 4096. */
	size_t step = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size + 1 : 4096;
	for (;;) {
		if (buf_reserve(out, step) < 0)
			return out->err;
		ssize_t n = read(fd, out->p + out->len, step);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int r = n < 0 ? -errno : 0;
			if (r < 0)
				out->len = before;
			out->p[out->len] = '\0';
			return r;
		}
		out->len += (size_t)n;
		out->p[out->len] = '\0';
		if (out->len - before > max) {
			out->len = before;
			out->p[before] = '\0';
			return -EFBIG;
		}
		step = 4096;
	}
}

static int write_all(int fd, struct str data)
{
	while (data.n) {
		ssize_t n = write(fd, data.p, data.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data.p += n;
		data.n -= (size_t)n;
	}
	return 0;
}

static int sync_dir_of(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 1;
	if (n == 0)
		n = 1; /* "/name" */
	if (str_copy(dir, sizeof(dir), (struct str){slash ? path : ".", n}) < 0)
		return -ENAMETOOLONG;
	AUTO_CLOSE int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

int file_write_atomic(const char *path, struct str data, unsigned mode)
{
	char tmp[PATH_MAX];
	if (snprintf(tmp, sizeof(tmp), "%s.XXXXXX", path) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	AUTO_CLOSE int fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int r = fchmod(fd, mode) < 0 ? -errno : write_all(fd, data);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		(void)unlink(tmp);
		return r;
	}
	return sync_dir_of(path);
}

int mkdir_p(const char *path, unsigned mode)
{
	char p[PATH_MAX];
	if (str_copy(p, sizeof(p), str_of(path)) < 0)
		return -ENAMETOOLONG;
	for (char *s = p + 1; p[0]; s++) {
		if (*s != '/' && *s != '\0')
			continue;
		char c = *s;
		*s = '\0';
		struct stat st;
		if (mkdir(p, mode) < 0) {
			int r = -errno; /* EROFS, EACCES for a directory that is there already */
			if (stat(p, &st) < 0)
				return r;
			if (!S_ISDIR(st.st_mode))
				return -ENOTDIR;
		}
		*s = c;
		if (!c)
			break;
	}
	return p[0] ? 0 : -ENOENT;
}

static void cleanup_closedir(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static int rm_at(int parent, const char *name, dev_t dev, unsigned depth);

static int rm_children(int fd, dev_t dev, unsigned depth)
{
	int first = 0;
	AUTO(cleanup_closedir) DIR *d = fdopendir(fd);
	if (!d) {
		first = -errno;
		(void)close(fd);
		return first;
	}
	for (struct dirent *de; (de = readdir(d));) {
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		int r = rm_at(dirfd(d), de->d_name, dev, depth + 1);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

/* dev 0 = take the top's. A directory on another device, or a bind mount point on the same device
 * (EBUSY from rmdir after its content was spared), stays. */
static int rm_at(int parent, const char *name, dev_t dev, unsigned depth)
{
	if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth > 512)
		return -ELOOP;
	struct stat st;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	struct statx sx = {0};
	bool top = dev == 0;
	bool mount = statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &sx) == 0 &&
		     (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT);
	if (fstat(fd, &st) < 0 || (!top && (mount || st.st_dev != dev))) {
		(void)close(fd);
		return -EBUSY;
	}
	int r = rm_children(fd, st.st_dev, depth);
	if (unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT && r == 0)
		r = -errno;
	return r;
}

int rm_rf(const char *path)
{
	return rm_at(AT_FDCWD, path, 0, 0);
}

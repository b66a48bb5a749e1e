/* SPDX-License-Identifier: Apache-2.0
 * Walks a tree by file descriptors: running containers may swap names for links meanwhile. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "kubelet/owner.h"
#include "xebec/base/cleanup.h"

enum { MAX_DEPTH = 256 };

struct walk {
	gid_t gid;
	dev_t dev;
};

static mode_t wanted(const struct stat *st)
{
	return S_ISDIR(st->st_mode) ? 02070 : 0060;
}

/* fd may be O_PATH. */
static int give(int fd, const struct stat *st, gid_t gid)
{
	char name[32];
	if (st->st_gid != gid && fchownat(fd, "", (uid_t)-1, gid, AT_EMPTY_PATH) < 0)
		return -errno;
	mode_t mode = (st->st_mode & 07777) | wanted(st);
	if (S_ISLNK(st->st_mode) || mode == (st->st_mode & 07777))
		return 0;
	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return chmod(name, mode) < 0 ? -errno : 0;
}

static int walk_dir(const struct walk *w, int dir, unsigned depth);

static int walk_one(const struct walk *w, int dir, const char *name, unsigned depth)
{
	struct stat st;
	AUTO_CLOSE int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT ? 0 : -errno; /* went meanwhile */
	if (st.st_dev != w->dev)
		return 0;
	int r = S_ISDIR(st.st_mode) ? walk_dir(w, fd, depth + 1) : 0;
	return r < 0 ? r : give(fd, &st, w->gid);
}

static int walk_dir(const struct walk *w, int dir, unsigned depth)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = depth > MAX_DEPTH || fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = depth > MAX_DEPTH ? -ELOOP : -errno;
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	for (struct dirent *de; r == 0 && (de = readdir(d));)
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			r = walk_one(w, fd, de->d_name, depth);
	(void)closedir(d);
	return r;
}

int owner_set_group(const char *root, gid_t gid, bool always)
{
	struct stat st;
	AUTO_CLOSE int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	bool right = st.st_gid == gid && (st.st_mode & wanted(&st)) == wanted(&st);
	if (right && !always)
		return 0;
	struct walk w = {.gid = gid, .dev = st.st_dev};
	int r = walk_dir(&w, fd, 0);
	return r < 0 ? r : give(fd, &st, gid);
}

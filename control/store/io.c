/* SPDX-License-Identifier: Apache-2.0
 * The store's system calls. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "store/io.h"

static int posix_open(void *ctx, int dirfd, const char *name, int flags)
{
	(void)ctx;
	int fd = openat(dirfd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static ssize_t posix_pwrite(void *ctx, int fd, const void *p, size_t n, off_t off)
{
	(void)ctx;
	ssize_t r = pwrite(fd, p, n, off);
	return r < 0 ? -errno : r;
}

static int posix_fdatasync(void *ctx, int fd)
{
	(void)ctx;
	return fdatasync(fd) < 0 ? -errno : 0;
}

static int posix_ftruncate(void *ctx, int fd, off_t size)
{
	(void)ctx;
	return ftruncate(fd, size) < 0 ? -errno : 0;
}

static int posix_rename(void *ctx, int dirfd, const char *from, const char *to)
{
	(void)ctx;
	return renameat(dirfd, from, dirfd, to) < 0 ? -errno : 0;
}

static int posix_unlink(void *ctx, int dirfd, const char *name)
{
	(void)ctx;
	return unlinkat(dirfd, name, 0) < 0 ? -errno : 0;
}

static int posix_sync_dir(void *ctx, int dirfd)
{
	(void)ctx;
	return fsync(dirfd) < 0 ? -errno : 0;
}

const struct store_io store_io_posix = {
	.open = posix_open,
	.pwrite = posix_pwrite,
	.fdatasync = posix_fdatasync,
	.ftruncate = posix_ftruncate,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.sync_dir = posix_sync_dir,
};

int store_io_write_all(const struct store_io *io, int fd, const void *p, size_t n, off_t off)
{
	const char *b = p;

	while (n > 0) {
		ssize_t r = io->pwrite(io->ctx, fd, b, n, off);
		if (r == -EINTR)
			continue;
		if (r < 0)
			return (int)r;
		if (r == 0)
			return -EIO;
		b += r;
		off += r;
		n -= (size_t)r;
	}
	return 0;
}

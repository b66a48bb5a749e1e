/* SPDX-License-Identifier: Apache-2.0
 * The system calls that change the store's files, behind a vtable, so that tests can make each of
 * them fail, tear or be forgotten by a power cut. Results are those of the system call, with
 * negative errno for -1. */
#ifndef XEBEC_STORE_IO_H
#define XEBEC_STORE_IO_H

#include <stddef.h>
#include <sys/types.h>

struct store_io {
	void *ctx;
	int (*open)(void *ctx, int dirfd, const char *name, int flags);
	ssize_t (*pwrite)(void *ctx, int fd, const void *p, size_t n, off_t off);
	int (*fdatasync)(void *ctx, int fd);
	int (*ftruncate)(void *ctx, int fd, off_t size);
	int (*rename)(void *ctx, int dirfd, const char *from, const char *to);
	int (*unlink)(void *ctx, int dirfd, const char *name);
	int (*sync_dir)(void *ctx, int dirfd);
};
extern const struct store_io store_io_posix;

/* Whole buffer; 0 or negative errno. */
int store_io_write_all(const struct store_io *io, int fd, const void *p, size_t n, off_t off);

#endif

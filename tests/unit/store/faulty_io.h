/* SPDX-License-Identifier: Apache-2.0
 * A disk for tests, over the real one: calls fail, writes tear, and a power cut takes back what was
 * not flushed: any sectors of any unflushed write, any renames since the directory was flushed. */
#ifndef XEBEC_TEST_FAULTY_IO_H
#define XEBEC_TEST_FAULTY_IO_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/io.h"

struct unflushed {
	int fd; /* own */
	ino_t ino;
	off_t off;
	size_t n;
	char *old; /* what was there */
};
struct faulty {
	pthread_mutex_t mu;
	unsigned seed;
	long calls;
	long fail_from, fail_to; /* calls in [from, to) fail with error */
	int error;
	bool tear;	/* a failing write has written a part */
	long crash_at;	/* < 0 = never: then the process kills itself */
	bool power_cut; /* with loss of what was not flushed */
	int dirfd;
	struct unflushed v[512];
	size_t n;
	char renames[64][2][32];
	size_t n_renames;
};

static inline void take_back_write(struct faulty *f, const struct unflushed *u)
{
	for (size_t at = 0; at < u->n; at += 512) {
		size_t n = u->n - at < 512 ? u->n - at : 512;
		if (rand_r(&f->seed) & 1)
			(void)!pwrite(u->fd, u->old + at, n, u->off + (off_t)at);
	}
}

static inline void crash(struct faulty *f)
{
	if (f->power_cut) {
		while (f->n > 0)
			take_back_write(f, &f->v[--f->n]);
		size_t keep = f->n_renames ? (size_t)rand_r(&f->seed) % (f->n_renames + 1) : 0;
		while (f->n_renames > keep) {
			f->n_renames--;
			(void)renameat(f->dirfd, f->renames[f->n_renames][1], f->dirfd,
				f->renames[f->n_renames][0]);
		}
	}
	(void)kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

/* Counts the call, with the lock held. Returns the error it is to fail with. */
static inline int step(struct faulty *f)
{
	long n = f->calls++;

	if (n == f->crash_at && (rand_r(&f->seed) & 1))
		crash(f); /* before; else after half of it, or after it */
	return n >= f->fail_from && n < f->fail_to ? f->error : 0;
}

static inline void after(struct faulty *f)
{
	if (f->crash_at >= 0 && f->calls > f->crash_at)
		crash(f);
	pthread_mutex_unlock(&f->mu);
}

static inline void remember(struct faulty *f, int fd, size_t n, off_t off)
{
	struct stat st;

	if (!f->power_cut || f->n == sizeof(f->v) / sizeof(f->v[0]) || fstat(fd, &st) < 0)
		return;
	struct unflushed *u = &f->v[f->n++];
	*u = (struct unflushed){
		.fd = dup(fd), .ino = st.st_ino, .off = off, .n = n, .old = calloc(1, n)};
	(void)!pread(fd, u->old, n, off);
}

static inline struct faulty *begin(void *ctx)
{
	struct faulty *f = ctx;
	pthread_mutex_lock(&f->mu);
	return f;
}

static inline int f_open(void *ctx, int dirfd, const char *name, int flags)
{
	struct faulty *f = begin(ctx);
	f->dirfd = dirfd;
	int r = step(f);
	if (r == 0)
		r = store_io_posix.open(NULL, dirfd, name, flags);
	after(f);
	return r;
}

static inline ssize_t f_pwrite(void *ctx, int fd, const void *p, size_t n, off_t off)
{
	struct faulty *f = begin(ctx);
	ssize_t r = step(f);
	bool dying = f->crash_at >= 0 && f->calls > f->crash_at;
	remember(f, fd, n, off);
	if ((r < 0 && f->tear) || dying)
		(void)store_io_posix.pwrite(NULL, fd, p, (size_t)rand_r(&f->seed) % (n + 1), off);
	else if (r == 0)
		r = store_io_posix.pwrite(NULL, fd, p, n, off);
	after(f);
	return r;
}

static inline int f_fdatasync(void *ctx, int fd)
{
	struct faulty *f = begin(ctx);
	struct stat st;
	size_t kept = 0;
	int r = step(f);
	if (r == 0 && fstat(fd, &st) == 0) {
		for (size_t i = 0; i < f->n; i++) {
			if (f->v[i].ino != st.st_ino) {
				f->v[kept++] = f->v[i];
				continue;
			}
			(void)close(f->v[i].fd);
			free(f->v[i].old);
		}
		f->n = kept;
		r = store_io_posix.fdatasync(NULL, fd);
	}
	after(f);
	return r;
}

static inline int f_ftruncate(void *ctx, int fd, off_t size)
{
	struct faulty *f = begin(ctx);
	int r = step(f);
	r = r ? r : store_io_posix.ftruncate(NULL, fd, size);
	after(f);
	return r;
}

static inline int f_rename(void *ctx, int dirfd, const char *from, const char *to)
{
	struct faulty *f = begin(ctx);
	int r = step(f);
	r = r ? r : store_io_posix.rename(NULL, dirfd, from, to);
	if (r == 0 && f->n_renames < 64)
		(void)snprintf(f->renames[f->n_renames][0], 32, "%s", from),
			(void)snprintf(f->renames[f->n_renames++][1], 32, "%s", to);
	after(f);
	return r;
}

static inline int f_unlink(void *ctx, int dirfd, const char *name)
{
	struct faulty *f = begin(ctx);
	int r = step(f);
	r = r ? r : store_io_posix.unlink(NULL, dirfd, name);
	after(f);
	return r;
}

static inline int f_sync_dir(void *ctx, int dirfd)
{
	struct faulty *f = begin(ctx);
	int r = step(f);
	r = r ? r : store_io_posix.sync_dir(NULL, dirfd);
	if (r == 0)
		f->n_renames = 0;
	after(f);
	return r;
}

#define FAULTY_IO(f)                                                                               \
	{                                                                                          \
		.ctx = (f), .open = f_open, .pwrite = f_pwrite, .fdatasync = f_fdatasync,          \
		.ftruncate = f_ftruncate, .rename = f_rename, .unlink = f_unlink,                  \
		.sync_dir = f_sync_dir                                                             \
	}

#endif

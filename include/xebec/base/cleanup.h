/* SPDX-License-Identifier: Apache-2.0
 * Cleanup attributes: a resource is released when its variable leaves scope; ownership leaves by
 * STEAL_*. */
#ifndef XEBEC_BASE_CLEANUP_H
#define XEBEC_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

#define AUTO(fn)    __attribute__((cleanup(fn)))
#define AUTO_FREE   AUTO(cleanup_free)
#define AUTO_CLOSE  AUTO(cleanup_close)
#define AUTO_FCLOSE AUTO(cleanup_fclose)

static inline void *steal_ptr(void *p)
{
	void **pp = p, *v = *pp;
	*pp = NULL;
	return v;
}

static inline int steal_fd(int *fd)
{
	int v = *fd;
	*fd = -1;
	return v;
}

#define STEAL(p)     ((__typeof__(p))steal_ptr(&(p)))
#define STEAL_FD(fd) steal_fd(&(fd))

#define ARRAY_LEN(a)			(sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Event loop over epoll: fds, timers, child exits, and tasks posted from other threads. A loop
 * belongs to the thread that runs it; only loop_post, loop_stop may be called from elsewhere.
 * Callbacks never nest. */
#ifndef XEBEC_BASE_LOOP_H
#define XEBEC_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include "xebec/base/list.h"

struct loop;
struct loop *loop_new(void);		       /* NULL when out of memory or fds (errno) */
void loop_free(struct loop *l);		       /* tasks posted and not yet run are dropped */
int loop_run(struct loop *l);		       /* until loop_stop; 0 or negative errno */
int loop_poll(struct loop *l, int timeout_ms); /* one round: for tests and foreign loops */
void loop_stop(struct loop *l);		       /* any thread */
int64_t loop_now(const struct loop *l);	       /* CLOCK_MONOTONIC ns, cached once a round */

struct loop_fd { /* owned by the caller, must stay until loop_fd_del; {0}-initialise */
	int fd;
	void (*fn)(
		struct loop_fd *f, uint32_t events); /* EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLERR */
	void *arg;
	struct loop *loop; /* set by loop_fd_add */
};
int loop_fd_add(struct loop *l, struct loop_fd *f, uint32_t events); /* level-triggered */
int loop_fd_mod(struct loop_fd *f, uint32_t events);
void loop_fd_del(
	struct loop_fd *f); /* does not close; safe inside its own callback and when never added */

struct loop_timer { /* owned by the caller; {0}-initialise */
	void (*fn)(struct loop_timer *t);
	void *arg;
	int64_t at;	   /* private */
	size_t heap_index; /* private; 0 = not set */
	struct loop *loop;
};
int loop_timer_set(struct loop *l, struct loop_timer *t, int64_t ns_from_now); /* (re)arms */
void loop_timer_cancel(struct loop_timer *t); /* safe when not armed */
bool loop_timer_armed(const struct loop_timer *t);

struct loop_task { /* owned by the poster until fn runs; may be embedded and freed in fn */
	void (*fn)(struct loop_task *t);
	void *arg;
	struct loop_task *next; /* private */
};
void loop_post(struct loop *l, struct loop_task *t); /* any thread; runs in posting order */

struct loop_child { /* a process watched through a pidfd */
	int pid;
	void (*fn)(struct loop_child *c, int wait_status);
	void *arg;
	struct loop_fd fd; /* private */
};
int loop_child_add(struct loop *l, struct loop_child *c);
void loop_child_del(struct loop_child *c);

/* Signals are blocked in all threads by loop_signals and delivered to the callback on the loop. */
int loop_signals(
	struct loop *l, const int *signals, size_t n, void (*fn)(int sig, void *arg), void *arg);

/* A small pool for work that blocks (file system, getaddrinfo). work runs on a pool thread, done on
 * the loop. */
struct pool;
struct pool *pool_new(unsigned threads);
void pool_free(struct pool *p); /* waits for every job submitted; their done tasks are posted */
struct pool_job {
	void (*work)(struct pool_job *j); /* pool thread */
	void (*done)(struct pool_job *j); /* on loop */
	void *arg;
	struct loop *loop;
	struct loop_task task; /* private */
	struct pool_job *next; /* private */
};
void pool_submit(struct pool *p, struct pool_job *j);

#endif

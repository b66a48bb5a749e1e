/* SPDX-License-Identifier: Apache-2.0
 * The event loop: epoll, a binary heap of timers, a lock-free stack of posted tasks woken by an
 * eventfd, pidfds for children, a signalfd. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "xebec/base/loop.h"
#include "xebec/base/timefmt.h"

enum { BATCH = 128 };

struct signal_watch {
	struct signal_watch *next;
	struct loop_fd fd;
	void (*fn)(int sig, void *arg);
	void *arg;
};

struct loop {
	int epfd;
	bool in_round, no_pwait2;
	_Atomic bool stop;
	int64_t now;
	struct loop_timer **heap; /* heap[1] is the earliest; heap[0] is not used */
	size_t heap_len, heap_cap;
	struct epoll_event events[BATCH]; /* of this round; data.ptr NULL = deleted meanwhile */
	int n_events;
	struct loop_fd wake;
	_Atomic(struct loop_task *) posted; /* newest first */
	struct signal_watch *signals;
};

static void run_posted(struct loop_fd *f, uint32_t events)
{
	struct loop *l = f->arg;
	uint64_t count;
	(void)events;
	/* Before taking the list: a poster that finds it empty afterwards wakes us again. */
	(void)!read(f->fd, &count, sizeof(count));
	struct loop_task *t = atomic_exchange(&l->posted, NULL), *first = NULL;
	while (t) {
		struct loop_task *next = t->next;
		t->next = first;
		first = t;
		t = next;
	}
	while (first) {
		t = first;
		first = t->next;
		t->fn(t);
	}
}

static void wake(struct loop *l)
{
	uint64_t one = 1;
	(void)!write(l->wake.fd, &one, sizeof(one));
}

void loop_post(struct loop *l, struct loop_task *t)
{
	struct loop_task *head = atomic_load_explicit(&l->posted, memory_order_relaxed);
	do
		t->next = head;
	while (!atomic_compare_exchange_weak(&l->posted, &head, t));
	if (!head)
		wake(l);
}

void loop_stop(struct loop *l)
{
	atomic_store(&l->stop, true);
	wake(l);
}

struct loop *loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->wake = (struct loop_fd){
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .fn = run_posted, .arg = l};
	l->now = time_mono();
	if (l->epfd < 0 || l->wake.fd < 0 || loop_fd_add(l, &l->wake, EPOLLIN) < 0) {
		int saved = errno;
		loop_free(l);
		errno = saved;
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	for (struct signal_watch *s = l->signals, *next; s; s = next) {
		next = s->next;
		(void)close(s->fd.fd);
		free(s);
	}
	if (l->wake.fd >= 0)
		(void)close(l->wake.fd);
	if (l->epfd >= 0)
		(void)close(l->epfd);
	free(l->heap);
	free(l);
}

int64_t loop_now(const struct loop *l)
{
	return l->now;
}

/* --- fds --- */

int loop_fd_add(struct loop *l, struct loop_fd *f, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = f};
	if (epoll_ctl(l->epfd, EPOLL_CTL_ADD, f->fd, &ev) < 0)
		return -errno;
	f->loop = l;
	return 0;
}

int loop_fd_mod(struct loop_fd *f, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = f};
	if (!f->loop)
		return -EINVAL;
	return epoll_ctl(f->loop->epfd, EPOLL_CTL_MOD, f->fd, &ev) < 0 ? -errno : 0;
}

void loop_fd_del(struct loop_fd *f)
{
	struct loop *l = f->loop;
	if (!l)
		return;
	f->loop = NULL;
	(void)epoll_ctl(l->epfd, EPOLL_CTL_DEL, f->fd, NULL);
	/* Its owner may free it now, while events of this round still wait for it. */
	for (int i = 0; i < l->n_events; i++)
		if (l->events[i].data.ptr == f)
			l->events[i].data.ptr = NULL;
}

/* --- timers --- */

static void heap_set(struct loop *l, size_t i, struct loop_timer *t)
{
	l->heap[i] = t;
	t->heap_index = i;
}

static void heap_up(struct loop *l, size_t i, struct loop_timer *t)
{
	for (; i > 1 && l->heap[i / 2]->at > t->at; i /= 2)
		heap_set(l, i, l->heap[i / 2]);
	heap_set(l, i, t);
}

static void heap_down(struct loop *l, size_t i, struct loop_timer *t)
{
	for (size_t c; (c = i * 2) <= l->heap_len; i = c) {
		if (c < l->heap_len && l->heap[c + 1]->at < l->heap[c]->at)
			c++;
		if (l->heap[c]->at >= t->at)
			break;
		heap_set(l, i, l->heap[c]);
	}
	heap_set(l, i, t);
}

int loop_timer_set(struct loop *l, struct loop_timer *t, int64_t ns_from_now)
{
	loop_timer_cancel(t);
	if (l->heap_len + 2 > l->heap_cap) {
		size_t cap = l->heap_cap ? l->heap_cap * 2 : 16;
		struct loop_timer **h = realloc(l->heap, cap * sizeof(struct loop_timer *));
		if (!h)
			return -ENOMEM;
		l->heap = h;
		l->heap_cap = cap;
	}
	if (ns_from_now < 0)
		ns_from_now = 0;
	if (__builtin_add_overflow(time_mono(), ns_from_now, &t->at))
		t->at = INT64_MAX;
	if (t->at <= l->now)
		t->at = l->now + 1; /* a timer re-armed with 0 waits for the next round */
	t->loop = l;
	heap_up(l, ++l->heap_len, t);
	return 0;
}

void loop_timer_cancel(struct loop_timer *t)
{
	if (!t->heap_index)
		return;
	struct loop *l = t->loop;
	size_t i = t->heap_index;
	struct loop_timer *last = l->heap[l->heap_len--];
	t->heap_index = 0;
	if (last == t)
		return;
	if (i > 1 && l->heap[i / 2]->at > last->at)
		heap_up(l, i, last);
	else
		heap_down(l, i, last);
}

bool loop_timer_armed(const struct loop_timer *t)
{
	return t->heap_index != 0;
}

static void run_timers(struct loop *l)
{
	while (l->heap_len && l->heap[1]->at <= l->now) {
		struct loop_timer *t = l->heap[1];
		loop_timer_cancel(t);
		t->fn(t);
	}
}

/* --- rounds --- */

/* Nanosecond time-outs where the kernel has epoll_pwait2 (5.11), else milliseconds rounded up. */
static int wait_events(struct loop *l, int64_t ns)
{
	if (!l->no_pwait2) {
		struct timespec ts = {.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};
		int n = epoll_pwait2(l->epfd, l->events, BATCH, ns < 0 ? NULL : &ts, NULL);
		if (n >= 0 || (errno != ENOSYS && errno != EPERM))
			return n < 0 ? -errno : n;
		l->no_pwait2 = true;
	}
	int64_t ms = ns < 0 ? -1 : (ns + NS_PER_MS - 1) / NS_PER_MS;
	int n = epoll_wait(l->epfd, l->events, BATCH, ms > 3600000 ? 3600000 : (int)ms);
	return n < 0 ? -errno : n;
}

static int64_t wait_ns(const struct loop *l, int timeout_ms)
{
	int64_t ns = timeout_ms < 0 ? -1 : timeout_ms * NS_PER_MS;
	if (l->heap_len) {
		int64_t until = l->heap[1]->at - time_mono();
		if (until < 0)
			until = 0;
		if (ns < 0 || until < ns)
			ns = until;
	}
	return ns;
}

int loop_poll(struct loop *l, int timeout_ms)
{
	if (l->in_round)
		return -EDEADLK;
	int n = wait_events(l, wait_ns(l, timeout_ms));
	if (n < 0)
		return n == -EINTR ? 0 : n;
	l->in_round = true;
	l->n_events = n;
	l->now = time_mono();
	run_timers(l);
	for (int i = 0; i < n; i++) {
		struct loop_fd *f = l->events[i].data.ptr;
		if (f)
			f->fn(f, l->events[i].events);
	}
	l->n_events = 0;
	l->in_round = false;
	return 0;
}

int loop_run(struct loop *l)
{
	int r = 0;
	while (r == 0 && !atomic_exchange(&l->stop, false))
		r = loop_poll(l, -1);
	return r;
}

/* --- children and signals --- */

static void child_ready(struct loop_fd *f, uint32_t events)
{
	struct loop_child *c = f->arg;
	int status = 0;
	(void)events;
	pid_t pid = waitpid(c->pid, &status, WNOHANG);
	if (pid == 0 || (pid < 0 && errno == EINTR))
		return;
	loop_child_del(c);
	c->fn(c, status);
}

int loop_child_add(struct loop *l, struct loop_child *c)
{
	int fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (fd < 0)
		return -errno;
	c->fd = (struct loop_fd){.fd = fd, .fn = child_ready, .arg = c};
	int r = loop_fd_add(l, &c->fd, EPOLLIN);
	if (r < 0)
		(void)close(fd);
	return r;
}

void loop_child_del(struct loop_child *c)
{
	if (!c->fd.loop)
		return;
	loop_fd_del(&c->fd);
	(void)close(c->fd.fd);
	c->fd.fd = -1;
}

static void signal_ready(struct loop_fd *f, uint32_t events)
{
	struct signal_watch *s = f->arg;
	struct signalfd_siginfo si;
	(void)events;
	if (read(f->fd, &si, sizeof(si)) == sizeof(si))
		s->fn((int)si.ssi_signo, s->arg);
}

int loop_signals(
	struct loop *l, const int *signals, size_t n, void (*fn)(int sig, void *arg), void *arg)
{
	sigset_t set;
	(void)sigemptyset(&set);
	for (size_t i = 0; i < n; i++)
		if (sigaddset(&set, signals[i]) < 0)
			return -EINVAL;
	AUTO_FREE struct signal_watch *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	AUTO_CLOSE int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	int r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
	*s = (struct signal_watch){
		.fd = {.fd = fd, .fn = signal_ready, .arg = s}, .fn = fn, .arg = arg};
	if (r == 0)
		r = loop_fd_add(l, &s->fd, EPOLLIN);
	if (r < 0)
		return r;
	(void)STEAL_FD(fd);
	s->next = l->signals;
	l->signals = STEAL(s);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * The event loop and the pool of threads. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/wait.h>
#include "xebec/base/loop.h"
#include "xebec/base/timefmt.h"

static int setup(void **state)
{
	*state = loop_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	loop_free(*state);
	return 0;
}

/* --- timers --- */

enum { TIMERS = 500 };
static struct loop_timer timers[TIMERS];
static int64_t fired_at;
static unsigned fired;

static void on_timer(struct loop_timer *t)
{
	int64_t due = (int64_t)(intptr_t)t->arg;
	assert_true(due >= fired_at); /* in order */
	assert_false(loop_timer_armed(t));
	fired_at = due;
	fired++;
}

static void test_timer_order(void **state)
{
	struct loop *l = *state;
	uint64_t r = 99;
	unsigned cancelled = 0;
	fired = 0;
	fired_at = 0;
	int64_t base = time_mono();
	for (size_t i = 0; i < TIMERS; i++) {
		r = r * 6364136223846793005ULL + 1;
		int64_t ms = 10 + (int64_t)((r >> 33) % 40);
		timers[i] = (struct loop_timer){.fn = on_timer, .arg = (void *)(intptr_t)ms};
		assert_int_equal(
			loop_timer_set(l, &timers[i], base + ms * NS_PER_MS - time_mono()), 0);
	}
	for (size_t i = 0; i < TIMERS; i += 3, cancelled++)
		loop_timer_cancel(&timers[i]);
	while (fired < TIMERS - cancelled)
		assert_int_equal(loop_poll(l, 1000), 0);
	assert_int_equal(loop_poll(l, 0), 0);
	assert_int_equal(fired, TIMERS - cancelled);
}

static void rearm(struct loop_timer *t)
{
	++*(int *)t->arg;
	assert_int_equal(loop_timer_set(t->loop, t, 0), 0);
}

static void test_timer_rearm(void **state)
{
	int n = 0;
	struct loop_timer t = {.fn = rearm, .arg = &n};
	assert_int_equal(loop_timer_set(*state, &t, 0), 0);
	for (int i = 1; i <= 5; i++) { /* once a round, never for ever */
		assert_int_equal(loop_poll(*state, 100), 0);
		assert_int_equal(n, i);
	}
	loop_timer_cancel(&t);
	loop_timer_cancel(&t);
}

/* --- fds: one callback frees the other, whose event waits in the same round --- */

struct pair {
	struct loop_fd f;
	struct pair *other;
	int *calls;
};

static void on_pair(struct loop_fd *f, uint32_t events)
{
	struct pair *p = f->arg;
	(void)events;
	++*p->calls;
	if (p->other) {
		loop_fd_del(&p->other->f);
		close(p->other->f.fd);
		free(p->other);
	}
	loop_fd_del(f);
	close(f->fd);
	free(p);
}

static void test_free_in_round(void **state)
{
	int calls = 0, fds[2][2];
	struct pair *p[2];
	for (int i = 0; i < 2; i++) {
		p[i] = calloc(1, sizeof(*p[i]));
		assert_int_equal(pipe(fds[i]), 0);
		assert_int_equal(write(fds[i][1], "x", 1), 1);
	}
	for (int i = 0; i < 2; i++) {
		*p[i] = (struct pair){.f = {.fd = fds[i][0], .fn = on_pair, .arg = p[i]},
			.other = p[!i],
			.calls = &calls};
		assert_int_equal(loop_fd_add(*state, &p[i]->f, EPOLLIN), 0);
	}
	assert_int_equal(loop_poll(*state, 1000), 0);
	assert_int_equal(calls, 1);
	close(fds[0][1]);
	close(fds[1][1]);
}

/* --- posts from many threads --- */

enum { THREADS = 4, POSTS = 5000 };

struct post {
	struct loop_task task;
	unsigned thread, n;
};
static unsigned next_of[THREADS];
static unsigned posted_total;

static void on_post(struct loop_task *t)
{
	struct post *p = t->arg;
	assert_int_equal(p->n, next_of[p->thread]++); /* in posting order */
	posted_total++;
	free(p);
}

struct poster {
	struct loop *l;
	unsigned id;
};

static void *poster(void *arg)
{
	struct poster *me = arg;
	for (unsigned i = 0; i < POSTS; i++) {
		struct post *p = calloc(1, sizeof(*p));
		*p = (struct post){.task = {.fn = on_post, .arg = p}, .thread = me->id, .n = i};
		loop_post(me->l, &p->task);
	}
	return NULL;
}

static void test_posts(void **state)
{
	pthread_t th[THREADS];
	struct poster who[THREADS];
	posted_total = 0;
	for (unsigned i = 0; i < THREADS; i++) {
		who[i] = (struct poster){*state, i};
		assert_int_equal(pthread_create(&th[i], NULL, poster, &who[i]), 0);
	}
	while (posted_total < THREADS * POSTS)
		assert_int_equal(loop_poll(*state, 1000), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(th[i], NULL);
}

static void *stopper(void *arg)
{
	loop_stop(arg);
	return NULL;
}

static void test_stop(void **state)
{
	pthread_t th;
	assert_int_equal(pthread_create(&th, NULL, stopper, *state), 0);
	assert_int_equal(loop_run(*state), 0);
	pthread_join(th, NULL);
	loop_stop(*state); /* before the run */
	assert_int_equal(loop_run(*state), 0);
}

/* --- children, signals, pool --- */

static int child_status = -1;

static void on_child(struct loop_child *c, int status)
{
	(void)c;
	child_status = status;
}

static void test_child(void **state)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(7);
	struct loop_child c = {.pid = pid, .fn = on_child};
	assert_int_equal(loop_child_add(*state, &c), 0);
	while (child_status < 0)
		assert_int_equal(loop_poll(*state, 1000), 0);
	assert_int_equal(WEXITSTATUS(child_status), 7);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
	loop_child_del(&c);
	c.pid = pid;
	assert_true(loop_child_add(*state, &c) < 0);
}

static int got_signal;

static void on_signal(int sig, void *arg)
{
	got_signal = sig;
	loop_stop(arg);
}

static void test_signal(void **state)
{
	const int set[] = {SIGUSR1, SIGUSR2};
	assert_int_equal(loop_signals(*state, set, 2, on_signal, *state), 0);
	assert_int_equal(kill(getpid(), SIGUSR2), 0);
	assert_int_equal(loop_run(*state), 0);
	assert_int_equal(got_signal, SIGUSR2);
}

static _Atomic int worked;
static int done;

static void on_work(struct pool_job *j)
{
	(void)j;
	atomic_fetch_add(&worked, 1);
}

static void on_done(struct pool_job *j)
{
	(void)j;
	done++;
}

static void test_pool(void **state)
{
	struct pool *p = pool_new(3);
	static struct pool_job jobs[200];
	for (size_t i = 0; i < 200; i++) {
		jobs[i] = (struct pool_job){.work = on_work, .done = on_done, .loop = *state};
		pool_submit(p, &jobs[i]);
	}
	pool_free(p); /* waits for all of them */
	assert_int_equal(worked, 200);
	assert_int_equal(loop_poll(*state, 0), 0);
	assert_int_equal(done, 200);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {T(test_timer_order), T(test_timer_rearm),
		T(test_free_in_round), T(test_posts), T(test_stop), T(test_child), T(test_signal),
		T(test_pool)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0
 * A pool of threads for blocking work: one queue, first in first out. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include "xebec/base/loop.h"

enum { STACK_BYTES = 512 * 1024 };

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct pool_job *first, **last;
	bool closing;
	unsigned n;
	pthread_t threads[];
};

static struct pool_job *take(struct pool *p)
{
	(void)pthread_mutex_lock(&p->lock);
	while (!p->first && !p->closing)
		(void)pthread_cond_wait(&p->more, &p->lock);
	struct pool_job *j = p->first;
	if (j) {
		p->first = j->next;
		if (!p->first)
			p->last = &p->first;
	}
	(void)pthread_mutex_unlock(&p->lock);
	return j;
}

static void job_done(struct loop_task *t)
{
	struct pool_job *j = t->arg;
	j->done(j);
}

static void *worker(void *arg)
{
	struct pool *p = arg;
	for (struct pool_job *j; (j = take(p));) {
		j->work(j);
		j->task = (struct loop_task){.fn = job_done, .arg = j};
		loop_post(j->loop, &j->task);
	}
	return NULL;
}

static int start_thread(struct pool *p)
{
	pthread_attr_t attr;
	sigset_t all, old;
	/* Signals belong to the loops. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	int r = pthread_create(&p->threads[p->n], &attr, worker, p);
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0)
		p->n++;
	return -r;
}

struct pool *pool_new(unsigned threads)
{
	struct pool *p = calloc(1, sizeof(*p) + threads * sizeof(pthread_t));
	if (!p)
		return NULL;
	(void)pthread_mutex_init(&p->lock, NULL);
	(void)pthread_cond_init(&p->more, NULL);
	p->last = &p->first;
	for (unsigned i = 0; i < threads; i++)
		if (start_thread(p) < 0)
			break;
	if (p->n)
		return p; /* fewer threads than asked for still do the work */
	pool_free(p);
	errno = EAGAIN;
	return NULL;
}

void pool_free(struct pool *p)
{
	if (!p)
		return;
	(void)pthread_mutex_lock(&p->lock);
	p->closing = true;
	(void)pthread_cond_broadcast(&p->more);
	(void)pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->n; i++)
		(void)pthread_join(p->threads[i], NULL);
	(void)pthread_cond_destroy(&p->more);
	(void)pthread_mutex_destroy(&p->lock);
	free(p);
}

void pool_submit(struct pool *p, struct pool_job *j)
{
	j->next = NULL;
	(void)pthread_mutex_lock(&p->lock);
	*p->last = j;
	p->last = &j->next;
	(void)pthread_cond_signal(&p->more);
	(void)pthread_mutex_unlock(&p->lock);
}

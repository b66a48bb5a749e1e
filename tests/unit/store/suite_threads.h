/* SPDX-License-Identifier: Apache-2.0
 * The suite's part with many threads. */
#ifndef XEBEC_TEST_SUITE_THREADS_H
#define XEBEC_TEST_SUITE_THREADS_H

#include "suite_util.h"

/* Many threads count one key up by compare-and-swap: no increment is lost. */
struct counter {
	struct store *s;
	unsigned times, conflicts;
};
static void *count_up(void *arg)
{
	struct counter *c = arg;
	char text[32];

	for (unsigned i = 0; i < c->times;) {
		struct store_val *v;
		unsigned long n = 0;
		uint64_t rev = 0;
		if (store_get_sync(c->s, STR("n"), &v, NULL) == 0) {
			(void)str_copy(text, sizeof(text), store_val_bytes(v));
			n = strtoul(text, NULL, 10);
			rev = v->mod_rev;
			store_val_unref(v);
		}
		(void)snprintf(text, sizeof(text), "%lu", n + 1);
		if (cas(c->s, "n", rev, text))
			i++;
		else
			c->conflicts++;
	}
	return NULL;
}

static void suite_threads(void **state)
{
	enum { THREADS = 4, TIMES = 150 };
	struct counter c[THREADS];
	pthread_t t[THREADS];
	struct recorder r = RECORDER;
	struct store *s = *state;
	struct store_watch *w = s->ops->watch(s, STR("n"), (struct str){0}, 0, on_watch, &r);

	for (int i = 0; i < THREADS; i++) {
		c[i] = (struct counter){.s = s, .times = TIMES};
		assert_int_equal(pthread_create(&t[i], NULL, count_up, &c[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	char want[64];
	(void)snprintf(want, sizeof(want), "n=%d @%d n=1", THREADS * TIMES, THREADS * TIMES + 1);
	assert_list(s, "n", "", 0, 0, want);
	wait_rev(&r, THREADS * TIMES + 1);
	assert_int_equal(r.events, THREADS * TIMES);
	s->ops->watch_cancel(s, w);
}

#endif

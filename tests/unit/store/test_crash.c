/* SPDX-License-Identifier: Apache-2.0
 * A writer process dies at 1,000 random points: killed from outside, killing itself in the middle
 * of any system call, or with a power cut that takes back what was not flushed. After each the
 * store must hold exactly the first P writes, in order, with P at least the last acknowledged one.
 * The number of points can be given in XEBEC_CRASH_POINTS. */
#include "faulty_io.h"
#include "store/embedded.h"
#include "suite_util.h"
#include <sys/wait.h>

#define KEYS	  17
#define FLIGHT	  16 /* writes under way at once */
#define VALUE_MAX 700

static char dir[64];

static void config(struct store_embedded_config *c)
{
	*c = (struct store_embedded_config){
		.dir = dir, .segment_bytes = 24 << 10, .snapshot_bytes = 60 << 10};
}

/* Write number g: key g % KEYS, every seventh of a key deletes it, else a value that g determines.
 */
static bool deletes(uint64_t g)
{
	return (g / KEYS) % 7 == 3;
}

static size_t value_of(uint64_t g, char out[static VALUE_MAX])
{
	size_t n = 8 + (size_t)(g * 2654435761u) % (VALUE_MAX - 8);

	memcpy(out, &g, sizeof(g));
	for (size_t i = 8; i < n; i++)
		out[i] = (char)(g + i);
	return n;
}

/* --- the writer --- */

struct writer {
	struct store *s;
	int pipe;
	pthread_mutex_t mu;
	pthread_cond_t cond;
	unsigned flying;
	uint64_t next_ack;
};

static void on_written(void *arg, const struct err *e, const struct store_txn_result *r)
{
	struct writer *w = arg;

	if (e || !r->succeeded)
		_exit(3);
	pthread_mutex_lock(&w->mu);
	uint64_t g = w->next_ack++;
	(void)!write(w->pipe, &g, sizeof(g));
	w->flying--;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->mu);
}

static void submit(struct writer *w, uint64_t g)
{
	char value[VALUE_MAX], key[32];
	struct store_txn t = {.key = {.p = key}, .del = deletes(g)};

	t.key.n = (size_t)snprintf(key, sizeof(key), "/k/%ju", (uintmax_t)(g % KEYS));
	t.value = (struct str){.p = value, .n = value_of(g, value)};
	pthread_mutex_lock(&w->mu);
	while (w->flying == FLIGHT)
		pthread_cond_wait(&w->cond, &w->mu);
	w->flying++;
	pthread_mutex_unlock(&w->mu);
	w->s->ops->txn(w->s, &t, on_written, w);
	if (g % 40 == 0)
		w->s->ops->compact(w->s, w->s->ops->rev(w->s), NULL, NULL);
}

static void child(uint64_t first, int pipe, struct faulty *f)
{
	struct store_io io = FAULTY_IO(f);
	struct store_embedded_config c;
	struct writer w = {.pipe = pipe,
		.mu = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER,
		.next_ack = first};

	config(&c);
	if (store_open_embedded_io(&c, &io, &w.s, NULL) < 0)
		_exit(2);
	for (uint64_t g = first; g < first + 3000; g++)
		submit(&w, g);
	for (;;) /* all written: wait to be killed */
		pause();
}

/* --- the judge --- */

struct found {
	uint64_t last[KEYS]; /* 0 = absent */
	uint64_t max;
};

static void on_found(void *arg, const struct err *e, const struct store_range_result *r)
{
	struct found *f = arg;
	char want[VALUE_MAX];

	assert_null(e);
	for (size_t i = 0; i < r->n; i++) {
		struct str v = store_val_bytes(r->vals[i]);
		uint64_t g;
		assert_true(v.n >= sizeof(g));
		memcpy(&g, v.p, sizeof(g));
		assert_true(str_eq(v, (struct str){.p = want, .n = value_of(g, want)}));
		f->last[g % KEYS] = g;
		if (g > f->max)
			f->max = g;
	}
}

static bool is_prefix(const struct found *f, uint64_t p)
{
	for (uint64_t k = 0; k < KEYS; k++) {
		uint64_t g = p / KEYS * KEYS + k;
		if (g > p)
			g = g >= KEYS ? g - KEYS : 0;
		if (f->last[k] != (g == 0 || deletes(g) ? 0 : g))
			return false;
	}
	return true;
}

/* Opens the store and returns how many writes it holds. */
static uint64_t judge(uint64_t acked, uint64_t submitted_max)
{
	struct store_embedded_config c;
	struct store *s;
	struct err e = {0};
	struct found f = {0};
	struct store_range all = {.start = STR("/k/"), .end = STR("/k0")};

	config(&c);
	if (store_open_embedded(&c, &s, &e) < 0)
		fail_msg("%s", e.msg);
	s->ops->range(s, &all, on_found, &f);
	/* deletions leave no number: look for the prefix that fits */
	uint64_t p = f.max > acked ? f.max : acked;
	while (p <= submitted_max && !is_prefix(&f, p))
		p++;
	if (p > submitted_max)
		fail_msg("acknowledged %ju, found up to %ju: not the state after any write",
			(uintmax_t)acked, (uintmax_t)f.max);
	/* of prefixes that look the same, the revision tells */
	s->ops->close(s);
	return p;
}

static uint64_t drain(int fd, uint64_t acked)
{
	uint64_t g;

	while (read(fd, &g, sizeof(g)) == sizeof(g))
		acked = g;
	(void)close(fd);
	return acked;
}

static uint64_t one_point(unsigned i, uint64_t done, unsigned *seed)
{
	struct faulty f = {.mu = PTHREAD_MUTEX_INITIALIZER,
		.seed = i * 7919u + 1,
		.fail_from = -1,
		.fail_to = -1,
		.crash_at = -1};
	int p[2], status;

	if (i % 3 != 0) {
		f.crash_at = rand_r(seed) % 120;
		f.power_cut = i % 3 == 2;
	}
	assert_int_equal(pipe(p), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)close(p[0]);
		child(done + 1, p[1], &f);
	}
	(void)close(p[1]);
	if (i % 3 == 0) {
		struct timespec ts = {.tv_nsec = (rand_r(seed) % 12000) * 1000L};
		(void)nanosleep(&ts, NULL);
		(void)kill(pid, SIGKILL);
	}
	uint64_t acked = drain(p[0], done);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return judge(acked, acked + FLIGHT);
}

static void test_kill(void **state)
{
	const char *env = getenv("XEBEC_CRASH_POINTS");
	unsigned points = env ? (unsigned)atoi(env) : 1000, seed = 5;
	uint64_t done = 0, moved = 0;

	(void)state;
	(void)snprintf(dir, sizeof(dir), "/var/tmp/xebec-store-XXXXXX");
	assert_non_null(mkdtemp(dir));
	for (unsigned i = 0; i < points; i++) {
		uint64_t p = one_point(i, done, &seed);
		moved += p > done;
		done = p;
	}
	assert_true(moved > points / 2);
	printf("# %u points, %ju writes, %ju points with progress\n", points, (uintmax_t)done,
		(uintmax_t)moved);
	assert_int_equal(rm_rf(dir), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_kill)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

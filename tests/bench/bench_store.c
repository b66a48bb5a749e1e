/* SPDX-License-Identifier: Apache-2.0
 * The embedded store on this disk: "name value unit" a line. */
#include <pthread.h>
#include <stdatomic.h>
#include "store/store.h"
#include "xebec/base/timefmt.h"

#define RUN_NS	  (2 * NS_PER_SEC)
#define VALUE_LEN 1024
#define KEYS	  10000
#define SAMPLES	  400000

static char value[VALUE_LEN];
static _Atomic bool stop;

struct writer {
	struct store *s;
	unsigned id;
	size_t n;
	int64_t *ns; /* latencies */
};

static void put(struct store *s, unsigned i)
{
	char key[64];
	struct store_txn_result r;
	struct store_txn t = {.value = {.p = value, .n = sizeof(value)}};
	struct err e;

	(void)snprintf(key, sizeof(key), "/registry/core/pods/default/pod-%06u", i % KEYS);
	t.key = str_of(key);
	if (store_txn_sync(s, &t, &r, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		exit(1);
	}
	store_val_unref(r.cur);
}

static void *write_loop(void *arg)
{
	struct writer *w = arg;

	for (unsigned i = w->id; !stop && w->n < SAMPLES; i += 37) {
		int64_t start = time_mono();
		put(w->s, i);
		w->ns[w->n++] = time_mono() - start;
	}
	return NULL;
}

static int cmp_ns(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static void pause_ns(int64_t ns)
{
	struct timespec ts = {.tv_sec = ns / NS_PER_SEC, .tv_nsec = ns % NS_PER_SEC};

	(void)nanosleep(&ts, NULL);
}

static void bench_writers(struct store *s, unsigned n)
{
	struct writer w[32];
	pthread_t t[32];
	size_t total = 0;
	int64_t *all = malloc(32 * SAMPLES * sizeof(*all));

	stop = false;
	for (unsigned i = 0; i < n; i++) {
		w[i] = (struct writer){.s = s, .id = i * 311, .ns = all + (size_t)i * SAMPLES};
		(void)pthread_create(&t[i], NULL, write_loop, &w[i]);
	}
	int64_t start = time_mono();
	pause_ns(RUN_NS);
	stop = true;
	for (unsigned i = 0; i < n; i++)
		(void)pthread_join(t[i], NULL);
	double seconds = (double)(time_mono() - start) / 1e9;
	for (unsigned i = 0; i < n; i++) {
		memmove(all + total, w[i].ns, w[i].n * sizeof(*all));
		total += w[i].n;
	}
	qsort(all, total, sizeof(*all), cmp_ns);
	printf("store_put_%u %.0f ops/s\n", n, (double)total / seconds);
	printf("store_put_%u_p50 %.0f us\n", n, (double)all[total / 2] / 1e3);
	printf("store_put_%u_p99 %.0f us\n", n, (double)all[total * 99 / 100] / 1e3);
	free(all);
}

static void bench_reads(struct store *s)
{
	size_t n = 0;
	char key[64];
	int64_t start = time_mono();

	for (; time_mono() - start < RUN_NS / 2; n++) {
		struct store_val *v;
		(void)snprintf(
			key, sizeof(key), "/registry/core/pods/default/pod-%06zu", n * 37 % KEYS);
		if (store_get_sync(s, str_of(key), &v, NULL) == 0)
			store_val_unref(v);
	}
	printf("store_get %.0f ops/s\n", (double)n * 1e9 / (double)(time_mono() - start));
}

static void on_range(void *arg, const struct err *e, const struct store_range_result *r)
{
	if (!e)
		*(size_t *)arg += r->n;
}

static void bench_lists(struct store *s)
{
	struct store_range all = {.start = STR("/registry/"), .end = STR("/registry0")};
	size_t n = 0;
	int64_t start = time_mono();

	while (time_mono() - start < RUN_NS / 4)
		s->ops->range(s, &all, on_range, &n);
	printf("store_list %.0f objects/s\n", (double)n * 1e9 / (double)(time_mono() - start));
}

int main(int argc, char **argv)
{
	char dir[200];
	struct store *s;
	struct err e = {0};

	(void)snprintf(
		dir, sizeof(dir), "%s/xebec-bench-store-XXXXXX", argc > 1 ? argv[1] : "/var/tmp");
	if (!mkdtemp(dir))
		return 1;
	struct store_embedded_config c = {.dir = dir};
	if (store_open_embedded(&c, &s, &e) < 0) {
		(void)fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	for (unsigned i = 0; i < 64; i++)
		put(s, i);
	bench_writers(s, 1);
	bench_writers(s, 32);
	bench_reads(s);
	bench_lists(s);
	struct store_stats st;
	store_stats(s, &st);
	s->ops->close(s);
	int64_t start = time_mono();
	if (store_open_embedded(&c, &s, &e) < 0)
		return 1;
	double ms = (double)(time_mono() - start) / 1e6;
	printf("store_recovery %.0f ms\n", ms);
	printf("store_recovery_rate %.0f writes/s\n", (double)st.rev * 1e3 / ms);
	s->ops->close(s);
	return rm_rf(dir) < 0;
}

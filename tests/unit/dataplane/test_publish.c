/* SPDX-License-Identifier: Apache-2.0
 * The publisher on plain memory: what a reader sees at every moment, what is reused when, what a
 * restart finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include "publish.h"

#define N_SVC  64
#define N_BE   256
#define N_LUT  512
#define MAX_FE 256

struct world {
	struct xb_svc svc[N_SVC];
	struct xb_be be[N_BE];
	struct xb_lut lut[N_LUT];
	struct pub_fe fes[MAX_FE];
	size_t n_fes, fe_calls;
	struct publisher *p;
};

static ssize_t fe_at(struct world *w, const struct pub_fe *f)
{
	for (size_t i = 0; i < w->n_fes; i++)
		if (memcmp(w->fes[i].ip.b, f->ip.b, 16) == 0 && w->fes[i].port == f->port &&
			w->fes[i].proto == f->proto)
			return (ssize_t)i;
	return -1;
}

static int fe_set(void *arg, const struct pub_fe *f)
{
	struct world *w = arg;
	ssize_t i = fe_at(w, f);
	w->fe_calls++;
	w->fes[i < 0 ? (ssize_t)w->n_fes++ : i] = *f;
	return 0;
}

static int fe_del(void *arg, const struct pub_fe *f)
{
	struct world *w = arg;
	ssize_t i = fe_at(w, f);
	w->fe_calls++;
	if (i >= 0 && w->fes[i].fe.svc == f->fe.svc)
		w->fes[i] = w->fes[--w->n_fes];
	return 0;
}

static int range_nop(void *arg, uint32_t svc, const struct svc_range *r)
{
	(void)arg, (void)svc, (void)r;
	return 0;
}

static int open_publisher(struct world *w)
{
	struct pub_arrays a = {w->svc, w->be, w->lut, N_SVC, N_BE, N_LUT};
	struct pub_ops ops = {.fe_set = fe_set,
		.fe_del = fe_del,
		.range_set = range_nop,
		.range_del = range_nop,
		.arg = w};
	return publisher_new(&a, &ops, &w->p);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	*state = w;
	return w ? open_publisher(w) : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;
	publish_reclaim(w->p, publish_retired(w->p));
	publisher_free(w->p);
	free(w);
	return 0;
}

static void settle(struct world *w)
{
	publish_reclaim(w->p, publish_retired(w->p));
}

/* A service with backends 10.0.<tag>.<first .. first+n-1>, all ready, the even ones local. */
struct wanted {
	struct want_svc w;
	struct want_fe fe;
	struct want_be bes[100];
	uint32_t cluster[100], local[100];
};

static const struct want_svc *want(struct wanted *x, int tag, int first, int n)
{
	*x = (struct wanted){.w = {.proto = IPPROTO_TCP, .family = 4, .port = 80}};
	(void)snprintf(x->w.name, sizeof x->w.name, "default/s%d:80/TCP", tag);
	x->fe = (struct want_fe){.port = 80, .kind = FE_CLUSTER};
	x->fe.ip = (struct ip){{10, 96, 0, (uint8_t)tag}, 4};
	for (int i = 0; i < n; i++) {
		bool local = (first + i) % 2 == 0;
		x->bes[i] = (struct want_be){
			.port = 8080, .flags = (uint16_t)(BE_READY | (local ? BE_LOCAL : 0))};
		x->bes[i].ip = (struct ip){{10, 0, (uint8_t)tag, (uint8_t)(first + i)}, 4};
		x->cluster[x->w.n_cluster++] = (uint32_t)i;
		if (local)
			x->local[x->w.n_local++] = (uint32_t)i;
	}
	x->w.bes = x->bes;
	x->w.n_bes = (size_t)n;
	x->w.cluster = x->cluster;
	x->w.local = x->local;
	x->w.fes = &x->fe;
	x->w.n_fes = 1;
	return &x->w;
}

static struct pub_result put(struct world *w, int tag, int first, int n)
{
	struct wanted x;
	struct pub_result res = {0};
	struct err e = {0};
	int r = publish_service(w->p, want(&x, tag, first, n), &res, &e);
	if (r)
		print_message("%s\n", e.msg);
	assert_int_equal(r, 0);
	return res;
}

/* What a packet to the service would find: "1.2 1.3" (tag.host ...); "-" for no such service. */
static const char *seen(struct world *w, int tag, bool local)
{
	static char out[1024];
	struct pub_fe key = {
		.ip = {{10, 96, 0, (uint8_t)tag}, 4}, .port = 80, .proto = IPPROTO_TCP};
	ssize_t i = fe_at(w, &key);
	size_t len = 0;
	out[0] = 0;
	if (i < 0)
		return "-";
	const struct xb_svc *s = &w->svc[w->fes[i].fe.svc];
	assert_int_equal(s->gen, w->fes[i].fe.gen);
	uint64_t sel = local ? s->sel_local.word : s->sel_cluster.word;
	for (uint32_t k = 0; k < xb_sel_count(sel); k++) {
		struct xb_lut l = w->lut[xb_sel_base(sel) + k];
		const struct xb_be *b = &w->be[l.be];
		assert_int_equal(b->gen, l.gen);
		assert_int_equal(b->svc, w->fes[i].fe.svc);
		len += (size_t)snprintf(out + len, sizeof out - len, "%s%u.%u", k ? " " : "",
			b->addr[2], b->addr[3]);
	}
	return out;
}

static void add_change_remove(void **state)
{
	struct world *w = *state;
	assert_true(put(w, 1, 2, 2).is_new);
	put(w, 2, 5, 1);
	assert_string_equal(seen(w, 1, false), "1.2 1.3");
	assert_string_equal(seen(w, 1, true), "1.2");
	assert_string_equal(seen(w, 2, false), "2.5");
	assert_false(put(w, 1, 2, 2).changed);
	struct xb_svc other = w->svc[2];
	put(w, 1, 3, 3);
	assert_string_equal(seen(w, 1, false), "1.3 1.4 1.5");
	assert_memory_equal(&other, &w->svc[2], sizeof other);
	put(w, 1, 3, 0);
	assert_string_equal(seen(w, 1, false), "");
	uint32_t idx;
	assert_int_equal(publish_remove(w->p, "default/s1:80/TCP", &idx), 0);
	assert_int_equal(idx, 1);
	assert_string_equal(seen(w, 1, false), "-");
	assert_int_equal(publish_remove(w->p, "default/s1:80/TCP", &idx), -ENOENT);
	assert_string_equal(seen(w, 2, false), "2.5");
}

/* A backend that stays keeps its row: connections and counters go on. */
static void rows_are_stable(void **state)
{
	struct world *w = *state;
	put(w, 1, 10, 3);
	uint64_t sel = w->svc[1].sel_cluster.word;
	struct xb_lut twelve = w->lut[xb_sel_base(sel) + 2];
	put(w, 1, 12, 5);
	sel = w->svc[1].sel_cluster.word;
	struct xb_lut now = w->lut[xb_sel_base(sel)];
	assert_int_equal(now.be, twelve.be);
	assert_int_equal(now.gen, twelve.gen);
}

/* Until the grace period is over nothing that was visible is written again. */
static void nothing_reused_early(void **state)
{
	struct world *w = *state;
	put(w, 1, 1, 4);
	struct xb_lut old_lut[6];
	uint64_t sel = w->svc[1].sel_cluster.word;
	memcpy(old_lut, &w->lut[xb_sel_base(sel)], sizeof old_lut);
	struct xb_be old_be = w->be[old_lut[0].be];
	for (int i = 0; i < 10; i++)
		put(w, 1, 50 + i * 4, 4);
	put(w, 2, 1, 20);
	assert_memory_equal(old_lut, &w->lut[xb_sel_base(sel)], sizeof old_lut);
	assert_memory_equal(old_be.addr, w->be[old_lut[0].be].addr, 16);
	/* but whoever holds the old choice sees that it is void */
	assert_int_not_equal(w->be[old_lut[0].be].gen, old_be.gen);
	settle(w);
	struct pub_usage u = publisher_usage(w->p);
	assert_int_equal(u.be, 24);
	assert_int_equal(u.svc, 2);
	assert_int_equal(u.lut, 8 + 32);
}

static void full_maps_leave_the_service_as_it_was(void **state)
{
	struct world *w = *state;
	struct wanted x;
	struct pub_result res;
	struct err e = {0};
	put(w, 1, 1, 90);
	put(w, 2, 1, 90);
	char before[1024];
	(void)snprintf(before, sizeof before, "%s", seen(w, 1, false));
	/* 256 rows: 76 are left */
	assert_int_equal(publish_service(w->p, want(&x, 1, 100, 90), &res, &e), -ENOSPC);
	assert_string_equal(seen(w, 1, false), before);
	assert_int_equal(publish_service(w->p, want(&x, 3, 1, 90), &res, &e), -ENOSPC);
	assert_string_equal(seen(w, 3, false), "-");
	assert_int_equal(publisher_usage(w->p).be, 180);
	settle(w);
	/* room comes back, and it works */
	assert_int_equal(publish_remove(w->p, "default/s2:80/TCP", NULL), 0);
	settle(w);
	put(w, 1, 100, 90);
	assert_int_equal(e.code, -ENOSPC);
}

static void many_changes_leak_nothing(void **state)
{
	struct world *w = *state;
	unsigned seed = 7;
	for (int i = 0; i < 20000; i++) {
		int tag = 1 + rand_r(&seed) % 10;
		if (rand_r(&seed) % 8 == 0) {
			char name[64];
			(void)snprintf(name, sizeof name, "default/s%d:80/TCP", tag);
			(void)publish_remove(w->p, name, NULL);
		} else {
			put(w, tag, rand_r(&seed) % 100, rand_r(&seed) % 8);
		}
		if (rand_r(&seed) % 3 == 0)
			settle(w);
	}
	for (int tag = 1; tag <= 10; tag++) {
		char name[64];
		(void)snprintf(name, sizeof name, "default/s%d:80/TCP", tag);
		(void)publish_remove(w->p, name, NULL);
	}
	settle(w);
	struct pub_usage u = publisher_usage(w->p);
	assert_int_equal(u.svc, 0);
	assert_int_equal(u.be, 0);
	assert_int_equal(u.lut, 0);
	assert_int_equal(w->n_fes, 0);
}

static void forget(void *arg, uint32_t svc)
{
	(void)svc;
	++*(int *)arg;
}

static void restart(void **state)
{
	struct world *w = *state;
	put(w, 1, 2, 3);
	put(w, 2, 2, 3);
	put(w, 3, 7, 1);
	settle(w);
	struct xb_svc before[N_SVC];
	memcpy(before, w->svc, sizeof before);
	publisher_free(w->p);
	assert_int_equal(open_publisher(w), 0);
	const struct pub_known known[] = {
		{1, "default/s1:80/TCP"}, {2, "default/s2:80/TCP"}, {3, "default/s3:80/TCP"}};
	struct pub_fe fes[MAX_FE];
	size_t n = w->n_fes;
	memcpy(fes, w->fes, sizeof fes);
	w->fe_calls = 0;
	assert_int_equal(publisher_adopt(w->p, known, 3, fes, n), 0);
	/* adopting changes nothing, and asking for the same changes nothing */
	assert_memory_equal(before, w->svc, sizeof before);
	assert_false(put(w, 1, 2, 3).changed);
	assert_int_equal(w->fe_calls, 0);
	assert_string_equal(seen(w, 2, false), "2.2 2.3 2.4");
	struct pub_usage u = publisher_usage(w->p);
	assert_int_equal(u.svc, 3);
	assert_int_equal(u.be, 7);
	/* a change works on adopted rows; rows in use are not given away */
	put(w, 3, 7, 2);
	put(w, 4, 1, 9);
	assert_string_equal(seen(w, 3, false), "3.7 3.8");
	assert_string_equal(seen(w, 1, false), "1.2 1.3 1.4");
	/* only now: what nobody asked for */
	int gone = 0;
	assert_int_equal(publish_sweep(w->p, forget, &gone), 1);
	assert_int_equal(gone, 1);
	assert_string_equal(seen(w, 2, false), "-");
	assert_string_equal(seen(w, 1, false), "1.2 1.3 1.4");
}

/* A reader that does what the BPF program does must never see a mixture, whatever the writer does,
 * as long as regions are reused only after it has finished. */
static atomic_uint reader_turn;
static atomic_bool stop;

static void *reader(void *arg)
{
	struct world *w = arg;
	uintptr_t bad = 0;
	unsigned seed = 1;
	while (!atomic_load(&stop)) {
		uint64_t sel = __atomic_load_n(&w->svc[1].sel_cluster.word, __ATOMIC_ACQUIRE);
		uint32_t n = xb_sel_count(sel);
		if (n) {
			uint64_t word = __atomic_load_n(
				(uint64_t *)&w->lut[xb_sel_base(sel) + (unsigned)rand_r(&seed) % n],
				__ATOMIC_ACQUIRE);
			struct xb_lut l;
			memcpy(&l, &word, sizeof l);
			const struct xb_be *b = &w->be[l.be];
			uint32_t addr =
				__atomic_load_n((const uint32_t *)b->addr, __ATOMIC_ACQUIRE);
			uint16_t port = __atomic_load_n(&b->port, __ATOMIC_ACQUIRE);
			if (__atomic_load_n(&b->gen, __ATOMIC_ACQUIRE) == l.gen &&
				((addr & 0xff) != 10 || port != 8080))
				bad++;
		}
		atomic_fetch_add(&reader_turn, 1);
	}
	return (void *)bad;
}

static void concurrent_reader(void **state)
{
	struct world *w = *state;
	pthread_t t;
	void *bad;
	atomic_store(&stop, false);
	put(w, 1, 1, 8);
	assert_int_equal(pthread_create(&t, NULL, reader, w), 0);
	for (int i = 0; i < 2000; i++) {
		put(w, 1, (i * 3) % 90, 1 + i % 8);
		struct pub_retired *r = publish_retired(w->p);
		unsigned turn = atomic_load(&reader_turn);
		while (atomic_load(&reader_turn) - turn < 2) /* the grace period */
			sched_yield();
		publish_reclaim(w->p, r);
	}
	atomic_store(&stop, true);
	pthread_join(t, &bad);
	assert_int_equal((uintptr_t)bad, 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {T(add_change_remove), T(rows_are_stable),
		T(nothing_reused_early), T(full_maps_leave_the_service_as_it_was),
		T(many_changes_leak_nothing), T(restart), T(concurrent_reader)};
	return cmocka_run_group_tests_name("publish", tests, NULL, NULL);
}

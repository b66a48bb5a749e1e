/* SPDX-License-Identifier: Apache-2.0
 * The publisher on the real maps. */
#include "programmer.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include "xebec/base/timefmt.h"

#define SWEEP_EVERY (5 * NS_PER_SEC)

const uint32_t programmer_le_us[8] = {50, 100, 250, 500, 1000, 5000, 50000, UINT32_MAX};

struct programmer {
	struct maps *m;
	struct loop *loop;
	struct publisher *pub;
	struct pool *pool;
	int gp_outer, gp_inner; /* the grace-period primitive */
	struct pool_job job;
	struct pub_retired *waiting; /* handed to the job */
	bool busy, sweep_due;
	struct loop_timer timer;
	void (*on_gone)(void *arg);
	void *on_gone_arg;
	struct programmer_stats stats;
	struct xb_gc gc;
	int64_t gc_us;
};

/* ------------------------------------------------------------------ map operations */

union fe_key {
	struct xb4_fe_key v4;
	struct xb6_fe_key v6;
};

/* Its key, and the map where it is one. */
static int fe_key(const struct programmer *p, const struct pub_fe *f, union fe_key *ret)
{
	memset(ret, 0, sizeof *ret);
	if (f->ip.family == 6) {
		ret->v6 = (struct xb6_fe_key){.port = f->port, .proto = f->proto};
		memcpy(ret->v6.addr, f->ip.b, sizeof ret->v6.addr);
		return maps_fd(p->m, MAP_svc6);
	}
	ret->v4 = (struct xb4_fe_key){.port = f->port, .proto = f->proto};
	memcpy(ret->v4.addr, f->ip.b, sizeof ret->v4.addr);
	return maps_fd(p->m, MAP_svc4);
}

static int op_fe_set(void *arg, const struct pub_fe *f)
{
	struct programmer *p = arg;
	union fe_key k;
	int fd = fe_key(p, f, &k);
	return bpf_map_update_elem(fd, &k, &f->fe, BPF_ANY) ? -errno : 0;
}

static int op_fe_del(void *arg, const struct pub_fe *f)
{
	struct programmer *p = arg;
	struct xb_fe now;
	union fe_key k;
	int fd = fe_key(p, f, &k);
	if (bpf_map_lookup_elem(fd, &k, &now))
		return 0;
	if (now.svc != f->fe.svc || now.gen != f->fe.gen)
		return 0; /* another service has taken the address over */
	return bpf_map_delete_elem(fd, &k) ? -errno : 0;
}

static struct xb_srcr_key range_key(uint32_t svc, const struct svc_range *r)
{
	struct xb_srcr_key k = {.prefixlen = 32 + r->prefix, .svc = svc};
	memcpy(k.addr, r->net.b, sizeof k.addr);
	return k;
}

static int op_range_set(void *arg, uint32_t svc, const struct svc_range *r)
{
	struct programmer *p = arg;
	struct xb_srcr_key k = range_key(svc, r);
	uint32_t one = 1;
	return bpf_map_update_elem(maps_fd(p->m, MAP_srcr), &k, &one, BPF_ANY) ? -errno : 0;
}

static int op_range_del(void *arg, uint32_t svc, const struct svc_range *r)
{
	struct programmer *p = arg;
	struct xb_srcr_key k = range_key(svc, r);
	return bpf_map_delete_elem(maps_fd(p->m, MAP_srcr), &k) ? -errno : 0;
}

static void percpu_zero(int fd, uint32_t key, size_t size)
{
	int cpus = libbpf_num_possible_cpus();
	AUTO_FREE void *zeros = cpus > 0 ? calloc((size_t)cpus, size) : NULL;
	if (zeros)
		(void)bpf_map_update_elem(fd, &key, zeros, BPF_ANY);
}

static void op_be_reset(void *arg, uint32_t be)
{
	struct programmer *p = arg;
	percpu_zero(maps_fd(p->m, MAP_be_st), be, sizeof(struct xb_be_st));
	struct xb_open *o = maps_mem(p->m, MAP_be_open);
	if (be < maps_max(p->m, MAP_be_open))
		__atomic_store_n(&o[be].open, 0, __ATOMIC_RELAXED);
}

static void op_svc_reset(void *arg, uint32_t svc)
{
	struct programmer *p = arg;
	percpu_zero(maps_fd(p->m, MAP_svc_st), svc, sizeof(struct xb_svc_st));
}

/* ------------------------------------------------------------------ adoption */

struct adopt {
	struct pub_known *known;
	char (*names)[XB_NAME_LEN];
	struct pub_fe *fes;
	size_t n_known, n_fes, cap_known, cap_fes;
};

static void adopt_free(struct adopt *a)
{
	free(a->known);
	free(a->names);
	free(a->fes);
}

static int adopt_names(struct programmer *p, struct adopt *a)
{
	int fd = maps_fd(p->m, MAP_svc_info);
	uint32_t key, *prev = NULL;
	a->cap_known = maps_max(p->m, MAP_svc_info);
	for (; bpf_map_get_next_key(fd, prev, &key) == 0; prev = &key) {
		struct xb_svc_info info;
		if (bpf_map_lookup_elem(fd, &key, &info))
			continue;
		if ((a->n_known & (a->n_known - 1)) == 0) {
			size_t cap = a->n_known ? a->n_known * 2 : 1;
			void *k = realloc(a->known, cap * sizeof *a->known);
			void *s = k ? realloc(a->names, cap * sizeof *a->names) : NULL;
			a->known = k ? k : a->known;
			if (!s)
				return -ENOMEM;
			a->names = s;
		}
		memcpy(a->names[a->n_known], info.name, XB_NAME_LEN);
		a->names[a->n_known][XB_NAME_LEN - 1] = 0;
		a->known[a->n_known++].svc = key;
	}
	for (size_t i = 0; i < a->n_known; i++)
		a->known[i].name = a->names[i];
	return 0;
}

static struct pub_fe fe_of_key(const union fe_key *k, uint8_t family)
{
	struct pub_fe f = {.ip.family = family};
	if (family == 6) {
		memcpy(f.ip.b, k->v6.addr, sizeof k->v6.addr);
		f.port = k->v6.port;
		f.proto = k->v6.proto;
	} else {
		memcpy(f.ip.b, k->v4.addr, sizeof k->v4.addr);
		f.port = k->v4.port;
		f.proto = k->v4.proto;
	}
	return f;
}

static int adopt_frontends(struct programmer *p, struct adopt *a, uint8_t family)
{
	int fd = maps_fd(p->m, family == 6 ? MAP_svc6 : MAP_svc4);
	union fe_key key, *prev = NULL;
	for (; bpf_map_get_next_key(fd, prev, &key) == 0; prev = &key) {
		struct pub_fe f = fe_of_key(&key, family);
		if (bpf_map_lookup_elem(fd, &key, &f.fe))
			continue;
		if ((a->n_fes & (a->n_fes - 1)) == 0) {
			void *v = realloc(a->fes, (a->n_fes ? a->n_fes * 2 : 1) * sizeof *a->fes);
			if (!v)
				return -ENOMEM;
			a->fes = v;
		}
		a->fes[a->n_fes++] = f;
	}
	return 0;
}

/* Ranges of services that are no more are dropped at once: they would let in whom the next owner of
 * the row shuts out. */
static int adopt_ranges(struct programmer *p)
{
	int fd = maps_fd(p->m, MAP_srcr);
	struct xb_srcr_key key, next;
	bool more = bpf_map_get_next_key(fd, NULL, &next) == 0;
	while (more) {
		key = next;
		more = bpf_map_get_next_key(fd, &key, &next) == 0;
		struct svc_range r = {.prefix = key.prefixlen - 32};
		memcpy(r.net.b, key.addr, sizeof key.addr);
		int rc = publisher_adopt_range(p->pub, key.svc, &r);
		if (rc == -ENOENT)
			(void)bpf_map_delete_elem(fd, &key);
		else if (rc)
			return rc;
	}
	return 0;
}

static int adopt_all(struct programmer *p)
{
	AUTO(adopt_free) struct adopt a = {0};
	int r = adopt_names(p, &a);
	r = r ? r : adopt_frontends(p, &a, 4);
	r = r ? r : adopt_frontends(p, &a, 6);
	r = r ? r : publisher_adopt(p->pub, a.known, a.n_known, a.fes, a.n_fes);
	return r ? r : adopt_ranges(p);
}

/* ------------------------------------------------------------------ background */

/* Replacing an entry of a map of maps returns only after every program that may have seen the old
 * one has ended: a grace period for all our arrays. */
static int grace_open(struct programmer *p)
{
	LIBBPF_OPTS(bpf_map_create_opts, o);
	p->gp_inner = bpf_map_create(BPF_MAP_TYPE_ARRAY, "gp_inner", 4, 8, 1, NULL);
	if (p->gp_inner < 0)
		return -errno;
	o.inner_map_fd = (uint32_t)p->gp_inner;
	p->gp_outer = bpf_map_create(BPF_MAP_TYPE_ARRAY_OF_MAPS, "gp", 4, 4, 1, &o);
	return p->gp_outer < 0 ? -errno : 0;
}

static void grace_wait(struct programmer *p)
{
	uint32_t zero = 0;
	(void)bpf_map_update_elem(p->gp_outer, &zero, &p->gp_inner, BPF_ANY);
}

/* What the sweep has counted is the truth. Flows that began meanwhile are missed until the next. */
static void open_recount(struct programmer *p)
{
	struct xb_open *o = maps_mem(p->m, MAP_be_open);
	for (uint32_t i = 0; i < maps_max(p->m, MAP_be_open); i++)
		if (o[i].open | o[i].seen) {
			__atomic_store_n(&o[i].open, o[i].seen, __ATOMIC_RELAXED);
			o[i].seen = 0;
		}
}

int programmer_sweep(struct programmer *p, struct xb_gc *ret)
{
	struct xb_gc gc = {0};
	/* This type of program writes its results back into ctx_in. */
	LIBBPF_OPTS(bpf_test_run_opts, o, .ctx_in = &gc, .ctx_size_in = sizeof gc);
	int fd = maps_prog_fd_by_name(p->m, "ct_gc");
	int64_t t = time_mono();
	int r = bpf_prog_test_run_opts(fd, &o);
	p->gc_us = (time_mono() - t) / 1000;
	if (r == 0)
		open_recount(p);
	if (r == 0 && ret)
		*ret = gc;
	return r;
}

static void job_work(struct pool_job *j)
{
	struct programmer *p = j->arg;
	if (p->waiting)
		grace_wait(p);
	/* After the rows of vanished backends have changed their generation. */
	(void)programmer_sweep(p, &p->gc);
	if (p->waiting && p->on_gone)
		p->on_gone(p->on_gone_arg);
}

static void job_start(struct programmer *p);

static void job_done(struct pool_job *j)
{
	struct programmer *p = j->arg;
	publish_reclaim(p->pub, p->waiting);
	p->waiting = NULL;
	p->busy = false;
	p->stats.last_gc = p->gc;
	p->stats.last_gc_us = p->gc_us;
	programmer_flush(p);
}

static void job_start(struct programmer *p)
{
	p->busy = true;
	p->sweep_due = false;
	p->job = (struct pool_job){.work = job_work, .done = job_done, .arg = p, .loop = p->loop};
	pool_submit(p->pool, &p->job);
}

void programmer_flush(struct programmer *p)
{
	if (p->busy || !p->loop)
		return;
	p->waiting = publish_retired(p->pub);
	if (p->waiting || p->sweep_due)
		job_start(p);
}

void programmer_settle(struct programmer *p)
{
	struct pub_retired *r = publish_retired(p->pub);
	if (!r)
		return;
	grace_wait(p);
	publish_reclaim(p->pub, r);
	(void)programmer_sweep(p, &p->stats.last_gc);
	if (p->on_gone)
		p->on_gone(p->on_gone_arg);
}

void programmer_on_gone(struct programmer *p, void (*fn)(void *arg), void *arg)
{
	p->on_gone = fn;
	p->on_gone_arg = arg;
}

static void on_timer(struct loop_timer *t)
{
	struct programmer *p = t->arg;
	p->sweep_due = true;
	programmer_flush(p);
	(void)loop_timer_set(p->loop, t, SWEEP_EVERY);
}

/* ------------------------------------------------------------------ life */

int programmer_new(struct maps *m, struct loop *l, struct programmer **ret, struct err *e)
{
	struct programmer *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	*p = (struct programmer){.m = m, .loop = l, .gp_outer = -1, .gp_inner = -1};
	struct pub_arrays a = {maps_mem(m, MAP_svc_tab), maps_mem(m, MAP_be_tab),
		maps_mem(m, MAP_lut), maps_max(m, MAP_svc_tab), maps_max(m, MAP_be_tab),
		maps_max(m, MAP_lut)};
	struct pub_ops ops = {
		op_fe_set, op_fe_del, op_range_set, op_range_del, op_be_reset, op_svc_reset, p};
	int r = publisher_new(&a, &ops, &p->pub);
	r = r ? r : grace_open(p);
	r = r ? r : adopt_all(p);
	if (r == 0 && l) {
		p->pool = pool_new(1);
		r = p->pool ? 0 : -ENOMEM;
		p->timer = (struct loop_timer){.fn = on_timer, .arg = p};
		r = r ? r : loop_timer_set(l, &p->timer, SWEEP_EVERY);
	}
	if (r) {
		programmer_free(p);
		return err_set(e, r, "InternalError", "service maps: %s", strerror(-r));
	}
	struct xb_meta *meta = maps_mem(m, MAP_meta);
	meta->started_ns = (uint64_t)time_now();
	*ret = p;
	return 0;
}

void programmer_free(struct programmer *p)
{
	if (!p)
		return;
	loop_timer_cancel(&p->timer);
	if (p->pool)
		pool_free(p->pool);
	if (p->pub)
		publish_reclaim(p->pub, p->waiting);
	publisher_free(p->pub);
	if (p->gp_outer >= 0)
		(void)close(p->gp_outer);
	if (p->gp_inner >= 0)
		(void)close(p->gp_inner);
	free(p);
}

static void latency_count(struct programmer_stats *s, int64_t us)
{
	size_t i = 0;
	while (i < ARRAY_LEN(programmer_le_us) - 1 && us > programmer_le_us[i])
		i++;
	s->latency_le[i]++;
	s->latency_us_sum += (uint64_t)us;
	s->latency_n++;
}

/* Bookkeeping behind the change itself. */
static void record(struct programmer *p, const struct want_svc *w, const struct pub_result *res,
	uint64_t rv, int64_t since_ns)
{
	int fd = maps_fd(p->m, MAP_svc_info);
	struct xb_meta *meta = maps_mem(p->m, MAP_meta);
	struct xb_svc_info info = {0};
	int64_t us = since_ns ? (time_mono() - since_ns) / 1000 : 0;
	if (!res->is_new)
		(void)bpf_map_lookup_elem(fd, &res->svc, &info);
	(void)snprintf(info.name, sizeof info.name, "%s", w->name);
	info.rv = rv;
	info.programmed_ns = (uint64_t)time_now();
	info.latency_us = (uint32_t)us;
	info.updates++;
	(void)bpf_map_update_elem(fd, &res->svc, &info, BPF_ANY);
	meta->sync_seq++;
	meta->sync_ns = info.programmed_ns;
	p->stats.publishes++;
	if (since_ns)
		latency_count(&p->stats, us);
}

int programmer_set(struct programmer *p, const struct want_svc *w, uint64_t rv, int64_t since_ns,
	struct err *e)
{
	struct pub_result res;
	int r = publish_service(p->pub, w, &res, e);
	if (r) {
		p->stats.failures++;
		p->stats.full = r == -ENOSPC || r == -E2BIG;
		return r;
	}
	if (res.changed)
		record(p, w, &res, rv, since_ns);
	return 0;
}

static void forget(void *arg, uint32_t svc)
{
	struct programmer *p = arg;
	(void)bpf_map_delete_elem(maps_fd(p->m, MAP_svc_info), &svc);
}

void programmer_del(struct programmer *p, const char *name)
{
	uint32_t svc;
	if (publish_remove(p->pub, name, &svc) == 0)
		forget(p, svc);
}

void programmer_synced(struct programmer *p)
{
	(void)publish_sweep(p->pub, forget, p);
	programmer_flush(p);
}

void programmer_stats(const struct programmer *p, struct programmer_stats *ret)
{
	*ret = p->stats;
	ret->usage = publisher_usage(p->pub);
}

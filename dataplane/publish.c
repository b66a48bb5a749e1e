/* SPDX-License-Identifier: Apache-2.0
 * The publisher. */
#include "publish.h"

#include <errno.h>
#include <stdlib.h>
#include "slots.h"
#include "xebec/base/htab.h"

struct pub_svc {
	uint32_t idx;
	uint16_t gen;
	uint8_t proto, family;
	bool seen;     /* asked for since this process started */
	uint32_t *bes; /* rows of be_tab, which says the rest; sorted like want_svc.bes */
	struct pub_fe *fes;
	struct svc_range *ranges;
	size_t n_bes, n_fes, n_ranges;
	uint32_t lut_base, n_cluster, n_local; /* cluster choices, then local ones */
	uint16_t version;
	char name[XB_NAME_LEN];
};

/* Growing list of rows to free. */
struct retire_list {
	uint32_t *v;
	size_t n, cap;
};
struct pub_retired {
	struct retire_list svcs, bes;
	struct run *runs;
	size_t n_runs, cap_runs;
};

struct publisher {
	struct pub_arrays a;
	struct pub_ops ops;
	struct htab *by_name;
	struct ids svc_ids, be_ids;
	struct runs runs;
	struct pub_retired *retired;
};

#define STORE(dst, v) __atomic_store_n(&(dst), (v), __ATOMIC_RELEASE)

static void pub_svc_free(void *v)
{
	struct pub_svc *s = v;
	if (!s)
		return;
	free(s->bes);
	free(s->fes);
	free(s->ranges);
	free(s);
}

static void retired_free(struct pub_retired *r)
{
	if (!r)
		return;
	free(r->svcs.v);
	free(r->bes.v);
	free(r->runs);
	free(r);
}

int publisher_new(const struct pub_arrays *a, const struct pub_ops *ops, struct publisher **ret)
{
	struct publisher *p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->a = *a;
	p->ops = *ops;
	p->by_name = htab_new();
	runs_init(&p->runs, a->n_lut);
	if (!p->by_name || ids_init(&p->svc_ids, a->n_svc) || ids_init(&p->be_ids, a->n_be)) {
		publisher_free(p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

void publisher_free(struct publisher *p)
{
	if (!p)
		return;
	if (p->by_name)
		htab_free(p->by_name, pub_svc_free);
	ids_free(&p->svc_ids);
	ids_free(&p->be_ids);
	slot_runs_free(&p->runs);
	retired_free(p->retired);
	free(p);
}

/* ------------------------------------------------------------------ retiring */

/* A row that cannot be noted for want of memory is lost until the next start: never reused early.
 */
static void retire(struct retire_list *l, uint32_t id)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 16;
		uint32_t *v = realloc(l->v, cap * sizeof *v);
		if (!v)
			return;
		l->v = v;
		l->cap = cap;
	}
	l->v[l->n++] = id;
}

static struct pub_retired *retired_now(struct publisher *p)
{
	if (!p->retired)
		p->retired = calloc(1, sizeof *p->retired);
	return p->retired;
}

static void retire_run(struct publisher *p, uint32_t base, uint32_t len)
{
	struct pub_retired *r = len ? retired_now(p) : NULL;
	if (!r)
		return;
	if (r->n_runs == r->cap_runs) {
		size_t cap = r->cap_runs ? r->cap_runs * 2 : 16;
		struct run *v = realloc(r->runs, cap * sizeof *v);
		if (!v)
			return;
		r->runs = v;
		r->cap_runs = cap;
	}
	r->runs[r->n_runs++] = (struct run){base, len};
}

/* Nobody finds the row from now on; whoever holds its number sees a generation that is not his. */
static void retire_be(struct publisher *p, uint32_t id)
{
	struct xb_be *row = &p->a.be[id];
	struct pub_retired *r = retired_now(p);
	STORE(row->flags, (uint16_t)BE_USED);
	STORE(row->gen, (uint16_t)(row->gen + 1));
	if (r)
		retire(&r->bes, id);
}

struct pub_retired *publish_retired(struct publisher *p)
{
	struct pub_retired *r = p->retired;
	p->retired = NULL;
	return r;
}

void publish_reclaim(struct publisher *p, struct pub_retired *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->bes.n; i++) {
		STORE(p->a.be[r->bes.v[i]].flags, (uint16_t)0);
		ids_put(&p->be_ids, r->bes.v[i]);
	}
	for (size_t i = 0; i < r->svcs.n; i++)
		ids_put(&p->svc_ids, r->svcs.v[i]);
	for (size_t i = 0; i < r->n_runs; i++)
		(void)runs_put(&p->runs, r->runs[i].base, r->runs[i].len);
	retired_free(r);
}

/* ------------------------------------------------------------------ backends */

static int be_key_cmp(const uint8_t a[16], uint16_t ap, const uint8_t b[16], uint16_t bp)
{
	int d = memcmp(a, b, 16);
	return d ? d : ap == bp ? 0 : ap < bp ? -1 : 1;
}

static int row_cmp(const struct xb_be *a, const struct xb_be *b)
{
	return be_key_cmp(a->addr, a->port, b->addr, b->port);
}

static bool be_row_new(
	struct publisher *p, const struct pub_svc *s, const struct want_be *w, uint32_t *out)
{
	uint32_t id = ids_get(&p->be_ids);
	if (!id)
		return false;
	struct xb_be *row = &p->a.be[id];
	uint16_t gen = (uint16_t)(row->gen + 1);
	if (row->gen && p->ops.be_reset)
		p->ops.be_reset(p->ops.arg, id);
	STORE(row->gen, gen); /* first: whoever still holds the number must not match */
	memcpy(row->addr, w->ip.b, sizeof row->addr);
	row->port = w->port;
	row->svc = s->idx;
	row->weight = 1;
	STORE(row->flags, (uint16_t)(w->flags | BE_USED));
	*out = id;
	return true;
}

struct merge {
	uint32_t *bes; /* the wanted ones, in order */
	bool *is_new;
	size_t n;
	bool changed;
};

/* Walks both sorted lists: what stays keeps its row, what is new gets one. */
static int bes_merge(
	struct publisher *p, const struct pub_svc *s, const struct want_svc *w, struct merge *m)
{
	size_t old = 0;
	for (; m->n < w->n_bes; m->n++) {
		const struct want_be *b = &w->bes[m->n];
		int d = -1;
		for (; old < s->n_bes; old++) {
			const struct xb_be *row = &p->a.be[s->bes[old]];
			d = be_key_cmp(row->addr, row->port, b->ip.b, b->port);
			if (d >= 0)
				break;
		}
		if (old < s->n_bes && d == 0) {
			m->bes[m->n] = s->bes[old++];
			continue;
		}
		if (!be_row_new(p, s, b, &m->bes[m->n]))
			return -ENOSPC;
		m->is_new[m->n] = true;
		m->changed = true;
	}
	return 0;
}

static void merge_undo(struct publisher *p, struct merge *m)
{
	for (size_t i = 0; i < m->n; i++)
		if (m->is_new[i]) {
			STORE(p->a.be[m->bes[i]].flags, (uint16_t)0);
			ids_put(&p->be_ids, m->bes[i]);
		}
	free(m->bes);
	free(m->is_new);
}

/* Retires the rows of s that the merge did not keep, and stores changed flags. */
static void bes_commit(
	struct publisher *p, struct pub_svc *s, const struct want_svc *w, struct merge *m)
{
	size_t k = 0;
	for (size_t i = 0; i < s->n_bes; i++) {
		uint32_t old = s->bes[i];
		while (k < m->n && row_cmp(&p->a.be[m->bes[k]], &p->a.be[old]) < 0)
			k++;
		if (k < m->n && m->bes[k] == old)
			continue;
		retire_be(p, old);
		m->changed = true;
	}
	for (size_t i = 0; i < m->n; i++) {
		struct xb_be *row = &p->a.be[m->bes[i]];
		uint16_t flags = (uint16_t)(w->bes[i].flags | BE_USED);
		if (row->flags == flags)
			continue;
		STORE(row->flags, flags);
		m->changed = true;
	}
	free(s->bes);
	s->bes = STEAL(m->bes);
	s->n_bes = m->n;
}

/* ------------------------------------------------------------------ choices */

static struct xb_lut choice(
	const struct publisher *p, const struct merge *m, const struct want_svc *w, uint32_t i)
{
	uint32_t be = i < w->n_cluster ? w->cluster[i] : w->local[i - w->n_cluster];
	return (struct xb_lut){.be = m->bes[be], .gen = p->a.be[m->bes[be]].gen};
}

static bool choices_same(const struct publisher *p, const struct pub_svc *s,
	const struct want_svc *w, const struct merge *m)
{
	if (s->n_cluster != w->n_cluster || s->n_local != w->n_local)
		return false;
	for (uint32_t i = 0; i < s->n_cluster + s->n_local; i++) {
		struct xb_lut want = choice(p, m, w, i);
		const struct xb_lut *have = &p->a.lut[s->lut_base + i];
		if (have->be != want.be || have->gen != want.gen)
			return false;
	}
	return true;
}

#define SEL_MAX 65535u

/* Fills a fresh run. 0 or -ENOSPC. */
static int run_fill(
	struct publisher *p, const struct want_svc *w, const struct merge *m, uint32_t *ret_base)
{
	uint32_t n = (uint32_t)(w->n_cluster + w->n_local);
	uint32_t base = 0;
	int r = n ? runs_get(&p->runs, n, &base) : 0;
	if (r)
		return r;
	for (uint32_t i = 0; i < n; i++)
		p->a.lut[base + i] = choice(p, m, w, i);
	*ret_base = base;
	return 0;
}

static uint16_t sel_count(size_t n)
{
	return (uint16_t)(n > SEL_MAX ? SEL_MAX : n);
}

/* The moment of change: two words, each complete in itself. */
static void select_run(
	struct publisher *p, struct pub_svc *s, const struct want_svc *w, uint32_t base)
{
	struct xb_svc *row = &p->a.svc[s->idx];
	s->version++;
	STORE(row->sel_local.word,
		xb_sel(base + (uint32_t)w->n_cluster, sel_count(w->n_local), s->version));
	STORE(row->sel_cluster.word, xb_sel(base, sel_count(w->n_cluster), s->version));
	retire_run(p, s->lut_base, s->n_cluster + s->n_local);
	s->lut_base = base;
	s->n_cluster = (uint32_t)w->n_cluster;
	s->n_local = (uint32_t)w->n_local;
}

/* ------------------------------------------------------------------ frontends */

static struct pub_fe fe_of(const struct pub_svc *s, const struct want_fe *f)
{
	return (struct pub_fe){.ip = f->ip,
		.port = f->port,
		.proto = s->proto,
		.fe = {.svc = s->idx, .gen = s->gen, .kind = f->kind}};
}

static bool fe_same(const struct pub_fe *a, const struct pub_fe *b)
{
	return memcmp(a->ip.b, b->ip.b, 16) == 0 && a->port == b->port && a->proto == b->proto;
}

static const struct pub_fe *fe_in(const struct pub_fe *set, size_t n, const struct pub_fe *f)
{
	for (size_t i = 0; i < n; i++)
		if (fe_same(&set[i], f))
			return &set[i];
	return NULL;
}

static int fes_sync(struct publisher *p, struct pub_svc *s, const struct want_svc *w, bool *changed)
{
	struct pub_fe *fes = calloc(w->n_fes + 1, sizeof *fes);
	int first = 0;
	if (!fes)
		return -ENOMEM;
	for (size_t i = 0; i < w->n_fes; i++) {
		fes[i] = fe_of(s, &w->fes[i]);
		const struct pub_fe *old = fe_in(s->fes, s->n_fes, &fes[i]);
		if (old && old->fe.kind == fes[i].fe.kind && old->fe.gen == fes[i].fe.gen)
			continue;
		int r = p->ops.fe_set(p->ops.arg, &fes[i]);
		first = first ? first : r;
		*changed = true;
	}
	for (size_t i = 0; i < s->n_fes; i++)
		if (!fe_in(fes, w->n_fes, &s->fes[i])) {
			(void)p->ops.fe_del(p->ops.arg, &s->fes[i]);
			*changed = true;
		}
	free(s->fes);
	s->fes = fes;
	s->n_fes = w->n_fes;
	return first;
}

static bool range_in(const struct svc_range *set, size_t n, const struct svc_range *r)
{
	for (size_t i = 0; i < n; i++)
		if (set[i].prefix == r->prefix && memcmp(set[i].net.b, r->net.b, 16) == 0)
			return true;
	return false;
}

static int ranges_sync(
	struct publisher *p, struct pub_svc *s, const struct want_svc *w, bool *changed)
{
	struct svc_range *ranges = calloc(w->n_ranges + 1, sizeof *ranges);
	int first = 0;
	if (!ranges)
		return -ENOMEM;
	for (size_t i = 0; i < w->n_ranges; i++) {
		ranges[i] = w->ranges[i];
		if (range_in(s->ranges, s->n_ranges, &ranges[i]))
			continue;
		int r = p->ops.range_set(p->ops.arg, s->idx, &ranges[i]);
		first = first ? first : r;
		*changed = true;
	}
	for (size_t i = 0; i < s->n_ranges; i++)
		if (!range_in(ranges, w->n_ranges, &s->ranges[i])) {
			(void)p->ops.range_del(p->ops.arg, s->idx, &s->ranges[i]);
			*changed = true;
		}
	free(s->ranges);
	s->ranges = ranges;
	s->n_ranges = w->n_ranges;
	return first;
}

/* ------------------------------------------------------------------ services */

static struct pub_svc *svc_new(struct publisher *p, const struct want_svc *w)
{
	struct pub_svc *s = calloc(1, sizeof *s);
	uint32_t idx = s ? ids_get(&p->svc_ids) : 0;
	if (!idx) {
		free(s);
		return NULL;
	}
	struct xb_svc *row = &p->a.svc[idx];
	*s = (struct pub_svc){.idx = idx,
		.gen = (uint16_t)(row->gen + 1),
		.proto = w->proto,
		.family = w->family};
	(void)snprintf(s->name, sizeof s->name, "%s", w->name);
	if (row->gen && p->ops.svc_reset)
		p->ops.svc_reset(p->ops.arg, idx);
	STORE(row->gen, s->gen);
	STORE(row->sel_cluster.word, 0);
	STORE(row->sel_local.word, 0);
	row->id = idx;
	row->proto = w->proto;
	row->family = w->family;
	if (htab_put(p->by_name, str_of(s->name), s, NULL)) {
		ids_put(&p->svc_ids, idx);
		free(s);
		return NULL;
	}
	return s;
}

static bool row_options(struct publisher *p, struct pub_svc *s, const struct want_svc *w)
{
	struct xb_svc *row = &p->a.svc[s->idx];
	if (row->flags == w->flags && row->aff_secs == w->aff_secs && row->port == w->port)
		return false;
	row->aff_secs = w->aff_secs;
	row->port = w->port;
	STORE(row->flags, w->flags);
	return true;
}

/* Everything that can fail for want of room comes before the first visible store. */
static int svc_update(
	struct publisher *p, struct pub_svc *s, const struct want_svc *w, bool *changed)
{
	struct merge m = {.bes = calloc(w->n_bes + 1, sizeof *m.bes),
		.is_new = calloc(w->n_bes + 1, sizeof *m.is_new)};
	uint32_t base = 0;
	int r = m.bes && m.is_new ? bes_merge(p, s, w, &m) : -ENOMEM;
	bool same = r == 0 && choices_same(p, s, w, &m);
	if (r == 0 && !same)
		r = run_fill(p, w, &m, &base);
	if (r) {
		merge_undo(p, &m);
		return r;
	}
	*changed |= row_options(p, s, w);
	bool narrowed = false;
	r = ranges_sync(p, s, w, &narrowed); /* before the frontend can be found */
	if (!same)
		select_run(p, s, w, base);
	bes_commit(p, s, w, &m);
	free(m.is_new);
	*changed |= m.changed | !same | narrowed;
	int r2 = fes_sync(p, s, w, changed);
	return r ? r : r2;
}

int publish_service(
	struct publisher *p, const struct want_svc *w, struct pub_result *ret, struct err *e)
{
	struct pub_svc *s = htab_get(p->by_name, str_of(w->name));
	bool is_new = !s, changed = is_new;
	if (is_new)
		s = svc_new(p, w);
	if (!s)
		return err_set(e, ENOSPC, "InsufficientStorage",
			"%s: map svc_tab is full (%u rows)", w->name, p->a.n_svc);
	int r = svc_update(p, s, w, &changed);
	s->seen = true;
	if (r && is_new)
		(void)publish_remove(p, w->name, NULL);
	if (r)
		return err_set(e, r, "InsufficientStorage",
			"%s: %s (backends %u of %u, choices %u of %u)", w->name, strerror(-r),
			p->be_ids.used, p->a.n_be, p->runs.used, p->a.n_lut);
	*ret = (struct pub_result){.svc = s->idx, .changed = changed, .is_new = is_new};
	return 0;
}

int publish_remove(struct publisher *p, const char *name, uint32_t *ret_svc)
{
	struct pub_svc *s = htab_del(p->by_name, str_of(name));
	if (!s)
		return -ENOENT;
	struct xb_svc *row = &p->a.svc[s->idx];
	for (size_t i = 0; i < s->n_fes; i++)
		(void)p->ops.fe_del(p->ops.arg, &s->fes[i]);
	for (size_t i = 0; i < s->n_ranges; i++)
		(void)p->ops.range_del(p->ops.arg, s->idx, &s->ranges[i]);
	STORE(row->sel_local.word, 0);
	STORE(row->sel_cluster.word, 0);
	STORE(row->gen, (uint16_t)(row->gen + 1));
	retire_run(p, s->lut_base, s->n_cluster + s->n_local);
	for (size_t i = 0; i < s->n_bes; i++)
		retire_be(p, s->bes[i]);
	struct pub_retired *r = retired_now(p);
	if (r)
		retire(&r->svcs, s->idx);
	if (ret_svc)
		*ret_svc = s->idx;
	pub_svc_free(s);
	return 0;
}

int publish_sweep(struct publisher *p, void (*gone)(void *arg, uint32_t svc), void *arg)
{
	int n = 0;
	htab_each (p->by_name, it) {
		struct pub_svc *s = it.value;
		uint32_t idx;
		char name[XB_NAME_LEN];
		if (s->seen)
			continue;
		(void)snprintf(name, sizeof name, "%s", s->name);
		if (publish_remove(p, name, &idx) == 0) {
			gone(arg, idx);
			n++;
		}
	}
	return n;
}

struct pub_usage publisher_usage(const struct publisher *p)
{
	return (struct pub_usage){p->svc_ids.used, p->be_ids.used, p->runs.used};
}

/* ------------------------------------------------------------------ adoption */

static struct pub_svc *adopt_row(struct publisher *p, const struct pub_known *k)
{
	struct xb_svc *row = &p->a.svc[k->svc];
	struct pub_svc *s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	*s = (struct pub_svc){.idx = k->svc,
		.gen = row->gen,
		.proto = row->proto,
		.family = row->family,
		.lut_base = xb_sel_base(row->sel_cluster.word),
		.n_cluster = xb_sel_count(row->sel_cluster.word),
		.n_local = xb_sel_count(row->sel_local.word),
		.version = (uint16_t)(row->sel_cluster.word >> 48)};
	(void)snprintf(s->name, sizeof s->name, "%s", k->name);
	return s;
}

static int adopted_cmp(const void *a, const void *b, void *arg)
{
	const struct publisher *p = arg;
	return row_cmp(&p->a.be[*(const uint32_t *)a], &p->a.be[*(const uint32_t *)b]);
}

/* Appends to a list that doubles at every power of two. */
static void *grown(void *v, size_t n, size_t size)
{
	return n == 0 || (n & (n - 1)) == 0 ? realloc(v, (n ? n * 2 : 1) * size) : v;
}

/* Rows of backends: to the service that they name; of an unknown one: cleared. */
static int adopt_backends(struct publisher *p, struct pub_svc **by_idx, uint64_t *bits)
{
	for (uint32_t id = 1; id < p->a.n_be; id++) {
		struct xb_be *row = &p->a.be[id];
		if (!(row->flags & BE_USED))
			continue;
		struct pub_svc *s = row->svc < p->a.n_svc ? by_idx[row->svc] : NULL;
		if (!s) {
			row->flags = 0;
			continue;
		}
		uint32_t *v = grown(s->bes, s->n_bes, sizeof *v);
		if (!v)
			return -ENOMEM;
		s->bes = v;
		s->bes[s->n_bes++] = id;
		bits[id / 64] |= 1ull << id % 64;
	}
	return 0;
}

static int run_cmp(const void *a, const void *b)
{
	const struct run *x = a, *y = b;
	return x->base < y->base ? -1 : x->base > y->base;
}

static int adopt_runs(struct publisher *p)
{
	AUTO_FREE struct run *v = calloc(htab_len(p->by_name) + 1, sizeof *v);
	size_t n = 0;
	if (!v)
		return -ENOMEM;
	htab_each (p->by_name, it) {
		struct pub_svc *s = it.value;
		if (s->n_cluster + s->n_local)
			v[n++] = (struct run){s->lut_base, s->n_cluster + s->n_local};
		/* Without cluster choices the local ones start the run. */
		if (s->n_bes)
			qsort_r(s->bes, s->n_bes, sizeof *s->bes, adopted_cmp, p);
	}
	qsort(v, n, sizeof *v, run_cmp);
	return runs_adopt(&p->runs, v, n);
}

static int adopt_fes(struct pub_svc **by_idx, uint32_t max, const struct publisher *p,
	const struct pub_fe *fes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct pub_svc *s = fes[i].fe.svc < max ? by_idx[fes[i].fe.svc] : NULL;
		if (!s || s->gen != fes[i].fe.gen) {
			(void)p->ops.fe_del(p->ops.arg, &fes[i]);
			continue;
		}
		struct pub_fe *v = grown(s->fes, s->n_fes, sizeof *v);
		if (!v)
			return -ENOMEM;
		s->fes = v;
		s->fes[s->n_fes++] = fes[i];
	}
	return 0;
}

int publisher_adopt(struct publisher *p, const struct pub_known *known, size_t n_known,
	const struct pub_fe *fes, size_t n_fes)
{
	AUTO_FREE struct pub_svc **by_idx = calloc(p->a.n_svc, sizeof *by_idx);
	AUTO_FREE uint64_t *svc_bits = calloc(p->a.n_svc / 64 + 1, 8);
	AUTO_FREE uint64_t *be_bits = calloc(p->a.n_be / 64 + 1, 8);
	if (!by_idx || !svc_bits || !be_bits)
		return -ENOMEM;
	for (size_t i = 0; i < n_known; i++) {
		uint32_t idx = known[i].svc;
		if (idx == 0 || idx >= p->a.n_svc || by_idx[idx] ||
			htab_get(p->by_name, str_of(known[i].name)))
			continue;
		struct pub_svc *s = adopt_row(p, &known[i]);
		if (!s || htab_put(p->by_name, str_of(s->name), s, NULL))
			return -ENOMEM;
		by_idx[idx] = s;
		svc_bits[idx / 64] |= 1ull << idx % 64;
	}
	int r = adopt_backends(p, by_idx, be_bits);
	r = r ? r : adopt_fes(by_idx, p->a.n_svc, p, fes, n_fes);
	r = r ? r : adopt_runs(p);
	ids_adopt(&p->svc_ids, svc_bits);
	ids_adopt(&p->be_ids, be_bits);
	return r;
}

int publisher_adopt_range(struct publisher *p, uint32_t svc, const struct svc_range *r)
{
	htab_each (p->by_name, it) {
		struct pub_svc *s = it.value;
		if (s->idx != svc)
			continue;
		struct svc_range *v = grown(s->ranges, s->n_ranges, sizeof *v);
		if (!v)
			return -ENOMEM;
		s->ranges = v;
		s->ranges[s->n_ranges++] = *r;
		s->ranges[s->n_ranges - 1].net.family = s->family;
		return 0;
	}
	return -ENOENT;
}

/* SPDX-License-Identifier: Apache-2.0
 * Prometheus text: requests by verb, resource and code, their latency, watchers, store, memory. */
#include "apiserver/internal.h"

#include <errno.h>

enum { CODE_CLASSES = 6, BUCKETS = 9 };
static const double bucket_seconds[BUCKETS] = {0.0005, 0.001, 0.005, 0.025, 0.1, 0.5, 1, 5, 60};

struct metrics {
	/* by kind (the last row: no kind), verb, code / 100 */
	_Atomic uint64_t *counts;
	size_t kinds;
	_Atomic uint64_t latency[V_OTHER + 1][BUCKETS + 1];
	_Atomic uint64_t latency_ns[V_OTHER + 1];
};

static _Atomic uint64_t *cell(struct metrics *m, size_t kind, enum verb v, int class)
{
	return &m->counts[(kind * (V_OTHER + 1) + v) * CODE_CLASSES + (size_t) class];
}

struct metrics *metrics_new(void)
{
	struct metrics *m = calloc(1, sizeof(*m));
	if (!m)
		return NULL;
	m->kinds = kind_count() + 1;
	m->counts = calloc(m->kinds * (V_OTHER + 1) * CODE_CLASSES, sizeof(*m->counts));
	if (!m->counts) {
		free(m);
		return NULL;
	}
	return m;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	free(m->counts);
	free(m);
}

static size_t kind_index(const struct metrics *m, const struct kind *k)
{
	const struct kind *first = kind_count() ? kind_at(0) : NULL;
	if (!k || k < first || k >= first + m->kinds - 1)
		return m->kinds - 1;
	return (size_t)(k - first);
}

void metrics_count(struct metrics *m, enum verb v, const struct kind *k, int status, int64_t ns)
{
	int class = status / 100;
	if (class < 0 || class >= CODE_CLASSES)
		class = 0;
	atomic_fetch_add_explicit(cell(m, kind_index(m, k), v, class), 1, memory_order_relaxed);
	if (v == V_WATCH || v == V_CONNECT)
		return; /* their length says nothing */
	size_t b = 0;
	while (b < BUCKETS && (double)ns > bucket_seconds[b] * 1e9)
		b++;
	atomic_fetch_add_explicit(&m->latency[v][b], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&m->latency_ns[v], (uint64_t)ns, memory_order_relaxed);
}

static void write_counts(struct metrics *m, struct buf *out)
{
	buf_adds(out,
		"# HELP apiserver_request_total Requests by verb, resource and class of code.\n"
		"# TYPE apiserver_request_total counter\n");
	for (size_t k = 0; k < m->kinds; k++)
		for (int v = 0; v <= V_OTHER; v++)
			for (int c = 0; c < CODE_CLASSES; c++) {
				uint64_t n = atomic_load(cell(m, k, (enum verb)v, c));
				const struct kind *kd = k + 1 < m->kinds ? kind_at(k) : NULL;
				if (!n)
					continue;
				buf_addf(out,
					"apiserver_request_total{verb=\"%s\",group=\"%s\",version="
					"\"%s\","
					"resource=\"%s\",code=\"%dxx\"} %llu\n",
					verb_names[v], kd ? kd->group : "", kd ? kd->version : "",
					kd ? kd->plural : "", c, (unsigned long long)n);
			}
}

static void write_latency(struct metrics *m, struct buf *out)
{
	buf_adds(out, "# HELP apiserver_request_duration_seconds Time to answer, by verb.\n"
		      "# TYPE apiserver_request_duration_seconds histogram\n");
	for (int v = 0; v <= V_OTHER; v++) {
		uint64_t sum = 0;
		for (size_t b = 0; b <= BUCKETS; b++)
			sum += atomic_load(&m->latency[v][b]);
		if (!sum)
			continue;
		uint64_t cum = 0;
		for (size_t b = 0; b < BUCKETS; b++) {
			cum += atomic_load(&m->latency[v][b]);
			buf_addf(out,
				"apiserver_request_duration_seconds_bucket{verb=\"%s\",le=\"%g\"} "
				"%llu\n",
				verb_names[v], bucket_seconds[b], (unsigned long long)cum);
		}
		buf_addf(out,
			"apiserver_request_duration_seconds_bucket{verb=\"%s\",le=\"+Inf\"} %llu\n"
			"apiserver_request_duration_seconds_sum{verb=\"%s\"} %.6f\n"
			"apiserver_request_duration_seconds_count{verb=\"%s\"} %llu\n",
			verb_names[v], (unsigned long long)sum, verb_names[v],
			(double)atomic_load(&m->latency_ns[v]) / 1e9, verb_names[v],
			(unsigned long long)sum);
	}
}

static void write_cache(struct apiserver *s, struct buf *out)
{
	buf_adds(out, "# HELP apiserver_storage_objects Objects in the watch cache.\n"
		      "# TYPE apiserver_storage_objects gauge\n");
	for (size_t i = 0; i < s->cache->n_res; i++) {
		struct cache_res *r = &s->cache->res[i];
		struct omap_snap *snap = cache_snapshot(r, NULL);
		size_t n = snap ? omap_snap_len(snap) : 0;
		omap_snap_free(snap);
		if (n)
			buf_addf(out, "apiserver_storage_objects{resource=\"%s%s%s\"} %zu\n",
				r->kind->plural, *r->kind->group ? "." : "", r->kind->group, n);
	}
	buf_adds(out, "# HELP apiserver_longrunning_requests Watches under way.\n"
		      "# TYPE apiserver_longrunning_requests gauge\n");
	for (size_t i = 0; i < s->cache->n_res; i++) {
		struct cache_res *r = &s->cache->res[i];
		size_t n = atomic_load(&r->n_watchers);
		if (n)
			buf_addf(out,
				"apiserver_longrunning_requests{verb=\"watch\",resource=\"%s%s%s\"}"
				" %zu\n",
				r->kind->plural, *r->kind->group ? "." : "", r->kind->group, n);
	}
}

static void write_store(struct apiserver *s, struct buf *out)
{
	struct store_stats st = {0};
	store_stats(s->store, &st);
	const struct {
		const char *name;
		double value;
	} rows[] = {
		{"xebec_store_revision", (double)st.rev},
		{"xebec_store_compact_revision", (double)st.compact_rev},
		{"xebec_store_keys", (double)st.keys},
		{"xebec_store_bytes", (double)st.bytes_live},
		{"xebec_store_wal_bytes", (double)st.wal_bytes},
		{"xebec_store_fsyncs_total", (double)st.fsyncs},
		{"xebec_store_commits_total", (double)st.commits},
		{"xebec_store_fsync_seconds_total", (double)st.fsync_ns_total / 1e9},
		{"xebec_store_fsync_seconds_max", (double)st.fsync_ns_max / 1e9},
		{"xebec_store_snapshot_revision", (double)st.snapshot_rev},
		{"xebec_store_snapshot_errors_total", (double)st.snapshot_errors},
		{"xebec_cache_revision", (double)atomic_load(&s->cache->rev)},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		buf_addf(out, "%s %.17g\n", rows[i].name, rows[i].value);
}

static void write_process(struct buf *out)
{
	AUTO_BUF struct buf b = {0};
	uint64_t pages = 0;
	if (file_read("/proc/self/statm", 4096, &b) == 0) {
		struct str s = buf_str(&b);
		(void)str_cut(&s, ' ');
		(void)str_u64(str_cut(&s, ' '), &pages);
	}
	buf_addf(out,
		"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes %llu\n",
		(unsigned long long)pages * (unsigned long long)sysconf(_SC_PAGESIZE));
}

void metrics_write(struct apiserver *s, struct buf *out)
{
	write_counts(s->metrics, out);
	write_latency(s->metrics, out);
	write_cache(s, out);
	write_store(s, out);
	write_process(out);
}

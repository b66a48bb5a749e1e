/* SPDX-License-Identifier: Apache-2.0
 * kube-proxy's metric names. */
#include "kpmetrics.h"

#include "xebec/base/timefmt.h"

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
	buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void histogram(struct buf *b, const char *name, const char *help, const uint64_t le[12],
	const uint32_t bounds[12], double unit, uint64_t n, uint64_t ns_sum)
{
	uint64_t sum = 0;
	head(b, name, "histogram", help);
	for (size_t i = 0; i < 12; i++) {
		sum += le[i];
		if (bounds[i] == UINT32_MAX)
			buf_addf(b, "%s_bucket{le=\"+Inf\"} %lu\n", name, sum);
		else
			buf_addf(b, "%s_bucket{le=\"%g\"} %lu\n", name, bounds[i] * unit, sum);
	}
	buf_addf(b, "%s_sum %g\n%s_count %lu\n", name, (double)ns_sum / 1e9, name, n);
}

static void seconds(struct buf *b, const char *name, const char *help, int64_t ns)
{
	head(b, name, "gauge", help);
	buf_addf(b, "%s %.6f\n", name, (double)ns / 1e9);
}

static void codes(struct buf *b, const char *name, const char *help, uint64_t ok, uint64_t bad)
{
	head(b, name, "counter", help);
	buf_addf(b, "%s{code=\"200\"} %lu\n%s{code=\"503\"} %lu\n", name, ok, name, bad);
}

void kpmetrics_add(const struct svcwatch_stats *s, const struct health_counts *h, struct buf *b)
{
	histogram(b, "kubeproxy_sync_proxy_rules_duration_seconds",
		"Time that one round of programming took.", s->sync_le, svcwatch_sync_le_us, 1e-6,
		s->syncs, s->sync_ns_sum);
	histogram(b, "kubeproxy_network_programming_duration_seconds",
		"From the change of an endpoint to the kernel.", s->net_le, svcwatch_net_le_ms,
		1e-3, s->net_n, s->net_ns_sum);
	seconds(b, "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
		"When services were last programmed.", s->last_sync);
	seconds(b, "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
		"When a change last came in.", s->last_queued);
	head(b, "kubeproxy_sync_proxy_rules_service_changes_total", "counter",
		"Changes of Services seen.");
	buf_addf(b, "kubeproxy_sync_proxy_rules_service_changes_total %lu\n", s->service_changes);
	head(b, "kubeproxy_sync_proxy_rules_endpoint_changes_total", "counter",
		"Changes of EndpointSlices seen.");
	buf_addf(b, "kubeproxy_sync_proxy_rules_endpoint_changes_total %lu\n", s->slice_changes);
	head(b, "kubeproxy_sync_proxy_rules_service_changes_pending", "gauge",
		"Services whose change is not yet in the kernel.");
	buf_addf(
		b, "kubeproxy_sync_proxy_rules_service_changes_pending %zu\n", s->services_pending);
	head(b, "kubeproxy_sync_proxy_rules_no_local_endpoints_total", "gauge",
		"Services with policy Local that have endpoints, but none on this node.");
	buf_addf(b,
		"kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=\"internal\"} "
		"%zu\n"
		"kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=\"external\"} "
		"%zu\n",
		s->no_local_internal, s->no_local_external);
	codes(b, "kubeproxy_proxy_healthz_total", "Answers of /healthz.", h->healthz_ok,
		h->healthz_bad);
	codes(b, "kubeproxy_proxy_livez_total", "Answers of /livez.", h->livez_ok, h->livez_bad);
}

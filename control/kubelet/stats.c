/* SPDX-License-Identifier: Apache-2.0
 * Figures about the node and its containers: /stats/summary, /metrics, /metrics/resource. */
#include <sys/sysinfo.h>
#include "kubelet/server.h"
#include "xebec/base/timefmt.h"

enum stats_form { FORM_SUMMARY, FORM_RESOURCE };

struct stats_req {
	struct kubelet *k;
	struct http_exchange *x;
	enum stats_form form;
	struct cri_call *call;
};

static int64_t value(const json_t *row, const char *path)
{
	return json_i64(json_at(row, path), "value", 0);
}

/* CPU time used by the whole machine, ns, and memory in use without caches. */
static void node_usage(int64_t *cpu_ns, int64_t *mem)
{
	AUTO_BUF struct buf b = {0};
	long long u = 0, n = 0, s = 0;
	struct sysinfo si = {0};
	if (file_read("/proc/stat", 1 << 20, &b) == 0 && b.p)
		(void)sscanf(b.p, "cpu %lld %lld %lld", &u, &n, &s);
	*cpu_ns = (u + n + s) * (NS_PER_SEC / sysconf(_SC_CLK_TCK));
	buf_clear(&b);
	long long avail = 0;
	const char *at = file_read("/proc/meminfo", 1 << 16, &b) == 0 && b.p
				 ? strstr(b.p, "MemAvailable:")
				 : NULL;
	if (at)
		(void)sscanf(at, "MemAvailable: %lld", &avail);
	(void)sysinfo(&si);
	*mem = (int64_t)si.totalram * si.mem_unit - avail * 1024;
}

static const char *label(const json_t *row, const char *name)
{
	const char *v = json_string_value(json_object_get(json_at(row, "attributes.labels"), name));
	return v ? v : "";
}

static json_t *usage_json(const json_t *row, const char *now)
{
	return json_pack("{s:s, s:{s:s, s:I, s:I}, s:{s:s, s:I, s:I, s:I}, s:{s:s, s:I}}", "name",
		label(row, "io.kubernetes.container.name"), "cpu", "time", now, "usageNanoCores",
		(json_int_t)value(row, "cpu.usage_nano_cores"), "usageCoreNanoSeconds",
		(json_int_t)value(row, "cpu.usage_core_nano_seconds"), "memory", "time", now,
		"usageBytes", (json_int_t)value(row, "memory.usage_bytes"), "workingSetBytes",
		(json_int_t)value(row, "memory.working_set_bytes"), "rssBytes",
		(json_int_t)value(row, "memory.rss_bytes"), "rootfs", "time", now, "usedBytes",
		(json_int_t)value(row, "writable_layer.used_bytes"));
}

static json_t *pod_stats(struct pod *p, const json_t *rows, const char *now)
{
	json_t *list = json_array(), *row;
	int64_t cpu = 0, nano = 0, mem = 0;
	size_t i;
	json_array_foreach (rows, i, row) {
		if (strcmp(label(row, "io.kubernetes.pod.uid"), p->uid) != 0)
			continue;
		cpu += value(row, "cpu.usage_core_nano_seconds");
		nano += value(row, "cpu.usage_nano_cores");
		mem += value(row, "memory.working_set_bytes");
		(void)json_array_append_new(list, usage_json(row, now));
	}
	return json_pack("{s:{s:s, s:s, s:s}, s:o, s:{s:s, s:I, s:I}, s:{s:s, s:I}}", "podRef",
		"name", p->name, "namespace", p->ns, "uid", p->uid, "containers", list, "cpu",
		"time", now, "usageNanoCores", (json_int_t)nano, "usageCoreNanoSeconds",
		(json_int_t)cpu, "memory", "time", now, "workingSetBytes", (json_int_t)mem);
}

static void write_summary(struct kubelet *k, const json_t *rows, struct buf *out)
{
	char now[21];
	int64_t cpu, mem;
	time_rfc3339(time_now(), now);
	node_usage(&cpu, &mem);
	json_t *pods = json_array();
	list_each (it, &k->pods)
		(void)json_array_append_new(
			pods, pod_stats(list_entry(it, struct pod, link), rows, now));
	AUTO_JSON json_t *o =
		json_pack("{s:{s:s, s:{s:s, s:I}, s:{s:s, s:I}}, s:o}", "node", "nodeName",
			k->c.node_name, "cpu", "time", now, "usageCoreNanoSeconds", (json_int_t)cpu,
			"memory", "time", now, "workingSetBytes", (json_int_t)mem, "pods", pods);
	json_write(o, out);
	buf_addc(out, '\n');
}

static void write_resource(struct kubelet *k, const json_t *rows, struct buf *out)
{
	int64_t cpu, mem;
	size_t i;
	json_t *row;
	(void)k;
	node_usage(&cpu, &mem);
	buf_addf(out,
		"# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total %.6f\n"
		"# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes %lld\n"
		"# TYPE container_cpu_usage_seconds_total counter\n"
		"# TYPE container_memory_working_set_bytes gauge\n",
		(double)cpu / 1e9, (long long)mem);
	json_array_foreach (rows, i, row) {
		AUTO_BUF struct buf l = {0};
		buf_addf(&l, "{container=\"%s\",namespace=\"%s\",pod=\"%s\"}",
			label(row, "io.kubernetes.container.name"),
			label(row, "io.kubernetes.pod.namespace"),
			label(row, "io.kubernetes.pod.name"));
		buf_addf(out,
			"container_cpu_usage_seconds_total%s %.6f\n"
			"container_memory_working_set_bytes%s %lld\n",
			l.p, (double)value(row, "cpu.usage_core_nano_seconds") / 1e9, l.p,
			(long long)value(row, "memory.working_set_bytes"));
	}
}

static void on_stats(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct stats_req *r = arg;
	struct http_exchange *x = r->x;
	AUTO_BUF struct buf b = {0};
	(void)status;
	x->user = NULL;
	x->on_close = NULL;
	if (e)
		http_reply(x, 500, "text/plain", str_of(e->msg), NULL, 0);
	else if (r->form == FORM_SUMMARY) {
		write_summary(r->k, json_object_get(resp, "stats"), &b);
		http_reply(x, 200, "application/json", buf_str(&b), NULL, 0);
	} else {
		write_resource(r->k, json_object_get(resp, "stats"), &b);
		http_reply(x, 200, "text/plain; version=0.0.4", buf_str(&b), NULL, 0);
	}
	free(r);
}

static void on_close(struct http_exchange *x)
{
	struct stats_req *r = x->user;
	if (!r)
		return;
	r->k->cri->ops->cancel(r->call);
	free(r);
}

static void ask(struct kubelet *k, struct http_exchange *x, enum stats_form form)
{
	struct stats_req *r = calloc(1, sizeof(*r));
	if (!r) {
		http_reply(x, 500, "text/plain", STR("out of memory"), NULL, 0);
		return;
	}
	*r = (struct stats_req){.k = k, .x = x, .form = form};
	x->user = r;
	x->on_close = on_close;
	r->call = cri_send(k->cri, CRI_ListContainerStats, json_object(), on_stats, r);
	if (!r->call) {
		x->user = NULL;
		x->on_close = NULL;
		free(r);
		http_reply(x, 500, "text/plain", STR("out of memory"), NULL, 0);
	}
}

void stats_summary(struct kubelet *k, struct http_exchange *x)
{
	ask(k, x, FORM_SUMMARY);
}

void stats_resource(struct kubelet *k, struct http_exchange *x)
{
	ask(k, x, FORM_RESOURCE);
}

void stats_metrics(struct kubelet *k, struct http_exchange *x)
{
	AUTO_BUF struct buf b = {0};
	size_t running = 0;
	list_each (it, &k->pods) {
		struct pod *p = list_entry(it, struct pod, link);
		for (size_t i = 0; i < p->n_slots; i++)
			running += p->slots[i].has_cur && p->slots[i].cur.state == INST_RUNNING;
	}
	buf_addf(&b,
		"# HELP xebec_kubelet_pods Pods bound to this node.\n# TYPE xebec_kubelet_pods "
		"gauge\n"
		"xebec_kubelet_pods %zu\n"
		"# HELP xebec_kubelet_running_containers Containers that run.\n"
		"# TYPE xebec_kubelet_running_containers gauge\nxebec_kubelet_running_containers "
		"%zu\n"
		"# HELP xebec_kubelet_started_containers_total Containers started.\n"
		"# TYPE xebec_kubelet_started_containers_total counter\n"
		"xebec_kubelet_started_containers_total %llu\n"
		"# HELP xebec_kubelet_restarts_total Containers started again.\n"
		"# TYPE xebec_kubelet_restarts_total counter\nxebec_kubelet_restarts_total %llu\n"
		"# HELP xebec_kubelet_pod_start_seconds From seeing a pod to reporting it "
		"Running.\n"
		"# TYPE xebec_kubelet_pod_start_seconds summary\n"
		"xebec_kubelet_pod_start_seconds_sum %.6f\nxebec_kubelet_pod_start_seconds_count "
		"%llu\n"
		"# HELP xebec_kubelet_runtime_up The container runtime answers and is ready.\n"
		"# TYPE xebec_kubelet_runtime_up gauge\nxebec_kubelet_runtime_up %d\n",
		k->n_pods, running, (unsigned long long)k->n_started,
		(unsigned long long)k->n_restarts, (double)k->start_ns_total / 1e9,
		(unsigned long long)k->n_synced, k->runtime_up);
	http_reply(x, 200, "text/plain; version=0.0.4", buf_str(&b), NULL, 0);
}

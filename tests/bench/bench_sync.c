/* SPDX-License-Identifier: Apache-2.0
 * A node joins a cluster of 10,000 services with 50 endpoints each: time from process start (maps
 * made, programs loaded, every list read) to the last service in the kernel, memory afterwards, and
 * how long one endpoint's change takes then. The lists are replayed from memory through the
 * in-process transport, in pages of 500 as an API server sends them; objects are as large as
 * Kubernetes' own. What is left out is the network and TLS. Prints "name value unit" lines. */
#include <errno.h>
#include <malloc.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "svcwatch.h"
#include "xebec/base/timefmt.h"

#define SERVICES  10000
#define ENDPOINTS 50
#define PAGE	  500
#define PAGES	  (SERVICES / PAGE)
#define CHANGES	  300

struct page {
	size_t at, len;
};
struct replay {
	char *mem; /* shared: made once, read by the child */
	size_t len;
	struct page services[PAGES], slices[PAGES];
	struct loop *loop;
	struct http_exchange *watch; /* of slices */
	bool synced;
};

static void must(int r, const char *what, const struct err *e)
{
	if (r >= 0)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, e && e->msg[0] ? e->msg : strerror(-r));
	exit(1);
}

/* ------------------------------------------------------------------ objects */

static void meta(struct buf *b, const char *prefix, int i, unsigned rv, const char *more)
{
	buf_addf(b,
		"{\"metadata\":{\"name\":\"%s%d\",\"namespace\":\"default\",\"uid\":\"%08x-1e24-"
		"4b45-9e0b-3c1fd1a8b5e0\",\"resourceVersion\":\"%u\",\"generation\":1,"
		"\"creationTimestamp\":\"2026-11-23T10:00:00Z\"%s}",
		prefix, i, (unsigned)i, rv, more);
}

static void service_add(struct buf *b, int i)
{
	meta(b, "s", i, 5, "");
	buf_addf(b,
		",\"spec\":{\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":80,"
		"\"targetPort\":8080}],\"selector\":{\"app\":\"s%d\"},\"clusterIP\":"
		"\"10.96.%d.%d\",\"clusterIPs\":[\"10.96.%d.%d\"],\"type\":\"ClusterIP\","
		"\"sessionAffinity\":\"None\",\"ipFamilies\":[\"IPv4\"],\"ipFamilyPolicy\":"
		"\"SingleStack\",\"internalTrafficPolicy\":\"Cluster\"},\"status\":{"
		"\"loadBalancer\":{}}}",
		i, i >> 8, i & 255, i >> 8, i & 255);
}

static void slice_add(struct buf *b, int i, unsigned rv, int ready)
{
	char labels[160];
	(void)snprintf(labels, sizeof labels,
		",\"labels\":{\"endpointslice.kubernetes.io/managed-by\":"
		"\"endpointslice-controller.k8s.io\",\"kubernetes.io/service-name\":\"s%d\"}",
		i);
	meta(b, "x", i, rv, labels);
	buf_adds(b, ",\"addressType\":\"IPv4\",\"endpoints\":[");
	for (int k = 0; k < ENDPOINTS; k++)
		buf_addf(b,
			"%s{\"addresses\":[\"10.%d.%d.%d\"],\"conditions\":{\"ready\":%s,"
			"\"serving\":true,\"terminating\":false},\"nodeName\":\"node-%d\","
			"\"targetRef\":{\"kind\":\"Pod\",\"name\":\"s%d-7d9c6b8f4d-x%02dzq\","
			"\"namespace\":\"default\",\"uid\":\"%08x-5d0c-47c1-8a6b-9f3f2f6c%04x\"}}",
			k ? "," : "", 100 + k, i >> 8, i & 255, k < ready ? "true" : "false",
			(i * 7 + k) % 1000, i, k, (unsigned)i, (unsigned)k);
	buf_adds(b, "],\"ports\":[{\"name\":\"http\",\"protocol\":\"TCP\",\"port\":8080}]}");
}

static void pages_make(struct replay *r)
{
	struct buf b = {0};
	for (int kind = 0; kind < 2; kind++)
		for (int p = 0; p < PAGES; p++) {
			struct page *page = kind ? &r->slices[p] : &r->services[p];
			page->at = b.len;
			buf_addf(&b, "{\"kind\":\"List\",\"apiVersion\":\"v1\",\"metadata\":{"
				     "\"resourceVersion\":\"10\"");
			if (p + 1 < PAGES)
				buf_addf(&b, ",\"continue\":\"%d\"", p + 1);
			buf_adds(&b, "},\"items\":[");
			for (int i = p * PAGE; i < (p + 1) * PAGE; i++) {
				if (i != p * PAGE)
					buf_addc(&b, ',');
				if (kind)
					slice_add(&b, i, 5, ENDPOINTS);
				else
					service_add(&b, i);
			}
			buf_adds(&b, "]}");
			page->len = b.len - page->at;
		}
	r->mem = mmap(NULL, b.len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(r->mem == MAP_FAILED || b.err ? -ENOMEM : 0, "bodies", NULL);
	memcpy(r->mem, b.p, b.len);
	r->len = b.len;
	buf_free(&b);
}

/* ------------------------------------------------------------------ the API */

static void api(void *srv, struct http_exchange *x)
{
	struct replay *r = srv;
	bool slices = str_starts(x->path, "/apis/"),
	     services = str_eqz(x->path, "/api/v1/services");
	struct str next = http_query_get(x, "continue");
	uint64_t page = 0;
	if (http_query_get(x, "watch").p) {
		x->ops->start(x, 200, NULL, 0);
		if (slices)
			r->watch = x;
		return;
	}
	if (next.p)
		(void)str_u64(next, &page);
	if (!slices && !services) {
		http_reply(x, 200, "application/json",
			STR("{\"metadata\":{\"resourceVersion\":\"10\"},\"items\":[]}"), NULL, 0);
		return;
	}
	const struct page *p = slices ? &r->slices[page] : &r->services[page];
	http_reply(x, 200, "application/json", (struct str){r->mem + p->at, p->len}, NULL, 0);
}

static void on_synced(void *arg)
{
	((struct replay *)arg)->synced = true;
}

static double rss_mib(void)
{
	long pages = 0;
	AUTO_BUF struct buf text = {0};
	if (file_read("/proc/self/statm", 256, &text) == 0)
		(void)sscanf(text.p, "%*s %ld", &pages);
	return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

/* What this process has used: the wall clock counts its neighbours too. */
static double cpu_seconds(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int cmp(const void *a, const void *b)
{
	const double *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* From the bytes of the event, on the watch stream, to the selector in the map. */
static double change(struct replay *r, struct svcwatch *w, int i)
{
	AUTO_BUF struct buf b = {0};
	int k = i * 37 % SERVICES;
	buf_adds(&b, "{\"type\":\"MODIFIED\",\"object\":");
	slice_add(&b, k, 20 + (unsigned)i, ENDPOINTS - 1 - i % 3);
	buf_adds(&b, "}\n");
	struct programmer_stats before, now;
	programmer_stats(svcwatch_programmer(w), &before);
	now = before;
	int64_t t = time_mono();
	r->watch->ops->write(r->watch, b.p, b.len);
	while (now.publishes == before.publishes && time_mono() - t < NS_PER_SEC) {
		(void)loop_poll(r->loop, 10);
		programmer_stats(svcwatch_programmer(w), &now);
	}
	return (double)(time_mono() - t) / 1e6;
}

static void changes(struct replay *r, struct svcwatch *w)
{
	static double ms[CHANGES];
	while (!r->watch)
		must(loop_poll(r->loop, 1000), "loop", NULL);
	for (int i = 0; i < CHANGES; i++)
		ms[i] = change(r, w, i);
	qsort(ms, CHANGES, sizeof *ms, cmp);
	printf("endpoint_change_10k_p50 %.3f ms\n", ms[CHANGES / 2]);
	printf("endpoint_change_10k_p99 %.3f ms\n", ms[CHANGES * 99 / 100]);
}

static void agent(struct replay *r, const char *dir)
{
	static const char *const groups[] = {"system:nodes", NULL};
	struct maps_config mc = {
		.pin_dir = dir, .max = {[MAP_be_tab] = 600000, [MAP_lut] = 1200000}};
	struct err e = {0};
	struct maps *m = NULL;
	struct client *client = NULL;
	struct svcwatch *w = NULL;
	int64_t t = time_mono();
	must(maps_open(&mc, &m, &e), "maps", &e);
	int64_t opened = time_mono();
	double opened_cpu = cpu_seconds();
	r->loop = loop_new();
	must(client_new_inproc(r->loop, api, r, "system:node:node-1", groups, &client, &e),
		"client", &e);
	struct svcwatch_config c = {
		.client = client, .maps = m, .node = "node-1", .on_synced = on_synced, .arg = r};
	must(svcwatch_start(&c, &w, &e), "watch", &e);
	while (!r->synced)
		must(loop_poll(r->loop, 1000), "loop", NULL);
	int64_t done = time_mono();
	double cpu = cpu_seconds();
	struct programmer_stats s;
	programmer_stats(svcwatch_programmer(w), &s);
	must(s.usage.svc == SERVICES && s.usage.be == SERVICES * ENDPOINTS ? 0 : -EINVAL,
		"not everything was programmed", NULL);
	(void)munmap(r->mem, r->len);
	printf("sync_list_bytes %.1f MB\n", (double)r->len / 1e6);
	printf("sync_maps_open %.3f s\n", (double)(opened - t) / 1e9);
	printf("sync_maps_open_cpu %.3f s\n", opened_cpu);
	printf("sync_cpu %.3f s\n", cpu);
	printf("sync_10k_x50 %.3f s\n", (double)(done - t) / 1e9);
	printf("agent_rss_10k_x50 %.1f MiB\n", rss_mib());
	changes(r, w);
	(void)fflush(stdout);
	svcwatch_free(w);
	client_free(client);
	loop_free(r->loop);
	maps_free(m);
}

int main(void)
{
	static struct replay r;
	char dir[64], node[80];
	int status = 1;
	must(unshare(CLONE_NEWNET | CLONE_NEWNS) ? -errno : 0, "unshare", NULL);
	must(mount("", "/", "", MS_REC | MS_PRIVATE, NULL) ? -errno : 0, "mount", NULL);
	(void)snprintf(dir, sizeof dir, "/tmp/xebec-bench-sync-%d", getpid());
	must(mkdir(dir, 0700) ? -errno : 0, "mkdir", NULL);
	must(mount("bpffs", dir, "bpf", 0, NULL) ? -errno : 0, "bpffs", NULL);
	(void)snprintf(node, sizeof node, "%s/n", dir);
	pages_make(&r);
	(void)malloc_trim(0);
	pid_t child = fork();
	if (child == 0) {
		agent(&r, node);
		_exit(0);
	}
	(void)waitpid(child, &status, 0);
	(void)umount(dir);
	(void)rmdir(dir);
	if (WIFSIGNALED(status))
		(void)fprintf(stderr, "signal %d\n", WTERMSIG(status));
	return status ? 1 : 0;
}

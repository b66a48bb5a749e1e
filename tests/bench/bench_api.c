/* SPDX-License-Identifier: Apache-2.0
 * The API server alone, over TLS on loopback, with durable writes: "name value unit" a line.
 *
 * bench_api [PODS]: PODS of the long list (150,000). The clients run on one loop in this process,
 * on the same cores as the server. */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include "xebec/base/httpc.h"
#include "xebec/base/json.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

enum { CLIENTS = 64, WATCHERS = 5000, WATCH_CONNS = 50, RUN_MS = 3000 };
#define CMS  "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"

struct bench {
	struct loop *loop;
	struct tls_ctx *tls;
	char dir[64], addr[32];
	pid_t server;
};

static void die(const char *what)
{
	(void)fprintf(stderr, "%s\n", what);
	exit(1);
}

/* --- the server --- */
static void start(struct bench *b, const char *self)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	char exe[512], *slash;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	(void)str_copy(exe, sizeof(exe), str_of(self));
	slash = strstr(exe, "tests/bench/");
	if (!slash || bind(fd, (struct sockaddr *)&a, n) < 0 ||
		getsockname(fd, (struct sockaddr *)&a, &n) < 0)
		die("no port, or not started by its path");
	(void)snprintf(slash, sizeof(exe) - (size_t)(slash - exe), "xebec");
	close(fd);
	(void)snprintf(b->addr, sizeof(b->addr), "127.0.0.1:%u", ntohs(a.sin_port));
	(void)snprintf(b->dir, sizeof(b->dir), "/var/tmp/xebec-bench-api-XXXXXX");
	if (!mkdtemp(b->dir))
		die("mkdtemp");
	b->server = fork();
	if (b->server == 0) {
		char *const argv[] = {
			exe, "server", "--data-dir", b->dir, "--listen", b->addr, NULL};
		int null = open("/dev/null", O_WRONLY);
		(void)dup2(null, 2);
		execv(exe, argv);
		_exit(127);
	}
}

static void wait_ready(struct bench *b)
{
	AUTO_BUF struct buf cert = {0}, key = {0};
	char path[128];
	struct err e = {0};
	int64_t end = time_mono() + 20 * NS_PER_SEC;
	for (;; usleep(20000)) {
		if (time_mono() > end)
			die("the server did not start");
		(void)snprintf(path, sizeof(path), "%s/admin.kubeconfig", b->dir);
		if (access(path, R_OK) == 0)
			break;
	}
	(void)snprintf(path, sizeof(path), "%s/pki/admin.crt", b->dir);
	(void)file_read(path, 1 << 16, &cert);
	(void)snprintf(path, sizeof(path), "%s/pki/admin.key", b->dir);
	(void)file_read(path, 1 << 16, &key);
	if (tls_client_ctx((struct str){0}, buf_str(&cert), buf_str(&key), &b->tls, &e) < 0)
		die(e.msg);
}

static double rss_mib(pid_t pid)
{
	char path[64], line[128];
	long kib = 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %ld", &kib) == 1)
			break;
	if (f)
		(void)fclose(f);
	return (double)kib / 1024;
}

/* --- many clients, each one request at a time --- */
struct load {
	struct bench *b;
	const char *method;
	void (*fill)(size_t i, struct buf *path, struct buf *body);
	size_t next, limit, done, open, bytes, failed;
	int64_t end;
	int64_t *ns;
	size_t n_ns;
};
struct one {
	struct load *l;
	struct httpc *c;
	int64_t since;
	int status;
};

static void ask(struct one *o);

static void on_headers(struct httpc_req *r, int status, const struct http_header *h, size_t n)
{
	(void)h;
	(void)n;
	((struct one *)httpc_arg(r))->status = status;
}

static void on_body(struct httpc_req *r, const void *p, size_t n)
{
	(void)p;
	((struct one *)httpc_arg(r))->l->bytes += n;
}

static void on_done(struct httpc_req *r, const struct err *e, const struct http_header *h, size_t n)
{
	struct one *o = httpc_arg(r);
	(void)h;
	(void)n;
	o->l->failed += e || o->status >= 300;
	o->l->done++;
	o->l->open--;
	if (o->l->n_ns < 1000000)
		o->l->ns[o->l->n_ns++] = time_mono() - o->since;
	ask(o);
}

static const struct httpc_events load_events = {
	.on_headers = on_headers, .on_data = on_body, .on_done = on_done};

static void ask(struct one *o)
{
	struct load *l = o->l;
	AUTO_BUF struct buf path = {0}, body = {0};
	struct http_header h = {STR("content-type"), STR("application/json")};
	if (l->next == l->limit || time_mono() > l->end)
		return;
	l->fill(l->next++, &path, &body);
	struct httpc_call call = {.method = l->method,
		.path = buf_str(&path),
		.headers = &h,
		.n_headers = 1,
		.body = buf_str(&body),
		.ev = &load_events,
		.arg = o};
	o->since = time_mono();
	l->open++;
	if (!httpc_send(o->c, &call))
		die("out of memory");
}

static int cmp_ns(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

/* Runs until the limit or the time; prints rate and latencies under `name` (NULL: nothing). */
static void run(struct bench *b, const char *name, unsigned clients, struct load *l)
{
	struct one o[CLIENTS] = {0};
	struct err e = {0};
	l->b = b;
	l->ns = malloc(1000000 * sizeof(*l->ns));
	l->end = time_mono() + (l->limit ? 600 * NS_PER_SEC : RUN_MS * NS_PER_MS);
	l->limit = l->limit ? l->limit : SIZE_MAX;
	struct httpc_config c = {.loop = b->loop,
		.addr = b->addr,
		.host = "localhost",
		.tls = b->tls,
		.alpn = "http/1.1",
		.max_h1_conns = 1};
	int64_t begin = time_mono();
	for (unsigned i = 0; i < clients; i++) {
		o[i].l = l;
		if (httpc_new(&c, &o[i].c, &e) < 0)
			die(e.msg);
		ask(&o[i]);
	}
	while (l->open)
		(void)loop_poll(b->loop, 1000);
	double s = (double)(time_mono() - begin) / 1e9;
	qsort(l->ns, l->n_ns, sizeof(*l->ns), cmp_ns);
	if (l->failed)
		(void)fprintf(stderr, "%s: %zu failed\n", name ? name : l->method, l->failed);
	if (name) {
		printf("%s %.1f ops/s\n", name, (double)l->done / s);
		printf("%s_p99 %.2f ms\n", name, (double)l->ns[l->n_ns * 99 / 100] / 1e6);
		(void)fflush(stdout);
	}
	for (unsigned i = 0; i < clients; i++)
		httpc_free(o[i].c);
	free(l->ns);
}

/* --- the requests --- */
static void new_cm(size_t i, struct buf *path, struct buf *body)
{
	static char value[1025];
	memset(value, 'x', sizeof(value) - 1);
	buf_adds(path, CMS);
	buf_addf(body,
		"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c-%zu\"},"
		"\"data\":{\"k\":\"%s\"}}",
		i, value);
}

static void get_cm(size_t i, struct buf *path, struct buf *body)
{
	(void)body;
	buf_addf(path, CMS "/c-%zu", i % 1000);
}

static size_t pod_base;
static void new_pod(size_t i, struct buf *path, struct buf *body)
{
	buf_adds(path, PODS);
	buf_addf(body,
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"web-5d8f-%zu\","
		"\"labels\":{\"app\":\"web\"}},\"spec\":{\"schedulerName\":\"nobody\","
		"\"containers\":[{"
		"\"name\":\"web\",\"image\":\"registry.example/web:1.2.3\",\"ports\":[{"
		"\"containerPort\":8080}],\"env\":[{\"name\":\"A\",\"value\":\"b\"}],\"resources\":"
		"{"
		"\"requests\":{\"cpu\":\"100m\",\"memory\":\"64Mi\"}},\"readinessProbe\":{"
		"\"httpGet\":{"
		"\"path\":\"/ready\",\"port\":8080}}}]}}",
		pod_base + i);
}

static void list_pods(size_t i, struct buf *path, struct buf *body)
{
	(void)i;
	(void)body;
	buf_adds(path, PODS);
}

static void make_pods(struct bench *b, size_t upto)
{
	struct load l = {.method = "POST", .fill = new_pod, .limit = upto - pod_base};
	run(b, NULL, CLIENTS, &l);
	pod_base = upto;
}

static void bench_lists(struct bench *b, size_t many)
{
	struct load l = {.method = "GET", .fill = list_pods};
	make_pods(b, 5000);
	run(b, "api_list_5000", 8, &l);
	make_pods(b, 10000);
	printf("api_rss_10000_pods %.1f MiB\n", rss_mib(b->server));
	if (many <= 10000)
		return;
	make_pods(b, many);
	struct load big = {.method = "GET", .fill = list_pods, .limit = 1};
	int64_t begin = time_mono();
	run(b, NULL, 1, &big);
	printf("api_list_%zu %.3f s\n", many, (double)(time_mono() - begin) / 1e9);
	printf("api_rss_%zu_pods %.1f MiB\n", many, rss_mib(b->server));
}

/* --- watchers --- */
struct watch_all {
	size_t started, seen;
	int64_t last;
};

static void watch_headers(struct httpc_req *r, int status, const struct http_header *h, size_t n)
{
	struct watch_all *a = httpc_arg(r);
	(void)h;
	(void)n;
	a->started += status == 200;
}

static void watch_data(struct httpc_req *r, const void *p, size_t n)
{
	struct watch_all *a = httpc_arg(r);
	if (memmem(p, n, "watched", 7)) {
		a->seen++;
		a->last = time_mono();
	}
}

static void watch_done(
	struct httpc_req *r, const struct err *e, const struct http_header *h, size_t n)
{
	(void)r;
	(void)h;
	(void)n;
	die(e ? e->msg : "a watch ended");
}

static void new_secret(size_t i, struct buf *path, struct buf *body)
{
	buf_adds(path, "/api/v1/namespaces/default/secrets");
	buf_addf(body, "{\"metadata\":{\"name\":\"watched-%zu\"}}", i);
}

static void bench_watchers(struct bench *b)
{
	static const struct httpc_events ev = {
		.on_headers = watch_headers, .on_data = watch_data, .on_done = watch_done};
	struct watch_all a = {0};
	struct httpc *conns[WATCH_CONNS];
	struct err e = {0};
	struct httpc_config c = {
		.loop = b->loop, .addr = b->addr, .host = "localhost", .tls = b->tls};
	double before = rss_mib(b->server);
	for (size_t i = 0; i < WATCHERS; i++) {
		struct httpc **h = &conns[i % WATCH_CONNS];
		if (i < WATCH_CONNS && httpc_new(&c, h, &e) < 0)
			die(e.msg);
		struct httpc_call call = {.method = "GET",
			.path = STR("/api/v1/namespaces/default/secrets?watch=true"),
			.ev = &ev,
			.arg = &a};
		(void)httpc_send(*h, &call);
	}
	while (a.started < WATCHERS)
		(void)loop_poll(b->loop, 1000);
	printf("api_watch_memory %.2f KiB\n", (rss_mib(b->server) - before) * 1024 / WATCHERS);
	for (int i = 0; i < 5; i++) {
		struct load l = {.method = "POST", .fill = new_secret, .limit = (size_t)i + 1};
		l.next = (size_t)i;
		a.seen = 0;
		int64_t begin = time_mono();
		run(b, NULL, 1, &l);
		while (a.seen < WATCHERS)
			(void)loop_poll(b->loop, 1000);
		if (i == 4)
			printf("api_watch_%d_last %.1f ms\n", WATCHERS,
				(double)(a.last - begin) / 1e6);
	}
	for (size_t i = 0; i < WATCH_CONNS; i++)
		httpc_free(conns[i]);
}

int main(int argc, char **argv)
{
	struct bench b = {.loop = loop_new()};
	size_t many = argc > 1 ? strtoul(argv[1], NULL, 10) : 150000;
	(void)signal(SIGPIPE, SIG_IGN);
	start(&b, argv[0]);
	wait_ready(&b);
	usleep(300000);
	struct load warm = {.method = "POST", .fill = new_cm, .limit = 1000};
	run(&b, NULL, CLIENTS, &warm);
	struct load get = {.method = "GET", .fill = get_cm};
	run(&b, "api_get_64", CLIENTS, &get);
	bench_watchers(&b);
	bench_lists(&b, many);
	struct load create = {.method = "POST", .fill = new_cm, .next = 1000};
	run(&b, "api_create_64", CLIENTS, &create);
	(void)kill(b.server, SIGTERM);
	(void)waitpid(b.server, NULL, 0);
	tls_ctx_free(b.tls);
	loop_free(b.loop);
	return rm_rf(b.dir) < 0;
}

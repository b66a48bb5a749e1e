/* SPDX-License-Identifier: Apache-2.0
 * The test image's program: a small web and UDP server that says who it is, and clients for it.
 * Static, no dependency. serve [--port N] [--udp-port N] [--ready-after S]   GET / /hostname
 * /clientip /echo?msg= /env?name= /header?name= /healthz /readyz /exit?code= /fail (healthz fails
 * from now on) /alloc?mib= get HOST PORT PATH [COUNT]     one connection a request; prints each
 * body udp HOST PORT TEXT [COUNT]     prints each answer rr  HOST PORT SECONDS          1-byte
 * request/response latency on one connection: "p50_us p99_us count" exit CODE | fail-until FILE |
 * trap SECONDS (ignores SIGTERM so long) | spin | alloc MIB */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char host[256];
static volatile bool failing;
static time_t started;
static int ready_after;

static void die(const char *what)
{
	fprintf(stderr, "xtest: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- server ---- */

static void peer_text(int fd, char *out, size_t cap)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char ip[NI_MAXHOST], port[NI_MAXSERV];
	out[0] = 0;
	if (getpeername(fd, (struct sockaddr *)&ss, &len) == 0 &&
		getnameinfo((struct sockaddr *)&ss, len, ip, sizeof(ip), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		snprintf(out, cap, "%s:%s", strncmp(ip, "::ffff:", 7) == 0 ? ip + 7 : ip, port);
}

static void header_value(const char *head, const char *name, char *out, size_t cap)
{
	size_t n = strlen(name);
	out[0] = 0;
	for (const char *p = strstr(head, "\r\n"); p && p[2] != '\r'; p = strstr(p + 2, "\r\n")) {
		if (strncasecmp(p + 2, name, n) != 0 || p[2 + n] != ':')
			continue;
		const char *v = p + 3 + n, *e = strstr(v, "\r\n");
		while (*v == ' ')
			v++;
		snprintf(out, cap, "%.*s", (int)(e ? e - v : 0), v);
		return;
	}
}

static void exhaust(long mib)
{
	for (long i = 0; i < mib; i++) {
		char *p = malloc(1 << 20);
		if (p)
			memset(p, 1, 1 << 20);
	}
}

/* Fills the body, returns the status. arg is what follows '=' in the query. */
static int answer(
	int fd, const char *path, const char *arg, const char *head, char *body, size_t cap)
{
	bool ready = time(NULL) - started >= ready_after;
	snprintf(body, cap, "%s\n", host);
	if (strcmp(path, "/") == 0 || strcmp(path, "/hostname") == 0)
		return 200;
	if (strcmp(path, "/clientip") == 0)
		peer_text(fd, body, cap);
	else if (strcmp(path, "/echo") == 0)
		snprintf(body, cap, "%s", arg);
	else if (strcmp(path, "/env") == 0)
		snprintf(body, cap, "%s", getenv(arg) ? getenv(arg) : "");
	else if (strcmp(path, "/header") == 0)
		header_value(head, arg, body, cap);
	else if (strcmp(path, "/exit") == 0)
		exit(atoi(arg));
	else if (strcmp(path, "/alloc") == 0)
		exhaust(atol(arg));
	else if (strcmp(path, "/fail") == 0)
		failing = true;
	else if (strcmp(path, "/healthz") == 0)
		return failing ? 500 : 200;
	else if (strcmp(path, "/readyz") == 0)
		return ready && !failing ? 200 : 503;
	else
		return 404;
	return 200;
}

/* One request in head (NUL-terminated); false = close. */
static bool serve_one(int fd, char *head)
{
	char path[1024] = "/", body[4096], out[8192];
	bool keep = strcasestr(head, "connection: close") == NULL && strstr(head, "HTTP/1.1");
	if (sscanf(head, "%*15s %1023s", path) != 1)
		return false;
	char *query = strchr(path, '?'), *arg = query ? strchr(query, '=') : NULL;
	if (query)
		*query = 0;
	int status = answer(fd, path, arg ? arg + 1 : "", head, body, sizeof(body));
	int n = snprintf(out, sizeof(out),
		"HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n%s\r\n%s",
		status, status == 200 ? "OK" : "Error", strlen(body),
		keep ? "" : "Connection: close\r\n", body);
	return write(fd, out, (size_t)n) == n && keep;
}

static void *serve_conn(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[8192];
	size_t len = 0;
	for (;;) {
		ssize_t n = read(fd, buf + len, sizeof(buf) - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
		buf[len] = 0;
		if (len == 1) { /* rr: one byte back */
			if (write(fd, buf, 1) != 1)
				break;
			len = 0;
			continue;
		}
		char *end = strstr(buf, "\r\n\r\n");
		if (!end && len < sizeof(buf) - 1)
			continue;
		if (!end || !serve_one(fd, buf))
			break;
		len = 0;
	}
	close(fd);
	return NULL;
}

static int listener(int type, int port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	int one = 1, zero = 0, fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("bind");
	if (type == SOCK_STREAM && listen(fd, 512) < 0)
		die("listen");
	return fd;
}

static void *serve_udp(void *arg)
{
	int fd = (int)(intptr_t)arg;
	for (;;) {
		char buf[2048], out[2400];
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&ss, &len);
		if (n < 0)
			continue;
		int m = snprintf(out, sizeof(out), "%s %.*s\n", host, (int)n, buf);
		(void)sendto(fd, out, (size_t)m, 0, (struct sockaddr *)&ss, len);
	}
	return NULL;
}

static void detach(void *(*fn)(void *), int fd)
{
	pthread_t t;
	pthread_attr_t a;
	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, 64 << 10);
	pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&t, &a, fn, (void *)(intptr_t)fd) != 0)
		close(fd);
}

static void on_end(int sig)
{
	_exit(128 + sig);
}

static int cmd_serve(int argc, char **argv)
{
	int port = 8080, udp = 8081;
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--port") == 0)
			port = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--udp-port") == 0)
			udp = atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--ready-after") == 0)
			ready_after = atoi(argv[i + 1]);
	}
	signal(SIGTERM, on_end); /* the kernel ignores it for pid 1 otherwise */
	int fd = listener(SOCK_STREAM, port);
	detach(serve_udp, listener(SOCK_DGRAM, udp));
	printf("%s serves http %d, udp %d\n", host, port, udp);
	fflush(stdout);
	for (;;) {
		int one = 1, c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (c < 0)
			continue;
		setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		detach(serve_conn, c);
	}
}

/* ---- clients ---- */

static int dial(const char *name, const char *port, int type)
{
	struct addrinfo hints = {.ai_socktype = type}, *ai = NULL;
	struct timeval tv = {.tv_sec = 5};
	int r = getaddrinfo(name, port, &hints, &ai), one = 1;
	if (r != 0) {
		fprintf(stderr, "xtest: %s: %s\n", name, gai_strerror(r));
		exit(1);
	}
	int fd = socket(ai->ai_family, type | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	r = connect(fd, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
	if (r < 0) {
		int err = errno;
		close(fd);
		errno = err;
		return -1;
	}
	return fd;
}

static bool get_once(const char *name, const char *port, const char *path)
{
	char buf[65536];
	size_t len = 0;
	ssize_t n;
	int fd = dial(name, port, SOCK_STREAM);
	if (fd < 0) {
		printf("error: %s\n", strerror(errno));
		return false;
	}
	int m = snprintf(buf, sizeof(buf),
		"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, name);
	bool sent = write(fd, buf, (size_t)m) == m;
	while (sent && len < sizeof(buf) - 1 &&
		(n = read(fd, buf + len, sizeof(buf) - 1 - len)) > 0)
		len += (size_t)n;
	close(fd);
	buf[len] = 0;
	char *body = strstr(buf, "\r\n\r\n");
	printf("%s%s", body ? body + 4 : "error: no answer\n",
		body && buf[len - 1] != '\n' ? "\n" : "");
	return body != NULL;
}

static int cmd_get(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	int count = argc > 4 ? atoi(argv[4]) : 1, bad = 0;
	for (int i = 0; i < count; i++)
		bad += !get_once(argv[1], argv[2], argv[3]);
	return bad ? 1 : 0;
}

static int cmd_udp(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	int count = argc > 4 ? atoi(argv[4]) : 1, bad = 0;
	for (int i = 0; i < count; i++) {
		char buf[2400];
		int fd = dial(argv[1], argv[2], SOCK_DGRAM);
		ssize_t n = -1;
		if (fd >= 0 && send(fd, argv[3], strlen(argv[3]), 0) >= 0)
			n = recv(fd, buf, sizeof(buf), 0);
		if (n < 0)
			printf("error: %s\n", strerror(errno)), bad++;
		else
			printf("%.*s", (int)n, buf);
		if (fd >= 0)
			close(fd);
	}
	return bad ? 1 : 0;
}

static int by_value(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static int cmd_rr(int argc, char **argv)
{
	enum { MAX = 1 << 20 };
	if (argc < 4)
		return 2;
	int64_t *v = calloc(MAX, sizeof(*v)), end = now_ns() + (int64_t)(atof(argv[3]) * 1e9);
	size_t n = 0;
	int fd = dial(argv[1], argv[2], SOCK_STREAM);
	char c = 'x';
	if (fd < 0 || !v)
		die("connect");
	while (n < MAX && now_ns() < end) {
		int64_t t = now_ns();
		if (write(fd, &c, 1) != 1 || read(fd, &c, 1) != 1)
			die("request");
		v[n++] = now_ns() - t;
	}
	qsort(v, n, sizeof(*v), by_value);
	printf("%.2f %.2f %zu\n", (double)v[n / 2] / 1e3, (double)v[n * 99 / 100] / 1e3, n);
	return 0;
}

/* ---- odd ones ---- */

static int cmd_exit(int argc, char **argv)
{
	return argc > 1 ? atoi(argv[1]) : 0;
}

static int cmd_fail_until(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	if (access(argv[1], F_OK) == 0)
		return 0;
	fprintf(stderr, "xtest: %s is not there yet\n", argv[1]);
	return 1;
}

static void on_term(int sig)
{
	(void)sig;
	static const char text[] = "SIGTERM ignored\n";
	(void)!write(1, text, sizeof(text) - 1);
}

static int cmd_trap(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 3600);
	signal(SIGTERM, on_term);
	while (time(NULL) < end)
		(void)poll(NULL, 0, 1000);
	return 0;
}

static int cmd_spin(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	for (volatile uint64_t i = 0;; i++)
		continue;
}

static int cmd_alloc(int argc, char **argv)
{
	exhaust(argc > 1 ? atol(argv[1]) : 64);
	printf("allocated\n");
	fflush(stdout);
	for (;;)
		pause();
}

static const struct {
	const char *name;
	int (*fn)(int argc, char **argv);
} commands[] = {
	{"serve", cmd_serve},
	{"get", cmd_get},
	{"udp", cmd_udp},
	{"rr", cmd_rr},
	{"exit", cmd_exit},
	{"fail-until", cmd_fail_until},
	{"trap", cmd_trap},
	{"spin", cmd_spin},
	{"alloc", cmd_alloc},
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	started = time(NULL);
	gethostname(host, sizeof(host) - 1);
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].fn(argc - 1, argv + 1);
	fprintf(stderr, "usage: xtest serve|get|udp|rr|exit|fail-until|trap|spin|alloc ...\n");
	return 2;
}

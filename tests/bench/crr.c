/* SPDX-License-Identifier: Apache-2.0
 * One-byte requests for the latency benchmarks: serve PORT | rr IP PORT SECONDS on one connection |
 * crr IP PORT SECONDS with a connection each. The clients print the median in microseconds. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_SAMPLES 1000000

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void add(int ep, int fd)
{
	struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
		die("epoll");
}

static void serve(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	int ep = epoll_create1(0), l = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	(void)setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(l, (struct sockaddr *)&a, sizeof a) || listen(l, 1024))
		die("listen");
	add(ep, l);
	for (;;) {
		struct epoll_event ev[64];
		int n = epoll_wait(ep, ev, 64, -1);
		for (int i = 0; i < n; i++) {
			char c;
			int fd = ev[i].data.fd;
			if (fd == l)
				add(ep, accept4(l, NULL, NULL, SOCK_NONBLOCK));
			else if (read(fd, &c, 1) != 1 || write(fd, &c, 1) != 1)
				(void)close(fd);
		}
	}
}

static int dial(const struct sockaddr_in *a)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (const struct sockaddr *)a, sizeof *a))
		die("connect");
	return fd;
}

static void ask(int fd)
{
	char c = 'x';
	if (write(fd, &c, 1) != 1 || read(fd, &c, 1) != 1)
		die("request");
}

static int cmp(const void *a, const void *b)
{
	const float *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static int client(const char *ip, uint16_t port, double seconds, int each)
{
	static float us[MAX_SAMPLES];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	size_t n = 0;
	inet_pton(AF_INET, ip, &a.sin_addr);
	int fd = each ? -1 : dial(&a);
	double end = now_us() + seconds * 1e6, t;
	while ((t = now_us()) < end && n < MAX_SAMPLES) {
		if (each)
			fd = dial(&a);
		ask(fd);
		if (each)
			(void)close(fd);
		us[n++] = (float)(now_us() - t);
	}
	if (!n)
		return 1;
	qsort(us, n, sizeof *us, cmp);
	printf("%.3f %zu\n", (double)us[n / 2], n);
	return 0;
}

int main(int argc, char **argv)
{
	(void)signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		serve((uint16_t)atoi(argv[2]));
	if (argc == 5)
		return client(argv[2], (uint16_t)atoi(argv[3]), atof(argv[4]),
			strcmp(argv[1], "crr") == 0);
	return 2;
}

/* SPDX-License-Identifier: Apache-2.0
 * Health answers, and the ports that give them (on loopback). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "health.h"
#include "xebec/base/loop.h"
#include "xebec/base/timefmt.h"

#define NOW (1000 * NS_PER_SEC)

static void answers(void **state)
{
	(void)state;
	static const struct {
		struct health_state s;
		int healthz, livez;
	} rows[] = {
		{{.synced = false}, 503, 503},
		{{.synced = true, .updated = NOW}, 200, 200},
		{{.synced = true, .updated = 1, .pending = NOW - 59 * NS_PER_SEC}, 200, 200},
		{{.synced = true, .updated = 1, .pending = NOW - 60 * NS_PER_SEC}, 503, 503},
		{{.synced = true, .updated = NOW, .node_leaving = true}, 503, 200},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		AUTO_BUF struct buf b = {0};
		assert_int_equal(
			health_answer(&rows[i].s, STR("/healthz"), NOW, &b), rows[i].healthz);
		assert_non_null(strstr(b.p, "\"lastUpdated\""));
		assert_non_null(strstr(b.p, "\"currentTime\": \"1970-01-01T00:16:40"));
		assert_non_null(strstr(b.p, rows[i].s.node_leaving ? "\"nodeEligible\": false"
								   : "\"nodeEligible\": true"));
		buf_clear(&b);
		assert_int_equal(health_answer(&rows[i].s, STR("/livez"), NOW, &b), rows[i].livez);
		assert_null(strstr(b.p, "nodeEligible"));
		buf_clear(&b);
		assert_int_equal(health_answer(&rows[i].s, STR("/"), NOW, &b), 404);
	}
}

static struct health_state current;
static struct health_state current_state(void *arg)
{
	(void)arg;
	return current;
}

static int dial(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

/* A free port: bound and let go. The socket stays open with *hold. */
static uint16_t free_port(int *hold)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(hold ? INADDR_ANY : INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	if (hold) {
		assert_int_equal(listen(fd, 1), 0);
		*hold = fd;
	} else {
		(void)close(fd);
	}
	return ntohs(a.sin_port);
}

/* The whole answer of the port to a GET, while the loop runs. */
static const char *get(struct loop *l, uint16_t port)
{
	static char text[1024];
	static const char req[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	size_t n = 0;
	AUTO_CLOSE int fd = dial(port);
	text[0] = 0;
	if (fd < 0)
		return "refused";
	assert_int_equal(write(fd, req, sizeof req - 1), sizeof req - 1);
	for (int64_t end = time_mono() + 5 * NS_PER_SEC; time_mono() < end;) {
		assert_int_equal(loop_poll(l, 10), 0);
		ssize_t k = recv(fd, text + n, sizeof text - 1 - n, MSG_DONTWAIT);
		if (k == 0)
			break;
		n += k > 0 ? (size_t)k : 0;
	}
	text[n] = 0;
	return text;
}

#define SAYS(port, text) assert_non_null(strstr(get(l, port), text))

static void service_ports(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	struct health *h;
	struct err e = {0};
	struct health_config c = {.loop = l, .state = current_state};
	current = (struct health_state){.synced = true, .updated = time_now()};
	assert_int_equal(health_start(&c, &h, &e), 0);
	uint16_t a = free_port(NULL), b = free_port(NULL);
	health_service(h, "default", "web", a, 2);
	health_service(h, "other", "web", b, 0);
	SAYS(a, "HTTP/1.1 200");
	SAYS(a, "\"namespace\": \"default\"");
	SAYS(a, "\"name\": \"web\"");
	SAYS(a, "\"localEndpoints\": 2");
	SAYS(a, "\"serviceProxyHealthy\": true");
	SAYS(a, "x-load-balancing-endpoint-weight: 2");
	SAYS(b, "HTTP/1.1 503");
	SAYS(b, "\"localEndpoints\": 0");
	health_service(h, "default", "web", a, 0); /* the last one left */
	SAYS(a, "HTTP/1.1 503");
	health_service(h, "default", "web", a, 1);
	SAYS(a, "HTTP/1.1 200");
	current.synced = false;
	SAYS(a, "HTTP/1.1 503");
	SAYS(a, "\"serviceProxyHealthy\": false");
	current.synced = true;
	health_service(h, "default", "web", 0, 0); /* gone: the port is free */
	assert_string_equal(get(l, a), "refused");
	uint16_t d = free_port(NULL);
	health_service(h, "other", "web", d, 3); /* another port */
	SAYS(d, "\"localEndpoints\": 3");
	assert_string_equal(get(l, b), "refused");
	health_free(h);
	loop_free(l);
}

/* A port that is taken is served as soon as it is free, without another change. */
static void taken_port(void **state)
{
	(void)state;
	struct loop *l = loop_new();
	struct health *h;
	struct err e = {0};
	struct health_config c = {.loop = l, .state = current_state};
	int hold = -1;
	uint16_t a = free_port(&hold);
	current = (struct health_state){.synced = true};
	assert_int_equal(health_start(&c, &h, &e), 0);
	health_service(h, "default", "web", a, 1);
	(void)close(hold);
	int64_t end = time_mono() + 20 * NS_PER_SEC;
	while (strcmp(get(l, a), "refused") == 0 && time_mono() < end)
		assert_int_equal(loop_poll(l, 100), 0);
	SAYS(a, "HTTP/1.1 200");
	health_free(h);
	loop_free(l);
}

/* A network of our own where that is allowed: nobody else takes the ports meanwhile. */
static void own_network(void)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	if (unshare(CLONE_NEWNET))
		return;
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
}

int main(void)
{
	own_network();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(service_ports),
		cmocka_unit_test(taken_port),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

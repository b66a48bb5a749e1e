/* SPDX-License-Identifier: Apache-2.0
 * Socket addresses, listening sockets, TCP options. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include "base/net_int.h"
#include "xebec/base/httpd.h"

#define LISTEN_BACKLOG	 1024
#define KEEPALIVE_IDLE	 30 /* seconds */
#define KEEPALIVE_PROBES 3
#define USER_TIMEOUT_MS	 60000 /* unacknowledged data kills the connection after this */

static int parse_unix(const char *path, struct net_addr *ret, struct err *e)
{
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof(ret->u.un.sun_path))
		return err_set(e, ENAMETOOLONG, NULL,
			"socket path '%s' is empty or longer than %zu", path,
			sizeof(ret->u.un.sun_path) - 1);
	*ret = (struct net_addr){.len = sizeof(ret->u.un)};
	ret->u.un.sun_family = AF_UNIX;
	memcpy(ret->u.un.sun_path, path, n + 1);
	return 0;
}

static int split_host_port(const char *addr, char host[256], char port[8])
{
	const char *colon = strrchr(addr, ':');
	struct str h;

	if (!colon || strlen(colon + 1) == 0 || strlen(colon + 1) > 5)
		return -EINVAL;
	h = (struct str){addr, (size_t)(colon - addr)};
	if (h.n >= 2 && h.p[0] == '[' && h.p[h.n - 1] == ']') {
		h.p++;
		h.n -= 2;
	} else if (memchr(h.p, ':', h.n)) {
		return -EINVAL;
	}
	memcpy(port, colon + 1, strlen(colon + 1) + 1);
	return str_copy(host, 256, h);
}

int net_addr_parse(const char *addr, bool passive, struct net_addr *ret, struct err *e)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *ai = NULL;
	char host[256], port[8];
	uint64_t n;

	if (strncmp(addr, "unix:", 5) == 0)
		return parse_unix(strncmp(addr, "unix://", 7) == 0 ? addr + 7 : addr + 5, ret, e);
	if (split_host_port(addr, host, port) != 0 || str_u64(str_of(port), &n) != 0 || n > 65535)
		return err_set(
			e, EINVAL, NULL, "address '%s' is not HOST:PORT or unix:/PATH", addr);
	hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | (passive ? AI_PASSIVE : 0);
	int rc = getaddrinfo(*host ? host : NULL, port, &hints, &ai);
	if (rc == EAI_NONAME && *host) {
		hints.ai_flags &= ~AI_NUMERICHOST;
		rc = getaddrinfo(host, port, &hints, &ai);
	}
	if (rc != 0)
		return err_set(e, EHOSTUNREACH, NULL, "address '%s': %s", addr, gai_strerror(rc));
	*ret = (struct net_addr){.len = ai->ai_addrlen};
	memcpy(&ret->u.ss, ai->ai_addr, ai->ai_addrlen);
	freeaddrinfo(ai);
	return 0;
}

void net_tune_tcp(int fd)
{
	int on = 1, idle = KEEPALIVE_IDLE, probes = KEEPALIVE_PROBES;
	unsigned timeout = USER_TIMEOUT_MS;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
}

void net_peer_name(int fd, char *dst, size_t cap)
{
	struct net_addr a = {.len = sizeof(a.u.ss)};
	char host[INET6_ADDRSTRLEN] = "";

	(void)str_copy(dst, cap, STR("unknown"));
	if (getpeername(fd, &a.u.sa, &a.len) != 0)
		return;
	if (a.u.sa.sa_family == AF_UNIX) {
		(void)str_copy(dst, cap, STR("unix"));
	} else if (a.u.sa.sa_family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)&a.u.ss;
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		(void)snprintf(dst, cap, "%s:%u", host, ntohs(in->sin_port));
	} else if (a.u.sa.sa_family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&a.u.ss;
		bool v4 = IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr);
		inet_ntop(v4 ? AF_INET : AF_INET6, in6->sin6_addr.s6_addr + (v4 ? 12 : 0), host,
			sizeof(host));
		(void)snprintf(dst, cap, v4 ? "%s:%u" : "[%s]:%u", host, ntohs(in6->sin6_port));
	}
}

int net_listen(const char *addr, struct err *e)
{
	struct net_addr a;
	int on = 1, r = net_addr_parse(addr, true, &a, e);

	if (r != 0)
		return r;
	AUTO_CLOSE int fd = socket(a.u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, errno, NULL, "listen on '%s': %s", addr, strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a.u.sa.sa_family == AF_UNIX) {
		struct stat st; /* a socket left by a process that is gone */
		if (lstat(a.u.un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
			(void)unlink(a.u.un.sun_path);
	}
	if (bind(fd, &a.u.sa, a.len) != 0 || listen(fd, LISTEN_BACKLOG) != 0)
		return err_set(e, errno, NULL, "listen on '%s': %s", addr, strerror(errno));
	return STEAL_FD(fd);
}

/* SPDX-License-Identifier: Apache-2.0
 * The plugin side of CNI: one request to the agent, nothing else, so that it starts in a
 * millisecond. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include "cni_plugin.h"
#include "xebec/base/buf.h"
#include "xebec/base/err.h"
#include "xebec/base/jv.h"

enum { CNI_MAX = 1 << 20, CNI_TIMEOUT_S = 30 };

/* CNI error object on standard output; codes of the specification: 4 = bad environment, 5 = I/O, 6
 * = bad config, 11 = try again. */
static int cni_fail(int code, const char *msg, const char *details)
{
	AUTO_BUF struct buf b = {0};
	buf_addf(&b, "{\"cniVersion\":\"0.4.0\",\"code\":%d,\"msg\":", code);
	buf_add_json_str(&b, str_of(msg));
	buf_adds(&b, ",\"details\":");
	buf_add_json_str(&b, str_of(details));
	buf_adds(&b, "}\n");
	(void)!write(STDOUT_FILENO, b.p ? b.p : "", b.len);
	return 1;
}

static int read_all(int fd, struct buf *out)
{
	for (;;) {
		if (out->len > CNI_MAX || buf_reserve(out, 4096) < 0)
			return -EMSGSIZE;
		ssize_t n = read(fd, out->p + out->len, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		out->len += (size_t)n;
	}
	buf_add(out, "", 0);
	return out->err;
}

static int write_all(int fd, struct str s)
{
	while (s.n) {
		ssize_t n = send(fd, s.p, s.n, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		s.p += n;
		s.n -= (size_t)n;
	}
	return 0;
}

static int agent_dial(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timeval tv = {.tv_sec = CNI_TIMEOUT_S};
	if (str_copy(a.sun_path, sizeof(a.sun_path), str_of(path)) < 0)
		return -ENAMETOOLONG;
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return STEAL_FD(fd);
}

static void env_member(struct buf *b, const char *name, const char *env)
{
	const char *v = getenv(env);
	buf_addf(b, "\"%s\":", name);
	buf_add_json_str(b, str_of(v ? v : ""));
	buf_addc(b, ',');
}

/* POST /cni with the environment and the network configuration. */
static void request_write(struct buf *out, struct str config)
{
	AUTO_BUF struct buf body = {0};
	buf_addc(&body, '{');
	env_member(&body, "command", "CNI_COMMAND");
	env_member(&body, "container", "CNI_CONTAINERID");
	env_member(&body, "netns", "CNI_NETNS");
	env_member(&body, "ifname", "CNI_IFNAME");
	env_member(&body, "args", "CNI_ARGS");
	buf_adds(&body, "\"config\":");
	buf_add_str(&body, config);
	buf_addc(&body, '}');
	buf_addf(out,
		"POST /cni HTTP/1.1\r\nHost: agent\r\nConnection: close\r\nContent-Type: "
		"application/json\r\nContent-Length: %zu\r\n\r\n",
		body.len);
	buf_add_str(out, buf_str(&body));
	if (body.err)
		out->err = body.err;
}

/* Prints the body of the answer; 200 = success, anything else is a CNI error object. */
static int answer_print(const struct buf *in)
{
	int status = 0;
	const char *body = in->p ? strstr(in->p, "\r\n\r\n") : NULL;
	if (!body || sscanf(in->p, "HTTP/1.1 %d", &status) != 1)
		return cni_fail(11, "the node agent broke the connection",
			"it may be restarting; the runtime will try again");
	body += 4;
	(void)!write(STDOUT_FILENO, body, in->len - (size_t)(body - in->p));
	return status == 200 ? 0 : 1;
}

static int forward(struct str config)
{
	char path[108], details[256];
	AUTO_BUF struct buf out = {0}, in = {0};
	if (jv_copy(jv_get(jv_of(config), "socket"), path, sizeof(path)) < 0 || !path[0])
		return cni_fail(6, "network configuration has no \"socket\"",
			"want the path of the node agent's CNI socket");
	AUTO_CLOSE int fd = agent_dial(path);
	if (fd < 0) {
		(void)snprintf(details, sizeof(details), "%s: %s", path, strerror(-fd));
		return cni_fail(11, "the node agent is not reachable", details);
	}
	request_write(&out, config);
	int r = out.err ? out.err : write_all(fd, buf_str(&out));
	if (r == 0)
		r = read_all(fd, &in);
	if (r < 0)
		return cni_fail(11, "talking to the node agent", strerror(-r));
	return answer_print(&in);
}

/* By ioctl: this program is linked statically and has no netlink library. */
static int lo_up(int netns_fd)
{
	struct ifreq q = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	if (netns_fd < 0 || setns(netns_fd, CLONE_NEWNET) < 0)
		return -errno;
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &q) < 0 ? -errno : 0;
}

static int loopback(struct str config)
{
	char version[16] = "0.4.0";
	const char *cmd = getenv("CNI_COMMAND"), *netns = getenv("CNI_NETNS");
	if (!cmd || strcmp(cmd, "ADD") != 0)
		return 0; /* lo goes with its namespace */
	(void)jv_copy(jv_get(jv_of(config), "cniVersion"), version, sizeof(version));
	AUTO_CLOSE int fd = open(netns ? netns : "", O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : lo_up(fd);
	if (r < 0)
		return cni_fail(5, "bring lo up", strerror(-r));
	printf("{\"cniVersion\":\"%s\",\"interfaces\":[{\"name\":\"lo\",\"mac\":\"00:00:00:00:00:"
	       "00\",\"sandbox\":\"%s\"}],"
	       "\"ips\":[{\"version\":\"4\",\"interface\":0,\"address\":\"127.0.0.1/"
	       "8\"}],\"dns\":{}}\n",
		version, netns);
	return 0;
}

int cni_plugin_main(const char *argv0)
{
	AUTO_BUF struct buf config = {0};
	const char *cmd = getenv("CNI_COMMAND"), *base = strrchr(argv0, '/');
	base = base ? base + 1 : argv0;
	if (!cmd)
		return cni_fail(
			4, "CNI_COMMAND is not set", "this program is run by a container runtime");
	if (strcmp(cmd, "VERSION") == 0) {
		puts("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.3.0\",\"0.3.1\",\"0.4."
		     "0\",\"1.0.0\",\"1.1.0\"]}");
		return 0;
	}
	int r = read_all(STDIN_FILENO, &config);
	if (r < 0 || !jv_valid(buf_str(&config), 64))
		return cni_fail(6, "network configuration on standard input is not JSON",
			r < 0 ? strerror(-r) : "");
	return strcmp(base, "loopback") == 0 ? loopback(buf_str(&config))
					     : forward(buf_str(&config));
}

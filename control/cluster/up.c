/* SPDX-License-Identifier: Apache-2.0
 * `xebec up`: options, the lock, the daemon, the loop, the end. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include "cluster/up.h"
#include "xebec/base/httpd.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

enum {
	READY_TIMEOUT_S = 90,
	STOP_TIMEOUT_S = 4,
	PROGRESS_OK = 4 /* ASCII EOT: the cluster is ready */
};

void up_say(struct up *u, const char *fmt, ...)
{
	char line[512], out[560];
	va_list ap;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	int n = snprintf(out, sizeof(out), "[%5.2f s] %s\n",
		(double)(time_mono() - u->started_ns) / 1e9, line);
	if (u->progress_fd >= 0 && write(u->progress_fd, out, (size_t)n) < 0)
		u->progress_fd = -1;
}

void up_ready(struct up *u)
{
	u->ready = true;
	loop_timer_cancel(&u->deadline);
	informer_free(u->watch_nodes);
	client_free(u->client);
	u->watch_nodes = NULL;
	u->client = NULL;
	up_say(u, "%u node%s Ready", u->c.nodes, u->c.nodes == 1 ? "" : "s");
	up_say(u, "export KUBECONFIG=%s", u->c.kubeconfig);
	if (u->progress_fd >= 0 && u->progress_fd != STDOUT_FILENO) {
		char ok = PROGRESS_OK;
		(void)!write(u->progress_fd, &ok, 1);
		(void)close(u->progress_fd);
		u->progress_fd = -1;
	}
}

static void stop_now(struct loop_timer *t)
{
	struct up *u = t->arg;
	loop_stop(u->loop);
}

static void stop_poll(struct loop_timer *t)
{
	struct up *u = t->arg;
	if (!bring_up_running(u))
		loop_stop(u->loop);
	else
		(void)loop_timer_set(u->loop, &u->poll, 10 * NS_PER_MS);
}

static void up_stop(struct up *u)
{
	if (u->stopping) {
		loop_stop(u->loop); /* the second signal: do not wait */
		return;
	}
	u->stopping = true;
	bring_up_stop(u);
	u->deadline.fn = stop_now;
	(void)loop_timer_set(u->loop, &u->deadline, STOP_TIMEOUT_S * NS_PER_SEC);
	u->poll.fn = stop_poll;
	(void)loop_timer_set(u->loop, &u->poll, 0);
}

void up_fail(struct up *u, const struct err *e)
{
	if (u->stopping)
		return;
	u->failed = true;
	up_say(u, "failed: %s", e->msg);
	up_stop(u);
}

static void on_deadline(struct loop_timer *t)
{
	struct up *u = t->arg;
	struct err e;
	(void)err_set(&e, ETIMEDOUT, NULL,
		"the nodes are not Ready after %d s; the logs are kept in %s.failed",
		READY_TIMEOUT_S, u->c.run);
	up_fail(u, &e);
}

static void on_signal(int sig, void *arg)
{
	(void)sig;
	up_stop(arg);
}

static int lock_take(struct up *u, struct err *e)
{
	char path[256];
	int r = mkdir_p(u->c.run, 0755);
	if (r < 0)
		return err_set(e, r, NULL, "make '%s': is this run as root?", u->c.run);
	(void)snprintf(path, sizeof(path), "%s/lock", u->c.run);
	AUTO_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, errno, NULL, "open '%s'", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, EBUSY, NULL,
			"cluster '%s' runs already (xebec status; xebec down --name %s)", u->c.name,
			u->c.name);
	u->lock_fd = STEAL_FD(fd);
	/* So that `down` and `status` find it by name. */
	(void)snprintf(path, sizeof(path), CLUSTER_RUN_ROOT "/%s", u->c.name);
	if (strcmp(path, u->c.run) != 0 &&
		(mkdir_p(CLUSTER_RUN_ROOT, 0755) < 0 ||
			(symlink(u->c.run, path) < 0 && errno != EEXIST)))
		return err_set(e, errno, NULL, "link '%s' to '%s'", path, u->c.run);
	return 0;
}

/* What a crashed supervisor of the same name left. */
static int leftovers_remove(struct up *u, struct err *e)
{
	struct cluster old;
	int pid;
	if (cluster_load(u->c.run, &old, &pid, NULL) < 0)
		return 0;
	up_say(u, "removing what a crashed cluster '%s' left", old.name);
	int r = cluster_teardown(&old, false, e);
	if (r < 0)
		return r;
	(void)close(u->lock_fd); /* its file is gone */
	return lock_take(u, e);
}

static int setup(struct up *u, struct err *e)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	u->listen_fd = net_listen(u->c.listen, e);
	if (u->listen_fd < 0)
		return err_prefix(e, "--listen %s", u->c.listen);
	u->nodes = calloc(u->c.nodes, sizeof(*u->nodes));
	u->loop = loop_new();
	if (!u->nodes || !u->loop)
		return err_set(e, ENOMEM, NULL, "out of memory");
	int r = loop_signals(u->loop, signals, ARRAY_LEN(signals), on_signal, u);
	if (r < 0)
		return err_set(e, r, NULL, "catch signals");
	if ((r = cluster_save(&u->c, getpid(), e)) < 0 ||
		(r = topology_make(&u->c, &u->topo, e)) < 0)
		return r;
	up_say(u, "network namespaces made: %s/netns", u->c.run);
	u->deadline.fn = on_deadline;
	u->deadline.arg = u;
	(void)loop_timer_set(u->loop, &u->deadline, READY_TIMEOUT_S * NS_PER_SEC);
	return bring_up(u, e);
}

/* The logs of a cluster that did not come up are the user's only clue. */
static void logs_keep(const struct up *u)
{
	char to[256];
	(void)snprintf(to, sizeof(to), "%s.failed", u->c.run);
	(void)rm_rf(to);
	(void)rename(u->c.run, to);
}

static int run(struct up *u)
{
	struct err e = {0};
	u->started_ns = time_mono();
	int r = lock_take(u, &e);
	if (r < 0) {
		up_say(u, "failed: %s", e.msg);
		return 1;
	}
	r = leftovers_remove(u, &e);
	if (r == 0)
		r = setup(u, &e);
	if (r == 0)
		r = loop_run(u->loop);
	else
		up_say(u, "failed: %s", e.msg);
	struct err down = {0};
	bool failed = r < 0 || u->failed, has_logs = u->server.argv[0] != NULL;
	if (u->loop && r < 0)
		bring_up_stop(u);
	if (u->nodes)
		bring_up_free(u);
	topology_close(&u->topo);
	(void)cgroup_kill_all(u->c.name, NULL);
	if (failed && has_logs)
		logs_keep(u);
	if (cluster_teardown(&u->c, false, &down) < 0)
		log_error("teardown: %s", down.msg);
	return failed ? 1 : 0;
}

/* The parent of a daemon: shows progress until the cluster is ready or the daemon is gone. */
static int follow(int fd)
{
	char buf[4096];
	ssize_t n;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		bool ok = buf[n - 1] == PROGRESS_OK;
		if (write(STDOUT_FILENO, buf, (size_t)(ok ? n - 1 : n)) < 0)
			break;
		if (ok)
			return 0;
	}
	return 1;
}

static int detach(struct up *u)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC) < 0)
		return 1;
	pid_t pid = fork();
	if (pid < 0)
		return 1;
	if (pid > 0) {
		(void)close(p[1]);
		return follow(p[0]);
	}
	(void)close(p[0]);
	(void)setsid();
	char path[256];
	(void)mkdir_p(u->c.run, 0755);
	(void)snprintf(path, sizeof(path), "%s/up.log", u->c.run);
	int null_fd = open("/dev/null", O_RDWR),
	    log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0640);
	(void)dup2(null_fd, STDIN_FILENO);
	(void)dup2(log_fd >= 0 ? log_fd : null_fd, STDOUT_FILENO);
	(void)dup2(log_fd >= 0 ? log_fd : null_fd, STDERR_FILENO);
	u->progress_fd = p[1];
	_exit(run(u));
}

static int options(struct up *u, bool *ret_detach, int argc, char **argv)
{
	static const struct option opts[] = {{"nodes", required_argument, NULL, 'N'},
		{"name", required_argument, NULL, 'n'}, {"data-dir", required_argument, NULL, 'd'},
		{"run-dir", required_argument, NULL, 'r'}, {"listen", required_argument, NULL, 'l'},
		{"kubeconfig", required_argument, NULL, 'k'}, {"detach", no_argument, NULL, 'D'},
		{"dual-stack", no_argument, NULL, '6'}, {"routing", required_argument, NULL, 'R'},
		{0}};
	const struct {
		int opt;
		char *dst;
		size_t cap;
	} strings[] = {{'n', u->c.name, sizeof(u->c.name)}, {'d', u->c.data, sizeof(u->c.data)},
		{'r', u->c.run, sizeof(u->c.run)}, {'l', u->c.listen, sizeof(u->c.listen)},
		{'k', u->c.kubeconfig, sizeof(u->c.kubeconfig)},
		{'R', u->c.routing, sizeof(u->c.routing)}};
	for (int o; (o = getopt_long(argc, argv, "", opts, NULL)) != -1;) {
		char end;
		if (o == '?')
			return -EINVAL;
		if (o == 'D')
			*ret_detach = true;
		if (o == '6')
			u->c.dual_stack = true;
		if (o == 'N' && sscanf(optarg, "%u%c", &u->c.nodes, &end) != 1)
			u->c.nodes = 0;
		for (size_t i = 0; i < ARRAY_LEN(strings); i++)
			if (strings[i].opt == o &&
				str_copy(strings[i].dst, strings[i].cap, str_of(optarg)) < 0) {
				fprintf(stderr, "xebec up: '%s' is too long\n", optarg);
				return -EINVAL;
			}
	}
	if (u->c.nodes < 1 || u->c.nodes >= CLUSTER_MAX_NODES) {
		fprintf(stderr, "xebec up: --nodes: want a number from 1 to %d\n",
			CLUSTER_MAX_NODES - 1);
		return -EINVAL;
	}
	if (u->c.routing[0] && strcmp(u->c.routing, "auto") != 0 &&
		strcmp(u->c.routing, "direct") != 0 && strcmp(u->c.routing, "vxlan") != 0) {
		fprintf(stderr, "xebec up: --routing: '%s' is not auto, direct or vxlan\n",
			u->c.routing);
		return -EINVAL;
	}
	return optind < argc ? -EINVAL : 0;
}

int cluster_up_main(int argc, char **argv)
{
	struct up u = {.lock_fd = -1, .listen_fd = -1, .progress_fd = STDOUT_FILENO};
	struct err e = {0};
	bool daemon = false;
	u.c.nodes = 1;
	(void)str_copy(u.c.name, sizeof(u.c.name), STR("xebec"));
	(void)str_copy(u.c.listen, sizeof(u.c.listen), STR("127.0.0.1:6443"));
	if (options(&u, &daemon, argc, argv) < 0) {
		fprintf(stderr, "usage: xebec up [--nodes N] [--name NAME] [--data-dir DIR] "
				"[--run-dir DIR] [--listen ADDR:PORT]\n"
				"                [--kubeconfig FILE] [--dual-stack] [--routing "
				"auto|direct|vxlan] [--detach]\n");
		return 2;
	}
	ssize_t n = readlink("/proc/self/exe", u.c.exe, sizeof(u.c.exe) - 1);
	if (n <= 0 || cluster_name_check(u.c.name, &e) < 0 || cluster_paths(&u.c, &e) < 0) {
		fprintf(stderr, "xebec up: %s\n", e.msg);
		return 2;
	}
	if (geteuid() != 0) {
		fprintf(stderr,
			"xebec up: namespaces, cgroups and eBPF need root: run it with sudo\n");
		return 1;
	}
	log_init("up", LOG_LEVEL_INFO);
	return daemon ? detach(&u) : run(&u);
}

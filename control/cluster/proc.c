/* SPDX-License-Identifier: Apache-2.0
 * Supervised processes. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include "cluster/proc.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

enum { PROC_FD = 3 };

void proc_arg(struct proc *p, const char *fmt, ...)
{
	va_list ap;
	size_t i = 0;
	while (i < PROC_MAX_ARGS && p->argv[i])
		i++;
	if (i + 1 >= PROC_MAX_ARGS)
		return;
	va_start(ap, fmt);
	if (vasprintf(&p->argv[i], fmt, ap) < 0)
		p->argv[i] = NULL;
	va_end(ap);
}

static void child_say(const char *what, const char *name)
{
	dprintf(STDERR_FILENO, "xebec up: %s for '%s': %s\n", what, name, strerror(errno));
	_exit(126);
}

static int cgroup_enter(const char *procs)
{
	AUTO_CLOSE int fd = open(procs, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, "0", 1) != 1 ? -1 : 0;
}

/* Between fork and exec: only async-signal-safe calls, since the supervisor has threads. */
static void child_main(struct proc *p, int log_fd)
{
	sigset_t none;
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	if (dup2(log_fd, STDOUT_FILENO) < 0 || dup2(log_fd, STDERR_FILENO) < 0)
		_exit(126);
	if (p->cgroup_procs[0] && cgroup_enter(p->cgroup_procs) < 0)
		child_say("enter the cgroup", p->name);
	if (p->net_fd >= 0 && setns(p->net_fd, CLONE_NEWNET) < 0)
		child_say("enter the network namespace", p->name);
	if (p->mnt_fd >= 0 && setns(p->mnt_fd, CLONE_NEWNS) < 0)
		child_say("enter the mount namespace", p->name);
	if (p->pass_fd >= 0 && dup2(p->pass_fd, PROC_FD) < 0)
		child_say("pass the listening socket", p->name);
	if (p->pass_fd == PROC_FD)
		(void)fcntl(PROC_FD, F_SETFD, 0);
	execvp(p->argv[0], p->argv);
	child_say("run the program", p->argv[0]);
}

static int proc_spawn(struct proc *p, struct err *e)
{
	AUTO_CLOSE int log_fd = open(p->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (log_fd < 0)
		return err_set(e, errno, NULL, "open log '%s'", p->log_path);
	AUTO_CLOSE int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid = fork();
	if (pid < 0)
		return err_set(e, errno, NULL, "fork for '%s'", p->name);
	if (pid == 0) {
		(void)dup2(null_fd, STDIN_FILENO);
		child_main(p, log_fd);
	}
	p->pid = p->child.pid = pid;
	p->started_ns = time_mono();
	int r = loop_child_add(p->loop, &p->child);
	return r < 0 ? err_set(e, r, NULL, "watch process '%s'", p->name) : 0;
}

static void proc_restart(struct loop_timer *t)
{
	struct proc *p = t->arg;
	struct err e = {0};
	if (proc_spawn(p, &e) < 0) {
		log_error("%s", e.msg);
		(void)loop_timer_set(p->loop, &p->restart, NS_PER_SEC);
	}
}

static void on_child(struct loop_child *ch, int status)
{
	enum { STABLE_S = 10, MAX_S = 5 };
	struct proc *p = ch->arg;
	p->pid = 0;
	if (!p->stopping && !p->once) {
		/* A process that ran for a while is started again at once. */
		p->backoff_ns = time_mono() - p->started_ns > STABLE_S * NS_PER_SEC
					? 0
					: p->backoff_ns * 2 + 50 * NS_PER_MS;
		if (p->backoff_ns > MAX_S * NS_PER_SEC)
			p->backoff_ns = MAX_S * NS_PER_SEC;
		p->restarts++;
		if (WIFSIGNALED(status))
			log_warn("%s was killed by signal %d, starting it again (log: %s)", p->name,
				WTERMSIG(status), p->log_path);
		else
			log_warn("%s ended with status %d, starting it again (log: %s)", p->name,
				WEXITSTATUS(status), p->log_path);
		(void)loop_timer_set(p->loop, &p->restart, p->backoff_ns);
	}
	if (p->on_exit)
		p->on_exit(p, status);
}

int proc_start(struct loop *l, struct proc *p, struct err *e)
{
	p->loop = l;
	p->child.fn = on_child;
	p->child.arg = p;
	p->restart.fn = proc_restart;
	p->restart.arg = p;
	p->stopping = false;
	return proc_spawn(p, e);
}

void proc_stop(struct proc *p)
{
	p->stopping = true;
	if (p->loop)
		loop_timer_cancel(&p->restart);
	if (p->pid > 0)
		(void)kill(p->pid, SIGTERM);
}

void proc_free(struct proc *p)
{
	if (p->pid > 0)
		loop_child_del(&p->child);
	if (p->loop)
		loop_timer_cancel(&p->restart);
	for (size_t i = 0; i < PROC_MAX_ARGS; i++)
		free(p->argv[i]);
}

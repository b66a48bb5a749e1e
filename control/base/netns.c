/* SPDX-License-Identifier: Apache-2.0
 * Network namespaces: made, mounted, entered by a helper thread so that the caller's thread never
 * moves. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include "xebec/base/buf.h"
#include "xebec/base/netlink.h"

struct netns_thread {
	int netns_fd; /* -1: a new one */
	int (*fn)(void *arg);
	void *arg;
	int result;
};

static void *netns_main(void *p)
{
	struct netns_thread *t = p;
	int r = t->netns_fd < 0 ? unshare(CLONE_NEWNET) : setns(t->netns_fd, CLONE_NEWNET);
	t->result = r < 0 ? -errno : t->fn(t->arg);
	return NULL;
}

static int netns_thread_run(struct netns_thread *t)
{
	pthread_t id;
	int r = pthread_create(&id, NULL, netns_main, t);
	if (r)
		return -r;
	(void)pthread_join(id, NULL);
	return t->result;
}

int netns_call(int netns_fd, int (*fn)(void *arg), void *arg)
{
	struct netns_thread t = {.netns_fd = netns_fd, .fn = fn, .arg = arg};
	if (netns_fd < 0)
		return -EBADF;
	return netns_thread_run(&t);
}

static int lo_up(void)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link lo;
	int r = nl_open(-1, &n);
	if (r < 0)
		return r;
	r = nl_link_get(n, "lo", &lo);
	return r < 0 ? r : nl_link_up(n, lo.ifindex);
}

static int netns_pin(void *arg)
{
	int r = lo_up();
	if (r < 0)
		return r;
	return mount("/proc/thread-self/ns/net", arg, "none", MS_BIND, NULL) < 0 ? -errno : 0;
}

static int parent_make(const char *path)
{
	char dir[512];
	const char *slash = strrchr(path, '/');
	if (!slash || (size_t)(slash - path) >= sizeof(dir))
		return -EINVAL;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = 0;
	return mkdir_p(dir, 0755);
}

int netns_new(const char *path)
{
	int r = parent_make(path);
	if (r < 0)
		return r;
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (fd < 0)
		return -errno;
	struct netns_thread t = {.netns_fd = -1, .fn = netns_pin, .arg = (void *)(uintptr_t)path};
	r = netns_thread_run(&t);
	if (r < 0) {
		(void)unlink(path);
		return r;
	}
	int ns = open(path, O_RDONLY | O_CLOEXEC);
	return ns < 0 ? -errno : ns;
}

int netns_del(const char *path)
{
	while (umount2(path, MNT_DETACH) == 0)
		continue;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

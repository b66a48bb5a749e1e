/* SPDX-License-Identifier: Apache-2.0
 * Pod cgroups. The runtime makes them too (in every hierarchy), but without the pod's limits, and
 * never removes them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include "kubelet/cgroup.h"
#include "xebec/base/buf.h"

#define CGROUP_FS "/sys/fs/cgroup"

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static bool unified(void)
{
	return exists(CGROUP_FS "/cgroup.controllers");
}

static void put(const char *base, const char *path, const char *file, int64_t value)
{
	AUTO_BUF struct buf name = {0}, text = {0};
	buf_addf(&name, "%s%s/%s", base, path, file);
	buf_addf(&text, "%lld", (long long)value);
	if (name.err || text.err)
		return;
	AUTO_CLOSE int fd = open(name.p, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		(void)!write(fd, text.p, text.len);
}

static void make_in(const char *base, const char *path)
{
	AUTO_BUF struct buf dir = {0};
	buf_addf(&dir, "%s%s", base, path);
	if (!dir.err)
		(void)mkdir_p(dir.p, 0755);
}

static void make_v1(const char *path, const struct pod_limits *l)
{
	/* cpuset is left to the runtime: an empty cpuset.cpus would refuse tasks. */
	static const char *const ctl[] = {CGROUP_FS "/memory", CGROUP_FS "/cpu", CGROUP_FS "/pids"};
	for (size_t i = 0; i < ARRAY_LEN(ctl); i++)
		if (exists(ctl[i]))
			make_in(ctl[i], path);
	if (l->memory > 0)
		put(CGROUP_FS "/memory", path, "memory.limit_in_bytes", l->memory);
	put(CGROUP_FS "/cpu", path, "cpu.shares", l->cpu_shares);
	if (l->cpu_quota > 0) {
		put(CGROUP_FS "/cpu", path, "cpu.cfs_period_us", 100000);
		put(CGROUP_FS "/cpu", path, "cpu.cfs_quota_us", l->cpu_quota);
	}
}

/* Controllers must be enabled in every ancestor. */
static void enable_v2(const char *path)
{
	AUTO_FREE char *copy = strdup(path);
	for (char *p = copy; p && *p; p++) {
		if (*p != '/')
			continue;
		AUTO_BUF struct buf f = {0};
		*p = '\0';
		buf_addf(&f, CGROUP_FS "%s/cgroup.subtree_control", copy);
		*p = '/';
		AUTO_CLOSE int fd = f.err ? -1 : open(f.p, O_WRONLY | O_CLOEXEC);
		if (fd >= 0)
			(void)!write(fd, "+cpu +memory +pids", 18);
	}
}

static void make_v2(const char *path, const struct pod_limits *l)
{
	make_in(CGROUP_FS, path);
	enable_v2(path);
	if (l->memory > 0)
		put(CGROUP_FS, path, "memory.max", l->memory);
	put(CGROUP_FS, path, "cpu.weight", 1 + ((l->cpu_shares - 2) * 9999) / 262142);
	if (l->cpu_quota > 0)
		put(CGROUP_FS, path, "cpu.max", l->cpu_quota);
}

void cgroup_make(const char *path, const struct pod_limits *lim)
{
	if (unified())
		make_v2(path, lim);
	else
		make_v1(path, lim);
}

static void remove_tree(const char *dir, unsigned depth)
{
	DIR *d = depth < 8 ? opendir(dir) : NULL;
	for (struct dirent *de; d && (de = readdir(d));) {
		AUTO_BUF struct buf sub = {0};
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		buf_addf(&sub, "%s/%s", dir, de->d_name);
		if (!sub.err)
			remove_tree(sub.p, depth + 1);
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(dir);
}

static void each_hierarchy(void (*fn)(void *arg, const char *base), void *arg)
{
	if (unified()) {
		fn(arg, CGROUP_FS);
		return;
	}
	DIR *d = opendir(CGROUP_FS);
	for (struct dirent *de; d && (de = readdir(d));) {
		AUTO_BUF struct buf base = {0};
		if (de->d_type != DT_DIR || de->d_name[0] == '.')
			continue;
		buf_addf(&base, CGROUP_FS "/%s", de->d_name);
		if (!base.err)
			fn(arg, base.p);
	}
	if (d)
		(void)closedir(d);
}

static void remove_in(void *arg, const char *base)
{
	AUTO_BUF struct buf dir = {0};
	buf_addf(&dir, "%s%s", base, (const char *)arg);
	if (!dir.err && exists(dir.p))
		remove_tree(dir.p, 0);
}

void cgroup_remove(const char *path)
{
	each_hierarchy(remove_in, (void *)path);
}

void cgroup_pods(const char *cgroup_root, void (*fn)(void *arg, const char *path, const char *uid),
	void *arg)
{
	static const char *const qos[] = {"", "/burstable", "/besteffort"};
	const char *base = unified() ? CGROUP_FS : CGROUP_FS "/pids";
	const char *root = cgroup_root && strcmp(cgroup_root, "/") != 0 ? cgroup_root : "";
	for (size_t i = 0; i < ARRAY_LEN(qos); i++) {
		AUTO_BUF struct buf dir = {0};
		buf_addf(&dir, "%s%s/kubepods%s", base, root, qos[i]);
		DIR *d = dir.err ? NULL : opendir(dir.p);
		for (struct dirent *de; d && (de = readdir(d));) {
			AUTO_BUF struct buf path = {0};
			if (strncmp(de->d_name, "pod", 3) != 0)
				continue;
			buf_addf(&path, "%s/kubepods%s/%s", root, qos[i], de->d_name);
			if (!path.err)
				fn(arg, path.p, de->d_name + 3);
		}
		if (d)
			(void)closedir(d);
	}
}

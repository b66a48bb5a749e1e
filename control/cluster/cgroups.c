/* SPDX-License-Identifier: Apache-2.0
 * The cluster's cgroups: xebec/<name>/<part> in the cgroup2 tree, and what the kubelets and runc
 * made below it in every hierarchy. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "cluster/cluster.h"
#include "xebec/base/timefmt.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

/* Where cgroup2 is: alone, or beside the version 1 hierarchies. */
static const char *unified(void)
{
	return access(CGROUP_ROOT "/cgroup.procs", F_OK) == 0 ? CGROUP_ROOT
							      : CGROUP_ROOT "/unified";
}

int cgroup_join_path(const struct cluster *c, const char *part, char *out, size_t cap)
{
	AUTO_BUF struct buf dir = {0};
	buf_addf(&dir, "%s/xebec/%s/%s", unified(), c->name, part);
	int r = dir.err ? dir.err : mkdir_p(dir.p, 0755);
	if (r < 0)
		return r;
	return (size_t)snprintf(out, cap, "%s/cgroup.procs", dir.p) < cap ? 0 : -ENAMETOOLONG;
}

static bool populated(const char *dir)
{
	AUTO_BUF struct buf path = {0}, text = {0};
	buf_addf(&path, "%s/cgroup.events", dir);
	return !path.err && file_read(path.p, 4096, &text) == 0 && text.p &&
	       strstr(text.p, "populated 1");
}

int cgroup_kill_all(const char *cluster_name, struct err *e)
{
	enum { TRIES = 1000, STEP_MS = 10 };
	AUTO_BUF struct buf dir = {0}, path = {0};
	buf_addf(&dir, "%s/xebec/%s", unified(), cluster_name);
	buf_addf(&path, "%s/cgroup.kill", dir.p ? dir.p : "");
	if (dir.err || path.err)
		return -ENOMEM;
	if (access(dir.p, F_OK) < 0)
		return 0;
	for (int i = 0; populated(dir.p); i++) {
		AUTO_CLOSE int fd = open(path.p, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "1", 1) != 1)
			return err_set(e, errno, NULL, "kill the processes in '%s'", dir.p);
		if (i == TRIES)
			return err_set(e, ETIMEDOUT, NULL, "processes in '%s' do not end", dir.p);
		(void)poll(NULL, 0, STEP_MS);
	}
	return 0;
}

/* Directories only: the files in a cgroup are not removable and go with it. */
static void tree_rmdir(const char *path)
{
	DIR *d = opendir(path);
	if (!d)
		return;
	for (struct dirent *de; (de = readdir(d));) {
		AUTO_BUF struct buf sub = {0};
		if (de->d_type != DT_DIR || strcmp(de->d_name, ".") == 0 ||
			strcmp(de->d_name, "..") == 0)
			continue;
		buf_addf(&sub, "%s/%s", path, de->d_name);
		if (!sub.err)
			tree_rmdir(sub.p);
	}
	(void)closedir(d);
	(void)rmdir(path);
}

static void hierarchy_clean(const char *root, const char *cluster_name)
{
	AUTO_BUF struct buf path = {0}, parent = {0};
	buf_addf(&path, "%s/xebec/%s", root, cluster_name);
	buf_addf(&parent, "%s/xebec", root);
	if (path.err || parent.err)
		return;
	tree_rmdir(path.p);
	(void)rmdir(parent.p); /* stays while another cluster is there */
}

void cgroup_remove_all(const char *cluster_name)
{
	hierarchy_clean(CGROUP_ROOT, cluster_name);
	DIR *d = opendir(CGROUP_ROOT);
	if (!d)
		return;
	for (struct dirent *de; (de = readdir(d));) {
		AUTO_BUF struct buf root = {0};
		if (de->d_name[0] == '.')
			continue;
		buf_addf(&root, CGROUP_ROOT "/%s", de->d_name);
		if (!root.err)
			hierarchy_clean(root.p, cluster_name);
	}
	(void)closedir(d);
}

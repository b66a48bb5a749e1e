/* SPDX-License-Identifier: Apache-2.0
 * Removing a cluster. Every step looks at what is there instead of remembering what was made, so it
 * works after any crash. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include "cluster/cluster.h"
#include "xebec/base/netlink.h"

/* Calls fn with "<dir>/<entry>" for each entry; an absent directory has none. */
static void dir_each(const char *dir, void (*fn)(const char *path))
{
	DIR *d = opendir(dir);
	if (!d)
		return;
	for (struct dirent *de; (de = readdir(d));) {
		AUTO_BUF struct buf path = {0};
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		buf_addf(&path, "%s/%s", dir, de->d_name);
		if (!path.err)
			fn(path.p);
	}
	(void)closedir(d);
}

/* A shim's socket lies outside our directories; its bundle says where:
 * unix:///run/containerd/s/<hash>. */
static void shim_socket_remove(const char *bundle)
{
	AUTO_BUF struct buf path = {0}, text = {0};
	buf_addf(&path, "%s/address", bundle);
	if (path.err || file_read(path.p, 4096, &text) < 0 || !text.p ||
		strncmp(text.p, "unix:///run/containerd/s/", 25) != 0)
		return;
	text.p[strcspn(text.p, "\n")] = 0;
	(void)unlink(text.p + strlen("unix://"));
}

static void node_remove(const struct cluster *c, unsigned i)
{
	char node[64];
	AUTO_BUF struct buf tasks = {0}, ns = {0}, pins = {0};
	cluster_node_name(c, i, node);
	buf_addf(&tasks, "%s/%s/containerd/io.containerd.runtime.v2.task/k8s.io", c->run, node);
	buf_addf(&ns, "%s/netns/%s", c->run, node);
	buf_addf(&pins, CLUSTER_PIN_ROOT "/%s", node);
	if (tasks.err || ns.err || pins.err)
		return;
	dir_each(tasks.p, shim_socket_remove);
	(void)rm_rf(pins.p);
	(void)netns_del(ns.p);
}

/* Mounts below dir in this mount namespace, the last one first. */
static void unmount_below(const char *dir)
{
	size_t n = strlen(dir);
	for (bool again = true; again;) {
		char line[4096], path[PATH_MAX], last[PATH_MAX] = "";
		AUTO_FCLOSE FILE *f = fopen("/proc/self/mountinfo", "re");
		again = false;
		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "%*s %*s %*s %*s %4095s", path) == 1 &&
				strncmp(path, dir, n) == 0 && path[n] == '/')
				(void)snprintf(last, sizeof(last), "%s", path);
		if (last[0] && umount2(last, MNT_DETACH) == 0)
			again = true;
	}
}

static void data_remove(const struct cluster *c)
{
	AUTO_BUF struct buf server = {0};
	buf_addf(&server, "%s/server", c->data);
	if (!server.err)
		(void)rm_rf(server.p);
	for (unsigned i = 1; i <= c->nodes; i++) {
		char node[64];
		AUTO_BUF struct buf path = {0};
		cluster_node_name(c, i, node);
		buf_addf(&path, "%s/%s", c->data, node);
		if (!path.err)
			(void)rm_rf(path.p);
	}
	AUTO_BUF struct buf failed = {0};
	buf_addf(&failed, "%s.failed", c->run); /* logs of an attempt that did not come up */
	if (!failed.err)
		(void)rm_rf(failed.p);
	(void)unlink(c->kubeconfig);
	(void)rmdir(c->data); /* stays when the user keeps images or other files in it */
	(void)rmdir("/var/lib/xebec");
}

static void common_remove(void)
{
	(void)rmdir(CLUSTER_PIN_ROOT);
	if (access(CLUSTER_BPFFS_MARK, F_OK) == 0 && access(CLUSTER_PIN_ROOT, F_OK) < 0 &&
		umount("/sys/fs/bpf") == 0)
		(void)unlink(CLUSTER_BPFFS_MARK);
	(void)rmdir(CLUSTER_RUN_ROOT);
	(void)rmdir("/run/containerd/s");
	(void)rmdir("/run/containerd");
}

int cluster_teardown(const struct cluster *c, bool with_data, struct err *e)
{
	AUTO_BUF struct buf net = {0};
	int r = cgroup_kill_all(c->name, e);
	if (r < 0)
		return r;
	/* One more than we know of: a crash may have come between making a node and saving its
	 * number. */
	for (unsigned i = 1; i <= c->nodes + 1; i++)
		node_remove(c, i);
	buf_addf(&net, "%s/netns/net", c->run);
	if (!net.err)
		(void)netns_del(net.p);
	unmount_below(c->run);
	unmount_below(c->data);
	cgroup_remove_all(c->name);
	buf_clear(&net);
	buf_addf(&net, CLUSTER_RUN_ROOT "/%s", c->name);
	if (!net.err && strcmp(net.p, c->run) != 0)
		(void)unlink(net.p); /* the link to a run directory elsewhere */
	r = rm_rf(c->run);
	if (r < 0 && r != -ENOENT)
		return err_set(e, r, NULL, "remove '%s'", c->run);
	if (with_data)
		data_remove(c);
	common_remove();
	return 0;
}

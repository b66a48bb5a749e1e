/* SPDX-License-Identifier: Apache-2.0
 * tcx links by the raw system call (the packaged libbpf does not know them), clsact as fallback. */
#include "attach.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#define TCX_INGRESS 46 /* BPF_TCX_INGRESS, _EGRESS (linux 6.6) */
#define TCX_EGRESS  47

static bool hook_ingress(enum xb_hook h)
{
	return h == HOOK_POD || h == HOOK_NIC_IN || h == HOOK_VX;
}

static void link_path(const struct maps *m, const char *name, enum xb_hook hook, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%.3800s/links/", maps_dir(m));
	char *file = out + n;
	(void)snprintf(file, 250, "%s:%.200s", maps_hook_name(hook), name);
	/* A bpffs refuses dots in names. */
	for (char *p = file; *p; p++)
		*p = *p == '.' ? '_' : *p;
}

static int tcx_link_create(int prog_fd, int ifindex, bool ingress)
{
	union bpf_attr a;
	memset(&a, 0, sizeof a);
	a.link_create.prog_fd = (uint32_t)prog_fd;
	a.link_create.target_ifindex = (uint32_t)ifindex;
	a.link_create.attach_type = ingress ? TCX_INGRESS : TCX_EGRESS;
	long r = syscall(SYS_bpf, BPF_LINK_CREATE, &a, sizeof a);
	return r < 0 ? -errno : (int)r;
}

/* Index of the interface a link is on, in its own namespace; 0 = gone. */
static uint32_t link_ifindex(int fd)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof info;
	/* info.tcx starts like info.xdp: with the index */
	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.xdp.ifindex;
}

/* 0 = the pinned link now runs prog_fd on ifindex (0 = wherever it is); -ENOENT = no usable link.
 */
static int link_swap(const char *path, int prog_fd, int ifindex)
{
	AUTO_CLOSE int fd = bpf_obj_get(path);
	if (fd < 0)
		return -ENOENT;
	uint32_t on = link_ifindex(fd);
	if (on != 0 && (ifindex == 0 || on == (uint32_t)ifindex))
		return bpf_link_update(fd, prog_fd, NULL) ? -errno : 0;
	(void)unlink(path);
	return -ENOENT;
}

static int attach_clsact(int prog_fd, int ifindex, bool ingress)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex,
		.attach_point = ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1, .prog_fd = prog_fd,
		.flags = BPF_TC_F_REPLACE);
	int r = bpf_tc_hook_create(&hook);
	if (r && r != -EEXIST)
		return r;
	return bpf_tc_attach(&hook, &opts);
}

int attach_hook(struct maps *m, int ifindex, const char *name, enum xb_hook hook, struct err *e)
{
	char path[PATH_MAX];
	int prog = maps_prog_fd(m, hook);
	link_path(m, name, hook, path);
	int r = link_swap(path, prog, ifindex);
	if (r == 0)
		return 0;
	if (r != -ENOENT)
		return err_set(e, r, "InternalError", "swap %s on %s: %s", maps_hook_name(hook),
			name, strerror(-r));
	AUTO_CLOSE int fd = tcx_link_create(prog, ifindex, hook_ingress(hook));
	if (fd == -EINVAL || fd == -ENOTSUP) /* before 6.6 */
		r = attach_clsact(prog, ifindex, hook_ingress(hook));
	else if (fd < 0)
		r = fd;
	else
		r = bpf_obj_pin(fd, path) ? -errno : 0;
	if (r)
		return err_set(e, r, "InternalError", "attach %s to %s: %s", maps_hook_name(hook),
			name, strerror(-r));
	return 0;
}

void attach_release(struct maps *m, const char *name, enum xb_hook hook)
{
	char path[PATH_MAX];
	link_path(m, name, hook, path);
	(void)unlink(path);
}

static int hook_of_pin(const char *file)
{
	size_t n = strcspn(file, ":");
	for (int h = 0; h < HOOK_MAX; h++)
		if (strlen(maps_hook_name(h)) == n && memcmp(file, maps_hook_name(h), n) == 0)
			return h;
	return -1;
}

static void cleanup_dir(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

int attach_update_all(struct maps *m, struct err *e)
{
	char dir[PATH_MAX + 8], path[2 * PATH_MAX];
	int swapped = 0;
	(void)snprintf(dir, sizeof dir, "%s/links", maps_dir(m));
	AUTO(cleanup_dir) DIR *d = opendir(dir);
	if (!d)
		return err_set(e, errno, "InternalError", "%s: %s", dir, strerror(errno));
	for (struct dirent *f; (f = readdir(d));) {
		int hook = hook_of_pin(f->d_name);
		if (hook < 0)
			continue;
		(void)snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
		int r = link_swap(path, maps_prog_fd(m, (enum xb_hook)hook), 0);
		if (r && r != -ENOENT)
			return err_set(e, r, "InternalError", "swap %s: %s", path, strerror(-r));
		swapped += r == 0;
	}
	return swapped;
}

int attach_pod(struct maps *m, int ifindex, const char *name, struct err *e)
{
	int r = attach_hook(m, ifindex, name, HOOK_TO_POD, e);
	return r ? r : attach_hook(m, ifindex, name, HOOK_POD, e);
}

void attach_pod_release(struct maps *m, const char *name)
{
	attach_release(m, name, HOOK_POD);
	attach_release(m, name, HOOK_TO_POD);
}

/* The pod's addresses: one or two. */
static size_t link_addresses(const struct podlink *l, struct ip out[2])
{
	static const struct in6_addr none;
	size_t n = 1;
	out[0] = (struct ip){.family = 4};
	memcpy(out[0].b, &l->addr, 4);
	if (memcmp(&l->addr6, &none, sizeof none) != 0) {
		out[n] = (struct ip){.family = 6};
		memcpy(out[n++].b, &l->addr6, 16);
	}
	return n;
}

int attach_podlink(struct maps *m, const struct podlink *l, struct err *e)
{
	struct ep_info ep = {.ifindex = (uint32_t)l->host_ifindex};
	struct ip ips[2];
	size_t n = link_addresses(l, ips);
	memcpy(ep.mac, l->pod_mac, 6);
	memcpy(ep.host_mac, l->host_mac, 6);
	int r = attach_pod(m, l->host_ifindex, l->host_name, e);
	for (size_t i = 0; i < n && r == 0; i++) {
		ep.ip = ips[i];
		if ((r = ep_set(m, &ep)) < 0)
			(void)err_set(e, r, NULL, "add the pod to map ep%u: %s", ips[i].family,
				strerror(-r));
	}
	return r;
}

void attach_podlink_release(struct maps *m, const struct podlink *l)
{
	struct ip ips[2];
	for (size_t n = link_addresses(l, ips); n;)
		(void)ep_del(m, &ips[--n]);
	attach_pod_release(m, l->host_name);
}

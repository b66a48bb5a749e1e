/* SPDX-License-Identifier: Apache-2.0
 * Loading the socket programs over the node's maps, and their links to the cgroup. */
#include "sock.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "xebec/abi/sock.h"
#include "xebec/base/buf.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include "sock.skel.h"
#pragma GCC diagnostic pop

#define SO_NETNS_COOKIE_ 71 /* linux 5.14 */

struct sock {
	struct maps *maps;
	struct sock_bpf *skel;
	int iter_udp, iter_tcp; /* links; -1 = the kernel cannot destroy sockets */
};

static const struct {
	const char *prog;
	enum bpf_attach_type at;
} hooks[] = {
	/* The way back before the way in. */
	{"sk_peername4", BPF_CGROUP_INET4_GETPEERNAME},
	{"sk_peername6", BPF_CGROUP_INET6_GETPEERNAME},
	{"sk_recvmsg4", BPF_CGROUP_UDP4_RECVMSG},
	{"sk_recvmsg6", BPF_CGROUP_UDP6_RECVMSG},
	{"sk_connect4", BPF_CGROUP_INET4_CONNECT},
	{"sk_connect6", BPF_CGROUP_INET6_CONNECT},
	{"sk_sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
	{"sk_sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
	{"sk_bind4", BPF_CGROUP_INET4_POST_BIND},
	{"sk_bind6", BPF_CGROUP_INET6_POST_BIND},
};

/* Maps of this object alone, pinned beside the others. */
static const char *const own_maps[] = {"sk_peer", "skrev"};

static void pin_path(const struct maps *m, const char *sub, const char *name, char out[PATH_MAX])
{
	(void)snprintf(out, PATH_MAX, "%.3800s/%s%s", maps_dir(m), sub, name);
}

int sock_cgroup_path(const char *path, char *out, size_t cap)
{
	static const char *const roots[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
		char procs[PATH_MAX];
		(void)snprintf(procs, sizeof procs, "%s/cgroup.procs", roots[i]);
		if (access(procs, F_OK) < 0)
			continue;
		int n = snprintf(out, cap, "%s%s", roots[i], strcmp(path, "/") == 0 ? "" : path);
		if (n < 0 || (size_t)n >= cap)
			return -ENAMETOOLONG;
		return access(out, F_OK) < 0 ? -errno : 0;
	}
	return -ENOENT;
}

static int netns_cookie(uint64_t *ret)
{
	AUTO_CLOSE int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof *ret;
	return fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE_, ret, &len) < 0 ? -errno : 0;
}

/* ------------------------------------------------------------------ maps */

/* 0 = the object uses the pinned map; -ENOENT none that fits. */
static int own_reuse(struct maps *m, struct bpf_map *bm)
{
	char path[PATH_MAX];
	struct bpf_map_info info = {0};
	uint32_t len = sizeof info;
	pin_path(m, "", bpf_map__name(bm), path);
	AUTO_CLOSE int fd = bpf_obj_get(path);
	if (fd < 0)
		return -ENOENT;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == bpf_map__type(bm) &&
		info.key_size == bpf_map__key_size(bm) &&
		info.value_size == bpf_map__value_size(bm))
		return bpf_map__reuse_fd(bm, fd);
	(void)unlink(path); /* of another version: what it says about sockets is lost */
	return -ENOENT;
}

static int maps_share(struct maps *m, struct sock_bpf *skel)
{
	for (int i = 0; i < MAP_COUNT; i++) {
		struct bpf_map *bm =
			bpf_object__find_map_by_name(skel->obj, maps_name((enum map_id)i));
		int r = bm ? bpf_map__reuse_fd(bm, maps_fd(m, (enum map_id)i)) : 0;
		if (r)
			return r;
	}
	for (size_t i = 0; i < ARRAY_LEN(own_maps); i++) {
		int r = own_reuse(m, bpf_object__find_map_by_name(skel->obj, own_maps[i]));
		if (r && r != -ENOENT)
			return r;
	}
	return 0;
}

static int own_pin(struct maps *m, struct sock_bpf *skel)
{
	for (size_t i = 0; i < ARRAY_LEN(own_maps); i++) {
		char path[PATH_MAX];
		struct bpf_map *bm = bpf_object__find_map_by_name(skel->obj, own_maps[i]);
		pin_path(m, "", own_maps[i], path);
		if (access(path, F_OK) < 0 && bpf_obj_pin(bpf_map__fd(bm), path))
			return -errno;
	}
	return 0;
}

/* ------------------------------------------------------------------ links */

/* Which cgroup a link is at; 0 = one that is gone. */
static uint64_t link_cgroup(int fd)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof info;
	return bpf_obj_get_info_by_fd(fd, &info, &len) ? 0 : info.cgroup.cgroup_id;
}

static int hook_link(struct sock *s, size_t i, int cgroup, uint64_t cgroup_id, struct err *e)
{
	char path[PATH_MAX];
	struct bpf_program *p = bpf_object__find_program_by_name(s->skel->obj, hooks[i].prog);
	int prog = bpf_program__fd(p);
	pin_path(s->maps, "links/", hooks[i].prog, path);
	AUTO_CLOSE int old = bpf_obj_get(path);
	if (old >= 0 && link_cgroup(old) == cgroup_id) {
		if (bpf_link_update(old, prog, NULL) == 0)
			return 0;
		return err_set(
			e, errno, "InternalError", "swap %s: %s", hooks[i].prog, strerror(errno));
	}
	(void)unlink(path);
	AUTO_CLOSE int fd = bpf_link_create(prog, cgroup, hooks[i].at, NULL);
	if (fd < 0 || bpf_obj_pin(fd, path))
		return err_set(e, errno, "InternalError", "attach %s to its cgroup: %s",
			hooks[i].prog, strerror(errno));
	return 0;
}

static int hooks_link(struct sock *s, const char *cgroup, struct err *e)
{
	struct stat st;
	AUTO_CLOSE int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(
			e, errno, "InternalError", "open cgroup %s: %s", cgroup, strerror(errno));
	for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
		int r = hook_link(s, i, fd, st.st_ino, e); /* cgroup2: inode number = id */
		if (r)
			return r;
	}
	return 0;
}

void sock_detach(struct maps *m)
{
	for (size_t i = 0; i < ARRAY_LEN(hooks); i++) {
		char path[PATH_MAX];
		pin_path(m, "links/", hooks[i].prog, path);
		(void)unlink(path);
	}
}

/* ------------------------------------------------------------------ destroying sockets */

static int iter_link(struct sock *s, const char *name)
{
	struct bpf_program *p = bpf_object__find_program_by_name(s->skel->obj, name);
	int fd = bpf_program__fd(p);
	return fd < 0 ? -1 : bpf_link_create(fd, 0, BPF_TRACE_ITER, NULL);
}

/* Opening and reading the iterator runs its program for every socket of the namespace. */
static int iter_walk(int link)
{
	char text[64];
	ssize_t n;
	AUTO_CLOSE int fd = link < 0 ? -1 : bpf_iter_create(link);
	if (fd < 0)
		return link < 0 ? 0 : -errno;
	while ((n = read(fd, text, sizeof text)) > 0 || (n < 0 && errno == EAGAIN))
		;
	return n < 0 ? -errno : 0;
}

/* Whether any service asks for resets: a walk over all TCP sockets is milliseconds. */
static bool resets_wanted(const struct maps *m)
{
	const struct xb_svc *svc = maps_mem(m, MAP_svc_tab);
	for (uint32_t i = 1; i < maps_max(m, MAP_svc_tab); i++)
		if (svc[i].flags & SVC_RESET)
			return true;
	return false;
}

int sock_kill_stale(struct sock *s)
{
	int r = iter_walk(s->iter_udp);
	return r < 0 || !resets_wanted(s->maps) ? r : iter_walk(s->iter_tcp);
}

/* ------------------------------------------------------------------ life */

static int load(struct sock *s, bool kill)
{
	struct xb_cfg *cfg;
	sock_bpf__destroy(s->skel);
	s->skel = sock_bpf__open();
	if (!s->skel)
		return -errno;
	cfg = (struct xb_cfg *)&s->skel->rodata->cfg;
	*cfg = *maps_cfg(s->maps);
	s->skel->rodata->sk_cfg.loopback_ports = 1;
	int r = netns_cookie((uint64_t *)&s->skel->rodata->sk_cfg.netns_cookie);
	if (r == 0)
		r = maps_share(s->maps, s->skel);
	if (r)
		return r;
	if (!kill) {
		(void)bpf_program__set_autoload(s->skel->progs.sk_kill_udp, false);
		(void)bpf_program__set_autoload(s->skel->progs.sk_kill_tcp, false);
	}
	return sock_bpf__load(s->skel);
}

int sock_open(struct maps *m, const char *cgroup, struct sock **ret, struct err *e)
{
	struct sock *s = calloc(1, sizeof *s);
	if (!s)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	*s = (struct sock){.maps = m, .iter_udp = -1, .iter_tcp = -1};
	int r = load(s, true);
	if (r) /* bpf_sock_destroy: linux 6.5 */
		r = load(s, false);
	if (r == 0)
		r = own_pin(m, s->skel);
	if (r)
		(void)err_set(e, r, "InternalError", "socket programs: %s", strerror(-r));
	else
		r = hooks_link(s, cgroup, e);
	if (r) {
		sock_free(s);
		return r;
	}
	s->iter_udp = iter_link(s, "sk_kill_udp");
	s->iter_tcp = iter_link(s, "sk_kill_tcp");
	*ret = s;
	return 0;
}

void sock_free(struct sock *s)
{
	if (!s)
		return;
	if (s->iter_udp >= 0)
		(void)close(s->iter_udp);
	if (s->iter_tcp >= 0)
		(void)close(s->iter_tcp);
	sock_bpf__destroy(s->skel);
	free(s);
}

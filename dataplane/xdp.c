/* SPDX-License-Identifier: Apache-2.0
 * Loading the XDP program over the node's maps, and its link. */
#include "xdp.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include "xebec/base/log.h"
#include "xebec/base/str.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include "xdp.skel.h"
#pragma GCC diagnostic pop

int xdp_mode_parse(const char *name, enum xdp_mode *ret)
{
	static const char *const names[] = {"off", "auto", "native", "generic"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(name ? name : "off", names[i]) == 0) {
			*ret = (enum xdp_mode)i;
			return 0;
		}
	return -EINVAL;
}

int xdp_load(struct maps *m, struct xdp_bpf **ret, struct err *e)
{
	struct xdp_bpf *x = xdp_bpf__open();
	if (!x)
		return err_set(e, errno, "InternalError", "XDP object");
	*(struct xb_cfg *)&x->rodata->cfg = *maps_cfg(m);
	int r = 0;
	for (int i = 0; i < MAP_COUNT && r == 0; i++) {
		struct bpf_map *bm =
			bpf_object__find_map_by_name(x->obj, maps_name((enum map_id)i));
		r = bm ? bpf_map__reuse_fd(bm, maps_fd(m, (enum map_id)i)) : 0;
	}
	r = r ? r : xdp_bpf__load(x);
	if (r) {
		xdp_bpf__destroy(x);
		return err_set(e, r, "InternalError", "loading the XDP program: %s", strerror(-r));
	}
	*ret = x;
	return 0;
}

int xdp_prog_fd(const struct xdp_bpf *x, const char *name)
{
	struct bpf_program *p = bpf_object__find_program_by_name(x->obj, name);
	return p ? bpf_program__fd(p) : -1;
}

void xdp_unload(struct xdp_bpf *x)
{
	xdp_bpf__destroy(x);
}

/* The mode of a link that is there cannot change. 0 = swapped; -ENOENT = none that will do. */
static int link_swap(const char *path, int prog, int ifindex)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof info;
	AUTO_CLOSE int fd = bpf_obj_get(path);
	if (fd < 0)
		return -ENOENT;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.xdp.ifindex == (uint32_t)ifindex &&
		bpf_link_update(fd, prog, NULL) == 0)
		return 0;
	(void)unlink(path);
	return -ENOENT;
}

static int link_new(const char *path, int prog, int ifindex, enum xdp_mode mode)
{
	LIBBPF_OPTS(bpf_link_create_opts, o,
		.flags = mode == XDP_MODE_GENERIC ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
	AUTO_CLOSE int fd = bpf_link_create(prog, ifindex, BPF_XDP, &o);
	return fd < 0 || bpf_obj_pin(fd, path) ? -errno : 0;
}

/* A pair of this machine: its driver takes the program, but segmentation offload goes with it, and
 * what turns round reaches the other end only if that has a program too. */
static bool is_veth(const char *name)
{
	struct ethtool_drvinfo d = {.cmd = ETHTOOL_GDRVINFO};
	struct ifreq q = {.ifr_data = (void *)&d};
	AUTO_CLOSE int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	(void)snprintf(q.ifr_name, sizeof q.ifr_name, "%.15s", name);
	return s >= 0 && ioctl(s, SIOCETHTOOL, &q) == 0 && strcmp(d.driver, "veth") == 0;
}

/* Unlike the loss of its last pin this takes effect at once: the place is free for another mode. */
static void link_remove(const char *path)
{
	AUTO_CLOSE int fd = bpf_obj_get(path);
	if (fd >= 0)
		(void)bpf_link_detach(fd);
	(void)unlink(path);
}

int xdp_attach(struct maps *m, int ifindex, const char *name, enum xdp_mode mode, struct err *e)
{
	static const char *const words[] = {"off", "native", "native", "generic"};
	char path[PATH_MAX];
	struct xdp_bpf *x = NULL;
	if (mode == XDP_MODE_AUTO && is_veth(name))
		mode = XDP_MODE_OFF;
	int n = snprintf(path, sizeof path, "%.3800s/links/xdp_%s:", maps_dir(m), words[mode]);
	(void)snprintf(path + n, 64, "%.60s", name);
	for (char *p = path + n; *p; p++) /* a bpffs refuses dots */
		*p = *p == '.' ? '_' : *p;
	for (size_t i = 1; i < ARRAY_LEN(words); i++) { /* of another mode: away with it */
		char other[PATH_MAX];
		(void)snprintf(other, sizeof other, "%.3800s/links/xdp_%s:%s", maps_dir(m),
			words[i], path + n);
		if (strcmp(other, path) != 0)
			link_remove(other);
	}
	if (mode == XDP_MODE_OFF)
		return 0;
	int r = xdp_load(m, &x, e);
	if (r == 0) {
		int prog = xdp_prog_fd(x, "xdp_nic");
		r = link_swap(path, prog, ifindex);
		r = r == -ENOENT ? link_new(path, prog, ifindex, mode) : r;
		if (r)
			(void)err_set(e, r, "InternalError", "XDP on %s: %s", name, strerror(-r));
		xdp_unload(x);
	}
	if (r && mode == XDP_MODE_AUTO) {
		log_info("%s; packets take the way by TC", e->msg);
		return 0;
	}
	return r;
}

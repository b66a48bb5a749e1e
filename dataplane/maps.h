/* SPDX-License-Identifier: Apache-2.0
 * The kernel side of one node: its pinned maps, its loaded programs. Everything is pinned under
 * pin_dir and found again by the next process, so packets flow on without us. A struct maps belongs
 * to one thread. */
#ifndef XEBEC_DATAPLANE_MAPS_H
#define XEBEC_DATAPLANE_MAPS_H

#include <stdbool.h>
#include <stdint.h>
#include "ip.h"
#include "xebec/abi/maps.h"
#include "xebec/base/cleanup.h"
#include "xebec/base/err.h"

/* clang-format off */
#define MAP_LIST \
	X(svc4) X(svc_tab) X(be_tab) X(lut) X(svc_info) X(ct4) X(ctn4) X(aff) X(srcr) X(ep4) \
	X(ep_tab4) X(ipc4) X(lip4) X(frag4) X(svc6) X(ct6) X(ctn6) X(ep6) X(ep_tab6) X(ipc6) X(lip6) \
	X(frag6) X(node) X(be_open) X(be_st) X(svc_st) X(stat) X(ev) X(meta)
/* clang-format on */
enum map_id {
#define X(name) MAP_##name,
	MAP_LIST
#undef X
		MAP_COUNT
};

struct maps_config {
	const char *pin_dir;	 /* "/sys/fs/bpf/xebec/<node>"; made, bpffs mounted when missing */
	struct xb_cfg cfg;	 /* zero fields of ranges, timeouts and sizes get defaults */
	uint32_t max[MAP_COUNT]; /* entries; 0 = default. Existing pinned maps keep theirs */
};

struct maps;
/* Opens or makes the maps and loads the programs. Pinned maps of another schema are replaced.
 * Programs already attached stay as they are until attach_update_all. */
int maps_open(const struct maps_config *c, struct maps **ret, struct err *e);
/* For tools: only the pinned maps, no programs. -ENOENT when there are none. */
int maps_open_pinned(const char *pin_dir, struct maps **ret, struct err *e);
void maps_free(struct maps *m); /* leaves pins and links */
#define AUTO_MAPS AUTO(cleanup_maps)
static inline void cleanup_maps(struct maps **m)
{
	maps_free(*m);
}

int maps_fd(const struct maps *m, enum map_id id);
uint32_t maps_max(const struct maps *m, enum map_id id);
const struct xb_cfg *maps_cfg(const struct maps *m); /* as loaded; NULL without programs */
const char *maps_name(enum map_id id);
const char *maps_dir(const struct maps *m);
bool maps_adopted(const struct maps *m); /* the maps were there before us */
/* The BPF_F_MMAPABLE arrays (svc_tab, be_tab, lut, ep_tab4, ep_tab6, meta) as memory; NULL for
 * others. */
void *maps_mem(const struct maps *m, enum map_id id);
int maps_prog_fd(const struct maps *m, enum xb_hook hook); /* -1 when opened by maps_open_pinned */
const char *maps_hook_name(enum xb_hook hook);
/* Another program of the object by name ("tc_empty", "ct_gc"); -1 when absent. */
int maps_prog_fd_by_name(const struct maps *m, const char *name);

/* Makes sure that a BPF file system is mounted where path will be (mounts /sys/fs/bpf if needed).
 */
int bpffs_ensure(const char *path, struct err *e);
/* Removes all pins of a node: the programs leave the interfaces, the maps go. 0 when absent. */
int pins_remove(const char *pin_dir);

/* Pods of this node. Packets to `ip` go to the pod behind ifindex. */
struct ep_info {
	struct ip ip;
	uint32_t ifindex;    /* host side of the veth */
	uint8_t mac[6];	     /* the pod's interface */
	uint8_t host_mac[6]; /* the host side */
};
int ep_set(struct maps *m, const struct ep_info *ep);
int ep_del(struct maps *m, const struct ip *ip); /* -ENOENT */
/* Addresses of the node itself: node ports answer on them. */
int lip_set(struct maps *m, const struct ip *ip);
int lip_del(struct maps *m, const struct ip *ip);

#endif

/* SPDX-License-Identifier: Apache-2.0
 * Opening, pinning and reusing maps; loading programs. */
#include "maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <linux/magic.h>
#include "xebec/base/buf.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#include "xebec.skel.h"
#pragma GCC diagnostic pop

struct maps {
	char dir[PATH_MAX];
	struct xebec_bpf *skel; /* NULL when opened by maps_open_pinned */
	int fd[MAP_COUNT];
	uint32_t max[MAP_COUNT];
	void *mem[MAP_COUNT];
	size_t mem_len[MAP_COUNT];
	bool adopted;
};

static const char *const names[] = {
#define X(name) #name,
	MAP_LIST
#undef X
};

static const char *const hook_names[HOOK_MAX] = {
	[HOOK_POD] = "tc_pod",
	[HOOK_TO_POD] = "tc_to_pod",
	[HOOK_NIC_IN] = "tc_nic_in",
	[HOOK_NIC_OUT] = "tc_nic_out",
	[HOOK_HOST] = "tc_host",
	[HOOK_VX] = "tc_vx",
};

const char *maps_name(enum map_id id)
{
	return names[id];
}

const char *maps_hook_name(enum xb_hook hook)
{
	return hook_names[hook];
}

/* What libbpf said last: goes into the error message. One thread opens maps at a time. */
static _Thread_local char last_words[200];

static int keep_words(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level != LIBBPF_WARN)
		return 0;
	(void)vsnprintf(last_words, sizeof last_words, fmt, ap);
	last_words[strcspn(last_words, "\n")] = 0;
	return 0;
}

int bpffs_ensure(const char *path, struct err *e)
{
	static const char std[] = "/sys/fs/bpf";
	struct statfs fs;
	char dir[PATH_MAX];
	(void)snprintf(dir, sizeof dir, "%s", path);
	/* The nearest existing parent tells whether a bpffs is there. */
	while (statfs(dir, &fs) != 0) {
		char *slash = strrchr(dir, '/');
		if (!slash || slash == dir)
			return err_set(e, ENOENT, "InternalError", "no such path: %s", path);
		*slash = 0;
	}
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (strncmp(path, std, sizeof std - 1) == 0)
		(void)snprintf(dir, sizeof dir, "%s", std);
	if (mount("bpffs", dir, "bpf", 0, "mode=0755") != 0)
		return err_set(
			e, errno, "InternalError", "mount bpffs on %s: %s", dir, strerror(errno));
	return 0;
}

static const struct xb_cfg cfg_default = {
	.hairpin_ip4 = 0x012afea9, /* 169.254.42.1 */
	.np_lo = 30000,
	.np_hi = 32767,
	.snat_lo = 1024,
	.snat_hi = 29999,
	.t_syn = 60,
	.t_est = 80000, /* about a day, as kube-proxy */
	.t_fin = 3400,
	.t_close = 20,
	.t_udp = 30,
	.t_udp_est = 170,
	.sample_mask = 0,
};

/* 169.254.42.1's counterpart: of no network (RFC 6666 is for discarding) and on no link. */
static const uint8_t hairpin6[16] = {0xfd, 0xeb, 0xec, [15] = 1};

static void cfg_fill(struct xb_cfg *c)
{
#define DFLT(f) c->f = c->f ? c->f : cfg_default.f
	DFLT(hairpin_ip4);
	if (!c->hairpin_ip6[0])
		memcpy(c->hairpin_ip6, hairpin6, sizeof c->hairpin_ip6);
	DFLT(np_lo);
	DFLT(np_hi);
	DFLT(snat_lo);
	DFLT(snat_hi);
	DFLT(t_syn);
	DFLT(t_est);
	DFLT(t_fin);
	DFLT(t_close);
	DFLT(t_udp);
	DFLT(t_udp_est);
#undef DFLT
}

static struct bpf_map *skel_map(const struct xebec_bpf *s, enum map_id id)
{
	return bpf_object__find_map_by_name(s->obj, names[id]);
}

/* 0 = pinned map taken; -ENOENT none; -ESTALE one of another layout. */
static int map_reuse(struct maps *m, enum map_id id)
{
	char path[PATH_MAX + 32];
	struct bpf_map_info info = {0};
	uint32_t len = sizeof info;
	struct bpf_map *bm = skel_map(m->skel, id);
	(void)snprintf(path, sizeof path, "%s/%s", m->dir, names[id]);
	AUTO_CLOSE int fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len))
		return -errno;
	if (info.type != bpf_map__type(bm) || info.key_size != bpf_map__key_size(bm) ||
		info.value_size != bpf_map__value_size(bm) ||
		info.map_flags != bpf_map__map_flags(bm))
		return -ESTALE;
	return bpf_map__reuse_fd(bm, fd);
}

/* Whether the pinned maps speak this layout. */
static bool schema_matches(const char *dir)
{
	char path[PATH_MAX + 32];
	struct xb_meta meta = {0};
	uint32_t zero = 0;
	(void)snprintf(path, sizeof path, "%s/meta", dir);
	AUTO_CLOSE int fd = bpf_obj_get(path);
	struct bpf_map_info info = {0};
	uint32_t len = sizeof info;
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) || info.value_size != sizeof meta)
		return false;
	return bpf_map_lookup_elem(fd, &zero, &meta) == 0 && meta.schema == XB_SCHEMA;
}

static void maps_unpin(const char *dir)
{
	for (int i = 0; i < MAP_COUNT; i++) {
		char path[PATH_MAX + 32];
		(void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		(void)unlink(path);
	}
}

static int maps_prepare(struct maps *m, const struct maps_config *c, struct err *e)
{
	m->adopted = schema_matches(m->dir);
	if (!m->adopted)
		maps_unpin(m->dir);
	for (int i = 0; i < MAP_COUNT; i++) {
		int r = m->adopted ? map_reuse(m, i) : -ENOENT;
		if (r == 0)
			continue;
		if (r != -ENOENT)
			return err_set(e, r, "InternalError", "pinned map %s/%s: %s", m->dir,
				names[i], strerror(-r));
		if (c->max[i])
			(void)bpf_map__set_max_entries(skel_map(m->skel, i), c->max[i]);
	}
	return 0;
}

static int maps_pin(struct maps *m, struct err *e)
{
	for (int i = 0; i < MAP_COUNT; i++) {
		char path[PATH_MAX + 32];
		struct bpf_map *bm = skel_map(m->skel, i);
		(void)snprintf(path, sizeof path, "%s/%s", m->dir, names[i]);
		m->fd[i] = bpf_map__fd(bm);
		m->max[i] = bpf_map__max_entries(bm);
		if (access(path, F_OK) == 0)
			continue;
		if (bpf_obj_pin(m->fd[i], path))
			return err_set(
				e, errno, "InternalError", "pin %s: %s", path, strerror(errno));
	}
	return 0;
}

static int maps_map_memory(struct maps *m, int prot, struct err *e)
{
	static const struct {
		enum map_id id;
		size_t size;
	} arrays[] = {{MAP_svc_tab, sizeof(struct xb_svc)}, {MAP_be_tab, sizeof(struct xb_be)},
		{MAP_lut, sizeof(struct xb_lut)}, {MAP_be_open, sizeof(struct xb_open)},
		{MAP_ep_tab4, sizeof(struct xb_ep)}, {MAP_ep_tab6, sizeof(struct xb6_ep)},
		{MAP_meta, sizeof(struct xb_meta)}};
	for (size_t i = 0; i < ARRAY_LEN(arrays); i++) {
		enum map_id id = arrays[i].id;
		size_t len = (arrays[i].size * m->max[id] + 4095) & ~(size_t)4095;
		void *p = mmap(NULL, len, prot, MAP_SHARED, m->fd[id], 0);
		if (p == MAP_FAILED)
			return err_set(e, errno, "InternalError", "mmap %s: %s", names[id],
				strerror(errno));
		m->mem[id] = p;
		m->mem_len[id] = len;
	}
	return 0;
}

static int maps_load(struct maps *m, const struct maps_config *c, struct err *e)
{
	m->skel = xebec_bpf__open();
	if (!m->skel)
		return err_set(e, errno, "InternalError", "BPF object: %s", last_words);
	int r = maps_prepare(m, c, e);
	if (r)
		return r;
	struct xb_cfg *cfg = (struct xb_cfg *)&m->skel->rodata->cfg;
	*cfg = c->cfg;
	cfg_fill(cfg);
	last_words[0] = 0;
	r = xebec_bpf__load(m->skel);
	if (r)
		return err_set(e, r, "InternalError", "loading BPF programs: %s: %s", strerror(-r),
			last_words);
	r = maps_pin(m, e);
	if (r)
		return r;
	return maps_map_memory(m, PROT_READ | PROT_WRITE, e);
}

/* A bpffs refuses dots in names, node names have them. */
static void dir_of(char out[PATH_MAX], const char *dir)
{
	(void)snprintf(out, PATH_MAX, "%s", dir);
	char *last = strrchr(out, '/');
	for (char *p = last ? last : out; *p; p++)
		*p = *p == '.' ? '_' : *p;
}

static struct maps *maps_alloc(const char *dir)
{
	struct maps *m = calloc(1, sizeof *m);
	if (!m)
		return NULL;
	dir_of(m->dir, dir);
	for (int i = 0; i < MAP_COUNT; i++)
		m->fd[i] = -1;
	(void)libbpf_set_print(keep_words);
	return m;
}

int maps_open(const struct maps_config *c, struct maps **ret, struct err *e)
{
	char links[PATH_MAX + 8];
	AUTO_MAPS struct maps *m = maps_alloc(c->pin_dir);
	if (!m)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	int r = bpffs_ensure(m->dir, e);
	if (r)
		return r;
	(void)snprintf(links, sizeof links, "%s/links", m->dir);
	r = mkdir_p(links, 0755);
	if (r)
		return err_set(e, r, "InternalError", "mkdir %s: %s", links, strerror(-r));
	r = maps_load(m, c, e);
	if (r)
		return r;
	struct xb_meta *meta = m->mem[MAP_meta];
	meta->schema = XB_SCHEMA;
	*ret = STEAL(m);
	return 0;
}

int maps_open_pinned(const char *pin_dir, struct maps **ret, struct err *e)
{
	AUTO_MAPS struct maps *m = maps_alloc(pin_dir);
	if (!m)
		return err_set(e, ENOMEM, "InternalError", "out of memory");
	if (!schema_matches(m->dir))
		return err_set(e, ENOENT, "NotFound",
			"no maps of this version pinned under %s (is a node running?)", pin_dir);
	for (int i = 0; i < MAP_COUNT; i++) {
		char path[PATH_MAX + 32];
		struct bpf_map_info info = {0};
		uint32_t len = sizeof info;
		(void)snprintf(path, sizeof path, "%s/%s", m->dir, names[i]);
		m->fd[i] = bpf_obj_get(path);
		if (m->fd[i] < 0 || bpf_obj_get_info_by_fd(m->fd[i], &info, &len))
			return err_set(e, errno, "InternalError", "%s: %s", path, strerror(errno));
		m->max[i] = info.max_entries;
	}
	int r = maps_map_memory(m, PROT_READ, e);
	if (r)
		return r;
	m->adopted = true;
	*ret = STEAL(m);
	return 0;
}

void maps_free(struct maps *m)
{
	if (!m)
		return;
	for (int i = 0; i < MAP_COUNT; i++) {
		if (m->mem[i])
			(void)munmap(m->mem[i], m->mem_len[i]);
		if (!m->skel && m->fd[i] >= 0)
			(void)close(m->fd[i]);
	}
	xebec_bpf__destroy(m->skel);
	free(m);
}

int maps_fd(const struct maps *m, enum map_id id)
{
	return m->fd[id];
}

uint32_t maps_max(const struct maps *m, enum map_id id)
{
	return m->max[id];
}

const struct xb_cfg *maps_cfg(const struct maps *m)
{
	return m->skel ? (const struct xb_cfg *)&m->skel->rodata->cfg : NULL;
}

const char *maps_dir(const struct maps *m)
{
	return m->dir;
}

bool maps_adopted(const struct maps *m)
{
	return m->adopted;
}

void *maps_mem(const struct maps *m, enum map_id id)
{
	return m->mem[id];
}

int maps_prog_fd_by_name(const struct maps *m, const char *name)
{
	struct bpf_program *p =
		m->skel ? bpf_object__find_program_by_name(m->skel->obj, name) : NULL;
	return p ? bpf_program__fd(p) : -1;
}

int maps_prog_fd(const struct maps *m, enum xb_hook hook)
{
	return maps_prog_fd_by_name(m, hook_names[hook]);
}

int pins_remove(const char *pin_dir)
{
	char dir[PATH_MAX];
	dir_of(dir, pin_dir);
	int r = rm_rf(dir);
	return r == -ENOENT ? 0 : r;
}

/* The rows of both families begin alike (xb_ep, xb6_ep); addresses differ in length. */
_Static_assert(offsetof(struct xb_ep, addr) == offsetof(struct xb6_ep, addr), "ep rows");

/* The row of ep_tab that an address may use. */
static struct xb6_ep *ep_row(struct maps *m, const struct ip *ip)
{
	const uint8_t *low = ip->b + ip_len(ip) - 2;
	size_t slot = ((size_t)low[0] << 8 | low[1]) & (XB_EP_TAB - 1);
	if (ip->family == 6)
		return (struct xb6_ep *)m->mem[MAP_ep_tab6] + slot;
	return (void *)((struct xb_ep *)m->mem[MAP_ep_tab4] + slot);
}

static bool ep_row_is(const struct xb6_ep *row, const struct ip *ip)
{
	return memcmp(row->addr, ip->b, ip_len(ip)) == 0;
}

/* A reader compares the whole address: its first word goes in last and out first, so that he finds
 * a whole row or none. (No pod's address begins with zeros.) */
static void ep_row_set(struct xb6_ep *row, const struct ip *ip, const struct xb6_ep *v)
{
	uint32_t *addr = (void *)row->addr, first; /* aligned by its type */
	memcpy(&first, ip->b, 4);
	__atomic_store_n(addr, 0, __ATOMIC_RELEASE);
	if (!v)
		return;
	row->ifindex = v->ifindex;
	memcpy(row->mac, v->mac, sizeof row->mac);
	memcpy(row->smac, v->smac, sizeof row->smac);
	row->identity = v->identity;
	row->flags = v->flags;
	memcpy(row->addr + 4, v->addr + 4, ip_len(ip) - 4);
	__atomic_store_n(addr, first, __ATOMIC_RELEASE);
}

static bool ep_row_free(const struct xb6_ep *row)
{
	static const uint8_t zero[4];
	return memcmp(row->addr, zero, 4) == 0;
}

int ep_set(struct maps *m, const struct ep_info *ep)
{
	struct xb6_ep v = {.ifindex = ep->ifindex}, *row = ep_row(m, &ep->ip);
	memcpy(v.mac, ep->mac, sizeof v.mac);
	memcpy(v.smac, ep->host_mac, sizeof v.smac);
	memcpy(v.addr, ep->ip.b, ip_len(&ep->ip));
	int fd = m->fd[ep->ip.family == 6 ? MAP_ep6 : MAP_ep4];
	if (bpf_map_update_elem(fd, ep->ip.b, &v, BPF_ANY))
		return -errno;
	if (ep_row_free(row) || ep_row_is(row, &ep->ip))
		ep_row_set(row, &ep->ip, &v);
	return 0;
}

int ep_del(struct maps *m, const struct ip *ip)
{
	struct xb6_ep *row = ep_row(m, ip);
	if (ep_row_is(row, ip))
		ep_row_set(row, ip, NULL);
	int fd = m->fd[ip->family == 6 ? MAP_ep6 : MAP_ep4];
	return bpf_map_delete_elem(fd, ip->b) ? -errno : 0;
}

static int lip_fd(const struct maps *m, const struct ip *ip)
{
	return m->fd[ip->family == 6 ? MAP_lip6 : MAP_lip4];
}

int lip_set(struct maps *m, const struct ip *ip)
{
	uint32_t one = 1;
	return bpf_map_update_elem(lip_fd(m, ip), ip->b, &one, BPF_ANY) ? -errno : 0;
}

int lip_del(struct maps *m, const struct ip *ip)
{
	return bpf_map_delete_elem(lip_fd(m, ip), ip->b) ? -errno : 0;
}

/* SPDX-License-Identifier: Apache-2.0
 * Pod address leases on files. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include "ipam.h"
#include "xebec/base/buf.h"
#include "xebec/base/htab.h"

struct lease {
	struct in_addr addr;
	char *container, *ifname;
};

struct ipam {
	char *dir;
	struct htab *by_owner; /* "container ifname" -> struct lease */
	struct htab *by_addr;  /* 4 bytes -> the same lease */
	uint32_t first, last;  /* usable, host order; 0 = no range */
	uint32_t cursor;
	struct in6_addr net6; /* all zero = none */
};

#define RANGE6 ".range6" /* no address: never taken for a lease */

static void lease_free(void *v)
{
	struct lease *l = v;
	if (!l)
		return;
	free(l->container);
	free(l->ifname);
	free(l);
}

static struct str addr_key(const struct in_addr *a)
{
	return (struct str){.p = (const char *)&a->s_addr, .n = 4};
}

static void owner_key(struct buf *b, const char *container, const char *ifname)
{
	buf_addf(b, "%s %s", container, ifname);
}

static int lease_insert(struct ipam *p, struct in_addr a, const char *container, const char *ifname)
{
	AUTO_BUF struct buf key = {0};
	struct lease *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	*l = (struct lease){.addr = a, .container = strdup(container), .ifname = strdup(ifname)};
	owner_key(&key, container, ifname);
	int r = key.err || !l->container || !l->ifname
			? -ENOMEM
			: htab_put(p->by_addr, addr_key(&a), l, NULL);
	if (r == 0 && (r = htab_put(p->by_owner, buf_str(&key), l, NULL)) < 0)
		(void)htab_del(p->by_addr, addr_key(&a));
	if (r < 0)
		lease_free(l);
	return r;
}

/* "10.244.1.5.Xa93kz": file_write_atomic was killed before it could rename. */
static bool is_leftover(const char *name)
{
	char addr[INET_ADDRSTRLEN];
	struct in_addr a;
	size_t n = strlen(name);
	return n > 7 && name[n - 7] == '.' &&
	       str_copy(addr, sizeof(addr), (struct str){name, n - 7}) == 0 &&
	       inet_pton(AF_INET, addr, &a) == 1;
}

/* One lease file; files of other shapes are left alone. */
static int lease_load(struct ipam *p, const char *name)
{
	AUTO_BUF struct buf path = {0}, text = {0};
	struct in_addr a;
	char container[256], ifname[64];
	bool leftover = is_leftover(name);
	if (!leftover && inet_pton(AF_INET, name, &a) != 1)
		return 0;
	buf_addf(&path, "%s/%s", p->dir, name);
	if (path.err)
		return path.err;
	if (leftover)
		return unlink(path.p) < 0 ? -errno : 0;
	int r = file_read(path.p, 4096, &text);
	if (r < 0)
		return r;
	if (!text.p || sscanf(text.p, "%255s %63s", container, ifname) != 2)
		return unlink(path.p) < 0 ? -errno
					  : 0; /* torn by a crash before the rename: not a lease */
	return lease_insert(p, a, container, ifname);
}

static int leases_load(struct ipam *p, struct err *e)
{
	DIR *d = opendir(p->dir);
	if (!d)
		return err_set(e, errno, NULL, "open lease directory '%s'", p->dir);
	int r = 0;
	for (struct dirent *de; r == 0 && (de = readdir(d));)
		r = lease_load(p, de->d_name);
	(void)closedir(d);
	return r < 0 ? err_set(e, r, NULL, "read leases in '%s'", p->dir) : 0;
}

static void range6_load(struct ipam *p)
{
	AUTO_BUF struct buf path = {0}, text = {0};
	buf_addf(&path, "%s/" RANGE6, p->dir);
	if (!path.err && file_read(path.p, 64, &text) == 0 && text.p)
		(void)inet_pton(AF_INET6, text.p, &p->net6);
}

int ipam_set_range6(struct ipam *p, const struct cidr *c, struct err *e)
{
	AUTO_BUF struct buf path = {0};
	char text[INET6_ADDRSTRLEN];
	if (c->net.family != 6 || c->prefix > 96)
		return err_set(e, EINVAL, NULL, "an IPv6 pod range must be a /96 or larger");
	if (memcmp(&p->net6, c->net.b, 16) == 0)
		return 0;
	memcpy(&p->net6, c->net.b, 16);
	buf_addf(&path, "%s/" RANGE6, p->dir);
	(void)inet_ntop(AF_INET6, &p->net6, text, sizeof text);
	int r = path.err ? path.err : file_write_atomic(path.p, str_of(text), 0600);
	return r < 0 ? err_set(e, r, NULL, "write %s/" RANGE6, p->dir) : 0;
}

struct in6_addr ipam_six(const struct ipam *p, struct in_addr a)
{
	static const struct in6_addr none;
	struct in6_addr six = p->net6;
	if (memcmp(&six, &none, sizeof six) != 0)
		memcpy(six.s6_addr + 12, &a.s_addr, 4);
	return six;
}

int ipam_open(const char *dir, struct ipam **ret, struct err *e)
{
	struct ipam *p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(e, ENOMEM, NULL, "out of memory");
	p->dir = strdup(dir);
	p->by_owner = htab_new();
	p->by_addr = htab_new();
	int r = p->dir && p->by_owner && p->by_addr ? mkdir_p(dir, 0700) : -ENOMEM;
	r = r < 0 ? err_set(e, r, NULL, "make lease directory '%s'", dir) : leases_load(p, e);
	if (r < 0) {
		ipam_free(p);
		return r;
	}
	range6_load(p);
	*ret = p;
	return 0;
}

void ipam_free(struct ipam *p)
{
	if (!p)
		return;
	htab_free(p->by_owner, NULL);
	htab_free(p->by_addr, lease_free);
	free(p->dir);
	free(p);
}

int ipam_set_range(struct ipam *p, const char *cidr, struct err *e)
{
	char text[64];
	unsigned bits;
	struct in_addr net;
	const char *slash = strchr(cidr, '/');
	if (!slash ||
		str_copy(text, sizeof(text), (struct str){cidr, (size_t)(slash - cidr)}) < 0 ||
		inet_pton(AF_INET, text, &net) != 1 || sscanf(slash + 1, "%u", &bits) != 1 ||
		bits < 8 || bits > 30)
		return err_set(
			e, EINVAL, NULL, "pod range '%s': want an IPv4 CIDR of /8 to /30", cidr);
	uint32_t base = ntohl(net.s_addr) & ~(uint32_t)((1ULL << (32 - bits)) - 1);
	p->first = base + 2; /* .1 is left for a gateway */
	p->last = base + (uint32_t)((1ULL << (32 - bits)) - 2);
	if (p->cursor < p->first || p->cursor > p->last)
		p->cursor = p->first;
	return 0;
}

bool ipam_ready(const struct ipam *p)
{
	return p->first != 0;
}

static int lease_write(
	struct ipam *p, struct in_addr a, const char *container, const char *ifname, struct err *e)
{
	AUTO_BUF struct buf path = {0}, text = {0};
	char ip[INET_ADDRSTRLEN];
	(void)inet_ntop(AF_INET, &a, ip, sizeof(ip));
	buf_addf(&path, "%s/%s", p->dir, ip);
	buf_addf(&text, "%s %s\n", container, ifname);
	int r = path.err ? path.err : file_write_atomic(path.p, buf_str(&text), 0600);
	return r < 0 ? err_set(e, r, NULL, "write lease '%s'", path.p ? path.p : ip) : 0;
}

int ipam_lease(struct ipam *p, const char *container, const char *ifname, struct in_addr *ret,
	struct err *e)
{
	if (ipam_find(p, container, ifname, ret) == 0)
		return 0;
	if (!ipam_ready(p))
		return err_set(e, EAGAIN, NULL, "this node has no spec.podCIDR yet");
	for (uint32_t i = 0, n = p->last - p->first + 1; i < n; i++) {
		struct in_addr a = {.s_addr = htonl(p->cursor)};
		p->cursor = p->cursor == p->last ? p->first : p->cursor + 1;
		if (htab_get(p->by_addr, addr_key(&a)))
			continue;
		int r = lease_write(p, a, container, ifname, e);
		if (r == 0)
			r = lease_insert(p, a, container, ifname);
		if (r == 0)
			*ret = a;
		return r;
	}
	return err_set(e, ENOSPC, NULL, "all %u pod addresses of this node are in use",
		p->last - p->first + 1);
}

static struct lease *lease_of(const struct ipam *p, const char *container, const char *ifname)
{
	AUTO_BUF struct buf key = {0};
	owner_key(&key, container, ifname);
	return key.err ? NULL : htab_get(p->by_owner, buf_str(&key));
}

int ipam_find(const struct ipam *p, const char *container, const char *ifname, struct in_addr *ret)
{
	const struct lease *l = lease_of(p, container, ifname);
	if (!l)
		return -ENOENT;
	*ret = l->addr;
	return 0;
}

int ipam_release(struct ipam *p, const char *container, const char *ifname, struct in_addr *ret)
{
	AUTO_BUF struct buf key = {0}, path = {0};
	char ip[INET_ADDRSTRLEN];
	struct lease *l = lease_of(p, container, ifname);
	if (!l)
		return -ENOENT;
	*ret = l->addr;
	(void)inet_ntop(AF_INET, &l->addr, ip, sizeof(ip));
	buf_addf(&path, "%s/%s", p->dir, ip);
	owner_key(&key, container, ifname);
	if (path.err || key.err)
		return -ENOMEM;
	if (unlink(path.p) < 0 && errno != ENOENT)
		return -errno;
	(void)htab_del(p->by_owner, buf_str(&key));
	(void)htab_del(p->by_addr, addr_key(&l->addr));
	lease_free(l);
	return 0;
}

void ipam_each(const struct ipam *p,
	void (*fn)(void *arg, struct in_addr a, const char *container, const char *ifname),
	void *arg)
{
	htab_each (p->by_addr, it) {
		const struct lease *l = it.value;
		fn(arg, l->addr, l->container, l->ifname);
	}
}

bool ipam_holds(const struct ipam *p, const char *container)
{
	htab_each (p->by_addr, it) {
		const struct lease *l = it.value;
		if (strcmp(l->container, container) == 0)
			return true;
	}
	return false;
}

size_t ipam_len(const struct ipam *p)
{
	return htab_len(p->by_addr);
}

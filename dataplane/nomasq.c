/* SPDX-License-Identifier: Apache-2.0
 * Rows of networks that are not masqueraded (nomasq.h). */
#include "nomasq.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include "ip.h"

#define NETS_MAX 64

struct nets {
	struct cidr v[NETS_MAX];
	size_t n;
};

static bool same(const struct cidr *a, const struct cidr *b)
{
	return a->prefix == b->prefix && a->net.family == b->net.family &&
	       memcmp(a->net.b, b->net.b, ip_len(&a->net)) == 0;
}

static bool inside(const struct cidr *in, const struct cidr *of)
{
	if (in->net.family != of->net.family || in->prefix < of->prefix)
		return false;
	for (unsigned i = 0; i < of->prefix; i++)
		if ((in->net.b[i / 8] ^ of->net.b[i / 8]) & (0x80 >> i % 8))
			return false;
	return true;
}

static int nets_parse(const char *list, const char *cluster, struct nets *out, struct err *e)
{
	struct cidr_pair pods = {0};
	if (cluster && cidr_pair_parse(cluster, &pods))
		return err_set(e, EINVAL, NULL, "cluster CIDR '%s'", cluster);
	for (struct str rest = str_of(list ? list : ""); rest.n;) {
		struct str s = str_cut(&rest, ',');
		struct cidr c;
		if (ip_cidr_parse(s, &c.net, &c.prefix))
			return err_set(e, EINVAL, NULL, "network '%.*s' is no CIDR", (int)s.n, s.p);
		if (inside(&c, &pods.v4) || inside(&c, &pods.v6))
			return err_set(e, EINVAL, NULL,
				"network '%.*s' is pods', which are never masqueraded to", (int)s.n,
				s.p);
		if (out->n == NETS_MAX)
			return err_set(e, E2BIG, NULL, "more than %d networks", NETS_MAX);
		out->v[out->n++] = c;
	}
	return 0;
}

union key {
	struct xb4_net_key v4;
	struct xb6_net_key v6;
};

static enum map_id key_of(const struct cidr *c, union key *k)
{
	*k = (union key){.v6 = {.prefixlen = c->prefix}};
	memcpy(c->net.family == 6 ? k->v6.addr : k->v4.addr, c->net.b, ip_len(&c->net));
	return c->net.family == 6 ? MAP_ipc6 : MAP_ipc4;
}

static struct cidr cidr_of(enum map_id map, const union key *k)
{
	struct cidr c = {.prefix = k->v4.prefixlen};
	c.net.family = map == MAP_ipc6 ? 6 : 4;
	memcpy(c.net.b, map == MAP_ipc6 ? k->v6.addr : k->v4.addr, ip_len(&c.net));
	return c;
}

static bool wanted(const struct nets *nets, const struct cidr *c)
{
	for (size_t i = 0; i < nets->n; i++)
		if (same(&nets->v[i], c))
			return true;
	return false;
}

/* Rows of an earlier list. There are no more than NETS_MAX. */
static void sweep(struct maps *m, enum map_id map, const struct nets *nets)
{
	int fd = maps_fd(m, map);
	union key k, stale[NETS_MAX];
	size_t n = 0;
	for (void *prev = NULL; bpf_map_get_next_key(fd, prev, &k) == 0; prev = &k) {
		struct xb_net v;
		if (bpf_map_lookup_elem(fd, &k, &v) || v.flags != NET_NO_MASQ)
			continue;
		struct cidr c = cidr_of(map, &k);
		if (!wanted(nets, &c) && n < NETS_MAX)
			stale[n++] = k;
	}
	while (n)
		(void)bpf_map_delete_elem(fd, &stale[--n]);
}

int nomasq_set(struct maps *m, const char *list, const char *cluster_cidr, struct err *e)
{
	struct nets nets = {0};
	const struct xb_net row = {.flags = NET_NO_MASQ};
	int r = nets_parse(list, cluster_cidr, &nets, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < nets.n; i++) {
		union key k;
		int fd = maps_fd(m, key_of(&nets.v[i], &k));
		/* A node that has this very network has its row already: as good. */
		if (bpf_map_update_elem(fd, &k, &row, BPF_NOEXIST) && errno != EEXIST)
			return err_set(
				e, errno, NULL, "networks without masquerade: %s", strerror(errno));
	}
	sweep(m, MAP_ipc4, &nets);
	sweep(m, MAP_ipc6, &nets);
	return 0;
}

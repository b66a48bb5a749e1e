/* SPDX-License-Identifier: Apache-2.0
 * Node IPAM: every node gets the first free block of each of the cluster's address ranges.
 * The nodes themselves are the record of what is taken; keys are worked on one at a time, and each
 * write is seen in the cache before the next, so no block is given twice. */
#include <arpa/inet.h>
#include "controllers/object.h"

/* A network of one family. */
struct range {
	uint8_t addr[16]; /* network order; IPv4 in the first four bytes */
	unsigned len;	  /* of the prefix */
	bool v6;
};

static bool parse_cidr(struct str s, struct range *ret)
{
	char text[64];
	struct str addr = str_cut(&s, '/');
	uint64_t len;

	*ret = (struct range){0};
	if (str_copy(text, sizeof(text), addr) < 0 || str_u64(s, &len) < 0)
		return false;
	ret->v6 = strchr(text, ':') != NULL;
	ret->len = (unsigned)len;
	return inet_pton(ret->v6 ? AF_INET6 : AF_INET, text, ret->addr) == 1 &&
	       len <= (ret->v6 ? 128 : 32);
}

/* The n bits of an address that end at bit `end`: n <= 20. */
static uint32_t bits_at(const uint8_t *addr, unsigned end, unsigned n)
{
	uint32_t v = 0;

	for (unsigned i = end - n; i < end; i++)
		v = v << 1 | (addr[i / 8] >> (7 - i % 8) & 1);
	return v;
}

static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		if ((a[i / 8] ^ b[i / 8]) >> (7 - i % 8) & 1)
			return false;
	return true;
}

/* Marks the blocks (of prefix length `len`) of `all` that r touches. */
static void mark(unsigned char *used, const struct range *all, unsigned len, const struct range *r)
{
	if (r->v6 != all->v6 ||
		!same_prefix(r->addr, all->addr, r->len < all->len ? r->len : all->len))
		return;
	if (r->len <= all->len) {
		memset(used, 1, (size_t)1 << (len - all->len));
		return;
	}
	/* smaller than a block, or some of them */
	unsigned known = r->len < len ? r->len : len;
	uint32_t first = bits_at(r->addr, known, known - all->len) << (len - known);
	memset(used + first, 1, (size_t)1 << (len - known));
}

static void mark_node(
	unsigned char *used, const struct range *all, unsigned len, const struct cobj *node)
{
	struct range r;

	if (parse_cidr(jv_raw_str(jv_path(node->v, "spec.podCIDR")), &r))
		mark(used, all, len, &r);
	jv_each (it, jv_path(node->v, "spec.podCIDRs")) {
		if (parse_cidr(jv_raw_str(it.v), &r))
			mark(used, all, len, &r);
	}
}

/* The text of block i. */
static const char *block_text(struct rc *rc, const struct range *all, unsigned len, uint32_t i)
{
	uint8_t a[16];
	char text[INET6_ADDRSTRLEN];

	memcpy(a, all->addr, 16);
	for (unsigned b = len; b > all->len; b--, i >>= 1)
		a[(b - 1) / 8] = (uint8_t)((a[(b - 1) / 8] & ~(0x80 >> (b - 1) % 8)) |
					   (i & 1 ? 0x80 >> (b - 1) % 8 : 0));
	(void)inet_ntop(all->v6 ? AF_INET6 : AF_INET, a, text, sizeof(text));
	return rc_printf(rc, "%s/%u", text, len);
}

/* The first free block of a range: NULL when there is none, or the range is no good. */
static const char *block_take(struct rc *rc, struct str cidr)
{
	struct range all;

	if (!parse_cidr(cidr, &all))
		return NULL;
	/* As in Kubernetes: /24 and /64, or fewer pods a node where the range is small. */
	unsigned len = all.v6 ? 64 : rc->cfg->node_cidr_bits ? rc->cfg->node_cidr_bits : 24;
	if (all.v6 && all.len > 60)
		len = all.len + 4 > 96 ? 96 : all.len + 4;
	if (len < all.len || len > (all.v6 ? 96 : 30) || len - all.len > 20)
		return NULL;
	size_t n = (size_t)1 << (len - all.len), i = 0;
	unsigned char *used = arena_alloc(&rc->arena, n);
	if (!used)
		return NULL;
	rc_each(rc, R_NODE, NULL, it) mark_node(used, &all, len, it.obj);
	while (i < n && used[i])
		i++;
	return i < n ? block_text(rc, &all, len, (uint32_t)i) : NULL;
}

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	const struct cobj *node = rc_get(rc, R_NODE, ns, name);
	struct str ranges = str_of(rc->cfg->cluster_cidr ? rc->cfg->cluster_cidr : "");
	const char *first = NULL;

	if (!node || deleting(node) || jv_raw_str(jv_path(node->v, "spec.podCIDR")).n || !ranges.n)
		return;
	json_t *cidrs = json_array();
	while (ranges.n) {
		const char *cidr = block_take(rc, str_cut(&ranges, ','));
		if (!cidr) {
			json_decref(cidrs);
			rc_event(rc, R_NODE, node, true, "CIDRNotAvailable",
				"Node %s status is now: CIDRNotAvailable", name);
			rc_requeue(rc, 30 * NS_PER_SEC);
			return;
		}
		first = first ? first : cidr;
		(void)json_array_append_new(cidrs, json_string(cidr));
	}
	struct action *a = rc_patch(rc, R_NODE, node, NULL,
		json_pack("{s:{s:s},s:{s:s,s:o}}", "metadata", "uid", node->uid, "spec", "podCIDR",
			first, "podCIDRs", cidrs));
	on_fail(rc, a, R_NODE, node, "CIDRAssignmentFailed", "Failed to assign %s: ", first);
}

static void map_node(struct rc *rc, struct cobj *old, struct cobj *new)
{
	(void)old;
	if (new && !jv_raw_str(jv_path(new->v, "spec.podCIDR")).n)
		rc_key(rc, "", new->name);
}

const struct controller controller_node_ipam = {
	.component = "cidrAllocator",
	.reconcile = reconcile,
	.watches = {{R_NODE, map_node}},
	.parallel = 1,
};

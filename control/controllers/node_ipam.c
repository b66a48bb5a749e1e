/* SPDX-License-Identifier: Apache-2.0
 * Node IPAM: every node gets the first free block of the cluster's address range as spec.podCIDR.
 * The nodes themselves are the record of what is taken; keys are worked on one at a time, and each
 * write is seen in the cache before the next, so no block is given twice. */
#include <arpa/inet.h>
#include "controllers/object.h"

struct range {
	uint32_t base;
	unsigned bits;
};

static bool parse_cidr(struct str s, struct range *ret)
{
	char text[64];
	struct in_addr a;
	uint64_t bits;
	struct str rest;

	if (str_copy(text, sizeof(text), s) < 0)
		return false;
	rest = str_of(text);
	struct str addr = str_cut(&rest, '/');
	text[addr.n] = '\0';
	if (inet_pton(AF_INET, text, &a) != 1 || str_u64(rest, &bits) < 0 || bits > 32)
		return false;
	ret->bits = (unsigned)bits;
	ret->base = bits ? ntohl(a.s_addr) & (uint32_t)(0xffffffffu << (32 - bits)) : 0;
	return true;
}

/* Marks the blocks of `all` that r touches. */
static void mark(
	unsigned char *used, size_t n, const struct range *all, unsigned bits, struct range r)
{
	uint64_t first = r.base, last = first + (1ull << (32 - r.bits)) - 1;
	uint64_t lo = all->base, block = 1ull << (32 - bits), hi = lo + block * n - 1;

	if (last < lo || first > hi)
		return;
	first = first < lo ? lo : first;
	last = last > hi ? hi : last;
	for (uint64_t i = (first - lo) / block; i <= (last - lo) / block; i++)
		used[i] = 1;
}

static void mark_node(unsigned char *used, size_t n, const struct range *all, unsigned bits,
	const struct cobj *node)
{
	struct range r;

	if (parse_cidr(jv_raw_str(jv_path(node->v, "spec.podCIDR")), &r))
		mark(used, n, all, bits, r);
	jv_each (it, jv_path(node->v, "spec.podCIDRs")) {
		if (parse_cidr(jv_raw_str(it.v), &r))
			mark(used, n, all, bits, r);
	}
}

static void reconcile(struct rc *rc, const char *ns, const char *name)
{
	const struct cobj *node = rc_get(rc, R_NODE, ns, name);
	unsigned bits = rc->cfg->node_cidr_bits ? rc->cfg->node_cidr_bits : 24;
	struct range all;

	if (!node || deleting(node) || jv_raw_str(jv_path(node->v, "spec.podCIDR")).n ||
		!rc->cfg->cluster_cidr || !parse_cidr(str_of(rc->cfg->cluster_cidr), &all) ||
		bits < all.bits || bits > 30 || bits - all.bits > 20)
		return;
	size_t n = (size_t)1 << (bits - all.bits), free_at = 0;
	unsigned char *used = arena_alloc(&rc->arena, n);
	if (!used) {
		rc->again = true;
		return;
	}
	rc_each(rc, R_NODE, NULL, it) mark_node(used, n, &all, bits, it.obj);
	while (free_at < n && used[free_at])
		free_at++;
	if (free_at == n) {
		rc_event(rc, R_NODE, node, true, "CIDRNotAvailable",
			"Node %s status is now: CIDRNotAvailable", name);
		rc_requeue(rc, 30 * NS_PER_SEC);
		return;
	}
	uint32_t base = all.base + (uint32_t)(free_at << (32 - bits));
	const char *cidr = rc_printf(rc, "%u.%u.%u.%u/%u", base >> 24, (base >> 16) & 255,
		(base >> 8) & 255, base & 255, bits);
	struct action *a = rc_patch(rc, R_NODE, node, NULL,
		json_pack("{s:{s:s},s:{s:s,s:[s]}}", "metadata", "uid", node->uid, "spec",
			"podCIDR", cidr, "podCIDRs", cidr));
	on_fail(rc, a, R_NODE, node, "CIDRAssignmentFailed", "Failed to assign %s: ", cidr);
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

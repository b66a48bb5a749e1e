/* SPDX-License-Identifier: Apache-2.0
 * Node objects -> routes. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "hostnet.h"
#include "noderoutes.h"
#include "xebec/base/htab.h"
#include "xebec/base/log.h"
#include "xebec/base/netlink.h"
#include "xebec/client/client.h"

static const struct resource nodes_resource = {
	.group = "", .version = "v1", .plural = "nodes", .kind = "Node"};

struct noderoutes {
	struct noderoutes_config cfg;
	struct informer *nodes;
	struct nl *nl;
	char *name;
};

/* The route that this Node wants; false when it lacks a podCIDR or an InternalIP. */
static bool node_route(const struct noderoutes *n, const struct cobj *o, struct nl_route *ret)
{
	char cidr[64], ip[64] = "";
	struct nl_route r = {.family = AF_INET, .has_gw = true, .oif = n->cfg.uplink_if};
	jv_each (it, jv_path(o->v, "status.addresses")) {
		if (jv_is_str(jv_get(it.v, "type"), "InternalIP") && !ip[0])
			(void)jv_copy(jv_get(it.v, "address"), ip, sizeof(ip));
	}
	if (jv_copy(jv_path(o->v, "spec.podCIDR"), cidr, sizeof(cidr)) < 0 ||
		cidr_parse(cidr, r.dst, &r.prefix) < 0 || inet_pton(AF_INET, ip, r.gw) != 1)
		return false;
	*ret = r;
	return true;
}

static bool same_route(const struct nl_route *a, const struct nl_route *b)
{
	return a->prefix == b->prefix && memcmp(a->dst, b->dst, 4) == 0;
}

static void own_node(struct noderoutes *n, const struct cobj *o)
{
	char cidr[64];
	if (jv_copy(jv_path(o->v, "spec.podCIDR"), cidr, sizeof(cidr)) == 0 && cidr[0])
		n->cfg.on_own_cidr(n->cfg.arg, cidr);
}

static void on_node(void *arg, struct cobj *old, struct cobj *new)
{
	struct noderoutes *n = arg;
	struct nl_route was, is;
	if (strcmp((new ? new : old)->name, n->name) == 0) {
		if (new)
			own_node(n, new);
		return;
	}
	bool had = old && node_route(n, old, &was), has = new &&node_route(n, new, &is);
	int r = 0;
	if (had && (!has || !same_route(&was, &is)))
		r = nl_route_del(n->nl, &was);
	if (has && (!had || memcmp(&was, &is, sizeof(is)) != 0))
		r = nl_route_replace(n->nl, &is);
	if (r < 0)
		log_error(
			"route to the pods of node %s: %s", (new ? new : old)->name, strerror(-r));
}

struct sweep {
	struct noderoutes *n;
	struct nl_route stale[64]; /* more than 64 vanished nodes: the next start gets the rest */
	size_t count;
};

static void sweep_see(void *arg, const struct nl_route *have)
{
	struct sweep *s = arg;
	struct nl_route want;
	if (!have->has_gw || have->oif != s->n->cfg.uplink_if || s->count == 64)
		return;
	informer_each(s->n->nodes, NULL, it)
	{
		if (node_route(s->n, it.obj, &want) && same_route(have, &want))
			return;
	}
	s->stale[s->count++] = *have;
}

/* Routes that an earlier agent made for nodes that are gone. */
static void on_synced(void *arg)
{
	struct noderoutes *n = arg;
	struct sweep s = {.n = n};
	if (nl_route_each(n->nl, AF_INET, NL_PROTO_XEBEC, sweep_see, &s) < 0)
		return;
	for (size_t i = 0; i < s.count; i++)
		(void)nl_route_del(n->nl, &s.stale[i]);
}

int noderoutes_start(const struct noderoutes_config *c, struct noderoutes **ret, struct err *e)
{
	struct noderoutes *n = calloc(1, sizeof(*n));
	if (!n)
		return err_set(e, ENOMEM, NULL, "out of memory");
	n->cfg = *c;
	n->name = strdup(c->node_name);
	struct informer_config ic = {.client = c->client,
		.resource = &nodes_resource,
		.on_event = on_node,
		.on_synced = on_synced,
		.arg = n};
	int r = n->name ? nl_open(-1, &n->nl) : -ENOMEM;
	if (r < 0)
		(void)err_set(e, r, NULL, "open rtnetlink");
	else
		r = informer_start(&ic, &n->nodes, e);
	if (r < 0) {
		noderoutes_free(n);
		return r;
	}
	*ret = n;
	return 0;
}

void noderoutes_free(struct noderoutes *n)
{
	if (!n)
		return;
	informer_free(n->nodes);
	nl_close(n->nl);
	free(n->name);
	free(n);
}

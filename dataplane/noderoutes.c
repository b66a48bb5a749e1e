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
	struct peers peers;
	char *name;
};

/* What this Node says of itself; false when it lacks a podCIDR or an InternalIP. */
static bool node_peer(const struct cobj *o, struct peer *ret)
{
	char cidr[64], ip[64] = "";
	struct peer p = {0};
	jv_each (it, jv_path(o->v, "status.addresses")) {
		if (jv_is_str(jv_get(it.v, "type"), "InternalIP") && !ip[0])
			(void)jv_copy(jv_get(it.v, "address"), ip, sizeof(ip));
	}
	if (jv_copy(jv_path(o->v, "spec.podCIDR"), cidr, sizeof(cidr)) < 0 ||
		cidr_parse(cidr, p.pods, &p.prefix) < 0 || inet_pton(AF_INET, ip, p.ip) != 1)
		return false;
	*ret = p;
	return true;
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
	struct peer was = {0}, is = {0};
	if (strcmp((new ? new : old)->name, n->name) == 0) {
		if (new)
			own_node(n, new);
		return;
	}
	bool had = old && node_peer(old, &was), has = new &&node_peer(new, &is);
	bool same = had && has && memcmp(&was, &is, sizeof(is)) == 0;
	int r = had && !same ? peer_del(&n->peers, &was) : 0;
	if (has && !same)
		r = peer_set(&n->peers, &is);
	if (r < 0)
		log_error(
			"route to the pods of node %s: %s", (new ? new : old)->name, strerror(-r));
}

/* Some Node is this peer. A range of length 0 stands for any. */
static bool is_node(void *arg, const struct peer *have)
{
	const struct noderoutes *n = arg;
	struct peer want;
	informer_each(n->nodes, NULL, it)
	{
		if (strcmp(it.obj->name, n->name) == 0 || !node_peer(it.obj, &want) ||
			memcmp(have->ip, want.ip, 4) != 0)
			continue;
		if (have->prefix == 0 ||
			(have->prefix == want.prefix && memcmp(have->pods, want.pods, 4) == 0))
			return true;
	}
	return false;
}

/* Routes and rows that an earlier agent made for nodes that are gone. */
static void on_synced(void *arg)
{
	struct noderoutes *n = arg;
	int r = peers_sweep(&n->peers, is_node, n);
	if (r < 0)
		log_error("routes of nodes that are gone: %s", strerror(-r));
}

int noderoutes_start(const struct noderoutes_config *c, struct noderoutes **ret, struct err *e)
{
	struct noderoutes *n = calloc(1, sizeof(*n));
	if (!n)
		return err_set(e, ENOMEM, NULL, "out of memory");
	n->cfg = *c;
	n->peers = c->peers;
	n->name = strdup(c->node_name);
	struct informer_config ic = {.client = c->client,
		.resource = &nodes_resource,
		.on_event = on_node,
		.on_synced = on_synced,
		.arg = n};
	int r = n->name ? nl_open(-1, &n->peers.nl) : -ENOMEM;
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
	nl_close(n->peers.nl);
	free(n->name);
	free(n);
}

unsigned noderoutes_pod_mtu(const struct noderoutes *n)
{
	return peers_pod_mtu(&n->peers);
}

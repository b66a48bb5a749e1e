/* SPDX-License-Identifier: Apache-2.0
 * Node objects -> routes. */
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

/* The node's ranges for pods, as one text: "10.244.1.0/24,fd00:10:244:1::/64". */
static int cidrs_of(const struct cobj *o, char out[static 128])
{
	int n = 0;
	out[0] = 0;
	jv_each (it, jv_path(o->v, "spec.podCIDRs"))
		if (n < 120)
			n += snprintf(out + n, (size_t)(128 - n), "%s%.*s", n ? "," : "",
				STR_FMT(jv_raw_str(it.v)));
	if (n == 0) /* written by an old client */
		return jv_copy(jv_path(o->v, "spec.podCIDR"), out, 128);
	return n < 128 ? 0 : -E2BIG;
}

/* What this Node says of itself; false when it lacks a range or an InternalIP of the same family.
 */
static bool node_peer(const struct cobj *o, struct peer *ret)
{
	char text[128];
	struct peer p = {0};
	struct cidr_pair pods;
	struct ip ip;
	bool has4 = false, has6 = false;
	jv_each (it, jv_path(o->v, "status.addresses")) {
		if (!jv_is_str(jv_get(it.v, "type"), "InternalIP") ||
			ip_parse(jv_raw_str(jv_get(it.v, "address")), &ip))
			continue;
		if (ip.family == 4 && !has4)
			memcpy(p.ip, ip.b, 4);
		else if (ip.family == 6 && !has6)
			memcpy(p.ip6, ip.b, 16);
		has4 |= ip.family == 4;
		has6 |= ip.family == 6;
	}
	if (cidrs_of(o, text) < 0 || cidr_pair_parse(text, &pods))
		return false;
	if (has4 && pods.v4.net.family) {
		memcpy(p.pods, pods.v4.net.b, 4);
		p.prefix = pods.v4.prefix;
	}
	if (has6 && pods.v6.net.family) {
		memcpy(p.pods6, pods.v6.net.b, 16);
		p.prefix6 = pods.v6.prefix;
	}
	*ret = p;
	return p.prefix || p.prefix6;
}

static void own_node(struct noderoutes *n, const struct cobj *o)
{
	char cidrs[128];
	if (cidrs_of(o, cidrs) == 0 && cidrs[0])
		n->cfg.on_own_cidr(n->cfg.arg, cidrs);
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

/* Every part that `have` tells is the same. */
static bool same_peer(const struct peer *have, const struct peer *node)
{
	static const uint8_t none[16];
	return (memcmp(have->ip, none, 4) == 0 || memcmp(have->ip, node->ip, 4) == 0) &&
	       (memcmp(have->ip6, none, 16) == 0 || memcmp(have->ip6, node->ip6, 16) == 0) &&
	       (!have->prefix ||
		       (have->prefix == node->prefix && memcmp(have->pods, node->pods, 4) == 0)) &&
	       (!have->prefix6 || (have->prefix6 == node->prefix6 &&
					  memcmp(have->pods6, node->pods6, 16) == 0));
}

/* Some Node is this peer. */
static bool is_node(void *arg, const struct peer *have)
{
	const struct noderoutes *n = arg;
	struct peer want;
	informer_each(n->nodes, NULL, it)
	{
		if (strcmp(it.obj->name, n->name) != 0 && node_peer(it.obj, &want) &&
			same_peer(have, &want))
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

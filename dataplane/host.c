/* SPDX-License-Identifier: Apache-2.0
 * The node's own sockets reach service addresses through xebec0:
 *
 *   socket -> route 10.96.0.0/16 dev xebec0 -> tc_host (egress): translated, redirected to the pod
 *   or the uplink. Replies come back in through xebec0's ingress, where a local source address is
 *   allowed (accept_local), so node ports of the node's own addresses work too (tc_host on lo). */
#include "host.h"

#include <errno.h>
#include <string.h>
#include "attach.h"
#include "nomasq.h"

static void range_fill(const struct cidr *c, void *net, void *mask)
{
	unsigned n = ip_len(&c->net);
	uint8_t *m = mask;
	if (!c->net.family)
		return;
	memcpy(net, c->net.b, n);
	for (unsigned i = 0; i < c->prefix && i < 8 * n; i++)
		m[i / 8] |= (uint8_t)(0x80 >> i % 8);
}

static int cfg_from(
	const struct host_config *c, const struct hostnet *net, struct xb_cfg *cfg, struct err *e)
{
	struct cidr_pair svc, pods;
	if (cidr_pair_parse(c->service_cidr, &svc))
		return err_set(e, EINVAL, "Invalid", "service CIDR '%s'", c->service_cidr);
	if (cidr_pair_parse(c->cluster_cidr, &pods))
		return err_set(e, EINVAL, "Invalid", "cluster CIDR '%s'", c->cluster_cidr);
	memcpy(&cfg->node_ip4, net->node_ip, 4);
	memcpy(cfg->node_ip6, net->node_ip6, 16);
	range_fill(&svc.v4, &cfg->svc_net4, &cfg->svc_mask4);
	range_fill(&pods.v4, &cfg->pod_net4, &cfg->pod_mask4);
	range_fill(&svc.v6, cfg->svc_net6, cfg->svc_mask6);
	range_fill(&pods.v6, cfg->pod_net6, cfg->pod_mask6);
	cfg->host_if = (uint32_t)net->host_if;
	cfg->opts = (c->foreign_pods ? OPT_FOREIGN_PODS : 0) | (c->masquerade ? OPT_MASQ : 0) |
		    (net->has6 ? OPT_V6 : 0);
	memcpy(cfg->host_mac, net->host_mac, sizeof cfg->host_mac);
	cfg->vx_if = (uint32_t)net->vx_if;
	cfg->vx_mtu = net->vx_mtu;
	cfg->vx_port = net->vx_if ? VXLAN_PORT : 0;
	vxlan_mac(net->node_ip, cfg->vx_mac);
	return 0;
}

/* Receivers of translated packets before those that translate. */
static int hooks_attach(struct maps *m, const struct hostnet *net, struct err *e)
{
	const struct {
		int ifindex;
		const char *name;
		enum xb_hook hook;
	} rows[] = {
		{net->uplink_if, net->uplink, HOOK_NIC_OUT},
		{net->uplink_if, net->uplink, HOOK_NIC_IN},
		{net->vx_if, VXLAN_IF, HOOK_NIC_OUT},
		{net->vx_if, VXLAN_IF, HOOK_VX},
		{net->host_if, "xebec0", HOOK_HOST},
		{1, "lo", HOOK_HOST},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int r = rows[i].ifindex == 0
				? 0
				: attach_hook(m, rows[i].ifindex, rows[i].name, rows[i].hook, e);
		if (r)
			return r;
	}
	return 0;
}

int host_open(
	const struct host_config *c, struct hostnet *ret_net, struct maps **ret, struct err *e)
{
	struct hostnet net = {0};
	struct maps_config mc = {.pin_dir = c->pin_dir};
	AUTO_MAPS struct maps *m = NULL;
	int r = hostnet_setup(c->node_ip, c->service_cidr, &net, e);
	r = r ? r : vxlan_setup(&net, c->routing, e);
	r = r ? r : cfg_from(c, &net, &mc.cfg, e);
	if (r)
		return r;
	memcpy(mc.max, c->max, sizeof mc.max);
	r = maps_open(&mc, &m, e);
	if (r)
		return r;
	r = nomasq_set(m, c->no_masq, c->cluster_cidr, e);
	r = r < 0 ? r : attach_update_all(m, e);
	r = r < 0 ? r : hooks_attach(m, &net, e);
	r = r ? r : xdp_attach(m, net.uplink_if, net.uplink, c->xdp, e);
	if (r)
		return r;
	if (ret_net)
		*ret_net = net;
	*ret = STEAL(m);
	return 0;
}

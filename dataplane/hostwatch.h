/* SPDX-License-Identifier: Apache-2.0
 * The node's own addresses and interfaces as they come and go (rtnetlink events): node ports answer
 * on every address; where another plugin connects the pods, their interfaces get our programs. */
#ifndef XEBEC_DATAPLANE_HOSTWATCH_H
#define XEBEC_DATAPLANE_HOSTWATCH_H

#include "compile.h"
#include "maps.h"

struct loop;
struct hostwatch;
struct hostwatch_config {
	struct loop *loop;
	struct maps *maps;
	int uplink_if; /* has its programs already */
	bool foreign;  /* attach to interfaces that are not ours */
	/* The node's addresses, loopback left out; at the start and on every change. May be NULL.
	 */
	void (*on_addresses)(void *arg, const struct ip *ips, size_t n);
	void *arg;
};
int hostwatch_start(const struct hostwatch_config *c, struct hostwatch **ret, struct err *e);
void hostwatch_free(struct hostwatch *h);

/* Which addresses take node ports, as kube-proxy's --nodeport-addresses: "" = all; else a list of
 * CIDRs, or "primary" (that is node_ip). */
bool nodeport_address(const char *rule, const char *node_ip, const struct ip *ip);
bool nodeport_rule_valid(const char *rule);

#endif

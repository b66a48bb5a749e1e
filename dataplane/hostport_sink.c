/* SPDX-License-Identifier: Apache-2.0
 * Host ports -> the programmer, with the addresses that the node has now. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>
#include "hostport.h"
#include "hostport_sink.h"

static int sink_set(void *arg, const struct want_svc *w, struct err *e)
{
	return programmer_set(arg, w, 0, 0, e);
}

static void sink_del(void *arg, const char *name)
{
	programmer_del(arg, name);
}

static void sink_flush(void *arg)
{
	programmer_flush(arg);
}

/* Loopback's too: the programs at the node's cgroup serve it. Link-local ones are not unique. */
static size_t sink_node_ips(void *arg, struct ip *out, size_t max)
{
	struct ifaddrs *all = NULL;
	size_t n = 0;
	(void)arg;
	if (getifaddrs(&all) < 0)
		return 0;
	for (struct ifaddrs *i = all; i && n < max; i = i->ifa_next) {
		int family = i->ifa_addr ? i->ifa_addr->sa_family : 0;
		struct ip ip = {.family = family == AF_INET6 ? 6 : 4};
		const struct sockaddr_in *v4 = (const void *)i->ifa_addr;
		const struct sockaddr_in6 *v6 = (const void *)i->ifa_addr;
		if (family == AF_INET)
			memcpy(ip.b, &v4->sin_addr, 4);
		else if (family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr))
			memcpy(ip.b, &v6->sin6_addr, 16);
		else
			continue;
		out[n++] = ip;
	}
	freeifaddrs(all);
	return n;
}

struct hostport_sink hostport_sink(struct programmer *p)
{
	return (struct hostport_sink){sink_set, sink_del, sink_flush, sink_node_ips, p};
}

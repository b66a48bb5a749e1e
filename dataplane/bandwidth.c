/* SPDX-License-Identifier: Apache-2.0
 * Token buckets on pod links. */
#include "bandwidth.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "xebec/base/cleanup.h"
#include "xebec/base/netlink.h"

/* Runtimes ask for bursts of gigabytes, which would be no limit at all: a tenth of a second is what
 * a bucket may hold, though never less than a few offloaded packets. */
static uint32_t burst_of(int64_t bits, uint64_t rate)
{
	const uint64_t least = 128 << 10, most = rate / 10 > least ? rate / 10 : least;
	uint64_t want = bits > 0 ? (uint64_t)bits / 8 : most;
	want = want > most ? most : want;
	want = want < least ? least : want;
	return want > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)want;
}

void bandwidth_read(struct jv v, struct bandwidth *ret)
{
	int64_t in = jv_int(jv_get(v, "ingressRate"), 0), out = jv_int(jv_get(v, "egressRate"), 0);
	*ret = (struct bandwidth){0};
	if (in >= 8) {
		ret->in_rate = (uint64_t)in / 8;
		ret->in_burst = burst_of(jv_int(jv_get(v, "ingressBurst"), 0), ret->in_rate);
	}
	if (out >= 8) {
		ret->out_rate = (uint64_t)out / 8;
		ret->out_burst = burst_of(jv_int(jv_get(v, "egressBurst"), 0), ret->out_rate);
	}
}

static int limit(int netns, const char *ifname, uint64_t rate, uint32_t burst)
{
	AUTO(cleanup_nl) struct nl *n = NULL;
	struct nl_link link;
	int r = nl_open(netns, &n);
	r = r < 0 ? r : nl_link_get(n, ifname, &link);
	return r < 0 ? r : nl_qdisc_tbf(n, link.ifindex, rate, burst);
}

int bandwidth_apply(const struct bandwidth *b, const struct podlink *l, const char *netns_path,
	const char *pod_ifname, struct err *e)
{
	int r = b->in_rate ? limit(-1, l->host_name, b->in_rate, b->in_burst) : 0;
	if (r == 0 && b->out_rate) {
		AUTO_CLOSE int fd = open(netns_path, O_RDONLY | O_CLOEXEC);
		r = fd < 0 ? -errno : limit(fd, pod_ifname, b->out_rate, b->out_burst);
	}
	return r < 0 ? err_set(e, r, NULL, "limit the bandwidth of '%s': %s", l->host_name,
			       strerror(-r))
		     : 0;
}

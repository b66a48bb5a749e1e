/* SPDX-License-Identifier: Apache-2.0
 * The CNI side of an agent by hand: one request (the JSON of dataplane/cni_plugin.c) a line on
 * standard input, one answer a line. Killed at any moment, the next one goes on.
 *   cnid PIN NODE_IP SVC_CIDR CLUSTER_CIDR DATA_DIR POD_CIDR */
#include <stdio.h>
#include "cni.h"
#include "host.h"
#include "hostport_sink.h"
#include "sock.h"

static int fail(const struct err *e)
{
	fprintf(stderr, "cnid: %s\n", e->msg);
	return 1;
}

static bool has_lease(void *arg, const char *container)
{
	return ipam_holds(arg, container);
}

static int start(struct cni *c, char **argv, struct programmer **p, struct err *e)
{
	char dir[300];
	struct host_config h = {.pin_dir = argv[1],
		.node_ip = argv[2],
		.service_cidr = argv[3],
		.cluster_cidr = argv[4]};
	(void)snprintf(dir, sizeof dir, "%s/ipam", argv[5]);
	int r = ipam_open(dir, &c->ipam, e);
	(void)snprintf(dir, sizeof dir, "%s/hostports", argv[5]);
	r = r ? r : hostports_open(dir, &c->hostports, e);
	r = r ? r : ipam_set_range(c->ipam, argv[6], e);
	r = r ? r : host_open(&h, NULL, &c->maps, e);
	r = r ? r : cni_adopt(c, e);
	r = r ? r : programmer_new(c->maps, NULL, p, e);
	if (r)
		return r;
	struct hostport_sink sink = hostport_sink(*p);
	hostports_sweep(c->hostports, has_lease, c->ipam);
	r = hostports_start(c->hostports, &sink, e);
	programmer_synced(*p);
	return r;
}

int main(int argc, char **argv)
{
	static char line[1 << 16];
	struct err e = {0};
	struct cni c = {0};
	struct programmer *p = NULL;
	struct sock *s = NULL;
	const char *cgroup = getenv("XEBEC_CGROUP");
	if (argc != 7)
		return 2;
	if (start(&c, argv, &p, &e) || (cgroup && sock_open(c.maps, cgroup, &s, &e)))
		return fail(&e);
	puts("{}");
	(void)fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		AUTO_BUF struct buf out = {0};
		int r = cni_handle(&c, str_of(line), &out);
		printf("{\"rc\":%d,\"result\":%.*s}\n", r, (int)(out.len ? out.len - 1 : 2),
			out.len ? out.p : "{}");
		(void)fflush(stdout);
		programmer_settle(p);
	}
	hostports_free(c.hostports);
	programmer_free(p);
	sock_free(s);
	maps_free(c.maps);
	ipam_free(c.ipam);
	return 0;
}

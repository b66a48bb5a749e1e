/* SPDX-License-Identifier: Apache-2.0
 * The agent: composes host network, maps, CNI, node routes and services on one loop. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "agent.h"
#include "cni.h"
#include "dns.h"
#include "host.h"
#include "hostport_sink.h"
#include "hostwatch.h"
#include "inspect.h"
#include "kpmetrics.h"
#include "noderoutes.h"
#include "sock.h"
#include "svcwatch.h"
#include "xebec/base/httpd.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

struct agent {
	struct agent_config cfg;
	char first_ip[64]; /* borrowed by the name service */
	char pin_dir[256], conf_dir[256], bin_dir[256], sock[256];
	struct hostnet net;
	enum routing routing;
	struct maps *maps;
	struct cni cni;
	struct noderoutes *routes;
	struct svcwatch *services;
	struct dns *dns;      /* NULL: none is served */
	struct sock *sockets; /* NULL: tc_host does it all */
	struct health *health;
	struct hostwatch *hostwatch;
	struct httpd *cni_server, *metrics_server;
	bool conf_written;
};

/* ---- CNI ---- */

static void cni_request(void *srv, struct http_exchange *x)
{
	struct agent *a = srv;
	AUTO_BUF struct buf out = {0};
	if (!str_eqz(x->path, "/cni") || !str_eqz(x->method, "POST")) {
		http_reply(x, 404, "text/plain", STR("only POST /cni is served here\n"), NULL, 0);
		return;
	}
	/* Nodes behind VXLAN come and go: new pods get what fits now. */
	a->cni.mtu = a->cfg.mtu ? a->cfg.mtu : noderoutes_pod_mtu(a->routes);
	int r = cni_handle(&a->cni, x->body, &out);
	if (r < 0)
		log_warn("CNI: %s", out.p ? out.p : strerror(-r));
	http_reply(x, r < 0 ? 500 : 200, "application/json", buf_str(&out), NULL, 0);
}

static int cni_serve(struct agent *a, struct err *e)
{
	char addr[270];
	struct httpd_config c = {.handler = cni_request,
		.srv = a,
		.loop = a->cfg.loop,
		.max_body = 1 << 20,
		.max_header = 16 << 10,
		.max_conns = 256,
		.idle_timeout_ns = 30 * NS_PER_SEC,
		.header_timeout_ns = 30 * NS_PER_SEC};
	(void)unlink(a->sock); /* of an agent that was killed */
	(void)snprintf(addr, sizeof(addr), "unix:%s", a->sock);
	int r = httpd_new(&c, &a->cni_server, e);
	int fd = r < 0 ? r : net_listen(addr, e);
	return fd < 0 ? fd : httpd_listen_fd(a->cni_server, fd, e);
}

/* The plugins are links to the static plugin beside this program, or to this program. */
static int plugin_link(const struct agent *a, const char *name, struct err *e)
{
	char exe[256], target[280], path[300];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n <= 0)
		return err_set(e, errno, NULL, "readlink /proc/self/exe");
	exe[n] = 0;
	(void)snprintf(target, sizeof(target), "%s-cni", exe);
	(void)snprintf(path, sizeof(path), "%s/%s", a->bin_dir, name);
	(void)unlink(path);
	if (symlink(access(target, X_OK) == 0 ? target : exe, path) < 0)
		return err_set(e, errno, NULL, "link '%s'", path);
	return 0;
}

/* The runtime takes the network as ready as soon as this file is there: written when the first
 * range is known. */
static int conf_write(struct agent *a, struct err *e)
{
	AUTO_BUF struct buf b = {0};
	char path[300];
	int r = mkdir_p(a->bin_dir, 0755);
	if (r == 0)
		r = mkdir_p(a->conf_dir, 0755);
	if (r < 0)
		return err_set(e, r, NULL, "make '%s' and '%s'", a->conf_dir, a->bin_dir);
	if ((r = plugin_link(a, "xebec-cni", e)) < 0 || (r = plugin_link(a, "loopback", e)) < 0)
		return r;
	buf_adds(&b,
		"{\"cniVersion\":\"0.4.0\",\"name\":\"xebec\",\"plugins\":[{\"type\":\"xebec-cni\","
		"\"capabilities\":{\"portMappings\":true,\"bandwidth\":true},\"socket\":");
	buf_add_json_str(&b, str_of(a->sock));
	buf_adds(&b, "}]}\n");
	(void)snprintf(path, sizeof(path), "%s/10-xebec.conflist", a->conf_dir);
	r = b.err ? b.err : file_write_atomic(path, buf_str(&b), 0644);
	return r < 0 ? err_set(e, r, NULL, "write '%s'", path) : 0;
}

static void on_own_cidr(void *arg, const char *cidr)
{
	struct agent *a = arg;
	struct err e = {0};
	struct cidr_pair c;
	char v4[46 + 4] = "";
	int r = cidr_pair_parse(cidr, &c) || !c.v4.net.family
			? err_set(&e, EINVAL, NULL,
				  "pods need an IPv4 range, with or without an IPv6 one")
			: 0;
	if (r == 0) {
		ip_format(&c.v4.net, v4);
		(void)snprintf(v4 + strlen(v4), 4, "/%u", c.v4.prefix);
		r = ipam_set_range(a->cni.ipam, v4, &e);
	}
	if (r == 0 && c.v6.net.family && a->net.has6)
		r = ipam_set_range6(a->cni.ipam, &c.v6, &e);
	if (r == 0 && !a->conf_written)
		r = conf_write(a, &e);
	if (r < 0)
		log_error("pod range %s: %s", cidr, e.msg);
	else
		a->conf_written = true;
}

/* ---- metrics ---- */

static void process_metrics(struct buf *out)
{
	long pages = 0;
	AUTO_BUF struct buf text = {0};
	if (file_read("/proc/self/statm", 256, &text) == 0 && text.p &&
		sscanf(text.p, "%*s %ld", &pages) == 1)
		buf_addf(out,
			"# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes "
			"%ld\n",
			pages * sysconf(_SC_PAGESIZE));
}

static struct health_state health_state(void *arg)
{
	const struct agent *a = arg;
	return a->services ? svcwatch_health(a->services) : (struct health_state){0};
}

static void metrics_request(void *srv, struct http_exchange *x)
{
	struct agent *a = srv;
	AUTO_BUF struct buf out = {0};
	struct svcwatch_stats stats;
	const struct health_counts counts = health_counts(a->health);
	if (str_eqz(x->path, "/healthz") || str_eqz(x->path, "/livez")) {
		struct health_state state = health_state(a);
		int status = health_answer(&state, x->path, time_now(), &out);
		http_reply(x, status, "application/json", buf_str(&out), NULL, 0);
		return;
	}
	if (str_eqz(x->path, "/proxyMode")) { /* kube-proxy has it */
		http_reply(x, 200, "text/plain", STR("ebpf"), NULL, 0);
		return;
	}
	if (!str_eqz(x->path, "/metrics")) {
		http_reply(x, 404, "text/plain", STR("/metrics and /healthz are served here\n"),
			NULL, 0);
		return;
	}
	process_metrics(&out);
	if (a->cni.ipam)
		buf_addf(&out, "# TYPE xebec_pod_addresses gauge\nxebec_pod_addresses %zu\n",
			ipam_len(a->cni.ipam));
	inspect_metrics(a->maps, svcwatch_programmer(a->services), &out);
	if (a->dns)
		dns_metrics(a->dns, &out);
	svcwatch_stats(a->services, &stats);
	kpmetrics_add(&stats, &counts, &out);
	http_reply(x, 200, "text/plain; version=0.0.4", buf_str(&out), NULL, 0);
}

static int metrics_serve(struct agent *a, struct err *e)
{
	struct httpd_config c = {.handler = metrics_request,
		.srv = a,
		.loop = a->cfg.loop,
		.max_body = 1 << 12,
		.max_header = 16 << 10,
		.max_conns = 64,
		.idle_timeout_ns = 60 * NS_PER_SEC,
		.header_timeout_ns = 10 * NS_PER_SEC};
	if (!a->cfg.metrics_addr)
		return 0;
	int r = httpd_new(&c, &a->metrics_server, e);
	int fd = r < 0 ? r : net_listen(a->cfg.metrics_addr, e);
	return fd < 0 ? fd : httpd_listen_fd(a->metrics_server, fd, e);
}

/* ---- start ---- */

static void names_fill(struct agent *a)
{
	const struct agent_config *c = &a->cfg;
	(void)snprintf(a->pin_dir, sizeof(a->pin_dir), "%s%s",
		c->pin_dir ? c->pin_dir : "/sys/fs/bpf/xebec/", c->pin_dir ? "" : c->node_name);
	(void)snprintf(a->conf_dir, sizeof(a->conf_dir), "%s%s",
		c->cni_conf_dir ? c->cni_conf_dir : c->data_dir,
		c->cni_conf_dir ? "" : "/cni/conf");
	(void)snprintf(a->bin_dir, sizeof(a->bin_dir), "%s%s",
		c->cni_bin_dir ? c->cni_bin_dir : c->data_dir, c->cni_bin_dir ? "" : "/cni/bin");
	(void)snprintf(a->sock, sizeof(a->sock), "%s/cni.sock", c->run_dir);
}

/* Room for n services and their backends in every map that holds them. */
static void sizes_fill(const struct agent_config *c, uint32_t max[MAP_COUNT])
{
	if (c->max_services)
		max[MAP_svc4] = max[MAP_svc_tab] = max[MAP_svc_info] = max[MAP_svc_st] =
			c->max_services;
	if (c->max_backends) {
		max[MAP_be_tab] = max[MAP_be_st] = max[MAP_be_open] = c->max_backends;
		max[MAP_lut] = 2 * c->max_backends;
	}
}

static int network_start(struct agent *a, struct err *e)
{
	char leases[300];
	struct host_config h = {.pin_dir = a->pin_dir,
		.node_ip = a->cfg.node_ip,
		.service_cidr = a->cfg.service_cidr,
		.cluster_cidr = a->cfg.cluster_cidr,
		.foreign_pods = a->cfg.services_only};
	sizes_fill(&a->cfg, h.max);
	if (xdp_mode_parse(a->cfg.xdp, &h.xdp) < 0)
		return err_set(e, EINVAL, NULL, "XDP mode '%s' is not off, auto, native or generic",
			a->cfg.xdp);
	if (a->cfg.services_only) {
		h.routing = ROUTING_NONE;
		return host_open(&h, &a->net, &a->maps, e);
	}
	if (routing_parse(a->cfg.routing, &a->routing) < 0)
		return err_set(e, EINVAL, NULL, "routing '%s' is not auto, direct or vxlan",
			a->cfg.routing);
	h.routing = a->routing;
	h.masquerade = a->cfg.masquerade && strcmp(a->cfg.masquerade, "on") == 0;
	h.no_masq = a->cfg.no_masquerade;
	(void)snprintf(leases, sizeof(leases), "%s/ipam", a->cfg.data_dir);
	int r = ipam_open(leases, &a->cni.ipam, e);
	(void)snprintf(leases, sizeof(leases), "%s/hostports", a->cfg.data_dir);
	if (r == 0)
		r = hostports_open(leases, &a->cni.hostports, e);
	if (r < 0 || (r = host_open(&h, &a->net, &a->maps, e)) < 0)
		return r;
	a->cni.maps = a->maps;
	return cni_adopt(&a->cni, e);
}

/* Without a rule a node port is one row that matches every address of lip4; with one it is a row
 * for each address that the rule lets through. */
static void on_addresses(void *arg, const struct ip *ips, size_t n)
{
	struct agent *a = arg;
	const char *rule = a->cfg.nodeport_addresses;
	struct ip pass[256];
	size_t k = 0;
	if (!rule || !rule[0])
		return;
	for (size_t i = 0; i < n && k < ARRAY_LEN(pass); i++)
		if (nodeport_address(rule, a->cfg.node_ip, &ips[i]))
			pass[k++] = ips[i];
	svcwatch_nodeport_addresses(a->services, pass, k);
}

static void on_services_synced(void *arg)
{
	struct agent *a = arg;
	if (a->dns)
		dns_synced(a->dns);
}

static int watches_start(struct agent *a, struct err *e)
{
	struct noderoutes_config nc = {.client = a->cfg.client,
		.node_name = a->cfg.node_name,
		.peers = {.maps = a->maps, .net = &a->net, .how = a->routing},
		.on_own_cidr = on_own_cidr,
		.arg = a};
	struct health_config hc = {
		.loop = a->cfg.loop, .addr = a->cfg.health_addr, .state = health_state, .arg = a};
	int r = health_start(&hc, &a->health, e);
	struct svcwatch_config sc = {.client = a->cfg.client,
		.maps = a->maps,
		.node = a->cfg.node_name,
		.health = a->health,
		.on_synced = on_services_synced,
		.arg = a};
	if (r == 0 && !a->cfg.services_only)
		r = noderoutes_start(&nc, &a->routes, e);
	struct hostwatch_config wc = {.loop = a->cfg.loop,
		.maps = a->maps,
		.uplink_if = a->net.uplink_if,
		.foreign = a->cfg.services_only,
		.on_addresses = on_addresses,
		.arg = a};
	r = r < 0 ? r : svcwatch_start(&sc, &a->services, e);
	return r < 0 ? r : hostwatch_start(&wc, &a->hostwatch, e);
}

static bool has_lease(void *arg, const char *container)
{
	return ipam_holds(arg, container);
}

/* Before the first sync, which clears what nobody asked for. A port that finds no room does not
 * keep the node from starting. */
static void hostports_begin(struct agent *a)
{
	struct err e = {0};
	if (!a->cni.hostports)
		return;
	struct hostport_sink sink = hostport_sink(svcwatch_programmer(a->services));
	hostports_sweep(a->cni.hostports, has_lease, a->cni.ipam);
	if (hostports_start(a->cni.hostports, &sink, &e) < 0)
		log_error("host ports: %s", e.msg);
}

static void on_gone(void *arg)
{
	(void)sock_kill_stale(arg);
}

/* A kernel or a cgroup that cannot do it is no error: tc_host serves the node's sockets too. */
static void sockets_start(struct agent *a)
{
	char cgroup[512];
	struct err e = {0};
	if (!a->cfg.host_cgroup)
		return;
	int r = sock_cgroup_path(a->cfg.host_cgroup, cgroup, sizeof(cgroup));
	if (r < 0)
		(void)err_set(&e, r, NULL, "no cgroup2 directory '%s'", a->cfg.host_cgroup);
	else
		r = sock_open(a->maps, cgroup, &a->sockets, &e);
	if (r < 0)
		log_warn("the node's sockets are served packet by packet: %s", e.msg);
	else
		programmer_on_gone(svcwatch_programmer(a->services), on_gone, a->sockets);
}

/* The first of a list. The name service is IPv4's in a dual-stack cluster, too: its address is one
 * of the first service range. */
static const char *first_of(const char *list, char out[static 64])
{
	if (!list)
		return NULL;
	(void)snprintf(out, 64, "%.*s", (int)strcspn(list, ","), list);
	return out;
}

static int names_start(struct agent *a, struct err *e)
{
	const struct dns_config c = {.loop = a->cfg.loop,
		.client = a->cfg.client,
		.slices = svcwatch_slices(a->services),
		.nodes = svcwatch_nodes(a->services),
		.node_name = a->cfg.node_name,
		.node_ip = first_of(a->cfg.node_ip, a->first_ip),
		.domain = a->cfg.cluster_domain,
		.cluster_dns = a->cfg.cluster_dns,
		.service_cidr = a->cfg.service_cidr,
		.cluster_cidr = a->cfg.cluster_cidr,
		.upstream = a->cfg.dns_upstream,
		.resolv_conf = a->cfg.resolv_conf};
	return a->cfg.cluster_dns ? dns_start(&c, &a->dns, e) : 0;
}

int agent_start(const struct agent_config *c, struct agent **ret, struct err *e)
{
	struct agent *a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(e, ENOMEM, NULL, "out of memory");
	a->cfg = *c;
	names_fill(a);
	int r = c->services_only ? 0 : mkdir_p(c->run_dir, 0755);
	r = r < 0 ? err_set(e, r, NULL, "make '%s'", c->run_dir) : network_start(a, e);
	if (r == 0 && !c->services_only)
		r = cni_serve(a, e);
	if (r == 0)
		r = watches_start(a, e);
	if (r == 0)
		r = names_start(a, e);
	if (r == 0) {
		hostports_begin(a);
		sockets_start(a);
	}
	if (r == 0)
		r = metrics_serve(a, e);
	if (r < 0) {
		agent_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void agent_free(struct agent *a)
{
	if (!a)
		return;
	httpd_free(a->metrics_server);
	httpd_free(a->cni_server);
	hostwatch_free(a->hostwatch);
	hostports_free(a->cni.hostports);
	svcwatch_free(a->services);
	dns_free(a->dns);
	sock_free(a->sockets);
	health_free(a->health);
	noderoutes_free(a->routes);
	maps_free(a->maps);
	ipam_free(a->cni.ipam);
	free(a);
}

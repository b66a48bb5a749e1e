/* SPDX-License-Identifier: Apache-2.0
 * `xebec node`: kubelet and dataplane agent of one machine, each on a loop and thread of its own;
 * `xebec kubelet`: the kubelet alone. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "agent.h"
#include "kubelet/kubelet.h"
#include "roles/options.h"
#include "roles/roles.h"
#include "xebec/base/log.h"

struct node_opts {
	const char *name, *kubeconfig, *data_dir, *run_dir, *node_ip, *runtime, *xdp;
	const char *cluster_dns, *cluster_domain, *service_cidr, *cluster_cidr, *cgroup_root;
	const char *host_cgroup;
	const char *listen, *labels, *max_pods, *routing, *masquerade, *no_masquerade;
	const char *dns_upstream, *resolv_conf;
	char dns[16], first_ip[64];
};

static const struct option_row rows[] = {
	{"--name", offsetof(struct node_opts, name), "N", "name of the Node object (required)"},
	{"--kubeconfig", offsetof(struct node_opts, kubeconfig), "FILE",
		"API server and credentials (required)"},
	{"--data-dir", offsetof(struct node_opts, data_dir), "DIR",
		"volumes, logs, pki, address leases; default /var/lib/xebec/node"},
	{"--run-dir", offsetof(struct node_opts, run_dir), "DIR", "sockets; default /run/xebec"},
	{"--node-ip", offsetof(struct node_opts, node_ip), "ADDR",
		"address of this node, or its IPv4 and its IPv6 one: A,B (required)"},
	{"--runtime", offsetof(struct node_opts, runtime), "URL",
		"CRI socket; default unix:///run/containerd/containerd.sock"},
	{"--cluster-dns", offsetof(struct node_opts, cluster_dns), "ADDR",
		"name server of pods, served by this process; default: the tenth address of "
		"--service-cidr; \"none\""},
	{"--dns-upstream", offsetof(struct node_opts, dns_upstream), "A[:P],..",
		"name servers for names outside the cluster; default: those of --resolv-conf"},
	{"--resolv-conf", offsetof(struct node_opts, resolv_conf), "FILE",
		"resolver configuration of this machine; default /etc/resolv.conf"},
	{"--cluster-domain", offsetof(struct node_opts, cluster_domain), "NAME",
		"default cluster.local"},
	{"--xdp", offsetof(struct node_opts, xdp), "MODE",
		"XDP on the uplink for node ports with backends on other nodes: auto, native, "
		"generic; "
		"default off"},
	{"--service-cidr", offsetof(struct node_opts, service_cidr), "CIDR",
		"default 10.96.0.0/16; IPv4,IPv6 for dual stack"},
	{"--cluster-cidr", offsetof(struct node_opts, cluster_cidr), "CIDR",
		"default 10.244.0.0/16; IPv4,IPv6 for dual stack"},
	{"--cgroup-root", offsetof(struct node_opts, cgroup_root), "PATH",
		"parent cgroup of all pods; default /"},
	{"--host-cgroup", offsetof(struct node_opts, host_cgroup), "PATH",
		"cgroup2 path of the node's own processes, whose sockets reach services without "
		"per-packet work; none = packet by packet; default /"},
	{"--kubelet-listen", offsetof(struct node_opts, listen), "ADDR:PORT",
		"default 0.0.0.0:10250"},
	{"--node-labels", offsetof(struct node_opts, labels), "A=B,C=D",
		"labels of the Node object"},
	{"--routing", offsetof(struct node_opts, routing), "HOW",
		"pods' way to other nodes: auto (default), direct, vxlan"},
	{"--masquerade", offsetof(struct node_opts, masquerade), "on|off",
		"pods reach outside under the node's address (TCP, UDP, ping); default off"},
	{"--non-masquerade-cidrs", offsetof(struct node_opts, no_masquerade), "CIDR,..",
		"networks outside that pods reach under their own addresses"},
	{"--max-pods", offsetof(struct node_opts, max_pods), "N", "default 110"},
};

/* What the kubelet needs to live as long as it does. */
struct kubelet_run {
	struct loop *loop;
	struct client *client;
	struct kubelet *kubelet;
	struct buf cert, key, ca;
};

static void read_pki(const struct node_opts *o, const char *name, struct buf *out)
{
	AUTO_BUF struct buf path = {0};
	buf_addf(&path, "%s/pki/%s", o->data_dir, name);
	if (path.err || file_read(path.p, 1 << 16, out) < 0)
		buf_clear(out);
}

static int kubelet_up(const struct node_opts *o, struct kubelet_run *k, struct err *e)
{
	AUTO_BUF struct buf root = {0};
	int r = client_new_kubeconfig(k->loop, o->kubeconfig, "xebec-kubelet", &k->client, e);
	if (r < 0)
		return r;
	read_pki(o, "kubelet.crt", &k->cert);
	read_pki(o, "kubelet.key", &k->key);
	read_pki(o, "ca.crt", &k->ca);
	if (k->cert.len == 0 || k->key.len == 0 || k->ca.len == 0)
		return err_set(e, ENOENT, NULL,
			"%s/pki: ca.crt, kubelet.crt and kubelet.key are needed to serve logs and "
			"exec",
			o->data_dir);
	buf_addf(&root, "%s/kubelet", o->data_dir);
	if (root.err)
		return err_set(e, ENOMEM, NULL, "out of memory");
	struct kubelet_config cfg = {.loop = k->loop,
		.client = k->client,
		.node_name = o->name,
		.node_ip = o->first_ip,
		.node_ips = o->node_ip,
		.root_dir = root.p,
		.runtime = o->runtime,
		.cgroup_root = o->cgroup_root,
		.cluster_dns = o->cluster_dns,
		.cluster_domain = o->cluster_domain,
		.resolv_conf = o->resolv_conf,
		.listen = o->listen,
		.cert_pem = buf_str(&k->cert),
		.key_pem = buf_str(&k->key),
		.client_ca_pem = buf_str(&k->ca),
		.labels = o->labels,
		.max_pods = o->max_pods ? (unsigned)strtoul(o->max_pods, NULL, 10) : 0,
		.register_node = true};
	return kubelet_start(&cfg, &k->kubelet, e);
}

static void kubelet_down(struct kubelet_run *k)
{
	kubelet_free(k->kubelet);
	client_free(k->client);
	buf_free(&k->cert);
	buf_free(&k->key);
	buf_free(&k->ca);
}

/* --- the dataplane's thread --- */

struct agent_run {
	struct loop *loop;
	struct client *client;
	struct agent *agent;
	pthread_t thread;
	bool running;
};

static void *agent_main(void *arg)
{
	struct agent_run *a = arg;
	(void)loop_run(a->loop);
	return NULL;
}

static int agent_up(const struct node_opts *o, struct agent_run *a, struct err *e)
{
	struct agent_config cfg = {.node_name = o->name,
		.node_ip = o->node_ip,
		.data_dir = o->data_dir,
		.run_dir = o->run_dir,
		.service_cidr = o->service_cidr,
		.cluster_cidr = o->cluster_cidr,
		.xdp = o->xdp,
		.cluster_dns = o->cluster_dns,
		.cluster_domain = o->cluster_domain,
		.dns_upstream = o->dns_upstream,
		.resolv_conf = o->resolv_conf,
		.host_cgroup = strcmp(o->host_cgroup, "none") == 0 ? NULL : o->host_cgroup,
		.routing = o->routing,
		.masquerade = o->masquerade,
		.no_masquerade = o->no_masquerade,
		.metrics_addr = "0.0.0.0:10249",
		.health_addr = "0.0.0.0:10256"};
	a->loop = loop_new();
	if (!a->loop)
		return err_set(e, errno, NULL, "event loop");
	int r = client_new_kubeconfig(a->loop, o->kubeconfig, "xebec-dataplane", &a->client, e);
	if (r < 0)
		return r;
	cfg.loop = a->loop;
	cfg.client = a->client;
	r = agent_start(&cfg, &a->agent, e);
	if (r == 0 && pthread_create(&a->thread, NULL, agent_main, a) != 0)
		r = err_set(e, EAGAIN, NULL, "dataplane thread");
	a->running = r == 0;
	return r;
}

static void agent_down(struct agent_run *a)
{
	if (a->running) {
		loop_stop(a->loop);
		(void)pthread_join(a->thread, NULL);
	}
	agent_free(a->agent);
	client_free(a->client);
	loop_free(a->loop);
}

/* --- the roles --- */

static void on_signal(int sig, void *arg)
{
	log_info("signal %d: stopping; pods keep running", sig);
	loop_stop(arg);
}

/* systemd's stub on 127.0.0.53 answers no pod: the servers behind it are in another file. */
static const char *resolv_conf_find(void)
{
	static const char usual[] = "/etc/resolv.conf", real[] = "/run/systemd/resolve/resolv.conf";
	AUTO_BUF struct buf text = {0};
	bool stub = file_read(usual, 1 << 16, &text) == 0 && text.p &&
		    strstr(text.p, "nameserver 127.0.0.53") != NULL;
	return stub && access(real, R_OK) == 0 ? real : usual;
}

static void names_fill(struct node_opts *o)
{
	if (!o->resolv_conf)
		o->resolv_conf = resolv_conf_find();
	if (!o->cluster_dns && options_nth_address(o->service_cidr, 10, o->dns))
		o->cluster_dns = o->dns;
	else if (o->cluster_dns && strcmp(o->cluster_dns, "none") == 0)
		o->cluster_dns = NULL;
}

static int parse(const char *role, int argc, char **argv, struct node_opts *o)
{
	*o = (struct node_opts){.data_dir = "/var/lib/xebec/node",
		.run_dir = "/run/xebec",
		.runtime = "unix:///run/containerd/containerd.sock",
		.service_cidr = "10.96.0.0/16",
		.cluster_cidr = "10.244.0.0/16",
		.cgroup_root = "/",
		.host_cgroup = "/",
		.listen = "0.0.0.0:10250"};
	int r = options_parse(role, rows, ARRAY_LEN(rows), argc, argv, o);
	if (r != 0)
		return r;
	names_fill(o);
	if (o->node_ip)
		(void)snprintf(o->first_ip, sizeof(o->first_ip), "%.*s",
			(int)strcspn(o->node_ip, ","), o->node_ip);
	if (o->name && o->kubeconfig && o->node_ip)
		return 0;
	(void)fprintf(stderr, "xebec %s: --name, --kubeconfig and --node-ip are needed\n", role);
	return 2;
}

static int run(const char *role, int argc, char **argv, bool dataplane)
{
	static const int sigs[] = {SIGINT, SIGTERM};
	struct node_opts o;
	struct agent_run agent = {0};
	struct kubelet_run kubelet = {0};
	struct err e = {0};
	int r = parse(role, argc, argv, &o);
	if (r != 0)
		return r < 0 ? 0 : r;
	log_init(role, getenv("XEBEC_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	(void)signal(SIGPIPE, SIG_IGN);
	kubelet.loop = loop_new();
	/* Signals are blocked before the first thread exists. */
	r = kubelet.loop
		    ? loop_signals(kubelet.loop, sigs, ARRAY_LEN(sigs), on_signal, kubelet.loop)
		    : err_set(&e, errno, NULL, "event loop");
	if (r == 0 && dataplane)
		r = agent_up(&o, &agent, &e);
	if (r == 0)
		r = kubelet_up(&o, &kubelet, &e);
	if (r == 0)
		r = loop_run(kubelet.loop);
	if (r < 0)
		log_error("%s", *e.msg ? e.msg : strerror(-r));
	kubelet_down(&kubelet);
	loop_free(kubelet.loop);
	agent_down(&agent);
	return r < 0;
}

int role_node(int argc, char **argv)
{
	return run("node", argc, argv, true);
}

int role_kubelet(int argc, char **argv)
{
	return run("kubelet", argc, argv, false);
}

/* SPDX-License-Identifier: Apache-2.0
 * `xebec dataplane`: the services of one node in any Kubernetes cluster, in kube-proxy's place. It
 * needs Services, EndpointSlices and its Node from the API, nothing else. */
#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "agent.h"
#include "hostnet.h"
#include "hostwatch.h"
#include "inspect.h"
#include "maps.h"
#include "roles/options.h"
#include "roles/roles.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"
#include "xebec/client/client.h"

#define ACCOUNT "/var/run/secrets/kubernetes.io/serviceaccount/"

struct dp_opts {
	const char *kubeconfig, *node_name, *node_ip, *service_cidr, *cluster_cidr, *xdp;
	const char *metrics, *health, *pin_dir, *data_dir, *run_dir;
	const char *host_cgroup, *cni, *cleanup;
	const char *nodeport_addresses, *max_services, *max_backends;
};

static const struct option_row rows[] = {
	{"--kubeconfig", offsetof(struct dp_opts, kubeconfig), "FILE",
		"API server and credentials; default: the pod's service account"},
	{"--node-name", offsetof(struct dp_opts, node_name), "N",
		"name of the Node object; default: the host's name"},
	{"--hostname-override", offsetof(struct dp_opts, node_name), "N",
		"the same, as kube-proxy"},
	{"--node-ip", offsetof(struct dp_opts, node_ip), "ADDR",
		"address of this node; default: the Node's InternalIP"},
	{"--xdp", offsetof(struct dp_opts, xdp), "MODE",
		"XDP on the uplink for node ports with backends on other nodes: auto, native, "
		"generic; "
		"default off"},
	{"--service-cidr", offsetof(struct dp_opts, service_cidr), "CIDR",
		"default: the cluster's ServiceCIDR, else 10.96.0.0/16"},
	{"--cluster-cidr", offsetof(struct dp_opts, cluster_cidr), "CIDR",
		"pods of all nodes; default 10.244.0.0/16"},
	{"--healthz-bind-address", offsetof(struct dp_opts, health), "ADDR:PORT",
		"default 0.0.0.0:10256"},
	{"--metrics-bind-address", offsetof(struct dp_opts, metrics), "ADDR:PORT",
		"default 127.0.0.1:10249"},
	{"--pin-dir", offsetof(struct dp_opts, pin_dir), "DIR", "default " PIN_ROOT "/<node>"},
	{"--host-cgroup", offsetof(struct dp_opts, host_cgroup), "PATH",
		"processes whose sockets choose at connect(); default /; none"},
	{"--nodeport-addresses", offsetof(struct dp_opts, nodeport_addresses), "CIDRS",
		"where node ports answer: CIDR,CIDR or primary; default: every address"},
	{"--max-services", offsetof(struct dp_opts, max_services), "N",
		"service ports that the maps hold; default 65536"},
	{"--max-backends", offsetof(struct dp_opts, max_backends), "N",
		"endpoints that the maps hold; default 65536"},
	{"--cni", offsetof(struct dp_opts, cni), "", "connect pods too (CNI plugin)"},
	{"--data-dir", offsetof(struct dp_opts, data_dir), "DIR",
		"with --cni: address leases; default /var/lib/xebec/node"},
	{"--run-dir", offsetof(struct dp_opts, run_dir), "DIR",
		"with --cni: socket; default /run/xebec"},
	{"--cleanup", offsetof(struct dp_opts, cleanup), "",
		"remove every trace from this node's kernel, then exit"},
};

/* What the API had to say; lives while the agent starts. */
struct facts {
	char name[256], ip[128], service_cidr[128], pin_dir[300];
};

struct run {
	struct loop *loop;
	struct client *client;
	bool stopped;
};

static void on_signal(int sig, void *arg)
{
	struct run *r = arg;
	log_info("signal %d: stopping; services keep working", sig);
	r->stopped = true;
	loop_stop(r->loop);
}

/* ------------------------------------------------------------------ asking first */

struct answer {
	bool done;
	int status;
	struct buf body;
	struct err e;
};

static void on_answer(void *arg, const struct client_result *r)
{
	struct answer *a = arg;
	a->done = true;
	a->status = r->http_status;
	if (r->e)
		a->e = *r->e;
	buf_add_str(&a->body, r->body);
}

static void tick(struct loop_timer *t)
{
	*(bool *)t->arg = true;
}

static void pause_for(struct run *run, int64_t ns)
{
	bool over = false;
	struct loop_timer t = {.fn = tick, .arg = &over};
	if (loop_timer_set(run->loop, &t, ns))
		return;
	while (!over && !run->stopped && loop_poll(run->loop, 1000) == 0)
		;
	loop_timer_cancel(&t);
}

/* GET, again and again until the server says yes or no; the object in *out. -ENOENT; -ECANCELED
 * after a signal. */
static int ask(struct run *run, const struct resource *res, const char *name, struct buf *out)
{
	for (bool said = false; !run->stopped; pause_for(run, NS_PER_SEC)) {
		struct answer a = {0};
		struct client_call *call = client_get(run->client, res, NULL, name, on_answer, &a);
		while (call && !a.done && !run->stopped && loop_poll(run->loop, 1000) == 0)
			;
		if (call && !a.done)
			client_cancel(call);
		if (a.status == 200 && !a.body.err) {
			*out = a.body;
			return 0;
		}
		buf_free(&a.body);
		if (a.status == 404)
			return -ENOENT;
		if (a.done && !said)
			log_warn("%s %s: %s; trying again", res->plural, name, a.e.msg);
		said = true;
	}
	return -ECANCELED;
}

/* To a list of one address or range a family: the first of each counts. */
static void add_one(char *list, size_t cap, struct str one)
{
	bool six = one.n && memchr(one.p, ':', one.n), has_six = strchr(list, ':') != NULL,
	     has_four = list[0] && (!has_six || strchr(list, ','));
	size_t n = strlen(list);
	if (one.n && !(six ? has_six : has_four) && n + one.n + 2 < cap)
		(void)snprintf(list + n, cap - n, "%s%.*s", n ? "," : "", STR_FMT(one));
}

static int node_ip_ask(struct run *run, struct facts *f, struct err *e)
{
	static const struct resource nodes = {"", "v1", "nodes", "Node", false};
	AUTO_BUF struct buf node = {0};
	int r;
	while ((r = ask(run, &nodes, f->name, &node)) == -ENOENT) {
		log_warn("there is no Node '%s' yet (--node-name); waiting", f->name);
		pause_for(run, 2 * NS_PER_SEC);
	}
	if (r)
		return r;
	jv_each (it, jv_path(jv_of(buf_str(&node)), "status.addresses")) {
		if (jv_is_str(jv_get(it.v, "type"), "InternalIP"))
			add_one(f->ip, sizeof f->ip, jv_raw_str(jv_get(it.v, "address")));
	}
	return f->ip[0] ? 0
			: err_set(e, ENOENT, NULL,
				  "Node '%s' has no InternalIP; say which address with --node-ip",
				  f->name);
}

/* The cluster's own word about its service range (since Kubernetes 1.33), else the default. */
static int service_cidr_ask(struct run *run, struct facts *f)
{
	static const struct resource cidrs = {
		"networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", false};
	AUTO_BUF struct buf o = {0};
	int r = ask(run, &cidrs, "kubernetes", &o);
	if (r == 0)
		jv_each (it, jv_path(jv_of(buf_str(&o)), "spec.cidrs"))
			add_one(f->service_cidr, sizeof f->service_cidr, jv_raw_str(it.v));
	if (!f->service_cidr[0])
		(void)snprintf(f->service_cidr, sizeof f->service_cidr, "10.96.0.0/16");
	return r == -ENOENT ? 0 : r;
}

static int facts_ask(struct run *run, struct dp_opts *o, struct facts *f, struct err *e)
{
	int r = 0;
	if (!o->node_ip && (r = node_ip_ask(run, f, e)) == 0)
		o->node_ip = f->ip;
	if (r == 0 && !o->service_cidr && (r = service_cidr_ask(run, f)) == 0)
		o->service_cidr = f->service_cidr;
	return r;
}

/* ------------------------------------------------------------------ the role */

static int client_up(struct run *run, const struct dp_opts *o, struct err *e)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"),
		   *port = getenv("KUBERNETES_SERVICE_PORT");
	AUTO_BUF struct buf ca = {0}, url = {0};
	if (o->kubeconfig)
		return client_new_kubeconfig(
			run->loop, o->kubeconfig, "xebec-dataplane", &run->client, e);
	if (!host)
		return err_set(e, EINVAL, NULL, "--kubeconfig is needed outside of a pod");
	int r = file_read(ACCOUNT "ca.crt", 1 << 20, &ca);
	if (r < 0)
		return err_set(e, r, NULL, "read %s", ACCOUNT "ca.crt");
	buf_addf(&url, strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host,
		port ? port : "443");
	struct client_https_config c = {.loop = run->loop,
		.server = url.p,
		.ca_pem = buf_str(&ca),
		.token_file = ACCOUNT "token",
		.user_agent = "xebec-dataplane"};
	return client_new_https(&c, &run->client, e);
}

/* NULL = 0, the default. */
static int number(const char *option, const char *z, unsigned *ret, struct err *e)
{
	uint64_t n = 0;
	if (z && (str_u64(str_of(z), &n) != 0 || n < 1 || n >= 1u << 24))
		return err_set(
			e, EINVAL, NULL, "%s '%s': not a number from 1 to 16777215", option, z);
	*ret = (unsigned)n;
	return 0;
}

static int serve(struct run *run, struct dp_opts *o, struct facts *f, struct err *e)
{
	struct agent *agent = NULL;
	unsigned services, backends;
	int r = number("--max-services", o->max_services, &services, e);
	r = r ? r : number("--max-backends", o->max_backends, &backends, e);
	if (r)
		return r;
	r = client_up(run, o, e);
	r = r ? r : facts_ask(run, o, f, e);
	struct agent_config c = {.loop = run->loop,
		.client = run->client,
		.node_name = f->name,
		.node_ip = o->node_ip,
		.data_dir = o->data_dir,
		.run_dir = o->run_dir,
		.pin_dir = f->pin_dir,
		.service_cidr = o->service_cidr,
		.xdp = o->xdp,
		.cluster_cidr = o->cluster_cidr,
		.host_cgroup = strcmp(o->host_cgroup, "none") == 0 ? NULL : o->host_cgroup,
		.metrics_addr = o->metrics,
		.health_addr = o->health,
		.services_only = !o->cni,
		.nodeport_addresses = o->nodeport_addresses,
		.max_services = services,
		.max_backends = backends};
	r = r ? r : agent_start(&c, &agent, e);
	if (r == 0) {
		log_info("node %s (%s): services in %s, pods in %s", f->name, o->node_ip,
			o->service_cidr, o->cluster_cidr);
		r = run->stopped ? 0 : loop_run(run->loop);
	}
	agent_free(agent);
	client_free(run->client);
	return r == -ECANCELED ? 0 : r;
}

static void name_default(const struct dp_opts *o, struct facts *f)
{
	if (o->node_name)
		(void)snprintf(f->name, sizeof f->name, "%s", o->node_name);
	else if (gethostname(f->name, sizeof f->name - 1) < 0)
		f->name[0] = 0;
	for (char *p = f->name; *p && !o->node_name; p++)
		*p = (char)tolower((unsigned char)*p);
	if (o->pin_dir)
		(void)snprintf(f->pin_dir, sizeof f->pin_dir, "%s", o->pin_dir);
	else
		(void)snprintf(f->pin_dir, sizeof f->pin_dir, PIN_ROOT "/%s", f->name);
}

/* Programs leave the interfaces with their links; then nothing refers to the maps. */
static int cleanup(const struct facts *f, struct err *e)
{
	int r = pins_remove(f->pin_dir);
	if (r < 0)
		return err_set(e, r, NULL, "remove %s: %s", f->pin_dir, strerror(-r));
	return hostnet_remove(e);
}

int role_dataplane(int argc, char **argv)
{
	static const int sigs[] = {SIGINT, SIGTERM};
	struct dp_opts o = {.cluster_cidr = "10.244.0.0/16",
		.host_cgroup = "/",
		.metrics = "127.0.0.1:10249",
		.health = "0.0.0.0:10256",
		.data_dir = "/var/lib/xebec/node",
		.run_dir = "/run/xebec"};
	struct facts f = {0};
	struct run run = {0};
	struct err e = {0};
	int r = options_parse("dataplane", rows, ARRAY_LEN(rows), argc, argv, &o);
	if (r)
		return r < 0 ? 0 : r;
	log_init("dataplane", getenv("XEBEC_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	(void)signal(SIGPIPE, SIG_IGN);
	name_default(&o, &f);
	if (o.nodeport_addresses && !nodeport_rule_valid(o.nodeport_addresses)) {
		r = err_set(&e, EINVAL, NULL,
			"--nodeport-addresses '%s': neither CIDRs nor \"primary\"",
			o.nodeport_addresses);
	} else if (o.cleanup) {
		r = cleanup(&f, &e);
	} else {
		run.loop = loop_new();
		r = run.loop ? loop_signals(run.loop, sigs, ARRAY_LEN(sigs), on_signal, &run)
			     : err_set(&e, errno, NULL, "event loop");
		r = r ? r : serve(&run, &o, &f, &e);
		loop_free(run.loop);
	}
	if (r < 0)
		log_error("%s", *e.msg ? e.msg : strerror(-r));
	return r < 0;
}

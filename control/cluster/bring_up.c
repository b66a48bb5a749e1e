/* SPDX-License-Identifier: Apache-2.0
 * Starting a local cluster's processes: server and containerds at once, nodes as soon as the PKI
 * exists, images as soon as their containerd answers; ready when every Node is Ready and has its
 * images. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "cluster/up.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"
#include "xebec/base/tls.h"

enum { POLL_MS = 5 };
static const struct resource nodes_resource = {
	.group = "", .version = "v1", .plural = "nodes", .kind = "Node"};

static int write_file(
	const char *dir, const char *name, const struct buf *b, unsigned mode, struct err *e)
{
	AUTO_BUF struct buf path = {0};
	buf_addf(&path, "%s/%s", dir, name);
	int r = path.err ? path.err : b->err ? b->err : mkdir_p(dir, 0755);
	if (r == 0)
		r = file_write_atomic(path.p, buf_str(b), mode);
	return r < 0 ? err_set(e, r, NULL, "write '%s/%s'", dir, name) : 0;
}

static int read_file(const char *dir, const char *name, struct buf *out, struct err *e)
{
	AUTO_BUF struct buf path = {0};
	buf_addf(&path, "%s/%s", dir, name);
	int r = path.err ? path.err : file_read(path.p, 1 << 20, out);
	return r < 0 ? err_set(e, r, NULL, "read '%s/%s'", dir, name) : 0;
}

/* ---- containerd ---- */

static int containerd_config(
	const struct up *u, const struct up_node *n, char *path, size_t cap, struct err *e)
{
	AUTO_BUF struct buf b = {0}, dir = {0};
	buf_addf(&dir, "%s/%s", u->c.run, n->name);
	buf_addf(&b, "version = 2\nroot = \"%s/%s/containerd\"\nstate = \"%s/containerd\"\n",
		u->c.data, n->name, dir.p);
	buf_adds(&b, "disabled_plugins = [\"io.containerd.snapshotter.v1.btrfs\", "
		     "\"io.containerd.snapshotter.v1.zfs\", "
		     "\"io.containerd.snapshotter.v1.devmapper\", "
		     "\"io.containerd.snapshotter.v1.aufs\", "
		     "\"io.containerd.internal.v1.opt\"]\n");
	buf_addf(&b, "[grpc]\n  address = \"%s\"\n[ttrpc]\n  address = \"%s.ttrpc\"\n", n->socket,
		n->socket);
	buf_adds(&b,
		"[plugins.\"io.containerd.grpc.v1.cri\"]\n"
		"  restrict_oom_score_adj = true\n" /* without it runc needs CAP_SYS_RESOURCE */
		"  sandbox_image = \"docker.io/local/pause:1\"\n"
		"  netns_mounts_under_state_dir = true\n"
		"  tolerate_missing_hugetlb_controller = true\n");
	buf_addf(&b,
		"  [plugins.\"io.containerd.grpc.v1.cri\".cni]\n    bin_dir = \"%s/%s/cni/bin\"\n  "
		"  conf_dir = \"%s/%s/cni/conf\"\n",
		u->c.data, n->name, u->c.data, n->name);
	buf_adds(&b,
		"  [plugins.\"io.containerd.grpc.v1.cri\".containerd]\n"
		"    snapshotter = \"overlayfs\"\n    default_runtime_name = \"runc\"\n"
		"    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n"
		"      runtime_type = \"io.containerd.runc.v2\"\n"
		"      [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n");
	buf_addf(&b, "        Root = \"%s/runc\"\n", dir.p);
	(void)snprintf(path, cap, "%s/containerd.toml", dir.p);
	return write_file(dir.p, "containerd.toml", &b, 0644, e);
}

static int proc_prepare(
	struct up *u, struct proc *p, const char *what, const char *node, int net_fd, struct err *e)
{
	(void)snprintf(
		p->name, sizeof(p->name), "%s%s%s", what, node ? " of " : "", node ? node : "");
	(void)snprintf(p->log_path, sizeof(p->log_path), "%s/%s%s%s.log", u->c.run,
		node ? node : "", node ? "-" : "", what);
	p->net_fd = net_fd;
	p->mnt_fd = u->topo.mnt_fd;
	p->pass_fd = -1;
	int r = cgroup_join_path(
		&u->c, node ? node : what, p->cgroup_procs, sizeof(p->cgroup_procs));
	return r < 0 ? err_set(e, r, NULL, "make the cgroup of %s", p->name) : 0;
}

static int containerd_start(struct up *u, struct up_node *n, struct err *e)
{
	char config[256];
	int r = containerd_config(u, n, config, sizeof(config), e);
	if (r == 0)
		r = proc_prepare(
			u, &n->containerd, "containerd", n->name, u->topo.node_fd[n->i], e);
	if (r < 0)
		return r;
	proc_arg(&n->containerd, "containerd");
	proc_arg(&n->containerd, "-c");
	proc_arg(&n->containerd, "%s", config);
	proc_arg(&n->containerd, "-l");
	proc_arg(&n->containerd, "warn");
	return proc_start(u->loop, &n->containerd, e);
}

static bool socket_answers(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	if (str_copy(a.sun_path, sizeof(a.sun_path), str_of(path)) < 0)
		return false;
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

/* ---- images ---- */

static void on_imported(struct proc *p, int status)
{
	struct up_node *n = p->arg;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		n->imported = true;
		return;
	}
	struct err e;
	(void)err_set(&e, EIO, NULL, "importing images on %s failed, see %s", n->name, p->log_path);
	up_fail(n->up, &e);
}

/* Image tars: the user's in <data>/images, and those that came with the program. Returns how many.
 */
static unsigned images_add(struct proc *p, const char *dir)
{
	unsigned count = 0;
	DIR *d = opendir(dir);
	for (struct dirent *de; d && (de = readdir(d));) {
		size_t len = strlen(de->d_name);
		if (len > 4 && strcmp(de->d_name + len - 4, ".tar") == 0) {
			proc_arg(p, "%s/%s", dir, de->d_name);
			count++;
		}
	}
	if (d)
		(void)closedir(d);
	return count;
}

static int import_start(struct up *u, struct up_node *n, struct err *e)
{
	/* where `make` and `make install` leave the images, as seen from the program's folder */
	static const char *const shipped[] = {"../images", "../share/xebec/images"};
	static const char script[] =
		"for f in \"$@\"; do ctr -n k8s.io -a \"$0\" images import \"$f\" || exit 1; done";
	char dir[512];
	int r = proc_prepare(u, &n->import, "images", n->name, u->topo.node_fd[n->i], e);
	if (r < 0)
		return r;
	n->import.once = true;
	n->import.on_exit = on_imported;
	n->import.arg = n;
	proc_arg(&n->import, "sh");
	proc_arg(&n->import, "-c");
	proc_arg(&n->import, "%s", script);
	proc_arg(&n->import, "%s", n->socket);
	(void)snprintf(dir, sizeof(dir), "%s/images", u->c.data);
	(void)images_add(&n->import, dir);
	for (size_t i = 0; i < ARRAY_LEN(shipped); i++) {
		const char *slash = strrchr(u->c.exe, '/');
		(void)snprintf(
			dir, sizeof(dir), "%.*s/%s", (int)(slash - u->c.exe), u->c.exe, shipped[i]);
		if (images_add(&n->import, dir))
			break;
	}
	return proc_start(u->loop, &n->import, e);
}

/* ---- server ---- */

static void ranges_arg(const struct up *u, struct proc *p)
{
	if (!u->c.dual_stack)
		return;
	proc_arg(p, "--service-cidr");
	proc_arg(p, "10.96.0.0/16,fd00:10:96::/112");
	proc_arg(p, "--cluster-cidr");
	proc_arg(p, "10.244.0.0/16,fd00:10:244::/56");
}

static int server_start(struct up *u, struct err *e)
{
	struct proc *p = &u->server;
	int r = proc_prepare(u, p, "server", NULL, u->topo.net_fd, e);
	if (r < 0)
		return r;
	p->pass_fd = u->listen_fd;
	proc_arg(p, "%s", u->c.exe);
	proc_arg(p, "server");
	proc_arg(p, "--data-dir");
	proc_arg(p, "%s/server", u->c.data);
	proc_arg(p, "--listen");
	proc_arg(p, CLUSTER_BRIDGE_IP ":6443");
	proc_arg(p, "--listen-fd");
	proc_arg(p, "3");
	proc_arg(p, "--advertise");
	proc_arg(p, CLUSTER_BRIDGE_IP ":6443");
	ranges_arg(u, p);
	return proc_start(u->loop, p, e);
}

static void kubeconfig_text(struct buf *out, const char *name, const char *server,
	const struct buf *ca, const struct buf *crt, const struct buf *key)
{
	AUTO_BUF struct buf ca64 = {0}, crt64 = {0}, key64 = {0};
	base64_encode(buf_str(ca), &ca64);
	base64_encode(buf_str(crt), &crt64);
	base64_encode(buf_str(key), &key64);
	buf_addf(out,
		"apiVersion: v1\nkind: Config\nclusters:\n- name: %s\n  cluster:\n    server: "
		"https://%s\n"
		"    certificate-authority-data: %s\nusers:\n- name: %s\n  user:\n    "
		"client-certificate-data: %s\n"
		"    client-key-data: %s\ncontexts:\n- name: %s\n  context: {cluster: %s, user: "
		"%s}\ncurrent-context: %s\n",
		name, server, ca64.p, name, crt64.p, key64.p, name, name, name, name);
	if (ca64.err || crt64.err || key64.err)
		out->err = -ENOMEM;
}

/* ---- node ---- */

/* The node's credentials, issued by the cluster's CA: client certificate in a kubeconfig, serving
 * certificate for port 10250. */
static int node_pki(struct up *u, const struct up_node *n, const char *server_pki,
	const char *node_dir, struct err *e)
{
	AUTO_BUF struct buf ca = {0}, ca_key = {0}, crt = {0}, key = {0}, text = {0}, pki = {0},
			    cn = {0}, ip = {0}, dns = {0};
	int r = read_file(server_pki, "ca.crt", &ca, e);
	if (r < 0 || (r = read_file(server_pki, "ca.key", &ca_key, e)) < 0)
		return r;
	buf_addf(&cn, "system:node:%s", n->name);
	buf_addf(&ip, "IP:%s", n->ip);
	buf_addf(&dns, "DNS:%s", n->name);
	buf_addf(&pki, "%s/pki", node_dir);
	const char *orgs[] = {"system:nodes", NULL}, *sans[] = {ip.p, dns.p, NULL};
	struct pki_request q = {.cn = cn.p,
		.orgs = orgs,
		.sans = sans,
		.server = true,
		.client = true,
		.valid_seconds = 365 * 86400};
	if ((r = pki_issue(buf_str(&ca), buf_str(&ca_key), &q, &crt, &key, e)) < 0)
		return r;
	kubeconfig_text(&text, u->c.name, CLUSTER_BRIDGE_IP ":6443", &ca, &crt, &key);
	if ((r = write_file(node_dir, "kubeconfig", &text, 0600, e)) < 0 ||
		(r = write_file(pki.p, "ca.crt", &ca, 0644, e)) < 0 ||
		(r = write_file(pki.p, "kubelet.crt", &crt, 0644, e)) < 0)
		return r;
	return write_file(pki.p, "kubelet.key", &key, 0600, e);
}

static int node_start(struct up *u, struct up_node *n, const char *server_pki, struct err *e)
{
	struct proc *p = &n->node;
	char dir[320];
	(void)snprintf(dir, sizeof(dir), "%s/%s", u->c.data, n->name);
	int r = node_pki(u, n, server_pki, dir, e);
	if (r == 0)
		r = proc_prepare(u, p, "node", n->name, u->topo.node_fd[n->i], e);
	if (r < 0)
		return r;
	proc_arg(p, "%s", u->c.exe);
	proc_arg(p, "node");
	proc_arg(p, "--name");
	proc_arg(p, "%s", n->name);
	proc_arg(p, "--kubeconfig");
	proc_arg(p, "%s/kubeconfig", dir);
	proc_arg(p, "--data-dir");
	proc_arg(p, "%s", dir);
	proc_arg(p, "--run-dir");
	proc_arg(p, "%s/%s", u->c.run, n->name);
	proc_arg(p, "--node-ip");
	proc_arg(p, "%s%s%s", n->ip, u->c.dual_stack ? "," : "", u->c.dual_stack ? n->ip6 : "");
	ranges_arg(u, p);
	if (u->c.routing[0]) {
		proc_arg(p, "--routing");
		proc_arg(p, "%s", u->c.routing);
	}
	proc_arg(p, "--runtime");
	proc_arg(p, "unix://%s", n->socket);
	proc_arg(p, "--cgroup-root");
	proc_arg(p, "/xebec/%s/%s", u->c.name, n->name);
	proc_arg(p, "--host-cgroup");
	proc_arg(p, "/xebec/%s/%s", u->c.name, n->name);
	return proc_start(u->loop, p, e);
}

/* ---- the watch for readiness ---- */

static bool node_is_ready(struct jv v)
{
	jv_each (it, jv_path(v, "status.conditions")) {
		if (jv_is_str(jv_get(it.v, "type"), "Ready"))
			return jv_is_str(jv_get(it.v, "status"), "True");
	}
	return false;
}

static void route_pods(struct up *u, struct up_node *n, struct jv node)
{
	struct str all = jv_bytes(jv_path(node, "spec.podCIDRs"));
	if (!all.n || str_eqz(all, n->pods))
		return;
	jv_each (it, jv_path(node, "spec.podCIDRs")) {
		char cidr[64];
		int r = jv_copy(it.v, cidr, sizeof(cidr));
		r = r < 0 ? r : topology_route_pods(&u->topo, n->ip, n->ip6, cidr);
		if (r < 0) {
			log_warn("no route from the server to the pods of %s (%s): %s", n->name,
				cidr, strerror(-r));
			return;
		}
	}
	(void)str_copy(n->pods, sizeof(n->pods), all);
}

static void on_node(void *arg, struct cobj *old, struct cobj *new)
{
	struct up *u = arg;
	(void)old;
	for (unsigned i = 0; new &&i < u->c.nodes; i++) {
		if (strcmp(u->nodes[i].name, new->name) != 0)
			continue;
		u->nodes[i].ready = node_is_ready(new->v);
		route_pods(u, &u->nodes[i], new->v);
	}
}

static int admin_start(struct up *u, const char *server_pki, struct err *e)
{
	AUTO_BUF struct buf ca = {0}, crt = {0}, key = {0}, text = {0};
	int r = read_file(server_pki, "ca.crt", &ca, e);
	if (r < 0 || (r = read_file(server_pki, "admin.crt", &crt, e)) < 0 ||
		(r = read_file(server_pki, "admin.key", &key, e)) < 0)
		return r;
	const char *slash = strrchr(u->c.kubeconfig, '/');
	char dir[256], url[80];
	(void)snprintf(dir, sizeof(dir), "%.*s", (int)(slash - u->c.kubeconfig), u->c.kubeconfig);
	kubeconfig_text(&text, u->c.name, u->c.listen, &ca, &crt, &key);
	if ((r = write_file(dir[0] ? dir : "/", slash + 1, &text, 0600, e)) < 0)
		return r;
	(void)snprintf(url, sizeof(url), "https://%s", u->c.listen);
	struct client_https_config cc = {.loop = u->loop,
		.server = url,
		.ca_pem = buf_str(&ca),
		.cert_pem = buf_str(&crt),
		.key_pem = buf_str(&key),
		.user_agent = "xebec-up"};
	if ((r = client_new_https(&cc, &u->client, e)) < 0)
		return r;
	struct informer_config ic = {
		.client = u->client, .resource = &nodes_resource, .on_event = on_node, .arg = u};
	return informer_start(&ic, &u->watch_nodes, e);
}

/* The server has written its PKI: nodes and our own client can start. */
static int pki_ready(struct up *u, const char *pki, struct err *e)
{
	u->pki_done = true;
	up_say(u, "API server started, kubeconfig: %s", u->c.kubeconfig);
	int r = admin_start(u, pki, e);
	for (unsigned i = 0; r == 0 && i < u->c.nodes; i++)
		r = node_start(u, &u->nodes[i], pki, e);
	return r;
}

static void on_poll(struct loop_timer *t)
{
	struct up *u = t->arg;
	struct err e = {0};
	char pki[256], last[300];
	bool all = true;
	int r = 0;
	/* admin.kubeconfig is the last file that the server writes */
	(void)snprintf(pki, sizeof(pki), "%s/server/pki", u->c.data);
	(void)snprintf(last, sizeof(last), "%s/server/admin.kubeconfig", u->c.data);
	if (!u->pki_done && access(last, F_OK) == 0)
		r = pki_ready(u, pki, &e);
	for (unsigned i = 0; r == 0 && i < u->c.nodes; i++) {
		struct up_node *n = &u->nodes[i];
		if (!n->import.argv[0] && socket_answers(n->socket))
			r = import_start(u, n, &e);
		all = all && n->imported && n->ready;
	}
	if (r < 0)
		up_fail(u, &e);
	else if (all)
		up_ready(u);
	else
		(void)loop_timer_set(u->loop, &u->poll, POLL_MS * NS_PER_MS);
}

int bring_up(struct up *u, struct err *e)
{
	int r = server_start(u, e);
	for (unsigned i = 0; r == 0 && i < u->c.nodes; i++) {
		struct up_node *n = &u->nodes[i];
		n->up = u;
		n->i = i + 1;
		cluster_node_name(&u->c, n->i, n->name);
		cluster_node_ip(n->i, n->ip);
		cluster_node_ip6(n->i, n->ip6);
		(void)snprintf(
			n->socket, sizeof(n->socket), "%s/%s/containerd.sock", u->c.run, n->name);
		r = containerd_start(u, n, e);
	}
	u->poll.fn = on_poll;
	u->poll.arg = u;
	if (r == 0)
		r = loop_timer_set(u->loop, &u->poll, POLL_MS * NS_PER_MS);
	return r;
}

void bring_up_stop(struct up *u)
{
	loop_timer_cancel(&u->poll);
	for (unsigned i = 0; i < u->c.nodes; i++) {
		proc_stop(&u->nodes[i].node);
		proc_stop(&u->nodes[i].import);
		proc_stop(&u->nodes[i].containerd);
	}
	proc_stop(&u->server);
}

bool bring_up_running(const struct up *u)
{
	bool any = u->server.pid > 0;
	for (unsigned i = 0; i < u->c.nodes; i++)
		any = any || u->nodes[i].node.pid > 0 || u->nodes[i].containerd.pid > 0;
	return any;
}

void bring_up_free(struct up *u)
{
	informer_free(u->watch_nodes);
	client_free(u->client);
	for (unsigned i = 0; i < u->c.nodes; i++) {
		proc_free(&u->nodes[i].node);
		proc_free(&u->nodes[i].import);
		proc_free(&u->nodes[i].containerd);
	}
	proc_free(&u->server);
}

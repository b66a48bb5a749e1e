/* SPDX-License-Identifier: Apache-2.0
 * The Node object. The lease says "alive" every 10 s; the status is written when it changes, and
 * every 5 minutes anyway. */
#include <errno.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include "kubelet/node.h"
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

#define LEASE_SECONDS 40
#define LEASE_EVERY   (10 * NS_PER_SEC)
#define STATUS_EVERY  (10 * NS_PER_SEC)
#define STATUS_FORCE  (300 * NS_PER_SEC)

static const struct resource nodes = {"", "v1", "nodes", "Node", false};
static const struct resource leases = {"coordination.k8s.io", "v1", "leases", "Lease", true};

struct node {
	struct kubelet *k;
	bool registered, registering, asking, patching, leasing, lease_made;
	char *uid;
	json_t *sent; /* conditions and the rest as last written */
	json_t *conditions;
	json_t *images;
	int64_t sent_at, lease_rv;
};

/* --- what the machine is --- */

static char *read_line(const char *path, const char *prefix)
{
	AUTO_BUF struct buf b = {0};
	if (file_read(path, 1 << 16, &b) < 0 || !b.p)
		return strdup("");
	char *at = *prefix ? strstr(b.p, prefix) : b.p;
	if (!at)
		return strdup("");
	at += strlen(prefix);
	at += *at == '"';
	return strndup(at, strcspn(at, "\"\n"));
}

static const char *arch_name(const char *machine)
{
	return strcmp(machine, "x86_64") == 0	 ? "amd64"
	       : strcmp(machine, "aarch64") == 0 ? "arm64"
						 : machine;
}

static json_t *node_info(const struct kubelet *k)
{
	struct utsname u;
	AUTO_FREE char *machine = read_line("/etc/machine-id", "");
	AUTO_FREE char *boot = read_line("/proc/sys/kernel/random/boot_id", "");
	AUTO_FREE char *os = read_line("/etc/os-release", "PRETTY_NAME=");
	(void)uname(&u);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "machineID", machine,
		"systemUUID", machine, "bootID", boot, "kernelVersion", u.release, "osImage", os,
		"containerRuntimeVersion",
		*k->runtime_version ? k->runtime_version : "containerd://unknown", "kubeletVersion",
		"v1.36.0-xebec", "kubeProxyVersion", "", "operatingSystem", "linux", "architecture",
		arch_name(u.machine));
}

static json_t *resources(const struct kubelet *k)
{
	struct statvfs fs = {0};
	(void)statvfs(k->root, &fs);
	uint64_t disk = (uint64_t)fs.f_blocks * fs.f_frsize / 1024;
	unsigned pods = k->c.max_pods ? k->c.max_pods : 110;
	return json_pack("{s:o, s:o, s:o, s:o, s:s, s:s}", "cpu",
		json_sprintf("%ld", sysconf(_SC_NPROCESSORS_ONLN)), "ephemeral-storage",
		json_sprintf("%lluKi", (unsigned long long)disk), "memory",
		json_sprintf("%lluKi", (unsigned long long)(k->mem_capacity / 1024)), "pods",
		json_sprintf("%u", pods), "hugepages-1Gi", "0", "hugepages-2Mi", "0");
}

/* --- conditions --- */

static const json_t *find_condition(const json_t *list, const char *type)
{
	size_t i;
	json_t *c;
	json_array_foreach (list, i, c) {
		if (strcmp(json_str(c, "type", ""), type) == 0)
			return c;
	}
	return NULL;
}

static void add_condition(struct node *n, json_t *list, const char *type, bool ok,
	const char *reason, const char *message)
{
	const char *status = ok ? "True" : "False";
	const json_t *old = find_condition(n->conditions, type);
	char now[21];
	time_rfc3339(time_now(), now);
	bool same = old && strcmp(json_str(old, "status", ""), status) == 0;
	(void)json_array_append_new(
		list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "type", type, "status", status,
			      "lastHeartbeatTime", now, "lastTransitionTime",
			      same ? json_str(old, "lastTransitionTime", now) : now, "reason",
			      reason, "message", message));
}

static bool memory_short(void)
{
	AUTO_FREE char *avail = read_line("/proc/meminfo", "MemAvailable:");
	return avail && *avail && strtoull(avail, NULL, 10) < 100 * 1024;
}

static bool disk_short(const struct kubelet *k)
{
	struct statvfs fs;
	return statvfs(k->root, &fs) == 0 && fs.f_blocks > 0 &&
	       (double)fs.f_bavail / (double)fs.f_blocks < 0.05;
}

static json_t *conditions(struct node *n)
{
	struct kubelet *k = n->k;
	json_t *l = json_array();
	bool mem = memory_short(), disk = disk_short(k), up = k->runtime_up && k->network_ready;
	add_condition(n, l, "MemoryPressure", mem,
		mem ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory",
		mem ? "kubelet has insufficient memory available"
		    : "kubelet has sufficient memory available");
	add_condition(n, l, "DiskPressure", disk,
		disk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure",
		disk ? "kubelet has disk pressure" : "kubelet has no disk pressure");
	add_condition(n, l, "PIDPressure", false, "KubeletHasSufficientPID",
		"kubelet has sufficient PID available");
	add_condition(n, l, "Ready", up, up ? "KubeletReady" : "KubeletNotReady",
		up ? "kubelet is posting ready status" : k->runtime_msg);
	json_decref(n->conditions);
	n->conditions = json_incref(l);
	return l;
}

static json_t *addresses(const struct kubelet *k)
{
	json_t *out = json_array();
	struct str rest = str_of(node_ips(k));
	while (rest.n) {
		struct str ip = str_cut(&rest, ',');
		(void)json_array_append_new(
			out, json_pack("{s:s, s:s%}", "type", "InternalIP", "address", ip.p, ip.n));
	}
	(void)json_array_append_new(
		out, json_pack("{s:s, s:s}", "type", "Hostname", "address", k->c.node_name));
	return out;
}

static json_t *status_of(struct node *n)
{
	struct kubelet *k = n->k;
	json_t *cap = resources(k);
	const char *port = k->c.listen ? strrchr(k->c.listen, ':') : NULL;
	return json_pack("{s:O, s:o, s:o, s:o, s:{s:{s:i}}, s:o, s:o}", "capacity", cap,
		"allocatable", cap, "conditions", conditions(n), "addresses", addresses(k),
		"daemonEndpoints", "kubeletEndpoint", "Port",
		port ? (int)strtol(port + 1, NULL, 10) : 10250, "nodeInfo", node_info(k), "images",
		n->images ? json_incref(n->images) : json_array());
}

/* --- registration --- */

static void add_labels(json_t *labels, const char *list)
{
	AUTO_FREE char *copy = list ? strdup(list) : NULL;
	char *save = NULL;
	for (char *w = copy ? strtok_r(copy, ",", &save) : NULL; w;
		w = strtok_r(NULL, ",", &save)) {
		char *eq = strchr(w, '=');
		if (eq)
			*eq = '\0';
		(void)json_object_set_new(labels, w, json_string(eq ? eq + 1 : ""));
	}
}

static json_t *own_labels(const struct kubelet *k)
{
	struct utsname u;
	(void)uname(&u);
	json_t *l = json_pack("{s:s, s:s, s:s, s:s, s:s}", "kubernetes.io/hostname", k->c.node_name,
		"kubernetes.io/os", "linux", "kubernetes.io/arch", arch_name(u.machine),
		"beta.kubernetes.io/os", "linux", "beta.kubernetes.io/arch", arch_name(u.machine));
	add_labels(l, k->c.labels);
	return l;
}

static void push_status(struct node *n);
static void renew_lease(struct node *n);

static void again(struct kubelet *k, int64_t ns)
{
	if (!k->closing)
		(void)loop_timer_set(k->loop, &k->node_timer, ns);
}

static void on_registered(void *arg, const struct client_result *r)
{
	struct node *n = arg;
	n->registering = false;
	if (r->e && r->e->code != -EEXIST) {
		log_warn("node %s: registration: %s", n->k->c.node_name, r->e->msg);
		again(n->k, NS_PER_SEC);
		return;
	}
	if (!r->e) {
		n->uid = jv_strdup(jv_path(jv_of(r->body), "metadata.uid"));
		log_info("node %s: registered", n->k->c.node_name);
	}
	n->registered = true;
	renew_lease(n);
	push_status(n);
}

static void on_labelled(void *arg, const struct client_result *r)
{
	struct node *n = arg;
	n->registering = false;
	if (r->e && r->e->code == -ENOENT)
		n->registered = false;
	else
		n->registered = true;
	if (n->registered) {
		free(n->uid);
		n->uid = jv_strdup(jv_path(jv_of(r->body), "metadata.uid"));
		renew_lease(n);
		push_status(n);
	} else
		again(n->k, 0);
}

static void on_got(void *arg, const struct client_result *r)
{
	struct node *n = arg;
	struct kubelet *k = n->k;
	AUTO_BUF struct buf body = {0};
	n->registering = false;
	if (r->e && (r->e->code != -ENOENT || !k->c.register_node)) {
		log_warn("node %s: %s", k->c.node_name, r->e->msg);
		again(k, NS_PER_SEC);
		return;
	}
	n->registering = true;
	if (!r->e) { /* from an earlier life: our labels must be on it */
		AUTO_JSON json_t *old = NULL;
		if (json_parse(r->body, &old, NULL) == 0) {
			json_decref(n->conditions);
			n->conditions = json_incref(json_at(old, "status.conditions"));
		}
		AUTO_JSON json_t *p = json_pack("{s:{s:o}}", "metadata", "labels", own_labels(k));
		json_write(p, &body);
		(void)client_patch(k->client, &nodes, NULL, k->c.node_name, NULL,
			CLIENT_PATCH_MERGE, buf_str(&body), on_labelled, n);
		return;
	}
	AUTO_JSON json_t *o = json_pack("{s:s, s:s, s:{s:s, s:o}, s:{}, s:o}", "kind", "Node",
		"apiVersion", "v1", "metadata", "name", k->c.node_name, "labels", own_labels(k),
		"spec", "status", status_of(n));
	json_write(o, &body);
	(void)client_create(k->client, &nodes, NULL, buf_str(&body), on_registered, n);
}

/* --- status --- */

static void on_patched(void *arg, const struct client_result *r)
{
	struct node *n = arg;
	n->patching = false;
	if (!r->e)
		return;
	json_decref(n->sent);
	n->sent = NULL;
	if (r->e->code == -ENOENT)
		n->registered = false; /* somebody deleted the Node: make it anew */
	else
		log_warn("node %s: status: %s", n->k->c.node_name, r->e->msg);
	again(n->k, NS_PER_SEC);
}

/* The status without heartbeat times: what counts as a change. */
static json_t *without_beats(const json_t *st)
{
	json_t *c = json_deep_copy(st), *v;
	size_t i;
	json_array_foreach (json_object_get(c, "conditions"), i, v)
		(void)json_object_del(v, "lastHeartbeatTime");
	return c;
}

static void push_status(struct node *n)
{
	struct kubelet *k = n->k;
	AUTO_BUF struct buf body = {0};
	if (n->patching || !n->registered)
		return;
	AUTO_JSON json_t *st = status_of(n), *bare = without_beats(st);
	int64_t now = loop_now(k->loop);
	if (n->sent && json_equal(n->sent, bare) && now - n->sent_at < STATUS_FORCE)
		return;
	AUTO_JSON json_t *patch = json_pack("{s:O}", "status", st);
	/* A strategic merge takes the type for the key of an address: two of one type would become
	 * one. */
	(void)json_array_insert_new(
		json_object_get(st, "addresses"), 0, json_pack("{s:s}", "$patch", "replace"));
	json_write(patch, &body);
	if (client_patch(k->client, &nodes, NULL, k->c.node_name, "status", CLIENT_PATCH_STRATEGIC,
		    buf_str(&body), on_patched, n)) {
		n->patching = true;
		json_decref(n->sent);
		n->sent = json_incref(bare);
		n->sent_at = now;
	}
}

/* --- the runtime --- */

static void on_images(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct node *n = arg;
	size_t i;
	json_t *img;
	(void)status;
	if (e)
		return;
	json_decref(n->images);
	n->images = json_array();
	json_array_foreach (json_object_get(resp, "images"), i, img) {
		AUTO_JSON json_t *names = json_array();
		(void)json_array_extend(names, json_object_get(img, "repo_digests"));
		(void)json_array_extend(names, json_object_get(img, "repo_tags"));
		if (i < 50)
			(void)json_array_append_new(
				n->images, json_pack("{s:O, s:I}", "names", names, "sizeBytes",
						   (json_int_t)json_i64(img, "size", 0)));
	}
}

static void on_version(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct node *n = arg;
	(void)status;
	if (!e)
		(void)snprintf(n->k->runtime_version, sizeof(n->k->runtime_version), "%s://%s",
			json_str(resp, "runtime_name", "containerd"),
			json_str(resp, "runtime_version", ""));
}

static void on_runtime(void *arg, const struct err *e, int status, const json_t *resp)
{
	struct node *n = arg;
	struct kubelet *k = n->k;
	const json_t *list = json_at(resp, "status.conditions");
	bool was = k->runtime_up && k->network_ready;
	(void)status;
	n->asking = false;
	if (k->closing)
		return;
	k->runtime_up = !e && json_flag(find_condition(list, "RuntimeReady"), "status", false);
	k->network_ready = !e && json_flag(find_condition(list, "NetworkReady"), "status", false);
	const json_t *net = find_condition(list, "NetworkReady");
	(void)snprintf(k->runtime_msg, sizeof(k->runtime_msg), "%s%s",
		e		    ? "container runtime is down: "
		: !k->runtime_up    ? "container runtime is not ready"
		: !k->network_ready ? "container runtime network not ready: "
				    : "",
		e		    ? e->msg
		: !k->network_ready ? json_str(net, "message", "")
				    : "");
	bool up = k->runtime_up && k->network_ready;
	if (up != was)
		log_info("runtime: %s", up ? "ready" : k->runtime_msg);
	if (!e && !*k->runtime_version)
		(void)cri_send(k->cri, CRI_Version, json_object(), on_version, n);
	if (up && !was) {
		(void)cri_send(k->cri, CRI_Version, json_object(), on_version, n);
		(void)cri_send(k->cri, CRI_ListImages, json_object(), on_images, n);
		pods_relist_soon(k);
	}
	again(k, up ? STATUS_EVERY : 200 * NS_PER_MS);
	if (n->registered)
		push_status(n);
	else if (!n->registering) {
		n->registering = true;
		(void)client_get(k->client, &nodes, NULL, k->c.node_name, on_got, n);
	}
}

static void on_node_timer(struct loop_timer *t)
{
	struct kubelet *k = t->arg;
	struct node *n = k->node;
	if (n->asking)
		return;
	n->asking = true;
	if (!cri_send(k->cri, CRI_Status, json_object(), on_runtime, n)) {
		n->asking = false;
		again(k, NS_PER_SEC);
	}
	if (k->runtime_up)
		(void)cri_send(k->cri, CRI_ListImages, json_object(), on_images, n);
}

/* --- lease --- */

static void on_lease(void *arg, const struct client_result *r)
{
	struct node *n = arg;
	n->leasing = false;
	if (r->e && r->e->code == -ENOENT)
		n->lease_made = false;
	else if (!r->e || r->e->code == -EEXIST)
		n->lease_made = true;
	if (r->e && !n->k->closing)
		(void)loop_timer_set(n->k->loop, &n->k->lease_timer,
			r->e->code == -ENOENT || r->e->code == -EEXIST ? 0 : NS_PER_SEC);
}

static void renew_lease(struct node *n)
{
	struct kubelet *k = n->k;
	AUTO_BUF struct buf body = {0};
	char now[28];
	struct client_call *call;
	if (!k->closing)
		(void)loop_timer_set(k->loop, &k->lease_timer, LEASE_EVERY);
	if (n->leasing || !n->registered)
		return;
	time_rfc3339_micro(time_now(), now);
	json_t *spec = json_pack("{s:s, s:i, s:s}", "holderIdentity", k->c.node_name,
		"leaseDurationSeconds", LEASE_SECONDS, "renewTime", now);
	AUTO_JSON json_t *o = NULL;
	if (n->lease_made) {
		o = json_pack("{s:o}", "spec", spec);
		json_write(o, &body);
		call = client_patch(k->client, &leases, "kube-node-lease", k->c.node_name, NULL,
			CLIENT_PATCH_MERGE, buf_str(&body), on_lease, n);
	} else {
		json_t *meta = json_pack(
			"{s:s, s:s}", "name", k->c.node_name, "namespace", "kube-node-lease");
		if (n->uid)
			(void)json_object_set_new(meta, "ownerReferences",
				json_pack("[{s:s, s:s, s:s, s:s}]", "apiVersion", "v1", "kind",
					"Node", "name", k->c.node_name, "uid", n->uid));
		o = json_pack("{s:s, s:s, s:o, s:o}", "kind", "Lease", "apiVersion",
			"coordination.k8s.io/v1", "metadata", meta, "spec", spec);
		json_write(o, &body);
		call = client_create(
			k->client, &leases, "kube-node-lease", buf_str(&body), on_lease, n);
	}
	n->leasing = call != NULL;
}

static void on_lease_timer(struct loop_timer *t)
{
	struct kubelet *k = t->arg;
	renew_lease(k->node);
}

int node_start(struct kubelet *k, struct err *e)
{
	struct sysinfo si;
	k->node = calloc(1, sizeof(*k->node));
	if (!k->node)
		return err_set(e, ENOMEM, NULL, "out of memory");
	k->node->k = k;
	(void)snprintf(
		k->runtime_msg, sizeof(k->runtime_msg), "container runtime is not known yet");
	if (sysinfo(&si) == 0)
		k->mem_capacity = (uint64_t)si.totalram * si.mem_unit;
	k->node_timer = (struct loop_timer){.fn = on_node_timer, .arg = k};
	k->lease_timer = (struct loop_timer){.fn = on_lease_timer, .arg = k};
	(void)loop_timer_set(k->loop, &k->node_timer, 0);
	return 0;
}

void node_status_soon(struct kubelet *k)
{
	(void)loop_timer_set(k->loop, &k->node_timer, 0);
}

void node_stop(struct kubelet *k)
{
	if (!k->node)
		return;
	loop_timer_cancel(&k->node_timer);
	loop_timer_cancel(&k->lease_timer);
	json_decref(k->node->sent);
	json_decref(k->node->conditions);
	json_decref(k->node->images);
	free(k->node->uid);
	free(k->node);
	k->node = NULL;
}

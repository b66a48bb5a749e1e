/* SPDX-License-Identifier: Apache-2.0
 * Runtime configuration of sandboxes and containers from a pod's specification. */
#include <ctype.h>
#include <errno.h>
#include "kubelet/cri.h"
#include "kubelet/env.h"
#include "kubelet/spec.h"

static const char *const masked_paths[] = {"/proc/asound", "/proc/acpi", "/proc/interrupts",
	"/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
	"/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"};
static const char *const readonly_paths[] = {
	"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};

static json_t *string_list(const char *const *v, size_t n)
{
	json_t *a = json_array();
	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(a, json_string(v[i]));
	return a;
}

bool spec_host_network(const json_t *pod)
{
	return json_flag(pod, "spec.hostNetwork", false);
}

enum restart_policy spec_restart_policy(const json_t *pod)
{
	const char *p = json_str(pod, "spec.restartPolicy", "Always");
	return strcmp(p, "Never") == 0	     ? RESTART_NEVER
	       : strcmp(p, "OnFailure") == 0 ? RESTART_ON_FAILURE
					     : RESTART_ALWAYS;
}

int64_t spec_grace(const json_t *pod)
{
	int64_t g = json_i64(pod, "metadata.deletionGracePeriodSeconds", -1);
	if (g < 0)
		g = json_i64(pod, "spec.terminationGracePeriodSeconds", 30);
	return g < 1 ? 1 : g; /* even a forced stop lets the signal arrive */
}

/* --- quality of service --- */

struct qos_scan {
	bool any, guaranteed;
};

static void qos_container(const json_t *c, struct qos_scan *s)
{
	static const char *const res[] = {"cpu", "memory"};
	const json_t *lim = json_at(c, "resources.limits"), *req = json_at(c, "resources.requests");
	for (size_t i = 0; i < ARRAY_LEN(res); i++) {
		int64_t l = quantity_milli(json_object_get(lim, res[i]), 0);
		int64_t r = quantity_milli(json_object_get(req, res[i]), l);
		s->any = s->any || l > 0 || r > 0;
		s->guaranteed = s->guaranteed && l > 0 && l == r;
	}
}

const char *qos_class(const json_t *spec)
{
	struct qos_scan s = {.guaranteed = true};
	const char *const lists[] = {"containers", "initContainers"};
	if (json_is_object(json_object_get(spec, "resources")))
		qos_container(spec, &s);
	else
		for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
			size_t i;
			json_t *c;
			json_array_foreach (json_object_get(spec, lists[l]), i, c)
				qos_container(c, &s);
		}
	return !s.any ? "BestEffort" : s.guaranteed ? "Guaranteed" : "Burstable";
}

static int64_t shares_of(int64_t milli)
{
	int64_t s = milli * 1024 / 1000;
	return s < 2 ? 2 : s > 262144 ? 262144 : s;
}

static int64_t quota_of(int64_t milli)
{
	int64_t q = milli * 100; /* of a period of 100,000 us */
	return milli <= 0 ? 0 : q < 1000 ? 1000 : q;
}

static int64_t limit_of(const json_t *container, const char *res)
{
	return quantity_milli(json_object_get(json_at(container, "resources.limits"), res), 0);
}

static int64_t request_of(const json_t *container, const char *res)
{
	return quantity_milli(json_object_get(json_at(container, "resources.requests"), res),
		limit_of(container, res));
}

static bool is_sidecar(const json_t *c)
{
	return strcmp(json_str(c, "restartPolicy", ""), "Always") == 0;
}

struct limit_sum {
	int64_t req_cpu, lim_cpu, lim_mem;
	bool cpu_open, mem_open; /* some container has no limit */
};

static void sum_one(const json_t *c, struct limit_sum *s, bool add)
{
	int64_t rc = request_of(c, "cpu"), lc = limit_of(c, "cpu"), lm = limit_of(c, "memory");
	s->cpu_open = s->cpu_open || lc == 0;
	s->mem_open = s->mem_open || lm == 0;
	if (add) {
		s->req_cpu += rc;
		s->lim_cpu += lc;
		s->lim_mem += lm;
		return;
	}
	s->req_cpu = rc > s->req_cpu ? rc : s->req_cpu;
	s->lim_cpu = lc > s->lim_cpu ? lc : s->lim_cpu;
	s->lim_mem = lm > s->lim_mem ? lm : s->lim_mem;
}

void spec_pod_limits(const json_t *spec, struct pod_limits *out)
{
	struct limit_sum s = {0};
	size_t i;
	json_t *c;
	json_array_foreach (json_object_get(spec, "containers"), i, c)
		sum_one(c, &s, true);
	json_array_foreach (json_object_get(spec, "initContainers"), i, c)
		sum_one(c, &s, is_sidecar(c));
	const json_t *pr = json_object_get(spec, "resources");
	if (json_is_object(pr)) {
		int64_t lc = quantity_milli(json_at(pr, "limits.cpu"), 0);
		int64_t lm = quantity_milli(json_at(pr, "limits.memory"), 0);
		int64_t rc = quantity_milli(json_at(pr, "requests.cpu"), lc);
		s.req_cpu = rc > 0 ? rc : s.req_cpu;
		s.lim_cpu = lc > 0 ? lc : s.lim_cpu;
		s.lim_mem = lm > 0 ? lm : s.lim_mem;
		s.cpu_open = s.cpu_open && lc <= 0;
		s.mem_open = s.mem_open && lm <= 0;
	}
	*out = (struct pod_limits){.cpu_shares = shares_of(s.req_cpu),
		.cpu_quota = s.cpu_open ? 0 : quota_of(s.lim_cpu),
		.memory = s.mem_open ? 0 : s.lim_mem / 1000};
}

static int64_t oom_adj(const struct spec_ctx *c, const json_t *spec, const json_t *container)
{
	const char *q = qos_class(spec);
	if (strcmp(q, "Guaranteed") == 0)
		return -997;
	if (strcmp(q, "BestEffort") == 0 || c->mem_capacity == 0)
		return 1000;
	int64_t mem = request_of(container, "memory") / 1000;
	int64_t adj = 1000 - (int64_t)((double)mem * 1000.0 / (double)c->mem_capacity);
	return adj < 3 ? 3 : adj > 999 ? 999 : adj;
}

json_t *spec_resources(const struct spec_ctx *c, const json_t *spec, const json_t *container)
{
	json_t *r = json_object();
	int64_t quota = quota_of(limit_of(container, "cpu"));
	int64_t mem = limit_of(container, "memory") / 1000;
	(void)json_object_set_new(
		r, "cpu_shares", json_integer(shares_of(request_of(container, "cpu"))));
	if (quota > 0) {
		(void)json_object_set_new(r, "cpu_period", json_integer(100000));
		(void)json_object_set_new(r, "cpu_quota", json_integer(quota));
	}
	if (mem > 0)
		(void)json_object_set_new(r, "memory_limit_in_bytes", json_integer(mem));
	(void)json_object_set_new(r, "oom_score_adj", json_integer(oom_adj(c, spec, container)));
	return r;
}

/* --- sandbox --- */

void spec_cgroup(const struct spec_ctx *c, const json_t *pod, struct buf *out)
{
	const char *q = qos_class(json_object_get(pod, "spec"));
	const char *root = c->cgroup_root && strcmp(c->cgroup_root, "/") != 0 ? c->cgroup_root : "";
	buf_addf(out, "%s/kubepods%s/pod%s", root,
		strcmp(q, "Burstable") == 0    ? "/burstable"
		: strcmp(q, "BestEffort") == 0 ? "/besteffort"
					       : "",
		json_str(pod, "metadata.uid", ""));
}

void spec_log_dir(const struct spec_ctx *c, const json_t *pod, struct buf *out)
{
	buf_addf(out, "%s/%s_%s_%s", c->logs, json_str(pod, "metadata.namespace", ""),
		json_str(pod, "metadata.name", ""), json_str(pod, "metadata.uid", ""));
}

void spec_hostname(const json_t *pod, struct buf *out)
{
	const char *h = json_str(pod, "spec.hostname", ""),
		   *ov = json_str(pod, "spec.hostnameOverride", "");
	size_t from = out->len;
	h = *ov ? ov : *h ? h : json_str(pod, "metadata.name", "pod");
	buf_add(out, h, strnlen(h, 63));
	while (out->len > from && strchr("-.", out->p[out->len - 1]))
		out->p[--out->len] = '\0';
}

static void add_words(json_t *list, const char *line)
{
	AUTO_FREE char *copy = strdup(line);
	char *save = NULL;
	for (char *w = copy ? strtok_r(copy, " \t", &save) : NULL; w;
		w = strtok_r(NULL, " \t", &save))
		(void)json_array_append_new(list, json_string(w));
}

/* The node's own resolver configuration. */
static void parse_resolv(const char *text, json_t *servers, json_t *searches, json_t *options)
{
	AUTO_FREE char *copy = strdup(text ? text : "");
	char *save = NULL;
	for (char *l = copy ? strtok_r(copy, "\n", &save) : NULL; l;
		l = strtok_r(NULL, "\n", &save)) {
		while (*l == ' ' || *l == '\t')
			l++;
		if (strncmp(l, "nameserver", 10) == 0)
			add_words(servers, l + 10);
		else if (strncmp(l, "search", 6) == 0) {
			json_array_clear(searches);
			add_words(searches, l + 6);
		} else if (strncmp(l, "options", 7) == 0)
			add_words(options, l + 7);
	}
}

static void add_unique(json_t *list, const char *s)
{
	size_t i;
	json_t *v;
	json_array_foreach (list, i, v) {
		if (strcmp(json_string_value(v), s) == 0)
			return;
	}
	(void)json_array_append_new(list, json_string(s));
}

static json_t *dns_config(const struct spec_ctx *c, const json_t *pod)
{
	const char *policy = json_str(pod, "spec.dnsPolicy", "ClusterFirst");
	bool cluster = strcmp(policy, "ClusterFirstWithHostNet") == 0 ||
		       (strcmp(policy, "ClusterFirst") == 0 && !spec_host_network(pod));
	json_t *servers = json_array(), *searches = json_array(), *options = json_array();
	size_t i;
	json_t *v;
	if (cluster && c->cluster_dns) {
		AUTO_JSON json_t *hs = json_array(), *none = json_array(), *none2 = json_array();
		const char *ns = json_str(pod, "metadata.namespace", "");
		parse_resolv(c->resolv_conf, none, hs, none2);
		add_words(servers, c->cluster_dns);
		(void)json_array_append_new(searches, json_sprintf("%s.svc.%s", ns, c->domain));
		(void)json_array_append_new(searches, json_sprintf("svc.%s", c->domain));
		(void)json_array_append_new(searches, json_string(c->domain));
		json_array_foreach (hs, i, v)
			add_unique(searches, json_string_value(v));
		add_words(options, "ndots:5");
	} else if (strcmp(policy, "None") != 0)
		parse_resolv(c->resolv_conf, servers, searches, options);
	const json_t *cfg = json_at(pod, "spec.dnsConfig");
	json_array_foreach (json_object_get(cfg, "nameservers"), i, v)
		add_unique(servers, json_string_value(v));
	json_array_foreach (json_object_get(cfg, "searches"), i, v)
		add_unique(searches, json_string_value(v));
	json_array_foreach (json_object_get(cfg, "options"), i, v) {
		const char *name = json_str(v, "name", ""), *val = json_str(v, "value", NULL);
		AUTO_BUF struct buf opt = {0};
		buf_addf(&opt, "%s%s%s", name, val ? ":" : "", val ? val : "");
		/* A later ndots replaces the earlier one. */
		for (size_t j = json_array_size(options); j-- > 0;) {
			const char *o = json_string_value(json_array_get(options, j));
			if (strncmp(o, name, strlen(name)) == 0 &&
				(o[strlen(name)] == ':' || o[strlen(name)] == '\0'))
				(void)json_array_remove(options, j);
		}
		add_unique(options, opt.p);
	}
	return json_pack(
		"{s:o, s:o, s:o}", "servers", servers, "searches", searches, "options", options);
}

static json_t *namespace_options(const json_t *pod)
{
	int pid = json_flag(pod, "spec.hostPID", false)			? CRI_NS_NODE
		  : json_flag(pod, "spec.shareProcessNamespace", false) ? CRI_NS_POD
									: CRI_NS_CONTAINER;
	return json_pack("{s:i, s:i, s:i}", "network",
		spec_host_network(pod) ? CRI_NS_NODE : CRI_NS_POD, "pid", pid, "ipc",
		json_flag(pod, "spec.hostIPC", false) ? CRI_NS_NODE : CRI_NS_POD);
}

static json_t *port_mappings(const json_t *pod)
{
	json_t *out = json_array(), *c, *p;
	size_t i, j;
	if (spec_host_network(pod))
		return out;
	json_array_foreach (json_at(pod, "spec.containers"), i, c) {
		json_array_foreach (json_object_get(c, "ports"), j, p) {
			const char *proto = json_str(p, "protocol", "TCP");
			if (json_i64(p, "hostPort", 0) <= 0)
				continue;
			(void)json_array_append_new(
				out, json_pack("{s:i, s:I, s:I, s:s}", "protocol",
					     strcmp(proto, "UDP") == 0	  ? 1
					     : strcmp(proto, "SCTP") == 0 ? 2
									  : 0,
					     "container_port",
					     (json_int_t)json_i64(p, "containerPort", 0),
					     "host_port", (json_int_t)json_i64(p, "hostPort", 0),
					     "host_ip", json_str(p, "hostIP", "")));
		}
	}
	return out;
}

static void copy_strings(json_t *to, const json_t *from)
{
	const char *k;
	json_t *v;
	json_object_foreach ((json_t *)from, k, v) {
		if (json_is_string(v))
			(void)json_object_set(to, k, v);
	}
}

static void pod_labels(json_t *to, const json_t *pod)
{
	(void)json_object_set(to, "io.kubernetes.pod.name", json_at(pod, "metadata.name"));
	(void)json_object_set(
		to, "io.kubernetes.pod.namespace", json_at(pod, "metadata.namespace"));
	(void)json_object_set(to, "io.kubernetes.pod.uid", json_at(pod, "metadata.uid"));
}

static json_t *int_value(const json_t *v)
{
	return json_is_integer(v) ? json_pack("{s:I}", "value", json_integer_value(v)) : NULL;
}

static json_t *supplemental_groups(const json_t *pod)
{
	json_t *out = json_array(), *v;
	size_t i;
	const json_t *fs = json_at(pod, "spec.securityContext.fsGroup");
	json_array_foreach (json_at(pod, "spec.securityContext.supplementalGroups"), i, v)
		(void)json_array_append(out, v);
	if (json_is_integer(fs))
		(void)json_array_append(out, (json_t *)fs);
	return out;
}

static json_t *seccomp_of(const json_t *profile)
{
	const char *t = json_str(profile, "type", "Unconfined");
	if (strcmp(t, "RuntimeDefault") == 0)
		return json_pack("{s:i}", "profile_type", CRI_SECCOMP_RUNTIME_DEFAULT);
	if (strcmp(t, "Localhost") != 0)
		return json_pack("{s:i}", "profile_type", CRI_SECCOMP_UNCONFINED);
	return json_pack("{s:i, s:o}", "profile_type", CRI_SECCOMP_LOCALHOST, "localhost_ref",
		json_sprintf(
			"/var/lib/kubelet/seccomp/%s", json_str(profile, "localhostProfile", "")));
}

static bool any_privileged(const json_t *pod)
{
	static const char *const lists[] = {"spec.containers", "spec.initContainers"};
	for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
		size_t i;
		json_t *c;
		json_array_foreach (json_at(pod, lists[l]), i, c) {
			if (json_flag(c, "securityContext.privileged", false))
				return true;
		}
	}
	return false;
}

static json_t *sandbox_linux(const struct spec_ctx *c, const json_t *pod)
{
	AUTO_BUF struct buf cg = {0};
	json_t *sec = json_object(), *sysctls = json_object(), *v;
	size_t i;
	spec_cgroup(c, pod, &cg);
	(void)json_object_set_new(sec, "namespace_options", namespace_options(pod));
	(void)json_object_set_new(sec, "supplemental_groups", supplemental_groups(pod));
	(void)json_object_set_new(sec, "seccomp", seccomp_of(NULL));
	if (any_privileged(pod))
		(void)json_object_set_new(sec, "privileged", json_true());
	json_t *uid = int_value(json_at(pod, "spec.securityContext.runAsUser"));
	json_t *gid = uid ? int_value(json_at(pod, "spec.securityContext.runAsGroup")) : NULL;
	if (uid)
		(void)json_object_set_new(sec, "run_as_user", uid);
	if (gid)
		(void)json_object_set_new(sec, "run_as_group", gid);
	json_array_foreach (json_at(pod, "spec.securityContext.sysctls"), i, v)
		(void)json_object_set_new(
			sysctls, json_str(v, "name", ""), json_string(json_str(v, "value", "")));
	return json_pack("{s:s, s:o, s:o}", "cgroup_parent", cg.p ? cg.p : "", "security_context",
		sec, "sysctls", sysctls);
}

json_t *spec_sandbox(const struct spec_ctx *c, const json_t *pod, unsigned attempt)
{
	AUTO_BUF struct buf host = {0}, logs = {0};
	json_t *labels = json_object(), *ann = json_object();
	spec_log_dir(c, pod, &logs);
	if (!spec_host_network(pod))
		spec_hostname(pod, &host);
	copy_strings(labels, json_at(pod, "metadata.labels"));
	pod_labels(labels, pod);
	copy_strings(ann, json_at(pod, "metadata.annotations"));
	return json_pack("{s:{s:s, s:s, s:s, s:i}, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "metadata",
		"name", json_str(pod, "metadata.name", ""), "uid",
		json_str(pod, "metadata.uid", ""), "namespace",
		json_str(pod, "metadata.namespace", ""), "attempt", (int)attempt, "hostname",
		host.p ? host.p : "", "log_directory", logs.p ? logs.p : "", "dns_config",
		dns_config(c, pod), "port_mappings", port_mappings(pod), "labels", labels,
		"annotations", ann, "linux", sandbox_linux(c, pod));
}

/* --- containers --- */

const json_t *spec_security(const json_t *pod, const json_t *container, const char *member)
{
	const json_t *v = json_object_get(json_object_get(container, "securityContext"), member);
	return v ? v : json_object_get(json_at(pod, "spec.securityContext"), member);
}

int spec_check_nonroot(
	const json_t *pod, const json_t *container, const json_t *image, struct err *e)
{
	const json_t *user = spec_security(pod, container, "runAsUser");
	const json_t *uid = json_at(image, "uid.value");
	const char *name = json_str(image, "username", "");
	if (!json_is_true(spec_security(pod, container, "runAsNonRoot")))
		return 0;
	if (json_is_integer(user) && json_integer_value(user) == 0)
		return err_set(e, EPERM, NULL, "container's runAsUser breaks non-root policy");
	if (json_is_integer(user))
		return 0;
	if (*name && !isdigit((unsigned char)*name))
		return err_set(e, EPERM, NULL,
			"container has runAsNonRoot and image has non-numeric user (%s), cannot "
			"verify user is non-root",
			name);
	if (*name ? strcmp(name, "0") == 0 : json_integer_value(uid) == 0)
		return err_set(
			e, EPERM, NULL, "container has runAsNonRoot and image will run as root");
	return 0;
}

static json_t *capability_names(const json_t *list)
{
	json_t *out = json_array(), *v;
	size_t i;
	json_array_foreach (list, i, v) {
		const char *s = json_string_value(v);
		/* The runtime wants the short names. */
		(void)json_array_append_new(out, json_string(s && strncmp(s, "CAP_", 4) == 0 ? s + 4
							     : s			     ? s
											     : ""));
	}
	return out;
}

static json_t *container_security(const struct container_args *a)
{
	const json_t *sc = json_object_get(a->container, "securityContext");
	json_t *s = json_object(), *ns = namespace_options(a->pod);
	bool priv = json_flag(sc, "privileged", false);
	const json_t *nnp = json_object_get(sc, "allowPrivilegeEscalation");
	json_t *uid = int_value(spec_security(a->pod, a->container, "runAsUser"));
	json_t *gid = int_value(spec_security(a->pod, a->container, "runAsGroup"));
	if (a->target_id) {
		(void)json_object_set_new(ns, "pid", json_integer(CRI_NS_TARGET));
		(void)json_object_set_new(ns, "target_id", json_string(a->target_id));
	}
	(void)json_object_set_new(s, "namespace_options", ns);
	(void)json_object_set_new(s, "capabilities",
		json_pack("{s:o, s:o}", "add_capabilities",
			capability_names(json_at(sc, "capabilities.add")), "drop_capabilities",
			capability_names(json_at(sc, "capabilities.drop"))));
	(void)json_object_set_new(s, "privileged", json_boolean(priv));
	(void)json_object_set_new(
		s, "readonly_rootfs", json_boolean(json_flag(sc, "readOnlyRootFilesystem", false)));
	(void)json_object_set_new(s, "no_new_privs", json_boolean(json_is_false(nnp)));
	(void)json_object_set_new(s, "supplemental_groups", supplemental_groups(a->pod));
	(void)json_object_set_new(s, "seccomp",
		seccomp_of(priv ? NULL : spec_security(a->pod, a->container, "seccompProfile")));
	if (gid && !uid) /* the runtime wants both; the image's user is root unless it says so */
		uid = json_pack("{s:i}", "value", 0);
	if (uid)
		(void)json_object_set_new(s, "run_as_user", uid);
	if (gid)
		(void)json_object_set_new(s, "run_as_group", gid);
	if (!priv && strcmp(json_str(sc, "procMount", "Default"), "Unmasked") != 0) {
		(void)json_object_set_new(
			s, "masked_paths", string_list(masked_paths, ARRAY_LEN(masked_paths)));
		(void)json_object_set_new(s, "readonly_paths",
			string_list(readonly_paths, ARRAY_LEN(readonly_paths)));
	}
	return s;
}

void spec_hash(const json_t *container, char out[static 20])
{
	uint64_t h = 1469598103934665603ULL;
	const char *part[] = {
		json_str(container, "name", ""), "\n", json_str(container, "image", "")};
	for (size_t i = 0; i < ARRAY_LEN(part); i++)
		for (const char *p = part[i]; *p; p++)
			h = (h ^ (unsigned char)*p) * 1099511628211ULL;
	(void)snprintf(out, 20, "%llx", (unsigned long long)h);
}

static json_t *expand_list(const json_t *list, const json_t *envs)
{
	AUTO_JSON json_t *vars = json_object();
	json_t *out = json_array(), *v;
	size_t i;
	json_array_foreach (envs, i, v)
		(void)json_object_set(vars, json_str(v, "key", ""), json_object_get(v, "value"));
	json_array_foreach (list, i, v) {
		AUTO_BUF struct buf b = {0};
		env_expand(json_string_value(v) ? json_string_value(v) : "", vars, &b);
		(void)json_array_append_new(out, json_string(b.p ? b.p : ""));
	}
	return out;
}

static json_t *container_annotations(const struct container_args *a)
{
	char hash[20];
	spec_hash(a->container, hash);
	return json_pack("{s:s, s:o, s:s, s:s, s:o}", "io.kubernetes.container.hash", hash,
		"io.kubernetes.container.restartCount", json_sprintf("%u", a->attempt),
		"io.kubernetes.container.terminationMessagePath",
		json_str(a->container, "terminationMessagePath", "/dev/termination-log"),
		"io.kubernetes.container.terminationMessagePolicy",
		json_str(a->container, "terminationMessagePolicy", "File"),
		"io.kubernetes.pod.terminationGracePeriod",
		json_sprintf("%lld",
			(long long)json_i64(a->pod, "spec.terminationGracePeriodSeconds", 30)));
}

json_t *spec_container(const struct spec_ctx *c, const struct container_args *a)
{
	const char *name = json_str(a->container, "name", "");
	json_t *labels = json_object(), *o = json_object();
	pod_labels(labels, a->pod);
	(void)json_object_set_new(labels, "io.kubernetes.container.name", json_string(name));
	(void)json_object_set_new(
		o, "metadata", json_pack("{s:s, s:i}", "name", name, "attempt", (int)a->attempt));
	(void)json_object_set_new(o, "image",
		json_pack("{s:s, s:s}", "image", a->image, "user_specified_image",
			json_str(a->container, "image", "")));
	(void)json_object_set_new(
		o, "command", expand_list(json_object_get(a->container, "command"), a->envs));
	(void)json_object_set_new(
		o, "args", expand_list(json_object_get(a->container, "args"), a->envs));
	(void)json_object_set_new(
		o, "working_dir", json_string(json_str(a->container, "workingDir", "")));
	(void)json_object_set(o, "envs", a->envs);
	(void)json_object_set(o, "mounts", a->mounts);
	(void)json_object_set_new(o, "labels", labels);
	(void)json_object_set_new(o, "annotations", container_annotations(a));
	(void)json_object_set_new(o, "log_path", json_sprintf("%s/%u.log", name, a->attempt));
	(void)json_object_set_new(
		o, "stdin", json_boolean(json_flag(a->container, "stdin", false)));
	(void)json_object_set_new(
		o, "stdin_once", json_boolean(json_flag(a->container, "stdinOnce", false)));
	(void)json_object_set_new(o, "tty", json_boolean(json_flag(a->container, "tty", false)));
	(void)json_object_set_new(o, "linux",
		json_pack("{s:o, s:o}", "resources",
			spec_resources(c, json_object_get(a->pod, "spec"), a->container),
			"security_context", container_security(a)));
	return o;
}

/* --- /etc/hosts --- */

void spec_hosts_file(const struct spec_ctx *c, const json_t *pod, const char *ips, struct buf *out)
{
	const char *sub = json_str(pod, "spec.subdomain", "");
	AUTO_BUF struct buf host = {0};
	size_t i, j;
	json_t *v, *n;
	spec_hostname(pod, &host);
	buf_adds(out, "# Kubernetes-managed hosts file.\n"
		      "127.0.0.1\tlocalhost\n"
		      "::1\tlocalhost ip6-localhost ip6-loopback\n"
		      "fe00::0\tip6-localnet\n"
		      "fe00::0\tip6-mcastprefix\n"
		      "fe00::1\tip6-allnodes\n"
		      "fe00::2\tip6-allrouters\n");
	struct str rest = str_of(ips ? ips : "");
	while (rest.n) {
		buf_add_str(out, str_cut(&rest, ','));
		if (*sub)
			buf_addf(out, "\t%s.%s.%s.svc.%s", host.p, sub,
				json_str(pod, "metadata.namespace", ""), c->domain);
		buf_addf(out, "\t%s\n", host.p);
	}
	if (json_array_size(json_at(pod, "spec.hostAliases")) > 0)
		buf_adds(out, "\n# Entries added by HostAliases.\n");
	json_array_foreach (json_at(pod, "spec.hostAliases"), i, v) {
		buf_adds(out, json_str(v, "ip", ""));
		json_array_foreach (json_object_get(v, "hostnames"), j, n)
			buf_addf(out, "\t%s", json_string_value(n));
		buf_addc(out, '\n');
	}
}

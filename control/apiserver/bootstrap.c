/* SPDX-License-Identifier: Apache-2.0
 * What a cluster must hold before anybody looks: namespaces, and the Service of the API itself. */
#include "apiserver/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include "xebec/base/tls.h"

/* Creates the object unless it is there; for overwrite, also replaces another content. */
static int ensure(struct apiserver *s, const struct kind *k, const char *ns, const char *name,
	json_t *obj, bool overwrite, struct err *e)
{
	AUTO_JSON json_t *own = obj;
	AUTO_BUF struct buf key = {0};
	AUTO_BUF struct buf bytes = {0};
	struct cache_res *res = k ? cache_resource(s->cache, k) : NULL;
	char uid[37], when[21], path[300];
	if (!res || !obj)
		return obj ? 0 : err_set(e, ENOMEM, NULL, "out of memory");
	(void)snprintf(path, sizeof(path), "%s%s%s", ns, *ns ? "/" : "", name);
	struct obj *old = cache_get(res, str_of(path));
	uint64_t rev = old ? obj_rv(old) : 0;
	uuid4(uid);
	if (old)
		(void)str_copy(uid, sizeof(uid), obj_uid(jv_of(obj_bytes(old))));
	time_rfc3339(time_now(), when);
	if (old)
		(void)jv_copy(jv_path(jv_of(obj_bytes(old)), "metadata.creationTimestamp"), when,
			sizeof(when));
	(void)json_put(own, "metadata.name", json_string(name));
	if (*ns)
		(void)json_put(own, "metadata.namespace", json_string(ns));
	(void)json_put(own, "metadata.uid", json_string(uid));
	(void)json_put(own, "metadata.creationTimestamp", json_string(when));
	(void)json_put(own, "kind", json_string(k->kind));
	AUTO_BUF struct buf av = {0};
	buf_addf(&av, "%s%s%s", k->group, *k->group ? "/" : "", k->version);
	(void)json_put(own, "apiVersion", json_string(av.p));
	api_default(k, own);
	api_encode_json(k->type, own, &bytes);
	bool skip = old && (!overwrite || str_eq(obj_bytes(old), buf_str(&bytes)));
	obj_unref(old);
	if (skip)
		return 0;
	buf_addf(&key, "%s%s", res->prefix, path);
	struct store_txn t = {.key = buf_str(&key),
		.compare = true,
		.expect_mod_rev = rev,
		.value = buf_str(&bytes)};
	struct store_txn_result tr = {0};
	int rc = store_txn_sync(s->store, &t, &tr, e);
	if (rc == 0)
		store_val_unref(tr.cur); /* somebody else's write is as good */
	return rc;
}

static int namespaces(struct apiserver *s, struct err *e)
{
	static const char *const names[] = {
		"default", "kube-system", "kube-public", "kube-node-lease"};
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(names); i++)
		rc = ensure(s, s->namespaces->kind, "", names[i],
			json_pack("{s:{s:{s:s}},s:{s:[s]},s:{s:s}}", "metadata", "labels",
				"kubernetes.io/metadata.name", names[i], "spec", "finalizers",
				"kubernetes", "status", "phase", "Active"),
			false, e);
	return rc;
}

/* "10.96.0.0/16" -> "10.96.0.1"; of two ranges, that of the first */
static void first_address(const char *cidr, char out[static INET_ADDRSTRLEN])
{
	struct in_addr in = {0};
	char z[24] = "";
	struct str all = str_of(cidr), s = str_cut(&all, ','), a = str_cut(&s, '/');
	uint64_t len = 16;
	(void)str_copy(z, sizeof(z), a);
	(void)inet_pton(AF_INET, z, &in);
	(void)str_u64(s, &len);
	uint32_t net = ntohl(in.s_addr) & ~((1U << (32 - len)) - 1);
	in.s_addr = htonl(net + 1);
	(void)inet_ntop(AF_INET, &in, out, INET_ADDRSTRLEN);
}

static int own_service(
	struct apiserver *s, const char *cidr, const char *ip, uint16_t port, struct err *e)
{
	char first[INET_ADDRSTRLEN];
	first_address(cidr, first);
	json_t *svc = json_pack("{s:{s:{s:s,s:s}},s:{s:s,s:s,s:[s],s:s,s:[s],s:s,s:s,s:[{s:s,s:s,s:"
				"i,s:i}]},s:{s:{}}}",
		"metadata", "labels", "component", "apiserver", "provider", "kubernetes", "spec",
		"type", "ClusterIP", "clusterIP", first, "clusterIPs", first, "ipFamilyPolicy",
		"SingleStack", "ipFamilies", "IPv4", "sessionAffinity", "None",
		"internalTrafficPolicy", "Cluster", "ports", "name", "https", "protocol", "TCP",
		"port", 443, "targetPort", port ? port : 6443, "status", "loadBalancer");
	int rc = ensure(s, s->services->kind, "default", "kubernetes", svc, false, e);
	if (rc < 0 || !ip)
		return rc;
	const struct kind *ep = kind_by_resource(STR(""), STR("v1"), STR("endpoints"));
	const struct kind *sl =
		kind_by_resource(STR("discovery.k8s.io"), STR("v1"), STR("endpointslices"));
	if (ep)
		rc = ensure(s, ep, "default", "kubernetes",
			json_pack("{s:{s:{s:s}},s:[{s:[{s:s}],s:[{s:s,s:i,s:s}]}]}", "metadata",
				"labels", "endpointslice.kubernetes.io/skip-mirror", "true",
				"subsets", "addresses", "ip", ip, "ports", "name", "https", "port",
				port, "protocol", "TCP"),
			true, e);
	if (rc == 0 && sl)
		rc = ensure(s, sl, "default", "kubernetes",
			json_pack("{s:{s:{s:s}},s:s,s:[{s:[s],s:{s:b}}],s:[{s:s,s:i,s:s}]}",
				"metadata", "labels", "kubernetes.io/service-name", "kubernetes",
				"addressType", "IPv4", "endpoints", "addresses", ip, "conditions",
				"ready", 1, "ports", "name", "https", "port", port, "protocol",
				"TCP"),
			true, e);
	return rc;
}

/* Whoever asks for the address reaches the name service of his own node: its agent keeps an
 * EndpointSlice. Somebody who gives it a selector gets his own pods instead. */
static int dns_service(struct apiserver *s, const char *ip, struct err *e)
{
	bool v6 = strchr(ip, ':') != NULL;
	if (!alloc_holds(s->alloc, str_of(ip)))
		return err_set(e, EINVAL, NULL, "DNS address %s is not of the service range", ip);
	json_t *svc = json_pack(
		"{s:{s:{s:s,s:s,s:s}},s:{s:s,s:s,s:[s],s:s,s:[s],s:s,s:s,s:[{s:s,s:s,s:i,s:i},"
		"{s:s,s:s,s:i,s:i}]},s:{s:{}}}",
		"metadata", "labels", "k8s-app", "kube-dns", "kubernetes.io/cluster-service",
		"true", "kubernetes.io/name", "CoreDNS", "spec", "type", "ClusterIP", "clusterIP",
		ip, "clusterIPs", ip, "ipFamilyPolicy", "SingleStack", "ipFamilies",
		v6 ? "IPv6" : "IPv4", "sessionAffinity", "None", "internalTrafficPolicy", "Local",
		"ports", "name", "dns", "protocol", "UDP", "port", 53, "targetPort", 53, "name",
		"dns-tcp", "protocol", "TCP", "port", 53, "targetPort", 53, "status",
		"loadBalancer");
	return ensure(s, s->services->kind, "kube-system", "kube-dns", svc, false, e);
}

static int service_cidr(struct apiserver *s, const char *cidr, struct err *e)
{
	const struct kind *k =
		kind_by_resource(STR("networking.k8s.io"), STR("v1"), STR("servicecidrs"));
	char when[21];
	json_t *cidrs = json_array();
	struct str rest = str_of(cidr);
	while (rest.n) {
		struct str one = str_cut(&rest, ',');
		(void)json_array_append_new(cidrs, json_stringn(one.p, one.n));
	}
	time_rfc3339(time_now(), when);
	return k ? ensure(s, k, "", "kubernetes",
			   json_pack("{s:{s:o},s:{s:[{s:s,s:s,s:s,s:s,s:s}]}}", "spec", "cidrs",
				   cidrs, "status", "conditions", "type", "Ready", "status", "True",
				   "lastTransitionTime", when, "reason", "", "message",
				   "Kubernetes Service CIDR is ready"),
			   false, e)
		 : (json_decref(cidrs), 0);
}

static int priority_classes(struct apiserver *s, struct err *e)
{
	static const struct {
		const char *name, *what;
		int value;
	} rows[] = {
		{"system-cluster-critical",
			"Used for system critical pods that must run in the cluster, but can be "
			"moved to another node if necessary.",
			2000000000},
		{"system-node-critical",
			"Used for system critical pods that must not be moved from their current "
			"node.",
			2000001000}};
	const struct kind *k =
		kind_by_resource(STR("scheduling.k8s.io"), STR("v1"), STR("priorityclasses"));
	int rc = 0;
	for (size_t i = 0; k && rc == 0 && i < ARRAY_LEN(rows); i++)
		rc = ensure(s, k, "", rows[i].name,
			json_pack("{s:{s:i},s:i,s:s,s:s}", "metadata", "generation", 1, "value",
				rows[i].value, "description", rows[i].what, "preemptionPolicy",
				"PreemptLowerPriority"),
			false, e);
	return rc;
}

int bootstrap(struct apiserver *s, const struct apiserver_config *c, struct err *e)
{
	char ip[64];
	uint64_t port = 6443;
	const char *colon = c->advertise ? strrchr(c->advertise, ':') : NULL;
	if (colon) {
		struct str host = {c->advertise, (size_t)(colon - c->advertise)};
		if (str_copy(ip, sizeof(ip), host) < 0 || str_u64(str_of(colon + 1), &port) < 0 ||
			port == 0 || port > 65535)
			return err_set(e, EINVAL, NULL, "advertise address '%s': want IP:PORT",
				c->advertise);
	}
	int rc = namespaces(s, e);
	if (rc == 0 && s->services)
		rc = own_service(s, c->service_cidr, colon ? ip : NULL, (uint16_t)port, e);
	if (rc == 0 && s->services && c->cluster_dns)
		rc = dns_service(s, c->cluster_dns, e);
	if (rc == 0)
		rc = service_cidr(s, c->service_cidr, e);
	if (rc == 0)
		rc = priority_classes(s, e);
	return rc < 0 ? err_prefix(e, "preparing the cluster") : 0;
}

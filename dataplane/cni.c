/* SPDX-License-Identifier: Apache-2.0
 * CNI requests: address, link, programs, map row; undone in the opposite order. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include "attach.h"
#include "bandwidth.h"
#include "cni.h"
#include "podlink.h"
#include "xebec/base/htab.h"
#include "xebec/base/jv.h"

struct cni_req {
	char command[16], container[256], ifname[64], netns[512], version[16], pod[512];
	struct jv config;
};

/* Error codes of the specification; 100 and up are a plugin's own. */
enum {
	CNI_BAD_ENV = 4,
	CNI_BAD_CONFIG = 7,
	CNI_TRY_AGAIN = 11,
	CNI_UNAVAILABLE = 50,
	CNI_OWN = 100
};

/* "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b;..." -> "a/b", or what there is. */
static void pod_name(struct str args, char *out, size_t cap)
{
	struct str ns = STR("-"), name = STR("-");
	while (args.n) {
		struct str value = str_cut(&args, ';'), key = str_cut(&value, '=');
		if (str_eqz(key, "K8S_POD_NAMESPACE"))
			ns = value;
		else if (str_eqz(key, "K8S_POD_NAME"))
			name = value;
	}
	(void)snprintf(out, cap, "%.*s/%.*s", STR_FMT(ns), STR_FMT(name));
}

static int req_parse(struct str text, struct cni_req *q, struct err *e)
{
	if (!jv_valid(text, 64))
		return err_set(e, EINVAL, NULL, "request is not JSON");
	struct jv v = jv_of(text);
	q->config = jv_get(v, "config");
	if (jv_copy(jv_get(v, "command"), q->command, sizeof(q->command)) < 0 ||
		jv_copy(jv_get(v, "container"), q->container, sizeof(q->container)) < 0 ||
		jv_copy(jv_get(v, "ifname"), q->ifname, sizeof(q->ifname)) < 0 ||
		jv_copy(jv_get(v, "netns"), q->netns, sizeof(q->netns)) < 0 ||
		jv_copy(jv_get(q->config, "cniVersion"), q->version, sizeof(q->version)) < 0)
		return err_set(e, EINVAL, NULL, "a CNI_* value is too long");
	if (!q->version[0])
		(void)str_copy(q->version, sizeof(q->version), STR("0.4.0"));
	pod_name(jv_raw_str(jv_get(v, "args")), q->pod, sizeof(q->pod));
	if (strcmp(q->command, "GC") != 0 && strcmp(q->command, "STATUS") != 0 &&
		(!q->container[0] || !q->ifname[0] || strpbrk(q->container, " /\n") ||
			strpbrk(q->ifname, " /\n")))
		return err_set(e, EINVAL, NULL,
			"CNI_CONTAINERID and CNI_IFNAME must be set and have no space or slash");
	return 0;
}

static void mac_text(const uint8_t m[6], char out[static 18])
{
	(void)snprintf(
		out, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

#define GATEWAY6 "fe80::a9fe:101"

static void ip_write(const struct cni_req *q, int family, const void *addr, const char *prefix,
	const char *gateway, struct buf *out)
{
	char ip[INET6_ADDRSTRLEN];
	(void)inet_ntop(family, addr, ip, sizeof(ip));
	/* 0.x results name the address family, 1.x ones must not. */
	buf_addf(out, "{%s\"address\":\"%s%s\",\"gateway\":\"%s\",\"interface\":1}",
		q->version[0] != '0' ? ""
		: family == AF_INET6 ? "\"version\":\"6\","
				     : "\"version\":\"4\",",
		ip, prefix, gateway);
}

static void result_write(const struct cni_req *q, const struct podlink *l, struct buf *out)
{
	static const struct in6_addr none;
	char host_mac[18], pod_mac[18];
	bool six = memcmp(&l->addr6, &none, sizeof none) != 0;
	mac_text(l->host_mac, host_mac);
	mac_text(l->pod_mac, pod_mac);
	buf_addf(out,
		"{\"cniVersion\":\"%s\",\"interfaces\":[{\"name\":\"%s\",\"mac\":\"%s\"},{"
		"\"name\":",
		q->version, l->host_name, host_mac);
	buf_add_json_str(out, str_of(q->ifname));
	buf_addf(out, ",\"mac\":\"%s\",\"sandbox\":", pod_mac);
	buf_add_json_str(out, str_of(q->netns));
	buf_adds(out, "}],\"ips\":[");
	ip_write(q, AF_INET, &l->addr, "/32", "169.254.1.1", out);
	if (six) {
		buf_adds(out, ",");
		ip_write(q, AF_INET6, &l->addr6, "/128", GATEWAY6, out);
	}
	buf_adds(out, "],\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"169.254.1.1\"}");
	if (six)
		buf_adds(out, ",{\"dst\":\"::/0\",\"gw\":\"" GATEWAY6 "\"}");
	buf_adds(out, "],\"dns\":{}}\n");
}

static void link_plan(
	const struct cni *c, struct podlink *l, const char *container, struct in_addr a)
{
	podlink_plan(l, container, a);
	l->addr6 = ipam_six(c->ipam, a);
}

static int maps_add(struct cni *c, const struct podlink *l, struct err *e)
{
	return c->maps ? attach_podlink(c->maps, l, e) : 0;
}

static void maps_remove(struct cni *c, const struct podlink *l)
{
	if (c->maps)
		attach_podlink_release(c->maps, l);
}

static int undo(struct cni *c, const char *container, const char *ifname)
{
	struct podlink l;
	struct in_addr a;
	if (ipam_find(c->ipam, container, ifname, &a) < 0)
		return 0; /* DEL of what is not there succeeds */
	link_plan(c, &l, container, a);
	if (c->hostports)
		hostports_del(c->hostports, container);
	maps_remove(c, &l);
	int r = podlink_del(&l);
	if (r == 0)
		r = ipam_release(c->ipam, container, ifname, &a);
	return r;
}

struct dead {
	struct cni *c;
	struct buf lines; /* "container ifname\n" */
};

static void dead_see(void *arg, struct in_addr a, const char *container, const char *ifname)
{
	struct dead *d = arg;
	struct podlink l;
	link_plan(d->c, &l, container, a);
	if (podlink_find(&l) == -ENODEV)
		buf_addf(&d->lines, "%s %s\n", container, ifname);
}

/* Releases by lines of "container ifname"; one that fails does not keep the others. */
static int undo_lines(struct cni *c, struct str rest, struct err *e)
{
	int r = 0;
	while (rest.n) {
		struct str line = str_cut(&rest, '\n'), container = str_cut(&line, ' ');
		AUTO_FREE char *id = str_dup(container), *ifname = str_dup(line);
		if (id && ifname && undo(c, id, ifname) < 0)
			r = err_set(e, EIO, NULL, "remove the link of container %s", id);
	}
	return r;
}

/* The range is used up. Addresses whose link is gone belong to nobody that could miss them: pods
 * that the runtime forgot, or from before a reboot. Requests come one at a time, so no ADD is half
 * done. */
static int lease_or_reclaim(
	struct cni *c, const struct cni_req *q, struct in_addr *ret, struct err *e)
{
	int r = ipam_lease(c->ipam, q->container, q->ifname, ret, e);
	if (r != -ENOSPC)
		return r;
	struct dead d = {.c = c};
	ipam_each(c->ipam, dead_see, &d);
	if (d.lines.len && undo_lines(c, buf_str(&d.lines), e) == 0)
		r = ipam_lease(c->ipam, q->container, q->ifname, ret, e);
	buf_free(&d.lines);
	return r;
}

/* What the runtime passes on from the pod: host ports and bandwidth. */
static int capabilities_add(
	struct cni *c, const struct cni_req *q, const struct podlink *l, struct err *e)
{
	struct jv run = jv_get(q->config, "runtimeConfig");
	struct bandwidth b;
	static const struct in6_addr none;
	struct ip ips[2] = {{.family = 4}, {.family = 6}};
	size_t n = memcmp(&l->addr6, &none, sizeof none) != 0 ? 2 : 1;
	memcpy(ips[0].b, &l->addr, 4);
	memcpy(ips[1].b, &l->addr6, 16);
	bandwidth_read(jv_get(run, "bandwidth"), &b);
	int r = bandwidth_apply(&b, l, q->netns, q->ifname, e);
	if (r == 0 && c->hostports)
		r = hostports_set(
			c->hostports, q->container, q->pod, ips, n, jv_get(run, "portMappings"), e);
	return r;
}

static int cmd_add(struct cni *c, const struct cni_req *q, struct buf *out, struct err *e)
{
	struct podlink l;
	struct in_addr a;
	int r = lease_or_reclaim(c, q, &a, e);
	if (r < 0)
		return r;
	link_plan(c, &l, q->container, a);
	r = podlink_make(&l, q->netns, q->ifname, c->mtu, e);
	if (r == 0)
		r = maps_add(c, &l, e);
	if (r == 0)
		r = capabilities_add(c, q, &l, e);
	if (r < 0)
		(void)undo(c, q->container, q->ifname);
	else
		result_write(q, &l, out);
	return r;
}

static int cmd_del(struct cni *c, const struct cni_req *q, struct buf *out, struct err *e)
{
	(void)out;
	int r = undo(c, q->container, q->ifname);
	return r < 0 ? err_set(e, r, NULL, "remove the link of container %s", q->container) : 0;
}

/* The addresses that the runtime believes the pod to have; absent in calls of old runtimes. */
static bool prev_result_fits(const struct cni_req *q, struct in_addr a)
{
	char want[INET_ADDRSTRLEN + 4], ip[INET_ADDRSTRLEN];
	struct jv ips = jv_get(jv_get(q->config, "prevResult"), "ips");
	if (jv_type(ips) != JV_ARRAY)
		return true;
	(void)inet_ntop(AF_INET, &a, ip, sizeof(ip));
	(void)snprintf(want, sizeof(want), "%s/32", ip);
	jv_each (it, ips)
		if (jv_is_str(jv_get(it.v, "address"), want))
			return true;
	return false;
}

static int cmd_check(struct cni *c, const struct cni_req *q, struct buf *out, struct err *e)
{
	struct podlink l;
	struct in_addr a;
	(void)out;
	if (ipam_find(c->ipam, q->container, q->ifname, &a) < 0)
		return err_set(e, ENOENT, NULL, "container %s holds no address", q->container);
	link_plan(c, &l, q->container, a);
	int r = podlink_find(&l);
	if (r < 0)
		return err_set(e, r, NULL, "link '%s' of container %s", l.host_name, q->container);
	if (!prev_result_fits(q, a))
		return err_set(e, ESTALE, NULL, "prevResult lacks the address of container %s",
			q->container);
	if (q->netns[0] && (r = podlink_check(&l, q->netns, q->ifname, e)) < 0)
		return r;
	struct jv mappings = jv_path(q->config, "runtimeConfig.portMappings");
	if (c->hostports && !hostports_match(c->hostports, q->container, mappings))
		return err_set(e, ESTALE, NULL, "host ports of container %s", q->container);
	return maps_add(c, &l, e);
}

/* Ready for ADD? (CNI 1.1) */
static int cmd_status(struct cni *c, const struct cni_req *q, struct buf *out, struct err *e)
{
	(void)q;
	(void)out;
	return ipam_ready(c->ipam) ? 0
				   : err_set(e, EAGAIN, NULL, "this node has no spec.podCIDR yet");
}

struct gc {
	struct cni *c;
	struct htab *valid; /* "container ifname" */
	struct buf stale;   /* lines of the same */
};

static void gc_see(void *arg, struct in_addr a, const char *container, const char *ifname)
{
	struct gc *g = arg;
	AUTO_BUF struct buf key = {0};
	(void)a;
	buf_addf(&key, "%s %s", container, ifname);
	if (!key.err && !htab_get(g->valid, buf_str(&key)))
		buf_addf(&g->stale, "%s %s\n", container, ifname);
}

static int gc_valid(struct gc *g, struct jv list)
{
	jv_each (it, list) {
		AUTO_BUF struct buf key = {0};
		jv_unescape(jv_get(it.v, "containerID"), &key);
		buf_addc(&key, ' ');
		jv_unescape(jv_get(it.v, "ifname"), &key);
		if (key.err || htab_put(g->valid, buf_str(&key), g, NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool has_lease(void *arg, const char *container)
{
	struct cni *c = arg;
	return ipam_holds(c->ipam, container);
}

/* Everything not in "cni.dev/valid-attachments" goes. */
static int cmd_gc(struct cni *c, const struct cni_req *q, struct buf *out, struct err *e)
{
	struct gc g = {.c = c, .valid = htab_new()};
	struct jv valid = jv_get(q->config, "cni.dev/valid-attachments");
	int r = 0;
	(void)out;
	if (jv_type(valid) != JV_ARRAY)
		r = err_set(e, EINVAL, "BadRequest", "GC wants \"cni.dev/valid-attachments\"");
	else if (!g.valid || gc_valid(&g, valid) < 0)
		r = err_set(e, ENOMEM, NULL, "out of memory");
	if (r == 0)
		ipam_each(c->ipam, gc_see, &g);
	if (r == 0)
		r = undo_lines(c, buf_str(&g.stale), e);
	if (c->hostports)
		hostports_sweep(c->hostports, has_lease, c);
	buf_free(&g.stale);
	htab_free(g.valid, NULL);
	return r;
}

static const struct {
	const char *name;
	int (*fn)(struct cni *c, const struct cni_req *q, struct buf *out, struct err *e);
} commands[] = {
	{"ADD", cmd_add},
	{"DEL", cmd_del},
	{"CHECK", cmd_check},
	{"GC", cmd_gc},
	{"STATUS", cmd_status},
};

static int dispatch(struct cni *c, struct str request, struct buf *out, struct err *e)
{
	struct cni_req q = {0};
	int r = req_parse(request, &q, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, q.command) == 0)
			return commands[i].fn(c, &q, out, e);
	return err_set(e, EINVAL, NULL, "unknown CNI_COMMAND '%s'", q.command);
}

static int error_code(struct str request, int r, const struct err *e)
{
	bool status = jv_is_str(jv_get(jv_of(request), "command"), "STATUS");
	if (r == -EAGAIN)
		return status ? CNI_UNAVAILABLE : CNI_TRY_AGAIN;
	if (r == -EINVAL)
		return e->reason ? CNI_BAD_CONFIG : CNI_BAD_ENV;
	return CNI_OWN;
}

int cni_handle(struct cni *c, struct str request, struct buf *out)
{
	struct err e = {0};
	int r = dispatch(c, request, out, &e);
	if (r == 0)
		return out->err;
	buf_clear(out);
	buf_addf(out, "{\"cniVersion\":\"0.4.0\",\"code\":%d,\"msg\":", error_code(request, r, &e));
	buf_add_json_str(out, str_of(e.msg));
	buf_adds(out, "}\n");
	return r;
}

struct adopt {
	struct cni *c;
	struct err *e;
	int r;
};

static void adopt_one(void *arg, struct in_addr a, const char *container, const char *ifname)
{
	struct adopt *d = arg;
	struct podlink l;
	(void)ifname;
	link_plan(d->c, &l, container, a);
	if (podlink_find(&l) < 0)
		return;
	int r = maps_add(d->c, &l, d->e);
	if (r < 0)
		d->r = r;
}

int cni_adopt(struct cni *c, struct err *e)
{
	struct adopt d = {.c = c, .e = e};
	ipam_each(c->ipam, adopt_one, &d);
	return d.r;
}

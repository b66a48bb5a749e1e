/* SPDX-License-Identifier: Apache-2.0
 * CNI requests: address, link, programs, map row; undone in the opposite order. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include "attach.h"
#include "cni.h"
#include "podlink.h"
#include "xebec/base/htab.h"
#include "xebec/base/jv.h"

struct cni_req {
	char command[16], container[256], ifname[64], netns[512], version[16];
	struct jv config;
};

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
	if (strcmp(q->command, "GC") != 0 &&
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

static void result_write(const struct cni_req *q, const struct podlink *l, struct buf *out)
{
	char ip[INET_ADDRSTRLEN], host_mac[18], pod_mac[18];
	(void)inet_ntop(AF_INET, &l->addr, ip, sizeof(ip));
	mac_text(l->host_mac, host_mac);
	mac_text(l->pod_mac, pod_mac);
	buf_addf(out,
		"{\"cniVersion\":\"%s\",\"interfaces\":[{\"name\":\"%s\",\"mac\":\"%s\"},{"
		"\"name\":",
		q->version, l->host_name, host_mac);
	buf_add_json_str(out, str_of(q->ifname));
	buf_addf(out, ",\"mac\":\"%s\",\"sandbox\":", pod_mac);
	buf_add_json_str(out, str_of(q->netns));
	/* 0.x results name the address family, 1.x ones must not. */
	buf_addf(out,
		"}],\"ips\":[{%s\"address\":\"%s/"
		"32\",\"gateway\":\"169.254.1.1\",\"interface\":1}],",
		q->version[0] == '0' ? "\"version\":\"4\"," : "", ip);
	buf_adds(out, "\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"169.254.1.1\"}],\"dns\":{}}\n");
}

static int maps_add(struct cni *c, const struct podlink *l, struct err *e)
{
	struct ep_info ep = {.ifindex = (uint32_t)l->host_ifindex};
	if (!c->maps)
		return 0;
	memcpy(ep.ip, &l->addr, 4);
	memcpy(ep.mac, l->pod_mac, 6);
	memcpy(ep.host_mac, l->host_mac, 6);
	int r = attach_pod(c->maps, l->host_ifindex, l->host_name, e);
	if (r == 0 && (r = ep_set(c->maps, &ep)) < 0)
		(void)err_set(e, r, NULL, "add the pod to map ep4");
	return r;
}

static void maps_remove(struct cni *c, const struct podlink *l)
{
	uint8_t ip[4];
	if (!c->maps)
		return;
	memcpy(ip, &l->addr, 4);
	(void)ep_del(c->maps, ip);
	attach_pod_release(c->maps, l->host_name);
}

static int undo(struct cni *c, const char *container, const char *ifname)
{
	struct podlink l;
	struct in_addr a;
	if (ipam_find(c->ipam, container, ifname, &a) < 0)
		return 0; /* DEL of what is not there succeeds */
	podlink_plan(&l, container, a);
	maps_remove(c, &l);
	int r = podlink_del(&l);
	if (r == 0)
		r = ipam_release(c->ipam, container, ifname, &a);
	return r;
}

static int cmd_add(struct cni *c, const struct cni_req *q, struct buf *out, struct err *e)
{
	struct podlink l;
	struct in_addr a;
	int r = ipam_lease(c->ipam, q->container, q->ifname, &a, e);
	if (r < 0)
		return r;
	podlink_plan(&l, q->container, a);
	r = podlink_make(&l, q->netns, q->ifname, c->mtu, e);
	if (r == 0)
		r = maps_add(c, &l, e);
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

static int cmd_check(struct cni *c, const struct cni_req *q, struct buf *out, struct err *e)
{
	struct podlink l;
	struct in_addr a;
	(void)out;
	if (ipam_find(c->ipam, q->container, q->ifname, &a) < 0)
		return err_set(e, ENOENT, NULL, "container %s holds no address", q->container);
	podlink_plan(&l, q->container, a);
	int r = podlink_find(&l);
	return r < 0 ? err_set(e, r, NULL, "link '%s' of container %s", l.host_name, q->container)
		     : maps_add(c, &l, e);
}

struct gc {
	struct cni *c;
	struct htab *valid;
	struct buf stale; /* "container ifname\n" lines */
};

static void gc_see(void *arg, struct in_addr a, const char *container, const char *ifname)
{
	struct gc *g = arg;
	(void)a;
	if (!htab_get(g->valid, str_of(container)))
		buf_addf(&g->stale, "%s %s\n", container, ifname);
}

/* CNI 1.1 GC: everything not in "cni.dev/valid-attachments" goes. */
static int cmd_gc(struct cni *c, const struct cni_req *q, struct buf *out, struct err *e)
{
	struct gc g = {.c = c, .valid = htab_new()};
	int r = g.valid ? 0 : err_set(e, ENOMEM, NULL, "out of memory");
	(void)out;
	struct jv valid = jv_get(q->config, "cni.dev/valid-attachments");
	if (r == 0 && jv_type(valid) != JV_ARRAY)
		r = err_set(e, EINVAL, NULL, "GC wants \"cni.dev/valid-attachments\"");
	if (r == 0) {
		jv_each (it, valid)
			(void)htab_put(g.valid, jv_raw_str(jv_get(it.v, "containerID")), &g, NULL);
		ipam_each(c->ipam, gc_see, &g);
		struct str rest = buf_str(&g.stale);
		while (rest.n) {
			struct str line = str_cut(&rest, '\n'), container = str_cut(&line, ' ');
			AUTO_FREE char *id = str_dup(container), *ifname = str_dup(line);
			if (id && ifname && undo(c, id, ifname) < 0)
				r = err_set(e, EIO, NULL, "remove the link of container %s", id);
		}
	}
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

int cni_handle(struct cni *c, struct str request, struct buf *out)
{
	struct err e = {0};
	int r = dispatch(c, request, out, &e);
	if (r == 0)
		return out->err;
	buf_clear(out);
	/* 11 = try again later, 100+ = the plugin's own codes */
	buf_addf(out, "{\"cniVersion\":\"0.4.0\",\"code\":%d,\"msg\":", r == -EAGAIN ? 11 : 100);
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
	podlink_plan(&l, container, a);
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

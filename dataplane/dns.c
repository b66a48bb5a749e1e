/* SPDX-License-Identifier: Apache-2.0
 * Cluster DNS of one node: composes zone, forwarder, server and the way to it. */
#include "dns.h"

#include <errno.h>
#include "compile.h"
#include "dns_publish.h"
#include "dns_server.h"
#include "xebec/base/log.h"

enum { WANTED_PORT = 10053 };

static const struct resource res_services = {"", "v1", "services", "Service", true};
static const struct resource res_slices = {
	"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true};
static const struct resource res_namespaces = {"", "v1", "namespaces", "Namespace", false};

struct dns {
	struct dns_config c;
	struct dns_zone *zone;
	struct dns_forward *forward;
	struct dns_server *server;
	struct dns_publish *publish;
	struct informer *services, *headless, *namespaces;
	bool no_namespaces; /* may not be read: they count as soon as they hold a Service */
	bool started;
};

/* ------------------------------------------------------------------ events */

static void complain(int r)
{
	if (r)
		log_error("name service: an object was not taken: %s", strerror(-r));
}

static void *decode_service(struct jv v)
{
	return dns_spec_new(v);
}

static void *decode_slice(struct jv v)
{
	return slice_spec_new(v);
}

static void on_service(void *arg, struct cobj *old, struct cobj *new)
{
	struct dns *d = arg;
	struct cobj *o = new ? new : old;
	const struct dns_spec *spec = new ? new->decoded : NULL;
	complain(dns_zone_service(
		d->zone, str_of(o->ns), str_of(o->name), spec, spec ? cobj_ref(new) : NULL));
	if (strcmp(o->ns, "kube-system") == 0 && strcmp(o->name, "kube-dns") == 0)
		dns_publish_service(d->publish, spec && !spec->selector && !spec->external);
}

static const char *slice_service(const struct cobj *o)
{
	const struct slice_spec *s = o ? o->decoded : NULL;
	return s ? s->service : "";
}

static void on_slice(void *arg, struct cobj *old, struct cobj *new)
{
	struct dns *d = arg;
	const char *was = slice_service(old), *is = slice_service(new);
	if (*was && strcmp(was, is) != 0)
		complain(dns_zone_slice(
			d->zone, str_of(old->ns), str_of(was), str_of(old->name), NULL, NULL));
	if (*is)
		complain(dns_zone_slice(d->zone, str_of(new->ns), str_of(is), str_of(new->name),
			new->decoded, cobj_ref(new)));
}

static void on_node(void *arg, struct cobj *old, struct cobj *new)
{
	struct dns *d = arg;
	dns_publish_node(d->publish, old, new);
}

static void *decode_nothing(struct jv v)
{
	(void)v;
	return NULL;
}

static void on_namespace(void *arg, struct cobj *old, struct cobj *new)
{
	struct dns *d = arg;
	complain(dns_zone_namespace(d->zone, str_of((new ? new : old)->name), new != NULL));
}

static void release(void *hold)
{
	cobj_unref(hold);
}

static bool ready(void *arg)
{
	const struct dns *d = arg;
	return d->namespaces && informer_synced(d->services) && informer_synced(d->headless) &&
	       informer_synced(d->c.slices) && (d->no_namespaces || informer_synced(d->namespaces));
}

void dns_synced(struct dns *d)
{
	if (d->started || !ready(d))
		return;
	d->started = true;
	dns_publish_start(d->publish);
}

static void on_synced(void *arg)
{
	dns_synced(arg);
}

static void on_namespaces_error(void *arg, const struct err *e)
{
	struct dns *d = arg;
	if (e->code == -EPERM)
		d->no_namespaces = true;
	dns_synced(d);
}

/* ------------------------------------------------------------------ life */

static int watch(
	struct dns *d, const struct informer_config *part, struct informer **ret, struct err *e)
{
	struct informer_config c = *part;
	c.client = d->c.client;
	c.on_synced = on_synced;
	c.arg = d;
	return informer_start(&c, ret, e);
}

static int watches_start(struct dns *d, struct err *e)
{
	const struct informer_config services = {.resource = &res_services,
		.decode = decode_service,
		.free_decoded = dns_spec_free,
		.lean = true,
		.on_event = on_service};
	/* the others are those that we listen to: no slice is watched twice */
	const struct informer_config headless = {.resource = &res_slices,
		.label_selector = "service.kubernetes.io/headless",
		.decode = decode_slice,
		.free_decoded = slice_spec_free,
		.lean = true,
		.on_event = on_slice};
	const struct informer_config namespaces = {.resource = &res_namespaces,
		.decode = decode_nothing,
		.lean = true,
		.on_event = on_namespace,
		.on_error = on_namespaces_error};
	int r = watch(d, &services, &d->services, e);
	r = r ? r : watch(d, &headless, &d->headless, e);
	r = r ? r : watch(d, &namespaces, &d->namespaces, e);
	if (r)
		return r;
	r = informer_listen(d->c.slices, on_slice, d);
	r = r ? r : informer_listen(d->c.nodes, on_node, d);
	return r ? err_set(e, r, NULL, "name service: %s", strerror(-r)) : 0;
}

static int parts_make(struct dns *d, struct err *e)
{
	const struct dns_config *c = &d->c;
	const struct dns_zone_config zc = {.domain = c->domain ? c->domain : "cluster.local",
		.service_cidr = c->service_cidr,
		.cluster_cidr = c->cluster_cidr,
		.dns_ip = c->cluster_dns,
		.release = release};
	const struct dns_forward_config fc = {.loop = c->loop,
		.upstream = c->upstream,
		.resolv_conf = c->resolv_conf,
		.self = {c->cluster_dns}};
	int r = dns_zone_new(&zc, &d->zone, e);
	r = r ? r : dns_forward_new(&fc, &d->forward, e);
	const struct dns_server_config sc = {.loop = c->loop,
		.ip = c->node_ip,
		.port = WANTED_PORT,
		.cluster_cidr = c->cluster_cidr,
		.zone = d->zone,
		.forward = d->forward,
		.ready = ready,
		.arg = d};
	r = r ? r : dns_server_new(&sc, &d->server, e);
	if (r)
		return r;
	const struct dns_publish_config pc = {.client = c->client,
		.node_name = c->node_name,
		.node_ip = c->node_ip,
		.port = dns_server_port(d->server)};
	return dns_publish_new(&pc, &d->publish, e);
}

int dns_start(const struct dns_config *c, struct dns **ret, struct err *e)
{
	struct dns *d = calloc(1, sizeof *d);
	if (!d)
		return err_set(e, ENOMEM, NULL, "out of memory");
	d->c = *c;
	int r = parts_make(d, e);
	r = r ? r : watches_start(d, e);
	if (r) {
		dns_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void dns_free(struct dns *d)
{
	if (!d)
		return;
	informer_free(d->services);
	informer_free(d->headless);
	informer_free(d->namespaces);
	dns_publish_free(d->publish);
	dns_server_free(d->server);
	dns_forward_free(d->forward);
	dns_zone_free(d->zone);
	free(d);
}

void dns_metrics(const struct dns *d, struct buf *out)
{
	dns_server_metrics(d->server, out);
	dns_forward_metrics(d->forward, out);
}

/* SPDX-License-Identifier: Apache-2.0
 * This node's EndpointSlice of the DNS Service. It exists while Service kube-system/kube-dns has no
 * selector: with one, somebody's pods serve DNS, and we stand back. The Node owns the slice, so
 * that it goes with it. */
#include "dns_publish.h"

#include <errno.h>
#include "xebec/base/log.h"
#include "xebec/base/timefmt.h"

#define NAMESPACE  "kube-system"
#define SERVICE	   "kube-dns"
#define MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define MANAGER	   "dns.xebec.io"

static const struct resource res_slices = {
	"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true};

struct dns_publish {
	struct dns_publish_config c;
	char name[254];
	char *node_uid;
	bool started, wanted; /* the Service is ours to serve */
	struct informer *slices;
	struct cobj *slice;
	struct client_call *call;
	struct loop_timer retry;
	int64_t delay_ns;
	bool again, failing;
};

static void reconcile(struct dns_publish *p);

static const char *family(const struct dns_publish *p)
{
	return strchr(p->c.node_ip, ':') ? "IPv6" : "IPv4";
}

static void body_write(const struct dns_publish *p, const char *rv, struct buf *b)
{
	buf_addf(b,
		"{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{"
		"\"name\":\"%s\",\"namespace\":\"" NAMESPACE "\",%s%s%s\"labels\":{\"" MANAGED_BY
		"\":\"" MANAGER "\",\"kubernetes.io/service-name\":\"" SERVICE "\"},"
		"\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"%s\","
		"\"uid\":\"%s\"}]},\"addressType\":\"%s\",",
		p->name, rv ? "\"resourceVersion\":\"" : "", rv ? rv : "", rv ? "\"," : "",
		p->c.node_name, p->node_uid, family(p));
	buf_addf(b,
		"\"endpoints\":[{\"addresses\":[\"%s\"],\"conditions\":{\"ready\":true,\"serving\":"
		"true,\"terminating\":false},\"nodeName\":\"%s\"}],\"ports\":[{\"name\":\"dns\","
		"\"protocol\":\"UDP\",\"port\":%u},{\"name\":\"dns-tcp\",\"protocol\":\"TCP\","
		"\"port\":%u}]}",
		p->c.node_ip, p->c.node_name, p->c.port, p->c.port);
}

/* Does the slice that is there say all that ours would? */
static bool as_wanted(const struct dns_publish *p)
{
	const struct {
		const char *path, *value;
	} rows[] = {
		{"metadata.ownerReferences.0.uid", p->node_uid},
		{"endpoints.0.addresses.0", p->c.node_ip},
		{"endpoints.0.nodeName", p->c.node_name},
		{"ports.0.name", "dns"},
		{"ports.1.name", "dns-tcp"},
	};
	struct jv v = p->slice->v, labels = jv_path(v, "metadata.labels");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (!jv_is_str(jv_path(v, rows[i].path), rows[i].value))
			return false;
	return jv_is_str(jv_get(labels, "kubernetes.io/service-name"), SERVICE) &&
	       jv_is_str(jv_get(labels, MANAGED_BY), MANAGER) &&
	       jv_bool(jv_path(v, "endpoints.0.conditions.ready"), true) &&
	       jv_len(jv_get(v, "endpoints")) == 1 && jv_len(jv_get(v, "ports")) == 2 &&
	       jv_int(jv_path(v, "ports.0.port"), 0) == p->c.port &&
	       jv_int(jv_path(v, "ports.1.port"), 0) == p->c.port;
}

/* ------------------------------------------------------------------ calls */

static void on_done(void *arg, const struct client_result *r)
{
	struct dns_publish *p = arg;
	bool raced = r->e && (r->e->code == -EEXIST || r->e->code == -EAGAIN ||
				     r->e->code == -ENOENT); /* the informer will tell */
	p->call = NULL;
	if (!r->e) {
		p->delay_ns = 0;
		p->failing = false;
		/* the event that shows our write starts the next round */
		if (p->again)
			reconcile(p);
		return;
	}
	if (!raced && !p->failing)
		log_warn("EndpointSlice %s/%s, trying again: %s", NAMESPACE, p->name, r->e->msg);
	p->failing |= !raced;
	p->delay_ns = p->delay_ns ? p->delay_ns * 2 : NS_PER_SEC / 4;
	if (p->delay_ns > 30 * NS_PER_SEC)
		p->delay_ns = 30 * NS_PER_SEC;
	(void)loop_timer_set(client_loop(p->c.client), &p->retry, p->delay_ns);
}

static void write_slice(struct dns_publish *p)
{
	AUTO_BUF struct buf b = {0};
	char rv[24];
	/* addressType cannot be changed: another kind of address needs another object */
	bool other = p->slice && !jv_is_str(jv_get(p->slice->v, "addressType"), family(p));
	if (p->slice)
		(void)snprintf(rv, sizeof rv, "%llu", (unsigned long long)p->slice->rv);
	body_write(p, p->slice ? rv : NULL, &b);
	if (b.err)
		return;
	if (other)
		p->call = client_delete(p->c.client, &res_slices, NAMESPACE, p->name, -1,
			p->slice->uid, NULL, on_done, p);
	else if (p->slice)
		p->call = client_update(p->c.client, &res_slices, NAMESPACE, p->name, NULL,
			buf_str(&b), on_done, p);
	else
		p->call =
			client_create(p->c.client, &res_slices, NAMESPACE, buf_str(&b), on_done, p);
}

static void withdraw(struct dns_publish *p)
{
	struct jv labels = jv_path(p->slice->v, "metadata.labels");
	if (jv_is_str(jv_get(labels, MANAGED_BY), MANAGER))
		p->call = client_delete(p->c.client, &res_slices, NAMESPACE, p->name, -1,
			p->slice->uid, NULL, on_done, p);
}

static void reconcile(struct dns_publish *p)
{
	p->again = p->call != NULL;
	if (p->call || !p->started || !informer_synced(p->slices))
		return;
	loop_timer_cancel(&p->retry);
	if (!p->wanted || !p->node_uid) {
		/* without a Node there is nothing to own the slice: what is there stays */
		if (!p->wanted && p->slice)
			withdraw(p);
		return;
	}
	if (!p->slice || !as_wanted(p))
		write_slice(p);
}

static void on_retry(struct loop_timer *t)
{
	reconcile(t->arg);
}

/* ------------------------------------------------------------------ events */

static bool is(const struct cobj *o, const char *ns, const char *name)
{
	return o && strcmp(o->ns, ns) == 0 && strcmp(o->name, name) == 0;
}

void dns_publish_service(struct dns_publish *p, bool ours)
{
	p->wanted = ours;
	reconcile(p);
}

static void on_slice(void *arg, struct cobj *old, struct cobj *new)
{
	struct dns_publish *p = arg;
	if (!is(new ? new : old, NAMESPACE, p->name))
		return;
	if (p->slice)
		cobj_unref(p->slice);
	p->slice = new ? cobj_ref(new) : NULL;
	reconcile(p);
}

void dns_publish_node(struct dns_publish *p, struct cobj *old, struct cobj *new)
{
	if (!is(new ? new : old, "", p->c.node_name))
		return;
	if (new && p->node_uid && strcmp(p->node_uid, new->uid) == 0)
		return;
	free(p->node_uid);
	p->node_uid = new ? strdup(new->uid) : NULL;
	reconcile(p);
}

static void on_synced(void *arg)
{
	reconcile(arg);
}

void dns_publish_start(struct dns_publish *p)
{
	p->started = true;
	reconcile(p);
}

/* ------------------------------------------------------------------ life */

int dns_publish_new(const struct dns_publish_config *c, struct dns_publish **ret, struct err *e)
{
	char field[300];
	struct dns_publish *p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, ENOMEM, NULL, "out of memory");
	p->c = *c;
	int n = snprintf(p->name, sizeof p->name, SERVICE "-%s", c->node_name);
	if (n < 0 || (size_t)n >= sizeof p->name) {
		free(p);
		return err_set(e, ENAMETOOLONG, NULL, "node name '%s' is too long", c->node_name);
	}
	p->retry = (struct loop_timer){.fn = on_retry, .arg = p};
	(void)snprintf(field, sizeof field, "metadata.name=%s", p->name);
	const struct informer_config ic = {.client = c->client,
		.resource = &res_slices,
		.ns = NAMESPACE,
		.field_selector = field,
		.on_event = on_slice,
		.on_synced = on_synced,
		.arg = p};
	int r = informer_start(&ic, &p->slices, e);
	if (r) {
		dns_publish_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void dns_publish_free(struct dns_publish *p)
{
	if (!p)
		return;
	informer_free(p->slices);
	if (p->call)
		client_cancel(p->call);
	loop_timer_cancel(&p->retry);
	if (p->slice)
		cobj_unref(p->slice);
	free(p->node_uid);
	free(p);
}

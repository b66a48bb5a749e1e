/* SPDX-License-Identifier: Apache-2.0
 * Leader election on a Lease: whoever wrote the lease last, and not too long ago by our own clock
 * (never by comparing the lease's timestamps with it), leads. */
#include <errno.h>
#include <stdlib.h>
#include "xebec/base/json.h"
#include "xebec/base/timefmt.h"
#include "xebec/client/client.h"

#define LEASE_NS    (15 * NS_PER_SEC)
#define DEADLINE_NS (10 * NS_PER_SEC)
#define RETRY_NS    (2 * NS_PER_SEC)

static const struct resource leases = {"coordination.k8s.io", "v1", "leases", "Lease", true};

struct elector {
	struct client *client;
	char *ns, *name, *identity;
	void (*on_change)(void *arg, bool leader);
	void *arg;
	struct client_call *call;
	struct loop_timer tick, deadline;
	struct buf seen;    /* the lease's resourceVersion when last read */
	int64_t seen_at;    /* when it last changed, our clock */
	int64_t call_start; /* of the write under way */
	json_t *lease;	    /* as last read or written */
	bool leader;
};

static void read_lease(struct elector *el);

static void set_leader(struct elector *el, bool leader)
{
	if (el->leader == leader)
		return;
	el->leader = leader;
	if (!leader)
		loop_timer_cancel(&el->deadline);
	el->on_change(el->arg, leader);
}

static void on_tick(struct loop_timer *t)
{
	struct elector *el = t->arg;
	if (!el->call)
		read_lease(el);
}

static void later(struct elector *el)
{
	(void)loop_timer_set(client_loop(el->client), &el->tick, RETRY_NS);
}

static void on_deadline(struct loop_timer *t)
{
	set_leader(t->arg, false);
}

static bool mine(const struct elector *el)
{
	return strcmp(json_str(el->lease, "spec.holderIdentity", ""), el->identity) == 0;
}

static void remember(struct elector *el, struct str body)
{
	json_t *j = NULL;
	if (json_parse(body, &j, NULL) < 0)
		return;
	const char *rv = json_str(j, "metadata.resourceVersion", "");
	if (!str_eqz(buf_str(&el->seen), rv)) {
		buf_clear(&el->seen);
		buf_adds(&el->seen, rv);
		el->seen_at = time_mono();
	}
	json_decref(el->lease);
	el->lease = j;
}

static void on_written(void *arg, const struct client_result *r)
{
	struct elector *el = arg;
	el->call = NULL;
	later(el);
	if (r->e)
		return; /* somebody was faster, or the server is away: the deadline decides */
	remember(el, r->body);
	/* Counted from before the call: the lease may be as old as that. */
	int64_t left = el->call_start + DEADLINE_NS - time_mono();
	(void)loop_timer_set(client_loop(el->client), &el->deadline, left);
	set_leader(el, true);
}

static void fill(struct elector *el, json_t *lease, bool taking)
{
	char now[28];
	time_rfc3339_micro(time_now(), now);
	int64_t transitions = json_i64(lease, "spec.leaseTransitions", 0);
	(void)json_put(lease, "spec.holderIdentity", json_string(el->identity));
	(void)json_put(lease, "spec.leaseDurationSeconds", json_integer(LEASE_NS / NS_PER_SEC));
	(void)json_put(lease, "spec.renewTime", json_string(now));
	if (!taking)
		return;
	(void)json_put(lease, "spec.acquireTime", json_string(now));
	(void)json_put(lease, "spec.leaseTransitions", json_integer(transitions));
}

static void create_lease(struct elector *el)
{
	AUTO_BUF struct buf b = {0};
	AUTO_JSON json_t *j = json_pack("{s:s,s:s,s:{s:s,s:s}}", "kind", "Lease", "apiVersion",
		"coordination.k8s.io/v1", "metadata", "name", el->name, "namespace", el->ns);
	if (j)
		fill(el, j, true);
	json_write(j, &b);
	el->call_start = time_mono();
	el->call = client_create(el->client, &leases, el->ns, buf_str(&b), on_written, el);
	if (!el->call)
		later(el);
}

static void write_lease(struct elector *el)
{
	AUTO_BUF struct buf b = {0};
	bool taking = !mine(el);
	if (taking)
		(void)json_put(el->lease, "spec.leaseTransitions",
			json_integer(json_i64(el->lease, "spec.leaseTransitions", 0) + 1));
	fill(el, el->lease, taking);
	json_write(el->lease, &b);
	el->call_start = time_mono();
	el->call = client_update(
		el->client, &leases, el->ns, el->name, NULL, buf_str(&b), on_written, el);
	if (!el->call)
		later(el);
}

static bool expired(const struct elector *el)
{
	if (!json_str(el->lease, "spec.holderIdentity", "")[0])
		return true; /* given up */
	int64_t seconds = json_i64(el->lease, "spec.leaseDurationSeconds", LEASE_NS / NS_PER_SEC);
	return time_mono() - el->seen_at > seconds * NS_PER_SEC;
}

static void on_read(void *arg, const struct client_result *r)
{
	struct elector *el = arg;
	el->call = NULL;
	if (r->e && r->e->code == -ENOENT) {
		create_lease(el);
		return;
	}
	if (r->e) {
		later(el);
		return;
	}
	remember(el, r->body);
	if (el->lease && (mine(el) || expired(el))) {
		write_lease(el);
		return;
	}
	later(el);
	set_leader(el, false); /* somebody else holds it */
}

static void read_lease(struct elector *el)
{
	el->call = client_get(el->client, &leases, el->ns, el->name, on_read, el);
	if (!el->call)
		later(el);
}

struct elector *elector_start(struct client *c, const char *ns, const char *name,
	const char *identity, void (*on_change)(void *arg, bool leader), void *arg)
{
	struct elector *el = calloc(1, sizeof(*el));
	if (!el)
		return NULL;
	el->client = c;
	el->on_change = on_change;
	el->arg = arg;
	el->ns = strdup(ns);
	el->name = strdup(name);
	el->identity = strdup(identity);
	el->tick = (struct loop_timer){.fn = on_tick, .arg = el};
	el->deadline = (struct loop_timer){.fn = on_deadline, .arg = el};
	if (el->ns && el->name && el->identity && loop_timer_set(client_loop(c), &el->tick, 0) == 0)
		return el;
	elector_free(el);
	return NULL;
}

static void on_released(void *arg, const struct client_result *r)
{
	(void)arg;
	(void)r;
}

/* Without waiting: whoever comes next need not sit out the lease. The resourceVersion in it keeps
 * a late arrival from taking the lease away from a new holder. */
static void release(struct elector *el)
{
	AUTO_BUF struct buf b = {0};
	if (!el->leader || !el->lease)
		return;
	(void)json_put(el->lease, "spec.holderIdentity", json_string(""));
	(void)json_put(el->lease, "spec.leaseDurationSeconds", json_integer(1));
	json_write(el->lease, &b);
	(void)client_update(
		el->client, &leases, el->ns, el->name, NULL, buf_str(&b), on_released, NULL);
}

void elector_free(struct elector *el)
{
	if (!el)
		return;
	client_cancel(el->call);
	release(el);
	loop_timer_cancel(&el->tick);
	loop_timer_cancel(&el->deadline);
	buf_free(&el->seen);
	json_decref(el->lease);
	free(el->ns);
	free(el->name);
	free(el->identity);
	free(el);
}
